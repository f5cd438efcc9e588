// tests/faults/test_failing_disk.c -- the n-th write or sync fails, for every n: an error, and nothing acknowledged is lost.
//
// Labels: faults
//
// OMEN_FAULTS=2 is thorough; else some that are alike are left out.
#include <errno.h>

#include "tests/lib/check_main.h"
#include "tests/lib/disk.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/folder.h"

static const enum fault_op story[] = {
    FAULT_ADD,    FAULT_FIRST,    FAULT_UPSERT, FAULT_CHECKPOINT,
    FAULT_DELETE, FAULT_PAYLOADS, FAULT_UPSERT, FAULT_COMPACT,
    FAULT_ADD,    FAULT_REOPEN,   FAULT_UPSERT, FAULT_CHECKPOINT_GROWN,
};
#define STORY ((int)(sizeof story / sizeof story[0]))

static struct folder folder;
static char path[320], image[320];
static struct fault_world *world;

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(image, sizeof image, "%s", folder_path(&folder, "image"));
    world = malloc(sizeof *world);
}

static void
teardown(void)
{
    disk_watch(NULL);
    free(world);
    folder_fini(&folder);
}

static void
make_folder(void)
{
    folder_fini(&folder);
    ck_assert_int_eq(mkdir(folder.path, 0777), 0);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    ck_assert_int_eq(mkdir(image, 0777), 0);
    fault_world_init(world, path, 1);
    disk_watch(path);
}

// A step of the story. A graph is dear: CI makes one for every fourth n.
static enum fault_op
step_of(int i, uint64_t n)
{
    return story[i] == FAULT_FIRST && n % 4 != 0 && faults_more() == 1 ? FAULT_ADD : story[i];
}

// What is there once the disk is well: what was acknowledged, and what was not, whole or not at all.
static void
check_reopened(const char *where, uint64_t n)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = where;
    options.dimension = MODEL_DIM;
    options.threads = 1;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "n %d: %s", (int)n, omen_error_message());
    ck_assert_msg(fault_holds(index, &world->now) || fault_holds(index, &world->next),
                  "n %d: %s holds something else", (int)n, where);
    ck_assert_msg(omen_verify(index) == OMEN_OK, "n %d: %s", (int)n, omen_error_message());
    omen_close(index);
}

// Reads go on; every write is refused from now on, after one that may be on the disk or not.
static void
check_poisoned(uint64_t n)
{
    const struct model next = world->next;
    static const enum fault_op op[] = {FAULT_UPSERT, FAULT_CHECKPOINT, FAULT_COMPACT, FAULT_ADD};
    for (int i = 0; i < 4; i++) {
        world->next = world->now;
        const omen_status status = fault_step(world, op[i]);
        ck_assert_msg(status == OMEN_E_IO, "n %d: write %d after an error: %d", (int)n, i, status);
        ck_assert_uint_gt(strlen(omen_error_message()), 0);
    }
    world->next = next;
    ck_assert_msg(fault_holds(world->index, &world->now), "n %d", (int)n);
    fault_check_search(world->index, &world->now, &world->prng);
}

// Where compaction failed at its new file, the old one was not touched: it is written to as before. Else false.
static bool
check_untouched(uint64_t n)
{
    world->next = world->now;
    if (fault_step(world, FAULT_UPSERT) != OMEN_OK)
        return false;
    ck_assert_msg(fault_step(world, FAULT_CHECKPOINT) == OMEN_OK, "n %d: %s", (int)n,
                  omen_error_message());
    ck_assert_msg(fault_step(world, FAULT_COMPACT) == OMEN_OK, "n %d: %s", (int)n,
                  omen_error_message());
    ck_assert_msg(fault_holds(world->index, &world->now), "n %d", (int)n);
    return true;
}

// What the disk has lost of what was never synced, it has lost; the rest must do.
static void
check_disk(uint64_t n)
{
    const size_t count = disk_count();
    disk_fail(0, DISK_ALL, 0);
    disk_watch(NULL);
    disk_crash(image, count, DISK_KEEPS_SYNCED, n);
    check_reopened(image, n);
    disk_crash(image, count, DISK_KEEPS_SECTORS, n);
    check_reopened(image, n);
    check_reopened(path, n);
}

// Runs the story with the n-th failing; true when it did not need as many.
static bool
run_with_error(uint64_t n, enum disk_calls calls, int code)
{
    make_folder();
    disk_fail(n, calls, code);
    omen_status status = fault_world_open(world);
    for (int i = 0; i < STORY && status == OMEN_OK; i++) {
        status = fault_step(world, step_of(i, n));
        if (status != OMEN_OK && world->index != NULL &&
            (story[i] != FAULT_COMPACT || !check_untouched(n)))
            check_poisoned(n);
    }
    const bool enough = disk_failed() == 0;
    const bool refused = status == OMEN_E_IO || (status == OMEN_E_DISK_FULL && code == ENOSPC);
    ck_assert_msg(status == OMEN_OK || (refused && !enough), "n %d: %d %s", (int)n, status,
                  omen_error_message());
    omen_close(world->index);
    check_disk(n);
    return enough;
}

START_TEST(an_error_ends_writing_and_loses_nothing)
{
    uint64_t n = 1;
    while (!run_with_error(n, DISK_ALL, EIO))
        ck_assert_uint_lt(++n, 5000);
    printf("%d writes and syncs failed\n", (int)n - 1);
}
END_TEST

// Some file systems write a new place each time, and may have none for what LMDB overwrites: its head. It gives up then.
START_TEST(a_head_that_finds_no_space_ends_writing_and_loses_nothing)
{
    uint64_t n = 1;
    while (!run_with_error(n, DISK_IN_PLACE, ENOSPC))
        ck_assert_uint_lt(++n, 5000);
    printf("%d heads found no space\n", (int)n - 1);
}
END_TEST

// There was no space for a moment: the same operation works then.
static bool
run_with_full_disk(uint64_t n)
{
    make_folder();
    disk_fail(n, DISK_NOT_IN_PLACE, ENOSPC);
    omen_status status = fault_world_open(world);
    if (status != OMEN_OK) {
        ck_assert_msg(status == OMEN_E_DISK_FULL, "n %d: %d %s", (int)n, status,
                      omen_error_message());
        ck_assert_int_eq(fault_world_open(world), OMEN_OK);
    }
    for (int i = 0; i < STORY; i++) {
        status = fault_step(world, step_of(i, n));
        if (status == OMEN_OK)
            continue;
        ck_assert_msg(status == OMEN_E_DISK_FULL, "n %d: step %d: %d %s", (int)n, i, status,
                      omen_error_message());
        if (world->index == NULL)
            ck_assert_msg(fault_world_open(world) == OMEN_OK, "%s", omen_error_message());
        ck_assert_msg(fault_holds(world->index, &world->now), "n %d: step %d", (int)n, i);
        world->next = world->now;
        ck_assert_msg(fault_step(world, story[i] == FAULT_FIRST ? FAULT_ADD : story[i]) == OMEN_OK,
                      "n %d: step %d: %s", (int)n, i, omen_error_message());
    }
    const bool enough = disk_failed() == 0;
    omen_close(world->index);
    check_disk(n);
    return enough;
}

START_TEST(a_full_disk_is_an_error_and_what_comes_after_works)
{
    uint64_t n = 1;
    while (!run_with_full_disk(n)) {
        n += faults_more() == 1 ? 3 : 1;
        ck_assert_uint_lt(n, 5000);
    }
    printf("up to %d writes and syncs found no space\n", (int)n - 1);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/failing_disk");
    TCase *tcase = tcase_create("failing");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, an_error_ends_writing_and_loses_nothing);
    tcase_add_test(tcase, a_head_that_finds_no_space_ends_writing_and_loses_nothing);
    tcase_add_test(tcase, a_full_disk_is_an_error_and_what_comes_after_works);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
