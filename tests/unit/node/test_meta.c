// tests/unit/node/test_meta.c -- the metadata's loop: nodes that found and join a cluster agree on its map, also after restarts.
//
// Labels: tsan waits
#include "tests/lib/meta_world.h"

// ---- claims ----

START_TEST(who_founds_a_cluster_leads_it_is_in_its_map_and_has_a_lease)
{
    start(&nodes[0]);
    wait_until(&nodes[0], has_nodes, 1);
    wait_until(&nodes[0], has_voters, 1);
    wait_until(&nodes[0], has_lease, 0);
    ck_assert(uuid_equal(leader_at(&nodes[0]), uuid_of(0)));
    ck_assert(uuid_equal(meta_leader(nodes[0].meta), uuid_of(0)));
    const struct meta_stats stats = stats_of(&nodes[0]);
    ck_assert_uint_eq(stats.state, RAFT_LEADER);
    ck_assert_uint_eq(stats.lead, 1);
    ck_assert_uint_eq(stats.living, 1);
    const uint64_t version = write_setting(&nodes[0], "a", "1");
    wait_until(&nodes[0], has_version, version);
}
END_TEST

START_TEST(who_joins_becomes_a_voter_and_all_agree_on_the_map)
{
    start_all();
    claim_whole();
    claim_agreement(write_setting(&nodes[1], "a", "1"));
}
END_TEST

START_TEST(who_hears_of_a_map_finds_it_in_the_stats_already)
{
    start(&nodes[0]);
    wait_until(&nodes[0], has_voters, 1);
    for (uint32_t i = 0; i < 200; i++) {
        const uint64_t version = write_setting(&nodes[0], "a", "1");
        wait_until(&nodes[0], has_version, version);
        ck_assert_uint_ge(stats_of(&nodes[0]).map_version, version);
    }
}
END_TEST

START_TEST(a_proposal_at_a_follower_is_refused_and_says_who_leads)
{
    start_all();
    claim_whole();
    const struct command command = setting("b", "2");
    for (uint32_t i = 0; i < NODES; i++) {
        struct meta_answer answer;
        do // while somebody is elected nobody can say
            answer = propose(&nodes[i], &command);
        while (answer.outcome != META_DONE && uuid_is_none(answer.leader));
        if (answer.outcome == META_DONE)
            continue; // it leads
        ck_assert_int_eq(answer.outcome, META_NOT_LEADER);
        ck_assert_int_eq(answer.status, OMEN_E_BUSY);
    }
}
END_TEST

// Whether it is in the map before somebody else is elected: a wish that meets an election is lost, and nobody is told.
static bool
is_heard(struct node *node, const struct command *command, uint64_t settings)
{
    const uint64_t term = stats_of(node).term;
    meta_wish(node->meta, command);
    for (;;) {
        const uint32_t turn = atomic_load(&node->turn);
        lock_acquire(&node->lock);
        const bool heard = has_settings(node, settings);
        lock_release(&node->lock);
        if (heard || stats_of(node).term != term)
            return heard;
        os_wait(&node->turn, turn);
    }
}

START_TEST(a_wish_of_any_node_reaches_the_leader)
{
    start_all();
    claim_whole();
    for (uint32_t i = 0; i < NODES; i++) {
        const char name[2] = {(char)('p' + (char)i), '\0'};
        const struct command command = setting(name, "wished");
        while (!is_heard(&nodes[i], &command, i + 1))
            continue;
    }
}
END_TEST

START_TEST(a_node_that_is_started_again_comes_back_with_what_it_knew)
{
    start_all();
    claim_whole();
    for (uint32_t i = 0; i < NODES; i++) {
        stop(&nodes[i]);
        start(&nodes[i]);
        claim_whole();
    }
    claim_agreement(write_setting(&nodes[0], "a", "1"));
}
END_TEST

START_TEST(all_that_are_started_again_go_on_where_they_were)
{
    start_all();
    claim_whole();
    uint64_t version = 0;
    for (uint32_t i = 0; i < 40; i++) { // more than a checkpoint
        const char name[3] = {(char)('a' + i % 26), (char)('a' + i / 26), '\0'};
        version = write_setting(&nodes[0], name, "x");
    }
    for (uint32_t i = 0; i < NODES; i++)
        stop(&nodes[i]);
    start_all();
    claim_whole();
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_version, version);
        wait_until(&nodes[i], has_settings, 40);
    }
}
END_TEST

static bool
is_found_out(struct node *node, uint64_t count)
{
    (void)node;
    return atomic_load(&outdated_count) >= count;
}

// By what the map says of the node's last process, whose number is the same (_i == 0) or greater; whoever leads has not seen it.
START_TEST(an_old_copy_of_a_nodes_disk_that_is_put_back_is_found_out)
{
    char log[300], old[300];
    start_all();
    claim_whole();
    stop(&nodes[2]);
    snprintf(log, sizeof log, "%s/log2/data.mdb", folder.path);
    snprintf(old, sizeof old, "%s/old", folder.path);
    file_copy(log, old);
    const uint64_t boot = nodes[2].boot;
    for (int again = 0; again <= _i; again++) { // starts that the copy knows nothing of
        start(&nodes[2]);
        claim_whole();
        claim_agreement(write_setting(&nodes[0], "a", "1"));
        ck_assert_uint_eq(atomic_load(&outdated_count), 0);
        stop(&nodes[2]);
    }
    for (uint32_t i = 0; i < 2; i++)
        stop(&nodes[i]);
    for (uint32_t i = 0; i < 2; i++)
        start(&nodes[i]);
    file_copy(old, log);
    nodes[2].boot = boot;
    start(&nodes[2]);
    wait_until(&nodes[2], is_found_out, 1);
}
END_TEST

START_TEST(when_the_leader_is_cut_off_another_leads_and_it_hears_of_what_was_done)
{
    start_all();
    claim_whole();
    struct node *leader;
    for (;;) { // until it leads when it is cut off: on a slow machine another one may at any moment
        leader = leader_of(&nodes[0]);
        bus_cut(&leader->bus, true);
        if (stats_of(leader).state == RAFT_LEADER)
            break;
        bus_cut(&leader->bus, false);
    }
    struct node *other = leader == &nodes[0] ? &nodes[1] : &nodes[0];
    const struct command lost = setting("lost", "1");
    meta_propose(leader->meta, &lost, leader->data, leader);
    wait_until(other, has_another_leader, uuid_of(leader->at).low);
    const uint64_t version = write_setting(other, "kept", "1");
    bus_cut(&leader->bus, false);
    wait_until(leader, has_version, version);
    wait_until(leader, has_answer, 1);
    ck_assert_int_eq(leader->answer.outcome, META_NOT_DONE);
    claim_agreement(write_setting(other, "after", "1"));
    wait_until(leader, has_settings, 2);
}
END_TEST

static bool
has_no_leader(struct node *node, uint64_t nothing)
{
    (void)nothing;
    return uuid_is_none(node->leader);
}

START_TEST(a_node_between_which_and_the_leader_is_another_gets_the_map_from_that_one)
{
    start_all();
    claim_whole();
    struct node *leader = node_of(leader_at(&nodes[0]));
    struct node *far = leader == &nodes[0] ? &nodes[1] : &nodes[0];
    for (uint32_t i = 0; i < 2; i++) { // and again when it had the log in between
        const uint64_t leases = leases_at(far);
        bus_part(&leader->bus, &far->bus, true);
        wait_until(far, has_no_leader, 0);
        for (uint32_t k = 0; k < 3; k++) {
            const uint64_t version = write_setting(leader, "a", "1");
            wait_until(far, has_version, version);
            ck_assert_uint_ge(stats_of(far).map_version, version);
        }
        ck_assert_uint_eq(stats_of(far).lead, 0);
        bus_part(&leader->bus, &far->bus, false);
        wait_until(far, has_lease, leases); // so it has applied all that there was
        claim_agreement(write_setting(leader, "b", "1"));
    }
}
END_TEST

START_TEST(a_cluster_that_has_chosen_no_lease_times_takes_those_of_a_start_once_and_settles_them)
{
    lease_profile = LEASE_FAST;
    start(&nodes[0]);
    wait_until(&nodes[0], has_settled_leases, LEASE_FAST);
    lease_profile = LEASE_LAN;
    start(&nodes[1]);
    wait_until(&nodes[1], has_nodes, 2);
    wait_until(&nodes[1], has_lease, 0);
    lock_acquire(&nodes[1].lock);
    ck_assert(has_settled_leases(&nodes[1], LEASE_FAST));
    lock_release(&nodes[1].lock);
}
END_TEST

START_TEST(a_key_in_the_map_is_known_to_every_node)
{
    start_all();
    claim_whole();
    struct api_key key;
    struct command command = {.kind = COMMAND_KEY_PUT};
    ck_assert(map_name_set(&command.key.name, "ops", 3));
    ck_assert(map_name_set(&command.key.glob, "all", 3));
    command.key.role = KEY_READ;
    command.key.hash_words[2] = 77;
    ck_assert(!meta_key(nodes[1].meta, &command.key.name, &key));
    const uint64_t version = settle(leader_of(&nodes[0]), &command);
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_version, version);
        ck_assert(meta_key(nodes[i].meta, &command.key.name, &key));
        ck_assert_uint_eq(key.hash_words[2], 77);
    }
}
END_TEST

static Suite *
node_meta_suite(void)
{
    Suite *suite = suite_create("node/meta");
    TCase *tcase = tcase_create("meta");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_founds_a_cluster_leads_it_is_in_its_map_and_has_a_lease);
    tcase_add_test(tcase, who_joins_becomes_a_voter_and_all_agree_on_the_map);
    tcase_add_test(tcase, who_hears_of_a_map_finds_it_in_the_stats_already);
    tcase_add_test(tcase, a_proposal_at_a_follower_is_refused_and_says_who_leads);
    tcase_add_test(tcase, a_wish_of_any_node_reaches_the_leader);
    tcase_add_test(
        tcase,
        a_cluster_that_has_chosen_no_lease_times_takes_those_of_a_start_once_and_settles_them);
    tcase_add_test(tcase, a_key_in_the_map_is_known_to_every_node);
    tcase_add_test(tcase, a_node_that_is_started_again_comes_back_with_what_it_knew);
    tcase_add_test(tcase, all_that_are_started_again_go_on_where_they_were);
    tcase_add_loop_test(tcase, an_old_copy_of_a_nodes_disk_that_is_put_back_is_found_out, 0, 2);
    tcase_add_test(tcase, when_the_leader_is_cut_off_another_leads_and_it_hears_of_what_was_done);
    tcase_add_test(tcase,
                   a_node_between_which_and_the_leader_is_another_gets_the_map_from_that_one);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_meta_suite)
