// tests/fuzz/fuzz_payload.c -- any bytes as a payload: refused with a sentence, or safe to search
// and to index.
//
// The first byte chooses a field, whose index then takes the payload in and gives it back.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/field_path.h"
#include "base/filter.h"
#include "shard/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static bool
count_visit(void *context, const struct msgpack_value *value)
{
    ASSERT(value->kind != MSGPACK_ARRAY);
    ++*(uint32_t *)context;
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char *const names[] = {"a", "b", "a.b", "a.b.c", "aa", "a.a.a.a.a.a"};
    if (count == 0)
        return 0;
    const char *name = names[bytes[0] % 6];
    const int type = 1 + bytes[0] / 6 % 6;
    const void *payload = bytes + 1;
    count--;
    struct omen_error error = {0};
    if (msgpack_check_map(payload, count, &error) != OMEN_OK) {
        ASSERT(error.status == OMEN_E_PAYLOAD && error.text[0] != '\0');
        return 0;
    }
    struct msgpack_reader reader = {payload, (const uint8_t *)payload + count};
    ASSERT(msgpack_skip(&reader) && reader.at == reader.end);
    uint32_t values = 0;
    ASSERT(!field_walk(payload, count, name, strlen(name), count_visit, &values));
    ASSERT(values <= count);

    const struct field_spec spec = {name, strlen(name), (enum field_type)type};
    const struct field_rows rows = {
        .count = 1, .first_slot = 3, .payloads = &payload, .bytes = &count};
    struct fields *fields;
    uint32_t bad;
    if (fields_open(&fields) != OMEN_OK ||
        fields_declare(fields, &spec, NULL, 0, &bad, NULL) != OMEN_OK)
        abort();
    const size_t empty = fields_bytes(fields);
    if (fields_check(fields, payload, count, 0, &error) == OMEN_OK) {
        if (fields_reserve(fields, &rows) != OMEN_OK)
            abort();
        fields_put(fields, &rows);
        fields_remove(fields, 3, payload, count);
        ASSERT(fields_bytes(fields) <= empty + 1024);
    }
    fields_close(fields);
    return 0;
}
