// index/hnsw.c -- opening, appending, founding and counting.
//
// Shape: handle.
//
// Founding. Until HNSW_FOUND_ROWS rows are there nothing is coded: searches compare all rows. Then the first linker
// to come fixes the code from the rows that were published at that moment, which is the same whoever it is, and
// tries it: where codes do not find the near neighbours that rows find (clusters far apart whose inside is finer
// than a step of the code), or where a row is hardly larger than its code, rows are walked themselves.
#include <math.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define FOUND_SAMPLE 10000u      // rows that the mean is taken from
#define FOUND_FLOATS (4u << 20)  // and at most so many components of them
#define CODE_DIM_MIN 48u         // rows of fewer components are walked themselves
#define TRIAL_ROWS 1024u
#define TRIAL_QUERIES 32u
#define TRIAL_NEAREST 10u
#define TRIAL_CANDIDATES 40u
#define TRIAL_FOUND_MIN 0.9  // share of the nearest that must be among the candidates

static omen_status open_parts(struct hnsw *hnsw);

omen_status
hnsw_open(const struct hnsw_config *config, struct hnsw **out)
{
    ASSERT(config->dim >= 1 && config->dim <= VECTOR_DIM_MAX);
    ASSERT(config->slots_max >= 1 && config->slots_max <= SLOTS_MAX);
    ASSERT(config->links >= 2 && config->links <= LINKS_PER_NODE_MAX);
    ASSERT(config->build_beam >= 1 && config->build_beam <= BEAM_MAX);
    *out = NULL;
    struct hnsw *hnsw = mem_alloc_aligned(64, sizeof *hnsw);
    if (hnsw == NULL)
        return OMEN_E_NO_MEMORY;
    memset((void *)hnsw, 0, sizeof *hnsw);
    hnsw->config = *config;
    hnsw->kernels = kernels_best();
    hnsw->row_bytes = (size_t)config->dim * vector_type_bytes(config->type);
    lock_init(&hnsw->found_lock);
    lock_init(&hnsw->reach_lock);
    const omen_status status = open_parts(hnsw);
    if (status != OMEN_OK) {
        hnsw_close(hnsw);
        return status;
    }
    *out = hnsw;
    return OMEN_OK;
}

static omen_status
open_parts(struct hnsw *hnsw)
{
    const struct hnsw_config *config = &hnsw->config;
    omen_status status = codec_init(&hnsw->codec, config->dim, config->metric, config->type, config->seed);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->rows, hnsw->row_bytes, config->slots_max);
    const uint32_t words = bitmap_words(config->slots_max) + 1;
    hnsw->erased = mem_alloc_zero(words, sizeof *hnsw->erased);
    if (hnsw->erased == NULL)
        status = OMEN_E_NO_MEMORY;
    if (status != OMEN_OK || config->flat)
        return status;
    hnsw->linked = mem_alloc_zero(words, sizeof *hnsw->linked);
    hnsw->repaired = mem_alloc_zero(words, sizeof *hnsw->repaired);
    if (hnsw->linked == NULL || hnsw->repaired == NULL)
        return OMEN_E_NO_MEMORY;
    status = graph_init(&hnsw->graph, 2u * config->links, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->high, hnsw->codec.row_bytes, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->low, hnsw->codec.row_bytes, config->slots_max);
    if (status == OMEN_OK)
        status = arena_init(&hnsw->meta, sizeof(struct byte_meta), config->slots_max);
    if (status == OMEN_OK)
        status = entries_init(&hnsw->entries, hnsw->codec.row_bytes, config->seed);
    return status;
}

void
hnsw_close(struct hnsw *hnsw)
{
    if (hnsw == NULL)
        return;
    entries_fini(&hnsw->entries);
    graph_fini(&hnsw->graph);
    arena_fini(&hnsw->rows);
    arena_fini(&hnsw->high);
    arena_fini(&hnsw->low);
    arena_fini(&hnsw->meta);
    mem_free((void *)hnsw->erased);
    mem_free((void *)hnsw->linked);
    mem_free((void *)hnsw->repaired);
    codec_fini(&hnsw->codec);
    lock_fini(&hnsw->found_lock);
    lock_fini(&hnsw->reach_lock);
    mem_free(hnsw);
}

// Whether rows will be coded: known before founding but for the trial, so that room is made in time.
static bool
may_code(const struct hnsw_config *config)
{
    return !config->flat && config->quantization == HNSW_QUANTIZE_INT8 && config->dim >= CODE_DIM_MIN &&
           config->type != VECTOR_I8 && config->type != VECTOR_U8;
}

omen_status
hnsw_reserve(struct hnsw *hnsw, uint32_t count)
{
    if (count > hnsw->config.slots_max)
        return OMEN_E_FULL;
    omen_status status = arena_reserve(&hnsw->rows, count);
    if (status == OMEN_OK && !hnsw->config.flat)
        status = arena_reserve(&hnsw->graph.rows, count);
    if (status == OMEN_OK && !hnsw->config.flat)
        status = arena_reserve(&hnsw->meta, count);
    if (status == OMEN_OK && may_code(&hnsw->config))
        status = arena_reserve(&hnsw->high, count);
    if (status == OMEN_OK && may_code(&hnsw->config))
        status = arena_reserve(&hnsw->low, count);
    if (status == OMEN_OK && count > hnsw->reserved)
        hnsw->reserved = count;
    return status;
}

static void
note_norm(struct hnsw *hnsw, const void *row)
{
    // Squares of the stored row against zero, by the kernel that compares rows.
    const struct codec *codec = &hnsw->codec;
    float               product;
    const void *const   rows[1] = {row};
    hnsw->kernels->exact[METRIC_L2][codec->type - 1](codec->mean, rows, 1, codec->dim, &product);
    if (product > bits_float(atomic_load_explicit(&hnsw->norm_max2, memory_order_relaxed)))
        atomic_store_explicit(&hnsw->norm_max2, float_bits(product), memory_order_relaxed);
}

uint32_t
hnsw_append(struct hnsw *hnsw, const void *rows, size_t stride, uint32_t count)
{
    ASSERT(count <= hnsw->reserved - hnsw->appended);
    const uint32_t first = hnsw->appended;
    for (uint32_t i = 0; i < count;) {
        // As many rows as lie side by side here and there.
        uint8_t *const at = arena_row(&hnsw->rows, first + i);
        const uint32_t room = hnsw->rows.mask + 1 - ((first + i) & hnsw->rows.mask);
        uint32_t       run = stride == hnsw->row_bytes ? count - i : 1;
        run = run < room ? run : room;
        memcpy(at, (const uint8_t *)rows + (size_t)i * stride, run * hnsw->row_bytes);
        i += run;
    }
    if (hnsw->config.metric == METRIC_IP && !hnsw->config.flat)
        for (uint32_t i = 0; i < count; i++)
            note_norm(hnsw, arena_row(&hnsw->rows, first + i));
    if (!hnsw->config.flat)
        graph_clear(&hnsw->graph, first, count);
    hnsw->appended += count;
    return first;
}

void
hnsw_publish(struct hnsw *hnsw)
{
    atomic_store_explicit(&hnsw->published, hnsw->appended, memory_order_release);
    if (hnsw->config.flat || hnsw->appended < HNSW_FOUND_ROWS)
        return;
    if (atomic_load_explicit(&hnsw->found_rows, memory_order_relaxed) == 0)
        atomic_store_explicit(&hnsw->found_rows, hnsw->appended, memory_order_release);
}

const void *
hnsw_row(const struct hnsw *hnsw, uint32_t slot)
{
    return arena_row(&hnsw->rows, slot);
}

// ---- founding ----

// The rows that the code is learnt from, evenly spaced, prepared.
static float *
found_sample(const struct hnsw *hnsw, uint32_t rows, uint32_t *count)
{
    const uint32_t dim = hnsw->config.dim;
    uint32_t       want = rows < FOUND_SAMPLE ? rows : FOUND_SAMPLE;
    if ((uint64_t)want * dim > FOUND_FLOATS)
        want = FOUND_FLOATS / dim > TRIAL_ROWS ? FOUND_FLOATS / dim : TRIAL_ROWS;
    float *sample = mem_alloc((size_t)want * dim * sizeof *sample);
    ASSERT(sample != NULL);
    for (uint32_t i = 0; i < want; i++)
        codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, (uint32_t)((uint64_t)i * rows / want)),
                      hnsw->config.type, sample + (size_t)i * dim);
    *count = want;
    return sample;
}

static float
exact_pair(const struct codec *codec, const float *a, const float *b)
{
    if (codec->metric != METRIC_L2)
        return -vector_dot(a, b, codec->dim);
    float sum = 0.0f;
    for (uint32_t i = 0; i < codec->dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

struct trial {
    uint8_t         *high, *low;
    struct byte_meta meta;
    uint64_t         exact_keys[TRIAL_NEAREST + 1], code_keys[TRIAL_CANDIDATES + 1];
};

// Share of each query's nearest rows that are among its nearest codes.
static double
try_code(const struct hnsw *hnsw, const float *sample, struct scratch *scratch)
{
    const struct codec *codec = &hnsw->codec;
    const uint32_t      dim = codec->dim, bytes = codec->row_bytes;
    struct trial       *trial = mem_alloc_zero(1, sizeof *trial);
    uint8_t            *codes = mem_alloc_aligned(64, (size_t)TRIAL_ROWS * bytes * 2);
    ASSERT(trial != NULL && codes != NULL);
    for (uint32_t i = 0; i < TRIAL_ROWS; i++) {
        const float *vector = sample + (size_t)i * dim;
        codec_rotate(codec, vector, scratch->rotated);
        codec_encode(codec, scratch->rotated, vector_norm2(vector, dim), scratch->codes,
                     codes + (size_t)i * bytes, codes + (size_t)(TRIAL_ROWS + i) * bytes, &trial->meta);
    }
    uint32_t found = 0, asked = 0;
    for (uint32_t q = 0; q < TRIAL_QUERIES; q++) {
        const uint32_t row = q * (TRIAL_ROWS / TRIAL_QUERIES);
        const float   *query = sample + (size_t)row * dim;
        const float    norm2 = vector_norm2(query, dim);
        struct nearest exact = {.keys = trial->exact_keys, .capacity = TRIAL_NEAREST};
        struct nearest coded = {.keys = trial->code_keys, .capacity = TRIAL_CANDIDATES};
        codec_rotate(codec, query, scratch->rotated);
        codec_query(codec, scratch->rotated, norm2, codec->radius2, ASKER_USER, scratch->components,
                    &scratch->query);
        for (uint32_t i = 0; i < TRIAL_ROWS; i++) {
            if (i == row)
                continue;
            const uint8_t *high[4] = {codes + (size_t)i * bytes};
            float          distance[4];
            hnsw->kernels->nibble(&scratch->query.nibble, high, 1, INFINITY, distance);
            nearest_insert(&coded, nearest_key(distance[0], i));
            // Keys want numbers that are not negative; the shift is the same for all.
            const float shift = codec->metric == METRIC_L2 ? 0.0f : sqrtf(norm2 * codec->radius2) + 1.0f;
            const float pair = exact_pair(codec, query, sample + (size_t)i * dim) + shift;
            nearest_insert(&exact, nearest_key(pair > 0.0f ? pair : 0.0f, i));
        }
        for (uint32_t e = 0; e < exact.count; e++)
            for (uint32_t c = 0; c < coded.count; c++)
                found += nearest_slot(exact.keys[e]) == nearest_slot(coded.keys[c]);
        asked += exact.count;
    }
    mem_free(codes);
    mem_free(trial);
    return (double)found / asked;
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
    if (hnsw_kind(hnsw) == CODE_NONE) {
        scratch_need(scratch, hnsw, 1, hnsw->config.build_beam);
        uint32_t count;
        float   *sample = found_sample(hnsw, rows, &count);
        codec_found(&hnsw->codec, sample, count, scratch->rotated);
        enum code_kind kind = CODE_EXACT;
        if (may_code(&hnsw->config) && try_code(hnsw, sample, scratch) >= TRIAL_FOUND_MIN)
            kind = CODE_NIBBLE;
        mem_free(sample);
        atomic_store_explicit(&hnsw->kind, (uint32_t)kind, memory_order_release);
    }
    lock_release(&hnsw->found_lock);
    return true;
}

// ---- counting ----

uint32_t
hnsw_count(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->published, memory_order_acquire);
}

uint32_t
hnsw_live(const struct hnsw *hnsw)
{
    const uint32_t erased = atomic_load_explicit(&hnsw->erased_count, memory_order_acquire);
    return hnsw_count(hnsw) - erased;
}

uint32_t
hnsw_tail(const struct hnsw *hnsw)
{
    const uint32_t linked = atomic_load_explicit(&hnsw->linked_count, memory_order_acquire);
    return hnsw_count(hnsw) - linked;
}

bool
hnsw_founded(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->found_rows, memory_order_acquire) != 0;
}

bool
hnsw_erased(const struct hnsw *hnsw, uint32_t slot)
{
    return atomic_bit_test(hnsw->erased, slot);
}

const char *
hnsw_code_name(const struct hnsw *hnsw)
{
    switch (hnsw_kind(hnsw)) {
    case CODE_NIBBLE:
        return "nibble+byte";
    case CODE_EXACT:
        return "exact";
    case CODE_NONE:
        break;
    }
    return "none";
}

void
hnsw_memory(const struct hnsw *hnsw, struct hnsw_memory *memory)
{
    const uint32_t rows = hnsw_count(hnsw);
    *memory = (struct hnsw_memory){.rows = arena_bytes(&hnsw->rows, rows),
                                   .other = sizeof *hnsw + ((size_t)rows + 63) / 64 * 8};
    if (hnsw->config.flat)
        return;
    memory->links = arena_bytes(&hnsw->graph.rows, rows);
    if (hnsw_kind(hnsw) != CODE_NONE)
        memory->codes = arena_bytes(&hnsw->meta, rows);
    if (hnsw_kind(hnsw) == CODE_NIBBLE)
        memory->codes += arena_bytes(&hnsw->high, rows) + arena_bytes(&hnsw->low, rows);
    memory->other += ((size_t)rows + 63) / 64 * 16 + GRAPH_LOCKS;
    memory->other += atomic_load_explicit(&hnsw->entries.count, memory_order_relaxed) * hnsw->codec.row_bytes;
}

float
hnsw_drift(const struct hnsw *hnsw)
{
    const uint32_t rows = hnsw_count(hnsw), dim = hnsw->config.dim;
    if (hnsw_kind(hnsw) == CODE_NONE || hnsw->config.metric == METRIC_IP || !(hnsw->codec.variance > 0.0f))
        return 0.0f;
    uint32_t count;
    float   *sample = found_sample(hnsw, rows, &count);
    double   drift = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        double sum = 0.0;
        for (uint32_t r = 0; r < count; r++)
            sum += (double)sample[(size_t)r * dim + i];
        const double apart = sum / count - (double)hnsw->codec.mean[i];
        drift += apart * apart;
    }
    mem_free(sample);
    return (float)(drift / (double)hnsw->codec.variance);
}

double
hnsw_links_mean(const struct hnsw *hnsw)
{
    const uint32_t rows = hnsw_count(hnsw);
    uint64_t       links = 0, nodes = 0;
    uint32_t       row[LINK_ROW_MAX];
    for (uint32_t slot = 0; hnsw->linked != NULL && slot < rows; slot++) {
        if (!atomic_bit_test(hnsw->linked, slot) || atomic_bit_test(hnsw->erased, slot))
            continue;
        links += graph_read(&hnsw->graph, slot, rows, row);
        nodes++;
    }
    return nodes > 0 ? (double)links / (double)nodes : 0.0;
}
