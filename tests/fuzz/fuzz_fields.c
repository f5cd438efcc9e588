// tests/fuzz/fuzz_fields.c -- any bytes as stored field indexes: refused, or safe to ask, to change and to store again.
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "shard/fields.h"
#include "shard/filter_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

struct input {
    const uint8_t *bytes;
    size_t count;
};

static const void *
get_piece(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    const struct input *input = context;
    const size_t at = (size_t)piece * IMAGE_PIECE_BYTES;
    ASSERT(array == IMAGE_FIELDS);
    if (at >= input->count)
        return NULL;
    *count = input->count - at < IMAGE_PIECE_BYTES ? input->count - at : IMAGE_PIECE_BYTES;
    return input->bytes + at;
}

static omen_status
check_put(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    uint64_t *sum = context;
    (void)bytes;
    ASSERT(array == IMAGE_FIELDS && piece == *sum / IMAGE_PIECE_BYTES);
    *sum += count;
    return OMEN_OK;
}

static void
ask(struct fields *fields)
{
    static const char text[] = "a > 1 or a = '2024-05-01' or not (b prefix 'x') or b in ['x', 2]";
    struct filter *filter;
    struct filter_buffer buffer;
    struct filter_selection selection;
    if (filter_parse_text(text, sizeof text - 1, &filter, NULL) != OMEN_OK)
        abort();
    filter_buffer_init(&buffer);
    const omen_status status = filter_select(
        filter, &(const struct filter_rows){fields, NULL, 100, 0}, &buffer, &selection);
    ASSERT(status == OMEN_OK || status == OMEN_E_CORRUPT);
    filter_buffer_fini(&buffer);
    filter_close(filter);
}

// A row that may be there already, as far as the fields know.
static void
change(struct fields *fields)
{
    static const uint8_t payload[] = {0x82, 0xa1, 'a', 0x01, 0xa1, 'b', 0x92, 0xa1, 'x', 0xa1, 'y'};
    const void *const payloads[1] = {payload};
    const size_t bytes[1] = {sizeof payload};
    const struct field_rows rows = {
        .count = 1, .first_slot = 3, .payloads = payloads, .bytes = bytes};
    if (fields_check(fields, payload, sizeof payload, 0, NULL) != OMEN_OK)
        return;
    fields_remove(fields, 3, payload, sizeof payload);
    if (fields_reserve(fields, &rows) != OMEN_OK)
        return;
    fields_put(fields, &rows);
    fields_remove(fields, 3, payload, sizeof payload);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct input input = {bytes, count};
    const struct image_source source = {.get = get_piece, .context = &input};
    struct fields *fields;
    const omen_status status = fields_load(&source, &fields);
    if (status != OMEN_OK) {
        ASSERT(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION || status == OMEN_E_NO_MEMORY);
        return 0;
    }
    ask(fields);
    change(fields);
    uint64_t sum = 0;
    const struct image_sink sink = {check_put, NULL, &sum};
    const omen_status saved = fields_save(fields, 100, &sink);
    ASSERT(saved == OMEN_OK ? sum > 0 : saved == OMEN_E_CORRUPT);
    fields_close(fields);
    return 0;
}
