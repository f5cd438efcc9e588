// node/admin_rows.h -- what copies add to the map's row of a collection: its points, and its field indexes.
//
// Shape:   value; its memory is from the heap.
//
// Field indexes are of the shards, each of which makes and drops them by its own log: one that any of them has is shown. What nobody
// told in time is left out.
#ifndef OMEN_NODE_ADMIN_ROWS_H
#define OMEN_NODE_ADMIN_ROWS_H
#include "base/limits.h"
#include "cluster/map.h"
#include "wire/method.h"

struct admin_field {
    uint8_t type; // as api_field
    uint16_t name_bytes;
    char name[FIELD_NAME_BYTES_MAX];
};

struct admin_row {
    uint64_t collection;
    uint64_t points;      // of those that told
    uint32_t told;        // shards
    uint32_t field_count; // each name once
    struct admin_field *fields;
};

struct admin_rows {
    uint32_t count;
    struct admin_row *rows;
};

// One for `collection`, or for all of the map where it is 0. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status admin_rows_init(struct admin_rows *rows, const struct map *map,
                                            uint64_t collection);
void admin_rows_fini(struct admin_rows *rows); // accepts zeros

// What a shard's copy has answered of itself; where memory is short some fields are left out.
void admin_rows_take(struct admin_rows *rows, uint64_t collection,
                     const struct api_collection *said);

// NULL: nothing is known of it.
const struct admin_row *admin_rows_find(const struct admin_rows *rows, uint64_t collection);
// As api_collection.fields; `room` is FIELDS_MAX of them, and what they point to is the row's.
struct wire_list admin_row_fields(const struct admin_row *row, struct api_field *room);

#endif
