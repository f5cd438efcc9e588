// tools/omenctl/note.h -- how far an import came, and of what: the file of --resume as text.
//
// Shape: value.
//
//      omendb import 1
//      collection: docs
//      input: /data/vectors.npy
//      ...
//      rows: 2000
//
// A note of one import would let another begin where nothing was written. So it says what it is of, a line for each thing that makes an
// import another one, and is refused where any line differs. Python's import (clients/python/omendb/importing.py) has the same.
#ifndef OMEN_TOOLS_OMENCTL_NOTE_H
#define OMEN_TOOLS_OMENCTL_NOTE_H
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

#define NOTE_BYTES_MAX 32768u

struct note {
    struct text text; // of `bytes`: all lines but the last
    char bytes[NOTE_BYTES_MAX];
};

void note_init(struct note *note);
// A line. Control characters of the value, which may be a file's name, become '?'.
__attribute__((format(printf, 3, 4))) void note_add(struct note *note, const char *key,
                                                    const char *format, ...);

// The rows that `said` (NUL-terminated) has of the import that *note is of.
// OMEN_E_CONFLICT: it is of another one, and *error says by what, or it is by an omenctl that did not say of what; OMEN_E_INVALID: it is
// no note.
OMEN_MUST_CHECK omen_status note_read(const struct note *note, const char *said, uint64_t *rows,
                                      struct omen_error *error);
// What the file is to have.
void note_write(const struct note *note, uint64_t rows, struct text *out);

#endif
