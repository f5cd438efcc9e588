// tests/unit/cluster/test_place.c -- zones, fill, and weighted rendezvous with its two promises: proportion, and little moves.
//
// Shape: shell.
#include "cluster/place.h"

#include <math.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"

enum { NODES = 10, SHARDS = 20000 };

static void
make(struct place_node *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (struct place_node){.key = place_key((struct cluster_uuid){5, i + 1}),
                                       .number = i + 1,
                                       .weight = (uint16_t)(1 + i % 3),
                                       .eligible = true};
}

static uint32_t
pick(const struct place_node *nodes, uint32_t count, uint64_t shard, uint32_t units)
{
    const struct place_query query = {shard, NULL, 0, units, NULL, 0};
    return place_pick(nodes, count, &query);
}

START_TEST(draws_follow_the_logarithm)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < 10000; i++) {
        const uint64_t shard = prng_next(&prng), key = prng_next(&prng);
        const uint64_t x = mix64(mix64(shard + 0x9e3779b97f4a7c15ull) ^ key) | 1;
        const double expected = 64 - log2((double)x);
        const double drawn = (double)place_draw(shard, key, 1) / 0x1p48;
        ck_assert_msg(fabs(drawn - expected) < 1e-6, "%.9f for %.9f", drawn, expected);
        ck_assert_uint_le(place_draw(shard, key, 2), place_draw(shard, key, 1));
    }
}
END_TEST

START_TEST(empty_nodes_get_shards_in_proportion_to_their_weights)
{
    struct place_node nodes[NODES];
    uint32_t got[NODES] = {0}, weights = 0;
    make(nodes, NODES);
    for (uint32_t i = 0; i < NODES; i++)
        weights += nodes[i].weight;
    for (uint64_t shard = 0; shard < SHARDS; shard++)
        got[pick(nodes, NODES, shard, 0)]++;
    for (uint32_t i = 0; i < NODES; i++) {
        const double expected = (double)SHARDS * nodes[i].weight / weights;
        ck_assert_msg(fabs(got[i] - expected) < 5 * sqrt(expected), "node %u: %u for %.0f", i,
                      got[i], expected);
    }
}
END_TEST

START_TEST(a_node_that_goes_moves_its_own_shards_only)
{
    struct place_node nodes[NODES];
    make(nodes, NODES);
    for (uint64_t shard = 0; shard < SHARDS; shard++) {
        nodes[4].eligible = true;
        const uint32_t before = pick(nodes, NODES, shard, 0);
        nodes[4].eligible = false;
        const uint32_t after = pick(nodes, NODES, shard, 0);
        ck_assert(after != 4 && (before == 4 || before == after));
    }
}
END_TEST

START_TEST(a_weight_that_grows_moves_shards_to_it_only)
{
    struct place_node nodes[NODES];
    make(nodes, NODES);
    for (uint64_t shard = 0; shard < SHARDS; shard++) {
        nodes[4].weight = 2;
        const uint32_t before = pick(nodes, NODES, shard, 0);
        nodes[4].weight = 5;
        const uint32_t after = pick(nodes, NODES, shard, 0);
        ck_assert(before == after || after == 4);
    }
}
END_TEST

START_TEST(a_zone_without_a_copy_comes_before_an_empty_node)
{
    struct place_node nodes[4];
    make(nodes, 4);
    nodes[2].zone = nodes[3].zone = 1;
    nodes[2].load = nodes[3].load = 1000;
    const uint32_t member = 0;
    const struct place_query query = {7, &member, 1, 1, NULL, 0};
    const uint32_t row = place_pick(nodes, 4, &query);
    ck_assert(row == 2 || row == 3);
}
END_TEST

START_TEST(an_excluded_node_gets_nothing_and_its_zone_does_not_count)
{
    struct place_node nodes[4];
    make(nodes, 4);
    nodes[2].zone = nodes[3].zone = 1;
    const uint32_t member = 0, excluded = 2;
    const struct place_query query = {7, &member, 1, 1, &excluded, 1};
    ck_assert_uint_eq(place_pick(nodes, 4, &query), 3);
}
END_TEST

START_TEST(the_least_full_for_its_weight_comes_before_the_draw)
{
    struct place_node nodes[3];
    make(nodes, 3); // weights 1, 2, 3
    nodes[0].load = 10;
    nodes[1].load = 19;
    nodes[2].load = 33;
    for (uint64_t shard = 0; shard < 100; shard++)
        ck_assert_uint_eq(pick(nodes, 3, shard, 1), 1);
}
END_TEST

START_TEST(nobody_eligible_is_nobody)
{
    struct place_node nodes[2];
    make(nodes, 2);
    nodes[0].eligible = false;
    const uint32_t member = 1;
    const struct place_query query = {7, &member, 1, 1, NULL, 0};
    ck_assert_uint_eq(place_pick(nodes, 2, &query), PLACE_NONE);
    ck_assert_uint_eq(place_pick(nodes, 0, &query), PLACE_NONE);
}
END_TEST

static Suite *
cluster_place_suite(void)
{
    Suite *suite = suite_create("cluster/place");
    TCase *tcase = tcase_create("place");
    tcase_add_test(tcase, draws_follow_the_logarithm);
    tcase_add_test(tcase, empty_nodes_get_shards_in_proportion_to_their_weights);
    tcase_add_test(tcase, a_node_that_goes_moves_its_own_shards_only);
    tcase_add_test(tcase, a_weight_that_grows_moves_shards_to_it_only);
    tcase_add_test(tcase, a_zone_without_a_copy_comes_before_an_empty_node);
    tcase_add_test(tcase, an_excluded_node_gets_nothing_and_its_zone_does_not_count);
    tcase_add_test(tcase, the_least_full_for_its_weight_comes_before_the_draw);
    tcase_add_test(tcase, nobody_eligible_is_nobody);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_place_suite)
