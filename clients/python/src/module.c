// clients/python/src/module.c -- omendb._core: the types, their methods' docstrings, and what they
// need from Python.
//
// Shape: shell. Errors, filters and the small result types are written in Python; this module takes
// hold of them when it is imported, so that no call has to look them up.
#include "core.h"

struct core core;

// METH_FASTCALL functions have another type than PyCFunction; CPython casts them the same way.
#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef index_methods[] = {
    {"add", FAST(index_add),
     "add($self, /, vectors, ids=None, payloads=None, if_version=None)\n--\n\n"
     "Adds vectors and returns their ids.\n\n"
     "vectors: one vector or rows of them: numpy, anything with the buffer protocol, DLPack or "
     "Arrow\n"
     "    (FixedSizeList), read where it lies; or lists of numbers.\n"
     "ids: ints 0..2**63-1 or strs; without them the index numbers the rows on. An id that is "
     "there already\n"
     "    raises ExistsError.\n"
     "payloads: a dict or None for each vector.\n"
     "if_version: see upsert().\n\n"
     "All vectors of a call are added, or none. They are found by searches at once; linking them "
     "into the\n"
     "graph goes on in the background."},
    {"upsert", FAST(index_upsert),
     "upsert($self, /, vectors, ids=None, payloads=None, if_version=None)\n--\n\n"
     "Like add(), but replaces the vector and the payload of ids that are there already.\n\n"
     "if_version: the version that the point must have now (Point.version, as get() gave it), or "
     "0: it must not\n"
     "    be there; one for all rows, or one for each, with None for whatever it is. Else nothing "
     "is written and\n"
     "    ConflictError raised. Needs an index with a path."},
    {"set_payloads", FAST(index_set_payloads),
     "set_payloads($self, /, ids, payloads, if_version=None)\n--\n\n"
     "Replaces the payloads of points that are there; None removes one. An unknown id raises "
     "NotFoundError.\n"
     "if_version: see upsert()."},
    {"delete", FAST(index_delete),
     "delete($self, /, ids=None, filter=None)\n--\n\n"
     "Deletes points by ids or by a filter and returns how many there were. Unknown ids are "
     "skipped."},
    {"get", FAST(index_get),
     "get($self, /, id, with_vector=True, with_payload=True)\n--\n\n"
     "The Point of an id, or None; a list of them for a list of ids."},
    {"scroll", FAST(index_scroll),
     "scroll($self, /, filter=None, limit=100, cursor=None, with_vector=True, "
     "with_payload=True)\n--\n\n"
     "Points in the order of writing, `limit` at a time: (points, cursor). Give the cursor to the "
     "next call;\n"
     "it is None at the end."},
    {"count", FAST(index_count),
     "count($self, /, filter=None)\n--\n\nHow many points there are, or how many match a filter."},
    {"search", FAST(index_search),
     "search($self, /, q, k=10, filter=None, ef=None, target_recall=None, exact=False, "
     "threads=0, backend='auto')\n--\n\n"
     "The k nearest points.\n\n"
     "q: one vector gives Hits; rows of them give (ids, distances), two arrays of shape (n, k), "
     "filled with\n"
     "    -1 (None for text ids) and infinity where there are fewer, and are searched in "
     "parallel.\n"
     "filter: 'age >= 30 and city in [\"Oslo\"]', {'age': {'gte': 30}}, or F.age >= 30.\n"
     "ef: how far to look; target_recall: look as far as this recall needs; exact: look at "
     "everything.\n"
     "backend: 'cuda' has a GPU search rows of queries in a copy of the index.\n\n"
     "Distances: l2 is squared, ip is 1 - <q, x>, cosine is 1 - cos; smaller is nearer."},
    {"range_search", FAST(index_range_search),
     "range_search($self, /, q, radius, filter=None, ef=None, target_recall=None, "
     "exact=False)\n--\n\n"
     "Points within a distance, nearest first, at most 10,000: Hits, or a list of them for rows of "
     "queries."},
    {"index_field", FAST(index_index_field),
     "index_field($self, /, name, type)\n--\n\n"
     "Makes filters on a payload field fast. Dots in the name reach into nested dicts.\n\n"
     "type: 'keyword', 'integer', 'float', 'bool', 'datetime' or 'uuid'."},
    {"drop_field", FAST(index_drop_field),
     "drop_field($self, /, name)\n--\n\n"
     "Gives the index of a payload field up; its values may be of any type again. NotFoundError: "
     "it "
     "has none."},
    {"build", FAST(index_build),
     "build($self, /, backend='auto', progress=None, max_memory=None, again=False)\n--\n\n"
     "Waits until every vector is linked into the graph. progress(linked, total) is called now and "
     "then; when\n"
     "it raises or returns False the wait ends. backend: where many vectors have no links, 'auto' "
     "makes them on a\n"
     "GPU when there is one and there is enough to do, and else on the CPU; 'cuda' on a GPU, or "
     "UnsupportedError\n"
     "says what is missing. max_memory: bytes that this may take beside the index. again: links "
     "that are there are made anew, all at once.\n\n"
     "Returns a dict: backend ('cpu', 'cuda', or None when nothing was built at once), rows, "
     "seconds, device (the\n"
     "GPU), reason (why not a GPU, or why rows were linked one by one; else None), memory (bytes "
     "that "
     "were held beside\n"
     "the index at most), stages (a dict of each: name, seconds, memory, read). Ctrl-C ends the "
     "wait as well."},
    {"flush", index_flush, METH_NOARGS,
     "flush($self, /)\n--\n\nWaits until every vector is linked into the graph. With a path: and "
     "until all is in the file,\n"
     "so that the next opening has nothing to do."},
    {"compact", index_compact, METH_NOARGS,
     "compact($self, /)\n--\n\nRewrites the index without its deleted rows, and gives the space "
     "in its file back. Searches go\n"
     "on meanwhile."},
    {"copy", FAST(index_copy),
     "copy($self, /, path)\n--\n\nWrites a copy of the index to a new directory, also of one in "
     "memory. Reads and writes go on\n"
     "meanwhile. ExistsError: there is an index already."},
    {"verify", index_verify, METH_NOARGS,
     "verify($self, /)\n--\n\nChecks every invariant of the index and every checksum of its file; "
     "raises CorruptError on the\n"
     "first that fails."},
    {"recall", FAST(index_recall),
     "recall($self, /, samples=200, k=10, ef=None, target_recall=None)\n--\n\n"
     "Measures recall@k against exact search, with rows of the index as queries. A float with the "
     "attributes\n"
     "low and high (its 95 % interval), samples, k and evaluations (distances a query)."},
    {"calibrate", index_calibrate, METH_NOARGS,
     "calibrate($self, /)\n--\n\nLearns how far to look for each target_recall; done by itself "
     "when needed."},
    {"stats", index_stats, METH_NOARGS,
     "stats($self, /)\n--\n\nA dict of counts, settings, speed ('open_seconds': how long opening "
     "took) and memory ('memory' by\n"
     "part, 'bytes_per_vector')."},
    {"set_ef", FAST(index_set_ef),
     "set_ef($self, /, ef)\n--\n\nChanges the default ef of searches."},
    {"add_items", FAST(index_add_items),
     "add_items($self, /, data, ids=None, num_threads=-1, replace_deleted=False)\n--\n\n"
     "upsert() under hnswlib's name. The two last arguments are accepted and not needed."},
    {"knn_query", FAST(index_knn_query),
     "knn_query($self, /, data, k=1, num_threads=-1, filter=None)\n--\n\n"
     "search() under hnswlib's name: always two arrays, (labels, distances)."},
    {"knn_exact", FAST(index_knn_exact),
     "knn_exact($self, /, q, k=10, filter=None, threads=0, backend='auto')\n--\n\n"
     "The exact nearest, by comparing every point: (ids, distances), two arrays. With backend "
     "'auto' a GPU does it\n"
     "where there is one and the work is large enough; 'cuda' wants one, 'cpu' none."},
    {"close", index_close, METH_NOARGS,
     "close($self, /)\n--\n\nFrees the index, or closes its file. Calls that run in other threads "
     "end first; later ones raise\n"
     "ClosedError."},
    {"__enter__", index_enter_context, METH_NOARGS, "__enter__($self, /)\n--\n\n"},
    {"__exit__", index_exit_context, METH_VARARGS, "__exit__($self, /, *args)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot index_slots[] = {
    {Py_tp_doc,
     "Index(dimension=None, algorithm='hnsw+', metric='cosine', dtype='f32', path=None, m=16,\n"
     "      ef_construction=200, ef_search=64, target_recall=None, quantization='int8',\n"
     "      read_only=False, threads=0, seed=0, max_memory=None, durability=None,\n"
     "      interval_ms=None, slots_max=None)\n--\n\n"
     "Vectors that can be searched for nearest neighbours.\n\n"
     "dimension: components of a vector, 1..65536. Not needed when `path` has an index already.\n"
     "algorithm: 'hnsw+' (a graph), or 'flat' (exact search only).\n"
     "metric: 'cosine', 'l2' or 'ip'.\n"
     "dtype: how vectors are stored: 'f32', 'f16', 'bf16', 'i8' or 'u8'.\n"
     "path: a directory that makes the index durable, made when it is missing; None for memory. An "
     "index that\n"
     "    is there is opened as it was made; what is given here and differs raises "
     "InvalidError.\n"
     "m, ef_construction: links of a node and breadth of the search that finds them.\n"
     "ef_search, target_recall: how far searches look unless they say otherwise.\n"
     "quantization: 'int8' walks the graph on small codes; None on the vectors themselves.\n"
     "threads: workers that link new vectors; 0 is one per core, 1 is deterministic.\n"
     "max_memory: bytes; adding more raises NoMemoryError.\n"
     "read_only: one process writes a path (others get LockedError), any number read it, each "
     "complete and fresh.\n"
     "durability: of a path. 'commit' (the default): a write that returned is on disk. 'interval': "
     "it will be\n"
     "    within interval_ms (200), or after flush().\n"
     "slots_max: rows that it can ever hold, deleted ones that are not compacted included: 2**24-2 "
     "(16.7 million)\n"
     "    unless said otherwise, at most 2**31-2. Beyond 2**24-2 a row takes 32 bytes more.\n\n"
     "Safe to use from any number of threads; the GIL is released while the engine works."},
    {Py_tp_init, (void *)index_init},
    {Py_tp_dealloc, (void *)index_dealloc},
    {Py_tp_repr, (void *)index_repr},
    {Py_tp_methods, index_methods},
    {Py_tp_getset, index_getset},
    {Py_mp_length, (void *)index_length},
    {Py_sq_contains, (void *)index_contains},
    {0, NULL},
};

static PyType_Spec index_spec = {
    .name = "omendb._core.Index",
    .basicsize = sizeof(struct index),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = index_slots,
};

// ---- the module ----

// By -status; the first is never raised.
static const char *const error_names[STATUS_COUNT] = {
    "OmenError",       "NotFoundError",    "StaleMapError",    "BusyError",      "OmenTimeoutError",
    "CorruptError",    "NoMemoryError",    "InvalidError",     "DimensionError", "NotFiniteError",
    "ZeroVectorError", "DuplicateIdError", "ExistsError",      "IdRangeError",   "IdLengthError",
    "IdKindError",     "KError",           "DtypeError",       "FilterError",    "FieldTypeError",
    "PayloadError",    "FullError",        "UnsupportedError", "ReadOnlyError",  "ClosedError",
    "CancelledError",  "InternalError",    "DiskError",        "DiskFullError",  "VersionError",
    "LockedError",     "ConflictError",    "OpExpiredError",   "AuthError",      "MethodError"};

struct import {
    const char *module;
    const char *name;
    PyObject **into;
};

static int
take_imports(const struct import *imports)
{
    for (; imports->module != NULL; imports++) {
        PyObject *module = PyImport_ImportModule(imports->module);
        if (module == NULL)
            return -1;
        *imports->into = PyObject_GetAttrString(module, imports->name);
        Py_DECREF(module);
        if (*imports->into == NULL)
            return -1;
    }
    return 0;
}

static int
take_python_parts(void)
{
    const struct import imports[] = {
        {"omendb.errors", "LayoutError", &core.error_layout},
        {"omendb.errors", "ByteOrderError", &core.error_byte_order},
        {"omendb.errors", "IdTypeError", &core.error_id_type},
        {"omendb.errors", "OmenWarning", &core.warning},
        {"omendb.types", "Point", &core.point},
        {"omendb.types", "Recall", &core.recall},
        {"omendb.types", "Ext", &core.ext},
        {"omendb.types", "to_timestamp", &core.to_timestamp},
        {"omendb.types", "from_timestamp", &core.from_timestamp},
        {"omendb.filters", "to_text", &core.filter_text},
        {"omendb.filters", "Expression", &core.expression},
        {"datetime", "datetime", &core.datetime},
        {"uuid", "UUID", &core.uuid},
        {NULL, NULL, NULL},
    };
    if (take_imports(imports) < 0)
        return -1;
    for (int i = 0; i < STATUS_COUNT; i++) {
        const struct import one[] = {{"omendb.errors", error_names[i], &core.errors[i]},
                                     {NULL, NULL, NULL}};
        if (take_imports(one) < 0)
            return -1;
    }
    return 0;
}

static int
intern_names(void)
{
    const struct {
        const char *name;
        PyObject **into;
    } names[] = {
        {"__arrow_c_array__", &core.name_arrow},
        {"__arrow_c_stream__", &core.name_arrow_stream},
        {"__dlpack__", &core.name_dlpack},
        {"__float__", &core.name_float},
        {"dtype", &core.name_dtype},
        {"kind", &core.name_kind},
        {"tree", &core.name_tree},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *names[i].into = PyUnicode_InternFromString(names[i].name);
        if (*names[i].into == NULL)
            return -1;
    }
    return 0;
}

static int
add_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **into)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL)
        return -1;
    *into = (PyTypeObject *)type;
    return name == NULL ? 0 : PyModule_AddObjectRef(module, name, type);
}

static PyObject *
module_kernel(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = 1;
    options.algorithm = OMEN_FLAT;
    options.threads = 1;
    omen_index_t index = NULL;
    omen_statistics stats = {.struct_size = sizeof stats};
    omen_status status = omen_open(&options, &index);
    if (status == OMEN_OK)
        status = omen_stats(index, &stats);
    if (status != OMEN_OK)
        raise_status(status);
    PyObject *name = status == OMEN_OK ? PyUnicode_FromString(stats.kernel) : NULL;
    omen_close(index);
    return name;
}

static PyMethodDef module_methods[] = {
    {"pack", module_pack, METH_O,
     "pack(value, /)\n--\n\nThe value as msgpack, as payloads are stored."},
    {"unpack", module_unpack, METH_O, "unpack(data, /)\n--\n\nThe value of msgpack bytes."},
    {"kernel", module_kernel, METH_NOARGS,
     "kernel()\n--\n\nThe instruction set that distances are computed with on this machine."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "omendb._core",
    .m_doc = "The embedded engine; use it through the package omendb.",
    .m_size = -1, // one engine in a process, so no sub-interpreters
    .m_methods = module_methods,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    PyObject *module = PyModule_Create(&module_definition);
    if (module == NULL)
        return NULL;
    if (intern_names() < 0 || take_python_parts() < 0 ||
        add_type(module, "Index", &index_spec, &core.index_type) < 0 ||
        add_type(module, "Hits", &hits_spec, &core.hits_type) < 0 ||
        add_type(module, NULL, &block_spec, &core.block_type) < 0 ||
        PyModule_AddStringConstant(module, "__version__", omen_version()) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
