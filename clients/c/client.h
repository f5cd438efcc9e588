// clients/c/client.h -- a cluster from outside: requests go out together, answers come back in any order.
//
// Shape:   handle, with one thread that owns the socket.
// Threads: any number of callers, but client_close, which is the last call.
// Errors:  struct client_error: what the server said of it, or what became of the connection.
//
// A client stays with one node until it cannot be reached, no longer answers, or says that it routes by an old map; then it tries the next
// of its endpoints. What was on
// its way when a connection broke may have happened: it fails with the outcome `unknown`, and client_call tries it again
// only where that does no harm.
#ifndef OMEN_CLIENTS_C_CLIENT_H
#define OMEN_CLIENTS_C_CLIENT_H
#include "wire/encode.h"
#include "wire/rpc.h"

// Nobody answers at the endpoints, or the connection broke. Never on the wire: a node that says this is one that is not there.
#define CLIENT_E_UNREACHABLE (-128)

#define CLIENT_TIMEOUT_MS 10000u // of a call that says none

struct client;  // opaque
struct session; // clients/c/session.h

struct client_config {
    const char *endpoints; // clients/c/endpoints.h; copied, as the others
    const char *api_key;   // NULL: none
    const char *program;   // for the server's log; NULL: "libomenclient"
    uint32_t timeout_ms;   // 0: CLIENT_TIMEOUT_MS
};

struct client_error {
    omen_status status; // or CLIENT_E_UNREACHABLE
    uint8_t outcome;    // enum api_outcome; 0: nothing is known of it
    uint8_t retryable;
    uint32_t retry_after_ms; // refused again before that; 0: nothing is said of it
    char name[40];
    char text[512];
};
// Fills *error in; the status. `error` may be NULL.
__attribute__((format(printf, 4, 5))) omen_status client_fail(struct client_error *error,
                                                              omen_status status,
                                                              enum api_outcome outcome,
                                                              const char *format, ...);

// Opens no connection yet. OMEN_E_INVALID for endpoints that are none.
OMEN_MUST_CHECK omen_status client_open(const struct client_config *config, struct client **out,
                                        struct client_error *error);
void client_close(struct client *client); // accepts NULL; what is on its way ends with CLOSED
uint32_t client_timeout_ms(const struct client *client);
bool client_has_met(struct client *client); // a node has answered hello
uint64_t client_now_ms(
    struct client *client); // since 1970, by the clock of the node that said so last; else by ours
struct session *client_session(struct client *client); // clients/c/session.h

struct client_reply {
    uint8_t *frame; // owned; the rest points into it
    struct rpc_message message;
};
void client_reply_fini(struct client_reply *reply); // accepts a zeroed one

// ---- one request, once ----
struct flight; // opaque; belongs to who began it

struct client_ask {
    struct wire_text method;  // empty: nothing is sent, it is done when a node has answered hello
    struct wire_bytes params; // one packed map
    uint8_t repeatable;       // it reads, or has an op_id: doing it twice is as good as once
    uint8_t impatient;   // nobody reached at the first round of all endpoints: that is the answer
    uint32_t timeout_ms; // 0: the client's
};

// Sends it not before `not_before_ns`, and gives it up at `deadline_ns` (os_clock_ns). NULL: no memory.
struct flight *client_begin(struct client *client, const struct client_ask *ask,
                            uint64_t not_before_ns, uint64_t deadline_ns);
// Waits for it and ends it.
OMEN_MUST_CHECK omen_status client_end(struct flight *flight, struct client_reply *reply,
                                       struct client_error *error);

// ---- and as often as it takes (call.c) ----
OMEN_MUST_CHECK omen_status client_call(struct client *client, const struct client_ask *ask,
                                        struct client_reply *reply, struct client_error *error);
// With the structs of wire/method.h. What the struct leaves open of deadline_ms, op_id and seed is filled in, and the `after` of a read
// whose consistency is API_SESSION. What answers say that was seen goes into the client's session.
OMEN_MUST_CHECK omen_status client_call_method(struct client *client, enum method_number number,
                                               const void *ask, struct client_reply *reply,
                                               void *answer, struct client_error *error);
// A packed ask as part of the session; a read that says no consistency is a session's.
OMEN_MUST_CHECK omen_status client_call_in_session(struct client *client,
                                                   const struct client_ask *ask,
                                                   struct client_reply *reply,
                                                   struct client_error *error);
// The same for a struct's packed map that the caller made, and its answer.
OMEN_MUST_CHECK omen_status client_read_answer(const struct client_reply *reply,
                                               const struct method *method, void *answer,
                                               struct client_error *error);
bool client_reads(const struct method *method); // changes nothing
// Waits until a node has answered hello, once. Whoever draws an op_id does it behind that: the node says what its clock is, and ours may be wrong.
OMEN_MUST_CHECK omen_status client_meet(struct client *client, const struct client_ask *how,
                                        struct client_error *error);
struct wire_uuid
client_op_id(struct client *client); // a new one, by the clock of the node that was met last
struct wire_uuid client_seed(void);  // what a key's secret is made of: the same in each try

#endif
