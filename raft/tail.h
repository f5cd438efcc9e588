// raft/tail.h -- the end of the log that is kept in memory: all of it that was not compacted.
//
// Shape:   handle in the owner's memory (_init/_fini).
// Threads: the machine's, one at a time.
// Memory:  an array that grows to `entries_max`, and a copy of each entry's bytes, `bytes_max` together.
#ifndef OMEN_RAFT_TAIL_H
#define OMEN_RAFT_TAIL_H
#include "raft/raft_msg.h"

// Counted with each entry's bytes where bytes are limited, so that empty entries are not free.
#define RAFT_ENTRY_OVERHEAD 24u

struct raft_tail {
    struct raft_entry *entries; // positions base_position + 1, ... are entries[begin], ...
    uint32_t begin, count, capacity;
    uint64_t base_position, base_term; // of the entry before the first: compacted, or of a snapshot
    uint64_t bytes;
    uint32_t entries_max;
    uint64_t bytes_max;
};

// Entries one behind the other; borrowed until the tail changes.
struct raft_span {
    const struct raft_entry *entries;
    uint32_t count;
};

void tail_init(struct raft_tail *tail, uint32_t entries_max, uint64_t bytes_max);
void tail_fini(struct raft_tail *tail);

static inline uint64_t
tail_first(const struct raft_tail *tail)
{
    return tail->base_position + 1;
}

static inline uint64_t
tail_last(const struct raft_tail *tail)
{
    return tail->base_position + tail->count;
}

// False where the term is not known: compacted, or beyond the end. Position 0 has term 0.
bool tail_term(const struct raft_tail *tail, uint64_t position, uint64_t *term);
uint64_t tail_last_term(const struct raft_tail *tail);
const struct raft_entry *tail_at(const struct raft_tail *tail, uint64_t position); // must be there

// Entries from `from` on, at most through `through`, and while they have at most `bytes` together, but one in any case.
struct raft_span tail_span(const struct raft_tail *tail, uint64_t from, uint64_t through,
                           uint64_t bytes);

// Room for `entries` more with `bytes` together: whether the bounds allow it, and whether there is memory for the array.
bool tail_fits(const struct raft_tail *tail, uint32_t entries, uint64_t bytes);
bool tail_reserve(struct raft_tail *tail, uint32_t entries);
// Whether one more, without bytes, moves nothing and needs no memory.
static inline bool
tail_has_slot(const struct raft_tail *tail)
{
    return tail->begin + tail->count < tail->capacity;
}

// Appends a copy; its position must be the next. False: the bounds, or no memory; nothing happened.
bool tail_append(struct raft_tail *tail, const struct raft_entry *entry);
void tail_truncate(struct raft_tail *tail, uint64_t from);   // entries at `from` and above go
void tail_compact(struct raft_tail *tail, uint64_t through); // entries at `through` and below go
void tail_reset(struct raft_tail *tail, uint64_t position, uint64_t term); // behind a snapshot

#endif
