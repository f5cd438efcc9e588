// base/text.h -- builds a line of text in the caller's buffer and never runs over its end.
//
// Shape:   value. Allocates nothing; the buffer is the caller's and outlives the builder.
// Threads: one at a time.
//
// The buffer always holds a NUL-terminated string. What does not fit is cut at a UTF-8 character and the
// cut is shown by "..." at the end (where the buffer has room for it), so that a reader knows.
#ifndef OMEN_BASE_TEXT_H
#define OMEN_BASE_TEXT_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *bytes;     // borrowed
    size_t capacity; // bytes, the NUL included
    size_t length;   // bytes without the NUL
    bool truncated;  // something was cut; later additions are dropped
};

// `capacity` must be at least 1.
void text_init(struct text *text, char *bytes, size_t capacity);

// printf-style.
__attribute__((format(printf, 2, 3))) void text_add(struct text *text, const char *format, ...);
__attribute__((format(printf, 2, 0))) void text_add_list(struct text *text, const char *format,
                                                         va_list arguments);
// `count` bytes as they are; a NUL among them ends what a reader of the string sees.
void text_add_bytes(struct text *text, const char *bytes, size_t count);

#endif
