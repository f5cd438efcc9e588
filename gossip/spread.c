// gossip/spread.c -- what is news, who is told, and how much fits a datagram.
//
// Shape: machine (a part of gossip/gossip.c's).
//
// The queue holds members, not claims: what is told is what we think at the time, so a newer claim replaces an older one by
// itself and the queue is never longer than the table. Those told least often go first (Lifeguard's and memberlist's
// order), by one list for each number of tellings; after tells_max() of them a claim is no news any more. Claims ride on every
// message that has room; a round of NEWS every gossip_ns carries them on where too little else is sent.
#include "gossip/gossip_int.h"

#define LOOKED_AT_MAX 64u // claims that may turn out too large for the room that is left

static void
list_append(struct gossip *g, uint32_t slot, uint32_t told)
{
    struct gossip_member *member = member_at(g, slot);
    member->told = (uint8_t)told;
    member->queue_next = 0;
    member->queue_previous = g->queue_last[told];
    if (g->queue_last[told] != 0)
        member_at(g, g->queue_last[told] - 1)->queue_next = slot + 1;
    else
        g->queue_first[told] = slot + 1;
    g->queue_last[told] = slot + 1;
    g->queue_mask |= 1u << told;
}

static void
list_remove(struct gossip *g, uint32_t slot)
{
    const struct gossip_member *member = member_at(g, slot);
    if (member->queue_previous != 0)
        member_at(g, member->queue_previous - 1)->queue_next = member->queue_next;
    else
        g->queue_first[member->told] = member->queue_next;
    if (member->queue_next != 0)
        member_at(g, member->queue_next - 1)->queue_previous = member->queue_previous;
    else
        g->queue_last[member->told] = member->queue_previous;
    if (g->queue_first[member->told] == 0)
        g->queue_mask &= ~(1u << member->told);
}

void
queue_put(struct gossip *g, uint32_t slot)
{
    queue_take(g, slot);
    list_append(g, slot, 0);
    member_at(g, slot)->queued = true;
    g->queue_count++;
}

void
queue_take(struct gossip *g, uint32_t slot)
{
    struct gossip_member *member = member_at(g, slot);
    if (!member->queued)
        return;
    list_remove(g, slot);
    member->queued = false;
    g->queue_count--;
}

static void
queue_told(struct gossip *g, uint32_t slot)
{
    const struct gossip_member *member = member_at(g, slot);
    if (member->told + 1u >= tells_max(g)) {
        queue_take(g, slot);
        return;
    }
    const uint32_t told = member->told + 1u;
    list_remove(g, slot);
    list_append(g, slot, told);
}

struct gossip_send *
send_begin(struct gossip *g, struct gossip_output *out, const struct gossip_address *to,
           enum gossip_msg_kind kind)
{
    ASSERT(out->send_count < GOSSIP_SENDS_MAX);
    struct gossip_send *send = &out->sends[out->send_count++];
    send->to = *to;
    send->lane = GOSSIP_LANE_DATAGRAM;
    memset(&send->msg, 0, offsetof(struct gossip_msg, claims));
    send->msg.kind = (uint8_t)kind;
    send->msg.cluster = g->cluster;
    send->msg.from = g->self.id;
    send->msg.from_boot = g->self.boot;
    send->msg.from_address = g->self.meta.address;
    return send;
}

bool
send_claim(struct gossip_send *send, const struct gossip_claim *claim)
{
    struct gossip_msg *msg = &send->msg;
    if (msg->claim_count == GOSSIP_CLAIMS_MAX ||
        gossip_msg_bytes(msg) + gossip_claim_bytes(claim) > GOSSIP_PACKET_BYTES_MAX)
        return false;
    msg->claims[msg->claim_count++] = *claim;
    return true;
}

uint32_t
send_about(const struct gossip *g, struct gossip_id id, uint64_t boot)
{
    const uint32_t slot = member_slot(g, id);
    if (slot == SLOT_NONE || slot == SLOT_SELF)
        return SLOT_NONE;
    const struct gossip_member *member = member_see(g, slot);
    return member->state != GOSSIP_ALIVE || member->boot > boot ? slot : SLOT_NONE;
}

// Takes claims from the queue until the message is full. Those taken are counted as told when all are chosen, so that none is
// met twice.
void
send_fill(struct gossip *g, struct gossip_send *send, uint32_t about)
{
    uint32_t taken[GOSSIP_CLAIMS_MAX], count = 0, looked_at = 0;
    struct gossip_claim claim;
    size_t bytes = gossip_msg_bytes(&send->msg);
    if (about != SLOT_NONE) {
        claim_of(g, about, &claim);
        if (send_claim(send, &claim))
            bytes += gossip_claim_bytes(&claim);
    }
    for (uint32_t mask = g->queue_mask; mask != 0; mask &= mask - 1) {
        uint32_t next = g->queue_first[__builtin_ctz(mask)];
        for (; next != 0 && looked_at < LOOKED_AT_MAX; looked_at++) {
            const uint32_t slot = next - 1;
            next = member_at(g, slot)->queue_next;
            if (send->msg.claim_count == GOSSIP_CLAIMS_MAX ||
                bytes + GOSSIP_CLAIM_BYTES_MIN > GOSSIP_PACKET_BYTES_MAX)
                break;
            if (slot == about)
                continue;
            claim_of(g, slot, &claim);
            if (bytes + gossip_claim_bytes(&claim) > GOSSIP_PACKET_BYTES_MAX)
                continue;
            bytes += gossip_claim_bytes(&claim);
            send->msg.claims[send->msg.claim_count++] = claim;
            taken[count++] = slot;
        }
    }
    for (uint32_t i = 0; i < count; i++)
        queue_told(g, taken[i]);
}

void
spread_run(struct gossip *g, struct gossip_output *out)
{
    if (g->queue_count == 0 || g->now_ns < g->gossip_ns || sends_left(out) < g->timing.fanout)
        return;
    uint32_t chosen[GOSSIP_FANOUT_MAX], count = 0;
    while (count < g->timing.fanout && g->queue_count > 0) {
        const uint32_t slot = member_pick(g, WANT_LISTENERS, chosen, count);
        if (slot == SLOT_NONE)
            break;
        chosen[count++] = slot;
        const struct gossip_member *member = member_at(g, slot);
        struct gossip_send *send = send_begin(g, out, &member->meta.address, GOSSIP_NEWS);
        send_fill(g, send, send_about(g, member->id, member->boot));
    }
    g->gossip_ns = g->now_ns + g->timing.gossip_ns;
}
