// tests/lib/hosted_world.h -- copies of a shard that apply one log, and a dumb dictionary of what they should hold.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
//
// Points have numbers; their ids are the numbers, or "p<number>". A payload is a list of pairs of a letter and a small number, in
// an order that patches keep, so that its bytes are known.
#ifndef OMEN_TESTS_HOSTED_WORLD_H
#define OMEN_TESTS_HOSTED_WORLD_H
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/prng.h"
#include "shard/hosted.h"
#include "tests/lib/folder.h"

enum { WORLD_DIM = 6, WORLD_POINTS = 120, WORLD_COPIES = 3, WORLD_ROWS = 24, WORLD_LOG = 4096 };
enum { WORLD_KEYS = 8, WORLD_PAYLOAD = 1 + 3 * WORLD_KEYS };

struct world_payload {
    uint32_t count; // of pairs
    bool there;
    char keys[WORLD_KEYS];
    uint8_t values[WORLD_KEYS]; // below 128
};

struct world_point {
    bool there;
    uint64_t version;
    float vector[WORLD_DIM];
    struct world_payload payload;
};

struct world_entry {
    void *bytes;
    size_t count;
    uint32_t rows; // what applying it should answer
    uint32_t failed_count;
    struct {
        uint32_t row;
        omen_status status;
    } failed[WORLD_POINTS];
};

struct world_copy {
    char path[320];
    struct hosted *hosted;
};

struct world {
    struct prng prng;
    bool text;
    uint64_t last; // entry of the log
    struct world_entry log[WORLD_LOG];
    struct world_point points[WORLD_POINTS];
    struct world_copy copies[WORLD_COPIES];
};

#define ck_assert_done(call, error)                                                                \
    do {                                                                                           \
        const omen_status done_status = (call);                                                    \
        ck_assert_msg(done_status == OMEN_OK, "%s: %s", #call, (error).text);                      \
    } while (0)

// ---- ids and payloads ----

static inline const char *
world_text(uint32_t number)
{
    static char texts[WORLD_POINTS][8];
    (void)snprintf(texts[number], sizeof texts[number], "p%u", number);
    return texts[number];
}

static inline uint64_t
world_hash(const struct world *world, uint32_t number)
{
    const char *text = world_text(number);
    return world->text ? hash_id_text(text, strlen(text)) : hash_id_u64(number);
}

static inline size_t
world_pack(const struct world_payload *payload, uint8_t out[WORLD_PAYLOAD])
{
    uint8_t *at = out;
    *at++ = (uint8_t)(0x80 | payload->count);
    for (uint32_t i = 0; i < payload->count; i++) {
        *at++ = 0xa1;
        *at++ = (uint8_t)payload->keys[i];
        *at++ = payload->values[i];
    }
    return (size_t)(at - out);
}

static inline struct world_payload
world_draw_payload(struct world *world)
{
    struct world_payload payload = {.there = true};
    for (char key = 'a'; key < 'a' + WORLD_KEYS; key++)
        if (prng_below(&world->prng, 3) == 0) {
            payload.keys[payload.count] = key;
            payload.values[payload.count++] = (uint8_t)prng_below(&world->prng, 4);
        }
    return payload;
}

static inline void
world_payload_set(struct world_payload *payload, char key, uint8_t value)
{
    uint32_t i = 0;
    while (i < payload->count && payload->keys[i] != key)
        i++;
    payload->there = true;
    payload->keys[i] = key;
    payload->values[i] = value;
    payload->count += i == payload->count;
}

static inline void
world_payload_unset(struct world_payload *payload, char key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < payload->count; i++)
        if (payload->keys[i] != key) {
            payload->keys[kept] = payload->keys[i];
            payload->values[kept++] = payload->values[i];
        }
    payload->count = kept;
}

static inline int
world_payload_value(const struct world_payload *payload, char key)
{
    for (uint32_t i = 0; i < payload->count; i++)
        if (payload->keys[i] == key)
            return payload->values[i];
    return -1;
}

// ---- copies ----

static inline struct hosted_options
world_options(const struct world_copy *copy)
{
    return (struct hosted_options){.path = copy->path,
                                   .dimension = WORLD_DIM,
                                   .metric = OMEN_L2,
                                   .dtype = OMEN_F32,
                                   .threads = 1};
}

static inline void
world_open_copy(struct world_copy *copy)
{
    struct omen_error error = {0};
    const struct hosted_options options = world_options(copy);
    ck_assert_done(hosted_open(&options, &copy->hosted, &error), error);
}

static inline void
world_make_copy(struct world_copy *copy, const struct hosted_options *options)
{
    struct omen_error error = {0};
    ck_assert_done(hosted_make(options, &error), error);
    world_open_copy(copy);
}

static inline void
world_init(struct world *world, const struct folder *folder, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    prng_init(&world->prng, seed);
    world->text = seed % 2 == 1;
    for (uint32_t i = 0; i < WORLD_COPIES; i++) {
        struct world_copy *copy = &world->copies[i];
        (void)snprintf(copy->path, sizeof copy->path, "%s/copy%u", folder->path, i);
        const struct hosted_options options = world_options(copy);
        world_make_copy(copy, &options);
    }
}

static inline void
world_fini(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_COPIES; i++)
        hosted_close(world->copies[i].hosted);
    for (uint64_t seq = 1; seq <= world->last; seq++)
        free(world->log[seq].bytes);
}

// ---- applying ----

static inline void
world_check_result(const struct world *world, const struct hosted_result *result)
{
    const struct world_entry *entry = &world->log[result->seq];
    ck_assert_msg(result->error.status == OMEN_OK, "%s", result->error.text);
    ck_assert_uint_eq(result->rows, entry->rows);
    ck_assert_uint_eq(result->failed_count, entry->failed_count);
    for (uint32_t i = 0; i < entry->failed_count; i++) {
        ck_assert_uint_eq(result->failed[i].row, entry->failed[i].row);
        ck_assert_msg(result->failed[i].error.status == entry->failed[i].status, "%s",
                      result->failed[i].error.text);
    }
}

// Up to entry `last`, some entries at a time.
static inline void
world_apply(struct world *world, struct world_copy *copy, uint64_t last)
{
    while (hosted_applied(copy->hosted) < last) {
        struct hosted_entry list[8];
        struct hosted_entries entries = {.entries = list};
        struct hosted_results results;
        struct omen_error error = {0};
        for (uint64_t seq = hosted_applied(copy->hosted) + 1; seq <= last && entries.count < 8;
             seq++)
            list[entries.count++] = (struct hosted_entry){
                .seq = seq, .bytes = world->log[seq].bytes, .count = world->log[seq].count};
        ck_assert_done(hosted_apply(copy->hosted, &entries, &results, &error), error);
        ck_assert_uint_eq(results.count, entries.count);
        for (uint32_t i = 0; i < results.count; i++)
            if (list[i].count > 0)
                world_check_result(world, &results.entries[i]);
        hosted_results_fini(&results);
    }
}

// A part of the hashes, or all.
struct world_range {
    uint64_t first, last;
};

static inline void
world_check_point(const struct world *world, struct hosted *hosted, uint32_t number, bool covered)
{
    const struct world_point *model = &world->points[number];
    struct shard *shard = hosted_shard(hosted);
    struct omen_error error = {0};
    struct points *points;
    struct point point;
    uint8_t packed[WORLD_PAYLOAD];
    uint64_t key = number;
    if (world->text && shard_id_key(shard, world_text(number), &key, &error) != OMEN_OK) {
        ck_assert(!covered || !model->there);
        return;
    }
    const struct id_list ids = {.ids = &key, .count = 1};
    ck_assert_done(shard_get(shard, &ids, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points, &error),
                   error);
    points_at(points, 0, &point);
    ck_assert_msg(point.found == (covered && model->there), "point %u", number);
    if (point.found) {
        ck_assert_uint_eq(point.version, model->version);
        ck_assert_uint_eq(hosted_version(hosted, key), model->version);
        ck_assert_mem_eq(point.vector, model->vector, sizeof model->vector);
        ck_assert(model->payload.there == (point.payload != NULL));
        if (model->payload.there) {
            ck_assert_uint_eq(point.payload_bytes, world_pack(&model->payload, packed));
            ck_assert_mem_eq(point.payload, packed, point.payload_bytes);
        }
    }
    points_close(points);
}

// That the copy, which has applied everything, holds what the dictionary holds, and its sums are those of that.
static inline void
world_check_range(const struct world *world, struct hosted *hosted, struct world_range range)
{
    struct hosted_sum sum = {0};
    struct omen_error error = {0};
    uint64_t count = 0, counted;
    for (uint32_t i = 0; i < WORLD_POINTS; i++) {
        const struct world_point *point = &world->points[i];
        const uint64_t hash = world_hash(world, i);
        const bool covered = hash >= range.first && hash <= range.last;
        uint8_t packed[WORLD_PAYLOAD];
        world_check_point(world, hosted, i, covered);
        if (!covered || !point->there)
            continue;
        const struct sums_point term = {
            .id_hash = hash,
            .version = point->version,
            .vector = point->vector,
            .vector_bytes = sizeof point->vector,
            .payload = point->payload.there ? packed : NULL,
            .payload_bytes = world_pack(&point->payload, packed),
        };
        sum = sum_plus(sum, sums_term(&term));
        count++;
    }
    ck_assert(sum_equal(sum, hosted_sum(hosted)));
    ck_assert_done(shard_count(hosted_shard(hosted), NULL, &counted, &error), error);
    ck_assert_uint_eq(counted, count);
    ck_assert_done(hosted_verify(hosted, &error), error);
}

static inline void
world_check(const struct world *world, struct hosted *hosted)
{
    world_check_range(world, hosted, (struct world_range){0, UINT64_MAX});
}

// ---- writing ----

// The entry goes to the log; what the dictionary says it does is in *entry.
static inline void
world_log(struct world *world, struct hosted_bytes *bytes, struct world_entry *entry)
{
    ck_assert_uint_lt(world->last + 1, WORLD_LOG);
    entry->bytes = malloc(bytes->count + 1);
    entry->count = bytes->count;
    if (bytes->count > 0)
        memcpy(entry->bytes, bytes->bytes, bytes->count);
    world->log[++world->last] = *entry;
    hosted_bytes_fini(bytes);
}

struct world_batch {
    struct hosted_ask ask;
    uint32_t numbers[WORLD_ROWS];
    uint64_t ids[WORLD_ROWS];
    const char *texts[WORLD_ROWS];
    float vectors[WORLD_ROWS][WORLD_DIM];
    struct world_payload payloads[WORLD_ROWS];
    uint8_t packed[WORLD_ROWS][WORLD_PAYLOAD];
    const void *payload_list[WORLD_ROWS];
    size_t payload_bytes[WORLD_ROWS];
    uint64_t if_versions[WORLD_ROWS];
    struct world_payload set;
    uint8_t set_packed[WORLD_PAYLOAD];
    char unset[WORLD_KEYS];
    const char *unset_list[WORLD_KEYS];
    size_t unset_bytes[WORLD_KEYS];
};

static inline void
world_draw_ids(struct world *world, struct world_batch *batch)
{
    bool taken[WORLD_POINTS] = {false};
    batch->ask.count = 1 + prng_below(&world->prng, WORLD_ROWS);
    for (size_t i = 0; i < batch->ask.count; i++) {
        uint32_t number;
        do
            number = (uint32_t)prng_below(&world->prng, WORLD_POINTS);
        while (taken[number]);
        taken[number] = true;
        batch->numbers[i] = number;
        batch->ids[i] = number;
        batch->texts[i] = world_text(number);
        // Mostly as it is; else as it is not.
        const struct world_point *point = &world->points[number];
        const uint64_t version = point->there ? point->version : 0;
        const uint64_t drawn = prng_below(&world->prng, 4);
        batch->if_versions[i] = drawn == 0 ? UINT64_MAX : drawn == 1 ? version + 1 : version;
    }
    if (world->text)
        batch->ask.texts = batch->texts;
    else
        batch->ask.ids = batch->ids;
    if (prng_below(&world->prng, 3) == 0)
        batch->ask.if_versions = batch->if_versions;
}

static inline void
world_draw_patch(struct world *world, struct world_batch *batch)
{
    batch->set = world_draw_payload(world);
    for (char key = 'a'; key < 'a' + WORLD_KEYS; key++)
        if (world_payload_value(&batch->set, key) < 0 && prng_below(&world->prng, 4) == 0) {
            const size_t i = batch->ask.unset_count++;
            batch->unset[i] = key;
            batch->unset_list[i] = &batch->unset[i];
            batch->unset_bytes[i] = 1;
        }
    batch->ask.unset = batch->unset_list;
    batch->ask.unset_bytes = batch->unset_bytes;
    if (batch->set.count > 0 || batch->ask.unset_count == 0) {
        batch->ask.set = batch->set_packed;
        batch->ask.set_bytes = world_pack(&batch->set, batch->set_packed);
    }
}

static inline void
world_draw(struct world *world, struct world_batch *batch)
{
    static const enum hosted_kind kinds[] = {HOSTED_UPSERT, HOSTED_UPSERT,   HOSTED_INSERT,
                                             HOSTED_UPDATE, HOSTED_PAYLOADS, HOSTED_PATCH,
                                             HOSTED_PATCH,  HOSTED_DELETE};
    memset(batch, 0, sizeof *batch);
    struct hosted_ask *ask = &batch->ask;
    ask->kind = kinds[prng_below(&world->prng, sizeof kinds / sizeof kinds[0])];
    world_draw_ids(world, batch);
    for (size_t i = 0; i < ask->count; i++) {
        for (uint32_t c = 0; c < WORLD_DIM; c++)
            batch->vectors[i][c] = prng_unit(&world->prng);
        if (prng_below(&world->prng, 4) != 0)
            batch->payloads[i] = world_draw_payload(world);
        batch->payload_bytes[i] = world_pack(&batch->payloads[i], batch->packed[i]);
        batch->payload_list[i] = batch->payloads[i].there ? batch->packed[i] : NULL;
    }
    if (ask->kind <= HOSTED_UPDATE) {
        ask->vectors = batch->vectors;
        ask->dtype = OMEN_F32;
    }
    if (ask->kind <= HOSTED_PAYLOADS) {
        ask->payloads = batch->payload_list;
        ask->payload_bytes = batch->payload_bytes;
    }
    if (ask->kind == HOSTED_PATCH)
        world_draw_patch(world, batch);
}

// What the dictionary says of one row. OMEN_OK: it is done.
static inline omen_status
world_judge(const struct world_batch *batch, size_t row, const struct world_point *point)
{
    const uint64_t version = point->there ? point->version : 0;
    const enum hosted_kind kind = batch->ask.kind;
    if (batch->ask.if_versions != NULL && batch->ask.if_versions[row] != UINT64_MAX &&
        batch->ask.if_versions[row] != version)
        return OMEN_E_CONFLICT;
    if (kind == HOSTED_INSERT && point->there)
        return OMEN_E_EXISTS;
    if (!point->there && (kind == HOSTED_UPDATE || kind == HOSTED_PAYLOADS || kind == HOSTED_PATCH))
        return OMEN_E_NOT_FOUND;
    return OMEN_OK;
}

static inline void
world_patch_point(const struct world_batch *batch, struct world_payload *payload)
{
    if (!payload->there && batch->set.count == 0)
        return;
    for (size_t i = 0; i < batch->ask.unset_count; i++)
        world_payload_unset(payload, batch->unset[i]);
    payload->there = true;
    for (uint32_t i = 0; i < batch->set.count; i++)
        world_payload_set(payload, batch->set.keys[i], batch->set.values[i]);
}

static inline void
world_do(struct world *world, const struct world_batch *batch, struct world_entry *entry)
{
    *entry = (struct world_entry){0};
    for (size_t row = 0; row < batch->ask.count; row++) {
        struct world_point *point = &world->points[batch->numbers[row]];
        const omen_status status = world_judge(batch, row, point);
        if (status != OMEN_OK) {
            entry->failed[entry->failed_count].row = (uint32_t)row;
            entry->failed[entry->failed_count++].status = status;
            continue;
        }
        if (batch->ask.kind == HOSTED_DELETE) {
            entry->rows += point->there;
            point->there = false;
            continue;
        }
        entry->rows++;
        point->there = true;
        point->version = world->last + 1;
        if (batch->ask.kind <= HOSTED_UPDATE)
            memcpy(point->vector, batch->vectors[row], sizeof point->vector);
        if (batch->ask.kind <= HOSTED_PAYLOADS)
            point->payload = batch->payloads[row];
        else
            world_patch_point(batch, &point->payload);
    }
}

// One random change by ids, prepared at `primary`.
static inline void
world_write(struct world *world, struct hosted *primary)
{
    static struct world_batch batch;
    struct world_entry entry;
    struct hosted_bytes bytes;
    struct omen_error error = {0};
    world_draw(world, &batch);
    ck_assert_done(hosted_prepare(primary, &batch.ask, &bytes, &error), error);
    ck_assert_uint_eq(bytes.rows, batch.ask.count);
    ck_assert_uint_eq(bytes.cursor, UINT64_MAX);
    world_do(world, &batch, &entry);
    world_log(world, &bytes, &entry);
}

// One of a host's own.
static inline void
world_write_empty(struct world *world)
{
    struct hosted_bytes none = {0};
    struct world_entry entry = {0};
    world_log(world, &none, &entry);
}

// A patch or a delete of all whose key `a` is 1, prepared at a primary that has applied everything.
static inline void
world_write_filtered(struct world *world, struct hosted *primary)
{
    static struct world_batch batch;
    struct world_entry entry = {0};
    struct hosted_bytes bytes;
    struct omen_error error = {0};
    memset(&batch, 0, sizeof batch);
    batch.ask.kind = prng_below(&world->prng, 4) == 0 ? HOSTED_DELETE : HOSTED_PATCH;
    if (batch.ask.kind == HOSTED_PATCH)
        world_draw_patch(world, &batch);
    batch.ask.filter = "a = 1";
    ck_assert_uint_eq(hosted_applied(primary), world->last);
    ck_assert_done(hosted_prepare(primary, &batch.ask, &bytes, &error), error);
    ck_assert_uint_eq(bytes.cursor, UINT64_MAX);
    for (uint32_t i = 0; i < WORLD_POINTS; i++) {
        struct world_point *point = &world->points[i];
        if (!point->there || world_payload_value(&point->payload, 'a') != 1)
            continue;
        entry.rows++;
        if (batch.ask.kind == HOSTED_DELETE) {
            point->there = false;
            continue;
        }
        point->version = world->last + 1;
        world_patch_point(&batch, &point->payload);
    }
    ck_assert_uint_eq(bytes.rows, entry.rows);
    if (bytes.bytes != NULL)
        world_log(world, &bytes, &entry);
}

#endif
