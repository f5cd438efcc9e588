// tests/unit/shard/test_graft.c -- a graph that was built elsewhere does not take its place: no memory, a shard that closes, one that it
// cannot fit. All is as it was, and the same graph takes it afterwards.
#include "shard/graft.h"

#include <string.h>

#include "base/alloc.h"
#include "shard/hosted_int.h"
#include "tests/lib/build_elsewhere.h"
#include "tests/lib/check_main.h"

enum { ROWS = 1200, MORE = 300 };

static struct folder folder;
static struct else_copy copy;
static struct omen_error error;
static struct built_graph graph;

static void
setup(void)
{
    folder_init(&folder);
    copy = (struct else_copy){.hosted = NULL};
    graph = (struct built_graph){0};
}

static void
teardown(void)
{
    built_graph_fini(&graph);
    hosted_close(copy.hosted);
    folder_fini(&folder);
}

static struct shard *
shard(void)
{
    return hosted_shard(copy.hosted);
}

static void
open_filled(uint32_t threads)
{
    else_open(&copy, &folder, "a", &(struct else_options){.threads = threads});
    else_change(&copy, 1, HOSTED_UPSERT, 0, ROWS, 1, 1, false);
    ck_assert_msg(shard_build(shard(), NULL, &error) == OMEN_OK, "%s", error.text);
    else_build(copy.hosted, 5, &graph);
    ck_assert_uint_eq(graph.head.total, ROWS);
}

static uint32_t
builds(void)
{
    return atomic_load(&shard()->bulk_builds);
}

// As graft_put sees it, without what a host does around it.
static omen_status
put(enum graft_gate gate, struct graft_record *record, struct graft_report *report)
{
    const struct graft_judged judged = {.gate = gate, .recall = -1.0};
    return graft_put(shard(), &graph, &judged, record, report, &error);
}

static void
takes_it(void)
{
    struct graft_record record = copy.hosted->builds.record;
    struct graft_report report;
    const uint32_t before = builds();
    ck_assert_msg(put(GRAFT_MEASURED, &record, &report) == OMEN_OK, "%s", error.text);
    ck_assert_uint_eq(builds(), before + 1);
    ck_assert_double_ge(record.best, 0.9);
    ck_assert_msg(hosted_verify(copy.hosted, &error) == OMEN_OK, "%s", error.text);
}

// Each of the first, and of those that each row has some of.
START_TEST(without_memory_all_is_as_it_was)
{
    open_filled(1);
    const uint32_t before = builds();
    uint32_t placed = 0, failed = 0;
    for (uint64_t n = 1;; n += n < 40 ? 1 : n / 8) {
        struct graft_record record = {.best = 0.5, .rows = ROWS};
        struct graft_report report;
        mem_fail_once(n);
        const omen_status status = put(GRAFT_MEASURED, &record, &report);
        const bool ran_out = mem_refused() > 0;
        mem_fail_once(0);
        ck_assert(status == OMEN_OK || (ran_out && status == OMEN_E_NO_MEMORY));
        placed += status == OMEN_OK;
        failed += status != OMEN_OK;
        ck_assert_uint_eq(builds(), before + placed);
        ck_assert_uint_eq(record.rows, ROWS);
        ck_assert_double_ge(record.best, 0.5);
        if (!ran_out)
            break;
    }
    ck_assert_uint_ge(failed, 5); // rows, slots, links, the gauge, the record, the links' place
    takes_it();
}
END_TEST

START_TEST(a_shard_that_closes_keeps_the_graph_that_it_has)
{
    struct graft_record record = {0};
    struct graft_report report;
    open_filled(1);
    const uint32_t before = builds();
    atomic_store(&shard()->closing, true);
    ck_assert_int_eq(put(GRAFT_TRUSTED, &record, &report), OMEN_E_CANCELLED);
    atomic_store(&shard()->closing, false);
    ck_assert_uint_eq(builds(), before);
    takes_it();
}
END_TEST

START_TEST(a_shard_that_has_no_graph_yet_takes_none)
{
    struct graft_record record = {0};
    struct graft_report report;
    open_filled(1);
    hosted_close(copy.hosted);
    else_open(&copy, &folder, "b", &(struct else_options){.threads = 1});
    else_change(&copy, 1, HOSTED_UPSERT, 0, 10, 1, 1, false);
    ck_assert_int_eq(put(GRAFT_TRUSTED, &record, &report), OMEN_E_INVALID);
    ck_assert_uint_eq(builds(), 0);
    ck_assert_uint_eq(report.matched, 0);
}
END_TEST

// The last rows of the graph, so that the shard's rows are at their end before its are; by as many threads as there are processors.
START_TEST(rows_that_went_from_the_end_are_no_more)
{
    struct graft_record record = {0};
    struct graft_report report;
    open_filled((uint32_t)_i);
    else_change(&copy, 1, HOSTED_DELETE, ROWS - 100, 100, 1, 0, false);
    ck_assert_int_eq(put(GRAFT_MEASURED, &record, &report), OMEN_OK);
    ck_assert_uint_eq(report.rows, ROWS);
    ck_assert_uint_eq(report.matched, ROWS - 100);
    ck_assert_double_ge(report.recall, 0.9);
    ck_assert_msg(hosted_verify(copy.hosted, &error) == OMEN_OK, "%s", error.text);
}
END_TEST

// Half of one row is none.
START_TEST(a_graph_of_one_row_that_went_is_out_of_date)
{
    struct graft_record record = {0};
    struct graft_report report;
    open_filled(1);
    graph.head.total = graph.head.count = graph.graph.count = 1;
    graph.graph.counts[0] = 0;
    graph.keys[0]++;
    ck_assert_int_eq(put(GRAFT_TRUSTED, &record, &report), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "of the 1 rows of the graph 0 are left"));
}
END_TEST

// Rows wait for the new graph, so the one that is there lacks them and is not what it could be.
START_TEST(a_graph_that_lacks_rows_is_not_measured_against)
{
    struct graft_record record = {0};
    struct graft_report report;
    open_filled(1);
    shard_hold(shard(), UINT64_C(3600) * 1000000000); // rows that come wait for a build
    else_change(&copy, 1, HOSTED_UPSERT, ROWS, MORE, 1, 1, false);
    ck_assert_uint_eq(hnsw_linked(shard()->target->hnsw), ROWS);
    built_graph_fini(&graph);
    graph = (struct built_graph){0};
    else_build(copy.hosted, 6, &graph);
    ck_assert_uint_eq(graph.head.total, ROWS + MORE);
    ck_assert_uint_eq(hnsw_linked(shard()->target->hnsw), ROWS);
    ck_assert_int_eq(put(GRAFT_MEASURED, &record, &report), OMEN_OK);
    ck_assert_uint_eq(report.matched, ROWS + MORE);
    ck_assert_double_ge(report.recall, 0.9);
    ck_assert_double_lt(report.before, 0.0);
    ck_assert_uint_ge(hnsw_linked(shard()->target->hnsw), ROWS + MORE);
}
END_TEST

START_TEST(the_best_stays_the_best_where_less_was_found)
{
    struct graft_record record = {.best = 0.99, .rows = ROWS};
    struct graft_report report;
    const struct graft_judged judged = {.gate = GRAFT_TRUSTED, .recall = 0.9};
    open_filled(1);
    ck_assert_int_eq(graft_put(shard(), &graph, &judged, &record, &report, &error), OMEN_OK);
    ck_assert_double_eq(record.best, 0.99);
    record.rows = ROWS / 4; // of so few that it says nothing of these
    ck_assert_int_eq(graft_put(shard(), &graph, &judged, &record, &report, &error), OMEN_OK);
    ck_assert_double_eq(record.best, 0.9);
    ck_assert_uint_eq(record.rows, ROWS);
    struct graft_record kept;
    ck_assert_int_eq(graft_record_load(shard(), &kept, &error), OMEN_OK);
    ck_assert_double_eq(kept.best, 0.9);
    ck_assert_uint_eq(kept.rows, ROWS);
}
END_TEST

static Suite *
graft_suite(void)
{
    Suite *suite = suite_create("shard/graft");
    TCase *tcase = tcase_create("graft");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, without_memory_all_is_as_it_was);
    tcase_add_test(tcase, a_shard_that_closes_keeps_the_graph_that_it_has);
    tcase_add_test(tcase, a_shard_that_has_no_graph_yet_takes_none);
    tcase_add_loop_test(tcase, rows_that_went_from_the_end_are_no_more, 0, 2);
    tcase_add_test(tcase, a_graph_of_one_row_that_went_is_out_of_date);
    tcase_add_test(tcase, a_graph_that_lacks_rows_is_not_measured_against);
    tcase_add_test(tcase, the_best_stays_the_best_where_less_was_found);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(graft_suite)
