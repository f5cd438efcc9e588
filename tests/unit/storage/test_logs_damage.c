// tests/unit/storage/test_logs_damage.c -- bytes of logs that were changed behind our back are found.
//
// Halves: kv_sim
//
// Each value of a small store is damaged in turn: bits of each byte of its head, some of what is behind, its length; or it is gone, or lies
// where another was. logs_verify says so, whoever reads that log says so or gives what was written, and other logs are
// as they were.
#include "base/alloc.h"
#include "storage/logs_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/kv_sim.h"
#include "tests/lib/logs_store.h"

static const struct logs_name one = {1, 11}, two = {2, 22};
static struct kv *kv;
static struct omen_error error;

static void
append(struct kv_txn *txn, struct logs_name name, uint64_t first, uint32_t count, uint32_t bytes)
{
    struct logs_group group = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct logs_entry entry = logs_made(first + i, first + i, bytes);
        ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    }
    logs_ok(logs_write(txn, name, &(struct logs_change){.append = &group}, &error), &error);
    logs_group_fini(&group);
}

static void
setup(void)
{
    struct kv_txn *txn;
    uint64_t first_seq;
    store_setup();
    kv = logs_store();
    logs_ok(kv_begin_write(kv, &txn, &error), &error);
    logs_ok(logs_make(txn, one, "note", 4, &error), &error);
    logs_ok(logs_make(txn, two, NULL, 0, &error), &error);
    append(txn, one, 1, 10, 30);
    append(txn, one, 11, 3, 60000);
    append(txn, one, 14, 5, 30);
    append(txn, one, 19, 5, 30);
    append(txn, two, 1, 5, 30);
    const struct logs_trim trim = {.through = 4, .window_ms = 1000, .ops_max = 10};
    logs_ok(logs_trim(txn, one, &trim, &first_seq, &error), &error);
    logs_ok(logs_write(txn, one, &(struct logs_change){.cut = true, .above = 20}, &error), &error);
    logs_ok(logs_record_put(txn, 1, "record", 6, &error), &error);
    logs_ok(kv_commit(txn, &error), &error);
}

static void
teardown(void)
{
    kv_close(kv);
    kv_sim_reset();
    store_teardown();
}

static bool
is_bad(omen_status status)
{
    if (status == OMEN_OK)
        return false;
    ck_assert_msg(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION, "%d: %s", status,
                  error.text);
    ck_assert_int_ne(error.text[0], '\0');
    return true;
}

// Answers whether all of the log could be read.
static bool
reads(struct kv_txn *txn, struct logs_name name, uint64_t first, uint64_t last)
{
    struct logs_reader *reader;
    struct logs_entry entry;
    omen_status status = logs_reader_open(txn, name, first, LOGS_WHOLE, &reader, &error);
    uint64_t seq = first;
    for (; status == OMEN_OK; seq++) {
        status = logs_reader_next(reader, &entry, &error);
        if (status == OMEN_OK)
            logs_same(&entry, seq, seq, seq >= 11 && seq < 14 ? 60000 : 30);
    }
    logs_reader_close(reader);
    if (status == OMEN_E_NOT_FOUND)
        ck_assert_uint_eq(seq, last + 2);
    return status == OMEN_E_NOT_FOUND || !is_bad(status);
}

// Whoever looks says what is wrong, and does not go astray.
static void
check_found(uint32_t table)
{
    struct logs_known known;
    struct kv_txn *txn = store_begin_read(kv);
    ck_assert(is_bad(logs_verify(txn, &error)));
    const bool whole = reads(txn, one, 5, 20);
    ck_assert(table != LOGS_ROWS || !whole);
    if (!is_bad(logs_know(txn, one, &known, &error))) {
        ck_assert_uint_eq(known.op_count, 14);
        logs_known_fini(&known);
    }
    ck_assert(reads(txn, two, 1, 5));
    kv_abort(txn);
}

static void
check_sound(void)
{
    struct kv_txn *txn = store_begin_read(kv);
    logs_ok(logs_verify(txn, &error), &error);
    ck_assert(reads(txn, one, 5, 20));
    ck_assert(reads(txn, two, 1, 5));
    kv_abort(txn);
}

// Of the format and of what log `two` is made of nothing is damaged: opening, and `reads`, say so.
static bool
is_spared(uint32_t table, uint64_t key)
{
    const uint64_t slot = logs_owner(two) % LOGS_SLOTS;
    if (table == LOGS_RECORDS)
        return key >> LOGS_RECORD_BITS == LOGS_FORMAT;
    return (table == LOGS_ROWS ? key : key >> LOGS_NUMBER_BITS) == slot;
}

static void
for_each(void (*fn)(uint32_t table, uint64_t key, uint8_t *bytes, size_t count))
{
    uint32_t values = 0;
    for (uint32_t table = 0; table < LOGS_TABLES; table++) {
        for (uint64_t key = 0;; key++) {
            struct kv_value value;
            size_t count;
            struct kv_txn *txn = store_begin_read(kv);
            const omen_status status = kv_next(txn, table, &key, &value, &error);
            kv_abort(txn);
            if (status != OMEN_OK)
                break;
            if (is_spared(table, key))
                continue;
            uint8_t *bytes = kv_sim_value(kv, table, key, &count);
            fn(table, key, bytes, count);
            values++;
        }
    }
    ck_assert_uint_eq(values, 1 + (1 + 3 + 1) + 1 + 2);
    check_sound();
}

static void
flip(uint32_t table, uint64_t key, uint8_t *bytes, size_t count)
{
    (void)key;
    const size_t head = sizeof(struct logs_head);
    for (size_t i = 0; i < count; i += i < head ? 1 : 1 + (count - head) / 50) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        check_found(table);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
}

START_TEST(a_flipped_bit_is_found)
{
    for_each(flip);
}
END_TEST

static void
shorten(uint32_t table, uint64_t key, uint8_t *bytes, size_t count)
{
    uint8_t *whole = mem_alloc(count + 1);
    ck_assert_ptr_nonnull(whole);
    memcpy(whole, bytes, count);
    whole[count] = 0;
    const size_t sizes[] = {1, sizeof(struct logs_head) - 1, sizeof(struct logs_head), count - 1,
                            count + 1};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        kv_sim_set(kv, table, key, whole, sizes[i]);
        check_found(table);
    }
    kv_sim_set(kv, table, key, whole, count);
    mem_free(whole);
}

START_TEST(another_length_is_found)
{
    for_each(shorten);
}
END_TEST

// A row that is gone takes its log with it, and so a record; nobody can tell.
static void
lose(uint32_t table, uint64_t key, uint8_t *bytes, size_t count)
{
    if (table == LOGS_ROWS || (table == LOGS_RECORDS && key >> LOGS_RECORD_BITS == 1))
        return;
    uint8_t *whole = mem_alloc(count);
    ck_assert_ptr_nonnull(whole);
    memcpy(whole, bytes, count);
    kv_sim_set(kv, table, key, NULL, 0);
    check_found(table);
    kv_sim_set(kv, table, key, whole, count);
    mem_free(whole);
}

START_TEST(a_value_that_is_gone_is_found)
{
    for_each(lose);
}
END_TEST

START_TEST(parts_that_lie_in_each_others_place_are_found)
{
    const uint32_t slot = (uint32_t)(logs_owner(one) % LOGS_SLOTS);
    static uint8_t parts[6][LOGS_PART_BYTES];
    size_t counts[6];
    for (uint64_t i = 0; i < 6; i++) {
        const uint8_t *bytes = kv_sim_value(kv, LOGS_ENTRIES, logs_key(slot, i), &counts[i]);
        ck_assert_ptr_nonnull(bytes);
        memcpy(parts[i], bytes, counts[i]);
    }
    for (uint32_t a = 0; a < 6; a++)
        for (uint32_t b = 0; b < a; b++) {
            kv_sim_set(kv, LOGS_ENTRIES, logs_key(slot, a), parts[b], counts[b]);
            kv_sim_set(kv, LOGS_ENTRIES, logs_key(slot, b), parts[a], counts[a]);
            check_found(LOGS_ENTRIES);
            kv_sim_set(kv, LOGS_ENTRIES, logs_key(slot, a), parts[a], counts[a]);
            kv_sim_set(kv, LOGS_ENTRIES, logs_key(slot, b), parts[b], counts[b]);
        }
    check_sound();
}
END_TEST

// As after a slot was used again and the disk gave an older page.
START_TEST(a_part_of_another_log_is_found)
{
    const uint32_t from = (uint32_t)(logs_owner(two) % LOGS_SLOTS);
    const uint32_t to = (uint32_t)(logs_owner(one) % LOGS_SLOTS);
    uint8_t bytes[1024];
    size_t count;
    const uint8_t *part = kv_sim_value(kv, LOGS_ENTRIES, logs_key(from, 0), &count);
    ck_assert_uint_le(count, sizeof bytes);
    memcpy(bytes, part, count);
    kv_sim_set(kv, LOGS_ENTRIES, logs_key(to, 0), bytes, count);
    check_found(LOGS_ENTRIES);
}
END_TEST

START_TEST(a_newer_version_is_said_to_be_one)
{
    const uint32_t slot = (uint32_t)(logs_owner(one) % LOGS_SLOTS);
    struct logs_state state;
    size_t count;
    uint8_t *bytes = kv_sim_value(kv, LOGS_ROWS, slot, &count);
    struct logs_head head;
    memcpy(&head, bytes, sizeof head);
    head.version++;
    memcpy(bytes, &head, sizeof head);
    struct kv_txn *txn = store_begin_read(kv);
    ck_assert_int_eq(logs_find(txn, one, &state, &error), OMEN_E_VERSION);
    kv_abort(txn);
}
END_TEST

// Cleaning leaves a bad row alone, and goes on behind it.
START_TEST(a_bad_row_keeps_nobody_from_cleaning)
{
    struct kv_txn *txn;
    uint64_t first_seq;
    size_t count;
    uint8_t *bytes = kv_sim_value(kv, LOGS_ROWS, logs_owner(one) % LOGS_SLOTS, &count);
    bytes[60] ^= 1;
    logs_ok(kv_begin_write(kv, &txn, &error), &error);
    logs_ok(logs_trim(txn, two, &(struct logs_trim){.through = 5}, &first_seq, &error), &error);
    bool done = false;
    for (uint32_t at = 0; !done;)
        logs_ok(logs_clean(txn, &at, 1, &done, &error), &error);
    struct kv_value value;
    ck_assert_int_eq(kv_get(txn, LOGS_ENTRIES,
                            logs_key((uint32_t)(logs_owner(two) % LOGS_SLOTS), 0), &value, &error),
                     OMEN_E_NOT_FOUND);
    kv_abort(txn);
}
END_TEST

static Suite *
damage_suite(void)
{
    Suite *suite = suite_create("storage/logs_damage");
    TCase *tcase = tcase_create("damage");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_flipped_bit_is_found);
    tcase_add_test(tcase, another_length_is_found);
    tcase_add_test(tcase, a_value_that_is_gone_is_found);
    tcase_add_test(tcase, parts_that_lie_in_each_others_place_are_found);
    tcase_add_test(tcase, a_part_of_another_log_is_found);
    tcase_add_test(tcase, a_newer_version_is_said_to_be_one);
    tcase_add_test(tcase, a_bad_row_keeps_nobody_from_cleaning);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(damage_suite)
