// tests/unit/router/test_front_claim.c -- a write waits before anybody is asked while its collection has no kind of ids, and is refused where
// the collection has the other one.
//
// Shape: shell.
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/front_world.h"

#define ASK .collection = {"docs", 4}

static struct fw *fw;
static const float zeros[MODEL_DIM * 8];
static struct wire_id integers[8], texts[8];

static void
have_kind(uint8_t kind)
{
    fw->map.features = MAP_FEATURE_ID_KINDS;
    fw->collections[0].id_kind = kind;
    fw->map.version++;
    fw_publish(fw);
}

static void
fresh(void)
{
    static char names[8][4];
    fw = fw_open(3, 4);
    for (uint32_t i = 0; i < 8; i++) {
        snprintf(names[i], sizeof names[i], "t%u", i);
        integers[i] = number_id(i);
        texts[i] = text_id(names[i]);
    }
    have_kind(MAP_IDS_OPEN);
}

static void
tidy_up(void)
{
    fw_close(fw);
    fw = NULL;
}

static struct api_point_upsert
upsert(const struct wire_id *ids)
{
    return (struct api_point_upsert){ASK, .ids = {.count = 8, .items = ids},
                                     .vectors = {.form = VECTORS_RAW,
                                                 .dtype = WIRE_F32,
                                                 .count = 8 * MODEL_DIM,
                                                 .bytes = {(const uint8_t *)zeros, sizeof zeros}}};
}

static void
refused(enum method_number method, const void *ask, const char *words)
{
    const uint32_t parts = fw->parts_sent;
    ck_assert_ptr_null(fw_call(fw, method, ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_ID_KIND);
    ck_assert_uint_eq(fw->error.outcome, API_NOT_APPLIED);
    ck_assert(memmem(fw->error.message.bytes, fw->error.message.count, words, strlen(words)) !=
              NULL);
    ck_assert_uint_eq(fw->parts_sent, parts);
    ck_assert_uint_eq(fw->claims, 0);
}

// The shell gives it again.
static void
go_on(void)
{
    const struct rpc_request request = fw->claimed;
    fw->claimed.frame = NULL;
    front_request(fw->front, fw->now_ns, fw, &request);
    front_check(fw->front);
}

START_TEST(the_first_write_claims_its_kind_and_nobody_is_asked_before_the_map_has_one)
{
    const struct api_point_upsert ask = upsert(_i == 0 ? integers : texts);
    const uint8_t kind = _i == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT;
    fw->received_ns = fw->now_ns;
    fw_ask(fw, METHOD_POINT_UPSERT, &ask);
    ck_assert_uint_eq(fw->claims, 1);
    ck_assert_uint_eq(fw->claim.collection, FW_COLLECTION);
    ck_assert_uint_eq(fw->claim.kind, kind);
    ck_assert_uint_eq(fw->claim.deadline_ns, fw->now_ns + FRONT_DEADLINE_MS * FW_MS);
    ck_assert_uint_eq(fw->parts_sent, 0);
    ck_assert_uint_eq(fw->answers, 0);
    ck_assert_uint_eq(fw->dones, 0);
    ck_assert_uint_eq(front_pending(fw->front), 0);
    have_kind(kind);
    go_on();
    fw_await(fw);
    ck_assert_uint_eq(fw->answers, 1);
    ck_assert_int_eq(fw->error.status, OMEN_OK);
    ck_assert_uint_eq(fw->claims, 1);
}
END_TEST

// Whether or not who gave it said when it had come.
START_TEST(what_waited_for_its_claim_has_what_is_left_of_its_deadline)
{
    struct api_point_upsert ask = upsert(integers);
    const uint64_t begun_ns = fw->now_ns;
    ask.deadline_ms = 5000;
    fw->received_ns = _i == 0 ? 0 : begun_ns;
    fw_ask(fw, METHOD_POINT_UPSERT, &ask);
    ck_assert_uint_eq(fw->claims, 1);
    ck_assert_uint_eq(fw->claim.deadline_ns, begun_ns + 5000 * FW_MS);
    fw->now_ns += 4000 * FW_MS;
    have_kind(MAP_IDS_INTEGER);
    fw->faults.lost = 1000;
    go_on();
    ck_assert_uint_gt(fw->parts_sent, 0);
    ck_assert_uint_le(fw->deadline_ms, 1001);
    fw_await(fw);
    ck_assert_int_eq(fw->error.status, OMEN_E_TIMEOUT);
    ck_assert_uint_gt(fw->now_ns, begun_ns + 4900 * FW_MS);
    ck_assert_uint_lt(fw->now_ns, begun_ns + 5100 * FW_MS);
}
END_TEST

START_TEST(who_comes_second_with_the_other_kind_is_refused_whole)
{
    const struct api_point_upsert ask = upsert(texts);
    fw_ask(fw, METHOD_POINT_UPSERT, &ask);
    ck_assert_uint_eq(fw->claims, 1);
    fw->claims = 0;
    have_kind(MAP_IDS_INTEGER);
    go_on();
    ck_assert_uint_eq(fw->answers, 1);
    ck_assert_int_eq(fw->error.status, OMEN_E_ID_KIND);
    ck_assert_uint_eq(fw->parts_sent, 0);
    refused(METHOD_POINT_UPSERT, &ask, "holds integer ids; text ids were given");
    have_kind(MAP_IDS_TEXT);
    const struct api_point_upsert other = upsert(integers);
    refused(METHOD_POINT_UPSERT, &other, "holds text ids; integer ids were given");
}
END_TEST

// The modes and methods that make no point.
START_TEST(what_makes_no_point_claims_nothing_and_is_refused_by_a_kind_alone)
{
    struct api_point_upsert update = upsert(texts);
    update.mode = API_UPDATE;
    const struct api_point_delete gone = {ASK, .ids = {.count = 8, .items = texts}};
    const struct api_point_patch patch = {ASK, .ids = {.count = 8, .items = texts},
                                          .set = {(const uint8_t *)"\x80", 1}};
    const struct api_point_get get = {ASK, .ids = {.count = 8, .items = texts}};
    const struct {
        enum method_number method;
        const void *ask;
    } asks[] = {{METHOD_POINT_UPSERT, &update},
                {METHOD_POINT_DELETE, &gone},
                {METHOD_POINT_PATCH, &patch},
                {METHOD_POINT_GET, &get}};
    const uint32_t parts = fw->parts_sent;
    (void)fw_call(fw, asks[_i].method, asks[_i].ask);
    ck_assert_uint_eq(fw->claims, 0);
    ck_assert_uint_gt(fw->parts_sent, parts);
    have_kind(MAP_IDS_INTEGER);
    if (asks[_i].method != METHOD_POINT_GET) {
        refused(asks[_i].method, asks[_i].ask, "holds integer ids; text ids were given");
        return;
    }
    const struct api_points *points = fw_call(fw, METHOD_POINT_GET, &get);
    ck_assert_ptr_nonnull(points); // reads find nothing, as of any id that nobody wrote
}
END_TEST

START_TEST(an_insert_claims_as_an_upsert_does)
{
    struct api_point_upsert insert = upsert(texts);
    insert.mode = API_INSERT;
    fw_ask(fw, METHOD_POINT_UPSERT, &insert);
    ck_assert_uint_eq(fw->claims, 1);
    ck_assert_uint_eq(fw->claim.kind, MAP_IDS_TEXT);
}
END_TEST

START_TEST(of_a_collection_of_before_the_shards_judge)
{
    const struct api_point_upsert one = upsert(integers), other = upsert(texts);
    have_kind(MAP_IDS_UNKEPT);
    ck_assert_ptr_nonnull(fw_call(fw, METHOD_POINT_UPSERT, &one));
    const uint32_t parts = fw->parts_sent;
    (void)fw_call(fw, METHOD_POINT_UPSERT, &other);
    ck_assert_uint_gt(fw->parts_sent, parts);
    ck_assert_uint_eq(fw->claims, 0);
}
END_TEST

START_TEST(what_is_refused_anyway_claims_nothing)
{
    struct api_point_upsert ask = upsert(texts);
    ask.vectors.count--;
    ask.vectors.bytes.count -= 4;
    ck_assert_ptr_null(fw_call(fw, METHOD_POINT_UPSERT, &ask));
    ck_assert_int_eq(fw->error.status, OMEN_E_DIMENSION);
    ck_assert_uint_eq(fw->claims, 0);
}
END_TEST

static Suite *
front_claim_suite(void)
{
    Suite *suite = suite_create("router/front_claim");
    TCase *tcase = tcase_create("front_claim");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_waited_for_its_claim_has_what_is_left_of_its_deadline, 0, 2);
    tcase_add_loop_test(
        tcase, the_first_write_claims_its_kind_and_nobody_is_asked_before_the_map_has_one, 0, 2);
    tcase_add_test(tcase, who_comes_second_with_the_other_kind_is_refused_whole);
    tcase_add_loop_test(tcase, what_makes_no_point_claims_nothing_and_is_refused_by_a_kind_alone, 0,
                        4);
    tcase_add_test(tcase, an_insert_claims_as_an_upsert_does);
    tcase_add_test(tcase, of_a_collection_of_before_the_shards_judge);
    tcase_add_test(tcase, what_is_refused_anyway_claims_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(front_claim_suite)
