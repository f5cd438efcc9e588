// tests/unit/shard/test_if_versions.c -- a conditional write happens to the version that was meant, or not at all.
//
// Labels: tsan
#include <pthread.h>
#include <sys/wait.h>

#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_model.h"

#define ANY UINT64_MAX

static struct folder folder;
static omen_index_t shared;

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

// threads 1: only what a test calls is done
static omen_index_t
open_index(const char *path, int read_only)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = path;
    options.dimension = MODEL_DIM;
    options.metric = OMEN_L2;
    options.threads = 1;
    options.read_only = read_only;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    return index;
}

typedef omen_status write_call(omen_index_t index, const omen_batch *batch);

// Points whose age is `age`, under the given conditions.
static omen_status
write_points(omen_index_t index, write_call *call, const uint64_t *ids, const uint64_t *versions,
             size_t count, uint32_t age)
{
    struct model_point points[8];
    struct model_batch batch;
    ck_assert_uint_le(count, 8);
    for (size_t i = 0; i < count; i++) {
        points[i] = (struct model_point){.id = ids[i], .age = age, .city = model_cities[0]};
        points[i].vector[0] = (float)age;
    }
    model_batch_init(&batch, points, count);
    batch.batch.if_versions = versions;
    const omen_status status = call(index, &batch.batch);
    model_batch_fini(&batch);
    return status;
}

static omen_status
write_point(omen_index_t index, write_call *call, uint64_t id, uint64_t version, uint32_t age)
{
    return write_points(index, call, &id, &version, 1, age);
}

static uint64_t
version_of(omen_index_t index, uint64_t id)
{
    omen_points_t points;
    ck_assert_int_eq(omen_get(index, &id, 1, 0, &points), OMEN_OK);
    const uint64_t version = omen_points_version(points, 0);
    ck_assert_int_eq(omen_points_found(points, 0), version != 0);
    ck_assert_uint_eq(omen_points_version(points, 1), 0); // beyond the end
    omen_points_free(points);
    return version;
}

START_TEST(in_memory_there_are_no_versions)
{
    omen_index_t index = open_index(NULL, 0);
    const uint64_t id = 1;
    omen_points_t points;
    ck_assert_int_eq(write_points(index, omen_add, &id, NULL, 1, 3), OMEN_OK);
    ck_assert_int_eq(omen_get(index, &id, 1, 0, &points), OMEN_OK);
    ck_assert_int_eq(omen_points_found(points, 0), 1);
    ck_assert_uint_eq(omen_points_version(points, 0), 0);
    omen_points_free(points);
    write_call *const calls[] = {omen_add, omen_upsert, omen_set_payloads};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(write_point(index, calls[i], 1, ANY, 3), OMEN_E_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(omen_error_message(), "in memory have no versions"));
    }
    omen_close(index);
}
END_TEST

START_TEST(every_change_gives_a_new_version_and_old_ones_are_refused)
{
    omen_index_t index = open_index(folder_path(&folder, "shard"), 0);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, 7, 1), OMEN_E_CONFLICT);
    ck_assert_str_eq(omen_error_message(), "row 0: id 1 is not there, but should have version 7");
    ck_assert_int_eq(write_point(index, omen_set_payloads, 1, 7, 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(write_point(index, omen_add, 1, 0, 1), OMEN_OK);
    uint64_t seen[5] = {version_of(index, 1)};
    ck_assert_int_eq(write_point(index, omen_add, 1, 0, 2), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "but should not be there"));
    ck_assert_int_eq(write_point(index, omen_add, 1, seen[0], 2), OMEN_E_EXISTS);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, seen[0], 2), OMEN_OK);
    seen[1] = version_of(index, 1);
    ck_assert_int_eq(write_point(index, omen_set_payloads, 1, seen[1], 3), OMEN_OK);
    seen[2] = version_of(index, 1);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, ANY, 4), OMEN_OK);
    seen[3] = version_of(index, 1);
    const uint64_t id = 1;
    ck_assert_int_eq(omen_delete(index, &id, 1, NULL), OMEN_OK);
    ck_assert_uint_eq(version_of(index, 1), 0);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, seen[3], 5), OMEN_E_CONFLICT);
    ck_assert_int_eq(write_point(index, omen_set_payloads, 1, ANY, 5), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, 0, 5), OMEN_OK);
    seen[4] = version_of(index, 1);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_gt(seen[i], i > 0 ? seen[i - 1] : 0);
        if (i < 4) {
            ck_assert_int_eq(write_point(index, omen_upsert, 1, seen[i], 9), OMEN_E_CONFLICT);
            ck_assert_int_eq(write_point(index, omen_set_payloads, 1, seen[i], 9), OMEN_E_CONFLICT);
        }
    }
    ck_assert_uint_eq(version_of(index, 1), seen[4]);
    omen_close(index);
}
END_TEST

START_TEST(one_conflict_leaves_the_whole_batch_undone)
{
    omen_index_t index = open_index(folder_path(&folder, "shard"), 0);
    const uint64_t ids[] = {1, 2, 3};
    ck_assert_int_eq(write_points(index, omen_add, ids, NULL, 2, 1), OMEN_OK);
    const uint64_t before = version_of(index, 1);
    ck_assert_uint_eq(version_of(index, 2), before); // one write
    const uint64_t wrong[] = {before, before + 1, 0};
    char expected[128];
    ck_assert_int_eq(write_points(index, omen_upsert, ids, wrong, 3, 2), OMEN_E_CONFLICT);
    (void)snprintf(expected, sizeof expected, "row 1: id 2 has version %llu, but should have %llu",
                   (unsigned long long)before, (unsigned long long)before + 1);
    ck_assert_str_eq(omen_error_message(), expected);
    ck_assert_uint_eq(version_of(index, 1), before);
    ck_assert_uint_eq(version_of(index, 2), before);
    ck_assert_uint_eq(version_of(index, 3), 0);
    const uint64_t right[] = {before, ANY, 0};
    ck_assert_int_eq(write_points(index, omen_upsert, ids, right, 3, 2), OMEN_OK);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_gt(version_of(index, ids[i]), before);
    omen_close(index);
}
END_TEST

START_TEST(text_ids_have_versions_too)
{
    omen_index_t index = open_index(folder_path(&folder, "shard"), 0);
    const char *const texts[] = {"a", "b"};
    const float vectors[2 * MODEL_DIM] = {1};
    const uint64_t new[] = {0, 0};
    uint64_t key;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = 2;
    batch.vectors = vectors;
    batch.text_ids = texts;
    batch.if_versions = new;
    ck_assert_msg(omen_upsert(index, &batch) == OMEN_OK, "%s", omen_error_message());
    ck_assert_int_eq(omen_upsert(index, &batch), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "id \"a\" has version"));
    ck_assert_int_eq(omen_id_key(index, "b", &key), OMEN_OK);
    const uint64_t now[] = {version_of(index, key), version_of(index, key)};
    batch.if_versions = now;
    ck_assert_int_eq(omen_upsert(index, &batch), OMEN_OK);
    omen_close(index);
}
END_TEST

// ---- how long they live ----

#define POINTS 60u

static void
note_versions(omen_index_t index, uint64_t *versions)
{
    for (uint64_t id = 0; id < POINTS; id++)
        versions[id] = version_of(index, id);
}

static void
check_versions(omen_index_t index, const uint64_t *versions)
{
    for (uint64_t id = 0; id < POINTS; id++)
        ck_assert_uint_eq(version_of(index, id), versions[id]);
}

// Some of everything: rows replaced, payloads changed in place, rows deleted.
static void
write_some(omen_index_t index, uint32_t age)
{
    for (uint64_t id = age; id < POINTS; id += 2)
        ck_assert_int_eq(write_point(index, omen_upsert, id, ANY, age), OMEN_OK);
    for (uint64_t id = age; id < POINTS; id += 6)
        ck_assert_int_eq(write_point(index, omen_set_payloads, id, ANY, age), OMEN_OK);
    const uint64_t gone[] = {age + 1, age + 13};
    ck_assert_int_eq(omen_delete(index, gone, 2, NULL), OMEN_OK);
}

START_TEST(versions_outlive_closing_checkpoints_and_compaction)
{
    const char *path = folder_path(&folder, "shard");
    uint64_t versions[POINTS];
    for (uint32_t round = 0; round < 6; round++) {
        omen_index_t index = open_index(path, 0);
        if (round > 0)
            check_versions(index, versions);
        write_some(index, round);
        note_versions(index, versions);
        if (round % 3 == 1)
            ck_assert_int_eq(omen_flush(index), OMEN_OK);
        if (round % 3 == 2)
            ck_assert_int_eq(omen_compact(index), OMEN_OK);
        check_versions(index, versions);
        write_some(index, round + 1); // behind the checkpoint: from the log
        note_versions(index, versions);
        omen_close(index);
    }
    omen_index_t index = open_index(path, 0);
    check_versions(index, versions);
    omen_close(index);
}
END_TEST

// The writer dies without closing; a reader finds what it left, then a writer does.
START_TEST(versions_are_the_same_after_a_crash_and_for_a_reader)
{
    const char *path = folder_path(&folder, "shard");
    int tell[2];
    uint64_t versions[POINTS];
    ck_assert_int_eq(pipe(tell), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        omen_index_t index = open_index(path, 0);
        write_some(index, 0);
        ck_assert_int_eq(omen_flush(index), OMEN_OK);
        write_some(index, 1);
        note_versions(index, versions);
        _exit(write(tell[1], versions, sizeof versions) == (ssize_t)sizeof versions ? 0 : 1);
    }
    int state;
    ck_assert_int_eq(read(tell[0], versions, sizeof versions), sizeof versions);
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    for (int read_only = 1; read_only >= 0; read_only--) {
        omen_index_t index = open_index(path, read_only);
        check_versions(index, versions);
        omen_close(index);
    }
    (void)close(tell[0]);
    (void)close(tell[1]);
}
END_TEST

// The reader is open before the writer writes.
START_TEST(a_follower_knows_the_new_version)
{
    const char *path = folder_path(&folder, "shard");
    int ask[2], answer[2];
    ck_assert_int_eq(pipe(ask), 0);
    ck_assert_int_eq(pipe(answer), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        uint64_t versions[POINTS];
        omen_index_t index = NULL;
        (void)close(ask[1]);
        while (read(ask[0], versions, 1) == 1) {
            if (index == NULL)
                index = open_index(path, 1);
            note_versions(index, versions);
            ck_assert_int_eq(write(answer[1], versions, sizeof versions), sizeof versions);
        }
        omen_close(index);
        _exit(0);
    }
    (void)close(ask[0]);
    (void)close(answer[1]);
    omen_index_t index = open_index(path, 0);
    for (uint32_t round = 0; round < 6; round++) {
        uint64_t theirs[POINTS];
        write_some(index, round);
        if (round == 3)
            ck_assert_int_eq(omen_flush(index), OMEN_OK);
        ck_assert_int_eq(write(ask[1], "?", 1), 1);
        ck_assert_int_eq(read(answer[0], theirs, sizeof theirs), sizeof theirs);
        check_versions(index, theirs);
    }
    (void)close(ask[1]);
    (void)close(answer[0]);
    int state;
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    omen_close(index);
}
END_TEST

START_TEST(a_copy_from_memory_has_versions_that_change_with_its_first_write)
{
    omen_index_t memory = open_index(NULL, 0);
    const char *path = folder_path(&folder, "copy");
    const uint64_t ids[] = {1, 2};
    ck_assert_int_eq(write_points(memory, omen_add, ids, NULL, 2, 1), OMEN_OK);
    ck_assert_msg(omen_copy(memory, path) == OMEN_OK, "%s", omen_error_message());
    omen_close(memory);
    omen_index_t index = open_index(path, 0);
    const uint64_t first = version_of(index, 1);
    ck_assert_uint_ne(first, 0);
    ck_assert_int_eq(write_point(index, omen_add, 1, 0, 2), OMEN_E_CONFLICT);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, first, 2), OMEN_OK);
    ck_assert_int_eq(write_point(index, omen_upsert, 1, first, 3), OMEN_E_CONFLICT);
    ck_assert_int_eq(omen_flush(index), OMEN_OK);
    const uint64_t second = version_of(index, 1);
    omen_close(index);
    index = open_index(path, 0);
    ck_assert_uint_eq(version_of(index, 1), second);
    ck_assert_uint_eq(version_of(index, 2), first);
    omen_close(index);
}
END_TEST

// ---- several writers ----

#define WRITERS 6
#define INCREMENTS 15
#define COUNTER 5u

static uint32_t
read_counter(uint64_t *version)
{
    const uint64_t id = COUNTER;
    omen_points_t points;
    uint32_t age;
    ck_assert_int_eq(omen_get(shared, &id, 1, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points),
                     OMEN_OK);
    *version = omen_points_version(points, 0);
    age = (uint32_t)((const float *)omen_points_vector(points, 0))[0];
    omen_points_free(points);
    return age;
}

// Reads and writes back one more, until nobody was in between.
static void *
increment(void *argument)
{
    const uint64_t own = 100 + (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < INCREMENTS; i++) {
        omen_status status = OMEN_E_CONFLICT;
        while (status == OMEN_E_CONFLICT) {
            const uint64_t ids[] = {own, COUNTER};
            uint64_t versions[] = {ANY, 0};
            const uint32_t count = read_counter(&versions[1]);
            status = write_points(shared, omen_upsert, ids, versions, 2, count + 1);
        }
        ck_assert_msg(status == OMEN_OK, "%s", omen_error_message());
    }
    return NULL;
}

START_TEST(no_increment_is_lost_among_writers_that_commit_together)
{
    pthread_t threads[WRITERS];
    shared = open_index(folder_path(&folder, "shard"), 0);
    ck_assert_int_eq(write_point(shared, omen_add, COUNTER, 0, 0), OMEN_OK);
    for (uintptr_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, increment, (void *)i), 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    uint64_t version;
    ck_assert_uint_eq(read_counter(&version), WRITERS * INCREMENTS);
    omen_close(shared);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/if_versions");
    TCase *tcase = tcase_create("if_versions");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, in_memory_there_are_no_versions);
    tcase_add_test(tcase, every_change_gives_a_new_version_and_old_ones_are_refused);
    tcase_add_test(tcase, one_conflict_leaves_the_whole_batch_undone);
    tcase_add_test(tcase, text_ids_have_versions_too);
    tcase_add_test(tcase, versions_outlive_closing_checkpoints_and_compaction);
    tcase_add_test(tcase, versions_are_the_same_after_a_crash_and_for_a_reader);
    tcase_add_test(tcase, a_follower_knows_the_new_version);
    tcase_add_test(tcase, a_copy_from_memory_has_versions_that_change_with_its_first_write);
    tcase_add_test(tcase, no_increment_is_lost_among_writers_that_commit_together);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
