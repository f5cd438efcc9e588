// tests/unit/cluster/test_voters.c -- who votes: as many as are wanted, in as many zones as there are, the dead replaced, nothing else moved.
//
// Shape: shell. The group of tests/lib/voters_world.h holds every plan against what it must never do.
#include "tests/lib/check_main.h"
#include "tests/lib/voters_world.h"

static struct voters_world world;

// A founder that votes alone, and others that are no members yet.
static void
found(uint32_t nodes, uint32_t zones)
{
    voters_world_init(&world, 1);
    for (uint32_t i = 0; i < nodes; i++)
        voters_peer_new(&world, (char)('a' + i % zones));
    voters_put(&world, 101, true);
    world.self = 101;
}

static void
grown(uint32_t nodes, uint32_t zones, uint32_t wanted)
{
    found(nodes, zones);
    world.config.wanted = wanted;
    voters_init(&world.voters, &world.config);
    voters_run(&world, 120);
    world.changes = 0;
}

static bool
votes(uint64_t member)
{
    const struct voters_member *known = voters_member_of(&world, member);
    return known != NULL && known->votes;
}

static uint32_t
voters_in(char zone)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.peer_count; i++)
        count += votes(world.peers[i].member) && world.peers[i].zone == zone;
    return count;
}

static uint64_t
some_voter_but_the_leader(void)
{
    for (uint32_t i = 0; i < world.member_count; i++)
        if (world.members[i].votes && world.members[i].member != world.self)
            return world.members[i].member;
    return 0;
}

static void
set_state(uint64_t member, enum node_state state)
{
    const uint32_t number = voters_peer_of(&world, member)->number;
    if (map_node(&world.world.map, number)->state == state)
        return;
    ck_assert_int_eq(world_node_state(&world.world, number, state), OMEN_OK);
}

static void
put_setting(const char *value)
{
    struct command command = command_of(COMMAND_SETTING_PUT);
    command.setting.expected = VERSION_ANY;
    command.setting.name = name_of(VOTERS_SETTING);
    command.setting.value.count = (uint8_t)strlen(value);
    memcpy(command.setting.value.bytes, value, strlen(value));
    ck_assert_int_eq(world_apply(&world.world, &command).status, OMEN_OK);
}

// Everything that there is to do is done.
static void
expect_rest(void)
{
    const uint32_t changes = world.changes, transfers = world.transfers;
    voters_run(&world, 200);
    ck_assert_uint_eq(world.changes, changes);
    ck_assert_uint_eq(world.transfers, transfers);
}

// ---- growing ----

START_TEST(a_group_of_one_grows_to_three_five_and_seven_by_joint_changes)
{
    static const uint32_t wanted[] = {1, 3, 5, 7};
    grown(9, 1, wanted[_i]);
    ck_assert_uint_eq(voters_count(&world), wanted[_i]);
    ck_assert_uint_eq(world.member_count, 9); // the others learn
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(an_even_number_never_votes_on_the_way)
{
    found(7, 1);
    world.config.wanted = 7;
    voters_init(&world.voters, &world.config);
    for (uint32_t i = 0; i < 200; i++) {
        voters_look(&world);
        ck_assert_uint_eq(voters_count(&world) % 2, 1);
    }
    ck_assert_uint_eq(voters_count(&world), 7);
    voters_world_fini(&world);
}
END_TEST

START_TEST(as_many_vote_as_nodes_allow_an_odd_number)
{
    const uint32_t nodes = (uint32_t)_i + 1;
    grown(nodes, 1, 7);
    ck_assert_uint_eq(voters_count(&world), (nodes < 7 ? nodes - 1 : 6) / 2 * 2 + 1);
    ck_assert_uint_eq(world.member_count, nodes);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_learner_votes_only_when_it_was_well_for_a_while)
{
    found(3, 1);
    for (uint32_t i = 0; i < 400; i++) {
        world.peers[1].cut = i / 6 % 2 == 1; // 3 s each, and 5 are asked for
        voters_look(&world);
    }
    ck_assert_uint_eq(voters_count(&world), 1);
    world.peers[1].cut = false;
    voters_run(&world, 20);
    ck_assert_uint_eq(voters_count(&world), 3);
    voters_world_fini(&world);
}
END_TEST

START_TEST(an_even_group_is_made_odd)
{
    voters_world_init(&world, 1);
    const uint32_t count = _i % 2 == 0 ? 2 : 4, others = (uint32_t)_i / 2;
    for (uint32_t i = 0; i < count + others; i++)
        voters_put(&world, voters_peer_new(&world, 'a')->member, i < count);
    voters_run(&world, 60);
    ck_assert_uint_eq(voters_count(&world), (count + others - 1) / 2 * 2 + 1);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(the_setting_says_how_many_vote)
{
    grown(9, 1, 5);
    put_setting("7");
    voters_run(&world, 60);
    ck_assert_uint_eq(voters_count(&world), 7);
    put_setting("3");
    voters_run(&world, 60);
    ck_assert_uint_eq(voters_count(&world), 3);
    put_setting(_i == 0 ? "4" : _i == 1 ? "33" : "x"); // none of these is a size
    voters_run(&world, 60);
    ck_assert_uint_eq(voters_count(&world), 5);
    ck_assert_uint_eq(world.transfers, 0); // the leader went on
    voters_world_fini(&world);
}
END_TEST

START_TEST(where_none_is_wanted_nothing_is_planned)
{
    found(3, 1);
    world.config.wanted = 0;
    voters_init(&world.voters, &world.config);
    voters_run(&world, 60);
    ck_assert_uint_eq(world.member_count, 1);
    ck_assert_uint_eq(world.last.wake_ns, UINT64_MAX);
    voters_world_fini(&world);
}
END_TEST

// ---- zones ----

START_TEST(voters_are_in_as_many_zones_as_there_are)
{
    grown(9, 3, _i == 0 ? 3 : 5);
    for (char zone = 'a'; zone <= 'c'; zone++)
        ck_assert_uint_ge(voters_in(zone), 1);
    ck_assert_uint_le(voters_in('a'), 2);
    voters_world_fini(&world);
}
END_TEST

START_TEST(voters_spread_to_a_zone_that_comes_later_and_the_leader_stays)
{
    grown(5, 1, 5);
    const uint64_t leader = world.self;
    voters_peer_new(&world, 'b');
    voters_peer_new(&world, 'b');
    voters_run(&world, 60);
    ck_assert_uint_eq(voters_in('b'), 2);
    ck_assert_uint_eq(voters_in('a'), 3);
    ck_assert_uint_eq(world.self, leader);
    ck_assert_uint_eq(world.changes, 4); // two learn, two votes move
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

// ---- the dead ----

START_TEST(a_dead_voter_is_replaced_after_the_delay_in_one_change)
{
    grown(6, 1, 5);
    const uint64_t dead = some_voter_but_the_leader();
    voters_peer_of(&world, dead)->alive = false;
    voters_run(&world, 55);
    ck_assert_uint_eq(world.changes, 0);
    voters_run(&world, 20);
    ck_assert_uint_eq(world.changes, 1);
    ck_assert_uint_eq(voters_count(&world), 5);
    ck_assert(!votes(dead));
    ck_assert_ptr_nonnull(voters_member_of(&world, dead)); // it learns, when it is back
    expect_rest();
    voters_peer_of(&world, dead)->alive = true;
    expect_rest(); // and takes no vote back
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_node_that_comes_and_goes_moves_nothing)
{
    grown(6, 2, 5);
    const uint64_t blinks = some_voter_but_the_leader();
    for (uint32_t i = 0; i < 2000; i++) {
        voters_peer_of(&world, blinks)->alive = i / 100 % 2 == 0; // 50 s each
        voters_look(&world);
    }
    ck_assert_uint_eq(world.changes, 0);
    voters_world_fini(&world);
}
END_TEST

START_TEST(who_does_not_answer_the_leader_is_replaced_although_gossip_hears_it)
{
    grown(4, 1, 3);
    const uint64_t silent = some_voter_but_the_leader();
    voters_peer_of(&world, silent)->cut = true;
    voters_run(&world, 80);
    ck_assert(!votes(silent));
    ck_assert_uint_eq(voters_count(&world), 3);
    voters_world_fini(&world);
}
END_TEST

START_TEST(without_anybody_to_replace_it_a_dead_voter_stays)
{
    grown(3, 1, 3);
    const uint64_t dead = some_voter_but_the_leader();
    voters_peer_of(&world, dead)->alive = false;
    expect_rest();
    ck_assert_uint_eq(voters_count(&world), 3);
    voters_world_fini(&world);
}
END_TEST

START_TEST(two_dead_of_five_are_let_go_and_one_more_may_die)
{
    grown(5, 1, 5);
    for (int i = 0; i < 2; i++) {
        const uint64_t dead = some_voter_but_the_leader();
        voters_peer_of(&world, dead)->alive = false;
        voters_member_of(&world, dead)->votes = false; // so that another one is found
    }
    for (uint32_t i = 0; i < world.member_count; i++)
        world.members[i].votes = true;
    voters_run(&world, 80);
    ck_assert_uint_eq(world.changes, 1);
    ck_assert_uint_eq(voters_count(&world), 3);
    for (uint32_t i = 0; i < world.peer_count; i++)
        world.peers[i].alive = true;
    voters_run(&world, 20);
    ck_assert_uint_eq(voters_count(&world), 5); // they are back
    voters_world_fini(&world);
}
END_TEST

START_TEST(without_a_majority_nothing_is_planned)
{
    grown(6, 1, 3);
    for (uint32_t i = 0; i < world.peer_count; i++)
        world.peers[i].alive = !votes(world.peers[i].member) || world.peers[i].member == world.self;
    struct voters_node nodes[VOTERS_NODES];
    for (uint32_t i = 0; i < 400; i++) { // as its leader, that has not noticed yet
        struct voters_input input = {.now_ns = world.now_ns += VOTERS_SECOND,
                                     .self = world.self,
                                     .map = &world.world.map,
                                     .members = world.members,
                                     .member_count = world.member_count,
                                     .nodes = nodes};
        voters_show(&world, &input, nodes);
        voters_step(&world.voters, &input, &world.last);
        ck_assert_int_eq(world.last.kind, VOTERS_REST);
    }
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_new_leader_that_has_heard_of_nobody_waits_for_the_delay)
{
    grown(6, 1, 5);
    voters_init(&world.voters, &world.config);
    world.deaf = true;
    voters_run(&world, 55);
    ck_assert_uint_eq(world.changes, 0);
    world.deaf = false;
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

// The leader was started when that voter was down already: gossip knows nothing of it, the map does.
START_TEST(a_voter_that_is_down_since_before_the_leader_began_stays_one)
{
    grown(3, 1, 3);
    const uint64_t down = some_voter_but_the_leader();
    voters_peer_of(&world, down)->alive = false;
    voters_peer_of(&world, down)->unheard = true;
    voters_init(&world.voters, &world.config);
    expect_rest();
    ck_assert_uint_eq(voters_count(&world), 3);
    voters_peer_new(&world, 'a'); // it can vote in its place
    voters_run(&world, 20);
    ck_assert(!votes(down));
    ck_assert_uint_eq(voters_count(&world), 3);
    ck_assert_ptr_nonnull(voters_member_of(&world, down)); // it is a node yet, and learns
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(
    a_voter_that_is_down_since_before_the_leader_began_goes_when_the_map_has_no_node_that_it_may_be)
{
    grown(3, 1, 3);
    const uint64_t down = some_voter_but_the_leader();
    voters_peer_of(&world, down)->alive = false;
    voters_peer_of(&world, down)->unheard = true;
    voters_init(&world.voters, &world.config);
    set_state(down, NODE_DRAINING); // and holds nothing
    voters_run(&world, 55);
    ck_assert(votes(down));
    voters_run(&world, 20);
    ck_assert_ptr_null(voters_member_of(&world, down));
    ck_assert_uint_eq(voters_count(&world), 1);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(time_in_which_the_leader_was_stopped_makes_nobody_lost)
{
    grown(6, 1, 5);
    const uint64_t ill = some_voter_but_the_leader();
    voters_peer_of(&world, ill)->alive = false;
    voters_run(&world, 3);
    world.now_ns += 1000 * VOTERS_SECOND;
    voters_run(&world, 3);
    voters_peer_of(&world, ill)->alive = true;
    voters_run(&world, 100);
    ck_assert_uint_eq(world.changes, 0);
    voters_world_fini(&world);
}
END_TEST

// ---- those who go ----

START_TEST(a_drained_voter_is_replaced_at_once_and_learns_on)
{
    grown(6, 1, 5);
    const uint64_t drained = some_voter_but_the_leader();
    set_state(drained, NODE_DRAINING);
    voters_run(&world, 10);
    ck_assert(!votes(drained));
    ck_assert_uint_eq(voters_count(&world), 5);
    ck_assert_ptr_nonnull(voters_member_of(&world, drained));
    ck_assert_uint_eq(world.changes, 1);
    set_state(drained, NODE_GONE);
    voters_run(&world, 10);
    ck_assert_ptr_null(voters_member_of(&world, drained));
    expect_rest(); // although its process is there
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_drained_leader_hands_over_first)
{
    grown(6, 1, 5);
    const uint64_t drained = world.self;
    set_state(drained, NODE_DRAINING);
    voters_run(&world, 30);
    ck_assert_uint_eq(world.transfers, 1);
    ck_assert_uint_ne(world.self, drained);
    ck_assert(!votes(drained));
    ck_assert_uint_eq(voters_count(&world), 5);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_drained_leader_that_cannot_hand_over_does_not_try_all_the_time)
{
    grown(3, 1, 3);
    set_state(world.self, NODE_DRAINING);
    const uint64_t self = world.self;
    uint32_t tries = 0;
    struct voters_node nodes[VOTERS_NODES];
    for (uint32_t i = 0; i < 240; i++) { // it leads on, whatever it plans
        struct voters_input input = {.now_ns = world.now_ns += VOTERS_SECOND,
                                     .self = self,
                                     .map = &world.world.map,
                                     .members = world.members,
                                     .member_count = world.member_count,
                                     .nodes = nodes};
        voters_show(&world, &input, nodes);
        voters_step(&world.voters, &input, &world.last);
        tries += world.last.kind == VOTERS_TRANSFER;
    }
    ck_assert_uint_le(tries, 4);
    ck_assert_uint_ge(tries, 3);
    voters_world_fini(&world);
}
END_TEST

START_TEST(two_of_three_that_are_drained_leave_one)
{
    grown(3, 1, 3);
    for (uint32_t i = 0; i < 3; i++)
        if (world.peers[i].member != world.self)
            set_state(world.peers[i].member, NODE_DRAINING);
    voters_run(&world, 10);
    ck_assert_uint_eq(voters_count(&world), 1);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_drained_voter_that_nobody_can_replace_votes_until_it_is_empty)
{
    grown(3, 1, 3);
    const uint64_t drained = some_voter_but_the_leader();
    world_collection(&world.world, "docs", 3, 1);
    ck_assert_uint_lt(world_settle(&world.world, 100), 100);
    set_state(drained, NODE_DRAINING);
    voters_run(&world, 80);
    ck_assert(votes(drained)); // its copies are there
    ck_assert_uint_eq(voters_count(&world), 3);
    ck_assert_uint_lt(world_settle(&world.world, 100), 100);
    voters_run(&world, 10);
    ck_assert(!votes(drained));
    ck_assert(votes(world.self));
    ck_assert_uint_eq(voters_count(&world), 1);
    ck_assert_uint_eq(world.changes, 1); // jointly
    expect_rest();
    set_state(drained, NODE_GONE);
    voters_run(&world, 10);
    ck_assert_ptr_null(voters_member_of(&world, drained));
    ck_assert_uint_eq(voters_count(&world), 1);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_drained_voter_waits_for_who_may_vote_in_its_place)
{
    grown(4, 1, 3);
    uint64_t spare = 0;
    for (uint32_t i = 0; i < 4; i++)
        if (!votes(world.peers[i].member))
            spare = world.peers[i].member;
    const uint64_t drained = some_voter_but_the_leader();
    voters_peer_of(&world, spare)->alive = false; // it may be well soon
    voters_run(&world, 2);
    set_state(drained, NODE_DRAINING);
    voters_run(&world, 20);
    ck_assert(votes(drained));
    voters_peer_of(&world, spare)->alive = true;
    voters_run(&world, 20);
    ck_assert(!votes(drained));
    ck_assert(votes(spare));
    ck_assert_uint_eq(voters_count(&world), 3);
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_number_that_was_lost_with_its_disk_is_replaced_by_the_new_one_and_goes)
{
    grown(3, 1, 3);
    const uint64_t old = some_voter_but_the_leader();
    voters_peer_of(&world, old)->member = 200; // the same node
    voters_run(&world, 20);
    ck_assert_ptr_nonnull(voters_member_of(&world, 200));
    ck_assert(votes(old)); // it may only not have been heard of
    voters_run(&world, 60);
    ck_assert(votes(200));
    ck_assert_ptr_null(voters_member_of(&world, old));
    ck_assert_uint_eq(voters_count(&world), 3);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_full_group_makes_room_for_a_node_by_letting_a_dead_learner_go)
{
    found(6, 1);
    world.config.members_max = 5;
    world.config.wanted = 3;
    voters_init(&world.voters, &world.config);
    voters_run(&world, 60);
    ck_assert_uint_eq(world.member_count, 5);
    ck_assert_ptr_null(voters_member_of(&world, 106));
    uint64_t learner = 0;
    for (uint32_t i = 0; i < world.member_count; i++)
        learner = world.members[i].votes ? learner : world.members[i].member;
    voters_peer_of(&world, learner)->alive = false;
    voters_run(&world, 90);
    ck_assert_ptr_null(voters_member_of(&world, learner));
    ck_assert_ptr_nonnull(voters_member_of(&world, 106));
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_full_group_of_as_many_zones_admits_a_node_of_one_more)
{
    static const char zones[] = "abcdefghijklmnopqrstuvwxyzABCDEFG";
    ck_assert_uint_eq(strlen(zones), VOTERS_MEMBERS_MAX + 1);
    voters_world_init(&world, 1);
    for (uint32_t i = 0; i <= VOTERS_MEMBERS_MAX; i++) {
        const uint64_t member = voters_peer_new(&world, zones[i])->member;
        if (i < VOTERS_MEMBERS_MAX)
            voters_put(&world, member, i < 5);
    }
    world.self = 101;
    voters_run(&world, 20);
    ck_assert_uint_eq(world.changes, 0);
    voters_peer_of(&world, 120)->alive = false; // it learns
    voters_run(&world, 90);
    ck_assert_ptr_null(voters_member_of(&world, 120));
    ck_assert_ptr_nonnull(voters_member_of(&world, 133));
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_joint_group_that_nobody_leaves_is_left)
{
    grown(3, 1, 3);
    struct voters_input input = {.now_ns = world.now_ns += 10 * VOTERS_SECOND,
                                 .self = world.self,
                                 .group = VOTERS_JOINT,
                                 .map = &world.world.map,
                                 .members = world.members,
                                 .member_count = world.member_count};
    voters_step(&world.voters, &input, &world.last);
    ck_assert_int_eq(world.last.kind, VOTERS_LEAVE);
    voters_step(&world.voters, &input, &world.last); // it is on its way
    ck_assert_int_eq(world.last.kind, VOTERS_REST);
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_leader_that_is_no_member_or_of_a_group_without_voters_plans_nothing)
{
    grown(4, 1, 3);
    struct voters_input input = {.now_ns = world.now_ns += 10 * VOTERS_SECOND,
                                 .self = 999,
                                 .map = &world.world.map,
                                 .members = world.members,
                                 .member_count = world.member_count};
    voters_step(&world.voters, &input, &world.last);
    ck_assert_int_eq(world.last.kind, VOTERS_REST);
    for (uint32_t i = 0; i < world.member_count; i++)
        world.members[i].votes = false;
    input.now_ns += 10 * VOTERS_SECOND;
    input.self = world.self;
    voters_step(&world.voters, &input, &world.last);
    ck_assert_int_eq(world.last.kind, VOTERS_REST);
    voters_world_fini(&world);
}
END_TEST

START_TEST(a_line_says_what_is_thought_of_each)
{
    char line[512];
    grown(4, 1, 3);
    voters_describe(&world.voters, line, sizeof line);
    ck_assert_str_eq(line, "voters wanted=3 101:votes 102:votes 103:votes 104:learns");
    voters_peer_of(&world, 104)->alive = false;
    set_state(103, NODE_DRAINING);
    voters_look(&world);
    voters_describe(&world.voters, line, sizeof line);
    ck_assert_str_eq(line, "voters wanted=3 101:votes 102:votes 103:votes:drains 104:learns:ill");
    voters_run(&world, 80);
    voters_describe(&world.voters, line, sizeof line);
    ck_assert_str_eq(line,
                     "voters wanted=3 101:votes 102:learns 103:learns:drains 104:learns:lost");
    voters_peer_of(&world, 104)->alive = true;
    set_state(103, NODE_GONE);
    voters_look(&world);
    voters_describe(&world.voters, line, sizeof line);
    ck_assert_str_eq(line, "voters wanted=3 101:votes 102:learns 103:learns:goes 104:learns:new");
    voters_world_fini(&world);
}
END_TEST

// ---- any world ----

static void
any_world(uint64_t seed)
{
    voters_world_init(&world, seed);
    struct prng *prng = &world.prng;
    const uint32_t nodes = 1 + prng_below(prng, 14), zones = 1 + prng_below(prng, 4);
    world.config.wanted = 1 + 2 * prng_below(prng, 4);
    voters_init(&world.voters, &world.config);
    for (uint32_t i = 0; i < nodes; i++) {
        const uint64_t member =
            voters_peer_new(&world, (char)('a' + prng_below(prng, zones)))->member;
        if (i == 0 || prng_below(prng, 2) == 0)
            voters_put(&world, member, i == 0 || prng_below(prng, 2) == 0);
    }
    world.self = world.peers[0].member;
}

static uint32_t
wanted_here(void)
{
    uint32_t can = 0;
    for (uint32_t i = 0; i < world.peer_count; i++)
        can += map_node(&world.world.map, world.peers[i].number)->state == NODE_UP;
    const uint32_t wanted = world.voters.wanted;
    return can >= wanted ? wanted : (can - 1) / 2 * 2 + 1;
}

static void
expect_whole(void)
{
    ck_assert_uint_eq(voters_count(&world), wanted_here());
    ck_assert_uint_eq(world.member_count, world.peer_count);
    for (char from = 'a'; from <= 'd'; from++)
        for (uint32_t i = 0; i < world.peer_count; i++) {
            const struct voters_peer *peer = &world.peers[i];
            if (!votes(peer->member) && map_node(&world.world.map, peer->number)->state == NODE_UP)
                ck_assert_uint_lt(voters_in(from), voters_in(peer->zone) + 2);
        }
}

START_TEST(any_group_comes_to_rest_whole_by_few_changes)
{
    any_world((uint64_t)_i);
    uint32_t learning = world.peer_count - world.member_count;
    const uint32_t voters = voters_count(&world);
    voters_run(&world, 300);
    expect_whole();
    // Each change after the learners' moves two votes to where they stay, but for one that makes the number odd; and zones.
    const uint32_t votes_moved = voters > world.config.wanted ? voters : world.config.wanted;
    ck_assert_msg(world.changes <= learning + votes_moved + 2,
                  "%u changes, %u nodes learn, %u vote", world.changes, learning, voters);
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

// Kills a minority of the voters at most, as a world does that can be helped.
static void
disturb(void)
{
    struct prng *prng = &world.prng;
    struct voters_peer *peer = &world.peers[prng_below(prng, world.peer_count)];
    const uint32_t draw = prng_below(prng, 100);
    static const char *const sizes[] = {"1", "3", "5", "7"};
    if (draw < 40) {
        peer->alive = peer->cut = false;
        if (!voters_have_majority(&world) ||
            (world.changing && !voters_would_decide(&world, &world.change)))
            peer->alive = true;
    } else if (draw < 70) {
        peer->alive = true;
    } else if (draw < 80) {
        put_setting(sizes[prng_below(prng, 4)]);
    } else {
        const uint32_t state = map_node(&world.world.map, peer->number)->state;
        set_state(peer->member, state == NODE_UP ? NODE_DRAINING : NODE_UP);
    }
}

START_TEST(whatever_happens_no_majority_is_lost_by_its_doing_and_all_is_whole_afterwards)
{
    any_world((uint64_t)_i + 1000);
    voters_run(&world, 100);
    for (uint32_t i = 0; i < 60; i++) {
        disturb();
        voters_run(&world, prng_below(&world.prng, 90));
        voters_elect(&world);
        ck_assert_msg(world.self != 0, "nobody can lead");
    }
    for (uint32_t i = 0; i < world.peer_count; i++) {
        world.peers[i].alive = true;
        set_state(world.peers[i].member, NODE_UP);
    }
    voters_run(&world, 300);
    expect_whole();
    expect_rest();
    voters_world_fini(&world);
}
END_TEST

START_TEST(whatever_nodes_say_of_themselves_the_plan_is_sound)
{
    voters_world_init(&world, (uint64_t)_i);
    struct prng *prng = &world.prng;
    for (uint32_t i = 0; i < 8; i++)
        voters_put(&world, voters_peer_new(&world, 'a')->member, i < 5);
    struct voters_node nodes[VOTERS_NODES];
    for (uint32_t round = 0; round < 300; round++) {
        struct voters_input input = {.now_ns = world.now_ns += VOTERS_SECOND,
                                     .self = 101,
                                     .group = (enum voters_group)prng_below(prng, 3),
                                     .map = &world.world.map,
                                     .members = world.members,
                                     .member_count = world.member_count,
                                     .nodes = nodes};
        voters_show(&world, &input, nodes);
        for (uint32_t i = 0; i < 6; i++) { // numbers twice, of none, of nodes that the map lacks
            struct voters_node *node = &nodes[prng_below(prng, input.node_count)];
            const uint64_t numbers[] = {0, prng_next(prng), 100 + prng_below(prng, 9)};
            node->member = numbers[prng_below(prng, 3)];
            node->uuid.low += prng_below(prng, 3);
            node->alive = prng_below(prng, 2) == 0;
            node->data = prng_below(prng, 4) != 0;
        }
        voters_step(&world.voters, &input, &world.last);
        voters_check(&world.voters);
        ck_assert_uint_le(world.last.count, VOTERS_ITEMS_MAX);
        ck_assert_uint_gt(world.last.wake_ns, world.now_ns);
        for (uint32_t i = 0; i < world.last.count; i++)
            ck_assert_uint_ne(world.last.items[i].member, 0);
    }
    voters_world_fini(&world);
}
END_TEST

static Suite *
voters_suite(void)
{
    Suite *suite = suite_create("voters");
    TCase *grows = tcase_create("grows");
    tcase_add_loop_test(grows, a_group_of_one_grows_to_three_five_and_seven_by_joint_changes, 0, 4);
    tcase_add_test(grows, an_even_number_never_votes_on_the_way);
    tcase_add_loop_test(grows, as_many_vote_as_nodes_allow_an_odd_number, 0, 9);
    tcase_add_test(grows, a_learner_votes_only_when_it_was_well_for_a_while);
    tcase_add_loop_test(grows, an_even_group_is_made_odd, 0, 4);
    tcase_add_loop_test(grows, the_setting_says_how_many_vote, 0, 3);
    tcase_add_test(grows, where_none_is_wanted_nothing_is_planned);
    tcase_add_loop_test(grows, voters_are_in_as_many_zones_as_there_are, 0, 2);
    tcase_add_test(grows, voters_spread_to_a_zone_that_comes_later_and_the_leader_stays);
    suite_add_tcase(suite, grows);
    TCase *dead = tcase_create("dead");
    tcase_add_test(dead, a_dead_voter_is_replaced_after_the_delay_in_one_change);
    tcase_add_test(dead, a_node_that_comes_and_goes_moves_nothing);
    tcase_add_test(dead, who_does_not_answer_the_leader_is_replaced_although_gossip_hears_it);
    tcase_add_test(dead, without_anybody_to_replace_it_a_dead_voter_stays);
    tcase_add_test(dead, two_dead_of_five_are_let_go_and_one_more_may_die);
    tcase_add_test(dead, without_a_majority_nothing_is_planned);
    tcase_add_test(dead, a_new_leader_that_has_heard_of_nobody_waits_for_the_delay);
    tcase_add_test(dead, a_voter_that_is_down_since_before_the_leader_began_stays_one);
    tcase_add_test(
        dead,
        a_voter_that_is_down_since_before_the_leader_began_goes_when_the_map_has_no_node_that_it_may_be);
    tcase_add_test(dead, time_in_which_the_leader_was_stopped_makes_nobody_lost);
    suite_add_tcase(suite, dead);
    TCase *go = tcase_create("go");
    tcase_add_test(go, a_drained_voter_is_replaced_at_once_and_learns_on);
    tcase_add_test(go, a_drained_leader_hands_over_first);
    tcase_add_test(go, a_drained_leader_that_cannot_hand_over_does_not_try_all_the_time);
    tcase_add_test(go, two_of_three_that_are_drained_leave_one);
    tcase_add_test(go, a_drained_voter_that_nobody_can_replace_votes_until_it_is_empty);
    tcase_add_test(go, a_drained_voter_waits_for_who_may_vote_in_its_place);
    tcase_add_test(go, a_number_that_was_lost_with_its_disk_is_replaced_by_the_new_one_and_goes);
    tcase_add_test(go, a_full_group_makes_room_for_a_node_by_letting_a_dead_learner_go);
    tcase_add_test(go, a_full_group_of_as_many_zones_admits_a_node_of_one_more);
    tcase_add_test(go, a_joint_group_that_nobody_leaves_is_left);
    tcase_add_test(go, a_leader_that_is_no_member_or_of_a_group_without_voters_plans_nothing);
    tcase_add_test(go, a_line_says_what_is_thought_of_each);
    suite_add_tcase(suite, go);
    TCase *any = tcase_create("any");
    tcase_add_loop_test(any, any_group_comes_to_rest_whole_by_few_changes, 0, 200);
    tcase_add_loop_test(
        any, whatever_happens_no_majority_is_lost_by_its_doing_and_all_is_whole_afterwards, 0, 100);
    tcase_add_loop_test(any, whatever_nodes_say_of_themselves_the_plan_is_sound, 0, 20);
    suite_add_tcase(suite, any);
    return suite;
}

CHECK_MAIN(voters_suite)
