// wire/api_cluster.c -- the tables of what is asked of the system, the cluster, its nodes and shards.
//
// Shape: value.
#include "wire/api_admin.h"
#include "wire/api_int.h"

#define NODE_TEXT_MAX 64u
#define KEY_BYTES_MAX 256u
#define ADDRESS_BYTES_MAX 255u

static const char *const errors[] = {"text", "map", NULL};
static const char *const node_roles[] = {"data", "router", "builder", NULL};
static const char *const health_states[] = {"green", "yellow", "red", NULL};
static const char *const member_states[] = {"alive", "suspect", "dead", "left", NULL};
static const char *const node_states[] = {"joining", "up", "draining", "gone", NULL};
static const char *const shard_states[] = {"creating", "open",    "splitting",
                                           "child",    "retired", NULL};

// ---- system ----

static const struct field api_nothing_rows[] = {
    DEADLINE(api_nothing),
};
SHAPE(api_nothing);

static const struct field api_of_collection_rows[] = {
    ROW(api_of_collection, collection, FIELD_NAME, MUST),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    DEADLINE(api_of_collection),
};
SHAPE(api_of_collection);

static const struct field api_of_node_rows[] = {
    ROW(api_of_node, node, FIELD_TEXT, MUST, WITHIN(1, NODE_TEXT_MAX)),
    DEADLINE(api_of_node),
};
SHAPE(api_of_node);

static const struct field api_change_node_rows[] = {
    ROW(api_change_node, node, FIELD_TEXT, MUST, WITHIN(1, NODE_TEXT_MAX)),
    OPERATION(api_change_node),
};
SHAPE(api_change_node);

static const struct field api_of_shard_rows[] = {
    ROW(api_of_shard, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    DEADLINE(api_of_shard),
};
SHAPE(api_of_shard);

static const struct field api_of_job_rows[] = {
    ROW(api_of_job, job, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    DEADLINE(api_of_job),
};
SHAPE(api_of_job);

static const struct field api_change_job_rows[] = {
    ROW(api_change_job, job, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    OPERATION(api_change_job),
};
SHAPE(api_change_job);

static const struct field api_started_rows[] = {
    ROW(api_started, job, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
};
SHAPE(api_started);

static const struct field api_changed_rows[] = {
    ROW(api_changed, version, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
};
SHAPE(api_changed);

static const struct field api_hello_rows[] = {
    ROW(api_hello, client, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_hello, version, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_hello, api_key, FIELD_TEXT, WITHIN(1, KEY_BYTES_MAX)),
    ROW(api_hello, errors, FIELD_WORD, ONE_OF(errors)),
};
SHAPE(api_hello);

static const struct field api_limits_rows[] = {
    ROW(api_limits, frame_bytes, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, inflight, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, k, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, ef, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, dimension, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, batch, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, payload_bytes, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_limits, filter_nodes, FIELD_U32, UP_TO(UINT32_MAX)),
};
SHAPE(api_limits);

static const struct field api_welcome_rows[] = {
    ROW(api_welcome, server, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_welcome, version, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_welcome, cluster, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_welcome, time_ms, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_welcome, limits, FIELD_INSIDE, MUST, OF(api_limits)),
};
SHAPE(api_welcome);

static const struct field api_health_rows[] = {
    ROW(api_health, live, FIELD_BOOL, MUST),
    ROW(api_health, ready, FIELD_BOOL, MUST),
    ROW(api_health, reason, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
};
SHAPE(api_health);

static const struct field api_info_rows[] = {
    ROW(api_info, server, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, version, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, cluster, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, name, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, zone, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_info, roles, FIELD_WORDS, MUST, ONE_OF(node_roles)),
    ROW(api_info, boot, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_info, uptime_ms, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_info, map_version, FIELD_U64, UP_TO(UINT64_MAX)),
};
SHAPE(api_info);

static const struct field api_metrics_rows[] = {
    ROW(api_metrics, text, FIELD_TEXT, MUST, UP_TO(WIRE_FRAME_BYTES_MAX)),
};
SHAPE(api_metrics);

// ---- cluster ----

static const struct field api_cluster_info_rows[] = {
    ROW(api_cluster_info, cluster, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_cluster_info, leader, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_cluster_info, map_version, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_cluster_info, term, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_cluster_info, features, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_cluster_info, nodes, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, voters, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, collections, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, shards, FIELD_U32, MUST, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, degraded_shards, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, lost_shards, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_cluster_info, state, FIELD_WORD, MUST, ONE_OF(health_states)),
};
SHAPE(api_cluster_info);

static const struct field api_member_rows[] = {
    ROW(api_member, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_member, name, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_member, address, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_member, client, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_member, zone, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_member, roles, FIELD_WORDS, MUST, ONE_OF(node_roles)),
    ROW(api_member, state, FIELD_WORD, MUST, ONE_OF(member_states)),
    ROW(api_member, boot, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_member, map_version, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_member, incarnation, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_member, load, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_member, clock_ahead_ms, FIELD_I64),
    ROW(api_member, disk_low, FIELD_BOOL),
};
SHAPE(api_member);

static const struct field api_members_rows[] = {
    ROW(api_members, members, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_member)),
};
SHAPE(api_members);

static const struct field api_events_ask_rows[] = {
    ROW(api_events_ask, after, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_events_ask, limit, FIELD_U32, WITHIN(1, WIRE_BATCH_MAX)),
    DEADLINE(api_events_ask),
};
SHAPE(api_events_ask);

static const struct field api_event_rows[] = {
    ROW(api_event, event, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_event, time_ms, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_event, kind, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_event, node, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_event, collection, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_event, text, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_event, shard, FIELD_U64, UP_TO(UINT64_MAX)),
};
SHAPE(api_event);

static const struct field api_events_rows[] = {
    ROW(api_events, events, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_event)),
};
SHAPE(api_events);

static const struct field api_join_rows[] = {
    ROW(api_join, address, FIELD_TEXT, MUST, WITHIN(1, ADDRESS_BYTES_MAX)),
    DEADLINE(api_join),
};
SHAPE(api_join);

static const struct field api_rebalance_ask_rows[] = {
    ROW(api_rebalance_ask, dry_run, FIELD_BOOL),
    OPERATION(api_rebalance_ask),
};
SHAPE(api_rebalance_ask);

static const struct field api_move_rows[] = {
    ROW(api_move, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_move, from, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_move, to, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
};
SHAPE(api_move);

static const struct field api_rebalance_rows[] = {
    ROW(api_rebalance, moves, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_move)),
};
SHAPE(api_rebalance);

// ---- nodes ----

static const struct field api_node_rows[] = {
    ROW(api_node, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_node, name, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_node, zone, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_node, peer, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_node, client, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_node, roles, FIELD_WORDS, MUST, ONE_OF(node_roles)),
    ROW(api_node, state, FIELD_WORD, MUST, ONE_OF(node_states)),
    ROW(api_node, member, FIELD_WORD, ONE_OF(member_states)),
    ROW(api_node, number, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_node, weight, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(api_node, shards, FIELD_MAYBE, UP_TO(UINT32_MAX)),
    ROW(api_node, primaries, FIELD_MAYBE, UP_TO(UINT32_MAX)),
    ROW(api_node, boot, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_node, version, FIELD_U64, UP_TO(UINT64_MAX)),
};
SHAPE(api_node);

static const struct field api_nodes_rows[] = {
    ROW(api_nodes, nodes, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_node)),
};
SHAPE(api_nodes);

// ---- shards ----

static const struct field api_shards_ask_rows[] = {
    ROW(api_shards_ask, collection, FIELD_NAME),
    {.key = "name", .kind = FIELD_NAME, .flags = FIELD_ALIAS},
    ROW(api_shards_ask, map_only, FIELD_BOOL),
    DEADLINE(api_shards_ask),
};
SHAPE(api_shards_ask);

static const struct field api_replica_rows[] = {
    ROW(api_replica, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_replica, replica, FIELD_TEXT, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_replica, role, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_replica, seq, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_replica, leaving, FIELD_BOOL),
};
SHAPE(api_replica);

static const struct field api_shard_rows[] = {
    ROW(api_shard, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_shard, collection, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_shard, range, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_shard, primary, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_shard, in_sync, FIELD_TEXTS, MUST, UP_TO(LIST_MAX)),
    ROW(api_shard, replicas, FIELD_LIST, UP_TO(LIST_MAX), OF(api_replica)),
    ROW(api_shard, state, FIELD_WORD, MUST, ONE_OF(shard_states)),
    ROW(api_shard, term, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_shard, cfg_ver, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(api_shard, seq, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_shard, points, FIELD_MAYBE, UP_TO(UINT64_MAX)),
    ROW(api_shard, parent, FIELD_U64, UP_TO(UINT64_MAX)),
};
SHAPE(api_shard);

static const struct field api_shards_rows[] = {
    ROW(api_shards, shards, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_shard)),
};
SHAPE(api_shards);

static const struct field api_shard_move_rows[] = {
    ROW(api_shard_move, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_shard_move, from, FIELD_TEXT, MUST, WITHIN(1, NODE_TEXT_MAX)),
    ROW(api_shard_move, to, FIELD_TEXT, MUST, WITHIN(1, NODE_TEXT_MAX)),
    OPERATION(api_shard_move),
};
SHAPE(api_shard_move);

static const struct field api_shard_split_rows[] = {
    ROW(api_shard_split, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_shard_split, at, FIELD_TEXT, WITHIN(16, 16)),
    OPERATION(api_shard_split),
};
SHAPE(api_shard_split);

static const struct field api_shard_to_rows[] = {
    ROW(api_shard_to, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_shard_to, node, FIELD_TEXT, MUST, WITHIN(1, NODE_TEXT_MAX)),
    ROW(api_shard_to, yes, FIELD_BOOL),
    OPERATION(api_shard_to),
};
SHAPE(api_shard_to);

static const struct field api_copy_rows[] = {
    ROW(api_copy, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_copy, checksum, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
};
SHAPE(api_copy);

static const struct field api_missing_rows[] = {
    ROW(api_missing, node, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(api_missing, reason, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
};
SHAPE(api_missing);

static const struct field api_verified_rows[] = {
    ROW(api_verified, shard, FIELD_U64, MUST, WITHIN(1, NUMBER_MAX)),
    ROW(api_verified, seq, FIELD_U64, MUST, UP_TO(UINT64_MAX)),
    ROW(api_verified, copies, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_copy)),
    ROW(api_verified, missing, FIELD_LIST, UP_TO(LIST_MAX), OF(api_missing)),
};
SHAPE(api_verified);

static const struct field api_verify_rows[] = {
    ROW(api_verify, shards, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_verified)),
};
SHAPE(api_verify);
