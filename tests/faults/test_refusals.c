// tests/faults/test_refusals.c -- what stands in the way of opening is said so that one knows what to do, and stays as it was.
//
// Labels: faults
#include <errno.h>
#include <limits.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "tests/lib/check_main.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/file_copy.h"
#include "tests/lib/folder.h"
#include "tests/lib/small_disk.h"

static struct folder folder;
static struct fault_world *world;
static char path[320], data[400];
static long file_system; // what fstatfs says, where it is not 0

int
fstatfs(int fd, struct statfs *out)
{
    char name[64];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    const int failed = statfs(name, out);
    if (failed == 0 && file_system != 0)
        out->f_type = (__typeof__(out->f_type))file_system;
    return failed;
}

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    world = malloc(sizeof *world);
    fault_world_init(world, path, 2);
    file_system = 0;
}

static void
teardown(void)
{
    free(world);
    folder_fini(&folder);
}

// The error's text names `part`.
static void
check_refused(omen_status status, omen_status expected, const char *part)
{
    ck_assert_msg(status == expected && strstr(omen_error_message(), part) != NULL,
                  "%d, not %d; \"%s\" lacks \"%s\"", status, expected, omen_error_message(), part);
}

static void
make_store(void)
{
    must(fault_world_open(world));
    must(fault_step(world, FAULT_FIRST));
    must(fault_step(world, FAULT_CHECKPOINT));
    must(fault_step(world, FAULT_UPSERT));
    omen_close(world->index);
}

static omen_status
open_as(int read_only)
{
    world->options.read_only = read_only;
    return fault_world_open(world);
}

static void
check_as_before(void)
{
    must(open_as(0));
    ck_assert(fault_holds(world->index, &world->now));
    must(omen_verify(world->index));
    omen_close(world->index);
}

START_TEST(a_read_only_file_system_can_be_read_and_says_so_to_writers)
{
    char mounted[320];
    struct file_bytes file;
    make_store();
    file = file_read(data);
    (void)snprintf(mounted, sizeof mounted, "%s", folder_path(&folder, "mounted"));
    ck_assert_int_eq(mkdir(mounted, 0777), 0);
    if (!small_disk_mount(mounted, "size=64m"))
        return;
    (void)snprintf(path, sizeof path, "%.300s/shard", mounted);
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    file_write(data, &file);
    free(file.bytes);
    ck_assert(small_disk_read_only(mounted));
    check_refused(open_as(0), OMEN_E_READ_ONLY, "Read-only file system");
    must(open_as(1));
    ck_assert(fault_holds(world->index, &world->now));
    fault_check_search(world->index, &world->now, &world->prng);
    omen_close(world->index);
    (void)snprintf(path, sizeof path, "%.300s/other", mounted);
    check_refused(open_as(0), OMEN_E_READ_ONLY, "Read-only file system");
    ck_assert_int_eq(umount(mounted), 0);
}
END_TEST

START_TEST(a_network_file_system_is_refused_by_name)
{
    static const struct {
        long type;
        const char *name;
    } systems[] = {{0x6969, "NFS"}, {0xFF534D42, "CIFS"}, {0x01021997, "9P"}};
    make_store();
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        file_system = systems[i].type;
        for (int read_only = 0; read_only <= 1; read_only++)
            check_refused(open_as(read_only), OMEN_E_UNSUPPORTED, systems[i].name);
    }
    file_system = 0;
    check_as_before();
}
END_TEST

START_TEST(data_that_is_a_directory_is_refused)
{
    ck_assert_int_eq(mkdir(path, 0777), 0);
    ck_assert_int_eq(mkdir(data, 0777), 0);
    for (int read_only = 0; read_only <= 1; read_only++)
        check_refused(open_as(read_only), OMEN_E_INVALID, "data.mdb");
}
END_TEST

START_TEST(a_file_that_was_cut_is_refused_and_never_made_anew)
{
    make_store();
    struct file_bytes file = file_read(data);
    uint32_t refused = 0;
    for (size_t count = 0; count < file.count;
         count += count < 3 * 4096 ? 512 : file.count / 9 / 512 * 512) {
        ck_assert_int_eq(truncate(data, (off_t)count), 0);
        for (int read_only = 1; read_only >= 0; read_only--) {
            const omen_status status = open_as(read_only);
            if (status == OMEN_OK) { // only pages that nobody uses were cut off
                ck_assert(fault_holds(world->index, &world->now));
                must(omen_verify(world->index));
                omen_close(world->index);
                continue;
            }
            ck_assert_msg(status == OMEN_E_CORRUPT || status == OMEN_E_INVALID ||
                              (status == OMEN_E_NOT_FOUND && count == 0 && read_only != 0),
                          "%zu bytes: %d", count, status);
            ck_assert_ptr_nonnull(strstr(omen_error_message(), "data.mdb"));
            refused++;
        }
        file_write(data, &file);
    }
    free(file.bytes);
    ck_assert_uint_gt(refused, 40);
    check_as_before();
}
END_TEST

START_TEST(a_second_writer_in_another_process_is_refused)
{
    make_store();
    must(open_as(0));
    const pid_t child = fork();
    if (child == 0) {
        omen_index_t index;
        const omen_status status = omen_open(&world->options, &index);
        _exit(status == OMEN_E_LOCKED && strstr(omen_error_message(), "another process") != NULL
                  ? 0
                  : 1);
    }
    int ended;
    ck_assert_int_eq(waitpid(child, &ended, 0), child);
    ck_assert(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    must(fault_step(world, FAULT_UPSERT));
    omen_close(world->index);
    check_as_before();
}
END_TEST

// A path may be longer than an error's text: then its middle is left out, not the reason.
START_TEST(a_long_path_does_not_hide_the_reason)
{
    char deep[2048];
    int length = snprintf(deep, sizeof deep, "%s", folder.path);
    for (int i = 0; i < 4; i++) {
        length += snprintf(deep + length, sizeof deep - (size_t)length, "/%0200d", i);
        ck_assert_int_eq(mkdir(deep, 0777), 0);
    }
    world->options.path = deep;
    check_refused(open_as(1), OMEN_E_NOT_FOUND, "no data.mdb is there");
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "003: "));
    file_system = 0x6969;
    check_refused(open_as(0), OMEN_E_UNSUPPORTED, "NFS");
    file_system = 0;
    (void)snprintf(deep + length, sizeof deep - (size_t)length, "/no/such");
    check_refused(open_as(0), OMEN_E_INVALID, "No such file or directory");
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/refusals");
    TCase *tcase = tcase_create("refusals");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_read_only_file_system_can_be_read_and_says_so_to_writers);
    tcase_add_test(tcase, a_network_file_system_is_refused_by_name);
    tcase_add_test(tcase, data_that_is_a_directory_is_refused);
    tcase_add_test(tcase, a_file_that_was_cut_is_refused_and_never_made_anew);
    tcase_add_test(tcase, a_second_writer_in_another_process_is_refused);
    tcase_add_test(tcase, a_long_path_does_not_hide_the_reason);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
