// tests/unit/index/test_hnsw_compact.c -- the new numbering answers as the old one did.
#include "tests/lib/index_world.h"

static struct world world;

static void
erase_every(uint32_t step, uint32_t end)
{
    for (uint32_t slot = 0; slot < end; slot += step)
        hnsw_erase(world.hnsw, slot);
}

START_TEST(live_rows_keep_their_order_and_their_bytes)
{
    static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_U8};
    world_init(&world, 70, (enum metric)(_i % 3), types[_i / 3]);
    world_build(&world, 1500);
    world_add(&world, 100); // a tail
    erase_every(3, 1600);
    struct hnsw *compact;
    ck_assert_int_eq(hnsw_compact(world.hnsw, world.scratch, &compact), OMEN_OK);
    ck_assert_uint_eq(hnsw_count(compact), hnsw_live(world.hnsw));
    ck_assert_uint_eq(hnsw_live(compact), hnsw_live(world.hnsw));
    ck_assert_str_eq(hnsw_code_name(compact), hnsw_code_name(world.hnsw));
    for (uint32_t slot = 0, place = 0; slot < 1600; slot++) {
        if (hnsw_erased(world.hnsw, slot))
            continue;
        CLAIM(memcmp(hnsw_row(compact, place), hnsw_row(world.hnsw, slot), world.hnsw->row_bytes) ==
                  0,
              "slot %u", slot);
        place++;
    }
    uint32_t tail = 0;
    for (uint32_t slot = 1500; slot < 1600; slot++)
        tail += !hnsw_erased(world.hnsw, slot);
    ck_assert_uint_eq(hnsw_tail(compact), tail);
    hnsw_close(world.hnsw);
    world.hnsw = compact;
    world_check(&world);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 0);
    ck_assert_double_ge(world_recall(&world, 40, 10, 64), 0.95);
    world_fini(&world);
}
END_TEST

START_TEST(the_old_index_is_left_as_it_was)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    erase_every(4, 1500);
    const size_t bytes = 1500 * world.hnsw->graph.rows.row_bytes;
    uint8_t *before = malloc(bytes);
    memcpy(before, arena_row(&world.hnsw->graph.rows, 0), bytes);
    struct hnsw *compact;
    ck_assert_int_eq(hnsw_compact(world.hnsw, world.scratch, &compact), OMEN_OK);
    ck_assert_mem_eq(arena_row(&world.hnsw->graph.rows, 0), before, bytes);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 1500);
    world_check(&world);
    free(before);
    hnsw_close(compact);
    world_fini(&world);
}
END_TEST

START_TEST(recall_survives_when_most_rows_are_gone)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, 4000);
    for (uint32_t slot = 0; slot < 4000; slot++)
        if (slot % 10 != 7)
            hnsw_erase(world.hnsw, slot);
    if (_i == 1)
        world_drain(&world);
    world_compact(&world);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 400);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    const double recall = world_recall(&world, 60, 10, 64);
    ck_assert_msg(recall >= 0.95, "recall %g", recall);
    world_fini(&world);
}
END_TEST

START_TEST(an_index_that_is_empty_small_flat_or_dead_can_be_compacted)
{
    static const uint32_t rows[] = {0, 1, 500, 1500, 1500};
    world_init(&world, 64, METRIC_IP, VECTOR_F32);
    world.config.flat = _i == 3;
    world_add(&world, rows[_i]);
    world_drain(&world);
    if (_i == 4)
        erase_every(1, 1500);
    const uint32_t live = hnsw_live(world.hnsw);
    world_compact(&world);
    ck_assert_uint_eq(hnsw_count(world.hnsw), live);
    ck_assert_uint_eq(world_check(&world), 0);
    world_recall(&world, 10, 10, 64);
    world_build(&world, 1300);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_uint_eq(hnsw_live(world.hnsw), live + 1300);
    ck_assert_double_ge(world_recall(&world, 40, 10, 64), 0.9);
    world_fini(&world);
}
END_TEST

START_TEST(a_mean_that_drifted_is_taken_anew)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    erase_every(1, 1500);
    world.law.shift = 4.0f;
    world_build(&world, 3000);
    ck_assert_float_gt(hnsw_drift(world.hnsw), 0.25f);
    const double before = world_recall(&world, 60, 10, 64);
    world_compact(&world);
    ck_assert_float_lt(hnsw_drift(world.hnsw), 0.05f);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    const double recall = world_recall(&world, 60, 10, 64);
    ck_assert_msg(recall >= 0.95 && recall >= before - 0.01, "recall %g, before %g", recall,
                  before);
    world_fini(&world);
}
END_TEST

// What it can do without, a new mean, it does without.
START_TEST(compacting_without_memory_leaves_nothing_or_a_sound_index)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1300);
    erase_every(3, 1300);
    if (_i == 1) {
        erase_every(1, 1300);
        world.law.shift = 4.0f;
        world_build(&world, 1300); // coded anew
    }
    uint64_t n = 1;
    for (;; n++) {
        struct scratch *scratch;
        struct hnsw *compact;
        ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
        mem_fail_after(n);
        const omen_status status = hnsw_compact(world.hnsw, scratch, &compact);
        const bool refused = mem_refused() > 0;
        mem_fail_after(0);
        scratch_close(scratch);
        if (status != OMEN_OK) {
            ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
            ck_assert(refused);
            ck_assert_ptr_null(compact);
            continue;
        }
        char text[200] = "";
        uint32_t unreached;
        ck_assert_msg(hnsw_check(compact, &unreached, text, sizeof text) == OMEN_OK, "%s", text);
        ck_assert_uint_eq(hnsw_count(compact), hnsw_live(world.hnsw));
        hnsw_close(compact);
        if (!refused)
            break;
    }
    ck_assert_uint_gt(n, 20);
    world_check(&world);
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_compact_suite(void)
{
    Suite *suite = suite_create("hnsw_compact");
    TCase *tcase = tcase_create("hnsw_compact");
    tcase_add_loop_test(tcase, live_rows_keep_their_order_and_their_bytes, 0, 9);
    tcase_add_test(tcase, the_old_index_is_left_as_it_was);
    tcase_add_loop_test(tcase, recall_survives_when_most_rows_are_gone, 0, 2);
    tcase_add_loop_test(tcase, an_index_that_is_empty_small_flat_or_dead_can_be_compacted, 0, 5);
    tcase_add_test(tcase, a_mean_that_drifted_is_taken_anew);
    tcase_add_loop_test(tcase, compacting_without_memory_leaves_nothing_or_a_sound_index, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_compact_suite)
