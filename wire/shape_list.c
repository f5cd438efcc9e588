// wire/shape_list.c -- lists: checked when the frame is read, gone through when somebody wants them.
//
// Shape: value.
//
// Reading a list reads every item into a struct that is thrown away, so that what list_next finds later was found sound already. The
// other way, to make an array of structs while reading, would need memory for as many items as somebody else says there are.
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "wire/shape_int.h"

#define TEXT_BYTES_MAX 255u
#define SHARD_MAX (UINT64_MAX / 4)
#define SHARD_DIGITS_MAX 19u

union item {
    max_align_t align;
    uint8_t bytes[SHAPE_BYTES_MAX];
};

// What a packed list was checked against when it was read; here it only has to be large enough.
static const struct decode_limits no_limits = {
    .bytes_max = UINT32_MAX, .depth_max = DECODE_DEPTH_MAX, .nodes_max = UINT32_MAX};

bool
field_is_list(const struct field *field)
{
    return field->kind >= FIELD_LIST;
}

size_t
field_item_bytes(const struct field *field)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_LIST:
        return field->shape->bytes;
    case FIELD_IDS:
        return sizeof(struct wire_id);
    case FIELD_TEXTS:
        return sizeof(struct wire_text);
    case FIELD_PAYLOADS:
        return sizeof(struct wire_bytes);
    case FIELD_VECTORS:
        return sizeof(struct wire_vectors);
    default:
        ASSERT(field->kind == FIELD_TOKEN);
        return sizeof(struct wire_token);
    }
}

// A shard's number is a text, as keys of maps are: many libraries refuse others unless they are told not to, and in some
// languages there are none. Numbers are read as well; earlier builds wrote them.
static uint64_t
shard_read(struct decode *decode)
{
    struct msgpack_value value;
    if (!decode_peek(decode, &value) || value.kind != MSGPACK_STRING)
        return decode_u64(decode, 1, SHARD_MAX);
    const struct wire_text text = decode_text(decode, 1, SHARD_DIGITS_MAX);
    uint64_t number = 0;
    bool digits = true;
    for (uint32_t i = 0; i < text.count; i++) {
        digits = digits && text.bytes[i] >= '0' && text.bytes[i] <= '9';
        number = number * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    if (decode_ok(decode) && (!digits || number == 0 || number > SHARD_MAX))
        decode_fail(decode, OMEN_E_INVALID, "has a key that is no shard's number");
    return number;
}

static void
shard_write(struct encode *encode, uint64_t shard)
{
    char digits[SHARD_DIGITS_MAX];
    uint32_t at = SHARD_DIGITS_MAX;
    ASSERT(shard <= SHARD_MAX);
    do
        digits[--at] = (char)('0' + shard % 10);
    while ((shard /= 10) > 0);
    encode_text(encode, (struct wire_text){digits + at, SHARD_DIGITS_MAX - at});
}

static void
token_read(struct decode *decode, struct wire_token *token)
{
    token->shard = shard_read(decode);
    const uint32_t count = decode_array(decode);
    if (decode_ok(decode) && count != 2)
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " numbers, expected [term, seq]", count);
    token->term = decode_u64(decode, 0, WIRE_STATE_MAX);
    token->seq = decode_u64(decode, 0, WIRE_STATE_MAX);
    decode_close(decode);
}

static void
item_read(struct decode *decode, const struct field *field, void *out)
{
    memset(out, 0, field_item_bytes(field));
    switch ((enum field_kind)field->kind) {
    case FIELD_LIST:
        if (field->shape->absent > 0 && decode_take_nil(decode))
            ((uint8_t *)out)[field->shape->absent] = 1;
        else
            shape_read(decode, field->shape, out);
        return;
    case FIELD_IDS:
        id_read(decode, out);
        return;
    case FIELD_TEXTS:
        *(struct wire_text *)out = decode_text(decode, 1, TEXT_BYTES_MAX);
        return;
    case FIELD_PAYLOADS:
        if (!decode_take_nil(decode))
            payload_read(decode, out);
        return;
    case FIELD_VECTORS:
        vector_read(decode, out);
        return;
    default:
        token_read(decode, out);
    }
}

void
list_read(struct decode *decode, const struct field *field, struct wire_list *list)
{
    const uint32_t count = field->kind == FIELD_TOKEN ? decode_map(decode) : decode_array(decode);
    if (decode_ok(decode) && (count < field->least || count > field->most))
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " items, expected %" PRIu64 "..%" PRIu64,
                    count, field->least, field->most);
    const uint8_t *const start = decode->reader.at;
    for (uint32_t i = 0; i < count && decode_ok(decode); i++) {
        union item item;
        decode_enter_index(decode, i);
        item_read(decode, field, &item);
        decode_leave(decode);
    }
    decode_close(decode);
    if (decode_ok(decode))
        *list = (struct wire_list){
            .count = count, .packed = start, .packed_bytes = (uint32_t)(decode->reader.at - start)};
}

static void
item_write(struct encode *encode, const struct field *field, const void *item)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_LIST:
        if (field->shape->absent > 0 && ((const uint8_t *)item)[field->shape->absent] != 0)
            encode_nil(encode);
        else
            shape_write(encode, field->shape, item);
        return;
    case FIELD_IDS:
        id_write(encode, item);
        return;
    case FIELD_TEXTS:
        encode_text(encode, *(const struct wire_text *)item);
        return;
    case FIELD_PAYLOADS:
        if (((const struct wire_bytes *)item)->count == 0)
            encode_nil(encode);
        else
            encode_raw(encode, ((const struct wire_bytes *)item)->bytes,
                       ((const struct wire_bytes *)item)->count);
        return;
    default: {
        const struct wire_token *token = item;
        shard_write(encode, token->shard);
        encode_array(encode, 2);
        encode_u64(encode, token->term);
        encode_u64(encode, token->seq);
    }
    }
}

void
list_write(struct encode *encode, const struct field *field, const struct wire_list *list)
{
    if (field->kind == FIELD_TOKEN)
        encode_map(encode, list->count);
    else
        encode_array(encode, list->count);
    if (list->packed != NULL) {
        encode_raw(encode, list->packed, list->packed_bytes);
        return;
    }
    const size_t bytes = field_item_bytes(field);
    for (uint32_t i = 0; i < list->count; i++)
        item_write(encode, field, (const uint8_t *)list->items + i * bytes);
}

void
list_begin(struct list_cursor *cursor, const struct field *field, const struct wire_list *list)
{
    cursor->list = *list;
    cursor->field = field;
    cursor->next = 0;
    decode_init(&cursor->decode, (struct wire_bytes){list->packed, list->packed_bytes}, &no_limits,
                NULL);
}

bool
list_next(struct list_cursor *cursor, void *out)
{
    if (cursor->next == cursor->list.count)
        return false;
    const size_t bytes = field_item_bytes(cursor->field);
    if (cursor->list.packed == NULL)
        memcpy(out, (const uint8_t *)cursor->list.items + cursor->next * bytes, bytes);
    else
        item_read(&cursor->decode, cursor->field, out);
    ASSERT(decode_ok(&cursor->decode)); // it was read before
    cursor->next++;
    return true;
}

#define BEGIN(name, kind_)                                                                         \
    void name##_begin(struct list_cursor *cursor, const struct wire_list *list)                    \
    {                                                                                              \
        static const struct field field = {.key = #name, .kind = (kind_)};                         \
        list_begin(cursor, &field, list);                                                          \
    }
BEGIN(ids, FIELD_IDS)
BEGIN(token, FIELD_TOKEN)
BEGIN(payloads, FIELD_PAYLOADS)
BEGIN(texts, FIELD_TEXTS)

void
rows_begin(struct list_cursor *cursor, const struct wire_vectors *vectors)
{
    static const struct field field = {.key = "vectors", .kind = FIELD_VECTORS};
    ASSERT(vectors->form == VECTORS_ROWS);
    list_begin(cursor, &field,
               &(struct wire_list){.count = vectors->count,
                                   .packed = vectors->bytes.bytes,
                                   .packed_bytes = vectors->bytes.count});
    const uint32_t count = decode_array(&cursor->decode);
    ASSERT(count == vectors->count);
}
