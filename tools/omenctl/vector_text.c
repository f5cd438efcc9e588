// tools/omenctl/vector_text.c -- a vector as people give it.
//
// Shape: shell.
#include "tools/omenctl/vector_text.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "index/vector.h"
#include "tools/omenctl/npy.h"
#include "tools/omenctl/source.h"

static omen_status
vector_of_npy(const struct buffer *file, struct buffer *out, struct omen_error *error)
{
    struct npy npy;
    float *values;
    const omen_status status = npy_parse(file->bytes, file->count, file->count, &npy, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t count = npy.shape[0] * npy.shape[1];
    const enum vector_type type = npy.kind == 'f'   ? npy.item_bytes == 4 ? VECTOR_F32 : VECTOR_F16
                                  : npy.kind == 'u' ? VECTOR_U8
                                                    : VECTOR_I8;
    if (npy.item_bytes != vector_type_bytes(type))
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "npy: components of type %c%u; wanted: f4, f2, u1, i1", npy.kind,
                         npy.item_bytes);
    if ((npy.dimensions == 2 && npy.shape[0] != 1) || count < 1 || count > VECTOR_DIM_MAX)
        return error_set(error, OMEN_E_DIMENSION, "npy: wanted is one vector of 1 to %u components",
                         VECTOR_DIM_MAX);
    values = mem_alloc(count * sizeof *values);
    if (values == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    vector_to_f32(type, file->bytes + npy.first_byte, (uint32_t)count, values);
    *out = (struct buffer){(uint8_t *)values, count * sizeof *values, count * sizeof *values};
    return OMEN_OK;
}

omen_status
text_read(const char *given, struct buffer *out, struct omen_error *error)
{
    if (given[0] == '@' || strcmp(given, "-") == 0)
        return source_read_all(given[0] == '@' ? given + 1 : given, VECTOR_TEXT_BYTES_MAX, out,
                               error);
    return buffer_add(out, given, strlen(given)) == OMEN_OK
               ? OMEN_OK
               : error_set_plain(error, OMEN_E_NO_MEMORY);
}

omen_status
vector_text_read(const char *given, struct buffer *out, struct omen_error *error)
{
    struct buffer text = {0};
    omen_status status = text_read(given, &text, error);
    if (status == OMEN_OK && text.count >= 6 && memcmp(text.bytes, "\x93NUMPY", 6) == 0)
        status = vector_of_npy(&text, out, error);
    else if (status == OMEN_OK)
        status = json_to_floats((const char *)text.bytes, text.count, out, error);
    buffer_fini(&text);
    return status;
}
