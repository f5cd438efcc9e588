// tools/omenctl/records.h -- files whose rows are points as a whole: NDJSON and CSV.
//
// Shape: handle over a file; a shell's part. What a row says is record.h's.
//
// Lines of NDJSON that are empty are no rows. A cell of a CSV may be quoted, "" is a quote within, and a quoted cell may have ends of
// lines (RFC 4180).
#ifndef OMEN_TOOLS_OMENCTL_RECORDS_H
#define OMEN_TOOLS_OMENCTL_RECORDS_H
#include <stdio.h>

#include "tools/omenctl/record.h"
#include "tools/omenctl/rows.h"

#define RECORD_BYTES_MAX ((size_t)16 << 20) // of one row

struct records {
    FILE *file; // NULL: none
    enum rows_format format;
    struct record_room room;
    struct buffer line;      // the row, or its cells one behind the other
    size_t *ends;            // of the cells in `line`
    struct record_cell *now; // as many
    uint32_t cell_count;
    struct buffer head; // the first line's cells
    struct record_cell *names;
    uint32_t name_count;
    enum record_id id_kind; // of the first row that has a vector, as are its components
    uint32_t dimension;
    uint64_t count; // rows of the file
    uint64_t next;  // the row that is read next
};

// Reads the file once, to count its rows. OMEN_E_NOT_FOUND, OMEN_E_INVALID; OMEN_E_DIMENSION where no row has a vector.
OMEN_MUST_CHECK omen_status records_open(const char *path, enum rows_format format,
                                         struct records *out, struct omen_error *error);
void records_close(struct records *records); // accepts a zeroed one
// The next row is row 0 again, or the one after.
OMEN_MUST_CHECK omen_status records_rewind(struct records *records, struct omen_error *error);
OMEN_MUST_CHECK omen_status records_pass(struct records *records, struct omen_error *error);
// OMEN_E_NOT_FOUND at the end. What refusals_is_about_row knows is about this row, and reading goes on.
OMEN_MUST_CHECK omen_status records_next(struct records *records, struct record *out,
                                         struct omen_error *error);

#endif
