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
#define LET_GO_AT_ONCE 8u           // then the set's thread has other things to do, too

static bool
is_too_much(const struct streams *set, size_t waiting)
{
    return set->config.waiting_bytes_max != 0 && waiting > set->config.waiting_bytes_max;
}

static void
note(struct streams *set, _Atomic size_t *noted, size_t bytes)
{
    const size_t now = bytes < LIGHT_BYTES ? 0 : bytes;
    const size_t before = atomic_load_explicit(noted, memory_order_relaxed);
    if (now == before)
        return;
    atomic_store_explicit(noted, now, memory_order_relaxed);
    const size_t waiting = atomic_fetch_add(&set->waiting, now - before) + (now - before);
    if (now > before && is_too_much(set, waiting))
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

struct heavy {
    struct stream *stream;
    size_t weight;
};

// In descending order; the lightest falls out where there are too many.
static uint32_t
add_heavy(struct heavy *list, uint32_t count, struct heavy one)
{
    uint32_t at = count < LET_GO_AT_ONCE ? count : LET_GO_AT_ONCE - 1;
    if (count == LET_GO_AT_ONCE && list[at].weight >= one.weight)
        return count;
    for (; at > 0 && list[at - 1].weight < one.weight; at--)
        list[at] = list[at - 1];
    list[at] = one;
    return count < LET_GO_AT_ONCE ? count + 1 : count;
}

// Marks and keeps the heaviest, as many as bring the rest within the limit, or the list has room for.
static uint32_t
choose(struct streams *set, struct heavy *list)
{
    size_t all = 0;
    uint32_t count = 0, chosen = 0;
    for (struct stream *stream = set->live; stream != NULL; stream = stream->next) {
        const size_t weight = stream->let_go ? 0 : weight_of(stream);
        all += weight;
        if (weight > 0)
            count = add_heavy(list, count, (struct heavy){stream, weight});
    }
    for (; chosen < count && is_too_much(set, all); chosen++) {
        list[chosen].stream->let_go = true;
        stream_keep(list[chosen].stream);
        all -= list[chosen].weight;
    }
    return chosen;
}

// A connection's lock is not taken inside of the set's: they are kept, and closed afterwards.
void
streams_lighten(struct streams *set)
{
    struct heavy heavy[LET_GO_AT_ONCE];
    if (!is_too_much(set, atomic_load(&set->waiting)))
        return;
    lock_acquire(&set->lock);
    const uint32_t count = choose(set, heavy);
    lock_release(&set->lock);
    for (uint32_t i = 0; i < count; i++) {
        stream_close(heavy[i].stream, STREAM_HEAVIEST); // wakes us, to look again
        stream_release(heavy[i].stream);
    }
}
