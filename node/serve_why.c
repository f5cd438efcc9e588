// node/serve_why.c -- how far a point is from a query, and how many points are nearer.
//
// Shape: handle; functions on a hosted shard.
//
// A diagnosis, so it looks at everything: the second round compares every row that the filter lets through.
#include <math.h>

#include "base/alloc.h"
#include "base/filter.h"
#include "base/limits.h"
#include "index/vector.h"
#include "node/serve_int.h"

// As the shard's, but for rounding.
static double
distance_of(const struct serve *serve, const float *query, const float *row)
{
    double dot = 0, query2 = 0, row2 = 0, apart2 = 0;
    for (uint32_t i = 0; i < serve->options.dimension; i++) {
        const double a = query[i], b = row[i];
        dot += a * b;
        query2 += a * a;
        row2 += b * b;
        apart2 += (a - b) * (a - b);
    }
    if (serve->options.metric == OMEN_L2)
        return apart2;
    if (serve->options.metric == OMEN_IP)
        return 1 - dot;
    return query2 > 0 && row2 > 0 ? 1 - dot / sqrt(query2 * row2) : 1;
}

static omen_status
passes(const struct wire_filter *by, const struct point *point, bool *out, struct omen_error *error)
{
    struct filter *filter = NULL;
    omen_status status = OMEN_OK;
    *out = true;
    if (by->form == FILTER_FORM_TEXT)
        status = filter_parse_text((const char *)by->bytes.bytes, by->bytes.count, &filter, error);
    else if (by->form == FILTER_FORM_MAP)
        status = filter_parse_map(by->bytes.bytes, by->bytes.count, &filter, error);
    if (status == OMEN_OK && filter != NULL)
        *out = filter_match(filter, point->payload, point->payload_bytes);
    filter_close(filter);
    return status;
}

// ---- a search as the client asked for it ----

struct hits {
    uint64_t *ids;
    float *distances;
    uint32_t found;
};

static omen_status
query_init(const struct serve *serve, const struct serve_vector *vector, struct serve_query *query,
           struct omen_error *error)
{
    const struct inner_why_ask *ask = (const void *)&serve->ask;
    const omen_status status = serve_query_init(query, &ask->filter, error);
    SERVE_EFFORT(query, ask, vector->dtype);
    query->options.k = ask->k == 0 ? SERVE_K : ask->k;
    return status;
}

static omen_status
search(const struct serve *serve, const struct serve_vector *vector,
       const omen_query_options *options, struct hits *hits, struct omen_error *error)
{
    return shard_query(serve->shard, vector->components, options,
                       &(struct answer){hits->ids, hits->distances, &hits->found}, error);
}

// ---- the first round ----

// What no search takes is no question about a point either, whether it is there or not.
static omen_status
search_takes(const struct serve *serve, const struct serve_vector *vector, struct omen_error *error)
{
    struct serve_query query;
    omen_status status = query_init(serve, vector, &query, error);
    if (status == OMEN_OK)
        status = shard_query_check(serve->shard, vector->components, &query.options, error);
    serve_query_fini(&query);
    return status;
}

static omen_status
look_at(struct serve *serve, const struct serve_vector *vector, uint64_t key,
        struct inner_why *answer, struct omen_error *error)
{
    const struct inner_why_ask *ask = (const void *)&serve->ask;
    const uint32_t dimension = serve->options.dimension;
    struct points *points = NULL;
    struct point point;
    bool through = false;
    float *floats = mem_alloc(2 * (size_t)dimension * sizeof *floats); // the query, the row
    omen_status status = floats == NULL
                             ? error_set_plain(error, OMEN_E_NO_MEMORY)
                             : shard_get(serve->shard, &(struct id_list){&key, 1},
                                         OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points, error);
    if (status == OMEN_OK) {
        points_at(points, 0, &point);
        answer->there = point.found;
        if (point.found)
            status = passes(&ask->filter, &point, &through, error);
    }
    if (status == OMEN_OK && answer->there != 0) {
        answer->passes = through;
        vector_to_f32((enum vector_type)vector->dtype, vector->components, dimension, floats);
        vector_to_f32((enum vector_type)serve->options.dtype, point.vector, dimension,
                      floats + dimension);
        answer->distance = distance_of(serve, floats, floats + dimension);
    }
    points_close(points);
    mem_free(floats);
    return status;
}

// ---- the second ----

static omen_status
count_nearer(struct serve *serve, const struct serve_vector *vector, const uint64_t *key,
             struct inner_why *answer, struct omen_error *error)
{
    const struct inner_why_ask *ask = (const void *)&serve->ask;
    const float distance = (float)ask->distance;
    struct serve_query query;
    struct hits hits = {.ids = mem_alloc(TOPK_MAX * sizeof(uint64_t)),
                        .distances = mem_alloc(TOPK_MAX * sizeof(float))};
    omen_status status = query_init(serve, vector, &query, error);
    if (status == OMEN_OK && (hits.ids == NULL || hits.distances == NULL))
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status == OMEN_OK)
        status = search(serve, vector, &query.options, &hits, error);
    for (uint32_t i = 0; i < hits.found && status == OMEN_OK; i++) {
        const bool itself = key != NULL && hits.ids[i] == *key;
        answer->hit |= itself;
        answer->ahead += !itself && hits.distances[i] < distance;
    }
    query.options.exact = 1;
    query.options.k = TOPK_MAX;
    if (status == OMEN_OK)
        status = search(serve, vector, &query.options, &hits, error);
    for (uint32_t i = 0; i < hits.found && status == OMEN_OK; i++)
        answer->nearer += (key == NULL || hits.ids[i] != *key) && hits.distances[i] < distance;
    answer->capped = answer->nearer == TOPK_MAX;
    serve_query_fini(&query);
    mem_free(hits.ids);
    mem_free(hits.distances);
    return status;
}

omen_status
serve_why(struct serve *serve, struct omen_error *error)
{
    const struct inner_why_ask *ask = (const void *)&serve->ask;
    const bool first = serve->part->kind == WIRE_PART_GET;
    struct inner_why answer = {.there = 0};
    struct serve_vector vector;
    uint64_t key;
    const bool there = serve_key(serve, &ask->id, &key);
    omen_status status = serve_vector(serve, &ask->vector, &vector, error);
    if (status == OMEN_OK && first)
        status = search_takes(serve, &vector, error);
    if (status == OMEN_OK && first && there)
        status = look_at(serve, &vector, key, &answer, error);
    else if (status == OMEN_OK && !first)
        status = count_nearer(serve, &vector, there ? &key : NULL, &answer, error);
    if (status == OMEN_OK)
        shape_write(serve->answer, &inner_why, &answer);
    mem_free(vector.owned);
    return status;
}
