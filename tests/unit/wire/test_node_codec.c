// tests/unit/wire/test_node_codec.c -- commands, leases, parts, replies and pieces of the map are read as they were written; cut, longer or
// flipped they are refused or another message.
#include "wire/node_codec.h"

#include <stddef.h>

#include "cluster/command.h"
#include "router/fanout.h"
#include "tests/lib/check_main.h"
#include "tests/lib/codec_claims.h"
#include "tests/lib/wire_messages.h"

static struct encode encode, again;
static struct wire_pool pool;

union message {
    struct wire_turn turn;
    struct wire_part part;
    struct wire_reply reply;
    struct wire_map_ask map_ask;
    struct wire_map map;
};

static union message one, other;

static void
fresh(void)
{
    encode_init(&encode, 1 << 26);
    encode_init(&again, 1 << 26);
    pool.used = 0;
    memset(&one, 0, sizeof one);
    memset(&other, 0, sizeof other);
}

static void
tidy_up(void)
{
    encode_fini(&encode);
    encode_fini(&again);
}

enum { KINDS = 5 };

static void
write_kind(int kind, struct encode *to, const union message *from)
{
    kind == 0   ? wire_turn_write(to, &from->turn)
    : kind == 1 ? wire_part_write(to, &from->part)
    : kind == 2 ? wire_reply_write(to, &from->reply)
    : kind == 3 ? wire_map_ask_write(to, &from->map_ask)
                : wire_map_write(to, &from->map);
}

static bool
read_kind(int kind, struct wire_bytes bytes, union message *to)
{
    return kind == 0   ? wire_turn_read(bytes, &to->turn)
           : kind == 1 ? wire_part_read(bytes, &to->part)
           : kind == 2 ? wire_reply_read(bytes, &to->reply)
           : kind == 3 ? wire_map_ask_read(bytes, &to->map_ask)
                       : wire_map_read(bytes, &to->map);
}

#define N(most) random_number_or_none(prng, most)
#define PLAIN_MAX (UINT64_MAX / 4 - 1)

static void
random_turn(struct prng *prng)
{
    struct wire_turn *turn = &one.turn;
    turn->kind = (uint8_t)(1 + prng_below(prng, WIRE_TURN_CLOCK));
    turn->node = (uint32_t)N(UINT32_MAX);
    turn->boot = N(UINT64_MAX);
    turn->sent_ns = N(UINT64_MAX);
    turn->lease_ns = N(UINT64_MAX);
    turn->position = N(PLAIN_MAX);
    turn->command_bytes = turn->kind == WIRE_TURN_COMMAND ? 1 + prng_below(prng, 40) : 0;
    turn->command = random_bytes(prng, &pool, turn->command_bytes).bytes;
}

static void
random_part(struct prng *prng)
{
    struct wire_part *part = &one.part;
    part->kind = (uint8_t)(1 + prng_below(prng, 3));
    part->consistency = (uint8_t)prng_below(prng, 3);
    part->method = (uint8_t)prng_below(prng, METHODS_END);
    part->part = (uint32_t)N(UINT32_MAX);
    part->attempt = (uint32_t)N(UINT32_MAX);
    part->request = N(UINT64_MAX);
    part->copy_high = N(UINT64_MAX);
    part->copy_low = N(UINT64_MAX);
    part->shard =
        (part->copy_high | part->copy_low) == 0 ? N(PLAIN_MAX) : random_within(prng, 1, PLAIN_MAX);
    part->term = N(PLAIN_MAX);
    part->cfg_ver = N(PLAIN_MAX);
    part->map_version = N(PLAIN_MAX);
    part->first = N(UINT64_MAX / 2);
    part->last = UINT64_MAX / 2 + N(UINT64_MAX / 2);
    part->after_term = N(WIRE_STATE_MAX);
    part->after_seq = N(WIRE_STATE_MAX);
    part->op_high = N(UINT64_MAX);
    part->op_low = N(UINT64_MAX);
    part->ask_bytes = 1 + prng_below(prng, 40);
    part->ask = random_bytes(prng, &pool, part->ask_bytes).bytes;
}

static void
random_reply(struct prng *prng)
{
    struct wire_reply *reply = &one.reply;
    reply->method = (uint8_t)prng_below(prng, METHODS_END);
    reply->draining = (uint8_t)prng_below(prng, 2);
    reply->failure = (uint32_t)N(255);
    reply->part = (uint32_t)N(UINT32_MAX);
    reply->attempt = (uint32_t)N(UINT32_MAX);
    reply->queue = (uint32_t)N(UINT32_MAX);
    reply->request = N(UINT64_MAX);
    reply->map_version = N(PLAIN_MAX);
    reply->term = N(PLAIN_MAX);
    reply->seq = N(PLAIN_MAX);
    reply->item_count = prng_below(prng, 20);
    reply->failures =
        reply->item_count > 0 ? random_bytes(prng, &pool, reply->item_count).bytes : NULL;
    reply->answer_bytes = reply->failure == 0 ? prng_below(prng, 30) : 0;
    reply->answer =
        reply->answer_bytes > 0 ? random_bytes(prng, &pool, reply->answer_bytes).bytes : NULL;
    reply->reason_bytes = reply->failure != 0 ? prng_below(prng, 30) : 0;
    reply->reason =
        reply->reason_bytes > 0 ? random_bytes(prng, &pool, reply->reason_bytes).bytes : NULL;
}

static void
random_of(int kind, struct prng *prng)
{
    pool.used = 0;
    memset(&one, 0, sizeof one);
    if (kind == 0) {
        random_turn(prng);
    } else if (kind == 1) {
        random_part(prng);
    } else if (kind == 2) {
        random_reply(prng);
    } else if (kind == 3) {
        one.map_ask.version = N(PLAIN_MAX);
    } else {
        one.map = (struct wire_map){.version = random_within(prng, 1, PLAIN_MAX),
                                    .position = N(PLAIN_MAX),
                                    .offset = prng_below(prng, 1000),
                                    .hash = N(UINT64_MAX),
                                    .piece_bytes = 1 + prng_below(prng, 50)};
        one.map.total_bytes = one.map.offset + one.map.piece_bytes + prng_below(prng, 2);
        one.map.piece = random_bytes(prng, &pool, one.map.piece_bytes).bytes;
    }
}

static int drawn; // which kind

static void
draw(struct prng *prng)
{
    random_of(drawn, prng);
}

static void
write_one(struct encode *to)
{
    write_kind(drawn, to, &one);
}

static bool
read_other(struct wire_bytes bytes)
{
    return read_kind(drawn, bytes, &other);
}

static void
write_other(struct encode *to)
{
    write_kind(drawn, to, &other);
}

static const struct codec_claims codec = {draw, write_one, read_other, write_other, NULL};

static struct wire_bytes
written(void)
{
    return codec_written(&encode);
}

START_TEST(what_is_written_is_read_as_it_was)
{
    drawn = _i;
    codec_reads_what_it_wrote(&codec, &encode, &again, (uint64_t)_i, 300);
}
END_TEST

START_TEST(fields_come_where_they_belong)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_of(1, &prng);
    write_kind(1, &encode, &one);
    ck_assert(read_kind(1, written(), &other));
    ck_assert(memcmp(&one, &other, offsetof(struct wire_part, ask)) == 0);
    ck_assert(memcmp(one.part.ask, other.part.ask, one.part.ask_bytes) == 0);
    encode_reset(&encode);
    random_of(2, &prng);
    write_kind(2, &encode, &one);
    ck_assert(read_kind(2, written(), &other));
    ck_assert(memcmp(&one, &other, offsetof(struct wire_reply, failures)) == 0);
    ck_assert(same_text(one.reply.failures, one.reply.item_count, other.reply.failures,
                        other.reply.item_count));
}
END_TEST

START_TEST(every_cut_and_every_byte_more_is_refused)
{
    drawn = _i % KINDS;
    codec_refuses_cuts(&codec, &encode, (uint64_t)_i);
}
END_TEST

START_TEST(every_flipped_bit_is_refused_or_another_message)
{
    drawn = _i % KINDS;
    codec_knows_flips(&codec, &encode, &again, (uint64_t)_i);
}
END_TEST

START_TEST(limits_are_those_of_the_machines)
{
    ck_assert_uint_eq(WIRE_COMMAND_BYTES_MAX, COMMAND_BYTES_MAX);
    ck_assert_uint_eq(WIRE_ITEMS_MAX, FANOUT_ITEMS_MAX);
    ck_assert_int_eq(WIRE_PART_WRITE, FANOUT_WRITE);
    ck_assert_int_eq(WIRE_STRONG, FANOUT_STRONG);
    ck_assert_uint_eq(PLAIN_MAX, FANOUT_NUMBER_MAX - 1);
}
END_TEST

START_TEST(a_command_is_as_long_as_it_may_be)
{
    static uint8_t zeros[WIRE_COMMAND_BYTES_MAX + 1];
    one.turn = (struct wire_turn){
        .kind = WIRE_TURN_COMMAND, .command_bytes = WIRE_COMMAND_BYTES_MAX, .command = zeros};
    wire_turn_write(&encode, &one.turn);
    ck_assert(wire_turn_read(written(), &other.turn));
    encode.bytes[2] += 1; // mask 1, kind 1, then the length
    encode_plain(&encode, 0, 1);
    ck_assert(!wire_turn_read(written(), &other.turn));
}
END_TEST

START_TEST(a_piece_lies_within_its_map)
{
    one.map = (struct wire_map){.version = 1,
                                .offset = 6,
                                .total_bytes = 10,
                                .piece_bytes = 4,
                                .piece = (const uint8_t *)"abcd"};
    wire_map_write(&encode, &one.map);
    ck_assert(wire_map_read(written(), &other.map));
    encode_reset(&encode);
    one.map.offset = 7;
    wire_map_write(&encode, &one.map);
    ck_assert(!wire_map_read(written(), &other.map));
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    struct wire_part part = {.kind = WIRE_PART_GET,
                             .shard = 1,
                             .first = 2,
                             .last = 3,
                             .ask = (const uint8_t *)"\x80",
                             .ask_bytes = 1};
    part.kind = _i == 1 ? 0 : part.kind;
    part.shard = _i == 2 || _i == 5 ? 0 : part.shard;
    part.copy_low = _i == 2; // of no shard; without it the part is for who leads the metadata
    part.last = _i == 3 ? 1 : part.last;
    part.ask_bytes = _i == 4 ? 0 : part.ask_bytes;
    wire_part_write(&encode, &part);
    ck_assert(wire_part_read(written(), &other.part) == (_i == 0 || _i == 5));
}
END_TEST

START_TEST(a_reason_belongs_to_a_failure)
{
    struct wire_reply reply = {
        .failure = (uint32_t)_i, .reason = (const uint8_t *)"why", .reason_bytes = 3};
    wire_reply_write(&encode, &reply);
    ck_assert(wire_reply_read(written(), &other.reply) == (_i == 1));
}
END_TEST

static Suite *
node_codec_suite(void)
{
    Suite *suite = suite_create("wire/node_codec");
    TCase *tcase = tcase_create("node_codec");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, KINDS);
    tcase_add_loop_test(tcase, fields_come_where_they_belong, 0, 20);
    tcase_add_loop_test(tcase, every_cut_and_every_byte_more_is_refused, 0, 50);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_another_message, 0, 50);
    tcase_add_test(tcase, limits_are_those_of_the_machines);
    tcase_add_test(tcase, a_command_is_as_long_as_it_may_be);
    tcase_add_test(tcase, a_piece_lies_within_its_map);
    tcase_add_loop_test(tcase, what_makes_no_sense_is_refused, 0, 6);
    tcase_add_loop_test(tcase, a_reason_belongs_to_a_failure, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_codec_suite)
