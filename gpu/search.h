// gpu/search.h -- searches of many queries at once on a device: the walk over coded rows, the last word on what it
// found, and the exact nearest of all rows.
//
// Shape:   value: what the operations of gpu/device.h are told. search_cpu.c and knn_cpu.c are their oracle.
// Memory:  as in gpu/device.h, but that what belongs to queries (codes, vectors, lists, hits) may be host memory of
//          host_alloc as well: a device reads and writes it where it is.
// Exact:   walk and rerank and knn give bit for bit what the oracle gives: floats are added in one order.
//
// The walk is that of index/hnsw_walk.c but for these: it is on all eight bits of the codes, since a device is bound by
// its lists and not by bytes; it follows the links of `parents` nodes in one step; it begins at several entries; and its
// set of visited rows forgets. That it may: a row that is met again either is in the list, where the same key is not put
// twice, or was too far for it, and what a list holds only becomes nearer.
#ifndef OMEN_GPU_SEARCH_H
#define OMEN_GPU_SEARCH_H
#include <stddef.h>
#include <stdint.h>

#include "gpu/device.h"
#include "index/metric.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DEVICE_STARTS 4u      // entries that a walk begins at, each the best of every fourth
#define DEVICE_PARENTS_MAX 4u // nodes followed in one step
#define DEVICE_KEPT_MAX 512u  // keys of a walk's list
#define DEVICE_KNN_MAX 512u   // k of knn

// What a query's code is multiplied with: struct byte_query's numbers.
struct device_query {
    float offset, scale, norm_scale;
    // For rerank: how much farther than the k-th a row may lie by its code and still be among the k.
    float margin;
};

struct device_work {
    uint32_t evaluations, hops;
};

// The `kept` nearest rows that a walk of each query finds; with `allowed`, of those that may answer.
//
// Without `allowed` the links of the nearest `beam` are followed. With it a list of those that may answer is kept beside
// the one that leads, and the walk ends when what is next in line is farther than the beam-th of them.
struct device_walk {
    struct device_rows rows;
    // Of links: rows.count x link_row_bytes(links_max, width); links not below rows.count are none.
    const uint8_t *blocks;
    uint32_t links_max;      // 1..LINK_ROW_MAX
    uint32_t width;          // bytes a link: enum link_width
    const uint32_t *entries; // where walks begin; each below rows.count
    uint32_t entry_count;    // >= 1
    const uint32_t *erased;  // a bit a row: may not answer, but leads on; NULL: none
    const uint32_t *allowed; // a bit a row; NULL: all
    const int8_t *codes; // count x rows.stride: of the queries, in their components' natural order
    const struct device_query *queries;
    uint32_t count;
    uint32_t beam;    // 1..kept
    uint32_t kept;    // 32, 64, 128, 256 or 512
    uint32_t parents; // 1..DEVICE_PARENTS_MAX
    uint32_t stop_k;  // 1..kept, used with stop
    // 0: none; else a node farther than this times the stop_k-th's distance is not followed.
    float stop;
    uint64_t *keys;           // count x kept, sorted, filled up with DEVICE_NONE
    struct device_work *work; // count, or NULL; evaluations depend on what was forgotten
};

// Rows as the user gave them, and how far they are from queries.
struct device_vectors {
    const void *rows; // one behind the other
    uint32_t count, dim;
    enum vector_type type;
    enum metric metric;
};

// Of each list the k nearest that may answer, by their rows: of those keys that lie within the query's margin of the k-th.
struct device_rerank {
    struct device_vectors vectors;
    const float *prepared; // count x vectors.dim: the queries; of length 1 under cosine
    const struct device_query *queries;
    const uint32_t *erased, *allowed; // as above
    const uint64_t *keys;             // count x width, sorted, none twice
    uint32_t count;
    uint32_t width;   // 32, 64, 128, 256 or 512
    uint32_t k;       // 1..width
    struct hit *hits; // count x k; where there are fewer: infinity and UINT32_MAX
};

// The k nearest of all rows that may answer, equal distances by smaller number.
struct device_knn {
    struct device_vectors vectors;
    const float *prepared; // count x vectors.dim
    const uint32_t *erased, *allowed;
    uint32_t count;
    uint32_t k;       // 1..DEVICE_KNN_MAX
    struct hit *hits; // count x k, filled up as above
};

// The plain half.
omen_status device_cpu_walk(struct device *device, const struct device_walk *walk);
omen_status device_cpu_rerank(struct device *device, const struct device_rerank *rerank);
omen_status device_cpu_knn(struct device *device, const struct device_knn *knn);

#ifdef __cplusplus
}
#endif
#endif
