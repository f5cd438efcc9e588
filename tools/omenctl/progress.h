// tools/omenctl/progress.h -- a bar on a terminal, nothing elsewhere.
//
// Shape: shell.
#ifndef OMEN_TOOLS_OMENCTL_PROGRESS_H
#define OMEN_TOOLS_OMENCTL_PROGRESS_H
#include "tools/omenctl/command.h"

struct progress {
    FILE *out; // NULL: draws nothing
    const char *what;
    uint64_t started_ns, drawn_ns;
};

// Draws when call->talk is a terminal that is more than a typewriter (TERM is not "dumb") and nobody wants quiet.
void progress_init(struct progress *progress, const struct call *call, const char *what);
void progress_show(struct progress *progress, uint64_t done, uint64_t total);
void progress_end(struct progress *progress); // wipes the bar

#endif
