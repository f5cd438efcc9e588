// tests/lib/own_heap.h -- whether a sanitizer watches that has a heap of its own.
//
// Shape: value. That heap does not say what mallinfo2 tells, and a fork while another thread is inside it leaves its locks
// taken in the child (in clang 14: the C library takes and frees its own around a fork, the sanitizer not).
#ifndef OMEN_TESTS_OWN_HEAP_H
#define OMEN_TESTS_OWN_HEAP_H
#include "base/tsan.h"

// gcc and clang say it in different ways.
#if defined(OMEN_UNDER_TSAN) || defined(__SANITIZE_ADDRESS__)
#define OWN_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_HEAP 1
#endif
#endif
#ifndef OWN_HEAP
#define OWN_HEAP 0
#endif

#endif
