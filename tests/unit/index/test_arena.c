// tests/unit/index/test_arena.c -- rows that never move, and memory that is refused.
#include <string.h>

#include "base/alloc.h"
#include "index/arena.h"
#include "tests/lib/check_main.h"

START_TEST(new_rows_are_zero_and_rows_keep_what_is_written)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 24, 200000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_OK);
    static const uint8_t zeros[24] = {0};
    for (uint32_t slot = 0; slot < 200000; slot += 101) {
        ck_assert_mem_eq(arena_row(&arena, slot), zeros, 24);
        memset(arena_row(&arena, slot), (int)(slot % 251) + 1, 24);
    }
    for (uint32_t slot = 0; slot < 200000; slot += 101) {
        uint8_t want[24];
        memset(want, (int)(slot % 251) + 1, 24);
        ck_assert_mem_eq(arena_row(&arena, slot), want, 24);
    }
    arena_fini(&arena);
}
END_TEST

START_TEST(rows_stay_where_they_are_when_the_arena_grows)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 8, 300000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 1), OMEN_OK);
    uint8_t *const first = arena_row(&arena, 0), *const last = arena_row(&arena, arena.mask);
    ck_assert_int_eq(arena_reserve(&arena, 300000), OMEN_OK);
    ck_assert_ptr_eq(arena_row(&arena, 0), first);
    ck_assert_ptr_eq(arena_row(&arena, arena.mask), last);
    ck_assert_int_eq(arena_reserve(&arena, 10), OMEN_OK); // less than there is: nothing happens
    ck_assert_ptr_eq(arena_row(&arena, 0), first);
    arena_fini(&arena);
}
END_TEST

START_TEST(neighbouring_rows_do_not_overlap_at_the_edge_of_a_chunk)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 100, 140000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 140000), OMEN_OK);
    const uint32_t edge = arena.mask + 1;
    for (uint32_t slot = edge - 2; slot < edge + 2; slot++)
        memset(arena_row(&arena, slot), (int)(slot - edge + 10), 100);
    for (uint32_t slot = edge - 2; slot < edge + 2; slot++)
        for (uint32_t i = 0; i < 100; i++)
            ck_assert_uint_eq(arena_row(&arena, slot)[i], (slot - edge + 10) & 0xff);
    arena_fini(&arena);
}
END_TEST

START_TEST(wide_rows_get_smaller_chunks)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 65536 * 4, 1000), OMEN_OK);
    ck_assert_uint_le(arena.row_bytes * (arena.mask + 1), (size_t)64 << 20);
    ck_assert_int_eq(arena_reserve(&arena, 300), OMEN_OK);
    for (uint32_t slot = 0; slot < 300; slot += 50)
        arena_row(&arena, slot)[arena.row_bytes - 1] = 7;
    arena_fini(&arena);
}
END_TEST

START_TEST(every_last_slot_can_be_reserved)
{
    static const uint32_t counts[] = {1, 2, 65535, 65536, 65537, 131072};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct arena arena;
        ck_assert_int_eq(arena_init(&arena, 32, counts[i]), OMEN_OK);
        ck_assert_int_eq(arena_reserve(&arena, counts[i]), OMEN_OK);
        arena_row(&arena, counts[i] - 1)[31] = 1;
        ck_assert_uint_eq(arena.chunk_count, arena.chunks_max);
        arena_fini(&arena);
    }
}
END_TEST

START_TEST(refused_memory_leaves_what_was_there)
{
    struct arena arena;
    mem_fail_after(1);
    ck_assert_int_eq(arena_init(&arena, 32, 200000), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    arena_fini(&arena);

    ck_assert_int_eq(arena_init(&arena, 32, 200000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&arena, 100), OMEN_OK);
    arena_row(&arena, 99)[0] = 42;
    mem_fail_after(2);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_uint_eq(arena_row(&arena, 99)[0], 42);
    ck_assert_int_eq(arena_reserve(&arena, 200000), OMEN_OK);
    ck_assert_uint_eq(arena_row(&arena, 99)[0], 42);
    arena_fini(&arena);
}
END_TEST

START_TEST(an_arena_of_zeros_can_be_ended)
{
    struct arena arena = {0};
    arena_fini(&arena);
    ck_assert_ptr_null(arena.chunks);
}
END_TEST

START_TEST(bytes_count_whole_pages_of_rows_in_use)
{
    struct arena arena;
    ck_assert_int_eq(arena_init(&arena, 96, 100000), OMEN_OK);
    const size_t none = arena_bytes(&arena, 0);
    ck_assert_uint_eq(arena_bytes(&arena, 1) - none, 4096);
    ck_assert_uint_eq(arena_bytes(&arena, 43) - none, 8192); // 4,128 bytes
    ck_assert_uint_lt(none, 4096);
    arena_fini(&arena);
}
END_TEST

static Suite *
arena_suite(void)
{
    Suite *suite = suite_create("arena");
    TCase *tcase = tcase_create("arena");
    tcase_add_test(tcase, new_rows_are_zero_and_rows_keep_what_is_written);
    tcase_add_test(tcase, rows_stay_where_they_are_when_the_arena_grows);
    tcase_add_test(tcase, neighbouring_rows_do_not_overlap_at_the_edge_of_a_chunk);
    tcase_add_test(tcase, wide_rows_get_smaller_chunks);
    tcase_add_test(tcase, every_last_slot_can_be_reserved);
    tcase_add_test(tcase, refused_memory_leaves_what_was_there);
    tcase_add_test(tcase, an_arena_of_zeros_can_be_ended);
    tcase_add_test(tcase, bytes_count_whole_pages_of_rows_in_use);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(arena_suite)
