// tests/unit/cluster/test_apply_shard.c -- members, terms and configurations of a shard, step by step.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;
static uint64_t shard;

static const struct map_shard *
row(void)
{
    return map_shard(&world.map, shard);
}

static omen_status
on_node(enum step_kind kind, uint32_t node)
{
    return world_step(&world, shard, (struct shard_step){.kind = (uint8_t)kind, .node = node});
}

static omen_status
on_replica(enum step_kind kind, uint32_t node)
{
    return world_step(
        &world, shard,
        (struct shard_step){.kind = (uint8_t)kind, .replica = world_replica(&world, shard, node)});
}

// `nodes` nodes, of which the first `copies` hold the shard.
static void
begin(uint8_t nodes, uint8_t copies, uint8_t replication)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < nodes; i++)
        world_node(&world, "a", 1);
    shard = world_shard(&world, copies, replication);
}

START_TEST(a_shard_opens_when_its_last_copy_is_born_and_not_before)
{
    begin(3, 0, 3);
    for (uint32_t node = 1; node <= 3; node++)
        ck_assert_int_eq(on_node(STEP_ASSIGN, node), OMEN_OK);
    for (uint32_t node = 1; node <= 3; node++) {
        ck_assert_uint_eq(row()->status, SHARD_CREATING);
        ck_assert_int_eq(world_step(&world, shard,
                                    (struct shard_step){.kind = STEP_BORN,
                                                        .node = node,
                                                        .replica = world_uuid(&world)}),
                         OMEN_OK);
    }
    ck_assert_uint_eq(row()->status, SHARD_OPEN);
    ck_assert_uint_eq(row()->term, 1);
    ck_assert_uint_eq(shard_in_sync(row()), 3);
    ck_assert(uuid_equal(row()->primary, world_replica(&world, shard, 1)));
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_opens_when_the_one_it_waits_for_is_dropped)
{
    begin(3, 0, 3);
    for (uint32_t node = 1; node <= 3; node++)
        on_node(STEP_ASSIGN, node);
    for (uint32_t node = 1; node <= 2; node++)
        world_step(
            &world, shard,
            (struct shard_step){.kind = STEP_BORN, .node = node, .replica = world_uuid(&world)});
    ck_assert_int_eq(on_node(STEP_DROP, 3), OMEN_OK);
    ck_assert_uint_eq(row()->status, SHARD_OPEN);
    world_fini(&world);
}
END_TEST

START_TEST(a_step_that_saw_another_configuration_is_refused)
{
    begin(3, 2, 2);
    for (uint32_t kind = 1; kind < STEP_KINDS_END; kind++)
        for (uint64_t off = 0; off < 2; off++)
            ck_assert_int_eq(
                world_step(&world, shard,
                           (struct shard_step){.kind = (uint8_t)kind,
                                               .cfg_ver = row()->cfg_ver - 1 + off * 2,
                                               .node = 3,
                                               .replica = world_replica(&world, shard, 2)}),
                OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_step_of_an_unknown_shard_node_or_replica_is_refused)
{
    begin(1, 1, 1);
    for (uint32_t kind = 1; kind < STEP_KINDS_END; kind++) {
        ck_assert_int_eq(
            world_step(&world, 999, (struct shard_step){.kind = (uint8_t)kind, .cfg_ver = 1}),
            OMEN_E_NOT_FOUND);
        const omen_status status = world_step(
            &world, shard,
            (struct shard_step){.kind = (uint8_t)kind, .node = 99, .from = 99, .replica = {7, 7}});
        ck_assert_int_ne(status, OMEN_OK);
    }
    world_fini(&world);
}
END_TEST

START_TEST(only_a_node_that_is_up_and_holds_data_gets_a_copy)
{
    begin(3, 1, 2);
    world_node_state(&world, 2, NODE_DRAINING);
    ck_assert_int_eq(on_node(STEP_ASSIGN, 2), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_node(STEP_ASSIGN, 1), OMEN_E_CONFLICT); // has one
    world.map.nodes[2].roles = NODE_ROUTER;
    ck_assert_int_eq(on_node(STEP_ASSIGN, 3), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(members_have_a_limit)
{
    begin(SHARD_REPLICAS_MAX + 1, 1, 1);
    for (uint32_t node = 2; node <= SHARD_REPLICAS_MAX; node++)
        ck_assert_int_eq(on_node(STEP_ASSIGN, node), OMEN_OK);
    ck_assert_int_eq(on_node(STEP_ASSIGN, SHARD_REPLICAS_MAX + 1), OMEN_E_FULL);
    world_fini(&world);
}
END_TEST

START_TEST(a_copy_of_an_open_shard_is_a_learner_until_the_primary_adds_it)
{
    begin(3, 2, 2);
    ck_assert_int_eq(on_node(STEP_ASSIGN, 3), OMEN_OK);
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_BORN, .node = 3}),
                     OMEN_E_INVALID); // without a name
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){.kind = STEP_BORN,
                                                    .node = 3,
                                                    .replica = world_replica(&world, shard, 1)}),
                     OMEN_E_CONFLICT); // with another's
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){
                                    .kind = STEP_BORN, .node = 3, .replica = world_uuid(&world)}),
                     OMEN_OK);
    ck_assert_uint_eq(shard_replica_on(row(), 3)->role, MAP_REPLICA_LEARNER);
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){
                                    .kind = STEP_BORN, .node = 3, .replica = world_uuid(&world)}),
                     OMEN_E_CONFLICT); // born twice
    ck_assert_int_eq(on_replica(STEP_PROMOTE, 3), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_replica(STEP_REMOVE, 3), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_replica(STEP_ADD, 3), OMEN_OK);
    ck_assert_int_eq(on_replica(STEP_ADD, 3), OMEN_E_CONFLICT);
    ck_assert_uint_eq(shard_in_sync(row()), 3);
    world_fini(&world);
}
END_TEST

START_TEST(nobody_is_removed_below_min_insync)
{
    begin(3, 3, 3); // min_insync 2
    ck_assert_int_eq(on_replica(STEP_REMOVE, 3), OMEN_OK);
    ck_assert_uint_eq(shard_replica_on(row(), 3)->role, MAP_REPLICA_LEARNER);
    ck_assert_int_eq(on_replica(STEP_REMOVE, 2), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_node(STEP_DROP, 2), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_node(STEP_DROP, 3), OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(the_primary_is_neither_removed_nor_dropped)
{
    begin(3, 3, 3);
    ck_assert_int_eq(on_replica(STEP_REMOVE, 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_node(STEP_DROP, 1), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(the_last_copy_in_sync_stays)
{
    begin(2, 1, 1);
    ck_assert_int_eq(on_node(STEP_DROP, 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_replica(STEP_LOST, 1), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_promotion_begins_a_term_and_drops_the_old_primary_where_the_rest_is_enough)
{
    begin(3, 3, 3);
    ck_assert_int_eq(on_replica(STEP_PROMOTE, 2), OMEN_OK);
    ck_assert_uint_eq(row()->term, 2);
    ck_assert_uint_eq(shard_replica_on(row(), 1)->role, MAP_REPLICA_LEARNER);
    ck_assert_int_eq(on_replica(STEP_PROMOTE, 3), OMEN_OK); // 2 of 2 in sync: it stays
    ck_assert_uint_eq(row()->term, 3);
    ck_assert_uint_eq(shard_replica_on(row(), 2)->role, MAP_REPLICA_IN_SYNC);
    world_fini(&world);
}
END_TEST

START_TEST(a_restarted_primary_follows_itself_in_a_term_of_its_own)
{
    begin(1, 1, 1);
    struct command command = command_of(COMMAND_NODE_REGISTER);
    const struct map_node *node = map_node(&world.map, 1);
    command.node = (struct command_node){.uuid = node->uuid,
                                         .boot = 2,
                                         .features = 7,
                                         .weight = 1,
                                         .roles = NODE_DATA,
                                         .zone = node->zone};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_uint_eq(row()->primary_boot, 1);
    ck_assert_int_eq(on_replica(STEP_PROMOTE, 1), OMEN_OK);
    ck_assert_uint_eq(row()->term, 2);
    ck_assert_uint_eq(row()->primary_boot, 2);
    ck_assert_uint_eq(shard_in_sync(row()), 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_transfer_keeps_the_old_primary_in_sync_and_fulfils_the_wish)
{
    begin(3, 3, 3);
    const uint64_t cfg_ver = row()->cfg_ver;
    ck_assert_int_eq(on_replica(STEP_PREFER, 2), OMEN_OK);
    ck_assert_uint_eq(row()->cfg_ver, cfg_ver); // a wish changes no member
    ck_assert_uint_eq(row()->version, world.map.version);
    ck_assert_int_eq(on_replica(STEP_PREFER, 2), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_replica(STEP_PREFER, 1), OMEN_E_CONFLICT); // is primary
    ck_assert_int_eq(on_replica(STEP_TRANSFER, 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(on_replica(STEP_TRANSFER, 2), OMEN_OK);
    ck_assert(uuid_is_none(row()->wanted));
    ck_assert_uint_eq(shard_in_sync(row()), 3);
    ck_assert_uint_eq(row()->term, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_wish_ends_when_its_object_is_removed)
{
    begin(3, 3, 3);
    ck_assert_int_eq(on_replica(STEP_PREFER, 3), OMEN_OK);
    ck_assert_int_eq(on_replica(STEP_REMOVE, 3), OMEN_OK);
    ck_assert(uuid_is_none(row()->wanted));
    ck_assert_int_eq(on_replica(STEP_PREFER, 2), OMEN_OK);
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_PREFER}), OMEN_OK);
    ck_assert(uuid_is_none(row()->wanted)); // taken back
    world_fini(&world);
}
END_TEST

START_TEST(a_move_marks_the_old_copy_and_can_be_taken_back)
{
    begin(3, 2, 2);
    struct shard_step step = {.kind = STEP_MOVE, .node = 3, .from = 9};
    ck_assert_int_eq(world_step(&world, shard, step), OMEN_E_NOT_FOUND);
    step.from = 2;
    ck_assert_int_eq(world_step(&world, shard, step), OMEN_OK);
    ck_assert_uint_eq(shard_replica_on(row(), 2)->leaving, 1);
    ck_assert_uint_eq(shard_replica_on(row(), 3)->role, MAP_REPLICA_PENDING);
    ck_assert_int_eq(on_node(STEP_DROP, 3), OMEN_OK);
    ck_assert_int_eq(on_node(STEP_KEEP, 2), OMEN_OK);
    ck_assert_int_eq(on_node(STEP_KEEP, 2), OMEN_E_CONFLICT);
    ck_assert_uint_eq(shard_replica_on(row(), 2)->leaving, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_copy_is_not_moved_twice)
{
    begin(4, 2, 2);
    struct shard_step step = {.kind = STEP_MOVE, .node = 3, .from = 2};
    ck_assert_int_eq(world_step(&world, shard, step), OMEN_OK);
    step.node = 4;
    ck_assert_int_eq(world_step(&world, shard, step), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_lost_copy_leaves_even_below_min_insync_and_never_comes_back)
{
    begin(3, 3, 3);
    const struct cluster_uuid lost = world_replica(&world, shard, 1);
    on_replica(STEP_REMOVE, 3);
    ck_assert_int_eq(on_replica(STEP_LOST, 1), OMEN_OK); // the primary, too
    ck_assert_uint_eq(shard_in_sync(row()), 1);
    ck_assert(uuid_is_none(row()->primary));
    ck_assert_int_eq(on_replica(STEP_TRANSFER, 2), OMEN_E_CONFLICT); // nobody hands over
    ck_assert_int_eq(on_replica(STEP_PROMOTE, 2), OMEN_OK);
    ck_assert_int_eq(on_node(STEP_ASSIGN, 1), OMEN_OK);
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = lost}),
                     OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(force_leaves_one_copy_and_bars_the_others)
{
    begin(4, 3, 3);
    on_node(STEP_ASSIGN, 4);
    on_replica(STEP_REMOVE, 3);
    const struct cluster_uuid old = world_replica(&world, shard, 1);
    ck_assert_int_eq(on_replica(STEP_FORCE, 3), OMEN_OK);
    ck_assert_uint_eq(row()->unclean, 1);
    ck_assert_uint_eq(row()->term, 2);
    ck_assert_uint_eq(row()->replica_count, 2); // it and the pending one
    ck_assert_uint_eq(row()->barred_count, 2);
    ck_assert(uuid_equal(row()->primary, world_replica(&world, shard, 3)));
    on_node(STEP_ASSIGN, 1);
    ck_assert_int_eq(world_step(&world, shard,
                                (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = old}),
                     OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(force_bars_all_others_however_many_there_are)
{
    begin(SHARD_REPLICAS_MAX, SHARD_REPLICAS_MAX, MAP_REPLICATION_MAX);
    const struct map_shard before = *row();
    ck_assert_int_eq(on_replica(STEP_FORCE, 12), OMEN_OK);
    for (uint32_t node = 1; node < SHARD_REPLICAS_MAX; node++) {
        on_node(STEP_ASSIGN, node);
        const struct cluster_uuid old = shard_replica_on(&before, node)->uuid;
        ck_assert_int_eq(
            world_step(&world, shard,
                       (struct shard_step){.kind = STEP_BORN, .node = node, .replica = old}),
            OMEN_E_CONFLICT);
    }
    world_fini(&world);
}
END_TEST

START_TEST(the_oldest_barred_names_give_way)
{
    begin(2, 2, 2);
    for (uint32_t i = 0; i < SHARD_BARRED_MAX + 3; i++) {
        ck_assert_int_eq(on_replica(STEP_LOST, 2), OMEN_OK);
        on_node(STEP_ASSIGN, 2);
        world_step(
            &world, shard,
            (struct shard_step){.kind = STEP_BORN, .node = 2, .replica = world_uuid(&world)});
    }
    ck_assert_uint_eq(row()->barred_count, SHARD_BARRED_MAX);
    world_fini(&world);
}
END_TEST

START_TEST(one_entry_promotes_many_shards_and_a_late_step_stops_none_of_the_others)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "a", 1);
    world_collection(&world, "docs", 40, 3);
    world_settle(&world, 100);
    struct command command = command_of(COMMAND_STEPS);
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        const struct map_shard *one = &world.map.shards[i];
        const uint32_t other = uuid_equal(one->replicas[0].uuid, one->primary) ? 1 : 0;
        command.steps.steps[command.steps.count++] =
            (struct shard_step){.kind = STEP_PROMOTE,
                                .shard = one->id,
                                .cfg_ver = one->cfg_ver - (i == 5),
                                .replica = one->replicas[other].uuid};
    }
    const uint64_t version = world.map.version;
    const struct command_result result = world_apply(&world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    ck_assert_uint_eq(result.applied, 39);
    ck_assert_uint_eq(result.refused, 1);
    ck_assert_uint_eq(world.map.version, version + 1);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_shard_suite(void)
{
    Suite *suite = suite_create("cluster/apply_shard");
    TCase *tcase = tcase_create("apply_shard");
    tcase_add_test(tcase, a_shard_opens_when_its_last_copy_is_born_and_not_before);
    tcase_add_test(tcase, a_shard_opens_when_the_one_it_waits_for_is_dropped);
    tcase_add_test(tcase, a_step_that_saw_another_configuration_is_refused);
    tcase_add_test(tcase, a_step_of_an_unknown_shard_node_or_replica_is_refused);
    tcase_add_test(tcase, only_a_node_that_is_up_and_holds_data_gets_a_copy);
    tcase_add_test(tcase, members_have_a_limit);
    tcase_add_test(tcase, a_copy_of_an_open_shard_is_a_learner_until_the_primary_adds_it);
    tcase_add_test(tcase, nobody_is_removed_below_min_insync);
    tcase_add_test(tcase, the_primary_is_neither_removed_nor_dropped);
    tcase_add_test(tcase, the_last_copy_in_sync_stays);
    tcase_add_test(tcase,
                   a_promotion_begins_a_term_and_drops_the_old_primary_where_the_rest_is_enough);
    tcase_add_test(tcase, a_restarted_primary_follows_itself_in_a_term_of_its_own);
    tcase_add_test(tcase, a_transfer_keeps_the_old_primary_in_sync_and_fulfils_the_wish);
    tcase_add_test(tcase, a_wish_ends_when_its_object_is_removed);
    tcase_add_test(tcase, a_move_marks_the_old_copy_and_can_be_taken_back);
    tcase_add_test(tcase, a_copy_is_not_moved_twice);
    tcase_add_test(tcase, a_lost_copy_leaves_even_below_min_insync_and_never_comes_back);
    tcase_add_test(tcase, force_leaves_one_copy_and_bars_the_others);
    tcase_add_test(tcase, force_bars_all_others_however_many_there_are);
    tcase_add_test(tcase, the_oldest_barred_names_give_way);
    tcase_add_test(tcase, one_entry_promotes_many_shards_and_a_late_step_stops_none_of_the_others);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_shard_suite)
