// clients/python/src/arrow.h -- Arrow's C data and stream interfaces, and what their two readers share.
//
// Shape: shell. The structs are the interfaces, letter by letter
// (https://arrow.apache.org/docs/format/CDataInterface.html, CStreamInterface.html); no library is
// needed.
#ifndef OMENDB_PYTHON_ARROW_H
#define OMENDB_PYTHON_ARROW_H
#include "core.h"

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

// Where the vectors of `array` lie, into everything of `raw` that describes memory. `rows_before`
// are those of earlier chunks; messages count from there. 1, or -1 with an exception.
int arrow_describe(struct raw *raw, const struct ArrowSchema *schema,
                   const struct ArrowArray *array, int64_t rows_before);
int raw_from_arrow_stream(struct raw *raw, PyObject *object); // as raw_from_arrow

#endif
