// base/alloc.c -- the one door to the heap, so that a test can close it.
//
// Shape: value. Every allocation first asks the countdown. Outside of tests the countdown is zero and the
// question costs one relaxed load of a line that nobody writes.
#include "base/alloc.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"

#ifndef MADV_COLLAPSE
// Headers may be older than the kernel.
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define SMALL_PAGE_BYTES ((size_t)4096)
#define WORTH_FETCHING_BYTES ((size_t)32768)

static _Atomic uint64_t fail_after; // 0: off; 1: the next one fails
static _Atomic bool fail_once;      // else all later ones fail too
static _Atomic uint64_t refused_count;

static bool refused(void);
static size_t round_up(size_t bytes, size_t multiple);

void *
mem_alloc(size_t bytes)
{
    return refused() ? NULL : malloc(bytes > 0 ? bytes : 1);
}

void *
mem_alloc_zero(size_t count, size_t bytes)
{
    if (refused())
        return NULL;
    return count > 0 && bytes > 0 ? calloc(count, bytes) : calloc(1, 1);
}

void *
mem_alloc_aligned(size_t alignment, size_t bytes)
{
    ASSERT(alignment >= 16 && (alignment & (alignment - 1)) == 0);
    if (refused() || bytes > SIZE_MAX - alignment)
        return NULL;
    // C11 wants a multiple of the alignment.
    return aligned_alloc(alignment, round_up(bytes > 0 ? bytes : 1, alignment));
}

void *
mem_resize(void *memory, size_t bytes)
{
    return refused() ? NULL : realloc(memory, bytes > 0 ? bytes : 1);
}

void
mem_free(void *memory)
{
    free(memory);
}

void
mem_fail_after(uint64_t n)
{
    atomic_store(&refused_count, 0);
    atomic_store(&fail_once, false);
    atomic_store(&fail_after, n);
}

void
mem_fail_once(uint64_t n)
{
    atomic_store(&refused_count, 0);
    atomic_store(&fail_once, true);
    atomic_store(&fail_after, n);
}

uint64_t
mem_refused(void)
{
    return atomic_load(&refused_count);
}

void
mem_keep_large_apart(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, (int)MEM_APART_BYTES); // a sanitizer's heap knows no such thing
    // What is smaller stays with its arena: who is asked with frames of 150 KB would else touch 38 new pages for each.
    (void)mallopt(M_TRIM_THRESHOLD, (int)MEM_APART_BYTES);
}

// The kernel gives a huge page only where a whole aligned 2 MiB lies in one mapping, and mmap aligns to 4 KiB.
// So 2 MiB more address space than needed is taken, and what sticks out on both sides is given back at once.
static void *
map_aligned(size_t bytes, int protection)
{
    if (refused() || bytes > SIZE_MAX - HUGE_PAGE_BYTES - SMALL_PAGE_BYTES)
        return NULL;
    const size_t want = round_up(bytes > 0 ? bytes : 1, SMALL_PAGE_BYTES);
    const size_t mapped = want + HUGE_PAGE_BYTES;
    char *map = mmap(NULL, mapped, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;

    const size_t head = (HUGE_PAGE_BYTES - (uintptr_t)map % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    const size_t tail = mapped - head - want;
    if (head > 0)
        munmap(map, head);
    if (tail > 0)
        munmap(map + head + want, tail);
    return map + head;
}

// Whether small pages that hold something can be joined: since Linux 6.1. Of no bytes, so that nothing is done.
static bool
can_join(void *memory)
{
    return madvise(memory, 0, MADV_COLLAPSE) == 0;
}

// All of this is advice: a kernel without transparent huge pages refuses it, and the memory is as good.
void *
pages_alloc(size_t bytes)
{
    void *memory = map_aligned(bytes, PROT_READ | PROT_WRITE);
    if (memory != NULL && bytes >= HUGE_PAGE_BYTES)
        (void)madvise(memory, round_up(bytes, SMALL_PAGE_BYTES),
                      can_join(memory) ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    return memory;
}

void
pages_make_huge(void *memory, size_t bytes)
{
    const size_t whole = bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    ASSERT((uintptr_t)memory % HUGE_PAGE_BYTES == 0);
    if (whole > 0 && can_join(memory))
        (void)madvise(memory, whole, MADV_HUGEPAGE);
}

void
pages_join(void *memory)
{
    ASSERT((uintptr_t)memory % HUGE_PAGE_BYTES == 0);
    (void)madvise(memory, HUGE_PAGE_BYTES, MADV_COLLAPSE);
}

static void *
map_small(size_t bytes, int protection)
{
    void *memory = map_aligned(bytes, protection);
    if (memory != NULL)
        (void)madvise(memory, round_up(bytes > 0 ? bytes : 1, SMALL_PAGE_BYTES), MADV_NOHUGEPAGE);
    return memory;
}

void *
pages_alloc_small(size_t bytes)
{
    return map_small(bytes, PROT_READ | PROT_WRITE);
}

void *
pages_reserve(size_t bytes)
{
    return map_small(bytes, PROT_NONE);
}

// What is not accessible is not counted against the memory that the kernel promised; it is from here on.
void *
pages_grow(void *memory, size_t from, size_t to)
{
    if (refused())
        return NULL;
    const size_t first = from / SMALL_PAGE_BYTES * SMALL_PAGE_BYTES;
    const size_t end = round_up(to, SMALL_PAGE_BYTES);
    if (end > first && mprotect((char *)memory + first, end - first, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    return memory;
}

void
pages_free(void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    ASSERT((uintptr_t)memory % HUGE_PAGE_BYTES == 0);
    const int failed = munmap(memory, round_up(bytes > 0 ? bytes : 1, SMALL_PAGE_BYTES));
    ASSERT(failed == 0);
}

void
pages_free_from(void *memory, size_t kept, size_t bytes)
{
    const size_t end = round_up(bytes, SMALL_PAGE_BYTES);
    ASSERT((uintptr_t)memory % HUGE_PAGE_BYTES == 0 && kept > 0 && kept % SMALL_PAGE_BYTES == 0);
    if (kept >= end)
        return;
    const int failed = munmap((char *)memory + kept, end - kept);
    ASSERT(failed == 0);
}

void
pages_populate(void *memory, size_t bytes)
{
    const uintptr_t from = (uintptr_t)memory / SMALL_PAGE_BYTES * SMALL_PAGE_BYTES;
    (void)madvise((void *)from, (uintptr_t)memory + bytes - from, MADV_POPULATE_WRITE);
}

void
pages_forget(void *memory, size_t bytes)
{
    const uintptr_t from = (uintptr_t)memory, page = SMALL_PAGE_BYTES;
    const uintptr_t first = (from + page - 1) / page * page, end = (from + bytes) / page * page;
    if (first < end)
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

void
pages_will_need(const void *memory, size_t bytes)
{
    const uintptr_t from = (uintptr_t)memory / SMALL_PAGE_BYTES * SMALL_PAGE_BYTES;
    if (bytes >= WORTH_FETCHING_BYTES)
        (void)madvise((void *)from, (uintptr_t)memory + bytes - from, MADV_WILLNEED);
}

static bool
refused(void)
{
    if (atomic_load_explicit(&fail_after, memory_order_relaxed) == 0)
        return false;
    uint64_t left = atomic_load(&fail_after), next;
    do {
        if (left == 0)
            return false;
        next = left > 1 ? left - 1 : atomic_load(&fail_once) ? 0 : 1;
    } while (!atomic_compare_exchange_weak(&fail_after, &left, next));
    if (left > 1)
        return false;
    atomic_fetch_add(&refused_count, 1);
    return true;
}

static size_t
round_up(size_t bytes, size_t multiple)
{
    return (bytes + multiple - 1) / multiple * multiple;
}
