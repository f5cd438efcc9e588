// wire/stream_out_nng.c -- what goes over a TCP connection: a queue with a limit.
//
// Shape: shell.
//
// Small pieces are copied together, and up to IOV_MAX_OF_NNG pieces leave in one call.
//
// A send goes into the kernel within the call, but its callback would still have to wake a task thread. So it is tried without one: an
// operation that has no callback is begun and at once cancelled, and its result tells what the kernel took. Only what it did not
// take is sent with a callback, and until that has been what is written waits for it.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/stream_nng_int.h"

#define IOV_MAX_OF_NNG 8u
#define GATHER_BYTES ((size_t)32768) // small pieces are copied together up to here
#define SMALL_BYTES ((size_t)8192)

enum departure { NOW, LATER }; // of what is written

static void send_next(struct stream *stream);

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

// What went of the first piece is there until all of it has.
static void
note_queue(struct stream *stream)
{
    stream_note_out(stream, stream->queued + (stream->first != NULL ? stream->first->sent : 0));
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
    if (status == OMEN_OK && (departure == NOW || stream->sending)) // else it is about to leave
        note_queue(stream);
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
    if (!stream->closed && !stream->sending && stream->first != NULL) {
        send_next(stream);
        note_queue(stream);
    }
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
    const uint64_t now_ns = os_clock_ns();
    atomic_store(&stream->stalled_ns, now_ns);
    streams_due(stream->set, now_ns + stream->set->config.stall_ms * UINT64_C(1000000));
    (void)nng_aio_set_iov(stream->send, count, iov);
    nng_stream_send(stream->nng, stream->send);
}

void
stream_sent(void *argument)
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
        note_queue(stream);
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

void
stream_drop_queue(struct stream *stream)
{
    while (stream->first != NULL) {
        struct chunk *chunk = stream->first;
        stream->first = chunk->next;
        mem_free(chunk->bytes);
        mem_free(chunk);
    }
    stream->last = NULL;
    stream->queued = 0;
    note_queue(stream);
}
