// tests/fuzz/fuzz_tools_rows.c -- any bytes as a file of vectors: refused with a sentence, or rows within the file.
//
// The first byte chooses the format.
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "tools/omenctl/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count == 0)
        return 0;
    const enum rows_format format = (enum rows_format)(bytes[0] % ROWS_NDJSON);
    const struct rows_file file = {
        .head = bytes + 1, .head_bytes = count - 1, .file_bytes = count - 1};
    struct omen_error error = {0};
    struct rows rows;
    if (rows_parse(format, &file, &rows, &error) != OMEN_OK) {
        ASSERT(error.text[0] != '\0');
        return 0;
    }
    ASSERT(rows.dimension >= 1 && rows.dimension <= VECTOR_DIM_MAX);
    ASSERT(rows.first_byte + rows.count * rows.row_bytes == file.file_bytes);
    uint8_t *out = malloc(file.file_bytes + 1);
    if (out == NULL)
        abort();
    if (rows_unpack(&rows, 0, rows.count, file.head + rows.first_byte, out, &error) != OMEN_OK)
        ASSERT(error.text[0] != '\0');
    free(out);
    return 0;
}
