// router/fanout.c -- requests go out to the shards in parts and come back as one answer.
//
// Shape: machine.
//
//   a request:  START --start.c: fanout_begin--> under way --every part DONE or FAILED, or give_up_ns: advance--> over
//               START --no room, no such collection, too late: fanout_refuse--> answered
//               under way --CANCEL; or a search of which one part is enough to fail it: fanout_part_fail--> over
//               over --losers were told, and there is room: fanout_answer--> answered, forgotten
//   its parts:  try.c, reply.c; part.c cuts them, table.c looks at them again when the table changes
//
// A request is looked at when its time in `wakes` has come: then all of its parts are. A reply looks at its own part only; with 64
// shards that is the difference between 64 looks and 4,096 for one search.
#include "router/fanout.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "router/fanout_int.h"

void
fanout_init(struct fanout *fanout, const struct fanout_config *config, uint64_t seed)
{
    ASSERT(config->requests_max >= 1 && config->requests_max <= FANOUT_REQUESTS_MAX);
    ASSERT(config->parts_max >= 1 && config->parts_max <= FANOUT_PARTS_MAX);
    ASSERT(config->tries_max >= 1 && config->tries_max <= FANOUT_TRIES_MAX);
    ASSERT(config->hedge_min_ns <= config->hedge_max_ns);
    ASSERT(config->try_min_ns <= config->try_max_ns && config->try_max_ns <= LATENCY_MAX_NS);
    ASSERT(config->hedge_permille <= 1000);
    ASSERT(config->retry_ns >= 2 && config->retry_ns <= config->retry_max_ns);
    ASSERT(config->retry_max_ns <= LATENCY_MAX_NS);
    ASSERT(config->far_percent >= 100 && config->far_percent <= 1000);
    *fanout = (struct fanout){.config = *config};
    fanout->slow_ns[0] = fanout->slow_ns[1] = fanout_min(config->hedge_max_ns, LATENCY_MAX_NS);
    fanout->wake_ns = NEVER;
    prng_init(&fanout->prng, seed);
    for (uint32_t i = 0; i < FANOUT_REQUESTS_MAX; i++)
        fanout->wakes[i] = NEVER;
}

void
fanout_fini(struct fanout *fanout)
{
    mem_free(fanout->parts);
    mem_free(fanout->scratch);
    fanout->parts = NULL;
    fanout->parts_free = NULL;
    fanout->scratch = NULL;
}

void
fanout_touch(struct fanout *fanout, uint32_t slot, uint64_t at_ns)
{
    fanout->wakes[slot] = fanout_min(fanout->wakes[slot], at_ns);
    fanout->wake_ns = fanout_min(fanout->wake_ns, at_ns);
}

void *
fanout_scratch(struct fanout *fanout, size_t bytes)
{
    if (bytes <= fanout->scratch_bytes)
        return fanout->scratch;
    void *scratch = mem_alloc(bytes * 2);
    if (scratch == NULL) {
        fanout->counters.no_memory++;
        return NULL;
    }
    mem_free(fanout->scratch);
    fanout->scratch = scratch;
    fanout->scratch_bytes = bytes * 2;
    return scratch;
}

// ---- inputs ----

static uint32_t
cancel(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const uint32_t slot = (uint32_t)(turn->in->request % FANOUT_REQUESTS_MAX);
    struct fanout_request *request = &fanout->requests[slot];
    if (turn->in->request == 0 || request->number != turn->in->request || request->over)
        return NO_SLOT;
    request->over = true;
    request->over_with = OMEN_E_CANCELLED;
    fanout_touch(fanout, slot, fanout->now_ns);
    return slot;
}

static uint32_t
dispatch(struct fanout_turn *turn)
{
    switch (turn->in->kind) {
    case FANOUT_IN_ROUTES:
        fanout_table_set(turn);
        return NO_SLOT;
    case FANOUT_IN_NODE:
        fanout_node_set(turn);
        return NO_SLOT;
    case FANOUT_IN_START:
        return fanout_begin(turn);
    case FANOUT_IN_REPLY:
        return fanout_hear(turn);
    case FANOUT_IN_CANCEL:
        return cancel(turn);
    case FANOUT_IN_WAKE:
        break;
    }
    return NO_SLOT;
}

// ---- requests whose time has come ----

// When it wants to be looked at again.
static uint64_t
look_at_parts(struct fanout_turn *turn, struct fanout_request *request)
{
    struct fanout *fanout = turn->fanout;
    uint64_t wake_ns = request->give_up_ns;
    turn->lapse_ns = fanout_lapse_at(fanout, request);
    fanout_trace_lineage(fanout, request);
    for (uint32_t at = request->parts; at != FANOUT_NO_PART && !request->over;
         at = fanout->parts[at].next) {
        if (fanout->parts[at].state != FANOUT_PART_WAITS)
            continue;
        if (turn->out->send_count == FANOUT_SENDS_MAX)
            return fanout->now_ns;
        wake_ns = fanout_min(wake_ns, fanout_part_advance(turn, at));
    }
    return wake_ns;
}

static void
advance(struct fanout_turn *turn, uint32_t slot)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_request *request = &fanout->requests[slot];
    request->over |= request->waiting == 0 || request->give_up_ns <= fanout->now_ns;
    fanout->wakes[slot] = NEVER;
    if (!request->over)
        fanout->wakes[slot] = look_at_parts(turn, request);
    request->over |= request->waiting == 0;
    if (request->over)
        fanout->wakes[slot] = fanout_answer(turn, slot) ? NEVER : fanout->now_ns;
}

// The first one looked at is another each time, so that where one step is not enough nobody is left behind.
static void
look_at_all(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const uint32_t count = fanout->config.requests_max;
    ASSERT(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = (fanout->scan + i) % count;
        if (fanout->wakes[slot] <= fanout->now_ns)
            advance(turn, slot);
    }
    fanout->scan = (fanout->scan + 1) % count;
    fanout->wake_ns = NEVER;
    for (uint32_t i = 0; i < count; i++)
        fanout->wake_ns = fanout_min(fanout->wake_ns, fanout->wakes[i]);
}

// Said again after a while, requests or none: who fetches it may have failed.
static void
want_map(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const uint64_t version = fanout->routes == NULL ? 0 : fanout->routes->version;
    if (fanout->heard_version <= version)
        return;
    if (fanout->now_ns >= fanout->wanted_ns) {
        turn->out->want_version = fanout->heard_version;
        fanout->wanted_ns = fanout->now_ns + fanout->config.retry_ns;
    }
    turn->out->wake_ns = fanout_min(turn->out->wake_ns, fanout->wanted_ns);
}

void
fanout_step(struct fanout *fanout, const struct fanout_input *in, struct fanout_output *out)
{
    struct fanout_turn turn = {.fanout = fanout, .in = in, .out = out};
    out->started = out->want_version = 0;
    out->taken = false;
    out->send_count = out->cancel_count = out->answer_count = out->report_count = 0;
    if (in->now_ns > fanout->now_ns)
        fanout->now_ns = in->now_ns;
    const uint64_t wake_ns = fanout->wake_ns;
    const uint32_t slot = dispatch(&turn);
    if (slot != NO_SLOT) { // mostly nobody else's time has come, and they need not be looked at
        if (fanout->wakes[slot] <= fanout->now_ns)
            advance(&turn, slot);
        fanout->wake_ns = fanout_min(wake_ns, fanout->wakes[slot]);
    }
    if (fanout->wake_ns <= fanout->now_ns)
        look_at_all(&turn);
    out->wake_ns = fanout->wake_ns;
    want_map(&turn);
}
