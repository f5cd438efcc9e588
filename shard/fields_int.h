// shard/fields_int.h -- what the planner sees of the fields.
//
// Shape: value. Private to shard/fields.c and shard/filter_plan.c.
#ifndef OMEN_SHARD_FIELDS_INT_H
#define OMEN_SHARD_FIELDS_INT_H
#include "base/limits.h"
#include "base/os_rwlock.h"
#include "shard/field_index.h"
#include "shard/fields.h"
#include "shard/slot_set.h"

struct field {
    struct field_index *index;
    struct slot_set present; // slots with any value but null, NaN included
    uint64_t multi_rows;     // slots with more than one value: two bounds may be met by two of them
    uint32_t name_bytes;
    char name[];
};

struct fields {
    struct rwlock lock; // over everything below; the writer reads without it
    uint32_t count;
    uint32_t limit;                 // above every slot that was ever promised
    struct field *list[FIELDS_MAX]; // an entry once set stays until the end
};

// NULL when the field has no index. Under the lock.
const struct field *fields_find(const struct fields *fields, const char *name, size_t name_bytes);

#endif
