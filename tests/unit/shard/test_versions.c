// tests/unit/shard/test_versions.c -- versions through writes, saves in steps and loads, beside an array.
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "shard/versions.h"
#include "tests/lib/check_main.h"
#include "tests/lib/image_table.h"

#define SLOTS 100000u // several pieces

START_TEST(what_was_set_before_a_save_is_loaded)
{
    static uint64_t model[SLOTS];
    struct image_table *table = image_table_open();
    const struct image_sink sink = image_table_sink(table);
    const struct image_source source = image_table_source(table);
    struct versions *versions;
    struct prng prng;
    uint32_t slots = 0;
    prng_init(&prng, (uint64_t)_i);
    memset(model, 0, sizeof model);
    ck_assert_int_eq(versions_open(SLOTS, &versions), OMEN_OK);
    for (uint64_t seq = 1; slots < SLOTS; seq++) {
        slots += prng_below(&prng, 9000);
        slots = slots < SLOTS ? slots : SLOTS;
        ck_assert_int_eq(versions_reserve(versions, slots), OMEN_OK);
        for (uint32_t n = prng_below(&prng, 200); n > 0 && slots > 0; n--) {
            const uint32_t slot = prng_below(&prng, slots);
            ck_assert_int_eq(versions_own(versions, slot), OMEN_OK);
            versions_set(versions, slot, seq);
            model[slot] = seq;
        }
        ck_assert_int_eq(versions_save(versions, slots, &sink), OMEN_OK);
        image_table_reset_counts(table);
        ck_assert_int_eq(versions_save(versions, slots, &sink), OMEN_OK);
        ck_assert_uint_eq(image_table_puts(table, 0), 0);
        if (prng_below(&prng, 2) == 0) {
            versions_close(versions);
            ck_assert_int_eq(versions_load(SLOTS, slots, &source, &versions), OMEN_OK);
            ck_assert_uint_le(versions_bytes(versions), 300000);
        }
        for (uint32_t slot = 0; slot < slots; slot++)
            ck_assert_uint_eq(versions_get(versions, slot), model[slot]);
    }
    versions_close(versions);
    image_table_drop(table, IMAGE_VERSIONS, 1);
    ck_assert_int_eq(versions_load(SLOTS, slots, &source, &versions), OMEN_E_CORRUPT);
    ck_assert_ptr_null(versions);
    ck_assert_int_eq(versions_load(SLOTS - 1, slots, &source, &versions), OMEN_E_CORRUPT);
    image_table_close(table);
}
END_TEST

START_TEST(changes_between_the_steps_of_a_save_are_in_it_or_in_the_next)
{
    struct image_table *table = image_table_open();
    const struct image_sink sink = image_table_sink(table);
    const struct image_source source = image_table_source(table);
    struct versions *versions;
    ck_assert_int_eq(versions_open(SLOTS, &versions), OMEN_OK);
    ck_assert_int_eq(versions_reserve(versions, SLOTS), OMEN_OK);
    struct versions_save save = {.rows = SLOTS};
    uint64_t seq = 0;
    for (bool done = false; !done;) {
        ck_assert_int_eq(versions_save_step(versions, &save, &sink, &done), OMEN_OK);
        versions_set(versions, 0, ++seq);
        versions_set(versions, SLOTS - 1, seq);
    }
    ck_assert_uint_eq(seq, 5); // four pieces, and the end
    image_table_fail_after(table, 2);
    ck_assert_int_eq(versions_save(versions, SLOTS, &sink), OMEN_E_DISK_FULL);
    image_table_fail_after(table, 0);
    versions_touch(versions);
    ck_assert_int_eq(versions_save(versions, SLOTS, &sink), OMEN_OK);
    versions_close(versions);
    ck_assert_int_eq(versions_load(SLOTS, SLOTS, &source, &versions), OMEN_OK);
    ck_assert_uint_eq(versions_get(versions, 0), 5);
    ck_assert_uint_eq(versions_get(versions, SLOTS - 1), 5);
    versions_close(versions);
    image_table_close(table);
}
END_TEST

START_TEST(refused_memory_leaves_versions_as_they_were)
{
    struct image_table *table = image_table_open();
    const struct image_sink sink = image_table_sink(table);
    const struct image_source source = image_table_source(table);
    struct versions *versions;
    ck_assert_int_eq(versions_open(SLOTS, &versions), OMEN_OK);
    ck_assert_int_eq(versions_reserve(versions, 70000), OMEN_OK);
    versions_set(versions, 5, 7);
    ck_assert_int_eq(versions_save(versions, 70000, &sink), OMEN_OK);
    versions_close(versions);
    uint64_t refused = 1;
    for (uint64_t n = 1; refused > 0; n++) {
        mem_fail_after(n);
        omen_status status = versions_load(SLOTS, 70000, &source, &versions);
        if (status == OMEN_OK) {
            status = versions_own(versions, 5);
            if (status == OMEN_OK)
                status = versions_reserve(versions, SLOTS);
            ck_assert_uint_eq(versions_get(versions, 5), 7);
            versions_close(versions);
        }
        refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
    }
    image_table_close(table);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/versions");
    TCase *tcase = tcase_create("versions");
    tcase_add_loop_test(tcase, what_was_set_before_a_save_is_loaded, 0, 5);
    tcase_add_test(tcase, changes_between_the_steps_of_a_save_are_in_it_or_in_the_next);
    tcase_add_test(tcase, refused_memory_leaves_versions_as_they_were);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
