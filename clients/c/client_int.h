// clients/c/client_int.h -- what the files of the client share: requests on their way, and the thread that moves them.
//
// Shape: handle; private to clients/c/client*.
//
//   client_begin --queue--> ready --line is open--> sent --answer--> done
//                             |                      |
//                             +--nobody is reached---+--line is lost, deadline--> done, with an error
//
// Callers touch only the queue, under the lock (client.c). Everything else belongs to the thread (client_thread.c), which reads what the
// node says (client_answer.c).
#ifndef OMEN_CLIENTS_C_CLIENT_INT_H
#define OMEN_CLIENTS_C_CLIENT_INT_H
#include <stdatomic.h>

#include "base/os_lock.h"
#include "base/os_thread.h"
#include "clients/c/client.h"
#include "clients/c/line.h"
#include "clients/c/session.h"

#define NS_PER_MS 1000000ull
#define IN_FLIGHT_DEFAULT 64u
#define HELLO_ID 0u

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
    struct session session;
    _Atomic uint64_t ahead_ms; // of os_clock_ns is the time that a node said last; 0: none did
    _Atomic bool met;          // a node has answered hello; with acquire ahead_ms is seen, too
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
    // This node routes by an old map: nothing more is sent to it, and the next endpoint is asked.
    bool leaves;
    struct flight *ready, *sent;
    uint32_t sent_count, sent_max, next_id;
    uint32_t frame_bytes_max; // of a request, at this node; 0: it did not say
};

// client.c
void client_land(struct flight *flight); // it is done, and may be gone
void client_land_failed(struct flight *flight, omen_status status, const char *why);

// client_thread.c
void *client_main(void *argument);
// Of a list, what may have been sent by `due_ns`.
void client_fail_all(struct flight **list, uint64_t due_ns, omen_status status, const char *why);

// client_answer.c
void client_say_hello(struct client *client);
// Whole messages that have come over the line, which is closed where one is none of ours.
void client_take_messages(struct client *client, uint64_t now_ns);

#endif
