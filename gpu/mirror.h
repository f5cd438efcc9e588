// gpu/mirror.h -- a copy of an index on a device, and batches of searches of it, from host memory to host memory.
//
// Shape:   handle. It borrows the device and the index until gpu_mirror_close.
// Threads: one at a time; a search takes as many as it is told to code its queries.
// Memory:  device: gpu_mirror_bytes. Host, pinned: what 16,384 queries and their answers take, at most.
//
// The copy is of the rows that were linked when it was made. What was erased since is asked for at every search; rows that
// came later are for the caller to look through (hnsw_mirror_finish), and to make a new copy when they are many.
#ifndef OMEN_GPU_MIRROR_H
#define OMEN_GPU_MIRROR_H
#include "base/bitmap.h"
#include "base/error.h"
#include "gpu/search.h"
#include "index/mirror.h"

struct gpu_mirror; // opaque

// OMEN_E_UNSUPPORTED: there is no row, or for MIRROR_GRAPH none that is coded and linked. OMEN_E_NO_MEMORY, also of the
// device's.
OMEN_MUST_CHECK omen_status gpu_mirror_open(const struct device_handle *device,
                                            const struct hnsw *hnsw, enum mirror_of of,
                                            struct gpu_mirror **out, struct omen_error *error);
void gpu_mirror_close(struct gpu_mirror *mirror); // accepts NULL

enum mirror_of gpu_mirror_has(const struct gpu_mirror *mirror);
uint32_t gpu_mirror_rows(const struct gpu_mirror *mirror);  // slots below it are in the copy
uint64_t gpu_mirror_bytes(const struct gpu_mirror *mirror); // of the device's memory

struct gpu_batch {
    const float *vectors; // count x dim, as the user gave them
    uint32_t count;
    uint32_t k;                   // 1..DEVICE_KEPT_MAX
    uint32_t beam;                // raised to k; at most DEVICE_KEPT_MAX
    float stop;                   // as in struct hnsw_query; 0: none
    const struct bitmap *allowed; // of slots; NULL: all
    uint32_t allowed_count;
    uint32_t parents;           // nodes followed in one step; 0: chosen from count
    uint32_t threads;           // of this machine, 1..THREADS_MAX
    struct hit *hits;           // count x k, nearest first; where there are fewer: HNSW_NONE
    uint64_t evaluations, hops; // added to
};
// A copy of MIRROR_ROWS compares every row.
// OMEN_E_INVALID: k or the beam is above DEVICE_KEPT_MAX. OMEN_E_INTERNAL: the device failed; the mirror is to be closed.
OMEN_MUST_CHECK omen_status gpu_mirror_search(struct gpu_mirror *mirror, struct gpu_batch *batch,
                                              struct omen_error *error);
// The same by comparing every row of the copy; k up to DEVICE_KNN_MAX, beam and stop are not used.
OMEN_MUST_CHECK omen_status gpu_mirror_knn(struct gpu_mirror *mirror, struct gpu_batch *batch,
                                           struct omen_error *error);

#endif
