// clients/python/src/index_write.c -- add, upsert, set_payloads, delete.
//
// Shape: shell. A batch's vectors, ids and payloads are opened, handed over in one call, and
// closed.
#include <string.h>

#include "core.h"

typedef omen_status write_call(omen_index_t index, const omen_batch *batch);

struct write {
    struct rows rows;
    struct ids ids;
    struct payloads payloads;
    struct conditions conditions;
    bool has_ids;
};

static void
write_close(struct write *write)
{
    conditions_close(&write->conditions);
    payloads_close(&write->payloads);
    if (write->has_ids)
        ids_close(&write->ids);
    rows_close(&write->rows);
}

// A list of one id for one vector is as good as the id itself.
static int
write_open(struct write *write, const struct index *self, PyObject *const *given)
{
    memset(write, 0, sizeof *write);
    const struct rows_want want = {self->dimension, self->dtype, ROWS_STORE};
    if (rows_open(&write->rows, given[0], &want) < 0)
        return -1;
    if (arg_given(given[1])) {
        if (ids_open(&write->ids, given[1]) < 0) {
            write_close(write);
            return -1;
        }
        write->has_ids = true;
        if (write->ids.count != write->rows.count) {
            raise_error(OMEN_E_INVALID, "%zu ids for %zu vectors", write->ids.count,
                        write->rows.count);
            write_close(write);
            return -1;
        }
    }
    if (payloads_open(&write->payloads, given[2], write->rows.count, write->rows.single) < 0 ||
        conditions_open(&write->conditions, given[3], write->rows.count) < 0) {
        write_close(write);
        return -1;
    }
    return 0;
}

static int
write_run(struct index *self, const struct write *write, uint64_t *ids_out, write_call *call)
{
    const struct ids *ids = write->has_ids ? &write->ids : NULL;
    const omen_batch batch = {
        .struct_size = sizeof batch,
        .count = write->rows.count,
        .vectors = write->rows.data,
        .stride = write->rows.stride,
        .dtype = write->rows.dtype,
        .ids = ids != NULL && ids->kind == IDS_INTEGER ? ids->keys : NULL,
        .text_ids = ids != NULL && ids->kind == IDS_TEXT ? ids->texts : NULL,
        .payloads = write->payloads.items,
        .payload_bytes = write->payloads.bytes,
        .ids_out = ids_out,
        .if_versions = write->conditions.versions,
    };
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return -1;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = call(handle, &batch);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    else if (batch.count > 0 && self->kind == IDS_UNKNOWN)
        self->kind = ids == NULL ? IDS_INTEGER : ids->kind;
    index_leave(self);
    return status == OMEN_OK ? 0 : -1;
}

// The ids as given or chosen: one for one vector, an int64 array or a list of str for many.
static PyObject *
write_many(struct index *self, const struct write *write, write_call *call)
{
    if (write->has_ids && write->ids.kind == IDS_TEXT) {
        if (write_run(self, write, NULL, call) < 0)
            return NULL;
        return write->ids.single ? Py_BuildValue("[O]", write->ids.keep)
                                 : Py_NewRef(write->ids.keep);
    }
    struct block *block =
        block_new(&(struct block_shape){'q', 1, {(Py_ssize_t)write->rows.count, 0}});
    if (block == NULL)
        return NULL;
    if (write_run(self, write, block->data, call) < 0) {
        Py_DECREF(block);
        return NULL;
    }
    return block_array(block);
}

static PyObject *
write_one(struct index *self, const struct write *write, write_call *call)
{
    uint64_t key = 0;
    if (write_run(self, write, &key, call) < 0)
        return NULL;
    if (!write->has_ids || write->ids.kind == IDS_INTEGER)
        return PyLong_FromUnsignedLongLong(key);
    return PyUnicode_FromString(write->ids.texts[0]);
}

static PyObject *
write_batch(PyObject *object, PyObject *const *given, write_call *call)
{
    struct index *self = (struct index *)object;
    struct write write;
    if (write_open(&write, self, given) < 0)
        return NULL;
    PyObject *result =
        write.rows.single ? write_one(self, &write, call) : write_many(self, &write, call);
    write_close(&write);
    return result;
}

PyObject *
index_add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "add", {"vectors", "ids", "payloads", "if_version"}, 1, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    return write_batch(self, given, omen_add);
}

PyObject *
index_upsert(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "upsert", {"vectors", "ids", "payloads", "if_version"}, 1, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    return write_batch(self, given, omen_upsert);
}

// hnswlib replaces the vector of an id that it holds already; so this is upsert.
PyObject *
index_add_items(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "add_items", {"data", "ids", "num_threads", "replace_deleted"}, 1, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    PyObject *const write[4] = {given[0], given[1], NULL, NULL};
    return write_batch(self, write, omen_upsert);
}

PyObject *
index_set_payloads(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "set_payloads", {"ids", "payloads", "if_version"}, 2, 3, {NULL}};
    PyObject *given[ARGS_MAX];
    struct write write = {0};
    if (args_parse(&spec, args, count, names, given) < 0 || ids_open(&write.ids, given[0]) < 0)
        return NULL;
    write.has_ids = true;
    write.rows.count = write.ids.count;
    write.rows.dtype = ((struct index *)object)->dtype;
    int result = -1;
    if (!arg_given(given[1]))
        raise_error(OMEN_E_PAYLOAD, "payloads are missing; None in their list removes a payload");
    else if (payloads_open(&write.payloads, given[1], write.ids.count, write.ids.single) == 0 &&
             conditions_open(&write.conditions, given[2], write.ids.count) == 0)
        result = write_run((struct index *)object, &write, NULL, omen_set_payloads);
    write_close(&write);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

// ---- delete ----

static PyObject *
delete_ids(struct index *self, PyObject *argument)
{
    struct ids ids;
    if (ids_open(&ids, argument) < 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle != NULL && keys_check_kind(self, &ids) < 0) {
        index_leave(self);
        handle = NULL;
    }
    if (handle == NULL) {
        ids_close(&ids);
        return NULL;
    }
    size_t deleted = 0;
    omen_status status = OMEN_OK;
    Py_BEGIN_ALLOW_THREADS
    if (ids.count > 0)
        status = ids.kind == IDS_TEXT ? omen_delete_text(handle, ids.texts, ids.count, &deleted)
                                      : omen_delete(handle, ids.keys, ids.count, &deleted);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    ids_close(&ids);
    return status == OMEN_OK ? PyLong_FromSize_t(deleted) : NULL;
}

static PyObject *
delete_where(struct index *self, PyObject *argument)
{
    struct filter filter;
    if (filter_open_text(&filter, argument) < 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle == NULL) {
        filter_close(&filter);
        return NULL;
    }
    size_t deleted = 0;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_delete_where(handle, filter.text, &deleted);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    filter_close(&filter);
    return status == OMEN_OK ? PyLong_FromSize_t(deleted) : NULL;
}

PyObject *
index_delete(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"delete", {"ids", "filter"}, 0, 2, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    if (arg_given(given[0]) == arg_given(given[1])) {
        raise_error(OMEN_E_INVALID, "delete takes either ids or a filter");
        return NULL;
    }
    struct index *self = (struct index *)object;
    return arg_given(given[0]) ? delete_ids(self, given[0]) : delete_where(self, given[1]);
}
