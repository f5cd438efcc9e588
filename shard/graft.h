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

// What a shard's graphs have been worth, as index/gauge.h measures, wherever it was measured; zeros at first. It is in the file.
struct graft_record {
    double best;   // recall of the best of them
    uint32_t rows; // that it had
};
// What the file says; OMEN_E_CORRUPT. And in its place; durable when it returns.
OMEN_MUST_CHECK omen_status graft_record_load(const struct shard *shard, struct graft_record *out,
                                              struct omen_error *error);
OMEN_MUST_CHECK omen_status graft_record_keep(struct shard *shard,
                                              const struct graft_record *record,
                                              struct omen_error *error);

enum graft_gate {
    GRAFT_MEASURED, // it must be as good as the record and the graph that is there, but for half a point
    GRAFT_TRUSTED, // another copy has measured it
};
struct graft_judged {
    enum graft_gate gate;
    double recall; // TRUSTED: what that copy found; negative: it is not known
};
struct graft_report {
    uint32_t rows, matched, tail; // of the graph; of those that are here still; newer ones
    double recall, before; // of the new graph and of the one that was there; negative: not measured
};

// OMEN_E_INVALID: it is not as good as it must be, or it is for rows with more links, or fewer. OMEN_E_CONFLICT: so much has changed
// since that too little of it is left. OMEN_E_NO_MEMORY; OMEN_E_CANCELLED: the shard is being closed; OMEN_E_DISK_FULL, OMEN_E_IO: the
// record cannot be kept. Then nothing has changed, but that *record may know of a graph that could not be put in place.
OMEN_MUST_CHECK omen_status graft_put(struct shard *shard, const struct built_graph *graph,
                                      const struct graft_judged *judged,
                                      struct graft_record *record, struct graft_report *report,
                                      struct omen_error *error);

#endif
