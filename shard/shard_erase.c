// shard/shard_erase.c -- deletes: by id, by text, by filter.
//
// Shape: handle, in memory.
//
// Nothing here can fail once ids are known, and a search that begins after the call never answers a deleted row. A
// reader that found a row before may find its payload gone; it looks afterwards whether the row was erased meanwhile.
#include <string.h>

#include "base/limits.h"
#include "shard/shard_int.h"

static void erase_id(struct shard *shard, uint64_t id, size_t *deleted);
static void erase_end(struct shard *shard, size_t deleted);

omen_status
shard_delete(struct shard *shard, const uint64_t *ids, size_t count, size_t *deleted,
             struct omen_error *error)
{
    const omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    *deleted = 0;
    lock_acquire(&shard->writers);
    for (size_t i = 0; i < count; i++)
        erase_id(shard, ids[i], deleted);
    erase_end(shard, *deleted);
    lock_release(&shard->writers);
    return OMEN_OK;
}

omen_status
shard_delete_text(struct shard *shard, const char *const *ids, size_t count, size_t *deleted,
                  struct omen_error *error)
{
    const omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (ids[i] == NULL)
            return error_set(error, OMEN_E_INVALID, "id %zu is NULL", i);
    *deleted = 0;
    lock_acquire(&shard->writers);
    if (atomic_load(&shard->kind) == ID_KIND_INTEGER) {
        lock_release(&shard->writers);
        return error_set(error, OMEN_E_ID_KIND,
                         "this index holds integer ids; text ids were given");
    }
    for (size_t i = 0; i < count; i++) {
        const uint64_t key =
            names_find(shard->names, ids[i], strnlen(ids[i], ID_TEXT_BYTES_MAX + 1));
        if (key != NAMES_NONE)
            erase_id(shard, key, deleted);
    }
    erase_end(shard, *deleted);
    lock_release(&shard->writers);
    return OMEN_OK;
}

omen_status
shard_delete_where(struct shard *shard, const char *filter, size_t *deleted,
                   struct omen_error *error)
{
    omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    struct filter_view view = {.key = {.form = FILTER_FORM_TEXT,
                                       .bytes = filter,
                                       .count = strnlen(filter, FILTER_TEXT_BYTES_MAX + 1)}};
    struct visit visit;
    *deleted = 0;
    lock_acquire(&shard->writers);
    status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK) {
        lock_release(&shard->writers);
        return status;
    }
    status = filter_view_compute(&visit, &view, error);
    visit_leave(&visit); // erasing may have to wait for the gate
    if (status == OMEN_OK) {
        const struct bitmap *rows = &view.answer.allowed;
        for (uint32_t w = 0; w < bitmap_words(rows->count); w++)
            for (uint64_t word = rows->words[w]; word != 0; word &= word - 1) {
                const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(word);
                erase_id(shard, idmap_id(visit.generation->ids, slot), deleted);
            }
        erase_end(shard, *deleted);
    }
    visit_end(&visit);
    lock_release(&shard->writers);
    return status;
}

static void
erase_id(struct shard *shard, uint64_t id, size_t *deleted)
{
    struct generation *generation = shard_generation(shard);
    const uint32_t slot = idmap_remove(generation->ids, id);
    if (slot == IDMAP_NONE)
        return;
    generation_erase(generation, slot);
    *deleted += 1;
}

static void
erase_end(struct shard *shard, size_t deleted)
{
    if (deleted == 0)
        return;
    atomic_fetch_add_explicit(&shard->tuning.turnover, deleted, memory_order_relaxed);
    shard_changed(shard);
    compact_when_due(shard);
    linkers_wake(&shard->linkers);
}
