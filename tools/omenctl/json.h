// tools/omenctl/json.h -- JSON as RFC 8259 has it, into msgpack.
//
// Shape: value; the buffer is a handle in the caller's memory. No recursion.
#ifndef OMEN_TOOLS_OMENCTL_JSON_H
#define OMEN_TOOLS_OMENCTL_JSON_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JSON_DEPTH_MAX 16u

struct buffer {
    uint8_t *bytes; // owned; NULL at first
    size_t count, capacity;
};
void buffer_fini(struct buffer *buffer);
OMEN_MUST_CHECK omen_status buffer_add(struct buffer *buffer, const void *bytes, size_t count);

// Appends the one value that `text` is to *out, which on failure is as it was. Integers stay integers as far as 64 bits
// go, other numbers become f64. OMEN_E_INVALID says at which byte the text is wrong, OMEN_E_NOT_FINITE where it
// has NaN or an infinity, which JSON does not. Whether a key comes twice is not
// looked at; msgpack_check_map does.
OMEN_MUST_CHECK omen_status json_to_msgpack(const char *text, size_t bytes, struct buffer *out,
                                            struct omen_error *error);

// A JSON array of numbers. Appends f32 to *out. OMEN_E_INVALID as above, and for anything else than finite numbers.
OMEN_MUST_CHECK omen_status json_to_floats(const char *text, size_t bytes, struct buffer *out,
                                           struct omen_error *error);

#endif
