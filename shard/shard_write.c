// shard/shard_write.c -- adds and upserts: everything is checked, then room is made, then nothing can
// fail.
//
// Shape: handle, in memory.
//
// The order of an upsert is what keeps searches right; shard_int.h says why:
//   append rows, name them, set payloads, put fields      nobody can see them yet
//   replacing becomes odd, publish, move the ids over     searches see old and new, and keep the new
//   new version, wait for the gate                        nobody is left who saw only the old
//   erase the old rows, replacing becomes even, new version
#include "shard/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "shard/vector_input.h"

#define CHUNK_BYTES 65536u // of converted rows, between two appends

static omen_status write_rows(struct shard *shard, const omen_batch *given, enum batch_mode mode,
                              struct omen_error *error);
static omen_status check_batch(const struct shard *shard, const omen_batch *given,
                               struct omen_error *error);
static omen_status check_vectors(struct shard *shard, const omen_batch *given,
                                 struct omen_error *error);
static omen_status check_room(struct shard *shard, const struct batch *batch,
                              const struct payload_sums *sums, struct omen_error *error);
static omen_status reserve(struct shard *shard, struct batch *batch,
                           const struct payload_sums *sums, const struct field_rows *rows,
                           float **work, struct omen_error *error);
static void apply(struct shard *shard, struct batch *batch, const struct field_rows *rows,
                  float *work);
static void append(struct shard *shard, const omen_batch *given, float *work);
static void replace_old(struct shard *shard, const struct batch *batch);

omen_status
shard_add(struct shard *shard, const omen_batch *batch, struct omen_error *error)
{
    return write_rows(shard, batch, BATCH_ADD, error);
}

omen_status
shard_upsert(struct shard *shard, const omen_batch *batch, struct omen_error *error)
{
    return write_rows(shard, batch, BATCH_UPSERT, error);
}

static omen_status
write_rows(struct shard *shard, const omen_batch *given, enum batch_mode mode,
           struct omen_error *error)
{
    omen_status status = check_batch(shard, given, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    struct batch batch;
    struct payload_sums sums;
    float *work = NULL;
    lock_acquire(&shard->writers);
    status = batch_init(shard, given, mode, &batch, error);
    if (status == OMEN_OK) {
        status = batch_check_payloads(shard, given, &sums, error);
        const struct field_rows rows = {
            .count = given->count,
            .first_slot = hnsw_count(shard_generation(shard)->hnsw),
            .payloads = sums.count > 0 ? given->payloads : NULL,
            .bytes = given->payload_bytes,
        };
        if (status == OMEN_OK)
            status = check_vectors(shard, given, error);
        if (status == OMEN_OK)
            status = check_room(shard, &batch, &sums, error);
        if (status == OMEN_OK)
            status = reserve(shard, &batch, &sums, &rows, &work, error);
        if (status == OMEN_OK) {
            apply(shard, &batch, &rows, work);
            if (batch.replaced > 0)
                compact_when_due(shard);
            linkers_wake(&shard->linkers);
        }
        mem_free(work);
        batch_fini(&batch);
    }
    lock_release(&shard->writers);
    return status;
}

// What can be said of a batch without knowing the index's rows.
static omen_status
check_batch(const struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    const omen_options *options = &shard->options;
    const omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    if (given->count > options->slots_max)
        return error_set(error, OMEN_E_FULL, "count is %zu; this index holds at most %u rows",
                         given->count, options->slots_max);
    if (given->vectors == NULL)
        return error_set(error, OMEN_E_INVALID, "vectors is NULL");
    if (given->dtype < OMEN_F32 || given->dtype > OMEN_U8 ||
        !vector_type_fits((enum vector_type)given->dtype, (enum vector_type)options->dtype)) {
        static const char *const names[] = {"?", "f32", "f16", "bf16", "i8", "u8"};
        const int type = (int)given->dtype;
        return error_set(
            error, OMEN_E_DTYPE, "rows are %s, but this index holds %s%s",
            names[type >= OMEN_F32 && type <= OMEN_U8 ? type : 0], names[options->dtype],
            options->dtype == OMEN_F16 || options->dtype == OMEN_BF16 ? " (and converts f32)" : "");
    }
    const size_t row_bytes =
        (size_t)options->dimension * vector_type_bytes((enum vector_type)given->dtype);
    if (given->stride != 0 && given->stride < row_bytes)
        return error_set(error, OMEN_E_DIMENSION,
                         "stride is %zu bytes, but a row of %u components has %zu", given->stride,
                         options->dimension, row_bytes);
    return OMEN_OK;
}

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

static omen_status
check_vectors(struct shard *shard, const omen_batch *given, struct omen_error *error)
{
    const struct vector_rows rows = rows_of(shard, given);
    float *work = mem_alloc(rows.dim * sizeof *work);
    if (work == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const omen_status status = vector_input_check(&rows, (enum vector_type)shard->options.dtype,
                                                  (enum metric)shard->options.metric, work, error);
    mem_free(work);
    return status;
}

static omen_status
check_room(struct shard *shard, const struct batch *batch, const struct payload_sums *sums,
           struct omen_error *error)
{
    const omen_options *options = &shard->options;
    const uint64_t rows = hnsw_count(shard_generation(shard)->hnsw);
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
    const uint64_t used = shard_bytes(shard);
    const uint64_t wanted =
        row * batch->given->count + sums->bytes + 4ull * sums->count + batch->new_bytes;
    if (used + wanted > options->max_memory)
        return error_set(error, OMEN_E_NO_MEMORY,
                         "max_memory is %llu bytes: %llu are used, and these rows need about %llu",
                         (unsigned long long)options->max_memory, (unsigned long long)used,
                         (unsigned long long)wanted);
    return OMEN_OK;
}

static omen_status
reserve(struct shard *shard, struct batch *batch, const struct payload_sums *sums,
        const struct field_rows *rows, float **work, struct omen_error *error)
{
    struct generation *generation = shard_generation(shard);
    const uint32_t count = (uint32_t)batch->given->count;
    const uint32_t slots = rows->first_slot + count;
    const struct payload_room room = {.slots = slots, .count = sums->count, .bytes = sums->bytes};
    omen_status status = generation_reserve(generation, slots, count);
    if (status == OMEN_OK)
        status = names_reserve(shard->names, batch->new_texts, batch->new_bytes);
    if (status == OMEN_OK && sums->count > 0)
        status = payloads_reserve(generation->payloads, &room);
    if (status == OMEN_OK && shard->options.algorithm == OMEN_HNSW && slots >= HNSW_FOUND_ROWS)
        status = linkers_reserve(&shard->linkers);
    if (status == OMEN_OK && batch->given->dtype != shard->options.dtype) {
        *work =
            mem_alloc(shard->options.dimension * sizeof **work + CHUNK_BYTES + shard->row_bytes);
        status = *work == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
    }
    if (status == OMEN_OK && sums->count > 0)
        status = fields_reserve(generation->fields, rows);
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

static void
apply(struct shard *shard, struct batch *batch, const struct field_rows *rows, float *work)
{
    struct generation *generation = shard_generation(shard);
    const omen_batch *given = batch->given;
    const uint32_t first = rows->first_slot;
    append(shard, given, work);
    batch_name_texts(batch, shard->names);
    for (size_t i = 0; i < given->count; i++) {
        const uint32_t slot = first + (uint32_t)i;
        idmap_name(generation->ids, slot, batch->keys[i]);
        if (rows->payloads != NULL && given->payloads[i] != NULL)
            payloads_set(generation->payloads, slot, given->payloads[i], given->payload_bytes[i]);
    }
    if (rows->payloads != NULL)
        fields_put(generation->fields, rows);
    if (batch->replaced > 0)
        atomic_fetch_add(&shard->replacing, 1);
    hnsw_publish(generation->hnsw);
    for (size_t i = 0; i < given->count; i++) {
        const uint32_t before = idmap_put(generation->ids, first + (uint32_t)i);
        ASSERT(before == batch->old[i]);
        if (given->ids_out != NULL)
            given->ids_out[i] = batch->keys[i];
    }
    shard->next_id = batch->next_id;
    atomic_store_explicit(&shard->kind, batch->kind, memory_order_release);
    shard_changed(shard);
    if (batch->replaced > 0)
        replace_old(shard, batch);
    epoch_reclaim(&shard->gate);
}

// Copies the rows, converting where their type is not the index's.
static void
append(struct shard *shard, const omen_batch *given, float *work)
{
    struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const struct vector_rows rows = rows_of(shard, given);
    if (work == NULL) {
        (void)hnsw_append(hnsw, rows.rows, rows.stride, (uint32_t)rows.count);
        return;
    }
    char *chunk = (char *)(work + rows.dim);
    const size_t chunk_rows = CHUNK_BYTES / shard->row_bytes + 1;
    for (size_t i = 0; i < rows.count; i += chunk_rows) {
        const size_t count = rows.count - i < chunk_rows ? rows.count - i : chunk_rows;
        for (size_t r = 0; r < count; r++)
            vector_input_convert(&rows, i + r, (enum vector_type)shard->options.dtype, work,
                                 chunk + r * shard->row_bytes);
        (void)hnsw_append(hnsw, chunk, shard->row_bytes, (uint32_t)count);
    }
}

static void
replace_old(struct shard *shard, const struct batch *batch)
{
    struct generation *generation = shard_generation(shard);
    epoch_wait(&shard->gate);
    for (size_t i = 0; i < batch->given->count; i++)
        if (batch->old[i] != IDMAP_NONE)
            generation_erase(generation, batch->old[i]);
    atomic_fetch_add(&shard->replacing, 1);
    atomic_fetch_add_explicit(&shard->tuning.turnover, batch->replaced, memory_order_relaxed);
    shard_changed(shard);
}
