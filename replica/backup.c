// replica/backup.c -- a copy that follows: checks, promises, appends, and says so once it is durable.
//
// Shape: machine.
#include "replica/replica_int.h"

static uint64_t
known_term(const struct replica *replica)
{
    return replica->meta.term > replica->promised ? replica->meta.term : replica->promised;
}

static void
send_nack(struct step *step, const struct replica_msg *msg, uint64_t hint)
{
    struct replica_msg *nack = msg_add(step, REPLICA_NACK, msg->from);
    nack->term = known_term(step->replica);
    nack->prev_seq = msg->prev_seq;
    nack->seq = hint;
    nack->commit = step->replica->commit_seq;
}

// I5: what is said at a term, is said when its promise is durable. I6: no ACK before the entries are.
static void
send_ack(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica_uuid_is_none(replica->leader) || replica->agreed_seq == 0 ||
        (replica->durable_promised != replica->promised && !bug(BUG_ACK_BEFORE_FSYNC)))
        return; // nothing to say yet
    struct replica_msg *ack = msg_add(step, REPLICA_ACK, replica->leader);
    ack->term = replica->promised;
    ack->seq = replica->agreed_seq;
    if (ack->seq > replica->durable_seq && !bug(BUG_ACK_BEFORE_FSYNC))
        ack->seq = replica->durable_seq;
    ack->prev_seq = replica->agreed_seq;
    ack->commit = replica->commit_seq;
}

// Whether the sender may lead this copy; takes its term. Nothing is said to one that may not, but to one of an older term.
static bool
accept_leader(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    const bool old = msg->term < known_term(replica);
    if (old && !bug(BUG_SKIP_PROMISE)) {
        replica->counters.fenced_msgs++;
        send_nack(step, msg, replica->last_seq);
        return false;
    }
    const bool foreign =
        (msg->term == replica->meta.term &&
         !replica_uuid_equal(msg->from, replica->meta.primary)) ||
        (msg->term == replica->promised && replica->role != REPLICA_BACKUP) ||
        (msg->term == replica->promised && !replica_uuid_is_none(replica->leader) &&
         !replica_uuid_equal(msg->from, replica->leader));
    if (foreign && !(bug(BUG_SKIP_PROMISE) && old)) {
        replica->counters.fenced_msgs++;
        return false;
    }
    if (!persist_room(replica) || replica->download.installing) {
        replica->counters.dropped_msgs++;
        return false;
    }
    if (msg->cfg_ver > replica->meta.cfg_ver)
        note_add(step, REPLICA_NOTE_WANT_META, msg->from, msg->cfg_ver);
    if (msg->term > replica->promised)
        promise(step, msg->term);
    replica->leader = msg->from;
    return true;
}

// Where both logs may still agree: before the term of ours that is not theirs.
static uint64_t
hint_below(const struct replica *replica, uint64_t seq)
{
    uint64_t hint = replica->commit_seq;
    const struct replica_term *terms = terms_all(&replica->terms);
    for (uint32_t i = 0; i < replica->terms.count; i++)
        if (terms[i].first_seq <= seq && terms[i].first_seq > hint)
            hint = terms[i].first_seq - 1;
    return hint > replica->commit_seq ? hint : replica->commit_seq;
}

static bool
agrees(const struct replica *replica, uint64_t seq, uint64_t term)
{
    if (seq > replica->last_seq)
        return false;
    if (!log_knows(replica, seq))
        return seq <= replica->commit_seq;
    return replica_term_at(replica, seq) == term;
}

// How many of the entries are there already. `*conflict`: the next one is there, and another.
static uint32_t
entries_held(const struct replica *replica, const struct replica_msg *msg, bool *conflict)
{
    *conflict = false;
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct replica_entry *entry = &msg->entries[i];
        if (entry->seq > replica->last_seq)
            return i;
        if (!agrees(replica, entry->seq, entry->term)) {
            *conflict = true;
            return i;
        }
    }
    return msg->entry_count;
}

static void
take_entries(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    bool conflict;
    const uint32_t held = entries_held(replica, msg, &conflict);
    const uint32_t fresh = msg->entry_count - held;
    const uint64_t held_seq = msg->prev_seq + held;
    // What is acknowledged from here on must not be replaced by what is older.
    replica->download = (struct replica_download){.active = false};
    if (conflict && msg->entries[held].seq <= replica->commit_seq) {
        replica->counters.conflicts++;
        note_add(step, REPLICA_NOTE_CONFLICT, msg->from, msg->entries[held].seq);
        return;
    }
    // First, because only what is committed makes room among the operations.
    commit_to(step, msg->commit < held_seq ? msg->commit : held_seq);
    if (fresh > 0) {
        const omen_status status = dedupe_reserve(&replica->ops, fresh, replica->commit_seq);
        if (status != OMEN_OK) {
            replica->counters.no_memory++;
            note_add(step, REPLICA_NOTE_NO_MEMORY, msg->from, replica->last_seq);
            return;
        }
        if (conflict)
            log_truncate(step, msg->entries[held].seq - 1);
        log_append(step, msg->entries + held, fresh);
    }
    const uint64_t agreed = msg->prev_seq + msg->entry_count;
    if (agreed > replica->agreed_seq)
        replica->agreed_seq = agreed;
    commit_to(step, msg->commit < replica->agreed_seq ? msg->commit : replica->agreed_seq);
    if (!step->dirty || bug(BUG_ACK_BEFORE_FSYNC))
        send_ack(step);
}

void
backup_append(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    if (!accept_leader(step, msg))
        return;
    if (agrees(replica, msg->prev_seq, msg->prev_term)) {
        take_entries(step, msg);
    } else if (msg->prev_seq <= replica->commit_seq) {
        replica->counters.conflicts++;
        note_add(step, REPLICA_NOTE_CONFLICT, msg->from, msg->prev_seq);
    } else if (msg->prev_seq > replica->last_seq) {
        send_nack(step, msg, replica->last_seq);
    } else {
        send_nack(step, msg, hint_below(replica, msg->prev_seq));
    }
}

void
backup_persisted(struct step *step)
{
    if (step->replica->role == REPLICA_BACKUP)
        send_ack(step);
}

// Who was started has forgotten what of its log it knew to be committed, and its primary need not notice that it was gone: it
// has said long ago that it knows, and would be told of it with the next write only. So it says that it knows less, and agrees with
// nobody yet: an ACK of nothing.
void
backup_timers(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_uuid primary = replica->meta.primary;
    if (replica->role != REPLICA_BACKUP || replica->commit_seq >= replica->last_seq ||
        !replica_uuid_is_none(replica->leader) || replica_uuid_is_none(primary) ||
        replica_uuid_equal(primary, replica->config.uuid) ||
        replica->promised != replica->meta.term || replica->durable_promised != replica->promised)
        return;
    const uint64_t pause_ns = 4 * replica->config.retry_ns;
    if (replica->returned_sent_ns == 0 ||
        step->in->now_ns >= replica->returned_sent_ns + pause_ns) {
        struct replica_msg *ack = msg_add(step, REPLICA_ACK, primary);
        ack->term = replica->promised;
        ack->commit = replica->commit_seq;
        replica->returned_sent_ns = step->in->now_ns;
    }
    wake_by(step, replica->returned_sent_ns + pause_ns);
}

// I10: "yes" means that nobody newer can have been opened with this copy's help before the question was sent.
void
backup_confirm(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    if (msg->term != known_term(replica) || replica->durable_promised != msg->term ||
        replica->role != REPLICA_BACKUP || !replica_uuid_equal(msg->from, replica->leader)) {
        replica->counters.fenced_msgs++;
        return;
    }
    struct replica_msg *yes = msg_add(step, REPLICA_CONFIRM_ACK, msg->from);
    yes->term = msg->term;
    yes->round = msg->round;
}

// The log of the primary begins too late for this copy.
void
catchup_need(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_download *download = &replica->download;
    if (!accept_leader(step, msg))
        return;
    if (agrees(replica, msg->prev_seq, msg->prev_term)) {
        send_nack(step, msg, msg->prev_seq);
        return;
    }
    if (download->active || !meta_learner(&replica->meta, replica->config.uuid) ||
        replica_uuid_is_none(msg->source) || replica_uuid_equal(msg->source, replica->config.uuid))
        return;
    *download = (struct replica_download){
        .source = msg->source, .active = true, .sent_ns = step->in->now_ns};
    msg_add(step, REPLICA_SNAPSHOT_ASK, msg->source);
}
