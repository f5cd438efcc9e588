// node/clients_became.c -- what became of requests about the map: applied, answered elsewhere, held until the own map is as new, late.
//
// Shape: shell.
#include "base/utf8.h"
#include "node/clients_int.h"

static void
applied(struct clients *clients, struct clients_call *call, const struct command_result *result)
{
    struct omen_error error = {0};
    struct encode message;
    if (clients->map->version < result->version) { // there was no memory for a newer one
        clients_refuse_as(clients, call, OMEN_E_NO_MEMORY,
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
        clients_call_free(clients, call);
        return;
    }
    switch (answer->outcome) {
    case META_DONE:
        applied(clients, call, &answer->result);
        break;
    case META_UNKNOWN:
        if (!clients_led_again(call, OMEN_E_TIMEOUT))
            clients_refuse_as(clients, call, OMEN_E_TIMEOUT, "it may have been done", API_UNKNOWN);
        break;
    case META_INVALID:
        clients_refuse_as(clients, call, OMEN_E_INVALID, "it is beyond a limit of the map",
                          API_NOT_APPLIED);
        break;
    case META_BUSY:
        if (!clients_led_again(call, OMEN_E_BUSY))
            clients_refuse_as(clients, call, OMEN_E_BUSY,
                              "who leads the metadata takes it in a moment", API_NOT_APPLIED);
        break;
    case META_NOT_LEADER:
    case META_NOT_DONE:
        if (!clients_led_again(call, OMEN_E_BUSY))
            clients_refuse_as(clients, call, OMEN_E_BUSY, "who leads the metadata has changed",
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
            clients_call_end(clients, call); // into nothing
    }
}

static void
end_late(struct clients *clients, struct clients_call *call)
{
    if (call->held_version != 0)
        clients_finish(clients, call, &call->held); // this node's map lags; the answer is true
    else if (call->gather != NULL)
        clients_shards_end(clients, call);
    else if (!admin_is_led((enum method_number)call->method->number))
        clients_refuse_as(clients, call, OMEN_E_TIMEOUT, "no answer within the deadline",
                          API_NOT_APPLIED);
    else
        clients_refuse_as(clients, call, OMEN_E_TIMEOUT,
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
