// tests/lib/fake_node.h -- a node that a test plays itself: it accepts, reads what a client asks, and answers, or does not.
//
// Shape: shell. Waits for the client, whose thread is another; what takes longer than TCP_PATIENCE_S fails the test.
#ifndef OMEN_TESTS_FAKE_NODE_H
#define OMEN_TESTS_FAKE_NODE_H
#include <stdio.h>

#include "tests/lib/tcp_client.h"

struct fake_node {
    int listener;
    uint16_t port;
    struct tcp_client conn; // the last that came
    uint64_t time_ms;       // that it says; 0: it is of an older version
    uint32_t frame_bytes;   // that it says it takes; 0: it does not say
};

struct fake_ask {
    uint32_t id;
    char method[RPC_METHOD_BYTES_MAX + 1];
    uint8_t params[4096];
    uint32_t params_bytes;
};

static inline struct fake_node
fake_node_open(void)
{
    struct sockaddr_in at = tcp_loopback(0);
    socklen_t bytes = sizeof at;
    struct fake_node node = {.listener = tcp_socket(), .conn = {.fd = -1}};
    ck_assert_int_eq(bind(node.listener, (const struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(node.listener, 8), 0);
    ck_assert_int_eq(getsockname(node.listener, (struct sockaddr *)&at, &bytes), 0);
    node.port = ntohs(at.sin_port);
    return node;
}

// Nobody answers there any more.
static inline void
fake_node_close(struct fake_node *node)
{
    if (node->conn.fd >= 0)
        tcp_leave(&node->conn);
    if (node->listener >= 0)
        (void)close(node->listener);
    node->listener = -1;
}

static inline void
fake_node_accept(struct fake_node *node)
{
    const struct timeval patience = {.tv_sec = TCP_PATIENCE_S};
    if (node->conn.fd >= 0)
        tcp_leave(&node->conn);
    node->conn = (struct tcp_client){.fd = tcp_accept(node->listener)};
    ck_assert_msg(node->conn.fd >= 0, "nobody connects: %s", strerror(errno));
    ck_assert_int_eq(setsockopt(node->conn.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience),
                     0);
}

static inline struct fake_ask
fake_node_hear(struct fake_node *node)
{
    struct rpc_message message;
    struct fake_ask ask = {0};
    const size_t bytes = rpc_receive(&node->conn, &message);
    ck_assert_msg(bytes > 0, "the client has left");
    ck_assert_int_eq(message.kind, RPC_REQUEST);
    ck_assert_uint_le(message.params.count, sizeof ask.params);
    ask.id = message.id;
    memcpy(ask.method, message.method.bytes, message.method.count);
    memcpy(ask.params, message.params.bytes, message.params.count);
    ask.params_bytes = message.params.count;
    tcp_forget(&node->conn, bytes);
    return ask;
}

// As the struct of its method; what it points to lies in *ask.
static inline void
fake_node_read(const struct fake_ask *ask, void *out)
{
    const struct method *method = method_find(wire_text_of(ask->method));
    const struct rpc_message message = {.params = {ask->params, ask->params_bytes}};
    struct omen_error error = {0};
    ck_assert_ptr_nonnull(method);
    ck_assert_msg(rpc_read_ask(&message, method, &decode_after_hello, out, &error) == OMEN_OK, "%s",
                  error.text);
}

static inline void
fake_node_answer(struct fake_node *node, uint32_t id, enum method_number method, const void *answer)
{
    struct encode encode;
    encode_init(&encode, 1u << 24);
    rpc_write_answer(&encode, id, method_at(method), answer);
    rpc_send(&node->conn, &encode);
    encode_fini(&encode);
}

static inline void
fake_node_refuse_for(struct fake_node *node, uint32_t id, uint32_t retry_after_ms)
{
    struct omen_error error;
    struct encode encode;
    error_set(&error, OMEN_E_BUSY, "on demand");
    struct rpc_error said = rpc_error_of(&error, API_NOT_APPLIED);
    said.retry_after_ms = retry_after_ms;
    encode_init(&encode, 1u << 16);
    rpc_write_error(&encode, id, API_ERRORS_MAP, &said);
    rpc_send(&node->conn, &encode);
    encode_fini(&encode);
}

static inline void
fake_node_refuse(struct fake_node *node, uint32_t id, omen_status status, enum api_outcome outcome)
{
    struct omen_error error;
    struct encode encode;
    error_set(&error, status, "on demand");
    const struct rpc_error said = rpc_error_of(&error, outcome);
    encode_init(&encode, 1u << 16);
    rpc_write_error(&encode, id, API_ERRORS_MAP, &said);
    rpc_send(&node->conn, &encode);
    encode_fini(&encode);
}

// Accepts, hears a hello and welcomes; *hello (may be NULL) is what it said.
static inline void
fake_node_greet(struct fake_node *node, struct fake_ask *hello)
{
    const struct api_welcome welcome = {
        .server = wire_text_of("omend"),
        .version = wire_text_of("0.1.0"),
        .cluster = wire_text_of("c"),
        .time_ms = node->time_ms,
        .limits = {.inflight = 4, .frame_bytes = node->frame_bytes}};
    fake_node_accept(node);
    const struct fake_ask ask = fake_node_hear(node);
    ck_assert_str_eq(ask.method, "system.hello");
    if (hello != NULL)
        *hello = ask;
    fake_node_answer(node, ask.id, METHOD_SYSTEM_HELLO, &welcome);
}

#endif
