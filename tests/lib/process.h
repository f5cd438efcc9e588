// tests/lib/process.h -- other processes of a test: what outlives them, and how they ended.
//
// Shape: value.
#ifndef OMEN_TESTS_PROCESS_H
#define OMEN_TESTS_PROCESS_H
#include <check.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// Zeros that all who are forked from here on have in common.
static inline void *
process_share(size_t bytes)
{
    void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    return shared;
}

static inline void
process_unshare(void *shared, size_t bytes)
{
    (void)munmap(shared, bytes);
}

// Waits for its end. Whether it was killed; else it ended well. `turn` is for the message.
static inline bool
process_was_killed(pid_t process, uint64_t turn)
{
    int ended;
    ck_assert_int_eq(waitpid(process, &ended, 0), process);
    const bool killed = WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL;
    ck_assert_msg(killed || (WIFEXITED(ended) && WEXITSTATUS(ended) == 0),
                  "the process of turn %llu ended with %d", (unsigned long long)turn, ended);
    return killed;
}

// Kills a writer `moment_ms` after it gave the sign.
static inline void
process_kill(pid_t writer, uint64_t turn, const _Atomic int *sign, uint32_t moment_ms)
{
    while (atomic_load(sign) == 0 && waitpid(writer, NULL, WNOHANG) == 0)
        (void)sched_yield();
    ck_assert_msg(atomic_load(sign) != 0, "the writer of turn %llu ended before it gave the sign",
                  (unsigned long long)turn);
    (void)poll(NULL, 0, (int)moment_ms); // not to wait for something: the moment is drawn
    (void)kill(writer, SIGKILL);
    ck_assert_msg(process_was_killed(writer, turn), "the writer of turn %llu ended by itself",
                  (unsigned long long)turn);
}

// One byte through a pipe: it is the other one's turn.
static inline void
process_say(int pipe_end)
{
    ck_assert_int_eq(write(pipe_end, "x", 1), 1);
}

static inline void
process_hear(int pipe_end)
{
    char byte;
    ck_assert_int_eq(read(pipe_end, &byte, 1), 1);
}

#endif
