// tests/unit/wire/test_stream_nng.c -- one connection: what its owner takes and leaves, pauses, ends, and what waits to be sent.
//
// Labels: tsan
#include "wire/stream_nng.h"

#include <linux/sockios.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "base/os_clock.h"
#include "tests/lib/await.h"
#include "tests/lib/tcp_client.h"
#include "wire/stream_nng_int.h"

static struct owner {
    struct streams *set;
    struct stream *stream; // kept
    void (*read)(struct stream *stream, struct stream_input *input);
    _Atomic uint32_t begun, reads, ended;
    enum stream_end why;
    _Atomic size_t seen; // bytes that were there at the last read
} owner;

static void *
begin(void *context, struct stream *stream, void *dialed)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert_ptr_null(dialed);
    owner.stream = stream;
    stream_keep(stream);
    await_tell(&owner.begun);
    return &owner;
}

static void
read_input(void *context, struct stream *stream, struct stream_input *input)
{
    ck_assert_ptr_eq(context, &owner);
    ck_assert_uint_eq(atomic_load(&owner.ended), 0);
    atomic_store(&owner.seen, input->count);
    owner.read(stream, input);
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

static struct tcp_client
open_with(void (*read)(struct stream *, struct stream_input *))
{
    const struct streams_config config = {.host = "127.0.0.1",
                                          .accepted_max = 1,
                                          .tick_ms = 5,
                                          .queue_bytes_max = 100000,
                                          .context = &owner,
                                          .begin = begin,
                                          .read = read_input,
                                          .end = end};
    struct omen_error error = {0};
    owner.read = read;
    ck_assert_msg(streams_open(&config, &owner.set, &error) == OMEN_OK, "%s", error.text);
    const struct tcp_client client = tcp_connect(streams_port(owner.set));
    await(&owner.begun, 1);
    return client;
}

static void
close_all(struct tcp_client *client)
{
    streams_close(owner.set);
    ck_assert_uint_eq(atomic_load(&owner.ended), 1);
    stream_release(owner.stream);
    tcp_leave(client);
}

static void
take_threes(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    input->taken = input->count / 3 * 3;
}

START_TEST(what_is_not_taken_is_shown_again_with_what_comes)
{
    struct tcp_client client = open_with(take_threes);
    tcp_send(&client, "abcd", 4);
    await(&owner.reads, 1);
    ck_assert_uint_eq(atomic_load(&owner.seen), 4);
    tcp_send(&client, "e", 1);
    await(&owner.reads, 2);
    ck_assert_uint_eq(atomic_load(&owner.seen), 2);
    tcp_send(&client, "f", 1);
    await(&owner.reads, 3);
    ck_assert_uint_eq(atomic_load(&owner.seen), 3);
    close_all(&client);
    ck_assert_int_eq(owner.why, STREAM_CLOSED);
}
END_TEST

static void
keep_all(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    input->taken = input->count;
    mem_free(input->bytes);
    input->bytes = NULL;
}

START_TEST(an_owner_may_keep_the_memory_of_what_came)
{
    struct tcp_client client = open_with(keep_all);
    for (uint32_t i = 1; i <= 3; i++) {
        tcp_send(&client, "abc", 3);
        await(&owner.reads, i);
        ck_assert_uint_eq(atomic_load(&owner.seen), 3);
    }
    close_all(&client);
}
END_TEST

static void
pause_first(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    input->taken = atomic_load(&owner.reads) > 0 ? input->count : 0;
    input->pause = input->taken == 0;
}

static _Atomic size_t whole, room; // taken when so much is there; what there was room for then

static void
take_whole(struct stream *stream, struct stream_input *input)
{
    if (input->count < atomic_load(&whole))
        return;
    atomic_store(&room, stream->input.room); // of this callback alone
    keep_all(stream, input);
}

// The room that there was when so many bytes had come, which are kept.
static size_t
room_for(struct tcp_client *client, size_t count)
{
    static char bytes[300000];
    atomic_store(&whole, count);
    atomic_store(&room, 0);
    tcp_send(client, bytes, count);
    for (;;) {
        const uint32_t reads = atomic_load(&owner.reads);
        if (atomic_load(&room) != 0)
            return atomic_load(&room);
        await(&owner.reads, reads + 1);
    }
}

START_TEST(who_sends_much_has_room_for_as_much_and_less_when_he_sends_little)
{
    struct tcp_client client = open_with(take_whole);
    ck_assert_uint_eq(room_for(&client, 1), 4096);
    ck_assert_uint_ge(room_for(&client, 100000), 100000);
    ck_assert_uint_eq(room_for(&client, 1), 100000);
    ck_assert_uint_eq(room_for(&client, 1), 50000);
    ck_assert_uint_eq(room_for(&client, 1), 25000);
    ck_assert_uint_eq(room_for(&client, 20000), 2 * 12500);
    ck_assert_uint_eq(room_for(&client, 1), 20000);
    ck_assert_uint_ge(room_for(&client, 300000), 300000);
    ck_assert_uint_eq(room_for(&client, 1), 262144); // and not more
    close_all(&client);
}
END_TEST

#define UNTIL_LOOK (SPIN_RUN + 1u) // messages: the first begins the run

static uint64_t
looks(void)
{
    struct streams_stats stats;
    streams_stats(owner.set, &stats);
    return stats.looks;
}

static uint64_t
looks_found(void)
{
    struct streams_stats stats;
    streams_stats(owner.set, &stats);
    return stats.looks_found;
}

static struct {
    _Atomic uint32_t begun; // reads
    _Atomic uint32_t there; // messages that the other side has
} one_by_one;

// Until the other side has all that was sent, read or not.
static void
wait_until_there(const struct tcp_client *client)
{
    int left = 1;
    while (left > 0) {
        ck_assert_int_eq(ioctl(client->fd, SIOCOUTQ, &left), 0);
        (void)sched_yield();
    }
}

// Takes one message, and is at its end when the next one is there.
static void
take_until_the_next_is_there(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    ck_assert_uint_eq(input->count, 3);
    input->taken = 3;
    input->alone = input->answered = true;
    await_tell(&one_by_one.begun);
    await(&one_by_one.there, atomic_load(&one_by_one.begun) + 1);
}

START_TEST(what_comes_one_by_one_is_found_by_looking_out_for_it)
{
    struct tcp_client client = open_with(take_until_the_next_is_there);
    for (uint32_t i = 0; i <= UNTIL_LOOK; i++) {
        if (i == UNTIL_LOOK)
            ck_assert_uint_eq(looks(), 0);
        await(&one_by_one.begun, i);
        tcp_send(&client, "abc", 3);
        wait_until_there(&client);
        await_tell(&one_by_one.there);
    }
    await(&one_by_one.begun, UNTIL_LOOK + 1);
    ck_assert_uint_eq(looks(), 1);
    ck_assert_uint_eq(looks_found(), 1);
    await_tell(&one_by_one.there); // nobody waits for one more
    close_all(&client);
}
END_TEST

static void
take_alone(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    input->taken = input->count;
    input->alone = input->answered = true;
}

static void
send_until_it_looks(struct tcp_client *client)
{
    for (uint32_t i = 1; i <= UNTIL_LOOK; i++) {
        ck_assert_uint_eq(looks(), 0);
        tcp_send(client, "abc", 3);
        await(&owner.reads, i);
    }
    while (looks() == 0)
        (void)sched_yield();
}

// Another turn of the set's thread, from its beginning to its end: the first that ends may have begun before. Returns when the next is
// to be.
static uint64_t
turn_once(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t turns = atomic_load(&owner.set->turns);
        streams_wake(owner.set);
        await(&owner.set->turns, turns + 1);
    }
    uint64_t next_ns;
    do
        next_ns = atomic_load(&owner.set->turn_ns);
    while (next_ns == UINT64_MAX);
    return next_ns;
}

static void
wait_until_it_does_not_look(void)
{
    while (atomic_load(&owner.set->looking))
        (void)sched_yield();
}

START_TEST(who_is_silent_is_looked_out_for_once_and_read_when_something_comes)
{
    struct tcp_client client = open_with(take_alone);
    send_until_it_looks(&client);
    wait_until_it_does_not_look();
    for (uint32_t i = 0; i < 20; i++)
        turn_once();
    ck_assert_uint_eq(looks(), 1);
    ck_assert_uint_eq(looks_found(), 0);
    ck_assert(!atomic_load(&owner.set->looking));
    for (uint32_t i = 1; i <= 300; i++) {
        tcp_send(&client, "abc", 3);
        await(&owner.reads, UNTIL_LOOK + i);
    }
    ck_assert_uint_eq(atomic_load(&owner.reads), UNTIL_LOOK + 300);
    close_all(&client);
}
END_TEST

START_TEST(who_leaves_while_he_is_looked_out_for_is_closed)
{
    struct tcp_client client = open_with(take_alone);
    send_until_it_looks(&client);
    tcp_leave(&client);
    await(&owner.ended, 1);
    ck_assert_int_eq(owner.why, STREAM_LEFT);
    streams_close(owner.set);
    stream_release(owner.stream);
}
END_TEST

START_TEST(a_set_may_close_while_it_looks_out)
{
    struct tcp_client client = open_with(take_alone);
    send_until_it_looks(&client);
    close_all(&client);
    ck_assert_int_eq(owner.why, STREAM_CLOSED);
}
END_TEST

// Told what it may be told, and still at work.
static void
take_and_owe(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    if (input->one_by_one)
        await_tell(&one_by_one.begun);
    input->taken = input->count;
    input->alone = true;
}

START_TEST(who_waits_for_an_answer_is_said_to_ask_one_by_one_and_not_looked_out_for)
{
    struct tcp_client client = open_with(take_and_owe);
    for (uint32_t i = 1; i <= UNTIL_LOOK + 3; i++) {
        tcp_send(&client, "abc", 3);
        await(&owner.reads, i);
    }
    ck_assert_uint_eq(atomic_load(&one_by_one.begun), 3);
    ck_assert_uint_eq(looks(), 0);
    close_all(&client);
}
END_TEST

static void
take_threes_alone(struct stream *stream, struct stream_input *input)
{
    take_threes(stream, input);
    input->wanted = input->count > input->taken ? 3 : 0;
    input->alone = input->answered = true;
}

START_TEST(the_rest_of_a_message_is_looked_out_for_too)
{
    struct tcp_client client = open_with(take_threes_alone);
    send_until_it_looks(&client);
    wait_until_it_does_not_look();
    tcp_send(&client, "a", 1); // after a look in vain a chance is left out
    await(&owner.reads, UNTIL_LOOK + 1);
    ck_assert_uint_eq(looks(), 1);
    tcp_send(&client, "b", 1);
    while (looks() < 2)
        (void)sched_yield();
    close_all(&client);
}
END_TEST

START_TEST(in_a_pause_nothing_is_read_and_its_end_shows_what_was_left)
{
    struct tcp_client client = open_with(pause_first);
    tcp_send(&client, "abc", 3);
    await(&owner.reads, 1);
    tcp_send(&client, "def", 3);
    ck_assert_uint_eq(atomic_load(&owner.reads), 1);
    stream_resume(owner.stream);
    await(&owner.reads, 2);
    ck_assert_uint_eq(atomic_load(&owner.seen), 3);
    await(&owner.reads, 3);
    ck_assert_uint_eq(atomic_load(&owner.seen), 3);
    stream_resume(owner.stream); // is no pause
    close_all(&client);
}
END_TEST

static void
pause_too_late(struct stream *stream, struct stream_input *input)
{
    pause_first(stream, input);
    if (input->pause)
        stream_resume(stream); // as another thread may, before the pause has begun
}

START_TEST(a_resume_that_comes_before_its_pause_is_not_lost)
{
    struct tcp_client client = open_with(pause_too_late);
    tcp_send(&client, "abc", 3);
    await(&owner.reads, 2);
    ck_assert_uint_eq(atomic_load(&owner.seen), 3);
    close_all(&client);
}
END_TEST

static void
take_all(struct stream *stream, struct stream_input *input)
{
    (void)stream;
    input->taken = input->count;
}

static _Atomic size_t total, largest; // of what was taken

static void
take_and_measure(struct stream *stream, struct stream_input *input)
{
    take_all(stream, input);
    atomic_fetch_add(&total, input->count);
    if (input->count > atomic_load(&largest))
        atomic_store(&largest, input->count);
}

START_TEST(many_small_messages_are_read_in_few_pieces)
{
    static char bytes[1000000];
    struct tcp_client client = open_with(take_and_measure);
    tcp_send(&client, bytes, sizeof bytes);
    for (;;) {
        const uint32_t reads = atomic_load(&owner.reads);
        if (atomic_load(&total) == sizeof bytes)
            break;
        await(&owner.reads, reads + 1);
    }
    ck_assert_uint_gt(atomic_load(&largest), 4096);
    ck_assert_uint_le(atomic_load(&largest), 65536);
    close_all(&client);
}
END_TEST

static omen_status
write_some(size_t count, uint8_t byte)
{
    uint8_t *bytes = mem_alloc(count);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, byte, count);
    return stream_write(owner.stream, bytes, count);
}

START_TEST(what_is_written_in_small_and_large_pieces_arrives_as_one_stream)
{
    struct tcp_client client = open_with(take_all);
    static const size_t sizes[] = {1, 70000, 3, 3, 5000, 9000, 1, 30000, 8192, 8193, 2};
    stream_limit(owner.stream, SIZE_MAX);
    size_t expected = 0;
    for (uint32_t round = 0; round < 60; round++)
        for (uint32_t i = 0; i < 11; i++) {
            ck_assert_int_eq(write_some(sizes[i], (uint8_t)(round * 11 + i)), OMEN_OK);
            expected += sizes[i];
        }
    while (client.count < expected)
        ck_assert(tcp_receive_more(&client));
    ck_assert_uint_eq(client.count, expected);
    const uint8_t *at = client.bytes;
    size_t different = 0;
    for (uint32_t round = 0; round < 60; round++)
        for (uint32_t i = 0; i < 11; i++)
            for (size_t j = 0; j < sizes[i]; j++)
                different += *at++ != (uint8_t)(round * 11 + i);
    ck_assert_uint_eq(different, 0);
    while (stream_queued(owner.stream) > 0)
        ;
    close_all(&client);
}
END_TEST

START_TEST(what_the_kernel_takes_at_once_waits_for_nobody)
{
    struct tcp_client client = open_with(take_all);
    ck_assert_int_eq(write_some(1000, 1), OMEN_OK);
    ck_assert_uint_eq(stream_queued(owner.stream), 0);
    ck_assert_int_eq(write_some(9000, 2), OMEN_OK);
    ck_assert_uint_eq(stream_queued(owner.stream), 0);
    while (client.count < 10000)
        ck_assert(tcp_receive_more(&client));
    ck_assert_uint_eq(client.count, 10000);
    struct streams_stats stats;
    streams_stats(owner.set, &stats);
    ck_assert_uint_eq(stats.bytes_out, 10000);
    close_all(&client);
}
END_TEST

static void
gather_some(size_t count, uint8_t byte)
{
    uint8_t *bytes = mem_alloc(count);
    memset(bytes, byte, count);
    ck_assert_int_eq(stream_gather(owner.stream, bytes, count), OMEN_OK);
}

START_TEST(what_is_gathered_leaves_with_the_next_write_or_when_it_is_told_to)
{
    struct tcp_client client = open_with(take_all);
    stream_limit(owner.stream, SIZE_MAX);
    stream_send(owner.stream); // nothing
    gather_some(10, 1);
    gather_some(20000, 2); // too large to be copied behind the first
    gather_some(3, 3);
    ck_assert_uint_eq(stream_queued(owner.stream), 20013);
    stream_send(owner.stream);
    ck_assert_uint_eq(stream_queued(owner.stream), 0);
    for (uint8_t i = 0; i < 20; i++)
        gather_some(9000, 4); // more pieces than leave at once
    gather_some(5, 5);
    ck_assert_int_eq(write_some(1, 6), OMEN_OK);
    const size_t all = 20013 + 20 * 9000 + 6;
    while (client.count < all)
        ck_assert(tcp_receive_more(&client));
    ck_assert_uint_eq(client.count, all);
    for (size_t i = 0; i < all; i++) {
        const uint8_t byte = i < 10        ? 1
                             : i < 20010   ? 2
                             : i < 20013   ? 3
                             : i < all - 6 ? 4
                             : i < all - 1 ? 5
                                           : 6;
        ck_assert_uint_eq(client.bytes[i], byte);
    }
    close_all(&client);
}
END_TEST

START_TEST(who_is_closed_is_sent_nothing_that_was_gathered)
{
    struct tcp_client client = open_with(take_all);
    gather_some(10, 1);
    stream_close(owner.stream, STREAM_REFUSED);
    stream_send(owner.stream);
    tcp_expect_end(&client);
    struct streams_stats stats;
    streams_stats(owner.set, &stats);
    ck_assert_uint_eq(stats.bytes_out, 0);
    close_all(&client);
}
END_TEST

START_TEST(a_queue_takes_up_to_its_limit_and_an_empty_one_anything)
{
    struct tcp_client client = open_with(take_all);
    ck_assert_int_eq(write_some((size_t)64 << 20, 1),
                     OMEN_OK); // the kernel does not take all of it
    ck_assert_uint_gt(stream_queued(owner.stream), 100000);
    ck_assert_int_eq(write_some(1, 1), OMEN_E_FULL);
    stream_limit(owner.stream, (size_t)65 << 20);
    ck_assert_int_eq(write_some(1, 1), OMEN_OK);
    close_all(&client);
}
END_TEST

START_TEST(the_first_who_closes_says_why_and_afterwards_nothing_is_taken)
{
    struct tcp_client client = open_with(take_all);
    stream_close(owner.stream, STREAM_REFUSED);
    stream_close(owner.stream, STREAM_LATE);
    ck_assert_int_eq(write_some(10, 1), OMEN_E_CLOSED);
    await(&owner.ended, 1);
    ck_assert_int_eq(owner.why, STREAM_REFUSED);
    stream_close(owner.stream, STREAM_LATE);
    stream_resume(owner.stream);
    tcp_expect_end(&client);
    struct streams_stats stats;
    do
        streams_stats(owner.set, &stats);
    while (stats.open > 0);
    ck_assert_uint_eq(stats.ended[STREAM_REFUSED], 1);
    ck_assert_str_eq(stream_end_name(STREAM_REFUSED), "refused");
    stream_keep(owner.stream);
    close_all(&client);
    ck_assert_int_eq(write_some(10, 1), OMEN_E_CLOSED); // and the set is no more
    stream_release(owner.stream);
}
END_TEST

// ---- sets ----

START_TEST(a_host_that_is_no_name_is_said_and_one_that_nobody_has_as_well)
{
    char longest[257] = {0};
    struct streams_config config = {.accepted_max = 1,
                                    .tick_ms = 5,
                                    .context = &owner,
                                    .begin = begin,
                                    .read = read_input,
                                    .end = end};
    struct omen_error error = {0};
    struct streams *set;
    memset(longest, 'x', 256);
    const char *const none[] = {"", "a/b", "[::1]", "me@here", "a?b", "a#b", longest};
    for (uint32_t i = 0; i < sizeof none / sizeof *none; i++) {
        config.host = none[i];
        ck_assert_int_eq(streams_open(&config, &set, &error), OMEN_E_INVALID);
        ck_assert_ptr_null(set);
        ck_assert_msg(strstr(error.text, "is neither a name nor an IP address") != NULL, "%s",
                      error.text);
    }
    longest[255] = '\0';
    config.host = longest;
    ck_assert_int_eq(streams_open(&config, &set, &error), OMEN_E_INVALID);
    ck_assert_msg(strstr(error.text, "cannot listen on xxx") != NULL, "%s", error.text);
}
END_TEST

START_TEST(a_set_without_a_host_is_reached_by_nobody_and_closes)
{
    const struct streams_config config = {
        .tick_ms = 5, .context = &owner, .begin = begin, .read = read_input, .end = end};
    struct omen_error error = {0};
    ck_assert_int_eq(streams_open(&config, &owner.set, &error), OMEN_OK);
    ck_assert_uint_eq(streams_port(owner.set), 0);
    streams_close(owner.set);
    mem_fail_after(1);
    ck_assert_int_eq(streams_open(&config, &owner.set, &error), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_ptr_null(owner.set);
}
END_TEST

#define SECOND UINT64_C(1000000000)

START_TEST(a_set_where_nothing_is_due_looks_once_a_second)
{
    struct tcp_client client = open_with(keep_all);
    stream_deadline(owner.stream, os_clock_ns() + 300 * SECOND);
    tcp_send(&client, "abc", 3);
    await(&owner.reads, 1);
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t before_ns = os_clock_ns();
        ck_assert_uint_ge(turn_once(), before_ns + SECOND);
    }
    close_all(&client);
}
END_TEST

// Whether the thread hears of a deadline and means to look then; a machine that stands still for so long finds it over.
static bool
hears_of_a_deadline(void)
{
    owner = (struct owner){0};
    struct tcp_client client = open_with(keep_all);
    turn_once();
    const uint64_t at_ns = os_clock_ns() + SECOND / 2;
    uint64_t next_ns;
    stream_deadline(owner.stream, at_ns);
    do {
        next_ns = atomic_load(&owner.set->turn_ns);
        sched_yield();
    } while (next_ns != at_ns && atomic_load(&owner.ended) == 0);
    if (next_ns == at_ns) {
        await(&owner.ended, 1);
        ck_assert_int_eq(owner.why, STREAM_LATE);
    }
    close_all(&client);
    return next_ns == at_ns;
}

// Check ends the test when it is not heard of: then each is found when it is over, by a look that would have been anyway.
START_TEST(a_deadline_before_the_next_look_is_looked_at_in_time)
{
    while (!hears_of_a_deadline())
        ;
}
END_TEST

static Suite *
stream_nng_suite(void)
{
    Suite *suite = suite_create("wire/stream_nng");
    TCase *tests = tcase_create("stream");
    tcase_add_test(tests, what_is_not_taken_is_shown_again_with_what_comes);
    tcase_add_test(tests, an_owner_may_keep_the_memory_of_what_came);
    tcase_add_test(tests, who_sends_much_has_room_for_as_much_and_less_when_he_sends_little);
    tcase_add_test(tests, in_a_pause_nothing_is_read_and_its_end_shows_what_was_left);
    tcase_add_test(tests, a_resume_that_comes_before_its_pause_is_not_lost);
    tcase_add_test(tests, many_small_messages_are_read_in_few_pieces);
    tcase_add_test(tests, what_is_written_in_small_and_large_pieces_arrives_as_one_stream);
    tcase_add_test(tests, what_the_kernel_takes_at_once_waits_for_nobody);
    tcase_add_test(tests, what_is_gathered_leaves_with_the_next_write_or_when_it_is_told_to);
    tcase_add_test(tests, who_is_closed_is_sent_nothing_that_was_gathered);
    tcase_add_test(tests, a_queue_takes_up_to_its_limit_and_an_empty_one_anything);
    tcase_add_test(tests, the_first_who_closes_says_why_and_afterwards_nothing_is_taken);
    suite_add_tcase(suite, tests);
    TCase *looking = tcase_create("looking out");
    tcase_add_test(looking, what_comes_one_by_one_is_found_by_looking_out_for_it);
    tcase_add_test(looking, who_is_silent_is_looked_out_for_once_and_read_when_something_comes);
    tcase_add_test(looking,
                   who_waits_for_an_answer_is_said_to_ask_one_by_one_and_not_looked_out_for);
    tcase_add_test(looking, who_leaves_while_he_is_looked_out_for_is_closed);
    tcase_add_test(looking, a_set_may_close_while_it_looks_out);
    tcase_add_test(looking, the_rest_of_a_message_is_looked_out_for_too);
    tcase_add_test(tests, a_host_that_is_no_name_is_said_and_one_that_nobody_has_as_well);
    tcase_add_test(tests, a_set_without_a_host_is_reached_by_nobody_and_closes);
    tcase_add_test(tests, a_set_where_nothing_is_due_looks_once_a_second);
    tcase_add_test(tests, a_deadline_before_the_next_look_is_looked_at_in_time);
    suite_add_tcase(suite, looking);
    return suite;
}

CHECK_MAIN(stream_nng_suite)
