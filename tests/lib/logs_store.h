// tests/lib/logs_store.h -- logs for a test: opened, written, read back and compared.
//
// Shape: shell.
#ifndef OMEN_TESTS_LOGS_STORE_H
#define OMEN_TESTS_LOGS_STORE_H
#include "storage/logs.h"
#include "tests/lib/store.h"

// Everything of an entry but its place follows from a number.
static inline struct logs_entry
logs_made(uint64_t seq, uint64_t number, uint32_t count)
{
    static unsigned char bytes[1 << 20];
    ck_assert_uint_le(count, sizeof bytes);
    store_fill(bytes, number, count);
    return (struct logs_entry){.seq = seq,
                               .term = number / 16 + 1,
                               .stamp_ms = number * 10,
                               .kind = (uint16_t)(number % 5),
                               .op = {number % 3 == 0 ? 0 : 7, number % 3 == 0 ? 0 : number},
                               .count = count,
                               .bytes = bytes};
}

static inline void
logs_same(const struct logs_entry *entry, uint64_t seq, uint64_t number, uint32_t count)
{
    ck_assert_uint_eq(entry->seq, seq);
    ck_assert_uint_eq(entry->term, number / 16 + 1);
    ck_assert_uint_eq(entry->stamp_ms, number * 10);
    ck_assert_uint_eq(entry->kind, number % 5);
    ck_assert_uint_eq(entry->op.low, number % 3 == 0 ? 0 : number);
    ck_assert_uint_eq(entry->count, count);
    if (count > 0)
        store_check(entry->bytes, number, count);
}

static inline struct kv *
logs_store(void)
{
    struct omen_error error = {.text = ""};
    struct kv *kv;
    const omen_status status = logs_open(store_path, &kv, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return kv;
}

static inline void
logs_ok(omen_status status, const struct omen_error *error)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error->text);
}

#endif
