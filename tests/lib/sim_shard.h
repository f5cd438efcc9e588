// tests/lib/sim_shard.h -- a model of a shard on a disk that forgets: its log, what was applied of it, its snapshots.
//
// Shape: value; on the heap.
//
// A row is an entry of the log. All of them stay in memory; those below first_seq count as trimmed. What is applied is a table of
// keys: of each the newest write, an erased one too. Transactions become durable in their order; a crash loses some last
// ones, and some of the applying. A snapshot is the rows as bytes, in chunks.
#ifndef OMEN_TESTS_SIM_SHARD_H
#define OMEN_TESTS_SIM_SHARD_H
#include "base/hash.h"
#include "node/copies.h"
#include "tests/lib/sim_disk.h"

#define SIM_SHARD_KEYS 4u
#define SIM_CHUNK_BYTES 4096u
#define SIM_PAYLOAD_BYTES 16u // key, whether it erases, number of the write

struct sim_row {
    uint64_t term, stamp_ms;
    struct replica_uuid op_id;
    uint32_t kind, byte_count;
    uint8_t bytes[SIM_PAYLOAD_BYTES];
};

struct sim_cell { // of a key
    uint64_t seq, op;
    bool erased;
};

struct sim_ticket {
    uint64_t ticket, promised, commit_seq, truncate_seq;
    bool truncate;
    uint64_t first_seq; // of the rows that it appends
    uint32_t count;
    struct sim_row *rows;
};

struct sim_env {
    bool used, unmade;   // unmade: the environment itself is not durable yet
    uint64_t serial;     // another with every crash
    uint64_t shrunk_cfg; // that a copy was to leave
    uint64_t last_done_ns;
    struct copies_env env;
    uint64_t promised, commit_seq, first_seq, last_seq, applied_seq;
    uint64_t applied_durable; // no crash takes it below
    struct sim_row *rows;     // [row_room], by seq; the durable ones
    struct sim_row *log;      // the same with what is on its way
    uint64_t row_room;
    struct sim_cell cells[SIM_SHARD_KEYS]; // as applied
    uint64_t sum;                          // of what was applied, in its order
    struct sim_ticket *tickets;            // [REPLICA_TICKETS_MAX]
    uint32_t ticket_count;
    uint8_t *snapshot, *staged; // that it serves, and that it gets
    size_t snapshot_bytes, staged_bytes;
    uint64_t snapshot_id, snapshot_seq;
};

static inline void
sim_env_init(struct sim_env *env, const struct copies_env *made)
{
    *env = (struct sim_env){.used = true, .env = *made, .first_seq = 1, .row_room = 256};
    env->rows = calloc(env->row_room, sizeof *env->rows);
    env->log = calloc(env->row_room, sizeof *env->log);
    env->tickets = calloc(REPLICA_TICKETS_MAX, sizeof *env->tickets);
    ASSERT(env->rows != NULL && env->log != NULL && env->tickets != NULL);
}

static inline void
sim_env_fini(struct sim_env *env)
{
    for (uint32_t i = 0; i < env->ticket_count; i++)
        free(env->tickets[i].rows);
    free(env->tickets);
    free(env->rows);
    free(env->log);
    free(env->snapshot);
    free(env->staged);
    *env = (struct sim_env){0};
}

static inline void
sim_env_reserve(struct sim_env *env, uint64_t last_seq)
{
    if (last_seq < env->row_room)
        return;
    const uint64_t room = last_seq * 2;
    env->rows = realloc(env->rows, room * sizeof *env->rows);
    env->log = realloc(env->log, room * sizeof *env->log);
    ASSERT(env->rows != NULL && env->log != NULL);
    memset(env->rows + env->row_room, 0, (room - env->row_room) * sizeof *env->rows);
    memset(env->log + env->row_room, 0, (room - env->row_room) * sizeof *env->log);
    env->row_room = room;
}

static inline struct sim_row
sim_row_of(const struct replica_entry *entry)
{
    struct sim_row row;
    memset(&row, 0, sizeof row); // snapshots are bytes of it
    row.term = entry->term;
    row.stamp_ms = entry->stamp_ms;
    row.op_id = entry->op_id;
    row.kind = entry->kind;
    row.byte_count = entry->byte_count;
    ASSERT(entry->byte_count <= SIM_PAYLOAD_BYTES);
    if (entry->byte_count > 0)
        memcpy(row.bytes, entry->bytes, entry->byte_count);
    return row;
}

static inline struct replica_entry
sim_entry_of(const struct sim_row *row, uint64_t seq)
{
    return (struct replica_entry){.seq = seq,
                                  .term = row->term,
                                  .stamp_ms = row->stamp_ms,
                                  .kind = (enum replica_entry_kind)row->kind,
                                  .byte_count = row->byte_count,
                                  .op_id = row->op_id,
                                  .bytes = row->bytes};
}

// What out says of step 1. False: nothing.
static inline bool
sim_env_write(struct sim_env *env, const struct replica_output *out)
{
    if (out->ticket == 0)
        return false;
    ASSERT(env->ticket_count < REPLICA_TICKETS_MAX);
    struct sim_ticket *ticket = &env->tickets[env->ticket_count++];
    *ticket = (struct sim_ticket){.ticket = out->ticket,
                                  .promised = out->promised,
                                  .commit_seq = out->commit_seq,
                                  .truncate = out->truncate,
                                  .truncate_seq = out->truncate_seq,
                                  .count = out->append_count};
    ticket->rows = calloc(out->append_count + 1, sizeof *ticket->rows);
    ASSERT(ticket->rows != NULL);
    for (uint32_t i = 0; i < out->append_count; i++) {
        ticket->rows[i] = sim_row_of(&out->append[i]);
        sim_env_reserve(env, out->append[i].seq);
        env->log[out->append[i].seq] = ticket->rows[i];
    }
    ticket->first_seq = out->append_count > 0 ? out->append[0].seq : 0;
    return true;
}

// The first one on its way is durable; answers its ticket.
static inline uint64_t
sim_env_sync(struct sim_env *env)
{
    ASSERT(env->ticket_count > 0);
    const struct sim_ticket ticket = env->tickets[0];
    env->promised = ticket.promised;
    env->commit_seq = ticket.commit_seq;
    if (ticket.truncate)
        env->last_seq = ticket.truncate_seq;
    for (uint32_t i = 0; i < ticket.count; i++) {
        env->rows[ticket.first_seq + i] = ticket.rows[i];
        env->last_seq = ticket.first_seq + i;
    }
    if (env->commit_seq > env->last_seq)
        env->commit_seq = env->last_seq;
    free(ticket.rows);
    memmove(env->tickets, env->tickets + 1, --env->ticket_count * sizeof *env->tickets);
    return ticket.ticket;
}

static inline void
sim_env_apply_row(struct sim_env *env, uint64_t seq)
{
    const struct sim_row *row = &env->log[seq];
    env->sum = mix64(env->sum ^ hash_bytes(row->bytes, row->byte_count) ^ row->op_id.low) + seq;
    env->applied_seq = seq;
    if (row->kind != REPLICA_ENTRY_OP)
        return;
    uint64_t op;
    memcpy(&op, row->bytes + 8, sizeof op);
    ASSERT(row->bytes[0] < SIM_SHARD_KEYS);
    env->cells[row->bytes[0]] = (struct sim_cell){seq, op, row->bytes[1] != 0};
}

static inline void
sim_env_replay(struct sim_env *env, uint64_t through)
{
    env->sum = env->applied_seq = 0;
    memset(env->cells, 0, sizeof env->cells);
    for (uint64_t seq = 1; seq <= through; seq++)
        sim_env_apply_row(env, seq);
}

// The first `kept` of what is on its way became durable; what was applied goes back to `applied`.
static inline void
sim_env_crash(struct sim_env *env, uint32_t kept, uint64_t applied)
{
    while (kept-- > 0)
        sim_env_sync(env);
    while (env->ticket_count > 0)
        free(env->tickets[--env->ticket_count].rows);
    memcpy(env->log, env->rows, env->row_room * sizeof *env->log);
    sim_env_replay(env, applied);
    env->staged_bytes = 0;
    env->snapshot_id = 0;
}

// What a start finds. The caller frees terms and ops.
static inline struct replica_disk
sim_env_read(const struct sim_env *env)
{
    struct replica_disk disk = {.promised = env->promised,
                                .first_seq = env->first_seq,
                                .last_seq = env->last_seq,
                                .commit_seq = env->commit_seq > env->applied_seq ? env->commit_seq
                                                                                 : env->applied_seq,
                                .applied_seq = env->applied_seq};
    struct replica_term *terms = calloc(env->last_seq + 1, sizeof *terms);
    struct dedupe_op *ops = calloc(env->last_seq + 1, sizeof *ops);
    ASSERT(terms != NULL && ops != NULL);
    for (uint64_t seq = 1; seq <= env->last_seq; seq++) {
        const struct sim_row *row = &env->rows[seq];
        if (seq + 1 >= env->first_seq &&
            (disk.term_count == 0 || terms[disk.term_count - 1].term != row->term))
            terms[disk.term_count++] = (struct replica_term){row->term, seq};
        if (!replica_uuid_is_none(row->op_id))
            ops[disk.op_count++] = (struct dedupe_op){row->op_id, seq, row->stamp_ms};
        disk.stamp_ms = row->stamp_ms;
    }
    disk.terms = terms;
    disk.ops = ops;
    return disk;
}

// ---- snapshots ----

static inline void
sim_env_make_snapshot(struct sim_env *env)
{
    if (env->snapshot_id != 0 && env->snapshot_seq + 1 >= env->first_seq)
        return; // still good
    env->snapshot_seq = env->applied_seq;
    env->snapshot_id = env->applied_seq;
    env->snapshot_bytes = env->applied_seq * sizeof *env->log;
    free(env->snapshot);
    env->snapshot = sim_copy(env->log + 1, env->snapshot_bytes);
}

static inline uint32_t
sim_env_chunks(const struct sim_env *env)
{
    return (uint32_t)((env->snapshot_bytes + SIM_CHUNK_BYTES - 1) / SIM_CHUNK_BYTES);
}

static inline void
sim_env_store(struct sim_env *env, const struct replica_serve *serve)
{
    if (serve->chunk == 0)
        env->staged_bytes = 0;
    ASSERT(env->staged_bytes == (size_t)serve->chunk * SIM_CHUNK_BYTES);
    env->staged = realloc(env->staged, env->staged_bytes + serve->byte_count);
    ASSERT(env->staged != NULL);
    memcpy(env->staged + env->staged_bytes, serve->bytes, serve->byte_count);
    env->staged_bytes += serve->byte_count;
}

// What was staged is the shard from now on, under this copy's own name and promise. False: it is not the whole.
static inline bool
sim_env_install(struct sim_env *env, uint64_t seq)
{
    if (env->staged_bytes != seq * sizeof *env->rows)
        return false;
    ASSERT(env->ticket_count == 0);
    sim_env_reserve(env, seq);
    memcpy(env->rows + 1, env->staged, env->staged_bytes);
    memcpy(env->log + 1, env->staged, env->staged_bytes);
    env->last_seq = env->commit_seq = env->applied_durable = seq;
    env->first_seq = seq + 1;
    env->staged_bytes = 0;
    env->snapshot_id = 0;
    sim_env_replay(env, seq);
    return true;
}

#endif
