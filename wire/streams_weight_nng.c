// wire/streams_weight_nng.c -- what waits in all connections of a set together, and whose is given up where it is too much.
//
// Shape: shell.
//
// A limit for each connection bounds what one client makes a node keep, and not what a thousand do who all send messages that they do not end
// or leave their answers unread. What a connection weighs is noted where it changes, and only from LIGHT_BYTES up: in the common case,
// a request whole and an answer sent at once, nothing is. Whoever notes that it is too much wakes the set's thread, which
// closes the heaviest, and the next, until it is not.
#include "wire/stream_nng_int.h"

#define LIGHT_BYTES ((size_t)65536) // weighs nothing
#define LET_GO_AT_ONCE 64u

static void
note(struct streams *set, _Atomic size_t *noted, size_t bytes)
{
    const size_t now = bytes < LIGHT_BYTES ? 0 : bytes;
    const size_t before = atomic_load_explicit(noted, memory_order_relaxed);
    if (now == before)
        return;
    atomic_store_explicit(noted, now, memory_order_relaxed);
    const size_t waiting = atomic_fetch_add(&set->waiting, now - before) + (now - before);
    if (now > before && set->config.waiting_bytes_max != 0 &&
        waiting > set->config.waiting_bytes_max && !atomic_exchange(&set->heavy, true))
        timer_wake(set->timer);
}

void
stream_note_in(struct stream *stream, size_t bytes)
{
    note(stream->set, &stream->waits_in, bytes);
}

void
stream_note_out(struct stream *stream, size_t bytes)
{
    note(stream->set, &stream->waits_out, bytes);
}

static size_t
weight_of(const struct stream *stream)
{
    return atomic_load_explicit(&stream->waits_in, memory_order_relaxed) +
           atomic_load_explicit(&stream->waits_out, memory_order_relaxed);
}

// Of those that are not let go yet; NULL: they weigh no more than they may.
static struct stream *
heaviest(const struct streams *set)
{
    struct stream *most = NULL;
    size_t weight = 0, all = 0;
    for (struct stream *stream = set->live; stream != NULL; stream = stream->next) {
        const size_t its = stream->let_go ? 0 : weight_of(stream);
        all += its;
        if (its > weight) {
            weight = its;
            most = stream;
        }
    }
    return all > set->config.waiting_bytes_max ? most : NULL;
}

// A connection's lock is not taken inside of the set's: they are kept, and closed afterwards.
void
streams_lighten(struct streams *set)
{
    struct stream *heavy[LET_GO_AT_ONCE];
    uint32_t count = 0;
    if (!atomic_exchange(&set->heavy, false))
        return;
    lock_acquire(&set->lock);
    for (struct stream *stream = heaviest(set); stream != NULL; stream = heaviest(set)) {
        stream->let_go = true;
        stream_keep(stream);
        heavy[count++] = stream;
        if (count == LET_GO_AT_ONCE)
            break;
    }
    lock_release(&set->lock);
    for (uint32_t i = 0; i < count; i++) {
        stream_close(heavy[i], STREAM_HEAVIEST); // wakes us
        stream_release(heavy[i]);
    }
    if (count == LET_GO_AT_ONCE)
        atomic_store(&set->heavy, true);
}
