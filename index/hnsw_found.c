// index/hnsw_found.c -- fixing the code from the rows that are there.
//
// Shape: handle.
//
// Until HNSW_FOUND_ROWS rows are there nothing is coded: searches compare all rows. Then the first linker
// to come fixes the code from the rows that were published at that moment, which is the same whoever it is, and
// tries it: where codes do not find the near neighbours that rows find (clusters far apart whose inside is finer
// than a step of the code), or where a row is hardly larger than its code, rows are walked themselves. Of many such
// clusters the trial's rows hold a few each, which any candidates contain; so the error of a distance must be
// smaller than the distances of near rows as well.
#include <math.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define FOUND_SAMPLE 10000u     // rows that the mean is taken from
#define FOUND_FLOATS (4u << 20) // and at most so many components of them
#define TRIAL_ROWS 1024u
#define TRIAL_QUERIES 32u
#define TRIAL_NEAREST 10u
#define TRIAL_CANDIDATES 40u
#define TRIAL_FOUND_MIN 0.9 // share of the nearest that must be among the candidates

static size_t
sample_bytes(const struct hnsw *hnsw, uint32_t count)
{
    return (size_t)count * hnsw->config.dim * sizeof(float);
}

// The rows that the code is learnt from, evenly spaced, prepared. NULL when memory is short. Up to 16 MB in pages of
// their own: on the heap of a thread that is all they would stay resident.
static float *
found_sample(const struct hnsw *hnsw, uint32_t rows, uint32_t *count)
{
    const uint32_t dim = hnsw->config.dim;
    uint32_t want = rows < FOUND_SAMPLE ? rows : FOUND_SAMPLE;
    if ((uint64_t)want * dim > FOUND_FLOATS && want > TRIAL_ROWS)
        want = FOUND_FLOATS / dim > TRIAL_ROWS ? FOUND_FLOATS / dim : TRIAL_ROWS;
    float *sample = pages_alloc(sample_bytes(hnsw, want));
    if (sample == NULL)
        return NULL;
    pages_make_huge(sample, sample_bytes(hnsw, want));
    for (uint32_t i = 0; i < want; i++)
        codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, (uint32_t)((uint64_t)i * rows / want)),
                      hnsw->config.type, sample + (size_t)i * dim);
    *count = want;
    return sample;
}

// Distance of the metric between two prepared vectors.
static float
exact_pair(const struct codec *codec, const float *a, const float *b)
{
    if (codec->metric != METRIC_L2)
        return 1.0f - vector_dot(a, b, codec->dim);
    float sum = 0.0f;
    for (uint32_t i = 0; i < codec->dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

// Codes of the trial's rows and what is learnt from them.
struct trial {
    uint8_t *high, *low; // TRIAL_ROWS planes each
    struct byte_meta metas[TRIAL_ROWS];
    float norms[TRIAL_ROWS]; // |x - mean|^2
    uint64_t exact_keys[TRIAL_NEAREST + 1], code_keys[TRIAL_CANDIDATES + 1];
    double high_error2, both_error2;
    float near
        [TRIAL_QUERIES]; // the second nearest row's distance, as errors are measured; 0: an equal row
    uint32_t pairs, found, asked;
};

static void
trial_encode(const struct codec *codec, const float *sample, struct scratch *scratch,
             struct trial *trial)
{
    for (uint32_t i = 0; i < TRIAL_ROWS; i++) {
        const float *vector = sample + (size_t)i * codec->dim;
        codec_rotate(codec, vector, scratch->rotated);
        trial->norms[i] = vector_norm2(scratch->rotated, codec->width);
        codec_encode(codec, scratch->rotated, vector_norm2(vector, codec->dim), scratch->codes,
                     trial->high + (size_t)i * codec->row_bytes,
                     trial->low + (size_t)i * codec->row_bytes, &trial->metas[i]);
    }
}

// Asks for the neighbours of the q-th row of the trial's by rows and by codes.
static void
trial_query(const struct codec *codec, const float *sample, uint32_t q, struct scratch *scratch,
            struct trial *trial)
{
    const uint32_t row = q * (TRIAL_ROWS / TRIAL_QUERIES);
    const float *query = sample + (size_t)row * codec->dim;
    const struct code_query *coded = &scratch->query;
    struct nearest by_row = {.keys = trial->exact_keys, .capacity = TRIAL_NEAREST};
    struct nearest by_code = {.keys = trial->code_keys, .capacity = TRIAL_CANDIDATES};
    codec_rotate(codec, query, scratch->rotated);
    codec_query(codec, scratch->rotated, vector_norm2(query, codec->dim), codec->radius2,
                scratch->components, &scratch->query);
    for (uint32_t i = 0; i < TRIAL_ROWS; i++) {
        if (i == row)
            continue;
        const uint8_t *high[4] = {trial->high + (size_t)i * codec->row_bytes};
        const uint8_t *low[1] = {trial->low + (size_t)i * codec->row_bytes};
        const struct byte_meta *meta[1] = {&trial->metas[i]};
        float rough[4], fine;
        codec->kernels->nibble(&coded->nibble, high, 1, INFINITY, rough);
        codec->kernels->byte(&coded->byte, high, low, meta, 1, &fine);
        const float metric = exact_pair(codec, query, sample + (size_t)i * codec->dim);
        const float pair = metric * coded->metric_scale + coded->metric_shift;
        const float exact = pair > 0.0f ? pair : 0.0f;
        nearest_insert(&by_code, nearest_key(rough[0], i));
        nearest_insert(&by_row, nearest_key(exact, i));
        const double spread2 = 4.0 * (double)coded->spread2 * (double)trial->norms[i];
        if (spread2 > 0.0) {
            trial->high_error2 += (double)((rough[0] - exact) * (rough[0] - exact)) / spread2;
            trial->both_error2 += (double)((fine - exact) * (fine - exact)) / spread2;
            trial->pairs++;
        }
    }
    for (uint32_t e = 0; e < by_row.count; e++)
        for (uint32_t c = 0; c < by_code.count; c++)
            trial->found += nearest_slot(by_row.keys[e]) == nearest_slot(by_code.keys[c]);
    trial->asked += by_row.count;
    // The second, because a row may have one that is nearly equal anywhere.
    const double spread2 =
        4.0 * (double)coded->spread2 * (double)trial->norms[nearest_slot(by_row.keys[1])];
    trial->near[q] =
        spread2 > 0.0 ? (float)((double)nearest_distance(by_row.keys[1]) / sqrt(spread2)) : 0.0f;
}

// Share of each query's nearest rows that are among its nearest codes; notes the codes' errors. Negative when memory is
// short.
static double
try_code(struct codec *codec, const float *sample, struct scratch *scratch)
{
    struct trial *trial = mem_alloc_zero(1, sizeof *trial);
    const size_t planes_bytes = (size_t)TRIAL_ROWS * codec->row_bytes * 2;
    uint8_t *planes = pages_alloc_small(planes_bytes);
    if (trial == NULL || planes == NULL) {
        pages_free(planes, planes_bytes);
        mem_free(trial);
        return -1.0;
    }
    trial->high = planes;
    trial->low = planes + (size_t)TRIAL_ROWS * codec->row_bytes;
    trial_encode(codec, sample, scratch, trial);
    for (uint32_t q = 0; q < TRIAL_QUERIES; q++)
        trial_query(codec, sample, q, scratch, trial);
    const uint32_t pairs = trial->pairs > 0 ? trial->pairs : 1;
    codec->high_error = (float)sqrt(trial->high_error2 / pairs);
    codec->both_error = (float)sqrt(trial->both_error2 / pairs);
    const double found = (double)trial->found / trial->asked;
    uint32_t blind = 0;
    for (uint32_t q = 0; q < TRIAL_QUERIES; q++)
        blind += trial->near[q] > 0.0f && trial->near[q] < codec->high_error;
    pages_free(planes, planes_bytes);
    mem_free(trial);
    return blind * 2 > TRIAL_QUERIES ? 0.0 : found;
}

bool
hnsw_learn(const struct hnsw *hnsw, struct codec *codec, struct scratch *scratch)
{
    uint32_t count;
    float *sample = found_sample(hnsw, hnsw_count(hnsw), &count);
    if (sample == NULL)
        return false;
    codec_found(codec, sample, count, scratch->rotated);
    if (count >= TRIAL_ROWS)
        (void)try_code(codec, sample, scratch);
    pages_free(sample, sample_bytes(hnsw, count));
    return true;
}

// Under found_lock. False when memory is short: all rows stay tail, and the next linker tries again.
static bool
found_now(struct hnsw *hnsw, uint32_t rows, struct scratch *scratch)
{
    if (scratch_fit(scratch, hnsw, 1, hnsw->config.build_beam) != OMEN_OK)
        return false;
    uint32_t count;
    float *sample = found_sample(hnsw, rows, &count);
    if (sample == NULL)
        return false;
    codec_found(&hnsw->codec, sample, count, scratch->rotated);
    enum code_kind kind = CODE_EXACT;
    if (hnsw_may_code(&hnsw->config)) {
        const double share = try_code(&hnsw->codec, sample, scratch);
        kind = share >= TRIAL_FOUND_MIN ? CODE_NIBBLE : share >= 0.0 ? CODE_EXACT : CODE_NONE;
    }
    pages_free(sample, sample_bytes(hnsw, count));
    atomic_store_explicit(&hnsw->kind, (uint32_t)kind, memory_order_release);
    return kind != CODE_NONE;
}

bool
hnsw_found(struct hnsw *hnsw, struct scratch *scratch)
{
    const uint32_t rows = atomic_load_explicit(&hnsw->found_rows, memory_order_acquire);
    if (rows == 0)
        return false;
    if (hnsw_kind(hnsw) != CODE_NONE)
        return true;
    lock_acquire(&hnsw->found_lock);
    const bool done = hnsw_kind(hnsw) != CODE_NONE || found_now(hnsw, rows, scratch);
    lock_release(&hnsw->found_lock);
    return done;
}

float
hnsw_drift(const struct hnsw *hnsw)
{
    const uint32_t rows = hnsw_count(hnsw), dim = hnsw->config.dim;
    if (rows == 0 || hnsw_kind(hnsw) == CODE_NONE || hnsw->config.metric == METRIC_IP ||
        !(hnsw->codec.variance > 0.0f))
        return 0.0f;
    uint32_t count;
    float *sample = found_sample(hnsw, rows, &count);
    if (sample == NULL)
        return 0.0f;
    double drift = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        double sum = 0.0;
        for (uint32_t r = 0; r < count; r++)
            sum += (double)sample[(size_t)r * dim + i];
        const double apart = sum / count - (double)hnsw->codec.mean[i];
        drift += apart * apart;
    }
    pages_free(sample, sample_bytes(hnsw, count));
    return (float)(drift / (double)hnsw->codec.variance);
}
