// base/error.c -- a status with a sentence for people.
//
// Shape: value. The text is built beside the error and copied over, so that a sentence may quote the one it
// replaces ("row 3: " + what was wrong). Sentences begin with what is meant, a path perhaps, and end with what is wrong
// with it: of one that is too long the middle is the least loss.
#include "base/error.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "base/utf8.h"

#define WHOLE_MAX 8192u // PATH_MAX and a sentence
#define HEAD_BYTES 96u  // of a text that is too long

// Leaves out what is in the middle, and no half of a character; returns the length.
static size_t
shorten(char *bytes, size_t length, size_t most)
{
    if (length <= most)
        return length;
    const size_t head = utf8_cut(bytes, length, HEAD_BYTES);
    size_t from = length - (most - head - 3);
    while (from < length && ((unsigned char)bytes[from] & 0xc0u) == 0x80u)
        from++;
    memcpy(bytes + head, "...", 3);
    memmove(bytes + head + 3, bytes + from, length - from + 1);
    return head + 3 + length - from;
}

#undef error_set // what an analyzer is told instead
#undef error_set_plain

omen_status
error_set(struct omen_error *error, omen_status status, const char *format, ...)
{
    if (error == NULL)
        return status;

    char buffer[WHOLE_MAX];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    va_list arguments;
    va_start(arguments, format);
    text_add_list(&text, format, arguments);
    va_end(arguments);

    const size_t length = shorten(buffer, text.length, sizeof error->text - 1);
    error->status = status;
    memcpy(error->text, buffer, length + 1);
    return status;
}

omen_status
error_about(struct omen_error *error, omen_status status, const char *what)
{
    const size_t length = strlen(what);
    if (error == NULL || (length > 0 && strncmp(error->text, what, length) == 0))
        return status;
    return error_set(error, status, "%s: %s", what, error->text);
}

omen_status
error_set_plain(struct omen_error *error, omen_status status)
{
    return error_set(error, status, "%s", status_text(status));
}
