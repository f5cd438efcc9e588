// gossip/probe.c -- one member is probed in each period: directly, then by helpers and the control lane.
//
// Shape: machine (a part of gossip/gossip.c's).
//
// Every member is probed once in a walk over a shuffled order, so that the longest time until a crash is met is bounded, not
// only the mean. A period has a direct ping and, after its timeout, the helpers' and one on the control lane, which passes
// where only datagrams are lost. Period and timeout grow with our own awareness score (Lifeguard, section IV.A): who misses
// acks that helpers should have nacked is slow itself.
#include "gossip/gossip_int.h"

static void probe_next(struct gossip *g, struct gossip_output *out);
static void probe_indirect(struct gossip *g, struct gossip_output *out);
static void probe_failed(struct gossip *g, struct gossip_output *out);
static void relay_run(struct gossip *g, struct gossip_output *out);

static uint64_t
timeout_ns(const struct gossip *g)
{
    return g->timing.timeout_ns * (g->awareness + 1);
}

void
probe_run(struct gossip *g, struct gossip_output *out)
{
    if (g->relay_count > 0 && g->now_ns >= g->relay_ns)
        relay_run(g, out);
    if (g->probe.phase == GOSSIP_PROBE_DIRECT && g->now_ns >= g->probe.timeout_ns)
        probe_indirect(g, out);
    if (g->now_ns < g->tick_ns || sends_left(out) == 0 || g->probe.phase == GOSSIP_PROBE_DIRECT)
        return;
    if (g->probe.phase == GOSSIP_PROBE_INDIRECT)
        probe_failed(g, out);
    g->tick_ns = g->now_ns + period_ns(g);
    if (!g->leaving)
        probe_next(g, out);
}

// The next living member of the walk; the dead are passed by.
static void
probe_next(struct gossip *g, struct gossip_output *out)
{
    uint32_t slot = SLOT_NONE;
    for (uint32_t i = 0; i <= g->order_count && slot == SLOT_NONE; i++) {
        if (g->order_next >= g->order_count)
            order_shuffle(g);
        if (g->order_count > 0 && member_living(member_at(g, g->order[g->order_next])))
            slot = g->order[g->order_next];
        if (g->order_next < g->order_count)
            g->order_next++;
    }
    if (slot == SLOT_NONE)
        return;
    const struct gossip_member *member = member_at(g, slot);
    g->probe = (struct gossip_probe){
        .phase = GOSSIP_PROBE_DIRECT,
        .seq = ++g->seq,
        .id = member->id,
        .boot = member->boot,
        .timeout_ns = g->now_ns + timeout_ns(g),
    };
    g->counters.probes++;
    struct gossip_send *send = send_begin(g, out, &member->meta.address, GOSSIP_PING);
    send->msg.seq = g->probe.seq;
    send->msg.target = member->id;
    send->msg.target_boot = member->boot;
    send_fill(g, send, send_about(g, member->id, member->boot));
}

static void
probe_indirect(struct gossip *g, struct gossip_output *out)
{
    if (sends_left(out) < GOSSIP_HELPERS_MAX + 1)
        return; // at the next wake, which is now
    const uint32_t target = member_slot(g, g->probe.id);
    if (target == SLOT_NONE || !member_living(member_at(g, target))) {
        g->probe.phase = GOSSIP_PROBE_NONE;
        return;
    }
    uint32_t chosen[1 + GOSSIP_HELPERS_MAX] = {target};
    uint32_t count = 1;
    while (count <= g->timing.helpers) {
        const uint32_t helper = member_pick(g, WANT_LIVING, chosen, count);
        if (helper == SLOT_NONE)
            break;
        chosen[count++] = helper;
        struct gossip_send *send =
            send_begin(g, out, &member_at(g, helper)->meta.address, GOSSIP_PING_REQ);
        send->msg.seq = g->probe.seq;
        send->msg.target = g->probe.id;
        send->msg.target_boot = g->probe.boot;
        send_fill(g, send, SLOT_NONE);
    }
    if (!g->no_fallback) {
        struct gossip_send *send =
            send_begin(g, out, &member_at(g, target)->meta.address, GOSSIP_PING);
        send->lane = GOSSIP_LANE_CONTROL;
        send->msg.seq = g->probe.seq;
        send->msg.target = g->probe.id;
        send->msg.target_boot = g->probe.boot;
        send_fill(g, send, send_about(g, g->probe.id, g->probe.boot));
    }
    g->probe.phase = GOSSIP_PROBE_INDIRECT;
    g->probe.asked = count - 1;
    // The helpers have their whole time, also when we were woken a little late.
    const uint64_t rest = period_ns(g) - timeout_ns(g);
    if (g->tick_ns < g->now_ns + rest)
        g->tick_ns = g->now_ns + rest;
}

static void
probe_failed(struct gossip *g, struct gossip_output *out)
{
    const struct gossip_probe *probe = &g->probe;
    const uint32_t slot = member_slot(g, probe->id);
    g->probe.phase = GOSSIP_PROBE_NONE;
    if (slot == SLOT_NONE || !member_living(member_at(g, slot)) ||
        member_at(g, slot)->boot != probe->boot)
        return;
    g->counters.probes_failed++;
    awareness_add(g, probe->asked == 0 ? 1 : (int)(probe->asked - probe->nacks));
    if (member_at(g, slot)->state == GOSSIP_SUSPECT)
        suspect_confirm(g, slot, g->self.id);
    else
        suspect_begin(g, out, slot, g->self.id);
}

void
probe_abandon(struct gossip *g)
{
    g->probe.phase = GOSSIP_PROBE_NONE;
    for (uint32_t i = 0; i < GOSSIP_RELAYS_MAX; i++)
        g->relays[i].used = false;
    g->relay_count = 0;
    g->relay_ns = NEVER;
}

static struct gossip_send *
answer(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg,
       enum gossip_msg_kind kind)
{
    struct gossip_send *send = send_begin(g, out, &msg->from_address, kind);
    send->msg.seq = msg->seq;
    if (kind == GOSSIP_ACK) {
        send->msg.target = msg->target;
        send->msg.target_boot = msg->target_boot;
    }
    return send;
}

// An accusation that we refuted before may be all that the other has heard: the answer says it again.
static bool
accuses_us(const struct gossip *g, const struct gossip_msg *msg)
{
    for (uint32_t i = 0; i < msg->claim_count; i++)
        if (msg->claims[i].state != GOSSIP_ALIVE &&
            gossip_id_equal(msg->claims[i].subject, g->self.id))
            return true;
    return false;
}

void
probe_hear_ping(struct gossip *g, struct gossip_output *out, const struct gossip_input *in)
{
    const struct gossip_msg *msg = in->message;
    const bool for_us =
        gossip_id_equal(msg->target, g->self.id) && msg->target_boot == g->self.boot;
    struct gossip_send *send = answer(g, out, msg, for_us ? GOSSIP_ACK : GOSSIP_NEWS);
    send->lane = in->lane;
    // Who looks for another process at our address hears who is here now.
    const bool about_us = !for_us || accuses_us(g, msg);
    send_fill(g, send, about_us ? SLOT_SELF : send_about(g, msg->from, msg->from_boot));
}

void
probe_hear_ack(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg)
{
    const struct gossip_probe *probe = &g->probe;
    if (probe->phase != GOSSIP_PROBE_NONE && msg->seq == probe->seq &&
        gossip_id_equal(msg->target, probe->id) && msg->target_boot == probe->boot) {
        g->probe.phase = GOSSIP_PROBE_NONE;
        awareness_add(g, -1);
        return;
    }
    for (uint32_t i = 0; i < GOSSIP_RELAYS_MAX && g->relay_count > 0; i++) {
        struct gossip_relay *relay = &g->relays[i];
        if (!relay->used || relay->seq != msg->seq || !gossip_id_equal(relay->id, msg->target) ||
            relay->boot != msg->target_boot)
            continue;
        struct gossip_send *send = send_begin(g, out, &relay->origin, GOSSIP_ACK);
        send->msg.seq = relay->origin_seq;
        send->msg.target = relay->id;
        send->msg.target_boot = relay->boot;
        send_fill(g, send, SLOT_NONE);
        relay->used = false;
        g->relay_count--;
        return;
    }
}

void
probe_hear_nack(struct gossip *g, const struct gossip_msg *msg)
{
    if (g->probe.phase == GOSSIP_PROBE_INDIRECT && msg->seq == g->probe.seq &&
        g->probe.nacks < g->probe.asked)
        g->probe.nacks++;
}

// A ping for somebody else. Only to a member that we know, at the address that we know: nobody makes us send to a stranger.
void
probe_hear_request(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg)
{
    if (gossip_id_equal(msg->target, g->self.id) && msg->target_boot == g->self.boot) {
        send_fill(g, answer(g, out, msg, GOSSIP_ACK), send_about(g, msg->from, msg->from_boot));
        return;
    }
    const uint32_t slot = member_slot(g, msg->target);
    if (slot == SLOT_NONE || slot == SLOT_SELF || g->relay_count == GOSSIP_RELAYS_MAX ||
        member_at(g, slot)->state == GOSSIP_LEFT || member_at(g, slot)->boot != msg->target_boot) {
        const uint32_t about = slot == SLOT_NONE || member_at(g, slot)->boot <= msg->target_boot
                                   ? send_about(g, msg->from, msg->from_boot)
                                   : slot; // a newer process is there
        send_fill(g, answer(g, out, msg, GOSSIP_NACK), about);
        return;
    }
    struct gossip_relay *relay = g->relays;
    while (relay->used)
        relay++;
    const struct gossip_member *member = member_at(g, slot);
    *relay = (struct gossip_relay){
        .used = true,
        .seq = ++g->seq,
        .origin_seq = msg->seq,
        .id = msg->target,
        .boot = msg->target_boot,
        .origin = msg->from_address,
        .nack_ns = g->now_ns + g->timing.timeout_ns / 5 * 4, // early enough to count in this period
    };
    g->relay_ns = g->relay_count++ == 0 ? relay->nack_ns : ns_min(g->relay_ns, relay->nack_ns);
    struct gossip_send *send = send_begin(g, out, &member->meta.address, GOSSIP_PING);
    send->msg.seq = relay->seq;
    send->msg.target = relay->id;
    send->msg.target_boot = relay->boot;
    send_fill(g, send, send_about(g, relay->id, relay->boot));
}

// Those whose time is up get their nack; the rest say when we look again.
static void
relay_run(struct gossip *g, struct gossip_output *out)
{
    g->relay_ns = NEVER;
    for (uint32_t i = 0; i < GOSSIP_RELAYS_MAX; i++) {
        struct gossip_relay *relay = &g->relays[i];
        if (!relay->used)
            continue;
        if (relay->nack_ns > g->now_ns || sends_left(out) == 0) {
            g->relay_ns = ns_min(g->relay_ns, relay->nack_ns);
            continue;
        }
        struct gossip_send *send = send_begin(g, out, &relay->origin, GOSSIP_NACK);
        send->msg.seq = relay->origin_seq;
        send_fill(g, send, SLOT_NONE);
        relay->used = false;
        g->relay_count--;
    }
}
