// index/hnsw.h -- approximate nearest neighbours over the vectors of one shard.
//
// Shape:   handle, in memory; knows no disk, socket, clock or user id. Callers speak in slots.
// Threads: appends, publishes and erases take turns (the caller holds its write lock). hnsw_link_next and
//          hnsw_repair_next may run on any number of threads beside them. Searches run on any number of
//          threads beside all of these, take no lock and never wait for a writer.
// Memory:  hnsw_reserve makes the room; after it hnsw_append, publish and linking cannot fail.
// Units:   distances are in the metric's own scale, smaller is nearer (index/metric.h).
//
// A row's life: appended (its bytes are there) -> published (searches scan it, exactly) -> linked (searches
// reach it by the graph) -> erased (never answered again; still walked through) -> repaired (nothing needs it).
// Rows published but not linked are the tail. Below HNSW_FOUND_ROWS rows there is no graph at all: everything
// is tail. When that many are published the code can be founded, which the first linker does: its mean,
// rotation and kind are fixed from the rows there, and linking begins. Slots are given in order and never used twice.
#ifndef OMEN_INDEX_HNSW_H
#define OMEN_INDEX_HNSW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/image.h"
#include "base/status.h"
#include "index/metric.h"

#define HNSW_FOUND_ROWS 1024u
#define HNSW_NONE UINT32_MAX // no slot

struct hnsw;    // opaque
struct scratch; // one per worker thread: visited set, pool, buffers (index/scratch.h)

enum hnsw_quantization { HNSW_QUANTIZE_INT8, HNSW_QUANTIZE_NONE };

struct hnsw_config {
    uint32_t dim;        // components per vector, 1..VECTOR_DIM_MAX
    uint32_t slots_max;  // 1..SLOTS_MAX
    uint16_t links;      // the paper's M, 2..LINKS_PER_NODE_MAX; a node keeps at most twice as many
    uint16_t build_beam; // the paper's efConstruction, 8..BEAM_MAX
    enum metric metric;
    enum vector_type type; // of the rows as stored
    enum hnsw_quantization quantization;
    bool flat;     // no code and no graph, ever: every search is exact
    uint64_t seed; // same seed, same calls, one linking thread: the same graph
};

enum hnsw_strategy {
    HNSW_WALKED = 0,
    HNSW_WALKED_FILTERED = 1,
    HNSW_SCANNED = 2
}; // as in omen_query_report

// What a search did; added to, never reset, by hnsw_search.
struct hnsw_work {
    uint64_t evaluations;     // distances on codes, of which some were told by their first bytes
    uint64_t exact_distances; // distances on rows
    uint64_t hops;            // nodes expanded
    uint64_t tail;            // tail rows scanned
    uint64_t rerank_misses;   // searches whose list ended before its codes were sure of the k-th
    bool cut;                 // the deadline ended it early
    uint32_t strategy;        // of the last search: enum hnsw_strategy
};

// Rows that were compared with a query already: of [from, end) those that may answer (index/many.h). What was linked then lies below
// tail_from.
struct hnsw_given {
    uint32_t tail_from, from, end;
    const struct hit *hits; // the k nearest of them, in any order
    uint32_t count;
    uint64_t compared; // rows
};

struct hnsw_query {
    const float *vector; // dim components as the user gave them, borrowed for the call
    uint32_t k;          // 1..TOPK_MAX
    // The paper's ef: how many of the nearest have their links followed; 0: k. Below k it is not raised: a quick search
    // still finds k, not the best k.
    uint32_t beam;
    uint32_t rerank; // candidates compared exactly; 0: chosen from k
    float stop; // 0: by beam alone; else leave when the next candidate is farther than this times
        // the k-th, or the 10th for a smaller k (squared distances on codes); below 1: sooner
    // Borrowed; NULL means every live slot may answer. How to walk is chosen from allowed_count: scan the few,
    // two hops in the middle, plain when most pass.
    const struct bitmap *allowed;
    uint32_t allowed_count; // bits set in `allowed`
    uint32_t excluded; // a slot that is treated as if it were not there, or HNSW_NONE; so a row of
                       // the index can serve as a query that the index does not know
    bool every_code;   // compare all codes and walk nowhere: next to exact, at a fraction of a
                       // scan's bytes
    uint64_t deadline_ns; // of os_clock_ns(); 0: none
    // NULL, or of the same k: of hnsw_scan, or of hnsw_search without a filter.
    const struct hnsw_given *given;
    struct hnsw_work *work; // may be NULL
};

// On success the caller owns *out and ends it with hnsw_close. On failure *out is NULL.
OMEN_MUST_CHECK omen_status hnsw_open(const struct hnsw_config *config, struct hnsw **out);
void hnsw_close(struct hnsw *hnsw); // accepts NULL; nobody may be inside

// Makes room for `count` slots in all. OMEN_E_FULL past slots_max, OMEN_E_NO_MEMORY; then nothing changed.
OMEN_MUST_CHECK omen_status hnsw_reserve(struct hnsw *hnsw, uint32_t count);
// The same, and rows that are not linked soon cost no memory for links before they are.
OMEN_MUST_CHECK omen_status hnsw_expect(struct hnsw *hnsw, uint32_t count);
// Makes the memory of reserved slots [from, to) that hnsw_append will write to, beside it. Any thread.
void hnsw_populate(const struct hnsw *hnsw, uint32_t from, uint32_t to);

// Copies `count` rows (config.type, `stride` bytes apart) into the next slots and gives the first one's number.
// The rows are not visible before hnsw_publish. Room must be reserved; rows must be valid (finite, and not zero
// under cosine).
uint32_t hnsw_append(struct hnsw *hnsw, const void *rows, size_t stride, uint32_t count);

// Lets searches see every appended row.
void hnsw_publish(struct hnsw *hnsw);

// The stored row of a slot below hnsw_count; stays where it is until hnsw_close.
const void *hnsw_row(const struct hnsw *hnsw, uint32_t slot);

// Erases a published slot: no search that begins later answers it. False when it was erased already.
bool hnsw_erase(struct hnsw *hnsw, uint32_t slot);
bool hnsw_erased(const struct hnsw *hnsw, uint32_t slot);
uint64_t hnsw_erased_word(const struct hnsw *hnsw,
                          uint32_t word); // of 64 slots that room was reserved for

// Links the next published row; false when there is none (nothing founded, or no tail).
bool hnsw_link_next(struct hnsw *hnsw, struct scratch *scratch);
// Takes the next erased row's links over to its neighbours or, when there is none, gives links to rows that no walk
// reaches (now and then, as the index changes); false when nothing is to be done.
bool hnsw_repair_next(struct hnsw *hnsw, struct scratch *scratch);
// Nothing is left for hnsw_link_next and hnsw_repair_next. (A unit that is in a worker's hands may be counted as done.)
bool hnsw_idle(const struct hnsw *hnsw);

uint32_t hnsw_count(const struct hnsw *hnsw); // published slots, erased ones too
uint32_t hnsw_live(const struct hnsw *hnsw);  // published and not erased
uint32_t
hnsw_tail(const struct hnsw *hnsw); // published, not linked yet, whether claimed by a linker or not
uint32_t hnsw_tail_uncoded(const struct hnsw *hnsw); // of it what is compared by rows
uint32_t hnsw_linked(const struct hnsw *hnsw);       // every row below it is linked
bool hnsw_founded(const struct hnsw *hnsw); // enough rows are or were there: linking is possible

// Writes at most query->k hits, nearest first, equal distances by smaller slot; returns how many.
uint32_t hnsw_search(const struct hnsw *hnsw, const struct hnsw_query *query,
                     struct scratch *scratch, struct hit *hits);
// The same by comparing every live (and allowed) row exactly; ignores beam, rerank and stop.
uint32_t hnsw_scan(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
                   struct hit *hits);
// Exact distance from a query vector to one row.
float hnsw_distance(const struct hnsw *hnsw, const float *vector, uint32_t slot);

// Scratch memory grows with the index by itself; one may serve many indexes in turn.
OMEN_MUST_CHECK omen_status scratch_open(struct scratch **out);
void scratch_close(struct scratch *scratch); // accepts NULL
// Makes it large enough for searches of `hnsw` as it is now with this k and beam; called by whoever can still
// report OMEN_E_NO_MEMORY. hnsw_search and hnsw_scan call it themselves and abort when it fails; linking and repair
// do nothing then.
OMEN_MUST_CHECK omen_status scratch_fit(struct scratch *scratch, const struct hnsw *hnsw,
                                        uint32_t k, uint32_t beam);
size_t scratch_bytes(const struct scratch *scratch);

// Copies what lives into a new index whose slot i is the i-th live slot of `hnsw`, links kept: a new numbering. The
// code's mean is taken anew where it drifted. Nobody may append, erase, link or repair meanwhile; searches go on.
OMEN_MUST_CHECK omen_status hnsw_compact(const struct hnsw *hnsw, struct scratch *scratch,
                                         struct hnsw **out);

// ---- saved and loaded (docs/internals/storage.md) ----
// One save at a time. It is begun under the caller's write lock, which fixes what it is a picture of: the published rows,
// those of them that are linked, those that are erased. The rest goes on beside appends, erases, links, repairs
// and searches. Between the arrays and the head whoever keeps the pieces may commit as it likes; only both together are an
// index.
struct hnsw_save; // opaque
enum hnsw_saved {
    HNSW_SAVED,
    HNSW_NOT_SAVED, // all that is ours will be put again
};

OMEN_MUST_CHECK omen_status hnsw_save_begin(struct hnsw *hnsw, struct hnsw_save **out);
// The same for less: what only grows, and the links only now and then. Whoever loads it has the rows that were linked since
// the last time in the tail, and is soon done with linking them.
OMEN_MUST_CHECK omen_status hnsw_save_begin_grown(struct hnsw *hnsw, struct hnsw_save **out);
// The links that were saved last are not all that there were to save: such a save left some out, or all were made anew since.
bool hnsw_links_behind(const struct hnsw *hnsw);
uint32_t hnsw_save_rows(const struct hnsw_save *save);   // rows below it are in it
uint32_t hnsw_save_linked(const struct hnsw_save *save); // and linked; the others are the tail
const uint64_t *
hnsw_save_erased(const struct hnsw_save *save); // a bit each of those rows; until hnsw_save_close
// Puts the pieces that changed since the last save, and then the arrays that make sense whole.
OMEN_MUST_CHECK omen_status hnsw_save_arrays(struct hnsw_save *save, const struct image_sink *sink);
OMEN_MUST_CHECK omen_status hnsw_save_head(struct hnsw_save *save, const struct image_sink *sink);
void hnsw_save_close(struct hnsw_save *save, enum hnsw_saved saved); // accepts NULL
// The next save puts everything: it goes elsewhere than the last. Not during a save.
void hnsw_touch_all(struct hnsw *hnsw);

// Takes about as long for many rows as for few. Pieces are searched where the source has them, and it stays until
// hnsw_close. OMEN_E_CORRUPT: a piece is missing or short, the head is damaged or of another configuration (dim,
// metric, type, quantization, flat, links, seed, or another width of links); OMEN_E_VERSION; OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status hnsw_load(const struct hnsw_config *config,
                                      const struct image_source *source, struct hnsw **out);
// Copies one more piece of links or codes to huge pages of ours; false when none is left, or no memory. Any thread.
bool hnsw_promote_next(struct hnsw *hnsw);
// Has links and codes fetched from the disk in large reads, for who does not promote them. Any thread.
void hnsw_will_need(struct hnsw *hnsw);
// Lets rows that were saved be read from the source, in turn with saves; returns how many pieces. When nobody who began
// before it is inside any more, hnsw_settled_release gives their memory back; pointers from hnsw_row end then.
uint32_t hnsw_settle(struct hnsw *hnsw, const struct image_source *source);
void hnsw_settled_release(struct hnsw *hnsw);

struct hnsw_memory {
    size_t links, codes, rows, other; // bytes that are ours
    size_t mapped;                    // bytes of pieces that lie where they were loaded from
};
void hnsw_memory(const struct hnsw *hnsw, struct hnsw_memory *memory);
const char *hnsw_code_name(const struct hnsw *hnsw); // "nibble+byte", "exact", "none"; static
float hnsw_drift(const struct hnsw *hnsw); // |mean of the rows now - mean of the code|^2 / variance
double hnsw_links_mean(const struct hnsw *hnsw);

// Checks every invariant in O(links) while nobody writes. On failure returns OMEN_E_CORRUPT and describes the
// first broken one in `text`. *unreached counts live linked nodes that links do not lead to from the first entry.
OMEN_MUST_CHECK omen_status hnsw_check(const struct hnsw *hnsw, uint32_t *unreached, char *text,
                                       size_t capacity);

#endif
