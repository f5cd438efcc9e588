// wire/found.h -- what a copy found for a part of a search: lists of hits that a merge can read without unpacking them.
//
// Shape:   value. Reading allocates nothing; what is read points into the bytes.
// Threads: any.
//
// A router of 64 shards reads 64 lists to answer with one, so a hit is a few numbers at fixed places: as a map of msgpack it would
// take fifty times as long. What belongs to a hit besides lies behind it and is looked at for those that are answered.
#ifndef OMEN_WIRE_FOUND_H
#define OMEN_WIRE_FOUND_H
#include "base/float_bits.h"
#include "base/limits.h"
#include "wire/plain.h"
#include "wire/shape.h"

#define FOUND_HIT_BYTES_MIN 21u

struct found { // of a part: what it took
    uint64_t shard;
    uint64_t took_us;
    uint64_t evaluations, exact_distances, tail;
    uint64_t matches;    // one more than the filter lets through; 0: no filter
    uint32_t warnings;   // enum api_warning
    uint32_t list_count; // one for each query
    uint8_t strategy;    // of omen_query_report
};

struct found_hit {
    float distance;
    uint64_t version;
    struct wire_id id;
    struct wire_bytes payload;  // none
    struct wire_vectors vector; // RAW; none
};

// found_write, then for each list its count and so many hits, nearest first.
void found_write(struct encode *encode, const struct found *found);
void found_list_write(struct encode *encode, uint32_t hits);
void found_hit_write(struct encode *encode, const struct found_hit *hit);

// The same way back. Whether the bytes are what they should be is known when all of it was read: plain_done. A list's count is
// believed only as far as there are bytes for it.
void found_read(struct plain *plain, struct found *out);
uint32_t found_list_read(struct plain *plain);
// *row (may be NULL) is where found_hit_at finds it again.
void found_hit_read(struct plain *plain, struct found_hit *out, const uint8_t **row);

// Of a row that was read before.
void found_hit_at(const uint8_t *row, struct found_hit *out);

// Hits that are a distance and an integer id, as nearly all of a batch of queries: the same bytes, in half the time.

struct found_number {
    float distance;
    uint64_t version, id;
};

// A list of them, which has none of a version: its count and its hits.
void found_numbers_write(struct encode *encode, const uint64_t *ids, const float *distances,
                         uint32_t count);
// The next hit, where it is one and whole; false: nothing was read, and found_hit_read says what it is.
static inline bool
found_number_read(struct plain *plain, struct found_number *out)
{
    const uint8_t *at = plain->at;
    if (plain->failed || plain_left(plain) < FOUND_HIT_BYTES_MIN || at[0] != 0)
        return false;
    const uint64_t id = plain_u64_at(at + 13);
    if (id > ID_MAX)
        return false;
    *out = (struct found_number){bits_float(plain_u32_at(at + 1)), plain_u64_at(at + 5), id};
    plain->at += FOUND_HIT_BYTES_MIN;
    return true;
}

#endif
