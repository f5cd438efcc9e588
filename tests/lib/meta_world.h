// tests/lib/meta_world.h -- nodes with the metadata's loop, a disk and a bus in memory each, and a router; and what a test waits for.
//
// Shape: shell.
#ifndef OMEN_TESTS_META_WORLD_H
#define OMEN_TESTS_META_WORLD_H
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "base/os_wait.h"
#include "tests/lib/bus_memory.h"
#include "tests/lib/check_main.h"
#include "tests/lib/file_copy.h"
#include "tests/lib/folder.h"
#include "wire/node_codec.h"

#define MS UINT64_C(1000000)
#define NODES 3u
#define ROUTER 3u // in nodes[], behind those

// What a data loop hears, and one question.
struct node {
    uint32_t at;
    uint64_t member;
    struct disk *disk;
    struct bus bus;
    struct meta *meta; // NULL: it is down
    struct loop *data;
    uint64_t boot;
    // Of the data loop, under `lock`; `turn` counts notes.
    struct lock lock;
    _Atomic uint32_t turn;
    const struct map *map;
    struct cluster_uuid leader;
    uint32_t voters, alive, left, low;
    uint64_t leases, words;
    struct meta_answer answer;
    uint32_t answers;
    bool backwards; // an older map came, or a lease before any map
    bool ahead;     // it heard of what meta_stats did not know yet
};

static struct folder folder;
static struct node nodes[NODES + 1];
static const struct cluster_uuid cluster = {0x0190aaaa, 0x1234};
static _Atomic uint32_t halts, outdated_count;
static uint64_t processes; // that were started
static uint8_t lease_profile = LEASE_LAN;

static inline void
halt(void *context, const char *why)
{
    (void)context;
    (void)why;
    atomic_fetch_add(&halts, 1);
}

static inline void
superseded(void *context)
{
    halt(context, "superseded");
}

static inline void
outdated(void *context)
{
    (void)context;
    atomic_fetch_add(&outdated_count, 1);
    for (uint32_t i = 0; i < NODES; i++) { // whoever waits for anything looks again
        atomic_fetch_add(&nodes[i].turn, 1);
        os_wake_all(&nodes[i].turn);
    }
}

static inline struct gossip_address
address_of_node(uint32_t at)
{
    struct gossip_address address = {.port = (uint16_t)(7701 + at)};
    address.ip[10] = address.ip[11] = 0xff;
    address.ip[12] = 127;
    address.ip[15] = 1;
    return address;
}

static inline struct cluster_uuid
uuid_of(uint32_t at)
{
    return (struct cluster_uuid){0x0190bbbb, 100 + at};
}

// ---- the data loop of a node ----

static inline struct meta_stats
stats_of(const struct node *node)
{
    struct meta_stats stats;
    meta_stats(node->meta, &stats);
    return stats;
}

static inline void
hear_members(struct node *node, const struct meta_members *members)
{
    node->ahead |= stats_of(node).term < members->term;
    node->leader = members->leader;
    node->voters = members->voters;
    node->alive = node->left = node->low = 0;
    ck_assert_uint_ge(members->count, 1);
    ck_assert_uint_eq(members->members[0].subject.low, uuid_of(node->at).low);
    for (uint32_t i = 0; i < members->count; i++) {
        node->alive += members->members[i].state == GOSSIP_ALIVE;
        node->left += members->members[i].state == GOSSIP_LEFT;
        node->low += turn_said_read(&members->members[i].meta).disk_low;
    }
}

static inline void
hear(void *context, struct loop_note *note)
{
    struct node *node = context;
    lock_acquire(&node->lock);
    switch (note->kind) {
    case NOTE_META_MAP: {
        const struct map *map = ((struct meta_map *)note)->map;
        node->backwards |= node->map != NULL && node->map->version >= map->version;
        node->ahead |= stats_of(node).map_version < map->version;
        map_publish_end(node->map);
        node->map = map;
        break;
    }
    case NOTE_META_LEASE:
        node->leases++;
        node->backwards |= node->map == NULL;
        break;
    case NOTE_META_LED:
        break;
    case NOTE_META_WORD:
        node->words++;
        break;
    case NOTE_META_MEMBERS:
        hear_members(node, (const struct meta_members *)note);
        break;
    case NOTE_META_ANSWER:
        node->answer = *(const struct meta_answer *)note;
        node->answers++;
        break;
    default:
        ck_abort_msg("a note of kind %u", note->kind);
    }
    lock_release(&node->lock);
    mem_free(note);
    atomic_fetch_add(&node->turn, 1);
    os_wake_all(&node->turn);
}

static inline void
drop(void *context, struct loop_note *note)
{
    (void)context;
    if (note->kind == NOTE_META_MAP)
        map_publish_end(((struct meta_map *)note)->map);
    mem_free(note);
}

// ---- nodes ----

static inline struct turn_config
config_of(const struct node *node)
{
    struct turn_config config = {
        .raft = {.id = node->member,
                 .tick_ns = 10 * MS,
                 .election_ticks = 60, // longer than a busy machine keeps a leader waiting
                 .heartbeat_ticks = 3,
                 .pre_vote = true,
                 .check_quorum = true,
                 .step_down_on_removal = true,
                 .inflight_max = 32,
                 .inflight_bytes_max = 1u << 20,
                 .append_bytes_max = 65536,
                 .apply_bytes_max = 65536,
                 .uncommitted_bytes_max = 1u << 20,
                 .chunk_bytes = 256,
                 .tail_entries_max = 1024,
                 .tail_bytes_max = 4u << 20,
                 .tail_retain = 8},
        .gossip = {.cluster = {cluster.high, cluster.low},
                   .id = {uuid_of(node->at).high, uuid_of(node->at).low},
                   .boot = node->boot,
                   .profile = GOSSIP_FAST,
                   .members_max = 64},
        .checkpoint_entries = 16,
        .rebalance = {.replace_delay_ns = 4000 * MS,
                      .interval_ns = 500 * MS,
                      .retry_ns = 300 * MS,
                      .moves_max = 2,
                      .transfers_max = 2,
                      .slack_permille = 100},
        .voters = {.wanted = 3,
                   .members_max = VOTERS_MEMBERS_MAX,
                   .replace_delay_ns = 60000 * MS,
                   .steady_ns = 50 * MS,
                   .interval_ns = 50 * MS,
                   .retry_ns = 300 * MS},
        .weight = 100,
        .roles = NODE_DATA,
    };
    config.gossip.meta.roles = NODE_DATA;
    if (node->at == ROUTER) {
        config.weight = 0;
        config.roles = config.gossip.meta.roles = NODE_ROUTER;
    }
    config.gossip.meta.address = address_of_node(node->at);
    config.zone.count = 1;
    config.zone.bytes[0] = 'z';
    return config;
}

static inline void
open_disk(struct node *node)
{
    struct omen_error error;
    char path[300];
    snprintf(path, sizeof path, "%s/log%u", folder.path, node->at);
    const struct disk_config config = {.path = path, .fatal = halt};
    ck_assert_msg(disk_open(&config, &node->disk, &error) == OMEN_OK, "%s", error.text);
    struct disk_identity identity = disk_identity(node->disk);
    if (uuid_is_none(identity.node)) {
        const struct raft_group alone = {.count = 1, .members = {{1, RAFT_VOTER}}};
        identity.cluster = cluster;
        identity.node = uuid_of(node->at);
        identity.member = node->at == 0 ? 1 : 1000 + node->at;
        ck_assert_msg(disk_found(node->disk, &identity, node->at == 0 ? &alone : NULL, &error) ==
                          OMEN_OK,
                      "%s", error.text);
    }
    ck_assert(uuid_equal(disk_identity(node->disk).node, uuid_of(node->at)));
    ck_assert_uint_gt(disk_identity(node->disk).boot, node->boot);
    node->boot = disk_identity(node->disk).boot;
    node->member = disk_identity(node->disk).member;
}

static inline void
start(struct node *node)
{
    struct omen_error error;
    open_disk(node);
    const struct turn_config turn = config_of(node);
    struct turn_durable durable;
    ck_assert_msg(disk_start_meta(node->disk, &durable, &error) == OMEN_OK, "%s", error.text);
    const struct gossip_address first = address_of_node(0);
    if (durable.peer_count == 0) { // --join
        durable.peers = &first;
        durable.peer_count = node->at == 0 ? 0 : 1;
    }
    node->bus = (struct bus){.node = {uuid_of(node->at).high, uuid_of(node->at).low},
                             .boot = node->boot,
                             .address = address_of_node(node->at)};
    const struct meta_config config = {.turn = &turn,
                                       .durable = &durable,
                                       .lease_profile = lease_profile,
                                       .disk = node->disk,
                                       .bus = &node->bus,
                                       .seed = 7 + 100 * ++processes + node->at,
                                       .halt = halt,
                                       .superseded = superseded,
                                       .outdated = outdated};
    struct meta *meta;
    ck_assert_int_eq(meta_open(&config, &meta), OMEN_OK);
    disk_started(node->disk);
    const struct loop_config data = {"data", node, hear, NULL, drop};
    ck_assert_int_eq(loop_open(&data, &node->data), OMEN_OK);
    node->meta = meta;
    bus_join_network(node->at, &node->bus, meta);
    meta_feed(meta, node->data);
}

static inline void
stop(struct node *node)
{
    bus_leave_network(node->at);
    meta_stop(node->meta);
    loop_stop(node->data);
    disk_close(node->disk);
    meta_close(node->meta);
    loop_close(node->data);
    map_publish_end(node->map);
    ck_assert(!node->backwards);
    ck_assert(!node->ahead);
    node->map = NULL;
    node->meta = NULL;
    node->leader = (struct cluster_uuid){0};
    node->voters = node->alive = 0;
}

static inline void
setup(void)
{
    ck_assert_int_eq(seal_init(), OMEN_OK);
    log_level_set(LOG_LEVEL_ERROR);
    folder_init(&folder);
    for (uint32_t i = 0; i <= ROUTER; i++) {
        memset(&nodes[i], 0, sizeof nodes[i]);
        nodes[i].at = i;
        lock_init(&nodes[i].lock);
    }
}

static inline void
teardown(void)
{
    for (uint32_t i = 0; i <= ROUTER; i++)
        if (nodes[i].meta != NULL)
            stop(&nodes[i]);
    ck_assert_uint_eq(atomic_load(&halts), 0);
    folder_fini(&folder);
}

// ---- waiting for what a node hears ----

typedef bool (*claim)(struct node *node, uint64_t number); // under its lock

static inline void
wait_until(struct node *node, claim holds, uint64_t number)
{
    for (;;) {
        const uint32_t turn = atomic_load(&node->turn);
        lock_acquire(&node->lock);
        const bool done = holds(node, number);
        lock_release(&node->lock);
        if (done)
            return;
        os_wait(&node->turn, turn);
    }
}

static inline bool
has_nodes(struct node *node, uint64_t count)
{
    if (node->map == NULL || node->map->node_count != count)
        return false;
    for (uint32_t i = 0; i < node->map->node_count; i++)
        for (uint32_t k = 0; k < NODES; k++)
            if (uuid_equal(node->map->nodes[i].uuid,
                           nodes[k].meta != NULL ? uuid_of(k) : uuid_of(99)) &&
                node->map->nodes[i].boot != nodes[k].boot)
                return false;
    return true;
}

static inline bool
has_all_up(struct node *node, uint64_t count)
{
    uint32_t up = 0;
    for (uint32_t i = 0; node->map != NULL && i < node->map->node_count; i++)
        up += node->map->nodes[i].state == NODE_UP;
    return up == count;
}

static inline bool
has_settled_leases(struct node *node, uint64_t profile)
{
    return node->map != NULL && node->map->leases.profile == profile &&
           node->map->leases.previous == profile;
}

static inline bool
has_voters(struct node *node, uint64_t count)
{
    return node->voters == count && !uuid_is_none(node->leader);
}

static inline bool
has_lease(struct node *node, uint64_t after)
{
    return node->leases > after;
}

static inline bool
has_answer(struct node *node, uint64_t count)
{
    return node->answers >= count;
}

static inline bool
has_version(struct node *node, uint64_t version)
{
    return node->map != NULL && node->map->version >= version;
}

static inline bool
has_settings(struct node *node, uint64_t count)
{
    return node->map != NULL && node->map->setting_count == count;
}

static inline bool
has_another_leader(struct node *node, uint64_t low)
{
    return !uuid_is_none(node->leader) && node->leader.low != low;
}

static inline struct cluster_uuid
leader_at(struct node *node)
{
    lock_acquire(&node->lock);
    const struct cluster_uuid leader = node->leader;
    lock_release(&node->lock);
    return leader;
}

static inline uint64_t
leases_at(struct node *node)
{
    lock_acquire(&node->lock);
    const uint64_t leases = node->leases;
    lock_release(&node->lock);
    return leases;
}

static inline struct command
setting(const char *name, const char *value)
{
    struct command command = {.kind = COMMAND_SETTING_PUT};
    ck_assert(map_name_set(&command.setting.name, name, strlen(name)));
    command.setting.expected = VERSION_ANY;
    command.setting.value.count = (uint8_t)strlen(value);
    memcpy(command.setting.value.bytes, value, strlen(value));
    return command;
}

static inline struct meta_answer
propose(struct node *node, const struct command *command)
{
    lock_acquire(&node->lock);
    const uint32_t before = node->answers;
    lock_release(&node->lock);
    meta_propose(node->meta, command, node->data, node);
    wait_until(node, has_answer, before + 1);
    ck_assert_ptr_eq(node->answer.tag, node);
    return node->answer;
}

static inline struct node *
node_of(struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (uuid_equal(uuid, uuid_of(i)))
            return &nodes[i];
    ck_abort_msg("nobody is %llu", (unsigned long long)uuid.low);
}

// Whom it takes for the leader, once there is one: on a slow machine there may be none for a moment at any time.
static inline struct node *
leader_of(struct node *node)
{
    struct cluster_uuid leader = leader_at(node);
    while (uuid_is_none(leader)) {
        wait_until(node, has_another_leader, 0);
        leader = leader_at(node);
    }
    return node_of(leader);
}

// As a client would: asks whoever is said to lead, until it is done. The map's version then.
static inline uint64_t
settle(struct node *first, const struct command *command)
{
    struct node *node = first;
    for (;;) {
        const struct meta_answer answer = propose(node, command);
        if (answer.outcome == META_DONE) {
            ck_assert_int_eq(answer.result.status, OMEN_OK);
            return answer.result.version;
        }
        ck_assert(answer.outcome != META_INVALID);
        ck_assert_int_ne(answer.status, OMEN_OK);
        if (!uuid_is_none(answer.leader) && node_of(answer.leader)->meta != NULL)
            node = node_of(answer.leader);
    }
}

static inline uint64_t
write_setting(struct node *first, const char *name, const char *value)
{
    const struct command command = setting(name, value);
    return settle(first, &command);
}

static inline void
claim_agreement(uint64_t version)
{
    static char texts[NODES][65536];
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_version, version);
        lock_acquire(&nodes[i].lock);
        if (nodes[i].map->version == version)
            map_describe(nodes[i].map, texts[i], sizeof texts[i]);
        else
            texts[i][0] = '\0'; // somebody went on meanwhile
        lock_release(&nodes[i].lock);
        if (i > 0 && texts[i][0] != '\0' && texts[0][0] != '\0')
            ck_assert_str_eq(texts[i], texts[0]);
    }
}

static inline void
start_all(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (nodes[i].meta == NULL)
            start(&nodes[i]);
}

static inline void
claim_whole(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_nodes, NODES);
        wait_until(&nodes[i], has_all_up, NODES);
        wait_until(&nodes[i], has_voters, NODES);
        wait_until(&nodes[i], has_lease, leases_at(&nodes[i]));
    }
}

#endif
