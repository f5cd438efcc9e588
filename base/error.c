// base/error.c -- a status with a sentence for people.
//
// Shape: value. The text is built beside the error and copied over, so that a sentence may quote the one it
// replaces ("row 3: " + what was wrong).
#include "base/error.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"

omen_status
error_set(struct omen_error *error, omen_status status, const char *format, ...)
{
    if (error == NULL)
        return status;

    char buffer[sizeof error->text];
    struct text text;
    text_init(&text, buffer, sizeof buffer);
    va_list arguments;
    va_start(arguments, format);
    text_add_list(&text, format, arguments);
    va_end(arguments);

    error->status = status;
    memcpy(error->text, buffer, text.length + 1);
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
