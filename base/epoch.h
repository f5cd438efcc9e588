// base/epoch.h -- a gate that tells a writer when every reader of the old version has left.
//
// Shape:   handle in the caller's memory (_init/_fini).
// Threads: epoch_enter and epoch_leave never block and never wait for anybody; epoch_wait calls take turns.
//
// Use: a reader enters, loads the shared pointer, uses what it points to, leaves. A writer stores the new
// pointer, calls epoch_wait, then frees the old version. A reader may stay as long as it likes; it may enter
// on one thread and leave on another. It must not call epoch_wait while it is inside: that would wait for
// itself.
// A writer that does not want to wait hands the old version to epoch_retire instead.
#ifndef OMEN_BASE_EPOCH_H
#define OMEN_BASE_EPOCH_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/os_lock.h"

// Old versions that wait for their readers; one more makes the writer wait
#define EPOCH_RETIRED_MAX 32u
#define EPOCH_STRIPES 32u // threads beyond that share counters, which costs speed only

// One thread's readers, by parity. The padding keeps two threads' counters two cache lines apart (the
// prefetcher fetches pairs), wherever the struct itself begins.
struct epoch_stripe {
    _Atomic uint32_t inside[2];
    uint32_t padding[30];
};

// An old version, and how it ends.
struct epoch_retired {
    void *memory;
    void (*end)(void *memory);
};

struct epoch {
    struct epoch_stripe stripes[EPOCH_STRIPES];
    _Atomic uint32_t parity;  // which of the counters new readers use; only a writer changes it
    _Atomic uint32_t waiting; // 1: a writer sleeps until a counter reaches zero
    struct lock writers;
    // Under `writers`. The first `leaving` of the retired are what the grace period under way is for.
    uint32_t retired_count;
    uint32_t leaving;
    uint32_t flipped; // 1: that period has flipped the parity and waits for the old one's readers
    struct epoch_retired retired[EPOCH_RETIRED_MAX];
};

void epoch_init(struct epoch *epoch);
// Nobody may be inside, and no call may be in progress.
void epoch_fini(struct epoch *epoch);

// Returns the ticket for epoch_leave.
uint32_t epoch_enter(struct epoch *epoch);
void epoch_leave(struct epoch *epoch, uint32_t ticket);

// Returns when every reader that was inside at the call has left. Readers that enter meanwhile are not waited
// for: they see whatever the writer stored before the call.
void epoch_wait(struct epoch *epoch);

// Calls end(memory) when every reader that is inside now has left: in this call, or in a later call of
// epoch_retire, epoch_reclaim, epoch_wait or epoch_fini. Waits only when EPOCH_RETIRED_MAX others wait already,
// so whoever calls must not be inside. `end` must not call into the gate.
void epoch_retire(struct epoch *epoch, void *memory, void (*end)(void *memory));
// The same for those who must not wait, a reader that has left among them: false when it would have to, and then
// nothing was done.
bool epoch_try_retire(struct epoch *epoch, void *memory, void (*end)(void *memory));
// Ends what no reader holds any more; never waits for a reader.
void epoch_reclaim(struct epoch *epoch);

#endif
