// shard/graft.h -- a graph that was built elsewhere in place of the one that a shard has.
//
// Shape:   handle; private to shard/.
// Threads: graft_key inside the gate; graft_put from one thread, holding nothing.
//
// A graph has its rows in the order of the log, as all copies have theirs: slots are given in the order in which entries are applied,
// and compaction keeps it. So one look at both, side by side, says which row is which slot; a row that was changed since has another
// key, and from the first row on that the graph does not know everything is newer, and is linked one by one afterwards.
#ifndef OMEN_SHARD_GRAFT_H
#define OMEN_SHARD_GRAFT_H
#include "shard/built.h"
#include "shard/shard_int.h"

// Of a row's id and vector; the same on every copy.
uint64_t graft_key(const struct shard *shard, const struct generation *generation, uint32_t slot);

// What a shard's graphs have been worth, as index/gauge.h measures; zeros at first.
struct graft_record {
    double best;   // recall of the best of them
    uint32_t rows; // that it had
};
enum graft_gate {
    GRAFT_MEASURED, // it must be as good as the record and the graph that is there, but for half a point
    GRAFT_TRUSTED, // another copy has measured it
};
struct graft_report {
    uint32_t rows, matched, tail; // of the graph; of those that are here still; newer ones
    double recall, before; // of the new graph and of the one that was there; negative: not measured
};

// OMEN_E_INVALID: it is not as good as it must be, or it is for rows with more links, or fewer. OMEN_E_CONFLICT: so much has changed
// since that too little of it is left. OMEN_E_NO_MEMORY; OMEN_E_CANCELLED: the shard is being closed. Then nothing has changed.
OMEN_MUST_CHECK omen_status graft_put(struct shard *shard, const struct built_graph *graph,
                                      enum graft_gate gate, struct graft_record *record,
                                      struct graft_report *report, struct omen_error *error);

#endif
