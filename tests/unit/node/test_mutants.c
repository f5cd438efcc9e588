// tests/unit/node/test_mutants.c -- the deliberate error of a node's admission is one that its claims see.
//
// Shape: shell. Links the machine with OMEN_TESTING.
#include "base/bug.h"
#include "node/admit.h"
#include "tests/lib/check_main.h"

START_TEST(a_read_that_was_routed_by_an_old_map_is_answered_only_by_mistake)
{
    struct copy copy = {.env = {.uuid = {1, 2}, .shard = 7},
                        .made = true,
                        .named = true,
                        .row = {.id = 7, .last = 200, .cfg_ver = 9, .status = SHARD_RETIRED}};
    struct copy *rows[] = {&copy};
    const struct copies copies = {.rows = rows, .count = 1, .room = 1, .node = 1};
    struct fanout_send request = {.kind = FANOUT_SEARCH,
                                  .consistency = FANOUT_STRONG,
                                  .copy_high = 1,
                                  .copy_low = 2,
                                  .shard = 7,
                                  .cfg_ver = 8,
                                  .last = 200};
    ck_assert_int_eq(copies_admit(&copies, &request).status, OMEN_E_STALE_MAP);
    bug_choose(BUG_STALE_ROUTE);
    ck_assert_int_eq(copies_admit(&copies, &request).how, ADMIT_SERVE);
    request.kind = FANOUT_WRITE;
    ck_assert_int_eq(copies_admit(&copies, &request).status, OMEN_E_STALE_MAP);
}
END_TEST

static Suite *
mutants_suite(void)
{
    Suite *suite = suite_create("node/mutants");
    TCase *tcase = tcase_create("mutants");
    tcase_add_test(tcase, a_read_that_was_routed_by_an_old_map_is_answered_only_by_mistake);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(mutants_suite)
