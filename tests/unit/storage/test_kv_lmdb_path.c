// tests/unit/storage/test_kv_lmdb_path.c -- what is at the path of a store: something else, nothing whole, damage, a file that was cut.
//
// Halves: kv_lmdb
#include "tests/lib/kv_file.h"

// ---- what is at the path ----

static void
write_file(const char *name, const void *content, size_t count)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", store_path, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(content, 1, count, file), count);
    fclose(file);
}

START_TEST(something_else_at_the_path_is_named_and_left_alone)
{
    struct omen_error error;
    FILE *file = fopen(store_path, "wb");
    fclose(file);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++) {
        ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
        ck_assert_ptr_nonnull(strstr(error.text, "not a directory"));
    }
    remove(store_path);
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    write_file("letter.txt", "hello", 5);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "letter.txt"));
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    ck_assert(!has_file("data.mdb") && !has_file("lock.mdb"));
    static char text[20000];
    memset(text, 'x', sizeof text);
    for (size_t count = 1; count <= sizeof text; count += count < 200 ? 1 : 4900) {
        write_file("data.mdb", text, count);
        for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++)
            ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
        ck_assert(!has_file("lock.mdb"));
    }
    char path[sizeof store_path];
    memcpy(path, store_path, sizeof path);
    (void)snprintf(store_path, sizeof store_path, "%.200s/no/such", store_root);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    store_path[0] = '\0';
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    memcpy(store_path, path, sizeof path);
}
END_TEST

START_TEST(store_of_other_tables_is_refused)
{
    static const char *const others[] = {"this", "that", "more"};
    struct kv_config config = store_config(KV_WRITE);
    struct omen_error error;
    struct kv *kv;
    config.tables = others;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    kv_close(kv);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++)
        ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "something else"));
}
END_TEST

static void
path_in_store(char *path, size_t room, const char *name)
{
    (void)snprintf(path, room, "%s/%s", store_path, name);
}

START_TEST(empty_file_beside_the_lock_file_of_a_store_is_refused_as_cut)
{
    struct omen_error error;
    struct stat stat_of;
    char data[400], lock[400];
    path_in_store(data, sizeof data, "data.mdb");
    path_in_store(lock, sizeof lock, "lock.mdb");
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    kv_close(kv);
    ck_assert_int_eq(truncate(data, 0), 0);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    for (int tries = 0; tries < 2; tries++) {
        ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "data.mdb: empty, but lock.mdb"));
        ck_assert_int_eq(stat(data, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_size, 0);
    }
    // Who takes the file away wants a new one, which may be killed at once.
    ck_assert_int_eq(unlink(data), 0);
    kv = store_open(KV_WRITE);
    kv_close(kv);
    ck_assert_int_eq(truncate(data, 0), 0);
    ck_assert_int_eq(unlink(lock), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
}
END_TEST

// By the kernel, at the first byte.
START_TEST(maker_that_was_killed_beside_an_old_lock_file_can_be_followed)
{
    struct omen_error error;
    char data[400], lock[400];
    path_in_store(data, sizeof data, "data.mdb");
    path_in_store(lock, sizeof lock, "lock.mdb");
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    kv_close(kv);
    ck_assert_int_eq(unlink(data), 0);
    const pid_t child = fork();
    int state;
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
        (void)signal(SIGXFSZ, SIG_DFL);
        if (setrlimit(RLIMIT_CORE, &limit) == 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0)
            (void)!try_open(KV_WRITE, &error);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGXFSZ);
    ck_assert_int_eq(access(data, F_OK), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
}
END_TEST

START_TEST(maker_that_was_killed_at_once_leaves_nothing_in_the_way)
{
    struct omen_error error;
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK); // an empty directory
    store_teardown();
    store_setup();
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    write_file("data.mdb", "", 0);
    write_file("data.mdb.tmp", "half a copy", 11);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_OK);
}
END_TEST

// Both heads are one write. A disk that lost its power has any sectors of it, and nothing else yet.
// What a maker leaves, whose lock file knows of no commit.
static void
leave_unfinished(const void *bytes, size_t count)
{
    char lock[400];
    path_in_store(lock, sizeof lock, "lock.mdb");
    (void)unlink(lock);
    write_file("data.mdb", bytes, count);
}

START_TEST(store_whose_making_lost_power_is_made_anew)
{
    static uint8_t heads[2 * 65536];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct omen_error error;
    char path[600];
    kv_close(store_open(KV_WRITE));
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(heads, 1, 2 * page, file), 2 * page);
    fclose(file);
    static uint8_t cut[sizeof heads];
    memcpy(cut, heads, 2 * page);
    memset(cut, 0, 512);
    write_file("data.mdb", cut,
               2 * page); // of a store that has commits: no new one takes its place
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    memcpy(heads + page, heads, page); // the first one was not written again since it was made
    heads[page] = 1;
    for (size_t bytes = 512; bytes <= page; bytes += 512) { // of a disk that was full
        leave_unfinished(heads, bytes);
        ck_assert_int_ne(try_open(KV_READ, &error), OMEN_OK);
        ck_assert_msg(try_open(KV_WRITE, &error) == OMEN_OK, "%d: %s", (int)bytes, error.text);
    }
    for (int lost = 0; lost < 3; lost++) {
        uint8_t torn[sizeof heads];
        memcpy(torn, heads, 2 * page);
        if (lost != 1)
            memset(torn, 0, 512);
        if (lost != 0)
            memset(torn + page, 0, 512);
        leave_unfinished(torn, 2 * page);
        ck_assert_int_ne(try_open(KV_READ, &error), OMEN_OK);
        ck_assert_msg(try_open(KV_WRITE, &error) == OMEN_OK, "%s", error.text);
        torn[2 * page - 1] = 1; // something else
        write_file("data.mdb", torn, 2 * page);
        ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    }
}
END_TEST

// Heads of LMDB's, any byte of which is another: refused, or as before (a byte that says nothing).
START_TEST(damaged_heads_never_crash)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    put_one(kv, 2, 5000);
    kv_close(kv);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (off_t at = 0; at < 152; at++)
        for (off_t page = 0; page < 2; page++) {
            unsigned char byte, other;
            const off_t where = at + page * 4096;
            ck_assert_int_eq(pread(fd, &byte, 1, where), 1);
            other = byte ^ 0x80;
            ck_assert_int_eq(pwrite(fd, &other, 1, where), 1);
            struct omen_error error = {.text = ""};
            const omen_status status = try_open(KV_READ, &error);
            ck_assert_msg(status == OMEN_OK || status == OMEN_E_INVALID ||
                              status == OMEN_E_VERSION || status == OMEN_E_CORRUPT ||
                              status == OMEN_E_UNSUPPORTED || status == OMEN_E_NOT_FOUND,
                          "byte %d: %d %s", (int)where, status, error.text);
            ck_assert_int_eq(pwrite(fd, &byte, 1, where), 1);
        }
    close(fd);
    kv = store_open(KV_WRITE);
    check_one(kv, 2, 5000);
    kv_close(kv);
}
END_TEST

// Any one byte of a tree's page that is another: refused, or everything is read, perhaps not as it was.
START_TEST(damaged_trees_never_crash)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint64_t i = 0; i < 6; i++)
        put_one(kv, i, 300 + i * 600);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint64_t i = 0; i < 400; i++) // a tree of two levels
        store_put(txn, TABLE_LOG, i, 30);
    store_commit(txn);
    kv_close(kv);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    const off_t bytes = lseek(fd, 0, SEEK_END);
    uint32_t refused = 0;
    for (off_t at = 0; at < bytes; at += at % 4096 < 128 ? 1 : 67) {
        unsigned char byte, other;
        uint64_t head[2];
        ck_assert_int_eq(pread(fd, head, sizeof head, at / 4096 * 4096), sizeof head);
        if (head[0] == 0 && head[1] == 0)
            continue; // never written
        ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
        other = byte ^ (unsigned char)(1 << (at % 8));
        ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
        const struct kv_config config = store_config(KV_READ);
        struct omen_error error = {.text = ""};
        if (kv_open(&config, &kv, &error) == OMEN_OK) {
            txn = store_begin_read(kv);
            for (uint32_t table = 0; table < TABLE_COUNT; table++) {
                struct kv_value value;
                omen_status status;
                uint64_t sum = 0;
                for (uint64_t key = 0;; key++) {
                    status = kv_next(txn, table, &key, &value, &error);
                    if (status != OMEN_OK)
                        break;
                    for (size_t i = 0; i < value.count; i++)
                        sum += ((const unsigned char *)value.bytes)[i];
                }
                ck_assert(sum < UINT64_MAX);
                ck_assert(status == OMEN_E_NOT_FOUND || status == OMEN_E_CORRUPT);
            }
            kv_abort(txn);
            kv_close(kv);
        } else {
            ck_assert_str_ne(error.text, "");
            refused++;
        }
        ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    ck_assert_uint_gt(refused, 200);
    kv = store_open(KV_WRITE);
    check_one(kv, 5, 3300);
    kv_close(kv);
}
END_TEST

START_TEST(file_that_was_cut_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 3000000);
    put_one(kv, 2, 5000);
    kv_close(kv);
    char path[600];
    struct omen_error error;
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    ck_assert_int_eq(truncate(path, 1000000), 0);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "cut"));
    const struct kv_config config = store_config(KV_WRITE);
    if (kv_open(&config, &kv, &error) == OMEN_OK) { // where its trees were not in what is lost
        struct kv_txn *txn = store_begin_read(kv);
        struct kv_value value;
        const omen_status status = kv_get(txn, TABLE_BLOCKS, 1, &value, &error);
        ck_assert(status == OMEN_OK || status == OMEN_E_CORRUPT);
        kv_abort(txn);
        kv_close(kv);
    } else {
        struct stat stat_of;
        ck_assert_int_eq(error.status, OMEN_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "cut"));
        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_size, 1000000); // as it was found
    }
}
END_TEST

START_TEST(file_whose_trees_were_cut_off_stays_as_it_was)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint64_t i = 0; i < 500; i++)
        put_one(kv, i, 1000);
    kv_close(kv);
    char path[600];
    struct omen_error error;
    struct stat stat_of;
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    ck_assert_int_eq(truncate(path, 8192), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "8192 bytes of"));
    ck_assert_int_eq(stat(path, &stat_of), 0);
    ck_assert_int_eq(stat_of.st_size, 8192);
}
END_TEST

static Suite *
storage_kv_lmdb_path_suite(void)
{
    Suite *suite = suite_create("storage/kv_lmdb_path");
    TCase *tcase = tcase_create("kv_lmdb_path");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, something_else_at_the_path_is_named_and_left_alone);
    tcase_add_test(tcase, store_of_other_tables_is_refused);
    tcase_add_test(tcase, maker_that_was_killed_at_once_leaves_nothing_in_the_way);
    tcase_add_test(tcase, empty_file_beside_the_lock_file_of_a_store_is_refused_as_cut);
    tcase_add_test(tcase, maker_that_was_killed_beside_an_old_lock_file_can_be_followed);
    tcase_add_test(tcase, store_whose_making_lost_power_is_made_anew);
    tcase_add_test(tcase, damaged_heads_never_crash);
    tcase_add_test(tcase, damaged_trees_never_crash);
    tcase_add_test(tcase, file_that_was_cut_is_found);
    tcase_add_test(tcase, file_whose_trees_were_cut_off_stays_as_it_was);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(storage_kv_lmdb_path_suite)
