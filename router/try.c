// router/try.c -- the sub-requests of one part: when one goes out, to whom, and when another must.
//
// Shape: machine.
//
//   WAITS --due: route, choose, send--> WAITS, a flight in the air
//   a flight --unanswered for half of the time left: lapses--> another is due; the first may still be answered
//   a flight --refused--> another is due: at once where somebody else may answer, else after a pause
//   a flight --unanswered for the time that 95 of 100 take: part_hedge--> a second one besides, within the budget
//   a flight --refused, and another in the air--> the same at once: who is waited for may be gone
//   WAITS --tries_max of them, and none in the air--> FAILED
//   WAITS --answered: part_take (reply.c)--> DONE
#include "router/fanout_int.h"

// ---- flights ----

void
fanout_flight_end(struct fanout *fanout, struct fanout_flight *flight)
{
    struct fanout_node *node = fanout_node_find(fanout, flight->node);
    if (node != NULL) {
        ASSERT(node->outstanding > 0);
        node->outstanding--;
    }
    *flight = (struct fanout_flight){0};
}

// A write that was sent cannot be called back: it may be done.
void
fanout_flight_drop(struct fanout_turn *turn, uint32_t at, struct fanout_flight *flight)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_output *out = turn->out;
    struct fanout_part *part = &fanout->parts[at];
    const struct fanout_request *request = fanout_request_of(fanout, part);
    if (request->start.kind == FANOUT_WRITE)
        part->maybe = true;
    else if (out->cancel_count < FANOUT_CANCELS_MAX) {
        out->cancels[out->cancel_count++] =
            (struct fanout_cancel){request->number, at, flight->attempt, flight->node};
        fanout->counters.cancels++;
    }
    fanout_flight_end(fanout, flight);
}

// A free place; where there is none the oldest makes room.
static struct fanout_flight *
flight_place(struct fanout_turn *turn, uint32_t at)
{
    struct fanout_part *part = &turn->fanout->parts[at];
    struct fanout_flight *oldest = &part->flights[0];
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++) {
        if (part->flights[i].attempt == 0)
            return &part->flights[i];
        if (part->flights[i].attempt < oldest->attempt)
            oldest = &part->flights[i];
    }
    fanout_flight_drop(turn, at, oldest);
    return oldest;
}

// The token that counts for the row; seq 0: none. A child of a split goes on counting where its parent stopped, so a parent's token
// holds for it.
static struct fanout_token
token_for(const struct fanout_request *request, const struct route *row)
{
    struct fanout_token token = {0};
    if (request->start.consistency != FANOUT_SESSION)
        return token;
    for (uint32_t i = 0; i < request->start.token_count; i++) {
        const struct fanout_token *given = &request->start.tokens[i];
        if (given->shard == row->shard)
            return *given;
        if (given->shard == row->parent)
            token = *given;
    }
    return token;
}

// ---- sending ----

uint64_t
fanout_lapse_at(const struct fanout *fanout, const struct fanout_request *request)
{
    uint64_t wait_ns = (request->give_up_ns - fanout->now_ns) / 2;
    wait_ns = fanout_min(wait_ns, fanout->config.try_max_ns);
    if (wait_ns < fanout->config.try_min_ns)
        wait_ns = fanout->config.try_min_ns;
    return request->give_up_ns - fanout->now_ns > wait_ns ? fanout->now_ns + wait_ns
                                                          : request->give_up_ns;
}

static void
earn_hedge(struct fanout *fanout, const struct fanout_request *request, const struct route *row)
{
    if (fanout_is_for_primary(request) || row->copy_count < 2)
        return;
    fanout->hedge_credit += fanout->config.hedge_permille;
    if (fanout->hedge_credit > HEDGE_CREDIT_MAX)
        fanout->hedge_credit = HEDGE_CREDIT_MAX;
}

// Every try, not only the first: whoever is asked because somebody else said nothing may say nothing either, and a lapse is long.
static void
arm_hedge(struct fanout *fanout, struct fanout_part *part, const struct route *row)
{
    const struct fanout_request *request = fanout_request_of(fanout, part);
    if (part->hedge_ns == NEVER && !fanout_is_for_primary(request) && row->copy_count > 1)
        part->hedge_ns = fanout->now_ns + fanout_hedge_delay(fanout, request->start.kind);
}

static void
send(struct fanout_turn *turn, uint32_t at, const struct route *row, const struct route_copy *copy)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_part *part = &fanout->parts[at];
    struct fanout_request *request = fanout_request_of(fanout, part);
    const struct fanout_token token = token_for(request, row);
    struct fanout_flight *flight = flight_place(turn, at);
    *flight = (struct fanout_flight){.attempt = ++request->attempts,
                                     .node = copy->node,
                                     .copy_high = copy->high,
                                     .copy_low = copy->low,
                                     .shard = row->shard,
                                     .map_version = fanout->routes->version,
                                     .after_seq = token.seq,
                                     .sent_ns = fanout->now_ns,
                                     .lapse_ns = turn->lapse_ns};
    fanout->nodes[copy->place].outstanding++;
    fanout->counters.sends++;
    if (part->tries++ == 0)
        earn_hedge(fanout, request, row);
    part->shard = row->shard;
    part->due_ns = NEVER;
    turn->out->sends[turn->out->send_count++] = (struct fanout_send){
        .request = request->number,
        .part = at,
        .attempt = flight->attempt,
        .node = copy->node,
        .kind = request->start.kind,
        .consistency = fanout_is_outdone(request, row) ? FANOUT_STRONG : request->start.consistency,
        .copy_high = copy->high,
        .copy_low = copy->low,
        .shard = row->shard,
        .term = row->term,
        .cfg_ver = row->cfg_ver,
        .map_version = fanout->routes->version,
        .first = part->first,
        .last = part->last,
        .deadline_ns = request->give_up_ns,
        .after_term = token.term,
        .after_seq = token.seq,
        .op_id = request->start.op_id,
        .item_first = part->item_first,
        .item_count = part->item_count};
}

// Doubles with each refusal, half of it by chance: those who were refused together do not come back together.
void
fanout_part_pause(struct fanout *fanout, struct fanout_part *part)
{
    uint64_t pause_ns = fanout->config.retry_ns;
    for (uint32_t i = 0; i < part->refusals && pause_ns < fanout->config.retry_max_ns; i++)
        pause_ns *= 2;
    pause_ns = fanout_min(pause_ns, fanout->config.retry_max_ns);
    part->refusals++;
    part->due_ns =
        fanout->now_ns + pause_ns / 2 + (pause_ns / 2 * prng_below(&fanout->prng, 1024)) / 1024 + 1;
    fanout_touch(fanout, part->request, part->due_ns);
}

// Whether what a shard says about the request itself ends all of it.
void
fanout_part_fail(struct fanout *fanout, struct fanout_part *part, omen_status status)
{
    struct fanout_request *request = fanout_request_of(fanout, part);
    part->state = FANOUT_PART_FAILED;
    part->status = status;
    part->due_ns = part->hedge_ns = NEVER;
    request->waiting--;
    if (request->start.kind == FANOUT_SEARCH &&
        (!request->start.partial || status_act(status) == ACT_REPORT)) {
        request->over = true;
        request->over_with = status;
        request->over_shard = part->shard;
    }
    fanout_touch(fanout, part->request, fanout->now_ns);
}

// The row that the part is for; it is cut first where it is for several. Under the deliberate error a part that was refused goes to
// who has its first hash now, all of it.
static const struct route *
route(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_part *part = &fanout->parts[at];
    const struct route *row = fanout_row_of(fanout, part);
    if (row != NULL && row->last >= part->last)
        return row; // mostly
    if (!(bug(BUG_STALE_ROUTE) && part->tries > 0) && !fanout_part_cut(turn, at)) {
        part->status = OMEN_E_BUSY;
        return NULL;
    }
    part = &fanout->parts[at]; // they may have moved
    row = fanout_row_of(fanout, part);
    if (row == NULL) {
        part->status = OMEN_E_STALE_MAP;
        part->stale = true;
    }
    return row;
}

// The shard of a token may have been split twice since, or come from one that this table still has: see fanout_is_outdone.
void
fanout_trace_lineage(const struct fanout *fanout, struct fanout_request *request)
{
    const struct routes *routes = fanout->routes;
    if (request->lineage_version == routes->version)
        return;
    request->lineage_version = routes->version;
    request->lost_shard = 0;
    for (uint32_t i = 0; i < request->start.token_count; i++) {
        const uint64_t shard = request->start.tokens[i].shard;
        bool found = false;
        for (uint32_t at = routes_from(routes, request->start.collection, 0);
             at < routes->count && routes->rows[at].collection == request->start.collection &&
             !found;
             at++)
            found = routes->rows[at].shard == shard || routes->rows[at].parent == shard;
        if (!found && shard > request->lost_shard)
            request->lost_shard = shard;
    }
}

static void
part_try(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    if (fanout->parts[at].tries == fanout->config.tries_max) {
        struct fanout_part *part = &fanout->parts[at];
        part->due_ns = NEVER;
        if (!fanout_part_flies(part))
            fanout_part_fail(fanout, part, part->maybe ? OMEN_E_TIMEOUT : part->status);
        return;
    }
    const struct route *row = route(turn, at);
    struct fanout_part *part = &fanout->parts[at];
    const struct route_copy *copy =
        row == NULL ? NULL : fanout_choose(fanout, part, row, FANOUT_TRY_NEXT);
    if (copy != NULL) {
        fanout->counters.retries += part->tries > 0;
        part->stale = false;
        send(turn, at, row, copy);
        arm_hedge(fanout, part, row);
        return;
    }
    if (row != NULL) { // it has no primary now, or no copy at all
        part->shard = row->shard;
        part->status = OMEN_E_BUSY;
        part->stale = true;
    }
    fanout_part_pause(fanout, part);
}

static void
part_hedge(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_part *part = &fanout->parts[at];
    const struct fanout_request *request = fanout_request_of(fanout, part);
    if (turn->out->send_count == FANOUT_SENDS_MAX)
        return; // in the next step
    part->hedge_ns = NEVER;
    if (part->tries == fanout->config.tries_max)
        return;
    if (fanout->hedge_credit < HEDGE_COST) { // others may earn it
        part->hedge_ns = fanout->now_ns + fanout_hedge_delay(fanout, request->start.kind);
        return;
    }
    const struct route *row = routes_find(fanout->routes, request->start.collection, part->first);
    if (row == NULL || row->last < part->last)
        return; // it has been split
    const struct route_copy *copy = fanout_choose(fanout, part, row, FANOUT_TRY_HEDGE);
    if (copy == NULL)
        return;
    fanout->hedge_credit -= HEDGE_COST;
    fanout->counters.hedges++;
    send(turn, at, row, copy);
}

static void
part_lapse(struct fanout *fanout, struct fanout_part *part)
{
    bool lapsed = false;
    for (uint32_t i = 0; i < fanout_places(part); i++) {
        struct fanout_flight *flight = &part->flights[i];
        if (flight->attempt == 0 || flight->lapse_ns > fanout->now_ns)
            continue; // or lapsed before
        flight->lapse_ns = FANOUT_LAPSED;
        lapsed = true;
        fanout_node_sample(fanout, flight->node, fanout->now_ns - flight->sent_ns);
    }
    if (lapsed && part->due_ns == NEVER && !fanout_part_hopes(part))
        part->due_ns = fanout->now_ns;
}

// At most two sends; where there is room for one of them the other waits for the next step.
uint64_t
fanout_part_advance(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    part_lapse(fanout, &fanout->parts[at]);
    if (fanout->parts[at].due_ns <= fanout->now_ns)
        part_try(turn, at);
    if (fanout->parts[at].state == FANOUT_PART_WAITS &&
        fanout->parts[at].hedge_ns <= fanout->now_ns)
        part_hedge(turn, at);
    const struct fanout_part *part = &fanout->parts[at];
    uint64_t wake_ns = fanout_min(part->due_ns, part->hedge_ns);
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt != 0)
            wake_ns = fanout_min(wake_ns, part->flights[i].lapse_ns);
    return part->state == FANOUT_PART_WAITS ? wake_ns : NEVER;
}
