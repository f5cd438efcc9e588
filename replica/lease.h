// replica/lease.h -- the leases of nodes, as the leader of the metadata gives them. A pure machine beside the replicas.
//
// Shape:   machine. Knows no raft: it asks for a round of heartbeats and is told when a quorum answered it.
// Threads: one at a time.
// Memory:  inside the struct.
// Units:   nanoseconds of this node's monotonic clock; `sent_ns` is of the asking node's, and goes back as it came.
//
// While a node holds a lease nobody else is made primary of its shards, so its primaries may answer strong reads from memory.
// It counts only for replicas that know the metadata as of the grant: else a deposed primary's node would hold one again.
// A lease counts from when it was asked for, and is granted after a round that began later: so the leader was still one then. A new
// leader cannot know what the old one granted, and waits a whole guard first; the guard is longer than the lease by what clocks may
// differ in rate.
// Rows are made by the map alone: who is not in it, or asks as another process than the map has, is refused and leaves no trace.
#ifndef OMEN_REPLICA_LEASE_H
#define OMEN_REPLICA_LEASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_NODES_MAX 1024u // as many as the map of the cluster has

struct lease_config {
    uint64_t lease_ns;
    uint64_t guard_ns; // above lease_ns
};

struct lease_row {
    uint64_t node, boot;
    uint64_t granted_ns; // the newest grant; 0: none
    uint64_t sent_ns;    // of the question
    uint64_t round;      // that must be confirmed first
    bool asked;
    bool gone; // from the map; kept until what it was granted has run out
};

struct lease {
    struct lease_config config;
    bool leads;
    uint64_t now_ns, since_ns; // since_ns: it leads
    uint64_t round, round_sent, round_confirmed;
    uint64_t map_version;
    struct lease_row rows[LEASE_NODES_MAX]; // ascending by node
    uint32_t row_count;
    uint32_t asked_count; // rows that wait for a round
    uint64_t refused;     // questions; and nodes for which there was no row
    uint64_t compared;    // rows, to find one: a look at n nodes takes n times log n
};

enum lease_input_kind {
    LEASE_IN_LEAD,   // this node leads the metadata from now on
    LEASE_IN_FOLLOW, // or does not any more
    LEASE_IN_ASK,    // a node wants a lease; untrusted
    LEASE_IN_ROUND, // a quorum answered heartbeats that were sent after `round` was asked for, in the same term
    LEASE_IN_NODE, // the map has the node, in its process `boot`: what an older one holds is void
    LEASE_IN_GONE, // the map has the node no more
};

struct lease_input {
    uint64_t now_ns;
    enum lease_input_kind kind;
    uint64_t node, boot, sent_ns, round;
    uint64_t map_version; // ROUND: of the metadata that this leader has
};

struct lease_grant {
    uint64_t node, boot, sent_ns, lease_ns;
    uint64_t map_version; // the lease counts for who knows the metadata as of here
};

struct lease_output {
    uint64_t round;       // begin a round of heartbeats and name it so; 0: none
    uint32_t grant_count; // tell these nodes
    struct lease_grant grants[LEASE_NODES_MAX];
};

void lease_init(struct lease *lease, const struct lease_config *config);
void lease_step(struct lease *lease, const struct lease_input *in, struct lease_output *out);
void lease_check(const struct lease *lease);
void lease_describe(const struct lease *lease, char *line, size_t cap);

// Whether a shard whose primary is on this node, in its process `boot` when it became that, may get another.
bool lease_may_promote(struct lease *lease, uint64_t node, uint64_t boot);

#endif
