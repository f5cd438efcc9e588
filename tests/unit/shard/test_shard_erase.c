// tests/unit/shard/test_shard_erase.c -- deletes of more points than one entry of the log has.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_fixture.h"

#define PART (1u << 20) // as omen_delete_where promises
#define MORE 5u
#define BATCH (1u << 16)

static struct folder folder;

static void
setup_folder(void)
{
    folder_init(&folder);
}

static void
teardown_folder(void)
{
    folder_fini(&folder);
}

static omen_options
options_of_many(void)
{
    omen_options options = options_of(OMEN_L2, OMEN_U8);
    options.path = folder_path(&folder, "shard");
    options.dimension = 1;
    options.algorithm = OMEN_FLAT;
    return options;
}

static void
add_many(void)
{
    static uint8_t vectors[BATCH];
    omen_batch batch = OMEN_BATCH_INIT;
    batch.vectors = vectors;
    batch.dtype = OMEN_U8;
    for (uint32_t added = 0; added < PART + MORE; added += (uint32_t)batch.count) {
        batch.count = PART + MORE - added < BATCH ? PART + MORE - added : BATCH;
        ck_assert_msg(omen_add(index_of, &batch) == OMEN_OK, "%s", omen_error_message());
    }
}

// The n-th allocation fails, for growing n, until the first part has gone and the second is stuck.
START_TEST(delete_where_of_many_goes_in_durable_parts_and_says_how_far_it_came)
{
    const omen_options options = options_of_many();
    int state;
    open_index(&options);
    add_many();
    omen_close(index_of);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        size_t deleted = 0;
        open_index(&options);
        for (uint64_t nth = 1; deleted == 0; nth++) {
            mem_fail_after(nth);
            const omen_status status = omen_delete_where(index_of, "not age = 1", &deleted);
            mem_fail_after(0);
            ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
            ck_assert_uint_eq(count_of(index_of), PART + MORE - deleted);
        }
        ck_assert_uint_eq(deleted, PART);
        (void)raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    size_t deleted;
    open_index(&options);
    ck_assert_uint_eq(count_of(index_of), MORE);
    for (uint64_t id = PART; id < PART + MORE; id++)
        ck_assert_int_eq(omen_contains(index_of, id), 1);
    ck_assert_int_eq(omen_delete_where(index_of, "not age = 1", &deleted), OMEN_OK);
    ck_assert_uint_eq(deleted, MORE);
    ck_assert_uint_eq(count_of(index_of), 0);
    omen_close(index_of);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/shard_erase");
    TCase *tcase = tcase_create("shard_erase");
    tcase_add_checked_fixture(tcase, setup_folder, teardown_folder);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, delete_where_of_many_goes_in_durable_parts_and_says_how_far_it_came);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
