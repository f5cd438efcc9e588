// tests/unit/base/test_metrics.c -- what is counted is written as Prometheus reads it, whatever a label's value is.
//
// Labels: tsan
#include "base/metrics.h"

#include <check.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "tests/lib/check_main.h"

#define US UINT64_C(1000)

static const struct metric_row plain = {"omen_things", METRIC_GAUGE, "", "Things."};
static const struct metric_row labelled = {"omen_calls_total", METRIC_COUNTER, "method,status",
                                           "Calls."};
static const struct metric_row timed = {"omen_call_seconds", METRIC_HISTOGRAM, "method", "Time."};

static void
claim_text(struct metrics_text *text, const char *wanted)
{
    ck_assert(!text->failed);
    ck_assert_uint_eq(text->count, strlen(wanted));
    ck_assert_mem_eq(text->bytes, wanted, text->count);
    metrics_fini(text);
}

START_TEST(a_family_begins_with_its_sentence_and_kind)
{
    struct metrics_text text;
    metrics_init(&text);
    metrics_one(&text, &plain, 7);
    claim_text(&text, "# HELP omen_things Things.\n# TYPE omen_things gauge\nomen_things 7\n");
}
END_TEST

START_TEST(a_label_value_may_be_any_text)
{
    struct metrics_text text;
    metrics_init(&text);
    metrics_family(&text, &labelled);
    metrics_sample(&text, (const char *const[]){"a\"b\\c\nd", ""}, UINT64_MAX);
    claim_text(&text, "# HELP omen_calls_total Calls.\n# TYPE omen_calls_total counter\n"
                      "omen_calls_total{method=\"a\\\"b\\\\c\\nd\",status=\"\"} "
                      "18446744073709551615\n");
}
END_TEST

START_TEST(times_are_in_seconds_and_their_buckets_add_up)
{
    static const uint64_t took[] = {
        0, 50 * US, 50 * US + 1, 3000000 * US, 10000000 * US, 11000000 * US};
    static const char *const lines[] = {"omen_call_seconds_bucket{method=\"m\",le=\"5e-05\"} 2\n",
                                        "omen_call_seconds_bucket{method=\"m\",le=\"0.0001\"} 3\n",
                                        "omen_call_seconds_bucket{method=\"m\",le=\"2.5\"} 3\n",
                                        "omen_call_seconds_bucket{method=\"m\",le=\"5\"} 4\n",
                                        "omen_call_seconds_bucket{method=\"m\",le=\"10\"} 5\n",
                                        "omen_call_seconds_bucket{method=\"m\",le=\"+Inf\"} 6\n",
                                        "omen_call_seconds_sum{method=\"m\"} 24.000100001\n",
                                        "omen_call_seconds_count{method=\"m\"} 6\n"};
    struct metric_times times = {0};
    struct metrics_text text;
    for (uint32_t i = 0; i < sizeof took / sizeof *took; i++)
        metric_time(&times, took[i]);
    ck_assert_uint_eq(metric_times_count(&times), 6);
    metrics_init(&text);
    metrics_family(&text, &timed);
    metrics_sample_times(&text, (const char *const[]){"m"}, &times);
    for (uint32_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(memmem(text.bytes, text.count, lines[i], strlen(lines[i])) != NULL,
                      "%s is not in\n%.*s", lines[i], (int)text.count, text.bytes);
    metrics_fini(&text);
}
END_TEST

START_TEST(a_text_that_finds_no_memory_says_so)
{
    struct metrics_text text;
    metrics_init(&text);
    mem_fail_once(1);
    metrics_one(&text, &plain, 1);
    mem_fail_after(0);
    ck_assert(text.failed);
    metrics_one(&text, &plain, 1);
    ck_assert(text.failed);
    metrics_fini(&text);
}
END_TEST

static struct metric_times shared;

static void
count_some(void *context, uint32_t index, uint32_t worker)
{
    (void)context;
    (void)worker;
    for (uint32_t i = 0; i < 1000; i++)
        metric_time(&shared, index * 1000 * US);
}

START_TEST(nothing_is_lost_when_many_count_at_once)
{
    pool_run(4, 8, count_some, NULL);
    ck_assert_uint_eq(metric_times_count(&shared), 8000);
    ck_assert_uint_eq(metric_read(&shared.sum_ns), 28 * 1000 * 1000 * US);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics");
    tcase_add_test(tcase, a_family_begins_with_its_sentence_and_kind);
    tcase_add_test(tcase, a_label_value_may_be_any_text);
    tcase_add_test(tcase, times_are_in_seconds_and_their_buckets_add_up);
    tcase_add_test(tcase, a_text_that_finds_no_memory_says_so);
    tcase_add_test(tcase, nothing_is_lost_when_many_count_at_once);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
