// tests/unit/shard/test_shard.c -- random operations on an index and on a list of points give the same answers.
//
// Labels: tsan
#include <check.h>
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/shard_model.h"

#define ROUNDS 60
#define BATCH_MAX 200u
#define ID_SPAN 3000u
#define TOLERANCE 1e-5

struct world {
    struct prng prng;
    struct model model;
    omen_index_t index;
    omen_metric metric;
};

static struct model_point drawn[BATCH_MAX];

static void
world_open(struct world *world, uint64_t seed)
{
    omen_options options = OMEN_OPTIONS_INIT;
    prng_init(&world->prng, seed);
    world->model.count = 0;
    world->metric = (omen_metric)(seed % 3);
    options.dimension = MODEL_DIM;
    options.metric = world->metric;
    options.threads = seed % 2 == 0 ? 1 : 2;
    options.seed = seed;
    ck_assert_int_eq(omen_open(&options, &world->index), OMEN_OK);
    if (seed % 4 < 2) {
        ck_assert_int_eq(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER), OMEN_OK);
        ck_assert_int_eq(omen_field_index(world->index, "city", OMEN_FIELD_KEYWORD), OMEN_OK);
    }
}

static struct model_filter
draw_filter(struct world *world, char *text, size_t capacity)
{
    const struct model_filter filter = {
        .low = prng_below(&world->prng, 2) == 0 ? 0 : 1 + prng_below(&world->prng, 99),
        .city = prng_below(&world->prng, 2) == 0 ? NULL : model_cities[prng_below(&world->prng, 4)],
    };
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
static size_t
draw_points(struct world *world, bool new_only)
{
    const size_t wanted = 1 + prng_below(&world->prng, BATCH_MAX - 1);
    size_t count = 0;
    for (size_t i = 0; i < wanted; i++) {
        const uint64_t id = prng_below(&world->prng, ID_SPAN);
        bool twice = false;
        for (size_t j = 0; j < count; j++)
            twice = twice || drawn[j].id == id;
        if (twice || (new_only && model_find(&world->model, id) != NULL))
            continue;
        model_draw(&world->prng, id, &drawn[count++]);
    }
    return count;
}

static void
do_write(struct world *world, bool upsert)
{
    const size_t count = draw_points(world, !upsert);
    struct model_batch batch;
    model_batch_init(&batch, drawn, count);
    ck_assert_int_eq(upsert ? omen_upsert(world->index, &batch.batch)
                            : omen_add(world->index, &batch.batch),
                     OMEN_OK);
    for (size_t i = 0; i < count; i++)
        model_put(&world->model, &drawn[i]);
    model_batch_fini(&batch);
}

static void
do_set_payloads(struct world *world)
{
    const size_t drawn_count = draw_points(world, false);
    size_t count = 0;
    struct model_batch batch;
    for (size_t i = 0; i < drawn_count; i++) {
        struct model_point *there = model_find(&world->model, drawn[i].id);
        if (there == NULL)
            continue;
        there->age = drawn[i].age;
        there->city = drawn[i].city;
        drawn[count++] = *there;
    }
    model_batch_init(&batch, drawn, count);
    batch.batch.vectors = NULL;
    ck_assert_int_eq(omen_set_payloads(world->index, &batch.batch), OMEN_OK);
    model_batch_fini(&batch);
}

static void
do_delete(struct world *world)
{
    uint64_t ids[BATCH_MAX];
    size_t deleted, expected = 0;
    const size_t count = 1 + prng_below(&world->prng, BATCH_MAX - 1);
    for (size_t i = 0; i < count; i++) {
        ids[i] = prng_below(&world->prng, ID_SPAN);
        expected += model_remove(&world->model, ids[i]);
    }
    ck_assert_int_eq(omen_delete(world->index, ids, count, &deleted), OMEN_OK);
    ck_assert_uint_eq(deleted, expected);
}

static void
do_delete_where(struct world *world)
{
    char text[64];
    const struct model_filter filter = draw_filter(world, text, sizeof text);
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

static void
check_query(struct world *world)
{
    char text[64];
    const struct model_filter filter = draw_filter(world, text, sizeof text);
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
        ck_assert_double_eq_tol(
            distances[i], model_distance(world->metric, query.vector, point->vector), TOLERANCE);
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
                                  (double)distances[found - 1] - TOLERANCE);
    }
}

static void
check_range(struct world *world)
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
        border += fabs(distance - (double)radius) < TOLERANCE;
    }
    ck_assert_uint_le(omen_points_count(points), inside + border);
    ck_assert_uint_ge(omen_points_count(points) + border, inside);
    for (size_t i = 0; i < omen_points_count(points); i++)
        ck_assert(omen_points_distance(points, i) <= radius);
    omen_points_free(points);
}

static void
check_point(const struct model_point *point, omen_points_t points, size_t i)
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

static void
check_scroll(struct world *world)
{
    char text[64];
    const struct model_filter filter = draw_filter(world, text, sizeof text);
    const size_t limit = 1 + prng_below(&world->prng, 300);
    uint64_t cursor = 0, count;
    uint32_t next = 0, matches = 0;
    while (cursor != UINT64_MAX) {
        omen_points_t points;
        if (prng_below(&world->prng, 8) == 0)
            ck_assert_int_eq(omen_compact(world->index), OMEN_OK);
        ck_assert_int_eq(omen_scroll(world->index, text[0] == '\0' ? NULL : text,
                                     OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, limit, &cursor, &points),
                         OMEN_OK);
        ck_assert_uint_le(omen_points_count(points), limit);
        for (size_t i = 0; i < omen_points_count(points); i++) {
            while (next < world->model.count && !model_match(&world->model.points[next], &filter))
                next++;
            ck_assert_uint_lt(next, world->model.count);
            check_point(&world->model.points[next++], points, i);
            matches++;
        }
        omen_points_free(points);
    }
    for (; next < world->model.count; next++)
        ck_assert(!model_match(&world->model.points[next], &filter));
    ck_assert_int_eq(omen_count(world->index, text[0] == '\0' ? NULL : text, &count), OMEN_OK);
    ck_assert_uint_eq(count, matches);
}

static void
check_get(struct world *world)
{
    uint64_t ids[50];
    omen_points_t points;
    for (size_t i = 0; i < 50; i++)
        ids[i] = prng_below(&world->prng, ID_SPAN);
    ck_assert_int_eq(omen_get(world->index, ids, 50, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points),
                     OMEN_OK);
    ck_assert_uint_eq(omen_points_count(points), 50);
    for (size_t i = 0; i < 50; i++) {
        const struct model_point *point = model_find(&world->model, ids[i]);
        ck_assert_int_eq(omen_contains(world->index, ids[i]), point != NULL);
        ck_assert_int_eq(omen_points_found(points, i), point != NULL);
        ck_assert_uint_eq(omen_points_id(points, i), ids[i]);
        if (point != NULL)
            check_point(point, points, i);
        else
            ck_assert_ptr_null(omen_points_vector(points, i));
    }
    omen_points_free(points);
}

START_TEST(random_operations_answer_as_a_list_does)
{
    struct world *world = malloc(sizeof *world);
    world_open(world, (uint64_t)_i);
    for (int round = 0; round < ROUNDS; round++) {
        switch (prng_below(&world->prng, 12)) {
        case 0:
            do_delete(world);
            break;
        case 1:
            if (prng_below(&world->prng, 3) == 0)
                do_delete_where(world);
            break;
        case 2:
            do_set_payloads(world);
            break;
        case 3:
        case 4:
        case 5:
            do_write(world, true);
            break;
        case 6:
            ck_assert_int_eq(omen_flush(world->index), OMEN_OK);
            break;
        case 7:
            ck_assert_int_eq(omen_compact(world->index), OMEN_OK);
            break;
        default:
            do_write(world, false);
        }
        check_query(world);
        check_get(world);
        if (round % 8 == 0) {
            check_scroll(world);
            check_range(world);
        }
    }
    ck_assert_msg(omen_verify(world->index) == OMEN_OK, "%s", omen_error_message());
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(world->index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, world->model.count);
    ck_assert_uint_eq(stats.rows - stats.deleted, stats.count);
    omen_close(world->index);
    free(world);
}
END_TEST

// With one linking thread everything is in the calls.
START_TEST(same_calls_on_one_thread_give_the_same_answers)
{
    uint64_t ids[2][50 * 10];
    float distances[2][50 * 10];
    for (int run = 0; run < 2; run++) {
        struct world *world = malloc(sizeof *world);
        world_open(world, 4); // threads = 1
        for (int round = 0; round < 20; round++) {
            do_write(world, true);
            if (round % 5 == 4)
                do_delete(world);
        }
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        float queries[50 * MODEL_DIM];
        for (int i = 0; i < 50 * (int)MODEL_DIM; i++)
            queries[i] = prng_unit(&world->prng) - 0.5f;
        options.ef = 10;
        ck_assert_int_eq(
            omen_query_batch(world->index, queries, 50, &options, ids[run], distances[run]),
            OMEN_OK);
        omen_close(world->index);
        free(world);
    }
    ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
    ck_assert_mem_eq(distances[0], distances[1], sizeof distances[0]);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/shard");
    TCase *tcase = tcase_create("model");
    tcase_add_loop_test(tcase, random_operations_answer_as_a_list_does, 0, 12);
    tcase_add_test(tcase, same_calls_on_one_thread_give_the_same_answers);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
