// wire/stream_in_nng.c -- what comes over a TCP connection: bytes are gathered until their owner takes them.
//
// Shape: shell.
//
// A pause is no operation of NNG's at all; its end is an empty one (nng_aio_begin, nng_aio_finish), which brings the callback on a
// thread of NNG's.
//
// What comes over an idle connection wakes NNG's poller, which wakes a task thread. Where it is expected in no time, the thread that has
// just read looks out for it instead: it tries to read again and again, without a callback. The last read that is begun is always one
// with a callback, and NNG looks whether bytes are there when it begins: nothing that comes meanwhile is lost.
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/stream_nng_int.h"

#define INPUT_BYTES ((size_t)4096)       // in the beginning
#define INPUT_KEEP_BYTES ((size_t)65536) // a larger one is given back when it is empty
#define READS_AT_ONCE 16u                // then others have the thread
#define INPUT_USUAL_MOST ((size_t)262144)

enum come { COME_NOTHING, COME_BYTES, COME_ENDED }; // of what is there to be read
enum effort {
    EFFORT_NONE,
    EFFORT_ONCE,
    EFFORT_LOOK_OUT
}; // to read more before NNG's poller is asked

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

// False: no memory.
static bool
begin_receive(struct stream *stream)
{
    nng_iov iov;
    if (!place(stream, &iov))
        return false;
    (void)nng_aio_set_iov(stream->receive, 1, &iov);
    nng_stream_recv(stream->nng, stream->receive);
    return true;
}

// With the lock held.
void
stream_receive(struct stream *stream)
{
    stream->receiving = true;
    if (begin_receive(stream))
        return;
    stream->closed = true;
    stream->why = STREAM_NO_MEMORY;
    nng_stream_close(stream->nng);
    stream_tell_closed(stream);
}

// What has come already, without a callback. Within that of `receive`, whose end NNG's connection waits for: it is there without the lock.
static enum come
receive_now(struct stream *stream, size_t *came)
{
    nng_iov iov;
    *came = 0;
    if (!place(stream, &iov))
        return COME_ENDED;
    (void)nng_aio_set_iov(stream->receive_now, 1, &iov);
    nng_stream_recv(stream->nng, stream->receive_now);
    nng_aio_cancel(stream->receive_now);
    nng_aio_wait(stream->receive_now); // for NNG's poller, where it had it in its hands
    const int failed = nng_aio_result(stream->receive_now);
    if (failed == NNG_ECANCELED)
        return COME_NOTHING;
    if (failed != 0)
        return COME_ENDED; // the callback will tell
    *came = nng_aio_count(stream->receive_now);
    return COME_BYTES;
}

// The same for a moment, by one connection of the set at a time, and until another one asks something. Another program may have had the
// processor meanwhile: what came after the moment was no use. The bytes that came.
static size_t
look_out(struct stream *stream)
{
    struct streams *set = stream->set;
    size_t came = 0;
    if (atomic_exchange(&set->looking, true))
        return 0;
    atomic_fetch_add_explicit(&set->looks, 1, memory_order_relaxed);
    const uint64_t until_ns = os_clock_ns() + spin_ns(stream->shown_ns);
    enum come come = receive_now(stream, &came);
    bool early = os_clock_ns() < until_ns;
    while (come == COME_NOTHING && early &&
           atomic_load_explicit(&set->asker, memory_order_relaxed) == stream) {
        (void)sched_yield();
        come = receive_now(stream, &came);
        early = os_clock_ns() < until_ns;
    }
    if (come == COME_BYTES)
        atomic_fetch_add_explicit(&set->looks_found, 1, memory_order_relaxed);
    spin_ended(&stream->spin, come == COME_BYTES && early);
    atomic_store(&set->looking, false);
    return came;
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

// What more is expected. Who had not asked last begins a new run.
static enum effort
effort_for(struct stream *stream, const struct stream_input *shown)
{
    struct streams *set = stream->set;
    const bool part = shown->wanted > stream->input.count;
    if (shown->taken > 0) {
        const bool same = atomic_load_explicit(&set->asker, memory_order_relaxed) == stream;
        if (!same)
            atomic_store_explicit(&set->asker, stream, memory_order_relaxed);
        spin_asked(&stream->spin, same && shown->alone);
    }
    if (shown->pause)
        return EFFORT_NONE;
    if (shown->alone && shown->answered && (part || shown->taken > 0) && spin_begins(&stream->spin))
        return EFFORT_LOOK_OUT;
    return part ? EFFORT_ONCE : EFFORT_NONE;
}

// Shows the owner what is there. Whether it wants a pause.
static bool
show(struct stream *stream, enum effort *effort)
{
    struct stream_input input = {.bytes = stream->input.bytes,
                                 .count = stream->input.count,
                                 .one_by_one = spin_runs(&stream->spin)};
    const uint64_t before_ns = os_clock_ns();
    stream->set->config.read(stream->owner, stream, &input);
    stream->shown_ns = os_clock_ns() - before_ns;
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
    *effort = effort_for(stream, &input);
    return input.pause;
}

// So much has come. Whether the owner wants a pause.
static bool
take_in(struct stream *stream, size_t came, enum effort *effort)
{
    stream->input.count += came;
    const bool filled = came > 0 && stream->input.count == stream->input.room;
    atomic_fetch_add_explicit(&stream->set->bytes_in, came, memory_order_relaxed);
    const bool pause = show(stream, effort);
    stream_note_in(stream, stream->input.count);
    if (!make_room(stream, filled)) {
        stream_close(stream, STREAM_NO_MEMORY);
        *effort = EFFORT_NONE;
    }
    return pause;
}

static bool
goes_on(struct stream *stream)
{
    lock_acquire(&stream->lock);
    stream->resumed = false;
    const bool closed = stream->closed;
    lock_release(&stream->lock);
    return !closed;
}

// NNG tells when more comes. Whether the owner is to see what it left once more, since it was resumed meanwhile.
//
// NNG's poller holds a lock of the connection's while it wakes the thread that this runs on, and may lose the processor to it. Who has an
// answer to send shall not wait for who waits for that lock here: the stream's own is not held. Within the callback of `receive`
// NNG's connection is there without it; where it is closed meanwhile, what is begun comes to nothing.
static bool
receive_later(struct stream *stream, bool pause)
{
    lock_acquire(&stream->lock);
    const bool closed = stream->closed, again = !closed && pause && stream->resumed;
    const bool begins = !closed && !pause;
    if (!closed && !again) {
        stream->paused = pause;
        stream->receiving = begins;
    }
    lock_release(&stream->lock);
    if (begins && !begin_receive(stream))
        stream_close(stream, STREAM_NO_MEMORY);
    return again;
}

void
stream_received(void *argument)
{
    struct stream *stream = argument;
    if (nng_aio_result(stream->receive) != 0) {
        stream_close(stream, STREAM_LEFT);
        return;
    }
    size_t came = nng_aio_count(stream->receive);
    for (uint32_t rounds = 0; goes_on(stream); rounds++) {
        enum effort effort;
        const bool pause = take_in(stream, came, &effort);
        came = 0;
        if (effort == EFFORT_LOOK_OUT && rounds < READS_AT_ONCE)
            came = look_out(stream);
        else if (effort == EFFORT_ONCE && rounds < READS_AT_ONCE)
            (void)receive_now(stream, &came);
        if (came == 0 && !receive_later(stream, pause))
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
    lock_acquire(&stream->lock);
    atomic_store(&stream->deadline_ns, at_ns);
    if (stream->set != NULL)
        streams_due(stream->set, at_ns);
    lock_release(&stream->lock);
}
