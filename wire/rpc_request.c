// wire/rpc_request.c -- what a client says: found in its bytes, judged, answered here or handed on.
//
// Shape: shell.
#include "wire/rpc_nng_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"

#define FIRST_BYTES_A_SECOND ((size_t)65536) // of a first message that is long
#define KEEP_WHOLE_BYTES ((size_t)65536)     // a larger frame is not copied where it came alone

static omen_status
enter(const struct rpc_server *server, struct wire_text key, struct rpc_session *session,
      struct omen_error *error)
{
    const struct rpc_server_config *config = &server->config;
    if (key.count == 0 && rpc_asks_for_key(server))
        return error_set(error, OMEN_E_AUTH, "system.hello: api_key is missing");
    if (key.count == 0)
        return OMEN_OK;
    const omen_status status =
        config->admit != NULL ? config->admit(config->context, key, session) : OMEN_E_AUTH;
    if (status == OMEN_E_BUSY)
        return error_set(error, status,
                         "system.hello: this node has just started, and does not know the "
                         "cluster's keys of now yet; ask again");
    if (status != OMEN_OK)
        return error_set(error, status, "system.hello: api_key is not a valid one");
    return OMEN_OK;
}

static void
greet(struct rpc_conn *conn, const struct rpc_message *message)
{
    struct rpc_server *server = conn->server;
    const struct method *method = method_at(METHOD_SYSTEM_HELLO);
    struct omen_error error;
    struct api_hello hello;
    if (rpc_read_ask(message, method, &conn->frame.limits, &hello, &error) != OMEN_OK) {
        rpc_conn_refuse(conn, message->id, &error, &server->malformed);
        return;
    }
    struct rpc_session session = {0};
    if (enter(server, hello.api_key, &session, &error) != OMEN_OK) {
        rpc_conn_refuse(conn, message->id, &error, &server->refused_hellos);
        return;
    }
    session.greeted = true;
    atomic_store_explicit(&conn->known, true, memory_order_relaxed);
    session.errors = hello.errors != 0 ? hello.errors : conn->session.errors; // as it was
    conn->session = session;
    atomic_store(&conn->errors, session.errors);
    frame_limit(&conn->frame, &server->limits);
    rpc_count(&server->hellos);

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
    encode_init(&answer, RPC_ERROR_BYTES_MAX);
    rpc_write_answer(&answer, message->id, method, &welcome);
    rpc_conn_asks(conn); // as if it had been handed on
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
        rpc_conn_refuse(conn, message->id, &error, &conn->server->malformed);
        return;
    }
    encode_init(&answer, RPC_ERROR_BYTES_MAX);
    rpc_write_answer(&answer, message->id, method, &(struct api_nothing){0});
    if (answer.status == OMEN_OK)
        rpc_conn_write(conn, &answer);
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
        rpc_conn_error(conn, message->id, &error, API_NOT_APPLIED);
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
    rpc_count(&server->requests);
    conn->handed_on++;
    rpc_conn_asks(conn);
    rpc_conn_keep(conn);
    server->config.request(server->config.context, conn, &request);
}

// Whether the connection may do anything that has a right: it said a key, or none is asked for. That may change while it is open, as
// keys are made and revoked.
static bool
is_admitted(struct rpc_conn *conn)
{
    if (conn->session.key[0] != '\0')
        return true;
    const bool asks = rpc_asks_for_key(conn->server);
    conn->session.rights = asks ? RIGHT_NONE : RIGHT_ADMIN;
    return !asks;
}

// A key may be revoked, and its time go by, while its sessions are open.
static bool
key_holds(struct rpc_conn *conn)
{
    const struct rpc_server_config *config = &conn->server->config;
    return conn->session.key[0] == '\0' || config->holds == NULL ||
           config->holds(config->context, &conn->session);
}

// OMEN_OK: it is handed on. Else why not, and what counts that.
static omen_status
objection(struct rpc_conn *conn, const struct rpc_message *message, const struct method *method,
          _Atomic uint64_t **counter, struct omen_error *error)
{
    struct rpc_server *server = conn->server;
    const struct rpc_session *session = &conn->session;
    if (method == NULL) {
        *counter = &server->no_method;
        return error_set(error, OMEN_E_METHOD, "there is no method \"%.*s\"",
                         (int)message->method.count, message->method.bytes);
    }
    if (method->right > RIGHT_NONE && !key_holds(conn)) {
        *counter = &server->key_ended;
        return error_set(error, OMEN_E_AUTH,
                         "%s: the key \"%s\" was revoked, or its time is over; system.hello with "
                         "another comes first",
                         method->name, session->key);
    }
    if (method->right > RIGHT_NONE && !is_admitted(conn)) {
        *counter = &server->no_hello;
        return error_set(error, OMEN_E_AUTH, "%s: system.hello with an api_key comes first",
                         method->name);
    }
    if (method->right > session->rights) {
        *counter = &server->no_right;
        return error_set(error, OMEN_E_AUTH, "%s: the key \"%s\" has no right to it", method->name,
                         session->key);
    }
    if (atomic_load(&server->closing)) {
        *counter = &server->refused_closing;
        return error_set(error, OMEN_E_BUSY, "%s: this node is going; ask another", method->name);
    }
    return OMEN_OK;
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
        rpc_count(&server->no_message);
        stream_close(conn->stream, STREAM_REFUSED);
        return false;
    }
    if (conn->session.greeted || !rpc_asks_for_key(server)) {
        atomic_store_explicit(&conn->known, true, memory_order_relaxed);
        stream_deadline(conn->stream, os_clock_ns() + conn->idle_ns);
    }
    if (status != OMEN_OK) {
        rpc_conn_refuse(conn, message.id, &error, &server->malformed);
        return true;
    }
    if (message.kind != RPC_REQUEST) {
        rpc_count(&server->notes);
        return true;
    }
    const struct method *method = method_find(message.method);
    _Atomic uint64_t *counter = NULL;
    if (objection(conn, &message, method, &counter, &error) != OMEN_OK)
        rpc_conn_refuse(conn, message.id, &error, counter);
    else if (method->number == METHOD_SYSTEM_HELLO)
        greet(conn, &message);
    else if (method->number == METHOD_SYSTEM_PING)
        pong(conn, &message);
    else
        hand_on(conn, &message, method, input, at, bytes);
    return true;
}

// The first message of who need not say hello has come in part. It has as long as a hello, and longer as more of it comes: what never
// becomes whole shall not hold a place as long as one that is idle. Where hello is asked for its time runs already.
static void
wait_for_first(struct rpc_conn *conn, size_t there)
{
    if (atomic_load_explicit(&conn->known, memory_order_relaxed) || rpc_asks_for_key(conn->server))
        return;
    if (conn->first_ns == 0)
        conn->first_ns = os_clock_ns();
    const uint64_t patience_ns = conn->hello_ns < conn->idle_ns ? conn->hello_ns : conn->idle_ns;
    const uint64_t more_ns = there * UINT64_C(1000000000) / FIRST_BYTES_A_SECOND;
    stream_deadline(conn->stream, conn->first_ns + patience_ns + more_ns);
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

void
rpc_conn_read(void *owner, struct stream *stream, struct stream_input *input)
{
    struct rpc_conn *conn = owner;
    const struct rpc_server *server = conn->server;
    const uint64_t before = conn->handed_on;
    const bool idle = atomic_load(&conn->load->in_flight) == 0;
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
            rpc_count(&conn->server->refused_frames[conn->frame.reason]);
            stream_close(stream, STREAM_REFUSED);
            break;
        }
        if (result == FRAME_MORE) {
            input->wanted = frame_wanted(&conn->frame);
            wait_for_first(conn, there - at);
            break;
        }
        const bool goes_on = take_message(conn, input, at, bytes);
        at += bytes;
        if (!goes_on)
            break;
    }
    input->taken = at;
    input->alone = conn->handed_on <= before + 1 && idle;
    if (server->config.requested != NULL && conn->handed_on > before)
        server->config.requested(server->config.context, input->one_by_one && input->alone);
    input->answered = atomic_load(&conn->load->in_flight) == 0;
}
