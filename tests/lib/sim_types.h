// tests/lib/sim_types.h -- what a simulated cluster consists of, and what it says when a claim is broken.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_SIM_TYPES_H
#define OMEN_TESTS_SIM_TYPES_H
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/prng.h"
#include "raft/quorum.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/sim_heap.h"
#include "tests/lib/sim_shard.h"

#define SIM_MS UINT64_C(1000000)
#define SIM_SECOND (1000 * SIM_MS)
#define SIM_NODES_MAX 7u
#define SIM_PLACES_MAX (SIM_NODES_MAX + 1u) // the nodes, and a router of its own
#define SIM_CLIENTS 6u
#define SIM_KEYS 4u
#define SIM_EPOCH_MS UINT64_C(1700000000000)
#define SIM_FAULTS_OPEN 16u
#define SIM_ENVS_MAX 40u
#define SIM_TURN_NS 300000u // less than two messages take
#define SIM_SHARDS 2u       // at first
#define SIM_SPLITS_MAX 24u
#define SIM_LINES_MAX 160u   // of shards that ever were
#define SIM_OTHERS_MAX 40u   // collections beside the first that ever were
#define SIM_MEMBER_LIVES 16u // a node's number in raft's group grows by it when its disk is lost
#define SIM_NOWHERE UINT32_MAX
#define SIM_ZONES_MAX 3u

enum sim_fault {
    SIM_FAULT_LOSS,
    SIM_FAULT_DOUBLE,
    SIM_FAULT_DELAY,
    SIM_FAULT_CUT,   // one direction between two
    SIM_FAULT_SPLIT, // two halves
    SIM_FAULT_PAUSE,
    SIM_FAULT_CRASH, // with unsynced transactions lost
    SIM_FAULT_DISK,  // slow
    SIM_FAULT_CLOCK, // the wall's jumps
    SIM_FAULT_POWER, // all crash at once
    SIM_FAULT_WIPE,  // a crash, and the copies' disk comes back empty
    SIM_FAULT_LOST,  // a crash, and the metadata's disk comes back empty
    SIM_FAULT_ROT,   // what is on a copy's disk changes silently
    SIM_FAULT_KINDS,
};

// What a run is like beside its seed; the table is in tests/lib/sim_profile.h.
struct sim_profile {
    const char *name;
    uint32_t fault_mask; // bits of enum sim_fault
    uint32_t gap_ms;     // between two faults, at most
    uint32_t length_ms;  // of a fault, at most
    uint32_t patient;    // permille of the operations that wait long for an answer
    uint32_t strong;     // percent of the operations that are strong reads
    bool fast_leases;
    bool no_check_quorum; // leaders that hear nobody go on: safe as well
    bool quiet_settings;  // next to no commands beside those of the shards
    uint32_t members_ms;  // between two changes of raft's group by an operator, at most; 0: none
    uint32_t rumours_ms;  // between two made-up words of the failure detector, at most; 0: none
    uint32_t admin_ms;    // between two wishes of an operator about shards, at most; 0: none
    bool members_hot;     // and at once when somebody begins to lead, and splits when there was one
    uint32_t splits;      // permille of the operator's looks that split or move a shard, or end it
    uint32_t
        kinds; // permille of the operator's looks that make another collection, or drop it (tests/lib/sim_kind.h)
    // What follows has a usual value where it is 0, or is left out.
    uint32_t nodes;       // 3 or 5 by the seed
    uint32_t short_ms;    // of a fault, at least
    uint32_t late_ms;     // of a message that is delayed, at most
    uint32_t slow_ms;     // of a disk that is slow, at most
    uint32_t think_ms;    // between two operations of a client of the shards, at most
    uint32_t patience_ms; // of a client of the shards that does not wait long
    uint32_t sticky;      // permille of the changes of shards that a router is slow to take
    // Permille of the pauses that come when a turn has read its clock, and not its mailbox.
    uint32_t amid_turn;
    uint32_t voters_fall;   // permille of the nodes that crash soon after a vote
    uint32_t leaders_alone; // permille of the leaders that are cut off at once
    // Permille of the leaders that crash soon after their election, or with their first commit.
    uint32_t leaders_fall;
    // Permille of the stops for a cut at which one half loses its copy beside the primary.
    uint32_t halves_fall;
    uint32_t looks; // permille of the operations on settings that are reads
    bool queues;    // what was sent before a cut still arrives
    bool pairs;     // a cut is of both directions
};

struct sim_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t seconds;    // with faults
    uint32_t fault_mask; // bits of enum sim_fault
    const struct sim_profile *profile;
    bool trace;
    bool lying_disk; // says PERSISTED at once: the checkers must see it
    bool brief;      // says nothing of seeds in which nothing is wrong
    bool outcomes;   // what clients and copies see is checked, not the rules that it follows from
};

// What is remembered of a node's raft from step to step, see tests/lib/sim_rules.h.
struct sim_rules {
    struct raft_group group; // after the step before
    uint64_t term, commit;
    bool leads;
    uint64_t heard_id[SIM_NODES_MAX]; // by node: its number in raft's group then
    uint64_t heard_ns[SIM_NODES_MAX]; // when the newest answer that came from that member was sent
    uint64_t read_ids[RAFT_READS_MAX], read_ns[RAFT_READS_MAX], read_floors[RAFT_READS_MAX];
    uint32_t read_count;
    bool read_confirmed[RAFT_READS_MAX];
};

// What is done to a split whose parent's primary a node has, see tests/lib/sim_halves.h.
struct sim_halving {
    uint64_t stop_ns;     // of which stop for a cut
    uint64_t dropped_ver; // of the child whose copy was dropped, the newest
    uint32_t half;        // 1 or 2; 0: neither
    bool apart;
};

struct sim_node {
    struct turn turn;
    uint64_t raft_id;  // at + 1, and more with every disk that was lost
    uint64_t led_term; // the newest
    struct sim_disk disk;
    bool up, led;
    // It shall fall when it has counted copies of what is behind that; 0: it shall not.
    uint64_t fall_above;
    uint64_t paused_until_ns;
    uint64_t held_ns, held_until_ns; // by what time it goes until then: it was stopped amid a turn
    uint64_t life;                   // grows with every start
    uint64_t boot;
    uint64_t rate; // of the monotonic clock, permille
    int64_t wall_off_ms;
    uint64_t wake_at_ns; // of the event that is queued; UINT64_MAX: none
    uint64_t last_done_ns;
    uint64_t map_version;     // of this life
    uint64_t checked_applied; // when the whole map was looked at
    struct copies copies;
    struct sim_env envs[SIM_ENVS_MAX];
    uint64_t copies_wake_ns;       // of the event that is queued
    struct map pulled;             // of another node; version 0: none (tests/lib/sim_pull.h)
    uint64_t fed_version;          // of the map, that the copies know
    bool said_dead[SIM_NODES_MAX]; // what the copies were told last
    struct sim_rules rules;
    struct sim_halving halving;
};

struct sim_turn_packet {
    struct turn_msg msg;
    size_t count; // of the command
    uint8_t bytes[];
};

// What is known of one shard, from what its copies applied: by seq.
struct sim_done {
    uint64_t term, op;
    uint32_t mask; // keys that it writes
    bool known, acked, erased;
};

struct sim_sum { // of what a shard holds at a place
    uint64_t sum;
    struct replica_sum root;
    bool known;
};

struct sim_shard_history {
    uint64_t id, collection;
    struct sim_range range;
    uint64_t parent, base, end; // where its line begins (once it has joined), and where it ended
    bool joined, ended;
    struct sim_done *rows; // by seq, those behind `base`
    uint64_t last, room;
    struct sim_sum *sums; // by seq, all of them
    uint64_t sum_room;
    struct replica_uuid *primaries; // by term
    uint64_t primary_room;
    uint64_t opened; // terms
    uint64_t acked_max;
};

// What a client of the shards may want of one key.
enum sim_data_kind { SIM_UPSERT, SIM_DELETE, SIM_READ_STRONG, SIM_READ_SESSION, SIM_READ_ANY };

struct sim_packet {
    uint64_t sent_ns;
    struct raft_msg msg;
    struct raft_group group;
    struct gossip_msg gossip;
    enum gossip_lane lane;
};

struct sim_entry {
    uint64_t term, hash;
    uint64_t version, value; // what applying it answered
    int status;
    uint64_t op; // of a client, 0: none
};

struct sim_commit {
    uint64_t term; // of the entry
    uint64_t by;   // of who counted its copies
};

struct sim_op {
    uint64_t position; // where it took effect, 0: nowhere
    uint64_t time_ms;
    uint32_t key;
    bool done; // acknowledged
};

struct sim_client {
    bool busy, reading;
    uint64_t op; // of a write: number; of a read: its id
    uint32_t key, node, tries;
    uint64_t floor; // effects that the operation must see
    uint64_t wait_life, wait_position, wait_term;
    uint64_t wait_floor; // what a read that is under way must know of
    bool read_ready, refused;
};

// What the log says of raft's group, by position.
struct sim_config {
    uint64_t hash, term;
    bool changed;
};

struct sim_members {
    struct raft_group group; // as of the last position that anybody applied
    struct sim_config *configs;
    uint64_t config_room, changed_at;
    uint64_t changes, transfers, refused, lost; // counted
};

// What is known of a collection and the kind of its ids.
struct sim_collection {
    uint64_t id;
    uint64_t version;         // of the newest map that anybody had with it in it
    uint64_t decided_version; // of the oldest one that has its kind; 0: none
    uint8_t known;            // enum map_id_kind, by that newest map
    uint8_t decided;          // its kind, by any map
    uint32_t written;         // kinds of the ids that upserts were applied with, by bits
};

struct sim {
    struct sim_options options;
    struct prng prng;
    struct sim_heap heap;
    uint64_t now_ns, hash, events;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS];
    bool cut[SIM_PLACES_MAX][SIM_PLACES_MAX];
    uint32_t loss, doubled, slow_net, slow_disk[SIM_NODES_MAX]; // open faults of each
    struct {
        enum sim_fault kind;
        uint32_t a, b;
        bool open;
    } faults[SIM_FAULTS_OPEN];
    bool calm;    // no more faults
    bool stopped; // clients begin nothing more
    // What has happened, for the checkers.
    struct sim_entry *history; // by position
    uint64_t history_last, history_room;
    uint64_t *leaders; // by term
    uint64_t leader_room, leader_terms;
    struct sim_op *ops;
    uint64_t op_count, op_room;
    uint64_t floors[SIM_KEYS];
    struct sim_commit *commits;      // by position
    uint64_t committed, commit_room; // as far as anybody knows
    uint64_t read_count;
    // Counted.
    uint64_t ops_done, writes_done, fault_count[SIM_FAULT_KINDS], installs, retries, lost_writes;
    struct turn_output out;
    // The shards.
    struct copies_output copies_out;
    uint64_t env_serial;
    struct sim_shard_history shards[SIM_LINES_MAX];
    uint32_t shard_count;
    uint64_t lines_version; // of the map that the lines are read of
    uint64_t first; // the collection that all clients but those of kinds use; 0: there is none yet
    struct sim_collection collections[SIM_OTHERS_MAX + 2];
    uint32_t collection_count;
    uint64_t decided; // kinds of ids
    uint64_t splits, moves, cuts, rots, rots_voted, rots_verified, buckets_named, halves;
    uint64_t halves_apart; // see tests/lib/sim_halves.h
    uint64_t pulls;        // see tests/lib/sim_pull.h
    uint64_t data_floors[SIM_SHARDS][SIM_SHARD_KEYS];
    uint64_t leases_changed_ns;
    uint64_t map_seen; // the newest version, by who checked
    uint64_t data_done[5], data_retries, shard_installs, wipes;
    struct sim_members members;
    uint64_t drains, preferred;      // by an operator
    uint64_t words;                  // of the failure detector to copies
    uint64_t refusals;               // of connections, that turns were told
    uint64_t shrinks, shrinks_early; // copies that are to leave the set; before the whole wait
    struct sim_routers *routers;     // tests/lib/sim_router.h
};

#define SIM_REQUIRE(sim, condition, claim)                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_violation(sim, claim, __FILE__, __LINE__);                                         \
    } while (0)

static inline void
sim_print_options(const struct sim_options *options, FILE *file)
{
    fprintf(file, "--seed %" PRIu64 " --profile %s --nodes %u --seconds %u --faults 0x%x%s%s",
            options->seed, options->profile->name, options->nodes, options->seconds,
            options->fault_mask, options->lying_disk ? " --lying-disk" : "",
            options->outcomes ? " --outcomes" : "");
}

// What every node has, for who looks for the cause.
static inline void
sim_print_state(const struct sim *sim)
{
    static char text[65536];
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (!node->up)
            continue;
        turn_describe(&node->turn, text, sizeof text);
        printf("node %u %s\n", i + 1, text);
        map_describe(&node->turn.map, text, sizeof text);
        printf("%s\n", text);
        copies_describe(&node->copies, text, sizeof text);
        printf("%s\n", text);
    }
}

__attribute__((noreturn)) static inline void
sim_violation(const struct sim *sim, const char *claim, const char *file, int line)
{
    printf("VIOLATION at %.6f s: %s (%s:%d)\n  omensim ", (double)sim->now_ns / 1e9, claim, file,
           line);
    sim_print_options(&sim->options, stdout);
    printf("\n");
    if (sim->options.trace)
        sim_print_state(sim);
    fflush(stdout);
    exit(1);
}

static inline void
sim_mix(struct sim *sim, uint64_t word)
{
    sim->hash = mix64(sim->hash + 0x9e3779b97f4a7c15ull + word);
}

// Of whom that number in raft's group is; SIM_NOWHERE: nobody's, or that of a disk that was lost.
static inline uint32_t
sim_at_of(const struct sim *sim, uint64_t member)
{
    const uint64_t at = (member - 1) % SIM_MEMBER_LIVES;
    const bool known = member != 0 && at < sim->options.nodes && sim->nodes[at].raft_id == member;
    return known ? (uint32_t)at : SIM_NOWHERE;
}

static inline uint32_t
sim_zone(const struct sim *sim, uint32_t at)
{
    return at % (1 + (uint32_t)(sim->options.seed / 5 % SIM_ZONES_MAX));
}

// Of a profile: 0 is the usual.
static inline uint32_t
sim_usual(uint32_t given, uint32_t usual)
{
    return given != 0 ? given : usual;
}

static inline uint64_t
sim_slow(struct sim *sim) // what a slow disk takes longer
{
    return prng_below(&sim->prng, sim_usual(sim->options.profile->slow_ms, 150) * 1000000);
}

static inline bool
sim_chance(struct sim *sim, uint32_t permille)
{
    return prng_below(&sim->prng, 1000) < permille;
}

static inline uint64_t
sim_node_time(const struct sim *sim, uint32_t at)
{
    const struct sim_node *node = &sim->nodes[at];
    return (sim->now_ns < node->held_until_ns ? node->held_ns : sim->now_ns) / 1000 * node->rate;
}

// In some seeds copies remember operations for 30 s, two thirds of it for those who ask again, and 128 of them: in others for ever. A
// seed's, and drawn of nothing.
static inline bool
sim_forgets(const struct sim *sim)
{
    return sim->options.seed % 8 == 5;
}

static inline uint64_t
sim_node_wall(const struct sim *sim, uint32_t at)
{
    return (uint64_t)((int64_t)(SIM_EPOCH_MS + sim->now_ns / SIM_MS) + sim->nodes[at].wall_off_ms);
}

static inline struct gossip_address
sim_address(uint32_t at)
{
    struct gossip_address address = {.port = 7700};
    address.ip[10] = address.ip[11] = 0xff;
    address.ip[12] = 10;
    address.ip[15] = (uint8_t)(at + 1);
    return address;
}

#endif
