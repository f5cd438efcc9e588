// tests/unit/base/test_epoch_retire.c -- an old version ends when its readers have left, and not before.
#include <check.h>

#include "base/epoch.h"
#include "tests/lib/check_main.h"

static struct epoch gate;
static uint32_t ended;

static void
end(void *memory)
{
    (void)memory;
    ended++;
}

static void
setup(void)
{
    epoch_init(&gate);
    ended = 0;
}

START_TEST(nobody_inside_ends_it_at_once)
{
    epoch_retire(&gate, &gate, end);
    ck_assert_uint_eq(ended, 1);
    epoch_fini(&gate);
}
END_TEST

START_TEST(reader_inside_holds_it_until_it_leaves)
{
    const uint32_t ticket = epoch_enter(&gate);
    epoch_retire(&gate, &gate, end);
    epoch_reclaim(&gate);
    ck_assert_uint_eq(ended, 0);
    epoch_leave(&gate, ticket);
    epoch_reclaim(&gate);
    ck_assert_uint_eq(ended, 1);
    epoch_fini(&gate);
}
END_TEST

// Readers that come and go, one always inside, each retiring what the others may see.
START_TEST(chain_of_readers_does_not_hold_the_first_for_ever)
{
    uint32_t ticket = epoch_enter(&gate);
    for (uint32_t i = 0; i < 3 * EPOCH_RETIRED_MAX / 4; i++) {
        epoch_retire(&gate, &gate, end);
        const uint32_t next = epoch_enter(&gate);
        epoch_leave(&gate, ticket);
        epoch_reclaim(&gate);
        ticket = next;
        ck_assert_uint_le(ended, i + 1);
    }
    ck_assert_uint_gt(ended, 0);
    epoch_leave(&gate, ticket);
    epoch_wait(&gate);
    ck_assert_uint_eq(ended, 3 * EPOCH_RETIRED_MAX / 4);
    epoch_fini(&gate);
}
END_TEST

START_TEST(retired_while_a_period_is_under_way_waits_for_the_next)
{
    const uint32_t first = epoch_enter(&gate);
    epoch_retire(&gate, &gate, end);
    const uint32_t second = epoch_enter(&gate); // may see what is retired next
    epoch_retire(&gate, &gate, end);
    epoch_leave(&gate, first);
    epoch_reclaim(&gate);
    epoch_reclaim(&gate);
    ck_assert_uint_le(ended, 1);
    epoch_leave(&gate, second);
    epoch_reclaim(&gate);
    ck_assert_uint_eq(ended, 2);
    epoch_fini(&gate);
}
END_TEST

START_TEST(end_of_the_gate_ends_what_is_left)
{
    const uint32_t ticket = epoch_enter(&gate);
    for (uint32_t i = 0; i < EPOCH_RETIRED_MAX; i++)
        epoch_retire(&gate, &gate, end);
    ck_assert_uint_eq(ended, 0);
    epoch_leave(&gate, ticket);
    epoch_fini(&gate);
    ck_assert_uint_eq(ended, EPOCH_RETIRED_MAX);
}
END_TEST

START_TEST(full_list_makes_room_when_nobody_is_inside)
{
    uint32_t ticket = epoch_enter(&gate);
    for (uint32_t i = 0; i < EPOCH_RETIRED_MAX; i++)
        epoch_retire(&gate, &gate, end);
    epoch_leave(&gate, ticket);
    epoch_retire(&gate, &gate, end);
    ck_assert_uint_eq(ended, EPOCH_RETIRED_MAX + 1);
    epoch_fini(&gate);
}
END_TEST

START_TEST(trying_to_retire_never_waits)
{
    const uint32_t ticket = epoch_enter(&gate);
    for (uint32_t i = 0; i < EPOCH_RETIRED_MAX; i++)
        ck_assert(epoch_try_retire(&gate, &gate, end));
    ck_assert(!epoch_try_retire(&gate, &gate, end)); // full, and this reader is inside
    ck_assert_uint_eq(ended, 0);
    epoch_leave(&gate, ticket);
    ck_assert(epoch_try_retire(&gate, &gate, end));
    ck_assert_uint_eq(ended, EPOCH_RETIRED_MAX + 1);
    epoch_fini(&gate);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("base/epoch_retire");
    TCase *tcase = tcase_create("retire");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nobody_inside_ends_it_at_once);
    tcase_add_test(tcase, reader_inside_holds_it_until_it_leaves);
    tcase_add_test(tcase, chain_of_readers_does_not_hold_the_first_for_ever);
    tcase_add_test(tcase, retired_while_a_period_is_under_way_waits_for_the_next);
    tcase_add_test(tcase, end_of_the_gate_ends_what_is_left);
    tcase_add_test(tcase, full_list_makes_room_when_nobody_is_inside);
    tcase_add_test(tcase, trying_to_retire_never_waits);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
