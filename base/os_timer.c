// base/os_timer.c -- one thread that does something as often as it says itself.
//
// Shape: shell.
#include "base/os_timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_thread.h"

struct timer {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; // by the monotonic clock
    bool woken;             // under `mutex`
    _Atomic bool ending;
    timer_fn fn;
    void *context;
};

static void *timer_main(void *argument);

omen_status
timer_open(timer_fn fn, void *context, struct timer **out)
{
    *out = NULL;
    struct timer *timer = mem_alloc_zero(1, sizeof *timer);
    if (timer == NULL)
        return OMEN_E_NO_MEMORY;
    timer->fn = fn;
    timer->context = context;
    pthread_condattr_t clock;
    int failed = pthread_condattr_init(&clock);
    ASSERT(failed == 0);
    failed = pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    ASSERT(failed == 0);
    failed = pthread_cond_init(&timer->changed, &clock);
    ASSERT(failed == 0);
    (void)pthread_condattr_destroy(&clock);
    failed = pthread_mutex_init(&timer->mutex, NULL);
    ASSERT(failed == 0);
    if (os_thread_start(&timer->thread, timer_main, timer) != 0) {
        (void)pthread_cond_destroy(&timer->changed);
        (void)pthread_mutex_destroy(&timer->mutex);
        mem_free(timer);
        return OMEN_E_NO_MEMORY;
    }
    *out = timer;
    return OMEN_OK;
}

static void
tell(struct timer *timer)
{
    (void)pthread_mutex_lock(&timer->mutex);
    timer->woken = true;
    (void)pthread_cond_signal(&timer->changed);
    (void)pthread_mutex_unlock(&timer->mutex);
}

void
timer_close(struct timer *timer)
{
    if (timer == NULL)
        return;
    atomic_store(&timer->ending, true);
    tell(timer);
    const int failed = pthread_join(timer->thread, NULL);
    ASSERT(failed == 0);
    (void)pthread_cond_destroy(&timer->changed);
    (void)pthread_mutex_destroy(&timer->mutex);
    mem_free(timer);
}

void
timer_wake(struct timer *timer)
{
    tell(timer);
}

static struct timespec
in_ms(uint32_t ms)
{
    struct timespec when;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &when);
    ASSERT(failed == 0);
    when.tv_sec += ms / 1000;
    when.tv_nsec += (long)(ms % 1000) * 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_sec++;
        when.tv_nsec -= 1000000000;
    }
    return when;
}

static void *
timer_main(void *argument)
{
    struct timer *timer = argument;
    while (!atomic_load(&timer->ending)) {
        const uint32_t ms = timer->fn(timer->context);
        if (ms == 0)
            continue;
        const struct timespec until = in_ms(ms);
        (void)pthread_mutex_lock(&timer->mutex);
        int answer = 0;
        while (!timer->woken && answer == 0)
            answer = ms == TIMER_RESTS
                         ? pthread_cond_wait(&timer->changed, &timer->mutex)
                         : pthread_cond_timedwait(&timer->changed, &timer->mutex, &until);
        ASSERT(answer == 0 || answer == ETIMEDOUT);
        timer->woken = false;
        (void)pthread_mutex_unlock(&timer->mutex);
    }
    return NULL;
}
