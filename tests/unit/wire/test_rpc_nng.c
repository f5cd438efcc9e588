// tests/unit/wire/test_rpc_nng.c -- clients over real sockets: pipelining, answers in any order, hello, and the end of the server.
//
// Labels: tsan
#include "wire/rpc_server.h"

#include <sched.h>

#include "base/os_thread.h"
#include "base/prng.h"
#include "base/spin.h"
#include "tests/lib/rpc_world.h"

START_TEST(a_request_comes_whole_and_its_answer_goes_back)
{
    world_open();
    struct tcp_client client = world_connect();
    world_ask(&client, 7, "docs");
    struct rpc_message message;
    const size_t bytes = rpc_receive(&client, &message);
    ck_assert_uint_gt(bytes, 0);
    ck_assert_uint_eq(message.id, 7);
    ck_assert_uint_eq(message.error.count, 0);
    static const uint8_t expected[] = "\x91\x81\xaa"
                                      "collection\xa4"
                                      "docs";
    ck_assert_uint_eq(message.result.count, sizeof expected - 1);
    ck_assert(memcmp(message.result.bytes, expected, sizeof expected - 1) == 0);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_any_order)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    for (uint32_t id = 0; id < 5; id++)
        world_ask(&client, id, "docs");
    await(&world.asked_count, 5);
    static const uint32_t order[] = {3, 0, 4, 1, 2};
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(world.asked[i].request.id, i);
        world_answer(order[i]);
    }
    for (uint32_t i = 0; i < 5; i++)
        rpc_expect(&client, order[i], NULL);
    tcp_leave(&client);
    world_close();
}
END_TEST

// Several messages in one segment, of which the last is no request to be handed on.
START_TEST(requests_that_are_read_together_are_said_to_be_all)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    const struct api_nothing nothing = {0};
    struct encode encode;
    encode_init(&encode, 4096);
    for (uint32_t id = 0; id < 20; id++)
        rpc_write_ask(&encode, id, method_at(METHOD_COLLECTION_GET), &ask);
    rpc_write_ask(&encode, 20, method_at(METHOD_SYSTEM_PING), &nothing);
    tcp_send(&client, encode.bytes, encode.count);
    await(&world.requested_count, 20);
    ck_assert_uint_le(atomic_load(&world.requested_calls), 20);
    rpc_expect(&client, 20, NULL);
    const uint32_t calls = atomic_load(&world.requested_calls);
    world_ping(&client); // nothing of it is handed on
    ck_assert_uint_eq(atomic_load(&world.requested_calls), calls);
    for (uint32_t at = 0; at < 20; at++)
        world_answer(at);
    for (uint32_t id = 0; id < 20; id++)
        rpc_expect(&client, id, NULL);
    encode_fini(&encode);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(answers_that_are_gathered_leave_when_they_are_told_to)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    for (uint32_t id = 0; id < 3; id++)
        world_ask(&client, id, "docs");
    await(&world.asked_count, 3);
    struct rpc_conn *conn = world.asked[0].conn;
    rpc_conn_keep(conn);
    for (uint32_t at = 0; at < 3; at++) {
        const struct asked taken = world_take(at);
        struct encode answer;
        encode_init(&answer, 1u << 20);
        rpc_write_answer(&answer, taken.request.id, method_at(METHOD_SYSTEM_PING),
                         &(struct api_nothing){0});
        if (at == 2)
            answer.status = OMEN_E_NO_MEMORY; // is told, and that leaves at once, with the others
        rpc_conn_gather(taken.conn, taken.request.id, &answer);
        mem_free(taken.request.frame);
        rpc_conn_release(taken.conn);
    }
    rpc_conn_send(conn);
    rpc_conn_release(conn);
    rpc_expect(&client, 0, NULL);
    rpc_expect(&client, 1, NULL);
    rpc_expect(&client, 2, "NO_MEMORY");
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(an_answer_that_does_not_fit_or_was_never_written_is_told_and_the_connection_goes_on)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    static const struct {
        bool written;
        size_t most;
        const char *error;
    } answers[] = {{true, 4, "INVALID"}, {false, 64, "NO_MEMORY"}, {true, 64, NULL}};
    for (uint32_t i = 0; i < 3; i++) {
        world_ask(&client, i, "docs");
        await(&world.asked_count, i + 1);
        const struct asked taken = world_take(i);
        struct encode answer;
        encode_init(&answer, answers[i].most);
        if (answers[i].written)
            rpc_write_answer(&answer, taken.request.id, method_at(METHOD_SYSTEM_PING),
                             &(struct api_nothing){0});
        rpc_conn_answer(taken.conn, taken.request.id, &answer);
        ck_assert_ptr_null(answer.bytes);
        mem_free(taken.request.frame);
        rpc_conn_release(taken.conn);
        rpc_expect(&client, i, answers[i].error);
    }
    tcp_leave(&client);
    world_close();
}
END_TEST

// Until the server has looked out for more so often.
static void
wait_for_looks(uint64_t least)
{
    while (world_stats().streams.looks < least)
        (void)sched_yield();
}

static void
ask_often(struct tcp_client *client, uint32_t count)
{
    for (uint32_t id = 0; id < count; id++) {
        world_ask(client, id, "docs");
        rpc_expect(client, id, NULL);
    }
}

START_TEST(the_one_client_that_asks_one_after_the_other_is_looked_out_for)
{
    world_open();
    struct tcp_client client = world_connect();
    ask_often(&client, SPIN_RUN + 1);
    wait_for_looks(1);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(of_two_clients_that_ask_in_turns_none_is_looked_out_for)
{
    world_open();
    struct tcp_client first = world_connect();
    struct tcp_client second = world_connect();
    for (uint32_t i = 0; i < 50; i++) {
        ask_often(&first, 1);
        ask_often(&second, 1);
    }
    ck_assert_uint_eq(world_stats().streams.looks, 0);
    tcp_leave(&first);
    tcp_leave(&second);
    world_close();
}
END_TEST

START_TEST(who_has_two_in_flight_is_not_looked_out_for)
{
    world_open();
    struct tcp_client client = world_connect();
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    struct encode encode;
    encode_init(&encode, 4096);
    for (uint32_t i = 0; i < 50; i++) {
        rpc_write_ask(&encode, 1, method_at(METHOD_COLLECTION_GET), &ask);
        rpc_write_ask(&encode, 2, method_at(METHOD_COLLECTION_GET), &ask);
        rpc_send(&client, &encode);
        rpc_expect(&client, 1, NULL);
        rpc_expect(&client, 2, NULL);
    }
    ck_assert_uint_eq(world_stats().streams.looks, 0);
    encode_fini(&encode);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(as_long_as_another_waits_for_an_answer_nobody_is_looked_out_for)
{
    world.hold = true;
    world_open();
    struct tcp_client other = world_connect();
    struct tcp_client gone = world_connect();
    struct tcp_client client = world_connect();
    world_ask(&other, 1, "docs");
    await(&world.asked_count, 1);
    world_ask(&gone, 1, "docs");
    await(&world.asked_count, 2);
    for (uint32_t i = 0; i < 50; i++)
        world_ping(&client);
    world_answer(0);
    rpc_expect(&other, 1, NULL);
    for (uint32_t i = 0; i < 50; i++)
        world_ping(&client);
    ck_assert_uint_eq(world_stats().streams.looks, 0);
    // Who is gone is let go instead of answered.
    tcp_leave(&gone);
    await(&world.gone_count, 1);
    const struct asked taken = world_take(1);
    mem_free(taken.request.frame);
    rpc_conn_release(taken.conn);
    while (world_stats().streams.looks == 0)
        world_ping(&client);
    tcp_leave(&other);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(a_request_may_come_in_single_bytes)
{
    world_open();
    struct tcp_client client = world_connect();
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    struct encode encode;
    encode_init(&encode, 4096);
    rpc_write_ask(&encode, 1, method_at(METHOD_COLLECTION_GET), &ask);
    rpc_write_ask(&encode, 2, method_at(METHOD_COLLECTION_GET), &ask);
    for (size_t i = 0; i < encode.count; i++)
        tcp_send(&client, encode.bytes + i, 1);
    rpc_expect(&client, 1, NULL);
    rpc_expect(&client, 2, NULL);
    encode_fini(&encode);
    tcp_leave(&client);
    world_close();
}
END_TEST

// [0, id, "collection.get", binary], of exactly so many bytes.
static void
write_large(struct encode *encode, uint32_t id, size_t bytes)
{
    const size_t before = encode->count;
    encode_array(encode, 4);
    encode_u64(encode, RPC_REQUEST);
    encode_u64(encode, id);
    encode_word(encode, "collection.get");
    const size_t head = encode->count - before + 5; // of a binary with a length of four bytes
    ck_assert_uint_ge(bytes, head + 65536);
    encode_raw(encode, "\xc6", 1);
    for (uint32_t i = 0; i < 4; i++) {
        const uint8_t byte = (uint8_t)((bytes - head) >> (24 - 8 * i));
        encode_raw(encode, &byte, 1);
    }
    uint8_t *body = encode_reserve(encode, bytes - head);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < bytes - head; i++)
        body[i] = (uint8_t)(i * 2654435761u >> 24);
}

START_TEST(the_largest_frame_passes_and_one_byte_more_does_not)
{
    world_open();
    struct tcp_client client = world_connect();
    struct encode encode;
    encode_init(&encode, (size_t)WIRE_FRAME_BYTES_MAX + 16);
    write_large(&encode, 1, WIRE_FRAME_BYTES_MAX);
    tcp_send(&client, encode.bytes, encode.count);
    struct rpc_message message;
    const size_t bytes = rpc_receive(&client, &message);
    ck_assert_uint_gt(bytes, 0);
    ck_assert(memcmp(message.result.bytes, encode.bytes + encode.count - message.result.count,
                     message.result.count) == 0);
    tcp_forget(&client, bytes);

    encode_reset(&encode);
    write_large(&encode, 2, WIRE_FRAME_BYTES_MAX + 1);
    (void)tcp_try_send(&client, encode.bytes, 64); // its head is enough
    tcp_expect_end(&client);
    ck_assert_uint_eq(world_stats().refused_frames[FRAME_TOO_LONG], 1);
    encode_fini(&encode);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(a_large_frame_among_small_ones_is_the_same)
{
    world_open();
    struct tcp_client client = world_connect();
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    struct encode encode;
    encode_init(&encode, 1u << 23);
    rpc_write_ask(&encode, 1, method_at(METHOD_COLLECTION_GET), &ask);
    const size_t from = encode.count;
    write_large(&encode, 2, 3000000);
    const size_t to = encode.count;
    rpc_write_ask(&encode, 3, method_at(METHOD_COLLECTION_GET), &ask);
    tcp_send(&client, encode.bytes, encode.count);
    rpc_expect(&client, 1, NULL);
    struct rpc_message message;
    const size_t bytes = rpc_receive(&client, &message);
    ck_assert_uint_eq(message.id, 2);
    ck_assert_uint_lt(message.result.count, to - from);
    ck_assert(memcmp(message.result.bytes, encode.bytes + to - message.result.count,
                     message.result.count) == 0);
    tcp_forget(&client, bytes);
    rpc_expect(&client, 3, NULL);
    encode_fini(&encode);
    tcp_leave(&client);
    world_close();
}
END_TEST

// ---- who may what ----

START_TEST(without_credentials_everybody_may_everything_and_hello_is_answered)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    world_ask(&client, 1, "docs");
    await(&world.asked_count, 1);
    ck_assert_uint_eq(world.asked[0].request.session.rights, RIGHT_ADMIN);
    ck_assert(!world.asked[0].request.session.greeted);
    world_answer(0);
    rpc_expect(&client, 1, NULL);

    const struct api_hello hello = {.errors = API_ERRORS_MAP};
    rpc_ask(&client, 2, METHOD_SYSTEM_HELLO, &hello);
    struct rpc_message message;
    const size_t bytes = rpc_receive(&client, &message);
    struct api_welcome welcome;
    ck_assert_int_eq(rpc_read_answer(&message, method_at(METHOD_SYSTEM_HELLO), &welcome, NULL),
                     OMEN_OK);
    ck_assert_uint_eq(welcome.limits.frame_bytes, WIRE_FRAME_BYTES_MAX);
    ck_assert_uint_eq(welcome.limits.inflight, 64);
    ck_assert_uint_eq(welcome.limits.k, TOPK_MAX);
    ck_assert_uint_eq(welcome.version.count, 3);
    tcp_forget(&client, bytes);

    static const uint8_t unknown[] = "\x94\x00\x03\xa3no!\x90"; // is told by a map now
    tcp_send(&client, unknown, sizeof unknown - 1);
    ck_assert_uint_gt(rpc_receive(&client, &message), 0);
    ck_assert_uint_eq(message.error.bytes[0] & 0xf0, 0x80);
    tcp_leave(&client);
    world_close();
}
END_TEST

// Of the next error, which is a map's head or a text's.
static uint8_t
next_error_head(struct tcp_client *client, uint8_t id)
{
    const uint8_t unknown[] = {0x94, 0, id, 0xa3, 'n', 'o', '!', 0x90};
    struct rpc_message message;
    tcp_send(client, unknown, sizeof unknown);
    const size_t bytes = rpc_receive(client, &message);
    ck_assert_uint_gt(message.error.count, 0);
    const uint8_t head = message.error.bytes[0];
    tcp_forget(client, bytes);
    return head;
}

START_TEST(a_hello_that_says_nothing_of_errors_leaves_them_as_they_were)
{
    world_open();
    struct tcp_client client = world_connect();
    static const uint8_t said[] = {API_ERRORS_MAP, 0, API_ERRORS_TEXT, 0};
    for (uint8_t i = 0; i < sizeof said; i++) {
        const struct api_hello hello = {.errors = said[i]};
        struct rpc_message message;
        rpc_ask(&client, 2 * i + 1u, METHOD_SYSTEM_HELLO, &hello);
        tcp_forget(&client, rpc_receive(&client, &message));
        const bool is_map = (next_error_head(&client, (uint8_t)(2 * i + 2)) & 0xf0) == 0x80;
        ck_assert_msg(is_map == (i < 2), "after hello %u", i);
    }
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(before_hello_with_a_good_key_only_hello_and_ping_are_heard)
{
    world_ask_for_keys(true);
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    world_ping(&client);
    world_ask(&client, 1, "docs");
    rpc_expect(&client, 1, "AUTH");
    world_hello(&client, 2, "bad");
    rpc_expect(&client, 2, "AUTH");
    world_hello(&client, 3, "");
    rpc_expect(&client, 3, "AUTH");
    world_ask(&client, 4, "docs");
    rpc_expect(&client, 4, "AUTH");
    world_hello(&client, 5, "good");
    rpc_expect(&client, 5, NULL);
    world_ask(&client, 6, "docs");
    await(&world.asked_count, 1);
    const struct rpc_session *session = &world.asked[0].request.session;
    ck_assert(session->greeted && session->rights == RIGHT_READ);
    ck_assert_str_eq(session->key, "reader");
    ck_assert_str_eq(session->glob, "docs-*");
    world_answer(0);
    rpc_expect(&client, 6, NULL);
    const struct api_change_node node = {.node = wire_text_of("n1")};
    rpc_ask(&client, 7, METHOD_NODE_DRAIN, &node);
    rpc_expect(&client, 7, "AUTH");
    world_hello(&client, 8, "worse"); // leaves the session as it was
    rpc_expect(&client, 8, "AUTH");
    world_ask(&client, 9, "docs");
    await(&world.asked_count, 2);
    world_answer(1);
    rpc_expect(&client, 9, NULL);
    const struct rpc_server_stats stats = world_stats();
    ck_assert_uint_eq(stats.no_hello, 2);
    ck_assert_uint_eq(stats.refused_hellos, 3);
    ck_assert_uint_eq(stats.hellos, 1);
    ck_assert_uint_eq(stats.no_right, 1);
    ck_assert_uint_eq(stats.requests, 2);
    tcp_leave(&client);
    world_close();
}
END_TEST

// One that said none, where none is asked for, goes on; hello and ping are heard as before.
START_TEST(a_key_that_is_revoked_ends_its_sessions_rights_and_no_others)
{
    world_open();
    struct tcp_client client = world_connect(), other = world_connect();
    world_hello(&client, 1, "good");
    rpc_expect(&client, 1, NULL);
    world_ask(&client, 2, "docs");
    rpc_expect(&client, 2, NULL);
    atomic_store(&world_revoked, true);
    for (uint32_t id = 3; id < 5; id++) { // and again
        world_ask(&client, id, "docs");
        rpc_expect(&client, id, "AUTH");
    }
    world_ping(&client);
    world_ask(&other, 1, "docs");
    rpc_expect(&other, 1, NULL);
    world_hello(&client, 6, "bad");
    rpc_expect(&client, 6, "AUTH");
    world_ask(&client, 7, "docs");
    rpc_expect(&client, 7, "AUTH");
    atomic_store(&world_revoked, false); // another key
    world_hello(&client, 8, "good");
    rpc_expect(&client, 8, NULL);
    world_ask(&client, 9, "docs");
    rpc_expect(&client, 9, NULL);
    const struct rpc_server_stats stats = world_stats();
    ck_assert_uint_eq(stats.key_ended, 3);
    ck_assert_uint_eq(stats.no_hello, 0);
    ck_assert_uint_eq(stats.requests, 3);
    tcp_leave(&client);
    tcp_leave(&other);
    world_close();
}
END_TEST

START_TEST(a_key_that_nobody_can_judge_yet_is_told_to_come_again)
{
    world_open();
    struct tcp_client client = world_connect();
    world_hello(&client, 1, "soon");
    rpc_expect(&client, 1, "BUSY");
    world_hello(&client, 2, "good");
    rpc_expect(&client, 2, NULL);
    ck_assert_uint_eq(world_stats().refused_hellos, 1);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(a_key_that_is_wrong_is_refused_also_where_none_is_asked_for)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    world_hello(&client, 1, "bad");
    rpc_expect(&client, 1, "AUTH");
    world_hello(&client, 2, "good"); // has its rights, and no others
    rpc_expect(&client, 2, NULL);
    const struct api_change_node node = {.node = wire_text_of("n1")};
    rpc_ask(&client, 3, METHOD_NODE_DRAIN, &node);
    rpc_expect(&client, 3, "AUTH");
    world_hello(&client, 4, "");
    rpc_expect(&client, 4, NULL);
    rpc_ask(&client, 5, METHOD_NODE_DRAIN, &node);
    await(&world.asked_count, 1);
    ck_assert_str_eq(world.asked[0].request.session.key, "");
    world_answer(0);
    rpc_expect(&client, 5, NULL);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(who_came_without_a_key_is_asked_for_one_from_the_moment_it_is_wanted)
{
    world_open();
    struct tcp_client silent = world_connect(), greeted = world_connect();
    world_hello(&greeted, 1, "");
    rpc_expect(&greeted, 1, NULL);
    world_ask(&silent, 2, "docs");
    rpc_expect(&silent, 2, NULL);
    world_ask_for_keys(true);
    world_ask(&silent, 3, "docs");
    rpc_expect(&silent, 3, "AUTH");
    world_ask(&greeted, 4, "docs");
    rpc_expect(&greeted, 4, "AUTH");
    world_hello(&greeted, 5, "good");
    rpc_expect(&greeted, 5, NULL);
    world_ask(&greeted, 6, "docs");
    rpc_expect(&greeted, 6, NULL);
    struct tcp_client late = world_connect();
    world_ask(&late, 7, "docs");
    rpc_expect(&late, 7, "AUTH");
    world_ask_for_keys(false);
    world_ask(&late, 8, "docs");
    rpc_expect(&late, 8, NULL);
    tcp_leave(&silent);
    tcp_leave(&greeted);
    tcp_leave(&late);
    world_close();
}
END_TEST

START_TEST(what_is_no_request_is_told_or_ignored)
{
    world_open();
    struct tcp_client client = world_connect();
    static const uint8_t note[] = "\x93\x02\xb4nvim_set_client_info\x90";
    static const uint8_t answer[] = "\x94\x01\x05\xc0\xc0";
    static const uint8_t unknown[] = "\x94\x00\x01\xa9point.fly\x90";
    static const uint8_t number[] = "\x94\x00\x02\x2a\x90";
    static const uint8_t key[] = "\x94\x00\x03\xabsystem.ping\x91\x81\xa6"
                                 "colour\xa4"
                                 "blue";
    tcp_send(&client, note, sizeof note - 1);
    tcp_send(&client, answer, sizeof answer - 1);
    tcp_send(&client, unknown, sizeof unknown - 1);
    tcp_send(&client, number, sizeof number - 1);
    tcp_send(&client, key, sizeof key - 1);
    rpc_expect(&client, 1, "METHOD");
    rpc_expect(&client, 2, "INVALID");
    rpc_expect(&client, 3, "INVALID");
    world_ping(&client);
    const struct rpc_server_stats stats = world_stats();
    ck_assert_uint_eq(stats.notes, 2);
    ck_assert_uint_eq(stats.no_method, 1);
    ck_assert_uint_eq(stats.malformed, 2);
    tcp_leave(&client);
    world_close();
}
END_TEST

// ---- the end ----

static void *
close_world(void *unused)
{
    (void)unused;
    rpc_server_close(world.server);
    return NULL;
}

START_TEST(a_closing_server_answers_what_is_under_way_and_nothing_new)
{
    world.hold = true;
    world.config.drain_ms = 60000;
    world.config.in_flight_max = ASKED_MAX;
    world_open();
    struct tcp_client client = world_connect();
    world_ask(&client, 1, "docs");
    await(&world.asked_count, 1);
    pthread_t closer;
    ck_assert_int_eq(os_thread_start(&closer, close_world, NULL), 0);
    uint32_t asked = 1;
    while (world_stats().closing == 0) { // until it has begun
        world_ask(&client, ++asked, "docs");
        while (atomic_load(&world.asked_count) + world_stats().closing < asked)
            sched_yield();
    }
    for (uint32_t i = 0; i < atomic_load(&world.asked_count); i++)
        world_answer(i);
    ck_assert_int_eq(pthread_join(closer, NULL), 0);
    struct rpc_message message;
    uint32_t answers = 0;
    for (size_t bytes; (bytes = rpc_receive(&client, &message)) > 0; answers++)
        tcp_forget(&client, bytes);
    ck_assert_uint_eq(answers, asked);
    ck_assert_uint_eq(atomic_load(&world.gone_count), 1);
    tcp_leave(&client);
}
END_TEST

START_TEST(an_answer_to_who_is_gone_goes_nowhere_even_when_the_server_is_closed)
{
    world.hold = true;
    world.config.drain_ms = 1;
    world_open();
    struct tcp_client client = world_connect();
    struct tcp_client other = world_connect();
    world_ask(&client, 1, "docs");
    await(&world.asked_count, 1);
    world_ask(&other, 1, "docs");
    await(&world.asked_count, 2);
    tcp_reset(&client);
    await(&world.gone_count, 1);
    world_answer(0);
    rpc_server_close(world.server);
    ck_assert_uint_eq(atomic_load(&world.gone_count), 2);
    world_answer(1);
    tcp_expect_end(&other);
    tcp_leave(&other);
}
END_TEST

// The port is its own from the beginning.
START_TEST(who_connects_to_a_server_that_is_shut_is_closed_until_it_lets_in)
{
    struct omen_error error = {0};
    struct rpc_server *other;
    world.config.shut = true;
    world_open();
    for (uint32_t i = 0; i < 3; i++) {
        struct tcp_client early = world_connect();
        tcp_expect_end(&early);
        tcp_leave(&early);
    }
    struct rpc_server_config same = world.config;
    same.port = rpc_server_port(world.server);
    ck_assert_int_eq(rpc_server_open(&same, &other, &error), OMEN_E_INVALID);
    rpc_server_let_in(world.server);
    struct tcp_client client = world_connect();
    world_ask(&client, 1, "docs");
    rpc_expect(&client, 1, NULL);
    tcp_leave(&client);
    await(&world.gone_count, 1);
    ck_assert_uint_eq(atomic_load(&world.gone_count), 1); // the others never were
    world_close();
}
END_TEST

START_TEST(a_server_that_is_shut_may_be_closed)
{
    world.config.shut = true;
    world_open();
    struct tcp_client early = world_connect();
    world_close();
    tcp_expect_end(&early);
    tcp_leave(&early);
}
END_TEST

START_TEST(where_somebody_listens_already_is_said)
{
    world_open();
    struct rpc_server_config config = world.config;
    config.port = rpc_server_port(world.server);
    struct rpc_server *second;
    struct omen_error error = {0};
    ck_assert_int_eq(rpc_server_open(&config, &second, &error), OMEN_E_INVALID);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot listen on 127.0.0.1, port "));
    config.host = "no such host/";
    ck_assert_int_eq(rpc_server_open(&config, &second, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "no such host"));
    world_close();

    config.host = "127.0.0.1"; // and is free at once when it is closed
    ck_assert_msg(rpc_server_open(&config, &world.server, &error) == OMEN_OK, "%s", error.text);
    struct tcp_client client = world_connect();
    world_ping(&client);
    tcp_leave(&client);
    world_close();
}
END_TEST

// ---- many at once ----

#define STORM_CLIENTS 6u
#define STORM_VISITS 12u
#define STORM_REQUESTS 40u
#define STORM_WORKERS 2u

static _Atomic uint32_t storm_next;

// Two of them answer in an order of their own. An entry without a connection sends one home.
static void *
storm_worker(void *unused)
{
    (void)unused;
    for (;;) {
        const uint32_t at = atomic_fetch_add(&storm_next, 1);
        await(&world.asked_count, at + 1);
        if (world.asked[at].conn == NULL)
            return NULL;
        world_answer(at);
    }
}

// A visit: requests of random sizes at once, and their answers, or a leave in the middle.
static void
storm_visit(struct prng *prng, struct encode *encode)
{
    struct tcp_client client = world_connect();
    const uint32_t count = 1 + prng_below(prng, STORM_REQUESTS);
    char text[64];
    encode_reset(encode);
    for (uint32_t id = 0; id < count; id++) {
        memset(text, 'a' + (int)(id % 26), sizeof text);
        const struct api_of_collection ask = {
            .collection = {text, 1 + prng_below(prng, (uint32_t)sizeof text)}};
        rpc_write_ask(encode, id, method_at(METHOD_COLLECTION_GET), &ask);
    }
    tcp_send(&client, encode->bytes, encode->count);
    const bool leaves = prng_below(prng, 4) == 0;
    const uint32_t wanted = leaves ? prng_below(prng, count) : count;
    bool came[STORM_REQUESTS] = {false};
    for (uint32_t i = 0; i < wanted; i++) {
        struct rpc_message message;
        const size_t bytes = rpc_receive(&client, &message);
        ck_assert_uint_gt(bytes, 0);
        ck_assert_uint_lt(message.id, count);
        ck_assert(!came[message.id]);
        came[message.id] = true;
        ck_assert_uint_eq(message.result.bytes[message.result.count - 1], 'a' + message.id % 26);
        tcp_forget(&client, bytes);
    }
    if (leaves && prng_below(prng, 2) == 0)
        tcp_reset(&client);
    else
        tcp_leave(&client);
}

static void *
storm_client(void *number)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)(uintptr_t)number);
    struct encode encode;
    encode_init(&encode, 1u << 20);
    for (uint32_t i = 0; i < STORM_VISITS; i++)
        storm_visit(&prng, &encode);
    encode_fini(&encode);
    return NULL;
}

START_TEST(in_a_storm_everybody_gets_each_answer_once)
{
    world.hold = true;
    world.config.in_flight_max = 8;
    world_open();
    pthread_t clients[STORM_CLIENTS], workers[STORM_WORKERS];
    for (uintptr_t i = 0; i < STORM_WORKERS; i++)
        ck_assert_int_eq(os_thread_start(&workers[i], storm_worker, NULL), 0);
    for (uintptr_t i = 0; i < STORM_CLIENTS; i++)
        ck_assert_int_eq(os_thread_start(&clients[i], storm_client, (void *)(i + 1)), 0);
    for (uint32_t i = 0; i < STORM_CLIENTS; i++)
        ck_assert_int_eq(pthread_join(clients[i], NULL), 0);
    await(&world.gone_count, STORM_CLIENTS * STORM_VISITS);
    atomic_fetch_add(&world.asked_count, STORM_WORKERS);
    os_wake_all(&world.asked_count);
    for (uint32_t i = 0; i < STORM_WORKERS; i++)
        ck_assert_int_eq(pthread_join(workers[i], NULL), 0);
    ck_assert_uint_eq(world.in_hand, 0);
    world_close();
}
END_TEST

// Clients that have asked for more than may be in flight, so that answers also go on reading; some leave, and then the server closes.
static void
close_in_a_storm(uint32_t round)
{
    struct tcp_client clients[STORM_CLIENTS];
    pthread_t workers[STORM_WORKERS];
    atomic_store(&storm_next, 0);
    atomic_store(&world.asked_count, 0);
    atomic_store(&world.gone_count, 0);
    world_open();
    for (uint32_t i = 0; i < STORM_CLIENTS; i++) {
        clients[i] = world_connect();
        world_ping(&clients[i]);
        for (uint32_t id = 0; id < STORM_REQUESTS; id++)
            world_ask(&clients[i], id, "docs");
    }
    for (uint32_t i = 0; i < STORM_WORKERS; i++)
        ck_assert_int_eq(os_thread_start(&workers[i], storm_worker, NULL), 0);
    await(&world.asked_count, 1 + 7 * (round % 8));
    const uint32_t left = round % STORM_CLIENTS;
    for (uint32_t i = 0; i < left; i++)
        tcp_reset(&clients[i]);
    rpc_server_close(world.server);
    ck_assert_uint_eq(atomic_load(&world.gone_count), STORM_CLIENTS);
    atomic_fetch_add(&world.asked_count, STORM_WORKERS); // what was asked is answered all the same
    os_wake_all(&world.asked_count);
    for (uint32_t i = 0; i < STORM_WORKERS; i++)
        ck_assert_int_eq(pthread_join(workers[i], NULL), 0);
    ck_assert_uint_eq(world.in_hand, 0);
    for (uint32_t i = left; i < STORM_CLIENTS; i++)
        tcp_leave(&clients[i]);
}

START_TEST(a_server_that_closes_in_a_storm_ends_each_connection_once_and_later_answers_go_nowhere)
{
    world.hold = true;
    world.config.in_flight_max = 8;
    world.config.drain_ms = 1;
    for (uint32_t round = 0; round < 24; round++)
        close_in_a_storm(round);
}
END_TEST

START_TEST(who_asks_one_by_one_and_nobody_beside_him_is_told_of)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    const uint32_t before = SPIN_RUN + 1;
    for (uint32_t id = 0; id < before + 5; id++) {
        world_ask(&client, id, "docs");
        await(&world.requested_count, id + 1);
        ck_assert_uint_eq(atomic_load(&world.requested_alone), id < before ? 0 : id + 1 - before);
        world_answer(id);
        rpc_expect(&client, id, NULL);
    }
    for (uint32_t id = before + 5; id < before + 7; id++) { // the second beside the first
        world_ask(&client, id, "docs");
        await(&world.requested_count, id + 1);
        ck_assert_uint_eq(atomic_load(&world.requested_alone), 6);
    }
    tcp_leave(&client);
    world_close();
}
END_TEST

static Suite *
rpc_nng_suite(void)
{
    Suite *suite = suite_create("wire/rpc_nng");
    TCase *tests = tcase_create("rpc");
    tcase_add_test(tests, a_request_comes_whole_and_its_answer_goes_back);
    tcase_add_test(tests, pipelined_requests_are_answered_in_any_order);
    tcase_add_test(tests, requests_that_are_read_together_are_said_to_be_all);
    tcase_add_test(tests, who_asks_one_by_one_and_nobody_beside_him_is_told_of);
    tcase_add_test(tests, answers_that_are_gathered_leave_when_they_are_told_to);
    tcase_add_test(tests, the_one_client_that_asks_one_after_the_other_is_looked_out_for);
    tcase_add_test(tests, of_two_clients_that_ask_in_turns_none_is_looked_out_for);
    tcase_add_test(tests, who_has_two_in_flight_is_not_looked_out_for);
    tcase_add_test(
        tests, an_answer_that_does_not_fit_or_was_never_written_is_told_and_the_connection_goes_on);
    tcase_add_test(tests, as_long_as_another_waits_for_an_answer_nobody_is_looked_out_for);
    tcase_add_test(tests, a_request_may_come_in_single_bytes);
    tcase_add_test(tests, the_largest_frame_passes_and_one_byte_more_does_not);
    tcase_add_test(tests, a_large_frame_among_small_ones_is_the_same);
    tcase_add_test(tests, without_credentials_everybody_may_everything_and_hello_is_answered);
    tcase_add_test(tests, a_hello_that_says_nothing_of_errors_leaves_them_as_they_were);
    tcase_add_test(tests, before_hello_with_a_good_key_only_hello_and_ping_are_heard);
    tcase_add_test(tests, a_key_that_is_revoked_ends_its_sessions_rights_and_no_others);
    tcase_add_test(tests, a_key_that_nobody_can_judge_yet_is_told_to_come_again);
    tcase_add_test(tests, a_key_that_is_wrong_is_refused_also_where_none_is_asked_for);
    tcase_add_test(tests, who_came_without_a_key_is_asked_for_one_from_the_moment_it_is_wanted);
    tcase_add_test(tests, what_is_no_request_is_told_or_ignored);
    tcase_add_test(tests, a_closing_server_answers_what_is_under_way_and_nothing_new);
    tcase_add_test(tests, an_answer_to_who_is_gone_goes_nowhere_even_when_the_server_is_closed);
    tcase_add_test(tests, who_connects_to_a_server_that_is_shut_is_closed_until_it_lets_in);
    tcase_add_test(tests, a_server_that_is_shut_may_be_closed);
    tcase_add_test(tests, where_somebody_listens_already_is_said);
    tcase_add_test(tests, in_a_storm_everybody_gets_each_answer_once);
    tcase_add_test(
        tests,
        a_server_that_closes_in_a_storm_ends_each_connection_once_and_later_answers_go_nowhere);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(rpc_nng_suite)
