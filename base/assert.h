// base/assert.h -- asserts guard against our own mistakes; statuses guard against the world.
//
// Shape: value. ASSERT stays on in release builds. ASSERT_SLOW, for checks that cost O(n), is on where
// OMEN_SLOW_CHECKS is defined (debug, sanitizer and simulation builds).
#ifndef OMEN_BASE_ASSERT_H
#define OMEN_BASE_ASSERT_H

__attribute__((noreturn, cold)) void assert_failed(const char *file, int line, const char *what);

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(__FILE__, __LINE__, #condition))

#ifdef OMEN_SLOW_CHECKS
#define ASSERT_SLOW(condition) ASSERT(condition)
#else
#define ASSERT_SLOW(condition) ((void)sizeof(!(condition)))
#endif

#endif
