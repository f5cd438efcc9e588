// gpu/build.h -- a graph over many coded rows at once, by a device.
//
// Shape:   handle for the length of one call. It decides what is computed in which order; the device computes.
// Threads: one for the device; graph_verify runs on `threads` of them at the end.
// Memory:  host: the caller's blocks, a bit a row, and a few words a leader. Device: gpu_build_bytes(). Where the device has not
//          so much, the build goes by parts (gpu_build_plan): the host then has the lists, 8 (list + chosen_max + fanout) bytes
//          and 4 fanout a row, pinned for the most part, and what the device holds at a time fits what it has.
//
// Leaders are drawn from the rows; each row goes to its `fanout` nearest leaders; within the group of a leader all pairs are
// compared and each row keeps its `leaf_keep` nearest there (the randomly overlapping partition of HCNNG and PiPNN). The
// lists of a row are merged, under ip who has a row for a candidate offers itself to it, links are chosen among them by
// occlusion, the chosen ones offer themselves the other way, full
// rows choose anew. Up to `exact_rows` rows one list of the exactly nearest takes the place of leaders and groups. What no
// walk from `entry` meets is given a link. The graph is the same for the same rows and configuration on every device,
// in parts of any size too, but that a build by parts always has leaders (exact_rows counts as 0).
#ifndef OMEN_GPU_BUILD_H
#define OMEN_GPU_BUILD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gpu/device.h"

struct gpu_build_config {
    uint32_t links_max;  // of a row: 1..DEVICE_LIST_MAX (2 M)
    uint32_t link_width; // bytes: enum link_width
    uint32_t chosen_max; // links of its own that a row chooses, at most links_max
    uint32_t list;       // candidates of a row, chosen_max..DEVICE_LIST_MAX
    uint32_t fanout;     // leaders of a row, 1..32
    uint32_t leaf_rows;  // rows of a leader on the average
    uint32_t leaf_max;   // a larger group is cut
    // Nearest that a row keeps of a group; fanout * leaf_keep <= DEVICE_MERGE_MAX.
    uint32_t leaf_keep;
    uint32_t exact_rows;
    // Under ip: rows look for near ones in the leaves of so many leaders, those nearest to them, and in the others for those that they have
    // the largest products with; 0: for near ones in all.
    uint32_t near_turns;
    // Candidates that a row takes of those that have it for one, at most list; 0: none.
    uint32_t farthest;
    float alpha2;   // see struct device_prune
    uint32_t entry; // a row
    uint32_t threads;
    uint64_t seed;
    uint64_t staged_bytes; // codes that wait on the host for the device at once, by parts
    uint64_t device_bytes; // to take of the device at most; 0: as gpu_build_plan_on says
};

// Rows as a device has them (struct device_rows); host memory, pinned where speed matters.
struct gpu_build_input {
    const int8_t *codes;           // count x stride
    const struct byte_meta *metas; // count
    uint32_t count;
    uint32_t stride; // a multiple of DEVICE_STRIDE
    uint32_t ip;
    float radius2;
};

// `progress` is called by the caller's thread before each stage, or part of one, with how much of the work is done; non-zero ends
// the build with OMEN_E_CANCELLED. A stage that is told of has ended on the device, too.
struct gpu_build_watch {
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

enum gpu_build_stage {
    GPU_BUILD_UPLOAD, // codes to the device
    GPU_BUILD_ASSIGN, // rows to leaders; with few rows: the exact lists
    GPU_BUILD_GROUP,
    GPU_BUILD_LEAVES,
    GPU_BUILD_MERGE,
    GPU_BUILD_PRUNE,
    GPU_BUILD_REVERSE,
    GPU_BUILD_PRUNE_AGAIN,
    GPU_BUILD_REACH,
    GPU_BUILD_PACK,
    GPU_BUILD_DOWNLOAD,
    GPU_BUILD_REPAIR, // host
    GPU_BUILD_VERIFY, // host
    GPU_BUILD_STAGES
};
extern const char *const gpu_build_stage_names[GPU_BUILD_STAGES];

struct gpu_build_report {
    float stage_ms[GPU_BUILD_STAGES];
    float total_ms;                    // of the whole call
    uint64_t assign_pairs, leaf_pairs; // distances
    uint64_t device_bytes;
    uint32_t parts;               // 0: all was on the device at once
    uint32_t leaders, tiles, cut; // cut: groups above leaf_max
    uint32_t unreached, steps;    // before repair; the longest way from the entry
    uint32_t repaired, stranded;  // stranded: linked from rows that are no neighbours
};

// For a numbering of `count` rows with M links a row.
struct gpu_build_config gpu_build_config_for(uint32_t count, uint32_t links);
// The same where distances are ip's.
struct gpu_build_config gpu_build_config_for_ip(uint32_t count, uint32_t links);

struct gpu_build_shape {
    uint32_t count;  // rows
    uint32_t stride; // bytes from one row's codes to the next
};

// Device bytes that a build takes with all at once.
uint64_t gpu_build_bytes(const struct gpu_build_config *config,
                         const struct gpu_build_shape *shape);

// How a build goes within a device's memory. By parts: rows go to their leaders `assign_rows` at a time, leaves are compared that
// have `leaf_places` together, and `choose_rows` rows choose links at a time, of which the candidates' codes are gathered;
// codes are gathered `staged_rows` at a time, while the device gets those before.
struct gpu_build_plan {
    uint32_t whole; // 1: all at once; what follows is 0 but for bytes
    uint32_t staged_rows, assign_rows, leaf_places, choose_rows;
    uint64_t bytes; // of the device at most
};

// OMEN_E_NO_MEMORY: not even one part fits; then plan->bytes is what would be enough.
OMEN_MUST_CHECK omen_status gpu_build_plan(const struct gpu_build_config *config,
                                           const struct gpu_build_shape *shape, uint64_t bytes,
                                           struct gpu_build_plan *plan);

// The same of what may be taken of an open device: device_bytes, or seven eighths of what it says is free.
OMEN_MUST_CHECK omen_status gpu_build_plan_on(const struct device_handle *handle,
                                              const struct gpu_build_config *config,
                                              const struct gpu_build_shape *shape,
                                              struct gpu_build_plan *plan);
// How many parts a planned build has, or a few more, since leaves stay whole; 0: it is not cut.
uint32_t gpu_build_parts(const struct gpu_build_config *config, const struct gpu_build_shape *shape,
                         const struct gpu_build_plan *plan);
// Whether the processors alone (index/build.h) are expected to link the rows in less time than a build in so many parts, which the
// host works at, too: docs/internals/gpu.md has what was measured.
bool gpu_build_is_for_processors(const struct gpu_build_config *config,
                                 const struct gpu_build_shape *shape, uint32_t parts);

// Bytes that the host has for a build besides its input and `blocks`: few, or what a build by parts keeps there where the device has
// not enough memory for all at once. Where it has not enough for anything: as if by parts.
size_t gpu_build_host_bytes(const struct device_handle *handle,
                            const struct gpu_build_config *config,
                            const struct gpu_build_shape *shape);

// Fills `blocks` (host, rows x link_row_bytes) with rows that pass graph_verify. `watch` may be NULL.
// OMEN_E_NO_MEMORY: of the device, or of the host. OMEN_E_UNSUPPORTED: most rows are not reached from
// the entry, as happens with many equal rows: the caller links them otherwise.
OMEN_MUST_CHECK omen_status gpu_build_run(const struct device_handle *handle,
                                          const struct gpu_build_config *config,
                                          const struct gpu_build_input *input, uint8_t *blocks,
                                          const struct gpu_build_watch *watch,
                                          struct gpu_build_report *report,
                                          struct omen_error *error);

#endif
