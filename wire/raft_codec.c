// wire/raft_codec.c -- the messages of raft/raft_msg.h as bytes.
//
// Shape: value.
//
//   kind 1, numbers, [group: members 1, auto_leave 1, (id 8, roles 1)...], entries: (position 8, term 8, kind 1, bytes 4, the bytes)...,
//   the chunk
#include "wire/raft_codec.h"

#include <stddef.h>

#include "base/assert.h"
#include "wire/plain.h"

#define ENTRY_BYTES 21u
#define MEMBER_BYTES 9u
#define NUMBER_MAX (RAFT_NUMBER_MAX - 1)

// The order is for ever; what is new goes behind.
static const struct plain_row rows[] = {
    PLAIN_ROW(raft_msg, from, UINT64_MAX),
    PLAIN_ROW(raft_msg, to, UINT64_MAX),
    PLAIN_ROW(raft_msg, term, NUMBER_MAX),
    PLAIN_ROW(raft_msg, position, NUMBER_MAX),
    PLAIN_ROW(raft_msg, log_term, NUMBER_MAX),
    PLAIN_ROW(raft_msg, commit, NUMBER_MAX),
    PLAIN_ROW(raft_msg, hint, NUMBER_MAX),
    PLAIN_ROW(raft_msg, context, UINT64_MAX),
    PLAIN_ROW(raft_msg, reject, 1),
    PLAIN_ROW(raft_msg, transfer, 1),
    PLAIN_ROW(raft_msg, entry_count, RAFT_ENTRIES_MAX),
    PLAIN_ROW(raft_msg, offset, NUMBER_MAX),
    PLAIN_ROW(raft_msg, total_bytes, NUMBER_MAX),
    PLAIN_ROW(raft_msg, chunk_bytes, RAFT_CHUNK_BYTES_MAX),
    PLAIN_ROW(raft_msg, chunk_hash, UINT64_MAX),
};
#define ROWS (sizeof rows / sizeof rows[0])

static void
group_write(struct encode *encode, const struct raft_group *group)
{
    encode_plain(encode, group->count, 1);
    encode_plain(encode, group->auto_leave, 1);
    for (uint32_t i = 0; i < group->count; i++) {
        encode_plain(encode, group->members[i].id, 8);
        encode_plain(encode, group->members[i].roles, 1);
    }
}

void
raft_msg_write(struct encode *encode, const struct raft_msg *msg)
{
    ASSERT(msg->kind > 0 && msg->kind < RAFT_MSG_KINDS);
    encode_plain(encode, msg->kind, 1);
    plain_rows_write(encode, rows, ROWS, msg);
    encode_plain(encode, msg->group != NULL, 1);
    if (msg->group != NULL)
        group_write(encode, msg->group);
    for (uint32_t i = 0; i < msg->entry_count; i++) {
        const struct raft_entry *entry = &msg->entries[i];
        ASSERT(entry->byte_count <= RAFT_ENTRY_BYTES_MAX);
        encode_plain(encode, entry->position, 8);
        encode_plain(encode, entry->term, 8);
        encode_plain(encode, entry->kind, 1);
        encode_plain(encode, entry->byte_count, 4);
        encode_raw(encode, entry->bytes, entry->byte_count);
    }
    encode_raw(encode, msg->chunk, msg->chunk_bytes);
}

// Members by ascending id.
static void
group_read(struct plain *plain, struct raft_group *group)
{
    group->count = (uint32_t)plain_number(plain, 1, RAFT_MEMBERS_MAX);
    group->auto_leave = plain_number(plain, 1, 1) != 0;
    if (plain_left(plain) < (size_t)group->count * MEMBER_BYTES)
        plain->failed = true;
    for (uint32_t i = 0; i < group->count && !plain->failed; i++) {
        group->members[i].id = plain_number(plain, 8, UINT64_MAX);
        group->members[i].roles = (uint8_t)plain_number(plain, 1, UINT8_MAX);
        if (i > 0 && group->members[i].id <= group->members[i - 1].id)
            plain->failed = true;
    }
}

static void
entry_read(struct plain *plain, struct raft_entry *entry)
{
    entry->position = plain_number(plain, 8, NUMBER_MAX);
    entry->term = plain_number(plain, 8, NUMBER_MAX);
    entry->kind = (enum raft_entry_kind)plain_number(plain, 1, RAFT_ENTRY_CHANGE);
    entry->byte_count = (uint32_t)plain_number(plain, 4, RAFT_ENTRY_BYTES_MAX);
    entry->bytes = plain_bytes(plain, entry->byte_count);
}

bool
raft_msg_read(struct wire_bytes bytes, struct raft_room *room)
{
    struct plain plain = plain_of(bytes);
    struct raft_msg *msg = &room->msg;
    *msg = (struct raft_msg){0};
    const uint8_t kind = (uint8_t)plain_number(&plain, 1, RAFT_MSG_KINDS - 1);
    plain_rows_read(&plain, rows, ROWS, msg);
    if (plain_number(&plain, 1, 1) != 0) {
        group_read(&plain, &room->group);
        msg->group = &room->group;
    }
    if (plain_left(&plain) < (size_t)msg->entry_count * ENTRY_BYTES)
        plain.failed = true;
    for (uint32_t i = 0; i < msg->entry_count && !plain.failed; i++)
        entry_read(&plain, &room->entries[i]);
    msg->entries = msg->entry_count > 0 ? room->entries : NULL;
    msg->chunk = msg->chunk_bytes > 0 ? plain_bytes(&plain, msg->chunk_bytes) : NULL;
    msg->kind = (enum raft_msg_kind)kind;
    return kind != 0 && plain_done(&plain);
}
