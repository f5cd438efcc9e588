// wire/shape_vector.c -- vectors: binaries, exts, arrays of numbers, and what old clients call strings.
//
// Shape: value.
//
// Components are not looked at here but in arrays, where each is an object of its own: whether a float is finite is for who copies
// it to say. A binary's floats need not be aligned.
#include <inttypes.h>

#include "base/assert.h"
#include "base/limits.h"
#include "wire/shape_int.h"

size_t
wire_dtype_bytes(uint8_t dtype)
{
    static const uint8_t bytes[] = {0, 4, 2, 2, 1, 1};
    ASSERT(dtype >= WIRE_F32 && dtype <= WIRE_U8);
    return bytes[dtype];
}

// A binary or a string holds f32, an ext what its type says.
static void
raw_read(struct decode *decode, struct wire_vectors *vectors, uint32_t components_max)
{
    struct msgpack_value value;
    if (!decode_next(decode, &value))
        return;
    const bool ext = value.kind == MSGPACK_EXT;
    if (ext && (value.ext_type < WIRE_F32 || value.ext_type > WIRE_U8)) {
        decode_fail(decode, OMEN_E_DTYPE,
                    "is an extension of type %d, expected 1 f32, 2 f16, 3 bf16, 4 i8 or 5 u8",
                    value.ext_type);
        return;
    }
    const uint8_t dtype = ext ? (uint8_t)value.ext_type : WIRE_F32;
    const uint32_t bytes = value.raw.length;
    const uint32_t width = (uint32_t)wire_dtype_bytes(dtype);
    if (bytes == 0 || bytes % width != 0)
        decode_fail(decode, OMEN_E_DIMENSION,
                    "has %" PRIu32 " bytes, expected a multiple of %" PRIu32 " above 0", bytes,
                    width);
    else if (bytes / width > components_max)
        decode_fail(decode, OMEN_E_DIMENSION, "has %" PRIu32 " components, more than %" PRIu32,
                    bytes / width, components_max);
    else
        *vectors = (struct wire_vectors){.form = VECTORS_RAW,
                                         .dtype = dtype,
                                         .count = bytes / width,
                                         .bytes = {value.raw.bytes, bytes}};
}

static bool
is_raw(const struct msgpack_value *value)
{
    return value->kind == MSGPACK_BINARY || value->kind == MSGPACK_STRING ||
           value->kind == MSGPACK_EXT;
}

void
vector_read(struct decode *decode, struct wire_vectors *vector)
{
    struct msgpack_value value;
    if (decode_peek(decode, &value) && is_raw(&value)) {
        raw_read(decode, vector, VECTOR_DIM_MAX);
        return;
    }
    uint32_t count;
    const struct wire_bytes numbers = decode_numbers(decode, 1, VECTOR_DIM_MAX, &count);
    if (decode_ok(decode))
        *vector = (struct wire_vectors){.form = VECTORS_NUMBERS, .count = count, .bytes = numbers};
}

void
vectors_read(struct decode *decode, const struct field *field, struct wire_vectors *vectors)
{
    struct msgpack_value value;
    if (decode_peek(decode, &value) && is_raw(&value)) {
        raw_read(decode, vectors, UINT32_MAX);
        return;
    }
    const uint8_t *const start = decode->reader.at;
    const uint32_t count = decode_array(decode);
    if (decode_ok(decode) && (count < field->least || count > field->most))
        decode_fail(decode, OMEN_E_INVALID,
                    "has %" PRIu32 " vectors, expected %" PRIu64 "..%" PRIu64, count, field->least,
                    field->most);
    for (uint32_t i = 0; i < count && decode_ok(decode); i++) {
        struct wire_vectors row;
        decode_enter_index(decode, i);
        vector_read(decode, &row);
        decode_leave(decode);
    }
    decode_close(decode);
    if (decode_ok(decode))
        *vectors = (struct wire_vectors){
            .form = VECTORS_ROWS,
            .count = count,
            .bytes = {start, (uint32_t)(decode->reader.at - start)},
        };
}

void
vectors_write(struct encode *encode, const struct wire_vectors *vectors)
{
    ASSERT(vectors->form != VECTORS_NONE);
    if (vectors->form != VECTORS_RAW)
        encode_raw(encode, vectors->bytes.bytes, vectors->bytes.count);
    else if (vectors->dtype == WIRE_F32)
        encode_bytes(encode, vectors->bytes);
    else
        encode_ext(encode, (int8_t)vectors->dtype, vectors->bytes);
}
