// replica/primary.c -- the copy that leads: takes operations, and counts them as done when all that must have them do.
//
// Shape: machine.
#include <stdio.h>

#include "base/assert.h"
#include "replica/replica_int.h"

// One more batch still has numbers that messages may carry.
#define LAST_SEQ_MAX (REPLICA_NUMBER_MAX - REPLICA_ENTRIES_MAX)

static void primary_begin(struct step *step);

struct replica_peer *
peer_find(struct replica *replica, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (replica_uuid_equal(replica->peers[i].uuid, uuid))
            return &replica->peers[i];
    return NULL;
}

bool
replica_is_open(const struct replica *replica)
{
    return replica->role == REPLICA_PRIMARY && replica->commit_seq >= replica->start_seq;
}

// I9. E: in sync by the metadata that this copy has seen applied, and everybody who may be by now.
bool
primary_counts(const struct replica *replica, const struct replica_peer *peer)
{
    if (peer->child != 0)
        return false;
    if (bug(BUG_SHRINK_EARLY) && replica->change.kind == REPLICA_CHANGE_REMOVE &&
        replica_uuid_equal(replica->change.uuid, peer->uuid))
        return false;
    if (bug(BUG_NO_PENDING_ADD))
        return peer->in_sync;
    return peer->in_sync || peer->pending;
}

// A restarted primary does not go on in its term: what it had sent may be on others and not here any more. Nor does it begin one
// that an earlier process of its node was named for: whoever heard of the newer boot waits for no guard, so its lease is worth
// nothing in that term.
void
primary_consider(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_meta *meta = &replica->meta;
    if (replica->role != REPLICA_BACKUP || meta->cfg_ver == 0 || meta->retired ||
        !replica_uuid_equal(meta->primary, replica->config.uuid) ||
        meta->term < replica->promised || replica->ops_short || replica->download.installing)
        return;
    const bool restarted = meta->primary_boot != 0 && meta->primary_boot != replica->config.boot;
    if (meta->term == replica->promised || restarted) {
        if (bug(BUG_RESUME_SAME_TERM) && meta->term == replica->promised) {
            replica->role = REPLICA_PRIMARY;
            replica->start_seq = replica->commit_seq;
            member_sync(step);
        } else if (replica->stale_cfg_ver != meta->cfg_ver) {
            replica->stale_cfg_ver = meta->cfg_ver;
            note_add(step, REPLICA_NOTE_NEEDS_TERM, replica->config.uuid, meta->term);
        }
        return;
    }
    if (persist_room(replica))
        primary_begin(step);
    else
        step->again = true;
}

// Of what comes next into the log: by the clock, but stamps never go back.
static uint64_t
stamp_at(const struct replica *replica, uint64_t wall_ms)
{
    return wall_ms > replica->stamp_ms ? wall_ms : replica->stamp_ms;
}

// Keeps the whole log and begins the term behind it. Nothing leaves before the promise is durable: else a crash would let it
// begin the same term twice.
static void
primary_begin(struct step *step)
{
    struct replica *replica = step->replica;
    promise(step, replica->meta.term);
    struct replica_entry *entry = &step->out->entries[0];
    *entry = (struct replica_entry){.seq = replica->last_seq + 1,
                                    .term = replica->promised,
                                    .stamp_ms = stamp_at(replica, step->in->wall_ms),
                                    .kind = REPLICA_ENTRY_TERM_START};
    replica->role = REPLICA_OPENING;
    replica->download = (struct replica_download){.active = false};
    replica->peer_count = 0;
    replica->change = (struct replica_change){.kind = REPLICA_CHANGE_NONE};
    replica->transfer_to = (struct replica_uuid){0, 0};
    replica->split = (struct replica_split){0};
    replica->check_seq = replica->vouched_cfg_ver = 0;
    replica->check_due = false;
    replica->halted = replica->rotten; // its log may be what the others need
    replica->round = 0;
    log_append(step, entry, 1);
    replica->start_seq = entry->seq;
    member_sync(step);
}

void
primary_persisted(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->role == REPLICA_OPENING && replica->durable_promised == replica->promised)
        replica->role = REPLICA_PRIMARY;
    if (replica->role == REPLICA_PRIMARY)
        primary_advance(step);
}

// What was not answered may have happened.
void
primary_end(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->role != REPLICA_PRIMARY && replica->role != REPLICA_OPENING)
        return;
    replica->role = REPLICA_BACKUP;
    replica->agreed_seq = 0;
    replica->peer_count = 0;
    replica->change = (struct replica_change){.kind = REPLICA_CHANGE_NONE};
    replica->transfer_to = (struct replica_uuid){0, 0};
    replica->split = (struct replica_split){0};
    replica->waits_lost = replica->wait_count > 0;
    replica->reads_lost = replica->read_count > 0;
    replica->check_seq = 0;
    replica->halted = false;
    note_add(step, REPLICA_NOTE_STEPPED_DOWN, replica->config.uuid, replica->promised);
}

// Whether an operation may be taken at all.
static omen_status
admit(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_input *in = step->in;
    if (replica->role == REPLICA_BACKUP)
        return OMEN_E_STALE_MAP;
    if (in->cfg_ver > replica->meta.cfg_ver) {
        note_add(step, REPLICA_NOTE_WANT_META, replica->config.uuid, in->cfg_ver);
        return OMEN_E_BUSY;
    }
    if (in->cfg_ver < replica->meta.cfg_ver)
        return OMEN_E_STALE_MAP;
    if (replica->halted)
        return OMEN_E_READ_ONLY;
    if (replica->meta.in_sync_count < replica->meta.min_insync) {
        note_add(step, REPLICA_NOTE_BELOW_MIN, replica->config.uuid, replica->meta.in_sync_count);
        return OMEN_E_BUSY;
    }
    if (!replica_is_open(replica) || !replica_uuid_is_none(replica->transfer_to) ||
        replica->waits_lost || replica->split.stopped || !persist_room(replica) ||
        replica->wait_count + in->proposal_count > REPLICA_WAITS_MAX ||
        replica->last_seq - replica->commit_seq + in->proposal_count > REPLICA_WINDOW ||
        replica->last_seq >= LAST_SEQ_MAX)
        return OMEN_E_BUSY;
    return dedupe_reserve(&replica->ops, in->proposal_count, replica->commit_seq);
}

// Where it is in the log already, this batch included; 0: it is new.
static uint64_t
place_of(const struct step *step, uint32_t fresh, struct replica_uuid id)
{
    if (replica_uuid_is_none(id) || bug(BUG_NO_DEDUPE))
        return 0;
    for (uint32_t i = 0; i < fresh; i++)
        if (replica_uuid_equal(step->out->entries[i].op_id, id))
            return step->out->entries[i].seq;
    return dedupe_find(&step->replica->ops, id);
}

// Of an operation that is not in the log.
static omen_status
check_unknown(const struct replica *replica, struct replica_uuid op_id, uint64_t wall_ms,
              const char *whose, struct omen_error *error)
{
    const struct opid_clock clock = dedupe_clock(&replica->ops, stamp_at(replica, wall_ms));
    return opid_check((struct opid){op_id.high, op_id.low}, &clock, whose, error);
}

omen_status
replica_check_op(const struct replica *replica, struct replica_uuid op_id, uint64_t wall_ms,
                 struct omen_error *error)
{
    char whose[32];
    if (replica_uuid_is_none(op_id) || dedupe_find(&replica->ops, op_id) != 0)
        return OMEN_OK;
    snprintf(whose, sizeof whose, "shard %llu", (unsigned long long)replica->config.shard);
    return check_unknown(replica, op_id, wall_ms, whose, error);
}

static void
lead_entries(struct step *step, uint32_t count)
{
    struct replica *replica = step->replica;
    const uint64_t before = replica->last_seq;
    log_append(step, step->out->entries, count);
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->match == before)
            peer->heard_ns = step->in->now_ns; // nothing was outstanding
        if (peer->state == REPLICA_STREAM && peer->next == before + 1 && !peer->reading &&
            before - peer->match < REPLICA_WINDOW)
            peer_send(step, peer, step->out->entries, count);
        else
            peer_pump(step, peer);
    }
}

static struct replica_entry
entry_after(const struct step *step, uint32_t fresh)
{
    const struct replica *replica = step->replica;
    return (struct replica_entry){.seq = replica->last_seq + fresh + 1,
                                  .term = replica->promised,
                                  .stamp_ms = stamp_at(replica, step->in->wall_ms)};
}

// What is not in the log is taken only where it cannot have been there.
static omen_status
fits(const struct step *step, const struct replica_proposal *proposal, uint64_t seq)
{
    if (proposal->byte_count > REPLICA_ENTRY_BYTES_MAX)
        return OMEN_E_INVALID;
    if (seq != 0 || replica_uuid_is_none(proposal->op_id))
        return OMEN_OK;
    return check_unknown(step->replica, proposal->op_id, step->in->wall_ms, "", NULL);
}

void
primary_propose(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_input *in = step->in;
    ASSERT(in->proposal_count > 0 && in->proposal_count <= REPLICA_ENTRIES_MAX);
    const omen_status admitted = admit(step);
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < in->proposal_count; i++) {
        const struct replica_proposal *proposal = &in->proposals[i];
        uint64_t seq = place_of(step, fresh, proposal->op_id);
        const omen_status status = admitted == OMEN_OK ? fits(step, proposal, seq) : admitted;
        if (status != OMEN_OK) {
            answer(step, &(struct replica_answer){.request = proposal->request,
                                                  .status = status,
                                                  .outcome = REPLICA_FAILED});
            continue;
        }
        if (seq == 0) {
            struct replica_entry *entry = &step->out->entries[fresh];
            *entry = entry_after(step, fresh);
            entry->kind = REPLICA_ENTRY_OP;
            entry->op_id = proposal->op_id;
            entry->bytes = proposal->bytes;
            entry->byte_count = proposal->byte_count;
            seq = entry->seq;
            fresh++;
        }
        wait_add(replica, &(struct replica_wait){proposal->request, seq, proposal->primary_only});
    }
    if (fresh > 0)
        lead_entries(step, fresh);
    primary_advance(step);
}

void
primary_check(struct step *step)
{
    struct replica *replica = step->replica;
    step->out->entries[0] = entry_after(step, 0);
    step->out->entries[0].kind = REPLICA_ENTRY_CHECKSUM;
    replica->check_seq = step->out->entries[0].seq;
    replica->check_cfg_ver = replica->meta.cfg_ver;
    replica->check_ns = step->in->now_ns;
    replica->own_root_known = false;
    lead_entries(step, 1);
}

void
primary_checksum(struct step *step)
{
    const struct replica *replica = step->replica;
    if (!replica_is_open(replica) || replica->split.stopped || !persist_room(replica) ||
        replica->last_seq >= LAST_SEQ_MAX)
        return;
    primary_check(step);
}

// Stops the intake; the change is proposed when everything is everywhere (member.c).
void
primary_transfer(struct step *step)
{
    struct replica *replica = step->replica;
    const struct replica_peer *peer = peer_find(replica, step->in->uuid);
    if (replica->role != REPLICA_PRIMARY || peer == NULL || !peer->in_sync || peer->child != 0 ||
        peer->diverged || replica->split.stopped)
        return;
    replica->transfer_to = peer->uuid;
    replica->transfer_ns = step->in->now_ns + replica->config.shrink_ns;
}

// The commit rule: durable here and on all of E, which has at least min_insync members; and only at entries of this term.
void
primary_advance(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->role != REPLICA_PRIMARY)
        return;
    uint64_t seq = replica->durable_seq;
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (primary_counts(replica, &replica->peers[i]) && replica->peers[i].match < seq &&
            !bug(BUG_ACK_BEFORE_REPLICA))
            seq = replica->peers[i].match;
    if (replica->meta.in_sync_count < replica->meta.min_insync || seq < replica->start_seq)
        return;
    const bool was_open = replica_is_open(replica);
    commit_to(step, seq);
    if (!was_open)
        note_add(step, REPLICA_NOTE_OPEN, replica->config.uuid, replica->promised);
}
