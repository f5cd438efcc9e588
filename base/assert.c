// base/assert.c -- the end of a process that found itself wrong.
//
// Shape: shell. Writes one line to stderr without touching the heap or stdio (their state may be what is
// broken) and aborts, so that a core dump and a sanitizer's stack are taken at the spot.
#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

void
assert_failed(const char *file, int line, const char *what)
{
    char buffer[512];
    struct text message;
    text_init(&message, buffer, sizeof buffer);
    text_add(&message, "%s:%d: assertion failed: ", file, line);
    text_add(&message, "%s", what);

    // Nothing can be done about a write that fails here, and abort() follows either way.
    const char newline = '\n';
    if (write(STDERR_FILENO, buffer, strlen(buffer)) < 0 || write(STDERR_FILENO, &newline, 1) < 0)
        abort();
    abort();
}
