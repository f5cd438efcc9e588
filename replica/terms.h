// replica/terms.h -- where the terms of a log began.
//
// Shape:   value; in place up to REPLICA_TERMS_MAX terms, on the heap beyond.
// Threads: one at a time.
//
// A log is compared with another by the terms of its entries, and read for nothing else, so the terms are remembered: the last ones, and
// all from that of the last applied entry on, however many. For a snapshot is of what is applied, and the log goes on behind it: where
// the term there was forgotten nobody could be filled any more. A node that starts again and again, and finds nobody to commit with, begins a
// term each time.
#ifndef OMEN_REPLICA_TERMS_H
#define OMEN_REPLICA_TERMS_H
#include <stdbool.h>

#include "replica/replica_msg.h"

struct terms {
    struct replica_term near[REPLICA_TERMS_MAX];
    struct replica_term *far; // instead of it, with room for so many, once it was not enough
    uint32_t room;
    uint32_t count;
};

void terms_fini(struct terms *terms); // and it is empty, to be used again

const struct replica_term *terms_all(const struct terms *terms); // [count], the oldest first

// Nothing where the last one is of the same term. Of `most` terms and more the oldest are forgotten, but for those that began behind
// `applied_seq` and the one before them. false: there was no memory, and the oldest was forgotten all the same.
bool terms_begin(struct terms *terms, struct replica_term began, uint32_t most,
                 uint64_t applied_seq);
void terms_cut(struct terms *terms, uint64_t seq); // what began behind it

uint64_t terms_of(const struct terms *terms, uint64_t seq); // 0: it was forgotten

#endif
