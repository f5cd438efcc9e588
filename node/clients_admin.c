// node/clients_admin.c -- requests about the map: started on the newest one, proposed where the metadata is led, answered when it is done.
//
// Shape: shell.
//
//      begun --admin_is_led, elsewhere--> asked (clients_led.c) --PEER_REPLY--> held, until the map is as new as the leader's was --> ended
//                                           |--no answer, another leads--> begun
//      begun --ANSWERED, REFUSED, MEET--> ended
//      begun --PROPOSE--> proposed --meta_answer--> finished (admin_finish) --> ended
//      begun --ASK_SHARDS--> gathering (clients_shards.c) --> ended
//      any --its deadline--> ended; a call that meta points to stays until meta has answered
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_random.h"
#include "base/utf8.h"
#include "node/clients_int.h"
#include "omendb.h"

#define MS UINT64_C(1000000)
#define DEADLINE_MS 10000u // where a client says none

// ---- calls ----

static struct clients_call *
call_new(struct clients *clients, const struct method *method, void *owned)
{
    if (clients->call_count == CLIENTS_CALLS_MAX)
        return NULL;
    struct clients_call *call = mem_alloc_zero(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->method = method;
    call->owned = owned;
    call->errors = API_ERRORS_TEXT;
    encode_init(&call->held, WIRE_FRAME_BYTES_MAX);
    call->next = clients->calls;
    call->link = &clients->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    clients->calls = call;
    clients->call_count++;
    return call;
}

static void
call_free(struct clients *clients, struct clients_call *call)
{
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    clients->call_count--;
    encode_fini(&call->held);
    gather_close(call->gather);
    mem_free(call->owned);
    mem_free(call);
}

// It was answered.
static void
call_end(struct clients *clients, struct clients_call *call)
{
    ASSERT(!call->answered);
    if (call->conn != NULL)
        rpc_conn_release(call->conn);
    call->conn = NULL;
    call->answered = true;
    if (!call->proposed)
        call_free(clients, call);
}

void
clients_admin_close(struct clients *clients)
{
    while (clients->calls != NULL) {
        struct clients_call *call = clients->calls;
        if (call->conn != NULL)
            rpc_conn_release(call->conn);
        call_free(clients, call);
    }
}

static uint64_t
deadline_ns(const struct clients_call *call, uint64_t now_ns)
{
    uint32_t ms = 0;
    for (uint32_t i = 0; i < call->method->ask->field_count; i++) {
        const struct field *field = &call->method->ask->fields[i];
        if (field->key != NULL && strcmp(field->key, "deadline_ms") == 0 &&
            field->kind == FIELD_U32)
            memcpy(&ms, call->ask.bytes + field->at, sizeof ms);
    }
    return now_ns + (ms != 0 ? ms : DEADLINE_MS) * MS;
}

// ---- answers ----

void
clients_head(const struct clients_call *call, struct encode *message)
{
    encode_init(message, WIRE_FRAME_BYTES_MAX);
    if (call->conn == NULL)
        return;
    encode_array(message, 4); // as wire/rpc.h has it
    encode_u64(message, 1);
    encode_u64(message, call->id);
    encode_nil(message);
}

static void
reply(struct clients *clients, const struct clients_call *call, const struct wire_reply *said)
{
    struct wire_reply whole = *said;
    whole.method = call->method->number;
    whole.part = call->part.part;
    whole.attempt = call->part.attempt;
    whole.request = call->part.request;
    whole.map_version = clients->map->version;
    encode_reset(&clients->encode);
    wire_reply_write(&clients->encode, &whole);
    clients_send(clients, call->from, PEER_REPLY, call->correlation, 0);
}

// Of a client's own.
static void
count(struct clients *clients, const struct clients_call *call, omen_status status)
{
    const struct front_done done = {.method = call->method,
                                    .ask = &call->ask,
                                    .status = status,
                                    .received_ns = call->received_ns,
                                    .begun_ns = call->received_ns,
                                    .heard_ns = call->received_ns};
    if (call->conn != NULL)
        clients_count(clients, &done);
}

void
clients_finish(struct clients *clients, struct clients_call *call, struct encode *message)
{
    if (call->conn != NULL)
        rpc_conn_answer(call->conn, call->id, message);
    else if (message->status == OMEN_OK)
        reply(clients, call,
              &(struct wire_reply){.answer = message->bytes,
                                   .answer_bytes = (uint32_t)message->count});
    else
        reply(clients, call, &(struct wire_reply){.failure = (uint32_t)-message->status});
    count(clients, call, message->status);
    encode_fini(message);
    call_end(clients, call);
}

void
clients_refuse(struct clients *clients, struct clients_call *call, const struct omen_error *error,
               enum api_outcome outcome)
{
    if (call->conn == NULL) {
        const struct wire_reply refused = {
            .failure = (uint32_t)-error->status,
            .reason = (const uint8_t *)error->text,
            .reason_bytes = (uint32_t)strnlen(error->text, WIRE_REASON_BYTES_MAX)};
        reply(clients, call, &refused);
    } else {
        struct encode message;
        const struct rpc_error said = rpc_error_of(error, outcome);
        encode_init(&message, WIRE_FRAME_BYTES_MAX);
        rpc_write_error(&message, call->id, call->errors, &said);
        rpc_conn_answer(call->conn, call->id, &message);
        encode_fini(&message);
    }
    count(clients, call, error->status);
    call_end(clients, call);
}

void
clients_say_no(struct clients *clients, struct clients_call *call, omen_status status,
               const char *why, enum api_outcome outcome)
{
    struct omen_error error;
    (void)error_set(&error, status, "%s: %s", call->method->name, why);
    clients_refuse(clients, call, &error, outcome);
}

// ---- the machine ----

struct admin_view
clients_view(const struct clients *clients)
{
    struct admin_view view = {.map = clients->map,
                              .cluster = clients->config.identity.cluster,
                              .node = clients->config.identity.node,
                              .boot = clients->config.identity.boot,
                              .wall_ms = os_ms_since_1970(),
                              .uptime_ms = (os_clock_ns() - clients->begun_ns) / MS,
                              .version = omen_version(),
                              .events = &clients->events,
                              .rebalance = &clients->rebalance};
    if (clients->members != NULL) {
        view.members = clients->members->members;
        view.member_count = clients->members->count;
        view.voters = clients->members->voters;
        view.voting = clients->members->voting;
        view.voting_count = clients->members->voting_count;
        view.leader = clients->members->leader;
        view.term = clients->members->term;
    }
    return view;
}

static void
complete(struct clients_call *call)
{
    struct wire_uuid random[2];
    os_random(random, sizeof random);
    admin_complete(call->method, &call->ask, os_ms_since_1970(), random);
}

static void
propose(struct clients *clients, struct clients_call *call)
{
    call->proposed = true;
    meta_propose(clients->config.meta, &call->step.command, clients->loop, call);
}

void
clients_begin(struct clients *clients, struct clients_call *call)
{
    struct omen_error error = {0};
    struct encode message;
    struct admin_view view = clients_view(clients);
    const struct admin_call asked = {call->method, &call->ask};
    struct metrics_text text;
    metrics_init(&text);
    if (admin_is_led((enum method_number)call->method->number) && !clients_led_look(clients, call))
        return;
    if (call->method->number == METHOD_SYSTEM_METRICS && clients->config.text != NULL)
        clients->config.text(clients->config.context, &text);
    view.metrics = (struct wire_text){text.bytes, text.failed ? 0 : (uint32_t)text.count};
    clients_head(call, &message);
    const enum admin_next next = admin_start(&view, &asked, &call->step, &message, &error);
    metrics_fini(&text);
    if (next == ADMIN_MEET)
        meta_meet(clients->config.meta, &call->step.address);
    if (next == ADMIN_ANSWERED || next == ADMIN_MEET) {
        clients_finish(clients, call, &message);
        return;
    }
    encode_fini(&message);
    if (next == ADMIN_REFUSED)
        clients_refuse(clients, call, &error, led_outcome(&call->led, error.status));
    else if (next == ADMIN_PROPOSE)
        propose(clients, call);
    else
        clients_shards_ask(clients, call);
}

// ---- requests ----

void
clients_admin(struct clients *clients, struct clients_request_note *note)
{
    const struct rpc_request *request = &note->request;
    struct omen_error error = {0};
    struct clients_call *call = call_new(clients, request->method, request->frame);
    if (call == NULL) {
        struct encode message;
        (void)error_set(&error, OMEN_E_BUSY, "%s: too many requests about the map are under way",
                        request->method->name);
        const struct rpc_error said = rpc_error_of(&error, API_NOT_APPLIED);
        encode_init(&message, WIRE_FRAME_BYTES_MAX);
        rpc_write_error(&message, request->id, request->session.errors, &said);
        mem_free(request->frame);
        rpc_conn_answer(note->conn, request->id, &message);
        encode_fini(&message);
        rpc_conn_release(note->conn);
        return;
    }
    call->conn = note->conn;
    call->id = request->id;
    call->errors = request->session.errors;
    call->received_ns = request->received_ns;
    const struct rpc_message message = rpc_request_message(request);
    if (!admin_has((enum method_number)request->method->number))
        clients_say_no(clients, call, OMEN_E_UNSUPPORTED, "this version does not do that yet",
                       API_NOT_APPLIED);
    else if (rpc_read_ask(&message, request->method, &decode_after_hello, &call->ask, &error) !=
             OMEN_OK)
        clients_refuse(clients, call, &error, API_NOT_APPLIED);
    else {
        call->until_ns = deadline_ns(call, os_clock_ns());
        complete(call);
        clients_begin(clients, call);
    }
}

static const struct method *
method_of(uint8_t number)
{
    const bool known = number < METHODS_END && admin_has((enum method_number)number);
    return known ? method_at((enum method_number)number) : NULL;
}

void
clients_admin_part(struct clients *clients, struct frame_note *frame, const struct wire_part *part)
{
    struct omen_error error = {0};
    const struct method *method = method_of(part->method);
    struct clients_call *call =
        method != NULL && clients->map != NULL ? call_new(clients, method, frame) : NULL;
    if (call == NULL) {
        mem_free(frame); // who sent it gives up at its deadline
        return;
    }
    call->from = frame->from;
    call->correlation = frame->head.correlation;
    call->part = *part;
    const uint32_t ms = frame->head.deadline_ms;
    call->until_ns = os_clock_ns() + (ms != 0 ? ms : DEADLINE_MS) * MS;
    const struct rpc_message message = {.kind = RPC_REQUEST,
                                        .params = {part->ask, part->ask_bytes}};
    if (rpc_read_ask(&message, method, &decode_after_hello, &call->ask, &error) != OMEN_OK)
        clients_refuse(clients, call, &error, API_NOT_APPLIED);
    else {
        complete(call); // by a node that has done it already, but for an older one
        clients_begin(clients, call);
    }
}

// ---- what became of it ----

static void
applied(struct clients *clients, struct clients_call *call, const struct command_result *result)
{
    struct omen_error error = {0};
    struct encode message;
    if (clients->map->version < result->version) { // there was no memory for a newer one
        clients_say_no(clients, call, OMEN_E_NO_MEMORY,
                       "it was done, but there is no memory to say how", API_APPLIED);
        return;
    }
    const struct admin_view view = clients_view(clients);
    const struct admin_call asked = {call->method, &call->ask};
    clients_head(call, &message);
    const omen_status status = admin_finish(&view, &asked, &call->step, result, &message, &error);
    if (status == OMEN_OK) {
        clients_finish(clients, call, &message);
        return;
    }
    encode_fini(&message);
    clients_refuse(clients, call, &error, led_outcome(&call->led, status));
}

void
clients_admin_answer(struct clients *clients, const struct meta_answer *answer)
{
    struct clients_call *call = answer->tag;
    call->proposed = false;
    if (call->answered) {
        call_free(clients, call);
        return;
    }
    switch (answer->outcome) {
    case META_DONE:
        applied(clients, call, &answer->result);
        break;
    case META_UNKNOWN:
        if (!clients_led_again(call, OMEN_E_TIMEOUT))
            clients_say_no(clients, call, OMEN_E_TIMEOUT, "it may have been done", API_UNKNOWN);
        break;
    case META_INVALID:
        clients_say_no(clients, call, OMEN_E_INVALID, "it is beyond a limit of the map",
                       API_NOT_APPLIED);
        break;
    case META_NOT_LEADER:
    case META_BUSY:
    case META_NOT_DONE:
        if (!clients_led_again(call, OMEN_E_BUSY))
            clients_say_no(clients, call, OMEN_E_BUSY, "who leads the metadata has changed",
                           API_NOT_APPLIED);
        break;
    }
}

static void
failed_there(struct clients *clients, struct clients_call *call, const struct wire_reply *said)
{
    struct omen_error error;
    const omen_status status = -(omen_status)said->failure;
    if (clients_led_again(call, status))
        return;
    if (said->reason_bytes > 0 && utf8_valid(said->reason, said->reason_bytes))
        (void)error_set(&error, status, "%.*s", (int)said->reason_bytes,
                        (const char *)said->reason);
    else
        (void)error_set(&error, status, "%s: %s", call->method->name, status_text(status));
    clients_refuse(clients, call, &error, led_outcome(&call->led, status));
}

// That waits for this: for the leader's word, or (*at) a copy's.
static struct clients_call *
find_sent(const struct clients *clients, uint64_t correlation, uint32_t *at)
{
    for (struct clients_call *call = clients->calls; call != NULL; call = call->next) {
        uint32_t copies = 0;
        if (call->answered || call->held_version != 0)
            continue;
        if (call->gather != NULL)
            (void)gather_copies(call->gather, &copies);
        *at = (uint32_t)(correlation - call->gather_sent);
        if (copies > 0 ? correlation - call->gather_sent < copies
                       : led_is_ours(&call->led, correlation))
            return call;
    }
    return NULL;
}

void
clients_admin_reply(struct clients *clients, uint64_t correlation, const struct wire_reply *said)
{
    uint32_t at;
    struct clients_call *call = find_sent(clients, correlation, &at);
    if (call == NULL)
        return;
    if (call->gather != NULL) {
        clients_shards_take(clients, call, at, said);
    } else if (said->failure != 0) {
        if (led_is_last(&call->led, correlation)) // of the others one that is done counts, alone
            failed_there(clients, call, said);
    } else {
        encode_fini(&call->held);
        clients_head(call, &call->held);
        encode_raw(&call->held, said->answer, said->answer_bytes);
        call->held_version = said->map_version + 1;
        if (clients->map->version < said->map_version)
            meta_want(clients->config.meta, said->map_version);
        clients_admin_map(clients);
    }
}

// Answers that were waiting for the map.
void
clients_admin_map(struct clients *clients)
{
    struct clients_call *next = NULL;
    for (struct clients_call *call = clients->calls; call != NULL; call = next) {
        next = call->next;
        if (!call->answered && call->held_version != 0 &&
            clients->map->version + 1 >= call->held_version)
            clients_finish(clients, call, &call->held);
    }
}

void
clients_admin_gone(struct clients *clients, const struct rpc_conn *conn)
{
    struct clients_call *next = NULL;
    for (struct clients_call *call = clients->calls; call != NULL; call = next) {
        next = call->next;
        if (!call->answered && call->conn == conn)
            call_end(clients, call); // into nothing
    }
}

static void
end_late(struct clients *clients, struct clients_call *call)
{
    if (call->held_version != 0)
        clients_finish(clients, call, &call->held); // this node's map lags; the answer is true
    else if (call->gather != NULL)
        clients_shards_end(clients, call);
    else
        clients_say_no(clients, call, OMEN_E_TIMEOUT,
                       "no answer within the deadline; it may have been done", API_UNKNOWN);
}

void
clients_admin_late(struct clients *clients, uint64_t now_ns)
{
    struct clients_call *next = NULL;
    for (struct clients_call *call = clients->calls; call != NULL; call = next) {
        next = call->next;
        if (!call->answered && call->until_ns <= now_ns)
            end_late(clients, call);
    }
    clients_led_wake(clients, now_ns);
}

uint64_t
clients_admin_due(const struct clients *clients)
{
    uint64_t due_ns = clients_led_due(clients);
    for (const struct clients_call *call = clients->calls; call != NULL; call = call->next)
        if (!call->answered && call->until_ns < due_ns)
            due_ns = call->until_ns;
    return due_ns;
}
