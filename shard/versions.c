// shard/versions.c -- slot -> sequence number of the last change of its point.
//
// Shape: handle, in memory.
#include "shard/versions.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/cell.h"

struct versions {
    struct arena numbers;
    uint32_t slots; // reserved
};

omen_status
versions_open(uint32_t slots_max, struct versions **out)
{
    ASSERT(slots_max <= SLOTS_MAX);
    *out = NULL;
    struct versions *versions = mem_alloc_zero(1, sizeof *versions);
    if (versions == NULL)
        return OMEN_E_NO_MEMORY;
    if (cells_init(&versions->numbers, slots_max) != OMEN_OK) {
        mem_free(versions);
        return OMEN_E_NO_MEMORY;
    }
    *out = versions;
    return OMEN_OK;
}

void
versions_close(struct versions *versions)
{
    if (versions == NULL)
        return;
    arena_fini(&versions->numbers);
    mem_free(versions);
}

omen_status
versions_reserve(struct versions *versions, uint32_t slots)
{
    const omen_status status = arena_reserve(&versions->numbers, slots);
    if (status == OMEN_OK && slots > versions->slots)
        versions->slots = slots;
    return status;
}

omen_status
versions_own(struct versions *versions, uint32_t slot)
{
    ASSERT(slot < versions->slots);
    return arena_own(&versions->numbers, slot) == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
}

void
versions_set(struct versions *versions, uint32_t slot, uint64_t version)
{
    ASSERT(slot < versions->slots);
    _Atomic uint64_t *number = (_Atomic uint64_t *)(void *)arena_own(&versions->numbers, slot);
    ASSERT(number != NULL); // else it was lent, and versions_own did not come before
    atomic_store_explicit(number, version, memory_order_release);
    arena_mark_locked(&versions->numbers, slot);
}

uint64_t
versions_get(const struct versions *versions, uint32_t slot)
{
    const _Atomic uint64_t *number = cell_at(&versions->numbers, slot);
    return atomic_load_explicit(number, memory_order_acquire);
}

size_t
versions_bytes(const struct versions *versions)
{
    return sizeof *versions + arena_owned_bytes(&versions->numbers, versions->slots);
}

omen_status
versions_save_step(struct versions *versions, struct versions_save *save,
                   const struct image_sink *sink, bool *done)
{
    ASSERT(save->rows <= versions->slots);
    return cells_save_step(&versions->numbers, IMAGE_VERSIONS, save->rows, &save->next, sink, done);
}

omen_status
versions_save(struct versions *versions, uint32_t rows, const struct image_sink *sink)
{
    struct versions_save save = {.rows = rows};
    omen_status status = OMEN_OK;
    for (bool done = false; !done && status == OMEN_OK;)
        status = versions_save_step(versions, &save, sink, &done);
    return status;
}

void
versions_touch(struct versions *versions)
{
    arena_touch_all(&versions->numbers);
}

omen_status
versions_load(uint32_t slots_max, uint32_t rows, const struct image_source *source,
              struct versions **out)
{
    omen_status status = versions_open(slots_max, out);
    if (status != OMEN_OK)
        return status;
    status = rows <= slots_max ? arena_load(&(*out)->numbers, IMAGE_VERSIONS, rows, source)
                               : OMEN_E_CORRUPT;
    (*out)->slots = rows;
    if (status != OMEN_OK) {
        versions_close(*out);
        *out = NULL;
    }
    return status;
}
