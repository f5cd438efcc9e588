// tests/unit/node/test_hosts_near.c -- reads that do not go through the data loop: what they are answered is what a frame is answered, and
// whatever needs the loop has it.
//
// Labels: tsan
#include <unistd.h>

#include "node/hosts_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosts_world.h"

static uint64_t last_written; // its place in the log

static void
one(void)
{
    hosts_world_init(3, 3);
    hosts_open_shard(3);
    last_written = hosts_written(5, 50)->seq;
    ck_assert_uint_eq(hosts_value(2, 5, last_written), 50);
}

static void
down(void)
{
    hosts_world_fini();
}

static struct hosts *
at(uint32_t node)
{
    return hosts.nodes[node].hosts;
}

// Which asks for so many keys; they stay as they are.
static struct wire_part
part_for(uint32_t node, const uint64_t *keys, uint32_t count)
{
    struct wire_part part = hosts_part_to(node, WIRE_PART_GET);
    part.request = ++hosts.asked;
    part.ask = (const uint8_t *)keys;
    part.ask_bytes = 8 * count;
    return part;
}

// While the loop has a note in hand there is none: asked again until there is.
static struct near *
begun(uint32_t node, const struct wire_part *part, uint32_t deadline_ms)
{
    struct near *near;
    do
        near = hosts_near(at(node), part, deadline_ms);
    while (near == NULL);
    return near;
}

// It may be that the loop is busy; but not each time.
static void
ck_never_begins(uint32_t node, const struct wire_part *part)
{
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_ptr_null(hosts_near(at(node), part, 0));
}

static struct near *
heard(uint64_t request)
{
    struct near *near = NULL;
    HOSTS_WAIT((near = hosts_near_heard(request)) != NULL);
    return near;
}

static omen_status
status_of(const struct near *near)
{
    return -(omen_status)near->reply.failure;
}

static omen_status
end(struct near *near)
{
    const omen_status status = status_of(near);
    hosts_near_free(near);
    return status;
}

// Served by a worker (0), here and ended here (1), or here as a worker does it (2).
static struct near *
served(int how, uint32_t node, struct near *near)
{
    const uint64_t request = near->part.request;
    if (how == 1 && hosts_near_serve(at(node), near))
        return near;
    if (how == 0)
        hosts_near_work(at(node), &near, 1);
    if (how == 2)
        hosts_near_help(at(node), near);
    return heard(request);
}

static const uint64_t five = 5;

START_TEST(it_is_answered_as_by_a_frame)
{
    const struct wire_reply *framed = hosts_reply(hosts_read(2, five, WIRE_ANY));
    struct wire_part part = part_for(2, &five, 1);
    part.part = 7;
    part.attempt = 3;
    struct near *near = served(_i, 2, begun(2, &part, 0));
    const struct wire_reply *reply = &near->reply;
    ck_assert_int_eq(status_of(near), OMEN_OK);
    ck_assert_uint_eq(hosts_unpack_value(reply), 50);
    ck_assert_uint_eq(reply->request, part.request);
    ck_assert_uint_eq(reply->part, 7);
    ck_assert_uint_eq(reply->attempt, 3);
    ck_assert_uint_eq(reply->method, framed->method);
    ck_assert_uint_eq(reply->term, framed->term);
    ck_assert_uint_eq(reply->seq, framed->seq);
    ck_assert_uint_eq(reply->map_version, framed->map_version);
    ck_assert_uint_eq(reply->queue, 0);
    ck_assert_uint_eq(reply->item_count, framed->item_count);
    ck_assert_mem_eq(reply->failures, framed->failures, framed->item_count);
    ck_assert_uint_eq(reply->answer_bytes, framed->answer_bytes);
    ck_assert_mem_eq(reply->answer, framed->answer, framed->answer_bytes);
    hosts_near_free(near);
}
END_TEST

START_TEST(a_session_is_answered_by_who_has_applied_what_it_saw)
{
    struct wire_part part = part_for(2, &five, 1);
    part.consistency = WIRE_SESSION;
    part.after_seq = last_written;
    ck_assert_int_eq(end(served(0, 2, begun(2, &part, 0))), OMEN_OK);
    part.after_seq = last_written + 1;
    ck_never_begins(2, &part);
}
END_TEST

START_TEST(writes_and_strong_reads_are_the_loops)
{
    const struct wire_part good = part_for(1, &five, 1);
    ck_assert_int_eq(end(served(0, 1, begun(1, &good, 0))), OMEN_OK);
    struct wire_part part = good;
    part.consistency = WIRE_STRONG;
    ck_never_begins(1, &part);
    part = hosts_part_to(1, WIRE_PART_WRITE);
    part.ask = good.ask;
    part.ask_bytes = good.ask_bytes;
    ck_never_begins(1, &part);
}
END_TEST

START_TEST(what_is_by_another_map_is_the_loops)
{
    const struct wire_part good = part_for(2, &five, 1);
    struct wire_part part = good;
    if (_i == 0)
        part.cfg_ver--;
    else if (_i == 1)
        part.term++;
    else if (_i == 2)
        part.copy_low++;
    else if (_i == 3)
        part.shard++;
    else
        part.last--;
    part.first += _i == 4 ? UINT64_MAX : 0; // first > last
    ck_never_begins(2, &part);
    ck_assert_int_eq(end(served(0, 2, begun(2, &good, 0))), OMEN_OK);
}
END_TEST

// The lock of the loop's state is somebody's: nothing waits for it here.
START_TEST(who_meets_the_loop_at_work_leaves_it_to_the_loop)
{
    struct hosts *data = at(2);
    const struct wire_part part = part_for(2, &five, 1);
    struct near *near = begun(2, &part, 0);
    lock_acquire(&data->state);
    ck_assert_ptr_null(hosts_near(data, &part, 0));
    ck_assert(!hosts_near_serve(data, near)); // read, but it is the loop that ends it
    ck_assert_ptr_null(hosts_near_heard(part.request));
    lock_release(&data->state);
    near = heard(part.request);
    ck_assert_uint_eq(hosts_unpack_value(&near->reply), 50);
    ck_assert_int_eq(end(near), OMEN_OK);
}
END_TEST

START_TEST(who_waits_at_a_copy_is_bounded_with_those_of_frames)
{
    static struct near *waiting[REPLICA_WAITS_MAX];
    const struct wire_part part = part_for(2, &five, 1);
    for (uint32_t i = 0; i + 1 < REPLICA_WAITS_MAX; i++)
        waiting[i] = begun(2, &part, 0);
    struct near *last = begun(2, &part, 0); // the one at the limit
    ck_assert_ptr_nonnull(last);
    ck_never_begins(2, &part);
    const uint64_t beyond = hosts_read(2, five, WIRE_ANY);
    ck_assert_int_eq(hosts_reply_status(beyond), OMEN_E_BUSY);
    ck_assert_uint_eq(hosts_reply(beyond)->queue, REPLICA_WAITS_MAX);
    ck_assert_int_eq(end(served(1, 2, last)), OMEN_OK);
    ck_assert_int_eq(hosts_reply_status(hosts_read(2, five, WIRE_ANY)), OMEN_OK);
    for (uint32_t i = 0; i + 1 < REPLICA_WAITS_MAX; i++)
        ck_assert_int_eq(end(served(1, 2, waiting[i])), OMEN_OK);
}
END_TEST

START_TEST(the_bytes_that_wait_are_bounded)
{
    static uint64_t words[(1 << 17) + 1]; // a word more than is the most of hosts_world
    const struct wire_part large = part_for(2, words, 1 << 17), small = part_for(2, &five, 1);
    const struct wire_part larger = part_for(2, words, (1 << 17) + 1);
    ck_never_begins(2, &larger);
    struct near *near = begun(2, &large, 0);
    ck_never_begins(2, &small);
    hosts_near_cancel(near);
    ck_assert_int_eq(end(served(1, 2, near)), OMEN_E_BUSY);
    ck_assert_int_eq(end(served(1, 2, begun(2, &small, 0))), OMEN_OK);
}
END_TEST

START_TEST(what_is_cancelled_before_it_began_is_not_done)
{
    const struct wire_part part = part_for(2, &five, 1);
    struct near *near = begun(2, &part, 0);
    hosts_near_cancel(near);
    near = served(_i, 2, near);
    ck_assert_uint_eq(near->reply.answer_bytes, 0);
    ck_assert_int_eq(end(near), OMEN_E_BUSY);
}
END_TEST

START_TEST(what_is_late_before_it_began_is_not_done)
{
    const struct wire_part part = part_for(2, &five, 1);
    struct near *near = begun(2, &part, 1);
    const uint64_t until_ns = os_clock_ns() + 2000000;
    while (os_clock_ns() < until_ns)
        continue;
    near = served(_i, 2, near);
    ck_assert_uint_eq(near->reply.answer_bytes, 0);
    ck_assert_int_eq(end(near), OMEN_E_BUSY);
    ck_assert_int_eq(end(served(_i, 2, begun(2, &part, 1000000))), OMEN_OK);
}
END_TEST

static bool
is_gone(const char *path)
{
    return access(path, F_OK) != 0;
}

// It is in use until the one that was begun is served, by whoever it is.
START_TEST(a_copy_that_is_dropped_waits_for_who_reads_it)
{
    char path[400];
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 3);
    ck_assert_uint_eq(hosts_value(3, 5, last_written), 50);
    const struct wire_part part = part_for(3, &five, 1);
    (void)snprintf(path, sizeof path, "%s/shards/%016llx%016llx", hosts.nodes[3].folder.path,
                   (unsigned long long)copy.high, (unsigned long long)copy.low);
    struct near *near = begun(3, &part, 0);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_LOST, .replica = copy}),
                     OMEN_OK);
    while (hosts_reply_status(hosts_read_with(3, part, five)) != OMEN_E_STALE_MAP)
        continue;
    ck_never_begins(3, &part);
    ck_assert(!is_gone(path));
    ck_assert_int_eq(end(served(_i, 3, near)), OMEN_E_STALE_MAP);
    while (!is_gone(path))
        continue;
    (void)hosts_written(6, 60);
}
END_TEST

START_TEST(rotten_bytes_are_told_to_the_replica)
{
    static const uint64_t rotten = MODEL_ROTTEN;
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 2);
    const struct wire_part part = part_for(2, &rotten, 1);
    ck_assert_int_eq(end(served(_i, 2, begun(2, &part, 0))), OMEN_E_CORRUPT);
    HOSTS_WAIT(shard_replica(hosts_row(), copy) == NULL);
    (void)hosts_written(6, 60);
}
END_TEST

// ---- which are light ----

static bool
is_light(uint32_t node)
{
    const struct wire_part part = part_for(node, &five, 1);
    struct near *near = begun(node, &part, 0);
    const bool light = near->light;
    ck_assert_int_eq(end(served(1, node, near)), OMEN_OK);
    return light;
}

static void
search(uint32_t node, uint64_t took_us)
{
    struct wire_part part = part_for(node, &took_us, 1);
    part.kind = WIRE_PART_SEARCH;
    part.method = METHOD_QUERY_SEARCH;
    ck_assert_int_eq(end(served(1, node, begun(node, &part, 0))), OMEN_OK);
}

START_TEST(a_copy_is_light_while_its_searches_take_little)
{
    ck_assert(!is_light(2)); // nobody knows
    search(2, 100);
    ck_assert(is_light(2));
    search(2, 101);
    ck_assert(!is_light(2)); // an eighth of a microsecond above
    search(2, 99);
    ck_assert(is_light(2));
}
END_TEST

START_TEST(one_search_that_takes_long_is_forgotten_soon)
{
    search(2, 10);
    ck_assert(is_light(2));
    search(2, 60000000);
    ck_assert(!is_light(2));
    uint32_t count = 0;
    for (; !is_light(2); count++)
        search(2, 10);
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, 8);
    for (uint32_t i = 0; i < 8; i++)
        search(2, 60000000);
    ck_assert(!is_light(2));
}
END_TEST

// Two workers: a light one may keep both, and who takes of many takes half.
START_TEST(light_ones_are_taken_and_come_back_several_at_once)
{
    uint64_t asked[1 + NEARS_TOGETHER];
    struct near *nears[NEARS_TOGETHER];
    struct wire_part part = part_for(2, &five, 1);
    search(2, 10);
    atomic_store(&model_gate, 1);
    struct near *first = begun(2, &part, 0);
    ck_assert(first->light);
    asked[0] = part.request;
    hosts_near_work(at(2), &first, 1);
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    for (uint32_t i = 0; i < NEARS_TOGETHER; i++) {
        part.request = asked[1 + i] = ++hosts.asked;
        nears[i] = begun(2, &part, 0);
    }
    hosts_near_work(at(2), nears, NEARS_TOGETHER);
    HOSTS_WAIT(atomic_load(&model_waiting) == 2);
    model_open_gate();
    for (uint32_t i = 0; i <= NEARS_TOGETHER; i++)
        ck_assert_int_eq(end(heard(asked[i])), OMEN_OK);
    lock_acquire(&hosts.bus_lock);
    const uint32_t most = hosts.nears_most;
    lock_release(&hosts.bus_lock);
    ck_assert_uint_eq(most, NEARS_TOGETHER / 2);
}
END_TEST

// Whether the copy's parts were over soon; this one is, whatever this machine does meanwhile: a search says what it took.
static bool
was_brief(uint32_t node)
{
    const uint64_t took_us = 10;
    struct wire_part part = part_for(node, &took_us, 1);
    part.kind = WIRE_PART_SEARCH;
    part.method = METHOD_QUERY_SEARCH;
    struct near *near = begun(node, &part, 0);
    const bool brief = near->brief;
    ck_assert_int_eq(end(served(1, node, near)), OMEN_OK);
    return brief;
}

// Two workers. Behind the gate there is whom they took.
START_TEST(parts_of_a_copy_whose_parts_are_over_soon_may_have_every_worker)
{
    uint64_t asked[3];
    while (!was_brief(2)) // the read in one() was measured, and may have lost its processor
        continue;
    atomic_store(&model_gate, 1);
    for (uint32_t i = 0; i < 3; i++)
        asked[i] = hosts_read(2, five, WIRE_ANY);
    HOSTS_WAIT(atomic_load(&model_waiting) == 2);
    model_open_gate();
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
}
END_TEST

START_TEST(those_of_one_whose_parts_take_long_leave_a_worker_to_others)
{
    uint64_t asked[3];
    search(2, 60000000);
    atomic_store(&model_gate, 1);
    for (uint32_t i = 0; i < 3; i++)
        asked[i] = hosts_read(2, five, WIRE_ANY);
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    for (uint32_t i = 0; i < 2; i++) {
        model_let_one_pass();
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
        ck_assert_uint_le(atomic_load(&model_waiting), 1);
    }
    model_open_gate();
    ck_assert_int_eq(hosts_reply_status(asked[2]), OMEN_OK);
}
END_TEST

START_TEST(a_worker_that_has_nothing_to_do_takes_part_in_what_another_reads)
{
    const uint64_t shared = MODEL_SHARED;
    const struct wire_part part = part_for(2, &shared, 1);
    atomic_store(&model_together, 0);
    ck_assert_int_eq(end(served(_i, 2, begun(2, &part, 0))), OMEN_OK);
    ck_assert_uint_eq(atomic_load(&model_together), 2);
}
END_TEST

// ---- its end ----

START_TEST(what_waits_for_a_worker_when_it_stops_was_not_done)
{
    uint64_t asked[20];
    struct wire_part part = part_for(2, &five, 1);
    atomic_store(&model_gate, 1);
    for (uint32_t i = 0; i < 20; i++) {
        part.request = asked[i] = ++hosts.asked;
        struct near *near = begun(2, &part, 0);
        hosts_near_work(at(2), &near, 1);
    }
    HOSTS_WAIT(atomic_load(&model_waiting) > 0);
    model_open_gate();
    hosts_node_stop(2);
    uint32_t done = 0;
    for (uint32_t i = 0; i < 20; i++) {
        struct near *near = hosts_near_heard(asked[i]);
        ck_assert_ptr_nonnull(near);
        const omen_status status = end(near);
        ck_assert(status == OMEN_OK || status == OMEN_E_BUSY);
        done += status == OMEN_OK;
    }
    ck_assert_uint_ge(done, 1);
}
END_TEST

START_TEST(they_are_counted)
{
    const struct wire_part part = part_for(2, &five, 1);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_int_eq(end(served(i % 2, 2, begun(2, &part, 0))), OMEN_OK);
    struct hosts *data = at(2);
    lock_acquire(&data->state);
    const struct hosts_stats stats = hosts_stats(data);
    lock_release(&data->state);
    ck_assert_uint_eq(stats.near, 10);
    ck_assert_uint_ge(stats.parts, 10);
    ck_assert_uint_eq(stats.parts_under_way, 0);
}
END_TEST

static Suite *
hosts_near_suite(void)
{
    Suite *suite = suite_create("node/hosts_near");
    TCase *tcase = tcase_create("hosts_near");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, one, down);
    tcase_add_loop_test(tcase, it_is_answered_as_by_a_frame, 0, 3);
    tcase_add_test(tcase, a_session_is_answered_by_who_has_applied_what_it_saw);
    tcase_add_test(tcase, writes_and_strong_reads_are_the_loops);
    tcase_add_loop_test(tcase, what_is_by_another_map_is_the_loops, 0, 5);
    tcase_add_test(tcase, who_meets_the_loop_at_work_leaves_it_to_the_loop);
    tcase_add_test(tcase, who_waits_at_a_copy_is_bounded_with_those_of_frames);
    tcase_add_test(tcase, the_bytes_that_wait_are_bounded);
    tcase_add_loop_test(tcase, what_is_cancelled_before_it_began_is_not_done, 0, 3);
    tcase_add_loop_test(tcase, what_is_late_before_it_began_is_not_done, 0, 3);
    tcase_add_loop_test(tcase, a_copy_that_is_dropped_waits_for_who_reads_it, 0, 3);
    tcase_add_loop_test(tcase, rotten_bytes_are_told_to_the_replica, 0, 3);
    tcase_add_test(tcase, a_copy_is_light_while_its_searches_take_little);
    tcase_add_test(tcase, one_search_that_takes_long_is_forgotten_soon);
    tcase_add_test(tcase, light_ones_are_taken_and_come_back_several_at_once);
    tcase_add_test(tcase, parts_of_a_copy_whose_parts_are_over_soon_may_have_every_worker);
    tcase_add_test(tcase, those_of_one_whose_parts_take_long_leave_a_worker_to_others);
    tcase_add_loop_test(tcase, a_worker_that_has_nothing_to_do_takes_part_in_what_another_reads, 0,
                        3);
    tcase_add_test(tcase, what_waits_for_a_worker_when_it_stops_was_not_done);
    tcase_add_test(tcase, they_are_counted);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hosts_near_suite)
