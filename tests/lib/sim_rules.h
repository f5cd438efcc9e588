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
    const uint32_t from = sim_at_of(sim, packet->msg.from);
    if (from != SIM_NOWHERE && packet->sent_ns > rules->heard_ns[from])
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

static inline void
sim_rules_reads(const struct sim *sim, struct sim_rules *rules, const struct turn *turn,
                const struct raft_output *out)
{
    const struct raft *raft = &turn->raft;
    uint64_t heard[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < raft->group.count; i++) {
        const uint32_t member = sim_at_of(sim, raft->group.members[i].id);
        heard[i] = member != SIM_NOWHERE ? rules->heard_ns[member] : 0;
        if (raft->group.members[i].id == raft->config.id)
            heard[i] = sim->now_ns;
    }
    const uint64_t confirmed_ns = quorum_position(&raft->group, heard);
    for (uint32_t i = 0; i < out->read_count; i++) {
        const uint32_t read = sim_rules_find(rules, out->reads[i].read_id);
        if (out->reads[i].answer != RAFT_ANSWER_OK || read == rules->read_count)
            continue;
        SIM_REQUIRE(sim, confirmed_ns >= rules->read_ns[read],
                    "a read is answered when a majority has said, after it began, who leads");
        SIM_REQUIRE(sim, out->reads[i].position >= rules->read_floors[read],
                    "a read knows all that anybody knew to be committed when it began");
    }
    uint64_t ids[RAFT_READS_MAX], begun_ns[RAFT_READS_MAX], floors[RAFT_READS_MAX];
    for (uint32_t i = 0; i < raft->read_count; i++) {
        const uint32_t read = sim_rules_find(rules, raft->reads[i].read_id);
        const bool old = read < rules->read_count;
        ids[i] = raft->reads[i].read_id;
        begun_ns[i] = old ? rules->read_ns[read] : sim->now_ns;
        floors[i] = old ? rules->read_floors[read] : sim->committed;
    }
    rules->read_count = raft->read_count;
    memcpy(rules->read_ids, ids, raft->read_count * sizeof *ids);
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
    rules->term = raft->term;
    rules->commit = raft->commit;
    rules->leads = leads;
}

#endif
