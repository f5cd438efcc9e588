// tools/omenctl/convert.c -- rows from files into an index, in batches.
//
// Shape: handle.
//
// The library takes a batch whole or not at all and names the first row that is wrong. So a batch that is refused is
// halved until the wrong rows stand alone: a file with few bad rows costs little, and no rule of the library's is
// written a second time here.
#include "tools/omenctl/convert.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "index/vector.h"

#define BATCH_BYTES ((size_t)8 << 20)
#define BATCH_ROWS_MAX 8192u

static bool
is_half(enum vector_type type)
{
    return type == VECTOR_F16 || type == VECTOR_BF16;
}

omen_status
convert_check_types(enum vector_type from, enum vector_type to, struct omen_error *error)
{
    if (from == to || to == VECTOR_F32 || is_half(to))
        return OMEN_OK;
    return error_set(error, OMEN_E_DTYPE,
                     "the file's components are of another type than the index's, which is of "
                     "integers: nothing is rounded");
}

static omen_status
open_records(struct convert *convert, const struct convert_files *files, enum rows_format format,
             struct omen_error *error)
{
    struct records *records = &convert->records;
    if (files->ids != NULL || files->payloads != NULL)
        return error_set(error, OMEN_E_INVALID,
                         "rows of %s have their own ids and payloads: not with --ids or --payloads",
                         rows_format_names[format]);
    const omen_status status = records_open(files->input, format, records, error);
    if (status != OMEN_OK)
        return status;
    convert->source.rows = (struct rows){.format = format,
                                         .type = VECTOR_F32,
                                         .dimension = records->dimension,
                                         .count = records->count,
                                         .row_bytes = records->dimension * sizeof(float)};
    return OMEN_OK;
}

// More of them than vectors: one of the two files is another's. (Fewer do where --limit says so; else the work ends there.)
static omen_status
check_count(const struct convert *convert, const char *path, uint64_t count, const char *what,
            struct omen_error *error)
{
    if (count <= convert->source.rows.count)
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID,
                     "%s has %" PRIu64 " %s, but there are %" PRIu64 " vectors", path, count, what,
                     convert->source.rows.count);
}

static omen_status
open_ids(struct convert *convert, const struct convert_files *files, struct omen_error *error)
{
    uint64_t count = 0;
    omen_status status = id_source_open(files->ids, files->id_form, &convert->ids, error);
    if (status == OMEN_OK)
        status = id_source_count(&convert->ids, &count, error);
    return status != OMEN_OK ? status : check_count(convert, files->ids, count, "ids", error);
}

static omen_status
open_payloads(struct convert *convert, const struct convert_files *files, struct omen_error *error)
{
    uint64_t count = 0;
    omen_status status = payload_source_open(files->payloads, &convert->payloads, error);
    if (status == OMEN_OK)
        status = payload_source_count(&convert->payloads, &count, error);
    return status != OMEN_OK ? status
                             : check_count(convert, files->payloads, count, "payloads", error);
}

omen_status
convert_open(struct convert *convert, const struct convert_files *files, struct omen_error *error)
{
    enum rows_format format = files->format;
    if ((format < ROWS_FORMATS || rows_format_of(files->input, &format)) &&
        rows_are_records(format))
        return open_records(convert, files, format, error);
    omen_status status = source_open(files->input, format, &convert->source, error);
    if (status == OMEN_OK && files->ids != NULL)
        status = open_ids(convert, files, error);
    if (status == OMEN_OK && files->payloads != NULL)
        status = open_payloads(convert, files, error);
    return status;
}

static bool
has_text_ids(const struct convert *convert)
{
    return convert->records.file != NULL
               ? convert->records.id_kind == RECORD_TEXT
               : convert->ids.file != NULL && convert->ids.form == ID_FORM_TEXT;
}

static bool
has_payloads(const struct convert *convert)
{
    return convert->records.file != NULL || convert->payloads.file != NULL;
}

omen_status
convert_prepare(struct convert *convert, struct omen_error *error)
{
    const struct rows *rows = &convert->source.rows;
    const enum vector_type from = rows->type, to = convert->type;
    if (convert_check_types(from, to, error) != OMEN_OK)
        return OMEN_E_DTYPE;
    convert->row_bytes = rows->dimension * vector_type_bytes(from); // whoever takes them converts
    const size_t wider =
        convert->row_bytes > rows->row_bytes ? convert->row_bytes : (size_t)rows->row_bytes;
    size_t count = BATCH_BYTES / wider;
    count = count < 1 ? 1 : count > BATCH_ROWS_MAX ? BATCH_ROWS_MAX : count;
    convert->batch_rows = count;
    convert->raw = mem_alloc(count * (size_t)rows->row_bytes);
    convert->vectors = mem_alloc(count * convert->row_bytes);
    convert->rows = mem_alloc(count * sizeof *convert->rows);
    convert->id = mem_alloc(count * sizeof *convert->id);
    convert->text_at = mem_alloc(count * sizeof *convert->text_at);
    convert->text_ids = mem_alloc(count * sizeof *convert->text_ids);
    convert->payload_at = mem_alloc(count * sizeof *convert->payload_at);
    convert->payload_bytes = mem_alloc(count * sizeof *convert->payload_bytes);
    convert->payload = mem_alloc(count * sizeof *convert->payload);
    if (convert->raw == NULL || convert->vectors == NULL || convert->rows == NULL ||
        convert->id == NULL || convert->text_at == NULL || convert->text_ids == NULL ||
        convert->payload_at == NULL || convert->payload_bytes == NULL || convert->payload == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    return OMEN_OK;
}

void
convert_fini(struct convert *convert)
{
    source_close(&convert->source);
    id_source_close(&convert->ids);
    payload_source_close(&convert->payloads);
    records_close(&convert->records);
    mem_free(convert->raw);
    mem_free(convert->vectors);
    mem_free(convert->rows);
    mem_free(convert->id);
    mem_free(convert->text_at);
    mem_free((void *)convert->text_ids);
    buffer_fini(&convert->texts);
    mem_free(convert->payload_at);
    mem_free(convert->payload_bytes);
    mem_free((void *)convert->payload);
    buffer_fini(&convert->payload_data);
}

// ---- one row ----

// The id of the next row as convert->id[at] or in texts. A status about the row leaves the others as they are.
static omen_status
take_id(struct convert *convert, size_t at, uint64_t row, struct omen_error *error)
{
    const char *text = NULL;
    if (convert->ids.file == NULL) {
        convert->id[at] = convert->first_id + row;
        return OMEN_OK;
    }
    const omen_status status = id_source_next(&convert->ids, &convert->id[at], &text, error);
    if (status != OMEN_OK || text == NULL)
        return status;
    convert->text_at[at] = convert->texts.count;
    if (buffer_add(&convert->texts, text, strlen(text) + 1) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    return OMEN_OK;
}

static omen_status
take_payload(struct convert *convert, size_t at, struct omen_error *error)
{
    if (convert->payloads.file == NULL)
        return OMEN_OK;
    convert->payload_at[at] = convert->payload_data.count;
    return payload_source_next(&convert->payloads, &convert->payload_data,
                               &convert->payload_bytes[at], error);
}

// The id and payload of a record as those of the next row of the batch.
static omen_status
keep_record(struct convert *convert, const struct record *record, size_t at, uint64_t row)
{
    convert->id[at] = record->id_kind == RECORD_INTEGER ? record->id : convert->first_id + row;
    convert->text_at[at] = convert->texts.count;
    convert->payload_at[at] = convert->payload_data.count;
    convert->payload_bytes[at] = record->payload_bytes;
    if (record->id_kind == RECORD_TEXT &&
        buffer_add(&convert->texts, record->text, strlen(record->text) + 1) != OMEN_OK)
        return OMEN_E_NO_MEMORY;
    return record->payload == NULL
               ? OMEN_OK
               : buffer_add(&convert->payload_data, record->payload, record->payload_bytes);
}

static omen_status
take_record(struct convert *convert, uint64_t row, struct omen_error *error)
{
    const size_t at = convert->count;
    struct record record;
    const omen_status status = records_next(&convert->records, &record, error);
    if (refusals_is_about_row(status)) {
        refusals_add(&convert->refusals, row, status, error->text);
        return OMEN_OK;
    }
    if (status != OMEN_OK)
        return status;
    if (keep_record(convert, &record, at, row) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(convert->vectors + at * convert->row_bytes, record.vector, convert->row_bytes);
    convert->rows[at] = row;
    convert->count++;
    return OMEN_OK;
}

// Row `i` of the block that was read, as the next of the batch; or refused.
static omen_status
take_row(struct convert *convert, size_t i, struct omen_error *error)
{
    const uint64_t row = convert->first_row + i;
    const size_t at = convert->count;
    struct omen_error of_payload = {0};
    // Both files go on by a line, whatever is wrong with the other's.
    omen_status status = take_id(convert, at, row, error);
    if (status != OMEN_OK && !refusals_is_about_row(status))
        return status;
    const omen_status payload_status = take_payload(convert, at, &of_payload);
    if (status == OMEN_OK && payload_status != OMEN_OK) {
        status = payload_status;
        *error = of_payload;
    }
    if (status != OMEN_OK) {
        if (!refusals_is_about_row(status))
            return status;
        refusals_add(&convert->refusals, row, status, error->text);
        return OMEN_OK;
    }
    memcpy(convert->vectors + at * convert->row_bytes, convert->raw + i * convert->row_bytes,
           convert->row_bytes);
    convert->rows[at] = row;
    convert->count++;
    return OMEN_OK;
}

// ---- a batch ----

static omen_status
add_slice(struct convert *convert, size_t first, size_t count, struct omen_error *error)
{
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = count;
    batch.vectors = convert->vectors + first * convert->row_bytes;
    batch.dtype = (omen_dtype)convert->source.rows.type;
    if (has_text_ids(convert))
        batch.text_ids = convert->text_ids + first;
    else
        batch.ids = convert->id + first;
    if (has_payloads(convert)) {
        batch.payloads = convert->payload + first;
        batch.payload_bytes = convert->payload_bytes + first;
    }
    if (convert->add != NULL)
        return convert->add(convert->add_context, first, &batch, error);
    const omen_status status = omen_add(convert->index, &batch);
    if (status != OMEN_OK)
        return error_set(error, status, "%s", omen_error_message());
    convert->added += count;
    return OMEN_OK;
}

// Recursion is as deep as a batch can be halved.
static omen_status
add_rows(struct convert *convert, size_t first, size_t count, struct omen_error *error)
{
    if (count == 0)
        return OMEN_OK;
    omen_status status = add_slice(convert, first, count, error);
    const bool is_too_much = status == OMEN_E_FULL && convert->add != NULL && count > 1;
    if (status == OMEN_OK || (!refusals_is_about_row(status) && !is_too_much))
        return status;
    if (count == 1) {
        refusals_add(&convert->refusals, convert->rows[first], status, error->text);
        return OMEN_OK;
    }
    status = add_rows(convert, first, count / 2, error);
    return status == OMEN_OK ? add_rows(convert, first + count / 2, count - count / 2, error)
                             : status;
}

static omen_status
skip_records(struct convert *convert, uint64_t rows, struct omen_error *error)
{
    omen_status status = records_rewind(&convert->records, error);
    for (uint64_t i = 0; i < rows && status == OMEN_OK; i++)
        status = records_pass(&convert->records, error);
    convert->source.next = rows;
    return status;
}

omen_status
convert_skip(struct convert *convert, uint64_t rows, struct omen_error *error)
{
    if (convert->records.file != NULL)
        return skip_records(convert, rows, error);
    omen_status status = source_seek(&convert->source, rows, error);
    for (uint64_t i = 0; i < rows && status == OMEN_OK; i++) {
        convert->texts.count = convert->payload_data.count = 0;
        status = take_id(convert, 0, i, error);
        if (status == OMEN_OK || refusals_is_about_row(status))
            status = take_payload(convert, 0, error);
        if (refusals_is_about_row(status))
            status = OMEN_OK;
    }
    return status;
}

omen_status
convert_batch(struct convert *convert, uint64_t rows, struct omen_error *error)
{
    const size_t block = rows < convert->batch_rows ? (size_t)rows : convert->batch_rows;
    convert->first_row = convert->source.next;
    convert->count = convert->texts.count = convert->payload_data.count = 0;
    const bool records = convert->records.file != NULL;
    omen_status status =
        records ? OMEN_OK : source_read(&convert->source, block, convert->raw, error);
    for (size_t i = 0; i < block && status == OMEN_OK; i++)
        status = records ? take_record(convert, convert->first_row + i, error)
                         : take_row(convert, i, error);
    if (status != OMEN_OK)
        return status;
    convert->source.next += records ? block : 0;
    for (size_t i = 0; i < convert->count; i++) { // now that the buffers lie where they stay
        if (has_text_ids(convert))
            convert->text_ids[i] = (const char *)convert->texts.bytes + convert->text_at[i];
        if (!has_payloads(convert))
            continue;
        convert->payload[i] = convert->payload_bytes[i] > 0
                                  ? convert->payload_data.bytes + convert->payload_at[i]
                                  : NULL;
    }
    return add_rows(convert, 0, convert->count, error);
}
