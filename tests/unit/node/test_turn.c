// tests/unit/node/test_turn.c -- one node, a group by itself: what a turn says, and what a start makes of it.
//
// Shape: shell.
#include "base/alloc.h"
#include "base/hash.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/turn_alone.h"

static void
is_set_to(const char *value)
{
    struct map_name name;
    ck_assert(map_name_set(&name, "key", 3));
    const struct setting *setting = map_setting(&turn.map, &name);
    ck_assert_ptr_nonnull(setting);
    ck_assert_uint_eq(setting->value.count, strlen(value));
    ck_assert_mem_eq(setting->value.bytes, value, strlen(value));
}

START_TEST(nothing_is_applied_before_it_is_durable)
{
    begin(100);
    const uint64_t before = applied_results;
    put(1, "a");
    for (int i = 0; i < 20; i++) {
        now_ns += MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
    }
    ck_assert_uint_eq(applied_results, before);
    settle();
    ck_assert_uint_eq(applied_results, before + 1);
    is_set_to("a");
    end();
}
END_TEST

START_TEST(the_version_of_the_map_is_gossiped)
{
    begin(100);
    put(1, "a");
    settle();
    ck_assert_uint_gt(turn.map.version, 0);
    now_ns += 5000 * MS; // gossip announces changes together
    step((struct turn_input){.kind = TURN_IN_WAKE});
    settle();
    ck_assert_uint_eq(turn.gossip.self.meta.map_version, turn.map.version);
    end();
}
END_TEST

START_TEST(a_log_is_compacted_only_behind_a_durable_checkpoint)
{
    begin(8);
    for (uint64_t op = 1; op <= 40; op++) {
        put(op, "a");
        settle(); // sim_disk_sync asserts it of every transaction
    }
    ck_assert_uint_gt(disk.base_position, 1);
    ck_assert_uint_le(disk.base_position, disk.map_position);
    end();
}
END_TEST

START_TEST(a_start_from_the_disk_has_all_that_was_acknowledged)
{
    begin(8);
    for (uint64_t op = 1; op <= 37; op++) {
        put(op, op == 37 ? "last" : "a");
        settle();
    }
    const uint64_t version = turn.map.version;
    put(38, "lost"); // and not made durable
    sim_disk_crash(&disk, 0);
    turn_fini(&turn);
    start(8);
    settle();
    lead();
    ck_assert_uint_eq(turn.map.version, version);
    is_set_to("last");
    end();
}
END_TEST

START_TEST(a_repeated_command_answers_with_its_first_position)
{
    begin(100);
    put(1, "a");
    const uint64_t first = out.raft.answer_position;
    settle();
    put(1, "a");
    const uint64_t second = out.raft.answer_position;
    bool seen = false;
    for (int i = 0; i < 100 && !seen; i++) {
        step(
            (struct turn_input){.kind = disk.write_count > 0 ? TURN_IN_PERSISTED : TURN_IN_WAKE,
                                .persist_number = disk.write_count > 0 ? sim_disk_sync(&disk) : 0});
        if (out.result_count == 1 && out.results[0].position == second) {
            ck_assert_uint_eq(out.results[0].result.position, first);
            seen = true;
        }
    }
    ck_assert(seen);
    end();
}
END_TEST

START_TEST(a_checkpoint_that_is_no_map_halts_the_node)
{
    const struct raft_group group = {.members = {{1, RAFT_VOTER}}, .count = 1};
    sim_disk_init(&disk, &group);
    disk.map = sim_copy("not a map", 9);
    disk.map_bytes = 9;
    start(8);
    ck_assert_int_eq(out.halt, TURN_HALT_CORRUPT);
    end();
}
END_TEST

START_TEST(a_checkpoint_of_a_newer_format_says_that_the_program_is_too_old)
{
    const struct raft_group group = {.members = {{1, RAFT_VOTER}}, .count = 1};
    uint8_t bytes[1024];
    struct map map;
    map_init(&map);
    const size_t count = snapshot_bytes(&map);
    ck_assert_uint_le(count, sizeof bytes);
    snapshot_encode(&map, bytes, sizeof bytes);
    bytes[0] = UINT8_MAX;
    const uint64_t checksum = hash_bytes(bytes, count - 8);
    for (uint32_t i = 0; i < 8; i++)
        bytes[count - 8 + i] = (uint8_t)(checksum >> (56 - 8 * i));
    sim_disk_init(&disk, &group);
    disk.map = sim_copy((const char *)bytes, (uint32_t)count);
    disk.map_bytes = count;
    start(8);
    ck_assert_int_eq(out.halt, TURN_HALT_TOO_OLD);
    end();
}
END_TEST

START_TEST(a_committed_command_without_memory_halts_the_node)
{
    begin(100);
    put(1, "a");
    ck_assert_uint_eq(disk.write_count, 1);
    struct turn_input in = {.kind = TURN_IN_PERSISTED, .persist_number = sim_disk_sync(&disk)};
    step(in);
    mem_fail_after(1);
    step((struct turn_input){.kind = TURN_IN_WAKE});
    mem_fail_after(0);
    ck_assert_int_eq(out.halt, TURN_HALT_NO_MEMORY);
    end();
}
END_TEST

// What was said is heard; the last of that kind is returned.
static struct turn_send
hear(enum turn_msg_kind kind)
{
    for (int round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < sent_count; i++) {
            const struct turn_send send = sent[i];
            sent[i] = sent[--sent_count];
            if (send.msg.kind == kind)
                return send;
            step((struct turn_input){.kind = TURN_IN_MSG, .msg = &send.msg});
            settle();
            break;
        }
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
    ck_abort_msg("nobody says %d", (int)kind);
}

static uint64_t put_off_since_ns;

static void
begin_in_map(void)
{
    weight = 1;
    sent_count = 0;
    lease = (struct turn_lease){0};
    begin(1000);
}

START_TEST(a_node_writes_itself_into_the_map_once)
{
    begin_in_map();
    const struct turn_send wish = hear(TURN_MSG_COMMAND);
    ck_assert_uint_eq(wish.member, 1);
    ck_assert_int_eq(wish.msg.command->kind, COMMAND_NODE_REGISTER);
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &wish.msg});
    settle();
    ck_assert_uint_eq(turn.map.node_count, 1);
    ck_assert_uint_eq(turn.map.nodes[0].boot, 1);
    hear(TURN_MSG_LEASE_ASK);
    ck_assert_uint_eq(turn.map.node_count, 1);
    end();
}
END_TEST

START_TEST(a_lease_is_asked_for_granted_and_held)
{
    begin_in_map();
    const struct turn_send grant = hear(TURN_MSG_LEASE_GRANT);
    ck_assert(uuid_equal(grant.node, (struct cluster_uuid){0, 1}));
    ck_assert_uint_eq(grant.msg.boot, 1);
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &grant.msg});
    ck_assert_uint_eq(lease.sent_ns, grant.msg.sent_ns);
    ck_assert_uint_eq(lease.lease_ns, map_lease_times(&turn.map).lease_ms * MS);
    end();
}
END_TEST

// How many times a lease is asked for in the next seconds.
static uint32_t
asks_within(uint64_t ms)
{
    uint32_t asks = 0;
    for (uint64_t end_ns = now_ns + ms * MS; now_ns < end_ns; now_ns += 10 * MS) {
        sent_count = 0;
        step((struct turn_input){.kind = TURN_IN_WAKE, .put_off_since_ns = put_off_since_ns});
        for (uint32_t i = 0; i < sent_count; i++)
            asks += sent[i].msg.kind == TURN_MSG_LEASE_ASK ? 1 : 0;
    }
    return asks;
}

START_TEST(who_has_a_disk_that_takes_nothing_asks_for_no_lease_until_it_does)
{
    begin_in_map();
    hear(TURN_MSG_LEASE_ASK);
    const uint64_t renew_ms = map_lease_times(&turn.map).renew_ms;
    ck_assert_uint_ge(asks_within(3 * renew_ms), 2);
    put_off_since_ns = now_ns;
    (void)asks_within(renew_ms); // a short while is nothing
    ck_assert_uint_eq(asks_within(5 * renew_ms), 0);
    put_off_since_ns = 0;
    ck_assert_uint_ge(asks_within(3 * renew_ms), 2);
    put_off_since_ns = now_ns - renew_ms * MS + 10 * MS; // not long enough yet
    turn.ask_at_ns = now_ns;
    ck_assert_uint_eq(asks_within(10), 1);
    turn.ask_at_ns = now_ns;
    ck_assert_uint_eq(asks_within(10), 0);
    put_off_since_ns = 0;
    end();
}
END_TEST

// ---- features ----

static void
register_node(uint64_t low, uint64_t known)
{
    struct command command = {.kind = COMMAND_NODE_REGISTER};
    command.node.uuid = (struct cluster_uuid){0, low};
    command.node.boot = 1;
    command.node.weight = 1;
    command.node.roles = NODE_DATA;
    command.node.features = known;
    command.node.zone = (struct map_name){.count = 1, .bytes = "z"};
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
    settle();
}

static void
pass_seconds(int seconds)
{
    for (int i = 0; i < seconds * 100; i++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
}

START_TEST(what_is_new_is_switched_on_once_all_nodes_know_it)
{
    features = 6;
    begin(1000);
    register_node(1, 7);
    register_node(2, 1);
    pass_seconds(10);
    ck_assert_uint_eq(turn.map.node_count, 2);
    ck_assert_uint_eq(turn.map.features, 0);
    end();
    begin(1000);
    register_node(1, 7);
    register_node(2, 5);
    pass_seconds(10);
    ck_assert_uint_eq(turn.map.features, 4); // what the leader, too, knows
    end();
    features = 0;
}
END_TEST

// A router: it says by gossip alone what it knows, and an older one says nothing.
START_TEST(what_a_living_router_does_not_know_waits_until_it_does_or_is_gone)
{
    const struct gossip_id router = {0, 3};
    features = 5;
    begin(1000);
    claim_of(3, GOSSIP_ALIVE, 1);
    register_node(1, 7);
    pass_seconds(2);
    ck_assert_uint_le(gossip_find(&turn.gossip, router)->state, GOSSIP_SUSPECT);
    ck_assert_uint_eq(turn.map.features, 0);
    knows = 4;
    if (_i == 0)
        claim_of(3, GOSSIP_ALIVE, 2);
    else if (_i == 1)
        claim_of(3, GOSSIP_LEFT, 2);
    while (_i == 2 && gossip_find(&turn.gossip, router)->state <= GOSSIP_SUSPECT)
        pass_seconds(1);
    pass_seconds(2);
    ck_assert_uint_eq(turn.map.features, _i == 0 ? 4 : 5);
    end();
    knows = features = 0;
}
END_TEST

static void
propose(const struct command *command)
{
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = command});
    settle();
}

// So that no collection of a new cluster is one of before.
START_TEST(a_new_cluster_has_its_features_before_a_collection)
{
    features = MAP_FEATURE_ID_KINDS;
    begin(1000);
    register_node(1, 7);
    struct command command = {.kind = COMMAND_NODE_STATE};
    command.node_state = (struct command_node_state){VERSION_ANY, 1, NODE_UP};
    propose(&command);
    command = (struct command){.kind = COMMAND_COLLECTION_CREATE};
    command.collection = (struct command_collection){
        .name = {.count = 1, .bytes = "c"}, .dimension = 4, .shards = 2, .replication = 1};
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_BUSY);
    settle();
    ck_assert_uint_eq(turn.map.collection_count, 0);
    while (turn.map.features == 0) {
        now_ns += MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
    ck_assert_uint_eq(turn.map.features, MAP_FEATURE_ID_KINDS);
    propose(&command);
    ck_assert_uint_eq(turn.map.collection_count, 1);
    ck_assert_uint_eq(turn.map.collections[0].id_kind, MAP_IDS_OPEN);
    end();
    features = 0;
}
END_TEST

START_TEST(who_does_not_know_what_is_switched_on_ends)
{
    begin(1000);
    ck_assert_int_eq(out.halt, TURN_RUNS);
    const struct command command = {.kind = COMMAND_FEATURES, .features = 8};
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
    ck_assert_int_eq(out.halt, TURN_RUNS);
    for (int i = 0; i < 10 && out.halt == TURN_RUNS; i++) {
        struct turn_input in = {.kind = TURN_IN_WAKE};
        if (disk.write_count > 0)
            in = (struct turn_input){.kind = TURN_IN_PERSISTED,
                                     .persist_number = sim_disk_sync(&disk)};
        step(in);
    }
    ck_assert_int_eq(out.halt, TURN_HALT_TOO_OLD);
    end();
}
END_TEST

START_TEST(a_grant_names_the_end_of_its_leaders_log_not_what_is_applied)
{
    begin_in_map();
    const struct turn_send ask = hear(TURN_MSG_LEASE_ASK);
    sent_count = 0;
    put(1, "a"); // not durable yet
    const uint64_t last = tail_last(&turn.raft.tail);
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &ask.msg});
    for (int i = 0; i < 10 && sent_count == 0; i++)
        step((struct turn_input){.kind = TURN_IN_WAKE});
    ck_assert_uint_eq(sent_count, 1);
    ck_assert_int_eq(sent[0].msg.kind, TURN_MSG_LEASE_GRANT);
    ck_assert_uint_gt(last, turn.applied);
    ck_assert_uint_eq(sent[0].msg.position, last);
    end();
}
END_TEST

START_TEST(a_lease_counts_when_the_log_is_applied_through_its_position)
{
    begin_in_map();
    hear(TURN_MSG_LEASE_ASK);
    const struct turn_msg grant = {.kind = TURN_MSG_LEASE_GRANT,
                                   .boot = 1,
                                   .sent_ns = now_ns,
                                   .lease_ns = 1000 * MS,
                                   .position = turn.applied + 1};
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &grant});
    settle();
    ck_assert_uint_eq(lease.lease_ns, 0);
    put(1, "a");
    settle();
    ck_assert_uint_eq(lease.lease_ns, 1000 * MS);
    end();
}
END_TEST

START_TEST(a_grant_that_cannot_be_is_ignored)
{
    begin_in_map();
    hear(TURN_MSG_LEASE_ASK);
    const struct turn_msg good = {
        .kind = TURN_MSG_LEASE_GRANT, .boot = 1, .sent_ns = now_ns, .lease_ns = 1000 * MS};
    struct turn_msg bad = good;
    bad.boot = 2;
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &bad});
    bad = good;
    bad.sent_ns = now_ns + 1;
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &bad});
    bad = good;
    bad.lease_ns = UINT64_MAX / 2;
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &bad});
    bad.kind = TURN_MSG_KINDS;
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &bad});
    ck_assert_uint_eq(lease.lease_ns, 0);
    step((struct turn_input){.kind = TURN_IN_MSG, .msg = &good});
    ck_assert_uint_eq(lease.lease_ns, 1000 * MS);
    end();
}
END_TEST

START_TEST(an_operator_changes_the_members_and_hands_over)
{
    begin(100);
    struct raft_change change = {.count = 1, .items = {{RAFT_ADD_LEARNER, 2}}};
    struct turn_input in = {.kind = TURN_IN_CHANGE};
    in.change = &change;
    step(in);
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
    settle();
    ck_assert_uint_eq(turn.group.count, 2);
    ck_assert_uint_eq(turn.group.members[1].id, 2);
    ck_assert_uint_eq(turn.group.members[1].roles, RAFT_LEARNER);
    in = (struct turn_input){.kind = TURN_IN_TRANSFER};
    in.member = 9; // nobody
    step(in);
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_INVALID);
    in.member = 1; // it leads already
    step(in);
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
    end();
}
END_TEST

START_TEST(what_gossip_believes_of_a_node_is_said_once)
{
    begin(100);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    is_said(false);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    ck_assert_uint_eq(out.word_count, 0);
    claim_of_node_2(GOSSIP_DEAD, 1);
    is_said(true);
    step((struct turn_input){.kind = TURN_IN_WAKE});
    ck_assert_uint_eq(out.word_count, 0);
    claim_of_node_2(GOSSIP_ALIVE, 3);
    is_said(false);
    end();
}
END_TEST

START_TEST(that_somebody_leads_is_said_once)
{
    begin(100);
    uint32_t said = 0;
    turn_fini(&turn);
    sim_disk_crash(&disk, 0);
    start(100);
    for (int tick = 0; tick < 100; tick++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        said += out.led;
        while (disk.write_count > 0 || out.wake_ns <= now_ns) {
            struct turn_input in = {.kind = TURN_IN_WAKE};
            if (disk.write_count > 0 && (in.persist_number = sim_disk_sync(&disk)) != 0)
                in.kind = TURN_IN_PERSISTED;
            step(in);
            ck_assert(!out.led || turn.raft.lead == 1);
            said += out.led;
        }
    }
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
    ck_assert_uint_eq(said, 1);
    end();
}
END_TEST

START_TEST(a_log_that_is_full_goes_only_with_a_checkpoint_that_covers_it)
{
    begin(100000); // far more than the tail has room for
    for (uint64_t op = 1; op <= 700; op++) {
        put(op, "a");
        settle(); // sim_disk_sync asserts it of every transaction
    }
    ck_assert_uint_gt(disk.base_position, 1);
    ck_assert_uint_le(disk.base_position, disk.map_position);
    put(701, "b");
    settle();
    sim_disk_crash(&disk, 0);
    turn_fini(&turn);
    start(100000);
    settle();
    lead();
    is_set_to("b");
    end();
}
END_TEST

START_TEST(a_look_at_1024_nodes_is_no_million_comparisons)
{
    begin_in_map();
    for (uint32_t i = 1; i <= MAP_NODES_MAX; i++) {
        struct command command = {.kind = COMMAND_NODE_REGISTER};
        command.node.uuid = (struct cluster_uuid){0, i};
        command.node.boot = 1;
        command.node.weight = 1;
        command.node.roles = NODE_DATA;
        command.node.zone = (struct map_name){.count = 1, .bytes = "z"};
        step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
        ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
        settle();
    }
    ck_assert_uint_eq(turn.map.node_count, MAP_NODES_MAX);
    turn.plan_at_ns = now_ns;
    step((struct turn_input){.kind = TURN_IN_WAKE});
    settle(); // all have their rows
    ck_assert_uint_eq(turn.lease.row_count, LEASE_NODES_MAX);
    const uint64_t before = turn.lease.compared;
    turn.plan_at_ns = now_ns;
    step((struct turn_input){.kind = TURN_IN_WAKE});
    ck_assert_uint_gt(turn.plan_at_ns, now_ns);
    ck_assert_uint_gt(turn.lease.compared, before);
    ck_assert_uint_le(turn.lease.compared - before, 2 * 11 * MAP_NODES_MAX);
    end();
}
END_TEST

static void
look_at_voters(void)
{
    for (int i = 0; i < 100; i++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
}

START_TEST(a_node_that_says_its_number_by_gossip_is_made_a_learner)
{
    weight = 100;
    wanted = _i == 0 ? 0 : 3;
    number = _i == 1 ? 0 : 2;
    begin(100);
    const struct gossip_meta *own = &turn.gossip.self.meta;
    ck_assert_uint_eq(own->data_bytes, TURN_SAID_BYTES);
    ck_assert_uint_eq(own->data[0], 1);
    ck_assert_uint_eq(own->zone_bytes, 1);
    ck_assert_uint_eq(own->zone[0], 'z');
    claim_of_node_2(GOSSIP_ALIVE, 1);
    look_at_voters();
    const uint32_t at = member_find(&turn.raft.group, 2);
    ck_assert(_i < 2 ? at == RAFT_MEMBERS_MAX : turn.raft.group.members[at].roles == RAFT_LEARNER);
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
    const struct turn_said said = turn_said_read(own);
    ck_assert_uint_eq(said.member, 1);
    ck_assert_uint_eq(said.lead_term, turn.raft.term);
    ck_assert_uint_eq(said.voters, 1);
    weight = 0;
    wanted = number = 0;
    end();
}
END_TEST

// ---- whom a node that is about to end waits for ----

static void
apply(struct command command)
{
    step((struct turn_input){.kind = TURN_IN_PROPOSE, .command = &command});
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
    settle();
}

static void
take_step(struct shard_step what)
{
    struct command command = command_of(COMMAND_STEPS);
    what.shard = turn.map.shards[0].id;
    what.cfg_ver = turn.map.shards[0].cfg_ver;
    command.steps.count = 1;
    command.steps.steps[0] = what;
    apply(command);
}

static void
set_state(uint32_t node, enum node_state state)
{
    struct command command = command_of(COMMAND_NODE_STATE);
    command.node_state = (struct command_node_state){VERSION_ANY, node, (uint8_t)state};
    apply(command);
    ck_assert_uint_eq(map_node(&turn.map, node)->state, state);
}

// A shard with copies on this node, its primary, and on another that gossip has not heard of.
static void
begin_with_shard(void)
{
    begin(1000);
    for (uint32_t node = 1; node <= 2; node++) {
        struct command command = command_of(COMMAND_NODE_REGISTER);
        command.node = (struct command_node){
            .uuid = {0, node}, .boot = 1, .weight = 1, .roles = NODE_DATA, .zone = name_of("z")};
        apply(command);
        set_state(node, NODE_UP);
    }
    apply(create_command("docs", 1, 2));
    for (uint32_t node = 1; node <= 2; node++)
        take_step((struct shard_step){.kind = STEP_ASSIGN, .node = node});
    for (uint32_t node = 1; node <= 2; node++)
        take_step((struct shard_step){.kind = STEP_BORN, .node = node, .replica = {8, node}});
    const struct map_shard *shard = &turn.map.shards[0];
    ck_assert_int_eq(shard->status, SHARD_OPEN);
    ck_assert_uint_eq(shard->primary.low, 1);
    ck_assert_uint_eq(shard_in_sync(shard), 2);
}

START_TEST(a_node_has_left_when_nobody_who_is_there_could_lead_what_it_leads)
{
    number = 2;
    begin_with_shard();
    ck_assert(turn_has_left(&turn)); // gossip knows of nobody
    claim_of_node_2(GOSSIP_ALIVE, 1);
    ck_assert(!turn_has_left(&turn));
    claim_of_node_2(GOSSIP_SUSPECT, 1); // is asked all the same
    ck_assert(!turn_has_left(&turn));
    leaving = true;
    claim_of_node_2(GOSSIP_ALIVE, 2);
    ck_assert(turn_has_left(&turn));
    leaving = false;
    claim_of_node_2(GOSSIP_ALIVE, 3);
    ck_assert(!turn_has_left(&turn));
    claim_of_node_2(GOSSIP_DEAD, 3);
    ck_assert(turn_has_left(&turn));
    claim_of_node_2(GOSSIP_ALIVE, 4);
    ck_assert(!turn_has_left(&turn));
    set_state(2, NODE_DRAINING);
    ck_assert(turn_has_left(&turn));
    set_state(2, NODE_UP);
    ck_assert(!turn_has_left(&turn));
    take_step((struct shard_step){.kind = STEP_REMOVE, .replica = {8, 2}}); // it has to catch up
    ck_assert(turn_has_left(&turn));
    take_step((struct shard_step){.kind = STEP_ADD, .replica = {8, 2}});
    ck_assert(!turn_has_left(&turn));
    take_step((struct shard_step){.kind = STEP_TRANSFER, .replica = {8, 2}}); // and does
    ck_assert_uint_eq(turn.map.shards[0].primary.low, 2);
    ck_assert(turn_has_left(&turn));
    number = 0;
    end();
}
END_TEST

START_TEST(who_leads_the_metadata_hands_it_to_nobody_without_a_vote)
{
    number = 2;
    weight = 100; // or it says nothing of itself
    begin(100);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    ck_assert(turn_has_left(&turn)); // it has no vote
    const struct raft_change change = {.count = 1, .items = {{RAFT_ADD_LEARNER, 2}}};
    step((struct turn_input){.kind = TURN_IN_CHANGE, .change = &change});
    settle();
    ck_assert(turn_has_left(&turn)); // nor as a learner
    step((struct turn_input){.kind = TURN_IN_LEAVE});
    ck_assert(turn.leaving);
    for (int i = 0; i < 500 && !turn_said_read(&turn.gossip.self.meta).leaving; i++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
    ck_assert(turn_said_read(&turn.gossip.self.meta).leaving);
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
    number = 0;
    weight = 0;
    end();
}
END_TEST

START_TEST(a_disk_that_is_low_is_said_until_it_is_not)
{
    number = 2;
    weight = 100;
    begin(100);
    for (int low = 1; low >= 0; low--) {
        step((struct turn_input){.kind = TURN_IN_DISK, .disk_low = low != 0});
        ck_assert_uint_eq(out.wake_ns, now_ns); // at once
        for (int i = 0; i < 500 && turn_said_read(&turn.gossip.self.meta).disk_low != (low != 0);
             i++) {
            now_ns += 10 * MS;
            step((struct turn_input){.kind = TURN_IN_WAKE});
            settle();
        }
        const struct turn_said said = turn_said_read(&turn.gossip.self.meta);
        ck_assert(said.disk_low == (low != 0));
        ck_assert(!said.leaving);
        ck_assert_uint_eq(turn.health[0].disk_low, 0);
        step((struct turn_input){.kind = TURN_IN_WAKE});
    }
    ck_assert(!turn.leaving);
    number = 0;
    weight = 0;
    end();
}
END_TEST

// To count a low disk as a node that ends would have the leader hand over everything that it leads, and a node that ends wait for nobody.
START_TEST(a_node_whose_disk_is_low_does_not_leave)
{
    number = 2;
    begin_with_shard();
    disk_low = true;
    claim_of_node_2(GOSSIP_ALIVE, 1);
    ck_assert_uint_eq(turn.leaving_seen, 0);
    ck_assert(!turn_has_left(&turn)); // it could lead: a failover would be worse
    turn.plan_at_ns = now_ns;
    step((struct turn_input){.kind = TURN_IN_WAKE});
    const uint32_t row = turn.health[0].node == 2 ? 0 : 1;
    ck_assert_uint_eq(turn.health[row].node, 2);
    ck_assert(turn.health[row].alive);
    ck_assert(turn.health[row].disk_low);
    ck_assert(!turn.health[row].leaving);
    ck_assert(!turn.health[1 - row].disk_low);
    disk_low = false;
    number = 0;
    end();
}
END_TEST

// Who follows has all of the log, who only hears none of it. Gossip says of 2 that it is there, dead, or about to end itself.
static const struct {
    enum voter second, third;
    bool known, dead, leaves;
    uint64_t heir;
} heirs[] = {
    {VOTER_FOLLOWS, VOTER_HEARS, .known = true, .heir = 2},
    {VOTER_HEARS, VOTER_FOLLOWS, .known = true, .heir = 3},
    {VOTER_FOLLOWS, VOTER_HEARS, .known = true, .dead = true, .heir = 3},
    {VOTER_FOLLOWS, VOTER_HEARS, .known = true, .leaves = true, .heir = 3},
    {VOTER_FOLLOWS, VOTER_SILENT, .known = true, .dead = true, .heir = RAFT_NODE_NONE},
    {VOTER_FOLLOWS, VOTER_HEARS, .known = false, .heir = RAFT_NODE_NONE},
};

START_TEST(the_metadata_goes_to_the_voter_that_has_most_of_the_log_and_is_there)
{
    const struct raft_group group = {.members = {{1, RAFT_VOTER}, {2, RAFT_VOTER}, {3, RAFT_VOTER}},
                                     .count = 3};
    weight = 100;
    voters[2] = heirs[_i].second;
    voters[3] = heirs[_i].third;
    begin_in(&group, 1000);
    if (heirs[_i].known) {
        number = 3;
        claim_of(3, GOSSIP_ALIVE, 1);
        number = 2;
        leaving = heirs[_i].leaves;
        claim_of(2, GOSSIP_ALIVE, 1);
    }
    if (heirs[_i].dead)
        claim_of(2, GOSSIP_DEAD, 1);
    for (int i = 0; i < 10; i++) { // heartbeats
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        settle();
    }
    for (uint32_t i = 1; i <= 2; i++) {
        const struct raft_progress *progress = &turn.raft.progress[i];
        ck_assert(progress->recent_active == (voters[i + 1] != VOTER_SILENT));
        ck_assert_uint_eq(progress->match, voters[i + 1] == VOTER_FOLLOWS ? turn.raft.commit : 0);
    }
    ck_assert(turn_has_left(&turn) == (heirs[_i].heir == RAFT_NODE_NONE));
    step((struct turn_input){.kind = TURN_IN_LEAVE});
    uint64_t handed_to = turn.raft.transferee;
    for (int i = 0; i < 100 && handed_to == RAFT_NODE_NONE; i++) {
        now_ns += 10 * MS;
        step((struct turn_input){.kind = TURN_IN_WAKE});
        handed_to = turn.raft.transferee;
        settle();
    }
    ck_assert_uint_eq(handed_to, heirs[_i].heir);
    ck_assert_int_eq(turn.raft.state, RAFT_LEADER);
    weight = number = 0;
    leaving = false;
    memset(voters, 0, sizeof voters);
    letter_count = 0;
    end();
}
END_TEST

START_TEST(a_joint_group_is_left_and_a_learner_that_is_nobody_goes)
{
    weight = 100;
    wanted = 3;
    begin(100);
    const struct raft_change change = {
        .transition = RAFT_TRANSITION_EXPLICIT, .count = 1, .items = {{RAFT_ADD_LEARNER, 2}}};
    step((struct turn_input){.kind = TURN_IN_CHANGE, .change = &change});
    ck_assert_int_eq(out.raft.answer, RAFT_ANSWER_OK);
    settle();
    ck_assert(member_is_joint(&turn.raft.group));
    look_at_voters();
    ck_assert(!member_is_joint(&turn.raft.group));
    ck_assert_uint_eq(turn.raft.group.count, 2);
    for (int i = 0; i < 8; i++)
        look_at_voters();
    ck_assert_uint_eq(turn.raft.group.count, 1); // nobody goes by that number
    weight = 0;
    wanted = 0;
    end();
}
END_TEST

START_TEST(an_address_to_meet_is_asked_in_the_same_turn)
{
    begin(1000);
    const struct gossip_address there = {.ip = {[15] = 9}, .port = 7701};
    step((struct turn_input){.kind = TURN_IN_MEET, .meet = there});
    ck_assert(out.gossip_stepped);
    ck_assert_uint_eq(out.gossip.send_count, 1);
    ck_assert_uint_eq(out.gossip.sends[0].msg.kind, GOSSIP_ASK);
    ck_assert(gossip_address_equal(&out.gossip.sends[0].to, &there));
    end();
}
END_TEST

static Suite *
node_turn_suite(void)
{
    Suite *suite = suite_create("node/turn");
    TCase *tcase = tcase_create("turn");
    tcase_add_test(tcase, nothing_is_applied_before_it_is_durable);
    tcase_add_test(tcase, the_version_of_the_map_is_gossiped);
    tcase_add_test(tcase, a_log_is_compacted_only_behind_a_durable_checkpoint);
    tcase_add_test(tcase, a_start_from_the_disk_has_all_that_was_acknowledged);
    tcase_add_test(tcase, a_repeated_command_answers_with_its_first_position);
    tcase_add_test(tcase, a_checkpoint_that_is_no_map_halts_the_node);
    tcase_add_test(tcase, a_checkpoint_of_a_newer_format_says_that_the_program_is_too_old);
    tcase_add_test(tcase, a_committed_command_without_memory_halts_the_node);
    tcase_add_test(tcase, a_node_writes_itself_into_the_map_once);
    tcase_add_test(tcase, what_is_new_is_switched_on_once_all_nodes_know_it);
    tcase_add_test(tcase, who_does_not_know_what_is_switched_on_ends);
    tcase_add_test(tcase, a_new_cluster_has_its_features_before_a_collection);
    tcase_add_loop_test(tcase, what_a_living_router_does_not_know_waits_until_it_does_or_is_gone, 0,
                        3);
    tcase_add_test(tcase, a_lease_is_asked_for_granted_and_held);
    tcase_add_test(tcase, who_has_a_disk_that_takes_nothing_asks_for_no_lease_until_it_does);
    tcase_add_test(tcase, a_grant_names_the_end_of_its_leaders_log_not_what_is_applied);
    tcase_add_test(tcase, a_lease_counts_when_the_log_is_applied_through_its_position);
    tcase_add_test(tcase, a_grant_that_cannot_be_is_ignored);
    tcase_add_test(tcase, an_operator_changes_the_members_and_hands_over);
    tcase_add_test(tcase, what_gossip_believes_of_a_node_is_said_once);
    tcase_add_test(tcase, that_somebody_leads_is_said_once);
    tcase_add_test(tcase, a_log_that_is_full_goes_only_with_a_checkpoint_that_covers_it);
    tcase_add_loop_test(tcase, a_node_that_says_its_number_by_gossip_is_made_a_learner, 0, 3);
    tcase_add_loop_test(tcase, the_metadata_goes_to_the_voter_that_has_most_of_the_log_and_is_there,
                        0, sizeof heirs / sizeof heirs[0]);
    tcase_add_test(tcase, a_joint_group_is_left_and_a_learner_that_is_nobody_goes);
    tcase_add_test(tcase, a_node_has_left_when_nobody_who_is_there_could_lead_what_it_leads);
    tcase_add_test(tcase, who_leads_the_metadata_hands_it_to_nobody_without_a_vote);
    tcase_add_test(tcase, a_disk_that_is_low_is_said_until_it_is_not);
    tcase_add_test(tcase, a_node_whose_disk_is_low_does_not_leave);
    tcase_add_test(tcase, a_look_at_1024_nodes_is_no_million_comparisons);
    tcase_add_test(tcase, an_address_to_meet_is_asked_in_the_same_turn);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_turn_suite)
