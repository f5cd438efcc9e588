// tests/unit/index/test_hnsw_ship_threads.c -- searches go on while links from elsewhere are put in place.
//
// Labels: tsan
#include <pthread.h>

#include "tests/lib/ship_world.h"

struct beside {
    struct world *world;
    _Atomic bool stop;
    uint32_t turns;
};

static void *
search_on(void *context)
{
    struct beside *beside = context;
    struct scratch *scratch;
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    struct law law = beside->world->law;
    while (!atomic_load(&beside->stop) || beside->turns == 0) {
        float vector[64];
        struct hit hits[10];
        law_draw(&law, &law.queries, vector);
        const struct hnsw_query query = world_query(vector, 10, 32);
        CLAIM(hnsw_search(beside->world->hnsw, &query, scratch, hits) == 10, "not ten");
        beside->turns++;
    }
    scratch_close(scratch);
    return NULL;
}

START_TEST(searches_and_shipping_go_on_while_links_are_put_in_place)
{
    struct world world;
    struct beside beside = {.world = &world};
    struct shipped shipped;
    struct build_graph graph;
    struct hnsw_links links;
    pthread_t thread;
    world_init_usual(&world);
    world_build(&world, 2000);
    ship(&world, 2000, &shipped);
    build_there(&shipped, &graph);
    world_add(&world, 200);
    world_drain(&world);
    ck_assert_int_eq(pthread_create(&thread, NULL, search_on, &beside), 0);
    links_without(&graph, 2000, 0, &links);
    put_in_place(&world, &links);
    world_drain(&world);
    atomic_store(&beside.stop, true);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(world_check(&world), 0);
    build_graph_close(&graph);
    free(shipped.bytes);
    world_fini(&world);
}
END_TEST

static Suite *
ship_threads_suite(void)
{
    Suite *suite = suite_create("hnsw_ship_threads");
    TCase *tcase = tcase_create("threads");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, searches_and_shipping_go_on_while_links_are_put_in_place);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(ship_threads_suite)
