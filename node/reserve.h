// node/reserve.h -- how much of its disk a node leaves to deletes and to its log, and whether less than that is left.
//
// Shape: value.
//
// A disk is low when less is available than the reserve, and fine again when there is a tenth more than it: what a delete or a compaction
// gives back for a moment makes it neither fine nor low again and again.
#ifndef OMEN_NODE_RESERVE_H
#define OMEN_NODE_RESERVE_H
#include <stdbool.h>
#include <stdint.h>

#define RESERVE_PERCENT_MAX 50u
#define RESERVE_PERCENT 5u // unless an operator says otherwise
#define RESERVE_BYTES_MAX                                                                          \
    (UINT64_C(64) << 30) // of a large disk, 5 % are more than a log ever wants

struct reserve_disk {
    uint64_t bytes, available_bytes; // of its file system; available to who has no privileges
};

struct reserve {
    struct reserve_disk disk; // as it was looked at last; zeros: it was not
    uint64_t bytes;           // that shall be left
    bool low;
};

// Takes what a look at the disk has found; `percent` 0: no reserve, and never low. Whether `low` has changed.
bool reserve_look(struct reserve *reserve, uint32_t percent, struct reserve_disk disk);

#endif
