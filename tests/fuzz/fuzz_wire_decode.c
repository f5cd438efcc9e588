// tests/fuzz/fuzz_wire_decode.c -- any bytes, pulled apart as any program would: nothing is read past the end, the first failure
// stays, and what is passed over whole was there.
//
// The first byte is how many bytes of program follow; each of them is one call.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wire/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
numbers(struct decode *decode)
{
    static float out[4096];
    uint32_t count;
    const struct wire_bytes raw = decode_numbers(decode, 0, 4096, &count);
    if (raw.bytes != NULL)
        decode_numbers_read(raw, out, count);
    ASSERT(count <= raw.count);
}

static void
call(struct decode *decode, uint8_t which)
{
    switch (which % 12) {
    case 0:
        decode_array(decode);
        break;
    case 1:
        decode_map(decode);
        break;
    case 2:
        decode_bool(decode);
        break;
    case 3:
        decode_u64(decode, which, UINT64_MAX - which);
        break;
    case 4:
        decode_i64(decode);
        break;
    case 5:
        decode_real(decode);
        break;
    case 6:
        ASSERT(decode_text(decode, 0, which).count <= which);
        break;
    case 7:
        ASSERT(decode_bytes(decode, 0, which).count <= which);
        break;
    case 8:
        decode_raw(decode);
        break;
    case 9:
        numbers(decode);
        break;
    case 10:
        decode_take_nil(decode);
        break;
    default:
        if (decode->depth > 0)
            decode_close(decode);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const struct decode_limits limits = {
        .bytes_max = 1 << 16, .depth_max = 6, .nodes_max = 100};
    if (count == 0 || count < 1 + (size_t)bytes[0])
        return 0;
    const size_t calls = bytes[0];
    struct omen_error error = {0};
    struct decode decode;
    decode_init(&decode, (struct wire_bytes){bytes + 1 + calls, (uint32_t)(count - 1 - calls)},
                &limits, &error);
    for (size_t i = 0; i < calls; i++) {
        const bool failed = !decode_ok(&decode);
        call(&decode, bytes[1 + i]);
        ASSERT(!failed || !decode_ok(&decode));
        ASSERT(decode.reader.at <= decode.reader.end && decode.nodes <= limits.nodes_max + 1);
    }
    if (decode_end(&decode) == OMEN_OK)
        ASSERT(decode.reader.at == decode.reader.end);
    else
        ASSERT(error.status == decode.status && error.text[0] != '\0');
    return 0;
}
