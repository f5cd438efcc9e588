// tools/omenctl/verbs_cluster.c -- the nouns about a cluster, its nodes, shards, jobs and keys: a row a verb.
//
// Shape: value.
#include "tools/omenctl/remote.h"

#define VERB(name_, summary_, ...)                                                                 \
    {                                                                                              \
        .name = (name_), .summary = (summary_), .run = remote_run, __VA_ARGS__                     \
    }
#define ARGUMENTS(text, least, most)                                                               \
    .arguments = (text), .arguments_min = (least), .arguments_max = (most)
#define ASKS(...)                                                                                  \
    .remote = &(const struct remote)                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define CHANGES .kind = VERB_CHANGES
#define MAKES .kind = VERB_MAKES
#define NOUN(name, summary)                                                                        \
    const struct noun noun_##name = {#name, summary, name##_verbs,                                 \
                                     sizeof name##_verbs / sizeof *name##_verbs}

#define SHARD_COLUMNS "shard collection range state primary in_sync seq points"
#define NODE_COLUMNS "name node state member roles zone shards primaries client"

// ---- status, check, events, system ----

static const struct verb status_verbs[] = {
    {.summary = "the cluster in one look: its state, its members, its collections",
     .details = "Ends with 9 when the cluster is degraded: not all shards have all their copies.",
     .remote = &(const struct remote){.method = METHODS_END},
     .run = status_run},
};
NOUN(status, "the cluster in one look");

static const struct verb check_verbs[] = {
    {.summary = "looks at everything that can be wrong, and says what is",
     .details = "Each endpoint, members, who leads the metadata, copies, jobs. Ends with 9 when "
                "something is wrong, and "
                "with 5 when no endpoint "
                "answers.",
     .remote = &(const struct remote){.method = METHODS_END},
     .run = check_run},
};
NOUN(check, "looks at everything that can be wrong");

static const struct verb doctor_verbs[] = {
    {.summary = "check, with what helps against each thing that is wrong",
     .details = "Ends like check.",
     .remote = &(const struct remote){.method = METHODS_END},
     .run = doctor_run},
};
NOUN(doctor, "what is wrong, and what helps");

static const struct verb top_verbs[] = {
    {.summary = "how busy each node is, again and again",
     .details = "Requests a second, how long half of them and all but a hundredth took, how many "
                "are under way, the copies that a node has, and the most entries that one of them "
                "is behind: all of the time since the last look. On a terminal it draws over what "
                "it drew before.",
     .options = top_options,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = top_run},
};
NOUN(top, "how busy each node is, again and again");

static const struct option_spec events_options[] = {
    {.name = "after", .argument = "N", .help = "those behind event N, from there on (the latest)"},
    {.name = "limit", .argument = "N", .help = "at most so many, 1..10000 (100)"},
    {0},
};
static const struct verb events_verbs[] = {
    VERB(NULL, "what happened in the cluster", .options = events_options,
         ASKS(.method = METHOD_CLUSTER_EVENTS, .rows = "events",
              .columns = "event time_ms kind node collection shard text", .names = true,
              .nothing = "no events")),
};
NOUN(events, "what happened in the cluster");

static const struct verb system_verbs[] = {
    VERB("ping", "whether a node answers", ASKS(.method = METHOD_SYSTEM_PING)),
    VERB("health", "whether the node lives and is ready", ASKS(.method = METHOD_SYSTEM_HEALTH)),
    VERB("info", "the node that answers", ASKS(.method = METHOD_SYSTEM_INFO)),
    VERB("metrics", "what the node counts, in Prometheus' format",
         ASKS(.method = METHOD_SYSTEM_METRICS)),
};
NOUN(system, "the node that answers");

// ---- cluster, node ----

static const struct verb cluster_verbs[] = {
    VERB("info", "its name, its leader, how much there is",
         ASKS(.method = METHOD_CLUSTER_INFO, .names = true)),
    VERB("members", "who is a member, as the nodes see each other",
         ASKS(.method = METHOD_CLUSTER_MEMBERS, .rows = "members",
              .columns = "name node state address roles zone")),
    VERB("join", "tells the node that answers of another one", ARGUMENTS("ADDRESS", 1, 1), MAKES,
         ASKS(.method = METHOD_CLUSTER_JOIN, .keys = "address")),
    VERB("rebalance", "moves shards until every node has its share", CHANGES,
         .details = "--dry-run says which would move.",
         ASKS(.method = METHOD_CLUSTER_REBALANCE, .rows = "moves", .names = true,
              .nothing = "nothing to move", .question = "move shards between the nodes?")),
};
NOUN(cluster, "the cluster itself, and who is in it");

static const struct verb node_verbs[] = {
    VERB("list", "the nodes of the cluster",
         ASKS(.method = METHOD_NODE_LIST, .rows = "nodes", .columns = NODE_COLUMNS)),
    VERB("get", "one node", ARGUMENTS("NODE", 1, 1),
         ASKS(.method = METHOD_NODE_GET, .keys = "node")),
    VERB("drain", "moves all shards away from a node, which stays a member",
         ARGUMENTS("NODE", 1, 1), CHANGES,
         ASKS(.method = METHOD_NODE_DRAIN, .keys = "node", .question = "drain the node %s?")),
    VERB("undrain", "lets a node have shards again", ARGUMENTS("NODE", 1, 1), CHANGES,
         ASKS(.method = METHOD_NODE_UNDRAIN, .keys = "node",
              .question = "let the node %s have shards again?")),
    VERB("decommission", "takes a node out of the cluster for good", ARGUMENTS("NODE", 1, 1),
         CHANGES, .details = "Drain it first: a node that holds shards is refused.",
         ASKS(.method = METHOD_NODE_DECOMMISSION, .keys = "node",
              .question = "take the node %s out of the cluster for good?")),
};
NOUN(node, "the nodes of the cluster");

// ---- shard ----

static const struct option_spec shards_options[] = {
    {.name = "collection", .argument = "NAME", .help = "of this collection only"},
    {.name = "map-only", .help = "asks no copy: at once, and without SEQ and POINTS"},
    {0},
};
static const struct option_spec split_options[] = {
    {.name = "at", .argument = "HASH", .help = "the second half's first hash, 16 digits (middle)"},
    {0},
};
static const struct verb shard_verbs[] = {
    VERB("list", "the shards and where their copies are", .options = shards_options,
         .details = "SEQ and POINTS are as the primary has them, or \"-\" where no copy said so in "
                    "time; shard get has each copy's.",
         ASKS(.method = METHOD_SHARD_LIST, .rows = "shards", .columns = SHARD_COLUMNS,
              .names = true, .nothing = "no shards")),
    VERB("get", "one shard with each of its copies", ARGUMENTS("SHARD", 1, 1),
         ASKS(.method = METHOD_SHARD_GET, .keys = "shard", .names = true)),
    VERB("verify", "compares the checksums of all copies of a collection's shards",
         ARGUMENTS("COLLECTION", 1, 1),
         .details = "Ends with 10 when two copies differ, and with 8 when one could not be asked, "
                    "which is named with the reason.",
         ASKS(.method = METHOD_SHARD_VERIFY, .keys = "collection", .rows = "shards",
              .table = verify_table, .names = true, .nothing = "no shards", .judge = judge_verify)),
    VERB("force-primary", "makes a copy the primary although writes may be lost",
         ARGUMENTS("SHARD NODE", 2, 2), CHANGES,
         .details = "For a shard whose copies in sync are all lost. What only they had is gone.",
         ASKS(.method = METHOD_SHARD_FORCE_PRIMARY, .keys = "shard node",
              .question = "make another copy the primary of shard %s, and lose what only the lost "
                          "ones had?")),
    VERB("move", "moves a copy from a node to another", ARGUMENTS("SHARD FROM TO", 3, 3), CHANGES,
         ASKS(.method = METHOD_SHARD_MOVE, .keys = "shard from to", .waits = true,
              .question = "move a copy of shard %s?")),
    VERB("split", "makes two shards of one", ARGUMENTS("SHARD", 1, 1), CHANGES,
         .options = split_options,
         ASKS(.method = METHOD_SHARD_SPLIT, .keys = "shard", .waits = true,
              .question = "split shard %s?")),
    VERB("transfer", "makes the copy of another node that is in sync the primary",
         ARGUMENTS("SHARD NODE", 2, 2), CHANGES,
         ASKS(.method = METHOD_SHARD_TRANSFER, .keys = "shard node",
              .question = "make another copy the primary of shard %s?")),
};
NOUN(shard, "the parts that collections are cut into");

// ---- job, key ----

static const struct verb job_verbs[] = {
    VERB("list", "what goes on in the background",
         ASKS(.method = METHOD_JOB_LIST, .rows = "jobs", .names = true, .nothing = "no jobs")),
    VERB("get", "one job", ARGUMENTS("JOB", 1, 1),
         ASKS(.method = METHOD_JOB_GET, .keys = "job", .names = true)),
    {.name = "watch",
     .summary = "waits until a job has ended",
     .details = "Ends with 1 when it failed.",
     ARGUMENTS("JOB", 1, 1),
     .remote = &(const struct remote){.method = METHODS_END},
     .run = job_watch_run},
    VERB("cancel", "ends a job before it is done", ARGUMENTS("JOB", 1, 1), CHANGES,
         ASKS(.method = METHOD_JOB_CANCEL, .keys = "job", .question = "cancel job %s?")),
};
NOUN(job, "what goes on in the background");

static const struct option_spec key_options[] = {
    {.name = "role",
     .argument = "ROLE",
     .choices = "read write manage admin",
     .help = "what the key may do: read, write, manage, admin"},
    {.name = "collections", .argument = "GLOB", .help = "of which collections (all)"},
    {.name = "rate",
     .argument = "N",
     .help = "points and queries a second at each node (as the node's key-rate says)"},
    {.name = "expires-ms", .argument = "MS", .help = "when it ends, in ms since 1970 (never)"},
    {0},
};
static const struct verb key_verbs[] = {
    VERB("create", "makes a key and says it, once", ARGUMENTS("NAME", 1, 1), MAKES,
         .options = key_options, ASKS(.method = METHOD_KEY_CREATE, .keys = "name")),
    VERB("list", "the keys that there are, without what is secret",
         ASKS(.method = METHOD_KEY_LIST, .rows = "keys", .nothing = "no keys")),
    VERB("revoke", "ends a key", ARGUMENTS("NAME", 1, 1), CHANGES,
         ASKS(.method = METHOD_KEY_REVOKE, .keys = "name", .question = "revoke the key %s?")),
};
NOUN(key, "API keys");
