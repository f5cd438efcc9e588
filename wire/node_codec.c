// wire/node_codec.c -- commands and leases, parts of requests, and the map, as bytes: numbers, and then what they are the lengths of.
//
// Shape: value.
#include "wire/node_codec.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/limits.h"
#include "wire/plain.h"

#define NUMBER_MAX (UINT64_MAX / 4 - 1)
#define COUNT(rows) ((uint32_t)(sizeof(rows) / sizeof(rows)[0]))

// The orders are for ever; what is new goes behind.
static const struct plain_row turn_rows[] = {
    PLAIN_ROW(wire_turn, kind, WIRE_TURN_CLOCK),
    PLAIN_ROW(wire_turn, node, UINT32_MAX),
    PLAIN_ROW(wire_turn, boot, UINT64_MAX),
    PLAIN_ROW(wire_turn, sent_ns, UINT64_MAX),
    PLAIN_ROW(wire_turn, lease_ns, UINT64_MAX),
    PLAIN_ROW(wire_turn, position, NUMBER_MAX),
    PLAIN_ROW(wire_turn, command_bytes, WIRE_COMMAND_BYTES_MAX),
};

static const struct plain_row part_rows[] = {
    PLAIN_ROW(wire_part, kind, WIRE_PART_WRITE),
    PLAIN_ROW(wire_part, consistency, WIRE_STRONG),
    PLAIN_ROW(wire_part, method, METHODS_END - 1),
    PLAIN_ROW(wire_part, part, UINT32_MAX),
    PLAIN_ROW(wire_part, attempt, UINT32_MAX),
    PLAIN_ROW(wire_part, request, UINT64_MAX),
    PLAIN_ROW(wire_part, copy_high, UINT64_MAX),
    PLAIN_ROW(wire_part, copy_low, UINT64_MAX),
    PLAIN_ROW(wire_part, shard, NUMBER_MAX),
    PLAIN_ROW(wire_part, term, NUMBER_MAX),
    PLAIN_ROW(wire_part, cfg_ver, NUMBER_MAX),
    PLAIN_ROW(wire_part, map_version, NUMBER_MAX),
    PLAIN_ROW(wire_part, first, UINT64_MAX),
    PLAIN_ROW(wire_part, last, UINT64_MAX),
    PLAIN_ROW(wire_part, after_term, WIRE_STATE_MAX),
    PLAIN_ROW(wire_part, after_seq, WIRE_STATE_MAX),
    PLAIN_ROW(wire_part, op_high, UINT64_MAX),
    PLAIN_ROW(wire_part, op_low, UINT64_MAX),
    PLAIN_ROW(wire_part, ask_bytes, WIRE_FRAME_BYTES_MAX),
};

static const struct plain_row reply_rows[] = {
    PLAIN_ROW(wire_reply, method, METHODS_END - 1),
    PLAIN_ROW(wire_reply, draining, 1),
    PLAIN_ROW(wire_reply, failure, UINT8_MAX),
    PLAIN_ROW(wire_reply, part, UINT32_MAX),
    PLAIN_ROW(wire_reply, attempt, UINT32_MAX),
    PLAIN_ROW(wire_reply, queue, UINT32_MAX),
    PLAIN_ROW(wire_reply, request, UINT64_MAX),
    PLAIN_ROW(wire_reply, map_version, NUMBER_MAX),
    PLAIN_ROW(wire_reply, term, NUMBER_MAX),
    PLAIN_ROW(wire_reply, seq, NUMBER_MAX),
    PLAIN_ROW(wire_reply, item_count, WIRE_ITEMS_MAX),
    PLAIN_ROW(wire_reply, answer_bytes, WIRE_FRAME_BYTES_MAX),
    PLAIN_ROW(wire_reply, reason_bytes, WIRE_REASON_BYTES_MAX),
};

static const struct plain_row map_ask_rows[] = {
    PLAIN_ROW(wire_map_ask, version, NUMBER_MAX),
};

static const struct plain_row map_rows[] = {
    PLAIN_ROW(wire_map, version, NUMBER_MAX),
    PLAIN_ROW(wire_map, position, NUMBER_MAX),
    PLAIN_ROW(wire_map, offset, NUMBER_MAX),
    PLAIN_ROW(wire_map, total_bytes, NUMBER_MAX),
    PLAIN_ROW(wire_map, hash, UINT64_MAX),
    PLAIN_ROW(wire_map, piece_bytes, WIRE_MAP_PIECE_BYTES_MAX),
};

void
wire_turn_write(struct encode *encode, const struct wire_turn *turn)
{
    plain_rows_write(encode, turn_rows, COUNT(turn_rows), turn);
    encode_raw(encode, turn->command, turn->command_bytes);
}

bool
wire_turn_read(struct wire_bytes bytes, struct wire_turn *turn)
{
    struct plain plain = plain_of(bytes);
    *turn = (struct wire_turn){0};
    plain_rows_read(&plain, turn_rows, COUNT(turn_rows), turn);
    turn->command = plain_bytes(&plain, turn->command_bytes);
    return plain_done(&plain) && turn->kind != 0 &&
           (turn->kind == WIRE_TURN_COMMAND) == (turn->command_bytes > 0);
}

void
wire_part_write(struct encode *encode, const struct wire_part *part)
{
    plain_rows_write(encode, part_rows, COUNT(part_rows), part);
    encode_raw(encode, part->ask, part->ask_bytes);
}

bool
wire_part_read(struct wire_bytes bytes, struct wire_part *part)
{
    struct plain plain = plain_of(bytes);
    *part = (struct wire_part){0};
    plain_rows_read(&plain, part_rows, COUNT(part_rows), part);
    part->ask = plain_bytes(&plain, part->ask_bytes);
    const bool copy = (part->copy_high | part->copy_low) != 0;
    return plain_done(&plain) && part->kind != 0 && (part->shard != 0 || !copy) &&
           part->ask_bytes > 0 && part->first <= part->last;
}

void
wire_reply_write(struct encode *encode, const struct wire_reply *reply)
{
    plain_rows_write(encode, reply_rows, COUNT(reply_rows), reply);
    encode_raw(encode, reply->failures, reply->item_count);
    encode_raw(encode, reply->answer, reply->answer_bytes);
    encode_raw(encode, reply->reason, reply->reason_bytes);
}

bool
wire_reply_read(struct wire_bytes bytes, struct wire_reply *reply)
{
    struct plain plain = plain_of(bytes);
    *reply = (struct wire_reply){0};
    plain_rows_read(&plain, reply_rows, COUNT(reply_rows), reply);
    if (reply->item_count > 0)
        reply->failures = plain_bytes(&plain, reply->item_count);
    if (reply->answer_bytes > 0)
        reply->answer = plain_bytes(&plain, reply->answer_bytes);
    if (reply->reason_bytes > 0)
        reply->reason = plain_bytes(&plain, reply->reason_bytes);
    return plain_done(&plain) && (reply->failure == 0 || reply->answer_bytes == 0) &&
           (reply->failure != 0 || reply->reason_bytes == 0);
}

void
wire_map_ask_write(struct encode *encode, const struct wire_map_ask *ask)
{
    plain_rows_write(encode, map_ask_rows, COUNT(map_ask_rows), ask);
}

bool
wire_map_ask_read(struct wire_bytes bytes, struct wire_map_ask *ask)
{
    struct plain plain = plain_of(bytes);
    plain_rows_read(&plain, map_ask_rows, COUNT(map_ask_rows), ask);
    return plain_done(&plain);
}

void
wire_map_write(struct encode *encode, const struct wire_map *map)
{
    plain_rows_write(encode, map_rows, COUNT(map_rows), map);
    encode_raw(encode, map->piece, map->piece_bytes);
}

bool
wire_map_read(struct wire_bytes bytes, struct wire_map *map)
{
    struct plain plain = plain_of(bytes);
    *map = (struct wire_map){0};
    plain_rows_read(&plain, map_rows, COUNT(map_rows), map);
    map->piece = plain_bytes(&plain, map->piece_bytes);
    return plain_done(&plain) && map->version != 0 && map->piece_bytes > 0 &&
           map->total_bytes >= map->piece_bytes &&
           map->offset <= map->total_bytes - map->piece_bytes;
}
