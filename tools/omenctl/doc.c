// tools/omenctl/doc.c -- what a command has to say, as a tree.
//
// Shape: handle, in memory. Nodes and texts lie one behind the other in blocks that go together.
#include "tools/omenctl/doc.h"

#include <stdalign.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/msgpack.h"
#include "base/value.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct block {
    struct block *next;
    size_t used, capacity;
    alignas(16) char bytes[];
};

struct doc {
    struct block *blocks; // the newest first
    struct doc_node *root;
    bool failed;
};

static void *
doc_alloc(struct doc *doc, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct block *block = doc->blocks;
    if (block == NULL || block->capacity - block->used < bytes) {
        const size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = doc->failed ? NULL : mem_alloc(sizeof *block + capacity);
        if (block == NULL) {
            doc->failed = true;
            return NULL;
        }
        *block = (struct block){.next = doc->blocks, .capacity = capacity};
        doc->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += bytes;
    return memory;
}

static const char *
doc_copy(struct doc *doc, const char *bytes, size_t count)
{
    char *copy = doc_alloc(doc, count + 1);
    if (copy == NULL)
        return NULL;
    if (count > 0)
        memcpy(copy, bytes, count);
    copy[count] = '\0';
    return copy;
}

// A node of `kind` under `parent` with everything zero, or NULL.
static struct doc_node *
doc_node(struct doc *doc, struct doc_node *parent, const char *key, size_t key_bytes,
         enum doc_kind kind)
{
    struct doc_node *node = parent != NULL ? doc_alloc(doc, sizeof *node) : NULL;
    const char *name = node != NULL && key != NULL ? doc_copy(doc, key, key_bytes) : NULL;
    if (node == NULL || (key != NULL && name == NULL))
        return NULL;
    *node = (struct doc_node){.kind = kind, .key = name};
    if (parent->children.last != NULL)
        parent->children.last->next = node;
    else
        parent->children.first = node;
    parent->children.last = node;
    parent->children.count++;
    return node;
}

static struct doc_node *
doc_add(struct doc *doc, struct doc_node *parent, const char *key, enum doc_kind kind)
{
    return doc_node(doc, parent, key, key != NULL ? strlen(key) : 0, kind);
}

omen_status
doc_open(enum doc_kind root, struct doc **out)
{
    *out = NULL;
    struct doc *doc = mem_alloc_zero(1, sizeof *doc);
    if (doc == NULL)
        return OMEN_E_NO_MEMORY;
    doc->root = doc_alloc(doc, sizeof *doc->root);
    if (doc->root == NULL) {
        doc_close(doc);
        return OMEN_E_NO_MEMORY;
    }
    *doc->root = (struct doc_node){.kind = root};
    *out = doc;
    return OMEN_OK;
}

void
doc_close(struct doc *doc)
{
    if (doc == NULL)
        return;
    for (struct block *block = doc->blocks; block != NULL;) {
        struct block *next = block->next;
        mem_free(block);
        block = next;
    }
    mem_free(doc);
}

struct doc_node *
doc_root(struct doc *doc)
{
    return doc->root;
}

const struct doc_node *
doc_tree(const struct doc *doc)
{
    return doc->failed ? NULL : doc->root;
}

struct doc_node *
doc_list(struct doc *doc, struct doc_node *parent, const char *key)
{
    return doc_add(doc, parent, key, DOC_LIST);
}

struct doc_node *
doc_map(struct doc *doc, struct doc_node *parent, const char *key)
{
    return doc_add(doc, parent, key, DOC_MAP);
}

void
doc_null(struct doc *doc, struct doc_node *parent, const char *key)
{
    (void)doc_add(doc, parent, key, DOC_NULL);
}

void
doc_bool(struct doc *doc, struct doc_node *parent, const char *key, bool value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_BOOL);
    if (node != NULL)
        node->boolean = value;
}

void
doc_int(struct doc *doc, struct doc_node *parent, const char *key, int64_t value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_INT);
    if (node != NULL)
        node->integer = value;
}

void
doc_uint(struct doc *doc, struct doc_node *parent, const char *key, uint64_t value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_UINT);
    if (node != NULL)
        node->unsigned_ = value;
}

void
doc_bytes(struct doc *doc, struct doc_node *parent, const char *key, uint64_t value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_BYTES);
    if (node != NULL)
        node->unsigned_ = value;
}

void
doc_time(struct doc *doc, struct doc_node *parent, const char *key, uint64_t ms)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_TIME);
    if (node != NULL)
        node->unsigned_ = ms;
}

void
doc_single(struct doc *doc, struct doc_node *parent, const char *key, float value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_SINGLE);
    if (node != NULL)
        node->number = (double)value;
}

void
doc_double(struct doc *doc, struct doc_node *parent, const char *key, double value)
{
    struct doc_node *node = doc_add(doc, parent, key, DOC_DOUBLE);
    if (node != NULL)
        node->number = value;
}

void
doc_text(struct doc *doc, struct doc_node *parent, const char *key, const char *text)
{
    doc_text_bytes(doc, parent, key, text, strlen(text));
}

// A text under a key that need not end in a NUL.
static void
doc_add_text(struct doc *doc, struct doc_node *parent, const char *key, size_t key_bytes,
             const char *bytes, size_t count)
{
    struct doc_node *node = doc_node(doc, parent, key, key_bytes, DOC_TEXT);
    const char *copy = node != NULL ? doc_copy(doc, bytes, count) : NULL;
    if (copy == NULL)
        return;
    node->text.bytes = copy;
    node->text.count = count;
}

void
doc_text_bytes(struct doc *doc, struct doc_node *parent, const char *key, const char *bytes,
               size_t count)
{
    doc_add_text(doc, parent, key, key != NULL ? strlen(key) : 0, bytes, count);
}

void
doc_retext(struct doc *doc, struct doc_node *node, const char *bytes, size_t count)
{
    const char *copy = doc_copy(doc, bytes, count);
    ASSERT(node->kind == DOC_TEXT);
    if (copy == NULL)
        return;
    node->text.bytes = copy;
    node->text.count = count;
}

// ---- msgpack ----

// Where the next object goes.
struct place {
    struct doc *doc;
    struct doc_node *parent;
    const char *key;
    size_t key_bytes;
};

static void
place_raw(const struct place *at, const struct msgpack_value *value)
{
    static const char digits[] = "0123456789abcdef";
    struct instant instant;
    char text[INSTANT_TEXT_BYTES];
    if (value->kind == MSGPACK_EXT &&
        msgpack_read_timestamp(value, &instant.seconds, &instant.nanoseconds) &&
        instant_print(instant, text)) {
        doc_add_text(at->doc, at->parent, at->key, at->key_bytes, text, strlen(text));
        return;
    }
    const size_t bytes = 4 + 2 * (size_t)value->raw.length;
    char *hex = mem_alloc(bytes);
    if (hex == NULL) {
        at->doc->failed = true;
        return;
    }
    memcpy(hex, "hex:", 4);
    for (uint32_t i = 0; i < value->raw.length; i++) {
        hex[4 + 2 * i] = digits[value->raw.bytes[i] >> 4];
        hex[5 + 2 * i] = digits[value->raw.bytes[i] & 15];
    }
    doc_add_text(at->doc, at->parent, at->key, at->key_bytes, hex, bytes);
    mem_free(hex);
}

// A value without children.
static void
place_scalar(const struct place *at, const struct msgpack_value *value)
{
    enum doc_kind kind = DOC_NULL;
    switch (value->kind) {
    case MSGPACK_STRING:
        doc_add_text(at->doc, at->parent, at->key, at->key_bytes, (const char *)value->raw.bytes,
                     value->raw.length);
        return;
    case MSGPACK_BINARY:
    case MSGPACK_EXT:
        place_raw(at, value);
        return;
    case MSGPACK_BOOL:
        kind = DOC_BOOL;
        break;
    case MSGPACK_INT:
        kind = DOC_INT;
        break;
    case MSGPACK_UINT:
        kind = DOC_UINT;
        break;
    case MSGPACK_FLOAT:
        kind = DOC_DOUBLE;
        break;
    default:
        break;
    }
    struct doc_node *node = doc_node(at->doc, at->parent, at->key, at->key_bytes, kind);
    if (node == NULL)
        return;
    if (kind == DOC_BOOL)
        node->boolean = value->boolean;
    else if (kind == DOC_INT)
        node->integer = value->integer;
    else if (kind == DOC_UINT)
        node->unsigned_ = value->unsigned_;
    else if (kind == DOC_DOUBLE)
        node->number = value->number;
}

// False when the bytes end early or nest too deep. The depth bounds the recursion.
static bool
place_object(const struct place *at, struct msgpack_reader *reader, uint32_t depth)
{
    struct msgpack_value value;
    if (depth > PAYLOAD_DEPTH_MAX || !msgpack_next(reader, &value))
        return false;
    const bool is_map = value.kind == MSGPACK_MAP;
    if (!is_map && value.kind != MSGPACK_ARRAY) {
        place_scalar(at, &value);
        return true;
    }
    struct doc_node *node =
        doc_node(at->doc, at->parent, at->key, at->key_bytes, is_map ? DOC_MAP : DOC_LIST);
    for (uint32_t i = 0; i < value.count; i++) {
        struct place inner = {.doc = at->doc, .parent = node};
        struct msgpack_value key;
        if (is_map) {
            if (!msgpack_next(reader, &key) || key.kind != MSGPACK_STRING)
                return false;
            inner.key = (const char *)key.raw.bytes;
            inner.key_bytes = key.raw.length;
        }
        if (!place_object(&inner, reader, depth + 1))
            return false;
    }
    return true;
}

void
doc_msgpack(struct doc *doc, struct doc_node *parent, const char *key, const void *bytes,
            size_t count)
{
    if (bytes == NULL) {
        doc_null(doc, parent, key);
        return;
    }
    struct msgpack_reader reader = {bytes, (const uint8_t *)bytes + count};
    const struct place at = {
        .doc = doc, .parent = parent, .key = key, .key_bytes = key != NULL ? strlen(key) : 0};
    if (!place_object(&at, &reader, 1))
        doc_text(doc, parent, key != NULL ? "damaged" : NULL, "this is not well-formed msgpack");
}
