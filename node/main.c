// node/main.c -- omend: reads what an operator says, runs a node, and ends it when it is told to.
//
// Shape: shell.
//
// All signals are blocked before there is a second thread, and taken by the first one, which does nothing else.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_log.h"
#include "node/node.h"

static sigset_t signals;

static void
block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    // A fault of the program itself ends it, whoever blocks it.
    sigdelset(&all, SIGABRT);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGSEGV);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
}

// True: SIGTERM or SIGINT came; false: the time is over.
static bool
wait_for_signal(void *context, uint32_t ms)
{
    (void)context;
    const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000};
    for (;;) {
        const int got = sigtimedwait(&signals, NULL, &time);
        if (got > 0)
            return true;
        if (errno != EINTR)
            return false;
    }
}

static void
say_why(const struct omen_error *error, enum config_exit code)
{
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_ERROR, "node.refused"))
        return;
    log_number(&line, "exit", (uint64_t)code);
    log_text(&line, "why", error->text);
    log_end(&line);
}

static enum config_exit
run(const struct config *config, struct omen_error *error)
{
    struct seal_keys keys;
    if (seal_init() != OMEN_OK) {
        (void)error_set(error, OMEN_E_INTERNAL, "libsodium cannot be used");
        return EXIT_NO_SYSTEM;
    }
    if (config_seal_keys(config, &keys, error) != OMEN_OK)
        return EXIT_BAD_CONFIG;
    const struct node_config node_config = {
        .config = config, .keys = &keys, .pause = wait_for_signal};
    struct node *node;
    const enum config_exit failed = node_open(&node_config, &node, error);
    if (failed != EXIT_DONE || node == NULL)
        return failed;
    while (!wait_for_signal(NULL, 3600 * 1000))
        ;
    log_say(LOG_LEVEL_INFO, "node.ends", "why", "it was told to");
    node_close(node);
    return EXIT_DONE;
}

int
main(int count, char **arguments)
{
    static struct config config;
    struct omen_error error = {0};
    enum config_exit code;
    switch (config_read(count, arguments, environ, stdout, &config, &code, &error)) {
    case CONFIG_ENDED:
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_NO_SYSTEM;
    case CONFIG_WRONG:
        fprintf(stderr, "omend: %s\n", error.text);
        return (int)code;
    case CONFIG_RUN:
        break;
    }
    mem_keep_large_apart();
    log_level_set(config.log_level);
    block_signals();
    code = run(&config, &error);
    if (code != EXIT_DONE)
        say_why(&error, code);
    _exit((int)code); // libraries' threads may still run, and need not be waited for
}
