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
#include "tests/lib/await.h"
#include "tests/lib/check_main.h"

#define POSTERS 4u
#define NOTES 20000u
#define HOUR_NS (UINT64_C(3600) * 1000000000)

struct numbered {
    struct loop_note note;
    uint32_t poster, number;
};

enum { ORDINARY, TELL_DUE, HOLD, POST_ANOTHER };

struct world {
    struct loop *loop;
    pthread_t taker; // of the last note
    _Atomic uint32_t taken, discarded, wakes, held, let_go;
    uint32_t next[POSTERS];
    _Atomic uint32_t disorder;
    uint64_t due_ns, woken_ns;
    _Atomic bool keeps_due; // every wake asks for the next at once
};

static void post(struct world *world, uint32_t kind, uint32_t poster, uint32_t number);

static void
take(void *context, struct loop_note *note)
{
    struct world *world = context;
    struct numbered *numbered = (struct numbered *)note;
    world->taker = pthread_self();
    if (note->kind == POST_ANOTHER)
        post(world, ORDINARY, numbered->poster, numbered->number + 1);
    if (note->kind == TELL_DUE)
        loop_due(world->loop, world->due_ns);
    if (note->kind == HOLD) {
        await_tell(&world->held);
        await(&world->let_go, 1);
    }
    if (numbered->number != world->next[numbered->poster]++)
        atomic_fetch_add(&world->disorder, 1);
    free(numbered);
    await_tell(&world->taken);
}

static void
wake(void *context)
{
    struct world *world = context;
    world->woken_ns = os_clock_ns();
    if (atomic_load(&world->keeps_due))
        loop_due(world->loop, 0);
    await_tell(&world->wakes);
}

static void
discard(void *context, struct loop_note *note)
{
    struct world *world = context;
    free(note);
    await_tell(&world->discarded);
}

static void
open_world(struct world *world)
{
    const struct loop_config config = {"a name longer than fifteen", world, take, wake, discard};
    ck_assert_int_eq(loop_open(&config, &world->loop), OMEN_OK);
}

static struct loop_note *
note_of(uint32_t kind, uint32_t poster, uint32_t number)
{
    struct numbered *note = malloc(sizeof *note);
    *note = (struct numbered){{NULL, kind}, poster, number};
    return &note->note;
}

static void
post(struct world *world, uint32_t kind, uint32_t poster, uint32_t number)
{
    loop_post(world->loop, note_of(kind, poster, number));
}

static void
put(struct world *world, uint32_t kind, uint32_t poster, uint32_t number)
{
    loop_put(world->loop, note_of(kind, poster, number));
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
    await(&world.taken, POSTERS * NOTES);
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
    await(&world.wakes, 1);
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
    await(&world.taken, 1);
    world.due_ns = 0;
    post(&world, TELL_DUE, 0, 1);
    await(&world.wakes, 1);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.wakes), 1);
}
END_TEST

START_TEST(a_time_that_is_always_past_keeps_no_note_out)
{
    struct world world = {.keeps_due = true};
    open_world(&world);
    post(&world, TELL_DUE, 0, 0);
    await(&world.wakes, 10);
    for (uint32_t i = 1; i <= 100; i++)
        post(&world, ORDINARY, 0, i);
    await(&world.taken, 101);
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
    await(&world.held, 1);
    struct poster other = {.world = &world};
    ck_assert_int_eq(pthread_create(&other.thread, NULL, post_many, &other), 0);
    await_tell(&world.let_go);
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

// ---- guests ----

// Puts notes, from `number` on, until one was taken here: once the thread sleeps it is. The number of the next.
static uint32_t
be_guest_with(struct world *world, uint32_t kind, uint32_t number)
{
    const uint32_t notes = kind == POST_ANOTHER ? 2 : 1;
    for (;; number += notes) {
        put(world, kind, 0, number);
        loop_go(world->loop);
        const bool at_once = atomic_load(&world->taken) == number + notes;
        await(&world->taken, number + notes);
        if (at_once && pthread_equal(world->taker, pthread_self()))
            return number + notes;
    }
}

START_TEST(where_the_thread_sleeps_who_goes_takes_the_notes_itself)
{
    struct world world = {0};
    open_world(&world);
    uint32_t number = be_guest_with(&world, ORDINARY, 0);
    for (uint32_t i = 0; i < LOOP_GUEST_NOTES; i++)
        put(&world, ORDINARY, 0, number++);
    loop_go(world.loop);
    await(&world.taken, number);
    loop_go(world.loop);                               // nothing
    (void)be_guest_with(&world, POST_ANOTHER, number); // both before it returned
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.disorder), 0);
    ck_assert_uint_eq(atomic_load(&world.discarded), 0);
}
END_TEST

// The wake is the thread's, which slept without a time.
START_TEST(a_time_that_a_guest_told_is_kept)
{
    struct world world = {.due_ns = 0};
    open_world(&world);
    (void)be_guest_with(&world, TELL_DUE, 0);
    await(&world.wakes, 1);
    loop_close(world.loop);
    ck_assert_uint_ge(atomic_load(&world.wakes), 1);
}
END_TEST

struct guest {
    struct world *world;
    pthread_t thread;
};

static void *
hold_as_guest(void *argument)
{
    struct guest *guest = argument;
    loop_go(guest->world->loop);
    return NULL;
}

static void *
stop(void *argument)
{
    loop_stop(((struct guest *)argument)->world->loop);
    return NULL;
}

// A note that holds is taken by the thread or by a guest, whichever is first. Meanwhile nobody takes another one.
START_TEST(while_somebody_has_a_note_in_hand_nobody_takes_the_next)
{
    struct world world = {0};
    open_world(&world);
    uint32_t number = be_guest_with(&world, ORDINARY, 0);
    put(&world, HOLD, 0, number++);
    struct guest guest = {.world = &world};
    ck_assert_int_eq(pthread_create(&guest.thread, NULL, hold_as_guest, &guest), 0);
    await(&world.held, 1);
    put(&world, ORDINARY, 0, number++);
    loop_go(world.loop); // returns
    post(&world, ORDINARY, 0, number++);
    ck_assert_uint_eq(atomic_load(&world.taken), number - 3);
    struct guest stopper = {.world = &world};
    ck_assert_int_eq(pthread_create(&stopper.thread, NULL, stop, &stopper), 0);
    await_tell(&world.let_go);
    pthread_join(guest.thread, NULL);
    pthread_join(stopper.thread, NULL);
    const uint32_t taken = atomic_load(&world.taken);
    ck_assert_uint_ge(taken, number - 2);
    ck_assert_uint_eq(taken + atomic_load(&world.discarded), number);
    put(&world, ORDINARY, 0, number++);
    loop_go(world.loop);
    ck_assert_uint_eq(taken + atomic_load(&world.discarded), number);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.disorder), 0);
}
END_TEST

static void *
put_many(void *argument)
{
    struct poster *poster = argument;
    for (uint32_t i = 0; i < NOTES; i++) {
        if (i % 3 == poster->poster % 3)
            post(poster->world, ORDINARY, poster->poster, i);
        else
            put(poster->world, ORDINARY, poster->poster, i);
        if (i % 7 == 0 || i + 1 == NOTES)
            loop_go(poster->world->loop);
    }
    return NULL;
}

START_TEST(of_guests_and_posters_every_note_is_taken_once_and_in_order)
{
    struct world world = {0};
    open_world(&world);
    struct poster posters[POSTERS];
    for (uint32_t i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.world = &world, .poster = i};
        ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, put_many, &posters[i]), 0);
    }
    for (uint32_t i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    await(&world.taken, POSTERS * NOTES);
    loop_close(world.loop);
    ck_assert_uint_eq(atomic_load(&world.disorder), 0);
    ck_assert_uint_eq(atomic_load(&world.discarded), 0);
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
    tcase_add_test(tcase, where_the_thread_sleeps_who_goes_takes_the_notes_itself);
    tcase_add_test(tcase, a_time_that_a_guest_told_is_kept);
    tcase_add_test(tcase, while_somebody_has_a_note_in_hand_nobody_takes_the_next);
    tcase_add_test(tcase, of_guests_and_posters_every_note_is_taken_once_and_in_order);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
