// tests/lib/fault_world.h -- an index on a disk that fails, beside models of what it may hold.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
//
// An operation makes the model of afterwards first (`next`). When it is acknowledged that holds (`now`); when it is not,
// either may, which only opening tells.
#ifndef OMEN_TESTS_FAULT_WORLD_H
#define OMEN_TESTS_FAULT_WORLD_H
#include <check.h>
#include <stdio.h>

#include "shard/checkpoint.h"
#include "tests/lib/shard_model.h"

#define FAULT_BATCH_MAX 40u
#define FAULT_ID_SPAN 1800u
#define FAULT_ROWS_FIRST 1060u // more than found the graph

struct fault_world {
    struct prng prng;
    struct model now, next;
    omen_index_t index;
    omen_options options;
    struct model *under_way; // NULL, or where `next` is put before an operation begins
    struct model_point drawn[FAULT_ROWS_FIRST];
};

enum fault_op {
    FAULT_FIRST, // many rows
    FAULT_ADD,
    FAULT_UPSERT,
    FAULT_PAYLOADS,
    FAULT_DELETE,
    FAULT_CHECKPOINT,
    FAULT_CHECKPOINT_GROWN, // as the keeper makes them beside writers
    FAULT_COMPACT,
    FAULT_REOPEN,
    FAULT_OPS,
};

static inline void
must(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, omen_error_message());
}

static inline void
fault_world_init(struct fault_world *world, const char *path, uint64_t seed)
{
    prng_init(&world->prng, seed);
    world->now.count = world->next.count = 0;
    world->index = NULL;
    world->under_way = NULL;
    world->options = (omen_options)OMEN_OPTIONS_INIT;
    world->options.path = path;
    world->options.dimension = MODEL_DIM;
    world->options.threads = 1;
}

static inline omen_status
fault_world_open(struct fault_world *world)
{
    const omen_status status = omen_open(&world->options, &world->index);
    ck_assert_int_eq(world->index != NULL, status == OMEN_OK);
    return status;
}

static inline size_t
fault_draw(struct fault_world *world, enum fault_op op)
{
    const size_t wanted =
        op == FAULT_FIRST ? FAULT_ROWS_FIRST : 1 + prng_below(&world->prng, FAULT_BATCH_MAX);
    size_t count = 0;
    for (size_t i = 0; i < wanted; i++) {
        const uint64_t id = op == FAULT_FIRST ? i : prng_below(&world->prng, FAULT_ID_SPAN);
        const struct model_point *there = model_find(&world->now, id);
        bool use = op == FAULT_PAYLOADS ? there != NULL : op == FAULT_UPSERT || there == NULL;
        for (size_t j = 0; j < count && use && op != FAULT_FIRST; j++)
            use = world->drawn[j].id != id;
        if (!use)
            continue;
        struct model_point *point = &world->drawn[count++];
        model_draw(&world->prng, id, point);
        if (op == FAULT_PAYLOADS)
            memcpy(point->vector, there->vector, sizeof point->vector);
    }
    return count;
}

static inline omen_status
fault_write(struct fault_world *world, enum fault_op op)
{
    const size_t count = fault_draw(world, op);
    struct model_batch batch;
    for (size_t i = 0; i < count; i++) {
        struct model_point *there = model_find(&world->next, world->drawn[i].id);
        if (op == FAULT_PAYLOADS)
            *there = world->drawn[i];
        else
            model_put(&world->next, &world->drawn[i]);
    }
    model_batch_init(&batch, world->drawn, count);
    if (world->under_way != NULL)
        *world->under_way = world->next;
    const omen_status status = op == FAULT_PAYLOADS ? omen_set_payloads(world->index, &batch.batch)
                               : op == FAULT_UPSERT ? omen_upsert(world->index, &batch.batch)
                                                    : omen_add(world->index, &batch.batch);
    model_batch_fini(&batch);
    return status;
}

static inline omen_status
fault_delete(struct fault_world *world)
{
    uint64_t ids[FAULT_BATCH_MAX];
    const size_t count = 1 + prng_below(&world->prng, FAULT_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        ids[i] = prng_below(&world->prng, FAULT_ID_SPAN);
        (void)model_remove(&world->next, ids[i]);
    }
    if (world->under_way != NULL)
        *world->under_way = world->next;
    return omen_delete(world->index, ids, count, NULL);
}

static inline omen_status
fault_checkpoint_grown(struct fault_world *world)
{
    struct omen_error error;
    return checkpoint_grown((struct shard *)(void *)world->index, &error);
}

// A status other than OMEN_OK leaves the model of afterwards in `next`. A failed opening leaves no index.
static inline omen_status
fault_step(struct fault_world *world, enum fault_op op)
{
    omen_status status = OMEN_OK;
    switch (op) {
    case FAULT_DELETE:
        status = fault_delete(world);
        break;
    case FAULT_CHECKPOINT:
        status = omen_flush(world->index);
        break;
    case FAULT_CHECKPOINT_GROWN:
        status = fault_checkpoint_grown(world);
        break;
    case FAULT_COMPACT:
        status = omen_compact(world->index);
        break;
    case FAULT_REOPEN:
        omen_close(world->index);
        status = fault_world_open(world);
        break;
    default:
        status = fault_write(world, op);
    }
    if (status == OMEN_OK)
        world->now = world->next;
    return status;
}

static inline enum fault_op
fault_draw_op(struct fault_world *world)
{
    const uint32_t drawn = prng_below(&world->prng, 16);
    return drawn < 4    ? FAULT_ADD
           : drawn < 8  ? FAULT_UPSERT
           : drawn < 10 ? FAULT_PAYLOADS
           : drawn < 12 ? FAULT_DELETE
           : drawn < 13 ? FAULT_CHECKPOINT
           : drawn < 14 ? FAULT_CHECKPOINT_GROWN
           : drawn < 15 ? FAULT_COMPACT
                        : FAULT_REOPEN;
}

// Whether an index holds exactly what a model holds, in its order.
static inline bool
fault_holds(omen_index_t index, const struct model *model)
{
    uint64_t cursor = 0, count;
    omen_points_t points;
    ck_assert_msg(omen_scroll(index, NULL, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, MODEL_POINTS_MAX,
                              &cursor, &points) == OMEN_OK,
                  "%s", omen_error_message());
    ck_assert_int_eq(omen_count(index, NULL, &count), OMEN_OK);
    bool holds = count == model->count && omen_points_count(points) == model->count;
    for (size_t i = 0; holds && i < model->count; i++) {
        const struct model_point *point = &model->points[i];
        uint8_t bytes[MODEL_PAYLOAD_MAX];
        const size_t expected =
            point->city == NULL ? 0 : model_payload(bytes, point->age, point->city);
        size_t payload_bytes;
        const void *payload = omen_points_payload(points, i, &payload_bytes);
        holds =
            omen_points_id(points, i) == point->id &&
            memcmp(omen_points_vector(points, i), point->vector, sizeof point->vector) == 0 &&
            (expected == 0 ? payload == NULL
                           : payload_bytes == expected && memcmp(payload, bytes, expected) == 0);
    }
    omen_points_free(points);
    return holds;
}

// Searches find what is there, by its own vector, exactly and by the graph.
static inline void
fault_check_search(omen_index_t index, const struct model *model, struct prng *prng)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index, &stats), OMEN_OK);
    for (uint32_t i = 0; i < 12 && model->count > 0; i++) {
        const struct model_point *point = &model->points[prng_below(prng, model->count)];
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        uint64_t ids[2];
        uint32_t found;
        options.k = 1;
        options.exact = i < 2;
        options.ef = 200;
        ck_assert_int_eq(omen_query(index, point->vector, &options, ids, NULL, &found), OMEN_OK);
        ck_assert_uint_eq(found, 1);
        ck_assert_msg(ids[0] == point->id, "%s does not find point %d; %u of %u rows unreached",
                      options.exact ? "comparing" : "the graph", (int)point->id,
                      (unsigned)stats.unreached, (unsigned)stats.rows);
    }
}

#endif
