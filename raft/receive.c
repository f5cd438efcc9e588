// raft/receive.c -- what arrives: whether it can be, what its term means, and who takes it.
//
// Shape: machine.
//
// Nothing here asserts on a field of a message. What is out of its limits is dropped and noted; what is of an older term is
// dropped, except that its sender is told where that helps it.
#include "base/hash.h"
#include "raft/raft_int.h"

static bool is_possible(const struct raft *raft, const struct raft_msg *msg);
static bool entries_possible(const struct raft_msg *msg);
static bool snapshot_possible(const struct raft_msg *msg);
static bool settle_term(struct raft *raft, const struct raft_msg *msg);
static void answer_stale(struct raft *raft, const struct raft_msg *msg);
static void receive_from_leader(struct raft *raft, const struct raft_msg *msg);
static void receive_as_leader(struct raft *raft, const struct raft_msg *msg);

void
receive(struct raft *raft, const struct raft_msg *msg)
{
    if (!is_possible(raft, msg)) {
        raft_note(raft, RAFT_NOTE_MESSAGE_REFUSED, (uint64_t)msg->kind, msg->from);
        return;
    }
    if (!settle_term(raft, msg))
        return;
    switch (msg->kind) {
    case RAFT_VOTE:
    case RAFT_PRE_VOTE:
        election_receive_request(raft, msg);
        break;
    case RAFT_VOTE_RESP:
    case RAFT_PRE_VOTE_RESP:
        election_receive_answer(raft, msg);
        break;
    case RAFT_APPEND:
    case RAFT_HEARTBEAT:
    case RAFT_SNAPSHOT:
        receive_from_leader(raft, msg);
        break;
    case RAFT_TIMEOUT_NOW:
        if (raft->state == RAFT_FOLLOWER)
            election_campaign(raft, CAMPAIGN_TRANSFER);
        break;
    default:
        receive_as_leader(raft, msg);
        break;
    }
}

static bool
is_possible(const struct raft *raft, const struct raft_msg *msg)
{
    if ((int)msg->kind < RAFT_APPEND || msg->kind >= RAFT_MSG_KINDS ||
        msg->from == RAFT_NODE_NONE || msg->from == raft->config.id || msg->to != raft->config.id)
        return false;
    if (msg->term == 0 || msg->term >= RAFT_NUMBER_MAX || msg->position >= RAFT_NUMBER_MAX ||
        msg->commit >= RAFT_NUMBER_MAX || msg->hint >= RAFT_NUMBER_MAX ||
        msg->log_term >= RAFT_NUMBER_MAX)
        return false;
    switch (msg->kind) {
    case RAFT_APPEND:
        return msg->log_term <= msg->term && entries_possible(msg);
    case RAFT_SNAPSHOT:
        return msg->log_term <= msg->term && snapshot_possible(msg);
    default:
        return true;
    }
}

static bool
entries_possible(const struct raft_msg *msg)
{
    if (msg->entry_count > RAFT_ENTRIES_MAX || (msg->entry_count > 0 && msg->entries == NULL) ||
        msg->position + msg->entry_count >= RAFT_NUMBER_MAX)
        return false;
    uint64_t term = msg->log_term;
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct raft_entry *entry = &msg->entries[i];
        if (entry->position != msg->position + 1 + i || entry->term < term ||
            entry->term > msg->term || entry->term == 0 ||
            entry->byte_count > RAFT_ENTRY_BYTES_MAX ||
            (entry->byte_count > 0 && entry->bytes == NULL) ||
            (entry->kind != RAFT_ENTRY_NORMAL && entry->kind != RAFT_ENTRY_CHANGE))
            return false;
        term = entry->term;
    }
    return true;
}

static bool
snapshot_possible(const struct raft_msg *msg)
{
    if (msg->position == 0 || msg->log_term == 0 || msg->group == NULL ||
        !member_valid(msg->group) || msg->chunk_bytes > RAFT_CHUNK_BYTES_MAX ||
        msg->total_bytes >= RAFT_NUMBER_MAX || msg->offset > msg->total_bytes ||
        msg->chunk_bytes > msg->total_bytes - msg->offset ||
        (msg->chunk_bytes > 0 && msg->chunk == NULL))
        return false;
    return hash_bytes(msg->chunk, msg->chunk_bytes) == msg->chunk_hash;
}

// Whether the message is to be looked at further: it is of our term, which may have risen to it, or of none.
static bool
settle_term(struct raft *raft, const struct raft_msg *msg)
{
    const bool request = msg->kind == RAFT_VOTE || msg->kind == RAFT_PRE_VOTE;
    if (msg->term < raft->term) {
        answer_stale(raft, msg);
        return false;
    }
    if (request && !msg->transfer && election_bound(raft))
        return false; // a lease may count on us
    if (msg->term == raft->term)
        return true;
    if (request && !msg->transfer && raft->config.check_quorum && raft->lead != RAFT_NODE_NONE &&
        raft->election_elapsed < raft->config.election_ticks)
        return false; // we hear a leader
    if (msg->kind == RAFT_PRE_VOTE || (msg->kind == RAFT_PRE_VOTE_RESP && !msg->reject))
        return true; // of an election that may never be
    const bool leads =
        msg->kind == RAFT_APPEND || msg->kind == RAFT_HEARTBEAT || msg->kind == RAFT_SNAPSHOT;
    election_become_follower(raft, msg->term, leads ? msg->from : RAFT_NODE_NONE);
    return true;
}

// A leader of an older term whom nobody answers would not learn that it is none: with pre_vote or check_quorum nobody may be
// so rude as to campaign. A candidate that was away learns the term from a rejection: alone it might never catch up
// with one that campaigns again and again.
static void
answer_stale(struct raft *raft, const struct raft_msg *msg)
{
    struct raft_msg answer = {.to = msg->from, .term = raft->term};
    const bool polite = raft->config.check_quorum || raft->config.pre_vote;
    if (polite && (msg->kind == RAFT_HEARTBEAT || msg->kind == RAFT_APPEND)) {
        answer.kind = RAFT_APPEND_RESP;
        output_hold(raft, answer);
    } else if (msg->kind == RAFT_PRE_VOTE || msg->kind == RAFT_VOTE) {
        answer.kind = msg->kind == RAFT_VOTE ? RAFT_VOTE_RESP : RAFT_PRE_VOTE_RESP;
        answer.reject = true;
        output_hold(raft, answer);
    }
}

static void
receive_from_leader(struct raft *raft, const struct raft_msg *msg)
{
    if (raft->state == RAFT_LEADER) { // two leaders in one term: somebody lies
        raft_note(raft, RAFT_NOTE_MESSAGE_REFUSED, (uint64_t)msg->kind, msg->from);
        return;
    }
    if (raft->state != RAFT_FOLLOWER)
        election_become_follower(raft, msg->term, msg->from);
    election_leader_heard(raft);
    raft->bound_tick = raft->tick_count + raft->config.election_ticks;
    raft->lead = msg->from;
    if (msg->kind == RAFT_APPEND)
        replicate_receive_append(raft, msg);
    else if (msg->kind == RAFT_HEARTBEAT)
        replicate_receive_heartbeat(raft, msg);
    else
        snapshot_receive(raft, msg);
}

static void
receive_as_leader(struct raft *raft, const struct raft_msg *msg)
{
    const uint32_t from = member_find(&raft->group, msg->from);
    if (raft->state != RAFT_LEADER || from == RAFT_MEMBERS_MAX)
        return;
    if (msg->kind == RAFT_APPEND_RESP && !msg->reject && msg->position > tail_last(&raft->tail)) {
        raft_note(raft, RAFT_NOTE_MESSAGE_REFUSED, (uint64_t)msg->kind, msg->from);
        return;
    }
    if (msg->kind == RAFT_APPEND_RESP)
        replicate_receive_append_resp(raft, msg, from);
    else if (msg->kind == RAFT_HEARTBEAT_RESP)
        replicate_receive_heartbeat_resp(raft, msg, from);
    else
        snapshot_receive_resp(raft, msg, from);
}
