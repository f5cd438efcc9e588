// tests/unit/node/test_events.c -- what has happened is read off two states, and the last of it is kept.
//
// Shape: shell.
#include "node/events.h"

#include "node/turn_said.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;
static struct event_ring ring;
static const struct map *before;

static void
look(void)
{
    map_publish_end(before);
    ck_assert_int_eq(map_publish(&world.map, &before), OMEN_OK);
}

static void
setup(void)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "z", 1);
    events_init(&ring);
    before = NULL;
    look();
}

static void
tidy_up(void)
{
    map_publish_end(before);
    world_fini(&world);
}

// The kinds that happened since the last look, in one line.
static const char *
happened(void)
{
    static char line[512];
    line[0] = '\0';
    uint64_t after = ring.count;
    events_of_map(&ring, 1, before, &world.map);
    look();
    for (const struct event *event; (event = event_after(&ring, after)) != NULL; after++) {
        ck_assert_uint_eq(event->number, after + 1);
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", line[0] ? " " : "",
                 event->kind);
    }
    return line;
}

static omen_status
step(uint64_t shard, enum step_kind kind, uint32_t node, struct cluster_uuid replica)
{
    return world_step(&world, shard,
                      (struct shard_step){.kind = (uint8_t)kind,
                                          .node = node,
                                          .replica = replica,
                                          .value = kind == STEP_SPLIT ? 1000 : 0});
}

START_TEST(nothing_is_told_of_what_did_not_change_or_was_never_seen)
{
    ck_assert_str_eq(happened(), "");
    events_of_map(&ring, 1, NULL, &world.map);
    ck_assert_uint_eq(ring.count, 0);
    ck_assert_ptr_null(event_after(&ring, 0));
}
END_TEST

START_TEST(nodes_come_change_and_go)
{
    world_node(&world, "z", 1);
    ck_assert_str_eq(happened(), "node-joined node-up");
    world_node_state(&world, 4, NODE_DRAINING);
    ck_assert_str_eq(happened(), "node-draining");
    world_node_state(&world, 4, NODE_GONE);
    ck_assert_str_eq(happened(), "node-gone");
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){.uuid = world.map.nodes[0].uuid,
                                         .boot = 2,
                                         .features = 7,
                                         .weight = 1,
                                         .roles = NODE_DATA,
                                         .zone = name_of("z")};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "node-restarted");
    ck_assert(uuid_equal(event_after(&ring, ring.count - 1)->node, world.map.nodes[0].uuid));
}
END_TEST

START_TEST(collections_and_aliases_come_change_and_go)
{
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "");
    const uint64_t id = world_collection(&world, "docs", 1, 1);
    ck_assert_str_eq(happened(), "collection-created");
    command = command_of(COMMAND_ALIASES);
    command.aliases.count = 1;
    command.aliases.changes[0] = (struct alias_change){name_of("live"), id, 0};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "alias-set");
    ck_assert_str_eq(event_after(&ring, ring.count - 1)->text, "live");
    command = command_of(COMMAND_COLLECTION_ALTER);
    command.alter = alter_of(id, VERSION_ANY, 2, 2);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "collection-updated");
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "collection-updated"); // to what it was
    command = command_of(COMMAND_COLLECTION_IDS);
    command.ids = (struct command_ids){id, MAP_IDS_TEXT};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), ""); // of its first write
    command = command_of(COMMAND_COLLECTION_DROP);
    command.alter = (struct command_alter){.collection = id, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_str_eq(happened(), "collection-dropped alias-dropped");
}
END_TEST

START_TEST(shards_open_change_hands_and_split)
{
    const struct cluster_uuid none = {0};
    const uint64_t shard = world_shard(&world, 3, 3);
    ck_assert_str_eq(happened(), "collection-created"); // the shard is new with it
    ck_assert_int_eq(step(shard, STEP_PROMOTE, 0, world_replica(&world, shard, 2)), OMEN_OK);
    ck_assert_str_eq(happened(), "shard-primary");
    const struct event *event = event_after(&ring, ring.count - 1);
    ck_assert_uint_eq(event->shard, shard);
    ck_assert(uuid_equal(event->node, map_node(&world.map, 2)->uuid));
    ck_assert_str_eq(event->text, "term 2");
    ck_assert_int_eq(step(shard, STEP_LOST, 0, world_replica(&world, shard, 2)), OMEN_OK);
    ck_assert_str_eq(happened(), "shard-without-primary");
    ck_assert_int_eq(step(shard, STEP_FORCE, 0, world_replica(&world, shard, 3)), OMEN_OK);
    ck_assert_str_eq(happened(), "shard-forced");
    ck_assert_int_eq(step(shard, STEP_SPLIT, 0, none), OMEN_OK);
    ck_assert_str_eq(happened(), "shard-splitting");
    ck_assert_int_eq(step(shard, STEP_ABORT, 0, none), OMEN_OK);
    ck_assert_str_eq(happened(), "split-cancelled");
}
END_TEST

START_TEST(a_shard_opens_when_its_copies_are_there_and_ends_when_its_children_are)
{
    world_collection(&world, "docs", 1, 1);
    look();
    const uint64_t shard = world.map.shards[0].id;
    ck_assert_uint_lt(world_settle(&world, 50), 50);
    ck_assert_str_eq(happened(), "shard-opened");
    ck_assert_int_eq(step(shard, STEP_SPLIT, 0, (struct cluster_uuid){0}), OMEN_OK);
    look();
    while (map_shard(&world.map, shard)->status == SHARD_SPLITTING) {
        const bool planned = world_rebalance(&world, NULL);
        ck_assert(world_obey(&world) || planned);
    }
    ck_assert_str_eq(happened(), "shard-split shard-primary shard-primary");
}
END_TEST

START_TEST(members_are_told_of_when_their_state_changes)
{
    struct gossip_claim then[2] = {{.subject = {1, 1}, .boot = 1}, {.subject = {2, 2}, .boot = 1}};
    struct gossip_claim now[3] = {{.subject = {2, 2}, .boot = 1, .state = GOSSIP_DEAD},
                                  {.subject = {1, 1}, .boot = 1},
                                  {.subject = {3, 3}, .boot = 1}};
    events_of_members(&ring, 9, (struct event_members){then, 2}, (struct event_members){now, 3});
    ck_assert_uint_eq(ring.count, 2);
    ck_assert_str_eq(event_after(&ring, 0)->kind, "member-dead");
    ck_assert_uint_eq(event_after(&ring, 0)->time_ms, 9);
    ck_assert_str_eq(event_after(&ring, 1)->kind, "member-alive");
    ck_assert_uint_eq(event_after(&ring, 1)->node.high, 3);
    now[1].boot = 2; // another process
    events_of_members(&ring, 9, (struct event_members){then, 2}, (struct event_members){now, 2});
    ck_assert_uint_eq(ring.count, 4);
}
END_TEST

START_TEST(a_disk_is_told_of_when_it_becomes_low_and_when_it_is_fine_again)
{
    struct gossip_claim then = {.subject = {1, 1}, .boot = 1}, now = then;
    turn_said_write(&(struct turn_said){.member = 1, .disk_low = true}, &now.meta);
    events_of_members(&ring, 9, (struct event_members){&then, 1}, (struct event_members){&now, 1});
    events_of_members(&ring, 9, (struct event_members){&now, 1}, (struct event_members){&now, 1});
    ck_assert_uint_eq(ring.count, 1);
    ck_assert_str_eq(event_after(&ring, 0)->kind, "disk-low");
    ck_assert_uint_eq(event_after(&ring, 0)->node.high, 1);
    events_of_members(&ring, 9, (struct event_members){&now, 1}, (struct event_members){&then, 1});
    ck_assert_uint_eq(ring.count, 2);
    ck_assert_str_eq(event_after(&ring, 1)->kind, "disk-fine");
    events_of_members(&ring, 9, (struct event_members){NULL, 0}, (struct event_members){&now, 1});
    ck_assert_uint_eq(ring.count, 4); // and that it is there
    ck_assert_str_eq(event_after(&ring, 2)->kind, "disk-low");
}
END_TEST

START_TEST(the_last_are_kept_and_those_before_are_passed_over)
{
    for (uint32_t i = 0; i < EVENTS_MAX + 10; i++) {
        const struct gossip_claim now = {.subject = {1, 1}, .boot = i, .state = GOSSIP_ALIVE};
        events_of_members(&ring, i, (struct event_members){NULL, 0},
                          (struct event_members){&now, 1});
    }
    ck_assert_uint_eq(event_after(&ring, 0)->number, 11);
    ck_assert_uint_eq(event_after(&ring, 0)->time_ms, 10);
    ck_assert_uint_eq(event_after(&ring, 500)->number, 501);
    ck_assert_uint_eq(event_after(&ring, EVENTS_MAX + 9)->number, EVENTS_MAX + 10);
    ck_assert_ptr_null(event_after(&ring, EVENTS_MAX + 10));
}
END_TEST

static Suite *
events_suite(void)
{
    Suite *suite = suite_create("node/events");
    TCase *tcase = tcase_create("events");
    tcase_add_checked_fixture(tcase, setup, tidy_up);
    tcase_add_test(tcase, nothing_is_told_of_what_did_not_change_or_was_never_seen);
    tcase_add_test(tcase, nodes_come_change_and_go);
    tcase_add_test(tcase, collections_and_aliases_come_change_and_go);
    tcase_add_test(tcase, shards_open_change_hands_and_split);
    tcase_add_test(tcase, a_shard_opens_when_its_copies_are_there_and_ends_when_its_children_are);
    tcase_add_test(tcase, a_disk_is_told_of_when_it_becomes_low_and_when_it_is_fine_again);
    tcase_add_test(tcase, members_are_told_of_when_their_state_changes);
    tcase_add_test(tcase, the_last_are_kept_and_those_before_are_passed_over);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(events_suite)
