// wire/api_admin.h -- what is asked of a cluster, its nodes, shards, collections, aliases, jobs and keys, as plain structs.
//
// Shape: value. As wire/api.h: an op_id makes a change of the map happen once.
//
// A node is named by its uuid (8-4-4-4-12 digits) or by its own name, a shard by its number, a range of hashes by
// "first-last" in 16 hexadecimal digits each: numbers of 64 bits do not pass through every client's language.
#ifndef OMEN_WIRE_API_ADMIN_H
#define OMEN_WIRE_API_ADMIN_H
#include "wire/api.h"

enum api_errors { API_ERRORS_TEXT = 1, API_ERRORS_MAP };
enum api_metric { API_COSINE = 1, API_L2, API_IP };      // 1 + omen_metric
enum api_quantization { API_INT8 = 1, API_UNQUANTIZED }; // 1 + omen_quantization
enum api_backend { API_AUTO = 1, API_CPU, API_CUDA };    // 1 + omen_backend
enum api_member_state { API_ALIVE = 1, API_SUSPECT, API_DEAD, API_LEFT };
enum api_node_state { API_JOINING = 1, API_UP, API_DRAINING, API_GONE };
enum api_node_role { API_DATA = 1, API_ROUTER = 2, API_BUILDER = 4 }; // bits
enum api_shard_state { API_CREATING = 1, API_OPEN, API_SPLITTING, API_CHILD, API_RETIRED };
enum api_job_kind { API_JOB_BUILD = 1, API_JOB_MOVE, API_JOB_SPLIT, API_JOB_VERIFY };
enum api_job_state {
    API_JOB_WAITING = 1,
    API_JOB_RUNNING,
    API_JOB_DONE,
    API_JOB_FAILED,
    API_JOB_CANCELLED
};
enum api_key_role { API_KEY_READ = 1, API_KEY_WRITE, API_KEY_MANAGE, API_KEY_ADMIN };

// ---- asks that several methods share ----

struct api_nothing { // of who is asked, or of what was done
    uint32_t deadline_ms;
};

struct api_of_collection { // "collection", or "name"
    struct wire_text collection;
    uint32_t deadline_ms;
};

struct api_of_node {
    struct wire_text node;
    uint32_t deadline_ms;
};

struct api_change_node { // drain, undrain, decommission
    struct wire_text node;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_of_shard {
    uint64_t shard;
    uint32_t deadline_ms;
};

struct api_of_job {
    uint64_t job;
    uint32_t deadline_ms;
};

struct api_change_job { // cancel
    uint64_t job;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_started { // what goes on by itself
    uint64_t job;
};

struct api_changed {
    uint64_t version; // of the cluster's map that has it
};

// ---- system ----

struct api_hello {
    struct wire_text client; // name of the program
    struct wire_text version;
    struct wire_text api_key;
    uint8_t errors; // enum api_errors
};

struct api_limits {
    uint32_t frame_bytes, inflight, k, ef, dimension, batch, payload_bytes, filter_nodes;
};

struct api_welcome {
    struct wire_text server;
    struct wire_text version;
    struct wire_text cluster; // uuid
    uint64_t time_ms; // since 1970, by the node's clock; 0: an older one, which does not say
    struct api_limits limits;
};

struct api_health {
    uint8_t live, ready;
    struct wire_text reason; // why it is not ready
};

struct api_info {
    struct wire_text server, version, cluster, node, name, zone;
    uint32_t roles; // enum api_node_role
    uint64_t boot, uptime_ms, map_version;
};

struct api_metrics {
    struct wire_text text; // Prometheus' format
};

// ---- cluster ----

struct api_cluster_info {
    struct wire_text cluster, leader;
    uint64_t map_version, term, features;
    uint32_t nodes, voters, collections, shards, degraded_shards, lost_shards;
    uint8_t state; // enum of "green", "yellow", "red"
};

struct api_member {
    struct wire_text node, name, address, client, zone;
    uint32_t roles;
    uint8_t state; // enum api_member_state
    uint64_t boot, map_version;
    uint32_t incarnation, load;
    uint8_t disk_low;       // it has less left than its reserve
    int64_t clock_ahead_ms; // of the cluster's clock, as who is asked knows it; 0: or it does not
};

struct api_members {
    struct wire_list members; // api_member
};

struct api_events_ask {
    // A number of an event: those behind it, from there on; not given: the latest.
    struct wire_maybe after;
    uint32_t limit;
    uint32_t deadline_ms;
};

struct api_event {
    uint64_t event, time_ms;
    struct wire_text kind, node, collection, text;
    uint64_t shard;
};

struct api_events {
    struct wire_list events; // api_event
};

struct api_join {
    struct wire_text address;
    uint32_t deadline_ms;
};

struct api_rebalance_ask {
    uint8_t dry_run;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_move {
    uint64_t shard;
    struct wire_text from, to;
};

struct api_rebalance {
    struct wire_list moves; // api_move
};

// ---- nodes ----

struct api_node {
    struct wire_text node, name, zone, peer, client;
    uint32_t roles;
    uint8_t state;  // enum api_node_state
    uint8_t member; // enum api_member_state
    uint32_t number, weight;
    struct wire_maybe shards, primaries; // that it has, and leads
    uint64_t boot, version;
};

struct api_nodes {
    struct wire_list nodes; // api_node
};

// ---- shards ----

struct api_shards_ask {
    struct wire_text collection; // none: all
    uint8_t map_only;            // no copy is asked how far it is
    uint32_t deadline_ms;
};

struct api_replica {
    struct wire_text node, replica, role;
    struct wire_maybe seq; // that it has applied; where the copy said so in time
    uint8_t leaving;
};

struct api_shard {
    uint64_t shard;
    struct wire_text collection, range, primary;
    struct wire_list in_sync;  // wire_text: nodes
    struct wire_list replicas; // api_replica
    uint8_t state;             // enum api_shard_state
    uint64_t term, cfg_ver, parent;
    struct wire_maybe seq,
        points; // the primary's, else the furthest copy's of those that said so in time
};

struct api_shards {
    struct wire_list shards; // api_shard
};

struct api_shard_move {
    uint64_t shard;
    struct wire_text from, to;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_shard_split {
    uint64_t shard;
    struct wire_text at; // the second child's first hash, 16 hexadecimal digits; none: the middle
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_shard_to { // transfer, force_primary
    uint64_t shard;
    struct wire_text node;
    uint8_t yes; // force_primary: writes may be lost
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_copy {
    struct wire_text node, checksum; // 32 hexadecimal digits
};

struct api_missing { // a copy in sync that could not be compared
    struct wire_text node, reason;
};

struct api_verified {
    uint64_t shard, seq;      // 0: no copy said anything
    struct wire_list copies;  // api_copy, each at `seq`
    struct wire_list missing; // api_missing
};

struct api_verify {
    struct wire_list shards; // api_verified
};

// ---- collections ----

struct api_collection_create {
    struct wire_text name;
    uint32_t dimension, shards, replicas, min_insync, m, ef_construction;
    uint64_t memory_quota, disk_quota; // bytes; none: as many as there is room for
    uint8_t metric, dtype, quantization, if_not_exists;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_field {
    struct wire_text field;
    uint8_t type;
};

struct api_collection {
    struct wire_text name;
    uint64_t id, version;
    struct wire_maybe points; // where every shard said so in time
    uint32_t dimension, shards, replicas, min_insync, m, ef_construction;
    uint8_t metric, dtype, quantization;
    uint64_t memory_quota, disk_quota;
    uint8_t id_kind; // 1 integer, 2 text; none: no point was ever written, or nobody keeps it
    struct wire_list fields; // api_field
};

struct api_collections {
    struct wire_list collections; // api_collection
};

struct api_collection_drop {
    struct wire_text collection;
    uint8_t if_exists;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_collection_update {
    struct wire_text collection;
    uint32_t replicas, min_insync;
    struct wire_maybe memory_quota, disk_quota; // 0: there is none any more
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_stats {
    uint64_t points;
    struct wire_maybe rows, deleted, tail, memory_bytes, vector_bytes, payload_bytes, disk_bytes;
    double bytes_per_vector, recall;
    uint32_t shards, shards_failed;
};

struct api_index_field {
    struct wire_text collection, field;
    uint8_t type;
    uint32_t deadline_ms;
};

struct api_drop_field {
    struct wire_text collection, field;
    uint32_t deadline_ms;
};

struct api_build {
    struct wire_text collection;
    uint8_t backend;
    // 0: builds. Else rows that come within it are not linked one by one, and nothing is built yet.
    uint32_t hold_ms;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

// ---- aliases, jobs, keys ----

struct api_alias_set {
    struct wire_text alias, collection;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_alias {
    struct wire_text alias, collection;
};

struct api_aliases {
    struct wire_list aliases; // api_alias
};

struct api_alias_drop {
    struct wire_text alias;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

struct api_job {
    uint64_t job, shard;
    uint8_t kind, state;
    struct wire_text node, text;
    uint32_t permille, attempts;
};

struct api_jobs {
    struct wire_list jobs; // api_job
};

struct api_key_create {
    struct wire_text name, collections; // a glob; none: all
    uint8_t role;
    uint64_t expires_ms;
    struct wire_uuid op_id;
    // 16 random bytes that the secret is made of; none: the server draws them.
    struct wire_uuid seed;
    uint32_t deadline_ms;
    uint32_t rate; // points and queries a second at each node; 0: as its configuration says
};

struct api_key_made {
    struct wire_text name, api_key; // said once, stored nowhere
};

struct api_key_info {
    struct wire_text name, collections;
    uint8_t role;
    uint64_t expires_ms;
    uint32_t rate;
};

struct api_keys {
    struct wire_list keys; // api_key_info
};

struct api_key_revoke {
    struct wire_text name;
    struct wire_uuid op_id;
    uint32_t deadline_ms;
};

extern const struct shape api_nothing, api_of_collection, api_shards_ask, api_of_node,
    api_change_node, api_of_shard, api_of_job, api_change_job, api_started, api_changed, api_hello,
    api_limits, api_welcome, api_health, api_info, api_metrics, api_cluster_info, api_member,
    api_members, api_events_ask, api_event, api_events, api_join, api_rebalance_ask, api_move,
    api_rebalance, api_node, api_nodes, api_replica, api_shard, api_shards, api_shard_move,
    api_shard_split, api_shard_to, api_copy, api_missing, api_verified, api_verify;
extern const struct shape api_collection_create, api_field, api_collection, api_collections,
    api_collection_drop, api_collection_update, api_stats, api_index_field, api_drop_field,
    api_build, api_alias_set, api_alias, api_aliases, api_alias_drop, api_job, api_jobs,
    api_key_create, api_key_made, api_key_info, api_keys, api_key_revoke;

#endif
