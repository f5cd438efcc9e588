// router/start.c -- a request comes in: taken, or refused at once.
//
// Shape: machine.
#include "base/limits.h"
#include "router/fanout_int.h"

static void
assert_is_ours(const struct fanout_start *start)
{
    ASSERT(start->kind >= FANOUT_SEARCH && start->kind <= FANOUT_WRITE);
    ASSERT(start->consistency <= FANOUT_STRONG);
    ASSERT(start->item_count <= FANOUT_ITEMS_MAX);
    ASSERT(start->kind == FANOUT_WRITE || (start->items != NULL) == (start->kind == FANOUT_GET));
    ASSERT(start->kind != FANOUT_WRITE || (start->op_id.high | start->op_id.low) != 0);
    ASSERT(start->kind == FANOUT_SEARCH || !start->partial);
    ASSERT(start->k == 0 || (start->k <= TOPK_MAX && start->kind == FANOUT_SEARCH));
    ASSERT(start->k == 0 || start->hits != NULL);
}

static uint32_t
free_slot(const struct fanout *fanout)
{
    const uint32_t room = fanout->config.requests_max;
    uint32_t slot = (uint32_t)(fanout->numbers % room);
    while (fanout->requests[slot].number != 0)
        slot = (slot + 1) % room;
    return slot;
}

static omen_status
admit(const struct fanout *fanout, const struct fanout_start *start)
{
    if (start->deadline_ns <= fanout->now_ns)
        return OMEN_E_TIMEOUT;
    if (fanout->routes == NULL || fanout->request_count == fanout->config.requests_max)
        return OMEN_E_BUSY;
    const uint32_t at = routes_from(fanout->routes, start->collection, 0);
    if (at == fanout->routes->count || fanout->routes->rows[at].collection != start->collection)
        return OMEN_E_NOT_FOUND;
    return OMEN_OK;
}

static uint64_t
give_up_at(const struct fanout *fanout, uint64_t deadline_ns)
{
    const uint64_t left_ns = deadline_ns - fanout->now_ns;
    return deadline_ns - fanout_min(fanout->config.reserve_ns, left_ns / 4);
}

static void
whole(struct fanout *fanout, uint32_t slot, uint32_t at)
{
    const struct fanout_start *start = &fanout->requests[slot].start;
    const uint32_t none = start->item_count;
    fanout->parts[at] = (struct fanout_part){.last = UINT64_MAX,
                                             .due_ns = fanout->now_ns,
                                             .hedge_ns = NEVER,
                                             .request = slot,
                                             .next = FANOUT_NO_PART,
                                             .item_last = none == 0 ? 0 : none - 1,
                                             .item_count = none,
                                             .state = FANOUT_PART_WAITS};
    for (uint32_t i = 0; i < start->item_count; i++) {
        start->items[i].status = OMEN_OK;
        start->items[i].outcome = FANOUT_NOT_APPLIED;
        start->items[i].next = i + 1;
    }
}

// The first cut is made here, so that a request for whose parts there is no room is refused before anything of it leaves.
uint32_t
fanout_begin(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const struct fanout_start *start = turn->in->start;
    assert_is_ours(start);
    const omen_status status = admit(fanout, start);
    const bool nothing = start->items != NULL && start->item_count == 0;
    if (status != OMEN_OK || nothing) {
        fanout_refuse(turn, status);
        return NO_SLOT;
    }
    if (!fanout_parts_reserve(fanout, 1)) {
        fanout_refuse(turn, OMEN_E_BUSY);
        return NO_SLOT;
    }
    const uint32_t slot = free_slot(fanout), at = fanout_part_new(fanout);
    struct fanout_request *request = &fanout->requests[slot];
    *request = (struct fanout_request){.start = *start,
                                       .give_up_ns = give_up_at(fanout, start->deadline_ns),
                                       .parts = at,
                                       .part_count = 1,
                                       .waiting = 1};
    whole(fanout, slot, at);
    if (!fanout_part_cut(turn, at)) {
        fanout_part_free(fanout, at);
        *request = (struct fanout_request){.number = 0};
        fanout_refuse(turn, OMEN_E_BUSY);
        return NO_SLOT;
    }
    request->number = ++fanout->numbers * FANOUT_REQUESTS_MAX + slot;
    fanout->request_count++;
    fanout->counters.started++;
    turn->out->started = request->number;
    fanout_touch(fanout, slot, fanout->now_ns);
    return slot;
}
