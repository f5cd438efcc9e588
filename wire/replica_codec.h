// wire/replica_codec.h -- the messages of replica/replica_msg.h as bytes.
//
// Shape:   value. What is read borrows the bytes of its entries and of its chunk.
// Threads: any.
#ifndef OMEN_WIRE_REPLICA_CODEC_H
#define OMEN_WIRE_REPLICA_CODEC_H
#include "replica/replica_msg.h"
#include "wire/encode.h"

struct replica_room { // what a message that was read points to
    struct replica_msg msg;
    struct replica_entry entries[REPLICA_ENTRIES_MAX];
    struct replica_sum buckets[REPLICA_BUCKETS_PER_MSG];
};

void replica_msg_write(struct encode *encode, const struct replica_msg *msg);

// False for what is no message, or breaks a limit of replica_msg.h.
bool replica_msg_read(struct wire_bytes bytes, struct replica_room *room);

#endif
