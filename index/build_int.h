// index/build_int.h -- what the stages of a bulk build share; nobody else includes it.
//
// Shape: handle. build.c runs the stages; build_memory.c takes memory for them, build_size.c says how much; build_rows.c reads and
// measures rows; build_same.c finds equal ones; build_narrow.c copies them short, as build_lens.c sees them along what build_axes.c
// finds, or build_wanted.c does where they are wanted; build_partition.c and build_apart.c split, build_gaps.c holds the clusters
// meanwhile; build_leaf.c compares the rows of a leaf, by build_product.c's distances; build_choose.c chooses links; build_reverse.c
// adds their other direction; build_reach.c makes everything reachable.
#ifndef OMEN_INDEX_BUILD_INT_H
#define OMEN_INDEX_BUILD_INT_H
#include <stdatomic.h>

#include "base/assert.h"
#include "base/limits.h"
#include "index/build.h"
#include "index/graph.h"

#define BUILD_NONE UINT32_MAX
#define LEAF_CANDIDATES_MAX 48u // of a member, its own nearest and those that it is near to
#define LEAF_LIST_ROOM (LEAF_CANDIDATES_MAX + 1) // and one that is written in vain
#define CHOOSE_MAX 64u                           // candidates of which a row chooses

// A row of the source and the first that it is equal to.
struct twin {
    uint32_t row, of;
};

// Short copies that were made last, in sets of a few: a row's are in the set that its number draws.
struct wanted {
    uint32_t *rows;  // each one more than it is; 0: none
    uint8_t *copies; // of each
    struct tile_numbers *numbers;
    uint8_t *next; // of each set, which goes when one comes
};

// What a thread works with.
struct build_worker {
    // Rows that were read, `stride` apart, and the same packed as columns.
    void *rows;
    void *columns;
    struct tile_numbers *numbers; // of rows
    float *scales, *adds, *extras;
    int32_t *starts; // of columns, bytes only
    float *sketches; // TILE_SKETCH of each
    void *ahead;     // TILE_ROWS more rows, and what goes with them
    void *wide;      // TILE_ROWS rows of which short copies are made
    struct tile_numbers ahead_numbers[TILE_ROWS];

    // Of a leaf's members.
    uint32_t *row_best, *column_best;
    uint32_t *nearest; // TILE_LANES keys
    uint32_t *lists;   // LEAF_LIST_ROOM keys
    uint8_t *list_counts;

    struct wanted wanted;

    void *memory; // of all of these
    uint64_t leaves, members, chopped, pairs;
    uint64_t read; // bytes of rows
};

// A matrix that rows are multiplied with: axes that they are looked at along.
struct lens {
    uint32_t count; // of axes
    float scale;    // what a byte of the matrix stands for
    float bound;    // of a row's product with an axis
    float *mixed;   // the axes
    uint8_t *bytes; // biased
    int8_t *columns;
    int32_t *starts;
    float *ones, *bounds; // of columns
};

// Whether there may be short copies: of all rows from the start, or made where they are wanted, again and again.
enum narrow_how {
    NARROW_NEVER,
    NARROW_ALL,
    NARROW_WANTED,
};

// Short copies of rows, and what they take the place of.
struct narrow {
    uint32_t count, width;
    uint8_t *rows; // width biased bytes each; NULL: there are none
    struct tile_numbers *numbers;
    struct lens lens; // that makes them where they are wanted; no columns: it does not
    struct build_rows wide;
    struct build_config config;
    uint32_t leaf_rows;
};

struct build {
    const struct build_rows *source;
    struct build_rows rows; // the source without twins
    struct build_config config;
    const struct tile_kernels *tiles;
    size_t stride;        // bytes from a row to the next in a worker's memory
    size_t stride_room;   // that it has room for
    uint32_t copies_room; // copies made where they are wanted that a worker keeps
    uint32_t rows_room;   // rows that a worker has room for, a multiple of TILE_COLUMNS
    uint32_t leaf_rows;   // as rows are long
    uint32_t leaf_room;   // rows of a leaf that a worker has room for

    // Of the rows that are built, in `rows`' numbers.
    uint32_t *members;  // row -> row of the source; NULL: the same
    struct twin *twins; // report->twins of them, in the order of their rows; NULL: no two are equal

    // The first split. The cluster of a leader has starts[leader + 1] - starts[leader] places, in order, and what each is more than
    // the one before lies from gap_starts[leader] to gap_starts[leader + 1].
    uint32_t leaders;
    uint64_t *starts, *gap_starts;
    uint8_t *gaps;
    uint32_t *order;          // place -> row: near ones follow each other
    struct build_rows by_row; // while `rows` are called by their places
    const uint32_t *called;   // `order` then, else NULL

    struct narrow narrow;
    enum narrow_how narrow_how; // as the limit has room

    // What reservoirs lie in, pass after pass, behind the links that were chosen in passes before; and what turns links round: memory
    // that was touched once is cheaper than new.
    void *block;
    size_t block_bytes;

    // The rows of places [first, end) have reservoirs in this pass. A row that has chosen has its links where its reservoir was, until
    // they lie in the order of places, as many as there are, at the beginning of the block; those of each PLACES_A_BLOCK places
    // from chosen_starts on.
    uint64_t chosen_count, *chosen_starts;
    uint32_t first, end;
    struct reservoir *reservoirs;
    _Atomic uint32_t *heads; // bit 7: somebody is at it

    uint32_t *links; // links_max places of each row; NULL while there are passes
    uint8_t *counts; // of each row

    uint64_t seed; // of this draw
    struct build_worker *workers;
    _Atomic size_t memory_now, memory_peak, memory_stage; // the most of all, and of the stage
    uint64_t read; // bytes of rows, by workers that were closed
    bool whole;    // everything is reached
    struct build_report *report;

    _Atomic int status; // of the first thing that went wrong
    _Atomic uint64_t done;
    uint64_t total; // what `done` is when all is over
    uint64_t reported_ns;
};

static inline bool
build_stopped(struct build *build)
{
    return atomic_load_explicit(&build->status, memory_order_relaxed) != OMEN_OK;
}

// ---- build.c ----
void build_fail(struct build *build, omen_status status);
// Counts units of work as done, and lets the caller's thread (worker 0) report it.
void build_done(struct build *build, uint32_t worker, uint64_t units);

// ---- build_memory.c ----
#define BUILD_PAGE_BYTES ((size_t)4096)
// Counts bytes as taken; false, and the build's status says so, where the limit has no room for them.
OMEN_MUST_CHECK bool build_take(struct build *build, size_t bytes);
void build_give_back(struct build *build, size_t bytes);
// Zeroed memory in huge pages, counted; NULL, and the build's status says so, when there is none or the limit has no room.
void *build_alloc(struct build *build, size_t bytes);
void build_free(struct build *build, void *memory, size_t bytes);
// The same of the heap, not zeroed; from any thread.
void *build_heap(struct build *build, size_t bytes);
void build_heap_free(struct build *build, void *memory, size_t bytes);
void block_trim(struct build *build, size_t bytes); // leaves the first bytes of the block
void block_close(struct build *build);              // accepts none

// ---- build_size.c ----
#define PLACES_A_BLOCK 1024u
size_t links_bytes(const struct build *build);
uint32_t blocks_of(const struct build *build); // of PLACES_A_BLOCK
size_t chosen_starts_bytes(const struct build *build);
uint32_t chosen_each(const struct build *build); // bytes of a link that was chosen in a pass before
size_t chosen_bytes(const struct build *build, uint64_t links); // of all those
// Up to which place there are reservoirs in a pass that begins with `first`: the first pass has the whole block, later ones
// what the links of those before have left of it.
uint32_t pass_end(const struct build *build, size_t block, size_t chosen, uint32_t first);
uint32_t passes_of(const struct build *build, size_t block); // at most
size_t block_for(const struct build *build); // the most of what there is room for that is of use
// The copies that the limit has room for.
enum narrow_how narrow_how(const struct build_rows *rows, const struct build_config *config);
// Whether the limit has room for all that comes after the first split, with copies that long made where they are wanted.
bool wanted_fits(const struct build *build, uint32_t width);

static inline size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

// Takes the next part of a block of memory; a NULL base only counts.
static inline void *
memory_part(uint8_t *base, size_t *at, size_t bytes)
{
    void *const there = base != NULL ? base + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return there;
}

// ---- build_rows.c ----
// From now on rows are compared by these, which are no longer than the source's.
void build_compare(struct build *build, const struct build_rows *rows);
void workers_shape(struct build *build); // what the rows' length makes of leaves and strides
// The same leaves, of copies as long as that, made where they are wanted.
void workers_shape_wanted(struct build *build, uint32_t width);
size_t workers_bytes(const struct build *build); // of all of them
OMEN_MUST_CHECK omen_status workers_open(struct build *build);
void workers_close(struct build *build);
static inline void *
worker_row(const struct build *build, void *rows, uint32_t i)
{
    return (uint8_t *)rows + (size_t)i * build->stride;
}
size_t rows_stride(const struct build_rows *rows);
// The worker has read so many of `rows`; what all have read.
void rows_count_read(struct build_worker *worker, const struct build_rows *rows, uint32_t count);
uint64_t rows_bytes_read(const struct build *build);
// Reads `count` rows into the worker's memory, their sketches too where `sketch` says so.
enum build_sketch { SKETCH_NONE, SKETCH_READ };
void rows_read(const struct build *build, struct build_worker *worker, const uint32_t *ids,
               uint32_t count, enum build_sketch sketch);
// The same of rows that were asked for before.
void rows_read_asked(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                     uint32_t count, enum build_sketch sketch);
// Up to TILE_ROWS of those to worker->ahead.
void rows_read_ahead(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                     uint32_t count);
// Packs the first `count` of them as columns, and fills up to whole tiles with columns that are infinitely far.
void rows_pack(const struct build *build, struct build_worker *worker, uint32_t count);
// Distances from rows `at[0..TILE_ROWS)` of `rows` (with numbers of the same places) to a tile of columns.
struct tile_side {
    void *rows;
    const struct tile_numbers *numbers;
    uint32_t at[TILE_ROWS];
};
// The columns that rows_pack made, by default the worker's.
struct tile_packed {
    const void *columns;
    const int32_t *starts;
    const float *scales, *adds, *extras;
};
struct tile_packed worker_packed(const struct build_worker *worker);
void tile_measure(const struct build *build, const struct tile_side *side,
                  const struct tile_packed *packed, uint32_t column, float *out);
// One row after the other against the packed columns of at most TILE_GROUPS groups.
struct tile_lone {
    struct tile_bytes bytes;
    struct tile_floats floats;
};
void lone_open(const struct build *build, const struct tile_packed *packed, struct tile_lone *out);
uint64_t lone_occlude(const struct build *build, struct tile_lone *lone,
                      const struct build_worker *worker, uint32_t row, uint32_t groups,
                      const struct tile_occlusion *occlusion);
// Distances from one row to the packed columns of `groups` <= TILE_GROUPS groups.
void row_measure(const struct build *build, const struct tile_side *side,
                 const struct tile_packed *packed, uint32_t groups, float *out);

// The products of a tile of bytes whose columns' `adds` are all `bound`, and no product larger.
void tile_products(const struct build *build, struct tile_bytes *tile, float bound, float *out);
// Biased bytes in the proportions of `values`, 127 the largest; returns what 1 stands for.
float bytes_of(const float *values, uint32_t count, uint8_t *out);
float magnitude_of(const float *values, uint32_t count);

// ---- build_same.c ----
// Finds equal rows of the source: fills members and twins, or leaves them NULL.
void build_same(struct build *build);
// Gives each twin its place in the graph, which is that of all rows afterwards.
void build_add_twins(struct build *build);

// ---- build_partition.c ----
void build_split(struct build *build);    // the first split
void clusters_close(struct build *build); // the order of places stays until split_close
void split_close(struct build *build);
size_t order_bytes(const struct build *build);
// What the first split leaves until clusters_close, as large as it is, or before it is made as large as it might be; and what
// making it takes, that included.
size_t split_bytes(const struct build *build);
size_t split_bytes_making(const struct build *build);

#define LEADERS_MAX 1000u // below TILE_IDS
#define NO_LEADER UINT16_MAX
// How many leaders a cluster of `count` rows gets at the level-th split, and to how many of them a row goes.
struct spread {
    uint32_t leaders, fanout;
};
struct spread split_spread(const struct build *build, uint64_t count, uint32_t level);
struct spread split_first(const struct build *build); // of all rows
// Reads and packs leaders, for split_assign.
void split_pack(const struct build *build, struct build_worker *worker, const uint32_t *leaders,
                uint32_t count);
// out[i * fanout + k]: the k-th nearest of the packed leaders to ids[i], or NO_LEADER.
void split_assign(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                  uint64_t count, const struct tile_packed *packed, const struct spread *spread,
                  uint16_t *out);
// The same where leaders are few: they are the rows of tiles then, and the others the columns. They lie first in the worker's memory.
// False where they are not, and nothing was done.
bool split_assign_few(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                      uint64_t count, const struct spread *spread, uint16_t *out);

// ---- build_gaps.c ----
// At most, of so many places in the clusters.
size_t gaps_bytes_most(const struct build *build, uint64_t places);
// Packs the places of all clusters, which lie one after the other.
void gaps_pack(struct build *build, const uint32_t *places);
// Those of one, as many as starts says.
void gaps_unpack(const struct build *build, uint32_t leader, uint32_t *places);

// ---- build_apart.c ----
void build_leaves(struct build *build); // of this pass
// What it takes: as large as clusters are, or before there are any as large as they might be.
size_t split_bytes_apart(const struct build *build);

// ---- build_leaf.c ----
void leaf_run(struct build *build, struct build_worker *worker, const uint32_t *ids,
              uint32_t count);
// The nearest of each of so many rows that were read and packed are left in worker->nearest.
void leaf_gram(const struct build *build, struct build_worker *worker, uint32_t count);

// ---- build_product.c ----
// In a leaf of rows that are looked for by products: of those that were read and packed, what makes lengths equal is left out.
void rows_by_product(const struct build *build, struct build_worker *worker, uint32_t count);

// ---- build_axes.c ----
#define AXES_MAX 384u
#define AXES_STEP 64u // that are found at once, a tile of columns
struct axes;
// Those of the build's rows, which are bytes; none is found yet. NULL, and the build says so, where there is no memory.
struct axes *axes_open(struct build *build);
void axes_close(struct axes *axes); // accepts NULL
void axes_more(struct axes *axes);  // AXES_STEP more
// axes_room floats, of which those beyond a row's width are zero. All are orthogonal and of length 1; one that no row has a part
// along is zero.
const float *axes_at(const struct axes *axes, uint32_t axis);
size_t axes_room(uint32_t width);
size_t axes_bytes(uint32_t width);

// ---- build_lens.c ----
// The parts of a lens of up to `most` axes that is being made; a NULL base only counts.
size_t lens_lay_out(struct lens *lens, uint32_t width, uint32_t most, uint8_t *base);
// Looks along the next AXES_STEP axes too.
void lens_widen(const struct build *build, struct lens *lens, const struct axes *axes);
// What of it makes copies; false where there is no memory, and the build says so.
OMEN_MUST_CHECK bool lens_keep(struct build *build, const struct lens *lens, struct lens *out);
void lens_close_kept(struct build *build, struct lens *lens); // accepts zeros
size_t lens_bytes_kept(uint32_t width, uint32_t count);
// Reads up to TILE_ROWS of the rows `wide`, and copies them short: one after the other to `out`, with their numbers.
void lens_copy(const struct build *build, struct build_worker *worker, const struct lens *lens,
               const struct build_rows *wide, const uint32_t *rows, uint32_t count, uint8_t *out,
               struct tile_numbers *numbers);

// ---- build_wanted.c ----
// Copies that a worker keeps, of so many rows.
uint32_t wanted_room(uint32_t rows);
size_t wanted_lay_out(struct wanted *wanted, uint32_t room, uint32_t width, uint8_t *base);
// Short copies of the rows `ids` to `to`, build->stride apart, with their numbers, and sketches where that is not NULL.
void wanted_fetch(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                  uint32_t count, void *to, struct tile_numbers *numbers, float *sketches);
// Of a copy. Its first components are as good as any.
static inline void
copy_sketch(const uint8_t *copy, const struct tile_numbers *numbers, float *sketch)
{
    for (uint32_t i = 0; i < TILE_SKETCH; i++)
        sketch[i] = numbers->scale * (float)(copy[i] - TILE_BIAS);
}

// ---- build_narrow.c ----
// Makes short copies of the rows, which have places already, where they will do.
void build_narrow(struct build *build);
// From now on rows are compared by copies, where there are any, and as the config says of those.
void narrow_use(struct build *build);
// Whether there may be copies.
bool narrow_can(const struct build *build);
// Ends that, and the copies.
void narrow_close(struct build *build); // accepts none
// What the build's config and its workers become where copies are made as they are wanted.
void narrow_shape_wanted(struct build *build);
// Of copies as they are, or as long as they may become; and what making them takes, those included.
size_t narrow_bytes(const struct build *build);
size_t narrow_bytes_making(const struct build *build);

// ---- build_choose.c ----
// Of `count` <= CHOOSE_MAX candidates the links of `owner`, nearest first; returns how many.
uint32_t choose(const struct build *build, struct build_worker *worker, uint32_t owner,
                const uint32_t *candidates, uint32_t count, uint32_t keep, uint32_t *out);
// Every row of this pass chooses of its reservoir, which its links take the place of.
void build_choose(struct build *build);

// ---- build_reverse.c ----
void build_reverse(struct build *build);
size_t reverse_bytes(const struct build *build); // of who chose whom

// ---- build_reach.c ----
// Gives rows that links do not lead to from row 0 a link; false where too many need one, and then not all have it.
OMEN_MUST_CHECK bool build_reach(struct build *build, uint32_t rows);

#endif
