// bench/kernel.c -- nanoseconds per row of every kernel of every table that runs here.
//
// Shape: shell. usage: omen_kernel_bench [table]
//
// Rows lie in the first or second level of the cache, so that the loops are timed and not the
// memory. Each number is the shortest of many short runs: what else the machine does lengthens runs
// and shortens none.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/kernel/kernel.h"

// Rows are a line longer than a power of two, or they would all compete for the same sets of the
// cache.
enum { ROWS = 32, STORED = 8, RUNS = 400, CALLS = 8, DIM_MAX = 1024, STRIDE = DIM_MAX + 64 };

// Everything that the kernels read and write, for one dimension.
static struct {
    uint32_t dim, row_bytes, joined_bytes;
    _Alignas(64) float query[DIM_MAX];
    _Alignas(64) int8_t components[2 * DIM_MAX];
    _Alignas(64) uint8_t high_bytes[ROWS][STRIDE];
    _Alignas(64) uint8_t low_bytes[ROWS][STRIDE];
    const uint8_t *high[ROWS], *low[ROWS];
    struct byte_meta metas[ROWS];
    const struct byte_meta *meta[ROWS];
    _Alignas(64) uint8_t joined[ROWS * 2 * DIM_MAX];
    _Alignas(64) float stored[STORED][STRIDE]; // read as every type
    const void *rows[ROWS];
    uint8_t links[ROWS][128];
    _Alignas(64) float values[DIM_MAX];
    _Alignas(64) uint8_t codes[2 * DIM_MAX];
    float out[ROWS];
    int32_t dots[ROWS];
    uint32_t ids[32];
} bench;

static void
fill(uint32_t dim)
{
    bench.dim = dim;
    bench.row_bytes = (dim + 31) / 32 * 16;
    bench.joined_bytes = (bench.row_bytes + 63) / 64 * 128;
    for (uint32_t i = 0; i < sizeof bench.components; i++)
        bench.components[i] = (int8_t)(i * 7 % 255);
    for (uint32_t i = 0; i < DIM_MAX; i++)
        bench.query[i] = bench.values[i] = (float)(i * 31 % 101) / 101 - 0.5f;
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t i = 0; i < DIM_MAX; i++) {
            bench.high_bytes[r][i] = (uint8_t)(i * 13 + r * 5);
            bench.low_bytes[r][i] = (uint8_t)(i * 17 + r * 3);
            bench.stored[r % STORED][i] = (float)((i + r) * 37 % 103) / 103 - 0.5f;
        }
        for (uint32_t i = 0; i < 128; i++)
            bench.links[r][i] = (uint8_t)(i * 29 + r);
        bench.high[r] = bench.high_bytes[r];
        bench.low[r] = bench.low_bytes[r];
        bench.metas[r] = (struct byte_meta){1, 1};
        bench.meta[r] = &bench.metas[r];
        bench.rows[r] = bench.stored[r % STORED];
    }
}

// One call of each kernel over ROWS rows; what a kernel does to one row at a time is called ROWS
// times.
static void
run_nibble(const struct kernels *table)
{
    const struct nibble_query query = {bench.components, bench.row_bytes, 1, 0.001f, 1, 7};
    table->nibble(&query, bench.high, ROWS, 1, bench.out);
}

static void
run_glance(const struct kernels *table)
{
    const struct glance_query query = {.components = bench.components,
                                       .bytes = bench.row_bytes / 64 * 64,
                                       .offset = 1,
                                       .factor_scale = 0.001f,
                                       .own_scale = 0.001f,
                                       .norm_scale = 1,
                                       .center = 7};
    table->glance(&query, bench.high, ROWS, 1);
}

static void
run_byte(const struct kernels *table)
{
    const struct byte_query query = {bench.components, bench.row_bytes, 1, 0.001f, 1, 7};
    table->byte(&query, bench.high, bench.low, bench.meta, ROWS, bench.out);
}

static void
run_join(const struct kernels *table)
{
    for (uint32_t r = 0; r < ROWS; r++)
        table->join(bench.high[r], bench.low[r], bench.row_bytes, bench.codes);
}

static void
run_dots(const struct kernels *table)
{
    table->dots(bench.components, bench.joined, bench.joined_bytes, ROWS, bench.dots);
}

static void
run_unpack(const struct kernels *table)
{
    for (uint32_t r = 0; r < ROWS; r++)
        table->unpack(bench.links[r], 1u << 23, bench.ids);
}

static void
run_unpack32(const struct kernels *table)
{
    for (uint32_t r = 0; r < ROWS; r++)
        table->unpack32(bench.links[r], 1u << 31, bench.ids);
}

static void
run_encode(const struct kernels *table)
{
    for (uint32_t r = 0; r < ROWS; r++)
        table->encode(bench.values, bench.row_bytes * 2, 127, bench.codes);
}

static void
run_butterfly(const struct kernels *table)
{
    uint32_t window = 16;
    while (window * 2 <= bench.dim)
        window *= 2;
    for (uint32_t r = 0; r < ROWS; r++)
        table->butterfly(bench.values, window);
}

static void
run_exact(const struct kernels *table, enum metric metric, enum vector_type type)
{
    table->exact[metric][type - 1](bench.query, bench.rows, ROWS, bench.dim, bench.out);
}

#define RUN_EXACT(name, metric, type)                                                              \
    static void run_##name(const struct kernels *table)                                            \
    {                                                                                              \
        run_exact(table, metric, type);                                                            \
    }
RUN_EXACT(l2_f32, METRIC_L2, VECTOR_F32)
RUN_EXACT(ip_f32, METRIC_IP, VECTOR_F32)
RUN_EXACT(cosine_f32, METRIC_COSINE, VECTOR_F32)
RUN_EXACT(l2_f16, METRIC_L2, VECTOR_F16)
RUN_EXACT(l2_bf16, METRIC_L2, VECTOR_BF16)
RUN_EXACT(l2_u8, METRIC_L2, VECTOR_U8)
RUN_EXACT(ip_i8, METRIC_IP, VECTOR_I8)
RUN_EXACT(cosine_i8, METRIC_COSINE, VECTOR_I8)

#define RUN_INTEGER(name, metric, type)                                                            \
    static void run_integer_##name(const struct kernels *table)                                    \
    {                                                                                              \
        const struct integer_query query = integer_query_of(type, bench.components, bench.dim);    \
        table->integer[metric][type - VECTOR_I8](&query, bench.rows, ROWS, bench.out);             \
    }
RUN_INTEGER(l2_u8, METRIC_L2, VECTOR_U8)
RUN_INTEGER(ip_i8, METRIC_IP, VECTOR_I8)
RUN_INTEGER(cosine_i8, METRIC_COSINE, VECTOR_I8)

static const struct {
    const char *name;
    void (*run)(const struct kernels *table);
} kernels[] = {
    {"nibble", run_nibble},
    {"glance", run_glance},
    {"byte", run_byte},
    {"join", run_join},
    {"dots", run_dots},
    {"unpack", run_unpack},
    {"unpack32", run_unpack32},
    {"encode", run_encode},
    {"butterfly", run_butterfly},
    {"l2 f32", run_l2_f32},
    {"ip f32", run_ip_f32},
    {"cosine f32", run_cosine_f32},
    {"l2 f16", run_l2_f16},
    {"l2 bf16", run_l2_bf16},
    {"l2 u8", run_l2_u8},
    {"ip i8", run_ip_i8},
    {"cosine i8", run_cosine_i8},
    {"integer l2 u8", run_integer_l2_u8},
    {"integer ip i8", run_integer_ip_i8},
    {"integer cosine i8", run_integer_cosine_i8},
};

static double
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double
ns_per_row(const struct kernels *table, void (*run)(const struct kernels *table))
{
    double best = 1e18;
    for (uint32_t i = 0; i < RUNS; i++) {
        const double start = now_ns();
        for (uint32_t call = 0; call < CALLS; call++)
            run(table);
        const double took = now_ns() - start;
        best = took < best ? took : best;
    }
    return best / (CALLS * ROWS);
}

int
main(int argc, char **argv)
{
    static const uint32_t dims[] = {128, 384, 784};
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    if (argc > 2 || (argc == 2 && kernels_find(argv[1]) == NULL)) {
        fprintf(stderr, "usage: %s [table], one of:", argv[0]);
        for (uint32_t t = 0; t < count; t++)
            fprintf(stderr, " %s", list[t]->name);
        fprintf(stderr, "\n");
        return EXIT_FAILURE;
    }
    printf("%-8s %-12s %9s %9s %9s  ns per row, by dimension\n", "table", "kernel", "128", "384",
           "784");
    for (uint32_t t = 0; t < count; t++) {
        if (argc == 2 && strcmp(argv[1], list[t]->name) != 0)
            continue;
        for (uint32_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
            printf("%-8s %-12s", list[t]->name, kernels[k].name);
            for (uint32_t d = 0; d < sizeof dims / sizeof *dims; d++) {
                fill(dims[d]);
                printf(" %9.2f", ns_per_row(list[t], kernels[k].run));
            }
            printf("\n");
        }
    }
    return EXIT_SUCCESS;
}
