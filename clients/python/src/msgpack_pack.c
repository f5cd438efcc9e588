// clients/python/src/msgpack_pack.c -- Python values as msgpack.
//
// Shape: shell. What is taken, and what refused, is said in msgpack.c.
#include <string.h>

#include "msgpack.h"

static unsigned char *
grow(struct packer *packer, size_t bytes)
{
    if (packer->capacity - packer->count < bytes) {
        size_t capacity = packer->capacity < 256 ? 256 : packer->capacity;
        while (capacity - packer->count < bytes)
            capacity *= 2;
        unsigned char *data = PyMem_Realloc(packer->data, capacity);
        if (data == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        packer->data = data;
        packer->capacity = capacity;
    }
    unsigned char *at = packer->data + packer->count;
    packer->count += bytes;
    return at;
}

static void
big_endian(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

static int
put_head(struct packer *packer, unsigned char type, uint64_t value, size_t bytes)
{
    unsigned char *at = grow(packer, 1 + bytes);
    if (at == NULL)
        return -1;
    at[0] = type;
    big_endian(at + 1, value, bytes);
    return 0;
}

static int
put_bytes(struct packer *packer, const void *data, size_t bytes)
{
    unsigned char *at = grow(packer, bytes);
    if (at == NULL)
        return -1;
    memcpy(at, data, bytes);
    return 0;
}

// A length in the shortest form: inside the type byte when below `tiny_max`, else in 1 (0: there is
// no such form), 2 or 4 bytes.
struct forms {
    unsigned char tiny;
    size_t tiny_max;
    unsigned char one, two, four;
};
static const struct forms forms_str = {0xa0, 32, 0xd9, 0xda, 0xdb};
static const struct forms forms_bin = {0, 0, 0xc4, 0xc5, 0xc6};
static const struct forms forms_list = {0x90, 16, 0, 0xdc, 0xdd};
static const struct forms forms_map = {0x80, 16, 0, 0xde, 0xdf};
static const struct forms forms_ext = {0, 0, 0xc7, 0xc8, 0xc9};

static int
put_length(struct packer *packer, const struct forms *forms, size_t length)
{
    if (length < forms->tiny_max)
        return put_head(packer, (unsigned char)(forms->tiny | length), 0, 0);
    if (length <= 0xff && forms->one != 0)
        return put_head(packer, forms->one, length, 1);
    if (length <= 0xffff)
        return put_head(packer, forms->two, length, 2);
    if (length <= 0xffffffff)
        return put_head(packer, forms->four, length, 4);
    raise_error(OMEN_E_PAYLOAD, "value has %zu elements or bytes; msgpack holds fewer than 2^32",
                length);
    return -1;
}

static int
pack_unsigned(struct packer *packer, unsigned long long value)
{
    if (value < 0x80)
        return put_head(packer, (unsigned char)value, 0, 0);
    if (value <= 0xff)
        return put_head(packer, 0xcc, value, 1);
    if (value <= 0xffff)
        return put_head(packer, 0xcd, value, 2);
    if (value <= 0xffffffff)
        return put_head(packer, 0xce, value, 4);
    return put_head(packer, 0xcf, value, 8);
}

static int
pack_negative(struct packer *packer, long long value)
{
    const uint64_t bits = (uint64_t)value;
    if (value >= -32)
        return put_head(packer, (unsigned char)bits, 0, 0);
    if (value >= INT8_MIN)
        return put_head(packer, 0xd0, bits, 1);
    if (value >= INT16_MIN)
        return put_head(packer, 0xd1, bits, 2);
    if (value >= INT32_MIN)
        return put_head(packer, 0xd2, bits, 4);
    return put_head(packer, 0xd3, bits, 8);
}

static int
pack_int(struct packer *packer, PyObject *object)
{
    PyObject *number = PyNumber_Index(object);
    if (number == NULL)
        return -1;
    int overflow = 0, result = -1;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow == 0 && !(value == -1 && PyErr_Occurred() != NULL)) {
        result = value < 0 ? pack_negative(packer, value) : pack_unsigned(packer, (uint64_t)value);
    } else if (overflow > 0) {
        const unsigned long long large = PyLong_AsUnsignedLongLong(number);
        if (large != (unsigned long long)-1 || PyErr_Occurred() == NULL)
            result = pack_unsigned(packer, large);
    }
    if (result < 0 && (overflow != 0)) {
        PyErr_Clear();
        raise_error(OMEN_E_PAYLOAD, "int %R is outside -2^63..2^64-1", number);
    }
    Py_DECREF(number);
    return result;
}

static int
pack_float(struct packer *packer, PyObject *object)
{
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred() != NULL)
        return -1;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_head(packer, 0xcb, bits, 8);
}

static int
pack_str(struct packer *packer, PyObject *object)
{
    Py_ssize_t bytes = 0;
    const char *text = PyUnicode_AsUTF8AndSize(object, &bytes);
    if (text == NULL) {
        PyErr_Clear();
        raise_error(OMEN_E_PAYLOAD, "str %R has no UTF-8 form", object);
        return -1;
    }
    if (put_length(packer, &forms_str, (size_t)bytes) < 0)
        return -1;
    return put_bytes(packer, text, (size_t)bytes);
}

static int
pack_bytes(struct packer *packer, PyObject *object)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
        return -1;
    int result = put_length(packer, &forms_bin, (size_t)view.len);
    if (result == 0)
        result = put_bytes(packer, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return result;
}

// The timestamp extension: 8 bytes (30 bits of nanoseconds, 34 of seconds) where that reaches,
// else 12.
static int
pack_datetime(struct packer *packer, PyObject *object)
{
    PyObject *parts = PyObject_CallFunctionObjArgs(core.to_timestamp, object, NULL);
    if (parts == NULL)
        return -1;
    long long seconds = 0;
    long nanoseconds = 0;
    const int parsed = PyArg_ParseTuple(parts, "Ll", &seconds, &nanoseconds);
    Py_DECREF(parts);
    if (!parsed)
        return -1;
    if (seconds >= 0 && seconds < (1LL << 32) && nanoseconds == 0) {
        if (put_head(packer, 0xd6, (unsigned char)TIMESTAMP, 1) < 0)
            return -1;
        unsigned char *at = grow(packer, 4);
        if (at != NULL)
            big_endian(at, (uint64_t)seconds, 4);
        return at == NULL ? -1 : 0;
    }
    if (seconds >= 0 && seconds < (1LL << 34)) {
        if (put_head(packer, 0xd7, (unsigned char)TIMESTAMP, 1) < 0)
            return -1;
        unsigned char *at = grow(packer, 8);
        if (at != NULL)
            big_endian(at, (uint64_t)nanoseconds << 34 | (uint64_t)seconds, 8);
        return at == NULL ? -1 : 0;
    }
    if (put_head(packer, 0xc7, 12 << 8 | (unsigned char)TIMESTAMP, 2) < 0)
        return -1;
    unsigned char *at = grow(packer, 12);
    if (at == NULL)
        return -1;
    big_endian(at, (uint64_t)nanoseconds, 4);
    big_endian(at + 4, (uint64_t)seconds, 8);
    return 0;
}

static int
pack_uuid(struct packer *packer, PyObject *object)
{
    PyObject *text = PyObject_Str(object);
    if (text == NULL)
        return -1;
    const int result = pack_str(packer, text);
    Py_DECREF(text);
    return result;
}

static int
pack_ext(struct packer *packer, PyObject *object)
{
    int code = 0;
    const char *data = NULL;
    Py_ssize_t bytes = 0;
    if (!PyArg_ParseTuple(object, "iy#", &code, &data, &bytes))
        return -1;
    if (code < -128 || code > 127) {
        raise_error(OMEN_E_PAYLOAD, "extension code %d is outside -128..127", code);
        return -1;
    }
    if (put_length(packer, &forms_ext, (size_t)bytes) < 0 ||
        put_head(packer, (unsigned char)code, 0, 0) < 0)
        return -1;
    return put_bytes(packer, data, (size_t)bytes);
}

static int pack_value(struct packer *packer, PyObject *object, int depth);

// The list's and the dict's own code does not run here, but that of their items may, and may change
// them. Hence the references, and the check of the size that was already written.
static int
pack_list(struct packer *packer, PyObject *list, int depth)
{
    const Py_ssize_t count = PyList_Size(list);
    if (put_length(packer, &forms_list, (size_t)count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(list, i);
        if (item == NULL)
            return -1;
        Py_INCREF(item);
        const int result = pack_value(packer, item, depth + 1);
        Py_DECREF(item);
        if (result < 0)
            return -1;
    }
    return 0;
}

static int
pack_tuple(struct packer *packer, PyObject *tuple, int depth)
{
    const Py_ssize_t count = PyTuple_Size(tuple);
    if (put_length(packer, &forms_list, (size_t)count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++)
        if (pack_value(packer, PyTuple_GetItem(tuple, i), depth + 1) < 0)
            return -1;
    return 0;
}

static int
pack_pair(struct packer *packer, PyObject *key, PyObject *value, int depth)
{
    if (!PyUnicode_Check(key)) {
        raise_error(OMEN_E_PAYLOAD, "key %R is a %R; keys are str", key, Py_TYPE(key));
        return -1;
    }
    if (pack_str(packer, key) < 0)
        return -1;
    return pack_value(packer, value, depth + 1);
}

static int
pack_dict(struct packer *packer, PyObject *dict, int depth)
{
    const Py_ssize_t count = PyDict_Size(dict);
    if (put_length(packer, &forms_map, (size_t)count) < 0)
        return -1;
    Py_ssize_t position = 0, done = 0;
    PyObject *key, *value;
    for (; PyDict_Next(dict, &position, &key, &value); done++) {
        Py_INCREF(key);
        Py_INCREF(value);
        const int result = pack_pair(packer, key, value, depth);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0)
            return -1;
    }
    if (done == count && PyDict_Size(dict) == count)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "dict changed while it was packed");
    return -1;
}

// numpy.bool_ is no bool, but has a dtype whose kind is "b".
static bool
is_numpy_bool(PyObject *object)
{
    PyObject *dtype = PyObject_GetAttr(object, core.name_dtype);
    PyObject *kind = dtype == NULL ? NULL : PyObject_GetAttr(dtype, core.name_kind);
    const bool found =
        kind != NULL && PyUnicode_Check(kind) && PyUnicode_CompareWithASCIIString(kind, "b") == 0;
    PyErr_Clear();
    Py_XDECREF(dtype);
    Py_XDECREF(kind);
    return found;
}

// Types that are less common, the dearer tests last.
static int
pack_other(struct packer *packer, PyObject *object)
{
    if (PyBytes_Check(object) || PyByteArray_Check(object) || PyMemoryView_Check(object))
        return pack_bytes(packer, object);
    const int is_datetime = PyObject_IsInstance(object, core.datetime);
    if (is_datetime != 0)
        return is_datetime < 0 ? -1 : pack_datetime(packer, object);
    const int is_uuid = PyObject_IsInstance(object, core.uuid);
    if (is_uuid != 0)
        return is_uuid < 0 ? -1 : pack_uuid(packer, object);
    if (!PySequence_Check(object)) { // an array of numpy's is a number too, if it has one element
        if (PyIndex_Check(object))
            return pack_int(packer, object);
        if (is_numpy_bool(object)) {
            const int truth = PyObject_IsTrue(object);
            return truth < 0 ? -1 : put_head(packer, truth ? 0xc3 : 0xc2, 0, 0);
        }
        if (PyObject_HasAttr(object, core.name_float))
            return pack_float(packer, object);
    }
    raise_error(
        OMEN_E_PAYLOAD,
        "a %R cannot be stored; payloads hold None, bool, int, float, str, bytes, datetime, UUID, "
        "list and dict",
        Py_TYPE(object));
    return -1;
}

static int
pack_value(struct packer *packer, PyObject *object, int depth)
{
    if (depth > DEPTH_MAX) {
        raise_error(OMEN_E_PAYLOAD, "value is nested more than %d deep", DEPTH_MAX);
        return -1;
    }
    if (PyUnicode_Check(object))
        return pack_str(packer, object);
    if (object == Py_None)
        return put_head(packer, 0xc0, 0, 0);
    if (PyBool_Check(object))
        return put_head(packer, object == Py_True ? 0xc3 : 0xc2, 0, 0);
    if (PyLong_Check(object))
        return pack_int(packer, object);
    if (PyFloat_Check(object))
        return pack_float(packer, object);
    if (PyDict_Check(object))
        return pack_dict(packer, object, depth);
    if (PyList_Check(object))
        return pack_list(packer, object, depth);
    if (Py_IS_TYPE(object, (PyTypeObject *)core.ext))
        return pack_ext(packer, object);
    if (PyTuple_Check(object))
        return pack_tuple(packer, object, depth);
    return pack_other(packer, object);
}

int
pack(struct packer *packer, PyObject *object)
{
    return pack_value(packer, object, 0);
}

void
packer_close(struct packer *packer)
{
    PyMem_Free(packer->data);
    memset(packer, 0, sizeof *packer);
}
