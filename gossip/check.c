// gossip/check.c -- every invariant of the machine, asserted; O(members), for tests and the simulator.
//
// Shape: machine (a part of gossip/gossip.c's).
#include "gossip/gossip_int.h"

static void
check_self(const struct gossip *g)
{
    ASSERT(!gossip_id_is_none(g->cluster) && !gossip_id_is_none(g->self.id));
    ASSERT(g->self.used && gossip_meta_valid(&g->self.meta));
    ASSERT(g->self.incarnation <= GOSSIP_INCARNATION_MAX);
    ASSERT(g->self.state == (g->leaving ? GOSSIP_LEFT : GOSSIP_ALIVE));
    ASSERT(g->awareness <= GOSSIP_AWARENESS_MAX);
    ASSERT(g->member_slots <= g->member_room && g->member_room <= g->members_max);
    ASSERT(g->order_next <= g->order_count && g->order_count <= g->member_slots);
    ASSERT(g->seed_count <= GOSSIP_PEERS_MAX);
}

static void
check_members(const struct gossip *g)
{
    uint32_t counts[4] = {0}, used = 0, in_table = 0, unused = 0;
    for (uint32_t slot = 1; slot <= g->member_slots; slot++) {
        const struct gossip_member *member = member_see(g, slot);
        if (!member->used)
            continue;
        used++;
        ASSERT(member->state <= GOSSIP_LEFT);
        counts[member->state]++;
        ASSERT(member_slot(g, member->id) == slot);
        ASSERT(!gossip_id_equal(member->id, g->self.id));
        ASSERT(member->order_at < g->order_count && g->order[member->order_at] == slot);
        ASSERT(gossip_meta_valid(&member->meta));
        ASSERT(member->incarnation <= GOSSIP_INCARNATION_MAX);
        ASSERT(member->since_ns <= g->now_ns);
        ASSERT(!member->superseded || member->state == GOSSIP_DEAD);
    }
    ASSERT(used == g->order_count);
    for (uint32_t state = 0; state <= GOSSIP_LEFT; state++)
        ASSERT(counts[state] == g->counts[state]);
    for (uint32_t i = 0; i < g->table_room; i++)
        in_table += g->table[i] != 0;
    ASSERT(in_table == used);
    for (uint32_t slot = g->free_slot; slot != 0; slot = member_see(g, slot)->queue_next) {
        ASSERT(!member_see(g, slot)->used);
        ASSERT(++unused <= g->member_slots);
    }
    ASSERT(used + unused == g->member_slots);
}

static void
check_queue(const struct gossip *g)
{
    uint32_t queued = 0, listed = 0;
    for (uint32_t slot = 0; slot <= g->member_slots; slot++)
        queued += member_see(g, slot)->used && member_see(g, slot)->queued;
    for (uint32_t told = 0; told <= GOSSIP_TELLS_MAX; told++) {
        uint32_t before = 0;
        for (uint32_t at = g->queue_first[told]; at != 0; at = member_see(g, at - 1)->queue_next) {
            const struct gossip_member *member = member_see(g, at - 1);
            ASSERT(member->used && member->queued && member->told == told);
            ASSERT(member->queue_previous == before);
            ASSERT(++listed <= g->queue_count);
            before = at;
        }
        ASSERT(g->queue_last[told] == before);
        ASSERT((before != 0) == ((g->queue_mask >> told & 1) != 0));
    }
    ASSERT(queued == g->queue_count && listed == queued);
}

static void
check_suspects(const struct gossip *g)
{
    uint32_t count = 0, before = 0;
    for (uint32_t slot = g->suspect_first; slot != 0; slot = member_see(g, slot)->suspect_next) {
        const struct gossip_member *member = member_see(g, slot);
        const struct gossip_suspicion *suspicion = &member->suspicion;
        ASSERT(member->used && member->state == GOSSIP_SUSPECT);
        ASSERT(member->suspect_previous == before);
        ASSERT(suspicion->count > 0 && suspicion->count <= GOSSIP_SUSPECTORS_MAX);
        ASSERT(suspicion->said < suspicion->count);
        ASSERT(suspicion->min_ns > 0);
        ASSERT(suspicion->deadline_ns >= suspicion->start_ns + suspicion->min_ns);
        ASSERT(suspicion->deadline_ns <=
               suspicion->start_ns + suspicion->min_ns * g->timing.suspicion_worst);
        ASSERT(g->suspect_ns <= suspicion->deadline_ns && g->suspect_ns <= suspicion->call_ns);
        for (uint32_t i = 0; i < suspicion->count; i++)
            ASSERT(!gossip_id_equal(suspicion->by[i], member->id));
        ASSERT(++count <= g->counts[GOSSIP_SUSPECT]);
        before = slot;
    }
    ASSERT(count == g->counts[GOSSIP_SUSPECT]);
}

static void
check_traffic(const struct gossip *g)
{
    uint32_t relays = 0, streams = 0;
    for (uint32_t i = 0; i < GOSSIP_RELAYS_MAX; i++) {
        relays += g->relays[i].used;
        ASSERT(!g->relays[i].used || g->relay_ns <= g->relays[i].nack_ns);
    }
    ASSERT(relays == g->relay_count);
    for (uint32_t i = 0; i < GOSSIP_STREAMS_MAX; i++)
        streams += g->streams[i].used;
    ASSERT(streams == g->stream_count);
    ASSERT(g->probe.nacks <= g->probe.asked && g->probe.asked <= GOSSIP_HELPERS_MAX);
    if (g->started && !g->gone)
        ASSERT(g->tick_ns <= g->now_ns + 2 * g->timing.probe_ns * (GOSSIP_AWARENESS_MAX + 1));
}

void
gossip_check(const struct gossip *gossip)
{
    check_self(gossip);
    check_members(gossip);
    check_queue(gossip);
    check_suspects(gossip);
    check_traffic(gossip);
}
