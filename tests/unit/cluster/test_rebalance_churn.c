// tests/unit/cluster/test_rebalance_churn.c -- after any churn there are enough copies, all is level, and nothing moves any more.
//
// Shape: shell.
#include "tests/lib/rebalance_world.h"

static void
random_event(void)
{
    const uint32_t node = 1 + prng_below(&world.prng, world.map.next_node - 1);
    const struct map_node *row = map_node(&world.map, node);
    switch (prng_below(&world.prng, 12)) {
    case 0:
    case 1:
        world.alive[node] = false;
        world.lease_void[node] = true;
        break;
    case 2:
        world.alive[node] = false;
        break;
    case 3:
    case 4:
    case 5:
        if (row != NULL && row->state != NODE_GONE)
            world.alive[node] = true;
        world.lease_void[node] = false;
        break;
    case 6:
        if (world.map.next_node < WORLD_NODES_MAX - 1) {
            const char zone[] = {'z', (char)('a' + prng_below(&world.prng, 3)), 0};
            world_node(&world, zone, (uint16_t)(100 + 100 * prng_below(&world.prng, 2)));
        }
        break;
    case 7:
        if (row != NULL)
            world_node_state(&world, node, NODE_DRAINING);
        break;
    case 8:
        if (row != NULL)
            world_node_state(&world, node, row->state == NODE_DRAINING ? NODE_UP : NODE_GONE);
        break;
    case 9:
        world.now_ns += (uint64_t)prng_below(&world.prng, 90) * 1000000000ull;
        break;
    case 10: {
        struct command command = command_of(COMMAND_COLLECTION_ALTER);
        command.alter = alter_of(world.map.collections[0].id, VERSION_ANY,
                                 (uint8_t)(2 + prng_below(&world.prng, 2)), 0);
        world_apply(&world, &command);
        break;
    }
    default: {
        const struct rebalance_config config = world.rebalance.config;
        rebalance_init(&world.rebalance, &config, prng_next(&world.prng));
        break;
    }
    }
}

static void
churn(uint32_t events)
{
    for (uint32_t event = 0; event < events; event++) {
        random_event();
        for (uint32_t round = prng_below(&world.prng, 6); round > 0; round--) {
            world_rebalance(&world, NULL);
            if (prng_below(&world.prng, 4) > 0)
                world_obey(&world);
            world.now_ns += 1000000000ull;
        }
    }
}

// Faults stop: everybody is back.
static void
calm_down(void)
{
    for (uint32_t i = 0; i < world.map.node_count; i++) {
        const struct map_node *node = &world.map.nodes[i];
        world.alive[node->number] = node->state != NODE_GONE;
        world.lease_void[node->number] = false;
        if (node->state == NODE_DRAINING)
            world_node_state(&world, node->number, NODE_UP);
    }
    while (world.map.next_node < 12)
        world_node(&world, "za", 100);
    settle();
}

static void
expect_rest(int seed)
{
    for (uint32_t round = 0; round < 100; round++) {
        ck_assert_msg(!world_rebalance(&world, NULL), "seed %d moves again", seed);
        world.now_ns += 1000000000ull;
    }
}

START_TEST(after_any_churn_everything_is_whole_again_and_then_nothing_moves)
{
    begin(6, 3, 30, 3);
    prng_init(&world.prng, (uint64_t)_i);
    churn(150);
    calm_down();
    expect_whole();
    expect_rest(_i);
    world_fini(&world);
}
END_TEST

START_TEST(shards_are_split_through_any_churn)
{
    world_init(&world, 1);
    world.by_width = true;
    world.rebalance.config.splits_max = 3;
    world.rebalance.config.split_units = 20;
    for (uint32_t i = 0; i < 5; i++)
        world_node(&world, i % 2 ? "za" : "zb", 100);
    world_collection(&world, "docs", 8, 2); // 32 units each: once
    prng_init(&world.prng, (uint64_t)_i);
    churn(100);
    calm_down();
    expect_whole();
    ck_assert_uint_eq(world.map.shard_count, 16);
    expect_rest(_i);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_rebalance_churn_suite(void)
{
    Suite *suite = suite_create("cluster/rebalance_churn");
    TCase *tcase = tcase_create("rebalance_churn");
    tcase_add_loop_test(tcase, after_any_churn_everything_is_whole_again_and_then_nothing_moves, 0,
                        60);
    tcase_add_loop_test(tcase, shards_are_split_through_any_churn, 0, 60);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_rebalance_churn_suite)
