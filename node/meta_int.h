// node/meta_int.h -- what the files of the metadata's shell share.
//
// Shape: shell.
#ifndef OMEN_NODE_META_INT_H
#define OMEN_NODE_META_INT_H
#include "base/os_lock.h"
#include "node/meta.h"
#include "router/watch.h"
#include "wire/encode.h"
#include "wire/node_codec.h"
#include "wire/raft_codec.h"

enum meta_ask_kind {
    META_PROPOSE,
    META_WISH,
    META_MEET,
    META_REFUSED,
    META_REACHED,
    META_WANT,
    META_LEAVE,
    META_GO,
    META_DISK
};

struct meta_ask {
    struct loop_note note; // NOTE_META_ASK
    enum meta_ask_kind kind;
    struct loop *answer_to;     // META_PROPOSE
    struct meta_answer *answer; // META_PROPOSE: to be filled in
    union {
        struct command command; // META_PROPOSE, META_WISH
        struct gossip_address meet;
        uint64_t version;         // META_WANT
        enum meta_disk disk;      // META_DISK
        struct cluster_uuid node; // META_REFUSED, META_REACHED
    };
};

struct meta_start {
    struct loop_note note; // NOTE_META_START
    const struct turn_durable *durable;
};

struct meta_feed {
    struct loop_note note; // NOTE_META_FEED
    struct loop *data;
};

// A proposal whose entry is in the log.
struct meta_wait {
    uint64_t position, term, until_ns;
    struct loop *answer_to;
    struct meta_answer *answer;
};

// Somebody that gossip knows of.
struct meta_peer {
    uint64_t member; // in raft's group; 0: it has not said
    struct cluster_uuid node;
    struct gossip_address address; // that the bus was told
    uint64_t boot;                 // and of which process it is
};

// A loop that is told of maps and the rest, and what it was told last.
struct meta_listener {
    struct loop *loop;
    uint64_t version; // of the map
    uint64_t members; // gossip's version of its members
    uint64_t term, lead;
    uint32_t voters;
    uint64_t voting; // a hash of their numbers
    bool anything, map;
};

// Who leads the metadata: as raft has it, or, of a node without its log, as gossip has it.
struct meta_lead {
    struct cluster_uuid node; // none: nobody is known
    uint64_t term;
    uint32_t voters;
};

// The map of a node that gets nothing of the metadata's log (node/meta_watch.c).
struct meta_pull {
    struct watch watch;
    struct map map;               // that came last; version 0: none
    struct watch_source *sources; // [WATCH_SOURCES_MAX]
    uint64_t nodes;               // gossip's version of its members that the watch was shown
    uint64_t alone_since_ns;      // nobody is heard to lead the log; 0: somebody is
    uint64_t wake_ns;
    struct cluster_uuid from; // whose pieces are put together
    uint64_t version, hash;   // of what they are pieces of
    uint64_t got, total;      // bytes
    uint8_t *bytes;           // [total]; NULL: none came
};

struct meta {
    struct meta_config config;
    struct cluster_uuid self;
    struct loop *loop;
    _Atomic uint32_t started; // 1: it runs, 2: it does not
    enum turn_halt halted;
    _Atomic bool left, gone; // of META_LEAVE and META_GO
    // The loop's own from here on.
    bool said_stuck; // that the disk puts off what it should write
    struct meta_listener listeners[META_LISTENERS_MAX];
    uint32_t listener_count;
    struct turn turn;
    struct turn_output out;
    struct encode encode;
    struct raft_room room;
    struct gossip_msg gossip;
    struct command command, wish;
    uint64_t wish_at_ns;              // it may be said again
    uint64_t leases_version;          // of the map's lease times, that were first seen
    uint64_t leases_seen_ns;          // then
    struct gossip_address *addresses; // [GOSSIP_PEERS_MAX]
    struct meta_peer *peers;
    struct meta_pull pull;
    uint32_t peer_count, peer_room;
    struct meta_wait waits[META_WAITS_MAX]; // in the order of their proposal
    uint32_t wait_count;
    struct clocks clocks;   // that were heard
    uint32_t clocks_from;   // of the members that are there, where more are than can be heard
    uint64_t clocks_due_ns; // they are asked again then
    // As the operator was told.
    uint64_t logged_lead, logged_term, logged_version;
    uint32_t logged_nodes, logged_up, logged_voters;
    bool logged_lease, logged_vote, logged_apart;
    // Read by others.
    struct lock lock;
    struct cluster_uuid leader; // under `lock`
    struct meta_stats stats;    // under `lock`
    struct api_key *keys;       // under `lock`: of the map of keys_version; owned
    uint32_t key_count;         // under `lock`
    uint64_t keys_version;
    _Atomic bool has_keys;
    _Atomic uint64_t keys_seen; // released behind the keys; acquired by meta_keys_seen
    _Atomic bool current;       // released behind the keys; acquired by meta_is_current
    uint64_t turns, frames, refused;
};

// meta.c
void meta_halt(struct meta *meta, enum turn_halt why);

// meta_send.c
void meta_learn_peers(struct meta *meta); // from gossip, for the bus
// Of a member of raft's group; none where gossip has not said.
struct cluster_uuid meta_node_of(const struct meta *meta, uint64_t member);
void meta_send(struct meta *meta);
// To who leads, which the machine of a node without the log does not know.
void meta_send_command(struct meta *meta, const struct command *command);
void meta_send_map(struct meta *meta, struct cluster_uuid to, uint64_t newer_than);

bool meta_send_map_ask(struct meta *meta, struct cluster_uuid to,
                       uint64_t newer_than); // false: it was certainly not sent

void meta_send_clock(struct meta *meta, struct cluster_uuid to, const struct wire_turn *said);

// meta_clock.c
void meta_clock_wake(struct meta *meta);
void meta_clock_take(struct meta *meta, struct cluster_uuid from, const struct wire_turn *said);

// meta_watch.c
OMEN_MUST_CHECK omen_status meta_watch_init(struct meta *meta, uint64_t seed);
void meta_watch_fini(struct meta *meta);
const struct map *meta_map(const struct meta *meta); // the newest that there is; version 0: none
struct meta_lead meta_lead(const struct meta *meta);
void meta_watch_nodes(struct meta *meta); // after a step
void meta_watch_word(struct meta *meta, uint64_t version);
void meta_watch_piece(struct meta *meta, struct cluster_uuid from, const struct wire_map *piece);
void meta_watch_wake(struct meta *meta);
uint64_t meta_watch_due(const struct meta *meta); // UINT64_MAX: nothing is waited for

// meta_wish.c
uint64_t meta_wish_due(struct meta *meta);              // UINT64_MAX: nothing is wished
void meta_wish_now(struct meta *meta, uint64_t now_ns); // writes meta->wish

// meta_tell.c
void meta_tell(struct meta *meta);
void meta_answer_now(struct meta *meta, const struct meta_ask *ask, enum raft_answer said);
void meta_wait_for(struct meta *meta, const struct meta_ask *ask, uint64_t now_ns);
void meta_give_up(struct meta *meta, uint64_t now_ns); // proposals that wait too long

// Aborts where there is no memory: notes of ours are few and small.
void *meta_note_new(uint32_t kind, size_t bytes);

#endif
