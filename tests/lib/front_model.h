// tests/lib/front_model.h -- a dumb collection: points in an array, of which every shard shows those that lie in its range.
//
// Shape: shell, simulated. Answers what node/serve.h answers, by looking at every point.
#ifndef OMEN_TESTS_FRONT_MODEL_H
#define OMEN_TESTS_FRONT_MODEL_H
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/filter.h"
#include "base/hash.h"
#include "base/limits.h"
#include "wire/found.h"
#include "wire/inner.h"
#include "wire/node_codec.h"

#define MODEL_DIM 4u
#define MODEL_POINTS_MAX 512u
#define MODEL_OPS_MAX 65536u

struct model_point {
    char text[16];
    struct wire_id id; // its text is the one above
    uint64_t hash;
    float vector[MODEL_DIM];
    uint8_t payload[128];
    uint32_t payload_bytes;
    uint64_t version;
    bool there;
};

// What was done to an item; or, by a filter, to a range of hashes.
struct model_op {
    uint64_t op, first, last;
    omen_status status;
};

struct model {
    struct model_point points[MODEL_POINTS_MAX];
    uint32_t count;
    uint64_t seq; // of the last write, of all shards
    struct model_op ops[MODEL_OPS_MAX];
    uint32_t op_count;
};

// Where a part ends up, or everything.
struct model_range {
    uint64_t first, last;
};

static inline struct wire_id
number_id(uint64_t number)
{
    return (struct wire_id){.given = 1, .number = number};
}

static inline struct wire_id
text_id(const char *text)
{
    return (struct wire_id){.given = 1, .text = text, .text_bytes = (uint32_t)strlen(text)};
}

static inline uint64_t
id_hash(const struct wire_id *id)
{
    return id->text_bytes > 0 ? hash_id_text(id->text, id->text_bytes) : hash_id_u64(id->number);
}

static inline struct model_point *
model_find(struct model *model, const struct wire_id *id)
{
    const uint64_t hash = id_hash(id);
    for (uint32_t i = 0; i < model->count; i++)
        if (model->points[i].hash == hash)
            return &model->points[i];
    return NULL;
}

static inline struct model_point *
model_make(struct model *model, const struct wire_id *id)
{
    struct model_point *point = model_find(model, id);
    if (point != NULL)
        return point;
    ck_assert_uint_lt(model->count, MODEL_POINTS_MAX);
    point = &model->points[model->count++];
    *point = (struct model_point){.id = *id, .hash = id_hash(id)};
    if (id->text_bytes > 0) {
        ck_assert_uint_lt(id->text_bytes, sizeof point->text);
        memcpy(point->text, id->text, id->text_bytes);
        point->id.text = point->text;
    }
    return point;
}

static inline float
model_distance(const float *a, const float *b)
{
    float sum = 0;
    for (uint32_t i = 0; i < MODEL_DIM; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static inline bool
model_shows(const struct model_point *point, struct model_range range, const struct filter *filter)
{
    return point->there && point->hash >= range.first && point->hash <= range.last &&
           (filter == NULL || filter_match(filter, point->payload, point->payload_bytes));
}

struct model_hit {
    float distance;
    const struct model_point *point;
};

static inline int
model_hit_compare(const void *a, const void *b)
{
    const struct model_hit *one = a, *other = b;
    if (one->distance != other->distance)
        return one->distance < other->distance ? -1 : 1;
    const struct wire_id *x = &one->point->id, *y = &other->point->id;
    if ((x->text_bytes > 0) != (y->text_bytes > 0))
        return x->text_bytes > 0 ? 1 : -1;
    if (x->text_bytes == 0)
        return x->number < y->number ? -1 : x->number > y->number;
    return strcmp(one->point->text, other->point->text);
}

// All that the range and the filter show, nearest first.
static inline uint32_t
model_search(const struct model *model, struct model_range range, const struct filter *filter,
             const float *vector, struct model_hit *hits)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->count; i++)
        if (model_shows(&model->points[i], range, filter))
            hits[count++] = (struct model_hit){model_distance(model->points[i].vector, vector),
                                               &model->points[i]};
    qsort(hits, count, sizeof *hits, model_hit_compare);
    return count;
}

// ---- asks ----

static inline struct filter *
model_filter(const struct wire_filter *from)
{
    struct filter *filter = NULL;
    struct omen_error error;
    omen_status status = OMEN_OK;
    if (from->form == FILTER_FORM_TEXT)
        status =
            filter_parse_text((const char *)from->bytes.bytes, from->bytes.count, &filter, &error);
    else if (from->form == FILTER_FORM_MAP)
        status = filter_parse_map(from->bytes.bytes, from->bytes.count, &filter, &error);
    ck_assert_msg(status == OMEN_OK, "%s", error.text);
    return filter;
}

static inline void
model_vector(const struct wire_vectors *from, uint32_t row, float *out)
{
    struct list_cursor cursor;
    struct wire_vectors one;
    if (from->form == VECTORS_RAW && from->dtype == WIRE_U8) {
        for (uint32_t i = 0; i < MODEL_DIM; i++)
            out[i] = from->bytes.bytes[row * MODEL_DIM + i];
    } else if (from->form == VECTORS_RAW) {
        ck_assert_uint_eq(from->dtype, WIRE_F32);
        memcpy(out, from->bytes.bytes + row * MODEL_DIM * 4, MODEL_DIM * 4);
    } else if (from->form == VECTORS_NUMBERS) {
        decode_numbers_read(from->bytes, out, MODEL_DIM);
    } else {
        rows_begin(&cursor, from);
        for (uint32_t i = 0; i <= row; i++)
            ck_assert(list_next(&cursor, &one));
        model_vector(&one, 0, out);
    }
}

static inline struct wire_bytes
model_payload(const struct model_point *point)
{
    return (struct wire_bytes){point->payload, point->payload_bytes};
}

static inline struct wire_vectors
model_raw(const struct model_point *point)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = MODEL_DIM,
                                 .bytes = {(const uint8_t *)point->vector, MODEL_DIM * 4}};
}

static inline void
model_list_write(struct encode *encode, const struct model_hit *hits, uint32_t count, uint32_t with)
{
    found_list_write(encode, count);
    for (uint32_t i = 0; i < count; i++) {
        struct found_hit hit = {.distance = hits[i].distance,
                                .version = hits[i].point->version,
                                .id = hits[i].point->id};
        if ((with & API_WITH_PAYLOAD) != 0)
            hit.payload = model_payload(hits[i].point);
        if ((with & API_WITH_VECTOR) != 0)
            hit.vector = model_raw(hits[i].point);
        found_hit_write(encode, &hit);
    }
}

static inline uint32_t
model_cut(uint32_t count, uint32_t k)
{
    return count < k ? count : k;
}

// ---- a part ----

struct model_reply {
    struct encode answer;
    omen_status statuses[MODEL_POINTS_MAX * 4];
    uint32_t item_count;
};

static inline void
model_read_search(const struct model *model, const struct wire_part *part,
                  const struct api_query_search *ask, struct model_reply *reply)
{
    static struct model_hit hits[MODEL_POINTS_MAX];
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    float vector[MODEL_DIM];
    model_vector(&ask->vector, 0, vector);
    const uint32_t count = model_search(model, range, filter, vector, hits);
    found_write(&reply->answer,
                &(struct found){.shard = part->shard, .evaluations = count, .list_count = 1});
    model_list_write(&reply->answer, hits, model_cut(count, ask->k == 0 ? 10 : ask->k), ask->with);
    filter_close(filter);
}

static inline void
model_read_range(const struct model *model, const struct wire_part *part,
                 const struct api_query_range *ask, struct model_reply *reply)
{
    static struct model_hit hits[MODEL_POINTS_MAX];
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    float vector[MODEL_DIM];
    model_vector(&ask->vector, 0, vector);
    uint32_t count = model_search(model, range, filter, vector, hits);
    while (count > 0 && hits[count - 1].distance > (float)ask->radius)
        count--;
    found_write(&reply->answer, &(struct found){.shard = part->shard, .list_count = 1});
    model_list_write(&reply->answer, hits, model_cut(count, ask->limit == 0 ? 10000 : ask->limit),
                     ask->with);
    filter_close(filter);
}

static inline uint32_t
model_queries(const struct wire_vectors *vectors)
{
    return vectors->form == VECTORS_RAW ? vectors->count / MODEL_DIM : vectors->count;
}

static inline void
model_read_batch(const struct model *model, const struct wire_part *part,
                 const struct api_query_batch *ask, struct model_reply *reply)
{
    static struct model_hit hits[MODEL_POINTS_MAX];
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    const uint32_t queries = model_queries(&ask->vectors);
    found_write(&reply->answer, &(struct found){.shard = part->shard, .list_count = queries});
    for (uint32_t i = 0; i < queries; i++) {
        float vector[MODEL_DIM];
        model_vector(&ask->vectors, i, vector);
        const uint32_t count = model_search(model, range, filter, vector, hits);
        model_list_write(&reply->answer, hits, model_cut(count, ask->k == 0 ? 10 : ask->k),
                         ask->with);
    }
    filter_close(filter);
}

static inline struct api_point
model_api_point(const struct model_point *point, uint32_t with)
{
    struct api_point out = {.id = point->id, .version = point->version};
    if ((with & API_WITH_PAYLOAD) != 0)
        out.payload = model_payload(point);
    if ((with & API_WITH_VECTOR) != 0)
        out.vector = model_raw(point);
    return out;
}

static inline void
model_read_get(struct model *model, const struct wire_part *part, const struct api_point_get *ask,
               struct model_reply *reply)
{
    static struct api_point points[MODEL_POINTS_MAX * 4];
    struct list_cursor cursor;
    struct wire_id id;
    ids_begin(&cursor, &ask->ids);
    while (list_next(&cursor, &id)) {
        const struct model_point *point = model_find(model, &id);
        const uint32_t at = reply->item_count++;
        ck_assert(id_hash(&id) >= part->first && id_hash(&id) <= part->last);
        points[at] = (struct api_point){.absent = 1};
        reply->statuses[at] = OMEN_E_NOT_FOUND;
        if (point == NULL || !point->there)
            continue;
        points[at] = model_api_point(point, ask->with);
        reply->statuses[at] = OMEN_OK;
    }
    const struct api_points answer = {.points = {.count = reply->item_count, .items = points}};
    shape_write(&reply->answer, &api_points, &answer);
}

static inline int
model_hash_compare(const void *a, const void *b)
{
    const struct model_point *const *one = a, *const *other = b;
    return (*one)->hash < (*other)->hash ? -1 : (*one)->hash > (*other)->hash;
}

static inline void
model_read_scroll(const struct model *model, const struct wire_part *part,
                  const struct api_point_scroll *ask, struct model_reply *reply)
{
    static const struct model_point *shown[MODEL_POINTS_MAX];
    static struct api_point points[MODEL_POINTS_MAX];
    struct filter *filter = model_filter(&ask->filter);
    char cursor[17] = {0};
    uint32_t count = 0;
    memcpy(cursor, ask->cursor.bytes, 16);
    const struct model_range range = {strtoull(cursor, NULL, 16), part->last};
    ck_assert(range.first >= part->first);
    for (uint32_t i = 0; i < model->count; i++)
        if (model_shows(&model->points[i], range, filter))
            shown[count++] = &model->points[i];
    qsort(shown, count, sizeof *shown, model_hash_compare);
    const uint32_t page = model_cut(count, ask->limit);
    for (uint32_t i = 0; i < page; i++)
        points[i] = model_api_point(shown[i], ask->with);
    const struct inner_page answer = {.points = {.count = page, .items = points},
                                      .next = page < count ? shown[page - 1]->hash + 1
                                                           : part->last + 1};
    shape_write(&reply->answer, &inner_page, &answer);
    filter_close(filter);
}

static inline void
model_read_count(const struct model *model, const struct wire_part *part,
                 const struct api_point_count *ask, struct model_reply *reply)
{
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    struct api_count answer = {.count = 0};
    for (uint32_t i = 0; i < model->count; i++)
        answer.count += model_shows(&model->points[i], range, filter);
    shape_write(&reply->answer, &api_count, &answer);
    filter_close(filter);
}

// The field is "tag", the only key of each payload: {"tag": value}.
static inline void
model_read_facet(const struct model *model, const struct wire_part *part,
                 const struct api_point_facet *ask, struct model_reply *reply)
{
    static struct api_facet values[MODEL_POINTS_MAX];
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_point *point = &model->points[i];
        if (!model_shows(point, range, filter) || point->payload_bytes < 6)
            continue;
        const struct wire_bytes value = {point->payload + 5, point->payload_bytes - 5};
        uint32_t at = 0;
        while (at < count && (values[at].value.count != value.count ||
                              memcmp(values[at].value.bytes, value.bytes, value.count) != 0))
            at++;
        if (at == count)
            values[count++] = (struct api_facet){.value = value};
        values[at].count++;
    }
    const struct api_facets answer = {.values = {.count = count, .items = values}};
    shape_write(&reply->answer, &api_facets, &answer);
    filter_close(filter);
}

static inline void
model_read_why(struct model *model, const struct wire_part *part, const struct inner_why_ask *ask,
               struct model_reply *reply)
{
    static struct model_hit hits[MODEL_POINTS_MAX];
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(&ask->filter);
    struct model_point *point = model_find(model, &ask->id);
    struct inner_why answer = {.there = 0};
    float vector[MODEL_DIM];
    model_vector(&ask->vector, 0, vector);
    if (part->kind == WIRE_PART_GET) {
        answer.there = point != NULL && point->there;
        answer.passes =
            answer.there && model_shows(point, (struct model_range){0, UINT64_MAX}, filter);
        answer.distance = answer.there ? model_distance(point->vector, vector) : 0;
    } else {
        const uint32_t count = model_search(model, range, filter, vector, hits);
        for (uint32_t i = 0; i < count; i++) {
            answer.nearer += hits[i].distance < (float)ask->distance;
            answer.ahead += hits[i].distance < (float)ask->distance && i < ask->k;
            answer.hit |= hits[i].point == point && i < ask->k;
        }
    }
    shape_write(&reply->answer, &inner_why, &answer);
    filter_close(filter);
}

static inline void
model_read_recall(const struct api_recall_measure *ask, struct model_reply *reply)
{
    const struct api_recall answer = {.recall = 0.75,
                                      .low = 0.5,
                                      .high = 1,
                                      .evaluations = 100,
                                      .ef = 64,
                                      .samples = ask->samples,
                                      .k = ask->k};
    shape_write(&reply->answer, &api_recall, &answer);
}

// ---- writes ----

static inline struct model_op *
model_did(struct model *model, uint64_t op, uint64_t first, uint64_t last)
{
    for (uint32_t i = 0; i < model->op_count; i++)
        if (model->ops[i].op == op && model->ops[i].first <= first && model->ops[i].last >= last)
            return &model->ops[i];
    return NULL;
}

static inline void
model_note(struct model *model, struct model_op op)
{
    ck_assert_uint_lt(model->op_count, MODEL_OPS_MAX);
    model->ops[model->op_count++] = op;
}

static inline omen_status
model_upsert_one(struct model *model, const struct api_point_upsert *ask, const struct wire_id *id,
                 const struct wire_bytes *payload, uint32_t row)
{
    struct model_point *point = model_make(model, id);
    if (ask->mode == API_INSERT && point->there)
        return OMEN_E_EXISTS;
    if (ask->mode == API_UPDATE && !point->there)
        return OMEN_E_NOT_FOUND;
    if (ask->if_version.given != 0 && ask->if_version.value != (point->there ? point->version : 0))
        return OMEN_E_CONFLICT;
    if (ask->vectors.form != VECTORS_NONE)
        model_vector(&ask->vectors, row, point->vector);
    if (payload != NULL) {
        ck_assert_uint_le(payload->count, sizeof point->payload);
        if (payload->count > 0)
            memcpy(point->payload, payload->bytes, payload->count);
        point->payload_bytes = payload->count;
    }
    point->version = model->seq;
    point->there = true;
    return OMEN_OK;
}

static inline uint64_t
model_upsert(struct model *model, const struct wire_part *part, const struct api_point_upsert *ask,
             struct model_reply *reply)
{
    struct list_cursor ids, payloads;
    struct wire_id id;
    struct wire_bytes payload;
    uint64_t count = 0;
    ids_begin(&ids, &ask->ids);
    payloads_begin(&payloads, &ask->payloads);
    for (uint32_t i = 0; list_next(&ids, &id); i++) {
        const bool has = ask->payloads.count > 0 && list_next(&payloads, &payload);
        const uint64_t hash = id_hash(&id);
        const struct model_op *did = model_did(model, part->op_low, hash, hash);
        const omen_status status =
            did != NULL ? did->status : model_upsert_one(model, ask, &id, has ? &payload : NULL, i);
        ck_assert(hash >= part->first && hash <= part->last);
        if (did == NULL)
            model_note(model, (struct model_op){part->op_low, hash, hash, status});
        reply->statuses[reply->item_count++] = status;
        count += status == OMEN_OK;
    }
    return count;
}

static inline bool
model_erase(struct model_point *point)
{
    const bool there = point != NULL && point->there;
    if (there)
        point->there = false;
    return there;
}

// Of a patch only `set` of the whole payload is modelled, and `unset` which empties it.
static inline bool
model_patch(struct model *model, struct model_point *point, const struct api_point_patch *ask)
{
    if (point == NULL || !point->there)
        return false;
    point->payload_bytes = ask->set.count;
    if (ask->set.count > 0)
        memcpy(point->payload, ask->set.bytes, ask->set.count);
    point->version = model->seq;
    return true;
}

static inline bool
model_change_one(struct model *model, struct model_point *point,
                 const struct api_point_patch *patch)
{
    return patch != NULL ? model_patch(model, point, patch) : model_erase(point);
}

static inline uint64_t
model_change_by(struct model *model, const struct wire_part *part, const struct wire_filter *by,
                const struct api_point_patch *patch)
{
    const struct model_range range = {part->first, part->last};
    struct filter *filter = model_filter(by);
    uint64_t count = 0;
    if (model_did(model, part->op_low, part->first, part->last) == NULL) {
        for (uint32_t i = 0; i < model->count; i++)
            if (model_shows(&model->points[i], range, filter))
                count += model_change_one(model, &model->points[i], patch);
        model_note(model, (struct model_op){part->op_low, part->first, part->last, OMEN_OK});
    }
    filter_close(filter);
    return count;
}

static inline uint64_t
model_change(struct model *model, const struct wire_part *part, const struct wire_list *ids,
             const struct wire_filter *by, const struct api_point_patch *patch,
             struct model_reply *reply)
{
    struct list_cursor cursor;
    struct wire_id id;
    uint64_t count = 0;
    if (ids->count == 0)
        return model_change_by(model, part, by, patch);
    ids_begin(&cursor, ids);
    while (list_next(&cursor, &id)) {
        const uint64_t hash = id_hash(&id);
        const struct model_op *op = model_did(model, part->op_low, hash, hash);
        const bool did = op == NULL && model_change_one(model, model_find(model, &id), patch);
        omen_status status = patch != NULL && !did ? OMEN_E_NOT_FOUND : OMEN_OK;
        if (op != NULL)
            status = op->status;
        else
            model_note(model, (struct model_op){part->op_low, hash, hash, status});
        reply->statuses[reply->item_count++] = status;
        count += did;
    }
    return count;
}

// ---- what a part says ----

static inline void
model_obey(struct model *model, const struct wire_part *part, struct model_reply *reply)
{
    union method_body ask;
    struct decode decode;
    struct omen_error error = {.text = ""};
    const struct method *method = method_at(part->method);
    const struct shape *shape = part->method == METHOD_QUERY_WHY_NOT ? &inner_why_ask : method->ask;
    reply->item_count = 0;
    encode_init(&reply->answer, WIRE_FRAME_BYTES_MAX);
    decode_init(&decode, (struct wire_bytes){part->ask, part->ask_bytes}, &decode_after_hello,
                &error);
    shape_read(&decode, shape, &ask);
    ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
    struct api_written written = {.count = 0};
    model->seq += part->kind == WIRE_PART_WRITE;
    switch (part->method) {
    case METHOD_QUERY_SEARCH:
        model_read_search(model, part, (void *)&ask, reply);
        return;
    case METHOD_QUERY_RANGE:
        model_read_range(model, part, (void *)&ask, reply);
        return;
    case METHOD_QUERY_BATCH:
        model_read_batch(model, part, (void *)&ask, reply);
        return;
    case METHOD_QUERY_WHY_NOT:
        model_read_why(model, part, (void *)&ask, reply);
        return;
    case METHOD_RECALL_MEASURE:
        model_read_recall((void *)&ask, reply);
        return;
    case METHOD_POINT_GET:
        model_read_get(model, part, (void *)&ask, reply);
        return;
    case METHOD_POINT_SCROLL:
        model_read_scroll(model, part, (void *)&ask, reply);
        return;
    case METHOD_POINT_COUNT:
        model_read_count(model, part, (void *)&ask, reply);
        return;
    case METHOD_POINT_FACET:
        model_read_facet(model, part, (void *)&ask, reply);
        return;
    case METHOD_POINT_UPSERT:
        written.count = model_upsert(model, part, (void *)&ask, reply);
        break;
    case METHOD_POINT_DELETE: {
        const struct api_point_delete *erase = (void *)&ask;
        written.count = model_change(model, part, &erase->ids, &erase->filter, NULL, reply);
        break;
    }
    default: {
        const struct api_point_patch *patch = (void *)&ask;
        ck_assert_uint_eq(part->method, METHOD_POINT_PATCH);
        written.count = model_change(model, part, &patch->ids, &patch->filter, patch, reply);
    }
    }
    shape_write(&reply->answer, &api_written, &written);
}

#endif
