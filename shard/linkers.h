// shard/linkers.h -- the workers that link published rows into the graph and repair around erased ones.
//
// Shape:   handle in the shard's memory (_init/_fini).
// Threads: linkers_step and linkers_drain from anywhere; the rest under the shard's write lock.
//
// With one linking thread there is none: the writer links what it wrote before its call returns, so that the same
// calls give the same graph and the same answers. Otherwise workers start when a graph is there to be made.
#ifndef OMEN_SHARD_LINKERS_H
#define OMEN_SHARD_LINKERS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/pool.h"
#include "base/status.h"
#include "index/hnsw.h"

// Other work for a worker, which it does before it links on, outside of a step; false when there is none.
typedef bool (*linkers_spare_fn)(void *context);

struct linkers {
    _Atomic(struct hnsw *) hnsw;    // borrowed; changed while paused
    _Atomic uint32_t exchanges;     // of hnsw
    _Atomic uint32_t paused;        // how many want it so
    _Atomic uint32_t barred;        // drainers that met a pause and had no step since
    _Atomic uint32_t active;        // threads inside a step
    _Atomic uint32_t waiting;       // threads that wait for `active` to change
    _Atomic uint64_t held_until_ns; // by os_clock_ns; 0: nothing is held back
    _Atomic uint32_t held_rows;     // and no more than so many
    _Atomic uint32_t drains;        // who wait for all to be linked: nothing is held back from them
    uint32_t threads;               // as asked for; 1: the writer links
    uint32_t beam;                  // of building
    linkers_spare_fn spare;         // or NULL
    void *spare_context;
    _Atomic(struct pool *) pool;            // NULL until needed
    struct scratch *scratches[THREADS_MAX]; // of workers; [0] is the writer's when it links
};

void linkers_init(struct linkers *linkers, struct hnsw *hnsw, uint32_t threads, uint32_t beam);
void linkers_spare(struct linkers *linkers, linkers_spare_fn spare,
                   void *context); // before they start
bool linkers_have_workers(const struct linkers *linkers);
void linkers_fini(struct linkers *linkers); // ends the workers; rows left are left

// Starts the workers if there is work to be; everything that can fail for lack of memory.
OMEN_MUST_CHECK omen_status linkers_reserve(struct linkers *linkers);
// Until then rows are not linked as long as fewer than `rows` wait for it: all of them will be at once. What was erased is repaired
// none the less, and so it is while somebody drains. Whoever ends it (until_ns 0, or what it comes to by then) wakes the workers. From any
// thread.
void linkers_hold(struct linkers *linkers, uint64_t until_ns, uint32_t rows);
bool linkers_held(const struct linkers *linkers, const struct hnsw *hnsw);
// After a write: wakes the workers, or does their work when there are none to be.
void linkers_wake(struct linkers *linkers);

enum linkers_did { LINKERS_DID, LINKERS_IDLE, LINKERS_PAUSED, LINKERS_NO_MEMORY };
// One unit of work on the caller's thread.
enum linkers_did linkers_step(struct linkers *linkers, struct scratch *scratch);

// Helps until nothing is left and nobody works; or, where others write on or compact meanwhile, until what was there at the call
// is linked. `progress` (may be NULL) is called now and then; non-zero ends the
// wait with OMEN_E_CANCELLED. OMEN_E_NO_MEMORY when rows stay unlinked for lack of it.
struct linkers_watch {
    int (*progress)(void *context, uint64_t linked, uint64_t total);
    void *context;
};
OMEN_MUST_CHECK omen_status linkers_drain(struct linkers *linkers,
                                          const struct linkers_watch *watch,
                                          struct scratch *scratch);

// From pause to resume nobody is inside a step. Drainers that the last one kept out have a step before the next. The calls take turns; another may pause and resume between the two.
void linkers_pause(struct linkers *linkers);
void linkers_resume(struct linkers *linkers, struct hnsw *hnsw);
// Returns when every step that was under way at the call has ended. In turn with those two.
void linkers_wait(struct linkers *linkers);
size_t linkers_bytes(const struct linkers *linkers); // of scratch memory; between the two

#endif
