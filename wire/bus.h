// wire/bus.h -- SEAM: frames between nodes on two lanes, and gossip's datagrams.
//
// Shape:   shell. bus_nng.c, and beside it what is named bus_..., is the real half: TCP but for bus_udp.c.
// Threads: sends from any thread; they never wait. Callbacks come on the bus's threads, one at a time for one connection; what they
//          are lent is theirs for the call only, and they must be short (copy into a note, post it).
//
// What is sent may be lost, and a sender is told only where that is known at once. Of one sender to one node on one lane, what
// arrives over one connection arrives in order; a connection that was lost is followed by another.
//
// Each lane to a node is a connection of its own, made by who has something to send, when it has, and used in that direction only:
// two nodes that talk have up to four. A lost one is made again with the next frame, after a pause that grows from 50 ms to 2 s while
// nobody is there; in the pause frames are refused. One that was there and is lost is looked for at once and after the first pause,
// although nobody sends anything: who hears that nobody listens twice may take it that the process there is gone. What is sent
// while a connection is being made waits for it.
#ifndef OMEN_WIRE_BUS_H
#define OMEN_WIRE_BUS_H
#include "base/error.h"
#include "gossip/gossip_msg.h"
#include "wire/handshake.h"
#include "wire/peer.h"
#include "wire/seal.h"

struct bus; // opaque

struct bus_frame {
    uint8_t lane; // enum peer_lane
    uint8_t kind; // enum peer_kind, not one of the handshake's
    uint32_t deadline_ms;
    uint64_t correlation;
    struct wire_bytes body; // copied
};

// Zeros of the numbers are replaced by what the comments say.
struct bus_config {
    struct gossip_address listen; // TCP and UDP, on one port; 0: any that is free for both
    struct handshake ours; // the nonce is drawn for each connection; not looked at where `shut`
    // Who connects is closed at once, and nothing may be sent, until bus_let_in: the port is ours, and nothing else is there.
    bool shut;
    const struct seal_keys *keys; // copied; NULL: keys of zeros, which keep nobody out
    uint32_t connections_max;     // that others made: 4,096
    uint32_t handshake_ms;        // 5,000
    uint32_t stall_ms;            // a connection that takes no byte for so long is closed: 10,000
    uint32_t pause_least_ms, pause_most_ms; // 50, 2,000
    uint32_t control_bytes_max,
        bulk_bytes_max; // that wait on a lane: 16 MiB, 64 MiB. An empty lane takes any frame
    uint32_t tick_ms;   // how late a time may be noticed: 50
    void *context;
    void (*frame)(void *context, struct wire_uuid from, uint64_t boot, const struct peer_head *head,
                  struct wire_bytes body);
    void (*datagram)(void *context, const struct gossip_address *from, struct wire_bytes packet);
    // Hints: our control lane to a node is there, or it has connected to us; one of our lanes to it is not, or could not be made;
    // and (may be NULL) its system said that nobody listens there.
    void (*up)(void *context, struct wire_uuid node);
    void (*down)(void *context, struct wire_uuid node);
    void (*refused)(void *context, struct wire_uuid node);
};

struct bus_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t connected, accepted, missed, crowded;
    uint64_t full, nobody;                 // frames that were not taken
    uint64_t refusals[PEER_REFUSALS];      // connections closed by it
    uint64_t verdicts[HANDSHAKE_VERDICTS]; // handshakes; FINE: those that were
    uint64_t wrong_node;                   // another one than bus_know said is there
    uint64_t late, clogged;                // connections closed by it
    uint64_t datagrams_in, datagrams_out;
    uint64_t datagrams_refused; // not sealed with our key
    uint64_t datagrams_lost;    // that the system did not take
    uint32_t open;
};

// Callbacks may come before this returns. OMEN_E_INVALID: one cannot listen there. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status bus_open(const struct bus_config *config, struct bus **out,
                                     struct omen_error *error);
// Once, where it was opened shut, and before anything is sent: who this node is.
void bus_let_in(struct bus *bus, const struct handshake *ours);
// When it returns, no callback comes any more. Not from one. Accepts NULL.
void bus_close(struct bus *bus);
uint16_t bus_port(const struct bus *bus);
void bus_stats(struct bus *bus, struct bus_stats *out);

// Where a node is. The newest word counts: another address closes what went to the old one. It is tried at once.
void bus_know(struct bus *bus, struct wire_uuid node, const struct gossip_address *address);
void bus_forget(struct bus *bus, struct wire_uuid node);

// False: it is lost for certain: nobody knows the node, it is not there, or too much waits for it.
bool bus_send(struct bus *bus, struct wire_uuid node, const struct bus_frame *frame);
// To whoever of our cluster is there.
bool bus_send_address(struct bus *bus, const struct gossip_address *to,
                      const struct bus_frame *frame);
// A packet of gossip's.
void bus_datagram(struct bus *bus, const struct gossip_address *to, struct wire_bytes packet);

#endif
