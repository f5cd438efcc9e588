// router/part.c -- the parts of requests: their memory, and how one is cut where the table has a border.
//
// Shape: machine.
//
// A request begins as one part that covers all hashes and has all items; a table of a newer version cuts again what was refused
// under the older one. The first piece keeps the place of the whole, the others follow it in the request's list.
#include "base/alloc.h"
#include "router/fanout_int.h"

#define ROOM_FIRST 64u

// ---- memory ----

bool
fanout_parts_reserve(struct fanout *fanout, uint32_t count)
{
    if (count > fanout->config.parts_max - fanout->parts_used)
        return false;
    if (count <= fanout->part_room - fanout->parts_used)
        return true;
    uint32_t room = fanout->part_room == 0 ? ROOM_FIRST : fanout->part_room;
    while (room < fanout->parts_used + count)
        room *= 2;
    if (room > fanout->config.parts_max)
        room = fanout->config.parts_max;
    struct fanout_part *parts = mem_resize(fanout->parts, room * sizeof *parts);
    if (parts == NULL) {
        fanout->counters.no_memory++;
        return false;
    }
    fanout->parts = parts;
    for (uint32_t i = room; i-- > fanout->part_room;) {
        parts[i] = (struct fanout_part){.next = fanout->part_free};
        fanout->part_free = i;
    }
    fanout->part_room = room;
    return true;
}

uint32_t
fanout_part_new(struct fanout *fanout)
{
    const uint32_t at = fanout->part_free;
    ASSERT(at != FANOUT_NO_PART && fanout->parts[at].state == FANOUT_PART_FREE);
    fanout->part_free = fanout->parts[at].next;
    fanout->parts_used++;
    return at;
}

void
fanout_part_free(struct fanout *fanout, uint32_t at)
{
    ASSERT(fanout->parts[at].state != FANOUT_PART_FREE);
    fanout->parts[at] = (struct fanout_part){.next = fanout->part_free};
    fanout->part_free = at;
    fanout->parts_used--;
}

bool
fanout_part_flies(const struct fanout_part *part)
{
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++)
        if (part->flights[i].attempt != 0)
            return true;
    return false;
}

bool
fanout_part_hopes(const struct fanout_part *part)
{
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++)
        if (part->flights[i].attempt != 0 && !part->flights[i].lapsed)
            return true;
    return false;
}

// ---- cutting ----

// The last hash of the piece that begins at `first`: of one row, or of a gap.
static uint64_t
piece_last(const struct routes *routes, uint64_t collection, uint64_t first, uint64_t last)
{
    const uint32_t at = routes_from(routes, collection, first);
    if (at == routes->count || routes->rows[at].collection != collection ||
        routes->rows[at].first > last)
        return last;
    const struct route *row = &routes->rows[at];
    return row->first > first ? row->first - 1 : fanout_min(row->last, last);
}

static uint32_t
piece_count(const struct routes *routes, uint64_t collection, const struct fanout_part *part)
{
    uint32_t count = 1;
    uint64_t last = piece_last(routes, collection, part->first, part->last);
    for (; last < part->last; count++)
        last = piece_last(routes, collection, last + 1, part->last);
    return count;
}

// The items of the whole go to the piece that each lies in; their order stays.
static void
deal_items(struct fanout *fanout, struct fanout_item *items, uint32_t first, uint32_t none,
           const uint32_t *pieces, uint32_t count)
{
    for (uint32_t i = first, next = none; i != none; i = next) {
        next = items[i].next;
        uint32_t low = 0, high = count - 1;
        while (low < high) {
            const uint32_t middle = low + (high - low) / 2;
            if (fanout->parts[pieces[middle]].last < items[i].hash)
                low = middle + 1;
            else
                high = middle;
        }
        struct fanout_part *piece = &fanout->parts[pieces[low]];
        items[i].next = none;
        if (piece->item_count++ == 0)
            piece->item_first = i;
        else
            items[piece->item_last].next = i;
        piece->item_last = i;
    }
}

// Pieces without an item have nothing to ask. One has some, and the place of the whole must stay taken: it moves there.
static void
drop_empty(struct fanout *fanout, struct fanout_request *request, const uint32_t *pieces,
           uint32_t count)
{
    const uint32_t behind = fanout->parts[pieces[count - 1]].next;
    uint32_t kept = 0, tail = pieces[0];
    for (uint32_t i = 0; i < count; i++) {
        if (fanout->parts[pieces[i]].item_count > 0) {
            const uint32_t place = kept++ == 0 ? pieces[0] : pieces[i];
            fanout->parts[place] = fanout->parts[pieces[i]];
            if (place != tail)
                fanout->parts[tail].next = place;
            tail = place;
            if (place == pieces[i])
                continue;
        }
        if (i > 0)
            fanout_part_free(fanout, pieces[i]);
    }
    ASSERT(kept > 0);
    fanout->parts[tail].next = behind;
    request->part_count -= count - kept;
    request->waiting -= count - kept;
}

static void
make_pieces(struct fanout *fanout, uint32_t at, uint32_t *pieces, uint32_t count)
{
    struct fanout_request *request = fanout_request_of(fanout, &fanout->parts[at]);
    struct fanout_part whole = fanout->parts[at];
    struct fanout_part *previous = NULL;
    uint64_t first = whole.first;
    const uint32_t none = request->start.item_count, items = whole.item_first;
    const bool has_items = whole.item_count > 0;
    whole.item_count = 0;
    whole.item_first = whole.item_last = none;
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = i == 0 ? at : fanout_part_new(fanout);
        struct fanout_part *piece = &fanout->parts[pieces[i]];
        *piece = whole;
        piece->first = first;
        piece->last = piece_last(fanout->routes, request->start.collection, first, whole.last);
        first = piece->last + 1;
        if (previous != NULL)
            previous->next = pieces[i];
        previous = piece;
    }
    previous->next = whole.next;
    request->part_count += count - 1;
    request->waiting += count - 1;
    if (has_items) {
        deal_items(fanout, request->start.items, items, none, pieces, count);
        drop_empty(fanout, request, pieces, count);
    }
}

bool
fanout_part_cut(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    const struct fanout_request *request = fanout_request_of(fanout, &fanout->parts[at]);
    const uint32_t count =
        piece_count(fanout->routes, request->start.collection, &fanout->parts[at]);
    if (count == 1)
        return true;
    uint32_t *pieces = fanout_scratch(fanout, count * sizeof *pieces);
    if (pieces == NULL || !fanout_parts_reserve(fanout, count - 1))
        return false;
    struct fanout_part *part = &fanout->parts[at];
    for (uint32_t i = 0; i < FANOUT_FLIGHTS_MAX; i++)
        if (part->flights[i].attempt != 0)
            fanout_flight_drop(turn, at, &part->flights[i]);
    part->shard = 0;
    part->hedge_ns = NEVER;
    part->stale = false;
    part->refusals = part->refused_count = 0;
    fanout->counters.splits += part->tries > 0;
    fanout_touch(fanout, part->request, fanout->now_ns);
    make_pieces(fanout, at, pieces, count);
    return true;
}
