// shard/shard_found.h -- what a server reads of a shard besides: hits with what belongs to them, and pages in the order of hashes.
//
// Shape:   handle.
// Threads: any, many at once, as all reads.
// Errors:  as shard/shard.h.
#ifndef OMEN_SHARD_SHARD_FOUND_H
#define OMEN_SHARD_SHARD_FOUND_H
#include "shard/shard.h"

// Whether ids are texts, whose keys shard_text turns back.
bool shard_has_texts(struct shard *shard);
// The text of a key, there until shard_close; NULL: it was never given.
const char *shard_text(struct shard *shard, uint64_t key, size_t *bytes);

// shard_query, and of each hit its version and, as `with` says, its vector and payload, as they were when it was found. A point
// that is deleted in the same moment is left out.
OMEN_MUST_CHECK omen_status shard_hits(struct shard *shard, const void *vector,
                                       const omen_query_options *options, int with,
                                       struct points **out, struct omen_error *error);

// A filter as a server has it: text, not terminated, or a map of msgpack. None: both NULL.
struct shard_filter {
    const char *text;
    const void *map;
    size_t bytes;
};

// *scanned: payloads were looked at for the filter.
OMEN_MUST_CHECK omen_status shard_count_where(struct shard *shard,
                                              const struct shard_filter *filter, uint64_t *count,
                                              bool *scanned, struct omen_error *error);

// The points with the smallest hashes of first..last, which lets many copies of a shard, whose rows lie in other orders, go on with
// each other's pages. Each page looks at every id.
struct shard_page {
    struct shard_filter filter;
    int with;
    size_t limit;         // at least 1; the page may be shorter although there is more
    uint64_t first, last; // hashes of ids
    uint64_t next;        // out: of the first point behind the page
    bool more;            // out: there is one
    bool scanned;         // out: payloads were looked at for the filter
};
OMEN_MUST_CHECK omen_status shard_page(struct shard *shard, struct shard_page *page,
                                       struct points **out, struct omen_error *error);

#endif
