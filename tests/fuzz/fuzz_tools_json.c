// tests/fuzz/fuzz_tools_json.c -- any bytes as JSON: refused with a sentence, or one whole object of msgpack.
#include <stdint.h>

#include "base/assert.h"
#include "base/msgpack.h"
#include "tools/omenctl/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct buffer out = {0};
    struct omen_error error = {0};
    if (json_to_msgpack((const char *)bytes, count, &out, &error) != OMEN_OK) {
        ASSERT(error.text[0] != '\0' && out.count == 0);
    } else {
        struct msgpack_reader reader = {out.bytes, out.bytes + out.count};
        ASSERT(msgpack_skip(&reader) && reader.at == reader.end);
        ASSERT(out.count <= count + 8 * count);
    }
    out.count = 0;
    if (json_to_floats((const char *)bytes, count, &out, &error) == OMEN_OK)
        ASSERT(out.count % sizeof(float) == 0 && out.count <= 4 * count);
    buffer_fini(&out);
    return 0;
}
