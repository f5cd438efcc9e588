// wire/seal.c -- what keeps strangers out: keys, the seal of gossip's datagrams, MACs, and hashes of secrets.
//
// Shape: value.
//
// The key file's bytes are hashed to a master key, of which each use gets a key of its own, so that what one shows helps nobody with
// the other. The nonce is long enough to be drawn at random for ever.
#include "wire/seal.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"

#define TAG_BYTES ((size_t)crypto_aead_xchacha20poly1305_ietf_ABYTES)

_Static_assert(SEAL_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(SEAL_NONCE_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES == GOSSIP_SEAL_BYTES,
               "what gossip keeps free");
_Static_assert(SEAL_MAC_BYTES == crypto_auth_hmacsha256_BYTES, "MAC");

static const uint8_t about_gossip[] = "omendb gossip 1";

omen_status
seal_init(void)
{
    return sodium_init() < 0 ? OMEN_E_INTERNAL : OMEN_OK;
}

omen_status
seal_keys_of(struct wire_bytes file, struct seal_keys *keys)
{
    uint8_t master[crypto_kdf_KEYBYTES];
    if (file.count < SEAL_KEY_FILE_BYTES_MIN || file.count > SEAL_KEY_FILE_BYTES_MAX)
        return OMEN_E_INVALID;
    crypto_generichash(master, sizeof master, file.bytes, file.count, NULL, 0);
    crypto_kdf_derive_from_key(keys->gossip, sizeof keys->gossip, 1, "omengoss", master);
    crypto_kdf_derive_from_key(keys->peer, sizeof keys->peer, 2, "omenpeer", master);
    sodium_memzero(master, sizeof master);
    return OMEN_OK;
}

void
seal_keys_forget(struct seal_keys *keys)
{
    sodium_memzero(keys, sizeof *keys);
}

size_t
seal_datagram(const struct seal_keys *keys, const uint8_t nonce[SEAL_NONCE_BYTES],
              struct wire_bytes packet, uint8_t out[GOSSIP_DATAGRAM_BYTES_MAX])
{
    ASSERT(packet.count > 0 && packet.count <= GOSSIP_PACKET_BYTES_MAX);
    memcpy(out, nonce, SEAL_NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + SEAL_NONCE_BYTES, NULL, packet.bytes,
                                               packet.count, about_gossip, sizeof about_gossip,
                                               NULL, nonce, keys->gossip);
    return SEAL_NONCE_BYTES + packet.count + TAG_BYTES;
}

size_t
seal_open_datagram(const struct seal_keys *keys, struct wire_bytes datagram,
                   uint8_t out[GOSSIP_PACKET_BYTES_MAX])
{
    if (datagram.count <= GOSSIP_SEAL_BYTES || datagram.count > GOSSIP_DATAGRAM_BYTES_MAX)
        return 0;
    unsigned long long count;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out, &count, NULL, datagram.bytes + SEAL_NONCE_BYTES, datagram.count - SEAL_NONCE_BYTES,
            about_gossip, sizeof about_gossip, datagram.bytes, keys->gossip) != 0)
        return 0;
    return (size_t)count;
}

// Each piece goes in with its length, so that no byte can move from one to the next.
static void
mac_add(crypto_auth_hmacsha256_state *state, const void *bytes, uint32_t count)
{
    uint8_t length[4];
    for (uint32_t i = 0; i < 4; i++)
        length[i] = (uint8_t)(count >> (8 * i));
    crypto_auth_hmacsha256_update(state, length, sizeof length);
    crypto_auth_hmacsha256_update(state, bytes, count);
}

void
seal_mac(const uint8_t key[32], const char *about, struct wire_bytes first,
         struct wire_bytes second, uint8_t mac[SEAL_MAC_BYTES])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, 32);
    mac_add(&state, about, (uint32_t)strlen(about));
    mac_add(&state, first.bytes, first.count);
    mac_add(&state, second.bytes, second.count);
    crypto_auth_hmacsha256_final(&state, mac);
}

bool
seal_mac_equal(const uint8_t a[SEAL_MAC_BYTES], const uint8_t b[SEAL_MAC_BYTES])
{
    return sodium_memcmp(a, b, SEAL_MAC_BYTES) == 0;
}

void
seal_hash_secret(struct wire_text secret, uint64_t words[4])
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const uint8_t *)secret.bytes, secret.count);
    for (uint32_t i = 0; i < 4; i++) {
        words[i] = 0;
        for (uint32_t j = 0; j < 8; j++)
            words[i] = words[i] << 8 | hash[8 * i + j];
    }
}

bool
seal_hash_equal(const uint64_t a[4], const uint64_t b[4])
{
    return sodium_memcmp(a, b, 4 * sizeof *a) == 0;
}
