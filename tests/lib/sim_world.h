// tests/lib/sim_world.h -- whole nodes in one process: virtual time, network and disks, all from a seed.
//
// Shape: shell, simulated.
//
// A node is a turn (node/turn.h), the copies that it holds (node/copies.h), disks that lose what they did not sync, a monotonic
// clock that runs up to 5 % fast or slow, and a wall clock that may be minutes wrong. Messages are lost, doubled and delayed, so
// that they overtake each other. What a paused node gets waits for it. Every event goes into a running hash: same seed, same
// hash, on every run and build type.
#ifndef OMEN_TESTS_SIM_WORLD_H
#define OMEN_TESTS_SIM_WORLD_H
#include "tests/lib/sim_hooks.h"
#include "tests/lib/sim_kind.h"
#include "tests/lib/sim_net.h"

static inline void sim_observe(struct sim *sim, uint32_t at);         // tests/lib/sim_check.h
static inline void sim_rules_observe(struct sim *sim, uint32_t at);   // tests/lib/sim_rules.h
static inline void sim_stumble(struct sim *sim, uint32_t at);         // tests/lib/sim_aim.h
static inline void sim_members_observe(struct sim *sim, uint32_t at); // tests/lib/sim_member.h
static inline void sim_copies_start(struct sim *sim, uint32_t at);    // tests/lib/sim_copies.h
static inline void sim_envs_crash(struct sim *sim, uint32_t at);
static inline void sim_feed(struct sim *sim, uint32_t at);

static inline void sim_tell_refusals(struct sim *sim, uint32_t about,
                                     enum sim_event_kind kind); // sim_word.h

static inline void
sim_crash(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (!node->up)
        return;
    const uint32_t waiting = node->disk.write_count;
    const uint32_t kept = prng_below(&sim->prng, waiting + 1);
    sim->lost_writes += waiting - kept;
    sim_disk_crash(&node->disk, kept);
    sim_envs_crash(sim, at);
    turn_fini(&node->turn);
    copies_fini(&node->copies);
    map_fini(&node->pulled);
    map_init(&node->pulled);
    sim_router_close(sim, at);
    node->up = false;
    node->paused_until_ns = node->held_until_ns = 0;
    node->life++;
    sim_tell_refusals(sim, at, SIM_REFUSED);
}

static inline void
sim_write(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    uint64_t done = sim->now_ns + SIM_MS + prng_below(&sim->prng, 8000000);
    if (sim->slow_disk[at] > 0)
        done += sim_slow(sim);
    if (done <= node->last_done_ns)
        done = node->last_done_ns + 1;
    if (!sim_disk_write(&node->disk, &node->turn, &sim->out, done))
        return;
    node->last_done_ns = done;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = done, .kind = SIM_SYNC, .at = at, .number = node->life});
}

static inline void
sim_set_wake(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (sim->out.wake_ns == UINT64_MAX)
        return;
    uint64_t due = (sim->out.wake_ns / node->rate + 1) * 1000;
    if (due <= sim->now_ns)
        due = sim->now_ns + 1000;
    if (node->wake_at_ns != UINT64_MAX && node->wake_at_ns <= due)
        return;
    node->wake_at_ns = due;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = due, .kind = SIM_WAKE, .at = at, .number = node->life});
}

static inline void
sim_step(struct sim *sim, uint32_t at, struct turn_input in)
{
    struct sim_node *node = &sim->nodes[at];
    in.now_ns = sim_node_time(sim, at);
    in.wall_ms = sim_node_wall(sim, at);
    turn_step(&node->turn, &in, &sim->out);
    SIM_REQUIRE(sim, sim->out.halt == TURN_RUNS, "a node with good bytes and memory never halts");
    if (node->turn.applied != node->checked_applied || in.kind == TURN_IN_START)
        turn_check(&node->turn);
    else
        turn_check_step(&node->turn);
    node->checked_applied = node->turn.applied;
    sim_write(sim, at);
    sim_send(sim, at);
    sim_send_turn(sim, at);
    if (sim->out.gossip.persist_peers)
        node->disk.peer_count = gossip_peers(&node->turn.gossip, node->disk.peers, SIM_PEERS_MAX);
    sim_mix(sim, node->turn.raft.term << 32 ^ node->turn.raft.commit << 8 ^ node->turn.applied);
    sim_mix(sim, node->turn.map.version << 8 ^ sim->out.raft.msg_count);
    sim->installs += sim->out.raft.install;
    sim_set_wake(sim, at);
    sim_observe(sim, at);
    sim_rules_observe(sim, at);
    sim_members_observe(sim, at);
    sim_stumble(sim, at);
    if (sim->options.lying_disk && sim->out.raft.sync)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + 1000,
                                                .kind = SIM_LIE,
                                                .at = at,
                                                .from = (uint32_t)sim->out.raft.persist_number,
                                                .number = node->life});
    sim_feed(sim, at);
}

static inline struct turn_config
sim_turn_config(const struct sim *sim, uint32_t at)
{
    struct turn_config config = {
        .raft = {.id = sim->nodes[at].raft_id,
                 .tick_ns = 20 * SIM_MS,
                 .election_ticks = 15,
                 .heartbeat_ticks = 3,
                 .pre_vote = true,
                 .check_quorum = !sim->options.profile->no_check_quorum,
                 .step_down_on_removal = true,
                 .inflight_max = 32,
                 .inflight_bytes_max = 1u << 20,
                 .append_bytes_max = 8192,
                 .apply_bytes_max = 16384,
                 .uncommitted_bytes_max = 1u << 20,
                 .chunk_bytes = 8192,
                 .tail_entries_max = 8192,
                 .tail_bytes_max = 4u << 20,
                 .tail_retain = 16},
        .gossip = {.cluster = {1, 2},
                   .id = {0x6f6d656e, at + 1},
                   .boot = sim->nodes[at].boot,
                   .profile = GOSSIP_FAST,
                   .members_max = 64},
        .checkpoint_entries = 100,
        .rebalance = {.replace_delay_ns = 4 * SIM_SECOND,
                      .interval_ns = 500 * SIM_MS,
                      .retry_ns = 300 * SIM_MS,
                      .moves_max = 2,
                      .transfers_max = 2,
                      .splits_max = 1,
                      .slack_permille = 100},
        .voters = {.wanted = sim->options.profile->members_ms == 0
                                 ? VOTERS_WANTED_MAX
                                 : 3 + 2 * (uint32_t)(sim->options.seed / 3 % 3),
                   .members_max = VOTERS_MEMBERS_MAX,
                   .replace_delay_ns = 4 * SIM_SECOND,
                   .steady_ns = SIM_SECOND,
                   .interval_ns = 500 * SIM_MS,
                   .retry_ns = 300 * SIM_MS},
        .weight = 100,
        .roles = NODE_DATA,
        .features = sim_features(sim, at),
    };
    config.zone.count = 1;
    config.zone.bytes[0] = (char)('x' + sim_zone(sim, at));
    config.gossip.meta.address = config.gossip.meta.client = sim_address(at);
    config.gossip.meta.roles = 1;
    return config;
}

static inline void
sim_start(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (node->up)
        return;
    node->boot++;
    node->life++;
    node->wake_at_ns = UINT64_MAX;
    node->map_version = 0;
    node->rules = (struct sim_rules){0};
    const struct turn_config config = sim_turn_config(sim, at);
    turn_init(&node->turn, &config, prng_next(&sim->prng));
    node->up = true;
    sim_router_open(sim, at);
    const struct turn_durable durable = sim_disk_read(&node->disk);
    sim_copies_start(sim, at);
    sim_step(sim, at, (struct turn_input){.kind = TURN_IN_START, .durable = &durable});
    sim_tell_refusals(sim, at, SIM_REACHED);
}

static inline void
sim_refusal_event(struct sim *sim, const struct sim_event *event)
{
    if (event->number != sim->nodes[event->at].life)
        return;
    struct turn_input in = {.kind = event->kind == SIM_REFUSED ? TURN_IN_REFUSED : TURN_IN_REACHED};
    in.node = (struct cluster_uuid){0x6f6d656e, event->from + 1};
    sim->refusals += event->kind == SIM_REFUSED;
    sim_step(sim, event->at, in);
}

#include "tests/lib/sim_check.h"  // sim_observe
#include "tests/lib/sim_data.h"   // sim_copies_start, sim_feed
#include "tests/lib/sim_member.h" // sim_members_observe
#include "tests/lib/sim_rules.h"  // sim_rules_observe
#include "tests/lib/sim_word.h"

#endif
