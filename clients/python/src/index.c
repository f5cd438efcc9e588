// clients/python/src/index.c -- the life of an Index: opening, entering, closing.
//
// Shape: shell. omen_close must be the last call on its handle, but a thread may close an index
// while others search it. So every call enters and leaves; close() only marks the index, which
// refuses new calls, and whoever leaves last closes the handle. The counter needs no lock: it is
// touched with the GIL only.
#include <string.h>

#include "core.h"

omen_index_t
index_enter(struct index *self)
{
    if (self->handle == NULL || self->closing) {
        raise_error(OMEN_E_CLOSED, "index is closed");
        return NULL;
    }
    self->inside++;
    return self->handle;
}

static void
close_handle(struct index *self)
{
    omen_index_t handle = self->handle;
    self->handle = NULL;
    if (handle == NULL)
        return;
    Py_BEGIN_ALLOW_THREADS
    omen_close(handle);
    Py_END_ALLOW_THREADS
}

void
index_leave(struct index *self)
{
    self->inside--;
    if (self->closing && self->inside == 0)
        close_handle(self);
}

PyObject *
index_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct index *self = (struct index *)object;
    self->closing = true;
    if (self->inside == 0)
        close_handle(self);
    Py_RETURN_NONE;
}

PyObject *
index_enter_context(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct index *self = (struct index *)object;
    if (index_enter(self) == NULL)
        return NULL;
    index_leave(self);
    return Py_NewRef(object);
}

PyObject *
index_exit_context(PyObject *self, PyObject *args)
{
    (void)args;
    return index_close(self, NULL);
}

void
index_dealloc(PyObject *object)
{
    struct index *self = (struct index *)object;
    PyTypeObject *type = Py_TYPE(object);
    close_handle(self);
    Py_CLEAR(self->path);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

// ---- opening ----

struct choice {
    const char *name;
    int value;
};
static const struct choice metrics[] = {
    {"cosine", OMEN_COSINE}, {"l2", OMEN_L2}, {"ip", OMEN_IP}, {NULL, 0}};
static const struct choice dtypes[] = {{"f32", OMEN_F32}, {"f16", OMEN_F16}, {"bf16", OMEN_BF16},
                                       {"i8", OMEN_I8},   {"u8", OMEN_U8},   {NULL, 0}};
static const struct choice algorithms[] = {{"hnsw+", OMEN_HNSW}, {"flat", OMEN_FLAT}, {NULL, 0}};
static const struct choice quantizations[] = {{"int8", OMEN_QUANTIZE_INT8}, {NULL, 0}};
static const struct choice durabilities[] = {
    {"commit", OMEN_DURABLE_COMMIT}, {"interval", OMEN_DURABLE_INTERVAL}, {NULL, 0}};

static const char *
name_of(const struct choice *choices, int value)
{
    for (; choices->name != NULL; choices++)
        if (choices->value == value)
            return choices->name;
    return NULL;
}

const char *
metric_name(omen_metric metric)
{
    return name_of(metrics, (int)metric);
}

const char *
dtype_name(omen_dtype dtype)
{
    return name_of(dtypes, (int)dtype);
}

static int
choose(PyObject *argument, const char *name, const struct choice *choices, int *out)
{
    if (argument == NULL)
        return 0;
    if (PyUnicode_Check(argument)) {
        for (const struct choice *choice = choices; choice->name != NULL; choice++) {
            if (PyUnicode_CompareWithASCIIString(argument, choice->name) == 0) {
                *out = choice->value;
                return 0;
            }
        }
    }
    char known[64] = "";
    for (size_t at = 0; choices->name != NULL && at < sizeof known; choices++)
        at += (size_t)PyOS_snprintf(known + at, sizeof known - at, at == 0 ? "%s" : ", %s",
                                    choices->name);
    raise_error(OMEN_E_INVALID, "%s is %R; it must be one of: %s", name, argument, known);
    return -1;
}

// Every argument of Index(), in the order in which they may come without names.
enum {
    ARG_DIMENSION,
    ARG_ALGORITHM,
    ARG_METRIC,
    ARG_DTYPE,
    ARG_PATH,
    ARG_M,
    ARG_EF_CONSTRUCTION,
    ARG_EF_SEARCH,
    ARG_TARGET_RECALL,
    ARG_QUANTIZATION,
    ARG_READ_ONLY,
    ARG_THREADS,
    ARG_SEED,
    ARG_MAX_MEMORY,
    ARG_DURABILITY,
    ARG_INTERVAL_MS,
    ARG_SLOTS_MAX,
    ARG_COUNT
};
static const char *const argument_names[] = {
    "dimension",   "algorithm",       "metric",    "dtype",         "path",
    "m",           "ef_construction", "ef_search", "target_recall", "quantization",
    "read_only",   "threads",         "seed",      "max_memory",    "durability",
    "interval_ms", "slots_max",       NULL};

static int
read_choices(omen_options *options, PyObject *const *given)
{
    int metric = (int)options->metric, dtype = (int)options->dtype;
    int algorithm = (int)options->algorithm, quantization = (int)options->quantization;
    if (choose(given[ARG_ALGORITHM], "algorithm", algorithms, &algorithm) < 0 ||
        choose(given[ARG_METRIC], "metric", metrics, &metric) < 0 ||
        choose(given[ARG_DTYPE], "dtype", dtypes, &dtype) < 0)
        return -1;
    if (given[ARG_QUANTIZATION] == Py_None)
        quantization = OMEN_QUANTIZE_NONE;
    else if (choose(given[ARG_QUANTIZATION], "quantization", quantizations, &quantization) < 0)
        return -1;
    options->metric = (omen_metric)metric;
    options->dtype = (omen_dtype)dtype;
    options->algorithm = (omen_algorithm)algorithm;
    options->quantization = (omen_quantization)quantization;
    return 0;
}

static int
read_numbers(omen_options *options, PyObject *const *given)
{
    if (arg_u32(given[ARG_DIMENSION], "dimension", 1, &options->dimension) < 0 ||
        arg_u32(given[ARG_M], "m", 1, &options->m) < 0 ||
        arg_u32(given[ARG_EF_CONSTRUCTION], "ef_construction", 1, &options->ef_construction) < 0 ||
        arg_u32(given[ARG_EF_SEARCH], "ef_search", 1, &options->ef_search) < 0 ||
        arg_double(given[ARG_TARGET_RECALL], "target_recall", &options->target_recall) < 0 ||
        arg_bool(given[ARG_READ_ONLY], &options->read_only) < 0 ||
        arg_u32(given[ARG_THREADS], "threads", 0, &options->threads) < 0 ||
        arg_u64(given[ARG_SEED], "seed", &options->seed) < 0 ||
        arg_u64(given[ARG_MAX_MEMORY], "max_memory", &options->max_memory) < 0 ||
        arg_u32(given[ARG_SLOTS_MAX], "slots_max", 1, &options->slots_max) < 0)
        return -1;
    return 0;
}

// Refused where it would mean nothing.
static int
read_durability(omen_options *options, PyObject *const *given)
{
    int durability = (int)options->durability;
    if (arg_given(given[ARG_DURABILITY]) &&
        choose(given[ARG_DURABILITY], "durability", durabilities, &durability) < 0)
        return -1;
    options->durability = (omen_durability)durability;
    if (arg_u32(given[ARG_INTERVAL_MS], "interval_ms", 1, &options->interval_ms) < 0)
        return -1;
    if (options->interval_ms != 0 && durability != OMEN_DURABLE_INTERVAL) {
        raise_error(OMEN_E_INVALID, "interval_ms is of durability='interval'");
        return -1;
    }
    if (arg_given(given[ARG_DURABILITY]) && !arg_given(given[ARG_PATH])) {
        raise_error(OMEN_E_INVALID, "durability is that of a path; this index is in memory");
        return -1;
    }
    return 0;
}

// The path as str in *text, which is NULL without one. Both are the caller's.
static int
read_path(PyObject *argument, PyObject **text)
{
    *text = NULL;
    if (!arg_given(argument))
        return 0;
    return PyUnicode_FSDecoder(argument, text) == 0 ? -1 : 0;
}

static int
collect(PyObject *args, PyObject *kwargs, PyObject **given)
{
    const Py_ssize_t count = PyTuple_Size(args);
    if (count > ARG_COUNT) {
        PyErr_Format(PyExc_TypeError, "Index() takes at most %d arguments (%zd given)", ARG_COUNT,
                     count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        given[i] = PyTuple_GetItem(args, i);
    Py_ssize_t position = 0;
    PyObject *name, *value;
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, &value)) {
        int i = 0;
        while (i < ARG_COUNT && PyUnicode_CompareWithASCIIString(name, argument_names[i]) != 0)
            i++;
        if (i == ARG_COUNT || given[i] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         i == ARG_COUNT ? "Index() got an unexpected keyword argument %R"
                                        : "Index() got multiple values for argument %R",
                         name);
            return -1;
        }
        given[i] = value;
    }
    if (!arg_given(given[ARG_DIMENSION]) && !arg_given(given[ARG_PATH])) {
        PyErr_SetString(PyExc_TypeError, "Index() missing required argument 'dimension'");
        return -1;
    }
    return 0;
}

static omen_status
open_without_gil(const omen_options *options, omen_index_t *handle)
{
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_open(options, handle);
    Py_END_ALLOW_THREADS
    return status;
}

// What was asked for by name must be so; what was not is taken from the file.
static int
check_kept(PyObject *const *given, const omen_options *asked, const omen_options *is)
{
    const struct {
        int argument;
        const struct choice *choices;
        uint32_t asked, is;
    } kept[] = {
        {ARG_DIMENSION, NULL, asked->dimension, is->dimension},
        {ARG_METRIC, metrics, asked->metric, is->metric},
        {ARG_DTYPE, dtypes, asked->dtype, is->dtype},
        {ARG_ALGORITHM, algorithms, asked->algorithm, is->algorithm},
        {ARG_QUANTIZATION, quantizations, asked->quantization, is->quantization},
        {ARG_M, NULL, asked->m, is->m},
        {ARG_EF_CONSTRUCTION, NULL, asked->ef_construction, is->ef_construction},
        {ARG_SLOTS_MAX, NULL, asked->slots_max, is->slots_max},
    };
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const char *name = argument_names[kept[i].argument];
        if (given[kept[i].argument] == NULL || kept[i].asked == kept[i].is)
            continue;
        if (kept[i].choices == NULL) {
            raise_error(OMEN_E_INVALID, "%s is %R, but the file's is %u", name,
                        given[kept[i].argument], (unsigned)kept[i].is);
        } else {
            const char *is_name = name_of(kept[i].choices, (int)kept[i].is);
            raise_error(OMEN_E_INVALID, "%s is %R, but the file's is %s", name,
                        given[kept[i].argument], is_name != NULL ? is_name : "None");
        }
        return -1;
    }
    return 0;
}

// An index that is there is opened as it is; else one is made, if it is said of which dimension.
static omen_status
open_path(const omen_options *asked, omen_index_t *handle)
{
    omen_options options = *asked;
    options.dimension = 0;
    const omen_status status = open_without_gil(&options, handle);
    if (status != OMEN_E_NOT_FOUND || asked->dimension == 0 || asked->read_only != 0)
        return status;
    return open_without_gil(asked, handle);
}

static int
open_handle(struct index *self, PyObject *const *given, omen_options *options, PyObject *path)
{
    PyObject *encoded = NULL;
    if (path != NULL) {
        if (PyUnicode_FSConverter(path, &encoded) == 0)
            return -1;
        options->path = PyBytes_AsString(encoded);
    }
    omen_index_t handle = NULL;
    omen_options is = {.struct_size = sizeof is};
    omen_status status =
        path != NULL ? open_path(options, &handle) : open_without_gil(options, &handle);
    if (status == OMEN_OK)
        status = omen_options_of(handle, &is);
    if (status != OMEN_OK)
        raise_status(status);
    Py_XDECREF(encoded);
    if (status != OMEN_OK)
        return -1;
    self->handle = handle;
    if (check_kept(given, options, &is) < 0) {
        close_handle(self);
        return -1;
    }
    self->dimension = is.dimension;
    self->dtype = is.dtype;
    self->metric = is.metric;
    self->algorithm = is.algorithm;
    self->quantization = is.quantization;
    self->path = Py_XNewRef(path);
    return 0;
}

int
index_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct index *self = (struct index *)object;
    if (self->handle != NULL || self->closing) {
        PyErr_SetString(PyExc_TypeError, "this Index has been opened before");
        return -1;
    }
    PyObject *given[ARG_COUNT] = {NULL};
    PyObject *path = NULL;
    omen_options options = OMEN_OPTIONS_INIT;
    if (collect(args, kwargs, given) < 0 || read_choices(&options, given) < 0 ||
        read_numbers(&options, given) < 0 || read_durability(&options, given) < 0 ||
        read_path(given[ARG_PATH], &path) < 0)
        return -1;
    const int result = open_handle(self, given, &options, path);
    Py_XDECREF(path);
    return result;
}

// ---- what it is ----

Py_ssize_t
index_length(PyObject *object)
{
    struct index *self = (struct index *)object;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return -1;
    uint64_t count = 0;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_count(handle, NULL, &count);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    return status == OMEN_OK ? (Py_ssize_t)count : -1;
}

PyObject *
index_repr(PyObject *object)
{
    struct index *self = (struct index *)object;
    if (self->handle == NULL || self->closing)
        return PyUnicode_FromString("<omendb.Index, closed>");
    const Py_ssize_t count = index_length(object);
    if (count < 0)
        return NULL;
    return PyUnicode_FromFormat(
        "<omendb.Index of %zd vectors, dimension=%u, metric='%s', dtype='%s'>", count,
        (unsigned)self->dimension, metric_name(self->metric), dtype_name(self->dtype));
}

static PyObject *
get_dimension(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((struct index *)self)->dimension);
}

static PyObject *
get_metric(PyObject *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(metric_name(((struct index *)self)->metric));
}

static PyObject *
get_dtype(PyObject *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(dtype_name(((struct index *)self)->dtype));
}

static PyObject *
get_algorithm(PyObject *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(name_of(algorithms, (int)((struct index *)self)->algorithm));
}

static PyObject *
get_quantization(PyObject *self, void *closure)
{
    (void)closure;
    const char *name = name_of(quantizations, (int)((struct index *)self)->quantization);
    if (name == NULL)
        Py_RETURN_NONE;
    return PyUnicode_FromString(name);
}

static PyObject *
get_path(PyObject *self, void *closure)
{
    (void)closure;
    PyObject *path = ((struct index *)self)->path;
    return Py_NewRef(path == NULL ? Py_None : path);
}

static PyObject *
get_closed(PyObject *self, void *closure)
{
    (void)closure;
    const struct index *index = (struct index *)self;
    return PyBool_FromLong(index->handle == NULL || index->closing);
}

PyGetSetDef index_getset[] = {
    {"dimension", get_dimension, NULL, "Components of a vector.", NULL},
    {"ndim", get_dimension, NULL, "The dimension, as usearch calls it.", NULL},
    {"dim", get_dimension, NULL, "The dimension, as hnswlib calls it.", NULL},
    {"metric", get_metric, NULL, "'cosine', 'l2' or 'ip'.", NULL},
    {"space", get_metric, NULL, "The metric, as hnswlib calls it.", NULL},
    {"dtype", get_dtype, NULL, "How vectors are stored: 'f32', 'f16', 'bf16', 'i8' or 'u8'.", NULL},
    {"algorithm", get_algorithm, NULL, "'hnsw+' or 'flat'.", NULL},
    {"quantization", get_quantization, NULL, "'int8' or None.", NULL},
    {"path", get_path, NULL, "The directory, or None for an index in memory.", NULL},
    {"closed", get_closed, NULL, "Whether close() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
