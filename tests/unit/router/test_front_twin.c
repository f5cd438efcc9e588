// tests/unit/router/test_front_twin.c -- a front over shards that split, refuse and lose messages answers what one dumb array answers.
//
// Shape: shell. Lives by seed: FRONT_SEED=n runs one, FRONT_SEEDS=n the first n. One request at a time, so that the array is a witness:
// what is answered is all of it, what is acknowledged was done, and what is said not to be done was not.
#include "router/front.h"

#include <math.h>
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/front_world.h"

#define IDS 80u
#define BATCH 25u
#define REQUESTS 60u
#define ASK .collection = {"docs", 4}

static struct fw *fw;
static struct prng prng;
static bool texts;
static char names[IDS][8];
static uint64_t op;
static struct {
    uint32_t answered, refused, items, pages, splits;
} seen;

static uint32_t
below(uint32_t bound)
{
    return prng_below(&prng, bound);
}

static struct wire_id
any_id(void)
{
    const uint32_t i = below(IDS);
    snprintf(names[i], sizeof names[i], "k%u", i);
    return texts ? text_id(names[i]) : number_id(i);
}

static struct wire_bytes
any_payload(void)
{
    static uint8_t bytes[BATCH][7];
    static uint32_t next;
    uint8_t *at = bytes[next++ % BATCH];
    memcpy(at, (uint8_t[]){0x81, 0xa3, 't', 'a', 'g', 0xa1, (uint8_t)('a' + below(4))}, 7);
    return (struct wire_bytes){at, below(5) == 0 ? 0 : 7};
}

static struct wire_vectors
any_vectors(uint32_t count)
{
    static float values[BATCH * MODEL_DIM];
    for (uint32_t i = 0; i < count * MODEL_DIM; i++)
        values[i] = (float)below(8); // with ties
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = count * MODEL_DIM,
                                 .bytes = {(const uint8_t *)values, count * MODEL_DIM * 4}};
}

static struct wire_filter
any_filter(void)
{
    static const char *const filters[] = {"tag == 'a'", "not tag == 'b'", "exists(tag)",
                                          "tag in ['a', 'c']"};
    const char *text = filters[below(4)];
    if (below(2) == 0)
        return (struct wire_filter){.form = FILTER_FORM_NONE};
    return (struct wire_filter){.form = FILTER_FORM_TEXT,
                                .bytes = {(const uint8_t *)text, (uint32_t)strlen(text)}};
}

// Distinct.
static uint32_t
any_ids(struct wire_id *ids)
{
    uint32_t count = 0;
    for (uint32_t tries = 1 + below(BATCH); tries > 0; tries--) {
        const struct wire_id id = any_id();
        bool there = false;
        for (uint32_t i = 0; i < count; i++)
            there |= id_hash(&ids[i]) == id_hash(&id);
        if (!there)
            ids[count++] = id;
    }
    return count;
}

// ---- the world goes on beside a request ----

static const void *
ask_for(enum method_number method, const void *ask)
{
    static union method_body body;
    struct omen_error error = {.text = ""};
    const uint32_t before = fw->answers;
    const uint64_t begun_ns = fw->now_ns;
    fw->hides_map = below(3) == 0;
    if (below(6) == 0) {
        const uint32_t shard = below(fw->map.shard_count);
        const uint64_t version = fw->map.version;
        if (fw->map.shard_count + 2 < 60)
            fw_split(fw, shard);
        seen.splits += fw->map.version != version;
    }
    fw_ask(fw, method, ask);
    for (uint32_t steps = 0; fw->answers == before; steps++) {
        ck_assert(fw_step(fw));
        fw->hides_map = fw->hides_map && steps < 40;
        ck_assert_uint_lt(steps, 100000);
    }
    ck_assert_uint_eq(fw->answers, before + 1);
    ck_assert_uint_le(fw->now_ns - begun_ns, 2000 * FW_MS);
    seen.answered += fw->error.status == OMEN_OK;
    seen.refused += fw->error.status != OMEN_OK;
    if (fw->error.status != OMEN_OK)
        return NULL;
    ck_assert_msg(rpc_read_answer(&fw->said, method_at(method), &body, &error) == OMEN_OK, "%s",
                  error.text);
    return &body;
}

// Until nothing of it is in the air. The answer stays.
static void
settle(void)
{
    const uint32_t before = fw->answers;
    while (fw->flight_count > 0)
        ck_assert(fw_step(fw));
    ck_assert_uint_eq(fw->answers, before);
}

// ---- reads ----

static void
same_hit(const struct api_hit *hit, const struct model_hit *expected, uint32_t with)
{
    const struct model_point *point = expected->point;
    ck_assert(hit->distance == expected->distance);
    ck_assert_uint_eq(id_hash(&hit->id), point->hash);
    ck_assert_uint_eq(hit->version, point->version);
    const uint32_t payload = (with & API_WITH_PAYLOAD) != 0 ? point->payload_bytes : 0;
    ck_assert_uint_eq(hit->payload.count, payload);
    if ((with & API_WITH_VECTOR) != 0)
        ck_assert(memcmp(hit->vector.bytes.bytes, point->vector, sizeof point->vector) == 0);
}

static void
same_hits(const struct wire_list *hits, const struct field *field, const struct model_hit *expected,
          uint32_t count, uint32_t with)
{
    struct list_cursor cursor;
    struct api_hit hit;
    ck_assert_uint_eq(hits->count, count);
    list_begin(&cursor, field, hits);
    for (uint32_t i = 0; list_next(&cursor, &hit); i++)
        same_hit(&hit, &expected[i], with);
}

static const struct model_range all = {0, UINT64_MAX};
static struct model_hit expected[MODEL_POINTS_MAX];

static void
search(void)
{
    struct api_query_search ask = {ASK,
                                   .deadline_ms = 1000,
                                   .vector = any_vectors(1),
                                   .filter = any_filter(),
                                   .k = 1 + below(12),
                                   .with = below(4),
                                   .partial = (uint8_t)below(2)};
    float vector[MODEL_DIM];
    model_vector(&ask.vector, 0, vector);
    const struct api_hits *hits = ask_for(METHOD_QUERY_SEARCH, &ask);
    if (hits == NULL || hits->shards_failed.count > 0)
        return;
    struct filter *filter = model_filter(&ask.filter);
    const uint32_t count = model_search(&fw->model, all, filter, vector, expected);
    same_hits(&hits->hits, shape_field(&api_hits, "hits"), expected, model_cut(count, ask.k),
              ask.with);
    filter_close(filter);
}

static void
search_by_id(void)
{
    struct api_query_search ask = {ASK, .deadline_ms = 1000, .id = any_id(), .k = 1 + below(5)};
    const struct model_point *point = model_find(&fw->model, &ask.id);
    const bool there = point != NULL && point->there;
    const struct api_hits *hits = ask_for(METHOD_QUERY_SEARCH, &ask);
    if (!there)
        ck_assert_ptr_null(hits);
    if (hits == NULL)
        return;
    uint32_t count = model_search(&fw->model, all, NULL, point->vector, expected), kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (expected[i].point != point)
            expected[kept++] = expected[i];
    same_hits(&hits->hits, shape_field(&api_hits, "hits"), expected, model_cut(kept, ask.k), 0);
}

static void
batch(void)
{
    const uint32_t queries = 1 + below(5);
    const struct api_query_batch ask = {ASK,
                                        .deadline_ms = 1000,
                                        .vectors = any_vectors(queries),
                                        .filter = any_filter(),
                                        .k = 1 + below(6),
                                        .result = (uint8_t)(below(2) == 0 ? 0 : API_HITS)};
    const struct api_batch_hits *hits = ask_for(METHOD_QUERY_BATCH, &ask);
    struct list_cursor cursor;
    struct api_query_hits query;
    if (hits == NULL)
        return;
    struct filter *filter = model_filter(&ask.filter);
    list_begin(&cursor, shape_field(&api_batch_hits, "results"), &hits->results);
    for (uint32_t i = 0; i < queries; i++) {
        float vector[MODEL_DIM];
        model_vector(&ask.vectors, i, vector);
        const uint32_t count =
            model_cut(model_search(&fw->model, all, filter, vector, expected), ask.k);
        if (hits->results.count > 0) {
            ck_assert(list_next(&cursor, &query));
            same_hits(&query.hits, shape_field(&api_query_hits, "hits"), expected, count, 0);
            continue;
        }
        for (uint32_t j = 0; j < ask.k && hits->ids.count > 0; j++) {
            int64_t id;
            float distance;
            memcpy(&id, hits->ids.bytes + 8 * (i * ask.k + j), 8);
            memcpy(&distance, hits->distances.bytes + 4 * (i * ask.k + j), 4);
            ck_assert_int_eq(id, j < count ? (int64_t)expected[j].point->id.number : -1);
            ck_assert(j < count ? distance == expected[j].distance : isinf(distance));
        }
    }
    filter_close(filter);
}

static void
range(void)
{
    const struct api_query_range ask = {ASK,
                                        .deadline_ms = 1000,
                                        .vector = any_vectors(1),
                                        .filter = any_filter(),
                                        .radius = below(40),
                                        .with = below(4)};
    float vector[MODEL_DIM];
    model_vector(&ask.vector, 0, vector);
    const struct api_hits *hits = ask_for(METHOD_QUERY_RANGE, &ask);
    if (hits == NULL)
        return;
    struct filter *filter = model_filter(&ask.filter);
    uint32_t count = model_search(&fw->model, all, filter, vector, expected);
    while (count > 0 && expected[count - 1].distance > (float)ask.radius)
        count--;
    same_hits(&hits->hits, shape_field(&api_hits, "hits"), expected, count, ask.with);
    filter_close(filter);
}

static void
get(void)
{
    struct wire_id ids[BATCH];
    const uint32_t count = any_ids(ids);
    const struct api_point_get ask = {ASK, .deadline_ms = 1000,
                                      .ids = {.count = count, .items = ids}, .with = below(4)};
    const struct api_points *points = ask_for(METHOD_POINT_GET, &ask);
    struct list_cursor cursor;
    struct api_point point;
    if (points == NULL)
        return;
    ck_assert_uint_eq(points->points.count, count);
    list_begin(&cursor, shape_field(&api_points, "points"), &points->points);
    for (uint32_t i = 0; list_next(&cursor, &point); i++) {
        const struct model_point *there = model_find(&fw->model, &ids[i]);
        ck_assert_uint_eq(point.absent, there == NULL || !there->there);
        if (point.absent != 0)
            continue;
        ck_assert_uint_eq(id_hash(&point.id), there->hash);
        ck_assert_uint_eq(point.version, there->version);
        ck_assert_uint_eq(point.payload.count,
                          (ask.with & API_WITH_PAYLOAD) != 0 ? there->payload_bytes : 0);
    }
}

static uint32_t
shown(const struct wire_filter *by)
{
    struct filter *filter = model_filter(by);
    uint32_t count = 0;
    for (uint32_t i = 0; i < fw->model.count; i++)
        count += model_shows(&fw->model.points[i], all, filter);
    filter_close(filter);
    return count;
}

static void
count_points(void)
{
    const struct api_point_count ask = {ASK, .deadline_ms = 1000, .filter = any_filter()};
    const struct api_count *count = ask_for(METHOD_POINT_COUNT, &ask);
    if (count != NULL)
        ck_assert_uint_eq(count->count, shown(&ask.filter));
}

static void
facet(void)
{
    const struct api_point_facet ask = {ASK, .deadline_ms = 1000, .field = fw_text("tag"),
                                        .filter = any_filter()};
    const struct api_facets *facets = ask_for(METHOD_POINT_FACET, &ask);
    struct list_cursor cursor;
    struct api_facet value;
    uint64_t before = UINT64_MAX;
    if (facets == NULL)
        return;
    struct filter *filter = model_filter(&ask.filter);
    list_begin(&cursor, shape_field(&api_facets, "values"), &facets->values);
    while (list_next(&cursor, &value)) {
        uint64_t count = 0;
        for (uint32_t i = 0; i < fw->model.count; i++)
            count += model_shows(&fw->model.points[i], all, filter) &&
                     fw->model.points[i].payload_bytes == 7 &&
                     fw->model.points[i].payload[6] == value.value.bytes[1];
        ck_assert_uint_eq(value.count, count);
        ck_assert_uint_le(value.count, before);
        before = value.count;
    }
    filter_close(filter);
}

// All pages, of a collection that is split meanwhile.
static void
scroll(void)
{
    static struct model_point *found[MODEL_POINTS_MAX];
    char text[32] = "";
    struct api_point_scroll ask = {ASK, .deadline_ms = 1000, .filter = any_filter(),
                                   .limit = 1 + below(30)};
    uint32_t count = 0;
    do {
        struct list_cursor cursor;
        struct api_point point;
        ask.cursor = fw_text(text);
        const struct api_page *page = ask_for(METHOD_POINT_SCROLL, &ask);
        settle();
        if (page == NULL)
            return;
        seen.pages++;
        list_begin(&cursor, shape_field(&api_page, "points"), &page->points);
        while (list_next(&cursor, &point)) {
            struct model_point *there = model_find(&fw->model, &point.id);
            for (uint32_t i = 0; i < count; i++)
                ck_assert_ptr_ne(found[i], there);
            found[count++] = there;
        }
        memset(text, 0, sizeof text);
        memcpy(text, page->cursor.count > 0 ? page->cursor.bytes : "", page->cursor.count);
    } while (text[0] != '\0');
    ck_assert_uint_eq(count, shown(&ask.filter));
}

// ---- writes ----

// Whether the model did it to the item. A write that comes late was not acknowledged.
static bool
was_done(const struct wire_id *id)
{
    return model_did(&fw->model, op, id_hash(id), id_hash(id)) != NULL;
}

static void
check_items(const struct wire_id *ids, uint32_t count, const struct api_written *written)
{
    struct list_cursor cursor;
    struct api_failed failed;
    bool listed[BATCH] = {false};
    seen.items += count;
    if (written == NULL) {
        for (uint32_t i = 0; i < count && fw->error.outcome == API_NOT_APPLIED; i++) {
            const struct model_op *did =
                model_did(&fw->model, op, id_hash(&ids[i]), id_hash(&ids[i]));
            ck_assert(did == NULL || did->status != OMEN_OK);
        }
        return;
    }
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    while (list_next(&cursor, &failed)) {
        const struct wire_id *id = &ids[failed.row];
        const struct model_op *did = model_did(&fw->model, op, id_hash(id), id_hash(id));
        listed[failed.row] = true;
        if (failed.outcome == API_NOT_APPLIED)
            ck_assert(did == NULL || did->status != OMEN_OK);
    }
    for (uint32_t i = 0; i < count; i++)
        ck_assert(listed[i] || was_done(&ids[i]));
}

// What was done was done with the item's own vector and payload.
static void
check_rows(const struct api_point_upsert *ask, const struct wire_id *ids,
           const struct wire_bytes *payloads)
{
    for (uint32_t i = 0; i < ask->ids.count; i++) {
        const struct model_op *did = model_did(&fw->model, op, id_hash(&ids[i]), id_hash(&ids[i]));
        const struct model_point *point = model_find(&fw->model, &ids[i]);
        float vector[MODEL_DIM];
        if (did == NULL || did->status != OMEN_OK)
            continue;
        model_vector(&ask->vectors, i, vector);
        ck_assert(memcmp(point->vector, vector, sizeof vector) == 0);
        ck_assert_uint_eq(point->payload_bytes, payloads[i].count);
        ck_assert(memcmp(point->payload, payloads[i].bytes, payloads[i].count) == 0);
    }
}

static void
upsert(void)
{
    struct wire_id ids[BATCH];
    struct wire_bytes payloads[BATCH];
    const uint32_t count = any_ids(ids);
    for (uint32_t i = 0; i < count; i++)
        payloads[i] = any_payload();
    const struct api_point_upsert ask = {ASK,
                                         .deadline_ms = 1000,
                                         .op_id = {1, ++op},
                                         .mode = (uint8_t)below(4),
                                         .ids = {.count = count, .items = ids},
                                         .vectors = any_vectors(count),
                                         .payloads = {.count = count, .items = payloads}};
    const struct api_written *written = ask_for(METHOD_POINT_UPSERT, &ask);
    settle();
    check_items(ids, count, written);
    check_rows(&ask, ids, payloads);
}

static void
erase_or_patch(bool patch)
{
    struct wire_id ids[BATCH];
    struct wire_list list = {.count = 0};
    const struct wire_filter by = any_filter();
    const struct wire_bytes set = {(const uint8_t *)"\x81\xa3tag\xa1"
                                                    "d",
                                   7};
    if (by.form == FILTER_FORM_NONE)
        list = (struct wire_list){.count = any_ids(ids), .items = ids};
    const struct api_point_delete del = {ASK, .deadline_ms = 1000, .op_id = {1, ++op}, .ids = list,
                                         .filter = by};
    const struct api_point_patch change = {ASK,         .deadline_ms = 1000, .op_id = {1, op},
                                           .ids = list, .filter = by,        .set = set};
    const struct api_written *written =
        patch ? ask_for(METHOD_POINT_PATCH, &change) : ask_for(METHOD_POINT_DELETE, &del);
    settle();
    if (list.count > 0)
        check_items(ids, list.count, written);
    else if (written != NULL && !patch)
        ck_assert_uint_eq(shown(&by), 0);
    else if (written == NULL && fw->error.outcome == API_NOT_APPLIED)
        for (uint32_t i = 0; i < fw->model.op_count; i++)
            ck_assert_uint_ne(fw->model.ops[i].op, op);
}

static void
live(uint64_t seed)
{
    prng_init(&prng, seed);
    fw = fw_open(seed, 1 + below(6));
    texts = below(2) == 0;
    static const struct fw_faults levels[] = {
        {.lost = 0},
        {.lost = 30, .lost_back = 30, .busy = 60, .late = 20},
        {.lost = 60, .lost_back = 60, .busy = 120, .late = 40, .doubled = 100, .unsure = 40},
        {.lost = 350, .lost_back = 350, .busy = 200, .late = 100, .doubled = 100, .unsure = 300}};
    fw->faults = levels[below(4)];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        static void (*const reads[])(void) = {search, search_by_id, batch, range,
                                              get,    count_points, facet, scroll};
        switch (below(5)) {
        case 0:
        case 1:
            upsert();
            break;
        case 2:
            erase_or_patch(below(2) == 0);
            break;
        default:
            reads[below(8)]();
        }
        settle();
        ck_assert_uint_eq(front_pending(fw->front), 0);
    }
    fw_close(fw);
    fw = NULL;
}

START_TEST(a_front_answers_as_one_array_does)
{
    const char *one = getenv("FRONT_SEED"), *some = getenv("FRONT_SEEDS");
    const uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    const uint64_t count = one != NULL ? 1 : some != NULL ? strtoull(some, NULL, 10) : 60;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (some != NULL || one != NULL)
            fprintf(stderr, "FRONT_SEED=%llu\n", (unsigned long long)seed);
        live(seed);
    }
    if (one == NULL) { // it reached what it is for
        ck_assert_uint_gt(seen.answered, 40 * count);
        ck_assert_uint_gt(seen.refused, count);
        ck_assert_uint_gt(seen.splits, count);
        ck_assert_uint_gt(seen.pages, count);
        ck_assert_uint_gt(seen.items, 100 * count);
    }
}
END_TEST

static Suite *
front_twin_suite(void)
{
    Suite *suite = suite_create("router/front_twin");
    TCase *tcase = tcase_create("front_twin");
    tcase_add_test(tcase, a_front_answers_as_one_array_does);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(front_twin_suite)
