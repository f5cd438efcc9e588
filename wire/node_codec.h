// wire/node_codec.h -- what nodes say to each other besides raft, gossip and replicas: the map's commands and leases, the parts of
// clients' requests, and the map itself, as plain structs and as bytes.
//
// Shape:   value. What is read borrows from the bytes.
// Threads: any.
//
// The structs are wire's own: node/turn_msg.h and router/fanout.h are above it. Whoever sends fills them in from there, and
// whoever receives hands every field on, which may be anything within these limits.
#ifndef OMEN_WIRE_NODE_CODEC_H
#define OMEN_WIRE_NODE_CODEC_H
#include "wire/method.h"

#define WIRE_COMMAND_BYTES_MAX 20480u // cluster/command.h
#define WIRE_MAP_PIECE_BYTES_MAX (8u << 20)
#define WIRE_ITEMS_MAX 65536u      // router/fanout.h
#define WIRE_REASON_BYTES_MAX 255u // base/error.h

enum wire_turn_kind {
    WIRE_TURN_COMMAND = 1,
    WIRE_TURN_LEASE_ASK,
    WIRE_TURN_LEASE_GRANT,
    WIRE_TURN_CLOCK_ASK, // node/meta_clock.c: what time is it? sent_ns by the clock of who asks
    WIRE_TURN_CLOCK,     // that sent_ns again; position: milliseconds since 1970
};

struct wire_turn { // node/turn_msg.h
    uint8_t kind;  // enum wire_turn_kind
    uint32_t node;
    uint64_t boot, sent_ns, lease_ns, position;
    uint32_t command_bytes;
    const uint8_t *command; // encoded
};

enum wire_part_kind { WIRE_PART_SEARCH = 1, WIRE_PART_GET, WIRE_PART_WRITE };
enum wire_part_consistency { WIRE_ANY, WIRE_SESSION, WIRE_STRONG };

// A router asks a copy for its part of a client's request: what router/fanout.h says of it, and a method with what it asks.
struct wire_part {
    uint8_t kind;        // enum wire_part_kind
    uint8_t consistency; // enum wire_part_consistency
    uint8_t method;      // enum method_number
    uint32_t part, attempt;
    uint64_t request;
    uint64_t copy_high, copy_low;
    uint64_t shard, term, cfg_ver, map_version; // shard 0: of no copy, for who leads the metadata
    uint64_t first, last;
    uint64_t after_term, after_seq;
    uint64_t op_high, op_low;
    uint32_t ask_bytes;
    const uint8_t *ask; // a packed map, as method->ask has it
};

// What the copy says: wire/found.h of searches, wire/inner.h or method->answer of the rest, and for each item of the part how it
// ended. Where it failed, perhaps a sentence for people.
struct wire_reply {
    uint8_t method;
    uint8_t draining; // 0 or 1
    uint32_t failure; // the status with its sign turned
    uint32_t part, attempt;
    uint32_t queue;
    uint64_t request;
    uint64_t map_version, term, seq;
    uint32_t item_count;
    uint32_t answer_bytes;
    uint32_t reason_bytes; // 0 where `failure` is
    // One byte for each item: a status with its sign turned; NULL: there are none.
    const uint8_t *failures;
    const uint8_t *answer; // a packed map; NULL where `failure` is not 0
    const uint8_t *reason; // UTF-8, for people
};

struct wire_map_ask {
    uint64_t version; // newer than this
};

struct wire_map { // a piece of cluster/snapshot.h's bytes
    uint64_t version, position;
    uint64_t offset, total_bytes;
    uint64_t hash; // of all of them: hash_bytes
    uint32_t piece_bytes;
    const uint8_t *piece;
};

void wire_turn_write(struct encode *encode, const struct wire_turn *turn);
void wire_part_write(struct encode *encode, const struct wire_part *part);
void wire_reply_write(struct encode *encode, const struct wire_reply *reply);
void wire_map_ask_write(struct encode *encode, const struct wire_map_ask *ask);
void wire_map_write(struct encode *encode, const struct wire_map *map);

// False for what is no message, or breaks a limit.
bool wire_turn_read(struct wire_bytes bytes, struct wire_turn *turn);
bool wire_part_read(struct wire_bytes bytes, struct wire_part *part);
bool wire_reply_read(struct wire_bytes bytes, struct wire_reply *reply);
bool wire_map_ask_read(struct wire_bytes bytes, struct wire_map_ask *ask);
bool wire_map_read(struct wire_bytes bytes, struct wire_map *map);

#endif
