// wire/bus.h -- SEAM: frames between nodes, two lanes over TCP, and gossip's datagrams.
//
// Shape:   shell.
// Threads: sends from any thread, never wait. Callbacks come on the bus's threads; what they are lent is theirs for the call only.
#ifndef OMEN_WIRE_BUS_H
#define OMEN_WIRE_BUS_H
#include "wire/handshake.h"
#include "wire/peer.h"
#include "wire/seal.h"

struct bus; // opaque

struct bus_frame {
    uint8_t lane; // enum peer_lane
    uint8_t kind; // enum peer_kind
    uint64_t correlation;
    uint32_t deadline_ms;
    struct wire_bytes body; // copied
};

// False: nobody is there or its queue is full: it is as if it were lost.
bool bus_send(struct bus *bus, struct wire_uuid node, const struct bus_frame *frame);
bool bus_send_address(struct bus *bus, const struct gossip_address *address,
                      const struct bus_frame *frame);
void bus_datagram(struct bus *bus, const struct gossip_address *to, struct wire_bytes packet);
void bus_know(struct bus *bus, struct wire_uuid node, const struct gossip_address *address);
void bus_forget(struct bus *bus, struct wire_uuid node);

#endif
