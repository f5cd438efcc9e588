// tests/lib/sim_member.h -- the members of raft's group in a simulation: who meddles with them, and what must hold meanwhile.
//
// Shape: shell, simulated.
//
// The leader puts the group right by itself (cluster/voters). An operator says how many shall vote, and meddles: he speaks to anybody
// who believes that it leads, hands leadership over, and adds, promotes, demotes and removes members one at a time or several
// jointly, left by itself or by another change. A node whose disk was lost comes back under another number.
// Group by group: what the log says is what everybody has who applied as much of it; and a new leader lacks one change at most,
// because majorities of configurations that are two changes apart need not meet. Afterwards as many vote as are wanted, an odd number,
// in as many zones as there are, and all others learn.
#ifndef OMEN_TESTS_SIM_MEMBER_H
#define OMEN_TESTS_SIM_MEMBER_H
#include "tests/lib/sim_world.h"

static inline bool sim_fault_open(struct sim *sim, enum sim_fault kind, uint32_t a, uint32_t b,
                                  uint64_t length); // sim_fault.h
static inline uint32_t sim_side(struct sim *sim);
static inline uint64_t sim_hot_length(struct sim *sim);

#define SIM_VOTERS_MIN 2u
#define SIM_MEMBER_HOT 1u // of an event: at once, to a leader that is new

static inline uint64_t
sim_group_hash(const struct raft_group *group)
{
    uint64_t hash = group->auto_leave;
    for (uint32_t i = 0; i < group->count; i++)
        hash = mix64(hash ^ group->members[i].id << 8 ^
                     (group->members[i].roles & (uint8_t)~RAFT_FRESH));
    return hash;
}

static inline uint32_t
sim_voters(const struct raft_group *group)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++)
        count += (group->members[i].roles & RAFT_VOTER) != 0;
    return count;
}

static inline uint32_t
sim_voters_wanted(const struct sim *sim, const struct turn *turn)
{
    struct map_name name;
    const bool valid = map_name_set(&name, VOTERS_SETTING, sizeof VOTERS_SETTING - 1);
    ASSERT(valid);
    const struct setting *setting = map_setting(&turn->map, &name);
    const uint32_t wanted =
        setting != NULL ? (uint32_t)(setting->value.bytes[0] - '0') : turn->config.voters.wanted;
    return wanted < sim->options.nodes ? wanted : (sim->options.nodes - 1) / 2 * 2 + 1;
}

static inline bool
sim_group_is_spread(const struct sim *sim, const struct raft_group *group)
{
    uint32_t voters[SIM_ZONES_MAX] = {0}, learners[SIM_ZONES_MAX] = {0};
    for (uint32_t i = 0; i < group->count; i++) {
        const uint32_t zone = sim_zone(sim, sim_at_of(sim, group->members[i].id));
        voters[zone] += group->members[i].roles == RAFT_VOTER;
        learners[zone] += group->members[i].roles == RAFT_LEARNER;
    }
    for (uint32_t a = 0; a < SIM_ZONES_MAX; a++)
        for (uint32_t b = 0; b < SIM_ZONES_MAX; b++)
            if (learners[b] > 0 && voters[a] >= voters[b] + 2)
                return false;
    return true;
}

static inline bool
sim_group_is_whole(const struct sim *sim, const struct turn *turn)
{
    const struct raft_group *group = &turn->group;
    for (uint32_t i = 0; i < group->count; i++)
        if (sim_at_of(sim, group->members[i].id) == SIM_NOWHERE)
            return false;
    return !member_is_joint(group) && group->count == sim->options.nodes &&
           sim_voters(group) == sim_voters_wanted(sim, turn) && sim_group_is_spread(sim, group);
}

// ---- what must hold ----

// Somebody applied the entry, and nobody had before.
static inline void
sim_members_applied(struct sim *sim, const struct raft_entry *entry)
{
    struct sim_members *members = &sim->members;
    struct raft_change change;
    members->configs = sim_grow(members->configs, &members->config_room, entry->position + 1,
                                sizeof *members->configs);
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct raft *raft = &sim->nodes[i].turn.raft;
        if (!sim->nodes[i].up || raft->state != RAFT_LEADER ||
            raft->term <= sim->commits[entry->position].by || // it may be one that was left behind
            entry->position < tail_first(&raft->tail))
            continue;
        SIM_REQUIRE(sim,
                    entry->position <= tail_last(&raft->tail) &&
                        tail_at(&raft->tail, entry->position)->term == entry->term,
                    "what is committed later is in the log of every later leader");
    }
    const uint64_t before = sim_group_hash(&members->group);
    if (entry->kind == RAFT_ENTRY_CHANGE) {
        const omen_status status = member_decode(entry->bytes, entry->byte_count, &change);
        SIM_REQUIRE(sim, status == OMEN_OK, "a change in the log is one");
        member_change(&members->group, &change, &members->group);
        SIM_REQUIRE(sim, sim_voters(&members->group) > 0, "a group has voters");
    }
    const uint64_t after = sim_group_hash(&members->group);
    members->configs[entry->position] = (struct sim_config){after, entry->term, after != before};
    if (after == before)
        return;
    members->changed_at = entry->position;
    members->changes++;
    if (sim->options.profile->members_hot && !sim->calm && sim_chance(sim, 300))
        sim_fault_open(sim, SIM_FAULT_SPLIT, 0, sim_side(sim), sim_hot_length(sim));
}

static inline void
sim_check_new_leader(struct sim *sim, const struct turn *turn)
{
    const struct sim_members *members = &sim->members;
    uint32_t lacks = 0;
    for (uint64_t at = turn->applied + 1; at <= sim->history_last; at++)
        lacks += members->configs[at].changed && members->configs[at].term < turn->raft.term;
    SIM_REQUIRE(sim, lacks <= 1,
                "a leader is elected by a configuration whose majorities meet those of the newest");
}

static inline void
sim_members_observe(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    const struct turn *turn = &node->turn;
    if (turn->applied <= sim->history_last && sim->members.config_room > turn->applied &&
        sim->members.configs[turn->applied].hash != 0)
        SIM_REQUIRE(sim, sim->members.configs[turn->applied].hash == sim_group_hash(&turn->group),
                    "who applied as much has the same members");
    if (turn->raft.state != RAFT_LEADER || node->led_term == turn->raft.term)
        return;
    node->led_term = turn->raft.term;
    sim_check_new_leader(sim, turn);
    if (sim->options.profile->members_hot && !sim->calm)
        sim_push(&sim->heap,
                 (struct sim_event){.at_ns = sim->now_ns + prng_below(&sim->prng, 4000000),
                                    .kind = SIM_MEMBERS,
                                    .at = at,
                                    .number = SIM_MEMBER_HOT});
}

static inline void
sim_check_members(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        SIM_REQUIRE(sim, sim_group_is_whole(sim, &sim->nodes[i].turn),
                    "without faults as many vote as are wanted, and all others learn");
}

// ---- what the operator wants ----

static inline void
sim_want(struct raft_change *change, enum raft_change_kind kind, uint64_t id)
{
    change->items[change->count++] = (struct raft_change_item){kind, id};
}

static inline bool
sim_want_other(struct sim *sim, const struct raft_group *group, struct raft_change *change)
{
    const uint32_t wanted = sim_chance(sim, 600) ? 1 : 2 + prng_below(&sim->prng, 2);
    const uint32_t first = prng_below(&sim->prng, sim->options.nodes);
    for (uint32_t i = 0; i < wanted; i++) {
        const uint64_t id = sim->nodes[(first + i) % sim->options.nodes].raft_id;
        const uint32_t at = member_find(group, id);
        const uint8_t roles = at < RAFT_MEMBERS_MAX ? group->members[at].roles : 0;
        const bool one = sim_chance(sim, 500);
        if (roles == 0)
            sim_want(change, one ? RAFT_ADD_VOTER : RAFT_ADD_LEARNER, id);
        else if ((roles & RAFT_VOTER) != 0)
            sim_want(change, one ? RAFT_REMOVE : RAFT_ADD_LEARNER, id);
        else
            sim_want(change, one ? RAFT_ADD_VOTER : RAFT_REMOVE, id);
    }
    const uint32_t draw = prng_below(&sim->prng, 100);
    change->transition = draw < 70   ? RAFT_TRANSITION_AUTO
                         : draw < 85 ? RAFT_TRANSITION_IMPLICIT
                                     : RAFT_TRANSITION_EXPLICIT;
    return true;
}

// False: nothing for now. Where a disk was lost for good he leaves the group alone: what he took away might be what it needs.
static inline bool
sim_want_change(struct sim *sim, const struct turn *turn, struct raft_change *change)
{
    const struct raft_group *group = &turn->group;
    struct raft_group next;
    *change = (struct raft_change){.transition = RAFT_TRANSITION_AUTO};
    for (uint32_t i = 0; i < group->count; i++)
        if (sim_at_of(sim, group->members[i].id) == SIM_NOWHERE)
            return false;
    if (member_is_joint(group)) // without changes: leave it
        return !group->auto_leave && sim_chance(sim, 400);
    return sim_want_other(sim, group, change) && member_change(group, change, &next) == MEMBER_OK &&
           sim_voters(&next) >= SIM_VOTERS_MIN;
}

// To any node: it goes to whoever leads.
static inline void
sim_set_voters(struct sim *sim)
{
    static struct command command;
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    const uint32_t draw = prng_below(&sim->prng, 10);
    if (!sim->nodes[at].up || sim->nodes[at].paused_until_ns > sim->now_ns)
        return;
    command = (struct command){.kind = COMMAND_SETTING_PUT};
    const bool valid =
        map_name_set(&command.setting.name, VOTERS_SETTING, sizeof VOTERS_SETTING - 1);
    ASSERT(valid);
    command.setting.expected = VERSION_ANY;
    command.setting.value.count = 1;
    command.setting.value.bytes[0] = draw == 0 ? '1' : draw < 5 ? '3' : draw < 8 ? '5' : '7';
    sim_wish(sim, at, &command);
}

static inline void
sim_hand_over(struct sim *sim, uint32_t at)
{
    const struct raft_group *group = &sim->nodes[at].turn.group;
    const uint64_t to = group->members[prng_below(&sim->prng, group->count)].id;
    sim_step(sim, at, (struct turn_input){.kind = TURN_IN_TRANSFER, .member = to});
    sim->members.transfers +=
        sim->out.raft.answer == RAFT_ANSWER_OK && to != sim->nodes[at].raft_id;
}

static inline void
sim_change_members(struct sim *sim, uint32_t at, bool hot)
{
    struct raft_change change;
    if (!sim_want_change(sim, &sim->nodes[at].turn, &change))
        return;
    sim_step(sim, at, (struct turn_input){.kind = TURN_IN_CHANGE, .change = &change});
    const bool taken = sim->out.raft.answer == RAFT_ANSWER_OK;
    sim->members.refused += !taken;
    if (sim->options.trace)
        printf("%12.6f member %u: %u changes, %s\n", (double)sim->now_ns / 1e9, at + 1,
               change.count, taken ? "taken" : "refused");
    if (taken && sim->options.profile->members_hot && !sim->calm &&
        sim_chance(sim, hot ? 200 : 400))
        sim_fault_open(sim, SIM_FAULT_SPLIT, 0, sim_side(sim), sim_hot_length(sim));
}

// Somebody who believes that it leads; SIM_NOWHERE: nobody does.
static inline uint32_t
sim_any_leader(struct sim *sim)
{
    const uint32_t first = prng_below(&sim->prng, sim->options.nodes);
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const uint32_t at = (first + i) % sim->options.nodes;
        const struct sim_node *node = &sim->nodes[at];
        if (node->up && node->paused_until_ns <= sim->now_ns &&
            node->turn.raft.state == RAFT_LEADER)
            return at;
    }
    return SIM_NOWHERE;
}

static inline void
sim_members_event(struct sim *sim, const struct sim_event *event)
{
    const bool hot = event->number == SIM_MEMBER_HOT;
    const struct sim_node *node = &sim->nodes[event->at];
    const uint32_t gap_ms = 100 + sim->options.profile->members_ms;
    if (sim->calm)
        return;
    if (hot) {
        if (node->up && node->turn.raft.state == RAFT_LEADER &&
            node->paused_until_ns <= sim->now_ns)
            sim_change_members(sim, event->at, hot);
        return;
    }
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + SIM_MS * prng_below(&sim->prng, gap_ms),
                                .kind = SIM_MEMBERS});
    const uint32_t at = sim_any_leader(sim);
    if (at == SIM_NOWHERE || sim->nodes[at].turn.map.collection_count == 0)
        return; // the group is young
    if (sim_chance(sim, 250))
        sim_hand_over(sim, at);
    else if (sim_chance(sim, 300))
        sim_set_voters(sim);
    else
        sim_change_members(sim, at, hot);
}

#include "tests/lib/sim_fault.h"

#endif
