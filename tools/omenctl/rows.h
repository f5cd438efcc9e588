// tools/omenctl/rows.h -- vectors in the files that others write: npy, fvecs, bvecs, fbin, u8bin, i8bin; and the names of all formats.
//
// Shape: value. Knows bytes and their places, no files: source.c reads. Nothing of a foreign file is believed.
//
//   npy          a head, then the rows dense                       f32 f16 u8 i8 (u16 and others: no)
//   fvecs bvecs  before each row its dimension as an i32           f32, u8
//   fbin u8bin i8bin   u32 rows, u32 dimension, the rows dense     f32, u8, i8
#ifndef OMEN_TOOLS_OMENCTL_ROWS_H
#define OMEN_TOOLS_OMENCTL_ROWS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/metric.h"

enum rows_format {
    ROWS_NPY,
    ROWS_FVECS,
    ROWS_BVECS,
    ROWS_FBIN,
    ROWS_U8BIN,
    ROWS_I8BIN,
    ROWS_NDJSON, // these two are records.h's: their rows are points as a whole
    ROWS_CSV,
    ROWS_FORMATS
};
extern const char *const rows_format_names[ROWS_FORMATS]; // "npy", "fvecs", ...

struct rows {
    enum rows_format format;
    enum vector_type type;
    uint32_t dimension;
    uint64_t count;
    uint64_t first_byte; // where row 0 begins, with what stands before it
    uint32_t head_bytes; // before each row
    uint64_t row_bytes;  // from row to row
};

static inline bool
rows_are_records(enum rows_format format)
{
    return format == ROWS_NDJSON || format == ROWS_CSV;
}

// By the name's ending (jsonl is ndjson); false when it is none of these.
bool rows_format_of(const char *path, enum rows_format *out);

struct rows_file {
    const uint8_t *head; // the file's first NPY_HEAD_BYTES_MAX bytes, or all there are
    size_t head_bytes;
    uint64_t file_bytes;
};
// OMEN_E_INVALID when the file is not what its format says, to the byte; OMEN_E_UNSUPPORTED for types that an index does
// not hold; OMEN_E_DIMENSION outside of 1..VECTOR_DIM_MAX. Not of records.
OMEN_MUST_CHECK omen_status rows_parse(enum rows_format format, const struct rows_file *file,
                                       struct rows *out, struct omen_error *error);

// `raw` holds `count` rows as they lie in the file, from row `first` on; writes them dense to `out`, which may be `raw`.
// OMEN_E_INVALID names the first row that says it has another dimension.
OMEN_MUST_CHECK omen_status rows_unpack(const struct rows *rows, uint64_t first, uint64_t count,
                                        const uint8_t *raw, uint8_t *out, struct omen_error *error);

#endif
