// tests/lib/raft_storm.h -- whole lives of a raft group in bad weather, by seed.
//
// Shape: shell.
//
// Time goes in rounds, a tick of most clocks each. A message takes some rounds, is lost, doubled, or stuck on a link that stands
// still and comes when nobody thinks of it any more. Disks lag; processes and clocks stop; nodes crash one by one or most at
// once. Faults come at random and, out of spite, just when somebody begins to lead or learns that more is committed: those
// are the moments after which a crash or a cut hurts. Everyone who believes that it leads is asked for reads, proposals and
// changes of the configuration, several a round.
// storm_heal ends it: then the group must elect a leader, commit and be alike everywhere within a bounded time.
#ifndef OMEN_TESTS_RAFT_STORM_H
#define OMEN_TESTS_RAFT_STORM_H
#include "base/prng.h"
#include "tests/lib/raft_cluster.h"

enum { STORM_ROUNDS = 1000 };

struct storm_peer {
    uint64_t down_until, frozen_until, disk_until;
    uint32_t clock, disk; // of a hundred rounds in so many it ticks, syncs
    bool led;
    uint64_t commit;
};

struct storm {
    struct cluster *cluster;
    struct prng prng;
    uint64_t round, cut_until, stall_until[CLUSTER_PEERS][CLUSTER_PEERS];
    struct storm_peer peers[CLUSTER_PEERS];
    // The climate.
    bool lockstep; // clocks run alike, also those of who is down
    uint32_t delay, loss, proposals, reads, changes, faults, spite;
};

static inline uint32_t
storm_draw(struct storm *storm, uint32_t bound)
{
    return prng_below(&storm->prng, bound);
}

// With a chance of so many in a hundred.
static inline bool
storm_chance(struct storm *storm, uint32_t percent)
{
    return storm_draw(storm, 100) < percent;
}

static inline uint32_t
storm_pick(struct storm *storm, const uint32_t *choices, uint32_t count)
{
    return choices[storm_draw(storm, count)];
}

static inline struct storm
storm_open(uint64_t seed)
{
    static const uint32_t percents[] = {0, 10, 40}, speeds[] = {100, 100, 60, 15};
    struct storm storm = {0};
    prng_init(&storm.prng, seed);
    struct raft_config config = cluster_config();
    storm.lockstep = storm_chance(&storm, 25);
    config.reads = storm.lockstep ? RAFT_READS_LEASE : RAFT_READS_SAFE;
    config.pre_vote = storm_chance(&storm, 60);
    // Where neither is on, nodes that were removed disturb for ever.
    config.check_quorum = storm.lockstep || !config.pre_vote || storm_chance(&storm, 50);
    config.inflight_max = storm_chance(&storm, 50) ? 1 : 1 + storm_draw(&storm, 8);
    config.append_bytes_max = storm_chance(&storm, 50) ? 1 : 1 + storm_draw(&storm, 300);
    config.apply_bytes_max = 1 + storm_draw(&storm, 200);
    config.tail_retain = storm_draw(&storm, 10);
    storm.delay = storm_draw(&storm, 4);
    storm.loss = storm_draw(&storm, 6);
    storm.proposals = 5 + storm_draw(&storm, 40);
    storm.reads = 5 + storm_draw(&storm, 60);
    storm.changes = storm_pick(&storm, percents, 3);
    storm.faults = 2 + storm_draw(&storm, 8);
    storm.spite = storm_pick(&storm, percents, 3);
    const uint32_t count = 3 + storm_draw(&storm, 4), voters = 3 + storm_draw(&storm, count - 2);
    for (uint32_t i = 0; i < count; i++) {
        storm.peers[i].clock = storm_pick(&storm, speeds, 3);
        storm.peers[i].disk = storm_pick(&storm, speeds, 4);
    }
    storm.cluster = cluster_open(count, voters, &config, seed);
    storm.cluster->hold_sync = true;
    storm.cluster->reads_checked = true;
    return storm;
}

static inline bool
storm_awake(const struct storm *storm, uint32_t i)
{
    return storm->cluster->peers[i].up && storm->peers[i].frozen_until <= storm->round;
}

static inline bool
storm_leads(const struct storm *storm, uint32_t i)
{
    return storm->cluster->peers[i].up && storm->cluster->peers[i].raft.state == RAFT_LEADER;
}

// ---- faults ----

// For a moment, or for long enough to elect somebody else and go on.
static inline uint64_t
storm_until(struct storm *storm)
{
    const uint32_t moment = 2 + storm_draw(storm, 15), long_time = 25 + storm_draw(storm, 60);
    return storm->round + (storm_chance(storm, 50) ? moment : long_time);
}

static inline uint32_t
storm_victim(struct storm *storm)
{
    const uint32_t leader = cluster_leader(storm->cluster);
    const uint32_t other = storm_draw(storm, storm->cluster->count);
    return leader < RAFT_MEMBERS_MAX && storm_chance(storm, 60) ? leader : other;
}

static inline void
storm_crash(struct storm *storm, uint32_t i)
{
    if (!storm->cluster->peers[i].up)
        return;
    cluster_crash(storm->cluster, i);
    storm->peers[i].down_until = storm_until(storm);
}

// All links between two random sides, cut or standing still.
static inline void
storm_divide(struct storm *storm, bool stall)
{
    struct cluster *cluster = storm->cluster;
    const uint32_t sides = 1 + storm_draw(storm, (1u << cluster->count) - 2);
    const uint64_t until = storm_until(storm);
    const bool one_way = storm_chance(storm, 30);
    for (uint32_t from = 0; from < cluster->count; from++)
        for (uint32_t to = 0; to < cluster->count; to++) {
            const uint32_t a = sides >> from & 1, b = sides >> to & 1;
            if (a == b || (one_way && a == 0))
                continue;
            if (stall)
                storm->stall_until[from][to] = until;
            else
                cluster->cut[from][to] = true;
        }
    if (!stall)
        storm->cut_until = until;
}

static inline void
storm_fault(struct storm *storm)
{
    struct cluster *cluster = storm->cluster;
    const uint32_t victim = storm_victim(storm);
    const uint64_t until = storm_until(storm);
    switch (storm_draw(storm, 10)) {
    case 0:
    case 1:
        storm_crash(storm, victim);
        break;
    case 2: // most of them
        for (uint32_t i = 0; i < cluster->count; i++)
            if (storm_chance(storm, 60))
                storm_crash(storm, i);
        break;
    case 3:
    case 4:
        storm_divide(storm, false);
        break;
    case 5:
        cluster_isolate(cluster, victim, true);
        storm->cut_until = until;
        break;
    case 6:
        storm_divide(storm, true);
        break;
    case 7:
        storm->peers[victim].frozen_until = until;
        break;
    case 8:
        storm->peers[victim].disk_until = until;
        break;
    default:
        if (storm_awake(storm, victim)) {
            const uint64_t to = 1 + storm_draw(storm, cluster->count);
            cluster_step(cluster, victim,
                         (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = to});
        }
        break;
    }
}

// Just when it hurts.
static inline void
storm_spite(struct storm *storm, uint32_t i)
{
    struct storm_peer *peer = &storm->peers[i];
    const bool leads = storm_leads(storm, i);
    const uint64_t commit = leads ? storm->cluster->peers[i].raft.commit : 0;
    const bool moment = leads && (!peer->led || commit > peer->commit);
    peer->led = leads;
    peer->commit = commit;
    if (!moment || !storm_chance(storm, storm->spite))
        return;
    switch (storm_draw(storm, 4)) {
    case 0:
        storm_crash(storm, i);
        break;
    case 1:
        storm_fault(storm);
        break;
    default:
        storm_divide(storm, storm_chance(storm, 30));
        break;
    }
}

// ---- the network ----

// Decides when what was sent since arrives.
static inline void
storm_post(struct storm *storm)
{
    struct cluster *cluster = storm->cluster;
    for (uint32_t at = 0; at < cluster->flight_count; at++) {
        struct cluster_flight *flight = cluster->flights[at];
        if (flight->due != 0)
            continue;
        if (storm_chance(storm, storm->loss) || cluster->flight_count > CLUSTER_FLIGHTS / 2) {
            cluster_free_flight(cluster_take(cluster, at--));
            continue;
        }
        flight->due = storm->round + storm_draw(storm, storm->delay + 1);
        if (storm_chance(storm, 3))
            flight->due += storm_draw(storm, 40);
        const uint64_t from = flight->msg.from - 1, to = flight->msg.to - 1;
        if (from < CLUSTER_PEERS && to < CLUSTER_PEERS &&
            storm->stall_until[from][to] > flight->due)
            flight->due = storm->stall_until[from][to];
        if (flight->msg.kind != RAFT_SNAPSHOT && storm_chance(storm, 2))
            cluster_send(cluster, &flight->msg, 0); // doubled
    }
}

static inline void
storm_rest(struct storm *storm, uint32_t i, uint32_t chance)
{
    if (!storm_awake(storm, i))
        return;
    if (storm->peers[i].disk_until <= storm->round && storm_chance(storm, chance))
        cluster_sync(storm->cluster, i);
    if (storm_chance(storm, 80))
        cluster_settle(storm->cluster, i);
    storm_spite(storm, i);
}

static inline void
storm_deliver(struct storm *storm)
{
    struct cluster *cluster = storm->cluster;
    storm_post(storm);
    for (uint32_t at = 0; at + 1 < cluster->flight_count; at++) { // some disorder
        if (!storm_chance(storm, 10))
            continue;
        const uint32_t other = at + storm_draw(storm, cluster->flight_count - at);
        struct cluster_flight *flight = cluster->flights[at];
        cluster->flights[at] = cluster->flights[other];
        cluster->flights[other] = flight;
    }
    for (uint32_t at = 0, most = 2000; at < cluster->flight_count && most > 0;) {
        const struct cluster_flight *flight = cluster->flights[at];
        const uint64_t to = flight->msg.to - 1;
        if (flight->due > storm->round ||
            (to < cluster->count && storm->peers[to].frozen_until > storm->round)) {
            at++;
            continue;
        }
        most--;
        cluster_deliver(cluster, cluster_take(cluster, at));
        if (to < cluster->count)
            storm_rest(storm, (uint32_t)to, storm->peers[to].disk / 2);
        storm_post(storm);
    }
}

// ---- those who ask ----

static inline void
storm_change(struct storm *storm, uint32_t i)
{
    struct raft_change change = {.count = 1};
    const uint32_t shape = storm_draw(storm, 10);
    if (shape >= 6) {
        change.transition = (enum raft_transition)storm_draw(storm, 3);
        change.count = storm_draw(storm, 3);
    }
    for (uint32_t item = 0; item < change.count; item++) {
        static const enum raft_change_kind kinds[] = {RAFT_ADD_VOTER, RAFT_ADD_VOTER, RAFT_REMOVE,
                                                      RAFT_REMOVE, RAFT_ADD_LEARNER};
        change.items[item].kind = kinds[storm_draw(storm, 5)];
        change.items[item].id = 1 + storm_draw(storm, storm->cluster->count);
    }
    cluster_step(storm->cluster, i,
                 (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
}

static inline void
storm_ask(struct storm *storm, uint32_t i)
{
    struct cluster *cluster = storm->cluster;
    struct cluster_peer *peer = &cluster->peers[i];
    peer->read_count = 0;
    if (storm_chance(storm, 2)) {
        const uint64_t back = storm_draw(storm, 8);
        const uint64_t position = peer->raft.applied > back ? peer->raft.applied - back : 0;
        cluster_step(cluster, i,
                     (struct raft_input){.kind = RAFT_IN_COMPACT, .position = position});
    }
    if (storm_chance(storm, storm->changes) && tail_last(&peer->raft.tail) < CLUSTER_LOG - 200)
        storm_change(storm, i);
    if (storm_chance(storm, storm->proposals) && tail_last(&peer->raft.tail) < CLUSTER_LOG - 200)
        cluster_propose(cluster, i, "abcdefgh");
    for (uint32_t read = 0; read < 2 && storm_chance(storm, storm->reads); read++)
        cluster_step(
            cluster, i,
            (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = cluster->commit_max});
    if (storm_chance(storm, 1)) {
        struct raft_input in = {.kind = RAFT_IN_REPORT};
        in.report.kind = (enum raft_report)storm_draw(storm, 2);
        in.report.peer = storm_draw(storm, cluster->count + 1);
        cluster_step(cluster, i, in);
    }
}

// ---- a life ----

static inline void
storm_round(struct storm *storm)
{
    struct cluster *cluster = storm->cluster;
    storm->round++;
    if (storm->cut_until <= storm->round)
        memset(cluster->cut, 0, sizeof cluster->cut);
    if (storm_chance(storm, storm->faults))
        storm_fault(storm);
    for (uint32_t i = 0; i < cluster->count; i++) {
        struct cluster_peer *peer = &cluster->peers[i];
        if (storm->lockstep)
            peer->now_ns = storm->round * CLUSTER_TICK_NS;
        else if (storm_awake(storm, i) && storm_chance(storm, storm->peers[i].clock))
            peer->now_ns += CLUSTER_TICK_NS;
        if (!peer->up && storm->peers[i].down_until <= storm->round)
            cluster_start(cluster, i);
        if (storm_leads(storm, i) && storm_awake(storm, i))
            storm_ask(storm, i); // also before it sees what the time is
        if (storm_awake(storm, i))
            cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_WAKE});
        storm_rest(storm, i, storm->peers[i].disk);
    }
    storm_deliver(storm);
    if (storm->round % 16 == 0)
        cluster_match_logs(cluster);
}

static inline void
storm_heal(struct storm *storm)
{
    struct cluster *cluster = storm->cluster;
    cluster->hold_sync = false;
    memset(cluster->cut, 0, sizeof cluster->cut);
    for (uint32_t i = 0; i < cluster->count; i++)
        if (!cluster->peers[i].up)
            cluster_start(cluster, i);
    cluster_run(cluster);
    uint32_t ticks = 0;
    while (cluster_leader(cluster) == RAFT_MEMBERS_MAX) {
        cluster_elapse(cluster, 1);
        cluster_must(++ticks < 1000);
    }
    cluster_elapse(cluster, 100);
    const uint32_t leader = cluster_leader(cluster);
    cluster_must(leader < RAFT_MEMBERS_MAX);
    const struct cluster_peer *lead = &cluster->peers[leader];
    const uint64_t commit = lead->raft.commit;
    cluster_must(cluster_propose(cluster, leader, "last") == RAFT_ANSWER_OK);
    cluster_elapse(cluster, 60);
    cluster_must(lead->raft.commit > commit);
    for (uint32_t m = 0; m < lead->raft.group.count; m++) {
        const struct cluster_peer *peer = &cluster->peers[lead->raft.group.members[m].id - 1];
        cluster_must(peer->cache.applied == lead->cache.applied);
        cluster_must(peer->cache.state == lead->cache.state);
        cluster_must(memcmp(&peer->cache.group, &lead->cache.group, sizeof lead->cache.group) == 0);
    }
    cluster_match_logs(cluster);
}

static inline void
storm_run(uint64_t seed)
{
    struct storm storm = storm_open(seed);
    for (uint32_t round = 0; round < STORM_ROUNDS; round++)
        storm_round(&storm);
    storm_heal(&storm);
    cluster_close(storm.cluster);
}

#endif
