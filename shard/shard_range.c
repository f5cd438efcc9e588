// shard/shard_range.c -- everything within a radius.
//
// Shape: handle, in memory; the readers' side.
//
// A search answers the k nearest, so it is asked for more until a hit lies outside or there is no more. The last of k hits
// are the first to be missed, and here each of them counts: the beam is at least twice k. Whether that is far
// enough depends on the data (on 10,000 uniform rows of 784 components it finds 70 of 100, on clustered rows all), so
// where nobody has said how far to look, the search looks twice as far until that changes hardly anything. What
// changes is seen on the whole list of k hits, since a radius may hold one point, or none.
#include <math.h>

#include "base/limits.h"
#include "shard/shard_int.h"

#define RANGE_K_FIRST 64u
#define RANGE_SAMPLE 64u
#define RANGE_MISSED_SHARE 32u // one in so many may be missed, as far as can be seen

// How many of `found` hits, nearest first, lie within the radius.
static uint32_t
within(const struct hit *hits, uint32_t found, float radius)
{
    uint32_t count = found;
    while (count > 0 && !(hits[count - 1].distance <= radius))
        count--;
    return count;
}

// Distances of the hits at equal steps of a list, to be compared with the same search looking farther.
struct range_sample {
    uint32_t count;
    float distances[RANGE_SAMPLE];
};

static void
sample_take(struct range_sample *sample, const struct hit *hits, uint32_t found)
{
    sample->count = found < RANGE_SAMPLE ? found : RANGE_SAMPLE;
    for (uint32_t i = 0; i < sample->count; i++)
        sample->distances[i] = hits[(uint64_t)(i + 1) * found / sample->count - 1].distance;
}

// A hit of the list that was sampled is in the longer look's list of equal length unless a nearer one took its place,
// which had been missed.
static bool
sample_agrees(const struct range_sample *sample, const struct hit *hits, uint32_t found)
{
    uint32_t missed = 0;
    for (uint32_t i = 0; i < sample->count; i++)
        missed += sample->distances[i] > hits[found - 1].distance;
    return sample->count > 0 && missed * RANGE_MISSED_SHARE <= sample->count;
}

// In the gate.
static omen_status
range_hits(struct visit *visit, struct search *search, const void *vector, float radius,
           uint32_t *count, struct omen_error *error)
{
    const omen_query_options *options = search->options;
    struct search_query query = {.excluded = HNSW_NONE, .exact = options->exact != 0};
    omen_status status = search_vector(visit, search, vector, &query.vector, error);
    const bool unsure = !query.exact && options->ef == 0 && search->target == 0.0;
    struct range_sample sample = {0};
    query.k = query.exact ? TOPK_MAX : RANGE_K_FIRST;
    while (status == OMEN_OK) {
        uint32_t found = 0;
        if (search->beam < 2 * query.k)
            search->beam = 2 * query.k < BEAM_MAX ? 2 * query.k : BEAM_MAX;
        status = search_run(visit, search, &query, &found, error);
        if (status != OMEN_OK)
            break;
        const struct hit *hits = visit->reader->hits;
        *count = within(hits, found, radius);
        if (found < query.k || search->work.cut)
            break;
        if (*count == found && query.k < TOPK_MAX) {
            query.k = query.k < TOPK_MAX / 4 ? 4 * query.k : TOPK_MAX;
            sample.count = 0;
            continue;
        }
        if (!unsure || search->beam == BEAM_MAX || search->work.strategy == HNSW_SCANNED ||
            sample_agrees(&sample, hits, found))
            break;
        sample_take(&sample, hits, found);
        search->beam = search->beam < BEAM_MAX / 2 ? 2 * search->beam : BEAM_MAX;
    }
    return status;
}

static omen_status
range_points(struct visit *visit, uint32_t count, struct points **out, struct omen_error *error)
{
    const struct points_config config = {.room = count};
    omen_status status = points_open(&config, out);
    for (uint32_t i = 0; i < count && status == OMEN_OK; i++) {
        const struct hit *hit = &visit->reader->hits[i];
        const struct point point = {.id = idmap_id(visit->generation->ids, hit->slot),
                                    .version = generation_row_version(visit->generation, hit->slot),
                                    .distance = hit->distance,
                                    .found = true};
        status = points_add(*out, &point);
    }
    if (status == OMEN_OK)
        return OMEN_OK;
    points_close(*out);
    *out = NULL;
    return error_set_plain(error, status);
}

omen_status
shard_range(struct shard *shard, const void *vector, float radius,
            const omen_query_options *options, struct points **out, struct omen_error *error)
{
    struct search search;
    struct visit visit;
    *out = NULL;
    if (isnan(radius))
        return error_set(error, OMEN_E_INVALID, "radius is NaN");
    omen_status status = search_init_here(shard, options, &search, error);
    if (status == OMEN_OK)
        status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    uint32_t count = 0;
    status = search_filter(&visit, &search, error);
    if (status == OMEN_OK)
        status = range_hits(&visit, &search, vector, radius, &count, error);
    if (status == OMEN_OK)
        status = range_points(&visit, count, out, error);
    readers_count(&shard->readers, visit_hint(&visit), &(struct hnsw_work){0}, &search.work);
    visit_finish(&visit, status == OMEN_OK ? &search.view : NULL);
    if (status == OMEN_OK)
        search_report(&search, options->report);
    return status;
}
