// tests/unit/shard/test_backend.c -- links made by a GPU, played by the plain device as a plugin, and what is said where there is none.
//
// Labels: tsan
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/tsan.h"
#include "shard/backend.h"
#include "shard/built.h"
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"

#define DIM_MAX 96u
#ifdef OMEN_UNDER_TSAN // which is slow, and need not see more than one metric, nor threads again with more rows
#define ROWS 1100u
#define QUERIES 100u
#define METRICS 1
#define ALONE 0
#else
#define ROWS 2500u
#define QUERIES 1000u
#define METRICS 3
#define ALONE 1
#endif
#define MANY 8200u // so many that AUTO builds them
#define K 10u

static omen_index_t index_;
static float rows[MANY][DIM_MAX], asked[QUERIES][DIM_MAX];
static uint32_t dim;
static float decades; // that norms of rows spread over
static omen_build_report report;

static void
must(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, omen_error_message());
}

static void
draw(struct prng *prng, float *row)
{
    float inner[6];
    for (uint32_t i = 0; i < 6; i++)
        inner[i] = prng_unit(prng) * 2.0f - 1.0f;
    for (uint32_t i = 0; i < dim; i++)
        row[i] = sinf(inner[i % 6] * (float)(i / 6 + 1)) + 0.3f * inner[(i + 1) % 6];
}

// Like norms of long texts' embeddings that nobody normalised: few rows are long, and answers are mostly of them.
static void
stretch(struct prng *prng, float *row)
{
    const float longer = powf(10.0f, decades * (prng_unit(prng) + prng_unit(prng) - 1.0f));
    for (uint32_t i = 0; i < dim; i++)
        row[i] *= longer;
}

// An index whose rows nobody links before it is asked to.
static void
open_index(const omen_options *wanted, const char *plugin)
{
    setenv("OMEN_GPU_PLUGIN", plugin, 1);
    setenv("OMEN_GPU_LEAST", "0", 1);
    dim = wanted->dimension;
    must(omen_open(wanted, &index_));
    struct shard *shard = (struct shard *)(void *)index_;
    atomic_store(&shard->bulk_after, UINT32_MAX); // nor builds them by itself
    lock_acquire(&shard->writers);
    linkers_pause(&shard->linkers);
    lock_release(&shard->writers);
}

static void
let_linkers_go(void)
{
    struct shard *shard = (struct shard *)(void *)index_;
    lock_acquire(&shard->writers);
    linkers_resume(&shard->linkers, shard->target->hnsw);
    lock_release(&shard->writers);
}

static void
add_rows(uint32_t count)
{
    struct prng prng = {.state = 5};
    for (uint32_t i = 0; i < QUERIES; i++)
        draw(&prng, asked[i]);
    for (uint32_t i = 0; i < count; i++)
        draw(&prng, rows[i]);
    for (uint32_t i = 0; i < count && decades > 0.0f; i++)
        stretch(&prng, rows[i]);
    const omen_batch batch = {.struct_size = sizeof batch,
                              .dtype = OMEN_F32,
                              .count = count,
                              .vectors = rows,
                              .stride = sizeof rows[0]};
    must(omen_add(index_, &batch));
}

static omen_options
options_of(omen_metric metric)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = metric == OMEN_L2 ? 64 : metric == OMEN_IP ? 72 : 96;
    options.metric = metric;
    options.threads = 2;
    return options;
}

static omen_status
build_by(omen_backend backend)
{
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    report = (omen_build_report){.struct_size = sizeof report};
    options.backend = backend;
    options.report = &report;
    return omen_build(index_, &options);
}

// All links anew, within so many bytes.
static void
build_anew(omen_backend backend, uint64_t max_memory)
{
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    report = (omen_build_report){.struct_size = sizeof report};
    options.backend = backend;
    options.again = 1;
    options.max_memory = max_memory;
    options.report = &report;
    must(omen_build(index_, &options));
}

static double
recall(uint32_t ef)
{
    static uint64_t got[QUERIES * K], right[QUERIES * K];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = K;
    options.ef = ef;
    options.stride = sizeof asked[0];
    options.backend = OMEN_BACKEND_CPU;
    must(omen_query_batch(index_, asked, QUERIES, &options, got, NULL));
    options.exact = 1;
    must(omen_query_batch(index_, asked, QUERIES, &options, right, NULL));
    uint32_t hits = 0;
    for (uint32_t i = 0; i < QUERIES * K; i++)
        for (uint32_t j = i / K * K; j < i / K * K + K; j++)
            hits += got[j] == right[i];
    return (double)hits / (QUERIES * K);
}

static void
check_linked(uint32_t count)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    must(omen_verify(index_));
    must(omen_stats(index_, &stats));
    ck_assert_uint_eq(stats.count, count);
    ck_assert_uint_eq(stats.tail, 0);
    ck_assert_uint_eq(stats.unreached, 0);
}

// What the same rows come to when the CPU links them.
static double
recall_by_cpu(omen_metric metric, uint32_t ef)
{
    const omen_options options = options_of(metric);
    open_index(&options, PLAIN_DEVICE);
    add_rows(ROWS);
    let_linkers_go();
    must(build_by(OMEN_BACKEND_CPU));
    ck_assert_int_ne(report.backend, OMEN_BACKEND_CUDA);
    ck_assert_str_eq(report.device, "");
    const double found = recall(ef);
    omen_close(index_);
    return found;
}

START_TEST(what_a_gpu_builds_is_whole_and_is_found_as_what_the_cpu_does)
{
    const omen_metric metric = (omen_metric)_i;
    const double by_cpu = recall_by_cpu(metric, 40);
    const omen_options options = options_of(metric);
    open_index(&options, PLAIN_DEVICE);
    add_rows(ROWS);
    let_linkers_go(); // which the build pauses at once
    must(build_by(OMEN_BACKEND_CUDA));
    check_linked(ROWS);
    const double by_gpu = recall(40);
    ck_assert_msg(by_gpu >= by_cpu - 0.01 && by_gpu > 0.95, "%g by the GPU, %g by the CPU", by_gpu,
                  by_cpu);
    must(build_by(OMEN_BACKEND_CUDA)); // of which nothing is left to do
    ck_assert_int_eq(report.backend, OMEN_BACKEND_AUTO);
    ck_assert_uint_eq(report.rows, 0);
    for (int backend = OMEN_BACKEND_AUTO; backend <= OMEN_BACKEND_CUDA; backend++) {
        omen_build_options again = OMEN_BUILD_OPTIONS_INIT;
        again.backend = (omen_backend)backend;
        again.again = 1;
        again.report = &report;
        must(omen_build(index_, &again));
        ck_assert_int_eq(report.backend,
                         backend == OMEN_BACKEND_CPU ? OMEN_BACKEND_CPU : OMEN_BACKEND_CUDA);
        ck_assert_uint_eq(report.rows, ROWS);
        check_linked(ROWS);
    }
    omen_close(index_);
}
END_TEST

static void
build_again(omen_backend backend)
{
    omen_build_options again = OMEN_BUILD_OPTIONS_INIT;
    again.backend = backend;
    again.again = 1;
    must(omen_build(index_, &again));
}

// Under the metric whose queries are not like the rows, within half a point of the processors' links, which look for products, too
// (index/build_product.c). Walks of both graphs begin at the same rows, however many were linked one by one before.
START_TEST(inner_products_are_found_as_well_whatever_the_norms)
{
    static const uint32_t efs[] = {16, 32, 64, 128};
    double by_cpu[4];
    const omen_options options = options_of(OMEN_IP);
    decades = (float)_i;
    open_index(&options, PLAIN_DEVICE);
    add_rows(MANY);
    let_linkers_go();
    build_again(OMEN_BACKEND_CPU);
    for (uint32_t e = 0; e < 4; e++)
        by_cpu[e] = recall(efs[e]);
    build_again(OMEN_BACKEND_CUDA);
    check_linked(MANY);
    for (uint32_t e = 0; e < 4; e++) {
        const double by_gpu = recall(efs[e]);
        ck_assert_msg(by_cpu[e] > 0.9 && by_gpu >= by_cpu[e] - 0.005,
                      "ef %u: %g by the GPU, %g by the CPU", efs[e], by_gpu, by_cpu[e]);
    }
    omen_close(index_);
    decades = 0.0f;
}
END_TEST

// What linkers that are held back could not have done.
static void
must_build_held(uint32_t count, omen_backend backend)
{
    add_rows(count);
    struct shard *shard = (struct shard *)(void *)index_;
    const struct bulk_order order = {.backend = backend};
    struct bulk_made made;
    const omen_status status = bulk_build(shard, &order, &made);
    ck_assert_msg(status == OMEN_OK && made.built, "%d: %s", status, made.error.text);
    ck_assert_int_eq(made.backend, OMEN_BACKEND_CUDA);
    ck_assert_str_eq(made.device, "cpu"); // as the plain device is called
    ck_assert_uint_eq(made.rows, count);
    ck_assert_uint_gt(made.ns, 0);
    let_linkers_go();
    check_linked(count);
}

START_TEST(auto_takes_the_gpu_that_is_there)
{
    omen_options options = options_of(OMEN_L2);
    options.dimension = 32;
    options.dtype = OMEN_U8; // as they are, without codes
    open_index(&options, PLAIN_DEVICE);
    static uint8_t bytes[MANY][32];
    struct prng prng = {.state = 9};
    float row[DIM_MAX];
    for (uint32_t i = 0; i < MANY; i++) {
        draw(&prng, row);
        for (uint32_t j = 0; j < 32; j++)
            bytes[i][j] = (uint8_t)(128.0f + 90.0f * row[j] / 1.3f);
    }
    memcpy(bytes[MANY / 2], bytes[7], 20 * sizeof bytes[0]); // some rows are equal
    const omen_batch batch = {
        .struct_size = sizeof batch, .dtype = OMEN_U8, .count = MANY, .vectors = bytes};
    must(omen_add(index_, &batch));
    const struct bulk_order order = {.backend = OMEN_BACKEND_AUTO};
    struct bulk_made made;
    ck_assert_int_eq(bulk_build((struct shard *)(void *)index_, &order, &made), OMEN_OK);
    ck_assert_msg(made.built, "%s", made.error.text);
    ck_assert_int_eq(made.backend, OMEN_BACKEND_CUDA);
    ck_assert_str_eq(made.error.text, "");
    let_linkers_go();
    check_linked(MANY);
    omen_recall measured = {.struct_size = sizeof measured};
    must(omen_measure_recall(index_, 200, NULL, &measured));
    ck_assert_double_gt(measured.recall, 0.95);
    omen_close(index_);
}
END_TEST

START_TEST(rows_that_were_deleted_and_those_written_later_are_told_apart)
{
    const omen_options options = options_of(OMEN_COSINE);
    open_index(&options, PLAIN_DEVICE);
    add_rows(ROWS);
    uint64_t gone[300];
    for (uint32_t i = 0; i < 300; i++)
        gone[i] = i * (ROWS / 300);
    must(omen_delete(index_, gone, 300, NULL));
    let_linkers_go();
    must(build_by(OMEN_BACKEND_CUDA));
    check_linked(ROWS - 300);
    add_rows(50);
    must(build_by(OMEN_BACKEND_CPU));
    check_linked(ROWS - 250);
    ck_assert_double_gt(recall(40), 0.95);
    omen_close(index_);
}
END_TEST

START_TEST(a_build_by_a_gpu_keeps_its_memory)
{
    const omen_options options = options_of(OMEN_L2);
    open_index(&options, PLAIN_DEVICE);
    add_rows(ROWS);
    struct shard *shard = (struct shard *)(void *)index_;
    struct bulk_made made;
    struct bulk_order order = {.backend = OMEN_BACKEND_CUDA, .memory_max = 1000};
    ck_assert_int_eq(bulk_build(shard, &order, &made), OMEN_E_NO_MEMORY);
    ck_assert(!made.built);
    ck_assert_ptr_nonnull(strstr(made.error.text, "backend cuda"));
    order.memory_max = (uint64_t)64 << 20;
    ck_assert_int_eq(bulk_build(shard, &order, &made), OMEN_OK);
    ck_assert(made.built);
    let_linkers_go();
    check_linked(ROWS);
    omen_close(index_);
}
END_TEST

static uint64_t told;
static int
stop(void *context, uint64_t linked, uint64_t total)
{
    ck_assert_uint_le(linked, total);
    return ++told >= *(const uint64_t *)context;
}

START_TEST(a_build_by_a_gpu_tells_how_far_it_is_and_can_be_ended)
{
    const omen_options options = options_of(OMEN_L2);
    open_index(&options, PLAIN_DEVICE);
    add_rows(ROWS);
    struct shard *shard = (struct shard *)(void *)index_;
    uint64_t calls = 4;
    struct linkers_watch watch = {.progress = stop, .context = &calls};
    const struct bulk_order order = {.watch = &watch, .backend = OMEN_BACKEND_CUDA};
    struct bulk_made made;
    ck_assert_int_eq(bulk_build(shard, &order, &made), OMEN_OK);
    ck_assert(made.cancelled && !made.built);
    ck_assert_uint_eq(told, 4);
    told = 0;
    calls = UINT64_MAX;
    ck_assert_int_eq(bulk_build(shard, &order, &made), OMEN_OK);
    ck_assert(made.built && !made.cancelled);
    ck_assert_uint_gt(told, 8);
    let_linkers_go();
    check_linked(ROWS);
    omen_close(index_);
}
END_TEST

START_TEST(auto_goes_on_with_the_cpu_and_says_why)
{
    static const struct {
        const char *plugin, *reason;
    } cases[] = {
        {"/nowhere/omendb_gpu.so", "not installed"}, {OLD_DEVICE, "is of version"},
        {NO_DEVICE, "lacks omendb_gpu_ops"},         {"/etc/passwd", "cannot be loaded"},
        {FAILING_DEVICE, "the driver fell over"},
    };
    omen_options options = options_of(OMEN_L2);
    options.dimension = 16;
    options.dtype = OMEN_I8;
    open_index(&options, cases[_i].plugin);
    static int8_t bytes[MANY][16];
    struct prng prng = {.state = 3};
    for (uint32_t i = 0; i < MANY; i++)
        for (uint32_t j = 0; j < 16; j++)
            bytes[i][j] = (int8_t)prng_below(&prng, 100);
    const omen_batch batch = {
        .struct_size = sizeof batch, .dtype = OMEN_I8, .count = MANY, .vectors = bytes};
    must(omen_add(index_, &batch));
    struct bulk_order order = {.backend = OMEN_BACKEND_CUDA};
    struct bulk_made made;
    ck_assert_int_ne(bulk_build((struct shard *)(void *)index_, &order, &made), OMEN_OK);
    ck_assert_msg(strncmp(made.error.text, "backend cuda: ", 14) == 0, "%s", made.error.text);
    ck_assert_msg(strstr(made.error.text, cases[_i].reason) != NULL, "%s", made.error.text);
    order.backend = OMEN_BACKEND_AUTO;
    ck_assert_int_eq(bulk_build((struct shard *)(void *)index_, &order, &made), OMEN_OK);
    ck_assert(made.built);
    ck_assert_int_eq(made.backend, OMEN_BACKEND_CPU);
    ck_assert_msg(strstr(made.error.text, cases[_i].reason) != NULL, "%s", made.error.text);
    let_linkers_go();
    check_linked(MANY);
    omen_close(index_);
}
END_TEST

// Of 8200 rows x 64 not all fits, so that the GPU would have to go by parts, which 2 threads do without it sooner.
// In the first case the CPU builds, in the second a device.
START_TEST(a_report_has_the_time_and_bytes_of_each_stage)
{
    const omen_options options = options_of(OMEN_L2);
    open_index(&options, PLAIN_DEVICE);
    add_rows(MANY);
    let_linkers_go();
    build_anew(_i == 0 ? OMEN_BACKEND_CPU : OMEN_BACKEND_CUDA, 64u << 20);
    const char *const compares = _i == 0 ? "leaves" : "maker";
    double seconds = 0.0;
    uint64_t most = 0;
    bool compared = false;
    for (uint32_t i = 0; i < report.stage_count; i++) {
        const omen_build_stage *stage = &report.stages[i];
        ck_assert_str_ne(stage->name, "");
        seconds += stage->seconds;
        most = stage->memory > most ? stage->memory : most;
        compared |= strcmp(stage->name, compares) == 0;
    }
    ck_assert(compared);
    ck_assert_str_eq(report.stages[report.stage_count - 1].name, "install");
    ck_assert_double_le(seconds, report.seconds);
    ck_assert_uint_eq(report.memory, most);
    ck_assert_uint_le(report.memory, 64u << 20);
    must(build_by(OMEN_BACKEND_CPU)); // there is nothing to do
    ck_assert_uint_eq(report.stage_count, 0);
    ck_assert_uint_eq(report.memory, 0);
    omen_close(index_);
}
END_TEST

// Who was built against a header of before has what it had room for.
START_TEST(a_report_without_stages_is_filled_as_ever)
{
    const omen_options options = options_of(OMEN_L2);
    struct {
        omen_build_report report;
        uint64_t after;
    } given;
    open_index(&options, PLAIN_DEVICE);
    add_rows(MANY);
    let_linkers_go();
    omen_build_options again = OMEN_BUILD_OPTIONS_INIT;
    memset(&given, 0xa5, sizeof given);
    given.report.struct_size = offsetof(omen_build_report, memory);
    again.backend = OMEN_BACKEND_CPU;
    again.again = 1;
    again.report = &given.report;
    must(omen_build(index_, &again));
    ck_assert_uint_eq(given.report.rows, MANY);
    const uint8_t *bytes = (const uint8_t *)&given;
    for (size_t i = offsetof(omen_build_report, memory); i < sizeof given; i++)
        ck_assert_uint_eq(bytes[i], 0xa5);
    omen_close(index_);
}
END_TEST

START_TEST(auto_leaves_parts_to_the_cpu_and_says_so)
{
    const omen_options options = options_of(OMEN_L2);
    open_index(&options, SMALL_DEVICE);
    add_rows(MANY);
    let_linkers_go();
    build_anew(OMEN_BACKEND_AUTO, 0);
    ck_assert_int_eq(report.backend, OMEN_BACKEND_CPU);
    ck_assert_uint_eq(report.rows, MANY);
    ck_assert_str_eq(report.device, "cpu"); // the plain device's name: it was to build
    ck_assert_msg(strncmp(report.reason, "8200 rows of 64 bytes would go through", 38) == 0 &&
                      strstr(report.reason, " parts, ") != NULL &&
                      strstr(report.reason, " than 2 threads ") != NULL,
                  "%s", report.reason);
    check_linked(MANY);
    build_anew(OMEN_BACKEND_CUDA, 0); // which does as it is told
    ck_assert_int_eq(report.backend, OMEN_BACKEND_CUDA);
    ck_assert_str_eq(report.reason, "");
    check_linked(MANY);
    omen_close(index_);
}
END_TEST

START_TEST(what_a_gpu_cannot_build_is_said)
{
    static const struct {
        uint32_t rows, m;
        omen_algorithm algorithm;
        omen_quantization quantization;
        const char *reason;
    } cases[] = {
        {900, 16, OMEN_HNSW, OMEN_QUANTIZE_INT8, "900 rows are too few"},
        {900, 16, OMEN_FLAT, OMEN_QUANTIZE_INT8, "flat"},
        {1100, 16, OMEN_HNSW, OMEN_QUANTIZE_NONE, "8-bit codes"},
        {1100, 33, OMEN_HNSW, OMEN_QUANTIZE_INT8, "m is 33"},
    };
    omen_options options = options_of(OMEN_L2);
    options.m = cases[_i].m;
    options.algorithm = cases[_i].algorithm;
    options.quantization = cases[_i].quantization;
    open_index(&options, PLAIN_DEVICE);
    add_rows(cases[_i].rows);
    ck_assert_int_eq(build_by(OMEN_BACKEND_CUDA), OMEN_E_UNSUPPORTED);
    ck_assert_msg(strstr(omen_error_message(), cases[_i].reason) != NULL, "%s",
                  omen_error_message());
    ck_assert_str_eq(report.reason, omen_error_message());
    let_linkers_go();
    must(build_by(OMEN_BACKEND_AUTO)); // which does without
    omen_close(index_);
}
END_TEST

START_TEST(a_backend_that_is_none_and_a_report_without_a_size_are_refused)
{
    const omen_options options = options_of(OMEN_L2);
    open_index(&options, PLAIN_DEVICE);
    let_linkers_go();
    ck_assert_int_eq(build_by((omen_backend)3), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "backend 3"));
    omen_build_options asked_for = OMEN_BUILD_OPTIONS_INIT;
    report.struct_size = 0;
    asked_for.report = &report;
    ck_assert_int_eq(omen_build(index_, &asked_for), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "omen_build_report"));
    omen_close(index_);
}
END_TEST

START_TEST(auto_asks_for_no_gpu_where_little_is_to_be_done)
{
    struct backend backend;
    struct omen_error error;
    setenv("OMEN_GPU_PLUGIN", PLAIN_DEVICE, 1);
    unsetenv("OMEN_GPU_LEAST");
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_AUTO, 19999999, &error), OMEN_OK);
    ck_assert_ptr_null(backend_maker(&backend));
    ck_assert_ptr_nonnull(strstr(backend.why.text, "too little"));
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_AUTO, 20000000, &error), OMEN_OK);
    ck_assert_ptr_nonnull(backend_maker(&backend));
    ck_assert_str_eq(backend.why.text, "");
    ck_assert(!backend_gives_up(&backend, OMEN_E_CANCELLED));
    ck_assert(backend_gives_up(&backend, OMEN_E_NO_MEMORY));
    ck_assert_ptr_null(backend_maker(&backend));
    ck_assert_ptr_nonnull(strstr(backend.why.text, "memory"));
    setenv("OMEN_GPU_LEAST", "12x", 1); // no number
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_AUTO, 12, &error), OMEN_OK);
    ck_assert_ptr_null(backend_maker(&backend));
    setenv("OMEN_GPU_LEAST", "12", 1);
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_AUTO, 11, &error), OMEN_OK);
    ck_assert_ptr_null(backend_maker(&backend));
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_AUTO, 12, &error), OMEN_OK);
    ck_assert_ptr_nonnull(backend_maker(&backend));
    backend_close(&backend);
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_CUDA, 0, &error), OMEN_OK);
    ck_assert_ptr_nonnull(backend_maker(&backend));
    ck_assert(!backend_gives_up(&backend, OMEN_E_INTERNAL));
    backend_close(&backend);
    backend_close(&backend);
    ck_assert_int_eq(backend_open(&backend, OMEN_BACKEND_CPU, UINT64_MAX, &error), OMEN_OK);
    ck_assert_ptr_null(backend_maker(&backend));
}
END_TEST

START_TEST(a_large_build_by_a_gpu_is_found_and_verified)
{
    const omen_options options = options_of(OMEN_COSINE);
    open_index(&options, PLAIN_DEVICE);
    must_build_held(ROWS, OMEN_BACKEND_CUDA);
    ck_assert_double_gt(recall(40), 0.95);
    omen_close(index_);
}
END_TEST

static Suite *
backend_suite(void)
{
    Suite *suite = suite_create("shard/backend");
    TCase *tests = tcase_create("backend");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, what_a_gpu_builds_is_whole_and_is_found_as_what_the_cpu_does, 0,
                        METRICS);
    tcase_add_loop_test(tests, inner_products_are_found_as_well_whatever_the_norms, 0, 3 * ALONE);
    tcase_add_loop_test(tests, a_large_build_by_a_gpu_is_found_and_verified, 0, ALONE);
    tcase_add_loop_test(tests, auto_takes_the_gpu_that_is_there, 0, ALONE);
    tcase_add_test(tests, rows_that_were_deleted_and_those_written_later_are_told_apart);
    tcase_add_test(tests, a_build_by_a_gpu_keeps_its_memory);
    tcase_add_test(tests, a_build_by_a_gpu_tells_how_far_it_is_and_can_be_ended);
    tcase_add_loop_test(tests, auto_goes_on_with_the_cpu_and_says_why, 0, 5);
    tcase_add_loop_test(tests, a_report_has_the_time_and_bytes_of_each_stage, 0, 2 * ALONE);
    tcase_add_loop_test(tests, a_report_without_stages_is_filled_as_ever, 0, ALONE);
    tcase_add_loop_test(tests, auto_leaves_parts_to_the_cpu_and_says_so, 0, ALONE);
    tcase_add_loop_test(tests, what_a_gpu_cannot_build_is_said, 0, 4 * ALONE);
    tcase_add_test(tests, a_backend_that_is_none_and_a_report_without_a_size_are_refused);
    tcase_add_test(tests, auto_asks_for_no_gpu_where_little_is_to_be_done);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(backend_suite)
