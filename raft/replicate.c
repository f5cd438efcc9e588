// raft/replicate.c -- the log from the leader to the others, and what is committed (the paper's 5.3, 5.4).
//
// Shape: machine.
//
// A leader counts its own entries only when they are durable (replicate_own_durable). What a follower has is what it says is
// durable there. An entry is committed when a majority has it and it is of the leader's term (5.4.2).
#include "base/bug.h"
#include "raft/raft_int.h"

static uint64_t agree_below(const struct raft *raft, uint64_t position, uint64_t term);
static uint32_t stored_of(const struct raft *raft, const struct raft_msg *msg);
static bool store(struct raft *raft, const struct raft_msg *msg);
static void reject_append(struct raft *raft, const struct raft_msg *msg);
static void commit_to(struct raft *raft, uint64_t position);
static void replicate_truncated(struct raft *raft, uint64_t from);

bool
replicate_own(struct raft *raft, enum raft_entry_kind kind, struct raft_entry entry)
{
    ASSERT(raft->state == RAFT_LEADER);
    entry.kind = kind;
    entry.term = raft->term;
    entry.position = tail_last(&raft->tail) + 1;
    if (entry.position >= RAFT_NUMBER_MAX || !replicate_make_room(raft, 1, entry.byte_count) ||
        !tail_append(&raft->tail, &entry)) {
        raft_note(raft, RAFT_NOTE_NO_MEMORY, entry.position, 0);
        return false;
    }
    replicate_want_all(raft, WANT_APPEND);
    return true;
}

// Forgets applied entries where the tail would grow over its bounds.
bool
replicate_make_room(struct raft *raft, uint32_t entries, uint64_t bytes)
{
    if (tail_fits(&raft->tail, entries, bytes))
        return true;
    snapshot_compact(raft, raft->applied, COMPACT_POLITELY);
    if (tail_fits(&raft->tail, entries, bytes))
        return true;
    snapshot_compact(raft, raft->applied, COMPACT_NOW); // one that is slow must not stop them all
    if (tail_fits(&raft->tail, entries, bytes))
        return true;
    raft_note(raft, RAFT_NOTE_TAIL_FULL, tail_last(&raft->tail), 0);
    return false;
}

void
replicate_want_all(struct raft *raft, uint8_t wants)
{
    const uint32_t self = raft_self(raft);
    for (uint32_t i = 0; i < raft->group.count; i++)
        if (i != self)
            raft->progress[i].wants |= wants;
}

// Whether it advanced.
static bool
replicate_commit(struct raft *raft)
{
    uint64_t reached[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < raft->group.count; i++)
        reached[i] = raft->progress[i].match;
    const uint64_t position = quorum_position(&raft->group, reached);
    if (position <= raft->commit ||
        (tail_at(&raft->tail, position)->term != raft->term && !bug(BUG_COMMIT_OLD_TERM)))
        return false;
    raft->commit = position;
    read_term_committed(raft);
    return true;
}

void
replicate_own_durable(struct raft *raft)
{
    const uint32_t self = raft_self(raft);
    if (raft->state != RAFT_LEADER || self == RAFT_MEMBERS_MAX)
        return; // a leader that was removed does not count
    (void)progress_advance(&raft->progress[self], raft->stable);
    if (replicate_commit(raft))
        replicate_want_all(raft, WANT_APPEND);
}

// The configuration was just applied.
void
replicate_group_changed(struct raft *raft)
{
    if (raft->state != RAFT_LEADER)
        return;
    const uint32_t self = raft_self(raft);
    if (self == RAFT_MEMBERS_MAX || !member_votes(raft->group.members[self].roles)) {
        if (raft->config.step_down_on_removal)
            election_become_follower(raft, raft->term, RAFT_NODE_NONE);
        return;
    }
    if (replicate_commit(raft))
        replicate_want_all(raft, WANT_APPEND);
    else
        replicate_want_all(raft, WANT_MORE); // new members
    read_confirmed(raft);
    if (raft->transferee != RAFT_NODE_NONE) {
        const uint32_t to = member_find(&raft->group, raft->transferee);
        if (to == RAFT_MEMBERS_MAX || !member_votes(raft->group.members[to].roles)) {
            raft_note(raft, RAFT_NOTE_TRANSFER_ABORTED, raft->transferee, 0);
            raft->transferee = RAFT_NODE_NONE;
        }
    }
}

void
replicate_receive_append_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from)
{
    struct raft_progress *progress = &raft->progress[from];
    progress->recent_active = true;
    progress->heard_tick = raft->tick_count;
    if (msg->reject) {
        uint64_t hint = msg->hint;
        if (msg->log_term > 0)
            hint = agree_below(raft, hint, msg->log_term);
        if (progress_retreat(progress, msg->position, hint)) {
            if (progress->state == RAFT_REPLICATE)
                progress_probe(progress);
            progress->wants |= WANT_APPEND;
        }
        return;
    }
    if (!progress_advance(progress, msg->position) &&
        !(progress->match == msg->position && progress->state != RAFT_REPLICATE))
        return;
    if (progress->state == RAFT_PROBE ||
        (progress->state == RAFT_STREAM && progress->match + 1 >= tail_first(&raft->tail))) {
        progress_replicate(progress);
    } else if (progress->state == RAFT_REPLICATE) {
        progress_freed(progress, msg->position);
    } else if (progress->match >= progress->snapshot_position) {
        progress_probe(progress); // it has the snapshot, but not what was compacted meanwhile
        progress->wants |= WANT_APPEND;
    }

    if (replicate_commit(raft))
        replicate_want_all(raft, WANT_APPEND);
    else if (raft->commit > progress->sent_commit && progress->sent_commit < progress->next - 1)
        progress->wants |= WANT_APPEND;
    progress->wants |= WANT_MORE;
    if (msg->from == raft->transferee && progress->match == tail_last(&raft->tail))
        progress->wants |= WANT_TIMEOUT_NOW;
}

void
replicate_receive_heartbeat_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from)
{
    struct raft_progress *progress = &raft->progress[from];
    progress->recent_active = true;
    progress->heard_tick = raft->tick_count;
    progress->paused =
        false; // so that a follower whose answers were lost gets at least empty APPENDs
    if (progress->match < tail_last(&raft->tail) || progress->state == RAFT_PROBE)
        progress->wants |= WANT_APPEND;
    if (msg->context > progress->round && msg->context <= raft->read_round) {
        progress->round = msg->context;
        read_confirmed(raft);
    }
}

void
replicate_receive_append(struct raft *raft, const struct raft_msg *msg)
{
    struct raft_msg answer = {
        .kind = RAFT_APPEND_RESP,
        .to = msg->from,
        .term = raft->term,
        .position = raft->commit,
    };
    uint64_t term;
    if (msg->position >= raft->commit) {
        if (!tail_term(&raft->tail, msg->position, &term) || term != msg->log_term) {
            reject_append(raft, msg);
            return;
        }
        // A beginning of the entries may be there even where memory ran out. Its commit counts also then: who has a change of
        // the configuration must know that the one before it is committed, see docs/internals/raft.md.
        const bool whole = store(raft, msg);
        answer.position = msg->position + (whole ? msg->entry_count : stored_of(raft, msg));
        commit_to(raft, msg->commit < answer.position ? msg->commit : answer.position);
        if (!whole)
            return; // as if it were lost
    }
    output_hold(raft, answer);
}

// How many of the message's entries are in the log.
static uint32_t
stored_of(const struct raft *raft, const struct raft_msg *msg)
{
    uint64_t term;
    uint32_t count = 0;
    while (count < msg->entry_count &&
           tail_term(&raft->tail, msg->entries[count].position, &term) &&
           term == msg->entries[count].term)
        count++;
    return count;
}

// Entries that are there already are left alone: an older APPEND that comes late must not shorten the log.
static bool
store(struct raft *raft, const struct raft_msg *msg)
{
    const uint32_t known = stored_of(raft, msg);
    uint64_t bytes = 0;
    if (known == msg->entry_count)
        return true;
    const uint64_t from = msg->entries[known].position;
    ASSERT(from > raft->commit); // msg->position is not below it
    uint32_t more = msg->entry_count - known;
    for (uint32_t i = known; i < msg->entry_count; i++)
        bytes += msg->entries[i].byte_count;
    for (uint64_t cut = from; cut <= tail_last(&raft->tail); cut++) { // makes room for as much
        const uint32_t count = tail_at(&raft->tail, cut)->byte_count;
        bytes -= bytes < count ? bytes : count;
        more -= more > 0;
    }
    // Nothing is cut off before it is sure that the array has room. Where the memory of an entry is refused after that, what
    // is left is a shorter beginning of the leader's log.
    if (!replicate_make_room(raft, more, bytes) || !tail_reserve(&raft->tail, more)) {
        raft_note(raft, RAFT_NOTE_NO_MEMORY, from, 0);
        return false;
    }
    if (from <= tail_last(&raft->tail)) {
        tail_truncate(&raft->tail, from);
        replicate_truncated(raft, from);
    }
    for (uint32_t i = known; i < msg->entry_count; i++) {
        if (!tail_append(&raft->tail, &msg->entries[i])) {
            raft_note(raft, RAFT_NOTE_NO_MEMORY, msg->entries[i].position, 0);
            return false;
        }
    }
    return true;
}

// After tail_truncate.
static void
replicate_truncated(struct raft *raft, uint64_t from)
{
    ASSERT(from > raft->commit && from <= raft->handed);
    ASSERT(raft->truncate_from == 0);
    raft->handed = from - 1;
    raft->truncate_from = from;
    if (raft->stable >= from)
        raft->stable = from - 1;
    for (uint32_t i = 0; i < raft->persist_count; i++) {
        struct raft_persist *persist =
            &raft->persists[(raft->persist_first + i) % RAFT_PERSISTS_MAX];
        if (persist->position >= from)
            persist->position = from - 1;
    }
}

// Where the logs may agree: not above, nor at an entry of a later term than the leader's at this position. So one rejection
// skips a whole term.
static void
reject_append(struct raft *raft, const struct raft_msg *msg)
{
    const uint64_t last = tail_last(&raft->tail);
    struct raft_msg answer = {
        .kind = RAFT_APPEND_RESP,
        .to = msg->from,
        .term = raft->term,
        .position = msg->position,
        .reject = true,
        .hint = agree_below(raft, msg->position < last ? msg->position : last, msg->log_term),
    };
    if (!tail_term(&raft->tail, answer.hint, &answer.log_term))
        answer.log_term = 0;
    output_hold(raft, answer);
}

// The largest position at or below this one whose entry's term is at most `term`, as far as is known here.
static uint64_t
agree_below(const struct raft *raft, uint64_t position, uint64_t term)
{
    uint64_t own;
    if (position > tail_last(&raft->tail))
        return position;
    while (tail_term(&raft->tail, position, &own) && own > term)
        position--;
    return position;
}

void
replicate_receive_heartbeat(struct raft *raft, const struct raft_msg *msg)
{
    if (msg->commit > tail_last(&raft->tail)) // the leader says only what we acknowledged
        raft_note(raft, RAFT_NOTE_LOG_LOST, msg->commit, msg->from);
    else
        commit_to(raft, msg->commit);
    output_hold(raft, (struct raft_msg){
                          .kind = RAFT_HEARTBEAT_RESP,
                          .to = msg->from,
                          .term = raft->term,
                          .context = msg->context,
                      });
}

static void
commit_to(struct raft *raft, uint64_t position)
{
    ASSERT(position <= tail_last(&raft->tail));
    if (position > raft->commit)
        raft->commit = position;
}
