// tests/unit/node/test_clients_near.c -- parts for copies of this node: who serves them, in which order, and that what comes of them is heard
// once or let go.
//
// The front, the copies and the loop are the test's own, and write down what is asked of them.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "node/clients_int.h"
#include "node/near.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

#define REQUESTS_MAX 64u

struct scene {
    struct world world;
    struct clients clients;
    bool has_no_memory, is_refused; // by the front; by the copies
    bool sends_light, waits;        // of the front; of the loop: somebody
    bool is_busy;                   // the copies' loop: what is served here ends there
    bool is_heavy, is_long;         // the next one: too much for a loop; for who brought it
    _Atomic uint32_t helped;        // served by who brought them
    struct near *with_helper;
    uint32_t kept;                               // asks that the front keeps
    uint32_t nears;                              // that were begun and not freed
    uint32_t served[REQUESTS_MAX], served_count; // here, by request
    uint32_t given[REQUESTS_MAX], given_count;   // to workers
    uint32_t given_together[REQUESTS_MAX], given_times;
    struct near *with_workers[REQUESTS_MAX];
    uint64_t cancelled;
    uint64_t heard[REQUESTS_MAX]; // by the front
    uint32_t heard_count, heard_from;
    uint32_t rounds; // that an answer begins, one after the other
    uint32_t put, posted, gone;
};
static struct scene scene;

static uint8_t ask_bytes[] = "ask";

// ---- the front ----

struct front_kept *
front_keep(struct front *front, struct wire_bytes *ask)
{
    (void)front;
    if (scene.has_no_memory)
        return NULL;
    scene.kept++;
    *ask = (struct wire_bytes){ask_bytes, sizeof ask_bytes};
    return (struct front_kept *)(uintptr_t)ask_bytes;
}

void
front_unkeep(struct front_kept *kept)
{
    ck_assert_ptr_eq(kept, (void *)ask_bytes);
    scene.kept--;
}

bool
front_sends_light(const struct front *front)
{
    (void)front;
    return scene.sends_light;
}

static bool begin(uint64_t request);

void
front_reply(struct front *front, uint64_t now_ns, uint32_t node, const struct wire_reply *reply,
            void *owner)
{
    const uint64_t request = reply->request;
    (void)front;
    ck_assert_uint_gt(now_ns, 0);
    scene.heard[scene.heard_count++] = request;
    scene.heard_from = node;
    clients_near_free(owner); // which the front has from here on
    if (scene.rounds > 0) {
        scene.rounds--;
        ck_assert(begin(request + 100));
    }
}

// ---- the copies ----

struct near *
hosts_near(struct hosts *hosts, const struct wire_part *part, uint32_t deadline_ms)
{
    (void)hosts;
    ck_assert_uint_eq(deadline_ms, 70);
    ck_assert_ptr_eq(part->ask, ask_bytes); // which stay
    if (scene.is_refused)
        return NULL;
    struct near *near = mem_alloc_zero(1, sizeof *near);
    ck_assert_ptr_nonnull(near);
    near->part = *part;
    near->light = !scene.is_heavy;
    near->brief = !scene.is_long;
    near->reply.request = part->request;
    scene.nears++;
    return near;
}

bool
hosts_near_serve(struct hosts *hosts, struct near *near)
{
    (void)hosts;
    scene.served[scene.served_count++] = (uint32_t)near->part.request;
    return !scene.is_busy;
}

void
hosts_near_work(struct hosts *hosts, struct near *const *nears, uint32_t count)
{
    (void)hosts;
    scene.given_together[scene.given_times++] = count;
    for (uint32_t i = 0; i < count; i++) {
        scene.with_workers[scene.given_count] = nears[i];
        scene.given[scene.given_count++] = (uint32_t)nears[i]->part.request;
    }
}

void
hosts_near_help(struct hosts *hosts, struct near *near)
{
    (void)hosts;
    ck_assert(!clients_near_may_help(&scene.clients)); // one at a time
    scene.with_helper = near;
    atomic_fetch_add(&scene.helped, 1);
}

void
hosts_near_cancel(struct near *near)
{
    scene.cancelled = near->part.request;
}

void
hosts_near_free(struct near *near)
{
    scene.nears--;
    mem_free(near);
}

// ---- the loop ----

bool
loop_waits(struct loop *loop)
{
    (void)loop;
    return scene.waits;
}

void
loop_post(struct loop *loop, struct loop_note *note)
{
    (void)loop;
    (void)note;
    scene.posted++;
}

void
loop_put(struct loop *loop, struct loop_note *note)
{
    (void)loop;
    (void)note;
    ck_assert_uint_eq(scene.gone, 0);
    scene.put++;
}

void
loop_go(struct loop *loop)
{
    (void)loop;
    scene.gone++;
}

// ---- what is asked of it ----

static void
set_up(void)
{
    memset(&scene, 0, sizeof scene);
    world_init(&scene.world, 1);
    (void)world_node(&scene.world, "a", 1);
    const uint32_t number = world_node(&scene.world, "a", 1);
    scene.clients.config.hosts = (struct hosts *)(uintptr_t)ask_bytes;
    scene.clients.config.identity.node = scene.world.map.nodes[number - 1].uuid;
    scene.clients.map = &scene.world.map;
    scene.clients.near_end = &scene.clients.near_begun;
    scene.sends_light = true;
}

// Whatever happened, nothing is left behind.
static void
tear_down(void)
{
    clients_near_close(&scene.clients);
    ck_assert_uint_eq(scene.nears, 0);
    ck_assert_uint_eq(scene.kept, 0);
    world_fini(&scene.world);
}

static bool
begin(uint64_t request)
{
    const struct wire_part part = {.request = request, .part = 3, .attempt = 1};
    return clients_near_begin(&scene.clients, &part, 70);
}

static void
begin_many(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ck_assert(begin(i + 1));
}

static void
workers_are_done(void)
{
    for (uint32_t i = 0; i < scene.given_count; i++)
        clients_near_take(&scene.clients, scene.with_workers[i]);
}

START_TEST(one_that_is_alone_and_light_is_served_here_and_heard_as_this_nodes)
{
    ck_assert(begin(5));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.served_count, 1);
    ck_assert_uint_eq(scene.given_count, 0);
    ck_assert_uint_eq(scene.heard_count, 1);
    ck_assert_uint_eq(scene.heard[0], 5);
    ck_assert_uint_eq(scene.heard_from, 2);
}
END_TEST

START_TEST(what_the_map_has_lost_this_node_for_is_let_go_and_not_heard)
{
    scene.clients.config.identity.node = (struct cluster_uuid){9, 9};
    ck_assert(begin(5));
    clients_near_go(&scene.clients); // served here
    begin_many(2);
    clients_near_go(&scene.clients); // by workers
    workers_are_done();
    ck_assert_uint_eq(scene.served_count, 1);
    ck_assert_uint_eq(scene.given_count, 2);
    ck_assert_uint_eq(scene.heard_count, 0);
    ck_assert_ptr_null(scene.clients.near_away);
}
END_TEST

START_TEST(it_goes_to_a_worker_where_something_else_would_wait_for_it)
{
    scene.waits = _i == 0;
    scene.sends_light = _i != 1;
    if (_i == 2) { // a worker has one
        begin_many(2);
        clients_near_go(&scene.clients);
    }
    const uint32_t before = scene.given_count;
    ck_assert(begin(7));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.served_count, 0);
    ck_assert_uint_eq(scene.given_count, before + 1);
    ck_assert_uint_eq(scene.given[before], 7);
    workers_are_done();
    ck_assert_uint_eq(scene.heard_count, before + 1);
    ck_assert_uint_eq(scene.heard[before], 7);
}
END_TEST

START_TEST(what_is_too_much_for_the_loop_is_left_to_who_brought_it)
{
    scene.is_heavy = true;
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(clients_near_may_help(&scene.clients));
        ck_assert(!clients_near_may_help(&scene.clients));
        ck_assert(begin(i));
        clients_near_go(&scene.clients);
        ck_assert_uint_eq(atomic_load(&scene.helped), i); // not within the loop
        clients_near_help(&scene.clients);
        ck_assert_uint_eq(atomic_load(&scene.helped), i + 1);
        clients_near_take(&scene.clients, scene.with_helper);
        ck_assert_uint_eq(scene.heard[i], i);
    }
    ck_assert_uint_eq(scene.served_count + scene.given_count, 0);
}
END_TEST

START_TEST(who_would_help_is_left_nothing_that_is_long_or_not_alone)
{
    scene.is_heavy = true;
    scene.is_long = _i == 0;
    scene.waits = _i == 1;
    const uint32_t count = _i == 2 ? 2 : 1;
    ck_assert(clients_near_may_help(&scene.clients));
    begin_many(count);
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.given_count, count);
    scene.waits = scene.is_long = false; // but workers have those
    ck_assert(begin(9));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.given_count, count + 1);
    clients_near_help(&scene.clients);
    ck_assert_uint_eq(atomic_load(&scene.helped), 0);
    workers_are_done();
}
END_TEST

START_TEST(what_comes_of_it_later_than_who_brought_it_waits_goes_to_a_worker)
{
    scene.is_heavy = true;
    ck_assert(clients_near_may_help(&scene.clients));
    clients_near_help(&scene.clients);
    ck_assert(begin(1));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(atomic_load(&scene.helped), 0);
    ck_assert_uint_eq(scene.given_count, 1);
    workers_are_done();
}
END_TEST

START_TEST(nobody_helps_where_this_node_has_no_copies)
{
    scene.clients.config.hosts = NULL;
    ck_assert(!clients_near_may_help(&scene.clients));
}
END_TEST

static void *
help_again_and_again(void *argument)
{
    const _Atomic bool *over = argument;
    while (!atomic_load(over)) {
        if (!clients_near_may_help(&scene.clients))
            abort(); // there is no other
        clients_near_help(&scene.clients);
        (void)sched_yield(); // else who waits for this one gets no processor while it spins
    }
    return NULL;
}

// The loop leaves it to somebody who goes away at any moment.
START_TEST(each_is_served_once_by_who_brought_it_or_by_a_worker)
{
    _Atomic bool over = false;
    pthread_t helper;
    scene.is_heavy = true;
    ck_assert_int_eq(pthread_create(&helper, NULL, help_again_and_again, &over), 0);
    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t before = atomic_load(&scene.helped);
        scene.given_count = scene.given_times = scene.heard_count = 0;
        ck_assert(begin(i));
        struct near *near = scene.clients.near_begun;
        clients_near_go(&scene.clients);
        while (scene.given_count == 0 && atomic_load(&scene.helped) == before)
            (void)sched_yield();
        ck_assert_uint_eq(scene.given_count + atomic_load(&scene.helped) - before, 1);
        clients_near_take(&scene.clients, near);
    }
    atomic_store(&over, true);
    ck_assert_int_eq(pthread_join(helper, NULL), 0);
}
END_TEST

START_TEST(what_came_together_is_given_away_together_in_its_order_so_many_at_once)
{
    const uint32_t count = 2 * NEARS_TOGETHER + 3;
    begin_many(NEARS_TOGETHER - 1);
    ck_assert(!clients_near_many(&scene.clients));
    for (uint32_t i = NEARS_TOGETHER - 1; i < count; i++) {
        ck_assert(begin(i + 1));
        ck_assert(clients_near_many(&scene.clients));
    }
    clients_near_go(&scene.clients);
    ck_assert(!clients_near_many(&scene.clients));
    ck_assert_uint_eq(scene.given_times, 3);
    ck_assert_uint_eq(scene.given_together[0], NEARS_TOGETHER);
    ck_assert_uint_eq(scene.given_together[1], NEARS_TOGETHER);
    ck_assert_uint_eq(scene.given_together[2], 3);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(scene.given[i], i + 1);
    workers_are_done();
    ck_assert_uint_eq(scene.heard_count, count);
}
END_TEST

START_TEST(the_round_that_an_answer_begins_is_served_too)
{
    scene.rounds = 3;
    ck_assert(begin(1));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.served_count, 4);
    ck_assert_uint_eq(scene.heard_count, 4);
    ck_assert_uint_eq(scene.heard[3], 301);
}
END_TEST

START_TEST(what_was_served_here_and_ends_elsewhere_is_heard_when_it_comes)
{
    scene.is_busy = true;
    ck_assert(begin(5));
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.served_count, 1);
    ck_assert_uint_eq(scene.heard_count, 0);
    clients_near_take(&scene.clients, scene.clients.near_away);
    ck_assert_uint_eq(scene.heard_count, 1);
    ck_assert_ptr_null(scene.clients.near_away);
}
END_TEST

// Request, part and attempt, each.
START_TEST(just_the_one_that_is_meant_is_cancelled)
{
    begin_many(2);
    clients_near_go(&scene.clients);
    ck_assert(begin(9));
    ck_assert(!clients_near_cancel(&scene.clients, 8, 3, 1));
    ck_assert(!clients_near_cancel(&scene.clients, 9, 2, 1));
    ck_assert(!clients_near_cancel(&scene.clients, 9, 3, 2));
    ck_assert_uint_eq(scene.cancelled, 0);
    ck_assert(clients_near_cancel(&scene.clients, 9, 3, 1)); // not given away yet
    ck_assert_uint_eq(scene.cancelled, 9);
    ck_assert(clients_near_cancel(&scene.clients, 1, 3, 1)); // a worker has it
    ck_assert_uint_eq(scene.cancelled, 1);
    workers_are_done();
    ck_assert(!clients_near_cancel(&scene.clients, 1, 3, 1)); // it was heard
}
END_TEST

START_TEST(what_cannot_be_begun_here_goes_by_a_frame_and_leaves_nothing)
{
    scene.has_no_memory = _i == 0;
    scene.is_refused = _i == 1;
    if (_i == 2)
        scene.clients.config.hosts = NULL;
    ck_assert(!begin(5));
    ck_assert_uint_eq(scene.kept, 0);
    ck_assert_ptr_null(scene.clients.near_begun);
    ck_assert_uint_eq(scene.clients.near_begun_count, 0);
}
END_TEST

START_TEST(a_loop_that_was_stopped_lets_go_of_what_was_begun)
{
    begin_many(3);
    clients_near_close(&scene.clients);
    ck_assert_uint_eq(scene.nears, 0);
    ck_assert_uint_eq(scene.kept, 0);
    ck_assert(begin(5)); // its list is whole
    clients_near_go(&scene.clients);
    ck_assert_uint_eq(scene.heard_count, 1);
}
END_TEST

START_TEST(workers_bring_several_as_notes_and_then_have_them_taken)
{
    struct near nears[3] = {0};
    struct near *const together[] = {&nears[0], &nears[1], &nears[2]};
    clients_nears(&scene.clients, together, 3);
    ck_assert_uint_eq(scene.put, 3);
    ck_assert_uint_eq(scene.gone, 1);
    ck_assert_uint_eq(scene.posted, 0);
    clients_near(&scene.clients, &nears[0]);
    ck_assert_uint_eq(scene.posted, 1);
}
END_TEST

static Suite *
clients_near_suite(void)
{
    Suite *suite = suite_create("clients_near");
    TCase *tcase = tcase_create("clients_near");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, one_that_is_alone_and_light_is_served_here_and_heard_as_this_nodes);
    tcase_add_test(tcase, what_the_map_has_lost_this_node_for_is_let_go_and_not_heard);
    tcase_add_loop_test(tcase, it_goes_to_a_worker_where_something_else_would_wait_for_it, 0, 3);
    tcase_add_test(tcase, what_is_too_much_for_the_loop_is_left_to_who_brought_it);
    tcase_add_loop_test(tcase, who_would_help_is_left_nothing_that_is_long_or_not_alone, 0, 3);
    tcase_add_test(tcase, what_comes_of_it_later_than_who_brought_it_waits_goes_to_a_worker);
    tcase_add_test(tcase, nobody_helps_where_this_node_has_no_copies);
    tcase_add_test(tcase, each_is_served_once_by_who_brought_it_or_by_a_worker);
    tcase_add_test(tcase, what_came_together_is_given_away_together_in_its_order_so_many_at_once);
    tcase_add_test(tcase, the_round_that_an_answer_begins_is_served_too);
    tcase_add_test(tcase, what_was_served_here_and_ends_elsewhere_is_heard_when_it_comes);
    tcase_add_test(tcase, just_the_one_that_is_meant_is_cancelled);
    tcase_add_loop_test(tcase, what_cannot_be_begun_here_goes_by_a_frame_and_leaves_nothing, 0, 3);
    tcase_add_test(tcase, a_loop_that_was_stopped_lets_go_of_what_was_begun);
    tcase_add_test(tcase, workers_bring_several_as_notes_and_then_have_them_taken);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(clients_near_suite)
