// node/serve_points.c -- points of a shard by id, page by page, and counted.
//
// Shape: handle; functions on a hosted shard.
#include "base/alloc.h"
#include "node/serve_int.h"

static struct api_point
api_point_of(const struct serve *serve, const struct point *point)
{
    struct api_point out = {.version = point->version,
                            .payload = {point->payload, (uint32_t)point->payload_bytes}};
    if (point->vector != NULL) {
        const uint8_t dtype = (uint8_t)serve->options.dtype;
        out.vector = (struct wire_vectors){
            .form = VECTORS_RAW,
            .dtype = dtype,
            .count = serve->options.dimension,
            .bytes = {point->vector, serve->options.dimension * (uint32_t)wire_dtype_bytes(dtype)}};
    }
    return out;
}

// ---- by id ----

// `keys` has room for all; what the shard has no key for is asked with one that nobody has.
static void
keys_of(const struct serve *serve, const struct wire_list *ids, uint64_t *keys)
{
    struct list_cursor cursor;
    struct wire_id id;
    ids_begin(&cursor, ids);
    for (uint32_t i = 0; list_next(&cursor, &id); i++)
        if (!serve_key(serve, &id, &keys[i]))
            keys[i] = UINT64_MAX;
}

static omen_status
points_write(struct serve *serve, const struct wire_list *ids, const struct points *points)
{
    struct list_cursor cursor;
    struct wire_id id;
    struct encode *answer = serve->answer;
    encode_map(answer, 1);
    encode_word(answer, "points");
    encode_array(answer, ids->count);
    ids_begin(&cursor, ids);
    bool lacks = false;
    for (uint32_t i = 0; list_next(&cursor, &id); i++) {
        struct point point;
        points_at(points, i, &point);
        serve->items->statuses[i] = point.found ? OMEN_OK : OMEN_E_NOT_FOUND;
        lacks |= !point.found;
        if (!point.found) {
            encode_nil(answer);
            continue;
        }
        struct api_point out = api_point_of(serve, &point);
        out.id = id;
        shape_write(answer, &api_point, &out);
    }
    serve->items->count = lacks ? ids->count : 0; // none are told where all are well
    return OMEN_OK;
}

omen_status
serve_get(struct serve *serve, struct omen_error *error)
{
    const struct api_point_get *ask = (const void *)&serve->ask;
    const uint32_t count = ask->ids.count;
    struct points *points = NULL;
    if (count > serve->items->room)
        return error_set(error, OMEN_E_INVALID, "ids has %u items, more than %u", count,
                         serve->items->room);
    uint64_t *keys = mem_alloc(count * sizeof *keys);
    if (keys == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    keys_of(serve, &ask->ids, keys);
    omen_status status = shard_get(serve->shard, &(struct id_list){keys, count},
                                   serve_with(ask->with), &points, error);
    if (status == OMEN_OK)
        status = points_write(serve, &ask->ids, points);
    points_close(points);
    mem_free(keys);
    return status;
}

// ---- pages ----

static bool
cursor_read(struct wire_text text, uint64_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < text.count; i++) {
        const char digit = text.bytes[i];
        const bool letter = digit >= 'a' && digit <= 'f';
        if (!letter && (digit < '0' || digit > '9'))
            return false;
        *out = *out << 4 | (uint64_t)(letter ? digit - 'a' + 10 : digit - '0');
    }
    return text.count == 16;
}

static omen_status
page_write(struct serve *serve, const struct shard_page *page, const struct points *points,
           struct omen_error *error)
{
    const size_t count = points_count(points);
    struct api_point *out = mem_alloc((count + 1) * sizeof *out);
    uint32_t written = 0;
    if (out == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        struct point point;
        points_at(points, i, &point);
        out[written] = api_point_of(serve, &point);
        written += serve_id(serve, point.id, &out[written].id);
    }
    // Behind the last hash of all there is nothing: 0.
    const struct inner_page answer = {
        .points = {.count = written, .items = out},
        .next = page->more ? page->next : serve->part->last + 1,
        .warnings = page->scanned ? API_UNINDEXED_FIELD : 0,
    };
    shape_write(serve->answer, &inner_page, &answer);
    mem_free(out);
    return OMEN_OK;
}

omen_status
serve_scroll(struct serve *serve, struct omen_error *error)
{
    const struct api_point_scroll *ask = (const void *)&serve->ask;
    struct serve_filter filter;
    struct points *points = NULL;
    struct shard_page page = {.with = serve_with(ask->with),
                              .limit = ask->limit == 0 ? 1 : ask->limit,
                              .last = serve->part->last};
    if (!cursor_read(ask->cursor, &page.first) || page.first < serve->part->first)
        return error_set(error, OMEN_E_INVALID, "cursor is none of this shard");
    omen_status status = serve_filter_init(&filter, &ask->filter, error);
    page.filter = filter.filter;
    if (status == OMEN_OK)
        status = shard_page(serve->shard, &page, &points, error);
    if (status == OMEN_OK)
        status = page_write(serve, &page, points, error);
    points_close(points);
    serve_filter_fini(&filter);
    return status;
}

// ---- counted ----

omen_status
serve_count(struct serve *serve, struct omen_error *error)
{
    const struct api_point_count *ask = (const void *)&serve->ask;
    struct serve_filter filter;
    struct api_count answer = {.count = 0};
    bool scanned = false;
    omen_status status = serve_filter_init(&filter, &ask->filter, error);
    if (status == OMEN_OK)
        status = shard_count_where(serve->shard, &filter.filter, &answer.count, &scanned, error);
    serve_filter_fini(&filter);
    answer.warnings = scanned ? API_UNINDEXED_FIELD : 0;
    if (status == OMEN_OK)
        shape_write(serve->answer, &api_count, &answer);
    return status;
}
