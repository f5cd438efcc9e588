// shard/shard_int.h -- the shard's state, and what its files do for each other.
//
// Shape: handle; private to shard/.
//
// Locks, in the order in which they are taken: `builds` (a bulk build against whatever would give it another generation, or rows
// other places: compaction, verifying, settling, promotion; not against checkpoints), `upkeep` (compaction against calibration:
// whoever holds it may use the generation without being inside the gate), `writers` (every change), and the small ones inside
// the parts. Searches take none of them.
//
// What a reader may rely on inside the gate:
// - the generation that it loaded stays;
// - a row that it can find stays found until it leaves, unless its id was deleted: an upsert publishes the new row,
//   moves the id over, waits for the gate, and only then erases the old one. In that window both can be found; it is
//   announced by `replacing`, and searches that touch it tell ids apart and keep the newer row. What must have each id once,
//   of many rows, takes those below visit_rows.
#ifndef OMEN_SHARD_SHARD_INT_H
#define OMEN_SHARD_SHARD_INT_H
#include <stdatomic.h>
#include <stdbool.h>

#include "base/epoch.h"
#include "base/os_lock.h"
#include "index/calibrate.h"
#include "index/hnsw.h"
#include "shard/filter_cache.h"
#include "shard/generation.h"
#include "shard/linkers.h"
#include "shard/readers.h"
#include "shard/shard.h"

#define RENUMBERINGS_MAX 4u // compactions that a scroll survives

enum id_kind { ID_KIND_NONE, ID_KIND_INTEGER, ID_KIND_TEXT };

// Which slots lived when a generation was compacted: so that a scroll's cursor can be carried over.
struct renumbering {
    uint32_t number; // of the generation that ended
    struct bitmap lived;
    uint64_t words[];
};

// What target_recall needs (shard_recall.c).
struct tuning {
    _Atomic(struct calibration *) calibration; // NULL: never measured
    _Atomic uint32_t linked;                   // rows in the graph when it was
    _Atomic uint64_t turnover;                 // rows erased since
    // That a deadline left to the last try, which was too little; 0: it was enough.
    _Atomic uint64_t cut_ns;
    _Atomic uint32_t too_small; // rows when the last try found too little; 0: none did
    struct lock recent_lock;    // of what follows; nobody waits for it on the way to an answer
    float *recent;              // the last queries with a target, a ring
    uint32_t recent_rows, recent_room;
    uint32_t recent_next;
};

// What a file says of the host that applies its log (shard/outside.h). Fixed layout, little-endian; grows at its end. An embedded
// index keeps it as it is, so that who finds another seq than this knows that somebody else has written; and writes nothing to a
// file that a host may open again, which would be lost to it.
struct hosted_mark {
    uint32_t hosted; // 0: nobody has, ever
    uint32_t let_go; // 1: of a file that was copied, so no host misses it
    uint64_t seq;
    uint64_t first, last; // hashes of ids that it answers for
};

struct write; // shard/write.h

// Adds and upserts that wait for their commit (shard_write.c).
struct write_queue {
    struct lock lock;
    struct write *first, *last;
    bool led;
};

struct journal;      // shard/journal.h
struct keeper;       // shard/keeper.h
struct follower;     // shard/shard_follow.c
struct shard_device; // shard/shard_device.c
struct outside;      // shard/outside.h

struct shard {
    omen_options options; // path is NULL; ef_search is `ef` below
    size_t row_bytes;
    uint32_t process; // that opened it
    struct epoch gate;
    _Atomic(struct generation *) generation; // what searches see
    // What writers change, under `writers`: the same, but while a follower catches up.
    struct generation *target;
    struct lock builds;
    struct lock upkeep;
    struct lock writers;
    struct write_queue queue;
    _Atomic uint32_t kind;    // enum id_kind
    _Atomic bool is_anothers; // by its mark: a copy of a cluster's shard that was not let go
    _Atomic uint32_t ef;
    _Atomic bool aims;          // at options.target_recall by default, until an ef is set
    _Atomic uint64_t version;   // of the rows: +1 after every change that a filter can see
    _Atomic uint64_t replacing; // odd: old and new rows of some ids can both be found
    // Odd: rows become visible and ids move over to them; whoever writes waits for nobody then.
    _Atomic uint64_t moving;
    _Atomic uint32_t compaction_due; // 1: for a worker to do, or who comes first
    _Atomic uint32_t bulk_due;       // the same
    uint32_t rows_seen;              // under `writers`: there were so many after the last write
    _Atomic uint32_t bulk_after;     // rows in the tail; after a build that came to nothing
    _Atomic uint32_t bulk_builds;    // that were put in place
    _Atomic uint64_t bulk_bytes;     // of max_memory, that one may take now
    _Atomic uint32_t bulk_give_way;  // who waits for those that began by themselves to end
    _Atomic bool bulk_going;         // one is being made,
    _Atomic uint32_t bulk_turns;     // goes on when it did, or ended,
    _Atomic uint64_t bulk_done, bulk_rows; // and is so far
    _Atomic bool closing;                  // what is long is given up
    uint64_t next_id;                      // under `writers`, like the rest
    uint64_t applied_seq;                  // the last entry of the log that was applied
    struct journal *journal;               // NULL: in memory only
    struct keeper *keeper;                 // NULL: nothing to keep
    struct follower *follower;             // not NULL: another process writes
    struct outside *outside;               // not NULL: the log is a host's
    struct hosted_mark mark;               // as the file has it
    uint32_t compaction_after;             // deleted rows; after one that failed
    uint64_t unreached;
    _Atomic uint64_t verify_after_ns; // as long after the last verification as it took
    double open_seconds;
    _Atomic double recall; // last measured; negative: never
    struct linkers linkers;
    struct readers readers;
    struct filter_cache filters;
    struct tuning tuning;
    struct lock device_lock;
    struct shard_device *device; // under it; NULL until a search asks for a GPU
    _Atomic(struct renumbering *) renumberings[RENUMBERINGS_MAX]; // by number, modulo
};

static inline struct generation *
shard_generation(struct shard *shard)
{
    return atomic_load_explicit(&shard->generation, memory_order_acquire);
}

// Under `writers`.
static inline struct generation *
shard_target(struct shard *shard)
{
    return shard->target;
}

// ---- shard_follow.c ----
// Takes over what another process has written to the file since. Outside of the gate.
OMEN_MUST_CHECK omen_status shard_follow(struct shard *shard, struct omen_error *error);

// Into the gate, with everything in sight that was acknowledged before the call. On failure nobody is inside.
OMEN_MUST_CHECK static inline omen_status
shard_enter(struct shard *shard, uint32_t *ticket, struct omen_error *error)
{
    if (shard->follower != NULL) {
        const omen_status status = shard_follow(shard, error);
        if (status != OMEN_OK)
            return status;
    }
    *ticket = epoch_enter(&shard->gate);
    return OMEN_OK;
}

// ---- shard.c ----
OMEN_MUST_CHECK omen_status shard_may_write(const struct shard *shard, struct omen_error *error);
// Bytes that count against max_memory. Under `writers`.
uint64_t shard_bytes(struct shard *shard);
void shard_changed(struct shard *shard); // a new version
// Brings in one of the field indexes that are still in the file, unless somebody is at upkeep. True: there may be another.
// Outside of the gate, for which upserts wait.
bool shard_load_field(struct shard *shard);

// ---- compact.c ----
// After rows were erased, or while `compaction_due`, under `writers` and outside of the gate: compacts, or has it done, when it is time to.
void compact_when_due(struct shard *shard);
bool compact_spare(void *context); // the worker's or keeper's part: a linkers_spare_fn
// When it is time to, or will be soon, so that the file does not grow by what is deleted. What fails leaves all as it was, and
// is not tried again at once. Holding nothing.
void compact_before_checkpoint(struct shard *shard);
// Gives the slots of deleted rows back. Holding nothing.
OMEN_MUST_CHECK omen_status compact_for_room(struct shard *shard, struct omen_error *error);
// While the log is applied, with nobody linking; under `writers`. Searches may see the target, or another generation.
OMEN_MUST_CHECK omen_status compact_target(struct shard *shard, struct omen_error *error);

// ---- bulk.c ----
struct bulk_order {
    const struct linkers_watch *watch; // NULL: nobody
    omen_backend backend;
    bool again;          // rows that are linked are to be linked anew
    uint64_t memory_max; // of the host, beside the index; 0: as the index's max_memory leaves it
};
struct bulk_made {
    bool built;
    bool cancelled;       // the watch said so
    omen_backend backend; // who built
    uint32_t rows;
    uint64_t ns;
    uint64_t memory; // bytes at most
    uint32_t stage_count;
    omen_build_stage stages[OMEN_BUILD_STAGES_MAX];
    char device[256]; // that built, or was to
    // Why it came to nothing, or AUTO to the CPU; an empty text: neither did.
    struct omen_error error;
};
// Links all rows at once where so many are not linked that it is worth it, and with CUDA where any is not. OMEN_OK also where it is not
// worth it, or came to nothing and rows are linked one by one as ever, and where the watch ended it. With CUDA it is done by a GPU or an
// error, and *made says the same. A build that began by itself gives way to a GPU. Outside of the gate and of locks.
OMEN_MUST_CHECK omen_status bulk_build(struct shard *shard, const struct bulk_order *order,
                                       struct bulk_made *made);
// After rows were added, or at the end of opening, under `writers`: links them at once, or has it done, when it is time to.
void bulk_when_due(struct shard *shard);
// For so long rows that come are not linked one by one, as long as they are few enough to be looked at by every search: they wait in the
// tail for a build. bulk_hold_on does so where they are held already. From any thread.
void bulk_hold(struct shard *shard, uint64_t for_ns);
void bulk_hold_on(struct shard *shard, uint64_t for_ns);
// After rows were added, under `writers`: the same for BULK_BURST_NS, where so many came at once to a durable index that has few yet.
void bulk_burst(struct shard *shard);
#define BULK_BURST_ROWS 64u
// Rows, with those; of more a build is due later than searches should wait for.
#define BULK_BURST_OF 40964u
#define BULK_BURST_NS UINT64_C(200000000)
void bulk_let_go(struct shard *shard); // builds, or links, what was held back. Holding nothing
void bulk_look(struct shard *shard);   // the same, where the time is over
// Lets go, and has the workers build where it is worth it. False: nothing is to be waited for. *linked of *rows: how far it is.
bool bulk_ask(struct shard *shard, uint64_t *linked, uint64_t *rows);
// Before rows are read for long without being inside the gate: those that might move are made ours. Under `builds` and `writers`.
// False: no memory.
bool bulk_own_begun(struct hnsw *hnsw);
bool shard_spare(void *context); // what workers do besides linking: a linkers_spare_fn

// ---- a reader and the gate, together ----
struct visit {
    struct shard *shard;
    struct generation *generation;
    struct reader *reader;
    uint64_t replacing; // as it was when the visit began
    uint32_t ticket;
};
// On failure nothing is held. `visit_leave` gives the gate back, `visit_end` then the reader; one that may have had a filter
// ends with visit_finish (below).
OMEN_MUST_CHECK omen_status visit_begin(struct shard *shard, struct visit *visit,
                                        struct omen_error *error);
// So many rows, and each id leads to one of them, or to a later one since: what a visit counts or lists is of this moment. Of rows
// that were replaced before it those that replace them are below, and those that are replaced meanwhile stay until the visit leaves.
uint32_t visit_rows(const struct visit *visit);
void visit_leave(struct visit *visit);
void visit_end(struct visit *visit);
static inline uint32_t
visit_hint(const struct visit *visit)
{
    return (visit->ticket >> 1) * (READER_PLACES / EPOCH_STRIPES);
}

// ---- filters (shard_filter.c) ----
// The filter of a key that has one; *out is to be closed. OMEN_E_FILTER, and where; OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status filter_key_parse(const struct filter_key *key, struct filter **out,
                                             struct omen_error *error);
struct filter_view {
    struct filter_key key;
    uint64_t deadline_ns; // of a search: for looking into payloads; 0: none
    struct filter_answer answer;
    bool fresh; // computed now: worth keeping
    bool cut;   // the deadline came, rows are missing
};
// Which rows does the filter of `key` (form, bytes, count) let through? In the cache's memory or the reader's.
OMEN_MUST_CHECK omen_status filter_view_make(struct visit *visit, struct filter_view *view,
                                             struct omen_error *error);
// The same without the cache: the answer is in the reader's memory until visit_end.
OMEN_MUST_CHECK omen_status filter_view_compute(struct visit *visit, struct filter_view *view,
                                                struct omen_error *error);
// As many of the visit's rows as the view's filter was asked of.
static inline uint32_t
view_rows(const struct filter_view *view, uint32_t rows)
{
    const bool fewer = view->key.form != FILTER_FORM_NONE && view->answer.allowed.count < rows;
    return fewer ? view->answer.allowed.count : rows;
}
// Gives the gate back, keeps for others what `view` computed in this visit (NULL: nothing), and gives the reader back.
void visit_finish(struct visit *visit, const struct filter_view *view);

// ---- points (shard_points.c) ----
struct points_config shard_points_config(const struct shard *shard, int with, size_t room);
// What `slot` holds, borrowed until the reader leaves the gate; not found when it was erased.
struct point shard_point_at(const struct generation *generation, int with, uint32_t slot);
// Is this row shown among the first `rows`? While an upsert exchanges rows, the one that its id leads to; unless that is beyond
// them.
bool shard_is_shown(const struct generation *generation, uint32_t slot, uint32_t rows);
struct shard_count {
    uint64_t count;
    bool scanned; // payloads were looked at for the filter
};
OMEN_MUST_CHECK omen_status shard_count_by(struct shard *shard, const struct filter_key *key,
                                           struct shard_count *out, struct omen_error *error);

// ---- searching (shard_read.c) ----
struct search {
    const omen_query_options *options;
    uint32_t k;
    uint32_t beam;
    double target; // 0: by beam
    uint64_t deadline_ns;
    struct filter_view view; // key.form FILTER_FORM_NONE: no filter
    struct hnsw_work work;
    uint32_t warnings;
};
// Checks options and prepares everything but the filter. Outside of the gate: it may calibrate.
OMEN_MUST_CHECK omen_status search_init(struct shard *shard, const omen_query_options *options,
                                        struct search *search, struct omen_error *error);
// The same for what no GPU does: where one is asked for, OMEN_E_UNSUPPORTED.
OMEN_MUST_CHECK omen_status search_init_here(struct shard *shard, const omen_query_options *options,
                                             struct search *search, struct omen_error *error);
// Which rows may be hits; without a filter there is nothing to do.
OMEN_MUST_CHECK omen_status search_filter(struct visit *visit, struct search *search,
                                          struct omen_error *error);
// A query vector as f32.
OMEN_MUST_CHECK omen_status search_vector(struct visit *visit, const struct search *search,
                                          const void *vector, const float **out,
                                          struct omen_error *error);
// Hits in visit->reader->hits, each id once.
struct search_query {
    const float *vector;
    uint32_t k;
    uint32_t excluded; // or HNSW_NONE
    bool exact;
    // NULL, or what was compared already, in this visit.
    const struct hnsw_given *given;
};
OMEN_MUST_CHECK omen_status search_run(struct visit *visit, struct search *search,
                                       const struct search_query *query, uint32_t *found,
                                       struct omen_error *error);
void search_report(const struct search *search, omen_query_report *report); // report may be NULL
// Asks options->stop, at most ten times a second; *asked_ns is when it was asked last.
bool search_stopped(const omen_query_options *options, uint64_t *asked_ns);
OMEN_MUST_CHECK omen_status search_cancelled(struct omen_error *error);
// Of two hits with one id the older leaves; room for places is there. Returns how many stay.
uint32_t search_drop_older(struct visit *visit, uint32_t found);
// The first `found` hits to the answer's k places.
void search_answer_fill(const struct visit *visit, uint32_t found, uint32_t k,
                        const struct answer *answer);
// One query from its vector to its answer; given: NULL, or what was compared already, in this visit.
OMEN_MUST_CHECK omen_status search_answer(struct visit *visit, struct search *search,
                                          const void *vector, const struct hnsw_given *given,
                                          const struct answer *answer, struct omen_error *error);

// ---- searching on a GPU (shard_device.c) ----
struct device_queries {
    const struct queries *queries;
    const struct answers *answers;
    size_t stride; // bytes from query to query
};
// OMEN_E_UNSUPPORTED, and why, where there is none or it cannot.
OMEN_MUST_CHECK omen_status shard_query_device(struct shard *shard,
                                               const struct device_queries *asked,
                                               struct search *search, struct omen_error *error);
void shard_device_close(struct shard *shard); // nobody searches

// ---- recall (shard_recall.c) ----
void tuning_init(struct tuning *tuning);
void tuning_fini(struct tuning *tuning);
size_t tuning_bytes(struct shard *shard);
// Measures when it is time to and `deadline_ns` (0: none) leaves it; never waits for another that does.
void tuning_refresh(struct shard *shard, uint64_t deadline_ns);
// Sets beam and stop for the target; false when there was nothing to go by and they are on the safe side. In the gate.
bool tuning_apply(struct shard *shard, double target, struct hnsw_query *query);
void tuning_note(struct shard *shard, struct reader *reader, const float *vector);

#endif
