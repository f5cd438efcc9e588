// tools/omenctl/record.h -- a point as a line of NDJSON or CSV says it: its id, its vector, its payload.
//
// Shape: value; the buffers are a handle in the caller's memory. Knows no files: records.c reads.
//
//      {"id": 7, "vector": [0.1, 0.2], "payload": {"city": "Oslo"}}        without "payload" all other keys are the payload
//      id,vector,city,year                                                 the first line of a CSV names its columns
//      7,"[0.1, 0.2]",Oslo,2020                                            numbers, true and false are what they look like
#ifndef OMEN_TOOLS_OMENCTL_RECORD_H
#define OMEN_TOOLS_OMENCTL_RECORD_H
#include <stdbool.h>

#include "tools/omenctl/json.h"
#include "wire/encode.h"

#define RECORD_COLUMNS_MAX 1024u

enum record_id { RECORD_NO_ID, RECORD_INTEGER, RECORD_TEXT };

struct record {
    enum record_id id_kind;
    uint64_t id;
    const char *text; // NUL-terminated; this and what follows until the next record
    const float *vector;
    uint32_t components;
    const uint8_t *payload; // a msgpack map; NULL: none
    size_t payload_bytes;
};

struct record_room {
    struct buffer packed, floats, text;
    struct encode payload;
};
void record_room_init(struct record_room *room);
void record_room_fini(struct record_room *room);

// A status that refusals_is_about_row knows, and why; or OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status record_of_json(const char *line, size_t bytes, struct record_room *room,
                                           struct record *out, struct omen_error *error);

struct record_cell {
    const char *bytes; // NUL-terminated, and may have NULs within
    size_t count;
};
// `names` are the columns.
struct record_cells {
    const struct record_cell *names, *cells;
    uint32_t name_count, cell_count;
};
OMEN_MUST_CHECK omen_status record_of_cells(const struct record_cells *cells,
                                            struct record_room *room, struct record *out,
                                            struct omen_error *error);

#endif
