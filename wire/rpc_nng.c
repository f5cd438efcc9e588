// wire/rpc_nng.c -- clients' connections: msgpack-RPC over wire/stream_nng.h.
//
// Shape: shell.
//
// A connection's splitter, session and limits belong to its read callback, of which there is one at a time. What answers from
// other threads touch is the number of requests in flight, and whether reading waits for it to fall:
//
//   read:    in flight = max, more bytes there > waiting = true > looks again > pause
//   answer:  in flight - 1 <= max / 2 and waiting > waiting = false > resume
//
// Half, not one less: a client that has a hundred requests in the pipe would otherwise cost a thread's wake for each.
#include "wire/rpc_server.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_lock.h"
#include "base/os_wait.h"

#define ERROR_BYTES_MAX ((size_t)4096)
#define KEEP_WHOLE_BYTES ((size_t)65536) // a larger frame is not copied where it came alone
#define MS ((uint64_t)1000000)

struct rpc_conn {
    _Atomic uint32_t keepers;
    _Atomic uint32_t in_flight;
    _Atomic bool waiting;
    _Atomic uint8_t errors; // enum api_errors
    uint32_t in_flight_max;
    uint64_t idle_ns;
    struct rpc_server *server; // in the server's callbacks
    struct stream *stream;     // kept
    struct frame frame;
    struct rpc_session session;
    uint64_t handed_on;               // requests, by the read callback
    struct rpc_conn *previous, *next; // under the server's lock
};

struct rpc_server {
    struct rpc_server_config config;
    struct streams *streams;
    struct decode_limits limits; // of who is greeted, or need not be
    struct lock lock;
    struct rpc_conn *conns;
    _Atomic bool closing;
    _Atomic uint32_t turns;
    _Atomic uint64_t requests, no_message, malformed, no_method, no_right, no_hello;
    _Atomic uint64_t refused_hellos, hellos, notes, refused_closing;
    _Atomic uint64_t refused_frames[FRAME_REASONS];
};

static void *conn_begin(void *context, struct stream *stream, void *dialed);
static void conn_read(void *owner, struct stream *stream, struct stream_input *input);
static void conn_end(void *owner, struct stream *stream, enum stream_end why);
static void tick(void *context, uint64_t now_ns);

static void
count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

// ---- life ----

static void
fill_in(struct rpc_server_config *config)
{
    const struct {
        uint32_t *value, otherwise;
    } defaults[] = {
        {&config->connections_max, 1024},
        {&config->in_flight_max, 64},
        {&config->frame_bytes_max, WIRE_FRAME_BYTES_MAX},
        {&config->answer_bytes_max, 64u << 20},
        {&config->hello_ms, 5000},
        {&config->idle_ms, 300000},
        {&config->stall_ms, 30000},
        {&config->drain_ms, 1000},
        {&config->tick_ms, 100},
    };
    for (uint32_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (*defaults[i].value == 0)
            *defaults[i].value = defaults[i].otherwise;
}

omen_status
rpc_server_open(const struct rpc_server_config *config, struct rpc_server **out,
                struct omen_error *error)
{
    ASSERT(config->request != NULL && config->gone != NULL && config->welcome != NULL);
    ASSERT(!config->auth || config->admit != NULL);
    ASSERT(config->frame_bytes_max <= WIRE_FRAME_BYTES_MAX);
    *out = NULL;
    struct rpc_server *server = mem_alloc_zero(1, sizeof *server);
    if (server == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    server->config = *config;
    fill_in(&server->config);
    server->limits = decode_after_hello;
    server->limits.bytes_max = server->config.frame_bytes_max;
    lock_init(&server->lock);
    const struct streams_config streams = {
        .host = config->host,
        .port = config->port,
        .accepted_max = server->config.connections_max,
        .tick_ms = server->config.tick_ms,
        .stall_ms = server->config.stall_ms,
        .queue_bytes_max = server->config.answer_bytes_max,
        .context = server,
        .begin = conn_begin,
        .read = conn_read,
        .end = conn_end,
        .tick = tick,
    };
    const omen_status status = streams_open(&streams, &server->streams, error);
    if (status != OMEN_OK) {
        lock_fini(&server->lock);
        mem_free(server);
        return status;
    }
    *out = server;
    return OMEN_OK;
}

// Whether somebody waits for an answer, or for the bytes of one.
static bool
is_busy(struct rpc_server *server)
{
    bool busy = false;
    lock_acquire(&server->lock);
    for (struct rpc_conn *conn = server->conns; conn != NULL && !busy; conn = conn->next)
        busy = atomic_load(&conn->in_flight) > 0 || stream_queued(conn->stream) > 0;
    lock_release(&server->lock);
    return busy;
}

static void
tick(void *context, uint64_t now_ns)
{
    (void)now_ns;
    struct rpc_server *server = context;
    atomic_fetch_add(&server->turns, 1);
    os_wake_all(&server->turns);
}

void
rpc_server_close(struct rpc_server *server)
{
    if (server == NULL)
        return;
    atomic_store(&server->closing, true);
    streams_deaf(server->streams);
    const uint64_t until_ns = os_clock_ns() + server->config.drain_ms * MS;
    for (;;) {
        const uint32_t turns = atomic_load(&server->turns);
        if (!is_busy(server) || os_clock_ns() >= until_ns)
            break;
        os_wait(&server->turns, turns);
    }
    streams_close(server->streams);
    ASSERT(server->conns == NULL);
    lock_fini(&server->lock);
    mem_free(server);
}

uint16_t
rpc_server_port(const struct rpc_server *server)
{
    return streams_port(server->streams);
}

void
rpc_server_stats(const struct rpc_server *server, struct rpc_server_stats *out)
{
    *out = (struct rpc_server_stats){
        .requests = atomic_load(&server->requests),
        .no_message = atomic_load(&server->no_message),
        .malformed = atomic_load(&server->malformed),
        .no_method = atomic_load(&server->no_method),
        .no_right = atomic_load(&server->no_right),
        .no_hello = atomic_load(&server->no_hello),
        .refused_hellos = atomic_load(&server->refused_hellos),
        .hellos = atomic_load(&server->hellos),
        .notes = atomic_load(&server->notes),
        .closing = atomic_load(&server->refused_closing),
    };
    for (uint32_t i = 0; i < FRAME_REASONS; i++)
        out->refused_frames[i] = atomic_load(&server->refused_frames[i]);
    streams_stats(server->streams, &out->streams);
}

// ---- a connection ----

static void *
conn_begin(void *context, struct stream *stream, void *dialed)
{
    (void)dialed;
    struct rpc_server *server = context;
    struct rpc_conn *conn = mem_alloc_zero(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    atomic_init(&conn->keepers, 1);
    atomic_init(&conn->errors, API_ERRORS_TEXT);
    conn->in_flight_max = server->config.in_flight_max;
    conn->idle_ns = server->config.idle_ms * MS;
    conn->server = server;
    conn->stream = stream;
    stream_keep(stream);
    const bool auth = server->config.auth;
    conn->session.rights = auth ? RIGHT_NONE : RIGHT_ADMIN;
    conn->session.errors = API_ERRORS_TEXT;
    frame_init(&conn->frame, auth ? &decode_before_hello : &server->limits);
    const uint64_t patience_ns = auth ? server->config.hello_ms * MS : conn->idle_ns;
    stream_deadline(stream, os_clock_ns() + patience_ns);
    lock_acquire(&server->lock);
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->previous = conn;
    server->conns = conn;
    lock_release(&server->lock);
    return conn;
}

static void
conn_end(void *owner, struct stream *stream, enum stream_end why)
{
    (void)stream;
    (void)why;
    struct rpc_conn *conn = owner;
    struct rpc_server *server = conn->server;
    lock_acquire(&server->lock);
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    lock_release(&server->lock);
    server->config.gone(server->config.context, conn);
    rpc_conn_release(conn);
}

void
rpc_conn_keep(struct rpc_conn *conn)
{
    atomic_fetch_add_explicit(&conn->keepers, 1, memory_order_relaxed);
}

void
rpc_conn_release(struct rpc_conn *conn)
{
    if (atomic_fetch_sub(&conn->keepers, 1) != 1)
        return;
    stream_release(conn->stream);
    mem_free(conn);
}

// ---- answers ----

typedef omen_status (*write_fn)(struct stream *stream, uint8_t *bytes, size_t count);

// Of *message, which is taken. Who does not get an answer must not wait for it: the connection ends.
static void
conn_write(struct rpc_conn *conn, struct encode *message, write_fn write)
{
    uint8_t *bytes = message->bytes;
    const size_t bytes_count = message->count;
    *message = (struct encode){0};
    const omen_status status = write(conn->stream, bytes, bytes_count);
    if (status == OMEN_E_FULL)
        stream_close(conn->stream, STREAM_CLOGGED);
    else if (status == OMEN_E_NO_MEMORY)
        stream_close(conn->stream, STREAM_NO_MEMORY);
}

static void
write_error(struct rpc_conn *conn, uint32_t id, const struct omen_error *error,
            enum api_outcome outcome)
{
    const struct rpc_error told = rpc_error_of(error, outcome);
    struct encode message;
    encode_init(&message, ERROR_BYTES_MAX);
    rpc_write_error(&message, id, (enum api_errors)atomic_load(&conn->errors), &told);
    if (message.status == OMEN_OK) {
        conn_write(conn, &message, stream_write);
    } else {
        encode_fini(&message);
        stream_close(conn->stream, STREAM_NO_MEMORY);
    }
}

static void
answer_by(struct rpc_conn *conn, uint32_t id, struct encode *answer, write_fn write)
{
    if (answer->status == OMEN_OK && answer->count > 0) {
        conn_write(conn, answer, write);
    } else {
        // What was asked for may have been done: nothing is said of it.
        const bool large = answer->status == OMEN_E_FULL;
        struct omen_error error;
        if (large)
            (void)error_set(&error, OMEN_E_INVALID, "the answer is larger than a message may be");
        else
            (void)error_set_plain(&error, OMEN_E_NO_MEMORY);
        encode_fini(answer);
        write_error(conn, id, &error, API_UNKNOWN);
    }
    stream_deadline(conn->stream, os_clock_ns() + conn->idle_ns);
    const uint32_t before = atomic_fetch_sub(&conn->in_flight, 1);
    ASSERT(before > 0);
    if (before - 1 <= conn->in_flight_max / 2 && atomic_exchange(&conn->waiting, false))
        stream_resume(conn->stream);
}

void
rpc_conn_answer(struct rpc_conn *conn, uint32_t id, struct encode *answer)
{
    answer_by(conn, id, answer, stream_write);
}

void
rpc_conn_gather(struct rpc_conn *conn, uint32_t id, struct encode *answer)
{
    answer_by(conn, id, answer, stream_gather);
}

void
rpc_conn_send(struct rpc_conn *conn)
{
    stream_send(conn->stream);
}

// ---- requests ----

static void
refuse(struct rpc_conn *conn, uint32_t id, struct omen_error *error, _Atomic uint64_t *counter)
{
    count(counter);
    write_error(conn, id, error, API_NOT_APPLIED);
}

static void
greet(struct rpc_conn *conn, const struct rpc_message *message)
{
    struct rpc_server *server = conn->server;
    const struct method *method = method_at(METHOD_SYSTEM_HELLO);
    struct omen_error error;
    struct api_hello hello;
    if (rpc_read_ask(message, method, &conn->frame.limits, &hello, &error) != OMEN_OK) {
        refuse(conn, message->id, &error, &server->malformed);
        return;
    }
    struct rpc_session session = {.rights = RIGHT_ADMIN};
    if (server->config.auth) {
        session.rights = RIGHT_NONE;
        if (hello.api_key.count == 0 ||
            !server->config.admit(server->config.context, hello.api_key, &session)) {
            (void)error_set(&error, OMEN_E_AUTH, "system.hello: api_key is %s",
                            hello.api_key.count == 0 ? "missing" : "not a valid one");
            refuse(conn, message->id, &error, &server->refused_hellos);
            return;
        }
    }
    session.greeted = true;
    session.errors = hello.errors != 0 ? hello.errors : (uint8_t)API_ERRORS_TEXT;
    conn->session = session;
    atomic_store(&conn->errors, session.errors);
    frame_limit(&conn->frame, &server->limits);
    count(&server->hellos);

    struct api_welcome welcome = {
        .server = wire_text_of("omend"),
        .limits = {.frame_bytes = server->config.frame_bytes_max,
                   .inflight = server->config.in_flight_max,
                   .k = TOPK_MAX,
                   .ef = BEAM_MAX,
                   .dimension = VECTOR_DIM_MAX,
                   .batch = WIRE_BATCH_MAX,
                   .payload_bytes = PAYLOAD_BYTES_MAX,
                   .filter_nodes = FILTER_NODES_MAX},
    };
    server->config.welcome(server->config.context, &welcome);
    struct encode answer;
    encode_init(&answer, ERROR_BYTES_MAX);
    rpc_write_answer(&answer, message->id, method, &welcome);
    atomic_fetch_add(&conn->in_flight, 1); // as if it had been handed on
    rpc_conn_answer(conn, message->id, &answer);
}

static void
pong(struct rpc_conn *conn, const struct rpc_message *message)
{
    const struct method *method = method_at(METHOD_SYSTEM_PING);
    struct api_nothing nothing;
    struct omen_error error;
    struct encode answer;
    if (rpc_read_ask(message, method, &conn->frame.limits, &nothing, &error) != OMEN_OK) {
        refuse(conn, message->id, &error, &conn->server->malformed);
        return;
    }
    encode_init(&answer, ERROR_BYTES_MAX);
    rpc_write_answer(&answer, message->id, method, &(struct api_nothing){0});
    if (answer.status == OMEN_OK)
        conn_write(conn, &answer, stream_write);
    else
        stream_close(conn->stream, STREAM_NO_MEMORY);
    encode_fini(&answer);
}

// Where the message is all that there is, its memory goes with it; else it is copied.
static uint8_t *
frame_of(struct stream_input *input, size_t at, size_t bytes)
{
    if (at == 0 && bytes == input->count && bytes >= KEEP_WHOLE_BYTES) {
        uint8_t *frame = input->bytes;
        input->bytes = NULL;
        return frame;
    }
    uint8_t *frame = mem_alloc(bytes);
    if (frame != NULL)
        memcpy(frame, input->bytes + at, bytes);
    return frame;
}

static void
hand_on(struct rpc_conn *conn, const struct rpc_message *message, const struct method *method,
        struct stream_input *input, size_t at, size_t bytes)
{
    struct rpc_server *server = conn->server;
    const uint8_t *was = input->bytes + at;
    uint8_t *frame = frame_of(input, at, bytes);
    if (frame == NULL) {
        struct omen_error error;
        (void)error_set_plain(&error, OMEN_E_NO_MEMORY);
        write_error(conn, message->id, &error, API_NOT_APPLIED);
        return;
    }
    const struct rpc_request request = {
        .id = message->id,
        .method = method,
        .frame = frame,
        .bytes = bytes,
        .params = {frame + (message->params.bytes - was), message->params.count},
        .session = conn->session,
    };
    count(&server->requests);
    conn->handed_on++;
    atomic_fetch_add(&conn->in_flight, 1);
    rpc_conn_keep(conn);
    server->config.request(server->config.context, conn, &request);
}

// Why it is not handed on; NULL: it is.
static _Atomic uint64_t *
objection(struct rpc_conn *conn, const struct rpc_message *message, const struct method *method,
          struct omen_error *error)
{
    struct rpc_server *server = conn->server;
    const struct rpc_session *session = &conn->session;
    if (method == NULL) {
        (void)error_set(error, OMEN_E_METHOD, "there is no method \"%.*s\"",
                        (int)message->method.count, message->method.bytes);
        return &server->no_method;
    }
    if (method->right > RIGHT_NONE && server->config.auth && !session->greeted) {
        (void)error_set(error, OMEN_E_AUTH, "%s: system.hello with an api_key comes first",
                        method->name);
        return &server->no_hello;
    }
    if (method->right > session->rights) {
        (void)error_set(error, OMEN_E_AUTH, "%s: the key \"%s\" has no right to it", method->name,
                        session->key);
        return &server->no_right;
    }
    if (atomic_load(&server->closing)) {
        (void)error_set(error, OMEN_E_BUSY, "%s: this node is going; ask another", method->name);
        return &server->refused_closing;
    }
    return NULL;
}

// Of `bytes` bytes at `at`. Whether the connection goes on.
static bool
take_message(struct rpc_conn *conn, struct stream_input *input, size_t at, size_t bytes)
{
    struct rpc_server *server = conn->server;
    struct omen_error error;
    struct rpc_message message;
    const struct wire_bytes frame = {input->bytes + at, (uint32_t)bytes};
    const omen_status status = rpc_read(frame, &conn->frame.limits, &message, &error);
    if (status != OMEN_OK && message.kind != RPC_REQUEST) {
        count(&server->no_message);
        stream_close(conn->stream, STREAM_REFUSED);
        return false;
    }
    if (!server->config.auth || conn->session.greeted)
        stream_deadline(conn->stream, os_clock_ns() + conn->idle_ns);
    if (status != OMEN_OK) {
        refuse(conn, message.id, &error, &server->malformed);
        return true;
    }
    if (message.kind != RPC_REQUEST) {
        count(&server->notes);
        return true;
    }
    const struct method *method = method_find(message.method);
    _Atomic uint64_t *reason = objection(conn, &message, method, &error);
    if (reason != NULL)
        refuse(conn, message.id, &error, reason);
    else if (method->number == METHOD_SYSTEM_HELLO)
        greet(conn, &message);
    else if (method->number == METHOD_SYSTEM_PING)
        pong(conn, &message);
    else
        hand_on(conn, &message, method, input, at, bytes);
    return true;
}

// Whether as many are in flight as may be. Then the answer that brings them down to half goes on reading.
static bool
must_wait(struct rpc_conn *conn)
{
    if (atomic_load(&conn->in_flight) < conn->in_flight_max)
        return false;
    atomic_store(&conn->waiting, true);
    if (atomic_load(&conn->in_flight) > conn->in_flight_max / 2)
        return true;
    atomic_store(&conn->waiting,
                 false); // they were answered meanwhile, perhaps by somebody who saw nobody wait
    return false;
}

static void
conn_read(void *owner, struct stream *stream, struct stream_input *input)
{
    struct rpc_conn *conn = owner;
    const struct rpc_server *server = conn->server;
    const uint64_t before = conn->handed_on;
    const size_t there = input->count;
    size_t at = 0;
    while (at < there) {
        if (must_wait(conn)) {
            input->pause = true;
            break;
        }
        size_t bytes;
        const enum frame_result result =
            frame_find(&conn->frame, input->bytes + at, there - at, &bytes);
        if (result == FRAME_REFUSED) {
            count(&conn->server->refused_frames[conn->frame.reason]);
            stream_close(stream, STREAM_REFUSED);
            break;
        }
        if (result == FRAME_MORE) {
            input->wanted = frame_wanted(&conn->frame);
            break;
        }
        const bool goes_on = take_message(conn, input, at, bytes);
        at += bytes;
        if (!goes_on)
            break;
    }
    input->taken = at;
    if (server->config.requested != NULL && conn->handed_on > before)
        server->config.requested(server->config.context);
}
