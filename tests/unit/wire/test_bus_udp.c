// tests/unit/wire/test_bus_udp.c -- gossip's datagrams on real sockets: sealed, opened, and gone when a byte is not as it was.
//
// Labels: tsan
#include <dirent.h>
#include <sys/resource.h>

#include "tests/lib/bus_world.h"
#include "wire/bus_int.h"

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
    await(&nodes[1].datagram_count, 1);
    ck_assert_uint_eq(nodes[1].datagrams[0].bytes, 4);
    ck_assert(memcmp(nodes[1].datagrams[0].packet, "news", 4) == 0);
    ck_assert(gossip_address_equal(&nodes[1].datagrams[0].from, &here));
    static const uint8_t largest[GOSSIP_PACKET_BYTES_MAX] = {1, 2, 3};
    bus_datagram(nodes[1].bus, &here, (struct wire_bytes){largest, sizeof largest});
    await(&nodes[0].datagram_count, 1);
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
    await(&nodes[0].datagram_count, 1);
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
    await(&nodes[0].datagram_count, 1);
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
    const struct gossip_address nowhere = loopback(0); // the system says no
    bus_datagram(nodes[0].bus, &nowhere, packet_of("news"));
    ck_assert_uint_eq(node_stats(0).datagrams_lost, 2);
    ck_assert_uint_eq(node_stats(0).datagrams_out, 0);
    const struct gossip_address there = node_address(1);
    bus_datagram(nodes[0].bus, &there, packet_of("news"));
    await(&nodes[1].datagram_count, 1);
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

// ---- what is not there ----

static uint32_t
descriptors(void)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

START_TEST(without_memory_nothing_is_opened_and_nothing_stays_behind)
{
    struct omen_error error = {0};
    node_prepare(0);
    node_open(0); // what NNG keeps for the process
    bus_close(nodes[0].bus);
    const uint32_t before = descriptors();
    uint64_t n = 1;
    for (;; n++) {
        mem_fail_after(n);
        const omen_status status = bus_open(&nodes[0].config, &nodes[0].bus, &error);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        ck_assert_ptr_null(nodes[0].bus);
        ck_assert_uint_eq(descriptors(), before);
    }
    ck_assert_uint_ge(n, 3); // the bus's own, the streams', the datagrams'
    nodes_close(1);
}
END_TEST

START_TEST(without_descriptors_nothing_is_opened_and_it_is_said)
{
    struct omen_error error = {0};
    struct rlimit all;
    node_prepare(0);
    node_open(0);
    bus_close(nodes[0].bus);
    const uint32_t before = descriptors();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
    uint32_t refused = 0;
    for (rlim_t most = 3;; most++) {
        const struct rlimit few = {most, all.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        const omen_status status = bus_open(&nodes[0].config, &nodes[0].bus, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
        if (status == OMEN_OK)
            break;
        ck_assert_msg(status == OMEN_E_NO_MEMORY, "%s", error.text);
        ck_assert_msg(strstr(error.text, "cannot listen ") != NULL, "%s", error.text);
        ck_assert_ptr_null(nodes[0].bus);
        ck_assert_uint_eq(descriptors(), before);
        refused++;
    }
    ck_assert_uint_ge(refused, 3); // the listener's, the socket, what ends its thread
    nodes_close(1);
}
END_TEST

// ---- many ----

static _Atomic uint32_t gate, taken;

static void
take_slowly(void *context, const struct gossip_address *from, struct wire_bytes packet)
{
    (void)context;
    (void)from;
    ck_assert_uint_eq(packet.count, 4);
    await_tell(&taken);
    while (atomic_load(&gate) == 0)
        os_wait(&gate, 0);
}

#define FLOOD 150u // more than are read before it is asked whether it shall end

START_TEST(what_came_while_one_was_looked_at_is_read_and_the_end_is_not_missed)
{
    struct omen_error error = {0};
    struct seal_keys keys = {0};
    struct udp *udp;
    uint16_t port;
    node_prepare(0);
    const int fd = take_port(&port);
    (void)close(fd);
    const struct udp_config config = {
        .listen = loopback(port), .keys = &keys, .datagram = take_slowly};
    ck_assert_int_eq(udp_open(&config, &udp, &error), OMEN_OK);
    const uint8_t nonce[SEAL_NONCE_BYTES] = {9};
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX];
    const size_t bytes = seal_datagram(&keys, nonce, packet_of("news"), datagram);
    atomic_store(&gate, 0);
    atomic_store(&taken, 0);
    for (uint32_t i = 0; i < FLOOD; i++)
        say(datagram, bytes, port);
    await(&taken, 1);
    atomic_store(&gate, 1);
    os_wake_all(&gate);
    await(&taken, FLOOD);
    udp_close(udp);
    ck_assert_uint_eq(atomic_load(&taken), FLOOD);
    mem_free(nodes[0].arrived);
    lock_fini(&nodes[0].lock);
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
    tcase_add_test(tests, without_memory_nothing_is_opened_and_nothing_stays_behind);
    tcase_add_test(tests, without_descriptors_nothing_is_opened_and_it_is_said);
    tcase_add_test(tests, what_came_while_one_was_looked_at_is_read_and_the_end_is_not_missed);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(bus_udp_suite)
