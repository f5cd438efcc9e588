// shard/shard_payloads.c -- replaces payloads in place, declares field indexes over them, and gives these up.
//
// Shape: handle. Rows keep their slots: readers see the old payload or the new one.
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/shard_log.h"

enum origin { FROM_CALLER, FROM_LOG };

static omen_status set_payloads(struct shard *shard, const struct batch *batch, enum origin origin,
                                struct omen_error *error);
static omen_status change(struct shard *shard, const omen_batch *given, enum origin origin,
                          struct omen_error *error);
static omen_status declare(struct shard *shard, const struct op_field *field, enum origin origin,
                           struct omen_error *error);
static omen_status drop(struct shard *shard, const char *name, enum origin origin,
                        struct omen_error *error);
static omen_status reserve(struct shard *shard, const struct payload_sums *sums,
                           const struct field_rows *rows, struct omen_error *error);
static void apply(struct shard *shard, const struct batch *batch, const struct field_rows *rows);

omen_status
shard_set_payloads(struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    const omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    if (given->count > shard->options.slots_max)
        return error_set(error, OMEN_E_INVALID, "count is %zu; this index holds at most %u rows",
                         given->count, shard->options.slots_max);
    lock_acquire(&shard->writers);
    const omen_status changed = change(shard, given, FROM_CALLER, error);
    lock_release(&shard->writers);
    return changed;
}

omen_status
shard_replay_payloads(struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    return given->count > 0 ? change(shard, given, FROM_LOG, error) : OMEN_OK;
}

// Under `writers`.
static omen_status
change(struct shard *shard, const omen_batch *given, enum origin origin, struct omen_error *error)
{
    struct batch batch;
    const struct pending none = {
        .next_id = shard->next_id,
        .kind = (enum id_kind)atomic_load_explicit(&shard->kind, memory_order_relaxed)};
    omen_status status = batch_init(shard, &none, given, BATCH_SET_PAYLOADS, &batch, error);
    if (status == OMEN_OK) {
        status = set_payloads(shard, &batch, origin, error);
        batch_fini(&batch);
    }
    return status;
}

static omen_status
check_name(const char *name, struct omen_error *error)
{
    if (strnlen(name, FIELD_NAME_BYTES_MAX + 1) > FIELD_NAME_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID, "the field's name is longer than %u bytes",
                         FIELD_NAME_BYTES_MAX);
    return OMEN_OK;
}

omen_status
shard_field_index(struct shard *shard, const char *name, int type, struct omen_error *error)
{
    omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    if (!field_type_valid(type))
        return error_set(error, OMEN_E_INVALID,
                         "field type is %d; there are 1 (keyword) to 6 (uuid)", type);
    status = check_name(name, error);
    if (status != OMEN_OK)
        return status;
    const struct op_field field = {.name = name, .type = type};
    lock_acquire(&shard->writers);
    status = declare(shard, &field, FROM_CALLER, error);
    lock_release(&shard->writers);
    return status;
}

omen_status
shard_replay_field(struct shard *shard, const struct op_field *field, struct omen_error *error)
{
    return declare(shard, field, FROM_LOG, error);
}

omen_status
shard_field_drop(struct shard *shard, const char *name, struct omen_error *error)
{
    omen_status status = shard_may_write(shard, error);
    if (status == OMEN_OK)
        status = check_name(name, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    status = drop(shard, name, FROM_CALLER, error);
    lock_release(&shard->writers);
    return status;
}

omen_status
shard_replay_field_drop(struct shard *shard, const struct op_field *field, struct omen_error *error)
{
    return drop(shard, field->name, FROM_LOG, error);
}

void
shard_fields(struct shard *shard, struct field_names *out)
{
    const uint32_t ticket = epoch_enter(&shard->gate);
    fields_names(shard_generation(shard)->fields, out);
    epoch_leave(&shard->gate, ticket);
}

// Before what *error says.
static void
say_point(struct shard *shard, const struct generation *generation, uint32_t slot,
          struct omen_error *error)
{
    const uint64_t key = idmap_id(generation->ids, slot);
    size_t bytes = 0;
    if (atomic_load_explicit(&shard->kind, memory_order_relaxed) == ID_KIND_TEXT)
        (void)error_set(error, error->status, "id \"%s\": %s",
                        names_text(generation->names, key, &bytes), error->text);
    else
        (void)error_set(error, error->status, "id %llu: %s", (unsigned long long)key, error->text);
}

// Only what cannot fail any more goes into the log: payloads may be newer when it is applied, and what failed would not.
static omen_status
declare(struct shard *shard, const struct op_field *field, enum origin origin,
        struct omen_error *error)
{
    const struct field_spec spec = {.name = field->name,
                                    .name_bytes = strlen(field->name),
                                    .type = (enum field_type)field->type};
    struct generation *generation = shard_target(shard);
    const uint32_t rows = hnsw_count(generation->hnsw);
    uint32_t bad_slot = 0;
    struct field *made;
    omen_status status = fields_prepare(generation->fields, &spec, generation->payloads, rows,
                                        &bad_slot, &made, error);
    if (status == OMEN_E_FIELD_TYPE)
        say_point(shard, generation, bad_slot, error);
    if (status != OMEN_OK || made == NULL)
        return status;
    if (origin == FROM_CALLER)
        status = shard_log_field(shard, OP_FIELD, field, error);
    if (status != OMEN_OK) {
        field_close(made);
        return status;
    }
    fields_publish(generation->fields, made, rows);
    shard_changed(shard);
    return OMEN_OK;
}

static void
end_field(void *field)
{
    field_close(field);
}

static omen_status
drop(struct shard *shard, const char *name, enum origin origin, struct omen_error *error)
{
    struct fields *fields = shard_target(shard)->fields;
    const struct op_field field = {.name = name};
    omen_status status = OMEN_OK;
    if (!fields_has(fields, name, strlen(name)))
        return error_set(error, OMEN_E_NOT_FOUND, "field \"%s\" has no index", name);
    if (origin == FROM_CALLER)
        status = shard_log_field(shard, OP_FIELD_DROP, &field, error);
    if (status != OMEN_OK)
        return status;
    struct field *taken = fields_take(fields, name, strlen(name));
    shard_changed(shard);
    epoch_retire(&shard->gate, taken, end_field);
    return OMEN_OK;
}

static omen_status
set_payloads(struct shard *shard, const struct batch *batch, enum origin origin,
             struct omen_error *error)
{
    const omen_batch *given = batch->given;
    const struct generation *generation = shard_target(shard);
    struct payload_sums sums;
    omen_status status = batch_check_payloads(shard, given, &sums, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t limit = shard->options.max_memory;
    if (limit > 0 && origin == FROM_CALLER && shard_bytes(shard) + sums.bytes > limit)
        return error_set(error, OMEN_E_NO_MEMORY,
                         "max_memory is %llu bytes; these payloads do not fit into it",
                         (unsigned long long)limit);
    const void **old = mem_alloc(given->count * (sizeof *old + sizeof(size_t)));
    if (old == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    size_t *old_bytes = (size_t *)(void *)(old + given->count);
    for (size_t i = 0; i < given->count; i++)
        old[i] = payloads_get(generation->payloads, batch->old[i], &old_bytes[i]);
    const struct field_rows rows = {
        .count = given->count,
        .slots = batch->old,
        .payloads = given->payloads,
        .bytes = given->payload_bytes,
        .old = old,
        .old_bytes = old_bytes,
    };
    status = reserve(shard, &sums, &rows, error);
    if (status == OMEN_OK && origin == FROM_CALLER) {
        const struct op_rows op = {
            .kind = batch->kind,
            .count = given->count,
            .ids = batch->keys,
            .texts = given->text_ids,
            .payloads = given->payloads,
            .payload_bytes = given->payload_bytes,
        };
        status = shard_log_rows(shard, OP_PAYLOADS, &op, error);
        if (status != OMEN_OK)
            fields_cancel(generation->fields, &rows);
    }
    if (status == OMEN_OK)
        apply(shard, batch, &rows);
    mem_free(old);
    return status;
}

static omen_status
reserve(struct shard *shard, const struct payload_sums *sums, const struct field_rows *rows,
        struct omen_error *error)
{
    struct generation *generation = shard_target(shard);
    const struct payload_room room = {
        .slots = hnsw_count(generation->hnsw), .count = sums->count, .bytes = sums->bytes};
    omen_status status = payloads_reserve(generation->payloads, &room);
    for (size_t i = 0; i < rows->count && status == OMEN_OK; i++) {
        status = payloads_own(generation->payloads, rows->slots[i]);
        if (status == OMEN_OK && generation->versions != NULL)
            status = versions_own(generation->versions, rows->slots[i]);
    }
    if (status == OMEN_OK)
        status = fields_reserve(generation->fields, rows);
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

static void
apply(struct shard *shard, const struct batch *batch, const struct field_rows *rows)
{
    const omen_batch *given = batch->given;
    struct generation *generation = shard_target(shard);
    fields_put(generation->fields, rows); // while the old payloads can still be read
    for (size_t i = 0; i < given->count; i++) {
        if (given->payloads != NULL && given->payloads[i] != NULL)
            payloads_set(generation->payloads, batch->old[i], given->payloads[i],
                         given->payload_bytes[i]);
        else
            payloads_clear(generation->payloads, batch->old[i]);
        if (generation->versions != NULL)
            versions_set(generation->versions, batch->old[i], shard->applied_seq);
        if (given->ids_out != NULL)
            given->ids_out[i] = batch->keys[i];
    }
    shard_changed(shard);
    epoch_reclaim(&shard->gate);
}
