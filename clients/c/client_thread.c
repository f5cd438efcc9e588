// clients/c/client_thread.c -- the thread that owns the socket: which node is asked, what goes out, and what has waited too long.
//
// Shape: handle (a part of client.h's).
//
// It waits in poll for the socket, for the next deadline, and for a byte in the pipe that says that something is in the queue.
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/os_clock.h"
#include "clients/c/client_int.h"

#define GREET_NS (3000 * NS_PER_MS)      // for connecting and hello together, at one endpoint
#define GRACE_NS (250 * NS_PER_MS)       // the server's own word about a deadline may come so late
#define OUT_BYTES_HIGH ((size_t)1 << 20) // no more is put behind this much that is not sent

// ---- flights ----

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

void
client_fail_all(struct flight **list, uint64_t due_ns, omen_status status, const char *why)
{
    while (*list != NULL) {
        struct flight *flight = *list;
        if (flight->not_before_ns > due_ns) {
            list = &flight->next;
            continue;
        }
        *list = flight->next;
        client_land_failed(flight, status, why);
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
    client_fail_all(&client->sent, UINT64_MAX, CLIENT_E_UNREACHABLE, text);
    client->sent_count = 0;
    client->greeted = client->leaves = false;
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
        client_fail_all(&client->ready, now_ns, CLIENT_E_UNREACHABLE, text);
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
            client_land_failed(flight, OMEN_E_TIMEOUT, "the deadline passed without an answer");
        } else {
            client_land_failed(flight, CLIENT_E_UNREACHABLE,
                               "the deadline passed before a node could be asked");
        }
    }
    return is_mute;
}

// The node would close the connection, and all that is under way on it would be lost. Then it has landed.
static bool
is_too_long(const struct client *client, struct flight *flight, size_t bytes)
{
    char text[160];
    if (client->frame_bytes_max == 0 || bytes <= client->frame_bytes_max)
        return false;
    snprintf(text, sizeof text, "the request has %zu bytes; the node takes %u", bytes,
             client->frame_bytes_max);
    client_land_failed(flight, OMEN_E_INVALID, text);
    return true;
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
        if (flight->method_bytes == 0) { // it waited for a hello
            *list = flight->next;
            client_land(flight);
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
        if (out->status == OMEN_OK && is_too_long(client, flight, out->count - before)) {
            encode_rewind(out, before);
            continue;
        }
        if (out->status != OMEN_OK) {
            encode_rewind(out, before);
            client_land_failed(flight, OMEN_E_NO_MEMORY, "no memory to send a request");
            continue;
        }
        flight->sent_ns = now_ns;
        flight->next = client->sent;
        client->sent = flight;
        client->sent_count++;
    }
}

// ---- the line ----

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

// From a node that routes by an old map, when it has answered all that it was sent.
static void
leave(struct client *client)
{
    if (!client->leaves || client->sent != NULL)
        return;
    lose_line(client, "the node's map of the cluster is old");
    client->endpoint = (client->endpoint + 1) % client->endpoints.count;
}

static void
turn_line(struct client *client, short happened, uint64_t now_ns)
{
    struct line *line = &client->line;
    const enum line_state before = line->state;
    line_turn(line, happened);
    if (before == LINE_DIALS && line->state == LINE_OPEN)
        client_say_hello(client);
    const bool was_greeted = client->greeted;
    client_take_messages(client, now_ns);
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

void *
client_main(void *argument)
{
    struct client *client = argument;
    for (;;) {
        take_queue(client);
        if (client->is_closing)
            break;
        uint64_t now_ns = os_clock_ns();
        pass_time(client, now_ns);
        leave(client);
        dial(client, now_ns);
        if (client->greeted && !client->leaves)
            send_ready(client, now_ns);
        struct pollfd fds[2] = {{.fd = client->wake[0], .events = POLLIN},
                                {.fd = client->line.fd, .events = line_events(&client->line)}};
        if (poll(fds, 2, poll_ms(client, now_ns)) > 0 && fds[1].revents != 0)
            turn_line(client, fds[1].revents, os_clock_ns());
    }
    client_fail_all(&client->ready, UINT64_MAX, OMEN_E_CLOSED, "the client was closed");
    client_fail_all(&client->sent, UINT64_MAX, OMEN_E_CLOSED, "the client was closed");
    return NULL;
}
