// node/disk_start.c -- what a start finds in the log environment, as the machines want it.
//
// Shape: shell.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "node/disk_int.h"

static omen_status read_meta(struct disk *disk, struct kv_txn *txn, struct turn_durable *out,
                             struct omen_error *error);
static omen_status read_log(struct disk *disk, struct kv_txn *txn, const struct logs_state *state,
                            struct turn_durable *out, struct omen_error *error);
static omen_status read_map(struct disk *disk, struct kv_txn *txn, struct turn_durable *out,
                            struct omen_error *error);
static omen_status read_peers(struct disk *disk, struct kv_txn *txn, struct turn_durable *out,
                              struct omen_error *error);
static omen_status read_copy(struct kv_txn *txn, const struct logs_state *state,
                             struct logs_known *known, struct disk_copy *copy,
                             struct omen_error *error);

omen_status
disk_start_meta(struct disk *disk, struct turn_durable *out, struct omen_error *error)
{
    struct kv_txn *txn;
    *out = (struct turn_durable){0};
    if (uuid_is_none(disk->identity.cluster))
        return error_set(error, OMEN_E_NOT_FOUND, "this folder is no node's yet");
    disk_started(disk);
    omen_status status = kv_begin_read(disk->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = read_meta(disk, txn, out, error);
    kv_abort(txn);
    if (status == OMEN_OK)
        return OMEN_OK;
    disk_started(disk);
    *out = (struct turn_durable){0};
    return status == OMEN_E_NOT_FOUND
               ? error_set(error, OMEN_E_CORRUPT, "the node's metadata are missing")
               : status;
}

void
disk_started(struct disk *disk)
{
    mem_free(disk->entries);
    mem_free(disk->bytes);
    mem_free(disk->map);
    mem_free(disk->peers);
    disk->entries = NULL;
    disk->bytes = disk->map = disk->peers = NULL;
}

static omen_status
read_meta(struct disk *disk, struct kv_txn *txn, struct turn_durable *out, struct omen_error *error)
{
    struct logs_state state;
    omen_status status = logs_find(txn, disk_meta_name, &state, error);
    if (status == OMEN_OK && state.note_bytes != sizeof out->raft.hard_state)
        status = error_set(error, OMEN_E_CORRUPT, "raft's hard state is cut off");
    if (status != OMEN_OK)
        return status;
    memcpy(&out->raft.hard_state, state.note, sizeof out->raft.hard_state);
    out->raft.base_position = state.first_seq - 1;
    out->raft.base_term = state.base_term;
    status = read_log(disk, txn, &state, out, error);
    if (status == OMEN_OK)
        status = read_map(disk, txn, out, error);
    return status == OMEN_OK ? read_peers(disk, txn, out, error) : status;
}

static omen_status
read_log(struct disk *disk, struct kv_txn *txn, const struct logs_state *state,
         struct turn_durable *out, struct omen_error *error)
{
    struct disk_gather gather = {0};
    struct logs_reader *reader;
    struct logs_entry entry;
    omen_status status =
        logs_reader_open(txn, disk_meta_name, state->first_seq, LOGS_WHOLE, &reader, error);
    for (uint64_t seq = state->first_seq; status == OMEN_OK && seq <= state->last_seq; seq++) {
        status = logs_reader_next(reader, &entry, error);
        if (status == OMEN_OK)
            status = disk_gather_add(&gather, &entry);
    }
    logs_reader_close(reader);
    if (status == OMEN_OK && gather.count > 0) {
        disk->entries = mem_alloc_zero(gather.count, sizeof *disk->entries);
        if (disk->entries == NULL)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    size_t at = 0;
    for (uint32_t i = 0; status == OMEN_OK && i < gather.count; i++) {
        const struct logs_entry *from = &gather.entries[i];
        disk->entries[i] = (struct raft_entry){.position = from->seq,
                                               .term = from->term,
                                               .kind = (enum raft_entry_kind)from->kind,
                                               .byte_count = from->count,
                                               .bytes = from->count > 0 ? gather.bytes + at : NULL};
        at += from->count;
    }
    if (status == OMEN_OK) {
        disk->bytes = gather.bytes;
        gather.bytes = NULL;
        out->raft.entries = disk->entries;
        out->raft.entry_count = gather.count;
    }
    disk_gather_fini(&gather);
    return status;
}

static omen_status
read_map(struct disk *disk, struct kv_txn *txn, struct turn_durable *out, struct omen_error *error)
{
    struct disk_checkpoint head;
    uint8_t *bytes;
    size_t count;
    omen_status status = logs_record_get(txn, DISK_CHECKPOINT, &bytes, &count, error);
    if (status == OMEN_OK && count == sizeof head)
        memcpy(&head, bytes, sizeof head);
    mem_free(bytes);
    if (status != OMEN_OK)
        return status;
    if (count != sizeof head || !disk_group_read(&head, &out->raft.group))
        return error_set(error, OMEN_E_CORRUPT, "raft's group is none");
    out->raft.applied = head.position;
    status = logs_record_get(txn, DISK_MAP, &disk->map, &out->map_bytes, error);
    out->map = disk->map;
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status; // none yet: the empty one
}

static omen_status
read_peers(struct disk *disk, struct kv_txn *txn, struct turn_durable *out,
           struct omen_error *error)
{
    size_t count;
    const omen_status status = logs_record_get(txn, DISK_PEERS, &disk->peers, &count, error);
    if (status != OMEN_OK)
        return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
    if (count % sizeof *out->peers != 0 || count / sizeof *out->peers > GOSSIP_PEERS_MAX)
        return error_set(error, OMEN_E_CORRUPT, "the list of gossip's peers is none");
    out->peers = (const struct gossip_address *)(const void *)disk->peers;
    out->peer_count = (uint32_t)(count / sizeof *out->peers);
    return OMEN_OK;
}

// ---- copies ----

omen_status
disk_start_copies(struct disk *disk, void (*fn)(void *context, const struct disk_copy *copy),
                  void *context, struct omen_error *error)
{
    struct kv_txn *txn;
    struct logs_state state;
    omen_status status = kv_begin_read(disk->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    for (uint32_t at = 0;;) {
        status = logs_next(txn, &at, &state, error);
        if (status != OMEN_OK)
            break;
        if (state.name.high == disk_meta_name.high && state.name.low == disk_meta_name.low)
            continue;
        struct disk_copy copy = {0};
        struct logs_known known = {0};
        status = read_copy(txn, &state, &known, &copy, error);
        if (status == OMEN_OK)
            fn(context, &copy);
        logs_known_fini(&known);
        if (status != OMEN_OK)
            break;
    }
    kv_abort(txn);
    if (status == OMEN_E_NO_MEMORY)
        return error_set_plain(error, status);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

// A copy whose bytes are damaged is told of, and is not the others' matter.
static omen_status
read_copy(struct kv_txn *txn, const struct logs_state *state, struct logs_known *known,
          struct disk_copy *copy, struct omen_error *error)
{
    struct disk_note note = {0};
    if (state->note_bytes == sizeof note)
        memcpy(&note, state->note, sizeof note);
    else
        copy->status = OMEN_E_CORRUPT;
    copy->durable.env = (struct copies_env){
        .uuid = disk_uuid(state->name), .shard = note.shard, .position = note.position};
    const omen_status status = logs_know(txn, state->name, known, error);
    if (status == OMEN_E_CORRUPT || status == OMEN_E_VERSION)
        copy->status = OMEN_E_CORRUPT;
    else if (status != OMEN_OK && status != OMEN_E_NOT_FOUND)
        return status;
    if (copy->status != OMEN_OK)
        return OMEN_OK;
    copy->durable.disk = (struct replica_disk){
        .promised = note.promised,
        .first_seq = state->first_seq,
        .last_seq = state->last_seq,
        .commit_seq = note.commit_seq < state->last_seq ? note.commit_seq : state->last_seq,
        .stamp_ms = state->stamp_ms,
        .forgot_ms = state->forgot_ms,
        .terms = (const struct replica_term *)(const void *)known->terms,
        .term_count = known->term_count,
        .ops = (const struct dedupe_op *)(const void *)known->ops,
        .op_count = known->op_count,
    };
    return OMEN_OK;
}
