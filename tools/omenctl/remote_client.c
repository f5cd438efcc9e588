// tools/omenctl/remote_client.c -- where a cluster is, who asks it and for how long, as options, environment and context say.
//
// Shape: shell.
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "tools/omenctl/remote.h"
#include "tools/omenctl/source.h"

#define ENDPOINTS_DEFAULT "127.0.0.1:7700"
#define TIMEOUT_S_MAX 86400.0
#define KEY_FILE_BYTES_MAX 4096u

const char *
remote_endpoints(const struct call *call)
{
    if (call->chosen.endpoints[0] != '\0') // chosen where nothing that goes before it is there
        return call->chosen.endpoints;
    const char *set = call_setting(call->endpoints, "OMEN_ENDPOINTS");
    return set != NULL ? set : ENDPOINTS_DEFAULT;
}

enum exit_code
remote_timeout(const struct call *call, uint32_t *ms)
{
    const char *set = call_setting(call->timeout, "OMEN_TIMEOUT");
    char *end = NULL;
    *ms = CLIENT_TIMEOUT_MS;
    if (set == NULL)
        return EXIT_FINE;
    const double seconds = strtod(set, &end);
    if (end == set || *end != '\0' || !(seconds >= 0.001 && seconds <= TIMEOUT_S_MAX))
        return call_fail(call, EXIT_USAGE, "the timeout is '%s', not seconds in 0.001..%g", set,
                         TIMEOUT_S_MAX);
    *ms = (uint32_t)(seconds * 1000);
    return EXIT_FINE;
}

// The first line of the file, as a text in *key.
static enum exit_code
read_key(const struct call *call, const char *path, struct buffer *key)
{
    struct omen_error error = {0};
    if (source_read_all(path, KEY_FILE_BYTES_MAX, key, &error) != OMEN_OK)
        return call_fail_error(call, path, &error);
    size_t bytes = 0;
    while (bytes < key->count && key->bytes[bytes] > ' ')
        bytes++;
    key->count = bytes;
    if (bytes == 0)
        return call_fail(call, EXIT_USAGE, "%s: the first line has no key", path);
    return buffer_add(key, "", 1) == OMEN_OK ? EXIT_FINE : call_fail(call, EXIT_OTHER, "no memory");
}

// A key in words, or the file of one; NULL: none. A context's goes before the environment's, which is of other endpoints.
struct key_said {
    const char *key, *path;
};

static struct key_said
key_said(const struct call *call)
{
    const struct context *chosen = &call->chosen;
    if (call->api_key != NULL || call->api_key_file != NULL)
        return (struct key_said){call->api_key, call->api_key_file};
    if (chosen->api_key[0] != '\0')
        return (struct key_said){chosen->api_key, NULL};
    if (chosen->api_key_file[0] != '\0')
        return (struct key_said){NULL, chosen->api_key_file};
    return (struct key_said){call_setting(NULL, "OMEN_API_KEY"),
                             call_setting(NULL, "OMEN_API_KEY_FILE")};
}

enum exit_code
remote_open_at(const struct call *call, const char *endpoints, struct client **out)
{
    const struct key_said said = key_said(call);
    struct buffer file = {0};
    struct client_error error;
    struct client_config config = {
        .endpoints = endpoints, .program = "omenctl", .api_key = said.key};
    *out = NULL;
    enum exit_code code = remote_timeout(call, &config.timeout_ms);
    if (code == EXIT_FINE && config.api_key == NULL && said.path != NULL) {
        code = read_key(call, said.path, &file);
        config.api_key = (const char *)file.bytes;
    }
    if (code == EXIT_FINE && client_open(&config, out, &error) != OMEN_OK)
        code = remote_fail(call, "--endpoints", &error);
    buffer_fini(&file);
    return code;
}

enum exit_code
remote_open(const struct call *call, struct client **out)
{
    return remote_open_at(call, remote_endpoints(call), out);
}

static enum exit_code
exit_code_for(const struct client_error *error)
{
    if (error->outcome == API_UNKNOWN &&
        (error->status == CLIENT_E_UNREACHABLE || error->status == OMEN_E_TIMEOUT))
        return EXIT_TIMEOUT;
    return error->status == CLIENT_E_UNREACHABLE ? EXIT_UNREACHABLE : exit_code_of(error->status);
}

enum exit_code
remote_fail(const struct call *call, const char *what, const struct client_error *error)
{
    static const char *const outcomes[] = {
        [0] = "",
        [API_NOT_APPLIED] = "",
        [API_APPLIED] = " (it was done)",
        [API_UNKNOWN] = " (whether it was done is not known)",
    };
    const uint8_t outcome = error->outcome <= API_UNKNOWN ? error->outcome : 0;
    return call_fail(call, exit_code_for(error), "%s%s%s: %s%s", what, what[0] != '\0' ? ": " : "",
                     error->name, error->text, outcomes[outcome]);
}
