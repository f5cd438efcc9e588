// tests/unit/node/test_metrics.c -- the text has every row of the table once, and what was counted and looked up under its labels.
//
// Labels: tsan
#include "node/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "wire/node_codec.h"

static struct metrics counted;
static struct os_process process;
static struct meta_stats meta;
static struct rpc_server_stats rpc;
static struct bus_stats bus;
static struct disk_stats disk;
static struct clients_seen clients;
static struct hosts_seen *hosts;
static struct build_stats build;
static struct metrics_view view;
static struct metrics_text text;

static void
setup(void)
{
    hosts = calloc(1, sizeof *hosts + 3 * sizeof hosts->copies[0]);
    ck_assert_ptr_nonnull(hosts);
    memset(&counted, 0, sizeof counted);
    view = (struct metrics_view){.version = "1.2.3",
                                 .counted = &counted,
                                 .process = &process,
                                 .meta = &meta,
                                 .rpc = &rpc,
                                 .bus = &bus,
                                 .disk = &disk,
                                 .clients = &clients,
                                 .hosts = hosts,
                                 .build = &build};
    metrics_init(&text);
}

static void
teardown(void)
{
    metrics_fini(&text);
    free(hosts);
}

static void
write_text(void)
{
    metrics_fini(&text);
    metrics_write(&text, &view);
    ck_assert(!text.failed);
}

static uint32_t
times_in(const char *wanted)
{
    uint32_t times = 0;
    const char *at = text.bytes, *end = text.bytes + text.count;
    while ((at = memmem(at, (size_t)(end - at), wanted, strlen(wanted))) != NULL) {
        times++;
        at += strlen(wanted);
    }
    return times;
}

static void
claim_line(const char *line)
{
    ck_assert_msg(times_in(line) == 1, "%s is there %u times:\n%.*s", line, times_in(line),
                  (int)text.count, text.bytes);
}

START_TEST(every_row_of_the_table_is_there_once)
{
    char line[256];
    write_text();
    for (uint32_t i = 0; i < METRICS_END; i++) {
        snprintf(line, sizeof line, "# TYPE %s ", metrics_row((enum metric_id)i)->name);
        claim_line(line);
        snprintf(line, sizeof line, "# HELP %s ", metrics_row((enum metric_id)i)->name);
        claim_line(line);
    }
    ck_assert_uint_eq(times_in("# TYPE "), METRICS_END);
}
END_TEST

START_TEST(before_there_is_a_node_there_is_a_process)
{
    view = (struct metrics_view){.version = "1.2.3", .counted = &counted, .process = &process};
    process.open_files = 12;
    write_text();
    claim_line("omen_build_info{version=\"1.2.3\"} 1\n");
    claim_line("\nomen_ready 0\n");
    claim_line("\nprocess_open_fds 12\n");
    ck_assert_uint_eq(times_in("omen_raft"), 0);
}
END_TEST

START_TEST(requests_are_counted_by_method_and_status)
{
    const struct method *search = method_at(METHOD_QUERY_SEARCH);
    metrics_request(&counted, search, OMEN_OK, 2000);
    metrics_request(&counted, search, OMEN_OK, 3000);
    metrics_request(&counted, search, OMEN_E_QUOTA, 1000); // the last status that there is
    metric_add(&counted.parts[WIRE_PART_WRITE][-OMEN_E_BUSY], 4);
    write_text();
    claim_line("omen_requests_total{method=\"query.search\",status=\"OK\"} 2\n");
    claim_line("omen_requests_total{method=\"query.search\",status=\"QUOTA\"} 1\n");
    claim_line("omen_request_seconds_count{method=\"query.search\"} 3\n");
    claim_line("omen_request_seconds_sum{method=\"query.search\"} 0.000006000\n");
    claim_line("omen_parts_total{kind=\"write\",status=\"BUSY\"} 4\n");
    ck_assert_uint_eq(times_in("point.upsert"), 0); // nobody asked
}
END_TEST

START_TEST(a_disk_has_its_size_what_is_left_the_reserve_and_whether_it_is_low)
{
    (void)reserve_look(&hosts->reserve, 5, (struct reserve_disk){1000, 49});
    write_text();
    claim_line("\nomen_disk_size_bytes 1000\n");
    claim_line("\nomen_disk_available_bytes 49\n");
    claim_line("\nomen_disk_reserve_bytes 50\n");
    claim_line("\nomen_disk_low 1\n");
}
END_TEST

START_TEST(a_builder_says_what_it_has_made)
{
    build = (struct build_stats){.jobs = 5, .graphs = 9, .rows = 1000, .failed = 2};
    write_text();
    claim_line("omen_builds_total{what=\"taken\"} 5\n");
    claim_line("omen_builds_total{what=\"failed\"} 2\n");
    claim_line("omen_builds_total{what=\"graphs\"} 9\n");
    claim_line("omen_build_rows_total 1000\n");
}
END_TEST

START_TEST(copies_are_counted_by_role_and_shown_by_shard)
{
    hosts->count = 3;
    hosts->copies[0] = (struct hosts_copy_seen){.shard = 7,
                                                .collection = {4, "docs"},
                                                .role = HOSTS_PRIMARY,
                                                .applied = 90,
                                                .lag = 3,
                                                .points = 1000,
                                                .bytes = 4096,
                                                .peer_count = 1,
                                                .peers = {{{1, 2}, 5}}};
    hosts->copies[1] =
        (struct hosts_copy_seen){.shard = 8, .collection = {4, "docs"}, .role = HOSTS_BACKUP};
    hosts->copies[2] = (struct hosts_copy_seen){.shard = 9, .role = HOSTS_LOST};
    write_text();
    claim_line("omen_copies{role=\"primary\"} 1\n");
    claim_line("omen_copies{role=\"backup\"} 1\n");
    claim_line("omen_copies{role=\"lost\"} 1\n");
    claim_line("omen_shard_points{collection=\"docs\",shard=\"7\"} 1000\n");
    claim_line("omen_shard_file_bytes{collection=\"docs\",shard=\"7\"} 4096\n");
    claim_line("omen_shard_applied_seq{collection=\"docs\",shard=\"7\"} 90\n");
    claim_line("omen_shard_lag_entries{collection=\"docs\",shard=\"7\"} 3\n");
    claim_line("omen_shard_points{collection=\"docs\",shard=\"8\"} 0\n");
    claim_line("omen_shard_peer_lag_entries{collection=\"docs\",shard=\"7\","
               "copy=\"00000000-0000-0001-0000-000000000002\"} 5\n");
    ck_assert_uint_eq(times_in("shard=\"9\""), 0);
}
END_TEST

START_TEST(what_a_text_has_no_memory_for_is_not_hidden)
{
    for (uint64_t n = 1; n < 6; n++) {
        metrics_fini(&text);
        mem_fail_once(n);
        metrics_write(&text, &view);
        const bool refused = mem_refused() > 0;
        mem_fail_after(0);
        ck_assert(text.failed == refused);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/metrics");
    TCase *tcase = tcase_create("metrics");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_row_of_the_table_is_there_once);
    tcase_add_test(tcase, before_there_is_a_node_there_is_a_process);
    tcase_add_test(tcase, requests_are_counted_by_method_and_status);
    tcase_add_test(tcase, a_disk_has_its_size_what_is_left_the_reserve_and_whether_it_is_low);
    tcase_add_test(tcase, a_builder_says_what_it_has_made);
    tcase_add_test(tcase, copies_are_counted_by_role_and_shown_by_shard);
    tcase_add_test(tcase, what_a_text_has_no_memory_for_is_not_hidden);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
