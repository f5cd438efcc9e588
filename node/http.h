// node/http.h -- the admin port: /metrics, /health/live and /health/ready, read by GET or HEAD, and nothing else.
//
// Shape:   shell. libmicrohttpd has one thread, which calls the functions below; they may take their time.
// Threads: http_open and http_close from the owner's.
//
// It has no credentials and can change nothing. Who may see the names of collections may see it: it is on loopback unless an operator
// says another address.
#ifndef OMEN_NODE_HTTP_H
#define OMEN_NODE_HTTP_H
#include "base/error.h"
#include "base/metrics.h"
#include "gossip/gossip_msg.h"

// One more and the oldest that has asked nothing whole is closed for it.
#define HTTP_CONNECTIONS_MAX 32u
#define HTTP_IDLE_SECONDS 5u // of a connection; then it is closed

struct http; // opaque

struct http_config {
    struct gossip_address listen; // port 0: any
    unsigned idle_seconds;        // 0: HTTP_IDLE_SECONDS
    void *context;
    void (*metrics)(void *context, struct metrics_text *text);
    // NULL: it is so. Else why not; static.
    const char *(*not_live)(void *context);
    const char *(*not_ready)(void *context);
};

// OMEN_E_INVALID: one cannot listen there. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status http_open(const struct http_config *config, struct http **out,
                                      struct omen_error *error);
uint16_t http_port(const struct http *http);
// When it returns, nothing is called any more. Accepts NULL.
void http_close(struct http *http);

#endif
