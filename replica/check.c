// replica/check.c -- the invariants of one copy, those between copies, and one line that says what a copy is.
//
// Shape: machine.
#include "base/assert.h"
#include "base/text.h"
#include "replica/replica_int.h"

static void
check_log(const struct replica *replica)
{
    ASSERT(replica->durable_seq <= replica->last_seq);
    ASSERT(replica->applied_seq <= replica->applying_seq);
    ASSERT(replica->found_seq <= replica->durable_seq);
    ASSERT(replica->applying_seq <= replica->commit_seq); // I7
    ASSERT(replica->commit_seq <= replica->last_seq);     // I4
    ASSERT(replica->first_seq >= 1 && replica->first_seq <= replica->last_seq + 1);
    ASSERT(replica->durable_promised <= replica->promised); // I5
    const struct replica_term *terms = terms_all(&replica->terms);
    for (uint32_t i = 0; i < replica->terms.count; i++) {
        ASSERT(terms[i].first_seq <= replica->last_seq);
        ASSERT(terms[i].term <= replica->promised);
        ASSERT(i == 0 ||
               (terms[i - 1].term < terms[i].term && terms[i - 1].first_seq < terms[i].first_seq));
    }
    for (uint32_t i = 0; i < replica->ticket_count; i++)
        ASSERT(replica->tickets[(replica->ticket_first + i) % REPLICA_TICKETS_MAX].last_seq <=
               replica->last_seq);
}

static void
check_peers(const struct replica *replica)
{
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        ASSERT(peer->match <= replica->last_seq);
        ASSERT(peer->next > peer->match && peer->next <= replica->last_seq + 1);
        ASSERT(!(peer->in_sync && peer->pending));
        ASSERT(!peer->add_proposed || peer->pending); // I9
        ASSERT(peer->child == 0 || (!peer->pending && child_of(&replica->meta, peer->uuid)));
        ASSERT(peer->in_sync == (peer->child == 0
                                     ? meta_in_sync(&replica->meta, peer->uuid) // I8, I9
                                     : !child_learner(&replica->meta, peer->uuid)));
        ASSERT(!replica_uuid_equal(peer->uuid, replica->config.uuid));
    }
}

static void
check_primary(const struct replica *replica)
{
    ASSERT(replica->meta.term == replica->promised); // I1: the metadata have one primary of a term
    ASSERT(replica_uuid_equal(replica->meta.primary, replica->config.uuid));
    ASSERT(replica->role == REPLICA_OPENING || replica->durable_promised == replica->promised);
    ASSERT(replica->start_seq <= replica->last_seq);
    ASSERT(replica->change.kind == REPLICA_CHANGE_NONE ||
           replica->change.cfg_ver == replica->meta.cfg_ver);     // I11
    ASSERT(!replica->split.proposed || (replica->split.stopped && // and so nothing came behind it
                                        replica->split.change.seq == replica->last_seq));
    check_peers(replica);
}

void
replica_check(const struct replica *replica)
{
    check_log(replica);
    ASSERT(replica->agreed_seq <= replica->last_seq);
    ASSERT(replica->wait_count <= REPLICA_WAITS_MAX && replica->read_count <= REPLICA_READS_MAX);
    for (uint32_t i = 1; i < replica->wait_count; i++)
        ASSERT(replica->waits[i - 1].seq <= replica->waits[i].seq);
    if (replica->role == REPLICA_PRIMARY || replica->role == REPLICA_OPENING)
        check_primary(replica);
    else
        ASSERT(replica->peer_count == 0 && replica->change.kind == REPLICA_CHANGE_NONE);
    ASSERT(!replica->download.installing || replica->role == REPLICA_BACKUP);
    dedupe_check(&replica->ops);
}

// ---- between copies ----
static const char *
check_pair(const struct replica *a, const struct replica *b)
{
    const bool both_lead = a->role == REPLICA_PRIMARY && b->role == REPLICA_PRIMARY;
    if (both_lead && a->promised == b->promised)
        return "I1: two primaries of one term";
    const uint64_t top = a->last_seq < b->last_seq ? a->last_seq : b->last_seq;
    bool agree = false; // at some place above: then everywhere below
    for (uint64_t seq = top; seq > 0; seq--) {
        if (!log_knows(a, seq) || !log_knows(b, seq))
            break;
        const bool same = replica_term_at(a, seq) == replica_term_at(b, seq);
        if (agree && !same)
            return "I3: logs agree at a place and not below it";
        if (!same && seq <= a->commit_seq && seq <= b->commit_seq)
            return "I4: two committed entries at one place";
        agree |= same;
    }
    return NULL;
}

const char *
replicas_check_logs(const struct replica *const *replicas, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++) {
            const char *broken = check_pair(replicas[i], replicas[j]);
            if (broken != NULL)
                return broken;
        }
    return NULL;
}

const char *
replicas_check_acked(const struct replica *const *replicas, uint32_t count,
                     const struct replica_meta *meta, uint64_t seq, uint64_t term)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct replica *replica = replicas[i];
        if (!meta_in_sync(meta, replica->config.uuid) || !log_knows(replica, seq))
            continue;
        if (replica_term_at(replica, seq) != term)
            return "I2: an acknowledged entry is missing on a copy in sync";
    }
    return NULL;
}

// ---- the line ----
static void
describe_peers(const struct replica *replica, struct text *text)
{
    static const char *const states[] = {"probe", "stream", "snapshot"};
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        text_add(text, " %llx:%s%s%s%s=%llu/%llu", (unsigned long long)peer->uuid.low,
                 states[peer->state], peer->in_sync ? "+" : "", peer->pending ? "?" : "",
                 peer->diverged ? "!" : "", (unsigned long long)peer->match,
                 (unsigned long long)(peer->next - 1));
    }
}

void
replica_describe(const struct replica *replica, char *line, size_t cap)
{
    static const char *const roles[] = {"idle", "backup", "opening", "primary"};
    static const char *const changes[] = {"", "add", "remove", "transfer", "cut", "abort", "lost"};
    struct text text;
    text_init(&text, line, cap);
    text_add(&text,
             "%llx %s%s cfg=%llu promised=%llu/%llu log=%llu..%llu@%llu durable=%llu commit=%llu "
             "applied=%llu",
             (unsigned long long)replica->config.uuid.low, replica_is_open(replica) ? "open " : "",
             roles[replica->role], (unsigned long long)replica->meta.cfg_ver,
             (unsigned long long)replica->durable_promised, (unsigned long long)replica->promised,
             (unsigned long long)replica->first_seq, (unsigned long long)replica->last_seq,
             (unsigned long long)replica_term_at(replica, replica->last_seq),
             (unsigned long long)replica->durable_seq, (unsigned long long)replica->commit_seq,
             (unsigned long long)replica->applied_seq);
    describe_peers(replica, &text);
    if (replica->change.kind != REPLICA_CHANGE_NONE)
        text_add(&text, " %s(%llx)@%llu", changes[replica->change.kind],
                 (unsigned long long)replica->change.uuid.low,
                 (unsigned long long)replica->change.cfg_ver);
    if (replica->wait_count + replica->read_count > 0)
        text_add(&text, " waits=%u reads=%u", replica->wait_count, replica->read_count);
    if (replica->halted)
        text_add(&text, " halted");
    if (replica->rotten)
        text_add(&text, " rotten");
    if (replica->download.active)
        text_add(&text, " download=%u/%u", replica->download.chunk, replica->download.chunk_count);
}
