// gpu/mirror_int.h -- what the copy (mirror.c) and the searches of it (mirror_search.c) share.
//
// Shape: handle.
#ifndef OMEN_GPU_MIRROR_INT_H
#define OMEN_GPU_MIRROR_INT_H
#include "base/limits.h"
#include "gpu/mirror.h"

// Memory of a device that grows.
struct room {
    void *memory;
    size_t bytes;
};

struct gpu_mirror {
    struct device_handle device;
    const struct hnsw *hnsw;
    enum mirror_of of;
    struct mirror_shape shape;
    struct device_rows rows; // of MIRROR_ROWS all zeros, stride too
    struct device_vectors vectors;
    uint8_t *blocks;
    uint32_t *entries, *erased, *allowed;
    uint32_t entry_count, erased_count;
    uint64_t bytes;
    struct room staged;     // pinned: coded queries of a round
    struct room sent;       // the same on the device
    struct room keys;       // of a round
    struct room hits, work; // pinned: of a round
    struct scratch *scratch[THREADS_MAX];
};

// Bytes of a bit a row, in whole words of 64.
size_t mirror_bit_bytes(const struct gpu_mirror *mirror);
// Says what failed, in the driver's words where it has some; returns the status.
omen_status mirror_say(const struct gpu_mirror *mirror, omen_status status, const char *what,
                       struct omen_error *error);

#endif
