// router/front_pack.c -- what a shard is asked: the client's own bytes where it has all the items, else a map of those that it has.
//
// Shape: handle, in memory.
//
// Rows of a frame are objects one behind the other. Where a batch lies over several shards, the place of each row is looked for once;
// a part is then copied together from the rows as they are, without unpacking them.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "router/front_int.h"

void
front_rows_fini(struct front_rows *rows)
{
    mem_free(rows->ids);
    *rows = (struct front_rows){0};
}

// What the items of the request are in its frame; of a method that lacks one it is empty.
struct items {
    struct wire_list ids, payloads;
    struct wire_vectors vectors;
};

static struct items
items_of(const struct front_call *call)
{
    const void *ask = &call->ask;
    struct items items = {0};
    switch (call->asks) {
    case METHOD_POINT_UPSERT:
        items.ids = ((const struct api_point_upsert *)ask)->ids;
        items.payloads = ((const struct api_point_upsert *)ask)->payloads;
        items.vectors = ((const struct api_point_upsert *)ask)->vectors;
        return items;
    case METHOD_POINT_DELETE:
        items.ids = ((const struct api_point_delete *)ask)->ids;
        return items;
    case METHOD_POINT_PATCH:
        items.ids = ((const struct api_point_patch *)ask)->ids;
        return items;
    default:
        ASSERT(call->asks == METHOD_POINT_GET);
        items.ids = call->ids; // of the client's, or those whose vectors a search wants
        return items;
    }
}

static void
find_rows(uint32_t *at, const uint8_t *packed, uint32_t bytes, uint32_t count)
{
    struct msgpack_reader reader = {.at = packed, .end = packed + bytes};
    at[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        const bool whole = msgpack_skip(&reader);
        ASSERT(whole); // it was read before
        at[i + 1] = (uint32_t)(reader.at - packed);
    }
}

// The first row of an array behind its head.
static struct wire_bytes
behind_head(struct wire_bytes array)
{
    struct msgpack_reader reader = {.at = array.bytes, .end = array.bytes + array.count};
    struct msgpack_value value;
    const bool whole = msgpack_next(&reader, &value);
    ASSERT(whole && value.kind == MSGPACK_ARRAY);
    return (struct wire_bytes){reader.at, (uint32_t)(reader.end - reader.at)};
}

static bool
rows_of(struct front_call *call, const struct items *items)
{
    struct front_rows *rows = &call->rows;
    const uint32_t count = items->ids.count;
    if (rows->ids != NULL)
        return true;
    rows->ids = mem_alloc(3 * ((size_t)count + 1) * sizeof *rows->ids);
    if (rows->ids == NULL)
        return false;
    find_rows(rows->ids, items->ids.packed, items->ids.packed_bytes, count);
    if (items->payloads.count > 0) {
        rows->payloads = rows->ids + count + 1;
        find_rows(rows->payloads, items->payloads.packed, items->payloads.packed_bytes, count);
    }
    if (items->vectors.form == VECTORS_ROWS) {
        const struct wire_bytes bytes = behind_head(items->vectors.bytes);
        rows->vectors = rows->ids + 2 * ((size_t)count + 1);
        find_rows(rows->vectors, bytes.bytes, bytes.count, count);
    }
    return true;
}

static void
rows_write(struct encode *encode, const struct front_call *call, const struct fanout_send *send,
           const uint8_t *packed, const uint32_t *at)
{
    uint32_t item = send->item_first;
    encode_array(encode, send->item_count);
    for (uint32_t i = 0; i < send->item_count; i++, item = call->items[item].next)
        encode_raw(encode, packed + at[item], at[item + 1] - at[item]);
}

// The head of a binary, or of an ext, of 32 bits, and room for what it announces.
static uint8_t *
raw_reserve(struct encode *encode, uint8_t dtype, uint32_t count)
{
    const bool ext = dtype != WIRE_F32;
    const uint8_t head[6] = {ext ? 0xc9 : 0xc6,     (uint8_t)(count >> 24), (uint8_t)(count >> 16),
                             (uint8_t)(count >> 8), (uint8_t)count,         dtype};
    encode_raw(encode, head, ext ? 6 : 5);
    return encode_reserve(encode, count);
}

static void
vectors_write(struct encode *encode, const struct front_call *call, const struct fanout_send *send,
              const struct wire_vectors *vectors)
{
    if (vectors->form == VECTORS_ROWS) {
        rows_write(encode, call, send, behind_head(vectors->bytes).bytes, call->rows.vectors);
        return;
    }
    const uint32_t row_bytes = vectors->bytes.count / call->start.item_count;
    uint8_t *to = raw_reserve(encode, vectors->dtype, row_bytes * send->item_count);
    uint32_t item = send->item_first;
    for (uint32_t i = 0; to != NULL && i < send->item_count; i++, item = call->items[item].next)
        memcpy(to + (size_t)i * row_bytes, vectors->bytes.bytes + (size_t)item * row_bytes,
               row_bytes);
}

// What belongs to the request as a whole: a key for what is not zero.
static uint32_t
rest_count(const struct front_call *call)
{
    const struct api_point_upsert *upsert = (const void *)&call->ask;
    const struct api_point_patch *patch = (const void *)&call->ask;
    switch (call->asks) {
    case METHOD_POINT_UPSERT:
        return upsert->mode != 0;
    case METHOD_POINT_PATCH:
        return (uint32_t)(patch->set.count > 0) + (uint32_t)(patch->unset.count > 0);
    case METHOD_POINT_GET:
        return call->with != 0;
    default:
        return 0;
    }
}

static void
rest_write(struct encode *encode, const struct front_call *call)
{
    const struct api_point_upsert *upsert = (const void *)&call->ask;
    const struct api_point_patch *patch = (const void *)&call->ask;
    if (call->asks == METHOD_POINT_UPSERT && upsert->mode != 0) {
        encode_word(encode, "mode");
        encode_word(encode, shape_field(&api_point_upsert, "mode")->words[upsert->mode - 1]);
    }
    if (call->asks == METHOD_POINT_PATCH && patch->set.count > 0) {
        encode_word(encode, "set");
        encode_raw(encode, patch->set.bytes, patch->set.count);
    }
    if (call->asks == METHOD_POINT_PATCH && patch->unset.count > 0) {
        encode_word(encode, "unset");
        encode_array(encode, patch->unset.count);
        encode_raw(encode, patch->unset.packed, patch->unset.packed_bytes);
    }
    if (call->asks == METHOD_POINT_GET && call->with != 0) {
        const bool payload = (call->with & API_WITH_PAYLOAD) != 0;
        const bool vector = (call->with & API_WITH_VECTOR) != 0;
        encode_word(encode, "with");
        encode_array(encode, (uint32_t)payload + (uint32_t)vector);
        if (payload)
            encode_word(encode, "payload");
        if (vector)
            encode_word(encode, "vector");
    }
}

// A version is asked for of a single point, and its shard has all of the request then.
static void
some_write(struct encode *encode, const struct front_call *call, const struct fanout_send *send,
           const struct items *items)
{
    const struct front_read *ask = (const void *)&call->ask;
    const bool payloads = items->payloads.count > 0, vectors = items->vectors.form != VECTORS_NONE;
    encode_map(encode, 2 + (uint32_t)payloads + (uint32_t)vectors + rest_count(call));
    encode_word(encode, "collection");
    encode_text(encode, ask->collection);
    encode_word(encode, "ids");
    rows_write(encode, call, send, items->ids.packed, call->rows.ids);
    if (vectors) {
        encode_word(encode, "vectors");
        vectors_write(encode, call, send, &items->vectors);
    }
    if (payloads) {
        encode_word(encode, "payloads");
        rows_write(encode, call, send, items->payloads.packed, call->rows.payloads);
    }
    rest_write(encode, call);
}

bool
front_pack(struct front *front, struct front_call *call, const struct fanout_send *send,
           struct wire_bytes *ask)
{
    if (send->item_count == call->start.item_count) {
        *ask = call->whole;
        return true;
    }
    const struct items items = items_of(call);
    if (!rows_of(call, &items))
        return false;
    encode_reset(&front->packed);
    some_write(&front->packed, call, send, &items);
    *ask = (struct wire_bytes){front->packed.bytes, (uint32_t)front->packed.count};
    return front->packed.status == OMEN_OK;
}
