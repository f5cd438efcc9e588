// router/front_join.h -- the shards' lists of hits as what a client sees.
//
// Shape: handle, in memory.
#ifndef OMEN_ROUTER_FRONT_JOIN_H
#define OMEN_ROUTER_FRONT_JOIN_H
#include "router/front_int.h"

// On OMEN_OK the client was answered.
OMEN_MUST_CHECK omen_status front_say_hits(struct front *front, struct front_call *call,
                                           const struct front_told *told);
OMEN_MUST_CHECK omen_status front_say_batch(struct front *front, struct front_call *call,
                                            const struct front_told *told,
                                            struct omen_error *error);
OMEN_MUST_CHECK omen_status front_say_why_not(struct front *front, struct front_call *call);

#endif
