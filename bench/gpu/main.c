// bench/gpu/main.c -- omen_gpu_check: one stage of tools/gpu-check, in a process of its own.
//
// usage: omen_gpu_check [--cpu] [--threads N] STAGE
//   facts                    the device, and what copies it makes a second
//   op NAME                  one operation against the plain half (ops: their names)
//   nearest QUERIES ROWS DIM K [P]   distances a second by brute force, of rows whose factors lie up to P per cent apart
//   measure ROWS DIM WIDTH   lists of so many random rows measured under ip, one of each row: distances a second, and bytes of memory
//   build ROWS DIM [SETTING=N ...]   rows a second from pinned codes to verified blocks; then searches of the graph.
//                            device_kib=N: in so much of the device's memory, by parts where that is too little; spread=N: under ip, of
//                            rows e^N(0, N / 100) times as long; processors=1: the processors' bulk build of the same rows beside it,
//                            and a failure where at some beam the device's graph finds more than half a point less
//   compare ROWS DIM         the graph beside the one that the CPU's inserter makes of the same rows
//
// Lines that begin with "| " are rows of the tables in bench/RESULTS-gpu.md. Exit status 1 when anything is wrong.
// --cpu takes the plain half for the device: it tries the program where there is no GPU.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/prng.h"
#include "bench/gpu/check.h"
#include "index/graph.h"
#include "index/nearest.h"

#define RUNS 5u
#define BEAMS 3u
#define BAR 0.005 // of recall, that a device's graph may find less than the processors'

static const uint32_t beams[BEAMS] = {32, 64, 128};

struct curve {
    struct lab_point points[BEAMS];
};

struct stage {
    struct device_handle device, oracle;
    uint32_t threads;
    char **words;
    int word_count;
};

void
die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("FAIL ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    fflush(stdout);
    _Exit(1); // a device that failed may hang in its own handlers
}

void
must(omen_status status, const char *what)
{
    if (status != OMEN_OK)
        die("%s: %s", what, status_text(status));
}

void
must_device(const struct device_handle *handle, omen_status status, const char *what)
{
    if (status != OMEN_OK)
        die("%s on %s: %s: %s", what, handle->ops->name, status_text(status),
            handle->ops->trouble(handle->device));
}

void *
device_memory(const struct device_handle *handle, size_t bytes)
{
    void *memory = NULL;
    must_device(handle, handle->ops->alloc(handle->device, bytes, &memory), "device memory");
    return memory;
}

void *
device_copy(const struct device_handle *handle, const void *host, size_t bytes)
{
    void *memory = device_memory(handle, bytes);
    must_device(handle, handle->ops->put(handle->device, memory, host, bytes), "a copy");
    must_device(handle, handle->ops->wait(handle->device), "a copy");
    return memory;
}

void
device_drop(const struct device_handle *handle, void *memory)
{
    handle->ops->free(handle->device, memory);
}

void *
pinned_memory(const struct device_handle *handle, size_t bytes)
{
    void *memory = NULL;
    must_device(handle, handle->ops->host_alloc(handle->device, bytes, &memory), "pinned memory");
    return memory;
}

static int
by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double
median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

static uint32_t
number(const struct stage *stage, int place)
{
    if (place >= stage->word_count)
        die("stage %s wants another number", stage->words[0]);
    return (uint32_t)strtoul(stage->words[place], NULL, 10);
}

// ---- facts ----
static double
copy_rate(const struct stage *stage, void *host, void *memory, size_t bytes, bool out)
{
    const struct device_ops *ops = stage->device.ops;
    double rates[RUNS];
    for (uint32_t i = 0; i < RUNS; i++) {
        float ms = 0.0f;
        must_device(&stage->device, ops->mark(stage->device.device, 0), "mark");
        must_device(&stage->device,
                    out ? ops->get(stage->device.device, host, memory, bytes)
                        : ops->put(stage->device.device, memory, host, bytes),
                    "a copy");
        must_device(&stage->device, ops->mark(stage->device.device, 1), "mark");
        must_device(&stage->device, ops->between(stage->device.device, 0, 1, &ms), "between");
        rates[i] = (double)bytes / ((double)ms * 1e6);
    }
    return median(rates, RUNS);
}

static void
run_facts(const struct stage *stage)
{
    struct device_facts facts;
    const size_t bytes = (size_t)(stage->device.ops == &device_cpu ? 4 : 256) << 20;
    stage->device.ops->facts(stage->device.device, &facts);
    void *host = pinned_memory(&stage->device, bytes),
         *memory = device_memory(&stage->device, bytes);
    memset(host, 1, bytes);
    printf("| %s | %u.%u | %u | %u MHz | %.0f GB | %.1f GB/s | %.1f GB/s |\n", facts.name,
           facts.major, facts.minor, facts.processors, facts.clock_khz / 1000,
           (double)facts.bytes * 1e-9, copy_rate(stage, host, memory, bytes, false),
           copy_rate(stage, host, memory, bytes, true));
    device_drop(&stage->device, memory);
    stage->device.ops->host_free(stage->device.device, host);
}

// ---- nearest ----
// One number of all keys: two kernels that give the same one gave the same keys.
static void
print_keys(const struct stage *stage, const void *keys, size_t count)
{
    uint64_t *host = pinned_memory(&stage->device, count * sizeof *host), sum = 0;
    must_device(&stage->device,
                stage->device.ops->get(stage->device.device, host, keys, count * sizeof *host),
                "keys");
    for (size_t i = 0; i < count; i++)
        sum = mix64(sum ^ host[i]);
    printf("  keys: %016llx\n", (unsigned long long)sum);
    stage->device.ops->host_free(stage->device.device, host);
}

// Rows of bytes drawn evenly, whose factors lie up to `apart` per cent apart, in the device's memory.
static struct device_rows
random_rows(const struct stage *stage, uint32_t rows, uint32_t dim, uint32_t apart)
{
    const uint32_t stride = (dim + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
    int8_t *codes = mem_alloc((size_t)rows * stride);
    struct byte_meta *metas = mem_alloc(rows * sizeof *metas);
    if (codes == NULL || metas == NULL)
        die("%u rows of %u: no memory", rows, dim);
    struct prng prng;
    prng_init(&prng, 5);
    for (size_t i = 0; i < (size_t)rows * stride; i += 8) {
        const uint64_t bits = prng_next(&prng);
        memcpy(codes + i, &bits, 8);
    }
    for (uint32_t i = 0; i < rows; i++) { // all of one length, as under cosine
        const float part = 1.0f - (float)apart * 0.01f * prng_unit(&prng);
        for (uint32_t c = 0; c < stride && apart > 0; c++)
            codes[(size_t)i * stride + c] = (int8_t)((float)codes[(size_t)i * stride + c] * part);
        metas[i] = (struct byte_meta){0.01f / part, 0.0001f * 5461.0f * (float)stride};
    }
    const struct device_rows made = {
        .codes = device_copy(&stage->device, codes, (size_t)rows * stride),
        .metas = device_copy(&stage->device, metas, rows * sizeof *metas),
        .count = rows,
        .stride = stride};
    mem_free(codes);
    mem_free(metas);
    return made;
}

// How many ms a run of the operation takes, after one that warms up.
static double
operation_ms(const struct stage *stage, void (*run)(const struct device_handle *, const void *),
             const void *in)
{
    const struct device_ops *ops = stage->device.ops;
    double times[RUNS];
    for (uint32_t i = 0; i < RUNS + 1; i++) {
        float ms = 0.0f;
        must_device(&stage->device, ops->mark(stage->device.device, 0), "mark");
        run(&stage->device, in);
        must_device(&stage->device, ops->mark(stage->device.device, 1), "mark");
        must_device(&stage->device, ops->between(stage->device.device, 0, 1, &ms), "between");
        if (i > 0)
            times[i - 1] = (double)ms;
    }
    return median(times, RUNS);
}

static void
nearest_once(const struct device_handle *handle, const void *in)
{
    must_device(handle, handle->ops->nearest(handle->device, in), "nearest");
}

static void
run_nearest(const struct stage *stage)
{
    const uint32_t queries = number(stage, 1), rows = number(stage, 2), dim = number(stage, 3);
    const uint32_t apart = stage->word_count > 5 ? number(stage, 5) : 0;
    if (queries > rows)
        die("%u queries of %u rows", queries, rows);
    struct device_nearest in = {
        .base = random_rows(stage, rows, dim, apart), .k = number(stage, 4), .skip_self = 1};
    in.queries = in.base;
    in.queries.count = queries;
    in.keys = device_memory(&stage->device, (size_t)queries * in.k * sizeof *in.keys);
    const double ms = operation_ms(stage, nearest_once, &in), pairs = (double)queries * rows;
    print_keys(stage, in.keys, (size_t)queries * in.k);
    struct device_facts facts;
    stage->device.ops->facts(stage->device.device, &facts);
    const double tops = pairs * in.base.stride * 2.0 / ms * 1e-9;
    // 4,096 multiplications and additions of bytes a clock and processor on Hopper.
    const double limit = facts.processors * (double)facts.clock_khz * 8192.0 * 1e-9;
    const char *const asked = getenv("OMEN_GPU_NEAREST");
    const bool mma = asked != NULL && strcmp(asked, "mma") == 0;
    printf("| nearest %u of %u x %u, k %u, factors within %u %%%s | %.2f ms | %.1f G distances/s | "
           "%.0f TOPS | %.0f %% of %.0f |\n",
           queries, rows, dim, in.k, apart, mma ? ", by mma.sync" : "", ms, pairs / ms * 1e-6, tops,
           limit > 0.0 ? tops / limit * 100.0 : 0.0, limit);
}

// ---- measure ----
static uint64_t *
random_lists(const struct stage *stage, uint32_t rows, uint32_t width)
{
    const size_t count = (size_t)rows * width;
    uint64_t *host = mem_alloc(count * sizeof *host);
    if (host == NULL)
        die("%u lists of %u: no memory", rows, width);
    struct prng prng;
    prng_init(&prng, 9);
    for (size_t i = 0; i < count; i++)
        host[i] = nearest_key(1.0f, prng_below(&prng, rows));
    uint64_t *const keys = device_copy(&stage->device, host, count * sizeof *host);
    mem_free(host);
    return keys;
}

static void
measure_once(const struct device_handle *handle, const void *in)
{
    must_device(handle, handle->ops->measure(handle->device, in), "measure");
}

static void
run_measure(const struct stage *stage)
{
    const uint32_t rows = number(stage, 1), dim = number(stage, 2), width = number(stage, 3);
    struct device_measure in = {
        .rows = random_rows(stage, rows, dim, 0), .count = rows, .width = width};
    in.rows.ip = 1;
    in.rows.radius2 = 1.0f;
    in.keys = random_lists(stage, rows, width);
    const double ms = operation_ms(stage, measure_once, &in), pairs = (double)rows * width;
    struct device_facts facts;
    stage->device.ops->facts(stage->device.device, &facts);
    // A key read and written and the row that it names; each list's own row.
    const double row_bytes = in.rows.stride + (double)sizeof(struct byte_meta);
    const double gbs = (pairs * (row_bytes + 16.0) + rows * row_bytes) / ms * 1e-6;
    const double limit = (double)facts.memory_bytes_s * 1e-9;
    printf("| measure %u x %u, lists of %u | %.2f ms | %.1f G distances/s | %.0f GB/s | "
           "%.0f %% of %.0f |\n",
           rows, dim, width, ms, pairs / ms * 1e-6, gbs, limit > 0.0 ? gbs / limit * 100.0 : 0.0,
           limit);
}

// ---- builds ----
static void
print_report(const struct gpu_build_report *report, uint32_t rows)
{
    printf("  stages, ms:");
    for (uint32_t s = 0; s < GPU_BUILD_STAGES; s++)
        printf(" %s %.2f%s", gpu_build_stage_names[s], (double)report->stage_ms[s],
               s + 1 < GPU_BUILD_STAGES ? "," : "\n");
    printf("  leaders %u, tiles %u, cut %u, distances a row: leaders %.0f, leaves %.0f; device "
           "%.0f bytes a row;"
           " unreached %u, linked %u, stranded %u, %u steps\n",
           report->leaders, report->tiles, report->cut, (double)report->assign_pairs / rows,
           (double)report->leaf_pairs / rows, (double)report->device_bytes / rows,
           report->unreached, report->repaired, report->stranded, report->steps);
}

// Of the settings of a stage, the one of this name; 0 where it is not there.
static uint32_t
setting(const struct stage *stage, const char *name)
{
    const size_t length = strlen(name);
    for (int i = 1; i < stage->word_count; i++)
        if (strncmp(stage->words[i], name, length) == 0 && stage->words[i][length] == '=')
            return (uint32_t)strtoul(stage->words[i] + length + 1, NULL, 10);
    return 0;
}

// Options after the numbers: NAME=VALUE.
static void
configure(const struct stage *stage, int from, struct gpu_build_config *config)
{
    uint32_t asked_before; // by `setting`
    struct {
        const char *name;
        uint32_t *value;
    } const knobs[] = {
        {"fanout", &config->fanout},         {"leaf_rows", &config->leaf_rows},
        {"leaf_keep", &config->leaf_keep},   {"leaf_max", &config->leaf_max},
        {"chosen", &config->chosen_max},     {"list", &config->list},
        {"exact_rows", &config->exact_rows}, {"spread", &asked_before},
        {"processors", &asked_before},       {"near_turns", &config->near_turns},
        {"farthest", &config->farthest},
    };
    for (int i = from; i < stage->word_count; i++) {
        const char *equal = strchr(stage->words[i], '=');
        bool known = equal != NULL;
        if (strncmp(stage->words[i], "alpha2=", 7) == 0)
            config->alpha2 = strtof(equal + 1, NULL);
        else if (strncmp(stage->words[i], "device_kib=", 11) == 0)
            config->device_bytes = strtoull(equal + 1, NULL, 10) << 10;
        else if (strncmp(stage->words[i], "staged_kib=", 11) == 0)
            config->staged_bytes = strtoull(equal + 1, NULL, 10) << 10;
        else
            known = false;
        for (size_t k = 0; equal != NULL && k < sizeof knobs / sizeof knobs[0]; k++)
            if (strncmp(stage->words[i], knobs[k].name, (size_t)(equal - stage->words[i])) == 0 &&
                strlen(knobs[k].name) == (size_t)(equal - stage->words[i])) {
                *knobs[k].value = (uint32_t)strtoul(equal + 1, NULL, 10);
                known = true;
            }
        if (!known)
            die("no setting \"%s\"", stage->words[i]);
    }
}

// Milliseconds, and in how many parts it went (0: whole).
struct built {
    double ms;
    uint32_t parts;
};

static struct built
build_runs(const struct stage *stage, const struct lab *lab, const struct gpu_build_config *config,
           uint8_t *blocks, uint32_t runs)
{
    struct lab_input input;
    struct gpu_build_report report, middle = {0};
    struct omen_error error;
    double times[RUNS];
    lab_input_open(lab, &stage->device, &input);
    for (uint32_t i = 0; i < runs + 1; i++) { // the first warms up
        if (gpu_build_run(&stage->device, config, &input.input, blocks, NULL, &report, &error) !=
            OMEN_OK)
            die("building: %s", error.text);
        if (i > 0 || runs == 0)
            times[i > 0 ? i - 1 : 0] = (double)report.total_ms;
        middle = report;
    }
    print_report(&middle, lab->rows.count);
    lab_input_close(&stage->device, &input);
    return (struct built){median(times, runs > 0 ? runs : 1), middle.parts};
}

// What rows of a table call the lab's rows.
static const char *
rows_name(const struct lab *lab)
{
    static char text[80];
    const int length = snprintf(text, sizeof text, "%u x %u", lab->rows.count, lab->rows.dim);
    if (lab->rows.spread > 0)
        snprintf(text + length, sizeof text - (size_t)length, " ip, lengths e^N(0, %.2f)",
                 lab->rows.spread / 100.0);
    return text;
}

static struct curve
print_curve(struct lab *lab, const char *name)
{
    struct curve curve;
    for (uint32_t b = 0; b < BEAMS; b++) {
        const struct lab_point point = curve.points[b] = lab_search(lab, beams[b]);
        printf("| %s | %s | %u | %.4f | %.0f | %.0f us |\n", rows_name(lab), name, beams[b],
               point.recall, point.evaluations, point.us);
    }
    return curve;
}

// The processors' bulk build takes the place of the device's links; dies where those found too little beside it.
static void
print_beside(struct lab *lab, const struct curve *device)
{
    const double ms = lab_bulk(lab);
    printf("| build %s, by %u threads without it | %.1f ms | %.0f rows/s |\n", rows_name(lab),
           lab->threads, ms, lab->rows.count / ms * 1e3);
    printf("  not reached: %u; links a row: %.2f\n", lab_check(lab), hnsw_links_mean(lab->hnsw));
    const struct curve processors = print_curve(lab, "processors");
    uint32_t missed = 0;
    for (uint32_t b = 0; b < BEAMS; b++) {
        const struct lab_point *ours = &device->points[b], *theirs = &processors.points[b];
        const bool held = ours->recall >= theirs->recall - BAR;
        missed += !held;
        printf("| GPU - processors, %s | %u | %+.2f | %.3f | %s |\n", rows_name(lab), beams[b],
               (ours->recall - theirs->recall) * 100.0, ours->evaluations / theirs->evaluations,
               held ? "held" : "missed");
    }
    if (missed > 0)
        die("at %u of %u beams the device's graph finds more than %.1f points less than the "
            "processors'",
            missed, BEAMS, BAR * 100.0);
}

static void
print_built(const struct lab *lab, const struct built *built)
{
    printf("| build %s", rows_name(lab));
    if (built->parts > 0)
        printf(", in %u parts", built->parts);
    printf(" | %.1f ms | %.0f rows/s |\n", built->ms, lab->rows.count / built->ms * 1e3);
}

static uint8_t *
blocks_memory(const struct stage *stage, const struct lab *lab,
              const struct gpu_build_config *config)
{
    return pinned_memory(
        &stage->device, (size_t)lab->rows.count *
                            link_row_bytes(config->links_max, (enum link_width)config->link_width));
}

static void
took(const char *what, uint64_t *since)
{
    const uint64_t now = os_clock_ns();
    printf("  (%s: %.1f s)\n", what, (double)(now - *since) * 1e-9);
    *since = now;
}

static void
run_build(const struct stage *stage)
{
    struct lab lab;
    uint64_t since = os_clock_ns();
    const struct lab_rows rows = {number(stage, 1), number(stage, 2), setting(stage, "spread")};
    lab_open(&lab, &rows, stage->threads);
    took("making rows", &since);
    lab_encode(&lab);
    took("coding", &since);
    struct gpu_build_config config =
        (rows.spread > 0 ? gpu_build_config_for_ip : gpu_build_config_for)(rows.count, 16);
    config.threads = stage->threads;
    configure(stage, 3, &config);
    uint8_t *blocks = blocks_memory(stage, &lab, &config);
    const struct built built =
        build_runs(stage, &lab, &config, blocks, stage->device.ops == &device_cpu ? 0 : RUNS);
    print_built(&lab, &built);
    took("building", &since);
    lab_install(&lab, blocks);
    printf("  not reached: %u; links a row: %.2f\n", lab_check(&lab), hnsw_links_mean(lab.hnsw));
    took("checking", &since);
    lab_truth(&lab, &stage->device);
    took("exact neighbours", &since);
    const struct curve curve = print_curve(&lab, "GPU");
    took("searching", &since);
    if (setting(stage, "processors") != 0)
        print_beside(&lab, &curve);
    took("the processors' graph", &since);
    stage->device.ops->host_free(stage->device.device, blocks);
    lab_close(&lab);
}

static void
run_compare(const struct stage *stage)
{
    struct lab lab, inserted;
    uint64_t since = os_clock_ns();
    const struct lab_rows rows = {number(stage, 1), number(stage, 2), 0};
    lab_open(&lab, &rows, stage->threads);
    lab_encode(&lab);
    struct gpu_build_config config = gpu_build_config_for(rows.count, 16);
    config.threads = stage->threads;
    config.exact_rows = 0;
    configure(stage, 3, &config);
    uint8_t *blocks = blocks_memory(stage, &lab, &config);
    const struct built built = build_runs(stage, &lab, &config, blocks, 0);
    print_built(&lab, &built);
    lab_install(&lab, blocks);
    printf("  not reached: %u; links a row: %.2f\n", lab_check(&lab), hnsw_links_mean(lab.hnsw));
    lab_truth(&lab, &stage->device);
    (void)print_curve(&lab, "GPU");
    took("the device's graph", &since);
    lab_open(&inserted, &rows, stage->threads);
    lab_insert_all(&inserted);
    took("the inserted graph", &since);
    printf("  inserted: not reached: %u; links a row: %.2f\n", lab_check(&inserted),
           hnsw_links_mean(inserted.hnsw));
    lab_truth(&inserted, &stage->device);
    (void)print_curve(&inserted, "inserted");
    lab_close(&inserted);
    stage->device.ops->host_free(stage->device.device, blocks);
    lab_close(&lab);
}

static void
run_op(const struct stage *stage)
{
    if (stage->word_count < 2)
        die("op wants a name");
    const uint64_t begun = os_clock_ns();
    if (!check_op(stage->words[1], &stage->device, &stage->oracle))
        exit(1);
    printf("PASS %s (%.1f s)\n", stage->words[1], (double)(os_clock_ns() - begun) * 1e-9);
}

static void
run_stage(const struct stage *stage)
{
    static const struct {
        const char *name;
        void (*run)(const struct stage *stage);
    } stages[] = {{"facts", run_facts},     {"op", run_op},       {"nearest", run_nearest},
                  {"measure", run_measure}, {"build", run_build}, {"compare", run_compare}};
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        if (strcmp(stages[i].name, stage->words[0]) == 0) {
            stages[i].run(stage);
            return;
        }
    die("no stage \"%s\"", stage->words[0]);
}

int
main(int argc, char **argv)
{
    struct stage stage = {.threads = os_cpu_count()};
    enum device_want want = DEVICE_REQUIRE;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--cpu") == 0)
            want = DEVICE_NEVER;
        else if (strcmp(argv[at], "--threads") == 0 && at + 1 < argc)
            stage.threads = (uint32_t)strtoul(argv[++at], NULL, 10);
        else
            die("unknown option %s", argv[at]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (at == argc)
        die("no stage; see the head of bench/gpu/main.c");
    if (strcmp(argv[at], "ops") == 0) {
        for (uint32_t i = 0; op_names[i] != NULL; i++)
            printf("%s\n", op_names[i]);
        return 0;
    }
    stage.words = argv + at;
    stage.word_count = argc - at;
    struct omen_error error = {0};
    if (device_open(want, &stage.device, &error) != OMEN_OK ||
        device_open(DEVICE_NEVER, &stage.oracle, &error) != OMEN_OK)
        die("%s", error.text);
    run_stage(&stage);
    device_close(&stage.device);
    device_close(&stage.oracle);
    return 0;
}
