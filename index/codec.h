// index/codec.h -- the code of a vector: centred, rotated, 8 bits a component in two planes.
//
// Shape:   handle, in memory; constant after codec_open, so any number of threads may use one.
// Sources: random rotation by signs and fast Hadamard transforms: Ailon and Chazelle 2006; the factor |x|^2 / <code,x>
//          that makes the estimate unbiased along x: RaBitQ (Gao and Long, 2024).
//
// Everything that codes compare is a squared L2 distance of "code vectors": under cosine the vector divided by its
// length (so distance = 2 * (1 - cos)); under ip one component sqrt(M^2 - |x|^2) is added to rows and 0 to queries,
// which are scaled to length M (Bachrach et al. 2014), so that nearest means largest product. One geometry then
// serves walking, pruning and the stop rule under every metric.
//
// Two kinds. NIBBLE_BYTE: the mean of a sample is taken off, the rest is rotated (4 rounds of random signs and a
// Hadamard transform over the first, last, first, last 2^k components) and rounded to 8 bits with one scale a
// vector; walks read the upper four bits (half the bytes; the high plane), pruning reads both planes. EXACT: no
// code at all; walks and pruning read the rows themselves. EXACT is for quantization none, for small dimensions
// (a row is then hardly larger than a code) and for data whose near neighbours the code cannot tell apart.
#ifndef OMEN_INDEX_CODEC_H
#define OMEN_INDEX_CODEC_H
#include <stdint.h>

#include "base/status.h"
#include "index/kernel/kernel.h"
#include "index/metric.h"

enum codec_kind { CODEC_NIBBLE_BYTE, CODEC_EXACT };

#define CODEC_DIM_MIN 48u  // below it rows are walked themselves

struct codec {
    enum codec_kind    kind;
    enum metric        metric;
    enum vector_type   type;
    uint32_t           dim;        // components of a row
    uint32_t           width;      // components of a code vector: dim, plus 1 under ip, up to a multiple of 32, >= 64
    uint32_t           row_bytes;  // of one plane: width / 2
    uint32_t           window;     // largest power of two <= width
    float              norm_max2;  // ip: M^2
    float              factor_unit;  // f16 factor in a row = factor * factor_unit
    float              norm_unit;    // f16 norm in a row = norm2 * norm_unit
    float             *mean;         // width
    uint32_t          *signs;        // 4 x width sign bits
    const struct kernels *kernels;
};

// A query, ready for the kernels. The buffers are the scratch's.
struct code_query {
    struct nibble_query nibble;
    struct byte_query   byte;
    int8_t             *components;  // 2 x row_bytes rounded up to 128
    float              *vector;      // EXACT: dim components, prepared; also work space of `width`
};

// Learns mean and scales from `count` (>= 1) sample rows. On failure *out is NULL.
OMEN_MUST_CHECK omen_status codec_open(enum codec_kind kind, enum metric metric, enum vector_type type, uint32_t dim,
                                       uint64_t seed, const void *const *sample, uint32_t count,
                                       struct codec **out);
void codec_close(struct codec *codec);  // accepts NULL

// Codes one row into its planes and meta (EXACT under ip: meta.factor is the added component; else nothing).
// `work` has room for 2 * width floats.
void codec_encode(const struct codec *codec, const void *row, float *work, uint8_t *high, uint8_t *low,
                  struct byte_meta *meta);

// Prepares a user's query; `vector` has dim components.
void codec_query(const struct codec *codec, const float *vector, struct code_query *query);

// Prepares a stored row as a query, from its code (NIBBLE_BYTE) or from the row (EXACT).
void codec_query_row(const struct codec *codec, const void *row, const uint8_t *high, const uint8_t *low,
                     const struct byte_meta *meta, struct code_query *query);

// From a squared distance of code vectors to the metric's scale, approximately (ip needs the query's length).
float codec_to_metric(const struct codec *codec, float distance, float query_norm);

#endif
