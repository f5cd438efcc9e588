// wire/encode.h -- writes msgpack, and plain bytes, into a buffer that grows up to a limit.
//
// Shape:   handle in the caller's memory (_init/_fini).
// Threads: one at a time.
// Errors:  the first failure stays and later calls do nothing, so a caller may look once, at the end: OMEN_E_NO_MEMORY, or
//          OMEN_E_FULL where the limit is reached.
#ifndef OMEN_WIRE_ENCODE_H
#define OMEN_WIRE_ENCODE_H
#include <string.h>

#include "wire/decode.h"

struct encode {
    uint8_t *bytes; // owned
    size_t count, room, bytes_max;
    omen_status status;
};

void encode_init(struct encode *encode, size_t bytes_max);
void encode_fini(struct encode *encode);
void encode_reset(struct encode *encode); // keeps the memory

// Goes back to where it was, `count` bytes long; a failure since then is forgotten.
void encode_rewind(struct encode *encode, size_t count);

void encode_nil(struct encode *encode);
void encode_bool(struct encode *encode, uint8_t value); // 0 or 1
void encode_u64(struct encode *encode, uint64_t value); // in its shortest form, as all that follow
void encode_i64(struct encode *encode, int64_t value);
void encode_real(struct encode *encode, double value);
void encode_float(struct encode *encode, float value);
void encode_text(struct encode *encode, struct wire_text text);
void encode_word(struct encode *encode, const char *text); // NUL-terminated
void encode_bytes(struct encode *encode, struct wire_bytes bytes);
void encode_ext(struct encode *encode, int8_t type, struct wire_bytes bytes);
void encode_array(struct encode *encode, uint32_t count);
void encode_map(struct encode *encode, uint32_t count);

// As they are: objects that are packed already, or no msgpack at all.
void encode_raw(struct encode *encode, const void *bytes, size_t count);
// Little-endian, 1..8 bytes.
void encode_plain(struct encode *encode, uint64_t value, uint32_t bytes);
// Room for `count` bytes behind what is there, which the caller fills in; NULL after a failure.
uint8_t *encode_reserve(struct encode *encode, size_t count);

static inline struct wire_text
wire_text_of(const char *text)
{
    uint32_t count = 0;
    while (text[count] != '\0')
        count++;
    return (struct wire_text){text, count};
}

static inline bool
wire_text_same(struct wire_text a, struct wire_text b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.bytes, b.bytes, a.count) == 0);
}

#endif
