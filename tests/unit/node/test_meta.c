// tests/unit/node/test_meta.c -- the metadata's loop: nodes that found and join a cluster agree on its map, also after restarts.
//
// Labels: tsan
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
    uint32_t voters, alive, left;
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

static void
halt(void *context, const char *why)
{
    (void)context;
    (void)why;
    atomic_fetch_add(&halts, 1);
}

static void
superseded(void *context)
{
    halt(context, "superseded");
}

static void
outdated(void *context)
{
    (void)context;
    atomic_fetch_add(&outdated_count, 1);
    for (uint32_t i = 0; i < NODES; i++) { // whoever waits for anything looks again
        atomic_fetch_add(&nodes[i].turn, 1);
        os_wake_all(&nodes[i].turn);
    }
}

static struct gossip_address
address_of_node(uint32_t at)
{
    struct gossip_address address = {.port = (uint16_t)(7701 + at)};
    address.ip[10] = address.ip[11] = 0xff;
    address.ip[12] = 127;
    address.ip[15] = 1;
    return address;
}

static struct cluster_uuid
uuid_of(uint32_t at)
{
    return (struct cluster_uuid){0x0190bbbb, 100 + at};
}

// ---- the data loop of a node ----

static struct meta_stats
stats_of(const struct node *node)
{
    struct meta_stats stats;
    meta_stats(node->meta, &stats);
    return stats;
}

static void
hear_members(struct node *node, const struct meta_members *members)
{
    node->ahead |= stats_of(node).term < members->term;
    node->leader = members->leader;
    node->voters = members->voters;
    node->alive = node->left = 0;
    ck_assert_uint_ge(members->count, 1);
    ck_assert_uint_eq(members->members[0].subject.low, uuid_of(node->at).low);
    for (uint32_t i = 0; i < members->count; i++) {
        node->alive += members->members[i].state == GOSSIP_ALIVE;
        node->left += members->members[i].state == GOSSIP_LEFT;
    }
}

static void
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

static void
drop(void *context, struct loop_note *note)
{
    (void)context;
    if (note->kind == NOTE_META_MAP)
        map_publish_end(((struct meta_map *)note)->map);
    mem_free(note);
}

// ---- nodes ----

static struct turn_config
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

static void
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

static void
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

static void
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

static void
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

static void
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

static void
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

static bool
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

static bool
has_all_up(struct node *node, uint64_t count)
{
    uint32_t up = 0;
    for (uint32_t i = 0; node->map != NULL && i < node->map->node_count; i++)
        up += node->map->nodes[i].state == NODE_UP;
    return up == count;
}

static bool
has_settled_leases(struct node *node, uint64_t profile)
{
    return node->map != NULL && node->map->leases.profile == profile &&
           node->map->leases.previous == profile;
}

static bool
has_voters(struct node *node, uint64_t count)
{
    return node->voters == count && !uuid_is_none(node->leader);
}

static bool
has_lease(struct node *node, uint64_t after)
{
    return node->leases > after;
}

static bool
has_answer(struct node *node, uint64_t count)
{
    return node->answers >= count;
}

static bool
has_version(struct node *node, uint64_t version)
{
    return node->map != NULL && node->map->version >= version;
}

static bool
has_settings(struct node *node, uint64_t count)
{
    return node->map != NULL && node->map->setting_count == count;
}

static bool
has_another_leader(struct node *node, uint64_t low)
{
    return !uuid_is_none(node->leader) && node->leader.low != low;
}

static struct cluster_uuid
leader_at(struct node *node)
{
    lock_acquire(&node->lock);
    const struct cluster_uuid leader = node->leader;
    lock_release(&node->lock);
    return leader;
}

static uint64_t
leases_at(struct node *node)
{
    lock_acquire(&node->lock);
    const uint64_t leases = node->leases;
    lock_release(&node->lock);
    return leases;
}

static struct command
setting(const char *name, const char *value)
{
    struct command command = {.kind = COMMAND_SETTING_PUT};
    ck_assert(map_name_set(&command.setting.name, name, strlen(name)));
    command.setting.expected = VERSION_ANY;
    command.setting.value.count = (uint8_t)strlen(value);
    memcpy(command.setting.value.bytes, value, strlen(value));
    return command;
}

static struct meta_answer
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

static struct node *
node_of(struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (uuid_equal(uuid, uuid_of(i)))
            return &nodes[i];
    ck_abort_msg("nobody is %llu", (unsigned long long)uuid.low);
}

// As a client would: asks whoever is said to lead, until it is done.
static uint64_t
write_setting(struct node *first, const char *name, const char *value)
{
    const struct command command = setting(name, value);
    struct node *node = first;
    for (;;) {
        const struct meta_answer answer = propose(node, &command);
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

static void
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

static void
start_all(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (nodes[i].meta == NULL)
            start(&nodes[i]);
}

static void
claim_whole(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_nodes, NODES);
        wait_until(&nodes[i], has_all_up, NODES);
        wait_until(&nodes[i], has_voters, NODES);
        wait_until(&nodes[i], has_lease, leases_at(&nodes[i]));
    }
}

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

START_TEST(a_wish_of_any_node_reaches_the_leader)
{
    start_all();
    claim_whole();
    for (uint32_t i = 0; i < NODES; i++) {
        const char name[2] = {(char)('p' + (char)i), '\0'};
        const struct command command = setting(name, "wished");
        uint64_t version;
        lock_acquire(&nodes[i].lock);
        version = nodes[i].map->version;
        lock_release(&nodes[i].lock);
        meta_wish(nodes[i].meta, &command);
        wait_until(&nodes[i], has_version, version + 1);
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
    struct node *leader = node_of(leader_at(&nodes[0]));
    struct node *other = leader == &nodes[0] ? &nodes[1] : &nodes[0];
    bus_cut(&leader->bus, true);
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
    const struct meta_answer answer = propose(node_of(leader_at(&nodes[0])), &command);
    ck_assert_int_eq(answer.outcome, META_DONE);
    ck_assert_int_eq(answer.result.status, OMEN_OK);
    for (uint32_t i = 0; i < NODES; i++) {
        wait_until(&nodes[i], has_version, answer.result.version);
        ck_assert(meta_key(nodes[i].meta, &command.key.name, &key));
        ck_assert_uint_eq(key.hash_words[2], 77);
    }
}
END_TEST

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
    struct node *leader = node_of(leader_at(&nodes[0]));
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
    ck_assert_ptr_ne(node_of(leader_at(router)), router);
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
suite(void)
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
    tcase_add_test(tcase, a_leader_that_is_about_to_end_has_another_lead_and_is_gone_at_once);
    tcase_add_test(tcase, who_is_alone_has_nobody_to_wait_for);
    tcase_add_test(tcase, a_router_has_no_log_and_gets_every_map_from_whoever_is_there);
    tcase_add_test(tcase, a_router_that_is_started_again_finds_the_others_by_itself);
    tcase_add_test(tcase, what_is_no_map_of_who_was_asked_is_not_believed);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
