// tests/unit/gpu/test_build_parts.c -- builds in less of a device's memory than they would take, and on devices that fail.
//
// Labels: tsan
#include <stdio.h>

#include "base/alloc.h"
#include "tests/lib/failing_device.h"
#include "tests/lib/gpu_build_world.h"

static const struct {
    uint32_t dim;
    enum metric metric;
} kinds[] = {{64, METRIC_L2}, {96, METRIC_COSINE}, {72, METRIC_IP}};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

static struct gpu_build_shape
rows_of_all(void)
{
    return (struct gpu_build_shape){ROWS, stride};
}

// The least that is not refused.
static uint64_t
least(void)
{
    const struct gpu_build_shape rows = rows_of_all();
    struct gpu_build_plan plan;
    ck_assert_int_eq(gpu_build_plan(&config, &rows, 0, &plan), OMEN_E_NO_MEMORY);
    return plan.bytes;
}

// ---- plans ----
START_TEST(a_build_that_fits_to_the_byte_is_whole_and_one_byte_less_is_parts)
{
    const struct gpu_build_shape rows = {100000, 128};
    config = gpu_build_config_for(rows.count, 16);
    config.exact_rows = _i == 0 ? rows.count : 0;
    const uint64_t bytes = gpu_build_bytes(&config, &rows);
    struct gpu_build_plan plan;
    ck_assert_int_eq(gpu_build_plan(&config, &rows, bytes, &plan), OMEN_OK);
    ck_assert_uint_eq(plan.whole, 1);
    ck_assert_uint_eq(plan.bytes, bytes);
    ck_assert_uint_eq(plan.choose_rows, 0);
    ck_assert_int_eq(gpu_build_plan(&config, &rows, bytes - 1, &plan), OMEN_OK);
    ck_assert_uint_eq(plan.whole, 0);
    ck_assert_uint_lt(plan.bytes, bytes);
    ck_assert_uint_ge(plan.leaf_places, config.leaf_max);
    ck_assert_uint_gt(plan.choose_rows, 0);
}
END_TEST

START_TEST(the_least_that_is_said_is_enough_and_one_byte_less_is_not)
{
    static const struct gpu_build_shape shapes[] = {
        {1, 64}, {7, 64}, {3000, 128}, {100000, 128}, {1000000, 4096}};
    const struct gpu_build_shape *rows = &shapes[_i];
    config = gpu_build_config_for(rows->count, 16);
    config.exact_rows = 0;
    struct gpu_build_plan none, plan;
    ck_assert_int_eq(gpu_build_plan(&config, rows, 0, &none), OMEN_E_NO_MEMORY);
    ck_assert_int_eq(gpu_build_plan(&config, rows, none.bytes, &plan), OMEN_OK);
    ck_assert_uint_le(plan.bytes, none.bytes);
    ck_assert_uint_ge(plan.assign_rows, plan.whole ? 0 : 1);
    const omen_status status = gpu_build_plan(&config, rows, none.bytes - 1, &plan);
    ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(plan.bytes, none.bytes);
}
END_TEST

// What each stage takes by the plan is counted again here, and fits; one more of anything does not.
START_TEST(a_plan_takes_all_that_fits_and_no_more)
{
    const struct gpu_build_shape rows = {1000000, 128};
    config = gpu_build_config_for(rows.count, 16);
    struct gpu_build_plan plan;
    const uint64_t code = 128 + 8, lists = (64 + 32) * 8, leaders = 7813 * code;
    const uint64_t of_place = code + 16 * 8 + 4 + 16;
    for (uint64_t bytes = 8000000; bytes < 1500000000; bytes += bytes / 7) {
        ck_assert_int_eq(gpu_build_plan(&config, &rows, bytes, &plan), OMEN_OK);
        ck_assert_uint_eq(plan.whole, 0);
        ck_assert_uint_eq(plan.staged_rows, 16777216 / code);
        ck_assert_uint_le(plan.bytes, bytes);
        const uint64_t left = bytes, assign = (left - leaders) / (code + 64),
                       leaves = left / of_place;
        ck_assert_uint_eq(plan.assign_rows, assign < rows.count ? assign : rows.count);
        ck_assert_uint_eq(plan.leaf_places, leaves < 4194304 ? leaves : 4194304);
        uint64_t choose = left / (lists + 64 * code);
        if (choose * 64 > rows.count && left > rows.count * code) // then all codes are there
            choose = (left - rows.count * code) / lists;
        if (choose > rows.count)
            choose = rows.count;
        CLAIM(plan.choose_rows >= choose, "%u of %u", plan.choose_rows, (uint32_t)choose);
        const uint64_t named = (uint64_t)plan.choose_rows * 64;
        const uint64_t table = named < rows.count ? named : rows.count;
        CLAIM(plan.choose_rows * lists + table * code <= left, "%u rows", plan.choose_rows);
    }
}
END_TEST

START_TEST(codes_are_staged_one_at_least_and_no_more_than_there_are)
{
    const struct gpu_build_shape rows = {5000, 1024};
    config = gpu_build_config_for(rows.count, 16);
    config.exact_rows = 0;
    struct gpu_build_plan plan;
    const uint64_t code = 1024 + 8, bytes = gpu_build_bytes(&config, &rows) - 1;
    const struct {
        uint64_t bytes;
        uint32_t rows;
    } cases[] = {{1, 1},
                 {2 * code - 1, 1},
                 {2 * code, 2},
                 {4999 * code, 4999},
                 {5001 * code, 5000},
                 {UINT64_MAX, 5000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config.staged_bytes = cases[i].bytes;
        ck_assert_int_eq(gpu_build_plan(&config, &rows, bytes, &plan), OMEN_OK);
        ck_assert_uint_eq(plan.staged_rows, cases[i].rows);
    }
}
END_TEST

// Measured: 2.23 and 3.00 s by parts, 1.47 by 16 cores.
START_TEST(what_would_go_by_parts_goes_to_the_processors_where_they_are_faster)
{
    static const struct {
        uint32_t stride, threads, parts;
        bool processors;
    } cases[] = {
        {128, 16, 10, true},  {128, 16, 55, true},  {128, 16, 0, false}, // whole
        {768, 16, 10, true},  {768, 1, 1, true},    {960, 1, 1, true},
        {1024, 1, 1, false},  {1536, 16, 10, true}, {1536, 2, 10, false},
        {4096, 16, 10, true}, {4096, 8, 10, false}, {4096, 1, UINT32_MAX, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct gpu_build_shape rows = {1000000, cases[i].stride};
        config = gpu_build_config_for(rows.count, 16);
        config.threads = cases[i].threads;
        CLAIM(gpu_build_is_for_processors(&config, &rows, cases[i].parts) == cases[i].processors,
              "case %u", (uint32_t)i);
    }
}
END_TEST

// ---- graphs ----
START_TEST(parts_of_any_size_give_the_graph_of_the_whole)
{
    begin(kinds[_i].dim, kinds[_i].metric, 0);
    must_build();
    ck_assert_uint_eq(report.parts, 0);
    uint8_t *const whole = malloc(ROWS * block_bytes);
    memcpy(whole, blocks, ROWS * block_bytes);
    const struct gpu_build_report first = report;
    const struct gpu_build_shape rows = rows_of_all();
    struct gpu_build_plan at_once;
    ck_assert_int_eq(gpu_build_plan_on(&device, &config, &rows, &at_once), OMEN_OK);
    ck_assert_uint_eq(gpu_build_parts(&config, &rows, &at_once), 0);
    const uint64_t from = least(), all = gpu_build_bytes(&config, &rows);
    const uint64_t limits[] = {from, from + from / 3, all / 4, all - 1};
    uint32_t parts = UINT32_MAX;
    for (uint32_t l = 0; l < 4; l++) {
        config.device_bytes = limits[l];
        config.threads = 1 + l % 3;
        memset(blocks, 0xa5, ROWS * block_bytes);
        must_build();
        ck_assert_uint_le(report.device_bytes, limits[l]);
        ck_assert_uint_lt(report.parts, parts); // fewer with more memory
        struct gpu_build_plan plan;
        ck_assert_int_eq(gpu_build_plan_on(&device, &config, &rows, &plan), OMEN_OK);
        const uint32_t told = gpu_build_parts(&config, &rows, &plan);
        ck_assert_uint_le(told, report.parts);
        ck_assert_uint_ge(told * 2, report.parts); // whole leaves do not fill a part
        parts = report.parts;
        ck_assert_mem_eq(blocks, whole, ROWS * block_bytes);
        ck_assert_uint_eq(report.leaf_pairs, first.leaf_pairs);
        ck_assert_uint_eq(report.tiles, first.tiles);
        ck_assert_uint_eq(report.unreached, first.unreached);
        ck_assert_uint_eq(report.steps, first.steps);
    }
    ck_assert_uint_ge(parts, 4); // one of each of four kinds
    free(whole);
    end();
}
END_TEST

// ---- a device that gets what is put as late as it may ----
#define LATE_MAX 8u
static struct {
    void *to;
    const void *host;
    size_t bytes;
} late[LATE_MAX];
static uint32_t late_count;

static omen_status
late_put(struct device *of, void *to, const void *host, size_t bytes)
{
    (void)of;
    ck_assert_uint_lt(late_count, LATE_MAX);
    late[late_count].to = to;
    late[late_count].host = host;
    late[late_count++].bytes = bytes;
    return OMEN_OK;
}

static omen_status
late_wait(struct device *of)
{
    for (uint32_t i = 0; i < late_count; i++)
        memcpy(late[i].to, late[i].host, late[i].bytes);
    late_count = 0;
    return device_cpu.wait(of);
}

static omen_status
late_get(struct device *of, void *host, const void *from, size_t bytes)
{
    (void)!late_wait(of);
    return device_cpu.get(of, host, from, bytes);
}

static omen_status
late_fill(struct device *of, void *memory, uint8_t byte, size_t bytes)
{
    (void)!late_wait(of);
    return device_cpu.fill(of, memory, byte, bytes);
}

static omen_status
late_nearest(struct device *of, const struct device_nearest *nearest)
{
    (void)!late_wait(of);
    return device_cpu.nearest(of, nearest);
}

static omen_status
late_prune(struct device *of, const struct device_prune *prune)
{
    (void)!late_wait(of);
    return device_cpu.prune(of, prune);
}

static omen_status
late_reach(struct device *of, const struct device_reach *reach)
{
    (void)!late_wait(of);
    return device_cpu.reach(of, reach);
}

// What is gathered while those before are on their way does not lie where they do.
START_TEST(codes_are_on_their_way_while_the_next_are_gathered)
{
    begin(kinds[_i].dim, kinds[_i].metric, 0);
    must_build();
    uint8_t *const whole = malloc(ROWS * block_bytes);
    memcpy(whole, blocks, ROWS * block_bytes);
    memset(blocks, 0xa5, ROWS * block_bytes);
    const struct gpu_build_shape rows = rows_of_all();
    config.device_bytes = gpu_build_bytes(&config, &rows) / 2;
    config.staged_bytes = (uint64_t)(100 + _i) * stride; // of some thousands of rows at once
    config.threads = 2;
    struct device_ops ops = device_cpu;
    ops.put = late_put;
    ops.wait = late_wait;
    ops.get = late_get;
    ops.fill = late_fill;
    ops.nearest = late_nearest;
    ops.prune = late_prune;
    ops.reach = late_reach;
    device.ops = &ops;
    must_build();
    ck_assert_uint_gt(report.parts, 4);
    ck_assert_uint_eq(late_count, 0);
    ck_assert_mem_eq(blocks, whole, ROWS * block_bytes);
    free(whole);
    end();
}
END_TEST

// By parts there are no exact lists: the graph is another one, as good for the same comparisons. Under ip nobody has them.
START_TEST(parts_of_few_rows_are_as_good_as_exact_lists)
{
    begin(kinds[_i].dim, kinds[_i].metric, ROWS);
    must_build();
    ck_assert_uint_eq(report.leaders, 0);
    install();
    const struct walks exact = walk(40);
    config.device_bytes = least() * 2;
    must_build();
    ck_assert_uint_gt(report.parts, 4);
    ck_assert_uint_gt(report.leaders, 0);
    install();
    const struct walks parts = walk(40);
    ck_assert_msg(parts.recall >= exact.recall - 0.005, "%g by parts, %g of exact lists",
                  parts.recall, exact.recall);
    ck_assert_uint_le(parts.evaluations, exact.evaluations * 11 / 10);
    end();
}
END_TEST

START_TEST(too_little_memory_for_one_part_is_said_with_what_is_wanted)
{
    begin(64, METRIC_L2, 0);
    struct omen_error error;
    char want[200];
    config.device_bytes = least() - 1;
    ck_assert_int_eq(build(&error), OMEN_E_NO_MEMORY);
    snprintf(want, sizeof want,
             "building on cpu: %u rows take at least %llu bytes of its memory, there are %llu",
             ROWS, (unsigned long long)least(), (unsigned long long)least() - 1);
    ck_assert_str_eq(error.text, want);
    config.device_bytes++;
    ck_assert_int_eq(build(&error), OMEN_OK);
    end();
}
END_TEST

START_TEST(few_rows_have_no_more_leaders_than_rows)
{
    begin(64, METRIC_L2, 0);
    input.count = (uint32_t)_i + 1;
    config.entry = (uint32_t)_i;
    for (uint32_t parts = 0; parts < 2; parts++) {
        const struct gpu_build_shape rows = {input.count, stride};
        struct gpu_build_plan plan;
        (void)!gpu_build_plan(&config, &rows, 0, &plan);
        config.device_bytes = parts == 0 ? 0 : plan.bytes;
        must_build();
        ck_assert_uint_eq(report.leaders, _i < 8 ? (uint32_t)_i + 1 : 8);
    }
    end();
}
END_TEST

// ---- devices that fail ----
static void
failing_facts(struct device *of, struct device_facts *facts)
{
    device_cpu.facts(of, facts);
    facts->bytes = 1u << 30;
    facts->bytes_free = least() / 7 * 8 + 8; // of which seven eighths are taken
}

enum way { BY_LEAVES, BY_LISTS, BY_PARTS, WAYS };

static void
begin_failing(enum way way)
{
    begin(64, METRIC_L2, way == BY_LISTS ? ROWS : 0);
    input.count = 300;
    config.entry = 5;
    config.leaf_rows = 64;
    config.leaf_max = 80;
    if (way == BY_PARTS) {
        const struct gpu_build_shape rows = {300, stride};
        config.device_bytes = gpu_build_bytes(&config, &rows) / 2;
    }
    failing_device(&device);
}

START_TEST(whatever_call_fails_is_said_in_the_driver_s_words_and_leaves_no_memory)
{
    begin_failing((enum way)_i);
    struct omen_error error;
    char want[200];
    uint32_t calls = 0;
    for (omen_status status = OMEN_E_INTERNAL; status != OMEN_OK; calls++) {
        calls_left = calls + 1;
        failure = calls % 2 == 0 ? OMEN_E_INTERNAL : OMEN_E_NO_MEMORY;
        status = build(&error);
        CLAIM(held == 0, "call %u leaves %d pieces of memory", calls, (int)held);
        if (status == OMEN_OK)
            break;
        CLAIM(status == failure, "call %u: %d", calls, (int)status);
        snprintf(want, sizeof want, "building on made: %s",
                 failure == OMEN_E_INTERNAL ? "the driver fell over" : status_text(failure));
        CLAIM(strcmp(error.text, want) == 0, "call %u: %s", calls, error.text);
    }
    ck_assert_uint_gt(calls, 30);
    end();
}
END_TEST

START_TEST(memory_of_the_host_that_is_refused_leaves_nothing_behind)
{
    begin_failing((enum way)_i);
    struct omen_error error;
    omen_status status = OMEN_E_NO_MEMORY;
    calls_left = 0;
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        mem_fail_once(n);
        status = build(&error);
        mem_fail_after(0);
        CLAIM(status == OMEN_OK || status == OMEN_E_NO_MEMORY, "allocation %u: %d", (uint32_t)n,
              (int)status);
        ck_assert_int_eq(held, 0);
    }
    end();
}
END_TEST

static int
is_cancelled(void *context, uint64_t done, uint64_t total)
{
    ck_assert_ptr_null(context);
    ck_assert_uint_lt(done, total);
    return atomic_load_explicit(&cancel, memory_order_relaxed) != 0;
}

START_TEST(parts_end_at_the_next_one_when_they_are_cancelled)
{
    const struct gpu_build_watch watch = {.progress = is_cancelled};
    begin_failing(BY_PARTS);
    struct omen_error error;
    then = CANCELS;
    for (uint32_t calls = 1;; calls += 3) {
        calls_left = calls;
        atomic_store_explicit(&cancel, 0, memory_order_relaxed);
        const omen_status status =
            gpu_build_run(&device, &config, &input, blocks, &watch, &report, &error);
        ck_assert_int_eq(held, 0);
        if (status == OMEN_OK) { // cancelled after the last part began, or not at all
            ck_assert_uint_gt(calls, 40);
            break;
        }
        ck_assert_int_eq(status, OMEN_E_CANCELLED);
        ck_assert_uint_gt(report.parts, 0);
    }
    end();
}
END_TEST

START_TEST(a_device_s_free_memory_is_the_limit_where_none_is_named)
{
    begin_failing(BY_LEAVES);
    input.count = ROWS;
    failing_ops.facts = failing_facts;
    calls_left = 0;
    must_build();
    ck_assert_uint_gt(report.parts, 4);
    ck_assert_uint_le(report.device_bytes, least() + 8);
    end();
}
END_TEST

// ThreadSanitizer need not see more than one kind, nor the same threads again for what is found and for each call that fails.
#ifdef OMEN_UNDER_TSAN
#define KINDS_SEEN 1
#define ALONE 0
#else
#define KINDS_SEEN KINDS
#define ALONE 1
#endif

static Suite *
parts_suite(void)
{
    Suite *suite = suite_create("gpu/build_parts");
    TCase *tests = tcase_create("parts");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_build_that_fits_to_the_byte_is_whole_and_one_byte_less_is_parts, 0,
                        2);
    tcase_add_loop_test(tests, the_least_that_is_said_is_enough_and_one_byte_less_is_not, 0, 5);
    tcase_add_test(tests, a_plan_takes_all_that_fits_and_no_more);
    tcase_add_test(tests, what_would_go_by_parts_goes_to_the_processors_where_they_are_faster);
    tcase_add_test(tests, codes_are_staged_one_at_least_and_no_more_than_there_are);
    tcase_add_loop_test(tests, parts_of_any_size_give_the_graph_of_the_whole, 0, KINDS_SEEN);
    tcase_add_loop_test(tests, codes_are_on_their_way_while_the_next_are_gathered, 0, KINDS_SEEN);
    tcase_add_loop_test(tests, parts_of_few_rows_are_as_good_as_exact_lists, 0,
                        (KINDS - 1) * ALONE);
    tcase_add_test(tests, too_little_memory_for_one_part_is_said_with_what_is_wanted);
    tcase_add_loop_test(tests, few_rows_have_no_more_leaders_than_rows, 0, 10 * ALONE);
    tcase_add_loop_test(tests,
                        whatever_call_fails_is_said_in_the_driver_s_words_and_leaves_no_memory, 0,
                        WAYS * ALONE);
    tcase_add_loop_test(tests, memory_of_the_host_that_is_refused_leaves_nothing_behind, 0,
                        WAYS * ALONE);
    tcase_add_test(tests, parts_end_at_the_next_one_when_they_are_cancelled);
    tcase_add_test(tests, a_device_s_free_memory_is_the_limit_where_none_is_named);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(parts_suite)
