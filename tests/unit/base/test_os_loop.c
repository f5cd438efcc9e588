// tests/unit/base/test_os_loop.c -- a loop takes every note once and in each poster's order, wakes when it is told, and discards
// what it does not take.
//
// Labels: tsan
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/os_clock.h"
#include "base/os_loop.h"
#include "base/os_wait.h"
#include "tests/lib/check_main.h"

#define POSTERS 4u
#define NOTES 20000u
#define HOUR_NS (UINT64_C(3600) * 1000000000)

struct numbered {
    struct loop_note note;
    uint32_t poster, number;
};

enum { ORDINARY, TELL_DUE, HOLD };

struct world {
    struct loop *loop;
    _Atomic uint32_t taken, discarded, wakes, held, let_go;
    uint32_t next[POSTERS];
    _Atomic uint32_t disorder;
    uint64_t due_ns, woken_ns;
    _Atomic bool keeps_due; // every wake asks for the next at once
};

static void
count(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    os_wake_all(word);
}

static void
wait_for(_Atomic uint32_t *word, uint32_t value)
{
    uint32_t now;
    while ((now = atomic_load(word)) < value)
        os_wait(word, now);
}

static void
take(void *context, struct loop_note *note)
{
    struct world *world = context;
    struct numbered *numbered = (struct numbered *)note;
    if (note->kind == TELL_DUE)
        loop_due(world->loop, world->due_ns);
    if (note->kind == HOLD) {
        count(&world->held);
        wait_for(&world->let_go, 1);
    }
    if (numbered->number != world->next[numbered->poster]++)
        atomic_fetch_add(&world->disorder, 1);
    free(numbered);
    count(&world->taken);
}

static void
wake(void *context)
{
    struct world *world = context;
    world->woken_ns = os_clock_ns();
    if (atomic_load(&world->keeps_due))
        loop_due(world->loop, 0);
    count(&world->wakes);
}

static void
discard(void *context, struct loop_note *note)
{
    struct world *world = context;
    free(note);
    count(&world->discarded);
}

static void
open_world(struct world *world)
{
    const struct loop_config config = {"a name longer than fifteen", world, take, wake, discard};
    ck_assert_int_eq(loop_open(&config, &world->loop), OMEN_OK);
}

static void
post(struct world *world, uint32_t kind, uint32_t poster, uint32_t number)
{
    struct numbered *note = malloc(sizeof *note);
    *note = (struct numbered){{NULL, kind}, poster, number};
    loop_post(world->loop, &note->note);
}

struct poster {
    struct world *world;
    uint32_t poster;
    pthread_t thread;
};

static void *
post_many(void *argument)
{
    struct poster *poster = argument;
    for (uint32_t i = 0; i < NOTES; i++)
        post(poster->world, ORDINARY, poster->poster, i);
    return NULL;
}

START_TEST(every_note_is_taken_once_and_in_its_posters_order)
{
    struct world world = {0};
    open_world(&world);
    struct poster posters[POSTERS];
    for (uint32_t i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.world = &world, .poster = i};
        ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (uint32_t i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    wait_for(&world.taken, POSTERS * NOTES);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.taken), POSTERS * NOTES);
    ck_assert_uint_eq(atomic_load(&world.disorder), 0);
    ck_assert_uint_eq(atomic_load(&world.discarded), 0);
    ck_assert_uint_eq(atomic_load(&world.wakes), 0);
}
END_TEST

START_TEST(a_wake_comes_when_its_time_has_come_and_once)
{
    struct world world = {0};
    open_world(&world);
    world.due_ns = os_clock_ns() + 2000000;
    post(&world, TELL_DUE, 0, 0);
    wait_for(&world.wakes, 1);
    loop_close(world.loop);
    ck_assert_uint_ge(world.woken_ns, world.due_ns);
    ck_assert_uint_eq(atomic_load(&world.wakes), 1);
}
END_TEST

START_TEST(a_newer_word_about_the_time_takes_the_place_of_the_older)
{
    struct world world = {0};
    open_world(&world);
    world.due_ns = os_clock_ns() + HOUR_NS;
    post(&world, TELL_DUE, 0, 0);
    wait_for(&world.taken, 1);
    world.due_ns = 0;
    post(&world, TELL_DUE, 0, 1);
    wait_for(&world.wakes, 1);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.wakes), 1);
}
END_TEST

START_TEST(a_time_that_is_always_past_keeps_no_note_out)
{
    struct world world = {.keeps_due = true};
    open_world(&world);
    post(&world, TELL_DUE, 0, 0);
    wait_for(&world.wakes, 10);
    for (uint32_t i = 1; i <= 100; i++)
        post(&world, ORDINARY, 0, i);
    wait_for(&world.taken, 101);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.disorder), 0);
}
END_TEST

START_TEST(a_stopped_loop_finishes_the_note_in_hand_and_discards_the_rest_and_what_comes_later)
{
    struct world world = {0};
    open_world(&world);
    post(&world, HOLD, 0, 0);
    for (uint32_t i = 1; i <= 5; i++)
        post(&world, ORDINARY, 0, i);
    wait_for(&world.held, 1);
    struct poster other = {.world = &world};
    ck_assert_int_eq(pthread_create(&other.thread, NULL, post_many, &other), 0);
    count(&world.let_go);
    loop_stop(world.loop);
    pthread_join(other.thread, NULL);
    const uint32_t taken = atomic_load(&world.taken);
    ck_assert_uint_ge(taken, 1);
    ck_assert_uint_eq(taken + atomic_load(&world.discarded), 6 + NOTES);
    post(&world, ORDINARY, 0, 0);
    ck_assert_uint_eq(atomic_load(&world.taken), taken);
    ck_assert_uint_eq(taken + atomic_load(&world.discarded), 7 + NOTES);
    loop_stop(world.loop);
    loop_close(world.loop);
    loop_close(NULL);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("os_loop");
    TCase *tcase = tcase_create("loop");
    tcase_add_test(tcase, every_note_is_taken_once_and_in_its_posters_order);
    tcase_add_test(tcase, a_wake_comes_when_its_time_has_come_and_once);
    tcase_add_test(tcase, a_newer_word_about_the_time_takes_the_place_of_the_older);
    tcase_add_test(tcase, a_time_that_is_always_past_keeps_no_note_out);
    tcase_add_test(
        tcase, a_stopped_loop_finishes_the_note_in_hand_and_discards_the_rest_and_what_comes_later);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
