// node/admin_gather.h -- what only copies know: which of them are asked (ADMIN_ASK_SHARDS), and what all of them say together.
//
// Shape:   handle, in memory; sends nothing.
// Threads: one at a time.
//
// Each copy is sent the client's own request and answers with method->answer, packed, of its shard alone:
//
//      collection.stats      api_stats. A shard that does not answer is counted in shards_failed
//      shard.verify          api_verify: a row for each place in the log of which it knows the checksum, with itself as the only copy.
//                            The last place that all copies of a shard know which answer is what is answered; those that do not are
//                            named, with the reason, unless they say themselves that they will
//      shard.get, .list      api_shard: how far it is and how many points it has, for the map's row. What does not answer is left out
//      collection.get, .list api_collection: its points and field indexes, for the map's row (node/admin_rows.h). What does not
//                            answer is left out
//      index_field, drop_field                 nothing, when it was applied. An index that some shards did not have any more is
//                            dropped; where none had it, it is NOT_FOUND
//      optimize, build       api_started, when it is over; the job that is answered is the collection's number, and has ended
//
// Where all must have done it, the first that did not is named. Doing any of these twice is doing it once.
#ifndef OMEN_NODE_ADMIN_GATHER_H
#define OMEN_NODE_ADMIN_GATHER_H
#include "node/admin.h"

#define GATHER_SUMS_MAX 16u // of one copy; further ones are passed over

struct gather_copy {
    uint64_t shard, collection;
    struct cluster_uuid copy, node_uuid;
    uint32_t node; // the map's number
};

struct gather; // opaque

// Whether what the map says is an answer, with or without what copies add to it. Then they are not waited for as long.
bool gather_adds(enum method_number number);
// Whether what some copies say is an answer, which names or counts the others.
bool gather_in_part(enum method_number number);

// The map is borrowed for the call. OMEN_E_BUSY: a shard has no copy that could be asked; OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status gather_open(const struct map *map, const struct admin_call *call,
                                        const struct admin_step *step, struct gather **out,
                                        struct omen_error *error);
void gather_close(struct gather *gather); // accepts NULL

const struct gather_copy *gather_copies(const struct gather *gather, uint32_t *count);

// What the copy in that place said; `answer` is empty where the status is not OMEN_OK. Of several words of one copy the first counts, and
// what is no answer counts as OMEN_E_CORRUPT.
void gather_take(struct gather *gather, uint32_t at, omen_status status, struct wire_bytes answer);
// The same of a copy that refuses, and says why (bytes of a peer; empty: it does not).
void gather_refuse(struct gather *gather, uint32_t at, omen_status status,
                   struct wire_bytes reason);
// The same of a copy that cannot be asked, or cannot answer any more: why, static.
void gather_lose(struct gather *gather, uint32_t at, omen_status status, const char *why);
bool gather_waits(const struct gather *gather, uint32_t at); // it has said nothing
uint32_t gather_pending(const struct gather *gather);        // copies that have said nothing

// What there is by now: copies that have said nothing ran out of time. The map may be newer than the one of gather_open.
OMEN_MUST_CHECK omen_status gather_answer(const struct gather *gather, const struct map *map,
                                          struct encode *answer, struct omen_error *error);

#endif
