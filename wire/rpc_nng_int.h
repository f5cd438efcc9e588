// wire/rpc_nng_int.h -- what the files of the clients' server share.
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
#ifndef OMEN_WIRE_RPC_NNG_INT_H
#define OMEN_WIRE_RPC_NNG_INT_H
#include <stdatomic.h>

#include "base/os_lock.h"
#include "wire/rpc_server.h"

#define RPC_ERROR_BYTES_MAX ((size_t)4096) // of an answer that the server makes itself

struct rpc_load { // of a server, which its connections may outlive; counted
    _Atomic uint32_t keepers;
    _Atomic uint32_t in_flight; // of all connections
};

struct rpc_conn {
    _Atomic uint32_t keepers;
    _Atomic uint32_t in_flight;
    _Atomic bool waiting;
    _Atomic uint8_t errors; // enum api_errors
    uint32_t in_flight_max;
    uint64_t idle_ns, hello_ns;
    _Atomic bool known;        // it said hello, or something whole where nobody has to
    bool leaves;               // to make room; under the server's lock
    struct rpc_server *server; // in the server's callbacks
    struct rpc_load *load;     // kept
    struct stream *stream;     // kept
    struct frame frame;
    struct rpc_session session;
    uint64_t handed_on;               // requests, by the read callback
    uint64_t first_ns;                // when its first message began; by the read callback
    struct rpc_conn *previous, *next; // under the server's lock
};

struct rpc_server {
    struct rpc_server_config config;
    struct streams *streams;
    struct rpc_load *load;       // kept
    struct decode_limits limits; // of who is greeted, or need not be
    struct lock lock;
    struct rpc_conn *conns;
    _Atomic bool open; // not shut any more
    _Atomic bool closing;
    _Atomic uint32_t turns;
    _Atomic uint64_t requests, no_message, malformed, no_method, no_right, no_hello, key_ended;
    _Atomic uint64_t refused_hellos, hellos, notes, refused_closing;
    _Atomic uint64_t refused_frames[FRAME_REASONS];
};

static inline void
rpc_count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline bool
rpc_asks_for_key(const struct rpc_server *server)
{
    return server->config.asks != NULL && server->config.asks(server->config.context);
}

// rpc_answer.c
void rpc_conn_asks(struct rpc_conn *conn); // one more in flight
// Of *message, which is taken. Who does not get an answer must not wait for it: the connection ends.
void rpc_conn_write(struct rpc_conn *conn, struct encode *message);
void rpc_conn_error(struct rpc_conn *conn, uint32_t id, const struct omen_error *error,
                    enum api_outcome outcome);
// Nothing was done; *counter says how often.
void rpc_conn_refuse(struct rpc_conn *conn, uint32_t id, struct omen_error *error,
                     _Atomic uint64_t *counter);

// rpc_request.c: the callback of its stream
void rpc_conn_read(void *owner, struct stream *stream, struct stream_input *input);

#endif
