// tests/unit/gossip/test_member.c -- the table holds who was added and nobody else, and everybody is picked.
#include <check.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/gossip_alone.h"

START_TEST(members_come_and_go_as_in_a_plain_list)
{
    struct gossip_config config = alone_config();
    config.members_max = 40;
    struct alone *alone = alone_open(&config);
    struct gossip *g = &alone->gossip;
    bool there[60] = {0};
    uint32_t count = 0;
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (int i = 0; i < 3000; i++) {
        const uint32_t number = prng_below(&prng, 60);
        const struct gossip_claim claim = alone_claim(number, GOSSIP_ALIVE, 1, 0);
        const uint32_t slot = member_slot(g, claim.subject);
        CLAIM((slot != SLOT_NONE) == there[number], "%u", number);
        if (there[number]) {
            member_drop(g, &alone->out, slot);
            there[number] = false;
            count--;
        } else if (member_add(g, &alone->out, &claim) != SLOT_NONE) {
            there[number] = true;
            count++;
        } else {
            CLAIM(count == config.members_max, "refused at %u", count);
        }
        alone->out.note_count = 0;
        gossip_check(g);
        CLAIM(g->order_count == count, "%u, not %u", g->order_count, count);
    }
    uint32_t cursor = 0, met = 0;
    for (const struct gossip_member *m; (m = gossip_next(g, &cursor)) != NULL; met++)
        ck_assert(there[m->id.low]);
    ck_assert_uint_eq(met, count);
    alone_close(alone);
}
END_TEST

START_TEST(more_members_than_the_limit_are_refused_and_said)
{
    struct gossip_config config = alone_config();
    config.members_max = 3;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 5);
    ck_assert_uint_eq(gossip_living(&alone->gossip), 4);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_FULL], 2);
    ck_assert_uint_eq(alone->gossip.counters.refused_claims, 2);
    alone_close(alone);
}
END_TEST

// Nodes that come and go under ever new ids would otherwise fill the table with their dead.
START_TEST(who_lives_takes_the_place_of_the_longest_dead)
{
    struct gossip_config config = alone_config();
    config.members_max = 3;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 3);
    alone_news(alone, 1, alone_claim(3, GOSSIP_DEAD, 1, 0));
    alone->now_ns += ALONE_SECOND;
    alone_news(alone, 1, alone_claim(2, GOSSIP_DEAD, 1, 0));
    alone_news(alone, 1, alone_claim(4, GOSSIP_ALIVE, 1, 0)); // the dead are told so still
    ck_assert_ptr_null(alone_see(alone, 4));
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_FULL], 1);
    alone->now_ns += 40 * ALONE_SECOND;
    struct gossip_claim dead = alone_claim(5, GOSSIP_DEAD, 1, 0);
    dead.has_meta = 1;
    alone_news(alone, 1, dead); // one dead for another is no gain
    ck_assert_ptr_null(alone_see(alone, 5));
    alone_news(alone, 1, alone_claim(4, GOSSIP_ALIVE, 1, 0));
    ck_assert_ptr_nonnull(alone_see(alone, 4));
    ck_assert_ptr_null(alone_see(alone, 3));
    ck_assert_ptr_nonnull(alone_see(alone, 2));
    alone_close(alone);
}
END_TEST

START_TEST(refused_memory_drops_the_claim_and_a_later_one_succeeds)
{
    const struct gossip_config config = alone_config();
    for (uint64_t n = 1; n <= 3; n++) {
        struct alone *alone = alone_open(&config);
        mem_fail_after(n);
        alone_meet(alone, 1);
        ck_assert_uint_gt(mem_refused(), 0);
        mem_fail_after(0);
        ck_assert_ptr_null(alone_see(alone, 1));
        ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_NO_MEMORY], 1);
        alone_meet(alone, 20);
        ck_assert_ptr_nonnull(alone_see(alone, 20));
        alone_close(alone);
    }
}
END_TEST

START_TEST(growth_refused_keeps_all_who_were_there)
{
    const struct gossip_config config = alone_config();
    for (uint64_t n = 1; n <= 3; n++) {
        struct alone *alone = alone_open(&config);
        alone_meet(alone, 16);
        mem_fail_after(n);
        alone_news(alone, 17, alone_claim(17, GOSSIP_ALIVE, 1, 0));
        mem_fail_after(0);
        ck_assert_ptr_null(alone_see(alone, 17));
        for (uint32_t number = 1; number <= 16; number++)
            ck_assert_ptr_nonnull(alone_see(alone, number));
        alone_close(alone);
    }
}
END_TEST

START_TEST(logarithm_is_that_of_the_library_to_a_65536th)
{
    for (uint32_t x = 1; x < 5000; x++) {
        const double off = (double)log2_fixed(x) - log2(x) * 65536;
        CLAIM(off <= 0.001 && off > -1.001, "log2(%u) is off by %f", x, off);
    }
    ck_assert_uint_eq(log2_fixed(1u << 31), 31u << 16);
}
END_TEST

START_TEST(claims_are_passed_on_four_times_the_digits)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = alone_open(&config);
    ck_assert_uint_eq(tells_max(&alone->gossip), 4);
    alone_meet(alone, 8);
    ck_assert_uint_eq(tells_max(&alone->gossip), 4); // ceil(log10(9 + 1))
    alone_news(alone, 9, alone_claim(9, GOSSIP_ALIVE, 1, 0));
    ck_assert_uint_eq(tells_max(&alone->gossip), 8); // ceil(log10(10 + 1))
    alone_close(alone);
}
END_TEST

START_TEST(everybody_wanted_is_picked_and_nobody_else)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = alone_open(&config);
    struct gossip *g = &alone->gossip;
    alone_meet(alone, 30);
    alone_news(alone, 1, alone_claim(30, GOSSIP_DEAD, 1, 0));
    const uint32_t one = member_slot(g, alone_id(1)), dead = member_slot(g, alone_id(30));
    uint32_t times[64] = {0};
    for (int i = 0; i < 3000; i++)
        times[member_pick(g, WANT_LIVING, &one, 1)]++;
    ck_assert_uint_eq(times[one], 0);
    ck_assert_uint_eq(times[dead], 0);
    for (uint32_t number = 2; number < 30; number++)
        ck_assert_uint_gt(times[member_slot(g, alone_id(number))], 40);
    for (int i = 0; i < 50; i++)
        ck_assert_uint_eq(member_pick(g, WANT_LOST, NULL, 0), dead);
    ck_assert_uint_eq(member_pick(g, WANT_LOST, &dead, 1), SLOT_NONE);
    alone_close(alone);
}
END_TEST

START_TEST(description_is_one_stable_line)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = alone_open(&config);
    char line[200];
    alone_meet(alone, 2);
    gossip_describe(&alone->gossip, line, sizeof line);
    ck_assert_str_eq(line,
                     "64 boot 10 incarnation 0 alive awareness 0: alive 2 suspect 0 dead 0 left 0"
                     " seeds 0 queue 3 relays 0 streams 0 probe none");
    gossip_describe(&alone->gossip, line, 10);
    ck_assert_uint_lt(strlen(line), 10);
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/member");
    TCase *table = tcase_create("table");
    tcase_add_loop_test(table, members_come_and_go_as_in_a_plain_list, 0, 5);
    tcase_add_test(table, more_members_than_the_limit_are_refused_and_said);
    tcase_add_test(table, who_lives_takes_the_place_of_the_longest_dead);
    tcase_add_test(table, refused_memory_drops_the_claim_and_a_later_one_succeeds);
    tcase_add_test(table, growth_refused_keeps_all_who_were_there);
    tcase_add_test(table, everybody_wanted_is_picked_and_nobody_else);
    suite_add_tcase(s, table);
    TCase *numbers = tcase_create("numbers");
    tcase_add_test(numbers, logarithm_is_that_of_the_library_to_a_65536th);
    tcase_add_test(numbers, claims_are_passed_on_four_times_the_digits);
    tcase_add_test(numbers, description_is_one_stable_line);
    suite_add_tcase(s, numbers);
    return s;
}

CHECK_MAIN(suite)
