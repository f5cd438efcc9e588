// node/clients_call.c -- a request about the map while it is under way, and how it is answered: to a client, or to the node that sent it on.
//
// Shape: shell.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "node/clients_int.h"

struct clients_call *
clients_call_new(struct clients *clients, const struct method *method, void *owned)
{
    if (clients->call_count == CLIENTS_CALLS_MAX)
        return NULL;
    struct clients_call *call = mem_alloc_zero(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->method = method;
    call->owned = owned;
    call->errors = API_ERRORS_TEXT;
    encode_init(&call->held, WIRE_FRAME_BYTES_MAX);
    call->next = clients->calls;
    call->link = &clients->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    clients->calls = call;
    clients->call_count++;
    return call;
}

void
clients_call_free(struct clients *clients, struct clients_call *call)
{
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    clients->call_count--;
    encode_fini(&call->held);
    gather_close(call->gather);
    mem_free(call->owned);
    mem_free(call);
}

// It was answered.
void
clients_call_end(struct clients *clients, struct clients_call *call)
{
    ASSERT(!call->answered);
    if (call->conn != NULL)
        rpc_conn_release(call->conn);
    call->conn = NULL;
    call->answered = true;
    if (!call->proposed)
        clients_call_free(clients, call);
}

void
clients_admin_close(struct clients *clients)
{
    while (clients->calls != NULL) {
        struct clients_call *call = clients->calls;
        if (call->conn != NULL)
            rpc_conn_release(call->conn);
        clients_call_free(clients, call);
    }
}

// ---- answers ----

void
clients_head(const struct clients_call *call, struct encode *message)
{
    encode_init(message, WIRE_FRAME_BYTES_MAX);
    if (call->conn == NULL)
        return;
    encode_array(message, 4); // as wire/rpc.h has it
    encode_u64(message, 1);
    encode_u64(message, call->id);
    encode_nil(message);
}

static void
reply(struct clients *clients, const struct clients_call *call, const struct wire_reply *said)
{
    struct wire_reply whole = *said;
    whole.method = call->method->number;
    whole.part = call->part.part;
    whole.attempt = call->part.attempt;
    whole.request = call->part.request;
    whole.map_version = clients->map->version;
    encode_reset(&clients->encode);
    wire_reply_write(&clients->encode, &whole);
    clients_send(clients, call->from, PEER_REPLY, call->correlation, 0);
}

// Of a client's own.
static void
count(struct clients *clients, const struct clients_call *call, omen_status status)
{
    const struct front_done done = {.method = call->method,
                                    .ask = &call->ask,
                                    .status = status,
                                    .received_ns = call->received_ns,
                                    .begun_ns = call->received_ns,
                                    .heard_ns = call->received_ns};
    if (call->conn != NULL)
        clients_count(clients, &done);
}

void
clients_finish(struct clients *clients, struct clients_call *call, struct encode *message)
{
    if (call->untaken)
        clients_untaken_ended(clients, call, message->status);
    else if (call->conn != NULL)
        rpc_conn_answer(call->conn, call->id, message);
    else if (message->status == OMEN_OK)
        reply(clients, call,
              &(struct wire_reply){.answer = message->bytes,
                                   .answer_bytes = (uint32_t)message->count});
    else
        reply(clients, call, &(struct wire_reply){.failure = (uint32_t)-message->status});
    count(clients, call, message->status);
    encode_fini(message);
    clients_call_end(clients, call);
}

void
clients_refuse(struct clients *clients, struct clients_call *call, const struct omen_error *error,
               enum api_outcome outcome)
{
    if (call->untaken) {
        clients_untaken_ended(clients, call, error->status);
    } else if (call->conn == NULL) {
        const struct wire_reply refused = {
            .failure = (uint32_t)-error->status,
            .reason = (const uint8_t *)error->text,
            .reason_bytes = (uint32_t)strnlen(error->text, WIRE_REASON_BYTES_MAX)};
        reply(clients, call, &refused);
    } else {
        struct encode message;
        const struct rpc_error said = rpc_error_of(error, outcome);
        encode_init(&message, WIRE_FRAME_BYTES_MAX);
        rpc_write_error(&message, call->id, call->errors, &said);
        rpc_conn_answer(call->conn, call->id, &message);
        encode_fini(&message);
    }
    count(clients, call, error->status);
    clients_call_end(clients, call);
}

void
clients_refuse_as(struct clients *clients, struct clients_call *call, omen_status status,
                  const char *why, enum api_outcome outcome)
{
    struct omen_error error;
    (void)error_set(&error, status, "%s: %s", call->method->name, why);
    clients_refuse(clients, call, &error, outcome);
}
