// cluster/command_int.h -- what apply wants of a command's bytes besides the command; private to cluster/.
//
// Shape: value.
#ifndef OMEN_CLUSTER_COMMAND_INT_H
#define OMEN_CLUSTER_COMMAND_INT_H
#include "cluster/codec_int.h"
#include "cluster/command.h"

#define COMMAND_TIME_MAX 0xffffffffffffull // ms in 48 bits, as in a UUIDv7

// As command_decode; *body_at is where the kind and what follows begin: the same for a command that is sent again.
OMEN_MUST_CHECK omen_status command_decode_body(const void *bytes, size_t count,
                                                struct command *out, size_t *body_at);

// Limits that commands and snapshots share.
void codec_node_facts(struct codec *codec, uint64_t *features, uint16_t *weight, uint8_t *roles,
                      struct map_name *zone, struct map_text *addresses);
void codec_quotas(struct codec *codec, uint64_t quotas[MAP_QUOTAS]);

#endif
