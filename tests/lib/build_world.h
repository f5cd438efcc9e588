// tests/lib/build_world.h -- rows for bulk builds, and what can be said of the graph that comes out, by the dumbest means.
//
// Shape: value. Header only, as tests/lib/index_world.h.
#ifndef OMEN_TESTS_BUILD_WORLD_H
#define OMEN_TESTS_BUILD_WORLD_H
#include "index/build.h"
#include "tests/lib/index_world.h"

// How often tests run that are of one thread, or of as many as others are: ThreadSanitizer would see nothing new there, slowly.
#ifdef OMEN_UNDER_TSAN
#define ALONE 0
#else
#define ALONE 1
#endif

// Rows as an array, of floats or of bytes with numbers: scale 1 and the sum of squares, so distances are those of the bytes.
struct build_world {
    uint32_t count, dim;
    float *floats;
    int8_t *bytes; // NULL: floats are built
    uint32_t width;
    struct build_graph graph;
    struct build_report report;
};

static inline void
build_world_read(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
                 float *sketch)
{
    const struct build_world *world = context;
    const float *from = world->floats + (size_t)row * world->dim;
    if (world->bytes != NULL) {
        const int8_t *bytes = world->bytes + (size_t)row * world->width;
        int32_t norm2 = 0;
        for (uint32_t i = 0; i < world->width; i++)
            norm2 += bytes[i] * bytes[i];
        for (uint32_t i = 0; i < world->width; i++)
            ((uint8_t *)components)[i] = (uint8_t)bytes[i] ^ 0x80;
        *numbers = (struct tile_numbers){.scale = 1.0f, .add = (float)norm2};
    } else {
        memcpy(components, from, world->dim * sizeof *from);
        *numbers = (struct tile_numbers){0};
    }
    for (uint32_t s = 0; sketch != NULL && s < TILE_SKETCH; s++) {
        sketch[s] = 0.0f;
        for (uint32_t i = 0; i < world->dim; i++)
            sketch[s] += (mix64(s * 65536 + i) & 1) != 0 ? from[i] : -from[i];
    }
}

static inline void
build_world_prefetch(const void *context, uint32_t row)
{
    (void)context;
    (void)row;
}

static inline struct build_rows
build_world_rows(const struct build_world *world)
{
    return (struct build_rows){.context = world,
                               .kind = world->bytes != NULL ? BUILD_BYTES : BUILD_FLOATS,
                               .count = world->count,
                               .width = world->bytes != NULL ? world->width : world->dim,
                               .read = build_world_read,
                               .prefetch = build_world_prefetch};
}

static inline void
build_world_init(struct build_world *world, uint32_t count, uint32_t dim)
{
    struct law law;
    *world = (struct build_world){.count = count, .dim = dim, .width = (dim + 3) / 4 * 4};
    world->floats = malloc(((size_t)count * dim + 1) * sizeof *world->floats);
    law_init(&law, dim, 77 + dim);
    for (uint32_t i = 0; i < count; i++)
        law_draw(&law, &law.rows, world->floats + (size_t)i * dim);
    law_fini(&law);
}

// From here on the rows are bytes, and the floats are those.
static inline void
build_world_quantize(struct build_world *world, float scale)
{
    world->bytes = calloc((size_t)world->count * world->width + 1, 1);
    for (uint32_t i = 0; i < world->count; i++)
        for (uint32_t j = 0; j < world->dim; j++) {
            float *const value = &world->floats[(size_t)i * world->dim + j];
            *value = fminf(fmaxf(rintf(*value * scale), -127.0f), 127.0f);
            world->bytes[(size_t)i * world->width + j] = (int8_t)*value;
        }
}

static inline void
build_world_fini(struct build_world *world)
{
    build_graph_close(&world->graph);
    free(world->floats);
    free(world->bytes);
}

static inline struct build_memory
build_world_memory(const struct build_world *world, const struct build_config *config)
{
    const struct build_rows rows = build_world_rows(world);
    return build_memory(&rows, config);
}

static inline omen_status
build_world_run(struct build_world *world, const struct build_config *config)
{
    const struct build_rows rows = build_world_rows(world);
    build_graph_close(&world->graph);
    return build_run(&rows, config, &world->graph, &world->report);
}

static inline float
build_world_distance(const struct build_world *world, const float *a, uint32_t row)
{
    const float *b = world->floats + (size_t)row * world->dim;
    float sum = 0.0f;
    for (uint32_t i = 0; i < world->dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

// Links are rows, none twice and none to itself; all rows are reached from row 0.
static inline void
build_world_check(const struct build_world *world)
{
    const struct build_graph *graph = &world->graph;
    ck_assert_uint_eq(graph->count, world->count);
    uint32_t *queue = malloc(((size_t)world->count + 1) * sizeof *queue), tail = 0;
    uint8_t *met = calloc((size_t)world->count + 1, 1);
    queue[tail++] = 0;
    met[0] = 1;
    for (uint32_t head = 0; head < tail; head++) {
        const uint32_t row = queue[head], *links = graph->links + (size_t)row * graph->links_max;
        CLAIM(graph->counts[row] <= graph->links_max, "row %u: %u links", row, graph->counts[row]);
        for (uint32_t i = 0; i < graph->counts[row]; i++) {
            CLAIM(links[i] < world->count && links[i] != row, "row %u links to %u", row, links[i]);
            for (uint32_t j = 0; j < i; j++)
                CLAIM(links[j] != links[i], "row %u links twice to %u", row, links[i]);
            if (!met[links[i]])
                queue[tail++] = links[i];
            met[links[i]] = 1;
        }
    }
    CLAIM(tail == world->count, "%u of %u rows are reached", tail, world->count);
    free(queue);
    free(met);
}

static inline struct build_config
build_world_config(uint32_t threads)
{
    struct build_config config = build_config_for(32);
    config.threads = threads;
    config.seed = 5;
    return config;
}

// A whole graph.
static inline void
build_world_make(struct build_world *world, const struct build_config *config)
{
    ck_assert_int_eq(build_world_run(world, config), OMEN_OK);
    build_world_check(world);
}

static inline uint64_t
build_world_hash(const struct build_world *world)
{
    const struct build_graph *graph = &world->graph;
    uint64_t hash = 0;
    for (uint32_t row = 0; row < graph->count; row++)
        for (uint32_t i = 0; i < graph->counts[row]; i++)
            hash = mix64(hash ^
                         ((uint64_t)row << 32 | graph->links[(size_t)row * graph->links_max + i]));
    return hash;
}

// The best-first walk of the textbook from row 0 with a list of `beam`; writes the nearest `k` distances.
static inline void
build_world_walk(const struct build_world *world, const float *query, uint32_t beam, uint32_t k,
                 float *out)
{
    struct entry {
        float distance;
        uint32_t row;
        bool open;
    } *list = malloc((beam + 1) * sizeof *list);
    uint8_t *met = calloc(world->count, 1);
    uint32_t count = 0;
    list[count++] = (struct entry){build_world_distance(world, query, 0), 0, true};
    met[0] = 1;
    for (;;) {
        uint32_t at = 0;
        while (at < count && !list[at].open)
            at++;
        if (at == count)
            break;
        list[at].open = false;
        const uint32_t row = list[at].row;
        for (uint32_t i = 0; i < world->graph.counts[row]; i++) {
            const uint32_t next = world->graph.links[(size_t)row * world->graph.links_max + i];
            if (met[next])
                continue;
            met[next] = 1;
            const float distance = build_world_distance(world, query, next);
            if (count == beam && distance >= list[count - 1].distance)
                continue;
            uint32_t place = count < beam ? count++ : count - 1;
            for (; place > 0 && list[place - 1].distance > distance; place--)
                list[place] = list[place - 1];
            list[place] = (struct entry){distance, next, true};
        }
    }
    for (uint32_t i = 0; i < k; i++)
        out[i] = i < count ? list[i].distance : INFINITY;
    free(list);
    free(met);
}

// Share of the `k` nearest that walks for rows of the law find, by distance.
static inline double
build_world_recall(const struct build_world *world, uint32_t queries, uint32_t beam, uint32_t k)
{
    uint32_t found = 0;
    float best[64] = {0}, walked[64] = {0};
    ck_assert_uint_le(k, 64);
    for (uint32_t q = 0; q < queries; q++) {
        // Between two rows: where rows are, and none of them.
        float *query = malloc(world->dim * sizeof *query);
        const uint32_t a = (uint32_t)(mix64(q + 1) % world->count);
        const uint32_t b = (uint32_t)(mix64(q + 100001) % world->count);
        for (uint32_t i = 0; i < world->dim; i++)
            query[i] = 0.8f * world->floats[(size_t)a * world->dim + i] +
                       0.2f * world->floats[(size_t)b * world->dim + i];
        uint32_t count = 0;
        for (uint32_t row = 0; row < world->count; row++) {
            const float distance = build_world_distance(world, query, row);
            if (count == k && distance >= best[k - 1])
                continue;
            uint32_t place = count < k ? count++ : k - 1;
            for (; place > 0 && best[place - 1] > distance; place--)
                best[place] = best[place - 1];
            best[place] = distance;
        }
        build_world_walk(world, query, beam, k, walked);
        for (uint32_t i = 0; i < count; i++)
            found += walked[i] <= best[count - 1];
        free(query);
    }
    return (double)found / (queries * k);
}

#endif
