// tests/unit/storage/test_kv_lmdb_map.c -- the map moves while others read, and nothing else does.
//
// Halves: kv_lmdb
// Labels: tsan
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

struct growth {
    struct kv *kv;
    _Atomic uint64_t last;
    atomic_bool stop;
};

static void *
read_on(void *context)
{
    struct growth *growth = context;
    const void *first = NULL;
    while (!atomic_load(&growth->stop)) {
        struct kv_txn *txn = store_begin_read(growth->kv);
        const uint64_t last = atomic_load(&growth->last);
        struct kv_value value;
        sched_yield(); // the map may move under the transaction
        store_check_value(txn, TABLE_BLOCKS, 0, 5000);
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, 0, &value, NULL), OMEN_OK);
        if (first == NULL)
            ck_assert_int_eq(kv_pin(txn, &value, &first, NULL), OMEN_OK);
        uint64_t key = UINT64_MAX;
        ck_assert_int_eq(kv_previous(txn, TABLE_BLOCKS, &key, &value, NULL), OMEN_OK);
        ck_assert_uint_le(key, last + 1);
        store_check(value.bytes, key, value.count);
        kv_abort(txn);
        store_check(first, 0, 5000);
    }
    return NULL;
}

START_TEST(map_grows_under_readers_and_pinned_values)
{
    struct kv_config config = store_config(KV_WRITE);
    config.map_bytes = 1 << 20;
    struct growth growth = {0};
    pthread_t threads[2];
    ck_assert_int_eq(kv_open(&config, &growth.kv, NULL), OMEN_OK);
    struct kv_txn *begun = store_begin_write(growth.kv);
    store_put(begun, TABLE_BLOCKS, 0, 5000);
    store_commit(begun);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &growth), 0);
    for (uint64_t key = 1; key < 40; key++) {
        struct kv_txn *txn;
        // What is said makes the map grow: 1 MiB, ..., 3 GiB.
        ck_assert_int_eq(kv_begin_write_large(growth.kv, key << 25, &txn, NULL), OMEN_OK);
        store_put(txn, TABLE_BLOCKS, key, 60000 + key);
        atomic_store(&growth.last, key);
        store_commit(txn);
    }
    atomic_store(&growth.stop, true);
    for (uint32_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    kv_close(growth.kv);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/kv_lmdb_map");
    TCase *tcase = tcase_create("map");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, map_grows_under_readers_and_pinned_values);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
