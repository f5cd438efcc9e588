// tests/unit/raft/test_property.c -- storms (tests/lib/raft_storm.h) by seed, and messages of random fields.
//
// Shape: shell.
//
// The cluster asserts the paper's four safety properties in every step; raft_check asserts the machine's invariants.
#include "tests/lib/raft_storm.h"

START_TEST(storm_breaks_no_property_and_the_group_heals)
{
    storm_run((uint64_t)_i);
}
END_TEST

// ---- hostile messages ----

static uint64_t
odd_number(struct prng *prng)
{
    static const uint64_t odd[] = {
        0, 1, 2, 3, 5, 8, RAFT_NUMBER_MAX - 1, RAFT_NUMBER_MAX, UINT64_MAX - 1, UINT64_MAX};
    return prng_below(prng, 4) > 0 ? prng_below(prng, 8)
                                   : odd[prng_below(prng, sizeof odd / sizeof odd[0])];
}

struct odd_message {
    struct raft_msg msg;
    struct raft_entry entries[4];
    struct raft_group group;
};

static void
make_odd(struct odd_message *odd, struct prng *prng, uint64_t term)
{
    static const uint8_t bytes[64] = {1, 2, 3};
    const uint32_t chunk = prng_below(prng, 8);
    odd->group = (struct raft_group){.count = prng_below(prng, 4)};
    for (uint32_t i = 0; i < odd->group.count; i++) {
        odd->group.members[i].id = odd_number(prng);
        odd->group.members[i].roles = (uint8_t)prng_below(prng, 17);
    }
    struct raft_msg *msg = &odd->msg;
    *msg = (struct raft_msg){.chunk = bytes, .chunk_bytes = chunk};
    msg->kind = (enum raft_msg_kind)prng_below(prng, RAFT_MSG_KINDS + 2);
    msg->from = prng_below(prng, 8) == 0 ? odd_number(prng) : 2 + prng_below(prng, 2);
    msg->to = prng_below(prng, 16) == 0 ? odd_number(prng) : 1;
    msg->term = prng_below(prng, 3) == 0 ? odd_number(prng) : term;
    msg->position = odd_number(prng);
    msg->log_term = odd_number(prng);
    msg->commit = odd_number(prng);
    msg->hint = odd_number(prng);
    msg->context = odd_number(prng);
    msg->reject = prng_below(prng, 2) == 0;
    msg->transfer = prng_below(prng, 2) == 0;
    msg->entries = prng_below(prng, 8) == 0 ? NULL : odd->entries;
    msg->entry_count = prng_below(prng, 5);
    msg->offset = odd_number(prng);
    msg->total_bytes = odd_number(prng);
    msg->chunk_hash = prng_below(prng, 8) == 0 ? 0 : hash_bytes(bytes, chunk);
    msg->group = prng_below(prng, 8) == 0 ? NULL : &odd->group;
    if (msg->term >= RAFT_NUMBER_MAX / 2 && prng_below(prng, 8) > 0)
        msg->term = term + 1; // else it would be the last term soon
    const bool possible = prng_below(prng, 2) == 0;
    for (uint32_t i = 0; i < 4; i++) {
        struct raft_entry *entry = &odd->entries[i];
        *entry = (struct raft_entry){.bytes = bytes};
        entry->position = possible ? msg->position + 1 + i : odd_number(prng);
        entry->term = possible ? msg->term : odd_number(prng);
        entry->kind = (enum raft_entry_kind)prng_below(prng, possible ? 2 : 3);
        entry->byte_count = prng_below(prng, 64);
    }
}

START_TEST(random_messages_break_no_invariant)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    static struct raft raft;
    static struct raft_output out;
    static struct odd_message odd;
    struct raft_config config = cluster_config();
    config.id = 1;
    raft_init(&raft, &config, 1);
    const struct raft_durable durable = {
        .group = {.count = 3, .members = {{1, RAFT_VOTER}, {2, RAFT_VOTER}, {3, RAFT_VOTER}}}};
    struct raft_input in = {.kind = RAFT_IN_START, .durable = &durable};
    raft_step(&raft, &in, &out);
    for (int step = 0; step < 3000; step++) {
        make_odd(&odd, &prng, raft.term);
        in = (struct raft_input){.kind = RAFT_IN_MESSAGE, .message = &odd.msg};
        in.now_ns = (uint64_t)step * 300;
        raft_step(&raft, &in, &out);
        raft_check(&raft);
        if (prng_below(&prng, 2) == 0) {
            in = (struct raft_input){.kind = RAFT_IN_PERSISTED, .now_ns = in.now_ns};
            in.persist_number = raft.persist_last;
            raft_step(&raft, &in, &out);
            raft_check(&raft);
        }
        if (prng_below(&prng, 16) == 0) {
            in = (struct raft_input){.kind = RAFT_IN_PROPOSE, .now_ns = in.now_ns};
            in.proposal.bytes = (const uint8_t *)"proposal";
            in.proposal.count = 8;
            raft_step(&raft, &in, &out);
            raft_check(&raft);
        }
    }
    raft_fini(&raft);
}
END_TEST

START_TEST(same_seed_and_inputs_give_the_same_bytes)
{
    static char lines[2][512];
    for (int run = 0; run < 2; run++) {
        struct cluster *cluster = cluster_open(3, 3, NULL, 5);
        cluster_elapse(cluster, 60);
        const uint32_t leader = cluster_leader(cluster);
        cluster_propose(cluster, leader, "a");
        cluster_run(cluster);
        raft_describe(&cluster->peers[leader].raft, lines[run], sizeof lines[run]);
        cluster_close(cluster);
    }
    ck_assert_str_eq(lines[0], lines[1]);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/property");
    TCase *schedules = tcase_create("schedules");
    tcase_add_loop_test(schedules, storm_breaks_no_property_and_the_group_heals, 0, 400);
    tcase_add_test(schedules, same_seed_and_inputs_give_the_same_bytes);
    suite_add_tcase(s, schedules);
    TCase *hostile = tcase_create("hostile");
    tcase_add_loop_test(hostile, random_messages_break_no_invariant, 0, 100);
    suite_add_tcase(s, hostile);
    return s;
}

CHECK_MAIN(suite)
