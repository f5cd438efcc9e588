// wire/method.h -- the methods of the protocol: what each is asked with, what it answers, and who may call it.
//
// Shape: value.
#ifndef OMEN_WIRE_METHOD_H
#define OMEN_WIRE_METHOD_H
#include "wire/api_admin.h"

enum method_right { RIGHT_NONE, RIGHT_READ, RIGHT_WRITE, RIGHT_MANAGE, RIGHT_ADMIN };

#define METHOD_LIST(X)                                                                             \
    X(SYSTEM_HELLO, "system.hello", api_hello, api_welcome, RIGHT_NONE, NULL)                      \
    X(SYSTEM_PING, "system.ping", api_nothing, api_nothing, RIGHT_NONE, NULL)                      \
    X(SYSTEM_HEALTH, "system.health", api_nothing, api_health, RIGHT_READ, NULL)                   \
    X(SYSTEM_INFO, "system.info", api_nothing, api_info, RIGHT_READ, NULL)                         \
    X(SYSTEM_METRICS, "system.metrics", api_nothing, api_metrics, RIGHT_READ, NULL)                \
    X(CLUSTER_INFO, "cluster.info", api_nothing, api_cluster_info, RIGHT_READ, NULL)               \
    X(CLUSTER_MEMBERS, "cluster.members", api_nothing, api_members, RIGHT_READ, NULL)              \
    X(CLUSTER_EVENTS, "cluster.events", api_events_ask, api_events, RIGHT_READ, NULL)              \
    X(CLUSTER_JOIN, "cluster.join", api_join, api_nothing, RIGHT_ADMIN, NULL)                      \
    X(CLUSTER_REBALANCE, "cluster.rebalance", api_rebalance_ask, api_rebalance, RIGHT_ADMIN, NULL) \
    X(NODE_LIST, "node.list", api_nothing, api_nodes, RIGHT_READ, NULL)                            \
    X(NODE_GET, "node.get", api_of_node, api_node, RIGHT_READ, NULL)                               \
    X(NODE_DRAIN, "node.drain", api_change_node, api_changed, RIGHT_ADMIN, NULL)                   \
    X(NODE_UNDRAIN, "node.undrain", api_change_node, api_changed, RIGHT_ADMIN, NULL)               \
    X(NODE_DECOMMISSION, "node.decommission", api_change_node, api_changed, RIGHT_ADMIN, NULL)     \
    X(SHARD_LIST, "shard.list", api_shards_ask, api_shards, RIGHT_READ, NULL)                      \
    X(SHARD_GET, "shard.get", api_of_shard, api_shard, RIGHT_READ, NULL)                           \
    X(SHARD_MOVE, "shard.move", api_shard_move, api_started, RIGHT_ADMIN, NULL)                    \
    X(SHARD_SPLIT, "shard.split", api_shard_split, api_started, RIGHT_ADMIN, NULL)                 \
    X(SHARD_VERIFY, "shard.verify", api_of_collection, api_verify, RIGHT_READ, NULL)               \
    X(SHARD_TRANSFER, "shard.transfer", api_shard_to, api_changed, RIGHT_ADMIN, NULL)              \
    X(SHARD_FORCE_PRIMARY, "shard.force_primary", api_shard_to, api_changed, RIGHT_ADMIN, NULL)    \
    X(COLLECTION_CREATE, "collection.create", api_collection_create, api_collection, RIGHT_MANAGE, \
      NULL)                                                                                        \
    X(COLLECTION_GET, "collection.get", api_of_collection, api_collection, RIGHT_READ, NULL)       \
    X(COLLECTION_LIST, "collection.list", api_nothing, api_collections, RIGHT_READ, NULL)          \
    X(COLLECTION_DROP, "collection.drop", api_collection_drop, api_changed, RIGHT_MANAGE, NULL)    \
    X(COLLECTION_UPDATE, "collection.update", api_collection_update, api_collection, RIGHT_MANAGE, \
      NULL)                                                                                        \
    X(COLLECTION_STATS, "collection.stats", api_of_collection, api_stats, RIGHT_READ, NULL)        \
    X(COLLECTION_INDEX_FIELD, "collection.index_field", api_index_field, api_nothing,              \
      RIGHT_MANAGE, NULL)                                                                          \
    X(COLLECTION_DROP_FIELD, "collection.drop_field", api_drop_field, api_nothing, RIGHT_MANAGE,   \
      NULL)                                                                                        \
    X(COLLECTION_OPTIMIZE, "collection.optimize", api_of_collection, api_started, RIGHT_MANAGE,    \
      NULL)                                                                                        \
    X(COLLECTION_BUILD, "collection.build", api_build, api_started, RIGHT_MANAGE, NULL)            \
    X(ALIAS_SET, "alias.set", api_alias_set, api_changed, RIGHT_MANAGE, NULL)                      \
    X(ALIAS_LIST, "alias.list", api_nothing, api_aliases, RIGHT_READ, NULL)                        \
    X(ALIAS_DROP, "alias.drop", api_alias_drop, api_changed, RIGHT_MANAGE, NULL)                   \
    X(POINT_UPSERT, "point.upsert", api_point_upsert, api_written, RIGHT_WRITE,                    \
      api_point_upsert_check)                                                                      \
    X(POINT_GET, "point.get", api_point_get, api_points, RIGHT_READ, NULL)                         \
    X(POINT_DELETE, "point.delete", api_point_delete, api_written, RIGHT_WRITE,                    \
      api_point_delete_check)                                                                      \
    X(POINT_PATCH, "point.patch", api_point_patch, api_written, RIGHT_WRITE,                       \
      api_point_patch_check)                                                                       \
    X(POINT_COUNT, "point.count", api_point_count, api_count, RIGHT_READ, NULL)                    \
    X(POINT_SCROLL, "point.scroll", api_point_scroll, api_page, RIGHT_READ, NULL)                  \
    X(POINT_FACET, "point.facet", api_point_facet, api_facets, RIGHT_READ, NULL)                   \
    X(QUERY_SEARCH, "query.search", api_query_search, api_hits, RIGHT_READ,                        \
      api_query_search_check)                                                                      \
    X(QUERY_BATCH, "query.batch", api_query_batch, api_batch_hits, RIGHT_READ,                     \
      api_query_batch_check)                                                                       \
    X(QUERY_RANGE, "query.range", api_query_range, api_hits, RIGHT_READ, api_query_range_check)    \
    X(QUERY_RECOMMEND, "query.recommend", api_query_recommend, api_hits, RIGHT_READ,               \
      api_query_recommend_check)                                                                   \
    X(QUERY_WHY_NOT, "query.why_not", api_query_why_not, api_why_not, RIGHT_READ,                  \
      api_query_why_not_check)                                                                     \
    X(RECALL_MEASURE, "recall.measure", api_recall_measure, api_recall, RIGHT_READ,                \
      api_recall_measure_check)                                                                    \
    X(JOB_LIST, "job.list", api_nothing, api_jobs, RIGHT_READ, NULL)                               \
    X(JOB_GET, "job.get", api_of_job, api_job, RIGHT_READ, NULL)                                   \
    X(JOB_CANCEL, "job.cancel", api_change_job, api_nothing, RIGHT_MANAGE, NULL)                   \
    X(KEY_CREATE, "key.create", api_key_create, api_key_made, RIGHT_ADMIN, NULL)                   \
    X(KEY_LIST, "key.list", api_nothing, api_keys, RIGHT_ADMIN, NULL)                              \
    X(KEY_REVOKE, "key.revoke", api_key_revoke, api_changed, RIGHT_ADMIN, NULL)

// The numbers travel between nodes: append, never reorder.
enum method_number {
#define METHOD_ENUM(number, name, ask, answer, right, check) METHOD_##number,
    METHOD_LIST(METHOD_ENUM)
#undef METHOD_ENUM
        METHODS_END
};

struct method {
    const char *name;
    const struct shape *ask, *answer;
    omen_status (*check)(const void *ask, struct omen_error *error); // NULL: the table says it all
    uint8_t number;                                                  // enum method_number
    uint8_t right;                                                   // enum method_right
};

// Room for whatever is asked, or answered.
union method_body {
    uint64_t align;
    uint8_t bytes[SHAPE_BYTES_MAX];
};

const struct method *method_find(struct wire_text name); // NULL: no such method
const struct method *method_at(enum method_number number);

#endif
