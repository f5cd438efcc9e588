// index/hnsw_head.h -- what a saved index says of itself, as bytes.
//
// Shape: value. Little-endian, one version after the other; what is read is checked whole, because whoever goes by it
// asserts nothing any more.
#ifndef OMEN_INDEX_HNSW_HEAD_H
#define OMEN_INDEX_HNSW_HEAD_H
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "index/hnsw_int.h"

#define HNSW_HEAD_VERSION 1u
#define HNSW_HEAD_FIXED_BYTES 128u // before the mean and the entries

struct hnsw_head {
    uint32_t rows, linked; // linked: all below it
    uint32_t chosen; // >= linked; below it rows have codes and links of their own (hnsw_save.c)
    uint32_t kind;   // enum code_kind
    uint32_t found_rows, norm_max2, reach_events;
    float factor_unit, norm_unit, radius2, variance, high_error, both_error; // of the codec
    uint64_t drawn;
    uint32_t entry_count;
    const float *mean;       // dim; to be written
    const uint32_t *entries; // entry_count; to be written
};

size_t hnsw_head_bytes(uint32_t dim, uint32_t entry_count);
void hnsw_head_write(const struct hnsw_config *config, const struct hnsw_head *head, uint8_t *out);

// How many bytes the head has that begins with these HNSW_HEAD_FIXED_BYTES; 0 where it can be none.
size_t hnsw_head_size(const uint8_t *bytes);
// Reads all of it: `mean` has room for dim, `entries` for ENTRIES_MAX. OMEN_E_VERSION, or OMEN_E_CORRUPT where it
// is damaged or of an index with another configuration.
OMEN_MUST_CHECK omen_status hnsw_head_read(const struct hnsw_config *config, const uint8_t *bytes,
                                           struct hnsw_head *head, float *mean, uint32_t *entries);

#endif
