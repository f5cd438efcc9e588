// base/alloc.h -- the one door to the heap, so that a test can close it.
//
// Shape:   value (a thin one over malloc).
// Threads: any. The failure countdown is process-wide; which allocation is the n-th is certain with one thread only.
// Errors:  every function answers NULL when memory is short; the caller reports OMEN_E_NO_MEMORY.
#ifndef OMEN_BASE_ALLOC_H
#define OMEN_BASE_ALLOC_H
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t bytes);                    // uninitialised; bytes may be 0
void *mem_alloc_zero(size_t count, size_t bytes); // checks the product for overflow
void *mem_alloc_aligned(size_t alignment,
                        size_t bytes);        // alignment a power of two >= 16; uninitialised
void *mem_resize(void *memory, size_t bytes); // as realloc; on NULL the old block stays
void mem_free(void *memory);                  // accepts NULL

// Makes the n-th allocation from now (1 = the next) and every later one fail; 0 ends it. For
// fail-the-n-th-malloc sweeps.
void mem_fail_after(uint64_t n);
// The n-th only.
void mem_fail_once(uint64_t n);
// How many allocations were refused since the last mem_fail_after or mem_fail_once.
uint64_t mem_refused(void);

// For a process that opens many files of LMDB, each of which has 3 MiB that it seldom touches: from now on what is at least
// MEM_APART_BYTES large has pages of its own, which cost nothing until they are touched and go back when it is freed. Left alone, the heap
// raises that size to whatever was freed last, and hands out memory that others have touched.
#define MEM_APART_BYTES ((size_t)1 << 20)
void mem_keep_large_apart(void);

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

// Anonymous memory for large arrays, zeroed, aligned to HUGE_PAGE_BYTES. Its pages are small ones until they are asked to be
// huge; where small ones could not be joined later they are huge from the beginning. Ends with pages_free with the
// same size. Refusals are counted as above.
void *pages_alloc(size_t bytes);
void pages_free(void *memory, size_t bytes);
// Ends what lies behind the first `kept` bytes, whole small pages and more than none; the rest ends with pages_free of `kept`.
void pages_free_from(void *memory, size_t kept, size_t bytes);
// From now on the first touch of a page in the whole huge pages of [memory, memory + bytes) makes all of it. Aligned as above.
void pages_make_huge(void *memory, size_t bytes);
// After that, one which may have been touched before: what is there moves to a huge page, beside whoever uses it.
void pages_join(void *memory);
// Makes the pages of such memory that are not there yet, as a write to each would, beside whoever uses it: a thread that has
// nothing else to do spares one that has. Where the kernel cannot (before 5.14), or has no memory, the writes do it.
void pages_populate(void *memory, size_t bytes);
// Gives back the whole pages within such memory, which read as zeros from then on.
void pages_forget(void *memory, size_t bytes);

// Says that these bytes of a mapped file will be read from one end to the other: they are fetched in large reads, where
// a map that is advised of random reads fetches page by page. Few bytes are not worth it and are left alone.
void pages_will_need(const void *memory, size_t bytes);

// The same in small pages for good, of which those that are not touched cost nothing: for what is seldom used whole. The heap
// gives memory back late or never, and clears what it gives.
void *pages_alloc_small(size_t bytes);

// Address space for an array that may become large and never moves: it costs no memory, and nothing of it may be
// touched that pages_grow has not made usable. Its pages are small and stay so. Aligned and ended as pages_alloc's.
void *pages_reserve(size_t bytes);
// Makes bytes [from, to) of a reservation usable, zeroed where they were not yet, in whole pages. NULL when memory
// is short, and then what was usable still is; else `memory`.
void *pages_grow(void *memory, size_t from, size_t to);

#endif
