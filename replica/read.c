// replica/read.c -- strong reads: what was acknowledged before one began is in its answer.
//
//   READ --lease--> READ_APPLY --applied--> READ_SERVING --READ_DONE, and the lease still held--> answered
//   READ --no lease--> READ_CONFIRM --all of E promised nobody newer--> READ_APPLY ...
//   READ_SERVING --READ_DONE, the lease ran out while it read--> READ_CONFIRM
//
// Shape: machine.
//
// Under the lease nobody else can have been made primary, but only as long as it lasts: so it is looked at again after the shard
// was read (I10). Without it every copy of E is asked after the read arrived; one that would lead would have had to
// promise first.
#include "replica/replica_int.h"

// A transfer waits for no guard: from when it is proposed until its outcome is known somebody else may lead, and drop this copy
// while its node's lease goes on.
static bool
has_lease(const struct step *step)
{
    const struct replica *replica = step->replica;
    return (step->in->now_ns < replica->lease_until_ns &&
            replica->change.kind != REPLICA_CHANGE_TRANSFER) ||
           bug(BUG_LEASE_IGNORE);
}

void
read_begin(struct step *step)
{
    struct replica *replica = step->replica;
    omen_status status = OMEN_OK;
    if (replica->role == REPLICA_BACKUP)
        status = OMEN_E_STALE_MAP;
    else if (!replica_is_open(replica) || replica->reads_lost || replica->halted ||
             (replica->split.proposed && !bug(BUG_CUT_READ_ON)) ||
             replica->meta.in_sync_count < replica->meta.min_insync ||
             replica->read_count == REPLICA_READS_MAX)
        status = OMEN_E_BUSY;
    if (status != OMEN_OK) {
        answer(step, &(struct replica_answer){.request = step->in->request,
                                              .status = status,
                                              .outcome = REPLICA_FAILED});
        return;
    }
    replica->reads[replica->read_count++] =
        (struct replica_read){.request = step->in->request,
                              .seq = replica->commit_seq,
                              .round = replica->round + 1,
                              .state = has_lease(step) ? READ_APPLY : READ_CONFIRM,
                              .by_lease = has_lease(step)};
}

static void
read_drop(struct replica *replica, uint32_t at)
{
    for (uint32_t i = at + 1; i < replica->read_count; i++)
        replica->reads[i - 1] = replica->reads[i];
    replica->read_count--;
}

void
read_done(struct step *step)
{
    struct replica *replica = step->replica;
    for (uint32_t i = 0; i < replica->read_count; i++) {
        struct replica_read *read = &replica->reads[i];
        if (read->request != step->in->request || read->state != READ_SERVING)
            continue;
        if (replica->reads_lost)
            return; // it is answered so
        if (read->by_lease && !has_lease(step) && !bug(BUG_LEASE_NO_RECHECK)) {
            read->by_lease = false;
            read->state = READ_CONFIRM;
            read->round = replica->round + 1;
            return;
        }
        answer(step, &(struct replica_answer){.request = read->request,
                                              .status = OMEN_OK,
                                              .outcome = REPLICA_COMMITTED,
                                              .term = replica->promised,
                                              .seq = replica->applied_seq});
        read_drop(replica, i);
        return;
    }
}

static void
ask_all(struct step *step)
{
    struct replica *replica = step->replica;
    replica->confirm_ns = step->in->now_ns;
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        if (!primary_counts(replica, &replica->peers[i]))
            continue;
        msg_add(step, REPLICA_CONFIRM, replica->peers[i].uuid)->round = replica->round;
    }
}

// The newest round that everybody in E confirmed.
static uint64_t
confirmed(const struct replica *replica)
{
    uint64_t round = replica->round;
    for (uint32_t i = 0; i < replica->peer_count; i++)
        if (primary_counts(replica, &replica->peers[i]) && replica->peers[i].round < round)
            round = replica->peers[i].round;
    return round;
}

void
read_confirm_ack(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_peer *peer = peer_find(replica, msg->from);
    if (replica->role != REPLICA_PRIMARY || peer == NULL || msg->term != replica->promised ||
        msg->round > replica->round)
        return;
    if (msg->round > peer->round)
        peer->round = msg->round;
}

static void
answer_lost(struct step *step)
{
    struct replica *replica = step->replica;
    while (replica->read_count > 0 && step->out->answer_count < REPLICA_ANSWERS_MAX) {
        answer(step, &(struct replica_answer){.request = replica->reads[0].request,
                                              .status = OMEN_E_STALE_MAP,
                                              .outcome = REPLICA_FAILED});
        read_drop(replica, 0);
    }
    replica->reads_lost = replica->read_count > 0;
    step->again |= replica->reads_lost;
}

// One round at a time is under way; those who came later share the next.
void
read_advance(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->reads_lost)
        answer_lost(step);
    if (replica->role != REPLICA_PRIMARY)
        return;
    bool next = false;
    for (uint32_t i = 0; i < replica->read_count; i++)
        next |= replica->reads[i].state == READ_CONFIRM && replica->reads[i].round > replica->round;
    if (next && confirmed(replica) == replica->round) {
        replica->round++;
        ask_all(step);
    }
    const uint64_t round = confirmed(replica);
    for (uint32_t i = 0; i < replica->read_count; i++) {
        struct replica_read *read = &replica->reads[i];
        if (read->state == READ_CONFIRM && read->round <= round)
            read->state = READ_APPLY;
        if (read->state == READ_APPLY && read->seq <= replica->applied_seq) {
            read->state = READ_SERVING;
            step->out->serve_reads[step->out->serve_read_count++] = read->request;
        }
    }
}

void
read_timers(struct step *step)
{
    struct replica *replica = step->replica;
    if (replica->role != REPLICA_PRIMARY || confirmed(replica) == replica->round)
        return;
    if (step->in->now_ns >= replica->confirm_ns + replica->config.retry_ns)
        ask_all(step);
    wake_by(step, replica->confirm_ns + replica->config.retry_ns);
}
