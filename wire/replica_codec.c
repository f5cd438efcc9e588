// wire/replica_codec.c -- the messages of replica/replica_msg.h as bytes.
//
// Shape: value.
//
//   kind 1, numbers, entries: (seq 8, term 8, stamp 8, op 16, kind 1, bytes 4, the bytes)..., buckets: (sum 16)..., the chunk
#include "wire/replica_codec.h"

#include <stddef.h>

#include "base/assert.h"
#include "wire/plain.h"

#define ENTRY_BYTES 45u
#define NUMBER_MAX (REPLICA_NUMBER_MAX - 1)

// The order is for ever; what is new goes behind.
static const struct plain_row rows[] = {
    PLAIN_ROW(replica_msg, from.high, UINT64_MAX),
    PLAIN_ROW(replica_msg, from.low, UINT64_MAX),
    PLAIN_ROW(replica_msg, to.high, UINT64_MAX),
    PLAIN_ROW(replica_msg, to.low, UINT64_MAX),
    PLAIN_ROW(replica_msg, shard, UINT64_MAX),
    PLAIN_ROW(replica_msg, term, NUMBER_MAX),
    PLAIN_ROW(replica_msg, cfg_ver, NUMBER_MAX),
    PLAIN_ROW(replica_msg, seq, NUMBER_MAX),
    PLAIN_ROW(replica_msg, prev_seq, NUMBER_MAX),
    PLAIN_ROW(replica_msg, prev_term, NUMBER_MAX),
    PLAIN_ROW(replica_msg, commit, NUMBER_MAX),
    PLAIN_ROW(replica_msg, round, UINT64_MAX),
    PLAIN_ROW(replica_msg, source.high, UINT64_MAX),
    PLAIN_ROW(replica_msg, source.low, UINT64_MAX),
    PLAIN_ROW(replica_msg, snapshot, UINT64_MAX),
    PLAIN_ROW(replica_msg, hash, UINT64_MAX),
    PLAIN_ROW(replica_msg, chunk, UINT32_MAX),
    PLAIN_ROW(replica_msg, chunk_count, REPLICA_CHUNKS_MAX),
    PLAIN_ROW(replica_msg, entry_count, REPLICA_ENTRIES_MAX),
    PLAIN_ROW(replica_msg, byte_count, REPLICA_CHUNK_BYTES_MAX),
    PLAIN_ROW(replica_msg, bucket_count, REPLICA_BUCKETS_PER_MSG),
    PLAIN_ROW(replica_msg, sum.high, UINT64_MAX),
    PLAIN_ROW(replica_msg, sum.low, UINT64_MAX),
};
#define ROWS (sizeof rows / sizeof rows[0])

void
replica_msg_write(struct encode *encode, const struct replica_msg *msg)
{
    ASSERT(msg->kind > 0 && msg->kind < REPLICA_MSG_KINDS);
    encode_plain(encode, msg->kind, 1);
    plain_rows_write(encode, rows, ROWS, msg);
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct replica_entry *entry = &msg->entries[i];
        ASSERT(entry->byte_count <= REPLICA_ENTRY_BYTES_MAX);
        encode_plain(encode, entry->seq, 8);
        encode_plain(encode, entry->term, 8);
        encode_plain(encode, entry->stamp_ms, 8);
        encode_plain(encode, entry->op_id.high, 8);
        encode_plain(encode, entry->op_id.low, 8);
        encode_plain(encode, entry->kind, 1);
        encode_plain(encode, entry->byte_count, 4);
        encode_raw(encode, entry->bytes, entry->byte_count);
    }
    for (uint32_t i = 0; i < msg->bucket_count; i++) {
        encode_plain(encode, msg->buckets[i].high, 8);
        encode_plain(encode, msg->buckets[i].low, 8);
    }
    encode_raw(encode, msg->bytes, msg->byte_count);
}

static void
entry_read(struct plain *plain, struct replica_entry *entry)
{
    entry->seq = plain_number(plain, 8, NUMBER_MAX);
    entry->term = plain_number(plain, 8, NUMBER_MAX);
    entry->stamp_ms = plain_number(plain, 8, NUMBER_MAX);
    entry->op_id.high = plain_number(plain, 8, UINT64_MAX);
    entry->op_id.low = plain_number(plain, 8, UINT64_MAX);
    const uint8_t kind = (uint8_t)plain_number(plain, 1, REPLICA_ENTRY_CHECKSUM);
    if (kind == 0)
        plain->failed = true;
    entry->kind = (enum replica_entry_kind)kind;
    entry->byte_count = (uint32_t)plain_number(plain, 4, REPLICA_ENTRY_BYTES_MAX);
    entry->bytes = plain_bytes(plain, entry->byte_count);
}

bool
replica_msg_read(struct wire_bytes bytes, struct replica_room *room)
{
    struct plain plain = plain_of(bytes);
    struct replica_msg *msg = &room->msg;
    *msg = (struct replica_msg){0};
    const uint8_t kind = (uint8_t)plain_number(&plain, 1, REPLICA_MSG_KINDS - 1);
    plain_rows_read(&plain, rows, ROWS, msg);
    const size_t least = (size_t)msg->entry_count * ENTRY_BYTES + (size_t)msg->bucket_count * 16;
    if (plain_left(&plain) < least + msg->byte_count)
        plain.failed = true;
    for (uint32_t i = 0; i < msg->entry_count && !plain.failed; i++)
        entry_read(&plain, &room->entries[i]);
    for (uint32_t i = 0; i < msg->bucket_count && !plain.failed; i++) {
        room->buckets[i].high = plain_number(&plain, 8, UINT64_MAX);
        room->buckets[i].low = plain_number(&plain, 8, UINT64_MAX);
    }
    msg->entries = msg->entry_count > 0 ? room->entries : NULL;
    msg->buckets = msg->bucket_count > 0 ? room->buckets : NULL;
    msg->bytes = msg->byte_count > 0 ? plain_bytes(&plain, msg->byte_count) : NULL;
    msg->kind = (enum replica_msg_kind)kind;
    return kind != 0 && plain_done(&plain);
}
