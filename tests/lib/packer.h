// tests/lib/packer.h -- writes msgpack for tests, as plainly as it goes.
//
// Shape: value.
#ifndef OMEN_TESTS_PACKER_H
#define OMEN_TESTS_PACKER_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct packer {
    uint8_t bytes[1 << 17];
    size_t count;
};

static inline void
pack_byte(struct packer *packer, unsigned byte)
{
    assert(packer->count < sizeof packer->bytes);
    packer->bytes[packer->count++] = (uint8_t)byte;
}

static inline void
pack_big_endian(struct packer *packer, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        pack_byte(packer, (unsigned)(value >> (8 * i)) & 0xff);
}

static inline void
pack_nil(struct packer *packer)
{
    pack_byte(packer, 0xc0);
}

static inline void
pack_bool(struct packer *packer, bool value)
{
    pack_byte(packer, value ? 0xc3 : 0xc2);
}

static inline void
pack_int(struct packer *packer, int64_t value)
{
    if (value >= -32 && value < 128) {
        pack_byte(packer, (uint8_t)value);
    } else {
        pack_byte(packer, 0xd3);
        pack_big_endian(packer, (uint64_t)value, 8);
    }
}

static inline void
pack_uint(struct packer *packer, uint64_t value)
{
    pack_byte(packer, 0xcf);
    pack_big_endian(packer, value, 8);
}

static inline void
pack_double(struct packer *packer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    pack_byte(packer, 0xcb);
    pack_big_endian(packer, bits, 8);
}

static inline void
pack_raw(struct packer *packer, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pack_byte(packer, ((const uint8_t *)bytes)[i]);
}

static inline void
pack_string(struct packer *packer, const char *bytes, size_t count)
{
    if (count < 32) {
        pack_byte(packer, 0xa0 | (unsigned)count);
    } else {
        pack_byte(packer, 0xdb);
        pack_big_endian(packer, count, 4);
    }
    pack_raw(packer, bytes, count);
}

static inline void
pack_text(struct packer *packer, const char *text)
{
    pack_string(packer, text, strlen(text));
}

static inline void
pack_binary(struct packer *packer, const void *bytes, size_t count)
{
    pack_byte(packer, 0xc6);
    pack_big_endian(packer, count, 4);
    pack_raw(packer, bytes, count);
}

static inline void
pack_time(struct packer *packer, int64_t seconds, uint32_t nanoseconds)
{
    pack_byte(packer, 0xc7);
    pack_byte(packer, 12);
    pack_byte(packer, 0xff);
    pack_big_endian(packer, nanoseconds, 4);
    pack_big_endian(packer, (uint64_t)seconds, 8);
}

static inline void
pack_array(struct packer *packer, uint32_t count)
{
    if (count < 16) {
        pack_byte(packer, 0x90 | count);
    } else {
        pack_byte(packer, 0xdd);
        pack_big_endian(packer, count, 4);
    }
}

static inline void
pack_map(struct packer *packer, uint32_t count)
{
    if (count < 16) {
        pack_byte(packer, 0x80 | count);
    } else {
        pack_byte(packer, 0xdf);
        pack_big_endian(packer, count, 4);
    }
}

#endif
