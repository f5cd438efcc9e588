// tests/unit/node/test_mutants.c -- a snapshot that forgets what was deleted is caught by comparing what both ends hold, and
// a read that an old map routed by who is asked.
//
// Shape: shell. Links the machines with OMEN_TESTING. NODE_TABLE=1 prints how many seeds it took.
#include "base/prng.h"
#include "node/admit.h"
#include "tests/lib/check_main.h"
#include "tests/lib/mutants.h"
#include "tests/lib/sim_table.h"

static const struct sim_range whole = {0, UINT64_MAX / 2};

// A copy follows for a while, then lags, then gets a snapshot. True: it does not hold the same.
static bool
differs(uint64_t seed)
{
    struct prng prng;
    struct sim_table ahead = {0}, behind = {0};
    prng_init(&prng, seed);
    const uint64_t follows = 1 + prng_below(&prng, 20), last = follows + prng_below(&prng, 20);
    for (uint64_t seq = 1; seq <= last; seq++) {
        const uint32_t key = prng_below(&prng, SIM_SHARD_KEYS);
        ahead.cells[key] =
            (struct sim_cell){.seq = seq, .op = seq, .erased = prng_below(&prng, 4) == 0};
        if (seq <= follows)
            behind = ahead;
    }
    const struct sim_table snapshot = sim_table_save(&ahead);
    sim_table_load(&behind, &snapshot, whole);
    return memcmp(&behind, &ahead, sizeof ahead) != 0;
}

START_TEST(a_snapshot_that_forgets_what_was_deleted_is_caught)
{
    mutant_check(BUG_FORGET_TOMBSTONE, differs, "NODE_TABLE");
}
END_TEST

START_TEST(a_snapshot_with_what_was_deleted_makes_both_ends_alike)
{
    bug_choose(BUG_NONE);
    ck_assert_msg(!differs((uint64_t)_i), "seed %d", _i);
}
END_TEST

START_TEST(a_half_takes_its_own_keys_only)
{
    bug_choose(BUG_NONE);
    struct sim_table from = {0}, to = {0};
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        from.cells[key] = (struct sim_cell){.seq = key + 1, .op = 7};
    sim_table_load(&to, &from, (struct sim_range){UINT64_C(1) << 62, UINT64_MAX / 2});
    ck_assert_uint_eq(to.cells[0].seq + to.cells[1].seq, 0);
    ck_assert_uint_eq(to.cells[2].seq, 3);
    ck_assert_uint_eq(to.cells[3].seq, 4);
}
END_TEST

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
    tcase_add_test(tcase, a_snapshot_that_forgets_what_was_deleted_is_caught);
    tcase_add_loop_test(tcase, a_snapshot_with_what_was_deleted_makes_both_ends_alike, 0, 200);
    tcase_add_test(tcase, a_half_takes_its_own_keys_only);
    tcase_add_test(tcase, a_read_that_was_routed_by_an_old_map_is_answered_only_by_mistake);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(mutants_suite)
