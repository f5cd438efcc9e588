// index/build_memory.c -- what a bulk build takes: all of it is counted before it is taken, so a limit is kept whatever the estimates
// (build_size.c) said.
//
// Shape: handle.
#include "base/alloc.h"
#include "index/build_int.h"

static size_t
whole_pages(size_t bytes)
{
    return bytes > 0 ? (bytes + BUILD_PAGE_BYTES - 1) / BUILD_PAGE_BYTES * BUILD_PAGE_BYTES
                     : BUILD_PAGE_BYTES;
}

static void
raise_to(_Atomic size_t *peak, size_t now)
{
    size_t before = atomic_load_explicit(peak, memory_order_relaxed);
    while (now > before && !atomic_compare_exchange_weak(peak, &before, now))
        ;
}

bool
build_take(struct build *build, size_t bytes)
{
    const size_t limit = build->config.memory_max;
    const size_t now =
        atomic_fetch_add_explicit(&build->memory_now, bytes, memory_order_relaxed) + bytes;
    if (limit != 0 && now > limit) {
        atomic_fetch_sub_explicit(&build->memory_now, bytes, memory_order_relaxed);
        build_fail(build, OMEN_E_NO_MEMORY);
        return false;
    }
    raise_to(&build->memory_peak, now);
    raise_to(&build->memory_stage, now);
    return true;
}

void
build_give_back(struct build *build, size_t bytes)
{
    atomic_fetch_sub_explicit(&build->memory_now, bytes, memory_order_relaxed);
}

void *
build_alloc(struct build *build, size_t bytes)
{
    const size_t whole = whole_pages(bytes);
    if (!build_take(build, whole))
        return NULL;
    void *memory = pages_alloc(whole);
    if (memory == NULL) {
        build_give_back(build, whole);
        build_fail(build, OMEN_E_NO_MEMORY);
        return NULL;
    }
    pages_make_huge(memory, whole);
    return memory;
}

void
build_free(struct build *build, void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    pages_free(memory, whole_pages(bytes));
    build_give_back(build, whole_pages(bytes));
}

void
block_close(struct build *build)
{
    build_free(build, build->block, build->block_bytes);
    build->block = NULL;
    build->block_bytes = 0;
}

void
block_trim(struct build *build, size_t bytes)
{
    const size_t kept = whole_pages(bytes), all = whole_pages(build->block_bytes);
    if (kept >= all)
        return;
    pages_free_from(build->block, kept, all);
    build_give_back(build, all - kept);
    build->block_bytes = kept;
}

void *
build_heap(struct build *build, size_t bytes)
{
    if (!build_take(build, bytes))
        return NULL;
    void *memory = mem_alloc(bytes);
    if (memory == NULL) {
        build_give_back(build, bytes);
        build_fail(build, OMEN_E_NO_MEMORY);
    }
    return memory;
}

void
build_heap_free(struct build *build, void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    mem_free(memory);
    build_give_back(build, bytes);
}
