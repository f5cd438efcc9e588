// shard/ahead.c -- a thread that makes the memory of the rows that are about to be written, before they come.
//
// Shape: shell.
//
// Who applies a log after a kill, or adds many rows, writes every row to memory that nobody has touched: the kernel clears it then,
// page by page, which takes longer than all else that is done with a row. Nothing depends on the thread: what it did not get to is made by
// the writes. So nobody waits for it either, before what it looks at ends: on a busy machine it may come late.
#include "shard/ahead.h"

#define STEP_ROWS 2048u // between two looks at `stop`

static void *
populate(void *context)
{
    struct ahead *ahead = context;
    for (uint32_t from = ahead->from; from < ahead->to;) {
        if (atomic_load_explicit(&ahead->stop, memory_order_relaxed))
            break;
        const uint32_t end = ahead->to - from < STEP_ROWS ? ahead->to : from + STEP_ROWS;
        hnsw_populate(ahead->hnsw, from, end);
        from = end;
    }
    return NULL;
}

void
ahead_begin(struct ahead *ahead, const struct hnsw *hnsw, uint32_t from, uint32_t to)
{
    if (ahead->begun)
        return;
    ahead->hnsw = hnsw;
    ahead->from = from;
    ahead->to = to;
    ahead->begun = os_thread_start(&ahead->thread, populate, ahead) == 0;
}

void
ahead_end(struct ahead *ahead)
{
    if (!ahead->begun)
        return;
    atomic_store_explicit(&ahead->stop, true, memory_order_relaxed);
    (void)pthread_join(ahead->thread, NULL);
    ahead->begun = false;
}
