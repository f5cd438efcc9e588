// wire/stream_nng.h -- TCP connections by NNG: bytes that come are shown to their owner, bytes that go wait in a queue with a limit.
//
// Shape:   shell. With stream_nng.c, stream_in_nng.c, stream_out_nng.c, streams_nng.c and streams_weight_nng.c the only file that knows NNG.
// Threads: everything here from any thread, and nothing waits, but streams_open and streams_close. The owner's functions are called
//          on NNG's threads and on the set's own one, never with a lock held, and must be short.
// Memory:  a connection's input grows as bytes arrive, not as they are announced.
//
// A *set* has a listener, the connections that it accepted, those that were dialed, and one thread that ends connections (only
// there may one wait for NNG to let go of them), watches deadlines, and tries again to accept where descriptors had run out.
//
// A connection is counted. Anybody may close it, once or often; it is at an end for its owner when `end` was called, after
// which `read` is not, and its memory goes with the last who kept it.
#ifndef OMEN_WIRE_STREAM_NNG_H
#define OMEN_WIRE_STREAM_NNG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gossip/gossip_msg.h"

struct streams; // opaque
struct stream;  // opaque

enum stream_end { // why a connection was closed
    STREAM_OPEN,
    STREAM_LEFT,    // by the other side, or half of it, or it broke
    STREAM_CLOSED,  // we did not want it any longer
    STREAM_REFUSED, // what it said
    STREAM_LATE,    // its deadline passed
    STREAM_CLOGGED, // more waits to be sent than may, or nothing of it went for too long: it does not read
    STREAM_NO_MEMORY,
    STREAM_CROWDED,  // it made room for another
    STREAM_HEAVIEST, // all together had more waiting than may be, and it the most
    STREAM_ENDS,
};

enum stream_miss { // why a dial came to nothing
    STREAM_MISS_OTHER,
    STREAM_MISS_REFUSED, // the system there says that nobody listens
};

// What has come and was not taken yet. `read` says how much of it was.
struct stream_input {
    // Read may keep the memory (mem_free) where it takes all: it then leaves NULL here.
    uint8_t *bytes;
    size_t count;
    size_t taken;  // set by read
    size_t wanted; // set by read, where it knows: so many bytes the next message has at least
    bool pause;    // set by read: nothing is read until stream_resume
    // Hints. Who has sent one request after the other lately, each alone and none between them of another connection of the set.
    bool one_by_one;
    // Set by read: it was one request, or part of one, and nothing that was asked of the set was under way before it.
    bool alone;
    // Set by read: nothing that was asked of the set is under way any more. The next request may be looked out for.
    bool answered;
};

struct streams_config {
    const char *host; // a name or an IP address; NULL: nothing listens
    uint16_t port;    // 0: any
    uint32_t accepted_max;
    uint32_t accepted_of_address_max; // of one IP address; 0: accepted_max
    uint32_t tick_ms; // how late a deadline may be noticed, and how soon what failed is tried again
    // Bytes of which none went for so long close a connection as CLOGGED; 0: never.
    uint32_t stall_ms;
    size_t queue_bytes_max; // of one connection, unless stream_limit says otherwise
    // Of all connections: what has come and was not taken, and what waits to be sent; each where it is 64 KiB of one connection at least.
    // Beyond it, who has the most is closed as HEAVIEST. 0: any.
    size_t waiting_bytes_max;
    void *context;
    // accepted_max are there and one more comes: whether one of them was closed for it. NULL: the new one is closed at once.
    bool (*crowded)(void *context);
    // Somebody connected (`dialed` is NULL), or a dial has come through. Returns the owner; NULL: it is closed, and `end` not called.
    void *(*begin)(void *context, struct stream *stream, void *dialed);
    // A dial has not. May be NULL where nobody dials.
    void (*missed)(void *context, void *dialed, enum stream_miss why);
    void (*read)(void *owner, struct stream *stream, struct stream_input *input);
    void (*end)(void *owner, struct stream *stream, enum stream_end why);
    // On the set's thread, at the latest when it said the last time, or soon after streams_wake. Returns when it is to be called again;
    // UINT64_MAX: it need not be. May be NULL.
    uint64_t (*tick)(void *context, uint64_t now_ns);
};

struct streams_stats {
    uint64_t accepted, dialed, missed;
    uint64_t crowded;       // closed at once: accepted_max were there
    uint64_t of_address;    // closed at once: accepted_of_address_max of its address were there
    uint64_t accept_failed; // no descriptor, no memory; tried again a tick later
    uint64_t ended[STREAM_ENDS];
    uint64_t bytes_in, bytes_out;
    uint64_t waiting;            // bytes, as waiting_bytes_max counts them
    uint64_t looks, looks_found; // looked out for more for a moment; that brought something
    uint32_t open;
};

// Errors: OMEN_E_NO_MEMORY; OMEN_E_INVALID: one cannot listen there.
OMEN_MUST_CHECK omen_status streams_open(const struct streams_config *config, struct streams **out,
                                         struct omen_error *error);
// No one is accepted or dialed any more.
void streams_deaf(struct streams *set);
// Closes all; when it returns nothing of the owners' is called any more, and who kept a connection has an ended one. Not from
// one of the owners' functions. Accepts NULL.
void streams_close(struct streams *set);
uint16_t streams_port(const struct streams *set); // the one that is listened on
void streams_wake(struct streams *set);           // tick is called soon
void streams_stats(const struct streams *set, struct streams_stats *out);

// Connects; either `begin` or `missed` is called with `dialed`, later and once, unless this fails. OMEN_E_CLOSED: the set is deaf;
// OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status streams_dial(struct streams *set, const struct gossip_address *to,
                                         uint64_t give_up_ns, void *dialed);

void stream_keep(struct stream *stream);
void stream_release(struct stream *stream);
void stream_close(struct stream *stream, enum stream_end why);

// Takes `bytes` (mem_free), whatever comes of it. OMEN_E_FULL: the queue is; one that is empty takes anything.
// OMEN_E_CLOSED, OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status stream_write(struct stream *stream, uint8_t *bytes, size_t count);
// As stream_write, but it leaves with the next write, or with stream_send, which has to come soon: several answers in one call of the
// kernel cost little more than one.
OMEN_MUST_CHECK omen_status stream_gather(struct stream *stream, uint8_t *bytes, size_t count);
void stream_send(struct stream *stream);
size_t stream_queued(struct stream *stream); // bytes that wait to be sent
void stream_limit(struct stream *stream, size_t queue_bytes_max);

// Goes on reading after a pause; `read` is called on a thread of NNG's, also when nothing new has come.
void stream_resume(struct stream *stream);
// Closed as LATE when this time has come. UINT64_MAX, as it is in the beginning: never. The newest word counts.
void stream_deadline(struct stream *stream, uint64_t at_ns);

const char *stream_end_name(enum stream_end why); // "clogged"; static

#endif
