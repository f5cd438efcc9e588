// base/tsan.h -- whether ThreadSanitizer watches.
//
// Shape: value. Code that is right for reasons which it cannot know (an address dependency, a torn number that is
// checked afterwards) does a little more under it.
#ifndef OMEN_BASE_TSAN_H
#define OMEN_BASE_TSAN_H

// gcc and clang say it in different ways.
#if defined(__SANITIZE_THREAD__)
#define OMEN_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OMEN_UNDER_TSAN 1
#endif
#endif

#endif
