// base/epoch.c -- a gate that tells a writer when every reader of the old version has left.
//
// Shape: handle in the caller's memory.
//
// Sleepable RCU's two-parity counters (McKenney 2006, "Sleepable Read-Copy Update"), with one counter per
// thread stripe and parity instead of one per processor. A reader counts itself in under the current parity.
// The writer waits for the other parity's stragglers, flips the parity, and waits for those of the old one.
//
// Why two waits: a reader may read the parity, be suspended, and count itself in only after a flip, under the
// parity that is now the other one. One wait would not look there.
// Why it is enough: the writer looks at a counter by adding zero to it. Either that comes after a reader's
// increment, and the writer sees the reader; or before it, and then the reader's increment reads from the
// writer's addition, so it sees all that the writer stored before (the new pointer) and is of no concern.
// Why it ends: while the writer waits for one parity, new readers use the other.
#include "base/epoch.h"

#include "base/assert.h"
#include "base/os_wait.h"

#define SPINS_MAX 64  // a search that is nearly done is not worth a system call

static uint32_t stripe_of_thread(void);
static void     wait_for_parity(struct epoch *epoch, uint32_t parity);
static void     wait_for_counter(struct epoch *epoch, _Atomic uint32_t *counter);

void
epoch_init(struct epoch *epoch)
{
    for (uint32_t i = 0; i < EPOCH_STRIPES; i++) {
        atomic_init(&epoch->stripes[i].inside[0], 0);
        atomic_init(&epoch->stripes[i].inside[1], 0);
    }
    atomic_init(&epoch->parity, 0);
    atomic_init(&epoch->waiting, 0);
    lock_init(&epoch->writers);
}

void
epoch_fini(struct epoch *epoch)
{
    for (uint32_t i = 0; i < EPOCH_STRIPES; i++) {
        ASSERT(atomic_load(&epoch->stripes[i].inside[0]) == 0);
        ASSERT(atomic_load(&epoch->stripes[i].inside[1]) == 0);
    }
    lock_fini(&epoch->writers);
}

uint32_t
epoch_enter(struct epoch *epoch)
{
    const uint32_t stripe = stripe_of_thread();
    const uint32_t parity = atomic_load_explicit(&epoch->parity, memory_order_acquire);
    atomic_fetch_add_explicit(&epoch->stripes[stripe].inside[parity], 1, memory_order_acq_rel);
    return stripe << 1 | parity;
}

void
epoch_leave(struct epoch *epoch, uint32_t ticket)
{
    ASSERT(ticket >> 1 < EPOCH_STRIPES);
    _Atomic uint32_t *counter = &epoch->stripes[ticket >> 1].inside[ticket & 1];
    const uint32_t    before = atomic_fetch_sub_explicit(counter, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    // The writer sets `waiting` and then adds zero to the counter. If that addition saw this reader, it came
    // before the subtraction, which therefore sees `waiting` set; so the writer is never left asleep.
    if (before == 1 && atomic_load_explicit(&epoch->waiting, memory_order_acquire) != 0) {
        atomic_store_explicit(&epoch->waiting, 0, memory_order_release);
        os_wake_all(&epoch->waiting);
    }
}

void
epoch_wait(struct epoch *epoch)
{
    lock_acquire(&epoch->writers);
    const uint32_t parity = atomic_load_explicit(&epoch->parity, memory_order_relaxed);
    wait_for_parity(epoch, parity ^ 1);
    atomic_store_explicit(&epoch->parity, parity ^ 1, memory_order_release);
    wait_for_parity(epoch, parity);
    lock_release(&epoch->writers);
}

// Threads are numbered as they come, so that the first EPOCH_STRIPES of them share nothing. The initial-exec
// model makes the number one load away even inside the shared library (its 4 bytes fit what the loader keeps
// spare for libraries opened late).
static uint32_t
stripe_of_thread(void)
{
    static _Atomic uint32_t                                                   threads_seen;
    static _Thread_local uint32_t __attribute__((tls_model("initial-exec"))) number;  // 0: not drawn yet
    if (number == 0)
        number = 1 + atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) % EPOCH_STRIPES;
    return number - 1;
}

static void
wait_for_parity(struct epoch *epoch, uint32_t parity)
{
    for (uint32_t i = 0; i < EPOCH_STRIPES; i++)
        wait_for_counter(epoch, &epoch->stripes[i].inside[parity]);
}

static void
wait_for_counter(struct epoch *epoch, _Atomic uint32_t *counter)
{
    for (int i = 0; i < SPINS_MAX; i++) {
        if (atomic_fetch_add_explicit(counter, 0, memory_order_acq_rel) == 0)
            return;
    }
    for (;;) {
        atomic_store_explicit(&epoch->waiting, 1, memory_order_release);
        if (atomic_fetch_add_explicit(counter, 0, memory_order_acq_rel) == 0)
            break;
        os_wait(&epoch->waiting, 1);
    }
    atomic_store_explicit(&epoch->waiting, 0, memory_order_relaxed);
}
