// index/codec.h -- vectors as rotated 8-bit codes, in two planes of four bits.
//
// Shape:   value; codec_init and codec_fini own its tables. Constant once founded.
// Threads: any, after codec_found.
//
// x is prepared (made f32, and of length 1 under cosine), centred (x - mean; not under ip), padded with zeros to
// `width` and rotated by four rounds of random signs and a Walsh-Hadamard transform over the first or the last
// power of two of the components (Ailon & Chazelle 2006; the two ends alternate as in RaBitQ's "FHT + Kac"
// rotator). What comes out, y, is spread evenly over its components, so one scale a vector is enough:
// u = round(127 y / max|y|), stored as u + 128. A distance is estimated as
//
//     |x|^2 + |q|^2 - 2 f <u, q>,   f = |x|^2 / <u, y>,
//
// which is unbiased along x (Gao & Long 2024, RaBitQ). f is kept for the high four bits alone (lent f16 bits inside
// the row, index/kernel/kernel.h) and for all eight (struct byte_meta).
//
// Under ip every vector is thought to have one more component, a = sqrt(R^2 - |x|^2), which makes all lengths R and
// turns the largest product into the smallest distance (Bachrach et al. 2014); a query is scaled to the length of the
// longest row and has a = 0, also if it is a row that searches for those that it may link to. It is never stored as a component: a takes
// the place of the norm, and tells how far two rows are apart where links are chosen. R is that of the
// founding rows. A row that came later and is longer has a = 0, and struct byte_meta says by how much: it holds
// -sqrt(|x|^2 - R^2).
#ifndef OMEN_INDEX_CODEC_H
#define OMEN_INDEX_CODEC_H
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "index/kernel/kernel.h"
#include "index/metric.h"

struct codec {
    const struct kernels *kernels;
    enum metric metric;
    enum vector_type type; // of stored rows
    uint32_t dim;
    uint32_t width;        // components of a code: dim rounded up to 32, at least 64
    uint32_t row_bytes;    // of one plane: width / 2
    uint32_t joined_bytes; // of a joined code (kernels->join): row_bytes rounded up to 64, times 2
    uint32_t hadamard;     // the largest power of two not above width
    uint32_t glance_bytes; // of a high-plane row that a walk looks at first; 0: it reads them whole
    float *mean;           // dim; zeros under ip
    float *signs;          // 4 x width of +1 and -1
    float factor_unit, norm_unit; // what an f16 of 1 stands for
    float radius2;                // R^2 under ip
    float variance;               // mean of |x - mean|^2 over the founding rows
    // How wrong estimates are: the root of the mean square of (estimate - distance) / (2 |q| |x|), measured at founding.
    float high_error, both_error;
};

// What codec_query fills: the same vector for either plane count. `components` is the caller's memory of
// joined_bytes, 64-aligned.
struct code_query {
    struct nibble_query nibble;
    struct byte_query byte;
    struct glance_query glance; // where the codec has glance_bytes
    // From a distance of the metric to one of the code: scale * distance + shift.
    float metric_scale, metric_shift;
    float spread2; // |q|^2, or R^2 under ip: what errors are relative to
};

OMEN_MUST_CHECK omen_status codec_init(struct codec *codec, uint32_t dim, enum metric metric,
                                       enum vector_type type, uint64_t seed);
void codec_fini(struct codec *codec); // accepts all zeros

// Fixes mean and units from `count` > 0 prepared vectors, one after the other, `dim` apart; `rotated` is memory of
// width floats.
void codec_found(struct codec *codec, const float *vectors, uint32_t count, float *rotated);

// A row as f32, of length 1 under cosine (a zero vector stays zero). `out` has room for dim; may be the row itself.
void codec_prepare(const struct codec *codec, const void *row, enum vector_type type, float *out);
// y of a prepared vector; `rotated` has room for width.
void codec_rotate(const struct codec *codec, const float *prepared, float *rotated);

// Writes the two planes of y and what belongs to them. norm2 is |prepared|^2 (used under ip). `codes` is memory of
// width bytes.
void codec_encode(const struct codec *codec, const float *rotated, float norm2, uint8_t *codes,
                  uint8_t *high, uint8_t *low, struct byte_meta *meta);
// Fills *query from y. norm2 is |prepared|^2; norm_max2 the largest such of any row (ip).
void codec_query(const struct codec *codec, const float *rotated, float norm2, float norm_max2,
                 int8_t *components, struct code_query *query);

// The component that a row of this |x|^2 is thought to have besides (ip).
float codec_extra(const struct codec *codec, float norm2);
// The same for struct byte_meta: below zero where the row is longer than R.
float codec_extra_signed(const struct codec *codec, float norm2);

// Distance between two rows under ip from what their metas hold and the product of their own components.
static inline float
codec_pair_ip(const struct codec *codec, const struct byte_meta *a, const struct byte_meta *b,
              float product)
{
    const float longer =
        (a->norm < 0.0f ? a->norm * a->norm : 0.0f) + (b->norm < 0.0f ? b->norm * b->norm : 0.0f);
    const float extras = a->norm > 0.0f && b->norm > 0.0f ? a->norm * b->norm : 0.0f;
    return 2.0f * (codec->radius2 - extras) + longer - 2.0f * product;
}

// Distance between two coded rows from the integer product of their components.
static inline float
codec_pair(const struct codec *codec, const struct byte_meta *a, const struct byte_meta *b,
           int32_t dot)
{
    const float product = (a->factor * b->factor) * (float)dot;
    const float distance = codec->metric == METRIC_IP ? codec_pair_ip(codec, a, b, product)
                                                      : a->norm + b->norm - 2.0f * product;
    return distance > 0.0f ? distance : 0.0f;
}

#endif
