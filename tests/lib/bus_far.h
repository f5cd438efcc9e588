// tests/lib/bus_far.h -- a node of the other side by hand: a plain socket that says of a handshake and behind it what a test has it say.
//
// Shape: shell. Node 0 of bus_world.h is the one that is looked at; it knows these as nodes 1 and 2, or is dialed by them.
#ifndef OMEN_TESTS_BUS_FAR_H
#define OMEN_TESTS_BUS_FAR_H
#include "tests/lib/bus_world.h"
#include "tests/lib/stream_wait.h"
#include "wire/bus_int.h"

#define FAR_FRAME_MAX 256u
// For what comes, from the beginning: a test lets only the other side's memory run out.
#define FAR_ROOM 65536u

struct far {
    int listener;             // -1: it dials
    struct tcp_client client; // its connection
    struct handshake ours;
    uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
};

static inline struct handshake
far_handshake(uint32_t node)
{
    struct handshake ours = nodes[0].config.ours;
    ours.node = node_uuid(node);
    return ours;
}

// The bytes of a frame.
static inline uint32_t
far_frame(uint8_t frame[FAR_FRAME_MAX], enum peer_kind kind, const void *body, uint32_t bytes)
{
    const struct peer_head head = {.kind = (uint8_t)kind, .lane = PEER_CONTROL};
    ck_assert_uint_le(bytes, FAR_FRAME_MAX - PEER_HEAD_BYTES);
    peer_head_write(head, (struct wire_bytes){body, bytes}, frame);
    if (bytes > 0)
        memcpy(frame + PEER_HEAD_BYTES, body, bytes);
    return PEER_HEAD_BYTES + bytes;
}

static inline void
far_say(struct far *far, enum peer_kind kind, const void *body, uint32_t bytes)
{
    uint8_t frame[FAR_FRAME_MAX];
    tcp_send(&far->client, frame, far_frame(frame, kind, body, bytes));
}

// The next frame, of this kind, and no more than `room` bytes of its body. Its correlation.
static inline uint64_t
far_hear(struct far *far, enum peer_kind kind, void *body, uint32_t room)
{
    struct peer_head head;
    const bool known = kind > PEER_CONFIRM;
    while (far->client.count < PEER_HEAD_BYTES)
        ck_assert(tcp_receive_more(&far->client));
    ck_assert_int_eq(
        peer_head_read(far->client.bytes, PEER_CONTROL, known ? PEER_KNOWN : PEER_STRANGER, &head),
        PEER_FINE);
    ck_assert_uint_eq(head.kind, kind);
    while (far->client.count < PEER_HEAD_BYTES + head.body_bytes)
        ck_assert(tcp_receive_more(&far->client));
    if (room > 0)
        memcpy(body, far->client.bytes + PEER_HEAD_BYTES,
               room < head.body_bytes ? room : head.body_bytes);
    tcp_forget(&far->client, PEER_HEAD_BYTES + head.body_bytes);
    return head.correlation;
}

// ---- it is dialed ----

// Node 0 knows that it is there.
static inline void
far_listen(struct far *far, uint32_t node)
{
    struct sockaddr_in at = tcp_loopback(0);
    socklen_t at_bytes = sizeof at;
    *far =
        (struct far){.listener = tcp_socket(), .client = {.fd = -1}, .ours = far_handshake(node)};
    ck_assert_int_eq(bind(far->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(far->listener, 16), 0);
    ck_assert_int_eq(getsockname(far->listener, (struct sockaddr *)&at, &at_bytes), 0);
    const struct gossip_address there = loopback(ntohs(at.sin_port));
    bus_know(nodes[0].bus, node_uuid(node), &there);
}

static inline void
far_accept(struct far *far)
{
    const struct timeval patience = {.tv_sec = TCP_PATIENCE_S};
    if (far->client.bytes == NULL)
        far->client = (struct tcp_client){.bytes = mem_alloc(FAR_ROOM), .room = FAR_ROOM};
    ck_assert_ptr_nonnull(far->client.bytes);
    far->client.count = 0;
    far->client.fd = tcp_accept(far->listener);
    ck_assert_int_ge(far->client.fd, 0);
    ck_assert_int_eq(
        setsockopt(far->client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
}

// Until the other side has connected and said so.
static inline void
far_await_hello(struct far *far)
{
    while (far->client.count < PEER_HEAD_BYTES + HANDSHAKE_HELLO_BYTES)
        ck_assert(tcp_receive_more(&far->client));
}

// Behind its HELLO, which has come: until it has memory for what it is to hear.
static inline void
far_await_heard(uint32_t node)
{
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    const struct bus_peer *peer = bus_peer_find(bus, node_uuid(node));
    ck_assert_ptr_nonnull(peer);
    struct stream *stream = peer->lanes[0].link->stream;
    stream_keep(stream);
    lock_release(&bus->lock);
    stream_await_receive(stream);
    stream_release(stream);
}

static inline void
far_welcome(struct far *far)
{
    far_hear(far, PEER_HELLO, far->hello, sizeof far->hello);
    handshake_welcome(bus_keys.peer, &far->ours, far->hello, far->welcome);
    far_say(far, PEER_WELCOME, far->welcome, sizeof far->welcome);
}

// Sends frames until one is taken, and shakes hands: node 0 has a connection to it then, and the last frame is the next to be heard.
static inline void
far_be_reached(struct far *far, uint32_t node)
{
    while (!send_frame(0, node, PEER_CONTROL, 0, (struct wire_bytes){0}))
        (void)sched_yield();
    far_accept(far);
    far_welcome(far);
    far_hear(far, PEER_CONFIRM, NULL, 0);
}

// ---- it dials ----

static inline void
far_prepare(struct far *far, uint32_t node)
{
    *far = (struct far){.listener = -1,
                        .client = {.fd = -1, .bytes = mem_alloc(FAR_ROOM), .room = FAR_ROOM},
                        .ours = far_handshake(node)};
    ck_assert_ptr_nonnull(far->client.bytes);
}

static inline void
far_connect(struct far *far)
{
    far->client.fd = tcp_connect(bus_port(nodes[0].bus)).fd;
}

static inline void
far_hello(struct far *far)
{
    handshake_hello(&far->ours, far->hello);
    far_say(far, PEER_HELLO, far->hello, sizeof far->hello);
}

static inline void
far_be_welcome(struct far *far)
{
    far_hello(far);
    far_hear(far, PEER_WELCOME, far->welcome, sizeof far->welcome);
}

// To the end of the connection; what comes until then is nothing to us.
static inline void
far_hear_end(struct far *far)
{
    while (tcp_receive_more(&far->client))
        far->client.count = 0;
    (void)close(far->client.fd);
    far->client.fd = -1;
}

static inline void
far_leave(struct far *far)
{
    if (far->client.fd >= 0)
        (void)close(far->client.fd);
    mem_free(far->client.bytes);
    if (far->listener >= 0)
        (void)close(far->listener);
    *far = (struct far){.listener = -1, .client = {.fd = -1}};
}

#endif
