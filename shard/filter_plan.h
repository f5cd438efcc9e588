// shard/filter_plan.h -- evaluates a filter to the set of slots it lets through.
//
// Shape:   value over the fields' and payloads' handles; memory in a buffer that is used again
//          and again.
// Threads: any number beside the writer, each with its own buffer, inside the epoch gate (for
//          payloads that are read).
//
// Conditions on indexed fields are answered by their index. The others are answered by looking
// into payloads, last, and only of slots that can still make a difference: those that the indexed
// conditions beside them under an `and` let through, or those under an `or` that nothing let
// through yet.
//
// Rows whose payload is replaced in place while a filter is evaluated may be judged by the old
// payload in one condition and by the new one in another when some field is not indexed; with all
// fields indexed a row is judged whole. An index never changes an answer; where it lacks what a
// condition is about (the bytes of times and UUIDs), payloads are looked at.
#ifndef OMEN_SHARD_FILTER_PLAN_H
#define OMEN_SHARD_FILTER_PLAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/filter.h"
#include "base/status.h"
#include "shard/fields.h"
#include "shard/payload.h"

struct filter_buffer {
    uint64_t *words;
    size_t word_capacity;
};

void filter_buffer_init(struct filter_buffer *buffer);
void filter_buffer_fini(struct filter_buffer *buffer);

// What a filter is asked of.
struct filter_rows {
    struct fields *fields;
    const struct payloads *payloads; // NULL: every slot counts as without payload
    uint32_t slots;
    uint64_t deadline_ns; // of os_clock_ns: then payloads are not looked at any more; 0: none
};

struct filter_selection {
    struct bitmap allowed; // over `slots` bits; in the buffer, until its next use
    uint32_t count;        // bits set
    bool scanned;          // a condition had no index, payloads were looked at
    bool cut; // the deadline came: slots are missing, but all that are there belong there
};

// OMEN_E_NO_MEMORY, or OMEN_E_CORRUPT when a field that it asks for was stored and cannot be loaded.
OMEN_MUST_CHECK omen_status filter_select(const struct filter *filter,
                                          const struct filter_rows *rows,
                                          struct filter_buffer *buffer,
                                          struct filter_selection *out);

#endif
