// node/serve_facet.c -- which values a field has, and how many points have each.
//
// Shape: handle; functions on a hosted shard.
//
// Payloads are gone through page by page, so nobody waits for it. A value counts once for each point that has it, however often it is in
// an array. The most frequent are told, up to SERVE_VALUES_MAX: where a shard has more than that, the router's sums of rare
// values may lack some points.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/field_path.h"
#include "base/hash.h"
#include "node/serve_int.h"

#define PAGE_POINTS 1024u
#define SERVE_VALUES_MAX 10000u     // told
#define VALUES_MAX 1000000u         // kept
#define VALUE_BYTES_MAX (64u << 20) // of them together

struct value_count {
    uint64_t hash, count, point; // the last point that had it
    uint32_t at, bytes;          // packed, in the table's bytes
};

struct value_table {
    struct value_count *values;
    uint32_t count, room;
    uint32_t *places; // 1 + the value's; 0: none
    uint32_t mask;
    struct encode bytes;
    struct encode one; // the value that is looked for
    uint64_t point;
    bool scanned; // the filter had no index
    omen_status status;
};

static bool
table_grow(struct value_table *table)
{
    const uint32_t room = table->room == 0 ? 256 : table->room * 2;
    struct value_count *values = mem_resize(table->values, room * sizeof *values);
    if (values == NULL)
        return false;
    table->values = values;
    uint32_t *places = mem_alloc_zero((size_t)room * 2, sizeof *places);
    if (places == NULL)
        return false;
    mem_free(table->places);
    table->places = places;
    table->room = room;
    table->mask = room * 2 - 1;
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t place = (uint32_t)values[i].hash & table->mask;
        while (places[place] != 0)
            place = (place + 1) & table->mask;
        places[place] = i + 1;
    }
    return true;
}

static struct value_count *
table_find(struct value_table *table)
{
    const struct encode *one = &table->one;
    const uint64_t hash = hash_bytes(one->bytes, one->count);
    if (table->count == table->room && !table_grow(table))
        return NULL;
    uint32_t place = (uint32_t)hash & table->mask;
    for (; table->places[place] != 0; place = (place + 1) & table->mask) {
        struct value_count *value = &table->values[table->places[place] - 1];
        if (value->hash == hash && value->bytes == one->count &&
            memcmp(table->bytes.bytes + value->at, one->bytes, one->count) == 0)
            return value;
    }
    table->places[place] = ++table->count;
    table->values[table->count - 1] = (struct value_count){
        .hash = hash, .at = (uint32_t)table->bytes.count, .bytes = (uint32_t)one->count};
    encode_raw(&table->bytes, one->bytes, one->count);
    return &table->values[table->count - 1];
}

// One value has one form, so that the router can tell equal ones by their bytes. Maps and null are no values.
static bool
value_pack(struct encode *encode, const struct msgpack_value *value)
{
    const struct wire_bytes raw = {value->raw.bytes, value->raw.length};
    encode_reset(encode);
    switch (value->kind) {
    case MSGPACK_BOOL:
        encode_bool(encode, value->boolean);
        return true;
    case MSGPACK_INT:
        encode_i64(encode, value->integer);
        return true;
    case MSGPACK_UINT:
        encode_u64(encode, value->unsigned_);
        return true;
    case MSGPACK_FLOAT:
        encode_real(encode, value->number);
        return true;
    case MSGPACK_STRING:
        encode_text(encode, (struct wire_text){(const char *)raw.bytes, raw.count});
        return true;
    case MSGPACK_BINARY:
        encode_bytes(encode, raw);
        return true;
    case MSGPACK_EXT:
        encode_ext(encode, value->ext_type, raw);
        return true;
    default:
        return false;
    }
}

static bool
count_value(void *context, const struct msgpack_value *value)
{
    struct value_table *table = context;
    if (!value_pack(&table->one, value))
        return false;
    struct value_count *found = table_find(table);
    table->status = found == NULL ? OMEN_E_NO_MEMORY : table->one.status;
    if (table->status == OMEN_OK)
        table->status = table->bytes.status;
    if (table->status == OMEN_OK && table->count > VALUES_MAX)
        table->status = OMEN_E_FULL;
    if (table->status != OMEN_OK)
        return true;
    found->count += found->point != table->point;
    found->point = table->point;
    return false;
}

static omen_status
count_values(struct serve *serve, const struct serve_filter *filter, struct value_table *table,
             struct omen_error *error)
{
    const struct api_point_facet *ask = (const void *)&serve->ask;
    struct scroll scroll = {.filter = filter->filter.text,
                            .filter_map = filter->filter.map,
                            .filter_map_bytes = filter->filter.bytes,
                            .with = OMEN_WITH_PAYLOAD,
                            .limit = PAGE_POINTS};
    while (scroll.cursor != UINT64_MAX) {
        struct points *points;
        const omen_status status = shard_scroll(serve->shard, &scroll, &points, error);
        if (status != OMEN_OK)
            return status;
        table->scanned |= scroll.scanned;
        for (size_t i = 0; i < points_count(points) && table->status == OMEN_OK; i++) {
            struct point point;
            points_at(points, i, &point);
            table->point++;
            field_walk(point.payload, point.payload_bytes, ask->field.bytes, ask->field.count,
                       count_value, table);
        }
        points_close(points);
        if (table->status == OMEN_E_FULL)
            return error_set(error, OMEN_E_FULL,
                             "field '%.*s' has more values than can be counted (%u, or %u bytes)",
                             (int)ask->field.count, ask->field.bytes, VALUES_MAX, VALUE_BYTES_MAX);
        if (table->status != OMEN_OK)
            return error_set_plain(error, table->status);
    }
    return OMEN_OK;
}

static int
by_count(const void *a, const void *b)
{
    const struct value_count *one = a, *other = b;
    return one->count != other->count ? (one->count > other->count ? -1 : 1)
                                      : (one->at > other->at) - (one->at < other->at);
}

static omen_status
values_write(struct serve *serve, struct value_table *table, struct omen_error *error)
{
    const uint32_t told = table->count < SERVE_VALUES_MAX ? table->count : SERVE_VALUES_MAX;
    struct api_facet *values = mem_alloc((told + 1) * sizeof *values);
    if (values == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    if (table->count > 0)
        qsort(table->values, table->count, sizeof *table->values, by_count);
    for (uint32_t i = 0; i < told; i++)
        values[i] = (struct api_facet){
            .value = {table->bytes.bytes + table->values[i].at, table->values[i].bytes},
            .count = table->values[i].count};
    const struct api_facets answer = {.values = {.count = told, .items = values},
                                      .warnings = table->scanned ? API_UNINDEXED_FIELD : 0};
    shape_write(serve->answer, &api_facets, &answer);
    mem_free(values);
    return OMEN_OK;
}

omen_status
serve_facet(struct serve *serve, struct omen_error *error)
{
    const struct api_point_facet *ask = (const void *)&serve->ask;
    struct value_table table = {.count = 0};
    struct serve_filter filter;
    if (!field_name_valid(ask->field.bytes, ask->field.count))
        return error_set(error, OMEN_E_INVALID, "field '%.*s' is no name of a field",
                         (int)ask->field.count, ask->field.bytes);
    encode_init(&table.bytes, VALUE_BYTES_MAX);
    encode_init(&table.one, VALUE_BYTES_MAX);
    omen_status status = serve_filter_init(&filter, &ask->filter, error);
    if (status == OMEN_OK)
        status = count_values(serve, &filter, &table, error);
    if (status == OMEN_OK)
        status = values_write(serve, &table, error);
    serve_filter_fini(&filter);
    encode_fini(&table.bytes);
    encode_fini(&table.one);
    mem_free(table.values);
    mem_free(table.places);
    return status;
}
