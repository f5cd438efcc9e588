// base/os_loop.c -- a thread that takes notes one after the other, and wakes at a time that it was told.
//
// Shape: shell.
//
// Whoever takes notes takes the whole queue at once, so that a poster waits for it at most a few instructions, and signals only when the
// queue was empty: a busy loop costs its posters no system call.
//
// A guest comes only while the thread sleeps, and as long as it is there the thread takes nothing and posters signal nobody. When it goes
// it wakes the thread where there is something left for it: notes, an end, a time that is earlier than the one it sleeps to.
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
    struct loop_note *first, *last; // posted; under `mutex`, as all down to `until_ns`
    bool stopped;
    bool asleep;             // the thread, until there is a note or `until_ns` has come
    bool guest;              // somebody takes notes in the thread's place
    bool wanted;             // the thread waits for the guest to go
    uint64_t until_ns;       // UINT64_MAX: for ever
    struct loop_note *taken; // the thread's or the guest's, as is the rest
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

// Under the lock. False: the loop was stopped.
static bool
append(struct loop *loop, struct loop_note *note)
{
    if (loop->stopped)
        return false;
    note->next = NULL;
    if (loop->first == NULL)
        loop->first = note;
    else
        loop->last->next = note;
    loop->last = note;
    return true;
}

void
loop_post(struct loop *loop, struct loop_note *note)
{
    (void)pthread_mutex_lock(&loop->mutex);
    const bool appended = append(loop, note);
    if (appended && loop->first == note && !loop->guest)
        (void)pthread_cond_signal(&loop->changed);
    (void)pthread_mutex_unlock(&loop->mutex);
    if (!appended)
        loop->config.discard(loop->config.context, note);
}

void
loop_put(struct loop *loop, struct loop_note *note)
{
    (void)pthread_mutex_lock(&loop->mutex);
    const bool appended = append(loop, note);
    (void)pthread_mutex_unlock(&loop->mutex);
    if (!appended)
        loop->config.discard(loop->config.context, note);
}

// Under the lock, which it lets go of while it has a note in hand.
static void
be_guest(struct loop *loop)
{
    uint32_t count = 0;
    loop->guest = true;
    while (loop->first != NULL && !loop->stopped && count < LOOP_GUEST_NOTES) {
        loop->taken = loop->first;
        loop->first = loop->last = NULL;
        (void)pthread_mutex_unlock(&loop->mutex);
        for (; loop->taken != NULL; count++) {
            struct loop_note *note = loop->taken;
            loop->taken = note->next;
            loop->config.take(loop->config.context, note);
        }
        (void)pthread_mutex_lock(&loop->mutex);
    }
    loop->guest = false;
    if (loop->wanted || loop->first != NULL || loop->stopped || loop->due_ns < loop->until_ns)
        (void)pthread_cond_signal(&loop->changed);
}

void
loop_go(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    if (loop->asleep && !loop->guest && loop->first != NULL)
        be_guest(loop);
    (void)pthread_mutex_unlock(&loop->mutex);
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

// Under the lock: whether there is nothing to do, or a guest is at it.
static bool
has_to_wait(const struct loop *loop)
{
    if (loop->guest)
        return true;
    return loop->taken == NULL && loop->first == NULL && !loop->stopped &&
           (loop->due_ns == UINT64_MAX || loop->due_ns > os_clock_ns());
}

static void
sleep_until_due(struct loop *loop)
{
    const struct timespec until = {.tv_sec = (time_t)(loop->due_ns / SECOND_NS),
                                   .tv_nsec = (long)(loop->due_ns % SECOND_NS)};
    loop->asleep = true;
    loop->until_ns = loop->due_ns;
    const int answer = loop->due_ns == UINT64_MAX
                           ? pthread_cond_wait(&loop->changed, &loop->mutex)
                           : pthread_cond_timedwait(&loop->changed, &loop->mutex, &until);
    ASSERT(answer == 0 || answer == ETIMEDOUT);
    loop->asleep = false;
}

// Sleeps until there is a note, the time has come, or it is to end; takes what there is. False: it ends.
static bool
take_all(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    while (has_to_wait(loop)) {
        loop->wanted = loop->guest;
        if (loop->guest)
            (void)pthread_cond_wait(&loop->changed, &loop->mutex);
        else
            sleep_until_due(loop);
        loop->wanted = false;
    }
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
