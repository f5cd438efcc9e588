// node/join.h -- asks a live node which cluster it is of, before this one is of any.
//
// Shape:   shell; waits, for as long as it is told. For starts only: no loop calls it.
// Threads: any.
//
// It is the first half of wire/handshake.h on the other's peer port: a HELLO without a cluster, and the WELCOME, whose MAC tells that both
// have the same cluster key. Everything else of joining is the machines' own: gossip makes the node known, and the leader of the
// metadata takes it into raft's group and the map.
#ifndef OMEN_NODE_JOIN_H
#define OMEN_NODE_JOIN_H
#include "base/error.h"
#include "gossip/gossip_msg.h"
#include "wire/handshake.h"

// `ours` has no cluster; its nonce is drawn here. On success *theirs is who answered. OMEN_E_TIMEOUT: nobody there, or not within
// `timeout_ms` (of connecting, and of answering); OMEN_E_AUTH: another cluster key; OMEN_E_VERSION: none that both understand;
// OMEN_E_INVALID: what answers there is no peer of ours. The sentence names the address.
OMEN_MUST_CHECK omen_status join_ask(const struct gossip_address *address, const uint8_t key[32],
                                     const struct handshake *ours, uint32_t timeout_ms,
                                     struct handshake *theirs, struct omen_error *error);

#endif
