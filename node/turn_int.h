// node/turn_int.h -- what the files of a turn share.
//
// Shape: machine.
#ifndef OMEN_NODE_TURN_INT_H
#define OMEN_NODE_TURN_INT_H
#include "node/turn.h"

// The map as bytes. False: no memory; *into is as it was.
bool turn_encode(const struct turn *turn, struct turn_bytes *into);
void turn_bytes_fini(struct turn_bytes *bytes);

// Keeps the chunk of out.raft, and where the snapshot is whole makes it the map and a checkpoint.
enum turn_halt turn_receive_snapshot(struct turn *turn, struct turn_output *out);
// Encodes the snapshot that raft wants; WAKE gives it.
enum turn_halt turn_make_snapshot(struct turn *turn, uint64_t position);
// Gives the chunks their bytes; drops those of a snapshot that is no more.
void turn_fill_chunks(const struct turn *turn, struct raft_output *out);

#endif
