// node/admin_rows.c -- what copies add to the map's row of a collection: its points, and its field indexes.
//
// Shape: value.
#include "node/admin_rows.h"

#include <string.h>

#include "base/alloc.h"

omen_status
admin_rows_init(struct admin_rows *rows, const struct map *map, uint64_t collection)
{
    const uint32_t count = collection != 0 ? 1 : map->collection_count;
    *rows = (struct admin_rows){.count = count};
    if (count == 0)
        return OMEN_OK;
    rows->rows = mem_alloc_zero(count, sizeof *rows->rows);
    if (rows->rows == NULL) {
        rows->count = 0;
        return OMEN_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++)
        rows->rows[i].collection = collection != 0 ? collection : map->collections[i].id;
    return OMEN_OK;
}

void
admin_rows_fini(struct admin_rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++)
        mem_free(rows->rows[i].fields);
    mem_free(rows->rows);
    *rows = (struct admin_rows){0};
}

static struct admin_row *
find(const struct admin_rows *rows, uint64_t collection)
{
    uint32_t first = 0, end = rows->count; // in the order of their numbers, as the map has them
    while (first < end) {
        const uint32_t middle = first + (end - first) / 2;
        if (rows->rows[middle].collection == collection)
            return &rows->rows[middle];
        if (rows->rows[middle].collection < collection)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

const struct admin_row *
admin_rows_find(const struct admin_rows *rows, uint64_t collection)
{
    return find(rows, collection);
}

static bool
is_known(const struct admin_row *row, struct wire_text name)
{
    for (uint32_t i = 0; i < row->field_count; i++)
        if (row->fields[i].name_bytes == name.count &&
            memcmp(row->fields[i].name, name.bytes, name.count) == 0)
            return true;
    return false;
}

static void
take_field(struct admin_row *row, const struct api_field *said)
{
    if (row->field_count == FIELDS_MAX || is_known(row, said->field))
        return;
    if (row->fields == NULL)
        row->fields = mem_alloc_zero(FIELDS_MAX, sizeof *row->fields);
    if (row->fields == NULL)
        return;
    struct admin_field *field = &row->fields[row->field_count++];
    field->type = said->type;
    field->name_bytes = (uint16_t)said->field.count;
    memcpy(field->name, said->field.bytes, said->field.count);
}

void
admin_rows_take(struct admin_rows *rows, uint64_t collection, const struct api_collection *said)
{
    struct admin_row *row = find(rows, collection);
    struct list_cursor cursor;
    struct api_field field;
    if (row == NULL)
        return;
    row->told++;
    row->points += said->points.value; // one of an older program leaves 0 out
    list_begin(&cursor, shape_field(&api_collection, "fields"), &said->fields);
    while (list_next(&cursor, &field))
        take_field(row, &field);
}

struct wire_list
admin_row_fields(const struct admin_row *row, struct api_field *room)
{
    for (uint32_t i = 0; i < row->field_count; i++)
        room[i] = (struct api_field){.field = {row->fields[i].name, row->fields[i].name_bytes},
                                     .type = row->fields[i].type};
    return (struct wire_list){.count = row->field_count, .items = room};
}
