// base/os_thread.h -- starts a thread of ours in a program that is not.
//
// Shape: shell.
#ifndef OMEN_BASE_OS_THREAD_H
#define OMEN_BASE_OS_THREAD_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

// As pthread_create, with every signal blocked in the new thread: signals are for the program's own threads. 0, or an errno.
int os_thread_start(pthread_t *thread, void *(*main)(void *), void *argument);

#define OS_THREAD_ROOM_MAX 64u
// Whether the system gives so many threads more, of which there is none left when it returns. For what is started next and cannot bear
// to be refused one. count <= OS_THREAD_ROOM_MAX.
bool os_thread_room(uint32_t count);

#define OS_THREAD_BEHIND 5 // what work of seconds is lowered by that goes on beside searches

// The calling thread gives way to others from here on: it is so much lower, in what nice(1) gives, than the program's first thread. For good,
// since only a privileged program may raise it again; and where it is refused, it goes on as before.
void os_thread_lower(int by);

// Calls fn(context) on a thread of its own that is lowered by OS_THREAD_BEHIND, and returns when it has returned. Where the system refuses
// a thread, the caller calls it.
void os_thread_run_behind(void (*fn)(void *context), void *context);

#endif
