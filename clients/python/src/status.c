// clients/python/src/status.c -- statuses of the engine as Python exceptions.
//
// Shape: shell. The classes are written in Python (omendb/errors.py), where their docstrings are at
// home.
#include <stdarg.h>

#include "core.h"

static PyObject *
error_class(omen_status status)
{
    if (status < 0 && status > -STATUS_COUNT)
        return core.errors[-status];
    return core.errors[-OMEN_E_INTERNAL];
}

void
raise_status(omen_status status)
{
    const char *message = omen_error_message();
    if (message == NULL || message[0] == '\0')
        message = omen_strerror(status);
    PyErr_SetString(error_class(status), message);
}

void
raise_error(omen_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    PyErr_FormatV(error_class(status), format, list);
    va_end(list);
}
