// tests/fuzz/fuzz_tools_record.c -- any bytes as a line of NDJSON, or as cells of a CSV: refused with a sentence, or a point within limits.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "tools/omenctl/record.h"

#define CELLS 6u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
look_at(omen_status status, const struct record *record, const struct omen_error *error)
{
    if (status != OMEN_OK) {
        ASSERT(error->text[0] != '\0');
        return;
    }
    ASSERT(record->components > 0);
    for (uint32_t i = 0; i < record->components; i++)
        ASSERT(isfinite(record->vector[i]));
    if (record->id_kind == RECORD_INTEGER)
        ASSERT(record->id <= ID_MAX);
    if (record->id_kind == RECORD_TEXT)
        ASSERT(strlen(record->text) >= 1 && strlen(record->text) <= ID_TEXT_BYTES_MAX);
    if (record->payload != NULL)
        ASSERT(msgpack_check_map(record->payload, record->payload_bytes, NULL) == OMEN_OK);
}

// The bytes between two NULs are a cell.
static void
try_cells(const char *text, size_t count, struct record_room *room)
{
    static const struct record_cell names[CELLS] = {{"id", 2},  {"vector", 6}, {"a", 1},
                                                    {"b.c", 3}, {"id", 2},     {"", 0}};
    struct record_cell cells[CELLS];
    struct record record;
    struct omen_error error = {0};
    uint32_t found = 0;
    for (size_t at = 0; at < count && found < CELLS; found++) {
        cells[found] = (struct record_cell){text + at, strlen(text + at)};
        at += cells[found].count + 1;
    }
    const struct record_cells all = {names, cells, CELLS, found};
    look_at(record_of_cells(&all, room, &record, &error), &record, &error);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct record_room room;
    struct record record;
    struct omen_error error = {0};
    char *text = malloc(count + 1);
    ASSERT(text != NULL);
    memcpy(text, bytes, count);
    text[count] = '\0';
    record_room_init(&room);
    look_at(record_of_json(text, count, &room, &record, &error), &record, &error);
    try_cells(text, count, &room);
    record_room_fini(&room);
    free(text);
    return 0;
}
