// tools/omenctl/resume.h -- an import's --resume: where the note says that it begins, and the note while it goes on.
//
// Shape: shell. What a note says is note.h's.
#ifndef OMEN_TOOLS_OMENCTL_RESUME_H
#define OMEN_TOOLS_OMENCTL_RESUME_H
#include "tools/omenctl/convert.h"
#include "tools/omenctl/note.h"
#include "tools/omenctl/remote.h"

struct resume {
    bool found;    // there is a note, and it is of this import
    uint64_t rows; // which has come so far
    struct note note;
};

// Without --resume: nothing. EXIT_PRECONDITION, and said, where the note is of another import.
enum exit_code resume_open(const struct call *call, struct client *client,
                           const struct convert *convert, const struct api_collection *collection,
                           struct resume *resume);
// All rows before this one are settled.
enum exit_code resume_note(const struct resume *resume, const struct call *call, uint64_t rows);

#endif
