// clients/python/src/conditions.c -- if_version: which version each point of a batch must have.
//
// Shape: shell. One number for all rows, or one a row, where None stands for whatever it is.
#include <string.h>

#include "core.h"

#define VERSION_ANY UINT64_MAX // of omen_batch

static int
read_version(PyObject *item, size_t row, uint64_t *out)
{
    if (item == Py_None) {
        *out = VERSION_ANY;
        return 0;
    }
    if (item == NULL)
        return -1;
    if (PyBool_Check(item) || !PyIndex_Check(item)) {
        PyErr_Format(PyExc_TypeError, "row %zu: if_version is a %R; it must be an int or None", row,
                     Py_TYPE(item));
        return -1;
    }
    PyObject *number = PyNumber_Index(item);
    if (number == NULL)
        return -1;
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow == 0 && value == -1 && PyErr_Occurred() != NULL)
        return -1;
    if (overflow != 0 || value < 0) {
        raise_error(OMEN_E_INVALID, "row %zu: if_version is %S; versions are 0..2^63-1", row, item);
        return -1;
    }
    *out = (uint64_t)value;
    return 0;
}

static int
read_list(struct conditions *conditions, PyObject *object, size_t count)
{
    PyObject *list =
        PyUnicode_Check(object) || PyBytes_Check(object) ? NULL : PySequence_List(object);
    if (list == NULL) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "if_version is a %R; give one int, or one for each vector",
                     Py_TYPE(object));
        return -1;
    }
    int result = 0;
    if ((size_t)PyList_Size(list) != count) {
        raise_error(OMEN_E_INVALID, "%zd versions in if_version for %zu vectors", PyList_Size(list),
                    count);
        result = -1;
    }
    for (size_t i = 0; i < count && result == 0; i++)
        result = read_version(PyList_GetItem(list, (Py_ssize_t)i), i, &conditions->versions[i]);
    Py_DECREF(list);
    return result;
}

int
conditions_open(struct conditions *conditions, PyObject *object, size_t count)
{
    memset(conditions, 0, sizeof *conditions);
    if (!arg_given(object))
        return 0;
    conditions->versions = PyMem_Malloc(count * sizeof *conditions->versions + 1);
    if (conditions->versions == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int result;
    if (PyIndex_Check(object) && !PySequence_Check(object)) {
        uint64_t version = 0;
        result = read_version(object, 0, &version);
        for (size_t i = 0; i < count; i++)
            conditions->versions[i] = version;
    } else {
        result = read_list(conditions, object, count);
    }
    if (result < 0)
        conditions_close(conditions);
    return result;
}

void
conditions_close(struct conditions *conditions)
{
    PyMem_Free(conditions->versions);
    conditions->versions = NULL;
}
