// replica/log.c -- what is known of the log without reading it, and what is on its way to the disk.
//
// Shape: machine.
//
// Of the entries only the terms are known, as the places where each began. Changes go to the disk in the order of their tickets;
// `durable_*` is what came back. Cutting the log off makes the tickets under way worth less, so that none of them can
// later vouch for entries that are not there any more.
#include "base/assert.h"
#include "replica/replica_int.h"

static uint64_t
less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool
log_knows(const struct replica *replica, uint64_t seq)
{
    return seq == 0 || terms_of(&replica->terms, seq) != 0;
}

uint64_t
replica_term_at(const struct replica *replica, uint64_t seq)
{
    return seq <= replica->last_seq ? terms_of(&replica->terms, seq) : 0;
}

bool
replica_can_follow(const struct replica *replica, uint64_t seq)
{
    return seq + 1 >= replica->first_seq && replica_term_at(replica, seq) != 0;
}

bool
persist_room(const struct replica *replica)
{
    return replica->ticket_count < REPLICA_TICKETS_MAX;
}

void
persist(struct step *step)
{
    struct replica *replica = step->replica;
    if (!step->dirty)
        return;
    ASSERT(persist_room(replica));
    const uint32_t at =
        (replica->ticket_first + replica->ticket_count++) % (uint32_t)REPLICA_TICKETS_MAX;
    replica->tickets[at] =
        (struct replica_ticket){++replica->tickets_made, replica->last_seq, replica->promised};
    step->out->ticket = replica->tickets_made;
    step->out->promised = replica->promised;
    step->out->commit_seq = replica->commit_seq;
}

void
persist_done(struct replica *replica, uint64_t ticket)
{
    while (replica->ticket_count > 0) {
        const struct replica_ticket *oldest = &replica->tickets[replica->ticket_first];
        if (oldest->number > ticket)
            break;
        if (oldest->last_seq > replica->durable_seq)
            replica->durable_seq = oldest->last_seq;
        replica->durable_promised = oldest->promised;
        replica->ticket_first = (replica->ticket_first + 1) % REPLICA_TICKETS_MAX;
        replica->ticket_count--;
    }
}

static void
term_began(struct replica *replica, uint64_t term, uint64_t seq)
{
    if (!terms_begin(&replica->terms, (struct replica_term){term, seq}, replica->config.terms_max,
                     replica->applied_seq))
        replica->counters.no_memory++;
}

// Room for the operations was reserved.
void
log_append(struct step *step, const struct replica_entry *entries, uint32_t count)
{
    struct replica *replica = step->replica;
    ASSERT(count > 0 && step->out->append == NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct replica_entry *entry = &entries[i];
        ASSERT(entry->seq == replica->last_seq + 1);
        term_began(replica, entry->term, entry->seq);
        replica->last_seq = entry->seq;
        if (entry->stamp_ms > replica->stamp_ms)
            replica->stamp_ms = entry->stamp_ms;
        if (!replica_uuid_is_none(entry->op_id))
            dedupe_add(&replica->ops,
                       &(struct dedupe_op){entry->op_id, entry->seq, entry->stamp_ms});
    }
    step->out->append = entries;
    step->out->append_count = count;
    step->dirty = true;
}

// I4: what is committed stays.
void
log_truncate(struct step *step, uint64_t seq)
{
    struct replica *replica = step->replica;
    ASSERT(seq >= replica->commit_seq);
    ASSERT(seq < replica->last_seq && step->out->append == NULL);
    replica->last_seq = seq;
    replica->durable_seq = less(replica->durable_seq, seq);
    replica->found_seq = less(replica->found_seq, seq);
    replica->agreed_seq = less(replica->agreed_seq, seq);
    for (uint32_t i = 0; i < replica->ticket_count; i++) {
        struct replica_ticket *ticket =
            &replica->tickets[(replica->ticket_first + i) % REPLICA_TICKETS_MAX];
        ticket->last_seq = less(ticket->last_seq, seq);
    }
    terms_cut(&replica->terms, seq);
    dedupe_cut(&replica->ops, seq);
    step->out->truncate = true;
    step->out->truncate_seq = seq;
    step->dirty = true;
}

// What the disk has, and so is durable. Its own asserts: these bytes were checked by who read them.
void
log_load(struct step *step, const struct replica_disk *disk)
{
    struct replica *replica = step->replica;
    ASSERT(disk->applied_seq <= disk->commit_seq && disk->commit_seq <= disk->last_seq);
    ASSERT(disk->first_seq >= 1 && disk->first_seq <= disk->last_seq + 1);
    replica->first_seq = disk->first_seq;
    replica->last_seq = replica->durable_seq = replica->found_seq = disk->last_seq;
    replica->commit_seq = disk->commit_seq;
    replica->applying_seq = replica->applied_seq = disk->applied_seq;
    replica->stamp_ms = disk->stamp_ms;
    replica->agreed_seq = 0;
    terms_fini(&replica->terms);
    for (uint32_t i = 0; i < disk->term_count; i++)
        term_began(replica, disk->terms[i].term, disk->terms[i].first_seq);
    const struct dedupe_kept kept = {.ops = disk->ops,
                                     .count = disk->op_count,
                                     .whole = disk->first_seq == 1,
                                     .commit = disk->commit_seq,
                                     .stamp_ms = disk->stamp_ms,
                                     .forgot_ms = disk->forgot_ms,
                                     .now_ms = step->in->wall_ms};
    replica->ops_short =
        dedupe_load(&replica->ops, &kept) != OMEN_OK; // which keeps it from leading
    replica->counters.no_memory += replica->ops_short;
}

void
promise(struct step *step, uint64_t term)
{
    struct replica *replica = step->replica;
    ASSERT(term > replica->promised);
    primary_end(step);
    replica->promised = term;
    replica->leader = (struct replica_uuid){0, 0};
    replica->agreed_seq = 0;
    step->dirty = true;
}

void
commit_to(struct step *step, uint64_t seq)
{
    struct replica *replica = step->replica;
    ASSERT(seq <= replica->last_seq);
    if (seq <= replica->commit_seq)
        return;
    replica->commit_seq = seq;
    dedupe_expire(&replica->ops, seq, replica->stamp_ms);
}

// I7: only what is committed, and durable here: the applied state must not know more than the log.
void
apply_more(struct step *step)
{
    struct replica *replica = step->replica;
    uint64_t limit = less(replica->commit_seq, replica->durable_seq);
    if (bug(BUG_APPLY_UNCOMMITTED))
        limit = replica->durable_seq;
    if (replica->download.installing || replica->applying_seq >= limit)
        return;
    step->out->apply_first = replica->applying_seq + 1;
    step->out->apply_last = limit;
    replica->applying_seq = limit;
}
