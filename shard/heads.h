// shard/heads.h -- a thread that looks at the heads of what was loaded, beside whoever applies the log.
//
// Shape:   shell, in the owner's memory.
// Threads: heads_begin and heads_end by one thread.
#ifndef OMEN_SHARD_HEADS_H
#define OMEN_SHARD_HEADS_H
#include <stdbool.h>

#include "base/error.h"
#include "base/os_thread.h"
#include "storage/blocks.h"

// All zeros: there is nothing to look at.
struct heads {
    pthread_t thread;
    bool begun;
    struct blocks_load *load; // owned
    omen_status status;
    struct omen_error error;
};

// Takes the load over (or NULL), of which no piece is looked up any more and all stay pinned until heads_end.
void heads_begin(struct heads *heads, struct blocks_load *load);
// Whether all are good, which it waits for.
OMEN_MUST_CHECK omen_status heads_end(struct heads *heads, struct omen_error *error);

#endif
