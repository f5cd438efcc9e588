// tests/lib/log_pipe.h -- what is said to the log goes to the test.
//
// Shape: value. One at a time.
#ifndef OMEN_TESTS_LOG_PIPE_H
#define OMEN_TESTS_LOG_PIPE_H
#include <check.h>
#include <unistd.h>

#include "base/os_log.h"

static int log_pipe_ends[2];
static char log_pipe_text[65536];

static inline void
log_pipe_open(void)
{
    ck_assert_int_eq(pipe(log_pipe_ends), 0);
    log_to(log_pipe_ends[1]);
}

// All that was said since; nothing more may be said.
static inline const char *
log_pipe_said(void)
{
    close(log_pipe_ends[1]);
    size_t count = 0;
    ssize_t got;
    while ((got = read(log_pipe_ends[0], log_pipe_text + count, sizeof log_pipe_text - 1 - count)) > 0)
        count += (size_t)got;
    log_pipe_text[count] = '\0';
    return log_pipe_text;
}

static inline void
log_pipe_close(void)
{
    log_to(STDERR_FILENO);
    close(log_pipe_ends[0]);
}

#endif
