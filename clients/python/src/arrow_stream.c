// clients/python/src/arrow_stream.c -- vectors from Arrow's C stream interface: tables, chunked
// arrays, data frames.
//
// Shape: shell. What comes as one chunk is read where it lies. Several chunks are gathered into one
// piece of memory, because a write is applied whole or not at all, and the engine takes one batch.
// Chunks are pulled without the GIL: a producer may need it on another thread.
#include <string.h>

#include "arrow.h"

#define CAPSULE_NAME "omendb.arrow_chunks"

// What came out of a stream; owned by a capsule, which raw_close drops.
struct chunks {
    struct ArrowSchema schema;
    struct ArrowArray *arrays;
    size_t count, room;
    char *gathered; // NULL unless there were several
};

static void
release_arrays(struct chunks *chunks)
{
    for (size_t i = 0; i < chunks->count; i++)
        if (chunks->arrays[i].release != NULL)
            chunks->arrays[i].release(&chunks->arrays[i]);
    chunks->count = 0;
}

static void
chunks_free(PyObject *capsule)
{
    struct chunks *chunks = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    if (chunks == NULL)
        return;
    release_arrays(chunks);
    if (chunks->schema.release != NULL)
        chunks->schema.release(&chunks->schema);
    PyMem_Free(chunks->arrays);
    PyMem_Free(chunks->gathered);
    PyMem_Free(chunks);
}

static struct chunks *
chunks_new(PyObject **capsule)
{
    struct chunks *chunks = PyMem_Calloc(1, sizeof *chunks);
    if (chunks == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *capsule = PyCapsule_New(chunks, CAPSULE_NAME, chunks_free);
    if (*capsule != NULL)
        return chunks;
    PyMem_Free(chunks);
    return NULL;
}

static int
refuse_stream(struct ArrowArrayStream *stream, int error)
{
    const char *text = stream->get_last_error(stream);
    raise_error(OMEN_E_INVALID, "Arrow stream failed: %s", text != NULL ? text : strerror(error));
    return -1;
}

static struct ArrowArray *
next_place(struct chunks *chunks)
{
    if (chunks->count == chunks->room) {
        const size_t room = chunks->room == 0 ? 8 : chunks->room * 2;
        struct ArrowArray *arrays = NULL;
        if (room <= PY_SSIZE_T_MAX / sizeof *arrays)
            arrays = PyMem_Realloc(chunks->arrays, room * sizeof *arrays);
        if (arrays == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        chunks->arrays = arrays;
        chunks->room = room;
    }
    return memset(&chunks->arrays[chunks->count], 0, sizeof *chunks->arrays);
}

// Everything that the stream has; chunks without rows are let go at once.
static int
pull(struct ArrowArrayStream *stream, struct chunks *chunks)
{
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = stream->get_schema(stream, &chunks->schema);
    Py_END_ALLOW_THREADS
    if (error != 0)
        return refuse_stream(stream, error);
    for (;;) {
        struct ArrowArray *array = next_place(chunks);
        if (array == NULL)
            return -1;
        Py_BEGIN_ALLOW_THREADS
        error = stream->get_next(stream, array);
        Py_END_ALLOW_THREADS
        if (error != 0)
            return refuse_stream(stream, error);
        if (array->release == NULL)
            return 0;
        if (array->length > 0)
            chunks->count++;
        else
            array->release(array);
    }
}

// No chunk at all: an array without rows, of the stream's type.
static int
describe_nothing(struct raw *raw, const struct ArrowSchema *schema)
{
    struct ArrowArray values = {0};
    struct ArrowArray *children[] = {&values};
    struct ArrowArray list = {.n_children = 1, .children = children};
    struct ArrowArray *columns[] = {&list};
    const struct ArrowArray table = {.n_children = 1, .children = columns};
    return arrow_describe(raw, schema, strcmp(schema->format, "+s") == 0 ? &table : &list, 0);
}

// Rows of Arrow are dense, so that a chunk is one run of bytes.
static size_t
run_bytes(const struct raw *raw)
{
    const size_t values = (size_t)raw->shape[0] * (raw->dims == 2 ? (size_t)raw->shape[1] : 1);
    return values * element_bytes(raw->element);
}

// The description of all chunks, each looked at before any is copied.
static int
describe_chunks(struct raw *raw, const struct chunks *chunks, size_t *bytes)
{
    int64_t rows = 0;
    *bytes = 0;
    for (size_t i = 0; i < chunks->count; i++) {
        if (arrow_describe(raw, &chunks->schema, &chunks->arrays[i], rows) < 0)
            return -1;
        rows += chunks->arrays[i].length;
        *bytes += run_bytes(raw);
    }
    raw->shape[0] = (Py_ssize_t)rows;
    return 1;
}

static int
gather(struct raw *raw, struct chunks *chunks)
{
    size_t bytes, at = 0;
    if (describe_chunks(raw, chunks, &bytes) < 0)
        return -1;
    chunks->gathered = PyMem_Malloc(bytes);
    if (chunks->gathered == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < chunks->count; i++) {
        struct raw chunk = {0};
        if (arrow_describe(&chunk, &chunks->schema, &chunks->arrays[i], 0) < 0)
            return -1;
        const size_t run = run_bytes(&chunk);
        if (run > bytes - at) { // somebody else is changing them
            raise_error(OMEN_E_INVALID, "Arrow chunks changed while they were read");
            return -1;
        }
        if (run > 0)
            memcpy(chunks->gathered + at, chunk.data, run);
        at += run;
    }
    raw->data = chunks->gathered;
    release_arrays(chunks);
    return 1;
}

static int
read_stream(struct raw *raw, struct ArrowArrayStream *stream)
{
    if (stream->release == NULL) {
        raise_error(OMEN_E_INVALID, "Arrow stream was read already");
        return -1;
    }
    struct chunks *chunks = chunks_new(&raw->keep_schema);
    if (chunks == NULL || pull(stream, chunks) < 0)
        return -1;
    if (chunks->count == 0)
        return describe_nothing(raw, &chunks->schema);
    if (chunks->count == 1)
        return arrow_describe(raw, &chunks->schema, &chunks->arrays[0], 0);
    return gather(raw, chunks);
}

int
raw_from_arrow_stream(struct raw *raw, PyObject *object)
{
    if (!PyObject_HasAttr(object, core.name_arrow_stream))
        return 0;
    raw->keep = PyObject_CallMethodObjArgs(object, core.name_arrow_stream, NULL);
    if (raw->keep == NULL && PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyErr_Clear(); // pandas offers what it needs pyarrow for; there are other ways
        return 0;
    }
    int found = -1;
    if (raw->keep != NULL) {
        struct ArrowArrayStream *stream = PyCapsule_GetPointer(raw->keep, "arrow_array_stream");
        if (stream != NULL)
            found = read_stream(raw, stream);
    }
    if (found < 0)
        raw_close(raw);
    return found;
}
