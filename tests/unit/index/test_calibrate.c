// tests/unit/index/test_calibrate.c -- the recall that is asked for is the recall that is given.
#include "index/calibrate.h"
#include "tests/lib/index_world.h"

#define ROWS 4000u

static struct world world;
static struct calibration calibration;

static void
measure(void)
{
    const struct calibrate_queries none = {0};
    ck_assert_int_eq(calibrate(world.hnsw, &none, 3, world.scratch, &calibration), OMEN_OK);
}

static double
held_out_recall(double target, uint32_t k, uint32_t queries)
{
    struct prng prng = world.law.queries;
    double sum = 0.0;
    for (uint32_t q = 0; q < queries; q++) {
        float vector[128];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = world_query(vector, k, 0);
        calibration_apply(&calibration, target, &query);
        sum += world_ask(&world, &query);
    }
    return sum / queries;
}

static const double targets[] = {0.90, 0.95, 0.99};

START_TEST(strangers_get_the_recall_that_was_asked_for)
{
    world_init(&world, 128, (enum metric)_i, VECTOR_F32);
    world_build(&world, ROWS);
    measure();
    ck_assert_uint_eq(calibration.rows, ROWS);
    for (int t = 0; t < 3; t++) {
        for (uint32_t k = 10; k <= 100; k *= 10) {
            const double recall = held_out_recall(targets[t], k, 200);
            ck_assert_msg(recall >= targets[t] - 0.015, "k %u, target %g: recall %g", k, targets[t],
                          recall);
            // Rows of this law, left out, find three points less than strangers at 0.9.
            ck_assert_msg(recall <= targets[t] + (t == 0 ? 0.05 : 0.03),
                          "k %u, target %g: recall %g", k, targets[t], recall);
        }
    }
    world_fini(&world);
}
END_TEST

START_TEST(stops_and_beams_grow_with_target_and_depth)
{
    world_init(&world, 128, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    measure();
    for (uint32_t d = 0; d < CALIBRATE_DEPTHS; d++) {
        ck_assert_float_ge(calibration.stop[d][0], 0.6f);
        for (uint32_t t = 1; t < CALIBRATE_TARGETS; t++) {
            ck_assert_float_ge(calibration.stop[d][t], calibration.stop[d][t - 1]);
            ck_assert_uint_ge(calibration.beam[d][t], calibration.beam[d][t - 1]);
        }
    }
    struct hnsw_query last = world_query(NULL, 10, 0);
    calibration_apply(&calibration, 0.5, &last);
    for (int percent = 55; percent < 100; percent++) {
        struct hnsw_query query = world_query(NULL, 10, 0);
        calibration_apply(&calibration, percent * 0.01, &query);
        ck_assert_float_ge(query.stop, last.stop);
        ck_assert_uint_ge(query.beam, last.beam);
        last = query;
    }
    uint32_t beam = 0;
    for (uint32_t k = 10; k <= TOPK_MAX;
         k *= 3) { // the very nearest alone may be harder to find than most of ten
        struct hnsw_query query = world_query(NULL, k, 0);
        calibration_apply(&calibration, 0.95, &query);
        ck_assert_uint_ge(query.beam, beam);
        ck_assert_uint_ge(query.beam, 1);
        ck_assert_uint_le(query.beam, BEAM_MAX);
        beam = query.beam;
    }
    world_fini(&world);
}
END_TEST

START_TEST(without_a_measurement_the_beam_is_safe_and_nothing_stops_it)
{
    const struct calibration never = {0};
    for (uint32_t k = 1; k <= TOPK_MAX; k *= 10) {
        struct hnsw_query query = world_query(NULL, k, 0);
        query.stop = 9.0f;
        calibration_apply(&never, 0.9, &query);
        ck_assert_float_eq(query.stop, 0.0f);
        ck_assert_uint_ge(query.beam, k);
        ck_assert_uint_ge(query.beam, 200);
        ck_assert_uint_le(query.beam, BEAM_MAX);
    }
}
END_TEST

START_TEST(too_small_an_index_is_not_measured)
{
    const struct calibrate_queries none = {0};
    calibration = (struct calibration){.rows = 77};
    world_init(&world, 128, METRIC_L2, VECTOR_F32);
    world_build(&world, 100);
    ck_assert_int_eq(calibrate(world.hnsw, &none, 3, world.scratch, &calibration),
                     OMEN_E_NOT_FOUND);
    ck_assert_uint_eq(calibration.rows, 77);
    world_fini(&world);
}
END_TEST

START_TEST(a_deadline_ends_the_measuring_and_leaves_what_was)
{
    struct calibrate_queries queries = {.deadline_ns = 1};
    calibration = (struct calibration){.rows = 77};
    world_init(&world, 16, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    ck_assert_int_eq(calibrate(world.hnsw, &queries, 3, world.scratch, &calibration),
                     OMEN_E_TIMEOUT);
    ck_assert_uint_eq(calibration.rows, 77);
    queries.deadline_ns = UINT64_MAX;
    ck_assert_int_eq(calibrate(world.hnsw, &queries, 3, world.scratch, &calibration), OMEN_OK);
    ck_assert_uint_eq(calibration.rows, 1500);
    world_fini(&world);
}
END_TEST

START_TEST(the_same_seed_measures_the_same_and_users_queries_count)
{
    world_init(&world, 64, METRIC_COSINE, VECTOR_F16);
    world_build(&world, 1500);
    for (uint32_t slot = 0; slot < 1500; slot += 3)
        hnsw_erase(world.hnsw, slot);
    float vectors[50 * 64];
    struct calibrate_queries queries = {.vectors = vectors, .count = 50};
    for (uint32_t q = 0; q < 50; q++)
        law_draw(&world.law, &world.law.queries, vectors + q * 64);
    struct calibration again;
    ck_assert_int_eq(calibrate(world.hnsw, &queries, 3, world.scratch, &calibration), OMEN_OK);
    ck_assert_int_eq(calibrate(world.hnsw, &queries, 3, world.scratch, &again), OMEN_OK);
    ck_assert_mem_eq(&calibration, &again, sizeof again);
    ck_assert_uint_eq(again.rows, 1000);
    world_fini(&world);
}
END_TEST

START_TEST(an_index_without_live_rows_is_measured_without_harm)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1100);
    for (uint32_t slot = 0; slot < 1100; slot++)
        hnsw_erase(world.hnsw, slot);
    const struct calibrate_queries none = {0};
    const omen_status status = calibrate(world.hnsw, &none, 3, world.scratch, &calibration);
    ck_assert(status == OMEN_OK || status == OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(measuring_without_memory_changes_nothing)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1100);
    const struct calibrate_queries none = {0};
    struct calibration before = {.rows = 5};
    before.stop[1][1] = 1.5f;
    uint64_t n = 1;
    for (;; n++) {
        struct scratch *scratch;
        ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
        calibration = before;
        mem_fail_after(n);
        const omen_status status = calibrate(world.hnsw, &none, 3, scratch, &calibration);
        const bool refused = mem_refused() > 0;
        mem_fail_after(0);
        scratch_close(scratch);
        ck_assert_int_eq(status, refused ? OMEN_E_NO_MEMORY : OMEN_OK);
        if (!refused)
            break;
        ck_assert_mem_eq(&calibration, &before, sizeof before);
    }
    ck_assert_uint_gt(n, 8);
    world_fini(&world);
}
END_TEST

static Suite *
calibrate_suite(void)
{
    Suite *suite = suite_create("calibrate");
    TCase *tcase = tcase_create("calibrate");
    tcase_add_loop_test(tcase, strangers_get_the_recall_that_was_asked_for, 0, 3);
    tcase_add_test(tcase, stops_and_beams_grow_with_target_and_depth);
    tcase_add_test(tcase, without_a_measurement_the_beam_is_safe_and_nothing_stops_it);
    tcase_add_test(tcase, too_small_an_index_is_not_measured);
    tcase_add_test(tcase, a_deadline_ends_the_measuring_and_leaves_what_was);
    tcase_add_test(tcase, the_same_seed_measures_the_same_and_users_queries_count);
    tcase_add_test(tcase, an_index_without_live_rows_is_measured_without_harm);
    tcase_add_test(tcase, measuring_without_memory_changes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(calibrate_suite)
