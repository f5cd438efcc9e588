// gpu/build_int.h -- what the two ways to build share: with all on the device at once (build_whole.c), and by parts
// (build_parts.c).
//
// Shape: handle.
#ifndef OMEN_GPU_BUILD_INT_H
#define OMEN_GPU_BUILD_INT_H
#include "gpu/build.h"

// ---- build.c ----
struct build_job {
    const struct device_handle *handle;
    const struct gpu_build_config *config;
    const struct gpu_build_input *input;
    const struct gpu_build_plan *plan;
    uint32_t count;
    uint8_t *blocks;
    uint32_t *seen;                      // host: what the entry leads to, a bit a row
    const struct gpu_build_watch *watch; // or NULL
    struct gpu_build_report *report;
};
// Tells that a stage begins, or of its work `done` of `total` is done; OMEN_E_CANCELLED where the build is to end.
OMEN_MUST_CHECK omen_status build_tell(const struct build_job *job, enum gpu_build_stage stage,
                                       uint32_t done, uint32_t total);

// ---- build_plan.c ----
// What the host has for a build as planned, besides its input and its blocks.
size_t build_host_bytes(const struct gpu_build_config *config, const struct gpu_build_shape *shape,
                        const struct gpu_build_plan *plan);
// How many leaders a build by leaders has.
uint32_t build_leaders(const struct gpu_build_config *config, uint32_t count);
// One row of each of as many equal stretches of the rows: different ones, evenly spread, and drawn.
void build_draw_leaders(const struct gpu_build_config *config, uint32_t count, uint32_t *numbers);

// Places that are compared with each other.
struct build_leaf {
    uint32_t first, count; // count: 1..leaf_max
};
// The groups' places as leaves, in order: groups above leaf_max are cut into equal parts. Returns how many there are; `leaves`
// may be NULL. Fills in the report's numbers of them.
uint32_t build_cut_leaves(const struct gpu_build_config *config, const uint32_t *starts,
                          struct build_leaf *leaves, struct gpu_build_report *report);
// Tiles of some leaves, places counted from `from`. Returns how many; `tiles` may be NULL.
uint32_t build_tiles(const struct build_leaf *leaves, uint32_t count, uint32_t from,
                     struct device_tile *tiles);

// Lists of candidates offered to the rows that they name; and what rows chose, to the rows chosen. `count` rows.
struct device_reverse build_offer_lists(const struct gpu_build_config *config, uint32_t count,
                                        const uint64_t *lists, uint64_t *candidates);
struct device_reverse build_offer_chosen(const struct gpu_build_config *config, uint32_t count,
                                         const uint64_t *chosen, uint64_t *candidates);

// ---- build_whole.c, build_parts.c ----
// Fill in blocks, seen and the report, but for repair and verification.
OMEN_MUST_CHECK omen_status build_whole(const struct build_job *job);
OMEN_MUST_CHECK omen_status build_by_parts(const struct build_job *job);

// ---- device_cpu.c ----
// `reverse` for the candidates of rows first..end-1 alone, on host memory.
void device_cpu_reverse_to(const struct device_reverse *reverse, uint32_t first, uint32_t end);

#endif
