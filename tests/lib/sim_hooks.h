// tests/lib/sim_hooks.h -- where a simulation's nodes, copies and events meet its routers, and copies their faults.
//
// Shape: shell, simulated. Defined by tests/sim/routers.c but for the last one, which tests/sim/omensim.c has.
#ifndef OMEN_TESTS_SIM_HOOKS_H
#define OMEN_TESTS_SIM_HOOKS_H
#include "tests/lib/sim_types.h"

// A simulation begins, has no more faults, and ends; what is left and what was counted.
void sim_routers_open(struct sim *sim);
void sim_routers_calm(struct sim *sim);
void sim_routers_check(struct sim *sim);
void sim_routers_report(struct sim *sim);
void sim_routers_close(struct sim *sim);
uint64_t sim_routers_found(const struct sim *sim); // searches that were answered
uint64_t sim_routers_done(const struct sim *sim);  // all requests but those for one key
uint64_t sim_routers_typed(const struct sim *sim); // writes of collections beside the first

// An event of kind SIM_SUB or above, with its packet.
void sim_routers_event(struct sim *sim, struct sim_event *event);

// A node starts, ends, and has applied a newer map.
void sim_router_open(struct sim *sim, uint32_t at);
void sim_router_close(struct sim *sim, uint32_t at);
void sim_router_feed(struct sim *sim, uint32_t at);

// A replica serves a read (false: a record is bad), and answers.
bool sim_sub_serve(struct sim *sim, const struct sim_env *env, uint64_t request);
void sim_sub_answer(struct sim *sim, uint32_t at, const struct sim_env *env,
                    const struct replica_answer *answer);

// A copy is gone, and whoever waited for it hears nothing.
void sim_subs_dropped(struct sim *sim, uint32_t at, struct cluster_uuid copy);

// An entry with an operation of a client was applied for the first time.
void sim_call_applied(struct sim *sim, uint64_t seq, const struct sim_row *row);

// A copy has stepped, which may be about to cut its shard.
void sim_stumble_split(struct sim *sim, uint32_t at, const struct copy *copy);

#endif
