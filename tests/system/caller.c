// tests/system/caller.c -- the C client as a filter: requests come in, each is called at a cluster, answers go out.
//
// Shape: shell. usage: caller ENDPOINTS [API_KEY]; what runs it is tests/system/test_conformance.py.
//
//      in   method_bytes u32, params_bytes u32, flags u32; the method's name, the packed map that it is asked with
//           flags: 1 it may be repeated, 2 it is part of the client's session
//      out  status i32, outcome u32, name_bytes u32, body_bytes u32; the error's name, its sentence or the packed answer
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/client.h"

#define TIMEOUT_MS 60000u

static void
end(const char *why)
{
    fprintf(stderr, "caller: %s\n", why);
    exit(1);
}

// Whole, or (false) nothing at all where the input ends.
static bool
read_all(void *bytes, size_t count)
{
    const size_t got = fread(bytes, 1, count, stdin);
    if (got != count && got != 0)
        end("the input ends in the middle of a request");
    return got == count;
}

static void
write_all(const void *bytes, size_t count)
{
    if (count > 0 && fwrite(bytes, 1, count, stdout) != count)
        end("the output is closed");
}

static void
say(omen_status status, uint32_t outcome, struct wire_text name, struct wire_bytes body)
{
    const uint32_t words[] = {(uint32_t)status, outcome, name.count, body.count};
    write_all(words, sizeof words);
    write_all(name.bytes, name.count);
    write_all(body.bytes, body.count);
    if (fflush(stdout) != 0)
        end("the output is closed");
}

static void
call(struct client *client, const struct client_ask *ask, bool in_session)
{
    struct client_reply reply;
    struct client_error error = {.status = OMEN_OK};
    if ((in_session ? client_call_in_session : client_call)(client, ask, &reply, &error) !=
        OMEN_OK) {
        const struct wire_text text = wire_text_of(error.text);
        say(error.status, error.outcome, wire_text_of(error.name),
            (struct wire_bytes){(const uint8_t *)text.bytes, text.count});
        return;
    }
    say(OMEN_OK, 0, (struct wire_text){0}, reply.message.result);
    client_reply_fini(&reply);
}

// False: there is none.
static bool
take(struct client *client)
{
    uint32_t words[3];
    char method[RPC_METHOD_BYTES_MAX];
    if (!read_all(words, sizeof words))
        return false;
    uint8_t *params = malloc(words[1]);
    if (words[0] > sizeof method || params == NULL || !read_all(method, words[0]) ||
        !read_all(params, words[1]))
        end("a request that is none");
    const struct client_ask ask = {
        .method = {method, words[0]}, .params = {params, words[1]}, .repeatable = words[2] & 1};
    call(client, &ask, (words[2] & 2) != 0);
    free(params);
    return true;
}

int
main(int argc, char **argv)
{
    struct client *client;
    struct client_error error;
    const struct client_config config = {.endpoints = argc > 1 ? argv[1] : "",
                                         .api_key = argc > 2 ? argv[2] : NULL,
                                         .program = "caller",
                                         .timeout_ms = TIMEOUT_MS};
    if (client_open(&config, &client, &error) != OMEN_OK)
        end(error.text);
    while (take(client))
        ;
    client_close(client);
    return 0;
}
