// index/build_partition.c -- splits the rows into overlapping clusters of near ones, once.
//
// Shape: handle.
//
// Leaders are drawn from the rows, and each row goes to the few that are nearest to it; what is too large for a leaf is split
// again. Overlap at the first split is what recall comes from: two near rows that one draw of leaders separates are together at
// another leader. The first split is made once, by all threads; build_apart.c goes on.
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define LEADER_SHARE 200u // one row in so many leads
#define LEADERS_FEW 64u   // so many, where that share would make children far too large
#define CHILD_SHARE 0.6   // of a leaf that a child is aimed at
#define BLOCK_ROWS 3072u  // that one thread assigns before it takes the next
#define FEW_LEADERS 32u   // that fill no tile of columns by far
#define COUNTERS 64u      // parts of the rows that are counted and put apart from each other

struct spread
split_spread(const struct build *build, uint64_t count, uint32_t level)
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

// Reads the next rows and their numbers to where the leaders do not lie.
static void
read_ahead(const struct build *build, struct build_worker *worker, const uint32_t *ids,
           uint32_t count, struct tile_side *side)
{
    rows_read_ahead(build, worker, ids, count);
    side->rows = worker->ahead;
    side->numbers = worker->ahead_numbers;
    for (uint32_t r = 0; r < TILE_ROWS; r++)
        side->at[r] = r < count ? r : count - 1;
}

// The largest key of leaders that a row goes to. Where data has few dimensions, the leaders after the first few are much farther
// away, and no near row is there that is not with nearer ones too.
static uint32_t
last_key(const struct build *build, const struct spread *spread, const uint32_t *nearest)
{
    const uint32_t sure = build->config.fanout_sure;
    if (spread->fanout <= sure || nearest[sure - 1] == TILE_NO_KEY)
        return TILE_NO_KEY - 1;
    const uint32_t bits = nearest[sure - 1] & ~TILE_ID_MASK;
    float distance;
    memcpy(&distance, &bits, sizeof distance);
    distance *= build->config.fanout_far;
    uint32_t last;
    memcpy(&last, &distance, sizeof last);
    return last < TILE_KEY_INFINITE ? last | TILE_ID_MASK : TILE_NO_KEY - 1;
}

// out[i * fanout + k]: the k-th nearest of the packed leaders to ids[i], or NO_LEADER.
void
split_assign(const struct build *build, struct build_worker *worker, const uint32_t *ids,
             uint64_t count, const struct tile_packed *packed, const struct spread *spread,
             uint16_t *out)
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
            build->tiles->assign_finish(best + (size_t)r * TILE_ASSIGN_BEST, spread->fanout,
                                        nearest);
            const uint32_t last = last_key(build, spread, nearest);
            for (uint32_t k = 0; k < spread->fanout; k++)
                *out++ = nearest[k] > last ? NO_LEADER : (uint16_t)(nearest[k] & TILE_ID_MASK);
        }
    }
    worker->pairs += count * spread->leaders;
}

// The two nearest of few leaders to each of a tile's columns.
struct nearest_two {
    int32_t first[TILE_COLUMNS],
        second[TILE_COLUMNS]; // keys, which as signed numbers are in their order
};

static void
take_leader(const float *distances, uint32_t leader, struct nearest_two *two)
{
    for (uint32_t i = 0; i < TILE_COLUMNS; i++) {
        const int32_t key = (int32_t)((float_bits(distances[i]) & ~TILE_ID_MASK) | leader);
        const int32_t first = two->first[i], second = two->second[i];
        const int32_t farther = key > first ? key : first;
        two->first[i] = key < first ? key : first;
        two->second[i] = farther < second ? farther : second;
    }
}

static uint16_t
leader_of(int32_t key)
{
    return key < (int32_t)TILE_KEY_INFINITE ? (uint16_t)((uint32_t)key & TILE_ID_MASK) : NO_LEADER;
}

// The leaders, which were read, make room for a tile of rows.
static void
make_room(const struct build *build, struct build_worker *worker, uint32_t leaders)
{
    for (uint32_t i = leaders; i-- > 0;) {
        memcpy(worker_row(build, worker->rows, TILE_COLUMNS + i),
               worker_row(build, worker->rows, i), build->stride);
        worker->numbers[TILE_COLUMNS + i] = worker->numbers[i];
    }
}

bool
split_assign_few(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                 uint64_t count, const struct spread *spread, uint16_t *out)
{
    const uint32_t leaders = spread->leaders;
    if (spread->fanout > 2 || leaders > FEW_LEADERS || TILE_COLUMNS + leaders > build->rows_room)
        return false;
    _Alignas(64) float distances[TILE_ROWS * TILE_COLUMNS];
    const struct tile_packed packed = worker_packed(worker);
    struct tile_side side = {.rows = worker->rows, .numbers = worker->numbers};
    make_room(build, worker, leaders);
    for (uint64_t first = 0; first < count; first += TILE_COLUMNS) {
        const uint64_t left = count - first;
        const uint32_t rows = left < TILE_COLUMNS ? (uint32_t)left : TILE_COLUMNS;
        struct nearest_two two;
        for (uint32_t i = 0; i < TILE_COLUMNS; i++)
            two.first[i] = two.second[i] = INT32_MAX;
        rows_read(build, worker, ids + first, rows, SKETCH_NONE);
        rows_pack(build, worker, rows);
        for (uint32_t leader = 0; leader < leaders; leader += TILE_ROWS) {
            for (uint32_t r = 0; r < TILE_ROWS; r++)
                side.at[r] = TILE_COLUMNS + (leader + r < leaders ? leader + r : leaders - 1);
            tile_measure(build, &side, &packed, 0, distances);
            for (uint32_t r = 0; r < TILE_ROWS && leader + r < leaders; r++)
                take_leader(distances + (size_t)r * TILE_COLUMNS, leader + r, &two);
        }
        for (uint32_t i = 0; i < rows; i++) {
            *out++ = leader_of(two.first[i]);
            if (spread->fanout == 2)
                *out++ = leader_of(two.second[i]);
        }
    }
    worker->pairs += count * leaders;
    return true;
}

// ---- the first split ----

struct first_split {
    struct build *build;
    struct spread spread;
    struct tile_packed packed;
    uint16_t *assigned;
    uint32_t *places; // leader by leader
    // Of each counter and leader, then the place to be taken next; [COUNTERS][leaders].
    uint64_t *counts;
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
    split_assign(build, &build->workers[worker], ids, count, &split->packed, &split->spread,
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
                split->places[places[to[k]]++] = place;
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

// Rows that fit one leaf are not split. What was split stays so, whatever fits a leaf of copies.
struct spread
split_first(const struct build *build)
{
    const uint32_t rows = build->rows.count, fanout = build->config.fanout[0];
    if (build->starts != NULL)
        return (struct spread){build->leaders, fanout < build->leaders ? fanout : build->leaders};
    return rows <= build->leaf_rows ? (struct spread){1, 1} : split_spread(build, rows, 0);
}

// Places in clusters: as many as there are, or before that is known as many as there might be.
static uint64_t
places_count(const struct build *build)
{
    return build->starts != NULL ? build->starts[build->leaders]
                                 : (uint64_t)build->rows.count * split_first(build).fanout;
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
    struct tile_side side = {.rows = worker->rows, .numbers = worker->numbers};
    for (uint32_t i = 0; i < count; i++) {
        chain[i] = leaders[at];
        taken[at] = true;
        side.at[0] = at;
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

void
split_pack(const struct build *build, struct build_worker *worker, const uint32_t *leaders,
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
    split_pack(build, &build->workers[0], leaders, split->spread.leaders);
    chain_leaders(build, &build->workers[0], leaders, split->spread.leaders);
    split_pack(build, &build->workers[0], leaders, split->spread.leaders);
    split->packed = worker_packed(&build->workers[0]);
    pool_run_behind(threads, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, assign_block, split);
    if (build_stopped(build))
        return;
    pool_run_behind(threads, COUNTERS, count_nearest, split);
    place_counts(split, build->starts);
    pool_run_behind(threads, COUNTERS, put_nearest, split);
    memset(split->counts, 0, counts_bytes(split));
    pool_run_behind(threads, COUNTERS, count_any, split);
    place_counts(split, build->starts);
    split->places = build_alloc(build, places_count(build) * sizeof *split->places);
    if (split->places != NULL)
        pool_run_behind(threads, COUNTERS, put_any, split);
}

static size_t
starts_bytes(const struct spread *spread)
{
    return ((size_t)spread->leaders + 1) * 2 * sizeof(uint64_t);
}

void
build_split(struct build *build)
{
    const uint32_t rows = build->rows.count;
    struct first_split split = {.build = build, .spread = split_first(build)};
    const size_t assigned_bytes = (size_t)rows * split.spread.fanout * sizeof *split.assigned;
    build->leaders = split.spread.leaders;
    split.assigned = build_alloc(build, assigned_bytes);
    split.counts = build_alloc(build, counts_bytes(&split));
    build->starts = build_alloc(build, starts_bytes(&split.spread));
    build->gap_starts = build->starts != NULL ? build->starts + build->leaders + 1 : NULL;
    build->order = build_alloc(build, order_bytes(build));
    if (!build_stopped(build))
        split_now(build, &split);
    build_free(build, split.assigned, assigned_bytes);
    build_free(build, split.counts, counts_bytes(&split));
    if (!build_stopped(build))
        gaps_pack(build, split.places);
    if (split.places != NULL)
        build_free(build, split.places, places_count(build) * sizeof *split.places);
}

void
clusters_close(struct build *build)
{
    const struct spread spread = split_first(build);
    if (build->gaps != NULL)
        build_free(build, build->gaps, build->gap_starts[build->leaders]);
    build_free(build, build->starts, starts_bytes(&spread));
    build->starts = build->gap_starts = NULL;
    build->gaps = NULL;
}

void
split_close(struct build *build)
{
    build_free(build, build->order, order_bytes(build));
    build->order = NULL;
}

size_t
order_bytes(const struct build *build)
{
    return (size_t)build->rows.count * sizeof *build->order;
}

size_t
split_bytes(const struct build *build)
{
    const struct spread spread = split_first(build);
    const size_t gaps = build->gaps != NULL ? build->gap_starts[build->leaders]
                                            : gaps_bytes_most(build, places_count(build));
    return starts_bytes(&spread) + gaps + order_bytes(build);
}

size_t
split_bytes_making(const struct build *build)
{
    const struct first_split split = {.spread = split_first(build)};
    const uint64_t places = (uint64_t)build->rows.count * split.spread.fanout;
    const size_t assigning = counts_bytes(&split) + places * sizeof *split.assigned;
    const size_t packing = gaps_bytes_most(build, places);
    return starts_bytes(&split.spread) + order_bytes(build) + places * sizeof *split.places +
           (assigning > packing ? assigning : packing);
}
