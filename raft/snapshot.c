// raft/snapshot.c -- what replaces a log that is gone: streaming the state in chunks, and compaction (the paper's 7).
//
// Shape: machine.
//
// The leader asks its shell for a snapshot of the state as applied (out.snapshot_wanted) when a follower needs entries that
// were compacted; one is made at a time, however many followers wait for it. It then goes out chunk by chunk, the next one
// when the last was answered, a lost one again after an election timeout. The follower hands chunks to its shell and, with
// the last, the order to install; from there on it is as if its log had been compacted there.
#include "raft/raft_int.h"

static void answer_chunk(struct raft *raft, const struct raft_msg *msg, uint64_t offset);
static void restore(struct raft *raft);
static bool knows(const struct raft_snapshot_offer *offer, uint64_t id);
static bool is_streaming(const struct raft *raft, uint64_t position);

// ---- the leader's side ----

bool
snapshot_begin(struct raft *raft, uint32_t member)
{
    struct raft_progress *progress = &raft->progress[member];
    if (!progress->recent_active)
        return false; // it would be for nobody
    struct raft_snapshot_offer *offer = &raft->offer;
    const bool usable = offer->position > 0 && offer->position >= raft->tail.base_position &&
                        knows(offer, raft->group.members[member].id);
    if (usable && (offer->position == raft->applied || is_streaming(raft, offer->position))) {
        progress_stream(progress, offer->position);
        return true;
    }
    if (raft->making.position == 0) {
        uint64_t term;
        const bool known = tail_term(&raft->tail, raft->applied, &term);
        ASSERT(known && raft->applied > 0); // something was compacted
        raft->making = (struct raft_snapshot_offer){
            .position = raft->applied,
            .term = term,
            .group = raft->group,
        };
        raft->making_told = false;
    }
    if (!knows(&raft->making, raft->group.members[member].id))
        return false; // then the next one
    progress_stream(progress, raft->making.position);
    return true;
}

// Who joined after the snapshot does not take it: it would be in a group of others.
static bool
knows(const struct raft_snapshot_offer *offer, uint64_t id)
{
    return member_find(&offer->group, id) < RAFT_MEMBERS_MAX;
}

bool
snapshot_chunk(struct raft *raft, uint32_t member, struct raft_msg *msg)
{
    struct raft_progress *progress = &raft->progress[member];
    const struct raft_snapshot_offer *offer = &raft->offer;
    ASSERT(progress->state == RAFT_STREAM);
    if (progress->chunk_sent || progress->snapshot_position != offer->position)
        return false;
    uint64_t count = offer->total_bytes - progress->chunk_offset;
    if (count > raft->config.chunk_bytes)
        count = raft->config.chunk_bytes;
    *msg = (struct raft_msg){
        .kind = RAFT_SNAPSHOT,
        .position = offer->position,
        .log_term = offer->term,
        .offset = progress->chunk_offset,
        .total_bytes = offer->total_bytes,
        .chunk_bytes = (uint32_t)count,
        .group = &offer->group,
    };
    progress->chunk_sent = true;
    progress->chunk_ticks = 0;
    return true;
}

void
snapshot_made(struct raft *raft, uint64_t position, uint64_t total_bytes)
{
    if (position != raft->making.position || position == 0)
        return; // given up meanwhile
    raft->offer = raft->making;
    raft->offer.total_bytes = total_bytes;
    raft->making = (struct raft_snapshot_offer){0};
    for (uint32_t i = 0; raft->state == RAFT_LEADER && i < raft->group.count; i++)
        if (raft->progress[i].state == RAFT_STREAM &&
            raft->progress[i].snapshot_position != position) // of the one that this replaces
            progress_stream(&raft->progress[i], position);
}

void
snapshot_failed(struct raft *raft, uint64_t peer)
{
    if (peer == RAFT_NODE_NONE)
        raft->making = (struct raft_snapshot_offer){0};
    if (raft->state != RAFT_LEADER)
        return;
    for (uint32_t i = 0; i < raft->group.count; i++) {
        struct raft_progress *progress = &raft->progress[i];
        const bool meant = peer == RAFT_NODE_NONE
                               ? progress->snapshot_position != raft->offer.position
                               : raft->group.members[i].id == peer;
        if (progress->state != RAFT_STREAM || !meant)
            continue;
        progress->snapshot_position = 0;
        progress_probe(progress);
        progress->paused = true; // until a heartbeat is answered
    }
}

void
snapshot_receive_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from)
{
    struct raft_progress *progress = &raft->progress[from];
    progress->recent_active = true;
    progress->heard_tick = raft->tick_count;
    if (progress->state != RAFT_STREAM || msg->position != progress->snapshot_position ||
        progress->snapshot_position != raft->offer.position ||
        msg->offset > raft->offer.total_bytes)
        return;
    if (msg->offset == progress->chunk_offset)
        return; // of a doubled chunk; were it lost, time would tell
    progress->chunk_offset = msg->offset;
    progress->chunk_sent = false;
}

// Chunks that were not answered go out again.
void
snapshot_tick(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->group.count; i++) {
        struct raft_progress *progress = &raft->progress[i];
        if (progress->state == RAFT_STREAM && progress->chunk_sent &&
            ++progress->chunk_ticks >= raft->config.election_ticks && progress->recent_active)
            progress->chunk_sent = false;
    }
}

static bool
is_streaming(const struct raft *raft, uint64_t position)
{
    for (uint32_t i = 0; raft->state == RAFT_LEADER && i < raft->group.count; i++)
        if (raft->progress[i].state == RAFT_STREAM && raft->progress[i].recent_active &&
            raft->progress[i].snapshot_position == position)
            return true;
    return false;
}

// Forgets applied entries, but for the last ones, and (POLITELY) for those behind a snapshot that is on its way: it would be
// for nothing.
void
snapshot_compact(struct raft *raft, uint64_t through, enum snapshot_compaction how)
{
    const uint64_t most = raft->applied_told > raft->config.tail_retain
                              ? raft->applied_told - raft->config.tail_retain
                              : 0;
    if (through > most)
        through = most;
    const bool polite = how == COMPACT_POLITELY;
    if (polite && raft->offer.position < through && is_streaming(raft, raft->offer.position))
        through = raft->offer.position;
    if (polite && raft->making.position != 0 && raft->making.position < through)
        through = raft->making.position;
    if (through <= raft->tail.base_position)
        return;
    tail_compact(&raft->tail, through);
    raft->compact_through = through;
}

// ---- the follower's side ----

void
snapshot_receive(struct raft *raft, const struct raft_msg *msg)
{
    uint64_t term;
    const bool known = tail_term(&raft->tail, msg->position, &term) && term == msg->log_term;
    if (known && msg->position > raft->commit)
        raft->commit = msg->position; // the log has it all
    if (msg->position <= raft->commit ||
        member_find(msg->group, raft->config.id) == RAFT_MEMBERS_MAX) {
        output_hold(raft, (struct raft_msg){
                              .kind = RAFT_APPEND_RESP,
                              .to = msg->from,
                              .term = raft->term,
                              .position = raft->commit,
                          });
        return;
    }
    struct raft_snapshot_offer *incoming = &raft->incoming;
    const bool same = raft->incoming_from == msg->from && incoming->position == msg->position &&
                      incoming->term == msg->log_term && incoming->total_bytes == msg->total_bytes;
    if (!same && msg->offset == 0) {
        *incoming = (struct raft_snapshot_offer){
            .position = msg->position,
            .term = msg->log_term,
            .total_bytes = msg->total_bytes,
            .group = *msg->group,
        };
        raft->incoming_from = msg->from;
        raft->incoming_offset = 0;
    }
    const uint64_t wanted = same || msg->offset == 0 ? raft->incoming_offset : 0;
    if (msg->offset != wanted || (msg->chunk_bytes == 0 && msg->total_bytes != 0)) {
        answer_chunk(raft, msg, wanted);
        return;
    }
    raft->chunk = msg;
    raft->incoming_offset += msg->chunk_bytes;
    if (raft->incoming_offset < incoming->total_bytes)
        answer_chunk(raft, msg, raft->incoming_offset);
    else
        restore(raft);
}

static void
answer_chunk(struct raft *raft, const struct raft_msg *msg, uint64_t offset)
{
    output_hold(raft, (struct raft_msg){
                          .kind = RAFT_SNAPSHOT_RESP,
                          .to = msg->from,
                          .term = raft->term,
                          .position = msg->position,
                          .offset = offset,
                      });
}

static void
restore(struct raft *raft)
{
    const uint64_t position = raft->incoming.position;
    ASSERT(raft->state == RAFT_FOLLOWER && position > raft->commit);
    tail_reset(&raft->tail, position, raft->incoming.term);
    raft->commit = raft->applied = raft->applied_told = position;
    raft->handed = raft->stable = position;
    raft->truncate_from = raft->compact_through = 0;
    for (uint32_t i = 0; i < RAFT_PERSISTS_MAX; i++)
        raft->persists[i].position = 0; // of the old log
    raft->installing = true;
    for (uint32_t i = 0; i < raft->incoming.group.count; i++)
        raft->incoming.group.members[i].roles |= RAFT_FRESH;
    progress_regroup(raft, &raft->incoming.group);
    raft_note(raft, RAFT_NOTE_RESTORED, position, 0);
    output_hold(raft, (struct raft_msg){
                          .kind = RAFT_APPEND_RESP,
                          .to = raft->incoming_from,
                          .term = raft->term,
                          .position = position,
                      });
    raft->incoming = (struct raft_snapshot_offer){0};
    raft->incoming_from = RAFT_NODE_NONE;
    raft->incoming_offset = 0;
    raft->offer = raft->making = (struct raft_snapshot_offer){0};
}
