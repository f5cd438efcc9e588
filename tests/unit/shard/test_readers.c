// tests/unit/shard/test_readers.c -- readers are lent to one at a time, used again, and counted.
#include <check.h>

#include "shard/readers.h"
#include "tests/lib/check_main.h"

static struct readers readers;

static void
setup(void)
{
    readers_init(&readers);
}

static void
teardown(void)
{
    readers_fini(&readers);
}

START_TEST(reader_given_back_is_lent_again)
{
    struct reader *first, *second;
    ck_assert_int_eq(readers_take(&readers, 3, &first), OMEN_OK);
    ck_assert_int_eq(readers_take(&readers, 3, &second), OMEN_OK);
    ck_assert_ptr_ne(first, second);
    readers_give(&readers, 3, first);
    struct reader *again;
    ck_assert_int_eq(readers_take(&readers, 60, &again), OMEN_OK); // from another thread's place
    ck_assert_ptr_eq(again, first);
    readers_give(&readers, 60, again);
    readers_give(&readers, 3, second);
}
END_TEST

START_TEST(more_readers_than_places_are_served_and_closed)
{
    struct reader *lent[READER_PLACES + 9];
    for (uint32_t i = 0; i < READER_PLACES + 9; i++)
        ck_assert_int_eq(readers_take(&readers, i, &lent[i]), OMEN_OK);
    for (uint32_t i = 0; i < READER_PLACES + 9; i++)
        readers_give(&readers, i, lent[i]);
    struct readers_totals totals;
    readers_totals(&readers, &totals);
    ck_assert_uint_ge(totals.bytes, READER_PLACES * sizeof(struct reader));
    ck_assert_uint_eq(totals.searches, 0);
}
END_TEST

START_TEST(searches_are_counted_whoever_made_them)
{
    struct readers_totals totals;
    for (uint32_t hint = 0; hint < 2 * READER_PLACES; hint++)
        readers_count(&readers, hint, &(struct hnsw_work){.evaluations = 7},
                      &(struct hnsw_work){.evaluations = 7 + hint, .rerank_misses = hint % 2});
    readers_totals(&readers, &totals);
    ck_assert_uint_eq(totals.searches, 2 * READER_PLACES);
    ck_assert_uint_eq(totals.evaluations, READER_PLACES * (2 * READER_PLACES - 1));
    ck_assert_uint_eq(totals.rerank_misses, READER_PLACES);
}
END_TEST

START_TEST(buffers_grow_and_stay)
{
    struct reader *reader;
    ck_assert_int_eq(readers_take(&readers, 0, &reader), OMEN_OK);
    ck_assert_int_eq(reader_fit_vector(reader, 10), OMEN_OK);
    ck_assert_int_eq(reader_fit_places(reader, 9), OMEN_OK);
    ck_assert_uint_ge(reader->places_room, 18);
    ck_assert_uint_eq(reader->places_room & (reader->places_room - 1), 0);
    const float *vector = reader->vector;
    ck_assert_int_eq(reader_fit_vector(reader, 5), OMEN_OK);
    ck_assert_ptr_eq(reader->vector, vector);
    readers_give(&readers, 0, reader);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/readers");
    TCase *tcase = tcase_create("readers");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, reader_given_back_is_lent_again);
    tcase_add_test(tcase, more_readers_than_places_are_served_and_closed);
    tcase_add_test(tcase, searches_are_counted_whoever_made_them);
    tcase_add_test(tcase, buffers_grow_and_stay);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
