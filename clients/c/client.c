// clients/c/client.c -- requests as their callers see them: begun, and waited for.
//
// Shape: handle.
#include "clients/c/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_wait.h"
#include "clients/c/client_int.h"

static void client_free(struct client *client);
static char *copy_text(const char *text);

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
    session_init(&client->session);
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

bool
client_has_met(struct client *client)
{
    return atomic_load_explicit(&client->met, memory_order_acquire);
}

uint64_t
client_now_ms(struct client *client)
{
    const uint64_t ahead_ms = atomic_load_explicit(&client->ahead_ms, memory_order_relaxed);
    return ahead_ms == 0 ? os_ms_since_1970() : os_clock_ns() / NS_PER_MS + ahead_ms;
}

uint32_t
client_frame_bytes(struct client *client)
{
    const uint32_t said = atomic_load_explicit(&client->frame_bytes_max, memory_order_relaxed);
    return said == 0 || said > WIRE_FRAME_BYTES_MAX ? WIRE_FRAME_BYTES_MAX : said;
}

struct session *
client_session(struct client *client)
{
    return &client->session;
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

static void
client_free(struct client *client)
{
    for (int i = 0; i < 2; i++)
        if (client->wake[i] >= 0)
            close(client->wake[i]);
    line_fini(&client->line);
    session_fini(&client->session);
    lock_fini(&client->lock);
    mem_free(client->api_key);
    mem_free(client->program);
    mem_free(client);
}

static char *
copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = mem_alloc(bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

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

void
client_land(struct flight *flight)
{
    atomic_store_explicit(&flight->done, 1, memory_order_release);
    os_wake_all(&flight->done); // whoever waits may have freed it meanwhile; the word is not read
}

void
client_land_failed(struct flight *flight, omen_status status, const char *why)
{
    const enum api_outcome outcome = flight->sent_ns != 0 ? API_UNKNOWN : API_NOT_APPLIED;
    flight->status = client_fail(&flight->error, status, outcome, "%s", why);
    client_land(flight);
}
