// wire/stream_nng_int.h -- what a connection and its set know of each other.
//
// Shape: shell.
#ifndef OMEN_WIRE_STREAM_NNG_INT_H
#define OMEN_WIRE_STREAM_NNG_INT_H
#include <nng/nng.h>
#include <stdatomic.h>

#include "base/os_lock.h"
#include "base/os_timer.h"
#include "base/spin.h"
#include "wire/callers.h"
#include "wire/stream_nng.h"

struct chunk { // of what is to be sent
    struct chunk *next;
    uint8_t *bytes;
    size_t count, room, sent;
};

struct stream {
    struct lock lock; // of what is below, but `input`
    _Atomic uint32_t keepers;
    struct streams *set; // while it is not ended
    void *owner;
    nng_stream *nng; // NULL when ended
    nng_aio *receive, *send;
    nng_aio *receive_now, *send_now; // without a callback: what the kernel has, or takes, at once

    bool begun;     // its owner knows it
    bool closed;    // NNG is asked nothing more
    bool receiving; // an operation or its callback is under way
    bool paused;
    bool resumed; // during the callback
    bool accepted;
    uint8_t ip[16]; // of who connected, where callers are counted
    enum stream_end why;

    struct chunk *first, *last; // to be sent
    bool sending;               // the first ones are in NNG's hands
    size_t queued, queue_bytes_max;

    struct { // of the receive callback alone
        uint8_t *bytes;
        size_t count, room, wanted;
        size_t usual; // as large was what came whole lately; a new one begins with so much
    } input;
    struct spin spin;  // of the receive callback alone, too, as is this:
    uint64_t shown_ns; // that the owner had what came last

    _Atomic uint64_t deadline_ns;
    _Atomic uint64_t stalled_ns; // bytes wait since then and none went; 0: none wait

    _Atomic size_t waits_in, waits_out; // as noted: by the receive callback, and under the lock

    struct stream *previous, *next; // of the set, under its lock
    bool let_go;                    // under the set's lock, too: it was the heaviest
    struct stream *next_closed;     // under the set's lock
};

struct dial {
    struct dial *next;
    struct streams *set;
    nng_stream_dialer *dialer;
    nng_aio *aio;
    void *dialed;
    uint64_t give_up_ns;
    bool closed;        // under the set's lock
    _Atomic bool ended; // its callback has been
};

struct streams {
    struct streams_config config;
    struct lock lock;
    struct stream *live, *closed; // `closed` are among `live`, too
    struct dial *dials;
    struct callers callers; // under `lock`; empty where they are not counted
    bool deaf, closing;     // no new connections; none at all
    nng_stream_listener *listener;
    nng_aio *accept;
    _Atomic uint64_t accept_ns; // it failed, and is tried again then; 0: it did not
    uint16_t port;
    struct timer *timer;
    // When the set's thread looks next; UINT64_MAX: it is about to find out.
    _Atomic uint64_t turn_ns;
    _Atomic uint32_t turns; // of it, for who waits until all is closed
    _Atomic uint32_t accepted_open, open;
    _Atomic uint64_t accepted, dialed, missed, crowded, of_address, accepts_failed, bytes_in,
        bytes_out;
    _Atomic uint64_t ended[STREAM_ENDS];
    _Atomic(struct stream *) asker; // of whom something was taken last; nothing but compared
    _Atomic bool looking;           // a connection looks out for what comes next
    _Atomic uint64_t looks, looks_found;
    _Atomic size_t waiting; // of all connections, as noted
};

// streams_nng.c
// Something is to be looked at by this time, and was put where the set's thread finds it.
void streams_due(struct streams *set, uint64_t at_ns);
// One that was accepted, from that address, is gone: there is room for another.
void streams_left(struct streams *set, const uint8_t ip[16]);

// streams_weight_nng.c
// Bytes that came and were not taken; from the receive callback, or after the last one.
void stream_note_in(struct stream *stream, size_t bytes);
// Bytes that wait to be sent; under the stream's lock.
void stream_note_out(struct stream *stream, size_t bytes);
void streams_lighten(struct streams *set); // on the set's thread

// stream_in_nng.c
void stream_receive(struct stream *stream); // under the lock: what comes next is received
void stream_received(void *argument);       // NNG's callback, of a stream

// stream_out_nng.c
void stream_sent(void *argument);              // NNG's callback, of a stream
void stream_drop_queue(struct stream *stream); // under the lock

// stream_nng.c
// Under the stream's lock, which keeps the set from going away: its thread shall finish this one.
void stream_tell_closed(struct stream *stream);
// A connection of NNG's becomes one of ours, with its owner; NNG's is freed where that fails. `ip` is of who connected; NULL: it was dialed.
void stream_begin(struct streams *set, nng_stream *nng, void *dialed, const uint8_t *ip);
// The last of a closed one, on the set's thread: nothing of NNG's is left afterwards.
void stream_finish(struct stream *stream);

#endif
