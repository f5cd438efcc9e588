// shard/fields_range.c -- ranges of a field, by its column where that pays.
//
// Shape: handle, in memory.
//
// A column is made when a range first asks for much, by the query that asks: it walks the index once, 2 ns a row. Others
// go on with the index meanwhile.
#include "shard/fields_int.h"

#define RANGE_ROWS_MIN 2048u // below it the index is as fast
#define RANGE_VALUES_MIN 8u

// Has the range so many values and rows that uniting their sets would take longer than the column?
static bool
is_wide(const struct field_index *index, const struct field_range *range)
{
    struct field_cursor cursor = {0};
    struct field_key key;
    const struct slot_set *set;
    uint64_t rows = 0, values = 0;
    if (range->low_bound != FIELD_UNBOUNDED)
        field_index_seek(index, &range->low, &cursor);
    while (rows < RANGE_ROWS_MIN || values < RANGE_VALUES_MIN) {
        if (!field_index_next(index, &cursor, &key, &set) ||
            (range->high_bound != FIELD_UNBOUNDED && field_key_compare(&key, &range->high) > 0))
            return false;
        rows += set->count;
        values++;
    }
    return true;
}

// NULL where somebody else makes it or it cannot be.
static struct field_column *
make_column(const struct fields *fields, struct field *field)
{
    if (atomic_exchange_explicit(&field->column_tried, true, memory_order_relaxed))
        return NULL;
    struct field_column *column = field_column_make(field->index, fields->limit);
    atomic_store_explicit(&field->column, column, memory_order_release);
    return column;
}

void
field_select_range(const struct fields *fields, struct field *field,
                   const struct field_range *range, uint64_t *words, uint32_t slots)
{
    struct field_column *column = atomic_load_explicit(&field->column, memory_order_acquire);
    if (column == NULL && field->type != FIELD_KEYWORD && field->multi_rows == 0 &&
        !atomic_load_explicit(&field->column_tried, memory_order_relaxed) &&
        is_wide(field->index, range))
        column = make_column(fields, field);
    if (column != NULL)
        field_column_range(column, field->index, range, words, slots);
    else
        field_index_range(field->index, range, words, slots);
}

void
field_drop_column(struct field *field)
{
    field_column_close(atomic_load(&field->column));
    atomic_store(&field->column, NULL);
}
