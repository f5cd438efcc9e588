// tests/unit/cluster/test_rebalance.c -- what the rebalancer promises of nodes that live: level by few moves, drains, zones, sizes, and an end.
//
// Shape: shell.
#include "tests/lib/rebalance_world.h"

START_TEST(a_new_collection_is_level_and_open_after_one_look)
{
    begin(5, 5, 40, 3);
    expect_whole();
    expect_level((struct tally){1, 2});
    ck_assert_uint_eq(world.steps[STEP_ASSIGN], 120);
    ck_assert_uint_eq(world.steps[STEP_MOVE], 0);
    world_fini(&world);
}
END_TEST

START_TEST(copies_of_a_shard_are_in_as_many_zones_as_there_are)
{
    begin(9, (uint32_t)_i + 2, 50, 3); // 2, 3, 4 zones
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        const struct map_shard *shard = &world.map.shards[i];
        bool seen[26] = {false};
        uint32_t zones = 0;
        for (uint32_t r = 0; r < shard->replica_count; r++) {
            const char zone = map_node(&world.map, shard->replicas[r].node)->zone.bytes[1];
            zones += !seen[zone - 'a'];
            seen[zone - 'a'] = true;
        }
        ck_assert_uint_eq(zones, _i == 0 ? 2 : 3);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_new_node_gets_its_share_by_the_fewest_moves)
{
    begin(4, 1, 50, 2); // 25 copies each
    const uint32_t node = world_node(&world, "za", 100);
    settle();
    expect_whole();
    ck_assert_uint_eq(tally_of(node).copies, 20); // 100 copies on 5 nodes
    ck_assert_uint_eq(world.steps[STEP_MOVE], 20);
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(copies_follow_the_weights)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 4; i++)
        world_node(&world, "a", (uint16_t)(i < 2 ? 300 : 100));
    world_collection(&world, "docs", 80, 1);
    settle();
    expect_whole();
    for (uint32_t node = 1; node <= 4; node++) {
        const uint32_t copies = tally_of(node).copies;
        ck_assert_msg(copies >= (node < 3 ? 29u : 9u) && copies <= (node < 3 ? 31u : 11u), "%u",
                      copies);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_draining_node_becomes_empty_by_hardly_more_moves_than_copies)
{
    begin(5, 1, 40, 3);
    const uint32_t copies = tally_of(2).copies;
    const uint64_t assigned = world.steps[STEP_ASSIGN];
    ck_assert_int_eq(world_node_state(&world, 2, NODE_DRAINING), OMEN_OK);
    settle();
    ck_assert_uint_eq(tally_of(2).copies, 0);
    const uint64_t moves = world.steps[STEP_ASSIGN] - assigned + world.steps[STEP_MOVE];
    ck_assert_uint_ge(moves, copies);
    ck_assert_uint_le(moves, copies + 2); // to level what had no better place when it went
    ck_assert_int_eq(world_node_state(&world, 2, NODE_GONE), OMEN_OK);
    expect_whole();
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(a_drain_hands_over_a_few_primaries_at_a_time)
{
    begin(3, 1, 90, 2);
    const uint32_t primaries = tally_of(2).primaries;
    ck_assert_uint_gt(primaries, world.rebalance.config.transfers_max);
    ck_assert_int_eq(world_node_state(&world, 2, NODE_DRAINING), OMEN_OK);
    for (uint32_t round = 0; round < ROUNDS && tally_of(2).copies > 0; round++) {
        world_rebalance(&world, NULL);
        uint32_t wanted = 0;
        for (uint32_t i = 0; i < world.map.shard_count; i++)
            wanted += !uuid_is_none(world.map.shards[i].wanted);
        ck_assert_uint_le(wanted, world.rebalance.config.transfers_max);
        world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    ck_assert_uint_eq(tally_of(2).copies, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_is_about_to_end_is_primary_of_nothing_and_keeps_its_copies)
{
    begin(3, 1, 30, 3);
    const uint32_t led = tally_of(1).primaries;
    const uint64_t moves = world.steps[STEP_MOVE] + world.steps[STEP_ASSIGN];
    const uint64_t preferred = world.steps[STEP_PREFER];
    ck_assert_uint_gt(led, world.rebalance.config.transfers_max);
    world.leaving[1] = true;
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.steps[STEP_PREFER], preferred + led); // all at once
    settle();
    ck_assert_uint_eq(tally_of(1).primaries, 0); // and it is given none back
    ck_assert_uint_eq(tally_of(1).copies, 30);
    ck_assert_uint_eq(tally_of(2).primaries, 15);
    ck_assert_uint_eq(tally_of(3).primaries, 15);
    ck_assert_uint_eq(world.steps[STEP_DROP], 0);
    ck_assert_uint_eq(world.steps[STEP_MOVE] + world.steps[STEP_ASSIGN], moves);
    world.leaving[1] = false; // it is back
    settle();
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(nothing_goes_to_a_node_that_is_about_to_end)
{
    begin(3, 1, 30, 3);
    world.leaving[1] = world.leaving[2] = world.leaving[3] = true;
    const uint64_t version = world.map.version;
    settle();
    ck_assert_uint_eq(world.map.version, version); // to whom?
    world.leaving[3] = false;
    world.alive[1] =
        false; // and is gone: who is about to end is promoted only where nobody else is
    world.lease_void[1] = true;
    settle();
    ck_assert_uint_eq(tally_of(3).primaries, 30);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_holds_no_data_any_more_becomes_empty)
{
    begin(4, 1, 20, 2);
    const struct map_node *node = map_node(&world.map, 2);
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){.uuid = node->uuid,
                                         .boot = 2,
                                         .features = 7,
                                         .weight = 100,
                                         .roles = NODE_ROUTER,
                                         .zone = node->zone};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    settle();
    ck_assert_uint_eq(tally_of(2).copies, 0);
    expect_whole();
    world_fini(&world);
}
END_TEST

// The primary of a shard that is being split is on the node that shall become empty, or its only copy is.
START_TEST(a_drain_ends_though_a_shard_is_being_split)
{
    begin(4, 1, 1, (uint8_t)(1 + _i));
    world.by_width = true; // 256 units
    world.rebalance.config.split_units = 200;
    const struct map_shard *shard = &world.map.shards[0];
    const uint32_t node = shard_replica(shard, shard->primary)->node;
    ck_assert_int_eq(
        world_step(&world, shard->id, (struct shard_step){.kind = STEP_SPLIT, .value = 1ull << 63}),
        OMEN_OK);
    ck_assert_int_eq(world_node_state(&world, node, NODE_DRAINING), OMEN_OK);
    settle();
    ck_assert_uint_eq(tally_of(node).copies, 0);
    expect_whole();
    ck_assert_uint_eq(world.map.shard_count, 2); // split again, where it will be
    world_fini(&world);
}
END_TEST

START_TEST(a_drain_without_another_node_waits_and_harms_nobody)
{
    begin(3, 1, 10, 3);
    world_node_state(&world, 3, NODE_DRAINING);
    settle();
    ck_assert_uint_eq(tally_of(3).copies, 10);
    ck_assert_uint_eq(tally_of(3).primaries, 0); // but it leads no more
    ck_assert_uint_eq(world.output.notes[REBALANCE_HOMELESS], 10);
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        ck_assert_uint_eq(world_safe(&world, &world.map.shards[i]), 3);
    world_fini(&world);
}
END_TEST

static uint32_t
fewest_moves(uint32_t count)
{
    uint32_t copies[WORLD_NODES_MAX], total = 0, moves = 0;
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = tally_of(i + 1).copies;
        total += copies[i];
    }
    for (uint32_t i = 0; i < count; i++) // the fullest first: they may keep one more
        for (uint32_t j = i + 1; j < count; j++)
            if (copies[j] > copies[i]) {
                const uint32_t swapped = copies[i];
                copies[i] = copies[j];
                copies[j] = swapped;
            }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t share = total / count + (i < total % count);
        moves += copies[i] > share ? copies[i] - share : 0;
    }
    return moves;
}

START_TEST(new_nodes_are_filled_by_no_more_moves_than_it_takes)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    const uint32_t before = 3 + prng_below(&prng, 8), added = 1 + prng_below(&prng, 4);
    const uint32_t shards = 5 + prng_below(&prng, 80);
    const uint8_t replication = (uint8_t)(1 + prng_below(&prng, 3));
    begin(before, 1, shards, replication);
    for (uint32_t i = 0; i < added; i++)
        world_node(&world, "za", 100);
    const uint32_t fewest = fewest_moves(before + added);
    settle();
    expect_whole();
    expect_level((struct tally){1, UINT32_MAX});
    ck_assert_uint_eq(world.steps[STEP_MOVE], fewest);
    world_fini(&world);
}
END_TEST

// Two of the worlds in which a greedy choice costs a move: what the fullest node has left lies on the emptiest already, or is
// on its way.
START_TEST(a_node_that_is_full_gives_before_one_that_has_its_share)
{
    begin(_i == 0 ? 3 : 4, 1, _i == 0 ? 39 : 6, 3);
    const uint32_t before = world.map.node_count;
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "za", 100);
    const uint32_t fewest = fewest_moves(before + 3);
    settle();
    expect_whole();
    expect_level((struct tally){1, UINT32_MAX});
    ck_assert_uint_eq(world.steps[STEP_MOVE], fewest);
    world_fini(&world);
}
END_TEST

START_TEST(missing_copies_of_many_shards_are_made_a_few_at_a_time)
{
    begin(4, 1, 40, 1);
    struct command command = command_of(COMMAND_COLLECTION_ALTER);
    command.alter = alter_of(world.map.collections[0].id, VERSION_ANY, 2, 0);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    for (uint32_t made = 0; made < 40; made += world.rebalance.config.moves_max) {
        ck_assert(world_rebalance(&world, NULL));
        ck_assert_uint_eq(world.output.notes[REBALANCE_ASSIGNED], world.rebalance.config.moves_max);
        while (world_obey(&world))
            continue;
        world.now_ns += 1000000000ull;
    }
    settle();
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(a_new_zone_gets_a_copy_of_every_shard)
{
    begin(4, 1, 12, 2);
    world_node(&world, "zb", 100);
    world_node(&world, "zb", 100);
    settle();
    expect_whole();
    ck_assert_uint_eq(tally_of(5).copies + tally_of(6).copies, 12);
    ck_assert_uint_eq(world.steps[STEP_MOVE], 12);
    world_fini(&world);
}
END_TEST

START_TEST(a_lower_replication_drops_what_is_too_much_and_a_higher_one_adds)
{
    begin(4, 2, 20, 3);
    struct command command = command_of(COMMAND_COLLECTION_ALTER);
    command.alter = alter_of(world.map.collections[0].id, VERSION_ANY, 2, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    settle();
    expect_whole();
    expect_level((struct tally){1, 2});
    command.alter.replication = 4;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    settle();
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(a_large_shard_is_split_beside_its_copies)
{
    world_init(&world, 1);
    world.rebalance.config.split_units = 100;
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "a", 100);
    world_collection(&world, "docs", 2, 2);
    settle();
    uint32_t units[16] = {100, 5};
    bool busy = true;
    for (uint32_t round = 0; busy && round < 200; round++) {
        if (map_shard(&world.map, 2) == NULL || world.map.shards[0].status != SHARD_OPEN ||
            world.map.shards[0].id != 2)
            units[0] = 5;
        busy = world_rebalance(&world, units);
        busy |= world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    ck_assert(!busy);
    ck_assert_uint_eq(world.map.shard_count, 3);
    ck_assert_uint_eq(world.steps[STEP_CUT], 1);
    ck_assert_uint_eq(world.steps[STEP_PURGE], 1);
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(loads_that_tremble_move_nothing)
{
    begin(4, 1, 80, 2);
    uint32_t units[80];
    for (uint32_t i = 0; i < 80; i++)
        units[i] = 1000;
    world.rebalance.config.slack_permille = 100;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 80; i++)
            units[i] = 980 + prng_below(&world.prng, 40);
        ck_assert(!world_rebalance(&world, units));
        world.now_ns += 1000000000ull;
    }
    world_fini(&world);
}
END_TEST

START_TEST(shards_of_many_sizes_are_levelled_and_then_left_alone)
{
    begin(5, 1, 60, 2);
    prng_init(&world.prng, (uint64_t)_i);
    uint32_t units[60], round = 0;
    uint64_t load[6] = {0}, total = 0, largest = 0;
    for (uint32_t i = 0; i < 60; i++) {
        units[i] = 1 + prng_below(&world.prng, 200);
        largest = units[i] > largest ? units[i] : largest;
    }
    for (bool busy = true; busy; round++) {
        ck_assert_uint_lt(round, ROUNDS);
        busy = world_rebalance(&world, units);
        busy |= world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    expect_whole();
    for (uint32_t i = 0; i < 60; i++)
        for (uint32_t r = 0; r < 2; r++) {
            load[world.map.shards[i].replicas[r].node] += units[i];
            total += units[i];
        }
    for (uint32_t node = 1; node <= 5; node++)
        ck_assert_uint_le(load[node], total / 5 + largest);
    world_fini(&world);
}
END_TEST

START_TEST(a_leader_that_begins_anew_at_every_look_comes_to_the_same_end)
{
    begin(4, 1, 30, 2);
    world_node(&world, "za", 100);
    world_node_state(&world, 1, NODE_DRAINING);
    bool busy = true;
    for (uint32_t round = 0; busy && round < ROUNDS; round++) {
        const struct rebalance_config config = world.rebalance.config;
        rebalance_init(&world.rebalance, &config, round);
        busy = world_rebalance(&world, NULL);
        busy |= world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    ck_assert(!busy);
    expect_whole();
    ck_assert_uint_eq(tally_of(1).copies, 0);
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(a_proposal_is_repeated_after_a_while_and_not_before)
{
    world_init(&world, 1);
    world_node(&world, "a", 100);
    world_collection(&world, "docs", 1, 1);
    const struct node_health health = {.node = 1, .alive = true};
    struct rebalance_input input = {.map = &world.map, .health = &health, .health_count = 1};
    for (uint32_t i = 0; i < 3; i++) {
        rebalance_step(&world.rebalance, &input, &world.output);
        ck_assert_uint_eq(world.output.command.kind, i == 1 ? 0 : COMMAND_STEPS);
        ck_assert_uint_eq(world.output.wake_ns, i == 2 ? 2000000000u : 1000000000u);
        input.now_ns = i == 0 ? 999999999u : 1000000000u;
    }
    char line[200];
    rebalance_describe(&world.rebalance, line, sizeof line);
    ck_assert_str_eq(line, "rebalance moving=0 transferring=0 splitting=0 dead=");
    world_fini(&world);
}
END_TEST

START_TEST(more_steps_than_a_command_holds_go_into_the_next)
{
    begin(2, 1, 600, 2);
    expect_whole();
    ck_assert_uint_eq(world.steps[STEP_ASSIGN], 1200);
    kill_node(1);
    const uint32_t primaries = tally_of(1).primaries;
    ck_assert_uint_gt(primaries, COMMAND_STEPS_MAX);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.command.steps.count, COMMAND_STEPS_MAX);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(tally_of(1).primaries, 0);
    world_fini(&world);
}
END_TEST

// A node dies, returns, comes, drains, goes; a collection is altered; the leader changes.

static Suite *
cluster_rebalance_suite(void)
{
    Suite *suite = suite_create("cluster/rebalance");
    TCase *tcase = tcase_create("rebalance");
    tcase_add_test(tcase, a_new_collection_is_level_and_open_after_one_look);
    tcase_add_loop_test(tcase, copies_of_a_shard_are_in_as_many_zones_as_there_are, 0, 3);
    tcase_add_test(tcase, a_new_node_gets_its_share_by_the_fewest_moves);
    tcase_add_test(tcase, copies_follow_the_weights);
    tcase_add_test(tcase, a_draining_node_becomes_empty_by_hardly_more_moves_than_copies);
    tcase_add_test(tcase, a_drain_hands_over_a_few_primaries_at_a_time);
    tcase_add_test(tcase, a_node_that_is_about_to_end_is_primary_of_nothing_and_keeps_its_copies);
    tcase_add_test(tcase, nothing_goes_to_a_node_that_is_about_to_end);
    tcase_add_test(tcase, a_node_that_holds_no_data_any_more_becomes_empty);
    tcase_add_loop_test(tcase, a_drain_ends_though_a_shard_is_being_split, 0, 3);
    tcase_add_test(tcase, a_drain_without_another_node_waits_and_harms_nobody);
    tcase_add_loop_test(tcase, new_nodes_are_filled_by_no_more_moves_than_it_takes, 0, 200);
    tcase_add_loop_test(tcase, a_node_that_is_full_gives_before_one_that_has_its_share, 0, 2);
    tcase_add_test(tcase, missing_copies_of_many_shards_are_made_a_few_at_a_time);
    tcase_add_test(tcase, a_new_zone_gets_a_copy_of_every_shard);
    tcase_add_test(tcase, a_lower_replication_drops_what_is_too_much_and_a_higher_one_adds);
    tcase_add_test(tcase, a_large_shard_is_split_beside_its_copies);
    tcase_add_test(tcase, loads_that_tremble_move_nothing);
    tcase_add_loop_test(tcase, shards_of_many_sizes_are_levelled_and_then_left_alone, 0, 20);
    tcase_add_test(tcase, a_leader_that_begins_anew_at_every_look_comes_to_the_same_end);
    tcase_add_test(tcase, a_proposal_is_repeated_after_a_while_and_not_before);
    tcase_add_test(tcase, more_steps_than_a_command_holds_go_into_the_next);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_rebalance_suite)
