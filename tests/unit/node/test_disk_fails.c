// tests/unit/node/test_disk_fails.c -- damaged bytes, a disk that fails, a disk that is full, no memory.
//
// Shape:  shell.
// Labels: tsan
#include "tests/lib/disk_found.h"

// ---- what fails ----

// As a page that the disk gives back changed.
static void
damage(struct cluster_uuid copy, uint32_t table, uint64_t number)
{
    struct kv_value value;
    void *room;
    static uint8_t bytes[LOGS_PART_BYTES];
    const uint32_t slot = (uint32_t)(logs_owner(disk_name(copy)) % LOGS_SLOTS);
    const uint64_t key = table == LOGS_ROWS ? slot : logs_key(slot, number);
    struct kv_txn *txn = hold();
    ok(kv_get(txn, table, key, &value, &error));
    const size_t count = value.count;
    memcpy(bytes, value.bytes, count);
    bytes[count - 1] ^= 1;
    ok(kv_put(txn, table, key, count, &room, &error));
    memcpy(room, bytes, count);
    ok(kv_commit(txn, &error));
}

START_TEST(a_damaged_copy_is_said_and_keeps_nobody_back)
{
    make(one);
    make(two);
    append_and_wait(one, 1, 3, 100);
    append_and_wait(two, 1, 3, 100);
    damage(one, LOGS_ENTRIES, 0);
    struct disk_entries entries;
    ck_assert_int_eq(disk_read(disk, one, 1, 3, 1000, &entries, &error), OMEN_E_CORRUPT);
    struct kv_txn *txn = hold();
    append(two, 4, 1, 100);
    cut_to(one, 2); // wants to know where entry 2 is
    disk_trim(disk, one, &(struct disk_trim){.through = 3, .ops_max = 1}, notes_loop);
    append(two, 5, 1, 100);
    kv_abort(txn);
    notes_wait(8);
    static const enum disk_done_kind kinds[] = {DISK_COPY_DONE, DISK_DAMAGED, DISK_DAMAGED,
                                                DISK_COPY_DONE};
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(notes[4 + i].kind, kinds[i]);
        ck_assert_uint_eq(notes[4 + i].copy.low, kinds[i] == DISK_DAMAGED ? 1 : 2);
    }
    ck_assert_uint_eq(disk_stats(disk).damaged, 2);
    check_read(two, 1, 10, 1000, 5, 5);
    start_copies(2);
    disk_drop(disk, one, notes_loop);
    notes_wait(9);
    ck_assert_int_eq(notes[8].kind, DISK_DROPPED);
    ck_assert_uint_eq(atomic_load(&fatals), 0);
}
END_TEST

static omen_status statuses[3];

static void
keep_status(void *context, const struct disk_copy *copy)
{
    (void)context;
    ck_assert_uint_eq(copy->durable.env.shard, 9);
    statuses[copy->durable.env.uuid.low] = copy->status;
}

START_TEST(a_start_tells_which_copy_cannot_be_read)
{
    make(one);
    make(two);
    append_and_wait(one, 1, 3, 100);
    append_and_wait(two, 1, 3, 100);
    damage(two, LOGS_ENTRIES, 0);
    restart();
    ok(disk_start_copies(disk, keep_status, NULL, &error));
    ck_assert_int_eq(statuses[1], OMEN_OK);
    ck_assert_int_eq(statuses[2], OMEN_E_CORRUPT);
}
END_TEST

START_TEST(damaged_metadata_end_the_process_and_nothing_is_said_after)
{
    struct turn_durable durable;
    found(NULL);
    make(one);
    damage(disk_uuid(disk_meta_name), LOGS_ROWS, 0);
    write_entry(1);
    fatal_wait();
    ck_assert_ptr_nonnull(strstr(fatal_sentence, "checksum"));
    append(one, 1, 1, 100);
    write_entry(2);
    ck_assert_int_eq(disk_start_meta(disk, &durable, &error), OMEN_E_CORRUPT);
    restart();
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
}
END_TEST

// Every write to the data file fails from now on.
static void
fail_disk(void)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint32_t failed = 0;
    ck_assert_int_ge(null, 0);
    for (int fd = 0; fd < 256; fd++) {
        char link[64], path[512];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(link, path, sizeof path - 1);
        if (length <= 0)
            continue;
        path[length] = '\0';
        if (strstr(path, "/log/data.mdb") == NULL)
            continue;
        ck_assert_int_eq(dup2(null, fd), fd);
        failed++;
    }
    ck_assert_uint_ge(failed, 1);
}

START_TEST(a_failed_disk_ends_the_process_once_and_nothing_is_said_after)
{
    make(one);
    fail_disk();
    append(one, 1, 1, 100);
    fatal_wait();
    append(one, 2, 1, 100);
    disk_drop(disk, one, notes_loop);
    disk_close(disk);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    disk = NULL;
}
END_TEST

START_TEST(no_memory_for_a_job_ends_the_process)
{
    static struct replica_output out;
    make(one);
    out = (struct replica_output){.ticket = 1, .promised = 3};
    mem_fail_after(1);
    disk_write_copy(disk, one, &out, notes_loop);
    mem_fail_after(0);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
    append(one, 1, 1, 100);
    disk_close(disk);
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    disk = NULL;
}
END_TEST

static void
limit_files(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

// No file grows beyond what the log's has.
static void
fill_disk(void)
{
    struct stat now_is;
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(stat(folder_path(&folder, "log/data.mdb"), &now_is), 0);
    limit_files((rlim_t)now_is.st_size);
}

static uint64_t
full_wait(uint64_t more_than)
{
    for (;;) { // a round comes every 200 ms
        const uint64_t full = disk_stats(disk).full;
        if (full > more_than)
            return full;
        sched_yield();
    }
}

// The limit of a file's size stands for the disk's.
START_TEST(a_full_disk_is_waited_for_and_nothing_is_said_meanwhile)
{
    make(one);
    make(two);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 16; i++, last += 16)
        append_and_wait(one, last + 1, 16, 60000);
    const uint32_t before = atomic_load(&note_count);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, 0);
    const uint64_t began_ns = os_clock_ns();
    fill_disk();
    append(two, 1, 64, 70000);
    append(two, 65, 64, 70000);
    const uint64_t full = full_wait(0);
    ck_assert_uint_eq(atomic_load(&note_count), before);
    ck_assert_uint_eq(disk_stats(disk).queued, 2);
    const uint64_t since_ns = disk_stats(disk).put_off_since_ns;
    ck_assert(since_ns >= began_ns && since_ns <= os_clock_ns());
    (void)full_wait(full);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, since_ns);
    check_read(two, 1, 200, (size_t)1 << 30, 128, 128); // as they will be
    limit_files(RLIM_INFINITY);
    notes_wait(before + 2);
    ck_assert_uint_eq(notes[before].number, 64);
    ck_assert_uint_eq(notes[before + 1].number, 128);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, 0);
    ck_assert_uint_eq(atomic_load(&fatals), 0);
    restart();
    check_read(two, 1, 200, (size_t)1 << 30, 128, 128);
}
END_TEST

START_TEST(on_a_full_disk_trims_go_first_and_make_room)
{
    make(one);
    make(two);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 32; i++, last += 16)
        append_and_wait(one, last + 1, 16, 60000);
    const uint32_t before = atomic_load(&note_count);
    fill_disk();
    append(two, 1, 64, 70000);
    (void)full_wait(0);
    disk_trim(disk, one, &(struct disk_trim){.through = last}, notes_loop);
    notes_wait(before + 2);
    ck_assert_int_eq(notes[before].kind, DISK_TRIMMED);
    ck_assert_int_eq(notes[before + 1].kind, DISK_COPY_DONE);
    check_read(two, 1, 100, (size_t)1 << 30, 64, 64);
}
END_TEST

static Suite *
node_disk_fails_suite(void)
{
    Suite *suite = suite_create("node/disk_fails");
    TCase *tcase = tcase_create("disk_fails");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_damaged_copy_is_said_and_keeps_nobody_back);
    tcase_add_test(tcase, a_start_tells_which_copy_cannot_be_read);
    tcase_add_test(tcase, damaged_metadata_end_the_process_and_nothing_is_said_after);
    tcase_add_test(tcase, a_failed_disk_ends_the_process_once_and_nothing_is_said_after);
    tcase_add_test(tcase, no_memory_for_a_job_ends_the_process);
    tcase_add_test(tcase, a_full_disk_is_waited_for_and_nothing_is_said_meanwhile);
    tcase_add_test(tcase, on_a_full_disk_trims_go_first_and_make_room);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_disk_fails_suite)
