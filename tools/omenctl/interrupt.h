// tools/omenctl/interrupt.h -- Ctrl-C and SIGTERM as a word that work looks at between two steps.
//
// Shape: shell; one a process.
#ifndef OMEN_TOOLS_OMENCTL_INTERRUPT_H
#define OMEN_TOOLS_OMENCTL_INTERRUPT_H
#include <stdbool.h>

// From now on the first of them is noted; a second one ends the program. What waits in poll is woken, what reads or writes goes on.
void interrupt_watch(void);
bool interrupt_came(void); // from any thread

#endif
