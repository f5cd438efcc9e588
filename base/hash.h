// base/hash.h -- XXH3-64, and the hash of a point's id, which is part of the protocol and of the file format.
//
// Shape:   value.
// Threads: any.
//
// The results are frozen: tests/unit/base/test_hash.c holds them against known values.
#ifndef OMEN_BASE_HASH_H
#define OMEN_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

// XXH3-64 with seed 0. `bytes` may be NULL when count is 0.
uint64_t hash_bytes(const void *bytes, size_t count);

// An id's hash is that of a type byte (0 integer, 1 text) followed by the id: an integer as 8 little-endian
// bytes, a text as its bytes without a terminator. So 7 and "7" are two ids, and a text never collides with
// an integer by construction.
uint64_t hash_id_u64(uint64_t id);
uint64_t hash_id_text(const char *id, size_t bytes); // at most ID_TEXT_BYTES_MAX bytes

#endif
