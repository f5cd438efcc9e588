// tests/unit/cluster/test_apply_split.c -- one range becomes two while writes go on.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;
static uint64_t parent;

static omen_status
split_at(uint64_t at)
{
    return world_step(&world, parent, (struct shard_step){.kind = STEP_SPLIT, .value = at});
}

static const struct map_shard *
child(uint32_t i)
{
    return map_shard(&world.map, map_shard(&world.map, parent)->children[i]);
}

// Three nodes, two copies, split in the middle.
static void
begin(void)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "a", 1);
    parent = world_shard(&world, 2, 2);
    ck_assert_int_eq(split_at(1ull << 63), OMEN_OK);
}

static void
fill_child(uint32_t i, uint32_t node)
{
    const uint64_t id = child(i)->id;
    ck_assert_int_eq(world_step(&world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
                     OMEN_OK);
    ck_assert_int_eq(
        world_step(
            &world, id,
            (struct shard_step){.kind = STEP_BORN, .node = node, .replica = world_uuid(&world)}),
        OMEN_OK);
    ck_assert_uint_eq(shard_replica_on(child(i), node)->role, MAP_REPLICA_LEARNER);
    ck_assert_int_eq(world_step(&world, id,
                                (struct shard_step){.kind = STEP_ADD,
                                                    .replica = world_replica(&world, id, node)}),
                     OMEN_OK);
}

static omen_status
cut(uint64_t off)
{
    return world_step(
        &world, parent,
        (struct shard_step){.kind = STEP_CUT,
                            .value = 500,
                            .child_cfg_ver = {child(0)->cfg_ver, child(1)->cfg_ver + off}});
}

static uint64_t
routed(uint64_t hash)
{
    const struct map *published;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    const struct map_shard *shard = map_route(published, world.map.collections[0].id, hash);
    const uint64_t id = shard != NULL ? shard->id : 0;
    map_publish_end(published);
    return id;
}

START_TEST(a_split_at_the_edge_or_outside_is_refused)
{
    begin();
    ck_assert_int_eq(split_at(5), OMEN_E_CONFLICT); // splitting already
    world_step(&world, parent, (struct shard_step){.kind = STEP_ABORT});
    ck_assert_int_eq(split_at(0), OMEN_E_INVALID);
    ck_assert_int_eq(split_at(UINT64_MAX), OMEN_OK);
    ck_assert_uint_eq(child(1)->first, UINT64_MAX);
    world_fini(&world);
}
END_TEST

START_TEST(the_parent_answers_until_the_cut_and_the_children_from_then_on)
{
    begin();
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t node = 1; node <= 2; node++)
            fill_child(i, node);
    ck_assert_uint_eq(routed(7), parent);
    ck_assert_int_eq(cut(0), OMEN_OK);
    const uint64_t low = child(0)->id, high = child(1)->id;
    ck_assert_uint_eq(routed(7), low);
    ck_assert_uint_eq(routed(1ull << 63), high);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(child(i)->status, SHARD_OPEN);
        ck_assert_uint_eq(child(i)->term, 2);
        ck_assert_uint_eq(child(i)->base_seq, 500);
        ck_assert_uint_eq(child(i)->parent, parent);
        ck_assert_uint_eq(shard_replica(child(i), child(i)->primary)->node, 1);
    }
    ck_assert_int_eq(cut(0), OMEN_E_CONFLICT);
    ck_assert_int_eq(world_step(&world, low, (struct shard_step){.kind = STEP_PURGE}),
                     OMEN_E_CONFLICT);
    ck_assert_int_eq(world_step(&world, parent, (struct shard_step){.kind = STEP_PURGE}), OMEN_OK);
    ck_assert_uint_eq(world.map.shard_count, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_cut_gives_children_versions_above_what_their_copies_were_told)
{
    begin();
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t node = 1; node <= 2; node++)
            fill_child(i, node);
    // The versions of a child and its parent, added up: so that whatever changes of the two, it grows.
    const uint64_t told[2] = {child(0)->cfg_ver + map_shard(&world.map, parent)->cfg_ver,
                              child(1)->cfg_ver + map_shard(&world.map, parent)->cfg_ver};
    ck_assert_int_eq(cut(0), OMEN_OK);
    ck_assert_uint_gt(child(0)->cfg_ver, told[0]);
    ck_assert_uint_gt(child(1)->cfg_ver, told[1]);
    world_fini(&world);
}
END_TEST

START_TEST(a_child_that_changed_since_the_primary_looked_stops_the_cut)
{
    begin();
    fill_child(0, 1);
    ck_assert_int_eq(cut(0), OMEN_E_CONFLICT); // the other is empty
    fill_child(1, 1);
    ck_assert_int_eq(cut(1), OMEN_E_CONFLICT);
    ck_assert_int_eq(cut(0), OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(a_new_primary_of_the_parent_stops_the_old_ones_cut)
{
    begin();
    fill_child(0, 1);
    fill_child(1, 1);
    struct shard_step step = {.kind = STEP_CUT,
                              .cfg_ver = map_shard(&world.map, parent)->cfg_ver,
                              .child_cfg_ver = {child(0)->cfg_ver, child(1)->cfg_ver}};
    ck_assert_int_eq(world_step(&world, parent,
                                (struct shard_step){.kind = STEP_PROMOTE,
                                                    .replica = world_replica(&world, parent, 2)}),
                     OMEN_OK);
    ck_assert_int_eq(world_step(&world, parent, step), OMEN_E_CONFLICT);
    ck_assert_uint_eq(map_shard(&world.map, parent)->status, SHARD_SPLITTING);
    world_fini(&world);
}
END_TEST

START_TEST(an_aborted_split_leaves_the_parent_as_it_was)
{
    begin();
    fill_child(0, 1);
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job.kind = JOB_SPLIT;
    command.job.shard = child(0)->id;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(world_step(&world, parent, (struct shard_step){.kind = STEP_ABORT}), OMEN_OK);
    ck_assert_uint_eq(world.map.shard_count, 1);
    ck_assert_uint_eq(world.map.job_count, 0);
    ck_assert_uint_eq(map_shard(&world.map, parent)->status, SHARD_OPEN);
    ck_assert_uint_eq(map_shard(&world.map, parent)->children[0], 0);
    ck_assert_int_eq(world_step(&world, parent, (struct shard_step){.kind = STEP_ABORT}),
                     OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_child_may_lose_all_its_copies_and_is_filled_again)
{
    begin();
    fill_child(0, 1);
    const uint64_t id = child(0)->id;
    ck_assert_int_eq(
        world_step(&world, id,
                   (struct shard_step){.kind = STEP_LOST, .replica = world_replica(&world, id, 1)}),
        OMEN_OK);
    fill_child(0, 1);
    ck_assert_int_eq(world_step(&world, id,
                                (struct shard_step){.kind = STEP_REMOVE,
                                                    .replica = world_replica(&world, id, 1)}),
                     OMEN_OK);
    ck_assert_int_eq(world_step(&world, id, (struct shard_step){.kind = STEP_DROP, .node = 1}),
                     OMEN_OK);
    fill_child(0, 2);
    ck_assert_int_eq(world_step(&world, id,
                                (struct shard_step){.kind = STEP_PROMOTE,
                                                    .replica = world_replica(&world, id, 2)}),
                     OMEN_E_CONFLICT); // it answers nobody
    world_fini(&world);
}
END_TEST

START_TEST(a_child_opens_on_another_node_where_the_parents_primary_has_no_copy)
{
    begin();
    fill_child(0, 2);
    fill_child(1, 1);
    fill_child(1, 2);
    ck_assert_int_eq(cut(0), OMEN_OK);
    ck_assert_uint_eq(shard_replica(child(0), child(0)->primary)->node, 2);
    ck_assert_uint_eq(shard_replica(child(1), child(1)->primary)->node, 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_child_opens_on_a_copy_that_has_caught_up)
{
    begin();
    for (uint32_t i = 0; i < 2; i++) { // beside the parent's primary is one that has not
        const uint64_t id = child(i)->id;
        world_step(&world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = 1});
        world_step(
            &world, id,
            (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = world_uuid(&world)});
        fill_child(i, 2);
    }
    ck_assert_int_eq(cut(0), OMEN_OK);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_uint_eq(shard_replica(child(i), child(i)->primary)->node, 2);
    world_fini(&world);
}
END_TEST

START_TEST(nobody_cuts_for_a_primary_that_was_lost)
{
    begin();
    fill_child(0, 1);
    fill_child(1, 1);
    ck_assert_int_eq(world_step(&world, parent,
                                (struct shard_step){.kind = STEP_LOST,
                                                    .replica = world_replica(&world, parent, 1)}),
                     OMEN_OK);
    ck_assert_int_eq(cut(0), OMEN_E_CONFLICT);
    ck_assert_int_eq(world_step(&world, parent,
                                (struct shard_step){.kind = STEP_PROMOTE,
                                                    .replica = world_replica(&world, parent, 2)}),
                     OMEN_OK);
    ck_assert_int_eq(cut(0), OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_being_split_is_not_forced_and_wants_no_other_primary)
{
    begin();
    const struct cluster_uuid second = world_replica(&world, parent, 2);
    ck_assert_int_eq(
        world_step(&world, parent, (struct shard_step){.kind = STEP_FORCE, .replica = second}),
        OMEN_E_CONFLICT);
    ck_assert_int_eq(
        world_step(&world, parent, (struct shard_step){.kind = STEP_PREFER, .replica = second}),
        OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_retired_shard_takes_no_copies)
{
    begin();
    fill_child(0, 1);
    fill_child(1, 1);
    ck_assert_int_eq(cut(0), OMEN_OK);
    ck_assert_int_eq(
        world_step(&world, parent, (struct shard_step){.kind = STEP_ASSIGN, .node = 3}),
        OMEN_E_CONFLICT);
    ck_assert_int_eq(world_step(&world, parent,
                                (struct shard_step){.kind = STEP_REMOVE,
                                                    .replica = world_replica(&world, parent, 2)}),
                     OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_full_table_of_shards_refuses_a_split)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    parent = world_shard(&world, 1, 1);
    for (uint32_t i = 0; i < 16; i++) {
        const char name[] = {'c', (char)('a' + i), 0};
        world_collection(&world, name, MAP_COLLECTION_SHARDS_MAX - (i == 0), 1);
    }
    ck_assert_int_eq(split_at(5), OMEN_E_FULL);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_split_suite(void)
{
    Suite *suite = suite_create("cluster/apply_split");
    TCase *tcase = tcase_create("apply_split");
    tcase_add_test(tcase, a_split_at_the_edge_or_outside_is_refused);
    tcase_add_test(tcase, the_parent_answers_until_the_cut_and_the_children_from_then_on);
    tcase_add_test(tcase, a_cut_gives_children_versions_above_what_their_copies_were_told);
    tcase_add_test(tcase, a_child_that_changed_since_the_primary_looked_stops_the_cut);
    tcase_add_test(tcase, a_new_primary_of_the_parent_stops_the_old_ones_cut);
    tcase_add_test(tcase, an_aborted_split_leaves_the_parent_as_it_was);
    tcase_add_test(tcase, a_child_may_lose_all_its_copies_and_is_filled_again);
    tcase_add_test(tcase, a_child_opens_on_another_node_where_the_parents_primary_has_no_copy);
    tcase_add_test(tcase, a_child_opens_on_a_copy_that_has_caught_up);
    tcase_add_test(tcase, nobody_cuts_for_a_primary_that_was_lost);
    tcase_add_test(tcase, a_shard_being_split_is_not_forced_and_wants_no_other_primary);
    tcase_add_test(tcase, a_retired_shard_takes_no_copies);
    tcase_add_test(tcase, a_full_table_of_shards_refuses_a_split);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_split_suite)
