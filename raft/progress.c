// raft/progress.c -- what a leader knows of one member, and how much it dares to send it.
//
// Shape: machine.
//
//              rejection, unreachable                        log does not reach back
//     REPLICATE ----------------------> PROBE ------------------------------------------> STREAM
//         ^      progress_probe        |  ^             progress_stream (snapshot_begin)     |
//         +----------------------------+  +--------------------------------------------------+
//            answer: progress_replicate       failure: progress_probe; answer: both to REPLICATE
//
// PROBE sends one APPEND and waits for its answer (or for that of a heartbeat). REPLICATE sends on without waiting, up to the
// inflight limits. STREAM sends a snapshot, no APPENDs.
#include <string.h>

#include "raft/raft_int.h"

static void
enter(struct raft_progress *progress, enum raft_progress_state state)
{
    progress->state = state;
    progress->paused = false;
    progress->snapshot_position = 0;
    progress->chunk_offset = 0;
    progress->chunk_sent = false;
    progress->chunk_ticks = 0;
    progress->inflight_first = progress->inflight_count = 0;
    progress->inflight_bytes = 0;
}

void
progress_init(struct raft_progress *progress, uint64_t next)
{
    memset(progress, 0, sizeof *progress);
    progress->next = next;
}

void
progress_probe(struct raft_progress *progress)
{
    const uint64_t next = progress->match + 1;
    enter(progress, RAFT_PROBE);
    progress->next = next;
    if (progress->sent_commit > next - 1)
        progress->sent_commit = next - 1;
}

void
progress_replicate(struct raft_progress *progress)
{
    enter(progress, RAFT_REPLICATE);
    progress->next = progress->match + 1;
}

void
progress_stream(struct raft_progress *progress, uint64_t snapshot_position)
{
    enter(progress, RAFT_STREAM);
    progress->snapshot_position = snapshot_position;
    progress->next = snapshot_position + 1;
    progress->sent_commit = snapshot_position;
}

bool
progress_paused(const struct raft_progress *progress)
{
    return progress->state == RAFT_STREAM || progress->paused;
}

bool
progress_full(const struct raft_progress *progress, const struct raft_config *config)
{
    return progress->inflight_count >= config->inflight_max ||
           progress->inflight_bytes >= config->inflight_bytes_max;
}

void
progress_sent(struct raft_progress *progress, const struct raft_config *config,
              const struct raft_msg *append)
{
    progress->sent_commit = append->commit;
    if (progress->state == RAFT_PROBE) {
        if (append->entry_count > 0)
            progress->paused = true;
        return;
    }
    ASSERT(progress->state == RAFT_REPLICATE);
    if (append->entry_count > 0) {
        ASSERT(progress->inflight_count < RAFT_INFLIGHTS_MAX);
        struct raft_inflight *inflight =
            &progress->inflights[(progress->inflight_first + progress->inflight_count++) %
                                 RAFT_INFLIGHTS_MAX];
        progress->next += append->entry_count;
        *inflight = (struct raft_inflight){.position = progress->next - 1};
        for (uint32_t i = 0; i < append->entry_count; i++)
            inflight->bytes += append->entries[i].byte_count;
        progress->inflight_bytes += inflight->bytes;
    }
    progress->paused = progress_full(progress, config);
}

// Frees what an answer says has arrived.
void
progress_freed(struct raft_progress *progress, uint64_t through)
{
    while (progress->inflight_count > 0) {
        const struct raft_inflight *first = &progress->inflights[progress->inflight_first];
        if (first->position > through)
            return;
        progress->inflight_bytes -= first->bytes;
        progress->inflight_first = (progress->inflight_first + 1) % RAFT_INFLIGHTS_MAX;
        progress->inflight_count--;
    }
}

// Whether `match` is news.
bool
progress_advance(struct raft_progress *progress, uint64_t match)
{
    if (match <= progress->match)
        return false;
    progress->match = match;
    if (progress->next < match + 1)
        progress->next = match + 1;
    progress->paused = false;
    return true;
}

// Whether the rejection is of what was sent last and not a stale one. next never falls to match or below it.
bool
progress_retreat(struct raft_progress *progress, uint64_t rejected, uint64_t hint)
{
    if (progress->state == RAFT_REPLICATE) {
        if (rejected <= progress->match)
            return false;
        progress->next = progress->match + 1;
    } else {
        if (progress->next - 1 != rejected)
            return false;
        uint64_t next = rejected < hint + 1 ? rejected : hint + 1;
        if (next < progress->match + 1)
            next = progress->match + 1;
        progress->next = next;
        progress->paused = false;
    }
    if (progress->sent_commit > progress->next - 1)
        progress->sent_commit = progress->next - 1;
    return true;
}

void
progress_regroup(struct raft *raft, const struct raft_group *next)
{
    // Those that stay, moved together; then from the end to their new places. Both lists are in the order of ids.
    uint32_t kept = 0;
    for (uint32_t i = 0; i < raft->group.count; i++) {
        const uint32_t at = member_find(next, raft->group.members[i].id);
        if (at == RAFT_MEMBERS_MAX || (next->members[at].roles & RAFT_FRESH) != 0)
            continue;
        if (kept != i) {
            raft->progress[kept] = raft->progress[i];
            raft->ballots[kept] = raft->ballots[i];
        }
        kept++;
    }
    const uint64_t last = tail_last(&raft->tail);
    ASSERT(last > 0); // there is the change, or a snapshot
    for (uint32_t i = RAFT_MEMBERS_MAX; i-- > 0;) {
        if (i < next->count && (next->members[i].roles & RAFT_FRESH) == 0) {
            ASSERT(kept > 0);
            kept--;
            if (kept != i) {
                raft->progress[i] = raft->progress[kept];
                raft->ballots[i] = raft->ballots[kept];
            }
            continue;
        }
        // A member that is not there is all zeros, so that the same state has the same bytes.
        progress_init(&raft->progress[i], i < next->count ? last : 0);
        raft->progress[i].recent_active = i < next->count;
        raft->ballots[i] = BALLOT_NONE;
    }
    raft->group = *next;
    for (uint32_t i = 0; i < raft->group.count; i++)
        raft->group.members[i].roles &= (uint8_t)~RAFT_FRESH;
    raft->group_changed = true;
}
