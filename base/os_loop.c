// base/os_loop.c -- a thread that takes notes one after the other, and wakes at a time that it was told.
//
// Shape: shell.
//
// The thread takes the whole queue at once, so that a poster waits for it at most a few instructions, and signals only when the
// queue was empty: a busy loop costs its posters no system call.
#include "base/os_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_thread.h"

#define SECOND_NS UINT64_C(1000000000)
#define NAME_BYTES 16u

struct loop {
    struct loop_config config;
    char name[NAME_BYTES];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;         // by the monotonic clock
    struct loop_note *first, *last; // posted; under `mutex`
    bool stopped;                   // under `mutex`
    struct loop_note *taken;        // the thread's, as is the rest
    uint64_t due_ns;
};

static void *loop_main(void *argument);
static void discard(struct loop *loop, struct loop_note *note);

static void
open_condition(struct loop *loop)
{
    pthread_condattr_t clock;
    int failed = pthread_condattr_init(&clock);
    ASSERT(failed == 0);
    failed = pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    ASSERT(failed == 0);
    failed = pthread_cond_init(&loop->changed, &clock);
    ASSERT(failed == 0);
    (void)pthread_condattr_destroy(&clock);
    failed = pthread_mutex_init(&loop->mutex, NULL);
    ASSERT(failed == 0);
}

static void
destroy(struct loop *loop)
{
    (void)pthread_cond_destroy(&loop->changed);
    (void)pthread_mutex_destroy(&loop->mutex);
    mem_free(loop);
}

omen_status
loop_open(const struct loop_config *config, struct loop **out)
{
    *out = NULL;
    struct loop *loop = mem_alloc_zero(1, sizeof *loop);
    if (loop == NULL)
        return OMEN_E_NO_MEMORY;
    loop->config = *config;
    loop->config.name = loop->name;
    strncpy(loop->name, config->name, NAME_BYTES - 1);
    loop->due_ns = UINT64_MAX;
    open_condition(loop);
    if (os_thread_start(&loop->thread, loop_main, loop) != 0) {
        destroy(loop);
        return OMEN_E_NO_MEMORY;
    }
    *out = loop;
    return OMEN_OK;
}

void
loop_post(struct loop *loop, struct loop_note *note)
{
    note->next = NULL;
    (void)pthread_mutex_lock(&loop->mutex);
    const bool stopped = loop->stopped;
    if (!stopped) {
        if (loop->first == NULL) {
            loop->first = note;
            (void)pthread_cond_signal(&loop->changed);
        } else {
            loop->last->next = note;
        }
        loop->last = note;
    }
    (void)pthread_mutex_unlock(&loop->mutex);
    if (stopped)
        loop->config.discard(loop->config.context, note);
}

void
loop_due(struct loop *loop, uint64_t at_ns)
{
    ASSERT(at_ns == UINT64_MAX || loop->config.wake != NULL);
    loop->due_ns = at_ns;
}

bool
loop_waits(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    const bool waits = loop->taken != NULL || loop->first != NULL;
    (void)pthread_mutex_unlock(&loop->mutex);
    return waits;
}

void
loop_stop(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    const bool again = loop->stopped;
    loop->stopped = true;
    (void)pthread_cond_signal(&loop->changed);
    (void)pthread_mutex_unlock(&loop->mutex);
    if (again)
        return;
    const int failed = pthread_join(loop->thread, NULL);
    ASSERT(failed == 0);
    discard(loop, loop->taken);
    discard(loop, loop->first); // nobody adds to it any more
    loop->taken = loop->first = loop->last = NULL;
}

void
loop_close(struct loop *loop)
{
    if (loop == NULL)
        return;
    loop_stop(loop);
    destroy(loop);
}

static void
discard(struct loop *loop, struct loop_note *note)
{
    while (note != NULL) {
        struct loop_note *next = note->next;
        loop->config.discard(loop->config.context, note);
        note = next;
    }
}

// Sleeps until there is a note, the time has come, or it is to end; takes what there is. False: it ends.
static bool
take_all(struct loop *loop)
{
    const struct timespec until = {.tv_sec = (time_t)(loop->due_ns / SECOND_NS),
                                   .tv_nsec = (long)(loop->due_ns % SECOND_NS)};
    (void)pthread_mutex_lock(&loop->mutex);
    int answer = 0;
    while (loop->taken == NULL && loop->first == NULL && !loop->stopped && answer == 0 &&
           (loop->due_ns == UINT64_MAX || loop->due_ns > os_clock_ns()))
        answer = loop->due_ns == UINT64_MAX
                     ? pthread_cond_wait(&loop->changed, &loop->mutex)
                     : pthread_cond_timedwait(&loop->changed, &loop->mutex, &until);
    ASSERT(answer == 0 || answer == ETIMEDOUT);
    if (loop->taken == NULL) {
        loop->taken = loop->first;
        loop->first = loop->last = NULL;
    }
    const bool stopped = loop->stopped;
    (void)pthread_mutex_unlock(&loop->mutex);
    return !stopped;
}

static void *
loop_main(void *argument)
{
    struct loop *loop = argument;
    (void)pthread_setname_np(pthread_self(), loop->name);
    while (take_all(loop)) {
        struct loop_note *note = loop->taken;
        if (note != NULL) {
            loop->taken = note->next;
            loop->config.take(loop->config.context, note);
        }
        if (loop->due_ns <= os_clock_ns()) { // never where it is UINT64_MAX
            loop->due_ns = UINT64_MAX;
            loop->config.wake(loop->config.context);
        }
    }
    return NULL;
}
