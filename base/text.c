// base/text.c -- builds a line of text in the caller's buffer and never runs over its end.
//
// Shape: value. vsnprintf does the formatting straight into the rest of the buffer; when it says that
// more was wanted, the tail is replaced by "..." and the builder is closed.
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"

static void text_cut(struct text *text);

void
text_init(struct text *text, char *bytes, size_t capacity)
{
    ASSERT(capacity > 0);
    *text = (struct text){.bytes = bytes, .capacity = capacity};
    bytes[0] = '\0';
}

void
text_add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_add_list(text, format, arguments);
    va_end(arguments);
}

void
text_add_list(struct text *text, const char *format, va_list arguments)
{
    if (text->truncated)
        return;
    const size_t room = text->capacity - text->length;
    const int wanted = vsnprintf(text->bytes + text->length, room, format, arguments);
    if (wanted < 0) { // an argument that the locale cannot print: show the cut rather than nothing
        text->bytes[text->length] = '\0';
        text_cut(text);
    } else if ((size_t)wanted >= room) {
        text->length = text->capacity - 1;
        text_cut(text);
    } else {
        text->length += (size_t)wanted;
    }
}

void
text_add_bytes(struct text *text, const char *bytes, size_t count)
{
    if (text->truncated || count == 0)
        return;
    const size_t room = text->capacity - text->length - 1;
    const size_t fits = count < room ? count : room;
    memcpy(text->bytes + text->length, bytes, fits);
    text->length += fits;
    text->bytes[text->length] = '\0';
    if (fits < count)
        text_cut(text);
}

static void
text_cut(struct text *text)
{
    static const char dots[] = "...";
    const size_t dots_length = sizeof dots - 1;

    text->truncated = true;
    if (text->capacity <= dots_length) {
        while (!utf8_valid(text->bytes, text->length))
            text->length--;
        text->bytes[text->length] = '\0';
        return;
    }
    size_t end = text->length;
    if (end > text->capacity - 1 - dots_length)
        end = text->capacity - 1 - dots_length;
    // Do not leave half a character before the dots: step back over continuation bytes (10xxxxxx).
    while (end > 0 && ((unsigned char)text->bytes[end] & 0xc0u) == 0x80u)
        end--;
    memcpy(text->bytes + end, dots, dots_length + 1);
    text->length = end + dots_length;
}
