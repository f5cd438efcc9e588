// clients/python/src/block.c -- memory that numpy arrays are made over, without a copy.
//
// Shape: shell. numpy is asked only through numpy.asarray and the buffer protocol: no build
// dependency on it, any version will do, and it is imported when the first array is wanted, not
// before.
#include "core.h"

static Py_ssize_t
item_bytes(char format)
{
    switch (format) {
    case 'q':
    case 'd':
        return 8;
    case 'f':
        return 4;
    case 'e':
        return 2;
    default:
        return 1;
    }
}

static struct block *
block_empty(const struct block_shape *shape)
{
    struct block *block = PyObject_New(struct block, core.block_type);
    if (block == NULL)
        return NULL;
    block->memory = NULL;
    block->owner = NULL;
    block->data = NULL;
    block->format[0] = shape->format;
    block->format[1] = '\0';
    block->item_bytes = item_bytes(shape->format);
    block->dims = shape->dims;
    Py_ssize_t dense = block->item_bytes;
    for (int i = shape->dims - 1; i >= 0; i--) {
        block->shape[i] = shape->shape[i];
        block->strides[i] = dense;
        dense *= shape->shape[i];
    }
    return block;
}

struct block *
block_new(const struct block_shape *shape)
{
    struct block *block = block_empty(shape);
    if (block == NULL)
        return NULL;
    const Py_ssize_t rows = shape->shape[0];
    const Py_ssize_t row_bytes = block->item_bytes * (shape->dims == 2 ? shape->shape[1] : 1);
    if (rows <= PY_SSIZE_T_MAX / (row_bytes + 1))
        block->memory = PyMem_Malloc((size_t)(rows * row_bytes) + 1);
    block->data = block->memory;
    if (block->memory != NULL)
        return block;
    Py_DECREF(block);
    PyErr_NoMemory();
    return NULL;
}

struct block *
block_take(void *memory)
{
    struct block *block = block_empty(&(struct block_shape){'B', 1, {0, 0}});
    if (block != NULL)
        block->memory = block->data = memory;
    return block;
}

struct block *
block_over(const void *data, PyObject *owner, const struct block_shape *shape)
{
    struct block *block = block_empty(shape);
    if (block == NULL)
        return NULL;
    block->data = (void *)(uintptr_t)data; // what the engine gave away is the owner's to write to
    block->owner = Py_NewRef(owner);
    return block;
}

static void
block_dealloc(PyObject *object)
{
    struct block *block = (struct block *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(block->memory);
    Py_XDECREF(block->owner);
    PyObject_Free(object);
    Py_DECREF(type);
}

static int
block_get_buffer(PyObject *object, Py_buffer *view, int flags)
{
    struct block *block = (struct block *)object;
    view->buf = block->data;
    view->len = block->item_bytes;
    for (int i = 0; i < block->dims; i++)
        view->len *= block->shape[i];
    view->readonly = 0;
    view->itemsize = block->item_bytes;
    view->format = (flags & PyBUF_FORMAT) != 0 ? block->format : NULL;
    view->ndim = block->dims;
    view->shape = (flags & PyBUF_ND) != 0 ? block->shape : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? block->strides : NULL;
    view->suboffsets = NULL;
    view->internal = NULL;
    view->obj = Py_NewRef(object);
    return 0;
}

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, (void *)block_dealloc},
    {Py_bf_getbuffer, (void *)block_get_buffer},
    {Py_tp_doc, "Memory of the engine's answers; numpy arrays are made over it."},
    {0, NULL},
};

PyType_Spec block_spec = {
    .name = "omendb._core.Block",
    .basicsize = sizeof(struct block),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = block_slots,
};

// ---- numpy ----

static int
need_numpy(void)
{
    if (core.numpy_empty != NULL)
        return 0;
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy == NULL)
        return -1;
    if (core.numpy_asarray == NULL)
        core.numpy_asarray = PyObject_GetAttrString(numpy, "asarray");
    if (core.numpy_asarray != NULL)
        core.numpy_empty = PyObject_GetAttrString(numpy, "empty");
    Py_DECREF(numpy);
    return core.numpy_empty == NULL ? -1 : 0;
}

PyObject *
block_array(struct block *block)
{
    if (block == NULL)
        return NULL;
    PyObject *array = NULL;
    if (need_numpy() == 0)
        array = PyObject_CallFunctionObjArgs(core.numpy_asarray, (PyObject *)block, NULL);
    Py_DECREF(block);
    return array;
}

// numpy.empty(count, object)[:] = list, and then the shape: numpy.array(list) would look into the
// items.
static PyObject *
array_of_list(PyObject *list)
{
    PyObject *array = PyObject_CallFunction(core.numpy_empty, "nO", PyList_Size(list),
                                            (PyObject *)&PyBaseObject_Type);
    if (array == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        if (PySequence_SetItem(array, i, PyList_GetItem(list, i)) < 0) {
            Py_DECREF(array);
            return NULL;
        }
    }
    return array;
}

PyObject *
object_array(PyObject *list, Py_ssize_t rows, Py_ssize_t columns)
{
    if (list == NULL)
        return NULL;
    PyObject *array = need_numpy() < 0 ? NULL : array_of_list(list);
    Py_DECREF(list);
    if (array == NULL || columns == 0)
        return array;
    PyObject *shaped = PyObject_CallMethod(array, "reshape", "nn", rows, columns);
    Py_DECREF(array);
    return shaped;
}
