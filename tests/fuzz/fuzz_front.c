// tests/fuzz/fuzz_front.c -- any bytes as what copies answer to a front: each client is answered once, and with a message that can be read.
//
// Records: a byte for what happens, one for how, a length, and so many bytes. They are requests of every method (well-formed:
// fuzz_wire_rpc has the others), replies to the parts that they became, whole or with the fields that the bytes say, and time.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "router/front.h"
#include "tests/lib/front_quiet.h"
#include "tests/lib/fuzz_source.h"

#define SHARDS 3u
#define PARTS_MAX 256u
#define MS UINT64_C(1000000)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static struct wire_part parts[PARTS_MAX]; // the latest
static uint32_t part_count, asked, answered, lent, released;
static uint32_t nodes[PARTS_MAX];

static void
take_part(void *context, uint32_t node, const struct wire_part *part, uint32_t deadline_ms)
{
    (void)context, (void)deadline_ms;
    ASSERT(part->ask_bytes > 0);
    nodes[part_count % PARTS_MAX] = node;
    parts[part_count++ % PARTS_MAX] = *part;
}

static void
release(void *context, void *owner)
{
    (void)context;
    released++;
    free(owner);
}

static void
take_answer(void *context, void *client, uint32_t id, struct encode *message)
{
    struct rpc_message said;
    struct rpc_error refusal;
    struct omen_error error;
    union method_body body;
    (void)context, (void)client;
    answered++;
    ASSERT(message->status == OMEN_OK);
    const struct wire_bytes bytes = {message->bytes, (uint32_t)message->count};
    ASSERT(rpc_read(bytes, &decode_answers, &said, &error) == OMEN_OK);
    if (said.error.count > 0)
        ASSERT(rpc_read_error(&said, &refusal, &error) == OMEN_OK && refusal.status < 0);
    else if (rpc_read_answer(&said, method_at((enum method_number)id), &body, &error) != OMEN_OK)
        ASSERT(error.status == OMEN_E_PAYLOAD); // an object, but no payload: the client says so
    encode_fini(message);
}

// ---- requests ----

static const struct wire_id ids[] = {
    {.given = 1, .number = 1}, {.given = 1, .number = 2}, {.given = 1, .number = 77}};
static const float vector[8];
#define DOCS .collection = {"docs", 4}
#define VECTORS(n)                                                                                 \
    {                                                                                              \
        .form = VECTORS_RAW, .dtype = WIRE_F32, .count = (n), .bytes = {                           \
            (const uint8_t *)vector,                                                               \
            (n)*4                                                                                  \
        }                                                                                          \
    }
#define IDS                                                                                        \
    {                                                                                              \
        .count = 3, .items = ids                                                                   \
    }

static const struct api_point_upsert upsert = {DOCS, .ids = {.count = 2, .items = ids},
                                               .vectors = VECTORS(4)};
static const struct api_point_get get = {DOCS, .ids = IDS};
static const struct api_point_delete erase = {DOCS, .ids = IDS};
static const struct api_point_patch patch = {
    DOCS, .filter = {FILTER_FORM_TEXT, {(const uint8_t *)"a", 1}},
    .set = {(const uint8_t *)"\x80", 1}};
static const struct api_point_count count_ask = {DOCS};
static const struct api_point_scroll scroll = {DOCS, .limit = 5};
static const struct api_point_facet facet = {DOCS, .field = {"a", 1}};
static const struct api_query_search search = {DOCS, .vector = VECTORS(2), .k = 3, .explain = 1};
static const struct api_query_search search_by = {DOCS, .id = {.given = 1, .number = 2}, .k = 3};
static const struct api_query_batch batch = {DOCS, .vectors = VECTORS(4), .k = 2};
static const struct api_query_range range = {DOCS, .vector = VECTORS(2), .radius = 1};
static const struct api_query_recommend recommend = {DOCS, .positive = IDS};
static const struct api_query_why_not why_not = {DOCS, .vector = VECTORS(2),
                                                 .id = {.given = 1, .number = 2}};
static const struct api_recall_measure recall = {DOCS};

static const struct {
    enum method_number method;
    const void *ask;
} asks[] = {
    {METHOD_POINT_UPSERT, &upsert},    {METHOD_POINT_GET, &get},
    {METHOD_POINT_DELETE, &erase},     {METHOD_POINT_PATCH, &patch},
    {METHOD_POINT_COUNT, &count_ask},  {METHOD_POINT_SCROLL, &scroll},
    {METHOD_POINT_FACET, &facet},      {METHOD_QUERY_SEARCH, &search},
    {METHOD_QUERY_SEARCH, &search_by}, {METHOD_QUERY_BATCH, &batch},
    {METHOD_QUERY_RANGE, &range},      {METHOD_QUERY_RECOMMEND, &recommend},
    {METHOD_QUERY_WHY_NOT, &why_not},  {METHOD_RECALL_MEASURE, &recall},
};

static void
request(struct front *front, uint64_t now_ns, uint32_t which)
{
    struct rpc_message message;
    struct omen_error error;
    struct encode frame;
    encode_init(&frame, 65536);
    which %= (uint32_t)(sizeof asks / sizeof asks[0]);
    rpc_write_ask(&frame, asks[which].method, method_at(asks[which].method), asks[which].ask);
    const struct wire_bytes bytes = {frame.bytes, (uint32_t)frame.count};
    ASSERT(rpc_read(bytes, &decode_after_hello, &message, &error) == OMEN_OK);
    const struct rpc_request given = {.id = message.id,
                                      .method = method_at(asks[which].method),
                                      .frame = frame.bytes,
                                      .bytes = frame.count,
                                      .params = message.params,
                                      .session = {.errors = API_ERRORS_MAP}};
    asked++;
    front_request(front, now_ns, NULL, &given);
}

// ---- replies ----

static void
reply(struct front *front, uint64_t now_ns, uint8_t how, const uint8_t *bytes, uint32_t count)
{
    if (part_count == 0)
        return;
    const uint32_t at = (part_count - 1 - how % 8) % PARTS_MAX;
    const struct wire_part *part = &parts[at];
    struct wire_reply said = {.method = part->method,
                              .part = part->part,
                              .attempt = part->attempt,
                              .request = part->request,
                              .map_version = 1,
                              .term = 1,
                              .seq = 1};
    uint8_t *owner = malloc((size_t)count + 1);
    ASSERT(owner != NULL);
    if (count > 0)
        memcpy(owner, bytes, count);
    if (how / 8 % 4 == 0 && count > 0) { // a refusal
        said.failure = owner[0];
        said.reason = owner + 1;
        said.reason_bytes = said.failure != 0 && count <= 256 ? count - 1 : 0;
    } else if (how / 8 % 4 == 1 && count > 3) { // with items
        said.item_count = owner[0] % 4 < count - 1 ? owner[0] % 4 : 0;
        said.failures = said.item_count > 0 ? owner + 1 : NULL;
        said.answer = owner + 1 + said.item_count;
        said.answer_bytes = count - 1 - said.item_count;
    } else {
        said.answer = owner;
        said.answer_bytes = count;
    }
    lent++;
    front_reply(front, now_ns, nodes[at], &said, owner);
}

// ---- a life ----

static struct map_shard shards[SHARDS];

static const struct map *
map_make(void)
{
    static struct map_node node = {
        .uuid = {1, 1}, .number = 1, .weight = 1, .state = NODE_UP, .zone = {1, "a"}};
    static struct map_collection collection = {
        .id = 7, .name = {4, "docs"}, .dimension = 2, .metric = 1, .dtype = 1};
    static struct map map = {.version = 1,
                             .nodes = &node,
                             .collections = &collection,
                             .shards = shards,
                             .node_count = 1,
                             .collection_count = 1,
                             .shard_count = SHARDS};
    const struct map *published;
    const uint64_t width = UINT64_MAX / SHARDS;
    for (uint32_t i = 0; i < SHARDS; i++) {
        shards[i] = (struct map_shard){.id = i + 1,
                                       .collection = 7,
                                       .first = i * width + (i > 0),
                                       .last = i + 1 == SHARDS ? UINT64_MAX : (i + 1) * width,
                                       .term = 1,
                                       .cfg_ver = 1,
                                       .status = SHARD_OPEN,
                                       .replica_count = 1,
                                       .primary = {1, i + 1}};
        shards[i].replicas[0] =
            (struct map_replica){.uuid = shards[i].primary, .node = 1, .role = MAP_REPLICA_IN_SYNC};
    }
    ASSERT(map_publish(&map, &published) == OMEN_OK);
    return published;
}

static void
live(struct front *front, const uint8_t *bytes, size_t count)
{
    uint64_t now_ns = MS;
    struct source source = {bytes, count};
    while (source.left > 0) {
        const uint8_t what = source_byte(&source), how = source_byte(&source);
        uint32_t length = source_byte(&source);
        length = length < source.left ? length : (uint32_t)source.left;
        if (what % 8 == 0)
            request(front, now_ns, how);
        else if (what % 8 == 1) {
            now_ns += how * MS;
            front_wake(front, now_ns);
        } else if (what % 64 == 2)
            front_gone(front, now_ns, NULL);
        else {
            reply(front, now_ns, how, source.bytes, length);
            source.bytes += length;
            source.left -= length;
        }
        front_check(front);
    }
    now_ns += 2 * FRONT_DEADLINE_MS * MS;
    while (front_pending(front) > 0 || front_due(front) <= now_ns)
        front_wake(front, now_ns);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const struct map *published;
    struct front *front;
    const struct front_config config = {.fanout = {.requests_max = 16,
                                                   .parts_max = 128,
                                                   .tries_max = 6,
                                                   .hedge_min_ns = MS,
                                                   .hedge_max_ns = 20 * MS,
                                                   .hedge_permille = 500,
                                                   .retry_ns = 2 * MS,
                                                   .retry_max_ns = 30 * MS,
                                                   .try_min_ns = 5 * MS,
                                                   .try_max_ns = 90 * MS,
                                                   .reserve_ns = MS,
                                                   .avoid_ns = 5 * MS,
                                                   .far_percent = 100},
                                        .zone = {1, "a"},
                                        .seed = count,
                                        .date_ms = quiet_date_ms,
                                        .part = take_part,
                                        .cancel = quiet_cancel,
                                        .answer = take_answer,
                                        .want_map = quiet_want_map,
                                        .release = release};
    if (published == NULL)
        published = map_make();
    part_count = asked = answered = lent = released = 0;
    ASSERT(front_open(&config, &front) == OMEN_OK);
    ASSERT(front_map(front, MS, published) == OMEN_OK);
    live(front, bytes, count);
    ASSERT(asked == answered);
    front_close(front);
    ASSERT(lent == released);
    return 0;
}
