// tests/unit/index/test_hnsw_erase.c -- the graph after rows were erased, repaired and replaced.
#include "tests/lib/index_world.h"

#define ROWS 2400u
#define CHURNED (ROWS * 3 / 10)

enum pattern { RANDOM, CLUSTERED, OLDEST, PATTERNS };

static struct world world;

// Erases `count` live rows; returns how many there were to erase.
static void
erase(struct world *of, enum pattern pattern, uint32_t count, struct prng *prng)
{
    static struct hit nearest[TOPK_MAX];
    const uint32_t rows = hnsw_count(of->hnsw);
    float vector[96];
    law_draw(&of->law, prng, vector);
    const struct hnsw_query query = world_query(vector, count, 0);
    const uint32_t found =
        pattern == CLUSTERED ? hnsw_scan(of->hnsw, &query, of->scratch, nearest) : 0;
    for (uint32_t i = 0, done = 0; done < count; i++) {
        const uint32_t slot = pattern == RANDOM      ? prng_below(prng, rows)
                              : pattern == CLUSTERED ? nearest[i % found].slot
                                                     : i;
        done += hnsw_erase(of->hnsw, slot);
    }
}

// Against an index of the same live rows that is linked from nothing.
static void
check_as_good_as_fresh(const struct world *of, const char *when)
{
    struct world fresh;
    world_init(&fresh, of->config.dim, of->config.metric, of->config.type);
    fresh.law.queries = of->law.queries;
    world_reserve(&fresh, hnsw_live(of->hnsw));
    for (uint32_t slot = 0; slot < hnsw_count(of->hnsw); slot++)
        if (!hnsw_erased(of->hnsw, slot))
            hnsw_append(fresh.hnsw, hnsw_row(of->hnsw, slot), of->hnsw->row_bytes, 1);
    hnsw_publish(fresh.hnsw);
    world_drain(&fresh);
    for (uint32_t beam = 16; beam <= 64; beam *= 4) {
        const double recall = world_recall(of, 100, 10, beam),
                     anew = world_recall(&fresh, 100, 10, beam);
        ck_assert_msg(recall >= anew - 0.01, "%s, beam %u: recall %g, built anew %g", when, beam,
                      recall, anew);
    }
    world_fini(&fresh);
}

START_TEST(recall_is_that_of_a_fresh_build_after_rows_were_erased)
{
    struct prng prng = {.state = 4};
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    erase(&world, (enum pattern)_i, CHURNED, &prng);
    world_recall(&world, 100, 10, 64); // nobody who was erased answers, repaired or not
    world_drain(&world);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_uint_eq(world_check(&world), 0);
    check_as_good_as_fresh(&world, "erased");

    world_build(&world, CHURNED);
    ck_assert_uint_eq(world_check(&world), 0);
    check_as_good_as_fresh(&world, "replaced");
    world_fini(&world);
}
END_TEST

// In rounds, until every row was replaced; with and without a new numbering in between.
START_TEST(recall_is_that_of_a_fresh_build_after_everything_was_replaced)
{
    const enum pattern pattern = (enum pattern)(_i % PATTERNS);
    struct prng prng = {.state = 5};
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    for (int round = 0; round < 5; round++) {
        erase(&world, pattern, ROWS / 5, &prng);
        world_add(&world, ROWS / 5);
        world_drain(&world);
        ck_assert_uint_eq(world_check(&world), 0);
        if (_i >= PATTERNS) {
            world_compact(&world);
            world_drain(&world);
            ck_assert_uint_eq(world_check(&world), 0);
        }
    }
    check_as_good_as_fresh(&world, _i >= PATTERNS ? "compacted" : "not compacted");
    world_fini(&world);
}
END_TEST

// New rows come where all were erased, before anything was repaired: their neighbours are ghosts.
START_TEST(rows_that_come_among_erased_ones_are_linked_and_found)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, 3000);
    struct prng prng = {.state = 6};
    erase(&world, CLUSTERED, 600, &prng);
    prng_init(&prng, 6);
    float vector[96], row[96];
    law_draw(&world.law, &prng, vector);
    world_reserve(&world, 300);
    for (uint32_t i = 0; i < 300; i++) {
        law_draw(&world.law, &world.law.rows, row);
        for (uint32_t j = 0; j < 96; j++)
            row[j] = vector[j] + 0.5f * (row[j] - vector[j]);
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    uint32_t found = 0;
    for (uint32_t slot = 3000; slot < 3300; slot++) {
        struct hit hit;
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 96, row);
        const struct hnsw_query query = world_query(row, 1, 64);
        found += hnsw_search(world.hnsw, &query, world.scratch, &hit) == 1 && hit.slot == slot;
    }
    ck_assert_uint_ge(found, 297);
    world_fini(&world);
}
END_TEST

START_TEST(rows_that_come_when_all_others_are_erased_are_found_at_once)
{
    static const uint32_t counts[] = {1, 4, 64};
    const uint32_t count = counts[_i];
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    for (uint32_t slot = 0; slot < 1500; slot++)
        hnsw_erase(world.hnsw, slot);
    world_add(&world, count);
    world_link(&world);
    for (int repaired = 0; repaired < 2; repaired++) {
        for (uint32_t slot = 1500; slot < 1500 + count; slot++) {
            struct hit hit;
            const struct hnsw_query query = world_query(hnsw_row(world.hnsw, slot), 1, 64);
            CLAIM(hnsw_search(world.hnsw, &query, world.scratch, &hit) == 1 && hit.slot == slot,
                  "slot %u of %u is not found", slot, count);
        }
        ck_assert_uint_eq(world_check(&world), 0);
        world_drain(&world);
    }
    world_fini(&world);
}
END_TEST

// The pool keeps what may be an answer, and erased rows may not: those nearest to a query crowd nobody out.
START_TEST(erased_rows_nearest_to_a_query_leave_room_for_the_living)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, 3000);
    struct prng prng = {.state = 7};
    uint32_t right = 0;
    for (int q = 0; q < 30; q++) {
        float vector[96];
        struct hit nearest[20], found[10];
        law_draw(&world.law, &prng, vector);
        const struct hnsw_query many = world_query(vector, 20, 0),
                                ten = world_query(vector, 10, 10);
        const uint32_t count = hnsw_scan(world.hnsw, &many, world.scratch, nearest);
        for (uint32_t i = 0; i < count; i++)
            hnsw_erase(world.hnsw, nearest[i].slot);
        hnsw_scan(world.hnsw, &ten, world.scratch, nearest);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &ten, world.scratch, found), 10);
        for (uint32_t i = 0; i < 10; i++)
            right += found[i].distance <= nearest[9].distance;
        world_drain(&world);
    }
    ck_assert_msg(right >= 270, "%u of 300; 178 where erased rows count as answers", right);
    world_fini(&world);
}
END_TEST

START_TEST(a_search_where_half_of_all_rows_were_erased_still_finds_k)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, 3000);
    struct prng prng = {.state = 7}, again = prng;
    erase(&world, CLUSTERED, 1500, &prng);
    float centre[96], vector[96];
    law_draw(&world.law, &again, centre);
    world_drain(&world);
    double sum = 0.0;
    for (uint32_t q = 0; q < 40; q++) {
        struct hit hits[10];
        law_draw(&world.law, &again, vector);
        for (uint32_t i = 0; i < 96; i++)
            vector[i] = centre[i] + 0.3f * (vector[i] - centre[i]);
        const struct hnsw_query query = world_query(vector, 10, 64);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
        sum += world_ask(&world, &query);
    }
    ck_assert_msg(sum / 40 >= 0.9, "recall %g", sum / 40);
    world_fini(&world);
}
END_TEST

START_TEST(everything_can_be_erased_and_the_index_used_again)
{
    world_init(&world, 64, (enum metric)_i, VECTOR_F32);
    world_build(&world, 1500);
    for (uint32_t slot = 0; slot < 1500; slot++)
        ck_assert(hnsw_erase(world.hnsw, slot));
    ck_assert_uint_eq(hnsw_live(world.hnsw), 0);
    world_recall(&world, 20, 10, 64);
    world_drain(&world);
    ck_assert(hnsw_idle(world.hnsw));
    world_check(&world);
    world_recall(&world, 20, 10, 64);
    world_build(&world, 1500);
    ck_assert_uint_eq(world_check(&world), 0);
    const double recall = world_recall(&world, 60, 10, 64);
    ck_assert_msg(recall >= 0.95, "recall %g", recall);
    world_fini(&world);
}
END_TEST

START_TEST(repaired_rows_are_linked_to_by_few)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    struct prng prng = {.state = 8};
    erase(&world, RANDOM, CHURNED, &prng);
    world_drain(&world);
    uint32_t links[LINK_ROW_MAX], all = 0, dead = 0;
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        if (hnsw_erased(world.hnsw, slot))
            continue;
        const uint32_t count = graph_read(&world.hnsw->graph, slot, ROWS, links);
        all += count;
        for (uint32_t i = 0; i < count; i++)
            dead += hnsw_erased(world.hnsw, links[i]);
    }
    ck_assert_msg(dead * 20 <= all, "%u of %u links go to erased rows", dead, all);
    world_fini(&world);
}
END_TEST

// Points on a line, written again as they are: most rows are erased copies of those that are looked for, and no nearer. 0: nothing
// is repaired meanwhile; 1: all is, after each round.
START_TEST(points_that_are_written_again_are_found_after_each_link)
{
    enum { POINTS = 55, ROUNDS = 29 };
    uint32_t slots[POINTS];
    world_init(&world, 4, METRIC_L2, VECTOR_F32);
    world_reserve(&world, POINTS * ROUNDS);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < POINTS; i++) {
            const float row[4] = {-1.0f * (float)i, 3.0f * (float)i, -5000.0f, (float)(i % 11)};
            const uint32_t slot = world_put(&world, row);
            if (round > 0)
                hnsw_erase(world.hnsw, slots[i]);
            slots[i] = slot;
        }
        while (hnsw_link_next(world.hnsw, world.scratch)) {
            for (uint32_t i = 0; i < POINTS && round % 4 == 0; i++) {
                float row[4];
                struct hit hit;
                vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slots[i]), 4, row);
                struct hnsw_work work = {0};
                struct hnsw_query query = world_query(row, 1, 64);
                query.work = &work;
                CLAIM(hnsw_search(world.hnsw, &query, world.scratch, &hit) == 1 &&
                          hit.slot == slots[i],
                      "round %u, %u to be linked: point %u is not found", round,
                      hnsw_tail(world.hnsw), i);
                ck_assert_uint_eq(work.tail, hnsw_tail(world.hnsw)); // looked at once
            }
        }
        while (_i == 1 && hnsw_repair_next(world.hnsw, world.scratch)) {
        }
    }
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_erase_suite(void)
{
    Suite *suite = suite_create("hnsw_erase");
    TCase *tcase = tcase_create("hnsw_erase");
    tcase_add_loop_test(tcase, recall_is_that_of_a_fresh_build_after_rows_were_erased, 0, PATTERNS);
    tcase_add_loop_test(tcase, recall_is_that_of_a_fresh_build_after_everything_was_replaced, 0,
                        2 * PATTERNS);
    tcase_add_test(tcase, rows_that_come_among_erased_ones_are_linked_and_found);
    tcase_add_loop_test(tcase, rows_that_come_when_all_others_are_erased_are_found_at_once, 0, 3);
    tcase_add_test(tcase, erased_rows_nearest_to_a_query_leave_room_for_the_living);
    tcase_add_test(tcase, a_search_where_half_of_all_rows_were_erased_still_finds_k);
    tcase_add_loop_test(tcase, everything_can_be_erased_and_the_index_used_again, 0, 3);
    tcase_add_test(tcase, repaired_rows_are_linked_to_by_few);
    tcase_add_loop_test(tcase, points_that_are_written_again_are_found_after_each_link, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_erase_suite)
