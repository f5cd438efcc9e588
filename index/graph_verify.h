// index/graph_verify.h -- are these bytes link rows?
//
// Shape: value. For bytes from a disk or a peer, before anything follows them: a search trusts that a link below its
// limit is a slot, an insertion that a row has its links in front, none twice and none to itself.
#ifndef OMEN_INDEX_GRAPH_VERIFY_H
#define OMEN_INDEX_GRAPH_VERIFY_H
#include <stdint.h>

#include "base/error.h"
#include "base/status.h"
#include "index/graph.h"

// What rows are said to be.
struct link_rows {
    // Of the rows `first`, first + 1, ..., each link_row_bytes(links_max, width).
    const uint8_t *bytes;
    uint32_t first, count;
    uint32_t links_max; // 1..LINK_ROW_MAX
    enum link_width width;
    uint32_t slots; // links lead to slots below it
};

// OMEN_E_CORRUPT, with the row and what is wrong with it, for the first that is not sound. O(links_max^2) a row.
OMEN_MUST_CHECK omen_status graph_verify(const struct link_rows *rows, struct omen_error *error);

#endif
