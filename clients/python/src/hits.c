// clients/python/src/hits.c -- the answer to one query.
//
// Shape: shell. Holds the engine's keys and distances as they came; arrays, and the payloads of the
// hits, are made when they are asked for. A loop over (id, distance) never needs numpy.
#include "core.h"

struct hits *
hits_new(PyObject *index, uint32_t capacity)
{
    uint64_t *keys = PyMem_Malloc((size_t)capacity * (sizeof *keys + sizeof(float)) + 1);
    if (keys == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    struct hits *hits = PyObject_GC_New(struct hits, core.hits_type);
    if (hits == NULL) {
        PyMem_Free(keys);
        return NULL;
    }
    hits->index = Py_NewRef(index);
    hits->count = 0;
    hits->keys = keys;
    hits->distances = (float *)(void *)(keys + capacity);
    hits->memory = NULL;
    hits->report = (omen_query_report){0};
    hits->texts = NULL;
    hits->ids = NULL;
    hits->distance_array = NULL;
    hits->payloads = NULL;
    PyObject_GC_Track((PyObject *)hits);
    return hits;
}

static int
hits_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct hits *hits = (struct hits *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(hits->index);
    Py_VISIT(hits->memory);
    Py_VISIT(hits->texts);
    Py_VISIT(hits->ids);
    Py_VISIT(hits->distance_array);
    Py_VISIT(hits->payloads);
    return 0;
}

// What the methods cannot do without stays: a cycle through the index goes through its own __dict__
// as well.
static int
hits_clear(PyObject *self)
{
    struct hits *hits = (struct hits *)self;
    Py_CLEAR(hits->ids);
    Py_CLEAR(hits->distance_array);
    Py_CLEAR(hits->payloads);
    return 0;
}

static void
hits_dealloc(PyObject *self)
{
    struct hits *hits = (struct hits *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)hits_clear(self);
    Py_CLEAR(hits->texts);
    Py_CLEAR(hits->index);
    if (hits->memory == NULL)
        PyMem_Free(hits->keys);
    Py_CLEAR(hits->memory);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *
id_at(const struct hits *hits, Py_ssize_t i)
{
    if (hits->texts != NULL)
        return Py_XNewRef(PyList_GetItem(hits->texts, i));
    return PyLong_FromUnsignedLongLong(hits->keys[i]);
}

static Py_ssize_t
hits_length(PyObject *self)
{
    return ((struct hits *)self)->count;
}

static PyObject *
hits_item(PyObject *self, Py_ssize_t i)
{
    const struct hits *hits = (struct hits *)self;
    if (i < 0 || i >= (Py_ssize_t)hits->count) {
        PyErr_SetString(PyExc_IndexError, "hit index out of range");
        return NULL;
    }
    PyObject *id = id_at(hits, i);
    return id == NULL ? NULL : Py_BuildValue("Nd", id, (double)hits->distances[i]);
}

static PyObject *
hits_iter(PyObject *self)
{
    return PySeqIter_New(self);
}

static PyObject *
hits_repr(PyObject *self)
{
    const struct hits *hits = (struct hits *)self;
    const Py_ssize_t shown = hits->count < 3 ? (Py_ssize_t)hits->count : 3;
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < shown; i++) {
        PyObject *pair = hits_item(self, i);
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    if (list == NULL)
        return NULL;
    PyObject *text = PyUnicode_FromFormat("<Hits: %u, nearest %R%s>", (unsigned)hits->count, list,
                                          hits->count > 3 ? " ..." : "");
    Py_DECREF(list);
    return text;
}

// ---- attributes ----

// A numpy array over a part of our memory, which passes to a block: were `self` the owner, then
// self -> array -> self would be a cycle that the collector cannot see through numpy.
static PyObject *
array_over(struct hits *hits, const void *data, char format)
{
    if (hits->memory == NULL)
        hits->memory = (PyObject *)block_take(hits->keys);
    if (hits->memory == NULL)
        return NULL;
    const struct block_shape shape = {format, 1, {(Py_ssize_t)hits->count, 0}};
    return block_array(block_over(data, hits->memory, &shape));
}

static PyObject *
get_ids(PyObject *self, void *closure)
{
    (void)closure;
    struct hits *hits = (struct hits *)self;
    if (hits->ids == NULL && hits->texts != NULL)
        hits->ids = object_array(Py_NewRef(hits->texts), 0, 0);
    else if (hits->ids == NULL)
        hits->ids = array_over(hits, hits->keys, 'q');
    return Py_XNewRef(hits->ids);
}

static PyObject *
get_distances(PyObject *self, void *closure)
{
    (void)closure;
    struct hits *hits = (struct hits *)self;
    if (hits->distance_array == NULL)
        hits->distance_array = array_over(hits, hits->distances, 'f');
    return Py_XNewRef(hits->distance_array);
}

static PyObject *
payload_list(omen_points_t points)
{
    const size_t count = omen_points_count(points);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        size_t bytes = 0;
        const void *payload = omen_points_payload(points, i, &bytes);
        PyObject *item = payload == NULL ? Py_NewRef(Py_None) : unpack(payload, bytes);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *
get_payloads(PyObject *self, void *closure)
{
    (void)closure;
    struct hits *hits = (struct hits *)self;
    if (hits->payloads != NULL)
        return Py_NewRef(hits->payloads);
    struct index *index = (struct index *)hits->index;
    omen_index_t handle = index_enter(index);
    if (handle == NULL)
        return NULL;
    omen_points_t points = NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_get(handle, hits->keys, hits->count, OMEN_WITH_PAYLOAD, &points);
    Py_END_ALLOW_THREADS
    PyObject *list = NULL;
    if (status == OMEN_OK)
        list = payload_list(points);
    else
        raise_status(status);
    omen_points_free(points);
    index_leave(index);
    if (hits->payloads == NULL) // another thread may have been here meanwhile
        hits->payloads = Py_XNewRef(list);
    return list;
}

PyObject *
warnings_tuple(uint32_t warnings)
{
    static const struct {
        uint32_t flag;
        const char *text;
    } table[] = {
        {OMEN_WARN_UNINDEXED_FIELD,
         "the filter names a field without an index (Index.index_field): payloads were scanned"},
        {OMEN_WARN_NOT_CALIBRATED,
         "target_recall: the index is too small to be calibrated yet, a safe ef was used"},
        {OMEN_WARN_DEADLINE, "the deadline cut the search: these are the best hits so far"},
    };
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < sizeof table / sizeof table[0]; i++) {
        if ((warnings & table[i].flag) == 0)
            continue;
        PyObject *text = PyUnicode_FromString(table[i].text);
        if (text == NULL || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
    }
    PyObject *tuple = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

static PyObject *
get_warnings(PyObject *self, void *closure)
{
    (void)closure;
    return warnings_tuple(((struct hits *)self)->report.warnings);
}

static PyObject *
get_report(PyObject *self, void *closure)
{
    (void)closure;
    static const char *const strategies[] = {"graph", "filtered graph", "exact"};
    const omen_query_report *report = &((struct hits *)self)->report;
    PyObject *matches = Py_NewRef(Py_None);
    if (report->matches != UINT64_MAX) {
        Py_DECREF(matches);
        matches = PyLong_FromUnsignedLongLong(report->matches);
    }
    return Py_BuildValue("{sKsKsKsssN}", "evaluations", (unsigned long long)report->evaluations,
                         "exact_distances", (unsigned long long)report->exact_distances, "tail",
                         (unsigned long long)report->tail, "strategy",
                         report->strategy < 3 ? strategies[report->strategy] : "other", "matches",
                         matches);
}

static PyGetSetDef hits_getset[] = {
    {"ids", get_ids, NULL, "Ids of the hits, nearest first: an int64 array, or an array of str.",
     NULL},
    {"distances", get_distances, NULL, "Their distances: a float32 array.", NULL},
    {"payloads", get_payloads, NULL,
     "Their payloads: a list of dict, None where there is none. Read from the index when first "
     "asked for.",
     NULL},
    {"warnings", get_warnings, NULL, "What the search had to do that it should not have to.", NULL},
    {"report", get_report, NULL,
     "How the search went: distances computed, strategy, matching rows.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot hits_slots[] = {
    {Py_tp_dealloc, (void *)hits_dealloc},
    {Py_tp_traverse, (void *)hits_traverse},
    {Py_tp_clear, (void *)hits_clear},
    {Py_tp_repr, (void *)hits_repr},
    {Py_tp_iter, (void *)hits_iter},
    {Py_sq_length, (void *)hits_length},
    {Py_sq_item, (void *)hits_item},
    {Py_tp_getset, hits_getset},
    {Py_tp_doc, "The answer to one query, nearest first: a sequence of (id, distance)."},
    {0, NULL},
};

PyType_Spec hits_spec = {
    .name = "omendb._core.Hits",
    .basicsize = sizeof(struct hits),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = hits_slots,
};
