// tests/unit/router/test_front_fault.c -- what cannot be done is refused by name, and what went wrong is said and never made up.
//
// Shape: shell.
#include "router/front.h"

#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/front_world.h"

#define ASK .collection = {"docs", 4}

static struct fw *fw;
static const float zeros[MODEL_DIM * 4];

static void
fresh(void)
{
    fw = fw_open(3, 4);
}

static void
tidy_up(void)
{
    mem_fail_after(0);
    fw_close(fw);
    fw = NULL;
}

static struct wire_vectors
raw(uint32_t count)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = count,
                                 .bytes = {(const uint8_t *)zeros, count * 4}};
}

static struct api_point_upsert
upsert_of(const struct wire_id *ids, uint32_t count)
{
    return (struct api_point_upsert){ASK, .ids = {.count = count, .items = ids},
                                     .vectors = raw(count * MODEL_DIM)};
}

static const struct wire_id three[] = {
    {.given = 1, .number = 1}, {.given = 1, .number = 2}, {.given = 1, .number = 3}};

static struct api_query_search
search(void)
{
    return (struct api_query_search){ASK, .vector = raw(MODEL_DIM), .k = 2};
}

// An error with this status, whose sentence has these words.
static void
refused(enum method_number method, const void *ask, omen_status status, const char *words)
{
    ck_assert_ptr_null(fw_call(fw, method, ask));
    ck_assert_msg(fw->error.status == status, "%d: %.*s", fw->error.status,
                  (int)fw->error.message.count, fw->error.message.bytes);
    ck_assert_msg(memmem(fw->error.message.bytes, fw->error.message.count, words, strlen(words)) !=
                      NULL,
                  "%.*s", (int)fw->error.message.count, fw->error.message.bytes);
    ck_assert_uint_eq(front_pending(fw->front), 0);
}

// ---- refused before anybody is asked ----

START_TEST(a_collection_that_is_not_there_is_named)
{
    struct api_query_search ask = search();
    ask.collection = fw_text("nope");
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_NOT_FOUND, "'nope'");
    ask.collection = fw_text("empty");
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_NOT_FOUND, "no shard of the collection is open");
    struct api_point_upsert write = upsert_of(three, 3);
    write.collection = fw_text("nope");
    refused(METHOD_POINT_UPSERT, &write, OMEN_E_NOT_FOUND, "'nope'");
    ck_assert_uint_eq(fw->error.outcome, API_NOT_APPLIED);
    ck_assert_uint_eq(fw->parts_sent, 0);
}
END_TEST

START_TEST(a_key_reaches_the_collections_of_its_glob_only)
{
    static const struct {
        const char *glob, *name;
        bool fits;
    } cases[] = {
        {"docs", "docs", true}, {"d*", "docs", true},    {"*s", "live", true},
        {"d?cs", "docs", true}, {"*", "docs", true},     {"doc", "docs", false},
        {"x*", "docs", false},  {"live", "live", false}, {"docs*x", "docs", false},
        {"*c*", "docs", true},
    };
    struct api_query_search ask = search();
    snprintf(fw->session.glob, sizeof fw->session.glob, "%s", cases[_i].glob);
    ask.collection = fw_text(cases[_i].name);
    if (cases[_i].fits)
        ck_assert_ptr_nonnull(fw_call(fw, METHOD_QUERY_SEARCH, &ask));
    else
        refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_AUTH, cases[_i].glob);
}
END_TEST

START_TEST(a_collection_beyond_the_glob_is_refused_alike_whether_it_is_there_or_not)
{
    struct api_query_search ask = search();
    snprintf(fw->session.glob, sizeof fw->session.glob, "mine*");
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_AUTH, "'docs'");
    ask.collection = fw_text("nope");
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_AUTH, "'nope'");
}
END_TEST

START_TEST(vectors_of_another_dimension_are_refused_with_both_numbers)
{
    struct api_query_search ask = search();
    ask.vector = raw(5);
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_DIMENSION, "5 components; the collection has 4");
    struct api_point_upsert write = upsert_of(three, 3);
    write.vectors = raw(15);
    refused(METHOD_POINT_UPSERT, &write, OMEN_E_DIMENSION, "15 components");
    const struct api_query_batch batch = {ASK, .vectors = raw(7)};
    refused(METHOD_QUERY_BATCH, &batch, OMEN_E_DIMENSION, "7 components");
    ck_assert_uint_eq(fw->parts_sent, 0);
}
END_TEST

START_TEST(a_collection_of_whole_numbers_is_written_in_its_own_type_alone)
{
    fw->collections[0].dtype = WIRE_I8;
    fw->map.version++;
    fw_publish(fw);
    struct api_point_upsert write = upsert_of(three, 3);
    refused(METHOD_POINT_UPSERT, &write, OMEN_E_DTYPE,
            "vectors are f32; the collection takes i8, or arrays of whole numbers");
    write.vectors.dtype = WIRE_U8;
    write.vectors.bytes.count = 3 * MODEL_DIM;
    refused(METHOD_POINT_UPSERT, &write, OMEN_E_DTYPE,
            "vectors are u8; the collection takes i8, or arrays of whole numbers");
    ck_assert_uint_eq(fw->parts_sent, 0);
}
END_TEST

START_TEST(ids_of_two_kinds_are_refused_with_their_places)
{
    const struct wire_id ids[] = {number_id(1), text_id("x")};
    const struct api_point_upsert ask = upsert_of(ids, 2);
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_ID_KIND, "ids[1] is a text, ids[0] is an integer");
}
END_TEST

// The encoder would not write them: bytes as a client may send them.
static void
refused_bytes(const char *method, const uint8_t *map, uint32_t count, omen_status status,
              const char *words)
{
    struct encode frame;
    encode_init(&frame, WIRE_FRAME_BYTES_MAX);
    encode_array(&frame, 4);
    encode_u64(&frame, 0);
    encode_u64(&frame, 9);
    encode_word(&frame, method);
    encode_array(&frame, 1);
    encode_raw(&frame, map, count);
    const uint32_t before = fw->answers;
    fw_request(fw, &(struct wire_bytes){frame.bytes, (uint32_t)frame.count});
    encode_fini(&frame);
    ck_assert_uint_eq(fw->answers, before + 1);
    ck_assert_int_eq(fw->error.status, status);
    ck_assert_msg(memmem(fw->error.message.bytes, fw->error.message.count, words, strlen(words)) !=
                      NULL,
                  "%.*s", (int)fw->error.message.count, fw->error.message.bytes);
}

START_TEST(limits_are_refused_by_the_name_of_their_key)
{
    struct encode map;
    static const struct {
        const char *method, *key;
        uint64_t value;
        omen_status status;
    } cases[] = {
        {"query.search", "k", 10001, OMEN_E_K},
        {"query.search", "k", UINT32_MAX, OMEN_E_K},
        {"query.search", "ef", 10001, OMEN_E_INVALID},
        {"query.search", "ef", UINT32_MAX, OMEN_E_INVALID},
        {"query.range", "limit", 10001, OMEN_E_INVALID},
        {"point.scroll", "limit", 10001, OMEN_E_INVALID},
        {"point.facet", "limit", UINT32_MAX, OMEN_E_INVALID},
        {"recall.measure", "samples", 10001, OMEN_E_INVALID},
        {"query.search", "deadline_ms", 86400001, OMEN_E_INVALID},
        {"query.search", "nonsense", 1, OMEN_E_INVALID},
    };
    encode_init(&map, 1000);
    encode_map(&map, 2);
    encode_word(&map, "collection");
    encode_word(&map, "docs");
    encode_word(&map, cases[_i].key);
    encode_u64(&map, cases[_i].value);
    refused_bytes(cases[_i].method, map.bytes, (uint32_t)map.count, cases[_i].status,
                  cases[_i].key);
    encode_fini(&map);
}
END_TEST

START_TEST(more_ids_than_a_batch_may_have_are_refused)
{
    struct encode map;
    encode_init(&map, 1000000);
    encode_map(&map, 2);
    encode_word(&map, "collection");
    encode_word(&map, "docs");
    encode_word(&map, "ids");
    encode_array(&map, WIRE_BATCH_MAX + 1);
    for (uint32_t i = 0; i <= WIRE_BATCH_MAX; i++)
        encode_u64(&map, i);
    refused_bytes("point.get", map.bytes, (uint32_t)map.count, OMEN_E_INVALID, "ids has 10001");
    encode_fini(&map);
}
END_TEST

START_TEST(matrices_that_fit_no_answer_are_refused_before_they_are_asked_for)
{
    static float many[200 * MODEL_DIM];
    struct api_query_batch ask = {ASK, .k = 10000};
    ask.vectors = (struct wire_vectors){.form = VECTORS_RAW,
                                        .dtype = WIRE_F32,
                                        .count = 200 * MODEL_DIM,
                                        .bytes = {(const uint8_t *)many, sizeof many}};
    refused(METHOD_QUERY_BATCH, &ask, OMEN_E_INVALID, "200 queries of k = 10000");
    ask.k = 3;
    ask.result = API_MATRIX;
    ask.with = API_WITH_PAYLOAD;
    refused(METHOD_QUERY_BATCH, &ask, OMEN_E_INVALID, "with");
}
END_TEST

START_TEST(ids_that_are_no_hits_count_in_k)
{
    struct api_query_search ask = search();
    ask.vector = (struct wire_vectors){.form = VECTORS_NONE};
    ask.id = number_id(1);
    ask.k = 10000;
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_K, "at most 9999");
    const struct api_query_recommend recommend = {ASK, .positive = {.count = 3, .items = three},
                                                  .k = 9998};
    refused(METHOD_QUERY_RECOMMEND, &recommend, OMEN_E_K, "3 ids");
}
END_TEST

START_TEST(a_point_that_is_not_there_has_no_neighbours)
{
    struct api_query_search ask = search();
    ask.vector = (struct wire_vectors){.form = VECTORS_NONE};
    ask.id = number_id(1);
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_NOT_FOUND, "no point of this id");
    const struct api_query_recommend recommend = {ASK, .positive = {.count = 3, .items = three}};
    refused(METHOD_QUERY_RECOMMEND, &recommend, OMEN_E_NOT_FOUND, "positive[0]");
}
END_TEST

START_TEST(a_cursor_is_one_that_a_page_gave)
{
    static const char *const cursors[] = {"x", "0123456789abcdeg", "0123456789ABCDEF",
                                          "0123456789abcdef0"};
    const struct api_point_scroll ask = {ASK, .cursor = fw_text(cursors[_i])};
    refused(METHOD_POINT_SCROLL, &ask, OMEN_E_INVALID, "cursor");
}
END_TEST

// ---- what happens to parts ----

START_TEST(a_write_that_nobody_answers_is_unknown_at_its_deadline)
{
    struct api_point_upsert ask = upsert_of(three, 3);
    const uint64_t begun_ns = fw->now_ns;
    ask.deadline_ms = _i == 0 ? 0 : 300;
    fw->faults.lost_back = 1000;
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_TIMEOUT, "point.upsert");
    ck_assert_uint_eq(fw->error.outcome, API_UNKNOWN);
    const uint64_t took_ns = fw->now_ns - begun_ns;
    ck_assert_uint_le(took_ns, (_i == 0 ? FRONT_DEADLINE_MS : 300) * FW_MS);
    ck_assert_uint_ge(took_ns, (_i == 0 ? FRONT_DEADLINE_MS : 300) * FW_MS * 9 / 10);
}
END_TEST

START_TEST(a_write_that_every_shard_refused_was_not_done)
{
    const struct api_point_upsert ask = upsert_of(three, 3);
    fw->refusal = OMEN_E_DISK_FULL;
    fw->reason = "5 MB are left, and 8 are kept for deletes";
    refused(METHOD_POINT_UPSERT, &ask, OMEN_E_DISK_FULL, fw->reason);
    ck_assert_uint_eq(fw->error.outcome, API_NOT_APPLIED);
}
END_TEST

START_TEST(a_shards_sentence_reaches_the_client)
{
    const struct api_query_search ask = search();
    fw->refusal = OMEN_E_FILTER;
    fw->reason = "filter: expected a value at byte 7";
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_FILTER, "expected a value at byte 7");
    fw->reason = "\xff\xfe";
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_FILTER, "filter cannot be parsed");
}
END_TEST

START_TEST(a_search_without_a_shard_is_an_error_unless_it_may_be_partial)
{
    const struct api_point_upsert write = upsert_of(three, 3);
    struct api_query_search ask = search();
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &write));
    fw->silent = fw->shards[1].id;
    ask.deadline_ms = 200;
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_TIMEOUT, "shard");
    ask.partial = 1;
    const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
    struct list_cursor cursor;
    struct api_shard_failed failed;
    ck_assert_ptr_nonnull(hits);
    ck_assert_uint_eq(hits->shards_failed.count, 1);
    list_begin(&cursor, shape_field(&api_hits, "shards_failed"), &hits->shards_failed);
    ck_assert(list_next(&cursor, &failed));
    ck_assert_uint_eq(failed.shard, fw->silent);
    ck_assert(memcmp(failed.name.bytes, "TIMEOUT", 7) == 0);
    ck_assert_uint_eq(hits->token.count, 3);
    // A count has no way to allow it.
    const struct api_point_count count = {ASK, .deadline_ms = 200};
    refused(METHOD_POINT_COUNT, &count, OMEN_E_TIMEOUT, "shard");
}
END_TEST

START_TEST(a_delete_by_filter_that_lacks_a_shard_is_unknown)
{
    const struct api_point_upsert write = upsert_of(three, 3);
    const struct api_point_delete ask = {
        ASK, .deadline_ms = 200,
        .filter = {.form = FILTER_FORM_TEXT, .bytes = {(const uint8_t *)"not exists(a)", 13}}};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &write));
    fw->silent = fw->shards[2].id;
    refused(METHOD_POINT_DELETE, &ask, OMEN_E_TIMEOUT, "point.delete");
    ck_assert_uint_eq(fw->error.outcome, API_UNKNOWN);
}
END_TEST

START_TEST(an_old_map_is_found_out_and_the_write_is_cut_anew)
{
    struct wire_id ids[40];
    static float vectors[40 * MODEL_DIM];
    for (uint32_t i = 0; i < 40; i++)
        ids[i] = number_id(i);
    struct api_point_upsert ask = {ASK, .ids = {.count = 40, .items = ids}};
    ask.vectors = (struct wire_vectors){.form = VECTORS_RAW,
                                        .dtype = WIRE_F32,
                                        .count = 40 * MODEL_DIM,
                                        .bytes = {(const uint8_t *)vectors, sizeof vectors}};
    fw->hides_map = true;
    for (uint32_t i = 0; i < 4; i++)
        fw_split(fw, i);
    fw_ask(fw, METHOD_POINT_UPSERT, &ask);
    for (uint32_t i = 0; i < 12; i++)
        ck_assert(fw_step(fw));
    ck_assert_uint_eq(fw->answers, 0);
    fw->hides_map = false;
    fw_await(fw);
    ck_assert_uint_eq(fw->answers, 1);
    ck_assert_int_eq(fw->error.status, OMEN_OK);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert(model_find(&fw->model, &ids[i])->there);
    ck_assert_uint_gt(front_counters(fw->front)->splits, 0);
}
END_TEST

START_TEST(a_copy_that_answers_nonsense_is_one_that_failed)
{
    const struct api_point_upsert write = upsert_of(three, 3);
    const struct api_query_search ask = search();
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &write));
    fw->garbled = 2; // one copy of each shard
    for (uint32_t i = 0; i < 30; i++) {
        const struct api_hits *hits = fw_call(fw, METHOD_QUERY_SEARCH, &ask);
        ck_assert_ptr_nonnull(hits);
        ck_assert_uint_eq(hits->hits.count, 2);
    }
    ck_assert_uint_gt(front_counters(fw->front)->retries, 0);
}
END_TEST

// ---- clients ----

START_TEST(a_clients_name_of_its_write_is_every_shards)
{
    struct api_point_upsert ask = upsert_of(three, 3);
    ask.op_id = (struct wire_uuid){0x1234, 0x5678};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_uint_eq(fw->last_part.op_high, 0x1234);
    ck_assert_uint_eq(fw->last_part.op_low, 0x5678);
    ask.op_id = (struct wire_uuid){0, 0};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_uint_eq(fw->last_part.op_high >> 16, fw_date_ms(NULL)); // version 7
    ck_assert_uint_eq(fw->last_part.op_high >> 12 & 15, 7);
    ck_assert_uint_eq(fw->last_part.op_low >> 62, 2);
}
END_TEST

START_TEST(consistency_is_passed_on_and_a_token_means_a_session)
{
    const struct api_point_upsert write = upsert_of(three, 1);
    const struct api_written *written = fw_call(fw, METHOD_POINT_UPSERT, &write);
    struct list_cursor cursor;
    struct wire_token token;
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(written->token.count, 1);
    token_begin(&cursor, &written->token);
    ck_assert(list_next(&cursor, &token));
    struct api_point_get ask = {ASK, .ids = {.count = 1, .items = three}};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_GET, &ask));
    ck_assert_uint_eq(fw->last_part.consistency, WIRE_ANY);
    ask.after = (struct wire_list){.count = 1, .items = &token};
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_GET, &ask));
    ck_assert_uint_eq(fw->last_part.consistency, WIRE_SESSION);
    ck_assert_uint_eq(fw->last_part.after_seq, token.seq);
    ask.consistency = API_EVENTUAL;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_GET, &ask));
    ck_assert_uint_eq(fw->last_part.consistency, WIRE_ANY);
    ask.consistency = API_STRONG;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_GET, &ask));
    ck_assert_uint_eq(fw->last_part.consistency, WIRE_STRONG);
}
END_TEST

START_TEST(what_a_gone_client_asked_for_is_not_looked_for)
{
    const struct api_query_search ask = search();
    fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
    front_gone(fw->front, fw->now_ns, fw);
    ck_assert_uint_eq(fw->answers, 1);
    ck_assert_int_eq(fw->error.status, OMEN_E_CANCELLED);
    ck_assert_uint_eq(fw->cancels, 4);
    ck_assert_uint_eq(front_pending(fw->front), 0);
    // A write is: others wait for it.
    const struct api_point_upsert write = upsert_of(three, 3);
    fw_ask(fw, METHOD_POINT_UPSERT, &write);
    front_gone(fw->front, fw->now_ns, fw);
    ck_assert_uint_eq(front_pending(fw->front), 1);
    fw_await(fw);
    ck_assert_uint_eq(fw->answers, 2);
    ck_assert(model_find(&fw->model, &three[0])->there);
}
END_TEST

START_TEST(more_requests_than_there_is_room_for_are_busy)
{
    const struct api_query_search ask = search();
    for (uint32_t i = 0; i < fw_fanout_config().requests_max; i++)
        fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
    ck_assert_uint_eq(fw->answers, 0);
    fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
    ck_assert_uint_eq(fw->answers, 1);
    ck_assert_int_eq(fw->error.status, OMEN_E_BUSY);
    ck_assert_uint_eq(fw->error.retryable, 1);
    while (front_pending(fw->front) > 0)
        ck_assert(fw_step(fw));
    ck_assert_uint_eq(fw->answers, 1 + fw_fanout_config().requests_max);
}
END_TEST

// Nobody is answered, and nothing is left: the sanitizer sees it.
START_TEST(a_front_may_be_closed_with_requests_under_way)
{
    const struct api_point_upsert write = upsert_of(three, 3);
    const struct api_query_search ask = search();
    for (uint32_t i = 0; i < 5; i++) {
        fw_ask(fw, METHOD_POINT_UPSERT, &write);
        fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
    }
    for (uint32_t i = 0; i < 25; i++) // some replies are lent
        ck_assert(fw_step(fw));
    ck_assert_uint_gt(front_pending(fw->front), 0);
}
END_TEST

START_TEST(statuses_that_this_version_does_not_know_are_unknown_outcomes)
{
    const struct api_point_upsert write = upsert_of(three, 1);
    fw->refusal = -200;
    fw->faults.lost = 0;
    struct api_point_upsert ask = write;
    ask.deadline_ms = 200;
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_uint_eq(fw->error.outcome, API_UNKNOWN);
    fw->refusal = OMEN_OK;
    fw->row_status = -200;
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_INTERNAL);
}
END_TEST

START_TEST(without_a_map_nothing_can_be_asked)
{
    struct fw *other = fw;
    const struct api_query_search ask = search();
    const struct front_config config = {.fanout = fw_fanout_config(),
                                        .context = other,
                                        .date_ms = fw_date_ms,
                                        .part = fw_part,
                                        .cancel = fw_cancel,
                                        .answer = fw_answer,
                                        .want_map = fw_want_map,
                                        .release = fw_release};
    struct front *before = fw->front;
    ck_assert_int_eq(front_open(&config, &fw->front), OMEN_OK);
    refused(METHOD_QUERY_SEARCH, &ask, OMEN_E_BUSY, "no map");
    front_close(fw->front);
    fw->front = before;
}
END_TEST

// ---- memory ----

// Whatever allocation fails, the client is answered once, and nothing is left.
START_TEST(every_refused_allocation_is_an_answer)
{
    struct wire_id ids[30];
    static float vectors[30 * MODEL_DIM];
    for (uint32_t i = 0; i < 30; i++)
        ids[i] = number_id(i);
    const struct api_point_upsert write = {
        ASK, .ids = {.count = 30, .items = ids},
        .vectors = {.form = VECTORS_RAW,
                    .dtype = WIRE_F32,
                    .count = 30 * MODEL_DIM,
                    .bytes = {(const uint8_t *)vectors, sizeof vectors}}};
    struct api_query_search ask = search();
    ask.explain = 1;
    ask.deadline_ms = 300;
    ask.vector = (struct wire_vectors){.form = VECTORS_NONE};
    ask.id = number_id(7);
    fw->short_of_memory = true;
    bool refused_any = true;
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &write));
    for (uint32_t n = 1; refused_any; n++) {
        const uint32_t before = fw->answers;
        fw->fail_at = n;
        if (_i == 0)
            fw_ask(fw, METHOD_QUERY_SEARCH, &ask);
        else
            fw_ask(fw, METHOD_POINT_UPSERT, &write);
        while (front_pending(fw->front) > 0)
            ck_assert(fw_step(fw));
        refused_any = mem_refused() > 0;
        mem_fail_after(0);
        ck_assert_uint_eq(fw->answers, before + 1);
        ck_assert_uint_lt(n, 400);
    }
}
END_TEST

static Suite *
front_fault_suite(void)
{
    Suite *suite = suite_create("router/front_fault");
    TCase *tcase = tcase_create("front_fault");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, a_collection_that_is_not_there_is_named);
    tcase_add_loop_test(tcase, a_key_reaches_the_collections_of_its_glob_only, 0, 10);
    tcase_add_test(tcase, a_collection_beyond_the_glob_is_refused_alike_whether_it_is_there_or_not);
    tcase_add_test(tcase, vectors_of_another_dimension_are_refused_with_both_numbers);
    tcase_add_test(tcase, a_collection_of_whole_numbers_is_written_in_its_own_type_alone);
    tcase_add_test(tcase, ids_of_two_kinds_are_refused_with_their_places);
    tcase_add_loop_test(tcase, limits_are_refused_by_the_name_of_their_key, 0, 10);
    tcase_add_test(tcase, more_ids_than_a_batch_may_have_are_refused);
    tcase_add_test(tcase, matrices_that_fit_no_answer_are_refused_before_they_are_asked_for);
    tcase_add_test(tcase, ids_that_are_no_hits_count_in_k);
    tcase_add_test(tcase, a_point_that_is_not_there_has_no_neighbours);
    tcase_add_loop_test(tcase, a_cursor_is_one_that_a_page_gave, 0, 4);
    tcase_add_loop_test(tcase, a_write_that_nobody_answers_is_unknown_at_its_deadline, 0, 2);
    tcase_add_test(tcase, a_write_that_every_shard_refused_was_not_done);
    tcase_add_test(tcase, a_shards_sentence_reaches_the_client);
    tcase_add_test(tcase, a_search_without_a_shard_is_an_error_unless_it_may_be_partial);
    tcase_add_test(tcase, a_delete_by_filter_that_lacks_a_shard_is_unknown);
    tcase_add_test(tcase, an_old_map_is_found_out_and_the_write_is_cut_anew);
    tcase_add_test(tcase, a_copy_that_answers_nonsense_is_one_that_failed);
    tcase_add_test(tcase, a_clients_name_of_its_write_is_every_shards);
    tcase_add_test(tcase, consistency_is_passed_on_and_a_token_means_a_session);
    tcase_add_test(tcase, what_a_gone_client_asked_for_is_not_looked_for);
    tcase_add_test(tcase, more_requests_than_there_is_room_for_are_busy);
    tcase_add_test(tcase, a_front_may_be_closed_with_requests_under_way);
    tcase_add_test(tcase, statuses_that_this_version_does_not_know_are_unknown_outcomes);
    tcase_add_test(tcase, without_a_map_nothing_can_be_asked);
    tcase_add_loop_test(tcase, every_refused_allocation_is_an_answer, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(front_fault_suite)
