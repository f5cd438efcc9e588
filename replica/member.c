// replica/member.c -- who is in sync: copies are taken in and dropped by changes of the metadata, which this file proposes.
//
// Shape: machine.
//
// A change is a compare-and-set on cfg_ver (I11). Its outcome is known when the metadata are newer than it was, never before:
// an answer may belong to one of two that were sent. So E grows before ADD is proposed and shrinks after REMOVE is seen (I9).
#include "base/assert.h"
#include "replica/replica_int.h"

bool
meta_in_sync(const struct replica_meta *meta, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < meta->in_sync_count; i++)
        if (replica_uuid_equal(meta->in_sync[i], uuid))
            return true;
    return false;
}

bool
meta_learner(const struct replica_meta *meta, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < meta->learner_count; i++)
        if (replica_uuid_equal(meta->learners[i], uuid))
            return true;
    return false;
}

struct place { // of a copy, in the metadata
    uint32_t child;
    bool in_sync;
};

static void
keep_or_add(struct step *step, struct replica_peer *next, uint32_t *count, struct replica_uuid uuid,
            struct place place)
{
    struct replica *replica = step->replica;
    const struct replica_peer *peer = peer_find(replica, uuid);
    if (replica_uuid_equal(uuid, replica->config.uuid))
        return;
    ASSERT(*count < REPLICA_PEERS_MAX);
    struct replica_peer *to = &next[(*count)++];
    *to = peer != NULL ? *peer
                       : (struct replica_peer){.uuid = uuid,
                                               .next = replica->last_seq + 1,
                                               .heard_ns = step->in->now_ns,
                                               .sent_ns = step->in->now_ns};
    if (peer != NULL && peer->in_sync && !place.in_sync)
        to->pending = false; // it is out, and that is known
    to->child = place.child;
    to->in_sync = place.in_sync;
    if (replica->change.cfg_ver != replica->meta.cfg_ver)
        to->add_proposed = false; // what was proposed at an older version has come, or never will
    if (place.in_sync)
        to->pending = false;
}

// Only the children's may be newer: then what was proposed for this shard is still on its way.
static void
keep_or_add_all(struct step *step, struct replica_peer *next, uint32_t *count)
{
    const struct replica_meta *meta = &step->replica->meta;
    for (uint32_t i = 0; i < meta->in_sync_count; i++)
        keep_or_add(step, next, count, meta->in_sync[i], (struct place){0, true});
    for (uint32_t i = 0; i < meta->learner_count; i++)
        keep_or_add(step, next, count, meta->learners[i], (struct place){0, false});
    for (uint32_t c = 0; c < meta->child_count; c++) {
        const struct replica_child *child = &meta->children[c];
        for (uint32_t i = 0; i < child->in_sync_count; i++)
            keep_or_add(step, next, count, child->in_sync[i], (struct place){c + 1, true});
        for (uint32_t i = 0; i < child->learner_count; i++)
            keep_or_add(step, next, count, child->learners[i], (struct place){c + 1, false});
    }
}

void
member_sync(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_peer next[REPLICA_PEERS_MAX];
    uint32_t count = 0;
    keep_or_add_all(step, next, &count);
    for (uint32_t i = 0; i < count; i++)
        replica->peers[i] = next[i];
    replica->peer_count = count;
    if (replica->change.cfg_ver != replica->meta.cfg_ver)
        replica->change = (struct replica_change){.kind = REPLICA_CHANGE_NONE};
    split_sync(step);
    for (uint32_t i = 0; i < count; i++)
        peer_pump(step, &replica->peers[i]);
    primary_advance(step);
}

static void
member_propose(struct step *step, enum replica_change_kind kind, struct replica_uuid uuid)
{
    struct replica *replica = step->replica;
    replica->change = (struct replica_change){.kind = kind,
                                              .uuid = uuid,
                                              .shard = replica->config.shard,
                                              .cfg_ver = replica->meta.cfg_ver,
                                              .term = replica->promised};
    replica->change_sent_ns = step->in->now_ns;
    step->out->change = replica->change;
}

// After an ACK: a learner that has caught up counts from here on, and is proposed when it has all that is committed, and this
// term's beginning. Not only when open: with too few in sync the term could never open.
void
member_ready(struct step *step, struct replica_peer *peer)
{
    struct replica *replica = step->replica;
    if (peer->child != 0 || peer->in_sync || peer->diverged || peer->state != REPLICA_STREAM)
        return;
    if (!peer->pending && replica->last_seq - peer->match <= REPLICA_LAG_MAX)
        peer->pending = true;
    if (!peer->pending || peer->match < replica->commit_seq || peer->match < replica->start_seq ||
        replica->change.kind != REPLICA_CHANGE_NONE)
        return;
    peer->add_proposed = true;
    member_propose(step, REPLICA_CHANGE_ADD, peer->uuid);
}

// Silent while it owes an ACK. The failure detector shortens the wait, and one who answered within it stays.
bool
peer_is_lost(struct step *step, const struct replica_peer *peer)
{
    const struct replica *replica = step->replica;
    const uint64_t wait_ns = peer->dead ? replica->config.shrink_ns / 4 : replica->config.shrink_ns;
    if (peer->match >= replica->last_seq)
        return false;
    if (step->in->now_ns >= peer->heard_ns + wait_ns)
        return true; // and if it cannot be removed now, newer metadata will say when
    wake_by(step, peer->heard_ns + wait_ns);
    return false;
}

// I9, and writes stop rather than that copies become too few.
static void
shrink(struct step *step, struct replica_peer *peer)
{
    struct replica *replica = step->replica;
    if (peer->child != 0 || (!peer->diverged && !peer_is_lost(step, peer)))
        return;
    if (peer->pending && !peer->add_proposed) {
        peer->pending = false; // nobody was asked: it cannot be in sync
        primary_advance(step);
        return;
    }
    if (peer->diverged) { // in sync or not, and even if too few are left: nothing that it has is worth anything
        if (replica->change.kind == REPLICA_CHANGE_NONE)
            member_propose(step, REPLICA_CHANGE_LOST, peer->uuid);
        return;
    }
    // One whose ADD is on its way is dropped when it is in: the proposal goes out again until newer metadata are seen.
    if (!peer->in_sync || replica->change.kind != REPLICA_CHANGE_NONE ||
        replica->meta.in_sync_count <= replica->meta.min_insync)
        return;
    member_propose(step, REPLICA_CHANGE_REMOVE, peer->uuid);
}

static void
transfer(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_peer *peer = peer_find(replica, replica->transfer_to);
    if (replica_uuid_is_none(replica->transfer_to))
        return;
    wake_by(step, replica->transfer_ns);
    if (peer == NULL || !peer->in_sync || step->in->now_ns >= replica->transfer_ns) {
        replica->transfer_to = (struct replica_uuid){0, 0};
    } else if (replica->change.kind == REPLICA_CHANGE_NONE && replica_is_open(replica) &&
               replica->commit_seq == replica->last_seq && peer->match == replica->last_seq) {
        member_propose(step, REPLICA_CHANGE_TRANSFER, peer->uuid);
    }
}

void
member_timers(struct step *step)
{
    struct replica *replica = step->replica;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        shrink(step, &replica->peers[i]);
        member_ready(step, &replica->peers[i]);
    }
    transfer(step);
    if (replica->change.kind == REPLICA_CHANGE_NONE)
        return;
    const uint64_t again_ns = replica->change_sent_ns + 4 * replica->config.retry_ns;
    if (step->in->now_ns >= again_ns) { // the proposal, or its answer, was lost
        replica->change_sent_ns = step->in->now_ns;
        step->out->change = replica->change;
    }
    wake_by(step, replica->change_sent_ns + 4 * replica->config.retry_ns);
}
