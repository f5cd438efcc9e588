// node/slow.h -- a line of the log for a request that took long: what it was, where its time went, how much was done for it.
//
// Shape:   shell.
// Threads: any.
#ifndef OMEN_NODE_SLOW_H
#define OMEN_NODE_SLOW_H
#include "router/front.h"

// At most LOG_BURST a second; the next one says how many were not said.
void slow_say(const struct front_done *done, uint64_t now_ns);

#endif
