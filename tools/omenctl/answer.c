// tools/omenctl/answer.c -- the structs of the protocol as documents.
//
// Shape: value. Recursion is as deep as the protocol's tables are.
#include "tools/omenctl/answer.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "index/vector.h"

// Room for whatever a list has.
union item {
    max_align_t align;
    uint8_t bytes[SHAPE_BYTES_MAX];
};

static bool
is_there(const struct field *field, const void *at)
{
    static const union item none;
    if ((field->flags & FIELD_REQUIRED) != 0)
        return true;
    size_t bytes;
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
    case FIELD_WORD:
        bytes = sizeof(uint8_t);
        break;
    case FIELD_U32:
    case FIELD_WORDS:
    case FIELD_FLOAT:
        bytes = sizeof(uint32_t);
        break;
    case FIELD_U64:
    case FIELD_I64:
    case FIELD_REAL:
        bytes = sizeof(uint64_t);
        break;
    case FIELD_MAYBE:
        return ((const struct wire_maybe *)at)->given != 0;
    case FIELD_INSIDE:
        return true;
    case FIELD_ID:
        return ((const struct wire_id *)at)->given != 0;
    case FIELD_VECTOR:
    case FIELD_VECTORS:
        return ((const struct wire_vectors *)at)->form != VECTORS_NONE;
    case FIELD_FILTER:
        return ((const struct wire_filter *)at)->form != FILTER_FORM_NONE;
    case FIELD_UUID:
        bytes = sizeof(struct wire_uuid);
        break;
    case FIELD_TEXT:
    case FIELD_NAME:
        return ((const struct wire_text *)at)->count != 0;
    case FIELD_BYTES:
    case FIELD_PAYLOAD:
    case FIELD_ANY:
        return ((const struct wire_bytes *)at)->count != 0;
    default:
        return ((const struct wire_list *)at)->count != 0;
    }
    return memcmp(at, &none, bytes) != 0;
}

static void
add_id(struct doc *doc, struct doc_node *parent, const char *key, const struct wire_id *id)
{
    if (id->text_bytes > 0)
        doc_text_bytes(doc, parent, key, id->text, id->text_bytes);
    else
        doc_uint(doc, parent, key, id->number);
}

void
answer_vector(struct doc *doc, struct doc_node *parent, const char *key,
              const struct wire_vectors *vector)
{
    static const enum vector_type types[] = {[WIRE_F32] = VECTOR_F32,
                                             [WIRE_F16] = VECTOR_F16,
                                             [WIRE_BF16] = VECTOR_BF16,
                                             [WIRE_I8] = VECTOR_I8,
                                             [WIRE_U8] = VECTOR_U8};
    if (vector->form != VECTORS_RAW) { // numbers, or rows of them: msgpack as they are
        doc_msgpack(doc, parent, key, vector->bytes.bytes, vector->bytes.count);
        return;
    }
    struct doc_node *list = doc_list(doc, parent, key);
    const size_t bytes = wire_dtype_bytes(vector->dtype);
    for (uint32_t i = 0; i < vector->count; i++) {
        float value;
        vector_to_f32(types[vector->dtype], vector->bytes.bytes + i * bytes, 1, &value);
        doc_single(doc, list, NULL, value);
    }
}

static void
add_words(struct doc *doc, struct doc_node *parent, const struct field *field, uint32_t bits)
{
    struct doc_node *list = doc_list(doc, parent, field->key);
    for (uint32_t i = 0; field->words[i] != NULL; i++)
        if ((bits >> i & 1) != 0)
            doc_text(doc, list, NULL, field->words[i]);
}

// {shard: [term, seq]}, as it is given to --after.
static void
add_token(struct doc *doc, struct doc_node *parent, const char *key, const struct wire_list *token)
{
    struct doc_node *map = doc_map(doc, parent, key);
    struct list_cursor cursor;
    struct wire_token item;
    token_begin(&cursor, token);
    while (list_next(&cursor, &item)) {
        char shard[24];
        snprintf(shard, sizeof shard, "%" PRIu64, item.shard);
        struct doc_node *pair = doc_list(doc, map, shard);
        doc_uint(doc, pair, NULL, item.term);
        doc_uint(doc, pair, NULL, item.seq);
    }
}

static void
add_number(struct doc *doc, struct doc_node *parent, const struct field *field, uint64_t number)
{
    const size_t length = strlen(field->key);
    const bool is_bytes = length > 6 && strcmp(field->key + length - 6, "_bytes") == 0;
    const bool is_time =
        strcmp(field->key, "time_ms") == 0 || strcmp(field->key, "expires_ms") == 0;
    if (is_time)
        doc_time(doc, parent, field->key, number);
    else if (is_bytes)
        doc_bytes(doc, parent, field->key, number);
    else
        doc_uint(doc, parent, field->key, number);
}

static void
add_value(struct doc *doc, struct doc_node *parent, const struct field *field, const void *at)
{
    const char *key = field->key;
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        doc_bool(doc, parent, key, *(const uint8_t *)at != 0);
        return;
    case FIELD_U32:
        add_number(doc, parent, field, *(const uint32_t *)at);
        return;
    case FIELD_U64:
        add_number(doc, parent, field, *(const uint64_t *)at);
        return;
    case FIELD_MAYBE:
        add_number(doc, parent, field, ((const struct wire_maybe *)at)->value);
        return;
    case FIELD_I64:
        doc_int(doc, parent, key, *(const int64_t *)at);
        return;
    case FIELD_REAL:
        doc_double(doc, parent, key, *(const double *)at);
        return;
    case FIELD_FLOAT:
        doc_single(doc, parent, key, *(const float *)at);
        return;
    case FIELD_TEXT:
    case FIELD_NAME: {
        const struct wire_text *text = at;
        doc_text_bytes(doc, parent, key, text->count > 0 ? text->bytes : "", text->count);
        return;
    }
    case FIELD_WORD:
        doc_text(doc, parent, key,
                 *(const uint8_t *)at > 0 ? field->words[*(const uint8_t *)at - 1] : "");
        return;
    case FIELD_WORDS:
        add_words(doc, parent, field, *(const uint32_t *)at);
        return;
    case FIELD_ID:
        add_id(doc, parent, key, at);
        return;
    case FIELD_VECTOR:
    case FIELD_VECTORS:
        answer_vector(doc, parent, key, at);
        return;
    case FIELD_INSIDE:
        answer_fields(doc, doc_map(doc, parent, key), field->shape, at, NULL);
        return;
    case FIELD_TOKEN:
        add_token(doc, parent, key, at);
        return;
    case FIELD_LIST:
    case FIELD_IDS:
    case FIELD_TEXTS:
        answer_items(doc, doc_list(doc, parent, key), field, at, NULL);
        return;
    case FIELD_PAYLOAD:
    case FIELD_ANY: {
        const struct wire_bytes *raw = at;
        doc_msgpack(doc, parent, key, raw->bytes, raw->count);
        return;
    }
    default: // no answer has them
        doc_null(doc, parent, key);
    }
}

void
answer_items(struct doc *doc, struct doc_node *parent, const struct field *field,
             const struct wire_list *list, const char *columns)
{
    struct list_cursor cursor;
    union item item;
    list_begin(&cursor, field, list);
    while (list_next(&cursor, &item)) {
        if (field->kind == FIELD_IDS) {
            add_id(doc, parent, NULL, (const struct wire_id *)(const void *)&item);
        } else if (field->kind == FIELD_TEXTS) {
            const struct wire_text *text = (const void *)&item;
            doc_text_bytes(doc, parent, NULL, text->bytes, text->count);
        } else if (field->shape->absent != 0 && item.bytes[field->shape->absent] != 0) {
            doc_null(doc, parent, NULL);
        } else {
            answer_fields(doc, doc_map(doc, parent, NULL), field->shape, &item, columns);
        }
    }
}

static const struct field *
field_of(const struct shape *shape, const char *key, size_t bytes)
{
    for (uint32_t i = 0; i < shape->field_count; i++)
        if (strlen(shape->fields[i].key) == bytes &&
            memcmp(shape->fields[i].key, key, bytes) == 0 &&
            (shape->fields[i].flags & FIELD_ALIAS) == 0)
            return &shape->fields[i];
    return NULL;
}

void
answer_fields(struct doc *doc, struct doc_node *parent, const struct shape *shape, const void *from,
              const char *columns)
{
    if (columns == NULL) {
        for (uint32_t i = 0; i < shape->field_count; i++) {
            const struct field *field = &shape->fields[i];
            const void *at = (const uint8_t *)from + field->at;
            if ((field->flags & FIELD_ALIAS) == 0 && is_there(field, at))
                add_value(doc, parent, field, at);
        }
        return;
    }
    while (*columns != '\0') {
        const size_t bytes = strcspn(columns, " ");
        const struct field *field = field_of(shape, columns, bytes);
        const void *at = field != NULL ? (const uint8_t *)from + field->at : NULL;
        if (field != NULL && is_there(field, at))
            add_value(doc, parent, field, at);
        else if (field != NULL)
            doc_null(doc, parent, field->key);
        columns += bytes + (columns[bytes] == ' ');
    }
}
