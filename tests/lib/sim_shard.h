// tests/lib/sim_shard.h -- a model of a shard on a disk that forgets: its log, what was applied of it, its snapshots.
//
// Shape: value; on the heap.
//
// A row is an entry of the log. All of them stay in memory; those below first_seq count as trimmed. What is applied is a table
// (tests/lib/sim_table.h) of the keys that the shard answers for: a child that is filled has all of its parent's log, and
// half of its table. Transactions become durable in their order; a crash loses some last ones, and some of the applying.
// A snapshot is the table and the rows as bytes, in chunks.
#ifndef OMEN_TESTS_SIM_SHARD_H
#define OMEN_TESTS_SIM_SHARD_H
#include "base/hash.h"
#include "node/copies.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/sim_rot.h"

#define SIM_CHUNK_BYTES 4096u
// Keys by bits, whether it erases, of which shard; number of the write.
#define SIM_PAYLOAD_BYTES 16u

struct sim_row {
    uint64_t term, stamp_ms;
    struct replica_uuid op_id;
    uint32_t kind, byte_count;
    uint8_t bytes[SIM_PAYLOAD_BYTES];
};

// The number of the operation, which its id has for chance; 0: none.
static inline uint64_t
sim_row_op(const struct sim_row *row)
{
    return row->op_id.low & UINT64_MAX >> 2;
}

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
    struct sim_range range;
    struct sim_table table;     // as applied
    struct sim_rot rot;         // what of it is not what was written
    uint64_t sum;               // of what was applied, in its order
    uint64_t check_seq;         // of the newest CHECKSUM,
    struct sim_table checked;   // and what was seen then
    struct sim_ticket *tickets; // [REPLICA_TICKETS_MAX]
    uint32_t ticket_count;
    uint8_t *snapshot, *staged; // that it serves, and that it gets
    size_t snapshot_bytes, staged_bytes;
    uint64_t snapshot_id, snapshot_seq;
};

struct sim_snapshot_head {
    struct sim_table table;
    struct sim_rot rot; // a wrong state is copied as any other
};

static inline void
sim_env_init(struct sim_env *env, const struct copies_env *made, struct sim_range range)
{
    *env = (struct sim_env){
        .used = true, .env = *made, .range = range, .first_seq = 1, .row_room = 256};
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

// The keys that it writes.
static inline uint32_t
sim_row_mask(const struct sim_row *row)
{
    if (row->kind != REPLICA_ENTRY_OP)
        return 0;
    ASSERT(row->bytes[0] != 0 && row->bytes[0] < 1u << SIM_SHARD_KEYS);
    return row->bytes[0];
}

static inline void
sim_env_apply_row(struct sim_env *env, uint64_t seq)
{
    const struct sim_row *row = &env->log[seq];
    const uint32_t mask = sim_row_mask(row);
    struct sim_cell cell = {.seq = seq, .erased = row->bytes[1]};
    memcpy(&cell.op, row->bytes + 8, sizeof cell.op);
    bool ours = row->kind != REPLICA_ENTRY_OP;
    env->applied_seq = seq;
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        if ((mask >> key & 1) != 0 && sim_covers(env->range, key)) {
            env->table.cells[key] = cell;
            ours = true;
        }
    if (ours) // and not the other half's alone
        env->sum = mix64(env->sum ^ hash_bytes(row->bytes, row->byte_count) ^ row->op_id.low) + seq;
}

// As if no more had been applied. What was applied before stays as it was, right or wrong.
static inline void
sim_env_go_back(struct sim_env *env, uint64_t through)
{
    const struct sim_table was = env->table;
    env->sum = env->applied_seq = 0;
    env->table = (struct sim_table){0};
    for (uint64_t seq = 1; seq <= through; seq++)
        sim_env_apply_row(env, seq);
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        if (was.cells[key].seq <= through)
            env->table.cells[key] = was.cells[key];
    if (env->check_seq > through)
        env->check_seq = 0;
}

static inline bool
sim_env_is_rotten(const struct sim_env *env)
{
    return sim_rot_is_there(&env->rot, &env->table, env->first_seq);
}

// Or will be, when a crash takes back what was written over it.
static inline bool
sim_env_may_be_rotten(const struct sim_env *env)
{
    const bool written_over = env->rot.kind == SIM_ROT_RECORD || env->rot.kind == SIM_ROT_STATE;
    return sim_env_is_rotten(env) ||
           (written_over && env->table.cells[env->rot.key].seq > env->applied_durable);
}

// Whether everything there has the checksum that was kept with it.
static inline bool
sim_env_verifies(const struct sim_env *env)
{
    return !sim_env_is_rotten(env) || env->rot.kind == SIM_ROT_STATE;
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
    sim_env_go_back(env, applied);
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

// Whether the record of a key is good.
static inline bool
sim_env_reads(const struct sim_env *env, uint32_t key)
{
    return env->rot.kind != SIM_ROT_RECORD || env->rot.key != key || !sim_env_is_rotten(env);
}

// ---- snapshots ----

static inline void
sim_env_make_snapshot(struct sim_env *env, const struct replica *replica)
{
    if (env->snapshot_id != 0 && replica_can_follow(replica, env->snapshot_seq))
        return; // still good
    env->snapshot_seq = env->applied_seq;
    env->snapshot_id = env->applied_seq;
    const size_t bytes = env->applied_seq * sizeof *env->log;
    struct sim_snapshot_head head;
    memset(&head, 0, sizeof head);
    head.table = sim_table_save(&env->table);
    head.rot = env->rot;
    env->snapshot_bytes = sizeof head + bytes;
    env->snapshot = realloc(env->snapshot, env->snapshot_bytes);
    ASSERT(env->snapshot != NULL);
    memcpy(env->snapshot, &head, sizeof head);
    memcpy(env->snapshot + sizeof head, env->log + 1, bytes);
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
    const size_t bytes = seq * sizeof *env->rows;
    struct sim_snapshot_head head;
    if (env->staged_bytes != sizeof head + bytes)
        return false;
    ASSERT(env->ticket_count == 0);
    sim_env_reserve(env, seq);
    memcpy(&head, env->staged, sizeof head);
    memcpy(env->rows + 1, env->staged + sizeof head, bytes);
    memcpy(env->log + 1, env->staged + sizeof head, bytes);
    env->last_seq = env->commit_seq = env->applied_durable = seq;
    env->first_seq = seq + 1;
    env->staged_bytes = 0;
    env->snapshot_id = 0;
    struct sim_table table = env->table;
    sim_table_load(&table, &head.table, env->range);
    sim_env_go_back(env, seq);
    env->table = table;
    if (head.rot.kind == SIM_ROT_STATE && sim_covers(env->range, head.rot.key))
        env->rot = head.rot;
    return true;
}

#endif
