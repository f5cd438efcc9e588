// clients/python/src/interrupt.c -- Ctrl-C while the engine works.
//
// Shape: shell. Python's handlers run in the main thread, between two steps of Python; so who works for long in C has to ask.
#include "core.h"

int
interrupt_came(void *context)
{
    struct interrupt *interrupt = context;
    const PyGILState_STATE state = PyGILState_Ensure();
    if (!interrupt->came && PyErr_CheckSignals() < 0)
        interrupt_keep(interrupt);
    PyGILState_Release(state);
    return interrupt->came;
}

void
interrupt_keep(struct interrupt *interrupt)
{
    if (interrupt->came)
        PyErr_Clear();
    else
        PyErr_Fetch(&interrupt->type, &interrupt->value, &interrupt->trace);
    interrupt->came = true;
}

void
interrupt_raise(struct interrupt *interrupt, omen_status status)
{
    if (interrupt->came)
        PyErr_Restore(interrupt->type, interrupt->value, interrupt->trace);
    else if (status != OMEN_OK)
        raise_status(status);
}
