// router/watch.h -- a node that does not have the metadata's log: whom it asks for the cluster's map, and when.
//
// Shape:   machine.
// Threads: one.
// Memory:  all inside.
//
//      gossip says who has which version ----------------NODES--> sources
//      a copy or the leader speaks of a newer one --------WORD--> there is one, whoever has it
//      there is a newer one than this node has: a source is asked, of those that failed least one that is said to have it; the one
//      that gave the last, else any
//      a piece of the answer came --------------------PROGRESS--> its time begins anew
//      nothing came for answer_ns, it is gone, or what came is no map (FAILED) --> another is asked: the first time at once, then
//      after retry_ns, and twice as long each time
//
// Nothing that is said is believed but a map that is newer than the own one. A word of a version that nobody has is forgotten when
// everybody was asked for it.
#ifndef OMEN_ROUTER_WATCH_H
#define OMEN_ROUTER_WATCH_H
#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "cluster/uuid.h"

#define WATCH_SOURCES_MAX 1024u // more are not asked

struct watch_config {
    uint64_t answer_ns; // both are doubled with each failure in a row, four times at most
    uint64_t retry_ns;
};

struct watch_source {
    struct cluster_uuid node;
    uint64_t version; // that it is said to have
};

enum watch_input_kind {
    WATCH_IN_NODES,    // all sources that there are now
    WATCH_IN_WORD,     // there is this version
    WATCH_IN_PROGRESS, // `node` says a piece of its answer
    WATCH_IN_FAILED,   // what `node` said is no map, or it cannot be asked
    WATCH_IN_WAKE,     // and whenever the own map is newer
};

struct watch_input {
    uint64_t now_ns;
    uint64_t have; // version of the own map; 0: none
    enum watch_input_kind kind;
    union {
        struct {
            const struct watch_source *sources; // NODES; borrowed for the step, none twice
            uint32_t source_count;
        };
        uint64_t version;         // WORD; any
        struct cluster_uuid node; // PROGRESS, FAILED; any
    };
};

struct watch_output {
    bool asks;
    struct cluster_uuid node; // that is asked for what is newer than `have`
    uint64_t wake_ns;         // step again no later than this; UINT64_MAX: never
};

struct watch_row {
    struct watch_source source;
    uint32_t failures; // since a map came
};

// Fields are for router/ and tests.
struct watch {
    struct watch_config config;
    struct prng prng;
    uint64_t have;
    uint64_t heard;            // the newest version of a WORD
    struct cluster_uuid asked; // none: nobody
    struct cluster_uuid gave;  // the last map; none: nobody yet
    uint64_t until_ns;         // for its answer, or its next piece
    uint64_t not_before_ns;    // the next question
    uint32_t failures;         // in a row
    uint32_t count;
    struct watch_row rows[WATCH_SOURCES_MAX];
};

void watch_init(struct watch *watch, const struct watch_config *config, uint64_t seed);
void watch_step(struct watch *watch, const struct watch_input *in, struct watch_output *out);
void watch_check(const struct watch *watch); // asserts all invariants

#endif
