// tests/unit/shard/test_shard.c -- random operations on an index and on a list of points give the same answers.
//
// Labels: tsan
#include "tests/lib/check_main.h"
#include "tests/lib/shard_world.h"

#define ROUNDS 60

static void
answer_as_a_list_does(uint64_t seed)
{
    struct world *world = malloc(sizeof *world);
    world_open(world, seed, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        world_step(world);
        world_check_query(world);
        world_check_get(world);
        if (round % 8 == 0) {
            world_check_scroll(world);
            world_check_range(world);
        }
    }
    world_check(world);
    omen_close(world->index);
    free(world);
}

START_TEST(random_operations_on_one_thread_answer_as_a_list_does)
{
    answer_as_a_list_does(2 * (uint64_t)_i);
}
END_TEST

START_TEST(random_operations_beside_linkers_answer_as_a_list_does)
{
    answer_as_a_list_does(2 * (uint64_t)_i + 1);
}
END_TEST

// With one linking thread everything is in the calls.
START_TEST(same_calls_on_one_thread_give_the_same_answers)
{
    uint64_t ids[2][50 * 10];
    float distances[2][50 * 10];
    for (int run = 0; run < 2; run++) {
        struct world *world = malloc(sizeof *world);
        world_open(world, 4, NULL); // threads = 1
        for (int round = 0; round < 20; round++) {
            world_write(world, true);
            if (round % 5 == 4)
                world_delete(world);
        }
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        float queries[50 * MODEL_DIM];
        for (int i = 0; i < 50 * (int)MODEL_DIM; i++)
            queries[i] = prng_unit(&world->prng) - 0.5f;
        options.ef = 10;
        ck_assert_int_eq(
            omen_query_batch(world->index, queries, 50, &options, ids[run], distances[run]),
            OMEN_OK);
        omen_close(world->index);
        free(world);
    }
    ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
    ck_assert_mem_eq(distances[0], distances[1], sizeof distances[0]);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/shard");
    TCase *alone = tcase_create("one thread");
    tcase_add_loop_test(alone, random_operations_on_one_thread_answer_as_a_list_does, 0, 6);
    suite_add_one_thread(suite, alone);
    TCase *threads = tcase_create("threads");
    tcase_add_loop_test(threads, random_operations_beside_linkers_answer_as_a_list_does, 0, 6);
    tcase_add_test(threads, same_calls_on_one_thread_give_the_same_answers);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(suite)
