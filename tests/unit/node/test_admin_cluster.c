// tests/unit/node/test_admin_cluster.c -- how a process and its cluster are, as they tell it.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"

#define GREEN 1
#define YELLOW 2
#define RED 3

static struct event_ring ring;
static const struct api_nothing nothing;

static void
setup(void)
{
    admin_open(3);
    world_shard(&world, 3, 3);
    admin_look();
    events_init(&ring);
    admin.view.events = &ring;
}

static const struct api_cluster_info *
info(void)
{
    admin_look();
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_INFO, &nothing), OMEN_OK);
    return OUT(api_cluster_info);
}

START_TEST(every_method_but_those_about_points_and_hello_is_here)
{
    for (uint32_t i = 0; i < METHODS_END; i++) {
        const char *name = method_at((enum method_number)i)->name;
        const bool points = strncmp(name, "point.", 6) == 0 || strncmp(name, "query.", 6) == 0 ||
                            strncmp(name, "recall.", 7) == 0;
        ck_assert_msg(admin_has((enum method_number)i) == (!points && i != METHOD_SYSTEM_HELLO),
                      "%s", name);
    }
}
END_TEST

START_TEST(what_needs_more_than_the_right_to_read_is_led_or_asked_of_copies)
{
    for (uint32_t i = 0; i < METHODS_END; i++) {
        const struct method *method = method_at((enum method_number)i);
        const bool led = admin_is_led((enum method_number)i);
        const bool of_copies = strncmp(method->name, "collection.", 11) == 0;
        ck_assert_msg(!led || method->right > RIGHT_READ, "%s", method->name);
        if (admin_has((enum method_number)i) && method->right > RIGHT_READ && !led)
            ck_assert_msg(of_copies || i == METHOD_CLUSTER_JOIN || i == METHOD_KEY_LIST, "%s",
                          method->name);
    }
    ck_assert(admin_is_led(METHOD_COLLECTION_CREATE) && admin_is_led(METHOD_COLLECTION_DROP));
    ck_assert(!admin_is_led(METHOD_COLLECTION_GET) && !admin_is_led(METHOD_POINT_UPSERT));
}
END_TEST

START_TEST(a_ping_is_answered_with_nothing)
{
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_PING, &nothing), OMEN_OK);
    ck_assert_uint_eq(admin.answer.count, 1);
    ck_assert_uint_eq(admin.answer.bytes[0], 0x80);
}
END_TEST

START_TEST(a_process_says_who_it_is)
{
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_INFO, &nothing), OMEN_OK);
    const struct api_info *got = OUT(api_info);
    ck_assert_text_eq(got->server, "omend");
    ck_assert_text_eq(got->version, "0.1.0");
    ck_assert_text_eq(got->cluster, "00000000-00c0-ffee-0000-000000000001");
    ck_assert_text_eq(got->node, "00000000-0000-0000-0000-000000000100");
    ck_assert_text_eq(got->name, "n1");
    ck_assert_text_eq(got->zone, "za");
    ck_assert_uint_eq(got->roles, API_DATA | API_ROUTER); // who keeps data builds for nobody else
    ck_assert_uint_eq(got->boot, 1);
    ck_assert_uint_eq(got->uptime_ms, 1234);
    ck_assert_uint_eq(got->map_version, world.map.version);
    admin.view.node = (struct cluster_uuid){9, 9}; // not in the map yet
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_INFO, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_info)->name.count, 0);
}
END_TEST

START_TEST(one_that_keeps_no_data_is_ready_without_being_in_the_map)
{
    const struct cluster_uuid router = {7, 8};
    admin.members[2].subject = (struct gossip_id){router.high, router.low};
    admin.members[2].meta.roles = NODE_ROUTER;
    admin.view.node = router;
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_HEALTH, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_health)->ready, 1);
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_INFO, &nothing), OMEN_OK);
    ck_assert_text_eq(OUT(api_info)->name, "n3");
    ck_assert_uint_eq(OUT(api_info)->roles, API_ROUTER);
    admin.members[2].meta.roles = NODE_ROUTER | NODE_BUILDER;
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_INFO, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_info)->roles, API_ROUTER | API_BUILDER);
    admin.members[2].meta.data_bytes = 0;
    admin.view.leader = (struct cluster_uuid){0};
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_INFO, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_info)->name.count, 0);
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_HEALTH, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_health)->ready, 0);
    ck_assert_text_eq(OUT(api_health)->reason, "no leader of the metadata is known");
}
END_TEST

START_TEST(a_process_that_cannot_serve_says_why)
{
    static const char *const reasons[] = {"", "no leader of the metadata is known",
                                          "the cluster's map does not have this process yet",
                                          "the cluster's map does not have this process yet",
                                          "the node has left the cluster"};
    admin.view.leader = _i == 1 ? (struct cluster_uuid){0} : admin.view.leader;
    admin.view.node = _i == 2 ? (struct cluster_uuid){9, 9} : admin.view.node;
    admin.view.boot = _i == 3 ? 2 : 1;
    if (_i == 4) {
        world_node(&world, "z", 1);
        world_node_state(&world, 4, NODE_DRAINING);
        world_node_state(&world, 4, NODE_GONE);
        admin_look();
        admin.view.node = map_node(&world.map, 4)->uuid;
    }
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_HEALTH, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_health)->live, 1);
    ck_assert_uint_eq(OUT(api_health)->ready, _i == 0);
    ck_assert_text_eq(OUT(api_health)->reason, reasons[_i]);
}
END_TEST

START_TEST(a_new_cluster_is_ready_when_what_all_nodes_know_is_in_use)
{
    const uint32_t collections = world.map.collection_count;
    world.map.collection_count = 0;
    for (uint32_t i = 0; i < world.map.node_count; i++)
        world.map.nodes[i].features = 6;
    for (uint64_t in_use = 0; in_use <= 6; in_use += 2) {
        world.map.features = in_use;
        world.map.nodes[1].features = in_use == 2 ? 2 : 6; // one does not know the other bit yet
        admin_look();
        ck_assert_int_eq(admin_do(METHOD_SYSTEM_HEALTH, &nothing), OMEN_OK);
        ck_assert_uint_eq(OUT(api_health)->ready, in_use == 2 || in_use == 6);
        if (in_use == 0)
            ck_assert_text_eq(OUT(api_health)->reason, "the nodes agree on what is new");
    }
    world.map.features = 0;
    world.map.collection_count = collections;
    admin_look();
    ck_assert_uint_gt(collections, 0);
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_HEALTH, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_health)->ready, 1);
}
END_TEST

START_TEST(a_cluster_is_green_yellow_or_red_by_its_copies)
{
    ck_assert_uint_eq(info()->state, GREEN);
    ck_assert_text_eq(info()->leader, "00000000-0000-0000-0000-000000000101");
    ck_assert_uint_eq(info()->nodes, 3);
    ck_assert_uint_eq(info()->voters, 3);
    ck_assert_uint_eq(info()->term, 5);
    ck_assert_uint_eq(info()->collections, 1);
    ck_assert_uint_eq(info()->shards, 1);
    ck_assert_uint_eq(info()->degraded_shards, 0);
    world.alive[3] = false;
    ck_assert_uint_eq(info()->state, YELLOW);
    ck_assert_uint_eq(info()->degraded_shards, 1);
    ck_assert_uint_eq(info()->lost_shards, 0);
    world.alive[1] = false; // its primary
    ck_assert_uint_eq(info()->state, RED);
    ck_assert_uint_eq(info()->lost_shards, 1);
    world.alive[1] = world.alive[3] = true;
    admin.view.leader = (struct cluster_uuid){0};
    ck_assert_uint_eq(info()->state, RED);
}
END_TEST

START_TEST(a_new_collection_is_degraded_and_not_lost)
{
    world_collection(&world, "new", 2, 2);
    ck_assert_uint_eq(info()->degraded_shards, 2);
    ck_assert_uint_eq(info()->lost_shards, 0);
    ck_assert_uint_eq(info()->state, YELLOW);
}
END_TEST

START_TEST(members_are_as_gossip_has_them)
{
    world.alive[2] = false;
    admin_look();
    admin.members[2].subject = (struct gossip_id){7, 8}; // is not in the map
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_MEMBERS, &nothing), OMEN_OK);
    ck_assert_uint_eq(OUT(api_members)->members.count, 3);
    struct api_member row;
    admin_row("members", &OUT(api_members)->members, 1, &row);
    ck_assert_text_eq(row.node, "00000000-0000-0000-0000-000000000101");
    ck_assert_text_eq(row.name, "n2");
    ck_assert_text_eq(row.address, "127.0.0.2:7701");
    ck_assert_text_eq(row.client, "127.0.0.2:7700");
    ck_assert_uint_eq(row.state, API_DEAD);
    ck_assert_uint_eq(row.boot, 1);
    ck_assert_uint_eq(row.incarnation, 3);
    admin_row("members", &OUT(api_members)->members, 2, &row);
    ck_assert_text_eq(row.name, "n3"); // by what it says of itself
    ck_assert_uint_eq(row.zone.count, 0);
    admin.members[2].meta.data_bytes = 0;
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_MEMBERS, &nothing), OMEN_OK);
    admin_row("members", &OUT(api_members)->members, 2, &row);
    ck_assert_text_eq(row.name, "00000000-0000-0007-0000-000000000008");
}
END_TEST

START_TEST(metrics_are_the_text_that_the_process_gives)
{
    admin.view.metrics = TEXT("omen_requests_total 7\n");
    ck_assert_int_eq(admin_do(METHOD_SYSTEM_METRICS, &nothing), OMEN_OK);
    ck_assert_text_eq(OUT(api_metrics)->text, "omen_requests_total 7\n");
}
END_TEST

START_TEST(who_watches_sees_map_members_and_why_a_node_does_not_serve)
{
    struct admin_seen seen;
    world.alive[2] = false;
    admin_look();
    admin_look_at(&admin.view, &seen);
    ck_assert_uint_eq(seen.map_version, world.map.version);
    ck_assert_uint_eq(seen.nodes, 3);
    ck_assert_uint_eq(seen.collections, 1);
    ck_assert_uint_eq(seen.shards, 1);
    ck_assert_uint_eq(seen.members[GOSSIP_ALIVE], 2);
    ck_assert_uint_eq(seen.members[GOSSIP_DEAD], 1);
    ck_assert_ptr_null(seen.not_ready);
    admin.view.leader = (struct cluster_uuid){0};
    admin_look_at(&admin.view, &seen);
    ck_assert_str_eq(seen.not_ready, "no leader of the metadata is known");
}
END_TEST

START_TEST(a_join_names_the_address_that_gossip_shall_look_for)
{
    static const char *const good[] = {"10.1.2.3:7701", "[fe80::1]:1", "127.0.0.1:65535"};
    static const char *const bad[] = {
        "10.1.2.3",    "10.1.2.3:", "10.1.2.3:0", "10.1.2.3:65536", "fe80::1:1", "localhost:7701",
        "10.1.2:7701", ":7701",     "[::1]",      "10.1.2.3:7701x", "[::1:7701"};
    for (uint32_t i = 0; i < sizeof good / sizeof *good; i++) {
        const struct api_join ask = {.address = TEXT(good[i])};
        ck_assert_msg(admin_begin(METHOD_CLUSTER_JOIN, &ask) == ADMIN_MEET, "%s", good[i]);
        ck_assert_uint_ne(admin.step.address.port, 0);
    }
    ck_assert_uint_eq(admin.step.address.ip[10], 0xff); // an IPv4 address is a mapped one
    ck_assert_uint_eq(admin.step.address.ip[12], 127);
    ck_assert_uint_eq(admin.step.address.port, 65535);
    for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct api_join ask = {.address = TEXT(bad[i])};
        admin_claim_refused(METHOD_CLUSTER_JOIN, &ask, OMEN_E_INVALID, bad[i]);
    }
}
END_TEST

// ---- rebalance ----

START_TEST(a_dry_run_says_what_would_move_and_moves_nothing)
{
    world_node(&world, "zd", 100);
    world_collection(&world, "more", 6, 1);
    for (uint32_t i = 1; i < world.map.shard_count; i++) { // all of them on node 1
        const uint64_t id = world.map.shards[i].id;
        world_step(&world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = 1});
        world_step(
            &world, id,
            (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = world_uuid(&world)});
    }
    admin_look();
    const uint64_t version = world.map.version;
    struct api_rebalance_ask ask = {.dry_run = 1};
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_REBALANCE, &ask), OMEN_OK);
    const uint32_t planned = OUT(api_rebalance)->moves.count;
    ck_assert_uint_eq(planned, admin.rebalance.moves_max);
    ck_assert_uint_eq(world.map.version, version);
    struct api_move row;
    admin_row("moves", &OUT(api_rebalance)->moves, 0, &row);
    ck_assert_text_eq(row.from, "00000000-0000-0000-0000-000000000100");
    ask.dry_run = 0;
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_REBALANCE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_rebalance)->moves.count, planned);
    ck_assert_uint_gt(world.map.version, version);
    ck_assert_uint_lt(world_settle(&world, 300), 300);
    admin_look();
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_REBALANCE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_rebalance)->moves.count, 0); // even
}
END_TEST

START_TEST(a_look_promotes_nobody_and_replaces_nobody)
{
    world.alive[1] = false;
    world_node(&world, "zd", 100);
    admin_look();
    const uint64_t version = world.map.version;
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_REBALANCE, &(struct api_rebalance_ask){0}), OMEN_OK);
    ck_assert_uint_eq(OUT(api_rebalance)->moves.count, 0);
    ck_assert_uint_eq(world.map.version, version);
}
END_TEST

// ---- events ----

START_TEST(events_are_told_from_a_number_on)
{
    static struct event_ring empty;
    struct api_events_ask ask = {0};
    admin.view.events = NULL;
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 0);
    admin.view.events = &empty;
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 0);
    admin.view.events = &ring;
    const struct map *before;
    ck_assert_int_eq(map_publish(&world.map, &before), OMEN_OK);
    world_collection(&world, "one", 1, 1);
    world_collection(&world, "two", 1, 1);
    events_of_map(&ring, 42, before, &world.map);
    map_publish_end(before);
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 2);
    struct api_event row;
    admin_row("events", &OUT(api_events)->events, 0, &row);
    ck_assert_uint_eq(row.event, 1);
    ck_assert_uint_eq(row.time_ms, 42);
    ck_assert_text_eq(row.kind, "collection-created");
    ck_assert_text_eq(row.collection, "one");
    ask.after = (struct wire_maybe){.value = 1, .given = 1};
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 1);
    admin_row("events", &OUT(api_events)->events, 0, &row);
    ck_assert_text_eq(row.collection, "two");
    ask = (struct api_events_ask){.limit = 1, .after = {.given = 1}};
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 1);
    admin_row("events", &OUT(api_events)->events, 0, &row);
    ck_assert_uint_eq(row.event, 1); // behind 0, from there on
    ask = (struct api_events_ask){.after = {.value = 99, .given = 1}};
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, 0);
}
END_TEST

START_TEST(without_a_number_the_latest_events_are_told)
{
    static struct event_ring many;
    static const uint32_t limits[] = {1, 5, 30, 31, 0};
    struct api_event row;
    admin.view.events = &many;
    many.count = 0;
    for (uint32_t i = 0; i < 10; i++) {
        const struct map *before;
        ck_assert_int_eq(map_publish(&world.map, &before), OMEN_OK);
        for (uint32_t k = 0; k < 3; k++) {
            char name[8];
            snprintf(name, sizeof name, "c%u-%u", (unsigned)i, (unsigned)k);
            world_collection(&world, name, 1, 1);
        }
        events_of_map(&many, i, before, &world.map);
        map_publish_end(before);
    }
    ck_assert_uint_eq(many.count, 30);
    const struct api_events_ask ask = {.limit = limits[_i]};
    const uint32_t count = limits[_i] == 0 || limits[_i] > 30 ? 30 : limits[_i];
    ck_assert_int_eq(admin_do(METHOD_CLUSTER_EVENTS, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_events)->events.count, count);
    admin_row("events", &OUT(api_events)->events, 0, &row);
    ck_assert_uint_eq(row.event, 31 - count);
    admin_row("events", &OUT(api_events)->events, count - 1, &row);
    ck_assert_uint_eq(row.event, 30);
}
END_TEST

START_TEST(an_answer_beyond_its_limit_is_an_error_and_leaves_nothing_behind)
{
    encode_fini(&admin.answer);
    encode_init(&admin.answer, 100);
    encode_nil(&admin.answer); // what was there stays
    const struct method *method = method_at(METHOD_NODE_LIST);
    admin.call = (struct admin_call){method, &nothing};
    ck_assert_int_eq(
        admin_start(&admin.view, &admin.call, &admin.step, &admin.answer, &admin.error),
        ADMIN_REFUSED);
    ck_assert_int_eq(admin.error.status, OMEN_E_FULL);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "node.list"));
    ck_assert_uint_eq(admin.answer.count, 1);
    ck_assert_int_eq(admin.answer.status, OMEN_OK);
}
END_TEST

static Suite *
admin_cluster_suite(void)
{
    Suite *suite = suite_create("node/admin_cluster");
    TCase *tcase = tcase_create("admin_cluster");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_test(tcase, every_method_but_those_about_points_and_hello_is_here);
    tcase_add_test(tcase, what_needs_more_than_the_right_to_read_is_led_or_asked_of_copies);
    tcase_add_test(tcase, a_ping_is_answered_with_nothing);
    tcase_add_test(tcase, a_process_says_who_it_is);
    tcase_add_test(tcase, one_that_keeps_no_data_is_ready_without_being_in_the_map);
    tcase_add_loop_test(tcase, a_process_that_cannot_serve_says_why, 0, 5);
    tcase_add_test(tcase, a_new_cluster_is_ready_when_what_all_nodes_know_is_in_use);
    tcase_add_test(tcase, a_cluster_is_green_yellow_or_red_by_its_copies);
    tcase_add_test(tcase, a_new_collection_is_degraded_and_not_lost);
    tcase_add_test(tcase, members_are_as_gossip_has_them);
    tcase_add_test(tcase, metrics_are_the_text_that_the_process_gives);
    tcase_add_test(tcase, who_watches_sees_map_members_and_why_a_node_does_not_serve);
    tcase_add_test(tcase, a_join_names_the_address_that_gossip_shall_look_for);
    tcase_add_test(tcase, a_dry_run_says_what_would_move_and_moves_nothing);
    tcase_add_test(tcase, a_look_promotes_nobody_and_replaces_nobody);
    tcase_add_test(tcase, events_are_told_from_a_number_on);
    tcase_add_loop_test(tcase, without_a_number_the_latest_events_are_told, 0, 5);
    tcase_add_test(tcase, an_answer_beyond_its_limit_is_an_error_and_leaves_nothing_behind);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_cluster_suite)
