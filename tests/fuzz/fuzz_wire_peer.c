// tests/fuzz/fuzz_wire_peer.c -- any bytes as what a node sends: a head, a message of each kind, a handshake, a sealed datagram, and within
// parts and replies the maps of wire/inner.h and lists of hits. What is read as a message is written to the same bytes again; a map, to one that is
// read as the same.
//
// The first byte says as what.
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/lib/wire_messages.h"
#include "wire/found.h"
#include "wire/handshake.h"
#include "wire/inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static struct encode again;

static void
same(struct wire_bytes bytes)
{
    ASSERT(again.status == OMEN_OK && again.count == bytes.count);
    ASSERT(memcmp(again.bytes, bytes.bytes, bytes.count) == 0);
}

static void
machines(uint8_t which, struct wire_bytes bytes)
{
    static struct raft_room raft;
    static struct replica_room replica;
    if (which == 0 && raft_msg_read(bytes, &raft)) {
        raft_msg_write(&again, &raft.msg);
        same(bytes);
    } else if (which == 1 && replica_msg_read(bytes, &replica)) {
        replica_msg_write(&again, &replica.msg);
        same(bytes);
    }
}

static void
nodes(uint8_t which, struct wire_bytes bytes)
{
    struct wire_turn turn;
    struct wire_part part;
    struct wire_reply reply;
    struct wire_map_ask ask;
    struct wire_map map;
    if (which == 2 && wire_turn_read(bytes, &turn))
        wire_turn_write(&again, &turn);
    else if (which == 3 && wire_part_read(bytes, &part))
        wire_part_write(&again, &part);
    else if (which == 4 && wire_reply_read(bytes, &reply))
        wire_reply_write(&again, &reply);
    else if (which == 5 && wire_map_ask_read(bytes, &ask))
        wire_map_ask_write(&again, &ask);
    else if (which == 6 && wire_map_read(bytes, &map))
        wire_map_write(&again, &map);
    else
        return;
    same(bytes);
}

static void
strangers(uint8_t which, struct wire_bytes bytes)
{
    static const struct seal_keys keys;
    static const struct handshake ours = {.node = {.low = 1}, .version_most = 3};
    static uint8_t hello[HANDSHAKE_HELLO_BYTES], packet[GOSSIP_PACKET_BYTES_MAX];
    struct handshake theirs;
    if (which == 7 && handshake_take_hello(&ours, bytes, &theirs) == HANDSHAKE_FINE) {
        handshake_hello(&theirs, hello);
        ASSERT(memcmp(hello, bytes.bytes, sizeof hello) == 0);
    } else if (which == 8) {
        handshake_hello(&ours, hello);
        const enum handshake_verdict verdict =
            handshake_take_welcome(keys.peer, &ours, hello, bytes, &theirs);
        ASSERT(verdict < HANDSHAKE_VERDICTS);
    } else if (which == 9) {
        ASSERT(seal_open_datagram(&keys, bytes, packet) <= GOSSIP_PACKET_BYTES_MAX);
    } else if (which == 10 && bytes.count >= PEER_HEAD_BYTES) {
        struct peer_head head;
        const enum peer_refusal refusal =
            peer_head_read(bytes.bytes, PEER_CONTROL, PEER_KNOWN, &head);
        ASSERT((refusal == PEER_FINE) == (head.kind != 0));
        ASSERT(head.body_bytes <= PEER_CONTROL_BYTES_MAX);
    }
}

static void
maps(uint8_t which, struct wire_bytes bytes)
{
    static const struct shape *const shapes[] = {&inner_why_ask, &inner_why, &inner_page,
                                                 &inner_build_ask, &inner_build};
    struct omen_error error = {0};
    union method_body one, other;
    struct decode decode;
    if (which < 11 || which > 15)
        return;
    const struct shape *shape = shapes[which - 11];
    decode_init(&decode, bytes, &decode_answers, &error);
    shape_read(&decode, shape, &one);
    if (decode_end(&decode) != OMEN_OK) {
        ASSERT(error.status != OMEN_OK && error.text[0] != '\0');
        return;
    }
    shape_write(&again, shape, &one);
    ASSERT(again.status == OMEN_OK);
    decode_init(&decode, (struct wire_bytes){again.bytes, (uint32_t)again.count}, &decode_answers,
                &error);
    shape_read(&decode, shape, &other);
    ASSERT(decode_end(&decode) == OMEN_OK && same_struct(shape, &one, &other));
}

static void
hits(uint8_t which, struct wire_bytes bytes)
{
    if (which != 16)
        return;
    struct plain plain = plain_of(bytes);
    struct found found;
    found_read(&plain, &found);
    found_write(&again, &found);
    for (uint32_t i = 0; i < found.list_count && !plain.failed; i++) {
        const uint32_t count = found_list_read(&plain);
        found_list_write(&again, count);
        for (uint32_t j = 0; j < count && !plain.failed; j++) {
            struct found_hit hit;
            found_hit_read(&plain, &hit, NULL);
            if (!plain.failed)
                found_hit_write(&again, &hit);
        }
    }
    if (plain_done(&plain))
        same(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count == 0 || seal_init() != OMEN_OK)
        return 0;
    const struct wire_bytes rest = {bytes + 1, (uint32_t)(count - 1)};
    const uint8_t which = bytes[0] % 17;
    encode_init(&again, 1 << 26);
    machines(which, rest);
    nodes(which, rest);
    strangers(which, rest);
    maps(which, rest);
    hits(which, rest);
    encode_fini(&again);
    return 0;
}
