// shard/patch.h -- a payload with some of its keys set and some gone.
//
// Shape:   handle, in memory.
// Threads: one at a time.
//
// Keys are those of the outermost map. One that is set keeps its place where it was there, and comes behind the others where it was
// not: so every copy makes the same bytes.
#ifndef OMEN_SHARD_PATCH_H
#define OMEN_SHARD_PATCH_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"

struct patch; // opaque

// `set`: a msgpack map that msgpack_check_map has passed, or no bytes; `unset`: an array of texts, or no bytes. Both are borrowed
// until patch_close. OMEN_E_INVALID: they are something else, or a key is in both.
OMEN_MUST_CHECK omen_status patch_open(const void *set, size_t set_bytes, const void *unset,
                                       size_t unset_bytes, struct patch **out,
                                       struct omen_error *error);
void patch_close(struct patch *patch); // accepts NULL

#define PATCH_ROOM (2 * PAYLOAD_BYTES_MAX + 8)

// The payload that `old` (NULL: none) becomes, to `out`, which has PATCH_ROOM bytes; returns how many it has. 0: none, because there
// was none and nothing is set.
size_t patch_payload(struct patch *patch, const void *old, size_t old_bytes, uint8_t *out);

#endif
