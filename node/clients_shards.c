// node/clients_shards.c -- requests about the map that only copies can answer: each is asked, and what they say is put together.
//
// Shape: shell. node/admin_gather says who is asked, and what it comes to.
#include "base/os_clock.h"
#include "node/clients_int.h"

#define MS UINT64_C(1000000)
#define ADDED_MS 500u    // that the map's answer waits for what copies add to it
#define IN_PART_SHARE 8u // of the time, left for the way of an answer that names who is missing

static const char node_is_gone[] = "its node is dead, or has left";
// To one that gossip knows to live, or not yet to be dead: too much waits for it, or its connections are being made. So it is for now.
static const char node_is_far[] = "nothing can be sent to its node now";

static bool
is_gone(const struct clients *clients, struct cluster_uuid node)
{
    const struct admin_view view = clients_view(clients);
    return admin_node_gone(&view, node);
}

static void
ask_copy(struct clients *clients, struct clients_call *call, uint32_t at,
         const struct gather_copy *copy, const struct encode *ask)
{
    const struct map_shard *shard = map_shard(clients->map, copy->shard);
    const bool writes = call->step.whom == ADMIN_PRIMARIES; // others look at one copy, or see to it
    struct wire_part part = {.kind = writes ? WIRE_PART_WRITE : WIRE_PART_GET,
                             .consistency = WIRE_ANY,
                             .method = call->method->number,
                             .part = at,
                             .copy_high = copy->copy.high,
                             .copy_low = copy->copy.low,
                             .shard = copy->shard,
                             .map_version = clients->map->version,
                             .ask_bytes = (uint32_t)ask->count,
                             .ask = ask->bytes};
    if (shard != NULL) {
        part.term = shard->term;
        part.cfg_ver = shard->cfg_ver;
        part.first = shard->first;
        part.last = shard->last;
    }
    const uint64_t now_ns = os_clock_ns();
    const uint32_t ms =
        call->until_ns > now_ns ? (uint32_t)((call->until_ns - now_ns) / MS) + 1 : 1;
    encode_reset(&clients->encode);
    wire_part_write(&clients->encode, &part);
    if (is_gone(clients, copy->node_uuid))
        gather_lose(call->gather, at, OMEN_E_BUSY, node_is_gone);
    else if (ask->status != OMEN_OK || shard == NULL)
        gather_take(call->gather, at, OMEN_E_BUSY, (struct wire_bytes){NULL, 0});
    else if (!clients_try_send(clients, copy->node_uuid, PEER_PART, call->gather_sent + at, ms))
        gather_refuse(call->gather, at, OMEN_E_BUSY,
                      (struct wire_bytes){(const uint8_t *)node_is_far, sizeof node_is_far - 1});
}

// When it is answered with what there is by then.
static uint64_t
until_ns(const struct clients_call *call, uint64_t now_ns)
{
    const enum method_number number = (enum method_number)call->method->number;
    const uint64_t soon_ns = now_ns + ADDED_MS * MS;
    if (gather_adds(number) && call->until_ns > soon_ns)
        return soon_ns;
    if (gather_in_part(number) && call->until_ns > now_ns)
        return call->until_ns - (call->until_ns - now_ns) / IN_PART_SHARE;
    return call->until_ns;
}

void
clients_shards_ask(struct clients *clients, struct clients_call *call)
{
    struct omen_error error = {0};
    const struct admin_call asked = {call->method, &call->ask};
    if (gather_open(clients->map, &asked, &call->step, &call->gather, &error) != OMEN_OK) {
        clients_refuse(clients, call, &error, API_NOT_APPLIED);
        return;
    }
    call->until_ns = until_ns(call, os_clock_ns());
    uint32_t count;
    struct encode ask;
    const struct gather_copy *copies = gather_copies(call->gather, &count);
    encode_init(&ask, WIRE_FRAME_BYTES_MAX);
    shape_write(&ask, call->method->ask, &call->ask);
    call->gather_sent = (clients->correlations + 1) | CLIENTS_CALL_BIT;
    clients->correlations += count + 1;
    for (uint32_t i = 0; i < count; i++)
        ask_copy(clients, call, i, &copies[i], &ask);
    encode_fini(&ask);
    if (gather_pending(call->gather) == 0)
        clients_shards_end(clients, call);
}

void
clients_shards_take(struct clients *clients, struct clients_call *call, uint32_t at,
                    const struct wire_reply *reply)
{
    if (reply->failure == 0)
        gather_take(call->gather, at, OMEN_OK,
                    (struct wire_bytes){reply->answer, reply->answer_bytes});
    else
        gather_refuse(call->gather, at, -(omen_status)reply->failure,
                      (struct wire_bytes){reply->reason, reply->reason_bytes});
    if (gather_pending(call->gather) == 0)
        clients_shards_end(clients, call);
}

// What was sent to a node that is dead by now may have been done there.
static void
lose_gone(struct clients *clients, struct clients_call *call)
{
    uint32_t count;
    const struct gather_copy *copies = gather_copies(call->gather, &count);
    for (uint32_t i = 0; i < count; i++)
        if (gather_waits(call->gather, i) && is_gone(clients, copies[i].node_uuid))
            gather_lose(call->gather, i, OMEN_E_TIMEOUT, node_is_gone);
    if (gather_pending(call->gather) == 0)
        clients_shards_end(clients, call);
}

void
clients_shards_members(struct clients *clients)
{
    struct clients_call *next = NULL;
    for (struct clients_call *call = clients->calls; call != NULL; call = next) {
        next = call->next;
        if (!call->answered && call->gather != NULL && gather_pending(call->gather) > 0)
            lose_gone(clients, call);
    }
}

void
clients_shards_end(struct clients *clients, struct clients_call *call)
{
    struct omen_error error = {0};
    struct encode message;
    clients_head(call, &message);
    if (gather_answer(call->gather, clients->map, &message, &error) == OMEN_OK) {
        clients_finish(clients, call, &message);
        return;
    }
    encode_fini(&message);
    const bool late = error.status == OMEN_E_TIMEOUT;
    clients_refuse(clients, call, &error, late ? API_UNKNOWN : API_NOT_APPLIED);
}
