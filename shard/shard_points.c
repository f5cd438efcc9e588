// shard/shard_points.c -- points by id, points in the order of writing, and ids.
//
// Shape: handle, in memory; the readers' side.
//
// A row that is deleted while it is copied may lose its payload half-way, so the copy is made first and the row looked at
// afterwards: if it was erased meanwhile, the copy is thrown away (an upsert's old row is not erased before this reader
// leaves, so only a delete does this).
#include <string.h>

#include "base/limits.h"
#include "shard/shard_int.h"

#define CURSOR_END UINT64_MAX
#define CURSOR_SLOT_BITS 32u

omen_status
shard_id_text(struct shard *shard, uint64_t key, char *text, size_t capacity,
              struct omen_error *error)
{
    uint32_t ticket;
    omen_status status = shard_enter(shard, &ticket, error);
    if (status != OMEN_OK)
        return status;
    size_t bytes;
    const char *name = names_text(shard_generation(shard)->names, key, &bytes);
    if (name == NULL)
        status = error_set(error, OMEN_E_NOT_FOUND, "key %llu belongs to no text id",
                           (unsigned long long)key);
    else if (bytes + 1 > capacity)
        status = error_set(error, OMEN_E_INVALID,
                           "the text has %zu bytes and a NUL; capacity is %zu", bytes, capacity);
    else
        memcpy(text, name, bytes + 1);
    epoch_leave(&shard->gate, ticket);
    return status;
}

omen_status
shard_id_key(struct shard *shard, const char *text, uint64_t *key, struct omen_error *error)
{
    uint32_t ticket;
    const omen_status status = shard_enter(shard, &ticket, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t found =
        names_find(shard_generation(shard)->names, text, strnlen(text, ID_TEXT_BYTES_MAX + 1));
    epoch_leave(&shard->gate, ticket);
    if (found == NAMES_NONE)
        return error_set(error, OMEN_E_NOT_FOUND, "id \"%s\" was never given", text);
    *key = found;
    return OMEN_OK;
}

int
shard_contains(struct shard *shard, uint64_t id)
{
    uint32_t ticket;
    struct omen_error error;
    if (shard_enter(shard, &ticket, &error) != OMEN_OK)
        ticket = epoch_enter(&shard->gate); // as far as is known
    const bool there = idmap_find(shard_generation(shard)->ids, id) != IDMAP_NONE;
    epoch_leave(&shard->gate, ticket);
    return there;
}

static omen_status
check_with(int with, struct omen_error *error)
{
    if ((with & ~(OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD)) != 0)
        return error_set(error, OMEN_E_INVALID,
                         "with is %d; it is a sum of 1 (vector) and 2 (payload)", with);
    return OMEN_OK;
}

omen_status
shard_get(struct shard *shard, const struct id_list *ids, int with, struct points **out,
          struct omen_error *error)
{
    *out = NULL;
    const omen_status refused = check_with(with, error);
    if (refused != OMEN_OK)
        return refused;
    const struct points_config config = shard_points_config(shard, with, ids->count);
    omen_status status = points_open(&config, out);
    for (size_t i = 0; i < ids->count && status == OMEN_OK; i++) {
        uint32_t ticket;
        const omen_status entered = shard_enter(shard, &ticket, error);
        if (entered != OMEN_OK) {
            points_close(*out);
            *out = NULL;
            return entered;
        }
        const struct generation *generation = shard_generation(shard);
        const uint32_t slot = idmap_find(generation->ids, ids->ids[i]);
        struct point point = {.id = ids->ids[i]};
        if (slot != IDMAP_NONE)
            point = shard_point_at(generation, with, slot);
        status = points_add(*out, &point);
        epoch_leave(&shard->gate, ticket);
    }
    if (status == OMEN_OK)
        return OMEN_OK;
    points_close(*out);
    *out = NULL;
    return error_set_plain(error, status);
}

struct points_config
shard_points_config(const struct shard *shard, int with, size_t room)
{
    return (struct points_config){
        .room = room,
        .row_bytes = (with & OMEN_WITH_VECTOR) != 0 ? shard->row_bytes : 0,
        .payloads = (with & OMEN_WITH_PAYLOAD) != 0,
    };
}

struct point
shard_point_at(const struct generation *generation, int with, uint32_t slot)
{
    // First: a payload that is newer than its version makes a later if_version fail, the other way round it would hold.
    struct point point = {.version = generation_row_version(generation, slot),
                          .id = idmap_id(generation->ids, slot),
                          .found = true};
    if ((with & OMEN_WITH_VECTOR) != 0)
        point.vector = hnsw_row(generation->hnsw, slot);
    if ((with & OMEN_WITH_PAYLOAD) != 0)
        point.payload = payloads_get(generation->payloads, slot, &point.payload_bytes);
    if (hnsw_erased(generation->hnsw, slot))
        point.found = false;
    return point;
}

// ---- scrolling ----
//
// A cursor is the number of a generation and the next slot there. Compaction takes the dead rows out and keeps the
// order, so a cursor of an earlier generation moves to the number of rows that lived before it.

static omen_status
cursor_slot(struct shard *shard, const struct generation *generation, uint64_t cursor,
            uint32_t *slot, struct omen_error *error)
{
    uint32_t number = (uint32_t)(cursor >> CURSOR_SLOT_BITS);
    *slot = (uint32_t)cursor;
    if (cursor == 0)
        return OMEN_OK;
    if (number > generation->number)
        return error_set(error, OMEN_E_INVALID, "cursor %llu was not given by this index",
                         (unsigned long long)cursor);
    for (; number < generation->number; number++) {
        const struct renumbering *renumbering = atomic_load_explicit(
            &shard->renumberings[number % RENUMBERINGS_MAX], memory_order_acquire);
        if (renumbering == NULL || renumbering->number != number)
            return error_set(
                error, OMEN_E_INVALID,
                "the cursor is older than the last %u compactions; scroll from the start again",
                RENUMBERINGS_MAX);
        uint32_t before = 0;
        for (uint32_t i = 0; i < *slot && i < renumbering->lived.count; i++) {
            if (i % 64 == 0 && i + 64 <= *slot) {
                before += (uint32_t)__builtin_popcountll(renumbering->lived.words[i / 64]);
                i += 63;
            } else {
                before += bitmap_test(&renumbering->lived, i);
            }
        }
        *slot = before;
    }
    return OMEN_OK;
}

bool
shard_is_shown(const struct generation *generation, uint32_t slot, uint32_t rows)
{
    // In this order: one that was replaced before the row that its id leads to was there is erased by the time that it leads there.
    const uint32_t leads_to = idmap_find(generation->ids, idmap_id(generation->ids, slot));
    if (leads_to == IDMAP_NONE || (leads_to != slot && leads_to < rows))
        return false;
    return !hnsw_erased(generation->hnsw, slot);
}

// In the gate.
static omen_status
scroll_rows(struct visit *visit, struct scroll *scroll, const struct filter_view *view,
            uint32_t rows, struct points *points, struct omen_error *error)
{
    const struct generation *generation = visit->generation;
    const bool filtered = view->key.form != FILTER_FORM_NONE;
    uint32_t slot;
    omen_status status = cursor_slot(visit->shard, generation, scroll->cursor, &slot, error);
    if (status != OMEN_OK)
        return status;
    for (; slot < rows && points_count(points) < scroll->limit; slot++) {
        if (filtered && !bitmap_test(&view->answer.allowed, slot)) {
            if (slot % 64 == 0 && view->answer.allowed.words[slot / 64] == 0)
                slot += 63;
            continue;
        }
        if (!shard_is_shown(generation, slot, rows))
            continue;
        const struct point point = shard_point_at(generation, scroll->with, slot);
        if (point.found)
            status = points_add(points, &point);
        if (status != OMEN_OK)
            return error_set_plain(error, status);
    }
    scroll->cursor =
        slot >= rows ? CURSOR_END : (uint64_t)generation->number << CURSOR_SLOT_BITS | slot;
    return OMEN_OK;
}

omen_status
shard_scroll(struct shard *shard, struct scroll *scroll, struct points **out,
             struct omen_error *error)
{
    *out = NULL;
    omen_status status = check_with(scroll->with, error);
    if (status != OMEN_OK)
        return status;
    if (scroll->limit == 0)
        return error_set(error, OMEN_E_INVALID, "limit is 0");
    const struct points_config config = shard_points_config(shard, scroll->with, scroll->limit);
    struct filter_view view = {0};
    struct visit visit;
    if (scroll->filter != NULL)
        view.key = filter_key_of_text(scroll->filter);
    else if (scroll->filter_map != NULL)
        view.key = (struct filter_key){.form = FILTER_FORM_MAP,
                                       .bytes = scroll->filter_map,
                                       .count = scroll->filter_map_bytes};
    status = points_open(&config, out);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    status = visit_begin(shard, &visit, error);
    if (status == OMEN_OK) {
        const uint32_t rows = visit_rows(&visit);
        if (view.key.form != FILTER_FORM_NONE)
            status = filter_view_make(&visit, &view, error);
        if (status == OMEN_OK && scroll->cursor != CURSOR_END)
            status = scroll_rows(&visit, scroll, &view, view_rows(&view, rows), *out, error);
        visit_finish(&visit, status == OMEN_OK ? &view : NULL);
    }
    scroll->scanned = view.answer.scanned;
    if (status == OMEN_OK)
        return OMEN_OK;
    points_close(*out);
    *out = NULL;
    return status;
}

// Each id once, also while an upsert exchanges rows. `rows` is of visit_rows, before the filter was asked.
static uint64_t
count_shown(const struct visit *visit, const struct filter_answer *answer, uint32_t rows)
{
    uint64_t count = 0;
    if (atomic_load_explicit(&visit->shard->replacing, memory_order_acquire) == visit->replacing &&
        visit->replacing % 2 == 0)
        return answer->count;
    for (uint32_t slot = 0; slot < rows; slot++)
        count +=
            bitmap_test(&answer->allowed, slot) && shard_is_shown(visit->generation, slot, rows);
    return count;
}

omen_status
shard_count_by(struct shard *shard, const struct filter_key *key, struct shard_count *out,
               struct omen_error *error)
{
    struct filter_view view = {.key = *key};
    struct visit visit;
    omen_status status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    *out = (struct shard_count){.count = 0};
    if (key->form == FILTER_FORM_NONE) {
        out->count = idmap_count(visit.generation->ids);
    } else {
        const uint32_t rows = visit_rows(&visit);
        status = filter_view_make(&visit, &view, error);
        if (status == OMEN_OK)
            *out = (struct shard_count){count_shown(&visit, &view.answer, view_rows(&view, rows)),
                                        view.answer.scanned};
    }
    visit_finish(&visit, status == OMEN_OK && key->form != FILTER_FORM_NONE ? &view : NULL);
    return status;
}

omen_status
shard_count(struct shard *shard, const char *filter, uint64_t *count, struct omen_error *error)
{
    struct filter_key key = {.form = FILTER_FORM_NONE};
    struct shard_count counted = {.count = 0};
    if (filter != NULL)
        key = filter_key_of_text(filter);
    const omen_status status = shard_count_by(shard, &key, &counted, error);
    if (status == OMEN_OK)
        *count = counted.count;
    return status;
}
