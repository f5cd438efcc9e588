// node/clients_admin.c -- requests about the map: started on the newest one, proposed where the metadata is led, answered when it is done.
//
// Shape: shell.
//
//      begun --admin_is_led, elsewhere--> asked (clients_led.c) --PEER_REPLY--> held, until the map is as new as the leader's was --> ended
//                                           |--no answer, another leads--> begun
//      begun --ANSWERED, REFUSED, MEET--> ended; but a job that this node knows nothing of the leader is asked about
//      begun --PROPOSE--> proposed --meta_answer--> finished (clients_became.c) --> ended
//      begun --ASK_SHARDS--> gathering (clients_shards.c) --> ended
//      any --its deadline--> ended; a call that meta points to stays until meta has answered
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_random.h"
#include "node/clients_int.h"
#include "omendb.h"

#define MS UINT64_C(1000000)
#define DEADLINE_MS 10000u // where a client says none

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

// ---- the machine ----

struct admin_view
clients_view(const struct clients *clients)
{
    struct admin_view view = {.map = clients->map,
                              .cluster = clients->config.identity.cluster,
                              .node = clients->config.identity.node,
                              .boot = clients->config.identity.boot,
                              .wall_ms = node_clock_ms(clients->config.clock),
                              .uptime_ms = (os_clock_ns() - clients->begun_ns) / MS,
                              .version = omen_version(),
                              .events = &clients->events,
                              .rebalance = &clients->rebalance,
                              .ahead_ms = node_clock_ahead_ms(clients->config.clock)};
    node_clock_look(clients->config.clock, &view.clocks);
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
complete(const struct clients *clients, struct clients_call *call)
{
    struct wire_uuid random[2];
    os_random(random, sizeof random);
    admin_complete(call->method, &call->ask,
                   admin_now_ms(clients->map, node_clock_ms(clients->config.clock)), random);
}

static void
propose(struct clients *clients, struct clients_call *call)
{
    call->proposed = true;
    meta_propose(clients->config.meta, &call->step.command, clients->loop, call);
}

// A client may have been told of a job by another node, whose map is newer; what the leader does not know is none.
static bool
may_be_newer(const struct clients_call *call, enum admin_next next, const struct omen_error *error)
{
    return call->method->number == METHOD_JOB_GET && call->conn != NULL && next == ADMIN_REFUSED &&
           error->status == OMEN_E_NOT_FOUND;
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
    if (may_be_newer(call, next, &error) && !clients_led_look(clients, call))
        return;
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
    struct clients_call *call = clients_call_new(clients, request->method, request->frame);
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
        clients_refuse_as(clients, call, OMEN_E_UNSUPPORTED, "this version does not do that yet",
                          API_NOT_APPLIED);
    else if (rpc_read_ask(&message, request->method, &decode_after_hello, &call->ask, &error) !=
             OMEN_OK)
        clients_refuse(clients, call, &error, API_NOT_APPLIED);
    else {
        call->until_ns = deadline_ns(call, os_clock_ns());
        complete(clients, call);
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
        method != NULL && clients->map != NULL ? clients_call_new(clients, method, frame) : NULL;
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
        complete(clients, call); // by a node that has done it already, but for an older one
        clients_begin(clients, call);
    }
}
