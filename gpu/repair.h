// gpu/repair.h -- links for rows that no walk meets.
//
// Shape: value.
//
// Such a row is put between a reached row that it links to itself, which is a neighbour, and that one's last link, so that what
// was reached stays reached: v -> w becomes v -> u -> w. Where v has room, v -> u is added.
#ifndef OMEN_GPU_REPAIR_H
#define OMEN_GPU_REPAIR_H
#include <stdint.h>

#include "base/status.h"

struct repair_rows {
    uint8_t *blocks; // count x link_row_bytes(links_max, width), sound (index/graph_verify.h)
    uint32_t count, links_max, width;
    uint32_t *seen; // bit r % 32 of word r / 32: row r is reached; all are afterwards
};

struct repair_report {
    uint32_t linked; // rows that were given a link
    // Of them from a row that they do not link to, for lack of one that is reached.
    uint32_t stranded;
};

// In order of the rows' numbers, so the same everywhere. OMEN_E_UNSUPPORTED, and nothing is changed, when more than a tenth
// of the rows are not reached: then the graph is broken, and single links do not mend it. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status repair_unreached(const struct repair_rows *rows,
                                             struct repair_report *report);

#endif
