// tests/lib/front_world.h -- a front, a published map that changes under it, and model shards that answer its parts.
//
// Shape: shell, simulated. Time passes only from one delivery to the next. The world's map may be newer than the front's, which then
// hears STALE_MAP; and deliveries may be lost, late, doubled or refused, by the seed.
#ifndef OMEN_TESTS_FRONT_WORLD_H
#define OMEN_TESTS_FRONT_WORLD_H
#include "base/prng.h"
#include "router/front.h"
#include "tests/lib/front_model.h"

#define FW_MS UINT64_C(1000000)
#define FW_NODES 3u
#define FW_SHARDS_MAX 256u
#define FW_FLIGHTS_MAX 1024u
#define FW_COLLECTION 7u
#define FW_OTHER 8u // without a shard

struct fw_flight {
    uint64_t due_ns;
    bool back; // a reply
    uint32_t node;
    struct wire_part part;
    struct front_kept *kept; // what the part asks
    struct wire_reply reply;
    struct encode body;
    uint8_t *failures;
};

struct fw_faults { // of 1000
    uint32_t lost, lost_back, busy, late, doubled, unsure;
};

struct fw {
    uint64_t received_ns; // of requests; 0: nobody says
    // The last that waits for its collection's kind of ids.
    struct rpc_request claimed;
    struct front_claim claim;
    uint32_t claims;
    struct front *front;
    struct prng prng;
    uint64_t now_ns;
    struct map map;
    struct map_node nodes[FW_NODES];
    struct map_collection collections[2];
    struct map_alias aliases[1];
    struct map_shard shards[FW_SHARDS_MAX];
    uint32_t routes[FW_SHARDS_MAX];
    const struct map *published; // the front's
    struct model model;
    struct fw_faults faults;
    bool hides_map;       // the front does not get newer ones
    uint64_t fail_at;     // the allocation of the next request's life that is refused; 0: none
    bool short_of_memory; // an answer may fail to be written
    uint64_t silent;      // a shard whose parts are lost
    // A copy (its uuid's high half is the shard, the low one this) that answers any bytes.
    uint64_t garbled;
    omen_status refusal;    // what every shard says, where it is not OK
    omen_status row_status; // and of every item
    const char *reason;
    struct fw_flight flights[FW_FLIGHTS_MAX];
    uint32_t flight_count;
    uint32_t parts_sent, parts_whole, cancels, releases, lent;
    uint64_t deadline_ms;
    struct wire_part last_part; // without its ask
    bool last_light;
    struct rpc_session session;
    // The last answer.
    uint32_t answers;
    struct front_done done; // of it; without what it points to
    uint32_t dones;
    uint32_t costs, cost; // how often one was said, and the last
    struct encode message;
    struct rpc_message said;
    struct rpc_error error;
    struct encode frame;
};

// ---- the map ----

static inline struct map_name
fw_name(const char *text)
{
    struct map_name name;
    ck_assert(map_name_set(&name, text, strlen(text)));
    return name;
}

static inline void
fw_shard(struct fw *fw, uint64_t first, uint64_t last, uint64_t parent)
{
    struct map_shard *shard = &fw->shards[fw->map.shard_count++];
    ck_assert_uint_le(fw->map.shard_count, FW_SHARDS_MAX);
    *shard = (struct map_shard){.id = 100 + fw->map.shard_count,
                                .collection = FW_COLLECTION,
                                .first = first,
                                .last = last,
                                .term = 1,
                                .cfg_ver = 1,
                                .parent = parent,
                                .status = SHARD_OPEN,
                                .min_insync = 1,
                                .replica_count = 2};
    for (uint32_t i = 0; i < 2; i++)
        shard->replicas[i] =
            (struct map_replica){.uuid = {shard->id, i + 1},
                                 .node = 1 + (uint32_t)((shard->id + i) % FW_NODES),
                                 .role = MAP_REPLICA_IN_SYNC};
    shard->primary = shard->replicas[0].uuid;
    fw->map.version++;
}

// The world's; the front has it after fw_publish.
static inline void
fw_split(struct fw *fw, uint32_t index)
{
    struct map_shard *shard = &fw->shards[index];
    if (!shard_is_routed(shard) || shard->last - shard->first < 16)
        return;
    const uint64_t middle = shard->first + (shard->last - shard->first) / 2;
    shard->status = SHARD_RETIRED;
    fw_shard(fw, shard->first, middle, shard->id);
    fw_shard(fw, middle + 1, shard->last, shard->id);
}

static inline void
fw_publish(struct fw *fw)
{
    const struct map *before = fw->published;
    ck_assert_int_eq(map_publish(&fw->map, &fw->published), OMEN_OK);
    ck_assert_int_eq(front_map(fw->front, fw->now_ns, fw->published), OMEN_OK);
    map_publish_end(before);
}

static inline const struct map_shard *
fw_shard_of(const struct fw *fw, uint64_t id)
{
    for (uint32_t i = 0; i < fw->map.shard_count; i++)
        if (fw->shards[i].id == id)
            return &fw->shards[i];
    return NULL;
}

// ---- callbacks ----

static inline struct fw_flight *
fw_flight(struct fw *fw)
{
    ck_assert_uint_lt(fw->flight_count, FW_FLIGHTS_MAX);
    struct fw_flight *flight = &fw->flights[fw->flight_count++];
    *flight = (struct fw_flight){.due_ns = fw->now_ns + FW_MS / 2 + prng_below(&fw->prng, 1000000)};
    if (prng_below(&fw->prng, 1000) < fw->faults.late)
        flight->due_ns += prng_below(&fw->prng, 2000) * FW_MS;
    return flight;
}

static inline void
fw_send(struct fw *fw, uint32_t node, const struct wire_part *part)
{
    struct wire_bytes ask;
    struct front_kept *kept = front_keep(fw->front, &ask);
    if (kept == NULL) { // it is lost
        ck_assert(fw->short_of_memory);
        return;
    }
    ck_assert_uint_eq(ask.count, part->ask_bytes);
    ck_assert_mem_eq(ask.bytes, part->ask, ask.count);
    struct fw_flight *flight = fw_flight(fw);
    flight->node = node;
    flight->part = *part;
    flight->part.ask = ask.bytes;
    flight->kept = kept;
}

static inline void
fw_part(void *context, uint32_t node, const struct wire_part *part, uint32_t deadline_ms)
{
    struct fw *fw = context;
    ck_assert(node >= 1 && node <= FW_NODES);
    ck_assert_uint_gt(deadline_ms, 0);
    fw->parts_sent++;
    fw->deadline_ms = deadline_ms;
    fw->last_part = *part;
    fw->last_part.ask = NULL;
    fw->last_light = front_sends_light(fw->front);
    if (part->shard == fw->silent || prng_below(&fw->prng, 1000) < fw->faults.lost)
        return;
    fw_send(fw, node, part);
    if (part->kind != WIRE_PART_WRITE && prng_below(&fw->prng, 1000) < fw->faults.doubled)
        fw_send(fw, node, part);
}

static inline void
fw_cancel(void *context, uint32_t node, uint64_t request, uint32_t part, uint32_t attempt)
{
    struct fw *fw = context;
    ck_assert(node > 0 && request > 0 && attempt > 0);
    (void)part;
    fw->cancels++;
}

static inline void
fw_answer(void *context, void *client, uint32_t id, struct encode *message)
{
    struct fw *fw = context;
    struct omen_error error;
    ck_assert_ptr_eq(client, fw);
    encode_fini(&fw->message);
    fw->message = *message;
    fw->answers++;
    if (fw->short_of_memory && message->status != OMEN_OK) {
        fw->error = (struct rpc_error){.status = message->status};
        return;
    }
    ck_assert_int_eq(message->status, OMEN_OK);
    const struct wire_bytes bytes = {message->bytes, (uint32_t)message->count};
    ck_assert_int_eq(rpc_read(bytes, &decode_answers, &fw->said, &error), OMEN_OK);
    ck_assert_uint_eq(fw->said.id, id);
    ck_assert_int_eq(fw->said.kind, RPC_ANSWER);
    fw->error = (struct rpc_error){.status = OMEN_OK};
    if (fw->said.error.count > 0)
        ck_assert_int_eq(rpc_read_error(&fw->said, &fw->error, &error), OMEN_OK);
}

static inline void
fw_done(void *context, const struct front_done *done)
{
    struct fw *fw = context;
    ck_assert_ptr_nonnull(done->ask);
    ck_assert_int_eq(done->status, fw->error.status);
    fw->done = *done;
    fw->done.ask = NULL;
    fw->dones++;
}

static inline void
fw_cost(void *context, const struct rpc_session *session, uint32_t items)
{
    struct fw *fw = context;
    ck_assert_int_eq(session->rights, fw->session.rights);
    fw->costs++;
    fw->cost = items;
}

static inline void
fw_want_map(void *context, uint64_t version)
{
    struct fw *fw = context;
    ck_assert_uint_le(version, fw->map.version);
}

static inline void
fw_release(void *context, void *owner)
{
    struct fw *fw = context;
    encode_fini(owner);
    free(owner);
    fw->releases++;
}

static inline uint64_t
fw_date_ms(void *context)
{
    (void)context;
    return UINT64_C(1764184000000);
}

static inline void
fw_claim(void *context, void *client, const struct rpc_request *request,
         const struct front_claim *claim)
{
    struct fw *fw = context;
    ck_assert_ptr_eq(client, fw);
    mem_free(fw->claimed.frame);
    fw->claimed = *request;
    fw->claim = *claim;
    fw->claims++;
}

// ---- lives ----

static inline struct fanout_config
fw_fanout_config(void)
{
    return (struct fanout_config){.requests_max = 64,
                                  .parts_max = 4096,
                                  .tries_max = 32,
                                  .hedge_min_ns = 2 * FW_MS,
                                  .hedge_max_ns = 50 * FW_MS,
                                  .hedge_permille = 100,
                                  .retry_ns = 5 * FW_MS,
                                  .retry_max_ns = 100 * FW_MS,
                                  .try_min_ns = 20 * FW_MS,
                                  .try_max_ns = 500 * FW_MS,
                                  .reserve_ns = 2 * FW_MS,
                                  .avoid_ns = 50 * FW_MS,
                                  .far_percent = 200};
}

static inline struct fw *
fw_open(uint64_t seed, uint32_t shards)
{
    struct fw *fw = calloc(1, sizeof *fw);
    ck_assert_ptr_nonnull(fw);
    prng_init(&fw->prng, seed);
    fw->now_ns = FW_MS;
    fw->session = (struct rpc_session){.rights = RIGHT_ADMIN, .errors = API_ERRORS_MAP};
    const struct front_config config = {.fanout = fw_fanout_config(),
                                        .zone = fw_name("a"),
                                        .seed = seed,
                                        .context = fw,
                                        .date_ms = fw_date_ms,
                                        .part = fw_part,
                                        .cancel = fw_cancel,
                                        .answer = fw_answer,
                                        .done = fw_done,
                                        .cost = fw_cost,
                                        .want_map = fw_want_map,
                                        .release = fw_release,
                                        .claim = fw_claim};
    ck_assert_int_eq(front_open(&config, &fw->front), OMEN_OK);
    for (uint32_t i = 0; i < FW_NODES; i++)
        fw->nodes[i] = (struct map_node){.uuid = {1, i + 1},
                                         .number = i + 1,
                                         .weight = 1,
                                         .roles = NODE_ROLES_ALL,
                                         .state = NODE_UP,
                                         .zone = fw_name(i == 0 ? "a" : "b")};
    for (uint32_t i = 0; i < 2; i++)
        fw->collections[i] = (struct map_collection){.id = FW_COLLECTION + i,
                                                     .name = fw_name(i == 0 ? "docs" : "empty"),
                                                     .dimension = MODEL_DIM,
                                                     .metric = 1,
                                                     .dtype = 1,
                                                     .links_max = 16,
                                                     .build_beam = 200,
                                                     .replication = 2,
                                                     .min_insync = 1};
    fw->aliases[0] = (struct map_alias){.name = fw_name("live"), .collection = FW_COLLECTION};
    fw->map.nodes = fw->nodes;
    fw->map.node_count = FW_NODES;
    fw->map.collections = fw->collections;
    fw->map.collection_count = 2;
    fw->map.aliases = fw->aliases;
    fw->map.alias_count = 1;
    fw->map.shards = fw->shards;
    fw->map.routes = fw->routes;
    for (uint32_t i = 0; i < shards; i++) {
        const uint64_t width = UINT64_MAX / shards;
        fw_shard(fw, i * width + (i > 0), i + 1 == shards ? UINT64_MAX : (i + 1) * width, 0);
    }
    fw_publish(fw);
    return fw;
}

static inline void
fw_flight_free(struct fw_flight *flight)
{
    front_unkeep(flight->kept);
    free(flight->failures);
    encode_fini(&flight->body);
}

static inline void
fw_close(struct fw *fw)
{
    front_close(fw->front);
    for (uint32_t i = 0; i < fw->flight_count; i++)
        fw_flight_free(&fw->flights[i]);
    ck_assert_uint_eq(fw->lent, fw->releases);
    map_publish_end(fw->published);
    mem_free(fw->claimed.frame);
    encode_fini(&fw->message);
    encode_fini(&fw->frame);
    free(fw);
}

// ---- deliveries ----

static inline omen_status
fw_verdict(struct fw *fw, const struct wire_part *part)
{
    const struct map_shard *shard = fw_shard_of(fw, part->shard);
    if (shard == NULL || !shard_is_routed(shard) || shard->cfg_ver != part->cfg_ver ||
        part->first < shard->first || part->last > shard->last)
        return OMEN_E_STALE_MAP;
    if (fw->refusal != OMEN_OK)
        return fw->refusal;
    return prng_below(&fw->prng, 1000) < fw->faults.busy ? OMEN_E_BUSY : OMEN_OK;
}

// A shard answers; its reply is on its way.
static inline void
fw_obey(struct fw *fw, const struct fw_flight *ask)
{
    static struct model_reply reply;
    const struct wire_part *part = &ask->part;
    omen_status status = fw_verdict(fw, part);
    const bool done = status == OMEN_OK;
    memset(&reply.answer, 0, sizeof reply.answer);
    reply.item_count = 0;
    if (done)
        model_obey(&fw->model, part, &reply);
    if (done && prng_below(&fw->prng, 1000) < fw->faults.unsure)
        status = OMEN_E_TIMEOUT;
    if (prng_below(&fw->prng, 1000) < fw->faults.lost_back) {
        encode_fini(&reply.answer);
        return;
    }
    struct fw_flight *back = fw_flight(fw);
    back->back = true;
    back->node = ask->node;
    back->body = reply.answer;
    back->failures = malloc(reply.item_count + 1);
    ck_assert_ptr_nonnull(back->failures);
    for (uint32_t i = 0; i < reply.item_count; i++)
        back->failures[i] =
            (uint8_t) - (fw->row_status != OMEN_OK ? fw->row_status : reply.statuses[i]);
    back->reply = (struct wire_reply){.method = part->method,
                                      .failure = (uint32_t)-status,
                                      .part = part->part,
                                      .attempt = part->attempt,
                                      .request = part->request,
                                      .map_version = fw->map.version,
                                      .term = done ? 1 : 0,
                                      .seq = done ? fw->model.seq : 0,
                                      .item_count = status == OMEN_OK ? reply.item_count : 0,
                                      .failures = reply.item_count > 0 ? back->failures : NULL};
    if (status != OMEN_OK && fw->reason != NULL) {
        back->reply.reason = (const uint8_t *)fw->reason;
        back->reply.reason_bytes = (uint32_t)strlen(fw->reason);
    }
    if (status == OMEN_OK && part->copy_low == fw->garbled)
        for (size_t i = 0; i < back->body.count; i++)
            back->body.bytes[i] = (uint8_t)prng_next(&fw->prng);
    if (status == OMEN_OK) {
        back->reply.answer = back->body.bytes;
        back->reply.answer_bytes = (uint32_t)back->body.count;
    }
}

static inline void
fw_deliver(struct fw *fw, struct fw_flight flight)
{
    if (!flight.back) {
        fw_obey(fw, &flight);
        fw_flight_free(&flight);
        return;
    }
    struct encode *owner = malloc(sizeof *owner);
    ck_assert_ptr_nonnull(owner);
    *owner = flight.body;
    fw->lent++;
    front_reply(fw->front, fw->now_ns, flight.node, &flight.reply, owner);
    free(flight.failures);
}

// To the next delivery or wake. False: nothing will happen any more.
static inline bool
fw_step(struct fw *fw)
{
    uint32_t next = 0;
    for (uint32_t i = 1; i < fw->flight_count; i++)
        if (fw->flights[i].due_ns < fw->flights[next].due_ns)
            next = i;
    const uint64_t due_ns = front_due(fw->front);
    if (fw->flight_count == 0 && due_ns == UINT64_MAX)
        return false;
    if (fw->flight_count == 0 || due_ns < fw->flights[next].due_ns) {
        fw->now_ns = due_ns > fw->now_ns ? due_ns : fw->now_ns + 1;
        front_wake(fw->front, fw->now_ns);
    } else {
        struct fw_flight flight = fw->flights[next];
        fw->now_ns = flight.due_ns > fw->now_ns ? flight.due_ns : fw->now_ns;
        fw->flights[next] = fw->flights[--fw->flight_count];
        fw_deliver(fw, flight);
    }
    front_check(fw->front);
    if (!fw->hides_map && fw->published->version < fw->map.version)
        fw_publish(fw);
    return true;
}

// ---- a client ----

// Of bytes as they come.
static inline void
fw_request(struct fw *fw, const struct wire_bytes *frame)
{
    struct rpc_message message;
    struct omen_error error;
    uint8_t *copy = mem_alloc(frame->count);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, frame->bytes, frame->count);
    const struct wire_bytes bytes = {copy, frame->count};
    ck_assert_int_eq(rpc_read(bytes, &decode_after_hello, &message, &error), OMEN_OK);
    const struct rpc_request request = {.id = message.id,
                                        .method = method_find(message.method),
                                        .frame = copy,
                                        .bytes = frame->count,
                                        .params = message.params,
                                        .session = fw->session,
                                        .received_ns = fw->received_ns};
    if (fw->fail_at > 0)
        mem_fail_once(fw->fail_at);
    front_request(fw->front, fw->now_ns, fw, &request);
    front_check(fw->front);
}

static inline void
fw_ask(struct fw *fw, enum method_number method, const void *ask)
{
    encode_fini(&fw->frame);
    encode_init(&fw->frame, WIRE_FRAME_BYTES_MAX);
    rpc_write_ask(&fw->frame, 77, method_at(method), ask);
    ck_assert_int_eq(fw->frame.status, OMEN_OK);
    fw_request(fw, &(struct wire_bytes){fw->frame.bytes, (uint32_t)fw->frame.count});
}

// Until it is answered.
static inline void
fw_await(struct fw *fw)
{
    const uint32_t before = fw->answers;
    uint32_t steps = 0;
    while (fw->answers == before && front_pending(fw->front) > 0) {
        ck_assert(fw_step(fw));
        ck_assert_uint_lt(++steps, 100000);
    }
}

// The answer, or NULL and fw->error.
static inline const void *
fw_call(struct fw *fw, enum method_number method, const void *ask)
{
    static union method_body body;
    struct omen_error error = {.text = ""};
    const uint32_t before = fw->answers;
    fw_ask(fw, method, ask);
    if (fw->answers == before)
        fw_await(fw);
    ck_assert_uint_eq(fw->answers, before + 1);
    if (fw->error.status != OMEN_OK)
        return NULL;
    ck_assert_msg(rpc_read_answer(&fw->said, method_at(method), &body, &error) == OMEN_OK, "%s",
                  error.text);
    return &body;
}

static inline struct wire_text
fw_text(const char *text)
{
    return wire_text_of(text);
}

#endif
