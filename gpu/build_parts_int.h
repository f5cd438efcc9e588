// gpu/build_parts_int.h -- what the stages of a build by parts share.
//
// Shape: handle for the length of one call. build_parts.c has the order of the stages and what the host does; build_parts_rows.c
// memory, and codes to the device; build_parts_leaves.c leaders and leaves; build_parts_links.c which links a row chooses.
#ifndef OMEN_GPU_BUILD_PARTS_INT_H
#define OMEN_GPU_BUILD_PARTS_INT_H
#include <stdatomic.h>

#include "gpu/build_int.h"

#define TAKEN_MAX 8u // pieces of the device's memory that a stage has

struct parts {
    const struct build_job *job;
    const struct gpu_build_config *config;
    const struct device_ops *ops;
    struct device *device, *host; // host: the plain half's
    uint32_t count, stride, leaders, leaf_count;
    enum gpu_build_stage stage;

    // Of the host. `lists` has count x list keys; chosen ones of the second time take their place from its beginning on.
    uint64_t *lists, *chosen; // chosen: count x chosen_max
    uint64_t *assigned;
    uint32_t *places, *starts;
    struct build_leaf *leaves;
    uint32_t *numbers; // of the rows that are on the device, in its order
    int8_t *codes;
    struct byte_meta *metas; // these two: twice staged_rows of them
    _Atomic uint32_t *met;   // a bit a row: it is on the device
    uint32_t *met_before;    // how many are, before each word of met

    // Of the device, until the stage ends.
    void *taken[TAKEN_MAX];
    uint32_t taken_count;
    uint64_t bytes;
};

static inline uint32_t
parts_smaller(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

// Counts a part, before which `done` of the stage's `total` are done; OMEN_E_CANCELLED where the build is to end.
OMEN_MUST_CHECK omen_status parts_begin(const struct parts *parts, uint32_t done, uint32_t total);

// ---- build_parts_rows.c ----
// Memory of the device until the stage ends, pinned and plain memory of the host: to *pointer, a pointer of any type.
OMEN_MUST_CHECK omen_status parts_take(struct parts *parts, size_t bytes, void *pointer);
OMEN_MUST_CHECK omen_status parts_take_pinned(struct parts *parts, size_t bytes, void *pointer);
OMEN_MUST_CHECK omen_status parts_take_plain(size_t bytes, void *pointer);

// Where rows lie on the device.
struct parts_table {
    int8_t *codes;
    struct byte_meta *metas;
};

OMEN_MUST_CHECK omen_status parts_take_table(struct parts *parts, uint32_t rows,
                                             struct parts_table *table);
// The rows of parts->numbers, `count` of them.
OMEN_MUST_CHECK omen_status parts_load(struct parts *parts, uint32_t count,
                                       const struct parts_table *table);
struct device_rows parts_rows(const struct parts *parts, const struct parts_table *table,
                              uint32_t count);

// ---- build_parts_leaves.c ----
OMEN_MUST_CHECK omen_status parts_assign(struct parts *parts);
OMEN_MUST_CHECK omen_status parts_group(struct parts *parts);
OMEN_MUST_CHECK omen_status parts_leaves(struct parts *parts);

// ---- build_parts_links.c ----
// Rows that are on the device at once when rows choose links.
uint32_t parts_table_rows(const struct parts *parts);
OMEN_MUST_CHECK omen_status parts_choose(struct parts *parts);
OMEN_MUST_CHECK omen_status parts_choose_again(struct parts *parts);

#endif
