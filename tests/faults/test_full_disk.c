// tests/faults/test_full_disk.c -- a file system that is really full: a clear error, nothing lost, and all works again when
// there is space.
//
// Labels: faults
//
// A tmpfs of a few MiB of the test's own, and a file of ballast on it, whose end is the space that comes back.
#include <errno.h>

#include "tests/lib/check_main.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/folder.h"
#include "tests/lib/small_disk.h"

#define FIRST_WRITES 12u

static struct folder folder;
static struct fault_world *world;
static char path[320], copy[320], ballast[320];

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(copy, sizeof copy, "%s", folder_path(&folder, "copy"));
    (void)snprintf(ballast, sizeof ballast, "%s", folder_path(&folder, "ballast"));
    world = malloc(sizeof *world);
    fault_world_init(world, path, 11);
}

static void
teardown(void)
{
    free(world);
    folder_fini(&folder);
}

static void
check_full(omen_status status, const char *what)
{
    ck_assert_msg(status == OMEN_E_DISK_FULL, "%s: %d %s", what, status, omen_error_message());
    ck_assert_uint_gt(strlen(omen_error_message()), 0);
}

// Takes all space but about `left` bytes.
static void
fill_disk(size_t left)
{
    static char zeros[4096];
    const int fd = open(ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    off_t bytes = 0;
    ck_assert_int_ge(fd, 0);
    while (write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros)
        bytes += (off_t)sizeof zeros;
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(ftruncate(fd, bytes > (off_t)left ? bytes - (off_t)left : 0), 0);
    (void)close(fd);
}

static void
empty_disk(void)
{
    ck_assert_int_eq(unlink(ballast), 0);
}

static bool
begin(void)
{
    if (!small_disk_mount(folder.path, "size=24m"))
        return false;
    must(fault_world_open(world));
    must(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER));
    must(fault_step(world, FAULT_FIRST));
    for (uint32_t i = 0; i < FIRST_WRITES; i++)
        must(fault_step(world, FAULT_UPSERT));
    return true;
}

// Everything that was acknowledged is there, in the handle.
static void
check_reads(void)
{
    ck_assert(fault_holds(world->index, &world->now));
    fault_check_search(world->index, &world->now, &world->prng);
    must(omen_verify(world->index));
}

static void
check_works_again(void)
{
    world->next = world->now;
    must(fault_step(world, FAULT_UPSERT));
    must(fault_step(world, FAULT_DELETE));
    must(fault_step(world, FAULT_CHECKPOINT));
    must(fault_step(world, FAULT_COMPACT));
    check_reads();
    must(fault_step(world, FAULT_REOPEN));
    check_reads();
    must(omen_copy(world->index, copy));
    omen_close(world->index);
}

static void
end(void)
{
    ck_assert_int_eq(umount(folder.path), 0);
}

START_TEST(a_write_without_space_is_refused_and_nothing_is_lost)
{
    if (!begin())
        return;
    fill_disk(64 << 10);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < 2000 && status == OMEN_OK; i++)
        status = fault_step(world, i % 3 == 2 ? FAULT_PAYLOADS : FAULT_UPSERT);
    check_full(status, "writing");
    check_reads();
    for (uint32_t i = 0; i < 3; i++) {
        world->next = world->now;
        status = fault_step(world, FAULT_UPSERT);
        ck_assert(status == OMEN_OK || status == OMEN_E_DISK_FULL);
    }
    check_reads();
    if (_i == 0) { // closed while full
        omen_close(world->index);
        world->options.read_only = 1;
        must(fault_world_open(world));
        check_reads();
        omen_close(world->index);
        world->options.read_only = 0;
        empty_disk();
        must(fault_world_open(world));
    } else {
        empty_disk();
    }
    check_works_again();
    end();
}
END_TEST

START_TEST(a_checkpoint_a_compaction_and_a_copy_without_space_leave_all_as_it_was)
{
    uint32_t full = 0;
    if (!begin())
        return;
    must(fault_step(world, FAULT_DELETE));
    fill_disk((size_t)_i * 4096);
    const enum fault_op ops[] = {FAULT_CHECKPOINT, FAULT_COMPACT}; // there may be free pages
    for (size_t i = 0; i < 2; i++) {
        const omen_status status = fault_step(world, ops[i]);
        if (status != OMEN_OK)
            check_full(status, "checkpoint or compaction");
        full += status != OMEN_OK;
        world->next = world->now;
        check_reads();
    }
    check_full(omen_copy(world->index, copy), "copy");
    ck_assert_int_ne(access(copy, F_OK), 0);
    check_reads();
    omen_close(world->index);
    ck_assert(full > 0 || _i > 0);
    must(fault_world_open(world)); // with the log that it has: it needs no space
    check_reads();
    empty_disk();
    check_works_again();
    end();
}
END_TEST

START_TEST(a_store_that_finds_no_space_to_be_made_leaves_nothing)
{
    if (!small_disk_mount(folder.path, "size=1m"))
        return;
    fill_disk((size_t)_i * 4096);
    const omen_status status = fault_world_open(world);
    ck_assert_msg(status == OMEN_OK || status == OMEN_E_DISK_FULL, "%d: %s", status,
                  omen_error_message());
    ck_assert(_i > 0 || status == OMEN_E_DISK_FULL);
    omen_close(world->index);
    world->index = NULL;
    empty_disk();
    must(fault_world_open(world));
    must(fault_step(world, FAULT_ADD));
    check_reads();
    omen_close(world->index);
    end();
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/full_disk");
    TCase *tcase = tcase_create("full");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, a_write_without_space_is_refused_and_nothing_is_lost, 0, 2);
    tcase_add_loop_test(
        tcase, a_checkpoint_a_compaction_and_a_copy_without_space_leave_all_as_it_was, 0, 8);
    tcase_add_loop_test(tcase, a_store_that_finds_no_space_to_be_made_leaves_nothing, 0, 48);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
