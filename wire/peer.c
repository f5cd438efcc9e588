// wire/peer.c -- the frames between nodes: a head of 32 bytes, and a body that is one message.
//
// Shape: value.
//
// The checks are the lower halves of XXH3-64: base/ has it, it runs at the speed of memory, and what it is for is a torn frame
// and a bad network card, not somebody with intent.
#include "wire/peer.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "wire/plain.h"

#define CHECKED_BYTES (PEER_HEAD_BYTES - 4u)

static const uint8_t magic[4] = {'O', 'M', 'P', 'R'};

static const struct kind {
    const char *name;
    uint8_t lanes; // bits of enum peer_lane
    uint8_t handshake;
} kinds[PEER_KINDS] = {
    [PEER_HELLO] = {"hello", PEER_CONTROL | PEER_BULK, 1},
    [PEER_WELCOME] = {"welcome", PEER_CONTROL | PEER_BULK, 1},
    [PEER_CONFIRM] = {"confirm", PEER_CONTROL | PEER_BULK, 1},
    [PEER_RAFT] = {"raft", PEER_CONTROL | PEER_BULK, 0},
    [PEER_GOSSIP] = {"gossip", PEER_CONTROL, 0},
    [PEER_REPLICA] = {"replica", PEER_CONTROL | PEER_BULK, 0},
    [PEER_TURN] = {"turn", PEER_CONTROL, 0},
    [PEER_PART] = {"part", PEER_CONTROL | PEER_BULK, 0},
    [PEER_REPLY] = {"reply", PEER_CONTROL | PEER_BULK, 0},
    [PEER_CANCEL] = {"cancel", PEER_CONTROL | PEER_BULK, 0},
    [PEER_MAP_ASK] = {"map_ask", PEER_CONTROL, 0},
    [PEER_MAP] = {"map", PEER_BULK, 0},
    [PEER_PING] = {"ping", PEER_CONTROL | PEER_BULK, 0},
    [PEER_PONG] = {"pong", PEER_CONTROL | PEER_BULK, 0},
};

static uint32_t
check_of(const uint8_t *bytes, size_t count)
{
    return (uint32_t)hash_bytes(bytes, count);
}

static void
put(uint8_t *at, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t
body_bytes_max(uint8_t lane, enum peer_trust trust)
{
    if (trust == PEER_STRANGER)
        return PEER_STRANGER_BYTES_MAX;
    return lane == PEER_BULK ? PEER_BULK_BYTES_MAX : PEER_CONTROL_BYTES_MAX;
}

void
peer_head_write(struct peer_head head, struct wire_bytes body, uint8_t out[PEER_HEAD_BYTES])
{
    ASSERT(head.kind > 0 && head.kind < PEER_KINDS && (kinds[head.kind].lanes & head.lane) != 0);
    ASSERT(body.count <= body_bytes_max(head.lane, PEER_KNOWN));
    memcpy(out, magic, sizeof magic);
    put(out + 4, PEER_VERSION, 2);
    put(out + 6, head.kind, 1);
    put(out + 7, head.lane, 1);
    put(out + 8, body.count, 4);
    put(out + 12, head.deadline_ms, 4);
    put(out + 16, head.correlation, 8);
    put(out + 24, check_of(body.bytes, body.count), 4);
    put(out + CHECKED_BYTES, check_of(out, CHECKED_BYTES), 4);
}

enum peer_refusal
peer_head_read(const uint8_t bytes[PEER_HEAD_BYTES], enum peer_lane lane, enum peer_trust trust,
               struct peer_head *head)
{
    struct plain plain = plain_of((struct wire_bytes){bytes + 4, PEER_HEAD_BYTES - 4});
    *head = (struct peer_head){0};
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return PEER_NOT_PEER;
    if (plain_number(&plain, 2, UINT16_MAX) != PEER_VERSION)
        return PEER_OTHER_VERSION;
    const uint8_t kind = (uint8_t)plain_number(&plain, 1, UINT8_MAX);
    const uint8_t on = (uint8_t)plain_number(&plain, 1, UINT8_MAX);
    struct peer_head read = {.kind = kind, .lane = on};
    read.body_bytes = (uint32_t)plain_number(&plain, 4, UINT32_MAX);
    read.deadline_ms = (uint32_t)plain_number(&plain, 4, UINT32_MAX);
    read.correlation = plain_number(&plain, 8, UINT64_MAX);
    read.body_check = (uint32_t)plain_number(&plain, 4, UINT32_MAX);
    if (plain_number(&plain, 4, UINT32_MAX) != check_of(bytes, CHECKED_BYTES))
        return PEER_TORN;
    if (kind == 0 || kind >= PEER_KINDS)
        return PEER_NO_KIND;
    if (on != (uint8_t)lane || (kinds[kind].lanes & on) == 0)
        return PEER_WRONG_LANE;
    if ((kinds[kind].handshake != 0) != (trust == PEER_STRANGER))
        return PEER_NOT_WELCOME;
    if (read.body_bytes > body_bytes_max(on, trust))
        return PEER_TOO_LONG;
    *head = read;
    return PEER_FINE;
}

bool
peer_body_is_whole(const struct peer_head *head, struct wire_bytes body)
{
    return body.count == head->body_bytes && check_of(body.bytes, body.count) == head->body_check;
}

const char *
peer_refusal_name(enum peer_refusal refusal)
{
    static const char *const names[] = {"fine",     "not_peer",    "other_version",
                                        "torn",     "no_kind",     "wrong_lane",
                                        "too_long", "not_welcome", "no_message"};
    ASSERT(refusal < PEER_REFUSALS);
    return names[refusal];
}

const char *
peer_kind_name(uint8_t kind)
{
    return kind > 0 && kind < PEER_KINDS ? kinds[kind].name : "?";
}
