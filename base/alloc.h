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

// Anonymous memory for large arrays, zeroed, 2 MiB aligned, asked to be backed by huge pages when
// `bytes` is at least 2 MiB. Ends with pages_free with the same size. Refusals are counted as above.
void *pages_alloc(size_t bytes);
void pages_free(void *memory, size_t bytes);
// Gives back the whole pages within such memory, which read as zeros from then on.
void pages_forget(void *memory, size_t bytes);

// Says that these bytes of a mapped file will be read from one end to the other: they are fetched in large reads, where
// a map that is advised of random reads fetches page by page. Few bytes are not worth it and are left alone.
void pages_will_need(const void *memory, size_t bytes);

// Address space for an array that may become large and never moves: it costs no memory, and nothing of it may be
// touched that pages_grow has not made usable. Aligned and ended as pages_alloc's.
void *pages_reserve(size_t bytes);
// Makes bytes [from, to) of a reservation usable, zeroed where they were not yet, in whole pages. NULL when memory
// is short, and then what was usable still is; else `memory`.
void *pages_grow(void *memory, size_t from, size_t to);

#endif
