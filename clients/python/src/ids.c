// clients/python/src/ids.c -- ids as the engine takes them: u64 numbers, or NUL-terminated UTF-8.
//
// Shape: shell. An int64 or uint64 array that lies dense is used in place; other integer arrays and
// any sequence are copied. A bool is an int to Python, but an array of bools given as ids is always
// a mask in the wrong place, so bools are refused, and floats with them.
#include <string.h>

#include "core.h"

static int
refuse(PyObject *object)
{
    PyErr_Format(core.error_id_type, "id %R is a %R; ids are int (0..2^63-1) or str", object,
                 Py_TYPE(object));
    return -1;
}

static int
refuse_negative(long long id, Py_ssize_t row)
{
    raise_error(OMEN_E_ID_RANGE, "row %zd: id %lld is negative; integer ids are 0..2^63-1", row,
                id);
    return -1;
}

static int
read_integer(PyObject *object, Py_ssize_t row, uint64_t *out)
{
    if (PyBool_Check(object) || !PyIndex_Check(object))
        return refuse(object);
    PyObject *number = PyNumber_Index(object);
    if (number == NULL)
        return -1;
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0) {
        raise_error(OMEN_E_ID_RANGE, "row %zd: id %S is outside 0..2^63-1", row, object);
        return -1;
    }
    if (value == -1 && PyErr_Occurred() != NULL)
        return -1;
    if (value < 0)
        return refuse_negative(value, row);
    *out = (uint64_t)value;
    return 0;
}

static const char *
read_text(PyObject *object, Py_ssize_t row)
{
    Py_ssize_t bytes = 0;
    const char *text = PyUnicode_AsUTF8AndSize(object, &bytes);
    if (text == NULL) {
        PyErr_Clear();
        raise_error(OMEN_E_ID_LENGTH, "row %zd: id %R has no UTF-8 form", row, object);
    } else if (strlen(text) != (size_t)bytes) {
        raise_error(OMEN_E_ID_LENGTH, "row %zd: id %R holds a NUL byte", row, object);
        text = NULL;
    }
    return text;
}

// ---- arrays ----

struct integer_kind {
    size_t bytes;
    bool is_signed;
};

// False for what is not an integer.
static bool
integer_of_format(char format, Py_ssize_t item_bytes, struct integer_kind *out)
{
    if (format == '\0' || strchr("bhilqnBHILQN", format) == NULL)
        return false;
    out->is_signed = strchr("bhilqn", format) != NULL;
    out->bytes = (size_t)item_bytes;
    return true;
}

static long long
load(const char *at, struct integer_kind kind)
{
    union {
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
    } value = {0};
    memcpy(&value, at, kind.bytes);
    switch (kind.bytes) {
    case 1:
        return kind.is_signed ? (long long)value.i8 : (long long)value.u8;
    case 2:
        return kind.is_signed ? (long long)value.i16 : (long long)value.u16;
    case 4:
        return kind.is_signed ? (long long)value.i32 : (long long)value.u32;
    default:
        return value.i64; // an unsigned one above 2^63-1 turns negative, and is refused as such
    }
}

static int
read_array(struct ids *ids, struct integer_kind kind)
{
    const Py_buffer *view = &ids->view;
    const Py_ssize_t stride = view->strides[0];
    const char *at = view->buf;
    const bool in_place =
        kind.bytes == 8 && (stride == 8 || ids->count <= 1) && (uintptr_t)at % 8 == 0;
    if (in_place) {
        ids->keys = view->buf;
    } else {
        ids->copy = PyMem_Malloc(ids->count * sizeof *ids->copy + 1);
        if (ids->copy == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        ids->keys = ids->copy;
    }
    for (size_t i = 0; i < ids->count; i++, at += stride) {
        const long long id = load(at, kind);
        if (id < 0 && !kind.is_signed) {
            raise_error(OMEN_E_ID_RANGE, "row %zu: id %llu is outside 0..2^63-1", i,
                        (unsigned long long)id);
            return -1;
        }
        if (id < 0)
            return refuse_negative(id, (Py_ssize_t)i);
        if (!in_place)
            ids->copy[i] = (uint64_t)id;
    }
    return 0;
}

// 1: done, 0: not an array of numbers, -1: exception.
static int
ids_from_buffer(struct ids *ids, PyObject *object)
{
    if (!PyObject_CheckBuffer(object))
        return 0;
    if (PyObject_GetBuffer(object, &ids->view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear();
        return 0;
    }
    ids->has_view = true;
    const char *format = ids->view.format == NULL ? "B" : ids->view.format;
    const bool swapped = (*format == '>' || *format == '!') && ids->view.itemsize > 1;
    if (*format != '\0' && strchr("@=<>!", *format) != NULL)
        format++;
    struct integer_kind kind;
    if (format[0] != '\0' && format[1] == '\0' && strchr("?fdeg", format[0]) != NULL) {
        PyErr_Format(core.error_id_type, "ids are an array of %s; ids are int (0..2^63-1) or str",
                     format[0] == '?' ? "bool" : "floating point");
        return -1;
    }
    if (ids->view.ndim == 0 || format[1] != '\0' ||
        !integer_of_format(format[0], ids->view.itemsize, &kind)) {
        PyBuffer_Release(&ids->view); // a scalar, or an array of objects or texts
        ids->has_view = false;
        return 0;
    }
    if (ids->view.ndim != 1) {
        raise_error(OMEN_E_INVALID, "ids have %d dimensions; they must have 1", ids->view.ndim);
        return -1;
    }
    if (swapped) {
        PyErr_Format(core.error_byte_order, "ids are big-endian (format '%s')", ids->view.format);
        return -1;
    }
    ids->kind = IDS_INTEGER;
    ids->count = (size_t)ids->view.shape[0];
    return read_array(ids, kind) < 0 ? -1 : 1;
}

// ---- sequences ----

static int
read_item(struct ids *ids, PyObject *item, Py_ssize_t row)
{
    const enum id_kind kind = PyUnicode_Check(item) ? IDS_TEXT : IDS_INTEGER;
    if (kind == IDS_INTEGER && (PyBool_Check(item) || !PyIndex_Check(item)))
        return refuse(item);
    if (kind != ids->kind) {
        raise_error(OMEN_E_ID_KIND, "row %zd: id %R is a %R, the ones before are not", row, item,
                    Py_TYPE(item));
        return -1;
    }
    if (kind == IDS_INTEGER)
        return read_integer(item, row, &ids->copy[row]);
    ids->texts[row] = read_text(item, row);
    return ids->texts[row] == NULL ? -1 : 0;
}

static int
ids_from_list(struct ids *ids)
{
    const Py_ssize_t count = PyList_Size(ids->keep);
    PyObject *first = count > 0 ? PyList_GetItem(ids->keep, 0) : NULL;
    ids->count = (size_t)count;
    ids->kind = first != NULL && PyUnicode_Check(first) ? IDS_TEXT : IDS_INTEGER;
    void *room = PyMem_Malloc(ids->count * sizeof(uint64_t) + 1);
    if (room == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (ids->kind == IDS_TEXT) {
        ids->texts = room;
    } else {
        ids->copy = room;
        ids->keys = room;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (read_item(ids, PyList_GetItem(ids->keep, i), i) < 0)
            return -1;
    return 0;
}

static int
ids_from_one(struct ids *ids, PyObject *object)
{
    ids->single = true;
    ids->count = 1;
    if (!PyUnicode_Check(object)) {
        ids->kind = IDS_INTEGER;
        ids->keys = &ids->one;
        return read_integer(object, 0, &ids->one);
    }
    ids->kind = IDS_TEXT;
    ids->keep = Py_NewRef(object);
    ids->texts = PyMem_Malloc(sizeof *ids->texts);
    if (ids->texts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    ids->texts[0] = read_text(object, 0);
    return ids->texts[0] == NULL ? -1 : 0;
}

static int
ids_from_any(struct ids *ids, PyObject *object)
{
    if (PyUnicode_Check(object) || PyLong_Check(object))
        return ids_from_one(ids, object);
    if (PyBytes_Check(object) || PyByteArray_Check(object) || PyFloat_Check(object))
        return refuse(object);
    const int found = ids_from_buffer(ids, object);
    if (found != 0)
        return found;
    if (PyIndex_Check(object) && !PySequence_Check(object))
        return ids_from_one(ids, object);
    ids->keep = PySequence_List(object); // of any iterable; a copy that nobody else changes
    if (ids->keep == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError))
            return -1;
        PyErr_Clear();
        return refuse(object);
    }
    return ids_from_list(ids);
}

int
ids_open(struct ids *ids, PyObject *object)
{
    memset(ids, 0, sizeof *ids);
    if (ids_from_any(ids, object) >= 0)
        return 0;
    ids_close(ids);
    return -1;
}

void
ids_close(struct ids *ids)
{
    PyMem_Free(ids->texts);
    PyMem_Free(ids->copy);
    ids->texts = NULL;
    ids->copy = NULL;
    if (ids->has_view)
        PyBuffer_Release(&ids->view);
    ids->has_view = false;
    Py_CLEAR(ids->keep);
}
