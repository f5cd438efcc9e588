// tests/unit/base/test_os_timer.c -- a timer calls again and again, at once when woken, and not after it was closed.
//
// Labels: tsan
#include <check.h>
#include <stdatomic.h>

#include "base/os_timer.h"
#include "base/os_wait.h"
#include "tests/lib/check_main.h"

struct count {
    _Atomic uint32_t calls;
    uint32_t more; // calls that ask for another at once
    uint32_t wait_ms;
};

static uint32_t
note(void *context)
{
    struct count *count = context;
    const uint32_t calls = atomic_fetch_add(&count->calls, 1) + 1;
    os_wake_all(&count->calls);
    return calls < count->more ? 0 : count->wait_ms;
}

static void
wait_for(struct count *count, uint32_t calls)
{
    for (;;) {
        const uint32_t now = atomic_load(&count->calls);
        if (now >= calls)
            return;
        os_wait(&count->calls, now);
    }
}

START_TEST(a_short_interval_passes_again_and_again)
{
    struct count count = {.wait_ms = 1};
    struct timer *timer;
    ck_assert_int_eq(timer_open(note, &count, &timer), OMEN_OK);
    wait_for(&count, 3);
    timer_close(timer);
    const uint32_t calls = atomic_load(&count.calls);
    ck_assert_uint_ge(calls, 3);
    ck_assert_uint_eq(atomic_load(&count.calls), calls);
}
END_TEST

// Of an hour, and of one that never ends.
START_TEST(a_wake_does_not_wait_for_the_interval)
{
    struct count count = {.wait_ms = _i == 0 ? 3600 * 1000 : TIMER_RESTS};
    struct timer *timer;
    ck_assert_int_eq(timer_open(note, &count, &timer), OMEN_OK);
    wait_for(&count, 1);
    timer_wake(timer);
    wait_for(&count, 2);
    timer_close(timer);
    ck_assert_uint_ge(atomic_load(&count.calls), 2);
}
END_TEST

START_TEST(more_to_do_is_done_at_once)
{
    struct count count = {.more = 1000, .wait_ms = TIMER_RESTS};
    struct timer *timer;
    ck_assert_int_eq(timer_open(note, &count, &timer), OMEN_OK);
    wait_for(&count, 1000);
    timer_close(timer);
    ck_assert_uint_eq(atomic_load(&count.calls), 1000);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("os_timer");
    TCase *tcase = tcase_create("timer");
    tcase_add_test(tcase, a_short_interval_passes_again_and_again);
    tcase_add_loop_test(tcase, a_wake_does_not_wait_for_the_interval, 0, 2);
    tcase_add_test(tcase, more_to_do_is_done_at_once);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
