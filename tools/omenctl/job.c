// tools/omenctl/job.c -- verbs about what goes on in the background that are more than a method.
//
// Shape: shell.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/os_clock.h"
#include "tools/omenctl/remote.h"

#define STANDS_STILL_NS UINT64_C(60000000000)

enum { BUILD_GPU, BUILD_BACKEND }; // places of the options of `collection build`

enum exit_code
job_build_run(struct call *call)
{
    static const char *const backends[] = {"auto", "cuda", "cpu"};
    const int gpu = call_choice(call, "gpu");
    ASSERT(strcmp(call->verb->options[BUILD_GPU].name, "gpu") == 0);
    if (gpu >= 0 && call->values[BUILD_BACKEND] != NULL)
        return call_fail(call, EXIT_USAGE, "--gpu and --backend say the same");
    if (gpu >= 0)
        call->values[BUILD_BACKEND] = backends[gpu];
    call->values[BUILD_GPU] = NULL; // no key of the method
    return remote_run(call);
}

void
job_hold(struct client *client, const struct api_build *ask)
{
    struct api_started started = {0};
    struct client_reply reply;
    struct client_error error;
    (void)!client_call_method(client, METHOD_COLLECTION_BUILD, ask, &reply, &started, &error);
    client_reply_fini(&reply);
}

// Where no builder lives the copies say how far they are, each time that they are asked; it ends when they say nothing new any more.
enum exit_code
job_build(const struct call *call, struct client *client, const char *collection)
{
    const struct api_build ask = {.collection = wire_text_of(collection)};
    struct api_started started = {0};
    struct client_error error = {0};
    char said[sizeof error.text] = "";
    uint64_t since_ns = os_clock_ns();
    for (;;) {
        struct client_reply reply;
        const omen_status status =
            client_call_method(client, METHOD_COLLECTION_BUILD, &ask, &reply, &started, &error);
        client_reply_fini(&reply);
        if (status == OMEN_OK)
            return remote_wait(call, client, started.job);
        if (strcmp(said, error.text) != 0) {
            since_ns = os_clock_ns();
            snprintf(said, sizeof said, "%s", error.text);
        }
        if (status != OMEN_E_BUSY || os_clock_ns() - since_ns > STANDS_STILL_NS)
            return remote_fail(call, method_at(METHOD_COLLECTION_BUILD)->name, &error);
    }
}

enum exit_code
job_watch_run(struct call *call)
{
    struct client *client;
    char *end;
    errno = 0;
    const unsigned long long job = strtoull(call->arguments[0], &end, 10);
    if (errno != 0 || end == call->arguments[0] || *end != '\0' || job == 0)
        return call_fail(call, EXIT_USAGE, "%s is no number of a job", call->arguments[0]);
    enum exit_code code = remote_open(call, &client);
    if (code != EXIT_FINE)
        return code;
    code = remote_wait(call, client, job);
    client_close(client);
    if (code == EXIT_FINE)
        call_talk(call, "job %llu is done", job);
    return code;
}
