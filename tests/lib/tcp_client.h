// tests/lib/tcp_client.h -- the other end of a connection: a plain socket that waits, and messages of msgpack-RPC over it.
//
// Shape: shell. What takes longer than TCP_PATIENCE_S fails the test; nothing is waited for by time.
#ifndef OMEN_TESTS_TCP_CLIENT_H
#define OMEN_TESTS_TCP_CLIENT_H
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "wire/encode.h"
#include "wire/frame.h"
#include "wire/rpc.h"

#define TCP_PATIENCE_S 60

struct tcp_client {
    int fd;
    uint8_t *bytes; // received, from the next message on
    size_t count, room;
};

static inline struct sockaddr_in
tcp_loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int
tcp_socket(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    const struct timeval patience = {.tv_sec = TCP_PATIENCE_S};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    const int at_once = 1;
    ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once), 0);
    return fd;
}

// Of a listener with a timeout, which is interrupted also where the process was stopped and goes on. -1: nobody came in time.
static inline int
tcp_accept(int listener)
{
    int fd;
    do
        fd = accept(listener, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    return fd;
}

// From 127.0.0.`host`: loopback has them all.
static inline struct tcp_client
tcp_connect_from(uint8_t host, uint16_t port)
{
    const struct sockaddr_in to = tcp_loopback(port);
    const struct sockaddr_in from = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(0x7f000000u | host)};
    struct tcp_client client = {.fd = tcp_socket()};
    ck_assert_int_eq(bind(client.fd, (const struct sockaddr *)&from, sizeof from), 0);
    int failed = connect(client.fd, (const struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    if (failed == EINTR) { // it goes on: this process was stopped meanwhile
        struct pollfd connected = {.fd = client.fd, .events = POLLOUT};
        socklen_t bytes = sizeof failed;
        while (poll(&connected, 1, TCP_PATIENCE_S * 1000) < 0)
            ck_assert_int_eq(errno, EINTR);
        ck_assert_int_eq(getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &failed, &bytes), 0);
    }
    ck_assert_msg(failed == 0, "connect: %s", strerror(failed));
    return client;
}

static inline struct tcp_client
tcp_connect(uint16_t port)
{
    return tcp_connect_from(1, port);
}

static inline void
tcp_leave(struct tcp_client *client)
{
    (void)close(client->fd);
    mem_free(client->bytes);
    *client = (struct tcp_client){.fd = -1};
}

// With a reset, as a machine does that knows nothing of the connection.
static inline void
tcp_reset(struct tcp_client *client)
{
    const struct linger now = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    tcp_leave(client);
}

// Whether all of it was taken by the kernel; false: the connection is no more.
static inline bool
tcp_try_send(struct tcp_client *client, const void *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        const ssize_t went =
            send(client->fd, (const uint8_t *)bytes + at, count - at, MSG_NOSIGNAL);
        if (went < 0 && errno != EINTR)
            return false;
        at += went > 0 ? (size_t)went : 0;
    }
    return true;
}

static inline void
tcp_send(struct tcp_client *client, const void *bytes, size_t count)
{
    ck_assert_msg(tcp_try_send(client, bytes, count), "send: %s", strerror(errno));
}

// False: the other side has closed.
static inline bool
tcp_receive_more(struct tcp_client *client)
{
    if (client->count == client->room) {
        client->room = client->room > 0 ? 2 * client->room : 65536;
        client->bytes = mem_resize(client->bytes, client->room);
        ck_assert_ptr_nonnull(client->bytes);
    }
    ssize_t came;
    do
        came = recv(client->fd, client->bytes + client->count, client->room - client->count, 0);
    while (came < 0 && errno == EINTR); // with a timeout: also where the process was stopped
    if (came < 0)
        ck_assert_msg(errno == ECONNRESET, "receive: %s", strerror(errno));
    if (came <= 0)
        return false;
    client->count += (size_t)came;
    return true;
}

// Nothing more comes, and the connection is at its end.
static inline void
tcp_expect_end(struct tcp_client *client)
{
    ck_assert_uint_eq(client->count, 0);
    ck_assert(!tcp_receive_more(client));
}

static inline void
tcp_forget(struct tcp_client *client, size_t count)
{
    ck_assert_uint_le(count, client->count);
    if (count < client->count)
        memmove(client->bytes, client->bytes + count, client->count - count);
    client->count -= count;
}

// The next whole message, whose bytes stay until tcp_forget; 0: the other side has closed before.
static inline size_t
rpc_receive(struct tcp_client *client, struct rpc_message *message)
{
    static const struct decode_limits limits = {
        .bytes_max = UINT32_MAX, .depth_max = 24, .nodes_max = UINT32_MAX};
    struct frame frame;
    frame_init(&frame, &limits);
    size_t bytes = 0;
    for (;;) {
        const enum frame_result result =
            client->count > 0 ? frame_find(&frame, client->bytes, client->count, &bytes)
                              : FRAME_MORE;
        ck_assert_int_ne(result, FRAME_REFUSED);
        if (result == FRAME_WHOLE)
            break;
        if (!tcp_receive_more(client))
            return 0;
    }
    struct omen_error error = {0};
    ck_assert_msg(rpc_read((struct wire_bytes){client->bytes, (uint32_t)bytes}, &limits, message,
                           &error) == OMEN_OK,
                  "%s", error.text);
    return bytes;
}

// Sends what was written and empties it.
static inline void
rpc_send(struct tcp_client *client, struct encode *encode)
{
    ck_assert_int_eq(encode->status, OMEN_OK);
    tcp_send(client, encode->bytes, encode->count);
    encode_reset(encode);
}

static inline void
rpc_ask(struct tcp_client *client, uint32_t id, enum method_number method, const void *ask)
{
    struct encode encode;
    encode_init(&encode, 1u << 26);
    rpc_write_ask(&encode, id, method_at(method), ask);
    rpc_send(client, &encode);
    encode_fini(&encode);
}

// The answer must be that of `id`, and an error with this name (NULL: none).
static inline void
rpc_expect(struct tcp_client *client, uint32_t id, const char *name)
{
    struct rpc_message message;
    const size_t bytes = rpc_receive(client, &message);
    ck_assert_uint_gt(bytes, 0);
    ck_assert_int_eq(message.kind, RPC_ANSWER);
    ck_assert_uint_eq(message.id, id);
    if (name == NULL) {
        ck_assert_uint_eq(message.error.count, 0);
    } else {
        struct rpc_error told;
        ck_assert_uint_gt(message.error.count, 0);
        ck_assert_int_eq(rpc_read_error(&message, &told, NULL), OMEN_OK);
        ck_assert_msg(told.name.count == strlen(name) &&
                          memcmp(told.name.bytes, name, told.name.count) == 0,
                      "%.*s: %.*s", (int)told.name.count, told.name.bytes, (int)told.message.count,
                      told.message.bytes);
    }
    tcp_forget(client, bytes);
}

// Descriptors for `count` connections with both ends in this process.
static inline void
tcp_allow(rlim_t count)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * count + 64) {
        limit.rlim_cur = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    ck_assert_uint_ge(limit.rlim_cur, 2 * count + 64);
}

#endif
