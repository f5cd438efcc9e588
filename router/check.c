// router/check.c -- what holds of a fan-out between two steps.
//
// Shape: machine.
#include "base/text.h"
#include "router/fanout_int.h"

static void
check_part(const struct fanout *fanout, const struct fanout_request *request,
           const struct fanout_part *part)
{
    ASSERT(part->first <= part->last);
    ASSERT(part->tries <= fanout->config.tries_max);
    ASSERT(part->refused_count <= ROUTE_COPIES_MAX);
    ASSERT(part->state == FANOUT_PART_WAITS || part->state == FANOUT_PART_DONE ||
           part->state == FANOUT_PART_FAILED);
    ASSERT(part->state != FANOUT_PART_DONE || !fanout_part_flies(part));
    ASSERT(part->state != FANOUT_PART_DONE || part->status == OMEN_OK);
    ASSERT(part->state != FANOUT_PART_FAILED || part->status != OMEN_OK);
    // Somebody is waited for, or something is due.
    ASSERT(part->state != FANOUT_PART_WAITS || part->due_ns != NEVER || fanout_part_flies(part) ||
           request->over);
    ASSERT(part->hits.count <= request->start.k);
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++) {
        const struct fanout_flight *flight = &part->flights[i];
        ASSERT(flight->attempt <= request->attempts);
        ASSERT(flight->attempt == 0 || i < fanout_places(part));
        ASSERT(flight->attempt == 0 || (flight->node != 0 && flight->shard != 0));
        for (uint32_t j = 0; j < i; j++)
            ASSERT(flight->attempt == 0 || flight->attempt != part->flights[j].attempt);
    }
}

static void
check_items(const struct fanout_request *request, const struct fanout_part *part)
{
    const struct fanout_item *items = request->start.items;
    uint32_t at = part->item_first;
    for (uint32_t i = 0; i < part->item_count; i++) {
        ASSERT(at < request->start.item_count);
        ASSERT(items[at].hash >= part->first && items[at].hash <= part->last);
        ASSERT(i + 1 < part->item_count || at == part->item_last);
        ASSERT(i + 1 == part->item_count || items[at].next > at);
        at = items[at].next;
    }
    ASSERT(part->item_count == 0 || at == request->start.item_count);
}

// Its parts lie one behind the other; where it has no items they leave nothing out.
static void
check_request(const struct fanout *fanout, uint32_t slot)
{
    const struct fanout_request *request = &fanout->requests[slot];
    const bool has_items = request->start.items != NULL;
    uint32_t count = 0, waiting = 0, items = 0;
    uint64_t behind = 0;
    bool last = false;
    for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next) {
        ASSERT(at < fanout->part_room && count < request->part_count);
        const struct fanout_part *part = &fanout->parts[at];
        ASSERT(part->request == slot && !last);
        ASSERT(has_items ? part->first >= behind : part->first == behind);
        check_part(fanout, request, part);
        ASSERT(has_items == (part->item_count > 0));
        if (has_items)
            check_items(request, part);
        count++;
        waiting += part->state == FANOUT_PART_WAITS;
        items += part->item_count;
        last = part->last == UINT64_MAX;
        behind = part->last + 1;
    }
    ASSERT(last || has_items);
    ASSERT(count == request->part_count && waiting == request->waiting);
    ASSERT(!has_items || items == request->start.item_count);
    ASSERT(waiting > 0 || request->over);
    ASSERT(request->number % FANOUT_REQUESTS_MAX == slot);
    ASSERT(fanout->wakes[slot] <= request->give_up_ns || request->over);
    ASSERT(fanout->wakes[slot] != NEVER && fanout->wakes[slot] >= fanout->wake_ns);
    ASSERT(slot < fanout->config.requests_max);
}

static void
check_nodes(const struct fanout *fanout)
{
    for (uint32_t i = 0; i < fanout->node_count; i++) {
        const struct fanout_node *node = &fanout->nodes[i];
        uint32_t outstanding = 0;
        ASSERT(node->number == fanout->routes->nodes[i]);
        ASSERT(node->queue <= QUEUE_MAX && node->latency_ns <= LATENCY_MAX_NS);
        for (uint32_t j = 0; j < fanout->part_room; j++)
            for (uint32_t k = 0; k < FANOUT_FLIGHTS_MAX; k++)
                outstanding += fanout->parts[j].flights[k].attempt != 0 &&
                               fanout->parts[j].flights[k].node == node->number;
        ASSERT(node->outstanding == outstanding);
    }
}

void
fanout_check(const struct fanout *fanout)
{
    uint32_t requests = 0, parts = 0, used = 0;
    for (uint32_t i = 0; i < FANOUT_REQUESTS_MAX; i++) {
        if (fanout->requests[i].number == 0) {
            ASSERT(fanout->wakes[i] == NEVER);
            continue;
        }
        check_request(fanout, i);
        requests++;
        parts += fanout->requests[i].part_count;
    }
    for (uint32_t i = 0; i < fanout->part_room; i++)
        used += fanout->parts[i].state != FANOUT_PART_FREE;
    ASSERT(requests == fanout->request_count && requests <= fanout->config.requests_max);
    ASSERT(parts == fanout->parts_used && parts == used);
    ASSERT(fanout->part_room <= fanout->config.parts_max);
    ASSERT(fanout->counters.started == fanout->counters.answered + requests);
    ASSERT(fanout->hedge_credit <= HEDGE_CREDIT_MAX);
    ASSERT(fanout->slow_ns[0] <= LATENCY_MAX_NS && fanout->slow_ns[1] <= LATENCY_MAX_NS);
    ASSERT(requests == 0 || fanout->routes != NULL);
    if (fanout->routes != NULL)
        check_nodes(fanout);
}

void
fanout_describe(const struct fanout *fanout, char *line, size_t cap)
{
    uint32_t flights = 0, lapsed = 0;
    for (uint32_t i = 0; i < fanout->part_room; i++)
        for (uint32_t j = 0; j < FANOUT_FLIGHTS_MAX; j++) {
            flights += fanout->parts[i].flights[j].attempt != 0;
            lapsed += fanout->parts[i].flights[j].attempt != 0 &&
                      fanout->parts[i].flights[j].lapse_ns == FANOUT_LAPSED;
        }
    const struct fanout_counters *counters = &fanout->counters;
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "map=%llu requests=%u parts=%u flights=%u lapsed=%u sends=%llu retries=%llu",
             fanout->routes == NULL ? 0 : (unsigned long long)fanout->routes->version,
             fanout->request_count, fanout->parts_used, flights, lapsed,
             (unsigned long long)counters->sends, (unsigned long long)counters->retries);
    text_add(&text, " hedges=%llu splits=%llu cancels=%llu late=%llu refused=%llu",
             (unsigned long long)counters->hedges, (unsigned long long)counters->splits,
             (unsigned long long)counters->cancels, (unsigned long long)counters->late_replies,
             (unsigned long long)counters->refused_replies);
}
