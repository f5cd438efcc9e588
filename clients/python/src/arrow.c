// clients/python/src/arrow.c -- vectors from Arrow: a FixedSizeList of numbers, through the C data
// interface.
//
// Shape: shell. The two structs below are the interface
// (https://arrow.apache.org/docs/format/CDataInterface.html); no library is needed. The capsules
// stay the owners: they release the array when raw_close drops them.
#include <stdlib.h>
#include <string.h>

#include "core.h"

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

static enum element
element_of_arrow(const char *format)
{
    static const struct {
        const char *format;
        enum element element;
    } table[] = {{"f", ELEMENT_F32}, {"g", ELEMENT_F64}, {"e", ELEMENT_F16},
                 {"c", ELEMENT_I8},  {"C", ELEMENT_U8},  {"S", ELEMENT_U16}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(format, table[i].format) == 0)
            return table[i].element;
    return ELEMENT_NONE;
}

// Whether one of `count` values from `first` on is missing. The producer may not have counted (-1).
static bool
has_nulls(const struct ArrowArray *array, int64_t first, int64_t count)
{
    const unsigned char *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    if (array->null_count == 0 || valid == NULL)
        return false;
    for (int64_t i = first; i < first + count; i++)
        if ((valid[i / 8] >> (i % 8) & 1) == 0)
            return true;
    return false;
}

static int
describe_values(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *values,
                int64_t first)
{
    raw->element = element_of_arrow(schema->format);
    if (raw->element == ELEMENT_NONE) {
        raise_error(
            OMEN_E_DTYPE,
            "Arrow values have format '%s'; vectors are float32, float64, float16, int8 or uint8",
            schema->format);
        return -1;
    }
    const Py_ssize_t bytes = (Py_ssize_t)element_bytes(raw->element);
    int64_t count = raw->shape[0];
    if (raw->dims == 2)
        count *= raw->shape[1];
    if (has_nulls(values, first + values->offset, count)) {
        raise_error(OMEN_E_NOT_FINITE, "Arrow array has a null component");
        return -1;
    }
    const char *data = values->n_buffers > 1 ? values->buffers[1] : NULL;
    raw->data = data == NULL ? NULL : data + (first + values->offset) * bytes;
    raw->strides[raw->dims - 1] = bytes;
    if (raw->dims == 2)
        raw->strides[0] = raw->shape[1] * bytes;
    return 1;
}

static int
describe_list(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *array)
{
    const long width = strtol(schema->format + 3, NULL, 10);
    if (width < 0 || array->n_children != 1 || schema->n_children != 1) {
        raise_error(OMEN_E_DTYPE, "Arrow format '%s' is malformed", schema->format);
        return -1;
    }
    if (has_nulls(array, array->offset, array->length)) {
        raise_error(OMEN_E_INVALID, "Arrow array has a null row");
        return -1;
    }
    raw->dims = 2;
    raw->shape[0] = (Py_ssize_t)array->length;
    raw->shape[1] = width;
    return describe_values(raw, schema->children[0], array->children[0], array->offset * width);
}

static int
describe(struct raw *raw, const struct ArrowSchema *schema, const struct ArrowArray *array)
{
    if (strncmp(schema->format, "+w:", 3) == 0)
        return describe_list(raw, schema, array);
    if (schema->format[0] == '+' || schema->n_children != 0) {
        raise_error(OMEN_E_DTYPE,
                    "Arrow array has format '%s'; rows of vectors are a FixedSizeList",
                    schema->format);
        return -1;
    }
    raw->dims = 1;
    raw->shape[0] = (Py_ssize_t)array->length;
    return describe_values(raw, schema, array, 0);
}

int
raw_from_arrow(struct raw *raw, PyObject *object)
{
    if (!PyObject_HasAttr(object, core.name_arrow))
        return 0;
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
        found = describe(raw, schema, array);
    if (found < 0)
        raw_close(raw);
    return found;
}
