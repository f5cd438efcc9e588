// shard/shard_file.h -- a shard's file as a whole: flushing, copying, verifying, making it small.
//
// Shape:   handle; private to shard/, but for what shard/shard.h has.
// Threads: any, holding none of the shard's locks; shard_file_verify_sources within a compaction.
// Errors:  OMEN_E_CORRUPT names what is damaged; OMEN_E_IO and its like as storage/kv.h says.
#ifndef OMEN_SHARD_SHARD_FILE_H
#define OMEN_SHARD_SHARD_FILE_H
#include "shard/shard_int.h"

// Reads the whole file and checks every checksum; nothing for a shard in memory.
OMEN_MUST_CHECK omen_status shard_file_verify(struct shard *shard, struct omen_error *error);
// Reads what a new numbering of the rows is made of, and checks it; nothing for who writes no file.
OMEN_MUST_CHECK omen_status shard_file_verify_sources(struct shard *shard,
                                                      struct omen_error *error);
// After compaction: brings it to the file and gives the file's free pages back where that is worth it.
OMEN_MUST_CHECK omen_status shard_file_shrink(struct shard *shard, struct omen_error *error);

#endif
