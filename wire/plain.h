// wire/plain.h -- what nodes say to each other, below the frame: little-endian numbers, of which those that are zero are left out.
//
// Shape:   value. Reading allocates nothing.
// Threads: any.
//
// A message of a machine has many numbers, of which a kind uses few. A table names them in an order that is for ever; a bit for each
// says whether it is there, and one that is there is not zero. So every message has one encoding, a new number is a new
// bit, and which kind uses which is the machine's business alone.
#ifndef OMEN_WIRE_PLAIN_H
#define OMEN_WIRE_PLAIN_H
#include "wire/encode.h"

struct plain_row {
    uint16_t at;   // offset of a bool, uint8_t, uint32_t or uint64_t
    uint8_t bytes; // 1, 4, 8
    uint64_t most; // what is larger is refused
};

#define PLAIN_ROW(type, member, most_)                                                             \
    {                                                                                              \
        .at = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member),          \
        .most = (most_)                                                                            \
    }

struct plain {
    const uint8_t *at, *end;
    bool failed; // what was read since then is zeros
};

static inline size_t
plain_left(const struct plain *plain)
{
    return (size_t)(plain->end - plain->at);
}

// Nothing is left, and nothing was wrong.
static inline bool
plain_done(const struct plain *plain)
{
    return !plain->failed && plain->at == plain->end;
}

// Numbers at fixed places, where it is known that there are bytes.
static inline uint64_t
plain_u64_at(const uint8_t *at)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < 8; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

static inline uint32_t
plain_u32_at(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

struct plain plain_of(struct wire_bytes bytes);
uint64_t plain_number(struct plain *plain, uint32_t bytes, uint64_t most);
const uint8_t *plain_bytes(struct plain *plain, uint32_t count); // NULL where they are not there

// At most 64 rows; *to keeps what the table does not name.
void plain_rows_read(struct plain *plain, const struct plain_row *rows, uint32_t count, void *to);
void plain_rows_write(struct encode *encode, const struct plain_row *rows, uint32_t count,
                      const void *from);

#endif
