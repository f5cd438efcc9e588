// router/fanout_int.h -- what the files of the fan-out share.
//
// Shape: machine; private to router/.
#ifndef OMEN_ROUTER_FANOUT_INT_H
#define OMEN_ROUTER_FANOUT_INT_H
#include "base/assert.h"
#include "base/bug.h"
#include "router/fanout.h"

#define NEVER UINT64_MAX
#define NO_SLOT UINT32_MAX
#define HEDGE_COST 1000u         // of one second try, in permille
#define HEDGE_CREDIT_MAX 100000u // so many are saved up for when they are needed
#define QUEUE_MAX 65535u         // of a node, said or counted
#define FORGET_BITS 30 // a mean is half of it after 2^30 ns, so that who was slow is tried again
#define LATENCY_MAX_NS (1ull << 36) // a minute

// A step under way.
struct fanout_turn {
    struct fanout *fanout;
    const struct fanout_input *in;
    struct fanout_output *out;
    uint64_t lapse_ns; // of what is sent now for the request that is looked at
};

enum fanout_try { FANOUT_TRY_NEXT, FANOUT_TRY_HEDGE };

static inline uint64_t
fanout_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline struct fanout_request *
fanout_request_of(struct fanout *fanout, const struct fanout_part *part)
{
    return &fanout->requests[part->request];
}

// A flight takes the first free place, so behind the number of tries all are free.
static inline uint32_t
fanout_places(const struct fanout_part *part)
{
    return part->tries < FANOUT_FLIGHTS_MAX ? part->tries : FANOUT_FLIGHTS_MAX;
}

// Whether nobody but the primary may be asked.
static inline bool
fanout_is_for_primary(const struct fanout_request *request)
{
    return request->start.kind == FANOUT_WRITE || request->start.consistency == FANOUT_STRONG;
}

// fanout.c
// The request is looked at in this step, or at the next WAKE.
void fanout_touch(struct fanout *fanout, uint32_t slot, uint64_t at_ns);
// Scratch of at least that many bytes, whose contents are lost; NULL when memory is refused.
void *fanout_scratch(struct fanout *fanout, size_t bytes);

// part.c: the pool of parts, and cutting them
bool fanout_parts_reserve(struct fanout *fanout, uint32_t count);
uint32_t fanout_part_new(struct fanout *fanout); // room was reserved
void fanout_part_free(struct fanout *fanout, uint32_t at);
// So that each piece lies in one row of the table, or in a gap of it. False: there is no room, and nothing was changed.
bool fanout_part_cut(struct fanout_turn *turn, uint32_t at);
// The row that has the part's first hash; NULL: it lies in a gap.
static inline const struct route *
fanout_row_of(const struct fanout *fanout, const struct fanout_part *part)
{
    const uint64_t collection = fanout->requests[part->request].start.collection;
    return routes_find_near(fanout->routes, collection, part->first, part->row);
}
bool fanout_part_flies(const struct fanout_part *part); // something of it is unanswered
bool fanout_part_hopes(const struct fanout_part *part); // and has not lapsed

// node.c: what is known of nodes, and whom to ask
struct fanout_node *fanout_node_find(struct fanout *fanout, uint32_t number);
void fanout_nodes_set(struct fanout *fanout); // those of the table; counts what is outstanding anew
void fanout_node_sample(struct fanout *fanout, uint32_t number, uint64_t took_ns);
void fanout_slow_sample(struct fanout *fanout, enum fanout_kind kind, uint64_t took_ns);
// Of a read.
static inline uint64_t
fanout_hedge_delay(const struct fanout *fanout, enum fanout_kind kind)
{
    const uint64_t delay_ns =
        fanout_min(fanout->slow_ns[kind - FANOUT_SEARCH], fanout->config.hedge_max_ns);
    return delay_ns > fanout->config.hedge_min_ns ? delay_ns : fanout->config.hedge_min_ns;
}
// NULL: there is nobody to ask.
const struct route_copy *fanout_choose(struct fanout *fanout, struct fanout_part *part,
                                       const struct route *row, enum fanout_try how);
bool fanout_has_other(struct fanout *fanout, const struct fanout_part *part);
bool fanout_has_refused(const struct fanout_part *part, uint32_t node);
// Whether the client may have seen more than the row's copies have: only a strong read will do. Ids of shards grow, so a child is
// newer than whoever it comes from. A token of a shard that is newer than the row and nowhere in the table may be of a child of it
// that this table does not have yet: then the row's copies may all be behind what the client has seen, and the primary too, if its
// map is as old. A strong read finds out. (A token of an older one is of no child of it, and is outdone by all copies of its own
// children, which have applied what their parent had before they answer.)
static inline bool
fanout_is_outdone(const struct fanout_request *request, const struct route *row)
{
    return request->start.consistency == FANOUT_SESSION && request->lost_shard > row->shard;
}

// try.c: sub-requests
// What holds for every part of a request that is looked at, before they are.
uint64_t fanout_lapse_at(const struct fanout *fanout, const struct fanout_request *request);
void fanout_trace_lineage(const struct fanout *fanout, struct fanout_request *request);
// When it wants to be looked at again.
uint64_t fanout_part_advance(struct fanout_turn *turn, uint32_t at);
void fanout_part_pause(struct fanout *fanout, struct fanout_part *part);
void fanout_part_fail(struct fanout *fanout, struct fanout_part *part, omen_status status);
// Ends it; where somebody still works on it for nothing, they are told while there is room.
void fanout_flight_drop(struct fanout_turn *turn, uint32_t at, struct fanout_flight *flight);
void fanout_flight_end(struct fanout *fanout, struct fanout_flight *flight);

// start.c, reply.c, table.c: inputs. The slot of the one request that may have to be looked at now, or NO_SLOT.
uint32_t fanout_begin(struct fanout_turn *turn);
uint32_t fanout_hear(struct fanout_turn *turn);
void fanout_table_set(struct fanout_turn *turn);
void fanout_node_set(struct fanout_turn *turn);

// answer.c
void fanout_refuse(struct fanout_turn *turn, omen_status status); // START
bool fanout_answer(struct fanout_turn *turn, uint32_t slot); // false: there is no room in this step

#endif
