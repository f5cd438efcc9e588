// tests/unit/storage/test_log.c -- entries come back in their order, or it is said what is wrong with them.
//
// Halves: kv_lmdb kv_sim
#include "base/alloc.h"
#include "storage/log.h"
#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

// An entry's bytes follow from its number and size; they are given in parts of different sizes.
static void
draft_add(struct log_draft *draft, uint64_t seq, size_t count)
{
    static unsigned char bytes[1 << 20];
    static size_t used;
    ck_assert_uint_le(count, sizeof bytes);
    if (used + count > sizeof bytes)
        used = 0;
    unsigned char *at = bytes + used;
    used += count;
    store_fill(at, seq, count);
    const size_t first = count / 3, second = count / 7;
    const struct log_part parts[4] = {
        {.bytes = at, .count = first},
        {.bytes = NULL, .count = 0},
        {.bytes = at + first, .count = second},
        {.bytes = at + first + second, .count = count - first - second}};
    const struct log_entry head = {
        .seq = 99, .term = seq * 2, .type = (uint16_t)(seq % 5), .flags = 0};
    ck_assert_int_eq(log_draft_add(draft, &head, parts, 4), OMEN_OK);
}

static void
append(struct log *log, uint32_t entries, size_t count)
{
    struct log_draft *draft;
    struct omen_error error = {.text = ""};
    ck_assert_int_eq(log_draft_open(&draft), OMEN_OK);
    for (uint32_t i = 0; i < entries; i++)
        draft_add(draft, log->last_seq + 1 + i, count);
    ck_assert_uint_eq(log_draft_entries(draft), entries);
    const omen_status status = log_commit(log, draft, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    log_draft_close(draft);
}

static omen_status
read_after(struct kv *kv, uint64_t after, size_t count, uint64_t *last, struct omen_error *error)
{
    struct kv_txn *txn = store_begin_read(kv);
    struct log_reader *reader;
    struct log_entry entry;
    omen_status status = log_reader_open(txn, TABLE_LOG, after, &reader, error);
    *last = after;
    while (status == OMEN_OK) {
        status = log_reader_next(reader, &entry, error);
        if (status != OMEN_OK)
            break;
        ck_assert_uint_eq(entry.seq, ++*last);
        ck_assert_uint_eq(entry.term, entry.seq * 2);
        ck_assert_uint_eq(entry.type, entry.seq % 5);
        ck_assert_uint_eq((uintptr_t)entry.bytes % 8, 0);
        if (count != SIZE_MAX)
            ck_assert_uint_eq(entry.count, count);
        store_check(entry.bytes, entry.seq, entry.count);
    }
    log_reader_close(reader);
    kv_abort(txn);
    return status;
}

static void
check_all(struct kv *kv, uint64_t after, uint64_t last_expected)
{
    struct omen_error error = {.text = ""};
    uint64_t last;
    const omen_status status = read_after(kv, after, SIZE_MAX, &last, &error);
    ck_assert_msg(status == OMEN_E_NOT_FOUND, "%d: %s", status, error.text);
    ck_assert_uint_eq(last, last_expected);
}

static void
check_verify(struct kv *kv, omen_status expected)
{
    struct omen_error error = {.text = ""};
    struct kv_txn *txn = store_begin_read(kv);
    const omen_status status = log_verify(txn, TABLE_LOG, &error);
    ck_assert_msg(status == expected, "%d: %s", status, error.text);
    kv_abort(txn);
}

static struct log
log_open(struct kv *kv, uint64_t after)
{
    struct log log;
    struct omen_error error = {.text = ""};
    const omen_status status = log_init(&log, kv, TABLE_LOG, after, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return log;
}

START_TEST(empty_log_goes_on_where_the_checkpoint_ends)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 41);
    ck_assert_uint_eq(log.first_seq, 42);
    ck_assert_uint_eq(log.last_seq, 41);
    ck_assert_uint_eq(log.bytes, 0);
    check_all(kv, 41, 41);
    check_verify(kv, OMEN_OK);
    append(&log, 2, 10);
    check_all(kv, 41, 43);
    kv_close(kv);
}
END_TEST

// Sizes around the ends of parts: of the last byte, the padding and the entry's head.
START_TEST(entries_of_every_size_come_back)
{
    static const size_t sizes[] = {0,     1,     7,     8,     9,     2000,  65376, 65420,
                                   65423, 65424, 65425, 65472, 65473, 65520, 65521, 200000};
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    const uint32_t count = sizeof sizes / sizeof sizes[0];
    for (uint32_t i = 0; i < count; i++)
        append(&log, 1 + i % 3, sizes[i]);
    const uint64_t last = log.last_seq, bytes = log.bytes;
    kv_close(kv);
    kv = store_open(KV_EXISTING);
    log = log_open(kv, 0);
    ck_assert_uint_eq(log.first_seq, 1);
    ck_assert_uint_eq(log.last_seq, last);
    ck_assert_uint_eq(log.bytes, bytes);
    for (uint64_t after = 0; after <= last; after++)
        check_all(kv, after, last);
    check_verify(kv, OMEN_OK);
    kv_close(kv);
}
END_TEST

START_TEST(entry_says_how_much_is_behind_it)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    struct omen_error error;
    struct log_reader *reader;
    struct log_entry entry;
    append(&log, 3, 1000);
    append(&log, 1, 200000);
    append(&log, 2, 8);
    struct kv_txn *txn = store_begin_read(kv);
    for (uint64_t after = 0; after < log.last_seq; after++) {
        uint64_t behind = UINT64_MAX;
        ck_assert_int_eq(log_reader_open(txn, TABLE_LOG, after, &reader, &error), OMEN_OK);
        for (uint64_t seq = after + 1; seq <= log.last_seq; seq++) {
            ck_assert_int_eq(log_reader_next(reader, &entry, &error), OMEN_OK);
            // What is behind the one before it is itself, its head and what is behind it.
            if (behind != UINT64_MAX)
                ck_assert_uint_eq(behind, 48 + (entry.count + 7) / 8 * 8 + entry.behind);
            behind = entry.behind;
        }
        ck_assert_uint_eq(behind, 0);
        log_reader_close(reader);
    }
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(trim_erases_whole_groups_only)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    for (uint32_t i = 0; i < 10; i++)
        append(&log, 5, 30000); // 1..5, 6..10, ...
    ck_assert_int_eq(log_trim(&log, 4, NULL), OMEN_OK);
    ck_assert_uint_eq(log.first_seq, 1);
    ck_assert_int_eq(log_trim(&log, 12, NULL), OMEN_OK);
    ck_assert_uint_eq(log.first_seq, 11);
    ck_assert_uint_eq(log_open(kv, 12).first_seq, 11);
    ck_assert_uint_eq(log_open(kv, 12).bytes, log.bytes);
    check_all(kv, 12, 50);
    check_verify(kv, OMEN_OK);
    uint64_t last;
    struct omen_error error;
    ck_assert_int_eq(read_after(kv, 9, SIZE_MAX, &last, &error), OMEN_E_CORRUPT); // 10 is gone
    ck_assert_int_eq(log_trim(&log, 50, NULL), OMEN_OK);
    ck_assert_uint_eq(log.first_seq, 51);
    ck_assert_uint_eq(log.bytes, 0);
    append(&log, 1, 5);
    ck_assert_uint_eq(log_open(kv, 50).last_seq, 51);
    check_all(kv, 50, 51);
    kv_close(kv);
}
END_TEST

START_TEST(draft_refuses_what_is_past_its_limits)
{
    struct log_draft *draft;
    const struct log_entry head = {.type = 1};
    const struct log_part most = {.bytes = NULL, .count = LOG_ENTRY_BYTES_MAX};
    const struct log_part more[2] = {most, {.bytes = "", .count = 1}};
    const struct log_part wraps[2] = {{.bytes = "", .count = 2}, {.count = SIZE_MAX}};
    ck_assert_int_eq(log_draft_open(&draft), OMEN_OK);
    ck_assert_int_eq(log_draft_add(draft, &head, more, 2), OMEN_E_INVALID);
    ck_assert_int_eq(log_draft_add(draft, &head, wraps, 2), OMEN_E_INVALID);
    ck_assert_uint_eq(log_draft_entries(draft), 0);
    ck_assert_int_eq(log_draft_add(draft, &head, &most, 1), OMEN_OK);
    ck_assert_int_eq(log_draft_add(draft, &head, &most, 1), OMEN_E_INVALID); // heads, too
    ck_assert_uint_eq(log_draft_entries(draft), 1);
    log_draft_reset(draft);
    ck_assert_uint_eq(log_draft_bytes(draft), 0);
    ck_assert_int_eq(log_draft_add(draft, &head, NULL, 0), OMEN_OK);
    log_draft_close(draft);
    log_draft_close(NULL);
}
END_TEST

START_TEST(numbers_end_before_keys_do)
{
    struct kv *kv = store_open(KV_WRITE);
    const uint64_t end = ((uint64_t)1 << 48) - 2;
    struct log log = log_open(kv, end - 3);
    append(&log, 2, 100);
    struct log_draft *draft;
    ck_assert_int_eq(log_draft_open(&draft), OMEN_OK);
    draft_add(draft, 1, 10);
    draft_add(draft, 2, 10);
    ck_assert_int_eq(log_commit(&log, draft, NULL), OMEN_E_FULL);
    log_draft_close(draft);
    append(&log, 1, 100);
    ck_assert_uint_eq(log.last_seq, end);
    check_all(kv, end - 3, end);
    check_verify(kv, OMEN_OK);
    kv_close(kv);
}
END_TEST

// Any one byte of a group that is another: nothing else is ever given out.
START_TEST(damaged_part_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    append(&log, 3, 100);
    append(&log, 2, 100);
    struct kv_txn *txn = store_begin_read(kv);
    struct kv_value value;
    char sound[1000];
    const uint64_t key = (uint64_t)4 << 16;
    ck_assert_int_eq(kv_get(txn, TABLE_LOG, key, &value, NULL), OMEN_OK);
    const size_t count = value.count;
    memcpy(sound, value.bytes, count);
    kv_abort(txn);
    struct omen_error error;
    uint64_t last;
    for (size_t i = 0; i <= count; i += i < 120 ? 1 : 11) {
        void *room;
        txn = store_begin_write(kv); // at `count`: cut by a byte
        ck_assert_int_eq(kv_put(txn, TABLE_LOG, key, count - (i == count), &room, NULL), OMEN_OK);
        memcpy(room, sound, count - (i == count));
        if (i < count)
            ((char *)room)[i] ^= 0x10;
        store_commit(txn);
        error.text[0] = '\0';
        const omen_status status = read_after(kv, 0, 100, &last, &error);
        ck_assert(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION);
        ck_assert_uint_eq(last, 3);
        ck_assert_str_ne(error.text, "");
        check_verify(kv, status);
        struct log damaged;
        ck_assert_int_eq(log_init(&damaged, kv, TABLE_LOG, 0, &error), status);
    }
    kv_close(kv);
}
END_TEST

START_TEST(lost_part_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    append(&log, 1, 10);
    append(&log, 1, 300000); // 2: five parts
    append(&log, 1, 10);
    for (uint64_t part = 0; part < 5; part++) {
        struct kv_txn *txn = store_begin_read(kv);
        static char sound[LOG_PART_BYTES];
        struct kv_value value;
        void *room;
        uint64_t last;
        struct omen_error error;
        const uint64_t key = ((uint64_t)2 << 16) + part;
        ck_assert_int_eq(kv_get(txn, TABLE_LOG, key, &value, NULL), OMEN_OK);
        const size_t count = value.count;
        memcpy(sound, value.bytes, count);
        kv_abort(txn);
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_delete(txn, TABLE_LOG, key, NULL), OMEN_OK);
        store_commit(txn);
        ck_assert_int_eq(read_after(kv, 0, SIZE_MAX, &last, &error), OMEN_E_CORRUPT);
        ck_assert_uint_eq(last, 1);
        check_verify(kv, OMEN_E_CORRUPT);
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_LOG, key, count, &room, NULL), OMEN_OK);
        memcpy(room, sound, count);
        store_commit(txn);
        check_all(kv, 0, 3);
    }
    kv_close(kv);
}
END_TEST

START_TEST(failed_allocation_changes_nothing)
{
    struct kv *kv = store_open(KV_WRITE);
    struct log log = log_open(kv, 0);
    append(&log, 2, 200000);
    for (uint64_t n = 1;; n++) {
        ck_assert_uint_lt(n, 100);
        struct log_draft *draft = NULL;
        struct log_reader *reader = NULL;
        struct log_entry entry;
        const struct log_entry head = {.type = 1};
        struct kv_txn *txn = store_begin_read(kv);
        const uint64_t last = log.last_seq;
        mem_fail_after(n);
        omen_status status = log_draft_open(&draft);
        if (status == OMEN_OK)
            status = log_draft_add(draft, &head, &(struct log_part){"12345678", 8}, 1);
        if (status == OMEN_OK)
            status = log_commit(&log, draft, NULL);
        const bool committed = status == OMEN_OK;
        if (status == OMEN_OK)
            status = log_reader_open(txn, TABLE_LOG, 0, &reader, NULL);
        if (status == OMEN_OK)
            status = log_reader_next(reader, &entry, NULL);
        const bool enough = mem_refused() == 0;
        mem_fail_after(0);
        ck_assert_int_eq(status, enough ? OMEN_OK : OMEN_E_NO_MEMORY);
        ck_assert_uint_eq(log.last_seq, last + committed);
        log_reader_close(reader);
        log_draft_close(draft);
        kv_abort(txn);
        check_verify(kv, OMEN_OK);
        if (enough)
            break;
    }
    kv_close(kv);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, empty_log_goes_on_where_the_checkpoint_ends);
    tcase_add_test(tcase, entries_of_every_size_come_back);
    tcase_add_test(tcase, entry_says_how_much_is_behind_it);
    tcase_add_test(tcase, trim_erases_whole_groups_only);
    tcase_add_test(tcase, draft_refuses_what_is_past_its_limits);
    tcase_add_test(tcase, numbers_end_before_keys_do);
    tcase_add_test(tcase, damaged_part_is_found);
    tcase_add_test(tcase, lost_part_is_found);
    tcase_add_test(tcase, failed_allocation_changes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
