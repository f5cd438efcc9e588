// clients/python/src/args.c -- arguments of methods, parsed without building a tuple or a dict.
//
// Shape: shell. A search takes about 20 us, so its arguments must not take 2: names are interned
// once, and a keyword that was interned too (all that stand in source code are) is found by
// comparing pointers.
#include <math.h>
#include <string.h>

#include "core.h"

static int
intern_names(struct args_spec *spec)
{
    for (int i = 0; spec->names[i] != NULL; i++) {
        if (spec->interned[i] != NULL)
            continue;
        spec->interned[i] = PyUnicode_InternFromString(spec->names[i]);
        if (spec->interned[i] == NULL)
            return -1;
    }
    return 0;
}

// Position of the name, -1 when the function has no such argument.
static int
find_name(const struct args_spec *spec, PyObject *name)
{
    for (int i = 0; spec->names[i] != NULL; i++)
        if (spec->interned[i] == name)
            return i;
    for (int i = 0; spec->names[i] != NULL; i++)
        if (PyUnicode_CompareWithASCIIString(name, spec->names[i]) == 0)
            return i;
    return -1;
}

static int
place_named(const struct args_spec *spec, PyObject *name, PyObject *value, PyObject **out)
{
    const int i = find_name(spec, name);
    if (i < 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                     spec->function, name);
        return -1;
    }
    if (out[i] != NULL) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", spec->function,
                     spec->names[i]);
        return -1;
    }
    out[i] = value;
    return 0;
}

int
args_parse(struct args_spec *spec, PyObject *const *args, Py_ssize_t count, PyObject *names,
           PyObject **out)
{
    if (spec->interned[0] == NULL && intern_names(spec) < 0)
        return -1;
    if (count > spec->positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     spec->function, spec->positional, count);
        return -1;
    }
    memset(out, 0, ARGS_MAX * sizeof *out);
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = args[i];
    const Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < named; i++)
        if (place_named(spec, PyTuple_GetItem(names, i), args[count + i], out) < 0)
            return -1;
    for (int i = 0; i < spec->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", spec->function,
                         spec->names[i]);
            return -1;
        }
    }
    return 0;
}

bool
arg_given(PyObject *argument)
{
    return argument != NULL && argument != Py_None;
}

// 0, or -1 with TypeError; numbers outside int64 are clamped to it, which no argument accepts.
static int
whole_number(PyObject *argument, const char *name, long long *out)
{
    if (PyBool_Check(argument) || !PyIndex_Check(argument)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %R", name, Py_TYPE(argument));
        return -1;
    }
    PyObject *number = PyNumber_Index(argument);
    if (number == NULL)
        return -1;
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow != 0)
        *out = overflow > 0 ? INT64_MAX : INT64_MIN;
    return *out == -1 && PyErr_Occurred() != NULL ? -1 : 0;
}

int
arg_u32(PyObject *argument, const char *name, uint32_t least, uint32_t *out)
{
    if (!arg_given(argument))
        return 0;
    long long number;
    if (whole_number(argument, name, &number) < 0)
        return -1;
    if (number < (long long)least || number > UINT32_MAX) {
        raise_error(OMEN_E_INVALID, "%s is %S; it must be at least %u and below 2^32", name,
                    argument, least);
        return -1;
    }
    *out = (uint32_t)number;
    return 0;
}

int
arg_u64(PyObject *argument, const char *name, uint64_t *out)
{
    if (!arg_given(argument))
        return 0;
    long long number;
    if (whole_number(argument, name, &number) < 0)
        return -1;
    if (number < 0 || number == INT64_MAX) {
        raise_error(OMEN_E_INVALID, "%s is %S; it must be at least 0 and below 2^63-1", name,
                    argument);
        return -1;
    }
    *out = (uint64_t)number;
    return 0;
}

int
arg_double(PyObject *argument, const char *name, double *out)
{
    if (!arg_given(argument))
        return 0;
    const double number = PyFloat_AsDouble(argument);
    if (number == -1.0 && PyErr_Occurred() != NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be a number, not %R", name, Py_TYPE(argument));
        return -1;
    }
    if (isnan(number)) {
        raise_error(OMEN_E_INVALID, "%s is NaN", name);
        return -1;
    }
    *out = number;
    return 0;
}

int
arg_k(PyObject *argument, uint32_t *out)
{
    if (!arg_given(argument))
        return 0;
    long long number;
    if (whole_number(argument, "k", &number) < 0)
        return -1;
    if (number < 1 || number > K_MAX) {
        raise_error(OMEN_E_K, "k is %S; it must be 1..%u", argument, K_MAX);
        return -1;
    }
    *out = (uint32_t)number;
    return 0;
}

int
arg_bool(PyObject *argument, int *out)
{
    if (!arg_given(argument))
        return 0;
    const int truth = PyObject_IsTrue(argument);
    if (truth < 0)
        return -1;
    *out = truth;
    return 0;
}
