// wire/stream_in_nng.c -- what comes over a TCP connection: bytes are gathered until their owner takes them.
//
// Shape: shell.
//
// A pause is no operation of NNG's at all; its end is an empty one (nng_aio_begin, nng_aio_finish), which brings the callback on a
// thread of NNG's.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/stream_nng_int.h"

#define INPUT_BYTES ((size_t)4096)       // in the beginning
#define INPUT_KEEP_BYTES ((size_t)65536) // a larger one is given back when it is empty
#define READS_AT_ONCE 16u                // then others have the thread
#define INPUT_USUAL_MOST ((size_t)262144)

// Where the next bytes go: a byte at least. False: no memory.
static bool
place(struct stream *stream, nng_iov *iov)
{
    if (stream->input.bytes == NULL) {
        const size_t usual = stream->input.usual;
        stream->input.room = usual > INPUT_BYTES ? usual : INPUT_BYTES;
        stream->input.bytes = mem_alloc(stream->input.room);
    }
    if (stream->input.bytes == NULL)
        return false;
    *iov = (nng_iov){.iov_buf = stream->input.bytes + stream->input.count,
                     .iov_len = stream->input.room - stream->input.count};
    ASSERT(iov->iov_len > 0);
    return true;
}

// With the lock held.
void
stream_receive(struct stream *stream)
{
    nng_iov iov;
    if (!place(stream, &iov)) {
        stream->closed = true;
        stream->why = STREAM_NO_MEMORY;
        nng_stream_close(stream->nng);
        stream_tell_closed(stream);
        return;
    }
    stream->receiving = true;
    (void)nng_aio_set_iov(stream->receive, 1, &iov);
    nng_stream_recv(stream->nng, stream->receive);
}

// With the lock held: what has come already, without a callback. 0: nothing, or what only the callback can tell.
static size_t
receive_now(struct stream *stream)
{
    nng_iov iov;
    if (!place(stream, &iov))
        return 0;
    (void)nng_aio_set_iov(stream->receive_now, 1, &iov);
    nng_stream_recv(stream->nng, stream->receive_now);
    nng_aio_cancel(stream->receive_now);
    nng_aio_wait(stream->receive_now); // for NNG's poller, where it had it in its hands
    return nng_aio_result(stream->receive_now) == 0 ? nng_aio_count(stream->receive_now) : 0;
}

// What was taken goes, and where it is full there is made room: twice as much, or as much as is known to come where that is less.
// So nobody gets more than twice of what he has sent, or as much as he sent lately. Where what came filled it there was more to come, so
// the next read has more room even if all was taken: many small messages are read in few pieces.
static bool
make_room(struct stream *stream, bool filled)
{
    const size_t count = stream->input.count;
    if (stream->input.bytes != NULL && count == 0 && stream->input.room > INPUT_KEEP_BYTES &&
        stream->input.room > stream->input.usual) {
        mem_free(stream->input.bytes);
        stream->input.bytes = NULL;
    }
    const bool full = count == stream->input.room;
    if (stream->input.bytes == NULL ||
        (!full && (!filled || stream->input.room >= INPUT_KEEP_BYTES)))
        return true;
    size_t room = 2 * stream->input.room;
    if (room > INPUT_KEEP_BYTES && stream->input.wanted > count && stream->input.wanted < room)
        room = stream->input.wanted;
    uint8_t *grown = mem_resize(stream->input.bytes, room);
    if (grown == NULL)
        return !full;
    stream->input.bytes = grown;
    stream->input.room = room;
    return true;
}

// Who has sent much at once will do so again: it is read in fewer pieces. What comes small takes half of that back.
static void
note_usual(struct stream *stream, size_t taken)
{
    const size_t counted = taken < INPUT_USUAL_MOST ? taken : INPUT_USUAL_MOST;
    const size_t half = stream->input.usual / 2;
    stream->input.usual = counted > half ? counted : half;
}

// Shows the owner what is there. Whether it wants a pause.
static bool
show(struct stream *stream)
{
    struct stream_input input = {.bytes = stream->input.bytes, .count = stream->input.count};
    stream->set->config.read(stream->owner, stream, &input);
    ASSERT(input.taken <= stream->input.count);
    if (input.bytes == NULL) {
        ASSERT(input.taken == stream->input.count);
        stream->input.bytes = NULL;
    } else if (input.taken > 0) {
        memmove(stream->input.bytes, stream->input.bytes + input.taken,
                stream->input.count - input.taken);
    }
    stream->input.count -= input.taken;
    if (input.taken > 0)
        note_usual(stream, input.taken);
    stream->input.wanted = input.wanted;
    return input.pause;
}

// So much has come. Whether there is more to come, since a message is not whole.
static bool
take_in(struct stream *stream, size_t came, bool *pause)
{
    stream->input.count += came;
    const bool filled = came > 0 && stream->input.count == stream->input.room;
    atomic_fetch_add_explicit(&stream->set->bytes_in, came, memory_order_relaxed);
    *pause = show(stream);
    if (!make_room(stream, filled))
        stream_close(stream, STREAM_NO_MEMORY);
    return stream->input.wanted > stream->input.count;
}

// The rest of a message would come by way of NNG's poller and a task thread; what of it has come meanwhile is taken here.
void
stream_received(void *argument)
{
    struct stream *stream = argument;
    if (nng_aio_result(stream->receive) != 0) {
        stream_close(stream, STREAM_LEFT);
        return;
    }
    size_t came = nng_aio_count(stream->receive);
    for (uint32_t rounds = 0;; rounds++) {
        bool pause;
        lock_acquire(&stream->lock);
        stream->resumed = false;
        const bool closed = stream->closed;
        lock_release(&stream->lock);
        if (closed)
            return;
        const bool more = take_in(stream, came, &pause) && rounds < READS_AT_ONCE;
        came = 0;
        lock_acquire(&stream->lock);
        bool again = pause && stream->resumed && !stream->closed;
        if (!again && !stream->closed) {
            stream->paused = pause;
            stream->receiving = false;
            if (!pause && more)
                came = receive_now(stream);
            again = came > 0;
            stream->receiving = again;
            if (!pause && !again)
                stream_receive(stream);
        }
        lock_release(&stream->lock);
        if (!again)
            return;
    }
}

void
stream_resume(struct stream *stream)
{
    lock_acquire(&stream->lock);
    stream->resumed = true;
    if (!stream->closed && stream->paused && !stream->receiving) {
        stream->paused = false;
        stream->receiving = true;
        if (nng_aio_begin(stream->receive))
            nng_aio_finish(stream->receive, 0);
    }
    lock_release(&stream->lock);
}

void
stream_deadline(struct stream *stream, uint64_t at_ns)
{
    atomic_store_explicit(&stream->deadline_ns, at_ns, memory_order_relaxed);
}
