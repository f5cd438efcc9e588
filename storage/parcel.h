// storage/parcel.h -- a store's file on its way to another machine: in chunks with checksums, and bytes of the owner with it.
//
// Shape:   handle, durable.
// Threads: parcel_read from any thread; the rest by one at a time.
// Errors:  OMEN_E_CORRUPT: a chunk is not what was packed. OMEN_E_DISK_FULL, OMEN_E_IO as storage/kv.h.
//
// Chunk 0 says how much there is and has the checksum of the checksums of all others, so that whoever has all chunks knows that they are
// those that belong together. What was received counts when it is put in the place where it belongs, as a whole folder, by one
// rename: a part of it is never there.
#ifndef OMEN_STORAGE_PARCEL_H
#define OMEN_STORAGE_PARCEL_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PARCEL_CHUNK_BYTES ((size_t)1 << 20)
#define PARCEL_CHUNKS_MAX (1u << 20)
#define PARCEL_DATA_FILE "data.mdb"
#define PARCEL_EXTRA_FILE "extra"

// ---- sending ----
struct parcel; // opaque

struct parcel_what {
    const char *folder; // of the file, which nobody changes until parcel_close; borrowed
    uint64_t seq;       // the owner's
    const void *extra;  // copied
    size_t extra_bytes;
};
OMEN_MUST_CHECK omen_status parcel_pack(const struct parcel_what *what, struct parcel **out,
                                        struct omen_error *error);
void parcel_close(struct parcel *parcel); // accepts NULL
uint32_t parcel_chunks(const struct parcel *parcel);

struct parcel_chunk {
    uint32_t number;
    size_t count;
    uint64_t hash; // XXH3-64
};
// Fills `bytes` (room for PARCEL_CHUNK_BYTES) with chunk->number, and the rest of *chunk.
OMEN_MUST_CHECK omen_status parcel_read(const struct parcel *parcel, struct parcel_chunk *chunk,
                                        void *bytes, struct omen_error *error);

// ---- receiving ----
struct parcel_inbox; // opaque

// Into a folder, which is made and must not be there.
OMEN_MUST_CHECK omen_status parcel_inbox_open(const char *folder, struct parcel_inbox **out,
                                              struct omen_error *error);
void parcel_inbox_close(struct parcel_inbox *inbox); // accepts NULL; the folder stays
// Chunks in their order; one that was stored before is fine.
OMEN_MUST_CHECK omen_status parcel_store(struct parcel_inbox *inbox,
                                         const struct parcel_chunk *chunk, const void *bytes,
                                         struct omen_error *error);
// All is there, is what was packed, and is durable in the folder.
OMEN_MUST_CHECK omen_status parcel_finish(struct parcel_inbox *inbox, uint64_t *seq,
                                          struct omen_error *error);

// ---- folders ----
// The owner's bytes that came with what is in a folder, in memory of their own (mem_free); OMEN_E_NOT_FOUND: none did, or they are
// forgotten.
struct parcel_extra {
    uint64_t seq;
    void *bytes;
    size_t count;
};
OMEN_MUST_CHECK omen_status parcel_extra(const char *folder, struct parcel_extra *out,
                                         struct omen_error *error);
OMEN_MUST_CHECK omen_status parcel_extra_forget(const char *folder, struct omen_error *error);

// Puts folder `from` in the place of `to`, whose files (NULL-safe: there may be none) are erased. Nobody has either open.
struct parcel_move {
    const char *from, *to; // in one file system
};
OMEN_MUST_CHECK omen_status parcel_put(const struct parcel_move *move, struct omen_error *error);
// After a parcel_put that was cut off where folders cannot be exchanged at once: what was there is again.
OMEN_MUST_CHECK omen_status parcel_repair(const char *folder, struct omen_error *error);
// Erases a folder and the files in it; one that is not there is fine.
OMEN_MUST_CHECK omen_status parcel_erase(const char *folder, struct omen_error *error);

#endif
