// tests/unit/shard/test_filter_cache.c -- an answer is found for its filter, form, version and generation, and no other.
#include <check.h>
#include <string.h>

#include "shard/filter_cache.h"
#include "tests/lib/check_main.h"

static struct epoch gate;
static struct filter_cache cache;
static uint64_t words[2] = {0x5, 0x1};
static struct filter_answer answer = {
    .allowed = {.words = words, .count = 70}, .count = 3, .scanned = true};

static void
setup(void)
{
    epoch_init(&gate);
    filter_cache_init(&cache, &gate);
}

static void
teardown(void)
{
    filter_cache_fini(&cache);
    epoch_fini(&gate);
}

static struct filter_key
key_of(const char *text)
{
    return (struct filter_key){.form = FILTER_FORM_TEXT,
                               .bytes = text,
                               .count = strlen(text),
                               .generation = 1,
                               .version = 5};
}

static bool
finds(const struct filter_key *key, struct filter_answer *out)
{
    const uint32_t ticket = epoch_enter(&gate);
    const bool found = filter_cache_find(&cache, key, out);
    epoch_leave(&gate, ticket);
    return found;
}

START_TEST(answer_is_copied_and_found_again)
{
    char text[] = "age > 3";
    struct filter_key key = key_of(text);
    struct filter_answer out;
    ck_assert(!finds(&key, &out));
    filter_cache_keep(&cache, &key, &answer);
    memset(text, 'x', strlen(text));
    key = key_of("age > 3");
    ck_assert(finds(&key, &out));
    ck_assert_uint_eq(out.count, 3);
    ck_assert(out.scanned);
    ck_assert_uint_eq(out.allowed.count, 70);
    ck_assert_ptr_ne(out.allowed.words, words);
    ck_assert_mem_eq(out.allowed.words, words, sizeof words);
    ck_assert_uint_gt(filter_cache_bytes(&cache), sizeof words);
}
END_TEST

START_TEST(another_state_or_form_is_not_answered)
{
    struct filter_answer out;
    const struct filter_key key = key_of("age > 3");
    filter_cache_keep(&cache, &key, &answer);
    struct filter_key other = key;
    other.version++;
    ck_assert(!finds(&other, &out));
    other = key;
    other.generation++;
    ck_assert(!finds(&other, &out));
    other = key;
    other.form = FILTER_FORM_MAP;
    ck_assert(!finds(&other, &out));
    other = key;
    other.count--;
    ck_assert(!finds(&other, &out));
    ck_assert(finds(&key, &out));
}
END_TEST

START_TEST(least_recently_used_goes_first)
{
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct filter_answer out;
    struct filter_key key;
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++) {
        key = key_of(texts[i]);
        filter_cache_keep(&cache, &key, &answer);
    }
    key = key_of("a");
    ck_assert(finds(&key, &out));
    key = key_of("new");
    filter_cache_keep(&cache, &key, &answer);
    ck_assert(finds(&key, &out));
    key = key_of("a");
    ck_assert(finds(&key, &out));
    key = key_of("b");
    ck_assert(!finds(&key, &out));
}
END_TEST

START_TEST(newer_answer_takes_the_place_of_the_older)
{
    struct filter_answer out;
    struct filter_key key = key_of("a");
    filter_cache_keep(&cache, &key, &answer);
    const size_t bytes = filter_cache_bytes(&cache);
    key.version++;
    filter_cache_keep(&cache, &key, &answer);
    ck_assert_uint_eq(filter_cache_bytes(&cache), bytes);
    ck_assert(finds(&key, &out));
}
END_TEST

START_TEST(keeping_does_not_wait_for_readers_and_loses_nothing)
{
    const uint32_t ticket = epoch_enter(&gate);
    struct filter_key key = key_of("a");
    for (uint32_t i = 0; i < EPOCH_RETIRED_MAX + 2 * FILTER_CACHE_ATTIC; i++) {
        key.version++;
        filter_cache_keep(&cache, &key, &answer); // the reader inside holds every old one
    }
    ck_assert_uint_eq(cache.attic_count, FILTER_CACHE_ATTIC);
    epoch_leave(&gate, ticket);
    filter_cache_keep(&cache, &key, &answer);
    ck_assert_uint_eq(cache.attic_count, 0);
    struct filter_answer out;
    ck_assert(finds(&key, &out));
}
END_TEST

START_TEST(empty_answer_can_be_kept)
{
    const struct filter_answer none = {.allowed = {.words = NULL, .count = 0}};
    struct filter_answer out;
    const struct filter_key key = key_of("a");
    filter_cache_keep(&cache, &key, &none);
    ck_assert(finds(&key, &out));
    ck_assert_uint_eq(out.allowed.count, 0);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/filter_cache");
    TCase *tcase = tcase_create("filter_cache");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, answer_is_copied_and_found_again);
    tcase_add_test(tcase, another_state_or_form_is_not_answered);
    tcase_add_test(tcase, least_recently_used_goes_first);
    tcase_add_test(tcase, newer_answer_takes_the_place_of_the_older);
    tcase_add_test(tcase, keeping_does_not_wait_for_readers_and_loses_nothing);
    tcase_add_test(tcase, empty_answer_can_be_kept);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
