// tests/unit/node/test_slow.c -- a request that took long is one line, which says what it was and where its time went.
#include "node/slow.h"

#include <string.h>

#include "tests/lib/check_main.h"
#include "tests/lib/log_pipe.h"

#define MS UINT64_C(1000000)

static union method_body ask;

static void
setup(void)
{
    log_pipe_open();
    memset(&ask, 0, sizeof ask);
}

static void
claim_said(const char *line, const char *wanted)
{
    ck_assert_msg(strstr(line, wanted) != NULL, "%s is not in %s", wanted, line);
}

START_TEST(a_search_says_what_it_asked_and_what_was_done_for_it)
{
    const struct api_query_search search = {
        .collection = {"my docs", 7}, .vector = {.form = VECTORS_NONE}, .ef = 400};
    memcpy(&ask, &search, sizeof search);
    const struct front_done done = {.method = method_at(METHOD_QUERY_SEARCH),
                                    .ask = &ask,
                                    .status = OMEN_E_TIMEOUT,
                                    .received_ns = 10 * MS,
                                    .begun_ns = 11 * MS,
                                    .heard_ns = 15 * MS,
                                    .k = 10,
                                    .rounds = 1,
                                    .parts = 4,
                                    .slowest_us = 3000,
                                    .evaluations = 1234,
                                    .exact_distances = 56};
    slow_say(&done, 22 * MS + 1);
    const char *line = log_pipe_said();
    claim_said(line, "level=warn event=request.slow method=query.search collection=\"my docs\" "
                     "status=TIMEOUT ms=12 wait_ns=1000000 parts_ns=4000000 answer_ns=7000001 "
                     "shards=4 slowest_us=3000 rounds=1 evaluations=1234 exact_distances=56 k=10 "
                     "ef=400\n");
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

START_TEST(what_is_about_no_collection_says_none)
{
    const struct front_done done = {.method = method_at(METHOD_NODE_LIST), .ask = &ask};
    slow_say(&done, MS);
    const char *line = log_pipe_said();
    claim_said(line, "method=node.list status=OK ms=1 ");
    ck_assert_ptr_null(strstr(line, "collection="));
}
END_TEST

START_TEST(what_was_not_read_of_a_request_is_not_said)
{
    const struct front_done done = {
        .method = method_at(METHOD_POINT_UPSERT), .ask = &ask, .status = OMEN_E_INVALID};
    slow_say(&done, MS);
    const char *line = log_pipe_said();
    claim_said(line, "method=point.upsert status=INVALID");
    ck_assert_ptr_null(strstr(line, "collection="));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/slow");
    TCase *tcase = tcase_create("slow");
    tcase_add_checked_fixture(tcase, setup, log_pipe_close);
    tcase_add_test(tcase, a_search_says_what_it_asked_and_what_was_done_for_it);
    tcase_add_test(tcase, what_is_about_no_collection_says_none);
    tcase_add_test(tcase, what_was_not_read_of_a_request_is_not_said);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
