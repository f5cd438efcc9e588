// node/turn_leave.c -- a node that is about to end lets others lead: the metadata, and the shards that it is primary of.
//
// Shape: machine.
//
//      LEAVE --> gossip says it (node/turn_said.h) --> the leader's rebalancer prefers other primaries, which take over without a gap
//            --> if this node leads the metadata, who has most of the log and lives shall lead, first of all
//
// Nothing else changes: its copies and its vote stay, for it will be back. What nobody else can lead (a shard with one copy in sync, a group
// of which it is the only voter that is there) is not waited for.
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define AGAIN_NS (100 * MS)

// Whether something may be handed to it. One that is about to end itself is nobody.
static bool
is_there(const struct gossip_member *member)
{
    return member != NULL && member->state <= GOSSIP_SUSPECT && !member->superseded &&
           !turn_said_read(&member->meta).leaving;
}

static bool
goes_by(const struct turn *turn, uint64_t number)
{
    uint32_t cursor = 0;
    const struct gossip_member *member;
    while ((member = gossip_next(&turn->gossip, &cursor)) != NULL)
        if (is_there(member) && turn_said_read(&member->meta).member == number)
            return true;
    return false;
}

// The voter that has most of the log; RAFT_NODE_NONE: there is none but this node.
static uint64_t
heir(const struct turn *turn)
{
    const struct raft *raft = &turn->raft;
    uint64_t best = RAFT_NODE_NONE, reached = 0;
    for (uint32_t i = 0; i < raft->group.count; i++) {
        const struct raft_member *member = &raft->group.members[i];
        const uint64_t match = raft->progress[i].match;
        if (member->id == raft->config.id || !member_votes(member->roles) ||
            !raft->progress[i].recent_active || (best != RAFT_NODE_NONE && match <= reached) ||
            !goes_by(turn, member->id))
            continue;
        best = member->id;
        reached = match;
    }
    return best;
}

uint64_t
turn_leave_wake_ns(const struct turn *turn)
{
    return turn->leaving && turn->raft.state == RAFT_LEADER ? turn->leave_at_ns : UINT64_MAX;
}

void
turn_leave_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    const uint64_t to = heir(turn);
    turn->leave_at_ns = in->now_ns + AGAIN_NS;
    if (to == RAFT_NODE_NONE)
        return;
    const struct raft_input raft = {.now_ns = in->now_ns, .kind = RAFT_IN_TRANSFER, .peer = to};
    turn_step_raft(turn, &raft, out);
}

static bool
another_could_lead(const struct turn *turn, const struct map_shard *shard)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const struct map_node *node = map_node(&turn->map, replica->node);
        if (uuid_equal(replica->uuid, shard->primary) || replica->role != MAP_REPLICA_IN_SYNC ||
            replica->leaving || node->state != NODE_UP)
            continue;
        const struct gossip_id id = {node->uuid.high, node->uuid.low};
        if (is_there(gossip_find(&turn->gossip, id)))
            return true;
    }
    return false;
}

bool
turn_has_left(const struct turn *turn)
{
    const struct map_node *own = turn_own(turn);
    if (turn->raft.state == RAFT_LEADER && heir(turn) != RAFT_NODE_NONE)
        return false;
    for (uint32_t i = 0; own != NULL && i < turn->map.shard_count; i++) {
        const struct map_shard *shard = &turn->map.shards[i];
        const struct map_replica *primary = shard_replica(shard, shard->primary);
        if (primary != NULL && primary->node == own->number && shard->status == SHARD_OPEN &&
            another_could_lead(turn, shard))
            return false;
    }
    return true;
}
