// wire/plain.c -- little-endian numbers, of which those that are zero are left out.
//
// Shape: value.
#include "wire/plain.h"

#include <string.h>

#include "base/assert.h"

struct plain
plain_of(struct wire_bytes bytes)
{
    static const uint8_t nothing;
    const uint8_t *at = bytes.count > 0 ? bytes.bytes : &nothing;
    return (struct plain){.at = at, .end = at + bytes.count};
}

const uint8_t *
plain_bytes(struct plain *plain, uint32_t count)
{
    if (plain->failed || plain_left(plain) < count) {
        plain->failed = true;
        return NULL;
    }
    plain->at += count;
    return plain->at - count;
}

uint64_t
plain_number(struct plain *plain, uint32_t bytes, uint64_t most)
{
    uint64_t number = 0;
    const uint8_t *at = plain_bytes(plain, bytes);
    for (uint32_t i = 0; at != NULL && i < bytes; i++)
        number |= (uint64_t)at[i] << (8 * i);
    if (number <= most)
        return number;
    plain->failed = true;
    return 0;
}

static uint32_t
mask_bytes(uint32_t count)
{
    return (count + 7) / 8;
}

static uint64_t
row_value(const struct plain_row *row, const void *from)
{
    const uint8_t *at = (const uint8_t *)from + row->at;
    uint32_t half;
    uint64_t whole;
    switch (row->bytes) {
    case 1:
        return *at;
    case 4:
        memcpy(&half, at, sizeof half);
        return half;
    default:
        memcpy(&whole, at, sizeof whole);
        return whole;
    }
}

void
plain_rows_write(struct encode *encode, const struct plain_row *rows, uint32_t count,
                 const void *from)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < count; i++)
        mask |= (uint64_t)(row_value(&rows[i], from) != 0) << i;
    encode_plain(encode, mask, mask_bytes(count));
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t value = row_value(&rows[i], from);
        ASSERT(value <= rows[i].most);
        if (value != 0)
            encode_plain(encode, value, rows[i].bytes);
    }
}

void
plain_rows_read(struct plain *plain, const struct plain_row *rows, uint32_t count, void *to)
{
    ASSERT(count > 0 && count <= 64);
    const uint64_t mask =
        plain_number(plain, mask_bytes(count), UINT64_MAX >> (64 - count)); // no other bit
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = (uint8_t *)to + rows[i].at;
        const bool there = (mask >> i & 1) != 0;
        const uint64_t value = there ? plain_number(plain, rows[i].bytes, rows[i].most) : 0;
        if (there && value == 0)
            plain->failed = true;
        const uint32_t half = (uint32_t)value;
        if (rows[i].bytes == 1)
            *at = (uint8_t)value;
        else if (rows[i].bytes == 4)
            memcpy(at, &half, sizeof half);
        else
            memcpy(at, &value, sizeof value);
    }
}
