// tests/unit/clients/c/test_session.c -- a session asks for the last place of each shard that it has seen, and for nothing else.
//
// Labels: tsan
#include "clients/c/session.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_thread.h"
#include "tests/lib/check_main.h"
#include "wire/api.h"

#define DOCS wire_text_of("docs")

static struct session session;
static uint8_t consistency;
static struct wire_list after;

static void
setup(void)
{
    session_init(&session);
}

static void
teardown(void)
{
    session_fini(&session);
}

static void
saw(const char *collection, uint64_t shard, uint64_t term, uint64_t seq)
{
    const struct wire_token token = {shard, term, seq};
    const struct wire_list list = {.count = 1, .items = &token};
    session_saw(&session, wire_text_of(collection), &list);
}

static const struct wire_token *
ask(const char *collection)
{
    mem_free((void *)(uintptr_t)after.items);
    ck_assert_int_eq(session_ask(&session, wire_text_of(collection), &consistency, &after),
                     OMEN_OK);
    return after.items;
}

static void
forget_asked(void)
{
    mem_free((void *)(uintptr_t)after.items);
    after = (struct wire_list){0};
}

START_TEST(who_has_seen_nothing_waits_for_nothing)
{
    ck_assert_ptr_null(ask("docs"));
    ck_assert_uint_eq(consistency, API_EVENTUAL);
    ck_assert_uint_eq(after.count, 0);
    session_saw(&session, DOCS, &(struct wire_list){0}); // an answer without a token
    ck_assert_ptr_null(ask("docs"));
}
END_TEST

START_TEST(the_last_place_of_each_shard_is_asked_for_in_the_order_of_shards)
{
    saw("docs", 9, 1, 5);
    saw("docs", 3, 2, 7);
    saw("docs", 9, 1, 4); // an older answer that came later
    saw("docs", 3, 3, 1); // a later term begins with any place
    saw("docs", 3, 2, 99);
    const struct wire_token *seen = ask("docs");
    ck_assert_uint_eq(consistency, API_SESSION);
    ck_assert_uint_eq(after.count, 2);
    ck_assert_uint_eq(seen[0].shard, 3);
    ck_assert_uint_eq(seen[0].term, 3);
    ck_assert_uint_eq(seen[0].seq, 1);
    ck_assert_uint_eq(seen[1].shard, 9);
    ck_assert_uint_eq(seen[1].seq, 5);
    forget_asked();
}
END_TEST

START_TEST(collections_are_told_apart_by_the_name_that_was_said)
{
    saw("docs", 1, 1, 1);
    saw("doc", 2, 1, 2);
    ck_assert_uint_eq(ask("docs")[0].shard, 1);
    ck_assert_uint_eq(after.count, 1);
    ck_assert_uint_eq(ask("doc")[0].shard, 2);
    ck_assert_ptr_null(ask("do"));
    session_forget(&session);
    ck_assert_ptr_null(ask("docs"));
    ck_assert_ptr_null(ask("doc"));
}
END_TEST

START_TEST(a_name_that_is_none_is_not_kept)
{
    char name[WIRE_NAME_BYTES_MAX + 2];
    memset(name, 'x', sizeof name);
    name[WIRE_NAME_BYTES_MAX + 1] = '\0';
    saw(name, 1, 1, 1);
    ck_assert_ptr_null(session.first);
    name[WIRE_NAME_BYTES_MAX] = '\0';
    saw(name, 1, 1, 1);
    ck_assert_uint_eq(ask(name)[0].seq, 1);
    forget_asked();
}
END_TEST

START_TEST(what_there_was_no_memory_for_is_read_strongly)
{
    for (uint64_t n = 1; n <= 2; n++) { // the name, then its shards
        mem_fail_once(n);
        saw("docs", 1, 1, 1);
        mem_fail_once(0);
        ck_assert_ptr_null(ask("docs"));
        ck_assert_uint_eq(consistency, API_STRONG);
        session_forget(&session);
    }
    saw("docs", 1, 1, 1);
    mem_fail_once(1);
    ck_assert_int_eq(session_ask(&session, DOCS, &consistency, &after), OMEN_E_NO_MEMORY);
    mem_fail_once(0);
    ck_assert_ptr_nonnull(ask("docs"));
    forget_asked();
}
END_TEST

enum { SHARDS = 300, THREADS = 4 };

static void *
see_all(void *argument)
{
    (void)argument;
    for (uint64_t seq = 1; seq <= 5; seq++)
        for (uint64_t shard = SHARDS; shard-- > 0;)
            saw("docs", shard, 1, seq);
    return NULL;
}

START_TEST(threads_of_a_client_have_one_session)
{
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(os_thread_start(&threads[i], see_all, NULL), 0);
    for (uint32_t i = 0; i < 50; i++)
        (void)ask("docs");
    for (uint32_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    const struct wire_token *seen = ask("docs");
    ck_assert_uint_eq(after.count, SHARDS);
    for (uint64_t shard = 0; shard < SHARDS; shard++) {
        ck_assert_uint_eq(seen[shard].shard, shard);
        ck_assert_uint_eq(seen[shard].seq, 5);
    }
    forget_asked();
}
END_TEST

static Suite *
session_suite(void)
{
    Suite *suite = suite_create("clients/c/session");
    TCase *tcase = tcase_create("session");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_has_seen_nothing_waits_for_nothing);
    tcase_add_test(tcase, the_last_place_of_each_shard_is_asked_for_in_the_order_of_shards);
    tcase_add_test(tcase, collections_are_told_apart_by_the_name_that_was_said);
    tcase_add_test(tcase, a_name_that_is_none_is_not_kept);
    tcase_add_test(tcase, what_there_was_no_memory_for_is_read_strongly);
    tcase_add_test(tcase, threads_of_a_client_have_one_session);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(session_suite)
