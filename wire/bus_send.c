// wire/bus_send.c -- frames to a node, or to whoever is at an address.
//
// Shape: shell.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/bus_int.h"

#define STRANGERS_MAX 1024u // addresses whose node is not known

struct target {
    struct wire_uuid node;                // none: whoever is at
    const struct gossip_address *address; // this one
};

// Under the lock. Of who is at the address it is a node that we know, rather than a stranger that it was before: two connections to one
// node take each other's place.
static struct bus_peer *
target_find(struct bus *bus, const struct target *target)
{
    if (!uuid_is_none(target->node))
        return bus_peer_find(bus, target->node);
    struct bus_peer *stranger = NULL;
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        for (struct bus_peer *peer = bus->peers[i]; peer != NULL; peer = peer->next) {
            if (!gossip_address_equal(&peer->address, target->address))
                continue;
            if (!uuid_is_none(peer->node))
                return peer;
            stranger = peer;
        }
    if (stranger != NULL)
        return stranger;
    if (bus->strangers == STRANGERS_MAX)
        return NULL;
    return bus_peer_make(bus, target->node, target->address);
}

// Whether there is a connection, or one is being made.
static bool
is_reached(struct bus *bus, const struct target *target, uint8_t lane)
{
    lock_acquire(&bus->lock);
    struct bus_peer *peer = target_find(bus, target);
    const bool reached = peer != NULL && lane_connect(bus, peer, lane);
    lock_release(&bus->lock);
    return reached;
}

// Under the lock: puts the frame behind what waits for the connection.
static bool
wait_for_lane(const struct bus *bus, struct lane *lane, const uint8_t *bytes, size_t count)
{
    const size_t before = lane->waiting.count;
    const size_t most =
        lane->link->lane == PEER_BULK ? bus->config.bulk_bytes_max : bus->config.control_bytes_max;
    if (before > CONFIRM_FRAME_BYTES && before - CONFIRM_FRAME_BYTES + count > most)
        return false;
    encode_raw(&lane->waiting, bytes, count);
    if (lane->waiting.status == OMEN_OK)
        return true;
    encode_rewind(&lane->waiting, before);
    return false;
}

// Takes `bytes`. Why not, if they are not taken: the connection may be lost since it was looked for.
static _Atomic uint64_t *
hand_over(struct bus *bus, const struct target *target, uint8_t which, uint8_t *bytes, size_t count)
{
    struct stream *stream = NULL;
    _Atomic uint64_t *objection = &bus->nobody;
    lock_acquire(&bus->lock);
    struct bus_peer *peer = target_find(bus, target);
    const struct link *link = peer != NULL ? bus_lane_of(peer, which)->link : NULL;
    if (link != NULL) {
        peer->used_ns = os_clock_ns();
        if (link->phase == LINK_SENDS) {
            stream = link->stream;
            stream_keep(stream);
        } else {
            const bool waits = wait_for_lane(bus, bus_lane_of(peer, which), bytes, count);
            objection = waits ? NULL : &bus->full;
        }
    }
    lock_release(&bus->lock);
    if (stream == NULL) {
        mem_free(bytes);
        return objection;
    }
    const omen_status status = stream_write(stream, bytes, count);
    stream_release(stream);
    if (status == OMEN_E_CLOSED)
        return &bus->nobody;
    return status == OMEN_OK ? NULL : &bus->full;
}

static bool
send_to(struct bus *bus, const struct target *target, const struct bus_frame *frame)
{
    ASSERT(frame->lane == PEER_CONTROL || frame->lane == PEER_BULK);
    _Atomic uint64_t *objection = &bus->nobody;
    if (is_reached(bus, target, frame->lane)) {
        size_t count;
        uint8_t *bytes = frame_bytes(frame, &count);
        objection = bytes != NULL ? hand_over(bus, target, frame->lane, bytes, count) : &bus->full;
    }
    bus_count(objection != NULL ? objection : &bus->frames_out);
    return objection == NULL;
}

bool
bus_send(struct bus *bus, struct wire_uuid node, const struct bus_frame *frame)
{
    ASSERT(!uuid_is_none(node));
    const struct target target = {.node = node};
    return send_to(bus, &target, frame);
}

bool
bus_send_address(struct bus *bus, const struct gossip_address *to, const struct bus_frame *frame)
{
    const struct target target = {.address = to};
    return send_to(bus, &target, frame);
}

void
bus_datagram(struct bus *bus, const struct gossip_address *to, struct wire_bytes packet)
{
    udp_send(bus->udp, to, packet);
}
