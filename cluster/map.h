// cluster/map.h -- what every node agrees on: who is there, which collections exist, who holds which shard.
//
// Shape:   value; its arrays grow on the heap.
// Threads: one owner. Readers get a copy of their own, made by map_publish, which nobody changes any more.
// Memory:  map_reserve makes room before a change, so that a change itself never fails for want of memory.
//
// The map is changed by cluster_apply only (cluster/apply.h). `version` grows by one with every command that changes
// something, and everything that was changed carries the version that did it: a version that differs means read
// again, an equal one means nothing happened. Nothing in here is a float, a clock or a pointer to somebody else's.
//
// Publishing is a rebuild, not copy-on-write: one block of memory, a copy of each array, and an index for routing. A map of
// 16,384 shards is some 8 MiB and copied in a few milliseconds; the owner does it once a turn however many
// commands the turn applied. Pages shared between versions would make a change of one shard cheaper, and make
// every change one that can run out of memory half-way.
#ifndef OMEN_CLUSTER_MAP_H
#define OMEN_CLUSTER_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "cluster/uuid.h"

#define MAP_NODES_MAX 1024u
#define MAP_COLLECTIONS_MAX 1024u
#define MAP_ALIASES_MAX 1024u
#define MAP_SHARDS_MAX 16384u           // of all collections
#define MAP_COLLECTION_SHARDS_MAX 1024u // that a collection can begin with
#define MAP_JOBS_MAX 1024u
#define MAP_KEYS_MAX 1024u
#define MAP_SETTINGS_MAX 256u
#define MAP_NAME_BYTES_MAX 64u
#define MAP_ADDRESS_BYTES_MAX 255u
#define MAP_DIMENSION_MAX 65536u
#define MAP_WEIGHT_MAX 10000u // a node's capacity, in units that the operator chooses
#define MAP_REPLICATION_MAX 7u
#define SHARD_REPLICAS_MAX 12u // members of a shard, those that come and go included
#define SHARD_BARRED_MAX 12u   // more than one force leaves behind

// Of `features`: collections have a kind of ids in the map.
#define MAP_FEATURE_ID_KINDS UINT64_C(1)
// Of `features`: collections have quotas, keys have rates, and a job that was cancelled says so.
#define MAP_FEATURE_LIMITS UINT64_C(2)

#define VERSION_ANY UINT64_MAX // as the expected version of a command: whichever it is

enum node_role { NODE_DATA = 1, NODE_ROUTER = 2, NODE_BUILDER = 4, NODE_ROLES_ALL = 7 };

// A new node is `joining` until somebody says that it may hold shards. A node that is `gone` never comes back under its uuid.
enum node_state { NODE_JOINING = 1, NODE_UP, NODE_DRAINING, NODE_GONE };

struct map_name {
    uint8_t count;
    char bytes[MAP_NAME_BYTES_MAX]; // zeros behind `count`
};

struct map_text {
    uint8_t count;
    char bytes[MAP_ADDRESS_BYTES_MAX];
};

enum node_address { ADDRESS_PEER, ADDRESS_GOSSIP, ADDRESS_CLIENT, NODE_ADDRESSES };

struct map_node {
    struct cluster_uuid uuid;
    uint64_t version;
    uint64_t boot;     // generation: a newer one voids what an older process held
    uint64_t process;  // drawn by the process that registered with it; 0: it did not say
    uint64_t features; // bits that its program knows
    uint32_t number;   // given by the map, never again
    uint16_t weight;   // 1..MAP_WEIGHT_MAX
    uint8_t roles;     // of enum node_role
    uint8_t state;     // enum node_state
    struct map_name zone;
    struct map_text addresses[NODE_ADDRESSES];
};

// What a collection's ids are. One that is UNKEPT is older than the feature: each of its shards judges alone, since nobody asks what
// all of them hold. One that is OPEN has no point yet: whoever writes the first one claims its kind before any shard hears of
// it (COMMAND_COLLECTION_IDS), and that holds until the collection is dropped.
enum map_id_kind { MAP_IDS_UNKEPT, MAP_IDS_OPEN, MAP_IDS_INTEGER, MAP_IDS_TEXT };

// What of a collection is counted, and refused beyond its quota. A shard has the part of it that its range is of all hashes.
enum map_quota { QUOTA_MEMORY, QUOTA_DISK, MAP_QUOTAS };

struct map_collection {
    uint64_t id; // given by the map, never again
    uint64_t version;
    struct map_name name;
    uint32_t dimension; // 1..MAP_DIMENSION_MAX
    uint16_t links_max; // M
    uint16_t build_beam;
    uint8_t metric, dtype, quantization; // numbers of index/, opaque here
    uint8_t replication;                 // 1..MAP_REPLICATION_MAX
    uint8_t min_insync;                  // 1..replication
    uint8_t id_kind;                     // enum map_id_kind
    uint64_t quotas[MAP_QUOTAS];         // bytes of one copy of it; 0: as many as there is room for
};

struct map_alias {
    struct map_name name;
    uint64_t collection;
    uint64_t version;
};

// A replica is assigned to a node, and has no name until the node has made its environment.
enum map_replica_role { MAP_REPLICA_PENDING = 1, MAP_REPLICA_LEARNER, MAP_REPLICA_IN_SYNC };

struct map_replica {
    struct cluster_uuid uuid; // none while pending
    uint32_t node;
    uint8_t role;    // enum map_replica_role
    uint8_t leaving; // 0 or 1: it is being replaced, and does not count
};

enum shard_status {
    SHARD_CREATING = 1, // has never been open; its copies are empty
    SHARD_OPEN,         // routed
    SHARD_SPLITTING,    // routed; its two children are being filled
    SHARD_CHILD,        // not routed yet
    SHARD_RETIRED,      // not routed any more; its children are
};

struct map_shard {
    uint64_t id; // given by the map, never again
    uint64_t collection;
    uint64_t first, last; // hashes, both inclusive
    uint64_t version;
    uint64_t term;     // +1 at each new primary
    uint64_t cfg_ver;  // +1 at each change of the members; every step is a compare-and-swap on it
    uint64_t parent;   // of a split, 0 for none. The parent may be purged already
    uint64_t base_seq; // where the parent's log ended: the child goes on from there
    uint64_t children[2];        // while splitting and retired
    struct cluster_uuid primary; // in sync; none before it opens, and after it was lost
    struct cluster_uuid wanted;  // the primary shall hand over to it
    // May hold writes that were given up; never members again.
    struct cluster_uuid barred[SHARD_BARRED_MAX];
    uint64_t primary_boot; // of its node when the term began: a newer one is another process
    uint32_t unclean;      // times it was forced
    uint8_t status;        // enum shard_status
    uint8_t min_insync;
    uint8_t barred_count;
    uint8_t replica_count;
    struct map_replica replicas[SHARD_REPLICAS_MAX]; // in the order in which they were assigned
};

enum job_kind { JOB_BUILD = 1, JOB_MOVE, JOB_SPLIT, JOB_VERIFY };
// The argument of a JOB_BUILD, numbered as enum api_backend is: only who has a GPU takes the last.
enum job_build_by { JOB_BUILD_AUTO = 0, JOB_BUILD_CPU = 2, JOB_BUILD_GPU = 3 };
// Before MAP_FEATURE_LIMITS one that was cancelled is JOB_FAILED.
enum job_state { JOB_WAITING = 1, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

struct job {
    uint64_t id;
    uint64_t version;
    uint64_t shard;
    uint64_t argument;
    uint64_t lease_until_ms; // of the map's clock
    uint32_t owner;          // node; while running
    uint32_t progress;       // permille
    uint32_t attempts;
    uint8_t kind, state;
};

enum key_role { KEY_READ = 1, KEY_WRITE, KEY_MANAGE, KEY_ADMIN };

struct api_key {
    struct map_name name;
    struct map_name glob; // of collections
    uint64_t version;
    uint64_t expires_ms;    // 0: never
    uint64_t hash_words[4]; // SHA-256 of the secret, which is stored nowhere
    uint32_t rate;          // points and queries a second that a node takes of it; 0: not said
    uint8_t role;
};

struct setting {
    struct map_name name;
    struct map_text value;
    uint64_t version;
};

// The times of node leases. A change is not settled until the old guard has run out, and until then the longer one holds.
enum lease_profile { LEASE_LAN = 1, LEASE_FAST };

struct lease_settings {
    uint64_t version;
    uint8_t profile;
    uint8_t previous; // == profile when settled
};

struct lease_times {
    uint32_t lease_ms, renew_ms, guard_ms, shrink_ms;
};

struct session; // cluster/session_int.h

struct map {
    uint64_t version;
    uint64_t position; // in raft's log, of the last command applied
    uint64_t clock_ms; // the latest time that a command carried
    uint64_t features; // bits in use
    struct lease_settings leases;
    uint64_t next_id;   // of collections, shards, jobs
    uint32_t next_node; // numbers begin with 1
    // Each sorted by its key, ascending.
    struct map_node *nodes;             // number
    struct map_collection *collections; // id
    struct map_alias *aliases;          // name
    struct map_shard *shards;           // id
    struct job *jobs;                   // id
    struct api_key *keys;               // name
    struct setting *settings;           // name
    struct session *sessions;           // in the order of their recording
    uint32_t *routes;                   // published maps only: routed shards by (collection, first)
    uint32_t node_count, collection_count, alias_count, shard_count, job_count, key_count,
        setting_count, session_count, route_count;
    uint32_t node_room, collection_room, alias_room, shard_room, job_room, key_room, setting_room,
        session_room;
};

// Room for more of each. On OMEN_E_NO_MEMORY the map is as it was.
struct map_room {
    uint32_t nodes, collections, aliases, shards, jobs, keys, settings, sessions;
};

void map_init(struct map *map); // empty, version 0
void map_fini(struct map *map);
OMEN_MUST_CHECK omen_status map_reserve(struct map *map, const struct map_room *more);

// On success the caller owns *out, in which nothing may be changed, and ends it with map_publish_end.
OMEN_MUST_CHECK omen_status map_publish(const struct map *map, const struct map **out);
void map_publish_end(const struct map *published); // accepts NULL

const struct map_node *map_node(const struct map *map, uint32_t number);
const struct map_node *map_node_by_uuid(const struct map *map, struct cluster_uuid uuid);
const struct map_collection *map_collection(const struct map *map, uint64_t id);
const struct map_collection *map_collection_named(const struct map *map,
                                                  const struct map_name *name);
const struct map_alias *map_alias(const struct map *map, const struct map_name *name);
const struct map_shard *map_shard(const struct map *map, uint64_t id);
const struct job *map_job(const struct map *map, uint64_t id);
const struct api_key *map_key(const struct map *map, const struct map_name *name);
const struct setting *map_setting(const struct map *map, const struct map_name *name);

// What a client's name means: an alias or a collection, NULL for neither.
const struct map_collection *map_resolve(const struct map *map, const struct map_name *name);

// The shard that answers for a hash, of a published map; NULL when there is no such collection.
const struct map_shard *map_route(const struct map *published, uint64_t collection, uint64_t hash);

// Whether all nodes know these features, so that what they brought may be written.
static inline bool
map_has(const struct map *map, uint64_t features)
{
    return (map->features & features) == features;
}

struct lease_times map_lease_times(const struct map *map);
// The min_insync of a replication where nobody chose one: what survives one failure and keeps taking writes.
uint8_t map_min_insync_default(uint8_t replication);

static inline bool
quotas_any(const uint64_t quotas[MAP_QUOTAS])
{
    bool any = false;
    for (uint32_t i = 0; i < MAP_QUOTAS; i++)
        any = any || quotas[i] != 0;
    return any;
}

// Of one shard.
const struct map_replica *shard_replica(const struct map_shard *shard, struct cluster_uuid uuid);
const struct map_replica *shard_replica_on(const struct map_shard *shard, uint32_t node);
uint32_t shard_in_sync(const struct map_shard *shard);
static inline bool
shard_is_routed(const struct map_shard *shard)
{
    return shard->status <= SHARD_SPLITTING;
}

// False for a name that is empty, too long, or has other characters than [A-Za-z0-9_-].
bool map_name_set(struct map_name *name, const char *bytes, size_t count);
bool map_name_is_valid(const struct map_name *name);
int map_name_compare(const struct map_name *a, const struct map_name *b);

// Whether every invariant holds, in O(map): what a snapshot must pass. OMEN_E_CORRUPT and, where `what` is not NULL,
// which one does not.
OMEN_MUST_CHECK omen_status map_verify(const struct map *map, const char **what);
void map_check(const struct map *map); // asserts the same
void map_describe(const struct map *map, char *text,
                  size_t capacity); // several stable lines, for scripts

#endif
