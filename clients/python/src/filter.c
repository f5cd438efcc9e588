// clients/python/src/filter.c -- a filter in any of its three forms, as the engine takes it.
//
// Shape: shell. Strings go as they are, dicts as msgpack, F expressions as the dict that they hold.
// The calls of the engine that know only strings get dicts as text (omendb.filters.to_text). The
// engine has the only parser.
#include <string.h>

#include "core.h"

static int
hold_text(struct filter *filter, PyObject *text)
{
    Py_ssize_t bytes = 0;
    filter->keep = Py_NewRef(text);
    filter->text = PyUnicode_AsUTF8AndSize(text, &bytes);
    if (filter->text == NULL) {
        PyErr_Clear();
        raise_error(OMEN_E_FILTER, "filter %R has no UTF-8 form", text);
        return -1;
    }
    if (strlen(filter->text) != (size_t)bytes) {
        raise_error(OMEN_E_FILTER, "filter %R holds a NUL byte", text);
        return -1;
    }
    return 0;
}

// The dict of a dict or an expression, new reference; anything else is a mistake.
static PyObject *
dict_of(PyObject *object)
{
    if (PyDict_Check(object))
        return Py_NewRef(object);
    const int is_expression = PyObject_IsInstance(object, core.expression);
    if (is_expression < 0)
        return NULL;
    if (is_expression != 0)
        return PyObject_GetAttr(object, core.name_tree);
    raise_error(OMEN_E_FILTER, "filter is a %R; it must be a str, a dict or made with F",
                Py_TYPE(object));
    return NULL;
}

// The packer speaks of payloads; here the same fault is one of the filter.
static void
reword(void)
{
    if (!PyErr_ExceptionMatches(core.errors[-OMEN_E_PAYLOAD]))
        return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    raise_error(OMEN_E_FILTER, "filter cannot be packed: %S", value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
}

int
filter_open(struct filter *filter, PyObject *object)
{
    memset(filter, 0, sizeof *filter);
    if (!arg_given(object))
        return 0;
    int result = -1;
    if (PyUnicode_Check(object)) {
        result = hold_text(filter, object);
    } else {
        PyObject *dict = dict_of(object);
        if (dict != NULL)
            result = pack(&filter->packer, dict);
        if (dict != NULL && result < 0)
            reword();
        Py_XDECREF(dict);
    }
    if (result < 0)
        filter_close(filter);
    return result;
}

int
filter_open_text(struct filter *filter, PyObject *object)
{
    memset(filter, 0, sizeof *filter);
    if (!arg_given(object))
        return 0;
    if (PyUnicode_Check(object)) {
        if (hold_text(filter, object) == 0)
            return 0;
        filter_close(filter);
        return -1;
    }
    PyObject *dict = dict_of(object);
    PyObject *text =
        dict == NULL ? NULL : PyObject_CallFunctionObjArgs(core.filter_text, dict, NULL);
    const int result = text == NULL ? -1 : hold_text(filter, text);
    Py_XDECREF(dict);
    Py_XDECREF(text);
    if (result < 0)
        filter_close(filter);
    return result;
}

void
filter_close(struct filter *filter)
{
    packer_close(&filter->packer);
    Py_CLEAR(filter->keep);
    filter->text = NULL;
}
