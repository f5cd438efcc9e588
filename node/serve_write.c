// node/serve_write.c -- a client's write as an entry of the shard's log, and what became of it.
//
// Shape: handle; functions on a hosted shard.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "index/vector.h"
#include "node/serve_int.h"

// What an ask of the shard points to.
struct draft {
    struct hosted_ask ask;
    struct serve_filter filter;
    uint64_t *ids;
    const char **texts, **unset;
    size_t *text_bytes, *unset_bytes, *payload_bytes;
    const void **payloads;
    uint8_t *rows; // of the shard's type, or f32
    uint64_t if_version;
    char field[FIELD_NAME_BYTES_MAX + 1];
};

static void
draft_fini(struct draft *draft)
{
    serve_filter_fini(&draft->filter);
    mem_free(draft->ids);
    mem_free(draft->texts);
    mem_free(draft->unset);
    mem_free(draft->text_bytes);
    mem_free(draft->unset_bytes);
    mem_free(draft->payload_bytes);
    mem_free(draft->payloads);
    mem_free(draft->rows);
}

static omen_status
no_memory(struct omen_error *error)
{
    return error_set_plain(error, OMEN_E_NO_MEMORY);
}

// ---- parts of an ask ----

static omen_status
draft_ids(struct draft *draft, const struct wire_list *ids, struct omen_error *error)
{
    struct list_cursor cursor;
    struct wire_id id;
    uint32_t texts = 0;
    draft->ask.count = ids->count;
    draft->ids = mem_alloc(ids->count * sizeof *draft->ids);
    draft->texts = mem_alloc(ids->count * sizeof *draft->texts);
    draft->text_bytes = mem_alloc(ids->count * sizeof *draft->text_bytes);
    if (draft->ids == NULL || draft->texts == NULL || draft->text_bytes == NULL)
        return no_memory(error);
    ids_begin(&cursor, ids);
    for (uint32_t i = 0; list_next(&cursor, &id); i++) {
        draft->ids[i] = id.number;
        draft->texts[i] = id.text;
        draft->text_bytes[i] = id.text_bytes;
        texts += id.text_bytes > 0;
    }
    if (texts != 0 && texts != ids->count)
        return error_set(error, OMEN_E_ID_KIND, "ids has integers and texts");
    if (texts == 0) {
        draft->ask.ids = draft->ids;
        return OMEN_OK;
    }
    draft->ask.texts = draft->texts;
    draft->ask.text_bytes = draft->text_bytes;
    return OMEN_OK;
}

static omen_status
draft_payloads(struct draft *draft, const struct wire_list *payloads, struct omen_error *error)
{
    struct list_cursor cursor;
    struct wire_bytes payload;
    if (payloads->count == 0)
        return OMEN_OK;
    draft->payloads = mem_alloc(payloads->count * sizeof *draft->payloads);
    draft->payload_bytes = mem_alloc(payloads->count * sizeof *draft->payload_bytes);
    if (draft->payloads == NULL || draft->payload_bytes == NULL)
        return no_memory(error);
    payloads_begin(&cursor, payloads);
    for (uint32_t i = 0; list_next(&cursor, &payload); i++) {
        draft->payloads[i] = payload.count == 0 ? NULL : payload.bytes;
        draft->payload_bytes[i] = payload.count;
    }
    draft->ask.payloads = draft->payloads;
    draft->ask.payload_bytes = draft->payload_bytes;
    return OMEN_OK;
}

static bool
is_of_integers(const struct serve *serve)
{
    return serve->options.dtype == OMEN_I8 || serve->options.dtype == OMEN_U8;
}

// A row of an array, as what the shard takes: its own type where that is of integers, else f32.
static omen_status
draft_row(const struct serve *serve, const struct wire_vectors *row, struct draft *draft,
          uint32_t i, struct omen_error *error)
{
    const uint32_t dimension = serve->options.dimension;
    const enum vector_type stored = (enum vector_type)serve->options.dtype;
    const size_t row_bytes = dimension * wire_dtype_bytes((uint8_t)draft->ask.dtype);
    uint8_t *out = draft->rows + i * draft->ask.stride;
    if (row->count != dimension)
        return error_set(error, OMEN_E_DIMENSION,
                         "vectors[%u] has %u components; the collection has %u", i, row->count,
                         dimension);
    if (row->form == VECTORS_RAW && row->dtype == draft->ask.dtype) {
        memcpy(out, row->bytes.bytes, row_bytes);
        return OMEN_OK;
    }
    if (row->form == VECTORS_RAW && is_of_integers(serve))
        return error_set(error, OMEN_E_DTYPE,
                         "vectors[%u] is of a type that is not the collection's", i);
    // The floats lie behind the rows.
    float *floats = (void *)(draft->rows + (size_t)draft->ask.count * draft->ask.stride);
    if (row->form == VECTORS_NUMBERS)
        decode_numbers_read(row->bytes, floats, dimension);
    else
        vector_to_f32((enum vector_type)row->dtype, row->bytes.bytes, dimension, floats);
    if (!is_of_integers(serve))
        memcpy(out, floats, row_bytes);
    else if (!vector_to_integers(stored, floats, dimension, out))
        return error_set(error, OMEN_E_DTYPE,
                         "vectors[%u] has a component that is no integer of the collection's type",
                         i);
    return OMEN_OK;
}

static omen_status
draft_vectors(const struct serve *serve, struct draft *draft, const struct wire_vectors *vectors,
              struct omen_error *error)
{
    const uint32_t dimension = serve->options.dimension;
    struct list_cursor cursor;
    struct wire_vectors row;
    if (vectors->form == VECTORS_NONE)
        return OMEN_OK;
    if (vectors->form == VECTORS_RAW) {
        draft->ask.vectors = vectors->bytes.bytes;
        draft->ask.dtype = (omen_dtype)vectors->dtype;
        if (vectors->count == (uint64_t)draft->ask.count * dimension)
            return OMEN_OK;
        return error_set(error, OMEN_E_DIMENSION,
                         "vectors has %u components for %zu ids; the collection has %u each",
                         vectors->count, draft->ask.count, dimension);
    }
    draft->ask.dtype = is_of_integers(serve) ? serve->options.dtype : OMEN_F32;
    // In fours of bytes, so that floats lie aligned behind the rows.
    draft->ask.stride = (dimension * wire_dtype_bytes((uint8_t)draft->ask.dtype) + 3) / 4 * 4;
    draft->rows = mem_alloc(draft->ask.count * draft->ask.stride + dimension * sizeof(float));
    if (draft->rows == NULL)
        return no_memory(error);
    rows_begin(&cursor, vectors);
    for (uint32_t i = 0; list_next(&cursor, &row); i++) {
        const omen_status status = draft_row(serve, &row, draft, i, error);
        if (status != OMEN_OK)
            return status;
    }
    draft->ask.vectors = draft->rows;
    return OMEN_OK;
}

static void
draft_version(struct draft *draft, const struct wire_maybe *if_version)
{
    draft->if_version = if_version->value;
    if (if_version->given != 0)
        draft->ask.if_versions = &draft->if_version;
}

static omen_status
draft_ids_or_filter(struct draft *draft, const struct wire_list *ids,
                    const struct wire_filter *filter, struct omen_error *error)
{
    if (ids->count > 0)
        return draft_ids(draft, ids, error);
    const omen_status status = serve_filter_init(&draft->filter, filter, error);
    draft->ask.filter = draft->filter.filter.text;
    draft->ask.filter_map = draft->filter.filter.map;
    draft->ask.filter_map_bytes = draft->filter.filter.map != NULL ? draft->filter.filter.bytes : 0;
    return status;
}

// ---- methods ----

static omen_status
draft_upsert(const struct serve *serve, struct draft *draft, struct omen_error *error)
{
    static const enum hosted_kind kinds[] = {HOSTED_UPSERT, HOSTED_UPSERT, HOSTED_INSERT,
                                             HOSTED_UPDATE};
    const struct api_point_upsert *ask = (const void *)&serve->ask;
    draft->ask.kind = ask->vectors.form == VECTORS_NONE ? HOSTED_PAYLOADS : kinds[ask->mode];
    draft_version(draft, &ask->if_version);
    omen_status status = draft_ids(draft, &ask->ids, error);
    if (status == OMEN_OK)
        status = draft_vectors(serve, draft, &ask->vectors, error);
    return status == OMEN_OK ? draft_payloads(draft, &ask->payloads, error) : status;
}

static omen_status
draft_delete(const struct serve *serve, struct draft *draft, struct omen_error *error)
{
    const struct api_point_delete *ask = (const void *)&serve->ask;
    draft->ask.kind = HOSTED_DELETE;
    draft_version(draft, &ask->if_version);
    return draft_ids_or_filter(draft, &ask->ids, &ask->filter, error);
}

static omen_status
draft_patch(const struct serve *serve, struct draft *draft, struct omen_error *error)
{
    const struct api_point_patch *ask = (const void *)&serve->ask;
    struct list_cursor cursor;
    struct wire_text name;
    draft->ask.kind = HOSTED_PATCH;
    draft->ask.set = ask->set.bytes;
    draft->ask.set_bytes = ask->set.count;
    draft_version(draft, &ask->if_version);
    if (ask->unset.count > 0) {
        draft->unset = mem_alloc(ask->unset.count * sizeof *draft->unset);
        draft->unset_bytes = mem_alloc(ask->unset.count * sizeof *draft->unset_bytes);
        if (draft->unset == NULL || draft->unset_bytes == NULL)
            return no_memory(error);
        texts_begin(&cursor, &ask->unset);
        while (list_next(&cursor, &name)) {
            draft->unset[draft->ask.unset_count] = name.bytes;
            draft->unset_bytes[draft->ask.unset_count++] = name.count;
        }
        draft->ask.unset = draft->unset;
        draft->ask.unset_bytes = draft->unset_bytes;
    }
    return draft_ids_or_filter(draft, &ask->ids, &ask->filter, error);
}

static omen_status
draft_field_name(struct draft *draft, struct wire_text name, struct omen_error *error)
{
    draft->ask.field = draft->field;
    memcpy(draft->field, name.bytes, name.count);
    draft->field[name.count] = '\0';
    if (strlen(draft->field) != name.count)
        return error_set(error, OMEN_E_INVALID, "field has a NUL");
    return OMEN_OK;
}

static omen_status
draft_field(const struct serve *serve, struct draft *draft, struct omen_error *error)
{
    const struct api_index_field *ask = (const void *)&serve->ask;
    draft->ask.kind = HOSTED_FIELD;
    draft->ask.field_type = ask->type;
    return draft_field_name(draft, ask->field, error);
}

static omen_status
draft_field_drop(const struct serve *serve, struct draft *draft, struct omen_error *error)
{
    const struct api_drop_field *ask = (const void *)&serve->ask;
    draft->ask.kind = HOSTED_FIELD_DROP;
    return draft_field_name(draft, ask->field, error);
}

// Whether it is about a field index, and not about points.
static bool
is_of_field(const struct wire_part *part)
{
    return part->method == METHOD_COLLECTION_INDEX_FIELD ||
           part->method == METHOD_COLLECTION_DROP_FIELD;
}

omen_status
serve_prepare(struct hosted *hosted, const struct wire_part *part, struct hosted_bytes *op,
              struct omen_error *error)
{
    static omen_status (*const drafts[METHODS_END])(const struct serve *, struct draft *,
                                                    struct omen_error *) = {
        [METHOD_POINT_UPSERT] = draft_upsert,
        [METHOD_POINT_DELETE] = draft_delete,
        [METHOD_POINT_PATCH] = draft_patch,
        [METHOD_COLLECTION_INDEX_FIELD] = draft_field,
        [METHOD_COLLECTION_DROP_FIELD] = draft_field_drop,
    };
    struct serve serve;
    struct draft draft;
    const uint64_t cursor = op->cursor;
    *op = (struct hosted_bytes){.cursor = UINT64_MAX};
    if (part->kind != WIRE_PART_WRITE || part->method >= METHODS_END ||
        drafts[part->method] == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED, "a shard does not know such a write");
    omen_status status = serve_begin(&serve, hosted, part, error);
    if (status != OMEN_OK)
        return status;
    memset(&draft, 0, sizeof draft);
    draft.ask.cursor = cursor;
    status = drafts[part->method](&serve, &draft, error);
    if (status == OMEN_OK)
        status = hosted_prepare(hosted, &draft.ask, op, error);
    draft_fini(&draft);
    return status;
}

// ---- afterwards ----

static omen_status
read_ask(const struct wire_part *part, struct serve *serve, struct omen_error *error)
{
    struct decode decode;
    const struct method *method = method_at(part->method);
    decode_init(&decode, (struct wire_bytes){part->ask, part->ask_bytes}, &decode_after_hello,
                error);
    shape_read(&decode, method->ask, &serve->ask);
    return decode_end(&decode);
}

// Ids that the part names; 0: it has a filter.
static omen_status
ids_of(const struct wire_part *part, uint32_t *count, struct omen_error *error)
{
    struct serve serve = {.part = part};
    const omen_status status = read_ask(part, &serve, error);
    *count = status != OMEN_OK || is_of_field(part) ? 0
             : part->method == METHOD_POINT_UPSERT
                 ? ((const struct api_point_upsert *)(const void *)&serve.ask)->ids.count
             : part->method == METHOD_POINT_PATCH
                 ? ((const struct api_point_patch *)(const void *)&serve.ask)->ids.count
                 : ((const struct api_point_delete *)(const void *)&serve.ask)->ids.count;
    return status;
}

// Rows of an entry are the part's items where it names ids; the method says whether it does.
static omen_status
items_of(const struct wire_part *part, const struct hosted_result *result,
         struct serve_items *items, struct omen_error *error)
{
    uint32_t count;
    if (result->failed_count == 0)
        return OMEN_OK;
    const omen_status status = ids_of(part, &count, error);
    if (status != OMEN_OK)
        return status;
    if (count == 0 || count > items->room)
        return OMEN_OK; // by a filter: who changed meanwhile is another point
    for (uint32_t i = 0; i < count; i++)
        items->statuses[i] = OMEN_OK;
    for (uint32_t i = 0; i < result->failed_count; i++)
        if (result->failed[i].row < count)
            items->statuses[result->failed[i].row] = result->failed[i].error.status;
    items->count = count;
    return OMEN_OK;
}

// Nobody remembers what came of it. What wrote its points in any case did; of all else, conditions decided.
static omen_status
forgotten(const struct wire_part *part, uint32_t *count, struct omen_error *error)
{
    struct serve serve = {.part = part};
    const struct api_point_upsert *ask = (const void *)&serve.ask;
    const omen_status status = read_ask(part, &serve, error);
    if (status != OMEN_OK || is_of_field(part))
        return status;
    *count = ask->ids.count;
    if (part->method == METHOD_POINT_UPSERT && ask->mode <= API_UPSERT &&
        ask->vectors.form != VECTORS_NONE && ask->if_version.given == 0)
        return OMEN_OK;
    return error_set(error, OMEN_E_TIMEOUT,
                     "it was decided before, and what came of it is no longer remembered");
}

omen_status
serve_written(const struct wire_part *part, const struct hosted_results *results,
              struct encode *answer, struct serve_items *items, struct omen_error *error)
{
    struct api_written written = {.count = 0};
    items->count = 0;
    if (results == NULL) {
        uint32_t count = 0;
        const omen_status status = forgotten(part, &count, error);
        if (status != OMEN_OK)
            return status;
        written.count = count;
    }
    for (uint32_t i = 0; results != NULL && i < results->count; i++) {
        const struct hosted_result *result = &results->entries[i];
        if (result->error.status != OMEN_OK) {
            *error = result->error;
            return result->error.status;
        }
        written.count += result->rows;
        const omen_status status = items_of(part, result, items, error);
        if (status != OMEN_OK)
            return status;
    }
    if (is_of_field(part))
        shape_write(answer, &api_nothing, &(struct api_nothing){.deadline_ms = 0});
    else
        shape_write(answer, &api_written, &written);
    return answer->status == OMEN_OK ? OMEN_OK : error_set_plain(error, answer->status);
}
