// tests/unit/shard/test_hosted_elsewhere_threads.c -- writes and searches go on while a graph is built elsewhere and put in place.
//
// Labels: tsan
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/lib/build_elsewhere.h"
#include "tests/lib/check_main.h"

enum {
    ROWS = FEWER_UNDER_TSAN(1100, 2000),
    REPLACED = 200, // few enough that no graph is out of date, however long it took
};

static struct else_copy copies[1];

#define WRITES_MAX 2000u // of 23 rows

struct beside {
    _Atomic bool stop;
    uint32_t writes;
};

static void *
write_on(void *context)
{
    struct beside *beside = context;
    uint64_t id = 10 * ROWS;
    // So many that none of what is built grows without end where the writer alone has a processor.
    while ((!atomic_load(&beside->stop) && beside->writes < WRITES_MAX) || beside->writes < 3) {
        else_change(copies, 1, HOSTED_UPSERT, id, 20, 1, 1, false);
        else_change(copies, 1, HOSTED_UPSERT, beside->writes * 5 % REPLACED, 3, 1, 3, false);
        id += 20;
        beside->writes++;
    }
    return NULL;
}

static void *
search_on(void *context)
{
    struct beside *beside = context;
    uint32_t turns = 0;
    while (!atomic_load(&beside->stop) || turns == 0) {
        float vector[ELSE_DIM];
        uint64_t ids[10];
        uint32_t found;
        struct omen_error said;
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 10;
        const struct answer answer = {.ids = ids, .found = &found};
        else_vector(turns++ % ROWS, 1, vector);
        if (shard_query(hosted_shard(copies[0].hosted), vector, &options, &answer, &said) !=
                OMEN_OK ||
            found != 10)
            ck_abort_msg("a search found %u", found);
    }
    return NULL;
}

START_TEST(writes_and_searches_go_on_throughout)
{
    struct beside beside = {0};
    struct built_graph graph;
    pthread_t writer, searcher;
    struct folder folder;
    struct omen_error error;
    struct hosted_built built;
    folder_init(&folder);
    else_open(&copies[0], &folder, "a", &(struct else_options){.threads = 2});
    else_change(copies, 1, HOSTED_UPSERT, 0, ROWS, 1, 1, false);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, &beside), 0);
    ck_assert_int_eq(pthread_create(&searcher, NULL, search_on, &beside), 0);
    for (uint64_t attempt = 1; attempt <= 2; attempt++) {
        else_build(copies[0].hosted, attempt, &graph);
        ck_assert_msg(else_put(copies[0].hosted, attempt, &graph, HOSTED_TRUSTED, &built, &error) ==
                          OMEN_OK,
                      "%s", error.text);
        built_graph_fini(&graph);
    }
    atomic_store(&beside.stop, true);
    pthread_join(writer, NULL);
    pthread_join(searcher, NULL);
    ck_assert_int_eq(shard_build(hosted_shard(copies[0].hosted),
                                 &(omen_build_options)OMEN_BUILD_OPTIONS_INIT, &error),
                     OMEN_OK);
    ck_assert_msg(hosted_verify(copies[0].hosted, &error) == OMEN_OK, "%s", error.text);
    hosted_close(copies[0].hosted);
    folder_fini(&folder);
}
END_TEST

static Suite *
threads_suite(void)
{
    Suite *suite = suite_create("hosted_elsewhere_threads");
    TCase *tcase = tcase_create("threads");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, writes_and_searches_go_on_throughout);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(threads_suite)
