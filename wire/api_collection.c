// wire/api_collection.c -- the tables of what is asked of collections, aliases, jobs and keys.
//
// Shape: value.
#include "wire/api_admin.h"
#include "wire/api_int.h"

#define SHARDS_MAX 1024u
#define REPLICAS_MAX 7u
#define KEY_BYTES_MAX 256u

static const char *const metrics[] = {"cosine", "l2", "ip", NULL};
static const char *const dtypes[] = {"f32", "f16", "bf16", "i8", "u8", NULL};
static const char *const quantizations[] = {"int8", "none", NULL};
static const char *const id_kinds[] = {"integer", "text", NULL};
static const char *const field_types[] = {"keyword",  "integer", "float", "bool",
                                          "datetime", "uuid",    NULL};
static const char *const backends[] = {"auto", "cpu", "cuda", NULL};
static const char *const job_kinds[] = {"build", "move", "split", "verify", NULL};
static const char *const job_states[] = {"waiting", "running", "done", "failed", "cancelled", NULL};
static const char *const key_roles[] = {"read", "write", "manage", "admin", NULL};

// ---- collections ----

static const struct field api_collection_create_rows[] = {
    ROW(api_collection_create, name, FIELD_NAME, MUST),
    ROW(api_collection_create, dimension, FIELD_U32, MUST, WITHIN(1, VECTOR_DIM_MAX)),
    ROW(api_collection_create, metric, FIELD_WORD, ONE_OF(metrics)),
    ROW(api_collection_create, dtype, FIELD_WORD, ONE_OF(dtypes)),
    ROW(api_collection_create, shards, FIELD_U32, WITHIN(1, SHARDS_MAX)),
    ROW(api_collection_create, replicas, FIELD_U32, WITHIN(1, REPLICAS_MAX)),
    ROW(api_collection_create, min_insync, FIELD_U32, WITHIN(1, REPLICAS_MAX)),
    ROW(api_collection_create, m, FIELD_U32, WITHIN(2, LINKS_PER_NODE_MAX)),
    ROW(api_collection_create, ef_construction, FIELD_U32, WITHIN(8, BEAM_MAX)),
    ROW(api_collection_create, quantization, FIELD_WORD, ONE_OF(quantizations)),
    ROW(api_collection_create, memory_quota, FIELD_U64, WITHIN(1, UINT64_MAX)),
    ROW(api_collection_create, disk_quota, FIELD_U64, WITHIN(1, UINT64_MAX)),
    ROW(api_collection_create, if_not_exists, FIELD_BOOL),
    OPERATION(api_collection_create),
};
SHAPE(api_collection_create);

static const struct field api_field_rows[] = {
    ROW(api_field, field, FIELD_TEXT, MUST, WITHIN(1, FIELD_NAME_BYTES_MAX)),
    ROW(api_field, type, FIELD_WORD, MUST, ONE_OF(field_types)),
};
SHAPE(api_field);

static const struct field api_collection_rows[] = {
    ROW(api_collection, name, FIELD_NAME, MUST),
    ROW(api_collection, id, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_collection, version, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_collection, points, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_collection, dimension, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_collection, metric, FIELD_WORD, MUST, ONE_OF(metrics)),
    ROW(api_collection, dtype, FIELD_WORD, MUST, ONE_OF(dtypes)),
    ROW(api_collection, shards, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_collection, replicas, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_collection, min_insync, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_collection, m, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_collection, ef_construction, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_collection, quantization, FIELD_WORD, ONE_OF(quantizations)),
    ROW(api_collection, memory_quota, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_collection, disk_quota, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_collection, id_kind, FIELD_WORD, ONE_OF(id_kinds)),
    ROW(api_collection, fields, FIELD_LIST, UP_TO(LIST_MAX), OF(api_field)),
};
SHAPE(api_collection);

static const struct field api_collections_rows[] = {
    ROW(api_collections, collections, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_collection)),
};
SHAPE(api_collections);

static const struct field api_collection_drop_rows[] = {
    ROW(api_collection_drop, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_collection_drop, if_exists, FIELD_BOOL),
    OPERATION(api_collection_drop),
};
SHAPE(api_collection_drop);

static const struct field api_collection_update_rows[] = {
    ROW(api_collection_update, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_collection_update, replicas, FIELD_U32, WITHIN(1, REPLICAS_MAX)),
    ROW(api_collection_update, min_insync, FIELD_U32, WITHIN(1, REPLICAS_MAX)),
    ROW(api_collection_update, memory_quota, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_collection_update, disk_quota, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    OPERATION(api_collection_update),
};
SHAPE(api_collection_update);

static const struct field api_stats_rows[] = {
    ROW(api_stats, points, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_stats, rows, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, deleted, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, tail, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, memory_bytes, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, vector_bytes, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, payload_bytes, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, disk_bytes, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_stats, bytes_per_vector, FIELD_REAL),
    ROW(api_stats, recall, FIELD_REAL),
    ROW(api_stats, shards, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_stats, shards_failed, FIELD_U32, UP_TO(UINT32_MAX)),
};
SHAPE(api_stats);

static const struct field api_index_field_rows[] = {
    ROW(api_index_field, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_index_field, field, FIELD_TEXT, MUST, WITHIN(1, FIELD_NAME_BYTES_MAX)),
    ROW(api_index_field, type, FIELD_WORD, MUST, ONE_OF(field_types)),
    DEADLINE(api_index_field),
};
SHAPE(api_index_field);

static const struct field api_drop_field_rows[] = {
    ROW(api_drop_field, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_drop_field, field, FIELD_TEXT, MUST, WITHIN(1, FIELD_NAME_BYTES_MAX)),
    DEADLINE(api_drop_field),
};
SHAPE(api_drop_field);

static const struct field api_build_rows[] = {
    ROW(api_build, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_build, backend, FIELD_WORD, ONE_OF(backends)),
    ROW(api_build, hold_ms, FIELD_U32, UP_TO(600000)),
    OPERATION(api_build),
};
SHAPE(api_build);

// ---- aliases, jobs, keys ----

static const struct field api_alias_set_rows[] = {
    ROW(api_alias_set, alias, FIELD_NAME, MUST),
    ROW(api_alias_set, collection, FIELD_NAME, MUST),
    OPERATION(api_alias_set),
};
SHAPE(api_alias_set);

static const struct field api_alias_rows[] = {
    ROW(api_alias, alias, FIELD_NAME, MUST),
    ROW(api_alias, collection, FIELD_NAME, MUST),
};
SHAPE(api_alias);

static const struct field api_aliases_rows[] = {
    ROW(api_aliases, aliases, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_alias)),
};
SHAPE(api_aliases);

static const struct field api_alias_drop_rows[] = {
    ROW(api_alias_drop, alias, FIELD_NAME, MUST),
    OPERATION(api_alias_drop),
};
SHAPE(api_alias_drop);

static const struct field api_job_rows[] = {
    ROW(api_job, job, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_job, shard, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_job, kind, FIELD_WORD, MUST, ONE_OF(job_kinds)),
    ROW(api_job, state, FIELD_WORD, MUST, ONE_OF(job_states)),
    ROW(api_job, node, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_job, text, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_job, permille, FIELD_U32, UP_TO(1000)),
    ROW(api_job, attempts, FIELD_U32, UP_TO(UINT32_MAX)),
};
SHAPE(api_job);

static const struct field api_jobs_rows[] = {
    ROW(api_jobs, jobs, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_job)),
};
SHAPE(api_jobs);

static const struct field api_key_create_rows[] = {
    ROW(api_key_create, name, FIELD_NAME, MUST),
    ROW(api_key_create, collections, FIELD_TEXT, WITHIN(1, WIRE_NAME_BYTES_MAX)),
    ROW(api_key_create, role, FIELD_WORD, MUST, ONE_OF(key_roles)),
    ROW(api_key_create, expires_ms, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_key_create, rate, FIELD_U32, WITHIN(1, UINT32_MAX)),
    ROW(api_key_create, seed, FIELD_UUID),
    OPERATION(api_key_create),
};
SHAPE(api_key_create);

static const struct field api_key_made_rows[] = {
    ROW(api_key_made, name, FIELD_NAME, MUST),
    ROW(api_key_made, api_key, FIELD_TEXT, MUST, WITHIN(1, KEY_BYTES_MAX)),
};
SHAPE(api_key_made);

static const struct field api_key_info_rows[] = {
    ROW(api_key_info, name, FIELD_NAME, MUST),
    ROW(api_key_info, collections, FIELD_TEXT, WITHIN(1, WIRE_NAME_BYTES_MAX)),
    ROW(api_key_info, role, FIELD_WORD, MUST, ONE_OF(key_roles)),
    ROW(api_key_info, expires_ms, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_key_info, rate, FIELD_U32, UP_TO(UINT32_MAX)),
};
SHAPE(api_key_info);

static const struct field api_keys_rows[] = {
    ROW(api_keys, keys, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_key_info)),
};
SHAPE(api_keys);

static const struct field api_key_revoke_rows[] = {
    ROW(api_key_revoke, name, FIELD_NAME, MUST),
    OPERATION(api_key_revoke),
};
SHAPE(api_key_revoke);
