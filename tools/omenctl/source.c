// tools/omenctl/source.c -- reads the files that an index is made from.
//
// Shape: shell.
#include "tools/omenctl/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "base/utf8.h"
#include "tools/omenctl/npy.h"

#define LOOK_BYTES ((uint64_t)1 << 20) // of rows that are looked through at a time

static omen_status
refuse_file(const char *path, struct omen_error *error)
{
    const int reason = errno;
    return error_set(error,
                     reason == ENOENT || reason == ENOTDIR ? OMEN_E_NOT_FOUND : OMEN_E_INVALID,
                     "%s: %s", path, strerror(reason));
}

static omen_status
open_file(const char *path, FILE **file, uint64_t *bytes, struct omen_error *error)
{
    struct stat about;
    *file = fopen(path, "rbe");
    if (*file == NULL)
        return refuse_file(path, error);
    if (fstat(fileno(*file), &about) == 0 && S_ISREG(about.st_mode)) {
        *bytes = (uint64_t)about.st_size;
        return OMEN_OK;
    }
    fclose(*file);
    *file = NULL;
    return error_set(error, OMEN_E_INVALID, "%s: not a regular file", path);
}

void
source_skip_mark(FILE *file)
{
    static const char mark[] = {'\xef', '\xbb', '\xbf'};
    char begin[sizeof mark];
    if (fread(begin, 1, sizeof begin, file) != sizeof begin || memcmp(begin, mark, 3) != 0)
        rewind(file);
}

// ---- vectors ----

static omen_status
read_head(const char *path, FILE *file, struct rows_file *about, struct omen_error *error)
{
    uint8_t *head = mem_alloc(NPY_HEAD_BYTES_MAX);
    if (head == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    about->head = head;
    about->head_bytes = fread(head, 1, NPY_HEAD_BYTES_MAX, file);
    if (ferror(file)) {
        mem_free(head);
        return refuse_file(path, error);
    }
    return OMEN_OK;
}

// Rows that say their dimension themselves are looked through first, so that nothing is made of a file that is not what it seems.
static omen_status
check_rows(struct source *source, struct omen_error *error)
{
    const struct rows *rows = &source->rows;
    if (rows->head_bytes == 0)
        return OMEN_OK;
    const uint64_t most = 1 + LOOK_BYTES / rows->row_bytes;
    uint8_t *bytes = mem_alloc((size_t)(most * rows->row_bytes));
    if (bytes == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    omen_status status = OMEN_OK;
    while (status == OMEN_OK && source->next < rows->count) {
        const uint64_t left = rows->count - source->next;
        status = source_read(source, left < most ? left : most, bytes, error);
    }
    mem_free(bytes);
    return status == OMEN_OK ? source_seek(source, 0, error) : status;
}

omen_status
source_open(const char *path, enum rows_format format, struct source *out, struct omen_error *error)
{
    struct rows_file about = {0};
    *out = (struct source){0};
    if (format == ROWS_FORMATS && !rows_format_of(path, &format))
        return error_set(
            error, OMEN_E_INVALID,
            "%s: the name does not end in npy, fvecs, bvecs, fbin, u8bin, i8bin, ndjson, jsonl or "
            "csv; say --format (Parquet and HDF5: python -m omendb import)",
            path);
    omen_status status = open_file(path, &out->file, &about.file_bytes, error);
    if (status == OMEN_OK)
        status = read_head(path, out->file, &about, error);
    if (status == OMEN_OK) {
        status = rows_parse(format, &about, &out->rows, error);
        mem_free((void *)(uintptr_t)about.head);
        if (status != OMEN_OK)
            status = error_about(error, status, path);
    }
    if (status == OMEN_OK)
        status = source_seek(out, 0, error);
    if (status == OMEN_OK) {
        status = check_rows(out, error);
        if (status != OMEN_OK)
            status = error_about(error, status, path);
    }
    if (status != OMEN_OK)
        source_close(out);
    return status;
}

void
source_close(struct source *source)
{
    if (source->file != NULL)
        fclose(source->file);
    source->file = NULL;
}

omen_status
source_seek(struct source *source, uint64_t row, struct omen_error *error)
{
    if (row > source->rows.count)
        return error_set(error, OMEN_E_INVALID, "row %" PRIu64 " of a file of %" PRIu64 " rows",
                         row, source->rows.count);
    const uint64_t at = source->rows.first_byte + row * source->rows.row_bytes;
    if (fseeko(source->file, (off_t)at, SEEK_SET) != 0)
        return error_set(error, OMEN_E_IO, "seeking in the vectors: %s", strerror(errno));
    source->next = row;
    return OMEN_OK;
}

omen_status
source_read(struct source *source, uint64_t count, uint8_t *out, struct omen_error *error)
{
    const size_t bytes = (size_t)(count * source->rows.row_bytes);
    errno = 0;
    if (fread(out, 1, bytes, source->file) != bytes)
        return error_set(error, OMEN_E_IO, "reading row %" PRIu64 " and after: %s", source->next,
                         ferror(source->file) ? strerror(errno) : "the file became shorter");
    const omen_status status = rows_unpack(&source->rows, source->next, count, out, out, error);
    source->next += count;
    return status;
}

// ---- ids ----

// Without its end of line. False at the file's end.
static bool
next_line(FILE *file, char **line, size_t *capacity, size_t *bytes)
{
    const ssize_t got = getline(line, capacity, file);
    if (got < 0)
        return false;
    *bytes = (size_t)got;
    if (*bytes > 0 && (*line)[*bytes - 1] == '\n')
        (*line)[--*bytes] = '\0';
    if (*bytes > 0 && (*line)[*bytes - 1] == '\r')
        (*line)[--*bytes] = '\0';
    return true;
}

// All of the line, 0..2^63-1.
static bool
is_integer_id(const char *line, size_t bytes, uint64_t *id)
{
    char *end;
    if (bytes == 0 || line[0] < '0' || line[0] > '9')
        return false;
    errno = 0;
    *id = strtoull(line, &end, 10);
    return end == line + bytes && errno == 0 && *id <= ID_MAX;
}

static omen_status
open_npy_ids(const char *path, struct id_source *out, uint64_t file_bytes, struct omen_error *error)
{
    struct rows_file about = {.file_bytes = file_bytes};
    struct npy npy;
    omen_status status = read_head(path, out->file, &about, error);
    if (status != OMEN_OK)
        return status;
    status = npy_parse(about.head, about.head_bytes, file_bytes, &npy, error);
    mem_free((void *)(uintptr_t)about.head);
    if (status != OMEN_OK)
        status = error_about(error, status, path);
    if (status == OMEN_OK && (npy.kind == 'f' || (npy.dimensions == 2 && npy.shape[1] != 1)))
        status = error_set(error, OMEN_E_INVALID, "%s: ids are one column of integers", path);
    if (status == OMEN_OK && out->form == ID_FORM_TEXT)
        status =
            error_set(error, OMEN_E_INVALID, "%s: an npy file has integer ids, not texts", path);
    if (status == OMEN_OK && fseeko(out->file, (off_t)npy.first_byte, SEEK_SET) != 0)
        status = refuse_file(path, error);
    if (status != OMEN_OK)
        return status;
    out->form = ID_FORM_INTEGER;
    out->item_bytes = npy.item_bytes;
    out->is_signed = npy.kind == 'i';
    out->left = npy.shape[0];
    return OMEN_OK;
}

omen_status
id_source_open(const char *path, enum id_form form, struct id_source *out, struct omen_error *error)
{
    uint64_t file_bytes = 0, id;
    size_t bytes;
    enum rows_format format;
    *out = (struct id_source){.form = form};
    omen_status status = open_file(path, &out->file, &file_bytes, error);
    if (status == OMEN_OK && rows_format_of(path, &format) && format == ROWS_NPY) {
        status = open_npy_ids(path, out, file_bytes, error);
    } else if (status == OMEN_OK) {
        source_skip_mark(out->file);
        const off_t begin = ftello(out->file);
        const bool has_line =
            form == ID_FORM_AUTO && next_line(out->file, &out->line, &out->line_capacity, &bytes);
        if (form == ID_FORM_AUTO)
            out->form =
                has_line && is_integer_id(out->line, bytes, &id) ? ID_FORM_INTEGER : ID_FORM_TEXT;
        if (fseeko(out->file, begin, SEEK_SET) != 0)
            status = refuse_file(path, error);
    }
    if (status != OMEN_OK)
        id_source_close(out);
    return status;
}

void
id_source_close(struct id_source *source)
{
    if (source->file != NULL)
        fclose(source->file);
    free(source->line); // getline's own
    *source = (struct id_source){0};
}

// From here on, and without empty ones at the end. The file is where it was afterwards.
static omen_status
count_lines(FILE *file, char **line, size_t *capacity, uint64_t *count)
{
    const off_t begin = ftello(file);
    uint64_t lines = 0;
    size_t bytes;
    *count = 0;
    while (next_line(file, line, capacity, &bytes)) {
        lines++;
        *count = bytes > 0 ? lines : *count;
    }
    return ferror(file) || fseeko(file, begin, SEEK_SET) != 0 ? OMEN_E_IO : OMEN_OK;
}

omen_status
id_source_count(struct id_source *source, uint64_t *count, struct omen_error *error)
{
    *count = source->left;
    if (source->item_bytes > 0 ||
        count_lines(source->file, &source->line, &source->line_capacity, count) == OMEN_OK)
        return OMEN_OK;
    return error_set(error, OMEN_E_IO, "reading ids: %s", strerror(errno));
}

static omen_status
next_npy_id(struct id_source *source, uint64_t *id, struct omen_error *error)
{
    uint8_t item[8];
    if (source->left == 0)
        return error_set(error, OMEN_E_NOT_FOUND, "the ids end before the vectors");
    if (fread(item, 1, source->item_bytes, source->file) != source->item_bytes)
        return error_set(error, OMEN_E_IO, "reading ids: the file became shorter");
    source->left--;
    *id = 0;
    for (uint32_t i = 0; i < source->item_bytes; i++)
        *id |= (uint64_t)item[i] << (8 * i);
    if (source->is_signed && (item[source->item_bytes - 1] & 0x80) != 0)
        return error_set(error, OMEN_E_ID_RANGE, "a negative id");
    if (*id > ID_MAX)
        return error_set(error, OMEN_E_ID_RANGE, "id %" PRIu64 " is above 2^63-1", *id);
    return OMEN_OK;
}

omen_status
id_source_next(struct id_source *source, uint64_t *id, const char **text, struct omen_error *error)
{
    size_t bytes;
    *text = NULL;
    if (source->item_bytes > 0)
        return next_npy_id(source, id, error);
    if (!next_line(source->file, &source->line, &source->line_capacity, &bytes))
        return error_set(error, OMEN_E_NOT_FOUND, "the ids end before the vectors");
    if (source->form == ID_FORM_INTEGER) {
        if (is_integer_id(source->line, bytes, id))
            return OMEN_OK;
        return error_set(error, OMEN_E_ID_RANGE, "'%.40s' is no integer in 0..2^63-1",
                         source->line);
    }
    if (bytes == 0 || bytes > ID_TEXT_BYTES_MAX || memchr(source->line, '\0', bytes) != NULL ||
        !utf8_valid(source->line, bytes))
        return error_set(error, OMEN_E_ID_LENGTH, "a text id is 1 to 255 bytes of UTF-8");
    *text = source->line;
    return OMEN_OK;
}

// ---- payloads ----

omen_status
payload_source_open(const char *path, struct payload_source *out, struct omen_error *error)
{
    uint64_t bytes;
    *out = (struct payload_source){0};
    const omen_status status = open_file(path, &out->file, &bytes, error);
    if (status == OMEN_OK)
        source_skip_mark(out->file);
    return status;
}

void
payload_source_close(struct payload_source *source)
{
    if (source->file != NULL)
        fclose(source->file);
    free(source->line); // getline's own
    *source = (struct payload_source){0};
}

omen_status
payload_source_count(struct payload_source *source, uint64_t *count, struct omen_error *error)
{
    if (count_lines(source->file, &source->line, &source->line_capacity, count) == OMEN_OK)
        return OMEN_OK;
    return error_set(error, OMEN_E_IO, "reading payloads: %s", strerror(errno));
}

omen_status
payload_source_next(struct payload_source *source, struct buffer *out, size_t *bytes,
                    struct omen_error *error)
{
    size_t line_bytes;
    const size_t before = out->count;
    *bytes = 0;
    if (!next_line(source->file, &source->line, &source->line_capacity, &line_bytes))
        return error_set(error, OMEN_E_NOT_FOUND, "the payloads end before the vectors");
    if (strspn(source->line, " \t") == line_bytes || strcmp(source->line, "null") == 0)
        return OMEN_OK;
    omen_status status = json_to_msgpack(source->line, line_bytes, out, error);
    if (status == OMEN_OK)
        status = msgpack_check_map(out->bytes + before, out->count - before, error);
    if (status == OMEN_OK) {
        *bytes = out->count - before;
        return OMEN_OK;
    }
    out->count = before;
    if (status == OMEN_E_INVALID) { // not JSON: this line's fault alone
        status = OMEN_E_PAYLOAD;
        error->status = status;
    }
    return status;
}

omen_status
source_read_all(const char *path, size_t bytes_max, struct buffer *out, struct omen_error *error)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rbe");
    char chunk[8192];
    omen_status status = OMEN_OK;
    size_t got, all = 0;
    if (file == NULL)
        return refuse_file(path, error);
    while (status == OMEN_OK && (got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        all += got;
        if (all > bytes_max)
            status = error_set(error, OMEN_E_INVALID, "%s: more than %zu bytes", path, bytes_max);
        else if (buffer_add(out, chunk, got) != OMEN_OK)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    if (status == OMEN_OK && ferror(file))
        status = refuse_file(path, error);
    if (!is_stdin)
        fclose(file);
    return status;
}
