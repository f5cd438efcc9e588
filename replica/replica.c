// replica/replica.c -- one copy of a shard: inputs go to the file that answers them, then all that may follow is looked at.
//
// Shape: machine.
//
//   IDLE --START--> BACKUP --metadata name it primary of a term above what it promised: primary_begin--> OPENING
//   OPENING --its promise is durable: primary_persisted--> PRIMARY (open when TERM_START is committed: primary_advance)
//   OPENING, PRIMARY --a newer term, by metadata or message: promise, primary_end--> BACKUP
//   BACKUP --named primary of a term it promised already (it was restarted): primary_consider--> BACKUP, and says NEEDS_TERM
//
//   backup:  APPEND -> accept_leader (fence, promise) -> take_entries -> persist -> PERSISTED -> ACK
//   primary: PROPOSE -> lead_entries -> persist and APPEND -> PERSISTED, ACK -> primary_advance -> apply -> APPLIED -> answer
#include "replica/replica.h"

#include "base/assert.h"
#include "replica/replica_int.h"

void
replica_init(struct replica *replica, const struct replica_config *config, uint64_t seed)
{
    ASSERT(!replica_uuid_is_none(config->uuid));
    ASSERT(config->retry_ns > 0 && config->shrink_ns > 0 && config->idle_ns > 0);
    ASSERT(config->terms_max >= 2 && config->terms_max <= REPLICA_TERMS_MAX);
    *replica = (struct replica){.config = *config, .role = REPLICA_IDLE, .first_seq = 1};
    prng_init(&replica->prng, seed);
    dedupe_init(&replica->ops, config->ops_max, config->window_ms);
}

void
replica_fini(struct replica *replica)
{
    dedupe_fini(&replica->ops);
    terms_fini(&replica->terms);
}

void
note_add(struct step *step, enum replica_note_kind kind, struct replica_uuid uuid, uint64_t number)
{
    if (step->out->note_count == REPLICA_NOTES_MAX) {
        step->replica->counters.notes_lost++;
        return;
    }
    step->out->notes[step->out->note_count++] = (struct replica_note){kind, uuid, number};
}

struct replica_msg *
msg_add(struct step *step, enum replica_msg_kind kind, struct replica_uuid to)
{
    struct replica *replica = step->replica;
    struct replica_msg *msg = &step->unsent;
    if (step->out->msg_count < REPLICA_MSGS_MAX)
        msg = &step->out->msgs[step->out->msg_count++];
    else
        replica->counters.dropped_msgs++;
    const struct replica_child *child = child_of(&replica->meta, to);
    *msg = (struct replica_msg){.kind = kind,
                                .from = replica->config.uuid,
                                .to = to,
                                .shard = child != NULL ? child->shard : replica->config.shard,
                                .term = replica->promised,
                                .cfg_ver = replica->meta.cfg_ver};
    return msg;
}

void
wake_by(struct step *step, uint64_t at_ns)
{
    if (at_ns < step->out->wake_ns)
        step->out->wake_ns = at_ns;
}

// ---- metadata ----
// Adds `count` of `uuids` to those seen before. False: one is none, or was there.
static bool
all_new(struct replica_uuid *seen, uint32_t *seen_count, const struct replica_uuid *uuids,
        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < *seen_count; j++)
            if (replica_uuid_equal(seen[j], uuids[i]))
                return false;
        if (replica_uuid_is_none(uuids[i]))
            return false;
        seen[(*seen_count)++] = uuids[i];
    }
    return true;
}

static bool
members_are_sound(const struct replica_meta *meta)
{
    struct replica_uuid seen[REPLICA_PEERS_MAX];
    uint32_t count = 0;
    if (meta->in_sync_count > REPLICA_MEMBERS_MAX ||
        meta->learner_count > REPLICA_MEMBERS_MAX - meta->in_sync_count ||
        !all_new(seen, &count, meta->in_sync, meta->in_sync_count) ||
        !all_new(seen, &count, meta->learners, meta->learner_count) ||
        (meta->child_count != 0 && meta->child_count != REPLICA_CHILDREN))
        return false;
    for (uint32_t c = 0; c < meta->child_count; c++) {
        const struct replica_child *child = &meta->children[c];
        if (child->in_sync_count > REPLICA_MEMBERS_MAX ||
            child->learner_count > REPLICA_MEMBERS_MAX - child->in_sync_count ||
            !all_new(seen, &count, child->in_sync, child->in_sync_count) ||
            !all_new(seen, &count, child->learners, child->learner_count))
            return false;
    }
    return true;
}

// Of the shard itself, or of its children while it stays as it was.
static bool
is_newer(const struct replica_meta *meta, const struct replica_meta *known)
{
    uint64_t more = 0;
    if (meta->cfg_ver != known->cfg_ver)
        return meta->cfg_ver > known->cfg_ver;
    if (meta->child_count != REPLICA_CHILDREN || known->child_count != REPLICA_CHILDREN)
        return false;
    for (uint32_t c = 0; c < REPLICA_CHILDREN; c++) {
        const struct replica_child *child = &meta->children[c], *old = &known->children[c];
        if (child->shard != old->shard || child->cfg_ver < old->cfg_ver)
            return false;
        more += child->cfg_ver - old->cfg_ver;
    }
    return more > 0;
}

// They are the cluster's own, but a bug there must not break the shard here.
static bool
meta_is_sound(const struct replica *replica, const struct replica_meta *meta)
{
    return is_newer(meta, &replica->meta) && meta->term >= replica->meta.term &&
           members_are_sound(meta) && meta->min_insync >= 1 && meta_in_sync(meta, meta->primary) &&
           meta->term < REPLICA_NUMBER_MAX &&
           (meta->term > replica->meta.term ||
            replica_uuid_equal(meta->primary, replica->meta.primary));
}

static void
on_meta(struct step *step)
{
    struct replica *replica = step->replica;
    if (!meta_is_sound(replica, step->in->meta)) {
        replica->counters.refused_meta += step->in->meta->cfg_ver > replica->meta.cfg_ver;
        return;
    }
    replica->meta = *step->in->meta;
    const bool leads = replica->role == REPLICA_PRIMARY || replica->role == REPLICA_OPENING;
    if (leads && (replica->meta.term > replica->promised || replica->meta.retired))
        primary_end(step);
    else if (leads)
        member_sync(step);
}

// ---- messages ----
static bool
entries_are_sound(const struct replica_msg *msg)
{
    uint64_t term = msg->prev_term, stamp_ms = 0;
    const bool leads = msg->kind == REPLICA_APPEND || msg->kind == REPLICA_NEED_SNAPSHOT;
    if (leads && (msg->prev_seq == 0) != (msg->prev_term == 0))
        return false;
    if (msg->entry_count > REPLICA_ENTRIES_MAX || (msg->entry_count > 0 && msg->entries == NULL))
        return false;
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct replica_entry *entry = &msg->entries[i];
        if (entry->seq != msg->prev_seq + i + 1 || entry->term < term || entry->term == 0 ||
            entry->term > msg->term || entry->stamp_ms < stamp_ms ||
            entry->kind < REPLICA_ENTRY_OP || entry->kind > REPLICA_ENTRY_CHECKSUM ||
            entry->byte_count > REPLICA_ENTRY_BYTES_MAX ||
            (entry->byte_count > 0 && entry->bytes == NULL))
            return false;
        term = entry->term;
        stamp_ms = entry->stamp_ms;
    }
    return true;
}

// Of this shard, or of a copy of a child of it.
static bool
shard_is_right(const struct replica *replica, const struct replica_msg *msg)
{
    const struct replica_child *child = child_of(&replica->meta, msg->from);
    return msg->shard == (child != NULL ? child->shard : replica->config.shard);
}

static bool
msg_is_sound(const struct replica *replica, const struct replica_msg *msg)
{
    return msg->kind >= REPLICA_APPEND && msg->kind < REPLICA_MSG_KINDS &&
           shard_is_right(replica, msg) && replica_uuid_equal(msg->to, replica->config.uuid) &&
           !replica_uuid_is_none(msg->from) &&
           !replica_uuid_equal(msg->from, replica->config.uuid) && msg->term < REPLICA_NUMBER_MAX &&
           msg->cfg_ver < REPLICA_NUMBER_MAX && msg->seq < REPLICA_NUMBER_MAX &&
           msg->prev_seq < REPLICA_NUMBER_MAX && msg->prev_term <= msg->term &&
           msg->round < REPLICA_NUMBER_MAX && msg->commit < REPLICA_NUMBER_MAX &&
           msg->chunk < REPLICA_CHUNKS_MAX && msg->chunk_count <= REPLICA_CHUNKS_MAX &&
           msg->byte_count <= REPLICA_CHUNK_BYTES_MAX &&
           (msg->byte_count == 0 || msg->bytes != NULL) &&
           msg->bucket_count <= REPLICA_BUCKETS_PER_MSG &&
           (msg->bucket_count == 0 || msg->buckets != NULL) && entries_are_sound(msg);
}

static void
on_message(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_msg *msg = step->in->message;
    if (!msg_is_sound(replica, msg) || replica->role == REPLICA_IDLE) {
        replica->counters.refused_msgs++;
        return;
    }
    switch (msg->kind) {
    case REPLICA_APPEND:
        backup_append(step, msg);
        break;
    case REPLICA_NEED_SNAPSHOT:
        catchup_need(step, msg);
        break;
    case REPLICA_ACK:
        peer_ack(step, msg);
        break;
    case REPLICA_NACK:
        peer_nack(step, msg);
        break;
    case REPLICA_CONFIRM:
        backup_confirm(step, msg);
        break;
    case REPLICA_CONFIRM_ACK:
        read_confirm_ack(step, msg);
        break;
    case REPLICA_SNAPSHOT_ASK:
    case REPLICA_SNAPSHOT_HEAD:
    case REPLICA_CHUNK:
        catchup_message(step, msg);
        break;
    default:
        checksum_message(step, msg);
        break;
    }
}

// ---- the rest ----
static void
on_start(struct step *step)
{
    struct replica *replica = step->replica;
    ASSERT(replica->role == REPLICA_IDLE);
    log_load(step, step->in->disk);
    replica->promised = replica->durable_promised = step->in->disk->promised;
    replica->role = REPLICA_BACKUP;
}

static void
on_persisted(struct step *step)
{
    struct replica *replica = step->replica;
    ASSERT(step->in->ticket <= replica->tickets_made);
    persist_done(replica, step->in->ticket);
    primary_persisted(step);
    backup_persisted(step);
    for (uint32_t i = 0; i < replica->peer_count; i++)
        peer_pump(step, &replica->peers[i]);
}

static void
on_lease(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_input *in = step->in;
    if (in->boot != replica->config.boot || in->sent_ns > in->now_ns)
        return; // asked for by a process that is no more
    if (in->known_ver > replica->meta.cfg_ver && !bug(BUG_LEASE_OLD_VIEW))
        return; // somebody else may be primary since: then the node's lease says nothing about us
    if (in->sent_ns + in->lease_ns > replica->lease_until_ns)
        replica->lease_until_ns = in->sent_ns + in->lease_ns;
}

static void
on_applied(struct step *step)
{
    struct replica *replica = step->replica;
    ASSERT(step->in->seq <= replica->applying_seq);
    if (step->in->seq > replica->applied_seq)
        replica->applied_seq = step->in->seq;
}

static void
on_trimmed(struct step *step)
{
    struct replica *replica = step->replica;
    if (step->in->seq > replica->first_seq && step->in->seq <= replica->applied_seq + 1)
        replica->first_seq = step->in->seq;
}

static void
on_liveness(struct step *step)
{
    struct replica_peer *peer = peer_find(step->replica, step->in->uuid);
    if (peer != NULL)
        peer->dead = step->in->kind == REPLICA_IN_DEAD;
}

// Who led before may have taken what was proposed with it: it goes out again now, not after the pause. Twice is once (I11).
static void
on_led(struct replica *replica)
{
    replica->change_sent_ns = replica->split.sent_ns = replica->rotten_sent_ns = 0;
}

static void
on_hearsay(struct step *step)
{
    if (step->in->kind == REPLICA_IN_LED)
        on_led(step->replica);
    else
        on_liveness(step);
}

static void
dispatch(struct step *step)
{
    switch (step->in->kind) {
    case REPLICA_IN_START:
        on_start(step);
        break;
    case REPLICA_IN_META:
        on_meta(step);
        break;
    case REPLICA_IN_MESSAGE:
        on_message(step);
        break;
    case REPLICA_IN_PERSISTED:
        on_persisted(step);
        break;
    case REPLICA_IN_PROPOSE:
        primary_propose(step);
        break;
    case REPLICA_IN_ENTRIES:
        peer_entries(step);
        break;
    case REPLICA_IN_APPLIED:
        on_applied(step);
        break;
    case REPLICA_IN_TRIMMED:
        on_trimmed(step);
        break;
    case REPLICA_IN_READ:
        read_begin(step);
        break;
    case REPLICA_IN_READ_DONE:
        read_done(step);
        break;
    case REPLICA_IN_LEASE:
        on_lease(step);
        break;
    case REPLICA_IN_DEAD:
    case REPLICA_IN_ALIVE:
    case REPLICA_IN_LED:
        on_hearsay(step);
        break;
    case REPLICA_IN_TRANSFER:
        primary_transfer(step);
        break;
    case REPLICA_IN_CHECKSUM:
        primary_checksum(step);
        break;
    case REPLICA_IN_ROOT:
        checksum_root(step);
        break;
    case REPLICA_IN_BUCKETS:
        checksum_buckets(step);
        break;
    case REPLICA_IN_SNAPSHOT_READY:
    case REPLICA_IN_CHUNK_READ:
    case REPLICA_IN_CHUNK_STORED:
    case REPLICA_IN_INSTALLED:
        catchup_input(step);
        break;
    case REPLICA_IN_CORRUPT:
        checksum_corrupt(step);
        break;
    case REPLICA_IN_RESUME:
        step->replica->halted = step->replica->rotten = false;
        step->replica->check_seq = 0;
        break;
    case REPLICA_IN_WAKE:
        break;
    }
}

// What has become possible, and what is due.
static void
settle(struct step *step)
{
    struct replica *replica = step->replica;
    primary_consider(step);
    primary_advance(step);
    if (replica->role == REPLICA_PRIMARY) {
        for (uint32_t i = 0; i < replica->peer_count; i++)
            peer_timers(step, &replica->peers[i]);
        member_timers(step);
        split_timers(step);
    }
    backup_timers(step);
    checksum_timers(step);
    catchup_timers(step);
    apply_more(step);
    answers_advance(step);
    read_advance(step);
    read_timers(step);
    persist(step);
}

void
replica_step(struct replica *replica, const struct replica_input *in, struct replica_output *out)
{
    struct step step = {.replica = replica, .in = in, .out = out};
    out->ticket = out->promised = out->commit_seq = out->truncate_seq = 0;
    out->truncate = false;
    out->append = NULL;
    out->append_count = out->msg_count = out->answer_count = out->serve_read_count = 0;
    out->read_count = out->note_count = 0;
    out->apply_first = out->apply_last = 0;
    out->change = (struct replica_change){.kind = REPLICA_CHANGE_NONE};
    out->serve = (struct replica_serve){.kind = REPLICA_SERVE_NONE};
    out->wake_ns = UINT64_MAX;
    if (in->now_ns > replica->now_ns)
        replica->now_ns = in->now_ns;
    ASSERT(replica->role != REPLICA_IDLE || in->kind == REPLICA_IN_START ||
           in->kind == REPLICA_IN_META || in->kind == REPLICA_IN_LEASE ||
           in->kind == REPLICA_IN_MESSAGE || in->kind == REPLICA_IN_WAKE);
    dispatch(&step);
    if (replica->role != REPLICA_IDLE)
        settle(&step);
    if (step.again)
        out->wake_ns = in->now_ns;
}

uint64_t
replica_keep_from(const struct replica *replica)
{
    uint64_t seq = replica->applied_seq + 1;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->state != REPLICA_SNAPSHOT && peer->match + 1 < seq)
            seq = peer->match + 1;
    }
    return seq;
}
