// tests/unit/shard/test_shard_found.c -- hits with what belongs to them, and pages in the order of hashes.
// Labels: tsan
//
// Shape: shell.
#include "shard/shard_found.h"

#include <pthread.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

#define POINTS 400u

static struct shard *shard;
static struct omen_error error;
static float vectors[POINTS * 4];
static char names[POINTS][16];
static uint8_t payloads[POINTS][4];

#define ck_assert_done(call) ck_assert_msg((call) == OMEN_OK, "%s", error.text)

static void
open_of(bool texts)
{
    omen_options options = OMEN_OPTIONS_INIT;
    static uint64_t ids[POINTS];
    static const char *text_ids[POINTS];
    static const void *each[POINTS];
    static size_t bytes[POINTS];
    options.dimension = 4;
    options.metric = OMEN_L2;
    options.threads = 1;
    ck_assert_done(shard_open(&options, &shard, &error));
    for (uint32_t i = 0; i < POINTS; i++) {
        ids[i] = i;
        snprintf(names[i], sizeof names[i], "name %u", i);
        text_ids[i] = names[i];
        vectors[4 * i] = (float)i;
        payloads[i][0] = 0x81; // {"n": 0..4}
        payloads[i][1] = 0xa1;
        payloads[i][2] = 'n';
        payloads[i][3] = (uint8_t)(i % 5);
        each[i] = payloads[i];
        bytes[i] = 4;
    }
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = POINTS;
    batch.vectors = vectors;
    batch.payloads = each;
    batch.payload_bytes = bytes;
    if (texts)
        batch.text_ids = text_ids;
    else
        batch.ids = ids;
    ck_assert_done(shard_add(shard, &batch, &error));
}

static void
teardown(void)
{
    shard_close(shard);
    shard = NULL;
}

static uint64_t
hash_of(uint64_t id)
{
    size_t bytes = 0;
    if (!shard_has_texts(shard))
        return hash_id_u64(id);
    const char *text = shard_text(shard, id, &bytes);
    ck_assert_ptr_nonnull(text);
    return hash_id_text(text, bytes);
}

START_TEST(hits_come_with_what_is_asked_of_them)
{
    open_of(_i == 1);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    const float query[4] = {50.4f, 0, 0, 0};
    struct points *points;
    options.k = 3;
    options.report = &report;
    options.filter = "n == 0";
    ck_assert_done(
        shard_hits(shard, query, &options, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points, &error));
    static const uint32_t expected[] = {50, 55, 45};
    ck_assert_uint_eq(points_count(points), 3);
    for (size_t i = 0; i < 3; i++) {
        struct point point;
        points_at(points, i, &point);
        ck_assert_uint_eq(point.id, expected[i]); // keys of texts are counted on too
        ck_assert(((const float *)point.vector)[0] == (float)expected[i]);
        ck_assert_uint_eq(point.payload_bytes, 4);
        ck_assert_uint_eq(((const uint8_t *)point.payload)[3], 0);
    }
    ck_assert_uint_eq(report.matches, POINTS / 5);
    points_close(points);
    options.k = 0;
    ck_assert_int_eq(shard_hits(shard, query, &options, 0, &points, &error), OMEN_E_K);
    ck_assert_ptr_null(points);
}
END_TEST

START_TEST(texts_are_told_from_numbers)
{
    size_t bytes;
    open_of(_i == 1);
    ck_assert(shard_has_texts(shard) == (_i == 1));
    ck_assert((shard_text(shard, 7, &bytes) != NULL) == (_i == 1));
    ck_assert_ptr_null(shard_text(shard, 100000, &bytes));
}
END_TEST

START_TEST(counts_take_a_filter_in_either_form)
{
    bool scanned;
    uint64_t count;
    open_of(false);
    const struct shard_filter none = {.text = NULL};
    ck_assert_done(shard_count_where(shard, &none, &count, &scanned, &error));
    ck_assert_uint_eq(count, POINTS);
    ck_assert(!scanned);
    const struct shard_filter text = {.text = "n < 2junk", .bytes = 5};
    ck_assert_done(shard_count_where(shard, &text, &count, &scanned, &error));
    ck_assert_uint_eq(count, POINTS / 5 * 2);
    ck_assert(scanned);
    const struct shard_filter map = {.map = "\x81\xa1n\x03", .bytes = 4};
    ck_assert_done(shard_count_where(shard, &map, &count, &scanned, &error));
    ck_assert_uint_eq(count, POINTS / 5);
}
END_TEST

// Answers how many points came.
static uint32_t
go_through(struct shard_page page)
{
    static bool seen[POINTS];
    uint64_t before = 0;
    uint32_t count = 0;
    memset(seen, 0, sizeof seen);
    do {
        struct points *points;
        ck_assert_done(shard_page(shard, &page, &points, &error));
        ck_assert(points_count(points) <= page.limit);
        for (size_t i = 0; i < points_count(points); i++) {
            struct point point;
            points_at(points, i, &point);
            const uint64_t hash = hash_of(point.id);
            ck_assert(hash >= page.first && hash <= page.last && hash > before);
            ck_assert(!seen[point.id]);
            seen[point.id] = true;
            before = hash;
            count++;
        }
        points_close(points);
        ck_assert(!page.more || page.next > before);
        page.first = page.next;
    } while (page.more);
    return count;
}

START_TEST(pages_go_through_all_hashes_once_and_in_order)
{
    static const size_t limits[] = {1, 7, 100, POINTS, POINTS + 1, 10000};
    open_of(_i % 2 == 1);
    struct shard_page page = {.limit = limits[_i / 2], .last = UINT64_MAX};
    ck_assert_uint_eq(go_through(page), POINTS);
    page.filter = (struct shard_filter){.text = "n != 3", .bytes = 6};
    ck_assert_uint_eq(go_through(page), POINTS / 5 * 4);
    page.filter = (struct shard_filter){.text = NULL};
    page.last = UINT64_MAX / 3;
    const uint32_t third = go_through(page);
    page.first = UINT64_MAX / 3 + 1;
    page.last = UINT64_MAX;
    ck_assert_uint_eq(third + go_through(page), POINTS);
}
END_TEST

START_TEST(a_page_of_nothing_or_too_much_is_refused)
{
    struct points *points;
    open_of(false);
    struct shard_page page = {.limit = 0, .last = UINT64_MAX};
    ck_assert_int_eq(shard_page(shard, &page, &points, &error), OMEN_E_INVALID);
    page.limit = 10001;
    ck_assert_int_eq(shard_page(shard, &page, &points, &error), OMEN_E_INVALID);
    page.limit = 5;
    page.filter = (struct shard_filter){.text = "n ==", .bytes = 4};
    ck_assert_int_eq(shard_page(shard, &page, &points, &error), OMEN_E_FILTER);
    ck_assert_ptr_null(points);
}
END_TEST

START_TEST(deleted_points_are_on_no_page)
{
    size_t deleted;
    open_of(false);
    ck_assert_done(shard_delete_where(shard, "n == 1", &deleted, &error));
    ck_assert_uint_eq(deleted, POINTS / 5);
    ck_assert_uint_eq(go_through((struct shard_page){.limit = 33, .last = UINT64_MAX}),
                      POINTS - POINTS / 5);
}
END_TEST

static void *
write_beside(void *context)
{
    struct omen_error mine;
    const uint64_t *rounds = context;
    for (uint64_t i = 0; i < *rounds; i++) {
        const uint64_t first = i * 37 % (POINTS - 50);
        uint64_t ids[50];
        omen_batch batch = OMEN_BATCH_INIT;
        for (uint64_t j = 0; j < 50; j++)
            ids[j] = first + j;
        batch.count = 50;
        batch.ids = ids;
        batch.vectors = vectors + 4 * first;
        if (shard_upsert(shard, &batch, &mine) != OMEN_OK)
            return (void *)1;
    }
    return NULL;
}

// A point that is replaced meanwhile is neither missing nor there twice.
START_TEST(pages_beside_upserts_have_every_point_once)
{
    uint64_t rounds = 60;
    pthread_t writer;
    void *failed;
    open_of(false);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_beside, &rounds), 0);
    for (uint32_t i = 0; i < 10; i++) {
        struct shard_page page = {.limit = POINTS + 1, .last = UINT64_MAX};
        static bool seen[POINTS];
        struct points *points;
        memset(seen, 0, sizeof seen);
        ck_assert_done(shard_page(shard, &page, &points, &error));
        for (size_t j = 0; j < points_count(points); j++) {
            struct point point;
            points_at(points, j, &point);
            ck_assert(!seen[point.id]);
            seen[point.id] = true;
        }
        ck_assert_uint_eq(points_count(points), POINTS);
        points_close(points);
    }
    ck_assert_int_eq(pthread_join(writer, &failed), 0);
    ck_assert_ptr_null(failed);
    ck_assert_uint_eq(go_through((struct shard_page){.limit = 77, .last = UINT64_MAX}), POINTS);
}
END_TEST

static Suite *
shard_found_suite(void)
{
    Suite *suite = suite_create("shard/shard_found");
    TCase *tcase = tcase_create("shard_found");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_loop_test(tcase, hits_come_with_what_is_asked_of_them, 0, 2);
    tcase_add_loop_test(tcase, texts_are_told_from_numbers, 0, 2);
    tcase_add_test(tcase, counts_take_a_filter_in_either_form);
    tcase_add_loop_test(tcase, pages_go_through_all_hashes_once_and_in_order, 0, 12);
    tcase_add_test(tcase, a_page_of_nothing_or_too_much_is_refused);
    tcase_add_test(tcase, deleted_points_are_on_no_page);
    tcase_add_test(tcase, pages_beside_upserts_have_every_point_once);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(shard_found_suite)
