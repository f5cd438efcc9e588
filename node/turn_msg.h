// node/turn_msg.h -- what nodes say to each other about the metadata besides raft and gossip: commands and leases.
//
// Shape: value.
#ifndef OMEN_NODE_TURN_MSG_H
#define OMEN_NODE_TURN_MSG_H
#include "cluster/command.h"

enum turn_msg_kind {
    TURN_MSG_COMMAND =
        1, // to the leader: propose this. Who wants it says so again until the map shows it
    TURN_MSG_LEASE_ASK,   // to the leader
    TURN_MSG_LEASE_GRANT, // to the node that asked
    TURN_MSG_KINDS,
};

// What a kind does not name is 0. Every field may be anything.
struct turn_msg {
    enum turn_msg_kind kind;
    uint32_t node;          // ASK: who asks, as the map numbers it
    uint64_t boot, sent_ns; // ASK, GRANT: of who asks, and on its clock
    uint64_t lease_ns;      // GRANT
    uint64_t position;      // GRANT: the lease counts for who has applied the log through here
    const struct command *command; // COMMAND; borrowed
};

#endif
