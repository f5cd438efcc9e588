// tests/unit/wire/test_bus_link.c -- handshakes that come to nothing: words out of their place, no memory, a node that is forgotten
// meanwhile. Each is counted as what it was, leaves nothing behind, and the next one is as good as ever.
//
// Labels: tsan
#include "tests/lib/bus_far.h"
#include "wire/bus_int.h"

static const struct wire_bytes nothing = {0};
static struct far far;

static void
one_open(void)
{
    node_prepare(0);
    node_open(0);
}

static void
all_close(void)
{
    far_leave(&far);
    nodes_close(1);
}

// The connection is at its end, and so many were refused for what they said.
static void
it_is_closed(uint64_t refused)
{
    far_hear_end(&far);
    ck_assert_uint_eq(node_stats(0).refusals[PEER_NOT_WELCOME], refused);
    for (uint32_t i = 0; i < PEER_REFUSALS; i++)
        ck_assert(i == PEER_NOT_WELCOME || node_stats(0).refusals[i] == 0);
}

// ---- who connects to us ----

static void
begin_far(void)
{
    far_prepare(&far, 1);
    far_connect(&far);
}

static void
another_is_welcome(void)
{
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    far_leave(&far);
    begin_far();
    far_be_welcome(&far);
    handshake_confirm(bus_keys.peer, far.hello, far.welcome, confirm);
    far_say(&far, PEER_CONFIRM, confirm, sizeof confirm);
    far_say(&far, PEER_PING, NULL, 0);
    await(&nodes[0].arrived_count, 1);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_FINE], 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 1);
}

START_TEST(who_says_hello_twice_is_refused)
{
    one_open();
    begin_far();
    far_be_welcome(&far);
    far_hello(&far);
    it_is_closed(1);
    another_is_welcome();
    all_close();
}
END_TEST

START_TEST(who_is_of_no_cluster_yet_is_told_who_we_are_and_heard_no_further)
{
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    struct handshake theirs, newcomer;
    one_open();
    begin_far();
    far.ours.cluster = (struct wire_uuid){0};
    newcomer = far.ours;
    far_be_welcome(&far);
    ck_assert_int_eq(handshake_take_welcome(bus_keys.peer, &newcomer, far.hello,
                                            (struct wire_bytes){far.welcome, sizeof far.welcome},
                                            &theirs),
                     HANDSHAKE_FINE);
    ck_assert_uint_eq(theirs.cluster.low, nodes[0].config.ours.cluster.low);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_JOINS], 1);
    handshake_confirm(bus_keys.peer, far.hello, far.welcome, confirm);
    far_say(&far, PEER_CONFIRM, confirm, sizeof confirm);
    it_is_closed(1);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_FINE], 0);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 0);
    all_close();
}
END_TEST

static void
memory_ran_out_once(void)
{
    EVENTUALLY_OF(0, stats.open == 0);
    ck_assert_uint_eq(mem_refused(), 1);
    mem_fail_once(0);
}

// For the connection, for who it is, and for what it says.
START_TEST(without_memory_who_connects_is_closed_and_the_next_is_welcome)
{
    one_open();
    far_prepare(&far, 1);
    mem_fail_once(1 + (uint64_t)_i);
    far_connect(&far);
    it_is_closed(0);
    memory_ran_out_once();
    another_is_welcome();
    all_close();
}
END_TEST

// For the frame, and for its place in the queue.
START_TEST(without_memory_for_a_welcome_the_connection_is_closed_and_the_next_is_welcome)
{
    uint8_t frame[FAR_FRAME_MAX];
    one_open();
    begin_far();
    handshake_hello(&far.ours, far.hello);
    const uint32_t bytes = far_frame(frame, PEER_HELLO, far.hello, sizeof far.hello);
    tcp_send(&far.client, frame, 4);
    EVENTUALLY_OF(0, stats.bytes_in == 4); // all that is made for a connection is there
    mem_fail_once(1 + (uint64_t)_i);
    tcp_send(&far.client, frame + 4, bytes - 4);
    it_is_closed(0);
    memory_ran_out_once();
    another_is_welcome();
    all_close();
}
END_TEST

// ---- whom we dial ----

static void
another_is_reached(void)
{
    far_be_reached(&far, 1);
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 0);
    await(&nodes[0].up_count, 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].down_count), 1);
    ck_assert_uint_eq(node_stats(0).verdicts[HANDSHAKE_FINE], 1);
}

// To the HELLO, and what would be said to it.
static void
be_dialed(void)
{
    one_open();
    far_listen(&far, 1);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    far_accept(&far);
    far_hear(&far, PEER_HELLO, far.hello, sizeof far.hello);
    handshake_welcome(bus_keys.peer, &far.ours, far.hello, far.welcome);
}

START_TEST(who_is_dialed_and_says_something_else_than_a_welcome_is_refused)
{
    be_dialed();
    far_hello(&far);
    it_is_closed(1);
    await(&nodes[0].down_count, 1);
    another_is_reached();
    all_close();
}
END_TEST

START_TEST(who_is_dialed_says_nothing_behind_its_welcome)
{
    one_open();
    far_listen(&far, 1);
    far_be_reached(&far, 1);
    far_say(&far, PEER_PING, NULL, 0);
    it_is_closed(1);
    await(&nodes[0].down_count, 1);
    ck_assert_uint_eq(node_stats(0).frames_in, 0);
    far_accept(&far); // it is looked for at once
    all_close();
}
END_TEST

static struct bus_peer **
known(struct bus *bus)
{
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        if (bus->peers[i] != NULL)
            return &bus->peers[i];
    ck_abort_msg("nobody is known");
}

// For the HELLO's frame, for its place in the queue, and for what is heard. The lock keeps the connection from beginning before memory
// runs out.
START_TEST(without_memory_for_a_hello_the_connection_is_closed_and_made_again)
{
    one_open();
    far_listen(&far, 1);
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    ck_assert(lane_connect(bus, *known(bus), PEER_CONTROL));
    far_accept(&far);
    EVENTUALLY_OF(0, stats.open == 1);
    mem_fail_once(1 + (uint64_t)_i);
    lock_release(&bus->lock);
    it_is_closed(0);
    await(&nodes[0].down_count, 1);
    memory_ran_out_once();
    another_is_reached();
    all_close();
}
END_TEST

// A connection of NNG's that there is no memory for is none.
START_TEST(without_memory_for_a_connection_that_was_made_it_is_made_again)
{
    one_open();
    far_listen(&far, 1);
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    mem_fail_once(4);
    ck_assert(lane_connect(bus, *known(bus), PEER_CONTROL));
    lock_release(&bus->lock);
    await(&nodes[0].down_count, 1);
    memory_ran_out_once();
    far_accept(&far);
    it_is_closed(0);
    another_is_reached();
    all_close();
}
END_TEST

START_TEST(without_memory_for_a_confirmation_the_connection_is_closed_and_made_again)
{
    be_dialed();
    far_await_heard(1); // else it might be closed before it hears
    mem_fail_once(1);
    far_say(&far, PEER_WELCOME, far.welcome, sizeof far.welcome);
    it_is_closed(0);
    await(&nodes[0].down_count, 1);
    ck_assert_uint_eq(mem_refused(), 1);
    mem_fail_once(0);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 0);
    while (send_frame(0, 1, PEER_CONTROL, 1, nothing) == false)
        (void)sched_yield();
    far_accept(&far); // it was there for a moment, and is looked for
    far_welcome(&far);
    far_hear(&far, PEER_CONFIRM, NULL, 0);
    await(&nodes[0].up_count, 1);
    all_close();
}
END_TEST

// What its WELCOME says is read while it is forgotten: it is no other node than the expected one, and is sent nothing.
START_TEST(who_is_forgotten_while_it_says_welcome_is_closed_and_nothing_else)
{
    be_dialed();
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    far_say(&far, PEER_WELCOME, far.welcome, sizeof far.welcome);
    EVENTUALLY_OF(0, stats.bytes_in == PEER_HEAD_BYTES + sizeof far.welcome);
    bus_peer_free(bus, known(bus));
    lock_release(&bus->lock);
    ck_assert_uint_eq(far.client.count, 0);
    ck_assert(!tcp_receive_more(&far.client));
    EVENTUALLY_OF(0, stats.open == 0);
    ck_assert_uint_eq(node_stats(0).wrong_node, 0);
    ck_assert_uint_eq(atomic_load(&nodes[0].up_count), 0);
    ck_assert_uint_eq(atomic_load(&nodes[0].down_count), 0);
    all_close();
}
END_TEST

START_TEST(who_wants_no_word_of_refusals_is_told_that_a_node_is_down)
{
    node_prepare(0);
    nodes[0].config.refused = NULL;
    node_open(0);
    far_listen(&far, 1);
    far_leave(&far);
    (void)send_frame(0, 1, PEER_CONTROL, 1, nothing);
    await(&nodes[0].down_count, 1);
    all_close();
}
END_TEST

static Suite *
bus_link_suite(void)
{
    Suite *suite = suite_create("wire/bus_link");
    TCase *connects = tcase_create("who connects");
    tcase_add_test(connects, who_says_hello_twice_is_refused);
    tcase_add_test(connects, who_is_of_no_cluster_yet_is_told_who_we_are_and_heard_no_further);
    tcase_add_loop_test(connects, without_memory_who_connects_is_closed_and_the_next_is_welcome, 0,
                        3);
    tcase_add_loop_test(
        connects, without_memory_for_a_welcome_the_connection_is_closed_and_the_next_is_welcome, 0,
        2);
    suite_add_tcase(suite, connects);
    TCase *dialed = tcase_create("who is dialed");
    tcase_add_test(dialed, who_is_dialed_and_says_something_else_than_a_welcome_is_refused);
    tcase_add_test(dialed, who_is_dialed_says_nothing_behind_its_welcome);
    tcase_add_loop_test(dialed, without_memory_for_a_hello_the_connection_is_closed_and_made_again,
                        0, 3);
    tcase_add_test(dialed, without_memory_for_a_connection_that_was_made_it_is_made_again);
    tcase_add_test(dialed,
                   without_memory_for_a_confirmation_the_connection_is_closed_and_made_again);
    tcase_add_test(dialed, who_is_forgotten_while_it_says_welcome_is_closed_and_nothing_else);
    tcase_add_test(dialed, who_wants_no_word_of_refusals_is_told_that_a_node_is_down);
    suite_add_tcase(suite, dialed);
    return suite;
}

CHECK_MAIN(bus_link_suite)
