// node/profile.h -- the machines' numbers: how often, how long and how much, by the profile that an operator names.
//
// Shape: value.
//
// lan: a leader of the metadata is replaced 1 to 2 s after it fell silent, a node is given up by gossip after about 10 s, and by the map
// after 30. fast: 300 to 600 ms, 3 s, 10 s; for nodes that are side by side and not starved of processors.
#ifndef OMEN_NODE_PROFILE_H
#define OMEN_NODE_PROFILE_H
#include "node/config.h"
#include "node/disk.h"

struct profile_place {
    struct disk_identity identity;
    struct gossip_address peer, client; // where this node is reached
};

uint64_t profile_features(void); // bits that this program knows (node/program.h)
struct turn_config profile_turn(const struct config *config, const struct profile_place *place);

#endif
