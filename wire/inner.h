// wire/inner.h -- what routers and copies say to each other in maps, where what clients see is too little.
//
// Shape: value. As wire/api.h: what is all zeros was not given, and everything borrows.
#ifndef OMEN_WIRE_INNER_H
#define OMEN_WIRE_INNER_H
#include "wire/shape.h"

// query.why_not, in two rounds: the point's shard is asked for its distance, and then every shard how many points are nearer.
struct inner_why_ask {
    struct wire_vectors vector;
    struct wire_id id;
    struct wire_filter filter;
    double target_recall;
    double distance; // of the second round
    uint32_t ef, oversample, k;
    uint8_t exact;
};

struct inner_why {
    uint8_t there, passes; // first round: there is such a point, and the filter lets it through
    double distance;
    uint8_t hit;     // second round: a search of this shard finds it
    uint8_t capped;  // there are more than could be counted
    uint32_t ahead;  // hits of the search that are nearer
    uint32_t nearer; // points that are nearer
};

// point.scroll of one shard, in the order of hashes.
struct inner_page {
    struct wire_list points; // api_point
    uint64_t next;           // where the next page begins; 0: there is nothing behind this one
    uint32_t warnings;
};

// collection.build as a part of kind SEARCH: a builder asks a copy for rows, and gives it the graph that it made of them
// (shard/hosted_build.h). The part's number is the step, so that a copy knows what takes long before it reads on.
#define INNER_CHUNK_BYTES_MAX (1u << 20)
enum inner_build_step {
    INNER_BUILD_FREEZE = 1, // -> rows, chunks, seq
    INNER_BUILD_ROWS,       // chunk -> bytes
    INNER_BUILD_TAKE,       // bytes
    INNER_BUILD_INSTALL,    // trusted, recall -> rows, matched, tail, recall, before
    INNER_BUILD_STEPS
};

struct inner_build_ask {
    uint8_t trusted; // 0: the copy measures the graph
    double recall; // trusted: one more than the copy found that has measured it; 0: it is not known
    uint32_t step; // enum inner_build_step
    uint32_t chunk;
    uint64_t attempt;
    struct wire_bytes bytes;
};

struct inner_build {
    uint32_t rows, chunks, matched, tail;
    uint64_t seq;
    double recall, before; // one more than they are; 0: not measured
    struct wire_bytes bytes;
};

extern const struct shape inner_why_ask, inner_why, inner_page, inner_build_ask, inner_build;

#endif
