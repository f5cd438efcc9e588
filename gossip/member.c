// gossip/member.c -- the table of members: found by id, walked in a shuffled order, picked at random.
//
// Shape: machine (a part of gossip/gossip.c's).
//
// A slot does not move while its member is there, so lists can link slots. Slots are handed out again.
#include <string.h>

#include "base/alloc.h"
#include "gossip/gossip_int.h"

#define ROOM_FIRST 16u
#define PICK_TRIES 8u

static uint32_t
table_home(const struct gossip *g, struct gossip_id id)
{
    return (uint32_t)mix64(id.high ^ mix64(id.low ^ g->hash_seed)) & (g->table_room - 1);
}

uint32_t
member_slot(const struct gossip *g, struct gossip_id id)
{
    if (gossip_id_equal(id, g->self.id))
        return SLOT_SELF;
    if (g->table_room == 0)
        return SLOT_NONE;
    for (uint32_t at = table_home(g, id); g->table[at] != 0; at = (at + 1) & (g->table_room - 1))
        if (gossip_id_equal(g->members[g->table[at] - 1].id, id))
            return g->table[at];
    return SLOT_NONE;
}

static void
table_put(struct gossip *g, uint32_t slot)
{
    uint32_t at = table_home(g, member_at(g, slot)->id);
    while (g->table[at] != 0)
        at = (at + 1) & (g->table_room - 1);
    g->table[at] = slot;
}

// Those behind it that may lie in the hole move up, so that no search ends too early.
static void
table_take(struct gossip *g, uint32_t slot)
{
    const uint32_t mask = g->table_room - 1;
    uint32_t hole = table_home(g, member_at(g, slot)->id);
    while (g->table[hole] != slot)
        hole = (hole + 1) & mask;
    for (uint32_t at = (hole + 1) & mask; g->table[at] != 0; at = (at + 1) & mask) {
        const uint32_t home = table_home(g, member_at(g, g->table[at])->id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            g->table[hole] = g->table[at];
            hole = at;
        }
    }
    g->table[hole] = 0;
}

static bool
members_grow(struct gossip *g)
{
    uint32_t room = g->member_room == 0 ? ROOM_FIRST : g->member_room * 2;
    if (room > g->members_max)
        room = g->members_max;
    uint32_t table_room = ROOM_FIRST;
    while (table_room < room * 2)
        table_room *= 2;
    uint32_t *table = mem_alloc_zero(table_room, sizeof *table);
    uint32_t *order = table != NULL ? mem_resize(g->order, room * sizeof *order) : NULL;
    if (order != NULL)
        g->order = order;
    struct gossip_member *members =
        order != NULL ? mem_resize(g->members, room * sizeof *members) : NULL;
    if (members == NULL) {
        mem_free(table);
        return false;
    }
    g->members = members;
    mem_free(g->table);
    g->table = table;
    g->table_room = table_room;
    g->member_room = room;
    for (uint32_t slot = 1; slot <= g->member_slots; slot++)
        if (member_at(g, slot)->used)
            table_put(g, slot);
    return true;
}

// The table is full: who has been dead the longest, or left, goes. Not the dead of a moment ago: the last that others still say of
// them is that they live. And not for another dead one, which would only take turns with it.
static void
drop_longest_dead(struct gossip *g, struct gossip_output *out)
{
    uint32_t longest = SLOT_NONE;
    uint64_t since_ns = g->now_ns;
    for (uint32_t i = 0; i < g->order_count; i++) {
        const struct gossip_member *member = member_see(g, g->order[i]);
        if (member_living(member) || member->since_ns >= since_ns)
            continue;
        longest = g->order[i];
        since_ns = member->since_ns;
    }
    if (longest != SLOT_NONE && g->now_ns - since_ns > g->timing.dead_gossip_ns)
        member_drop(g, out, longest);
}

// A slot to use, or SLOT_NONE.
static uint32_t
slot_take(struct gossip *g, struct gossip_output *out, const struct gossip_claim *claim)
{
    const struct gossip_id who = claim->subject;
    if (g->order_count == g->members_max && claim->state <= GOSSIP_SUSPECT)
        drop_longest_dead(g, out);
    if (g->free_slot != 0) {
        const uint32_t slot = g->free_slot;
        g->free_slot = member_at(g, slot)->queue_next;
        return slot;
    }
    if (g->member_slots == g->members_max) {
        g->counters.refused_claims++;
        note(g, out, GOSSIP_NOTE_FULL, &(struct gossip_note){.id = who});
        return SLOT_NONE;
    }
    if (g->member_slots == g->member_room && !members_grow(g)) {
        g->counters.refused_claims++;
        note(g, out, GOSSIP_NOTE_NO_MEMORY, &(struct gossip_note){.id = who});
        return SLOT_NONE;
    }
    return ++g->member_slots;
}

uint32_t
member_add(struct gossip *g, struct gossip_output *out, const struct gossip_claim *claim)
{
    ASSERT(claim->has_meta != 0);
    const uint32_t slot = slot_take(g, out, claim);
    if (slot == SLOT_NONE)
        return SLOT_NONE;
    struct gossip_member *member = member_at(g, slot);
    memset(member, 0, sizeof *member);
    member->id = claim->subject;
    member->boot = claim->boot;
    member->incarnation = claim->incarnation;
    member->state = GOSSIP_ALIVE;
    member->since_ns = g->now_ns;
    member->used = true;
    member->meta = claim->meta;
    table_put(g, slot);
    // Somewhere among those that this walk has not come to, or the last of them would always be new ones.
    const uint32_t place = g->order_next + prng_below(&g->prng, g->order_count - g->order_next + 1);
    const uint32_t moved = place < g->order_count ? g->order[place] : slot;
    if (moved != slot) {
        g->order[g->order_count] = moved;
        member_at(g, moved)->order_at = g->order_count;
    }
    g->order[place] = slot;
    member->order_at = place;
    g->order_count++;
    g->counts[GOSSIP_ALIVE]++;
    g->members_version++;
    out->members_changed = true;
    g->peers_changed = true;
    seed_drop(g, &member->meta.address);
    return slot;
}

void
member_drop(struct gossip *g, struct gossip_output *out, uint32_t slot)
{
    struct gossip_member *member = member_at(g, slot);
    ASSERT(slot != SLOT_SELF && member->used);
    queue_take(g, slot);
    if (member->state == GOSSIP_SUSPECT)
        suspect_unlink(g, slot);
    table_take(g, slot);
    const uint32_t last = g->order[--g->order_count];
    g->order[member->order_at] = last;
    member_at(g, last)->order_at = member->order_at;
    if (g->order_next > g->order_count)
        g->order_next = g->order_count;
    g->counts[member->state]--;
    member->used = false;
    member->queue_next = g->free_slot;
    g->free_slot = slot;
    g->members_version++;
    out->members_changed = true;
    g->peers_changed = true;
}

void
member_set_state(struct gossip *g, struct gossip_output *out, uint32_t slot,
                 enum gossip_state state)
{
    struct gossip_member *member = member_at(g, slot);
    ASSERT(slot != SLOT_SELF && member->used);
    if (member->state == GOSSIP_SUSPECT && state != GOSSIP_SUSPECT)
        suspect_unlink(g, slot);
    if (member->state != GOSSIP_SUSPECT && state == GOSSIP_SUSPECT)
        suspect_link(g, slot);
    if (member->state != state || state == GOSSIP_DEAD)
        member->since_ns = g->now_ns;
    g->counts[member->state]--;
    g->counts[state]++;
    member->state = (uint8_t)state;
    member->superseded = false;
    g->members_version++;
    out->members_changed = true;
}

void
order_shuffle(struct gossip *g)
{
    for (uint32_t i = g->order_count; i > 1; i--) {
        const uint32_t j = prng_below(&g->prng, i);
        const uint32_t slot = g->order[i - 1];
        g->order[i - 1] = g->order[j];
        g->order[j] = slot;
        member_at(g, g->order[i - 1])->order_at = i - 1;
        member_at(g, slot)->order_at = j;
    }
    g->order_next = 0;
}

static bool
wanted(const struct gossip *g, uint32_t slot, enum member_want want)
{
    const struct gossip_member *member = member_see(g, slot);
    switch (want) {
    case WANT_LIVING:
        return member_living(member);
    case WANT_LISTENERS:
        return member_living(member) || (member->state == GOSSIP_DEAD && !member->superseded &&
                                         g->now_ns - member->since_ns < g->timing.dead_gossip_ns);
    case WANT_LOST:
        break;
    }
    return member->state == GOSSIP_DEAD && !member->superseded;
}

static bool
among(uint32_t slot, const uint32_t *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == slot)
            return true;
    return false;
}

uint32_t
member_pick(struct gossip *g, enum member_want want, const uint32_t * not, uint32_t count)
{
    if (g->order_count == 0 || (want == WANT_LOST && g->counts[GOSSIP_DEAD] == 0) ||
        (want == WANT_LIVING && g->counts[GOSSIP_ALIVE] + g->counts[GOSSIP_SUSPECT] == 0))
        return SLOT_NONE;
    for (uint32_t i = 0; i < PICK_TRIES; i++) {
        const uint32_t slot = g->order[prng_below(&g->prng, g->order_count)];
        if (wanted(g, slot, want) && !among(slot, not, count))
            return slot;
    }
    // Few of many, or none: the first one behind a random place.
    const uint32_t from = prng_below(&g->prng, g->order_count);
    for (uint32_t i = 0; i < g->order_count; i++) {
        const uint32_t slot = g->order[(from + i) % g->order_count];
        if (wanted(g, slot, want) && !among(slot, not, count))
            return slot;
    }
    return SLOT_NONE;
}

uint32_t
gossip_living(const struct gossip *gossip)
{
    return 1 + gossip->counts[GOSSIP_ALIVE] + gossip->counts[GOSSIP_SUSPECT];
}

uint32_t
tells_max(const struct gossip *g)
{
    uint32_t digits = 1; // ceil(log10(n + 1))
    for (uint32_t n = 10; n <= gossip_living(g); n *= 10)
        digits++;
    const uint32_t tells = g->timing.tells * digits;
    return tells < GOSSIP_TELLS_MAX ? tells : GOSSIP_TELLS_MAX;
}

// Whole part by the highest bit; then each squaring of the rest shows one more bit of the logarithm.
uint64_t
log2_fixed(uint32_t x)
{
    ASSERT(x > 0);
    const uint32_t whole = 31 - (uint32_t)__builtin_clz(x);
    uint64_t rest = ((uint64_t)x << 31) >> whole; // 1 <= rest / 2^31 < 2
    uint64_t log = (uint64_t)whole << 16;
    for (uint64_t bit = 1u << 15; bit != 0; bit >>= 1) {
        rest = (rest * rest) >> 31;
        if (rest >= 1ull << 32) {
            rest >>= 1;
            log |= bit;
        }
    }
    return log;
}

const struct gossip_member *
gossip_find(const struct gossip *gossip, struct gossip_id id)
{
    const uint32_t slot = member_slot(gossip, id);
    return slot == SLOT_NONE ? NULL : member_see(gossip, slot);
}

const struct gossip_member *
gossip_next(const struct gossip *gossip, uint32_t *cursor)
{
    while (*cursor < gossip->member_slots) {
        const struct gossip_member *member = member_see(gossip, ++*cursor);
        if (member->used)
            return member;
    }
    return NULL;
}
