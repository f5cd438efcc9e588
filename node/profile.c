// node/profile.c -- the machines' numbers, by the profile that an operator names.
//
// Shape: value.
#include "node/profile.h"

#include <string.h>

#include "node/program.h"
#include "node/turn_said.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define ZONE_DEFAULT "default"

static const struct times {
    uint64_t tick_ns;
    uint32_t election_ticks, heartbeat_ticks;
    uint64_t replace_delay_ns, interval_ns, retry_ns, steady_ns;
} profiles[] = {
    [CONFIG_LAN] = {50 * MS, 20, 4, 30 * SECOND, 1 * SECOND, 2 * SECOND, 2 * SECOND},
    [CONFIG_FAST] = {20 * MS, 15, 3, 10 * SECOND, 500 * MS, 1 * SECOND, 1 * SECOND},
};

static struct raft_config
raft_of(const struct times *times, uint64_t member)
{
    return (struct raft_config){.id = member,
                                .tick_ns = times->tick_ns,
                                .election_ticks = times->election_ticks,
                                .heartbeat_ticks = times->heartbeat_ticks,
                                .pre_vote = true,
                                .check_quorum = true,
                                .step_down_on_removal = true,
                                .reads = RAFT_READS_SAFE,
                                .inflight_max = 128,
                                .inflight_bytes_max = 8u << 20,
                                .append_bytes_max = 1u << 20,
                                .apply_bytes_max = 1u << 20,
                                .uncommitted_bytes_max = 16u << 20,
                                .chunk_bytes = 256u << 10,
                                .tail_entries_max = 65536,
                                .tail_bytes_max = 64u << 20,
                                .tail_retain = 2000};
}

static struct gossip_config
gossip_of(const struct config *config, const struct profile_place *place)
{
    const struct disk_identity *identity = &place->identity;
    struct gossip_config gossip = {.cluster = {identity->cluster.high, identity->cluster.low},
                                   .id = {identity->node.high, identity->node.low},
                                   .boot = identity->boot,
                                   .profile =
                                       config->profile == CONFIG_FAST ? GOSSIP_FAST : GOSSIP_LAN,
                                   .members_max = GOSSIP_MEMBERS_MAX};
    struct gossip_meta *meta = &gossip.meta;
    meta->address = place->peer;
    meta->client = place->client;
    meta->roles = config->roles;
    turn_said_program(config->name.bytes, config->name.count, profile_features(), meta);
    return gossip;
}

uint64_t
profile_features(void)
{
    return PROGRAM_FEATURES;
}

struct turn_config
profile_turn(const struct config *config, const struct profile_place *place)
{
    const struct times *times = &profiles[config->profile];
    struct turn_config turn = {
        .raft = raft_of(times, place->identity.member),
        .gossip = gossip_of(config, place),
        .checkpoint_entries = 1000,
        .rebalance = {.replace_delay_ns = times->replace_delay_ns,
                      .interval_ns = times->interval_ns,
                      .retry_ns = times->retry_ns,
                      .moves_max = 4,
                      .transfers_max = 4,
                      .splits_max = 1,
                      .slack_permille = 100},
        .voters = {.wanted = config->voters,
                   .members_max = VOTERS_MEMBERS_MAX,
                   .replace_delay_ns = times->replace_delay_ns,
                   .steady_ns = times->steady_ns,
                   .interval_ns = times->interval_ns / 2,
                   .retry_ns = times->retry_ns},
        .weight = (config->roles & NODE_DATA) != 0 ? config->weight : 0,
        .roles = config->roles,
        .zone = config->zone,
        .features = profile_features(),
    };
    if (turn.zone.count == 0) {
        turn.zone.count = sizeof ZONE_DEFAULT - 1;
        memcpy(turn.zone.bytes, ZONE_DEFAULT, sizeof ZONE_DEFAULT - 1);
    }
    return turn;
}
