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
//
// epoch_retire goes through the same steps without sleeping: every call of the gate's writers takes the steps that
// can be taken. What is retired while a period is under way waits for the next one, because that period may have
// looked at a counter before the new version was stored.
#include "base/epoch.h"

#include "base/assert.h"
#include "base/os_wait.h"

#define SPINS_MAX 64 // a search that is nearly done is not worth a system call

static uint32_t stripe_of_thread(void);
static bool parity_is_empty(struct epoch *epoch, uint32_t parity);
static void flip_parity(struct epoch *epoch);
static void end_retired(struct epoch *epoch, uint32_t count);
static void reclaim(struct epoch *epoch);
static void wait_for_period(struct epoch *epoch);
static void wait_for_parity(struct epoch *epoch, uint32_t parity);
static void wait_for_counter(struct epoch *epoch, _Atomic uint32_t *counter);

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
    epoch->retired_count = 0;
    epoch->leaving = 0;
    epoch->flipped = 0;
}

void
epoch_fini(struct epoch *epoch)
{
    for (uint32_t i = 0; i < EPOCH_STRIPES; i++) {
        ASSERT(atomic_load(&epoch->stripes[i].inside[0]) == 0);
        ASSERT(atomic_load(&epoch->stripes[i].inside[1]) == 0);
    }
    end_retired(epoch, epoch->retired_count);
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
    const uint32_t before = atomic_fetch_sub_explicit(counter, 1, memory_order_acq_rel);
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
    wait_for_period(epoch);
    lock_release(&epoch->writers);
}

void
epoch_retire(struct epoch *epoch, void *memory, void (*end)(void *memory))
{
    lock_acquire(&epoch->writers);
    if (epoch->retired_count == EPOCH_RETIRED_MAX)
        reclaim(epoch);
    if (epoch->retired_count == EPOCH_RETIRED_MAX)
        wait_for_period(epoch);
    epoch->retired[epoch->retired_count++] = (struct epoch_retired){.memory = memory, .end = end};
    reclaim(epoch);
    lock_release(&epoch->writers);
}

bool
epoch_try_retire(struct epoch *epoch, void *memory, void (*end)(void *memory))
{
    if (!lock_try(&epoch->writers))
        return false;
    reclaim(epoch);
    const bool room = epoch->retired_count < EPOCH_RETIRED_MAX;
    if (room)
        epoch->retired[epoch->retired_count++] =
            (struct epoch_retired){.memory = memory, .end = end};
    reclaim(epoch);
    lock_release(&epoch->writers);
    return room;
}

void
epoch_reclaim(struct epoch *epoch)
{
    lock_acquire(&epoch->writers);
    reclaim(epoch);
    lock_release(&epoch->writers);
}

// A whole grace period, after which everything retired so far may end.
static void
wait_for_period(struct epoch *epoch)
{
    const uint32_t parity = atomic_load_explicit(&epoch->parity, memory_order_relaxed);
    wait_for_parity(epoch, parity ^ 1);
    flip_parity(epoch);
    wait_for_parity(epoch, parity);
    end_retired(epoch, epoch->retired_count);
}

// Two periods at most: the one under way, and one for what was retired meanwhile.
static void
reclaim(struct epoch *epoch)
{
    while (epoch->retired_count > 0) {
        if (epoch->leaving == 0)
            epoch->leaving = epoch->retired_count;
        const uint32_t parity = atomic_load_explicit(&epoch->parity, memory_order_relaxed);
        if (!parity_is_empty(epoch, parity ^ 1))
            return;
        if (epoch->flipped == 0) {
            flip_parity(epoch);
            epoch->flipped = 1;
            continue;
        }
        end_retired(epoch, epoch->leaving);
    }
}

// Ends the first `count`; the period that was under way, if any, is over.
static void
end_retired(struct epoch *epoch, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        epoch->retired[i].end(epoch->retired[i].memory);
    for (uint32_t i = count; i < epoch->retired_count; i++)
        epoch->retired[i - count] = epoch->retired[i];
    epoch->retired_count -= count;
    epoch->leaving = 0;
    epoch->flipped = 0;
}

static void
flip_parity(struct epoch *epoch)
{
    const uint32_t parity = atomic_load_explicit(&epoch->parity, memory_order_relaxed);
    atomic_store_explicit(&epoch->parity, parity ^ 1, memory_order_release);
}

static bool
parity_is_empty(struct epoch *epoch, uint32_t parity)
{
    for (uint32_t i = 0; i < EPOCH_STRIPES; i++)
        if (atomic_fetch_add_explicit(&epoch->stripes[i].inside[parity], 0, memory_order_acq_rel) !=
            0)
            return false;
    return true;
}

// Threads are numbered as they come, so that the first EPOCH_STRIPES of them share nothing. The initial-exec
// model makes the number one load away even inside the shared library (its 4 bytes fit what the loader keeps
// spare for libraries opened late).
static uint32_t
stripe_of_thread(void)
{
    static _Atomic uint32_t threads_seen;
    static _Thread_local uint32_t __attribute__((tls_model("initial-exec")))
    number; // 0: not drawn yet
    if (number == 0)
        number =
            1 + atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) % EPOCH_STRIPES;
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
