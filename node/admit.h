// node/admit.h -- whether a copy on this node answers what a router sends it, and how.
//
// Shape: value.
//
// A router may know an older map than this node, or a newer one. Every sub-request says by which it was sent, and is refused by
// who knows better; the router then fetches the newer map and cuts the request anew (docs/internals/router.md).
#ifndef OMEN_NODE_ADMIT_H
#define OMEN_NODE_ADMIT_H
#include "node/copies.h"
#include "router/fanout.h"

enum admit_how {
    ADMIT_REFUSE, // with `status`
    ADMIT_SERVE,  // out of what the copy has applied
    // The replica is asked (REPLICA_IN_READ), and says when: a strong read. Where what it sees is older than the token that came with it,
    // nothing newer was ever acknowledged, and it is refused (INVALID).
    ADMIT_READ,
    ADMIT_WRITE, // the replica takes it (REPLICA_IN_PROPOSE, with cfg_ver), or refuses it
};

struct admission {
    enum admit_how how;
    omen_status status;
};

// Every field of the request may be anything. STALE_MAP: nothing was done, and one of the two has an old map; BUSY: nothing was
// done, another copy may have applied more.
struct admission copies_admit(const struct copies *copies, const struct fanout_send *request);

#endif
