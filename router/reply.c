// router/reply.c -- a copy answered a part: taken, or a reason to ask again.
//
// Shape: machine.
//
// Every field of a reply may be anything. What nobody waits for is dropped; what makes no sense counts as an answer of a copy that
// is broken, and another is asked.
#include "router/fanout_int.h"

enum verdict {
    VERDICT_TAKE,
    VERDICT_ELSEWHERE, // nothing was done; somebody else may
    VERDICT_REROUTE,   // nothing was done; one of us has an old map
    VERDICT_UNSURE,    // something may have been done; ask again
    VERDICT_FINAL,     // it is about the request: others would say the same
};

static bool
is_known(omen_status status)
{
    switch (status) {
#define STATUS_CASE(name, number, act, text) case number:
        OMEN_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
        return true;
    default:
        return false;
    }
}

// A status is a reason to ask somebody else where it is about the copy. Numbers that this version does not know are the copy's own.
static enum verdict
verdict_on(enum fanout_kind kind, omen_status status)
{
    switch (status) {
    case OMEN_OK:
        return VERDICT_TAKE;
    case OMEN_E_STALE_MAP:
        return VERDICT_REROUTE;
    case OMEN_E_BUSY:
        return VERDICT_ELSEWHERE;
    case OMEN_E_TIMEOUT:
    case OMEN_E_CORRUPT:
    case OMEN_E_IO:
    case OMEN_E_INTERNAL:
    case OMEN_E_CLOSED:
    case OMEN_E_VERSION:
        return VERDICT_UNSURE;
    case OMEN_E_NO_MEMORY:
    case OMEN_E_DISK_FULL:
    case OMEN_E_READ_ONLY:
    case OMEN_E_LOCKED:
    case OMEN_E_CANCELLED:
        return kind == FANOUT_WRITE ? VERDICT_FINAL : VERDICT_ELSEWHERE;
    default:
        return is_known(status) ? VERDICT_FINAL : VERDICT_UNSURE;
    }
}

static bool
is_sound(const struct fanout_request *request, const struct fanout_part *part,
         const struct fanout_reply *reply)
{
    if (reply->status > 0 || reply->term >= FANOUT_NUMBER_MAX || reply->seq >= FANOUT_NUMBER_MAX ||
        reply->map_version >= FANOUT_NUMBER_MAX)
        return false;
    if (reply->status != OMEN_OK)
        return true;
    if (request->start.k > 0 &&
        (reply->hits.count > request->start.k || !merge_list_is_sound(&reply->hits)))
        return false;
    if (reply->statuses == NULL)
        return true;
    if (reply->item_count != part->item_count)
        return false;
    for (uint32_t i = 0; i < reply->item_count; i++)
        if (reply->statuses[i] > 0)
            return false;
    return true;
}

static void
drop_flights(struct fanout_turn *turn, uint32_t at)
{
    struct fanout_part *part = &turn->fanout->parts[at];
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt != 0)
            fanout_flight_drop(turn, at, &part->flights[i]);
}

// ---- taken ----

static void
take_items(const struct fanout_request *request, const struct fanout_part *part,
           const struct fanout_reply *reply)
{
    struct fanout_item *items = request->start.items;
    uint32_t at = part->item_first;
    for (uint32_t i = 0; i < part->item_count; i++, at = items[at].next) {
        items[at].status = reply->statuses == NULL ? OMEN_OK : reply->statuses[i];
        if (request->start.kind == FANOUT_WRITE && items[at].status == OMEN_OK)
            items[at].outcome = FANOUT_APPLIED;
    }
}

static void
part_take(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    const struct fanout_reply *reply = turn->in->reply;
    struct fanout_part *part = &fanout->parts[at];
    struct fanout_request *request = fanout_request_of(fanout, part);
    drop_flights(turn, at);
    part->state = FANOUT_PART_DONE;
    part->status = OMEN_OK;
    part->due_ns = part->hedge_ns = NEVER;
    part->term = reply->term;
    part->seq = reply->seq;
    if (request->start.k > 0)
        part->hits = reply->hits;
    take_items(request, part, reply);
    request->waiting--;
    turn->out->taken = true;
    if (request->waiting == 0)
        fanout_touch(fanout, part->request, fanout->now_ns);
}

// ---- refused ----

static void
note_refusal(struct fanout_part *part, uint32_t node)
{
    if (part->refused_count < ROUTE_COPIES_MAX && !fanout_has_refused(part, node))
        part->refused[part->refused_count++] = node;
}

// Of two that were asked one has refused: a third may be quicker than the one that has said nothing so far.
static void
hedge_again(struct fanout *fanout, struct fanout_part *part)
{
    if (fanout_is_for_primary(fanout_request_of(fanout, part)))
        return;
    part->hedge_ns = fanout->now_ns;
    fanout_touch(fanout, part->request, fanout->now_ns);
}

// While something is still in the air it is waited for, but for what lapsed.
static void
ask_again(struct fanout *fanout, struct fanout_part *part, const struct fanout_flight *flight)
{
    if (fanout_part_hopes(part)) {
        hedge_again(fanout, part);
        return;
    }
    if (part->stale && flight->map_version < fanout->routes->version) {
        part->refused_count = part->refusals = 0; // by another table than today's
        part->due_ns = fanout->now_ns;
    } else if (fanout_has_other(fanout, part))
        part->due_ns = fanout->now_ns;
    else {
        fanout_part_pause(fanout, part);
        return;
    }
    fanout_touch(fanout, part->request, part->due_ns);
}

static void
part_refused(struct fanout_turn *turn, uint32_t at, omen_status status,
             const struct fanout_flight *flight)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_part *part = &fanout->parts[at];
    const enum fanout_kind kind = fanout_request_of(fanout, part)->start.kind;
    const enum verdict verdict = verdict_on(kind, status);
    struct fanout_node *node = fanout_node_find(fanout, flight->node);
    part->status = status;
    part->hedge_ns = NEVER; // another try follows anyway
    part->stale |= verdict == VERDICT_REROUTE;
    part->maybe |= verdict == VERDICT_UNSURE && kind == FANOUT_WRITE;
    if (verdict == VERDICT_FINAL) {
        if (kind != FANOUT_WRITE) // there they make the outcome unknown
            drop_flights(turn, at);
        fanout_part_fail(fanout, part, status);
        return;
    }
    if (node != NULL && verdict == VERDICT_ELSEWHERE)
        node->avoid_until_ns = fanout->now_ns + fanout->config.avoid_ns;
    note_refusal(part, flight->node);
    ask_again(fanout, part, flight);
}

// ---- in ----

// The flight that it answers, NULL when nobody waits for it.
static struct fanout_flight *
flight_of(struct fanout *fanout, const struct fanout_reply *reply)
{
    const uint32_t slot = (uint32_t)(reply->request % FANOUT_REQUESTS_MAX);
    const struct fanout_request *request = &fanout->requests[slot];
    if (request->number != reply->request || reply->request == 0 || request->over ||
        reply->part >= fanout->part_room || reply->attempt == 0)
        return NULL;
    struct fanout_part *part = &fanout->parts[reply->part];
    if (part->state != FANOUT_PART_WAITS || part->request != slot)
        return NULL;
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt == reply->attempt && part->flights[i].node == reply->node)
            return &part->flights[i];
    return NULL;
}

static void
learn(struct fanout *fanout, const struct fanout_reply *reply, const struct fanout_flight *flight)
{
    const uint64_t took_ns = fanout->now_ns - flight->sent_ns;
    const enum fanout_kind kind = fanout->requests[fanout->parts[reply->part].request].start.kind;
    struct fanout_node *node = fanout_node_find(fanout, reply->node);
    if (reply->map_version < FANOUT_NUMBER_MAX && reply->map_version > fanout->heard_version)
        fanout->heard_version = reply->map_version;
    if (node != NULL) {
        node->queue = (uint32_t)fanout_min(reply->queue, QUEUE_MAX);
        node->draining = reply->draining;
    }
    if (reply->status != OMEN_OK)
        return; // a refusal is quick; it says nothing of how long an answer takes
    fanout_node_sample(fanout, reply->node, took_ns);
    if (flight->lapse_ns != FANOUT_LAPSED)
        fanout_slow_sample(fanout, kind, took_ns);
}

uint32_t
fanout_hear(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const struct fanout_reply *reply = turn->in->reply;
    struct fanout_flight *flight = flight_of(fanout, reply);
    if (flight == NULL) {
        fanout->counters.late_replies++;
        return NO_SLOT;
    }
    const uint32_t at = reply->part;
    struct fanout_part *part = &fanout->parts[at];
    const struct fanout_flight ended = *flight;
    omen_status status = reply->status;
    learn(fanout, reply, flight);
    fanout_flight_end(fanout, flight);
    if (!is_sound(fanout_request_of(fanout, part), part, reply)) {
        fanout->counters.refused_replies++;
        status = OMEN_E_INTERNAL;
    } else if (status == OMEN_OK && reply->seq < ended.after_seq)
        status = OMEN_E_BUSY; // it says so itself: behind what the client has seen
    if (status == OMEN_OK)
        part_take(turn, at);
    else
        part_refused(turn, at, status, &ended);
    return fanout->parts[at].request;
}
