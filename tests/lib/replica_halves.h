// tests/lib/replica_halves.h -- a primary whose shard is split, driven by hand: children 71 (copies 11, 12) and 72 (21, 22).
//
// Shape: shell.
#ifndef OMEN_TESTS_REPLICA_HALVES_H
#define OMEN_TESTS_REPLICA_HALVES_H
#include "tests/lib/replica_alone.h"

#define HALVES_FIRST 71u

// Who of each child is in sync, and who is learning.
static inline struct replica_child
halves_child(uint64_t shard, uint32_t in_sync)
{
    struct replica_child child = {.shard = shard, .cfg_ver = 5};
    for (uint32_t i = 0; i < 2; i++) {
        const struct replica_uuid uuid = uuid_of((shard - HALVES_FIRST + 1) * 10 + i + 1);
        if (i < in_sync)
            child.in_sync[child.in_sync_count++] = uuid;
        else
            child.learners[child.learner_count++] = uuid;
    }
    return child;
}

// The primary of alone_lead, with `in_sync` copies of each child in sync.
static inline void
halves_open(struct alone *alone, uint32_t in_sync)
{
    alone_lead(alone);
    alone->meta.child_count = REPLICA_CHILDREN;
    for (uint32_t c = 0; c < REPLICA_CHILDREN; c++)
        alone->meta.children[c] = halves_child(HALVES_FIRST + c, in_sync);
    alone_meta(alone, 1, 1);
}

// Metadata that only the children changed.
static inline void
halves_meta(struct alone *alone)
{
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_META, .meta = &alone->meta});
}

static inline void
halves_message(struct alone *alone, uint64_t from, struct replica_msg msg)
{
    msg.from = uuid_of(from);
    msg.to = uuid_of(1);
    msg.shard = HALVES_FIRST + from / 10 - 1;
    msg.term = alone->replica.promised;
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &msg});
}

static inline void
halves_ack(struct alone *alone, uint64_t from, uint64_t seq)
{
    halves_message(alone, from,
                   (struct replica_msg){.kind = REPLICA_ACK, .seq = seq, .prev_seq = seq});
}

static inline void
halves_ack_all(struct alone *alone, uint64_t seq)
{
    static const uint64_t copies[] = {11, 12, 21, 22};
    for (uint32_t i = 0; i < sizeof copies / sizeof *copies; i++)
        halves_ack(alone, copies[i], seq);
}

static inline void
halves_root(struct alone *alone, uint64_t from, uint64_t sum)
{
    const struct replica_msg root = {
        .kind = REPLICA_ROOT, .seq = alone->replica.split.check_seq, .sum = {sum, sum}};
    halves_message(alone, from, root);
}

// The CHECKSUM before a cut is everywhere, and this shard's own copies say that they hold 9.
static inline void
halves_vote(struct alone *alone)
{
    const uint64_t seq = alone->replica.last_seq;
    alone_persisted(alone);
    alone_ack(alone, 2, seq);
    alone_ack(alone, 3, seq);
    halves_ack_all(alone, seq);
    alone_applied(alone);
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_ROOT, .seq = seq, .sum = {9, 9}});
    for (uint64_t copy = 2; copy <= 3; copy++)
        alone_message(alone, (struct replica_msg){.kind = REPLICA_ROOT,
                                                  .from = uuid_of(copy),
                                                  .term = alone->replica.promised,
                                                  .seq = seq,
                                                  .sum = {9, 9}});
}

// All that is needed for a cut, behind a place that everybody has; what is proposed then is in alone->out.
static inline void
halves_compare(struct alone *alone, uint64_t low, uint64_t high)
{
    halves_vote(alone);
    halves_root(alone, 11, low);
    halves_root(alone, 12, low);
    halves_root(alone, 21, high);
    halves_root(alone, 22, high);
}

static inline bool
halves_wants(const struct alone *alone, enum replica_change_kind kind)
{
    return alone->out.change.kind == kind;
}

#endif
