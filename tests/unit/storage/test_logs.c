// tests/unit/storage/test_logs.c -- many logs in one store: each is as it was left, or it is said what is wrong with it.
//
// Halves: kv_lmdb kv_sim
#include "base/alloc.h"
#include "base/opid.h"
#include "storage/logs_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/logs_store.h"

static const struct logs_name one = {1, 11}, two = {2, 22}, three = {3, 33};
static struct kv *kv;
static struct kv_txn *txn;
static struct omen_error error;

static void
setup(void)
{
    store_setup();
    kv = logs_store();
}

static void
teardown(void)
{
    kv_close(kv);
    store_teardown();
}

static void
begin(void)
{
    logs_ok(kv_begin_write_large(kv, (uint64_t)96 << 20, &txn, &error), &error);
}

static void
commit(void)
{
    logs_ok(kv_commit(txn, &error), &error);
}

static void
reopen(void)
{
    kv_close(kv);
    kv = logs_store();
}

static void
make(struct logs_name name)
{
    begin();
    logs_ok(logs_make(txn, name, "note", 4, &error), &error);
    commit();
}

// `count` entries of `bytes` each, whose numbers are their seqs, as one group in the transaction.
static void
append(struct logs_name name, uint64_t first, uint32_t count, uint32_t bytes)
{
    struct logs_group group = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct logs_entry entry = logs_made(first + i, first + i, bytes);
        ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    }
    const struct logs_change change = {.append = &group};
    logs_ok(logs_write(txn, name, &change, &error), &error);
    logs_group_fini(&group);
}

static void
append_alone(struct logs_name name, uint64_t first, uint32_t count, uint32_t bytes)
{
    begin();
    append(name, first, count, bytes);
    commit();
}

static void
cut(struct logs_name name, uint64_t above)
{
    begin();
    logs_ok(logs_write(txn, name, &(struct logs_change){.cut = true, .above = above}, &error),
            &error);
    commit();
}

static uint64_t
trim(struct logs_name name, struct logs_trim how)
{
    uint64_t first_seq = 0;
    begin();
    logs_ok(logs_trim(txn, name, &how, &first_seq, &error), &error);
    commit();
    return first_seq;
}

// Entries first..last are there with their numbers, of that many bytes each, and no other.
static void
check(struct logs_name name, uint64_t first, uint64_t last, uint32_t bytes)
{
    struct logs_state state;
    struct logs_reader *reader;
    struct logs_entry entry;
    txn = store_begin_read(kv);
    logs_ok(logs_find(txn, name, &state, &error), &error);
    ck_assert_uint_eq(state.first_seq, first);
    ck_assert_uint_eq(state.last_seq, last);
    for (uint64_t from = first; from <= last + 1; from += from + 40 < last ? 37 : 1) {
        logs_ok(logs_reader_open(txn, name, from, LOGS_WHOLE, &reader, &error), &error);
        for (uint64_t seq = from; seq <= last; seq++) {
            logs_ok(logs_reader_next(reader, &entry, &error), &error);
            logs_same(&entry, seq, seq, bytes);
        }
        ck_assert_int_eq(logs_reader_next(reader, &entry, &error), OMEN_E_NOT_FOUND);
        logs_reader_close(reader);
    }
    ck_assert_int_eq(logs_reader_open(txn, name, first - 1, LOGS_WHOLE, &reader, &error),
                     OMEN_E_NOT_FOUND);
    logs_ok(logs_verify(txn, &error), &error);
    kv_abort(txn);
}

static void
check_ops(struct logs_name name, uint64_t first, uint64_t last)
{
    struct logs_known known;
    txn = store_begin_read(kv);
    logs_ok(logs_know(txn, name, &known, &error), &error);
    uint32_t at = 0;
    for (uint64_t seq = first; seq <= last; seq++) {
        if (seq % 3 == 0)
            continue;
        ck_assert_uint_lt(at, known.op_count);
        ck_assert_uint_eq(known.ops[at].seq, seq);
        ck_assert_uint_eq(known.ops[at].op.low, seq);
        ck_assert_uint_eq(known.ops[at++].stamp_ms, seq * 10);
    }
    ck_assert_uint_eq(at, known.op_count);
    logs_known_fini(&known);
    kv_abort(txn);
}

START_TEST(logs_in_one_commit_are_told_apart_after_a_start)
{
    begin();
    logs_ok(logs_make(txn, one, "a", 1, &error), &error);
    logs_ok(logs_make(txn, two, NULL, 0, &error), &error);
    append(one, 1, 3, 100);
    append(two, 1, 2, 7);
    append(one, 4, 2, 100);
    commit();
    reopen();
    check(one, 1, 5, 100);
    check(two, 1, 2, 7);
    struct logs_state state;
    uint32_t at = 0, count = 0;
    txn = store_begin_read(kv);
    while (logs_next(txn, &at, &state, &error) == OMEN_OK)
        count++;
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(logs_find(txn, three, &state, &error), OMEN_E_NOT_FOUND);
    kv_abort(txn);
}
END_TEST

START_TEST(an_aborted_transaction_leaves_nothing)
{
    make(one);
    append_alone(one, 1, 2, 10);
    begin();
    append(one, 3, 2, 10);
    logs_ok(logs_make(txn, two, NULL, 0, &error), &error);
    kv_abort(txn);
    check(one, 1, 2, 10);
    append_alone(one, 3, 1, 10);
    check(one, 1, 3, 10);
    make(two);
}
END_TEST

// Around the ends of parts: of the last byte, the padding, and of the heads before them.
START_TEST(entries_of_every_size_come_back)
{
    static const uint32_t sizes[] = {0,     1,     7,     8,     9,     2000,  65408, 65409,
                                     65415, 65416, 65417, 65472, 65473, 65520, 70000, 200000};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct logs_name name = {9, i + 1};
        make(name);
        append_alone(name, 1, 1, sizes[i]);
        append_alone(name, 2, 3, sizes[i]);
        check(name, 1, 4, sizes[i]);
    }
}
END_TEST

START_TEST(a_group_whose_heads_fill_parts_comes_back)
{
    make(one);
    append_alone(one, 1, 1169, 1); // heads that end in the first part
    append_alone(one, 1170, 1170, 1);
    append_alone(one, 2340, LOGS_GROUP_ENTRIES_MAX, 3);
    txn = store_begin_read(kv);
    logs_ok(logs_verify(txn, &error), &error);
    kv_abort(txn);
    check_ops(one, 1, 2339 + LOGS_GROUP_ENTRIES_MAX);
}
END_TEST

START_TEST(a_group_takes_its_limits_and_no_more)
{
    struct logs_group group = {0};
    struct logs_entry entry = logs_made(1, 1, 0);
    for (uint32_t i = 0; i < LOGS_GROUP_ENTRIES_MAX; i++, entry.seq++)
        ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_E_INVALID);
    logs_group_fini(&group);

    uint8_t *large = mem_alloc_zero(1, LOGS_ENTRY_BYTES_MAX + 1);
    ck_assert_ptr_nonnull(large);
    entry = (struct logs_entry){.seq = 5, .count = LOGS_ENTRY_BYTES_MAX, .bytes = large};
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    entry.seq = 7; // 6 is next
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_E_INVALID);
    entry.seq = 6;
    entry.count++;
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_E_INVALID);
    logs_group_fini(&group);
    entry = (struct logs_entry){.seq = LOGS_SEQ_MAX + 1};
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_E_INVALID);
    entry.seq = 0;
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_E_INVALID);
    logs_group_fini(&group);
    mem_free(large);
}
END_TEST

START_TEST(the_largest_entry_fits_what_logs_bytes_says)
{
    struct logs_group group = {0};
    uint8_t *large = mem_alloc_zero(1, LOGS_ENTRY_BYTES_MAX);
    ck_assert_ptr_nonnull(large);
    const struct logs_entry entry = {
        .seq = 1, .term = 1, .count = LOGS_ENTRY_BYTES_MAX, .bytes = large};
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    make(one);
    logs_ok(kv_begin_write_large(kv, logs_bytes(logs_group_bytes(&group)), &txn, &error), &error);
    logs_ok(logs_write(txn, one, &(struct logs_change){.append = &group}, &error), &error);
    commit();
    logs_group_fini(&group);
    mem_free(large);
    txn = store_begin_read(kv);
    logs_ok(logs_verify(txn, &error), &error);
    kv_abort(txn);
}
END_TEST

START_TEST(an_entry_that_is_not_the_next_is_refused)
{
    struct logs_group group = {0};
    make(one);
    const struct logs_entry entry = logs_made(2, 2, 1);
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    begin();
    ck_assert_int_eq(logs_write(txn, one, &(struct logs_change){.append = &group}, &error),
                     OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "logs: entry 1 is next, not 2");
    kv_abort(txn);
    logs_group_fini(&group);
    check(one, 1, 0, 0);
}
END_TEST

// Within groups and between them, with groups of one part and of several behind.
START_TEST(what_is_cut_is_gone_and_the_log_goes_on_there)
{
    for (uint64_t above = 0; above <= 12; above++) {
        const struct logs_name name = {4, above + 1};
        make(name);
        append_alone(name, 1, 3, 30000);
        append_alone(name, 4, 1, 30000);
        append_alone(name, 5, 4, 30000);
        append_alone(name, 9, 4, 30000);
        cut(name, above);
        check(name, 1, above, 30000);
        append_alone(name, above + 1, 2, 30000);
        check(name, 1, above + 2, 30000);
        cut(name, above + 1);
        append_alone(name, above + 2, 2, 30000);
        check(name, 1, above + 3, 30000);
        check_ops(name, 1, above + 3);
        ck_assert_uint_eq(
            trim(name, (struct logs_trim){.through = above + 2, .window_ms = 1000, .ops_max = 9}),
            above + 3);
        check(name, above + 3, above + 3, 30000);
    }
}
END_TEST

START_TEST(one_commit_cuts_appends_and_writes_the_note)
{
    struct logs_group group = {0};
    struct logs_state state;
    make(one);
    append_alone(one, 1, 5, 10);
    const struct logs_entry entry = logs_made(4, 4, 10);
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    begin();
    const struct logs_change change = {
        .cut = true, .above = 3, .append = &group, .note = "XY", .note_at = 1, .note_bytes = 2};
    logs_ok(logs_write(txn, one, &change, &error), &error);
    commit();
    logs_group_fini(&group);
    check(one, 1, 4, 10);
    txn = store_begin_read(kv);
    logs_ok(logs_find(txn, one, &state, &error), &error);
    ck_assert_uint_eq(state.note_bytes, 4);
    ck_assert_mem_eq(state.note, "nXYe", 4);
    kv_abort(txn);
    begin();
    const struct logs_change over = {.note = "XY", .note_at = 3, .note_bytes = 2};
    ck_assert_int_eq(logs_write(txn, one, &over, &error), OMEN_E_INVALID);
    kv_abort(txn);
}
END_TEST

START_TEST(a_trimmed_log_begins_where_it_says_and_knows_the_term_before)
{
    make(one);
    for (uint64_t first = 1; first <= 61; first += 4)
        append_alone(one, first, 4, 500);
    ck_assert_uint_eq(trim(one, (struct logs_trim){.through = 0}), 1);
    ck_assert_uint_eq(trim(one, (struct logs_trim){.through = 18}), 19); // in a group
    check(one, 19, 64, 500);
    struct logs_known known;
    txn = store_begin_read(kv);
    logs_ok(logs_know(txn, one, &known, &error), &error);
    ck_assert_uint_eq(known.term_count, 4);
    ck_assert_uint_eq(known.terms[0].term, 18 / 16 + 1);
    ck_assert_uint_eq(known.terms[0].first_seq, 18);
    ck_assert_uint_eq(known.terms[1].first_seq, 32);
    ck_assert_uint_eq(known.terms[3].first_seq, 64);
    logs_known_fini(&known);
    kv_abort(txn);
    begin();
    ck_assert_int_eq(logs_write(txn, one, &(struct logs_change){.cut = true, .above = 17}, &error),
                     OMEN_E_INVALID);
    kv_abort(txn);
    ck_assert_uint_eq(trim(one, (struct logs_trim){.through = 1000}), 65);
    check(one, 65, 64, 500);
    append_alone(one, 65, 1, 500);
    check(one, 65, 65, 500);
}
END_TEST

START_TEST(operations_of_trimmed_entries_are_kept_for_their_window)
{
    make(one);
    for (uint64_t first = 1; first <= 91; first += 10)
        append_alone(one, first, 10, 20);
    const struct logs_trim how = {.through = 50, .window_ms = 700, .ops_max = 1000};
    ck_assert_uint_eq(trim(one, how), 51);
    reopen();
    check_ops(one, 30, 100); // stamps 300..1000
    append_alone(one, 101, 60, 20);
    ck_assert_uint_eq(trim(one, (struct logs_trim){.through = 60, .window_ms = 700, .ops_max = 1}),
                      61);
    check_ops(one, 61, 160); // 51..60 are older than 900
    append_alone(one, 161, 1, 20);
    ck_assert_uint_eq(
        trim(one, (struct logs_trim){.through = 100, .window_ms = 10000, .ops_max = 1}), 101);
    check_ops(one, 61, 161); // the newest page has to stay
    ck_assert_uint_eq(
        trim(one, (struct logs_trim){.through = 150, .window_ms = 10000, .ops_max = 1}), 151);
    check_ops(one, 101, 161);
}
END_TEST

static void
append_drawn(uint64_t seq, uint64_t drawn_ms, uint64_t stamp_ms)
{
    const struct opid id = opid_draw(drawn_ms, (struct opid){0, seq});
    const struct logs_entry entry = {
        .seq = seq, .term = 20, .stamp_ms = stamp_ms, .op = {id.high, id.low}, .kind = 1};
    struct logs_group group = {0};
    ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
    begin();
    logs_ok(logs_write(txn, one, &(struct logs_change){.append = &group}, &error), &error);
    commit();
    logs_group_fini(&group);
}

static uint64_t
forgot_ms(void)
{
    struct logs_state state;
    logs_ok(kv_begin_read(kv, &txn, &error), &error);
    logs_ok(logs_find(txn, one, &state, &error), &error);
    kv_abort(txn);
    return state.forgot_ms;
}

START_TEST(operations_that_had_to_make_room_leave_a_mark_and_old_ones_do_not)
{
    struct logs_trim how = {.window_ms = 10000, .ops_max = 1};
    make(one);
    append_drawn(1, 1000, 1100);
    append_drawn(2, 5999, 1100 + OPID_AHEAD_MS);
    how.through = 1;
    ck_assert_uint_eq(trim(one, how), 2);
    ck_assert_uint_eq(forgot_ms(), 0); // it went for its age
    how.through = 2;
    ck_assert_uint_eq(trim(one, how), 3);
    ck_assert_uint_eq(forgot_ms(), 0); // nothing is newer than the second
    append_drawn(3, 7000, 1200 + OPID_AHEAD_MS);
    how.through = 3;
    ck_assert_uint_eq(trim(one, how), 4);
    ck_assert_uint_eq(forgot_ms(), 6000);
    reopen();
    ck_assert_uint_eq(forgot_ms(), 6000);
    append_drawn(4, UINT64_MAX, 1300 + OPID_AHEAD_MS); // further ahead than anybody takes
    how.through = 4;
    ck_assert_uint_eq(trim(one, how), 5);
    ck_assert_uint_eq(forgot_ms(), 8000);
    append_drawn(5, 100, 1300 + OPID_AHEAD_MS);
    how.through = 5;
    ck_assert_uint_eq(trim(one, how), 6);
    ck_assert_uint_eq(forgot_ms(), (1300 + 2 * (uint64_t)OPID_AHEAD_MS) / 1000 * 1000 + 1000);
}
END_TEST

START_TEST(a_long_log_is_trimmed_in_several_calls)
{
    make(one);
    uint64_t last = 0;
    while (last < LOGS_TRIM_ENTRIES + 100) {
        append_alone(one, last + 1, LOGS_GROUP_ENTRIES_MAX, 0);
        last += LOGS_GROUP_ENTRIES_MAX;
    }
    const struct logs_trim how = {
        .through = LOGS_TRIM_ENTRIES + 1, .window_ms = UINT64_MAX, .ops_max = LOGS_OPS_MAX};
    ck_assert_uint_eq(trim(one, how), LOGS_TRIM_ENTRIES + 1);
    ck_assert_uint_eq(trim(one, how), LOGS_TRIM_ENTRIES + 2);
    ck_assert_uint_eq(trim(one, how), LOGS_TRIM_ENTRIES + 2);
    check_ops(one, 1, last);
}
END_TEST

START_TEST(an_emptied_log_goes_on_behind_its_base)
{
    static const struct logs_op ops[] = {{{7, 38}, 38, 380}, {{7, 40}, 40, 400}};
    const struct logs_base base = {
        .seq = 41, .term = 9, .stamp_ms = 410, .ops = ops, .op_count = 2};
    struct logs_known known;
    struct logs_state state;
    make(one);
    append_alone(one, 1, 9, 20);
    trim(one, (struct logs_trim){.through = 5, .window_ms = 1000, .ops_max = 100});
    begin();
    logs_ok(logs_empty(txn, one, &base, &error), &error);
    commit();
    check(one, 42, 41, 0);
    txn = store_begin_read(kv);
    logs_ok(logs_find(txn, one, &state, &error), &error);
    ck_assert_uint_eq(state.base_term, 9);
    ck_assert_uint_eq(state.stamp_ms, 410);
    logs_ok(logs_know(txn, one, &known, &error), &error);
    ck_assert_uint_eq(known.term_count, 1);
    ck_assert_uint_eq(known.terms[0].first_seq, 41);
    ck_assert_uint_eq(known.op_count, 2);
    ck_assert_mem_eq(known.ops, ops, sizeof ops);
    logs_known_fini(&known);
    kv_abort(txn);
    append_alone(one, 42, 3, 20);
    check(one, 42, 44, 20);
    begin();
    const struct logs_base over = {.ops = ops, .op_count = LOGS_OPS_MAX + 1};
    ck_assert_int_eq(logs_empty(txn, one, &over, &error), OMEN_E_INVALID);
    kv_abort(txn);
}
END_TEST

static uint64_t
count_values(uint32_t table)
{
    struct kv_value value;
    uint64_t count = 0;
    txn = store_begin_read(kv);
    for (uint64_t key = 0; kv_next(txn, table, &key, &value, NULL) == OMEN_OK; key++)
        count++;
    kv_abort(txn);
    return count;
}

static uint32_t
clean(uint32_t parts)
{
    bool done = false;
    uint32_t calls = 0;
    for (uint32_t at = 0; !done; calls++) {
        ck_assert_uint_lt(calls, 1000);
        logs_ok(kv_begin_write_large(kv, LOGS_CLEAN_BYTES, &txn, &error), &error);
        logs_ok(logs_clean(txn, &at, parts, &done, &error), &error);
        commit();
    }
    return calls;
}

START_TEST(what_was_forgotten_is_erased_in_small_steps)
{
    make(one);
    make(two);
    make(three);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        append_alone(one, seq, 1, 100);
        append_alone(two, seq, 1, 100);
        append_alone(three, seq, 1, 100);
    }
    trim(one, (struct logs_trim){.through = 70, .window_ms = 10000, .ops_max = 100});
    trim(two, (struct logs_trim){.through = 40, .window_ms = 10000, .ops_max = 100});
    begin();
    logs_ok(logs_drop(txn, two, &error), &error);
    commit();
    ck_assert_uint_eq(count_values(LOGS_ENTRIES), 300);
    ck_assert_uint_ge(clean(25), (70 + 100 + 1) / 25);
    ck_assert_uint_eq(count_values(LOGS_ENTRIES), 130);
    ck_assert_uint_eq(count_values(LOGS_OPS), 1);
    ck_assert_uint_eq(count_values(LOGS_ROWS), 2);
    ck_assert_uint_eq(clean(25), 1);
    check(one, 71, 100, 100);
    check(three, 1, 100, 100);
    struct logs_state state;
    txn = store_begin_read(kv);
    ck_assert_int_eq(logs_find(txn, two, &state, &error), OMEN_E_NOT_FOUND);
    kv_abort(txn);
}
END_TEST

START_TEST(a_dropped_name_can_be_made_anew_at_once)
{
    make(one);
    append_alone(one, 1, 5, 50);
    begin();
    logs_ok(logs_drop(txn, one, &error), &error);
    ck_assert_int_eq(logs_drop(txn, one, &error), OMEN_E_NOT_FOUND);
    logs_ok(logs_make(txn, one, "new", 3, &error), &error);
    append(one, 1, 2, 60);
    commit();
    check(one, 1, 2, 60);
    clean(1);
    check(one, 1, 2, 60);
    ck_assert_uint_eq(count_values(LOGS_ENTRIES), 1);
    begin();
    ck_assert_int_eq(logs_make(txn, one, NULL, 0, &error), OMEN_E_EXISTS);
    kv_abort(txn);
}
END_TEST

// Names whose hashes choose the same slot.
START_TEST(logs_of_one_slot_are_found_whatever_was_dropped_before_them)
{
    struct logs_name names[4];
    uint32_t found = 0, slot = 0;
    for (uint64_t i = 1; found < 4; i++) {
        const struct logs_name name = {i, i};
        const uint32_t at = (uint32_t)(logs_owner(name) % LOGS_SLOTS);
        if (found == 0)
            slot = at;
        if (at == slot)
            names[found++] = name;
    }
    for (uint32_t i = 0; i < 4; i++) {
        make(names[i]);
        append_alone(names[i], 1, i + 1, 10);
    }
    begin();
    logs_ok(logs_drop(txn, names[1], &error), &error);
    commit();
    clean(100);
    check(names[2], 1, 3, 10);
    check(names[3], 1, 4, 10);
    make(names[1]); // takes the free row
    ck_assert_uint_eq(count_values(LOGS_ROWS), 4);
    check(names[3], 1, 4, 10);
    for (uint32_t i = 1; i < 4; i++) {
        begin();
        logs_ok(logs_drop(txn, names[i], &error), &error);
        commit();
        clean(100);
    }
    ck_assert_uint_eq(count_values(LOGS_ROWS), 1);
    check(names[0], 1, 1, 10);
}
END_TEST

START_TEST(there_are_so_many_logs_and_no_more)
{
    begin();
    for (uint64_t i = 1; i <= LOGS_MAX; i++)
        logs_ok(logs_make(txn, (struct logs_name){5, i}, NULL, 0, &error), &error);
    ck_assert_int_eq(logs_make(txn, one, NULL, 0, &error), OMEN_E_FULL);
    logs_ok(logs_drop(txn, (struct logs_name){5, 77}, &error), &error);
    ck_assert_int_eq(logs_make(txn, one, NULL, 0, &error), OMEN_E_FULL);
    bool done;
    uint32_t at = 0;
    logs_ok(logs_clean(txn, &at, 10, &done, &error), &error);
    logs_ok(logs_make(txn, one, NULL, 0, &error), &error);
    commit();
    begin();
    uint8_t note[LOGS_NOTE_BYTES_MAX + 1] = {0};
    logs_ok(logs_drop(txn, (struct logs_name){5, 78}, &error), &error);
    at = 0;
    logs_ok(logs_clean(txn, &at, 10, &done, &error), &error);
    ck_assert_int_eq(logs_make(txn, two, note, sizeof note, &error), OMEN_E_INVALID);
    logs_ok(logs_make(txn, two, note, sizeof note - 1, &error), &error);
    ck_assert_int_eq(logs_make(txn, (struct logs_name){0, 0}, NULL, 0, &error), OMEN_E_INVALID);
    kv_abort(txn);
}
END_TEST

static void
check_record(uint32_t record, const void *bytes, size_t count)
{
    uint8_t *found;
    size_t there;
    txn = store_begin_read(kv);
    logs_ok(logs_record_get(txn, record, &found, &there, &error), &error);
    ck_assert_uint_eq(there, count);
    ck_assert_mem_eq(found, bytes, count);
    mem_free(found);
    logs_ok(logs_verify(txn, &error), &error);
    kv_abort(txn);
}

START_TEST(records_are_replaced_whole)
{
    static const size_t sizes[] = {1, 65472, 65473, 200000, 3, 130944, 70000, 10};
    static uint8_t bytes[200000];
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        store_fill(bytes, i, sizes[i]);
        logs_ok(kv_begin_write_large(kv, 2 * logs_bytes(sizes[i]), &txn, &error), &error);
        logs_ok(logs_record_put(txn, 3, bytes, sizes[i], &error), &error);
        logs_ok(logs_record_put(txn, LOGS_RECORDS_MAX - 1, bytes, sizes[i], &error), &error);
        commit();
        check_record(3, bytes, sizes[i]);
    }
    ck_assert_uint_eq(count_values(LOGS_RECORDS), 3);
    uint8_t *found;
    size_t there;
    begin();
    logs_ok(logs_record_put(txn, 3, NULL, 0, &error), &error);
    ck_assert_int_eq(logs_record_get(txn, 3, &found, &there, &error), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(logs_record_put(txn, LOGS_RECORDS_MAX, bytes, 1, &error), OMEN_E_INVALID);
    commit();
    check_record(LOGS_RECORDS_MAX - 1, bytes, 10);
}
END_TEST

START_TEST(the_largest_record_is_taken_and_one_byte_more_is_not)
{
    uint8_t *bytes = mem_alloc_zero(1, LOGS_RECORD_BYTES_MAX + 1);
    ck_assert_ptr_nonnull(bytes);
    store_fill(bytes, 1, LOGS_RECORD_BYTES_MAX);
    logs_ok(kv_begin_write_large(kv, logs_bytes(LOGS_RECORD_BYTES_MAX), &txn, &error), &error);
    ck_assert_int_eq(logs_record_put(txn, 1, bytes, LOGS_RECORD_BYTES_MAX + 1, &error),
                     OMEN_E_INVALID);
    logs_ok(logs_record_put(txn, 1, bytes, LOGS_RECORD_BYTES_MAX, &error), &error);
    commit();
    check_record(1, bytes, LOGS_RECORD_BYTES_MAX);
    mem_free(bytes);
}
END_TEST

START_TEST(a_reader_sees_its_snapshot_while_the_log_is_trimmed_and_erased)
{
    struct logs_reader *reader;
    struct logs_entry entry;
    make(one);
    for (uint64_t seq = 1; seq <= 20; seq++)
        append_alone(one, seq, 1, 5000);
    struct kv_txn *before = store_begin_read(kv);
    logs_ok(logs_reader_open(before, one, 1, LOGS_WHOLE, &reader, &error), &error);
    trim(one, (struct logs_trim){.through = 20});
    clean(100);
    append_alone(one, 21, 5, 5000);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        logs_ok(logs_reader_next(reader, &entry, &error), &error);
        logs_same(&entry, seq, seq, 5000);
    }
    ck_assert_int_eq(logs_reader_next(reader, &entry, &error), OMEN_E_NOT_FOUND);
    logs_reader_close(reader);
    kv_abort(before);
    check(one, 21, 25, 5000);
}
END_TEST

START_TEST(another_format_is_refused)
{
    make(one);
    logs_ok(kv_begin_write(kv, &txn, &error), &error);
    logs_ok(logs_value_put(txn, LOGS_FORMAT, LOGS_FORMAT, "omendb logs 2", 14, &error), &error);
    commit();
    kv_close(kv);
    ck_assert_int_eq(logs_open(store_path, &kv, &error), OMEN_E_VERSION);
    ck_assert_ptr_null(kv);
    ck_assert_str_eq(error.text, "logs: written by a newer version");
}
END_TEST

START_TEST(a_store_that_lost_its_format_is_refused)
{
    make(one);
    logs_ok(kv_begin_write(kv, &txn, &error), &error);
    logs_ok(logs_value_erase(txn, LOGS_FORMAT, &error), &error);
    commit();
    kv_close(kv);
    ck_assert_int_eq(logs_open(store_path, &kv, &error), OMEN_E_INVALID);
    ck_assert_ptr_null(kv);
}
END_TEST

START_TEST(short_memory_is_said_and_nothing_is_lost)
{
    struct logs_known known;
    struct logs_reader *reader;
    make(one);
    append_alone(one, 1, 40, 5000);
    omen_status status = OMEN_E_NO_MEMORY;
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        txn = store_begin_read(kv);
        mem_fail_after(n);
        status = logs_know(txn, one, &known, &error);
        if (status == OMEN_OK)
            logs_known_fini(&known);
        struct logs_entry entry;
        omen_status reads = logs_reader_open(txn, one, 1, LOGS_WHOLE, &reader, &error);
        if (reads == OMEN_OK)
            reads = logs_reader_next(reader, &entry, &error);
        mem_fail_after(0);
        ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
        ck_assert(reads == OMEN_OK || reads == OMEN_E_NO_MEMORY);
        logs_reader_close(reader);
        kv_abort(txn);
    }
    check(one, 1, 40, 5000);
}
END_TEST

static Suite *
logs_suite(void)
{
    Suite *suite = suite_create("storage/logs");
    TCase *tcase = tcase_create("logs");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, logs_in_one_commit_are_told_apart_after_a_start);
    tcase_add_test(tcase, an_aborted_transaction_leaves_nothing);
    tcase_add_test(tcase, entries_of_every_size_come_back);
    tcase_add_test(tcase, a_group_whose_heads_fill_parts_comes_back);
    tcase_add_test(tcase, a_group_takes_its_limits_and_no_more);
    tcase_add_test(tcase, the_largest_entry_fits_what_logs_bytes_says);
    tcase_add_test(tcase, an_entry_that_is_not_the_next_is_refused);
    tcase_add_test(tcase, what_is_cut_is_gone_and_the_log_goes_on_there);
    tcase_add_test(tcase, one_commit_cuts_appends_and_writes_the_note);
    tcase_add_test(tcase, a_trimmed_log_begins_where_it_says_and_knows_the_term_before);
    tcase_add_test(tcase, operations_of_trimmed_entries_are_kept_for_their_window);
    tcase_add_test(tcase, operations_that_had_to_make_room_leave_a_mark_and_old_ones_do_not);
    tcase_add_test(tcase, a_long_log_is_trimmed_in_several_calls);
    tcase_add_test(tcase, an_emptied_log_goes_on_behind_its_base);
    tcase_add_test(tcase, what_was_forgotten_is_erased_in_small_steps);
    tcase_add_test(tcase, a_dropped_name_can_be_made_anew_at_once);
    tcase_add_test(tcase, logs_of_one_slot_are_found_whatever_was_dropped_before_them);
    tcase_add_test(tcase, there_are_so_many_logs_and_no_more);
    tcase_add_test(tcase, records_are_replaced_whole);
    tcase_add_test(tcase, the_largest_record_is_taken_and_one_byte_more_is_not);
    tcase_add_test(tcase, a_reader_sees_its_snapshot_while_the_log_is_trimmed_and_erased);
    tcase_add_test(tcase, another_format_is_refused);
    tcase_add_test(tcase, a_store_that_lost_its_format_is_refused);
    tcase_add_test(tcase, short_memory_is_said_and_nothing_is_lost);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(logs_suite)
