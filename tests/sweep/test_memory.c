// tests/sweep/test_memory.c -- the n-th allocation of every call fails, for every n: the call says so and nothing has
// changed.
//
// Labels: sweep
//
// Under AddressSanitizer the same run shows that nothing leaks on the way out. One linking thread, so that all
// allocations belong to the call.
#include <check.h>
#include <stdio.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/shard_model.h"

#define ROWS_SMALL 40u
#define ROWS_FOUNDED 1010u // 40 more found the graph
#define ROWS_MORE 40u

struct world {
    omen_index_t index;
    struct model model;
};

static struct world *world;
static struct prng prng;

static void
write_rows(uint32_t first, uint32_t count)
{
    static struct model_point points[ROWS_FOUNDED];
    struct model_batch batch;
    for (uint32_t i = 0; i < count; i++)
        model_draw(&prng, first + i, &points[i]);
    model_batch_init(&batch, points, count);
    ck_assert_int_eq(omen_add(world->index, &batch.batch), OMEN_OK);
    for (uint32_t i = 0; i < count; i++)
        model_put(&world->model, &points[i]);
    model_batch_fini(&batch);
}

static void
world_open(uint32_t count)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = MODEL_DIM;
    options.threads = 1;
    prng_init(&prng, 7);
    world = malloc(sizeof *world);
    world->model.count = 0;
    ck_assert_int_eq(omen_open(&options, &world->index), OMEN_OK);
    ck_assert_int_eq(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER), OMEN_OK);
    write_rows(0, count);
    for (uint64_t id = 3; id < 9; id++)
        model_remove(&world->model, id);
    ck_assert_int_eq(omen_delete(world->index, (const uint64_t[]){3, 4, 5, 6, 7, 8}, 6, NULL),
                     OMEN_OK);
}

static void
world_close(void)
{
    omen_close(world->index);
    free(world);
}

// The index holds what the model holds, in its order.
static void
check_unchanged(void)
{
    uint64_t cursor = 0;
    omen_points_t points;
    ck_assert_int_eq(omen_scroll(world->index, NULL, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, SIZE_MAX,
                                 &cursor, &points),
                     OMEN_OK);
    ck_assert_uint_eq(omen_points_count(points), world->model.count);
    for (size_t i = 0; i < omen_points_count(points); i++) {
        const struct model_point *point = &world->model.points[i];
        uint8_t bytes[MODEL_PAYLOAD_MAX];
        size_t count;
        const void *payload = omen_points_payload(points, i, &count);
        ck_assert_uint_eq(omen_points_id(points, i), point->id);
        ck_assert_mem_eq(omen_points_vector(points, i), point->vector, sizeof point->vector);
        ck_assert_int_eq(payload != NULL, point->city != NULL);
        if (payload != NULL) {
            ck_assert_uint_eq(count, model_payload(bytes, point->age, point->city));
            ck_assert_mem_eq(payload, bytes, count);
        }
    }
    omen_points_free(points);
    for (const char *const *city = model_cities; city < model_cities + 2; city++) {
        const struct model_filter filter = {.low = 50, .city = *city};
        char text[64];
        uint64_t count, expected = 0;
        (void)snprintf(text, sizeof text, "age >= 50 and city == '%s'", *city);
        for (uint32_t i = 0; i < world->model.count; i++)
            expected += model_match(&world->model.points[i], &filter);
        ck_assert_int_eq(omen_count(world->index, text, &count), OMEN_OK);
        ck_assert_uint_eq(count, expected);
    }
    ck_assert_msg(omen_verify(world->index) == OMEN_OK, "%s", omen_error_message());
}

// ---- the calls ----

static struct model_point fresh[ROWS_MORE];
static struct model_batch fresh_batch;

static omen_status
call_add(void)
{
    return omen_add(world->index, &fresh_batch.batch);
}

static omen_status
call_upsert(void)
{
    return omen_upsert(world->index, &fresh_batch.batch);
}

static omen_status
call_set_payloads(void)
{
    return omen_set_payloads(world->index, &fresh_batch.batch);
}

static omen_status
call_delete(void)
{
    return omen_delete(world->index, (const uint64_t[]){10, 11}, 2, NULL);
}

static omen_status
call_delete_where(void)
{
    return omen_delete_where(world->index, "age >= 50 and city != 'Oslo'", NULL);
}

static omen_status
call_field_index(void)
{
    return omen_field_index(world->index, "city", OMEN_FIELD_KEYWORD);
}

static omen_status
call_compact(void)
{
    return omen_compact(world->index);
}

static omen_status
call_query(void)
{
    uint64_t ids[10];
    return omen_query(world->index, fresh[0].vector, NULL, ids, NULL, NULL);
}

static omen_status
call_query_filtered(void)
{
    uint64_t ids[10];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.filter = "age > 20 and city == 'Oslo'";
    return omen_query(world->index, fresh[0].vector, &options, ids, NULL, NULL);
}

static omen_status
call_query_batch(void)
{
    uint64_t ids[20 * 10];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.threads = 1;
    options.target_recall = 0.9;
    return omen_query_batch(world->index, fresh_batch.vectors, 20, &options, ids, NULL);
}

static omen_status
call_range(void)
{
    omen_points_t points;
    const omen_status status = omen_range(world->index, fresh[0].vector, 0.8f, NULL, &points);
    omen_points_free(points);
    return status;
}

static omen_status
call_get(void)
{
    const uint64_t ids[3] = {1, 4, 12};
    omen_points_t points;
    const omen_status status =
        omen_get(world->index, ids, 3, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points);
    omen_points_free(points);
    return status;
}

static omen_status
call_scroll(void)
{
    uint64_t cursor = 0;
    omen_points_t points;
    const omen_status status =
        omen_scroll(world->index, "age > 10", OMEN_WITH_PAYLOAD, 30, &cursor, &points);
    omen_points_free(points);
    return status;
}

static omen_status
call_recall(void)
{
    omen_recall recall = {.struct_size = sizeof recall};
    return omen_measure_recall(world->index, 5, NULL, &recall);
}

static omen_status
call_flush(void)
{
    return omen_flush(world->index);
}

static const struct {
    omen_status (*call)(void);
    uint32_t first_id; // of the rows that a write brings
    bool writes;       // what it holds afterwards is not what it held before
} calls[] = {
    {call_add, 5000, true},       {call_upsert, 15, true},      {call_set_payloads, 9, true},
    {call_delete, 0, true},       {call_delete_where, 0, true}, {call_field_index, 0, false},
    {call_compact, 0, false},     {call_query, 0, false},       {call_query_filtered, 0, false},
    {call_query_batch, 0, false}, {call_range, 0, false},       {call_get, 0, false},
    {call_scroll, 0, false},      {call_recall, 0, false},      {call_flush, 0, false},
};
#define CALLS (int)(sizeof calls / sizeof calls[0])

// Runs a call with the n-th allocation failing; true when it did not need as many.
static bool
run_with_failure(int which, uint32_t rows, uint64_t n)
{
    world_open(rows);
    for (uint32_t i = 0; i < ROWS_MORE; i++)
        model_draw(&prng, calls[which].first_id + i, &fresh[i]);
    const uint32_t count = calls[which].call == call_set_payloads ? ROWS_MORE - 10 : ROWS_MORE;
    model_batch_init(&fresh_batch, fresh, count);
    mem_fail_after(n);
    const omen_status status = calls[which].call();
    const bool enough = mem_refused() == 0;
    mem_fail_after(0);
    if (enough)
        ck_assert_msg(status == OMEN_OK, "call %d: %s", which, omen_error_message());
    else
        ck_assert_msg(status == OMEN_OK || status == OMEN_E_NO_MEMORY, "call %d, n %d: %d %s",
                      which, (int)n, status, omen_error_message());
    if (status != OMEN_OK || !calls[which].writes)
        check_unchanged();
    if (status != OMEN_OK) {
        ck_assert_int_eq(calls[which].call(), OMEN_OK);
        ck_assert_msg(omen_verify(world->index) == OMEN_OK, "%s", omen_error_message());
    }
    model_batch_fini(&fresh_batch);
    world_close();
    return enough;
}

START_TEST(failed_allocation_changes_nothing)
{
    for (uint64_t n = 1; !run_with_failure(_i, ROWS_SMALL, n); n++)
        ck_assert_uint_lt(n, 1000);
}
END_TEST

START_TEST(failed_allocation_changes_nothing_where_the_graph_begins)
{
    for (uint64_t n = 1; !run_with_failure(_i, ROWS_FOUNDED, n); n++)
        ck_assert_uint_lt(n, 1000);
}
END_TEST

START_TEST(failed_allocation_while_opening_leaves_nothing)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.dimension = MODEL_DIM;
    for (uint64_t n = 1;; n++) {
        ck_assert_uint_lt(n, 1000);
        mem_fail_after(n);
        const omen_status status = omen_open(&options, &index);
        const bool enough = mem_refused() == 0;
        mem_fail_after(0);
        ck_assert_int_eq(status, enough ? OMEN_OK : OMEN_E_NO_MEMORY);
        ck_assert_int_eq(index != NULL, enough);
        omen_close(index);
        if (enough)
            break;
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("sweep/memory");
    TCase *tcase = tcase_create("sweep");
    tcase_add_test(tcase, failed_allocation_while_opening_leaves_nothing);
    tcase_add_loop_test(tcase, failed_allocation_changes_nothing, 0, CALLS);
    tcase_add_loop_test(tcase, failed_allocation_changes_nothing_where_the_graph_begins, 0, CALLS);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
