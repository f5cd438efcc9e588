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

// ---- the mark ----

#define AHEAD_MS 200u // of a window of 600
#define OLD_MS 400u

static struct dedupe_op
drawn(uint64_t drawn_ms, uint64_t seq, uint64_t stamp_ms)
{
    const struct opid id = opid_draw(drawn_ms, (struct opid){0, seq});
    return (struct dedupe_op){{id.high, id.low}, seq, stamp_ms};
}

static void
add_drawn(uint64_t drawn_ms, uint64_t seq, uint64_t stamp_ms)
{
    const struct dedupe_op op = drawn(drawn_ms, seq, stamp_ms);
    ck_assert_int_eq(dedupe_reserve(&table, 1, seq), OMEN_OK);
    dedupe_add(&table, &op);
    dedupe_check(&table);
}

START_TEST(a_third_of_the_window_is_for_clocks_that_are_ahead_and_age_alone_is_nothing)
{
    dedupe_init(&table, 100, DEDUPE_WINDOW_MS);
    const struct opid_clock clock = dedupe_clock(&table, 77);
    ck_assert_uint_eq(clock.old_ms, 0);
    ck_assert_uint_eq(clock.ahead_ms, OPID_AHEAD_MS);
    ck_assert_uint_eq(clock.now_ms, 77);
    ck_assert_uint_eq(clock.forgot_ms, 0);
    dedupe_fini(&table);
}
END_TEST

START_TEST(the_mark_is_behind_the_newest_that_was_forgotten_and_never_goes_back)
{
    dedupe_init(&table, 2, 600);
    add_drawn(1000, 2, 1100);
    add_drawn(1050, 3, 1100);
    ck_assert_uint_eq(table.forgot_ms, 0);
    add_drawn(1100, 4, 1100);
    ck_assert_uint_eq(table.forgot_ms, 1001);
    add_drawn(1010, 5, 1100);
    ck_assert_uint_eq(table.forgot_ms, 1051);
    dedupe_expire(&table, 5, 1701); // 1100 and 1010
    ck_assert_uint_eq(table.count, 0);
    ck_assert_uint_eq(table.forgot_ms, 1101);
    ck_assert_uint_eq(dedupe_clock(&table, 0).forgot_ms, 1101);
    dedupe_fini(&table);
}
END_TEST

START_TEST(what_is_cut_off_leaves_no_mark)
{
    dedupe_init(&table, 2, 600);
    add_drawn(1000, 2, 1100);
    dedupe_cut(&table, 1);
    ck_assert_uint_eq(table.forgot_ms, 0);
    dedupe_fini(&table);
}
END_TEST

// As older programs took them.
START_TEST(ids_that_nobody_takes_again_do_not_raise_the_mark_beyond_what_is_taken)
{
    dedupe_init(&table, 1, 600);
    add(2, 1100); // no UUIDv7
    add_drawn(1100 + AHEAD_MS + 1, 3, 1100);
    ck_assert_uint_eq(table.forgot_ms, 0);
    add_drawn(0, 4, 1100);
    ck_assert_uint_eq(table.forgot_ms, 1100 + AHEAD_MS + 1);
    dedupe_fini(&table);
}
END_TEST

static struct dedupe_op kept_ops[8];

static struct dedupe_kept
all_kept(void)
{
    struct dedupe_kept kept = {.ops = kept_ops,
                               .count = dedupe_kept(&table),
                               .commit = 100,
                               .stamp_ms = 1300,
                               .now_ms = 1300};
    ck_assert_uint_le(kept.count, 8);
    for (uint32_t i = 0; i < kept.count; i++)
        kept_ops[i] = dedupe_kept_at(&table, i);
    dedupe_fini(&table);
    return kept;
}

START_TEST(an_image_has_the_mark_first_and_whoever_loads_it_has_it_too)
{
    dedupe_init(&table, 4, 600);
    for (uint64_t seq = 2; seq <= 7; seq++)
        add_drawn(1000 + seq, seq, 1100);
    ck_assert_uint_eq(table.forgot_ms, 1004);
    struct dedupe_kept kept = all_kept();
    ck_assert_uint_eq(kept.count, 5);
    ck_assert(!opid_is_uuid7((struct opid){kept_ops[0].id.high, kept_ops[0].id.low}));
    for (uint32_t i = 1; i < 5; i++)
        ck_assert_uint_gt(kept_ops[i].seq, kept_ops[i - 1].seq);
    dedupe_init(&table, 100, 600);
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
    dedupe_check(&table);
    ck_assert_uint_eq(table.count, 4);
    ck_assert_uint_eq(table.forgot_ms, 1004);
    // Loaded into what had forgotten more.
    kept = all_kept();
    dedupe_init(&table, 100, 600);
    table.forgot_ms = 1009;
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
    ck_assert_uint_eq(table.forgot_ms, 1009);
    dedupe_fini(&table);
}
END_TEST

START_TEST(an_image_of_a_table_that_forgot_all_is_its_mark)
{
    dedupe_init(&table, 4, 600);
    add_drawn(1000, 2, 1100);
    dedupe_expire(&table, 2, 1701);
    const struct dedupe_kept kept = all_kept();
    ck_assert_uint_eq(kept.count, 1);
    dedupe_init(&table, 4, 600);
    ck_assert_uint_eq(dedupe_kept(&table), 0); // and one that forgot nothing has none
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
    ck_assert_uint_eq(table.count, 0);
    ck_assert_uint_eq(table.forgot_ms, 1001);
    dedupe_fini(&table);
}
END_TEST

// An old program's first entry may have had any id; a client's never has this place.
START_TEST(an_operation_that_only_looks_like_a_mark_is_an_operation)
{
    static const struct dedupe_op ops[] = {{{UINT64_C(900) << 16 | 0x7000, 0}, 2, 900},
                                           {{UINT64_C(900) << 16 | 0x7000, 1}, 1, 900},
                                           {{UINT64_C(900) << 16 | 0x7001, 0}, 1, 900},
                                           {{UINT64_C(900) << 16 | 0x7000, 0}, 1, 901},
                                           {{UINT64_C(900) << 16 | 0x7000, 0}, 1, 900}};
    for (uint32_t i = 0; i < 5; i++) {
        const struct dedupe_kept kept = {.ops = &ops[i], .count = 1, .whole = true, .commit = 9};
        dedupe_init(&table, 4, 600);
        ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
        ck_assert_uint_eq(table.count, i < 4);
        ck_assert_uint_eq(table.forgot_ms, i < 4 ? 0 : 900);
        table.forgot_ms = 900;
        ck_assert_uint_eq(dedupe_kept(&table),
                          i == 0 ? 2 : 1); // nothing was forgotten before place 1
        dedupe_fini(&table);
    }
}
END_TEST

// 2^20 operations and a mark are one more than a log's store keeps.
START_TEST(an_image_of_a_full_table_leaves_its_oldest_to_the_mark)
{
    dedupe_init(&table, DEDUPE_OPS_MAX, 600);
    for (uint64_t seq = 2; seq < 2 + DEDUPE_OPS_MAX; seq++) {
        const struct dedupe_op op = drawn(1000 + seq, seq, 1000 + seq);
        ck_assert_int_eq(dedupe_reserve(&table, 1, seq), OMEN_OK);
        dedupe_add(&table, &op);
    }
    ck_assert_uint_eq(dedupe_kept(&table), DEDUPE_OPS_MAX);
    ck_assert_uint_eq(dedupe_kept_at(&table, 0).seq, 2);
    table.forgot_ms = 5;
    ck_assert_uint_eq(dedupe_kept(&table), DEDUPE_OPS_MAX);
    ck_assert_uint_eq(dedupe_kept_at(&table, 0).stamp_ms, 1003);
    ck_assert_uint_eq(dedupe_kept_at(&table, 1).seq, 3);
    ck_assert_uint_eq(dedupe_kept_at(&table, DEDUPE_OPS_MAX - 1).seq, 1 + DEDUPE_OPS_MAX);
    table.forgot_ms = 2000;
    ck_assert_uint_eq(dedupe_kept_at(&table, 0).stamp_ms, 2000);
    dedupe_fini(&table);
}
END_TEST

static uint64_t
mark_of_disk(uint32_t room_max, struct dedupe_kept kept)
{
    kept.ops = kept_ops;
    kept.commit = 100;
    dedupe_init(&table, room_max, 600);
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_OK);
    const uint64_t mark = table.forgot_ms;
    dedupe_fini(&table);
    return mark;
}

START_TEST(a_disk_that_may_have_forgotten_for_age_is_taken_to_have)
{
    kept_ops[0] = drawn(4900, 40, 5000);
    struct dedupe_kept kept = {.count = 1, .stamp_ms = 5000, .now_ms = 5000, .whole = true};
    ck_assert_uint_eq(mark_of_disk(2, kept), 0);
    kept.whole = false;
    // The last that it may have forgotten had the stamp 4399, and so was drawn by 4599.
    ck_assert_uint_eq(mark_of_disk(2, kept), 5000 - OLD_MS);
    kept.stamp_ms = OLD_MS;
    ck_assert_uint_eq(mark_of_disk(2, kept), 0);
    kept.stamp_ms = OLD_MS + 1;
    ck_assert_uint_eq(mark_of_disk(2, kept), 1);
}
END_TEST

// The stamps never go back, so they are an hour ahead for an hour: what was drawn by true clocks is not refused for that.
START_TEST(stamps_of_a_clock_that_ran_ahead_forget_no_more_than_clocks_can_have_drawn)
{
    const struct dedupe_kept kept = {.stamp_ms = 3600000, .now_ms = 5000};
    ck_assert_uint_eq(mark_of_disk(2, kept), 5000 + AHEAD_MS + 1);
}
END_TEST

START_TEST(what_a_disk_had_to_forget_for_newer_ones_it_says_itself)
{
    const struct dedupe_kept kept = {.stamp_ms = 5000, .now_ms = 5000, .forgot_ms = 4601};
    ck_assert_uint_eq(mark_of_disk(2, kept), 4601);
    ck_assert_uint_eq(mark_of_disk(2, (struct dedupe_kept){.whole = true, .forgot_ms = 7}), 7);
}
END_TEST

START_TEST(a_table_that_cannot_be_loaded_says_so)
{
    for (uint64_t i = 0; i < 3; i++)
        kept_ops[i] = drawn(1000, 2 + i, 1000);
    const struct dedupe_kept kept = {.ops = kept_ops, .count = 3, .whole = true, .commit = 1};
    dedupe_init(&table, 2, 600);
    ck_assert_int_eq(dedupe_load(&table, &kept), OMEN_E_BUSY); // none of them is committed
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
    tcase_add_test(tcase,
                   a_third_of_the_window_is_for_clocks_that_are_ahead_and_age_alone_is_nothing);
    tcase_add_test(tcase, the_mark_is_behind_the_newest_that_was_forgotten_and_never_goes_back);
    tcase_add_test(tcase, what_is_cut_off_leaves_no_mark);
    tcase_add_test(tcase, ids_that_nobody_takes_again_do_not_raise_the_mark_beyond_what_is_taken);
    tcase_add_test(tcase, an_image_has_the_mark_first_and_whoever_loads_it_has_it_too);
    tcase_add_test(tcase, an_image_of_a_table_that_forgot_all_is_its_mark);
    tcase_add_test(tcase, an_operation_that_only_looks_like_a_mark_is_an_operation);
    tcase_add_test(tcase, an_image_of_a_full_table_leaves_its_oldest_to_the_mark);
    tcase_add_test(tcase, a_disk_that_may_have_forgotten_for_age_is_taken_to_have);
    tcase_add_test(tcase,
                   stamps_of_a_clock_that_ran_ahead_forget_no_more_than_clocks_can_have_drawn);
    tcase_add_test(tcase, what_a_disk_had_to_forget_for_newer_ones_it_says_itself);
    tcase_add_test(tcase, a_table_that_cannot_be_loaded_says_so);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(dedupe_suite)
