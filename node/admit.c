// node/admit.c -- a sub-request is compared with what this node's newest map says of the copy.
//
// Shape: value.
//
// The copy's name alone is not enough: a copy that is no longer in sync still has its name, and after a split the parent's copies
// have theirs until they are purged. What they would answer is old and looks sound. Therefore cfg_ver, which grows with every
// change of a shard, must be the same on both sides. That of a write is looked at once more by the replica, for which the
// newest map may not be the same one.
//
// After a start the map of this node, and what its copies have applied, are those of the last checkpoint: another copy answers until a
// lease says that the map is as new as any that an earlier process knew.
//
// A copy has said yes to what was in its log when it was started, or others have, and it applies it as soon as somebody leads the shard. A
// client that asks after a crash wants to see what was acknowledged before it, and where all nodes were started at once nobody else can
// show it: so reads of the primary wait for that moment as strong ones do, and backups say that they are busy. Who commits alone comes
// there always. Who needs others may not, while too few of them are there for a write; then, after CATCH_UP_NS, old answers are better
// than none.
//
// A child of a split answers when it has applied what its parent had: then tokens of whatever shard it comes from hold for it.
#include "node/admit.h"

#include "base/bug.h"

#define CATCH_UP_NS 10000000000ull

static struct admission
refuse(omen_status status)
{
    return (struct admission){ADMIT_REFUSE, status};
}

static bool
is_for_primary(const struct fanout_send *request)
{
    return request->kind == FANOUT_WRITE || request->consistency == FANOUT_STRONG;
}

// Whether both have the same map, as far as this shard is concerned.
static bool
fits(const struct copy *copy, const struct fanout_send *request)
{
    const struct map_shard *row = &copy->row;
    const struct map_replica *replica = shard_replica(row, copy->env.uuid);
    if (!copy->named || replica == NULL || replica->role != MAP_REPLICA_IN_SYNC)
        return false;
    if (!shard_is_routed(row) || row->cfg_ver != request->cfg_ver || row->term != request->term)
        return false;
    if (request->first > request->last || request->first < row->first || request->last > row->last)
        return false;
    return !is_for_primary(request) || uuid_equal(row->primary, copy->env.uuid);
}

static bool
is_behind_what_it_found(const struct copies *copies, const struct copy *copy)
{
    if (copy->replica.applied_seq >= copy->replica.found_seq)
        return false;
    const bool commits_alone = copy->row.replica_count == 1 && copy->row.min_insync <= 1;
    return commits_alone || copies->now_ns - copies->current_ns < CATCH_UP_NS;
}

struct admission
copies_admit(const struct copies *copies, const struct fanout_send *request)
{
    const struct cluster_uuid uuid = {request->copy_high, request->copy_low};
    const struct copy *copy = copies_find(copies, uuid);
    if (copy == NULL || !copy->made || copy->env.shard != request->shard)
        return refuse(OMEN_E_STALE_MAP);
    if (!fits(copy, request)) {
        // The deliberate error: a read is answered by whom it reaches, as if the router's map were good enough.
        if (bug(BUG_STALE_ROUTE) && request->kind != FANOUT_WRITE)
            return (struct admission){ADMIT_SERVE, OMEN_OK};
        return refuse(OMEN_E_STALE_MAP);
    }
    if (copy->replica.rotten) // what it holds is wrong; another answers, once the map has it
        return refuse(OMEN_E_STALE_MAP);
    if (request->kind == FANOUT_WRITE)
        return (struct admission){ADMIT_WRITE, OMEN_OK};
    if (request->consistency == FANOUT_STRONG)
        return (struct admission){ADMIT_READ, OMEN_OK};
    if (!copies->current || copy->replica.applied_seq < copy->row.base_seq)
        return refuse(OMEN_E_BUSY);
    const bool is_behind_the_client =
        request->consistency == FANOUT_SESSION && copy->replica.applied_seq < request->after_seq;
    if (!is_behind_the_client && !is_behind_what_it_found(copies, copy))
        return (struct admission){ADMIT_SERVE, OMEN_OK};
    // What a strong read does not see was never acknowledged: the primary can tell whether it is behind, or the token ahead of all.
    return uuid_equal(copy->row.primary, copy->env.uuid) ? (struct admission){ADMIT_READ, OMEN_OK}
                                                         : refuse(OMEN_E_BUSY);
}
