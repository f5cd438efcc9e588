// wire/stream_nng.c -- one TCP connection by NNG: bytes that come are shown to their owner, bytes that go wait in a queue.
//
// Shape: shell.
//
// At most one receive and one send are in NNG's hands. Its callbacks come on its task threads, in any order, and never from inside of
// a call, so the lock may be held over a call. Small pieces are copied together, and up to IOV_MAX_OF_NNG pieces leave in one call.
//
// A send goes into the kernel within the call, but its callback would still have to wake a task thread. So it is tried without one: an
// operation that has no callback is begun and at once cancelled, and its result tells what the kernel took. Only what it did not
// take is sent with a callback, and until that has been what is written waits for it.
//
// NNG 1.5.2 forgets an operation that is begun after nng_aio_stop without a callback, and a callback may run while a connection is
// closed. So nobody waits for callbacks: the set's thread stops both operations, which waits for callbacks under way, and
// only then frees anything. A pause is no operation at all; its end is an empty one (nng_aio_begin, nng_aio_finish), which
// brings the callback on a thread of NNG's.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/stream_nng_int.h"

#define IOV_MAX_OF_NNG 8u
#define INPUT_BYTES ((size_t)4096)       // in the beginning
#define INPUT_KEEP_BYTES ((size_t)65536) // a larger one is given back when it is empty
#define READS_AT_ONCE 16u                // then others have the thread
#define INPUT_USUAL_MOST ((size_t)262144)
#define GATHER_BYTES ((size_t)32768) // small pieces are copied together up to here
#define SMALL_BYTES ((size_t)8192)

enum departure { NOW, LATER }; // of what is written

static void received(void *argument);
static void receive(struct stream *stream);
static void sent(void *argument);
static void send_next(struct stream *stream);

// ---- life ----

static struct stream *
stream_make(struct streams *set, nng_stream *nng, bool accepted)
{
    struct stream *stream = mem_alloc_zero(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    if (nng_aio_alloc(&stream->receive, received, stream) != 0 ||
        nng_aio_alloc(&stream->receive_now, NULL, NULL) != 0 ||
        nng_aio_alloc(&stream->send_now, NULL, NULL) != 0 ||
        nng_aio_alloc(&stream->send, sent, stream) != 0) {
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
    stream->accepted = accepted;
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
static void
tell_closed(struct stream *stream)
{
    struct streams *set = stream->set;
    lock_acquire(&set->lock);
    stream->next_closed = set->closed;
    set->closed = stream;
    lock_release(&set->lock);
    timer_wake(set->timer);
}

void
stream_begin(struct streams *set, nng_stream *nng, void *dialed, bool accepted)
{
    struct stream *stream = stream_make(set, nng, accepted);
    if (stream == NULL) {
        nng_stream_free(nng);
        atomic_fetch_add(&set->ended[STREAM_NO_MEMORY], 1);
        if (accepted)
            atomic_fetch_sub(&set->accepted_open, 1);
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
        tell_closed(stream);
    else
        receive(stream);
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
            tell_closed(stream);
    }
    lock_release(&stream->lock);
}

static void
drop_chunks(struct stream *stream)
{
    while (stream->first != NULL) {
        struct chunk *chunk = stream->first;
        stream->first = chunk->next;
        mem_free(chunk->bytes);
        mem_free(chunk);
    }
    stream->last = NULL;
    stream->queued = 0;
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
    stream->nng = NULL;
    stream->set = NULL;
    drop_chunks(stream);
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
        atomic_fetch_sub(&set->accepted_open, 1);
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

// ---- what comes ----

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
static void
receive(struct stream *stream)
{
    nng_iov iov;
    if (!place(stream, &iov)) {
        stream->closed = true;
        stream->why = STREAM_NO_MEMORY;
        nng_stream_close(stream->nng);
        tell_closed(stream);
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
static void
received(void *argument)
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
                receive(stream);
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

// ---- what goes ----

// Whether it went to the end of the last piece. That may be in NNG's hands, which know how much of it they have.
static bool
gather(struct stream *stream, const uint8_t *bytes, size_t count)
{
    struct chunk *last = stream->last;
    if (last == NULL || count > last->room - last->count)
        return false;
    memcpy(last->bytes + last->count, bytes, count);
    last->count += count;
    stream->queued += count;
    return true;
}

static bool
append(struct stream *stream, uint8_t *bytes, size_t count, enum departure departure)
{
    struct chunk *chunk = mem_alloc(sizeof *chunk);
    if (chunk == NULL)
        return false;
    *chunk = (struct chunk){.bytes = bytes, .count = count, .room = count};
    // It waits, and others may come: room for them. Without memory it is as it is.
    if ((stream->sending || departure == LATER) && count <= SMALL_BYTES) {
        uint8_t *larger = mem_resize(bytes, GATHER_BYTES);
        chunk->bytes = larger != NULL ? larger : bytes;
        chunk->room = larger != NULL ? GATHER_BYTES : count;
    }
    if (stream->last != NULL)
        stream->last->next = chunk;
    else
        stream->first = chunk;
    stream->last = chunk;
    stream->queued += count;
    return true;
}

static omen_status
put(struct stream *stream, uint8_t *bytes, size_t count, enum departure departure)
{
    ASSERT(count > 0);
    omen_status status = OMEN_OK;
    bool kept = false;
    lock_acquire(&stream->lock);
    if (stream->closed)
        status = OMEN_E_CLOSED;
    else if (stream->queued > 0 && stream->queued + count > stream->queue_bytes_max)
        status = OMEN_E_FULL;
    else if (count > SMALL_BYTES || !gather(stream, bytes, count)) {
        kept = append(stream, bytes, count, departure);
        status = kept ? OMEN_OK : OMEN_E_NO_MEMORY;
    }
    if (status == OMEN_OK && departure == NOW && !stream->sending)
        send_next(stream);
    lock_release(&stream->lock);
    if (!kept)
        mem_free(bytes);
    return status;
}

omen_status
stream_write(struct stream *stream, uint8_t *bytes, size_t count)
{
    return put(stream, bytes, count, NOW);
}

omen_status
stream_gather(struct stream *stream, uint8_t *bytes, size_t count)
{
    return put(stream, bytes, count, LATER);
}

void
stream_send(struct stream *stream)
{
    lock_acquire(&stream->lock);
    if (!stream->closed && !stream->sending && stream->first != NULL)
        send_next(stream);
    lock_release(&stream->lock);
}

// What went, of the first pieces.
static void
forget_sent(struct stream *stream, size_t count)
{
    stream->queued -= count;
    atomic_fetch_add_explicit(&stream->set->bytes_out, count, memory_order_relaxed);
    while (count > 0) {
        struct chunk *chunk = stream->first;
        ASSERT(chunk != NULL);
        const size_t left = chunk->count - chunk->sent;
        if (count < left) {
            chunk->sent += count;
            return;
        }
        count -= left;
        stream->first = chunk->next;
        if (stream->first == NULL)
            stream->last = NULL;
        mem_free(chunk->bytes);
        mem_free(chunk);
    }
}

// The first pieces, as many as leave in one call. Their bytes.
static size_t
first_pieces(const struct stream *stream, nng_iov *iov, uint32_t *count)
{
    size_t bytes = 0;
    *count = 0;
    for (struct chunk *chunk = stream->first; chunk != NULL && *count < IOV_MAX_OF_NNG;
         chunk = chunk->next) {
        const size_t left = chunk->count - chunk->sent;
        iov[(*count)++] = (nng_iov){.iov_buf = chunk->bytes + chunk->sent, .iov_len = left};
        bytes += left;
    }
    return bytes;
}

// With the lock held and nothing under way. What the kernel does not take, or refuses, is the callback's.
static void
send_next(struct stream *stream)
{
    nng_iov iov[IOV_MAX_OF_NNG];
    uint32_t count;
    while (stream->first != NULL) {
        const size_t bytes = first_pieces(stream, iov, &count);
        (void)nng_aio_set_iov(stream->send_now, count, iov);
        nng_stream_send(stream->nng, stream->send_now);
        nng_aio_cancel(stream->send_now);
        nng_aio_wait(stream->send_now); // for NNG's poller, where it had it in its hands
        if (nng_aio_result(stream->send_now) != 0)
            break;
        const size_t went = nng_aio_count(stream->send_now);
        forget_sent(stream, went);
        if (went < bytes)
            break;
    }
    if (stream->first == NULL) {
        atomic_store_explicit(&stream->stalled_ns, 0, memory_order_relaxed);
        return;
    }
    (void)first_pieces(stream, iov, &count);
    stream->sending = true;
    atomic_store_explicit(&stream->stalled_ns, os_clock_ns(), memory_order_relaxed);
    (void)nng_aio_set_iov(stream->send, count, iov);
    nng_stream_send(stream->nng, stream->send);
}

static void
sent(void *argument)
{
    struct stream *stream = argument;
    if (nng_aio_result(stream->send) != 0) {
        stream_close(stream, STREAM_LEFT);
        return;
    }
    const size_t went = nng_aio_count(stream->send);
    lock_acquire(&stream->lock);
    if (!stream->closed) {
        stream->sending = false;
        forget_sent(stream, went);
        send_next(stream);
    }
    lock_release(&stream->lock);
}

size_t
stream_queued(struct stream *stream)
{
    lock_acquire(&stream->lock);
    const size_t queued = stream->queued;
    lock_release(&stream->lock);
    return queued;
}

void
stream_limit(struct stream *stream, size_t queue_bytes_max)
{
    lock_acquire(&stream->lock);
    stream->queue_bytes_max = queue_bytes_max;
    lock_release(&stream->lock);
}

const char *
stream_end_name(enum stream_end why)
{
    static const char *const names[] = {"open", "left",    "closed",   "refused",
                                        "late", "clogged", "no_memory"};
    ASSERT(why < STREAM_ENDS);
    return names[why];
}
