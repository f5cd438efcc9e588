// node/serve_int.h -- what the files of serving share: an ask that was read, and a shard's options made of it.
//
// Shape: value.
#ifndef OMEN_NODE_SERVE_INT_H
#define OMEN_NODE_SERVE_INT_H
#include "node/serve.h"
#include "shard/shard_found.h"
#include "wire/found.h"
#include "wire/inner.h"

#define SERVE_K 10u // where a client gives none
#define SERVE_FILTER_SMALL 512u

struct serve {
    struct hosted *hosted;
    struct shard *shard;
    const struct wire_part *part;
    struct pool *pool; // for many queries; NULL: as many threads as there are processors
    struct encode *answer;
    struct serve_items *items;
    omen_options options; // of the shard
    bool texts;           // its ids are
    union method_body ask;
};

// The ask, as the method has it (of query.why_not as wire/inner.h has it), and its check.
OMEN_MUST_CHECK omen_status serve_begin(struct serve *serve, struct hosted *hosted,
                                        const struct wire_part *part, struct omen_error *error);

// A filter for the shard: a text of its own with a NUL, or the map as it came.
struct serve_filter {
    struct shard_filter filter;
    char *text; // owned where it is not `small`
    char small[SERVE_FILTER_SMALL];
};
OMEN_MUST_CHECK omen_status serve_filter_init(struct serve_filter *out,
                                              const struct wire_filter *from,
                                              struct omen_error *error);
void serve_filter_fini(struct serve_filter *filter);

// As omen_with, of enum api_with.
int serve_with(uint32_t with);

// The shard's key of an id; false where it has none.
bool serve_key(const struct serve *serve, const struct wire_id *id, uint64_t *key);

// An id that the shard gave, as a client sees it; its text is there as long as the shard is. False: there is no such text.
bool serve_id(const struct serve *serve, uint64_t key, struct wire_id *out);

// Of a vector in whichever form `dimension` floats or components of the shard's type; *owned is to be freed where it is not NULL.
struct serve_vector {
    const void *components;
    omen_dtype dtype;
    float *owned;
};
OMEN_MUST_CHECK omen_status serve_vector(const struct serve *serve, const struct wire_vectors *from,
                                         struct serve_vector *out, struct omen_error *error);

// serve_search.c, serve_points.c, serve_why.c, serve_shard.c, serve_elsewhere.c
OMEN_MUST_CHECK omen_status serve_search(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_range(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_batch(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_recall(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_why(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_get(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_scroll(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_count(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_facet(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_stats(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_collection(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_place(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_sum(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_optimize(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_build(struct serve *serve, struct omen_error *error);
OMEN_MUST_CHECK omen_status serve_elsewhere(struct serve *serve, struct omen_error *error);

// How far a search looks, of whichever ask.
struct serve_query {
    omen_query_options options;
    omen_query_report report;
    struct serve_filter filter;
};
OMEN_MUST_CHECK omen_status serve_query_init(struct serve_query *out,
                                             const struct wire_filter *filter,
                                             struct omen_error *error);
void serve_query_fini(struct serve_query *query);
// The rest, of the keys that all searches have.
#define SERVE_EFFORT(query, from, dtype_)                                                          \
    do {                                                                                           \
        (query)->options.ef = (from)->ef;                                                          \
        (query)->options.target_recall = (from)->target_recall;                                    \
        (query)->options.oversample = (from)->oversample;                                          \
        (query)->options.exact = (from)->exact;                                                    \
        (query)->options.dtype = (dtype_);                                                         \
    } while (0)

#endif
