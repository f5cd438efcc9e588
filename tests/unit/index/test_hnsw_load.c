// tests/unit/index/test_hnsw_load.c -- what becomes of a loaded index, and of one whose bytes are wrong.
#include "index/hnsw_head.h"
#include "tests/lib/image_world.h"

static struct world world, loaded;
static struct image_table *table;

// A saved index of four pieces of rows, erased here and there, with a tail.
static void
make_saved(uint32_t kind)
{
    table = image_table_open();
    world_init_kind(&world, &image_kinds[kind]);
    world_build(&world, 3000);
    for (uint32_t slot = 1; slot < 3000; slot += 7)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    for (uint32_t slot = 2; slot < 3000; slot += 70)
        hnsw_erase(world.hnsw, slot); // not repaired
    world_add(&world, 1200);
    world_save(&world, table);
}

static void
drop_saved(void)
{
    world_fini(&world);
    image_table_close(table);
}

static void
erase_some(uint32_t from)
{
    for (uint32_t slot = from; slot < hnsw_count(loaded.hnsw); slot += 50)
        hnsw_erase(loaded.hnsw, slot);
}

// In orders drawn from: append, link, erase and repair, promote, compact, settle.
START_TEST(a_loaded_index_lives_on_in_any_order)
{
    make_saved(_i % 2 == 0 ? 0 : 3);
    const struct image_source source = image_table_source(table);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    world_load(&loaded, &world, table);
    for (int step = 0; step < 12; step++) {
        switch (prng_below(&prng, 7)) {
        case 0:
            world_add(&loaded, 1 + prng_below(&prng, 1500));
            break;
        case 1:
            world_link(&loaded);
            break;
        case 2:
            erase_some(prng_below(&prng, 50));
            break;
        case 3:
            for (uint32_t i = 0; i < 3; i++)
                hnsw_promote_next(loaded.hnsw);
            break;
        case 4:
            world_drain(&loaded);
            break;
        case 5: // what was saved goes back to the map
            world_save(&loaded, table);
            hnsw_settle(loaded.hnsw, &source);
            hnsw_settled_release(loaded.hnsw);
            break;
        case 6: // a new numbering goes to a new file
            world_compact(&loaded);
            break;
        }
        world_check(&loaded);
        ck_assert_double_ge(world_recall(&loaded, 10, 10, 64), 0.85);
    }
    while (hnsw_promote_next(loaded.hnsw)) {
    }
    world_drain(&loaded);
    world_check(&loaded);
    ck_assert_double_ge(world_recall(&loaded, 30, 10, 64), 0.9);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

START_TEST(promotion_ends_and_changes_no_answer)
{
    make_saved(0);
    world_load(&loaded, &world, table);
    struct hnsw_memory before, after;
    hnsw_memory(loaded.hnsw, &before);
    ck_assert_uint_gt(before.mapped, before.links);
    uint32_t promoted = 0;
    while (hnsw_promote_next(loaded.hnsw))
        promoted++;
    ck_assert_uint_eq(promoted, 1); // of links; all codes are in one piece, which is not whole
    hnsw_memory(loaded.hnsw, &after);
    ck_assert_uint_eq(after.rows, before.rows);
    ck_assert_uint_gt(after.links, before.links);
    ck_assert_uint_lt(after.mapped, before.mapped);
    world_check(&loaded);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

START_TEST(rows_settle_where_they_were_saved)
{
    make_saved(0);
    const struct image_source source = image_table_source(table);
    struct hnsw_memory before, after;
    hnsw_memory(world.hnsw, &before);
    ck_assert_uint_eq(before.mapped, 0);
    ck_assert_uint_eq(hnsw_settle(world.hnsw, &source), 4);
    hnsw_settled_release(world.hnsw);
    hnsw_memory(world.hnsw, &after);
    ck_assert_uint_ge(after.mapped, (size_t)4 << 18);
    ck_assert_uint_eq(hnsw_settle(world.hnsw, &source), 0);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    world_add(&world, 100);
    world_drain(&world);
    world_check(&world);
    ck_assert_double_ge(world_recall(&world, 30, 10, 64), 0.9);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

// Rows that nobody linked before they were saved: none of them has links on disk.
START_TEST(an_index_that_was_never_linked_is_all_tail)
{
    table = image_table_open();
    world_init_kind(&world, &image_kinds[0]);
    world_add(&world, 6000);
    world_save(&world, table);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_LINKS), 0);
    world_load(&loaded, &world, table);
    ck_assert_uint_eq(hnsw_tail(loaded.hnsw), 6000);
    ck_assert(hnsw_founded(loaded.hnsw));
    world_check_equal(&world, &loaded);
    world_drain(&loaded);
    world_drain(&world);
    world_check_equal(&world, &loaded);
    world_check(&loaded);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

START_TEST(loading_survives_refused_memory)
{
    make_saved(0);
    const struct image_source source = image_table_source(table);
    omen_status status = OMEN_E_NO_MEMORY;
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        struct hnsw *hnsw;
        ck_assert_uint_lt(n, 200);
        mem_fail_after(n);
        status = hnsw_load(&world.config, &source, &hnsw);
        mem_fail_after(0);
        ck_assert(status == OMEN_OK || (status == OMEN_E_NO_MEMORY && hnsw == NULL));
        hnsw_close(hnsw);
    }
    drop_saved();
}
END_TEST

// After it was loaded, whatever memory is refused: linking does nothing or all.
START_TEST(linking_a_loaded_index_survives_refused_memory)
{
    make_saved(0);
    world_load(&loaded, &world, table);
    for (uint64_t n = 1; n < 40; n++) {
        mem_fail_after(n);
        (void)hnsw_link_next(loaded.hnsw, loaded.scratch);
        (void)hnsw_repair_next(loaded.hnsw, loaded.scratch);
        (void)hnsw_promote_next(loaded.hnsw);
        mem_fail_after(0);
    }
    world_drain(&loaded);
    world_check(&loaded);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

static omen_status
try_load(const struct hnsw_config *config)
{
    struct hnsw *hnsw;
    const struct image_source source = image_table_source(table);
    const omen_status status = hnsw_load(config, &source, &hnsw);
    ck_assert((status == OMEN_OK) == (hnsw != NULL));
    hnsw_close(hnsw);
    return status;
}

START_TEST(another_configuration_is_refused)
{
    make_saved(0);
    struct hnsw_config config = world.config;
    config.build_beam = 200; // may change
    config.slots_max = 100000;
    ck_assert_int_eq(try_load(&config), OMEN_OK);
    config.slots_max = 4000; // fewer than there are
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config.slots_max = 1u << 25; // links of four bytes
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.dim++;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.metric = METRIC_COSINE;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.type = VECTOR_F16;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.quantization = HNSW_QUANTIZE_NONE;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.flat = true;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.links++;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    config = world.config;
    config.seed++;
    ck_assert_int_eq(try_load(&config), OMEN_E_CORRUPT);
    drop_saved();
}
END_TEST

START_TEST(a_piece_that_is_missing_or_short_is_refused)
{
    static const uint32_t arrays[] = {IMAGE_ROWS,  IMAGE_HIGH,       IMAGE_LOW,    IMAGE_CODE_META,
                                      IMAGE_LINKS, IMAGE_INDEX_HEAD, IMAGE_ERASED, IMAGE_REPAIRED};
    make_saved(0);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        for (uint32_t piece = 0;; piece++) {
            size_t count;
            const uint8_t *there = image_table_piece(table, arrays[i], piece, &count);
            if (there == NULL)
                break;
            uint8_t *copy = malloc(count);
            memcpy(copy, there, count);
            image_table_set(table, arrays[i], piece, copy, count - 1);
            ck_assert_int_eq(try_load(&world.config), OMEN_E_CORRUPT);
            image_table_drop(table, arrays[i], piece);
            ck_assert_int_eq(try_load(&world.config), OMEN_E_CORRUPT);
            image_table_set(table, arrays[i], piece, copy, count);
            ck_assert_int_eq(try_load(&world.config), OMEN_OK);
            free(copy);
        }
    drop_saved();
}
END_TEST

// Writes a word into the head's copy and says what loading thinks of it.
static omen_status
load_with_word(size_t at, uint32_t word)
{
    size_t count;
    const uint8_t *there = image_table_piece(table, IMAGE_INDEX_HEAD, 0, &count);
    uint8_t *copy = malloc(count), *changed = malloc(count);
    memcpy(copy, there, count);
    memcpy(changed, there, count);
    memcpy(changed + at, &word, sizeof word);
    image_table_set(table, IMAGE_INDEX_HEAD, 0, changed, count);
    const omen_status status = try_load(&world.config);
    image_table_set(table, IMAGE_INDEX_HEAD, 0, copy, count);
    free(copy);
    free(changed);
    return status;
}

START_TEST(a_head_that_cannot_be_is_refused)
{
    make_saved(0);
    ck_assert_int_eq(load_with_word(0, HNSW_HEAD_VERSION + 1), OMEN_E_VERSION);
    ck_assert_int_eq(load_with_word(4, 8), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(4, UINT32_MAX), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(48, 4201), OMEN_E_CORRUPT); // more rows than bits
    ck_assert_int_eq(load_with_word(48, UINT32_MAX), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(52, 4201), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(56, 0), OMEN_E_CORRUPT); // no code, and linked
    ck_assert_int_eq(load_with_word(56, 3), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(60, 0), OMEN_E_CORRUPT);
    const float wrong[] = {NAN, INFINITY, -1.0f};
    for (size_t i = 0; i < 3; i++)
        for (size_t at = 72; at < 96; at += 4)
            ck_assert_int_eq(load_with_word(at, float_bits(wrong[i])), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(64, float_bits(NAN)), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(104, 1), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(HNSW_HEAD_FIXED_BYTES, float_bits(NAN)), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(HNSW_HEAD_FIXED_BYTES + 64 * 4, 3000), OMEN_E_CORRUPT);
    ck_assert_int_eq(load_with_word(HNSW_HEAD_FIXED_BYTES + 64 * 4, 2999), OMEN_OK);
    drop_saved();
}
END_TEST

START_TEST(bits_that_cannot_be_are_refused)
{
    make_saved(0);
    for (int i = 0; i < 3; i++) {
        const uint32_t array = i == 0 ? IMAGE_ERASED : IMAGE_REPAIRED;
        size_t count;
        const uint8_t *there = image_table_piece(table, array, 0, &count);
        uint8_t *copy = malloc(count);
        memcpy(copy, there, count);
        if (i < 2)
            copy[count - 1] |= 0x80; // beyond the last row
        else
            copy[0] |= 1; // repaired and alive
        image_table_set(table, array, 0, copy, count);
        ck_assert_int_eq(try_load(&world.config), OMEN_E_CORRUPT);
        copy[count - 1] = 0;
        copy[0] &= 0xfe;
        image_table_set(table, array, 0, copy, count);
        free(copy);
    }
    drop_saved();
}
END_TEST

// Bytes that loading does not look at: whatever they are, searching and linking go on.
START_TEST(any_bytes_for_rows_codes_and_links_do_no_harm)
{
    static const uint32_t arrays[] = {IMAGE_ROWS, IMAGE_HIGH, IMAGE_LOW, IMAGE_CODE_META,
                                      IMAGE_LINKS};
    make_saved(_i % 2 == 0 ? 0 : 1);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        for (uint32_t piece = 0; (_i >> 1 & 1 << i) != 0; piece++) {
            size_t count;
            const uint8_t *there = image_table_piece(table, arrays[i], piece, &count);
            if (there == NULL)
                break;
            uint8_t *copy = malloc(count);
            for (size_t at = 0; at < count; at++)
                copy[at] = prng_below(&prng, 3) == 0 ? 0 : (uint8_t)prng_next(&prng);
            image_table_set(table, arrays[i], piece, copy, count);
            free(copy);
        }
    world_load(&loaded, &world, table);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) {
            float vector[WORLD_DIM_MAX];
            struct hit hits[20];
            law_draw(&world.law, &prng, vector);
            const struct hnsw_query query = world_query(vector, 20, 60);
            const uint32_t count = hnsw_search(loaded.hnsw, &query, loaded.scratch, hits);
            CLAIM(count <= 20, "%u hits", count);
            for (uint32_t j = 0; j < count; j++)
                CLAIM(hits[j].slot < hnsw_count(loaded.hnsw), "slot %u", hits[j].slot);
        }
        erase_some(25);
        world_drain(&loaded);
    }
    world_compact(&loaded);
    world_drain(&loaded);
    world_save(&loaded, table);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

// As a save that was killed leaves it: its links are there, its head is not.
START_TEST(links_that_are_newer_than_the_head_do_no_harm)
{
    make_saved(_i % 2 == 0 ? 0 : 3);
    struct hnsw_save *save;
    const struct image_sink sink = image_table_sink(table);
    world_link(&world);
    world_add(&world, 600); // rows that the head does not count
    world_drain(&world);
    ck_assert_int_eq(hnsw_save_begin(world.hnsw, &save), OMEN_OK);
    ck_assert_int_eq(hnsw_save_arrays(save, &sink), OMEN_OK);
    hnsw_save_close(save, HNSW_NOT_SAVED);
    world_load(&loaded, &world, table);
    ck_assert_uint_eq(hnsw_count(loaded.hnsw), 4200);
    world_check(&loaded);
    ck_assert_double_ge(world_recall(&loaded, 20, 10, 64), 0.9);
    if (_i < 2) {
        world_add(&loaded, 600); // others in their places
        world_drain(&loaded);
    } else {
        world_compact(&loaded);
    }
    world_check(&loaded);
    ck_assert_double_ge(world_recall(&loaded, 20, 10, 64), 0.9);
    world_fini(&loaded);
    drop_saved();
}
END_TEST

static Suite *
hnsw_load_suite(void)
{
    Suite *suite = suite_create("hnsw_load");
    TCase *tcase = tcase_create("hnsw_load");
    tcase_add_loop_test(tcase, a_loaded_index_lives_on_in_any_order, 0, 12);
    tcase_add_test(tcase, promotion_ends_and_changes_no_answer);
    tcase_add_test(tcase, rows_settle_where_they_were_saved);
    tcase_add_test(tcase, an_index_that_was_never_linked_is_all_tail);
    tcase_add_test(tcase, loading_survives_refused_memory);
    tcase_add_test(tcase, linking_a_loaded_index_survives_refused_memory);
    tcase_add_test(tcase, another_configuration_is_refused);
    tcase_add_test(tcase, a_piece_that_is_missing_or_short_is_refused);
    tcase_add_test(tcase, a_head_that_cannot_be_is_refused);
    tcase_add_test(tcase, bits_that_cannot_be_are_refused);
    tcase_add_loop_test(tcase, links_that_are_newer_than_the_head_do_no_harm, 0, 4);
    tcase_add_loop_test(tcase, any_bytes_for_rows_codes_and_links_do_no_harm, 0, 64);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_load_suite)
