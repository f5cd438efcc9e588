// shard/fields.c -- the field indexes of one shard, and the lock between those who ask and the
// one who writes.
//
// Shape: handle, in memory.
//
// Every step over a row walks its payload once for each indexed field; nothing is kept per slot.
// What a slot was put with is therefore given again when it is removed: the payload store has it.
//
// Reserving makes values and room, which no answer shows; so it may take and leave the lock as it
// likes, and undoing it is giving up the claims again.
#include "shard/fields.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "base/field_path.h"
#include "shard/fields_int.h"

#define ROWS_PER_LOCK 16u // some tens of microseconds

struct row_walk {
    struct field *field;
    uint32_t slot;
    uint32_t limit;
    uint64_t count; // values claimed, added, removed; or still to be given up
    bool present;   // any value but null was seen
    struct msgpack_value wrong;
};

static struct field_payload row_of(const struct field_rows *rows, size_t i);
static struct field_payload old_row_of(const struct field_rows *rows, size_t i);
static uint32_t slot_of(const struct field_rows *rows, size_t i);
static omen_status fill_field(struct field *field, const struct payloads *payloads, uint32_t slots,
                              uint32_t *bad_slot, struct omen_error *error);
static void forget(struct fields *fields, uint32_t slot);
static bool field_fits(struct field *field, struct field_payload row, struct msgpack_value *wrong);
static bool claim_row(struct field *field, struct field_payload row, uint32_t limit);
static void unclaim_row(struct field *field, struct field_payload row, uint64_t count);
static void add_row(struct field *field, struct field_payload row, uint32_t slot);
static void remove_row(struct field *field, struct field_payload row, uint32_t slot);
static bool walk_row(struct row_walk *walk, struct field_payload row, field_visit_fn visit);
static bool visit_check(void *context, const struct msgpack_value *value);
static bool visit_claim(void *context, const struct msgpack_value *value);
static bool visit_unclaim(void *context, const struct msgpack_value *value);
static bool visit_add(void *context, const struct msgpack_value *value);
static bool visit_remove(void *context, const struct msgpack_value *value);

omen_status
fields_open(struct fields **out)
{
    *out = mem_alloc_zero(1, sizeof **out);
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    rwlock_init(&(*out)->lock);
    return OMEN_OK;
}

void
fields_close(struct fields *fields)
{
    if (fields == NULL)
        return;
    for (uint32_t i = 0; i < fields->count; i++)
        field_close(fields->list[i]);
    mem_free(fields->forgotten);
    rwlock_fini(&fields->lock);
    mem_free(fields);
}

// The new index is filled where nobody sees it, and then shown.
omen_status
fields_declare(struct fields *fields, const struct field_spec *spec,
               const struct payloads *payloads, uint32_t slots, uint32_t *bad_slot,
               struct omen_error *error)
{
    struct field *field;
    const omen_status status =
        fields_prepare(fields, spec, payloads, slots, bad_slot, &field, error);
    if (status == OMEN_OK && field != NULL)
        fields_publish(fields, field, slots);
    return status;
}

omen_status
fields_prepare(const struct fields *fields, const struct field_spec *spec,
               const struct payloads *payloads, uint32_t slots, uint32_t *bad_slot,
               struct field **out, struct omen_error *error)
{
    *out = NULL;
    if (!field_name_valid(spec->name, spec->name_bytes))
        return error_set(error, OMEN_E_INVALID,
                         "a field name is 1..%u bytes of UTF-8 without empty parts",
                         FIELD_NAME_BYTES_MAX);
    if (!field_type_valid((int)spec->type))
        return error_set(error, OMEN_E_INVALID, "no such field type: %d", (int)spec->type);
    const struct field *same = fields_find(fields, spec->name, spec->name_bytes);
    if (same != NULL) {
        const enum field_type type = same->type;
        if (type == spec->type)
            return OMEN_OK;
        return error_set(error, OMEN_E_EXISTS, "field \"%.*s\" is indexed as %s already",
                         (int)spec->name_bytes, spec->name, field_type_name(type));
    }
    if (fields->count == FIELDS_MAX)
        return error_set(error, OMEN_E_FULL, "%u fields are indexed, which is the most",
                         FIELDS_MAX);

    struct field *field = field_open(spec);
    if (field == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const omen_status status = fill_field(field, payloads, slots, bad_slot, error);
    if (status != OMEN_OK) {
        field_close(field);
        return status;
    }
    *out = field;
    return OMEN_OK;
}

void
fields_publish(struct fields *fields, struct field *field, uint32_t slots)
{
    rwlock_acquire_exclusive(&fields->lock);
    fields->list[fields->count++] = field;
    if (fields->limit < slots)
        fields->limit = slots;
    rwlock_release_exclusive(&fields->lock);
}

bool
fields_has(const struct fields *fields, const char *name, size_t name_bytes)
{
    return fields_find(fields, name, name_bytes) != NULL;
}

// A filter that has found it may hold it without the lock, between two conditions or on its way to load it.
struct field *
fields_take(struct fields *fields, const char *name, size_t name_bytes)
{
    struct field *field = fields_find(fields, name, name_bytes);
    if (field == NULL)
        return NULL;
    rwlock_acquire_exclusive(&fields->lock);
    uint32_t at = 0;
    while (fields->list[at] != field)
        at++;
    fields->count--;
    memmove(&fields->list[at], &fields->list[at + 1], (fields->count - at) * sizeof field);
    if (field->load == FIELD_PENDING)
        fields_pending_less(fields);
    fields->corrupt -= field->load == FIELD_CORRUPT;
    if (field->load != FIELD_LOADED)
        field->load = FIELD_TAKEN;
    rwlock_release_exclusive(&fields->lock);
    return field;
}

void
fields_names(struct fields *fields, struct field_names *out)
{
    rwlock_acquire_shared(&fields->lock);
    out->count = fields->count;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *field = fields->list[i];
        out->list[i].type = (uint8_t)field->type;
        memcpy(out->list[i].name, field->name, field->name_bytes);
        out->list[i].name[field->name_bytes] = '\0';
    }
    rwlock_release_shared(&fields->lock);
}

struct field *
field_open(const struct field_spec *spec)
{
    struct field *field = mem_alloc(sizeof *field + spec->name_bytes);
    if (field == NULL)
        return NULL;
    *field = (struct field){.type = spec->type, .name_bytes = (uint32_t)spec->name_bytes};
    memcpy(field->name, spec->name, spec->name_bytes);
    if (field_index_open(spec->type, &field->index) != OMEN_OK) {
        mem_free(field);
        return NULL;
    }
    return field;
}

void
field_close(struct field *field)
{
    field_drop_column(field);
    field_index_close(field->index);
    slot_set_fini(&field->present);
    mem_free(field);
}

static omen_status
fill_field(struct field *field, const struct payloads *payloads, uint32_t slots, uint32_t *bad_slot,
           struct omen_error *error)
{
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct field_payload row;
        struct msgpack_value wrong;
        row.payload = payloads_get(payloads, slot, &row.bytes);
        if (row.payload == NULL)
            continue;
        const omen_status status = field_fill(field, &row, slot, slots, &wrong);
        if (status == OMEN_E_FIELD_TYPE) {
            *bad_slot = slot;
            return error_set(error, OMEN_E_FIELD_TYPE,
                             "field \"%.*s\" as %s: there is a value that is %s",
                             (int)field->name_bytes, field->name, field_type_name(field->type),
                             msgpack_kind_name(&wrong));
        }
        if (status != OMEN_OK)
            return error_set_plain(error, status);
    }
    return OMEN_OK;
}

omen_status
field_fill(struct field *field, const struct field_payload *payload, uint32_t slot, uint32_t limit,
           struct msgpack_value *wrong)
{
    if (!field_fits(field, *payload, wrong))
        return OMEN_E_FIELD_TYPE;
    if (!claim_row(field, *payload, limit))
        return OMEN_E_NO_MEMORY;
    add_row(field, *payload, slot);
    return OMEN_OK;
}

omen_status
fields_check(const struct fields *fields, const void *payload, size_t bytes, size_t row,
             struct omen_error *error)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        struct field *field = fields->list[i];
        struct msgpack_value wrong;
        if (field_fits(field, (struct field_payload){payload, bytes}, &wrong))
            continue;
        const enum field_type type = field->type;
        const bool text = wrong.kind == MSGPACK_STRING;
        return error_set(error, OMEN_E_FIELD_TYPE,
                         "row %zu: field \"%.*s\" is indexed as %s, but the value is %s%s", row,
                         (int)field->name_bytes, field->name, field_type_name(type),
                         msgpack_kind_name(&wrong),
                         text && type == FIELD_DATETIME ? " that is no RFC 3339 time"
                         : text && type == FIELD_UUID   ? " that is no UUID"
                         : wrong.kind == MSGPACK_UINT && type == FIELD_INTEGER ? " above 2^63-1"
                                                                               : "");
    }
    return OMEN_OK;
}

omen_status
fields_reserve(struct fields *fields, const struct field_rows *rows)
{
    if (fields->count == 0 || rows->payloads == NULL)
        return OMEN_OK;
    const omen_status status = fields_settle_all(fields);
    if (status != OMEN_OK)
        return status;
    uint32_t limit = fields->limit;
    for (size_t i = 0; i < rows->count; i++)
        if (slot_of(rows, i) >= limit)
            limit = slot_of(rows, i) + 1;

    size_t done = 0;
    uint32_t fields_done = 0;
    bool short_of_memory = false;
    while (done < rows->count && !short_of_memory) {
        rwlock_acquire_exclusive(&fields->lock);
        fields->limit = limit;
        for (uint32_t i = 0; i < ROWS_PER_LOCK && done < rows->count && !short_of_memory; i++) {
            for (fields_done = 0; fields_done < fields->count; fields_done++) {
                if (!claim_row(fields->list[fields_done], row_of(rows, done), limit)) {
                    short_of_memory = true;
                    break;
                }
            }
            done += !short_of_memory;
        }
        rwlock_release_exclusive(&fields->lock);
    }
    if (!short_of_memory)
        return OMEN_OK;

    // Row `done` has claims in the first `fields_done` fields, those before it in all.
    struct field_rows before = *rows;
    before.count = done;
    rwlock_acquire_exclusive(&fields->lock);
    for (uint32_t f = 0; f < fields_done; f++)
        unclaim_row(fields->list[f], row_of(rows, done), UINT64_MAX);
    rwlock_release_exclusive(&fields->lock);
    fields_cancel(fields, &before);
    return OMEN_E_NO_MEMORY;
}

void
fields_cancel(struct fields *fields, const struct field_rows *rows)
{
    if (fields->count == 0 || rows->payloads == NULL)
        return;
    for (size_t i = 0; i < rows->count; i++) {
        rwlock_acquire_exclusive(&fields->lock);
        for (uint32_t f = 0; f < fields->count; f++)
            unclaim_row(fields->list[f], row_of(rows, i), UINT64_MAX);
        rwlock_release_exclusive(&fields->lock);
    }
}

void
fields_put(struct fields *fields, const struct field_rows *rows)
{
    if (fields->count == 0 || (rows->payloads == NULL && rows->old == NULL))
        return;
    size_t done = 0;
    while (done < rows->count) {
        rwlock_acquire_exclusive(&fields->lock);
        for (uint32_t i = 0; i < ROWS_PER_LOCK && done < rows->count; i++, done++) {
            forget(fields, slot_of(rows, done));
            for (uint32_t f = 0; f < fields->count; f++) {
                remove_row(fields->list[f], old_row_of(rows, done), slot_of(rows, done));
                add_row(fields->list[f], row_of(rows, done), slot_of(rows, done));
            }
        }
        rwlock_release_exclusive(&fields->lock);
    }
}

void
fields_remove(struct fields *fields, uint32_t slot, const void *payload, size_t bytes)
{
    if (fields->count == 0 || payload == NULL)
        return;
    rwlock_acquire_exclusive(&fields->lock);
    forget(fields, slot);
    for (uint32_t f = 0; f < fields->count; f++)
        remove_row(fields->list[f], (struct field_payload){payload, bytes}, slot);
    rwlock_release_exclusive(&fields->lock);
}

void
fields_forget(struct fields *fields, uint32_t slot)
{
    rwlock_acquire_exclusive(&fields->lock);
    for (uint32_t i = 0; i < fields->count; i++)
        ASSERT(fields->list[i]->load != FIELD_LOADED);
    forget(fields, slot);
    rwlock_release_exclusive(&fields->lock);
}

// Under the lock. Without effect on what is loaded.
static void
forget(struct fields *fields, uint32_t slot)
{
    if (fields->forgotten == NULL || slot >= fields->image_rows)
        return;
    fields->forgotten[slot >> 6] |= 1ull << (slot & 63);
    fields->any_forgotten = true;
}

uint32_t
fields_count(const struct fields *fields)
{
    return fields->count;
}

void
fields_spec(const struct fields *fields, uint32_t i, struct field_spec *spec)
{
    ASSERT(i < fields->count);
    const struct field *field = fields->list[i];
    *spec = (struct field_spec){field->name, field->name_bytes, field->type};
}

size_t
fields_bytes(struct fields *fields)
{
    rwlock_acquire_shared(&fields->lock); // somebody may be loading
    size_t bytes = sizeof *fields;
    if (fields->forgotten != NULL)
        bytes += bitmap_words(fields->image_rows) * sizeof fields->forgotten[0];
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *field = fields->list[i];
        bytes += sizeof *field + field->name_bytes + slot_set_bytes(&field->present) +
                 field_index_bytes(field->index) + field_column_bytes(atomic_load(&field->column));
    }
    rwlock_release_shared(&fields->lock);
    return bytes;
}

struct field *
fields_find(const struct fields *fields, const char *name, size_t name_bytes)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        struct field *field = fields->list[i];
        if (field->name_bytes == name_bytes && memcmp(field->name, name, name_bytes) == 0)
            return field;
    }
    return NULL;
}

// ---- one row and one field ----

static struct field_payload
row_of(const struct field_rows *rows, size_t i)
{
    return rows->payloads == NULL || rows->payloads[i] == NULL
               ? (struct field_payload){NULL, 0}
               : (struct field_payload){rows->payloads[i], rows->bytes[i]};
}

static struct field_payload
old_row_of(const struct field_rows *rows, size_t i)
{
    return rows->old == NULL || rows->old[i] == NULL
               ? (struct field_payload){NULL, 0}
               : (struct field_payload){rows->old[i], rows->old_bytes[i]};
}

static uint32_t
slot_of(const struct field_rows *rows, size_t i)
{
    return rows->slots == NULL ? rows->first_slot + (uint32_t)i : rows->slots[i];
}

static bool
field_fits(struct field *field, struct field_payload row, struct msgpack_value *wrong)
{
    struct row_walk walk = {.field = field};
    const bool stopped = walk_row(&walk, row, visit_check);
    *wrong = walk.wrong;
    return !stopped;
}

static bool
claim_row(struct field *field, struct field_payload row, uint32_t limit)
{
    struct row_walk walk = {.field = field, .limit = limit};
    bool claimed = !walk_row(&walk, row, visit_claim);
    if (claimed && walk.present)
        claimed = slot_set_claim(&field->present, limit);
    if (claimed)
        return true;
    struct row_walk undo = {.field = field, .count = walk.count};
    (void)walk_row(&undo, row, visit_unclaim);
    return false;
}

static void
unclaim_row(struct field *field, struct field_payload row, uint64_t count)
{
    struct row_walk walk = {.field = field, .count = count};
    (void)walk_row(&walk, row, visit_unclaim);
    if (walk.present)
        slot_set_unclaim(&field->present);
}

static void
add_row(struct field *field, struct field_payload row, uint32_t slot)
{
    struct row_walk walk = {.field = field, .slot = slot};
    atomic_store_explicit(&field->column_tried, false, memory_order_relaxed);
    (void)walk_row(&walk, row, visit_add);
    if (walk.present) {
        const bool added = slot_set_add(&field->present, slot);
        ASSERT(added ||
               field->was_stored); // else the slot was put twice without removing what it had
    }
    field->multi_rows += walk.count > 1;
}

static void
remove_row(struct field *field, struct field_payload row, uint32_t slot)
{
    if (field->load != FIELD_LOADED)
        return; // the slot is forgotten
    struct row_walk walk = {.field = field, .slot = slot};
    (void)walk_row(&walk, row, visit_remove);
    if (walk.present) {
        const bool removed = slot_set_remove(&field->present, slot);
        ASSERT(removed || field->was_stored); // else it was not put with this payload
    }
    if (walk.count > 1 && field->multi_rows > 0)
        field->multi_rows--;
}

static bool
walk_row(struct row_walk *walk, struct field_payload row, field_visit_fn visit)
{
    return field_walk(row.payload, row.bytes, walk->field->name, walk->field->name_bytes, visit,
                      walk);
}

static enum field_key_result
key_of(struct row_walk *walk, const struct msgpack_value *value, struct field_key *key)
{
    walk->present = walk->present || value->kind != MSGPACK_NIL;
    return field_key_of_payload(walk->field->type, value, key);
}

static bool
visit_check(void *context, const struct msgpack_value *value)
{
    struct row_walk *walk = context;
    struct field_key key;
    if (key_of(walk, value, &key) != FIELD_KEY_WRONG)
        return false;
    walk->wrong = *value;
    return true;
}

static bool
visit_claim(void *context, const struct msgpack_value *value)
{
    struct row_walk *walk = context;
    struct field_key key;
    if (key_of(walk, value, &key) != FIELD_KEY_OK)
        return false;
    if (!field_index_claim(walk->field->index, &key, walk->limit))
        return true;
    walk->count++;
    return false;
}

static bool
visit_unclaim(void *context, const struct msgpack_value *value)
{
    struct row_walk *walk = context;
    struct field_key key;
    if (key_of(walk, value, &key) == FIELD_KEY_OK && walk->count > 0) {
        field_index_unclaim(walk->field->index, &key);
        walk->count--;
    }
    return false;
}

static bool
visit_add(void *context, const struct msgpack_value *value)
{
    struct row_walk *walk = context;
    struct field_key key;
    if (key_of(walk, value, &key) == FIELD_KEY_OK &&
        field_index_add(walk->field->index, &key, walk->slot)) {
        struct field_column *column = atomic_load(&walk->field->column);
        if (column != NULL && !field_column_add(column, &key, walk->slot))
            field_drop_column(walk->field);
        walk->count++;
    }
    return false;
}

static bool
visit_remove(void *context, const struct msgpack_value *value)
{
    struct row_walk *walk = context;
    struct field_key key;
    if (key_of(walk, value, &key) == FIELD_KEY_OK &&
        field_index_remove(walk->field->index, &key, walk->slot)) {
        struct field_column *column = atomic_load(&walk->field->column);
        if (column != NULL)
            field_column_remove(column, walk->slot);
        walk->count++;
    }
    return false;
}
