// index/calibrate.c -- how far a search must look to reach a recall that the caller names.
//
// Shape: value, and the function that measures it.
//
// For each sample query the truth is known from a scan. Then the whole ladder of stops is tried, nearest first, on all
// queries; the smallest stop whose mean recall is at the target wins, interpolated between two rungs. The rungs are
// fixed and few: recall is smooth in the stop, and a search costs far less than the scan it is compared with.
//
// Mean recall itself is aimed at, not a lower bound of it: the sample's error at 1,200 queries of 10 is about a third of a
// point at 0.9, and a bound would make every search pay for it. Rows as queries are asked for as if they were
// not there, yet their neighbours' links were chosen when they were; so they are a little harder than
// strangers from the same law.
#include "index/calibrate.h"

#include <math.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define ROW_QUERIES 1200u
// Once recall is above RECALL_LATE: searches are longer, and differ less.
#define ROW_QUERIES_LATE 400u
#define RECALL_LATE 0.97
#define RUNGS 25u
#define BEAM_LAST 2048u       // of a search for up to 10
#define PLAIN_BEAM_LEAST 200u // before anything was measured

static const float targets[CALIBRATE_TARGETS] = {0.80f, 0.90f, 0.95f, 0.98f, 0.99f, 0.999f};
static const uint32_t depths[CALIBRATE_DEPTHS] = {1, 10, 100};

// The ladder: a stop, and the bound on the pool that it is measured with. The first rungs are for data on which even
// the search that ends at the k-th finds more than was asked for; they end before it. A shorter pool would do as well, but
// comes in whole places: from three to four recall rises by four points at 50,000 x 784.
struct rung {
    float stop;
    uint32_t beam; // up to k = 10; beyond in proportion to k
};
static const struct rung ladder[RUNGS] = {
    {0.60f, 4},   {0.70f, 6},   {0.80f, 8},    {0.85f, 10},   {0.88f, 10},
    {0.91f, 10},  {0.94f, 10},  {0.97f, 10},   {1.0f, 12},    {1.01f, 14},
    {1.02f, 20},  {1.035f, 28}, {1.05f, 36},   {1.065f, 48},  {1.08f, 64},
    {1.10f, 88},  {1.12f, 128}, {1.14f, 180},  {1.17f, 260},  {1.20f, 360},
    {1.24f, 500}, {1.29f, 700}, {1.36f, 1000}, {1.45f, 1400}, {1.6f, 2048},
};

struct sample {
    float *vectors;     // count x dim
    uint32_t *excluded; // the row itself, or HNSW_NONE
    uint32_t count;
    uint32_t late;     // of them are asked where searches are long
    struct hit *truth; // count x 100
    uint32_t *found;   // how many of them there are
    uint64_t deadline_ns;
};

static void
sample_close(struct sample *sample)
{
    mem_free(sample->vectors);
    mem_free(sample->excluded);
    mem_free(sample->truth);
    mem_free(sample->found);
}

static bool
is_late(const struct sample *sample)
{
    return sample->deadline_ns != 0 && os_clock_ns() >= sample->deadline_ns;
}

// The users' queries, then rows drawn from the linked live ones. What is true is told by all codes and the rows that they
// lead to: of the nearest ten that misses one in a thousand, and costs an eighth of comparing all rows.
static omen_status
sample_open(const struct hnsw *hnsw, const struct calibrate_queries *queries, uint64_t seed,
            struct scratch *scratch, struct sample *sample)
{
    const uint32_t dim = hnsw->config.dim, most = ROW_QUERIES + queries->count;
    const uint32_t rows = atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire);
    *sample = (struct sample){.deadline_ns = queries->deadline_ns};
    sample->vectors = mem_alloc((size_t)most * dim * sizeof *sample->vectors);
    sample->excluded = mem_alloc(most * sizeof *sample->excluded);
    sample->truth = mem_alloc((size_t)most * depths[CALIBRATE_DEPTHS - 1] * sizeof *sample->truth);
    sample->found = mem_alloc(most * sizeof *sample->found);
    if (sample->vectors == NULL || sample->excluded == NULL || sample->truth == NULL ||
        sample->found == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < queries->count; i++)
        sample->excluded[i] = HNSW_NONE;
    if (queries->count > 0)
        memcpy(sample->vectors, queries->vectors,
               (size_t)queries->count * dim * sizeof *sample->vectors);
    sample->count = queries->count;
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t tries = 0; tries < 4 * ROW_QUERIES && sample->count < most; tries++) {
        const uint32_t slot = prng_below(&prng, rows);
        if (atomic_bit_test(hnsw->erased, slot))
            continue;
        vector_to_f32(hnsw->config.type, arena_row(&hnsw->rows, slot), dim,
                      sample->vectors + (size_t)sample->count * dim);
        sample->excluded[sample->count++] = slot;
    }
    sample->late = queries->count + ROW_QUERIES_LATE;
    const uint32_t k = depths[CALIBRATE_DEPTHS - 1];
    for (uint32_t i = 0; i < sample->count; i++) {
        const struct hnsw_query query = {.vector = sample->vectors + (size_t)i * dim,
                                         .k = k,
                                         .excluded = sample->excluded[i],
                                         .every_code = true,
                                         .deadline_ns = sample->deadline_ns};
        sample->found[i] = hnsw_search(hnsw, &query, scratch, sample->truth + (size_t)i * k);
        if (is_late(sample)) // the scan may have been cut
            return OMEN_E_TIMEOUT;
    }
    return OMEN_OK;
}

static uint32_t
rung_beam(const struct rung *rung, uint32_t k)
{
    const uint32_t beam = k > 10 ? (uint32_t)((uint64_t)rung->beam * k / 10) : rung->beam;
    return beam < BEAM_LAST + 2 * k ? beam : BEAM_LAST + 2 * k;
}

// Mean recall at k of one rung. An answer counts when it is no farther than the k-th true one, so that equal distances
// are not held against the index. `before` is that of the rung before.
static double
rung_recall(const struct hnsw *hnsw, const struct sample *sample, const struct rung *rung,
            uint32_t k, double before, struct scratch *scratch, struct hit *hits)
{
    const uint32_t width = depths[CALIBRATE_DEPTHS - 1];
    const uint32_t count =
        before >= RECALL_LATE && sample->late < sample->count ? sample->late : sample->count;
    double sum = 0.0;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < count && !is_late(sample); i++) {
        const struct hit *truth = sample->truth + (size_t)i * width;
        const uint32_t wanted = sample->found[i] < k ? sample->found[i] : k;
        if (wanted == 0)
            continue;
        const struct hnsw_query query = {.vector = sample->vectors + (size_t)i * hnsw->config.dim,
                                         .k = k,
                                         .beam = rung_beam(rung, k),
                                         .stop = rung->stop,
                                         .excluded = sample->excluded[i]};
        const uint32_t found = hnsw_search(hnsw, &query, scratch, hits);
        uint32_t right = 0;
        for (uint32_t j = 0; j < found; j++)
            right += hits[j].distance <= truth[wanted - 1].distance;
        sum += (double)(right < wanted ? right : wanted) / wanted;
        asked++;
    }
    return asked > 0 ? sum / asked : 1.0;
}

// Fills the depth's row of the table from the ladder's recalls.
static void
fill_depth(struct calibration *out, uint32_t depth, const double *recalls, uint32_t rungs)
{
    for (uint32_t t = 0; t < CALIBRATE_TARGETS; t++) {
        uint32_t r = 0;
        while (r < rungs && recalls[r] < (double)targets[t])
            r++;
        if (r == rungs) // beyond what any search reached: the farthest that was tried
            r = rungs - 1;
        const struct rung *above = &ladder[r], *below = r > 0 ? &ladder[r - 1] : above;
        const double low = r > 0 ? recalls[r - 1] : recalls[r];
        double part = recalls[r] > low ? ((double)targets[t] - low) / (recalls[r] - low) : 1.0;
        part = part < 1.0 ? part : 1.0;
        out->stop[depth][t] = below->stop + (float)part * (above->stop - below->stop);
        const uint32_t from = rung_beam(below, depths[depth]), to = rung_beam(above, depths[depth]);
        out->beam[depth][t] = from + (uint32_t)ceil(part * (double)(to - from));
    }
}

omen_status
calibrate(const struct hnsw *hnsw, const struct calibrate_queries *queries, uint64_t seed,
          struct scratch *scratch, struct calibration *out)
{
    if (hnsw_kind(hnsw) == CODE_NONE ||
        atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire) == 0)
        return OMEN_E_NOT_FOUND;
    struct calibration measured = {.rows = hnsw_live(hnsw)};
    struct sample sample;
    struct hit hits[100];
    omen_status status = scratch_fit(scratch, hnsw, depths[CALIBRATE_DEPTHS - 1], BEAM_LAST * 3);
    if (status == OMEN_OK)
        status = scratch_fit_prune(scratch, hnsw); // searches that walk around a row need it
    if (status == OMEN_OK) {
        status = sample_open(hnsw, queries, seed, scratch, &sample);
        for (uint32_t d = 0; d < CALIBRATE_DEPTHS && status == OMEN_OK; d++) {
            double recalls[RUNGS];
            uint32_t rungs = 0;
            do {
                const double before = rungs > 0 ? recalls[rungs - 1] : 0.0;
                recalls[rungs] =
                    rung_recall(hnsw, &sample, &ladder[rungs], depths[d], before, scratch, hits);
                status = is_late(&sample) ? OMEN_E_TIMEOUT : OMEN_OK;
            } while (recalls[rungs++] < (double)targets[CALIBRATE_TARGETS - 1] && rungs < RUNGS &&
                     status == OMEN_OK);
            fill_depth(&measured, d, recalls, rungs);
        }
        sample_close(&sample);
    }
    if (status == OMEN_OK)
        *out = measured;
    return status;
}

// Stop and beam of one depth for a target, between the table's columns or at its last one.
static void
look_up(const struct calibration *calibration, uint32_t depth, double target, float *stop,
        double *beam)
{
    uint32_t t = 0;
    while (t + 1 < CALIBRATE_TARGETS && (double)targets[t] < target - 1e-9)
        t++;
    *stop = calibration->stop[depth][t];
    *beam = calibration->beam[depth][t];
    if (t == 0 || (double)targets[t] <= target + 1e-9)
        return;
    // Straight in the logarithm of what is missed.
    const double low = log(1.0 - (double)targets[t - 1]), high = log(1.0 - (double)targets[t]);
    const double part = (log(1.0 - target) - low) / (high - low);
    *stop =
        calibration->stop[depth][t - 1] + (float)part * (*stop - calibration->stop[depth][t - 1]);
    *beam =
        calibration->beam[depth][t - 1] + part * (*beam - (double)calibration->beam[depth][t - 1]);
}

void
calibration_apply(const struct calibration *calibration, double target, struct hnsw_query *query)
{
    ASSERT(target >= 0.5 && target <= 0.9999);
    const uint32_t k = query->k;
    uint32_t d = 0;
    while (d + 2 < CALIBRATE_DEPTHS && k > depths[d + 1])
        d++;
    if (calibration->rows == 0) {
        query->beam = 4 * k > PLAIN_BEAM_LEAST ? 4 * k : PLAIN_BEAM_LEAST;
        query->beam = query->beam < BEAM_MAX ? query->beam : BEAM_MAX;
        query->stop = 0.0f;
        return;
    }
    float stop[2];
    double beam[2];
    look_up(calibration, d, target, &stop[0], &beam[0]);
    look_up(calibration, d + 1, target, &stop[1], &beam[1]);
    // Straight in log k between two depths, and beyond the last one in proportion.
    double part = log((double)k / depths[d]) / log((double)depths[d + 1] / depths[d]);
    part = part < 1.0 ? part : 1.0;
    query->stop = stop[0] + (float)part * (stop[1] - stop[0]);
    double wide = beam[0] + part * (beam[1] - beam[0]);
    if (k > depths[CALIBRATE_DEPTHS - 1])
        wide *= (double)k / depths[CALIBRATE_DEPTHS - 1];
    query->beam = wide < BEAM_MAX ? (uint32_t)wide : BEAM_MAX;
}
