// cluster/plan_tidy.c -- copies that go, copies that are missing: what brings a shard to its replication.
//
// Shape: value over the machine's state.
//
// A copy goes when it is of no use any more: it does not stay, and enough others are in sync on living nodes; or it was never in
// sync and nobody waits for it. The primary hands over before it goes.
#include "cluster/rebalance_int.h"

static void tidy_open(struct plan *plan, const struct outlook *look);
static bool tidy_leaving(struct plan *plan, const struct outlook *look);
static void tidy_surplus(struct plan *plan, const struct outlook *look);
static void tidy_creating(struct plan *plan, const struct outlook *look);

void
plan_tidy(struct plan *plan)
{
    for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
        if (plan_is_touched(plan, s) || !shard_is_routed(&plan->map->shards[s]))
            continue;
        const struct outlook look = plan_look(plan, s);
        if (look.shard->status == SHARD_CREATING)
            tidy_creating(plan, &look);
        else
            tidy_open(plan, &look);
    }
}

static void
drop(struct plan *plan, const struct outlook *look, const struct map_replica *replica)
{
    const struct shard_step step = {.kind = STEP_DROP, .node = replica->node};
    if (plan_add(plan, look->index, step, 0))
        plan_note(plan, REBALANCE_DROPPED);
}

// While a copy is new its node's death costs nothing but another try.
static void
tidy_creating(struct plan *plan, const struct outlook *look)
{
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        const bool alive = plan_is_alive(plan, replica);
        if (alive && plan_stays(plan, replica))
            continue;
        uint32_t rows[SHARD_REPLICAS_MAX];
        const struct place_query query = {
            look->shard->id, rows, plan_members(plan, look->shard, NULL, rows),
            look->units,     NULL, 0};
        const bool elsewhere =
            place_pick(plan->state->nodes, plan->map->node_count, &query) != PLACE_NONE;
        if (elsewhere || !plan_stays(plan, replica)) {
            drop(plan, look, replica);
            return;
        }
    }
}

static void
tidy_open(struct plan *plan, const struct outlook *look)
{
    const struct map_shard *shard = look->shard;
    for (uint32_t i = 0; i < shard->replica_count && look->staying < look->replication; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        if (replica->leaving && plan->state->rows[plan_row(plan, replica->node)].stays) {
            plan_add(plan, look->index,
                     (struct shard_step){.kind = STEP_KEEP, .node = replica->node}, 0);
            return; // what was to replace it is gone
        }
    }
    if (tidy_leaving(plan, look))
        return;
    if (look->staying > look->replication)
        tidy_surplus(plan, look);
}

// The primary hands over to the copy that stays whose node has the fewest primaries, of those whose disk has room where there are some.
static bool
is_better_heir(const struct rebalance_row *one, const struct rebalance_row *best)
{
    if (one->disk_low != best->disk_low)
        return best->disk_low;
    return one->primaries < best->primaries;
}

static bool
prefer_another(struct plan *plan, const struct outlook *look)
{
    const struct map_replica *best = NULL;
    const struct rebalance_row *best_row = NULL;
    if (!uuid_is_none(look->shard->wanted) || look->shard->status != SHARD_OPEN)
        return false;
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        const struct rebalance_row *row = &plan->state->rows[plan_row(plan, replica->node)];
        if (replica->role != MAP_REPLICA_IN_SYNC || !row->alive || row->lease_void ||
            row->leaving || !plan_stays(plan, replica) ||
            uuid_equal(replica->uuid, look->shard->primary) ||
            (best_row != NULL && !is_better_heir(row, best_row)))
            continue;
        best = replica;
        best_row = row;
    }
    if (best == NULL ||
        !plan_add(plan, look->index,
                  (struct shard_step){.kind = STEP_PREFER, .replica = best->uuid}, 0))
        return false;
    plan->state->rows[plan_row(plan, best->node)].primaries++;
    plan->state->transferring++;
    plan_note(plan, REBALANCE_PREFERRED);
    return true;
}

// However many there are: it has little time, and a failover of each would take longer.
void
plan_leaving(struct plan *plan)
{
    for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
        const struct map_shard *shard = &plan->map->shards[s];
        const struct map_replica *primary = shard_replica(shard, shard->primary);
        if (primary == NULL || plan_is_touched(plan, s) || !shard_is_routed(shard))
            continue;
        const struct rebalance_row *row = &plan->state->rows[plan_row(plan, primary->node)];
        const struct outlook look = plan_look(plan, s);
        if (row->leaving && row->alive)
            (void)prefer_another(plan, &look);
    }
}

static bool
tidy_leaving(struct plan *plan, const struct outlook *look)
{
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        if (plan_stays(plan, replica))
            continue;
        if (uuid_equal(replica->uuid, look->shard->primary) &&
            replica->role == MAP_REPLICA_IN_SYNC) {
            if (plan->state->transferring < plan->state->config.transfers_max &&
                plan_is_alive(plan, replica) && prefer_another(plan, look))
                return true;
            continue;
        }
        if (replica->role != MAP_REPLICA_IN_SYNC || look->safe >= look->replication) {
            drop(plan, look, replica);
            return true;
        }
    }
    return false;
}

// How badly a copy is needed, least first: one that is pending, a learner, one in sync; of each the last that came. Of those in
// sync: where most of its zone are, then on the fullest node.
static uint64_t
worth(const struct plan *plan, const struct outlook *look, const struct map_replica *replica)
{
    const uint32_t row = plan_row(plan, replica->node);
    if (replica->role != MAP_REPLICA_IN_SYNC)
        return (plan_is_alive(plan, replica) ? 2u : 0u) + (replica->role == MAP_REPLICA_LEARNER);
    uint32_t rows[SHARD_REPLICAS_MAX], in_zone = 0;
    const uint32_t count = plan_members(plan, look->shard, replica, rows);
    for (uint32_t i = 0; i < count; i++)
        in_zone += plan->state->nodes[rows[i]].zone == plan->state->nodes[row].zone;
    const uint64_t fill = place_fill(&plan->state->nodes[row], 0);
    const uint64_t fill_max = (1ull << 56) - 1;
    return ((uint64_t)(1 + SHARD_REPLICAS_MAX - in_zone) << 57) -
           (fill < fill_max ? fill : fill_max);
}

static void
tidy_surplus(struct plan *plan, const struct outlook *look)
{
    const struct map_replica *least = NULL;
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < look->shard->replica_count; i++) {
        const struct map_replica *replica = &look->shard->replicas[i];
        if (!plan_stays(plan, replica) ||
            (!uuid_is_none(replica->uuid) && (uuid_equal(replica->uuid, look->shard->primary) ||
                                              uuid_equal(replica->uuid, look->shard->wanted))))
            continue;
        const bool is_safe = replica->role == MAP_REPLICA_IN_SYNC && plan_is_alive(plan, replica);
        if (replica->role == MAP_REPLICA_IN_SYNC && look->safe - is_safe < look->replication)
            continue;
        const uint64_t value = worth(plan, look, replica);
        if (value <= lowest) {
            lowest = value;
            least = replica;
        }
    }
    if (least == NULL)
        return;
    drop(plan, look, least);
    plan->state->nodes[plan_row(plan, least->node)].load -= look->units;
}

// ---- copies that are missing ----

static void
repair_one(struct plan *plan, struct outlook *look)
{
    uint32_t rows[SHARD_REPLICAS_MAX], going[SHARD_REPLICAS_MAX], going_count = 0;
    uint32_t count = plan_members(plan, look->shard, NULL, rows);
    for (uint32_t i = 0; i < look->shard->replica_count; i++) // in the way, but no copies any more
        if (!plan_stays(plan, &look->shard->replicas[i]))
            going[going_count++] = plan_row(plan, look->shard->replicas[i].node);
    const bool creating = look->shard->status == SHARD_CREATING;
    if (plan->output->command.steps.count + SHARD_REPLICAS_MAX > COMMAND_STEPS_MAX) {
        plan->full = true; // all copies of a new shard in one entry, or it would open with some
        return;
    }
    for (uint32_t later = 0; look->staying < look->replication; later++) {
        const struct place_query query = {look->shard->id, rows,  count,
                                          look->units,     going, going_count};
        const uint32_t row = look->shard->replica_count + later < SHARD_REPLICAS_MAX
                                 ? place_pick(plan->state->nodes, plan->map->node_count, &query)
                                 : PLACE_NONE;
        if (row == PLACE_NONE || (!creating && plan->state->nodes[row].disk_low)) {
            plan_note(plan, REBALANCE_HOMELESS);
            return;
        }
        const struct shard_step step = {.kind = STEP_ASSIGN,
                                        .node = plan->state->nodes[row].number};
        if (!plan_add(plan, look->index, step, later))
            return;
        plan_note(plan, REBALANCE_ASSIGNED);
        plan->state->nodes[row].load += look->units;
        rows[count++] = row;
        look->staying++;
        if (!creating)
            return; // one at a time: each copies the whole shard
    }
}

// Shards with a single copy go first.
void
plan_repair(struct plan *plan)
{
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
            if (plan_is_touched(plan, s) || !shard_is_routed(&plan->map->shards[s]))
                continue;
            struct outlook look = plan_look(plan, s);
            const bool creating = look.shard->status == SHARD_CREATING;
            if (look.staying >= look.replication || (look.safe > 1) != (pass > 0))
                continue;
            if (!creating && look.on_their_way > 0)
                continue; // when that has arrived
            if (!creating && plan->state->moving >= plan->state->config.moves_max)
                continue;
            const uint32_t steps = plan->output->command.steps.count;
            repair_one(plan, &look);
            plan->state->moving += !creating && plan->output->command.steps.count > steps;
        }
    }
}
