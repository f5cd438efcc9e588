// node/turn_lead.c -- what the leader of the metadata does beside raft: gives leases, and has the map put right.
//
// Shape: machine.
//
// A grant names the end of the leader's log, not its map: a promotion that it has proposed and not yet applied may name another
// primary for a shard of the node that asks. For the same reason a look at the guards and the proposal that rests on it are
// one turn, without a grant between them.
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define PAUSE_NS (20 * MS) // between two looks, and two tries of a round

static void
step_lease(struct turn *turn, struct lease_input in, uint64_t now_ns, struct turn_output *out)
{
    struct lease_output *said = &turn->lease_out;
    in.now_ns = now_ns;
    lease_step(&turn->lease, &in, said);
    if (said->round != 0)
        turn->round_due = said->round;
    for (uint32_t i = 0; i < said->grant_count; i++) {
        const struct lease_grant *grant = &said->grants[i];
        const struct map_node *node = map_node(&turn->map, (uint32_t)grant->node);
        struct turn_send *send = node != NULL ? turn_send(out) : NULL;
        if (send == NULL)
            continue;
        send->node = node->uuid;
        send->msg = (struct turn_msg){.kind = TURN_MSG_LEASE_GRANT,
                                      .boot = grant->boot,
                                      .sent_ns = grant->sent_ns,
                                      .lease_ns = grant->lease_ns,
                                      .position = grant->map_version};
    }
}

static void
lead_or_follow(struct turn *turn, uint64_t now_ns, struct turn_output *out)
{
    const bool leads = turn->raft.state == RAFT_LEADER;
    if (leads == turn->lease.leads && (!leads || turn->lead_term == turn->raft.term))
        return;
    turn->lead_term = turn->raft.term;
    turn->round_due = turn->round_heard = 0;
    turn->plan_at_ns = now_ns;
    const struct lease_input in = {.kind = leads ? LEASE_IN_LEAD : LEASE_IN_FOLLOW};
    step_lease(turn, in, now_ns, out);
    const uint64_t seed = prng_next(&turn->rebalance.prng);
    rebalance_init(&turn->rebalance, &turn->config.rebalance, seed);
    turn_voters_lead(turn, now_ns);
}

static uint32_t
count_leaving(const struct turn *turn)
{
    uint32_t cursor = 0, count = turn->leaving;
    const struct gossip_member *member;
    while ((member = gossip_next(&turn->gossip, &cursor)) != NULL)
        count += turn_said_read(&member->meta).leaving;
    return count;
}

// Who is about to end has little time: the map is looked at when it says so.
static void
note_leaving(struct turn *turn, const struct turn_output *out)
{
    if (!turn->lease.leads || !out->gossip_stepped || !out->gossip.members_changed)
        return;
    const uint32_t count = count_leaving(turn);
    if (count > turn->leaving_seen && turn->look_at_ns < turn->plan_at_ns)
        turn->plan_at_ns = turn->look_at_ns;
    turn->leaving_seen = count;
}

// A round counts when what was committed before it is applied here: then no lease is as long as an older map allowed.
void
turn_lead_settle(struct turn *turn, uint64_t now_ns, struct turn_output *out)
{
    const struct lease_times times = map_lease_times(&turn->map);
    turn->lease.config.lease_ns = times.lease_ms * MS;
    turn->lease.config.guard_ns = times.guard_ms * MS;
    lead_or_follow(turn, now_ns, out);
    note_leaving(turn, out);
    for (uint32_t i = 0; out->raft_stepped && i < out->raft.read_count; i++) {
        const struct raft_read *read = &out->raft.reads[i];
        if (read->read_id < TURN_READ_LEASE || !turn->lease.leads)
            continue;
        if (read->answer == RAFT_ANSWER_OK) {
            turn->round_heard = read->read_id - TURN_READ_LEASE;
            turn->round_position = read->position;
        } else {
            turn->round_due = read->read_id - TURN_READ_LEASE;
            turn->round_at_ns = now_ns + PAUSE_NS;
        }
    }
    if (turn->round_heard == 0 || turn->applied < turn->round_position)
        return;
    const struct lease_input in = {.kind = LEASE_IN_ROUND,
                                   .round = turn->round_heard,
                                   .map_version = tail_last(&turn->raft.tail)};
    turn->round_heard = 0;
    step_lease(turn, in, now_ns, out);
}

// What the map says of a node.
static void
tell_lease(struct turn *turn, enum lease_input_kind kind, uint64_t node, uint64_t boot,
           uint64_t now_ns, struct turn_output *out)
{
    const struct lease_input in = {.kind = kind, .node = node, .boot = boot};
    step_lease(turn, in, now_ns, out);
}

void
turn_lease_ask(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    const struct map_node *node = map_node(&turn->map, in->msg->node);
    if (node == NULL || node->boot != in->msg->boot)
        return; // a process that is no more, or one that the map does not have yet
    tell_lease(turn, LEASE_IN_NODE, node->number, node->boot, in->now_ns, out);
    const struct lease_input ask = {.kind = LEASE_IN_ASK,
                                    .node = in->msg->node,
                                    .boot = in->msg->boot,
                                    .sent_ns = in->msg->sent_ns};
    step_lease(turn, ask, in->now_ns, out);
}

static void
look_at_nodes(struct turn *turn, uint64_t now_ns, struct turn_output *out)
{
    for (uint32_t i = turn->lease.row_count; i-- > 0;) {
        const struct lease_row row = turn->lease.rows[i];
        if (map_node(&turn->map, (uint32_t)row.node) == NULL)
            tell_lease(turn, LEASE_IN_GONE, row.node, row.boot, now_ns, out);
    }
    for (uint32_t i = 0; i < turn->map.node_count; i++) {
        const struct map_node *node = &turn->map.nodes[i];
        tell_lease(turn, LEASE_IN_NODE, node->number, node->boot, now_ns, out);
        const struct gossip_member *member =
            gossip_find(&turn->gossip, (struct gossip_id){node->uuid.high, node->uuid.low});
        const struct turn_said said =
            member != NULL ? turn_said_read(&member->meta) : (struct turn_said){0};
        turn->health[i] = (struct node_health){
            .node = node->number,
            .alive = member != NULL && member->state <= GOSSIP_SUSPECT,
            .leaving = said.leaving,
            .disk_low = said.disk_low,
            .lease_void = lease_may_promote(&turn->lease, node->number, node->boot)};
    }
}

// Who is not in the map, as routers are, says by gossip what it knows; an older program says nothing, and knows nothing. Of those who are
// dead nothing is awaited: gossip remembers them for ever, and most are another's former process.
static uint64_t
known_outside(const struct turn *turn)
{
    const struct cluster_uuid own = {turn->config.gossip.id.high, turn->config.gossip.id.low};
    uint64_t known = UINT64_MAX;
    uint32_t cursor = 0;
    const struct gossip_member *member;
    while ((member = gossip_next(&turn->gossip, &cursor)) != NULL) {
        const struct cluster_uuid uuid = {member->id.high, member->id.low};
        if (member->state <= GOSSIP_SUSPECT && !uuid_equal(uuid, own) &&
            map_node_by_uuid(&turn->map, uuid) == NULL)
            known &= turn_said_features(&member->meta);
    }
    return known;
}

// What all nodes know and is not in use yet; one that has gone does not count, since it comes back as another.
uint64_t
turn_new_features(const struct turn *turn)
{
    uint64_t known = turn->config.features & known_outside(turn);
    for (uint32_t i = 0; i < turn->map.node_count; i++)
        if (turn->map.nodes[i].state != NODE_GONE)
            known &= turn->map.nodes[i].features;
    return known & ~turn->map.features;
}

static void
plan(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    look_at_nodes(turn, in->now_ns, out);
    const struct rebalance_input look = {.now_ns = in->now_ns,
                                         .map = &turn->map,
                                         .health = turn->health,
                                         .health_count = turn->map.node_count};
    rebalance_step(&turn->rebalance, &look, &turn->plan);
    turn->plan_at_ns = turn->plan.wake_ns;
    turn->plan_version = turn->map.version;
    turn->look_at_ns = in->now_ns + PAUSE_NS;
    const struct command features = {.kind = COMMAND_FEATURES, .features = turn_new_features(turn)};
    // First: no collection is made as long as there are some (turn_propose).
    if (features.features != 0 && turn->map.node_count > 0)
        turn_propose(turn, in, &features, out);
    else if (turn->plan.command.kind != 0)
        turn_propose(turn, in, &turn->plan.command, out);
}

static uint64_t
plan_wake_ns(const struct turn *turn)
{
    const bool changed = turn->plan_version != turn->map.version;
    return changed && turn->look_at_ns < turn->plan_at_ns ? turn->look_at_ns : turn->plan_at_ns;
}

void
turn_lead_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out)
{
    if (!turn->lease.leads)
        return;
    if (turn->round_due != 0 && turn->round_at_ns <= in->now_ns) {
        const struct raft_input raft = {.now_ns = in->now_ns,
                                        .kind = RAFT_IN_READ_INDEX,
                                        .read_id = TURN_READ_LEASE + turn->round_due};
        turn->round_due = 0;
        const uint64_t round = raft.read_id - TURN_READ_LEASE;
        turn_step_raft(turn, &raft, out);
        if (out->raft.answer != RAFT_ANSWER_OK) {
            turn->round_due = round;
            turn->round_at_ns = in->now_ns + PAUSE_NS;
        }
    } else if (plan_wake_ns(turn) <= in->now_ns) {
        plan(turn, in, out);
    } else if (turn->voters_at_ns <= in->now_ns) {
        turn_voters_wake(turn, in, out);
    } else if (turn_leave_wake_ns(turn) <= in->now_ns) {
        turn_leave_wake(turn, in, out);
    }
}

uint64_t
turn_lead_wake_ns(const struct turn *turn)
{
    if (!turn->lease.leads)
        return UINT64_MAX;
    const uint64_t leave_ns = turn_leave_wake_ns(turn);
    const uint64_t voters_ns = leave_ns < turn->voters_at_ns ? leave_ns : turn->voters_at_ns;
    const uint64_t plan_ns = plan_wake_ns(turn) < voters_ns ? plan_wake_ns(turn) : voters_ns;
    return turn->round_due != 0 && turn->round_at_ns < plan_ns ? turn->round_at_ns : plan_ns;
}
