// tests/unit/tools/omenctl/test_sample.c -- metrics as a node says them become the numbers that top shows; anything else becomes none.
#include "tools/omenctl/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_main.h"

// In a block exactly as large, so that a byte too many is seen.
static struct sample
read_text(const char *text)
{
    const size_t bytes = strlen(text);
    char *exact = malloc(bytes > 0 ? bytes : 1);
    struct sample sample;
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, text, bytes);
    sample_read(exact, bytes, &sample);
    free(exact);
    return sample;
}

static const char first[] =
    "# HELP omen_requests_total Requests.\n"
    "# TYPE omen_requests_total counter\n"
    "omen_requests_total{method=\"query.search\",status=\"OK\"} 100\n"
    "omen_requests_total{method=\"query.search\",status=\"TIMEOUT\"} 2\n"
    "omen_requests_total{method=\"system.metrics\",status=\"OK\"} 7000\n"
    "omen_request_seconds_bucket{method=\"query.search\",le=\"0.001\"} 10\n"
    "omen_request_seconds_bucket{method=\"query.search\",le=\"0.01\"} 100\n"
    "omen_request_seconds_bucket{method=\"query.search\",le=\"+Inf\"} 102\n"
    "omen_request_seconds_bucket{method=\"system.metrics\",le=\"0.001\"} 7\n"
    "omen_request_seconds_sum{method=\"query.search\"} 0.5\n"
    "omen_requests_under_way{kind=\"points\"} 4\n"
    "omen_requests_under_way{kind=\"map\"} 1\n"
    "omen_copies{role=\"primary\"} 3\n"
    "omen_copies{role=\"backup\"} 2\n"
    "omen_copies{role=\"lost\"} 9\n"
    "omen_shard_lag_entries{collection=\"docs\",shard=\"1\"} 5\n"
    "omen_shard_peer_lag_entries{collection=\"a\\\"b\",shard=\"1\",copy=\"x\"} 12\n"
    "process_resident_memory_bytes 1048576\n"
    "omen_uptime_seconds 12.5\n";

START_TEST(numbers_are_those_of_the_text)
{
    const struct sample sample = read_text(first);
    ck_assert_double_eq(sample.requests, 102); // not who looks
    ck_assert_double_eq(sample.failed, 2);
    ck_assert_double_eq(sample.in_flight, 4); // nor the request whose answer this is
    ck_assert_double_eq(sample.copies, 5);
    ck_assert_double_eq(sample.lag, 12);
    ck_assert_double_eq(sample.memory_bytes, 1048576);
    ck_assert_double_eq(sample.uptime_seconds, 12.5);
    ck_assert_uint_eq(sample.bucket_count, 3);
    ck_assert_double_eq(sample.buckets[0].seconds, 0.001);
    ck_assert_double_eq(sample.buckets[1].count, 100);
    ck_assert(isinf(sample.buckets[2].seconds));
}
END_TEST

START_TEST(buckets_of_methods_are_added_up_in_order)
{
    const struct sample sample =
        read_text("omen_request_seconds_bucket{method=\"a.b\",le=\"0.01\"} 3\n"
                  "omen_request_seconds_bucket{method=\"a.b\",le=\"+Inf\"} 4\n"
                  "omen_request_seconds_bucket{method=\"c.d\",le=\"0.001\"} 1\n"
                  "omen_request_seconds_bucket{method=\"c.d\",le=\"0.01\"} 2\n");
    ck_assert_uint_eq(sample.bucket_count, 3);
    ck_assert_double_eq(sample.buckets[0].count, 1);
    ck_assert_double_eq(sample.buckets[1].count, 5);
    ck_assert_double_eq(sample.buckets[2].count, 4);
}
END_TEST

START_TEST(what_is_no_line_counts_for_nothing)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "omen_requests_total",
        "omen_requests_total 5x",
        "omen_requests_total NaN",
        "omen_requests_total{",
        "omen_requests_total{method",
        "omen_requests_total{method=",
        "omen_requests_total{method=\"",
        "omen_requests_total{method=\"a",
        "omen_requests_total{method=\"a\\",
        "omen_requests_total{method=\"a\"",
        "omen_requests_total{method=\"a\"}",
        "omen_requests_total{method=\"a\"} ",
        "omen_requests_total{method=\"a\"}5",
        "omen_requests_total{method=a} 5",
        "omen_requests_total 1111111111111111111111111111111111111111",
        "omen_request_seconds_bucket 5",
        "omen_request_seconds_bucket{le=\"x\"} 5",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct sample sample = read_text(texts[i]);
        ck_assert_msg(sample.requests == 0 && sample.bucket_count == 0, "%s", texts[i]);
    }
}
END_TEST

START_TEST(more_buckets_than_there_is_room_for_are_left_out)
{
    char text[SAMPLE_BUCKETS_MAX * 80 + 200] = "";
    for (uint32_t i = 0; i <= SAMPLE_BUCKETS_MAX; i++)
        (void)snprintf(text + strlen(text), 80, "omen_request_seconds_bucket{le=\"%u\"} 1\n", i);
    ck_assert_uint_eq(read_text(text).bucket_count, SAMPLE_BUCKETS_MAX);
    ck_assert_double_eq(read_text(text).buckets[0].seconds, 0);
}
END_TEST

START_TEST(rates_are_of_the_time_between)
{
    const struct sample before = read_text(first);
    struct sample after = before;
    struct sample_rates rates;
    sample_rates_of(&before, &after, 2, &rates);
    ck_assert_double_eq(rates.qps, 0);
    ck_assert(rates.p50_ms < 0 && rates.p99_ms < 0);
    after.requests += 100;
    after.failed += 10;
    after.buckets[0].count += 50; // of up to 1 ms
    after.buckets[1].count += 98; // of up to 10
    after.buckets[2].count += 100;
    sample_rates_of(&before, &after, 2, &rates);
    ck_assert_double_eq(rates.qps, 50);
    ck_assert_double_eq(rates.failed_per_second, 5);
    ck_assert_double_eq_tol(rates.p50_ms, 1, 1e-9);
    ck_assert_double_eq_tol(rates.p99_ms, 10, 1e-9); // longer than all that is told apart
    sample_rates_of(&before, &after, 0, &rates);
    ck_assert_double_eq(rates.qps, 0);
}
END_TEST

START_TEST(a_process_that_has_begun_anew_is_taken_from_its_beginning)
{
    const struct sample before = read_text(first);
    struct sample after = read_text("omen_requests_total{method=\"a.b\",status=\"OK\"} 30\n"
                                    "omen_request_seconds_bucket{method=\"a.b\",le=\"0.001\"} 30\n"
                                    "omen_request_seconds_bucket{method=\"a.b\",le=\"+Inf\"} 30\n"
                                    "omen_uptime_seconds 1\n");
    struct sample_rates rates;
    sample_rates_of(&before, &after, 1, &rates);
    ck_assert_double_eq(rates.qps, 30);
    ck_assert_double_eq_tol(rates.p50_ms, 0.5, 1e-9);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("tools/sample");
    TCase *tcase = tcase_create("sample");
    tcase_add_test(tcase, numbers_are_those_of_the_text);
    tcase_add_test(tcase, buckets_of_methods_are_added_up_in_order);
    tcase_add_test(tcase, what_is_no_line_counts_for_nothing);
    tcase_add_test(tcase, more_buckets_than_there_is_room_for_are_left_out);
    tcase_add_test(tcase, rates_are_of_the_time_between);
    tcase_add_test(tcase, a_process_that_has_begun_anew_is_taken_from_its_beginning);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
