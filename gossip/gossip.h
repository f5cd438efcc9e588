// gossip/gossip.h -- who is in the cluster and who is alive: SWIM with Lifeguard's corrections, as a pure machine.
//
// Shape:   machine. Knows no socket, clock or other engine; base/ only.
// Threads: one at a time.
// Memory:  all but the table of members and the addresses given at START is inside the struct; those grow to members_max and
//          GOSSIP_PEERS_MAX. Where memory is refused the claim is dropped and said (GOSSIP_NOTE_NO_MEMORY): the next sync
//          brings it again.
// Units:   nanoseconds of a monotonic clock that is pushed in. Integers only.
//
// What it says is a hint: nothing durable may depend on it alone. docs/internals/gossip.md has the protocol and its numbers.
//
// There is no founder: every process starts with its own identity, the cluster's uuid and addresses that it knew or was
// given, and goes on asking those for ever. A process is (id, boot): the boot generation grows with every start of the
// same id, and is made of the wall clock where nothing older is known, so that a new process on an old address, whatever its
// id, supersedes the one that was there.
#ifndef OMEN_GOSSIP_GOSSIP_H
#define OMEN_GOSSIP_GOSSIP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "gossip/gossip_msg.h"

#define GOSSIP_MEMBERS_MAX 4096u // the largest members_max
#define GOSSIP_PEERS_MAX 8192u   // addresses given at START; more are not taken
// Of one step; what does not fit goes on at the next WAKE, which is then due at once.
#define GOSSIP_SENDS_MAX 16u
#define GOSSIP_NOTES_MAX 16u
#define GOSSIP_RELAYS_MAX 32u    // pings on somebody's behalf under way
#define GOSSIP_STREAMS_MAX 8u    // whole states being sent
#define GOSSIP_SUSPECTORS_MAX 4u // of one member that are told apart
#define GOSSIP_AWARENESS_MAX 7u
#define GOSSIP_TELLS_MAX 31u // times a claim is passed on
#define GOSSIP_HELPERS_MAX 4u
#define GOSSIP_FANOUT_MAX 4u

enum gossip_profile {
    GOSSIP_LAN = 0,  // a crash is known to all of 100 nodes in 16 s
    GOSSIP_FAST = 1, // in 5 s
};

struct gossip_timing {
    uint64_t probe_ns;        // a protocol period: one member is probed in each
    uint64_t timeout_ns;      // for the direct ping; helpers have the rest of the period
    uint64_t gossip_ns;       // between two rounds of passing claims on
    uint64_t sync_ns;         // between two comparisons of whole states; longer above 32 members
    uint64_t rejoin_ns;       // between two tries to reach somebody who is lost
    uint64_t dead_gossip_ns;  // the dead are told so for that long
    uint64_t left_keep_ns;    // those who left are remembered for that long
    uint32_t helpers;         // asked to ping when the direct ping failed
    uint32_t fanout;          // members told in one gossip round
    uint32_t suspicion;       // periods a suspect has at least, times log10 of the members
    uint32_t suspicion_worst; // so many times that when nobody confirms
    uint32_t tells;           // a claim is passed on this often, times log10 of the members
};

struct gossip_config {
    struct gossip_id cluster; // not none
    struct gossip_id id;      // not none
    uint64_t boot;            // above that of every earlier process of this id
    struct gossip_meta meta;  // valid; the address is the one that others reach us at
    enum gossip_profile profile;
    uint32_t members_max; // 1..GOSSIP_MEMBERS_MAX
    bool no_fallback;     // no ping on the control lane beside the helpers'
};

struct gossip_suspicion {
    uint64_t start_ns, min_ns, deadline_ns;
    uint64_t call_ns; // the suspect is pinged then, and hears what is said of it
    struct gossip_id by[GOSSIP_SUSPECTORS_MAX];
    uint32_t count;  // of them
    uint32_t needed; // confirmations that shrink the deadline to the minimum
    uint32_t said;   // which of them was named last
};

struct gossip_member {
    struct gossip_id id;
    uint64_t boot;
    uint64_t since_ns; // of the state
    uint32_t incarnation;
    uint32_t order_at; // its place in the probing order
    uint32_t queue_next,
        queue_previous; // among claims that were told as often; free slots use queue_next
    uint32_t suspect_next, suspect_previous;
    uint8_t state; // enum gossip_state
    uint8_t told;  // times, when queued
    bool used, queued;
    bool superseded; // dead, and its address is somebody else's
    struct gossip_suspicion suspicion;
    struct gossip_meta meta;
};

enum gossip_probe_phase { GOSSIP_PROBE_NONE, GOSSIP_PROBE_DIRECT, GOSSIP_PROBE_INDIRECT };

struct gossip_probe {
    enum gossip_probe_phase phase;
    uint32_t seq;
    uint32_t asked, nacks; // helpers
    struct gossip_id id;
    uint64_t boot;
    uint64_t timeout_ns; // of the direct ping
};

struct gossip_relay {
    bool used;
    uint32_t seq, origin_seq;
    struct gossip_id id;
    uint64_t boot;
    struct gossip_address origin;
    uint64_t nack_ns;
};

struct gossip_stream {
    bool used;
    uint8_t flags; // of the first piece
    uint32_t slot; // the next to be sent
    struct gossip_address to;
    struct gossip_id id; // of who asked
    uint64_t boot;
};

struct gossip_counters {
    uint64_t refused_msgs;   // a field out of its limits
    uint64_t foreign_msgs;   // of another cluster
    uint64_t refused_claims; // no memory or no room for a new member
    uint64_t late;           // ticks
    uint64_t probes, probes_failed;
    uint64_t refuted, declared; // claims about us; deaths that we were the first to state
    uint64_t notes_lost;
};

// Slot 0 is the machine itself; members are slots 1..member_slots.
struct gossip {
    struct gossip_id cluster;
    struct gossip_timing timing;
    struct gossip_member self;
    struct gossip_meta next_meta; // announced at meta_at_ns at the earliest
    struct prng prng;
    uint64_t now_ns;
    uint64_t hash_seed;
    uint64_t members_version; // counts every change of what gossip_next would say
    bool started, leaving, gone, no_fallback, peers_changed, meta_changed, foreign_noted;
    uint32_t members_max;

    struct gossip_member *members; // [member_room]
    uint32_t *order; // [member_room]: the first order_count are slots in use, shuffled
    uint32_t *table; // hash of an id -> slot; 0 is empty
    uint32_t member_room, member_slots, table_room;
    uint32_t free_slot; // a chain by queue_next; 0 ends it
    uint32_t order_count, order_next;
    uint32_t counts[4]; // by enum gossip_state, without ourselves

    struct gossip_address *seeds; // of START and MEET that are no member's address
    uint32_t seed_count;

    uint32_t queue_first[GOSSIP_TELLS_MAX + 1], queue_last[GOSSIP_TELLS_MAX + 1]; // slot + 1
    uint32_t queue_mask; // bit i: claims that were told i times
    uint32_t queue_count;
    uint32_t suspect_first; // a list by suspect_next; 0 ends it

    uint32_t awareness; // Lifeguard's score of our own health, 0 is best
    uint32_t seq;
    struct gossip_probe probe;
    struct gossip_relay relays[GOSSIP_RELAYS_MAX];
    uint32_t relay_count;
    struct gossip_stream streams[GOSSIP_STREAMS_MAX];
    uint32_t stream_count;

    uint64_t tick_ns;    // end of the protocol period
    uint64_t grace_ns;   // until then accusations of others are not believed: they may be old
    uint64_t relay_ns;   // no relay is due before
    uint64_t suspect_ns; // no suspicion ends, and no suspect is called, before
    uint64_t gossip_ns;  // the next round
    uint64_t sync_ns;    // the next comparison of states
    uint64_t rejoin_ns;  // the next try to reach the lost
    uint64_t lonely_ns;  // between such tries when nobody is there
    uint64_t meta_at_ns; // new metadata are announced then
    uint64_t persist_ns; // a changed list of peers is given out then
    struct gossip_counters counters;
};

enum gossip_lane {
    GOSSIP_LANE_DATAGRAM,
    GOSSIP_LANE_CONTROL, // a connection; the shell opens it where there is none
};

enum gossip_input_kind {
    GOSSIP_IN_START, // first, once; again where it was answered with GOSSIP_NOTE_NO_MEMORY
    GOSSIP_IN_MESSAGE,
    GOSSIP_IN_META,   // our metadata changed
    GOSSIP_IN_LEAVE,  // we go, on purpose; GOSSIP_NOTE_GONE says when it was told
    GOSSIP_IN_FORGET, // a member that is dead or left will not come back
    GOSSIP_IN_MEET,   // somebody of this cluster may be at an address
    GOSSIP_IN_WAKE,
};

struct gossip_input {
    uint64_t now_ns; // monotonic
    enum gossip_input_kind kind;
    union {
        struct {
            // START: persisted and configured ones; borrowed for the step.
            const struct gossip_address *peers;
            uint32_t peer_count;
        };
        struct {
            const struct gossip_msg *message; // borrowed for the step; every field may be anything
            enum gossip_lane lane;            // that it came by, and its answer goes by
        };
        const struct gossip_meta *meta; // borrowed for the step; valid
        struct gossip_id forget;
        struct gossip_address meet; // any
    };
};

enum gossip_note_kind {
    GOSSIP_NOTE_ALIVE,      // a member is new, or was dead, or has a new boot generation (number)
    GOSSIP_NOTE_SUSPECT,    // number: suspectors
    GOSSIP_NOTE_DEAD,       // number: 1 when we were the first to say so
    GOSSIP_NOTE_LEFT,       //
    GOSSIP_NOTE_REFUTED,    // somebody thought that we were dead; number: our incarnation now
    GOSSIP_NOTE_LATE,       // we were not stepped in time; number: ns
    GOSSIP_NOTE_FOREIGN,    // a message of another cluster (its uuid); at most one a sync
    GOSSIP_NOTE_TWIN,       // another process says it is us, or has our address
    GOSSIP_NOTE_SUPERSEDED, // a newer process of our id is there: we are silent from here on
    GOSSIP_NOTE_GONE,       // we left and it was told
    GOSSIP_NOTE_NO_MEMORY,  // a member could not be added
    GOSSIP_NOTE_FULL,       // the same, because of members_max
};

struct gossip_note {
    enum gossip_note_kind kind;
    struct gossip_id id;
    uint64_t number;
};

struct gossip_send {
    struct gossip_address to;
    enum gossip_lane lane;
    struct gossip_msg msg; // valid, and claims beyond claim_count are not written
};

// The shell obeys the numbered steps in order. Nothing here waits for the disk: an old list of peers is good enough.
struct gossip_output {
    bool persist_peers;   // 1. make what gossip_peers says durable, some time soon
    uint32_t send_count;  // 2. send
    bool members_changed; // 3. what gossip_next says is not what it was
    uint64_t wake_ns;     // 4. step again (kind WAKE) no later than this; UINT64_MAX: never
    uint32_t note_count;  //    facts for the log; more than fit are lost, and counted
    struct gossip_note notes[GOSSIP_NOTES_MAX];
    struct gossip_send sends[GOSSIP_SENDS_MAX];
};

// The configuration is ours: it is asserted to be within its limits.
void gossip_init(struct gossip *gossip, const struct gossip_config *config, uint64_t seed);
void gossip_fini(struct gossip *gossip);
void gossip_step(struct gossip *gossip, const struct gossip_input *in, struct gossip_output *out);
void gossip_check(const struct gossip *gossip);                            // asserts all invariants
void gossip_describe(const struct gossip *gossip, char *line, size_t cap); // one stable line

// The member with that id, or ourselves, or NULL. Valid until the next step.
const struct gossip_member *gossip_find(const struct gossip *gossip, struct gossip_id id);

// All others in no order: begin with *cursor = 0; NULL ends. Valid until the next step.
const struct gossip_member *gossip_next(const struct gossip *gossip, uint32_t *cursor);

// Members that are alive or suspect, ourselves included.
uint32_t gossip_living(const struct gossip *gossip);

// The addresses to give at the next START: at most `room` are written, and how many there are is returned.
uint32_t gossip_peers(const struct gossip *gossip, struct gossip_address *peers, uint32_t room);

#endif
