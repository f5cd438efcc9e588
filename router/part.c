// router/part.c -- the parts of requests: their memory, and how one is cut where the table has a border.
//
// Shape: machine.
//
// A request begins as one part that covers all hashes and has all items; a table of a newer version cuts again what was refused
// under the older one. The first piece keeps the place of the whole, the others follow it in the request's list.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "router/fanout_int.h"

#define ROOM_FIRST 64u

// ---- memory ----

// A list through the parts themselves would have to wait for each to find the next.
static bool
grow(struct fanout *fanout, uint32_t room)
{
    const uint32_t before = fanout->part_room, free_before = before - fanout->parts_used;
    struct fanout_part *parts = mem_alloc_aligned(
        _Alignof(struct fanout_part), room * (sizeof *parts + sizeof *fanout->parts_free));
    if (parts == NULL) {
        fanout->counters.no_memory++;
        return false;
    }
    uint32_t *parts_free = (uint32_t *)(parts + room);
    for (uint32_t at = room; at-- > before;) {
        parts[at] = (struct fanout_part){.state = FANOUT_PART_FREE};
        parts_free[room - 1 - at] = at;
    }
    if (before > 0) {
        memcpy(parts, fanout->parts, before * sizeof *parts);
        memcpy(parts_free + (room - before), fanout->parts_free, free_before * sizeof *parts_free);
    }
    mem_free(fanout->parts);
    fanout->parts = parts;
    fanout->parts_free = parts_free;
    fanout->part_room = room;
    return true;
}

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
    return grow(fanout, room < fanout->config.parts_max ? room : fanout->config.parts_max);
}

uint32_t
fanout_part_new(struct fanout *fanout)
{
    ASSERT(fanout->parts_used < fanout->part_room);
    const uint32_t at = fanout->parts_free[fanout->part_room - ++fanout->parts_used];
    ASSERT(fanout->parts[at].state == FANOUT_PART_FREE);
    return at;
}

void
fanout_part_free(struct fanout *fanout, uint32_t at)
{
    ASSERT(fanout->parts[at].state != FANOUT_PART_FREE);
    // Nothing of it is in the air; the rest is written when it is used again.
    ASSERT(!fanout_part_flies(&fanout->parts[at]));
    fanout->parts[at].state = FANOUT_PART_FREE;
    fanout->parts_free[fanout->part_room - fanout->parts_used--] = at;
}

bool
fanout_part_flies(const struct fanout_part *part)
{
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt != 0)
            return true;
    return false;
}

bool
fanout_part_hopes(const struct fanout_part *part)
{
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt != 0 && part->flights[i].lapse_ns != FANOUT_LAPSED)
            return true;
    return false;
}

// ---- cutting ----

// The last hash of the piece that begins at `first`: of one row, or of a gap. `at` is that of routes_from.
static uint64_t
piece_last(const struct routes *routes, uint64_t collection, uint32_t at, uint64_t first,
           uint64_t last)
{
    if (at == routes->count || routes->rows[at].collection != collection ||
        routes->rows[at].first > last)
        return last;
    const struct route *row = &routes->rows[at];
    return row->first > first ? row->first - 1 : fanout_min(row->last, last);
}

// A piece that is to be made, while it is not known yet whether there is room for all.
struct piece {
    uint64_t first, last;
    uint32_t items;
    uint32_t at;  // the part
    uint32_t row; // of the table; for a gap the next one
};

// At most so many: each row that it meets, and the gaps around them.
static uint32_t
count_pieces(const struct fanout *fanout, const struct fanout_part *part)
{
    const uint64_t collection = fanout->requests[part->request].start.collection;
    const struct route *row = fanout_row_of(fanout, part);
    if (row != NULL && row->last >= part->last)
        return 1;
    const uint32_t first = routes_from(fanout->routes, collection, part->first);
    const uint32_t last = routes_from(fanout->routes, collection, part->last);
    return (last - first + 1) * 2 + 1;
}

// Answers how many there are.
static uint32_t
list_pieces(const struct fanout *fanout, const struct fanout_part *part, struct piece *pieces)
{
    const uint64_t collection = fanout->requests[part->request].start.collection;
    const struct routes *routes = fanout->routes;
    uint64_t first = part->first;
    uint32_t row = routes_from(routes, collection, first);
    for (uint32_t count = 0;; count++) {
        const uint64_t last = piece_last(routes, collection, row, first, part->last);
        pieces[count] = (struct piece){first, last, 0, FANOUT_NO_PART, row};
        if (last == part->last)
            return count + 1;
        first = last + 1;
        row += row < routes->count && routes->rows[row].last == last;
    }
}

static struct piece *
piece_of(struct piece *pieces, uint32_t count, uint64_t hash)
{
    uint32_t low = 0, high = count - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (pieces[middle].last < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return &pieces[low];
}

// Pieces without an item have nothing to ask; without items at all every piece has. Answers how many are wanted.
static uint32_t
count_items(const struct fanout_request *request, const struct fanout_part *part,
            struct piece *pieces, uint32_t count)
{
    const struct fanout_item *items = request->start.items;
    uint32_t wanted = 0;
    if (part->item_count == 0)
        return count;
    for (uint32_t i = 0, at = part->item_first; i < part->item_count; i++, at = items[at].next)
        wanted += piece_of(pieces, count, items[at].hash)->items++ == 0;
    return wanted;
}

// The items of the whole go to the piece that each lies in; their order stays.
static void
deal_items(struct fanout *fanout, struct fanout_request *request, uint32_t first,
           struct piece *pieces, uint32_t count)
{
    struct fanout_item *items = request->start.items;
    const uint32_t none = request->start.item_count;
    for (uint32_t i = first, next; i != none; i = next) {
        struct fanout_part *part = &fanout->parts[piece_of(pieces, count, items[i].hash)->at];
        next = items[i].next;
        items[i].next = none;
        if (part->item_count++ == 0)
            part->item_first = i;
        else
            items[part->item_last].next = i;
        part->item_last = i;
    }
}

static void
make_pieces(struct fanout *fanout, uint32_t at, struct piece *pieces, uint32_t count)
{
    struct fanout_request *request = fanout_request_of(fanout, &fanout->parts[at]);
    struct fanout_part
        whole; // of it what pieces have in common: all but what is in the air, which is nothing
    memcpy(&whole, &fanout->parts[at], offsetof(struct fanout_part, flights));
    struct fanout_part *previous = NULL;
    const uint32_t items = whole.item_first;
    const bool has_items = whole.item_count > 0;
    whole.item_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (has_items && pieces[i].items == 0)
            continue;
        pieces[i].at = previous == NULL ? at : fanout_part_new(fanout);
        struct fanout_part *piece = &fanout->parts[pieces[i].at];
        memcpy(piece, &whole, offsetof(struct fanout_part, flights));
        piece->first = pieces[i].first;
        piece->last = pieces[i].last;
        piece->row = pieces[i].row;
        if (previous != NULL) {
            previous->next = pieces[i].at;
            request->part_count++;
            request->waiting++;
        }
        previous = piece;
    }
    ASSERT(previous != NULL);
    previous->next = whole.next;
    if (has_items)
        deal_items(fanout, request, items, pieces, count);
}

bool
fanout_part_cut(struct fanout_turn *turn, uint32_t at)
{
    struct fanout *fanout = turn->fanout;
    const struct fanout_request *request = fanout_request_of(fanout, &fanout->parts[at]);
    const uint32_t room = count_pieces(fanout, &fanout->parts[at]);
    if (room == 1)
        return true;
    struct piece *pieces = fanout_scratch(fanout, room * sizeof *pieces);
    if (pieces == NULL)
        return false;
    const uint32_t count = list_pieces(fanout, &fanout->parts[at], pieces);
    if (count == 1)
        return true;
    if (!fanout_parts_reserve(fanout, count_items(request, &fanout->parts[at], pieces, count) - 1))
        return false;
    struct fanout_part *part = &fanout->parts[at];
    for (uint32_t i = 0; i < fanout_places(part); i++)
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
