// index/hnsw_int.h -- what the files of the index share; nobody else includes it.
//
// Shape: handle. hnsw.c opens, appends, founds; hnsw_walk.c walks, hnsw_search.c makes a search of it; hnsw_insert.c links;
// prune.c chooses links; hnsw_erase.c repairs; hnsw_reach.c keeps everything reachable; hnsw_filter.c walks under a
// filter; flat.c compares exactly; hnsw_check.c asserts.
#ifndef OMEN_INDEX_HNSW_INT_H
#define OMEN_INDEX_HNSW_INT_H
#include <stdatomic.h>

#include "base/arena.h"
#include "base/float_bits.h"
#include "base/limits.h"
#include "base/os_lock.h"
#include "base/prefetch.h"
#include "index/codec.h"
#include "index/graph.h"
#include "index/hnsw.h"
#include "index/nearest.h"
#include "index/scratch.h"

#define BATCH_MAX 32u     // rows measured in one kernel call
#define ENTRIES_MAX 4096u // sampled rows where walks begin: about half the square root of the rows

// How the graph is walked.
enum code_kind {
    CODE_NONE,   // not founded, or flat: there is no graph
    CODE_NIBBLE, // on the high planes; links are chosen on both planes
    CODE_EXACT,  // on the rows themselves
};

// Where walks begin: a uniform sample of the linked rows, their high planes copied one behind the other so that
// scanning them costs no misses. Readers look while a writer replaces one: a torn code is a worse hint, no more.
struct entries {
    uint8_t *codes; // ENTRIES_MAX x row_bytes (NIBBLE)
    size_t codes_bytes;
    _Atomic uint32_t slots[ENTRIES_MAX];
    _Atomic uint32_t count;
    uint64_t drawn; // prng state, under `lock`
    struct lock lock;
};

// What reads the sample's codes lies between these two; only ThreadSanitizer needs to be shown a lock (index/graph.h).
static inline void
entries_hold(const struct entries *entries)
{
#ifdef OMEN_UNDER_TSAN
    lock_acquire((struct lock *)(uintptr_t)&entries->lock);
#else
    (void)entries;
#endif
}

static inline void
entries_let_go(const struct entries *entries)
{
#ifdef OMEN_UNDER_TSAN
    lock_release((struct lock *)(uintptr_t)&entries->lock);
#else
    (void)entries;
#endif
}

#define HNSW_PROMOTED 4u // links, high, meta, low: in the order that searches ask for them

struct hnsw {
    struct hnsw_config config;
    const struct kernels *kernels;
    struct codec codec;
    struct graph graph;
    struct arena rows, high, low, meta;
    size_t row_bytes;         // of a stored row
    _Atomic uint64_t *erased; // bit a slot; address space for slots_max, usable up to `reserved`
    _Atomic uint64_t *linked;
    _Atomic uint64_t *repaired; // erased and nothing left to do
    size_t bits_bytes;          // usable bytes of each of them
    bool loaded;                // links of the file may lead to rows that are not linked here
    uint32_t chosen; // of the load: rows below it have codes and links of their own, linked or not

    // What the file has of links, for saves (hnsw_save.c): those of rows below `kept_linked` are whole as of one moment,
    // with these rows repaired (kept_words words; NULL: none).
    uint32_t kept_linked;
    uint32_t kept_words;
    uint64_t *kept_repaired;
    // Rows from there on are in the file and not whole, or all links were made anew since.
    _Atomic bool behind;

    uint32_t appended, reserved; // the caller's write lock

    _Atomic uint32_t kind;       // enum code_kind; set once by found()
    _Atomic uint32_t found_rows; // 0, or how many rows were there when linking became possible
    struct lock found_lock;
    _Atomic uint32_t norm_max2; // float bits: the largest |x|^2 of any row appended so far (ip)

    _Alignas(64) _Atomic uint32_t published;
    _Alignas(64) _Atomic uint32_t claimed; // rows below it were taken by linkers
    _Alignas(64) _Atomic uint32_t linked_count;
    _Atomic uint32_t linked_prefix; // all rows below it are linked
    _Alignas(64) _Atomic uint32_t erased_count;
    _Atomic uint32_t repaired_count;
    _Atomic uint32_t repair_cursor;
    // Rows linked and repaired when unreached ones were last looked for.
    _Atomic uint32_t reach_events;
    struct lock reach_lock;
    // 1 + the row that each repairer has in its hands, or 0: marked as repaired before it is, and saved as if it were not.
    _Atomic uint32_t mending[THREADS_MAX];

    struct lock promote_lock;
    uint32_t promoted[HNSW_PROMOTED]; // of each arena, under the lock

    struct entries entries;
};

// Whether links may lead to a row: it is linked itself and was not erased.
static inline bool
linked_alive(const struct hnsw *hnsw, uint32_t slot)
{
    return atomic_bit_test(hnsw->linked, slot) && !atomic_bit_test(hnsw->erased, slot);
}

static inline enum code_kind
hnsw_kind(const struct hnsw *hnsw)
{
    return (enum code_kind)atomic_load_explicit(&hnsw->kind, memory_order_acquire);
}

// What is compared with rows: a prepared vector and, where the rows are integers and it is such a row as well, that.
struct row_query {
    const float *vector;
    struct integer_query whole; // without components where there is none
};

// Distances of the metric to rows.
static inline void
rows_measure(const struct hnsw *hnsw, const struct row_query *query, const void *const *rows,
             uint32_t count, float *out)
{
    const struct hnsw_config *config = &hnsw->config;
    if (query->whole.components != NULL)
        hnsw->kernels->integer[config->metric][config->type - VECTOR_I8](&query->whole, rows, count,
                                                                         out);
    else
        hnsw->kernels->exact[config->metric][config->type - 1](query->vector, rows, count,
                                                               config->dim, out);
}

// A stored row as a query among integers; without components where rows are not integers.
static inline struct integer_query
row_as_integers(const struct hnsw *hnsw, uint32_t slot)
{
    const struct hnsw_config *config = &hnsw->config;
    if (config->type != VECTOR_I8 && config->type != VECTOR_U8)
        return (struct integer_query){.components = NULL};
    return integer_query_of(config->type, arena_row(&hnsw->rows, slot), config->dim);
}

// ---- hnsw.c ----
// Whether rows may be coded; founding has the last word.
bool hnsw_may_code(const struct hnsw_config *config);

// ---- hnsw_found.c ----
// Founds the code if it is due; false when there is no graph to be.
bool hnsw_found(struct hnsw *hnsw, struct scratch *scratch);
// Fixes `codec`, which was made for the same configuration, from the live rows there are now; false
// when memory is short, and then it is as before.
bool hnsw_learn(const struct hnsw *hnsw, struct codec *codec, struct scratch *scratch);

// ---- flat.c ----
// Prepares a user's query for exact distances: what is returned is borrowed from the query or the scratch.
struct row_query exact_query(const struct hnsw *hnsw, const struct hnsw_query *query,
                             struct scratch *scratch);
// Puts the live and allowed rows of [first, end) into the heap, of which the `keep` nearest stay, in order only after
// hits_finish.
struct hit_heap {
    struct hit *hits;
    uint32_t count, keep;
};
void exact_range(const struct hnsw *hnsw, const struct hnsw_query *query,
                 const struct row_query *exact, uint32_t first, uint32_t end,
                 struct hit_heap *heap);
// The same of [first, end), but for what the query was given.
void exact_rest(const struct hnsw *hnsw, const struct hnsw_query *query,
                const struct row_query *exact, uint32_t first, uint32_t end, struct hit_heap *heap);
// The same for slots in a list; each is a slot that may answer.
void exact_slots(const struct hnsw *hnsw, const struct row_query *exact, const uint32_t *slots,
                 uint32_t count, struct hit_heap *heap);
// The same for hits that were found elsewhere.
void exact_hits(const struct hit *hits, uint32_t count, struct hit_heap *heap);
// Puts the heap in order and copies at most k; returns how many.
uint32_t hits_finish(struct hit_heap *heap, uint32_t k, struct hit *out);
bool may_answer(const struct hnsw *hnsw, const struct hnsw_query *query, uint32_t slot);

// ---- hnsw_walk.c, and walk_enter: hnsw_search.c ----
struct walk {
    const struct hnsw *hnsw;
    struct scratch *scratch;
    enum code_kind kind;
    struct row_query exact; // the prepared query (CODE_EXACT)
    float shift;            // added to exact distances so that none is negative (ip)
    uint32_t published;     // slots below it exist
    uint32_t limit;    // and have a place in the visited set: all of them, unless memory is short
    uint32_t beam;     // only the nearest `beam` of the pool have their links followed
    uint32_t capacity; // of the pool, >= beam
    uint32_t k;        // with stop
    float stop;        // 0: none
    float slack; // what lies within it of the k-th is kept in any case: codes may be wrong by it
    // Without a stop, the lists need not hold more than leads on or may be an answer.
    bool by_answers;
    bool beside_erased; // of those that a walk meets some may be erased
    bool glances;       // codes that look far by their first bytes are not read to the end
    bool homing;        // but while each batch has a new nearest
    uint64_t deadline_ns;
    // Of a filtered walk: who may answer (else NULL), how many comparisons are worth it, and how many that pass were
    // met: the first ends the use of failing rows as bridges.
    const struct bitmap *allowed;
    uint64_t evaluations_max;
    uint32_t excluded; // a slot to be walked around, or HNSW_NONE
    uint32_t passed;
    // Of a walk over all rows that collects those that may answer `members_of`, else NULL: how many of them it looks
    // for, and after how many comparisons fewer than `probe_passes` that passed end it (0: asked already).
    const struct hnsw_query *members_of;
    uint32_t members_wanted;
    uint32_t members_guiding; // what lies behind so many of them leads to those that pass alone
    uint64_t probe_at;
    uint32_t probe_passes;
    bool strayed; // it was ended so
    uint64_t evaluations, hops;
    bool cut;
};
// Fills scratch->pool with the nearest slots that a walk finds.
void walk_run(struct walk *walk);
// Sets up kind, query code and shift for a prepared query.
void walk_init(struct walk *walk, const struct hnsw *hnsw, struct scratch *scratch,
               const struct row_query *query);
// Measures slots by the walk's code; returns the mask of those below `bound`. count <= BATCH_MAX; `out` has room for
// BATCH_MAX.
uint32_t walk_measure(const struct walk *walk, const uint32_t *slots, uint32_t count, float bound,
                      float *out);
// Measures up to BATCH_MAX slots and puts those into the pool that belong there.
void walk_collect(struct walk *walk, const uint32_t *slots, uint32_t count);
// The best entries, at most `want` (<= ENTER_MAX), marked visited and put in the pool; of those in `allowed` where it
// is not NULL.
#define ENTER_MAX 8u
void walk_enter(struct walk *walk, uint32_t want, const struct bitmap *allowed);

// ---- rerank.c ----
// How much farther than the k-th a candidate may lie by its rough code and still be among the k.
float rerank_margin(const struct codec *codec, const struct code_query *query);
// How many a walk must keep so that rerank can choose.
uint32_t rerank_room(const struct hnsw_query *query, uint32_t beam);
// Puts the nearest of the pool that may answer and lie below `tail_from` into the heap, compared by their rows.
void rerank(const struct walk *walk, const struct hnsw_query *query, const struct row_query *exact,
            uint32_t tail_from, struct hit_heap *heap);

// ---- hnsw_filter.c ----
// Leaves in the pool what is nearest by codes of [0, tail_from), of those that a filter lets through where there is one.
void scan_codes(struct walk *walk, const struct hnsw_query *query, uint32_t tail_from);
// The walk, or the scan, of a query with a filter; puts its finds into the heap, the tail's apart from a scan's.
enum hnsw_strategy filter_search(struct walk *walk, const struct hnsw_query *query,
                                 const struct row_query *exact, uint32_t tail_from,
                                 struct hit_heap *heap);

// ---- prune.c ----
// Of `count` sorted candidates of `owner` (distances by code) chooses at most `keep` links; returns how many. Slots
// equal to the owner are passed over.
uint32_t prune(const struct hnsw *hnsw, struct scratch *scratch, uint32_t owner,
               const uint64_t *candidates, uint32_t count, uint32_t keep, uint32_t *chosen);
// Distances by code (both planes, or rows) from `slot` to others, to scratch->distances. count <= PRUNE_CANDIDATES_MAX.
void code_distances(const struct hnsw *hnsw, struct scratch *scratch, uint32_t slot,
                    const uint32_t *others, uint32_t count);

// ---- hnsw_insert.c ----
// Writes a row's code, and what belongs to it; the scratch fits.
void hnsw_encode(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch);
// The scratch of a linker made large enough; false when memory is short.
bool scratch_ready(struct scratch *scratch, const struct hnsw *hnsw);
// Lets `node` link to `target` as well; where its row is full, chooses anew. True when the link is there afterwards.
bool link_offer(struct hnsw *hnsw, struct scratch *scratch, uint32_t node, uint32_t target);
// The same where the row has room, and nothing where it has none.
bool link_append(struct hnsw *hnsw, uint32_t node, uint32_t target);
// neighbour -> last becomes neighbour -> slot -> last.
void link_squeeze(struct hnsw *hnsw, uint32_t slot, uint32_t neighbour);
// Writes the row of `node` from `count` links: all of them where they fit, else the best `keep`. The lock is held.
void graph_choose_locked(struct hnsw *hnsw, struct scratch *scratch, uint32_t node,
                         const uint32_t *links, uint32_t count, uint32_t keep);
// Walks from a coded row to its neighbours: live linked rows other than itself, at the front of scratch->pool.keys,
// nearest first by the finer code; returns how many. What the walk met besides follows them.
uint32_t hnsw_neighbours(const struct hnsw *hnsw, uint32_t slot, struct scratch *scratch);

// ---- hnsw_erase.c ----
// Clears the bits of rows that are being repaired at this moment in a copy of `repaired`.
void mending_clear(const struct hnsw *hnsw, uint64_t *repaired, uint32_t rows);

// ---- hnsw_reach.c ----
// Whether enough has changed since unreached rows were last looked for.
bool reach_due(const struct hnsw *hnsw);
// Looks for live linked rows that no walk reaches and gives each a link; false when it is not due or is being done.
bool reach_next(struct hnsw *hnsw, struct scratch *scratch);
// Marks in `reached` (bits for limit slots) what the entries lead to; false when memory is short.
bool reach_mark(const struct hnsw *hnsw, uint32_t limit, uint64_t *reached);

// ---- entries.c ----
omen_status entries_init(struct entries *entries, size_t row_bytes, uint64_t seed);
void entries_fini(struct entries *entries);
// Takes over saved entries; all lead to linked rows.
void entries_load(struct hnsw *hnsw, const uint32_t *slots, uint32_t count, uint64_t drawn);
// Draws them anew from rows that are all linked, the same of the same rows whatever was linked or drawn before; the first is the
// first row's. `slots` of the rows, or NULL: 0, 1, ...
void entries_draw(struct hnsw *hnsw, const uint32_t *slots, uint32_t count);
// Called when a row was linked (n-th; nothing happens when it was erased meanwhile) or repaired away.
void entries_note_linked(struct hnsw *hnsw, uint32_t slot, uint32_t nth);
void entries_note_erased(struct hnsw *hnsw, uint32_t slot);

#endif
