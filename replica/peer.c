// replica/peer.c -- what a primary sends to one copy, and what it learns from the answers.
//
//   PROBE  --ACK: peer_ack-->  STREAM      one message at a time, until both logs are known to agree somewhere
//   STREAM --silence: peer_timers, NACK: peer_nack-->  PROBE
//   either --its log ends before ours begins: peer_pump-->  SNAPSHOT  --NACK, ACK-->  PROBE, STREAM
//
// Shape: machine.
#include "base/assert.h"
#include "replica/replica_int.h"

// From where on a message can say of which term the entry before it is: the log may hold older entries, of terms that are forgotten.
static uint64_t
base_of(const struct replica *replica)
{
    ASSERT(replica->terms.count > 0); // of a primary: it has begun one
    const uint64_t known = terms_all(&replica->terms)[0].first_seq;
    const uint64_t trimmed = replica->first_seq - 1;
    if (trimmed == 0 && known <= 1)
        return 0; // everything is there
    return known > trimmed ? known : trimmed;
}

void
peer_send(struct step *step, struct replica_peer *peer, const struct replica_entry *entries,
          uint32_t count)
{
    const struct replica *replica = step->replica;
    struct replica_msg *msg = msg_add(step, REPLICA_APPEND, peer->uuid);
    msg->prev_seq = peer->next - 1;
    msg->prev_term = replica_term_at(replica, msg->prev_seq);
    msg->commit = replica->commit_seq;
    msg->entries = entries;
    msg->entry_count = count;
    peer->sent_ns = step->in->now_ns;
    if (peer->state == REPLICA_STREAM)
        peer->next += count;
    else
        peer->waiting = true;
}

static void
send_need(struct step *step, struct replica_peer *peer)
{
    peer->sent_ns = step->in->now_ns;
    if (!peer->in_sync && !checksum_vouches(step)) // in sync: it says where its log ends
        return;                                    // peer_timers asks again
    struct replica_msg *msg = msg_add(step, REPLICA_NEED_SNAPSHOT, peer->uuid);
    msg->prev_seq = base_of(step->replica);
    msg->prev_term = replica_term_at(step->replica, msg->prev_seq);
    msg->source = step->replica->config.uuid;
}

static void
want_entries(struct step *step, struct replica_peer *peer)
{
    const struct replica *replica = step->replica;
    const uint64_t left = replica->last_seq - peer->next + 1;
    ASSERT(step->out->read_count < REPLICA_PEERS_MAX);
    peer->reading = true;
    step->out->reads[step->out->read_count++] = (struct replica_log_read){
        .reader = peer->uuid,
        .first_seq = peer->next,
        .term = replica->promised,
        .count = left < REPLICA_ENTRIES_MAX ? (uint32_t)left : REPLICA_ENTRIES_MAX};
}

// The next thing that this copy should get, if it is its turn.
void
peer_pump(struct step *step, struct replica_peer *peer)
{
    struct replica *replica = step->replica;
    if (replica->role != REPLICA_PRIMARY || peer->reading || peer->waiting ||
        peer->state == REPLICA_SNAPSHOT)
        return;
    ASSERT(peer->next > peer->match && peer->next <= replica->last_seq + 1);
    if (peer->next - 1 < base_of(replica)) {
        peer->state = REPLICA_SNAPSHOT;
        send_need(step, peer);
    } else if (peer->state == REPLICA_PROBE && peer->next > replica->last_seq) {
        peer_send(step, peer, NULL, 0);
    } else if (peer->next <= replica->last_seq &&
               (peer->state == REPLICA_PROBE || peer->next - 1 - peer->match < REPLICA_WINDOW)) {
        want_entries(step, peer);
    }
}

void
peer_entries(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_input *in = step->in;
    struct replica_peer *peer = peer_find(replica, in->reader);
    ASSERT(in->entry_count <= REPLICA_ENTRIES_MAX);
    if (peer == NULL || !peer->reading || in->reader_term != replica->promised)
        return;
    peer->reading = false;
    if (in->entry_count == 0) {
        step->again = true; // trimmed: the next look finds it out
        return;
    }
    if (in->entries[0].seq == peer->next)
        peer_send(step, peer, in->entries, in->entry_count);
    peer_pump(step, peer);
}

static void
probe_from(struct step *step, struct replica_peer *peer, uint64_t next)
{
    peer->state = REPLICA_PROBE;
    peer->waiting = false;
    peer->next = next;
    peer_pump(step, peer);
}

void
peer_ack(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_peer *peer = peer_find(replica, msg->from);
    if (replica->role != REPLICA_PRIMARY || msg->term != replica->promised || peer == NULL ||
        msg->prev_seq > replica->last_seq || msg->seq > msg->prev_seq) {
        replica->counters.fenced_msgs++;
        return;
    }
    if (msg->prev_seq == 0 && peer->state == REPLICA_STREAM) {
        // It was started, and has heard of nobody since (backup_timers).
        peer->commit_known = msg->commit;
        if (!peer->reading)
            probe_from(step, peer, peer->match + 1);
        return;
    }
    // One that answers and makes nothing durable, because its disk hangs, is as silent as one that does not answer.
    if (msg->seq > peer->match || peer->match == replica->last_seq)
        peer->heard_ns = step->in->now_ns;
    peer->dead = false;
    peer->waiting = false;
    if (msg->seq > peer->match)
        peer->match = msg->seq;
    if (msg->commit > peer->commit_known)
        peer->commit_known = msg->commit;
    if (peer->state != REPLICA_STREAM) {
        peer->state = REPLICA_STREAM;
        peer->next = (msg->prev_seq > peer->match ? msg->prev_seq : peer->match) + 1;
    } else if (peer->next <= peer->match) {
        peer->next = peer->match + 1;
    }
    primary_advance(step);
    member_ready(step, peer);
    peer_pump(step, peer);
}

void
peer_nack(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_peer *peer = peer_find(replica, msg->from);
    if (replica->role != REPLICA_PRIMARY || peer == NULL)
        return;
    if (msg->term >
        replica->promised) { // somebody newer leads, or will: nothing more can be committed here
        note_add(step, REPLICA_NOTE_WANT_META, msg->from, msg->cfg_ver);
        replica->counters.fenced_msgs++;
        return;
    }
    if (msg->term < replica->promised || msg->prev_seq > replica->last_seq)
        return;
    if (peer->state == REPLICA_SNAPSHOT) {
        if (msg->seq >= base_of(replica) && msg->seq <= replica->last_seq)
            probe_from(step, peer, msg->seq + 1);
        return;
    }
    if (msg->prev_seq < peer->match + 1 ||
        (peer->state == REPLICA_PROBE && msg->prev_seq != peer->next - 1))
        return; // late
    uint64_t next = msg->seq < msg->prev_seq ? msg->seq + 1 : msg->prev_seq;
    if (next <= peer->match)
        next = peer->match + 1;
    probe_from(step, peer, next);
}

void
peer_timers(struct step *step, struct replica_peer *peer)
{
    const struct replica *replica = step->replica;
    const uint64_t retry_ns = peer->sent_ns + replica->config.retry_ns;
    const uint64_t idle_ns = peer->sent_ns + replica->config.idle_ns;
    const uint64_t now_ns = step->in->now_ns;
    const bool outstanding = peer->waiting || peer->next - 1 > peer->match;
    if (peer->state == REPLICA_SNAPSHOT) {
        if (now_ns >= retry_ns)
            send_need(step, peer);
        wake_by(step, peer->sent_ns + replica->config.retry_ns);
    } else if (outstanding && !peer->reading) {
        if (now_ns >= retry_ns)
            probe_from(step, peer, peer->match + 1);
        if (!peer->reading) // else ENTRIES wakes it
            wake_by(step, peer->sent_ns + replica->config.retry_ns);
    } else if (!peer->reading && peer->next > replica->last_seq &&
               peer->commit_known < replica->commit_seq) {
        if (now_ns >= idle_ns)
            peer_send(step, peer, NULL, 0);
        wake_by(step, peer->sent_ns + replica->config.idle_ns);
    } else {
        peer_pump(step, peer);
    }
}
