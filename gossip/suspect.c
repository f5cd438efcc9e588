// gossip/suspect.c -- how long a suspect has to refute.
//
// Shape: machine (a part of gossip/gossip.c's).
//
// Lifeguard, section IV.B: one suspector may itself be the slow one, so the time starts at the worst case and shrinks to the
// minimum as independent suspectors confirm: worst - (worst - min) * log(c + 1) / log(k + 1) after c of k. Where there are not
// k others who could confirm, the minimum holds at once.
//
// A refutation that reached all others may have missed us: of 100 members that tell everything 12 times, with a loss of
// 10 %, one misses some claim every few hours, and it would declare a death that nobody else believes in. So whoever holds a
// suspicion calls the suspect itself, every quarter of the minimum, until it answers or its time is up.
#include "gossip/gossip_int.h"

#define FIXED_ONE 65536u
#define LOG2_OF_10_FIXED 217706u // log2(10) * 65536
#define CALLS_IN_MIN 4u

// min, and how many confirmations shrink to it, for a cluster of this size.
static void
suspicion_init(const struct gossip *g, struct gossip_suspicion *suspicion)
{
    const uint32_t living = gossip_living(g);
    uint64_t tens = log2_fixed(living) * FIXED_ONE / LOG2_OF_10_FIXED; // log10, fixed point
    if (tens < FIXED_ONE)
        tens = FIXED_ONE;
    suspicion->start_ns = g->now_ns;
    suspicion->min_ns = (g->timing.probe_ns * g->timing.suspicion >> 8) * tens >> 8;
    suspicion->call_ns = g->now_ns + suspicion->min_ns / CALLS_IN_MIN;
    suspicion->needed = g->timing.suspicion - 2;
    if (living < suspicion->needed + 2) // k others besides the suspect and us
        suspicion->needed = 0;
    suspicion->count = suspicion->said = 0;
}

static uint64_t
suspicion_ns(const struct gossip_suspicion *suspicion, uint32_t worst)
{
    ASSERT(suspicion->count > 0);
    const uint32_t confirmed = suspicion->count - 1;
    if (confirmed >= suspicion->needed)
        return suspicion->min_ns;
    const uint64_t worst_ns = suspicion->min_ns * worst;
    const uint64_t share =
        log2_fixed(confirmed + 1) * FIXED_ONE / log2_fixed(suspicion->needed + 1);
    return worst_ns - ((worst_ns - suspicion->min_ns) >> 8) * share / (FIXED_ONE >> 8);
}

static void
deadline_set(struct gossip *g, struct gossip_suspicion *suspicion)
{
    suspicion->deadline_ns =
        suspicion->start_ns + suspicion_ns(suspicion, g->timing.suspicion_worst);
    g->suspect_ns = ns_min(g->suspect_ns, ns_min(suspicion->deadline_ns, suspicion->call_ns));
}

void
suspect_begin(struct gossip *g, struct gossip_output *out, uint32_t slot, struct gossip_id by)
{
    member_set_state(g, out, slot, GOSSIP_SUSPECT);
    struct gossip_suspicion *suspicion = &member_at(g, slot)->suspicion;
    suspicion_init(g, suspicion);
    suspicion->by[suspicion->count++] = by;
    deadline_set(g, suspicion);
    queue_put(g, slot);
    note_member(g, out, GOSSIP_NOTE_SUSPECT, slot, suspicion->count);
}

void
suspect_confirm(struct gossip *g, uint32_t slot, struct gossip_id by)
{
    struct gossip_suspicion *suspicion = &member_at(g, slot)->suspicion;
    if (suspicion->count > suspicion->needed || suspicion->count == GOSSIP_SUSPECTORS_MAX)
        return; // it shrinks no more
    for (uint32_t i = 0; i < suspicion->count; i++)
        if (gossip_id_equal(suspicion->by[i], by))
            return;
    suspicion->said = suspicion->count - 1; // the new one is told next
    suspicion->by[suspicion->count++] = by;
    deadline_set(g, suspicion);
    queue_put(g, slot);
}

void
suspect_link(struct gossip *g, uint32_t slot)
{
    struct gossip_member *member = member_at(g, slot);
    member->suspect_previous = 0;
    member->suspect_next = g->suspect_first;
    if (g->suspect_first != 0)
        member_at(g, g->suspect_first)->suspect_previous = slot;
    g->suspect_first = slot;
}

void
suspect_unlink(struct gossip *g, uint32_t slot)
{
    const struct gossip_member *member = member_at(g, slot);
    if (member->suspect_previous != 0)
        member_at(g, member->suspect_previous)->suspect_next = member->suspect_next;
    else
        g->suspect_first = member->suspect_next;
    if (member->suspect_next != 0)
        member_at(g, member->suspect_next)->suspect_previous = member->suspect_previous;
}

// A ping that nobody waits for: what counts is that the answer refutes.
static void
call(struct gossip *g, struct gossip_output *out, uint32_t slot)
{
    struct gossip_member *member = member_at(g, slot);
    struct gossip_send *send = send_begin(g, out, &member->meta.address, GOSSIP_PING);
    send->msg.target = member->id;
    send->msg.target_boot = member->boot;
    send_fill(g, send, slot);
    member->suspicion.call_ns = g->now_ns + member->suspicion.min_ns / CALLS_IN_MIN;
}

void
suspect_run(struct gossip *g, struct gossip_output *out)
{
    if (g->now_ns < g->suspect_ns)
        return;
    g->suspect_ns = NEVER;
    for (uint32_t slot = g->suspect_first, next; slot != 0; slot = next) {
        const struct gossip_member *member = member_at(g, slot);
        next = member->suspect_next;
        if (member->suspicion.deadline_ns > g->now_ns) {
            if (member->suspicion.call_ns <= g->now_ns && sends_left(out) > 0)
                call(g, out, slot);
            g->suspect_ns = ns_min(
                g->suspect_ns, ns_min(member->suspicion.deadline_ns, member->suspicion.call_ns));
            continue;
        }
        member_set_state(g, out, slot, GOSSIP_DEAD);
        g->counters.declared++;
        queue_put(g, slot);
        note_member(g, out, GOSSIP_NOTE_DEAD, slot, 1);
    }
}

void
suspect_delay(struct gossip *g, uint64_t ns)
{
    g->suspect_ns = NEVER;
    for (uint32_t slot = g->suspect_first; slot != 0; slot = member_at(g, slot)->suspect_next) {
        struct gossip_suspicion *suspicion = &member_at(g, slot)->suspicion;
        suspicion->start_ns += ns;
        suspicion->deadline_ns += ns;
        g->suspect_ns = ns_min(g->suspect_ns, ns_min(suspicion->deadline_ns, suspicion->call_ns));
    }
}
