// node/clients_shards.c -- requests about the map that only copies can answer: each is asked, and what they say is put together.
//
// Shape: shell. node/admin_gather says who is asked, and what it comes to.
#include "base/os_clock.h"
#include "node/clients_int.h"

#define MS UINT64_C(1000000)
#define ADDED_MS 500u // that the map's answer waits for what copies add to it

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
    if (ask->status != OMEN_OK || shard == NULL ||
        !clients_try_send(clients, copy->node_uuid, PEER_PART, call->gather_sent + at, ms))
        gather_take(call->gather, at, OMEN_E_BUSY, (struct wire_bytes){NULL, 0});
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
    const uint64_t soon_ns = os_clock_ns() + ADDED_MS * MS;
    if (gather_adds((enum method_number)call->method->number) && call->until_ns > soon_ns)
        call->until_ns = soon_ns;
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
    const struct wire_bytes answer = {reply->answer, reply->failure == 0 ? reply->answer_bytes : 0};
    gather_take(call->gather, at, -(omen_status)reply->failure, answer);
    if (gather_pending(call->gather) == 0)
        clients_shards_end(clients, call);
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
