// shard/hosted_apply.c -- entries of a host's log become points.
//
// Shape: handle.
#include "base/alloc.h"
#include "shard/hosted_int.h"
#include "shard/keeper.h"
#include "shard/shard_log.h"

static omen_status apply_entry(struct hosted *hosted, const struct hosted_entry *entry,
                               struct hosted_result *result, struct omen_error *error);
static omen_status apply_op(struct hosted *hosted, const struct hosted_entry *entry,
                            struct hosted_result *result, struct omen_error *error);

static void
result_fini(struct hosted_result *result)
{
    mem_free(result->failed);
    *result = (struct hosted_result){0};
}

void
hosted_results_fini(struct hosted_results *results)
{
    for (uint32_t i = 0; i < results->count; i++)
        result_fini(&results->entries[i]);
    mem_free(results->entries);
    *results = (struct hosted_results){0};
}

omen_status
hosted_apply(struct hosted *hosted, const struct hosted_entries *entries,
             struct hosted_results *results, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    if (results != NULL) {
        *results = (struct hosted_results){
            .entries = mem_alloc_zero(entries->count, sizeof *results->entries)};
        if (results->entries == NULL && entries->count > 0)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    for (uint32_t i = 0; i < entries->count && status == OMEN_OK; i++) {
        struct hosted_result result = {.seq = entries->entries[i].seq};
        status = apply_entry(hosted, &entries->entries[i], &result, error);
        if (status == OMEN_OK && results != NULL)
            results->entries[results->count++] = result;
        else
            result_fini(&result);
    }
    shard_writer_rests(hosted->shard);
    return status;
}

// One of the host's own changes nothing.
static omen_status
apply_empty(struct hosted *hosted, const struct hosted_entry *entry)
{
    struct shard *shard = hosted->shard;
    lock_acquire(&shard->writers);
    shard->applied_seq = entry->seq;
    lock_release(&shard->writers);
    return OMEN_OK;
}

// The operation at an address that is a multiple of 8. *copy: to be freed.
static omen_status
align(struct hosted_entry *entry, void **copy, struct omen_error *error)
{
    *copy = NULL;
    if ((uintptr_t)entry->bytes % 8 == 0)
        return OMEN_OK;
    *copy = mem_alloc(entry->count);
    if (*copy == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(*copy, entry->bytes, entry->count);
    entry->bytes = *copy;
    return OMEN_OK;
}

static omen_status
apply_entry(struct hosted *hosted, const struct hosted_entry *entry, struct hosted_result *result,
            struct omen_error *error)
{
    const uint64_t applied = hosted_applied(hosted);
    struct hosted_entry aligned = *entry;
    void *copy = NULL;
    if (entry->seq != applied + 1)
        return error_set(error, OMEN_E_INVALID, "entry %llu cannot follow entry %llu",
                         (unsigned long long)entry->seq, (unsigned long long)applied);
    omen_status status = OMEN_OK;
    if (entry->count == 0) {
        status = apply_empty(hosted, entry);
    } else {
        status = align(&aligned, &copy, error);
        if (status == OMEN_OK)
            status = apply_op(hosted, &aligned, result, error);
        mem_free(copy);
    }
    if (status != OMEN_OK)
        return error_set(error, status, "log entry %llu: %s", (unsigned long long)entry->seq,
                         error->text);
    atomic_fetch_add_explicit(&hosted->outside.bytes, entry->count + OUTSIDE_ENTRY_BYTES,
                              memory_order_relaxed);
    atomic_store(&hosted->shard->journal->accepted_seq, entry->seq);
    keeper_stir(hosted->shard->keeper);
    atomic_store_explicit(&hosted->applied_seq, entry->seq, memory_order_release);
    return OMEN_OK;
}

// A declaration that fails does so on every copy, and says why; giving up what is not there does as well.
static omen_status
apply_field(struct hosted *hosted, const struct hosted_entry *entry, struct hosted_result *result,
            struct omen_error *error)
{
    const struct op_begin *begin = entry->bytes;
    const bool drops = begin->type == OP_FIELD_DROP;
    const size_t count = entry->count - sizeof *begin;
    struct op_field field;
    struct omen_error why = {0};
    omen_status status = drops ? op_decode_field_drop(begin + 1, count, &field, &why)
                               : op_decode_field(begin + 1, count, &field, &why);
    if (status == OMEN_OK)
        status = drops ? shard_replay_field_drop(hosted->shard, &field, &why)
                       : shard_replay_field(hosted->shard, &field, &why);
    if (status == OMEN_E_NO_MEMORY || status == OMEN_E_VERSION) {
        *error = why;
        return status;
    }
    if (status != OMEN_OK)
        result->error = why;
    return OMEN_OK;
}

// Under `writers`.
static omen_status
apply_held(struct hosted *hosted, const struct hosted_entry *entry, const struct op_change *change,
           struct hosted_result *result, struct omen_error *error)
{
    struct shard *shard = hosted->shard;
    const uint64_t before = shard->applied_seq;
    const struct op_begin *begin = entry->bytes;
    size_t erased = 0;
    shard->applied_seq = entry->seq; // the version of what it changes
    const omen_status status = begin->type == OP_CHANGE
                                   ? hosted_change(hosted, change, result, &erased, error)
                                   : apply_field(hosted, entry, result, error);
    if (status == OMEN_OK)
        shard_written(shard, erased);
    else
        shard->applied_seq = before;
    return status;
}

// Bytes that are no operation are none on every copy: they were proposed so.
static omen_status
skip(struct hosted *hosted, const struct hosted_entry *entry, const struct omen_error *why,
     struct hosted_result *result)
{
    result->error = *why;
    return apply_empty(hosted, entry);
}

static omen_status
apply_op(struct hosted *hosted, const struct hosted_entry *entry, struct hosted_result *result,
         struct omen_error *error)
{
    const struct op_begin *begin = entry->bytes;
    struct shard *shard = hosted->shard;
    struct op_change change = {0};
    void *memory = NULL;
    struct omen_error why;
    if (entry->count < sizeof *begin) {
        (void)error_set(&why, OMEN_E_CORRUPT, "it is shorter than its head");
        return skip(hosted, entry, &why, result);
    }
    if ((begin->type != OP_CHANGE && begin->type != OP_FIELD && begin->type != OP_FIELD_DROP) ||
        begin->flags != 0)
        return error_set(error, OMEN_E_VERSION, "its type %u was written by a newer version",
                         begin->type);
    if (begin->type == OP_CHANGE) {
        const omen_status status =
            op_decode_change(begin + 1, entry->count - sizeof *begin, &change, &memory, &why);
        if (status == OMEN_E_CORRUPT)
            return skip(hosted, entry, &why, result);
        if (status != OMEN_OK) {
            *error = why;
            return status;
        }
    }
    lock_acquire(&shard->writers);
    omen_status status = apply_held(hosted, entry, &change, result, error);
    lock_release(&shard->writers);
    if (status == OMEN_E_BUSY) { // slots of deleted rows are wanted
        result_fini(result);
        result->seq = entry->seq;
        status = compact_for_room(shard, error);
        if (status == OMEN_OK) {
            lock_acquire(&shard->writers);
            status = apply_held(hosted, entry, &change, result, error);
            lock_release(&shard->writers);
        }
    }
    mem_free(memory);
    return status;
}
