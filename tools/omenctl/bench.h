// tools/omenctl/bench.h -- load for a running cluster, and what came of it.
//
// Shape: handle in the owner's memory. bench_load.c makes the load; bench.c is the command.
#ifndef OMEN_TOOLS_OMENCTL_BENCH_H
#define OMEN_TOOLS_OMENCTL_BENCH_H
#include <stdatomic.h>

#include "tools/omenctl/latency.h"
#include "tools/omenctl/remote.h"

#define BENCH_FLIGHT_MAX 256u
#define BENCH_STATUSES 129u // statuses are 0..-128

struct bench_worker {
    struct latency latency; // of requests that went well
    uint64_t requests, points;
    uint64_t failed[BENCH_STATUSES]; // by -status
    struct client_error first;       // of them
};

struct bench {
    struct call *call;
    struct client *clients[BENCH_FLIGHT_MAX]; // one for some requests in flight each; owned
    uint32_t client_count, flight;
    const char *collection;
    uint32_t dimension, timeout_ms;
    uint8_t dtype; // enum wire_dtype, of the collection
    // Queries of search, f32.
    float *queries; // owned
    uint32_t query_count;
    struct api_query_search effort; // all but the vector
    // Points of upsert.
    uint64_t first_id, seed;
    uint32_t batch;
    uint64_t count;               // requests, or points; UINT64_MAX: no end
    uint64_t most_ns;             // 0: as long as it takes
    uint64_t until_ns;            // by that
    _Atomic uint64_t next;        // request or point
    struct bench_worker *workers; // `flight`, owned
    struct bench_worker all;      // afterwards
    double seconds;
};

// bench->flight requests at a time until they are done, the time is over or somebody says so. Then bench->all is of all of them.
// OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status bench_search(struct bench *bench);
OMEN_MUST_CHECK omen_status bench_upsert(struct bench *bench);
// The points that were, or may have been, written.
OMEN_MUST_CHECK omen_status bench_undo(struct bench *bench, struct client_error *error);
// How much of what an exact search finds a search finds, of the first `count` queries. What cannot be found out is an error.
OMEN_MUST_CHECK omen_status bench_recall(struct bench *bench, uint32_t count, double *recall,
                                         struct client_error *error);

#endif
