// base/os_timer.h -- one thread that does something as often as it says itself, and at once when it is asked to.
//
// Shape:   handle; a shell. For upkeep that must happen although nobody calls.
// Threads: timer_wake from anywhere; timer_open and timer_close from the owner.
#ifndef OMEN_BASE_OS_TIMER_H
#define OMEN_BASE_OS_TIMER_H
#include <stdint.h>

#include "base/status.h"

struct timer; // opaque

// In how many ms it is called again, if nobody wakes it before. 0: at once, there is more to do; TIMER_RESTS: when it is woken.
typedef uint32_t (*timer_fn)(void *context);
#define TIMER_RESTS UINT32_MAX

// Calls fn(context) on a thread of its own, the first time at once. OMEN_E_NO_MEMORY, also when the system refuses the thread.
OMEN_MUST_CHECK omen_status timer_open(timer_fn fn, void *context, struct timer **out);
// Waits for the call in progress; afterwards nothing touches `context`. Accepts NULL.
void timer_close(struct timer *timer);
// It is called once more behind this, soon.
void timer_wake(struct timer *timer);

#endif
