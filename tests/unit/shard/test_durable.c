// tests/unit/shard/test_durable.c -- what was acknowledged is there again: after closing, after kill -9, in other processes.
//
// Labels: tsan
#include <pthread.h>

#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/process.h"
#include "tests/lib/shard_world.h"

static struct folder folder;

static void
setup(void)
{
    folder_init(&folder);
}

static void
teardown(void)
{
    folder_fini(&folder);
}

static void
check_all(struct world *world)
{
    world_check_query(world);
    world_check_get(world);
    world_check_scroll(world);
    world_check_range(world);
    world_check(world);
}

START_TEST(random_operations_survive_closing_and_opening)
{
    struct world *world = malloc(sizeof *world);
    const char *path = folder_path(&folder, "shard");
    world_open(world, (uint64_t)_i, path);
    for (int round = 0; round < FEWER_UNDER_TSAN(16, 40); round++) {
        world_step(world);
        world_check_get(world);
        if (prng_below(&world->prng, 4) != 0)
            continue;
        omen_close(world->index);
        world_reopen(world, path);
        check_all(world);
    }
    omen_close(world->index);
    free(world);
}
END_TEST

// The model lies in memory that outlives the child; each child does some operations and dies by its own hand.
START_TEST(random_operations_survive_kill_9)
{
    struct world *world = process_share(sizeof *world);
    const char *path = folder_path(&folder, "shard");
    for (int life = 0; life < FEWER_UNDER_TSAN(4, 8); life++) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            if (life == 0)
                world_open(world, (uint64_t)_i, path);
            else
                world_reopen(world, path);
            world_check_get(world);
            const uint32_t steps = prng_below(&world->prng, 8);
            for (uint32_t step = 0; step < steps; step++)
                world_step(world);
            (void)raise(SIGKILL);
        }
        ck_assert(process_was_killed(child, (uint64_t)life));
    }
    world_reopen(world, path);
    check_all(world);
    omen_close(world->index);
    process_unshare(world, sizeof *world);
}
END_TEST

// ---- readers in other processes ----

static void
wait_child(pid_t child)
{
    ck_assert(!process_was_killed(child, 1));
}

// The reader is asked after each operation of the writer, and must know of it.
START_TEST(a_reader_in_another_process_is_complete_and_fresh)
{
    struct world *world = process_share(sizeof *world);
    const char *path = folder_path(&folder, "shard");
    int ask[2], answer[2];
    ck_assert_int_eq(pipe(ask), 0);
    ck_assert_int_eq(pipe(answer), 0);
    enum { TURNS = 30 };
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct world *mine = malloc(sizeof *mine);
        omen_options options = OMEN_OPTIONS_INIT;
        (void)close(ask[1]); // so that each end hears when the other is gone
        (void)close(answer[0]);
        options.path = path;
        options.read_only = 1;
        process_hear(ask[0]);
        ck_assert_msg(omen_open(&options, &mine->index) == OMEN_OK, "%s", omen_error_message());
        for (int turn = 0; turn < TURNS; turn++) {
            process_say(answer[1]);
            process_hear(ask[0]);
            mine->model = world->model;
            mine->prng = world->prng;
            mine->metric = world->metric;
            world_check_query(mine);
            world_check_get(mine);
        }
        process_say(answer[1]);
        omen_close(mine->index);
        _exit(0);
    }
    (void)close(ask[0]);
    (void)close(answer[1]);
    world_open(world, (uint64_t)_i, path);
    world_write(world, true);
    process_say(ask[1]);
    for (int turn = 0; turn < TURNS; turn++) {
        process_hear(answer[0]);
        world_step(world);
        process_say(ask[1]);
    }
    process_hear(answer[0]);
    (void)close(ask[1]);
    (void)close(answer[0]);
    wait_child(child);
    omen_close(world->index);
    process_unshare(world, sizeof *world);
}
END_TEST

START_TEST(a_second_writer_is_refused_and_the_first_goes_on)
{
    struct world *world = malloc(sizeof *world);
    const char *path = folder_path(&folder, "shard");
    world_open(world, 1, path);
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t second;
    options.path = path;
    ck_assert_int_eq(omen_open(&options, &second), OMEN_E_LOCKED);
    ck_assert_ptr_null(second);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        // A new program, as far as locks go: nothing of the parent's index is used.
        _exit(omen_open(&options, &second) == OMEN_E_LOCKED ? 0 : 1);
    }
    wait_child(child);
    world_write(world, true);
    world_check_get(world);
    omen_close(world->index);
    free(world);
}
END_TEST

// ---- several writers ----

#define WRITERS 6
#define WRITES 20

static omen_index_t shared;

static void *
write_some(void *argument)
{
    const uint64_t first = (uint64_t)(uintptr_t)argument * 1000;
    struct model_point points[3];
    struct prng prng;
    prng_init(&prng, first);
    for (uint64_t i = 0; i < WRITES; i++) {
        struct model_batch batch;
        for (uint64_t p = 0; p < 3; p++) // the last one is everybody's
            model_draw(&prng, p < 2 ? first + 2 * i + p : 1u << 20, &points[p]);
        model_batch_init(&batch, points, 3);
        ck_assert_msg(omen_upsert(shared, &batch.batch) == OMEN_OK, "%s", omen_error_message());
        model_batch_fini(&batch);
    }
    return NULL;
}

START_TEST(writers_that_commit_together_lose_nothing)
{
    omen_options options = OMEN_OPTIONS_INIT;
    pthread_t threads[WRITERS];
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    for (int opening = 0; opening < 2; opening++) {
        ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
        for (uintptr_t i = 0; i < WRITERS && opening == 0; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, write_some, (void *)i), 0);
        for (uintptr_t i = 0; i < WRITERS && opening == 0; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        uint64_t count;
        ck_assert_int_eq(omen_count(shared, NULL, &count), OMEN_OK);
        ck_assert_uint_eq(count, WRITERS * WRITES * 2 + 1);
        for (uint64_t i = 0; i < WRITERS; i++)
            for (uint64_t j = 0; j < 2 * WRITES; j++)
                ck_assert_int_eq(omen_contains(shared, i * 1000 + j), 1);
        ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
        omen_close(shared);
    }
}
END_TEST

// ---- options ----

START_TEST(a_file_is_what_it_was_made_as)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = folder_path(&folder, "shard");
    ck_assert_int_eq(omen_open(&options, &index),
                     OMEN_E_NOT_FOUND); // dimension 0: of what is there
    options.dimension = 8;
    options.metric = OMEN_L2;
    options.m = 24;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    omen_close(index);
    options.dimension = 9;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "dimension is 9, but the file's is 8"));
    ck_assert_ptr_nonnull(strstr(omen_error_message(), options.path));
    omen_options any = OMEN_OPTIONS_INIT;
    any.path = options.path;
    ck_assert_msg(omen_open(&any, &index) == OMEN_OK, "%s", omen_error_message());
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.dimension, 8);
    ck_assert_uint_eq(stats.m, 24);
    ck_assert_int_eq(stats.metric, OMEN_L2);
    omen_options is = {.struct_size = sizeof is};
    ck_assert_int_eq(omen_options_of(index, &is), OMEN_OK);
    ck_assert_uint_eq(is.struct_size, sizeof is);
    ck_assert_ptr_null(is.path);
    ck_assert_uint_eq(is.dimension, 8);
    ck_assert_uint_eq(is.m, 24);
    ck_assert_int_eq(is.metric, OMEN_L2);
    ck_assert_int_eq(omen_set_ef(index, 99), OMEN_OK);
    is.struct_size = offsetof(omen_options, target_recall); // an older program's
    ck_assert_int_eq(omen_options_of(index, &is), OMEN_OK);
    ck_assert_uint_eq(is.ef_search, 99);
    is.struct_size = 0;
    ck_assert_int_eq(omen_options_of(index, &is), OMEN_E_INVALID);
    omen_close(index);
}
END_TEST

START_TEST(a_reader_of_nothing_makes_nothing)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = folder_path(&folder, "shard");
    options.dimension = 8;
    options.read_only = 1;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_E_NOT_FOUND);
    struct stat none;
    ck_assert_int_eq(stat(options.path, &none), -1);
}
END_TEST

// ---- copies ----

static void
check_copy(struct world *world, const char *copy)
{
    struct world *other = malloc(sizeof *other);
    *other = *world;
    world_reopen(other, copy);
    check_all(other);
    world_write(other, true);
    world_check_get(other);
    omen_close(other->index);
    free(other);
}

START_TEST(a_copy_is_an_index_of_its_own)
{
    struct world *world = malloc(sizeof *world);
    char copy[512];
    (void)snprintf(copy, sizeof copy, "%s/copy", folder.path);
    world_open(world, (uint64_t)_i, _i % 2 == 0 ? NULL : folder_path(&folder, "shard"));
    for (int round = 0; round < 20; round++)
        world_step(world);
    ck_assert_msg(omen_copy(world->index, copy) == OMEN_OK, "%s", omen_error_message());
    check_copy(world, copy);
    ck_assert_int_eq(omen_copy(world->index, copy), OMEN_E_EXISTS);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), copy));
    check_all(world);
    omen_close(world->index);
    free(world);
}
END_TEST

START_TEST(what_an_interval_may_lose_a_flush_keeps)
{
    omen_options options = OMEN_OPTIONS_INIT;
    const char *path = folder_path(&folder, "shard");
    options.path = path;
    options.dimension = MODEL_DIM;
    options.durability = OMEN_DURABLE_INTERVAL;
    options.interval_ms = 3600 * 1000;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        omen_index_t index;
        struct model_point points[2];
        struct prng prng;
        prng_init(&prng, 1);
        ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
        for (uint64_t id = 0; id < 2; id++) {
            struct model_batch batch;
            model_draw(&prng, id, &points[id]);
            model_batch_init(&batch, &points[id], 1);
            ck_assert_int_eq(omen_add(index, &batch.batch), OMEN_OK);
            model_batch_fini(&batch);
            ck_assert_int_eq(omen_contains(index, id), 1); // found at once all the same
            if (id == 0)
                ck_assert_int_eq(omen_flush(index), OMEN_OK);
        }
        (void)raise(SIGKILL);
    }
    ck_assert(process_was_killed(child, 1));
    omen_index_t index;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_contains(index, 0), 1);
    ck_assert_int_eq(omen_contains(index, 1), 0);
    omen_close(index);
}
END_TEST

// ---- a long log ----

enum {
    LONG_DIM = 256,
    LONG_BATCH = 100,
    LONG_ROWS = 3800
}; // not quite the 4 MiB that make a checkpoint due

static void
long_row(uint64_t id, float *row)
{
    struct prng prng;
    prng_init(&prng, id);
    for (uint32_t i = 0; i < LONG_DIM; i++)
        row[i] = prng_unit(&prng);
}

static void
write_long(const omen_options *options)
{
    static float rows[LONG_BATCH][LONG_DIM];
    uint64_t ids[LONG_BATCH];
    omen_index_t index;
    ck_assert_int_eq(omen_open(options, &index), OMEN_OK);
    for (uint64_t first = 0; first < LONG_ROWS; first += LONG_BATCH) {
        omen_batch batch = OMEN_BATCH_INIT;
        for (uint64_t i = 0; i < LONG_BATCH; i++) {
            ids[i] = first + i;
            long_row(first + i, rows[i]);
        }
        batch.count = LONG_BATCH;
        batch.ids = ids;
        batch.vectors = rows;
        ck_assert_int_eq(omen_upsert(index, &batch), OMEN_OK);
    }
}

// Its rows' memory is made by a thread while they are applied.
START_TEST(every_row_of_a_long_log_is_there_after_kill_9)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_statistics stats = {.struct_size = sizeof stats};
    omen_index_t index;
    options.path = folder_path(&folder, "shard");
    options.dimension = LONG_DIM;
    options.metric = OMEN_L2;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        write_long(&options);
        (void)raise(SIGKILL);
    }
    int state;
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_stats(index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, LONG_ROWS);
    for (uint64_t id = 0; id < LONG_ROWS; id++) {
        float row[LONG_DIM];
        omen_points_t points;
        long_row(id, row);
        ck_assert_int_eq(omen_get(index, &id, 1, OMEN_WITH_VECTOR, &points), OMEN_OK);
        ck_assert_mem_eq(omen_points_vector(points, 0), row, sizeof row);
        omen_points_free(points);
    }
    ck_assert_msg(omen_verify(index) == OMEN_OK, "%s", omen_error_message());
    omen_close(index);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/durable");
    TCase *tcase = tcase_create("durable");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, random_operations_survive_closing_and_opening, 0, 8);
    tcase_add_loop_test(tcase, random_operations_survive_kill_9, 0, 8);
    tcase_add_loop_test(tcase, a_reader_in_another_process_is_complete_and_fresh, 0, 4);
    tcase_add_test(tcase, every_row_of_a_long_log_is_there_after_kill_9);
    tcase_add_test(tcase, a_second_writer_is_refused_and_the_first_goes_on);
    tcase_add_test(tcase, writers_that_commit_together_lose_nothing);
    tcase_add_loop_test(tcase, a_copy_is_an_index_of_its_own, 0, 4);
    tcase_add_test(tcase, what_an_interval_may_lose_a_flush_keeps);
    tcase_add_test(tcase, a_file_is_what_it_was_made_as);
    tcase_add_test(tcase, a_reader_of_nothing_makes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
