// tests/unit/node/test_quota.c -- a shard's part of its collection's quota, and what still fits.
//
// Shape: shell.
#include "node/quota.h"

#include <string.h>

#include "tests/lib/check_main.h"

static struct map_collection collection;
static struct map_shard shard;
static struct quota_used used;
static struct omen_error error;

static void
begin(void)
{
    collection = (struct map_collection){.name = {4, "docs"}};
    shard = (struct map_shard){.id = 7, .first = 0, .last = UINT64_MAX};
    used = (struct quota_used){.known = true};
}

static omen_status
check(uint64_t adds)
{
    return quota_check(&collection, &shard, &used, adds, &error);
}

START_TEST(what_fills_a_quota_fits_and_a_byte_more_does_not)
{
    const enum map_quota quota = (enum map_quota)_i;
    begin();
    collection.quotas[quota] = 1000;
    used.bytes[quota] = 600;
    used.bytes[MAP_QUOTAS - 1 - quota] = 5000; // of which there is no quota
    used.since = 300;
    ck_assert_int_eq(check(100), OMEN_OK);
    ck_assert_int_eq(check(101), OMEN_E_QUOTA);
    used.since = 400;
    ck_assert_int_eq(check(0), OMEN_OK);
    ck_assert_int_eq(check(1), OMEN_E_QUOTA);
    used.since = 401;
    ck_assert_int_eq(check(0), OMEN_E_QUOTA);
}
END_TEST

START_TEST(who_is_refused_is_told_which_quota_and_what_there_is)
{
    begin();
    collection.quotas[QUOTA_DISK] = 1000;
    used.bytes[QUOTA_DISK] = 990;
    ck_assert_int_eq(check(11), OMEN_E_QUOTA);
    ck_assert_str_eq(error.text,
                     "disk_quota of the collection 'docs' is 1000 bytes, of which shard 7 may have "
                     "1000 and has 990 on disk; deletes go on, and what they free is there after a "
                     "compaction");
}
END_TEST

START_TEST(without_a_quota_nothing_is_asked_and_with_one_it_is_measured_first)
{
    begin();
    used.known = false;
    ck_assert_int_eq(check(UINT64_MAX), OMEN_OK);
    collection.quotas[QUOTA_MEMORY] = UINT64_MAX;
    ck_assert_int_eq(check(1), OMEN_E_BUSY);
    used.known = true;
    ck_assert_int_eq(check(1), OMEN_OK);
    used.bytes[QUOTA_MEMORY] = used.since = UINT64_MAX; // no sum runs over
    collection.quotas[QUOTA_MEMORY]--;
    ck_assert_int_eq(check(UINT64_MAX), OMEN_E_QUOTA);
}
END_TEST

// However it is cut, the parts make up no more than the whole, and each shard has something.
START_TEST(shards_have_parts_as_large_as_their_ranges)
{
    ck_assert_uint_eq(quota_share(UINT64_MAX, 0, UINT64_MAX), UINT64_MAX);
    ck_assert_uint_eq(quota_share(1, 0, UINT64_MAX), 1);
    ck_assert_uint_eq(quota_share(1000, 0, UINT64_MAX / 2), 500);
    ck_assert_uint_eq(quota_share(1000, UINT64_MAX / 4 * 3 + 3, UINT64_MAX), 250);
    ck_assert_uint_eq(quota_share(1000, 5, 5), 1);
    ck_assert_uint_eq(quota_share(UINT64_MAX, 5, 5), 1);
    uint64_t total = 0;
    for (uint64_t i = 0; i < 1024; i++) {
        const uint64_t width = UINT64_C(1) << 54;
        total += quota_share(1000003, i * width, i * width + (width - 1));
    }
    ck_assert_uint_le(total, 1000003);
    ck_assert_uint_ge(total, 1000003 - 1024);
}
END_TEST

static Suite *
node_quota_suite(void)
{
    Suite *suite = suite_create("node/quota");
    TCase *tcase = tcase_create("quota");
    tcase_add_loop_test(tcase, what_fills_a_quota_fits_and_a_byte_more_does_not, 0, MAP_QUOTAS);
    tcase_add_test(tcase, who_is_refused_is_told_which_quota_and_what_there_is);
    tcase_add_test(tcase, without_a_quota_nothing_is_asked_and_with_one_it_is_measured_first);
    tcase_add_test(tcase, shards_have_parts_as_large_as_their_ranges);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_quota_suite)
