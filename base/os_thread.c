// base/os_thread.c -- starts a thread of ours in a program that is not.
//
// Shape: shell.
#include "base/os_thread.h"

#include <signal.h>

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
