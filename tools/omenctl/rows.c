// tools/omenctl/rows.c -- vectors in the files that others write.
//
// Shape: value.
#include "tools/omenctl/rows.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/limits.h"
#include "tools/omenctl/npy.h"

const char *const rows_format_names[ROWS_FORMATS] = {"npy",   "fvecs", "bvecs",  "fbin",
                                                     "u8bin", "i8bin", "ndjson", "csv"};

static uint32_t
load_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

bool
rows_format_of(const char *path, enum rows_format *out)
{
    const char *dot = strrchr(path, '.');
    if (dot != NULL && strcasecmp(dot, ".jsonl") == 0) {
        *out = ROWS_NDJSON;
        return true;
    }
    for (int i = 0; dot != NULL && i < ROWS_FORMATS; i++) {
        if (strcasecmp(dot + 1, rows_format_names[i]) == 0) {
            *out = (enum rows_format)i;
            return true;
        }
    }
    return false;
}

static omen_status
check_dimension(uint64_t dimension, const char *name, struct omen_error *error)
{
    if (dimension >= 1 && dimension <= VECTOR_DIM_MAX)
        return OMEN_OK;
    return error_set(error, OMEN_E_DIMENSION,
                     "%s: rows of %" PRIu64 " components; an index takes 1 to %u", name, dimension,
                     VECTOR_DIM_MAX);
}

static omen_status
parse_npy(const struct rows_file *file, struct rows *out, struct omen_error *error)
{
    struct npy npy;
    const omen_status status =
        npy_parse(file->head, file->head_bytes, file->file_bytes, &npy, error);
    if (status != OMEN_OK)
        return status;
    if (npy.dimensions != 2)
        return error_set(error, OMEN_E_DIMENSION, "npy: one dimension; rows of vectors have two");
    if (npy.kind == 'f' && npy.item_bytes == 4)
        out->type = VECTOR_F32;
    else if (npy.kind == 'f' && npy.item_bytes == 2)
        out->type = VECTOR_F16;
    else if (npy.item_bytes == 1)
        out->type = npy.kind == 'u' ? VECTOR_U8 : VECTOR_I8;
    else
        return error_set(
            error, OMEN_E_UNSUPPORTED,
            "npy: components of type %c%u; an index holds f4, f2, u1 and i1, so save it "
            "with .astype('f4')",
            npy.kind, npy.item_bytes);
    if (check_dimension(npy.shape[1], "npy", error) != OMEN_OK)
        return OMEN_E_DIMENSION;
    out->dimension = (uint32_t)npy.shape[1];
    out->count = npy.shape[0];
    out->first_byte = npy.first_byte;
    out->row_bytes = (uint64_t)out->dimension * npy.item_bytes;
    return OMEN_OK;
}

static omen_status
parse_vecs(const struct rows_file *file, struct rows *out, struct omen_error *error)
{
    const char *name = rows_format_names[out->format];
    if (file->head_bytes < 4)
        return error_set(error, OMEN_E_INVALID, "%s: the file has %" PRIu64 " bytes and no row",
                         name, file->file_bytes);
    const uint32_t dimension = load_u32(file->head);
    if (check_dimension(dimension, name, error) != OMEN_OK)
        return OMEN_E_DIMENSION;
    out->dimension = dimension;
    out->head_bytes = 4;
    out->row_bytes = 4 + (uint64_t)dimension * vector_type_bytes(out->type);
    out->count = file->file_bytes / out->row_bytes;
    if (file->file_bytes % out->row_bytes != 0)
        return error_set(error, OMEN_E_INVALID,
                         "%s: %" PRIu64 " bytes are not whole rows of %" PRIu64
                         " bytes (%u components): the last is cut",
                         name, file->file_bytes, out->row_bytes, dimension);
    return OMEN_OK;
}

static omen_status
parse_bin(const struct rows_file *file, struct rows *out, struct omen_error *error)
{
    const char *name = rows_format_names[out->format];
    if (file->head_bytes < 8)
        return error_set(error, OMEN_E_INVALID,
                         "%s: the file has %" PRIu64 " bytes, its head alone 8", name,
                         file->file_bytes);
    out->count = load_u32(file->head);
    out->dimension = load_u32(file->head + 4);
    if (check_dimension(out->dimension, name, error) != OMEN_OK)
        return OMEN_E_DIMENSION;
    out->first_byte = 8;
    out->row_bytes = (uint64_t)out->dimension * vector_type_bytes(out->type);
    if (file->file_bytes - 8 != out->count * out->row_bytes)
        return error_set(error, OMEN_E_INVALID,
                         "%s: the head announces %" PRIu64 " rows of %" PRIu64
                         " bytes, the file has %" PRIu64 " bytes for them",
                         name, out->count, out->row_bytes, file->file_bytes - 8);
    return OMEN_OK;
}

omen_status
rows_parse(enum rows_format format, const struct rows_file *file, struct rows *out,
           struct omen_error *error)
{
    *out = (struct rows){.format = format};
    ASSERT(!rows_are_records(format));
    switch (format) {
    case ROWS_NPY:
        return parse_npy(file, out, error);
    case ROWS_FVECS:
        out->type = VECTOR_F32;
        return parse_vecs(file, out, error);
    case ROWS_BVECS:
        out->type = VECTOR_U8;
        return parse_vecs(file, out, error);
    case ROWS_FBIN:
        out->type = VECTOR_F32;
        return parse_bin(file, out, error);
    case ROWS_U8BIN:
        out->type = VECTOR_U8;
        return parse_bin(file, out, error);
    default:
        out->type = VECTOR_I8;
        return parse_bin(file, out, error);
    }
}

omen_status
rows_unpack(const struct rows *rows, uint64_t first, uint64_t count, const uint8_t *raw,
            uint8_t *out, struct omen_error *error)
{
    const size_t dense = (size_t)rows->row_bytes - rows->head_bytes;
    if (rows->head_bytes == 0) {
        if (raw != out)
            memcpy(out, raw, (size_t)count * dense);
        return OMEN_OK;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *row = raw + (size_t)i * (size_t)rows->row_bytes;
        const uint32_t dimension = load_u32(row);
        if (dimension != rows->dimension)
            return error_set(
                error, OMEN_E_INVALID, "%s: row %" PRIu64 " has %u components, row 0 has %u",
                rows_format_names[rows->format], first + i, dimension, rows->dimension);
        memmove(out + (size_t)i * dense, row + rows->head_bytes, dense);
    }
    return OMEN_OK;
}
