// clients/python/src/index_upkeep.c -- fields, building, recall, statistics and other upkeep.
//
// Shape: shell.
#include <string.h>

#include "core.h"

// The end of a call that answers nothing.
static PyObject *
leave_with(struct index *self, omen_status status)
{
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    return status == OMEN_OK ? Py_NewRef(Py_None) : NULL;
}

// Runs a call that takes only the index.
static PyObject *
run_plain(PyObject *object, omen_status (*call)(omen_index_t))
{
    struct index *self = (struct index *)object;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = call(handle);
    Py_END_ALLOW_THREADS
    return leave_with(self, status);
}

PyObject *
index_compact(PyObject *self, PyObject *unused)
{
    (void)unused;
    return run_plain(self, omen_compact);
}

PyObject *
index_verify(PyObject *self, PyObject *unused)
{
    (void)unused;
    return run_plain(self, omen_verify);
}

PyObject *
index_calibrate(PyObject *self, PyObject *unused)
{
    (void)unused;
    return run_plain(self, omen_calibrate);
}

PyObject *
index_copy(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"copy", {"path"}, 1, 1, {NULL}};
    PyObject *given[ARGS_MAX];
    PyObject *path = NULL;
    struct index *self = (struct index *)object;
    if (args_parse(&spec, args, count, names, given) < 0 ||
        PyUnicode_FSConverter(given[0], &path) == 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle == NULL) {
        Py_DECREF(path);
        return NULL;
    }
    const char *text = PyBytes_AsString(path);
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_copy(handle, text);
    Py_END_ALLOW_THREADS
    PyObject *done = leave_with(self, status);
    Py_DECREF(path);
    return done;
}

PyObject *
index_set_ef(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"set_ef", {"ef"}, 1, 1, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    uint32_t ef = 0;
    if (args_parse(&spec, args, count, names, given) < 0 || arg_u32(given[0], "ef", 1, &ef) < 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_set_ef(handle, ef);
    Py_END_ALLOW_THREADS
    return leave_with(self, status);
}

// ---- fields ----

static int
read_field_type(PyObject *argument, omen_field_type *out)
{
    static const char *const names[] = {"keyword", "integer", "float", "bool", "datetime", "uuid"};
    for (int i = 0; i < 6; i++) {
        if (PyUnicode_Check(argument) &&
            PyUnicode_CompareWithASCIIString(argument, names[i]) == 0) {
            *out = (omen_field_type)(i + 1);
            return 0;
        }
    }
    raise_error(OMEN_E_INVALID,
                "type is %R; it must be one of: keyword, integer, float, bool, datetime, uuid",
                argument);
    return -1;
}

// NULL, and an exception is set, where it is no name.
static const char *
read_field_name(PyObject *argument)
{
    Py_ssize_t bytes = 0;
    if (!PyUnicode_Check(argument)) {
        raise_error(OMEN_E_INVALID, "name is a %R; it must be a str", Py_TYPE(argument));
        return NULL;
    }
    const char *name = PyUnicode_AsUTF8AndSize(argument, &bytes);
    if (name != NULL && strlen(name) != (size_t)bytes) {
        raise_error(OMEN_E_INVALID, "name %R holds a NUL byte", argument);
        return NULL;
    }
    return name;
}

PyObject *
index_index_field(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"index_field", {"name", "type"}, 2, 2, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    omen_field_type type;
    if (args_parse(&spec, args, count, names, given) < 0 || read_field_type(given[1], &type) < 0)
        return NULL;
    const char *name = read_field_name(given[0]);
    omen_index_t handle = name != NULL ? index_enter(self) : NULL;
    if (handle == NULL)
        return NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_field_index(handle, name, type);
    Py_END_ALLOW_THREADS
    return leave_with(self, status);
}

PyObject *
index_drop_field(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {"drop_field", {"name"}, 1, 1, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    if (args_parse(&spec, args, count, names, given) < 0)
        return NULL;
    const char *name = read_field_name(given[0]);
    omen_index_t handle = name != NULL ? index_enter(self) : NULL;
    if (handle == NULL)
        return NULL;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_field_drop(handle, name);
    Py_END_ALLOW_THREADS
    return leave_with(self, status);
}

// ---- build ----

struct progress {
    PyObject *function; // NULL: only look whether Ctrl-C was pressed
    struct interrupt interrupt;
};

static int
report_progress(void *context, uint64_t linked, uint64_t total)
{
    struct progress *progress = context;
    if (interrupt_came(&progress->interrupt))
        return 1;
    if (progress->function == NULL)
        return 0;
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *answer = PyObject_CallFunction(progress->function, "KK", (unsigned long long)linked,
                                             (unsigned long long)total);
    if (answer == NULL)
        interrupt_keep(&progress->interrupt);
    const bool stop = answer == NULL || answer == Py_False;
    Py_XDECREF(answer);
    PyGILState_Release(state);
    return stop ? 1 : 0;
}

// Builds, where Ctrl-C is heard, and goes on with `then`, if there is any. False, and an exception is set: something went wrong.
static bool
build_then(struct index *self, omen_build_options *options, struct progress *progress,
           omen_status (*then)(omen_index_t))
{
    options->progress = report_progress;
    options->context = progress;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return false;
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_build(handle, options);
    if (status == OMEN_OK && then != NULL)
        status = then(handle);
    Py_END_ALLOW_THREADS
    interrupt_raise(&progress->interrupt, status);
    index_leave(self);
    return status == OMEN_OK && !progress->interrupt.came;
}

int
arg_backend(PyObject *argument, omen_backend *out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    if (!arg_given(argument))
        return 0;
    for (int i = 0; i < 3; i++) {
        if (PyUnicode_Check(argument) &&
            PyUnicode_CompareWithASCIIString(argument, names[i]) == 0) {
            *out = (omen_backend)i;
            return 0;
        }
    }
    raise_error(OMEN_E_INVALID, "backend is %R; it must be one of: auto, cpu, cuda", argument);
    return -1;
}

static PyObject *
build_stages(const omen_build_report *report)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < report->stage_count; i++) {
        const omen_build_stage *stage = &report->stages[i];
        PyObject *made = Py_BuildValue("{s:s,s:d,s:K,s:K}", "name", stage->name, "seconds",
                                       stage->seconds, "memory", (unsigned long long)stage->memory,
                                       "read", (unsigned long long)stage->read);
        if (made == NULL || PyList_Append(list, made) < 0)
            Py_CLEAR(list);
        Py_XDECREF(made);
    }
    return list;
}

static PyObject *
build_report(const omen_build_report *report)
{
    static const char *const names[] = {NULL, "cpu", "cuda"};
    PyObject *stages = build_stages(report);
    if (stages == NULL)
        return NULL;
    return Py_BuildValue("{s:z,s:K,s:d,s:z,s:z,s:K,s:N}", "backend", names[report->backend], "rows",
                         (unsigned long long)report->rows, "seconds", report->seconds, "device",
                         report->device[0] != '\0' ? report->device : NULL, "reason",
                         report->reason[0] != '\0' ? report->reason : NULL, "memory",
                         (unsigned long long)report->memory, "stages", stages);
}

PyObject *
index_build(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "build", {"backend", "progress", "max_memory", "again"}, 0, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    if (args_parse(&spec, args, count, names, given) < 0 ||
        arg_backend(given[0], &options.backend) < 0 ||
        arg_u64(given[2], "max_memory", &options.max_memory) < 0 ||
        arg_bool(given[3], &options.again) < 0)
        return NULL;
    omen_build_report report = {.struct_size = sizeof report};
    struct progress progress = {.function = arg_given(given[1]) ? given[1] : NULL};
    if (progress.function != NULL && !PyCallable_Check(progress.function)) {
        PyErr_Format(PyExc_TypeError, "progress must be a function of (linked, total), not %R",
                     Py_TYPE(progress.function));
        return NULL;
    }
    options.report = &report;
    return build_then(self, &options, &progress, NULL) ? build_report(&report) : NULL;
}

// Links first, where Ctrl-C is heard, and what is left for omen_flush is short.
PyObject *
index_flush(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct index *self = (struct index *)object;
    struct progress progress = {.function = NULL};
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.backend = OMEN_BACKEND_CPU; // as omen_flush
    return build_then(self, &options, &progress, omen_flush) ? Py_NewRef(Py_None) : NULL;
}

// ---- recall ----

PyObject *
index_recall(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static struct args_spec spec = {
        "recall", {"samples", "k", "ef", "target_recall"}, 0, 4, {NULL}};
    PyObject *given[ARGS_MAX];
    struct index *self = (struct index *)object;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_recall recall = {.struct_size = sizeof recall};
    uint32_t samples = 200;
    if (args_parse(&spec, args, count, names, given) < 0 ||
        arg_u32(given[0], "samples", 1, &samples) < 0 || arg_k(given[1], &options.k) < 0 ||
        arg_u32(given[2], "ef", 1, &options.ef) < 0 ||
        arg_double(given[3], "target_recall", &options.target_recall) < 0)
        return NULL;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    omen_status status;
    struct interrupt interrupt = {.came = false};
    options.stop = interrupt_came;
    options.context = &interrupt;
    Py_BEGIN_ALLOW_THREADS
    status = omen_measure_recall(handle, samples, &options, &recall);
    Py_END_ALLOW_THREADS
    interrupt_raise(&interrupt, status);
    index_leave(self);
    if (status != OMEN_OK || interrupt.came)
        return NULL;
    return PyObject_CallFunction(core.recall, "dddIId", recall.recall, recall.low, recall.high,
                                 (unsigned)recall.samples, (unsigned)recall.k, recall.evaluations);
}

// ---- statistics ----

static PyObject *
memory_dict(const omen_statistics *stats)
{
    return Py_BuildValue(
        "{sKsKsKsKsKsKsKsK}", "links", (unsigned long long)stats->bytes_links, "codes",
        (unsigned long long)stats->bytes_codes, "ids", (unsigned long long)stats->bytes_ids,
        "vectors", (unsigned long long)stats->bytes_vectors, "payloads",
        (unsigned long long)stats->bytes_payloads, "fields",
        (unsigned long long)stats->bytes_fields, "search", (unsigned long long)stats->bytes_search,
        "other", (unsigned long long)stats->bytes_other);
}

// A measured share, or None when it was never measured.
static PyObject *
measured(double value)
{
    return value < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(value);
}

static PyObject *
stats_dict(const struct index *self, const omen_statistics *stats)
{
    const bool flat = self->algorithm == OMEN_FLAT,
               quantized = self->quantization == OMEN_QUANTIZE_INT8;
    return Py_BuildValue(
        "{sKsKsKsKsIsIsIsIsI"
        "sssssssz"
        "ssss"
        "sNsdsdsKsdsNsd"
        "sKsKsK}",
        "count", (unsigned long long)stats->count, "rows", (unsigned long long)stats->rows,
        "deleted", (unsigned long long)stats->deleted, "tail", (unsigned long long)stats->tail,
        "dimension", (unsigned)stats->dimension, "m", (unsigned)stats->m, "ef_construction",
        (unsigned)stats->ef_construction, "ef_search", (unsigned)stats->ef_search, "threads",
        (unsigned)stats->threads, "metric", metric_name(self->metric), "dtype",
        dtype_name(self->dtype), "algorithm", flat ? "flat" : "hnsw+", "quantization",
        quantized ? "int8" : NULL, "code", stats->code == NULL ? "" : stats->code, "kernel",
        stats->kernel == NULL ? "" : stats->kernel, "memory", memory_dict(stats),
        "bytes_per_vector", stats->bytes_per_vector, "links_mean", stats->links_mean, "unreached",
        (unsigned long long)stats->unreached, "drift", stats->drift, "recall",
        measured(stats->recall), "open_seconds", stats->open_seconds, "searches",
        (unsigned long long)stats->searches, "evaluations", (unsigned long long)stats->evaluations,
        "rerank_misses", (unsigned long long)stats->rerank_misses);
}

PyObject *
index_stats(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct index *self = (struct index *)object;
    omen_index_t handle = index_enter(self);
    if (handle == NULL)
        return NULL;
    omen_statistics stats = {.struct_size = sizeof stats};
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_stats(handle, &stats);
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    index_leave(self);
    return status == OMEN_OK ? stats_dict(self, &stats) : NULL;
}
