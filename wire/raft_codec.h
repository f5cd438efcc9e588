// wire/raft_codec.h -- the messages of raft/raft_msg.h as bytes.
//
// Shape:   value. What is read borrows its entries and its chunk from the bytes.
// Threads: any.
#ifndef OMEN_WIRE_RAFT_CODEC_H
#define OMEN_WIRE_RAFT_CODEC_H
#include "raft/raft_msg.h"
#include "wire/encode.h"

struct raft_room { // what a message that was read points to
    struct raft_msg msg;
    struct raft_group group;
    struct raft_entry entries[RAFT_ENTRIES_MAX];
};

void raft_msg_write(struct encode *encode, const struct raft_msg *msg);

// False for what is no message, or breaks a limit of raft_msg.h.
bool raft_msg_read(struct wire_bytes bytes, struct raft_room *room);

#endif
