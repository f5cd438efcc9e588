// router/routes.c -- rows sorted once, found by halves.
//
// Shape: value.
#include "router/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define ROOM_FIRST 16u

void
routes_init(struct routes *routes, uint64_t version)
{
    *routes = (struct routes){.version = version};
}

void
routes_fini(struct routes *routes)
{
    mem_free(routes->rows);
    mem_free(routes->nodes);
    routes_init(routes, routes->version);
}

omen_status
routes_add(struct routes *routes, const struct route *row)
{
    ASSERT(!routes->sealed);
    if (routes->count == ROUTES_MAX)
        return OMEN_E_FULL;
    if (routes->count == routes->room) {
        const uint32_t room = routes->room == 0 ? ROOM_FIRST : routes->room * 2;
        struct route *rows = mem_resize(routes->rows, room * sizeof *rows);
        if (rows == NULL)
            return OMEN_E_NO_MEMORY;
        routes->rows = rows;
        routes->room = room;
    }
    routes->rows[routes->count++] = *row;
    return OMEN_OK;
}

static int
row_compare(const void *a, const void *b)
{
    const struct route *left = a, *right = b;
    if (left->collection != right->collection)
        return left->collection < right->collection ? -1 : 1;
    return left->first < right->first ? -1 : left->first > right->first;
}

static bool
row_is_sound(const struct route *row)
{
    if (row->shard == 0 || row->first > row->last || row->copy_count > ROUTE_COPIES_MAX)
        return false;
    if (row->primary != ROUTE_NONE && row->primary >= row->copy_count)
        return false;
    for (uint32_t i = 0; i < row->copy_count; i++)
        if (row->copies[i].node == 0)
            return false;
    return true;
}

static bool
rows_are_sound(const struct routes *routes)
{
    for (uint32_t i = 0; i < routes->count; i++) {
        const struct route *row = &routes->rows[i];
        if (!row_is_sound(row))
            return false;
        if (i > 0 && row[-1].collection == row->collection && row[-1].last >= row->first)
            return false;
    }
    return true;
}

static int
node_compare(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static omen_status
list_nodes(struct routes *routes)
{
    size_t copies = 0;
    for (uint32_t i = 0; i < routes->count; i++)
        copies += routes->rows[i].copy_count;
    if (copies == 0)
        return OMEN_OK;
    routes->nodes = mem_alloc(copies * sizeof *routes->nodes);
    if (routes->nodes == NULL)
        return OMEN_E_NO_MEMORY;
    size_t at = 0;
    for (uint32_t i = 0; i < routes->count; i++)
        for (uint32_t j = 0; j < routes->rows[i].copy_count; j++)
            routes->nodes[at++] = routes->rows[i].copies[j].node;
    qsort(routes->nodes, copies, sizeof *routes->nodes, node_compare);
    for (size_t i = 0; i < copies; i++) {
        if (routes->node_count > 0 && routes->nodes[routes->node_count - 1] == routes->nodes[i])
            continue;
        if (routes->node_count == ROUTES_NODES_MAX)
            return OMEN_E_INVALID;
        routes->nodes[routes->node_count++] = routes->nodes[i];
    }
    return OMEN_OK;
}

// Whoever chooses a copy then finds those of its own zone in front.
static void
put_near_first(struct route *row)
{
    struct route_copy far[ROUTE_COPIES_MAX];
    const uint32_t primary = row->primary;
    uint32_t far_count = 0;
    row->near_count = 0;
    for (uint32_t i = 0; i < row->copy_count; i++)
        row->near_count += row->copies[i].near;
    for (uint32_t i = 0, near_count = 0; i < row->copy_count; i++) {
        const bool near = row->copies[i].near;
        if (i == primary)
            row->primary = near ? near_count : row->near_count + far_count;
        if (near)
            row->copies[near_count++] = row->copies[i];
        else
            far[far_count++] = row->copies[i];
    }
    memcpy(row->copies + row->near_count, far, far_count * sizeof *far);
}

// And need not search for its node.
static void
note_places(struct routes *routes)
{
    for (uint32_t i = 0; i < routes->count; i++)
        for (uint32_t j = 0; j < routes->rows[i].copy_count; j++) {
            struct route_copy *copy = &routes->rows[i].copies[j];
            const uint32_t *found = bsearch(&copy->node, routes->nodes, routes->node_count,
                                            sizeof *routes->nodes, node_compare);
            copy->place = (uint16_t)(found - routes->nodes);
        }
}

omen_status
routes_seal(struct routes *routes)
{
    ASSERT(!routes->sealed);
    if (routes->count > 0)
        qsort(routes->rows, routes->count, sizeof *routes->rows, row_compare);
    if (!rows_are_sound(routes))
        return OMEN_E_INVALID;
    for (uint32_t i = 0; i < routes->count; i++)
        put_near_first(&routes->rows[i]);
    const omen_status status = list_nodes(routes);
    if (status != OMEN_OK) {
        mem_free(routes->nodes);
        routes->nodes = NULL;
        routes->node_count = 0;
        return status;
    }
    note_places(routes);
    routes->sealed = true;
    return OMEN_OK;
}

uint32_t
routes_from(const struct routes *routes, uint64_t collection, uint64_t hash)
{
    uint32_t low = 0, high = routes->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct route *row = &routes->rows[middle];
        const bool before =
            row->collection != collection ? row->collection < collection : row->last < hash;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct route *
routes_find(const struct routes *routes, uint64_t collection, uint64_t hash)
{
    const uint32_t at = routes_from(routes, collection, hash);
    if (at == routes->count)
        return NULL;
    const struct route *row = &routes->rows[at];
    return row->collection == collection && row->first <= hash ? row : NULL;
}

void
routes_check(const struct routes *routes)
{
    ASSERT(routes->count <= routes->room);
    ASSERT(routes->node_count <= ROUTES_NODES_MAX);
    if (!routes->sealed)
        return;
    ASSERT(rows_are_sound(routes));
    for (uint32_t i = 1; i < routes->node_count; i++)
        ASSERT(routes->nodes[i - 1] < routes->nodes[i]);
    for (uint32_t i = 0; i < routes->count; i++)
        for (uint32_t j = 0; j < routes->rows[i].copy_count; j++) {
            const struct route_copy *copy = &routes->rows[i].copies[j];
            ASSERT(routes->nodes[copy->place] == copy->node);
            ASSERT(copy->near == (j < routes->rows[i].near_count));
        }
}
