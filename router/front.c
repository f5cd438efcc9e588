// router/front.c -- the fan-out is stepped, and what it says is done: parts leave, replies are kept or let go, rounds end.
//
// Shape: handle, in memory.
//
// A step may end requests, and the end of a round may begin the next one, which is a step again. So those that want another round
// are remembered until the output of the step has been gone through.
#include "router/front.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "router/front_int.h"
#include "router/routes_map.h"

#define BLOCK_BYTES ((size_t)65536)
#define MS_NS 1000000u

static void end_call(struct front *front, struct front_call *call);

// ---- the front ----

omen_status
front_open(const struct front_config *config, struct front **out)
{
    *out = NULL;
    struct front *front = mem_alloc_zero(1, sizeof *front);
    if (front == NULL)
        return OMEN_E_NO_MEMORY;
    front->config = *config;
    front->due_ns = UINT64_MAX;
    prng_init(&front->prng, config->seed);
    fanout_init(&front->fanout, &config->fanout, prng_next(&front->prng));
    encode_init(&front->packed, WIRE_FRAME_BYTES_MAX);
    *out = front;
    return OMEN_OK;
}

void
front_close(struct front *front)
{
    if (front == NULL)
        return;
    while (front->calls != NULL)
        end_call(front, front->calls);
    while (front->blocks != NULL) {
        struct front_block *block = front->blocks;
        front->blocks = block->older;
        mem_free(block);
    }
    fanout_fini(&front->fanout);
    routes_fini(&front->routes[0]);
    routes_fini(&front->routes[1]);
    encode_fini(&front->packed);
    mem_free(front);
}

void *
front_take(struct front *front, size_t bytes)
{
    const size_t unit = sizeof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + unit - 1) / unit * unit;
    struct front_block *block = front->blocks;
    if (block == NULL || bytes > block->room - block->used) {
        const size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = mem_alloc(sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->older = front->blocks;
        block->used = 0;
        block->room = room;
        front->blocks = block;
    }
    void *at = (uint8_t *)block->bytes + block->used;
    block->used += bytes;
    return at;
}

// The oldest, which is small, is kept.
static void
drop_blocks(struct front *front)
{
    while (front->blocks != NULL &&
           (front->blocks->older != NULL || front->blocks->room > BLOCK_BYTES)) {
        struct front_block *block = front->blocks;
        front->blocks = block->older;
        mem_free(block);
    }
    if (front->blocks != NULL)
        front->blocks->used = 0;
}

// ---- requests ----

static struct front_call *
call_new(struct front *front, void *client, const struct rpc_request *request)
{
    struct front_call *call = mem_alloc_zero(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->client = client;
    call->id = request->id;
    call->method = request->method;
    call->errors = request->session.errors;
    call->frame = request->frame;
    call->done = (struct front_done){.method = call->method,
                                     .received_ns = request->received_ns != 0 ? request->received_ns
                                                                              : front->now_ns,
                                     .begun_ns = front->now_ns,
                                     .heard_ns = front->now_ns};
    call->lent_end = &call->lent;
    encode_init(&call->packed, WIRE_FRAME_BYTES_MAX);
    encode_init(&call->points, WIRE_FRAME_BYTES_MAX);
    call->next = front->calls;
    call->link = &front->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    front->calls = call;
    front->call_count++;
    return call;
}

void
front_let_go(struct front *front, struct front_call *call)
{
    while (call->lent != NULL) {
        struct front_lent *lent = call->lent;
        call->lent = lent->next;
        front->config.release(front->config.context, lent->owner);
        mem_free(lent);
    }
    call->lent_end = &call->lent;
}

static void
end_call(struct front *front, struct front_call *call)
{
    front_let_go(front, call);
    front_rows_fini(&call->rows);
    encode_fini(&call->packed);
    encode_fini(&call->points);
    mem_free(call->items);
    mem_free(call->tokens);
    mem_free(call->seen);
    front_let_frame(call);
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    front->call_count--;
    mem_free(call);
}

static void
hand_over(struct front *front, struct front_call *call, struct encode *message, omen_status status)
{
    ASSERT(call->number == 0);
    front->config.answer(front->config.context, call->client, call->id, message);
    if (front->config.done != NULL) {
        call->done.status = status;
        call->done.ask = &call->ask;
        call->done.k = call->k;
        front->config.done(front->config.context, &call->done);
    }
    end_call(front, call);
}

void
front_refuse(struct front *front, struct front_call *call, const struct omen_error *error,
             enum api_outcome outcome)
{
    struct encode message;
    const struct rpc_error said = rpc_error_of(error, outcome);
    encode_init(&message, WIRE_FRAME_BYTES_MAX);
    rpc_write_error(&message, call->id, call->errors, &said);
    hand_over(front, call, &message, error->status);
}

void
front_say(struct front *front, struct front_call *call, const void *answer)
{
    struct encode message;
    encode_init(&message, WIRE_FRAME_BYTES_MAX);
    rpc_write_answer(&message, call->id, call->method, answer);
    if (message.status == OMEN_OK) {
        hand_over(front, call, &message, OMEN_OK);
        return;
    }
    struct omen_error error;
    const bool write = call->start.kind == FANOUT_WRITE;
    if (message.status == OMEN_E_FULL)
        error_set(
            &error, OMEN_E_FULL,
            "%s: the answer would have more than %u bytes; ask for fewer, or without payloads "
            "and vectors",
            call->method->name, WIRE_FRAME_BYTES_MAX);
    else
        error_set_plain(&error, message.status);
    encode_fini(&message);
    front_refuse(front, call, &error, write ? API_APPLIED : 0);
}

// ---- what comes out of a step ----

static void
send_parts(struct front *front)
{
    const struct fanout_output *out = &front->out;
    for (uint32_t i = 0; i < out->send_count; i++) {
        const struct fanout_send *send = &out->sends[i];
        struct front_call *call = front->by_slot[send->request % FANOUT_REQUESTS_MAX];
        struct wire_bytes ask;
        ASSERT(call != NULL && call->number == send->request);
        if (!front_pack(front, call, send, &ask))
            continue; // as if it were lost: another try follows
        const struct wire_part part = {.kind = (uint8_t)send->kind,
                                       .consistency = (uint8_t)send->consistency,
                                       .method = (uint8_t)call->asks,
                                       .part = send->part,
                                       .attempt = send->attempt,
                                       .request = send->request,
                                       .copy_high = send->copy_high,
                                       .copy_low = send->copy_low,
                                       .shard = send->shard,
                                       .term = send->term,
                                       .cfg_ver = send->cfg_ver,
                                       .map_version = send->map_version,
                                       .first = send->first,
                                       .last = send->last,
                                       .after_term = send->after_term,
                                       .after_seq = send->after_seq,
                                       .op_high = send->op_id.high,
                                       .op_low = send->op_id.low,
                                       .ask_bytes = ask.count,
                                       .ask = ask.bytes};
        const uint64_t left_ns =
            send->deadline_ns > front->now_ns ? send->deadline_ns - front->now_ns : 0;
        front->sends = call;
        front->sent = ask;
        front->config.part(front->config.context, send->node, &part,
                           (uint32_t)(left_ns / MS_NS) + 1);
        front->sends = NULL;
    }
}

static void
keep(struct front *front, struct front_call *call, struct front_lent *lent)
{
    (void)front;
    lent->next = NULL;
    *call->lent_end = lent;
    call->lent_end = &lent->next;
}

static void
end_rounds(struct front *front)
{
    const struct fanout_output *out = &front->out;
    for (uint32_t i = 0; i < out->answer_count; i++) {
        const struct fanout_answer *answer = &out->answers[i];
        struct front_call *call = (void *)(uintptr_t)answer->client;
        if (answer->request != 0)
            front->by_slot[answer->request % FANOUT_REQUESTS_MAX] = NULL;
        ASSERT(call->number == answer->request);
        call->number = 0;
        front_end(front, call, answer);
    }
}

static void
step(struct front *front, const struct fanout_input *in, struct front_call *begun,
     struct front_lent *lent)
{
    struct fanout_output *out = &front->out;
    struct front_call *heard =
        lent == NULL ? NULL : front->by_slot[in->reply->request % FANOUT_REQUESTS_MAX];
    fanout_step(&front->fanout, in, out);
    if (begun != NULL && out->started != 0) {
        begun->number = out->started;
        front->by_slot[out->started % FANOUT_REQUESTS_MAX] = begun;
    }
    if (lent != NULL && out->taken)
        keep(front, heard, lent);
    send_parts(front);
    for (uint32_t i = 0; i < out->cancel_count; i++) {
        const struct fanout_cancel *cancel = &out->cancels[i];
        front->config.cancel(front->config.context, cancel->node, cancel->request, cancel->part,
                             cancel->attempt);
    }
    const uint64_t want_version = out->want_version;
    front->due_ns = out->wake_ns;
    if (lent != NULL && !out->taken) {
        front->config.release(front->config.context, lent->owner);
        mem_free(lent);
    }
    end_rounds(front);
    if (want_version != 0)
        front->config.want_map(front->config.context, want_version);
}

void
front_turn(struct front *front, const struct fanout_input *in, struct front_call *begun,
           struct front_lent *lent)
{
    step(front, in, begun, lent);
    while (front->then != NULL) {
        struct front_call *call = front->then;
        front->then = call->then;
        const struct fanout_input start = {
            .now_ns = front->now_ns, .kind = FANOUT_IN_START, .start = &call->start};
        step(front, &start, call, NULL);
    }
    drop_blocks(front);
}

// ---- inputs ----

static void
note_time(struct front *front, uint64_t now_ns)
{
    if (now_ns > front->now_ns)
        front->now_ns = now_ns;
}

omen_status
front_map(struct front *front, uint64_t now_ns, const struct map *published)
{
    note_time(front, now_ns);
    if (front->map != NULL && published->version <= front->map->version)
        return OMEN_OK;
    const uint32_t other = 1 - front->current;
    const omen_status status = routes_of_map(published, &front->config.zone, &front->routes[other]);
    if (status != OMEN_OK)
        return status;
    front->map = published;
    const struct fanout_input in = {
        .now_ns = front->now_ns, .kind = FANOUT_IN_ROUTES, .routes = &front->routes[other]};
    front_turn(front, &in, NULL, NULL);
    routes_fini(&front->routes[front->current]);
    front->current = other;
    return OMEN_OK;
}

void
front_node(struct front *front, uint64_t now_ns, uint32_t node, bool dead, bool draining)
{
    note_time(front, now_ns);
    const struct fanout_input in = {.now_ns = front->now_ns,
                                    .kind = FANOUT_IN_NODE,
                                    .node = node,
                                    .dead = dead,
                                    .draining = draining};
    front_turn(front, &in, NULL, NULL);
}

// Points that it names or has, queries, or samples of them.
static uint32_t
items_of(const struct front_call *call)
{
    const struct api_recall_measure *recall = (const void *)&call->ask;
    if (call->method->number == METHOD_RECALL_MEASURE)
        return recall->samples == 0 ? FRONT_SAMPLES : recall->samples;
    const uint32_t items =
        call->queries > call->start.item_count ? call->queries : call->start.item_count;
    return items > 0 ? items : 1;
}

void
front_request(struct front *front, uint64_t now_ns, void *client, const struct rpc_request *request)
{
    struct omen_error error;
    note_time(front, now_ns);
    ASSERT(front_takes(request->method));
    struct front_call *call = call_new(front, client, request);
    if (call == NULL) {
        struct encode message;
        encode_init(&message, 0);
        message.status = OMEN_E_NO_MEMORY;
        mem_free(request->frame);
        front->config.answer(front->config.context, client, request->id, &message);
        return;
    }
    struct front_claim claim = {0};
    omen_status status = front_ask(front, call, request, &error);
    if (status == OMEN_OK)
        status = front_claims(call, &claim.kind, &error);
    if (status != OMEN_OK) {
        const bool write = call->start.kind == FANOUT_WRITE;
        error_about(&error, status, call->method->name);
        front_refuse(front, call, &error, write ? API_NOT_APPLIED : 0);
        return;
    }
    if (claim.kind != MAP_IDS_UNKEPT && front->config.claim != NULL) {
        struct rpc_request waiting = *request;
        waiting.received_ns = call->done.received_ns; // what it waits for is part of its deadline
        claim.collection = call->collection;
        claim.deadline_ns = call->start.deadline_ns;
        call->frame = NULL; // it goes on
        end_call(front, call);
        front->config.claim(front->config.context, client, &waiting, &claim);
        return;
    }
    if (front->config.cost != NULL)
        front->config.cost(front->config.context, &request->session, items_of(call));
    const struct fanout_input in = {
        .now_ns = front->now_ns, .kind = FANOUT_IN_START, .start = &call->start};
    front_turn(front, &in, call, NULL);
}

void
front_gone(struct front *front, uint64_t now_ns, void *client)
{
    note_time(front, now_ns);
    struct front_call *call = front->calls;
    while (call != NULL) {
        const bool reads = call->start.kind != FANOUT_WRITE;
        if (call->client != client || call->gone) {
            call = call->next;
            continue;
        }
        call->gone = true;
        const struct fanout_input in = {
            .now_ns = front->now_ns, .kind = FANOUT_IN_CANCEL, .request = call->number};
        if (reads)
            front_turn(front, &in, NULL, NULL);
        call = front->calls; // it may be gone, and others with it
    }
}

// A sentence goes on as it is where it is text.
static void
note_reason(const struct front *front, struct front_call *call, const struct wire_reply *reply,
            omen_status status)
{
    char text[WIRE_REASON_BYTES_MAX + 1];
    const uint32_t count = reply->reason_bytes;
    if (count == 0 || count >= sizeof text || !utf8_valid(reply->reason, count))
        return;
    memcpy(text, reply->reason, count);
    text[count] = '\0';
    error_set(&call->said, status, "%s", text);
    if (reply->part < front->fanout.part_room)
        call->said_shard = front->fanout.parts[reply->part].shard;
}

void
front_reply(struct front *front, uint64_t now_ns, uint32_t node, const struct wire_reply *reply,
            void *owner)
{
    note_time(front, now_ns);
    struct front_call *call = front->by_slot[reply->request % FANOUT_REQUESTS_MAX];
    struct front_lent *lent = mem_alloc(sizeof *lent);
    omen_status status = front_status_of(reply->failure);
    const omen_status *statuses = NULL;
    if (lent == NULL || call == NULL || call->number != reply->request) {
        front->config.release(front->config.context, owner);
        mem_free(lent);
        return; // nobody waits for it, or it is as if it were lost
    }
    lent->owner = owner;
    if (status == OMEN_OK)
        status = front_hear(front, call, reply, lent, &statuses);
    else
        note_reason(front, call, reply, status);
    const struct fanout_reply heard = {.request = reply->request,
                                       .part = reply->part,
                                       .attempt = reply->attempt,
                                       .node = node,
                                       .status = status,
                                       .draining = reply->draining != 0,
                                       .queue = reply->queue,
                                       .map_version = reply->map_version,
                                       .term = reply->term,
                                       .seq = reply->seq,
                                       .statuses = statuses,
                                       .item_count = statuses == NULL ? 0 : reply->item_count};
    const struct fanout_input in = {
        .now_ns = front->now_ns, .kind = FANOUT_IN_REPLY, .reply = &heard};
    front_turn(front, &in, NULL, lent);
}

void
front_wake(struct front *front, uint64_t now_ns)
{
    note_time(front, now_ns);
    const struct fanout_input in = {.now_ns = front->now_ns, .kind = FANOUT_IN_WAKE};
    front_turn(front, &in, NULL, NULL);
}

uint64_t
front_due(const struct front *front)
{
    return front->due_ns;
}

uint32_t
front_pending(const struct front *front)
{
    return front->call_count;
}

const struct fanout_counters *
front_counters(const struct front *front)
{
    return &front->fanout.counters;
}

void
front_check(const struct front *front)
{
    uint32_t calls = 0, flying = 0;
    fanout_check(&front->fanout);
    for (const struct front_call *call = front->calls; call != NULL; call = call->next) {
        ASSERT(*call->link == call);
        ASSERT(call->number != 0); // nobody is left between two rounds
        ASSERT(front->by_slot[call->number % FANOUT_REQUESTS_MAX] == call);
        calls++;
    }
    for (uint32_t i = 0; i < FANOUT_REQUESTS_MAX; i++)
        flying += front->by_slot[i] != NULL;
    ASSERT(calls == front->call_count && calls == flying);
    ASSERT(flying == front->fanout.request_count);
}
