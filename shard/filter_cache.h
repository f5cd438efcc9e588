// shard/filter_cache.h -- the last few filters and the rows they let through.
//
// Shape:   handle in the shard's memory (_init/_fini).
// Threads: filter_cache_find by any number of readers inside the gate, without locks; filter_cache_keep by anybody
//          outside of it. Neither ever waits.
//
// An answer holds for one version of the shard's rows, which every write ends. A dashboard that asks the same five
// filters a thousand times a second pays for five selections per write.
#ifndef OMEN_SHARD_FILTER_CACHE_H
#define OMEN_SHARD_FILTER_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/epoch.h"
#include "base/limits.h"
#include "base/os_lock.h"

#define FILTER_CACHE_PLACES 8u
#define FILTER_CACHE_ATTIC 4u // old answers that could not be retired without waiting

enum filter_form { FILTER_FORM_NONE, FILTER_FORM_TEXT, FILTER_FORM_MAP };

// A filter as the caller wrote it, and the state of the shard that it is asked of.
struct filter_key {
    enum filter_form form;
    const void *bytes; // borrowed
    size_t count;
    uint32_t generation;
    uint64_t version;
};

// One byte above the limit is counted, so that what is too long is seen to be.
static inline struct filter_key
filter_key_of_text(const char *text)
{
    return (struct filter_key){
        .form = FILTER_FORM_TEXT, .bytes = text, .count = strnlen(text, FILTER_TEXT_BYTES_MAX + 1)};
}

struct filter_answer {
    struct bitmap allowed;
    uint32_t count; // bits set
    bool scanned;   // payloads were looked at
};

struct filter_entry; // opaque

struct filter_cache {
    _Atomic(struct filter_entry *) places[FILTER_CACHE_PLACES];
    _Atomic uint64_t clock; // ticks with each use, so that the least recently used can go
    struct epoch *gate;
    struct lock writers; // of what follows
    struct filter_entry *attic[FILTER_CACHE_ATTIC];
    uint32_t attic_count;
};

void filter_cache_init(struct filter_cache *cache, struct epoch *gate); // borrows the gate
void filter_cache_fini(struct filter_cache *cache);

// True when there is an answer; *out is then valid until the caller leaves the gate.
bool filter_cache_find(struct filter_cache *cache, const struct filter_key *key,
                       struct filter_answer *out);
// Copies an answer in; forgoes it when memory is short or somebody else is about the gate or the cache at the moment.
void filter_cache_keep(struct filter_cache *cache, const struct filter_key *key,
                       const struct filter_answer *answer);
size_t filter_cache_bytes(struct filter_cache *cache);

#endif
