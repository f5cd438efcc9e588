// tests/unit/storage/test_kv.c -- what storage/kv.h promises, held against both of its halves.
//
// Halves: kv_lmdb kv_sim
#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

// Around the size from which a value has pages of its own, of a page, of a part of the log and of more.
static const size_t sizes[] = {1,    2,    7,    2000, 2021,  2022,  2023,   2024,
                               2048, 4079, 4080, 4081, 65519, 65520, 262192, 3000001};
#define SIZES (sizeof sizes / sizeof sizes[0])

START_TEST(new_store_holds_nothing)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_read(kv);
    for (uint32_t table = 0; table < TABLE_COUNT; table++) {
        struct kv_value value;
        uint64_t key = 0;
        ck_assert_int_eq(kv_get(txn, table, 1, &value, NULL), OMEN_E_NOT_FOUND);
        ck_assert_int_eq(kv_next(txn, table, &key, &value, NULL), OMEN_E_NOT_FOUND);
        key = UINT64_MAX;
        ck_assert_int_eq(kv_previous(txn, table, &key, &value, NULL), OMEN_E_NOT_FOUND);
    }
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(values_of_every_size_come_back_after_reopening)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint32_t i = 0; i < SIZES; i++)
        store_put(txn, TABLE_BLOCKS, i * 1000, sizes[i]);
    store_commit(txn);
    kv_close(kv);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++) {
        kv = store_open(mode);
        txn = store_begin_read(kv);
        for (uint32_t i = 0; i < SIZES; i++)
            store_check_value(txn, TABLE_BLOCKS, i * 1000, sizes[i]);
        kv_abort(txn);
        kv_close(kv);
    }
}
END_TEST

START_TEST(keys_are_walked_in_order_from_both_ends)
{
    static const uint64_t keys[] = {
        0, 1, 255, 256, 65536, UINT64_C(1) << 32, UINT64_MAX - 1, UINT64_MAX};
    const uint32_t count = sizeof keys / sizeof keys[0];
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint32_t i = 0; i < count; i++)
        store_put(txn, TABLE_LOG, keys[i * 5 % count], 9);
    for (unsigned reads = 0; reads < 2; reads++) { // in the transaction that wrote, and behind it
        struct kv_value value;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = i == 0 ? 0 : keys[i - 1] + 1;
            ck_assert_int_eq(kv_next(txn, TABLE_LOG, &key, &value, NULL), OMEN_OK);
            ck_assert_uint_eq(key, keys[i]);
            store_check(value.bytes, key, 9);
            key = i + 1 == count ? UINT64_MAX : keys[i + 1] - 1;
            ck_assert_int_eq(kv_previous(txn, TABLE_LOG, &key, &value, NULL), OMEN_OK);
            ck_assert_uint_eq(key, keys[i]);
            ck_assert_int_eq(kv_next(txn, TABLE_LOG, &key, &value, NULL), OMEN_OK);
            ck_assert_uint_eq(key, keys[i]);
        }
        uint64_t key = 5;
        ck_assert_int_eq(kv_next(txn, TABLE_META, &key, &value, NULL), OMEN_E_NOT_FOUND);
        ck_assert_uint_eq(key, 5);
        if (reads == 0) {
            store_commit(txn);
            txn = store_begin_read(kv);
        }
    }
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(nothing_before_the_first_key_and_behind_the_last)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value value;
    store_put(txn, TABLE_LOG, 100, 9);
    store_commit(txn);
    txn = store_begin_read(kv);
    uint64_t key = 99;
    ck_assert_int_eq(kv_previous(txn, TABLE_LOG, &key, &value, NULL), OMEN_E_NOT_FOUND);
    key = 101;
    ck_assert_int_eq(kv_next(txn, TABLE_LOG, &key, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(put_replaces_and_delete_erases)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint32_t i = 0; i < SIZES; i++) { // from each size to the next
        struct kv_txn *txn = store_begin_write(kv);
        store_put(txn, TABLE_BLOCKS, 5, sizes[i]);
        store_check_value(txn, TABLE_BLOCKS, 5, sizes[i]);
        store_put(txn, TABLE_BLOCKS, 5, sizes[SIZES - 1 - i]);
        store_check_value(txn, TABLE_BLOCKS, 5, sizes[SIZES - 1 - i]);
        store_commit(txn);
        txn = store_begin_read(kv);
        store_check_value(txn, TABLE_BLOCKS, 5, sizes[SIZES - 1 - i]);
        kv_abort(txn);
    }
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value value;
    ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, 5, NULL), OMEN_OK);
    ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, 5, NULL), OMEN_OK); // it is not there any more
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, 5, &value, NULL), OMEN_E_NOT_FOUND);
    store_commit(txn);
    txn = store_begin_read(kv);
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, 5, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(abort_forgets)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value value;
    store_put(txn, TABLE_LOG, 1, 10);
    store_commit(txn);
    txn = store_begin_write(kv);
    store_put(txn, TABLE_LOG, 1, 5000);
    store_put(txn, TABLE_LOG, 2, 5000);
    kv_abort(txn);
    kv_abort(NULL);
    txn = store_begin_read(kv);
    store_check_value(txn, TABLE_LOG, 1, 10);
    ck_assert_int_eq(kv_get(txn, TABLE_LOG, 2, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(reader_sees_what_was_there_when_it_began)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, 1, 5000);
    store_commit(txn);
    struct kv_txn *early = store_begin_read(kv);
    for (uint32_t i = 0; i < 20; i++) {
        txn = store_begin_write(kv);
        store_put(txn, TABLE_BLOCKS, 1, 6000 + i);
        store_put(txn, TABLE_BLOCKS, 2 + i, 5000);
        store_commit(txn);
    }
    struct kv_txn *late = store_begin_read(kv);
    uint64_t key = UINT64_MAX;
    struct kv_value value;
    store_check_value(early, TABLE_BLOCKS, 1, 5000);
    ck_assert_int_eq(kv_previous(early, TABLE_BLOCKS, &key, &value, NULL), OMEN_OK);
    ck_assert_uint_eq(key, 1);
    store_check_value(late, TABLE_BLOCKS, 1, 6019);
    ck_assert_uint_eq(kv_snapshot(late), kv_snapshot(early) + 20);
    ck_assert_ptr_eq(kv_of(early), kv);
    kv_abort(early);
    kv_abort(late);
    kv_close(kv);
}
END_TEST

START_TEST(commits_are_counted)
{
    struct kv *kv = store_open(KV_WRITE);
    uint64_t seen = kv_commits(kv);
    for (uint32_t i = 0; i < 5; i++) {
        struct kv_txn *txn = store_begin_write(kv);
        store_put(txn, TABLE_LOG, i, 10);
        store_commit(txn);
        ck_assert_uint_ne(kv_commits(kv), seen);
        seen = kv_commits(kv);
        txn = store_begin_read(kv);
        ck_assert_uint_eq(kv_snapshot(txn), seen);
        kv_abort(txn);
    }
    struct kv_usage usage;
    ck_assert_int_eq(kv_usage(kv, &usage, NULL), OMEN_OK);
    ck_assert_uint_eq(usage.commits, 5);
    ck_assert_uint_eq(usage.syncs_at_least, 10);
    ck_assert_uint_ge(usage.file_bytes, 50);
    kv_close(kv);
}
END_TEST

START_TEST(pinned_values_outlive_their_transaction)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    const void *pinned[8];
    const size_t least = kv_pin_bytes_min(kv);
    for (uint32_t i = 0; i < 8; i++)
        store_put(txn, TABLE_BLOCKS, i, least + i * 40000);
    store_commit(txn);
    txn = store_begin_read(kv);
    for (uint32_t i = 0; i < 8; i++) {
        struct kv_value value;
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, i, &value, NULL), OMEN_OK);
        ck_assert_int_eq(kv_pin(txn, &value, &pinned[i], NULL), OMEN_OK);
        ck_assert_uint_eq((uintptr_t)pinned[i] % 64, 16);
    }
    kv_abort(txn);
    for (uint32_t round = 0; round < 30; round++) {
        txn = store_begin_write(kv);
        store_put(txn, TABLE_BLOCKS, 100 + round % 7, 300000);
        store_commit(txn);
    }
    for (uint32_t i = 0; i < 8; i++)
        store_check(pinned[i], i, least + i * 40000);
    kv_close(kv);
}
END_TEST

START_TEST(value_that_is_found_unread_is_where_the_reading_one_says)
{
    static const size_t lengths[] = {KV_HEAD_BYTES, 100, 1500, 3000, 4080, 4081, 5000, 300000};
    const uint32_t count = sizeof lengths / sizeof lengths[0];
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value unread[sizeof lengths / sizeof lengths[0]];
    for (uint32_t i = 0; i < count; i++)
        store_put(txn, TABLE_BLOCKS, i, lengths[i]);
    store_commit(txn);
    txn = store_begin_read(kv);
    for (uint32_t i = 0; i < count; i++) {
        struct kv_value read;
        ck_assert_int_eq(kv_get_unread(txn, TABLE_BLOCKS, i, &unread[i], NULL), OMEN_OK);
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, i, &read, NULL), OMEN_OK);
        ck_assert_ptr_eq(unread[i].bytes, read.bytes);
        ck_assert_uint_eq(unread[i].count, lengths[i]);
        ck_assert_int_eq(unread[i].alone, read.alone);
        ck_assert_int_eq(read.alone, lengths[i] >= kv_pin_bytes_min(kv));
    }
    ck_assert_int_eq(kv_get_unread(txn, TABLE_BLOCKS, 99, &(struct kv_value){0}, NULL),
                     OMEN_E_NOT_FOUND);
    kv_abort(txn);
    for (uint32_t i = 0; i < count; i++) { // those that can be pinned, behind the transaction
        unsigned char head[KV_HEAD_BYTES] = {0};
        if (!unread[i].alone)
            continue;
        ck_assert_int_eq(kv_read_head(kv, &unread[i], head, NULL), OMEN_OK);
        ck_assert_mem_eq(head, unread[i].bytes, sizeof head);
        store_check(unread[i].bytes, i, lengths[i]);
    }
    kv_close(kv);
}
END_TEST

START_TEST(small_values_cannot_be_pinned)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value value;
    const void *pinned;
    struct omen_error error;
    store_put(txn, TABLE_META, 1, 100);
    store_commit(txn);
    txn = store_begin_read(kv);
    ck_assert_int_eq(kv_get(txn, TABLE_META, 1, &value, NULL), OMEN_OK);
    ck_assert_int_eq(kv_pin(txn, &value, &pinned, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "100 bytes"));
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(transaction_puts_what_it_said_and_no_more)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    void *room;
    struct omen_error error;
    store_put(txn, TABLE_BLOCKS, 1, KV_WRITE_BYTES - 10);
    ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, 2, 11, &room, &error), OMEN_E_INTERNAL);
    store_put(txn, TABLE_BLOCKS, 3, 10);
    store_commit(txn);
    ck_assert_int_eq(kv_begin_write_large(kv, 2 * KV_WRITE_BYTES, &txn, NULL), OMEN_OK);
    store_put(txn, TABLE_BLOCKS, 2, 2 * KV_WRITE_BYTES);
    ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, 4, 1, &room, &error), OMEN_E_INTERNAL);
    store_commit(txn);
    txn = store_begin_read(kv);
    store_check_value(txn, TABLE_BLOCKS, 1, KV_WRITE_BYTES - 10);
    store_check_value(txn, TABLE_BLOCKS, 2, 2 * KV_WRITE_BYTES);
    store_check_value(txn, TABLE_BLOCKS, 3, 10);
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(modes_open_what_they_may)
{
    struct omen_error error;
    struct kv *kv, *other;
    struct kv_txn *txn;
    for (enum kv_mode mode = KV_EXISTING; mode <= KV_READ; mode++) {
        const struct kv_config config = store_config(mode);
        ck_assert_int_eq(kv_open(&config, &kv, &error), OMEN_E_NOT_FOUND);
        ck_assert_ptr_null(kv);
        ck_assert_ptr_nonnull(strstr(error.text, store_path));
    }
    kv = store_open(KV_WRITE);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++) {
        const struct kv_config config = store_config(mode);
        ck_assert_int_eq(kv_open(&config, &other, &error), OMEN_E_LOCKED);
        ck_assert_ptr_nonnull(strstr(error.text, "already open in this process"));
    }
    kv_close(kv);
    kv_close(store_open(KV_EXISTING));
    kv = store_open(KV_READ);
    ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_E_READ_ONLY);
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_READ_ONLY);
    kv_close(kv);
    kv_close(NULL);
}
END_TEST

START_TEST(copy_and_shrink_keep_every_entry)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint32_t round = 0; round < 12; round++) {
        struct kv_txn *txn = store_begin_write(kv);
        for (uint32_t i = 0; i < 10; i++)
            store_put(txn, TABLE_BLOCKS, i * 3, 100000 + i);
        store_put(txn, TABLE_META, round, 30);
        store_put(txn, TABLE_LOG, UINT64_MAX, 3000);
        store_commit(txn);
    }
    struct kv_txn *txn = store_begin_read(kv);
    char path[400];
    struct omen_error error = {.text = ""};
    (void)snprintf(path, sizeof path, "%s.copy", store_path);
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_BUSY);
    ck_assert_msg(kv_copy(kv, path, &error) == OMEN_OK, "%s", error.text);
    ck_assert_int_eq(kv_copy(kv, path, &error), OMEN_E_EXISTS);
    ck_assert_int_eq(kv_copy(kv, store_path, &error), OMEN_E_EXISTS);
    kv_abort(txn);
    ck_assert_msg(kv_shrink(kv, &error) == OMEN_OK, "%s", error.text);
    ck_assert(!kv_moved(kv));
    for (unsigned which = 0; which < 3; which++) { // shrunk, shrunk and opened again, the copy
        txn = store_begin_read(kv);
        for (uint32_t i = 0; i < 10; i++)
            store_check_value(txn, TABLE_BLOCKS, i * 3, 100000 + i);
        for (uint32_t i = 0; i < 12; i++)
            store_check_value(txn, TABLE_META, i, 30);
        store_check_value(txn, TABLE_LOG, UINT64_MAX, 3000);
        kv_abort(txn);
        txn = store_begin_write(kv);
        store_put(txn, TABLE_META, 0, 30);
        store_commit(txn);
        kv_close(kv);
        if (which == 1)
            (void)snprintf(store_path, sizeof store_path, "%.200s/store.copy", store_root);
        kv = which == 2 ? NULL : store_open(KV_EXISTING);
    }
}
END_TEST

START_TEST(a_new_store_is_there_once_it_is_published_and_else_not_at_all)
{
    struct omen_error error = {.text = ""};
    for (int published = 0; published < 2; published++) {
        struct kv *kv = store_open(KV_NEW);
        struct kv_txn *txn = store_begin_write(kv);
        store_put(txn, TABLE_META, 7, 3000);
        store_commit(txn);
        if (published != 0)
            ck_assert_msg(kv_publish(kv, &error) == OMEN_OK, "%s", error.text);
        kv_close(kv);
        kv = NULL;
        const struct kv_config config = store_config(KV_READ);
        ck_assert_int_eq(kv_open(&config, &kv, &error),
                         published != 0 ? OMEN_OK : OMEN_E_NOT_FOUND);
        if (published != 0) {
            txn = store_begin_read(kv);
            store_check_value(txn, TABLE_META, 7, 3000);
            kv_abort(txn);
        }
        kv_close(kv);
    }
    struct kv *kv;
    const struct kv_config config = store_config(KV_NEW);
    ck_assert_int_eq(kv_open(&config, &kv, &error), OMEN_E_EXISTS);
    kv = store_open(KV_WRITE);
    kv_close(kv);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/kv");
    TCase *tcase = tcase_create("kv");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, new_store_holds_nothing);
    tcase_add_test(tcase, values_of_every_size_come_back_after_reopening);
    tcase_add_test(tcase, keys_are_walked_in_order_from_both_ends);
    tcase_add_test(tcase, nothing_before_the_first_key_and_behind_the_last);
    tcase_add_test(tcase, put_replaces_and_delete_erases);
    tcase_add_test(tcase, abort_forgets);
    tcase_add_test(tcase, reader_sees_what_was_there_when_it_began);
    tcase_add_test(tcase, commits_are_counted);
    tcase_add_test(tcase, pinned_values_outlive_their_transaction);
    tcase_add_test(tcase, value_that_is_found_unread_is_where_the_reading_one_says);
    tcase_add_test(tcase, small_values_cannot_be_pinned);
    tcase_add_test(tcase, transaction_puts_what_it_said_and_no_more);
    tcase_add_test(tcase, modes_open_what_they_may);
    tcase_add_test(tcase, copy_and_shrink_keep_every_entry);
    tcase_add_test(tcase, a_new_store_is_there_once_it_is_published_and_else_not_at_all);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
