// wire/handshake.h -- how two nodes find out that they are of one cluster, before anything else is said.
//
// Shape:   value. Nonces come from the caller.
// Threads: any.
//
//   who connects                              who accepts
//      HELLO: who I am, nonce  ------------->
//                              <-------------  WELCOME: who I am, nonce, MAC of both
//      CONFIRM: MAC of both    ------------->  (now both know that the other has the key, and that it is no old recording)
//
// A MAC covers both messages, and each side's has another name, so neither can be sent back as the other. What is said is checked
// whether there is a key or not: another cluster, another version, ourselves. Without a cluster key the MACs are of a key of
// zeros, which keeps two clusters apart that were mixed up, and nobody out.
//
// Who has no cluster yet says none in its HELLO. It is welcomed by whoever is of one, learns from that which it is and (by the MAC)
// whether they have the same key, and the connection ends there: nothing else is said to it.
#ifndef OMEN_WIRE_HANDSHAKE_H
#define OMEN_WIRE_HANDSHAKE_H
#include "wire/peer.h"
#include "wire/seal.h"
#include "wire/shape.h"

#define HANDSHAKE_NONCE_BYTES 32u

struct handshake { // what a HELLO and a WELCOME say
    struct wire_uuid cluster, node;
    uint64_t boot;
    uint64_t features;                    // bits that this program knows
    uint32_t version_least, version_most; // of messages that it understands
    uint8_t nonce[HANDSHAKE_NONCE_BYTES];
};

enum handshake_verdict {
    HANDSHAKE_FINE,
    HANDSHAKE_MALFORMED,
    HANDSHAKE_OTHER_CLUSTER,
    HANDSHAKE_OURSELVES,
    HANDSHAKE_NO_VERSION, // none that both understand
    HANDSHAKE_BAD_MAC,
    HANDSHAKE_JOINS, // of a HELLO: no cluster yet. WELCOME is the last that it hears
    HANDSHAKE_VERDICTS,
};

#define HANDSHAKE_HELLO_BYTES (16u + 16u + 8u + 8u + 4u + 4u + HANDSHAKE_NONCE_BYTES)
#define HANDSHAKE_WELCOME_BYTES (HANDSHAKE_HELLO_BYTES + SEAL_MAC_BYTES)
#define HANDSHAKE_CONFIRM_BYTES SEAL_MAC_BYTES

// Bodies of the three frames.
void handshake_hello(const struct handshake *ours, uint8_t hello[HANDSHAKE_HELLO_BYTES]);
enum handshake_verdict handshake_take_hello(const struct handshake *ours, struct wire_bytes hello,
                                            struct handshake *theirs);
void handshake_welcome(const uint8_t key[32], const struct handshake *ours,
                       const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                       uint8_t welcome[HANDSHAKE_WELCOME_BYTES]);
enum handshake_verdict handshake_take_welcome(const uint8_t key[32], const struct handshake *ours,
                                              const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                                              struct wire_bytes welcome, struct handshake *theirs);
void handshake_confirm(const uint8_t key[32], const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                       const uint8_t welcome[HANDSHAKE_WELCOME_BYTES],
                       uint8_t confirm[HANDSHAKE_CONFIRM_BYTES]);
enum handshake_verdict handshake_take_confirm(const uint8_t key[32],
                                              const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                                              const uint8_t welcome[HANDSHAKE_WELCOME_BYTES],
                                              struct wire_bytes confirm);

const char *handshake_verdict_name(enum handshake_verdict verdict); // "other_cluster"; static

#endif
