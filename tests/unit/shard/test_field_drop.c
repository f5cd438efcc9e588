// tests/unit/shard/test_field_drop.c -- an index that is given up is gone, in memory, in a file and in every copy, and its filters answer as before.
//
// Labels: tsan
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/limits.h"
#include "include/omendb.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define DIM 2u
#define ROWS 300u

static struct folder folder;
static omen_index_t index_of;

static void
setup(void)
{
    folder_init(&folder);
}

static void
teardown(void)
{
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}

static void
open_index(const char *path, bool read_only)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.path = path;
    options.read_only = read_only;
    ck_assert_msg(omen_open(&options, &index_of) == OMEN_OK, "%s", omen_error_message());
}

// Row `id` has n: id, as a number or as a text.
static omen_status
upsert(uint64_t id, bool text)
{
    const float vector[DIM] = {1, (float)id};
    uint8_t payload[8] = {0x81, 0xa1, 'n', 0xcd, (uint8_t)(id >> 8), (uint8_t)id};
    size_t bytes = 6;
    if (text) {
        payload[3] = 0xa2;
        payload[4] = 'x';
        payload[5] = (uint8_t)('a' + id % 26);
    }
    const void *payloads = payload;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = 1;
    batch.ids = &id;
    batch.vectors = vector;
    batch.payloads = &payloads;
    batch.payload_bytes = &bytes;
    return omen_upsert(index_of, &batch);
}

static void
fill(void)
{
    for (uint64_t id = 0; id < ROWS; id++)
        ck_assert_msg(upsert(id, false) == OMEN_OK, "%s", omen_error_message());
}

static uint64_t
count_of(const char *filter)
{
    uint64_t count = 0;
    ck_assert_msg(omen_count(index_of, filter, &count) == OMEN_OK, "%s", omen_error_message());
    return count;
}

// Whether a search by it had to look into payloads.
static bool
is_scanned(const char *filter)
{
    const float query[DIM] = {1, 7};
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report = {0};
    uint64_t id;
    float distance;
    uint32_t found;
    options.k = 1;
    options.filter = filter;
    options.report = &report;
    ck_assert_msg(omen_query(index_of, query, &options, &id, &distance, &found) == OMEN_OK, "%s",
                  omen_error_message());
    return (report.warnings & OMEN_WARN_UNINDEXED_FIELD) != 0;
}

START_TEST(what_is_given_up_answers_as_before_and_takes_any_value)
{
    open_index(NULL, false);
    fill();
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_INTEGER), OMEN_OK);
    ck_assert_uint_eq(count_of("n >= 100"), ROWS - 100);
    ck_assert(!is_scanned("n >= 100"));
    ck_assert_int_eq(upsert(1, true), OMEN_E_FIELD_TYPE);
    ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_OK);
    ck_assert_uint_eq(count_of("n >= 100"), ROWS - 100);
    ck_assert(is_scanned("n >= 100"));
    ck_assert_int_eq(upsert(1, true), OMEN_OK);
    ck_assert_uint_eq(count_of("n == \"xb\""), 1);
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_INTEGER), OMEN_E_FIELD_TYPE);
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_KEYWORD), OMEN_E_FIELD_TYPE);
}
END_TEST

START_TEST(what_has_no_index_cannot_be_given_up)
{
    char long_name[FIELD_NAME_BYTES_MAX + 2] = {0};
    open_index(NULL, false);
    ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_E_NOT_FOUND);
    ck_assert_str_eq(omen_error_message(), "field \"n\" has no index");
    memset(long_name, 'x', FIELD_NAME_BYTES_MAX);
    ck_assert_int_eq(omen_field_drop(index_of, long_name), OMEN_E_NOT_FOUND);
    long_name[FIELD_NAME_BYTES_MAX] = 'x';
    ck_assert_int_eq(omen_field_drop(index_of, long_name), OMEN_E_INVALID);
    ck_assert_int_eq(omen_field_drop(index_of, NULL), OMEN_E_INVALID);
    ck_assert_int_eq(omen_field_drop(NULL, "n"), OMEN_E_INVALID);
    omen_close(index_of);
    const char *path = folder_path(&folder, "shard");
    open_index(path, false);
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_BOOL), OMEN_OK);
    omen_close(index_of);
    open_index(path, true);
    ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_E_READ_ONLY);
}
END_TEST

START_TEST(as_many_as_there_may_be_can_be_made_again_and_again)
{
    open_index(NULL, false);
    fill();
    for (uint32_t round = 0; round < 3; round++) {
        char name[16];
        for (uint32_t i = 0; i < FIELDS_MAX; i++) {
            (void)snprintf(name, sizeof name, "f%u", i);
            ck_assert_int_eq(omen_field_index(index_of, name, OMEN_FIELD_INTEGER), OMEN_OK);
        }
        ck_assert_int_eq(omen_field_index(index_of, "one", OMEN_FIELD_INTEGER), OMEN_E_FULL);
        for (uint32_t i = 0; i < FIELDS_MAX; i++) {
            (void)snprintf(name, sizeof name, "f%u", (i * 7 + round) % FIELDS_MAX);
            ck_assert_int_eq(omen_field_drop(index_of, name), OMEN_OK);
        }
    }
}
END_TEST

// In a child that kills itself, so that the log has to bring back what it did.
static void
in_a_child(const char *path, void (*act)(void))
{
    int state;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        open_index(path, false);
        act();
        (void)raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
}

static void
declare_and_fill(void)
{
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_INTEGER), OMEN_OK);
    ck_assert_int_eq(omen_field_index(index_of, "m", OMEN_FIELD_BOOL), OMEN_OK);
    fill();
    ck_assert_int_eq(omen_flush(index_of), OMEN_OK); // a checkpoint, with the index
}

static void
drop_and_write_texts(void)
{
    ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_OK);
    for (uint64_t id = 0; id < ROWS; id++)
        ck_assert_msg(upsert(id, true) == OMEN_OK, "%s", omen_error_message());
}

static void
declare_again(void)
{
    ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_KEYWORD), OMEN_OK);
}

START_TEST(what_was_given_up_is_not_there_after_kill_9)
{
    const char *path = folder_path(&folder, "shard");
    in_a_child(path, declare_and_fill);
    in_a_child(path, drop_and_write_texts);
    in_a_child(path, declare_again);
    for (uint32_t round = 0; round < 2; round++) {
        open_index(path, false);
        ck_assert(!is_scanned("n == \"xb\""));
        ck_assert_uint_eq(count_of("n == \"xb\""), (ROWS + 24) / 26);
        ck_assert(!is_scanned("m == true"));
        ck_assert_msg(omen_verify(index_of) == OMEN_OK, "%s", omen_error_message());
        ck_assert_int_eq(omen_flush(index_of), OMEN_OK);
        omen_close(index_of);
    }
    in_a_child(path, drop_and_write_texts);
    open_index(path, false);
    ck_assert(is_scanned("n == \"xb\""));
    ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_E_NOT_FOUND);
}
END_TEST

// As the follower of another process, whose readers go on.
START_TEST(a_reader_of_the_file_loses_it_too)
{
    const char *path = folder_path(&folder, "shard");
    int ask[2], answer[2], state;
    char byte = 'x';
    ck_assert(pipe(ask) == 0 && pipe(answer) == 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        open_index(path, false);
        declare_and_fill();
        ck_assert_int_eq(write(answer[1], &byte, 1), 1);
        ck_assert_int_eq(read(ask[0], &byte, 1), 1);
        drop_and_write_texts();
        ck_assert_int_eq(write(answer[1], &byte, 1), 1);
        ck_assert_int_eq(read(ask[0], &byte, 1), 1);
        omen_close(index_of);
        _exit(0);
    }
    ck_assert_int_eq(read(answer[0], &byte, 1), 1);
    open_index(path, true);
    ck_assert(!is_scanned("n >= 100"));
    ck_assert_uint_eq(count_of("n >= 100"), ROWS - 100);
    ck_assert_int_eq(write(ask[1], &byte, 1), 1);
    ck_assert_int_eq(read(answer[0], &byte, 1), 1);
    ck_assert_uint_eq(count_of("n >= 100"), 0);
    ck_assert_uint_eq(count_of("n == \"xb\""), (ROWS + 24) / 26);
    ck_assert(is_scanned("n >= 100"));
    ck_assert_int_eq(write(ask[1], &byte, 1), 1);
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert_int_eq(state, 0);
}
END_TEST

// ---- beside readers ----

struct stage {
    _Atomic int stop;
    _Atomic uint64_t rounds;
};

static void *
read_always(void *argument)
{
    struct stage *stage = argument;
    while (atomic_load(&stage->stop) == 0) {
        // The second condition has no index, so the lock is given back between the two.
        ck_assert_uint_eq(count_of("n >= 100 and not m == 1"), ROWS - 100);
        ck_assert_uint_eq(count_of("n < 100"), 100);
        atomic_fetch_add(&stage->rounds, 1);
    }
    return NULL;
}

START_TEST(readers_beside_an_index_that_comes_and_goes_are_answered_alike)
{
    struct stage stage = {0};
    pthread_t threads[2];
    open_index(folder_path(&folder, "shard"), false);
    fill();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_always, &stage), 0);
    for (uint32_t round = 0; round < 60 || atomic_load(&stage.rounds) < 20; round++) {
        ck_assert_int_eq(omen_field_index(index_of, "n", OMEN_FIELD_INTEGER), OMEN_OK);
        ck_assert_int_eq(upsert(round % ROWS, false), OMEN_OK);
        ck_assert_int_eq(omen_field_drop(index_of, "n"), OMEN_OK);
        ck_assert_int_eq(upsert(round % ROWS, false), OMEN_OK);
    }
    atomic_store(&stage.stop, 1);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("field_drop");
    TCase *tcase = tcase_create("field_drop");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_given_up_answers_as_before_and_takes_any_value);
    tcase_add_test(tcase, what_has_no_index_cannot_be_given_up);
    tcase_add_test(tcase, as_many_as_there_may_be_can_be_made_again_and_again);
    tcase_add_test(tcase, what_was_given_up_is_not_there_after_kill_9);
    tcase_add_test(tcase, a_reader_of_the_file_loses_it_too);
    tcase_add_test(tcase, readers_beside_an_index_that_comes_and_goes_are_answered_alike);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
