// clients/python/src/raw.c -- numbers as another library laid them out, seen without copying them.
//
// Shape: shell. Three protocols, cheapest first: the buffer protocol (numpy, array, memoryview,
// mmap), Arrow's C interfaces, DLPack (torch, jax, ...). What is found is described, not
// judged; rows.c does that.
#include <string.h>

#include "core.h"

size_t
element_bytes(enum element element)
{
    switch (element) {
    case ELEMENT_F64:
    case ELEMENT_I64:
    case ELEMENT_U64:
        return 8;
    case ELEMENT_F32:
    case ELEMENT_I32:
    case ELEMENT_U32:
        return 4;
    case ELEMENT_F16:
    case ELEMENT_BF16:
    case ELEMENT_U16:
    case ELEMENT_I16:
        return 2;
    case ELEMENT_I8:
    case ELEMENT_U8:
        return 1;
    case ELEMENT_NONE:
        break;
    }
    return 0;
}

const char *
element_name(enum element element)
{
    static const char *const names[] = {"none", "f32", "f64", "f16", "bf16", "i8", "u8",
                                        "u16",  "i16", "i32", "u32", "i64",  "u64"};
    return names[element];
}

enum element
element_of_integers(size_t bytes, bool has_sign)
{
    switch (bytes) {
    case 1:
        return has_sign ? ELEMENT_I8 : ELEMENT_U8;
    case 2:
        return has_sign ? ELEMENT_I16 : ELEMENT_U16;
    case 4:
        return has_sign ? ELEMENT_I32 : ELEMENT_U32;
    case 8:
        return has_sign ? ELEMENT_I64 : ELEMENT_U64;
    default:
        return ELEMENT_NONE;
    }
}

// The element of a struct-style format without its byte order. How many bytes 'l' has differs from system to system.
static enum element
element_of_format(const char *format, size_t bytes)
{
    if (format[0] == '\0' || format[1] != '\0')
        return ELEMENT_NONE;
    switch (format[0]) {
    case 'f':
        return ELEMENT_F32;
    case 'd':
        return ELEMENT_F64;
    case 'e':
        return ELEMENT_F16;
    default:
        return strchr("bhilq", format[0]) != NULL   ? element_of_integers(bytes, true)
               : strchr("BHILQ", format[0]) != NULL ? element_of_integers(bytes, false)
                                                    : ELEMENT_NONE;
    }
}

static int
read_format(struct raw *raw)
{
    const char *format = raw->view.format == NULL ? "B" : raw->view.format;
    const bool swapped = (format[0] == '>' || format[0] == '!') && raw->view.itemsize > 1;
    if (strchr("@=<>!", format[0]) != NULL && format[0] != '\0')
        format++;
    if (swapped) {
        PyErr_Format(core.error_byte_order,
                     "array is big-endian (format '%s'); give it as array.astype('<f4')",
                     raw->view.format);
        return -1;
    }
    raw->element = element_of_format(format, (size_t)raw->view.itemsize);
    if (raw->element != ELEMENT_NONE)
        return 0;
    raise_error(OMEN_E_DTYPE,
                "array has elements of format '%s'; vectors are f16, f32, f64 or integers", format);
    return -1;
}

static int
from_buffer(struct raw *raw, PyObject *object)
{
    if (!PyObject_CheckBuffer(object))
        return 0;
    if (PyObject_GetBuffer(object, &raw->view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear(); // an element type without a format, or indirect rows: other ways may do
        return 0;
    }
    raw->has_view = true;
    const int dims = raw->view.ndim;
    if (dims != 1 && dims != 2) {
        raise_error(OMEN_E_DIMENSION,
                    "array has %d dimensions; it must have 1 (a vector) or 2 (rows)", dims);
        raw_close(raw);
        return -1;
    }
    if (read_format(raw) < 0) {
        raw_close(raw);
        return -1;
    }
    raw->data = raw->view.buf;
    raw->dims = dims;
    for (int i = 0; i < dims; i++) {
        raw->shape[i] = raw->view.shape[i];
        raw->strides[i] = raw->view.strides[i];
    }
    return 1;
}

int
raw_open(struct raw *raw, PyObject *object)
{
    memset(raw, 0, sizeof *raw);
    int found = from_buffer(raw, object);
    if (found == 0)
        found = raw_from_arrow(raw, object);
    if (found == 0)
        found = raw_from_dlpack(raw, object);
    return found;
}

// Producers may be written in Python, and their code runs here; it must not meet the exception that
// we are about to raise.
void
raw_close(struct raw *raw)
{
    if (raw->has_view)
        PyBuffer_Release(&raw->view);
    raw->has_view = false;
    if (raw->keep == NULL && raw->keep_schema == NULL)
        return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    Py_CLEAR(raw->keep);
    Py_CLEAR(raw->keep_schema);
    PyErr_Restore(type, value, trace);
}

// IEEE half to single, by scaling: the exponent bias differs by 112, and the multiplication also
// turns subnormal halves into normal singles.
static float
float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
    uint32_t bits = magnitude;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    if ((half & 0x7c00u) == 0x7c00u) // infinity and NaN keep their fraction
        bits = 0x7f800000u | (magnitude & 0x7fffffu);
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float
float_of_bfloat(uint16_t bfloat)
{
    const uint32_t bits = (uint32_t)bfloat << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void
widen_halves(float *out, enum element from, const char *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = from == ELEMENT_F16 ? float_of_half(bits) : float_of_bfloat(bits);
    }
}

#define WIDEN(type)                                                                                \
    for (size_t i = 0; i < count; i++) {                                                           \
        type value;                                                                                \
        memcpy(&value, in + i * sizeof value, sizeof value);                                       \
        out[i] = (float)value;                                                                     \
    }                                                                                              \
    break

void
widen_run(float *out, enum element from, const char *in, size_t count)
{
    switch (from) {
    case ELEMENT_F32:
        memcpy(out, in, count * sizeof *out);
        break;
    case ELEMENT_F64:
        WIDEN(double);
    case ELEMENT_I8:
        WIDEN(int8_t);
    case ELEMENT_U8:
        WIDEN(uint8_t);
    case ELEMENT_I16:
        WIDEN(int16_t);
    case ELEMENT_I32:
        WIDEN(int32_t);
    case ELEMENT_U32:
        WIDEN(uint32_t);
    case ELEMENT_I64:
        WIDEN(int64_t);
    case ELEMENT_U64:
        WIDEN(uint64_t);
    case ELEMENT_F16:
    case ELEMENT_BF16:
        widen_halves(out, from, in, count);
        break;
    case ELEMENT_U16:
    case ELEMENT_NONE:
        break; // rows.c refuses them
    }
}
