// tests/lib/store.h -- a store for a test: in a temporary directory, or on the simulated disk of the same name.
//
// Shape: shell.
#ifndef OMEN_TESTS_STORE_H
#define OMEN_TESTS_STORE_H
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/blocks.h"

static char store_root[256]; // a temporary directory
static char store_path[300]; // of the store in it

static inline int
store_unlink(const char *path, const struct stat *stat_of, int kind, struct FTW *where)
{
    (void)stat_of;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void
store_setup(void)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(store_root, sizeof store_root, "%s/omen_store_XXXXXX",
                   parent != NULL ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(store_root));
    (void)snprintf(store_path, sizeof store_path, "%s/store", store_root);
}

static inline void
store_teardown(void)
{
    (void)nftw(store_root, store_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct kv_config
store_config(enum kv_mode mode)
{
    return (struct kv_config){
        .path = store_path, .mode = mode, .tables = table_names, .table_count = TABLE_COUNT};
}

static inline struct kv *
store_open(enum kv_mode mode)
{
    const struct kv_config config = store_config(mode);
    struct omen_error error = {.text = ""};
    struct kv *kv;
    const omen_status status = kv_open(&config, &kv, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return kv;
}

static inline struct kv_txn *
store_begin_read(struct kv *kv)
{
    struct omen_error error = {.text = ""};
    struct kv_txn *txn;
    const omen_status status = kv_begin_read(kv, &txn, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return txn;
}

static inline struct kv_txn *
store_begin_write(struct kv *kv)
{
    struct omen_error error = {.text = ""};
    struct kv_txn *txn;
    const omen_status status = kv_begin_write(kv, &txn, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return txn;
}

static inline void
store_commit(struct kv_txn *txn)
{
    struct omen_error error = {.text = ""};
    const omen_status status = kv_commit(txn, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
}

// Bytes that follow from the key and the count.
static inline void
store_fill(void *bytes, uint64_t key, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)(key * 31 + i * 7 + (i >> 8) + count);
}

static inline void
store_put(struct kv_txn *txn, uint32_t table, uint64_t key, size_t count)
{
    struct omen_error error = {.text = ""};
    void *room;
    const omen_status status = kv_put(txn, table, key, count, &room, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    store_fill(room, key, count);
}

static inline void
store_check(const void *bytes, uint64_t key, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++)
        if (at[i] != (unsigned char)(key * 31 + i * 7 + (i >> 8) + count))
            ck_abort_msg("byte %zu of %zu under key %llu", i, count, (unsigned long long)key);
}

static inline void
store_check_value(struct kv_txn *txn, uint32_t table, uint64_t key, size_t count)
{
    struct kv_value value;
    struct omen_error error = {.text = ""};
    const omen_status status = kv_get(txn, table, key, &value, &error);
    ck_assert_msg(status == OMEN_OK, "key %llu: %d %s", (unsigned long long)key, status,
                  error.text);
    ck_assert_uint_eq(value.count, count);
    store_check(value.bytes, key, count);
}

#endif
