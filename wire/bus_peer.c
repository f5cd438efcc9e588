// wire/bus_peer.c -- whom the bus knows: nodes by their uuid, and strangers by their address alone.
//
// Shape: shell. All of it is under the bus's lock.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/bus_int.h"

#define MS ((uint64_t)1000000)
#define STRANGER_NS (60000 * MS) // they are forgotten when nothing was sent for so long

static struct bus_peer **
bucket_of(struct bus *bus, struct wire_uuid node)
{
    return &bus->peers[uuid_is_none(node) ? 0 : (node.high ^ node.low) % PEER_BUCKETS];
}

struct bus_peer *
bus_peer_find(struct bus *bus, struct wire_uuid node)
{
    struct bus_peer *peer = *bucket_of(bus, node);
    while (peer != NULL && !uuid_equal(peer->node, node))
        peer = peer->next;
    return peer;
}

struct bus_peer *
bus_peer_make(struct bus *bus, struct wire_uuid node, const struct gossip_address *address)
{
    struct bus_peer *peer = mem_alloc_zero(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    struct bus_peer **bucket = bucket_of(bus, node);
    *peer = (struct bus_peer){.next = *bucket, .node = node, .address = *address};
    peer->used_ns = os_clock_ns();
    encode_init(&peer->lanes[0].waiting, SIZE_MAX);
    encode_init(&peer->lanes[1].waiting, SIZE_MAX);
    *bucket = peer;
    if (uuid_is_none(node))
        bus->strangers++;
    return peer;
}

void
lane_reset(struct lane *lane)
{
    if (lane->link != NULL) {
        lane->link->peer = NULL;
        if (lane->link->stream != NULL)
            stream_close(lane->link->stream, STREAM_CLOSED);
    }
    lane->link = NULL;
    lane->retry_ns = 0;
    lane->pause_ms = lane->seeks = 0;
    encode_fini(&lane->waiting);
    encode_init(&lane->waiting, SIZE_MAX);
}

void
bus_peer_free(struct bus *bus, struct bus_peer **at)
{
    struct bus_peer *peer = *at;
    *at = peer->next;
    if (uuid_is_none(peer->node))
        bus->strangers--;
    for (uint32_t i = 0; i < 2; i++) {
        lane_reset(&peer->lanes[i]);
        encode_fini(&peer->lanes[i].waiting);
    }
    mem_free(peer);
}

void
bus_know(struct bus *bus, struct wire_uuid node, const struct gossip_address *address)
{
    ASSERT(!uuid_is_none(node));
    lock_acquire(&bus->lock);
    struct bus_peer *peer = bus_peer_find(bus, node);
    if (peer == NULL) {
        (void)bus_peer_make(bus, node, address); // without memory nobody knows it
    } else if (!gossip_address_equal(&peer->address, address)) {
        peer->address = *address;
        lane_reset(&peer->lanes[0]);
        lane_reset(&peer->lanes[1]);
    } else {
        lanes_hurry(bus, peer);
    }
    lock_release(&bus->lock);
}

void
bus_forget(struct bus *bus, struct wire_uuid node)
{
    ASSERT(!uuid_is_none(node));
    lock_acquire(&bus->lock);
    struct bus_peer **at = bucket_of(bus, node);
    while (*at != NULL && !uuid_equal((*at)->node, node))
        at = &(*at)->next;
    if (*at != NULL)
        bus_peer_free(bus, at);
    lock_release(&bus->lock);
}

uint64_t
bus_peers_tick(void *context, uint64_t now_ns)
{
    struct bus *bus = context;
    uint64_t due_ns = UINT64_MAX;
    lock_acquire(&bus->lock);
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        for (struct bus_peer **at = &bus->peers[i]; *at != NULL;)
            if (uuid_is_none((*at)->node) && (*at)->used_ns + STRANGER_NS <= now_ns) {
                bus_peer_free(bus, at);
            } else {
                const uint64_t seek_ns = lanes_seek(bus, *at, now_ns);
                due_ns = seek_ns < due_ns ? seek_ns : due_ns;
                at = &(*at)->next;
            }
    lock_release(&bus->lock);
    return due_ns;
}
