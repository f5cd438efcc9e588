// cluster/plan_split.c -- shards that are too large: begin, see the children through, clean up.
//
// Shape: value over the machine's state. cluster/apply_split.c says how a split goes.
#include "cluster/rebalance_int.h"

static void see_through(struct plan *plan, uint32_t s);
static void give_up(struct plan *plan, uint32_t s);
static void purge(struct plan *plan, uint32_t s);
static void begin(struct plan *plan, uint32_t s);

void
plan_splits(struct plan *plan)
{
    for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
        if (plan_is_touched(plan, s))
            continue;
        switch (plan->map->shards[s].status) {
        case SHARD_CHILD:
            see_through(plan, s);
            break;
        case SHARD_SPLITTING:
            give_up(plan, s);
            break;
        case SHARD_RETIRED:
            purge(plan, s);
            break;
        case SHARD_OPEN:
            begin(plan, s);
            break;
        default:
            break;
        }
    }
}

// A copy beside each of the parent's that stay; it is filled from there. What lies elsewhere goes: nobody fills it.
static void
see_through(struct plan *plan, uint32_t s)
{
    const struct map_shard *child = &plan->map->shards[s];
    const struct map_shard *parent = map_shard(plan->map, child->parent);
    uint32_t later = 0;
    if (parent == NULL) // map_verify says that there is one
        return;
    for (uint32_t i = 0; i < child->replica_count; i++) {
        const struct map_replica *replica = &child->replicas[i];
        const struct map_replica *source = shard_replica_on(parent, replica->node);
        if (plan_stays(plan, replica) && source != NULL && source->role == MAP_REPLICA_IN_SYNC)
            continue;
        const struct shard_step step = {.kind = STEP_DROP, .node = replica->node};
        if (!plan_add(plan, s, step, later++))
            return;
        plan_note(plan, REBALANCE_DROPPED);
    }
    for (uint32_t i = 0; i < parent->replica_count; i++) {
        const struct map_replica *source = &parent->replicas[i];
        const uint32_t row = plan_row(plan, source->node);
        if (source->role != MAP_REPLICA_IN_SYNC || !plan_stays(plan, source) ||
            !plan->state->nodes[row].eligible || shard_replica_on(child, source->node) != NULL)
            continue;
        const struct shard_step step = {.kind = STEP_ASSIGN, .node = source->node};
        if (!plan_add(plan, s, step, later++))
            return;
        plan_note(plan, REBALANCE_ASSIGNED);
    }
}

// A primary that is to go gets no children beside it and hands over to nobody while it splits: each would wait for the other.
static void
give_up(struct plan *plan, uint32_t s)
{
    const struct map_shard *shard = &plan->map->shards[s];
    const struct map_replica *primary = shard_replica(shard, shard->primary);
    if (primary == NULL || plan_stays(plan, primary) ||
        !plan_add(plan, s, (struct shard_step){.kind = STEP_ABORT}, 0))
        return;
    plan_note(plan, REBALANCE_ABORTED);
    for (uint32_t i = 0; i < 2; i++) // they are gone when their steps would be applied
        plan_touch(plan, (uint32_t)(map_shard(plan->map, shard->children[i]) - plan->map->shards));
}

static void
purge(struct plan *plan, uint32_t s)
{
    if (plan_add(plan, s, (struct shard_step){.kind = STEP_PURGE}, 0))
        plan_note(plan, REBALANCE_PURGED);
}

// The halves are written beside the whole, on each of its nodes.
static bool
has_room(const struct plan *plan, const struct map_shard *shard)
{
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (plan->state->rows[plan_row(plan, shard->replicas[i].node)].disk_low)
            return false;
    return true;
}

static void
begin(struct plan *plan, uint32_t s)
{
    struct rebalance *state = plan->state;
    const struct outlook look = plan_look(plan, s);
    const struct map_shard *shard = look.shard;
    if (state->config.split_units == 0 || look.units < state->config.split_units ||
        state->splitting >= state->config.splits_max || shard->first == shard->last ||
        look.leaving > 0 || look.on_their_way > 0 || look.safe < look.replication ||
        !uuid_is_none(shard->wanted) || !has_room(plan, shard))
        return;
    const uint64_t at = shard->first + (shard->last - shard->first) / 2 + 1;
    if (plan_add(plan, s, (struct shard_step){.kind = STEP_SPLIT, .value = at}, 0)) {
        state->splitting++;
        plan_note(plan, REBALANCE_SPLIT);
    }
}
