// index/graph_verify.c -- are these bytes link rows?
//
// Shape: value. Reads number by number, with no kernel: what it accepts must not depend on what it protects.
#include "index/graph_verify.h"

#include "base/assert.h"
#include "index/graph.h"

static uint32_t
get24(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
}

static omen_status
verify_row(const uint8_t *row, uint32_t slot, uint32_t count, uint32_t links_max,
           struct omen_error *error)
{
    const uint32_t places =
        (links_max + GRAPH_BLOCK_LINKS - 1) / GRAPH_BLOCK_LINKS * GRAPH_BLOCK_LINKS;
    uint32_t links[LINK_ROW_MAX], used = 0;
    for (uint32_t i = 0; i < places; i++) {
        const uint32_t link = get24(row + (size_t)i * 3);
        if (link == GRAPH_EMPTY)
            continue;
        if (used < i)
            return error_set(error, OMEN_E_CORRUPT,
                             "row %u: a link in place %u behind an empty one", slot, i);
        if (used == links_max)
            return error_set(error, OMEN_E_CORRUPT, "row %u: more than %u links", slot, links_max);
        if (link >= count)
            return error_set(error, OMEN_E_CORRUPT, "row %u: a link to %u of %u rows", slot, link,
                             count);
        if (link == slot)
            return error_set(error, OMEN_E_CORRUPT, "row %u: a link to itself", slot);
        for (uint32_t j = 0; j < used; j++)
            if (links[j] == link)
                return error_set(error, OMEN_E_CORRUPT, "row %u: two links to %u", slot, link);
        links[used++] = link;
    }
    return OMEN_OK;
}

omen_status
graph_verify(const uint8_t *rows, uint32_t count, uint32_t links_max, struct omen_error *error)
{
    ASSERT(links_max >= 1 && links_max <= LINK_ROW_MAX);
    const uint32_t blocks = (links_max + GRAPH_BLOCK_LINKS - 1) / GRAPH_BLOCK_LINKS;
    for (uint32_t slot = 0; slot < count; slot++) {
        const omen_status status = verify_row(rows + (size_t)slot * blocks * GRAPH_BLOCK_BYTES,
                                              slot, count, links_max, error);
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}
