// tests/unit/cluster/test_apply_node.c -- nodes come, go and come back; features and lease times.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

static struct command
register_command(struct cluster_uuid uuid, uint64_t boot)
{
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){
        .uuid = uuid, .boot = boot, .features = 3, .weight = 1, .roles = 1, .zone = name_of("a")};
    return command;
}

static omen_status
state_if(uint32_t node, enum node_state state, uint64_t expected)
{
    struct command command = command_of(COMMAND_NODE_STATE);
    command.node_state = (struct command_node_state){expected, node, (uint8_t)state};
    return world_apply(&world, &command).status;
}

START_TEST(a_new_node_is_joining_and_has_a_number)
{
    world_init(&world, 1);
    const struct command command = register_command((struct cluster_uuid){1, 2}, 5);
    const struct command_result result = world_apply(&world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    ck_assert_uint_eq(result.value, 1);
    ck_assert_uint_eq(result.version, 1);
    ck_assert_uint_eq(map_node(&world.map, 1)->state, NODE_JOINING);
    ck_assert_ptr_eq(map_node_by_uuid(&world.map, (struct cluster_uuid){1, 2}),
                     map_node(&world.map, 1));
    world_fini(&world);
}
END_TEST

START_TEST(a_newer_boot_updates_a_node_and_an_older_one_is_too_late)
{
    world_init(&world, 1);
    struct command command = register_command((struct cluster_uuid){1, 2}, 5);
    world_apply(&world, &command);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    command.node.boot = 4;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    command.node.boot = 6;
    command.node.weight = 9;
    const struct command_result result = world_apply(&world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    ck_assert_uint_eq(result.value, 1);
    ck_assert_uint_eq(map_node(&world.map, 1)->weight, 9);
    ck_assert_uint_eq(map_node(&world.map, 1)->version, world.map.version);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_without_uuid_weight_or_roles_is_refused)
{
    world_init(&world, 1);
    struct command command = register_command((struct cluster_uuid){0, 0}, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    command = register_command((struct cluster_uuid){0, 1}, 1);
    command.node.weight = 0;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    command = register_command((struct cluster_uuid){0, 1}, 1);
    command.node.roles = 0;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    ck_assert_uint_eq(world.map.version, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_is_gone_never_comes_back_under_its_uuid)
{
    world_init(&world, 1);
    const uint32_t node = world_node(&world, "a", 1);
    ck_assert_int_eq(world_node_state(&world, node, NODE_GONE), OMEN_E_CONFLICT); // drains first
    ck_assert_int_eq(world_node_state(&world, node, NODE_DRAINING), OMEN_OK);
    ck_assert_int_eq(world_node_state(&world, node, NODE_GONE), OMEN_OK);
    ck_assert_int_eq(world_node_state(&world, node, NODE_UP), OMEN_E_CONFLICT);
    const struct command command = register_command(map_node(&world.map, node)->uuid, 100);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_holds_a_replica_cannot_go)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_shard(&world, 1, 1);
    ck_assert_int_eq(world_node_state(&world, 1, NODE_DRAINING), OMEN_OK);
    ck_assert_int_eq(world_node_state(&world, 1, NODE_GONE), OMEN_E_BUSY);
    world_fini(&world);
}
END_TEST

START_TEST(a_state_is_changed_for_the_version_that_was_seen)
{
    world_init(&world, 1);
    const uint32_t node = world_node(&world, "a", 1);
    const uint64_t version = map_node(&world.map, node)->version;
    ck_assert_int_eq(state_if(node, NODE_DRAINING, version - 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(state_if(node, NODE_DRAINING, version), OMEN_OK);
    ck_assert_int_eq(state_if(node, NODE_UP, version), OMEN_E_CONFLICT);
    ck_assert_int_eq(state_if(99, NODE_UP, VERSION_ANY), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(state_if(node, NODE_JOINING, VERSION_ANY), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(only_a_node_that_is_gone_is_forgotten)
{
    world_init(&world, 1);
    const uint32_t node = world_node(&world, "a", 1);
    struct command command = command_of(COMMAND_NODE_FORGET);
    command.node_state = (struct command_node_state){.expected = VERSION_ANY, .node = node};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    world_node_state(&world, node, NODE_DRAINING);
    world_node_state(&world, node, NODE_GONE);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_NOT_FOUND);
    ck_assert_uint_eq(world.map.node_count, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_full_table_forgets_who_is_gone_and_nobody_else)
{
    world_init(&world, 1);
    struct command command;
    for (uint32_t i = 0; i < MAP_NODES_MAX; i++) {
        command = register_command((struct cluster_uuid){1, i}, 1);
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    }
    command = register_command((struct cluster_uuid){2, 0}, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_FULL);
    ck_assert_int_eq(world_node_state(&world, 7, NODE_GONE), OMEN_OK);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_ptr_null(map_node(&world.map, 7));
    ck_assert_ptr_nonnull(map_node(&world.map, MAP_NODES_MAX + 1));
    world_fini(&world);
}
END_TEST

START_TEST(a_feature_is_switched_on_when_every_node_knows_it)
{
    world_init(&world, 1);
    struct command command = register_command((struct cluster_uuid){1, 1}, 1);
    world_apply(&world, &command); // knows 3
    command = command_of(COMMAND_FEATURES);
    command.features = 4;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_UNSUPPORTED);
    command.features = 2;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_EXISTS);
    ck_assert_uint_eq(world.map.features, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_without_a_feature_that_is_in_use_may_not_come_in)
{
    world_init(&world, 1);
    struct command command = command_of(COMMAND_FEATURES);
    command.features = 8;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    command = register_command((struct cluster_uuid){1, 1}, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_UNSUPPORTED);
    world_fini(&world);
}
END_TEST

static omen_status
lease(enum command_kind kind, enum lease_profile profile, uint64_t expected)
{
    struct command command = command_of(kind);
    command.lease = (struct command_lease){expected, (uint8_t)profile};
    return world_apply(&world, &command).status;
}

START_TEST(the_longer_guard_holds_until_a_new_profile_is_settled)
{
    world_init(&world, 1);
    ck_assert_uint_eq(map_lease_times(&world.map).guard_ms, 3600);
    ck_assert_int_eq(lease(COMMAND_LEASE_PROFILE, LEASE_FAST, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(map_lease_times(&world.map).lease_ms, 1000);
    ck_assert_uint_eq(map_lease_times(&world.map).guard_ms, 3600);
    ck_assert_int_eq(lease(COMMAND_LEASE_PROFILE, LEASE_LAN, VERSION_ANY), OMEN_E_BUSY);
    ck_assert_int_eq(lease(COMMAND_LEASE_SETTLE, LEASE_LAN, VERSION_ANY), OMEN_E_CONFLICT);
    ck_assert_int_eq(lease(COMMAND_LEASE_SETTLE, LEASE_FAST, 77), OMEN_E_CONFLICT);
    ck_assert_int_eq(lease(COMMAND_LEASE_SETTLE, LEASE_FAST, world.map.leases.version), OMEN_OK);
    ck_assert_uint_eq(map_lease_times(&world.map).guard_ms, 1200);
    ck_assert_int_eq(lease(COMMAND_LEASE_SETTLE, LEASE_FAST, VERSION_ANY), OMEN_E_CONFLICT);
    ck_assert_int_eq(lease(COMMAND_LEASE_PROFILE, LEASE_LAN, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(map_lease_times(&world.map).guard_ms, 3600);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_node_suite(void)
{
    Suite *suite = suite_create("cluster/apply_node");
    TCase *tcase = tcase_create("apply_node");
    tcase_add_test(tcase, a_new_node_is_joining_and_has_a_number);
    tcase_add_test(tcase, a_newer_boot_updates_a_node_and_an_older_one_is_too_late);
    tcase_add_test(tcase, a_node_without_uuid_weight_or_roles_is_refused);
    tcase_add_test(tcase, a_node_that_is_gone_never_comes_back_under_its_uuid);
    tcase_add_test(tcase, a_node_that_holds_a_replica_cannot_go);
    tcase_add_test(tcase, a_state_is_changed_for_the_version_that_was_seen);
    tcase_add_test(tcase, only_a_node_that_is_gone_is_forgotten);
    tcase_add_test(tcase, a_full_table_forgets_who_is_gone_and_nobody_else);
    tcase_add_test(tcase, a_feature_is_switched_on_when_every_node_knows_it);
    tcase_add_test(tcase, a_node_without_a_feature_that_is_in_use_may_not_come_in);
    tcase_add_test(tcase, the_longer_guard_holds_until_a_new_profile_is_settled);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_node_suite)
