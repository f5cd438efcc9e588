// node/builder.h -- a builder's part in the cluster: which job it takes, whom it asks for rows, who gets the graph.
//
// Shape:   machine: builder_step(state, in, out). Holds no row and no graph; whoever drives it does, one of each at a time.
// Threads: one at a time.
//
//      IDLE --a job that nobody holds--> CLAIMING --the map says so--> next shard
//      next shard --the first copy that is asked for its rows is the primary--> FREEZING --> READING --all chunks--> BUILDING
//      BUILDING --a graph--> SENDING --all chunks--> INSTALLING --> SENDING to the next copy, the primary first --> next shard
//      no shard is left: ENDING --the map says so--> IDLE
//
// A job of the map is a collection's, by the shard that was its first; its progress says how many of the shards are done, so that who
// takes it over goes on there. While a job is held its lease is renewed. Who finds in the map that it is another's, or over, drops what it
// has. Nothing that is asked of a copy changes anything before the graph is put in place, so any of it may be asked twice, and what
// fails begins again with the rows: when the shard was compacted meanwhile, say, or is another's now. A graph fits every copy, so where
// the primary changes after the rows were read they are not read again.
#ifndef OMEN_NODE_BUILDER_H
#define OMEN_NODE_BUILDER_H
#include "cluster/command.h"
#include "wire/inner.h"

#define BUILDER_TRIES_MAX 8u      // of one shard, of which each is waited for a little longer
#define BUILDER_BUILDS_MAX 4u     // of one shard
#define BUILDER_COPY_TRIES_MAX 3u // of a copy that is not the primary
#define BUILDER_ATTEMPTS_MAX 6u   // of one job, by all builders: one that ends them is given up
#define BUILDER_COPIES_MAX SHARD_REPLICAS_MAX

enum builder_state {
    BUILDER_IDLE,
    BUILDER_CLAIMING,
    BUILDER_WAITING, // before the next try of a shard
    BUILDER_FREEZING,
    BUILDER_READING,
    BUILDER_BUILDING,
    BUILDER_SENDING,
    BUILDER_INSTALLING,
    BUILDER_ENDING,
};

struct builder_config {
    struct cluster_uuid node;
    uint64_t boot;
    uint64_t features; // that its program knows
    uint64_t serial;   // attempts begin behind it: another one each start
    uint8_t roles;
    bool gpu;                    // there is one: jobs that want one are taken
    uint64_t lease_ns, renew_ns; // of jobs
    uint64_t wish_ns;            // a wish that the map does not show is said again
    uint64_t answer_ns;          // of a copy, for what is quick
    uint64_t install_ns;         // for what is not
    uint64_t retry_ns;           // before a shard is tried again: times the tries
};

struct builder {
    struct builder_config config;
    enum builder_state state;
    // The job.
    uint64_t job, job_version;
    uint64_t renew_at_ns;
    uint64_t collection;
    uint32_t shard_at, shard_count; // of the collection's routed shards, in their order
    // Jobs that somebody holds: since when this version was seen.
    uint64_t held_job, held_version, held_since_ns;
    // The shard.
    uint64_t shard, attempt;
    uint32_t tries, builds;
    uint32_t chunk, chunks;
    bool built;                                   // the graph is there
    struct cluster_uuid copy;                     // that is asked
    struct cluster_uuid done[BUILDER_COPIES_MAX]; // have it, or will not
    uint32_t done_count;
    uint32_t permille; // of the shard that is built
    // What is under way.
    uint64_t question;   // the number of the last
    bool asked;          // it waits for its answer,
    uint64_t asked_term; // of the shard when it was,
    uint64_t until_ns;   // until then
    uint64_t wish_at_ns;
    uint8_t ends_as; // enum job_state
    uint64_t wake_ns;
};

enum builder_input_kind {
    BUILDER_IN_MAP,      // there is a newer one, or time has passed
    BUILDER_IN_ANSWER,   // of a copy
    BUILDER_IN_BUILT,    // the graph is made, or will not be
    BUILDER_IN_PROGRESS, // of what is built
};

struct builder_input {
    enum builder_input_kind kind;
    uint64_t now_ns;
    const struct map *map; // the newest; NULL: none is known
    omen_status status;    // of ANSWER and BUILT. ANSWER: OMEN_E_TIMEOUT, nobody answered
    uint64_t question;     // ANSWER: which
    // ANSWER
    uint32_t chunks;   // of FREEZE: rows come in so many
    uint32_t total;    // BUILT: chunks that the graph goes in
    uint32_t permille; // PROGRESS
};

// In this order.
struct builder_output {
    bool wishes; // this command, to who leads the metadata
    struct command command;
    bool drops;  // rows and graph, if there are any; a build that is under way ends
    bool builds; // of the rows that were read
    bool asks;   // this copy
    struct builder_ask {
        struct cluster_uuid copy, node;
        uint64_t shard, question, attempt;
        uint32_t chunk; // of ROWS, and of the graph for TAKE
        uint64_t deadline_ns;
        uint8_t step; // enum inner_build_step
        bool trusted; // of INSTALL
    } ask;
    const char *note; // what is to be told people; NULL: nothing. Static
};

void builder_init(struct builder *builder, const struct builder_config *config);
void builder_step(struct builder *builder, const struct builder_input *in,
                  struct builder_output *out);
// When it wants to be asked again: BUILDER_IN_MAP with the same map does; UINT64_MAX: not before something happens.
uint64_t builder_wake_ns(const struct builder *builder);
uint32_t builder_permille(const struct builder *builder); // of the job

// The routed shards of a collection in the order of their hashes: which is at that place, and how many there are.
const struct map_shard *builder_shard_at(const struct map *map, uint64_t collection, uint32_t at,
                                         uint32_t *count);

#endif
