// cluster/command.h -- what can be done to the map: the entries of the metadata group's log.
//
// Shape: value. Everything is inside, nothing is borrowed: a command can be kept, queued and compared.
//
// What may be changed by two at once is a compare-and-swap: `expected` is the version that the proposer saw (or 0: there must
// be none, or VERSION_ANY), and a step of a shard carries the cfg_ver that it saw. A command that comes too late
// answers OMEN_E_CONFLICT and changes nothing.
#ifndef OMEN_CLUSTER_COMMAND_H
#define OMEN_CLUSTER_COMMAND_H
#include "cluster/map.h"

#define COMMAND_STEPS_MAX 256u
#define COMMAND_ALIASES_MAX 16u
#define COMMAND_BYTES_MAX 20480u // encoded; cluster/command_codec.c checks it

// The numbers are part of the log's format: append, never renumber. The second is the member of the union.
enum command_kind {
    COMMAND_TICK = 1,          // the map's clock, nothing else
    COMMAND_NODE_REGISTER,     // node: a new one, or a known one after a start (newer boot)
    COMMAND_NODE_STATE,        // node_state
    COMMAND_NODE_FORGET,       // node_state: a node that is gone leaves the map
    COMMAND_COLLECTION_CREATE, // collection
    COMMAND_COLLECTION_ALTER,  // alter
    COMMAND_COLLECTION_DROP,   // alter: id and expected
    COMMAND_ALIASES,           // aliases: all of them or none
    COMMAND_STEPS,             // steps: each by itself
    COMMAND_JOB_CREATE,        // job
    COMMAND_JOB_CLAIM,         // job
    COMMAND_JOB_RENEW,         // job
    COMMAND_JOB_END,           // job
    COMMAND_KEY_PUT,           // key
    COMMAND_KEY_DROP,          // key: name and expected
    COMMAND_SETTING_PUT,       // setting
    COMMAND_SETTING_DROP,      // setting: name and expected
    COMMAND_FEATURES,          // features: switches bits on, for good
    COMMAND_LEASE_PROFILE,     // lease
    COMMAND_LEASE_SETTLE,      // lease: the old guard has run out
    COMMAND_CLOCK_SET,         // clock: sets it back, and forgets every session
    COMMAND_JOB_CANCEL,     // job: its number, expected, and state; whoever holds it finds it over
    COMMAND_COLLECTION_IDS, // ids: of a collection that has no kind of ids yet
    COMMAND_KINDS_END,
};

// Steps of one shard. The comment says who proposes it.
enum step_kind {
    STEP_ASSIGN = 1, // controller: a pending replica on `node`
    STEP_MOVE,       // controller: the same, and the one on `from` is leaving
    STEP_KEEP,       // controller: the one on `node` is not leaving after all
    STEP_BORN,       // the node: its pending replica has an environment, named `replica`
    STEP_ADD,        // primary: the learner `replica` is in sync
    STEP_REMOVE,     // primary: `replica` is not in sync any more, and a learner
    STEP_DROP,       // controller: the replica on `node` is no member any more
    STEP_LOST,       // the node: `replica` is not in its environment any more, whatever it was
    STEP_PROMOTE, // controller: `replica` is the primary of a new term, the old one's node being dead
    STEP_TRANSFER, // primary, after it stopped and drained: the same, handing over
    STEP_PREFER,   // controller: the primary shall transfer to `replica` (none: shall not)
    STEP_FORCE,    // operator: `replica` is the only copy from now on; writes may be lost
    STEP_SPLIT,    // controller: at hash `value`, which is the second child's first
    STEP_CUT, // primary, after it stopped and drained at seq `value`: the children answer from now on
    STEP_ABORT, // controller, operator, or the primary whose children do not add up to it: they go away
    STEP_PURGE, // controller: a retired shard goes away
    STEP_KINDS_END,
};

struct shard_step {
    uint64_t shard;
    uint64_t cfg_ver; // as seen
    uint64_t value;
    uint64_t child_cfg_ver[2]; // of a cut: as seen, too
    struct cluster_uuid replica;
    uint32_t node, from;
    uint8_t kind;
};

struct command_node {
    struct cluster_uuid uuid;
    uint64_t boot, process;
    uint64_t features;
    uint16_t weight;
    uint8_t roles;
    struct map_name zone;
    struct map_text addresses[NODE_ADDRESSES];
};

struct command_node_state {
    uint64_t expected;
    uint32_t node;
    uint8_t state;
};

struct command_collection {
    struct map_name name;
    uint32_t dimension;
    uint32_t shards;
    uint16_t links_max, build_beam;
    uint8_t metric, dtype, quantization;
    uint8_t replication;
    uint8_t min_insync; // 0: the default for this replication
    // OMEN_E_UNSUPPORTED before MAP_FEATURE_LIMITS is on, as of the other two
    uint64_t quotas[MAP_QUOTAS];
};

// All that can be altered, and as it shall be.
struct command_alter {
    uint64_t collection;
    uint64_t expected;
    uint8_t replication, min_insync;
    uint64_t quotas[MAP_QUOTAS];
};

// OMEN_E_EXISTS: it has this kind already; OMEN_E_ID_KIND: it has the other one.
struct command_ids {
    uint64_t collection;
    uint8_t kind; // enum map_id_kind: integers or texts
};

struct alias_change {
    struct map_name name;
    uint64_t collection; // 0: the alias goes
    uint64_t expected;   // the collection that it names now: 0 none, or VERSION_ANY
};

struct command_aliases {
    uint32_t count;
    struct alias_change changes[COMMAND_ALIASES_MAX];
};

struct command_steps {
    uint32_t count;
    struct shard_step steps[COMMAND_STEPS_MAX];
};

struct command_job {
    uint64_t job; // 0 when it is created
    uint64_t expected;
    uint64_t shard, argument;
    uint64_t lease_ms;
    uint32_t owner, progress;
    uint8_t kind;
    // Of its end: JOB_DONE or JOB_FAILED; JOB_WAITING gives it back. Of a cancel: JOB_CANCELLED, and anything else is JOB_FAILED.
    uint8_t state;
};

struct command_key {
    uint64_t expected;
    struct map_name name, glob;
    uint64_t expires_ms;
    uint64_t hash_words[4];
    uint32_t rate;
    uint8_t role;
};

struct command_setting {
    uint64_t expected;
    struct map_name name;
    struct map_text value;
};

struct command_lease {
    uint64_t expected;
    uint8_t profile;
};

struct command {
    struct cluster_uuid op; // none: sent again it is applied again, as compare-and-swap allows
    uint64_t time_ms;       // stamped by the leader that proposes it
    uint8_t kind;           // enum command_kind
    union {
        struct command_node node;
        struct command_node_state node_state;
        struct command_collection collection;
        struct command_alter alter;
        struct command_ids ids;
        struct command_aliases aliases;
        struct command_steps steps;
        struct command_job job;
        struct command_key key;
        struct command_setting setting;
        struct command_lease lease;
        uint64_t features;
    };
};

struct command_result {
    omen_status status;
    uint64_t position;         // where it was applied; of the first time, for one that was repeated
    uint64_t version;          // of the map, then
    uint64_t value;            // the id, or number, of what was made
    uint32_t applied, refused; // of steps. `status` is the first refusal's when none was applied
};

const char *command_kind_name(uint8_t kind); // "node-register"; "?" for what is none
const char *step_kind_name(uint8_t kind);

// Encoded, at most COMMAND_BYTES_MAX. OMEN_E_INVALID: a field is beyond its limit; OMEN_E_NO_MEMORY: `capacity` is too small.
OMEN_MUST_CHECK omen_status command_encode(const struct command *command, uint8_t *bytes,
                                           size_t capacity, size_t *count);

// Any bytes. OMEN_E_VERSION: made by a program that is newer; OMEN_E_CORRUPT: not a command. What decodes encodes to the same
// bytes again.
OMEN_MUST_CHECK omen_status command_decode(const void *bytes, size_t count, struct command *out);

#endif
