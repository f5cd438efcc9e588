// wire/bus_lane.c -- for each peer a connection a lane: made, lost and made again.
//
// Shape: shell.
//
//   a lane:  nothing -- send: dial --> being made, frames wait -- lane_ready --> there
//            being made or there -- lane_lost --> nothing, and refuses until retry_ns
//            it was there -- lane_lost: dial, and lanes_seek: dial --> being made
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/bus_int.h"

#define MS ((uint64_t)1000000)
#define SEEKS 2u // dials after a loss, the first at once

struct lane *
bus_lane_of(struct bus_peer *peer, uint8_t lane)
{
    return &peer->lanes[lane == PEER_BULK];
}

bool
lane_connect(struct bus *bus, struct bus_peer *peer, uint8_t which)
{
    struct lane *lane = bus_lane_of(peer, which);
    if (lane->link != NULL)
        return true;
    const uint64_t now_ns = os_clock_ns();
    if (now_ns < lane->retry_ns)
        return false;
    struct link *link = mem_alloc_zero(1, sizeof *link);
    bool made = link != NULL && encode_reserve(&lane->waiting, CONFIRM_FRAME_BYTES) != NULL;
    if (made) {
        *link = (struct link){.bus = bus, .phase = LINK_DIALING, .lane = which, .peer = peer};
        const uint64_t give_up_ns = now_ns + bus->config.handshake_ms * MS;
        made = streams_dial(bus->streams, &peer->address, give_up_ns, link) == OMEN_OK;
    }
    if (!made) {
        encode_reset(&lane->waiting); // also of a want of memory, which it would remember
        mem_free(link);
        return false;
    }
    lane->link = link;
    return true;
}

void
lane_ready(struct link *link, const uint8_t confirm[HANDSHAKE_CONFIRM_BYTES])
{
    struct bus *bus = link->bus;
    struct wire_uuid node = {0};
    lock_acquire(&bus->lock);
    if (link->peer == NULL) { // forgotten, and closed
        lock_release(&bus->lock);
        return;
    }
    struct lane *lane = bus_lane_of(link->peer, link->lane);
    node = link->peer->node;
    const struct peer_head head = {.kind = PEER_CONFIRM, .lane = link->lane};
    peer_head_write(head, (struct wire_bytes){confirm, HANDSHAKE_CONFIRM_BYTES},
                    lane->waiting.bytes);
    memcpy(lane->waiting.bytes + PEER_HEAD_BYTES, confirm, HANDSHAKE_CONFIRM_BYTES);
    uint8_t *bytes = lane->waiting.bytes;
    const size_t count = lane->waiting.count;
    encode_init(&lane->waiting, SIZE_MAX);
    lane->pause_ms = lane->seeks = 0;
    link->phase = LINK_SENDS;
    const omen_status status = stream_write(link->stream, bytes, count);
    lock_release(&bus->lock);
    if (status != OMEN_OK)
        stream_close(link->stream, STREAM_NO_MEMORY);
    else if (!uuid_is_none(node) && link->lane == PEER_CONTROL)
        bus->config.up(bus->config.context, node);
}

void
lane_heard(struct link *link)
{
    struct bus *bus = link->bus;
    lock_acquire(&bus->lock);
    for (struct link *other = bus->receiving; other != NULL; other = other->next)
        if (other->lane == link->lane && uuid_equal(other->theirs.node, link->theirs.node))
            stream_close(other->stream, STREAM_CLOSED);
    link->next = bus->receiving;
    if (link->next != NULL)
        link->next->previous = link;
    bus->receiving = link;
    struct bus_peer *peer = bus_peer_find(bus, link->theirs.node);
    if (peer != NULL)
        lanes_hurry(bus, peer);
    lock_release(&bus->lock);
    bus->config.up(bus->config.context, link->theirs.node);
}

void
lane_unheard(struct link *link)
{
    struct bus *bus = link->bus;
    lock_acquire(&bus->lock);
    if (link->previous != NULL)
        link->previous->next = link->next;
    else
        bus->receiving = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    lock_release(&bus->lock);
}

static bool
is_sought(const struct lane *lane)
{
    return lane->seeks > 0 && lane->link == NULL;
}

uint64_t
lanes_seek(struct bus *bus, struct bus_peer *peer, uint64_t now_ns)
{
    uint64_t due_ns = UINT64_MAX;
    for (int which = PEER_CONTROL; which <= PEER_BULK; which++) {
        const struct lane *lane = bus_lane_of(peer, (uint8_t)which);
        if (is_sought(lane) && now_ns >= lane->retry_ns)
            (void)lane_connect(bus, peer, (uint8_t)which);
        if (is_sought(lane) && lane->retry_ns < due_ns)
            due_ns = lane->retry_ns;
    }
    return due_ns;
}

void
lanes_hurry(struct bus *bus, struct bus_peer *peer)
{
    const bool sought = is_sought(&peer->lanes[0]) || is_sought(&peer->lanes[1]);
    peer->lanes[0].retry_ns = peer->lanes[1].retry_ns = 0;
    if (sought)
        streams_wake(bus->streams);
}

// How long until it is tried again, after it could not be made.
static uint32_t
next_pause_ms(const struct bus *bus, const struct lane *lane)
{
    const uint32_t doubled = 2 * lane->pause_ms;
    const uint32_t longer =
        doubled < bus->config.pause_least_ms ? bus->config.pause_least_ms : doubled;
    return longer < bus->config.pause_most_ms ? longer : bus->config.pause_most_ms;
}

// The first time after it was there it is tried again at once. Not that of a stranger: it may be a node that we know as well, and
// its connections would take each other's place for ever (lane_heard).
void
lane_lost(struct link *link, enum stream_miss why)
{
    struct bus *bus = link->bus;
    struct wire_uuid node = {0};
    lock_acquire(&bus->lock);
    struct bus_peer *peer = link->peer;
    if (peer != NULL) {
        struct lane *lane = bus_lane_of(peer, link->lane);
        ASSERT(lane->link == link);
        node = peer->node;
        const uint32_t pause_ms = next_pause_ms(bus, lane);
        const uint32_t seeks = lane->seeks > 0 ? lane->seeks - 1 : 0;
        const bool was_there = link->phase == LINK_SENDS;
        lane_reset(lane);
        lane->pause_ms = was_there ? 0 : pause_ms;
        lane->retry_ns = was_there ? 0 : os_clock_ns() + pause_ms * MS;
        lane->seeks = was_there && !uuid_is_none(node) ? SEEKS : seeks;
        if (lane->seeks == SEEKS)
            (void)lane_connect(bus, peer, link->lane);
    }
    lock_release(&bus->lock);
    if (uuid_is_none(node))
        return;
    bus->config.down(bus->config.context, node);
    if (why == STREAM_MISS_REFUSED && bus->config.refused != NULL)
        bus->config.refused(bus->config.context, node);
}
