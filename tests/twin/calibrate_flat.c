// tests/twin/calibrate_flat.c -- the dumb twin of index/calibrate.h: every search is exact, so any beam will do.
//
// Shape: value.
#include "index/calibrate.h"

omen_status
calibrate(const struct hnsw *hnsw, const struct calibrate_queries *queries, uint64_t seed,
          struct scratch *scratch, struct calibration *out)
{
    (void)queries, (void)seed, (void)scratch;
    if (!hnsw_founded(hnsw))
        return OMEN_E_NOT_FOUND;
    *out = (struct calibration){.rows = hnsw_live(hnsw)};
    return OMEN_OK;
}

void
calibration_apply(const struct calibration *calibration, double target, struct hnsw_query *query)
{
    (void)calibration, (void)target;
    query->beam = query->k;
    query->stop = 0.0f;
}
