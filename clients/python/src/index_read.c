// clients/python/src/index_read.c -- search, range_search, knn_query, knn_exact.
//
// Shape: shell. One query's path is short on purpose: no tuple, no dict, no numpy, one allocation
// for the answer.
#include <string.h>

#include "core.h"

struct query {
    struct rows rows;
    struct filter filter;
    omen_query_options options;
    omen_query_report report;
};

enum { ARG_Q, ARG_K, ARG_FILTER, ARG_EF, ARG_TARGET_RECALL, ARG_EXACT, ARG_THREADS, ARG_BACKEND };

static int
read_options(struct query *query, PyObject *const *given)
{
    omen_query_options *options = &query->options;
    if (arg_k(given[ARG_K], &options->k) < 0 || arg_u32(given[ARG_EF], "ef", 1, &options->ef) < 0 ||
        arg_double(given[ARG_TARGET_RECALL], "target_recall", &options->target_recall) < 0 ||
        arg_bool(given[ARG_EXACT], &options->exact) < 0 ||
        arg_u32(given[ARG_THREADS], "threads", 0, &options->threads) < 0 ||
        arg_backend(given[ARG_BACKEND], &options->backend) < 0)
        return -1;
    return 0;
}

static int
query_open(struct query *query, const struct index *self, PyObject *const *given)
{
    query->options = (omen_query_options)OMEN_QUERY_OPTIONS_INIT;
    query->report = (omen_query_report){0};
    const struct rows_want want = {self->dimension, self->dtype, ROWS_QUERY};
    if (read_options(query, given) < 0 || filter_open(&query->filter, given[ARG_FILTER]) < 0)
        return -1;
    if (rows_open(&query->rows, given[ARG_Q], &want) < 0) {
        filter_close(&query->filter);
        return -1;
    }
    query->options.filter = query->filter.text;
    query->options.filter_map = query->filter.packer.data;
    query->options.filter_map_bytes = query->filter.packer.count;
    query->options.dtype = query->rows.dtype;
    query->options.stride = query->rows.stride;
    query->options.report = &query->report;
    return 0;
}

static void
query_close(struct query *query)
{
    rows_close(&query->rows);
    filter_close(&query->filter);
}

// ---- one query ----

static PyObject *
search_one(struct index *self, struct query *query)
{
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    struct hits *hits = hits_new((PyObject *)self, query->options.k);
    if (hits != NULL) {
        omen_status status;
        Py_BEGIN_ALLOW_THREADS
        status = omen_query(handle, query->rows.data, &query->options, hits->keys, hits->distances,
                            &hits->count);
        Py_END_ALLOW_THREADS
        hits->report = query->report;
        if (status != OMEN_OK) {
            raise_status(status);
            hits->count = 0;
            Py_CLEAR(hits);
        }
    }
    if (hits != NULL && hits->count > 0) {
        keys_resolve_kind(self, hits->keys[0]);
        if (self->kind == IDS_TEXT &&
            (hits->texts = keys_to_texts(self, hits->keys, hits->count)) == NULL)
            Py_CLEAR(hits);
    }
    index_leave(self);
    return (PyObject *)hits;
}

// ---- many ----

// (ids, distances); steals both blocks.
static PyObject *
pair_of_arrays(struct index *self, struct block *ids, struct block *distances)
{
    const Py_ssize_t rows = ids->shape[0], columns = ids->shape[1];
    const size_t count = (size_t)rows * (size_t)columns;
    PyObject *id_array;
    if (count > 0)
        keys_resolve_kind(self, *(const uint64_t *)ids->data);
    if (self->kind == IDS_TEXT) {
        id_array = object_array(keys_to_texts(self, ids->data, count), rows, columns);
        Py_DECREF(ids);
    } else {
        id_array = block_array(ids); // UINT64_MAX, where there are fewer, is -1 as int64
    }
    PyObject *distance_array = block_array(distances);
    if (id_array != NULL && distance_array != NULL)
        return Py_BuildValue("NN", id_array, distance_array);
    Py_XDECREF(id_array);
    Py_XDECREF(distance_array);
    return NULL;
}

static int
warn(uint32_t warnings)
{
    if (warnings == 0)
        return 0;
    PyObject *texts = warnings_tuple(warnings);
    int result = texts == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_Size(texts); i++) {
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(texts, i), NULL);
        result = text == NULL ? -1 : PyErr_WarnEx(core.warning, text, 1);
    }
    Py_XDECREF(texts);
    return result;
}

typedef omen_status (*batch_fn)(omen_index_t index, const void *vectors, size_t count,
                                const omen_query_options *options, uint64_t *ids, float *distances);

static PyObject *
search_many(struct index *self, struct query *query, batch_fn run)
{
    const struct block_shape shape = {
        'q', 2, {(Py_ssize_t)query->rows.count, (Py_ssize_t)query->options.k}};
    struct block *ids = block_new(&shape);
    struct block *distances =
        block_new(&(struct block_shape){'f', 2, {shape.shape[0], shape.shape[1]}});
    omen_index_t handle = ids == NULL || distances == NULL ? NULL : index_enter(self);
    if (handle == NULL) {
        Py_XDECREF((PyObject *)ids);
        Py_XDECREF((PyObject *)distances);
        return NULL;
    }
    omen_status status = OMEN_OK;
    struct interrupt interrupt = {.came = false};
    query->options.stop = interrupt_came;
    query->options.context = &interrupt;
    Py_BEGIN_ALLOW_THREADS
    if (query->rows.count > 0)
        status = run(handle, query->rows.data, query->rows.count, &query->options, ids->data,
                     distances->data);
    Py_END_ALLOW_THREADS
    interrupt_raise(&interrupt, status);
    PyObject *result = NULL;
    if (status == OMEN_OK && !interrupt.came && warn(query->report.warnings) == 0) {
        result = pair_of_arrays(self, ids, distances);
    } else {
        Py_DECREF(ids);
        Py_DECREF(distances);
    }
    index_leave(self);
    return result;
}

PyObject *
index_search(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "search",
        {"q", "k", "filter", "ef", "target_recall", "exact", "threads", "backend"},
        1,
        8,
        {NULL}};
    PyObject *given[ARGS_MAX];
    struct query query;
    struct index *self = (struct index *)object;
    if (args_parse(&spec, args, count, names, given) < 0 || query_open(&query, self, given) < 0)
        return NULL;
    PyObject *result =
        query.rows.single ? search_one(self, &query) : search_many(self, &query, omen_query_batch);
    query_close(&query);
    return result;
}

// hnswlib: a single vector is one row of a matrix, and k is 1 unless said otherwise.
PyObject *
index_knn_query(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "knn_query", {"data", "k", "num_threads", "filter"}, 1, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    PyObject *wanted[ARGS_MAX] = {[ARG_Q] = given[0], [ARG_K] = given[1], [ARG_FILTER] = given[3]};
    struct query query;
    struct index *self = (struct index *)object;
    if (query_open(&query, self, wanted) < 0)
        return NULL;
    long threads = arg_given(given[2]) ? PyLong_AsLong(given[2]) : -1;
    PyObject *result = NULL;
    if (!arg_given(given[1]))
        query.options.k = 1;
    if (threads > 0)
        query.options.threads = threads > (long)K_MAX ? K_MAX : (uint32_t)threads;
    if (threads != -1 || PyErr_Occurred() == NULL)
        result = search_many(self, &query, omen_query_batch);
    query_close(&query);
    return result;
}

// Two arrays, of one vector too.
PyObject *
index_knn_exact(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "knn_exact", {"q", "k", "filter", "threads", "backend"}, 1, 5, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    PyObject *wanted[ARGS_MAX] = {[ARG_Q] = given[0],
                                  [ARG_K] = given[1],
                                  [ARG_FILTER] = given[2],
                                  [ARG_THREADS] = given[3],
                                  [ARG_BACKEND] = given[4]};
    struct query query;
    struct index *self = (struct index *)object;
    if (query_open(&query, self, wanted) < 0)
        return NULL;
    PyObject *result = search_many(self, &query, omen_knn_exact);
    query_close(&query);
    return result;
}

// ---- range ----

static struct hits *
hits_of_points(struct index *self, omen_points_t points)
{
    const size_t count = omen_points_count(points);
    struct hits *hits = hits_new((PyObject *)self, (uint32_t)count);
    if (hits == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        hits->keys[i] = omen_points_id(points, i);
        hits->distances[i] = omen_points_distance(points, i);
    }
    hits->count = (uint32_t)count;
    if (count > 0)
        keys_resolve_kind(self, hits->keys[0]);
    if (self->kind == IDS_TEXT && (hits->texts = keys_to_texts(self, hits->keys, count)) == NULL)
        Py_CLEAR(hits);
    return hits;
}

static PyObject *
range_one(struct index *self, struct query *query, const char *vector, float radius)
{
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    omen_points_t points = NULL;
    struct hits *hits = NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_range(handle, vector, radius, &query->options, &points);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    else
        hits = hits_of_points(self, points);
    if (hits != NULL)
        hits->report = query->report;
    omen_points_free(points);
    index_leave(self);
    return (PyObject *)hits;
}

static PyObject *
range_many(struct index *self, struct query *query, float radius)
{
    static const size_t bytes[] = {0, 4, 2, 2, 1, 1}; // by omen_dtype
    const struct rows *rows = &query->rows;
    const size_t stride = rows->stride != 0 ? rows->stride : bytes[rows->dtype] * self->dimension;
    PyObject *list = PyList_New((Py_ssize_t)rows->count);
    for (size_t i = 0; list != NULL && i < rows->count; i++) {
        PyObject *hits =
            PyErr_CheckSignals() < 0
                ? NULL
                : range_one(self, query, (const char *)rows->data + i * stride, radius);
        if (hits == NULL || PyList_SetItem(list, (Py_ssize_t)i, hits) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyObject *
index_range_search(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "range_search", {"q", "radius", "filter", "ef", "target_recall", "exact"}, 2, 6, {NULL}};
    PyObject *given[ARGS_MAX];
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    double radius = 0;
    if (!arg_given(given[1])) {
        raise_error(OMEN_E_INVALID, "radius is missing");
        return NULL;
    }
    PyObject *wanted[ARGS_MAX] = {[ARG_Q] = given[0],
                                  [ARG_FILTER] = given[2],
                                  [ARG_EF] = given[3],
                                  [ARG_TARGET_RECALL] = given[4],
                                  [ARG_EXACT] = given[5]};
    struct query query;
    struct index *self = (struct index *)object;
    if (arg_double(given[1], "radius", &radius) < 0 || query_open(&query, self, wanted) < 0)
        return NULL;
    PyObject *result = query.rows.single ? range_one(self, &query, query.rows.data, (float)radius)
                                         : range_many(self, &query, (float)radius);
    query_close(&query);
    return result;
}
