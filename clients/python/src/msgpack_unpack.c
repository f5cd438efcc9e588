// clients/python/src/msgpack_unpack.c -- msgpack as Python values.
//
// Shape: shell.
#include <string.h>

#include "msgpack.h"

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
