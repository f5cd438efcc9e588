// tests/lib/stream_wait.h -- for a test that lets memory run out beside a connection: until the connection has what it takes by itself.
//
// Shape: shell.
#ifndef OMEN_TESTS_STREAM_WAIT_H
#define OMEN_TESTS_STREAM_WAIT_H
#include <sched.h>

#include "wire/stream_nng_int.h"

// A connection that begins says what it has to say, and only then takes memory for what it is to hear: on a thread of its own, so what is
// refused "next" may be refused to that one. Afterwards it takes none until something comes. It must not end meanwhile.
static inline void
stream_await_receive(struct stream *stream)
{
    for (bool receives = false; !receives; (void)sched_yield()) {
        lock_acquire(&stream->lock);
        receives = stream->receiving;
        lock_release(&stream->lock);
    }
}

#endif
