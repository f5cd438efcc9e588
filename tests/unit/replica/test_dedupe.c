// tests/unit/replica/test_dedupe.c -- the table of operations follows the log and forgets only what is committed.
//
// Shape: shell.
#include "base/alloc.h"
#include "base/prng.h"
#include "replica/dedupe.h"
#include "tests/lib/check_main.h"

static struct dedupe table;

static void
add(uint64_t seq, uint64_t stamp_ms)
{
    ck_assert_int_eq(dedupe_reserve(&table, 1, seq), OMEN_OK);
    dedupe_add(&table, &(struct dedupe_op){{7, seq}, seq, stamp_ms});
    dedupe_check(&table);
}

START_TEST(the_oldest_committed_leaves_when_room_is_needed)
{
    dedupe_init(&table, 100, DEDUPE_WINDOW_MS);
    for (uint64_t seq = 1; seq <= 150; seq++)
        add(seq, 0);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 50}), 0);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 51}), 51);
    dedupe_fini(&table);
}
END_TEST

START_TEST(what_is_not_committed_is_never_forgotten)
{
    dedupe_init(&table, 2, DEDUPE_WINDOW_MS);
    add(1, 0);
    add(2, 0);
    ck_assert_int_eq(dedupe_reserve(&table, 1, 0), OMEN_E_BUSY);
    dedupe_expire(&table, 0, UINT64_MAX);
    ck_assert_uint_eq(table.count, 2);
    dedupe_fini(&table);
}
END_TEST

START_TEST(an_operation_is_remembered_for_the_window)
{
    dedupe_init(&table, 100, 600);
    add(1, 1000);
    dedupe_expire(&table, 1, 1600);
    ck_assert_uint_eq(table.count, 1);
    dedupe_expire(&table, 1, 1601);
    ck_assert_uint_eq(table.count, 0);
    dedupe_fini(&table);
}
END_TEST

// Of the first operation, and of more than there are buckets and pages for.
START_TEST(refused_memory_changes_nothing)
{
    const uint32_t there = _i == 0 ? 0 : 256;
    omen_status status = OMEN_E_NO_MEMORY;
    uint64_t nth = 0;
    while (status != OMEN_OK) {
        dedupe_init(&table, 1000, 600);
        for (uint64_t seq = 1; seq <= there; seq++)
            add(seq, 0);
        mem_fail_once(++nth);
        status = dedupe_reserve(&table, 257, 0);
        mem_fail_once(0);
        ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
        ck_assert_uint_eq(table.count, there);
        dedupe_check(&table);
        ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 64}), there > 0 ? 64 : 0);
        dedupe_fini(&table);
    }
    ck_assert_uint_gt(nth, 6); // buckets, places of pages, five pages
}
END_TEST

static size_t
bytes_of(const struct dedupe *dedupe)
{
    return dedupe->page_count * sizeof(struct dedupe_page) +
           dedupe->page_room * sizeof(struct dedupe_page *) +
           dedupe->bucket_count * sizeof dedupe->newest[0];
}

START_TEST(an_operation_takes_41_bytes_at_most_and_gives_them_back)
{
    dedupe_init(&table, DEDUPE_OPS_MAX, 600);
    for (uint64_t seq = 1; seq <= 20000; seq++) {
        ck_assert_int_eq(dedupe_reserve(&table, 1, seq), OMEN_OK);
        dedupe_add(&table, &(struct dedupe_op){{7, seq}, seq, seq});
        if (seq >= 1000)
            ck_assert_msg(bytes_of(&table) <= 41 * seq + sizeof(struct dedupe_page),
                          "%zu bytes of %u", bytes_of(&table), table.count);
    }
    dedupe_expire(&table, 20000, 20000 + 590); // all but the last ten
    ck_assert_uint_eq(table.count, 11);
    ck_assert_uint_eq(table.page_count, 1);
    dedupe_expire(&table, 20000, 30000);
    ck_assert_uint_eq(table.count, 0);
    ck_assert_uint_le(table.page_count, 1);
    add(20001, 30000);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 20001}), 20001);
    dedupe_fini(&table);
}
END_TEST

// ---- against a list ----
#define LIST_MAX 700u

static struct dedupe_op list[LIST_MAX];
static uint32_t list_count;
static uint64_t last_seq;

static void
forget(uint32_t count)
{
    list_count -= count;
    memmove(list, list + count, list_count * sizeof list[0]);
}

static void
add_some(struct prng *prng, uint64_t commit)
{
    const uint32_t count = prng_below(prng, 40);
    const omen_status status = dedupe_reserve(&table, count, commit);
    while (list_count > 0 && list_count + count > table.room_max && list[0].seq <= commit)
        forget(1);
    ck_assert_int_eq(status, list_count + count > table.room_max ? OMEN_E_BUSY : OMEN_OK);
    for (uint32_t i = 0; status == OMEN_OK && i < count; i++) {
        last_seq += 1 + prng_below(prng, 3);
        list[list_count] =
            (struct dedupe_op){{prng_below(prng, 2), prng_next(prng)}, last_seq, last_seq};
        dedupe_add(&table, &list[list_count++]);
    }
}

static void
look_for_all(struct prng *prng)
{
    ck_assert_uint_eq(table.count, list_count);
    for (uint32_t i = 0; i < list_count; i++) {
        ck_assert_mem_eq(dedupe_at(&table, i), &list[i], sizeof list[i]);
        ck_assert_msg(dedupe_find(&table, list[i].id) == list[i].seq, "the %u-th of %u", i,
                      list_count);
        const struct replica_uuid other = {2, list[i].id.low};
        ck_assert_uint_eq(dedupe_find(&table, other), 0);
    }
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){3, prng_next(prng)}), 0);
}

// Begun where numbers start over, with chains that end in whatever was there 2^32 operations ago.
START_TEST(a_table_does_what_a_list_does)
{
    struct prng prng = {.state = (uint64_t)_i};
    dedupe_init(&table, 1 + prng_below(&prng, LIST_MAX - 1), 100);
    list_count = 0;
    last_seq = 0;
    table.first = UINT32_MAX - prng_below(&prng, 2000);
    ck_assert_int_eq(dedupe_reserve(&table, 1, 0), OMEN_OK);
    for (uint32_t i = 0; i < table.bucket_count; i++)
        table.newest[i] = table.first + prng_below(&prng, 200);
    for (uint32_t round = 0; round < 300; round++) {
        const uint64_t commit = last_seq - prng_below(&prng, 60) % (last_seq + 1);
        const uint32_t what = prng_below(&prng, 8);
        if (what == 0) {
            const uint64_t now_ms = last_seq + prng_below(&prng, 120);
            dedupe_expire(&table, commit, now_ms);
            while (list_count > 0 && list[0].seq <= commit && list[0].stamp_ms <= now_ms &&
                   now_ms - list[0].stamp_ms > 100)
                forget(1);
        } else if (what == 1) {
            last_seq = commit;
            dedupe_cut(&table, commit);
            while (list_count > 0 && list[list_count - 1].seq > commit)
                list_count--;
        } else {
            add_some(&prng, commit);
        }
        look_for_all(&prng);
    }
    dedupe_fini(&table);
}
END_TEST

START_TEST(an_empty_table_knows_nothing)
{
    dedupe_init(&table, 100, 600);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 1}), 0);
    dedupe_expire(&table, 1, 1);
    ck_assert_uint_eq(table.count, 0);
}
END_TEST

START_TEST(an_operation_of_a_clock_that_was_ahead_is_kept)
{
    dedupe_init(&table, 100, 600);
    add(1, 5000);
    dedupe_expire(&table, 1, 1000);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 1}), 1);
    dedupe_fini(&table);
}
END_TEST

static Suite *
dedupe_suite(void)
{
    Suite *suite = suite_create("replica/dedupe");
    TCase *tcase = tcase_create("dedupe");
    tcase_add_test(tcase, the_oldest_committed_leaves_when_room_is_needed);
    tcase_add_test(tcase, what_is_not_committed_is_never_forgotten);
    tcase_add_test(tcase, an_operation_is_remembered_for_the_window);
    tcase_add_loop_test(tcase, refused_memory_changes_nothing, 0, 2);
    tcase_add_test(tcase, an_operation_takes_41_bytes_at_most_and_gives_them_back);
    tcase_add_loop_test(tcase, a_table_does_what_a_list_does, 0, 30);
    tcase_add_test(tcase, an_empty_table_knows_nothing);
    tcase_add_test(tcase, an_operation_of_a_clock_that_was_ahead_is_kept);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(dedupe_suite)
