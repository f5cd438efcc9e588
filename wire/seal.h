// wire/seal.h -- what keeps strangers out: keys, the seal of gossip's datagrams, MACs, and hashes of secrets. libsodium's home.
//
// Shape:   value. Random bytes come from the caller.
// Threads: any, after seal_init.
//
// A datagram is a nonce (24 bytes), the packet under XChaCha20, and a Poly1305 tag (16): nobody without the cluster's key can read
// it, make one or change one. It can be sent again; gossip's claims are ordered, so an old one says nothing new.
#ifndef OMEN_WIRE_SEAL_H
#define OMEN_WIRE_SEAL_H
#include "gossip/gossip_msg.h"
#include "wire/decode.h"

#define SEAL_NONCE_BYTES 24u
#define SEAL_MAC_BYTES 32u
#define SEAL_KEY_FILE_BYTES_MIN 32u
#define SEAL_KEY_FILE_BYTES_MAX 4096u

// Of one cluster key, one for each use.
struct seal_keys {
    uint8_t gossip[32];
    uint8_t peer[32];
};

// Once, before the others. OMEN_E_INTERNAL: the library cannot be used.
OMEN_MUST_CHECK omen_status seal_init(void);

// From the bytes of the cluster's key file. OMEN_E_INVALID: too few or too many.
OMEN_MUST_CHECK omen_status seal_keys_of(struct wire_bytes file, struct seal_keys *keys);
void seal_keys_forget(struct seal_keys *keys);

// A packet of 1..GOSSIP_PACKET_BYTES_MAX bytes; the nonce is random. Returns the datagram's size.
size_t seal_datagram(const struct seal_keys *keys, const uint8_t nonce[SEAL_NONCE_BYTES],
                     struct wire_bytes packet, uint8_t out[GOSSIP_DATAGRAM_BYTES_MAX]);
// The packet's size; 0: it was not sealed with this key, or is none.
size_t seal_open_datagram(const struct seal_keys *keys, struct wire_bytes datagram,
                          uint8_t out[GOSSIP_PACKET_BYTES_MAX]);

// HMAC-SHA-256 of what is said in a handshake. `about` tells uses apart.
void seal_mac(const uint8_t key[32], const char *about, struct wire_bytes first,
              struct wire_bytes second, uint8_t mac[SEAL_MAC_BYTES]);
// In a time that does not tell where they differ.
bool seal_mac_equal(const uint8_t a[SEAL_MAC_BYTES], const uint8_t b[SEAL_MAC_BYTES]);

// SHA-256 of an API key's secret, as the cluster's map keeps it: four big-endian words.
void seal_hash_secret(struct wire_text secret, uint64_t words[4]);
bool seal_hash_equal(const uint64_t a[4], const uint64_t b[4]);

#endif
