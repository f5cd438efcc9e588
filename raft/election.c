// raft/election.c -- who leads: terms, votes, timeouts (the paper's 5.2, 5.4.1; thesis 3.10, 6.2, 9.6).
//
// Shape: machine.
//
//            timeout (election_tick)      won: begin()           won: become_leader()
//  FOLLOWER ------------------------> PRE_CANDIDATE --> CANDIDATE --> LEADER
//     ^  \____________________________________________/   ^            |
//     |   timeout without pre_vote, TIMEOUT_NOW: begin()               |
//     +---------------------------------------------------------------+
//       election_become_follower(): higher term, another leader, lost vote, quorum not heard of, removal
//
// A pre-candidate asks without changing its term, so that a node which was cut off does not depose a leader that the others
// hear. With check_quorum, who heard a leader within an election timeout votes for nobody, unless that leader itself ordered
// the election (transfer).
#include "base/bug.h"
#include "raft/raft_int.h"

#define HURRIES_MAX 3u // the first campaign, its votes, and once more when they were split

static void begin(struct raft *raft, enum raft_campaign campaign);
static void reset(struct raft *raft, uint64_t term);
static void draw_timeout(struct raft *raft);
static void become_leader(struct raft *raft);
static void count_votes(struct raft *raft);
static void tick_leader(struct raft *raft);
static bool change_unapplied(const struct raft *raft);
static void abort_transfer(struct raft *raft);
static void mind_disk(struct raft *raft);

void
election_tick(struct raft *raft)
{
    raft->tick_count++;
    raft->election_elapsed++;
    if (raft->state == RAFT_LEADER) {
        tick_leader(raft);
    } else if (election_promotable(raft) && raft->election_elapsed >= raft->random_ticks) {
        raft->election_elapsed = 0;
        election_campaign(raft, raft->config.pre_vote ? CAMPAIGN_PRE : CAMPAIGN_REAL);
    }
}

static void
tick_leader(struct raft *raft)
{
    raft->heartbeat_elapsed++;
    snapshot_tick(raft);
    if (raft->election_elapsed >= raft->config.election_ticks) {
        raft->election_elapsed = 0;
        if (raft->config.check_quorum) {
            enum quorum_ballot heard[RAFT_MEMBERS_MAX];
            const uint32_t self = raft_self(raft);
            for (uint32_t i = 0; i < raft->group.count; i++) {
                heard[i] = i == self || raft->progress[i].recent_active ? BALLOT_YES : BALLOT_NO;
                raft->progress[i].recent_active = i == self;
            }
            if (quorum_vote(&raft->group, heard) != QUORUM_WON) {
                raft_note(raft, RAFT_NOTE_QUORUM_LOST, raft->term, 0);
                election_become_follower(raft, raft->term, RAFT_NODE_NONE);
                return;
            }
        }
        if (raft->transferee != RAFT_NODE_NONE)
            abort_transfer(raft);
    }
    mind_disk(raft);
    if (raft->heartbeat_elapsed >= raft->config.heartbeat_ticks) {
        raft->heartbeat_elapsed = 0;
        read_beat(raft);
        replicate_want_all(raft, WANT_HEARTBEAT);
    }
}

// A leader whose disk has not answered for an election timeout slows everybody down: somebody who has it all shall lead.
static void
mind_disk(struct raft *raft)
{
    raft->disk_ticks = raft->persist_count > 0 ? raft->disk_ticks + 1 : 0;
    if (raft->disk_ticks < raft->config.election_ticks || raft->transferee != RAFT_NODE_NONE)
        return;
    for (uint32_t i = 0; i < raft->group.count; i++) {
        const struct raft_progress *progress = &raft->progress[i];
        if (i == raft_self(raft) || (raft->group.members[i].roles & RAFT_VOTER) == 0 ||
            !progress->recent_active || progress->match < tail_last(&raft->tail))
            continue;
        raft_note(raft, RAFT_NOTE_DISK_SLOW, raft->disk_ticks, raft->group.members[i].id);
        raft->disk_ticks = 0;
        election_transfer(raft, raft->group.members[i].id);
        return;
    }
}

static void
abort_transfer(struct raft *raft)
{
    raft_note(raft, RAFT_NOTE_TRANSFER_ABORTED, raft->transferee, 0);
    raft->transferee = RAFT_NODE_NONE;
}

enum raft_answer
election_transfer(struct raft *raft, uint64_t to)
{
    if (raft->state != RAFT_LEADER)
        return RAFT_ANSWER_NOT_LEADER;
    const uint32_t member = member_find(&raft->group, to);
    if (member == RAFT_MEMBERS_MAX || !member_votes(raft->group.members[member].roles))
        return RAFT_ANSWER_INVALID;
    if (raft->transferee == to)
        return RAFT_ANSWER_OK;
    if (to == raft->config.id) {
        raft->transferee = RAFT_NODE_NONE;
        return RAFT_ANSWER_OK;
    }
    raft->election_elapsed = 0; // it has an election timeout's time
    raft->transferee = to;
    raft->lease_void = true;
    raft->progress[member].wants |=
        raft->progress[member].match == tail_last(&raft->tail) ? WANT_TIMEOUT_NOW : WANT_APPEND;
    return RAFT_ANSWER_OK;
}

bool
election_promotable(const struct raft *raft)
{
    const uint32_t self = raft_self(raft);
    return self < RAFT_MEMBERS_MAX && member_votes(raft->group.members[self].roles) &&
           raft->install_number <= raft->persisted;
}

// A node that starts may have answered a heartbeat just before it stopped, and a new term makes it forget its leader: neither
// ends the lease that it helped to make.
bool
election_bound(const struct raft *raft)
{
    return raft->config.reads == RAFT_READS_LEASE && raft->tick_count < raft->bound_tick;
}

void
election_campaign(struct raft *raft, enum raft_campaign campaign)
{
    if (raft->state == RAFT_LEADER || !election_promotable(raft) || change_unapplied(raft) ||
        raft->term + 1 >= RAFT_NUMBER_MAX ||
        (campaign != CAMPAIGN_TRANSFER && election_bound(raft)))
        return;
    begin(raft, campaign);
}

// Whoever does not know yet that the configuration changed would ask the wrong nodes.
static bool
change_unapplied(const struct raft *raft)
{
    for (uint64_t position = raft->applied + 1; position <= raft->commit; position++)
        if (tail_at(&raft->tail, position)->kind == RAFT_ENTRY_CHANGE)
            return true;
    return false;
}

static void
begin(struct raft *raft, enum raft_campaign campaign)
{
    uint64_t term = raft->term + 1;
    if (campaign == CAMPAIGN_PRE) {
        for (uint32_t i = 0; i < raft->group.count; i++)
            raft->ballots[i] = BALLOT_NONE;
        raft->lead = RAFT_NODE_NONE;
        raft->state = RAFT_PRE_CANDIDATE;
    } else {
        reset(raft, term);
        raft->vote = raft->config.id;
        raft->state = RAFT_CANDIDATE;
    }
    raft_note(raft, RAFT_NOTE_STATE, raft->term, 0);
    for (uint32_t i = 0; i < raft->group.count; i++) {
        const struct raft_member *member = &raft->group.members[i];
        if (!member_votes(member->roles))
            continue;
        struct raft_msg msg = {
            .kind = campaign == CAMPAIGN_PRE ? RAFT_PRE_VOTE : RAFT_VOTE,
            .to = member->id,
            .term = term,
            .position = tail_last(&raft->tail),
            .log_term = tail_last_term(&raft->tail),
            .transfer = campaign == CAMPAIGN_TRANSFER,
        };
        if (member->id != raft->config.id || campaign != CAMPAIGN_PRE)
            output_hold(raft, msg); // the own vote comes back as election_own_vote_durable
        else
            raft->ballots[i] = BALLOT_YES;
    }
    if (campaign == CAMPAIGN_PRE)
        count_votes(raft);
}

void
election_own_vote_durable(struct raft *raft, uint64_t term)
{
    const uint32_t self = raft_self(raft);
    if (raft->state != RAFT_CANDIDATE || raft->term != term || self == RAFT_MEMBERS_MAX)
        return;
    raft->ballots[self] = BALLOT_YES;
    count_votes(raft);
}

void
election_receive_request(struct raft *raft, const struct raft_msg *msg)
{
    const bool pre = msg->kind == RAFT_PRE_VOTE;
    ASSERT(msg->term >= raft->term);
    struct raft_msg answer = {
        .kind = pre ? RAFT_PRE_VOTE_RESP : RAFT_VOTE_RESP,
        .to = msg->from,
        .term = raft->term,
        .reject = true,
    };
    // A learner may vote: it may have been made a voter by a change that it has not applied.
    const bool free_to = raft->vote == msg->from ||
                         (raft->vote == RAFT_NODE_NONE && raft->lead == RAFT_NODE_NONE) ||
                         (pre && msg->term > raft->term);
    const uint64_t last_term = tail_last_term(&raft->tail);
    const bool newer = msg->log_term > last_term ||
                       (msg->log_term == last_term && msg->position >= tail_last(&raft->tail));
    if (free_to && newer) {
        answer.reject = false;
        answer.term = msg->term;
        if (!pre) {
            raft->election_elapsed = 0;
            raft->vote = msg->from;
        }
    }
    const uint32_t self = raft_self(raft);
    if (answer.reject &&
        (self == RAFT_MEMBERS_MAX || !member_votes(raft->group.members[self].roles))) {
        // Who asks may lack nothing but the news that we were removed, and our vote, which it will not get.
        answer.commit = raft->commit;
        answer.log_term = 0;
        (void)tail_term(&raft->tail, raft->commit, &answer.log_term);
    }
    output_hold(raft, answer);
}

// What a node that was removed says is committed: the same entry is here, so all before it is the same.
static void
learn_commit(struct raft *raft, const struct raft_msg *msg)
{
    uint64_t term;
    if (msg->reject && msg->commit > raft->commit && msg->log_term > 0 &&
        tail_term(&raft->tail, msg->commit, &term) && term == msg->log_term)
        raft->commit = msg->commit;
}

void
election_receive_answer(struct raft *raft, const struct raft_msg *msg)
{
    const bool pre = msg->kind == RAFT_PRE_VOTE_RESP;
    const uint32_t from = member_find(&raft->group, msg->from);
    if (raft->state != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE) || from == RAFT_MEMBERS_MAX)
        return;
    if (msg->term != raft->term + (pre && !msg->reject ? 1 : 0))
        return; // of an earlier election
    learn_commit(raft, msg);
    if (raft->ballots[from] == BALLOT_NONE)
        raft->ballots[from] = msg->reject ? BALLOT_NO : BALLOT_YES;
    count_votes(raft);
}

static void
count_votes(struct raft *raft)
{
    switch (quorum_vote(&raft->group, raft->ballots)) {
    case QUORUM_WON:
        if (!election_promotable(raft)) // it was removed meanwhile
            election_become_follower(raft, raft->term, RAFT_NODE_NONE);
        else if (raft->state == RAFT_PRE_CANDIDATE)
            begin(raft, CAMPAIGN_REAL);
        else
            become_leader(raft);
        break;
    case QUORUM_LOST: // the term of a pre-candidate is not that of its election
        election_become_follower(raft, raft->term, RAFT_NODE_NONE);
        break;
    case QUORUM_PENDING:
        break;
    }
}

void
election_become_follower(struct raft *raft, uint64_t term, uint64_t lead)
{
    const bool news = raft->state != RAFT_FOLLOWER || raft->term != term;
    reset(raft, term);
    raft->state = RAFT_FOLLOWER;
    raft->lead = lead;
    if (news)
        raft_note(raft, RAFT_NOTE_STATE, term, 0);
}

static void
become_leader(struct raft *raft)
{
    // Its entry commits what earlier terms left (5.4.2). Where there is no memory for it, another one shall lead.
    raft->hurries = 0;
    reset(raft, raft->term);
    raft->pending_change = bug(BUG_SINGLE_CHANGE_BUG) ? 0 : tail_last(&raft->tail);
    raft->state = RAFT_LEADER;
    raft->lead = raft->config.id;
    const uint32_t self = raft_self(raft);
    progress_replicate(&raft->progress[self]);
    raft->progress[self].recent_active = true;
    if (!replicate_own(raft, RAFT_ENTRY_NORMAL, (struct raft_entry){0})) {
        election_become_follower(raft, raft->term, RAFT_NODE_NONE);
        return;
    }
    raft_note(raft, RAFT_NOTE_STATE, raft->term, 0);
}

// How long a follower waits for a leader, or a candidate for votes. Where the leader is known to be gone there is nobody to be waited
// for, only others who campaign as well: as long as the news of one of them takes, and chance. A few times only: who can make no
// vote durable in so short a time needs the longer one.
static void
draw_timeout(struct raft *raft)
{
    raft->hurried = raft->hurries > 0;
    raft->hurries -= raft->hurried;
    const uint32_t least =
        raft->hurried ? raft->config.heartbeat_ticks : raft->config.election_ticks;
    raft->random_ticks = least + prng_below(&raft->prng, raft->config.election_ticks);
}

// Safety rests on no timeout, so it may be wrong; with leases reads rely on our remembering.
void
election_leader_gone(struct raft *raft, uint64_t leader)
{
    if (raft->state != RAFT_FOLLOWER || raft->lead != leader || leader == RAFT_NODE_NONE ||
        raft->config.reads != RAFT_READS_SAFE)
        return;
    raft->lead = RAFT_NODE_NONE;
    raft->election_elapsed = 0;
    raft->hurries = HURRIES_MAX;
    draw_timeout(raft);
}

void
election_leader_heard(struct raft *raft)
{
    raft->election_elapsed = 0;
    raft->hurries = 0;
    if (raft->hurried)
        draw_timeout(raft);
}

static void
reset(struct raft *raft, uint64_t term)
{
    ASSERT(term >= raft->term);
    if (raft->term != term) {
        raft->term = term;
        raft->vote = RAFT_NODE_NONE;
    }
    raft->lead = RAFT_NODE_NONE;
    raft->election_elapsed = raft->heartbeat_elapsed = 0;
    draw_timeout(raft);
    raft->transferee = RAFT_NODE_NONE;
    raft->pending_change = 0;
    raft->leave_due = false;
    raft->disk_ticks = 0;
    raft->uncommitted_bytes = 0;
    read_drop_all(raft);
    const uint32_t self = raft_self(raft);
    for (uint32_t i = 0; i < raft->group.count; i++) {
        progress_init(&raft->progress[i], tail_last(&raft->tail) + 1);
        raft->ballots[i] = BALLOT_NONE;
        if (i == self)
            raft->progress[i].match = raft->stable;
    }
}
