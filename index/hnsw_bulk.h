// index/hnsw_bulk.h -- the links of an index made at once, and put in place of those it has.
//
// Shape:   handle; part of index/hnsw.h, apart because few need it.
// Threads: from hnsw_bulk_make's call to hnsw_bulk_install's return nobody links, repairs or compacts; during the latter nobody
//          saves either. Searches, appends, publishes and erases go on.
// Memory:  all that is taken is counted, as in index/build.h: codes of rows that had none, too.
#ifndef OMEN_INDEX_HNSW_BULK_H
#define OMEN_INDEX_HNSW_BULK_H
#include "index/build.h"
#include "index/hnsw.h"

struct hnsw_bulk; // opaque

struct hnsw_bulk_options {
    uint32_t threads; // 1..THREADS_MAX, the caller's among them
    // Beside the index as it is at the call, never more than that; 0: as much as is fastest.
    size_t memory_max;
    int (*progress)(void *context, uint64_t done, uint64_t total); // as of struct build_config
    void *context;
    const struct build_maker *maker; // as of struct build_config
};

struct hnsw_bulk_report {
    uint32_t rows;
    uint64_t found_ns, encode_ns;
    uint64_t found_processor_ns, encode_processor_ns; // of the whole process meanwhile
    uint64_t install_ns, install_processor_ns;        // the caller's to fill
    struct build_memory memory; // that would have been right; also where less was given
    size_t memory_peak;         // of all
    size_t memory_besides;      // what is there in every stage of the build beside its own
    uint64_t encode_read;       // bytes of rows that codes were made of
    struct build_report build;
};

// A report's stages in their order, those that took no time left out. Bytes as of struct build_report, memory beside the index.
struct hnsw_bulk_stage {
    const char *name; // static
    uint64_t ns, processor_ns, memory, read;
};
#define HNSW_BULK_STAGES (3 + (uint32_t)BUILD_STAGES)
uint32_t hnsw_bulk_stages(const struct hnsw_bulk_report *report,
                          struct hnsw_bulk_stage out[HNSW_BULK_STAGES]);

// Makes links of all live rows that are published. *out is NULL where there is nothing to be linked (too few rows, or a flat
// index), and after a failure: OMEN_E_NO_MEMORY, OMEN_E_CANCELLED, OMEN_E_UNSUPPORTED (index/build.h); the index is then as it
// was, and linking row by row goes on. Else the caller owns it and ends it with hnsw_bulk_close.
OMEN_MUST_CHECK omen_status hnsw_bulk_make(struct hnsw *hnsw,
                                           const struct hnsw_bulk_options *options,
                                           struct hnsw_bulk_report *report, struct hnsw_bulk **out);
// As much memory as hnsw_bulk_make has a use for, a little more than less; SIZE_MAX where there is none to find that out.
size_t hnsw_bulk_most(struct hnsw *hnsw, uint32_t threads);
// Links that were made elsewhere (index/hnsw_ship.h), in the numbers that their rows have here.
struct hnsw_links {
    uint32_t rows;            // slots below it are linked by them, or dead; the others are the tail
    uint32_t *slots;          // of each row of `graph`, ascending
    struct build_graph graph; // links are numbers of its rows; links_max is the index's own
    bool gaps; // rows went since that others led to: whether all are reached has to be looked at
};
void hnsw_links_close(struct hnsw_links *links); // accepts zeros
// In place of hnsw_bulk_make. Takes *links, also on failure: OMEN_E_NO_MEMORY, OMEN_E_CANCELLED. What they say must have been
// checked; the index is founded.
OMEN_MUST_CHECK omen_status hnsw_bulk_take(struct hnsw *hnsw,
                                           const struct hnsw_bulk_options *options,
                                           struct hnsw_links *links, struct hnsw_bulk **out);
// Before hnsw_bulk_install where rows behind those may be linked already: they are tail again. Searches that have begun before take
// them for linked, so that the caller waits for those before it installs.
void hnsw_bulk_yield(struct hnsw_bulk *bulk);
// Rows that were there at make are linked afterwards, by these links alone. OMEN_E_INTERNAL where a row that was written fails
// graph_verify, which is a fault of ours.
OMEN_MUST_CHECK omen_status hnsw_bulk_install(struct hnsw_bulk *bulk);
void hnsw_bulk_close(struct hnsw_bulk *bulk); // accepts NULL

#endif
