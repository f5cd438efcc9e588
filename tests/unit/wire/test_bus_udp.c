// tests/unit/wire/test_bus_udp.c -- gossip's datagrams on real sockets: sealed, opened, and gone when a byte is not as it was.
//
// Labels: tsan
#include "tests/lib/bus_world.h"

static struct wire_bytes
packet_of(const char *text)
{
    return (struct wire_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

// A socket of nobody's, that says what it likes.
static void
say(const void *datagram, size_t bytes, uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    const struct sockaddr_in to = tcp_loopback(port);
    ck_assert_int_eq(sendto(fd, datagram, bytes, 0, (const struct sockaddr *)&to, sizeof to),
                     (ssize_t)bytes);
    (void)close(fd);
}

START_TEST(a_packet_arrives_as_it_was_and_says_where_it_came_from)
{
    nodes_open(2);
    const struct gossip_address there = node_address(1), here = node_address(0);
    bus_datagram(nodes[0].bus, &there, packet_of("news"));
    bus_wait(&nodes[1].datagram_count, 1);
    ck_assert_uint_eq(nodes[1].datagrams[0].bytes, 4);
    ck_assert(memcmp(nodes[1].datagrams[0].packet, "news", 4) == 0);
    ck_assert(gossip_address_equal(&nodes[1].datagrams[0].from, &here));
    static const uint8_t largest[GOSSIP_PACKET_BYTES_MAX] = {1, 2, 3};
    bus_datagram(nodes[1].bus, &here, (struct wire_bytes){largest, sizeof largest});
    bus_wait(&nodes[0].datagram_count, 1);
    ck_assert_uint_eq(nodes[0].datagrams[0].bytes, sizeof largest);
    ck_assert_uint_eq(node_stats(0).datagrams_out, 1);
    ck_assert_uint_eq(node_stats(1).datagrams_in, 1);
    nodes_close(2);
}
END_TEST

START_TEST(a_datagram_with_a_changed_byte_another_key_or_another_length_vanishes)
{
    nodes_open(1);
    const uint8_t nonce[SEAL_NONCE_BYTES] = {9};
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX + 1] = {0};
    const size_t bytes = seal_datagram(&bus_keys, nonce, packet_of("news"), datagram);
    const uint16_t port = bus_port(nodes[0].bus);
    for (size_t i = 0; i < bytes; i++) {
        datagram[i] ^= 0x10;
        say(datagram, bytes, port);
        datagram[i] ^= 0x10;
    }
    const struct seal_keys other = {{1}, {2}};
    uint8_t strange[GOSSIP_DATAGRAM_BYTES_MAX];
    (void)seal_datagram(&other, nonce, packet_of("news"), strange);
    say(strange, bytes, port);
    say(datagram, bytes - 1, port);
    say(datagram, 0, port);
    say(datagram, sizeof datagram, port);
    say(datagram, bytes, port); // the one that is right
    bus_wait(&nodes[0].datagram_count, 1);
    ck_assert(memcmp(nodes[0].datagrams[0].packet, "news", 4) == 0);
    ck_assert_uint_eq(node_stats(0).datagrams_in, 1);
    ck_assert_uint_eq(node_stats(0).datagrams_refused, bytes + 4);
    nodes_close(1);
}
END_TEST

START_TEST(without_a_key_it_is_sealed_by_a_key_of_zeros)
{
    node_prepare(0);
    nodes[0].config.keys = NULL;
    node_open(0);
    const struct seal_keys zeros = {0};
    const uint8_t nonce[SEAL_NONCE_BYTES] = {9};
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX];
    const size_t bytes = seal_datagram(&zeros, nonce, packet_of("news"), datagram);
    say("news", 4, bus_port(nodes[0].bus));
    say(datagram, bytes, bus_port(nodes[0].bus));
    bus_wait(&nodes[0].datagram_count, 1);
    ck_assert_uint_eq(node_stats(0).datagrams_refused, 1);
    nodes_close(1);
}
END_TEST

START_TEST(a_datagram_to_where_none_can_go_is_counted_and_nobody_waits)
{
    nodes_open(2);
    const struct gossip_address six = {.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 7};
    bus_datagram(nodes[0].bus, &six, packet_of("news")); // this socket has IPv4 only
    ck_assert_uint_eq(node_stats(0).datagrams_lost, 1);
    const struct gossip_address there = node_address(1);
    bus_datagram(nodes[0].bus, &there, packet_of("news"));
    bus_wait(&nodes[1].datagram_count, 1);
    nodes_close(2);
}
END_TEST

// A port that is free for both, and then taken for datagrams by the socket that is returned.
static int
take_port(uint16_t *port)
{
    for (;;) {
        node_open(0);
        *port = bus_port(nodes[0].bus);
        bus_close(nodes[0].bus);
        const struct sockaddr_in at = tcp_loopback(*port);
        const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        if (bind(fd, (const struct sockaddr *)&at, sizeof at) == 0)
            return fd;
        (void)close(fd); // somebody was faster
    }
}

START_TEST(a_port_that_is_taken_for_datagrams_is_said)
{
    node_prepare(0);
    uint16_t port;
    const int fd = take_port(&port);
    nodes[0].config.listen.port = port;
    struct omen_error error = {0};
    ck_assert_int_eq(bus_open(&nodes[0].config, &nodes[0].bus, &error), OMEN_E_INVALID);
    ck_assert_ptr_null(nodes[0].bus);
    ck_assert_msg(strstr(error.text, "cannot listen for datagrams: ") != NULL, "%s", error.text);
    (void)close(fd);
    nodes_close(1);
}
END_TEST

static Suite *
bus_udp_suite(void)
{
    Suite *suite = suite_create("wire/bus_udp");
    TCase *tests = tcase_create("datagrams");
    tcase_add_test(tests, a_packet_arrives_as_it_was_and_says_where_it_came_from);
    tcase_add_test(tests, a_datagram_with_a_changed_byte_another_key_or_another_length_vanishes);
    tcase_add_test(tests, without_a_key_it_is_sealed_by_a_key_of_zeros);
    tcase_add_test(tests, a_datagram_to_where_none_can_go_is_counted_and_nobody_waits);
    tcase_add_test(tests, a_port_that_is_taken_for_datagrams_is_said);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(bus_udp_suite)
