// base/os_thread.h -- starts a thread of ours in a program that is not.
//
// Shape: shell.
#ifndef OMEN_BASE_OS_THREAD_H
#define OMEN_BASE_OS_THREAD_H
#include <pthread.h>

// As pthread_create, with every signal blocked in the new thread: signals are for the program's own threads. 0, or an errno.
int os_thread_start(pthread_t *thread, void *(*main)(void *), void *argument);

#endif
