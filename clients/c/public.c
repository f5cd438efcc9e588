// clients/c/public.c -- omen_client.h: clients, collections, and any method by its name.
//
// Shape: handle (a thin one over client.h).
#include "clients/c/public.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "clients/c/session.h"

#define NS_PER_MS 1000000ull
// As the first version had them.
#define OPTIONS_BYTES_LEAST offsetof(omen_client_options, consistency)

_Static_assert(OMEN_CLIENT_E_UNREACHABLE == CLIENT_E_UNREACHABLE, "one number");
_Static_assert((int)OMEN_OUTCOME_UNKNOWN == (int)API_UNKNOWN, "one list");
_Static_assert((int)OMEN_SESSION == (int)API_SESSION && (int)OMEN_STRONG == (int)API_STRONG,
               "one list");
_Static_assert(sizeof(omen_client_options) > OPTIONS_BYTES_LEAST, "what came later lies behind it");
_Static_assert((int)OMEN_U8 == (int)WIRE_U8, "one list");

static _Thread_local struct client_error last;

struct client_error *
public_error(void)
{
    return &last;
}

omen_status
public_refuse(const char *what)
{
    return client_fail(&last, OMEN_E_INVALID, API_NOT_APPLIED, "%s", what);
}

const char *
omen_client_version(void)
{
    return "0.1.0";
}

void
omen_client_last_failure(omen_client_failure *out)
{
    *out = (omen_client_failure){
        .status = last.status, .outcome = (omen_outcome)last.outcome, .retryable = last.retryable};
    memcpy(out->name, last.name, sizeof out->name);
    memcpy(out->message, last.text, sizeof out->message);
}

// ---- a client ----

static omen_status
ping(struct client *client, bool is_impatient)
{
    static const uint8_t nothing[] = {0x80};
    const struct client_ask ask = {.method = wire_text_of("system.ping"),
                                   .params = {nothing, sizeof nothing},
                                   .repeatable = 1,
                                   .impatient = is_impatient};
    struct client_reply reply;
    const omen_status status = client_call(client, &ask, &reply, &last);
    client_reply_fini(&reply);
    return status;
}

static bool
is_consistency(omen_consistency said)
{
    return said >= OMEN_CONSISTENCY_DEFAULT && said <= OMEN_STRONG;
}

int
public_consistency(omen_client_t client, omen_consistency said)
{
    if (!is_consistency(said))
        return -1;
    return said != OMEN_CONSISTENCY_DEFAULT ? (int)said : (int)client->consistency;
}

omen_status
omen_client_open(const omen_client_options *options, omen_client_t *out)
{
    omen_client_options own = OMEN_CLIENT_OPTIONS_INIT;
    *out = NULL;
    if (options == NULL || options->struct_size < OPTIONS_BYTES_LEAST || options->endpoints == NULL)
        return public_refuse("the options name no endpoints");
    memcpy(&own, options, options->struct_size < sizeof own ? OPTIONS_BYTES_LEAST : sizeof own);
    if (!is_consistency(own.consistency))
        return public_refuse("the options' consistency is none");
    const struct client_config config = {.endpoints = own.endpoints,
                                         .api_key = own.api_key,
                                         .program = own.program,
                                         .timeout_ms = own.timeout_ms};
    struct OmenClient *made = mem_alloc_zero(1, sizeof *made);
    if (made == NULL)
        return client_fail(&last, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory for a client");
    made->consistency = own.consistency;
    omen_status status = client_open(&config, &made->client, &last);
    if (status == OMEN_OK)
        status = ping(made->client, true);
    if (status != OMEN_OK) {
        omen_client_close(made);
        return status;
    }
    *out = made;
    return OMEN_OK;
}

void
omen_client_close(omen_client_t client)
{
    if (client == NULL)
        return;
    client_close(client->client);
    mem_free(client);
}

void
omen_client_session_begin(omen_client_t client)
{
    session_forget(client_session(public_client(client)));
}

omen_status
omen_client_ping(omen_client_t client)
{
    return ping(public_client(client), false);
}

// ---- collections ----

omen_status
omen_client_collection_create(omen_client_t client, const omen_client_collection *collection)
{
    if (collection->struct_size < sizeof *collection || collection->name == NULL)
        return public_refuse("the collection has no name");
    if (collection->metric < OMEN_COSINE || collection->metric > OMEN_IP ||
        collection->dtype < OMEN_F32 || collection->dtype > OMEN_U8)
        return public_refuse("the collection's metric or dtype is none");
    const struct api_collection_create ask = {
        .name = wire_text_of(collection->name),
        .dimension = collection->dimension,
        .shards = collection->shards,
        .replicas = collection->replicas,
        .min_insync = collection->min_insync,
        .m = collection->m,
        .ef_construction = collection->ef_construction,
        .metric = (uint8_t)(collection->metric + 1),
        .dtype = (uint8_t)collection->dtype,
        .if_not_exists = collection->if_not_exists != 0,
    };
    struct api_collection answer;
    struct client_reply reply;
    const omen_status status = client_call_method(public_client(client), METHOD_COLLECTION_CREATE,
                                                  &ask, &reply, &answer, &last);
    client_reply_fini(&reply);
    return status;
}

omen_status
omen_client_collection_drop(omen_client_t client, const char *name)
{
    const struct api_collection_drop ask = {.collection = public_text(name)};
    struct api_changed answer;
    struct client_reply reply;
    const omen_status status = client_call_method(public_client(client), METHOD_COLLECTION_DROP,
                                                  &ask, &reply, &answer, &last);
    client_reply_fini(&reply);
    return status;
}

// ---- any method ----

static omen_status
check_call(const char *method, const void *params, size_t bytes)
{
    if (method == NULL || method[0] == '\0' || strlen(method) > RPC_METHOD_BYTES_MAX)
        return public_refuse("a method's name has 1 to 64 bytes");
    if (params == NULL || bytes == 0 || bytes > WIRE_FRAME_BYTES_MAX)
        return public_refuse("params are one msgpack map of at most 16 MiB");
    struct decode decode;
    struct msgpack_value head = {.kind = MSGPACK_NIL};
    decode_init(&decode, (struct wire_bytes){params, (uint32_t)bytes}, &decode_after_hello, NULL);
    const bool is_map = decode_peek(&decode, &head) && head.kind == MSGPACK_MAP;
    (void)decode_raw(&decode);
    if (decode_end(&decode) != OMEN_OK || !is_map) // it would break the requests behind it, too
        return public_refuse("params are no well-formed msgpack map");
    return OMEN_OK;
}

// The result as memory of its own.
static omen_status
take_result(struct client_reply *reply, void **result, size_t *bytes)
{
    const struct wire_bytes packed = reply->message.result;
    *result = mem_alloc(packed.count);
    if (*result != NULL) {
        memcpy(*result, packed.bytes, packed.count);
        *bytes = packed.count;
    }
    client_reply_fini(reply);
    return *result != NULL
               ? OMEN_OK
               : client_fail(&last, OMEN_E_NO_MEMORY, API_UNKNOWN, "no memory for the answer");
}

omen_status
omen_client_begin(omen_client_t client, const char *method, const void *params, size_t bytes,
                  uint32_t timeout_ms, omen_client_call_t *out)
{
    const omen_status status = check_call(method, params, bytes);
    *out = NULL;
    if (status != OMEN_OK)
        return status;
    const uint64_t now_ns = os_clock_ns();
    const uint64_t ms = timeout_ms > 0 ? timeout_ms : client_timeout_ms(public_client(client));
    const struct client_ask ask = {.method = wire_text_of(method),
                                   .params = {params, (uint32_t)bytes}};
    *out = (omen_client_call_t)client_begin(public_client(client), &ask, now_ns,
                                            now_ns + ms * NS_PER_MS);
    return *out != NULL
               ? OMEN_OK
               : client_fail(&last, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory for a request");
}

omen_status
omen_client_wait(omen_client_call_t call, void **result, size_t *bytes)
{
    struct client_reply reply;
    *result = NULL;
    *bytes = 0;
    const omen_status status = client_end((struct flight *)call, &reply, &last);
    return status == OMEN_OK ? take_result(&reply, result, bytes) : status;
}

omen_status
omen_client_call(omen_client_t client, const char *method, const void *params, size_t bytes,
                 uint32_t timeout_ms, int flags, void **result, size_t *result_bytes)
{
    *result = NULL;
    *result_bytes = 0;
    omen_status status = check_call(method, params, bytes);
    if (status != OMEN_OK)
        return status;
    const struct method *known = method_find(wire_text_of(method));
    const struct client_ask ask = {
        .method = wire_text_of(method),
        .params = {params, (uint32_t)bytes},
        .repeatable = (flags & OMEN_CALL_REPEATABLE) != 0 || (known != NULL && client_reads(known)),
        .timeout_ms = timeout_ms,
    };
    struct client_reply reply;
    const bool of_session = (flags & OMEN_CALL_SESSION) != 0;
    status = (of_session ? client_call_in_session : client_call)(public_client(client), &ask,
                                                                 &reply, &last);
    return status == OMEN_OK ? take_result(&reply, result, result_bytes) : status;
}

void
omen_client_free(void *result)
{
    mem_free(result);
}
