// raft/tail.c -- the end of the log that is kept in memory.
//
// Shape: handle.
//
// Entries lie side by side in one array, so that a span is a pointer and a count. Compaction moves `begin`; what is before
// it is used again when the array would have to grow.
#include "raft/tail.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

static void release(struct raft_tail *tail, uint32_t from, uint32_t to);

void
tail_init(struct raft_tail *tail, uint32_t entries_max, uint64_t bytes_max)
{
    *tail = (struct raft_tail){.entries_max = entries_max, .bytes_max = bytes_max};
}

void
tail_fini(struct raft_tail *tail)
{
    release(tail, 0, tail->count);
    mem_free(tail->entries);
    memset(tail, 0, sizeof *tail);
}

bool
tail_term(const struct raft_tail *tail, uint64_t position, uint64_t *term)
{
    if (position < tail->base_position || position > tail_last(tail))
        return false;
    *term = position == tail->base_position ? tail->base_term : tail_at(tail, position)->term;
    return true;
}

uint64_t
tail_last_term(const struct raft_tail *tail)
{
    return tail->count == 0 ? tail->base_term : tail_at(tail, tail_last(tail))->term;
}

const struct raft_entry *
tail_at(const struct raft_tail *tail, uint64_t position)
{
    ASSERT(position > tail->base_position && position <= tail_last(tail));
    return &tail->entries[tail->begin + (position - tail->base_position - 1)];
}

struct raft_span
tail_span(const struct raft_tail *tail, uint64_t from, uint64_t through, uint64_t bytes)
{
    if (through > tail_last(tail))
        through = tail_last(tail);
    if (from > through)
        return (struct raft_span){0};
    struct raft_span span = {.entries = tail_at(tail, from)};
    uint64_t sum = 0;
    for (uint64_t position = from; position <= through && span.count < RAFT_ENTRIES_MAX;
         position++) {
        sum += tail_at(tail, position)->byte_count + RAFT_ENTRY_OVERHEAD;
        if (sum > bytes && span.count > 0)
            break;
        span.count++;
    }
    return span;
}

bool
tail_fits(const struct raft_tail *tail, uint32_t entries, uint64_t bytes)
{
    return entries <= tail->entries_max - tail->count && bytes <= tail->bytes_max - tail->bytes;
}

bool
tail_reserve(struct raft_tail *tail, uint32_t entries)
{
    const uint32_t need = tail->count + entries;
    if (tail->begin + need <= tail->capacity)
        return true;
    if (need <= tail->capacity &&
        tail->begin >= tail->capacity / 2) { // half of it is free at the front
        memmove(tail->entries, tail->entries + tail->begin, tail->count * sizeof *tail->entries);
        tail->begin = 0;
        return true;
    }
    uint32_t capacity = tail->capacity < 32 ? 64 : 2 * tail->capacity;
    while (capacity < need)
        capacity *= 2;
    struct raft_entry *entries_new = mem_alloc(capacity * sizeof *entries_new);
    if (entries_new == NULL)
        return false;
    if (tail->count > 0)
        memcpy(entries_new, tail->entries + tail->begin, tail->count * sizeof *entries_new);
    mem_free(tail->entries);
    tail->entries = entries_new;
    tail->capacity = capacity;
    tail->begin = 0;
    return true;
}

bool
tail_append(struct raft_tail *tail, const struct raft_entry *entry)
{
    ASSERT(entry->position == tail_last(tail) + 1);
    if (!tail_fits(tail, 1, entry->byte_count) || !tail_reserve(tail, 1))
        return false;
    uint8_t *bytes = NULL;
    if (entry->byte_count > 0) {
        bytes = mem_alloc(entry->byte_count);
        if (bytes == NULL)
            return false;
        memcpy(bytes, entry->bytes, entry->byte_count);
    }
    struct raft_entry *copy = &tail->entries[tail->begin + tail->count++];
    *copy = *entry;
    copy->bytes = bytes;
    tail->bytes += entry->byte_count;
    return true;
}

void
tail_truncate(struct raft_tail *tail, uint64_t from)
{
    ASSERT(from > tail->base_position);
    if (from > tail_last(tail))
        return;
    const uint32_t keep = (uint32_t)(from - tail->base_position - 1);
    release(tail, keep, tail->count);
    tail->count = keep;
}

void
tail_compact(struct raft_tail *tail, uint64_t through)
{
    ASSERT(through <= tail_last(tail));
    if (through <= tail->base_position)
        return;
    const uint64_t term = tail_at(tail, through)->term;
    const uint32_t gone = (uint32_t)(through - tail->base_position);
    release(tail, 0, gone);
    tail->begin += gone;
    tail->count -= gone;
    tail->base_position = through;
    tail->base_term = term;
}

void
tail_reset(struct raft_tail *tail, uint64_t position, uint64_t term)
{
    release(tail, 0, tail->count);
    tail->begin = tail->count = 0;
    tail->base_position = position;
    tail->base_term = term;
}

static void
release(struct raft_tail *tail, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const struct raft_entry *entry = &tail->entries[tail->begin + i];
        ASSERT(tail->bytes >= entry->byte_count);
        tail->bytes -= entry->byte_count;
        mem_free((void *)entry->bytes); // ours: tail_append made it
    }
}
