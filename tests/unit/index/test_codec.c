// tests/unit/index/test_codec.c -- codes stand for their vectors as nearly as theory says.
//
// Errors are measured as (estimate - distance) / (2 |q| |x|). Each component is rounded to a step of max|y| / 127,
// or 16 of them in the high plane alone. Rotated components are nearly normal, so max|y| is about 3.5 of their
// standard deviations; the root mean square of the error is then 3.5 / 127 / sqrt(12 width) = 0.008 / sqrt(width) and
// 0.127 / sqrt(width), where the query's own rounding is as large as the first. In the high plane 32 components lend
// their lowest bit, an error of up to a whole step.
#include <math.h>

#include "tests/lib/index_world.h"

#define ROWS 600u
#define PAIRS 1500u

static const uint32_t dims[] = {1, 3, 48, 64, 65, 100, 128, 160, 384, 784, 1536, 4096};
#define DIMS ((int)(sizeof dims / sizeof dims[0]))
// The first that an index codes: rows of fewer components have too few for the law of large numbers.
#define DIMS_CODED 2

struct coded {
    struct codec codec;
    float *rows;    // ROWS x dim, prepared
    float *rotated; // width
    uint8_t *codes, *high, *low, *joined;
    int8_t *components;
};

static void
coded_open(struct coded *coded, uint32_t dim, enum metric metric)
{
    struct law law;
    law_init(&law, dim, 77);
    law.norms = metric == METRIC_IP ? 3.0f : 1.0f;
    ck_assert_int_eq(codec_init(&coded->codec, dim, metric, VECTOR_F32, 5), OMEN_OK);
    const uint32_t width = coded->codec.width, joined = coded->codec.joined_bytes;
    coded->rows = malloc((size_t)ROWS * dim * sizeof(float));
    coded->rotated = aligned_alloc(64, joined * sizeof(float));
    coded->codes = aligned_alloc(64, joined);
    coded->high = aligned_alloc(64, joined);
    coded->low = aligned_alloc(64, joined);
    coded->joined = aligned_alloc(64, joined);
    coded->components = aligned_alloc(64, joined);
    for (uint32_t r = 0; r < ROWS; r++) {
        float *row = coded->rows + (size_t)r * dim;
        law_draw(&law, &law.rows, row);
        codec_prepare(&coded->codec, row, VECTOR_F32, row);
    }
    codec_found(&coded->codec, coded->rows, ROWS, coded->rotated);
    ck_assert_uint_le(width, joined);
    law_fini(&law);
}

static void
coded_close(struct coded *coded)
{
    codec_fini(&coded->codec);
    free(coded->rows);
    free(coded->rotated);
    free(coded->codes);
    free(coded->high);
    free(coded->low);
    free(coded->joined);
    free(coded->components);
}

static const float *
row_of(const struct coded *coded, uint32_t r)
{
    return coded->rows + (size_t)r * coded->codec.dim;
}

static struct byte_meta
encode(struct coded *coded, uint32_t r)
{
    struct byte_meta meta;
    codec_rotate(&coded->codec, row_of(coded, r), coded->rotated);
    codec_encode(&coded->codec, coded->rotated, vector_norm2(row_of(coded, r), coded->codec.dim),
                 coded->codes, coded->high, coded->low, &meta);
    return meta;
}

static struct code_query
ask(struct coded *coded, const float *vector)
{
    struct code_query query;
    codec_rotate(&coded->codec, vector, coded->rotated);
    codec_query(&coded->codec, coded->rotated, vector_norm2(vector, coded->codec.dim),
                coded->codec.radius2, coded->components, &query);
    return query;
}

// Distances of the encoded row by the high plane and by both.
static void
estimate(const struct coded *coded, const struct code_query *query, const struct byte_meta *meta,
         float out[2])
{
    const uint8_t *rows[4] = {coded->high}, *low[1] = {coded->low};
    float rough[4];
    coded->codec.kernels->byte(&query->byte, rows, low, &meta, 1, &out[1]);
    coded->codec.kernels->nibble(&query->nibble, rows, 1, INFINITY, rough);
    out[0] = rough[0];
}

static int
by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double
l2(const float *a, const float *b, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < dim; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

static double
centred2(const struct coded *coded, const float *vector)
{
    return l2(vector, coded->codec.mean, coded->codec.dim);
}

START_TEST(widths_are_multiples_of_32_from_64_on)
{
    static const uint32_t given[] = {1, 64, 65, 96, 100, 127, 128, 129, 784, 65536};
    static const uint32_t width[] = {64, 64, 96, 96, 128, 128, 128, 160, 800, 65536};
    static const uint32_t joined[] = {128, 128, 128, 128, 128, 128, 128, 256, 896, 65536};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        struct codec codec;
        ck_assert_int_eq(codec_init(&codec, given[i], METRIC_L2, VECTOR_F32, 1), OMEN_OK);
        ck_assert_uint_eq(codec.width, width[i]);
        ck_assert_uint_eq(codec.row_bytes, width[i] / 2);
        ck_assert_uint_eq(codec.joined_bytes, joined[i]);
        ck_assert(codec.hadamard <= codec.width && codec.hadamard * 2 > codec.width);
        codec_fini(&codec);
    }
}
END_TEST

START_TEST(preparing_for_cosine_gives_length_one_at_any_size)
{
    static const float sizes[] = {1e-38f, 1e-30f, 1e-10f, 1.0f, 1e10f, 1e30f, 3e38f};
    struct codec codec;
    ck_assert_int_eq(codec_init(&codec, 100, METRIC_COSINE, VECTOR_F32, 1), OMEN_OK);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        float row[100], out[100];
        for (int i = 0; i < 100; i++)
            row[i] = sizes[s] * ((float)(i % 7 - 3) / 3.0f);
        codec_prepare(&codec, row, VECTOR_F32, out);
        ck_assert_float_eq_tol(vector_norm2(out, 100), 1.0f, 1e-5f);
        ck_assert_float_eq_tol(out[1] / out[0], 2.0f / 3.0f, 1e-4f);
    }
    float zeros[100] = {0};
    codec_prepare(&codec, zeros, VECTOR_F32, zeros);
    ck_assert_float_eq(vector_norm2(zeros, 100), 0.0f);
    codec_fini(&codec);
}
END_TEST

START_TEST(preparing_for_other_metrics_changes_nothing)
{
    for (int metric = METRIC_L2; metric <= METRIC_IP; metric++) {
        struct codec codec;
        const float row[3] = {1e20f, -5.0f, 0.25f};
        float out[3];
        ck_assert_int_eq(codec_init(&codec, 3, (enum metric)metric, VECTOR_F32, 1), OMEN_OK);
        codec_prepare(&codec, row, VECTOR_F32, out);
        ck_assert_mem_eq(out, row, sizeof row);
        codec_fini(&codec);
    }
}
END_TEST

START_TEST(founding_takes_the_mean_and_the_largest_length)
{
    struct coded coded;
    coded_open(&coded, 65, METRIC_L2);
    for (uint32_t i = 0; i < 65; i++) {
        double sum = 0.0;
        for (uint32_t r = 0; r < ROWS; r++)
            sum += (double)row_of(&coded, r)[i];
        ck_assert_double_eq_tol((double)coded.codec.mean[i], sum / ROWS, 1e-4);
    }
    coded_close(&coded);
    coded_open(&coded, 65, METRIC_IP);
    float largest2 = 0.0f;
    for (uint32_t r = 0; r < ROWS; r++)
        largest2 = fmaxf(largest2, vector_norm2(row_of(&coded, r), 65));
    ck_assert_float_eq(coded.codec.radius2, largest2);
    for (uint32_t i = 0; i < 65; i++)
        ck_assert_float_eq(coded.codec.mean[i], 0.0f);
    ck_assert_float_eq(codec_extra(&coded.codec, largest2), 0.0f);
    ck_assert_float_eq(codec_extra(&coded.codec, largest2 * 2.0f), 0.0f);
    ck_assert_float_eq_tol(codec_extra(&coded.codec, 0.0f), sqrtf(largest2), 1e-4f);
    ck_assert_float_eq_tol(codec_extra_signed(&coded.codec, 0.0f), sqrtf(largest2), 1e-4f);
    ck_assert_float_eq_tol(codec_extra_signed(&coded.codec, largest2 * 2.0f), -sqrtf(largest2),
                           1e-4f);
    coded_close(&coded);
}
END_TEST

// f16 ends at 65504 times the mean of the founding rows' squared lengths.
START_TEST(rows_however_far_outside_are_compared)
{
    static const float factors[] = {100.0f, 1000.0f, 1e5f, 1e7f};
    struct coded coded;
    coded_open(&coded, 100, METRIC_L2);
    for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++) {
        float *row = coded.rows + (size_t)f * 100, estimates[2];
        for (uint32_t i = 0; i < 100; i++)
            row[i] *= factors[f];
        const struct code_query near = ask(&coded, row_of(&coded, ROWS - 1));
        const struct byte_meta meta = encode(&coded, (uint32_t)f);
        estimate(&coded, &near, &meta, estimates);
        ck_assert(isfinite(estimates[0]) && estimates[0] > 1000.0f * coded.codec.variance);
        const struct code_query own = ask(&coded, row);
        (void)encode(&coded, (uint32_t)f);
        estimate(&coded, &own, &meta, estimates);
        ck_assert(isfinite(estimates[0]));
        ck_assert_float_le(estimates[1], 0.01f * meta.norm);
    }
    coded_close(&coded);
}
END_TEST

START_TEST(rotation_keeps_lengths_and_products)
{
    struct coded coded;
    coded_open(&coded, dims[_i], METRIC_L2);
    const uint32_t width = coded.codec.width;
    float *other = malloc(width * sizeof *other);
    for (uint32_t r = 0; r + 1 < 100; r++) {
        codec_rotate(&coded.codec, row_of(&coded, r), coded.rotated);
        codec_rotate(&coded.codec, row_of(&coded, r + 1), other);
        const double length2 = centred2(&coded, row_of(&coded, r));
        ck_assert_double_eq_tol((double)vector_norm2(coded.rotated, width), length2,
                                1e-4 * length2);
        const double apart2 = l2(row_of(&coded, r), row_of(&coded, r + 1), dims[_i]);
        ck_assert_double_eq_tol(l2(coded.rotated, other, width), apart2, 1e-4 * (apart2 + length2));
    }
    free(other);
    coded_close(&coded);
}
END_TEST

START_TEST(rotation_spreads_one_component_over_all)
{
    const uint32_t dim = dims[_i];
    struct codec codec;
    ck_assert_int_eq(codec_init(&codec, dim, METRIC_L2, VECTOR_F32, 3), OMEN_OK);
    float *axis = calloc(dim, sizeof *axis), *rotated = malloc(codec.width * sizeof *rotated);
    axis[dim / 2] = 1.0f;
    codec_rotate(&codec, axis, rotated);
    float largest = 0.0f;
    for (uint32_t i = 0; i < codec.width; i++)
        largest = fmaxf(largest, fabsf(rotated[i]));
    // Normal components reach sqrt(2 ln width) of their standard deviations.
    ck_assert_float_le(largest, 1.6f * sqrtf(2.0f * logf((float)codec.width) / (float)codec.width));
    free(axis);
    free(rotated);
    codec_fini(&codec);
}
END_TEST

START_TEST(planes_joined_are_the_code)
{
    struct coded coded;
    coded_open(&coded, dims[_i], METRIC_L2);
    const uint32_t width = coded.codec.width, whole = width / 128 * 128, half = (width - whole) / 2;
    for (uint32_t r = 0; r < 50; r++) {
        encode(&coded, r);
        coded.codec.kernels->join(coded.high, coded.low, coded.codec.row_bytes, coded.joined);
        ck_assert_mem_eq(coded.joined, coded.codes, whole);
        ck_assert_mem_eq(coded.joined + whole, coded.codes + whole, half);
        if (half > 0)
            ck_assert_mem_eq(coded.joined + whole + 64, coded.codes + whole + half, half);
    }
    coded_close(&coded);
}
END_TEST

START_TEST(lent_bits_hold_factor_and_norm)
{
    struct coded coded;
    coded_open(&coded, dims[_i], METRIC_L2);
    const float unit = coded.codec.norm_unit;
    for (uint32_t r = 0; r < 50; r++) {
        const struct byte_meta meta = encode(&coded, r);
        uint32_t bits = 0;
        for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
            bits |= (uint32_t)(coded.high[j] & 1) << j;
        const float norm = half_to_float((uint16_t)(bits >> 16)) * unit;
        const float factor = half_to_float((uint16_t)bits) * coded.codec.factor_unit;
        ck_assert_float_eq_tol(norm, meta.norm, meta.norm * 0x1p-11f + unit * 0x1p-24f);
        // The high plane's step is 16 of the whole code's.
        ck_assert_float_eq_tol(factor, meta.factor * 16.0f, meta.factor * 16.0f * 0.25f);
        ck_assert_double_eq_tol((double)meta.norm, centred2(&coded, row_of(&coded, r)),
                                1e-4 * (double)meta.norm);
    }
    coded_close(&coded);
}
END_TEST

struct errors {
    double sum[2], sum2[2];
};

static void
note(struct errors *errors, const float estimates[2], double distance, double spread)
{
    for (int plane = 0; plane < 2; plane++) {
        const double error = ((double)estimates[plane] - distance) / (2.0 * spread);
        errors->sum[plane] += error;
        errors->sum2[plane] += error * error;
    }
}

static void
check_errors(const struct errors *errors, uint32_t width)
{
    // Few components: the lent bits are half of them, and the largest of few is not 3.5 deviations.
    const double high = (width <= 128 ? 0.30 : 0.20) / sqrt(width),
                 both = 0.015 / sqrt(width) + 2e-5;
    const double root[2] = {sqrt(errors->sum2[0] / PAIRS), sqrt(errors->sum2[1] / PAIRS)};
    ck_assert_msg(root[0] <= high, "width %u: high plane's error %g, at most %g", width, root[0],
                  high);
    ck_assert_msg(root[1] <= both, "width %u: both planes' error %g, at most %g", width, root[1],
                  both);
    for (int plane = 0; plane < 2; plane++) {
        const double mean = errors->sum[plane] / PAIRS,
                     limit = 5.0 * root[plane] / sqrt(PAIRS) + 0.03 / width;
        ck_assert_msg(fabs(mean) <= limit, "width %u, plane %d: mean error %g, at most %g", width,
                      plane, mean, limit);
    }
}

START_TEST(estimates_are_near_and_unbiased)
{
    struct coded coded;
    coded_open(&coded, dims[_i], _i % 2 == 0 ? METRIC_L2 : METRIC_COSINE);
    const float scale = coded.codec.metric == METRIC_COSINE ? 2.0f : 1.0f;
    struct prng prng = {.state = 4};
    struct errors errors = {0};
    for (uint32_t p = 0; p < PAIRS; p++) {
        const uint32_t a = prng_below(&prng, ROWS),
                       b = (a + 1 + prng_below(&prng, ROWS - 1)) % ROWS;
        const struct byte_meta meta = encode(&coded, a);
        const struct code_query query = ask(&coded, row_of(&coded, b));
        float estimates[2];
        estimate(&coded, &query, &meta, estimates);
        const double spread =
            sqrt(centred2(&coded, row_of(&coded, a)) * centred2(&coded, row_of(&coded, b)));
        const double apart2 = l2(row_of(&coded, a), row_of(&coded, b), dims[_i]);
        // Estimates below zero are raised to it, so nearly equal pairs say nothing of the mean.
        if (apart2 > 0.5 * spread)
            note(&errors, estimates, apart2, spread);
        ck_assert_float_eq(query.metric_scale, scale);
        ck_assert_float_eq(query.metric_shift, 0.0f);
    }
    check_errors(&errors, coded.codec.width);
    coded_close(&coded);
}
END_TEST

// Rows below the bound of a walk, which is what the 20th nearest of ROWS is: how many are refused by their first bytes; and
// how many of those that lie farther than twice the bound.
struct glances {
    uint32_t near, near_refused, far, far_refused;
};

static void
glance_at_all(struct coded *coded, const struct code_query *query, uint8_t *planes,
              struct glances *glances)
{
    static float distances[ROWS], sorted[ROWS];
    const uint32_t row_bytes = coded->codec.row_bytes;
    for (uint32_t r = 0; r < ROWS; r++) {
        const uint8_t *rows[4] = {planes + (size_t)r * row_bytes};
        float rough[4];
        coded->codec.kernels->nibble(&query->nibble, rows, 1, INFINITY, rough);
        distances[r] = sorted[r] = rough[0];
    }
    qsort(sorted, ROWS, sizeof *sorted, by_size);
    const float bound = sorted[20];
    for (uint32_t r = 0; r < ROWS; r++) {
        const uint8_t *rows[4] = {planes + (size_t)r * row_bytes};
        const uint32_t refused = coded->codec.kernels->glance(&query->glance, rows, 1, bound) == 0;
        glances->near += distances[r] < bound;
        glances->near_refused += distances[r] < bound && refused;
        glances->far += distances[r] > 2 * bound;
        glances->far_refused += distances[r] > 2 * bound && refused;
    }
}

START_TEST(first_bytes_refuse_what_is_far_and_hardly_anything_else)
{
    static const uint32_t wide[] = {768, 784, 1024, 1536, 3072};
    struct coded coded;
    coded_open(&coded, wide[_i], _i % 2 == 0 ? METRIC_L2 : METRIC_COSINE);
    const uint32_t row_bytes = coded.codec.row_bytes;
    uint8_t *planes = malloc((size_t)ROWS * row_bytes);
    ck_assert_ptr_nonnull(planes);
    for (uint32_t r = 0; r < ROWS; r++) {
        encode(&coded, r);
        memcpy(planes + (size_t)r * row_bytes, coded.high, row_bytes);
    }
    coded.codec.high_error = 0.14f / sqrtf((float)coded.codec.width); // hnsw_found.c measures it
    struct glances glances = {0};
    for (uint32_t q = 0; q < ROWS; q++) {
        const struct code_query query = ask(&coded, row_of(&coded, q));
        glance_at_all(&coded, &query, planes, &glances);
    }
    ck_assert_uint_ge(glances.near, 19 * ROWS);
    ck_assert_msg(glances.near_refused * 500 <= glances.near, "%u of %u near rows were refused",
                  glances.near_refused, glances.near);
    ck_assert_uint_gt(glances.far, 10 * ROWS);
    ck_assert_msg(glances.far_refused * 100 >= glances.far * 99, "only %u of %u far rows were",
                  glances.far_refused, glances.far);
    free(planes);
    coded_close(&coded);
}
END_TEST

START_TEST(short_rows_and_products_are_read_whole)
{
    static const struct {
        uint32_t dim, bytes;
        enum metric metric;
    } of[] = {{736, 0, METRIC_L2},    {768, 192, METRIC_COSINE}, {784, 192, METRIC_L2},
              {1536, 256, METRIC_L2}, {3072, 512, METRIC_L2},    {1536, 0, METRIC_IP}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct codec codec;
        ck_assert_int_eq(codec_init(&codec, of[i].dim, of[i].metric, VECTOR_F32, 1), OMEN_OK);
        ck_assert_uint_eq(codec.glance_bytes, of[i].bytes);
        codec_fini(&codec);
    }
}
END_TEST

START_TEST(a_row_is_near_itself)
{
    struct coded coded;
    coded_open(&coded, dims[_i], METRIC_L2);
    for (uint32_t r = 0; r < 50; r++) {
        const struct byte_meta meta = encode(&coded, r);
        const struct code_query query = ask(&coded, row_of(&coded, r));
        float estimates[2];
        estimate(&coded, &query, &meta, estimates);
        ck_assert_float_le(estimates[0], 0.05f * meta.norm);
        ck_assert_float_le(estimates[1], 0.01f * meta.norm);
    }
    coded_close(&coded);
}
END_TEST

START_TEST(products_are_distances_of_vectors_with_one_more_component)
{
    struct coded coded;
    coded_open(&coded, dims[_i], METRIC_IP);
    const uint32_t dim = dims[_i];
    const float radius2 = coded.codec.radius2;
    struct prng prng = {.state = 4};
    struct errors user = {0};
    for (uint32_t p = 0; p < PAIRS; p++) {
        const uint32_t a = prng_below(&prng, ROWS),
                       b = (a + 1 + prng_below(&prng, ROWS - 1)) % ROWS;
        const float *x = row_of(&coded, a), *q = row_of(&coded, b);
        const struct byte_meta meta = encode(&coded, a);
        float estimates[2];
        const double spread = sqrt((double)vector_norm2(x, dim) * (double)radius2);
        const struct code_query query = ask(&coded, q);
        estimate(&coded, &query, &meta, estimates);
        const double metric = 1.0 - (double)vector_dot(x, q, dim);
        const double scaled = metric * (double)query.metric_scale + (double)query.metric_shift;
        if (scaled > 0.25 * (double)radius2)
            note(&user, estimates, scaled, spread);
    }
    check_errors(&user, coded.codec.width);
    coded_close(&coded);
}
END_TEST

START_TEST(coded_pairs_are_as_far_as_their_vectors)
{
    struct coded coded;
    coded_open(&coded, 128, _i == 0 ? METRIC_L2 : METRIC_IP);
    int8_t *one = aligned_alloc(64, coded.codec.joined_bytes);
    for (uint32_t r = 0; r + 1 < 100; r++) {
        const struct byte_meta a = encode(&coded, r);
        for (uint32_t i = 0; i < 128; i++)
            one[i] = (int8_t)(coded.codes[i] ^ 0x80);
        const struct byte_meta b = encode(&coded, r + 1);
        int32_t dot = 0;
        for (uint32_t i = 0; i < 128; i++)
            dot += one[i] * (coded.codes[i] - 128);
        const float *x = row_of(&coded, r), *y = row_of(&coded, r + 1);
        double apart2 = l2(x, y, 128);
        if (_i == 1)
            apart2 += pow((double)(a.norm - b.norm), 2.0);
        const double spread = sqrt(centred2(&coded, x) * centred2(&coded, y));
        ck_assert_double_eq_tol((double)codec_pair(&coded.codec, &a, &b, dot), apart2,
                                0.02 * spread);
    }
    free(one);
    coded_close(&coded);
}
END_TEST

START_TEST(equal_rows_have_codes_without_length)
{
    struct codec codec;
    float rows[3 * 64], rotated[128];
    uint8_t codes[64], high[32], low[32];
    _Alignas(64) int8_t components[128];
    for (int i = 0; i < 3 * 64; i++)
        rows[i] = (float)(i % 64);
    ck_assert_int_eq(codec_init(&codec, 64, METRIC_L2, VECTOR_F32, 1), OMEN_OK);
    codec_found(&codec, rows, 3, rotated);
    struct byte_meta meta;
    codec_rotate(&codec, rows, rotated);
    codec_encode(&codec, rotated, 0.0f, codes, high, low, &meta);
    ck_assert_float_eq(meta.factor, 0.0f);
    ck_assert_float_eq(meta.norm, 0.0f);
    struct code_query query;
    codec_query(&codec, rotated, 0.0f, 0.0f, components, &query);
    const uint8_t *nibbles[4] = {high};
    float out[4];
    codec.kernels->nibble(&query.nibble, nibbles, 1, INFINITY, out);
    ck_assert_float_eq(out[0], 0.0f);
    codec_fini(&codec);
}
END_TEST

START_TEST(refused_memory_leaves_nothing_behind)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct codec codec;
        mem_fail_after(n);
        ck_assert_int_eq(codec_init(&codec, 100, METRIC_L2, VECTOR_F32, 1), OMEN_E_NO_MEMORY);
        mem_fail_after(0);
        ck_assert_ptr_null(codec.mean);
        ck_assert_ptr_null(codec.signs);
    }
}
END_TEST

static Suite *
codec_suite(void)
{
    Suite *suite = suite_create("codec");
    TCase *tcase = tcase_create("codec");
    tcase_add_test(tcase, widths_are_multiples_of_32_from_64_on);
    tcase_add_test(tcase, preparing_for_cosine_gives_length_one_at_any_size);
    tcase_add_test(tcase, preparing_for_other_metrics_changes_nothing);
    tcase_add_test(tcase, founding_takes_the_mean_and_the_largest_length);
    tcase_add_test(tcase, rows_however_far_outside_are_compared);
    tcase_add_loop_test(tcase, rotation_keeps_lengths_and_products, 0, DIMS);
    tcase_add_loop_test(tcase, rotation_spreads_one_component_over_all, 0, DIMS);
    tcase_add_loop_test(tcase, planes_joined_are_the_code, 0, DIMS);
    tcase_add_loop_test(tcase, lent_bits_hold_factor_and_norm, 0, DIMS);
    tcase_add_loop_test(tcase, estimates_are_near_and_unbiased, DIMS_CODED, DIMS);
    tcase_add_loop_test(tcase, first_bytes_refuse_what_is_far_and_hardly_anything_else, 0, 5);
    tcase_add_test(tcase, short_rows_and_products_are_read_whole);
    tcase_add_loop_test(tcase, a_row_is_near_itself, DIMS_CODED, DIMS);
    tcase_add_loop_test(tcase, products_are_distances_of_vectors_with_one_more_component,
                        DIMS_CODED, DIMS);
    tcase_add_loop_test(tcase, coded_pairs_are_as_far_as_their_vectors, 0, 2);
    tcase_add_test(tcase, equal_rows_have_codes_without_length);
    tcase_add_test(tcase, refused_memory_leaves_nothing_behind);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(codec_suite)
