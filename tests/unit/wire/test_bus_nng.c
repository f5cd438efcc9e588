// tests/unit/wire/test_bus_nng.c -- nodes on real sockets: lanes beside each other, strangers, restarts, queues that are full.
//
// Labels: tsan
#include "wire/bus.h"

#include "base/os_thread.h"
#include "tests/lib/bus_world.h"

static const struct wire_bytes nothing = {0};

START_TEST(frames_arrive_on_both_lanes_with_who_sent_them)
{
    nodes_open(2);
    static const uint8_t word[] = "a word";
    ck_assert(send_frame(0, 1, PEER_CONTROL, 11, (struct wire_bytes){word, sizeof word}));
    ck_assert(send_frame(0, 1, PEER_BULK, 12, nothing));
    await(&nodes[1].arrived_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct arrived *arrived = &nodes[1].arrived[i];
        const bool control = arrived->head.lane == PEER_CONTROL;
        ck_assert_uint_eq(arrived->from.high, node_uuid(0).high);
        ck_assert_uint_eq(arrived->boot, 1);
        ck_assert_uint_eq(arrived->head.kind, PEER_RAFT);
        ck_assert_uint_eq(arrived->head.deadline_ms, 250);
        ck_assert_uint_eq(arrived->head.correlation, control ? 11 : 12);
        ck_assert_uint_eq(arrived->body_bytes, control ? sizeof word : 0);
    }
    await(&nodes[0].up_count, 1);
    ck_assert_uint_eq(node_stats(1).accepted, 2);
    ck_assert_uint_eq(node_stats(1).verdicts[HANDSHAKE_FINE], 2);
    nodes_close(2);
}
END_TEST

START_TEST(frames_of_a_lane_arrive_in_order_from_the_first_on)
{
    enum { FRAMES = 3000 };
    nodes_open(2);
    uint8_t body[200] = {0};
    for (uint32_t i = 0; i < FRAMES; i++)
        ck_assert(send_frame(0, 1, PEER_CONTROL, i, (struct wire_bytes){body, i % sizeof body}));
    await(&nodes[1].arrived_count, FRAMES);
    for (uint32_t i = 0; i < FRAMES; i++) {
        ck_assert_uint_eq(nodes[1].arrived[i].head.correlation, i);
        ck_assert_uint_eq(nodes[1].arrived[i].body_bytes, i % sizeof body);
    }
    ck_assert_uint_eq(node_stats(1).frames_in, FRAMES);
    nodes_close(2);
}
END_TEST

START_TEST(the_largest_frame_of_each_lane_passes)
{
    nodes_open(2);
    uint8_t *body = mem_alloc(PEER_BULK_BYTES_MAX);
    ck_assert_ptr_nonnull(body);
    memset(body, 0x5a, PEER_BULK_BYTES_MAX);
    ck_assert(send_frame(0, 1, PEER_BULK, 1, (struct wire_bytes){body, PEER_BULK_BYTES_MAX}));
    ck_assert(send_frame(0, 1, PEER_CONTROL, 2, (struct wire_bytes){body, PEER_CONTROL_BYTES_MAX}));
    await(&nodes[1].arrived_count, 2);
    const uint32_t first = nodes[1].arrived[0].head.lane == PEER_BULK ? 0 : 1;
    ck_assert_uint_eq(nodes[1].arrived[first].body_bytes, PEER_BULK_BYTES_MAX);
    ck_assert_uint_eq(nodes[1].arrived[1 - first].body_bytes, PEER_CONTROL_BYTES_MAX);
    mem_free(body);
    nodes_close(2);
}
END_TEST

START_TEST(bulk_does_not_hold_up_control)
{
    nodes_open(2);
    atomic_store(&nodes[1].shut[PEER_BULK], 1);
    const size_t bytes = 8u << 20;
    uint8_t *body = mem_alloc_zero(1, bytes);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert(send_frame(0, 1, PEER_BULK, i, (struct wire_bytes){body, (uint32_t)bytes}));
    await(&nodes[1].waiting[PEER_BULK], 1); // the first is in the callback and stays there
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert(send_frame(0, 1, PEER_CONTROL, i, nothing));
        await(&nodes[1].arrived_count, i + 1);
        ck_assert_uint_eq(nodes[1].arrived[i].head.lane, PEER_CONTROL);
    }
    node_open_lane(&nodes[1], PEER_BULK);
    await(&nodes[1].arrived_count, 104);
    mem_free(body);
    nodes_close(2);
}
END_TEST

START_TEST(two_that_connect_to_each_other_at_once_keep_both_connections)
{
    nodes_open(2);
    for (uint32_t i = 0; i < 200; i++) {
        ck_assert(send_frame(0, 1, PEER_CONTROL, i, nothing));
        ck_assert(send_frame(1, 0, PEER_CONTROL, i, nothing));
    }
    await(&nodes[0].arrived_count, 200);
    await(&nodes[1].arrived_count, 200);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(node_stats(i).open, 2);
        ck_assert_uint_eq(node_stats(i).connected, 1);
        ck_assert_uint_eq(node_stats(i).accepted, 1);
    }
    nodes_close(2);
}
END_TEST

START_TEST(a_frame_to_an_address_arrives_though_nobody_knows_who_is_there)
{
    for (uint32_t i = 0; i < 2; i++) {
        node_prepare(i);
        node_open(i);
    }
    const struct gossip_address there = node_address(1);
    const struct bus_frame frame = {.lane = PEER_CONTROL, .kind = PEER_GOSSIP, .correlation = 5};
    ck_assert(bus_send_address(nodes[0].bus, &there, &frame));
    ck_assert(bus_send_address(nodes[0].bus, &there, &frame));
    await(&nodes[1].arrived_count, 2);
    ck_assert_uint_eq(nodes[1].arrived[1].from.high, node_uuid(0).high);
    ck_assert_uint_eq(node_stats(0).connected, 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 0); // it has no name to be told by
    nodes_close(2);
}
END_TEST

// ---- who is not let in ----

START_TEST(another_clusters_node_ourselves_and_other_versions_are_refused_and_counted)
{
    node_prepare(0);
    node_open(0);
    node_prepare(1);
    nodes[1].config.ours.cluster.low = 8;
    node_open(1);
    node_prepare(2);
    nodes[2].config.ours.version_least = nodes[2].config.ours.version_most = 2;
    node_open(2);
    const struct gossip_address there = node_address(0);
    const struct bus_frame frame = {.lane = PEER_CONTROL, .kind = PEER_GOSSIP};
    for (uint32_t i = 0; i < 3; i++)
        (void)bus_send_address(nodes[i].bus, &there, &frame);
    EVENTUALLY_OF(0, stats.verdicts[HANDSHAKE_OTHER_CLUSTER] >= 1);
    EVENTUALLY_OF(0, stats.verdicts[HANDSHAKE_NO_VERSION] >= 1);
    EVENTUALLY_OF(0, stats.verdicts[HANDSHAKE_OURSELVES] >= 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].arrived_count), 0);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_FINE], 0);
    nodes_close(3);
}
END_TEST

// Who it is, it may learn after it listens.
START_TEST(who_connects_to_a_bus_that_is_shut_is_closed_until_it_lets_in)
{
    node_prepare(0);
    node_open(0);
    node_prepare(1);
    const struct handshake ours = nodes[1].config.ours;
    nodes[1].config.ours = (struct handshake){0};
    nodes[1].config.shut = true;
    node_open(1);
    struct tcp_client early = tcp_connect(bus_port(nodes[1].bus));
    tcp_expect_end(&early);
    tcp_leave(&early);
    const struct gossip_address there = node_address(1);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    (void)send_frame(0, 1, PEER_CONTROL, 1, nothing);
    await(&nodes[0].down_count, 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 0);
    ck_assert_uint_eq(atomic_load(&nodes[0].refused_count), 0); // there is a process
    bus_let_in(nodes[1].bus, &ours);
    send_until_heard(0, 1, 2);
    ck_assert_uint_eq(nodes[1].arrived[0].from.high, node_uuid(0).high);
    ck_assert_uint_eq(node_stats(0).wrong_node, 0);
    nodes_close(2);
}
END_TEST

START_TEST(a_node_with_another_key_is_refused_by_who_dials)
{
    static struct seal_keys other;
    static const uint8_t file[SEAL_KEY_FILE_BYTES_MIN] = "another cluster's key of 32 byte";
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){file, sizeof file}, &other), OMEN_OK);
    node_prepare(0);
    node_open(0);
    node_prepare(1);
    nodes[1].config.keys = &other;
    node_open(1);
    const struct gossip_address there = node_address(1);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    (void)send_frame(0, 1, PEER_CONTROL, 1, nothing);
    await(&nodes[0].down_count, 1);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_BAD_MAC], 1);
    ck_assert_uint_eq(node_stats(1).verdicts[HANDSHAKE_FINE], 0);
    ck_assert_uint_eq(atomic_load(&nodes[1].arrived_count), 0);
    nodes_close(2);
}
END_TEST

START_TEST(another_node_than_the_expected_one_is_not_talked_to)
{
    for (uint32_t i = 0; i < 2; i++) {
        node_prepare(i);
        node_open(i);
    }
    const struct gossip_address there = node_address(1);
    bus_know(nodes[0].bus, node_uuid(2), &there);
    (void)send_frame(0, 2, PEER_CONTROL, 1, nothing);
    await(&nodes[0].down_count, 1);
    ck_assert_uint_eq(node_stats(0).wrong_node, 1);
    ck_assert_uint_eq(atomic_load(&nodes[1].arrived_count), 0);
    nodes_close(2);
}
END_TEST

static uint16_t
port_of(uint32_t node)
{
    return bus_port(nodes[node].bus);
}

static void
write_frame(uint8_t *out, enum peer_kind kind, const uint8_t *body, uint32_t bytes)
{
    const struct peer_head head = {.kind = (uint8_t)kind, .lane = PEER_CONTROL};
    peer_head_write(head, (struct wire_bytes){body, bytes}, out);
    memcpy(out + PEER_HEAD_BYTES, body, bytes);
}

START_TEST(what_a_stranger_may_not_say_is_refused_and_counted)
{
    static uint8_t body[PEER_STRANGER_BYTES_MAX + 1];
    static uint8_t frame[PEER_HEAD_BYTES + sizeof body];
    node_prepare(0);
    node_open(0);
    const struct {
        enum peer_kind kind;
        uint32_t bytes;
        enum peer_refusal refusal;
    } said[] = {
        {PEER_RAFT, 10, PEER_NOT_WELCOME},
        {PEER_CONFIRM, 32, PEER_NOT_WELCOME},
        {PEER_HELLO, PEER_STRANGER_BYTES_MAX + 1, PEER_TOO_LONG},
    };
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t before = node_stats(0).refusals[said[i].refusal];
        struct tcp_client client = tcp_connect(port_of(0));
        write_frame(frame, said[i].kind, body, said[i].bytes);
        (void)tcp_try_send(&client, frame, PEER_HEAD_BYTES + said[i].bytes);
        tcp_expect_end(&client);
        ck_assert_uint_eq(node_stats(0).refusals[said[i].refusal], before + 1);
        tcp_leave(&client);
    }
    struct tcp_client client = tcp_connect(port_of(0)); // a hello of 1 KiB is no hello, but read
    write_frame(frame, PEER_HELLO, body, PEER_STRANGER_BYTES_MAX);
    tcp_send(&client, frame, PEER_HEAD_BYTES + PEER_STRANGER_BYTES_MAX);
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_MALFORMED], 1);

    client = tcp_connect(port_of(0)); // one that claims 4 GiB
    write_frame(frame, PEER_HELLO, body, 88);
    memset(frame + 8, 0xff, 4);
    tcp_send(&client, frame, PEER_HEAD_BYTES);
    tcp_expect_end(&client);
    tcp_leave(&client);
    client = tcp_connect(port_of(0));
    tcp_send(&client, "GET / HTTP/1.1\r\nHost: a.node\r\n\r\n", 32);
    tcp_expect_end(&client);
    tcp_leave(&client);
    client = tcp_connect(port_of(0)); // with a byte that was changed on the way
    write_frame(frame, PEER_HELLO, body, 88);
    frame[PEER_HEAD_BYTES + 40] ^= 1;
    tcp_send(&client, frame, PEER_HEAD_BYTES + 88);
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(node_stats(0).refusals[PEER_TORN], 2);
    ck_assert_uint_eq(node_stats(0).refusals[PEER_NOT_PEER], 1);
    EVENTUALLY_OF(0, stats.open == 0);
    nodes_close(1);
}
END_TEST

// Says hello as node 1 would, and hears the welcome.
static void
shake(struct tcp_client *client, const struct handshake *ours, uint8_t hello[HANDSHAKE_HELLO_BYTES],
      uint8_t welcome[HANDSHAKE_WELCOME_BYTES])
{
    uint8_t frame[PEER_HEAD_BYTES + HANDSHAKE_HELLO_BYTES];
    handshake_hello(ours, hello);
    write_frame(frame, PEER_HELLO, hello, HANDSHAKE_HELLO_BYTES);
    tcp_send(client, frame, sizeof frame);
    while (client->count < PEER_HEAD_BYTES + HANDSHAKE_WELCOME_BYTES)
        ck_assert(tcp_receive_more(client));
    memcpy(welcome, client->bytes + PEER_HEAD_BYTES, HANDSHAKE_WELCOME_BYTES);
    tcp_forget(client, PEER_HEAD_BYTES + HANDSHAKE_WELCOME_BYTES);
}

START_TEST(who_cannot_confirm_is_refused_and_who_can_is_heard_at_once)
{
    node_prepare(0);
    node_open(0);
    struct handshake ours = nodes[0].config.ours;
    ours.node = node_uuid(1);
    ours.boot = 77;
    uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    uint8_t frames[2 * PEER_HEAD_BYTES + HANDSHAKE_CONFIRM_BYTES];

    struct tcp_client client = tcp_connect(port_of(0));
    shake(&client, &ours, hello, welcome);
    handshake_confirm(bus_keys.peer, hello, welcome, confirm);
    confirm[31] ^= 1;
    write_frame(frames, PEER_CONFIRM, confirm, sizeof confirm);
    tcp_send(&client, frames, PEER_HEAD_BYTES + sizeof confirm);
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_BAD_MAC], 1);

    client = tcp_connect(port_of(0)); // a frame rides behind the confirmation
    shake(&client, &ours, hello, welcome);
    handshake_confirm(bus_keys.peer, hello, welcome, confirm);
    write_frame(frames, PEER_CONFIRM, confirm, sizeof confirm);
    write_frame(frames + PEER_HEAD_BYTES + sizeof confirm, PEER_PING, confirm, 0);
    tcp_send(&client, frames, sizeof frames);
    await(&nodes[0].arrived_count, 1);
    ck_assert_uint_eq(nodes[0].arrived[0].boot, 77);
    ck_assert_uint_eq(nodes[0].arrived[0].head.kind, PEER_PING);

    write_frame(frames, PEER_HELLO, confirm, 0); // no second handshake
    tcp_send(&client, frames, PEER_HEAD_BYTES);
    tcp_expect_end(&client);
    ck_assert_uint_eq(node_stats(0).refusals[PEER_NOT_WELCOME], 1);
    tcp_leave(&client);
    nodes_close(1);
}
END_TEST

START_TEST(a_newer_connection_of_a_nodes_lane_ends_the_older_one)
{
    node_prepare(0);
    node_open(0);
    struct handshake ours = nodes[0].config.ours;
    ours.node = node_uuid(1);
    uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    uint8_t frame[PEER_HEAD_BYTES + HANDSHAKE_CONFIRM_BYTES];
    struct tcp_client clients[3];
    for (uint32_t i = 0; i < 3; i++) {
        ours.node = node_uuid(i < 2 ? 1 : 2);
        ours.boot = i;
        clients[i] = tcp_connect(port_of(0));
        shake(&clients[i], &ours, hello, welcome);
        handshake_confirm(bus_keys.peer, hello, welcome, confirm);
        write_frame(frame, PEER_CONFIRM, confirm, sizeof confirm);
        tcp_send(&clients[i], frame, sizeof frame);
        write_frame(frame, PEER_PING, confirm, 0);
        tcp_send(&clients[i], frame, PEER_HEAD_BYTES);
        await(&nodes[0].arrived_count, i + 1);
    }
    tcp_expect_end(&clients[0]);
    tcp_send(&clients[1], frame, PEER_HEAD_BYTES);
    await(&nodes[0].arrived_count, 4);
    ck_assert_uint_eq(nodes[0].arrived[3].boot, 1);
    for (uint32_t i = 0; i < 3; i++)
        tcp_leave(&clients[i]);
    nodes_close(1);
}
END_TEST

START_TEST(who_does_not_shake_hands_in_time_is_closed)
{
    node_prepare(0);
    nodes[0].config.handshake_ms = 20;
    node_open(0);
    struct tcp_client silent = tcp_connect(port_of(0));
    struct tcp_client half = tcp_connect(port_of(0));
    tcp_send(&half, "OMPR", 4);
    tcp_expect_end(&silent);
    tcp_expect_end(&half);
    EVENTUALLY_OF(0, stats.late == 2);
    tcp_leave(&silent);
    tcp_leave(&half);
    nodes_close(1);
}
END_TEST

START_TEST(more_connections_than_may_be_are_closed_at_once)
{
    node_prepare(0);
    nodes[0].config.connections_max = 3;
    node_open(0);
    struct handshake ours = nodes[0].config.ours;
    ours.node = node_uuid(1);
    uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
    struct tcp_client clients[3];
    for (uint32_t i = 0; i < 3; i++) {
        clients[i] = tcp_connect(port_of(0));
        shake(&clients[i], &ours, hello, welcome);
    }
    struct tcp_client beyond = tcp_connect(port_of(0));
    tcp_expect_end(&beyond);
    tcp_leave(&beyond);
    ck_assert_uint_eq(node_stats(0).crowded, 1);
    for (uint32_t i = 0; i < 3; i++)
        tcp_leave(&clients[i]);
    nodes_close(1);
}
END_TEST

// ---- who is not there ----

START_TEST(to_who_is_unknown_or_forgotten_nothing_is_sent)
{
    nodes_open(2);
    ck_assert(!send_frame(0, 2, PEER_CONTROL, 1, nothing));
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    await(&nodes[1].arrived_count, 1);
    bus_forget(nodes[0].bus, node_uuid(1));
    bus_forget(nodes[0].bus, node_uuid(1));
    EVENTUALLY_OF(1, stats.open == 0);
    ck_assert(!send_frame(0, 1, PEER_CONTROL, 2, nothing));
    ck_assert_uint_eq(node_stats(0).nobody, 2);
    const struct gossip_address there = node_address(1);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 3, nothing));
    await(&nodes[1].arrived_count, 2);
    ck_assert_uint_eq(nodes[1].arrived[1].head.correlation, 3);
    nodes_close(2);
}
END_TEST

START_TEST(where_nobody_listens_frames_are_refused_for_a_while)
{
    nodes_open(2);
    const struct gossip_address there = node_address(1);
    bus_close(nodes[1].bus);
    node_prepare(2);
    nodes[2].config.pause_least_ms = 3600000; // for ever
    nodes[2].config.pause_most_ms = 3600000;
    node_open(2);
    bus_know(nodes[2].bus, node_uuid(1), &there);
    (void)send_frame(2, 1, PEER_CONTROL, 1,
                     nothing); // waits for a connection, if that is not refused before
    await(&nodes[2].down_count, 1);
    ck_assert(!send_frame(2, 1, PEER_CONTROL, 2, nothing));
    (void)send_frame(2, 1, PEER_BULK, 2, nothing); // is tried by itself
    await(&nodes[2].down_count, 2);
    ck_assert_uint_eq(node_stats(2).missed, 2);
    const uint64_t nobody = node_stats(2).nobody;
    ck_assert(!send_frame(2, 1, PEER_CONTROL, 2, nothing));
    ck_assert_uint_eq(node_stats(2).nobody, nobody + 1);
    ck_assert_uint_eq(node_stats(2).missed, 2);
    bus_know(nodes[2].bus, node_uuid(1), &there); // news: it is tried at once
    (void)send_frame(2, 1, PEER_CONTROL, 3, nothing);
    await(&nodes[2].down_count, 3);
    ck_assert_uint_eq(node_stats(2).missed, 3);
    nodes[1].bus = NULL;
    nodes_close(3);
}
END_TEST

START_TEST(who_is_lost_is_looked_for_and_refused_twice_where_nobody_listens)
{
    nodes_open(2);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    await(&nodes[1].arrived_count, 1);
    ck_assert_uint_eq(nodes[0].refused_count, 0);
    bus_close(nodes[1].bus);
    await(&nodes[0].refused_count, 2); // although nothing is sent
    ck_assert_uint_eq(node_stats(0).missed, 2);
    nodes[1].bus = NULL;
    nodes_close(2);
}
END_TEST

START_TEST(who_connects_to_us_is_up)
{
    nodes_open(2);
    ck_assert(send_frame(1, 0, PEER_CONTROL, 1, nothing));
    await(&nodes[0].up_count, 1);
    nodes_close(2);
}
END_TEST

START_TEST(a_node_that_restarts_is_reached_again_and_comes_with_its_new_boot)
{
    nodes_open(2);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    ck_assert(send_frame(1, 0, PEER_CONTROL, 1, nothing));
    await(&nodes[1].arrived_count, 1);
    await(&nodes[0].arrived_count, 1);
    ck_assert_uint_eq(nodes[0].arrived[0].boot, 1);
    const uint16_t port = port_of(1);
    const struct gossip_address first = node_address(0);
    bus_close(nodes[1].bus);
    await(&nodes[0].down_count, 1);
    nodes[1].config.listen.port = port;
    nodes[1].config.ours.boot = 2;
    node_open(1);
    bus_know(nodes[1].bus, node_uuid(0), &first);
    send_until_heard(0, 1, 2); // what is lost meanwhile is sent again
    ck_assert_uint_ge(nodes[1].arrived[1].head.correlation, 2);
    await(&nodes[0].up_count, 2);
    ck_assert(send_frame(1, 0, PEER_CONTROL, 2, nothing));
    await(&nodes[0].arrived_count, 2);
    ck_assert_uint_eq(nodes[0].arrived[1].boot, 2);
    nodes_close(2);
}
END_TEST

START_TEST(a_node_that_moved_is_found_at_its_new_address_and_left_at_the_old_one)
{
    nodes_open(2);
    node_prepare(2);
    nodes[2].config.ours.node =
        node_uuid(1); // the same at another address, while the old one still answers
    node_open(2);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    await(&nodes[1].arrived_count, 1);
    const struct gossip_address there = node_address(2);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 2, nothing));
    await(&nodes[2].arrived_count, 1);
    ck_assert_uint_eq(nodes[2].arrived[0].head.correlation, 2);
    EVENTUALLY_OF(1, stats.open == 0);
    nodes_close(3);
}
END_TEST

START_TEST(nodes_talk_over_ipv6_as_well)
{
    const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const bool there_is = fd >= 0 && bind(fd, (const struct sockaddr *)&own, sizeof own) == 0;
    if (fd >= 0)
        (void)close(fd);
    if (!there_is)
        return; // this machine has none
    for (uint32_t i = 0; i < 2; i++) {
        node_prepare(i);
        nodes[i].config.listen = (struct gossip_address){.ip = {[15] = 1}};
        node_open(i);
    }
    const struct gossip_address there = {.ip = {[15] = 1}, .port = port_of(1)};
    bus_know(nodes[0].bus, node_uuid(1), &there);
    ck_assert(send_frame(0, 1, PEER_BULK, 1, nothing));
    await(&nodes[1].arrived_count, 1);
    static const uint8_t word[] = "news";
    bus_datagram(nodes[0].bus, &there, (struct wire_bytes){word, sizeof word});
    await(&nodes[1].datagram_count, 1);
    const struct gossip_address here = {.ip = {[15] = 1}, .port = port_of(0)};
    ck_assert(gossip_address_equal(&nodes[1].datagrams[0].from, &here));
    nodes_close(2);
}
END_TEST

// ---- too much ----

START_TEST(a_full_queue_says_false_and_what_was_taken_arrives)
{
    node_prepare(0);
    nodes[0].config.control_bytes_max = 1u << 20;
    node_open(0);
    node_prepare(1);
    node_open(1);
    const struct gossip_address there = node_address(1);
    bus_know(nodes[0].bus, node_uuid(1), &there);
    atomic_store(&nodes[1].shut[PEER_CONTROL], 1);
    uint8_t body[40000] = {0};
    uint32_t taken = 0;
    while (send_frame(0, 1, PEER_CONTROL, taken, (struct wire_bytes){body, sizeof body}))
        taken++;
    ck_assert_uint_gt(taken, 20);
    ck_assert_uint_eq(node_stats(0).full, 1);
    ck_assert(send_frame(0, 1, PEER_BULK, 0, nothing)); // the other lane is not full
    node_open_lane(&nodes[1], PEER_CONTROL);
    await(&nodes[1].arrived_count, taken + 1);
    uint32_t next = 0;
    for (uint32_t i = 0; i <= taken; i++)
        if (nodes[1].arrived[i].head.lane == PEER_CONTROL)
            ck_assert_uint_eq(nodes[1].arrived[i].head.correlation, next++);
    ck_assert_uint_eq(next, taken);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 0, nothing));
    nodes_close(2);
}
END_TEST

START_TEST(who_accepts_and_says_nothing_is_given_up_with_what_waited)
{
    node_prepare(0);
    nodes[0].config.handshake_ms = 20;
    nodes[0].config.pause_least_ms = nodes[0].config.pause_most_ms = 3600000;
    node_open(0);
    const int listener = tcp_socket();
    struct sockaddr_in at = tcp_loopback(0);
    socklen_t at_bytes = sizeof at;
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &at_bytes), 0);
    const struct gossip_address there = loopback(ntohs(at.sin_port));
    bus_know(nodes[0].bus, node_uuid(1), &there);
    (void)send_frame(0, 1, PEER_CONTROL, 1, nothing); // waits, unless it is given up before
    await(&nodes[0].down_count, 1);
    EVENTUALLY_OF(0, stats.late + stats.missed == 1 &&
                         stats.open == 0); // while it shook hands, or was dialed
    ck_assert(!send_frame(0, 1, PEER_CONTROL, 2, nothing));
    (void)close(listener);
    nodes_close(1);
}
END_TEST

START_TEST(without_memory_frames_are_lost_and_later_ones_arrive)
{
    nodes_open(2);
    const struct gossip_address there = node_address(1);
    uint32_t refusals = 0;
    for (uint64_t n = 1; n <= 40; n++) {
        if (n % 8 == 1)
            bus_forget(nodes[0].bus, node_uuid(1)); // and all is made anew
        mem_fail_once(1 + n % 8);
        bus_know(nodes[0].bus, node_uuid(1), &there);
        const bool taken = send_frame(0, 1, PEER_CONTROL, n, nothing);
        refusals += !taken;
        mem_fail_once(0);
        bus_know(nodes[0].bus, node_uuid(1), &there);
        send_until_heard(0, 1, n);
    }
    ck_assert_uint_gt(refusals, 0);
    nodes_close(2);
}
END_TEST

// ---- all at once ----

#define STORM_THREADS 4u
#define STORM_FRAMES 400u
#define STORM_BODY 3000u

static void *
storm_sender(void *number)
{
    const uint64_t sender = (uint64_t)(uintptr_t)number;
    uint8_t body[STORM_BODY] = {0};
    for (uint64_t i = 0; i < STORM_FRAMES; i++) {
        const enum peer_lane lane = sender % 2 == 0 ? PEER_CONTROL : PEER_BULK;
        (void)send_frame((uint32_t)sender / 2, 1 - (uint32_t)sender / 2, lane, sender << 32 | i,
                         (struct wire_bytes){body, (uint32_t)(i * 7 % sizeof body)});
        if (i % 100 == 99) { // both forget and find each other all the time
            const struct gossip_address there = node_address(1 - (uint32_t)sender / 2);
            if (sender % 2 == 0)
                bus_forget(nodes[sender / 2].bus, node_uuid(1 - (uint32_t)sender / 2));
            bus_know(nodes[sender / 2].bus, node_uuid(1 - (uint32_t)sender / 2), &there);
        }
    }
    return NULL;
}

START_TEST(in_a_storm_what_comes_is_whole_and_comes_once)
{
    nodes_open(2);
    pthread_t threads[STORM_THREADS];
    for (uintptr_t i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(os_thread_start(&threads[i], storm_sender, (void *)i), 0);
    for (uint32_t i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (uint32_t to = 0; to < 2; to++) // all is quiet afterwards, or nearly
        send_until_heard(1 - to, to, UINT64_MAX);
    static bool came[STORM_THREADS][STORM_FRAMES];
    for (uint32_t to = 0; to < 2; to++) {
        lock_acquire(&nodes[to].lock);
        for (uint32_t i = 0; i < atomic_load(&nodes[to].arrived_count); i++) {
            const uint64_t correlation = nodes[to].arrived[i].head.correlation;
            if (correlation == UINT64_MAX)
                continue;
            ck_assert(!came[correlation >> 32][correlation & UINT32_MAX]);
            came[correlation >> 32][correlation & UINT32_MAX] = true;
            ck_assert_uint_eq(nodes[to].arrived[i].body_bytes,
                              (correlation & UINT32_MAX) * 7 % STORM_BODY);
        }
        lock_release(&nodes[to].lock);
    }
    nodes_close(2);
}
END_TEST

static Suite *
bus_nng_suite(void)
{
    Suite *suite = suite_create("wire/bus_nng");
    TCase *tests = tcase_create("bus");
    tcase_add_test(tests, frames_arrive_on_both_lanes_with_who_sent_them);
    tcase_add_test(tests, frames_of_a_lane_arrive_in_order_from_the_first_on);
    tcase_add_test(tests, the_largest_frame_of_each_lane_passes);
    tcase_add_test(tests, bulk_does_not_hold_up_control);
    tcase_add_test(tests, two_that_connect_to_each_other_at_once_keep_both_connections);
    tcase_add_test(tests, a_frame_to_an_address_arrives_though_nobody_knows_who_is_there);
    tcase_add_test(tests,
                   another_clusters_node_ourselves_and_other_versions_are_refused_and_counted);
    tcase_add_test(tests, who_connects_to_a_bus_that_is_shut_is_closed_until_it_lets_in);
    tcase_add_test(tests, a_node_with_another_key_is_refused_by_who_dials);
    tcase_add_test(tests, another_node_than_the_expected_one_is_not_talked_to);
    tcase_add_test(tests, what_a_stranger_may_not_say_is_refused_and_counted);
    tcase_add_test(tests, who_cannot_confirm_is_refused_and_who_can_is_heard_at_once);
    tcase_add_test(tests, a_newer_connection_of_a_nodes_lane_ends_the_older_one);
    tcase_add_test(tests, who_does_not_shake_hands_in_time_is_closed);
    tcase_add_test(tests, more_connections_than_may_be_are_closed_at_once);
    tcase_add_test(tests, to_who_is_unknown_or_forgotten_nothing_is_sent);
    tcase_add_test(tests, where_nobody_listens_frames_are_refused_for_a_while);
    tcase_add_test(tests, who_is_lost_is_looked_for_and_refused_twice_where_nobody_listens);
    tcase_add_test(tests, who_connects_to_us_is_up);
    tcase_add_test(tests, a_node_that_restarts_is_reached_again_and_comes_with_its_new_boot);
    tcase_add_test(tests, a_node_that_moved_is_found_at_its_new_address_and_left_at_the_old_one);
    tcase_add_test(tests, nodes_talk_over_ipv6_as_well);
    tcase_add_test(tests, a_full_queue_says_false_and_what_was_taken_arrives);
    tcase_add_test(tests, who_accepts_and_says_nothing_is_given_up_with_what_waited);
    tcase_add_test(tests, without_memory_frames_are_lost_and_later_ones_arrive);
    tcase_add_test(tests, in_a_storm_what_comes_is_whole_and_comes_once);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(bus_nng_suite)
