// wire/encode.c -- writes msgpack, and plain bytes, into a buffer that grows up to a limit.
//
// Shape: handle.
//
// msgpack-c chooses the shortest form of each object; the buffer is ours, because the library's own has no limit and goes around
// base/alloc.h.
#include "wire/encode.h"

#include <msgpack.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define ROOM_MIN ((size_t)256)

static int append(void *data, const char *bytes, size_t count);

static msgpack_packer
packer_of(struct encode *encode)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, encode, append);
    return packer;
}

void
encode_init(struct encode *encode, size_t bytes_max)
{
    *encode = (struct encode){.bytes_max = bytes_max};
}

void
encode_fini(struct encode *encode)
{
    mem_free(encode->bytes);
    *encode = (struct encode){0};
}

void
encode_reset(struct encode *encode)
{
    encode_rewind(encode, 0);
}

void
encode_rewind(struct encode *encode, size_t count)
{
    ASSERT(count <= encode->count);
    encode->count = count;
    encode->status = OMEN_OK;
}

uint8_t *
encode_reserve(struct encode *encode, size_t count)
{
    if (encode->status != OMEN_OK)
        return NULL;
    if (count > encode->bytes_max - encode->count) {
        encode->status = OMEN_E_FULL;
        return NULL;
    }
    if (count > encode->room - encode->count) {
        size_t room = encode->room * 2 > ROOM_MIN ? encode->room * 2 : ROOM_MIN;
        room = room > encode->count + count ? room : encode->count + count;
        room = room < encode->bytes_max ? room : encode->bytes_max;
        uint8_t *grown = mem_resize(encode->bytes, room);
        if (grown == NULL) {
            encode->status = OMEN_E_NO_MEMORY;
            return NULL;
        }
        encode->bytes = grown;
        encode->room = room;
    }
    uint8_t *at = encode->bytes + encode->count;
    encode->count += count;
    return at;
}

void
encode_raw(struct encode *encode, const void *bytes, size_t count)
{
    if (count == 0)
        return;
    uint8_t *at = encode_reserve(encode, count);
    if (at != NULL)
        memcpy(at, bytes, count);
}

static int
append(void *data, const char *bytes, size_t count)
{
    encode_raw(data, bytes, count);
    return 0; // the status says it
}

void
encode_plain(struct encode *encode, uint64_t value, uint32_t bytes)
{
    uint8_t *at = encode_reserve(encode, bytes);
    for (uint32_t i = 0; at != NULL && i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void
encode_nil(struct encode *encode)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_nil(&packer);
}

void
encode_bool(struct encode *encode, uint8_t value)
{
    msgpack_packer packer = packer_of(encode);
    if (value != 0)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void
encode_u64(struct encode *encode, uint64_t value)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_uint64(&packer, value);
}

void
encode_i64(struct encode *encode, int64_t value)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_int64(&packer, value);
}

void
encode_real(struct encode *encode, double value)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_double(&packer, value);
}

void
encode_float(struct encode *encode, float value)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_float(&packer, value);
}

void
encode_text(struct encode *encode, struct wire_text text)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_str(&packer, text.count);
    encode_raw(encode, text.bytes, text.count);
}

void
encode_word(struct encode *encode, const char *text)
{
    encode_text(encode, wire_text_of(text));
}

void
encode_bytes(struct encode *encode, struct wire_bytes bytes)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_bin(&packer, bytes.count);
    encode_raw(encode, bytes.bytes, bytes.count);
}

void
encode_ext(struct encode *encode, int8_t type, struct wire_bytes bytes)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_ext(&packer, bytes.count, type);
    encode_raw(encode, bytes.bytes, bytes.count);
}

void
encode_array(struct encode *encode, uint32_t count)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_array(&packer, count);
}

void
encode_map(struct encode *encode, uint32_t count)
{
    msgpack_packer packer = packer_of(encode);
    msgpack_pack_map(&packer, count);
}
