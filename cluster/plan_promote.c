// cluster/plan_promote.c -- a new primary for each shard whose primary's process is gone: all of them in one entry.
//
// Shape: value over the machine's state.
//
// Gossip alone never does it: only the guard of the node's lease, or a newer boot generation of the node, says that the old process
// can answer nobody any more. Any in-sync copy has every acknowledged write; the one that is known to have the most
// besides has the least to send, and among equals the node with the fewest primaries takes it.
#include "cluster/rebalance_int.h"

struct contender {
    const struct map_replica *replica;
    uint64_t last_term, last_seq, primaries;
    bool stays, disk_low;
};

static void
look_up_seen(const struct plan *plan, uint64_t shard, struct contender *contender)
{
    for (uint32_t i = 0; i < plan->input->seen_count; i++) {
        const struct replica_seen *seen = &plan->input->seen[i];
        if (seen->shard == shard && uuid_equal(seen->replica, contender->replica->uuid)) {
            contender->last_term = seen->last_term;
            contender->last_seq = seen->last_seq;
        }
    }
}

static bool
goes_before(const struct contender *one, const struct contender *best)
{
    if (best->replica == NULL)
        return true;
    if (one->stays != best->stays)
        return one->stays;
    if (one->disk_low != best->disk_low)
        return best->disk_low;
    if (one->last_term != best->last_term)
        return one->last_term > best->last_term;
    if (one->last_seq != best->last_seq)
        return one->last_seq > best->last_seq;
    return one->primaries < best->primaries;
}

static const struct map_replica *
successor(const struct plan *plan, const struct map_shard *shard)
{
    struct contender best = {0};
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const struct rebalance_row *row = &plan->state->rows[plan_row(plan, replica->node)];
        if (replica->role != MAP_REPLICA_IN_SYNC || !row->alive || row->lease_void)
            continue;
        struct contender one = {.replica = replica,
                                .primaries = row->primaries,
                                .stays = plan_stays(plan, replica) && !row->leaving,
                                .disk_low = row->disk_low};
        look_up_seen(plan, shard->id, &one);
        if (goes_before(&one, &best))
            best = one;
    }
    return best.replica;
}

static bool
primary_is_gone(const struct plan *plan, const struct map_shard *shard)
{
    const struct map_replica *primary = shard_replica(shard, shard->primary);
    if (primary == NULL)
        return true;
    const uint32_t row = plan_row(plan, primary->node);
    return plan->state->rows[row].lease_void || plan->map->nodes[row].boot > shard->primary_boot;
}

void
plan_promotions(struct plan *plan)
{
    for (uint32_t s = 0; s < plan->map->shard_count && !plan->full; s++) {
        const struct map_shard *shard = &plan->map->shards[s];
        if ((shard->status != SHARD_OPEN && shard->status != SHARD_SPLITTING) ||
            !primary_is_gone(plan, shard))
            continue;
        const struct map_replica *next = successor(plan, shard);
        if (next == NULL) {
            plan_note(plan, REBALANCE_ORPHANED);
            continue;
        }
        const struct shard_step step = {.kind = STEP_PROMOTE, .replica = next->uuid};
        if (plan_add(plan, s, step, 0)) {
            plan->state->rows[plan_row(plan, next->node)].primaries++;
            plan_note(plan, REBALANCE_PROMOTED);
        }
    }
}
