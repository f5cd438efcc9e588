// tools/omenctl/note.c -- how far an import came, and of what: the file of --resume as text.
//
// Shape: value.
#include "tools/omenctl/note.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "omendb import 1\n"
#define LAST_LINE "rows: "

void
note_init(struct note *note)
{
    text_init(&note->text, note->bytes, sizeof note->bytes);
    text_add(&note->text, FIRST_LINE);
}

void
note_add(struct note *note, const char *key, const char *format, ...)
{
    va_list arguments;
    text_add(&note->text, "%s: ", key);
    const size_t from = note->text.length;
    va_start(arguments, format);
    text_add_list(&note->text, format, arguments);
    va_end(arguments);
    for (size_t i = from; i < note->text.length; i++)
        if ((unsigned char)note->bytes[i] < ' ')
            note->bytes[i] = '?';
    text_add(&note->text, "\n");
}

void
note_write(const struct note *note, uint64_t rows, struct text *out)
{
    text_add_bytes(out, note->bytes, note->text.length);
    text_add(out, LAST_LINE "%" PRIu64 "\n", rows);
}

// A whole number and the line's end, so that one which was cut is none.
static bool
read_rows(const char *text, uint64_t *rows)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *rows = strtoull(text, &end, 10);
    return errno == 0 && strcmp(end, "\n") == 0;
}

// Of a line "key: value\n", or what is there of one.
struct line {
    int key_bytes, value_bytes;
    const char *value;
};

static struct line
line_at(const char *text)
{
    const size_t bytes = strcspn(text, "\n"), key = strcspn(text, ":\n");
    const size_t value = key + 2 < bytes ? key + 2 : bytes;
    return (struct line){(int)key, (int)(bytes - value), text + value};
}

static const char *
next_line(const char *text)
{
    text += strcspn(text, "\n");
    return text + (*text == '\n');
}

static omen_status
refuse_other(const char *ours, const char *theirs, struct omen_error *error)
{
    const struct line here = line_at(ours), there = line_at(theirs);
    if (here.key_bytes != there.key_bytes || memcmp(ours, theirs, (size_t)here.key_bytes) != 0)
        return error_set(error, OMEN_E_CONFLICT,
                         "it does not say '%.*s', which an import by this "
                         "omenctl does",
                         here.key_bytes, ours);
    return error_set(error, OMEN_E_CONFLICT,
                     "it is of another import: %.*s is '%.*s' there, and '%.*s' here. Name another "
                     "note, or remove it to begin anew",
                     here.key_bytes, ours, there.value_bytes, there.value, here.value_bytes,
                     here.value);
}

omen_status
note_read(const struct note *note, const char *said, uint64_t *rows, struct omen_error *error)
{
    const size_t first = strlen(FIRST_LINE);
    if (read_rows(said, rows))
        return error_set(error, OMEN_E_CONFLICT,
                         "it says %" PRIu64 " rows, but not of which collection and file: an older "
                         "omenctl wrote it. If they are these: --skip %" PRIu64
                         "; else remove it to begin anew",
                         *rows, *rows);
    if (strncmp(said, FIRST_LINE, first) != 0)
        return error_set(error, OMEN_E_INVALID, "it does not say how far an import came");
    said += first;
    for (const char *ours = note->bytes + first; *ours != '\0'; ours = next_line(ours)) {
        const size_t bytes = strcspn(ours, "\n") + 1;
        if (strncmp(ours, said, bytes) != 0)
            return refuse_other(ours, said, error);
        said += bytes;
    }
    if (strncmp(said, LAST_LINE, strlen(LAST_LINE)) != 0 ||
        !read_rows(said + strlen(LAST_LINE), rows))
        return error_set(error, OMEN_E_INVALID, "it does not say how far an import came");
    return OMEN_OK;
}
