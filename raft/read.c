// raft/read.c -- linearizable reads without a log entry (thesis 6.4).
//
// Shape: machine.
//
// A read asks which position must be applied before it may read. The leader answers with its commit after a round of
// heartbeats that began when the read was already here was confirmed by a majority: then nobody else led at that time. Each
// request has a round of its own; heartbeats carry the newest, and confirming one confirms all before it. A new leader does
// not know what is committed before it committed an entry of its own term, so reads wait for that. A round is a beat as well: the next one is
// due an interval behind it.
//
// A lease (config.reads) spares the round while one that was begun not long ago is confirmed. It is void for the rest of a
// term in which a transfer began: then others may be elected at once.
#include "base/bug.h"
#include "raft/raft_int.h"

static bool is_single(const struct raft *raft);
static bool own_term_committed(const struct raft *raft);
static bool lease_valid(const struct raft *raft);
static void begin_round(struct raft *raft, struct raft_read_wait *read);
static void give(struct raft *raft, const struct raft_read_wait *read, enum raft_answer answer);

void
read_request(struct raft *raft, uint64_t read_id)
{
    struct raft_output *out = raft->out;
    out->answer = RAFT_ANSWER_NOT_LEADER;
    if (raft->state != RAFT_LEADER)
        return;
    out->answer = RAFT_ANSWER_BUSY;
    if (raft->read_count + out->read_count >= RAFT_READS_MAX)
        return;
    out->answer = RAFT_ANSWER_OK;
    struct raft_read_wait read = {.read_id = read_id, .position = raft->commit};
    const bool known = own_term_committed(raft);
    if (known && (is_single(raft) || lease_valid(raft))) {
        give(raft, &read, RAFT_ANSWER_OK);
        return;
    }
    if (known)
        begin_round(raft, &read);
    raft->reads[raft->read_count++] = read;
}

void
read_term_committed(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->read_count; i++)
        if (raft->reads[i].round == 0)
            begin_round(raft, &raft->reads[i]);
    read_confirmed(raft); // of a single node
}

static void
begin_round(struct raft *raft, struct raft_read_wait *read)
{
    read->position = raft->commit;
    const bool on_its_way = raft->read_count > 0 && raft->reads[0].round != 0;
    if (!(bug(BUG_READINDEX_CTX_REUSE) && on_its_way))
        raft->read_round++;
    read->round = raft->read_round;
    replicate_want_all(raft, WANT_HEARTBEAT);
    if (raft->config.reads != RAFT_READS_LEASE) // there a beat is what renews the lease
        raft->heartbeat_elapsed = 0;
}

void
read_confirmed(struct raft *raft)
{
    ASSERT(raft->state == RAFT_LEADER);
    uint64_t rounds[RAFT_MEMBERS_MAX];
    const uint32_t self = raft_self(raft);
    for (uint32_t i = 0; i < raft->group.count; i++)
        rounds[i] = i == self ? raft->read_round : raft->progress[i].round;
    const uint64_t confirmed = quorum_position(&raft->group, rounds);
    if (raft->lease_round != 0 && confirmed >= raft->lease_round) {
        raft->lease_tick = raft->lease_round_tick;
        raft->lease_round = 0;
        raft->lease_held = true;
    }
    uint32_t done = 0;
    while (done < raft->read_count && raft->reads[done].round != 0 &&
           raft->reads[done].round <= confirmed)
        give(raft, &raft->reads[done++], RAFT_ANSWER_OK);
    raft->read_count -= done;
    for (uint32_t i = 0; done > 0 && i < raft->read_count; i++)
        raft->reads[i] = raft->reads[i + done];
}

void
read_drop_all(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->read_count; i++)
        give(raft, &raft->reads[i], RAFT_ANSWER_NOT_LEADER);
    raft->read_count = 0;
    raft->lease_round = 0;
    raft->lease_held = raft->lease_void = false;
}

void
read_beat(struct raft *raft)
{
    if (raft->config.reads != RAFT_READS_LEASE || raft->lease_round != 0)
        return;
    raft->lease_round = ++raft->read_round;
    raft->lease_round_tick = raft->tick_count;
    read_confirmed(raft); // of a single node
}

uint64_t
read_context(const struct raft *raft)
{
    return raft->read_count > 0 || raft->lease_round != 0 ? raft->read_round : 0;
}

static void
give(struct raft *raft, const struct raft_read_wait *read, enum raft_answer answer)
{
    struct raft_output *out = raft->out;
    ASSERT(out->read_count < RAFT_READS_MAX);
    out->reads[out->read_count++] = (struct raft_read){
        .read_id = read->read_id,
        .position = read->position,
        .answer = answer,
    };
}

static bool
is_single(const struct raft *raft)
{
    const uint32_t self = raft_self(raft);
    if (self == RAFT_MEMBERS_MAX || raft->group.members[self].roles != RAFT_VOTER)
        return false;
    for (uint32_t i = 0; i < raft->group.count; i++)
        if (i != self && member_votes(raft->group.members[i].roles))
            return false;
    return true;
}

static bool
own_term_committed(const struct raft *raft)
{
    uint64_t term;
    const bool known = tail_term(&raft->tail, raft->commit, &term);
    ASSERT(known); // what is compacted was committed
    return term == raft->term;
}

// The others vote for nobody within an election timeout of a heartbeat; a tick and a tenth is for clocks that run apart and
// for ticks that were half over. Ticks count by the clock of this step, so a node that was stopped finds its lease gone.
static bool
lease_valid(const struct raft *raft)
{
    const uint32_t margin = 1 + raft->config.election_ticks / 10;
    return raft->config.reads == RAFT_READS_LEASE && raft->lease_held && !raft->lease_void &&
           raft->tick_count - raft->lease_tick + margin < raft->config.election_ticks;
}
