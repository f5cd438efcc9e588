// gpu/repair.c -- links for rows that no walk meets.
//
// Shape: value.
#include "gpu/repair.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "index/graph.h"

#define NONE UINT32_MAX
#define BROKEN_SHARE 10u

static uint8_t *
row_of(const struct repair_rows *rows, uint32_t row)
{
    return rows->blocks +
           (size_t)row * link_row_bytes(rows->links_max, (enum link_width)rows->width);
}

static uint32_t
get_links(const struct repair_rows *rows, uint32_t row, uint32_t *links)
{
    const uint8_t *at = row_of(rows, row);
    const uint32_t empty = link_empty((enum link_width)rows->width);
    uint32_t count = 0;
    for (; count < rows->links_max; count++, at += rows->width) {
        uint32_t link = 0;
        for (uint32_t b = 0; b < rows->width; b++)
            link |= (uint32_t)at[b] << 8 * b;
        if (link == empty)
            break;
        links[count] = link;
    }
    return count;
}

static void
put_link(const struct repair_rows *rows, uint32_t row, uint32_t place, uint32_t link)
{
    uint8_t *at = row_of(rows, row) + (size_t)place * rows->width;
    for (uint32_t b = 0; b < rows->width; b++)
        at[b] = (uint8_t)(link >> 8 * b);
}

static bool
seen(const struct repair_rows *rows, uint32_t row)
{
    return (rows->seen[row / 32] >> row % 32 & 1) != 0;
}

// Marks what links lead to from a row that was not reached before; returns how many rows that are.
static uint32_t
spread(const struct repair_rows *rows, uint32_t from, uint32_t *queue)
{
    uint32_t links[LINK_ROW_MAX], head = 0, tail = 0;
    rows->seen[from / 32] |= 1u << from % 32;
    queue[tail++] = from;
    while (head < tail) {
        const uint32_t count = get_links(rows, queue[head++], links);
        for (uint32_t i = 0; i < count; i++)
            if (!seen(rows, links[i])) {
                rows->seen[links[i] / 32] |= 1u << links[i] % 32;
                queue[tail++] = links[i];
            }
    }
    return tail;
}

// v, which is reached, links to u, which is not.
static void
squeeze(const struct repair_rows *rows, uint32_t v, uint32_t u)
{
    uint32_t of_v[LINK_ROW_MAX], of_u[LINK_ROW_MAX];
    const uint32_t v_count = get_links(rows, v, of_v), u_count = get_links(rows, u, of_u);
    ASSERT(v != u && !links_contain(of_v, v_count, u));
    ASSERT(rows->links_max > 0);
    if (v_count < rows->links_max) {
        put_link(rows, v, v_count, u);
        return;
    }
    const uint32_t w = of_v[v_count - 1];
    put_link(rows, v, v_count - 1, u);
    if (!links_contain(of_u, u_count, w))
        put_link(rows, u, u_count < rows->links_max ? u_count : u_count - 1, w);
}

// A reached row among those that a row links to: the nearest with room, else the nearest.
static uint32_t
reached_neighbour(const struct repair_rows *rows, uint32_t u)
{
    uint32_t links[LINK_ROW_MAX], others[LINK_ROW_MAX], full = NONE;
    const uint32_t count = get_links(rows, u, links);
    for (uint32_t i = 0; i < count; i++) {
        if (!seen(rows, links[i]))
            continue;
        if (get_links(rows, links[i], others) < rows->links_max)
            return links[i];
        full = full == NONE ? links[i] : full;
    }
    return full;
}

// Any reached row, from one number on.
static uint32_t
reached_from(const struct repair_rows *rows, uint32_t from)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        const uint32_t row = (uint32_t)(((uint64_t)from + i) % rows->count);
        if (seen(rows, row))
            return row;
    }
    return NONE;
}

// One pass over the rows not reached; returns how many of them, with what they lead to, are reached then. `strand` takes any
// reached row for the first that has no neighbour which is.
static uint32_t
pass(const struct repair_rows *rows, bool strand, uint32_t *queue, struct repair_report *report)
{
    uint32_t gained = 0;
    for (uint32_t u = 0; u < rows->count; u++) {
        if (rows->seen[u / 32] == UINT32_MAX && u % 32 == 0) {
            u += 31;
            continue;
        }
        if (seen(rows, u))
            continue;
        uint32_t v = reached_neighbour(rows, u);
        if (v == NONE && strand) {
            v = reached_from(rows, u);
            strand = false;
            report->stranded++;
        }
        if (v == NONE)
            continue;
        squeeze(rows, v, u);
        report->linked++;
        gained += spread(rows, u, queue);
    }
    return gained;
}

omen_status
repair_unreached(const struct repair_rows *rows, struct repair_report *report)
{
    *report = (struct repair_report){0};
    uint32_t left = 0;
    for (uint32_t u = 0; u < rows->count; u++)
        left += !seen(rows, u);
    if (left == 0)
        return OMEN_OK;
    if (left == rows->count || left > rows->count / BROKEN_SHARE + 1)
        return OMEN_E_UNSUPPORTED;
    uint32_t *const queue = mem_alloc((size_t)left * sizeof *queue);
    if (queue == NULL)
        return OMEN_E_NO_MEMORY;
    bool strand = false;
    while (left > 0) {
        const uint32_t gained = pass(rows, strand, queue, report);
        strand = gained == 0;
        left -= gained;
    }
    mem_free(queue);
    return OMEN_OK;
}
