// tests/lib/serve_world.h -- a front and hosted shards in one process: what the front sends is served at once, as a node would.
//
// Shape: shell.
#ifndef OMEN_TESTS_SERVE_WORLD_H
#define OMEN_TESTS_SERVE_WORLD_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "node/serve.h"
#include "router/front.h"
#include "tests/lib/folder.h"

#define SW_SHARDS_MAX 8u
#define SW_PARTS_MAX 64u
#define SW_COLLECTION 7u

struct sw_config {
    uint32_t shards, dimension;
    omen_metric metric;
    omen_dtype dtype;
};

struct sw_part { // what the front has sent, until it is served
    struct wire_part part;
    uint8_t *ask;
};

struct sw {
    struct front *front;
    struct map map;
    struct map_node node;
    struct map_collection collection;
    struct map_shard shards[SW_SHARDS_MAX];
    const struct map *published;
    struct hosted *hosted[SW_SHARDS_MAX];
    uint64_t seqs[SW_SHARDS_MAX];
    struct sw_part parts[SW_PARTS_MAX];
    uint32_t part_count;
    struct encode message, frame;
    struct rpc_message said;
    struct rpc_error error;
    uint32_t answers;
};

// ---- a node ----

static inline void
sw_part(void *context, uint32_t node, const struct wire_part *part, uint32_t deadline_ms)
{
    struct sw *sw = context;
    ck_assert(node == 1 && deadline_ms > 0);
    ck_assert_uint_lt(sw->part_count, SW_PARTS_MAX);
    struct sw_part *out = &sw->parts[sw->part_count++];
    *out = (struct sw_part){.part = *part, .ask = malloc(part->ask_bytes)};
    ck_assert_ptr_nonnull(out->ask);
    memcpy(out->ask, part->ask, part->ask_bytes);
    out->part.ask = out->ask;
}

static inline void
sw_cancel(void *context, uint32_t node, uint64_t request, uint32_t part, uint32_t attempt)
{
    (void)context, (void)node, (void)request, (void)part, (void)attempt;
}

static inline void
sw_want_map(void *context, uint64_t version)
{
    (void)context, (void)version;
}

static inline void
sw_release(void *context, void *owner)
{
    (void)context;
    encode_fini(owner);
    free(owner);
}

static inline uint64_t
sw_date_ms(void *context)
{
    (void)context;
    return 1;
}

static inline void
sw_answer(void *context, void *client, uint32_t id, struct encode *message)
{
    struct sw *sw = context;
    (void)client, (void)id;
    encode_fini(&sw->message);
    sw->message = *message;
    sw->answers++;
}

// All entries that the part becomes are applied; only then it is answered.
static inline omen_status
sw_write(struct sw *sw, uint32_t shard, const struct wire_part *part, struct encode *answer,
         struct serve_items *items, struct omen_error *error)
{
    struct hosted_bytes op = {.cursor = 0};
    struct hosted_results all = {NULL, 0};
    omen_status status = OMEN_OK;
    do {
        status = serve_prepare(sw->hosted[shard], part, &op, error);
        if (status != OMEN_OK || op.bytes == NULL)
            break;
        const struct hosted_entry entry = {++sw->seqs[shard], op.bytes, op.count};
        hosted_results_fini(&all);
        status = hosted_apply(sw->hosted[shard], &(struct hosted_entries){&entry, 1}, &all, error);
        ck_assert_msg(status == OMEN_OK, "%s", error->text);
        const uint64_t cursor = op.cursor;
        hosted_bytes_fini(&op);
        op.cursor = cursor;
    } while (op.cursor != UINT64_MAX);
    if (status == OMEN_OK)
        status = serve_written(part, &all, answer, items, error);
    hosted_bytes_fini(&op);
    hosted_results_fini(&all);
    return status;
}

static inline void
sw_serve(struct sw *sw, struct sw_part *given)
{
    static omen_status statuses[WIRE_BATCH_MAX];
    static uint8_t failures[WIRE_BATCH_MAX];
    const struct wire_part *part = &given->part;
    const uint32_t shard = (uint32_t)part->shard - 1;
    struct serve_items items = {statuses, WIRE_BATCH_MAX, 0};
    struct omen_error error = {.status = OMEN_OK};
    struct encode *owner = malloc(sizeof *owner);
    ck_assert_ptr_nonnull(owner);
    encode_init(owner, WIRE_FRAME_BYTES_MAX);
    const omen_status status =
        part->kind == WIRE_PART_WRITE
            ? sw_write(sw, shard, part, owner, &items, &error)
            : serve_read(sw->hosted[shard], part, NULL, owner, &items, &error);
    struct wire_reply reply = {.method = part->method,
                               .failure = (uint32_t)-status,
                               .part = part->part,
                               .attempt = part->attempt,
                               .request = part->request,
                               .map_version = 1};
    if (status == OMEN_OK) {
        for (uint32_t i = 0; i < items.count; i++)
            failures[i] = (uint8_t)-statuses[i];
        reply.item_count = items.count;
        reply.failures = items.count > 0 ? failures : NULL;
        reply.answer = owner->bytes;
        reply.answer_bytes = (uint32_t)owner->count;
        reply.term = 1;
        reply.seq = sw->seqs[shard];
    } else {
        ck_assert_int_eq(error.status, status);
        reply.reason = (const uint8_t *)error.text;
        reply.reason_bytes = (uint32_t)strlen(error.text);
    }
    struct sw_part taken = *given;
    *given = sw->parts[--sw->part_count];
    front_reply(sw->front, os_clock_ns(), 1, &reply, owner);
    free(taken.ask);
}

// ---- lives ----

static inline struct map_name
sw_name(const char *text)
{
    struct map_name name;
    ck_assert(map_name_set(&name, text, strlen(text)));
    return name;
}

static inline void
sw_shard(struct sw *sw, const struct folder *folder, const struct sw_config *config, uint32_t i)
{
    struct omen_error error;
    const uint64_t width = UINT64_MAX / config->shards;
    char name[16];
    snprintf(name, sizeof name, "%u", i);
    const struct hosted_options options = {.path = folder_path(folder, name),
                                           .dimension = config->dimension,
                                           .metric = (uint8_t)config->metric,
                                           .dtype = (uint8_t)config->dtype,
                                           .first = i * width + (i > 0),
                                           .last = i + 1 == config->shards ? UINT64_MAX
                                                                           : (i + 1) * width,
                                           .threads = 1};
    ck_assert_msg(hosted_make(&options, &error) == OMEN_OK, "%s", error.text);
    ck_assert_msg(hosted_open(&options, &sw->hosted[i], &error) == OMEN_OK, "%s", error.text);
    struct map_shard *shard = &sw->shards[i];
    *shard = (struct map_shard){.id = i + 1,
                                .collection = SW_COLLECTION,
                                .first = options.first,
                                .last = options.last,
                                .term = 1,
                                .cfg_ver = 1,
                                .status = SHARD_OPEN,
                                .replica_count = 1,
                                .primary = {1, i + 1}};
    shard->replicas[0] =
        (struct map_replica){.uuid = shard->primary, .node = 1, .role = MAP_REPLICA_IN_SYNC};
    sw->map.shard_count++;
}

static inline struct sw *
sw_open(const struct folder *folder, const struct sw_config *config)
{
    struct sw *sw = calloc(1, sizeof *sw);
    ck_assert_ptr_nonnull(sw);
    const struct front_config front = {.fanout = {.requests_max = 1024,
                                                  .parts_max = 4096,
                                                  .tries_max = 4,
                                                  .hedge_min_ns = 1000000000,
                                                  .hedge_max_ns = 1000000000,
                                                  .retry_ns = 1000000,
                                                  .retry_max_ns = 100000000,
                                                  .try_min_ns = 1000000000,
                                                  .try_max_ns = 1000000000,
                                                  .far_percent = 200},
                                       .zone = sw_name("a"),
                                       .seed = 1,
                                       .context = sw,
                                       .date_ms = sw_date_ms,
                                       .part = sw_part,
                                       .cancel = sw_cancel,
                                       .answer = sw_answer,
                                       .want_map = sw_want_map,
                                       .release = sw_release};
    ck_assert_int_eq(front_open(&front, &sw->front), OMEN_OK);
    sw->node = (struct map_node){
        .uuid = {1, 1}, .number = 1, .weight = 1, .state = NODE_UP, .zone = sw_name("a")};
    sw->collection = (struct map_collection){.id = SW_COLLECTION,
                                             .name = sw_name("docs"),
                                             .dimension = config->dimension,
                                             .metric = (uint8_t)config->metric,
                                             .dtype = (uint8_t)config->dtype};
    sw->map.version = 1;
    sw->map.nodes = &sw->node;
    sw->map.collections = &sw->collection;
    sw->map.shards = sw->shards;
    sw->map.node_count = sw->map.collection_count = 1;
    for (uint32_t i = 0; i < config->shards; i++)
        sw_shard(sw, folder, config, i);
    ck_assert_int_eq(map_publish(&sw->map, &sw->published), OMEN_OK);
    ck_assert_int_eq(front_map(sw->front, os_clock_ns(), sw->published), OMEN_OK);
    return sw;
}

static inline void
sw_close(struct sw *sw)
{
    front_close(sw->front);
    map_publish_end(sw->published);
    for (uint32_t i = 0; i < SW_SHARDS_MAX; i++)
        hosted_close(sw->hosted[i]);
    for (uint32_t i = 0; i < sw->part_count; i++)
        free(sw->parts[i].ask);
    encode_fini(&sw->message);
    encode_fini(&sw->frame);
    free(sw);
}

// ---- a client ----

static inline void
sw_request(struct sw *sw, struct wire_bytes frame)
{
    struct rpc_message message;
    struct omen_error error;
    uint8_t *copy = mem_alloc(frame.count);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, frame.bytes, frame.count);
    const struct wire_bytes bytes = {copy, frame.count};
    ck_assert_int_eq(rpc_read(bytes, &decode_after_hello, &message, &error), OMEN_OK);
    const struct rpc_request request = {.id = message.id,
                                        .method = method_find(message.method),
                                        .frame = copy,
                                        .bytes = frame.count,
                                        .params = message.params,
                                        .session = {.errors = API_ERRORS_MAP}};
    front_request(sw->front, os_clock_ns(), sw, &request);
    while (sw->part_count > 0)
        sw_serve(sw, &sw->parts[0]);
}

// The answer, or NULL and sw->error.
static inline const void *
sw_call(struct sw *sw, enum method_number method, const void *ask)
{
    static union method_body body;
    struct omen_error error = {.text = ""};
    const uint32_t before = sw->answers;
    encode_fini(&sw->frame);
    encode_init(&sw->frame, WIRE_FRAME_BYTES_MAX);
    rpc_write_ask(&sw->frame, 5, method_at(method), ask);
    ck_assert_int_eq(sw->frame.status, OMEN_OK);
    sw_request(sw, (struct wire_bytes){sw->frame.bytes, (uint32_t)sw->frame.count});
    ck_assert_uint_eq(sw->answers, before + 1);
    const struct wire_bytes bytes = {sw->message.bytes, (uint32_t)sw->message.count};
    ck_assert_int_eq(rpc_read(bytes, &decode_answers, &sw->said, &error), OMEN_OK);
    if (sw->said.error.count > 0) {
        ck_assert_int_eq(rpc_read_error(&sw->said, &sw->error, &error), OMEN_OK);
        return NULL;
    }
    ck_assert_msg(rpc_read_answer(&sw->said, method_at(method), &body, &error) == OMEN_OK, "%s",
                  error.text);
    return &body;
}

// collection.index_field or .drop_field, as whoever asks all shards would.
static inline omen_status
sw_field(struct sw *sw, enum method_number method, const void *ask)
{
    struct encode packed, answer;
    struct serve_items items = {NULL, 0, 0};
    struct omen_error error;
    encode_init(&packed, 1000);
    encode_init(&answer, 1000);
    shape_write(&packed, method_at(method)->ask, ask);
    const struct wire_part part = {.kind = WIRE_PART_WRITE,
                                   .method = (uint8_t)method,
                                   .shard = 1,
                                   .last = UINT64_MAX,
                                   .ask = packed.bytes,
                                   .ask_bytes = (uint32_t)packed.count};
    const omen_status status = sw_write(sw, 0, &part, &answer, &items, &error);
    encode_fini(&packed);
    encode_fini(&answer);
    return status;
}

#endif
