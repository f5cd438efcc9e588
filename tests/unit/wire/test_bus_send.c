// tests/unit/wire/test_bus_send.c -- frames that cannot go: no memory, too much that waits, a connection that ends meanwhile. Each is
// refused and counted once, and those after it arrive.
//
// Labels: tsan
#include "base/os_thread.h"
#include "tests/lib/bus_far.h"
#include "wire/bus_int.h"

static const struct wire_bytes nothing = {0};
static struct far far, other;

static void
one_open(void)
{
    node_prepare(0);
    nodes[0].config.control_bytes_max = 1u << 20;
    node_open(0);
}

// Of what a connection wants: itself, room for the frames that wait for it, the dial.
START_TEST(without_memory_for_a_connection_a_frame_is_refused_and_the_next_makes_one)
{
    one_open();
    far_listen(&far, 1);
    mem_fail_once(1 + (uint64_t)_i);
    ck_assert(!send_frame(0, 1, PEER_CONTROL, 1, nothing));
    ck_assert_uint_eq(mem_refused(), 1);
    mem_fail_once(0);
    ck_assert_uint_eq(node_stats(0).nobody, 1);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 2, nothing));
    far_accept(&far);
    far_welcome(&far);
    far_hear(&far, PEER_CONFIRM, NULL, 0);
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 2);
    ck_assert_uint_eq(node_stats(0).frames_out, 1);
    nodes_close(1);
    far_leave(&far);
}
END_TEST

START_TEST(a_frame_that_there_is_no_memory_for_does_not_wait_and_those_beside_it_do)
{
    static const uint8_t body[40000];
    one_open();
    far_listen(&far, 1);
    ck_assert(send_frame(0, 1, PEER_CONTROL, 1, nothing));
    far_accept(&far); // and says nothing yet
    far_await_hello(&far);
    far_await_heard(1);
    for (uint64_t n = 1; n <= 2; n++) { // the frame, and room behind what waits
        mem_fail_once(n);
        ck_assert(!send_frame(0, 1, PEER_CONTROL, 2, (struct wire_bytes){body, sizeof body}));
        ck_assert_uint_eq(mem_refused(), 1);
        mem_fail_once(0);
        ck_assert_uint_eq(node_stats(0).full, n);
    }
    ck_assert(send_frame(0, 1, PEER_CONTROL, 3, (struct wire_bytes){body, sizeof body}));
    far_welcome(&far);
    far_hear(&far, PEER_CONFIRM, NULL, 0);
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 1);
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 3);
    nodes_close(1);
    far_leave(&far);
}
END_TEST

START_TEST(so_much_waits_for_a_connection_and_one_frame_more_does_not)
{
    static const uint8_t body[40000];
    node_prepare(0);
    nodes[0].config.control_bytes_max = 2 * (PEER_HEAD_BYTES + sizeof body);
    node_open(0);
    far_listen(&far, 1);
    for (uint32_t i = 1; i <= 2; i++)
        ck_assert(send_frame(0, 1, PEER_CONTROL, i, (struct wire_bytes){body, sizeof body}));
    ck_assert(!send_frame(0, 1, PEER_CONTROL, 3, nothing));
    ck_assert_uint_eq(node_stats(0).full, 1);
    far_accept(&far);
    far_welcome(&far);
    far_hear(&far, PEER_CONFIRM, NULL, 0);
    for (uint32_t i = 1; i <= 2; i++)
        ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), i);
    nodes_close(1);
    far_leave(&far);
}
END_TEST

START_TEST(over_a_connection_that_takes_no_more_a_frame_is_refused_until_it_does)
{
    static const uint8_t body[40000];
    one_open();
    far_listen(&far, 1);
    far_be_reached(&far, 1);
    await(&nodes[0].up_count, 1);
    mem_fail_once(2); // its place in the queue
    ck_assert(!send_frame(0, 1, PEER_CONTROL, 1, (struct wire_bytes){body, sizeof body}));
    ck_assert_uint_eq(mem_refused(), 1);
    mem_fail_once(0);
    ck_assert_uint_eq(node_stats(0).full, 1);
    uint32_t taken = 0;
    while (send_frame(0, 1, PEER_CONTROL, 2 + taken, (struct wire_bytes){body, sizeof body}))
        taken++;
    ck_assert_uint_eq(node_stats(0).full, 2);
    ck_assert_uint_eq(node_stats(0).frames_out, 1 + taken);
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 0); // with which it was reached
    for (uint32_t i = 0; i < taken; i++)
        ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 2 + i);
    while (!send_frame(0, 1, PEER_CONTROL, 9, nothing))
        (void)sched_yield();
    ck_assert_uint_eq(far_hear(&far, PEER_RAFT, NULL, 0), 9);
    nodes_close(1);
    far_leave(&far);
}
END_TEST

static _Atomic uint32_t down_is_shut, down_waits;

static void
down_at_a_gate(void *context, struct wire_uuid node)
{
    await_tell(&down_waits);
    while (atomic_load(&down_is_shut) != 0)
        os_wait(&down_is_shut, 1);
    node_down(context, node);
}

// The bus's thread, which tells the lane that its connection is no more, is held up.
START_TEST(over_a_connection_that_is_closed_and_not_yet_known_to_be_nothing_is_sent)
{
    node_prepare(0);
    nodes[0].config.down = down_at_a_gate;
    node_open(0);
    far_listen(&far, 1);
    far_be_reached(&far, 1);
    far_listen(&other, 2);
    far_be_reached(&other, 2);
    await(&nodes[0].up_count, 2);
    atomic_store(&down_is_shut, 1);
    far_leave(&far);
    await(&down_waits, 1);
    far_leave(&other);
    while (send_frame(0, 2, PEER_CONTROL, 1, nothing))
        (void)sched_yield();
    ck_assert_uint_eq(node_stats(0).nobody, 1);
    ck_assert_uint_eq(atomic_load(&nodes[0].down_count), 0);
    atomic_store(&down_is_shut, 0);
    os_wake_all(&down_is_shut);
    await(&nodes[0].down_count, 2);
    nodes_close(1);
}
END_TEST

static struct {
    _Atomic uint32_t stop;
    _Atomic uint64_t taken, refused;
} sender;

static void *
send_on(void *argument)
{
    static const uint8_t body[3000];
    (void)argument;
    while (atomic_load(&sender.stop) == 0) {
        if (send_frame(0, 1, PEER_CONTROL, 1, (struct wire_bytes){body, sizeof body}))
            atomic_fetch_add(&sender.taken, 1);
        else
            atomic_fetch_add(&sender.refused, 1);
    }
    return NULL;
}

static void
exchange(const struct gossip_address *there)
{
    struct bus *bus = nodes[0].bus;
    lock_acquire(&bus->lock);
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        while (bus->peers[i] != NULL)
            bus_peer_free(bus, &bus->peers[i]);
    ck_assert_ptr_nonnull(bus_peer_make(bus, node_uuid(1), there));
    lock_release(&bus->lock);
}

// The node is known at every moment, and there is a connection, or one is being made, as soon as somebody has looked for one; so a
// frame to nobody is one whose connection went between the look and the handing over.
START_TEST(a_connection_that_goes_while_a_frame_is_made_ready_refuses_the_frame)
{
    one_open();
    far_listen(&far, 1);
    struct sockaddr_in at;
    socklen_t at_bytes = sizeof at;
    ck_assert_int_eq(getsockname(far.listener, (struct sockaddr *)&at, &at_bytes), 0);
    const struct gossip_address there = loopback(ntohs(at.sin_port));
    pthread_t thread;
    ck_assert_int_eq(os_thread_start(&thread, send_on, NULL), 0);
    while (node_stats(0).nobody == 0)
        exchange(&there);
    atomic_store(&sender.stop, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    const struct bus_stats stats = node_stats(0);
    ck_assert_uint_eq(stats.frames_out, atomic_load(&sender.taken));
    ck_assert_uint_eq(stats.nobody + stats.full, atomic_load(&sender.refused));
    nodes_close(1);
    far_leave(&far);
}
END_TEST

static Suite *
bus_send_suite(void)
{
    Suite *suite = suite_create("wire/bus_send");
    TCase *tests = tcase_create("bus_send");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(
        tests, without_memory_for_a_connection_a_frame_is_refused_and_the_next_makes_one, 0, 3);
    tcase_add_test(tests, a_frame_that_there_is_no_memory_for_does_not_wait_and_those_beside_it_do);
    tcase_add_test(tests, so_much_waits_for_a_connection_and_one_frame_more_does_not);
    tcase_add_test(tests, over_a_connection_that_takes_no_more_a_frame_is_refused_until_it_does);
    tcase_add_test(tests, over_a_connection_that_is_closed_and_not_yet_known_to_be_nothing_is_sent);
    tcase_add_test(tests, a_connection_that_goes_while_a_frame_is_made_ready_refuses_the_frame);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(bus_send_suite)
