// tests/fuzz/fuzz_op.c -- any bytes as an operation of the log: refused with a sentence, or the same bytes again.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "shard/op.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    uint64_t *aligned = malloc(count + 8);
    ASSERT(aligned != NULL);
    memcpy(aligned, bytes, count);
    struct omen_error error = {0};
    struct op_field field;
    if (op_decode_field(aligned, count, &field, &error) != OMEN_OK)
        ASSERT(error.text[0] != '\0');
    if (op_decode_field_drop(aligned, count, &field, &error) == OMEN_OK) {
        struct op_parts parts;
        ASSERT(op_encode_field(&field, &parts) == OMEN_OK);
        ASSERT(parts.bytes == count && memcmp(parts.memory, aligned, count) == 0);
        op_parts_fini(&parts);
    }
    struct op_rows rows;
    void *memory;
    if (op_decode(aligned, count, &rows, &memory, &error) != OMEN_OK) {
        ASSERT(memory == NULL && error.text[0] != '\0');
    } else {
        struct op_parts parts;
        ASSERT(op_encode(&rows, &parts) == OMEN_OK);
        ASSERT(parts.bytes == count);
        op_parts_fini(&parts);
        mem_free(memory);
    }
    free(aligned);
    return 0;
}
