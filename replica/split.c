// replica/split.c -- a shard that is split: its primary fills the copies of both halves, and then proposes the cut.
//
// Shape: machine.
//
//   filling --a child's copy streams: follow--> ADD to the child    filling --one is silent: follow--> REMOVE of it
//   filling --both halves have all their copies in sync, and lag little: consider_cut--> stopped (no intake)
//   stopped --all is committed, and durable on every copy in sync of both: cut--> a CHECKSUM, the last entry of this shard
//   stopped --that is everywhere as well, and the halves' sums make up the whole's: verdict--> proposed
//   stopped --they do not: verdict--> ABORT                         stopped --deadline--> filling, after a pause
//   proposed --newer metadata: split_sync--> filling, if the cut was too late; retired (primary_end), if it was not
//
// A child's copies have the parent's log up to the cut, entry by entry, so they are peers like learners are; only that they never
// count in E, and that the child's metadata say who of them is in sync. The cut is a compare-and-set on the cfg_ver of all three.
// From when it is proposed until its outcome is known another shard may answer for every key, and no lease and no copy of
// this shard would know: so nothing is read and nothing is written meanwhile. Any newer version of the three tells,
// because what was proposed at older ones can no more succeed.
//
// All copies of a child may come out of one: where that one was wrong they agree with each other, and no vote would ever find it. So
// the parent's copies vote once more, on the very last state, and what they agree on must be what the halves add up to.
#include "base/assert.h"
#include "replica/replica_int.h"

const struct replica_child *
child_of(const struct replica_meta *meta, struct replica_uuid uuid)
{
    for (uint32_t c = 0; c < meta->child_count; c++) {
        const struct replica_child *child = &meta->children[c];
        for (uint32_t i = 0; i < child->in_sync_count; i++)
            if (replica_uuid_equal(child->in_sync[i], uuid))
                return child;
        for (uint32_t i = 0; i < child->learner_count; i++)
            if (replica_uuid_equal(child->learners[i], uuid))
                return child;
    }
    return NULL;
}

bool
child_learner(const struct replica_meta *meta, struct replica_uuid uuid)
{
    const struct replica_child *child = child_of(meta, uuid);
    for (uint32_t i = 0; child != NULL && i < child->learner_count; i++)
        if (replica_uuid_equal(child->learners[i], uuid))
            return true;
    return false;
}

static void
go_on(struct replica_split *split)
{
    split->stopped = split->proposed = split->agreed = false;
    split->check_seq = 0;
}

void
split_sync(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_split *split = &replica->split;
    bool open = false; // whether the outcome of the change is not known yet
    for (uint32_t c = 0; c < replica->meta.child_count; c++)
        open |= replica->meta.children[c].shard == split->change.shard &&
                replica->meta.children[c].cfg_ver == split->change.cfg_ver;
    if (!open)
        split->change = (struct replica_change){.kind = REPLICA_CHANGE_NONE};
    if (split->proposed || replica->meta.child_count == 0)
        go_on(split);
}

static void
propose(struct step *step, const struct replica_change *change)
{
    struct replica_split *split = &step->replica->split;
    split->change = *change;
    split->change.term = step->replica->promised;
    split->sent_ns = step->in->now_ns;
    step->out->change = split->change;
}

// Who of a child is in sync: as with this shard's own copies, but that nobody waits for them yet.
static void
follow(struct step *step, struct replica_peer *peer)
{
    struct replica *replica = step->replica;
    const struct replica_child *child = &replica->meta.children[peer->child - 1];
    const bool near =
        peer->state == REPLICA_STREAM && replica->last_seq - peer->match <= REPLICA_LAG_MAX;
    const bool lost = peer_is_lost(step, peer);
    if (replica->split.change.kind != REPLICA_CHANGE_NONE ||
        step->out->change.kind != REPLICA_CHANGE_NONE || (peer->in_sync ? !lost : lost || !near))
        return;
    propose(step, &(struct replica_change){.kind = peer->in_sync ? REPLICA_CHANGE_REMOVE
                                                                 : REPLICA_CHANGE_ADD,
                                           .uuid = peer->uuid,
                                           .shard = child->shard,
                                           .cfg_ver = child->cfg_ver});
}

// Of this copy and those of both halves, the one that has least.
static uint64_t
least(const struct replica *replica)
{
    uint64_t seq =
        replica->durable_seq < replica->commit_seq ? replica->durable_seq : replica->commit_seq;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->child != 0 && peer->match < seq)
            seq = peer->match;
    }
    return seq;
}

static bool
is_whole(const struct replica *replica)
{
    for (uint32_t c = 0; c < REPLICA_CHILDREN; c++) {
        const struct replica_child *child = &replica->meta.children[c];
        if (child->in_sync_count < replica->meta.min_insync || child->learner_count > 0 ||
            child->unborn > 0)
            return false;
    }
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (replica->peers[i].child != 0 && replica->peers[i].state != REPLICA_STREAM)
            return false;
    return !replica->halted;
}

static void
consider_cut(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_split *split = &replica->split;
    wake_by(step, split->again_ns > step->in->now_ns ? split->again_ns : UINT64_MAX);
    if (step->in->now_ns < split->again_ns || !is_whole(replica) || !replica_is_open(replica) ||
        !replica_uuid_is_none(replica->transfer_to) ||
        replica->change.kind != REPLICA_CHANGE_NONE || split->change.kind != REPLICA_CHANGE_NONE ||
        replica->last_seq - least(replica) > REPLICA_LAG_MAX)
        return;
    split->stopped = true;
    split->again_ns = step->in->now_ns + replica->config.shrink_ns;
}

void
split_agreed(struct replica *replica, struct replica_sum root)
{
    struct replica_split *split = &replica->split;
    if (replica->check_seq != split->check_seq)
        return;
    split->agreed = true;
    split->root = root;
}

enum verdict { NOT_YET, HALVES_FIT, HALVES_DIFFER };

// Each copy of the one with each of the other: is_whole says that all are in sync.
static enum verdict
verdict(const struct replica *replica)
{
    const struct replica_split *split = &replica->split;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        ASSERT(peer->child == 0 || peer->in_sync);
        if (peer->child != 0 && peer->root_seq != split->check_seq)
            return NOT_YET;
    }
    if (!split->agreed)
        return NOT_YET;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *low = &replica->peers[i];
        for (uint32_t j = 0; low->child == 1 && j < replica->peer_count; j++) {
            const struct replica_peer *high = &replica->peers[j];
            if (high->child == 2 && (low->root.high + high->root.high != split->root.high ||
                                     low->root.low + high->root.low != split->root.low))
                return HALVES_DIFFER;
        }
    }
    return HALVES_FIT;
}

// Everything is everywhere. Nothing is appended in this step: it would not be durable.
static void
decide(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_split *split = &replica->split;
    struct replica_change change = {
        .uuid = replica->config.uuid,
        .shard = replica->config.shard,
        .cfg_ver = replica->meta.cfg_ver,
        .seq = replica->last_seq,
        .child_cfg_ver = {replica->meta.children[0].cfg_ver, replica->meta.children[1].cfg_ver}};
    if (split->check_seq == 0 && !bug(BUG_CUT_EARLY)) {
        primary_check(step); // nothing is on its way to the disk, so there is room
        split->check_seq = replica->check_seq;
        return;
    }
    const enum verdict said = bug(BUG_CUT_EARLY) ? HALVES_FIT : verdict(replica);
    if (said == HALVES_DIFFER) {
        change.kind = REPLICA_CHANGE_ABORT;
        note_add(step, REPLICA_NOTE_HALVES, replica->config.uuid, split->check_seq);
        propose(step, &change);
    } else if (said == HALVES_FIT) {
        change.kind = REPLICA_CHANGE_CUT;
        split->proposed = true;
        replica->reads_lost = replica->read_count > 0 && !bug(BUG_CUT_READ_ON);
        propose(step, &change);
    }
}

static void
cut(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_split *split = &replica->split;
    if (is_whole(replica) && (least(replica) == replica->last_seq || bug(BUG_CUT_EARLY)) &&
        split->change.kind == REPLICA_CHANGE_NONE && step->out->change.kind == REPLICA_CHANGE_NONE)
        decide(step);
    if (!split->proposed && step->in->now_ns >= split->again_ns) {
        go_on(split);
        split->again_ns = step->in->now_ns + replica->config.shrink_ns;
    }
    wake_by(step, split->again_ns);
}

void
split_timers(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_split *split = &replica->split;
    if (replica->meta.child_count == 0)
        return;
    for (uint32_t i = 0; i < replica->peer_count && !split->proposed; i++)
        if (replica->peers[i].child != 0)
            follow(step, &replica->peers[i]);
    if (!split->stopped)
        consider_cut(step);
    if (split->stopped && !split->proposed)
        cut(step);
    if (split->change.kind == REPLICA_CHANGE_NONE)
        return;
    const uint64_t pause_ns = 4 * replica->config.retry_ns;
    if (step->in->now_ns >= split->sent_ns + pause_ns &&
        step->out->change.kind == REPLICA_CHANGE_NONE) { // it, or its answer, was lost
        split->sent_ns = step->in->now_ns;
        step->out->change = split->change;
    }
    wake_by(step, split->sent_ns + pause_ns > step->in->now_ns ? split->sent_ns + pause_ns
                                                               : step->in->now_ns + pause_ns);
}
