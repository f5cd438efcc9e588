// tests/unit/gossip/test_gossip.c -- whole clusters on a virtual network: what they agree on, and what cannot break them.
#include <check.h>
#include <string.h>

#include "tests/lib/check_main.h"
#include "tests/lib/gossip_world.h"

#define CLAIM(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

// All started, and agreed.
static struct world *
open_agreed(const struct world_config *config)
{
    struct world *world = world_open(config);
    for (uint32_t host = 0; host < config->count; host++)
        world_start(world, host);
    CLAIM(world_run_agreed(world, 120 * WORLD_SECOND), "seed %llu: no agreement",
          (unsigned long long)config->seed);
    world_count(world);
    return world;
}

static const struct gossip_member *
seen(const struct world *world, uint32_t by, uint32_t host)
{
    return gossip_find(&world->nodes[by].gossip, world->nodes[host].id);
}

START_TEST(nodes_that_know_some_addresses_become_one_cluster)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 12, .seed = (uint64_t)_i, .check = true});
    world_run(world, 5 * WORLD_SECOND);
    const struct gossip_member *member = seen(world, 3, 7);
    ck_assert_uint_eq(member->meta.zone[1], 'b'); // what it says of itself came along
    ck_assert_uint_eq(world->nodes[7].peer_count, 11);
    world_close(world);
}
END_TEST

START_TEST(same_seed_gives_the_same_run)
{
    uint64_t sum[2] = {0};
    for (int run = 0; run < 2; run++) {
        struct world *world =
            open_agreed(&(struct world_config){.count = 8, .seed = 5, .loss_permille = 100});
        world_crash(world, 3);
        world_run(world, 60 * WORLD_SECOND);
        char line[256];
        for (uint32_t host = 0; host < 8; host++)
            if (world->nodes[host].up) {
                gossip_describe(&world->nodes[host].gossip, line, sizeof line);
                for (const char *c = line; *c != '\0'; c++)
                    sum[run] = mix64(sum[run] ^ (uint64_t)*c);
            }
        sum[run] ^= world->steps << 20 ^ world->bytes;
        world_close(world);
    }
    ck_assert_uint_eq(sum[0], sum[1]);
}
END_TEST

START_TEST(crash_is_known_to_all_and_nobody_else_dies)
{
    struct world *world = open_agreed(&(struct world_config){
        .count = 9, .seed = (uint64_t)_i, .loss_permille = 100, .check = true});
    world_crash(world, 4);
    world_watch(world, 4, true);
    CLAIM(world_run_known(world, 60 * WORLD_SECOND), "seed %d", _i);
    CLAIM(world->false_hearers == 0, "seed %d", _i);
    world_close(world);
}
END_TEST

START_TEST(restart_with_a_new_boot_generation_is_believed_at_once)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 7, .seed = (uint64_t)_i, .check = true});
    world_crash(world, 2);
    world_run(world, WORLD_SECOND / 2); // before anybody has noticed
    world_start(world, 2);
    world_watch(world, 2, false);
    CLAIM(world_run_known(world, 5 * WORLD_SECOND), "seed %d", _i);
    ck_assert_uint_eq(seen(world, 5, 2)->boot, 2);
    world_crash(world, 2);
    world_run(world, 60 * WORLD_SECOND); // when it is dead to all
    world_start(world, 2);
    world_watch(world, 2, false);
    CLAIM(world_run_known(world, 5 * WORLD_SECOND), "seed %d", _i);
    ck_assert_uint_eq(world->false_hearers, 0);
    world_close(world);
}
END_TEST

START_TEST(wiped_host_with_a_new_id_supersedes_the_old_one)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 7, .seed = (uint64_t)_i, .check = true});
    const struct gossip_id old = world->nodes[2].id;
    world_crash(world, 2);
    world->nodes[2].id = world_id(1000);
    world->nodes[2].peer_count = 0;
    world_start(world, 2);
    world_watch(world, 2, false);
    CLAIM(world_run_known(world, 5 * WORLD_SECOND), "seed %d", _i);
    world_run(world, WORLD_SECOND);
    for (uint32_t host = 0; host < 7; host++) {
        const struct gossip_member *member = gossip_find(&world->nodes[host].gossip, old);
        CLAIM(host == 2 || (member->state == GOSSIP_DEAD && member->superseded), "host %u", host);
    }
    world_close(world);
}
END_TEST

START_TEST(stopped_process_accuses_nobody_when_it_goes_on)
{
    struct world *world = open_agreed(&(struct world_config){
        .count = 10, .seed = (uint64_t)_i, .loss_permille = 20, .check = true});
    world->excused = 6;
    world_pause(world, 6, (2 + 7 * (uint64_t)_i) * WORLD_SECOND);
    world_run(world, 120 * WORLD_SECOND);
    CLAIM(world_agreed(world), "seed %d", _i);
    CLAIM(world->false_deaths == 0, "seed %d: somebody who ran was declared dead", _i);
    CLAIM(world->nodes[6].gossip.counters.declared == 0, "seed %d", _i);
    world_close(world);
}
END_TEST

START_TEST(halves_that_were_apart_for_hours_become_one_again)
{
    struct world *world = open_agreed(&(struct world_config){.count = 12, .seed = (uint64_t)_i});
    world_split(world, 5, true);
    world_run(world, 3 * WORLD_HOUR);
    ck_assert_uint_eq(gossip_living(&world->nodes[0].gossip), 5);
    ck_assert_uint_eq(gossip_living(&world->nodes[11].gossip), 7);
    world_split(world, 5, false);
    world_count(world);
    CLAIM(world_run_agreed(world, 180 * WORLD_SECOND), "seed %d", _i);
    CLAIM(world->false_hearers == 0, "seed %d: somebody died of the meeting", _i);
    world_close(world);
}
END_TEST

START_TEST(crashed_cluster_finds_itself_from_persisted_peers)
{
    struct world *world = open_agreed(&(struct world_config){.count = 9, .seed = (uint64_t)_i});
    world_run(world, 5 * WORLD_SECOND);
    for (uint32_t host = 0; host < 9; host++)
        world_crash(world, host);
    for (uint32_t host = 3; host < 9; host++) // without those that everybody was told of
        world_start(world, host);
    CLAIM(world_run_agreed(world, 120 * WORLD_SECOND), "seed %d", _i);
    for (uint32_t host = 0; host < 3; host++)
        world_start(world, host);
    CLAIM(world_run_agreed(world, 120 * WORLD_SECOND), "seed %d", _i);
    world_close(world);
}
END_TEST

START_TEST(deaf_node_dies_and_returns_when_it_hears_again)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 6, .seed = (uint64_t)_i, .check = true});
    for (uint32_t host = 1; host < 6; host++)
        world_cut(world, host, 0, true); // it speaks and hears nothing
    world_run(world, 240 * WORLD_SECOND);
    for (uint32_t host = 1; host < 6; host++)
        CLAIM(seen(world, host, 0)->state == GOSSIP_DEAD &&
                  world->nodes[host].gossip.counts[GOSSIP_ALIVE] == 4,
              "seed %d host %u", _i, host);
    for (uint32_t host = 1; host < 6; host++)
        world_cut(world, host, 0, false);
    CLAIM(world_run_agreed(world, 120 * WORLD_SECOND), "seed %d", _i);
    world_close(world);
}
END_TEST

START_TEST(one_broken_link_kills_nobody)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 8, .seed = (uint64_t)_i, .check = true});
    world_cut(world, 1, 2, true);
    world_cut(world, 2, 1, true);
    world_cut(world, 5, 6, true);
    world_run(world, 600 * WORLD_SECOND);
    CLAIM(world->false_hearers == 0, "seed %d", _i);
    CLAIM(world_agreed(world), "seed %d", _i);
    world_close(world);
}
END_TEST

START_TEST(two_clusters_that_meet_never_merge)
{
    struct world *world =
        world_open(&(struct world_config){.count = 8, .seed = (uint64_t)_i, .check = true});
    for (uint32_t host = 0; host < 8; host++) {
        world->nodes[host].cluster.low = host % 2; // and all are told the same addresses
        world_start(world, host);
    }
    world_run(world, 120 * WORLD_SECOND);
    CLAIM(world_agreed(world), "seed %d", _i); // each in its own
    uint32_t noted = 0;
    for (uint32_t host = 0; host < 8; host++) {
        ck_assert_uint_eq(gossip_living(&world->nodes[host].gossip), 4);
        noted += world->nodes[host].notes[GOSSIP_NOTE_FOREIGN];
    }
    ck_assert_uint_gt(noted, 0);
    world_close(world);
}
END_TEST

START_TEST(node_that_leaves_is_gone_without_being_dead)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 6, .seed = (uint64_t)_i, .check = true});
    world_step(world, 3, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    world_run(world, 5 * WORLD_SECOND);
    ck_assert_uint_eq(world->nodes[3].notes[GOSSIP_NOTE_GONE], 1);
    world_crash(world, 3);
    world_run(world, 60 * WORLD_SECOND);
    for (uint32_t host = 0; host < 6; host++)
        if (host != 3) {
            CLAIM(seen(world, host, 3)->state == GOSSIP_LEFT, "host %u", host);
            ck_assert_uint_eq(world->nodes[host].notes[GOSSIP_NOTE_DEAD], 0);
            ck_assert_uint_eq(world->nodes[host].peer_count, 4);
        }
    world_start(world, 3);
    CLAIM(world_run_agreed(world, 60 * WORLD_SECOND), "it may come again");
    world_close(world);
}
END_TEST

START_TEST(new_metadata_reach_everybody)
{
    struct world *world =
        open_agreed(&(struct world_config){.count = 10, .seed = (uint64_t)_i, .check = true});
    struct gossip_meta meta = world_meta(4);
    meta.map_version = 77;
    meta.load = 500;
    meta.data_bytes = 3;
    memcpy(meta.data, "abc", 3);
    world_step(world, 4, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
    world_run(world, 5 * WORLD_SECOND);
    for (uint32_t host = 0; host < 10; host++)
        CLAIM(gossip_meta_equal(&seen(world, host, 4)->meta, &meta), "host %u", host);
    world_close(world);
}
END_TEST

// One thing happens to somebody.
static void
do_harm(struct world *world, struct prng *prng)
{
    const uint32_t n = world->config.count, host = prng_below(prng, n), other = prng_below(prng, n);
    struct world_node *node = &world->nodes[host];
    struct gossip_meta meta = world_meta(host);
    switch (prng_below(prng, 8)) {
    case 0:
    case 1:
        if (node->up)
            world_crash(world, host);
        else
            world_start(world, host);
        break;
    case 2:
        if (node->up)
            world_pause(world, host, prng_below(prng, 40) * WORLD_SECOND);
        break;
    case 3:
        world_cut(world, host, other, host != other);
        break;
    case 4:
        world_cut(world, host, other, false);
        break;
    case 5:
        world_split(world, host, prng_below(prng, 2) == 0);
        break;
    case 6:
        if (!node->up) {
            node->id = world_id(100 + prng_below(prng, 1000000));
            node->peer_count = 0;
        }
        break;
    default:
        meta.load = prng_below(prng, 1000);
        if (node->up)
            world_step(world, host, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
        break;
    }
}

START_TEST(whatever_happened_all_agree_again_when_it_ends)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i + 1000);
    struct world_config config = {
        .seed = (uint64_t)_i, .profile = _i % 2 == 0 ? GOSSIP_LAN : GOSSIP_FAST, .check = true};
    config.count = 3 + prng_below(&prng, 12);
    config.loss_permille = prng_below(&prng, 200);
    config.no_fallback = prng_below(&prng, 2) == 0;
    struct world *world = world_open(&config);
    for (uint32_t host = 0; host < world->config.count; host++)
        world_start(world, host);
    for (uint32_t i = 0; i < 60; i++) {
        do_harm(world, &prng);
        world_run(world, prng_below(&prng, 20000) * WORLD_MS);
    }
    world->config.loss_permille = 0;
    world_split(world, world->config.count, false);
    for (uint32_t a = 0; a < world->config.count; a++) {
        for (uint32_t b = 0; b < world->config.count; b++)
            world_cut(world, a, b, false);
        if (!world->nodes[a].up)
            world_start(world, a);
    }
    CLAIM(world_run_agreed(world, 300 * WORLD_SECOND), "seed %d", _i);
    world_count(world);
    world_run(world, 300 * WORLD_SECOND);
    CLAIM(world_agreed(world) && world->false_hearers == 0, "seed %d: and so it stays", _i);
    world_close(world);
}
END_TEST

// ---- hostile fields ----

static struct gossip_id
odd_id(struct prng *prng)
{
    static const uint64_t edges[] = {0, 1, UINT64_MAX};
    if (prng_below(prng, 3) != 0)
        return world_id(prng_below(prng, 6));
    const uint64_t high = edges[prng_below(prng, 3)];
    return (struct gossip_id){.high = high, .low = edges[prng_below(prng, 3)]};
}

static uint64_t
odd_number(struct prng *prng)
{
    const uint64_t edges[] = {
        0, 1, 2, UINT64_MAX, UINT64_MAX - 1, UINT32_MAX, GOSSIP_INCARNATION_MAX};
    return prng_below(prng, 4) == 0 ? prng_next(prng) : edges[prng_below(prng, 7)];
}

static void
odd_message(struct prng *prng, struct gossip_msg *msg, const struct gossip *gossip)
{
    for (size_t i = 0; i < sizeof *msg; i++) // every byte is anything
        ((uint8_t *)msg)[i] = (uint8_t)prng_next(prng);
    if (prng_below(prng, 10) == 0)
        return;
    msg->kind = (uint8_t)prng_below(prng, GOSSIP_STATE + 2);
    msg->flags = (uint8_t)prng_below(prng, 2);
    msg->cluster = gossip->cluster;
    msg->from = odd_id(prng);
    msg->from_boot = odd_number(prng);
    if (prng_below(prng, 2) != 0)
        msg->from_boot /= 1001;
    msg->from_address = world_address(prng_below(prng, 8));
    msg->target = odd_id(prng);
    msg->target_boot = odd_number(prng);
    msg->seq = prng_below(prng, 2) == 0 ? gossip->seq : (uint32_t)odd_number(prng);
    msg->claim_count = (uint8_t)prng_below(prng, 6);
    for (uint32_t i = 0; i < msg->claim_count; i++) {
        struct gossip_claim *claim = &msg->claims[i];
        claim->state = (uint8_t)prng_below(prng, GOSSIP_LEFT + 1);
        claim->has_meta = claim->state == GOSSIP_ALIVE || prng_below(prng, 2) == 0;
        claim->boot = gossip_id_equal(claim->subject = odd_id(prng), gossip->self.id)
                          ? prng_below(prng, 2) // or we would be superseded soon
                          : odd_number(prng);
        claim->incarnation = (uint32_t)odd_number(prng) & GOSSIP_INCARNATION_MAX;
        claim->by = odd_id(prng);
        if (prng_below(prng, 20) != 0)
            claim->meta = world_meta(prng_below(prng, 8));
    }
}

START_TEST(no_message_whatever_its_fields_breaks_the_machine)
{
    static struct gossip gossip;
    static struct gossip_output out;
    static struct gossip_msg msg;
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    const struct gossip_config config = {
        .cluster = {.high = 7, .low = 7},
        .id = world_id(0),
        .boot = 1,
        .meta = world_meta(0),
        .profile = _i % 2 == 0 ? GOSSIP_LAN : GOSSIP_FAST,
        .members_max = 1 + prng_below(&prng, 12),
    };
    gossip_init(&gossip, &config, (uint64_t)_i);
    uint64_t now_ns = odd_number(&prng) >> 8, heard = 0;
    struct gossip_input in = {.now_ns = now_ns, .kind = GOSSIP_IN_START};
    gossip_step(&gossip, &in, &out);
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    for (int i = 0; i < 5000; i++) {
        now_ns += prng_below(&prng, 3) == 0 ? prng_next(&prng) % (3 * WORLD_SECOND) : 1000;
        in = (struct gossip_input){.now_ns = now_ns, .kind = GOSSIP_IN_WAKE};
        if (prng_below(&prng, 4) != 0) {
            odd_message(&prng, &msg, &gossip);
            in.kind = GOSSIP_IN_MESSAGE;
            in.message = &msg;
        } else if (prng_below(&prng, 50) == 0) {
            in.kind = GOSSIP_IN_FORGET;
            in.forget = odd_id(&prng);
        }
        gossip_step(&gossip, &in, &out);
        gossip_check(&gossip);
        heard += in.kind == GOSSIP_IN_MESSAGE;
        for (uint32_t j = 0; j < out.send_count; j++)
            CLAIM(gossip_msg_encode(&out.sends[j].msg, bytes) <= GOSSIP_PACKET_BYTES_MAX, "seed %d",
                  _i);
        CLAIM(gossip.gone || out.wake_ns >= now_ns, "a wake in the past");
        if (gossip.gone) { // superseded by a header: a new process goes on
            gossip_fini(&gossip);
            gossip_init(&gossip, &config, prng_next(&prng));
            in = (struct gossip_input){.now_ns = now_ns, .kind = GOSSIP_IN_START};
            gossip_step(&gossip, &in, &out);
        }
    }
    CLAIM(heard > 3000, "seed %d", _i);
    gossip_fini(&gossip);
}
END_TEST

START_TEST(clock_that_goes_back_stands_still)
{
    struct world *world = open_agreed(&(struct world_config){.count = 3, .seed = 1});
    struct gossip *gossip = &world->nodes[0].gossip;
    const uint64_t now_ns = gossip->now_ns;
    const struct gossip_input in = {.now_ns = 5, .kind = GOSSIP_IN_WAKE};
    gossip_step(gossip, &in, &world->out);
    gossip_check(gossip);
    ck_assert_uint_eq(gossip->now_ns, now_ns);
    world_close(world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/gossip");
    TCase *life = tcase_create("life");
    tcase_add_loop_test(life, nodes_that_know_some_addresses_become_one_cluster, 0, 5);
    tcase_add_test(life, same_seed_gives_the_same_run);
    tcase_add_loop_test(life, crash_is_known_to_all_and_nobody_else_dies, 0, 10);
    tcase_add_loop_test(life, restart_with_a_new_boot_generation_is_believed_at_once, 0, 5);
    tcase_add_loop_test(life, wiped_host_with_a_new_id_supersedes_the_old_one, 0, 5);
    tcase_add_loop_test(life, node_that_leaves_is_gone_without_being_dead, 0, 5);
    tcase_add_loop_test(life, new_metadata_reach_everybody, 0, 5);
    suite_add_tcase(s, life);
    TCase *faults = tcase_create("faults");
    tcase_add_loop_test(faults, stopped_process_accuses_nobody_when_it_goes_on, 0, 10);
    tcase_add_loop_test(faults, halves_that_were_apart_for_hours_become_one_again, 0, 5);
    tcase_add_loop_test(faults, crashed_cluster_finds_itself_from_persisted_peers, 0, 5);
    tcase_add_loop_test(faults, deaf_node_dies_and_returns_when_it_hears_again, 0, 5);
    tcase_add_loop_test(faults, one_broken_link_kills_nobody, 0, 5);
    tcase_add_loop_test(faults, whatever_happened_all_agree_again_when_it_ends, 0, 40);
    tcase_add_loop_test(faults, two_clusters_that_meet_never_merge, 0, 5);
    suite_add_tcase(s, faults);
    TCase *hostile = tcase_create("hostile");
    tcase_add_loop_test(hostile, no_message_whatever_its_fields_breaks_the_machine, 0, 20);
    tcase_add_test(hostile, clock_that_goes_back_stands_still);
    suite_add_tcase(s, hostile);
    return s;
}

CHECK_MAIN(suite)
