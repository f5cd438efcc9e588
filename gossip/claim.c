// gossip/claim.c -- what is heard about members, and which of two claims holds.
//
// Shape: machine (a part of gossip/gossip.c's).
//
// The greater (boot, incarnation, state) holds. Three things are not that simple:
// - What comes as a whole state (STATE, ASK) may be hours old. That somebody is dead there is only a suspicion here, as long
//   as we see it living: when two halves of a cluster meet again nobody may die of what the other half believed.
// - After a pause of ours accusations wait for the next period (gossip.c, late()).
// - An address has one process at a time. The one with the higher boot generation is there; the other is dead.
#include "gossip/gossip_int.h"

static bool
is_whole_state(const struct gossip_msg *msg)
{
    return msg->kind == GOSSIP_STATE || msg->kind == GOSSIP_ASK;
}

// Whether the claim is greater than what is known.
static bool
is_news(const struct gossip_claim *claim, const struct gossip_member *member)
{
    if (claim->boot != member->boot)
        return claim->boot > member->boot;
    if (claim->incarnation != member->incarnation)
        return claim->incarnation > member->incarnation;
    return claim->state > member->state;
}

// Another living member, not `slot`, that has this address.
static uint32_t
living_at(const struct gossip *g, const struct gossip_address *address, uint32_t slot)
{
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct gossip_member *member = member_see(g, g->order[i]);
        if (g->order[i] != slot && member_living(member) &&
            gossip_address_equal(&member->meta.address, address))
            return g->order[i];
    }
    return SLOT_NONE;
}

static void
take_dead(struct gossip *g, struct gossip_output *out, uint32_t slot)
{
    member_set_state(g, out, slot, GOSSIP_DEAD);
    struct gossip_member *member = member_at(g, slot);
    member->superseded = living_at(g, &member->meta.address, slot) != SLOT_NONE;
    g->peers_changed |= member->superseded;
}

// `slot` was just heard to live at its address: who was there before is not there any more.
static void
supersede(struct gossip *g, struct gossip_output *out, uint32_t slot)
{
    const struct gossip_member *here = member_at(g, slot);
    if (gossip_address_equal(&here->meta.address, &g->self.meta.address))
        note_member(g, out, GOSSIP_NOTE_TWIN, slot, here->boot);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const uint32_t other = g->order[i];
        struct gossip_member *member = member_at(g, other);
        if (other == slot || !gossip_address_equal(&member->meta.address, &here->meta.address))
            continue;
        if (member_living(member) && member->boot < here->boot) {
            member_set_state(g, out, other, GOSSIP_DEAD);
            queue_put(g, other);
            note_member(g, out, GOSSIP_NOTE_DEAD, other, 1);
        }
        if (member->state == GOSSIP_DEAD) {
            member->superseded = true;
            g->peers_changed = true;
        }
    }
}

static void
hear_of_self(struct gossip *g, struct gossip_output *out, const struct gossip_claim *claim)
{
    struct gossip_member *self = &g->self;
    if (claim->boot > self->boot) {
        g->gone = true;
        note_member(g, out, GOSSIP_NOTE_SUPERSEDED, SLOT_SELF, claim->boot);
        return;
    }
    if (claim->boot < self->boot) {
        if (!self->queued)
            queue_put(g, SLOT_SELF); // they do not know this process yet
        return;
    }
    if (g->leaving)
        return;
    if (claim->state == GOSSIP_ALIVE) {
        const bool elsewhere = !gossip_address_equal(&claim->meta.address, &self->meta.address) &&
                               claim->incarnation == self->incarnation;
        if (elsewhere || claim->incarnation > self->incarnation) // we never said that
            note_member(g, out, GOSSIP_NOTE_TWIN, SLOT_SELF, claim->incarnation);
        if (claim->incarnation <= self->incarnation)
            return;
    }
    if (claim->incarnation < self->incarnation || claim->incarnation == GOSSIP_INCARNATION_MAX)
        return;
    self->incarnation = claim->incarnation + 1;
    queue_put(g, SLOT_SELF);
    g->counters.refuted++;
    awareness_add(g, 1); // we were slow, or they could not hear us
    note_member(g, out, GOSSIP_NOTE_REFUTED, SLOT_SELF, self->incarnation);
}

// What a claim with metadata says of somebody unknown. Without them there is nothing to keep: no address.
static void
hear_of_stranger(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg,
                 const struct gossip_claim *claim)
{
    if (claim->has_meta == 0 || claim->state == GOSSIP_LEFT)
        return;
    const struct gossip_address *address = &claim->meta.address;
    if (claim->state == GOSSIP_DEAD && (gossip_address_equal(address, &g->self.meta.address) ||
                                        living_at(g, address, SLOT_NONE) != SLOT_NONE))
        return;
    const uint32_t slot = member_add(g, out, claim);
    if (slot == SLOT_NONE)
        return;
    if (claim->state == GOSSIP_DEAD) {
        member_set_state(g, out, slot,
                         GOSSIP_DEAD); // an address to try now and then; no news to others
        return;
    }
    queue_put(g, slot);
    note_member(g, out, GOSSIP_NOTE_ALIVE, slot, claim->boot);
    supersede(g, out, slot);
    if (claim->state == GOSSIP_SUSPECT && g->now_ns >= g->grace_ns &&
        !gossip_id_equal(msg->from, claim->subject))
        suspect_begin(g, out, slot, claim->by);
}

// How the member is changed by a claim, apart from its state.
struct change {
    bool moved; // to another address
    bool born;  // another process than the one that was there, or one that was held for dead
};

static struct change
take_facts(struct gossip *g, uint32_t slot, const struct gossip_claim *claim)
{
    struct gossip_member *member = member_at(g, slot);
    const struct change change = {
        .moved = claim->has_meta != 0 &&
                 !gossip_address_equal(&member->meta.address, &claim->meta.address),
        .born = claim->boot != member->boot || !member_living(member),
    };
    member->boot = claim->boot;
    member->incarnation = claim->incarnation;
    if (claim->has_meta != 0)
        member->meta = claim->meta;
    if (change.moved) {
        g->peers_changed = true;
        seed_drop(g, &claim->meta.address);
    }
    return change;
}

// The claim has it that the member is there, alive or suspect.
static void
note_change(struct gossip *g, struct gossip_output *out, uint32_t slot, struct change change)
{
    if (change.born)
        note_member(g, out, GOSSIP_NOTE_ALIVE, slot, member_at(g, slot)->boot);
    if (change.moved || change.born)
        supersede(g, out, slot);
}

static void
take_alive(struct gossip *g, struct gossip_output *out, uint32_t slot,
           const struct gossip_claim *claim)
{
    const struct change change = take_facts(g, slot, claim);
    member_set_state(g, out, slot, GOSSIP_ALIVE);
    queue_put(g, slot);
    note_change(g, out, slot, change);
}

static void
take_accusation(struct gossip *g, struct gossip_output *out, uint32_t slot,
                const struct gossip_msg *msg, const struct gossip_claim *claim)
{
    const bool lived = member_living(member_at(g, slot));
    const bool doubtful = claim->state == GOSSIP_DEAD && is_whole_state(msg) && lived;
    const struct gossip_id by = claim->state == GOSSIP_SUSPECT ? claim->by : msg->from;
    if (gossip_id_equal(by, claim->subject))
        return; // it is there to say so
    const struct change change = take_facts(g, slot, claim);
    if (claim->state == GOSSIP_SUSPECT || doubtful) {
        suspect_begin(g, out, slot, by);
        note_change(g, out, slot, change);
        return;
    }
    take_dead(g, out, slot);
    queue_put(g, slot);
    if (lived)
        note_member(g, out, GOSSIP_NOTE_DEAD, slot, 0);
}

static void
take_left(struct gossip *g, struct gossip_output *out, uint32_t slot,
          const struct gossip_claim *claim)
{
    struct gossip_member *member = member_at(g, slot);
    member->boot = claim->boot;
    member->incarnation = claim->incarnation;
    member_set_state(g, out, slot, GOSSIP_LEFT);
    g->peers_changed = true;
    queue_put(g, slot);
    note_member(g, out, GOSSIP_NOTE_LEFT, slot, 0);
}

void
claim_hear(struct gossip *g, struct gossip_output *out, const struct gossip_msg *msg,
           const struct gossip_claim *claim)
{
    const uint32_t slot = member_slot(g, claim->subject);
    if (slot == SLOT_SELF) {
        hear_of_self(g, out, claim);
        return;
    }
    if (slot == SLOT_NONE) {
        hear_of_stranger(g, out, msg, claim);
        return;
    }
    const struct gossip_member *member = member_at(g, slot);
    const bool accuses = claim->state == GOSSIP_SUSPECT || claim->state == GOSSIP_DEAD;
    if (accuses && g->now_ns < g->grace_ns)
        return;
    if (claim->state == GOSSIP_SUSPECT && member->state == GOSSIP_SUSPECT &&
        claim->boot == member->boot && claim->incarnation == member->incarnation) {
        suspect_confirm(g, slot, claim->by);
        return;
    }
    // Also a doubtful death confirms no suspicion: it is not known who had it, and when.
    if (claim->state == GOSSIP_DEAD && is_whole_state(msg) && member->state == GOSSIP_SUSPECT &&
        claim->boot == member->boot && claim->incarnation == member->incarnation)
        return;
    if (!is_news(claim, member))
        return;
    if (claim->state == GOSSIP_ALIVE)
        take_alive(g, out, slot, claim);
    else if (claim->state == GOSSIP_LEFT)
        take_left(g, out, slot, claim);
    else
        take_accusation(g, out, slot, msg, claim);
}

void
claim_of(struct gossip *g, uint32_t slot, struct gossip_claim *claim)
{
    struct gossip_member *member = member_at(g, slot);
    claim->state = member->state;
    claim->has_meta = member->state == GOSSIP_ALIVE;
    claim->incarnation = member->incarnation;
    claim->boot = member->boot;
    claim->subject = member->id;
    claim->by = (struct gossip_id){0};
    claim->meta = member->meta;
    if (member->state == GOSSIP_SUSPECT) {
        // Those who suspect take turns, so that all of them become known.
        struct gossip_suspicion *suspicion = &member->suspicion;
        suspicion->said = (suspicion->said + 1) % suspicion->count;
        claim->by = suspicion->by[suspicion->said];
    }
}

void
self_announce(struct gossip *g)
{
    if (g->self.incarnation < GOSSIP_INCARNATION_MAX)
        g->self.incarnation++;
    queue_put(g, SLOT_SELF);
}
