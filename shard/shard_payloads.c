// shard/shard_payloads.c -- replaces payloads in place, and declares field indexes over them.
//
// Shape: handle, in memory. Rows keep their slots: readers see the old payload or the new one.
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/batch.h"

static omen_status set_payloads(struct shard *shard, const struct batch *batch,
                                struct omen_error *error);
static omen_status apply(struct shard *shard, const struct batch *batch,
                         const struct payload_sums *sums, const struct field_rows *rows);

omen_status
shard_set_payloads(struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    if (given->count > shard->options.slots_max)
        return error_set(error, OMEN_E_INVALID, "count is %zu; this index holds at most %u rows",
                         given->count, shard->options.slots_max);
    struct batch batch;
    lock_acquire(&shard->writers);
    status = batch_init(shard, given, BATCH_SET_PAYLOADS, &batch, error);
    if (status == OMEN_OK) {
        status = set_payloads(shard, &batch, error);
        batch_fini(&batch);
    }
    lock_release(&shard->writers);
    return status;
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
    const struct field_spec spec = {.name = name,
                                    .name_bytes = strnlen(name, FIELD_NAME_BYTES_MAX + 1),
                                    .type = (enum field_type)type};
    lock_acquire(&shard->writers);
    struct generation *generation = shard_generation(shard);
    uint32_t bad_slot = 0;
    status = fields_declare(generation->fields, &spec, generation->payloads,
                            hnsw_count(generation->hnsw), &bad_slot, error);
    if (status == OMEN_E_FIELD_TYPE)
        (void)error_set(error, status, "id %llu: %s",
                        (unsigned long long)idmap_id(generation->ids, bad_slot), error->text);
    if (status == OMEN_OK)
        shard_changed(shard);
    lock_release(&shard->writers);
    return status;
}

static omen_status
set_payloads(struct shard *shard, const struct batch *batch, struct omen_error *error)
{
    const omen_batch *given = batch->given;
    const struct generation *generation = shard_generation(shard);
    struct payload_sums sums;
    omen_status status = batch_check_payloads(shard, given, &sums, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t limit = shard->options.max_memory;
    if (limit > 0 && shard_bytes(shard) + sums.bytes > limit)
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
    status = apply(shard, batch, &sums, &rows);
    mem_free(old);
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

static omen_status
apply(struct shard *shard, const struct batch *batch, const struct payload_sums *sums,
      const struct field_rows *rows)
{
    const omen_batch *given = batch->given;
    struct generation *generation = shard_generation(shard);
    const struct payload_room room = {
        .slots = hnsw_count(generation->hnsw), .count = sums->count, .bytes = sums->bytes};
    omen_status status = payloads_reserve(generation->payloads, &room);
    if (status == OMEN_OK)
        status = fields_reserve(generation->fields, rows);
    if (status != OMEN_OK)
        return status;
    fields_put(generation->fields, rows); // while the old payloads can still be read
    for (size_t i = 0; i < given->count; i++) {
        if (given->payloads != NULL && given->payloads[i] != NULL)
            payloads_set(generation->payloads, batch->old[i], given->payloads[i],
                         given->payload_bytes[i]);
        else
            payloads_clear(generation->payloads, batch->old[i]);
        if (given->ids_out != NULL)
            given->ids_out[i] = batch->keys[i];
    }
    shard_changed(shard);
    epoch_reclaim(&shard->gate);
    return OMEN_OK;
}
