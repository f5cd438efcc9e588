// shard/sums.c -- what a shard holds in 4,096 sums.
//
// Shape: handle, in memory.
#include "shard/sums.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_lock.h"

struct sums {
    struct lock lock;
    struct hosted_sum root;
    struct hosted_sum buckets[SUMS_BUCKETS];
};
_Static_assert(sizeof(struct hosted_sum) * SUMS_BUCKETS <= IMAGE_PIECE_BYTES, "one piece");

omen_status
sums_open(struct sums **out)
{
    *out = mem_alloc_zero(1, sizeof **out);
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    lock_init(&(*out)->lock);
    return OMEN_OK;
}

void
sums_close(struct sums *sums)
{
    if (sums == NULL)
        return;
    lock_fini(&sums->lock);
    mem_free(sums);
}

struct hosted_sum
sums_term(const struct sums_point *point)
{
    uint64_t words[5] = {
        point->id_hash,
        point->version,
        hash_bytes(point->vector, point->vector_bytes),
        point->payload != NULL ? hash_bytes(point->payload, point->payload_bytes) : 0,
        1, // which half
    };
    struct hosted_sum term;
    term.high = hash_bytes(words, sizeof words);
    words[4] = 2;
    term.low = hash_bytes(words, sizeof words);
    return term;
}

static uint32_t
bucket_of(uint64_t id_hash)
{
    return (uint32_t)(id_hash % SUMS_BUCKETS);
}

void
sums_add(struct sums *sums, uint64_t id_hash, struct hosted_sum term)
{
    struct hosted_sum *bucket = &sums->buckets[bucket_of(id_hash)];
    lock_acquire(&sums->lock);
    *bucket = sum_plus(*bucket, term);
    sums->root = sum_plus(sums->root, term);
    lock_release(&sums->lock);
}

void
sums_clear(struct sums *sums)
{
    lock_acquire(&sums->lock);
    sums->root = (struct hosted_sum){0};
    memset(sums->buckets, 0, sizeof sums->buckets);
    lock_release(&sums->lock);
}

struct hosted_sum
sums_root(struct sums *sums)
{
    lock_acquire(&sums->lock);
    const struct hosted_sum root = sums->root;
    lock_release(&sums->lock);
    return root;
}

void
sums_buckets(struct sums *sums, uint32_t first, uint32_t count, struct hosted_sum *out)
{
    ASSERT(first <= SUMS_BUCKETS && count <= SUMS_BUCKETS - first);
    lock_acquire(&sums->lock);
    memcpy(out, sums->buckets + first, count * sizeof *out);
    lock_release(&sums->lock);
}

omen_status
sums_put(const struct hosted_sum buckets[SUMS_BUCKETS], const struct image_sink *sink)
{
    return image_put_whole(sink, IMAGE_SUMS, buckets, SUMS_BUCKETS * sizeof *buckets);
}

bool
sums_load(struct sums *sums, const struct image_source *source)
{
    size_t count = 0;
    const void *bytes = source->get(source->context, IMAGE_SUMS, 0, &count);
    if (bytes == NULL || count != sizeof sums->buckets ||
        (source->sound != NULL && !source->sound(bytes, count)))
        return false;
    lock_acquire(&sums->lock);
    memcpy(sums->buckets, bytes, count);
    sums->root = (struct hosted_sum){0};
    for (uint32_t i = 0; i < SUMS_BUCKETS; i++)
        sums->root = sum_plus(sums->root, sums->buckets[i]);
    lock_release(&sums->lock);
    return true;
}
