// raft/output.c -- the end of a step: what to apply, to make durable, to send, and when to go on.
//
// Shape: machine.
//
// Steps only change the state and mark what is wanted; here it becomes an output, as much as fits. What does not fit waits for
// the WAKE that the output then asks for at once.
#include "base/bug.h"
#include "raft/raft_int.h"

static void apply(struct raft *raft);
static void apply_change(struct raft *raft, const struct raft_entry *entry);
static void leave_joint(struct raft *raft);
static void persist(struct raft *raft);
static bool depends_on_log(enum raft_msg_kind kind);
static void send_held(struct raft *raft);
static void send_all(struct raft *raft);
static bool begin_snapshots(struct raft *raft);
static void send_to(struct raft *raft, uint32_t member);
static bool send_append(struct raft *raft, uint32_t member, bool empty_too);
static bool emit(struct raft *raft, uint32_t member, struct raft_msg msg);
static uint64_t next_wake(const struct raft *raft);

void
output_hold(struct raft *raft, struct raft_msg msg)
{
    if (raft->outbox_count == RAFT_OUTBOX_MAX) {
        raft_note(raft, RAFT_NOTE_OUTBOX_FULL, (uint64_t)msg.kind, msg.to);
        return;
    }
    msg.from = raft->config.id;
    raft->outbox[raft->outbox_count++] = (struct raft_held){.msg = msg, .number = UINT64_MAX};
}

void
output_persisted(struct raft *raft, uint64_t number)
{
    ASSERT(number <= raft->persist_last);
    if (number <= raft->persisted)
        return;
    raft->persisted = number;
    raft->disk_ticks = 0;
    while (raft->persist_count > 0) {
        const struct raft_persist *first = &raft->persists[raft->persist_first];
        if (first->number > number)
            break;
        if (first->position > raft->stable)
            raft->stable = first->position;
        raft->persist_first = (raft->persist_first + 1) % RAFT_PERSISTS_MAX;
        raft->persist_count--;
    }
    replicate_own_durable(raft);
    for (uint32_t i = 0; i < raft->outbox_count; i++) {
        const struct raft_held held = raft->outbox[i];
        if (held.msg.to != raft->config.id || held.number > number)
            continue;
        raft->outbox_count--;
        for (uint32_t j = i; j < raft->outbox_count; j++)
            raft->outbox[j] = raft->outbox[j + 1];
        i--;
        election_own_vote_durable(raft, held.msg.term);
    }
}

void
output_finish(struct raft *raft, const struct raft_input *in)
{
    struct raft_output *out = raft->out;
    const uint64_t applied = raft->applied;
    // What is sent borrows entries, so from here on none may move. (Without memory for one more there is none to move for.)
    (void)!tail_reserve(&raft->tail, 1);
    send_all(raft); // before members are removed, so that they learn of it
    if (in->kind == RAFT_IN_WAKE || in->kind == RAFT_IN_START)
        apply(raft);
    leave_joint(raft);
    persist(raft);
    send_held(raft);
    send_all(raft);
    if (begin_snapshots(raft))
        send_all(raft);
    if (raft->applied > applied)
        out->commit = tail_span(&raft->tail, applied + 1, raft->applied, UINT64_MAX);
    if (raft->handed > 0 && out->append.count > 0)
        out->append.entries = tail_at(&raft->tail, raft->handed - out->append.count + 1);
    if (raft->making.position != 0 && !raft->making_told) {
        out->snapshot_wanted = raft->making.position;
        raft->making_told = true;
    }
    if (raft->group_changed)
        out->group = &raft->group;
    raft->group_changed = false;
    out->applied = raft->applied_told = raft->applied;
    out->state = raft->state;
    out->term = raft->term;
    out->lead = raft->lead;
    if (raft->applied < raft->commit && raft->applied < raft->stable)
        raft->more = true;
    out->wake_ns = raft->more ? in->now_ns : next_wake(raft);
}

// Only what is durable here, and only when nothing else is to be done first, see raft.h.
static void
apply(struct raft *raft)
{
    const uint64_t through = raft->commit < raft->stable ? raft->commit : raft->stable;
    if (raft->applied >= through)
        return;
    const uint32_t count =
        tail_span(&raft->tail, raft->applied + 1, through, raft->config.apply_bytes_max).count;
    for (uint32_t i = 0; i < count; i++) {
        const struct raft_entry *entry = tail_at(&raft->tail, raft->applied + 1);
        raft->applied = entry->position;
        raft->uncommitted_bytes -= raft->uncommitted_bytes < entry->byte_count
                                       ? raft->uncommitted_bytes
                                       : entry->byte_count;
        if (entry->kind == RAFT_ENTRY_CHANGE)
            apply_change(raft, entry);
    }
    raft->leave_due = true;
}

// Total: bytes that are no change, and a change that comes to nothing, change nothing on every node alike.
static void
apply_change(struct raft *raft, const struct raft_entry *entry)
{
    struct raft_change change;
    struct raft_group next;
    if (member_decode(entry->bytes, entry->byte_count, &change) != OMEN_OK) {
        raft_note(raft, RAFT_NOTE_CHANGE_FAILED, entry->position, MEMBER_STATUSES);
        return;
    }
    const enum member_status status = member_change(&raft->group, &change, &next);
    if (status != MEMBER_OK) {
        raft_note(raft, RAFT_NOTE_CHANGE_FAILED, entry->position, status);
        return;
    }
    progress_regroup(raft, &next);
    replicate_group_changed(raft);
}

static void
leave_joint(struct raft *raft)
{
    if (raft->state != RAFT_LEADER || !raft->leave_due || !raft->group.auto_leave ||
        raft->applied < raft->pending_change || raft->transferee != RAFT_NODE_NONE ||
        raft_self(raft) == RAFT_MEMBERS_MAX || !tail_fits(&raft->tail, 1, 0) ||
        !tail_has_slot(&raft->tail))
        return;
    if (replicate_own(raft, RAFT_ENTRY_CHANGE, (struct raft_entry){0})) {
        raft->pending_change = tail_last(&raft->tail);
        raft->leave_due = false;
    }
}

static void
persist(struct raft *raft)
{
    struct raft_output *out = raft->out;
    const struct raft_hard_state now = {raft->term, raft->vote, raft->commit};
    const uint64_t last = tail_last(&raft->tail);
    const bool ballot = now.term != raft->hard_state.term || now.vote != raft->hard_state.vote;
    out->hard_state_changed = ballot || now.commit != raft->hard_state.commit;
    out->hard_state = raft->hard_state = now;
    if (bug(BUG_VOTE_NOT_PERSISTED))
        out->hard_state.vote = RAFT_NODE_NONE;
    out->chunk = raft->chunk;
    out->install = raft->installing;
    out->truncate_from = raft->truncate_from;
    out->compact_through = raft->compact_through;
    out->append = tail_span(&raft->tail, raft->handed + 1, last, UINT64_MAX);
    raft->handed += out->append.count;
    ASSERT(raft->handed == last); // a step appends no more than RAFT_ENTRIES_MAX
    out->sync = ballot || out->install || out->truncate_from != 0 || out->append.count > 0;
    if (out->sync) {
        raft->persist_last++;
        if (raft->persist_count == RAFT_PERSISTS_MAX)
            raft->persist_count--; // the newest two become one, durable with the later
        const uint32_t at = (raft->persist_first + raft->persist_count++) % RAFT_PERSISTS_MAX;
        raft->persists[at] = (struct raft_persist){raft->persist_last, raft->handed};
        if (out->install)
            raft->install_number = raft->persist_last;
        if (ballot)
            raft->ballot_number = raft->persist_last;
    }
    out->persist_number = raft->persist_last;
    for (uint32_t i = 0; i < raft->outbox_count; i++)
        if (raft->outbox[i].number == UINT64_MAX)
            raft->outbox[i].number =
                depends_on_log(raft->outbox[i].msg.kind) ? raft->persist_last : raft->ballot_number;
    raft->installing = false;
    raft->truncate_from = raft->compact_through = 0;
}

// Whether it speaks for what is in the log, or for a vote; the others speak for a term only.
static bool
depends_on_log(enum raft_msg_kind kind)
{
    return kind == RAFT_APPEND_RESP || kind == RAFT_VOTE || kind == RAFT_VOTE_RESP;
}

static void
send_held(struct raft *raft)
{
    struct raft_output *out = raft->out;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < raft->outbox_count; i++) {
        const struct raft_held *held = &raft->outbox[i];
        const bool may = held->number <= raft->persisted;
        ASSERT(!may || held->msg.to != raft->config.id); // output_persisted took it
        if (may && out->msg_count < RAFT_MSGS_MAX) {
            out->msgs[out->msg_count++] = held->msg;
            continue;
        }
        raft->more |= may;
        if (kept != i)
            raft->outbox[kept] = *held;
        kept++;
    }
    raft->outbox_count = kept;
}

static void
send_all(struct raft *raft)
{
    for (uint32_t i = 0; raft->state == RAFT_LEADER && i < raft->group.count; i++)
        if (raft->group.members[i].id != raft->config.id)
            send_to(raft, i);
}

// After this output's entries are applied: what is made is the state of then.
static bool
begin_snapshots(struct raft *raft)
{
    bool any = false;
    for (uint32_t i = 0; raft->state == RAFT_LEADER && i < raft->group.count; i++) {
        if ((raft->progress[i].wants & WANT_SNAPSHOT) == 0)
            continue;
        raft->progress[i].wants &= (uint8_t)~WANT_SNAPSHOT;
        any |= snapshot_begin(raft, i);
    }
    return any;
}

static void
send_to(struct raft *raft, uint32_t member)
{
    struct raft_progress *progress = &raft->progress[member];
    if ((progress->wants & WANT_HEARTBEAT) != 0) {
        const struct raft_msg heartbeat = {
            .kind = RAFT_HEARTBEAT,
            .commit = progress->match < raft->commit ? progress->match : raft->commit,
            .context = read_context(raft),
        };
        if (!emit(raft, member, heartbeat))
            return;
        progress->wants &= (uint8_t)~WANT_HEARTBEAT;
    }
    while ((progress->wants & (WANT_APPEND | WANT_MORE)) != 0) {
        if (raft->out->msg_count == RAFT_MSGS_MAX) {
            raft->more = true;
            return;
        }
        const bool sent = send_append(raft, member, (progress->wants & WANT_APPEND) != 0);
        if ((progress->wants & WANT_APPEND) != 0)
            progress->wants &= (uint8_t)~WANT_APPEND;
        else if (!sent)
            progress->wants &= (uint8_t)~WANT_MORE;
    }
    struct raft_msg chunk;
    if (progress->state == RAFT_STREAM) {
        if (raft->out->msg_count == RAFT_MSGS_MAX)
            raft->more = true;
        else if (snapshot_chunk(raft, member, &chunk))
            emit(raft, member, chunk);
    }
    if ((progress->wants & WANT_TIMEOUT_NOW) != 0 &&
        emit(raft, member, (struct raft_msg){.kind = RAFT_TIMEOUT_NOW}))
        progress->wants &= (uint8_t)~WANT_TIMEOUT_NOW;
}

static bool
send_append(struct raft *raft, uint32_t member, bool empty_too)
{
    struct raft_progress *progress = &raft->progress[member];
    if (progress_paused(progress))
        return false;
    struct raft_msg msg = {
        .kind = RAFT_APPEND,
        .position = progress->next - 1,
        .commit = raft->commit,
    };
    if (!tail_term(&raft->tail, msg.position, &msg.log_term)) {
        progress->wants |= WANT_SNAPSHOT;
        return false;
    }
    if (progress->state != RAFT_REPLICATE || !progress_full(progress, &raft->config)) {
        const struct raft_span span = tail_span(&raft->tail, progress->next, tail_last(&raft->tail),
                                                raft->config.append_bytes_max);
        msg.entries = span.entries;
        msg.entry_count = span.count;
    }
    if (msg.entry_count == 0 && !empty_too)
        return false;
    progress_sent(progress, &raft->config, &msg);
    return emit(raft, member, msg);
}

static bool
emit(struct raft *raft, uint32_t member, struct raft_msg msg)
{
    struct raft_output *out = raft->out;
    if (out->msg_count == RAFT_MSGS_MAX) {
        raft->more = true;
        return false;
    }
    msg.from = raft->config.id;
    msg.to = raft->group.members[member].id;
    msg.term = raft->term;
    out->msgs[out->msg_count++] = msg;
    return true;
}

static uint64_t
next_wake(const struct raft *raft)
{
    const struct raft_config *config = &raft->config;
    uint32_t ticks = config->election_ticks;
    if (raft->state == RAFT_LEADER) {
        ticks = config->heartbeat_ticks - raft->heartbeat_elapsed;
        if (config->election_ticks - raft->election_elapsed < ticks)
            ticks = config->election_ticks - raft->election_elapsed;
    } else if (election_promotable(raft) && raft->random_ticks > raft->election_elapsed) {
        ticks = raft->random_ticks - raft->election_elapsed;
    } else if (election_promotable(raft)) {
        ticks = 1;
    }
    ASSERT(ticks > 0);
    return raft->tick_at_ns + ticks * config->tick_ns;
}
