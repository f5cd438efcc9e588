// tests/lib/sim_rules.h -- raft's rules, looked at in every step: what is said is durable, what is committed is of the own term.
//
// Shape: shell, simulated.
//
// Most schedules forgive a broken rule: a vote that was forgotten does harm only where the node crashes before another candidate
// of that term asks it. So the rules are looked at themselves, from outside: against the disk, and against what was sent when.
// --outcomes leaves them out; then a broken one must be found by what comes of it.
#ifndef OMEN_TESTS_SIM_RULES_H
#define OMEN_TESTS_SIM_RULES_H
#include "tests/lib/sim_world.h"

// What the disk has of this vote or a later term.
static inline bool
sim_vote_is_durable(const struct sim_disk *disk, uint64_t term, uint64_t vote)
{
    const struct raft_hard_state *hard = &disk->hard_state;
    return hard->term > term || (hard->term == term && hard->vote == vote);
}

static inline void
sim_rules_said(const struct sim *sim, const struct sim_node *node, const struct raft_msg *msg)
{
    const struct sim_disk *disk = &node->disk;
    if (msg->kind == RAFT_VOTE)
        SIM_REQUIRE(sim, sim_vote_is_durable(disk, msg->term, msg->from),
                    "a candidate asks when its vote for itself is durable");
    else if (msg->kind == RAFT_VOTE_RESP && !msg->reject)
        SIM_REQUIRE(sim, sim_vote_is_durable(disk, msg->term, msg->to),
                    "a vote is durable before it is said");
    else if (msg->kind == RAFT_APPEND_RESP && !msg->reject)
        SIM_REQUIRE(sim, msg->position <= disk->base_position + disk->entry_count,
                    "entries are durable before they are acknowledged");
}

// ---- reads ----

static inline void
sim_rules_hear(struct sim *sim, uint32_t at, const struct sim_packet *packet)
{
    struct sim_rules *rules = &sim->nodes[at].rules;
    const struct raft *raft = &sim->nodes[at].turn.raft;
    if (packet->msg.kind != RAFT_HEARTBEAT_RESP || packet->msg.term != raft->term)
        return;
    // Not by who has that number now: a disk may have been lost since.
    const uint64_t from = (packet->msg.from - 1) % SIM_MEMBER_LIVES;
    if (rules->heard_id[from] != packet->msg.from)
        rules->heard_ns[from] = 0;
    rules->heard_id[from] = packet->msg.from;
    if (packet->sent_ns > rules->heard_ns[from])
        rules->heard_ns[from] = packet->sent_ns;
}

static inline uint32_t
sim_rules_find(const struct sim_rules *rules, uint64_t read_id)
{
    uint32_t at = 0;
    while (at < rules->read_count && rules->read_ids[at] != read_id)
        at++;
    return at;
}

// When a majority of a group had last said so.
static inline uint64_t
sim_rules_confirmed(const struct sim *sim, const struct sim_rules *rules, const struct raft *raft,
                    const struct raft_group *group)
{
    uint64_t heard[RAFT_MEMBERS_MAX] = {0};
    for (uint32_t i = 0; i < group->count; i++) {
        const uint64_t member = (group->members[i].id - 1) % SIM_MEMBER_LIVES;
        if (group->members[i].id == raft->config.id)
            heard[i] = sim->now_ns;
        else if (rules->heard_id[member] == group->members[i].id)
            heard[i] = rules->heard_ns[member];
    }
    return quorum_position(group, heard);
}

// By the members of now or of before this step, which may have changed them behind the answer.
static inline void
sim_rules_reads(const struct sim *sim, struct sim_rules *rules, const struct turn *turn,
                const struct raft_output *out)
{
    const struct raft *raft = &turn->raft;
    const uint64_t now_ns = sim_rules_confirmed(sim, rules, raft, &raft->group);
    const uint64_t before_ns = sim_rules_confirmed(sim, rules, raft, &rules->group);
    const uint64_t confirmed_ns = now_ns > before_ns ? now_ns : before_ns;
    for (uint32_t i = 0; i < rules->read_count; i++)
        rules->read_confirmed[i] |= confirmed_ns >= rules->read_ns[i];
    for (uint32_t i = 0; i < out->read_count; i++) {
        const uint32_t read = sim_rules_find(rules, out->reads[i].read_id);
        if (out->reads[i].answer != RAFT_ANSWER_OK || read == rules->read_count)
            continue;
        SIM_REQUIRE(sim, rules->read_confirmed[read],
                    "a read is answered when a majority has said, after it began, who leads");
        SIM_REQUIRE(sim, out->reads[i].position >= rules->read_floors[read],
                    "a read knows all that anybody knew to be committed when it began");
    }
    bool confirmed[RAFT_READS_MAX];
    uint64_t ids[RAFT_READS_MAX], begun_ns[RAFT_READS_MAX], floors[RAFT_READS_MAX];
    for (uint32_t i = 0; i < raft->read_count; i++) {
        const uint32_t read = sim_rules_find(rules, raft->reads[i].read_id);
        const bool old = read < rules->read_count;
        ids[i] = raft->reads[i].read_id;
        confirmed[i] = old && rules->read_confirmed[read];
        begun_ns[i] = old ? rules->read_ns[read] : sim->now_ns;
        floors[i] = old ? rules->read_floors[read] : sim->committed;
    }
    rules->read_count = raft->read_count;
    memcpy(rules->read_ids, ids, raft->read_count * sizeof *ids);
    memcpy(rules->read_confirmed, confirmed, raft->read_count * sizeof *confirmed);
    memcpy(rules->read_ns, begun_ns, raft->read_count * sizeof *begun_ns);
    memcpy(rules->read_floors, floors, raft->read_count * sizeof *floors);
}

// ---- every step ----

static inline void
sim_rules_observe(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    struct sim_rules *rules = &node->rules;
    const struct raft *raft = &node->turn.raft;
    if (sim->options.outcomes)
        return;
    if (raft->term != rules->term)
        memset(rules->heard_ns, 0, sizeof rules->heard_ns);
    for (uint32_t i = 0; i < sim->out.raft.msg_count; i++)
        sim_rules_said(sim, node, &sim->out.raft.msgs[i]);
    const bool leads = raft->state == RAFT_LEADER;
    if (leads && rules->leads && rules->term == raft->term && raft->commit > rules->commit &&
        raft->commit >= tail_first(&raft->tail))
        SIM_REQUIRE(sim, tail_at(&raft->tail, raft->commit)->term == raft->term,
                    "a leader counts copies of entries of its own term only");
    if (sim->out.raft_stepped)
        sim_rules_reads(sim, rules, &node->turn, &sim->out.raft);
    rules->group = raft->group;
    rules->term = raft->term;
    rules->commit = raft->commit;
    rules->leads = leads;
}

#endif
