// tests/unit/router/test_watch.c -- whom a node without the metadata's log asks for the map, and when.
//
// Shape: shell.
#include "router/watch.h"

#include "tests/lib/check_main.h"

#define MS UINT64_C(1000000)
#define ANSWER (100 * MS)
#define RETRY (10 * MS)

static struct watch watch;
static struct watch_output out;
static struct watch_source sources[WATCH_SOURCES_MAX + 1];
static uint64_t now_ns, have;

static struct cluster_uuid
uuid_of(uint64_t at)
{
    return (struct cluster_uuid){7, 1 + at};
}

static void
step(struct watch_input in)
{
    in.now_ns = now_ns;
    in.have = have;
    watch_step(&watch, &in, &out);
    watch_check(&watch);
}

static void
wake(void)
{
    step((struct watch_input){.kind = WATCH_IN_WAKE});
}

// `count` nodes, all of this version.
static void
there_are(uint32_t count, uint64_t version)
{
    for (uint32_t i = 0; i < count; i++)
        sources[i] = (struct watch_source){uuid_of(i), version};
    step((struct watch_input){.kind = WATCH_IN_NODES, .sources = sources, .source_count = count});
}

static void
word(uint64_t version)
{
    step((struct watch_input){.kind = WATCH_IN_WORD, .version = version});
}

static void
say(enum watch_input_kind kind, struct cluster_uuid node)
{
    step((struct watch_input){.kind = kind, .node = node});
}

static void
setup(void)
{
    const struct watch_config config = {.answer_ns = ANSWER, .retry_ns = RETRY};
    now_ns = 1000 * MS;
    have = 0;
    watch_init(&watch, &config, 7);
}

// Until it asks: how long that took.
static uint64_t
until_it_asks(void)
{
    const uint64_t since_ns = now_ns;
    while (!out.asks) {
        ck_assert_uint_ne(out.wake_ns, UINT64_MAX);
        ck_assert_uint_ge(out.wake_ns, now_ns);
        now_ns = out.wake_ns;
        wake();
    }
    return now_ns - since_ns;
}

START_TEST(nobody_is_asked_for_what_is_there)
{
    wake();
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
    word(9); // and nobody to ask
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
    have = 9;
    there_are(3, 9);
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
    word(9);
    ck_assert(!out.asks);
}
END_TEST

START_TEST(who_is_said_to_have_a_newer_one_is_asked_once)
{
    there_are(5, 0);
    ck_assert(!out.asks);
    sources[3].version = 4;
    step((struct watch_input){.kind = WATCH_IN_NODES, .sources = sources, .source_count = 5});
    ck_assert(out.asks);
    ck_assert(uuid_equal(out.node, uuid_of(3)));
    ck_assert_uint_eq(out.wake_ns, now_ns + ANSWER);
    wake();
    ck_assert(!out.asks);
    have = 4;
    wake();
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
}
END_TEST

START_TEST(any_of_those_that_have_it_is_asked_and_then_the_same_again)
{
    uint32_t asked[4] = {0};
    for (uint64_t seed = 0; seed < 64; seed++) {
        const struct watch_config config = {.answer_ns = ANSWER, .retry_ns = RETRY};
        have = 0;
        watch_init(&watch, &config, seed);
        there_are(4, 3);
        ck_assert(out.asks);
        const struct cluster_uuid first = out.node;
        asked[first.low - 1]++;
        have = 3;
        there_are(4, 4);
        ck_assert(out.asks);
        ck_assert(uuid_equal(out.node, first));
        sources[first.low - 1].version = 4; // all others are further
        have = 4;
        for (uint32_t i = 0; i < 4; i++)
            sources[i].version = i == first.low - 1 ? 4 : 5;
        step((struct watch_input){.kind = WATCH_IN_NODES, .sources = sources, .source_count = 4});
        ck_assert(out.asks);
        ck_assert(!uuid_equal(out.node, first));
    }
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_gt(asked[i], 0);
}
END_TEST

START_TEST(a_word_of_a_newer_one_has_somebody_asked_though_nobody_is_said_to_have_it)
{
    have = 3;
    there_are(2, 3);
    word(5);
    ck_assert(out.asks);
    have = 5;
    wake();
    ck_assert(!out.asks);
}
END_TEST

START_TEST(who_says_nothing_is_left_for_another_and_time_between_grows)
{
    static const uint64_t waits[] = {ANSWER,
                                     2 * ANSWER + RETRY,
                                     4 * ANSWER + 2 * RETRY,
                                     8 * ANSWER + 4 * RETRY,
                                     16 * ANSWER + 8 * RETRY,
                                     16 * ANSWER + 16 * RETRY,
                                     16 * ANSWER + 16 * RETRY};
    there_are(3, 2);
    uint32_t asked[3] = {0};
    for (uint32_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        ck_assert(out.asks);
        asked[out.node.low - 1]++;
        if (i % 3 == 2)
            for (uint32_t k = 0; k < 3; k++)
                ck_assert_uint_eq(asked[k], i / 3 + 1); // each in turn
        out.asks = false;
        ck_assert_uint_eq(until_it_asks(), waits[i]);
    }
    have = 2;
    wake();
    there_are(3, 3); // all is forgotten
    ck_assert(out.asks);
    ck_assert_uint_eq(out.wake_ns, now_ns + ANSWER);
}
END_TEST

START_TEST(who_cannot_be_asked_or_says_what_is_no_map_is_left_at_once)
{
    there_are(2, 2);
    const struct cluster_uuid first = out.node;
    say(WATCH_IN_FAILED, uuid_of(9)); // not the one who was asked
    ck_assert(!out.asks);
    say(WATCH_IN_FAILED, first);
    ck_assert(out.asks);
    ck_assert(!uuid_equal(out.node, first));
    say(WATCH_IN_FAILED, out.node);
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, now_ns + RETRY);
    say(WATCH_IN_FAILED, first); // nobody is asked now
    ck_assert_uint_eq(until_it_asks(), RETRY);
}
END_TEST

START_TEST(who_is_gone_is_waited_for_no_longer)
{
    there_are(2, 2);
    const struct cluster_uuid first = out.node;
    const struct watch_source other = sources[first.low == 1 ? 1 : 0];
    step((struct watch_input){.kind = WATCH_IN_NODES, .sources = &other, .source_count = 1});
    ck_assert(out.asks);
    ck_assert(uuid_equal(out.node, other.node));
    step((struct watch_input){.kind = WATCH_IN_NODES, .sources = &other, .source_count = 0});
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
}
END_TEST

START_TEST(each_piece_of_an_answer_gives_it_more_time)
{
    there_are(1, 2);
    for (uint32_t i = 0; i < 5; i++) {
        now_ns += ANSWER - 1;
        say(WATCH_IN_PROGRESS, out.asks ? out.node : uuid_of(0));
        ck_assert(!out.asks);
        ck_assert_uint_eq(out.wake_ns, now_ns + ANSWER);
    }
    now_ns += ANSWER - 1;
    say(WATCH_IN_PROGRESS, uuid_of(5)); // somebody else's does not
    ck_assert_uint_eq(out.wake_ns, now_ns + 1);
    now_ns += 1;
    wake();
    ck_assert(out.asks); // the only one, again
    say(WATCH_IN_FAILED, out.node);
    say(WATCH_IN_PROGRESS, uuid_of(0)); // nobody is asked now
    ck_assert_uint_eq(out.wake_ns, now_ns + RETRY);
}
END_TEST

START_TEST(a_version_that_nobody_has_is_forgotten_when_all_were_asked)
{
    have = 3;
    there_are(3, 3);
    word(UINT64_MAX);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(out.asks);
        out.asks = false;
        if (i < 2)
            (void)until_it_asks();
    }
    now_ns = out.wake_ns;
    wake();
    ck_assert(!out.asks);
    ck_assert_uint_eq(out.wake_ns, UINT64_MAX);
}
END_TEST

START_TEST(more_sources_than_there_is_room_for_are_left_out)
{
    have = 1;
    for (uint32_t i = 0; i <= WATCH_SOURCES_MAX; i++)
        sources[i] = (struct watch_source){uuid_of(i), i >= WATCH_SOURCES_MAX - 1 ? 2 : 1};
    step((struct watch_input){
        .kind = WATCH_IN_NODES, .sources = sources, .source_count = WATCH_SOURCES_MAX + 1});
    ck_assert_uint_eq(watch.count, WATCH_SOURCES_MAX);
    ck_assert(out.asks);
    ck_assert(uuid_equal(out.node, uuid_of(WATCH_SOURCES_MAX - 1)));
}
END_TEST

START_TEST(sources_in_another_order_keep_what_is_known_of_them)
{
    there_are(3, 2);
    const struct cluster_uuid first = out.node;
    say(WATCH_IN_FAILED, first);
    const struct cluster_uuid second = out.node;
    const struct watch_source turned[] = {sources[2], sources[0], sources[1]};
    step((struct watch_input){.kind = WATCH_IN_NODES, .sources = turned, .source_count = 3});
    ck_assert(!out.asks);
    say(WATCH_IN_FAILED, second);
    (void)until_it_asks();
    ck_assert(!uuid_equal(out.node, first));
    ck_assert(!uuid_equal(out.node, second));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("router/watch");
    TCase *tcase = tcase_create("watch");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nobody_is_asked_for_what_is_there);
    tcase_add_test(tcase, who_is_said_to_have_a_newer_one_is_asked_once);
    tcase_add_test(tcase, any_of_those_that_have_it_is_asked_and_then_the_same_again);
    tcase_add_test(tcase,
                   a_word_of_a_newer_one_has_somebody_asked_though_nobody_is_said_to_have_it);
    tcase_add_test(tcase, who_says_nothing_is_left_for_another_and_time_between_grows);
    tcase_add_test(tcase, who_cannot_be_asked_or_says_what_is_no_map_is_left_at_once);
    tcase_add_test(tcase, who_is_gone_is_waited_for_no_longer);
    tcase_add_test(tcase, each_piece_of_an_answer_gives_it_more_time);
    tcase_add_test(tcase, a_version_that_nobody_has_is_forgotten_when_all_were_asked);
    tcase_add_test(tcase, more_sources_than_there_is_room_for_are_left_out);
    tcase_add_test(tcase, sources_in_another_order_keep_what_is_known_of_them);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
