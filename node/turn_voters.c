// node/turn_voters.c -- the leader shows cluster/voters its group and who is there, and has raft make the change that is planned.
//
// Shape: machine.
#include <string.h>

#include "node/turn_int.h"

#define LAG_MAX 256u // entries that a learner may lack and still be about to vote

_Static_assert(VOTERS_MEMBERS_MAX == RAFT_MEMBERS_MAX, "a group fits");

void
turn_voters_say(struct turn_config *config)
{
    struct gossip_meta *meta = &config->gossip.meta;
    if (config->weight == 0)
        return;
    turn_said_write(&(struct turn_said){.member = config->raft.id}, meta);
    if (meta->zone_bytes == 0 && config->zone.count <= GOSSIP_ZONE_BYTES_MAX) {
        memcpy(meta->zone, config->zone.bytes, config->zone.count);
        meta->zone_bytes = config->zone.count;
    }
}

// While the group goes over to another, those are needed that were there before.
uint32_t
turn_voters_count(const struct turn *turn)
{
    const struct raft_group *group = &turn->group;
    const uint8_t role = member_is_joint(group) ? RAFT_OUTGOING : RAFT_VOTER;
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++)
        count += (group->members[i].roles & role) != 0;
    return count;
}

struct turn_said
turn_voters_said(const struct turn *turn)
{
    struct turn_said said = {.member = turn->config.weight != 0 ? turn->config.raft.id : 0,
                             .leaving = turn->leaving && turn->config.weight != 0,
                             .disk_low = turn->disk_low && turn->config.weight != 0};
    if (said.member != 0 && turn->raft.state == RAFT_LEADER) {
        said.lead_term = turn->raft.term;
        said.voters = (uint8_t)turn_voters_count(turn);
    }
    return said;
}

void
turn_voters_lead(struct turn *turn, uint64_t now_ns)
{
    voters_init(&turn->voters, &turn->config.voters);
    turn->voters_at_ns = turn->config.voters.wanted != 0 ? now_ns : UINT64_MAX;
}

// ---- what it is shown ----

// What a peer says of itself may be anything: a zone that is no name is none.
static struct voters_node
node_of(const struct gossip_member *member)
{
    const struct gossip_meta *meta = &member->meta;
    struct voters_node node = {.uuid = {member->id.high, member->id.low},
                               .alive = member->state <= GOSSIP_SUSPECT,
                               .member = turn_said_read(meta).member,
                               .data = (meta->roles & NODE_DATA) != 0};
    if (!map_name_set(&node.zone, (const char *)meta->zone, meta->zone_bytes))
        node.zone = (struct map_name){0};
    return node;
}

static uint32_t
take_members(struct turn *turn)
{
    const struct raft *raft = &turn->raft;
    const struct raft_group *group = &raft->group;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct raft_progress *progress = &raft->progress[i];
        const uint64_t silent = raft->tick_count - progress->heard_tick;
        turn->voters_members[i] = (struct voters_member){
            .member = group->members[i].id,
            .reached = progress->match,
            .votes = (group->members[i].roles & RAFT_VOTER) != 0,
            .current = progress->heard_tick != 0 && silent <= 2 * raft->config.election_ticks &&
                       progress->match + LAG_MAX >= raft->commit};
    }
    return group->count;
}

// Members first, so that where there are too many nodes it is newcomers that are left out.
static uint32_t
take_nodes(struct turn *turn)
{
    const struct gossip_id own = turn->config.gossip.id;
    uint32_t count = 0;
    turn->voters_nodes[count++] = node_of(gossip_find(&turn->gossip, own));
    for (int newcomers = 0; newcomers < 2; newcomers++) {
        uint32_t cursor = 0;
        const struct gossip_member *member;
        while ((member = gossip_next(&turn->gossip, &cursor)) != NULL) {
            const struct voters_node node = node_of(member);
            const bool known = member_find(&turn->raft.group, node.member) < RAFT_MEMBERS_MAX;
            if (known == (newcomers == 0) && node.member != 0 && !member->superseded &&
                count < VOTERS_NODES_MAX)
                turn->voters_nodes[count++] = node;
        }
    }
    return count;
}

static enum voters_group
group_of(const struct raft *raft)
{
    const bool joint = member_is_joint(&raft->group);
    if (raft->pending_change > raft->applied || raft->transferee != RAFT_NODE_NONE ||
        (joint && raft->group.auto_leave))
        return VOTERS_CHANGING;
    return joint ? VOTERS_JOINT : VOTERS_SETTLED;
}

// ---- what it plans ----

static struct raft_change
change_of(const struct voters_output *said)
{
    static const enum raft_change_kind kinds[] = {[VOTERS_VOTES] = RAFT_ADD_VOTER,
                                                  [VOTERS_LEARNS] = RAFT_ADD_LEARNER,
                                                  [VOTERS_GOES] = RAFT_REMOVE};
    struct raft_change change = {.transition = RAFT_TRANSITION_AUTO};
    for (uint32_t i = 0; said->kind == VOTERS_CHANGE && i < said->count; i++)
        change.items[change.count++] =
            (struct raft_change_item){kinds[said->items[i].part], said->items[i].member};
    return change;
}

void
turn_voters_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    struct voters_output said;
    const struct voters_input look = {.now_ns = in->now_ns,
                                      .self = turn->raft.config.id,
                                      .group = group_of(&turn->raft),
                                      .map = &turn->map,
                                      .members = turn->voters_members,
                                      .nodes = turn->voters_nodes,
                                      .member_count = take_members(turn),
                                      .node_count = take_nodes(turn)};
    voters_step(&turn->voters, &look, &said);
    turn->voters_at_ns = said.wake_ns;
    if (said.kind == VOTERS_REST)
        return;
    const struct raft_change change = change_of(&said);
    struct raft_input raft = {.now_ns = in->now_ns};
    if (said.kind == VOTERS_TRANSFER) {
        raft.kind = RAFT_IN_TRANSFER;
        raft.peer = said.items[0].member;
    } else {
        raft.kind = RAFT_IN_CONF_CHANGE;
        raft.change = &change;
    }
    turn_step_raft(turn, &raft, out);
}
