// index/graph_verify.c -- are these bytes link rows?
//
// Shape: value. Reads number by number, with no kernel: what it accepts must not depend on what it protects.
#include "index/graph_verify.h"

#include "base/assert.h"

static uint32_t
get_link(const uint8_t *row, enum link_width width, uint32_t place)
{
    const uint8_t *at = row + (size_t)place * (uint32_t)width;
    const uint32_t lower = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
    return width == LINKS_32 ? lower | (uint32_t)at[3] << 24 : lower;
}

static omen_status
verify_row(const struct link_rows *rows, const uint8_t *row, uint32_t slot,
           struct omen_error *error)
{
    const uint32_t places = link_row_bytes(rows->links_max, rows->width) / (uint32_t)rows->width;
    uint32_t links[LINK_ROW_MAX], used = 0;
    for (uint32_t i = 0; i < places; i++) {
        const uint32_t link = get_link(row, rows->width, i);
        if (link == link_empty(rows->width))
            continue;
        if (used < i)
            return error_set(error, OMEN_E_CORRUPT,
                             "row %u: a link in place %u behind an empty one", slot, i);
        if (used == rows->links_max)
            return error_set(error, OMEN_E_CORRUPT, "row %u: more than %u links", slot,
                             rows->links_max);
        if (link >= rows->slots)
            return error_set(error, OMEN_E_CORRUPT, "row %u: a link to %u of %u rows", slot, link,
                             rows->slots);
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
graph_verify(const struct link_rows *rows, struct omen_error *error)
{
    ASSERT(rows->links_max >= 1 && rows->links_max <= LINK_ROW_MAX);
    const uint32_t bytes = link_row_bytes(rows->links_max, rows->width);
    for (uint32_t i = 0; i < rows->count; i++) {
        const omen_status status =
            verify_row(rows, rows->bytes + (size_t)i * bytes, rows->first + i, error);
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}
