// base/os_thread.c -- starts a thread of ours in a program that is not.
//
// Shape: shell.
#include "base/os_thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/os_wait.h"

int
os_thread_start(pthread_t *thread, void *(*main)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, NULL, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static void *
wait_to_go(void *argument)
{
    _Atomic uint32_t *go = argument;
    while (atomic_load(go) == 0)
        os_wait(go, 0);
    return NULL;
}

// As the system counts them, which is a moment after a thread was joined: it leaves this folder when it is none any more. 0: nobody tells.
static nlink_t
threads_counted(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 ? tasks.st_nlink : 0;
}

bool
os_thread_room(uint32_t count)
{
    pthread_t threads[OS_THREAD_ROOM_MAX];
    _Atomic uint32_t go = 0;
    uint32_t started = 0;
    ASSERT(count <= OS_THREAD_ROOM_MAX);
    const nlink_t before = threads_counted();
    while (started < count && os_thread_start(&threads[started], wait_to_go, &go) == 0)
        started++;
    atomic_store(&go, 1);
    os_wake_all(&go);
    for (uint32_t i = 0; i < started; i++) {
        const int failed = pthread_join(threads[i], NULL);
        ASSERT(failed == 0);
    }
    for (uint32_t looks = 0; looks < 1000 && threads_counted() > before; looks++)
        (void)sched_yield();
    return started == count;
}

// On Linux "process 0" is the calling thread, and that of the program's number its first one (setpriority(2), C library/kernel
// differences). Threads begin as low as who starts them.
void
os_thread_lower(int by)
{
    errno = 0;
    const int program = getpriority(PRIO_PROCESS, (id_t)getpid());
    const int own = getpriority(PRIO_PROCESS, 0);
    if (errno == 0 && own < program + by)
        (void)setpriority(PRIO_PROCESS, 0, program + by);
}

struct behind {
    void (*fn)(void *context);
    void *context;
};

static void *
behind_main(void *argument)
{
    const struct behind *behind = argument;
    os_thread_lower(OS_THREAD_BEHIND);
    behind->fn(behind->context);
    return NULL;
}

void
os_thread_run_behind(void (*fn)(void *context), void *context)
{
    struct behind behind = {fn, context};
    pthread_t thread;
    if (os_thread_start(&thread, behind_main, &behind) != 0) {
        fn(context);
        return;
    }
    const int failed = pthread_join(thread, NULL);
    ASSERT(failed == 0);
}
