// tests/unit/wire/test_stream_begin.c -- connections that end as they begin, and memory that runs out: each is told once, counted as what
// it was, and leaves nothing behind.
//
// Labels: tsan
#include <sched.h>

#include "tests/lib/await.h"
#include "tests/lib/nng_faults.h"
#include "tests/lib/stream_wait.h"
#include "tests/lib/tcp_client.h"

static struct owner {
    struct streams *set;
    struct stream *stream; // kept, where it is wanted
    bool closes, refuses;  // in begin
    size_t takes;          // so many bytes at once, and leaves what is less
    _Atomic uint32_t begun, reads, ended, missed;
    enum stream_end why;
    enum stream_miss miss;
} owner;

static int who; // is dialed

static void *
begin(void *context, struct stream *stream, void *dialed)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert(dialed == NULL || dialed == &who);
    if (owner.closes)
        stream_close(stream, STREAM_REFUSED);
    if (!owner.refuses) {
        stream_keep(stream);
        owner.stream = stream;
    }
    await_tell(&owner.begun);
    return owner.refuses ? NULL : &owner;
}

static void
missed(void *context, void *dialed, enum stream_miss why)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert_ptr_eq(dialed, &who);
    owner.miss = why;
    await_tell(&owner.missed);
}

static void
read_input(void *context, struct stream *stream, struct stream_input *input)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert_ptr_eq(stream, owner.stream);
    if (input->count >= owner.takes) {
        input->taken = input->count;
        mem_free(input->bytes);
        input->bytes = NULL;
        input->wanted = owner.takes;
    }
    await_tell(&owner.reads);
}

static void
end(void *context, struct stream *stream, enum stream_end why)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert_ptr_eq(stream, owner.stream);
    owner.why = why;
    await_tell(&owner.ended);
}

static struct streams_stats
stats_of(void)
{
    struct streams_stats stats;
    streams_stats(owner.set, &stats);
    return stats;
}

// One connection may be accepted at a time: what is not given back is missed.
static omen_status
try_open(const char *host, struct omen_error *error)
{
    const struct streams_config config = {.host = host,
                                          .accepted_max = 1,
                                          .tick_ms = 5,
                                          .queue_bytes_max = 1u << 20,
                                          .context = &owner,
                                          .begin = begin,
                                          .missed = missed,
                                          .read = read_input,
                                          .end = end};
    return streams_open(&config, &owner.set, error);
}

static void
open_set(const char *host)
{
    struct omen_error error = {0};
    ck_assert_msg(try_open(host, &error) == OMEN_OK, "%s", error.text);
}

static void
close_set(void)
{
    streams_close(owner.set);
    ck_assert_uint_eq(atomic_load(&nng_alive), 0);
    if (owner.stream != NULL)
        stream_release(owner.stream);
}

// Until it is over for the set, too: one ended so, and as many operations of NNG's are left as before.
static void
wait_until_ended(enum stream_end why, uint32_t alive)
{
    while (stats_of().ended[why] != 1 || stats_of().open != 0)
        (void)sched_yield();
    while (atomic_load(&nng_alive) != alive)
        (void)sched_yield();
}

static void
fail_at(uint32_t ours, uint32_t of_nng)
{
    mem_fail_once(ours);
    atomic_store(&nng_fail_at, of_nng);
}

// The set, NNG's listener, and its operation.
START_TEST(a_set_that_there_is_no_memory_for_is_said_to_be_none)
{
    struct omen_error error = {0};
    fail_at(_i == 0, (uint32_t)_i);
    ck_assert_int_eq(try_open("127.0.0.1", &error), OMEN_E_NO_MEMORY);
    ck_assert_int_eq(error.status, OMEN_E_NO_MEMORY);
    ck_assert_ptr_null(owner.set);
    fail_at(0, 0);
    ck_assert_uint_eq(atomic_load(&nng_alive), 0);
    open_set("127.0.0.1");
    close_set();
}
END_TEST

// ---- who connects ----

static void
another_is_accepted(void)
{
    const uint32_t begun = atomic_load(&owner.begun), ended = atomic_load(&owner.ended);
    owner.closes = owner.refuses = false;
    struct tcp_client client = tcp_connect(streams_port(owner.set));
    await(&owner.begun, begun + 1);
    tcp_leave(&client);
    await(&owner.ended, ended + 1);
    ck_assert_int_eq(owner.why, STREAM_LEFT);
}

// Of a connection, and of its four operations of NNG's.
START_TEST(without_memory_who_connects_is_closed_and_the_next_is_accepted)
{
    open_set("127.0.0.1");
    const uint32_t alive = atomic_load(&nng_alive);
    fail_at(_i == 0, (uint32_t)_i);
    struct tcp_client client = {.fd = tcp_connect(streams_port(owner.set)).fd};
    wait_until_ended(STREAM_NO_MEMORY, alive);
    tcp_expect_end(&client);
    tcp_leave(&client);
    ck_assert_uint_eq(atomic_load(&owner.begun) + atomic_load(&owner.ended), 0);
    ck_assert_uint_eq(atomic_load(&owner.missed), 0);
    fail_at(0, 0);
    another_is_accepted();
    close_set();
}
END_TEST

// Who is closed in `begin`, is not wanted, or both.
START_TEST(a_connection_may_end_as_it_begins)
{
    open_set("127.0.0.1");
    owner.closes = (_i & 1) != 0;
    owner.refuses = (_i & 2) != 0;
    const uint32_t alive = atomic_load(&nng_alive);
    struct tcp_client client = tcp_connect(streams_port(owner.set));
    tcp_expect_end(&client);
    tcp_leave(&client);
    wait_until_ended(owner.closes ? STREAM_REFUSED : STREAM_CLOSED, alive);
    ck_assert_uint_eq(atomic_load(&owner.begun), 1);
    ck_assert_uint_eq(atomic_load(&owner.reads), 0);
    ck_assert_uint_eq(atomic_load(&owner.ended), owner.refuses ? 0 : 1);
    if (!owner.refuses) {
        ck_assert_int_eq(owner.why, STREAM_REFUSED);
        stream_release(owner.stream);
    }
    another_is_accepted();
    close_set();
}
END_TEST

// ---- whom we dial ----

static int
listener(struct gossip_address *out)
{
    struct sockaddr_in at = tcp_loopback(0);
    socklen_t at_bytes = sizeof at;
    const int fd = tcp_socket();
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &at_bytes), 0);
    *out = (struct gossip_address){.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                                   .port = ntohs(at.sin_port)};
    return fd;
}

static void
another_is_reached(const struct gossip_address *to)
{
    fail_at(0, 0);
    const uint32_t begun = atomic_load(&owner.begun);
    ck_assert_int_eq(streams_dial(owner.set, to, UINT64_MAX, &who), OMEN_OK);
    await(&owner.begun, begun + 1);
}

// The dial, its operation, and NNG's dialer.
START_TEST(a_dial_that_there_is_no_memory_for_is_said_to_be_none)
{
    struct gossip_address to;
    const int fd = listener(&to);
    open_set(NULL);
    fail_at(_i == 0, (uint32_t)_i);
    ck_assert_int_eq(streams_dial(owner.set, &to, UINT64_MAX, &who), OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(atomic_load(&nng_alive), 0);
    another_is_reached(&to);
    ck_assert_uint_eq(atomic_load(&owner.begun), 1);
    ck_assert_uint_eq(atomic_load(&owner.missed), 0);
    close_set();
    (void)close(fd);
}
END_TEST

START_TEST(by_a_deaf_set_nobody_is_dialed)
{
    struct gossip_address to;
    const int fd = listener(&to);
    open_set(NULL);
    streams_deaf(owner.set);
    ck_assert_int_eq(streams_dial(owner.set, &to, UINT64_MAX, &who), OMEN_E_CLOSED);
    close_set();
    ck_assert_uint_eq(atomic_load(&owner.begun) + atomic_load(&owner.missed), 0);
    (void)close(fd);
}
END_TEST

// The connection that a dial has come to, and its four operations. Two things of NNG's were made for the dial before.
START_TEST(without_memory_for_whom_we_reach_the_dial_is_missed_once)
{
    struct gossip_address to;
    const int fd = listener(&to);
    open_set(NULL);
    fail_at(_i == 0 ? 2 : 0, _i == 0 ? 0 : 2 + (uint32_t)_i);
    ck_assert_int_eq(streams_dial(owner.set, &to, UINT64_MAX, &who), OMEN_OK);
    await(&owner.missed, 1);
    ck_assert_int_eq(owner.miss, STREAM_MISS_OTHER);
    wait_until_ended(STREAM_NO_MEMORY, 0);
    ck_assert_uint_eq(atomic_load(&owner.begun) + atomic_load(&owner.ended), 0);
    another_is_reached(&to);
    close_set();
    ck_assert_uint_eq(atomic_load(&owner.missed), 1);
    ck_assert_uint_eq(atomic_load(&owner.ended), 1);
    (void)close(fd);
}
END_TEST

// ---- what comes ----

static struct tcp_client
accept_one(size_t takes)
{
    owner.takes = takes;
    open_set("127.0.0.1");
    struct tcp_client client = tcp_connect(streams_port(owner.set));
    await(&owner.begun, 1);
    stream_await_receive(owner.stream);
    return client;
}

static void
ended_without_memory(struct tcp_client *client)
{
    await(&owner.ended, 1);
    ck_assert_int_eq(owner.why, STREAM_NO_MEMORY);
    ck_assert_uint_ge(mem_refused(), 1);
    mem_fail_after(0);
    tcp_leave(client);
    close_set();
    ck_assert_uint_eq(atomic_load(&owner.ended), 1);
}

START_TEST(what_there_is_no_room_for_ends_the_connection)
{
    static const uint8_t bytes[4096]; // as much as there is room for
    struct tcp_client client = accept_one(SIZE_MAX);
    tcp_send(&client, bytes, 1);
    await(&owner.reads, 1);
    mem_fail_after(1);
    tcp_send(&client, bytes, sizeof bytes - 1);
    ended_without_memory(&client);
}
END_TEST

// What came was taken whole, so what comes next wants memory of its own.
START_TEST(without_memory_for_what_comes_next_the_connection_ends)
{
    struct tcp_client client = accept_one(3);
    tcp_send(&client, "ab", 2);
    await(&owner.reads, 1);
    mem_fail_after(1);
    tcp_send(&client, "c", 1);
    ended_without_memory(&client);
    ck_assert_uint_ge(atomic_load(&owner.reads), 2);
}
END_TEST

// ---- what goes ----

static omen_status
put(omen_status (*by)(struct stream *, uint8_t *, size_t), const char *text, uint64_t fails)
{
    const size_t count = strlen(text);
    uint8_t *bytes = mem_alloc(count);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, text, count);
    mem_fail_once(fails);
    const omen_status status = by(owner.stream, bytes, count);
    ck_assert_uint_eq(mem_refused(), fails != 0);
    mem_fail_once(0);
    return status;
}

START_TEST(what_there_is_no_memory_for_is_not_sent_and_what_follows_is)
{
    struct tcp_client client = accept_one(1);
    ck_assert_int_eq(put(stream_write, "lost", 1), OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(stream_queued(owner.stream), 0);
    ck_assert_int_eq(put(stream_gather, "ab", 2), OMEN_OK); // without room for more behind it
    ck_assert_int_eq(put(stream_gather, "lost", 1), OMEN_E_NO_MEMORY);
    ck_assert_int_eq(put(stream_gather, "cd", 0), OMEN_OK);
    ck_assert_uint_eq(stream_queued(owner.stream), 4);
    stream_send(owner.stream);
    while (client.count < 4)
        ck_assert(tcp_receive_more(&client));
    ck_assert_mem_eq(client.bytes, "abcd", 4);
    tcp_leave(&client);
    await(&owner.ended, 1);
    close_set();
}
END_TEST

static Suite *
stream_begin_suite(void)
{
    Suite *suite = suite_create("wire/stream_begin");
    TCase *begins = tcase_create("begins");
    tcase_add_loop_test(begins, a_set_that_there_is_no_memory_for_is_said_to_be_none, 0, 3);
    tcase_add_loop_test(begins, without_memory_who_connects_is_closed_and_the_next_is_accepted, 0,
                        5);
    tcase_add_loop_test(begins, a_connection_may_end_as_it_begins, 1, 4);
    tcase_add_loop_test(begins, a_dial_that_there_is_no_memory_for_is_said_to_be_none, 0, 3);
    tcase_add_test(begins, by_a_deaf_set_nobody_is_dialed);
    tcase_add_loop_test(begins, without_memory_for_whom_we_reach_the_dial_is_missed_once, 0, 5);
    suite_add_tcase(suite, begins);
    TCase *memory = tcase_create("memory");
    tcase_add_test(memory, what_there_is_no_room_for_ends_the_connection);
    tcase_add_test(memory, without_memory_for_what_comes_next_the_connection_ends);
    tcase_add_test(memory, what_there_is_no_memory_for_is_not_sent_and_what_follows_is);
    suite_add_tcase(suite, memory);
    return suite;
}

CHECK_MAIN(stream_begin_suite)
