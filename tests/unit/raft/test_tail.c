// tests/unit/raft/test_tail.c -- the retained log: bounds, terms, spans, against a plain list.
//
// Shape: shell.
#include "raft/tail.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

static const uint8_t bytes[64] = {7, 8, 9};

static struct raft_entry
entry(uint64_t position, uint64_t term, uint32_t count)
{
    return (struct raft_entry){
        .position = position, .term = term, .bytes = bytes, .byte_count = count};
}

START_TEST(new_tail_is_empty_and_position_0_has_term_0)
{
    struct raft_tail tail;
    uint64_t term = 9;
    tail_init(&tail, 16, 100);
    ck_assert_uint_eq(tail_first(&tail), 1);
    ck_assert_uint_eq(tail_last(&tail), 0);
    ck_assert(tail_term(&tail, 0, &term));
    ck_assert_uint_eq(term, 0);
    ck_assert(!tail_term(&tail, 1, &term));
    ck_assert_uint_eq(tail_span(&tail, 1, 9, UINT64_MAX).count, 0);
    tail_fini(&tail);
}
END_TEST

START_TEST(bounds_are_kept)
{
    struct raft_tail tail;
    tail_init(&tail, 4, 100);
    for (uint64_t position = 1; position <= 4; position++) {
        const struct raft_entry one = entry(position, 1, 20);
        ck_assert(tail_append(&tail, &one));
    }
    struct raft_entry more = entry(5, 1, 0);
    ck_assert(!tail_append(&tail, &more));
    tail_compact(&tail, 2);
    more = entry(5, 1, 61);
    ck_assert(!tail_append(&tail, &more));
    more = entry(5, 1, 60);
    ck_assert(tail_append(&tail, &more));
    ck_assert(!tail_fits(&tail, 1, 1));
    ck_assert(tail_fits(&tail, 1, 0));
    tail_fini(&tail);
}
END_TEST

START_TEST(span_has_no_more_entries_than_a_message_may_have)
{
    struct raft_tail tail;
    tail_init(&tail, 4096, 100);
    ck_assert(tail_reserve(&tail, 1500)); // more than one doubling
    for (uint64_t position = 1; position <= 1500; position++) {
        const struct raft_entry one = entry(position, 1, 0);
        ck_assert(tail_append(&tail, &one));
    }
    ck_assert_uint_eq(tail_span(&tail, 1, 1500, UINT64_MAX).count, RAFT_ENTRIES_MAX);
    tail_truncate(&tail, 1501); // nothing is there
    ck_assert_uint_eq(tail_last(&tail), 1500);
    tail_fini(&tail);
}
END_TEST

START_TEST(span_has_one_entry_in_any_case_and_no_more_bytes_than_asked)
{
    struct raft_tail tail;
    tail_init(&tail, 16, 1000);
    for (uint64_t position = 1; position <= 5; position++) {
        const struct raft_entry one = entry(position, 1, 10);
        ck_assert(tail_append(&tail, &one));
    }
    const uint64_t each = 10 + RAFT_ENTRY_OVERHEAD;
    ck_assert_uint_eq(tail_span(&tail, 2, 5, 0).count, 1);
    ck_assert_uint_eq(tail_span(&tail, 2, 5, 2 * each).count, 2);
    ck_assert_uint_eq(tail_span(&tail, 2, 5, 2 * each - 1).count, 1);
    ck_assert_uint_eq(tail_span(&tail, 2, 4, UINT64_MAX).count, 3);
    ck_assert_uint_eq(tail_span(&tail, 2, 99, UINT64_MAX).count, 4);
    ck_assert_uint_eq(tail_span(&tail, 2, 5, 99).entries[0].position, 2);
    tail_fini(&tail);
}
END_TEST

START_TEST(refused_allocation_changes_nothing)
{
    struct raft_tail tail;
    tail_init(&tail, 1000, 100000);
    for (uint64_t position = 1; position <= 200; position++) {
        const struct raft_entry one = entry(position, 1, 10);
        mem_fail_after(1);
        const bool lucky = tail_append(&tail, &one);
        mem_fail_after(0);
        ck_assert(!lucky);
        ck_assert_uint_eq(tail_last(&tail), position - 1);
        ck_assert(tail_append(&tail, &one));
    }
    ck_assert_uint_eq(tail.bytes, 2000);
    tail_fini(&tail);
}
END_TEST

START_TEST(random_use_agrees_with_a_plain_list)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    static uint64_t terms[4096]; // by position
    struct raft_tail tail;
    tail_init(&tail, 300, 4000);
    uint64_t base = 0, last = 0, term = 1;
    for (int round = 0; round < 3000 && last < 4000; round++) {
        const uint32_t what = prng_below(&prng, 20);
        if (what < 16) {
            term += prng_below(&prng, 8) == 0;
            const struct raft_entry one = entry(last + 1, term, prng_below(&prng, 30));
            const bool fits = tail_fits(&tail, 1, one.byte_count);
            ck_assert_int_eq(tail_append(&tail, &one), fits);
            if (fits)
                terms[++last] = term;
        } else if (what == 16 && last > base) {
            const uint64_t from = base + 1 + prng_below(&prng, (uint32_t)(last - base));
            tail_truncate(&tail, from);
            last = from - 1;
        } else if (what == 17) {
            base += prng_below(&prng, (uint32_t)(last - base + 1));
            tail_compact(&tail, base);
        } else if (what == 18 && prng_below(&prng, 50) == 0) {
            base = last = last + 5;
            terms[base] = term;
            tail_reset(&tail, base, term);
        }
        ck_assert_uint_eq(tail_first(&tail), base + 1);
        ck_assert_uint_eq(tail_last(&tail), last);
        ck_assert_uint_eq(tail_last_term(&tail), terms[last]);
        uint64_t found;
        for (uint64_t at = base; at <= last; at++) {
            ck_assert(tail_term(&tail, at, &found));
            ck_assert_uint_eq(found, terms[at]);
        }
        ck_assert(!tail_term(&tail, last + 1, &found));
        ck_assert(base == 0 || !tail_term(&tail, base - 1, &found));
    }
    tail_fini(&tail);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/tail");
    TCase *c = tcase_create("tail");
    tcase_add_test(c, new_tail_is_empty_and_position_0_has_term_0);
    tcase_add_test(c, bounds_are_kept);
    tcase_add_test(c, span_has_one_entry_in_any_case_and_no_more_bytes_than_asked);
    tcase_add_test(c, span_has_no_more_entries_than_a_message_may_have);
    tcase_add_test(c, refused_allocation_changes_nothing);
    tcase_add_loop_test(c, random_use_agrees_with_a_plain_list, 0, 10);
    suite_add_tcase(s, c);
    return s;
}

CHECK_MAIN(suite)
