// index/build_partition.c -- splits the rows into overlapping leaves of near ones.
//
// Shape: handle.
//
// Leaders are drawn from the rows, and each row goes to the few that are nearest to it; what is too large for a leaf is split
// again. Overlap at the first split is what recall comes from: two near rows that one draw of leaders separates are together at
// another leader. The first split is made once, by all threads; its clusters are then taken apart one a thread, largest
// first, and a pass over a part of the rows takes all of them apart again.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define LEADERS_MAX 1000u // below TILE_IDS
#define LEADER_SHARE 200u // one row in so many leads
#define LEADERS_FEW 64u   // so many, where that share would make children far too large
#define CHILD_SHARE 0.6   // of a leaf that a child is aimed at
#define SMALL_CLUSTER 64u // smaller ones are put together
#define LEVELS_MAX 12u
#define SHRINK_LEVEL 2u // from here on a child has to be smaller than SHRINK of its parent
#define SHRINK 0.8
#define BLOCK_ROWS 3072u // that one thread assigns before it takes the next
#define COUNTERS 64u     // parts of the rows that are counted and put apart from each other
#define NO_LEADER UINT16_MAX
// Splits below the second that a cluster's memory is estimated for: each has fewer rows than the one above
#define DEEPER 2u
#define LARGEST_TIMES                                                                              \
    8u // what the largest cluster may be of the mean one, as long as there is none

// How many leaders a cluster gets, and to how many of them a row goes.
struct spread {
    uint32_t leaders, fanout;
};

static struct spread
spread_of(const struct build *build, uint64_t count, uint32_t level)
{
    const uint32_t fanout = level < 2 ? build->config.fanout[level] : 1;
    uint64_t leaders = (count + LEADER_SHARE - 1) / LEADER_SHARE;
    const uint64_t want =
        (uint64_t)ceil((double)count * fanout / (CHILD_SHARE * (double)build->leaf_rows));
    if (want <= LEADERS_FEW && leaders < want)
        leaders = want;
    const uint32_t most = LEADERS_MAX < build->rows_room ? LEADERS_MAX : build->rows_room;
    leaders = leaders < 2 ? 2 : leaders > most ? most : leaders;
    leaders = leaders < count ? leaders : count;
    return (struct spread){(uint32_t)leaders, fanout < leaders ? fanout : (uint32_t)leaders};
}

// ---- assigning rows to leaders ----

// Reads the next rows, their numbers and starts, to where the leaders do not lie.
static void
read_ahead(const struct build *build, struct build_worker *worker, const uint32_t *ids,
           uint32_t count, struct tile_side *side)
{
    const struct build_rows *rows = &build->rows;
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
        side->at[r] = r < count ? r : count - 1;
        if (r >= count)
            continue;
        void *const row = worker_row(build, worker->ahead, r);
        rows->read(rows->context, ids[r], row, &worker->ahead_numbers[r], NULL);
        worker->ahead_starts[r] = row_start(build, row);
    }
    *side = (struct tile_side){
        .rows = worker->ahead,
        .numbers = worker->ahead_numbers,
        .starts = worker->ahead_starts,
        .at = {side->at[0], side->at[1], side->at[2], side->at[3], side->at[4], side->at[5]}};
}

// out[i * fanout + k]: the k-th nearest of the packed leaders to ids[i], or NO_LEADER.
static void
assign(const struct build *build, struct build_worker *worker, const uint32_t *ids, uint64_t count,
       const struct tile_packed *packed, const struct spread *spread, uint16_t *out)
{
    const struct build_rows *rows = &build->rows;
    _Alignas(64) float distances[TILE_ROWS * TILE_COLUMNS];
    _Alignas(64) uint32_t best[TILE_ROWS * TILE_ASSIGN_BEST];
    for (uint64_t first = 0; first < count; first += TILE_ROWS) {
        const uint32_t left = count - first < TILE_ROWS ? (uint32_t)(count - first) : TILE_ROWS;
        for (uint64_t i = first + TILE_ROWS; i < first + (uint64_t)2 * TILE_ROWS && i < count; i++)
            rows->prefetch(rows->context, ids[i]);
        struct tile_side side;
        read_ahead(build, worker, ids + first, left, &side);
        memset(best, 255, sizeof best);
        for (uint32_t column = 0; column < spread->leaders; column += TILE_COLUMNS) {
            tile_measure(build, &side, packed, column, distances);
            build->tiles->assign(distances, column, best);
        }
        for (uint32_t r = 0; r < left; r++) {
            uint32_t nearest[TILE_LANES];
            build->tiles->assign_finish(best + (size_t)r * TILE_ASSIGN_BEST, nearest);
            for (uint32_t k = 0; k < spread->fanout; k++)
                *out++ =
                    nearest[k] == TILE_NO_KEY ? NO_LEADER : (uint16_t)(nearest[k] & TILE_ID_MASK);
        }
    }
    worker->pairs += count * spread->leaders;
}

// ---- the first split ----

struct first_split {
    struct build *build;
    struct spread spread;
    struct tile_packed packed;
    uint16_t *assigned;
    uint64_t
        *counts; // of each counter and leader, then the place to be taken next; [COUNTERS][leaders]
};

static void
draw_leaders(struct build *build, uint32_t *leaders, uint32_t count)
{
    struct prng prng;
    prng_init(&prng, mix64(build->seed ^ 0x6c656164657273ull));
    for (uint32_t i = 0; i < count;) {
        const uint32_t row = prng_below(&prng, build->rows.count);
        bool fresh = true;
        for (uint32_t j = 0; j < i && fresh; j++)
            fresh = leaders[j] != row;
        leaders[i] = row;
        i += fresh;
    }
}

static void
assign_block(void *context, uint32_t index, uint32_t worker)
{
    struct first_split *split = context;
    struct build *build = split->build;
    if (build_stopped(build))
        return;
    const uint32_t first = index * BLOCK_ROWS;
    const uint32_t left = build->rows.count - first;
    const uint32_t count = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    uint32_t ids[BLOCK_ROWS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = first + i;
    assign(build, &build->workers[worker], ids, count, &split->packed, &split->spread,
           split->assigned + (size_t)first * split->spread.fanout);
    build_done(build, worker, count);
}

// Rows of a counter's part.
static uint32_t
part_start(const struct build *build, uint32_t counter)
{
    return (uint32_t)((uint64_t)build->rows.count * counter / COUNTERS);
}

static uint64_t *
counts_of(const struct first_split *split, uint32_t counter)
{
    return split->counts + (size_t)counter * split->spread.leaders;
}

static uint32_t
nearest_leader(const struct first_split *split, uint32_t row)
{
    const uint16_t leader = split->assigned[(size_t)row * split->spread.fanout];
    return leader == NO_LEADER ? 0 : leader;
}

// How many rows of the part are nearest to each leader; then the rows leader by leader, which is their order.
static void
count_nearest(void *context, uint32_t counter, uint32_t worker)
{
    (void)worker;
    const struct first_split *split = context;
    uint64_t *counts = counts_of(split, counter);
    const uint32_t end = part_start(split->build, counter + 1);
    for (uint32_t row = part_start(split->build, counter); row < end; row++)
        counts[nearest_leader(split, row)]++;
}

static void
put_nearest(void *context, uint32_t counter, uint32_t worker)
{
    (void)worker;
    const struct first_split *split = context;
    uint64_t *places = counts_of(split, counter);
    const uint32_t end = part_start(split->build, counter + 1);
    for (uint32_t row = part_start(split->build, counter); row < end; row++)
        split->build->order[places[nearest_leader(split, row)]++] = row;
}

// The same of all leaders that a row goes to, by places in that order.
static void
count_any(void *context, uint32_t counter, uint32_t worker)
{
    (void)worker;
    const struct first_split *split = context;
    const struct build *build = split->build;
    const uint32_t fanout = split->spread.fanout, end = part_start(build, counter + 1);
    uint64_t *counts = counts_of(split, counter);
    for (uint32_t place = part_start(build, counter); place < end; place++) {
        const uint16_t *to = split->assigned + (size_t)build->order[place] * fanout;
        for (uint32_t k = 0; k < fanout; k++)
            if (to[k] != NO_LEADER)
                counts[to[k]]++;
    }
}

static void
put_any(void *context, uint32_t counter, uint32_t worker)
{
    (void)worker;
    const struct first_split *split = context;
    const struct build *build = split->build;
    const uint32_t fanout = split->spread.fanout, end = part_start(build, counter + 1);
    uint64_t *places = counts_of(split, counter);
    for (uint32_t place = part_start(build, counter); place < end; place++) {
        const uint16_t *to = split->assigned + (size_t)build->order[place] * fanout;
        for (uint32_t k = 0; k < fanout; k++)
            if (to[k] != NO_LEADER)
                build->clusters[places[to[k]]++] = place;
    }
}

// From counts to places: leader by leader, and in each part by part. starts[leader] is where the leader's begin.
static void
place_counts(const struct first_split *split, uint64_t *starts)
{
    const uint32_t leaders = split->spread.leaders;
    uint64_t at = 0;
    for (uint32_t leader = 0; leader < leaders; leader++) {
        starts[leader] = at;
        for (uint32_t counter = 0; counter < COUNTERS; counter++) {
            uint64_t *const count = counts_of(split, counter) + leader;
            const uint64_t next = at + *count;
            *count = at;
            at = next;
        }
    }
    starts[leaders] = at;
}

static size_t
counts_bytes(const struct first_split *split)
{
    return (size_t)COUNTERS * split->spread.leaders * sizeof(uint64_t);
}

static size_t
clusters_bytes(const struct build *build, uint32_t fanout)
{
    return (size_t)build->rows.count * fanout * sizeof(uint32_t);
}

// Puts leaders in an order in which near ones follow each other, going from each to the nearest that is left. So rows whose places
// follow each other are near, and a pass over some of them finds few leaves that it has a part in. The leaders are packed.
static void
chain_leaders(const struct build *build, struct build_worker *worker, uint32_t *leaders,
              uint32_t count)
{
    _Alignas(64) float distances[LEADERS_MAX + TILE_COLUMNS];
    uint32_t chain[LEADERS_MAX], at = 0;
    bool taken[LEADERS_MAX] = {false};
    const struct tile_packed packed = worker_packed(worker);
    struct tile_side side = {
        .rows = worker->rows, .numbers = worker->numbers, .starts = worker->starts};
    for (uint32_t i = 0; i < count; i++) {
        chain[i] = leaders[at];
        taken[at] = true;
        side.at[0] = at;
        worker->starts[at] = row_start(build, worker_row(build, worker->rows, at));
        row_measure(build, &side, &packed, (count + TILE_LANES - 1) / TILE_LANES, distances);
        float nearest = INFINITY;
        for (uint32_t j = 0; j < count; j++)
            if (!taken[j] && !(distances[j] > nearest)) {
                nearest = distances[j];
                at = j;
            }
    }
    memcpy(leaders, chain, count * sizeof *leaders);
}

static void
pack_leaders(const struct build *build, struct build_worker *worker, const uint32_t *leaders,
             uint32_t count)
{
    rows_read(build, worker, leaders, count, SKETCH_NONE);
    rows_pack(build, worker, count);
}

// The leaders' columns lie in worker 0's memory, which nobody else needs before the leaves.
static void
split_now(struct build *build, struct first_split *split)
{
    const uint32_t threads = build->config.threads, rows = build->rows.count;
    uint32_t leaders[LEADERS_MAX];
    draw_leaders(build, leaders, split->spread.leaders);
    pack_leaders(build, &build->workers[0], leaders, split->spread.leaders);
    chain_leaders(build, &build->workers[0], leaders, split->spread.leaders);
    pack_leaders(build, &build->workers[0], leaders, split->spread.leaders);
    split->packed = worker_packed(&build->workers[0]);
    pool_run(threads, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, assign_block, split);
    if (build_stopped(build))
        return;
    pool_run(threads, COUNTERS, count_nearest, split);
    place_counts(split, build->starts);
    pool_run(threads, COUNTERS, put_nearest, split);
    memset(split->counts, 0, counts_bytes(split));
    pool_run(threads, COUNTERS, count_any, split);
    place_counts(split, build->starts);
    pool_run(threads, COUNTERS, put_any, split);
}

// Rows that fit one leaf are not split.
static struct spread
first_spread(const struct build *build)
{
    const uint32_t rows = build->rows.count;
    return rows <= build->leaf_rows ? (struct spread){1, 1} : spread_of(build, rows, 0);
}

static size_t
starts_bytes(const struct spread *spread)
{
    return ((size_t)spread->leaders + 1) * sizeof(uint64_t);
}

void
build_split(struct build *build)
{
    const uint32_t rows = build->rows.count;
    struct first_split split = {.build = build, .spread = first_spread(build)};
    const size_t assigned_bytes = (size_t)rows * split.spread.fanout * sizeof *split.assigned;
    build->leaders = split.spread.leaders;
    split.assigned = build_alloc(build, assigned_bytes);
    split.counts = build_alloc(build, counts_bytes(&split));
    build->starts = build_alloc(build, starts_bytes(&split.spread));
    build->clusters = build_alloc(build, clusters_bytes(build, split.spread.fanout));
    build->order = build_alloc(build, (size_t)rows * sizeof *build->order);
    if (!build_stopped(build))
        split_now(build, &split);
    build_free(build, split.assigned, assigned_bytes);
    build_free(build, split.counts, counts_bytes(&split));
}

void
split_close(struct build *build)
{
    const struct spread spread = first_spread(build);
    build_free(build, build->starts, starts_bytes(&spread));
    build_free(build, build->clusters, clusters_bytes(build, spread.fanout));
    build_free(build, build->order, (size_t)build->rows.count * sizeof *build->order);
    build->starts = NULL;
    build->clusters = build->order = NULL;
}

size_t
split_bytes(const struct build *build)
{
    const struct spread spread = first_spread(build);
    return starts_bytes(&spread) + clusters_bytes(build, spread.fanout + 1);
}

size_t
split_bytes_besides(const struct build *build)
{
    const struct first_split split = {.spread = first_spread(build)};
    return counts_bytes(&split) +
           (size_t)build->rows.count * split.spread.fanout * sizeof *split.assigned;
}

// ---- further splits ----

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
    const struct spread first = first_spread(build);
    uint64_t largest = rows * first.fanout / first.leaders * LARGEST_TIMES;
    largest = largest < rows ? largest : rows;
    for (uint32_t i = 0; build->starts != NULL && i < build->leaders; i++) {
        const uint64_t count = build->starts[i + 1] - build->starts[i];
        largest = i == 0 || count > largest ? count : largest;
    }
    if (largest <= build->leaf_rows)
        return 0;
    const struct spread second = spread_of(build, largest, 1), deeper = {LEADERS_MAX, 1};
    return build->config.threads *
           (children_bytes(largest, &second) + DEEPER * children_bytes(largest, &deeper));
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
    pack_leaders(build, worker, leaders, spread->leaders);
    const struct tile_packed packed = worker_packed(worker);
    assign(build, worker, cluster->ids, cluster->count, &packed, spread, children->assigned);
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
    const struct spread spread = spread_of(build, cluster->count, cluster->level);
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
    uint32_t largest[LEADERS_MAX]; // leaders, by the size of their clusters
};

static void
cluster_run(void *context, uint32_t index, uint32_t worker)
{
    struct leaves *leaves = context;
    struct build *build = leaves->build;
    if (build_stopped(build))
        return;
    const uint32_t leader = leaves->largest[index];
    const uint64_t from = build->starts[leader];
    const struct cluster cluster = {.ids = build->clusters + from,
                                    .count = (uint32_t)(build->starts[leader + 1] - from),
                                    .parent = build->rows.count,
                                    .level = 1,
                                    .seed = mix64(build->seed + leader + 1)};
    if (in_pass(build, cluster.ids, cluster.count))
        take_apart(build, &build->workers[worker], &cluster);
    build_done(build, worker, cluster.count);
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
    struct leaves leaves = {.build = build};
    for (uint32_t i = 0; i < build->leaders; i++)
        leaves.largest[i] = i;
    qsort_r(leaves.largest, build->leaders, sizeof *leaves.largest, by_size, build);
    build->by_row = build->rows;
    build->rows.context = build;
    build->rows.read = read_place;
    build->rows.prefetch = prefetch_place;
    pool_run(build->config.threads, build->leaders, cluster_run, &leaves);
    build->rows = build->by_row;
}
