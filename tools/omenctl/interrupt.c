// tools/omenctl/interrupt.c -- the handler, and what it notes.
//
// Shape: shell.
#include "tools/omenctl/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic bool came;

static void
note(int number)
{
    (void)number;
    atomic_store(&came, true);
}

void
interrupt_watch(void)
{
    const struct sigaction action = {.sa_handler = note,
                                     .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool
interrupt_came(void)
{
    return atomic_load(&came);
}
