// tests/lib/shard_world.h -- an index beside its model, random operations on both, and checks that they agree.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no shard.
#ifndef OMEN_TESTS_SHARD_WORLD_H
#define OMEN_TESTS_SHARD_WORLD_H
#include <check.h>
#include <stdio.h>

#include "tests/lib/shard_model.h"

#define WORLD_BATCH_MAX 200u
#define WORLD_ID_SPAN 3000u
#define WORLD_TOLERANCE 1e-5

struct world {
    struct prng prng;
    struct model model;
    omen_index_t index;
    omen_metric metric;
    uint64_t seed;
    struct model_point drawn[WORLD_BATCH_MAX];
};

static inline void
world_reopen(struct world *world, const char *path)
{
    omen_options options = OMEN_OPTIONS_INIT;
    const uint64_t seed = world->seed;
    options.path = path;
    options.dimension = MODEL_DIM;
    options.metric = world->metric;
    options.threads = seed % 2 == 0 ? 1 : 2;
    options.seed = seed;
    ck_assert_msg(omen_open(&options, &world->index) == OMEN_OK, "%s", omen_error_message());
}

// `path` is NULL for an index in memory.
static inline void
world_open(struct world *world, uint64_t seed, const char *path)
{
    prng_init(&world->prng, seed);
    world->seed = seed;
    world->model.count = 0;
    world->metric = (omen_metric)(seed % 3);
    world_reopen(world, path);
    if (seed % 4 < 2) {
        ck_assert_int_eq(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER), OMEN_OK);
        ck_assert_int_eq(omen_field_index(world->index, "city", OMEN_FIELD_KEYWORD), OMEN_OK);
    }
}

static inline struct model_filter
world_draw_filter(struct world *world, char *text, size_t capacity)
{
    struct model_filter filter = {0};
    if (prng_below(&world->prng, 2) != 0)
        filter.low = 1 + prng_below(&world->prng, 99);
    if (prng_below(&world->prng, 2) != 0)
        filter.city = model_cities[prng_below(&world->prng, 4)];
    if (filter.low > 0 && filter.city != NULL)
        (void)snprintf(text, capacity, "age >= %u and city == '%s'", filter.low, filter.city);
    else if (filter.low > 0)
        (void)snprintf(text, capacity, "age >= %u", filter.low);
    else if (filter.city != NULL)
        (void)snprintf(text, capacity, "city == '%s'", filter.city);
    else
        text[0] = '\0';
    return filter;
}

// Draws points with different ids.
static inline size_t
world_draw_points(struct world *world, bool new_only)
{
    const size_t wanted = 1 + prng_below(&world->prng, WORLD_BATCH_MAX - 1);
    size_t count = 0;
    for (size_t i = 0; i < wanted; i++) {
        const uint64_t id = prng_below(&world->prng, WORLD_ID_SPAN);
        bool twice = false;
        for (size_t j = 0; j < count; j++)
            twice = twice || world->drawn[j].id == id;
        if (twice || (new_only && model_find(&world->model, id) != NULL))
            continue;
        model_draw(&world->prng, id, &world->drawn[count++]);
    }
    return count;
}

static inline void
world_write(struct world *world, bool upsert)
{
    const size_t count = world_draw_points(world, !upsert);
    struct model_batch batch;
    model_batch_init(&batch, world->drawn, count);
    ck_assert_int_eq(upsert ? omen_upsert(world->index, &batch.batch)
                            : omen_add(world->index, &batch.batch),
                     OMEN_OK);
    for (size_t i = 0; i < count; i++)
        model_put(&world->model, &world->drawn[i]);
    model_batch_fini(&batch);
}

static inline void
world_set_payloads(struct world *world)
{
    const size_t drawn_count = world_draw_points(world, false);
    size_t count = 0;
    struct model_batch batch;
    for (size_t i = 0; i < drawn_count; i++) {
        struct model_point *there = model_find(&world->model, world->drawn[i].id);
        if (there == NULL)
            continue;
        there->age = world->drawn[i].age;
        there->city = world->drawn[i].city;
        world->drawn[count++] = *there;
    }
    model_batch_init(&batch, world->drawn, count);
    batch.batch.vectors = NULL;
    ck_assert_int_eq(omen_set_payloads(world->index, &batch.batch), OMEN_OK);
    model_batch_fini(&batch);
}

static inline void
world_delete(struct world *world)
{
    uint64_t ids[WORLD_BATCH_MAX];
    size_t deleted, expected = 0;
    const size_t count = 1 + prng_below(&world->prng, WORLD_BATCH_MAX - 1);
    for (size_t i = 0; i < count; i++) {
        ids[i] = prng_below(&world->prng, WORLD_ID_SPAN);
        expected += model_remove(&world->model, ids[i]);
    }
    ck_assert_int_eq(omen_delete(world->index, ids, count, &deleted), OMEN_OK);
    ck_assert_uint_eq(deleted, expected);
}

static inline void
world_delete_where(struct world *world)
{
    char text[64];
    const struct model_filter filter = world_draw_filter(world, text, sizeof text);
    size_t deleted, expected = 0;
    if (text[0] == '\0')
        return;
    for (uint32_t i = 0; i < world->model.count;) {
        if (model_match(&world->model.points[i], &filter))
            expected += model_remove(&world->model, world->model.points[i].id);
        else
            i++;
    }
    ck_assert_int_eq(omen_delete_where(world->index, text, &deleted), OMEN_OK);
    ck_assert_uint_eq(deleted, expected);
}

static inline void
world_check_query(struct world *world)
{
    char text[64];
    const struct model_filter filter = world_draw_filter(world, text, sizeof text);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    struct model_point query;
    uint64_t ids[20];
    float distances[20];
    uint32_t found, matches = 0;
    model_draw(&world->prng, 0, &query);
    options.k = 1 + prng_below(&world->prng, 20);
    options.exact = 1;
    options.filter = text[0] == '\0' ? NULL : text;
    options.report = &report;
    ck_assert_int_eq(omen_query(world->index, query.vector, &options, ids, distances, &found),
                     OMEN_OK);
    for (uint32_t i = 0; i < world->model.count; i++)
        matches += model_match(&world->model.points[i], &filter);
    ck_assert_uint_eq(found, matches < options.k ? matches : options.k);
    ck_assert_uint_eq(report.matches, options.filter == NULL ? UINT64_MAX : matches);
    for (uint32_t i = 0; i < found; i++) {
        const struct model_point *point = model_find(&world->model, ids[i]);
        ck_assert_ptr_nonnull(point);
        ck_assert(model_match(point, &filter));
        ck_assert_double_eq_tol(distances[i],
                                model_distance(world->metric, query.vector, point->vector),
                                WORLD_TOLERANCE);
        ck_assert(i == 0 || distances[i] >= distances[i - 1]);
        for (uint32_t j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
    }
    // Nothing that was left out is nearer than what was found last.
    for (uint32_t i = 0; i < world->model.count && found > 0; i++) {
        const struct model_point *point = &world->model.points[i];
        bool answered = !model_match(point, &filter);
        for (uint32_t j = 0; j < found; j++)
            answered = answered || ids[j] == point->id;
        ck_assert(answered || model_distance(world->metric, query.vector, point->vector) >=
                                  (double)distances[found - 1] - WORLD_TOLERANCE);
    }
}

static inline void
world_check_range(struct world *world)
{
    struct model_point query;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_points_t points;
    uint32_t inside = 0, border = 0;
    model_draw(&world->prng, 0, &query);
    const float radius = 0.3f + prng_unit(&world->prng);
    options.exact = 1;
    ck_assert_int_eq(omen_range(world->index, query.vector, radius, &options, &points), OMEN_OK);
    for (uint32_t i = 0; i < world->model.count; i++) {
        const double distance =
            model_distance(world->metric, query.vector, world->model.points[i].vector);
        inside += distance <= (double)radius;
        border += fabs(distance - (double)radius) < WORLD_TOLERANCE;
    }
    ck_assert_uint_le(omen_points_count(points), inside + border);
    ck_assert_uint_ge(omen_points_count(points) + border, inside);
    for (size_t i = 0; i < omen_points_count(points); i++)
        ck_assert(omen_points_distance(points, i) <= radius);
    omen_points_free(points);
}

static inline void
world_check_point(const struct model_point *point, omen_points_t points, size_t i)
{
    uint8_t bytes[MODEL_PAYLOAD_MAX];
    const size_t expected = point->city == NULL ? 0 : model_payload(bytes, point->age, point->city);
    size_t payload_bytes;
    ck_assert_int_eq(omen_points_found(points, i), 1);
    ck_assert_uint_eq(omen_points_id(points, i), point->id);
    ck_assert_mem_eq(omen_points_vector(points, i), point->vector, sizeof point->vector);
    const void *payload = omen_points_payload(points, i, &payload_bytes);
    ck_assert_uint_eq(payload_bytes, expected);
    ck_assert(expected == 0 ? payload == NULL : memcmp(payload, bytes, expected) == 0);
}

static inline void
world_check_scroll(struct world *world)
{
    char text[64];
    const struct model_filter filter = world_draw_filter(world, text, sizeof text);
    const size_t limit = 1 + prng_below(&world->prng, 300);
    uint64_t cursor = 0, count;
    uint32_t next = 0, matches = 0;
    while (cursor != UINT64_MAX) {
        omen_points_t points;
        if (prng_below(&world->prng, 8) == 0)
            ck_assert_msg(omen_compact(world->index) == OMEN_OK, "%s", omen_error_message());
        ck_assert_int_eq(omen_scroll(world->index, text[0] == '\0' ? NULL : text,
                                     OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, limit, &cursor, &points),
                         OMEN_OK);
        ck_assert_uint_le(omen_points_count(points), limit);
        for (size_t i = 0; i < omen_points_count(points); i++) {
            while (next < world->model.count && !model_match(&world->model.points[next], &filter))
                next++;
            ck_assert_uint_lt(next, world->model.count);
            world_check_point(&world->model.points[next++], points, i);
            matches++;
        }
        omen_points_free(points);
    }
    for (; next < world->model.count; next++)
        ck_assert(!model_match(&world->model.points[next], &filter));
    ck_assert_int_eq(omen_count(world->index, text[0] == '\0' ? NULL : text, &count), OMEN_OK);
    ck_assert_uint_eq(count, matches);
}

static inline void
world_check_get(struct world *world)
{
    uint64_t ids[50];
    omen_points_t points;
    for (size_t i = 0; i < 50; i++)
        ids[i] = prng_below(&world->prng, WORLD_ID_SPAN);
    ck_assert_int_eq(omen_get(world->index, ids, 50, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points),
                     OMEN_OK);
    ck_assert_uint_eq(omen_points_count(points), 50);
    for (size_t i = 0; i < 50; i++) {
        const struct model_point *point = model_find(&world->model, ids[i]);
        ck_assert_int_eq(omen_contains(world->index, ids[i]), point != NULL);
        ck_assert_int_eq(omen_points_found(points, i), point != NULL);
        ck_assert_uint_eq(omen_points_id(points, i), ids[i]);
        if (point != NULL)
            world_check_point(point, points, i);
        else
            ck_assert_ptr_null(omen_points_vector(points, i));
    }
    omen_points_free(points);
}

// One random operation.
static inline void
world_step(struct world *world)
{
    switch (prng_below(&world->prng, 12)) {
    case 0:
        world_delete(world);
        break;
    case 1:
        if (prng_below(&world->prng, 3) == 0)
            world_delete_where(world);
        break;
    case 2:
        world_set_payloads(world);
        break;
    case 3:
    case 4:
    case 5:
        world_write(world, true);
        break;
    case 6:
        ck_assert_msg(omen_flush(world->index) == OMEN_OK, "%s", omen_error_message());
        break;
    case 7:
        ck_assert_msg(omen_compact(world->index) == OMEN_OK, "%s", omen_error_message());
        break;
    default:
        world_write(world, false);
    }
}

static inline void
world_check(struct world *world)
{
    ck_assert_msg(omen_verify(world->index) == OMEN_OK, "%s", omen_error_message());
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(world->index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, world->model.count);
    ck_assert_uint_eq(stats.rows - stats.deleted, stats.count);
}

#endif
