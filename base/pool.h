// base/pool.h -- SEAM: threads that do work which comes in units.
//
// Shape:   handle. pool_os.c is the real half (operating-system threads); the simulator links its own.
// Threads: pool_wake from anywhere; pool_open and pool_close from the owner.
//
// The pool holds no queue. What there is to do is known to the owner's data (rows not linked yet, say), and
// the work function takes the next unit from there. So nothing is allocated per unit, and a crash of the
// bookkeeping cannot lose work: it is found again by looking.
#ifndef OMEN_BASE_POOL_H
#define OMEN_BASE_POOL_H
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct pool; // opaque

// Does one unit of work and returns true, or returns false when there was nothing to do. Runs on several
// workers at once; `worker` is 0..threads-1 and tells them apart (for scratch memory). It may call pool_wake,
// never pool_close.
typedef bool (*pool_work_fn)(void *context, uint32_t worker);

// Starts `threads` (1..THREADS_MAX) workers, which begin by looking for work. On success the caller owns *out
// and ends it with pool_close. OMEN_E_NO_MEMORY, also when the system refuses a thread, leaves *out NULL.
OMEN_MUST_CHECK omen_status pool_open(uint32_t threads, pool_work_fn work, void *context,
                                      struct pool **out);

// Every worker finishes the unit in its hand and ends; work that is left is left. Accepts NULL. When it
// returns, no worker touches `context` any more.
void pool_close(struct pool *pool);

// Tells sleeping workers that there may be work. Call it after the work is visible in the owner's data: then
// some worker looks at it later than that, always. Costs one atomic exchange while nobody sleeps.
void pool_wake(struct pool *pool);

uint32_t pool_threads(const struct pool *pool);

struct pool_stats {
    uint64_t looks,
        looks_found; // workers looked out for what is shared next; that brought something
};

void pool_stats(const struct pool *pool, struct pool_stats *out);

// Calls fn(context, index, worker) once for every index in [0, count), on `threads` threads of which the
// caller is worker 0, and returns when all have returned. Indexes are handed out in order. With one thread or
// one index, or when the system refuses threads, the caller does it alone: it always succeeds.
void pool_run(uint32_t threads, uint32_t count,
              void (*fn)(void *context, uint32_t index, uint32_t worker), void *context);

// The same for work that takes seconds beside searches that take microseconds: the threads that are started are lowered
// (os_thread_lower by OS_THREAD_BEHIND), so that where there are more threads than processors those who wait for one wait for less.
void pool_run_behind(uint32_t threads, uint32_t count,
                     void (*fn)(void *context, uint32_t index, uint32_t worker), void *context);

// Calls fn(context) again and again until it returns false, and has up to `most` - 1 workers of the pool do so too, at the same time,
// that find nothing else to do; returns when none is in it any more. fn does a piece of what there is to do, which it takes out of
// `context`, and returns false when nothing is left. A worker looks for other work between two pieces, and one that comes late finds
// nothing left. For what is worth several threads: none is started, and none is kept from other work for longer than a piece takes.
// Where one thing is shared after the other, a worker looks out for the next one for a moment before it sleeps (base/spin.h).
// From a worker of the pool or from elsewhere; not while it is closed.
void pool_share(struct pool *pool, uint32_t most, bool (*fn)(void *context), void *context);

#endif
