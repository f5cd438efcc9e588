// shard/backend.h -- who makes the links of a bulk build: a GPU where one is wanted and there, else the CPU.
//
// Shape:   handle for the length of one build (_open/_close).
// Threads: one at a time.
#ifndef OMEN_SHARD_BACKEND_H
#define OMEN_SHARD_BACKEND_H
#include "gpu/maker.h"
#include "omendb.h"

struct backend {
    omen_backend wanted;
    bool is_open; // there is a GPU, and it is to build
    struct gpu_maker gpu;
    struct build_maker maker;
    char device[256]; // what the GPU is called, also afterwards
    // With AUTO: why no GPU builds, or what came of it; an empty text: nothing is wrong.
    struct omen_error why;
};

// OMEN_E_INVALID: `wanted` is none. With CUDA: the errors of device_open, which say what is missing. With AUTO a GPU is asked only where
// `components` (rows x dimension) are so many that it is worth it; then, and on failure, OMEN_OK, and the CPU builds. It builds, too, where
// the GPU's memory is so small that the CPU is expected to be faster (gpu_build_is_for_processors).
OMEN_MUST_CHECK omen_status backend_open(struct backend *backend, omen_backend wanted,
                                         uint64_t components, struct omen_error *error);
// Whether there is a GPU, by what name, and else in *error why not. It is not kept.
bool backend_has_gpu(char device[256], struct omen_error *error);
void backend_close(struct backend *backend); // accepts one that is not open

// For struct build_config; NULL: the CPU builds.
const struct build_maker *backend_maker(const struct backend *backend);
// After a build with that maker failed: whether the CPU is to try, as with AUTO; from then on it is the CPU's. What was wrong is
// in backend->gpu.error.
bool backend_gives_up(struct backend *backend, omen_status status);

#endif
