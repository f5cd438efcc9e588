// bench/gpu/search_check.c -- omen_gpu_search_check: searches of a device beside the oracle's and the CPU's, then timed.
//
// Shape: shell.
//
// usage: omen_gpu_search_check [--rows N] [--dim D] [--batch B] [--threads T] [--cpu] [--random-only]
//
// First every operation on made-up problems, bit for bit; then an index whose graph the CPU's inserter made: exact neighbours
// beside hnsw_scan's, recall at the same ef beside hnsw_search's, with rows erased and with a filter; then times from host
// memory to host memory. Exit status 1 when anything is wrong. --cpu tries the program where there is no GPU.
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/pool.h"
#include "bench/gpu/search_random.h"
#include "gpu/mirror.h"

#define K 10u
#define TRUTH_QUERIES 2000u
#define RUNS 7u
#define INNER 24u // dimensions that the rows really have
#define CLUSTERS 2000u

struct options {
    uint32_t rows, dim, batch, threads;
    bool cpu, random_only;
};

struct lab {
    struct options options;
    struct device_handle device;
    struct hnsw *hnsw;
    struct scratch *scratch[256];
    struct gpu_mirror *mirror;
    float *basis;   // dim x INNER
    float *centers; // CLUSTERS x INNER
    float *queries; // batch x dim
    struct hit *truth, *hits;
    bool wrong;
};

static double
seconds(uint64_t since)
{
    return (double)(os_clock_ns() - since) * 1e-9;
}

static void
expect(struct lab *lab, bool right, const char *claim)
{
    if (right)
        return;
    printf("WRONG: %s\n", claim);
    lab->wrong = true;
}

static int
by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

// ---- rows ----

static float
normal(struct prng *prng)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++)
        sum += prng_unit(prng);
    return sum;
}

// A point near a cluster's center, in few dimensions, bent into many.
static void
make_row(const struct lab *lab, uint64_t seed, float *row)
{
    struct prng prng;
    prng_init(&prng, mix64(seed + 1));
    float inner[INNER];
    const float *center = lab->centers + (size_t)prng_below(&prng, CLUSTERS) * INNER;
    for (uint32_t i = 0; i < INNER; i++)
        inner[i] = center[i] + 0.6f * normal(&prng);
    for (uint32_t d = 0; d < lab->options.dim; d++) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < INNER; i++)
            sum += lab->basis[(size_t)d * INNER + i] * inner[i];
        row[d] = tanhf(0.3f * sum) + 0.02f * normal(&prng);
    }
}

struct making {
    const struct lab *lab;
    float *rows;
    uint64_t first;
    uint32_t count;
};

#define MADE 512u

static void
make_part(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct making *making = context;
    for (uint32_t i = index * MADE; i < (index + 1) * MADE && i < making->count; i++)
        make_row(making->lab, making->first + i,
                 making->rows + (size_t)i * making->lab->options.dim);
}

static void
make_rows(const struct lab *lab, uint64_t first, uint32_t count, float *rows)
{
    struct making making = {lab, rows, first, count};
    pool_run(lab->options.threads, (count + MADE - 1) / MADE, make_part, &making);
}

static void
link_part(void *context, uint32_t index, uint32_t worker)
{
    (void)index;
    struct lab *lab = context;
    while (hnsw_link_next(lab->hnsw, lab->scratch[worker])) {
    }
}

static void
lab_open(struct lab *lab)
{
    const struct options *options = &lab->options;
    struct prng prng;
    prng_init(&prng, 7);
    lab->basis = take((size_t)options->dim * INNER * sizeof *lab->basis);
    lab->centers = take((size_t)CLUSTERS * INNER * sizeof *lab->centers);
    for (size_t i = 0; i < (size_t)options->dim * INNER; i++)
        lab->basis[i] = normal(&prng);
    for (size_t i = 0; i < (size_t)CLUSTERS * INNER; i++)
        lab->centers[i] = normal(&prng);
    const struct hnsw_config config = {.dim = options->dim,
                                       .slots_max = 1u << 24 >> 1,
                                       .links = 16,
                                       .build_beam = 200,
                                       .metric = METRIC_L2,
                                       .type = VECTOR_F32,
                                       .seed = 3};
    must(hnsw_open(&config, &lab->hnsw), "hnsw_open");
    must(hnsw_reserve(lab->hnsw, options->rows), "hnsw_reserve");
    for (uint32_t i = 0; i < options->threads; i++)
        must(scratch_open(&lab->scratch[i]), "scratch_open");
    uint64_t start = os_clock_ns();
    const uint32_t part = 65536;
    float *rows = take((size_t)part * options->dim * sizeof *rows);
    for (uint32_t first = 0; first < options->rows; first += part) {
        const uint32_t count = options->rows - first < part ? options->rows - first : part;
        make_rows(lab, first, count, rows);
        hnsw_append(lab->hnsw, rows, options->dim * sizeof *rows, count);
        hnsw_publish(lab->hnsw);
    }
    mem_free(rows);
    printf("%u rows of %u components made in %.1f s\n", options->rows, options->dim,
           seconds(start));
    start = os_clock_ns();
    pool_run(options->threads, options->threads, link_part, lab);
    printf("linked by the CPU's inserter in %.1f s on %u threads\n", seconds(start),
           options->threads);
    lab->queries = take((size_t)options->batch * options->dim * sizeof *lab->queries);
    make_rows(lab, 1ull << 40, options->batch, lab->queries);
    lab->truth = take((size_t)options->batch * K * sizeof *lab->truth);
    lab->hits = take((size_t)options->batch * K * sizeof *lab->hits);
}

// ---- searches ----

static struct gpu_batch
batch_of(const struct lab *lab, uint32_t count, uint32_t beam)
{
    return (struct gpu_batch){.vectors = lab->queries,
                              .count = count,
                              .k = K,
                              .beam = beam,
                              .threads = lab->options.threads,
                              .hits = lab->hits};
}

static void
search(struct lab *lab, struct gpu_batch *batch)
{
    struct omen_error error = {0};
    const omen_status status = gpu_mirror_search(lab->mirror, batch, &error);
    if (status == OMEN_OK)
        return;
    fprintf(stderr, "search: %s\n", error.text);
    exit(1);
}

static double
recall(const struct lab *lab, const struct hit *hits, const struct hit *truth, uint32_t queries)
{
    (void)lab;
    uint64_t found = 0, all = 0;
    for (uint32_t q = 0; q < queries; q++)
        for (uint32_t i = 0; i < K && truth[q * K + i].slot != HNSW_NONE; i++, all++)
            for (uint32_t j = 0; j < K; j++)
                found += hits[q * K + j].slot == truth[q * K + i].slot;
    return all > 0 ? (double)found / (double)all : 1.0;
}

struct cpu_search {
    const struct lab *lab;
    struct hit *hits;
    uint32_t beam, count;
    const struct bitmap *allowed;
    uint32_t allowed_count;
    bool exact;
    struct hnsw_work work[256];
};

static void
cpu_part(void *context, uint32_t q, uint32_t worker)
{
    struct cpu_search *cpu = context;
    const struct lab *lab = cpu->lab;
    const struct hnsw_query query = {.vector = lab->queries + (size_t)q * lab->options.dim,
                                     .k = K,
                                     .beam = cpu->beam,
                                     .excluded = HNSW_NONE,
                                     .allowed = cpu->allowed,
                                     .allowed_count = cpu->allowed_count,
                                     .work = &cpu->work[worker]};
    struct hit *hits = cpu->hits + (size_t)q * K;
    const uint32_t found = cpu->exact ? hnsw_scan(lab->hnsw, &query, lab->scratch[worker], hits)
                                      : hnsw_search(lab->hnsw, &query, lab->scratch[worker], hits);
    for (uint32_t i = found; i < K; i++)
        hits[i] = (struct hit){INFINITY, HNSW_NONE};
}

static double
cpu_run(struct cpu_search *cpu)
{
    const uint64_t start = os_clock_ns();
    pool_run(cpu->lab->options.threads, cpu->count, cpu_part, cpu);
    return seconds(start);
}

// ---- checks ----

static void
check_random(struct lab *lab)
{
    for (size_t i = 0; i < sizeof random_shapes / sizeof *random_shapes; i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct random_world world = random_world_make(&random_shapes[i], seed);
            const uint64_t differences = random_differences(&lab->device, &world);
            if (differences > 0)
                printf("shape %zu, seed %d: %llu answers differ\n", i, (int)seed,
                       (unsigned long long)differences);
            expect(lab, differences == 0, "walk, rerank and knn answer what the oracle answers");
            random_world_free(&world);
        }
    printf("walk, rerank and knn compared with the oracle on %zu made-up problems\n",
           3 * sizeof random_shapes / sizeof *random_shapes);
}

// Exact neighbours of the first queries against hnsw_scan; equal but for what rounding may exchange.
static void
check_exact(struct lab *lab, uint32_t queries, const struct bitmap *allowed, uint32_t allowed_count)
{
    struct cpu_search cpu = {.lab = lab,
                             .count = queries,
                             .exact = true,
                             .allowed = allowed,
                             .allowed_count = allowed_count,
                             .hits = take((size_t)queries * K * sizeof *cpu.hits)};
    cpu_run(&cpu);
    struct gpu_batch batch = batch_of(lab, queries, 0);
    batch.allowed = allowed;
    batch.allowed_count = allowed_count;
    struct omen_error error = {0};
    must(gpu_mirror_knn(lab->mirror, &batch, &error), "knn");
    uint32_t apart = 0;
    for (size_t i = 0; i < (size_t)queries * K; i++) {
        const float ours = lab->hits[i].distance, theirs = cpu.hits[i].distance;
        apart += lab->hits[i].slot != cpu.hits[i].slot &&
                 !(fabsf(ours - theirs) <= 1e-4f * fabsf(theirs));
    }
    expect(lab, apart == 0, "knn finds the neighbours that hnsw_scan finds");
    mem_free(cpu.hits);
}

static double
time_knn(struct lab *lab, uint32_t queries)
{
    double times[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct gpu_batch batch = batch_of(lab, queries, 0);
        struct omen_error error = {0};
        const uint64_t start = os_clock_ns();
        must(gpu_mirror_knn(lab->mirror, &batch, &error), "knn");
        times[i] = seconds(start);
    }
    return median(times, 3);
}

static double
time_batch(struct lab *lab, const struct gpu_batch *wanted)
{
    double times[RUNS];
    struct gpu_batch batch = *wanted;
    search(lab, &batch);
    for (uint32_t i = 0; i < RUNS; i++) {
        const uint64_t start = os_clock_ns();
        search(lab, &batch);
        times[i] = seconds(start);
    }
    return median(times, RUNS);
}

// Recall and rate of every ef, the CPU beside; returns the least ef of recall 0.95.
static uint32_t
compare_curves(struct lab *lab, uint32_t truths)
{
    static const uint32_t beams[] = {10, 16, 24, 32, 48, 64, 96, 128, 256, 512};
    struct cpu_search cpu = {
        .lab = lab, .count = truths, .hits = take((size_t)truths * K * sizeof *cpu.hits)};
    uint32_t enough = 0;
    printf(
        "\n| ef | recall CPU | recall GPU | evaluations CPU | GPU | CPU QPS, %u threads | GPU QPS, "
        "batch %u |\n|---|---|---|---|---|---|---|\n",
        lab->options.threads, lab->options.batch);
    for (size_t i = 0; i < sizeof beams / sizeof *beams; i++) {
        cpu.beam = beams[i];
        memset(cpu.work, 0, sizeof cpu.work);
        const double cpu_s = cpu_run(&cpu);
        uint64_t evaluations = 0;
        for (size_t t = 0; t < 256; t++)
            evaluations += cpu.work[t].evaluations;
        struct gpu_batch batch = batch_of(lab, lab->options.batch, beams[i]);
        const double gpu_s = time_batch(lab, &batch);
        batch.evaluations = 0;
        search(lab, &batch);
        const double theirs = recall(lab, cpu.hits, lab->truth, truths);
        const double ours = recall(lab, lab->hits, lab->truth, truths);
        printf("| %u | %.4f | %.4f | %.0f | %.0f | %.0f | %.0f |\n", beams[i], theirs, ours,
               (double)evaluations / truths, (double)batch.evaluations / batch.count,
               truths / cpu_s, batch.count / gpu_s);
        expect(lab, ours >= theirs - 0.01, "recall on the device is the CPU's at the same ef");
        if (enough == 0 && ours >= 0.95)
            enough = beams[i];
    }
    mem_free(cpu.hits);
    return enough > 0 ? enough : beams[sizeof beams / sizeof *beams - 1];
}

static void
time_shapes(struct lab *lab, uint32_t beam)
{
    printf(
        "\nat ef %u, recall >= 0.95, from host memory to host memory:\n\n| batch | nodes a step | "
        "threads | ms | QPS |\n|---|---|---|---|---|\n",
        beam);
    static const uint32_t counts[] = {1, 10, 100, 1000, 10000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (uint32_t parents = 1; parents <= 4; parents *= 2) {
            if (counts[c] > lab->options.batch)
                continue;
            struct gpu_batch batch = batch_of(lab, counts[c], beam);
            batch.parents = parents;
            const double s = time_batch(lab, &batch);
            printf("| %u | %u | %u | %.3f | %.0f |\n", counts[c], parents, batch.threads, s * 1e3,
                   batch.count / s);
        }
    for (uint32_t threads = 1; threads < lab->options.threads; threads *= 2) {
        struct gpu_batch batch = batch_of(lab, lab->options.batch, beam);
        batch.threads = threads;
        const double s = time_batch(lab, &batch);
        printf("| %u | chosen | %u | %.3f | %.0f |\n", batch.count, threads, s * 1e3,
               batch.count / s);
    }
    const uint32_t singles = lab->options.batch < 1000 ? lab->options.batch : 1000;
    double *times = take(singles * sizeof *times);
    for (uint32_t i = 0; i < singles; i++) {
        struct gpu_batch batch = batch_of(lab, 1, beam);
        batch.vectors += (size_t)i * lab->options.dim;
        const uint64_t start = os_clock_ns();
        search(lab, &batch);
        times[i] = seconds(start) * 1e6;
    }
    qsort(times, singles, sizeof *times, by_value);
    printf("\nbatch of 1: p50 %.0f us, p99 %.0f us\n", times[singles / 2],
           times[singles * 99 / 100]);
    mem_free(times);
}

// With a tenth erased, and of the rest some allowed.
static void
check_filters(struct lab *lab, uint32_t beam)
{
    struct prng prng;
    prng_init(&prng, 99);
    const uint32_t rows = lab->options.rows;
    for (uint32_t i = 0; i < rows / 10; i++)
        hnsw_erase(lab->hnsw, prng_below(&prng, rows));
    struct bitmap allowed = {take(bitmap_words(rows) * sizeof(uint64_t)), rows};
    static const uint32_t of_256[] = {256, 128, 50, 3};
    printf(
        "\nwith a tenth erased:\n\n| rows that pass | recall CPU | recall GPU | GPU QPS, batch %u "
        "|\n|---|---|---|---|\n",
        lab->options.batch);
    const uint32_t queries = lab->options.batch < 500 ? lab->options.batch : 500;
    struct cpu_search cpu = {.lab = lab, .count = queries, .beam = beam};
    cpu.hits = take((size_t)queries * K * sizeof *cpu.hits);
    for (size_t f = 0; f < sizeof of_256 / sizeof *of_256; f++) {
        memset(allowed.words, 0, bitmap_words(rows) * sizeof(uint64_t));
        for (uint32_t i = 0; i < rows; i++)
            if (prng_below(&prng, 256) < of_256[f])
                bitmap_set(&allowed, i);
        const uint32_t count = (uint32_t)bitmap_population(&allowed);
        const bool all = of_256[f] == 256;
        check_exact(lab, queries < 32 ? queries : 32, all ? NULL : &allowed, count);
        struct gpu_batch truth = batch_of(lab, queries, 0),
                         batch = batch_of(lab, lab->options.batch, beam);
        truth.allowed = batch.allowed = cpu.allowed = all ? NULL : &allowed;
        truth.allowed_count = batch.allowed_count = cpu.allowed_count = count;
        struct omen_error error = {0};
        must(gpu_mirror_knn(lab->mirror, &truth, &error), "knn");
        memcpy(lab->truth, lab->hits, (size_t)queries * K * sizeof *lab->truth);
        cpu_run(&cpu);
        const double s = time_batch(lab, &batch);
        bool passed = true;
        for (size_t i = 0; i < (size_t)batch.count * K; i++) {
            const uint32_t slot = lab->hits[i].slot;
            passed &= slot == HNSW_NONE ||
                      (!hnsw_erased(lab->hnsw, slot) && (all || bitmap_test(&allowed, slot)));
        }
        expect(lab, passed, "what is erased or does not pass is not answered");
        const double ours = recall(lab, lab->hits, lab->truth, queries);
        printf("| %u | %.4f | %.4f | %.0f |\n", count, recall(lab, cpu.hits, lab->truth, queries),
               ours, batch.count / s);
        expect(lab, ours >= 0.9, "recall with a filter stays above 0.9");
    }
    mem_free(cpu.hits);
    mem_free(allowed.words);
}

static void
lab_run(struct lab *lab)
{
    struct omen_error error = {0};
    uint64_t start = os_clock_ns();
    if (gpu_mirror_open(&lab->device, lab->hnsw, MIRROR_GRAPH, &lab->mirror, &error) != OMEN_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    printf("copied to the device in %.2f s: %.0f MB\n", seconds(start),
           (double)gpu_mirror_bytes(lab->mirror) * 1e-6);
    check_exact(lab, 64 < lab->options.batch ? 64 : lab->options.batch, NULL, 0);
    const uint32_t truths = lab->options.batch < TRUTH_QUERIES ? lab->options.batch : TRUTH_QUERIES;
    const double knn_s = time_knn(lab, truths);
    memcpy(lab->truth, lab->hits, (size_t)truths * K * sizeof *lab->truth);
    const double pairs = (double)truths * lab->options.rows;
    printf("exact knn: %u queries in %.1f ms, %.3g distances/s, %.2f Tflop/s of f32\n", truths,
           knn_s * 1e3, pairs / knn_s, pairs * lab->options.dim * 3.0 / knn_s * 1e-12);
    const uint32_t beam = compare_curves(lab, truths);
    time_shapes(lab, beam);
    check_filters(lab, beam);
}

int
main(int argc, char **argv)
{
    struct lab lab = {.options = {.rows = 1000000, .dim = 128, .batch = 10000}};
    struct options *options = &lab.options;
    options->threads = os_cpu_count();
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--cpu") == 0)
            options->cpu = true;
        else if (strcmp(argv[i], "--random-only") == 0)
            options->random_only = true;
        else if (more && strcmp(argv[i], "--rows") == 0)
            options->rows = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--dim") == 0)
            options->dim = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--batch") == 0)
            options->batch = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--threads") == 0)
            options->threads = (uint32_t)strtoul(argv[++i], NULL, 10);
        else {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct omen_error error = {0};
    if (device_open(options->cpu ? DEVICE_NEVER : DEVICE_REQUIRE, &lab.device, &error) != OMEN_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    struct device_facts facts;
    lab.device.ops->facts(lab.device.device, &facts);
    printf("device: %s\n", facts.name);
    check_random(&lab);
    if (!options->random_only) {
        lab_open(&lab);
        lab_run(&lab);
        gpu_mirror_close(lab.mirror);
        hnsw_close(lab.hnsw);
        for (uint32_t i = 0; i < options->threads; i++)
            scratch_close(lab.scratch[i]);
        void *const all[] = {lab.basis, lab.centers, lab.queries, lab.truth, lab.hits};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            mem_free(all[i]);
    }
    device_close(&lab.device);
    printf("%s\n", lab.wrong ? "WRONG" : "all right");
    return lab.wrong ? 1 : 0;
}
