// shard/hosted_prepare.c -- what a client asks becomes an entry of the log.
//
// Shape: handle; the readers' side: nothing changes, and nobody is waited for.
//
// What can be refused whatever will have been applied before is refused here, so that entries are applied as they are. A filter is
// asked now, and becomes the ids of the points that it lets through, each with its version: one that is written meanwhile
// is another point.
#include <stdio.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "base/utf8.h"
#include "shard/hosted_int.h"
#include "shard/patch.h"
#include "shard/write.h"

#define CURSOR_END UINT64_MAX
#define PATCH_PART                                                                                 \
    (HOSTED_PART_POINTS / 8) // each makes a payload, and all of them are there at once
// Of the points that a shard may have; a full one refuses before its copies would, which a half of it would not.
#define SLOTS_SPARE 16u

static omen_status prepare_field(const struct hosted_ask *ask, struct hosted_bytes *out,
                                 struct omen_error *error);
static omen_status prepare_change(struct hosted *hosted, const struct hosted_ask *ask,
                                  struct hosted_bytes *out, struct omen_error *error);
static omen_status prepare_filter(struct hosted *hosted, const struct hosted_ask *ask,
                                  struct hosted_bytes *out, struct omen_error *error);

void
hosted_bytes_fini(struct hosted_bytes *bytes)
{
    mem_free(bytes->bytes);
    *bytes = (struct hosted_bytes){0};
}

static bool
writes_rows(enum hosted_kind kind)
{
    return kind == HOSTED_UPSERT || kind == HOSTED_INSERT || kind == HOSTED_UPDATE;
}

omen_status
hosted_prepare(struct hosted *hosted, const struct hosted_ask *ask, struct hosted_bytes *out,
               struct omen_error *error)
{
    const bool filtered = ask->filter != NULL || ask->filter_map != NULL;
    *out = (struct hosted_bytes){.cursor = CURSOR_END};
    if (ask->kind == HOSTED_FIELD || ask->kind == HOSTED_FIELD_DROP)
        return prepare_field(ask, out, error);
    if (ask->kind < HOSTED_UPSERT || ask->kind > HOSTED_FIELD_DROP)
        return error_set(error, OMEN_E_INVALID, "there is no write of kind %d", (int)ask->kind);
    if ((ask->ids != NULL) + (ask->texts != NULL) + filtered != 1)
        return error_set(error, OMEN_E_INVALID,
                         "one of ids, text ids and a filter says which points are meant");
    if (!filtered)
        return prepare_change(hosted, ask, out, error);
    if (ask->kind != HOSTED_PATCH && ask->kind != HOSTED_DELETE)
        return error_set(error, OMEN_E_INVALID, "a filter says what is patched or deleted only");
    return prepare_filter(hosted, ask, out, error);
}

static omen_status
prepare_field(const struct hosted_ask *ask, struct hosted_bytes *out, struct omen_error *error)
{
    const bool drops = ask->kind == HOSTED_FIELD_DROP;
    const struct op_field field = {.name = ask->field, .type = drops ? 0 : ask->field_type};
    const struct op_begin begin = {.type = drops ? OP_FIELD_DROP : OP_FIELD};
    struct op_parts parts;
    if (!drops && !field_type_valid(ask->field_type))
        return error_set(error, OMEN_E_INVALID,
                         "field type is %d; there are 1 (keyword) to 6 (uuid)", ask->field_type);
    const size_t name = strnlen(ask->field, FIELD_NAME_BYTES_MAX + 1);
    if (name == 0)
        return error_set(error, OMEN_E_INVALID, "the field's name is empty");
    if (name > FIELD_NAME_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID, "the field's name is longer than %u bytes",
                         FIELD_NAME_BYTES_MAX);
    if (op_encode_field(&field, &parts) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    out->count = sizeof begin + parts.bytes;
    out->bytes = mem_alloc(out->count);
    if (out->bytes != NULL) {
        memcpy(out->bytes, &begin, sizeof begin);
        memcpy((char *)out->bytes + sizeof begin, parts.parts[0].bytes, parts.bytes);
    }
    op_parts_fini(&parts);
    return out->bytes != NULL ? OMEN_OK : error_set_plain(error, OMEN_E_NO_MEMORY);
}

// ---- a change on its way ----

// What is made of an ask, and owned.
struct draft {
    struct op_change change;
    const char **texts; // NUL-terminated
    char *text_bytes;
    void *rows;     // as they are stored
    uint8_t *unset; // packed
};

static void
draft_fini(struct draft *draft)
{
    mem_free(draft->texts);
    mem_free(draft->text_bytes);
    mem_free(draft->rows);
    mem_free(draft->unset);
}

static omen_status
check_text(const char *text, size_t bytes, size_t row, struct omen_error *error)
{
    if (bytes == 0)
        return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id is empty", row);
    if (bytes > ID_TEXT_BYTES_MAX)
        return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id is longer than %u bytes",
                         row, ID_TEXT_BYTES_MAX);
    if (memchr(text, '\0', bytes) != NULL)
        return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id has a NUL", row);
    if (!utf8_valid(text, bytes))
        return error_set(error, OMEN_E_ID_LENGTH, "row %zu: its text id is not UTF-8", row);
    return OMEN_OK;
}

static size_t
text_length(const struct hosted_ask *ask, size_t i)
{
    return ask->text_bytes != NULL ? ask->text_bytes[i]
                                   : strnlen(ask->texts[i], ID_TEXT_BYTES_MAX + 1);
}

// Copies with a NUL behind each.
static omen_status
take_texts(const struct hosted_ask *ask, struct draft *draft, struct omen_error *error)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ask->count; i++) {
        if (ask->texts[i] == NULL)
            return error_set(error, OMEN_E_INVALID, "row %zu: its text id is NULL", i);
        const size_t length = text_length(ask, i);
        const omen_status status = check_text(ask->texts[i], length, i, error);
        if (status != OMEN_OK)
            return status;
        bytes += length + 1;
    }
    draft->texts = mem_alloc(ask->count * sizeof *draft->texts);
    draft->text_bytes = mem_alloc(bytes);
    if (draft->texts == NULL || draft->text_bytes == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    char *at = draft->text_bytes;
    for (size_t i = 0; i < ask->count; i++) {
        const size_t length = text_length(ask, i);
        memcpy(at, ask->texts[i], length);
        at[length] = '\0';
        draft->texts[i] = at;
        at += length + 1;
    }
    return OMEN_OK;
}

static omen_status
take_ids(const struct shard *shard, const struct hosted_ask *ask, struct draft *draft,
         struct omen_error *error)
{
    struct op_rows *rows = &draft->change.rows;
    const enum id_kind kind = (enum id_kind)atomic_load(&shard->kind);
    rows->count = ask->count;
    rows->kind = ask->texts != NULL ? ID_KIND_TEXT : ID_KIND_INTEGER;
    if (kind != ID_KIND_NONE && kind != rows->kind)
        return error_set(error, OMEN_E_ID_KIND, "this index holds %s ids; %s ids were given",
                         kind == ID_KIND_TEXT ? "text" : "integer",
                         kind == ID_KIND_TEXT ? "integer" : "text");
    if (ask->texts != NULL) {
        const omen_status status = take_texts(ask, draft, error);
        rows->texts = draft->texts;
        return status;
    }
    for (size_t i = 0; i < ask->count; i++)
        if (ask->ids[i] > shard->options.id_max)
            return error_set(
                error, OMEN_E_ID_RANGE, "row %zu: id %llu is above the largest id, %llu", i,
                (unsigned long long)ask->ids[i], (unsigned long long)shard->options.id_max);
    rows->ids = ask->ids;
    return OMEN_OK;
}

static omen_status
check_twins(const struct op_rows *rows, struct omen_error *error)
{
    struct hosted_twins twins;
    omen_status status = hosted_twins_init(&twins, rows);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    for (size_t i = 0; i < rows->count && status == OMEN_OK; i++) {
        char text[48];
        const size_t twin = hosted_twin(&twins, i, hosted_row_hash(rows, i));
        if (twin == SIZE_MAX)
            continue;
        (void)snprintf(text, sizeof text, "is that of row %zu already", twin);
        status = hosted_refuse(rows, i, OMEN_E_DUPLICATE_ID, text, error);
    }
    hosted_twins_fini(&twins);
    return status;
}

// As they will be stored, dense.
static omen_status
take_vectors(const struct shard *shard, const struct hosted_ask *ask, struct draft *draft,
             struct omen_error *error)
{
    const enum vector_type stored = (enum vector_type)shard->options.dtype;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = ask->count;
    batch.vectors = ask->vectors;
    batch.dtype = ask->dtype;
    batch.stride = ask->stride;
    omen_status status = write_check(shard, &batch, error);
    if (status != OMEN_OK)
        return status;
    const uint32_t dim = shard->options.dimension;
    const enum vector_type type = (enum vector_type)ask->dtype;
    const size_t dense = (size_t)dim * vector_type_bytes(type);
    const struct vector_rows rows = {.rows = ask->vectors,
                                     .count = ask->count,
                                     .stride = ask->stride != 0 ? ask->stride : dense,
                                     .dim = dim,
                                     .type = type};
    float *work = mem_alloc(dim * sizeof *work);
    status = work == NULL ? error_set_plain(error, OMEN_E_NO_MEMORY)
                          : vector_input_check(&rows, stored, (enum metric)shard->options.metric,
                                               work, error);
    draft->change.rows.vectors = ask->vectors;
    draft->change.rows.row_bytes = shard->row_bytes;
    if (status == OMEN_OK && (type != stored || rows.stride != shard->row_bytes)) {
        draft->rows = mem_alloc(ask->count * shard->row_bytes);
        if (draft->rows == NULL)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
        for (size_t i = 0; i < ask->count && status == OMEN_OK; i++)
            vector_input_convert(&rows, i, stored, work,
                                 (char *)draft->rows + i * shard->row_bytes);
        draft->change.rows.vectors = draft->rows;
    }
    mem_free(work);
    return status;
}

static omen_status
take_payloads(const struct hosted_ask *ask, struct draft *draft, struct omen_error *error)
{
    if (ask->payloads == NULL && ask->kind == HOSTED_PAYLOADS)
        return error_set(error, OMEN_E_INVALID, "payloads is NULL");
    if (ask->payloads == NULL)
        return OMEN_OK;
    if (ask->payload_bytes == NULL)
        return error_set(error, OMEN_E_INVALID, "payloads without payload_bytes");
    for (size_t i = 0; i < ask->count; i++) {
        if (ask->payloads[i] == NULL)
            continue;
        if (ask->payload_bytes[i] > PAYLOAD_BYTES_MAX)
            return error_set(error, OMEN_E_PAYLOAD,
                             "row %zu: its payload has %zu bytes; at most %u are kept", i,
                             ask->payload_bytes[i], PAYLOAD_BYTES_MAX);
        const omen_status status =
            msgpack_check_map(ask->payloads[i], ask->payload_bytes[i], error);
        if (status != OMEN_OK)
            return error_set(error, status, "row %zu: %s", i, error->text);
    }
    draft->change.rows.payloads = ask->payloads;
    draft->change.rows.payload_bytes = ask->payload_bytes;
    return OMEN_OK;
}

static uint8_t *
put_head(uint8_t *at, uint8_t first, size_t count)
{
    *at++ = first;
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(count >> shift);
    return at;
}

// As an array of texts with heads of five bytes.
static omen_status
pack_unset(const struct hosted_ask *ask, struct draft *draft, struct omen_error *error)
{
    size_t bytes = 5;
    for (size_t i = 0; i < ask->unset_count; i++)
        bytes += 5 + ask->unset_bytes[i];
    if (ask->unset_count == 0)
        return OMEN_OK;
    if (bytes > PAYLOAD_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID, "unset has %zu bytes; at most %u are taken", bytes,
                         PAYLOAD_BYTES_MAX);
    draft->unset = mem_alloc(bytes);
    if (draft->unset == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    uint8_t *at = put_head(draft->unset, 0xdd, ask->unset_count);
    for (size_t i = 0; i < ask->unset_count; i++) {
        at = put_head(at, 0xdb, ask->unset_bytes[i]);
        if (ask->unset_bytes[i] > 0)
            memcpy(at, ask->unset[i], ask->unset_bytes[i]);
        at += ask->unset_bytes[i];
    }
    draft->change.unset = draft->unset;
    draft->change.unset_bytes = bytes;
    return OMEN_OK;
}

static omen_status
take_patch(const struct hosted_ask *ask, struct draft *draft, struct omen_error *error)
{
    struct patch *patch;
    if (ask->set == NULL && ask->unset_count == 0)
        return error_set(error, OMEN_E_INVALID, "a patch sets or unsets something");
    if (ask->set != NULL) {
        const omen_status status = msgpack_check_map(ask->set, ask->set_bytes, error);
        if (status != OMEN_OK)
            return error_set(error, status, "set: %s", error->text);
        draft->change.set = ask->set;
        draft->change.set_bytes = ask->set_bytes;
    }
    omen_status status = pack_unset(ask, draft, error);
    if (status == OMEN_OK)
        status = patch_open(draft->change.set, draft->change.set_bytes, draft->change.unset,
                            draft->change.unset_bytes, &patch, error);
    if (status == OMEN_OK)
        patch_close(patch);
    return status;
}

static omen_status
check_room(struct hosted *hosted, size_t count, struct omen_error *error)
{
    struct shard *shard = hosted->shard;
    const uint32_t ticket = epoch_enter(&shard->gate);
    const uint64_t points = idmap_count(shard_generation(shard)->ids);
    epoch_leave(&shard->gate, ticket);
    const uint32_t slots_max = shard->options.slots_max;
    if (points + count <= slots_max - slots_max / SLOTS_SPARE)
        return OMEN_OK;
    return error_set(
        error, OMEN_E_FULL,
        "%zu rows do not fit: %llu points are there, and %u of %u are kept free; split "
        "the shard",
        count, (unsigned long long)points, slots_max / SLOTS_SPARE, slots_max);
}

static omen_status
take_rows(struct hosted *hosted, const struct hosted_ask *ask, struct draft *draft,
          struct omen_error *error)
{
    const struct shard *shard = hosted->shard;
    omen_status status = take_ids(shard, ask, draft, error);
    if (status == OMEN_OK)
        status = check_twins(&draft->change.rows, error);
    if (status == OMEN_OK && writes_rows(ask->kind))
        status = take_vectors(shard, ask, draft, error);
    if (status == OMEN_OK && ask->kind != HOSTED_PATCH && ask->kind != HOSTED_DELETE)
        status = take_payloads(ask, draft, error);
    if (status == OMEN_OK && ask->kind == HOSTED_PATCH)
        status = take_patch(ask, draft, error);
    if (status == OMEN_OK && (ask->kind == HOSTED_UPSERT || ask->kind == HOSTED_INSERT))
        status = check_room(hosted, ask->count, error);
    return status;
}

static omen_status
prepare_change(struct hosted *hosted, const struct hosted_ask *ask, struct hosted_bytes *out,
               struct omen_error *error)
{
    static const enum op_mode modes[] = {
        [HOSTED_UPSERT] = OP_MODE_UPSERT, [HOSTED_INSERT] = OP_MODE_INSERT,
        [HOSTED_UPDATE] = OP_MODE_UPDATE, [HOSTED_PAYLOADS] = OP_MODE_PAYLOADS,
        [HOSTED_PATCH] = OP_MODE_PATCH,   [HOSTED_DELETE] = OP_MODE_DELETE,
    };
    struct draft draft = {.change = {.mode = modes[ask->kind], .if_versions = ask->if_versions}};
    if (ask->count == 0)
        return OMEN_OK;
    if (ask->count > SLOTS_MAX)
        return error_set(error, OMEN_E_INVALID, "count is %zu", ask->count);
    omen_status status = take_rows(hosted, ask, &draft, error);
    if (status == OMEN_OK && op_encode_change(&draft.change, &out->bytes, &out->count) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    draft_fini(&draft);
    out->rows = ask->count;
    if (status == OMEN_OK && out->count > HOSTED_OP_BYTES_MAX) {
        status = error_set(error, OMEN_E_INVALID,
                           "the batch has %zu bytes; the log takes at most %zu: split it",
                           out->count, HOSTED_OP_BYTES_MAX);
        hosted_bytes_fini(out);
    }
    return status;
}

// ---- a filter ----

// What was found, as an ask by ids.
struct found {
    struct hosted_ask ask;
    uint64_t *ids, *versions;
    char (*texts)[ID_TEXT_BYTES_MAX + 1];
    const char **list;
};

static omen_status
found_texts(struct shard *shard, struct found *found, struct omen_error *error)
{
    const size_t count = found->ask.count;
    found->texts = mem_alloc(count * sizeof *found->texts);
    found->list = mem_alloc(count * sizeof *found->list);
    if (found->texts == NULL || found->list == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        const omen_status status =
            shard_id_text(shard, found->ids[i], found->texts[i], sizeof *found->texts, error);
        if (status != OMEN_OK)
            return status;
        found->list[i] = found->texts[i];
    }
    found->ask.ids = NULL;
    found->ask.texts = found->list;
    found->ask.text_bytes = NULL;
    return OMEN_OK;
}

static omen_status
found_init(struct shard *shard, const struct hosted_ask *ask, const struct points *points,
           struct found *found, struct omen_error *error)
{
    const size_t count = points_count(points);
    *found = (struct found){.ask = *ask};
    found->ids = mem_alloc(2 * count * sizeof *found->ids);
    if (found->ids == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    found->versions = found->ids + count;
    for (size_t i = 0; i < count; i++) {
        struct point point;
        points_at(points, i, &point);
        found->ids[i] = point.id;
        found->versions[i] = point.version;
    }
    found->ask.count = count;
    found->ask.ids = found->ids;
    found->ask.if_versions = found->versions;
    found->ask.filter = NULL;
    found->ask.filter_map = NULL;
    return atomic_load(&shard->kind) == ID_KIND_TEXT ? found_texts(shard, found, error) : OMEN_OK;
}

static void
found_fini(struct found *found)
{
    mem_free(found->ids);
    mem_free(found->texts);
    mem_free((void *)found->list);
}

// No points: whether it could be done with some.
static omen_status
check_patch_alone(const struct hosted_ask *ask, struct omen_error *error)
{
    struct draft draft = {0};
    if (ask->kind != HOSTED_PATCH)
        return OMEN_OK;
    const omen_status status = take_patch(ask, &draft, error);
    draft_fini(&draft);
    return status;
}

static omen_status
prepare_filter(struct hosted *hosted, const struct hosted_ask *ask, struct hosted_bytes *out,
               struct omen_error *error)
{
    struct shard *shard = hosted->shard;
    struct points *points;
    struct found found;
    struct scroll scroll = {.filter = ask->filter,
                            .filter_map = ask->filter_map,
                            .filter_map_bytes = ask->filter_map_bytes,
                            .limit = ask->kind == HOSTED_PATCH ? PATCH_PART : HOSTED_PART_POINTS,
                            .cursor = ask->cursor};
    if (ask->if_versions != NULL)
        return error_set(error, OMEN_E_INVALID, "if_version is of points, not of a filter");
    omen_status status = check_patch_alone(ask, error);
    if (status == OMEN_OK)
        status = shard_scroll(shard, &scroll, &points, error);
    if (status != OMEN_OK)
        return status;
    if (points_count(points) > 0) {
        status = found_init(shard, ask, points, &found, error);
        if (status == OMEN_OK)
            status = prepare_change(hosted, &found.ask, out, error);
        found_fini(&found);
    }
    points_close(points);
    out->cursor = scroll.cursor;
    return status;
}
