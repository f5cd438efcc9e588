// tests/unit/shard/test_idmap.c -- the id table answers as an array of ids does, through growth, tombs and full turnover.
#include <check.h>
#include <stdlib.h>

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

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/idmap");
    TCase *tcase = tcase_create("idmap");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, random_operations_answer_as_an_array_does, 0, 3);
    tcase_add_test(tcase, unknown_id_is_not_found);
    tcase_add_test(tcase, memory_of_a_row_stays_below_what_the_header_promises);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
