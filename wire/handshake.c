// wire/handshake.c -- how two nodes find out that they are of one cluster, before anything else is said.
//
// Shape: value.
//
//   cluster 16 | node 16 | boot 8 | features 8 | version least 4 | version most 4 | nonce 32 [| MAC 32]
#include "wire/handshake.h"

#include <string.h>

#include "base/assert.h"
#include "wire/plain.h"

#define WELCOME_IS "omendb welcome 1"
#define CONFIRM_IS "omendb confirm 1"

static uint8_t *
put(uint8_t *at, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    return at + bytes;
}

void
handshake_hello(const struct handshake *ours, uint8_t hello[HANDSHAKE_HELLO_BYTES])
{
    ASSERT(ours->version_least <= ours->version_most);
    uint8_t *at = put(hello, ours->cluster.high, 8);
    at = put(at, ours->cluster.low, 8);
    at = put(at, ours->node.high, 8);
    at = put(at, ours->node.low, 8);
    at = put(at, ours->boot, 8);
    at = put(at, ours->features, 8);
    at = put(at, ours->version_least, 4);
    at = put(at, ours->version_most, 4);
    memcpy(at, ours->nonce, HANDSHAKE_NONCE_BYTES);
}

static void
read_words(struct wire_bytes bytes, struct handshake *out)
{
    struct plain plain = plain_of(bytes);
    out->cluster.high = plain_number(&plain, 8, UINT64_MAX);
    out->cluster.low = plain_number(&plain, 8, UINT64_MAX);
    out->node.high = plain_number(&plain, 8, UINT64_MAX);
    out->node.low = plain_number(&plain, 8, UINT64_MAX);
    out->boot = plain_number(&plain, 8, UINT64_MAX);
    out->features = plain_number(&plain, 8, UINT64_MAX);
    out->version_least = (uint32_t)plain_number(&plain, 4, UINT32_MAX);
    out->version_most = (uint32_t)plain_number(&plain, 4, UINT32_MAX);
    memcpy(out->nonce, plain.at, HANDSHAKE_NONCE_BYTES);
}

static bool
is_none(struct wire_uuid uuid)
{
    return (uuid.high | uuid.low) == 0;
}

enum handshake_verdict
handshake_take_hello(const struct handshake *ours, struct wire_bytes hello,
                     struct handshake *theirs)
{
    *theirs = (struct handshake){0};
    if (hello.count != HANDSHAKE_HELLO_BYTES)
        return HANDSHAKE_MALFORMED;
    read_words(hello, theirs);
    if (is_none(theirs->node) || theirs->version_least > theirs->version_most)
        return HANDSHAKE_MALFORMED;
    const bool joins = is_none(theirs->cluster);
    const bool same =
        theirs->cluster.high == ours->cluster.high && theirs->cluster.low == ours->cluster.low;
    if (joins ? is_none(ours->cluster) : !same && !is_none(ours->cluster))
        return HANDSHAKE_OTHER_CLUSTER;
    if (theirs->node.high == ours->node.high && theirs->node.low == ours->node.low)
        return HANDSHAKE_OURSELVES;
    if (theirs->version_least > ours->version_most || theirs->version_most < ours->version_least)
        return HANDSHAKE_NO_VERSION;
    return joins ? HANDSHAKE_JOINS : HANDSHAKE_FINE;
}

void
handshake_welcome(const uint8_t key[32], const struct handshake *ours,
                  const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                  uint8_t welcome[HANDSHAKE_WELCOME_BYTES])
{
    handshake_hello(ours, welcome);
    seal_mac(key, WELCOME_IS, (struct wire_bytes){hello, HANDSHAKE_HELLO_BYTES},
             (struct wire_bytes){welcome, HANDSHAKE_HELLO_BYTES}, welcome + HANDSHAKE_HELLO_BYTES);
}

enum handshake_verdict
handshake_take_welcome(const uint8_t key[32], const struct handshake *ours,
                       const uint8_t hello[HANDSHAKE_HELLO_BYTES], struct wire_bytes welcome,
                       struct handshake *theirs)
{
    uint8_t mac[SEAL_MAC_BYTES];
    *theirs = (struct handshake){0};
    if (welcome.count != HANDSHAKE_WELCOME_BYTES)
        return HANDSHAKE_MALFORMED;
    const struct wire_bytes said = {welcome.bytes, HANDSHAKE_HELLO_BYTES};
    const enum handshake_verdict verdict = handshake_take_hello(ours, said, theirs);
    if (verdict != HANDSHAKE_FINE)
        return verdict;
    seal_mac(key, WELCOME_IS, (struct wire_bytes){hello, HANDSHAKE_HELLO_BYTES}, said, mac);
    return seal_mac_equal(mac, welcome.bytes + HANDSHAKE_HELLO_BYTES) ? HANDSHAKE_FINE
                                                                      : HANDSHAKE_BAD_MAC;
}

void
handshake_confirm(const uint8_t key[32], const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                  const uint8_t welcome[HANDSHAKE_WELCOME_BYTES],
                  uint8_t confirm[HANDSHAKE_CONFIRM_BYTES])
{
    seal_mac(key, CONFIRM_IS, (struct wire_bytes){hello, HANDSHAKE_HELLO_BYTES},
             (struct wire_bytes){welcome, HANDSHAKE_WELCOME_BYTES}, confirm);
}

enum handshake_verdict
handshake_take_confirm(const uint8_t key[32], const uint8_t hello[HANDSHAKE_HELLO_BYTES],
                       const uint8_t welcome[HANDSHAKE_WELCOME_BYTES], struct wire_bytes confirm)
{
    uint8_t mac[HANDSHAKE_CONFIRM_BYTES];
    if (confirm.count != HANDSHAKE_CONFIRM_BYTES)
        return HANDSHAKE_MALFORMED;
    handshake_confirm(key, hello, welcome, mac);
    return seal_mac_equal(mac, confirm.bytes) ? HANDSHAKE_FINE : HANDSHAKE_BAD_MAC;
}

const char *
handshake_verdict_name(enum handshake_verdict verdict)
{
    static const char *const names[] = {"fine",       "malformed", "other_cluster", "ourselves",
                                        "no_version", "bad_mac",   "joins"};
    ASSERT(verdict < HANDSHAKE_VERDICTS);
    return names[verdict];
}
