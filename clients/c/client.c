// clients/c/client.c -- the thread that owns the socket, and the requests that are on their way.
//
// Shape: handle.
//
//   client_begin --queue--> ready --line is open--> sent --answer--> done
//                             |                      |
//                             +--nobody is reached---+--line is lost, deadline--> done, with an error
//
// Callers touch only the queue, under the lock. Everything else belongs to the thread, which waits in poll for the socket, for the
// next deadline, and for a byte in the pipe that says that something is in the queue.
#include "clients/c/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_lock.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "clients/c/line.h"

#define NS_PER_MS 1000000ull
#define GREET_NS (3000 * NS_PER_MS) // for connecting and hello together, at one endpoint
#define GRACE_NS (250 * NS_PER_MS)  // the server's own word about a deadline may come so late
#define IN_FLIGHT_DEFAULT 64u
#define OUT_BYTES_HIGH ((size_t)1 << 20) // no more is put behind this much that is not sent
#define HELLO_ID 0u
#define VERSION "0.1.0"

struct flight {
    struct flight *next;
    struct client *client;
    _Atomic uint32_t done;
    struct encode params;
    char method[RPC_METHOD_BYTES_MAX];
    uint32_t method_bytes;
    uint32_t id;
    uint64_t not_before_ns, deadline_ns, sent_ns;
    omen_status status;
    struct client_error error;
    struct client_reply reply;
};

struct client {
    struct endpoints endpoints;
    char *api_key; // NULL: none
    char *program;
    uint32_t timeout_ms;
    pthread_t thread;
    int wake[2];
    struct lock lock;
    struct flight *queue; // under the lock, newest first
    bool closes;          // under the lock

    // of the thread
    struct line line;
    uint32_t endpoint;   // in hand
    uint32_t round_left; // endpoints that were not tried since one answered; 0: no round
    uint64_t greet_by_ns;
    uint64_t heard_ns; // when something last came
    bool greeted, is_closing;
    struct flight *ready, *sent;
    uint32_t sent_count, sent_max, next_id;
};

static void *client_main(void *argument);

// ---- errors ----

omen_status
client_fail(struct client_error *error, omen_status status, enum api_outcome outcome,
            const char *format, ...)
{
    va_list arguments;
    if (error == NULL)
        return status;
    const bool is_ours = status == CLIENT_E_UNREACHABLE;
    const enum status_act act = status_act(status);
    *error = (struct client_error){.status = status, .outcome = (uint8_t)outcome};
    error->retryable = is_ours || act == ACT_RETRY || act == ACT_REROUTE;
    snprintf(error->name, sizeof error->name, "%s", is_ours ? "UNREACHABLE" : status_name(status));
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

static void
land(struct flight *flight)
{
    atomic_store_explicit(&flight->done, 1, memory_order_release);
    os_wake_all(&flight->done); // whoever waits may have freed it meanwhile; the word is not read
}

static void
land_failed(struct flight *flight, omen_status status, const char *why)
{
    const enum api_outcome outcome = flight->sent_ns != 0 ? API_UNKNOWN : API_NOT_APPLIED;
    flight->status = client_fail(&flight->error, status, outcome, "%s", why);
    land(flight);
}

// ---- what callers do ----

static char *
copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = mem_alloc(bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

static void
client_free(struct client *client)
{
    for (int i = 0; i < 2; i++)
        if (client->wake[i] >= 0)
            close(client->wake[i]);
    line_fini(&client->line);
    lock_fini(&client->lock);
    mem_free(client->api_key);
    mem_free(client->program);
    mem_free(client);
}

omen_status
client_open(const struct client_config *config, struct client **out, struct client_error *error)
{
    struct omen_error said = {0};
    *out = NULL;
    struct client *client = mem_alloc_zero(1, sizeof *client);
    if (client == NULL)
        return client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory for a client");
    client->wake[0] = client->wake[1] = -1;
    lock_init(&client->lock);
    line_init(&client->line);
    client->sent_max = IN_FLIGHT_DEFAULT;
    client->next_id = HELLO_ID + 1;
    client->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : CLIENT_TIMEOUT_MS;
    client->program = copy_text(config->program != NULL ? config->program : "libomenclient");
    client->api_key = config->api_key != NULL ? copy_text(config->api_key) : NULL;
    if (endpoints_parse(config->endpoints, &client->endpoints, &said) != OMEN_OK)
        client_fail(error, OMEN_E_INVALID, API_NOT_APPLIED, "%s", said.text);
    else if (client->program == NULL || (config->api_key != NULL && client->api_key == NULL))
        said.status = client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory");
    else if (pipe2(client->wake, O_CLOEXEC | O_NONBLOCK) != 0 ||
             os_thread_start(&client->thread, client_main, client) != 0)
        said.status = client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED,
                                  "no pipe or thread for a client: %s", strerror(errno));
    if (said.status != OMEN_OK) {
        client_free(client);
        return said.status;
    }
    *out = client;
    return OMEN_OK;
}

uint32_t
client_timeout_ms(const struct client *client)
{
    return client->timeout_ms;
}

static void
wake_up(struct client *client)
{
    while (write(client->wake[1], "", 1) < 0 && errno == EINTR)
        ;
}

void
client_close(struct client *client)
{
    if (client == NULL)
        return;
    lock_acquire(&client->lock);
    client->closes = true;
    lock_release(&client->lock);
    wake_up(client);
    pthread_join(client->thread, NULL);
    client_free(client);
}

struct flight *
client_begin(struct client *client, const struct client_ask *ask, uint64_t not_before_ns,
             uint64_t deadline_ns)
{
    ASSERT(ask->method.count <= RPC_METHOD_BYTES_MAX);
    struct flight *flight = mem_alloc_zero(1, sizeof *flight);
    if (flight == NULL)
        return NULL;
    encode_init(&flight->params, ask->params.count);
    encode_raw(&flight->params, ask->params.bytes, ask->params.count);
    if (flight->params.status != OMEN_OK) {
        encode_fini(&flight->params);
        mem_free(flight);
        return NULL;
    }
    memcpy(flight->method, ask->method.bytes, ask->method.count);
    flight->method_bytes = ask->method.count;
    flight->client = client;
    flight->not_before_ns = not_before_ns;
    flight->deadline_ns = deadline_ns;
    lock_acquire(&client->lock);
    const bool was_empty = client->queue == NULL;
    flight->next = client->queue;
    client->queue = flight;
    lock_release(&client->lock);
    if (was_empty)
        wake_up(client);
    return flight;
}

omen_status
client_end(struct flight *flight, struct client_reply *reply, struct client_error *error)
{
    while (atomic_load_explicit(&flight->done, memory_order_acquire) == 0)
        os_wait(&flight->done, 0);
    const omen_status status = flight->status;
    *reply = flight->reply;
    if (status != OMEN_OK && error != NULL)
        *error = flight->error;
    encode_fini(&flight->params);
    mem_free(flight);
    return status;
}

void
client_reply_fini(struct client_reply *reply)
{
    mem_free(reply->frame);
    *reply = (struct client_reply){0};
}

// ---- the thread: flights ----

static void
take_queue(struct client *client)
{
    uint8_t bytes[64];
    while (read(client->wake[0], bytes, sizeof bytes) > 0)
        ;
    lock_acquire(&client->lock);
    struct flight *taken = client->queue;
    client->queue = NULL;
    client->is_closing = client->closes;
    lock_release(&client->lock);
    struct flight *in_order = NULL; // the queue has the newest first
    while (taken != NULL) {
        struct flight *next = taken->next;
        taken->next = in_order;
        in_order = taken;
        taken = next;
    }
    struct flight **end = &client->ready;
    while (*end != NULL)
        end = &(*end)->next;
    *end = in_order;
}

static void
fail_all(struct flight **list, uint64_t due_ns, omen_status status, const char *why)
{
    while (*list != NULL) {
        struct flight *flight = *list;
        if (flight->not_before_ns > due_ns) {
            list = &flight->next;
            continue;
        }
        *list = flight->next;
        land_failed(flight, status, why);
    }
}

// The line is gone: what was sent over it may have happened.
static void
lose_line(struct client *client, const char *why)
{
    char text[640];
    line_close(&client->line, why);
    snprintf(text, sizeof text, "%s: %s", client->endpoints.at[client->endpoint].text,
             client->line.why);
    fail_all(&client->sent, UINT64_MAX, CLIENT_E_UNREACHABLE, text);
    client->sent_count = 0;
    client->greeted = false;
}

// This endpoint is none for now; the next one, or, when all were tried, an error for all that wait.
static void
next_endpoint(struct client *client, uint64_t now_ns)
{
    char text[640];
    snprintf(text, sizeof text, "%s: %s%s", client->endpoints.at[client->endpoint].text,
             client->line.why, client->endpoints.count > 1 ? "; nor any other endpoint" : "");
    client->endpoint = (client->endpoint + 1) % client->endpoints.count;
    if (--client->round_left == 0)
        fail_all(&client->ready, now_ns, CLIENT_E_UNREACHABLE, text);
}

// Flights whose deadline has passed. A node that said nothing since one was sent is taken for dead.
static bool
expire(struct client *client, struct flight **list, uint64_t grace_ns, uint64_t now_ns)
{
    bool is_mute = false;
    while (*list != NULL) {
        struct flight *flight = *list;
        if (flight->deadline_ns + grace_ns > now_ns) {
            list = &flight->next;
            continue;
        }
        *list = flight->next;
        if (flight->sent_ns != 0) {
            client->sent_count--;
            is_mute = is_mute || client->heard_ns < flight->sent_ns;
            land_failed(flight, OMEN_E_TIMEOUT, "the deadline passed without an answer");
        } else {
            land_failed(flight, CLIENT_E_UNREACHABLE,
                        "the deadline passed before a node could be asked");
        }
    }
    return is_mute;
}

static void
send_ready(struct client *client, uint64_t now_ns)
{
    struct flight **list = &client->ready;
    struct encode *out = &client->line.out;
    while (*list != NULL && client->sent_count < client->sent_max &&
           out->count - client->line.out_sent < OUT_BYTES_HIGH) {
        struct flight *flight = *list;
        if (flight->not_before_ns > now_ns) {
            list = &flight->next;
            continue;
        }
        const size_t before = out->count;
        flight->id = client->next_id++;
        if (client->next_id == HELLO_ID)
            client->next_id++;
        encode_array(out, 4);
        encode_u64(out, RPC_REQUEST);
        encode_u64(out, flight->id);
        encode_text(out, (struct wire_text){flight->method, flight->method_bytes});
        encode_array(out, 1);
        encode_raw(out, flight->params.bytes, flight->params.count);
        *list = flight->next;
        if (out->status != OMEN_OK) {
            encode_rewind(out, before);
            land_failed(flight, OMEN_E_NO_MEMORY, "no memory to send a request");
            continue;
        }
        flight->sent_ns = now_ns;
        flight->next = client->sent;
        client->sent = flight;
        client->sent_count++;
    }
}

// ---- the thread: answers ----

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
    *error = (struct client_error){
        .status = said.status, .outcome = said.outcome, .retryable = said.retryable};
    snprintf(error->name, sizeof error->name, "%.*s", (int)said.name.count,
             said.name.count > 0 ? said.name.bytes : "");
    snprintf(error->text, sizeof error->text, "%.*s", (int)said.message.count,
             said.message.count > 0 ? said.message.bytes : "");
    flight->status = said.status;
}

// The answer is copied out of the line's buffer, and read again where it lies.
static void
answer_flight(struct flight *flight, struct wire_bytes frame)
{
    struct omen_error bad;
    uint8_t *copy = mem_alloc(frame.count);
    if (copy == NULL) {
        land_failed(flight, OMEN_E_NO_MEMORY, "no memory for the answer");
        return;
    }
    memcpy(copy, frame.bytes, frame.count);
    struct rpc_message *message = &flight->reply.message;
    flight->reply.frame = copy;
    if (rpc_read((struct wire_bytes){copy, frame.count}, &decode_answers, message, &bad) !=
        OMEN_OK) {
        client_reply_fini(&flight->reply);
        land_failed(flight, OMEN_E_INTERNAL, bad.text);
        return;
    }
    if (message->error.count > 0) {
        error_said(flight, message);
        client_reply_fini(&flight->reply);
    }
    land(flight);
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
        answer_flight(flight, frame);
        return;
    }
    // one that was given up
}

static void
say_hello(struct client *client)
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
        if (hello.status == OMEN_E_AUTH || hello.status == OMEN_E_INVALID)
            fail_all(&client->ready, now_ns, hello.status, hello.error.text);
        line_close(&client->line, hello.error.text);
        return false;
    }
    if (rpc_read_answer(message, method_at(METHOD_SYSTEM_HELLO), &body, &bad) != OMEN_OK) {
        line_close(&client->line, bad.text);
        return false;
    }
    const struct api_welcome *welcome = (const void *)&body;
    client->sent_max = welcome->limits.inflight > 0 ? welcome->limits.inflight : IN_FLIGHT_DEFAULT;
    client->greeted = true;
    client->round_left = 0;
    return true;
}

static void
take_messages(struct client *client, uint64_t now_ns)
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

// ---- the thread: the line ----

static bool
has_due(const struct client *client, uint64_t now_ns)
{
    for (const struct flight *flight = client->ready; flight != NULL; flight = flight->next)
        if (flight->not_before_ns <= now_ns)
            return true;
    return false;
}

static void
dial(struct client *client, uint64_t now_ns)
{
    while (client->line.state == LINE_CLOSED && has_due(client, now_ns)) {
        if (client->round_left == 0)
            client->round_left = client->endpoints.count;
        client->greeted = false;
        client->greet_by_ns = now_ns + GREET_NS;
        if (!line_dial(&client->line, &client->endpoints.at[client->endpoint]))
            next_endpoint(client, now_ns);
    }
}

static void
turn_line(struct client *client, short happened, uint64_t now_ns)
{
    struct line *line = &client->line;
    const enum line_state before = line->state;
    line_turn(line, happened);
    if (before == LINE_DIALS && line->state == LINE_OPEN)
        say_hello(client);
    const bool was_greeted = client->greeted;
    take_messages(client, now_ns);
    if (before == LINE_CLOSED || line->state != LINE_CLOSED)
        return;
    if (was_greeted || client->greeted)
        lose_line(client, line->why);
    else
        next_endpoint(client, now_ns);
}

static int
poll_ms(const struct client *client, uint64_t now_ns)
{
    uint64_t wake_ns = UINT64_MAX;
    if (client->line.state != LINE_CLOSED && !client->greeted)
        wake_ns = client->greet_by_ns;
    for (const struct flight *flight = client->ready; flight != NULL; flight = flight->next) {
        wake_ns = flight->deadline_ns < wake_ns ? flight->deadline_ns : wake_ns;
        if (flight->not_before_ns > now_ns && flight->not_before_ns < wake_ns)
            wake_ns = flight->not_before_ns;
    }
    for (const struct flight *flight = client->sent; flight != NULL; flight = flight->next)
        if (flight->deadline_ns + GRACE_NS < wake_ns)
            wake_ns = flight->deadline_ns + GRACE_NS;
    if (wake_ns == UINT64_MAX)
        return -1;
    const uint64_t ms = wake_ns > now_ns ? (wake_ns - now_ns) / NS_PER_MS + 1 : 0;
    return ms < 60000 ? (int)ms : 60000;
}

static void
pass_time(struct client *client, uint64_t now_ns)
{
    struct line *line = &client->line;
    (void)expire(client, &client->ready, 0, now_ns);
    if (expire(client, &client->sent, GRACE_NS, now_ns)) {
        lose_line(client, "the node does not answer");
        client->endpoint = (client->endpoint + 1) % client->endpoints.count;
    }
    if (line->state != LINE_CLOSED && !client->greeted && client->greet_by_ns <= now_ns) {
        line_close(line, "no answer to hello in time");
        next_endpoint(client, now_ns);
    }
}

static void *
client_main(void *argument)
{
    struct client *client = argument;
    for (;;) {
        take_queue(client);
        if (client->is_closing)
            break;
        uint64_t now_ns = os_clock_ns();
        pass_time(client, now_ns);
        dial(client, now_ns);
        if (client->greeted)
            send_ready(client, now_ns);
        struct pollfd fds[2] = {{.fd = client->wake[0], .events = POLLIN},
                                {.fd = client->line.fd, .events = line_events(&client->line)}};
        if (poll(fds, 2, poll_ms(client, now_ns)) > 0 && fds[1].revents != 0)
            turn_line(client, fds[1].revents, os_clock_ns());
    }
    fail_all(&client->ready, UINT64_MAX, OMEN_E_CLOSED, "the client was closed");
    fail_all(&client->sent, UINT64_MAX, OMEN_E_CLOSED, "the client was closed");
    return NULL;
}
