// tools/omenctl/convert.h -- rows from files into an index, in batches; what cannot be stored is set apart.
//
// Shape: handle in the owner's memory. Knows files and an index, no command line.
#ifndef OMEN_TOOLS_OMENCTL_CONVERT_H
#define OMEN_TOOLS_OMENCTL_CONVERT_H
#include "base/error.h"
#include "include/omendb.h"
#include "tools/omenctl/records.h"
#include "tools/omenctl/refusals.h"
#include "tools/omenctl/source.h"

// Writes a batch, which begins with convert->rows[first], whole or not at all as omen_add does. What it refuses of it by itself it
// counts by itself. OMEN_E_FULL: half of it would be taken.
typedef omen_status convert_add(void *context, size_t first, const omen_batch *batch,
                                struct omen_error *error);

struct convert {
    omen_index_t index; // borrowed; NULL: `add` is where rows go
    convert_add *add;
    void *add_context;
    enum vector_type type;          // of the index
    struct source source;           // these three are owned
    struct id_source ids;           // without a file: ids are first_id + the row's number
    struct payload_source payloads; // without a file: none
    // With a file: rows have all three, and `source` says only what they are.
    struct records records;
    uint64_t first_id;
    struct refusals refusals; // owned
    uint64_t added;

    // of the batch in hand
    size_t batch_rows;  // room
    size_t count;       // rows that may be added
    uint64_t first_row; // of the input
    uint8_t *raw;       // as the file has them
    uint8_t *vectors;   // those of the batch, of the same type
    size_t row_bytes;   // in `vectors`
    uint64_t *rows;     // which row of the input each is
    uint64_t *id;
    size_t *text_at; // in texts
    const char **text_ids;
    struct buffer texts;
    size_t *payload_at, *payload_bytes;
    const void **payload;
    struct buffer payload_data;
};

struct convert_files {
    const char *input;
    enum rows_format format;    // ROWS_FORMATS: as the name's ending says
    const char *ids, *payloads; // NULL: none
    enum id_form id_form;
};
// Opens the three sources. As source_open; OMEN_E_INVALID where rows that have ids and payloads are given others, or there are more
// ids or payloads than vectors.
OMEN_MUST_CHECK omen_status convert_open(struct convert *convert, const struct convert_files *files,
                                         struct omen_error *error);
// Whether rows of a file can become rows of an index: OMEN_E_DTYPE when something would be rounded to integers.
OMEN_MUST_CHECK omen_status convert_check_types(enum vector_type from, enum vector_type to,
                                                struct omen_error *error);
// Makes the room for batches; the sources, `index` and `type` are set. OMEN_E_DTYPE when rows of the file's type cannot
// become rows of the index.
OMEN_MUST_CHECK omen_status convert_prepare(struct convert *convert, struct omen_error *error);
void convert_fini(struct convert *convert); // of whatever was opened; accepts a zeroed one

// Passes over ids and payloads of the first `rows` rows, whose vectors are passed over too.
OMEN_MUST_CHECK omen_status convert_skip(struct convert *convert, uint64_t rows,
                                         struct omen_error *error);
// Reads at most `rows` rows and adds what can be added. Any failure is one that the next batch would meet too; the rows
// before convert->source.next minus this batch's are in the index.
OMEN_MUST_CHECK omen_status convert_batch(struct convert *convert, uint64_t rows,
                                          struct omen_error *error);

#endif
