// replica/checksum.c -- copies compare what they hold: a CHECKSUM entry, and everybody's sum at exactly that place (I12).
//
// Shape: machine.
//
// The copies that differ from most count as lost: they go, and are made anew out of one of the others. The primary is no exception:
// it stops first, so that whoever follows it waits for no guard. Where there is no "most" the shard stops taking writes
// and strong reads until an operator says which copy is right. A copy whose own bytes fail their checksums knows it
// without a vote, so two copies are enough for that. Until it has gone it serves no snapshot, for what is wrong must not be
// copied; and where it is the last in sync it leads, without reads and writes, until its log has brought another in.
#include "base/assert.h"
#include "replica/replica_int.h"

static bool
sum_equal(struct replica_sum a, struct replica_sum b)
{
    return a.high == b.high && a.low == b.low;
}

static bool
votes(const struct replica *replica, const struct replica_peer *peer)
{
    return peer->child == 0 && peer->in_sync && !peer->diverged &&
           peer->root_seq == replica->check_seq;
}

static uint32_t
votes_for(const struct replica *replica, struct replica_sum sum)
{
    uint32_t count = sum_equal(replica->own_root, sum) ? 1 : 0;
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (votes(replica, &replica->peers[i]) && sum_equal(replica->peers[i].root, sum))
            count++;
    return count;
}

static void
halt(struct step *step)
{
    step->replica->halted = true;
    note_add(step, REPLICA_NOTE_HALTED, step->replica->config.uuid, step->replica->check_seq);
}

// What was read of it may be wrong as well.
static void
rot(struct step *step)
{
    struct replica *replica = step->replica;
    replica->rotten = true;
    replica->rotten_sent_ns = 0;
    replica->reads_lost = replica->read_count > 0;
}

static void
expel(struct step *step, struct replica_peer *peer)
{
    peer->diverged = true;
    note_add(step, REPLICA_NOTE_DIVERGED, peer->uuid, step->replica->check_seq);
    struct replica_msg *msg = msg_add(step, REPLICA_BUCKETS_ASK, peer->uuid);
    msg->seq = step->replica->check_seq;
}

// The sum that more than half of `count` copies have. False: none.
static bool
majority(const struct replica *replica, uint32_t count, struct replica_sum *sum)
{
    *sum = replica->own_root;
    for (uint32_t i = 0; 2 * votes_for(replica, *sum) <= count; i++) {
        if (i == replica->peer_count)
            return false;
        if (votes(replica, &replica->peers[i]))
            *sum = replica->peers[i].root;
    }
    return true;
}

// When all in-sync copies have said it.
static void
compare(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_sum sum;
    uint32_t count = 1;
    if (replica->check_seq == 0 || !replica->own_root_known || replica->halted)
        return;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->child == 0 && peer->in_sync && !peer->diverged &&
            peer->root_seq != replica->check_seq)
            return;
        count += votes(replica, peer);
    }
    const bool decided = majority(replica, count, &sum);
    if (!decided || !sum_equal(replica->own_root, sum)) {
        note_add(step, REPLICA_NOTE_DIVERGED, replica->config.uuid, replica->check_seq);
        halt(step);
        if (decided)
            rot(step);
        return;
    }
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (votes(replica, &replica->peers[i]) && !sum_equal(replica->peers[i].root, sum))
            expel(step, &replica->peers[i]);
    split_agreed(replica, sum);
    replica->check_seq = 0;
    replica->vouched_cfg_ver = replica->check_cfg_ver;
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (replica->peers[i].state == REPLICA_SNAPSHOT)
            replica->peers[i].sent_ns = 0; // what it waited for is there
}

// What is wrong in one copy and looks sound would be most copies' once a learner is filled from it, and the good one voted out. So
// those in sync compare what they hold when the learner has come, before it gets a snapshot; unless nobody is there to compare with,
// or one of them is silent, so that nothing is committed until the learner is in its place.
bool
checksum_vouches(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_meta *meta = &replica->meta;
    bool able = meta->in_sync_count >= 2 && meta->in_sync_count >= meta->min_insync;
    for (uint32_t i = 0; i < replica->peer_count; i++)
        able &= replica->peers[i].child != 0 || !replica->peers[i].in_sync ||
                !peer_is_lost(step, &replica->peers[i]);
    if (!able || replica->vouched_cfg_ver == meta->cfg_ver)
        return true;
    replica->check_due = true;
    return false;
}

// A root may have been lost on its way: then another checksum begins.
static void
begin_due(struct step *step)
{
    struct replica *replica = step->replica;
    const uint64_t again_ns = replica->check_ns + 4 * replica->config.retry_ns;
    if (!replica->check_due || step->out->append_count > 0 || replica->halted)
        return; // a snapshot that still waits says so again
    replica->check_due = false;
    if (replica->check_seq == 0 || replica->check_cfg_ver != replica->meta.cfg_ver ||
        step->in->now_ns >= again_ns)
        primary_checksum(step);
}

void
checksum_corrupt(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->rotten)
        return;
    note_add(step, REPLICA_NOTE_CORRUPT, replica->config.uuid, replica->applied_seq);
    rot(step);
    if (replica->role == REPLICA_PRIMARY || replica->role == REPLICA_OPENING)
        halt(step);
}

// Until the metadata do not name it any more. Its shell drops what it holds then.
void
checksum_timers(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_uuid own = replica->config.uuid;
    begin_due(step);
    if (!replica->rotten ||
        (!meta_in_sync(&replica->meta, own) && !meta_learner(&replica->meta, own)))
        return;
    const uint64_t pause_ns = 4 * replica->config.retry_ns;
    const bool due =
        replica->rotten_sent_ns == 0 || step->in->now_ns >= replica->rotten_sent_ns + pause_ns;
    if (due && step->out->change.kind == REPLICA_CHANGE_NONE) {
        replica->rotten_sent_ns = step->in->now_ns;
        step->out->change = (struct replica_change){.kind = REPLICA_CHANGE_LOST,
                                                    .uuid = own,
                                                    .shard = replica->config.shard,
                                                    .cfg_ver = replica->meta.cfg_ver,
                                                    .term = replica->promised};
    }
    wake_by(step, due ? step->in->now_ns + pause_ns : replica->rotten_sent_ns + pause_ns);
}

void
checksum_root(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->role == REPLICA_PRIMARY && step->in->seq == replica->check_seq) {
        replica->own_root = step->in->sum;
        replica->own_root_known = true;
        compare(step);
    } else if (replica->role == REPLICA_BACKUP && !replica_uuid_is_none(replica->leader)) {
        struct replica_msg *msg = msg_add(step, REPLICA_ROOT, replica->leader);
        msg->seq = step->in->seq;
        msg->sum = step->in->sum;
    }
}

static void
on_root(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_peer *peer = peer_find(replica, msg->from);
    const uint64_t wanted =
        peer != NULL && peer->child != 0 ? replica->split.check_seq : replica->check_seq;
    if (peer == NULL || msg->seq != wanted || wanted == 0)
        return;
    peer->root_seq = msg->seq;
    peer->root = msg->sum;
    compare(step);
}

static void
on_buckets(struct step *step, const struct replica_msg *msg)
{
    const uint32_t next = msg->chunk + msg->bucket_count;
    const struct replica_peer *peer = peer_find(step->replica, msg->from);
    if (peer == NULL || !peer->diverged || msg->bucket_count == 0)
        return;
    step->out->serve = (struct replica_serve){.kind = REPLICA_SERVE_COMPARE,
                                              .uuid = msg->from,
                                              .seq = msg->seq,
                                              .chunk = msg->chunk,
                                              .buckets = msg->buckets,
                                              .bucket_count = msg->bucket_count};
    if (next >= REPLICA_BUCKETS)
        return;
    struct replica_msg *ask = msg_add(step, REPLICA_BUCKETS_ASK, msg->from);
    ask->seq = msg->seq;
    ask->chunk = next;
}

void
checksum_message(struct step *step, const struct replica_msg *msg)
{
    const struct replica *replica = step->replica;
    const bool leads = replica->role == REPLICA_PRIMARY;
    if (msg->term != replica->promised || leads == (msg->kind == REPLICA_BUCKETS_ASK))
        return;
    if (msg->kind == REPLICA_ROOT)
        on_root(step, msg);
    else if (msg->kind == REPLICA_BUCKETS_ARE)
        on_buckets(step, msg);
    else if (replica_uuid_equal(msg->from, replica->leader))
        step->out->serve = (struct replica_serve){
            .kind = REPLICA_SERVE_BUCKETS, .uuid = msg->from, .seq = msg->seq, .chunk = msg->chunk};
}

void
checksum_buckets(struct step *step)
{
    const struct replica_input *in = step->in;
    ASSERT(in->bucket_count <= REPLICA_BUCKETS_PER_MSG);
    struct replica_msg *msg = msg_add(step, REPLICA_BUCKETS_ARE, in->uuid);
    msg->seq = in->seq;
    msg->chunk = in->chunk;
    msg->buckets = in->buckets;
    msg->bucket_count = in->bucket_count;
}

uint32_t
replica_buckets_differ(const struct replica_sum *a, const struct replica_sum *b, uint32_t count,
                       uint32_t *out)
{
    uint32_t differ = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!sum_equal(a[i], b[i]))
            out[differ++] = i;
    return differ;
}
