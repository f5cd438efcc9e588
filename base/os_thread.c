// base/os_thread.c -- starts a thread of ours in a program that is not.
//
// Shape: shell.
#include "base/os_thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"

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
