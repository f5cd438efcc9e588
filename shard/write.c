// shard/write.c -- one add or upsert: everything is checked, then room is made, then nothing can fail.
//
// Shape: handle.
//
// The order of an upsert is what keeps searches right; shard_int.h says why:
//   append rows, name them, set payloads, put fields      nobody can see them yet
//   replacing becomes odd, publish, move the ids over     searches see old and new, and keep the new (`moving` is odd meanwhile)
//   new version, wait for the gate                        nobody is left who saw only the old
//   erase the old rows, new version, replacing becomes even
#include "shard/write.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/prng.h"
#include "shard/ahead.h"
#include "shard/journal.h"

#define CHUNK_BYTES 65536u // of converted rows, between two appends

static omen_status check(struct shard *shard, struct pending *pending, struct write *write);
static omen_status check_vectors(struct shard *shard, const struct vector_rows *rows,
                                 struct omen_error *error);
static omen_status check_room(struct shard *shard, struct pending *pending, struct write *write,
                              struct omen_error *error);
static omen_status reserve(struct shard *shard, const struct pending *pending, struct write *write);
static omen_status stage(struct shard *shard, struct staged *staged);
static omen_status encode(struct shard *shard, struct write *write);
static omen_status touch(struct pending *pending, const struct write *write);
static void append(struct shard *shard, const struct staged *staged);
static void replace_old(struct shard *shard, const struct batch *batch);

static struct vector_rows
rows_of(const struct shard *shard, const omen_batch *given)
{
    const enum vector_type type = (enum vector_type)given->dtype;
    const uint32_t dim = shard->options.dimension;
    return (struct vector_rows){
        .rows = given->vectors,
        .count = given->count,
        .stride = given->stride != 0 ? given->stride : (size_t)dim * vector_type_bytes(type),
        .dim = dim,
        .type = type,
    };
}

// What can be said of a batch without knowing the index's rows.
omen_status
write_check(const struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    const omen_options *options = &shard->options;
    if (given->count == 0)
        return OMEN_OK;
    if (given->count > options->slots_max)
        return error_set(error, OMEN_E_FULL, "count is %zu; this index holds at most %u rows",
                         given->count, options->slots_max);
    if (given->vectors == NULL)
        return error_set(error, OMEN_E_INVALID, "vectors is NULL");
    static const char *const names[] = {"?", "f32", "f16", "bf16", "i8", "u8"};
    if (!vector_type_is_known((int)given->dtype))
        return error_set(error, OMEN_E_DTYPE,
                         "dtype of the rows is %d; there are 1 (f32) to 5 (u8)", (int)given->dtype);
    if (!vector_type_fits((enum vector_type)given->dtype, (enum vector_type)options->dtype))
        return error_set(error, OMEN_E_DTYPE, "rows are %s, but this index holds %s only",
                         names[given->dtype], names[options->dtype]);
    const size_t row_bytes =
        (size_t)options->dimension * vector_type_bytes((enum vector_type)given->dtype);
    if (given->stride != 0 && given->stride < row_bytes)
        return error_set(error, OMEN_E_DIMENSION,
                         "stride is %zu bytes, but a row of %u components has %zu", given->stride,
                         options->dimension, row_bytes);
    return OMEN_OK;
}

void
pending_init(struct pending *pending, struct shard *shard)
{
    *pending = (struct pending){
        .next_id = shard->next_id,
        .kind = (enum id_kind)atomic_load_explicit(&shard->kind, memory_order_relaxed),
    };
}

void
pending_fini(struct pending *pending)
{
    mem_free(pending->touched);
    pending->touched = NULL;
}

omen_status
write_prepare(struct shard *shard, struct pending *pending, struct write *write)
{
    omen_status status =
        batch_init(shard, pending, write->given, write->mode, &write->batch, write->error);
    if (status != OMEN_OK)
        return status;
    write->staged = (struct staged){.rows = rows_of(shard, write->given)};
    status = check(shard, pending, write);
    if (status == OMEN_OK)
        status = reserve(shard, pending, write);
    if (status == OMEN_OK && write->mode != BATCH_REPLAY && shard->journal != NULL)
        status = encode(shard, write);
    if (status == OMEN_OK)
        status = touch(pending, write);
    if (status == OMEN_OK)
        return OMEN_OK;
    write_cancel(shard, write);
    write_fini(write);
    return status;
}

void
write_fini(struct write *write)
{
    op_parts_fini(&write->parts);
    mem_free(write->staged.work);
    mem_free(write->staged.memory);
    batch_fini(&write->batch);
}

void
write_cancel(struct shard *shard, struct write *write)
{
    if (write->claims)
        fields_cancel(shard_target(shard)->fields, &write->rows);
    write->claims = false;
}

static omen_status
check(struct shard *shard, struct pending *pending, struct write *write)
{
    const omen_batch *given = write->given;
    omen_status status = batch_check_payloads(shard, given, &write->sums, write->error);
    write->rows = (struct field_rows){
        .count = given->count,
        .first_slot = hnsw_count(shard_target(shard)->hnsw) + pending->rows,
        .payloads = write->sums.count > 0 ? given->payloads : NULL,
        .bytes = given->payload_bytes,
    };
    // The log's rows were checked before they came into it, and are the bytes that its checksums were made of.
    if (status == OMEN_OK && write->mode != BATCH_REPLAY)
        status = check_vectors(shard, &write->staged.rows, write->error);
    if (status == OMEN_OK && write->mode != BATCH_REPLAY)
        status = check_room(shard, pending, write, write->error);
    return status;
}

static omen_status
check_vectors(struct shard *shard, const struct vector_rows *rows, struct omen_error *error)
{
    float *work = mem_alloc(rows->dim * sizeof *work);
    if (work == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const omen_status status = vector_input_check(rows, (enum vector_type)shard->options.dtype,
                                                  (enum metric)shard->options.metric, work, error);
    mem_free(work);
    return status;
}

// Of the bytes that are used, those are counted that were before the first of the group made room: the room that an earlier one
// made is part of what it wants.
static omen_status
check_room(struct shard *shard, struct pending *pending, struct write *write,
           struct omen_error *error)
{
    const struct batch *batch = &write->batch;
    const struct payload_sums *sums = &write->sums;
    const omen_options *options = &shard->options;
    const uint64_t rows = hnsw_count(shard_target(shard)->hnsw) + pending->rows;
    if (rows + batch->given->count > options->slots_max)
        return error_set(error, OMEN_E_FULL,
                         "%zu rows do not fit: %llu of %u slots are used, deleted rows included "
                         "(omen_compact gives "
                         "theirs back)",
                         batch->given->count, (unsigned long long)rows, options->slots_max);
    if (options->max_memory == 0)
        return OMEN_OK;
    // What a row will cost once it is linked: itself, its id, its links, its code of a byte a component.
    uint64_t row = shard->row_bytes + 16;
    if (options->algorithm == OMEN_HNSW)
        row += 8 * (uint64_t)options->m;
    if (options->algorithm == OMEN_HNSW && options->quantization == OMEN_QUANTIZE_INT8)
        row += options->dimension;
    if (pending->used_bytes == 0)
        pending->used_bytes = shard_bytes(shard); // never 0
    const uint64_t used = pending->used_bytes + pending->wanted_bytes;
    const uint64_t wanted =
        row * batch->given->count + sums->bytes + 4ull * sums->count + batch->new_bytes;
    write->wanted_bytes = wanted;
    if (used + wanted > options->max_memory)
        return error_set(error, OMEN_E_NO_MEMORY,
                         "max_memory is %llu bytes: %llu are used, and these rows need about %llu",
                         (unsigned long long)options->max_memory, (unsigned long long)used,
                         (unsigned long long)wanted);
    return OMEN_OK;
}

// Room for everything that is pending, and for this.
static omen_status
reserve(struct shard *shard, const struct pending *pending, struct write *write)
{
    struct generation *generation = shard_target(shard);
    const struct batch *batch = &write->batch;
    const struct payload_sums *sums = &write->sums;
    const uint32_t count = (uint32_t)batch->given->count;
    const uint32_t slots = write->rows.first_slot + count;
    const struct payload_room room = {.slots = slots,
                                      .count = pending->payloads + sums->count,
                                      .bytes = pending->payload_bytes + sums->bytes};
    omen_status status = generation_reserve(generation, slots, pending->rows + count);
    if (status == OMEN_OK)
        status = names_reserve(generation->names, pending->texts + batch->new_texts,
                               pending->text_bytes + batch->new_bytes);
    if (status == OMEN_OK && room.count > 0)
        status = payloads_reserve(generation->payloads, &room);
    if (status == OMEN_OK && shard->options.algorithm == OMEN_HNSW && slots >= HNSW_FOUND_ROWS &&
        write->mode != BATCH_REPLAY)
        status = linkers_reserve(&shard->linkers);
    if (status == OMEN_OK)
        status = stage(shard, &write->staged);
    if (status == OMEN_OK && sums->count > 0) {
        status = fields_reserve(generation->fields, &write->rows);
        write->claims = status == OMEN_OK;
    }
    return status == OMEN_OK ? OMEN_OK : error_set_plain(write->error, status);
}

// Without a log rows are converted chunk by chunk on their way in. The log takes them as they will be stored, dense.
static omen_status
stage(struct shard *shard, struct staged *staged)
{
    struct vector_rows *rows = &staged->rows;
    const enum vector_type stored = (enum vector_type)shard->options.dtype;
    const bool logged = shard->journal != NULL;
    if (rows->type == stored && (!logged || rows->stride == shard->row_bytes))
        return OMEN_OK;
    const size_t room = logged ? 0 : CHUNK_BYTES + shard->row_bytes;
    staged->work = mem_alloc(rows->dim * sizeof *staged->work + room);
    if (staged->work == NULL)
        return OMEN_E_NO_MEMORY;
    if (!logged)
        return OMEN_OK;
    staged->memory = mem_alloc(rows->count * shard->row_bytes);
    if (staged->memory == NULL)
        return OMEN_E_NO_MEMORY;
    for (size_t i = 0; i < rows->count; i++)
        vector_input_convert(rows, i, stored, staged->work,
                             (char *)staged->memory + i * shard->row_bytes);
    rows->rows = staged->memory;
    rows->stride = shard->row_bytes;
    rows->type = stored;
    return OMEN_OK;
}

static omen_status
encode(struct shard *shard, struct write *write)
{
    const omen_batch *given = write->given;
    const struct op_rows op = {
        .kind = write->batch.kind,
        .count = given->count,
        .ids = write->batch.keys,
        .texts = given->text_ids,
        .vectors = write->staged.rows.rows,
        .row_bytes = shard->row_bytes,
        .payloads = write->rows.payloads,
        .payload_bytes = given->payload_bytes,
    };
    if (op_encode(&op, &write->parts) != OMEN_OK)
        return error_set_plain(write->error, OMEN_E_NO_MEMORY);
    return journal_check_bytes(&write->parts, write->error);
}

// ---- what is pending ----

// Ids by a hash; that two share one only keeps two writes apart.
static uint64_t
touch_hash(const struct batch *batch, size_t i)
{
    if (batch->kind == ID_KIND_TEXT)
        return hash_bytes(batch->given->text_ids[i], strlen(batch->given->text_ids[i])) | 1;
    return mix64(batch->keys[i]) | 1;
}

static bool
touch_find(const struct pending *pending, uint64_t hash, size_t *place)
{
    for (*place = (size_t)(hash >> 1) & (pending->room - 1); pending->touched[*place] != 0;
         *place = (*place + 1) & (pending->room - 1))
        if (pending->touched[*place] == hash)
            return true;
    return false;
}

static omen_status
touch_reserve(struct pending *pending, size_t count)
{
    size_t room = pending->room == 0 ? 64 : pending->room, place;
    while (room < 2 * (pending->touches + count))
        room *= 2;
    if (room == pending->room)
        return OMEN_OK;
    struct pending grown = {.touched = mem_alloc_zero(room, sizeof *grown.touched), .room = room};
    if (grown.touched == NULL)
        return OMEN_E_NO_MEMORY;
    for (size_t i = 0; i < pending->room; i++)
        if (pending->touched[i] != 0 && !touch_find(&grown, pending->touched[i], &place))
            grown.touched[place] = pending->touched[i];
    mem_free(pending->touched);
    pending->touched = grown.touched;
    pending->room = room;
    return OMEN_OK;
}

// Adds the write to what is pending, or finds that it has to wait. A write that goes alone touches nobody.
static omen_status
touch(struct pending *pending, const struct write *write)
{
    const struct batch *batch = &write->batch;
    const size_t count = batch->given->count;
    size_t place;
    if (pending->grouped) {
        if (touch_reserve(pending, count) != OMEN_OK)
            return error_set_plain(write->error, OMEN_E_NO_MEMORY);
        for (size_t i = 0; i < count; i++)
            if (touch_find(pending, touch_hash(batch, i), &place))
                return OMEN_E_BUSY;
        for (size_t i = 0; i < count; i++)
            if (!touch_find(pending, touch_hash(batch, i), &place))
                pending->touched[place] = touch_hash(batch, i);
        pending->touches += count;
    }
    pending->rows += (uint32_t)count;
    pending->payloads += write->sums.count;
    pending->payload_bytes += write->sums.bytes;
    pending->texts += batch->new_texts;
    pending->text_bytes += batch->new_bytes;
    pending->wanted_bytes += write->wanted_bytes;
    pending->next_id = batch->next_id;
    pending->kind = batch->kind;
    return OMEN_OK;
}

void
write_apply(struct shard *shard, struct write *write)
{
    struct generation *generation = shard_target(shard);
    struct batch *batch = &write->batch;
    const struct field_rows *rows = &write->rows;
    const omen_batch *given = write->given;
    const uint32_t first = rows->first_slot;
    append(shard, &write->staged);
    batch_name_texts(batch, generation->names);
    for (size_t i = 0; i < given->count; i++) {
        const uint32_t slot = first + (uint32_t)i;
        idmap_name(generation->ids, slot, batch->keys[i]);
        if (generation->versions != NULL)
            versions_set(generation->versions, slot, shard->applied_seq);
        if (rows->payloads != NULL && given->payloads[i] != NULL)
            payloads_set(generation->payloads, slot, given->payloads[i], given->payload_bytes[i]);
    }
    if (rows->payloads != NULL)
        fields_put(generation->fields, rows);
    write->claims = false;
    if (batch->replaced > 0)
        atomic_fetch_add(&shard->replacing, 1);
    atomic_fetch_add(&shard->moving, 1);
    hnsw_publish(generation->hnsw);
    for (size_t i = 0; i < given->count; i++) {
        idmap_put_found(generation->ids, first + (uint32_t)i, batch->old[i]);
        if (given->ids_out != NULL)
            given->ids_out[i] = batch->keys[i];
    }
    shard->next_id = batch->next_id;
    atomic_store_explicit(&shard->kind, batch->kind, memory_order_release);
    shard_changed(shard);
    atomic_fetch_add(&shard->moving, 1);
    if (batch->replaced > 0)
        replace_old(shard, batch);
    epoch_reclaim(&shard->gate);
}

// Copies the rows, converting where their type is not the index's.
static void
copy_rows(struct shard *shard, const struct staged *staged)
{
    struct hnsw *hnsw = shard_target(shard)->hnsw;
    const struct vector_rows *rows = &staged->rows;
    const enum vector_type stored = (enum vector_type)shard->options.dtype;
    if (rows->type == stored) {
        (void)hnsw_append(hnsw, rows->rows, rows->stride, (uint32_t)rows->count);
        return;
    }
    char *chunk = (char *)(staged->work + rows->dim);
    const size_t chunk_rows = CHUNK_BYTES / shard->row_bytes + 1;
    for (size_t i = 0; i < rows->count; i += chunk_rows) {
        const size_t count = rows->count - i < chunk_rows ? rows->count - i : chunk_rows;
        for (size_t r = 0; r < count; r++)
            vector_input_convert(rows, i + r, stored, staged->work, chunk + r * shard->row_bytes);
        (void)hnsw_append(hnsw, chunk, shard->row_bytes, (uint32_t)count);
    }
}

// Of many rows a thread makes the memory of the second half while we write the first, where there are threads to be.
static void
append(struct shard *shard, const struct staged *staged)
{
    struct ahead ahead = {.begun = false};
    const uint32_t first = hnsw_count(shard_target(shard)->hnsw),
                   count = (uint32_t)staged->rows.count;
    if (shard->options.threads != 1 && count / 2 * (uint64_t)shard->row_bytes >= AHEAD_BYTES_MIN)
        ahead_begin(&ahead, shard_target(shard)->hnsw, first + count / 2, first + count);
    copy_rows(shard, staged);
    ahead_end(&ahead);
}

static void
replace_old(struct shard *shard, const struct batch *batch)
{
    struct generation *generation = shard_target(shard);
    epoch_wait(&shard->gate);
    for (size_t i = 0; i < batch->given->count; i++)
        if (batch->old[i] != IDMAP_NONE)
            generation_erase(generation, batch->old[i]);
    // In this order: whoever finds `replacing` even must not find a filter's answer of when it was odd.
    shard_changed(shard);
    atomic_fetch_add(&shard->replacing, 1);
    atomic_fetch_add_explicit(&shard->tuning.turnover, batch->replaced, memory_order_relaxed);
}
