// tests/unit/router/test_front.c -- each method about points is answered with what all shards hold, whatever shards there are.
//
// Shape: shell.
#include "router/front.h"

#include <math.h>
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/front_world.h"

#define POINTS 60u

static struct fw *fw;

#define ASK .collection = {"docs", 4}

static void
open_of(uint32_t shards)
{
    fw = fw_open(1, shards);
}

static void
tidy_up(void)
{
    if (fw != NULL)
        fw_close(fw);
    fw = NULL;
}

// {"tag": "x"}
static struct wire_bytes
tag(char letter)
{
    static uint8_t bytes[26][7];
    const uint8_t map[7] = {0x81, 0xa3, 't', 'a', 'g', 0xa1, (uint8_t)letter};
    memcpy(bytes[letter - 'a'], map, 7);
    return (struct wire_bytes){bytes[letter - 'a'], 7};
}

static struct wire_vectors
raw(const float *values, uint32_t count)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = count,
                                 .bytes = {(const uint8_t *)values, count * 4}};
}

static float vectors[POINTS * MODEL_DIM];

// Points 0..count, at (i, 0, 0, 0), tags a b c a b c ...; or with texts p0, p1, ...
static const struct api_written *
fill(uint32_t count, bool texts)
{
    static struct wire_id ids[POINTS];
    static char names[POINTS][8];
    static struct wire_bytes payloads[POINTS];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "p%u", i);
        ids[i] = texts ? text_id(names[i]) : number_id(i);
        vectors[i * MODEL_DIM] = (float)i;
        payloads[i] = tag((char)('a' + i % 3));
    }
    const struct api_point_upsert ask = {ASK, .ids = {.count = count, .items = ids},
                                         .vectors = raw(vectors, count * MODEL_DIM),
                                         .payloads = {.count = count, .items = payloads}};
    return fw_call(fw, METHOD_POINT_UPSERT, &ask);
}

static uint32_t
routed(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fw->map.shard_count; i++)
        count += shard_is_routed(&fw->shards[i]);
    return count;
}

#define LOOP_SHARDS(i) ((i) == 0 ? 1u : (i) == 1 ? 2u : 7u)

START_TEST(a_batch_reaches_every_shard_and_its_token_names_them)
{
    open_of(LOOP_SHARDS(_i));
    const struct api_written *written = fill(POINTS, false);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, POINTS);
    ck_assert_uint_eq(written->failed.count, 0);
    ck_assert_uint_eq(written->token.count, routed());
    for (uint32_t i = 0; i < POINTS; i++) {
        const struct wire_id id = number_id(i);
        const struct model_point *point = model_find(&fw->model, &id);
        ck_assert(point != NULL && point->there);
        ck_assert(point->vector[0] == (float)i);
        ck_assert_uint_eq(point->payload[6], 'a' + i % 3);
    }
}
END_TEST

START_TEST(rows_of_an_array_reach_their_ids)
{
    open_of(7);
    uint8_t bytes[20 * 6];
    uint32_t at = 0;
    bytes[at++] = 0xdc; // 20 arrays of 4 small integers
    bytes[at++] = 0;
    bytes[at++] = 20;
    struct wire_id ids[20];
    for (uint8_t i = 0; i < 20; i++) {
        ids[i] = number_id(i);
        memcpy(bytes + at, (uint8_t[]){0x94, i, 1, 2, 3}, 5);
        at += 5;
    }
    const struct api_point_upsert ask = {
        ASK, .ids = {.count = 20, .items = ids},
        .vectors = {.form = VECTORS_ROWS, .count = 20, .bytes = {bytes, at}}};
    const struct api_written *written = fw_call(fw, METHOD_POINT_UPSERT, &ask);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 20);
    for (uint32_t i = 0; i < 20; i++)
        ck_assert(model_find(&fw->model, &ids[i])->vector[0] == (float)i);
}
END_TEST

START_TEST(a_search_answers_the_nearest_of_all_shards)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {20.2f, 0, 0, 0};
    const struct api_query_search ask = {ASK, .vector = raw(query, 4), .k = 5,
                                         .with = API_WITH_PAYLOAD | API_WITH_VECTOR};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    static const uint64_t expected[] = {20, 21, 19, 22, 18};
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 5);
    ck_assert_uint_eq(hits->token.count, routed());
    ck_assert_uint_eq(hits->shards_failed.count, 0);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++) {
        ck_assert_uint_eq(hit.id.number, expected[i]);
        ck_assert_uint_eq(hit.payload.bytes[6], 'a' + expected[i] % 3);
        ck_assert_uint_eq(hit.vector.count, MODEL_DIM);
        ck_assert(memcmp(hit.vector.bytes.bytes, &vectors[expected[i] * MODEL_DIM], 16) == 0);
        ck_assert_uint_gt(hit.version, 0);
    }
}
END_TEST

// 65,536 numbers: ef or k, whichever is more, times the dimension.
START_TEST(a_search_that_looks_at_little_is_told_from_others)
{
    static const struct {
        uint32_t ef, k;
        bool light;
    } cases[] = {
        {0, 0, true}, {1024, 10, true}, {1025, 10, false}, {10, 1024, true}, {0, 1025, false}};
    static const float query[64] = {20.2f};
    open_of(1);
    fw->collections[0].dimension = 64;
    fw->map.version++;
    fw_publish(fw);
    const struct api_query_search ask = {ASK, .vector = raw(query, 64), .ef = cases[_i].ef,
                                         .k = cases[_i].k};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    ck_assert_int_eq(fw->last_light, cases[_i].light);
}
END_TEST

START_TEST(what_may_look_at_much_is_not_light)
{
    open_of(1);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {20.2f, 0, 0, 0};
    const struct api_query_search plain = {ASK, .vector = raw(query, 4)};
    struct api_query_search ask = plain;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    ck_assert(fw->last_light);
    if (_i == 0)
        ask.exact = 1;
    else if (_i == 1)
        ask.target_recall = 0.9;
    else
        ask.filter = (struct wire_filter){.form = FILTER_FORM_TEXT,
                                          .bytes = {(const uint8_t *)"tag == 'b'", 10}};
    fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
    fw_await(fw);
    ck_assert(!fw->last_light);
    const struct wire_id id = {.given = 1, .number = 7};
    ask = (struct api_query_search){ASK, .id = id};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask)); // its second round is one
    ck_assert(fw->last_light);
    const struct api_query_batch batch = {ASK, .vectors = raw(query, 4)};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_BATCH, &batch));
    ck_assert(!fw->last_light);
}
END_TEST

START_TEST(an_alias_and_an_array_of_numbers_search_as_well)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const uint8_t numbers[] = {0x94, 7, 0, 0, 0};
    const struct api_query_search ask = {
        .collection = fw_text("live"),
        .vector = {.form = VECTORS_NUMBERS, .count = 4, .bytes = {numbers, 5}}};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 10); // where none is given
}
END_TEST

// Who makes floats of them is the shard.
START_TEST(vectors_of_another_type_go_to_the_shards_as_they_came)
{
    open_of(2);
    const uint8_t bytes[2 * MODEL_DIM] = {0, 200, 0, 0, 9, 0, 0, 7};
    const struct wire_id ids[2] = {number_id(1), number_id(2)};
    const struct wire_vectors both = {.form = VECTORS_RAW,
                                      .dtype = WIRE_U8,
                                      .count = 2 * MODEL_DIM,
                                      .bytes = {bytes, sizeof bytes}};
    const struct api_point_upsert write = {ASK, .ids = {.count = 2, .items = ids}, .vectors = both};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &write));
    const struct api_query_search ask = {ASK, .k = 1,
                                         .vector = {.form = VECTORS_RAW,
                                                    .dtype = WIRE_U8,
                                                    .count = MODEL_DIM,
                                                    .bytes = {bytes, MODEL_DIM}}};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, 1);
    ck_assert_float_eq(hit.distance, 0);
}
END_TEST

START_TEST(a_search_by_id_does_not_find_the_point_itself)
{
    open_of(LOOP_SHARDS(_i));
    const bool texts = _i == 1;
    ck_assert_ptr_nonnull(fill(POINTS, texts));
    const struct api_query_search ask = {ASK, .id = texts ? text_id("p0") : number_id(0), .k = 2};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 2);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 1; list_next(&cursor, &hit); i++)
        ck_assert(texts ? memcmp(hit.id.text, i == 1 ? "p1" : "p2", 2) == 0 : hit.id.number == i);
}
END_TEST

// What is begun is said once, with the points or queries that it has, whatever its rounds; what is refused before is not.
START_TEST(what_a_request_has_is_said_when_it_is_begun)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    ck_assert_uint_eq(fw->costs, 1);
    ck_assert_uint_eq(fw->cost, POINTS);
    const float queries[3 * MODEL_DIM] = {0};
    const struct wire_id three[] = {number_id(1), number_id(2), number_id(3)};
    const struct wire_list ids = {.count = 3, .items = three};
    const struct wire_list two = {.count = 2, .items = three};
    const struct api_point_get get = {ASK, .ids = ids};
    const struct api_point_count count = {ASK};
    const struct api_query_search by_vector = {ASK, .vector = raw(queries, 4), .k = 3};
    const struct api_query_search by_id = {ASK, .id = number_id(0), .k = 2};
    const struct api_query_batch batch = {ASK, .vectors = raw(queries, 12), .k = 2};
    const struct api_query_recommend recommend = {ASK, .positive = two, .k = 3};
    const struct api_recall_measure recall = {ASK, .samples = 70, .k = 5};
    const struct api_recall_measure usual = {ASK, .k = 5};
    const struct api_point_delete by_ids = {ASK, .ids = two};
    const struct {
        enum method_number method;
        uint32_t cost;
        const void *ask;
    } asks[] = {
        {METHOD_POINT_GET, 3, &get},          {METHOD_POINT_COUNT, 1, &count},
        {METHOD_QUERY_SEARCH, 1, &by_vector}, {METHOD_QUERY_SEARCH, 1, &by_id},
        {METHOD_QUERY_BATCH, 3, &batch},      {METHOD_QUERY_RECOMMEND, 2, &recommend},
        {METHOD_RECALL_MEASURE, 70, &recall}, {METHOD_RECALL_MEASURE, 1000, &usual},
        {METHOD_POINT_DELETE, 2, &by_ids},
    };
    for (uint32_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        ck_assert_msg(fw_call(fw, asks[i].method, asks[i].ask) != NULL, "%u", i);
        ck_assert_msg(fw->costs == i + 2, "%u: said %u times", i, fw->costs);
        ck_assert_msg(fw->cost == asks[i].cost, "%u: costs %u", i, fw->cost);
    }
    const uint32_t before = fw->costs;
    const struct api_query_search wrong = {.collection = {"none", 4}, .vector = raw(queries, 4)};
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_SEARCH, &wrong));
    ck_assert_uint_eq(fw->costs, before);
}
END_TEST

START_TEST(explain_says_what_each_shard_did)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {0};
    const struct api_query_search ask = {ASK, .vector = raw(query, 4), .explain = 1};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    struct omen_error error;
    ck_assert_ptr_nonnull(hits);
    ck_assert_int_eq(msgpack_check_map(hits->explain.bytes, hits->explain.count, &error), OMEN_OK);
    ck_assert_ptr_nonnull(memmem(hits->explain.bytes, hits->explain.count, "took_us", 7));
}
END_TEST

START_TEST(who_counts_hears_how_a_request_ended_and_what_it_took)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    ck_assert_uint_eq(fw->done.written, POINTS);
    ck_assert_ptr_eq(fw->done.method, method_at(METHOD_POINT_UPSERT));
    const float query[MODEL_DIM] = {0};
    const struct api_query_search ask = {ASK, .vector = raw(query, 4), .k = 3};
    const uint32_t before = fw->dones;
    const uint64_t begun_ns = fw->now_ns;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    ck_assert_uint_eq(fw->dones, before + 1);
    ck_assert_ptr_eq(fw->done.method, method_at(METHOD_QUERY_SEARCH));
    ck_assert_int_eq(fw->done.status, OMEN_OK);
    ck_assert_uint_eq(fw->done.received_ns, begun_ns); // nobody said when it came
    ck_assert_uint_eq(fw->done.begun_ns, begun_ns);
    ck_assert_uint_eq(fw->done.heard_ns, fw->now_ns);
    ck_assert_uint_gt(fw->done.heard_ns, begun_ns);
    ck_assert_uint_eq(fw->done.parts, 2);
    ck_assert_uint_eq(fw->done.rounds, 1);
    ck_assert_uint_eq(fw->done.k, 3);
    ck_assert_uint_gt(fw->done.evaluations + fw->done.exact_distances, 0);
    const struct api_query_search wrong = {.collection = {"none", 4}, .vector = raw(query, 4)};
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_SEARCH, &wrong));
    ck_assert_uint_eq(fw->dones, before + 2);
    ck_assert_int_eq(fw->done.status, OMEN_E_NOT_FOUND);
    ck_assert_uint_eq(fw->done.rounds, 0);
}
END_TEST

START_TEST(a_deadline_counts_from_when_the_request_came)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {0};
    const struct api_query_search ask = {ASK, .vector = raw(query, 4), .k = 3, .deadline_ms = 1000};
    fw->now_ns += UINT64_C(5000000000);
    fw->received_ns = fw->now_ns - UINT64_C(1000000000);
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    ck_assert_int_eq(fw->done.status, OMEN_E_TIMEOUT);
    fw->received_ns = fw->now_ns - UINT64_C(100000000);
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    ck_assert_int_eq(fw->done.status, OMEN_OK);
}
END_TEST

START_TEST(a_filter_is_the_shards_to_apply)
{
    open_of(7);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {0};
    const struct api_query_search ask = {
        ASK, .vector = raw(query, 4), .k = 3,
        .filter = {.form = FILTER_FORM_TEXT, .bytes = {(const uint8_t *)"tag == 'b'", 10}}};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++)
        ck_assert_uint_eq(hit.id.number, 3 * i + 1);
}
END_TEST

START_TEST(a_batch_of_queries_comes_back_as_matrices)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(5, false));
    const float queries[2 * MODEL_DIM] = {0, 0, 0, 0, 4, 0, 0, 0};
    const struct api_query_batch ask = {ASK, .vectors = raw(queries, 8), .k = 7};
    const struct api_batch_hits *hits = fw_call(fw, METHOD_QUERY_BATCH, &ask);
    static const int64_t expected[] = {0, 1, 2, 3, 4, -1, -1, 4, 3, 2, 1, 0, -1, -1};
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->ids.count, sizeof expected);
    ck_assert(memcmp(hits->ids.bytes, expected, sizeof expected) == 0);
    float distances[14];
    ck_assert_uint_eq(hits->distances.count, sizeof distances);
    memcpy(distances, hits->distances.bytes, sizeof distances);
    ck_assert(distances[1] == 1.0f && isinf(distances[5]) && distances[8] == 1.0f);
}
END_TEST

START_TEST(texts_and_payloads_of_a_batch_come_in_lists)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(5, true));
    const float queries[2 * MODEL_DIM] = {0, 0, 0, 0, 4, 0, 0, 0};
    const struct api_query_batch ask = {ASK, .vectors = raw(queries, 8), .k = 2,
                                        .with = API_WITH_PAYLOAD};
    const struct api_batch_hits *hits = fw_call(fw, METHOD_QUERY_BATCH, &ask);
    struct list_cursor cursor, inner;
    struct api_query_hits query;
    struct api_hit hit;
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->results.count, 2);
    list_begin(&cursor, shape_field(&api_batch_hits, "results"), &hits->results);
    for (uint32_t i = 0; list_next(&cursor, &query); i++) {
        ck_assert_uint_eq(query.hits.count, 2);
        list_begin(&inner, shape_field(&api_query_hits, "hits"), &query.hits);
        ck_assert(list_next(&inner, &hit));
        ck_assert(memcmp(hit.id.text, i == 0 ? "p0" : "p4", 2) == 0);
        ck_assert_uint_eq(hit.payload.count, 7);
    }
    const struct api_query_batch matrix = {ASK, .vectors = raw(queries, 8), .k = 2,
                                           .result = API_MATRIX};
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_BATCH, &matrix));
    ck_assert_int_eq(fw->error.status, OMEN_E_ID_KIND);
}
END_TEST

START_TEST(a_range_answers_all_within_the_radius)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {10, 0, 0, 0};
    struct api_query_range ask = {ASK, .vector = raw(query, 4), .radius = 4.5};
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_RANGE, &ask);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 5); // 8 .. 12
    ask.vector = (struct wire_vectors){.form = VECTORS_NONE};
    ask.id = number_id(10);
    hits = fw_call(fw, METHOD_QUERY_RANGE, &ask);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 4);
    ask.limit = 3;
    hits = fw_call(fw, METHOD_QUERY_RANGE, &ask);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 3);
}
END_TEST

START_TEST(a_recommendation_is_near_the_positive_and_far_from_the_negative)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const struct wire_id positive[] = {number_id(20), number_id(24)};
    const struct wire_id negative[] = {number_id(21), number_id(19)};
    struct api_query_recommend ask = {ASK, .positive = {.count = 2, .items = positive}, .k = 3};
    struct list_cursor cursor;
    struct api_hit hit;
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_RECOMMEND, &ask);
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->hits.count, 3);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, 22); // the middle; those given are no hits
    ask.negative = (struct wire_list){.count = 2, .items = negative};
    hits = fw_call(fw, METHOD_QUERY_RECOMMEND, &ask);
    ck_assert_ptr_nonnull(hits);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, 23); // 24 is given; 22 + (22 - 20)
}
END_TEST

START_TEST(a_recommendation_by_a_point_that_is_not_there_names_its_place)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const struct wire_id there[] = {number_id(20), number_id(24)};
    const struct wire_id not_there[] = {number_id(19), number_id(POINTS + 7)};
    const struct wire_list good = {.count = 2, .items = there};
    const struct wire_list bad = {.count = 2, .items = not_there};
    struct api_query_recommend ask = {ASK, .positive = bad, .k = 3};
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_RECOMMEND, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_NOT_FOUND);
    ck_assert_ptr_nonnull(
        memmem(fw->error.message.bytes, fw->error.message.count, "positive[1]", 11));
    ask.positive = good;
    ask.negative = bad;
    ck_assert_ptr_null(fw_call(fw, METHOD_QUERY_RECOMMEND, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_NOT_FOUND);
    ck_assert_ptr_nonnull(
        memmem(fw->error.message.bytes, fw->error.message.count, "negative[1]", 11));
}
END_TEST

START_TEST(why_not_tells_one_reason_from_another)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    const float query[MODEL_DIM] = {0};
    struct api_query_why_not ask = {ASK, .vector = raw(query, 4), .id = number_id(3), .k = 5};
    const struct api_why_not *why = fw_call(fw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_uint_eq(why->found, 1);
    ck_assert_uint_eq(why->rank, 4);
    ck_assert_double_eq(why->distance, 9);
    ask.id = number_id(8);
    why = fw_call(fw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_uint_eq(why->found, 0);
    ck_assert_uint_eq(why->rank, 9);
    ck_assert_ptr_nonnull(memmem(why->reason.bytes, why->reason.count, "8 points are nearer", 19));
    ask.filter = (struct wire_filter){.form = FILTER_FORM_TEXT,
                                      .bytes = {(const uint8_t *)"tag == 'b'", 10}};
    why = fw_call(fw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_ptr_nonnull(memmem(why->reason.bytes, why->reason.count, "the filter", 10));
    ask.id = number_id(1000);
    why = fw_call(fw, METHOD_QUERY_WHY_NOT, &ask);
    ck_assert_ptr_nonnull(why);
    ck_assert_ptr_nonnull(memmem(why->reason.bytes, why->reason.count, "no point", 8));
}
END_TEST

START_TEST(points_come_back_in_the_order_of_the_ids)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    struct wire_id ids[12];
    for (uint32_t i = 0; i < 12; i++)
        ids[i] = number_id(i % 4 == 3 ? 1000 + i : POINTS - 1 - i);
    const struct api_point_get ask = {ASK, .ids = {.count = 12, .items = ids},
                                      .with = API_WITH_VECTOR};
    const struct api_points *points = fw_call(fw, METHOD_POINT_GET, &ask);
    struct list_cursor cursor;
    struct api_point point;
    ck_assert_ptr_nonnull(points);
    ck_assert_uint_eq(points->points.count, 12);
    list_begin(&cursor, shape_field(&api_points, "points"), &points->points);
    for (uint32_t i = 0; list_next(&cursor, &point); i++) {
        ck_assert_uint_eq(point.absent, i % 4 == 3);
        if (i % 4 == 3)
            continue;
        ck_assert_uint_eq(point.id.number, POINTS - 1 - i);
        ck_assert(memcmp(point.vector.bytes.bytes, &vectors[(POINTS - 1 - i) * MODEL_DIM], 16) ==
                  0);
        ck_assert_uint_eq(point.payload.count, 0);
    }
}
END_TEST

START_TEST(a_count_is_of_all_shards)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    struct api_point_count ask = {ASK};
    const struct api_count *count = fw_call(fw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, POINTS);
    ask.filter = (struct wire_filter){.form = FILTER_FORM_TEXT,
                                      .bytes = {(const uint8_t *)"tag == 'b'", 10}};
    count = fw_call(fw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, POINTS / 3);
}
END_TEST

START_TEST(values_are_counted_over_all_shards_the_most_frequent_first)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS - 1, false)); // one c less
    struct api_point_facet ask = {ASK, .field = fw_text("tag")};
    const struct api_facets *facets = fw_call(fw, METHOD_POINT_FACET, &ask);
    struct list_cursor cursor;
    struct api_facet facet;
    ck_assert_ptr_nonnull(facets);
    ck_assert_uint_eq(facets->values.count, 3);
    list_begin(&cursor, shape_field(&api_facets, "values"), &facets->values);
    for (uint32_t i = 0; list_next(&cursor, &facet); i++) {
        ck_assert_uint_eq(facet.value.bytes[1], 'a' + i);
        ck_assert_uint_eq(facet.count, i == 2 ? 19 : 20);
    }
    ask.limit = 1;
    facets = fw_call(fw, METHOD_POINT_FACET, &ask);
    ck_assert_ptr_nonnull(facets);
    ck_assert_uint_eq(facets->values.count, 1);
}
END_TEST

// Between two pages a shard is split; every point comes once.
START_TEST(pages_survive_a_split)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    bool seen[POINTS] = {false};
    char text[64] = "";
    struct api_point_scroll ask = {ASK, .limit = 7, .with = API_WITH_PAYLOAD};
    uint32_t pages = 0, count = 0;
    do {
        ask.cursor = fw_text(text);
        const struct api_page *page = fw_call(fw, METHOD_POINT_SCROLL, &ask);
        struct list_cursor cursor;
        struct api_point point;
        ck_assert_ptr_nonnull(page);
        ck_assert_uint_le(page->points.count, 7);
        ck_assert(page->points.count == 7 || page->cursor.count == 0);
        ck_assert_uint_gt(page->token.count, 0);
        list_begin(&cursor, shape_field(&api_page, "points"), &page->points);
        while (list_next(&cursor, &point)) {
            ck_assert(!seen[point.id.number]);
            seen[point.id.number] = true;
            ck_assert_uint_eq(point.payload.count, 7);
            count++;
        }
        memset(text, 0, sizeof text);
        if (page->cursor.count > 0)
            memcpy(text, page->cursor.bytes, page->cursor.count);
        fw_split(fw, pages++);
    } while (text[0] != '\0');
    ck_assert_uint_eq(count, POINTS);
}
END_TEST

START_TEST(samples_are_shared_among_the_shards)
{
    open_of(7);
    const struct api_recall_measure ask = {ASK, .samples = 70, .k = 5};
    const struct api_recall *recall = fw_call(fw, METHOD_RECALL_MEASURE, &ask);
    ck_assert_ptr_nonnull(recall);
    ck_assert_uint_eq(recall->samples, 70);
    ck_assert_double_eq_tol(recall->recall, 0.75, 1e-9);
    ck_assert(recall->low > 0.65 && recall->low < 0.75 && recall->high > 0.75);
}
END_TEST

START_TEST(deletes_and_patches_go_by_ids_or_by_a_filter)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(POINTS, false));
    struct wire_id ids[] = {number_id(0), number_id(1), number_id(999)};
    struct api_point_delete erase = {ASK, .ids = {.count = 3, .items = ids}};
    const struct api_written *written = fw_call(fw, METHOD_POINT_DELETE, &erase);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 2);
    ck_assert_uint_eq(written->failed.count, 0);
    const struct wire_filter by = {.form = FILTER_FORM_TEXT,
                                   .bytes = {(const uint8_t *)"tag == 'b'", 10}};
    const struct api_point_patch patch = {ASK, .filter = by, .set = tag('z')};
    written = fw_call(fw, METHOD_POINT_PATCH, &patch);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 19);
    erase = (struct api_point_delete){
        ASK, .filter = {.form = FILTER_FORM_TEXT, .bytes = {(const uint8_t *)"tag == 'z'", 10}}};
    written = fw_call(fw, METHOD_POINT_DELETE, &erase);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 19);
    ck_assert_uint_eq(written->token.count, routed());
    const struct api_point_count ask = {ASK};
    const struct api_count *count = fw_call(fw, METHOD_POINT_COUNT, &ask);
    ck_assert_ptr_nonnull(count);
    ck_assert_uint_eq(count->count, POINTS - 2 - 19);
}
END_TEST

static void
claim_says(struct wire_text text, const char *sentence)
{
    ck_assert_msg(text.count == strlen(sentence) && memcmp(text.bytes, sentence, text.count) == 0,
                  "%.*s", (int)text.count, text.bytes);
}

START_TEST(rows_that_are_refused_are_named_with_their_place)
{
    open_of(LOOP_SHARDS(_i));
    ck_assert_ptr_nonnull(fill(10, false));
    struct wire_id ids[4] = {number_id(100), number_id(3), number_id(101), number_id(9)};
    struct api_point_upsert ask = {ASK, .ids = {.count = 4, .items = ids},
                                   .vectors = raw(vectors, 4 * MODEL_DIM), .mode = API_INSERT};
    const struct api_written *written = fw_call(fw, METHOD_POINT_UPSERT, &ask);
    struct list_cursor cursor;
    struct api_failed failed;
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->count, 2);
    ck_assert_uint_eq(written->failed.count, 2);
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    for (uint32_t i = 0; list_next(&cursor, &failed); i++) {
        ck_assert_uint_eq(failed.row, i == 0 ? 1 : 3);
        ck_assert(memcmp(failed.name.bytes, "EXISTS", 6) == 0);
        claim_says(failed.message, "there is a point of this id already");
        ck_assert_uint_eq(failed.outcome, API_NOT_APPLIED);
    }
    // All of them: that is an error.
    ask.ids = (struct wire_list){.count = 1, .items = ids + 1};
    ask.vectors = raw(vectors, MODEL_DIM);
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_EXISTS);
    ck_assert_uint_eq(fw->error.outcome, API_NOT_APPLIED);
    ask.mode =
        API_UPDATE; // and of one that is not there, not that a field or a collection may be meant
    ids[1] = number_id(102);
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_NOT_FOUND);
    claim_says(fw->error.message, "point.upsert: there is no point of this id");
}
END_TEST

START_TEST(a_version_that_is_another_is_a_conflict)
{
    open_of(2);
    ck_assert_ptr_nonnull(fill(10, false));
    const struct wire_id id = number_id(3);
    struct api_point_upsert ask = {ASK, .ids = {.count = 1, .items = &id},
                                   .vectors = raw(vectors, MODEL_DIM),
                                   .if_version = {.given = 1, .value = 99999}};
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_CONFLICT);
    ask.if_version.value = model_find(&fw->model, &id)->version;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &ask));
}
END_TEST

static Suite *
front_suite(void)
{
    Suite *suite = suite_create("router/front");
    TCase *tcase = tcase_create("front");
    tcase_add_checked_fixture(tcase, NULL, tidy_up);
    tcase_add_loop_test(tcase, a_batch_reaches_every_shard_and_its_token_names_them, 0, 3);
    tcase_add_test(tcase, rows_of_an_array_reach_their_ids);
    tcase_add_loop_test(tcase, a_search_that_looks_at_little_is_told_from_others, 0, 5);
    tcase_add_loop_test(tcase, what_may_look_at_much_is_not_light, 0, 3);
    tcase_add_loop_test(tcase, a_search_answers_the_nearest_of_all_shards, 0, 3);
    tcase_add_test(tcase, an_alias_and_an_array_of_numbers_search_as_well);
    tcase_add_test(tcase, vectors_of_another_type_go_to_the_shards_as_they_came);
    tcase_add_loop_test(tcase, a_search_by_id_does_not_find_the_point_itself, 0, 3);
    tcase_add_test(tcase, what_a_request_has_is_said_when_it_is_begun);
    tcase_add_test(tcase, explain_says_what_each_shard_did);
    tcase_add_test(tcase, who_counts_hears_how_a_request_ended_and_what_it_took);
    tcase_add_test(tcase, a_deadline_counts_from_when_the_request_came);
    tcase_add_test(tcase, a_filter_is_the_shards_to_apply);
    tcase_add_loop_test(tcase, a_batch_of_queries_comes_back_as_matrices, 0, 3);
    tcase_add_loop_test(tcase, texts_and_payloads_of_a_batch_come_in_lists, 0, 3);
    tcase_add_loop_test(tcase, a_range_answers_all_within_the_radius, 0, 3);
    tcase_add_loop_test(tcase, a_recommendation_is_near_the_positive_and_far_from_the_negative, 0,
                        3);
    tcase_add_test(tcase, a_recommendation_by_a_point_that_is_not_there_names_its_place);
    tcase_add_loop_test(tcase, why_not_tells_one_reason_from_another, 0, 3);
    tcase_add_loop_test(tcase, points_come_back_in_the_order_of_the_ids, 0, 3);
    tcase_add_loop_test(tcase, a_count_is_of_all_shards, 0, 3);
    tcase_add_loop_test(tcase, values_are_counted_over_all_shards_the_most_frequent_first, 0, 3);
    tcase_add_loop_test(tcase, pages_survive_a_split, 0, 3);
    tcase_add_test(tcase, samples_are_shared_among_the_shards);
    tcase_add_loop_test(tcase, deletes_and_patches_go_by_ids_or_by_a_filter, 0, 3);
    tcase_add_loop_test(tcase, rows_that_are_refused_are_named_with_their_place, 0, 3);
    tcase_add_test(tcase, a_version_that_is_another_is_a_conflict);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(front_suite)
