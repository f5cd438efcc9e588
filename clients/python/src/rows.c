// clients/python/src/rows.c -- vectors as the engine takes them, in the caller's own memory where
// that is possible.
//
// Shape: shell. Memory is used in place when the components of a row lie side by side in an element
// type that the engine takes; rows may be any positive stride apart. Copied are: f64 and wider
// integers, which become f32; rows that run backwards, overlap or are not aligned; lists of numbers. All else is an error, because a silent copy of a million vectors is a bad
// surprise.
#include <limits.h>
#include <string.h>

#include "core.h"

static enum element
element_of_dtype(omen_dtype dtype)
{
    switch (dtype) {
    case OMEN_F32:
        return ELEMENT_F32;
    case OMEN_F16:
        return ELEMENT_F16;
    case OMEN_BF16:
        return ELEMENT_BF16;
    case OMEN_I8:
        return ELEMENT_I8;
    case OMEN_U8:
        return ELEMENT_U8;
    }
    return ELEMENT_NONE;
}

// Whether an index of this type converts what it is given: floats hold any numbers, integers their own only. Queries are converted by
// all.
static bool
converts(const struct rows_want *want)
{
    return want->use == ROWS_QUERY || (want->dtype != OMEN_I8 && want->dtype != OMEN_U8);
}

// The type in which the engine gets these elements: their own, or f32 where it does not know that.
static omen_dtype
dtype_of_element(enum element element)
{
    static const omen_dtype known[] = {OMEN_F32, OMEN_F16, OMEN_BF16, OMEN_I8, OMEN_U8};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (element == element_of_dtype(known[i]))
            return known[i];
    return OMEN_F32;
}

static int
choose_dtype(const struct rows_want *want, enum element *element, omen_dtype *out)
{
    if (*element == ELEMENT_U16 && want->dtype == OMEN_BF16)
        *element = ELEMENT_BF16; // numpy has no bf16; its users carry the bits as uint16
    // Elsewhere nobody knows whether these are numbers or such bits.
    const bool fits = *element != ELEMENT_U16 && converts(want);
    if (fits || *element == element_of_dtype(want->dtype)) {
        *out = dtype_of_element(*element);
        return 0;
    }
    raise_error(OMEN_E_DTYPE, "vectors are %s; an index of dtype %s takes %s",
                element_name(*element), dtype_name(want->dtype),
                converts(want) ? "floating point and other integers" : "only its own type");
    return -1;
}

static int
check_dimension(const struct rows_want *want, Py_ssize_t components)
{
    if (components == (Py_ssize_t)want->dimension)
        return 0;
    raise_error(OMEN_E_DIMENSION, "vector has %zd components; the index has dimension %u",
                components, want->dimension);
    return -1;
}

static char *
new_rows(struct rows *rows, size_t row_bytes)
{
    if (rows->count > (size_t)PY_SSIZE_T_MAX / (row_bytes + 1)) {
        PyErr_NoMemory();
        return NULL;
    }
    rows->copy = PyMem_Malloc(rows->count * row_bytes + 1);
    if (rows->copy == NULL)
        PyErr_NoMemory();
    rows->data = rows->copy;
    rows->stride = 0;
    return rows->copy;
}

// Copies `count` rows that lie `stride` bytes apart in `from`, as rows->dtype; needs no GIL.
static void
copy_rows(char *out, const struct rows *rows, const char *from, Py_ssize_t stride, size_t dimension)
{
    const enum element to = element_of_dtype(rows->dtype);
    const size_t row_bytes = element_bytes(to) * dimension;
    for (size_t i = 0; i < rows->count; i++, out += row_bytes, from += stride) {
        if (to == rows->raw.element)
            memcpy(out, from, row_bytes);
        else
            widen_run((float *)(void *)out, rows->raw.element, from, dimension);
    }
}

// Whether the engine can read the rows where they are.
static bool
usable_in_place(const struct rows *rows, Py_ssize_t stride, size_t dimension)
{
    const size_t bytes = element_bytes(rows->raw.element);
    if (rows->raw.element != element_of_dtype(rows->dtype) ||
        (uintptr_t)rows->raw.data % bytes != 0)
        return false;
    if (rows->count <= 1)
        return true;
    return stride > 0 && (size_t)stride >= bytes * dimension && (size_t)stride % bytes == 0;
}

static int
rows_from_raw(struct rows *rows, const struct rows_want *want)
{
    struct raw *raw = &rows->raw;
    const int last = raw->dims - 1;
    const size_t dimension = want->dimension;
    if (check_dimension(want, raw->shape[last]) < 0 ||
        choose_dtype(want, &raw->element, &rows->dtype) < 0)
        return -1;
    rows->single = raw->dims == 1;
    rows->count = rows->single ? 1 : (size_t)raw->shape[0];
    const size_t bytes = element_bytes(raw->element);
    if (dimension > 1 && rows->count > 0 && raw->strides[last] != (Py_ssize_t)bytes) {
        PyErr_Format(core.error_layout,
                     "components of a vector lie %zd bytes apart instead of %zu; "
                     "copy the array with numpy.ascontiguousarray",
                     raw->strides[last], bytes);
        return -1;
    }
    const Py_ssize_t stride = rows->single ? (Py_ssize_t)(bytes * dimension) : raw->strides[0];
    if (usable_in_place(rows, stride, dimension)) {
        rows->data = raw->data;
        rows->stride = rows->count <= 1 ? 0 : (size_t)stride;
        return 0;
    }
    char *copy = new_rows(rows, element_bytes(element_of_dtype(rows->dtype)) * dimension);
    if (copy == NULL)
        return -1;
    Py_BEGIN_ALLOW_THREADS
    copy_rows(copy, rows, raw->data, stride, dimension);
    Py_END_ALLOW_THREADS
    return 0;
}

// ---- lists of numbers: a convenience ----

static bool
is_number(PyObject *object)
{
    return PyFloat_Check(object) || PyLong_Check(object) ||
           (!PySequence_Check(object) && !PyUnicode_Check(object));
}

struct place {
    Py_ssize_t row;
    Py_ssize_t component;
};

static int
put_integer(char *out, PyObject *number, omen_dtype dtype, const struct place *at)
{
    const long least = dtype == OMEN_I8 ? SCHAR_MIN : 0;
    const long most = dtype == OMEN_I8 ? SCHAR_MAX : UCHAR_MAX;
    PyObject *index = PyIndex_Check(number) ? PyNumber_Index(number) : NULL;
    long value = 0;
    if (index != NULL) {
        int overflow = 0;
        value = PyLong_AsLongAndOverflow(index, &overflow);
        Py_DECREF(index);
        if (overflow == 0 && value >= least && value <= most) {
            *out = (char)value;
            return 0;
        }
    }
    PyErr_Clear();
    raise_error(OMEN_E_DTYPE, "row %zd: component %zd is %R; dtype %s takes ints %ld..%ld", at->row,
                at->component, number, dtype_name(dtype), least, most);
    return -1;
}

static int
put_number(char *out, PyObject *number, omen_dtype dtype, const struct place *at)
{
    if (dtype != OMEN_F32)
        return put_integer(out, number, dtype, at);
    const double value = PyFloat_AsDouble(number);
    if (value == -1.0 && PyErr_Occurred() != NULL) {
        PyErr_Clear();
        raise_error(OMEN_E_DTYPE, "row %zd: component %zd is a %R, not a number", at->row,
                    at->component, Py_TYPE(number));
        return -1;
    }
    const float narrow = (float)value;
    memcpy(out, &narrow, sizeof narrow);
    return 0;
}

static int
put_list(char *out, PyObject *list, const struct rows_want *want, const struct rows *rows,
         Py_ssize_t row)
{
    const size_t bytes = element_bytes(element_of_dtype(rows->dtype));
    if (check_dimension(want, PyList_Size(list)) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)want->dimension; i++) {
        const struct place at = {row, i};
        PyObject *number = PyList_GetItem(list, i);
        if (number == NULL)
            return -1;
        Py_INCREF(number); // its own code may run and change the list
        const int done = put_number(out + (size_t)i * bytes, number, rows->dtype, &at);
        Py_DECREF(number);
        if (done < 0)
            return -1;
    }
    return 0;
}

// One row that is an array of its own, as in [numpy.zeros(8), numpy.ones(8)].
static int
put_array(char *out, PyObject *array, const struct rows_want *want, const struct rows *rows,
          bool *done)
{
    struct rows row = {0};
    const int found = raw_open(&row.raw, array);
    *done = found == 1;
    if (found <= 0)
        return found;
    row.has_raw = true;
    int result = rows_from_raw(&row, want);
    if (result == 0 && !row.single) {
        raise_error(OMEN_E_DIMENSION, "a row of the list has 2 dimensions");
        result = -1;
    } else if (result == 0 && row.dtype != rows->dtype && rows->dtype != OMEN_F32) {
        raise_error(OMEN_E_DTYPE, "a row of the list has another element type than the index");
        result = -1;
    } else if (result == 0) {
        const enum element element = element_of_dtype(row.dtype);
        if (rows->dtype == OMEN_F32)
            widen_run((float *)(void *)out, element, row.data, want->dimension);
        else
            memcpy(out, row.data, element_bytes(element) * want->dimension);
    }
    rows_close(&row);
    return result;
}

static int
put_row(char *out, PyObject *item, const struct rows_want *want, const struct rows *rows,
        Py_ssize_t row)
{
    bool done = false;
    if (put_array(out, item, want, rows, &done) < 0)
        return -1;
    if (done)
        return 0;
    if (!PySequence_Check(item) || PyUnicode_Check(item)) {
        raise_error(OMEN_E_DTYPE, "row %zd is a %R, not a vector", row, Py_TYPE(item));
        return -1;
    }
    PyObject *list = PySequence_List(item);
    if (list == NULL)
        return -1;
    const int result = put_list(out, list, want, rows, row);
    Py_DECREF(list);
    return result;
}

static int
rows_from_list(struct rows *rows, PyObject *list, const struct rows_want *want)
{
    const Py_ssize_t count = PyList_Size(list);
    rows->dtype = converts(want) ? OMEN_F32 : want->dtype;
    rows->single = count > 0 && is_number(PyList_GetItem(list, 0));
    rows->count = rows->single ? 1 : (size_t)count;
    if (rows->single && check_dimension(want, count) < 0)
        return -1;
    const size_t row_bytes = element_bytes(element_of_dtype(rows->dtype)) * want->dimension;
    char *out = new_rows(rows, row_bytes);
    if (out == NULL)
        return -1;
    if (rows->single)
        return put_list(out, list, want, rows, 0);
    for (Py_ssize_t i = 0; i < count; i++)
        if (put_row(out + (size_t)i * row_bytes, PyList_GetItem(list, i), want, rows, i) < 0)
            return -1;
    return 0;
}

int
rows_open(struct rows *rows, PyObject *object, const struct rows_want *want)
{
    memset(rows, 0, offsetof(struct rows, raw));
    const int found = raw_open(&rows->raw, object);
    rows->has_raw = found == 1;
    if (found < 0)
        return -1;
    int result = -1;
    if (found == 1) {
        result = rows_from_raw(rows, want);
    } else if (!PySequence_Check(object) || PyUnicode_Check(object)) {
        raise_error(OMEN_E_DTYPE, "vectors are a %R; give an array, or a list of numbers",
                    Py_TYPE(object));
    } else {
        PyObject *list = PySequence_List(object);
        if (list != NULL)
            result = rows_from_list(rows, list, want);
        Py_XDECREF(list);
    }
    if (result < 0)
        rows_close(rows);
    return result;
}

void
rows_close(struct rows *rows)
{
    PyMem_Free(rows->copy);
    rows->copy = NULL;
    if (rows->has_raw)
        raw_close(&rows->raw);
    rows->has_raw = false;
}
