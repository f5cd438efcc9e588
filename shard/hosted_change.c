// shard/hosted_change.c -- one conditional change: which rows it is for, and what they do to points and sums.
//
// Shape: handle.
//
// First every row is looked at, and nothing changes: those outside of the range are skipped, those whose condition does not hold or
// that do not fit are noted, for the others the difference of their terms is computed. Then the rest is applied by what
// applies an embedded index's log, whole or not at all; then the sums, which cannot fail. What is decided here must not depend on
// anything but the points and what the log has said: not on slots, memory, or what another half of the shard holds.
#include <stdio.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "base/utf8.h"
#include "shard/hosted_int.h"
#include "shard/patch.h"
#include "shard/shard_log.h"

// A row that will be applied.
struct chosen {
    uint32_t row;
    uint32_t slot; // where its point is, or IDMAP_NONE
    uint64_t id_hash;
    const void *payload; // as it will be; NULL: none
    size_t payload_bytes;
    struct hosted_sum difference;
};

struct work {
    struct hosted *hosted;
    struct shard *shard;
    const struct op_change *change;
    struct hosted_result *result;
    struct chosen *chosen;
    uint32_t count;
    struct hosted_twins twins;
    struct patch *patch; // PATCH
    uint8_t *patched;    // one payload in the making
    struct block {       // of payloads that were made
        struct block *next;
        size_t used, room;
        uint8_t bytes[];
    } * blocks;
};

static omen_status work_init(struct work *work, struct omen_error *error);
static void work_fini(struct work *work);
static omen_status look_at(struct work *work, uint32_t row, struct omen_error *error);
static omen_status apply_writes(struct work *work, struct omen_error *error);
static omen_status apply_payloads(struct work *work, struct omen_error *error);
static omen_status apply_deletes(struct work *work, struct omen_error *error);

static bool
writes_rows(enum op_mode mode)
{
    return mode == OP_MODE_UPSERT || mode == OP_MODE_INSERT || mode == OP_MODE_UPDATE;
}

static uint32_t
replaced(const struct work *work)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < work->count; i++)
        count += work->chosen[i].slot != IDMAP_NONE;
    return count;
}

// What a change may not be, whatever is there.
static omen_status
check_change(const struct shard *shard, const struct op_change *change, struct omen_error *error)
{
    const struct op_rows *rows = &change->rows;
    if (writes_rows(change->mode) != (rows->vectors != NULL) ||
        (rows->vectors != NULL && rows->row_bytes != shard->row_bytes))
        return error_set(error, OMEN_E_CORRUPT, "change: its rows have %zu bytes instead of %zu",
                         rows->row_bytes, writes_rows(change->mode) ? shard->row_bytes : 0);
    const enum id_kind kind = (enum id_kind)atomic_load(&shard->kind);
    if (kind != ID_KIND_NONE && kind != rows->kind)
        return error_set(error, OMEN_E_ID_KIND, "this index holds %s ids; %s ids were given",
                         kind == ID_KIND_TEXT ? "text" : "integer",
                         kind == ID_KIND_TEXT ? "integer" : "text");
    return OMEN_OK;
}

static omen_status
apply_chosen(struct work *work, size_t *erased, struct omen_error *error)
{
    const enum op_mode mode = work->change->mode;
    const omen_status status = writes_rows(mode)        ? apply_writes(work, error)
                               : mode == OP_MODE_DELETE ? apply_deletes(work, error)
                                                        : apply_payloads(work, error);
    if (status != OMEN_OK)
        return status;
    if (writes_rows(mode) || mode == OP_MODE_DELETE)
        *erased = replaced(work);
    for (uint32_t i = 0; i < work->count; i++)
        sums_add(work->hosted->outside.sums, work->chosen[i].id_hash, work->chosen[i].difference);
    work->result->rows = work->count;
    return OMEN_OK;
}

omen_status
hosted_change(struct hosted *hosted, const struct op_change *change, struct hosted_result *result,
              size_t *erased, struct omen_error *error)
{
    struct work work = {
        .hosted = hosted, .shard = hosted->shard, .change = change, .result = result};
    *erased = 0;
    omen_status status = check_change(work.shard, change, &result->error);
    if (status != OMEN_OK)
        return OMEN_OK; // all copies say so
    status = work_init(&work, error);
    for (uint32_t row = 0; row < change->rows.count && status == OMEN_OK; row++)
        status = look_at(&work, row, error);
    if (status == OMEN_OK && work.count > 0)
        status = apply_chosen(&work, erased, error);
    // The other half of a shard may hold the first point; its ids are as much of one kind.
    if (status == OMEN_OK && change->rows.count > 0 &&
        (change->mode == OP_MODE_UPSERT || change->mode == OP_MODE_INSERT))
        atomic_store_explicit(&work.shard->kind, change->rows.kind, memory_order_release);
    work_fini(&work);
    return status;
}

static omen_status
work_init(struct work *work, struct omen_error *error)
{
    const struct op_change *change = work->change;
    work->chosen = mem_alloc((change->rows.count + 1) * sizeof *work->chosen);
    omen_status status =
        work->chosen == NULL ? OMEN_E_NO_MEMORY : hosted_twins_init(&work->twins, &change->rows);
    if (status == OMEN_OK && change->mode == OP_MODE_PATCH) {
        work->patched = mem_alloc(PATCH_ROOM);
        status = work->patched != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    }
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    if (change->mode != OP_MODE_PATCH)
        return OMEN_OK;
    status = patch_open(change->set, change->set_bytes, change->unset, change->unset_bytes,
                        &work->patch, error);
    if (status == OMEN_OK || status == OMEN_E_NO_MEMORY)
        return status;
    work->result->error = *error; // nothing of it is done, by nobody
    work->patch = NULL;
    return OMEN_OK;
}

static void
work_fini(struct work *work)
{
    for (struct block *block = work->blocks; block != NULL; block = work->blocks) {
        work->blocks = block->next;
        mem_free(block);
    }
    patch_close(work->patch);
    mem_free(work->patched);
    hosted_twins_fini(&work->twins);
    mem_free(work->chosen);
}

// ---- looking at rows ----

// Notes a row that is not done.
static omen_status
fail(struct work *work, uint32_t row, const struct omen_error *why, struct omen_error *error)
{
    struct hosted_result *result = work->result;
    if ((result->failed_count & (result->failed_count - 1)) == 0) { // a power of two: full
        const uint32_t room = result->failed_count == 0 ? 1 : result->failed_count * 2;
        struct hosted_failed *failed = mem_resize(result->failed, room * sizeof *failed);
        if (failed == NULL)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        result->failed = failed;
    }
    result->failed[result->failed_count++] = (struct hosted_failed){.row = row, .error = *why};
    return OMEN_OK;
}

omen_status
hosted_refuse(const struct op_rows *rows, size_t row, omen_status status, const char *what,
              struct omen_error *error)
{
    if (rows->kind == ID_KIND_TEXT)
        return error_set(error, status, "row %zu: id \"%s\" %s", row, rows->texts[row], what);
    return error_set(error, status, "row %zu: id %llu %s", row, (unsigned long long)rows->ids[row],
                     what);
}

static omen_status
check_version(const struct work *work, uint32_t row, uint32_t slot, struct omen_error *why)
{
    const struct op_change *change = work->change;
    char words[GENERATION_WORDS_BYTES];
    if (change->if_versions == NULL ||
        generation_version_is(work->shard->target, slot, change->if_versions[row], words))
        return OMEN_OK;
    return hosted_refuse(&change->rows, row, OMEN_E_CONFLICT, words, why);
}

// What the mode says, and that no id comes twice.
static omen_status
check_mode(struct work *work, uint32_t row, const struct chosen *chosen, struct omen_error *why)
{
    const struct op_rows *rows = &work->change->rows;
    const enum op_mode mode = work->change->mode;
    char text[48];
    const size_t twin = hosted_twin(&work->twins, row, chosen->id_hash);
    if (twin != SIZE_MAX) {
        (void)snprintf(text, sizeof text, "is that of row %zu already", twin);
        return hosted_refuse(rows, row, OMEN_E_DUPLICATE_ID, text, why);
    }
    if (mode == OP_MODE_INSERT && chosen->slot != IDMAP_NONE)
        return hosted_refuse(rows, row, OMEN_E_EXISTS, "exists already", why);
    if (mode != OP_MODE_UPSERT && mode != OP_MODE_INSERT && mode != OP_MODE_DELETE &&
        chosen->slot == IDMAP_NONE)
        return hosted_refuse(rows, row, OMEN_E_NOT_FOUND, "is not there", why);
    return OMEN_OK;
}

// Whether it can be an id at all.
static omen_status
check_id(const struct work *work, uint32_t row, struct omen_error *why)
{
    const struct op_rows *rows = &work->change->rows;
    if (rows->kind != ID_KIND_TEXT && rows->ids[row] > work->shard->options.id_max)
        return hosted_refuse(rows, row, OMEN_E_ID_RANGE, "is above the largest id", why);
    if (rows->kind == ID_KIND_TEXT && !utf8_valid(rows->texts[row], strlen(rows->texts[row])))
        return error_set(why, OMEN_E_ID_LENGTH, "row %u: its text id is not UTF-8", row);
    return OMEN_OK;
}

// Whether the payload may be kept.
static omen_status
check_payload(const struct work *work, uint32_t row, const struct chosen *chosen,
              struct omen_error *why)
{
    if (chosen->payload == NULL)
        return OMEN_OK;
    if (chosen->payload_bytes > PAYLOAD_BYTES_MAX)
        return error_set(why, OMEN_E_PAYLOAD,
                         "row %u: its payload has %zu bytes; at most %u are kept", row,
                         chosen->payload_bytes, PAYLOAD_BYTES_MAX);
    const omen_status status = msgpack_check_map(chosen->payload, chosen->payload_bytes, why);
    if (status != OMEN_OK)
        return error_set(why, status, "row %u: %s", row, why->text);
    return fields_check(work->shard->target->fields, chosen->payload, chosen->payload_bytes, row,
                        why);
}

// A copy of work->patched that stays until work_fini.
static omen_status
keep_patched(struct work *work, size_t bytes, const void **out)
{
    struct block *block = work->blocks;
    if (block == NULL || block->room - block->used < bytes) {
        const size_t room = bytes > 65536 ? bytes : 65536;
        block = mem_alloc(sizeof *block + room);
        if (block == NULL)
            return OMEN_E_NO_MEMORY;
        *block = (struct block){.next = work->blocks, .room = room};
        work->blocks = block;
    }
    memcpy(block->bytes + block->used, work->patched, bytes);
    *out = block->bytes + block->used;
    block->used += bytes;
    return OMEN_OK;
}

static void
new_payload(struct work *work, struct chosen *chosen)
{
    const struct op_rows *rows = &work->change->rows;
    if (work->change->mode != OP_MODE_PATCH) {
        const bool has = rows->payloads != NULL && rows->payloads[chosen->row] != NULL;
        chosen->payload = has ? rows->payloads[chosen->row] : NULL;
        chosen->payload_bytes = has ? rows->payload_bytes[chosen->row] : 0;
        return;
    }
    size_t old_bytes;
    const void *old = payloads_get(work->shard->target->payloads, chosen->slot, &old_bytes);
    chosen->payload_bytes = patch_payload(work->patch, old, old_bytes, work->patched);
    chosen->payload = chosen->payload_bytes > 0 ? work->patched : NULL;
}

static struct hosted_sum
difference_of(const struct work *work, const struct chosen *chosen)
{
    const struct shard *shard = work->shard;
    const enum op_mode mode = work->change->mode;
    struct hosted_sum before = {0}, after = {0};
    if (chosen->slot != IDMAP_NONE)
        before = outside_row_term(shard, chosen->slot, chosen->id_hash);
    if (mode != OP_MODE_DELETE) {
        const struct sums_point point = {
            .id_hash = chosen->id_hash,
            .version = shard->applied_seq,
            .vector = writes_rows(mode) ? (const char *)work->change->rows.vectors +
                                              (size_t)chosen->row * shard->row_bytes
                                        : hnsw_row(shard->target->hnsw, chosen->slot),
            .vector_bytes = shard->row_bytes,
            .payload = chosen->payload,
            .payload_bytes = chosen->payload_bytes,
        };
        after = sums_term(&point);
    }
    return sum_minus(after, before);
}

static uint32_t
find_slot(const struct shard *shard, const struct op_rows *rows, uint32_t row)
{
    const struct generation *generation = shard->target;
    const uint64_t key =
        rows->kind == ID_KIND_TEXT
            ? names_find(generation->names, rows->texts[row], strlen(rows->texts[row]))
            : rows->ids[row];
    return key == NAMES_NONE ? IDMAP_NONE : idmap_find(generation->ids, key);
}

static omen_status
look_at(struct work *work, uint32_t row, struct omen_error *error)
{
    const struct op_rows *rows = &work->change->rows;
    struct chosen chosen = {.row = row, .id_hash = hosted_row_hash(rows, row)};
    struct omen_error why = {0};
    if (work->result->error.status != OMEN_OK ||
        !hosted_covers(&work->hosted->outside.mark, chosen.id_hash))
        return OMEN_OK;
    omen_status status = check_id(work, row, &why);
    if (status == OMEN_OK) {
        chosen.slot = find_slot(work->shard, rows, row);
        status = check_version(work, row, chosen.slot, &why);
    }
    if (status == OMEN_OK)
        status = check_mode(work, row, &chosen, &why);
    if (status != OMEN_OK)
        return fail(work, row, &why, error);
    if (work->change->mode == OP_MODE_DELETE && chosen.slot == IDMAP_NONE)
        return OMEN_OK;
    new_payload(work, &chosen);
    status = check_payload(work, row, &chosen, &why);
    if (status != OMEN_OK)
        return status == OMEN_E_NO_MEMORY ? error_set_plain(error, status)
                                          : fail(work, row, &why, error);
    chosen.difference = difference_of(work, &chosen);
    if (chosen.payload == work->patched && chosen.payload != NULL &&
        keep_patched(work, chosen.payload_bytes, &chosen.payload) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    work->chosen[work->count++] = chosen;
    return OMEN_OK;
}

// ---- applying ----

// What was chosen, as a batch in memory of its own.
struct selected {
    omen_batch batch;
    void *memory, *vectors;
};

static omen_status
select_rows(const struct work *work, struct selected *selected)
{
    const struct op_rows *rows = &work->change->rows;
    const size_t count = work->count, row_bytes = work->shard->row_bytes;
    const bool packed = writes_rows(work->change->mode) && count < rows->count;
    *selected = (struct selected){.batch = OMEN_BATCH_INIT};
    uint64_t *ids = mem_alloc(count * (sizeof *ids + 2 * sizeof(void *) + sizeof(size_t)));
    if (packed)
        selected->vectors = mem_alloc(count * row_bytes);
    if (ids == NULL || (packed && selected->vectors == NULL)) {
        mem_free(ids);
        mem_free(selected->vectors);
        return OMEN_E_NO_MEMORY;
    }
    selected->memory = ids;
    const char **texts = (const char **)(void *)(ids + count);
    const void **payloads = (const void **)(void *)(texts + count);
    size_t *payload_bytes = (size_t *)(void *)(payloads + count);
    omen_batch *batch = &selected->batch;
    for (size_t i = 0; i < count; i++) {
        const struct chosen *chosen = &work->chosen[i];
        if (rows->kind == ID_KIND_TEXT)
            texts[i] = rows->texts[chosen->row];
        else
            ids[i] = rows->ids[chosen->row];
        payloads[i] = chosen->payload;
        payload_bytes[i] = chosen->payload_bytes;
        if (chosen->payload != NULL)
            batch->payloads = payloads;
        if (packed)
            memcpy((char *)selected->vectors + i * row_bytes,
                   (const char *)rows->vectors + (size_t)chosen->row * row_bytes, row_bytes);
    }
    batch->count = count;
    batch->dtype = work->shard->options.dtype;
    batch->vectors = packed ? selected->vectors : rows->vectors;
    batch->ids = rows->kind == ID_KIND_TEXT ? NULL : ids;
    batch->text_ids = rows->kind == ID_KIND_TEXT ? texts : NULL;
    batch->payload_bytes = payload_bytes;
    return OMEN_OK;
}

static void
selected_fini(struct selected *selected)
{
    mem_free(selected->memory);
    mem_free(selected->vectors);
}

// There are too many points: nothing of the change is done, by no copy of this shard.
static omen_status
refuse_full(struct work *work)
{
    (void)error_set(&work->result->error, OMEN_E_FULL,
                    "%u rows do not fit: %u of %u points are there", work->count,
                    hnsw_live(work->shard->target->hnsw), work->shard->options.slots_max);
    work->result->failed_count = 0;
    work->count = 0;
    return OMEN_OK;
}

static omen_status
apply_writes(struct work *work, struct omen_error *error)
{
    struct shard *shard = work->shard;
    struct selected selected;
    const uint32_t slots_max = shard->options.slots_max;
    const struct hnsw *hnsw = shard->target->hnsw;
    if (work->count > slots_max - hnsw_live(hnsw))
        return refuse_full(work);
    if (work->count > slots_max - hnsw_count(hnsw))
        return OMEN_E_BUSY;
    if (hnsw_count(hnsw) + work->count >= HNSW_FOUND_ROWS &&
        shard->options.algorithm == OMEN_HNSW && linkers_reserve(&shard->linkers) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    omen_status status = select_rows(work, &selected);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    status = shard_replay_rows(shard, &selected.batch, 0, error);
    selected_fini(&selected);
    return status == OMEN_E_FULL ? refuse_full(work) : status; // of texts
}

static omen_status
apply_payloads(struct work *work, struct omen_error *error)
{
    struct selected selected;
    omen_status status = select_rows(work, &selected);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    status = shard_replay_payloads(work->shard, &selected.batch, error);
    selected_fini(&selected);
    return status;
}

static omen_status
apply_deletes(struct work *work, struct omen_error *error)
{
    struct selected selected;
    const omen_status status = select_rows(work, &selected);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    const struct op_rows rows = {
        .kind = work->change->rows.kind,
        .count = work->count,
        .ids = selected.batch.ids,
        .texts = selected.batch.text_ids,
    };
    shard_replay_delete(work->shard, &rows);
    selected_fini(&selected);
    return OMEN_OK;
}

// ---- ids that come twice ----

omen_status
hosted_twins_init(struct hosted_twins *twins, const struct op_rows *rows)
{
    *twins = (struct hosted_twins){.rows = rows, .room = 16};
    while (twins->room < 2 * rows->count)
        twins->room *= 2;
    twins->table = mem_alloc_zero(twins->room, sizeof *twins->table);
    return twins->table != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
hosted_twins_fini(struct hosted_twins *twins)
{
    mem_free(twins->table);
    twins->table = NULL;
}

static bool
same_id(const struct op_rows *rows, size_t a, size_t b)
{
    return rows->kind == ID_KIND_TEXT ? strcmp(rows->texts[a], rows->texts[b]) == 0
                                      : rows->ids[a] == rows->ids[b];
}

size_t
hosted_twin(struct hosted_twins *twins, size_t row, uint64_t id_hash)
{
    size_t place = (size_t)id_hash & (twins->room - 1);
    for (; twins->table[place] != 0; place = (place + 1) & (twins->room - 1))
        if (same_id(twins->rows, twins->table[place] - 1, row))
            return twins->table[place] - 1;
    twins->table[place] = (uint32_t)row + 1;
    return SIZE_MAX;
}
