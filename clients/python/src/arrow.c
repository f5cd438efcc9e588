// clients/python/src/arrow.c -- vectors from Arrow: a FixedSizeList of numbers, through the C data
// interface.
//
// Shape: shell. The capsules stay the owners: they release the array when raw_close drops them. A
// table or a batch of records that has one column stands for that column.
#include "arrow.h"

#include <stdlib.h>
#include <string.h>

// A stretch of an array's values, counted from its first buffer's begin: its offset is in `first`.
struct stretch {
    int64_t first, count;
    int64_t rows_before; // what is added to row numbers in messages
    int64_t width;       // components of a row; 0 for a vector by itself
};

static enum element
element_of_arrow(const char *format)
{
    static const struct {
        const char *format;
        enum element element;
    } table[] = {{"f", ELEMENT_F32}, {"g", ELEMENT_F64}, {"e", ELEMENT_F16}, {"c", ELEMENT_I8},
                 {"C", ELEMENT_U8},  {"s", ELEMENT_I16}, {"S", ELEMENT_U16}, {"i", ELEMENT_I32},
                 {"I", ELEMENT_U32}, {"l", ELEMENT_I64}, {"L", ELEMENT_U64}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(format, table[i].format) == 0)
            return table[i].element;
    return ELEMENT_NONE;
}

// The first missing value of a stretch, counted within it; -1 when all are there. The producer may
// not have counted (null_count is -1 then).
static int64_t
first_null(const struct ArrowArray *array, const struct stretch *stretch)
{
    const unsigned char *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    if (array->null_count == 0 || valid == NULL)
        return -1;
    for (int64_t i = 0; i < stretch->count; i++) {
        const int64_t at = stretch->first + i;
        if ((valid[at / 8] >> (at % 8) & 1) == 0)
            return i;
    }
    return -1;
}

static int
refuse_null_row(const struct ArrowArray *array, const struct stretch *rows)
{
    const int64_t null = first_null(array, rows);
    if (null < 0)
        return 0;
    raise_error(OMEN_E_INVALID, "Arrow array has a null row: row %lld",
                (long long)(rows->rows_before + null));
    return -1;
}

static int
refuse_null_component(const struct ArrowArray *values, const struct stretch *stretch)
{
    const int64_t null = first_null(values, stretch);
    if (null < 0)
        return 0;
    if (stretch->width > 0)
        raise_error(OMEN_E_NOT_FINITE, "Arrow array has a null component: row %lld, component %lld",
                    (long long)(stretch->rows_before + null / stretch->width),
                    (long long)(null % stretch->width));
    else
        raise_error(OMEN_E_NOT_FINITE, "Arrow array has a null component: component %lld",
                    (long long)(stretch->rows_before + null));
    return -1;
}

static int
describe_values(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *values,
                const struct stretch *stretch)
{
    raw->element = schema->dictionary == NULL ? element_of_arrow(schema->format) : ELEMENT_NONE;
    if (raw->element == ELEMENT_NONE) {
        raise_error(OMEN_E_DTYPE,
                    "Arrow values have format '%s'%s; vectors are float16, float32, float64 or "
                    "integers",
                    schema->format, schema->dictionary != NULL ? " and a dictionary" : "");
        return -1;
    }
    const Py_ssize_t bytes = (Py_ssize_t)element_bytes(raw->element);
    const char *data = values->n_buffers > 1 ? values->buffers[1] : NULL;
    if (stretch->count > 0 &&
        (data == NULL || stretch->first + stretch->count > values->offset + values->length)) {
        raise_error(OMEN_E_INVALID, "Arrow array has fewer values than its length says");
        return -1;
    }
    if (refuse_null_component(values, stretch) < 0)
        return -1;
    raw->data = data == NULL ? NULL : data + stretch->first * bytes;
    raw->strides[raw->dims - 1] = bytes;
    if (raw->dims == 2)
        raw->strides[0] = raw->shape[1] * bytes;
    return 1;
}

static int
describe_list(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *array,
              const struct stretch *rows)
{
    const long width = strtol(schema->format + 3, NULL, 10);
    if (width < 0 || array->n_children != 1 || schema->n_children != 1) {
        raise_error(OMEN_E_DTYPE, "Arrow format '%s' is malformed", schema->format);
        return -1;
    }
    if (refuse_null_row(array, rows) < 0)
        return -1;
    raw->dims = 2;
    raw->shape[0] = (Py_ssize_t)rows->count;
    raw->shape[1] = width;
    const struct ArrowArray *values = array->children[0];
    const struct stretch stretch = {.first = rows->first * width + values->offset,
                                    .count = rows->count * width,
                                    .rows_before = rows->rows_before,
                                    .width = width};
    return describe_values(raw, schema->children[0], values, &stretch);
}

static int
describe_column(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *array,
                const struct stretch *rows)
{
    if (strncmp(schema->format, "+w:", 3) == 0)
        return describe_list(raw, schema, array, rows);
    if (schema->format[0] == '+' || schema->n_children != 0) {
        raise_error(OMEN_E_DTYPE,
                    "Arrow array has format '%s'; rows of vectors are a FixedSizeList",
                    schema->format);
        return -1;
    }
    raw->dims = 1;
    raw->shape[0] = (Py_ssize_t)rows->count;
    return describe_values(raw, schema, array, rows);
}

int
arrow_describe(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *array,
               int64_t rows_before)
{
    struct stretch rows = {
        .first = array->offset, .count = array->length, .rows_before = rows_before};
    if (strcmp(schema->format, "+s") != 0)
        return describe_column(raw, schema, array, &rows);
    if (schema->n_children != 1 || array->n_children != 1) {
        raise_error(OMEN_E_DTYPE,
                    "Arrow table has %lld columns; give the one that holds the vectors, as in "
                    "table['vector']",
                    (long long)schema->n_children);
        return -1;
    }
    if (refuse_null_row(array, &rows) < 0)
        return -1;
    rows.first += array->children[0]->offset;
    return describe_column(raw, schema->children[0], array->children[0], &rows);
}

int
raw_from_arrow(struct raw *raw, PyObject *object)
{
    if (!PyObject_HasAttr(object, core.name_arrow))
        return raw_from_arrow_stream(raw, object);
    PyObject *pair = PyObject_CallMethodObjArgs(object, core.name_arrow, NULL);
    if (pair == NULL)
        return -1;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "__arrow_c_array__() must return two capsules");
        Py_DECREF(pair);
        return -1;
    }
    raw->keep_schema = Py_NewRef(PyTuple_GetItem(pair, 0));
    raw->keep = Py_NewRef(PyTuple_GetItem(pair, 1));
    Py_DECREF(pair);
    const struct ArrowSchema *schema = PyCapsule_GetPointer(raw->keep_schema, "arrow_schema");
    const struct ArrowArray *array =
        schema == NULL ? NULL : PyCapsule_GetPointer(raw->keep, "arrow_array");
    int found = -1;
    if (array != NULL)
        found = arrow_describe(raw, schema, array, 0);
    if (found < 0)
        raw_close(raw);
    return found;
}
