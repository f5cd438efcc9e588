// tests/lib/bus_memory.h -- the simulated half of wire/bus.h: nodes of one process, without sockets.
//
// Shape: shell, simulated. Included once in a program: it defines the seam's functions.
//
// Where somebody is goes by its port. Who is cut off is heard by nobody and hears nobody, and two who are parted do not hear each other;
// a frame is there when the call returns.
#ifndef OMEN_TESTS_BUS_MEMORY_H
#define OMEN_TESTS_BUS_MEMORY_H
#include <string.h>

#include "base/os_lock.h"
#include "node/meta.h"

#define BUS_NODES_MAX 8u

struct bus {
    struct wire_uuid node;
    uint64_t boot;
    struct gossip_address address;
    struct gossip_address known[BUS_NODES_MAX]; // by port of who is known
    struct wire_uuid known_nodes[BUS_NODES_MAX];
    uint32_t known_count;
    struct meta *meta; // NULL: not there
    bool cut;
    const struct bus *apart; // from this one; NULL: from nobody
    uint64_t frames;
};

static struct lock bus_lock = LOCK_INIT;
static struct bus *bus_network[BUS_NODES_MAX];

static inline void
bus_join_network(uint32_t at, struct bus *bus, struct meta *meta)
{
    lock_acquire(&bus_lock);
    bus->meta = meta;
    bus_network[at] = bus;
    lock_release(&bus_lock);
}

static inline void
bus_leave_network(uint32_t at)
{
    lock_acquire(&bus_lock);
    bus_network[at] = NULL;
    lock_release(&bus_lock);
}

static inline void
bus_cut(struct bus *bus, bool cut)
{
    lock_acquire(&bus_lock);
    bus->cut = cut;
    lock_release(&bus_lock);
}

static inline void
bus_part(struct bus *one, struct bus *other, bool apart)
{
    lock_acquire(&bus_lock);
    one->apart = apart ? other : NULL;
    other->apart = apart ? one : NULL;
    lock_release(&bus_lock);
}

// Under the lock.
static inline struct bus *
bus_at(const struct bus *from, const struct gossip_address *address)
{
    for (uint32_t i = 0; i < BUS_NODES_MAX; i++) {
        struct bus *bus = bus_network[i];
        if (bus != NULL && bus != from && bus->meta != NULL && !bus->cut && !from->cut &&
            bus->apart != from && gossip_address_equal(&bus->address, address))
            return bus;
    }
    return NULL;
}

static inline bool
bus_give(struct bus *bus, const struct gossip_address *address, const struct bus_frame *frame)
{
    const struct bus *to = bus_at(bus, address);
    if (to == NULL)
        return false;
    const struct peer_head head = {.kind = frame->kind,
                                   .lane = frame->lane,
                                   .correlation = frame->correlation,
                                   .deadline_ms = frame->deadline_ms,
                                   .body_bytes = frame->body.count};
    bus->frames++;
    meta_frame(to->meta, (struct cluster_uuid){bus->node.high, bus->node.low}, bus->boot, &head,
               frame->body);
    return true;
}

bool
bus_send(struct bus *bus, struct wire_uuid node, const struct bus_frame *frame)
{
    bool sent = false;
    lock_acquire(&bus_lock);
    for (uint32_t i = 0; i < bus->known_count; i++)
        if (bus->known_nodes[i].high == node.high && bus->known_nodes[i].low == node.low)
            sent = bus_give(bus, &bus->known[i], frame);
    lock_release(&bus_lock);
    return sent;
}

bool
bus_send_address(struct bus *bus, const struct gossip_address *address,
                 const struct bus_frame *frame)
{
    lock_acquire(&bus_lock);
    const bool sent = bus_give(bus, address, frame);
    lock_release(&bus_lock);
    return sent;
}

void
bus_datagram(struct bus *bus, const struct gossip_address *to, struct wire_bytes packet)
{
    lock_acquire(&bus_lock);
    const struct bus *there = bus_at(bus, to);
    if (there != NULL)
        meta_datagram(there->meta, packet);
    lock_release(&bus_lock);
}

void
bus_forget(struct bus *bus, struct wire_uuid node)
{
    lock_acquire(&bus_lock);
    for (uint32_t i = 0; i < bus->known_count; i++)
        if (bus->known_nodes[i].high == node.high && bus->known_nodes[i].low == node.low) {
            bus->known[i] = bus->known[--bus->known_count];
            bus->known_nodes[i] = bus->known_nodes[bus->known_count];
            break;
        }
    lock_release(&bus_lock);
}

void
bus_know(struct bus *bus, struct wire_uuid node, const struct gossip_address *address)
{
    bus_forget(bus, node);
    lock_acquire(&bus_lock);
    if (bus->known_count < BUS_NODES_MAX) {
        bus->known_nodes[bus->known_count] = node;
        bus->known[bus->known_count++] = *address;
    }
    lock_release(&bus_lock);
}

#endif
