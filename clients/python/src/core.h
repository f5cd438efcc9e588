// clients/python/src/core.h -- what the files of the extension module share.
//
// Shape:   shell. Turns Python objects into the plain arguments of include/omendb.h and back; decides nothing.
// Threads: everything here runs with the GIL, except the stretches between Py_BEGIN_ALLOW_THREADS and
//          Py_END_ALLOW_THREADS, which hold every call into the engine and no Python object.
// Errors:  as in CPython: NULL or -1 with an exception set. Every error of the engine or about an argument is a
//          class of omendb.errors, chosen by its status.
// Build:   limited API of CPython 3.11, so one module serves every later version.
#ifndef OMENDB_PYTHON_CORE_H
#define OMENDB_PYTHON_CORE_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "omendb.h"

#define STATUS_COUNT 27  // statuses of omendb.h, OMEN_OK included
#define TEXT_ID_ROOM 256 // what omen_id_text may write
#define K_MAX 10000u     // of omen_query_options; checked here too, before the answer's memory is taken

// Objects that live as long as the process; filled by PyInit__core.
struct core {
    PyObject *errors[STATUS_COUNT];  // by -status
    PyObject *error_layout;          // LayoutError: rows that do not lie as they must
    PyObject *error_byte_order;      // ByteOrderError
    PyObject *warning;               // OmenWarning
    PyObject *point;                 // omendb.types.Point
    PyObject *recall;                // omendb.types.Recall
    PyObject *filter_text;           // omendb.filters.to_text
    PyObject *datetime, *date, *uuid;
    PyObject *numpy_asarray, *numpy_array;  // NULL until the first array is made
    PyTypeObject *index_type, *hits_type, *block_type;
};
extern struct core core;

// ---- status.c ----
void raise_status(omen_status status);  // with the engine's own message; the call must be the thread's last
void raise_error(omen_status status, const char *format, ...);  // PyErr_Format's formats

// ---- args.c: arguments of METH_FASTCALL | METH_KEYWORDS methods ----
#define ARGS_MAX 12
struct args_spec {
    const char *function;
    const char *names[ARGS_MAX + 1];  // NULL-terminated
    int required;                     // the first so many must be there
    int positional;                   // the first so many may come without a name
    PyObject *interned[ARGS_MAX];     // filled on first use
};
// out[i] is borrowed, NULL when not given.
int args_parse(struct args_spec *spec, PyObject *const *args, Py_ssize_t count, PyObject *names, PyObject **out);
bool arg_given(PyObject *argument);  // neither NULL nor None
// Converters: leave *out alone when the argument is not given. `name` is for the message.
int arg_u32(PyObject *argument, const char *name, uint32_t least, uint32_t *out);
int arg_u64(PyObject *argument, const char *name, uint64_t *out);
int arg_double(PyObject *argument, const char *name, double *out);
int arg_k(PyObject *argument, uint32_t *out);
int arg_bool(PyObject *argument, int *out);

// ---- raw.c: numbers as another library laid them out ----
enum element { ELEMENT_NONE, ELEMENT_F32, ELEMENT_F64, ELEMENT_F16, ELEMENT_BF16, ELEMENT_I8, ELEMENT_U8, ELEMENT_U16 };
struct raw {
    const char *data;
    int dims;               // 1 or 2
    Py_ssize_t shape[2];    // of one dim: shape[0]
    Py_ssize_t strides[2];  // in bytes
    enum element element;
    bool has_view;
    Py_buffer view;         // released by raw_close
    PyObject *keep;         // kept alive until raw_close
};
size_t element_bytes(enum element element);
// 1: filled; 0: the object offers no array, and no exception is set; -1: exception. raw_close after 1 only.
int raw_open(struct raw *raw, PyObject *object);
void raw_close(struct raw *raw);
// Converts one dense run of numbers; false where the pair is not one that we convert.
bool convert_run(omen_dtype to, void *out, enum element from, const char *in, size_t count, Py_ssize_t step);
// The producers, each tried in its turn by raw_open; same answers.
int raw_from_arrow(struct raw *raw, PyObject *object);   // arrow.c
int raw_from_dlpack(struct raw *raw, PyObject *object);  // dlpack.c

// ---- rows.c: vectors for the engine ----
enum rows_use { ROWS_STORE, ROWS_QUERY };
struct rows_want {
    uint32_t dimension;
    omen_dtype dtype;  // of the index
    enum rows_use use;
};
struct rows {
    const void *data;
    size_t count;
    size_t stride;  // bytes; 0: dense
    omen_dtype dtype;
    bool single;    // one vector was given, not a list of them
    void *copy;     // owned; NULL when the caller's own memory is used
    struct raw raw; // holds that memory
    bool has_raw;
};
int rows_open(struct rows *rows, PyObject *object, const struct rows_want *want);
void rows_close(struct rows *rows);

// ---- ids.c ----
enum id_kind { IDS_UNKNOWN, IDS_INTEGER, IDS_TEXT };
struct ids {
    enum id_kind kind;
    size_t count;
    const uint64_t *keys;  // integer ids
    const char **texts;    // text ids; the array is owned, the texts belong to `keep`
    bool single;
    uint64_t *copy;
    bool has_view;
    Py_buffer view;
    PyObject *keep;
};
int ids_open(struct ids *ids, PyObject *object);
void ids_close(struct ids *ids);

// ---- msgpack.c ----
struct packer {
    unsigned char *data;
    size_t count, capacity;  // bytes
};
int pack(struct packer *packer, PyObject *object);  // appends; PayloadError for what msgpack or we cannot hold
void packer_close(struct packer *packer);
PyObject *unpack(const void *data, size_t bytes);  // new reference
PyObject *module_pack(PyObject *module, PyObject *object);
PyObject *module_unpack(PyObject *module, PyObject *object);

// ---- payloads.c ----
struct payloads {
    const void **items;  // NULL: no payloads at all
    size_t *bytes;
    struct packer packer;
};
int payloads_open(struct payloads *payloads, PyObject *object, size_t count, bool single);
void payloads_close(struct payloads *payloads);

// ---- filter.c ----
struct filter {
    const char *text;  // the string form, or
    void *map;         // the dict form as msgpack; both NULL: no filter
    size_t map_bytes;
    PyObject *keep;
    struct packer packer;
};
int filter_open(struct filter *filter, PyObject *object);       // either form
int filter_open_text(struct filter *filter, PyObject *object);  // dicts are written as text
void filter_close(struct filter *filter);

// ---- index.c ----
struct index {
    PyObject_HEAD
    omen_index_t handle;  // NULL: not opened yet, or closed
    Py_ssize_t inside;    // calls that are in the engine
    bool closing;         // the last call to leave closes the handle
    enum id_kind kind;
    uint32_t dimension;
    omen_dtype dtype;
    omen_metric metric;
    omen_algorithm algorithm;
    omen_quantization quantization;
    PyObject *path;  // str or NULL
};
omen_index_t index_enter(struct index *self);  // NULL with ClosedError set
void index_leave(struct index *self);
int index_init(PyObject *self, PyObject *args, PyObject *kwargs);
void index_dealloc(PyObject *self);
PyObject *index_close(PyObject *self, PyObject *unused);
PyObject *index_exit(PyObject *self, PyObject *args);
PyObject *index_repr(PyObject *self);
Py_ssize_t index_length(PyObject *self);
extern PyGetSetDef index_getset[];
const char *metric_name(omen_metric metric);
const char *dtype_name(omen_dtype dtype);

// Every method of Index has this type.
typedef PyObject *index_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
// ---- index_write.c ----
index_method index_add, index_upsert, index_set_payloads, index_delete, index_add_items;
// ---- index_read.c ----
index_method index_search, index_range_search, index_knn_query;
// ---- index_points.c ----
index_method index_get, index_scroll, index_count;
int index_contains(PyObject *self, PyObject *id);
// ---- index_upkeep.c ----
index_method index_field_index, index_build, index_recall, index_copy, index_set_ef;
PyObject *index_flush(PyObject *self, PyObject *unused);
PyObject *index_compact(PyObject *self, PyObject *unused);
PyObject *index_verify(PyObject *self, PyObject *unused);
PyObject *index_calibrate(PyObject *self, PyObject *unused);
PyObject *index_stats(PyObject *self, PyObject *unused);

// ---- keys.c: the engine's integer keys as the ids that the user knows ----
// Finds out whether the index holds texts, once there is a key to ask with.
int keys_resolve_kind(struct index *self, uint64_t key);
// A list of `count` ids; UINT64_MAX becomes -1 or None.
PyObject *keys_to_list(struct index *self, const uint64_t *keys, size_t count);
// The keys of text ids; unknown texts get UINT64_MAX, which no point has.
int keys_of_texts(struct index *self, const struct ids *ids, uint64_t *keys);

// ---- hits.c ----
struct hits {
    PyObject_HEAD
    PyObject *index;       // for payloads and text ids
    uint32_t count;
    uint64_t *keys;        // owned, one allocation with the distances behind
    float *distances;
    omen_query_report report;
    PyObject *ids, *distance_array, *payloads;  // made when first asked for
};
struct hits *hits_new(PyObject *index, uint32_t capacity);  // keys and distances uninitialised
extern PyType_Spec hits_spec;

// ---- block.c: memory that numpy arrays are made over, without a copy ----
struct block {
    PyObject_HEAD
    void *memory;     // freed with the block, or NULL
    PyObject *owner;  // of the memory when it is not ours
    void *data;
    char format[2];
    Py_ssize_t item_bytes;
    int dims;
    Py_ssize_t shape[2], strides[2];
};
struct block_shape {
    char format;  // of struct: 'q', 'f', ...
    int dims;
    Py_ssize_t shape[2];
};
PyObject *block_new(const struct block_shape *shape);  // own uninitialised memory
// An array over memory that lives as long as `owner`.
PyObject *block_over(void *data, PyObject *owner, const struct block_shape *shape);
PyObject *block_array(PyObject *block);  // numpy.asarray; steals the reference
PyObject *object_array(PyObject *list, Py_ssize_t rows, Py_ssize_t columns);  // steals; rows < 0: 1-D
extern PyType_Spec block_spec;

#endif
