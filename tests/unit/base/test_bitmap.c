// tests/unit/base/test_bitmap.c -- bits against a dumb array of bools, and one bit past the end.
//
// Shape: shell.
// Labels: tsan
#include "base/bitmap.h"

#include <pthread.h>
#include <string.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"

enum { BITS = 1000, THREADS = 4 };

START_TEST(words_round_up_to_64_bits)
{
    ck_assert_uint_eq(bitmap_words(0), 0);
    ck_assert_uint_eq(bitmap_words(1), 1);
    ck_assert_uint_eq(bitmap_words(64), 1);
    ck_assert_uint_eq(bitmap_words(65), 2);
    ck_assert_uint_eq(bitmap_words(UINT32_MAX), 1u << 26);
}
END_TEST

START_TEST(random_sets_and_clears_agree_with_an_array)
{
    uint64_t words[(BITS + 63) / 64] = {0};
    bool expected[BITS] = {false};
    struct bitmap bitmap = {words, BITS};
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (int step = 0; step < 3000; step++) {
        const uint32_t i = prng_below(&prng, BITS);
        expected[i] = prng_below(&prng, 3) > 0;
        if (expected[i])
            bitmap_set(&bitmap, i);
        else
            bitmap_clear(&bitmap, i);
    }
    uint64_t population = 0;
    for (uint32_t i = 0; i < BITS; i++) {
        ck_assert_msg(bitmap_test(&bitmap, i) == expected[i], "bit %u, seed %d", i, _i);
        population += expected[i];
    }
    ck_assert_uint_eq(bitmap_population(&bitmap), population);
}
END_TEST

START_TEST(one_set_bit_shows_nowhere_else)
{
    uint64_t words[3] = {0};
    struct bitmap bitmap = {words, 130};
    for (uint32_t i = 0; i < 130; i++) {
        bitmap_set(&bitmap, i);
        for (uint32_t other = 0; other < 130; other++)
            ck_assert(bitmap_test(&bitmap, other) == (other == i));
        ck_assert_uint_eq(bitmap_population(&bitmap), 1);
        bitmap_clear(&bitmap, i);
    }
}
END_TEST

START_TEST(a_bit_past_the_end_is_not_in_the_set)
{
    uint64_t words[1] = {UINT64_MAX >> 1};
    const struct bitmap bitmap = {words, 63};
    ck_assert(bitmap_test(&bitmap, 62));
    ck_assert(!bitmap_test(&bitmap, 63));
    ck_assert(!bitmap_test(&bitmap, 64)); // its word is not ours to read
    ck_assert(!bitmap_test(&bitmap, UINT32_MAX));
}
END_TEST

struct setter {
    _Atomic uint64_t *words;
    uint32_t firsts; // how often this thread was the one to set a bit
    bool lost;       // a bit that it had just set was clear
};

static void *
set_every_bit(void *argument)
{
    struct setter *setter = argument;
    for (uint32_t i = 0; i < BITS; i++) {
        setter->firsts += atomic_bit_set(setter->words, i);
        setter->lost |= !atomic_bit_test(setter->words, i);
    }
    return NULL;
}

START_TEST(each_bit_is_set_first_by_exactly_one_of_many_threads)
{
    _Atomic uint64_t words[(BITS + 63) / 64] = {0};
    struct setter setters[THREADS];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        setters[t] = (struct setter){.words = words};
        ck_assert_int_eq(pthread_create(&threads[t], NULL, set_every_bit, &setters[t]), 0);
    }
    uint32_t firsts = 0;
    for (int t = 0; t < THREADS; t++) {
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
        firsts += setters[t].firsts;
        ck_assert(!setters[t].lost);
    }
    ck_assert_uint_eq(firsts, BITS);
}
END_TEST

static uint32_t plain[BITS];

static void *
write_and_set(void *argument)
{
    for (uint32_t i = 0; i < BITS; i++) {
        plain[i] = i + 1;
        atomic_bit_set(argument, i);
    }
    return NULL;
}

// The reads are plain: ThreadSanitizer says whether the bit orders them.
START_TEST(a_bit_seen_set_shows_what_was_written_before_it)
{
    _Atomic uint64_t words[(BITS + 63) / 64] = {0};
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_and_set, words), 0);
    uint32_t wrong = 0;
    for (int pass = 0; pass < 100; pass++)
        for (uint32_t i = 0; i < BITS; i++)
            wrong += atomic_bit_test(words, i) && plain[i] != i + 1;
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    ck_assert_uint_eq(wrong, 0);
    for (uint32_t i = 0; i < BITS; i++)
        ck_assert(atomic_bit_test(words, i));
}
END_TEST

static Suite *
bitmap_suite(void)
{
    Suite *suite = suite_create("base/bitmap");
    TCase *tcase = tcase_create("bitmap");
    tcase_add_test(tcase, words_round_up_to_64_bits);
    tcase_add_loop_test(tcase, random_sets_and_clears_agree_with_an_array, 0, 8);
    tcase_add_test(tcase, one_set_bit_shows_nowhere_else);
    tcase_add_test(tcase, a_bit_past_the_end_is_not_in_the_set);
    tcase_add_test(tcase, a_bit_seen_set_shows_what_was_written_before_it);
    tcase_add_test(tcase, each_bit_is_set_first_by_exactly_one_of_many_threads);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(bitmap_suite)
