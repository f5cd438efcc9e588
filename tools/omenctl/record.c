// tools/omenctl/record.c -- a point as a line of NDJSON or CSV says it.
//
// Shape: value.
#include "tools/omenctl/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/msgpack.h"
#include "base/utf8.h"

// Where a value lies in the packed line.
struct part {
    const uint8_t *bytes;
    size_t count;
};

void
record_room_init(struct record_room *room)
{
    *room = (struct record_room){.packed = {0}};
    encode_init(&room->payload, PAYLOAD_BYTES_MAX + 1);
}

void
record_room_fini(struct record_room *room)
{
    buffer_fini(&room->packed);
    buffer_fini(&room->floats);
    buffer_fini(&room->text);
    encode_fini(&room->payload);
}

// ---- id, vector, payload ----

// The head of a part; false where there is none. *reader goes on behind it.
static bool
open_part(const struct part *part, struct msgpack_reader *reader, struct msgpack_value *value)
{
    if (part->bytes == NULL)
        return false;
    *reader = (struct msgpack_reader){part->bytes, part->bytes + part->count};
    return msgpack_next(reader, value);
}

static omen_status
take_text_id(struct record_room *room, const char *bytes, size_t count, struct record *out,
             struct omen_error *error)
{
    if (count == 0 || count > ID_TEXT_BYTES_MAX || memchr(bytes, '\0', count) != NULL ||
        !utf8_valid(bytes, count))
        return error_set(error, OMEN_E_ID_LENGTH, "a text id is 1 to 255 bytes of UTF-8");
    room->text.count = 0;
    if (buffer_add(&room->text, bytes, count) != OMEN_OK ||
        buffer_add(&room->text, "", 1) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    out->id_kind = RECORD_TEXT;
    out->text = (const char *)room->text.bytes;
    return OMEN_OK;
}

static omen_status
take_id(struct record_room *room, const struct part *part, struct record *out,
        struct omen_error *error)
{
    struct msgpack_reader reader;
    struct msgpack_value value;
    if (!open_part(part, &reader, &value) || value.kind == MSGPACK_NIL)
        return OMEN_OK;
    if (value.kind == MSGPACK_STRING)
        return take_text_id(room, (const char *)value.raw.bytes, value.raw.length, out, error);
    if (value.kind != MSGPACK_INT || value.integer < 0)
        return error_set(error, OMEN_E_ID_RANGE, "the id is no integer in 0..2^63-1 and no text");
    out->id_kind = RECORD_INTEGER;
    out->id = (uint64_t)value.integer;
    return OMEN_OK;
}

static double
number_of(const struct msgpack_value *value)
{
    return value->kind == MSGPACK_FLOAT  ? value->number
           : value->kind == MSGPACK_INT  ? (double)value->integer
           : value->kind == MSGPACK_UINT ? (double)value->unsigned_
                                         : (double)NAN;
}

static omen_status
take_vector(struct record_room *room, const struct part *part, struct record *out,
            struct omen_error *error)
{
    struct msgpack_reader reader;
    struct msgpack_value value;
    if (!open_part(part, &reader, &value) || value.kind != MSGPACK_ARRAY || value.count == 0)
        return error_set(error, OMEN_E_DIMENSION,
                         "there is no \"vector\" that is a list of numbers");
    const uint32_t count = value.count;
    room->floats.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const bool read = msgpack_next(&reader, &value);
        const float component = read ? (float)number_of(&value) : NAN;
        if (!isfinite(component))
            return error_set(error, OMEN_E_NOT_FINITE, "component %u of the vector is no number",
                             i);
        if (buffer_add(&room->floats, &component, sizeof component) != OMEN_OK)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    out->vector = (const float *)(const void *)room->floats.bytes;
    out->components = count;
    return OMEN_OK;
}

static omen_status
take_payload(const struct part *part, struct record *out, struct omen_error *error)
{
    struct msgpack_reader reader;
    struct msgpack_value value;
    if (!open_part(part, &reader, &value) || value.kind == MSGPACK_NIL)
        return OMEN_OK;
    const omen_status status = msgpack_check_map(part->bytes, part->count, error);
    if (status == OMEN_OK) {
        out->payload = part->bytes;
        out->payload_bytes = part->count;
    }
    return status;
}

// ---- a line of JSON ----

struct line {
    struct part id, vector, payload;
    uint32_t others; // keys that are none of these
};

static bool
is_key(const struct msgpack_value *key, const char *name)
{
    return key->raw.length == strlen(name) && memcmp(key->raw.bytes, name, key->raw.length) == 0;
}

// NULL: a key of the payload.
static struct part *
place_of(struct line *line, const struct msgpack_value *key)
{
    return is_key(key, "id")        ? &line->id
           : is_key(key, "vector")  ? &line->vector
           : is_key(key, "payload") ? &line->payload
                                    : NULL;
}

// Parts of what was packed out of JSON, and so is whole. False: a key comes twice.
static bool
find_parts(struct msgpack_reader reader, uint32_t pairs, struct line *out)
{
    *out = (struct line){.others = 0};
    for (uint32_t i = 0; i < pairs; i++) {
        struct msgpack_value key;
        if (!msgpack_next(&reader, &key))
            return false;
        struct part *part = place_of(out, &key);
        const uint8_t *begin = reader.at;
        if (!msgpack_skip(&reader) || (part != NULL && part->bytes != NULL))
            return false;
        if (part != NULL)
            *part = (struct part){begin, (size_t)(reader.at - begin)};
        out->others += part == NULL;
    }
    return true;
}

// The keys that are left, as a map of their own.
static struct part
pack_others(struct record_room *room, struct msgpack_reader reader, uint32_t pairs,
            const struct line *line)
{
    struct line ignored = {.others = 0};
    encode_reset(&room->payload);
    if (line->others == 0)
        return (struct part){NULL, 0};
    encode_map(&room->payload, line->others);
    for (uint32_t i = 0; i < pairs; i++) {
        const uint8_t *begin = reader.at;
        struct msgpack_value key;
        if (!msgpack_next(&reader, &key) || !msgpack_skip(&reader))
            break;
        if (place_of(&ignored, &key) == NULL)
            encode_raw(&room->payload, begin, (size_t)(reader.at - begin));
    }
    return (struct part){room->payload.bytes, room->payload.count};
}

static omen_status
packed_status(const struct record_room *room, struct omen_error *error)
{
    if (room->payload.status == OMEN_E_FULL)
        return error_set(error, OMEN_E_PAYLOAD, "the payload has more than %u bytes",
                         PAYLOAD_BYTES_MAX);
    return room->payload.status == OMEN_OK ? OMEN_OK : error_set_plain(error, room->payload.status);
}

omen_status
record_of_json(const char *line, size_t bytes, struct record_room *room, struct record *out,
               struct omen_error *error)
{
    struct msgpack_value map;
    struct line parts;
    *out = (struct record){.id_kind = RECORD_NO_ID};
    room->packed.count = 0;
    encode_reset(&room->payload);
    omen_status status = json_to_msgpack(line, bytes, &room->packed, error);
    if (status == OMEN_E_NO_MEMORY || status == OMEN_E_NOT_FINITE)
        return status;
    if (status != OMEN_OK)
        return error->status = OMEN_E_PAYLOAD;
    struct msgpack_reader reader = {room->packed.bytes, room->packed.bytes + room->packed.count};
    if (!msgpack_next(&reader, &map) || map.kind != MSGPACK_MAP)
        return error_set(error, OMEN_E_PAYLOAD, "the line is no JSON object");
    if (!find_parts(reader, map.count, &parts))
        return error_set(error, OMEN_E_PAYLOAD, "a key comes twice");
    if (parts.payload.bytes != NULL && parts.others > 0)
        return error_set(error, OMEN_E_PAYLOAD,
                         "beside \"payload\" there are other keys than id and vector");
    if (parts.payload.bytes == NULL)
        parts.payload = pack_others(room, reader, map.count, &parts);
    status = packed_status(room, error);
    if (status == OMEN_OK)
        status = take_id(room, &parts.id, out, error);
    if (status == OMEN_OK)
        status = take_vector(room, &parts.vector, out, error);
    return status == OMEN_OK ? take_payload(&parts.payload, out, error) : status;
}

// ---- cells of a CSV ----

static bool
is_named(const struct record_cell *cell, const char *name)
{
    return cell->count == strlen(name) && memcmp(cell->bytes, name, cell->count) == 0;
}

// Of digits alone: an integer, as the ids of a file are everywhere else.
static omen_status
take_cell_id(struct record_room *room, const struct record_cell *cell, struct record *out,
             struct omen_error *error)
{
    if (cell->count == 0 || strspn(cell->bytes, "0123456789") != cell->count)
        return take_text_id(room, cell->bytes, cell->count, out, error);
    room->packed.count = 0;
    out->id = strtoull(cell->bytes, NULL, 10);
    out->id_kind = RECORD_INTEGER;
    return cell->count <= 19 && out->id <= ID_MAX
               ? OMEN_OK
               : error_set(error, OMEN_E_ID_RANGE, "the id is above 2^63-1");
}

// Of the JSON in the cell.
static omen_status
take_cell_vector(struct record_room *room, const struct record_cell *cell, struct record *out,
                 struct omen_error *error)
{
    room->packed.count = 0;
    const omen_status status = json_to_msgpack(cell->bytes, cell->count, &room->packed, error);
    if (status == OMEN_E_NO_MEMORY || status == OMEN_E_NOT_FINITE)
        return status;
    if (status != OMEN_OK)
        return error->status = OMEN_E_DIMENSION;
    return take_vector(room, &(struct part){room->packed.bytes, room->packed.count}, out, error);
}

// A number of JSON, true or false; else the text as it stands.
static void
pack_cell(struct record_room *room, const struct record_cell *cell)
{
    struct omen_error ignored;
    const char first = cell->bytes[0];
    const bool bare = first == '-' || (first >= '0' && first <= '9') || is_named(cell, "true") ||
                      is_named(cell, "false");
    room->packed.count = 0;
    if (bare && json_to_msgpack(cell->bytes, cell->count, &room->packed, &ignored) == OMEN_OK)
        encode_raw(&room->payload, room->packed.bytes, room->packed.count);
    else
        encode_text(&room->payload, (struct wire_text){cell->bytes, (uint32_t)cell->count});
}

static bool
is_of_payload(const struct record_cells *cells, uint32_t column)
{
    return cells->cells[column].count > 0 && !is_named(&cells->names[column], "id") &&
           !is_named(&cells->names[column], "vector");
}

static void
pack_cells(struct record_room *room, const struct record_cells *cells)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < cells->cell_count; i++)
        count += is_of_payload(cells, i);
    encode_reset(&room->payload);
    if (count == 0)
        return;
    encode_map(&room->payload, count);
    for (uint32_t i = 0; i < cells->cell_count; i++) {
        if (!is_of_payload(cells, i))
            continue;
        const struct record_cell *name = &cells->names[i];
        encode_text(&room->payload, (struct wire_text){name->bytes, (uint32_t)name->count});
        pack_cell(room, &cells->cells[i]);
    }
}

omen_status
record_of_cells(const struct record_cells *cells, struct record_room *room, struct record *out,
                struct omen_error *error)
{
    omen_status status = OMEN_OK;
    bool has_vector = false;
    *out = (struct record){.id_kind = RECORD_NO_ID};
    if (cells->cell_count != cells->name_count)
        return error_set(error, OMEN_E_PAYLOAD, "it has %u columns, the first line %u",
                         cells->cell_count, cells->name_count);
    for (uint32_t i = 0; i < cells->cell_count && status == OMEN_OK; i++) {
        if (is_named(&cells->names[i], "id") && cells->cells[i].count > 0)
            status = take_cell_id(room, &cells->cells[i], out, error);
        if (status == OMEN_OK && is_named(&cells->names[i], "vector")) {
            status = take_cell_vector(room, &cells->cells[i], out, error);
            has_vector = true;
        }
    }
    if (status == OMEN_OK && !has_vector)
        status = error_set(error, OMEN_E_DIMENSION, "there is no column \"vector\"");
    if (status != OMEN_OK)
        return status;
    pack_cells(room, cells);
    status = packed_status(room, error);
    const struct part payload = {room->payload.count > 0 ? room->payload.bytes : NULL,
                                 room->payload.count};
    return status == OMEN_OK ? take_payload(&payload, out, error) : status;
}
