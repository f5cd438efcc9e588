// wire/rpc_server.h -- clients' connections: msgpack-RPC over TCP, within limits that hold before anybody is known and afterwards.
//
// Shape:   shell.
// Threads: callbacks come on the server's threads and must be short; of one connection `request` comes from one thread at a time,
//          in the order of the requests. Answers and the rest from any thread, but rpc_server_close from a callback.
//
// Requests are pipelined: a client may have in_flight_max under way, answered in any order; what it sends beyond is not read until
// half of them are. system.hello and system.ping are answered here, and whatever cannot be handed on: no such method, no right
// to it, no hello yet where one is asked for, bytes that are no request.
//
// A connection ends when its client leaves (also by half: nobody could tell that from one who is gone), breaks the frame limits, does
// not say hello in time (or its first message, where nobody is asked for a key), sends no whole message for idle_ms while none is answered,
// or does not read its answers; and the one that keeps the most waiting, where all together keep too much. Where connections_max are
// there and one more comes, the oldest makes room of those that have said neither.
#ifndef OMEN_WIRE_RPC_SERVER_H
#define OMEN_WIRE_RPC_SERVER_H
#include "base/limits.h"
#include "wire/encode.h"
#include "wire/frame.h"
#include "wire/rpc.h"
#include "wire/stream_nng.h"

// Of a server whose configuration says nothing else.
#define RPC_CONNECTIONS 1024u
#define RPC_IN_FLIGHT 64u // of a connection
#define RPC_HELLO_MS 5000u
#define RPC_IDLE_MS 300000u
#define RPC_WAITING_MIB 1024u

struct rpc_server; // opaque
struct rpc_conn;   // opaque, counted

struct rpc_session {                    // what a connection may
    uint8_t rights;                     // enum method_right: this one and those below it
    uint8_t errors;                     // enum api_errors: the form of errors that it reads
    bool greeted;                       // it said hello
    char key[WIRE_NAME_BYTES_MAX + 1];  // name of its key; "": none was said
    char glob[WIRE_NAME_BYTES_MAX + 1]; // of the collections that the key is for; "": all
    // Of `admit` and `holds`: how they know the key again.
    uint64_t key_hash[4];  // of its secret
    uint64_t key_until_ms; // since 1970, when it is over; 0: never
    uint64_t keys_seen;    // the keys that it was last found among
    uint32_t rate;         // points and queries a second that the key may ask for; 0: any
};

struct rpc_request {
    uint32_t id;
    const struct method *method; // within the session's rights
    uint8_t *frame;              // the taker's (mem_free); `params` points into it
    size_t bytes;
    struct wire_bytes params; // not looked at yet: rpc_request_message and rpc_read_ask
    struct rpc_session session;
    uint64_t received_ns; // os_clock_ns, for who passes it on; 0: nobody said
};

// Zeros are replaced by what the comments say.
struct rpc_server_config {
    const char *host; // a name or an IP address
    uint16_t port;    // 0: any
    // Who connects is closed at once, until rpc_server_let_in: the port is ours, and nothing else is there.
    bool shut;
    uint32_t connections_max; // 1024; the one beyond is closed at once where none makes room
    // Of one IP address; the one beyond is closed at once, and takes nobody's place. 0: as many as there may be.
    uint32_t connections_of_address_max;
    uint32_t in_flight_max;    // of a connection: 64
    uint32_t frame_bytes_max;  // of a request: WIRE_FRAME_BYTES_MAX, which is the most
    uint32_t answer_bytes_max; // of all answers that a connection has not read: 64 MiB
    // Of all connections: parts of messages, and answers that nobody has read: 1,024. Beyond it, who has the most of them is closed.
    uint32_t waiting_mib_max;
    // 5,000; of a first message from its first byte, and 1,000 more for each 64 KiB of it.
    uint32_t hello_ms;
    uint32_t idle_ms;  // 300,000
    uint32_t stall_ms; // without a byte read while answers wait: 30,000
    uint32_t drain_ms; // rpc_server_close waits for answers so long: 1,000
    uint32_t tick_ms;  // how late a time may be noticed: 100
    void *context;
    // Whether a hello with a key is asked for, as of now; else everybody may everything. NULL: it never is. Called for each request.
    bool (*asks)(void *context);
    // OMEN_OK: this key is valid, and *session has its rights, key and glob. OMEN_E_AUTH: it is none. OMEN_E_BUSY: nobody can tell yet. Of every
    // key that is said, also where none is asked for. NULL: none is valid.
    omen_status (*admit)(void *context, struct wire_text key, struct rpc_session *session);
    // Whether the key of a session is valid still, as of now; *session may get other rights. False: it is AUTH to all but hello and ping
    // until a hello with another. Called for each request of who said a key. NULL: what was admitted stays so.
    bool (*holds)(void *context, struct rpc_session *session);
    // Fills in server, version and cluster; the texts are borrowed until it is called again. The limits are filled in already.
    void (*welcome)(void *context, struct api_welcome *welcome);
    // *conn is kept once for this request: rpc_conn_release, after its answer or instead of one.
    void (*request)(void *context, struct rpc_conn *conn, const struct rpc_request *request);
    // Behind the last `request` of those that were read together, in the same thread; for who begins them together. NULL: nobody does.
    // alone: nobody else asks anything, and the connection asks one by one, so that nothing comes over it before it is answered. A hint: this
    // thread may do what was asked then.
    void (*requested)(void *context, bool alone);
    // It is closed, no request comes of it any more, and nobody reads answers to those under way.
    void (*gone)(void *context, struct rpc_conn *conn);
};

struct rpc_server_stats {
    struct streams_stats streams;
    uint64_t requests;                      // handed on
    uint64_t refused_frames[FRAME_REASONS]; // connections closed by it
    uint64_t no_message;                    // whole frames that are none; connections closed by it
    uint64_t malformed;                     // requests answered so
    uint64_t no_method, no_right, no_hello; // answered so
    uint64_t key_ended;                     // answered so: the key was revoked, or its time is over
    uint64_t refused_hellos, hellos;
    uint64_t notes;   // notifications and answers, which nobody reads
    uint64_t closing; // requests answered so
};

// OMEN_E_INVALID: one cannot listen there. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status rpc_server_open(const struct rpc_server_config *config,
                                            struct rpc_server **out, struct omen_error *error);
// Once, where it was opened shut.
void rpc_server_let_in(struct rpc_server *server);
// Accepts no one and no request any more, waits up to drain_ms for the answers to those under way, and closes all. When it returns, no
// callback comes any more; who kept a connection may still answer it, into nothing. Accepts NULL.
void rpc_server_close(struct rpc_server *server);
uint16_t rpc_server_port(const struct rpc_server *server);
void rpc_server_stats(const struct rpc_server *server, struct rpc_server_stats *out);

void rpc_conn_keep(struct rpc_conn *conn);
void rpc_conn_release(struct rpc_conn *conn);

// Once for a request: a whole message by rpc_write_answer or rpc_write_error. *answer is taken and left empty; where writing it
// failed (no memory, too large), the client is told that.
void rpc_conn_answer(struct rpc_conn *conn, uint32_t id, struct encode *answer);
// The same, but it leaves with the next one, or with rpc_conn_send, which has to come soon.
void rpc_conn_gather(struct rpc_conn *conn, uint32_t id, struct encode *answer);
void rpc_conn_send(struct rpc_conn *conn);

// For rpc_read_ask.
static inline struct rpc_message
rpc_request_message(const struct rpc_request *request)
{
    return (struct rpc_message){.kind = RPC_REQUEST, .id = request->id, .params = request->params};
}

#endif
