// index/calibrate.h -- how far a search must look to reach a recall that the caller names.
//
// Shape:   value (struct calibration), and the function that measures it.
// Threads: calibrate reads the index beside writers; the value is plain data.
//
// The stop is distance-adaptive (Al-Jazzazi et al. 2025, arXiv 2505.15636): a search ends when the next candidate is
// farther than `stop` times the k-th best. What stop a recall needs depends on the data, so it is learnt by asking
// the index about its own rows, each treated as if it were not there, and about recent queries, against a scan of
// everything.
#ifndef OMEN_INDEX_CALIBRATE_H
#define OMEN_INDEX_CALIBRATE_H
#include "base/status.h"
#include "index/hnsw.h"

#define CALIBRATE_TARGETS 6u // 0.80 0.90 0.95 0.98 0.99 0.999
#define CALIBRATE_DEPTHS 3u  // k = 1, 10, 100

struct calibration {
    float stop[CALIBRATE_DEPTHS][CALIBRATE_TARGETS];    // 0.6 and above
    uint32_t beam[CALIBRATE_DEPTHS][CALIBRATE_TARGETS]; // the bound on the pool that goes with it
    uint32_t rows;                                      // live rows when it was measured; 0: never
};

struct calibrate_queries {
    const float *vectors; // count x dim, recent queries of users; may be NULL
    uint32_t count;
    uint64_t deadline_ns; // of os_clock_ns; 0: none
};

// Measures. Takes about a scan of everything for each of some hundred queries. OMEN_E_NOT_FOUND when the index is
// too small to have a graph, OMEN_E_NO_MEMORY, OMEN_E_TIMEOUT at the deadline; then *out is as before.
OMEN_MUST_CHECK omen_status calibrate(const struct hnsw *hnsw,
                                      const struct calibrate_queries *queries, uint64_t seed,
                                      struct scratch *scratch, struct calibration *out);

// Fills beam and stop of `query` (whose k is set) for a recall of 0.5..0.9999.
void calibration_apply(const struct calibration *calibration, double target,
                       struct hnsw_query *query);

#endif
