// clients/python/src/dlpack.c -- vectors from torch, jax and others, through DLPack.
//
// Shape: shell. The structs below are the protocol's (https://dmlc.github.io/dlpack), both its
// forms. The capsule is never renamed, so it stays the owner and calls the producer's deleter when
// raw_close drops it.
#include "core.h"

#define DLPACK_CPU 1
#define DLPACK_CUDA_HOST 3 // pinned host memory: ordinary loads work

struct dl_tensor {
    void *data;
    struct {
        int32_t type;
        int32_t id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code;
        uint8_t bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape;
    int64_t *strides; // in elements; NULL: dense
    uint64_t byte_offset;
};

struct dl_managed {
    struct dl_tensor tensor;
    void *context;
    void (*deleter)(struct dl_managed *);
};

struct dl_managed_versioned {
    struct {
        uint32_t major, minor;
    } version;
    void *context;
    void (*deleter)(struct dl_managed_versioned *);
    uint64_t flags;
    struct dl_tensor tensor;
};

static const struct dl_tensor *
tensor_of_capsule(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, "dltensor")) {
        const struct dl_managed *managed = PyCapsule_GetPointer(capsule, "dltensor");
        return &managed->tensor;
    }
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        const struct dl_managed_versioned *managed =
            PyCapsule_GetPointer(capsule, "dltensor_versioned");
        if (managed->version.major == 1)
            return &managed->tensor;
    }
    raise_error(OMEN_E_UNSUPPORTED, "__dlpack__() gave a capsule of an unknown version");
    return NULL;
}

static enum element
element_of_tensor(const struct dl_tensor *tensor)
{
    enum { CODE_INT = 0, CODE_UINT = 1, CODE_FLOAT = 2, CODE_BFLOAT = 4 };
    const unsigned bits = tensor->dtype.bits;
    if (tensor->dtype.lanes != 1)
        return ELEMENT_NONE;
    switch (tensor->dtype.code) {
    case CODE_INT:
        return element_of_integers(bits / 8, true);
    case CODE_UINT:
        return element_of_integers(bits / 8, false);
    case CODE_FLOAT:
        return bits == 32   ? ELEMENT_F32
               : bits == 64 ? ELEMENT_F64
               : bits == 16 ? ELEMENT_F16
                            : ELEMENT_NONE;
    case CODE_BFLOAT:
        return bits == 16 ? ELEMENT_BF16 : ELEMENT_NONE;
    default:
        return ELEMENT_NONE;
    }
}

static int
describe(struct raw *raw, const struct dl_tensor *tensor)
{
    if (tensor->device.type != DLPACK_CPU && tensor->device.type != DLPACK_CUDA_HOST) {
        raise_error(OMEN_E_UNSUPPORTED,
                    "tensor lies on a device (DLPack type %d); move it to the CPU",
                    (int)tensor->device.type);
        return -1;
    }
    if (tensor->ndim != 1 && tensor->ndim != 2) {
        raise_error(OMEN_E_DIMENSION,
                    "tensor has %d dimensions; it must have 1 (a vector) or 2 (rows)",
                    (int)tensor->ndim);
        return -1;
    }
    raw->element = element_of_tensor(tensor);
    if (raw->element == ELEMENT_NONE) {
        raise_error(
            OMEN_E_DTYPE,
            "tensor has elements of DLPack code %d, %d bits; vectors are f16, bf16, f32, f64 or "
            "integers",
            (int)tensor->dtype.code, (int)tensor->dtype.bits);
        return -1;
    }
    const Py_ssize_t bytes = (Py_ssize_t)element_bytes(raw->element);
    raw->data = tensor->data == NULL ? NULL : (const char *)tensor->data + tensor->byte_offset;
    raw->dims = tensor->ndim;
    Py_ssize_t dense = bytes;
    for (int i = raw->dims - 1; i >= 0; i--) {
        raw->shape[i] = (Py_ssize_t)tensor->shape[i];
        raw->strides[i] = tensor->strides == NULL ? dense : (Py_ssize_t)tensor->strides[i] * bytes;
        dense *= raw->shape[i];
    }
    return 1;
}

int
raw_from_dlpack(struct raw *raw, PyObject *object)
{
    if (!PyObject_HasAttr(object, core.name_dlpack))
        return 0;
    PyObject *capsule = PyObject_CallMethodObjArgs(object, core.name_dlpack, NULL);
    if (capsule == NULL)
        return -1;
    raw->keep = capsule;
    const struct dl_tensor *tensor = tensor_of_capsule(capsule);
    int found = -1;
    if (tensor != NULL)
        found = describe(raw, tensor);
    if (found < 0)
        raw_close(raw);
    return found;
}
