// node/turn_said.h -- what a node says of its part in the metadata by gossip, of its name and its program: gossip_meta.data.
//
// Shape: value.
//
//      number in raft's group 8 | the term that it leads in 8 | how many vote then 1 | why it wants nothing 1 |
//      the node's name | 0 1 | the features that its program knows 8
//
// Why it wants nothing are bits: 1, it is about to end; 2, its disk is low. Programs of before the second take any that is not 0 for the
// first, so that they hand it nothing, which is right of a low disk too.
//
// Integers are little-endian. What is not there is 0, and what a peer says may be anything. So that who does not have the metadata's log
// knows who leads it, too; and who leads knows what routers understand, which are not in the map (turn_lead.c: turn_new_features).
#ifndef OMEN_NODE_TURN_SAID_H
#define OMEN_NODE_TURN_SAID_H
#include "gossip/gossip_msg.h"

#define TURN_SAID_BYTES 18u
#define TURN_SAID_NAME_MAX (GOSSIP_DATA_BYTES_MAX - TURN_SAID_BYTES - 9)

struct turn_said {
    uint64_t member;    // its number in raft's group; 0: it goes by none
    uint64_t lead_term; // 0: it does not lead
    uint8_t voters;     // of who leads
    bool leaving;       // it is about to end: nothing may be handed to it
    bool disk_low; // less than its reserve is left (node/reserve.h): nothing new may be put there
};

// What is behind it stays.
void turn_said_write(const struct turn_said *said, struct gossip_meta *meta);
struct turn_said turn_said_read(const struct gossip_meta *meta);

// What does not change: at most TURN_SAID_NAME_MAX bytes of a name, none of them 0.
void turn_said_program(const char *name, uint32_t name_bytes, uint64_t features,
                       struct gossip_meta *meta);
uint32_t turn_said_name(const struct gossip_meta *meta, const char **name); // how many bytes it has
uint64_t turn_said_features(const struct gossip_meta *meta);

static inline bool
turn_said_equal(const struct turn_said *a, const struct turn_said *b)
{
    return a->member == b->member && a->lead_term == b->lead_term && a->voters == b->voters &&
           a->leaving == b->leaving && a->disk_low == b->disk_low;
}

#endif
