// tests/unit/wire/test_golden_peer.c -- what a node of an earlier build sent is read, and written again to the same bytes.
//
// tests/golden/wire/peer-1.bin has frames of raft and of replicas, several of each, and of commands, parts, replies and the map. It is
// kept for ever. OMEN_GOLDEN=write made it.
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_messages.h"
#include "wire/peer.h"

#define PATH "tests/golden/wire/peer-1.bin"

enum { FRAMES = 86 };

static struct encode file, body;
static struct wire_pool pool;
static struct raft_room raft;
static struct replica_room replica;

static void
add_frame(uint8_t kind, uint32_t number)
{
    uint8_t head[PEER_HEAD_BYTES];
    const uint8_t lane = kind == PEER_MAP ? PEER_BULK : PEER_CONTROL;
    peer_head_write((struct peer_head){.kind = kind, .lane = lane, .correlation = number},
                    (struct wire_bytes){body.bytes, (uint32_t)body.count}, head);
    encode_raw(&file, head, sizeof head);
    encode_raw(&file, body.bytes, body.count);
    encode_reset(&body);
    pool.used = 0;
}

static void
make(void)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < 40; i++) {
        random_raft(&prng, &pool, &raft);
        raft_msg_write(&body, &raft.msg);
        add_frame(PEER_RAFT, i);
        random_replica(&prng, &pool, &replica);
        replica_msg_write(&body, &replica.msg);
        add_frame(PEER_REPLICA, i);
    }
    wire_turn_write(&body, &(struct wire_turn){.kind = WIRE_TURN_COMMAND,
                                               .command_bytes = 3,
                                               .command = (const uint8_t *)"abc"});
    add_frame(PEER_TURN, 1);
    wire_turn_write(
        &body,
        &(struct wire_turn){
            .kind = WIRE_TURN_LEASE_GRANT, .boot = 7, .sent_ns = 8, .lease_ns = 9, .position = 10});
    add_frame(PEER_TURN, 2);
    wire_part_write(&body, &(struct wire_part){.kind = WIRE_PART_SEARCH,
                                               .consistency = WIRE_SESSION,
                                               .method = METHOD_QUERY_SEARCH,
                                               .part = 1,
                                               .attempt = 2,
                                               .request = 3,
                                               .copy_high = 4,
                                               .copy_low = 5,
                                               .shard = 6,
                                               .term = 7,
                                               .cfg_ver = 8,
                                               .map_version = 9,
                                               .first = 10,
                                               .last = UINT64_MAX,
                                               .after_term = 11,
                                               .after_seq = 12,
                                               .op_high = 13,
                                               .op_low = 14,
                                               .ask = (const uint8_t *)"\x80",
                                               .ask_bytes = 1});
    add_frame(PEER_PART, 3);
    wire_reply_write(&body, &(struct wire_reply){.method = METHOD_POINT_GET,
                                                 .draining = 1,
                                                 .part = 1,
                                                 .attempt = 2,
                                                 .queue = 3,
                                                 .request = 4,
                                                 .map_version = 5,
                                                 .term = 6,
                                                 .seq = 7,
                                                 .item_count = 2,
                                                 .failures = (const uint8_t *)"\0\1",
                                                 .answer = (const uint8_t *)"\x80",
                                                 .answer_bytes = 1});
    add_frame(PEER_REPLY, 4);
    wire_map_ask_write(&body, &(struct wire_map_ask){.version = 5});
    add_frame(PEER_MAP_ASK, 5);
    wire_map_write(&body, &(struct wire_map){.version = 6,
                                             .position = 7,
                                             .offset = 2,
                                             .total_bytes = 5,
                                             .hash = 8,
                                             .piece_bytes = 3,
                                             .piece = (const uint8_t *)"map"});
    add_frame(PEER_MAP, 6);
}

static void
write_again(uint8_t kind, struct wire_bytes bytes)
{
    union {
        struct wire_turn turn;
        struct wire_part part;
        struct wire_reply reply;
        struct wire_map_ask map_ask;
        struct wire_map map;
    } msg;
    switch (kind) {
    case PEER_RAFT:
        ck_assert(raft_msg_read(bytes, &raft));
        raft_msg_write(&body, &raft.msg);
        return;
    case PEER_REPLICA:
        ck_assert(replica_msg_read(bytes, &replica));
        replica_msg_write(&body, &replica.msg);
        return;
    case PEER_TURN:
        ck_assert(wire_turn_read(bytes, &msg.turn));
        wire_turn_write(&body, &msg.turn);
        return;
    case PEER_PART:
        ck_assert(wire_part_read(bytes, &msg.part));
        wire_part_write(&body, &msg.part);
        return;
    case PEER_REPLY:
        ck_assert(wire_reply_read(bytes, &msg.reply));
        wire_reply_write(&body, &msg.reply);
        return;
    case PEER_MAP_ASK:
        ck_assert(wire_map_ask_read(bytes, &msg.map_ask));
        wire_map_ask_write(&body, &msg.map_ask);
        return;
    default:
        ck_assert_int_eq(kind, PEER_MAP);
        ck_assert(wire_map_read(bytes, &msg.map));
        wire_map_write(&body, &msg.map);
    }
}

START_TEST(what_an_earlier_build_sent_is_read_and_written_alike)
{
    encode_init(&file, 1 << 24);
    encode_init(&body, 1 << 24);
    const char *want = getenv("OMEN_GOLDEN");
    if (want != NULL && strcmp(want, "write") == 0) {
        make();
        FILE *out = fopen(PATH, "wbx");
        ck_assert_ptr_nonnull(out);
        ck_assert_uint_eq(fwrite(file.bytes, 1, file.count, out), file.count);
        fclose(out);
    }
    static uint8_t bytes[1 << 20];
    FILE *in = fopen(PATH, "rb");
    ck_assert_ptr_nonnull(in);
    const size_t count = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    uint32_t frames = 0;
    for (size_t at = 0; at < count; frames++) {
        struct peer_head head;
        ck_assert_uint_ge(count - at, PEER_HEAD_BYTES);
        const enum peer_lane lane = (enum peer_lane)bytes[at + 7];
        ck_assert_int_eq(peer_head_read(bytes + at, lane, PEER_KNOWN, &head), PEER_FINE);
        const struct wire_bytes said = {bytes + at + PEER_HEAD_BYTES, head.body_bytes};
        ck_assert(said.count <= count - at - PEER_HEAD_BYTES && peer_body_is_whole(&head, said));
        encode_reset(&body);
        write_again(head.kind, said);
        ck_assert_uint_eq(body.count, said.count);
        ck_assert(memcmp(body.bytes, said.bytes, said.count) == 0);
        at += PEER_HEAD_BYTES + said.count;
    }
    ck_assert_uint_eq(frames, FRAMES);
    encode_fini(&file);
    encode_fini(&body);
}
END_TEST

static Suite *
golden_peer_suite(void)
{
    Suite *suite = suite_create("wire/golden_peer");
    TCase *tcase = tcase_create("golden_peer");
    tcase_add_test(tcase, what_an_earlier_build_sent_is_read_and_written_alike);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(golden_peer_suite)
