// shard/sums.h -- what a shard holds in 4,096 sums: equal on all copies that have the same points, whatever else they did.
//
// Shape:   handle, in memory.
// Threads: any; a small lock inside.
//
// A point's term is 128 bits of its id, its version, its vector as it is stored and its payload. A bucket is the sum of the terms
// of its points, high and low half each modulo 2^64, and the root is that of the buckets: so the order does not matter, a write
// changes it by the difference of two terms, and the roots of two halves of a shard make the whole's. Terms and buckets are
// part of the format and of what nodes tell each other: frozen.
#ifndef OMEN_SHARD_SUMS_H
#define OMEN_SHARD_SUMS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/image.h"

#define SUMS_BUCKETS 4096u

struct hosted_sum {
    uint64_t high, low;
};

struct sums; // opaque

OMEN_MUST_CHECK omen_status sums_open(struct sums **out); // all zeros: no points
void sums_close(struct sums *sums);                       // accepts NULL

struct sums_point {
    uint64_t id_hash; // base/hash.h
    uint64_t version;
    const void *vector; // as it is stored
    size_t vector_bytes;
    const void *payload; // NULL: none
    size_t payload_bytes;
};
struct hosted_sum sums_term(const struct sums_point *point);

static inline struct hosted_sum
sum_plus(struct hosted_sum a, struct hosted_sum b)
{
    return (struct hosted_sum){.high = a.high + b.high, .low = a.low + b.low};
}

static inline struct hosted_sum
sum_minus(struct hosted_sum a, struct hosted_sum b)
{
    return (struct hosted_sum){.high = a.high - b.high, .low = a.low - b.low};
}

static inline bool
sum_equal(struct hosted_sum a, struct hosted_sum b)
{
    return a.high == b.high && a.low == b.low;
}

// To the bucket of the id with that hash.
void sums_add(struct sums *sums, uint64_t id_hash, struct hosted_sum term);
void sums_clear(struct sums *sums);
struct hosted_sum sums_root(struct sums *sums);
void sums_buckets(struct sums *sums, uint32_t first, uint32_t count, struct hosted_sum *out);

// ---- on disk: IMAGE_SUMS, one piece ----
OMEN_MUST_CHECK omen_status sums_put(const struct hosted_sum buckets[SUMS_BUCKETS],
                                     const struct image_sink *sink);
// Takes what was put; false where there is none, or it is damaged.
bool sums_load(struct sums *sums, const struct image_source *source);

#endif
