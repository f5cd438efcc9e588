// tests/unit/index/test_build_gaps.c -- clusters' places packed and unpacked, and how much they take at most.
#include <stdlib.h>

#include "base/prng.h"
#include "index/build_int.h"
#include "tests/lib/check_main.h"

#define LEADERS 5u
#define MANY 4000u

struct clusters {
    struct build build;
    uint64_t starts[2 * (LEADERS + 1)];
    uint32_t places[LEADERS * MANY];
};

static struct clusters *
open_clusters(uint32_t rows)
{
    struct clusters *clusters = calloc(1, sizeof *clusters);
    ck_assert_ptr_nonnull(clusters);
    clusters->build = (struct build){.rows = {.count = rows},
                                     .leaders = LEADERS,
                                     .starts = clusters->starts,
                                     .gap_starts = clusters->starts + LEADERS + 1,
                                     .leaf_rows = 768,
                                     .rows_room = 1024,
                                     .config = build_config_for(32)};
    return clusters;
}

// Packs what lies in clusters->places; all comes back, in no more bytes than were promised, which are returned.
static uint64_t
check_packed(struct clusters *clusters)
{
    struct build *build = &clusters->build;
    const uint64_t all = build->starts[LEADERS];
    uint32_t back[MANY];
    gaps_pack(build, clusters->places);
    ck_assert_int_eq(atomic_load(&build->status), OMEN_OK);
    const uint64_t bytes = build->gap_starts[LEADERS];
    ck_assert_uint_le(bytes, gaps_bytes_most(build, all));
    for (uint32_t leader = 0; leader < LEADERS; leader++) {
        const uint64_t from = build->starts[leader], count = build->starts[leader + 1] - from;
        gaps_unpack(build, leader, back);
        for (uint64_t i = 0; i < count; i++)
            ck_assert_uint_eq(back[i], clusters->places[from + i]);
    }
    build_free(build, build->gaps, bytes);
    free(clusters);
    return bytes;
}

START_TEST(gaps_of_every_length_come_back)
{
    static const uint32_t lists[LEADERS][4] = {
        {0, 127, 255, 256}, // gaps of 0, 127, 128 and 1
        {16383, 32767},     // the last with two bytes and the first with three
        {2097151, 4194303}, // three and four
        {268435455, 536870911, UINT32_MAX - 1},
    };
    static const uint32_t counts[LEADERS] = {4, 2, 2, 3, 0};
    struct clusters *clusters = open_clusters(UINT32_MAX);
    uint32_t all = 0;
    for (uint32_t leader = 0; leader < LEADERS; leader++) {
        for (uint32_t i = 0; i < counts[leader]; i++)
            clusters->places[all++] = lists[leader][i];
        clusters->starts[leader + 1] = all;
    }
    ck_assert_uint_eq(check_packed(clusters), 1 + 1 + 2 + 1 + 2 + 3 + 3 + 4 + 4 + 5 + 5);
}
END_TEST

START_TEST(clusters_of_one_place_in_many_take_a_byte_a_place_or_little_more)
{
    static const uint32_t one_in[] = {1, 10, 80, 1000};
    struct clusters *clusters = open_clusters(MANY * one_in[_i]);
    struct prng prng;
    prng_init(&prng, 7);
    uint32_t all = 0;
    for (uint32_t leader = 0; leader < LEADERS; leader++) {
        for (uint32_t place = 0, many = 0; place < clusters->build.rows.count && many < MANY;
             place++)
            if (prng_below(&prng, one_in[_i]) == 0) {
                clusters->places[all++] = place;
                many++;
            }
        clusters->starts[leader + 1] = all;
    }
    const uint64_t places = all;
    const uint64_t bytes = check_packed(clusters);
    ck_assert_uint_ge(bytes, places);
    ck_assert_uint_le(bytes, places * (one_in[_i] <= 80 ? 5 : 8) / 4);
}
END_TEST

static Suite *
gaps_suite(void)
{
    Suite *suite = suite_create("build_gaps");
    TCase *tcase = tcase_create("gaps");
    tcase_add_test(tcase, gaps_of_every_length_come_back);
    tcase_add_loop_test(tcase, clusters_of_one_place_in_many_take_a_byte_a_place_or_little_more, 0,
                        4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(gaps_suite)
