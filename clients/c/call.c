// clients/c/call.c -- a request as often as it takes: what may be tried again, when, and for how long.
//
// Shape: handle (a part of client.h's).
//
// What the server calls retryable is; what was on its way when the connection broke is where doing it twice does no harm. Between
// two tries lies a pause that doubles, half of it drawn, so that a thousand clients do not come back at once; behind the time that the
// server said it would refuse for, where it did.
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/opid.h"
#include "base/os_clock.h"
#include "base/os_random.h"
#include "clients/c/client.h"
#include "clients/c/session.h"

#define NS_PER_MS 1000000ull
#define PAUSE_FIRST_MS 10u
#define PAUSE_MOST_MS 1000u

bool
client_reads(const struct method *method)
{
    return method->right <= RIGHT_READ || method->number == METHOD_KEY_LIST;
}

struct wire_uuid
client_op_id(struct client *client)
{
    struct opid chance;
    os_random(&chance, sizeof chance);
    const struct opid drawn = opid_draw(client_now_ms(client), chance);
    return (struct wire_uuid){drawn.high, drawn.low};
}

omen_status
client_meet(struct client *client, const struct client_ask *how, struct client_error *error)
{
    struct client_reply nothing;
    const struct client_ask ask = {.method = wire_text_of(""),
                                   .repeatable = 1,
                                   .impatient = how->impatient,
                                   .timeout_ms = how->timeout_ms};
    return client_has_met(client) ? OMEN_OK : client_call(client, &ask, &nothing, error);
}

struct wire_uuid
client_seed(void)
{
    struct wire_uuid seed;
    os_random(&seed, sizeof seed);
    seed.low |= 1; // all zeros would be none
    return seed;
}

static bool
may_repeat(const struct client_ask *ask, const struct client_error *error)
{
    if (!error->retryable)
        return false;
    if (ask->impatient && error->status == CLIENT_E_UNREACHABLE &&
        error->outcome == API_NOT_APPLIED)
        return false;
    return ask->repeatable || error->outcome != API_UNKNOWN;
}

static uint64_t
pause_ns(uint32_t tries)
{
    uint64_t drawn;
    os_random(&drawn, sizeof drawn);
    const uint32_t doublings = tries < 8 ? tries : 8;
    const uint32_t most = PAUSE_FIRST_MS << doublings;
    const uint64_t ms = most < PAUSE_MOST_MS ? most : PAUSE_MOST_MS;
    return (ms * NS_PER_MS) / 2 + drawn % (ms * NS_PER_MS / 2);
}

// What one try has left open no later one closes by saying that it has done nothing. Only what depends on what is there is said of the
// operation, whichever of its tries came through.
static omen_status
settle(struct client_error *error, bool open)
{
    const bool of_the_operation = error->status == OMEN_E_EXISTS ||
                                  error->status == OMEN_E_NOT_FOUND ||
                                  error->status == OMEN_E_CONFLICT;
    if (open && error->outcome != API_APPLIED && !of_the_operation)
        error->outcome = API_UNKNOWN;
    return error->status;
}

omen_status
client_call(struct client *client, const struct client_ask *ask, struct client_reply *reply,
            struct client_error *error)
{
    struct client_error own;
    if (error == NULL)
        error = &own;
    const uint32_t timeout_ms = ask->timeout_ms > 0 ? ask->timeout_ms : client_timeout_ms(client);
    uint64_t at_ns = os_clock_ns();
    const uint64_t deadline_ns = at_ns + timeout_ms * NS_PER_MS;
    bool open = false; // an earlier try may have done what was asked
    for (uint32_t tries = 0;; tries++) {
        *reply = (struct client_reply){0};
        struct flight *flight = client_begin(client, ask, at_ns, deadline_ns);
        if (flight == NULL) {
            (void)client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory for a request");
            return settle(error, open);
        }
        if (client_end(flight, reply, error) == OMEN_OK)
            return OMEN_OK;
        open |= error->outcome == API_UNKNOWN;
        at_ns = os_clock_ns() + error->retry_after_ms * NS_PER_MS + pause_ns(tries);
        if (!may_repeat(ask, error) || at_ns >= deadline_ns)
            return settle(error, open);
    }
}

// ---- with structs ----

// The row of a key, or NULL: fields that some asks have and others do not.
static const struct field *
find_field(const struct shape *shape, const char *key)
{
    for (uint32_t i = 0; i < shape->field_count; i++)
        if ((shape->fields[i].flags & FIELD_ALIAS) == 0 && strcmp(shape->fields[i].key, key) == 0)
            return &shape->fields[i];
    return NULL;
}

static void
fill_in(uint8_t *ask, const struct field *field, struct wire_uuid drawn)
{
    struct wire_uuid *uuid = field != NULL ? (struct wire_uuid *)(void *)(ask + field->at) : NULL;
    if (uuid != NULL && (uuid->high | uuid->low) == 0)
        *uuid = drawn;
}

// Numbers come from our caller's caller, and shape_write asserts what it is given.
static omen_status
check_numbers(const struct method *method, const uint8_t *ask, struct client_error *error)
{
    for (uint32_t i = 0; i < method->ask->field_count; i++) {
        const struct field *field = &method->ask->fields[i];
        const uint8_t *at = ask + field->at;
        uint64_t number;
        if (field->kind == FIELD_U32)
            number = *(const uint32_t *)(const void *)at;
        else if (field->kind == FIELD_U64)
            number = *(const uint64_t *)(const void *)at;
        else
            continue;
        if ((number != 0 || (field->flags & FIELD_REQUIRED) != 0) &&
            (number < field->least || number > field->most))
            return client_fail(error,
                               field->beyond != 0 ? -(omen_status)field->beyond : OMEN_E_INVALID,
                               API_NOT_APPLIED, "%s: %s is %llu, expected %llu..%llu", method->name,
                               field->key, (unsigned long long)number,
                               (unsigned long long)field->least, (unsigned long long)field->most);
    }
    return OMEN_OK;
}

omen_status
client_read_answer(const struct client_reply *reply, const struct method *method, void *answer,
                   struct client_error *error)
{
    struct omen_error bad;
    const omen_status status = rpc_read_answer(&reply->message, method, answer, &bad);
    if (status == OMEN_OK)
        return OMEN_OK;
    return client_fail(error, OMEN_E_VERSION, API_UNKNOWN, "the answer is none of this version: %s",
                       bad.text);
}

// A node is met first, which takes of the time that there is. An op_id of the caller's own stays.
static omen_status
name_operation(struct client *client, struct wire_uuid *op_id, uint32_t *timeout_ms,
               struct client_error *error)
{
    const uint64_t begun_ns = os_clock_ns();
    const struct client_ask how = {.timeout_ms = *timeout_ms};
    if ((op_id->high | op_id->low) != 0)
        return OMEN_OK;
    const omen_status status = client_meet(client, &how, error);
    const uint64_t took_ms = (os_clock_ns() - begun_ns) / NS_PER_MS;
    *timeout_ms = took_ms < *timeout_ms ? *timeout_ms - (uint32_t)took_ms : 1;
    if (status == OMEN_OK)
        *op_id = client_op_id(client);
    return status;
}

// What a session's read leaves open. The items are the caller's.
static omen_status
ask_of_session(struct client *client, const struct method *method, uint8_t *ask,
               struct wire_list *items, struct client_error *error)
{
    const struct field *after = find_field(method->ask, "after");
    const struct field *consistency = find_field(method->ask, "consistency");
    *items = (struct wire_list){0};
    if (after == NULL || ask[consistency->at] != API_SESSION)
        return OMEN_OK;
    struct wire_list *said = (struct wire_list *)(void *)(ask + after->at);
    if (said->count > 0)
        return OMEN_OK;
    const struct wire_text *collection =
        (const void *)(ask + shape_field(method->ask, "collection")->at);
    if (session_ask(client_session(client), *collection, ask + consistency->at, items) != OMEN_OK)
        return client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory for a request");
    *said = *items;
    return OMEN_OK;
}

static void
saw_of_session(struct client *client, const struct method *method, const uint8_t *ask,
               const uint8_t *answer)
{
    const struct field *token = find_field(method->answer, "token");
    const struct field *collection = find_field(method->ask, "collection");
    if (token != NULL && collection != NULL)
        session_saw(client_session(client),
                    *(const struct wire_text *)(const void *)(ask + collection->at),
                    (const void *)(answer + token->at));
}

// What the caller left to us: how long it may take, which the request says as well, the operation's name, and a seed.
static omen_status
complete(struct client *client, const struct method *method, uint8_t *ask, uint32_t *timeout_ms,
         struct client_error *error)
{
    const struct field *deadline = find_field(method->ask, "deadline_ms");
    const struct field *op_id = find_field(method->ask, "op_id");
    *timeout_ms = client_timeout_ms(client);
    if (deadline != NULL) {
        uint32_t *ms = (uint32_t *)(void *)(ask + deadline->at);
        if (*ms > 0)
            *timeout_ms = *ms;
        *ms = *timeout_ms;
    }
    fill_in(ask, find_field(method->ask, "seed"), client_seed());
    if (op_id == NULL)
        return OMEN_OK;
    return name_operation(client, (struct wire_uuid *)(void *)(ask + op_id->at), timeout_ms, error);
}

static omen_status
call_packed(struct client *client, const struct method *method, const union method_body *ask,
            uint32_t timeout_ms, struct client_reply *reply, struct client_error *error)
{
    struct encode params;
    omen_status status;
    encode_init(&params, WIRE_FRAME_BYTES_MAX);
    shape_write(&params, method->ask, ask);
    if (params.status != OMEN_OK) {
        status = client_fail(error, params.status, API_NOT_APPLIED,
                             "%s: the request has more than %u bytes", method->name,
                             WIRE_FRAME_BYTES_MAX);
    } else {
        const struct client_ask once = {
            .method = wire_text_of(method->name),
            .params = {params.bytes, (uint32_t)params.count},
            .repeatable = client_reads(method) || find_field(method->ask, "op_id") != NULL,
            .timeout_ms = timeout_ms,
        };
        status = client_call(client, &once, reply, error);
    }
    encode_fini(&params);
    return status;
}

omen_status
client_call_method(struct client *client, enum method_number number, const void *ask,
                   struct client_reply *reply, void *answer, struct client_error *error)
{
    const struct method *method = method_at(number);
    union method_body body;
    struct wire_list seen;
    uint32_t timeout_ms;
    memcpy(&body, ask, method->ask->bytes);
    *reply = (struct client_reply){0};
    omen_status status = check_numbers(method, body.bytes, error);
    if (status == OMEN_OK)
        status = complete(client, method, body.bytes, &timeout_ms, error);
    if (status == OMEN_OK)
        status = ask_of_session(client, method, body.bytes, &seen, error);
    if (status != OMEN_OK)
        return status;
    status = call_packed(client, method, &body, timeout_ms, reply, error);
    mem_free((void *)(uintptr_t)seen.items);
    if (status != OMEN_OK)
        return status;
    status = client_read_answer(reply, method, answer, error);
    if (status == OMEN_OK)
        saw_of_session(client, method, body.bytes, answer);
    else
        client_reply_fini(reply);
    return status;
}

omen_status
client_call_in_session(struct client *client, const struct client_ask *ask,
                       struct client_reply *reply, struct client_error *error)
{
    const struct method *method = method_find(ask->method);
    const struct rpc_message message = {.params = ask->params};
    union method_body body, answer;
    struct omen_error bad;
    if (method == NULL ||
        rpc_read_ask(&message, method, &decode_after_hello, &body, &bad) != OMEN_OK)
        return client_call(client, ask, reply, error); // the server says what is wrong with it
    const struct field *consistency = find_field(method->ask, "consistency");
    const struct field *deadline = find_field(method->ask, "deadline_ms");
    if (consistency != NULL && body.bytes[consistency->at] == 0)
        body.bytes[consistency->at] = API_SESSION;
    if (deadline != NULL && ask->timeout_ms > 0)
        *(uint32_t *)(void *)(body.bytes + deadline->at) = ask->timeout_ms;
    return client_call_method(client, method->number, &body, reply, &answer, error);
}
