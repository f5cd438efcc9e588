// tools/omenctl/doc.h -- what a command has to say, as a tree, printed as a table, JSON, YAML or NDJSON.
//
// Shape:  handle, in memory.
// Memory: texts and numbers are copied. When memory is short the document is marked, further additions are dropped,
//         and printing answers OMEN_E_NO_MEMORY: so nobody checks every addition.
#ifndef OMEN_TOOLS_OMENCTL_DOC_H
#define OMEN_TOOLS_OMENCTL_DOC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum doc_format { DOC_AS_TABLE, DOC_AS_JSON, DOC_AS_YAML, DOC_AS_NDJSON };

enum doc_kind {
    DOC_NULL,
    DOC_BOOL,
    DOC_INT,
    DOC_UINT,
    DOC_BYTES, // a count of bytes: tables show MiB
    DOC_TIME, // ms since 1970, under a key that ends in "_ms": tables show UTC, and leave that end out
    DOC_SINGLE, // an f32: the shortest text that reads back the same
    DOC_DOUBLE,
    DOC_TEXT,
    DOC_LIST,
    DOC_MAP
};

struct doc_node {
    enum doc_kind kind;
    const char *key; // NULL in a list and at the root
    struct doc_node *next;
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_;
        double number;
        struct {
            const char *bytes; // NUL-terminated, but may have NULs within
            size_t count;
        } text;
        struct {
            struct doc_node *first, *last;
            uint32_t count;
        } children;
    };
};

struct doc; // opaque

OMEN_MUST_CHECK omen_status doc_open(enum doc_kind root, struct doc **out); // DOC_LIST or DOC_MAP
void doc_close(struct doc *doc);                                            // accepts NULL
struct doc_node *doc_root(struct doc *doc);
const struct doc_node *doc_tree(const struct doc *doc); // NULL when memory was short

// Additions at the end of `parent`, a list (key NULL) or a map. A parent that is NULL is one that found no memory.
struct doc_node *doc_list(struct doc *doc, struct doc_node *parent, const char *key);
struct doc_node *doc_map(struct doc *doc, struct doc_node *parent, const char *key);
void doc_null(struct doc *doc, struct doc_node *parent, const char *key);
void doc_bool(struct doc *doc, struct doc_node *parent, const char *key, bool value);
void doc_int(struct doc *doc, struct doc_node *parent, const char *key, int64_t value);
void doc_uint(struct doc *doc, struct doc_node *parent, const char *key, uint64_t value);
void doc_bytes(struct doc *doc, struct doc_node *parent, const char *key, uint64_t value);
void doc_time(struct doc *doc, struct doc_node *parent, const char *key, uint64_t ms);
void doc_single(struct doc *doc, struct doc_node *parent, const char *key, float value);
void doc_double(struct doc *doc, struct doc_node *parent, const char *key, double value);
void doc_text(struct doc *doc, struct doc_node *parent, const char *key, const char *text);
void doc_text_bytes(struct doc *doc, struct doc_node *parent, const char *key, const char *bytes,
                    size_t count);
// Another text in the place of a DOC_TEXT's.
void doc_retext(struct doc *doc, struct doc_node *node, const char *bytes, size_t count);
// One msgpack object; NULL: null. Times become RFC 3339, binaries "hex:...". What is not msgpack becomes a text
// that says so: the bytes may come from a damaged file.
void doc_msgpack(struct doc *doc, struct doc_node *parent, const char *key, const void *bytes,
                 size_t count);

// OMEN_E_NO_MEMORY as said above; whether the stream took everything is the caller's to look.
OMEN_MUST_CHECK omen_status doc_print(const struct doc *doc, enum doc_format format, FILE *out);

#endif
