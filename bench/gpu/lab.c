// bench/gpu/lab.c -- an index of made rows: coded, linked by blocks from a device or by the CPU, and searched.
//
// It looks into the index: a device's blocks are put in place here while nobody else is there.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "bench/gpu/check.h"
#include "gpu/mirror.h"
#include "index/hnsw_bulk.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define INNER 24u // dimensions that the rows really have
#define MIDDLE 64u
#define CLUSTERS 10000u
#define BATCH_ROWS 262144u // rows made and appended at a time
#define UNIT_ROWS 1024u    // of one unit of work
#define QUERY_SEED 0x71756572ull
#define QUERIES 2000u
#define ROWS_A_QUERY 4u // at least: few rows are for trials, by the plain half
#define SPREAD_SEED 0x6c6f6e67ull
#define K 10u
#define BUILD_BEAM 200u

// ---- rows ----
struct surface {
    float *centres;     // CLUSTERS x INNER
    float *spread;      // CLUSTERS
    double *cumulative; // CLUSTERS: Zipf's weights, added up
    float *first;       // MIDDLE x INNER
    float *offset;      // MIDDLE
    float *second;      // MIDDLE x dim
    uint32_t dim;
};

// Nearly normal: the sum of four uniform numbers of 16 bits.
static float
normal(struct prng *prng)
{
    const uint64_t bits = prng_next(prng);
    const uint32_t sum = (uint32_t)(bits & 0xffff) + (uint32_t)(bits >> 16 & 0xffff) +
                         (uint32_t)(bits >> 32 & 0xffff) + (uint32_t)(bits >> 48);
    return ((float)sum * (1.0f / 65536.0f) - 2.0f) * 1.7320508f;
}

static void *
memory_of(size_t bytes)
{
    void *memory = mem_alloc_aligned(64, bytes);
    if (memory == NULL)
        die("no memory for %zu bytes", bytes);
    return memory;
}

static void
surface_open(struct surface *surface, uint32_t dim)
{
    surface->dim = dim;
    surface->centres = memory_of((size_t)CLUSTERS * INNER * sizeof(float));
    surface->spread = memory_of(CLUSTERS * sizeof(float));
    surface->cumulative = memory_of(CLUSTERS * sizeof(double));
    surface->first = memory_of((size_t)MIDDLE * INNER * sizeof(float));
    surface->offset = memory_of(MIDDLE * sizeof(float));
    surface->second = memory_of((size_t)MIDDLE * dim * sizeof(float));
    struct prng prng;
    prng_init(&prng, 7);
    double sum = 0.0;
    for (uint32_t c = 0; c < CLUSTERS; c++) {
        for (uint32_t i = 0; i < INNER; i++)
            surface->centres[c * INNER + i] = normal(&prng);
        surface->spread[c] = 0.15f + 0.35f * prng_unit(&prng);
        surface->cumulative[c] = sum += 1.0 / (c + 1.0);
    }
    for (uint32_t c = 0; c < CLUSTERS; c++)
        surface->cumulative[c] /= sum;
    for (uint32_t i = 0; i < MIDDLE * INNER; i++)
        surface->first[i] = normal(&prng) * 1.5f / sqrtf((float)INNER);
    for (uint32_t i = 0; i < MIDDLE; i++)
        surface->offset[i] = normal(&prng) * 0.3f;
    for (uint32_t i = 0; i < MIDDLE * dim; i++)
        surface->second[i] = normal(&prng) / sqrtf((float)MIDDLE);
}

static void
surface_close(struct surface *surface)
{
    mem_free(surface->centres);
    mem_free(surface->spread);
    mem_free(surface->cumulative);
    mem_free(surface->first);
    mem_free(surface->offset);
    mem_free(surface->second);
}

// The row is made of its number alone, whoever makes it.
static void
surface_point(const struct surface *surface, uint64_t number, float *out)
{
    struct prng prng;
    prng_init(&prng, mix64(number));
    const double drawn = (double)(prng_next(&prng) >> 11) * 0x1p-53;
    uint32_t low = 0, high = CLUSTERS - 1;
    while (low < high) {
        const uint32_t half = (low + high) / 2;
        if (surface->cumulative[half] < drawn)
            low = half + 1;
        else
            high = half;
    }
    float inner[INNER];
    for (uint32_t i = 0; i < INNER; i++)
        inner[i] = surface->centres[low * INNER + i] + surface->spread[low] * normal(&prng);
    for (uint32_t c = 0; c < surface->dim; c++)
        out[c] = 0.05f * normal(&prng);
    for (uint32_t m = 0; m < MIDDLE; m++) {
        float sum = surface->offset[m];
        for (uint32_t i = 0; i < INNER; i++)
            sum += surface->first[m * INNER + i] * inner[i];
        const float bent = tanhf(sum);
        const float *const column = surface->second + (size_t)m * surface->dim;
        for (uint32_t c = 0; c < surface->dim; c++)
            out[c] += bent * column[c];
    }
}

struct making {
    const struct surface *surface;
    float *rows;
    uint64_t first;
    uint32_t count;
    uint32_t spread; // of lengths, in hundredths
};

static void
stretch(float *row, uint64_t number, const struct making *making)
{
    struct prng prng;
    prng_init(&prng, mix64(SPREAD_SEED + number));
    const float longer = expf((float)making->spread / 100.0f * normal(&prng));
    for (uint32_t c = 0; c < making->surface->dim; c++)
        row[c] *= longer;
}

static void
make_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct making *making = context;
    for (uint32_t i = index * UNIT_ROWS; i < (index + 1) * UNIT_ROWS && i < making->count; i++) {
        float *const row = making->rows + (size_t)i * making->surface->dim;
        surface_point(making->surface, making->first + i, row);
        if (making->spread > 0)
            stretch(row, making->first + i, making);
    }
}

static void
make_rows(struct making *making, uint32_t threads)
{
    pool_run(threads, (making->count + UNIT_ROWS - 1) / UNIT_ROWS, make_unit, making);
}

static void
append_rows(struct lab *lab, const struct surface *surface)
{
    const uint32_t batch = lab->rows.count < BATCH_ROWS ? lab->rows.count : BATCH_ROWS;
    const size_t row_bytes = lab->rows.dim * sizeof(float);
    struct making making = {
        .surface = surface, .rows = memory_of(batch * row_bytes), .spread = lab->rows.spread};
    for (uint32_t first = 0; first < lab->rows.count; first += batch) {
        making.first = first;
        making.count = lab->rows.count - first < batch ? lab->rows.count - first : batch;
        make_rows(&making, lab->threads);
        (void)hnsw_append(lab->hnsw, making.rows, row_bytes, making.count);
    }
    hnsw_publish(lab->hnsw);
    mem_free(making.rows);
}

void
lab_open(struct lab *lab, const struct lab_rows *rows, uint32_t threads)
{
    const uint32_t dim = rows->dim;
    *lab = (struct lab){.rows = *rows, .threads = threads, .query_count = QUERIES};
    if (rows->count / ROWS_A_QUERY < QUERIES)
        lab->query_count = rows->count / ROWS_A_QUERY;
    const struct hnsw_config config = {.dim = dim,
                                       .slots_max = rows->count,
                                       .links = 16,
                                       .build_beam = BUILD_BEAM,
                                       .metric = rows->spread > 0 ? METRIC_IP : METRIC_L2,
                                       .type = VECTOR_F32,
                                       .quantization = HNSW_QUANTIZE_INT8,
                                       .seed = 1};
    must(hnsw_open(&config, &lab->hnsw), "opening an index");
    must(hnsw_reserve(lab->hnsw, lab->rows.count), "room for the rows");
    struct surface surface;
    surface_open(&surface, dim);
    append_rows(lab, &surface);
    lab->queries = memory_of((size_t)lab->query_count * dim * sizeof *lab->queries);
    struct making asked = {.surface = &surface,
                           .rows = lab->queries,
                           .first = QUERY_SEED << 32,
                           .count = lab->query_count};
    make_rows(&asked, threads);
    surface_close(&surface);
    lab->scratch = memory_of(threads * sizeof *lab->scratch);
    for (uint32_t t = 0; t < threads; t++) {
        must(scratch_open(&lab->scratch[t]), "a scratch");
        must(scratch_fit(lab->scratch[t], lab->hnsw, 100, BUILD_BEAM), "a scratch");
    }
}

void
lab_close(struct lab *lab)
{
    for (uint32_t t = 0; t < lab->threads; t++)
        scratch_close(lab->scratch[t]);
    mem_free(lab->scratch);
    mem_free(lab->queries);
    mem_free(lab->truth);
    hnsw_close(lab->hnsw);
}

// ---- codes ----
static void
encode_unit(void *context, uint32_t index, uint32_t worker)
{
    const struct lab *lab = context;
    struct hnsw *hnsw = lab->hnsw;
    struct scratch *scratch = lab->scratch[worker];
    for (uint32_t i = index * UNIT_ROWS; i < (index + 1) * UNIT_ROWS && i < lab->rows.count; i++) {
        hnsw_encode(hnsw, i, scratch);
    }
}

void
lab_encode(struct lab *lab)
{
    if (!hnsw_found(lab->hnsw, lab->scratch[0]) || hnsw_kind(lab->hnsw) != CODE_NIBBLE)
        die("%u rows of %u are not coded", lab->rows.count, lab->rows.dim);
    pool_run(lab->threads, (lab->rows.count + UNIT_ROWS - 1) / UNIT_ROWS, encode_unit, lab);
}

static void
copy_array(const struct arena *arena, uint32_t count, uint8_t *out)
{
    for (uint32_t i = 0; i < count;) {
        const uint32_t room = arena->mask + 1 - (i & arena->mask);
        const uint32_t run = count - i < room ? count - i : room;
        memcpy(out + (size_t)i * arena->row_bytes, arena_row(arena, i), run * arena->row_bytes);
        i += run;
    }
}

void
lab_input_open(const struct lab *lab, const struct device_handle *handle, struct lab_input *out)
{
    const struct hnsw *hnsw = lab->hnsw;
    const struct arena *const arrays[3] = {&hnsw->high, &hnsw->low, &hnsw->meta};
    const uint32_t row_bytes = hnsw->codec.row_bytes;
    const uint32_t stride = (row_bytes * 2 + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
    uint8_t *copies[3];
    for (uint32_t i = 0; i < 3; i++) {
        copies[i] = pinned_memory(handle, (size_t)lab->rows.count * arrays[i]->row_bytes);
        copy_array(arrays[i], lab->rows.count, copies[i]);
    }
    out->codes = pinned_memory(handle, (size_t)lab->rows.count * stride);
    out->metas = copies[2];
    const struct device_join join = {copies[0], copies[1], lab->rows.count,
                                     row_bytes, stride,    (int8_t *)out->codes};
    if (device_cpu.join(NULL, &join) != OMEN_OK)
        die("codes cannot be joined");
    handle->ops->host_free(handle->device, copies[0]);
    handle->ops->host_free(handle->device, copies[1]);
    out->input = (struct gpu_build_input){.codes = out->codes,
                                          .metas = out->metas,
                                          .count = lab->rows.count,
                                          .stride = stride,
                                          .ip = hnsw->config.metric == METRIC_IP,
                                          .radius2 = hnsw->codec.radius2};
}

void
lab_input_close(const struct device_handle *handle, struct lab_input *input)
{
    handle->ops->host_free(handle->device, input->codes);
    handle->ops->host_free(handle->device, input->metas);
}

// ---- links ----
void
lab_install(struct lab *lab, const uint8_t *blocks)
{
    struct hnsw *hnsw = lab->hnsw;
    const size_t bytes = hnsw->graph.rows.row_bytes;
    for (uint32_t i = 0; i < lab->rows.count; i++) {
        memcpy(arena_row(&hnsw->graph.rows, i), blocks + (size_t)i * bytes, bytes);
        (void)atomic_bit_set(hnsw->linked, i);
    }
    atomic_store(&hnsw->claimed, lab->rows.count);
    atomic_store(&hnsw->linked_count, lab->rows.count);
    atomic_store(&hnsw->linked_prefix, lab->rows.count);
    entries_draw(hnsw, NULL, lab->rows.count);
}

static void
insert_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)index;
    const struct lab *lab = context;
    for (uint32_t i = 0; i < 256; i++)
        if (!hnsw_link_next(lab->hnsw, lab->scratch[worker]))
            return;
}

void
lab_insert_all(struct lab *lab)
{
    pool_run(lab->threads, lab->rows.count / 256 + 1, insert_unit, lab);
    while (hnsw_repair_next(lab->hnsw, lab->scratch[0]))
        continue;
    if (hnsw_linked(lab->hnsw) != lab->rows.count)
        die("%u of %u rows were linked", hnsw_linked(lab->hnsw), lab->rows.count);
}

double
lab_bulk(struct lab *lab)
{
    const struct hnsw_bulk_options how = {.threads = lab->threads};
    struct hnsw_bulk_report report;
    struct hnsw_bulk *made;
    const uint64_t begun = os_clock_ns();
    must(hnsw_bulk_make(lab->hnsw, &how, &report, &made), "a bulk build by the processors");
    if (made == NULL)
        die("%u rows are too few for a bulk build", lab->rows.count);
    must(hnsw_bulk_install(made), "its links");
    const double ms = (double)(os_clock_ns() - begun) * 1e-6;
    hnsw_bulk_close(made);
    return ms;
}

uint32_t
lab_check(const struct lab *lab)
{
    char text[256];
    uint32_t unreached;
    if (hnsw_check(lab->hnsw, &unreached, text, sizeof text) != OMEN_OK)
        die("the index is broken: %s", text);
    return unreached;
}

// ---- searches ----
struct searching {
    struct lab *lab;
    uint32_t beam;
    struct hit *hits;
    struct hnsw_work *work; // a thread each
};

static void
search_unit(void *context, uint32_t index, uint32_t worker)
{
    const struct searching *searching = context;
    const struct lab *lab = searching->lab;
    const struct hnsw_query query = {.vector = lab->queries + (size_t)index * lab->rows.dim,
                                     .k = K,
                                     .beam = searching->beam,
                                     .excluded = HNSW_NONE,
                                     .work = &searching->work[worker]};
    struct hit *const hits = searching->hits + (size_t)index * K;
    const uint32_t found = hnsw_search(lab->hnsw, &query, lab->scratch[worker], hits);
    for (uint32_t i = found; i < K; i++)
        hits[i] = (struct hit){INFINITY, HNSW_NONE};
}

static struct hnsw_work
search_all(struct lab *lab, uint32_t beam, struct hit *hits)
{
    struct searching searching = {lab, beam, hits,
                                  memory_of(lab->threads * sizeof(struct hnsw_work))};
    memset(searching.work, 0, lab->threads * sizeof *searching.work);
    pool_run(lab->threads, lab->query_count, search_unit, &searching);
    struct hnsw_work all = {0};
    for (uint32_t t = 0; t < lab->threads; t++)
        all.evaluations += searching.work[t].evaluations;
    mem_free(searching.work);
    return all;
}

void
lab_truth(struct lab *lab, const struct device_handle *handle)
{
    struct gpu_mirror *mirror;
    struct omen_error error;
    lab->truth = memory_of((size_t)lab->query_count * K * sizeof *lab->truth);
    struct gpu_batch batch = {.vectors = lab->queries,
                              .count = lab->query_count,
                              .k = K,
                              .threads = lab->threads,
                              .hits = lab->truth};
    if (gpu_mirror_open(handle, lab->hnsw, MIRROR_ROWS, &mirror, &error) != OMEN_OK ||
        gpu_mirror_knn(mirror, &batch, &error) != OMEN_OK)
        die("the exact nearest: %s", error.text);
    gpu_mirror_close(mirror);
}

// By their rows: the device's distances are rounded otherwise than a search's, and no two rows are equal.
static bool
is_right(const struct lab *lab, uint32_t query, uint32_t slot)
{
    const struct hit *const truth = lab->truth + (size_t)query * K;
    for (uint32_t i = 0; i < K; i++)
        if (truth[i].slot == slot)
            return true;
    return false;
}

struct lab_point
lab_search(struct lab *lab, uint32_t beam)
{
    struct hit *hits = memory_of((size_t)lab->query_count * K * sizeof *hits);
    const uint64_t begun = os_clock_ns();
    const struct hnsw_work work = search_all(lab, beam, hits);
    const double us = (double)(os_clock_ns() - begun) * 1e-3;
    uint32_t right = 0;
    for (uint32_t q = 0; q < lab->query_count; q++)
        for (uint32_t i = 0; i < K; i++)
            right += is_right(lab, q, hits[q * K + i].slot);
    mem_free(hits);
    return (struct lab_point){.recall = (double)right / (lab->query_count * K),
                              .evaluations = (double)work.evaluations / lab->query_count,
                              .us = us * lab->threads / lab->query_count};
}
