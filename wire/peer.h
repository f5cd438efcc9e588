// wire/peer.h -- the frames between nodes: a head of 32 bytes, and a body that is one message.
//
// Shape:   value.
// Threads: any.
//
// One connection for each peer and lane: `control` has what must not wait (raft, leases, heartbeats, small questions), `bulk`
// what may be large. The head has a checksum of its own, so that a length is believed only where the head is whole, and one of
// the body. Neither is against somebody who means harm: that is what the handshake is for (wire/handshake.h).
//
//   magic 4 | version 2 | kind 1 | lane 1 | body bytes 4 | deadline ms 4 | correlation 8 | body's check 4 | head's check 4
#ifndef OMEN_WIRE_PEER_H
#define OMEN_WIRE_PEER_H
#include "wire/decode.h"

#define PEER_HEAD_BYTES 32u
// Of the frames; what a message may say goes by the features of the handshake.
#define PEER_VERSION 1u
#define PEER_CONTROL_BYTES_MAX (4u << 20)
#define PEER_BULK_BYTES_MAX (64u << 20)
#define PEER_STRANGER_BYTES_MAX 1024u // before the handshake is done

enum peer_lane { PEER_CONTROL = 1, PEER_BULK = 2 };

// The numbers travel: append, never renumber.
enum peer_kind {
    PEER_HELLO = 1, // the handshake
    PEER_WELCOME,
    PEER_CONFIRM,
    PEER_RAFT,    // struct raft_msg; bulk: with entries or a chunk
    PEER_GOSSIP,  // the bytes of a gossip_msg
    PEER_REPLICA, // struct replica_msg
    PEER_TURN,    // struct wire_turn
    PEER_PART,    // struct wire_part: a router asks a copy
    PEER_REPLY,   // struct wire_reply, with the correlation of the part
    PEER_CANCEL,  // no body: nobody waits for the reply with this correlation
    PEER_MAP_ASK, // struct wire_map_ask
    PEER_MAP,     // struct wire_map: a piece of a snapshot of the cluster's map
    PEER_PING,    // no body
    PEER_PONG,    // no body, the same correlation
    PEER_KINDS,
};

enum peer_trust { PEER_STRANGER, PEER_KNOWN }; // whether the handshake is done

struct peer_head {
    uint64_t correlation;
    uint32_t body_bytes;
    uint32_t deadline_ms; // from now on; 0: none
    uint32_t body_check;
    uint8_t kind; // enum peer_kind
    uint8_t lane; // enum peer_lane
};

// Why a frame was refused. The connection has to be closed: nobody knows where its next frame would begin.
enum peer_refusal {
    PEER_FINE,
    PEER_NOT_PEER, // another magic
    PEER_OTHER_VERSION,
    PEER_TORN, // a checksum
    PEER_NO_KIND,
    PEER_WRONG_LANE, // not that of the connection, or not one for this kind
    PEER_TOO_LONG,
    PEER_NOT_WELCOME, // before the handshake is done, or a handshake afterwards
    PEER_NO_MESSAGE,  // the body is no message of its kind
    PEER_REFUSALS,
};

// body_check and body_bytes are made from the body.
void peer_head_write(struct peer_head head, struct wire_bytes body, uint8_t out[PEER_HEAD_BYTES]);
enum peer_refusal peer_head_read(const uint8_t bytes[PEER_HEAD_BYTES], enum peer_lane lane,
                                 enum peer_trust trust, struct peer_head *head);
// Whether these are the bytes that the head speaks of.
bool peer_body_is_whole(const struct peer_head *head, struct wire_bytes body);

const char *peer_refusal_name(enum peer_refusal refusal); // "too_long"; static
const char *peer_kind_name(uint8_t kind);                 // "raft"; "?" for what is none

#endif
