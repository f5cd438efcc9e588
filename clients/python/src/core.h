// clients/python/src/core.h -- what the files of the extension module share.
//
// Shape:   shell. Turns Python objects into the plain arguments of include/omendb.h and back;
// decides nothing. Threads: everything here runs with the GIL, except the stretches between
// Py_BEGIN_ALLOW_THREADS and
//          Py_END_ALLOW_THREADS, which hold every call into the engine and no Python object.
// Errors:  as in CPython: NULL or -1 with an exception set. Every error of the engine or about an
// argument is a
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

#define STATUS_COUNT 35  // statuses of omendb.h, OMEN_OK included
#define TEXT_ID_ROOM 256 // what omen_id_text may write
#define K_MAX 10000u // of omen_query_options; checked here too, before the answer's memory is taken

// Objects that live as long as the process; filled by PyInit__core.
struct core {
    PyObject *errors[STATUS_COUNT];        // by -status
    PyObject *error_layout;                // LayoutError: rows that do not lie as they must
    PyObject *error_byte_order;            // ByteOrderError
    PyObject *error_id_type;               // IdTypeError: neither an int nor a str
    PyObject *warning;                     // OmenWarning
    PyObject *point;                       // omendb.types.Point
    PyObject *recall;                      // omendb.types.Recall
    PyObject *ext;                         // omendb.types.Ext
    PyObject *to_timestamp;                // omendb.types.to_timestamp
    PyObject *from_timestamp;              // omendb.types.from_timestamp
    PyObject *filter_text;                 // omendb.filters.to_text
    PyObject *expression;                  // omendb.filters.Expression
    PyObject *datetime, *uuid;             // classes of the standard library
    PyObject *numpy_asarray, *numpy_empty; // NULL until the first array is made
    // Names of attributes, interned: looking one up as a C string would make a new object each
    // time, and CPython's cache of attributes would keep thousands of them.
    PyObject *name_arrow, *name_arrow_stream, *name_dlpack, *name_float, *name_dtype, *name_kind,
        *name_tree;
    PyTypeObject *index_type, *hits_type, *block_type;
};
extern struct core core;

// ---- status.c ----
void raise_status(
    omen_status status); // with the engine's own message; the call must be the thread's last
void raise_error(omen_status status, const char *format, ...); // PyErr_Format's formats

// ---- args.c: arguments of METH_FASTCALL | METH_KEYWORDS methods ----
#define ARGS_MAX 12
struct args_spec {
    const char *function;
    const char *names[ARGS_MAX + 1]; // NULL-terminated
    int required;                    // the first so many must be there
    int positional;                  // the first so many may come without a name
    PyObject *interned[ARGS_MAX];    // filled on first use
};
// out[i] is borrowed, NULL when not given.
int args_parse(struct args_spec *spec, PyObject *const *args, Py_ssize_t count, PyObject *names,
               PyObject **out);
bool arg_given(PyObject *argument); // neither NULL nor None
// Converters: leave *out alone when the argument is not given. `name` is for the message.
int arg_u32(PyObject *argument, const char *name, uint32_t least, uint32_t *out);
int arg_u64(PyObject *argument, const char *name, uint64_t *out);
int arg_double(PyObject *argument, const char *name, double *out);
int arg_k(PyObject *argument, uint32_t *out);
int arg_bool(PyObject *argument, int *out);

// ---- raw.c: numbers as another library laid them out ----
enum element {
    ELEMENT_NONE,
    ELEMENT_F32,
    ELEMENT_F64,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I8,
    ELEMENT_U8,
    ELEMENT_U16,
    ELEMENT_I16, // these the engine does not know
    ELEMENT_I32,
    ELEMENT_U32,
    ELEMENT_I64,
    ELEMENT_U64
};
struct raw {
    const char *data;
    int dims;              // 1 or 2
    Py_ssize_t shape[2];   // of one dim: shape[0]
    Py_ssize_t strides[2]; // in bytes
    enum element element;
    bool has_view;
    Py_buffer view;        // released by raw_close
    PyObject *keep;        // kept alive until raw_close
    PyObject *keep_schema; // Arrow has two: the schema, or what came out of a stream
};
size_t element_bytes(enum element element);
enum element element_of_integers(size_t bytes, bool has_sign);
// 1: filled; 0: the object offers no array, and no exception is set; -1: exception. raw_close after
// 1 only.
int raw_open(struct raw *raw, PyObject *object);
void raw_close(struct raw *raw);
const char *element_name(enum element element);
// One dense run of numbers as f32; `in` needs no alignment.
void widen_run(float *out, enum element from, const char *in, size_t count);
// The producers, each tried in its turn by raw_open; same answers.
int raw_from_arrow(struct raw *raw, PyObject *object);  // arrow.c
int raw_from_dlpack(struct raw *raw, PyObject *object); // dlpack.c

// ---- rows.c: vectors for the engine ----
enum rows_use { ROWS_STORE, ROWS_QUERY };
struct rows_want {
    uint32_t dimension;
    omen_dtype dtype; // of the index
    enum rows_use use;
};
struct rows {
    const void *data;
    size_t count;
    size_t stride; // bytes; 0: dense
    omen_dtype dtype;
    bool single;    // one vector was given, not a list of them
    char *copy;     // owned; NULL when the caller's own memory is used
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
    const uint64_t *keys; // integer ids
    const char **texts;   // text ids; the array is owned, the texts belong to `keep`
    bool single;
    uint64_t one;   // where `keys` points for a single id
    uint64_t *copy; // owned, or NULL
    bool has_view;
    Py_buffer view;
    PyObject *keep; // a list of our own
};
int ids_open(struct ids *ids, PyObject *object);
void ids_close(struct ids *ids);

// ---- msgpack.c ----
struct packer {
    unsigned char *data;
    size_t count, capacity; // bytes
};
int pack(struct packer *packer,
         PyObject *object); // appends; PayloadError for what msgpack or we cannot hold
void packer_close(struct packer *packer);
PyObject *unpack(const void *data, size_t bytes); // new reference
PyObject *module_pack(PyObject *module, PyObject *object);
PyObject *module_unpack(PyObject *module, PyObject *object);

// ---- payloads.c ----
struct payloads {
    const void **items; // NULL: no payloads at all
    size_t *bytes;
    struct packer packer;
};
int payloads_open(struct payloads *payloads, PyObject *object, size_t count, bool single);
void payloads_close(struct payloads *payloads);

// ---- conditions.c ----
struct conditions {
    uint64_t *versions; // one a row, owned; NULL: there are none
};
int conditions_open(struct conditions *conditions, PyObject *object, size_t count);
void conditions_close(struct conditions *conditions);

// ---- interrupt.c ----
struct interrupt {
    bool came; // an exception is waiting in the others
    PyObject *type, *value, *trace;
};
int interrupt_came(void *context);                // as omen_query_options.stop; without the GIL
void interrupt_keep(struct interrupt *interrupt); // the exception that is set; only the first
// What came, or else what the status says, is raised.
void interrupt_raise(struct interrupt *interrupt, omen_status status);

// ---- filter.c ----
struct filter {
    const char *text;     // the string form, or
    struct packer packer; // the dict form as msgpack; both NULL: no filter
    PyObject *keep;       // what `text` belongs to
};
int filter_open(struct filter *filter, PyObject *object);      // either form
int filter_open_text(struct filter *filter, PyObject *object); // dicts are written as text
void filter_close(struct filter *filter);

// ---- index.c ----
struct index {
    PyObject_HEAD omen_index_t handle; // NULL: not opened yet, or closed
    Py_ssize_t inside;                 // calls that are in the engine
    bool closing;                      // the last call to leave closes the handle
    enum id_kind kind;
    uint32_t dimension;
    omen_dtype dtype;
    omen_metric metric;
    omen_algorithm algorithm;
    omen_quantization quantization;
    PyObject *path; // str or NULL
};
omen_index_t index_enter(struct index *self); // NULL with ClosedError set
void index_leave(struct index *self);
int index_init(PyObject *self, PyObject *args, PyObject *kwargs);
void index_dealloc(PyObject *self);
PyObject *index_close(PyObject *self, PyObject *unused);
PyObject *index_enter_context(PyObject *self, PyObject *unused);
PyObject *index_exit_context(PyObject *self, PyObject *args);
PyObject *index_repr(PyObject *self);
Py_ssize_t index_length(PyObject *self);
extern PyGetSetDef index_getset[];
const char *metric_name(omen_metric metric);
const char *dtype_name(omen_dtype dtype);

// Every method of Index has this type.
typedef PyObject *index_method(PyObject *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *names);
// ---- index_write.c ----
index_method index_add, index_upsert, index_set_payloads, index_delete, index_add_items;
// ---- index_read.c ----
index_method index_search, index_range_search, index_knn_query, index_knn_exact;
// ---- index_points.c ----
index_method index_get, index_scroll, index_count;
int index_contains(PyObject *self, PyObject *id);
// ---- index_upkeep.c ----
int arg_backend(PyObject *argument, omen_backend *out); // "auto", "cpu" or "cuda"; -1: raised
index_method index_index_field, index_drop_field, index_build, index_recall, index_copy,
    index_set_ef;
PyObject *index_flush(PyObject *self, PyObject *unused);
PyObject *index_compact(PyObject *self, PyObject *unused);
PyObject *index_verify(PyObject *self, PyObject *unused);
PyObject *index_calibrate(PyObject *self, PyObject *unused);
PyObject *index_stats(PyObject *self, PyObject *unused);

// ---- keys.c: the engine's integer keys as the ids that the user knows ----
// All need the index to be entered.
// Finds out whether the index holds texts, once there is a key to ask with.
void keys_resolve_kind(struct index *self, uint64_t key);
// IdKindError for ids of the kind that the index does not hold. To the engine an integer is a key
// also where ids are texts, and would find something.
int keys_check_kind(struct index *self, const struct ids *ids);
// Which kind of ids does the index hold? It may have been written by another process.
enum id_kind keys_kind(struct index *self);
// A list of `count` texts; None for UINT64_MAX.
PyObject *keys_to_texts(struct index *self, const uint64_t *keys, size_t count);
// The keys of the ids as omen_get wants them; unknown texts get KEY_NONE. The array is the caller's
// to free.
// The largest key there can be, and the last one that an index would hand out.
#define KEY_NONE INT64_MAX
uint64_t *keys_of_ids(struct index *self, const struct ids *ids);

// ---- hits.c ----
struct hits {
    PyObject_HEAD PyObject *index; // for payloads
    uint32_t count;
    uint64_t *keys; // one allocation with the distances behind; owned until `memory` is
    float *distances;
    PyObject *memory; // the block that owns it once there are arrays over it
    omen_query_report report;
    PyObject *texts;                           // list of the text ids; NULL for integer ids
    PyObject *ids, *distance_array, *payloads; // made when first asked for
};
struct hits *hits_new(PyObject *index, uint32_t capacity); // keys and distances uninitialised
PyObject *warnings_tuple(uint32_t warnings);               // OMEN_WARN_* as sentences
extern PyType_Spec hits_spec;

// ---- block.c: memory that numpy arrays are made over, without a copy ----
struct block_shape {
    char format; // of struct: 'q', 'f', ...
    int dims;
    Py_ssize_t shape[2];
};
struct block {
    PyObject_HEAD void *memory; // freed with the block, or NULL
    PyObject *owner;            // of the memory when it is not ours
    void *data;
    char format[2];
    Py_ssize_t item_bytes;
    int dims;
    Py_ssize_t shape[2], strides[2];
};
struct block *block_new(const struct block_shape *shape); // own uninitialised memory
struct block *block_take(void *memory); // owns what PyMem_Malloc gave, shows none of it
// An array over memory that lives as long as `owner`.
struct block *block_over(const void *data, PyObject *owner, const struct block_shape *shape);
PyObject *
block_array(struct block *block); // numpy.asarray; steals the reference; NULL passes through
// numpy array of objects, of `rows` x `columns`, or 1-D when columns is 0; steals the list.
PyObject *object_array(PyObject *list, Py_ssize_t rows, Py_ssize_t columns);
extern PyType_Spec block_spec;

#endif
