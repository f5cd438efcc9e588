// tests/unit/raft/test_property.c -- random schedules: losses, doubles, disorder, cuts, crashes that lose what is not synced.
//
// Shape: shell.
//
// The cluster asserts the paper's four safety properties in every step; raft_check asserts the machine's invariants. When the
// faults stop, the group must elect a leader, commit what is proposed and be alike everywhere within a bounded time.
#include "base/prng.h"
#include "tests/lib/raft_cluster.h"

static void
disturb(struct cluster *cluster, struct prng *prng)
{
    const uint32_t i = prng_below(prng, cluster->count);
    struct cluster_peer *peer = &cluster->peers[i];
    for (uint32_t j = 0; j < cluster->count && prng_below(prng, 3) == 0; j++)
        if (!cluster->peers[j].up)
            cluster_start(cluster, j);
    if (prng_below(prng, 4) == 0)
        memset(cluster->cut, 0, sizeof cluster->cut);
    switch (prng_below(prng, 10)) {
    case 0:
        if (peer->up)
            cluster_crash(cluster, i);
        break;
    case 1:
        if (peer->up && peer->raft.state == RAFT_LEADER) {
            const struct raft_change change = {
                .transition = (enum raft_transition)prng_below(prng, 3),
                .count = prng_below(prng, 3),
                .items = {{(enum raft_change_kind)prng_below(prng, 3),
                           1 + prng_below(prng, cluster->count)},
                          {(enum raft_change_kind)prng_below(prng, 3),
                           1 + prng_below(prng, cluster->count)}},
            };
            cluster_step(cluster, i,
                         (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
        }
        break;
    case 2:
        if (peer->up)
            cluster_step(cluster, i,
                         (struct raft_input){.kind = RAFT_IN_TRANSFER,
                                             .peer = 1 + prng_below(prng, cluster->count)});
        break;
    case 3:
        if (peer->up)
            cluster_step(
                cluster, i,
                (struct raft_input){.kind = RAFT_IN_COMPACT, .position = prng_below(prng, 400)});
        break;
    case 4: // one way, or both
        if (prng_below(prng, 2) == 0)
            cluster->cut[i][prng_below(prng, cluster->count)] = true;
        else
            cluster_isolate(cluster, i, true);
        break;
    case 5:
        if (peer->up) {
            struct raft_input in = {.kind = RAFT_IN_REPORT};
            in.report.kind = (enum raft_report)prng_below(prng, 2);
            in.report.peer = prng_below(prng, cluster->count + 1);
            cluster_step(cluster, i, in);
        }
        break;
    case 7:
        if (peer->up && prng_below(prng, 4) == 0)
            cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_FORGET_LEADER});
        break;
    case 8: // was stopped
        if (prng_below(prng, 8) == 0)
            peer->now_ns += 40 * CLUSTER_TICK_NS;
        break;
    default:
        break;
    }
}

static void
load(struct cluster *cluster, struct prng *prng)
{
    const uint32_t i = prng_below(prng, cluster->count);
    struct cluster_peer *peer = &cluster->peers[i];
    if (!peer->up || peer->raft.state != RAFT_LEADER)
        return;
    peer->read_count = 0;
    if (prng_below(prng, 2) == 0)
        cluster_step(
            cluster, i,
            (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = cluster->commit_max});
    else if (cluster->committed_last < 500 && tail_last(&peer->raft.tail) < CLUSTER_LOG - 200)
        cluster_propose(cluster, i, "abcdefgh");
}

static void
network(struct cluster *cluster, struct prng *prng)
{
    if (cluster->flight_count == 0)
        return;
    const uint32_t at = prng_below(prng, 3) == 0 ? prng_below(prng, cluster->flight_count) : 0;
    const uint32_t fate = prng_below(prng, 20);
    struct cluster_flight *flight = cluster_take(cluster, at);
    if (fate == 0) {
        cluster_free_flight(flight);
        return;
    }
    if (fate == 1 && cluster->flight_count < CLUSTER_FLIGHTS / 2) { // doubled, and late
        uint64_t state = 0;
        if (flight->msg.kind != RAFT_SNAPSHOT)
            cluster_send(cluster, &flight->msg, state);
    }
    cluster_deliver(cluster, flight);
}

static void
heal(struct cluster *cluster)
{
    memset(cluster->cut, 0, sizeof cluster->cut);
    for (uint32_t i = 0; i < cluster->count; i++)
        if (!cluster->peers[i].up)
            cluster_start(cluster, i);
    cluster_run(cluster);
    uint32_t ticks = 0;
    while (cluster_leader(cluster) == RAFT_MEMBERS_MAX) {
        cluster_elapse(cluster, 1);
        ck_assert_uint_lt(++ticks, 1000);
    }
    cluster_elapse(cluster, 100);
    const uint32_t leader = cluster_leader(cluster);
    ck_assert_uint_lt(leader, RAFT_MEMBERS_MAX);
    const uint64_t commit = cluster->peers[leader].raft.commit;
    ck_assert_int_eq(cluster_propose(cluster, leader, "last"), RAFT_ANSWER_OK);
    cluster_elapse(cluster, 60);
    const struct cluster_peer *lead = &cluster->peers[leader];
    ck_assert_uint_gt(lead->raft.commit, commit);
    for (uint32_t m = 0; m < lead->raft.group.count; m++) {
        const struct cluster_peer *peer = &cluster->peers[lead->raft.group.members[m].id - 1];
        ck_assert_uint_eq(peer->cache.applied, lead->cache.applied);
        ck_assert_uint_eq(peer->cache.state, lead->cache.state);
        ck_assert_mem_eq(&peer->cache.group, &lead->cache.group, sizeof lead->cache.group);
    }
}

START_TEST(random_schedule_breaks_no_property_and_heals)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    struct raft_config config = cluster_config();
    config.pre_vote = prng_below(&prng, 3) > 0;
    config.check_quorum =
        !config.pre_vote || prng_below(&prng, 2) == 0; // else removed nodes disturb
    config.inflight_max = 1 + prng_below(&prng, 8);
    config.append_bytes_max = 1 + prng_below(&prng, 200);
    config.apply_bytes_max = 1 + prng_below(&prng, 100);
    config.tail_retain = prng_below(&prng, 10);
    const uint32_t count = 3 + prng_below(&prng, 3);
    struct cluster *cluster = cluster_open(count, 3, &config, (uint64_t)_i);
    cluster->reads_checked = true;
    for (int step = 0; step < 12000; step++) {
        const uint32_t i = prng_below(&prng, count);
        const uint32_t what = prng_below(&prng, 1000);
        if (what < 500)
            network(cluster, &prng);
        else if (what < 650)
            cluster_sync(cluster, i);
        else if (what < 800)
            cluster_tick(cluster, i);
        else if (what < 930)
            cluster_settle(cluster, i);
        else if (what < 985)
            load(cluster, &prng);
        else
            disturb(cluster, &prng);
        if (step % 100 == 0)
            cluster_match_logs(cluster);
        while (cluster->flight_count > 4000)
            network(cluster, &prng);
    }
    heal(cluster);
    cluster_match_logs(cluster);
    cluster_close(cluster);
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
    for (uint32_t i = 0; i < odd->group.count; i++)
        odd->group.members[i] =
            (struct raft_member){odd_number(prng), (uint8_t)prng_below(prng, 17)};
    odd->msg = (struct raft_msg){
        .kind = (enum raft_msg_kind)prng_below(prng, RAFT_MSG_KINDS + 2),
        .from = prng_below(prng, 8) == 0 ? odd_number(prng) : 2 + prng_below(prng, 2),
        .to = prng_below(prng, 16) == 0 ? odd_number(prng) : 1,
        .term = prng_below(prng, 3) == 0 ? odd_number(prng) : term,
        .position = odd_number(prng),
        .log_term = odd_number(prng),
        .commit = odd_number(prng),
        .hint = odd_number(prng),
        .context = odd_number(prng),
        .reject = prng_below(prng, 2) == 0,
        .transfer = prng_below(prng, 2) == 0,
        .entries = prng_below(prng, 8) == 0 ? NULL : odd->entries,
        .entry_count = prng_below(prng, 5),
        .offset = odd_number(prng),
        .total_bytes = odd_number(prng),
        .chunk = bytes,
        .chunk_bytes = chunk,
        .chunk_hash = prng_below(prng, 8) == 0 ? 0 : hash_bytes(bytes, chunk),
        .group = prng_below(prng, 8) == 0 ? NULL : &odd->group,
    };
    if (odd->msg.term >= RAFT_NUMBER_MAX / 2 && prng_below(prng, 8) > 0)
        odd->msg.term = term + 1; // else it would be the last term soon
    const bool possible = prng_below(prng, 2) == 0;
    for (uint32_t i = 0; i < 4; i++)
        odd->entries[i] = (struct raft_entry){
            .position = possible ? odd->msg.position + 1 + i : odd_number(prng),
            .term = possible ? odd->msg.term : odd_number(prng),
            .kind = (enum raft_entry_kind)prng_below(prng, possible ? 2 : 3),
            .byte_count = prng_below(prng, 64),
            .bytes = bytes,
        };
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
        const struct raft_config config = cluster_config();
        struct cluster *cluster = cluster_open(3, 3, &config, 5);
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
    tcase_add_loop_test(schedules, random_schedule_breaks_no_property_and_heals, 0, 60);
    tcase_add_test(schedules, same_seed_and_inputs_give_the_same_bytes);
    suite_add_tcase(s, schedules);
    TCase *hostile = tcase_create("hostile");
    tcase_add_loop_test(hostile, random_messages_break_no_invariant, 0, 100);
    suite_add_tcase(s, hostile);
    return s;
}

CHECK_MAIN(suite)
