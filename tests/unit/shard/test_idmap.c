// tests/unit/shard/test_idmap.c -- the id table answers as an array of ids does, through growth, tombs and full turnover.
#include <check.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "shard/idmap.h"
#include "tests/lib/check_main.h"

#define IDS 600u
#define SLOTS 40000u

static struct epoch gate;
static struct idmap *map;

static void
setup(void)
{
    epoch_init(&gate);
    ck_assert_int_eq(idmap_open(SLOTS, &gate, &map), OMEN_OK);
}

static void
teardown(void)
{
    idmap_close(map);
    epoch_fini(&gate);
}

// Ids that differ in few bits, at both ends of the range.
static uint64_t
id_of(uint32_t i)
{
    return i % 2 == 0 ? i : 0x7fffffffffffffffull - i;
}

START_TEST(random_operations_answer_as_an_array_does)
{
    uint32_t where[IDS], live = 0, next = 0;
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t i = 0; i < IDS; i++)
        where[i] = IDMAP_NONE;
    while (next < SLOTS) {
        const uint32_t i = prng_below(&prng, IDS);
        if (prng_below(&prng, 3) == 0) {
            ck_assert_uint_eq(idmap_remove(map, id_of(i)), where[i]);
            live -= where[i] != IDMAP_NONE;
            where[i] = IDMAP_NONE;
        } else {
            ck_assert_int_eq(idmap_reserve(map, next + 1, 1), OMEN_OK);
            idmap_name(map, next, id_of(i));
            ck_assert_uint_eq(idmap_put(map, next), where[i]);
            live += where[i] == IDMAP_NONE;
            where[i] = next++;
        }
        ck_assert_uint_eq(idmap_count(map), live);
        const uint32_t other = prng_below(&prng, IDS);
        ck_assert_uint_eq(idmap_find(map, id_of(other)), where[other]);
    }
    for (uint32_t i = 0; i < IDS; i++) {
        ck_assert_uint_eq(idmap_find(map, id_of(i)), where[i]);
        if (where[i] != IDMAP_NONE)
            ck_assert_uint_eq(idmap_id(map, where[i]), id_of(i));
    }
}
END_TEST

START_TEST(unknown_id_is_not_found)
{
    ck_assert_uint_eq(idmap_find(map, 0), IDMAP_NONE);
    ck_assert_uint_eq(idmap_remove(map, 0), IDMAP_NONE);
    ck_assert_uint_eq(idmap_count(map), 0);
}
END_TEST

START_TEST(memory_of_a_row_stays_below_what_the_header_promises)
{
    ck_assert_int_eq(idmap_reserve(map, SLOTS, SLOTS), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        idmap_name(map, slot, slot * 77ull);
        ck_assert_uint_eq(idmap_put(map, slot), IDMAP_NONE);
    }
    ck_assert_uint_le(idmap_bytes(map),
                      SLOTS * 143ull / 10 + 9000 * 8); // and the unused end of a chunk
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ck_assert_uint_eq(idmap_find(map, slot * 77ull), slot);
}
END_TEST

// Past 2^24 slots a table gives bits of the hash away. Nothing that was there is lost, and tombs stay tombs.
START_TEST(ids_are_found_when_slots_outgrow_24_bits)
{
    struct idmap *wide;
    ck_assert_int_eq(idmap_open(SLOTS_MAX, &gate, &wide), OMEN_OK);
    ck_assert_int_eq(idmap_reserve(wide, IDS, IDS), OMEN_OK);
    for (uint32_t slot = 0; slot < IDS; slot++) {
        idmap_name(wide, slot, id_of(slot));
        ck_assert_uint_eq(idmap_put(wide, slot), IDMAP_NONE);
    }
    for (uint32_t i = 0; i < IDS; i += 5)
        ck_assert_uint_eq(idmap_remove(wide, id_of(i)), i);
    // At the last slot of 24 bits, one past it, and one past 25 bits.
    const uint32_t slots[] = {(1u << 24) - 2, (1u << 24) - 1, (1u << 25) + 1};
    for (uint32_t s = 0; s < sizeof slots / sizeof slots[0]; s++) {
        ck_assert_int_eq(idmap_reserve(wide, slots[s], 1), OMEN_OK);
        idmap_name(wide, slots[s] - 1, 1000000 + s);
        ck_assert_uint_eq(idmap_put(wide, slots[s] - 1), IDMAP_NONE);
        for (uint32_t seen = 0; seen <= s; seen++)
            ck_assert_uint_eq(idmap_find(wide, 1000000 + seen), slots[seen] - 1);
        for (uint32_t i = 0; i < IDS; i++)
            ck_assert_uint_eq(idmap_find(wide, id_of(i)), i % 5 == 0 ? IDMAP_NONE : i);
    }
    ck_assert_uint_eq(idmap_remove(wide, 1000002), slots[2] - 1);
    ck_assert_uint_eq(idmap_find(wide, 1000002), IDMAP_NONE);
    ck_assert_uint_eq(idmap_count(wide), IDS - IDS / 5 + 2);
    idmap_close(wide);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/idmap");
    TCase *tcase = tcase_create("idmap");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, random_operations_answer_as_an_array_does, 0, 3);
    tcase_add_test(tcase, unknown_id_is_not_found);
    tcase_add_test(tcase, memory_of_a_row_stays_below_what_the_header_promises);
    tcase_add_test(tcase, ids_are_found_when_slots_outgrow_24_bits);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
