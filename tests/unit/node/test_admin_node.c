// tests/unit/node/test_admin_node.c -- nodes by name and uuid, what they hold, and the ways out of a cluster.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"

#define SECOND "00000000-0000-0000-0000-000000000101"

static void
setup(void)
{
    admin_open(3);
    world_shard(&world, 2, 2);
    admin_look();
}

static omen_status
of(enum method_number number, const char *node)
{
    if (number == METHOD_NODE_GET)
        return admin_do(number, &(struct api_of_node){.node = TEXT(node)});
    return admin_do(number, &(struct api_change_node){.node = TEXT(node)});
}

static void
claim_refused(enum method_number number, const char *node, omen_status status, const char *words)
{
    admin_claim_refused(number, &(struct api_change_node){.node = TEXT(node)}, status, words);
}

START_TEST(a_node_is_found_by_name_and_by_uuid)
{
    static const char *const names[] = {"n2", SECOND, "00000000-0000-0000-0000-00000000010"};
    ck_assert_int_eq(of(METHOD_NODE_GET, names[_i]), _i < 2 ? OMEN_OK : OMEN_E_NOT_FOUND);
    if (_i == 2)
        return;
    const struct api_node *got = OUT(api_node);
    ck_assert_text_eq(got->node, SECOND);
    ck_assert_text_eq(got->name, "n2");
    ck_assert_text_eq(got->zone, "zb");
    ck_assert_text_eq(got->peer, "127.0.0.2:7701");
    ck_assert_text_eq(got->client, "127.0.0.2:7700");
    ck_assert_uint_eq(got->roles, API_DATA | API_ROUTER); // who keeps data builds for nobody else
    ck_assert_uint_eq(got->state, API_UP);
    ck_assert_uint_eq(got->member, API_ALIVE);
    ck_assert_uint_eq(got->number, 2);
    ck_assert_uint_eq(got->weight, 100);
    ck_assert_uint_eq(got->shards.value, 1);
    ck_assert(got->primaries.given && got->primaries.value == 0); // none is a number
}
END_TEST

START_TEST(a_list_has_every_node_with_what_it_holds)
{
    world.alive[3] = false;
    admin_look();
    ck_assert_int_eq(admin_do(METHOD_NODE_LIST, &(struct api_nothing){0}), OMEN_OK);
    ck_assert_uint_eq(OUT(api_nodes)->nodes.count, 3);
    struct api_node row;
    admin_row("nodes", &OUT(api_nodes)->nodes, 0, &row);
    ck_assert_uint_eq(row.primaries.value, 1);
    ck_assert_uint_eq(row.shards.value, 1);
    admin_row("nodes", &OUT(api_nodes)->nodes, 2, &row);
    ck_assert(row.shards.given && row.shards.value == 0);
    ck_assert_uint_eq(row.member, API_DEAD);
}
END_TEST

START_TEST(a_node_that_says_no_name_or_a_bad_one_has_its_number)
{
    if (_i == 0)
        admin.members[1].meta.data_bytes = TURN_SAID_BYTES;
    else if (_i == 1)
        admin.members[1].meta.data[TURN_SAID_BYTES] = ' ';
    else
        admin.view.member_count = 1; // not heard of
    ck_assert_int_eq(of(METHOD_NODE_GET, "node-2"), OMEN_OK);
    ck_assert_text_eq(OUT(api_node)->node, SECOND);
}
END_TEST

START_TEST(a_name_of_two_is_refused)
{
    admin.members[2].meta.data[TURN_SAID_BYTES + 1] = '2';
    claim_refused(METHOD_NODE_GET, "n2", OMEN_E_INVALID, "two nodes are named 'n2'");
    ck_assert_int_eq(of(METHOD_NODE_GET, SECOND), OMEN_OK);
    claim_refused(METHOD_NODE_GET, "n7", OMEN_E_NOT_FOUND, "no node 'n7' in the cluster");
}
END_TEST

START_TEST(a_node_drains_and_comes_back)
{
    ck_assert_int_eq(of(METHOD_NODE_DRAIN, "n2"), OMEN_OK);
    ck_assert_uint_eq(map_node(&world.map, 2)->state, NODE_DRAINING);
    const uint64_t version = world.map.version;
    ck_assert_int_eq(of(METHOD_NODE_DRAIN, "n2"), OMEN_OK); // asked twice
    ck_assert_uint_eq(world.map.version, version);
    ck_assert_int_eq(of(METHOD_NODE_UNDRAIN, "n2"), OMEN_OK);
    ck_assert_uint_eq(map_node(&world.map, 2)->state, NODE_UP);
    ck_assert_int_eq(of(METHOD_NODE_UNDRAIN, "n2"), OMEN_OK);
}
END_TEST

START_TEST(a_node_leaves_when_its_copies_are_elsewhere)
{
    claim_refused(METHOD_NODE_DECOMMISSION, "n2", OMEN_E_CONFLICT,
                  "node 'n2' is up: drain it first");
    ck_assert_int_eq(of(METHOD_NODE_DRAIN, "n2"), OMEN_OK);
    claim_refused(METHOD_NODE_DECOMMISSION, "n2", OMEN_E_BUSY, "has copies of 1 shards yet");
    ck_assert_uint_lt(world_settle(&world, 100), 100);
    admin_look();
    // It votes; or it may be the voter of whom gossip says nothing.
    const uint64_t voting[] = {11, 12};
    admin.view.voting = voting;
    admin.view.voting_count = 2;
    turn_said_write(&(struct turn_said){.member = 12}, &admin.members[1].meta);
    turn_said_write(&(struct turn_said){.member = 11}, &admin.members[0].meta);
    claim_refused(METHOD_NODE_DECOMMISSION, "n2", OMEN_E_BUSY, "votes on the metadata yet");
    turn_said_write(&(struct turn_said){.member = 0}, &admin.members[1].meta);
    claim_refused(METHOD_NODE_DECOMMISSION, "n2", OMEN_E_BUSY, "votes on the metadata yet");
    admin.view.member_count = 1; // nothing is known of it
    claim_refused(METHOD_NODE_DECOMMISSION, SECOND, OMEN_E_BUSY, "votes on the metadata yet");
    admin.view.member_count = 3;
    turn_said_write(&(struct turn_said){.member = 13}, &admin.members[1].meta);
    ck_assert_int_eq(of(METHOD_NODE_DECOMMISSION, "n2"), OMEN_OK);
    ck_assert_uint_eq(map_node(&world.map, 2)->state, NODE_GONE);
    ck_assert_int_eq(of(METHOD_NODE_DECOMMISSION, SECOND), OMEN_OK); // asked twice
    claim_refused(METHOD_NODE_UNDRAIN, SECOND, OMEN_E_CONFLICT, "is gone");
    claim_refused(METHOD_NODE_DRAIN, SECOND, OMEN_E_CONFLICT, "is gone");
    claim_refused(METHOD_NODE_DRAIN, "n2", OMEN_E_NOT_FOUND, "no node 'n2'"); // the name is free
}
END_TEST

START_TEST(a_node_that_is_joining_is_let_in_by_undrain)
{
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){.uuid = {5, 5},
                                         .boot = 1,
                                         .features = 7,
                                         .weight = 1,
                                         .roles = NODE_DATA,
                                         .zone = name_of("za")};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
    claim_refused(METHOD_NODE_DRAIN, "n4", OMEN_E_CONFLICT, "is joining");
    ck_assert_int_eq(of(METHOD_NODE_UNDRAIN, "n4"), OMEN_OK);
    ck_assert_uint_eq(map_node(&world.map, 4)->state, NODE_UP);
}
END_TEST

START_TEST(two_operators_at_once_are_told_of_each_other)
{
    const struct api_change_node ask = {.node = TEXT("n2")};
    ck_assert_int_eq(admin_begin(METHOD_NODE_DRAIN, &ask), ADMIN_PROPOSE);
    ck_assert_int_eq(world_node_state(&world, 2, NODE_DRAINING), OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_OK); // it is what both wanted
    ck_assert_int_eq(admin_begin(METHOD_NODE_UNDRAIN, &ask), ADMIN_PROPOSE);
    ck_assert_int_eq(world_node_state(&world, 2, NODE_UP), OMEN_OK);
    ck_assert_int_eq(world_node_state(&world, 2, NODE_DRAINING), OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_E_CONFLICT);
    ck_assert_msg(strstr(admin.error.text, "the node was changed by somebody else") != NULL, "%s",
                  admin.error.text);
}
END_TEST

static Suite *
admin_node_suite(void)
{
    Suite *suite = suite_create("node/admin_node");
    TCase *tcase = tcase_create("admin_node");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_loop_test(tcase, a_node_is_found_by_name_and_by_uuid, 0, 3);
    tcase_add_test(tcase, a_list_has_every_node_with_what_it_holds);
    tcase_add_loop_test(tcase, a_node_that_says_no_name_or_a_bad_one_has_its_number, 0, 3);
    tcase_add_test(tcase, a_name_of_two_is_refused);
    tcase_add_test(tcase, a_node_drains_and_comes_back);
    tcase_add_test(tcase, a_node_leaves_when_its_copies_are_elsewhere);
    tcase_add_test(tcase, a_node_that_is_joining_is_let_in_by_undrain);
    tcase_add_test(tcase, two_operators_at_once_are_told_of_each_other);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_node_suite)
