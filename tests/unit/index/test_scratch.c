// tests/unit/index/test_scratch.c -- memory of searches: it grows, serves many indexes, and may be refused.
#include "tests/lib/index_world.h"

START_TEST(marked_slots_are_seen_until_they_are_forgotten)
{
    struct world world;
    world_init(&world, 4, METRIC_L2, VECTOR_F32);
    world_add(&world, 5000);
    struct scratch *scratch = world.scratch;
    ck_assert_int_eq(scratch_fit(scratch, world.hnsw, 10, 10), OMEN_OK);
    // Few, as many as there are, and few again: both ways of clearing.
    static const uint32_t steps[] = {701, 1, 97};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        for (uint32_t slot = 0; slot < 5000; slot += steps[s])
            CLAIM(!scratch_visit(scratch, slot), "slot %u was marked", slot);
        for (uint32_t slot = 0; slot < 5000; slot += steps[s])
            CLAIM(scratch_visit(scratch, slot), "slot %u was not marked", slot);
        scratch_clear_visited(scratch);
    }
    for (uint32_t slot = 0; slot < 5000; slot++)
        CLAIM(!scratch_visit(scratch, slot), "slot %u was left marked", slot);
    world_fini(&world);
}
END_TEST

START_TEST(one_scratch_serves_indexes_of_other_dimensions_in_turn)
{
    static const uint32_t dims[] = {64, 3, 1536, 128, 2, 784};
    struct world worlds[6];
    for (int w = 0; w < 6; w++) {
        world_init(&worlds[w], dims[w], (enum metric)(w % 3), w == 3 ? VECTOR_F16 : VECTOR_F32);
        world_build(&worlds[w], 1100 + 100 * (uint32_t)w);
    }
    struct scratch *shared;
    ck_assert_int_eq(scratch_open(&shared), OMEN_OK);
    for (int turn = 0; turn < 60; turn++) {
        struct world *world = &worlds[turn * 7 % 6];
        float vector[1536];
        struct hit own[200], other[200];
        law_draw(&world->law, &world->law.queries, vector);
        const struct hnsw_query query = world_query(vector, 1 + (uint32_t)turn * 3, 50);
        const uint32_t count = hnsw_search(world->hnsw, &query, world->scratch, own);
        ck_assert_uint_eq(hnsw_search(world->hnsw, &query, shared, other), count);
        ck_assert_mem_eq(own, other, count * sizeof *own);
        if (turn % 10 == 0) { // it links as well
            world_reserve(world, 1);
            world_put(world, vector);
            ck_assert(hnsw_link_next(world->hnsw, shared));
            world_check(world);
        }
    }
    scratch_close(shared);
    for (int w = 0; w < 6; w++)
        world_fini(&worlds[w]);
}
END_TEST

START_TEST(refused_memory_is_reported_and_leaves_a_scratch_that_works)
{
    struct world world, larger;
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    world_init(&larger, 384, METRIC_L2, VECTOR_F32);
    world_add(&larger, 20000);
    float vector[64];
    law_draw(&world.law, &world.law.queries, vector);
    const struct hnsw_query query = world_query(vector, 10, 40);
    struct hit want[10], hits[10];
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, want), 10);

    uint64_t n = 1;
    for (;; n++) {
        struct scratch *scratch;
        ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, scratch, hits), 10);
        mem_fail_after(n);
        omen_status status = scratch_fit(scratch, larger.hnsw, 500, 1000);
        if (status == OMEN_OK)
            status = scratch_fit_prune(scratch, larger.hnsw);
        const bool refused = mem_refused() > 0;
        mem_fail_after(0);
        ck_assert_int_eq(status, refused ? OMEN_E_NO_MEMORY : OMEN_OK);
        for (int again = 0; again < 3; again++) {
            ck_assert_uint_eq(hnsw_search(world.hnsw, &query, scratch, hits), 10);
            ck_assert_mem_eq(hits, want, sizeof want);
        }
        ck_assert_int_eq(scratch_fit(scratch, larger.hnsw, 500, 1000), OMEN_OK);
        scratch_close(scratch);
        if (!refused)
            break;
    }
    ck_assert_uint_gt(n, 10);
    mem_fail_after(1);
    struct scratch *none;
    ck_assert_int_eq(scratch_open(&none), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_ptr_null(none);
    scratch_close(none);
    world_fini(&world);
    world_fini(&larger);
}
END_TEST

START_TEST(what_was_marked_before_a_refusal_can_be_forgotten_after_it)
{
    struct world world, larger;
    world_init(&world, 4, METRIC_L2, VECTOR_F32);
    world_add(&world, 5000);
    world_init(&larger, 4, METRIC_L2, VECTOR_F32);
    world_add(&larger, 20000);
    struct scratch *scratch = world.scratch;
    ck_assert_int_eq(scratch_fit(scratch, world.hnsw, 10, 10), OMEN_OK);
    for (uint32_t slot = 4000; slot < 4300; slot += 100)
        scratch_visit(scratch, slot);
    mem_fail_after(2);
    ck_assert_int_eq(scratch_fit(scratch, larger.hnsw, 10, 10), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    scratch_clear_visited(scratch);
    for (uint32_t slot = 0; slot < 5000; slot++)
        CLAIM(!scratch_visit(scratch, slot), "slot %u was left marked", slot);
    world_fini(&world);
    world_fini(&larger);
}
END_TEST

START_TEST(bytes_grow_with_what_was_asked_for)
{
    struct world world;
    world_init(&world, 384, METRIC_L2, VECTOR_F32);
    world_add(&world, 3000);
    const size_t empty = scratch_bytes(world.scratch);
    ck_assert_uint_lt(empty, 1000);
    ck_assert_int_eq(scratch_fit(world.scratch, world.hnsw, 10, 100), OMEN_OK);
    const size_t search = scratch_bytes(world.scratch);
    ck_assert_uint_gt(search, empty + 384 * 4);
    ck_assert_int_eq(scratch_fit(world.scratch, world.hnsw, 1, 1), OMEN_OK);
    ck_assert_uint_eq(scratch_bytes(world.scratch), search);
    ck_assert_int_eq(scratch_fit_prune(world.scratch, world.hnsw), OMEN_OK);
    ck_assert_uint_gt(scratch_bytes(world.scratch), search + 512 * 384);
    world_fini(&world);
}
END_TEST

static Suite *
scratch_suite(void)
{
    Suite *suite = suite_create("scratch");
    TCase *tcase = tcase_create("scratch");
    tcase_add_test(tcase, marked_slots_are_seen_until_they_are_forgotten);
    tcase_add_test(tcase, one_scratch_serves_indexes_of_other_dimensions_in_turn);
    tcase_add_test(tcase, refused_memory_is_reported_and_leaves_a_scratch_that_works);
    tcase_add_test(tcase, what_was_marked_before_a_refusal_can_be_forgotten_after_it);
    tcase_add_test(tcase, bytes_grow_with_what_was_asked_for);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(scratch_suite)
