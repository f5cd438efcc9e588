// tests/lib/replica_alone.h -- one copy of a shard, driven by hand: uuid 1; the others are 2 and 3, a learner is 4.
//
// Shape: shell.
#ifndef OMEN_TESTS_REPLICA_ALONE_H
#define OMEN_TESTS_REPLICA_ALONE_H
#include <string.h>

#include "replica/replica.h"

#define MS 1000000ull

struct alone {
    struct replica replica;
    struct replica_output out;
    uint64_t now_ns;
    struct replica_meta meta;
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
};

static inline struct replica_uuid
uuid_of(uint64_t number)
{
    return (struct replica_uuid){0, number};
}

static inline void
alone_step(struct alone *alone, struct replica_input in)
{
    in.now_ns = alone->now_ns;
    in.wall_ms = alone->now_ns / MS;
    replica_step(&alone->replica, &in, &alone->out);
    replica_check(&alone->replica);
}

static inline void
alone_meta(struct alone *alone, uint64_t term, uint64_t primary)
{
    alone->meta.cfg_ver++;
    alone->meta.term = term;
    alone->meta.primary = uuid_of(primary);
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_META, .meta = &alone->meta});
}

// In sync: 1, 2, 3; learner: 4; the log is empty.
static inline void
alone_open(struct alone *alone, uint64_t term, uint64_t primary)
{
    const struct replica_config config = {.uuid = uuid_of(1),
                                          .shard = 7,
                                          .boot = 5,
                                          .retry_ns = 20 * MS,
                                          .shrink_ns = 200 * MS,
                                          .idle_ns = 10 * MS,
                                          .ops_max = 64,
                                          .terms_max = REPLICA_TERMS_MAX,
                                          .window_ms = DEDUPE_WINDOW_MS};
    const struct replica_disk disk = {.first_seq = 1};
    memset(alone, 0, sizeof *alone);
    alone->now_ns = 1000 * MS;
    alone->meta = (struct replica_meta){.in_sync = {uuid_of(1), uuid_of(2), uuid_of(3)},
                                        .learners = {uuid_of(4)},
                                        .in_sync_count = 3,
                                        .learner_count = 1,
                                        .min_insync = 2};
    replica_init(&alone->replica, &config, 1);
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_START, .disk = &disk});
    alone_meta(alone, term, primary);
}

// The process ended, and another begins with what is on the disk.
static inline void
alone_restart(struct alone *alone, const struct replica_disk *disk)
{
    const struct replica_config config = alone->replica.config;
    replica_fini(&alone->replica);
    replica_init(&alone->replica, &config, 1);
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_START, .disk = disk});
}

static inline void
alone_persisted(struct alone *alone)
{
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_PERSISTED,
                                             .ticket = alone->replica.tickets_made});
}

static inline void
alone_message(struct alone *alone, struct replica_msg msg)
{
    msg.to = uuid_of(1);
    msg.shard = 7;
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &msg});
}

static inline void
alone_ack(struct alone *alone, uint64_t from, uint64_t seq)
{
    alone_message(alone, (struct replica_msg){.kind = REPLICA_ACK,
                                              .from = uuid_of(from),
                                              .term = alone->replica.promised,
                                              .seq = seq,
                                              .prev_seq = seq});
}

static inline void
alone_applied(struct alone *alone)
{
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_APPLIED,
                                             .seq = alone->replica.applying_seq});
}

// `count` entries of `entry_term` behind prev, from `from` as primary of `term`.
static inline void
alone_append(struct alone *alone, uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
             uint64_t entry_term, uint32_t count, uint64_t commit)
{
    for (uint32_t i = 0; i < count; i++)
        alone->entries[i] = (struct replica_entry){.seq = prev + i + 1,
                                                   .term = entry_term,
                                                   .kind = REPLICA_ENTRY_OP,
                                                   .op_id = {entry_term, prev + i + 1}};
    alone_message(alone, (struct replica_msg){.kind = REPLICA_APPEND,
                                              .from = uuid_of(from),
                                              .term = term,
                                              .prev_seq = prev,
                                              .prev_term = prev_term,
                                              .commit = commit,
                                              .entries = alone->entries,
                                              .entry_count = count});
}

// Each is drawn a millisecond after the one before it; the first when alone_open was called.
static inline struct replica_uuid
alone_op(uint64_t op)
{
    const struct opid id = opid_draw(1000 + op, (struct opid){0, op});
    return (struct replica_uuid){id.high, id.low};
}

static inline void
alone_propose(struct alone *alone, uint64_t request, uint64_t op)
{
    const struct replica_proposal proposal = {.request = request, .op_id = alone_op(op)};
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_PROPOSE,
                                             .proposals = &proposal,
                                             .proposal_count = 1,
                                             .cfg_ver = alone->replica.meta.cfg_ver});
}

// Primary of term 1, open, everybody has TERM_START at 1.
static inline void
alone_lead(struct alone *alone)
{
    alone_open(alone, 1, 1);
    alone_persisted(alone);
    alone_ack(alone, 2, 1);
    alone_ack(alone, 3, 1);
    alone_applied(alone);
}

static inline const struct replica_msg *
alone_sent(const struct alone *alone, enum replica_msg_kind kind)
{
    for (uint32_t i = 0; i < alone->out.msg_count; i++)
        if (alone->out.msgs[i].kind == kind)
            return &alone->out.msgs[i];
    return NULL;
}

static inline void
alone_read(struct alone *alone, uint64_t request)
{
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_READ, .request = request});
}

static inline void
alone_read_done(struct alone *alone, uint64_t request)
{
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_READ_DONE, .request = request});
}

static inline void
alone_wait(struct alone *alone, uint64_t ns)
{
    alone->now_ns += ns;
    alone_step(alone, (struct replica_input){.kind = REPLICA_IN_WAKE});
}

#endif
