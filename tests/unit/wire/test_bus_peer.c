// tests/unit/wire/test_bus_peer.c -- whom the bus knows by an address alone: how many, for how long, and who takes their place.
//
// Labels: tsan
#include "base/os_clock.h"
#include "tests/lib/bus_world.h"
#include "wire/bus_int.h"

#define MINUTE_NS (UINT64_C(60) * 1000000000)
#define STRANGERS_MOST 1024u

static const struct bus_frame word = {.lane = PEER_CONTROL, .kind = PEER_RAFT};

// Nobody listens there.
static struct gossip_address
nowhere(uint32_t number)
{
    struct gossip_address address = loopback(1);
    address.ip[13] = (uint8_t)(1 + number / 250);
    address.ip[14] = (uint8_t)(1 + number % 250);
    return address;
}

static uint32_t
strangers(void)
{
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    const uint32_t count = bus->strangers;
    lock_release(&bus->lock);
    return count;
}

// The bus's own thread may have heard meanwhile that nobody is there, and frames are refused for a moment.
static void
send_to(struct gossip_address address)
{
    while (!bus_send_address(nodes[0].bus, &address, &word))
        (void)sched_yield();
}

static bool
knows(struct wire_uuid node)
{
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    const bool known = bus_peer_find(bus, node) != NULL;
    lock_release(&bus->lock);
    return known;
}

// Whether there is a connection to it as the node that it is.
static bool
knows_way(struct wire_uuid node)
{
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    const struct bus_peer *peer = bus_peer_find(bus, node);
    const bool there = peer != NULL && peer->lanes[0].link != NULL;
    lock_release(&bus->lock);
    return there;
}

static void
one_open(void)
{
    node_prepare(0);
    node_open(0);
}

START_TEST(so_many_strangers_are_known_and_one_more_is_sent_nothing)
{
    one_open();
    for (uint32_t i = 0; i < STRANGERS_MOST; i++)
        send_to(nowhere(i));
    ck_assert_uint_eq(strangers(), STRANGERS_MOST);
    const struct gossip_address more = nowhere(STRANGERS_MOST);
    const uint64_t before = node_stats(0).nobody;
    ck_assert(!bus_send_address(nodes[0].bus, &more, &word));
    ck_assert_uint_eq(node_stats(0).nobody, before + 1);
    ck_assert_uint_eq(strangers(), STRANGERS_MOST);
    send_to(nowhere(0)); // who is known is no other
    ck_assert_uint_eq(strangers(), STRANGERS_MOST);
    nodes_close(1);
}
END_TEST

START_TEST(who_was_sent_nothing_for_a_minute_is_forgotten_if_it_is_a_stranger)
{
    one_open();
    const struct wire_uuid known = {0x100, 0}; // among the strangers, as the bus keeps them
    const struct gossip_address there = nowhere(7);
    bus_know(nodes[0].bus, known, &there);
    const uint64_t before_ns = os_clock_ns();
    for (uint32_t i = 0; i < 5; i++)
        send_to(nowhere(i));
    const uint64_t after_ns = os_clock_ns();
    bus_peers_tick(nodes[0].bus, before_ns + MINUTE_NS - 1);
    ck_assert_uint_eq(strangers(), 5);
    bus_peers_tick(nodes[0].bus, after_ns + MINUTE_NS);
    ck_assert_uint_eq(strangers(), 0);
    ck_assert(knows(known));
    send_to(nowhere(2));
    ck_assert_uint_eq(strangers(), 1);
    nodes_close(1);
}
END_TEST

START_TEST(a_node_takes_the_place_of_the_stranger_at_its_address)
{
    node_prepare(1);
    node_open(1);
    one_open();
    const struct gossip_address there = node_address(1);
    send_to(there);
    await(&nodes[1].arrived_count, 1);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    while (!knows_way(node_uuid(1)))
        send_to(there);
    ck_assert_uint_eq(strangers(), 1);
    bus_peers_tick(nodes[0].bus, os_clock_ns() + MINUTE_NS);
    ck_assert_uint_eq(strangers(), 0);
    send_until_heard(0, 1, 9);
    nodes_close(2);
}
END_TEST

static Suite *
bus_peer_suite(void)
{
    Suite *suite = suite_create("wire/bus_peer");
    TCase *tests = tcase_create("bus_peer");
    tcase_add_test(tests, so_many_strangers_are_known_and_one_more_is_sent_nothing);
    tcase_add_test(tests, who_was_sent_nothing_for_a_minute_is_forgotten_if_it_is_a_stranger);
    tcase_add_test(tests, a_node_takes_the_place_of_the_stranger_at_its_address);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(bus_peer_suite)
