// gpu/search_cpu.c -- the oracle of walk and rerank: one query after the other, lists sorted by insertion.
//
// Shape: handle (reads only).
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "gpu/exact_int.h"
#include "gpu/search.h"
#include "index/graph.h"
#include "index/nearest.h"

struct walker {
    const struct device_walk *walk;
    const int8_t *code;
    const struct device_query *query;
    uint8_t *visited;           // a byte a row
    struct nearest pool, found; // found: of those that may answer, with `allowed`
    uint32_t evaluations, hops;
};

static float
code_distance(const struct walker *walker, uint32_t row)
{
    const struct device_rows *rows = &walker->walk->rows;
    const struct device_query *query = walker->query;
    const int8_t *code = rows->codes + (size_t)row * rows->stride;
    int32_t dot = 0;
    for (uint32_t i = 0; i < rows->stride; i++)
        dot += code[i] * walker->code[i];
    const float norm = rows->metas[row].norm * query->norm_scale + query->offset;
    const float distance = norm - rows->metas[row].factor * query->scale * (float)dot;
    return distance > 0.0f ? distance : 0.0f;
}

// Puts a row where it is near enough and not there yet.
static void
list_put(struct nearest *list, uint64_t key)
{
    for (uint32_t i = 0; i < list->count; i++)
        if ((list->keys[i] | NEAREST_FLAG) == (key | NEAREST_FLAG))
            return;
    nearest_insert(list, key);
}

static void
meet(struct walker *walker, uint64_t key)
{
    const struct device_walk *walk = walker->walk;
    list_put(&walker->pool, key);
    if (walk->allowed != NULL && row_may_answer(walk->erased, walk->allowed, nearest_slot(key)))
        list_put(&walker->found, key);
}

static void
enter(struct walker *walker)
{
    const struct device_walk *walk = walker->walk;
    uint64_t best[DEVICE_STARTS];
    memset(best, 0xff, sizeof best);
    for (uint32_t i = 0; i < walk->entry_count; i++) {
        const uint32_t row = walk->entries[i];
        const uint64_t key = nearest_key(code_distance(walker, row), row);
        if (key < best[i % DEVICE_STARTS])
            best[i % DEVICE_STARTS] = key;
    }
    walker->evaluations += walk->entry_count;
    for (uint32_t i = 0; i < DEVICE_STARTS; i++)
        if (best[i] != DEVICE_NONE) {
            walker->visited[nearest_slot(best[i])] = 1;
            meet(walker, best[i]);
        }
}

static bool
worth_following(const struct walker *walker, uint32_t place)
{
    const struct device_walk *walk = walker->walk;
    const struct nearest *list = walk->allowed != NULL ? &walker->found : &walker->pool;
    const uint64_t key = walker->pool.keys[place];
    if (walk->allowed == NULL ? place >= walk->beam
                              : list->count >= walk->beam && key > list->keys[walk->beam - 1])
        return false;
    return !(walk->stop > 0.0f && list->count >= walk->stop_k &&
             nearest_distance(key) > nearest_distance(list->keys[walk->stop_k - 1]) * walk->stop);
}

static void
follow(struct walker *walker, uint32_t row)
{
    const struct device_walk *walk = walker->walk;
    const size_t bytes = link_row_bytes(walk->links_max, (enum link_width)walk->width);
    const uint8_t *block = walk->blocks + row * bytes;
    for (uint32_t i = 0; i < bytes / walk->width; i++) {
        uint32_t link = 0;
        memcpy(&link, block + (size_t)i * walk->width, walk->width);
        if (link >= walk->rows.count || walker->visited[link] != 0)
            continue;
        walker->visited[link] = 1;
        walker->evaluations++;
        meet(walker, nearest_key(code_distance(walker, link), link));
    }
    walker->hops++;
}

static void
walk_one(struct walker *walker)
{
    const struct device_walk *walk = walker->walk;
    enter(walker);
    for (;;) {
        uint32_t parents[DEVICE_PARENTS_MAX], count = 0;
        for (uint32_t i = 0; i < walker->pool.count && count < walk->parents; i++) {
            if ((walker->pool.keys[i] & NEAREST_FLAG) != 0)
                continue;
            if (!worth_following(walker, i))
                break;
            walker->pool.keys[i] |= NEAREST_FLAG;
            parents[count++] = nearest_slot(walker->pool.keys[i]);
        }
        if (count == 0)
            return;
        for (uint32_t i = 0; i < count; i++)
            follow(walker, parents[i]);
    }
}

omen_status
device_cpu_walk(struct device *device, const struct device_walk *walk)
{
    (void)device;
    ASSERT(walk->kept <= DEVICE_KEPT_MAX && walk->beam >= 1 && walk->beam <= walk->kept);
    ASSERT(walk->parents >= 1 && walk->parents <= DEVICE_PARENTS_MAX);
    ASSERT(walk->entry_count > 0);
    uint64_t keys[2][DEVICE_KEPT_MAX + 1];
    uint8_t *visited = mem_alloc(walk->rows.count);
    if (visited == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t q = 0; q < walk->count; q++) {
        struct walker walker = {.walk = walk,
                                .code = walk->codes + (size_t)q * walk->rows.stride,
                                .query = &walk->queries[q],
                                .visited = visited,
                                .pool = {.keys = keys[0], .capacity = walk->kept},
                                .found = {.keys = keys[1], .capacity = walk->kept}};
        memset(visited, 0, walk->rows.count);
        walk_one(&walker);
        const struct nearest *list = walk->allowed != NULL ? &walker.found : &walker.pool;
        for (uint32_t i = 0; i < walk->kept; i++)
            walk->keys[(size_t)q * walk->kept + i] =
                i < list->count ? list->keys[i] & ~NEAREST_FLAG : DEVICE_NONE;
        if (walk->work != NULL)
            walk->work[q] =
                (struct device_work){.evaluations = walker.evaluations, .hops = walker.hops};
    }
    mem_free(visited);
    return OMEN_OK;
}

// ---- rerank ----

static void
rerank_one(const struct device_rerank *rerank, uint32_t q)
{
    const uint64_t *keys = rerank->keys + (size_t)q * rerank->width;
    const float *prepared = rerank->prepared + (size_t)q * rerank->vectors.dim;
    struct hit *hits = rerank->hits + (size_t)q * rerank->k;
    uint64_t list[DEVICE_KEPT_MAX + 1];
    struct nearest best = {.keys = list, .capacity = rerank->k};
    float limit = INFINITY;
    for (uint32_t i = 0, seen = 0; i < rerank->width && keys[i] != DEVICE_NONE; i++) {
        const uint32_t row = nearest_slot(keys[i]);
        if (nearest_distance(keys[i]) > limit)
            break;
        if (!row_may_answer(rerank->erased, rerank->allowed, row))
            continue;
        if (++seen == rerank->k)
            limit = nearest_distance(keys[i]) + rerank->queries[q].margin;
        nearest_insert(&best, ordered_key(exact_distance(&rerank->vectors, prepared, row), row));
    }
    for (uint32_t i = 0; i < rerank->k; i++)
        hits[i] = i < best.count ? ordered_hit(list[i]) : (struct hit){INFINITY, UINT32_MAX};
}

omen_status
device_cpu_rerank(struct device *device, const struct device_rerank *rerank)
{
    (void)device;
    ASSERT(rerank->width <= DEVICE_KEPT_MAX && rerank->k >= 1 && rerank->k <= rerank->width);
    for (uint32_t q = 0; q < rerank->count; q++)
        rerank_one(rerank, q);
    return OMEN_OK;
}
