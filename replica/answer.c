// replica/answer.c -- what clients are told, and when.
//
// Shape: machine.
#include "base/assert.h"
#include "replica/replica_int.h"

// Refusals of one step always fit: they are at most REPLICA_ENTRIES_MAX, and come first.
void
answer(struct step *step, const struct replica_answer *given)
{
    ASSERT(step->out->answer_count < REPLICA_ANSWERS_MAX);
    step->out->answers[step->out->answer_count++] = *given;
}

void
wait_add(struct replica *replica, const struct replica_wait *wait)
{
    ASSERT(replica->wait_count < REPLICA_WAITS_MAX);
    uint32_t at = replica->wait_count++;
    for (; at > 0 && replica->waits[at - 1].seq > wait->seq; at--)
        replica->waits[at] = replica->waits[at - 1];
    replica->waits[at] = *wait;
}

// Whether it is time, and what it is told.
static bool
is_due(const struct replica *replica, const struct replica_wait *wait, struct replica_answer *out)
{
    *out = (struct replica_answer){.request = wait->request, .seq = wait->seq};
    out->term = replica_term_at(replica, wait->seq);
    if (replica->waits_lost) {
        out->status = OMEN_E_TIMEOUT;
        out->outcome = REPLICA_FAILED;
        return true;
    }
    if (wait->seq <= replica->applied_seq) {
        out->outcome = REPLICA_COMMITTED;
        return true;
    }
    out->outcome = REPLICA_NOT_REPLICATED;
    return wait->primary_only && wait->seq <= replica->durable_seq;
}

void
answers_advance(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_answer due;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < replica->wait_count; i++) {
        const bool is = is_due(replica, &replica->waits[i], &due);
        if (is && step->out->answer_count < REPLICA_ANSWERS_MAX) {
            answer(step, &due);
            continue;
        }
        if (is)
            step->again = true;
        replica->waits[kept++] = replica->waits[i];
    }
    replica->wait_count = kept;
    if (kept == 0)
        replica->waits_lost = false;
}
