// gossip/sync.c -- whole states: to join, to find the lost again, and for what gossip missed.
//
// Shape: machine (a part of gossip/gossip.c's).
//
//     a                                  b
//     | -- ASK: the digest of my state --> |   equal: nothing to say
//     | <-- STATE, in pieces, WANT --------|   else b sends what it knows,
//     | --- STATE, in pieces ------------> |   and a what it knew (and learnt on the way)
//
// A piece is a message like any other and stands for itself; one that is lost is made up for by a later sync. Every member asks
// one other from time to time, and tries one that is lost: a dead member, or an address of START that is nobody's. It never
// gives up on these: two halves that were apart for a week meet again this way. A member without any other tries hard first,
// then as seldom.
#include "base/alloc.h"
#include "gossip/gossip_int.h"

#define SYNC_SCALE_FROM_LOG2 5u // above 2^5 members the interval grows with each doubling
#define LONELY_TRIES 3u

uint64_t
random_ns(struct gossip *g, uint64_t bound)
{
    return bound == 0 ? 0 : prng_next(&g->prng) % bound;
}

bool
seeds_set(struct gossip *g, const struct gossip_address *peers, uint32_t count)
{
    if (count > GOSSIP_PEERS_MAX)
        count = GOSSIP_PEERS_MAX;
    if (count == 0)
        return true;
    struct gossip_address *seeds = mem_alloc(count * sizeof *seeds);
    if (seeds == NULL)
        return false;
    mem_free(g->seeds);
    g->seeds = seeds;
    g->seed_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (peers[i].port != 0 && !gossip_address_equal(&peers[i], &g->self.meta.address))
            seeds[g->seed_count++] = peers[i];
    return true;
}

// It is a member's address now, and kept with the member.
void
seed_drop(struct gossip *g, const struct gossip_address *address)
{
    for (uint32_t i = g->seed_count; i-- > 0;)
        if (gossip_address_equal(&g->seeds[i], address))
            g->seeds[i] = g->seeds[--g->seed_count];
}

static bool
is_kept(const struct gossip_member *member)
{
    return member->used && member->state != GOSSIP_LEFT && !member->superseded;
}

uint32_t
gossip_peers(const struct gossip *gossip, struct gossip_address *peers, uint32_t room)
{
    uint32_t count = 0;
    for (uint32_t slot = 1; slot <= gossip->member_slots; slot++) {
        const struct gossip_member *member = member_see(gossip, slot);
        if (is_kept(member) && count++ < room)
            peers[count - 1] = member->meta.address;
    }
    for (uint32_t i = 0; i < gossip->seed_count; i++)
        if (count++ < room)
            peers[count - 1] = gossip->seeds[i];
    return count;
}

// The sum over all members, so that the order does not matter. Suspicions are passing and not in it; those who left are
// forgotten at different times and are not in it either.
static uint64_t
state_digest(const struct gossip *g)
{
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot <= g->member_slots; slot++) {
        const struct gossip_member *member = member_see(g, slot);
        if (!is_kept(member))
            continue;
        uint64_t hash = mix64(member->id.high + 1);
        hash = mix64(hash ^ member->id.low);
        hash = mix64(hash ^ member->boot);
        sum += mix64(hash ^ ((uint64_t)member->incarnation << 1 | !member_living(member)));
    }
    return sum;
}

static void
ask(struct gossip *g, struct gossip_output *out, const struct gossip_address *to)
{
    struct gossip_send *send = send_begin(g, out, to, GOSSIP_ASK);
    send->lane = GOSSIP_LANE_CONTROL;
    send->msg.digest = state_digest(g);
    send_fill(g, send, SLOT_SELF); // the other may not know us
}

// False where there is no room: then it is asked this once.
static bool
seed_add(struct gossip *g, const struct gossip_address *address)
{
    for (uint32_t i = 0; i < g->seed_count; i++)
        if (gossip_address_equal(&g->seeds[i], address))
            return true;
    for (uint32_t slot = 1; slot <= g->member_slots; slot++) {
        const struct gossip_member *member = member_see(g, slot);
        if (is_kept(member) && gossip_address_equal(&member->meta.address, address))
            return true; // and is kept with the member
    }
    if (g->seed_count == GOSSIP_PEERS_MAX)
        return false;
    struct gossip_address *seeds = mem_resize(g->seeds, (g->seed_count + 1) * sizeof *seeds);
    if (seeds == NULL)
        return false;
    g->seeds = seeds;
    seeds[g->seed_count++] = *address;
    g->peers_changed = true;
    return true;
}

void
seed_meet(struct gossip *g, struct gossip_output *out, const struct gossip_address *address)
{
    if (address->port == 0 || gossip_address_equal(address, &g->self.meta.address))
        return;
    if (!seed_add(g, address))
        note(g, out, GOSSIP_NOTE_NO_MEMORY, &(struct gossip_note){.id = g->self.id});
    ask(g, out, address);
}

static void
stream_begin(struct gossip *g, const struct gossip_msg *msg, uint8_t flags)
{
    struct gossip_stream *free_one = NULL;
    for (uint32_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        struct gossip_stream *stream = &g->streams[i];
        if (stream->used && gossip_address_equal(&stream->to, &msg->from_address))
            return; // it is on its way
        if (!stream->used)
            free_one = stream;
    }
    if (free_one == NULL)
        return; // it asks again
    *free_one = (struct gossip_stream){
        .used = true,
        .flags = flags,
        .slot = SLOT_SELF,
        .to = msg->from_address,
        .id = msg->from,
        .boot = msg->from_boot,
    };
    g->stream_count++;
}

void
sync_hear_ask(struct gossip *g, const struct gossip_msg *msg)
{
    if (msg->digest != state_digest(g))
        stream_begin(g, msg, GOSSIP_FLAG_WANT);
}

void
sync_hear_state(struct gossip *g, const struct gossip_msg *msg)
{
    if ((msg->flags & GOSSIP_FLAG_WANT) != 0)
        stream_begin(g, msg, 0);
}

static void
stream_piece(struct gossip *g, struct gossip_output *out, struct gossip_stream *stream)
{
    struct gossip_send *send = send_begin(g, out, &stream->to, GOSSIP_STATE);
    send->lane = GOSSIP_LANE_CONTROL;
    send->msg.flags = stream->flags;
    stream->flags = 0;
    struct gossip_claim claim;
    if (stream->slot == SLOT_SELF) {
        // First what is thought of the other: it refutes before it answers with its own state.
        const uint32_t about = send_about(g, stream->id, stream->boot);
        if (about != SLOT_NONE) {
            claim_of(g, about, &claim);
            send_claim(send, &claim);
        }
    }
    for (; stream->slot <= g->member_slots; stream->slot++) {
        if (!member_at(g, stream->slot)->used)
            continue;
        claim_of(g, stream->slot, &claim);
        claim.has_meta = 1;
        if (!send_claim(send, &claim))
            return;
    }
    stream->used = false;
    g->stream_count--;
}

static void
rejoin(struct gossip *g, struct gossip_output *out)
{
    const bool lonely = gossip_living(g) == 1;
    if (!lonely)
        g->lonely_ns = g->timing.probe_ns;
    for (uint32_t i = 0; i < (lonely ? LONELY_TRIES : 1); i++) {
        const uint32_t lost = g->counts[GOSSIP_DEAD] + g->seed_count;
        if (lost == 0)
            break;
        const uint32_t one = prng_below(&g->prng, lost);
        uint32_t slot = SLOT_NONE;
        if (one >= g->seed_count)
            slot = member_pick(g, WANT_LOST, NULL, 0);
        if (slot != SLOT_NONE)
            ask(g, out, &member_at(g, slot)->meta.address);
        else if (g->seed_count > 0)
            ask(g, out, &g->seeds[one % g->seed_count]);
    }
    const uint64_t after = lonely ? g->lonely_ns : g->timing.rejoin_ns;
    g->rejoin_ns = g->now_ns + after / 2 + random_ns(g, after);
    if (lonely)
        g->lonely_ns = ns_min(g->lonely_ns * 2, g->timing.rejoin_ns);
}

// Those who need not be remembered any more.
static void
sweep(struct gossip *g, struct gossip_output *out)
{
    for (uint32_t slot = 1; slot <= g->member_slots; slot++) {
        const struct gossip_member *member = member_at(g, slot);
        if (member->used && !member_living(member) && !is_kept(member) &&
            g->now_ns - member->since_ns > g->timing.left_keep_ns)
            member_drop(g, out, slot);
    }
}

static uint64_t
sync_interval(const struct gossip *g)
{
    const uint32_t living = gossip_living(g);
    const uint32_t log2 = living <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(living - 1); // rounded up
    return g->timing.sync_ns * (log2 > SYNC_SCALE_FROM_LOG2 ? log2 - SYNC_SCALE_FROM_LOG2 + 1 : 1);
}

void
sync_soon(struct gossip *g)
{
    g->sync_ns = ns_min(g->sync_ns, g->now_ns + random_ns(g, g->timing.probe_ns));
}

void
sync_run(struct gossip *g, struct gossip_output *out)
{
    if (g->now_ns >= g->rejoin_ns && sends_left(out) >= LONELY_TRIES && !g->leaving)
        rejoin(g, out);
    if (g->now_ns >= g->sync_ns && sends_left(out) > 0) {
        const uint32_t slot = g->leaving ? SLOT_NONE : member_pick(g, WANT_LIVING, NULL, 0);
        if (slot != SLOT_NONE)
            ask(g, out, &member_at(g, slot)->meta.address);
        const uint64_t after = sync_interval(g);
        g->sync_ns = g->now_ns + after - after / 8 + random_ns(g, after / 4);
        g->foreign_noted = false;
        sweep(g, out);
    }
    for (uint32_t i = 0; i < GOSSIP_STREAMS_MAX && g->stream_count > 0; i++)
        while (g->streams[i].used && sends_left(out) > 0)
            stream_piece(g, out, &g->streams[i]);
}
