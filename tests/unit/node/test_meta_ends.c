// tests/unit/node/test_meta_ends.c -- the metadata's loop of a node that is about to end, and of one that keeps no data.
//
// Labels: tsan waits
#include "tests/lib/meta_world.h"

// ---- one that is about to end ----

static void
wait_for_word(struct node *node, bool (*holds)(struct meta *meta))
{
    while (!holds(node->meta)) { // its loop says something new at every beat
        const uint32_t turn = atomic_load(&node->turn);
        if (!holds(node->meta))
            os_wait(&node->turn, turn);
    }
}

static bool
has_one_that_left(struct node *node, uint64_t count)
{
    return node->left == count;
}

START_TEST(a_leader_that_is_about_to_end_has_another_lead_and_is_gone_at_once)
{
    start_all();
    claim_whole();
    struct node *leader = leader_of(&nodes[0]);
    ck_assert(!meta_has_left(leader->meta));
    meta_leave(leader->meta);
    wait_until(leader, has_another_leader, uuid_of(leader->at).low);
    wait_for_word(leader, meta_has_left);
    for (uint32_t i = 0; i < NODES; i++)
        wait_until(&nodes[i], has_another_leader, uuid_of(leader->at).low);
    ck_assert(!meta_is_gone(leader->meta));
    meta_go(leader->meta);
    wait_for_word(leader, meta_is_gone);
    for (uint32_t i = 0; i < NODES; i++)
        if (&nodes[i] != leader)
            wait_until(&nodes[i], has_one_that_left, 1);
    stop(leader);
    start(leader);
    claim_whole();
}
END_TEST

static bool
has_low_disks(struct node *node, uint64_t count)
{
    return node->low == count;
}

START_TEST(all_nodes_hear_of_a_low_disk_and_that_it_is_fine_again_and_nobody_leaves)
{
    start_all();
    claim_whole();
    const struct node *leader = leader_of(&nodes[0]);
    for (uint64_t low = 1; low <= 2; low++) {
        meta_disk(nodes[low].meta, META_DISK_LOW);
        for (uint32_t i = 0; i < NODES; i++)
            wait_until(&nodes[i], has_low_disks, low);
    }
    meta_disk(nodes[2].meta, META_DISK_FINE);
    for (uint32_t i = 0; i < NODES; i++)
        wait_until(&nodes[i], has_low_disks, 1);
    ck_assert(!meta_has_left(nodes[1].meta));
    ck_assert_ptr_eq(leader_of(&nodes[0]), leader);
}
END_TEST

START_TEST(who_is_alone_has_nobody_to_wait_for)
{
    start(&nodes[0]);
    wait_until(&nodes[0], has_nodes, 1);
    meta_leave(nodes[0].meta);
    wait_for_word(&nodes[0], meta_has_left);
    ck_assert(uuid_equal(leader_at(&nodes[0]), uuid_of(0))); // nobody else could
    meta_go(nodes[0].meta);
    wait_for_word(&nodes[0], meta_is_gone);
}
END_TEST

// ---- one that keeps no data ----

START_TEST(a_router_has_no_log_and_gets_every_map_from_whoever_is_there)
{
    start_all();
    claim_whole();
    struct node *router = &nodes[ROUTER];
    start(router);
    wait_until(router, has_nodes, NODES);  // and is none of them
    wait_until(router, has_voters, NODES); // and who leads them
    ck_assert_ptr_ne(leader_of(router), router);
    uint64_t version = write_setting(&nodes[0], "a", "1");
    wait_until(router, has_version, version);
    wait_until(router, has_settings, 1);
    const struct meta_stats stats = stats_of(router);
    ck_assert_uint_eq(stats.lead, 0); // of a group that it is no member of
    ck_assert_uint_eq(stats.voters, NODES);
    ck_assert_uint_ge(stats.map_version, version);

    for (uint32_t i = 0; i < NODES; i++) { // among them whom it asked, and who leads
        struct node *other = &nodes[(i + 1) % NODES];
        bus_cut(&nodes[i].bus, true);
        wait_until(other, has_another_leader, uuid_of(i).low);
        version = write_setting(other, "b", "1");
        wait_until(router, has_version, version);
        wait_until(router, has_another_leader, uuid_of(i).low);
        bus_cut(&nodes[i].bus, false);
        wait_until(&nodes[i], has_version, version);
        claim_whole();
    }
}
END_TEST

START_TEST(a_router_that_is_started_again_finds_the_others_by_itself)
{
    start_all();
    claim_whole();
    start(&nodes[ROUTER]);
    wait_until(&nodes[ROUTER], has_nodes, NODES);
    stop(&nodes[ROUTER]);
    const uint64_t version = write_setting(&nodes[0], "a", "1");
    start(&nodes[ROUTER]);
    wait_until(&nodes[ROUTER], has_version, version);
}
END_TEST

static void
give_piece(struct node *to, struct cluster_uuid from, const struct wire_map *piece)
{
    struct encode encode;
    encode_init(&encode, PEER_BULK_BYTES_MAX);
    wire_map_write(&encode, piece);
    const struct peer_head head = {.kind = PEER_MAP, .lane = PEER_BULK};
    meta_frame(to->meta, from, 1, &head, (struct wire_bytes){encode.bytes, (uint32_t)encode.count});
    encode_fini(&encode);
}

START_TEST(what_is_no_map_of_who_was_asked_is_not_believed)
{
    static const uint8_t rubbish[64] = {1, 2, 3};
    start_all();
    claim_whole();
    struct node *router = &nodes[ROUTER];
    start(router);
    wait_until(router, has_nodes, NODES);
    const struct wire_map piece = {.version = 99999,
                                   .position = 1,
                                   .total_bytes = sizeof rubbish,
                                   .hash = hash_bytes(rubbish, sizeof rubbish),
                                   .piece_bytes = sizeof rubbish,
                                   .piece = rubbish};
    for (uint32_t i = 0; i < NODES; i++) { // nobody was asked, or one of them was
        meta_want(router->meta, 100000);
        give_piece(router, uuid_of(i), &piece);
        struct wire_map other = piece;
        other.hash++;
        give_piece(router, uuid_of(i), &other);
        other = piece;
        other.offset = other.piece_bytes = 32; // without its beginning
        give_piece(router, uuid_of(i), &other);
        other.offset = 0;
        other.total_bytes = UINT64_C(1) << 40; // more than any map has
        give_piece(router, uuid_of(i), &other);
    }
    const struct peer_head head = {.kind = PEER_MAP, .lane = PEER_BULK};
    meta_frame(router->meta, uuid_of(0), 1, &head, (struct wire_bytes){rubbish, 3});
    const uint64_t version = write_setting(&nodes[0], "a", "1");
    wait_until(router, has_version, version);
    ck_assert_uint_lt(stats_of(router).map_version, 99999);
    ck_assert_uint_ge(stats_of(router).refused, 1);
}
END_TEST

static Suite *
node_meta_ends_suite(void)
{
    Suite *suite = suite_create("node/meta_ends");
    TCase *tcase = tcase_create("meta_ends");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_leader_that_is_about_to_end_has_another_lead_and_is_gone_at_once);
    tcase_add_test(tcase, all_nodes_hear_of_a_low_disk_and_that_it_is_fine_again_and_nobody_leaves);
    tcase_add_test(tcase, who_is_alone_has_nobody_to_wait_for);
    tcase_add_test(tcase, a_router_has_no_log_and_gets_every_map_from_whoever_is_there);
    tcase_add_test(tcase, a_router_that_is_started_again_finds_the_others_by_itself);
    tcase_add_test(tcase, what_is_no_map_of_who_was_asked_is_not_believed);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_meta_ends_suite)
