// router/table.c -- what changes under the requests that are under way: the routing table, and who is alive.
//
// Shape: machine.
#include "router/fanout_int.h"

// Whether the copy that was asked is one to ask by today's table.
static bool
is_current(const struct route *row, const struct fanout_request *request,
           const struct fanout_flight *flight)
{
    if (row == NULL || row->shard != flight->shard)
        return false;
    for (uint32_t i = 0; i < row->copy_count; i++)
        if (row->copies[i].high == flight->copy_high && row->copies[i].low == flight->copy_low)
            return i == row->primary || !fanout_is_for_primary(request);
    return false;
}

// Nobody waits for a copy that has nothing to say any more. What it was sent may have been obeyed: the flight stays.
static void
give_up_flight(struct fanout *fanout, struct fanout_part *part, struct fanout_flight *flight)
{
    flight->lapse_ns = FANOUT_LAPSED;
    if (fanout_part_hopes(part))
        return;
    part->due_ns = fanout->now_ns;
    fanout_touch(fanout, part->request, fanout->now_ns);
}

static void
reconsider(struct fanout *fanout, struct fanout_part *part)
{
    const struct fanout_request *request = fanout_request_of(fanout, part);
    const struct route *row = routes_find(fanout->routes, request->start.collection, part->first);
    if (part->stale && part->due_ns != NEVER) { // it was refused and pauses
        part->due_ns = fanout->now_ns;
        part->refusals = part->refused_count = 0;
        fanout_touch(fanout, part->request, fanout->now_ns);
    }
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++) {
        struct fanout_flight *flight = &part->flights[i];
        if (flight->attempt != 0 && flight->lapse_ns != FANOUT_LAPSED &&
            !is_current(row, request, flight))
            give_up_flight(fanout, part, flight);
    }
}

static bool
is_waiting(const struct fanout *fanout, const struct fanout_part *part)
{
    return part->state == FANOUT_PART_WAITS && !fanout->requests[part->request].over;
}

// A map never goes back.
void
fanout_table_set(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    const struct routes *routes = turn->in->routes;
    ASSERT(routes->sealed);
    if (fanout->routes != NULL && routes->version <= fanout->routes->version) {
        fanout->counters.old_routes++;
        return;
    }
    fanout->routes = routes;
    fanout_nodes_set(fanout);
    for (uint32_t i = 0; i < fanout->part_room; i++)
        if (is_waiting(fanout, &fanout->parts[i]))
            reconsider(fanout, &fanout->parts[i]);
}

// A hint. Where only one copy can answer it is waited for all the same; a table with another one comes if it is true.
static void
forsake(struct fanout *fanout, uint32_t number)
{
    for (uint32_t i = 0; i < fanout->part_room; i++) {
        struct fanout_part *part = &fanout->parts[i];
        if (!is_waiting(fanout, part) || fanout_is_for_primary(&fanout->requests[part->request]))
            continue;
        for (uint32_t j = 0; j < FANOUT_FLIGHTS_MAX; j++) {
            struct fanout_flight *flight = &part->flights[j];
            if (flight->attempt != 0 && flight->lapse_ns != FANOUT_LAPSED && flight->node == number)
                give_up_flight(fanout, part, flight);
        }
    }
}

void
fanout_node_set(struct fanout_turn *turn)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_node *node = fanout_node_find(fanout, turn->in->node);
    if (node == NULL)
        return;
    const bool died = turn->in->dead && !node->dead;
    node->dead = turn->in->dead;
    node->draining = turn->in->draining;
    if (died)
        forsake(fanout, node->number);
}
