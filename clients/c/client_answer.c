// clients/c/client_answer.c -- what a node says: its welcome, and answers to what was sent.
//
// Shape: handle (a part of client.h's, of its thread).
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "clients/c/client_int.h"

#define VERSION "0.1.0"

static void
error_said(struct flight *flight, const struct rpc_message *message)
{
    struct rpc_error said;
    struct omen_error bad;
    struct client_error *error = &flight->error;
    if (rpc_read_error(message, &said, &bad) != OMEN_OK) {
        flight->status = client_fail(error, OMEN_E_INTERNAL, API_UNKNOWN,
                                     "the server's error cannot be read: %s", bad.text);
        return;
    }
    *error = (struct client_error){.status = said.status,
                                   .outcome = said.outcome,
                                   .retryable = said.retryable,
                                   .retry_after_ms = said.retry_after_ms};
    snprintf(error->name, sizeof error->name, "%.*s", (int)said.name.count,
             said.name.count > 0 ? said.name.bytes : "");
    snprintf(error->text, sizeof error->text, "%.*s", (int)said.message.count,
             said.message.count > 0 ? said.message.bytes : "");
    flight->status = said.status;
}

// The answer is copied out of the line's buffer, and read again where it lies. The status that it says.
static omen_status
answer_flight(struct flight *flight, struct wire_bytes frame)
{
    struct omen_error bad;
    uint8_t *copy = mem_alloc(frame.count);
    if (copy == NULL) {
        client_land_failed(flight, OMEN_E_NO_MEMORY, "no memory for the answer");
        return OMEN_E_NO_MEMORY;
    }
    memcpy(copy, frame.bytes, frame.count);
    struct rpc_message *message = &flight->reply.message;
    flight->reply.frame = copy;
    if (rpc_read((struct wire_bytes){copy, frame.count}, &decode_answers, message, &bad) !=
        OMEN_OK) {
        client_reply_fini(&flight->reply);
        client_land_failed(flight, OMEN_E_INTERNAL, bad.text);
        return OMEN_E_INTERNAL;
    }
    if (message->error.count > 0) {
        error_said(flight, message);
        client_reply_fini(&flight->reply);
    }
    const omen_status status = flight->status;
    client_land(flight);
    return status;
}

static void
take_answer(struct client *client, const struct rpc_message *message, struct wire_bytes frame)
{
    for (struct flight **at = &client->sent; *at != NULL; at = &(*at)->next) {
        struct flight *flight = *at;
        if (flight->id != message->id)
            continue;
        *at = flight->next;
        client->sent_count--;
        if (answer_flight(flight, frame) == OMEN_E_STALE_MAP)
            client->leaves = client->endpoints.count > 1;
        return;
    }
    // one that was given up
}

void
client_say_hello(struct client *client)
{
    struct api_hello hello = {.client = wire_text_of(client->program),
                              .version = wire_text_of(VERSION),
                              .errors = API_ERRORS_MAP};
    if (client->api_key != NULL)
        hello.api_key = wire_text_of(client->api_key);
    rpc_write_ask(&client->line.out, HELLO_ID, method_at(METHOD_SYSTEM_HELLO), &hello);
    if (client->line.out.status != OMEN_OK)
        line_close(&client->line, "no memory to say hello");
}

// False: this node does not take us.
static bool
take_welcome(struct client *client, const struct rpc_message *message, uint64_t now_ns)
{
    struct flight hello = {.sent_ns = 0};
    union method_body body;
    struct omen_error bad;
    if (message->error.count > 0) {
        error_said(&hello, message);
        // BUSY has just started, and may know our key in a moment; another node knows it now.
        const bool busy = hello.status == OMEN_E_BUSY && client->endpoints.count == 1;
        if (hello.status == OMEN_E_AUTH || hello.status == OMEN_E_INVALID || busy)
            client_fail_all(&client->ready, now_ns, hello.status, hello.error.text);
        line_close(&client->line, hello.error.text);
        return false;
    }
    if (rpc_read_answer(message, method_at(METHOD_SYSTEM_HELLO), &body, &bad) != OMEN_OK) {
        line_close(&client->line, bad.text);
        return false;
    }
    const struct api_welcome *welcome = (const void *)&body;
    client->frame_bytes_max = welcome->limits.frame_bytes;
    client->sent_max = welcome->limits.inflight > 0 ? welcome->limits.inflight : IN_FLIGHT_DEFAULT;
    if (welcome->time_ms != 0)
        atomic_store_explicit(&client->ahead_ms, welcome->time_ms - now_ns / NS_PER_MS,
                              memory_order_relaxed);
    atomic_store_explicit(&client->met, true, memory_order_release); // of client_has_met
    client->greeted = true;
    client->round_left = 0;
    return true;
}

void
client_take_messages(struct client *client, uint64_t now_ns)
{
    struct wire_bytes frame;
    while (line_take(&client->line, &frame)) {
        struct rpc_message message;
        client->heard_ns = now_ns;
        if (rpc_read(frame, &decode_answers, &message, NULL) != OMEN_OK) {
            line_close(&client->line, "what came is no answer of msgpack-RPC");
            return;
        }
        if (message.kind != RPC_ANSWER)
            continue; // notifications of a later version
        if (client->greeted)
            take_answer(client, &message, frame);
        else if (message.id != HELLO_ID || !take_welcome(client, &message, now_ns))
            return;
    }
}
