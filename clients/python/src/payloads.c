// clients/python/src/payloads.c -- one msgpack map a row, for a batch.
//
// Shape: shell. All maps are packed into one buffer; while it grows it moves, so pointers are taken
// at the end.
#include <string.h>

#include "core.h"

// Packs row `row`; *bytes is 0 for a row without a payload.
static int
pack_row(struct packer *packer, PyObject *item, size_t row, size_t *bytes)
{
    const size_t before = packer->count;
    if (item == NULL)
        return -1;
    if (item != Py_None && !PyDict_Check(item)) {
        raise_error(OMEN_E_PAYLOAD, "row %zu: payload is a %R; it must be a dict or None", row,
                    Py_TYPE(item));
        return -1;
    }
    Py_INCREF(item);
    const int result = item == Py_None ? 0 : pack(packer, item);
    Py_DECREF(item);
    *bytes = packer->count - before;
    return result;
}

static int
pack_rows(struct payloads *payloads, PyObject *list, size_t count)
{
    if ((size_t)PyList_Size(list) != count) {
        raise_error(OMEN_E_PAYLOAD, "%zd payloads for %zu vectors", PyList_Size(list), count);
        return -1;
    }
    payloads->items = PyMem_Calloc(count + 1, sizeof *payloads->items);
    payloads->bytes = PyMem_Calloc(count + 1, sizeof *payloads->bytes);
    if (payloads->items == NULL || payloads->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        if (pack_row(&payloads->packer, PyList_GetItem(list, (Py_ssize_t)i), i,
                     &payloads->bytes[i]) < 0)
            return -1;
    const unsigned char *at = payloads->packer.data;
    for (size_t i = 0; i < count; at += payloads->bytes[i], i++)
        payloads->items[i] = payloads->bytes[i] == 0 ? NULL : at;
    return 0;
}

int
payloads_open(struct payloads *payloads, PyObject *object, size_t count, bool single)
{
    memset(payloads, 0, sizeof *payloads);
    if (!arg_given(object))
        return 0;
    PyObject *list = NULL;
    if (PyDict_Check(object) && single) {
        list = PyList_New(1);
        if (list != NULL && PyList_SetItem(list, 0, Py_NewRef(object)) < 0)
            Py_CLEAR(list);
    } else if (!PySequence_Check(object) || PyUnicode_Check(object)) {
        raise_error(OMEN_E_PAYLOAD, "payloads are a %R; give one dict or None for each vector",
                    Py_TYPE(object));
    } else {
        list = PySequence_List(object);
    }
    const int result = list == NULL ? -1 : pack_rows(payloads, list, count);
    Py_XDECREF(list);
    if (result < 0)
        payloads_close(payloads);
    return result;
}

void
payloads_close(struct payloads *payloads)
{
    PyMem_Free((void *)payloads->items);
    PyMem_Free(payloads->bytes);
    packer_close(&payloads->packer);
    payloads->items = NULL;
    payloads->bytes = NULL;
}
