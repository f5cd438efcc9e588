// wire/stream_nng.c -- one TCP connection by NNG: it begins, is closed, and is gone when the last who keeps it lets go.
//
// Shape: shell.
//
// At most one receive (stream_in_nng.c) and one send (stream_out_nng.c) are in NNG's hands. Its callbacks come on its task threads, in
// any order, and never from inside of a call, so the lock may be held over a call.
//
// NNG 1.5.2 forgets an operation that is begun after nng_aio_stop without a callback, and a callback may run while a connection is
// closed. So nobody waits for callbacks: the set's thread stops both operations, which waits for callbacks under way, and
// only then frees anything.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/stream_nng_int.h"

static struct stream *
stream_make(struct streams *set, nng_stream *nng, const uint8_t *ip)
{
    struct stream *stream = mem_alloc_zero(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    if (nng_aio_alloc(&stream->receive, stream_received, stream) != 0 ||
        nng_aio_alloc(&stream->receive_now, NULL, NULL) != 0 ||
        nng_aio_alloc(&stream->send_now, NULL, NULL) != 0 ||
        nng_aio_alloc(&stream->send, stream_sent, stream) != 0) {
        nng_aio_free(stream->receive);
        nng_aio_free(stream->receive_now);
        nng_aio_free(stream->send_now);
        mem_free(stream);
        return NULL;
    }
    lock_init(&stream->lock);
    atomic_init(&stream->keepers, 1);
    atomic_init(&stream->deadline_ns, UINT64_MAX);
    atomic_init(&stream->stalled_ns, 0);
    stream->set = set;
    stream->nng = nng;
    stream->accepted = ip != NULL;
    if (ip != NULL)
        memcpy(stream->ip, ip, sizeof stream->ip);
    stream->queue_bytes_max = set->config.queue_bytes_max;
    return stream;
}

static void
link_live(struct stream *stream)
{
    struct streams *set = stream->set;
    lock_acquire(&set->lock);
    stream->next = set->live;
    if (set->live != NULL)
        set->live->previous = stream;
    set->live = stream;
    lock_release(&set->lock);
    atomic_fetch_add(&set->open, 1);
}

// With the connection's lock held: until it is released, the set cannot go away.
void
stream_tell_closed(struct stream *stream)
{
    struct streams *set = stream->set;
    lock_acquire(&set->lock);
    stream->next_closed = set->closed;
    set->closed = stream;
    lock_release(&set->lock);
    timer_wake(set->timer);
}

void
stream_begin(struct streams *set, nng_stream *nng, void *dialed, const uint8_t *ip)
{
    struct stream *stream = stream_make(set, nng, ip);
    if (stream == NULL) {
        nng_stream_free(nng);
        atomic_fetch_add(&set->ended[STREAM_NO_MEMORY], 1);
        if (ip != NULL)
            streams_left(set, ip);
        else
            set->config.missed(set->config.context, dialed, STREAM_MISS_OTHER);
        return;
    }
    link_live(stream);
    void *owner = set->config.begin(set->config.context, stream, dialed);
    lock_acquire(&stream->lock);
    stream->owner = owner;
    stream->begun = true;
    if (owner == NULL && !stream->closed) {
        stream->closed = true;
        stream->why = STREAM_CLOSED;
        nng_stream_close(stream->nng);
    }
    if (stream->closed)
        stream_tell_closed(stream);
    else
        stream_receive(stream);
    lock_release(&stream->lock);
}

void
stream_close(struct stream *stream, enum stream_end why)
{
    ASSERT(why != STREAM_OPEN);
    lock_acquire(&stream->lock);
    if (!stream->closed) {
        stream->closed = true;
        stream->why = why;
        nng_stream_close(stream->nng);
        if (stream->begun)
            stream_tell_closed(stream);
    }
    lock_release(&stream->lock);
}

void
stream_finish(struct stream *stream)
{
    struct streams *set = stream->set;
    nng_aio_stop(stream->receive); // waits for a callback that is under way
    nng_aio_stop(stream->send);
    if (stream->owner != NULL)
        set->config.end(stream->owner, stream, stream->why);

    lock_acquire(&stream->lock);
    ASSERT(stream->closed);
    nng_stream *nng = stream->nng;
    stream_drop_queue(stream);
    stream_note_in(stream, 0);
    stream->nng = NULL;
    stream->set = NULL;
    lock_release(&stream->lock);

    nng_stream_free(nng);
    nng_aio_free(stream->receive);
    nng_aio_free(stream->receive_now);
    nng_aio_free(stream->send_now);
    nng_aio_free(stream->send);
    mem_free(stream->input.bytes);
    stream->input.bytes = NULL;

    lock_acquire(&set->lock);
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        set->live = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    lock_release(&set->lock);
    atomic_fetch_add(&set->ended[stream->why], 1);
    if (stream->accepted)
        streams_left(set, stream->ip);
    atomic_fetch_sub(&set->open, 1);
    stream_release(stream);
}

void
stream_keep(struct stream *stream)
{
    atomic_fetch_add_explicit(&stream->keepers, 1, memory_order_relaxed);
}

void
stream_release(struct stream *stream)
{
    if (atomic_fetch_sub(&stream->keepers, 1) != 1)
        return;
    lock_fini(&stream->lock);
    mem_free(stream);
}

const char *
stream_end_name(enum stream_end why)
{
    static const char *const names[] = {"open",    "left",      "closed",  "refused", "late",
                                        "clogged", "no_memory", "crowded", "heaviest"};
    ASSERT(why < STREAM_ENDS);
    return names[why];
}
