// tests/fuzz/fuzz_wire_rpc.c -- any bytes as a message of a client, or of a server to a client: refused with a sentence, or a struct that is
// written and read again as it was, whatever its lists hold.
//
// The first byte is the method of whose answer it is, where it is one.
#include <stdint.h>
#include <stdlib.h>

#include "tests/lib/wire_random.h"
#include "wire/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
write_and_read(const struct shape *shape, const void *body)
{
    struct encode encode;
    union method_body again;
    struct omen_error error;
    encode_init(&encode, 1 << 26);
    shape_write(&encode, shape, body);
    ASSERT(encode.status == OMEN_OK);
    struct decode decode;
    decode_init(&decode, (struct wire_bytes){encode.bytes, (uint32_t)encode.count}, &decode_answers,
                &error);
    shape_read(&decode, shape, &again);
    ASSERT(decode_end(&decode) == OMEN_OK);
    ASSERT(same_struct(shape, body, &again));
    encode_fini(&encode);
}

static void
ask(const struct rpc_message *message)
{
    struct omen_error error = {0};
    union method_body body;
    const struct method *method = method_find(message->method);
    if (method == NULL)
        return;
    if (rpc_read_ask(message, method, &decode_after_hello, &body, &error) == OMEN_OK)
        write_and_read(method->ask, &body);
    else
        ASSERT(error.status != OMEN_OK && error.text[0] != '\0');
}

static void
answer(const struct rpc_message *message, const struct method *method)
{
    struct omen_error error = {0};
    union method_body body;
    struct rpc_error said;
    if (message->error.count > 0) {
        if (rpc_read_error(message, &said, &error) == OMEN_OK)
            ASSERT(said.status < 0);
    } else if (rpc_read_answer(message, method, &body, &error) == OMEN_OK) {
        write_and_read(method->answer, &body);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct omen_error error = {0};
    struct rpc_message message;
    if (count == 0)
        return 0;
    const struct wire_bytes frame = {bytes + 1, (uint32_t)(count - 1)};
    if (rpc_read(frame, &decode_after_hello, &message, &error) != OMEN_OK) {
        ASSERT(error.status == OMEN_E_INVALID && error.text[0] != '\0');
        return 0;
    }
    if (message.kind == RPC_ANSWER)
        answer(&message, method_at((enum method_number)(bytes[0] % METHODS_END)));
    else
        ask(&message);
    return 0;
}
