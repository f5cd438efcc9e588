// tests/unit/node/test_serve.c -- a front over hosted shards in files: each method's way from a client's bytes to the rows and back.
// Labels: tsan
//
// Shape: shell. One process: parts are proposed, applied and answered at once.
#include "node/serve.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/pool.h"
#include "index/vector.h"
#include "tests/lib/check_main.h"
#include "tests/lib/serve_world.h"
#include "wire/found.h"

#define POINTS 90u
#define MANY_QUERIES 200u // of which several threads have a part

static struct folder folder;
static struct sw *sw;

static void
setup(void)
{
    folder_init(&folder);
    sw = NULL;
}

static void
teardown(void)
{
    if (sw != NULL)
        sw_close(sw);
    folder_fini(&folder);
}

static void
open_of(uint32_t shards, omen_dtype dtype)
{
    sw = sw_open(&folder, &(struct sw_config){
                              .shards = shards, .metric = OMEN_L2, .dtype = dtype, .dimension = 4});
}

#define LOOP_SHARDS(i) ((i) == 0 ? 1u : 3u)
#define ASK .collection = {"docs", 4}

static float vectors[POINTS * 4];
static uint8_t maps[POINTS][16];

// {"n": i, "tag": "a".."c"}
static struct wire_bytes
payload_of(uint32_t i)
{
    const uint8_t map[] = {
        0x82, 0xa1, 'n', 0xcc, (uint8_t)i, 0xa3, 't', 'a', 'g', 0xa1, (uint8_t)('a' + i % 3)};
    memcpy(maps[i], map, sizeof map);
    return (struct wire_bytes){maps[i], sizeof map};
}

static struct wire_vectors
raw(const float *values, uint32_t count)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = count,
                                 .bytes = {(const uint8_t *)values, count * 4}};
}

static struct wire_filter
filter_of(const char *text)
{
    return (struct wire_filter){.form = FILTER_FORM_TEXT,
                                .bytes = {(const uint8_t *)text, (uint32_t)strlen(text)}};
}

static struct wire_id ids[POINTS];
static char names[POINTS][8];

// Points at (i, 0, 0, 0).
static const struct api_written *
fill(bool texts)
{
    static struct wire_bytes payloads[POINTS];
    for (uint32_t i = 0; i < POINTS; i++) {
        snprintf(names[i], sizeof names[i], "p%02u", i);
        ids[i] = texts ? (struct wire_id){.given = 1, .text = names[i], .text_bytes = 3}
                       : (struct wire_id){.given = 1, .number = i};
        vectors[4 * i] = (float)i;
        payloads[i] = payload_of(i);
    }
    const struct api_point_upsert ask = {ASK, .ids = {.count = POINTS, .items = ids},
                                         .vectors = raw(vectors, 4 * POINTS),
                                         .payloads = {.count = POINTS, .items = payloads}};
    return sw_call(sw, METHOD_POINT_UPSERT, &ask);
}

static void
refused(enum method_number method, const void *ask, omen_status status, const char *words)
{
    ck_assert_ptr_null(sw_call(sw, method, ask));
    ck_assert_msg(sw->error.status == status, "%d: %.*s", sw->error.status,
                  (int)sw->error.message.count, sw->error.message.bytes);
    ck_assert_msg(memmem(sw->error.message.bytes, sw->error.message.count, words, strlen(words)) !=
                      NULL,
                  "%.*s", (int)sw->error.message.count, sw->error.message.bytes);
}

static bool
is_id(const struct wire_id *id, uint32_t i)
{
    return id->text_bytes > 0 ? memcmp(id->text, names[i], 3) == 0 : id->number == i;
}

START_TEST(what_was_written_is_found_read_counted_and_scrolled)
{
    open_of(LOOP_SHARDS(_i % 2), OMEN_F32);
    const bool texts = _i >= 2;
    const struct api_written *written = fill(texts);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, POINTS);
    const float query[4] = {20.2f, 0, 0, 0};
    const struct api_query_search search = {ASK, .vector = raw(query, 4), .k = 4,
                                            .with = API_WITH_PAYLOAD | API_WITH_VECTOR};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_SEARCH, &search);
    static const uint32_t nearest[] = {20, 21, 19, 22};
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 4);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++) {
        ck_assert(is_id(&hit.id, nearest[i]));
        const float apart = (float)nearest[i] - 20.2f;
        ck_assert_float_eq_tol(hit.distance, apart * apart, 1e-4f);
        ck_assert_uint_eq(hit.payload.bytes[4], nearest[i]);
        ck_assert(memcmp(hit.vector.bytes.bytes, &vectors[4 * nearest[i]], 16) == 0);
        ck_assert_uint_gt(hit.version, 0);
    }
    struct wire_id some[] = {ids[7], {.given = 1, .number = 777777}, ids[3]};
    const struct api_point_get get = {ASK, .ids = {.count = texts ? 1 : 3, .items = some},
                                      .with = API_WITH_PAYLOAD};
    const struct api_points *points = sw_call(sw, METHOD_POINT_GET, &get);
    struct api_point point;
    ck_assert_ptr_nonnull(points);
    list_begin(&cursor, shape_field(&api_points, "points"), &points->points);
    for (uint32_t i = 0; list_next(&cursor, &point); i++) {
        ck_assert_uint_eq(point.absent, i == 1);
        if (i != 1)
            ck_assert_uint_eq(point.payload.bytes[4], i == 0 ? 7 : 3);
    }
    struct api_point_count ask = {ASK, .filter = filter_of("n >= 30 and n < 50")};
    const struct api_count *count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, 20);
    ck_assert_uint_eq(count->warnings, API_UNINDEXED_FIELD);
}
END_TEST

START_TEST(pages_go_through_every_point_once)
{
    open_of(LOOP_SHARDS(_i % 2), OMEN_F32);
    ck_assert_ptr_nonnull(fill(_i >= 2));
    struct api_point_scroll ask = {ASK, .limit = 7, .filter = filter_of("tag != 'b'")};
    bool seen[POINTS] = {false};
    char text[32] = "";
    uint32_t count = 0;
    do {
        struct list_cursor cursor;
        struct api_point point;
        ask.cursor = wire_text_of(text);
        const struct api_page *page = sw_call(sw, METHOD_POINT_SCROLL, &ask);
        ck_assert_ptr_nonnull(page);
        list_begin(&cursor, shape_field(&api_page, "points"), &page->points);
        for (; list_next(&cursor, &point); count++) {
            uint32_t i = 0;
            while (!is_id(&point.id, i))
                i++;
            ck_assert(!seen[i] && i % 3 != 1);
            seen[i] = true;
        }
        memset(text, 0, sizeof text);
        memcpy(text, page->cursor.count > 0 ? page->cursor.bytes : "", page->cursor.count);
    } while (text[0] != '\0');
    ck_assert_uint_eq(count, POINTS / 3 * 2);
}
END_TEST

START_TEST(batches_ranges_and_neighbours_of_points_are_found)
{
    open_of(LOOP_SHARDS(_i % 2), OMEN_F32);
    const bool texts = _i >= 2;
    ck_assert_ptr_nonnull(fill(texts));
    const float queries[8] = {0, 0, 0, 0, 80, 0, 0, 0};
    struct list_cursor cursor;
    struct api_hit hit;
    struct api_query_batch batch = {ASK, .vectors = raw(queries, 8), .k = 3};
    const struct api_batch_hits *many = sw_call(sw, METHOD_QUERY_BATCH, &batch);
    ck_assert_ptr_nonnull(many);
    if (!texts) {
        static const int64_t expected[] = {0, 1, 2, 80, 79, 81};
        ck_assert_uint_eq(many->ids.count, sizeof expected);
        ck_assert(memcmp(many->ids.bytes, expected, sizeof expected) == 0);
    } else
        ck_assert_uint_eq(many->results.count, 2);
    batch.with = API_WITH_PAYLOAD;
    many = sw_call(sw, METHOD_QUERY_BATCH, &batch);
    ck_assert_ptr_nonnull(many);
    ck_assert_uint_eq(many->results.count, 2);
    const struct api_query_range range = {ASK, .vector = raw(queries, 4), .radius = 9.5,
                                          .with = API_WITH_PAYLOAD};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_RANGE, &range);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 4);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++)
        ck_assert_uint_eq(hit.payload.bytes[4], i);
    const struct api_query_recommend like = {ASK, .positive = {.count = 2, .items = ids + 40},
                                             .k = 2};
    hits = sw_call(sw, METHOD_QUERY_RECOMMEND, &like);
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    while (list_next(&cursor, &hit)) // 40 and 41 are given
        ck_assert(is_id(&hit.id, 39) || is_id(&hit.id, 42));
    const struct api_query_search of = {ASK, .id = ids[5], .k = 2};
    hits = sw_call(sw, METHOD_QUERY_SEARCH, &of);
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    while (list_next(&cursor, &hit))
        ck_assert(is_id(&hit.id, 4) || is_id(&hit.id, 6));
}
END_TEST

START_TEST(values_of_fields_are_counted)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    struct api_point_facet ask = {ASK, .field = wire_text_of("tag"), .filter = filter_of("n < 31")};
    const struct api_facets *facets = sw_call(sw, METHOD_POINT_FACET, &ask);
    struct list_cursor cursor;
    struct api_facet facet;
    ck_assert_ptr_nonnull(facets);
    ck_assert_uint_eq(facets->values.count, 3);
    list_begin(&cursor, shape_field(&api_facets, "values"), &facets->values);
    for (uint32_t i = 0; list_next(&cursor, &facet); i++) {
        ck_assert_uint_eq(facet.value.bytes[1], 'a' + i);
        ck_assert_uint_eq(facet.count, i == 0 ? 11 : 10);
    }
    ask.field = wire_text_of("n");
    ask.limit = 100;
    facets = sw_call(sw, METHOD_POINT_FACET, &ask);
    ck_assert_ptr_nonnull(facets);
    ck_assert_uint_eq(facets->values.count, 31);
    ck_assert_uint_eq(facets->warnings, API_UNINDEXED_FIELD);
    ask.filter = (struct wire_filter){0};
    facets = sw_call(sw, METHOD_POINT_FACET, &ask);
    ck_assert_ptr_nonnull(facets);
    ck_assert_uint_eq(facets->warnings, 0); // it is gone through anyway
    ask.field = wire_text_of("a..b");
    refused(METHOD_POINT_FACET, &ask, OMEN_E_INVALID, "'a..b'");
}
END_TEST

START_TEST(why_not_and_recall_are_measured)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    const float query[4] = {0};
    struct api_query_why_not ask = {ASK, .vector = raw(query, 4), .id = ids[3], .k = 5};
    const struct api_why_not *why = sw_call(sw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_uint_eq(why->found, 1);
    ck_assert_uint_eq(why->rank, 4);
    ck_assert_double_eq_tol(why->distance, 9, 1e-6);
    ask.id = ids[50];
    why = sw_call(sw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_uint_eq(why->found, 0);
    ck_assert_uint_eq(why->rank, 51);
    ask.filter = filter_of("n < 10");
    why = sw_call(sw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_ptr_nonnull(memmem(why->reason.bytes, why->reason.count, "filter", 6));
    const float bad[4] = {0, NAN, 0, 0};
    ask.vector = raw(bad, 4);
    refused(METHOD_QUERY_WHY_NOT, &ask, OMEN_E_NOT_FINITE, "component 1");
    const struct api_recall_measure measure = {ASK, .samples = 30, .k = 3};
    const struct api_recall *recall = sw_call(sw, METHOD_RECALL_MEASURE, &measure);
    ck_assert_ptr_nonnull(recall);
    ck_assert_uint_ge(recall->samples, 27);
    ck_assert(recall->recall > 0.9 && recall->low <= recall->recall && recall->high <= 1);
}
END_TEST

// By the words of a search, whether there is a point of the id, the filter lets it through, or neither.
START_TEST(what_no_search_takes_is_refused_by_why_not_wherever_the_point_is)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    static const float numbers[][4] = {{0, NAN, 0, 0}, {1e30f, 0, 0, 0}, {0, 0, 0, 0}};
    const struct {
        struct wire_vectors vector;
        const char *filter;
        omen_status status;
        const char *words;
    } cases[] = {
        {raw(numbers[0], 4), "n > 200", OMEN_E_NOT_FINITE, "component 1 is NaN"},
        {raw(numbers[1], 4), "n > 200", OMEN_E_NOT_FINITE, "its squared length is above 1e37"},
        {raw(numbers[2], 3), "n > 200", OMEN_E_DIMENSION, "vector has 3 components"},
        {raw(numbers[2], 4), "n >", OMEN_E_FILTER, "column 4"},
    };
    const struct wire_id nobody = {.given = 1, .number = 12345};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct api_query_search search = {ASK, .vector = cases[i].vector,
                                                .filter = filter_of(cases[i].filter)};
        refused(METHOD_QUERY_SEARCH, &search, cases[i].status, cases[i].words);
        const struct wire_id asked[] = {ids[3], nobody};
        for (size_t j = 0; j < 2; j++) {
            const struct api_query_why_not why = {ASK, .vector = cases[i].vector, .id = asked[j],
                                                  .filter = filter_of(cases[i].filter)};
            refused(METHOD_QUERY_WHY_NOT, &why, cases[i].status, cases[i].words);
        }
    }
    const struct api_query_why_not good = {ASK, .vector = raw(numbers[2], 4), .id = nobody};
    const struct api_why_not *why = sw_call(sw, METHOD_QUERY_WHY_NOT, &good);
    ck_assert_ptr_nonnull(why);
    ck_assert_ptr_nonnull(memmem(why->reason.bytes, why->reason.count, "no point of this id", 19));
}
END_TEST

// Of all shards.
static void
searches_of(uint64_t *searches, uint64_t *evaluations)
{
    *searches = *evaluations = 0;
    for (uint32_t i = 0; i < sw->map.shard_count; i++) {
        omen_statistics statistics;
        shard_stats(hosted_shard(sw->hosted[i]), &statistics);
        *searches += statistics.searches;
        *evaluations += statistics.evaluations;
    }
}

// Whether a search would take the query is seen without one: of a point that is not there, or that the filter keeps out, no distance
// is computed by the index. Of another one each shard is searched twice, as was asked and exactly.
START_TEST(why_not_searches_only_for_who_might_be_a_hit)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    const float query[4] = {0};
    const struct {
        struct wire_id id;
        const char *filter, *reason;
        uint32_t searches; // of a shard
    } cases[] = {
        {{.given = 1, .number = 12345}, NULL, "no point of this id", 0},
        {{.given = 1, .number = 12345}, "n < 10", "no point of this id", 0},
        {ids[50], "n < 10", "the filter", 0},
        {ids[3], "n < 10", "it is a hit", 2},
        {ids[50], NULL, "50 points are nearer", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t searches, evaluations, searches_before, evaluations_before;
        struct api_query_why_not ask = {ASK, .vector = raw(query, 4), .id = cases[i].id, .k = 5};
        if (cases[i].filter != NULL)
            ask.filter = filter_of(cases[i].filter);
        searches_of(&searches_before, &evaluations_before);
        const struct api_why_not *why = sw_call(sw, METHOD_QUERY_WHY_NOT, &ask);
        ck_assert_ptr_nonnull(why);
        ck_assert_ptr_nonnull(
            memmem(why->reason.bytes, why->reason.count, cases[i].reason, strlen(cases[i].reason)));
        searches_of(&searches, &evaluations);
        ck_assert_uint_eq(searches - searches_before, cases[i].searches * sw->map.shard_count);
        ck_assert(cases[i].searches > 0 || evaluations == evaluations_before);
    }
}
END_TEST

START_TEST(an_empty_collection_answers_with_nothing)
{
    open_of(2, OMEN_F32);
    const float query[4] = {0};
    const struct api_query_search search = {ASK, .vector = raw(query, 4)};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_SEARCH, &search);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 0);
    const struct api_point_scroll scroll = {ASK};
    const struct api_page *page = sw_call(sw, METHOD_POINT_SCROLL, &scroll);
    ck_assert_ptr_nonnull(page);
    ck_assert_uint_eq(page->points.count, 0);
    ck_assert_uint_eq(page->cursor.count, 0);
    const struct api_recall_measure measure = {ASK};
    refused(METHOD_RECALL_MEASURE, &measure, OMEN_E_NOT_FOUND, "neighbour");
}
END_TEST

START_TEST(modes_and_versions_decide_when_they_are_applied)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    const struct wire_id two[] = {{.given = 1, .number = 5}, {.given = 1, .number = 500}};
    struct api_point_upsert ask = {ASK, .mode = API_INSERT, .ids = {.count = 2, .items = two},
                                   .vectors = raw(vectors, 8)};
    const struct api_written *written = sw_call(sw, METHOD_POINT_UPSERT, &ask);
    struct list_cursor cursor;
    struct api_failed failed;
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 1);
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    ck_assert(list_next(&cursor, &failed));
    ck_assert_uint_eq(failed.row, 0);
    ck_assert(memcmp(failed.name.bytes, "EXISTS", 6) == 0);
    ask.mode = API_UPDATE;
    ask.ids = (struct wire_list){.count = 1, .items = &(struct wire_id){.given = 1, .number = 900}};
    ask.vectors = raw(vectors, 4);
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_NOT_FOUND, "point.upsert");
    ck_assert_uint_eq(sw->error.outcome, API_NOT_APPLIED);
    ask.mode = API_UPSERT;
    ask.if_version = (struct wire_maybe){.given = 1, .value = 123456};
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_CONFLICT, "version");
    ask.if_version.value = 0; // it must not exist
    ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask));
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_CONFLICT, "version");
}
END_TEST

START_TEST(payloads_are_patched_and_points_deleted)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    const struct wire_text name = wire_text_of("tag");
    const struct api_point_patch patch = {ASK, .ids = {.count = 2, .items = ids},
                                          .set = {(const uint8_t *)"\x81\xa1x\x05", 4},
                                          .unset = {.count = 1, .items = &name}};
    const struct api_written *written = sw_call(sw, METHOD_POINT_PATCH, &patch);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 2);
    struct api_point_count ask = {ASK, .filter = filter_of("x == 5 and not exists(tag)")};
    const struct api_count *count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, 2);
    const struct wire_id three[] = {ids[0], ids[9], {.given = 1, .number = 4444}};
    struct api_point_delete del = {ASK, .ids = {.count = 3, .items = three}};
    written = sw_call(sw, METHOD_POINT_DELETE, &del);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 2);
    ck_assert_uint_eq(written->failed.count, 0);
    del = (struct api_point_delete){ASK, .filter = filter_of("n >= 50")};
    written = sw_call(sw, METHOD_POINT_DELETE, &del);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 40);
    ask.filter = (struct wire_filter){.form = FILTER_FORM_NONE};
    count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, POINTS - 42);
    const struct api_point_upsert payloads = {ASK, .mode = API_UPDATE,
                                              .ids = {.count = 1, .items = ids + 20},
                                              .payloads = {.count = 1, .items = &patch.set}};
    written = sw_call(sw, METHOD_POINT_UPSERT, &payloads);
    ck_assert_ptr_nonnull(written);
    ask.filter = filter_of("x == 5");
    count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, 2);
}
END_TEST

START_TEST(what_a_shard_finds_wrong_is_said_in_its_words)
{
    open_of(LOOP_SHARDS(_i), OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    float query[4] = {0, NAN, 0, 0};
    struct api_query_search search = {ASK, .vector = raw(query, 4)};
    refused(METHOD_QUERY_SEARCH, &search, OMEN_E_NOT_FINITE, "component 1");
    query[1] = 0;
    search.filter = filter_of("n ==");
    refused(METHOD_QUERY_SEARCH, &search, OMEN_E_FILTER, "expected");
    const struct wire_id text = {.given = 1, .text = "x", .text_bytes = 1};
    struct api_point_upsert ask = {ASK, .ids = {.count = 1, .items = &text},
                                   .vectors = raw(query, 4)};
    if (_i == 0) { // the other shards are their own
        refused(METHOD_POINT_UPSERT, &ask, OMEN_E_ID_KIND, "integer ids");
        ck_assert_uint_eq(sw->error.outcome, API_NOT_APPLIED);
    }
    const struct wire_id twice[] = {ids[0], ids[0]};
    ask.ids = (struct wire_list){.count = 2, .items = twice};
    ask.vectors = raw(vectors, 8);
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_DUPLICATE_ID, "id 0");
    query[2] = INFINITY;
    ask.ids.count = 1;
    ask.vectors = raw(query, 4);
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_NOT_FINITE, "component 2");
}
END_TEST

START_TEST(arrays_of_numbers_become_what_the_collection_stores)
{
    static const omen_dtype dtypes[] = {OMEN_F32, OMEN_F16, OMEN_BF16, OMEN_I8, OMEN_U8};
    open_of(2, dtypes[_i]);
    // [[1, 2, 3, 4], [100, 0, 0, 0]]
    static const uint8_t rows[] = {0x92, 0x94, 1, 2, 3, 4, 0x94, 100, 0, 0, 0};
    const struct wire_id two[] = {{.given = 1, .number = 1}, {.given = 1, .number = 2}};
    struct api_point_upsert ask = {
        ASK, .ids = {.count = 2, .items = two},
        .vectors = {.form = VECTORS_ROWS, .count = 2, .bytes = {rows, sizeof rows}}};
    ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask));
    const float query[4] = {1, 2, 3, 4};
    const struct api_query_search search = {ASK, .vector = raw(query, 4), .k = 1};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_SEARCH, &search);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, 1);
    ck_assert_float_eq_tol(hit.distance, 0, 1e-6f);
    static const uint8_t half[] = {0x91, 0x94, 0xca, 0x3f, 0, 0, 0, 0, 0, 0}; // 0.5
    ask.ids.count = 1;
    ask.vectors =
        (struct wire_vectors){.form = VECTORS_ROWS, .count = 1, .bytes = {half, sizeof half}};
    if (dtypes[_i] == OMEN_I8 || dtypes[_i] == OMEN_U8)
        refused(METHOD_POINT_UPSERT, &ask, OMEN_E_DTYPE, "vectors[0]");
    else
        ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask));
    static const uint8_t shorter[] = {0x91, 0x93, 1, 2, 3};
    ask.vectors.bytes = (struct wire_bytes){shorter, sizeof shorter};
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_DIMENSION, "vectors[0] has 3");
}
END_TEST

static struct wire_vectors
typed(uint8_t dtype, uint32_t count, const uint8_t *bytes)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = dtype,
                                 .count = count,
                                 .bytes = {bytes, count * (uint32_t)wire_dtype_bytes(dtype)}};
}

static float
nearest_distance(const struct wire_vectors *query, uint64_t id)
{
    const struct api_query_search search = {ASK, .vector = *query, .k = 1};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_SEARCH, &search);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, id);
    return hit.distance;
}

// As one extension of all rows, and as an array of extensions.
START_TEST(a_collection_of_floats_takes_vectors_of_every_type_and_is_searched_by_them)
{
    static const omen_dtype stored[] = {OMEN_F32, OMEN_F16, OMEN_BF16};
    const float numbers[8] = {1, 2, 3, 4, 100, 0, 7, 5};
    const struct wire_id two[] = {{.given = 1, .number = 1}, {.given = 1, .number = 2}};
    open_of(2, stored[_i]);
    for (uint8_t dtype = WIRE_F32; dtype <= WIRE_U8; dtype++) {
        uint8_t raw_rows[8 * 4], packed[64];
        struct encode encode;
        vector_from_f32((enum vector_type)dtype, numbers, 8, raw_rows);
        struct api_point_upsert ask = {ASK, .ids = {.count = 2, .items = two},
                                       .vectors = typed(dtype, 8, raw_rows)};
        ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask));
        const uint32_t bytes = ask.vectors.bytes.count / 2;
        const struct wire_vectors second = typed(dtype, 4, raw_rows + bytes);
        ck_assert_float_eq(nearest_distance(&second, 2), 0);

        encode_init(&encode, sizeof packed);
        encode_array(&encode, 2);
        encode_ext(&encode, (int8_t)dtype, (struct wire_bytes){raw_rows + bytes, bytes});
        encode_ext(&encode, (int8_t)dtype, (struct wire_bytes){raw_rows, bytes});
        ask.vectors = (struct wire_vectors){
            .form = VECTORS_ROWS, .count = 2, .bytes = {encode.bytes, (uint32_t)encode.count}};
        ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask)); // the other way round
        ck_assert_float_eq(nearest_distance(&second, 1), 0);
        encode_fini(&encode);
    }
    const float bad[4] = {1, 2, INFINITY, 4};
    uint8_t row[8];
    vector_from_f32(VECTOR_F16, bad, 4, row);
    const struct api_point_upsert ask = {ASK, .ids = {.count = 1, .items = two},
                                         .vectors = typed(WIRE_F16, 4, row)};
    const struct api_query_search search = {ASK, .vector = typed(WIRE_F16, 4, row)};
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_NOT_FINITE, "component 2 is +infinity");
    refused(METHOD_QUERY_SEARCH, &search, OMEN_E_NOT_FINITE, "component 2 is +infinity");
}
END_TEST

START_TEST(equal_distances_come_by_id_from_every_shard)
{
    open_of(3, OMEN_F32);
    static const float zeros[40 * 4];
    struct wire_id some[40];
    for (uint32_t i = 0; i < 40; i++)
        some[i] = (struct wire_id){.given = 1, .number = 1000 - i};
    const struct api_point_upsert ask = {ASK, .ids = {.count = 40, .items = some},
                                         .vectors = raw(zeros, 160)};
    ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_UPSERT, &ask));
    const struct api_query_search search = {ASK, .vector = raw(zeros, 4), .k = 40};
    const struct api_hits *hits = sw_call(sw, METHOD_QUERY_SEARCH, &search);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 40);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++)
        ck_assert_uint_eq(hit.id.number, 961 + i);
    const struct api_query_batch batch = {ASK, .vectors = raw(zeros, 2 * 4), .k = 40};
    const struct api_batch_hits *many = sw_call(sw, METHOD_QUERY_BATCH, &batch);
    ck_assert_ptr_nonnull(many);
    ck_assert_uint_eq(many->ids.count, 2 * 40 * 8);
    for (uint32_t i = 0; i < 2 * 40; i++) {
        int64_t id;
        memcpy(&id, many->ids.bytes + (size_t)8 * i, 8);
        ck_assert_int_eq(id, 961 + i % 40);
    }
}
END_TEST

START_TEST(a_field_index_is_made_and_given_up_by_an_entry)
{
    open_of(1, OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    const struct api_index_field field = {ASK, .field = wire_text_of("n"),
                                          .type = OMEN_FIELD_INTEGER};
    ck_assert_int_eq(sw_field(sw, METHOD_COLLECTION_INDEX_FIELD, &field), OMEN_OK);
    const struct api_point_count ask = {ASK, .filter = filter_of("n < 10")};
    const struct api_count *count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, 10);
    ck_assert_uint_eq(count->warnings, 0);
    const struct api_drop_field drop = {ASK, .field = wire_text_of("n")};
    ck_assert_int_eq(sw_field(sw, METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_OK);
    count = sw_call(sw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, 10);
    ck_assert_uint_ne(count->warnings, 0);
    ck_assert_int_eq(sw_field(sw, METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_E_NOT_FOUND);
    const struct api_drop_field bad = {ASK, .field = {"n\0m", 3}};
    ck_assert_int_eq(sw_field(sw, METHOD_COLLECTION_DROP_FIELD, &bad), OMEN_E_INVALID);
}
END_TEST

struct reader {
    _Atomic bool over;
    _Atomic uint32_t reads;
    uint32_t failures;
    struct wire_id ids[9]; // of its own
    char names[9][8];
};

static void
read_one(struct reader *reader, enum method_number method, enum wire_part_kind kind,
         const void *ask)
{
    omen_status statuses[16];
    struct omen_error error;
    struct encode packed, answer;
    struct serve_items items = {statuses, 16, 0};
    encode_init(&packed, 10000);
    encode_init(&answer, 1 << 20);
    shape_write(&packed, method_at(method)->ask, ask);
    const struct wire_part part = {.kind = (uint8_t)kind,
                                   .method = (uint8_t)method,
                                   .shard = 1,
                                   .last = UINT64_MAX,
                                   .ask = packed.bytes,
                                   .ask_bytes = (uint32_t)packed.count};
    reader->failures += serve_read(sw->hosted[0], &part, NULL, &answer, &items, &error) != OMEN_OK;
    atomic_fetch_add(&reader->reads, 1);
    encode_fini(&packed);
    encode_fini(&answer);
}

static void *
read_beside(void *context)
{
    static const float query[4];
    struct reader *reader = context;
    const struct api_query_search search = {ASK, .vector = raw(query, 4),
                                            .with = API_WITH_PAYLOAD | API_WITH_VECTOR};
    const struct api_point_get get = {ASK, .ids = {.count = 9, .items = reader->ids},
                                      .with = API_WITH_PAYLOAD};
    const struct api_point_scroll scroll = {ASK, .cursor = {"0000000000000000", 16}, .limit = 20,
                                            .with = API_WITH_PAYLOAD};
    const struct api_point_facet facet = {ASK, .field = {"tag", 3}};
    while (!atomic_load(&reader->over)) {
        read_one(reader, METHOD_QUERY_SEARCH, WIRE_PART_SEARCH, &search);
        read_one(reader, METHOD_POINT_GET, WIRE_PART_GET, &get);
        read_one(reader, METHOD_POINT_SCROLL, WIRE_PART_GET, &scroll);
        read_one(reader, METHOD_POINT_FACET, WIRE_PART_SEARCH, &facet);
    }
    return NULL;
}

START_TEST(reads_go_on_beside_what_is_applied)
{
    struct reader reader = {.reads = 0};
    pthread_t thread;
    open_of(1, OMEN_F32);
    ck_assert_ptr_nonnull(fill(_i == 1));
    memcpy(reader.ids, ids, sizeof reader.ids);
    memcpy(reader.names, names, sizeof reader.names);
    for (uint32_t i = 0; i < 9; i++)
        reader.ids[i].text = _i == 1 ? reader.names[i] : NULL;
    ck_assert_int_eq(pthread_create(&thread, NULL, read_beside, &reader), 0);
    for (uint32_t i = 0; i < 20; i++) {
        const uint32_t before = atomic_load(&reader.reads);
        while (atomic_load(&reader.reads) == before) // another one for each write
            (void)sched_yield();
        const struct api_point_delete del = {ASK, .ids = {.count = 30, .items = ids + i}};
        ck_assert_ptr_nonnull(fill(_i == 1));
        ck_assert_ptr_nonnull(sw_call(sw, METHOD_POINT_DELETE, &del));
    }
    atomic_store(&reader.over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(reader.failures, 0);
}
END_TEST

static bool
nothing_to_do(void *context, uint32_t worker)
{
    (void)context;
    (void)worker;
    return false;
}

// The lists of an answer: what stands before them says how long they took.
static struct plain
lists_of(const struct encode *answer)
{
    struct found found;
    struct plain plain = {.at = answer->bytes, .end = answer->bytes + answer->count};
    found_read(&plain, &found);
    ck_assert_uint_eq(found.list_count, MANY_QUERIES);
    return plain;
}

START_TEST(many_queries_are_answered_the_same_with_the_help_of_idle_workers)
{
    static float queries[MANY_QUERIES * 4];
    struct pool *pool;
    struct encode packed, answers[2];
    struct omen_error errors[2];
    struct serve_items items = {NULL, 0, 0};
    open_of(1, OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    ck_assert_int_eq(pool_open(3, nothing_to_do, NULL, &pool), OMEN_OK);
    for (uint32_t i = 0; i < MANY_QUERIES * 4; i++)
        queries[i] = (float)(i % 37) - 11.5f;
    for (uint32_t bad = 0; bad < 2; bad++) {
        if (bad == 1)
            queries[4 * (MANY_QUERIES / 2)] = NAN;
        const struct api_query_batch ask = {ASK, .vectors = raw(queries, MANY_QUERIES * 4), .k = 3};
        encode_init(&packed, 1 << 20);
        shape_write(&packed, method_at(METHOD_QUERY_BATCH)->ask, &ask);
        const struct wire_part part = {.kind = WIRE_PART_SEARCH,
                                       .method = METHOD_QUERY_BATCH,
                                       .shard = 1,
                                       .last = UINT64_MAX,
                                       .ask = packed.bytes,
                                       .ask_bytes = (uint32_t)packed.count};
        for (uint32_t helped = 0; helped < 2; helped++) {
            encode_init(&answers[helped], 1 << 20);
            ck_assert_int_eq(serve_read(sw->hosted[0], &part, helped == 1 ? pool : NULL,
                                        &answers[helped], &items, &errors[helped]),
                             bad == 1 ? OMEN_E_NOT_FINITE : OMEN_OK);
        }
        if (bad == 1) {
            ck_assert_str_eq(errors[0].text, errors[1].text);
        } else {
            const struct plain alone = lists_of(&answers[0]), with = lists_of(&answers[1]);
            ck_assert_int_eq(alone.end - alone.at, with.end - with.at);
            ck_assert_mem_eq(alone.at, with.at, (size_t)(with.end - with.at));
        }
        encode_fini(&answers[0]);
        encode_fini(&answers[1]);
        encode_fini(&packed);
    }
    pool_close(pool);
}
END_TEST

// What the answer of a write is whose results nobody has any more.
static omen_status
when_forgotten(enum method_number method, const void *ask)
{
    struct encode packed, answer;
    struct omen_error error;
    struct serve_items items = {NULL, 0, 0};
    encode_init(&packed, 1 << 20);
    encode_init(&answer, 1 << 20);
    shape_write(&packed, method_at(method)->ask, ask);
    const struct wire_part part = {.kind = WIRE_PART_WRITE,
                                   .method = (uint8_t)method,
                                   .ask = packed.bytes,
                                   .ask_bytes = (uint32_t)packed.count};
    const omen_status status = serve_written(&part, NULL, &answer, &items, &error);
    ck_assert(status != OMEN_OK || answer.count > 0);
    encode_fini(&packed);
    encode_fini(&answer);
    return status;
}

START_TEST(a_write_that_nobody_remembers_was_done_only_if_nothing_could_refuse_it)
{
    const struct wire_id id = {.given = 1, .number = 5};
    struct api_point_upsert upsert = {ASK, .ids = {.count = 1, .items = &id},
                                      .vectors = raw(vectors, 4)};
    ck_assert_int_eq(when_forgotten(METHOD_POINT_UPSERT, &upsert), OMEN_OK);
    upsert.mode = API_UPSERT;
    ck_assert_int_eq(when_forgotten(METHOD_POINT_UPSERT, &upsert), OMEN_OK);
    upsert.mode = API_INSERT;
    ck_assert_int_eq(when_forgotten(METHOD_POINT_UPSERT, &upsert), OMEN_E_TIMEOUT);
    upsert.mode = API_UPDATE;
    ck_assert_int_eq(when_forgotten(METHOD_POINT_UPSERT, &upsert), OMEN_E_TIMEOUT);
    upsert.mode = API_UPSERT;
    upsert.if_version = (struct wire_maybe){.given = 1, .value = 7};
    ck_assert_int_eq(when_forgotten(METHOD_POINT_UPSERT, &upsert), OMEN_E_TIMEOUT);
    const struct api_point_delete erase = {ASK, .ids = {.count = 1, .items = &id}};
    ck_assert_int_eq(when_forgotten(METHOD_POINT_DELETE, &erase), OMEN_E_TIMEOUT);
}
END_TEST

// Any part with any bytes: a status, and never more.
START_TEST(parts_of_any_bytes_are_refused)
{
    struct prng prng;
    open_of(1, OMEN_F32);
    ck_assert_ptr_nonnull(fill(false));
    prng_init(&prng, (uint64_t)_i + 1);
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t bytes[64];
        omen_status statuses[64];
        const uint32_t count = 1 + prng_below(&prng, sizeof bytes);
        for (uint32_t j = 0; j < count; j++)
            bytes[j] = (uint8_t)prng_next(&prng);
        bytes[0] = (uint8_t)(0x80 | prng_below(&prng, 4));
        const struct wire_part part = {.kind = (uint8_t)prng_below(&prng, 5),
                                       .method = (uint8_t)prng_below(&prng, METHODS_END + 2),
                                       .shard = 1,
                                       .last = UINT64_MAX,
                                       .ask = bytes,
                                       .ask_bytes = count};
        struct omen_error error;
        struct encode answer;
        struct hosted_bytes op = {.cursor = 0};
        struct serve_items items = {statuses, 64, 0};
        encode_init(&answer, 1 << 20);
        const omen_status read = serve_read(sw->hosted[0], &part, NULL, &answer, &items, &error);
        ck_assert(read <= OMEN_OK && (read == OMEN_OK || error.status == read));
        const omen_status prepared = serve_prepare(sw->hosted[0], &part, &op, &error);
        ck_assert(prepared <= OMEN_OK);
        hosted_bytes_fini(&op);
        encode_fini(&answer);
    }
}
END_TEST

static Suite *
serve_suite(void)
{
    Suite *suite = suite_create("node/serve");
    TCase *tcase = tcase_create("serve");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, what_was_written_is_found_read_counted_and_scrolled, 0, 4);
    tcase_add_loop_test(tcase, pages_go_through_every_point_once, 0, 4);
    tcase_add_loop_test(tcase, batches_ranges_and_neighbours_of_points_are_found, 0, 4);
    tcase_add_loop_test(tcase, values_of_fields_are_counted, 0, 2);
    tcase_add_loop_test(tcase, why_not_and_recall_are_measured, 0, 2);
    tcase_add_loop_test(tcase, why_not_searches_only_for_who_might_be_a_hit, 0, 2);
    tcase_add_loop_test(tcase, what_no_search_takes_is_refused_by_why_not_wherever_the_point_is, 0,
                        2);
    tcase_add_test(tcase, an_empty_collection_answers_with_nothing);
    tcase_add_loop_test(tcase, modes_and_versions_decide_when_they_are_applied, 0, 2);
    tcase_add_loop_test(tcase, payloads_are_patched_and_points_deleted, 0, 2);
    tcase_add_loop_test(tcase, what_a_shard_finds_wrong_is_said_in_its_words, 0, 2);
    tcase_add_loop_test(tcase, arrays_of_numbers_become_what_the_collection_stores, 0, 5);
    tcase_add_loop_test(
        tcase, a_collection_of_floats_takes_vectors_of_every_type_and_is_searched_by_them, 0, 3);
    tcase_add_test(tcase, equal_distances_come_by_id_from_every_shard);
    tcase_add_test(tcase, a_field_index_is_made_and_given_up_by_an_entry);
    tcase_add_test(tcase, many_queries_are_answered_the_same_with_the_help_of_idle_workers);
    tcase_add_loop_test(tcase, reads_go_on_beside_what_is_applied, 0, 2);
    tcase_add_test(tcase, a_write_that_nobody_remembers_was_done_only_if_nothing_could_refuse_it);
    tcase_add_loop_test(tcase, parts_of_any_bytes_are_refused, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(serve_suite)
