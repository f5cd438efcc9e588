// shard/shard_erase.c -- deletes: by id, by text, by filter.
//
// Shape: handle.
//
// First the rows that are there are collected, then the log has their ids, then nothing can fail; a search that begins
// after the call never answers a deleted row. A reader that found a row before may find its payload gone; it looks
// afterwards whether the row was erased meanwhile.
//
// A filter may match more points than one commit should hold: those go in parts.
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/shard_log.h"

// Of the longest texts: a quarter of what an entry of the log may have.
#define PART_KEYS ((size_t)1 << 20)

// Keys that lead to rows, to be deleted together. One may be there twice.
struct doomed {
    uint64_t *keys;
    size_t count;
};

static omen_status doomed_open(struct doomed *doomed, size_t room, struct omen_error *error);
static void doom(struct shard *shard, struct doomed *doomed, uint64_t key);
static omen_status erase(struct shard *shard, const struct doomed *doomed, size_t part_keys,
                         size_t *deleted, struct omen_error *error);
static size_t erase_rows(struct shard *shard, const struct doomed *doomed);

omen_status
shard_delete(struct shard *shard, const uint64_t *ids, size_t count, size_t *deleted,
             struct omen_error *error)
{
    struct doomed doomed;
    *deleted = 0;
    omen_status status = shard_may_write(shard, error);
    if (status == OMEN_OK)
        status = doomed_open(&doomed, count, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    for (size_t i = 0; i < count; i++)
        doom(shard, &doomed, ids[i]);
    status = erase(shard, &doomed, SIZE_MAX, deleted, error);
    lock_release(&shard->writers);
    mem_free(doomed.keys);
    return status;
}

omen_status
shard_delete_text(struct shard *shard, const char *const *ids, size_t count, size_t *deleted,
                  struct omen_error *error)
{
    struct doomed doomed;
    *deleted = 0;
    omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (ids[i] == NULL)
            return error_set(error, OMEN_E_INVALID, "id %zu is NULL", i);
    status = doomed_open(&doomed, count, error);
    if (status != OMEN_OK)
        return status;
    lock_acquire(&shard->writers);
    if (atomic_load(&shard->kind) == ID_KIND_INTEGER)
        status =
            error_set(error, OMEN_E_ID_KIND, "this index holds integer ids; text ids were given");
    for (size_t i = 0; i < count && status == OMEN_OK; i++) {
        const uint64_t key =
            names_find(shard_target(shard)->names, ids[i], strnlen(ids[i], ID_TEXT_BYTES_MAX + 1));
        if (key != NAMES_NONE)
            doom(shard, &doomed, key);
    }
    if (status == OMEN_OK)
        status = erase(shard, &doomed, SIZE_MAX, deleted, error);
    lock_release(&shard->writers);
    mem_free(doomed.keys);
    return status;
}

omen_status
shard_delete_where(struct shard *shard, const char *filter, size_t *deleted,
                   struct omen_error *error)
{
    *deleted = 0;
    omen_status status = shard_may_write(shard, error);
    if (status != OMEN_OK)
        return status;
    struct filter_view view = {.key = filter_key_of_text(filter)};
    struct doomed doomed = {0};
    struct visit visit;
    lock_acquire(&shard->writers);
    status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK) {
        lock_release(&shard->writers);
        return status;
    }
    status = filter_view_compute(&visit, &view, error);
    visit_leave(&visit); // erasing may have to wait for the gate
    const struct bitmap *rows = &view.answer.allowed;
    if (status == OMEN_OK)
        status = doomed_open(&doomed, view.answer.count, error);
    if (status == OMEN_OK) {
        for (uint32_t w = 0; w < bitmap_words(rows->count); w++)
            for (uint64_t word = rows->words[w]; word != 0; word &= word - 1) {
                const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(word);
                doom(shard, &doomed, idmap_id(visit.generation->ids, slot));
            }
        status = erase(shard, &doomed, PART_KEYS, deleted, error);
    }
    visit_end(&visit);
    lock_release(&shard->writers);
    mem_free(doomed.keys);
    return status;
}

void
shard_replay_delete(struct shard *shard, const struct op_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t key =
            rows->kind == ID_KIND_TEXT
                ? names_find(shard_target(shard)->names, rows->texts[i], strlen(rows->texts[i]))
                : rows->ids[i];
        if (key != NAMES_NONE)
            (void)erase_rows(shard, &(struct doomed){.keys = &key, .count = 1});
    }
}

static omen_status
doomed_open(struct doomed *doomed, size_t room, struct omen_error *error)
{
    *doomed = (struct doomed){.keys = mem_alloc(room * sizeof *doomed->keys)};
    return doomed->keys != NULL ? OMEN_OK : error_set_plain(error, OMEN_E_NO_MEMORY);
}

static void
doom(struct shard *shard, struct doomed *doomed, uint64_t key)
{
    if (idmap_find(shard_target(shard)->ids, key) != IDMAP_NONE)
        doomed->keys[doomed->count++] = key;
}

// In parts of at most `part_keys`; *deleted counts what was deleted, after a failure too.
static omen_status
erase(struct shard *shard, const struct doomed *doomed, size_t part_keys, size_t *deleted,
      struct omen_error *error)
{
    if (doomed->count == 0)
        return OMEN_OK;
    omen_status status = OMEN_OK;
    for (size_t done = 0; done < doomed->count && status == OMEN_OK;) {
        const size_t left = doomed->count - done;
        const struct doomed part = {.keys = doomed->keys + done,
                                    .count = left < part_keys ? left : part_keys};
        status = shard_log_delete(shard, part.keys, part.count, error);
        if (status == OMEN_OK)
            *deleted += erase_rows(shard, &part);
        done += part.count;
    }
    if (*deleted > 0 || status == OMEN_OK)
        shard_written(shard, *deleted);
    return status;
}

static size_t
erase_rows(struct shard *shard, const struct doomed *doomed)
{
    struct generation *generation = shard_target(shard);
    size_t erased = 0;
    for (size_t i = 0; i < doomed->count; i++) {
        const uint32_t slot = idmap_remove(generation->ids, doomed->keys[i]);
        if (slot == IDMAP_NONE)
            continue;
        generation_erase(generation, slot);
        erased++;
    }
    atomic_fetch_add_explicit(&shard->tuning.turnover, erased, memory_order_relaxed);
    if (erased > 0)
        shard_changed(shard);
    return erased;
}
