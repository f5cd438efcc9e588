// index/build_apart.c -- splits the clusters of the first split again and again, into leaves.
//
// Shape: handle.
//
// Each cluster is taken apart by one thread. A pass over a part of the rows takes those apart again that have
// such rows. Rows are called by their places: near ones follow each other, and so do their reservoirs.
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define SMALL_CLUSTER 64u // smaller ones are put together
#define LEVELS_MAX 12u
#define SHRINK_LEVEL 2u // from here on a child has to be smaller than SHRINK of its parent
#define SHRINK 0.8
// Splits below the second that a cluster's memory is estimated for: each has fewer rows than the one above
#define DEEPER 2u
#define RUN_MOST 4u   // clusters that a thread takes one after the other, where it keeps copies,
#define RUNS_LEAST 8u // if there are so many runs of each thread
// What the largest cluster may be of the mean one, as long as there is none.
#define LARGEST_TIMES 8u

// A cluster that is being taken apart.
struct cluster {
    uint32_t *ids;
    uint32_t count, parent; // how many its parent has
    uint32_t level;
    uint64_t seed;
};

static void take_apart(struct build *build, struct build_worker *worker,
                       const struct cluster *cluster);

// No leaders would split it: into leaves by chance.
static void
chop(struct build *build, struct build_worker *worker, const struct cluster *cluster)
{
    struct prng prng;
    prng_init(&prng, cluster->seed);
    for (uint32_t i = cluster->count - 1; i > 0; i--) {
        const uint32_t j = prng_below(&prng, i + 1), other = cluster->ids[j];
        cluster->ids[j] = cluster->ids[i];
        cluster->ids[i] = other;
    }
    const uint32_t leaves = (cluster->count + build->leaf_rows - 1) / build->leaf_rows;
    for (uint32_t leaf = 0; leaf < leaves; leaf++) {
        const uint32_t from = (uint32_t)((uint64_t)cluster->count * leaf / leaves);
        const uint32_t end = (uint32_t)((uint64_t)cluster->count * (leaf + 1) / leaves);
        leaf_run(build, worker, cluster->ids + from, end - from);
    }
    worker->chopped += cluster->count;
}

// Draws from the cluster's rows, which stay in their order: another pass must draw the same.
static void
draw_from(const struct cluster *cluster, uint32_t count, uint32_t *leaders)
{
    uint32_t swaps[LEADERS_MAX];
    uint32_t *const ids = cluster->ids;
    struct prng prng;
    prng_init(&prng, cluster->seed);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t j = i + prng_below(&prng, cluster->count - i);
        leaders[i] = ids[j];
        ids[j] = ids[i];
        ids[i] = leaders[i];
        swaps[i] = j;
    }
    for (uint32_t i = count; i-- > 0;) {
        const uint32_t drawn = ids[i];
        ids[i] = ids[swaps[i]];
        ids[swaps[i]] = drawn;
    }
}

// Children smaller than SMALL_CLUSTER, put together. A row may be in two of them.
struct pending {
    uint32_t *ids;
    uint32_t count;
};

static void
pend(struct build *build, struct build_worker *worker, const uint32_t *ids, uint32_t count,
     struct pending *pending)
{
    if (pending->count + count > build->leaf_rows) {
        leaf_run(build, worker, pending->ids, pending->count);
        pending->count = 0;
    }
    const uint32_t before = pending->count;
    for (uint32_t i = 0; i < count; i++) {
        bool there = false;
        for (uint32_t j = 0; j < before; j++)
            there |= pending->ids[j] == ids[i];
        if (!there)
            pending->ids[pending->count++] = ids[i];
    }
}

// What taking one apart needs: its children's rows, where each child begins, and the assignment of its rows.
struct children {
    uint32_t *ids, *starts; // one more start than there are children
    uint16_t *assigned;
};

static size_t
children_bytes(uint64_t rows, const struct spread *spread)
{
    return rows * spread->fanout * (sizeof(uint32_t) + sizeof(uint16_t)) +
           ((size_t)spread->leaders + 2) * sizeof(uint32_t);
}

size_t
split_bytes_apart(const struct build *build)
{
    const uint64_t rows = build->rows.count;
    const struct spread first = split_first(build);
    uint64_t largest = rows * first.fanout / first.leaders * LARGEST_TIMES;
    largest = largest < rows ? largest : rows;
    for (uint32_t i = 0; build->starts != NULL && i < build->leaders; i++) {
        const uint64_t count = build->starts[i + 1] - build->starts[i];
        largest = i == 0 || count > largest ? count : largest;
    }
    const struct spread second = split_spread(build, largest, 1), deeper = {LEADERS_MAX, 1};
    const size_t children =
        children_bytes(largest, &second) + DEEPER * children_bytes(largest, &deeper);
    return build->config.threads *
           (largest * sizeof(uint32_t) + (largest > build->leaf_rows ? children : 0));
}

static void
sort_children(const struct cluster *cluster, const struct spread *spread,
              const struct children *children)
{
    ASSERT(spread->fanout > 0);
    const uint64_t all = (uint64_t)cluster->count * spread->fanout;
    uint32_t *const starts = children->starts;
    memset(starts, 0, ((size_t)spread->leaders + 2) * sizeof *starts);
    for (uint64_t i = 0; i < all; i++)
        if (children->assigned[i] != NO_LEADER)
            starts[children->assigned[i] + 2]++;
    for (uint32_t leader = 0; leader < spread->leaders; leader++)
        starts[leader + 2] += starts[leader + 1];
    // starts[leader + 1] is where the next row of the leader goes, and in the end where the next leader begins.
    for (uint64_t i = 0; i < all; i++)
        if (children->assigned[i] != NO_LEADER)
            children->ids[starts[children->assigned[i] + 1]++] = cluster->ids[i / spread->fanout];
}

static void
split_cluster(struct build *build, struct build_worker *worker, const struct cluster *cluster,
              const struct spread *spread, const struct children *children)
{
    uint32_t leaders[LEADERS_MAX];
    draw_from(cluster, spread->leaders, leaders);
    split_pack(build, worker, leaders, spread->leaders);
    const struct tile_packed packed = worker_packed(worker);
    if (!split_assign_few(build, worker, cluster->ids, cluster->count, spread, children->assigned))
        split_assign(build, worker, cluster->ids, cluster->count, &packed, spread,
                     children->assigned);
    sort_children(cluster, spread, children);
    uint32_t small[TILE_IDS];
    struct pending pending = {.ids = small};
    for (uint32_t leader = 0; leader < spread->leaders && !build_stopped(build); leader++) {
        const struct cluster child = {.ids = children->ids + children->starts[leader],
                                      .count =
                                          children->starts[leader + 1] - children->starts[leader],
                                      .parent = cluster->count,
                                      .level = cluster->level + 1,
                                      .seed = mix64(cluster->seed + leader + 1)};
        if (child.count < SMALL_CLUSTER && child.count <= build->leaf_rows)
            pend(build, worker, child.ids, child.count, &pending);
        else
            take_apart(build, worker, &child);
    }
    leaf_run(build, worker, pending.ids, pending.count);
}

static void
take_apart(struct build *build, struct build_worker *worker, const struct cluster *cluster)
{
    if (cluster->count <= build->leaf_rows) {
        leaf_run(build, worker, cluster->ids, cluster->count);
        return;
    }
    if (cluster->level > LEVELS_MAX ||
        (cluster->level > SHRINK_LEVEL &&
         (double)cluster->count > SHRINK * (double)cluster->parent)) {
        chop(build, worker, cluster);
        return;
    }
    const struct spread spread = split_spread(build, cluster->count, cluster->level);
    const size_t all = (size_t)cluster->count * spread.fanout;
    const size_t bytes = children_bytes(cluster->count, &spread);
    uint32_t *const memory = build_heap(build, bytes);
    if (memory == NULL)
        return;
    uint32_t *const starts = memory + all;
    const struct children children = {
        .ids = memory, .starts = starts, .assigned = (uint16_t *)(starts + spread.leaders + 2)};
    split_cluster(build, worker, cluster, &spread, &children);
    build_heap_free(build, memory, bytes);
}

// ---- all clusters of the first split ----

// Whether one of the places is of this pass. They are in order.
static bool
in_pass(const struct build *build, const uint32_t *places, uint32_t count)
{
    uint32_t first = 0;
    while (first < count && places[first] < build->first)
        first++;
    return first < count && places[first] < build->end;
}

struct leaves {
    struct build *build;
    uint32_t leaders[LEADERS_MAX]; // in the order of their turns
    uint32_t run;                  // of them that one thread takes at a time
};

static void
cluster_run(struct build *build, struct build_worker *worker, uint32_t leader)
{
    if (build_stopped(build))
        return;
    const uint32_t count = (uint32_t)(build->starts[leader + 1] - build->starts[leader]);
    const size_t bytes = count * sizeof(uint32_t);
    uint32_t *const places = build_heap(build, bytes);
    if (places == NULL)
        return;
    gaps_unpack(build, leader, places);
    const struct cluster cluster = {.ids = places,
                                    .count = count,
                                    .parent = build->rows.count,
                                    .level = 1,
                                    .seed = mix64(build->seed + leader + 1)};
    if (in_pass(build, places, count))
        take_apart(build, worker, &cluster);
    build_heap_free(build, places, bytes);
    build_done(build, (uint32_t)(worker - build->workers), count);
}

static void
some_run(void *context, uint32_t index, uint32_t worker)
{
    struct leaves *leaves = context;
    struct build *build = leaves->build;
    for (uint32_t i = index * leaves->run; i < (index + 1) * leaves->run; i++)
        if (i < build->leaders)
            cluster_run(build, &build->workers[worker], leaves->leaders[i]);
}

static int
by_size(const void *a, const void *b, void *context)
{
    const struct build *build = context;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint64_t size_x = build->starts[x + 1] - build->starts[x],
                   size_y = build->starts[y + 1] - build->starts[y];
    return size_x != size_y ? (size_x < size_y) - (size_x > size_y) : (x > y) - (x < y);
}

// Leaders are in a chain of near ones. Where copies are made as they are wanted a thread has some of the next cluster's from the one
// before; else nobody gains by that, and the largest are taken first, so that no thread waits for another in the end.
static uint32_t
run_of(const struct build *build)
{
    const uint32_t share = build->leaders / build->config.threads / RUNS_LEAST;
    if (build->copies_room == 0 || share == 0)
        return 1;
    return share < RUN_MOST ? share : RUN_MOST;
}

static void
read_place(const void *context, uint32_t place, void *components, struct tile_numbers *numbers,
           float *sketch)
{
    const struct build *build = context;
    build->by_row.read(build->by_row.context, build->order[place], components, numbers, sketch);
}

static void
prefetch_place(const void *context, uint32_t place)
{
    const struct build *build = context;
    build->by_row.prefetch(build->by_row.context, build->order[place]);
}

// Rows are called by their places meanwhile.
void
build_leaves(struct build *build)
{
    struct leaves leaves = {.build = build, .run = run_of(build)};
    for (uint32_t i = 0; i < build->leaders; i++)
        leaves.leaders[i] = i;
    if (build->copies_room == 0)
        qsort_r(leaves.leaders, build->leaders, sizeof *leaves.leaders, by_size, build);
    build->by_row = build->rows;
    build->rows.context = build;
    build->rows.read = read_place;
    build->rows.prefetch = prefetch_place;
    build->called = build->order;
    pool_run_behind(build->config.threads, (build->leaders + leaves.run - 1) / leaves.run, some_run,
                    &leaves);
    build->rows = build->by_row;
    build->called = NULL;
}
