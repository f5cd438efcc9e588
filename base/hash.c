// base/hash.c -- XXH3-64, and the hash of a point's id.
//
// Shape: value. The only file that includes <xxhash.h>. XXH_INLINE_ALL compiles the code in, so that
// libomendb.so needs no second shared library for it and nothing of it is exported.
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"

enum { ID_TYPE_INTEGER = 0, ID_TYPE_TEXT = 1 };

uint64_t
hash_bytes(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}

uint64_t
hash_id_u64(uint64_t id)
{
    unsigned char key[1 + 8] = {ID_TYPE_INTEGER};
    for (unsigned i = 0; i < 8; i++)
        key[1 + i] = (unsigned char)(id >> (8 * i));
    return XXH3_64bits(key, sizeof key);
}

uint64_t
hash_id_text(const char *id, size_t bytes)
{
    ASSERT(bytes <= ID_TEXT_BYTES_MAX);
    unsigned char key[1 + ID_TEXT_BYTES_MAX] = {ID_TYPE_TEXT};
    if (bytes > 0)
        memcpy(key + 1, id, bytes);
    return XXH3_64bits(key, 1 + bytes);
}
