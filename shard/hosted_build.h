// shard/hosted_build.h -- a shard's graph built elsewhere: its rows go to the builder, the graph comes back, and copies put it in place.
//
// Shape:   handle, as shard/hosted.h.
// Threads: any, one after the other where it is the same copy. Applying, reads and checkpoints go on throughout.
// Errors:  as shard/hosted.h.
//
// One copy is asked to freeze, and gives the rows; the graph can be put in place on that one and on every other one that has applied as
// much. Whoever drives it names each try by a number: calls of another than the last are OMEN_E_CONFLICT, and a copy forgets what is
// not asked for within HOSTED_BUILD_IDLE_NS. Nothing of it is durable, and nothing has changed before hosted_build_install.
#ifndef OMEN_SHARD_HOSTED_BUILD_H
#define OMEN_SHARD_HOSTED_BUILD_H
#include "shard/built.h"
#include "shard/hosted.h"

#define HOSTED_BUILD_IDLE_NS (UINT64_C(120) * 1000000000)

struct hosted_frozen {
    uint64_t seq;    // rows are those of this entry
    uint32_t rows;   // that live
    uint32_t chunks; // in which they come
};

// From now on the rows that live now can be read. OMEN_E_NOT_FOUND: there is nothing to be linked at once. OMEN_E_BUSY: the copy is at
// its upkeep.
OMEN_MUST_CHECK omen_status hosted_build_freeze(struct hosted *hosted, uint64_t attempt,
                                                struct hosted_frozen *out,
                                                struct omen_error *error);
// Fills `chunk` (room for BUILT_CHUNK_BYTES). OMEN_E_CONFLICT: the shard was compacted since, or it is another attempt's.
OMEN_MUST_CHECK omen_status hosted_build_rows(struct hosted *hosted, uint64_t attempt,
                                              uint32_t number, uint8_t *chunk, size_t *bytes,
                                              struct omen_error *error);
// The next chunk of the graph (shard/built.h). The first of another attempt is where that begins.
OMEN_MUST_CHECK omen_status hosted_build_take(struct hosted *hosted, uint64_t attempt,
                                              const void *chunk, size_t bytes,
                                              struct omen_error *error);

enum hosted_gate {
    HOSTED_MEASURED, // by this copy's rows: at least the best graph that it has had, and that it has, less half a point of recall
    HOSTED_TRUSTED,  // another copy has measured
};
struct hosted_judged {
    enum hosted_gate gate;
    // TRUSTED: what that copy found, of which this one keeps the record, too; negative: it is not known.
    double recall;
};
struct hosted_built {
    uint32_t rows, matched,
        tail; // of the graph; those that are here still; newer ones, which are linked now
    double recall, before; // of the new graph, and of the one before; negative: not measured
};
// Puts the graph in place that has come. OMEN_E_INVALID: it is not good enough. OMEN_E_CONFLICT: too much has changed, or it is not
// whole, or of another attempt. OMEN_E_BUSY: this copy has not applied as much as the graph has.
OMEN_MUST_CHECK omen_status hosted_build_install(struct hosted *hosted, uint64_t attempt,
                                                 const struct hosted_judged *judged,
                                                 struct hosted_built *out,
                                                 struct omen_error *error);
// What is there of a build that is idle by os_clock_ns goes. Whether one may be there still.
bool hosted_build_idle(struct hosted *hosted, uint64_t now_ns);

#endif
