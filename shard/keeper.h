// shard/keeper.h -- the thread that looks after a durable shard: commits what waits, checkpoints, promotes, brings in fields.
//
// Shape:   handle; private to shard/.
#ifndef OMEN_SHARD_KEEPER_H
#define OMEN_SHARD_KEEPER_H
#include "shard/shard_int.h"

struct keeper; // opaque

OMEN_MUST_CHECK omen_status keeper_open(struct shard *shard, struct keeper **out);
void keeper_close(struct keeper *keeper); // accepts NULL
void keeper_wake(struct keeper *keeper);  // there may be a checkpoint to make; accepts NULL
// Something was written, and is in `accepted_seq`: who rests looks. Nothing but a load where it does not. Accepts NULL.
void keeper_stir(struct keeper *keeper);
bool keeper_rests(const struct keeper *keeper);

#endif
