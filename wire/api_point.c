// wire/api_point.c -- the tables of requests about points and of their answers.
//
// Shape: value.
#include "wire/api_int.h"

const char *const api_consistencies[] = {"eventual", "session", "strong", NULL};
const char *const api_warnings[] = {"unindexed_field", "not_calibrated", "deadline", NULL};
const char *const api_withs[] = {"payload", "vector", NULL};
const char *const api_outcomes[] = {"not_applied", "applied", "unknown", NULL};
static const char *const modes[] = {"upsert", "insert", "update", NULL};

#define IDS(type, ...) ROW(type, ids, FIELD_IDS, WITHIN(1, WIRE_BATCH_MAX), __VA_ARGS__)
#define IF_VERSION(type) ROW(type, if_version, FIELD_MAYBE, UP_TO(UINT64_MAX))
#define WITH(type) ROW(type, with, FIELD_WORDS, ONE_OF(api_withs))
#define WARNINGS(type) ROW(type, warnings, FIELD_WORDS, ONE_OF(api_warnings))
#define SHARDS_FAILED(type)                                                                        \
    ROW(type, shards_failed, FIELD_LIST, UP_TO(LIST_MAX), OF(api_shard_failed))

static const struct field api_point_upsert_rows[] = {
    WRITE_ROWS(api_point_upsert),
    ROW(api_point_upsert, mode, FIELD_WORD, ONE_OF(modes)),
    IDS(api_point_upsert, MUST),
    ROW(api_point_upsert, vectors, FIELD_VECTORS, WITHIN(1, WIRE_BATCH_MAX)),
    ROW(api_point_upsert, payloads, FIELD_PAYLOADS, WITHIN(1, WIRE_BATCH_MAX)),
    IF_VERSION(api_point_upsert),
};
SHAPE(api_point_upsert);

static const struct field api_point_delete_rows[] = {
    WRITE_ROWS(api_point_delete),
    IDS(api_point_delete, ),
    ROW(api_point_delete, filter, FIELD_FILTER),
    IF_VERSION(api_point_delete),
};
SHAPE(api_point_delete);

static const struct field api_point_patch_rows[] = {
    WRITE_ROWS(api_point_patch),
    IDS(api_point_patch, ),
    ROW(api_point_patch, filter, FIELD_FILTER),
    ROW(api_point_patch, set, FIELD_PAYLOAD),
    ROW(api_point_patch, unset, FIELD_TEXTS, WITHIN(1, PAYLOAD_NODES_MAX)),
    IF_VERSION(api_point_patch),
};
SHAPE(api_point_patch);

static const struct field api_failed_rows[] = {
    ROW(api_failed, row, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_failed, name, FIELD_NAME, MUST),
    ROW(api_failed, message, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_failed, outcome, FIELD_WORD, ONE_OF(api_outcomes)),
};
SHAPE(api_failed);

static const struct field api_written_rows[] = {
    ROW(api_written, count, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    TOKEN_ROW(api_written),
    ROW(api_written, failed, FIELD_LIST, UP_TO(LIST_MAX), OF(api_failed)),
};
SHAPE(api_written);

static const struct field api_point_get_rows[] = {
    READ_ROWS(api_point_get),
    IDS(api_point_get, MUST),
    WITH(api_point_get),
};
SHAPE(api_point_get);

static const struct field api_point_rows[] = {
    ROW(api_point, id, FIELD_ID, MUST),
    ROW(api_point, payload, FIELD_PAYLOAD),
    ROW(api_point, vector, FIELD_VECTOR),
    ROW(api_point, version, FIELD_U64, UP_TO(UINT64_MAX)),
};
const struct shape api_point = {
    .name = "api_point",
    .fields = api_point_rows,
    .field_count = sizeof api_point_rows / sizeof api_point_rows[0],
    .bytes = sizeof(struct api_point),
    .absent = offsetof(struct api_point, absent),
};

static const struct field api_points_rows[] = {
    ROW(api_points, points, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_point)),
    TOKEN_ROW(api_points),
};
SHAPE(api_points);

static const struct field api_point_count_rows[] = {
    READ_ROWS(api_point_count),
    ROW(api_point_count, filter, FIELD_FILTER),
};
SHAPE(api_point_count);

static const struct field api_shard_failed_rows[] = {
    ROW(api_shard_failed, shard, FIELD_U64, MUST, UP_TO(NUMBER_MAX)),
    ROW(api_shard_failed, name, FIELD_NAME, MUST),
};
SHAPE(api_shard_failed);

static const struct field api_count_rows[] = {
    ROW(api_count, count, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    SHARDS_FAILED(api_count),
    WARNINGS(api_count),
};
SHAPE(api_count);

static const struct field api_point_scroll_rows[] = {
    READ_ROWS(api_point_scroll),
    ROW(api_point_scroll, filter, FIELD_FILTER),
    ROW(api_point_scroll, cursor, FIELD_TEXT, WITHIN(1, MESSAGE_BYTES_MAX)),
    ROW(api_point_scroll, limit, FIELD_U32, WITHIN(1, WIRE_BATCH_MAX)),
    WITH(api_point_scroll),
};
SHAPE(api_point_scroll);

static const struct field api_page_rows[] = {
    ROW(api_page, points, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_point)),
    ROW(api_page, cursor, FIELD_TEXT, WITHIN(1, MESSAGE_BYTES_MAX)),
    TOKEN_ROW(api_page),
    WARNINGS(api_page),
};
SHAPE(api_page);

static const struct field api_point_facet_rows[] = {
    READ_ROWS(api_point_facet),
    ROW(api_point_facet, field, FIELD_TEXT, MUST, WITHIN(1, FIELD_NAME_BYTES_MAX)),
    ROW(api_point_facet, filter, FIELD_FILTER),
    ROW(api_point_facet, limit, FIELD_U32, WITHIN(1, WIRE_BATCH_MAX)),
};
SHAPE(api_point_facet);

static const struct field api_facet_rows[] = {
    ROW(api_facet, value, FIELD_ANY, MUST),
    ROW(api_facet, count, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
};
SHAPE(api_facet);

static const struct field api_facets_rows[] = {
    ROW(api_facets, values, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_facet)),
    SHARDS_FAILED(api_facets),
    WARNINGS(api_facets),
};
SHAPE(api_facets);

// ---- queries ----

static const char *const results[] = {"matrix", "hits", NULL};

#define EFFORT_ROWS(type)                                                                          \
    ROW(type, filter, FIELD_FILTER), ROW(type, target_recall, FIELD_REAL, UP_TO(1)),               \
        ROW(type, ef, FIELD_U32, UP_TO(BEAM_MAX)),                                                 \
        ROW(type, oversample, FIELD_U32, UP_TO(BEAM_MAX)), WITH(type),                             \
        ROW(type, exact, FIELD_BOOL), ROW(type, partial, FIELD_BOOL)
#define K_ROW(type) ROW(type, k, FIELD_U32, WITHIN(1, TOPK_MAX), .beyond = -OMEN_E_K)

static const struct field api_query_search_rows[] = {
    READ_ROWS(api_query_search),         ROW(api_query_search, vector, FIELD_VECTOR),
    ROW(api_query_search, id, FIELD_ID), K_ROW(api_query_search),
    EFFORT_ROWS(api_query_search),       ROW(api_query_search, explain, FIELD_BOOL),
};
SHAPE(api_query_search);

static const struct field api_hit_rows[] = {
    ROW(api_hit, id, FIELD_ID, MUST),
    ROW(api_hit, distance, FIELD_FLOAT, MUST),
    ROW(api_hit, payload, FIELD_PAYLOAD),
    ROW(api_hit, vector, FIELD_VECTOR),
    ROW(api_hit, version, FIELD_U64, UP_TO(UINT64_MAX)),
};
SHAPE(api_hit);

static const struct field api_hits_rows[] = {
    ROW(api_hits, hits, FIELD_LIST, MUST, UP_TO(TOPK_MAX), OF(api_hit)),
    TOKEN_ROW(api_hits),
    SHARDS_FAILED(api_hits),
    ROW(api_hits, explain, FIELD_ANY),
    WARNINGS(api_hits),
};
SHAPE(api_hits);

static const struct field api_query_batch_rows[] = {
    READ_ROWS(api_query_batch),
    ROW(api_query_batch, vectors, FIELD_VECTORS, MUST, WITHIN(1, WIRE_BATCH_MAX)),
    K_ROW(api_query_batch),
    EFFORT_ROWS(api_query_batch),
    ROW(api_query_batch, result, FIELD_WORD, ONE_OF(results)),
};
SHAPE(api_query_batch);

static const struct field api_query_hits_rows[] = {
    ROW(api_query_hits, hits, FIELD_LIST, MUST, UP_TO(TOPK_MAX), OF(api_hit)),
};
SHAPE(api_query_hits);

static const struct field api_batch_hits_rows[] = {
    ROW(api_batch_hits, ids, FIELD_BYTES, UP_TO(WIRE_FRAME_BYTES_MAX)),
    ROW(api_batch_hits, distances, FIELD_BYTES, UP_TO(WIRE_FRAME_BYTES_MAX)),
    ROW(api_batch_hits, results, FIELD_LIST, UP_TO(WIRE_BATCH_MAX), OF(api_query_hits)),
    TOKEN_ROW(api_batch_hits),
    SHARDS_FAILED(api_batch_hits),
    WARNINGS(api_batch_hits),
};
SHAPE(api_batch_hits);

static const struct field api_query_range_rows[] = {
    READ_ROWS(api_query_range),
    ROW(api_query_range, vector, FIELD_VECTOR),
    ROW(api_query_range, id, FIELD_ID),
    ROW(api_query_range, radius, FIELD_REAL, MUST),
    ROW(api_query_range, limit, FIELD_U32, WITHIN(1, TOPK_MAX)),
    EFFORT_ROWS(api_query_range),
};
SHAPE(api_query_range);

static const struct field api_query_recommend_rows[] = {
    READ_ROWS(api_query_recommend),
    ROW(api_query_recommend, positive, FIELD_IDS, MUST, WITHIN(1, WIRE_BATCH_MAX)),
    ROW(api_query_recommend, negative, FIELD_IDS, UP_TO(WIRE_BATCH_MAX)),
    K_ROW(api_query_recommend),
    EFFORT_ROWS(api_query_recommend),
};
SHAPE(api_query_recommend);

static const struct field api_query_why_not_rows[] = {
    READ_ROWS(api_query_why_not),
    ROW(api_query_why_not, vector, FIELD_VECTOR, MUST),
    ROW(api_query_why_not, id, FIELD_ID, MUST),
    K_ROW(api_query_why_not),
    EFFORT_ROWS(api_query_why_not),
};
SHAPE(api_query_why_not);

static const struct field api_why_not_rows[] = {
    ROW(api_why_not, found, FIELD_BOOL, MUST),
    ROW(api_why_not, rank, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_why_not, distance, FIELD_REAL),
    ROW(api_why_not, reason, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_why_not, explain, FIELD_ANY),
};
SHAPE(api_why_not);

static const struct field api_recall_measure_rows[] = {
    READ_ROWS(api_recall_measure),
    ROW(api_recall_measure, samples, FIELD_U32, WITHIN(1, WIRE_BATCH_MAX)),
    K_ROW(api_recall_measure),
    EFFORT_ROWS(api_recall_measure),
};
SHAPE(api_recall_measure);

static const struct field api_recall_rows[] = {
    ROW(api_recall, recall, FIELD_REAL, MUST, UP_TO(1)),
    ROW(api_recall, low, FIELD_REAL, MUST, UP_TO(1)),
    ROW(api_recall, high, FIELD_REAL, MUST, UP_TO(1)),
    ROW(api_recall, evaluations, FIELD_REAL, MUST),
    ROW(api_recall, ef, FIELD_U32, MUST, UP_TO(BEAM_MAX)),
    ROW(api_recall, samples, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_recall, k, FIELD_U32, MUST, UP_TO(TOPK_MAX)),
};
SHAPE(api_recall);
