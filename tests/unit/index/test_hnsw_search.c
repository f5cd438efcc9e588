// tests/unit/index/test_hnsw_search.c -- the walk, against the scan.
#include "tests/lib/index_world.h"

static struct world world;

static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16, VECTOR_I8, VECTOR_U8};

START_TEST(any_k_and_beam_are_answered_as_far_as_there_are_rows)
{
    world_init(&world, 64, (enum metric)(_i % 3), types[_i / 3]);
    world_build(&world, 1300);
    static const uint32_t ks[] = {1, 2, 10, 99, 100, 101, 500, 1000};
    static const uint32_t beams[] = {0, 1, 9, 64, 1000, 10000};
    for (size_t a = 0; a < sizeof ks / sizeof ks[0]; a++) {
        for (size_t b = 0; b < sizeof beams / sizeof beams[0]; b++) {
            float vector[64];
            struct hit hits[1000];
            law_draw(&world.law, &world.law.queries, vector);
            const struct hnsw_query query = world_query(vector, ks[a], beams[b]);
            const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
            world_check_hits(&world, &query, hits, count);
            CLAIM(count == ks[a], "k = %u, beam %u: %u hits", ks[a], beams[b], count);
        }
    }
    static struct hit all[TOPK_MAX];
    const float vector[64] = {1.0f};
    const struct hnsw_query query = world_query(vector, TOPK_MAX, 0);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, all), 1300);
    world_check_hits(&world, &query, all, 1300);
    world_fini(&world);
}
END_TEST

START_TEST(one_row_is_the_answer_to_everything)
{
    world_init(&world, 3, METRIC_L2, VECTOR_F32);
    world_add(&world, 1);
    const float vector[3] = {9, 9, 9};
    const struct hnsw_query query = world_query(vector, 10, 10);
    struct hit hits[10];
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 1);
    ck_assert_uint_eq(hits[0].slot, 0);
    hnsw_erase(world.hnsw, 0);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 0);
    world_fini(&world);
}
END_TEST

START_TEST(recall_grows_with_the_beam)
{
    world_init(&world, 128, METRIC_L2, VECTOR_F32);
    world_build(&world, 4000);
    const double narrow = world_recall(&world, 60, 10, 10), wide = world_recall(&world, 60, 10, 64);
    ck_assert_double_ge(narrow, 0.7);
    ck_assert_double_ge(wide, 0.97);
    ck_assert_double_ge(wide, narrow);
    ck_assert_double_ge(world_recall(&world, 30, 100, 300), 0.99);
    ck_assert_double_ge(world_recall(&world, 10, 1000, 1500), 0.99);
    world_fini(&world);
}
END_TEST

// The same graph, asked with and without.
START_TEST(first_bytes_of_wide_rows_lose_no_recall)
{
    static const uint32_t beams[] = {10, 24, 64};
    world_init(&world, 784, METRIC_L2, VECTOR_F32);
    world_build(&world, 3000);
    const uint32_t bytes = world.hnsw->codec.glance_bytes;
    ck_assert_uint_eq(bytes, 192);
    for (size_t b = 0; b < sizeof beams / sizeof beams[0]; b++) {
        const double glanced = world_recall(&world, 100, 10, beams[b]);
        world.hnsw->codec.glance_bytes = 0;
        const double whole = world_recall(&world, 100, 10, beams[b]);
        world.hnsw->codec.glance_bytes = bytes;
        ck_assert_msg(glanced >= whole - 0.005, "beam %u: recall %g, %g by whole codes", beams[b],
                      glanced, whole);
        ck_assert_double_ge(glanced, 0.7);
    }
    for (uint32_t slot = 0; slot < 3000;
         slot += 10) { // an estimate of nothing is never above the bound
        float vector[784];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 784, vector);
        const struct hnsw_query query = world_query(vector, 1, 64);
        struct hit hit;
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, &hit), 1);
        ck_assert_uint_eq(hit.slot, slot);
    }
    world_fini(&world);
}
END_TEST

START_TEST(every_row_finds_itself)
{
    world_init(&world, 96, (enum metric)_i, VECTOR_F32);
    world_build(&world, 3000);
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < 3000; slot++) {
        float vector[96];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 96, vector);
        const struct hnsw_query query = world_query(vector, 1, 64);
        struct hit hit;
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, &hit), 1);
        found += hit.slot == slot;
    }
    // Under ip a longer row may be more alike than the row itself.
    ck_assert_uint_ge(found, _i == METRIC_IP ? 1u : 2990u);
    world_fini(&world);
}
END_TEST

START_TEST(rows_are_found_before_they_are_linked)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    for (uint32_t turn = 0; turn < 3; turn++) {
        world_add(&world, 100);
        for (uint32_t i = 0; i < 30; i++)
            hnsw_link_next(world.hnsw, world.scratch);
        const uint32_t rows = hnsw_count(world.hnsw);
        for (uint32_t slot = rows - 100; slot < rows; slot++) {
            float vector[64];
            struct hnsw_work work = {0};
            vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, vector);
            struct hnsw_query query = world_query(vector, 10, 64);
            query.work = &work;
            struct hit hits[10];
            ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
            world_check_hits(&world, &query, hits, 10);
            CLAIM(hits[0].slot == slot && hits[0].distance == 0.0f, "slot %u was not found", slot);
            CLAIM(work.tail == hnsw_tail(world.hnsw), "%u rows of the tail compared of %u",
                  (uint32_t)work.tail, hnsw_tail(world.hnsw));
        }
        ck_assert_double_ge(world_recall(&world, 20, 10, 64), 0.97);
    }
    world_fini(&world);
}
END_TEST

START_TEST(an_erased_row_never_answers_linked_or_not)
{
    world_init(&world, 64, METRIC_COSINE, VECTOR_F32);
    world_build(&world, 1500);
    world_add(&world, 200);
    for (uint32_t slot = 0; slot < 1700; slot += 5)
        hnsw_erase(world.hnsw, slot);
    ck_assert_double_ge(world_recall(&world, 60, 10, 64), 0.95); // checks every hit
    world_drain(&world);
    ck_assert_double_ge(world_recall(&world, 60, 10, 64), 0.95);
    world_fini(&world);
}
END_TEST

START_TEST(comparing_every_code_is_next_to_exact_and_reads_few_rows)
{
    world_init(&world, 64, (enum metric)_i, VECTOR_F32);
    world_build(&world, 3000);
    world_add(&world, 50); // the tail is compared by rows
    for (uint32_t slot = 0; slot < 3000; slot += 7)
        hnsw_erase(world.hnsw, slot);
    double sum = 0.0;
    struct hnsw_work work = {0};
    for (uint32_t slot = 1; slot < 701; slot += 7) {
        float vector[64];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, vector);
        struct hnsw_query query = world_query(vector, 10, 0);
        query.every_code = true;
        query.excluded = slot;
        query.work = &work;
        sum += world_ask(&world, &query);
        ck_assert_uint_eq(work.strategy, HNSW_SCANNED);
    }
    ck_assert_double_ge(sum / 100, 0.998);
    ck_assert_uint_eq(work.evaluations, 100 * (3000 - 429 - 1)); // a code each of those that live
    ck_assert_uint_eq(work.hops, 0);
    world_fini(&world);
}
END_TEST

// Calibration and recall() ask rows in place of strangers.
START_TEST(rows_left_out_find_about_what_strangers_find)
{
    static const uint32_t beams[] = {4, 8, 16};
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 8000);
    for (int b = 0; b < 3; b++) {
        double sum = 0.0;
        for (uint32_t slot = 0; slot < 8000; slot += 4) {
            float vector[64];
            vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, vector);
            struct hnsw_query query = world_query(vector, 10, beams[b]);
            query.excluded = slot;
            sum += world_ask(&world, &query);
        }
        const double rows = sum / 2000, strangers = world_recall(&world, 2000, 10, beams[b]);
        // With one link in place of each that is lost they are 0.038 below at the shortest walk.
        ck_assert_msg(rows - strangers > -0.034 && rows - strangers < 0.01,
                      "beam %u: rows %g, strangers %g", beams[b], rows, strangers);
    }
    world_fini(&world);
}
END_TEST

START_TEST(an_excluded_row_is_as_if_it_were_not_there)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 2000);
    world_add(&world, 100);
    double sum = 0.0;
    for (uint32_t slot = 0; slot < 2100; slot += 10) {
        float vector[64];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, vector);
        struct hnsw_query query = world_query(vector, 10, 64);
        query.excluded = slot;
        sum += world_ask(&world, &query);
    }
    ck_assert_double_ge(sum / 210, 0.96);
    // Where walks begin is no exception.
    for (uint32_t i = 0; i < world.hnsw->entries.count; i++) {
        float row[64];
        struct hit hits[10];
        const uint32_t slot = world.hnsw->entries.slots[i];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, row);
        struct hnsw_query query = world_query(row, 10, 64);
        query.excluded = slot;
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
    }
    // One that is not there excludes nothing.
    float vector[64];
    law_draw(&world.law, &world.law.queries, vector);
    struct hit with[10], without[10];
    struct hnsw_query query = world_query(vector, 10, 64);
    hnsw_search(world.hnsw, &query, world.scratch, without);
    query.excluded = 1000000;
    hnsw_search(world.hnsw, &query, world.scratch, with);
    ck_assert_mem_eq(with, without, sizeof with);
    world_fini(&world);
}
END_TEST

START_TEST(equal_rows_are_all_reached_and_come_in_order)
{
    world_init(&world, 64, (enum metric)_i, VECTOR_F32);
    const uint32_t rows = _i == METRIC_L2 ? 10000 : 3000;
    world_reserve(&world, rows);
    float row[64];
    for (uint32_t i = 0; i < 64; i++)
        row[i] = 0.1f * (float)(i + 1);
    for (uint32_t i = 0; i < rows; i++)
        world_put(&world, row);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    static struct hit hits[1000];
    const float distance = hnsw_distance(world.hnsw, row, 0);
    for (uint32_t k = 1; k <= 1000; k *= 10) {
        const struct hnsw_query query = world_query(row, k, k);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), k);
        world_check_hits(&world, &query, hits, k);
        ck_assert_float_eq_tol(hits[k - 1].distance, distance, 1e-3f * (1.0f + fabsf(distance)));
        ck_assert_float_eq(hits[k - 1].distance, hits[0].distance);
    }
    world_fini(&world);
}
END_TEST

START_TEST(other_rows_are_found_among_many_that_are_equal)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_reserve(&world, 4000);
    float row[64], equal[64];
    law_draw(&world.law, &world.law.rows, equal);
    for (uint32_t i = 0; i < 4000; i++) {
        law_draw(&world.law, &world.law.rows, row);
        world_put(&world, i % 2 == 0 ? equal : row);
    }
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_double_ge(world_recall(&world, 60, 10, 64), 0.95);
    const struct hnsw_query query = world_query(equal, 100, 100);
    static struct hit hits[100];
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 100);
    ck_assert_float_eq(hits[99].distance, 0.0f);
    world_fini(&world);
}
END_TEST

START_TEST(pairs_of_equal_rows_are_both_found)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_reserve(&world, 3000);
    float row[96];
    for (uint32_t i = 0; i < 1500; i++) {
        law_draw(&world.law, &world.law.rows, row);
        world_put(&world, row);
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    uint32_t both = 0;
    for (uint32_t slot = 0; slot < 3000; slot += 2) {
        struct hit hits[2];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 96, row);
        const struct hnsw_query query = world_query(row, 2, 64);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 2);
        both += hits[0].slot == slot && hits[1].slot == slot + 1;
    }
    ck_assert_uint_ge(both, 1480);
    world_fini(&world);
}
END_TEST

START_TEST(zero_rows_and_zero_queries_are_measured_like_others)
{
    world_init(&world, 64, _i == 0 ? METRIC_L2 : METRIC_IP, VECTOR_F32);
    world_reserve(&world, 2000);
    float row[64] = {0};
    for (uint32_t i = 0; i < 2000; i++) {
        if (i % 4 == 0)
            memset(row, 0, sizeof row);
        else
            law_draw(&world.law, &world.law.rows, row);
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_double_ge(world_recall(&world, 40, 10, 64), 0.95);
    memset(row, 0, sizeof row);
    struct hnsw_query query = world_query(row, 10, 64);
    ck_assert_double_ge(world_ask(&world, &query), 0.99);
    world_fini(&world);
}
END_TEST

START_TEST(a_deadline_in_the_past_cuts_the_walk)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 6000);
    float vector[64];
    law_draw(&world.law, &world.law.queries, vector);
    struct hnsw_work whole = {0}, cut = {0};
    struct hnsw_query query = world_query(vector, 10, 2000);
    static struct hit hits[10];
    query.work = &whole;
    query.deadline_ns = UINT64_MAX;
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
    ck_assert(!whole.cut);
    query.work = &cut;
    query.deadline_ns = 1;
    const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
    world_check_hits(&world, &query, hits, count);
    ck_assert(cut.cut);
    ck_assert_uint_lt(cut.evaluations, whole.evaluations / 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_stop_ends_the_walk_earlier_than_the_beam)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, 5000);
    uint64_t last = 0;
    static const float stops[] = {1.01f, 1.1f, 1.5f, 0.0f};
    for (size_t s = 0; s < sizeof stops / sizeof stops[0]; s++) {
        struct hnsw_work work = {0};
        struct prng prng = world.law.queries;
        for (int q = 0; q < 50; q++) {
            float vector[96];
            law_draw(&world.law, &prng, vector);
            struct hnsw_query query = world_query(vector, 10, 500);
            query.stop = stops[s];
            query.work = &work;
            const double recall = world_ask(&world, &query);
            CLAIM(stops[s] != 0.0f || recall >= 0.9, "recall %g", recall);
        }
        ck_assert_uint_gt(work.evaluations, last);
        last = work.evaluations;
    }
    world_fini(&world);
}
END_TEST

START_TEST(work_is_added_up)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 3000);
    float vector[64];
    law_draw(&world.law, &world.law.queries, vector);
    struct hnsw_work work = {.strategy = HNSW_SCANNED};
    struct hnsw_query query = world_query(vector, 10, 64);
    struct hit hits[10];
    query.work = &work;
    hnsw_search(world.hnsw, &query, world.scratch, hits);
    const struct hnsw_work once = work;
    ck_assert_uint_eq(once.strategy, HNSW_WALKED);
    ck_assert_uint_ge(once.hops, 10);
    ck_assert_uint_gt(once.evaluations, once.hops);
    ck_assert_uint_lt(once.evaluations, 2500);
    ck_assert_uint_ge(once.exact_distances, 10);
    hnsw_search(world.hnsw, &query, world.scratch, hits);
    ck_assert_uint_eq(work.hops, 2 * once.hops);
    ck_assert_uint_eq(work.evaluations, 2 * once.evaluations);
    ck_assert_uint_eq(work.exact_distances, 2 * once.exact_distances);
    world_fini(&world);
}
END_TEST

START_TEST(rows_a_thousand_times_farther_out_than_the_founding_ones_are_found)
{
    float row[64];
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_add(&world, 2000);
    world_reserve(&world, 20);
    for (uint32_t i = 0; i < 20; i++) {
        law_draw(&world.law, &world.law.rows, row);
        for (uint32_t j = 0; j < 64; j++)
            row[j] *= 1000.0f;
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_str_eq(hnsw_code_name(world.hnsw), "nibble+byte");
    uint32_t found = 0;
    for (uint32_t slot = 2000; slot < 2020; slot++) {
        struct hit hit;
        const struct hnsw_query query = world_query(hnsw_row(world.hnsw, slot), 1, 64);
        found += hnsw_search(world.hnsw, &query, world.scratch, &hit) == 1 && hit.slot == slot;
    }
    ck_assert_uint_ge(found, 18);
    world_fini(&world);
}
END_TEST

// Rows and queries of integers, where every sum fits a float: in integers and in floats the same graph and answers.
START_TEST(integers_answer_as_floats_of_the_same_numbers_do)
{
    static struct world floats;
    const enum metric metric = (enum metric)(_i / 2);
    const enum vector_type type = _i % 2 == 0 ? VECTOR_I8 : VECTOR_U8;
    world_init(&world, 33, metric, type);
    world_init(&floats, 33, metric, VECTOR_F32);
    floats.config.quantization = HNSW_QUANTIZE_NONE;
    world_reserve(&world, 2000);
    world_reserve(&floats, 2000);
    float values[33], other[33];
    for (uint32_t i = 0; i < 2000; i++) {
        uint8_t row[33];
        law_draw(&world.law, &world.law.rows, values);
        vector_from_f32(type, values, 33, row);
        vector_to_f32(type, row, 33, values);
        values[32] = 1.0f; // not zero under cosine
        world_put(&world, values);
        world_put(&floats, values);
    }
    world_drain(&world);
    world_drain(&floats);
    double recall = 0.0;
    for (uint32_t q = 0; q < 100; q++) {
        struct hit hits[3][10];
        uint8_t row[33];
        law_draw(&world.law, &world.law.queries, values);
        vector_from_f32(type, values, 33, row);
        vector_to_f32(type, row, 33, values);
        const struct hnsw_query query = world_query(values, 10, 40);
        ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, hits[0]), 10);
        ck_assert_uint_eq(hnsw_scan(floats.hnsw, &query, floats.scratch, hits[1]), 10);
        for (uint32_t i = 0; i < 10; i++) {
            const float apart = fabsf(hits[0][i].distance - hits[1][i].distance);
            CLAIM(apart <= (metric == METRIC_COSINE ? 1e-6f : 0.0f), "query %u, hit %u: %g apart",
                  q, i, (double)apart);
            CLAIM(metric == METRIC_COSINE || hits[0][i].slot == hits[1][i].slot, "query %u, hit %u",
                  q, i);
        }
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits[1]), 10);
        if (metric != METRIC_COSINE) {
            ck_assert_uint_eq(hnsw_search(floats.hnsw, &query, floats.scratch, hits[2]), 10);
            ck_assert_mem_eq(hits[1], hits[2], sizeof hits[1]);
        }
        recall += world_share(hits[1], 10, hits[0], 10) / 100.0;
        // A component between integers takes the way of floats, to an answer as near.
        memcpy(other, values, sizeof other);
        other[5] += 0.25f;
        const struct hnsw_query between = world_query(other, 10, 40);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &between, world.scratch, hits[1]), 10);
        world_check_hits(&world, &between, hits[1], 10);
    }
    ck_assert_double_gt(recall, 0.9);
    world_fini(&world);
    world_fini(&floats);
}
END_TEST

static Suite *
hnsw_search_suite(void)
{
    Suite *suite = suite_create("hnsw_search");
    TCase *tcase = tcase_create("hnsw_search");
    tcase_add_loop_test(tcase, any_k_and_beam_are_answered_as_far_as_there_are_rows, 0, 15);
    tcase_add_test(tcase, one_row_is_the_answer_to_everything);
    tcase_add_test(tcase, recall_grows_with_the_beam);
    tcase_add_test(tcase, first_bytes_of_wide_rows_lose_no_recall);
    tcase_add_loop_test(tcase, every_row_finds_itself, 0, 3);
    tcase_add_test(tcase, rows_are_found_before_they_are_linked);
    tcase_add_test(tcase, an_erased_row_never_answers_linked_or_not);
    tcase_add_loop_test(tcase, comparing_every_code_is_next_to_exact_and_reads_few_rows, 0, 3);
    tcase_add_test(tcase, rows_left_out_find_about_what_strangers_find);
    tcase_add_test(tcase, an_excluded_row_is_as_if_it_were_not_there);
    tcase_add_loop_test(tcase, equal_rows_are_all_reached_and_come_in_order, 0, 3);
    tcase_add_test(tcase, other_rows_are_found_among_many_that_are_equal);
    tcase_add_test(tcase, pairs_of_equal_rows_are_both_found);
    tcase_add_loop_test(tcase, zero_rows_and_zero_queries_are_measured_like_others, 0, 2);
    tcase_add_test(tcase, a_deadline_in_the_past_cuts_the_walk);
    tcase_add_test(tcase, a_stop_ends_the_walk_earlier_than_the_beam);
    tcase_add_test(tcase, work_is_added_up);
    tcase_add_test(tcase, rows_a_thousand_times_farther_out_than_the_founding_ones_are_found);
    tcase_add_loop_test(tcase, integers_answer_as_floats_of_the_same_numbers_do, 0, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_search_suite)
