// clients/python/src/msgpack.c -- Python values as msgpack and back.
//
// Shape: shell. What goes in and comes out equal: None, bool, int (-2^63..2^64-1), float, str,
// bytes, list, dict with str keys, datetime with a time zone (the timestamp extension; comes back
// in UTC), Ext. A tuple comes back as a list; a UUID is stored as its text, the form in which every
// client of the database can read it. numpy's scalars count as the numbers that they are. A set, a
// naive datetime and the like are refused rather than guessed at.
#include <string.h>

#include "core.h"

#define DEPTH_MAX 64 // of nesting; the engine allows less, and says so itself
#define TIMESTAMP (-1)

// ---- packing ----

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

// ---- unpacking ----

struct reader {
    const unsigned char *at, *end;
};

static PyObject *
malformed(void)
{
    raise_error(OMEN_E_PAYLOAD, "msgpack is malformed or cut short");
    return NULL;
}

// False when fewer than `bytes` are left.
static bool
take(struct reader *reader, size_t bytes, const unsigned char **out)
{
    if ((size_t)(reader->end - reader->at) < bytes)
        return false;
    *out = reader->at;
    reader->at += bytes;
    return true;
}

static bool
take_number(struct reader *reader, size_t bytes, uint64_t *out)
{
    const unsigned char *at;
    if (!take(reader, bytes, &at))
        return false;
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out = *out << 8 | at[i];
    return true;
}

static PyObject *unpack_value(struct reader *reader, int depth);

static PyObject *
unpack_str(struct reader *reader, uint64_t bytes)
{
    const unsigned char *at;
    if (!take(reader, bytes, &at))
        return malformed();
    // Old msgpack clients pack bytes as str; those must not make a payload unreadable.
    return PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)bytes, "surrogateescape");
}

static PyObject *
unpack_bin(struct reader *reader, uint64_t bytes)
{
    const unsigned char *at;
    if (!take(reader, bytes, &at))
        return malformed();
    return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)bytes);
}

static PyObject *
unpack_list(struct reader *reader, uint64_t count, int depth)
{
    if (count > (size_t)(reader->end - reader->at)) // each takes at least a byte
        return malformed();
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (list == NULL)
        return NULL;
    for (uint64_t i = 0; i < count; i++) {
        PyObject *item = unpack_value(reader, depth + 1);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *
unpack_map(struct reader *reader, uint64_t count, int depth)
{
    if (count > (size_t)(reader->end - reader->at) / 2)
        return malformed();
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    for (uint64_t i = 0; i < count; i++) {
        PyObject *key = unpack_value(reader, depth + 1);
        PyObject *value = key == NULL ? NULL : unpack_value(reader, depth + 1);
        const int stored = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
        Py_XDECREF(key);
        Py_XDECREF(value);
        if (stored < 0) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    return dict;
}

static PyObject *
unpack_timestamp(struct reader data)
{
    const size_t bytes = (size_t)(data.end - data.at);
    uint64_t nanoseconds = 0, seconds = 0;
    if (bytes == 4) {
        (void)take_number(&data, 4, &seconds);
    } else if (bytes == 8) {
        (void)take_number(&data, 8, &seconds);
        nanoseconds = seconds >> 34;
        seconds &= (1ULL << 34) - 1;
    } else if (bytes == 12) {
        (void)take_number(&data, 4, &nanoseconds);
        (void)take_number(&data, 8, &seconds);
    } else {
        return malformed();
    }
    return PyObject_CallFunction(core.from_timestamp, "LK", (long long)seconds,
                                 (unsigned long long)nanoseconds);
}

static PyObject *
unpack_ext(struct reader *reader, uint64_t bytes)
{
    const unsigned char *code, *data;
    if (!take(reader, 1, &code) || !take(reader, bytes, &data))
        return malformed();
    if ((signed char)*code == TIMESTAMP && (bytes == 4 || bytes == 8 || bytes == 12))
        return unpack_timestamp((struct reader){data, data + bytes});
    return PyObject_CallFunction(core.ext, "iy#", (int)(signed char)*code, (const char *)data,
                                 (Py_ssize_t)bytes);
}

static PyObject *
unpack_float(uint64_t bits, size_t bytes)
{
    if (bytes == 8) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return PyFloat_FromDouble(value);
    }
    const uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return PyFloat_FromDouble((double)value);
}

static PyObject *
unpack_signed(uint64_t bits, size_t bytes)
{
    const unsigned shift = 64 - 8 * (unsigned)bytes;
    return PyLong_FromLongLong((long long)(bits << shift) >> shift);
}

// Types 0xc0..0xdf: the type byte says how many bytes of length or value follow.
static PyObject *
unpack_sized(struct reader *reader, unsigned char type, int depth)
{
    static const unsigned char widths[32] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
                                             1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    const size_t width = widths[type - 0xc0];
    uint64_t value = 0;
    if (!take_number(reader, width, &value))
        return malformed();
    if (type == 0xc0)
        Py_RETURN_NONE;
    if (type == 0xc2 || type == 0xc3)
        return PyBool_FromLong(type == 0xc3);
    if (type >= 0xc4 && type <= 0xc6)
        return unpack_bin(reader, value);
    if (type >= 0xc7 && type <= 0xc9)
        return unpack_ext(reader, value);
    if (type == 0xca || type == 0xcb)
        return unpack_float(value, width);
    if (type >= 0xcc && type <= 0xcf)
        return PyLong_FromUnsignedLongLong(value);
    if (type >= 0xd0 && type <= 0xd3)
        return unpack_signed(value, width);
    if (type >= 0xd4 && type <= 0xd8)
        return unpack_ext(reader, 1ULL << (type - 0xd4));
    if (type >= 0xd9 && type <= 0xdb)
        return unpack_str(reader, value);
    if (type == 0xdc || type == 0xdd)
        return unpack_list(reader, value, depth);
    if (type == 0xde || type == 0xdf)
        return unpack_map(reader, value, depth);
    return malformed(); // 0xc1, which msgpack never uses
}

static PyObject *
unpack_value(struct reader *reader, int depth)
{
    const unsigned char *at;
    if (depth > DEPTH_MAX || !take(reader, 1, &at))
        return malformed();
    const unsigned char type = *at;
    if (type < 0x80)
        return PyLong_FromLong(type);
    if (type < 0x90)
        return unpack_map(reader, type & 0x0f, depth);
    if (type < 0xa0)
        return unpack_list(reader, type & 0x0f, depth);
    if (type < 0xc0)
        return unpack_str(reader, type & 0x1f);
    if (type >= 0xe0)
        return PyLong_FromLong((signed char)type);
    return unpack_sized(reader, type, depth);
}

PyObject *
unpack(const void *data, size_t bytes)
{
    struct reader reader = {data, (const unsigned char *)data + bytes};
    PyObject *value = unpack_value(&reader, 0);
    if (value != NULL && reader.at != reader.end) {
        Py_DECREF(value);
        return malformed();
    }
    return value;
}

// ---- for tests and for users with msgpack of their own ----

PyObject *
module_pack(PyObject *module, PyObject *object)
{
    (void)module;
    struct packer packer = {0};
    PyObject *bytes = NULL;
    if (pack(&packer, object) == 0)
        bytes = PyBytes_FromStringAndSize((const char *)packer.data, (Py_ssize_t)packer.count);
    packer_close(&packer);
    return bytes;
}

PyObject *
module_unpack(PyObject *module, PyObject *object)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *value = unpack(view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return value;
}
