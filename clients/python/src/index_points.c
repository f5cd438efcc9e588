// clients/python/src/index_points.c -- points read back: get, scroll, count, in.
//
// Shape: shell. The engine gives a copy of the points; vectors are numpy arrays over that copy, so
// it lives as long as one of them does.
#include <string.h>

#include "core.h"

static void
points_capsule_free(PyObject *capsule)
{
    omen_points_free(PyCapsule_GetPointer(capsule, "omendb.points"));
}

// Takes the points, also on failure.
static PyObject *
points_capsule(omen_points_t points)
{
    PyObject *capsule = PyCapsule_New(points, "omendb.points", points_capsule_free);
    if (capsule == NULL)
        omen_points_free(points);
    return capsule;
}

// numpy has no bf16: those are given back as float32.
static PyObject *
widened_vector(const struct index *self, const void *data)
{
    struct block *block =
        block_new(&(struct block_shape){'f', 1, {(Py_ssize_t)self->dimension, 0}});
    if (block != NULL)
        widen_run(block->data, ELEMENT_BF16, data, self->dimension);
    return block_array(block);
}

static PyObject *
vector_at(const struct index *self, omen_points_t points, size_t i, PyObject *owner)
{
    static const char formats[] = {0, 'f', 'e', 0, 'b', 'B'}; // by omen_dtype
    const void *data = omen_points_vector(points, i);
    if (data == NULL)
        return Py_NewRef(Py_None);
    if (self->dtype == OMEN_BF16)
        return widened_vector(self, data);
    const struct block_shape shape = {formats[self->dtype], 1, {(Py_ssize_t)self->dimension, 0}};
    return block_array(block_over(data, owner, &shape));
}

// None in memory, where points have none.
static PyObject *
version_at(omen_points_t points, size_t i)
{
    const uint64_t version = omen_points_version(points, i);
    return version == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(version);
}

// Point(id, vector, payload, version); steals the id.
static PyObject *
point_at(const struct index *self, omen_points_t points, size_t i, PyObject *owner, PyObject *id)
{
    size_t bytes = 0;
    const void *packed = omen_points_payload(points, i, &bytes);
    PyObject *payload = packed == NULL ? Py_NewRef(Py_None) : unpack(packed, bytes);
    PyObject *vector = payload == NULL ? NULL : vector_at(self, points, i, owner);
    PyObject *version = vector == NULL ? NULL : version_at(points, i);
    PyObject *point = NULL;
    if (id != NULL && version != NULL)
        point = PyObject_CallFunctionObjArgs(core.point, id, vector, payload, version, NULL);
    Py_XDECREF(version);
    Py_XDECREF(id);
    Py_XDECREF(vector);
    Py_XDECREF(payload);
    return point;
}

static PyObject *
texts_of_points(struct index *self, omen_points_t points)
{
    const size_t count = omen_points_count(points);
    uint64_t *keys = PyMem_Malloc(count * sizeof *keys + 1);
    if (keys == NULL)
        return PyErr_NoMemory();
    for (size_t i = 0; i < count; i++)
        keys[i] = omen_points_found(points, i) ? omen_points_id(points, i) : UINT64_MAX;
    PyObject *texts = keys_to_texts(self, keys, count);
    PyMem_Free(keys);
    return texts;
}

static PyObject *
list_of_points(struct index *self, omen_points_t points, PyObject *owner)
{
    const size_t count = omen_points_count(points);
    if (count > 0 && omen_points_found(points, 0))
        keys_resolve_kind(self, omen_points_id(points, 0));
    PyObject *texts = NULL;
    if (self->kind == IDS_TEXT && (texts = texts_of_points(self, points)) == NULL)
        return NULL;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item;
        if (!omen_points_found(points, i))
            item = Py_NewRef(Py_None);
        else if (texts != NULL)
            item =
                point_at(self, points, i, owner, Py_XNewRef(PyList_GetItem(texts, (Py_ssize_t)i)));
        else
            item = point_at(self, points, i, owner,
                            PyLong_FromUnsignedLongLong(omen_points_id(points, i)));
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    Py_XDECREF(texts);
    return list;
}

static int
read_with(PyObject *vector, PyObject *payload, int *with)
{
    int with_vector = 1, with_payload = 1;
    if (arg_bool(vector, &with_vector) < 0 || arg_bool(payload, &with_payload) < 0)
        return -1;
    *with = (with_vector ? OMEN_WITH_VECTOR : 0) | (with_payload ? OMEN_WITH_PAYLOAD : 0);
    return 0;
}

// ---- get ----

static PyObject *
get_points(struct index *self, const struct ids *ids, int with)
{
    uint64_t *keys = keys_of_ids(self, ids);
    if (keys == NULL)
        return NULL;
    omen_points_t points = NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_get(self->handle, keys, ids->count, with, &points);
    Py_END_ALLOW_THREADS
    PyMem_Free(keys);
    if (status != OMEN_OK) {
        raise_status(status);
        return NULL;
    }
    PyObject *owner = points_capsule(points);
    PyObject *list = owner == NULL ? NULL : list_of_points(self, points, owner);
    Py_XDECREF(owner);
    return list;
}

PyObject *
index_get(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"get", {"id", "with_vector", "with_payload"}, 1, 3, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    struct ids ids;
    int with = 0;
    if (args_parse(&spec, args, count, names, given) < 0 ||
        read_with(given[1], given[2], &with) < 0 || ids_open(&ids, given[0]) < 0)
        return NULL;
    PyObject *result = NULL;
    if (index_enter(self) != NULL) {
        result = get_points(self, &ids, with);
        index_leave(self);
    }
    if (result != NULL && ids.single) {
        PyObject *list = result;
        result = Py_XNewRef(PyList_GetItem(list, 0));
        Py_DECREF(list);
    }
    ids_close(&ids);
    return result;
}

// Out of range is only not there; what can never be an id is an error.
int
index_contains(PyObject *object, PyObject *argument)
{
    struct index *self = (struct index *)object;
    struct ids ids;
    if (ids_open(&ids, argument) < 0) {
        if (!PyErr_ExceptionMatches(core.errors[-OMEN_E_ID_RANGE]) &&
            !PyErr_ExceptionMatches(core.errors[-OMEN_E_ID_LENGTH]))
            return -1;
        PyErr_Clear();
        return 0;
    }
    int found = -1;
    if (!ids.single) {
        PyErr_Format(core.error_id_type, "'in' takes one id, not %R", argument);
    } else if (index_enter(self) != NULL) {
        const enum id_kind kind = keys_kind(self);
        if (kind != IDS_UNKNOWN && kind != ids.kind) {
            found = 0;
        } else {
            uint64_t key = ids.kind == IDS_INTEGER ? ids.one : KEY_NONE;
            Py_BEGIN_ALLOW_THREADS
            if (ids.kind == IDS_TEXT && omen_id_key(self->handle, ids.texts[0], &key) != OMEN_OK)
                key = KEY_NONE;
            found = omen_contains(self->handle, key) != 0;
            Py_END_ALLOW_THREADS
        }
        index_leave(self);
    }
    ids_close(&ids);
    return found;
}

// ---- scroll ----

static PyObject *
scroll_points(struct index *self, const char *filter, size_t limit, uint64_t *cursor, int with)
{
    omen_points_t points = NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_scroll(self->handle, filter, with, limit, cursor, &points);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK) {
        raise_status(status);
        return NULL;
    }
    PyObject *owner = points_capsule(points);
    PyObject *list = owner == NULL ? NULL : list_of_points(self, points, owner);
    Py_XDECREF(owner);
    return list;
}

PyObject *
index_scroll(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "scroll", {"filter", "limit", "cursor", "with_vector", "with_payload"}, 0, 5, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    struct filter filter;
    uint32_t limit = 100;
    uint64_t cursor = 0;
    int with = 0;
    if (args_parse(&spec, args, count, names, given) < 0 ||
        arg_u32(given[1], "limit", 1, &limit) < 0 || arg_u64(given[2], "cursor", &cursor) < 0 ||
        read_with(given[3], given[4], &with) < 0 || filter_open_text(&filter, given[0]) < 0)
        return NULL;
    PyObject *list = NULL;
    if (index_enter(self) != NULL) {
        list = scroll_points(self, filter.text, limit, &cursor, with);
        index_leave(self);
    }
    filter_close(&filter);
    if (list == NULL)
        return NULL;
    if (cursor == UINT64_MAX)
        return Py_BuildValue("NO", list, Py_None);
    return Py_BuildValue("NK", list, (unsigned long long)cursor);
}

// ---- count ----

PyObject *
index_count(PyObject *object, PyObject *const *args, Py_ssize_t argument_count, PyObject *names)
{
    static struct args_spec spec = {"count", {"filter"}, 0, 1, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    struct filter filter;
    if (args_parse(&spec, args, argument_count, names, given) < 0 ||
        filter_open_text(&filter, given[0]) < 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle == NULL) {
        filter_close(&filter);
        return NULL;
    }
    uint64_t count = 0;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_count(handle, filter.text, &count);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    filter_close(&filter);
    return status == OMEN_OK ? PyLong_FromUnsignedLongLong(count) : NULL;
}
