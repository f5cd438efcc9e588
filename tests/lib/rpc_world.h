// tests/lib/rpc_world.h -- a server for tests: what it is asked waits in a list until a test answers it, or is sent back at once.
//
// Shape: shell. One world a process.
#ifndef OMEN_TESTS_RPC_WORLD_H
#define OMEN_TESTS_RPC_WORLD_H
#include <stdatomic.h>

#include "base/os_lock.h"
#include "base/os_wait.h"
#include "tests/lib/await.h"
#include "tests/lib/tcp_client.h"
#include "wire/rpc_server.h"

#define ASKED_MAX 4096u

struct asked {
    struct rpc_conn *conn; // kept
    struct rpc_request request;
};

static struct rpc_world {
    struct rpc_server *server;
    struct rpc_server_config config;
    // Of answers that are sent back at once; 0: nothing is, but what was asked with.
    size_t answer_bytes;
    bool hold; // into the list
    struct lock lock;
    struct asked asked[ASKED_MAX]; // in the order of arrival
    _Atomic uint32_t asked_count;  // all of them ever
    _Atomic uint32_t gone_count;
    // Requests that were there when those read together were said to be all.
    _Atomic uint32_t requested_count;
    _Atomic uint32_t requested_calls, requested_alone;
    uint32_t in_hand, in_hand_most; // asked and not answered, under the lock
} world = {.lock = LOCK_INIT};

// The result is what was asked with, or a binary of so many bytes.
static inline void
world_reply(struct rpc_conn *conn, const struct rpc_request *request, size_t bytes)
{
    struct encode answer;
    encode_init(&answer, 1u << 30);
    encode_array(&answer, 4);
    encode_u64(&answer, RPC_ANSWER);
    encode_u64(&answer, request->id);
    encode_nil(&answer);
    if (bytes == 0) {
        encode_raw(&answer, request->params.bytes, request->params.count);
    } else {
        uint8_t *body = mem_alloc_zero(1, bytes);
        encode_bytes(&answer, (struct wire_bytes){body, (uint32_t)bytes});
        mem_free(body);
    }
    ck_assert_int_eq(answer.status, OMEN_OK);
    rpc_conn_answer(conn, request->id, &answer);
    mem_free(request->frame);
    rpc_conn_release(conn);
}

static inline void
world_request(void *context, struct rpc_conn *conn, const struct rpc_request *request)
{
    ck_assert_ptr_eq(context, &world);
    if (!world.hold) {
        world_reply(conn, request, world.answer_bytes);
        atomic_fetch_add(&world.asked_count, 1);
        return;
    }
    lock_acquire(&world.lock);
    const uint32_t at = atomic_load(&world.asked_count);
    ck_assert_uint_lt(at, ASKED_MAX);
    world.asked[at] = (struct asked){conn, *request};
    world.in_hand++;
    if (world.in_hand > world.in_hand_most)
        world.in_hand_most = world.in_hand;
    atomic_fetch_add(&world.asked_count, 1);
    lock_release(&world.lock);
    os_wake_all(&world.asked_count);
}

// The one that came as number `at` is the caller's.
static inline struct asked
world_take(uint32_t at)
{
    lock_acquire(&world.lock);
    struct asked *asked = &world.asked[at];
    const struct asked taken = *asked;
    asked->conn = NULL;
    world.in_hand--;
    lock_release(&world.lock);
    ck_assert_ptr_nonnull(taken.conn);
    return taken;
}

// Answers the one that came as number `at`.
static inline void
world_answer(uint32_t at)
{
    const struct asked taken = world_take(at);
    world_reply(taken.conn, &taken.request, 0);
}

static inline void
world_requested(void *context, bool alone)
{
    ck_assert_ptr_eq(context, &world);
    atomic_fetch_add(&world.requested_calls, 1);
    atomic_fetch_add(&world.requested_alone, alone);
    atomic_store(&world.requested_count, atomic_load(&world.asked_count));
    os_wake_all(&world.requested_count);
}

static inline void
world_gone(void *context, struct rpc_conn *conn)
{
    ck_assert_ptr_eq(context, &world);
    ck_assert_ptr_nonnull(conn);
    atomic_fetch_add(&world.gone_count, 1);
    os_wake_all(&world.gone_count);
}

static inline void
world_welcome(void *context, struct api_welcome *welcome)
{
    ck_assert_ptr_eq(context, &world);
    welcome->version = wire_text_of("0.1");
    welcome->cluster = wire_text_of("00000000-0000-0000-0000-000000000001");
}

static _Atomic bool world_asks_for_keys;

static inline bool
world_asks(void *context)
{
    ck_assert_ptr_eq(context, &world);
    return atomic_load(&world_asks_for_keys);
}

// From now on, or not any more.
static inline void
world_ask_for_keys(bool asks)
{
    atomic_store(&world_asks_for_keys, asks);
}

// The key "good" may read, and is named so; of "soon" nothing is known yet.
static inline omen_status
world_admit(void *context, struct wire_text key, struct rpc_session *session)
{
    ck_assert_ptr_eq(context, &world);
    if (key.count == 4 && memcmp(key.bytes, "soon", 4) == 0)
        return OMEN_E_BUSY;
    if (key.count != 4 || memcmp(key.bytes, "good", 4) != 0)
        return OMEN_E_AUTH;
    session->rights = RIGHT_READ;
    memcpy(session->key, "reader", sizeof "reader");
    memcpy(session->glob, "docs-*", sizeof "docs-*");
    return OMEN_OK;
}

static _Atomic bool world_revoked;

static inline bool
world_holds(void *context, struct rpc_session *session)
{
    ck_assert_ptr_eq(context, &world);
    ck_assert_str_eq(session->key, "reader");
    return !atomic_load(&world_revoked);
}

// Where a test wants other limits it sets them in world.config before.
static inline void
world_open(void)
{
    world.config.host = "127.0.0.1";
    world.config.tick_ms = 5;
    world.config.context = &world;
    world.config.asks = world_asks;
    world.config.admit = world_admit;
    world.config.holds = world_holds;
    world.config.welcome = world_welcome;
    world.config.request = world_request;
    world.config.requested = world_requested;
    world.config.gone = world_gone;
    struct omen_error error = {0};
    ck_assert_msg(rpc_server_open(&world.config, &world.server, &error) == OMEN_OK, "%s",
                  error.text);
}

// What was not answered is let go.
static inline void
world_close(void)
{
    rpc_server_close(world.server);
    for (uint32_t i = 0; world.hold && i < atomic_load(&world.asked_count); i++) {
        if (world.asked[i].conn == NULL)
            continue;
        mem_free(world.asked[i].request.frame);
        rpc_conn_release(world.asked[i].conn);
    }
}

static inline struct tcp_client
world_connect(void)
{
    return tcp_connect(rpc_server_port(world.server));
}

static inline struct rpc_server_stats
world_stats(void)
{
    struct rpc_server_stats stats;
    rpc_server_stats(world.server, &stats);
    return stats;
}

// A ping and its answer: the server has this connection, and has read all that came before.
static inline void
world_ping(struct tcp_client *client)
{
    const struct api_nothing nothing = {0};
    rpc_ask(client, 4000000000u, METHOD_SYSTEM_PING, &nothing);
    rpc_expect(client, 4000000000u, NULL);
}

// A request that the world echoes; `text` is the collection's name.
static inline void
world_ask(struct tcp_client *client, uint32_t id, const char *text)
{
    const struct api_of_collection ask = {.collection = wire_text_of(text)};
    rpc_ask(client, id, METHOD_COLLECTION_GET, &ask);
}

static inline void
world_hello(struct tcp_client *client, uint32_t id, const char *key)
{
    const struct api_hello hello = {.client = wire_text_of("test"), .api_key = wire_text_of(key)};
    rpc_ask(client, id, METHOD_SYSTEM_HELLO, &hello);
}

#endif
