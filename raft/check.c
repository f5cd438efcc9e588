// raft/check.c -- what always holds between two steps, and the state in a line.
//
// Shape: machine.
#include "base/bug.h"
#include "base/text.h"
#include "raft/raft_int.h"

static void check_log(const struct raft *raft);
static void check_durability(const struct raft *raft);
static void check_member(const struct raft *raft, uint32_t member);

void
raft_check(const struct raft *raft)
{
    ASSERT(raft->out == NULL);
    if (!raft->started)
        return;
    check_log(raft);
    check_durability(raft);
    ASSERT(member_valid(&raft->group));
    ASSERT(raft->random_ticks >=
               (raft->hurried ? raft->config.heartbeat_ticks : raft->config.election_ticks) &&
           raft->random_ticks < 2 * raft->config.election_ticks);
    ASSERT(raft->read_count <= RAFT_READS_MAX);
    // With the deliberate error a stale read shall be what is found.
    for (uint32_t i = 1; i < raft->read_count && !bug(BUG_READINDEX_CTX_REUSE); i++)
        ASSERT(raft->reads[i - 1].round < raft->reads[i].round || raft->reads[i].round == 0);
    switch (raft->state) {
    case RAFT_LEADER:
        ASSERT(raft->lead == raft->config.id);
        ASSERT(raft->vote == raft->config.id);
        for (uint32_t i = 0; i < raft->group.count; i++)
            check_member(raft, i);
        break;
    case RAFT_CANDIDATE:
        ASSERT(raft->vote == raft->config.id);
        ASSERT(raft->lead == RAFT_NODE_NONE);
        break;
    case RAFT_PRE_CANDIDATE:
        ASSERT(raft->lead == RAFT_NODE_NONE);
        break;
    case RAFT_FOLLOWER:
        ASSERT(raft->lead != raft->config.id);
        break;
    }
    if (raft->state != RAFT_LEADER)
        ASSERT(raft->transferee == RAFT_NODE_NONE && raft->read_count == 0);
}

static void
check_log(const struct raft *raft)
{
    const struct raft_tail *tail = &raft->tail;
    ASSERT(tail->base_position <= raft->applied);
    ASSERT(raft->applied <= raft->commit);
    ASSERT(raft->applied <= raft->stable);
    ASSERT(raft->applied_told == raft->applied);
    ASSERT(raft->commit <= tail_last(tail));
    ASSERT(raft->stable <= raft->handed);
    ASSERT(raft->handed == tail_last(tail));
    ASSERT(tail->begin + tail->count <= tail->capacity);
    ASSERT(tail->count <= tail->entries_max && tail->bytes <= tail->bytes_max);
    uint64_t term = tail->base_term, bytes = 0;
    for (uint32_t i = 0; i < tail->count; i++) {
        const struct raft_entry *entry = &tail->entries[tail->begin + i];
        ASSERT(entry->position == tail->base_position + 1 + i);
        ASSERT(entry->term >= term && entry->term <= raft->term);
        term = entry->term;
        bytes += entry->byte_count;
    }
    ASSERT(bytes == tail->bytes);
}

static void
check_durability(const struct raft *raft)
{
    ASSERT(raft->persisted <= raft->persist_last);
    ASSERT(raft->install_number <= raft->persist_last);
    ASSERT(raft->ballot_number <= raft->persist_last);
    ASSERT(raft->persist_count <= RAFT_PERSISTS_MAX);
    uint64_t number = raft->persisted;
    for (uint32_t i = 0; i < raft->persist_count; i++) {
        const struct raft_persist *persist =
            &raft->persists[(raft->persist_first + i) % RAFT_PERSISTS_MAX];
        ASSERT(persist->number > number);
        ASSERT(persist->position <= raft->handed);
        number = persist->number;
    }
    ASSERT(number == raft->persist_last);
    ASSERT(raft->outbox_count <= RAFT_OUTBOX_MAX);
    for (uint32_t i = 0; i < raft->outbox_count; i++)
        ASSERT(raft->outbox[i].number <= raft->persist_last);
    ASSERT(!raft->installing && raft->truncate_from == 0 && raft->compact_through == 0);
    ASSERT(raft->hard_state.term == raft->term && raft->hard_state.vote == raft->vote &&
           raft->hard_state.commit == raft->commit);
}

static void
check_member(const struct raft *raft, uint32_t member)
{
    const struct raft_progress *progress = &raft->progress[member];
    const uint64_t last = tail_last(&raft->tail);
    ASSERT(progress->match <= last);
    ASSERT(progress->next <= last + 1);
    ASSERT(progress->round <= raft->read_round);
    ASSERT(progress->inflight_count <= raft->config.inflight_max);
    if (raft->group.members[member].id == raft->config.id) {
        ASSERT(progress->match <= raft->stable);
        return;
    }
    ASSERT(progress->match < progress->next);
    ASSERT((progress->state == RAFT_STREAM) == (progress->snapshot_position != 0));
    ASSERT(progress->state == RAFT_REPLICATE || progress->inflight_count == 0);
    uint64_t bytes = 0, position = progress->match;
    for (uint32_t i = 0; i < progress->inflight_count; i++) {
        const struct raft_inflight *inflight =
            &progress->inflights[(progress->inflight_first + i) % RAFT_INFLIGHTS_MAX];
        ASSERT(inflight->position > position && inflight->position < progress->next);
        position = inflight->position;
        bytes += inflight->bytes;
    }
    ASSERT(bytes == progress->inflight_bytes);
}

void
raft_describe(const struct raft *raft, char *line, size_t cap)
{
    static const char *const states[] = {"follower", "precandidate", "candidate", "leader"};
    static const char *const progresses[] = {"probe", "replicate", "stream"};
    struct text text;
    char group[512];
    member_describe(&raft->group, group, sizeof group);
    text_init(&text, line, cap);
    text_add(&text,
             "%llu %s term=%llu vote=%llu lead=%llu commit=%llu applied=%llu stable=%llu "
             "log=%llu..%llu %s",
             (unsigned long long)raft->config.id, states[raft->state],
             (unsigned long long)raft->term, (unsigned long long)raft->vote,
             (unsigned long long)raft->lead, (unsigned long long)raft->commit,
             (unsigned long long)raft->applied, (unsigned long long)raft->stable,
             (unsigned long long)tail_first(&raft->tail),
             (unsigned long long)tail_last(&raft->tail), group);
    if (raft->transferee != RAFT_NODE_NONE)
        text_add(&text, " transferee=%llu", (unsigned long long)raft->transferee);
    for (uint32_t i = 0; raft->state == RAFT_LEADER && i < raft->group.count; i++) {
        const struct raft_progress *progress = &raft->progress[i];
        text_add(&text, " %llu:%s,match=%llu,next=%llu%s",
                 (unsigned long long)raft->group.members[i].id, progresses[progress->state],
                 (unsigned long long)progress->match, (unsigned long long)progress->next,
                 progress->paused ? ",paused" : "");
    }
}
