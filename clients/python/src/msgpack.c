// clients/python/src/msgpack.c -- Python values as msgpack and back.
//
// Shape: shell. What goes in and comes out equal: None, bool, int (-2^63..2^64-1), float, str,
// bytes, list, dict with str keys, datetime with a time zone (the timestamp extension; comes back
// in UTC), Ext. A tuple comes back as a list; a UUID is stored as its text, the form in which every
// client of the database can read it. numpy's scalars count as the numbers that they are. A set, a
// naive datetime and the like are refused rather than guessed at.
//
// This file has the two calls for tests, and for users with msgpack of their own.
#include "core.h"

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
