// tests/unit/index/test_hnsw_insert.c -- the graph that linking makes: the same one every time, whole at any width.
#include "tests/lib/index_world.h"

static void
check_same_graph(const struct world *a, const struct world *b)
{
    const uint32_t rows = hnsw_count(a->hnsw);
    ck_assert_uint_eq(hnsw_count(b->hnsw), rows);
    ck_assert_str_eq(hnsw_code_name(a->hnsw), hnsw_code_name(b->hnsw));
    const bool coded = hnsw_kind(a->hnsw) == CODE_NIBBLE;
    for (uint32_t slot = 0; slot < rows; slot++) {
        CLAIM(memcmp(arena_row(&a->hnsw->graph.rows, slot), arena_row(&b->hnsw->graph.rows, slot),
                     a->hnsw->graph.rows.row_bytes) == 0,
              "links of slot %u differ", slot);
        CLAIM(memcmp(arena_row(&a->hnsw->meta, slot), arena_row(&b->hnsw->meta, slot),
                     sizeof(struct byte_meta)) == 0,
              "numbers of slot %u differ", slot);
        CLAIM(!coded || (memcmp(arena_row(&a->hnsw->high, slot), arena_row(&b->hnsw->high, slot),
                                a->hnsw->codec.row_bytes) == 0 &&
                         memcmp(arena_row(&a->hnsw->low, slot), arena_row(&b->hnsw->low, slot),
                                a->hnsw->codec.row_bytes) == 0),
              "codes of slot %u differ", slot);
    }
    ck_assert_uint_eq(a->hnsw->entries.count, b->hnsw->entries.count);
    for (uint32_t i = 0; i < a->hnsw->entries.count; i++)
        ck_assert_uint_eq(a->hnsw->entries.slots[i], b->hnsw->entries.slots[i]);
}

// A life with everything in it that changes links.
static void
live(struct world *world)
{
    world_build(world, 1800);
    for (uint32_t slot = 100; slot < 400; slot++)
        hnsw_erase(world->hnsw, slot);
    world_add(world, 300);
    world_drain(world);
}

START_TEST(one_linking_thread_makes_the_same_graph_and_answers_again)
{
    struct world worlds[2];
    for (int w = 0; w < 2; w++) {
        world_init(&worlds[w], 96, (enum metric)_i, VECTOR_F32);
        live(&worlds[w]);
    }
    check_same_graph(&worlds[0], &worlds[1]);
    for (int q = 0; q < 30; q++) {
        float vector[96];
        struct hit hits[2][10];
        law_draw(&worlds[0].law, &worlds[0].law.queries, vector);
        const struct hnsw_query query = world_query(vector, 10, 30);
        for (int w = 0; w < 2; w++)
            ck_assert_uint_eq(hnsw_search(worlds[w].hnsw, &query, worlds[w].scratch, hits[w]), 10);
        ck_assert_mem_eq(hits[0], hits[1], sizeof hits[0]);
    }
    world_fini(&worlds[0]);
    world_fini(&worlds[1]);
}
END_TEST

// The code is founded on the first rows; what is longer than all of them is what every query asks for.
START_TEST(rows_longer_than_the_founding_ones_are_found_by_product)
{
    static const uint32_t dims[] = {8, 96};
    const uint32_t dim = dims[_i], rows = 3000;
    struct world world;
    float row[96];
    world_init(&world, dim, METRIC_IP, VECTOR_F32);
    world_reserve(&world, rows);
    for (uint32_t i = 0; i < rows; i++) {
        law_draw(&world.law, &world.law.rows, row);
        for (uint32_t j = 0; j < dim; j++)
            row[j] *= 1.0f + 3.0f * (float)i / (float)rows;
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_float_lt(world.hnsw->codec.radius2, bits_float(world.hnsw->norm_max2) / 2.0f);
    world_check_recall(&world, 100, 64, 0.97);
    world_fini(&world);
}
END_TEST

START_TEST(squeezing_a_row_in_twice_links_to_it_once)
{
    struct world world;
    world_init_usual(&world);
    world.config.links = 4;
    world_build(&world, 1100);
    for (uint32_t slot = 500; slot < 520; slot++)
        for (int times = 0; times < 2; times++)
            link_squeeze(world.hnsw, slot, 7);
    uint32_t links[LINK_ROW_MAX];
    const uint32_t count = graph_read(&world.hnsw->graph, 7, 1100, links);
    ck_assert(links_contain(links, count, 519));
    world_check(&world); // which counts no link twice
    world_fini(&world);
}
END_TEST

START_TEST(another_seed_makes_another_graph)
{
    struct world worlds[2];
    for (int w = 0; w < 2; w++) {
        world_init(&worlds[w], 64, METRIC_L2, VECTOR_F32);
        worlds[w].config.seed = 100 + (uint64_t)w;
        world_build(&worlds[w], 1100);
    }
    ck_assert_mem_ne(arena_row(&worlds[0].hnsw->high, 0), arena_row(&worlds[1].hnsw->high, 0), 32);
    world_fini(&worlds[0]);
    world_fini(&worlds[1]);
}
END_TEST

// Rows that are walked by codes: exact distances, which may round differently, only rank answers.
START_TEST(every_table_of_kernels_makes_the_same_graph)
{
    static const uint32_t dims[] = {64, 100, 127, 200, 384};
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    struct world oracle;
    world_init(&oracle, dims[_i % 5], (enum metric)(_i % 3), _i % 2 == 0 ? VECTOR_F32 : VECTOR_F16);
    world_use_kernels(&oracle, list[0]);
    world_build(&oracle, 1300);
    ck_assert_str_eq(hnsw_code_name(oracle.hnsw), "nibble+byte");
    for (uint32_t t = 1; t < tables; t++) {
        struct world world;
        world_init(&world, dims[_i % 5], (enum metric)(_i % 3),
                   _i % 2 == 0 ? VECTOR_F32 : VECTOR_F16);
        world_use_kernels(&world, list[t]);
        world_build(&world, 1300);
        check_same_graph(&oracle, &world);
        world_fini(&world);
    }
    world_fini(&oracle);
}
END_TEST

START_TEST(rows_of_any_number_of_links_are_whole_and_found)
{
    static const uint16_t links[] = {2, 3, 8, 15, 16, 17, 24, 32, 33, 48, 49, 64};
    struct world world;
    world_init_usual(&world);
    world.config.links = links[_i];
    world_build(&world, 1500);
    ck_assert_double_le(hnsw_links_mean(world.hnsw), 2.0 * links[_i]);
    world_check_recall(&world, 40, 100, links[_i] < 8 ? 0.5 : 0.95);
    world_fini(&world);
}
END_TEST

START_TEST(a_narrow_beam_still_links_everything)
{
    struct world world;
    world_init(&world, 16, METRIC_L2, VECTOR_F32);
    world.config.build_beam = 8;
    world_build(&world, 3000);
    world_check_recall(&world, 40, 100, 0.9);
    world_fini(&world);
}
END_TEST

START_TEST(a_beam_beyond_all_rows_and_candidates_is_accepted)
{
    struct world world;
    world_init(&world, 8, METRIC_L2, VECTOR_F32);
    world.config.build_beam = 2000;
    world_build(&world, 1100);
    world_check_recall(&world, 20, 30, 0.98);
    world_fini(&world);
}
END_TEST

START_TEST(rows_erased_before_they_are_linked_get_no_links_and_lead_nobody_astray)
{
    struct world world;
    world_init_usual(&world);
    world_add_erased(&world, 3000, 2);
    world_link(&world); // nothing is repaired yet
    world_check(&world);
    uint32_t links[LINK_ROW_MAX];
    for (uint32_t slot = 0; slot < 3000; slot += 2)
        CLAIM(graph_read(&world.hnsw->graph, slot, 3000, links) == 0, "slot %u has links", slot);
    // The erased rows themselves ask: each has its own place in the sample of entries, if it is there.
    for (uint32_t slot = 0; slot < 3000; slot += 2) {
        float vector[64];
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 64, vector);
        const struct hnsw_query query = world_query(vector, 10, 50);
        struct hit hits[10];
        const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
        CLAIM(count == 10, "%u of 10 found near the erased slot %u", count, slot);
    }
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    world_fini(&world);
}
END_TEST

START_TEST(linking_goes_on_where_all_the_first_rows_were_erased)
{
    struct world world;
    world_init_usual(&world);
    world_add_erased(&world, 1100, 1);
    world_link(&world);
    world_check(&world);
    float vector[64];
    struct hit hits[10];
    law_draw(&world.law, &world.law.queries, vector);
    const struct hnsw_query query = world_query(vector, 10, 50);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 0);
    world_build(&world, 1500);
    ck_assert_uint_eq(hnsw_live(world.hnsw), 1500);
    world_check_recall(&world, 30, 64, 0.95);
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_insert_suite(void)
{
    Suite *suite = suite_create("hnsw_insert");
    TCase *tcase = tcase_create("hnsw_insert");
    tcase_add_loop_test(tcase, one_linking_thread_makes_the_same_graph_and_answers_again, 0, 3);
    tcase_add_loop_test(tcase, rows_longer_than_the_founding_ones_are_found_by_product, 0, 2);
    tcase_add_test(tcase, squeezing_a_row_in_twice_links_to_it_once);
    tcase_add_test(tcase, another_seed_makes_another_graph);
    tcase_add_loop_test(tcase, every_table_of_kernels_makes_the_same_graph, 0, 6);
    tcase_add_loop_test(tcase, rows_of_any_number_of_links_are_whole_and_found, 0, 12);
    tcase_add_test(tcase, a_narrow_beam_still_links_everything);
    tcase_add_test(tcase, a_beam_beyond_all_rows_and_candidates_is_accepted);
    tcase_add_test(tcase, rows_erased_before_they_are_linked_get_no_links_and_lead_nobody_astray);
    tcase_add_test(tcase, linking_goes_on_where_all_the_first_rows_were_erased);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_insert_suite)
