// tools/omenctl/job.c -- verbs about what goes on in the background that are more than a method.
//
// Shape: shell.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/omenctl/remote.h"

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

enum exit_code
job_build(const struct call *call, struct client *client, const char *collection)
{
    const struct api_build ask = {.collection = wire_text_of(collection)};
    struct api_started started = {0};
    struct client_reply reply;
    const enum exit_code code =
        remote_ask(call, client, METHOD_COLLECTION_BUILD, &ask, &reply, &started);
    client_reply_fini(&reply);
    return code == EXIT_FINE ? remote_wait(call, client, started.job) : code;
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
