// bench/front.c -- what a node adds to a search: from a client's bytes to the shard and back to bytes, in one process.
//
// Shape: shell. usage: omen_front_bench [rows] [shards] [k] [with payloads: 0 or 1] [folder]     (20000, 1, 10 and 0)
//
// A front (router/front.h) over hosted shards in files (shard/hosted.h), without sockets and threads: front_request, the part's copy,
// serve_read, front_reply, the answer. Each query is asked of the shards alone (shard_query) and all the
// way, by turns.
// The rows are 384 components in clusters, or those of base.f16.npy and query.f16.npy of the folder. The bar is what the way adds at one shard and k = 10.
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "bench/clock.h"
#include "index/vector.h"
#include "node/serve.h"
#include "router/front.h"
#include "tests/lib/front_quiet.h"

enum {
    DIMENSION = 384,
    QUERIES = 2000,
    SHARDS_MAX = 64,
    BATCH = 500,
    COLLECTION = 7,
    NPY_HEAD_BYTES = 128
};

#define BAR_US 15.0

struct sent {
    struct wire_part part;
    uint8_t ask[4096];
};

static struct front *front;
static struct hosted *hosted[SHARDS_MAX];
static uint64_t seqs[SHARDS_MAX];
static struct sent sents[SHARDS_MAX];
static uint32_t sent_count, shards_wanted = 1, k = 10, with_payloads;
static float centres[64][DIMENSION];
static float queries[QUERIES][DIMENSION];
static double alone_us[QUERIES], way_us[QUERIES], added_us[QUERIES];
static double ask_us[QUERIES], serve_us[QUERIES], hear_us[QUERIES];
static uint64_t answers, answer_bytes;

// ---- what a node does ----

static void
take_part(void *context, uint32_t node, const struct wire_part *part, uint32_t deadline_ms)
{
    (void)context, (void)node, (void)deadline_ms;
    struct sent *sent = &sents[sent_count++];
    if (part->ask_bytes > sizeof sent->ask)
        die("an ask of %u bytes", part->ask_bytes);
    memcpy(sent->ask, part->ask, part->ask_bytes);
    sent->part = *part;
    sent->part.ask = sent->ask;
}

static void
release(void *context, void *owner)
{
    (void)context;
    encode_fini(owner);
    mem_free(owner);
}

static void
take_answer(void *context, void *client, uint32_t id, struct encode *message)
{
    (void)context, (void)client, (void)id;
    // An answer that is no error has nil at its fourth byte.
    if (message->status != OMEN_OK || message->bytes[3] != 0xc0)
        die("the search was refused: %.*s", (int)message->count, (const char *)message->bytes);
    answers++;
    answer_bytes += message->count;
    encode_fini(message);
}

static double
since_us(double before_s)
{
    return (clock_s(CLOCK_MONOTONIC) - before_s) * 1e6;
}

static void
reply(const struct wire_part *part, struct encode *owner)
{
    const struct wire_reply said = {.method = part->method,
                                    .part = part->part,
                                    .attempt = part->attempt,
                                    .request = part->request,
                                    .map_version = 1,
                                    .term = 1,
                                    .seq = 1,
                                    .answer = owner->bytes,
                                    .answer_bytes = (uint32_t)owner->count};
    front_reply(front, os_clock_ns(), 1, &said, owner);
}

static void
whole_way(const struct encode *frame, uint32_t at)
{
    struct rpc_message message;
    struct omen_error error;
    struct encode *owners[SHARDS_MAX];
    const double begun_s = clock_s(CLOCK_MONOTONIC);
    uint8_t *copy = mem_alloc(frame->count); // the connection's
    memcpy(copy, frame->bytes, frame->count);
    if (rpc_read((struct wire_bytes){copy, (uint32_t)frame->count}, &decode_after_hello, &message,
                 &error) != OMEN_OK)
        die("%s", error.text);
    const struct rpc_request request = {.id = message.id,
                                        .method = method_find(message.method),
                                        .frame = copy,
                                        .bytes = frame->count,
                                        .params = message.params};
    front_request(front, os_clock_ns(), NULL, &request);
    ask_us[at] = since_us(begun_s);
    const double served_s = clock_s(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < sent_count; i++) {
        struct serve_items items = {NULL, 0, 0};
        owners[i] = mem_alloc(sizeof *owners[i]);
        encode_init(owners[i], WIRE_FRAME_BYTES_MAX);
        if (serve_read(hosted[sents[i].part.shard - 1], &sents[i].part, NULL, owners[i], &items,
                       &error) != OMEN_OK)
            die("%s", error.text);
    }
    serve_us[at] = since_us(served_s);
    const double heard_s = clock_s(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < sent_count; i++)
        reply(&sents[i].part, owners[i]);
    sent_count = 0;
    hear_us[at] = since_us(heard_s);
    way_us[at] = since_us(begun_s);
}

static void
shards_alone(const float *query, uint32_t at)
{
    static uint64_t ids[10000];
    static float distances[10000];
    struct omen_error error;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = k;
    uint32_t found;
    const double begun_s = clock_s(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < shards_wanted; i++)
        if (shard_query(hosted_shard(hosted[i]), query, &options,
                        &(struct answer){ids, distances, &found}, &error) != OMEN_OK)
            die("%s", error.text);
    alone_us[at] = since_us(begun_s);
}

// ---- data ----

static float
bell(struct prng *prng)
{
    float sum = 0;
    for (uint32_t i = 0; i < 6; i++)
        sum += prng_unit(prng) - 0.5f;
    return sum;
}

static void
vector_draw(struct prng *prng, float *out)
{
    const float *centre = centres[prng_below(prng, 64)];
    for (uint32_t i = 0; i < DIMENSION; i++)
        out[i] = centre[i] + bell(prng);
}

// The next row of a file of f16, from its begin again where it ends.
static void
vector_read(FILE *file, float *out)
{
    uint16_t halves[DIMENSION];
    if (fread(halves, sizeof halves, 1, file) != 1 &&
        (fseek(file, NPY_HEAD_BYTES, SEEK_SET) != 0 || fread(halves, sizeof halves, 1, file) != 1))
        die("a file of rows has none");
    vector_to_f32(VECTOR_F16, halves, DIMENSION, out);
}

static FILE *
rows_open(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, NPY_HEAD_BYTES, SEEK_SET) != 0)
        die("%s cannot be read", path);
    return file;
}

static void
fill(struct prng *prng, uint32_t rows, FILE *file)
{
    static float vectors[BATCH][DIMENSION];
    static uint64_t ids[BATCH];
    static const uint8_t payload[] = "\x81\xa4text\xd9\xc8";
    static uint8_t payloads[8 + 200];
    const void *each[BATCH];
    size_t bytes[BATCH];
    struct omen_error error;
    memcpy(payloads, payload, 8);
    memset(payloads + 8, 'x', 200);
    for (uint32_t first = 0, shard = 0; first < rows;
         first += BATCH, shard = (shard + 1) % shards_wanted) {
        for (uint32_t i = 0; i < BATCH; i++) {
            ids[i] = first + i;
            each[i] = payloads;
            bytes[i] = sizeof payloads;
            if (file != NULL)
                vector_read(file, vectors[i]);
            else
                vector_draw(prng, vectors[i]);
        }
        const struct hosted_ask ask = {.kind = HOSTED_UPSERT,
                                       .count = BATCH,
                                       .ids = ids,
                                       .vectors = vectors,
                                       .dtype = OMEN_F32,
                                       .payloads = each,
                                       .payload_bytes = bytes};
        struct hosted_bytes op = {.cursor = 0};
        if (hosted_prepare(hosted[shard], &ask, &op, &error) != OMEN_OK)
            die("%s", error.text);
        const struct hosted_entry entry = {++seqs[shard], op.bytes, op.count};
        if (hosted_apply(hosted[shard], &(struct hosted_entries){&entry, 1}, NULL, &error) !=
            OMEN_OK)
            die("%s", error.text);
        hosted_bytes_fini(&op);
    }
    for (uint32_t i = 0; i < shards_wanted; i++)
        if (shard_build(hosted_shard(hosted[i]), NULL, &error) != OMEN_OK)
            die("%s", error.text);
}

// Every shard answers for all hashes of its part of the map; that its ids are others is nobody's concern here.
static void
open_all(const char *folder, struct map *map, struct map_shard *shards)
{
    struct omen_error error;
    const uint64_t width = UINT64_MAX / shards_wanted;
    for (uint32_t i = 0; i < shards_wanted; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%u", folder, i);
        const struct hosted_options options = {
            .path = path,
            .dimension = DIMENSION,
            .metric = OMEN_COSINE,
            .dtype = OMEN_F32,
            .first = shards_wanted == 1 ? 0 : i * width + (i > 0),
            .last = i + 1 == shards_wanted ? UINT64_MAX : (i + 1) * width};
        if (hosted_make(&options, &error) != OMEN_OK ||
            hosted_open(&options, &hosted[i], &error) != OMEN_OK)
            die("%s", error.text);
        shards[i] = (struct map_shard){.id = i + 1,
                                       .collection = COLLECTION,
                                       .first = options.first,
                                       .last = options.last,
                                       .term = 1,
                                       .cfg_ver = 1,
                                       .status = SHARD_OPEN,
                                       .replica_count = 1,
                                       .primary = {1, i + 1}};
        shards[i].replicas[0] =
            (struct map_replica){.uuid = shards[i].primary, .node = 1, .role = MAP_REPLICA_IN_SYNC};
    }
    map->shard_count = shards_wanted;
}

static const struct map *
front_make(const char *folder)
{
    static struct map_shard shards[SHARDS_MAX];
    static struct map_node node = {
        .uuid = {1, 1}, .number = 1, .weight = 1, .state = NODE_UP, .zone = {1, "a"}};
    static struct map_collection collection = {
        .id = COLLECTION, .name = {4, "docs"}, .dimension = DIMENSION, .dtype = OMEN_F32};
    static struct map map = {.version = 1,
                             .nodes = &node,
                             .collections = &collection,
                             .shards = shards,
                             .node_count = 1,
                             .collection_count = 1};
    const struct map *published;
    const struct front_config config = {.fanout = {.requests_max = 1024,
                                                   .parts_max = 65536,
                                                   .tries_max = 16,
                                                   .hedge_min_ns = 1000000000,
                                                   .hedge_max_ns = 1000000000,
                                                   .hedge_permille = 50,
                                                   .retry_ns = 10000000,
                                                   .retry_max_ns = 100000000,
                                                   .try_min_ns = 1000000000,
                                                   .try_max_ns = 1000000000,
                                                   .reserve_ns = 1000000,
                                                   .avoid_ns = 100000000,
                                                   .far_percent = 200},
                                        .zone = {1, "a"},
                                        .date_ms = quiet_date_ms,
                                        .part = take_part,
                                        .cancel = quiet_cancel,
                                        .answer = take_answer,
                                        .want_map = quiet_want_map,
                                        .release = release};
    open_all(folder, &map, shards);
    if (front_open(&config, &front) != OMEN_OK || map_publish(&map, &published) != OMEN_OK ||
        front_map(front, os_clock_ns(), published) != OMEN_OK)
        die("no memory");
    return published;
}

static void
ask_write(struct encode *frame, const float *query)
{
    const struct api_query_search ask = {
        .collection = {"docs", 4},
        .k = k,
        .with = with_payloads != 0 ? API_WITH_PAYLOAD : 0,
        .vector = {.form = VECTORS_RAW,
                   .dtype = WIRE_F32,
                   .count = DIMENSION,
                   .bytes = {(const uint8_t *)query, DIMENSION * 4}}};
    encode_reset(frame);
    rpc_write_ask(frame, 1, method_at(METHOD_QUERY_SEARCH), &ask);
}

static double
print(const char *what, double *us)
{
    qsort(us, QUERIES, sizeof *us, by_value);
    printf("%-14s %8.2f us %8.2f us %8.2f us\n", what, us[QUERIES / 10], us[QUERIES / 2],
           us[QUERIES * 9 / 10]);
    return us[QUERIES / 2];
}

int
main(int argc, char **argv)
{
    const uint32_t rows = argc > 1 ? (uint32_t)number(argv[1], "rows") : 20000;
    char folder[] = "front-bench-XXXXXX", command[64];
    struct encode frame;
    struct prng prng;
    shards_wanted = argc > 2 ? (uint32_t)number(argv[2], "shards") : 1;
    k = argc > 3 ? (uint32_t)number(argv[3], "k") : 10;
    with_payloads = argc > 4 ? (uint32_t)number(argv[4], "with payloads") : 0;
    if (shards_wanted < 1 || shards_wanted > SHARDS_MAX || k < 1 || k > 10000)
        die("1..%d shards and k = 1..10000", SHARDS_MAX);
    if (mkdtemp(folder) == NULL)
        die("no folder here");
    FILE *base = argc > 5 ? rows_open(argv[5], "base.f16.npy") : NULL;
    FILE *query = argc > 5 ? rows_open(argv[5], "query.f16.npy") : NULL;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < 64; i++)
        for (uint32_t j = 0; j < DIMENSION; j++)
            centres[i][j] = bell(&prng);
    const struct map *published = front_make(folder);
    fill(&prng, rows, base);
    for (uint32_t i = 0; i < QUERIES; i++)
        if (query != NULL)
            vector_read(query, queries[i]);
        else
            vector_draw(&prng, queries[i]);
    encode_init(&frame, WIRE_FRAME_BYTES_MAX);
    // The first round warms up. A query that was just asked would find everything in the caches, so it waits for the next round.
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < QUERIES; i++) {
            ask_write(&frame, queries[i]);
            if ((i + round) % 2 == 0)
                shards_alone(queries[i], i);
            else
                whole_way(&frame, i);
        }
    for (uint32_t i = 0; i < QUERIES; i++)
        added_us[i] = way_us[i] - alone_us[i];
    printf("%u rows, %u shards, k = %u%s, %llu bytes an answer\n", rows, shards_wanted, k,
           with_payloads != 0 ? " with payloads" : "",
           (unsigned long long)(answer_bytes / answers));
    printf("                       10 %%      median        90 %%\n");
    print("shards alone", alone_us);
    print("whole way", way_us);
    print("  request", ask_us);
    print("  serve", serve_us);
    print("  reply", hear_us);
    const double added = print("added", added_us);
    printf("added, median: %.2f of the bar of %.0f us\n", added / BAR_US, BAR_US);
    front_close(front);
    map_publish_end(published);
    encode_fini(&frame);
    for (uint32_t i = 0; i < shards_wanted; i++)
        hosted_abandon(hosted[i]);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}
