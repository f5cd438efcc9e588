// node/serve.h -- what a copy does for a part of a client's request: reads, and what becomes an entry of its log.
//
// Shape:   handle: functions on a hosted shard (shard/hosted.h).
// Threads: any, many at once; they may take as long as the search does, so they are for pool workers.
// Errors:  a status that goes back to the router, and in *error (never NULL) the sentence of it. Nothing was changed.
//
// Whether this copy is the one that should answer was decided before (node/admit.h). A part's `ask` may be anything. What is
// answered is wire/found.h for searches, and what wire/inner.h and method->answer say for the rest; limits of answers are those
// that `answer` was made with.
#ifndef OMEN_NODE_SERVE_H
#define OMEN_NODE_SERVE_H
#include "shard/hosted.h"
#include "wire/node_codec.h"

// How each item of the part ended; none where all are well.
struct serve_items {
    omen_status *statuses; // room for `room`: WIRE_BATCH_MAX is enough
    uint32_t room, count;
};

// Kinds SEARCH and GET. `items` is written for GET. Many queries are searched by idle workers of `pool` too; NULL: by as many
// threads of their own as there are processors.
OMEN_MUST_CHECK omen_status serve_read(struct hosted *hosted, const struct wire_part *part,
                                       struct pool *pool, struct encode *answer,
                                       struct serve_items *items, struct omen_error *error);

// Kind WRITE: the entry to be proposed. op->bytes NULL: there is nothing to do, and it is done.
//
// What a filter lets through may be more than an entry holds. op->cursor is 0 for the first entry; after it UINT64_MAX says that this
// is the last. Else it is applied, and the next is prepared with the cursor of the one before. Only the last one may
// carry the part's op_id: a client that tries again after half of it must not be told that all was done.
OMEN_MUST_CHECK omen_status serve_prepare(struct hosted *hosted, const struct wire_part *part,
                                          struct hosted_bytes *op, struct omen_error *error);

// After they were applied: `results` is of all entries of the part; NULL: it was decided so long ago that nobody knows more of it.
// Then an upsert without conditions was done, for all its ids; of anything else the outcome is unknown, OMEN_E_TIMEOUT. OMEN_OK, or why
// nothing was done.
OMEN_MUST_CHECK omen_status serve_written(const struct wire_part *part,
                                          const struct hosted_results *results,
                                          struct encode *answer, struct serve_items *items,
                                          struct omen_error *error);

#endif
