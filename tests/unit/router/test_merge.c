// tests/unit/router/test_merge.c -- merged lists are what sorting all of them gives.
//
// Shape: shell.
#include "router/merge.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

#define LISTS 40u
#define HITS 60u

static struct merge_hit pool[LISTS][HITS], merged[LISTS * HITS], dumb[LISTS * HITS];
static struct merge_list lists[LISTS];
static uint64_t scratch[16384];

static const char *const texts[] = {"a", "ab", "abc", "b", "ba", "c", "\xc3\xa6", "zz"};

static struct merge_hit
number_hit(float distance, uint64_t number, uint64_t version)
{
    return (struct merge_hit){.distance = distance, .number = number, .version = version};
}

static struct merge_hit
text_hit(float distance, const char *text, uint64_t version)
{
    return (struct merge_hit){.distance = distance,
                              .text = text,
                              .text_bytes = (uint32_t)strlen(text),
                              .version = version};
}

static uint32_t
merge(uint32_t list_count, uint32_t k)
{
    size_t hits = 0;
    for (uint32_t i = 0; i < list_count; i++)
        hits += lists[i].count;
    const size_t words = merge_scratch_words(list_count, hits);
    ck_assert_uint_le(words, sizeof scratch / sizeof *scratch);
    memset(scratch, 0xa5, sizeof scratch);
    const uint32_t count = merge_hits(&(struct merge_input){lists, list_count, k}, scratch, merged);
    bool kept = true; // no more than it said
    for (size_t i = words; i < sizeof scratch / sizeof *scratch; i++)
        kept &= scratch[i] == 0xa5a5a5a5a5a5a5a5ull;
    ck_assert(kept);
    return count;
}

static int
by_distance(const void *a, const void *b)
{
    const struct merge_hit *left = a, *right = b;
    if (left->distance != right->distance)
        return left->distance < right->distance ? -1 : 1;
    return merge_id_compare(left, right);
}

// All in one heap; of each id only the newest version, of equal versions the nearest; sorted; cut off.
static uint32_t
merge_dumb(uint32_t list_count, uint32_t k)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < list_count; i++)
        for (uint32_t j = 0; j < lists[i].count; j++) {
            const struct merge_hit *hit = &lists[i].hits[j];
            uint32_t at = 0;
            while (at < count && merge_id_compare(&dumb[at], hit) != 0)
                at++;
            if (at == count)
                dumb[count++] = *hit;
            else if (hit->version > dumb[at].version ||
                     (hit->version == dumb[at].version && hit->distance < dumb[at].distance))
                dumb[at] = *hit;
        }
    qsort(dumb, count, sizeof *dumb, by_distance);
    return count < k ? count : k;
}

static void
draw_list(struct prng *prng, uint32_t at, bool words)
{
    const uint32_t count = prng_below(prng, HITS + 1);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const float distance = (float)prng_below(prng, 20) - 5.0f;
        const uint64_t version = 1 + prng_below(prng, 4);
        pool[at][i] = words ? text_hit(distance, texts[prng_below(prng, 8)], version)
                            : number_hit(distance, prng_below(prng, 200), version);
    }
    qsort(pool[at], count, sizeof *pool[at], by_distance);
    for (uint32_t i = 0; i < count; i++) // a list says nothing twice
        if (kept == 0 || by_distance(&pool[at][kept - 1], &pool[at][i]) != 0)
            pool[at][kept++] = pool[at][i];
    lists[at] = (struct merge_list){pool[at], kept};
    ck_assert(merge_list_is_sound(&lists[at]));
}

START_TEST(merging_is_sorting_everything)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    const uint32_t count = prng_below(&prng, LISTS + 1);
    for (uint32_t i = 0; i < count; i++)
        draw_list(&prng, i, _i % 2 == 1);
    const uint32_t k = 1 + prng_below(&prng, 300);
    const uint32_t expected = merge_dumb(count, k);
    ck_assert_uint_eq(merge(count, k), expected);
    for (uint32_t i = 0; i < expected; i++) {
        ck_assert_msg(by_distance(&merged[i], &dumb[i]) == 0, "hit %u", i);
        ck_assert_uint_eq(merged[i].version, dumb[i].version);
    }
}
END_TEST

START_TEST(the_newest_version_wins_although_an_older_one_lies_nearer)
{
    const struct merge_hit old[] = {number_hit(1, 7, 3), number_hit(4, 8, 1)};
    const struct merge_hit new[] = {number_hit(2, 9, 1), number_hit(9, 7, 4)};
    lists[0] = (struct merge_list){old, 2};
    lists[1] = (struct merge_list){new, 2};
    ck_assert_uint_eq(merge(2, 10), 3);
    ck_assert_uint_eq(merged[0].number, 9);
    ck_assert_uint_eq(merged[1].number, 8);
    ck_assert_uint_eq(merged[2].number, 7);
    ck_assert_uint_eq(merged[2].version, 4);
}
END_TEST

START_TEST(where_the_nearest_are_all_old_those_behind_them_are_found)
{
    struct merge_hit old[HITS], new[HITS];
    for (uint32_t i = 0; i < HITS; i++) {
        old[i] = number_hit((float)i, i, 1);
        new[i] = number_hit(1000.0f + (float)i, i, 2);
    }
    lists[0] = (struct merge_list){old, HITS};
    lists[1] = (struct merge_list){new, HITS};
    ck_assert_uint_eq(merge(2, 3), 3);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(merged[i].number, i);
        ck_assert_uint_eq(merged[i].version, 2);
    }
}
END_TEST

START_TEST(the_same_version_from_two_owners_is_one_hit)
{
    const struct merge_hit one[] = {number_hit(1, 7, 3)};
    lists[0] = lists[1] = (struct merge_list){one, 1};
    ck_assert_uint_eq(merge(2, 10), 1);
    ck_assert_uint_eq(merged[0].number, 7);
}
END_TEST

START_TEST(equal_distances_come_in_the_order_of_ids)
{
    const struct merge_hit one[] = {number_hit(1, 5, 1), number_hit(1, 9, 1)};
    const struct merge_hit two[] = {number_hit(1, 2, 1), number_hit(1, 7, 1)};
    lists[0] = (struct merge_list){one, 2};
    lists[1] = (struct merge_list){two, 2};
    ck_assert_uint_eq(merge(2, 3), 3);
    ck_assert_uint_eq(merged[0].number, 2);
    ck_assert_uint_eq(merged[1].number, 5);
    ck_assert_uint_eq(merged[2].number, 7);
}
END_TEST

START_TEST(distances_of_either_sign_are_in_order_and_both_zeros_are_one)
{
    static const float order[] = {-INFINITY, -1e30f, -2.0f, -1e-40f, 0.0f,
                                  1e-40f,    1e-3f,  2.0f,  1e30f,   INFINITY};
    enum { KINDS = sizeof order / sizeof *order };
    struct merge_hit some[KINDS], zeros[] = {number_hit(-0.0f, 3, 1), number_hit(-0.0f, 50, 1)};
    for (uint32_t i = 0; i < KINDS; i++) {
        some[i] = number_hit(order[i], 10 + i, 1);
        lists[KINDS - i] = (struct merge_list){&some[i], 1};
    }
    lists[0] = (struct merge_list){zeros, 2};
    ck_assert_uint_eq(merge(KINDS + 1, 100), KINDS + 2);
    for (uint32_t i = 0; i < KINDS; i++)
        ck_assert_uint_eq(merged[i + (i >= 4) + (i > 4)].number, 10 + i);
    ck_assert_uint_eq(merged[4].number, 3); // by their ids, not by their signs
    ck_assert_uint_eq(merged[6].number, 50);
}
END_TEST

START_TEST(numbers_come_before_texts_and_a_beginning_before_the_whole)
{
    const struct merge_hit number = number_hit(0, UINT64_MAX, 1);
    const struct merge_hit a = text_hit(0, "a", 1), ab = text_hit(0, "ab", 1),
                           b = text_hit(0, "b", 1);
    ck_assert_int_lt(merge_id_compare(&number, &a), 0);
    ck_assert_int_gt(merge_id_compare(&a, &number), 0);
    ck_assert_int_lt(merge_id_compare(&a, &ab), 0);
    ck_assert_int_gt(merge_id_compare(&ab, &a), 0);
    ck_assert_int_lt(merge_id_compare(&ab, &b), 0);
    ck_assert_int_eq(merge_id_compare(&ab, &ab), 0);
}
END_TEST

START_TEST(nothing_merged_is_nothing)
{
    ck_assert_uint_eq(merge(0, 10), 0);
    lists[0] = lists[1] = (struct merge_list){NULL, 0};
    ck_assert_uint_eq(merge(2, 10), 0);
}
END_TEST

START_TEST(what_comes_along_stays_with_its_hit)
{
    int payload;
    struct merge_hit one = number_hit(1, 7, 3);
    one.more = &payload;
    lists[0] = (struct merge_list){&one, 1};
    ck_assert_uint_eq(merge(1, 1), 1);
    ck_assert_ptr_eq(merged[0].more, &payload);
}
END_TEST

START_TEST(a_list_that_makes_no_sense_is_seen)
{
    struct merge_hit hits[] = {number_hit(1, 7, 3), number_hit(1, 8, 3)};
    struct merge_list list = {hits, 2};
    ck_assert(merge_list_is_sound(&list));
    ck_assert(merge_list_is_sound(&(struct merge_list){NULL, 0}));
    ck_assert(!merge_list_is_sound(&(struct merge_list){NULL, 1}));
    hits[1].number = 7; // twice the same
    ck_assert(!merge_list_is_sound(&list));
    hits[1] = number_hit(0.5f, 9, 3); // not in order
    ck_assert(!merge_list_is_sound(&list));
    hits[1] = number_hit(NAN, 9, 3);
    ck_assert(!merge_list_is_sound(&list));
    hits[1] = number_hit(INFINITY, 9, 3);
    ck_assert(merge_list_is_sound(&list));
    hits[1].text_bytes = 1; // a text that is not there
    ck_assert(!merge_list_is_sound(&list));
    hits[1].text = "x";
    ck_assert(merge_list_is_sound(&list));
    hits[1].text_bytes = ID_TEXT_BYTES_MAX + 1;
    ck_assert(!merge_list_is_sound(&list));
}
END_TEST

static Suite *
merge_suite(void)
{
    Suite *suite = suite_create("router/merge");
    TCase *tcase = tcase_create("merge");
    tcase_add_loop_test(tcase, merging_is_sorting_everything, 0, 300);
    tcase_add_test(tcase, the_newest_version_wins_although_an_older_one_lies_nearer);
    tcase_add_test(tcase, where_the_nearest_are_all_old_those_behind_them_are_found);
    tcase_add_test(tcase, the_same_version_from_two_owners_is_one_hit);
    tcase_add_test(tcase, equal_distances_come_in_the_order_of_ids);
    tcase_add_test(tcase, distances_of_either_sign_are_in_order_and_both_zeros_are_one);
    tcase_add_test(tcase, numbers_come_before_texts_and_a_beginning_before_the_whole);
    tcase_add_test(tcase, nothing_merged_is_nothing);
    tcase_add_test(tcase, what_comes_along_stays_with_its_hit);
    tcase_add_test(tcase, a_list_that_makes_no_sense_is_seen);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(merge_suite)
