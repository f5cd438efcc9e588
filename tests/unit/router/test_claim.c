// tests/unit/router/test_claim.c -- which writes wait for a kind of ids, which are refused, and which go on.
//
// Shape: value.
#include "router/claim.h"

#include "tests/lib/check_main.h"

static enum claim
judge(uint8_t known, uint8_t given, bool makes_points)
{
    return claim_judge(
        &(struct claim_write){.known = known, .given = given, .makes_points = makes_points});
}

START_TEST(a_write_of_the_maps_kind_goes_on_and_one_of_the_other_is_refused)
{
    const uint8_t given = _i == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT;
    const uint8_t other = _i == 0 ? MAP_IDS_TEXT : MAP_IDS_INTEGER;
    for (int makes_points = 0; makes_points < 2; makes_points++) {
        ck_assert_int_eq(judge(given, given, makes_points != 0), CLAIM_GOES_ON);
        ck_assert_int_eq(judge(other, given, makes_points != 0), CLAIM_REFUSED);
        ck_assert_int_eq(judge(MAP_IDS_UNKEPT, given, makes_points != 0), CLAIM_GOES_ON);
    }
}
END_TEST

START_TEST(who_makes_the_first_points_waits_and_nobody_else)
{
    const uint8_t given = _i == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT;
    ck_assert_int_eq(judge(MAP_IDS_OPEN, given, true), CLAIM_WAITS);
    ck_assert_int_eq(judge(MAP_IDS_OPEN, given, false), CLAIM_GOES_ON);
}
END_TEST

START_TEST(a_claim_is_decided_when_its_collection_has_a_kind_or_is_gone)
{
    struct map_collection row = {.id = 7, .id_kind = MAP_IDS_OPEN};
    const struct map map = {.collections = &row, .collection_count = 1};
    ck_assert(!claim_is_decided(&map, 7));
    ck_assert(claim_is_decided(&map, 8));
    row.id_kind = MAP_IDS_TEXT;
    ck_assert(claim_is_decided(&map, 7));
}
END_TEST

static Suite *
claim_suite(void)
{
    Suite *suite = suite_create("router/claim");
    TCase *tcase = tcase_create("claim");
    tcase_add_loop_test(tcase, a_write_of_the_maps_kind_goes_on_and_one_of_the_other_is_refused, 0,
                        2);
    tcase_add_loop_test(tcase, who_makes_the_first_points_waits_and_nobody_else, 0, 2);
    tcase_add_test(tcase, a_claim_is_decided_when_its_collection_has_a_kind_or_is_gone);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(claim_suite)
