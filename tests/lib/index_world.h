// tests/lib/index_world.h -- rows drawn from a law, an index made of them, and how well it answers.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no index.
//
// The law: clusters in a space of few dimensions, which a fixed random map bends into the space of the rows. It is what
// makes graphs work and fail as real embeddings do: near rows have near neighbours, and dimensions depend on each other.
// Rows and queries come from two streams of the same law, so the queries of two worlds of one seed are the same.
#ifndef OMEN_TESTS_INDEX_WORLD_H
#define OMEN_TESTS_INDEX_WORLD_H
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "index/hnsw_int.h"
#include "index/vector.h"
#include "tests/lib/check_main.h"

// ck_assert_msg for loops: Check writes to a pipe for every assertion that it passes.
#define CLAIM(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

#define WORLD_DIM_MAX 4096u
#define WORLD_LATENT_MAX 10u
#define WORLD_CLUSTERS_MAX 64u
#define WORLD_K_MAX 1024u

static inline float
world_gauss(struct prng *prng)
{
    float sum = -3.0f;
    for (int i = 0; i < 6; i++)
        sum += prng_unit(prng);
    return sum * 1.41421356f;
}

// ---- the law ----

struct law {
    uint32_t dim, latent, clusters;
    float spread;       // of a cluster, where the centres' spread is 1
    float norms;        // rows are made up to this many times longer; 1: not
    float scale, shift; // of every component, at last
    float centres[WORLD_CLUSTERS_MAX][WORLD_LATENT_MAX];
    float *map; // dim x latent
    struct prng rows, queries;
};

static inline void
law_init(struct law *law, uint32_t dim, uint64_t seed)
{
    *law = (struct law){.dim = dim, .clusters = 40, .spread = 0.5f, .norms = 1.0f, .scale = 1.0f};
    law->latent = dim < WORLD_LATENT_MAX ? dim : WORLD_LATENT_MAX;
    law->map = malloc((size_t)dim * law->latent * sizeof *law->map);
    prng_init(&law->rows, mix64(seed + 1));
    prng_init(&law->queries, mix64(seed + 2));
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < dim * law->latent; i++)
        law->map[i] = world_gauss(&prng) / sqrtf((float)law->latent);
    for (uint32_t c = 0; c < WORLD_CLUSTERS_MAX; c++)
        for (uint32_t j = 0; j < law->latent; j++)
            law->centres[c][j] = world_gauss(&prng);
}

static inline void
law_fini(struct law *law)
{
    free(law->map);
}

// A vector of one cluster.
static inline void
law_draw_near(const struct law *law, struct prng *prng, uint32_t cluster, float *out)
{
    float at[WORLD_LATENT_MAX];
    for (uint32_t j = 0; j < law->latent; j++)
        at[j] = law->centres[cluster][j] + law->spread * world_gauss(prng);
    const float longer = law->norms > 1.0f ? 1.0f + (law->norms - 1.0f) * prng_unit(prng) : 1.0f;
    for (uint32_t i = 0; i < law->dim; i++) {
        float sum = 0.0f;
        for (uint32_t j = 0; j < law->latent; j++)
            sum += law->map[i * law->latent + j] * at[j];
        out[i] = (sum + 0.5f * sinf(3.0f * sum)) * longer * law->scale + law->shift;
    }
}

static inline void
law_draw(const struct law *law, struct prng *prng, float *out)
{
    law_draw_near(law, prng, prng_below(prng, law->clusters), out);
}

// ---- an index, and the rows that it was given ----

struct world {
    struct hnsw_config config; // may be changed before the first row
    struct law law;
    struct hnsw *hnsw;
    struct scratch *scratch;
};

static inline void
world_init(struct world *world, uint32_t dim, enum metric metric, enum vector_type type)
{
    *world = (struct world){.config = {.dim = dim,
                                       .slots_max = 40000,
                                       .links = 16,
                                       .build_beam = 100,
                                       .metric = metric,
                                       .type = type,
                                       .quantization = HNSW_QUANTIZE_INT8,
                                       .seed = 11}};
    law_init(&world->law, dim, 1000 + dim);
    if (type == VECTOR_I8 || type == VECTOR_U8)
        world->law.scale = 40.0f;
    if (type == VECTOR_U8)
        world->law.shift = 128.0f;
    ck_assert_int_eq(scratch_open(&world->scratch), OMEN_OK);
}

static inline void
world_init_usual(struct world *world)
{
    world_init(world, 64, METRIC_L2, VECTOR_F32);
}

static inline void
world_fini(struct world *world)
{
    hnsw_close(world->hnsw);
    scratch_close(world->scratch);
    law_fini(&world->law);
}

static inline void
world_open(struct world *world)
{
    if (world->hnsw == NULL)
        ck_assert_int_eq(hnsw_open(&world->config, &world->hnsw), OMEN_OK);
}

// Room for `count` more rows.
static inline void
world_reserve(struct world *world, uint32_t count)
{
    world_open(world);
    ck_assert_ptr_nonnull(world->hnsw);
    ck_assert_int_eq(hnsw_reserve(world->hnsw, world->hnsw->appended + count), OMEN_OK);
}

// Publishes one row, given as f32; returns its slot. Room must be there.
static inline uint32_t
world_put(struct world *world, const float *values)
{
    uint8_t row[WORLD_DIM_MAX * 4];
    vector_from_f32(world->config.type, values, world->config.dim, row);
    const uint32_t slot = hnsw_append(world->hnsw, row, world->hnsw->row_bytes, 1);
    hnsw_publish(world->hnsw);
    return slot;
}

// Publishes rows drawn from the law.
static inline void
world_add(struct world *world, uint32_t count)
{
    float values[WORLD_DIM_MAX];
    world_reserve(world, count);
    for (uint32_t i = 0; i < count; i++) {
        law_draw(&world->law, &world->law.rows, values);
        world_put(world, values);
    }
}

// Adds rows, and erases one of `every` of them.
static inline void
world_add_erased(struct world *world, uint32_t count, uint32_t every)
{
    world_add(world, count);
    for (uint32_t slot = hnsw_count(world->hnsw) - count; slot < hnsw_count(world->hnsw);
         slot += every)
        hnsw_erase(world->hnsw, slot);
}

static inline void
world_link(struct world *world)
{
    while (hnsw_link_next(world->hnsw, world->scratch)) {
    }
}

// Links and repairs until nothing is to be done.
static inline void
world_drain(struct world *world)
{
    world_link(world);
    while (hnsw_repair_next(world->hnsw, world->scratch)) {
    }
}

static inline void
world_build(struct world *world, uint32_t count)
{
    world_add(world, count);
    world_drain(world);
}

// Takes the place of the index by its compaction.
static inline void
world_compact(struct world *world)
{
    struct hnsw *compact;
    ck_assert_int_eq(hnsw_compact(world->hnsw, world->scratch, &compact), OMEN_OK);
    hnsw_close(world->hnsw);
    world->hnsw = compact;
}

// Every invariant holds; returns how many rows no walk reaches.
static inline uint32_t
world_check(const struct world *world)
{
    char text[200] = "";
    uint32_t unreached;
    ck_assert_msg(hnsw_check(world->hnsw, &unreached, text, sizeof text) == OMEN_OK, "%s", text);
    return unreached;
}

static inline struct hnsw_query
world_query(const float *vector, uint32_t k, uint32_t beam)
{
    return (struct hnsw_query){.vector = vector, .k = k, .beam = beam, .excluded = HNSW_NONE};
}

static inline bool
world_allows(const struct hnsw_query *query, uint32_t slot)
{
    return slot != query->excluded && (query->allowed == NULL || bitmap_test(query->allowed, slot));
}

// What holds for every answer: rows that may answer, no slot twice, sorted by distance and then by slot. The distance
// must be the row's own.
static inline void
world_check_hits(const struct world *world, const struct hnsw_query *query, const struct hit *hits,
                 uint32_t count)
{
    CLAIM(count <= query->k, "%u hits for k = %u", count, query->k);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = hits[i].slot;
        CLAIM(slot < hnsw_count(world->hnsw), "slot %u of %u", slot, hnsw_count(world->hnsw));
        CLAIM(!hnsw_erased(world->hnsw, slot), "erased slot %u answers", slot);
        CLAIM(world_allows(query, slot), "slot %u may not answer", slot);
        CLAIM(i == 0 || hits[i - 1].distance < hits[i].distance ||
                  (hits[i - 1].distance == hits[i].distance && hits[i - 1].slot < slot),
              "hits %u and %u are out of order", i - 1, i);
        const float distance = hnsw_distance(world->hnsw, query->vector, slot);
        CLAIM(fabsf(distance - hits[i].distance) <= 1e-4f * (1.0f + fabsf(distance)),
              "slot %u is at %g, said %g", slot, (double)distance, (double)hits[i].distance);
    }
}

// The share of the true nearest that an answer has: what is no farther than the last true one counts, so that equal
// distances are not held against the index.
static inline double
world_share(const struct hit *hits, uint32_t count, const struct hit *truth, uint32_t wanted)
{
    uint32_t right = 0;
    for (uint32_t i = 0; i < count; i++)
        right += hits[i].distance <= truth[wanted - 1].distance;
    return wanted == 0 ? 1.0 : (double)(right < wanted ? right : wanted) / wanted;
}

// One search against the scan; checks the answer and returns its recall.
static inline double
world_ask(const struct world *world, const struct hnsw_query *query)
{
    static struct hit hits[WORLD_K_MAX], truth[WORLD_K_MAX];
    ck_assert_uint_le(query->k, WORLD_K_MAX);
    const uint32_t wanted = hnsw_scan(world->hnsw, query, world->scratch, truth);
    const uint32_t count = hnsw_search(world->hnsw, query, world->scratch, hits);
    world_check_hits(world, query, hits, count);
    CLAIM(count <= wanted, "%u hits, there are %u", count, wanted);
    return world_share(hits, count, truth, wanted);
}

// Mean recall over queries that the index has not seen, the same in every call.
static inline double
world_recall(const struct world *world, uint32_t queries, uint32_t k, uint32_t beam)
{
    struct prng prng = world->law.queries;
    double sum = 0.0;
    for (uint32_t i = 0; i < queries; i++) {
        float vector[WORLD_DIM_MAX];
        law_draw(&world->law, &prng, vector);
        const struct hnsw_query query = world_query(vector, k, beam);
        sum += world_ask(world, &query);
    }
    return sum / queries;
}

// Whole, and as good as that.
static inline void
world_check_recall(const struct world *world, uint32_t queries, uint32_t beam, double least)
{
    ck_assert_uint_eq(world_check(world), 0);
    const double recall = world_recall(world, queries, 10, beam);
    ck_assert_msg(recall >= least, "recall %g", recall);
}

// Before the first row: another table of kernels than the best.
static inline void
world_use_kernels(struct world *world, const struct kernels *kernels)
{
    world_open(world);
    world->hnsw->kernels = kernels;
    world->hnsw->codec.kernels = kernels;
    world->hnsw->graph.unpack =
        world->hnsw->graph.width == LINKS_24 ? kernels->unpack : kernels->unpack32;
}

#endif
