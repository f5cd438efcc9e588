// wire/rpc.c -- msgpack-RPC: requests, answers and notifications around what wire/method.h describes.
//
// Shape: value.
#include "wire/rpc.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "wire/api_int.h"

#define RETRY_KEY "retry_after_ms" // of an error's details
#define STATUS_LEAST (-64)         // names of statuses are looked for down to here

struct rpc_error_map {
    int64_t code;
    struct wire_text name, message;
    struct wire_bytes details;
    uint8_t retryable, outcome;
};

static const struct field rpc_error_map_rows[] = {
    ROW(rpc_error_map, code, FIELD_I64, MUST),
    ROW(rpc_error_map, name, FIELD_TEXT, MUST, WITHIN(1, WIRE_NAME_BYTES_MAX)),
    ROW(rpc_error_map, message, FIELD_TEXT, MUST, UP_TO(MESSAGE_BYTES_MAX)),
    ROW(rpc_error_map, retryable, FIELD_BOOL, MUST),
    ROW(rpc_error_map, outcome, FIELD_WORD, ONE_OF(api_outcomes)),
    ROW(rpc_error_map, details, FIELD_ANY),
};
static const struct shape error_shape = {
    .name = "error",
    .fields = rpc_error_map_rows,
    .field_count = sizeof rpc_error_map_rows / sizeof rpc_error_map_rows[0],
    .bytes = sizeof(struct rpc_error_map),
};

static struct wire_text method_read(struct decode *decode);
static omen_status status_of_name(struct wire_text name);
static uint32_t retry_after_ms_of(struct wire_bytes details);

omen_status
rpc_read(struct wire_bytes frame, const struct decode_limits *limits, struct rpc_message *message,
         struct omen_error *error)
{
    static const uint8_t counts[] = {4, 4, 3};
    struct decode decode;
    *message = (struct rpc_message){.kind = RPC_NOTIFICATION};
    decode_init(&decode, frame, limits, error);
    const uint32_t count = decode_array(&decode);
    const uint64_t kind = decode_u64(&decode, RPC_REQUEST, RPC_NOTIFICATION);
    if (decode_ok(&decode) && count != counts[kind])
        return decode_fail(&decode, OMEN_E_INVALID,
                           "has %" PRIu32 " elements, expected %u for its kind %" PRIu64, count,
                           counts[kind], kind);
    if (kind != RPC_NOTIFICATION)
        message->id = (uint32_t)decode_u64(&decode, 0, UINT32_MAX);
    if (decode_ok(&decode))
        message->kind = (enum rpc_kind)kind;
    if (message->kind == RPC_ANSWER) {
        if (!decode_take_nil(&decode))
            message->error = decode_raw(&decode);
        message->result = decode_raw(&decode);
    } else {
        decode_enter_key(&decode, "method");
        message->method = method_read(&decode);
        decode_leave(&decode);
        message->params = decode_raw(&decode);
    }
    decode_close(&decode);
    return decode_end(&decode);
}

static struct wire_text
method_read(struct decode *decode)
{
    struct msgpack_value value;
    if (!decode_peek(decode, &value) || value.kind != MSGPACK_BINARY)
        return decode_text(decode, 1, RPC_METHOD_BYTES_MAX);
    const struct wire_bytes bytes = decode_bytes(decode, 1, RPC_METHOD_BYTES_MAX);
    return (struct wire_text){(const char *)bytes.bytes, bytes.count};
}

// As an empty map, so that what is missing is named.
static void
empty_read(struct decode *decode, const struct shape *shape, void *out)
{
    static const uint8_t map[] = {0x80};
    struct decode empty;
    decode_init(&empty, (struct wire_bytes){map, sizeof map}, &decode->limits, decode->error);
    empty.about = decode->about;
    shape_read(&empty, shape, out);
    if (decode_ok(decode))
        decode->status = empty.status;
}

// [{..}], [nil], [] or {..}: the last two as some clients send them.
static void
params_read(struct decode *decode, const struct shape *shape, void *out)
{
    struct msgpack_value value;
    const bool in_array = decode_peek(decode, &value) && value.kind == MSGPACK_ARRAY;
    const uint32_t count = in_array ? decode_array(decode) : 1;
    if (decode_ok(decode) && count > 1)
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " parameters, expected one map", count);
    if (count == 0 || decode_take_nil(decode))
        empty_read(decode, shape, out);
    else
        shape_read(decode, shape, out);
    if (in_array)
        decode_close(decode);
}

omen_status
rpc_read_ask(const struct rpc_message *message, const struct method *method,
             const struct decode_limits *limits, void *out, struct omen_error *error)
{
    struct decode decode;
    decode_init(&decode, message->params, limits, error);
    decode.about = method->name;
    params_read(&decode, method->ask, out);
    omen_status status = decode_end(&decode);
    if (status != OMEN_OK || method->check == NULL)
        return status;
    status = method->check(out, error);
    return status == OMEN_OK ? status : error_about(error, status, method->name);
}

omen_status
rpc_read_answer(const struct rpc_message *message, const struct method *method, void *out,
                struct omen_error *error)
{
    ASSERT(message->kind == RPC_ANSWER && message->error.count == 0);
    struct decode decode;
    decode_init(&decode, message->result, &decode_answers, error);
    decode.about = method->name;
    shape_read(&decode, method->answer, out);
    return decode_end(&decode);
}

// ---- errors ----

static void
error_text_read(struct decode *decode, struct rpc_error *out)
{
    const struct wire_text text = decode_text(decode, 0, UINT32_MAX);
    uint32_t end = 0;
    while (end + 1 < text.count && (text.bytes[end] != ':' || text.bytes[end + 1] != ' '))
        end++;
    if (end + 1 < text.count) {
        out->name = (struct wire_text){text.bytes, end};
        out->message = (struct wire_text){text.bytes + end + 2, text.count - end - 2};
    } else {
        out->message = text;
    }
    out->status = status_of_name(out->name);
    const enum status_act act = status_act(out->status);
    out->retryable = act == ACT_RETRY || act == ACT_REROUTE;
}

omen_status
rpc_read_error(const struct rpc_message *message, struct rpc_error *out, struct omen_error *error)
{
    ASSERT(message->kind == RPC_ANSWER && message->error.count > 0);
    struct decode decode;
    struct msgpack_value value;
    *out = (struct rpc_error){.status = OMEN_E_INTERNAL};
    decode_init(&decode, message->error, &decode_answers, error);
    decode.about = "error";
    if (decode_peek(&decode, &value) && value.kind == MSGPACK_STRING) {
        error_text_read(&decode, out);
        return decode_end(&decode);
    }
    struct rpc_error_map map;
    shape_read(&decode, &error_shape, &map);
    if (decode_end(&decode) != OMEN_OK)
        return decode.status;
    *out = (struct rpc_error){.status = status_of_name(map.name),
                              .name = map.name,
                              .message = map.message,
                              .retryable = map.retryable,
                              .outcome = map.outcome,
                              .retry_after_ms = retry_after_ms_of(map.details),
                              .details = map.details};
    return OMEN_OK;
}

// Numbers and names are both frozen; the name is what every form of an error has.
static omen_status
status_of_name(struct wire_text name)
{
    for (omen_status status = -1; status > STATUS_LEAST; status--) {
        const char *known = status_name(status);
        if (strlen(known) == name.count && memcmp(known, name.bytes, name.count) == 0)
            return status;
    }
    return OMEN_E_INTERNAL;
}

struct rpc_error
rpc_error_of(const struct omen_error *error, enum api_outcome outcome)
{
    ASSERT(error->status != OMEN_OK);
    const enum status_act act = status_act(error->status);
    return (struct rpc_error){
        .status = error->status,
        .name = wire_text_of(status_name(error->status)),
        .message = wire_text_of(error->text),
        .retryable = act == ACT_RETRY || act == ACT_REROUTE,
        .outcome = (uint8_t)outcome,
    };
}

// What a later version says besides is passed over.
static uint32_t
retry_after_ms_of(struct wire_bytes details)
{
    struct decode decode;
    struct msgpack_value value;
    uint32_t ms = 0;
    decode_init(&decode, details, &decode_answers, NULL);
    if (details.count == 0 || !decode_peek(&decode, &value) || value.kind != MSGPACK_MAP)
        return 0;
    for (uint32_t left = decode_map(&decode); left > 0 && decode_ok(&decode); left--) {
        if (!decode_peek(&decode, &value) || value.kind != MSGPACK_STRING) {
            decode_raw(&decode);
            decode_raw(&decode);
        } else if (wire_text_same(decode_text(&decode, 0, UINT32_MAX), wire_text_of(RETRY_KEY))) {
            ms = (uint32_t)decode_u64(&decode, 0, UINT32_MAX);
        } else {
            decode_raw(&decode);
        }
    }
    return decode_ok(&decode) ? ms : 0;
}

// ---- writing ----

static void
head_write(struct encode *encode, enum rpc_kind kind, uint32_t id)
{
    encode_array(encode, 4);
    encode_u64(encode, kind);
    encode_u64(encode, id);
}

void
rpc_write_ask(struct encode *encode, uint32_t id, const struct method *method, const void *ask)
{
    head_write(encode, RPC_REQUEST, id);
    encode_word(encode, method->name);
    encode_array(encode, 1);
    shape_write(encode, method->ask, ask);
}

void
rpc_write_answer(struct encode *encode, uint32_t id, const struct method *method,
                 const void *answer)
{
    head_write(encode, RPC_ANSWER, id);
    encode_nil(encode);
    shape_write(encode, method->answer, answer);
}

// Without memory they are left out: the sentence says the same.
static void
details_init(struct encode *details, const struct rpc_error *error)
{
    encode_init(details, 64);
    if (error->retry_after_ms == 0)
        return;
    encode_map(details, 1);
    encode_word(details, RETRY_KEY);
    encode_u64(details, error->retry_after_ms);
    if (details->status != OMEN_OK)
        encode_rewind(details, 0);
}

void
rpc_write_error(struct encode *encode, uint32_t id, enum api_errors form,
                const struct rpc_error *error)
{
    head_write(encode, RPC_ANSWER, id);
    if (form == API_ERRORS_MAP) {
        struct encode details;
        details_init(&details, error);
        const struct rpc_error_map map = {.code = error->status,
                                          .name = error->name,
                                          .message = error->message,
                                          .details = {details.bytes, (uint32_t)details.count},
                                          .retryable = error->retryable,
                                          .outcome = error->outcome};
        shape_write(encode, &error_shape, &map);
        encode_fini(&details);
    } else {
        char line[WIRE_NAME_BYTES_MAX + 2 + MESSAGE_BYTES_MAX];
        struct text text;
        text_init(&text, line, sizeof line);
        text_add_bytes(&text, error->name.bytes, error->name.count);
        text_add(&text, ": ");
        text_add_bytes(&text, error->message.bytes, error->message.count);
        encode_word(encode, line);
    }
    encode_nil(encode);
}
