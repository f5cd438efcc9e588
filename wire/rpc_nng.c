// wire/rpc_nng.c -- clients' connections: the server that has them, and the life of each.
//
// Shape: shell. What they ask: rpc_request.c; what they are answered: rpc_answer.c; the sockets: stream_nng.h.
#include "wire/rpc_nng_int.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_wait.h"

#define MS ((uint64_t)1000000)

static void *conn_begin(void *context, struct stream *stream, void *dialed);
static void conn_end(void *owner, struct stream *stream, enum stream_end why);
static bool make_room(void *context);
static uint64_t tick(void *context, uint64_t now_ns);

// ---- life ----

static void
fill_in(struct rpc_server_config *config)
{
    const struct {
        uint32_t *value, otherwise;
    } defaults[] = {
        {&config->connections_max, RPC_CONNECTIONS},
        {&config->in_flight_max, RPC_IN_FLIGHT},
        {&config->frame_bytes_max, WIRE_FRAME_BYTES_MAX},
        {&config->answer_bytes_max, 64u << 20},
        {&config->waiting_mib_max, RPC_WAITING_MIB},
        {&config->hello_ms, RPC_HELLO_MS},
        {&config->idle_ms, RPC_IDLE_MS},
        {&config->stall_ms, 30000},
        {&config->drain_ms, 1000},
        {&config->tick_ms, 100},
    };
    for (uint32_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (*defaults[i].value == 0)
            *defaults[i].value = defaults[i].otherwise;
}

static void
load_release(struct rpc_load *load)
{
    if (atomic_fetch_sub(&load->keepers, 1) == 1)
        mem_free(load);
}

static struct rpc_server *
server_make(void)
{
    struct rpc_server *server = mem_alloc_zero(1, sizeof *server);
    struct rpc_load *load = mem_alloc_zero(1, sizeof *load);
    if (server == NULL || load == NULL) {
        mem_free(server);
        mem_free(load);
        return NULL;
    }
    atomic_init(&load->keepers, 1);
    server->load = load;
    lock_init(&server->lock);
    return server;
}

static void
server_free(struct rpc_server *server)
{
    load_release(server->load);
    lock_fini(&server->lock);
    mem_free(server);
}

omen_status
rpc_server_open(const struct rpc_server_config *config, struct rpc_server **out,
                struct omen_error *error)
{
    ASSERT(config->request != NULL && config->gone != NULL && config->welcome != NULL);
    ASSERT(config->asks == NULL || config->admit != NULL);
    ASSERT(config->frame_bytes_max <= WIRE_FRAME_BYTES_MAX);
    *out = NULL;
    struct rpc_server *server = server_make();
    if (server == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    server->config = *config;
    fill_in(&server->config);
    atomic_init(&server->open, !config->shut);
    server->limits = decode_after_hello;
    server->limits.bytes_max = server->config.frame_bytes_max;
    const struct streams_config streams = {
        .host = config->host,
        .port = config->port,
        .accepted_max = server->config.connections_max,
        .accepted_of_address_max = server->config.connections_of_address_max,
        .tick_ms = server->config.tick_ms,
        .stall_ms = server->config.stall_ms,
        .queue_bytes_max = server->config.answer_bytes_max,
        .waiting_bytes_max = (size_t)server->config.waiting_mib_max << 20,
        .context = server,
        .crowded = make_room,
        .begin = conn_begin,
        .read = rpc_conn_read,
        .end = conn_end,
        .tick = tick,
    };
    const omen_status status = streams_open(&streams, &server->streams, error);
    if (status != OMEN_OK) {
        server_free(server);
        return status;
    }
    *out = server;
    return OMEN_OK;
}

void
rpc_server_let_in(struct rpc_server *server)
{
    const bool was = atomic_exchange(&server->open, true);
    ASSERT(!was);
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

// Once it closes, who waits for answers to leave looks at every turn.
static uint64_t
tick(void *context, uint64_t now_ns)
{
    struct rpc_server *server = context;
    if (!atomic_load(&server->closing))
        return UINT64_MAX;
    atomic_fetch_add(&server->turns, 1);
    os_wake_all(&server->turns);
    return now_ns + server->config.tick_ms * MS;
}

void
rpc_server_close(struct rpc_server *server)
{
    if (server == NULL)
        return;
    atomic_store(&server->closing, true);
    streams_deaf(server->streams);
    streams_wake(server->streams);
    const uint64_t until_ns = os_clock_ns() + server->config.drain_ms * MS;
    for (;;) {
        const uint32_t turns = atomic_load(&server->turns);
        if (!is_busy(server) || os_clock_ns() >= until_ns)
            break;
        os_wait(&server->turns, turns);
    }
    streams_close(server->streams);
    ASSERT(server->conns == NULL);
    server_free(server);
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
        .key_ended = atomic_load(&server->key_ended),
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
    if (!atomic_load(&server->open))
        return NULL;
    struct rpc_conn *conn = mem_alloc_zero(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    atomic_init(&conn->keepers, 1);
    atomic_init(&conn->errors, API_ERRORS_TEXT);
    conn->in_flight_max = server->config.in_flight_max;
    conn->idle_ns = server->config.idle_ms * MS;
    conn->hello_ns = server->config.hello_ms * MS;
    conn->server = server;
    conn->load = server->load;
    atomic_fetch_add_explicit(&conn->load->keepers, 1, memory_order_relaxed);
    conn->stream = stream;
    stream_keep(stream);
    const bool asks = rpc_asks_for_key(server);
    conn->session.errors = API_ERRORS_TEXT;
    frame_init(&conn->frame, asks ? &decode_before_hello : &server->limits);
    const uint64_t patience_ns = asks ? server->config.hello_ms * MS : conn->idle_ns;
    stream_deadline(stream, os_clock_ns() + patience_ns);
    lock_acquire(&server->lock);
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->previous = conn;
    server->conns = conn;
    lock_release(&server->lock);
    return conn;
}

// The connection that has been there longest without having said who it is, or anything whole where nobody is asked for that.
static bool
make_room(void *context)
{
    struct rpc_server *server = context;
    struct rpc_conn *oldest = NULL;
    lock_acquire(&server->lock);
    for (struct rpc_conn *conn = server->conns; conn != NULL; conn = conn->next) // the newest first
        if (!conn->leaves && !atomic_load_explicit(&conn->known, memory_order_relaxed))
            oldest = conn;
    if (oldest != NULL) {
        oldest->leaves = true;
        rpc_conn_keep(oldest);
    }
    lock_release(&server->lock);
    if (oldest == NULL)
        return false;
    stream_close(oldest->stream, STREAM_CROWDED);
    rpc_conn_release(oldest);
    return true;
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
    atomic_fetch_sub(&conn->load->in_flight, atomic_load(&conn->in_flight)); // never answered
    load_release(conn->load);
    stream_release(conn->stream);
    mem_free(conn);
}
