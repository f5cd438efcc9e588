// node/meta_send.c -- what a turn wants said to other nodes, to the bus.
//
// Shape: shell.
//
// Raft speaks to numbers of its group, the bus to uuids: gossip says which is which (node/turn.h). What is for a number that nobody is
// known to go by is as if it were lost.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_log.h"
#include "node/meta_int.h"
#include "wire/node_codec.h"

#define MESSAGE_BYTES_MAX (PEER_BULK_BYTES_MAX)

_Static_assert(TURN_MSG_COMMAND == (int)WIRE_TURN_COMMAND &&
                   TURN_MSG_LEASE_ASK == (int)WIRE_TURN_LEASE_ASK &&
                   TURN_MSG_LEASE_GRANT == (int)WIRE_TURN_LEASE_GRANT,
               "kinds travel as they are");

static struct wire_uuid
wire_of(struct cluster_uuid uuid)
{
    return (struct wire_uuid){uuid.high, uuid.low};
}

static struct meta_peer *
peer_of(struct meta *meta, struct cluster_uuid node)
{
    for (uint32_t i = 0; i < meta->peer_count; i++)
        if (uuid_equal(meta->peers[i].node, node))
            return &meta->peers[i];
    if (meta->peer_count == meta->peer_room) {
        const uint32_t room = meta->peer_room * 2 + 16;
        struct meta_peer *grown = mem_resize(meta->peers, room * sizeof *grown);
        if (grown == NULL)
            return NULL; // gossip says it again with the next change
        meta->peers = grown;
        meta->peer_room = room;
    }
    struct meta_peer *peer = &meta->peers[meta->peer_count++];
    *peer = (struct meta_peer){.node = node};
    return peer;
}

void
meta_learn_peers(struct meta *meta)
{
    uint32_t cursor = 0;
    const struct gossip_member *member;
    while ((member = gossip_next(&meta->turn.gossip, &cursor)) != NULL) {
        struct meta_peer *peer =
            peer_of(meta, (struct cluster_uuid){member->id.high, member->id.low});
        if (peer == NULL)
            continue;
        const uint64_t number = turn_said_read(&member->meta).member;
        if (number != 0)
            peer->member = number;
        const bool there = !member->superseded && member->state != GOSSIP_LEFT;
        const struct gossip_address none = {.port = 0};
        const struct gossip_address *address = there ? &member->meta.address : &none;
        if (gossip_address_equal(&peer->address, address) && peer->boot == member->boot)
            continue;
        peer->address = *address;
        peer->boot = member->boot; // of a new process: what was refused may be tried at once
        if (address->port != 0)
            bus_know(meta->config.bus, wire_of(peer->node), address);
        else
            bus_forget(meta->config.bus, wire_of(peer->node));
    }
}

struct cluster_uuid
meta_node_of(const struct meta *meta, uint64_t member)
{
    if (member == meta->turn.config.raft.id)
        return meta->self;
    for (uint32_t i = 0; member != 0 && i < meta->peer_count; i++)
        if (meta->peers[i].member == member && meta->peers[i].address.port != 0)
            return meta->peers[i].node;
    return (struct cluster_uuid){0};
}

static struct wire_bytes
encoded(const struct meta *meta)
{
    return (struct wire_bytes){meta->encode.bytes, (uint32_t)meta->encode.count};
}

// False: it was certainly not sent.
static bool
send_to(struct meta *meta, struct cluster_uuid to, enum peer_lane lane, enum peer_kind kind)
{
    if (meta->encode.status != OMEN_OK || uuid_is_none(to))
        return false;
    if (uuid_equal(to, meta->self)) {
        const struct peer_head head = {.kind = (uint8_t)kind, .lane = (uint8_t)lane};
        meta_frame(meta, meta->self, meta->turn.config.gossip.boot, &head, encoded(meta));
        return true;
    }
    const struct bus_frame frame = {
        .lane = (uint8_t)lane, .kind = (uint8_t)kind, .body = encoded(meta)};
    return bus_send(meta->config.bus, wire_of(to), &frame);
}

static void
send_raft(struct meta *meta, const struct raft_msg *msg)
{
    encode_reset(&meta->encode);
    raft_msg_write(&meta->encode, msg);
    const bool large = msg->entry_count > 0 || msg->chunk_bytes > 0;
    (void)send_to(meta, meta_node_of(meta, msg->to), large ? PEER_BULK : PEER_CONTROL, PEER_RAFT);
}

// Whoever wished for it breaks a limit of cluster/command.h.
static void
log_refused(uint8_t kind)
{
    static struct log_site site;
    struct log_line line;
    if (!log_begin(&line, &site, LOG_LEVEL_ERROR, "meta.command_invalid"))
        return;
    log_text(&line, "kind", command_kind_name(kind));
    log_end(&line);
}

static void
send_turn(struct meta *meta, const struct turn_send *send)
{
    uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count = 0;
    const struct turn_msg *msg = &send->msg;
    if (msg->command != NULL &&
        command_encode(msg->command, bytes, sizeof bytes, &count) != OMEN_OK) {
        log_refused(msg->command->kind);
        return;
    }
    const struct wire_turn turn = {.kind = (uint8_t)msg->kind,
                                   .node = msg->node,
                                   .boot = msg->boot,
                                   .sent_ns = msg->sent_ns,
                                   .lease_ns = msg->lease_ns,
                                   .position = msg->position,
                                   .command_bytes = (uint32_t)count,
                                   .command = bytes};
    encode_reset(&meta->encode);
    wire_turn_write(&meta->encode, &turn);
    (void)send_to(meta, send->member != 0 ? meta_node_of(meta, send->member) : send->node,
                  PEER_CONTROL, PEER_TURN);
}

void
meta_send_command(struct meta *meta, const struct command *command)
{
    const struct turn_send send = {.node = meta_lead(meta).node,
                                   .msg = {.kind = TURN_MSG_COMMAND, .command = command}};
    if (!uuid_is_none(send.node))
        send_turn(meta, &send);
}

static void
send_gossip(struct meta *meta, const struct gossip_send *send)
{
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    const size_t count = gossip_msg_encode(&send->msg, bytes);
    const struct wire_bytes packet = {bytes, (uint32_t)count};
    if (send->lane == GOSSIP_LANE_DATAGRAM) {
        bus_datagram(meta->config.bus, &send->to, packet);
        return;
    }
    const struct bus_frame frame = {.lane = PEER_CONTROL, .kind = PEER_GOSSIP, .body = packet};
    (void)bus_send_address(meta->config.bus, &send->to, &frame);
}

void
meta_send(struct meta *meta)
{
    const struct turn_output *out = &meta->out;
    for (uint32_t i = 0; i < out->raft.msg_count; i++)
        send_raft(meta, &out->raft.msgs[i]);
    for (uint32_t i = 0; i < out->gossip.send_count; i++)
        send_gossip(meta, &out->gossip.sends[i]);
    for (uint32_t i = 0; i < out->send_count; i++)
        send_turn(meta, &out->sends[i]);
    if (out->gossip.persist_peers) {
        const uint32_t known = gossip_peers(&meta->turn.gossip, meta->addresses, GOSSIP_PEERS_MAX);
        disk_peers(meta->config.disk, meta->addresses,
                   known < GOSSIP_PEERS_MAX ? known : GOSSIP_PEERS_MAX);
    }
}

void
meta_send_map(struct meta *meta, struct cluster_uuid to, uint64_t newer_than)
{
    const struct map *map = &meta->turn.map;
    if (map->version <= newer_than)
        return;
    const size_t total = snapshot_bytes(map);
    uint8_t *bytes = mem_alloc(total);
    if (bytes == NULL)
        return; // it asks again
    snapshot_encode(map, bytes, total);
    struct wire_map piece = {.version = map->version,
                             .position = map->position,
                             .total_bytes = total,
                             .hash = hash_bytes(bytes, total)};
    for (size_t at = 0; at < total; at += piece.piece_bytes) {
        const size_t left = total - at;
        piece.offset = at;
        piece.piece_bytes =
            left < WIRE_MAP_PIECE_BYTES_MAX ? (uint32_t)left : WIRE_MAP_PIECE_BYTES_MAX;
        piece.piece = bytes + at;
        encode_reset(&meta->encode);
        wire_map_write(&meta->encode, &piece);
        (void)send_to(meta, to, PEER_BULK, PEER_MAP);
    }
    mem_free(bytes);
}

void
meta_send_clock(struct meta *meta, struct cluster_uuid to, const struct wire_turn *said)
{
    encode_reset(&meta->encode);
    wire_turn_write(&meta->encode, said);
    (void)send_to(meta, to, PEER_CONTROL, PEER_TURN);
}

bool
meta_send_map_ask(struct meta *meta, struct cluster_uuid to, uint64_t newer_than)
{
    const struct wire_map_ask ask = {.version = newer_than};
    encode_reset(&meta->encode);
    wire_map_ask_write(&meta->encode, &ask);
    return send_to(meta, to, PEER_CONTROL, PEER_MAP_ASK);
}
