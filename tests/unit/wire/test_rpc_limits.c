// tests/unit/wire/test_rpc_limits.c -- what clients may not: each limit, who breaks it, and that nobody else pays for it.
//
// Labels: tsan waits
#include <malloc.h>
#include <stdio.h>

#include "tests/lib/rpc_world.h"
#include "wire/rpc_nng_int.h"

// Spins until the counter that `stats` reads is there: it is counted a moment after the other end saw it.
#define EVENTUALLY(stats_is)                                                                       \
    do {                                                                                           \
        struct rpc_server_stats stats;                                                             \
        do                                                                                         \
            stats = world_stats();                                                                 \
        while (!(stats_is));                                                                       \
    } while (0)

// ---- before hello ----

// A hello whose client's name makes it so long.
static void
write_hello(struct encode *encode, size_t bytes)
{
    char name[WIRE_HELLO_BYTES_MAX + 1];
    memset(name, 'x', sizeof name);
    const struct api_hello empty = {.api_key = wire_text_of("good")};
    encode_array(encode, 4);
    encode_u64(encode, RPC_REQUEST);
    encode_u64(encode, 1);
    encode_word(encode, "system.hello");
    encode_array(encode, 1);
    encode_map(encode, 3);
    encode_word(encode, "api_key");
    encode_text(encode, empty.api_key);
    encode_word(encode, "client");
    encode_text(encode, (struct wire_text){name, 1000});
    encode_word(encode, "version");
    encode_text(encode, (struct wire_text){name, (uint32_t)(bytes - encode->count - 3)});
    ck_assert_uint_eq(encode->count, bytes);
}

START_TEST(before_hello_a_message_of_4_kib_is_read_and_one_byte_more_is_not)
{
    world_ask_for_keys(true);
    world_open();
    struct encode encode;
    encode_init(&encode, 1u << 16);
    struct tcp_client fits = world_connect();
    write_hello(&encode, WIRE_HELLO_BYTES_MAX);
    rpc_send(&fits, &encode);
    struct rpc_message message; // the name is longer than names may be, and that is told
    ck_assert_uint_gt(rpc_receive(&fits, &message), 0);
    ck_assert_uint_eq(message.id, 1);

    struct tcp_client exceeds = world_connect();
    write_hello(&encode, WIRE_HELLO_BYTES_MAX + 1);
    (void)tcp_try_send(&exceeds, encode.bytes, encode.count);
    tcp_expect_end(&exceeds);
    ck_assert_uint_eq(world_stats().refused_frames[FRAME_TOO_LONG], 1);

    struct tcp_client later = world_connect(); // afterwards it may be longer
    world_hello(&later, 1, "good");
    rpc_expect(&later, 1, NULL);
    encode_reset(&encode);
    const uint8_t head[] = {0x94, 0x00, 0x02, 0xa1, 'x', 0xda, 0x40, 0x00};
    encode_raw(&encode, head, sizeof head);
    memset(encode_reserve(&encode, 0x4000), 'x', 0x4000);
    rpc_send(&later, &encode);
    rpc_expect(&later, 2, "METHOD");
    encode_fini(&encode);
    tcp_leave(&fits);
    tcp_leave(&exceeds);
    tcp_leave(&later);
    world_close();
}
END_TEST

START_TEST(who_does_not_say_hello_in_time_is_closed_however_slowly_it_speaks)
{
    world_ask_for_keys(true);
    world.config.hello_ms = 30;
    world_open();
    struct tcp_client silent = world_connect();
    struct tcp_client loris = world_connect();
    struct tcp_client talker = world_connect();
    static const uint8_t hello[] = "\x94\x00\x01\xacsystem.hello\x91\x81\xa6"
                                   "client\xda\x0f\x00"; // of 3,840 bytes
    tcp_send(&loris, hello, sizeof hello - 1);
    const struct api_nothing nothing = {0};
    struct encode ping;
    encode_init(&ping, 4096);
    rpc_write_ask(&ping, 1, method_at(METHOD_SYSTEM_PING), &nothing);
    struct rpc_message message;
    for (uint32_t said = 0;; said++) { // pings are no hello; the loris adds a byte with each
        if (!tcp_try_send(&talker, ping.bytes, ping.count))
            break;
        const size_t bytes = rpc_receive(&talker, &message);
        if (bytes == 0)
            break;
        tcp_forget(&talker, bytes);
        if (said < 3000) // it never says all
            (void)tcp_try_send(&loris, "x", 1);
    }
    tcp_expect_end(&silent);
    tcp_expect_end(&loris);
    EVENTUALLY(stats.streams.ended[STREAM_LATE] + stats.streams.ended[STREAM_LEFT] == 3);
    ck_assert_uint_ge(world_stats().streams.ended[STREAM_LATE], 2);
    encode_fini(&ping);
    tcp_leave(&silent);
    tcp_leave(&loris);
    tcp_leave(&talker);
    world_close();
}
END_TEST

// ---- messages ----

// What a thread's heap may reserve while nobody writes to it (64 MiB with glibc, each), of a few of them: far below the
// gigabytes that are claimed.
#define THREADS_BYTES ((size_t)1 << 30)

static size_t
address_space(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu", &pages), 1);
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(eight_bytes_that_claim_gigabytes_are_refused_at_once)
{
    (void)mallopt(M_ARENA_MAX, 1); // each other one takes 64 MiB of addresses
    world_open();
    static const struct {
        const char *bytes;
        enum frame_reason reason;
    } bombs[] = {
        {"\x94\x00\x01\xdd\xff\xff\xff\xff", FRAME_TOO_LONG}, // an array of 2^32 - 1
        {"\x94\x00\x01\xdf\x7f\xff\xff\xff", FRAME_TOO_LONG}, // a map
        {"\x94\x00\x01\xc6\xff\xff\xff\xff", FRAME_TOO_LONG}, // a binary
        {"\x94\x91\x91\x91\x91\x91\x91\x91", FRAME_FINE},     // this one is the next loop's
    };
    const size_t before = address_space();
    for (uint32_t i = 0; i < 3; i++) {
        struct tcp_client client = world_connect();
        tcp_send(&client, bombs[i].bytes, 8);
        tcp_expect_end(&client);
        tcp_leave(&client);
    }
    ck_assert_uint_eq(world_stats().refused_frames[FRAME_TOO_LONG], 3);
    struct tcp_client client = world_connect();
    for (uint32_t i = 0; i < 8 && tcp_try_send(&client, bombs[3].bytes, 8); i++)
        ;
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(world_stats().refused_frames[FRAME_TOO_DEEP], 1);
    ck_assert_uint_lt(address_space(), before + THREADS_BYTES);
    world_close();
}
END_TEST

START_TEST(what_is_announced_takes_no_memory_before_it_comes)
{
    (void)mallopt(M_ARENA_MAX, 1);
    world_open();
    static uint8_t begun[6000]; // more than the first buffer holds
    struct tcp_client clients[100];
    struct tcp_client other = world_connect();
    world_ping(&other);
    const size_t before = address_space();
    for (uint32_t i = 0; i < 100; i++) { // 1.5 GiB together
        clients[i] = world_connect();
        world_ping(&clients[i]);
        memcpy(begun, "\x94\x00\x01\xa1x\xc6\x00\xf0\x00\x00", 10);
        tcp_send(&clients[i], begun, sizeof begun);
    }
    world_ping(&other);
    ck_assert_uint_lt(address_space(), before + THREADS_BYTES);
    for (uint32_t i = 0; i < 100; i++)
        tcp_leave(&clients[i]);
    tcp_leave(&other);
    world_close();
}
END_TEST

START_TEST(garbage_closes_its_connection_and_no_other)
{
    world_open();
    struct tcp_client other = world_connect();
    world_ping(&other);
    static const struct {
        const char *bytes;
        uint32_t count;
        enum frame_reason reason;
    } garbage[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, FRAME_NOT_RPC},
        {"\x16\x03\x01\x02", 4, FRAME_NOT_RPC}, // TLS
        {"\0\0\0\0", 4, FRAME_NOT_RPC},
        {"\x94\x00\x01\xc1", 4, FRAME_MALFORMED},
    };
    for (uint32_t i = 0; i < 4; i++) {
        struct tcp_client client = world_connect();
        const uint64_t before = world_stats().refused_frames[garbage[i].reason];
        tcp_send(&client, garbage[i].bytes, garbage[i].count);
        tcp_expect_end(&client);
        ck_assert_uint_eq(world_stats().refused_frames[garbage[i].reason], before + 1);
        tcp_leave(&client);
        world_ping(&other);
    }
    struct tcp_client client = world_connect(); // whole, but nobody could be answered
    tcp_send(&client, "\x94\x00\xa1x\xa1x\x90", 7);
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(world_stats().no_message, 1);
    EVENTUALLY(stats.streams.ended[STREAM_REFUSED] == 5);
    world_ping(&other);
    tcp_leave(&other);
    world_close();
}
END_TEST

// ---- connections ----

START_TEST(of_1025_connections_the_last_is_closed_and_a_place_that_is_left_is_given_again)
{
    enum { PLACES = 1024 };
    static struct tcp_client clients[PLACES];
    tcp_allow(PLACES + 8);
    world_open();
    for (uint32_t i = 0; i < PLACES; i++) {
        clients[i] = world_connect();
        world_ping(&clients[i]);
    }
    struct tcp_client beyond = world_connect();
    tcp_expect_end(&beyond);
    tcp_leave(&beyond);
    ck_assert_uint_eq(world_stats().streams.crowded, 1);
    ck_assert_uint_eq(world_stats().streams.accepted, PLACES);
    for (uint32_t i = 0; i < PLACES; i += 100)
        world_ping(&clients[i]);
    tcp_leave(&clients[7]);
    await(&world.gone_count, 1);
    EVENTUALLY(stats.streams.open == PLACES - 1);
    clients[7] = world_connect();
    world_ping(&clients[7]);
    for (uint32_t i = 0; i < PLACES; i++)
        tcp_leave(&clients[i]);
    await(&world.gone_count, PLACES + 1);
    world_close();
}
END_TEST

// Fills all places but the first, by connections that have sent these bytes.
static void
crowd(struct tcp_client *clients, uint32_t places, const void *bytes, uint32_t count)
{
    for (uint32_t i = 1; i < places; i++) {
        clients[i] = world_connect();
        if (count > 0)
            tcp_send(&clients[i], bytes, count);
    }
    EVENTUALLY(stats.streams.open == places);
}

START_TEST(of_1024_that_have_said_nothing_whole_the_oldest_makes_room_for_each_that_comes)
{
    enum { PLACES = 1024, LATER = 3 };
    static struct tcp_client clients[PLACES];
    struct tcp_client later[LATER];
    tcp_allow(PLACES + LATER + 70);
    world.config.hello_ms = 600000; // none is closed for what it has not said
    world_open();
    clients[0] = world_connect(); // has been there longest, and is known
    world_ping(&clients[0]);
    crowd(clients, PLACES, "\x94\x00\x01", 3);
    for (uint32_t i = 0; i < LATER; i++) {
        later[i] = world_connect();
        world_ping(&later[i]);
        tcp_expect_end(&clients[1 + i]);
    }
    EVENTUALLY(stats.streams.ended[STREAM_CROWDED] == LATER && stats.streams.open == PLACES);
    ck_assert_uint_eq(world_stats().streams.crowded, 0);
    world_ping(&clients[0]);
    tcp_send(&clients[1 + LATER], "\xa1x\x90", 3); // one that is still there goes on
    rpc_expect(&clients[1 + LATER], 1, "METHOD");
    for (uint32_t i = 0; i < PLACES; i++)
        tcp_leave(&clients[i]);
    for (uint32_t i = 0; i < LATER; i++)
        tcp_leave(&later[i]);
    world_close();
}
END_TEST

START_TEST(where_keys_are_asked_for_who_has_said_none_makes_room_whatever_else_it_says)
{
    enum { PLACES = 8 };
    struct tcp_client clients[PLACES];
    world_ask_for_keys(true);
    world.config.hello_ms = 600000;
    world.config.connections_max = PLACES;
    world_open();
    for (uint32_t i = 0; i < PLACES; i++) {
        clients[i] = world_connect();
        world_ping(&clients[i]);
    }
    world_hello(&clients[0], 1, "good");
    rpc_expect(&clients[0], 1, NULL);
    struct tcp_client next = world_connect();
    world_hello(&next, 1, "good");
    rpc_expect(&next, 1, NULL);
    tcp_expect_end(&clients[1]);
    for (uint32_t i = 2; i < PLACES; i++) {
        world_hello(&clients[i], 1, "good");
        rpc_expect(&clients[i], 1, NULL);
    }
    EVENTUALLY(stats.streams.open == PLACES);
    struct tcp_client beyond = world_connect(); // all others have said a key
    tcp_expect_end(&beyond);
    ck_assert_uint_eq(world_stats().streams.crowded, 1);
    ck_assert_uint_eq(world_stats().streams.ended[STREAM_CROWDED], 1);
    tcp_leave(&beyond);
    tcp_leave(&next);
    for (uint32_t i = 0; i < PLACES; i++)
        tcp_leave(&clients[i]);
    world_close();
}
END_TEST

// Whether the server serves it, or has closed it at once.
static bool
is_let_in(struct tcp_client *client)
{
    const struct api_nothing nothing = {0};
    struct encode ping;
    struct rpc_message message;
    encode_init(&ping, 4096);
    rpc_write_ask(&ping, 1, method_at(METHOD_SYSTEM_PING), &nothing);
    const bool sent = tcp_try_send(client, ping.bytes, ping.count);
    const size_t bytes = sent ? rpc_receive(client, &message) : 0;
    encode_fini(&ping);
    tcp_forget(client, bytes);
    return bytes > 0;
}

// And takes no place of others, also where there is none left.
START_TEST(an_address_has_as_many_connections_as_it_may_and_the_next_is_closed_at_once)
{
    enum { PLACES = 6, OF_ADDRESS = 3 };
    struct tcp_client mine[OF_ADDRESS], others[OF_ADDRESS], beyond;
    world.config.connections_max = PLACES;
    world.config.connections_of_address_max = OF_ADDRESS;
    world_open();
    const uint16_t port = rpc_server_port(world.server);
    for (uint32_t i = 0; i < OF_ADDRESS; i++) {
        mine[i] = tcp_connect_from(1, port);
        ck_assert(is_let_in(&mine[i]));
    }
    for (uint32_t i = 1; i <= 5; i++) {
        beyond = tcp_connect_from(1, port);
        ck_assert(!is_let_in(&beyond));
        tcp_leave(&beyond);
        ck_assert_uint_eq(world_stats().streams.of_address, i);
    }
    for (uint32_t i = 0; i < OF_ADDRESS; i++) {
        others[i] = tcp_connect_from(2, port); // silent: the first to make room, if anybody had to
        EVENTUALLY(stats.streams.open == OF_ADDRESS + i + 1);
    }
    beyond = tcp_connect_from(1, port); // all places are taken, and its own address has too many
    ck_assert(!is_let_in(&beyond));
    ck_assert_uint_eq(world_stats().streams.of_address, 6);
    ck_assert_uint_eq(world_stats().streams.crowded, 0);
    for (uint32_t i = 0; i < OF_ADDRESS; i++) {
        ck_assert(is_let_in(&mine[i]));
        ck_assert(is_let_in(&others[i]));
    }
    tcp_leave(&mine[0]);
    EVENTUALLY(stats.streams.open == PLACES - 1);
    mine[0] = tcp_connect_from(1, port);
    ck_assert(is_let_in(&mine[0]));
    tcp_leave(&beyond);
    for (uint32_t i = 0; i < OF_ADDRESS; i++) {
        tcp_leave(&mine[i]);
        tcp_leave(&others[i]);
    }
    world_close();
}
END_TEST

// A place that is refused for want of any is not counted as its address's.
START_TEST(who_finds_no_place_at_all_costs_its_address_none)
{
    struct tcp_client known, beyond;
    world.config.connections_max = 1;
    world.config.connections_of_address_max = 2;
    world_open();
    known = world_connect();
    world_ping(&known);
    for (uint32_t i = 0; i < 5; i++) {
        beyond = world_connect();
        ck_assert(!is_let_in(&beyond));
        tcp_leave(&beyond);
    }
    ck_assert_uint_eq(world_stats().streams.crowded, 5);
    ck_assert_uint_eq(world_stats().streams.of_address, 0);
    tcp_leave(&known);
    world_close();
}
END_TEST

// A request of so many bytes, of which the echo has as many.
static void
write_long(struct encode *encode, size_t bytes)
{
    const uint8_t head[] = {0x94, 0x00, 0x01, 0xae};
    encode_reset(encode);
    encode_raw(encode, head, sizeof head);
    encode_raw(encode, "collection.get", 14);
    encode_array(encode, 1);
    const size_t text = bytes - encode->count - 5;
    const uint8_t body[] = {0xc6, (uint8_t)(text >> 24), (uint8_t)(text >> 16),
                            (uint8_t)(text >> 8), (uint8_t)text};
    encode_raw(encode, body, sizeof body);
    memset(encode_reserve(encode, text), 'x', text);
    ck_assert_uint_eq(encode->count, bytes);
}

START_TEST(a_message_is_as_long_as_was_configured_and_hello_says_so)
{
    struct encode encode;
    struct rpc_message message;
    struct api_welcome welcome;
    world.config.frame_bytes_max = WIRE_FRAME_BYTES_MIN;
    world.config.in_flight_max = 7;
    world_open();
    encode_init(&encode, 1u << 20);
    struct tcp_client fits = world_connect(), exceeds = world_connect();
    world_hello(&fits, 1, "");
    const size_t bytes = rpc_receive(&fits, &message);
    ck_assert_int_eq(rpc_read_answer(&message, method_at(METHOD_SYSTEM_HELLO), &welcome, NULL),
                     OMEN_OK);
    ck_assert_uint_eq(welcome.limits.frame_bytes, WIRE_FRAME_BYTES_MIN);
    ck_assert_uint_eq(welcome.limits.inflight, 7);
    tcp_forget(&fits, bytes);
    write_long(&encode, WIRE_FRAME_BYTES_MIN);
    rpc_send(&fits, &encode);
    rpc_expect(&fits, 1, NULL);
    write_long(&encode, WIRE_FRAME_BYTES_MIN + 1);
    (void)tcp_try_send(&exceeds, encode.bytes, encode.count);
    tcp_expect_end(&exceeds);
    ck_assert_uint_eq(world_stats().refused_frames[FRAME_TOO_LONG], 1);
    encode_fini(&encode);
    tcp_leave(&fits);
    tcp_leave(&exceeds);
    world_close();
}
END_TEST

START_TEST(a_first_message_that_stays_half_is_closed_and_one_that_goes_on_is_waited_for)
{
    enum { LONG = 4 << 20 };
    world.config.hello_ms = 3000;
    world_open();
    struct tcp_client silent = world_connect(), longer = world_connect(), known = world_connect();
    uint8_t *text = mem_alloc_zero(1, LONG);
    static const uint8_t head[] = {0x94, 0x00, 0x01, 0xa1, 'x', 0xc6, 0x00, 0x40, 0x00, 0x00};
    world_ping(&known);
    tcp_send(&known, "\x94\x00\x01", 3); // a later message has as long as an idle connection
    tcp_send(&longer, head, sizeof head);
    tcp_send(&longer, text, LONG / 2); // half a minute's worth
    struct tcp_client half = world_connect();
    tcp_send(&half, "\x94\x00\x01", 3);
    tcp_expect_end(&half);
    EVENTUALLY(stats.streams.ended[STREAM_LATE] == 1);
    tcp_send(&longer, text, LONG / 2);
    rpc_expect(&longer, 1, "METHOD");
    tcp_send(&known, "\xa1x\x90", 3);
    rpc_expect(&known, 1, "METHOD");
    world_ping(&silent);
    ck_assert_uint_eq(world_stats().streams.ended[STREAM_LATE], 1);
    mem_free(text);
    tcp_leave(&half);
    tcp_leave(&longer);
    tcp_leave(&known);
    tcp_leave(&silent);
    world_close();
}
END_TEST

START_TEST(where_descriptors_have_run_out_accepting_goes_on_when_there_are_some)
{
    world_open();
    struct tcp_client first = world_connect();
    world_ping(&first);
    struct tcp_client second = {.fd = tcp_socket()};
    const int next = dup(second.fd); // the descriptor that comes next
    ck_assert_int_eq(close(next), 0);
    struct rlimit limit, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)next;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    const struct sockaddr_in to = tcp_loopback(rpc_server_port(world.server));
    ck_assert_int_eq(connect(second.fd, (const struct sockaddr *)&to, sizeof to), 0);
    EVENTUALLY(stats.streams.accept_failed >= 2);
    world_ping(&first); // goes on meanwhile
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    world_ping(&second);
    tcp_leave(&first);
    tcp_leave(&second);
    world_close();
}
END_TEST

START_TEST(a_client_that_closes_half_is_gone)
{
    world.hold = true;
    world_open();
    struct tcp_client client = world_connect();
    world_ask(&client, 1, "docs");
    await(&world.asked_count, 1);
    ck_assert_int_eq(shutdown(client.fd, SHUT_WR), 0);
    await(&world.gone_count, 1);
    EVENTUALLY(stats.streams.ended[STREAM_LEFT] == 1 && stats.streams.open == 0);
    tcp_expect_end(&client);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(who_says_nothing_for_too_long_is_closed_also_in_the_middle_of_a_message)
{
    world.config.idle_ms = 40;
    world_open();
    struct tcp_client silent = world_connect();
    struct tcp_client half = world_connect();
    tcp_send(&half, "\x94\x00\x01", 3);
    tcp_expect_end(&silent);
    tcp_expect_end(&half);
    EVENTUALLY(stats.streams.ended[STREAM_LATE] == 2);
    tcp_leave(&silent);
    tcp_leave(&half);
    world_close();
}
END_TEST

// ---- requests and answers under way ----

START_TEST(beyond_the_limit_in_flight_nothing_is_read_until_half_are_answered)
{
    world.hold = true;
    world.config.in_flight_max = 4;
    world_open();
    struct tcp_client client = world_connect();
    for (uint32_t id = 0; id < 12; id++)
        world_ask(&client, id, "docs");
    uint32_t answered = 0;
    await(&world.asked_count, 4);
    const struct rpc_conn *conn = world.asked[0].conn;
    for (uint32_t read = 4; read <= 12; read += 2) { // two are answered, and two come
        await(&world.asked_count, read);
        while (read < 12 && !atomic_load(&conn->waiting))
            ; // one answer before it has seen that four are in flight would let a fifth come
        world_answer(answered++);
        world_answer(answered++);
    }
    while (answered < 12)
        world_answer(answered++);
    for (uint32_t id = 0; id < 12; id++)
        rpc_expect(&client, id, NULL);
    ck_assert_uint_eq(world.in_hand_most, 4);
    ck_assert_uint_eq(atomic_load(&world.asked_count), 12);
    tcp_leave(&client);
    world_close();
}
END_TEST

START_TEST(a_client_that_does_not_read_is_closed_when_its_answers_are_too_many)
{
    world.config.answer_bytes_max = 1u << 20;
    world.answer_bytes = 200000;
    world_open();
    struct tcp_client other = world_connect();
    struct tcp_client client = world_connect();
    struct encode encode;
    encode_init(&encode, 4096);
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    rpc_write_ask(&encode, 1, method_at(METHOD_COLLECTION_GET), &ask);
    while (tcp_try_send(&client, encode.bytes, encode.count) && atomic_load(&world.gone_count) == 0)
        ;
    await(&world.gone_count, 1);
    EVENTUALLY(stats.streams.ended[STREAM_CLOGGED] == 1);
    world_ping(&other);
    encode_fini(&encode);
    tcp_leave(&client);
    tcp_leave(&other);
    world_close();
}
END_TEST

START_TEST(a_client_that_reads_nothing_for_too_long_is_closed_with_its_answer_unread)
{
    world.config.stall_ms = 50;
    world.answer_bytes = 48u << 20; // more than the kernel's buffers hold
    world_open();
    struct tcp_client client = world_connect();
    world_ask(&client, 1, "docs");
    await(&world.gone_count, 1);
    EVENTUALLY(stats.streams.ended[STREAM_CLOGGED] == 1);
    tcp_leave(&client);
    world_close();
}
END_TEST

// ---- what waits in all connections together ----

#define WEIGHT_MIB_MAX 1u
#define WEIGHT_MAX ((size_t)WEIGHT_MIB_MAX << 20)

// So many bytes of a message of 8 MiB; `first`: from its beginning.
static void
send_part(struct tcp_client *client, size_t bytes, bool first)
{
    static const uint8_t head[] = {0x94, 0x00, 0x01, 0xa1, 'x', 0xc6, 0x00, 0x80, 0x00, 0x00};
    uint8_t *part = mem_alloc_zero(1, bytes);
    if (first)
        memcpy(part, head, sizeof head);
    ck_assert(tcp_try_send(client, part, bytes));
    mem_free(part);
}

START_TEST(parts_of_messages_may_be_so_much_together_and_one_byte_more_costs_the_heaviest)
{
    enum { PARTS = 3 };
    static const size_t sizes[PARTS] = {WEIGHT_MAX / 4, WEIGHT_MAX / 2 + 1, WEIGHT_MAX / 4 - 1};
    struct tcp_client other, light, parts[PARTS];
    world.config.waiting_mib_max = WEIGHT_MIB_MAX;
    world.config.hello_ms = 600000;
    world_open();
    other = world_connect();
    world_ping(&other);
    light = world_connect();
    send_part(&light, 60000, true); // weighs nothing
    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = world_connect();
        send_part(&parts[i], sizes[i], true);
    }
    EVENTUALLY(stats.streams.waiting == WEIGHT_MAX);
    world_ping(&other);
    ck_assert_uint_eq(world_stats().streams.ended[STREAM_HEAVIEST], 0);
    send_part(&parts[0], 1, false);
    tcp_expect_end(&parts[1]);
    EVENTUALLY(stats.streams.waiting == WEIGHT_MAX / 2);
    EVENTUALLY(stats.streams.open == PARTS + 1);
    ck_assert_uint_eq(world_stats().streams.ended[STREAM_HEAVIEST], 1);
    for (uint32_t i = 0; i < PARTS; i++)
        tcp_leave(&parts[i]);
    EVENTUALLY(stats.streams.waiting == 0);
    world_ping(&other);
    tcp_leave(&light);
    tcp_leave(&other);
    world_close();
}
END_TEST

START_TEST(answers_that_nobody_reads_cost_as_many_as_leaves_the_rest_within_the_limit)
{
    enum { DEAF = 24, LEAST = 64 << 10 };
    struct tcp_client deaf[DEAF], other;
    world.config.waiting_mib_max = WEIGHT_MIB_MAX;
    world.answer_bytes =
        8u << 20; // more than the server's buffer in the kernel, 4 MiB, and the client's
    world_open();
    for (uint32_t i = 0; i < DEAF; i++) {
        static const int small = 65536; // and it does not grow by itself
        deaf[i] = world_connect();
        ck_assert_int_eq(setsockopt(deaf[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
        world_ask(&deaf[i], 1, "docs");
    }
    // Each that stays weighs something, and so no more than so many do.
    EVENTUALLY(stats.streams.ended[STREAM_HEAVIEST] >= DEAF - WEIGHT_MAX / LEAST);
    EVENTUALLY(stats.streams.waiting <= WEIGHT_MAX);
    other = world_connect();
    world_ping(&other);
    ck_assert_uint_eq(world_stats().streams.ended[STREAM_CLOGGED], 0);
    for (uint32_t i = 0; i < DEAF; i++)
        tcp_leave(&deaf[i]);
    EVENTUALLY(stats.streams.waiting == 0);
    tcp_leave(&other);
    world_close();
}
END_TEST

// ---- memory ----

static void
echo_if_it_can(void *context, struct rpc_conn *conn, const struct rpc_request *request)
{
    (void)context;
    struct encode answer;
    encode_init(&answer, 4096);
    encode_array(&answer, 4);
    encode_u64(&answer, RPC_ANSWER);
    encode_u64(&answer, request->id);
    encode_nil(&answer);
    encode_raw(&answer, request->params.bytes, request->params.count);
    rpc_conn_answer(conn, request->id, &answer);
    mem_free(request->frame);
    rpc_conn_release(conn);
}

START_TEST(without_memory_a_client_is_told_or_closed_and_the_next_one_is_served)
{
    world_open();
    world.config.request = echo_if_it_can;
    rpc_server_close(world.server);
    struct omen_error error;
    ck_assert_int_eq(rpc_server_open(&world.config, &world.server, &error), OMEN_OK);
    const struct api_of_collection ask = {.collection = wire_text_of("docs")};
    struct encode encode;
    encode_init(&encode, 4096);
    rpc_write_ask(&encode, 1, method_at(METHOD_COLLECTION_GET), &ask);
    uint32_t closed = 0, told = 0, answered = 0;
    for (uint64_t n = 1; n <= 12; n++) {
        mem_fail_once(n);
        struct tcp_client client = world_connect();
        (void)tcp_try_send(&client, encode.bytes, encode.count);
        uint8_t answer[4096]; // the client's own memory is none of the heap's
        const ssize_t came = recv(client.fd, answer, sizeof answer, 0);
        mem_fail_once(0);
        closed += came <= 0;
        told += came > 3 && answer[3] != 0xc0;
        answered += came > 3 && answer[3] == 0xc0;
        tcp_leave(&client);
        struct tcp_client next = world_connect();
        world_ping(&next);
        tcp_leave(&next);
    }
    ck_assert_uint_gt(closed, 0);
    ck_assert_uint_gt(told, 0);
    ck_assert_uint_gt(answered, 0);
    ck_assert_uint_eq(closed + told + answered, 12);
    encode_fini(&encode);
    world_close();
}
END_TEST

static Suite *
rpc_limits_suite(void)
{
    Suite *suite = suite_create("wire/rpc_limits");
    TCase *tests = tcase_create("limits");
    tcase_add_test(tests, before_hello_a_message_of_4_kib_is_read_and_one_byte_more_is_not);
    tcase_add_test(tests, who_does_not_say_hello_in_time_is_closed_however_slowly_it_speaks);
    tcase_add_test(tests, eight_bytes_that_claim_gigabytes_are_refused_at_once);
    tcase_add_test(tests, what_is_announced_takes_no_memory_before_it_comes);
    tcase_add_test(tests, garbage_closes_its_connection_and_no_other);
    tcase_add_test(tests,
                   of_1025_connections_the_last_is_closed_and_a_place_that_is_left_is_given_again);
    tcase_add_test(tests,
                   of_1024_that_have_said_nothing_whole_the_oldest_makes_room_for_each_that_comes);
    tcase_add_test(tests,
                   where_keys_are_asked_for_who_has_said_none_makes_room_whatever_else_it_says);
    tcase_add_test(tests,
                   a_first_message_that_stays_half_is_closed_and_one_that_goes_on_is_waited_for);
    tcase_add_test(tests,
                   an_address_has_as_many_connections_as_it_may_and_the_next_is_closed_at_once);
    tcase_add_test(tests, who_finds_no_place_at_all_costs_its_address_none);
    tcase_add_test(tests, a_message_is_as_long_as_was_configured_and_hello_says_so);
    tcase_add_test(tests, where_descriptors_have_run_out_accepting_goes_on_when_there_are_some);
    tcase_add_test(tests, a_client_that_closes_half_is_gone);
    tcase_add_test(tests, who_says_nothing_for_too_long_is_closed_also_in_the_middle_of_a_message);
    tcase_add_test(tests, beyond_the_limit_in_flight_nothing_is_read_until_half_are_answered);
    tcase_add_test(tests, a_client_that_does_not_read_is_closed_when_its_answers_are_too_many);
    tcase_add_test(tests,
                   a_client_that_reads_nothing_for_too_long_is_closed_with_its_answer_unread);
    tcase_add_test(tests,
                   parts_of_messages_may_be_so_much_together_and_one_byte_more_costs_the_heaviest);
    tcase_add_test(tests,
                   answers_that_nobody_reads_cost_as_many_as_leaves_the_rest_within_the_limit);
    tcase_add_test(tests, without_memory_a_client_is_told_or_closed_and_the_next_one_is_served);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(rpc_limits_suite)
