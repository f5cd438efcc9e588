// tests/unit/storage/test_kv_lmdb.c -- what only a real file has: other processes, full disks, growth, shrinking.
//
// Halves: kv_lmdb
#include "tests/lib/kv_file.h"

START_TEST(second_process_cannot_write_and_can_read)
{
    const pid_t pid = start(write_and_wait);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_LOCKED);
    ck_assert_ptr_nonnull(strstr(error.text, "another process"));
    ck_assert_int_eq(try_open(KV_EXISTING, &error), OMEN_E_LOCKED);
    struct kv *kv = store_open(KV_READ);
    check_one(kv, 1, 5000);
    kv_close(kv);
    end(pid, SIGKILL);
}
END_TEST

START_TEST(killed_writer_leaves_no_lock_and_what_it_committed)
{
    end(start(write_and_wait), SIGKILL);
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_read(kv);
    struct kv_value value;
    store_check_value(txn, TABLE_BLOCKS, 1, 5000);
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, 2, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(txn);
    put_one(kv, 2, 100); // its place in LMDB's own lock is free, too
    kv_close(kv);
}
END_TEST

static void
read_and_wait(void)
{
    struct kv *kv = store_open(KV_READ);
    struct kv_txn *txn = store_begin_read(kv);
    store_check_value(txn, TABLE_BLOCKS, 1, 100000);
    say_ready();
    pause();
}

START_TEST(killed_reader_does_not_hold_pages_back)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 100000);
    kv_close(kv);
    end(start(read_and_wait), SIGKILL);
    kv = store_open(KV_WRITE);
    for (uint32_t i = 0; i < 100; i++)
        put_one(kv, 1, 100000 + i);
    struct kv_usage usage;
    ck_assert_int_eq(kv_usage(kv, &usage, NULL), OMEN_OK);
    ck_assert_uint_lt(usage.file_bytes, 2 << 20);
    kv_close(kv);
}
END_TEST

static struct kv *inherited;

static void
use_inherited(void)
{
    struct kv_txn *txn;
    struct omen_error error;
    ck_assert_int_eq(kv_begin_read(inherited, &txn, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "fork"));
    ck_assert_int_eq(kv_begin_write(inherited, &txn, NULL), OMEN_E_INVALID);
    ck_assert_int_eq(kv_shrink(inherited, NULL), OMEN_E_INVALID);
    ck_assert_int_eq(kv_copy(inherited, store_root, NULL), OMEN_E_INVALID);
    kv_close(inherited);
    struct kv *own = store_open(KV_READ);
    check_one(own, 1, 5000);
    kv_close(own);
    say_ready();
}

START_TEST(child_after_fork_must_open_for_itself)
{
    inherited = store_open(KV_WRITE);
    put_one(inherited, 1, 5000);
    struct kv_txn *txn = store_begin_read(inherited);
    end(start(use_inherited), 0);
    store_check_value(txn, TABLE_BLOCKS, 1, 5000);
    kv_abort(txn);
    put_one(inherited, 2, 5000);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_LOCKED);
    kv_close(inherited);
}
END_TEST

// A writer that lets the map grow while a reader holds a transaction and begins others.
static void
grow_from_outside(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    for (uint64_t i = 10; i < 18; i++)
        put_one(kv, i, 3000000);
    kv_close(kv);
    say_ready();
}

START_TEST(reader_with_an_open_transaction_follows_a_map_that_grew)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 100000);
    kv_close(kv);
    struct kv_config config = store_config(KV_READ);
    config.map_bytes = 1 << 20;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    struct kv_txn *early = store_begin_read(kv);
    struct kv_value value;
    const void *pinned;
    ck_assert_int_eq(kv_get(early, TABLE_BLOCKS, 1, &value, NULL), OMEN_OK);
    ck_assert_int_eq(kv_pin(early, &value, &pinned, NULL), OMEN_OK);
    end(start(grow_from_outside), 0);
    struct kv_txn *late = store_begin_read(kv);
    store_check_value(late, TABLE_BLOCKS, 17, 3000000);
    store_check(pinned, 1, 100000);
    store_check_value(early, TABLE_BLOCKS, 1, 100000);
    ck_assert_int_eq(kv_get(early, TABLE_BLOCKS, 17, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(early);
    kv_abort(late);
    kv_close(kv);
}
END_TEST

START_TEST(values_stay_when_our_own_map_is_outgrown)
{
    struct kv_config config = store_config(KV_WRITE);
    struct kv *kv;
    struct kv_txn *txn;
    const void *pinned[30];
    config.map_bytes = 1 << 20;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    for (uint64_t key = 0; key < 30; key++) {
        struct kv_value value;
        put_one(kv, key, 1000000);
        txn = store_begin_read(kv);
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &value, NULL), OMEN_OK);
        ck_assert_int_eq(kv_pin(txn, &value, &pinned[key], NULL), OMEN_OK);
        kv_abort(txn);
    }
    for (uint64_t key = 0; key < 30; key++)
        store_check(pinned[key], key, 1000000);
    kv_close(kv);
}
END_TEST

// ---- disks ----

static void
fill_the_disk(struct kv *kv)
{
    struct kv_txn *txn;
    struct kv_value value;
    struct omen_error error = {.text = ""};
    put_one(kv, 0, 100000);
    omen_status status = OMEN_OK;
    uint64_t key = 0;
    while (status == OMEN_OK) {
        ck_assert_uint_lt(++key, 100);
        void *room;
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, 300000, &room, NULL), OMEN_OK);
        store_fill(room, key, 300000);
        status = kv_commit(txn, &error);
    }
    ck_assert_msg(status == OMEN_E_DISK_FULL, "%d: %s", status, error.text);
    for (uint64_t i = 1; i < key; i++)
        check_one(kv, i, 300000);
    txn = store_begin_write(kv); // nothing was committed
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &value, NULL), OMEN_E_NOT_FOUND);
    for (uint64_t i = 1; i < key; i++)
        ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, i, NULL), OMEN_OK);
    store_commit(txn); // it can be cleaned
    put_one(kv, 1, 1000);
    put_one(kv, 2, 1000);
    put_one(kv, 3, 300000); // and then written again
    check_one(kv, 0, 100000);
    check_one(kv, 3, 300000);
}

// The file may have no more than 8 MiB: that limit is the process's own and needs no rights.
START_TEST(full_disk_refuses_a_commit_and_nothing_else)
{
    struct rlimit limit = {.rlim_cur = 8 << 20, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fallocate_fails = _i == 1;
    struct kv *kv = store_open(KV_WRITE);
    fill_the_disk(kv);
    kv_close(kv);
    kv = store_open(KV_READ);
    check_one(kv, 3, 300000);
    kv_close(kv);
}
END_TEST

START_TEST(full_file_system_refuses_a_commit_and_nothing_else)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", store_root, "tmpfs", 0, "size=8m") != 0) {
        fprintf(stderr, "SKIPPED: %s: no right to mount a small file system\n", __func__);
        return;
    }
    fallocate_fails = _i == 1;
    struct kv *kv = store_open(KV_WRITE);
    fill_the_disk(kv);
    char path[400];
    struct omen_error error;
    (void)snprintf(path, sizeof path, "%s.copy", store_path);
    put_one(kv, 4, 3000000);
    ck_assert_int_eq(kv_copy(kv, path, &error), OMEN_E_DISK_FULL);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_DISK_FULL);
    check_one(kv, 4, 3000000);
    put_one(kv, 5, 1000);
    kv_close(kv);
    ck_assert_int_eq(umount(store_root), 0);
}
END_TEST

START_TEST(failed_sync_ends_writing_and_not_reading)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn;
    struct omen_error error;
    put_one(kv, 1, 5000);
    txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, 2, 5000);
    sync_fails = true;
    ck_assert_int_eq(kv_commit(txn, &error), OMEN_E_IO);
    sync_fails = false;
    ck_assert_ptr_nonnull(strstr(error.text, "writes are refused"));
    ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_E_IO); // though the disk works again
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_IO);
    check_one(kv, 1, 5000);
    kv_close(kv);
    kv = store_open(KV_WRITE);
    check_one(kv, 1, 5000);
    put_one(kv, 2, 5000);
    kv_close(kv);
}
END_TEST

// ---- shrinking ----

static void
make_holes(struct kv *kv)
{
    for (uint64_t i = 0; i < 20; i++)
        put_one(kv, i, 200000);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint64_t i = 0; i < 18; i++)
        ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, i, NULL), OMEN_OK);
    store_commit(txn);
}

START_TEST(shrunk_file_has_only_what_it_holds)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_usage before, after;
    struct omen_error error = {.text = ""};
    make_holes(kv);
    ck_assert_int_eq(kv_usage(kv, &before, NULL), OMEN_OK);
    ck_assert_uint_ge(before.free_bytes, 18 * 200000);
    ck_assert_msg(kv_shrink(kv, &error) == OMEN_OK, "%s", error.text);
    ck_assert_int_eq(kv_usage(kv, &after, NULL), OMEN_OK);
    ck_assert_uint_lt(after.file_bytes, 600000);
    ck_assert_uint_ge(before.file_bytes, 20 * 200000);
    put_one(kv, 0, 100);
    struct omen_error refused;
    ck_assert_int_eq(try_open(KV_READ, &refused), OMEN_E_LOCKED); // it is known under its new file
    kv_close(kv);
    kv = store_open(KV_READ);
    check_one(kv, 0, 100);
    check_one(kv, 19, 200000);
    kv_close(kv);
    ck_assert(!has_file("swap.mdb") && !has_file("shrunk.mdb") && !has_file("shrunk.mdb-lock"));
}
END_TEST

static void
shrink_from_outside(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    ck_assert_int_eq(kv_shrink(kv, NULL), OMEN_OK);
    for (uint64_t i = 0; i < 50; i++) // the old reader's pages are not these
        put_one(kv, 100 + i % 3, 100000);
    say_ready();
    pause();
}

START_TEST(reader_of_the_old_file_keeps_it_until_it_opens_again)
{
    struct kv *kv = store_open(KV_WRITE);
    make_holes(kv);
    kv_close(kv);
    kv = store_open(KV_READ);
    struct kv_txn *txn = store_begin_read(kv);
    ck_assert(!kv_moved(kv));
    const pid_t pid = start(shrink_from_outside);
    ck_assert(kv_moved(kv));
    store_check_value(txn, TABLE_BLOCKS, 19, 200000);
    kv_abort(txn);
    check_one(kv, 19, 200000);
    kv_close(kv);
    kv = store_open(KV_READ);
    ck_assert(!kv_moved(kv));
    check_one(kv, 19, 200000);
    check_one(kv, 101, 100000);
    kv_close(kv);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_LOCKED); // the lock moved along
    end(pid, SIGKILL);
}
END_TEST

static uint32_t shrink_killed_at;

static void
shrink_and_die(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    say_ready();
    killed_at = shrink_killed_at;
    ck_assert_int_eq(kv_shrink(kv, NULL), OMEN_OK);
    killed_at = 0;
    kv_close(kv);
}

START_TEST(shrink_that_is_killed_anywhere_leaves_a_whole_store)
{
    struct kv *kv = store_open(KV_WRITE);
    make_holes(kv);
    kv_close(kv);
    for (shrink_killed_at = 1;; shrink_killed_at++) {
        ck_assert_uint_lt(shrink_killed_at, 30);
        const pid_t pid = start(shrink_and_die);
        int state;
        close(ready_pipe[0]);
        ck_assert_int_eq(waitpid(pid, &state, 0), pid);
        const enum kv_mode mode = shrink_killed_at % 2 == 0 ? KV_READ : KV_WRITE;
        kv = store_open(mode); // a reader repairs, too, where it may
        check_one(kv, 18, 200000);
        check_one(kv, 19, 200000);
        if (mode == KV_WRITE)
            put_one(kv, shrink_killed_at % 5, 200000);
        kv_close(kv);
        ck_assert(!has_file("swap.mdb"));
        if (WIFEXITED(state)) {
            ck_assert_int_eq(WEXITSTATUS(state), 0);
            break;
        }
    }
    ck_assert_uint_ge(shrink_killed_at, 5); // it was killed between the two names, too
}
END_TEST

START_TEST(failed_allocation_while_opening_leaves_nothing)
{
    put_one(store_open(KV_WRITE), 1, 5000);
    // The handle above stays open on purpose: this process may not open it again, another may.
    const pid_t pid = fork();
    if (pid == 0) {
        for (uint64_t n = 1;; n++) {
            const struct kv_config config = store_config(KV_READ);
            struct kv *kv;
            mem_fail_after(n);
            const omen_status status = kv_open(&config, &kv, NULL);
            const bool enough = mem_refused() == 0;
            mem_fail_after(0);
            if (n > 100 || status != (enough ? OMEN_OK : OMEN_E_NO_MEMORY))
                _exit(1);
            kv_close(kv);
            if (enough)
                _exit(0);
        }
    }
    int state;
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}
END_TEST

static Suite *
storage_kv_lmdb_suite(void)
{
    Suite *suite = suite_create("storage/kv_lmdb");
    TCase *tcase = tcase_create("kv_lmdb");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, second_process_cannot_write_and_can_read);
    tcase_add_test(tcase, killed_writer_leaves_no_lock_and_what_it_committed);
    tcase_add_test(tcase, killed_reader_does_not_hold_pages_back);
    tcase_add_test(tcase, child_after_fork_must_open_for_itself);
    tcase_add_test(tcase, reader_with_an_open_transaction_follows_a_map_that_grew);
    tcase_add_test(tcase, values_stay_when_our_own_map_is_outgrown);
    tcase_add_loop_test(tcase, full_disk_refuses_a_commit_and_nothing_else, 0, 2);
    tcase_add_loop_test(tcase, full_file_system_refuses_a_commit_and_nothing_else, 0, 2);
    tcase_add_test(tcase, failed_sync_ends_writing_and_not_reading);
    tcase_add_test(tcase, shrunk_file_has_only_what_it_holds);
    tcase_add_test(tcase, reader_of_the_old_file_keeps_it_until_it_opens_again);
    tcase_add_test(tcase, shrink_that_is_killed_anywhere_leaves_a_whole_store);
    tcase_add_test(tcase, failed_allocation_while_opening_leaves_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(storage_kv_lmdb_suite)
