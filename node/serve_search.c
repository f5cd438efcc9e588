// node/serve_search.c -- searches of a shard: one query, many, everything within a radius, and how good they are.
//
// Shape: handle; functions on a hosted shard.
//
// A client's deadline is the request's. Here a search that a client gave one may take three quarters of it and then answers with the
// best so far, which is worth more than nothing in time.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "index/vector.h"
#include "node/serve_int.h"

#define ROWS_SMALL 128u // of a list that needs no memory

static uint64_t
deadline_us(uint32_t deadline_ms)
{
    return (uint64_t)deadline_ms * 750;
}

static void
head_write(const struct serve *serve, const struct serve_query *query, uint32_t lists,
           uint64_t begun_ns)
{
    const omen_query_report *report = &query->report;
    const struct found found = {
        .shard = serve->part->shard,
        .took_us = (os_clock_ns() - begun_ns) / 1000,
        .evaluations = report->evaluations,
        .exact_distances = report->exact_distances,
        .tail = report->tail,
        .matches = report->matches == UINT64_MAX ? 0 : report->matches + 1,
        .warnings = report->warnings,
        .list_count = lists,
        .strategy = (uint8_t)report->strategy,
    };
    found_write(serve->answer, &found);
}

static struct wire_vectors
stored_vector(const struct serve *serve, const void *vector)
{
    struct wire_vectors out = {.form = VECTORS_NONE};
    if (vector == NULL)
        return out;
    out.form = VECTORS_RAW;
    out.dtype = (uint8_t)serve->options.dtype;
    out.count = serve->options.dimension;
    out.bytes = (struct wire_bytes){vector, out.count * (uint32_t)wire_dtype_bytes(out.dtype)};
    return out;
}

// ---- lists ----

// A hit and its place among the points that it came with.
struct row {
    float distance;
    uint32_t at;
    struct wire_id id;
};

static int
by_distance(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    if (one->distance != other->distance)
        return one->distance < other->distance ? -1 : 1;
    if (one->id.text_bytes == 0)
        return (one->id.number > other->id.number) - (one->id.number < other->id.number);
    const uint32_t least =
        one->id.text_bytes < other->id.text_bytes ? one->id.text_bytes : other->id.text_bytes;
    const int order = memcmp(one->id.text, other->id.text, least);
    return order != 0 ? order : (int)one->id.text_bytes - (int)other->id.text_bytes;
}

// The shard gives equal distances by age, a merge wants them by id.
static void
rows_sort(struct row *rows, size_t count)
{
    bool equals = false;
    for (size_t i = 1; i < count; i++)
        equals |= rows[i].distance == rows[i - 1].distance;
    if (equals)
        qsort(rows, count, sizeof *rows, by_distance);
}

// `rows` has room for all of them.
static size_t
rows_of(const struct serve *serve, const struct points *points, struct row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < points_count(points); i++) {
        struct point point;
        points_at(points, i, &point);
        rows[count] = (struct row){.distance = point.distance, .at = (uint32_t)i};
        count += point.found && serve_id(serve, point.id, &rows[count].id);
    }
    rows_sort(rows, count);
    return count;
}

static omen_status
list_write(const struct serve *serve, const struct points *points, size_t most,
           struct omen_error *error)
{
    struct row small[ROWS_SMALL], *rows = small;
    if (points_count(points) > ROWS_SMALL)
        rows = mem_alloc(points_count(points) * sizeof *rows);
    if (rows == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    size_t count = rows_of(serve, points, rows);
    count = count < most ? count : most;
    found_list_write(serve->answer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        struct point point;
        points_at(points, rows[i].at, &point);
        const struct found_hit hit = {.distance = point.distance,
                                      .version = point.version,
                                      .id = rows[i].id,
                                      .payload = {point.payload, (uint32_t)point.payload_bytes},
                                      .vector = stored_vector(serve, point.vector)};
        found_hit_write(serve->answer, &hit);
    }
    if (rows != small)
        mem_free(rows);
    return OMEN_OK;
}

// ---- one query ----

// What a search of one vector holds until it is answered.
struct single {
    uint64_t begun_ns;
    struct serve_query query;
    struct serve_vector vector;
    struct points *points; // what was found
};

// single_end follows also on failure.
static omen_status
single_begin(struct serve *serve, const struct wire_filter *filter,
             const struct wire_vectors *vector, struct single *single, struct omen_error *error)
{
    *single = (struct single){.begun_ns = os_clock_ns()};
    const omen_status status = serve_query_init(&single->query, filter, error);
    return status == OMEN_OK ? serve_vector(serve, vector, &single->vector, error) : status;
}

// Where all went well so far, its answer is the first `most` of the points.
static omen_status
single_end(struct serve *serve, struct single *single, omen_status status, size_t most,
           struct omen_error *error)
{
    if (status == OMEN_OK) {
        head_write(serve, &single->query, 1, single->begun_ns);
        status = list_write(serve, single->points, most, error);
    }
    points_close(single->points);
    mem_free(single->vector.owned);
    serve_query_fini(&single->query);
    return status;
}

omen_status
serve_search(struct serve *serve, struct omen_error *error)
{
    const struct api_query_search *ask = (const void *)&serve->ask;
    const uint32_t k = ask->k == 0 ? SERVE_K : ask->k;
    struct single single;
    omen_status status = single_begin(serve, &ask->filter, &ask->vector, &single, error);
    if (status == OMEN_OK) {
        SERVE_EFFORT(&single.query, ask, single.vector.dtype);
        single.query.options.k = k;
        single.query.options.deadline_us = deadline_us(ask->deadline_ms);
        status = shard_hits(serve->shard, single.vector.components, &single.query.options,
                            serve_with(ask->with), &single.points, error);
    }
    return single_end(serve, &single, status, k, error);
}

// ---- everything within a radius ----

// The points of the hits, with what else is asked of them, in their order; who is gone meanwhile is left out.
static omen_status
points_with(const struct serve *serve, uint32_t with, struct points **points,
            struct omen_error *error)
{
    const size_t count = points_count(*points);
    if (with == 0 || count == 0)
        return OMEN_OK;
    const int parts = serve_with(with);
    const struct points_config config = {
        .room = count,
        .row_bytes =
            (parts & OMEN_WITH_VECTOR) != 0
                ? serve->options.dimension * wire_dtype_bytes((uint8_t)serve->options.dtype)
                : 0,
        .payloads = (parts & OMEN_WITH_PAYLOAD) != 0};
    struct points *got = NULL, *joined = NULL;
    uint64_t *ids = mem_alloc(count * sizeof *ids);
    struct point point, full;
    if (ids == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        points_at(*points, i, &point);
        ids[i] = point.id;
    }
    omen_status status = shard_get(serve->shard, &(struct id_list){ids, count}, parts, &got, error);
    if (status == OMEN_OK && points_open(&config, &joined) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    for (size_t i = 0; i < count && status == OMEN_OK; i++) {
        points_at(*points, i, &point);
        points_at(got, i, &full);
        full.distance = point.distance;
        if (full.found && full.version == point.version && points_add(joined, &full) != OMEN_OK)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    points_close(got);
    mem_free(ids);
    if (status != OMEN_OK) {
        points_close(joined);
        return status;
    }
    points_close(*points);
    *points = joined;
    return OMEN_OK;
}

omen_status
serve_range(struct serve *serve, struct omen_error *error)
{
    const struct api_query_range *ask = (const void *)&serve->ask;
    struct single single;
    omen_status status = single_begin(serve, &ask->filter, &ask->vector, &single, error);
    if (status == OMEN_OK) {
        SERVE_EFFORT(&single.query, ask, single.vector.dtype);
        single.query.options.deadline_us = deadline_us(ask->deadline_ms);
        status = shard_range(serve->shard, single.vector.components, (float)ask->radius,
                             &single.query.options, &single.points, error);
    }
    if (status == OMEN_OK)
        status = points_with(serve, ask->with, &single.points, error);
    return single_end(serve, &single, status, ask->limit == 0 ? TOPK_MAX : ask->limit, error);
}

// ---- many queries ----

struct batch {
    struct serve_query query;
    const void *vectors; // of one type, one behind the other
    float *owned;
    uint32_t count;
};

// Arrays as floats; exts in an array are of one type each, so they are made floats too where they are.
static omen_status
batch_rows(const struct serve *serve, const struct wire_vectors *vectors, struct batch *batch,
           struct omen_error *error)
{
    const uint32_t dimension = serve->options.dimension;
    struct list_cursor cursor;
    struct wire_vectors row;
    batch->count = vectors->count;
    batch->vectors = batch->owned =
        mem_alloc((size_t)vectors->count * dimension * sizeof *batch->owned);
    if (batch->owned == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    rows_begin(&cursor, vectors);
    for (uint32_t i = 0; list_next(&cursor, &row); i++) {
        float *out = batch->owned + (size_t)i * dimension;
        if (row.count != dimension)
            return error_set(error, OMEN_E_DIMENSION,
                             "vectors[%u] has %u components; the collection has %u", i, row.count,
                             dimension);
        if (row.form == VECTORS_NUMBERS)
            decode_numbers_read(row.bytes, out, dimension);
        else
            vector_to_f32((enum vector_type)row.dtype, row.bytes.bytes, dimension, out);
    }
    return OMEN_OK;
}

static omen_status
batch_init(const struct serve *serve, const struct api_query_batch *ask, struct batch *batch,
           struct omen_error *error)
{
    const struct wire_vectors *vectors = &ask->vectors;
    const uint32_t dimension = serve->options.dimension;
    *batch = (struct batch){.vectors = vectors->bytes.bytes, .count = vectors->count / dimension};
    omen_status status = serve_query_init(&batch->query, &ask->filter, error);
    omen_dtype dtype = OMEN_F32;
    if (status == OMEN_OK && vectors->form == VECTORS_ROWS)
        status = batch_rows(serve, vectors, batch, error);
    else if (status == OMEN_OK && (vectors->count % dimension != 0 || batch->count == 0))
        status = error_set(error, OMEN_E_DIMENSION,
                           "vectors has %u components, which is no multiple of %u", vectors->count,
                           dimension);
    else
        dtype = (omen_dtype)vectors->dtype;
    SERVE_EFFORT(&batch->query, ask, dtype);
    batch->query.options.k = ask->k == 0 ? SERVE_K : ask->k;
    batch->query.options.deadline_us = deadline_us(ask->deadline_ms);
    return status;
}

static void
batch_fini(struct batch *batch)
{
    mem_free(batch->owned);
    serve_query_fini(&batch->query);
}

// What was found for one of them: the first id that is UINT64_MAX and those behind it are none.
struct batch_list {
    const uint64_t *ids;
    const float *distances;
    uint32_t k;
};

// Whether it is written already as it is found: equal distances are by age, where a merge wants them by id.
static bool
list_as_it_is(const struct serve *serve, const struct batch_list *list)
{
    uint32_t count = 0;
    if (serve->texts)
        return false;
    for (; count < list->k && list->ids[count] != UINT64_MAX; count++)
        if (count > 0 && list->distances[count] == list->distances[count - 1])
            return false;
    found_numbers_write(serve->answer, list->ids, list->distances, count);
    return true;
}

// So that it need not grow by and by. Where there is no such room, who writes finds out.
static void
room_for_lists(struct encode *answer, uint32_t lists, uint32_t k)
{
    const size_t count = answer->count;
    if (answer->status == OMEN_OK) {
        (void)encode_reserve(answer, lists * (4 + (size_t)k * FOUND_HIT_BYTES_MIN));
        encode_rewind(answer, count);
    }
}

// `rows` has room for k.
static void
list_by_rows(const struct serve *serve, const struct batch_list *list, struct row *rows)
{
    size_t count = 0;
    for (uint32_t j = 0; j < list->k && list->ids[j] != UINT64_MAX; j++) {
        rows[count] = (struct row){.distance = list->distances[j]};
        count += serve_id(serve, list->ids[j], &rows[count].id);
    }
    rows_sort(rows, count);
    found_list_write(serve->answer, (uint32_t)count);
    for (size_t j = 0; j < count; j++)
        found_hit_write(serve->answer,
                        &(struct found_hit){.distance = rows[j].distance, .id = rows[j].id});
}

// Ids and distances alone: by as many threads as are worth it.
static omen_status
batch_plain(struct serve *serve, struct batch *batch, uint64_t begun_ns, struct omen_error *error)
{
    const uint32_t k = batch->query.options.k;
    const size_t places = (size_t)batch->count * k;
    const struct queries queries = {batch->vectors, batch->count, serve->pool};
    uint64_t *ids = mem_alloc(places * sizeof *ids);
    float *distances = mem_alloc(places * sizeof *distances);
    struct row *rows = mem_alloc(k * sizeof *rows);
    omen_status status = ids == NULL || distances == NULL || rows == NULL
                             ? error_set_plain(error, OMEN_E_NO_MEMORY)
                             : OMEN_OK;
    if (status == OMEN_OK)
        status = shard_query_batch(serve->shard, &queries, &batch->query.options,
                                   &(struct answers){ids, distances}, error);
    if (status == OMEN_OK) {
        head_write(serve, &batch->query, batch->count, begun_ns);
        room_for_lists(serve->answer, batch->count, k);
    }
    for (uint32_t i = 0; i < batch->count && status == OMEN_OK; i++) {
        const struct batch_list list = {ids + (size_t)i * k, distances + (size_t)i * k, k};
        if (!list_as_it_is(serve, &list))
            list_by_rows(serve, &list, rows);
    }
    mem_free(ids);
    mem_free(distances);
    mem_free(rows);
    return status;
}

static omen_status
batch_with(struct serve *serve, struct batch *batch, uint32_t with, uint64_t begun_ns,
           struct omen_error *error)
{
    const size_t row_bytes =
        (size_t)serve->options.dimension * wire_dtype_bytes((uint8_t)batch->query.options.dtype);
    omen_status status = OMEN_OK;
    batch->query.report = (omen_query_report){.matches = UINT64_MAX};
    head_write(serve, &batch->query, batch->count, begun_ns); // what each took is not told
    for (uint32_t i = 0; i < batch->count && status == OMEN_OK; i++) {
        struct points *points = NULL;
        status = shard_hits(serve->shard, (const char *)batch->vectors + i * row_bytes,
                            &batch->query.options, serve_with(with), &points, error);
        if (status == OMEN_OK)
            status = list_write(serve, points, batch->query.options.k, error);
        points_close(points);
    }
    return status;
}

omen_status
serve_batch(struct serve *serve, struct omen_error *error)
{
    const struct api_query_batch *ask = (const void *)&serve->ask;
    const uint64_t begun_ns = os_clock_ns();
    struct batch batch;
    omen_status status = batch_init(serve, ask, &batch, error);
    if (status == OMEN_OK)
        status = ask->with == 0 ? batch_plain(serve, &batch, begun_ns, error)
                                : batch_with(serve, &batch, ask->with, begun_ns, error);
    batch_fini(&batch);
    return status;
}

// ---- recall ----

// A shard that has nothing to measure with has no samples, and the others count.
omen_status
serve_recall(struct serve *serve, struct omen_error *error)
{
    const struct api_recall_measure *ask = (const void *)&serve->ask;
    struct serve_query query;
    omen_recall recall = {.struct_size = sizeof recall};
    omen_status status = serve_query_init(&query, &ask->filter, error);
    if (status == OMEN_OK) {
        SERVE_EFFORT(&query, ask, OMEN_F32);
        query.options.k = ask->k == 0 ? SERVE_K : ask->k;
        status = shard_measure_recall(serve->shard, ask->samples == 0 ? 1 : ask->samples,
                                      &query.options, &recall, error);
    }
    serve_query_fini(&query);
    if (status == OMEN_E_NOT_FOUND)
        recall = (omen_recall){.samples = 0};
    else if (status != OMEN_OK)
        return status;
    const uint32_t ef = ask->ef == 0 ? serve->options.ef_search : ask->ef;
    const struct api_recall answer = {.recall = recall.recall,
                                      .low = recall.low,
                                      .high = recall.high,
                                      .evaluations = recall.evaluations,
                                      .ef = ask->target_recall != 0 || ask->exact != 0 ? 0 : ef,
                                      .samples = recall.samples,
                                      .k = query.options.k};
    shape_write(serve->answer, &api_recall, &answer);
    return OMEN_OK;
}
