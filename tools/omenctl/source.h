// tools/omenctl/source.h -- reads the files that an index is made from: vectors, ids, payloads.
//
// Shape: handle over files; a shell's part. What the bytes mean is rows.h's, npy.h's and json.h's.
#ifndef OMEN_TOOLS_OMENCTL_SOURCE_H
#define OMEN_TOOLS_OMENCTL_SOURCE_H
#include <stdio.h>

#include "tools/omenctl/json.h"
#include "tools/omenctl/rows.h"

struct source {
    FILE *file;
    struct rows rows;
    uint64_t next; // the row that is read next
};

// OMEN_E_NOT_FOUND when there is no such file; else as rows_parse. `format` is ROWS_FORMATS: as the name's ending says.
OMEN_MUST_CHECK omen_status source_open(const char *path, enum rows_format format,
                                        struct source *out, struct omen_error *error);
void source_close(struct source *source); // accepts a zeroed one
// The next rows are those from `row` on.
OMEN_MUST_CHECK omen_status source_seek(struct source *source, uint64_t row,
                                        struct omen_error *error);
// The next `count` rows, dense, as the file's type. `out` has room for count * rows.row_bytes.
OMEN_MUST_CHECK omen_status source_read(struct source *source, uint64_t count, uint8_t *out,
                                        struct omen_error *error);

// What follows is behind the mark (EF BB BF) that some programs put before UTF-8. At the file's beginning; the file can be rewound.
void source_skip_mark(FILE *file);

// ---- ids: an npy file of integers, or a text file with one a line ----
enum id_form { ID_FORM_AUTO, ID_FORM_INTEGER, ID_FORM_TEXT };

struct id_source {
    FILE *file;
    char *line; // of a text file
    size_t line_capacity;
    enum id_form form;   // never AUTO once open
    uint32_t item_bytes; // of an npy file; 0: text
    bool is_signed;
    uint64_t left; // ids of an npy file not read yet
    uint64_t row;  // for messages
};

// AUTO: integers when the first line is one.
OMEN_MUST_CHECK omen_status id_source_open(const char *path, enum id_form form,
                                           struct id_source *out, struct omen_error *error);
void id_source_close(struct id_source *source); // accepts a zeroed one
// How many ids there are; of lines, without empty ones at the end. Before the first is read.
OMEN_MUST_CHECK omen_status id_source_count(struct id_source *source, uint64_t *count,
                                            struct omen_error *error);
// The next id: `*id`, or `*text` (until the next call). OMEN_E_NOT_FOUND at the file's end. OMEN_E_ID_RANGE,
// OMEN_E_ID_LENGTH and OMEN_E_ID_KIND mean this id only; reading goes on.
OMEN_MUST_CHECK omen_status id_source_next(struct id_source *source, uint64_t *id,
                                           const char **text, struct omen_error *error);

// ---- payloads: a JSON object a line; an empty line or null is none ----
struct payload_source {
    FILE *file;
    char *line;
    size_t line_capacity;
};
OMEN_MUST_CHECK omen_status payload_source_open(const char *path, struct payload_source *out,
                                                struct omen_error *error);
void payload_source_close(struct payload_source *source); // accepts a zeroed one
// How many lines there are, without empty ones at the end. Before the first is read.
OMEN_MUST_CHECK omen_status payload_source_count(struct payload_source *source, uint64_t *count,
                                                 struct omen_error *error);
// Appends the next payload to *out and says how many bytes it has (0: none). OMEN_E_NOT_FOUND at the file's end;
// OMEN_E_PAYLOAD means this line only.
OMEN_MUST_CHECK omen_status payload_source_next(struct payload_source *source, struct buffer *out,
                                                size_t *bytes, struct omen_error *error);

// A whole file, or standard input for "-", at most `bytes_max` bytes, behind what *out has.
OMEN_MUST_CHECK omen_status source_read_all(const char *path, size_t bytes_max, struct buffer *out,
                                            struct omen_error *error);

#endif
