// tests/unit/node/test_hosts_linkers.c -- how many threads link the rows of a hosted shard: never none beside the writer.
#include "node/hosts_int.h"
#include "tests/lib/check_main.h"

static uint32_t
linkers_of(uint32_t threads)
{
    struct hosts *hosts = mem_alloc_zero(1, sizeof *hosts);
    ck_assert_ptr_nonnull(hosts);
    hosts->config.threads = threads;
    const uint32_t linkers = host_linkers(hosts);
    mem_free(hosts);
    return linkers;
}

// With one thread a shard's writer links, so that a node of few processors would acknowledge as slowly as rows are linked.
START_TEST(regress_a_node_of_few_processors_does_not_link_at_the_writer)
{
    ck_assert_uint_eq(linkers_of(1), HOST_LINKERS_MIN);
    ck_assert_uint_eq(linkers_of(2), HOST_LINKERS_MIN);
    ck_assert_uint_eq(linkers_of(11), HOST_LINKERS_MIN);
}
END_TEST

START_TEST(a_quarter_of_the_threads_link_up_to_a_limit)
{
    ck_assert_uint_eq(linkers_of(12), 3);
    ck_assert_uint_eq(linkers_of(4 * HOST_LINKERS_MAX - 1), HOST_LINKERS_MAX - 1);
    ck_assert_uint_eq(linkers_of(4 * HOST_LINKERS_MAX), HOST_LINKERS_MAX);
    ck_assert_uint_eq(linkers_of(4 * HOST_LINKERS_MAX + 4), HOST_LINKERS_MAX);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/hosts_linkers");
    TCase *tcase = tcase_create("linkers");
    tcase_add_test(tcase, regress_a_node_of_few_processors_does_not_link_at_the_writer);
    tcase_add_test(tcase, a_quarter_of_the_threads_link_up_to_a_limit);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
