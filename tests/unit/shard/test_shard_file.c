// tests/unit/shard/test_shard_file.c -- what is done to a file as a whole, beside writers, loses none of their writes.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "shard/journal.h"
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_world.h"

#define COMPACTIONS 12
#define WRITES 1000u // at most, beside each
#define FREED ((size_t)6 << 20)
#define PAD 400u // points that come and go, so that there is something to compact

static struct folder folder;
static omen_index_t shared;
static atomic_bool ending;
static atomic_ullong allowed; // ids that the writer may have written, else it outruns what compacts

static void
setup(void)
{
    folder_init(&folder);
    atomic_init(&ending, false);
    atomic_init(&allowed, 0);
}

static void
teardown(void)
{
    folder_fini(&folder);
}

static void
upsert(struct prng *prng, uint64_t first, uint32_t count)
{
    static _Thread_local struct model_point points[PAD];
    struct model_batch batch;
    for (uint32_t i = 0; i < count; i++) {
        model_draw(prng, first + i, &points[i]);
        points[i].city = model_cities[0];
    }
    model_batch_init(&batch, points, count);
    ck_assert_msg(omen_upsert(shared, &batch.batch) == OMEN_OK, "%s", omen_error_message());
    model_batch_fini(&batch);
}

// Returns how many ids, from 0 on, were acknowledged.
static void *
write_on(void *argument)
{
    struct prng prng;
    uint64_t *written = argument;
    prng_init(&prng, 5);
    while (!atomic_load(&ending)) {
        if (*written < atomic_load(&allowed))
            upsert(&prng, (*written)++, 1);
        else
            (void)sched_yield();
    }
    return NULL;
}

static void
check_written(uint64_t written)
{
    uint64_t count;
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    for (uint64_t id = 0; id < written; id++)
        ck_assert_msg(omen_contains(shared, id) == 1, "%llu of %llu is gone",
                      (unsigned long long)id, (unsigned long long)written);
    ck_assert_int_eq(omen_count(shared, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, written + PAD);
}

START_TEST(a_file_that_is_made_small_beside_a_writer_loses_nothing)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct prng prng;
    pthread_t thread;
    uint64_t written = 0;
    prng_init(&prng, 6);
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.durability = _i == 0 ? OMEN_DURABLE_COMMIT : OMEN_DURABLE_INTERVAL;
    options.interval_ms = 5;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &written), 0);
    for (int i = 0; i < COMPACTIONS; i++) {
        atomic_fetch_add(&allowed, WRITES);
        upsert(&prng, 1u << 30, PAD);
        upsert(&prng, 1u << 30, PAD);
        ck_assert_msg(omen_compact(shared) == OMEN_OK, "%s", omen_error_message());
    }
    atomic_store(&ending, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    check_written(written);
    omen_close(shared);
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
    check_written(written);
    omen_close(shared);
}
END_TEST

// Opens, deletes 0, and dies when the nth allocation of a flush has failed; exits when none did.
static void
die_in_flush(const omen_options *options, uint64_t nth)
{
    const uint64_t id = 0;
    ck_assert_int_eq(omen_open(options, &shared), OMEN_OK);
    ck_assert_int_eq(omen_delete(shared, &id, 1, NULL), OMEN_OK);
    mem_fail_after(nth);
    if (omen_flush(shared) == OMEN_OK && mem_refused() == 0)
        _exit(0);
    (void)raise(SIGKILL);
}

// A delete that no commit had is no delete: the point has all that it had.
START_TEST(a_checkpoint_that_is_cut_leaves_no_part_of_a_write)
{
    omen_options options = OMEN_OPTIONS_INIT;
    const uint64_t id = 0;
    struct prng prng;
    int state = -1;
    uint32_t kept = 0;
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.threads = 1;
    options.durability = OMEN_DURABLE_INTERVAL;
    options.interval_ms = 3600 * 1000;
    for (uint64_t nth = 1; state != 0; nth++) {
        prng_init(&prng, 1);
        ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
        upsert(&prng, 0, PAD / 10);
        ck_assert_int_eq(omen_flush(shared), OMEN_OK);
        omen_close(shared);
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            die_in_flush(&options, nth);
        ck_assert_int_eq(waitpid(child, &state, 0), child);
        omen_points_t points;
        ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
        ck_assert_int_eq(omen_get(shared, &id, 1, OMEN_WITH_PAYLOAD, &points), OMEN_OK);
        if (omen_points_found(points, 0)) {
            size_t bytes = 0;
            (void)omen_points_payload(points, 0, &bytes);
            ck_assert_msg(bytes > 1, "payload gone: allocation %llu", (unsigned long long)nth);
            kept++;
        }
        omen_points_free(points);
        omen_close(shared);
    }
    ck_assert_uint_gt(kept, 0);
}
END_TEST

// The writer used the slots again that its compaction had given back; the checkpoint is of before.
START_TEST(slots_that_were_used_again_are_there_after_kill_9)
{
    enum { SLOTS = 5 * PAD };
    omen_options options = OMEN_OPTIONS_INIT;
    uint64_t deleted[4 * PAD];
    struct prng prng;
    int state;
    prng_init(&prng, 1);
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.slots_max = SLOTS;
    options.threads = 1;
    for (uint64_t i = 0; i < 4 * PAD; i++)
        deleted[i] = i;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
        for (uint64_t id = 0; id < SLOTS; id += PAD)
            upsert(&prng, id, PAD);
        ck_assert_int_eq(omen_flush(shared), OMEN_OK);
        ck_assert_int_eq(omen_delete(shared, deleted, 4 * PAD, NULL), OMEN_OK);
        for (uint64_t id = SLOTS; id < SLOTS + 3 * PAD; id += PAD)
            upsert(&prng, id, PAD);
        (void)raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    for (int opening = 0; opening < 2; opening++) {
        uint64_t count;
        ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
        ck_assert_int_eq(omen_count(shared, NULL, &count), OMEN_OK);
        ck_assert_uint_eq(count, 4 * PAD);
        for (uint64_t id = 4 * PAD; id < SLOTS + 3 * PAD; id++)
            ck_assert_int_eq(omen_contains(shared, id), 1);
        ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
        omen_close(shared);
    }
}
END_TEST

// What the field refused was written afterwards, because there is no field.
START_TEST(a_field_that_could_not_be_declared_is_not_there_after_kill_9)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct prng prng;
    int state = -1;
    uint64_t nth;
    prng_init(&prng, 1);
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    for (nth = 1; state != 0; nth++) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
            mem_fail_after(nth);
            const omen_status status = omen_field_index(shared, "city", OMEN_FIELD_INTEGER);
            mem_fail_after(0);
            if (status == OMEN_OK)
                _exit(0);
            upsert(&prng, nth, 1);
            (void)raise(SIGKILL);
        }
        ck_assert_int_eq(waitpid(child, &state, 0), child);
        ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
        ck_assert_int_eq(omen_contains(shared, nth), state != 0);
        if (state != 0)
            ck_assert_int_eq(omen_delete(shared, &nth, 1, NULL), OMEN_OK);
        omen_close(shared);
    }
    ck_assert_uint_gt(nth, 2);
}
END_TEST

// Leaves pages free in the file; returns its bytes.
static uint64_t
make_free_pages(struct kv *kv)
{
    struct omen_error error;
    struct kv_usage usage;
    const uint64_t key = 1000; // of no record
    for (int puts = 1; puts >= 0; puts--) {
        struct kv_txn *txn;
        void *room;
        ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_OK);
        if (puts != 0)
            ck_assert_int_eq(kv_put(txn, TABLE_META, key, FREED, &room, &error), OMEN_OK);
        else
            ck_assert_int_eq(kv_delete(txn, TABLE_META, key, &error), OMEN_OK);
        if (puts != 0)
            memset(room, 0, FREED);
        ck_assert_int_eq(kv_commit(txn, &error), OMEN_OK);
    }
    ck_assert_int_eq(kv_usage(kv, &usage, &error), OMEN_OK);
    ck_assert_uint_ge(usage.file_bytes, FREED);
    return usage.file_bytes;
}

static uint64_t
file_bytes(struct kv *kv)
{
    struct omen_error error;
    struct kv_usage usage;
    ck_assert_int_eq(kv_usage(kv, &usage, &error), OMEN_OK);
    return usage.file_bytes;
}

static void
check_points(const struct model_point *points, uint32_t count)
{
    uint64_t ids[PAD];
    omen_points_t found;
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    for (uint32_t i = 0; i < count; i++)
        ids[i] = i;
    ck_assert_int_eq(omen_get(shared, ids, count, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &found),
                     OMEN_OK);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t payload[MODEL_PAYLOAD_MAX];
        const size_t expected = model_payload(payload, points[i].age, points[i].city);
        size_t bytes;
        ck_assert_mem_eq(omen_points_vector(found, i), points[i].vector, sizeof points[i].vector);
        const void *is = omen_points_payload(found, i, &bytes);
        ck_assert_uint_eq(bytes, expected);
        ck_assert_mem_eq(is, payload, bytes);
    }
    omen_points_free(found);
}

// Where the small file could not be mapped, everything is read on from the maps of the old one, until the next is.
START_TEST(a_shrunk_file_that_could_not_be_mapped_is_shrunk_again)
{
    static struct model_point points[PAD];
    struct model_batch batch;
    omen_options options = OMEN_OPTIONS_INIT;
    struct prng prng;
    uint32_t unmapped = 0;
    omen_status status = OMEN_E_NO_MEMORY;
    prng_init(&prng, 8);
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.threads = 1;
    options.interval_ms = 3600 * 1000;
    for (uint32_t i = 0; i < PAD; i++) {
        model_draw(&prng, i, &points[i]);
        points[i].city = model_cities[i % 4];
    }
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
    model_batch_init(&batch, points, PAD);
    ck_assert_int_eq(omen_add(shared, &batch.batch), OMEN_OK);
    model_batch_fini(&batch);
    omen_close(shared);
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK); // now the file is mapped
    struct kv *kv = ((struct shard *)(void *)shared)->journal->kv;
    for (uint64_t nth = 1; status != OMEN_OK; nth += 1 + nth / 24) {
        const uint64_t before = make_free_pages(kv);
        mem_fail_after(nth);
        status = omen_compact(shared);
        mem_fail_after(0);
        check_points(points, PAD);
        if (status == OMEN_OK || file_bytes(kv) == before)
            continue;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        unmapped++;
        (void)make_free_pages(kv);
        ck_assert_msg(omen_compact(shared) == OMEN_OK, "%s", omen_error_message());
        ck_assert_uint_lt(file_bytes(kv), FREED);
        check_points(points, PAD);
    }
    ck_assert_uint_gt(unmapped, 3);
    omen_close(shared);
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
    check_points(points, PAD);
    omen_close(shared);
}
END_TEST

static void
open_memory(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct prng prng;
    prng_init(&prng, 4);
    options.dimension = MODEL_DIM;
    options.threads = 1;
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
    for (uint64_t id = 0; id < 4 * PAD; id += PAD)
        upsert(&prng, id, PAD);
}

static void
check_copy(const char *path)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t copy;
    uint64_t count;
    options.path = path;
    ck_assert_msg(omen_open(&options, &copy) == OMEN_OK, "%s", omen_error_message());
    ck_assert_int_eq(omen_count(copy, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, 4 * PAD);
    ck_assert_msg(omen_verify(copy) == OMEN_OK, "%s", omen_error_message());
    omen_close(copy);
}

// A folder that was there stays, empty.
START_TEST(a_copy_of_memory_that_fails_leaves_nothing)
{
    const char *path = folder_path(&folder, "copy");
    omen_status status = OMEN_E_NO_MEMORY;
    open_memory();
    if (_i == 1)
        ck_assert_int_eq(mkdir(path, 0777), 0);
    uint64_t nth = 1;
    for (; status != OMEN_OK; nth += 1 + nth / 8) {
        mem_fail_after(nth);
        status = omen_copy(shared, path);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        ck_assert_int_eq(access(path, F_OK), _i == 1 ? 0 : -1);
        if (_i == 1) {
            ck_assert_int_eq(rmdir(path), 0); // nothing is in it
            ck_assert_int_eq(mkdir(path, 0777), 0);
        }
    }
    ck_assert_uint_gt(nth, 10);
    check_copy(path);
    ck_assert_int_eq(omen_copy(shared, path), OMEN_E_EXISTS);
    omen_close(shared);
}
END_TEST

// The kernel kills it where the copy would grow beyond a limit.
START_TEST(a_copy_of_memory_that_is_killed_leaves_no_index)
{
    const char *path = folder_path(&folder, "copy");
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    uint32_t killed = 0;
    int state = -1;
    options.path = path;
    options.read_only = 1;
    for (rlim_t bytes = 16384; state != 0; bytes += bytes / 2) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
            const struct rlimit no_core = {0};
            (void)signal(SIGXFSZ, SIG_DFL);
            open_memory();
            if (setrlimit(RLIMIT_CORE, &no_core) != 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0)
                _exit(2);
            _exit(omen_copy(shared, path) == OMEN_OK ? 0 : 1);
        }
        ck_assert_int_eq(waitpid(child, &state, 0), child);
        if (state == 0)
            break;
        ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGXFSZ);
        ck_assert_int_eq(omen_open(&options, &index), OMEN_E_NOT_FOUND);
        killed++;
    }
    ck_assert_uint_gt(killed, 3);
    check_copy(path);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/shard_file");
    TCase *tcase = tcase_create("shard_file");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_file_that_is_made_small_beside_a_writer_loses_nothing, 0, 2);
    tcase_add_test(tcase, a_checkpoint_that_is_cut_leaves_no_part_of_a_write);
    tcase_add_test(tcase, slots_that_were_used_again_are_there_after_kill_9);
    tcase_add_test(tcase, a_field_that_could_not_be_declared_is_not_there_after_kill_9);
    tcase_add_test(tcase, a_shrunk_file_that_could_not_be_mapped_is_shrunk_again);
    tcase_add_loop_test(tcase, a_copy_of_memory_that_fails_leaves_nothing, 0, 2);
    tcase_add_test(tcase, a_copy_of_memory_that_is_killed_leaves_no_index);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
