// tools/omenctl/records.c -- files whose rows are points as a whole.
//
// Shape: shell.
#include "tools/omenctl/records.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tools/omenctl/source.h"

enum read { READ_ROW, READ_END, READ_TOO_LONG, READ_OPEN_QUOTE, READ_NO_MEMORY, READ_FAILED };

static enum read
add(struct records *records, int byte)
{
    const char one = (char)byte;
    if (records->line.count == RECORD_BYTES_MAX)
        return READ_TOO_LONG;
    return buffer_add(&records->line, &one, 1) == OMEN_OK ? READ_ROW : READ_NO_MEMORY;
}

// ---- NDJSON ----

static bool
is_blank(const struct buffer *line)
{
    for (size_t i = 0; i < line->count; i++)
        if (line->bytes[i] != ' ' && line->bytes[i] != '\t' && line->bytes[i] != '\r')
            return false;
    return true;
}

static enum read
read_line(struct records *records)
{
    for (;;) {
        enum read did = READ_ROW;
        int byte;
        records->line.count = 0;
        while ((byte = getc_unlocked(records->file)) != EOF && byte != '\n' && did == READ_ROW)
            did = add(records, byte);
        if (did != READ_ROW || ferror(records->file))
            return did != READ_ROW ? did : READ_FAILED;
        if (!is_blank(&records->line))
            return READ_ROW;
        if (byte == EOF)
            return READ_END;
    }
}

// ---- CSV ----

static enum read
end_cell(struct records *records)
{
    if (records->cell_count == RECORD_COLUMNS_MAX)
        return READ_TOO_LONG;
    const enum read did = add(records, '\0');
    records->ends[records->cell_count++] = records->line.count - 1;
    return did;
}

// One cell, whose first byte is `byte`; *last is what ended it.
static enum read
read_cell(struct records *records, int byte, int *last)
{
    enum read did = READ_ROW;
    bool quoted = byte == '"';
    if (quoted)
        byte = getc_unlocked(records->file);
    for (; byte != EOF && did == READ_ROW; byte = getc_unlocked(records->file)) {
        if (quoted && byte == '"') {
            byte = getc_unlocked(records->file);
            quoted = byte == '"';
            if (byte == EOF)
                break; // the last cell of a file whose last line has no end
        }
        if (!quoted && (byte == ',' || byte == '\n'))
            break;
        if (quoted || byte != '\r')
            did = add(records, byte);
    }
    *last = byte;
    if (did == READ_ROW && quoted && byte == EOF)
        return READ_OPEN_QUOTE;
    return did == READ_ROW ? end_cell(records) : did;
}

static enum read
read_cells(struct records *records)
{
    int byte = getc_unlocked(records->file);
    enum read did = READ_ROW;
    records->line.count = records->cell_count = 0;
    while (byte == '\n' || byte == '\r') // empty lines
        byte = getc_unlocked(records->file);
    if (byte == EOF)
        return ferror(records->file) ? READ_FAILED : READ_END;
    for (;;) {
        did = byte == ',' || byte == '\n' ? end_cell(records) : read_cell(records, byte, &byte);
        if (did != READ_ROW || byte != ',')
            break;
        byte = getc_unlocked(records->file);
        if (byte == EOF) // the last cell is empty
            return end_cell(records);
    }
    return ferror(records->file) ? READ_FAILED : did;
}

static void
point_at_cells(struct buffer *line, const size_t *ends, uint32_t count, struct record_cell *out)
{
    size_t begin = 0;
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (struct record_cell){(const char *)line->bytes + begin, ends[i] - begin};
        begin = ends[i] + 1;
    }
}

// ---- both ----

static enum read
read_row(struct records *records)
{
    const enum read did = records->format == ROWS_CSV ? read_cells(records) : read_line(records);
    if (did == READ_ROW)
        records->next++;
    return did;
}

static omen_status
read_status(const struct records *records, enum read did, struct omen_error *error)
{
    switch (did) {
    case READ_ROW:
        return OMEN_OK;
    case READ_END:
        return error_set(error, OMEN_E_NOT_FOUND, "the file became shorter");
    case READ_TOO_LONG:
        return records->format == ROWS_CSV
                   ? error_set(error, OMEN_E_INVALID,
                               "row %" PRIu64 " has more than %zu bytes or %u columns: is a quote "
                               "not closed?",
                               records->next, RECORD_BYTES_MAX, RECORD_COLUMNS_MAX)
                   : error_set(error, OMEN_E_INVALID, "row %" PRIu64 " has more than %zu bytes",
                               records->next, RECORD_BYTES_MAX);
    case READ_OPEN_QUOTE:
        return error_set(error, OMEN_E_INVALID,
                         "row %" PRIu64 ": a quote is not closed before the file ends",
                         records->next);
    case READ_FAILED:
        return error_set(error, OMEN_E_IO, "reading: %s", strerror(errno));
    default:
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
}

static omen_status
parse(struct records *records, struct record *out, struct omen_error *error)
{
    if (records->format != ROWS_CSV)
        return record_of_json((const char *)records->line.bytes, records->line.count,
                              &records->room, out, error);
    point_at_cells(&records->line, records->ends, records->cell_count, records->now);
    const struct record_cells cells = {records->names, records->now, records->name_count,
                                       records->cell_count};
    return record_of_cells(&cells, &records->room, out, error);
}

// A row may have another kind of id, or another dimension, than the first.
static omen_status
check(const struct records *records, const struct record *record, struct omen_error *error)
{
    if (record->components != records->dimension)
        return error_set(error, OMEN_E_DIMENSION,
                         "the vector has %u components, that of the first %u", record->components,
                         records->dimension);
    if (record->id_kind == records->id_kind)
        return OMEN_OK;
    return error_set(
        error, OMEN_E_ID_KIND, "%s",
        record->id_kind == RECORD_NO_ID    ? "there is no \"id\", and the first row has one"
        : records->id_kind == RECORD_NO_ID ? "there is an \"id\", and the first row has none"
                                           : "the id is of another kind than that of the first");
}

omen_status
records_next(struct records *records, struct record *out, struct omen_error *error)
{
    omen_status status = read_status(records, read_row(records), error);
    if (status == OMEN_OK)
        status = parse(records, out, error);
    return status == OMEN_OK ? check(records, out, error) : status;
}

omen_status
records_pass(struct records *records, struct omen_error *error)
{
    return read_status(records, read_row(records), error);
}

// ---- opening ----

static omen_status
read_head(struct records *records, struct omen_error *error)
{
    records->ends = mem_alloc(RECORD_COLUMNS_MAX * sizeof *records->ends);
    records->now = mem_alloc(RECORD_COLUMNS_MAX * sizeof *records->now);
    records->names = mem_alloc(RECORD_COLUMNS_MAX * sizeof *records->names);
    if (records->ends == NULL || records->now == NULL || records->names == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const enum read did = read_cells(records);
    if (did == READ_END)
        return error_set(error, OMEN_E_INVALID, "csv: the file has no first line with columns");
    const omen_status status = read_status(records, did, error);
    if (status != OMEN_OK)
        return status;
    records->head = records->line; // the names stay
    records->line = (struct buffer){0};
    records->name_count = records->cell_count;
    point_at_cells(&records->head, records->ends, records->name_count, records->names);
    return OMEN_OK;
}

// Counts rows; the first that can be a point says what the others are like.
static omen_status
look_through(struct records *records, struct omen_error *error)
{
    struct record record;
    struct omen_error first = {0};
    enum read did;
    while ((did = read_row(records)) == READ_ROW) {
        records->count++;
        if (records->dimension != 0)
            continue;
        struct omen_error why = {0};
        if (parse(records, &record, &why) == OMEN_OK) {
            records->dimension = record.components;
            records->id_kind = record.id_kind;
        } else if (why.status == OMEN_E_NO_MEMORY) {
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        } else if (first.status == OMEN_OK) {
            first = why;
        }
    }
    if (did != READ_END)
        return read_status(records, did, error);
    if (records->dimension == 0 || records->dimension > VECTOR_DIM_MAX)
        return error_set(error, OMEN_E_DIMENSION, "%s: no row is a point of 1 to %u components%s%s",
                         rows_format_names[records->format], VECTOR_DIM_MAX,
                         first.status != OMEN_OK ? "; row 0: " : "", first.text);
    return OMEN_OK;
}

omen_status
records_open(const char *path, enum rows_format format, struct records *out,
             struct omen_error *error)
{
    *out = (struct records){.format = format, .file = fopen(path, "rbe")};
    record_room_init(&out->room);
    omen_status status = OMEN_OK;
    if (out->file == NULL)
        status = error_set(error, errno == ENOENT ? OMEN_E_NOT_FOUND : OMEN_E_INVALID, "%s: %s",
                           path, strerror(errno));
    if (status == OMEN_OK) {
        source_skip_mark(out->file);
        status = format == ROWS_CSV ? read_head(out, error) : OMEN_OK;
        if (status == OMEN_OK)
            status = look_through(out, error);
        if (status == OMEN_OK)
            status = records_rewind(out, error);
        if (status != OMEN_OK)
            status = error_about(error, status, path);
    }
    if (status != OMEN_OK)
        records_close(out);
    return status;
}

void
records_close(struct records *records)
{
    if (records->file != NULL)
        fclose(records->file);
    record_room_fini(&records->room);
    buffer_fini(&records->line);
    buffer_fini(&records->head);
    mem_free(records->ends);
    mem_free(records->now);
    mem_free(records->names);
    *records = (struct records){.file = NULL};
}

omen_status
records_rewind(struct records *records, struct omen_error *error)
{
    clearerr(records->file);
    if (fseeko(records->file, 0, SEEK_SET) != 0)
        return error_set(error, OMEN_E_INVALID, "it cannot be read twice: %s", strerror(errno));
    source_skip_mark(records->file);
    const omen_status status =
        records->format == ROWS_CSV ? records_pass(records, error) : OMEN_OK; // the columns' names
    records->next = 0;
    return status;
}
