// raft/raft.c -- one node of a Raft group: its beginning, its clock, and what its owner asks of it.
//
// Shape: machine.
//
// A step: the clock moves (tick), the input changes the state (below, or receive.c), the output is made (output.c).
//
//      START                                   tick, MESSAGE, PERSISTED, CAMPAIGN
//   o --------> FOLLOWER <----> PRE_CANDIDATE <----> CANDIDATE <----> LEADER     the arrows: election.c
//     start()                                                         members: progress.c
#include "raft/raft.h"

#include <string.h>

#include "raft/raft_int.h"

static void take(struct raft *raft, const struct raft_input *in);
static void start(struct raft *raft, const struct raft_durable *durable, uint64_t now_ns);
static bool durable_valid(const struct raft_durable *durable);
static void move_clock(struct raft *raft, uint64_t now_ns);
static enum raft_answer propose(struct raft *raft, enum raft_entry_kind kind, const uint8_t *bytes,
                                uint32_t count);
static enum raft_answer propose_change(struct raft *raft, const struct raft_change *change);
static void report_unreachable(struct raft *raft, uint64_t peer);

void
raft_init(struct raft *raft, const struct raft_config *config, uint64_t seed)
{
    ASSERT(config->id != RAFT_NODE_NONE);
    ASSERT(config->tick_ns > 0);
    ASSERT(config->heartbeat_ticks > 0 && config->heartbeat_ticks < config->election_ticks);
    ASSERT(config->election_ticks <= RAFT_TICKS_MAX);
    ASSERT(config->inflight_max > 0 && config->inflight_max <= RAFT_INFLIGHTS_MAX);
    ASSERT(config->inflight_bytes_max > 0);
    ASSERT(config->chunk_bytes > 0 && config->chunk_bytes <= RAFT_CHUNK_BYTES_MAX);
    ASSERT(config->tail_entries_max >= 16 && config->tail_bytes_max >= RAFT_ENTRY_BYTES_MAX);
    ASSERT(config->tail_retain <= config->tail_entries_max / 2);
    ASSERT(config->reads == RAFT_READS_SAFE || config->check_quorum);
    memset(raft, 0, sizeof *raft);
    raft->config = *config;
    prng_init(&raft->prng, seed);
    tail_init(&raft->tail, config->tail_entries_max, config->tail_bytes_max);
}

void
raft_fini(struct raft *raft)
{
    tail_fini(&raft->tail);
}

void
raft_step(struct raft *raft, const struct raft_input *in, struct raft_output *out)
{
    ASSERT(raft->out == NULL);
    memset(out, 0, sizeof *out);
    raft->out = out;
    raft->more = false;
    raft->chunk = NULL;
    if (in->kind == RAFT_IN_START)
        start(raft, in->durable, in->now_ns);
    if (raft->started) {
        move_clock(raft, in->now_ns);
        take(raft, in);
        output_finish(raft, in);
    }
    raft->out = NULL;
}

void
raft_note(struct raft *raft, enum raft_note_kind kind, uint64_t a, uint64_t b)
{
    struct raft_output *out = raft->out;
    if (out->note_count < RAFT_NOTES_MAX)
        out->notes[out->note_count++] = (struct raft_note){kind, a, b};
}

static void
take(struct raft *raft, const struct raft_input *in)
{
    struct raft_output *out = raft->out;
    switch (in->kind) {
    case RAFT_IN_MESSAGE:
        receive(raft, in->message);
        break;
    case RAFT_IN_PERSISTED:
        output_persisted(raft, in->persist_number);
        break;
    case RAFT_IN_PROPOSE:
        out->answer = propose(raft, RAFT_ENTRY_NORMAL, in->proposal.bytes, in->proposal.count);
        break;
    case RAFT_IN_READ_INDEX:
        read_request(raft, in->read_id);
        break;
    case RAFT_IN_CONF_CHANGE:
        out->answer = propose_change(raft, in->change);
        break;
    case RAFT_IN_TRANSFER:
        out->answer = election_transfer(raft, in->peer);
        break;
    case RAFT_IN_COMPACT:
        snapshot_compact(raft, in->position, COMPACT_POLITELY);
        break;
    case RAFT_IN_REPORT:
        if (in->report.kind == RAFT_REPORT_UNREACHABLE)
            report_unreachable(raft, in->report.peer);
        else
            snapshot_failed(raft, in->report.peer);
        break;
    case RAFT_IN_SNAPSHOT:
        snapshot_made(raft, in->snapshot.position, in->snapshot.total_bytes);
        break;
    case RAFT_IN_CAMPAIGN:
        election_campaign(raft, raft->config.pre_vote ? CAMPAIGN_PRE : CAMPAIGN_REAL);
        break;
    case RAFT_IN_FORGET_LEADER: // with leases reads rely on our remembering
        if (raft->state == RAFT_FOLLOWER && raft->config.reads == RAFT_READS_SAFE)
            raft->lead = RAFT_NODE_NONE;
        break;
    case RAFT_IN_LEADER_GONE:
        election_leader_gone(raft, in->peer);
        break;
    case RAFT_IN_START:
    case RAFT_IN_WAKE:
    case RAFT_INPUT_KINDS:
        break;
    }
}

static void
start(struct raft *raft, const struct raft_durable *durable, uint64_t now_ns)
{
    ASSERT(!raft->started);
    raft->out->answer = RAFT_ANSWER_INVALID; // the disk's bytes, not ours to assert on
    if (!durable_valid(durable))
        return;
    raft->out->answer = RAFT_ANSWER_NO_MEMORY;
    tail_reset(&raft->tail, durable->base_position, durable->base_term);
    for (uint32_t i = 0; i < durable->entry_count; i++) {
        if (tail_append(&raft->tail, &durable->entries[i]))
            continue;
        tail_reset(&raft->tail, 0, 0);
        return;
    }
    raft->hard_state = durable->hard_state;
    raft->term = durable->hard_state.term;
    raft->vote = durable->hard_state.vote;
    // What was applied was committed, though the commit itself need not be durable.
    raft->applied = raft->applied_told = durable->applied;
    raft->commit = durable->hard_state.commit;
    if (raft->commit < raft->applied)
        raft->commit = raft->applied;
    raft->handed = raft->stable = tail_last(&raft->tail);
    raft->group = durable->group;
    raft->tick_at_ns = now_ns;
    if (raft->term > 0) // before its first term it answered nobody
        raft->bound_tick = raft->config.election_ticks;
    raft->started = true;
    raft->out->answer = RAFT_ANSWER_OK;
    election_become_follower(raft, raft->term, RAFT_NODE_NONE);
    const uint32_t self = raft_self(raft);
    bool alone = self < RAFT_MEMBERS_MAX && (raft->group.members[self].roles & RAFT_VOTER) != 0;
    for (uint32_t i = 0; i < raft->group.count; i++)
        alone = alone && (i == self || !member_votes(raft->group.members[i].roles));
    if (alone) // nobody else can lead, so there is nobody to wait for
        raft->election_elapsed = raft->random_ticks - 1;
}

static bool
durable_valid(const struct raft_durable *durable)
{
    const struct raft_hard_state *hard = &durable->hard_state;
    const uint64_t last = durable->base_position + durable->entry_count;
    if (durable->base_position >= RAFT_NUMBER_MAX || durable->base_term >= RAFT_NUMBER_MAX ||
        hard->term >= RAFT_NUMBER_MAX || !member_valid(&durable->group) ||
        durable->applied < durable->base_position || durable->applied > last || hard->commit > last)
        return false;
    uint64_t term = durable->base_term;
    for (uint32_t i = 0; i < durable->entry_count; i++) {
        const struct raft_entry *entry = &durable->entries[i];
        if (entry->position != durable->base_position + 1 + i || entry->term < term ||
            entry->term > hard->term || entry->byte_count > RAFT_ENTRY_BYTES_MAX ||
            (entry->kind != RAFT_ENTRY_NORMAL && entry->kind != RAFT_ENTRY_CHANGE))
            return false;
        term = entry->term;
    }
    return true;
}

// At most an election timeout of ticks a step: who was stopped for longer than that shall hear what is in its mailbox before
// it campaigns a second time.
static void
move_clock(struct raft *raft, uint64_t now_ns)
{
    if (now_ns < raft->tick_at_ns)
        return;
    const uint64_t elapsed = (now_ns - raft->tick_at_ns) / raft->config.tick_ns;
    raft->tick_at_ns += elapsed * raft->config.tick_ns;
    const uint64_t most = raft->config.election_ticks;
    if (elapsed > most)
        raft->tick_count += elapsed - most;
    for (uint64_t i = 0; i < elapsed && i < most; i++)
        election_tick(raft);
}

static enum raft_answer
propose(struct raft *raft, enum raft_entry_kind kind, const uint8_t *bytes, uint32_t count)
{
    if (raft->state != RAFT_LEADER || raft_self(raft) == RAFT_MEMBERS_MAX)
        return RAFT_ANSWER_NOT_LEADER;
    if (count > RAFT_ENTRY_BYTES_MAX)
        return RAFT_ANSWER_INVALID;
    if (raft->transferee != RAFT_NODE_NONE)
        return RAFT_ANSWER_BUSY;
    if (raft->uncommitted_bytes > 0 && count > 0 &&
        raft->uncommitted_bytes + count > raft->config.uncommitted_bytes_max)
        return RAFT_ANSWER_BUSY;
    // The last eighth of the tail is for the entries that get it empty: those of new leaders.
    if (!replicate_make_room(raft, 1 + raft->config.tail_entries_max / 8, count))
        return RAFT_ANSWER_BUSY;
    if (!replicate_own(raft, kind, (struct raft_entry){.bytes = bytes, .byte_count = count}))
        return RAFT_ANSWER_NO_MEMORY;
    raft->uncommitted_bytes += count;
    raft->out->answer_position = tail_last(&raft->tail);
    return RAFT_ANSWER_OK;
}

static enum raft_answer
propose_change(struct raft *raft, const struct raft_change *change)
{
    if (raft->state != RAFT_LEADER)
        return RAFT_ANSWER_NOT_LEADER;
    if (change->count > RAFT_CHANGES_MAX || change->transition > RAFT_TRANSITION_EXPLICIT)
        return RAFT_ANSWER_INVALID;
    for (uint32_t i = 0; i < change->count; i++)
        if (change->items[i].kind > RAFT_UPDATE)
            return RAFT_ANSWER_INVALID;
    if (!raft->config.changes_unchecked) {
        // One at a time; and none before the entry that began our term is applied (Ongaro 2015).
        if (raft->pending_change > raft->applied)
            return RAFT_ANSWER_BUSY;
        struct raft_group next;
        if (member_change(&raft->group, change, &next) != MEMBER_OK)
            return RAFT_ANSWER_INVALID;
    }
    uint8_t bytes[RAFT_CHANGE_BYTES_MAX];
    const enum raft_answer answer =
        propose(raft, RAFT_ENTRY_CHANGE, bytes, member_encode(change, bytes));
    if (answer == RAFT_ANSWER_OK)
        raft->pending_change = tail_last(&raft->tail);
    return answer;
}

static void
report_unreachable(struct raft *raft, uint64_t peer)
{
    const uint32_t member = member_find(&raft->group, peer);
    if (raft->state == RAFT_LEADER && member < RAFT_MEMBERS_MAX && peer != raft->config.id &&
        raft->progress[member].state == RAFT_REPLICATE)
        progress_probe(&raft->progress[member]);
}
