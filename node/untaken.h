// node/untaken.h -- builds that no builder takes: the node with the primary of a job's shard sees to them after a while.
//
// Shape:   machine: untaken_step(state, in, out). Whoever drives it has the copies asked.
// Threads: one at a time.
//
//      WATCHING --nobody claimed a job for wait_ns, and no builder was alive--> CLAIMING --the map says so--> BUILDING
//      BUILDING --every copy has linked what it has--> ENDING --the map says so--> WATCHING
//      WATCHING --a job that requires a GPU was not claimed for require_ns--> it is cancelled
//
// A job that somebody works at has its lease renewed, and so another version every few seconds; one whose version stands still is nobody's,
// whether it waits or its owner is gone. Time is this process's own: after a restart it is waited for anew.
#ifndef OMEN_NODE_UNTAKEN_H
#define OMEN_NODE_UNTAKEN_H
#include "cluster/command.h"

#define UNTAKEN_JOBS_MAX 16u // that are watched at a time; further ones wait for room
// Of one job: copies answer every two seconds or so that they are not done yet.
#define UNTAKEN_TRIES_MAX 900u

struct untaken_config {
    struct cluster_uuid node;
    uint64_t wait_ns;    // without a builder, before the copies build
    uint64_t require_ns; // before a job that requires a GPU has failed
    uint64_t lease_ns, renew_ns;
    uint64_t wish_ns;  // a wish that the map does not show is said again
    uint64_t again_ns; // before copies that are not done are asked again
};

enum untaken_state { UNTAKEN_WATCHING, UNTAKEN_CLAIMING, UNTAKEN_BUILDING, UNTAKEN_ENDING };

struct untaken {
    struct untaken_config config;
    enum untaken_state state;
    struct untaken_row {
        uint64_t job, version;
        uint64_t since_ns; // this version was first seen
        uint64_t alone_ns; // and no builder has been alive since
    } rows[UNTAKEN_JOBS_MAX];
    uint32_t row_count;
    // The job that is claimed.
    uint64_t job, version, collection;
    // CLAIMING: it is given up; BUILDING: the copies are asked, UINT64_MAX: they are at it.
    uint64_t until_ns;
    uint64_t renew_at_ns, wish_at_ns;
    uint32_t tries, permille;
    uint8_t ends_as; // enum job_state
    uint64_t wake_ns;
};

enum untaken_input_kind {
    UNTAKEN_IN_LOOK,  // there is a newer map, or time has passed
    UNTAKEN_IN_ENDED, // the copies that were asked have answered
};

struct untaken_input {
    enum untaken_input_kind kind;
    uint64_t now_ns;
    const struct map *map; // the newest; NULL: none is known
    bool builders;         // one is alive that keeps no data
    uint32_t permille;     // of the copies that are asked
    omen_status status;    // ENDED: of all copies together
};

struct untaken_output {
    bool wishes; // this command, to who leads the metadata
    struct command command;
    bool builds; // every copy of this collection links what it has
    bool drops;  // what came of that is not asked for any more
    uint64_t collection;
    const char *note; // what is to be told people; NULL: nothing. Static
};

void untaken_init(struct untaken *untaken, const struct untaken_config *config);
void untaken_step(struct untaken *untaken, const struct untaken_input *in,
                  struct untaken_output *out);
// When it wants to be asked again; UINT64_MAX: not before something happens.
uint64_t untaken_wake_ns(const struct untaken *untaken);

#endif
