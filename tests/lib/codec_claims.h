// tests/lib/codec_claims.h -- what every codec between nodes promises, whatever its messages are.
//
// Shape: shell. A test says how its messages are drawn, written and read; they lie where it likes.
#ifndef OMEN_TESTS_CODEC_CLAIMS_H
#define OMEN_TESTS_CODEC_CLAIMS_H
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "wire/encode.h"

struct codec_claims {
    void (*draw)(struct prng *prng); // one message
    void (*write)(struct encode *to);
    bool (*read)(struct wire_bytes bytes); // as another
    void (*write_other)(struct encode *to);
    bool (*same)(void); // NULL: what the other is written to says enough
};

static inline struct wire_bytes
codec_written(const struct encode *encode)
{
    return (struct wire_bytes){encode->bytes, (uint32_t)encode->count};
}

// In memory of its own, so that a sanitizer sees who reads beyond it.
static inline bool
codec_reads_copy(const struct codec_claims *codec, const struct encode *encode, size_t count)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, encode->bytes, count);
    const bool sound = codec->read((struct wire_bytes){copy, (uint32_t)count});
    free(copy);
    return sound;
}

static inline void
codec_writes_alike(const struct codec_claims *codec, const struct encode *encode,
                   struct encode *again)
{
    encode_reset(again);
    codec->write_other(again);
    ck_assert_uint_eq(again->count, encode->count);
    ck_assert(memcmp(again->bytes, encode->bytes, again->count) == 0);
}

static inline void
codec_reads_what_it_wrote(const struct codec_claims *codec, struct encode *encode,
                          struct encode *again, uint64_t seed, uint32_t rounds)
{
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t round = 0; round < rounds; round++) {
        encode_reset(encode);
        codec->draw(&prng);
        codec->write(encode);
        ck_assert(codec->read(codec_written(encode)));
        ck_assert(codec->same == NULL || codec->same());
        codec_writes_alike(codec, encode, again);
    }
}

static inline void
codec_refuses_cuts(const struct codec_claims *codec, struct encode *encode, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    codec->draw(&prng);
    codec->write(encode);
    for (size_t count = 0; count < encode->count; count++)
        ck_assert(!codec_reads_copy(codec, encode, count));
    encode_plain(encode, 0, 1);
    ck_assert(!codec_reads_copy(codec, encode, encode->count));
}

// A message has one encoding, so what is read from flipped bits is written to these bytes again.
static inline void
codec_knows_flips(const struct codec_claims *codec, struct encode *encode, struct encode *again,
                  uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    codec->draw(&prng);
    codec->write(encode);
    for (size_t bit = 0; bit < 8 * encode->count; bit++) {
        encode->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (codec->read(codec_written(encode)))
            codec_writes_alike(codec, encode, again);
        encode->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

#endif
