// tests/faults/test_killed_store.c -- a store's writer is killed at its n-th call to the disk, while its map and its file grow.
//
// Labels: faults
//
// An index begins with a map of a gigabyte; a store can be asked for a small one, which then grows under the writer and
// under a reader in another process. OMEN_FAULTS=n tries n times as many n.
#include <stdatomic.h>
#include <sys/stat.h>

#include "tests/lib/check_main.h"
#include "tests/lib/disk.h"
#include "tests/lib/faults.h"
#include "tests/lib/process.h"
#include "tests/lib/store.h"

#define KEYS 24u
#define KEPT 6u // keys that are not erased yet
#define MAP_BYTES ((uint64_t)1 << 20)

// What outlives a writer: keys below `committed` were put, one a transaction, and below `begun` at most.
struct shared {
    _Atomic uint64_t committed, begun;
    _Atomic uint64_t seen; // by the reader, which always looks
    _Atomic int stop;
};

static struct shared *shared;

static void
setup(void)
{
    store_setup();
    shared = process_share(sizeof *shared);
}

static void
teardown(void)
{
    process_unshare(shared, sizeof *shared);
    store_teardown();
}

static size_t
bytes_of(uint64_t key)
{
    return 100000 + 7000 * (size_t)key;
}

// The last keys are there, whole, and none before them; returns how many were put in all.
static uint64_t
check_keys(struct kv_txn *txn)
{
    uint64_t key = UINT64_MAX;
    struct kv_value value;
    const omen_status status = kv_previous(txn, TABLE_BLOCKS, &key, &value, NULL);
    if (status == OMEN_E_NOT_FOUND)
        return 0;
    ck_assert_int_eq(status, OMEN_OK);
    for (uint64_t at = key + 1 > KEPT ? key + 1 - KEPT : 0; at <= key; at++)
        store_check_value(txn, TABLE_BLOCKS, at, bytes_of(at));
    if (key >= KEPT)
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key - KEPT, &value, NULL), OMEN_E_NOT_FOUND);
    return key + 1;
}

static omen_status
open_small(enum kv_mode mode, struct kv **kv)
{
    struct kv_config config = store_config(mode);
    config.map_bytes = MAP_BYTES;
    return kv_open(&config, kv, NULL);
}

// Keeps the first value that it sees, and a transaction that sees it, while it looks on.
static void
read_until_told(void)
{
    struct kv *kv = NULL;
    struct kv_txn *pin = NULL;
    while (atomic_load(&shared->stop) == 0) {
        const uint64_t committed = atomic_load(&shared->committed);
        if (kv == NULL && open_small(KV_READ, &kv) != OMEN_OK) {
            ck_assert_uint_eq(committed, 0);
            continue;
        }
        struct kv_txn *txn = store_begin_read(kv);
        const uint64_t seen = check_keys(txn);
        ck_assert_uint_ge(seen, committed);
        ck_assert_uint_le(seen, atomic_load(&shared->begun));
        atomic_store(&shared->seen, seen);
        if (pin == NULL && seen > 0) {
            pin = txn;
            continue;
        }
        kv_abort(txn);
    }
    if (pin != NULL)
        ck_assert_uint_gt(check_keys(pin), 0);
    kv_abort(pin);
    kv_close(kv);
    _exit(0);
}

static void
wait_until_seen(uint64_t count, pid_t reader)
{
    while (atomic_load(&shared->seen) != count) {
        ck_assert_int_eq(kill(reader, 0), 0);
        ck_assert_int_eq(waitpid(reader, NULL, WNOHANG), 0);
        (void)sched_yield();
    }
}

// Puts keys up to `past`. What is said grows with the key, so that the map does: 1 MiB, 128, 256, 512.
static void
put_keys(struct kv *kv, uint64_t past)
{
    for (uint64_t key = atomic_load(&shared->committed); key < past; key++) {
        struct kv_txn *txn;
        atomic_store(&shared->begun, key + 1);
        ck_assert_int_eq(kv_begin_write_large(kv, (key + 1) << 22, &txn, NULL), OMEN_OK);
        store_put(txn, TABLE_BLOCKS, key, bytes_of(key));
        if (key >= KEPT)
            ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, key - KEPT, NULL), OMEN_OK);
        store_commit(txn);
        atomic_store(&shared->committed, key + 1);
    }
}

static void
write_until_killed(uint64_t n, enum disk_moment moment, pid_t reader)
{
    struct kv *kv;
    disk_watch(store_path);
    disk_kill(n, DISK_ALL, moment);
    ck_assert_int_eq(open_small(KV_WRITE, &kv), OMEN_OK);
    put_keys(kv, 2);
    while (atomic_load(&shared->seen) == 0 && kill(reader, 0) == 0)
        (void)sched_yield(); // it keeps the lock file from now on
    put_keys(kv, KEYS);
    kv_close(kv);
    _exit(0);
}

static void
write_on(uint64_t n)
{
    struct kv *kv;
    struct kv_txn *txn;
    ck_assert_int_eq(open_small(KV_WRITE, &kv), OMEN_OK);
    txn = store_begin_read(kv);
    const uint64_t found = check_keys(txn), committed = atomic_load(&shared->committed);
    kv_abort(txn);
    ck_assert_msg(found == committed || found == atomic_load(&shared->begun),
                  "n %d: %d keys, %d are committed", (int)n, (int)found, (int)committed);
    atomic_store(&shared->begun, found);
    atomic_store(&shared->committed, found);
    put_keys(kv, found + 2);
    ck_assert_int_eq(kv_shrink(kv, NULL), OMEN_OK);
    kv_shrunk(kv);
    kv_close(kv);
}

// True when there are not as many calls.
static bool
kill_at(uint64_t n, enum disk_moment moment)
{
    store_teardown();
    store_setup();
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    memset(shared, 0, sizeof *shared);
    const pid_t reader = fork();
    ck_assert_int_ge(reader, 0);
    if (reader == 0)
        read_until_told();
    const pid_t writer = fork();
    ck_assert_int_ge(writer, 0);
    if (writer == 0)
        write_until_killed(n, moment, reader);
    const bool killed = process_was_killed(writer, n);
    write_on(n);
    wait_until_seen(atomic_load(&shared->committed), reader);
    atomic_store(&shared->stop, 1);
    ck_assert(!process_was_killed(reader, n));
    return !killed;
}

START_TEST(writer_killed_while_its_map_grows_takes_nothing_with_it)
{
    const uint64_t stride = faults_more() > 6 ? 1 : 7 - faults_more();
    uint64_t n = 1;
    for (bool enough = false; !enough; n += stride) {
        enough = kill_at(n, DISK_AFTER);
        (void)kill_at(n, DISK_BEFORE);
        ck_assert_uint_lt(n, 10000);
    }
    printf("killed up to call %d\n", (int)n);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/killed_store");
    TCase *tcase = tcase_create("killed");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, writer_killed_while_its_map_grows_takes_nothing_with_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
