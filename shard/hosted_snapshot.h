// shard/hosted_snapshot.h -- a hosted shard as a whole, in chunks.
//
// Shape:   handle.
#ifndef OMEN_SHARD_HOSTED_SNAPSHOT_H
#define OMEN_SHARD_HOSTED_SNAPSHOT_H
#include "shard/hosted.h"

#define HOSTED_CHUNK_BYTES (1u << 20)

struct hosted_snapshot; // opaque

OMEN_MUST_CHECK omen_status hosted_snapshot_make(struct hosted *hosted, const char *folder,
                                                 const void *extra, size_t extra_bytes,
                                                 struct hosted_snapshot **out,
                                                 struct omen_error *error);
uint64_t hosted_snapshot_seq(const struct hosted_snapshot *snapshot);
uint32_t hosted_snapshot_chunk_count(const struct hosted_snapshot *snapshot);
OMEN_MUST_CHECK omen_status hosted_snapshot_read(struct hosted_snapshot *snapshot, uint32_t chunk,
                                                 void *buffer, size_t *count,
                                                 struct omen_error *error);
void hosted_snapshot_close(struct hosted_snapshot *snapshot); // accepts NULL

OMEN_MUST_CHECK omen_status hosted_receive_store(const char *folder, uint32_t chunk,
                                                 const void *bytes, size_t count,
                                                 struct omen_error *error);
struct hosted_received {
    uint64_t seq;
    uint8_t *extra; // mem_free
    size_t extra_bytes;
};
OMEN_MUST_CHECK omen_status hosted_receive_finish(const char *folder, struct hosted_received *out,
                                                  struct omen_error *error);
OMEN_MUST_CHECK omen_status hosted_install(const struct hosted_options *options, const char *folder,
                                           struct omen_error *error);

#endif
