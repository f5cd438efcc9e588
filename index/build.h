// index/build.h -- the links of all rows at once, without a walk.
//
// Shape:   handle that lives for one call.
// Threads: build_run takes as many as it is told and returns when all have ended. `read` and `prefetch` are called from all
//          of them; `progress` from the caller's only.
// Memory:  build_memory says how much a build takes; with memory_max it goes over the rows several times and takes less. All
//          that it takes is counted before it is taken, its result and what each thread works with too.
//
// Rows are put in overlapping leaves of near ones (partition), all rows of a leaf are compared with each other (tiles), what
// is near goes to each row's reservoir, of which the row chooses its links (PiPNN, arXiv 2602.21247).
// docs/internals/bulk.md has the stages with their costs. The same rows and seed give the same links on every kernel, for
// any number of threads and any memory_max (but long rows are compared whole where it has no room for short copies and making them where
// they are wanted would not pay, and then the links are those of whole rows); a maker's links are its own, and what is equal and what is reached goes the same way.
#ifndef OMEN_INDEX_BUILD_H
#define OMEN_INDEX_BUILD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "index/kernel/tile.h"

// What rows are compared by.
enum build_kind {
    BUILD_BYTES,  // signed bytes, biased by 128, and struct tile_numbers
    BUILD_FLOATS, // floats: the sum of squared differences
};

struct build_config;

// Where rows come from. All functions are given `context`.
struct build_rows {
    const void *context;
    enum build_kind kind;
    uint32_t count;
    uint32_t width; // components of a row; bytes: a multiple of 4
    bool extras;    // ip: numbers.extra, or the last of floats, is what makes all lengths equal
    // A row's components, its numbers (bytes only) and, where `sketch` is not NULL, TILE_SKETCH projections of it on directions
    // that have nothing to do with each other.
    void (*read)(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
                 float *sketch);
    void (*prefetch)(const void *context, uint32_t row);
};

// Somebody else who makes the links, in place of the stages from partition to reverse: a device, say.
struct build_maker {
    void *context;
    // Bytes that `make` takes of the host beside its results; they are counted before it is called.
    size_t (*bytes)(void *context, const struct build_rows *rows,
                    const struct build_config *config);
    // Links of rows, of which no two are equal: `links` has config->links_max places for row 0, for row 1, and so on, `counts` how many each
    // has. config->progress is called as build_run would. Errors of build_run.
    omen_status (*make)(void *context, const struct build_rows *rows,
                        const struct build_config *config, uint32_t *links, uint8_t *counts);
};

struct build_config {
    uint32_t links_max; // of a row, 2..LINK_ROW_MAX
    // Of which so many are chosen by the row itself; others' choices fill up the rest.
    uint32_t chosen;
    uint32_t fanout
        [2]; // leaves' parents that a row belongs to at the first split, and at the second; then one
    // Of the first split's, after so many a row goes to those only that are at most so much farther from it (squares) than the
    // last of them.
    uint32_t fanout_sure;
    float fanout_far;
    uint32_t leaf_rows; // 2..TILE_IDS; less where rows are long
    uint32_t leaf_near; // of a leaf, that a row takes for candidates; at most TILE_LANES
    // Places that are left go to candidates that are at most so much farther from the row than from a chosen one (squares); 0: to
    // none.
    float relaxed;
    // What takes the place of the same above where rows are compared by short copies (build_narrow.c), which are a little wrong; and
    // how many links more a row chooses then.
    struct build_copies {
        uint32_t chosen_more, leaf_rows, leaf_near;
        float relaxed;
    } copies;
    uint64_t seed;
    uint32_t threads;  // 1..THREADS_MAX
    size_t memory_max; // never more than that; 0: as much as is fastest
    // Called now and then; non-zero ends the build with OMEN_E_CANCELLED. May be NULL.
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    const struct tile_kernels *tiles; // NULL: the best that this processor runs
    const struct build_maker *maker;  // NULL: links are made here
};

// One setting that is good for all data that was tried (docs/internals/bulk.md).
struct build_config build_config_for(uint32_t links_max);

enum build_stage {
    BUILD_SAME,      // equal rows are found
    BUILD_PARTITION, // rows to the first split's clusters
    BUILD_NARROW,    // short copies, which rows are compared by from here on
    BUILD_LEAVES,    // further splits, leaves, reservoirs
    BUILD_CHOOSE,
    BUILD_REVERSE, // the other direction of each link
    BUILD_REACH,
    BUILD_MAKER, // in place of all but same and reach
    BUILD_STAGES
};
const char *build_stage_name(enum build_stage stage); // static

struct build_report {
    uint64_t ns[BUILD_STAGES];
    uint64_t processor_ns[BUILD_STAGES]; // of the whole process meanwhile
    uint64_t memory[BUILD_STAGES]; // the most that was held in it, what earlier ones left included
    // Bytes of rows, whole ones and copies, each as often as it was read.
    uint64_t read[BUILD_STAGES];
    uint64_t memory_peak;
    uint64_t memory_left;     // of the graph, which is the caller's
    uint64_t leaves, members; // of leaves, a row as often as it is in one
    uint64_t chopped;         // members of leaves that no split would make
    uint64_t pairs;           // compared in leaves and with leaders
    uint32_t twins;           // rows that another one is equal to
    uint32_t chosen_again;    // rows that more chose than there is room for
    uint32_t narrow;          // components that rows were compared by after the first split; 0: all
    uint32_t passes;          // over the leaves
    uint32_t draws;           // of leaders, 1 but for bad luck
    uint32_t unreached;       // before some of them were given a link
    uint32_t links_given;     // so that all are reached
    uint32_t looks;           // at all rows, for those that are not
};

struct build_graph {
    uint32_t count, links_max;
    uint32_t *links; // links_max for row 0, for row 1, ...
    uint8_t *counts; // of each
};
// Room for so many rows without links: for a graph that comes from elsewhere. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status build_graph_open(struct build_graph *graph, uint32_t count,
                                             uint32_t links_max);
void build_graph_close(struct build_graph *graph); // accepts all zeros

// Every row can be reached from row 0. OMEN_E_NO_MEMORY (also where memory_max is too small), OMEN_E_CANCELLED; OMEN_E_UNSUPPORTED where links that lead everywhere
// could not be made of these rows (far too many are as good as equal). Then *out is all zeros. `report` may be NULL.
OMEN_MUST_CHECK omen_status build_run(const struct build_rows *rows,
                                      const struct build_config *config, struct build_graph *out,
                                      struct build_report *report);
// The least memory_max that is not refused at once, and one that spares no time to raise. Where one leader is the nearest of very
// many rows (more than one in three, of a thousand leaders), a build may find the least too small on its way.
struct build_memory {
    size_t least, most;
};
struct build_memory build_memory(const struct build_rows *rows, const struct build_config *config);

#endif
