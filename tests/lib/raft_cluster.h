// tests/lib/raft_cluster.h -- a few raft nodes with disks that lose what is not synced and a network that a test commands.
//
// Shape: shell.
//
// A peer's disk is two copies: what was written (`cache`) and what is durable. cluster_sync makes the first the second and
// says PERSISTED; a crash does the reverse. Messages wait in a list until they are delivered, dropped or doubled.
// Four properties of the paper (figure 3) are asserted all along: one leader a term, leaders have what is committed, logs
// match (cluster_match_logs), and nobody applies another entry at a position than somebody else did.
#ifndef OMEN_TESTS_RAFT_CLUSTER_H
#define OMEN_TESTS_RAFT_CLUSTER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "raft/raft.h"
#include "tests/lib/check_main.h"

enum {
    CLUSTER_PEERS = 7,
    CLUSTER_LOG = 1024,
    CLUSTER_FLIGHTS = 8192,
    CLUSTER_BYTES = 48,
    CLUSTER_TERMS = 4096,
    CLUSTER_TICK_NS = 1000,
};

// Check writes to a file for each of its asserts that holds; these only speak when they do not.
#define cluster_must(expression)                                                                   \
    do {                                                                                           \
        if (!(expression))                                                                         \
            cluster_broken(__FILE__, __LINE__, #expression);                                       \
    } while (0)

// In a process that is there to find out, the end of it is the answer.
static bool cluster_is_trial;

static inline void
cluster_broken(const char *file, int line, const char *expression)
{
    if (cluster_is_trial) {
        fprintf(stderr, "%s:%d: %s\n", file, line, expression);
        _exit(1);
    }
    ck_abort_msg("%s:%d: %s", file, line, expression);
}

struct cluster_entry {
    uint64_t term;
    enum raft_entry_kind kind;
    uint32_t count;
    uint8_t bytes[CLUSTER_BYTES];
};

struct cluster_disk {
    struct raft_hard_state hard_state;
    uint64_t base_position, base_term, last, applied;
    uint64_t state; // hash of all that was applied
    struct raft_group group;
    struct cluster_entry log[CLUSTER_LOG]; // by position
};

struct cluster_flight {
    uint64_t due; // for whoever delivers by time (raft_storm.h); 0 until it is looked at
    struct raft_msg msg;
    struct raft_group group;
    uint64_t state; // a snapshot's bytes
    uint8_t chunk[8];
    struct raft_entry *entries;
    struct cluster_entry *bytes;
};

struct cluster_peer {
    struct raft raft;
    bool up;
    uint64_t now_ns, wake_ns, number;
    struct cluster_disk cache, durable;
    uint64_t made_state;    // of the snapshot it makes
    uint64_t offered_state; // of the one it has made
    uint64_t staging_state; // of the one it gets
    uint64_t snapshot_wanted;
    uint64_t commit_seen;   // checked so far
    uint64_t applied_count; // since it started
    struct raft_read reads[RAFT_READS_MAX];
    uint32_t read_count;
    enum raft_answer answer;
    struct raft_note notes[256]; // all there were
    uint32_t note_count;
};

struct cluster {
    struct cluster_peer peers[CLUSTER_PEERS]; // peer i has the id i + 1
    uint32_t count;
    struct raft_config config;
    struct cluster_flight *flights[CLUSTER_FLIGHTS];
    uint32_t flight_count;
    bool cut[CLUSTER_PEERS][CLUSTER_PEERS]; // from, to
    bool hold_sync;                         // cluster_run does not sync
    uint64_t leaders[CLUSTER_TERMS];        // by term
    struct {
        uint64_t term, hash;
        uint64_t by; // term of who knew first that it is committed
    } committed[CLUSTER_LOG];
    uint64_t committed_last;
    uint64_t commit_max; // of all leaders
    // read_id is commit_max of when it was asked: the answer must not be below it.
    bool reads_checked;
    uint64_t seed;
};

static inline struct raft_config
cluster_config(void)
{
    return (struct raft_config){
        .tick_ns = CLUSTER_TICK_NS,
        .election_ticks = 10,
        .heartbeat_ticks = 1,
        .pre_vote = true,
        .check_quorum = true,
        .step_down_on_removal = true,
        .inflight_max = 16,
        .inflight_bytes_max = 1u << 20,
        .append_bytes_max = 4096,
        .apply_bytes_max = 1u << 20,
        .uncommitted_bytes_max = 1u << 20,
        .chunk_bytes = 3,
        .tail_entries_max = 512,
        .tail_bytes_max = 4u << 20,
        .tail_retain = 0,
    };
}

static inline void
cluster_free_flight(struct cluster_flight *flight)
{
    free(flight->entries);
    free(flight->bytes);
    free(flight);
}

static inline struct cluster_flight *
cluster_copy(const struct raft_msg *msg, uint64_t state)
{
    struct cluster_flight *flight = calloc(1, sizeof *flight);
    flight->msg = *msg;
    if (msg->group != NULL) {
        flight->group = *msg->group;
        flight->msg.group = &flight->group;
    }
    if (msg->kind == RAFT_SNAPSHOT) {
        memcpy(flight->chunk, (const uint8_t *)&state + msg->offset, msg->chunk_bytes);
        flight->msg.chunk = flight->chunk;
        flight->msg.chunk_hash = hash_bytes(flight->chunk, msg->chunk_bytes);
    }
    if (msg->entry_count > 0) {
        flight->entries = calloc(msg->entry_count, sizeof *flight->entries);
        flight->bytes = calloc(msg->entry_count, sizeof *flight->bytes);
        for (uint32_t i = 0; i < msg->entry_count; i++) {
            flight->entries[i] = msg->entries[i];
            cluster_must(msg->entries[i].byte_count <= CLUSTER_BYTES);
            if (msg->entries[i].byte_count > 0)
                memcpy(flight->bytes[i].bytes, msg->entries[i].bytes, msg->entries[i].byte_count);
            flight->entries[i].bytes = flight->bytes[i].bytes;
        }
        flight->msg.entries = flight->entries;
    }
    return flight;
}

static inline void
cluster_send(struct cluster *cluster, const struct raft_msg *msg, uint64_t state)
{
    cluster_must(cluster->flight_count < CLUSTER_FLIGHTS);
    cluster->flights[cluster->flight_count++] = cluster_copy(msg, state);
}

static inline uint64_t
cluster_hash(const struct raft_entry *entry)
{
    return hash_bytes(entry->bytes, entry->byte_count) ^ (uint64_t)entry->kind;
}

// State machine safety: what one node knows to be committed no other node knows otherwise.
static inline void
cluster_check_commit(struct cluster *cluster, struct cluster_peer *peer)
{
    const struct raft *raft = &peer->raft;
    if (peer->commit_seen < raft->tail.base_position)
        peer->commit_seen = raft->tail.base_position;
    while (peer->commit_seen < raft->commit) {
        const struct raft_entry *entry = tail_at(&raft->tail, ++peer->commit_seen);
        const uint64_t at = entry->position, hash = cluster_hash(entry);
        if (at > cluster->committed_last) {
            cluster_must(at == cluster->committed_last + 1);
            cluster->committed_last++;
            cluster->committed[at].term = entry->term;
            cluster->committed[at].hash = hash;
            cluster->committed[at].by = raft->term;
        }
        cluster_must(cluster->committed[at].term == entry->term);
        cluster_must(cluster->committed[at].hash == hash);
    }
}

static inline void
cluster_apply(struct cluster *cluster, struct cluster_peer *peer, const struct raft_entry *entry)
{
    const uint64_t hash = cluster_hash(entry);
    struct cluster_disk *disk = &peer->cache;
    cluster_must(entry->position == disk->applied + 1);
    cluster_must(entry->position <= peer->durable.last); // never what a crash could take back
    cluster_must(entry->position <= cluster->committed_last);
    cluster_must(cluster->committed[entry->position].term == entry->term);
    cluster_must(cluster->committed[entry->position].hash == hash);
    const uint64_t mixed[] = {disk->state, entry->position, hash};
    disk->state = hash_bytes(mixed, sizeof mixed);
    disk->applied = entry->position;
    peer->applied_count++;
}

static inline void
cluster_obey(struct cluster *cluster, struct cluster_peer *peer, const struct raft_output *out)
{
    struct cluster_disk *disk = &peer->cache;
    disk->hard_state = out->hard_state;
    if (out->chunk != NULL)
        memcpy((uint8_t *)&peer->staging_state + out->chunk->offset, out->chunk->chunk,
               out->chunk->chunk_bytes);
    if (out->install) {
        disk->base_position = disk->last = disk->applied = out->applied;
        disk->base_term = peer->raft.tail.base_term;
        disk->state = peer->staging_state;
    }
    if (out->truncate_from != 0) {
        cluster_must(out->truncate_from > disk->applied);
        disk->last = out->truncate_from - 1;
    }
    if (out->compact_through != 0) {
        cluster_must(out->compact_through <= disk->applied);
        disk->base_term = disk->log[out->compact_through].term;
        disk->base_position = out->compact_through;
    }
    for (uint32_t i = 0; i < out->append.count; i++) {
        const struct raft_entry *entry = &out->append.entries[i];
        cluster_must(entry->position == disk->last + 1);
        cluster_must(entry->position < CLUSTER_LOG);
        struct cluster_entry *slot = &disk->log[++disk->last];
        *slot = (struct cluster_entry){entry->term, entry->kind, entry->byte_count, {0}};
        if (entry->byte_count > 0)
            memcpy(slot->bytes, entry->bytes, entry->byte_count);
    }
    if (out->sync)
        peer->number = out->persist_number;
    for (uint32_t i = 0; i < out->msg_count; i++)
        cluster_send(cluster, &out->msgs[i], peer->offered_state);
    for (uint32_t i = 0; i < out->commit.count; i++)
        cluster_apply(cluster, peer, &out->commit.entries[i]);
    cluster_must(disk->applied == out->applied);
    if (out->group != NULL)
        disk->group = *out->group;
    if (out->snapshot_wanted != 0) {
        cluster_must(out->snapshot_wanted == disk->applied);
        peer->snapshot_wanted = out->snapshot_wanted;
        peer->made_state = disk->state;
    }
    for (uint32_t i = 0; i < out->read_count && cluster->reads_checked; i++)
        if (out->reads[i].answer == RAFT_ANSWER_OK)
            cluster_must(out->reads[i].position >= out->reads[i].read_id);
    for (uint32_t i = 0; i < out->read_count && peer->read_count < RAFT_READS_MAX; i++)
        peer->reads[peer->read_count++] = out->reads[i];
    for (uint32_t i = 0; i < out->note_count; i++)
        peer->notes[peer->note_count++ % 256] = out->notes[i];
    peer->wake_ns = out->wake_ns;
    peer->answer = out->answer;
}

// Election safety and leader completeness.
static inline void
cluster_check_leader(struct cluster *cluster, const struct cluster_peer *peer)
{
    const struct raft *raft = &peer->raft;
    if (raft->state != RAFT_LEADER)
        return;
    cluster_must(raft->term < CLUSTER_TERMS);
    uint64_t *leader = &cluster->leaders[raft->term];
    if (*leader == 0) {
        *leader = raft->config.id;
        // Who is elected late, when there is a newer term already, need not have what that committed.
        for (uint64_t at = tail_first(&raft->tail);
             at <= cluster->committed_last && cluster->committed[at].by < raft->term; at++) {
            cluster_must(at <= tail_last(&raft->tail));
            cluster_must(tail_at(&raft->tail, at)->term == cluster->committed[at].term);
        }
    }
    cluster_must(*leader == raft->config.id);
}

static inline void
cluster_step(struct cluster *cluster, uint32_t i, struct raft_input in)
{
    static struct raft_output out;
    struct cluster_peer *peer = &cluster->peers[i];
    cluster_must(peer->up);
    in.now_ns = peer->now_ns;
    raft_step(&peer->raft, &in, &out);
    raft_check(&peer->raft);
    cluster_check_commit(cluster, peer);
    cluster_obey(cluster, peer, &out);
    cluster_check_leader(cluster, peer);
    if (peer->raft.state == RAFT_LEADER && peer->raft.commit > cluster->commit_max)
        cluster->commit_max = peer->raft.commit;
}

static inline void
cluster_start(struct cluster *cluster, uint32_t i)
{
    struct cluster_peer *peer = &cluster->peers[i];
    struct cluster_disk *disk = &peer->durable;
    cluster_must(!peer->up);
    peer->cache = *disk;
    static struct raft_entry entries[CLUSTER_LOG];
    const uint32_t count = (uint32_t)(disk->last - disk->base_position);
    for (uint32_t e = 0; e < count; e++) {
        const struct cluster_entry *from = &disk->log[disk->base_position + 1 + e];
        entries[e] = (struct raft_entry){disk->base_position + 1 + e, from->term, from->kind,
                                         from->count, from->bytes};
    }
    const struct raft_durable durable = {
        .hard_state = disk->hard_state,
        .applied = disk->applied,
        .base_position = disk->base_position,
        .base_term = disk->base_term,
        .group = disk->group,
        .entries = entries,
        .entry_count = count,
    };
    struct raft_config config = cluster->config;
    config.id = i + 1;
    raft_init(&peer->raft, &config, cluster->seed * 1000 + i + peer->now_ns);
    peer->up = true;
    peer->commit_seen = disk->base_position;
    peer->number = peer->snapshot_wanted = 0;
    peer->applied_count = peer->read_count = 0;
    peer->staging_state = 0;
    cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_START, .durable = &durable});
    cluster_must(peer->raft.started);
}

static inline void
cluster_crash(struct cluster *cluster, uint32_t i)
{
    raft_fini(&cluster->peers[i].raft);
    cluster->peers[i].up = false;
}

// The first `voters` of `count` peers are the group; the rest know nobody. They must get the first configuration, which no
// entry holds, by a snapshot: then the log begins at 2. No configuration: cluster_config.
static inline struct cluster *
cluster_open(uint32_t count, uint32_t voters, const struct raft_config *config, uint64_t seed)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    cluster->count = count;
    cluster->config = config != NULL ? *config : cluster_config();
    cluster->seed = seed;
    for (uint32_t i = 0; i < count; i++) {
        struct cluster_disk *disk = &cluster->peers[i].durable;
        if (count > voters && i < voters) {
            disk->base_position = disk->last = disk->applied = disk->hard_state.commit = 1;
            cluster->committed_last = 1;
        }
        for (uint32_t v = 0; i < voters && v < voters; v++)
            disk->group.members[disk->group.count++] = (struct raft_member){v + 1, RAFT_VOTER};
        cluster_start(cluster, i);
    }
    return cluster;
}

static inline void
cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->count; i++)
        if (cluster->peers[i].up)
            cluster_crash(cluster, i);
    for (uint32_t i = 0; i < cluster->flight_count; i++)
        cluster_free_flight(cluster->flights[i]);
    free(cluster);
}

// What was written is durable from now on. False: there was nothing.
static inline bool
cluster_sync(struct cluster *cluster, uint32_t i)
{
    struct cluster_peer *peer = &cluster->peers[i];
    if (!peer->up)
        return false;
    peer->durable = peer->cache;
    if (peer->raft.persisted == peer->number)
        return false;
    cluster_step(cluster, i,
                 (struct raft_input){.kind = RAFT_IN_PERSISTED, .persist_number = peer->number});
    return true;
}

static inline struct cluster_flight *
cluster_take(struct cluster *cluster, uint32_t at)
{
    struct cluster_flight *flight = cluster->flights[at];
    cluster->flight_count--;
    memmove(&cluster->flights[at], &cluster->flights[at + 1],
            (cluster->flight_count - at) * sizeof cluster->flights[0]);
    return flight;
}

// Delivers, unless the way is cut or nobody is there.
static inline void
cluster_deliver(struct cluster *cluster, struct cluster_flight *flight)
{
    const uint64_t from = flight->msg.from, to = flight->msg.to;
    const bool cut = from - 1 < CLUSTER_PEERS && to - 1 < CLUSTER_PEERS && // others may send, too
                     cluster->cut[from - 1][to - 1];
    if (to >= 1 && to <= cluster->count && cluster->peers[to - 1].up && !cut)
        cluster_step(cluster, (uint32_t)to - 1,
                     (struct raft_input){.kind = RAFT_IN_MESSAGE, .message = &flight->msg});
    cluster_free_flight(flight);
}

// A message that no peer sent.
static inline void
cluster_hear(struct cluster *cluster, struct raft_msg msg)
{
    cluster_deliver(cluster, cluster_copy(&msg, 0));
}

static inline bool
cluster_settle(struct cluster *cluster, uint32_t i)
{
    struct cluster_peer *peer = &cluster->peers[i];
    bool moved = !cluster->hold_sync && cluster_sync(cluster, i);
    if (peer->up && peer->snapshot_wanted != 0) {
        struct raft_input in = {.kind = RAFT_IN_SNAPSHOT};
        in.snapshot.position = peer->snapshot_wanted;
        in.snapshot.total_bytes = sizeof peer->made_state;
        peer->snapshot_wanted = 0;
        peer->offered_state = peer->made_state;
        cluster_step(cluster, i, in);
        moved = true;
    }
    if (peer->up && peer->wake_ns <= peer->now_ns) {
        cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_WAKE});
        moved = true;
    }
    return moved;
}

// Until nothing moves.
static inline void
cluster_run(struct cluster *cluster)
{
    bool moved = true;
    for (uint32_t rounds = 0; moved; rounds++) {
        cluster_must(rounds < 100000);
        moved = false;
        for (uint32_t i = 0; i < cluster->count; i++)
            moved |= cluster_settle(cluster, i);
        while (cluster->flight_count > 0) {
            cluster_deliver(cluster, cluster_take(cluster, 0));
            moved = true;
        }
    }
}

static inline void
cluster_tick(struct cluster *cluster, uint32_t i)
{
    cluster->peers[i].now_ns += CLUSTER_TICK_NS;
    if (cluster->peers[i].up)
        cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_WAKE});
}

static inline void
cluster_elapse(struct cluster *cluster, uint32_t ticks)
{
    for (uint32_t t = 0; t < ticks; t++) {
        for (uint32_t i = 0; i < cluster->count; i++)
            cluster_tick(cluster, i);
        cluster_run(cluster);
    }
}

// Of the highest term; RAFT_MEMBERS_MAX when there is none.
static inline uint32_t
cluster_leader(const struct cluster *cluster)
{
    uint32_t leader = RAFT_MEMBERS_MAX;
    for (uint32_t i = 0; i < cluster->count; i++)
        if (cluster->peers[i].up && cluster->peers[i].raft.state == RAFT_LEADER &&
            (leader == RAFT_MEMBERS_MAX ||
             cluster->peers[i].raft.term > cluster->peers[leader].raft.term))
            leader = i;
    return leader;
}

static inline void
cluster_drop_all(struct cluster *cluster)
{
    while (cluster->flight_count > 0)
        cluster_free_flight(cluster_take(cluster, 0));
}

// Has peer i elected, with time standing still.
static inline void
cluster_elect(struct cluster *cluster, uint32_t i)
{
    cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    cluster_run(cluster);
    cluster_must(cluster->peers[i].raft.state == RAFT_LEADER);
}

// A new one, with peer 0 elected.
static inline struct cluster *
cluster_led(uint32_t count, uint32_t voters, const struct raft_config *config)
{
    struct cluster *cluster = cluster_open(count, voters, config, 1);
    cluster_elect(cluster, 0);
    return cluster;
}

static inline enum raft_answer
cluster_propose(struct cluster *cluster, uint32_t i, const char *text)
{
    struct raft_input in = {.kind = RAFT_IN_PROPOSE};
    in.proposal.bytes = (const uint8_t *)text;
    in.proposal.count = (uint32_t)strlen(text);
    cluster_step(cluster, i, in);
    return cluster->peers[i].answer;
}

static inline enum raft_answer
cluster_change(struct cluster *cluster, uint32_t i, enum raft_change_kind kind, uint64_t id)
{
    const struct raft_change change = {.count = 1, .items = {{kind, id}}};
    cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
    return cluster->peers[i].answer;
}

static inline bool
cluster_noted(const struct cluster_peer *peer, enum raft_note_kind kind)
{
    for (uint32_t i = 0; i < peer->note_count && i < 256; i++)
        if (peer->notes[i].kind == kind)
            return true;
    return false;
}

// Cuts peer i off, or (on = false) back on, in both directions.
static inline void
cluster_isolate(struct cluster *cluster, uint32_t i, bool on)
{
    for (uint32_t j = 0; j < cluster->count; j++)
        cluster->cut[i][j] = cluster->cut[j][i] = on;
}

static inline uint32_t
cluster_count_kind(const struct cluster *cluster, enum raft_msg_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < cluster->flight_count; i++)
        count += cluster->flights[i]->msg.kind == kind;
    return count;
}

// Log matching: where two logs have an entry of the same term at a position, all before is the same.
static inline void
cluster_match_logs(const struct cluster *cluster)
{
    for (uint32_t a = 0; a < cluster->count; a++)
        for (uint32_t b = a + 1; b < cluster->count; b++) {
            if (!cluster->peers[a].up || !cluster->peers[b].up)
                continue;
            const struct raft_tail *x = &cluster->peers[a].raft.tail;
            const struct raft_tail *y = &cluster->peers[b].raft.tail;
            uint64_t at = tail_last(x) < tail_last(y) ? tail_last(x) : tail_last(y);
            const uint64_t from =
                x->base_position > y->base_position ? x->base_position : y->base_position;
            bool same = false;
            for (; at > from; at--) {
                const struct raft_entry *e = tail_at(x, at), *f = tail_at(y, at);
                if (e->term == f->term)
                    same = true;
                if (!same)
                    continue;
                cluster_must(e->term == f->term);
                cluster_must(e->byte_count == f->byte_count);
                if (e->byte_count > 0)
                    cluster_must(memcmp(e->bytes, f->bytes, e->byte_count) == 0);
            }
        }
}

#endif
