// node/turn_said.h -- what a node says of its part in the metadata by gossip: the beginning of gossip_meta.data.
//
// Shape: value.
//
//      number in raft's group 8 | the term that it leads in 8 | how many vote then 1 | it is about to end 1 | the node's name
//
// Integers are little-endian. What is not there is 0, and what a peer says may be anything. So that who does not have the metadata's log
// knows who leads it, too.
#ifndef OMEN_NODE_TURN_SAID_H
#define OMEN_NODE_TURN_SAID_H
#include "gossip/gossip_msg.h"

#define TURN_SAID_BYTES 18u

struct turn_said {
    uint64_t member;    // its number in raft's group; 0: it goes by none
    uint64_t lead_term; // 0: it does not lead
    uint8_t voters;     // of who leads
    bool leaving;       // it is about to end: nothing may be handed to it
};

// What is behind it stays.
void turn_said_write(const struct turn_said *said, struct gossip_meta *meta);
struct turn_said turn_said_read(const struct gossip_meta *meta);

static inline bool
turn_said_equal(const struct turn_said *a, const struct turn_said *b)
{
    return a->member == b->member && a->lead_term == b->lead_term && a->voters == b->voters &&
           a->leaving == b->leaving;
}

#endif
