// wire/bus_int.h -- what the files of the bus know of each other.
//
// Shape: shell.
#ifndef OMEN_WIRE_BUS_INT_H
#define OMEN_WIRE_BUS_INT_H
#include <stdatomic.h>

#include "base/os_lock.h"
#include "wire/bus.h"
#include "wire/encode.h"
#include "wire/stream_nng.h"

#define PEER_BUCKETS 256u
#define CONFIRM_FRAME_BYTES (PEER_HEAD_BYTES + HANDSHAKE_CONFIRM_BYTES)

enum link_phase {
    LINK_DIALING,
    LINK_WANTS_WELCOME, // we connected, and said hello
    LINK_SENDS,         // and are known: frames go
    LINK_WANTS_HELLO,   // somebody connected
    LINK_WANTS_CONFIRM,
    LINK_TOLD,     // of our cluster, which it is not of yet; it may say nothing
    LINK_RECEIVES, // and is known: frames come
};

struct link { // a connection
    struct bus *bus;
    struct stream *stream; // kept; NULL while it is dialed
    enum link_phase phase; // of a dialed one under the bus's lock
    uint8_t lane;
    // Whom we dialed, under the bus's lock; NULL: forgotten meanwhile, or we were dialed.
    struct bus_peer *peer;
    struct handshake ours, theirs;
    struct link *previous, *next; // of those that receive, under the bus's lock
    uint8_t hello[HANDSHAKE_HELLO_BYTES];
    uint8_t welcome[HANDSHAKE_WELCOME_BYTES];
};

struct lane {
    struct link *link;     // NULL: there is none
    struct encode waiting; // frames until it is there, behind room for a CONFIRM
    uint64_t retry_ns;     // not before
    uint32_t pause_ms;     // the last one; 0: it was there
    uint32_t seeks; // dials to come although there is nothing to send: it was there, and is not
};

struct bus_peer {
    struct bus_peer *next; // in its bucket
    struct wire_uuid node; // none: it is only known by its address
    struct gossip_address address;
    uint64_t used_ns;
    struct lane lanes[2]; // control, bulk
};

struct udp; // bus_udp.c

struct bus {
    struct bus_config config; // ours: complete once it is open
    struct seal_keys keys;
    _Atomic bool open; // not shut any more
    struct streams *streams;
    struct udp *udp;
    struct lock lock;
    struct bus_peer *peers[PEER_BUCKETS]; // those without a uuid are in the first
    uint32_t strangers;                   // without a uuid
    struct link *receiving;
    _Atomic uint64_t frames_in, frames_out, full, nobody, wrong_node;
    _Atomic uint64_t refusals[PEER_REFUSALS], verdicts[HANDSHAKE_VERDICTS];
};

static inline bool
uuid_equal(struct wire_uuid a, struct wire_uuid b)
{
    return a.high == b.high && a.low == b.low;
}

static inline bool
uuid_is_none(struct wire_uuid uuid)
{
    return (uuid.high | uuid.low) == 0;
}

static inline void
bus_count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

// ---- bus_link.c: one connection; callbacks of its stream ----

// The context is the bus, the owner and who is dialed a link.
void *link_begin(void *context, struct stream *stream, void *dialed);
void link_missed(void *context, void *dialed, enum stream_miss why);
void link_read(void *owner, struct stream *stream, struct stream_input *input);
void link_end(void *owner, struct stream *stream, enum stream_end why);
// The bytes of a frame, which are the caller's; NULL: no memory.
uint8_t *frame_bytes(const struct bus_frame *frame, size_t *count);

// ---- bus_peer.c: whom the bus knows; under its lock ----

struct bus_peer *bus_peer_find(struct bus *bus, struct wire_uuid node); // NULL: it is not known
// Not known yet; without a uuid it is a stranger. NULL: no memory.
struct bus_peer *bus_peer_make(struct bus *bus, struct wire_uuid node,
                               const struct gossip_address *address);
void bus_peer_free(struct bus *bus,
                   struct bus_peer **at); // and takes it out of the list that *at is in
void lane_reset(struct lane *lane);       // what it was is forgotten, also that it was not there
// Forgets strangers, dials whom it seeks; takes the lock. Returns when it has to the next time.
uint64_t bus_peers_tick(void *context, uint64_t now_ns);

// ---- bus_lane.c ----

struct lane *bus_lane_of(struct bus_peer *peer, uint8_t lane);
// Under the lock. Whether a connection is there, or is being made now.
bool lane_connect(struct bus *bus, struct bus_peer *peer, uint8_t which);
// A dialed link is known: what waited goes, behind our CONFIRM, which the lane's memory has room for.
void lane_ready(struct link *link, const uint8_t confirm[HANDSHAKE_CONFIRM_BYTES]);
// A node has connected to us, and what it says is heard from now on: an older connection of its lane is left over from something
// that it has lost, and our own lanes to it need not wait any longer.
void lane_heard(struct link *link);
void lane_unheard(struct link *link);
// A dialed link is no more, or came to nothing.
void lane_lost(struct link *link, enum stream_miss why);
// Under the lock: dials what of a peer's was lost and is looked for. Returns when it has to the next time.
uint64_t lanes_seek(struct bus *bus, struct bus_peer *peer, uint64_t now_ns);
// Under the lock: nothing of it waits for a pause to end any more.
void lanes_hurry(struct bus *bus, struct bus_peer *peer);

// ---- bus_udp.c ----

struct udp_config {
    struct gossip_address listen;
    const struct seal_keys *keys; // borrowed
    void *context;
    void (*datagram)(void *context, const struct gossip_address *from, struct wire_bytes packet);
};

struct udp_stats {
    uint64_t in, out, refused, lost;
};

OMEN_MUST_CHECK omen_status udp_open(const struct udp_config *config, struct udp **out,
                                     struct omen_error *error);
void udp_close(struct udp *udp); // accepts NULL
void udp_send(struct udp *udp, const struct gossip_address *to, struct wire_bytes packet);
void udp_stats(const struct udp *udp, struct udp_stats *out);

#endif
