// node/admin_gather_int.h -- what listing copies and putting together what they said share.
//
// Shape: handle, in memory.
#ifndef OMEN_NODE_ADMIN_GATHER_INT_H
#define OMEN_NODE_ADMIN_GATHER_INT_H
#include "node/admin_gather.h"
#include "node/admin_int.h"
#include "node/admin_rows.h"

#define SUM_DIGITS 32u

struct gather_sum {
    uint64_t seq;
    char digits[SUM_DIGITS];
};

struct gather_word { // of one copy
    bool told;
    omen_status status;
    const char *why; // static; NULL: as the copy or the status says
    char *said;      // a copy's reason to refuse; NULL: none
    uint32_t sum_count;
    struct gather_sum sums[GATHER_SUMS_MAX];
};

struct gather {
    const struct method *method;
    uint64_t collection, shard; // as the step says
    uint32_t count, pending;
    struct api_stats stats; // sums so far
    double recall_weight;
    struct admin_rows rows;     // collection.get, .list
    struct admin_place *places; // shard.get, .list: as many as copies
    struct gather_copy *copies;
    struct gather_word *words; // as many
};

// Whether copies add how far they are to the map's rows of shards.
bool gather_of_places(enum method_number number);

#endif
