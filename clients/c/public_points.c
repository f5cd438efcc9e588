// clients/c/public_points.c -- omen_client.h: points written, read and searched for.
//
// Shape: handle (a thin one over client.h).
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "clients/c/public.h"

struct entry {
    struct wire_id id;
    const char *text_id; // NUL-terminated; NULL: none
    struct wire_vectors vector;
    struct wire_bytes payload;
    uint64_t version;
    float distance;
    bool is_there;
};

struct OmenClientPoints {
    struct client_reply reply; // the entries point into it
    size_t count;
    char *texts; // owned
    struct entry entries[];
};

// ---- what goes in ----

struct point_names { // ids of either kind
    const uint64_t *ids;
    const char *const *texts;
    size_t count;
};

// An array of wire_id, which the caller frees; NULL: *status.
static struct wire_id *
name_points(const struct point_names *names, omen_status *status)
{
    if (names->count == 0 || names->count > WIRE_BATCH_MAX ||
        (names->ids == NULL) == (names->texts == NULL)) {
        *status = public_refuse("wanted are 1 to 10000 ids, either integers or texts");
        return NULL;
    }
    struct wire_id *ids = mem_alloc_zero(names->count, sizeof *ids);
    *status = OMEN_OK;
    if (ids == NULL) {
        *status = client_fail(public_error(), OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory");
        return NULL;
    }
    for (size_t i = 0; i < names->count && *status == OMEN_OK; i++) {
        const size_t bytes = names->texts != NULL ? strlen(names->texts[i]) : 0;
        if (names->texts != NULL && (bytes == 0 || bytes > ID_TEXT_BYTES_MAX))
            *status = client_fail(public_error(), OMEN_E_ID_LENGTH, API_NOT_APPLIED,
                                  "row %zu: a text id has 1 to 255 bytes", i);
        else if (names->texts != NULL)
            ids[i] = (struct wire_id){names->texts[i], (uint32_t)bytes, 1, 0};
        else if (names->ids[i] > ID_MAX)
            *status = client_fail(public_error(), OMEN_E_ID_RANGE, API_NOT_APPLIED,
                                  "row %zu: an integer id is at most 2^63-1", i);
        else
            ids[i] = (struct wire_id){.given = 1, .number = names->ids[i]};
    }
    if (*status == OMEN_OK)
        return ids;
    mem_free(ids);
    return NULL;
}

static bool
take_rows(const void *vectors, size_t count, uint32_t dimension, omen_dtype dtype,
          struct wire_vectors *out)
{
    if (vectors == NULL || dimension == 0 || dimension > VECTOR_DIM_MAX || dtype < OMEN_F32 ||
        dtype > OMEN_U8 || count == 0 || count > WIRE_BATCH_MAX)
        return false;
    const size_t bytes = count * dimension * wire_dtype_bytes((uint8_t)dtype);
    if (bytes > WIRE_FRAME_BYTES_MAX)
        return false;
    *out = (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = (uint8_t)dtype,
                                 .count = (uint32_t)(bytes / wire_dtype_bytes((uint8_t)dtype)),
                                 .bytes = {vectors, (uint32_t)bytes}};
    return true;
}

static struct wire_filter
take_filter(const char *filter)
{
    if (filter == NULL || filter[0] == '\0')
        return (struct wire_filter){0};
    return (struct wire_filter){FILTER_FORM_TEXT,
                                {(const uint8_t *)filter, (uint32_t)strlen(filter)}};
}

static uint32_t
take_with(int with)
{
    return ((with & OMEN_WITH_PAYLOAD) != 0 ? API_WITH_PAYLOAD : 0u) |
           ((with & OMEN_WITH_VECTOR) != 0 ? API_WITH_VECTOR : 0u);
}

// ---- writing ----

// The first point that was refused, as the call's failure.
static omen_status
check_failed(const struct api_written *written)
{
    struct list_cursor cursor;
    struct api_failed failed;
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    if (!list_next(&cursor, &failed))
        return OMEN_OK;
    omen_status status = OMEN_E_INTERNAL;
    for (omen_status known = -1; known > CLIENT_E_UNREACHABLE; known--)
        if (strlen(status_name(known)) == failed.name.count &&
            memcmp(status_name(known), failed.name.bytes, failed.name.count) == 0)
            status = known;
    return client_fail(public_error(), status, (enum api_outcome)failed.outcome, "row %u: %.*s",
                       failed.row, (int)failed.message.count,
                       failed.message.count > 0 ? failed.message.bytes : "");
}

static omen_status
write_points(omen_client_t client, enum method_number method, const void *ask, size_t *count)
{
    struct api_written written = {0};
    struct client_reply reply;
    omen_status status =
        client_call_method(public_client(client), method, ask, &reply, &written, public_error());
    if (count != NULL)
        *count = status == OMEN_OK ? (size_t)written.count : 0;
    if (status == OMEN_OK)
        status = check_failed(&written);
    client_reply_fini(&reply);
    return status;
}

// An array of wire_bytes, which the caller frees; NULL: *status. What is no msgpack would break more than this request.
static struct wire_bytes *
take_payloads(const omen_client_batch *batch, omen_status *status)
{
    if (batch->payload_bytes == NULL) {
        *status = public_refuse("payload_bytes is NULL, and payloads is not");
        return NULL;
    }
    struct wire_bytes *payloads = mem_alloc_zero(batch->count, sizeof *payloads);
    if (payloads == NULL)
        *status = client_fail(public_error(), OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory");
    for (size_t i = 0; payloads != NULL && i < batch->count; i++) {
        struct omen_error bad;
        if (batch->payloads[i] == NULL)
            continue;
        if (msgpack_check_map(batch->payloads[i], batch->payload_bytes[i], &bad) != OMEN_OK) {
            *status = client_fail(public_error(), OMEN_E_PAYLOAD, API_NOT_APPLIED, "row %zu: %s", i,
                                  bad.text);
            mem_free(payloads);
            return NULL;
        }
        payloads[i] = (struct wire_bytes){batch->payloads[i], (uint32_t)batch->payload_bytes[i]};
    }
    return payloads;
}

omen_status
omen_client_upsert(omen_client_t client, const omen_client_batch *batch, size_t *written)
{
    if (written != NULL)
        *written = 0;
    if (batch->struct_size < sizeof *batch || batch->collection == NULL)
        return public_refuse("the batch names no collection");
    const struct point_names names = {batch->ids, batch->text_ids, batch->count};
    struct api_point_upsert ask = {.collection = wire_text_of(batch->collection)};
    struct wire_bytes *payloads = NULL;
    omen_status status;
    struct wire_id *ids = name_points(&names, &status);
    if (ids == NULL)
        return status;
    ask.ids = (struct wire_list){.count = (uint32_t)batch->count, .items = ids};
    if (batch->vectors != NULL &&
        !take_rows(batch->vectors, batch->count, batch->dimension, batch->dtype, &ask.vectors))
        status =
            public_refuse("the rows are none: a dimension in 1..65536, a dtype, 16 MiB at most");
    if (status == OMEN_OK && batch->payloads != NULL)
        payloads = take_payloads(batch, &status);
    ask.payloads = (struct wire_list){.count = payloads != NULL ? (uint32_t)batch->count : 0,
                                      .items = payloads};
    if (status == OMEN_OK)
        status = write_points(client, METHOD_POINT_UPSERT, &ask, written);
    mem_free(payloads);
    mem_free(ids);
    return status;
}

omen_status
omen_client_delete(omen_client_t client, const char *collection, const uint64_t *ids,
                   const char *const *text_ids, size_t count, size_t *deleted)
{
    omen_status status;
    struct wire_id *names = name_points(&(struct point_names){ids, text_ids, count}, &status);
    if (names == NULL)
        return status;
    const struct api_point_delete ask = {
        .collection = public_text(collection),
        .ids = {.count = (uint32_t)count, .items = names},
    };
    status = write_points(client, METHOD_POINT_DELETE, &ask, deleted);
    mem_free(names);
    return status;
}

omen_status
omen_client_delete_where(omen_client_t client, const char *collection, const char *filter,
                         size_t *deleted)
{
    if (filter == NULL || filter[0] == '\0')
        return public_refuse("a filter that says which points are to be deleted is missing");
    const struct api_point_delete ask = {.collection = public_text(collection),
                                         .filter = take_filter(filter)};
    return write_points(client, METHOD_POINT_DELETE, &ask, deleted);
}

// ---- points that come back ----

// Takes the reply. The texts are copied, for their NULs.
static omen_status
make_points(struct client_reply *reply, const struct field *field, const struct wire_list *list,
            omen_client_points_t *out)
{
    union {
        struct api_point point;
        struct api_hit hit;
    } item;
    const bool is_hit = field->shape == &api_hit;
    struct list_cursor cursor;
    size_t text_bytes = 1;
    list_begin(&cursor, field, list);
    while (list_next(&cursor, &item))
        text_bytes += (is_hit ? item.hit.id.text_bytes : item.point.id.text_bytes) + 1;
    struct OmenClientPoints *points =
        mem_alloc_zero(1, sizeof *points + list->count * sizeof(struct entry));
    char *text = mem_alloc(text_bytes);
    if (points == NULL || text == NULL) {
        mem_free(points);
        mem_free(text);
        client_reply_fini(reply);
        return client_fail(public_error(), OMEN_E_NO_MEMORY, API_UNKNOWN,
                           "no memory for the answer");
    }
    points->reply = *reply;
    points->texts = text;
    list_begin(&cursor, field, list);
    while (list_next(&cursor, &item)) {
        struct entry *entry = &points->entries[points->count++];
        if (is_hit)
            *entry = (struct entry){
                item.hit.id,       NULL, item.hit.vector, item.hit.payload, item.hit.version,
                item.hit.distance, true};
        else
            *entry =
                (struct entry){item.point.id,      NULL, item.point.vector,     item.point.payload,
                               item.point.version, 0,    item.point.absent == 0};
        if (entry->id.text_bytes == 0)
            continue;
        memcpy(text, entry->id.text, entry->id.text_bytes);
        text[entry->id.text_bytes] = '\0';
        entry->text_id = text;
        text += entry->id.text_bytes + 1;
    }
    *out = points;
    return OMEN_OK;
}

static const char no_consistency[] = "the consistency is none";

omen_status
omen_client_get(omen_client_t client, const char *collection, const uint64_t *ids,
                const char *const *text_ids, size_t count, int with, omen_client_points_t *out)
{
    return omen_client_get_as(client, OMEN_CONSISTENCY_DEFAULT, collection, ids, text_ids, count,
                              with, out);
}

omen_status
omen_client_get_as(omen_client_t client, omen_consistency consistency, const char *collection,
                   const uint64_t *ids, const char *const *text_ids, size_t count, int with,
                   omen_client_points_t *out)
{
    const int asked = public_consistency(client, consistency);
    omen_status status;
    struct api_points answer;
    struct client_reply reply;
    *out = NULL;
    if (asked < 0)
        return public_refuse(no_consistency);
    struct wire_id *names = name_points(&(struct point_names){ids, text_ids, count}, &status);
    if (names == NULL)
        return status;
    const struct api_point_get ask = {
        .collection = public_text(collection),
        .consistency = (uint8_t)asked,
        .ids = {.count = (uint32_t)count, .items = names},
        .with = take_with(with),
    };
    status = client_call_method(public_client(client), METHOD_POINT_GET, &ask, &reply, &answer,
                                public_error());
    mem_free(names);
    if (status != OMEN_OK)
        return status;
    return make_points(&reply, shape_field(&api_points, "points"), &answer.points, out);
}

omen_status
omen_client_count(omen_client_t client, const char *collection, const char *filter, uint64_t *count)
{
    return omen_client_count_as(client, OMEN_CONSISTENCY_DEFAULT, collection, filter, count);
}

omen_status
omen_client_count_as(omen_client_t client, omen_consistency consistency, const char *collection,
                     const char *filter, uint64_t *count)
{
    const int asked = public_consistency(client, consistency);
    *count = 0;
    if (asked < 0)
        return public_refuse(no_consistency);
    const struct api_point_count ask = {.collection = public_text(collection),
                                        .consistency = (uint8_t)asked,
                                        .filter = take_filter(filter)};
    struct api_count answer = {0};
    struct client_reply reply;
    const omen_status status = client_call_method(public_client(client), METHOD_POINT_COUNT, &ask,
                                                  &reply, &answer, public_error());
    *count = answer.count;
    client_reply_fini(&reply);
    return status;
}

// ---- searching ----

// What the server would not see as it was said: a k of 0 is not sent, and means 10 there.
static omen_status
check_query(omen_client_t client, const omen_client_query *query)
{
    if (query->struct_size < sizeof *query || query->collection == NULL)
        return public_refuse("the query names no collection");
    if (public_consistency(client, query->consistency) < 0)
        return public_refuse(no_consistency);
    if (!(query->target_recall >= 0 && query->target_recall < 1))
        return client_fail(public_error(), OMEN_E_INVALID, API_NOT_APPLIED,
                           "target_recall is %g, expected 0.5..0.9999, or 0 for none",
                           query->target_recall);
    if (query->k == 0)
        return client_fail(public_error(), OMEN_E_K, API_NOT_APPLIED, "k is 0, expected 1..%u",
                           TOPK_MAX);
    return OMEN_OK;
}

omen_status
omen_client_search(omen_client_t client, const omen_client_query *query, omen_client_points_t *hits)
{
    struct api_hits answer;
    struct client_reply reply;
    *hits = NULL;
    omen_status status = check_query(client, query);
    if (status != OMEN_OK)
        return status;
    struct api_query_search ask = {
        .collection = wire_text_of(query->collection),
        .consistency = (uint8_t)public_consistency(client, query->consistency),
        .filter = take_filter(query->filter),
        .target_recall = query->target_recall,
        .ef = query->ef,
        .with = take_with(query->with),
        .exact = query->exact != 0,
        .k = query->k,
    };
    if (!take_rows(query->vectors, 1, query->dimension, query->dtype, &ask.vector))
        return public_refuse("the query's vector is none: a dimension in 1..65536 and a dtype");
    status = client_call_method(public_client(client), METHOD_QUERY_SEARCH, &ask, &reply, &answer,
                                public_error());
    if (status != OMEN_OK)
        return status;
    return make_points(&reply, shape_field(&api_hits, "hits"), &answer.hits, hits);
}

omen_status
omen_client_search_batch(omen_client_t client, const omen_client_query *query, int64_t *ids,
                         float *distances)
{
    struct api_batch_hits answer;
    struct client_reply reply;
    omen_status status = check_query(client, query);
    if (status != OMEN_OK)
        return status;
    struct api_query_batch ask = {
        .collection = wire_text_of(query->collection),
        .consistency = (uint8_t)public_consistency(client, query->consistency),
        .filter = take_filter(query->filter),
        .target_recall = query->target_recall,
        .ef = query->ef,
        .exact = query->exact != 0,
        .k = query->k,
        .result = API_MATRIX,
    };
    if (!take_rows(query->vectors, query->count, query->dimension, query->dtype, &ask.vectors))
        return public_refuse(
            "the queries are none: a dimension in 1..65536, a dtype, 16 MiB at most");
    status = client_call_method(public_client(client), METHOD_QUERY_BATCH, &ask, &reply, &answer,
                                public_error());
    if (status != OMEN_OK)
        return status;
    const size_t cells = query->count * query->k;
    if (answer.ids.count == cells * sizeof *ids &&
        answer.distances.count == cells * sizeof *distances) {
        memcpy(ids, answer.ids.bytes, answer.ids.count);
        memcpy(distances, answer.distances.bytes, answer.distances.count);
    } else {
        status = client_fail(public_error(), OMEN_E_VERSION, API_UNKNOWN,
                             "the answer's matrices have other sizes than %zu x %u", query->count,
                             query->k);
    }
    client_reply_fini(&reply);
    return status;
}

// ---- reading points ----

size_t
omen_client_points_count(omen_client_points_t points)
{
    return points->count;
}

int
omen_client_points_found(omen_client_points_t points, size_t i)
{
    return i < points->count && points->entries[i].is_there;
}

uint64_t
omen_client_points_id(omen_client_points_t points, size_t i)
{
    return i < points->count ? points->entries[i].id.number : 0;
}

const char *
omen_client_points_text_id(omen_client_points_t points, size_t i)
{
    return i < points->count ? points->entries[i].text_id : NULL;
}

float
omen_client_points_distance(omen_client_points_t points, size_t i)
{
    return i < points->count ? points->entries[i].distance : 0;
}

uint64_t
omen_client_points_version(omen_client_points_t points, size_t i)
{
    return i < points->count ? points->entries[i].version : 0;
}

const void *
omen_client_points_vector(omen_client_points_t points, size_t i, omen_dtype *dtype, size_t *bytes)
{
    if (i >= points->count || points->entries[i].vector.form != VECTORS_RAW)
        return NULL;
    const struct wire_vectors *vector = &points->entries[i].vector;
    if (dtype != NULL)
        *dtype = (omen_dtype)vector->dtype;
    if (bytes != NULL)
        *bytes = vector->bytes.count;
    return vector->bytes.bytes;
}

const void *
omen_client_points_payload(omen_client_points_t points, size_t i, size_t *bytes)
{
    if (i >= points->count || points->entries[i].payload.count == 0)
        return NULL;
    if (bytes != NULL)
        *bytes = points->entries[i].payload.count;
    return points->entries[i].payload.bytes;
}

void
omen_client_points_free(omen_client_points_t points)
{
    if (points == NULL)
        return;
    client_reply_fini(&points->reply);
    mem_free(points->texts);
    mem_free(points);
}
