// base/os_timer.h -- one thread that does something every so often, and at once when it is asked to.
//
// Shape:   handle; a shell. For upkeep that must happen although nobody calls.
// Threads: timer_wake from anywhere; timer_open and timer_close from the owner.
#ifndef OMEN_BASE_OS_TIMER_H
#define OMEN_BASE_OS_TIMER_H
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct timer; // opaque

// True: there is more to do at once; it is called again without waiting.
typedef bool (*timer_fn)(void *context);

// Calls fn(context) on a thread of its own, each time within `interval_ms` of the last call or wake. OMEN_E_NO_MEMORY, also when
// the system refuses the thread.
OMEN_MUST_CHECK omen_status timer_open(uint32_t interval_ms, timer_fn fn, void *context,
                                       struct timer **out);
// Waits for the call in progress; afterwards nothing touches `context`. Accepts NULL.
void timer_close(struct timer *timer);
void timer_wake(struct timer *timer);

#endif
