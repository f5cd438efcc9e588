// router/front_round.h -- methods whose answer takes more than one round, or whose parts are asked something else than the client asked.
//
// Shape: handle, in memory.
//
//   query.search, query.range by id, query.recommend:  GET the vectors -> SEARCH
//   query.why_not:                                     GET how far the point is -> SEARCH how many are nearer
//   point.scroll:                                      GET a page of the shard where it begins -> of the next one, ...
//   recall.measure:                                    SEARCH, with a share of the samples for each shard
#ifndef OMEN_ROUTER_FRONT_ROUND_H
#define OMEN_ROUTER_FRONT_ROUND_H
#include "router/front_int.h"

OMEN_MUST_CHECK omen_status front_round_first(struct front *front, struct front_call *call,
                                              struct omen_error *error);

// A round went well. True: another one is to be started. False: this was the last; or, where *error has a status, the request is
// refused.
bool front_round_next(struct front *front, struct front_call *call,
                      const struct fanout_answer *answer, struct omen_error *error);

// Number of components, and their type.
OMEN_MUST_CHECK omen_status front_check_vector(const struct front_call *call,
                                               const struct wire_vectors *vector,
                                               struct omen_error *error); // front_ask.c

#endif
