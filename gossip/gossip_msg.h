// gossip/gossip_msg.h -- what gossip says: messages as plain structs, their limits, and their bytes.
//
// Shape:   value.
// Threads: any.
//
// A message is one datagram, or one frame of the control lane; both have the same bytes and the same limit. wire/ seals them
// with a nonce and a MAC, for which GOSSIP_SEAL_BYTES of the datagram are kept free.
//
// A *claim* says something about one member. Claims about a member are ordered by (boot, incarnation, state), and the
// greatest wins wherever two meet, so that all agree whatever the order of arrival. Only a member itself raises its incarnation
// (to refute, and when its metadata change), only a new process raises its boot generation.
#ifndef OMEN_GOSSIP_GOSSIP_MSG_H
#define OMEN_GOSSIP_GOSSIP_MSG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

#define GOSSIP_VERSION 1u
#define GOSSIP_DATAGRAM_BYTES_MAX 1400u
#define GOSSIP_SEAL_BYTES 40u // nonce 24, MAC 16
#define GOSSIP_PACKET_BYTES_MAX (GOSSIP_DATAGRAM_BYTES_MAX - GOSSIP_SEAL_BYTES)
#define GOSSIP_CLAIMS_MAX 32u // of one message
#define GOSSIP_ZONE_BYTES_MAX 32u
#define GOSSIP_DATA_BYTES_MAX 64u
#define GOSSIP_INCARNATION_MAX 0x7fffffffu // a claim beyond it is refused

#define GOSSIP_HEADER_BYTES 66u
#define GOSSIP_TARGET_BYTES 24u
#define GOSSIP_DIGEST_BYTES 8u
#define GOSSIP_CLAIM_BYTES_MIN 29u
#define GOSSIP_CLAIM_BYTES_MAX (29u + 16u + 51u + GOSSIP_ZONE_BYTES_MAX + GOSSIP_DATA_BYTES_MAX)

// A uuid; all zeros is none.
struct gossip_id {
    uint64_t high, low;
};

struct gossip_address {
    uint8_t ip[16]; // IPv6, or IPv4 mapped into it
    uint16_t port;  // 0 is no address
};

// What a member says about itself. The bytes are not ours to understand.
struct gossip_meta {
    struct gossip_address address; // datagrams by UDP and the peer bus by TCP, on the same port
    struct gossip_address client;  // where clients are served; port 0: nowhere
    uint64_t map_version;          // of the cluster map that it has
    uint32_t load;
    uint8_t roles;
    uint8_t zone_bytes;
    uint8_t data_bytes;
    uint8_t zone[GOSSIP_ZONE_BYTES_MAX];
    uint8_t data[GOSSIP_DATA_BYTES_MAX];
};

// The order is that of claims with the same boot generation and incarnation. The numbers travel.
enum gossip_state {
    GOSSIP_ALIVE = 0,
    GOSSIP_SUSPECT = 1,
    GOSSIP_DEAD = 2,
    GOSSIP_LEFT = 3, // on purpose
};

struct gossip_claim {
    uint8_t state;    // enum gossip_state
    uint8_t has_meta; // 0 or 1. ALIVE always has; in STATE and ASK every claim may
    uint32_t incarnation;
    uint64_t boot;
    struct gossip_id subject;
    struct gossip_id by; // SUSPECT only: who says so
    struct gossip_meta meta;
};

// The numbers travel.
enum gossip_msg_kind {
    GOSSIP_PING = 1,     // answer with ACK if you are `target`
    GOSSIP_ACK = 2,      // `target` answered the ping `seq`
    GOSSIP_PING_REQ = 3, // ping `target` for me
    GOSSIP_NACK = 4,     // it does not answer me either, but I am here
    GOSSIP_NEWS = 5,     // claims only
    GOSSIP_ASK = 6,      // does your state have my digest? Control lane
    GOSSIP_STATE = 7,    // a piece of the sender's whole state. Control lane
};

#define GOSSIP_FLAG_WANT 1u // STATE: send me yours

struct gossip_msg {
    struct gossip_id cluster;
    struct gossip_id from;
    uint64_t from_boot;
    struct gossip_address from_address; // where the answer goes
    uint64_t target_boot;               // PING, ACK, PING_REQ
    struct gossip_id target;            // PING, ACK, PING_REQ
    uint64_t digest;                    // ASK
    uint32_t seq;                       // PING, ACK, PING_REQ, NACK
    uint8_t kind;                       // enum gossip_msg_kind
    uint8_t flags;                      // STATE
    uint8_t claim_count;
    struct gossip_claim claims[GOSSIP_CLAIMS_MAX];
};

static inline bool
gossip_id_equal(struct gossip_id a, struct gossip_id b)
{
    return a.high == b.high && a.low == b.low;
}

static inline bool
gossip_id_is_none(struct gossip_id id)
{
    return (id.high | id.low) == 0;
}

static inline bool
gossip_address_equal(const struct gossip_address *a, const struct gossip_address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool gossip_meta_equal(const struct gossip_meta *a, const struct gossip_meta *b);

// Whether every field is within its limits: what a peer sent is asked this before anything else.
bool gossip_meta_valid(const struct gossip_meta *meta);
bool gossip_claim_valid(const struct gossip_claim *claim);
bool
gossip_msg_valid(const struct gossip_msg *msg); // its claims as well, and that it fits a datagram

// Encoded sizes, exactly. The claim and the message are within their limits, the sum need not be.
size_t gossip_claim_bytes(const struct gossip_claim *claim);
size_t gossip_msg_bytes(const struct gossip_msg *msg);

// Writes gossip_msg_bytes(msg) <= GOSSIP_PACKET_BYTES_MAX bytes of a valid message, and returns how many.
size_t gossip_msg_encode(const struct gossip_msg *msg, uint8_t bytes[GOSSIP_PACKET_BYTES_MAX]);

// OMEN_E_VERSION: another version's; OMEN_E_CORRUPT: no message, or one that is not valid. Of *msg, the claims from claim_count
// on are not written.
OMEN_MUST_CHECK omen_status gossip_msg_decode(const uint8_t *bytes, size_t count,
                                              struct gossip_msg *msg);

#endif
