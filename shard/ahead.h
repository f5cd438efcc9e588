// shard/ahead.h -- a thread that makes the memory of the rows that are about to be written, before they come.
//
// Shape:   shell, in the owner's memory.
// Threads: ahead_begin and ahead_end by one thread at a time; the thread ends by itself, or at ahead_end.
#ifndef OMEN_SHARD_AHEAD_H
#define OMEN_SHARD_AHEAD_H
#include <stdatomic.h>
#include <stdbool.h>

#include "base/os_thread.h"
#include "index/hnsw.h"

// Of rows: for fewer, starting a thread takes as long as it saves.
#define AHEAD_BYTES_MIN ((uint64_t)2 << 20)

// All zeros: there is no thread.
struct ahead {
    pthread_t thread;
    bool begun;
    _Atomic bool stop;
    const struct hnsw *hnsw; // borrowed
    uint32_t from, to;
};

// Slots [from, to) of the index are reserved, and it stays until ahead_end. Once: where there was a thread already, or there is
// none to be had, nothing happens.
void ahead_begin(struct ahead *ahead, const struct hnsw *hnsw, uint32_t from, uint32_t to);
// Has it stop, and waits for that.
void ahead_end(struct ahead *ahead);

#endif
