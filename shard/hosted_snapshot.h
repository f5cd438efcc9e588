// shard/hosted_snapshot.h -- a hosted shard on its way to another node: made at one copy, received, and put in another's place.
//
// Shape:   handle, durable.
// Threads: hosted_snapshot_read from any thread; the rest by one at a time. Reads, applying and checkpoints of the copy go on.
//
// A folder is used on either side, which must not be there before, in the file system of the copies: while something is in the
// making nobody else sees it, and what is left of it after a crash is to be erased by whoever made it.
#ifndef OMEN_SHARD_HOSTED_SNAPSHOT_H
#define OMEN_SHARD_HOSTED_SNAPSHOT_H
#include "shard/hosted.h"

#define HOSTED_CHUNK_BYTES ((size_t)1 << 20)

// ---- at the source ----
struct hosted_snapshot; // opaque; owns its folder

// A copy of the file, as of hosted_snapshot_seq. Then it is sealed, and can be read.
OMEN_MUST_CHECK omen_status hosted_snapshot_make(struct hosted *hosted, const char *folder,
                                                 struct hosted_snapshot **out,
                                                 struct omen_error *error);
uint64_t hosted_snapshot_seq(const struct hosted_snapshot *snapshot);
// With bytes of the owner's, which belong to that entry: its terms and operations, say. Reads the whole file.
OMEN_MUST_CHECK omen_status hosted_snapshot_seal(struct hosted_snapshot *snapshot,
                                                 const void *extra, size_t extra_bytes,
                                                 struct omen_error *error);
void hosted_snapshot_close(struct hosted_snapshot *snapshot); // accepts NULL; erases its folder

uint32_t hosted_snapshot_chunks(const struct hosted_snapshot *snapshot);
struct hosted_chunk {
    uint32_t number; // 0, 1, ...
    size_t count;
    uint64_t hash; // hash_bytes of them
};
// Fills `bytes` (room for HOSTED_CHUNK_BYTES), chunk->count and chunk->hash.
OMEN_MUST_CHECK omen_status hosted_snapshot_read(const struct hosted_snapshot *snapshot,
                                                 struct hosted_chunk *chunk, void *bytes,
                                                 struct omen_error *error);

// ---- at the copy that is to have it ----
struct hosted_receive; // opaque; owns its folder until it is installed

OMEN_MUST_CHECK omen_status hosted_receive_open(const char *folder, struct hosted_receive **out,
                                                struct omen_error *error);
void hosted_receive_close(struct hosted_receive *receive); // accepts NULL; erases its folder
// In their order; a chunk that came before may come again. OMEN_E_CORRUPT: it is not what was sent.
OMEN_MUST_CHECK omen_status hosted_receive_store(struct hosted_receive *receive,
                                                 const struct hosted_chunk *chunk,
                                                 const void *bytes, struct omen_error *error);
struct hosted_place {
    const char *path;     // of the copy
    uint64_t first, last; // hashes that it answers for; last 0: those of the source
};
struct hosted_extra {
    uint64_t seq;
    void *bytes; // mem_free
    size_t count;
};
// Verifies that all is there and is what was sent, and takes the points away that the copy does not answer for; durable, and not in
// its place yet. *extra (may be NULL): what came with it. OMEN_E_CORRUPT: it is to be fetched anew.
OMEN_MUST_CHECK omen_status hosted_receive_finish(struct hosted_receive *receive,
                                                  const struct hosted_place *place,
                                                  struct hosted_extra *extra,
                                                  struct omen_error *error);
// Puts it in the place of the copy, which nobody has open (or which there is none of): durable. Before, and after a failure, what was
// there is as it was. What was not finished is finished first.
OMEN_MUST_CHECK omen_status hosted_receive_install(struct hosted_receive *receive,
                                                   const struct hosted_place *place,
                                                   struct omen_error *error);

// What came with what is installed, until it is forgotten: so that whoever finds a copy that is ahead of its log after a crash can
// finish. OMEN_E_NOT_FOUND: nothing. OMEN_E_CORRUPT.
OMEN_MUST_CHECK omen_status hosted_extra(const char *path, struct hosted_extra *out,
                                         struct omen_error *error);
OMEN_MUST_CHECK omen_status hosted_extra_forget(const char *path, struct omen_error *error);

#endif
