// index/kernel/kernel.h -- the hot loops: one table of functions per instruction set, picked once.
//
// Shape:   kernel. Primitive arguments only; no allocation, no policy, no asserts inside loops.
// Threads: the tables are constant; every function is pure but for its out arguments.
//
// scalar.c is the oracle. What works on codes (nibble, byte, unpack, butterfly, encode) and on integers must answer bit for bit
// what the oracle answers on every machine, so that one graph comes out of every kernel: integer dot products,
// one fixed float expression, lane order fixed, no contraction (-ffp-contract=off). What works on rows
// (`exact`) may round differently within 1e-5 of the sum of magnitudes.
//
// The code of a vector (index/codec.h) is two planes of dim/2 bytes. Within each block of 64 bytes (the last may be
// shorter: 16, 32 or 48) byte j holds component 128 b + j in its low nibble and component 128 b + w + j in its high
// nibble, w being the block's width. The high plane holds the upper four bits of each 8-bit component, the
// low plane the lower four.
#ifndef OMEN_INDEX_KERNEL_H
#define OMEN_INDEX_KERNEL_H
#include <stdint.h>

#include "index/kernel/tile.h"
#include "index/metric.h"

// The first bytes of a high-plane row lend their lowest bit to two f16 numbers
#define NIBBLE_META_BYTES 32u

// A query against high-plane rows.
struct nibble_query {
    const int8_t
        *components; // in plane order, 128 per block: 64 for low nibbles, 64 for high; zero beyond
    uint32_t row_bytes; // of a high-plane row: a multiple of 16, at least 32
    float offset;       // |q|^2
    // What the row's f16 factor is multiplied with (twice the query's scale, and units).
    float factor_scale;
    float norm_scale; // what the row's f16 norm is multiplied with
    float center;     // 7.5 * sum of components
};

// A query against the first bytes of high-plane rows.
struct glance_query {
    const int8_t *components; // as above
    uint32_t bytes;     // that are looked at: whole blocks, so a multiple of 64, and at least one
    float offset;       // the squares of the query's first components
    float factor_scale; // as above
    float own_scale;    // what the squares of a row's first components are multiplied with
    float norm_scale;   // the share of a row's norm that is taken off again
    float center;       // 7.5 * sum of the first components
};

// A query against both planes.
struct byte_query {
    const int8_t *components; // as above
    uint32_t row_bytes;
    float offset;     // |q|^2
    float scale;      // 2 * the query's scale
    float norm_scale; // what a row's norm is multiplied with
    int32_t center;   // 128 * sum of components
};

// What the byte code keeps beside its planes.
struct byte_meta {
    float factor; // |x|^2 / <code, x>: makes the estimate of <q,x> unbiased along x
    float norm;   // |x|^2, or what index/codec.h says under ip
};

// A query of integers against rows of the same type.
struct integer_query {
    const void *components; // dim of them, at any address
    uint32_t dim;
    uint32_t norm2; // sum of squares
    int32_t sum;    // of components
};

struct kernels {
    const char *name;

    // out[i] = max(0, norm_i * norm_scale + offset - factor_i * factor_scale * (dot_i - center)), where dot_i is the
    // integer product of the query with the nibbles and factor_i, norm_i are the f16 numbers in the row. Returns
    // the mask of those below `bound`. count <= 32. rows[] and out[] must have room for count rounded up to 4;
    // rows[count..] are set to rows[count-1] by the kernel when it needs them.
    uint32_t (*nibble)(const struct nibble_query *query, const uint8_t **rows, uint32_t count,
                       float bound, float *out);

    // The mask of the rows that may be near by their first bytes, those where
    //   ((factor_i * factor_i) * (own_i * own_scale) + offset)
    //     - ((factor_i * factor_scale) * (dot_i - center) + norm_i * norm_scale) < bound,
    // dot_i being as above and own_i the sum of (nibble - 7.5)^2, over `bytes` bytes. count <= 32; rows[] as above.
    uint32_t (*glance)(const struct glance_query *query, const uint8_t **rows, uint32_t count,
                       float bound);

    // out[i] = max(0, (meta_i.norm * norm_scale + offset) - meta_i.factor * scale * (dot_i - center)), dot_i over
    // 8-bit components. Any count.
    void (*byte)(const struct byte_query *query, const uint8_t *const *high,
                 const uint8_t *const *low, const struct byte_meta *const *meta, uint32_t count,
                 float *out);

    // The 8-bit components of one code in plane order (128 per block: 64 from low nibbles, 64 from high), as u8.
    // out has room for row_bytes rounded up to 64, times 2; what no component fills is 0.
    void (*join)(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out);

    // out[i] = sum over j < bytes of one[j] * rows[i * bytes + j]. bytes is a multiple of 128, rows is 64-aligned.
    // Any count; out has room for count rounded up to 4.
    void (*dots)(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count,
                 int32_t *out);

    // Exact distances from an f32 query to `count` rows, by metric and stored type: [metric][type - 1].
    // L2: |q-x|^2. IP: 1 - <q,x>. Cosine: 1 - <q,x>/|x|, the query being of length 1; a zero row gives 1.
    void (*exact[3][5])(const float *query, const void *const *rows, uint32_t count, uint32_t dim,
                        float *out);

    // The same between integers, without a rounding on the way: [metric][0] of VECTOR_I8, [1] of VECTOR_U8. Under
    // cosine the query has its own length. The oracle's bits.
    void (*integer[3][2])(const struct integer_query *query, const void *const *rows,
                          uint32_t count, float *out);

    // Writes the ids of a link row (32 little-endian 24-bit numbers, 96 bytes) that are below `limit`, in order;
    // returns how many. ids has room for 32. May write anywhere in ids[0..31].
    uint32_t (*unpack)(const uint8_t *row, uint32_t limit, uint32_t *ids);
    // The same of a row of 32 little-endian 32-bit numbers, 128 bytes.
    uint32_t (*unpack32)(const uint8_t *row, uint32_t limit, uint32_t *ids);

    // In place: Walsh-Hadamard transform of count (a power of two, 16..65536) values, then times 1/sqrt(count).
    void (*butterfly)(float *values, uint32_t count);

    // codes[i] = round-to-nearest-even(values[i] * inverse) + 128, in 1..255. count is a multiple of 16.
    void (*encode)(const float *values, uint32_t count, float inverse, uint8_t *codes);

    // 1 when every component is finite. `type` is VECTOR_F32, F16 or BF16; integers are always finite.
    int (*finite)(const void *row, uint32_t dim, enum vector_type type);

    // Sets bit i % 64 of words[i / 64] where first <= bytes[i] <= last, for i < word_count * 64; other bits stay.
    void (*within)(const uint8_t *bytes, uint32_t word_count, uint8_t first, uint8_t last,
                   uint64_t *words);

    // Of bulk builds.
    const struct tile_kernels *tiles;

    // Puts the keys (index/nearest.h) of the rows in the mask `below` into a sorted list of `*count` keys, which drops its
    // last where it is full. Returns the lowest place that one was put at, UINT32_MAX where there is none. `keys` has
    // room for capacity + NEAREST_SPARE; what lies behind the list may be anything, before and after.
    uint32_t (*insert)(uint64_t *keys, uint32_t *count, uint32_t capacity, const float *distances,
                       const uint32_t *slots, uint32_t below);
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;   // needs AVX2, FMA, F16C, BMI2
extern const struct kernels kernels_avx512; // needs AVX-512 F BW VL DQ VBMI VNNI
#elif defined(__aarch64__)
extern const struct kernels kernels_neon; // needs the dot-product extension
#endif

// The best table this processor runs, or the one OMEN_KERNEL names (when it runs here; an unknown or unfit name
// is ignored, kernels_find tells). Chosen at the first call.
const struct kernels *kernels_best(void);
// By name; NULL when unknown or not runnable on this processor.
const struct kernels *kernels_find(const char *name);
// All that run here, the oracle first; returns how many (<= 4).
uint32_t kernels_list(const struct kernels *list[4]);

// A query of `type`, VECTOR_I8 or VECTOR_U8, whose components are borrowed.
struct integer_query integer_query_of(enum vector_type type, const void *components, uint32_t dim);

// f16 by value, round to nearest even; the oracle's and everybody's.
float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

#endif
