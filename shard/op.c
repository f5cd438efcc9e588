// shard/op.c -- the operations of a shard as bytes.
//
// Shape: value.
//
//   rows:   head | ids: u64 each, or texts: length byte, bytes, NUL | vectors | payload lengths: u32 each | payloads
//   field:  u16 version | u16 type, 0 of one that is given up | u32 bytes of the name | name, NUL
// Every section begins at a multiple of 8.
#include "shard/op.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/field_value.h"

#define OP_VERSION 1u

enum { SECTION_VECTORS = 1, SECTION_PAYLOADS = 2, SECTIONS_KNOWN = 3 };

struct head {
    uint16_t version;
    uint8_t kind; // enum id_kind
    uint8_t reserved;
    uint32_t sections; // bits; those for named vectors, tenants and expiry are still free
    uint64_t count;
    uint64_t row_bytes;
    uint64_t text_bytes;    // of the section of texts, without its padding
    uint64_t payload_bytes; // of all payloads together
};

struct field_head {
    uint16_t version;
    uint16_t type;
    uint32_t name_bytes;
};

static size_t
padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static size_t
padding(size_t bytes)
{
    return padded(bytes) - bytes;
}

static void
measure(const struct op_rows *rows, struct head *head)
{
    *head = (struct head){
        .version = OP_VERSION,
        .kind = (uint8_t)rows->kind,
        .count = rows->count,
    };
    if (rows->vectors != NULL) {
        head->sections |= SECTION_VECTORS;
        head->row_bytes = rows->row_bytes;
    }
    if (rows->payloads != NULL)
        head->sections |= SECTION_PAYLOADS;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->kind == ID_KIND_TEXT)
            head->text_bytes += strlen(rows->texts[i]) + 2;
        if (rows->payloads != NULL && rows->payloads[i] != NULL)
            head->payload_bytes += rows->payload_bytes[i];
    }
}

static char *
put_ids(const struct op_rows *rows, char *at)
{
    if (rows->kind != ID_KIND_TEXT) {
        memcpy(at, rows->ids, rows->count * sizeof *rows->ids);
        return at + rows->count * sizeof *rows->ids;
    }
    for (size_t i = 0; i < rows->count; i++) {
        const size_t bytes = strlen(rows->texts[i]);
        *at++ = (char)(unsigned char)bytes;
        memcpy(at, rows->texts[i], bytes + 1);
        at += bytes + 1;
    }
    return at;
}

static char *
put_payloads(const struct op_rows *rows, char *at)
{
    for (size_t i = 0; i < rows->count; i++) {
        const uint32_t bytes = rows->payloads[i] != NULL ? (uint32_t)rows->payload_bytes[i] : 0;
        memcpy(at, &bytes, sizeof bytes);
        at += sizeof bytes;
    }
    at += padding(rows->count * sizeof(uint32_t));
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->payloads[i] == NULL)
            continue;
        memcpy(at, rows->payloads[i], rows->payload_bytes[i]);
        at += rows->payload_bytes[i];
    }
    return at;
}

static void
add_part(struct op_parts *parts, const void *bytes, size_t count)
{
    if (count == 0)
        return;
    parts->parts[parts->count].bytes = bytes;
    parts->parts[parts->count].count = count;
    parts->count++;
    parts->bytes += count;
}

omen_status
op_encode(const struct op_rows *rows, struct op_parts *out)
{
    struct head head;
    *out = (struct op_parts){0};
    measure(rows, &head);
    const size_t ids =
        rows->kind == ID_KIND_TEXT ? head.text_bytes : rows->count * sizeof *rows->ids;
    const size_t front = sizeof head + padded(ids);
    const size_t vectors = rows->vectors != NULL ? rows->count * rows->row_bytes : 0;
    size_t back = padding(vectors);
    if (rows->payloads != NULL)
        back += padded(rows->count * sizeof(uint32_t)) + head.payload_bytes;
    char *memory = mem_alloc_zero(1, front + back);
    if (memory == NULL)
        return OMEN_E_NO_MEMORY;
    out->memory = memory;
    memcpy(memory, &head, sizeof head);
    (void)put_ids(rows, memory + sizeof head);
    if (rows->payloads != NULL)
        (void)put_payloads(rows, memory + front + padding(vectors));
    add_part(out, memory, front);
    add_part(out, rows->vectors, vectors);
    add_part(out, memory + front, back);
    return OMEN_OK;
}

void
op_parts_fini(struct op_parts *parts)
{
    mem_free(parts->memory);
    *parts = (struct op_parts){0};
}

// What is left of an entry while it is read.
struct rest {
    const char *at;
    size_t count;
};

// The next `bytes`, of which the payloads have no padding behind them; NULL where there are fewer.
static const char *
take_exact(struct rest *rest, uint64_t bytes)
{
    if (bytes > rest->count)
        return NULL;
    const char *at = rest->at;
    rest->at += bytes;
    rest->count -= (size_t)bytes;
    return at;
}

// The same with their padding.
static const char *
take(struct rest *rest, uint64_t bytes)
{
    return bytes > rest->count ? NULL : take_exact(rest, padded((size_t)bytes));
}

static omen_status
bad(const char *what, struct omen_error *error)
{
    return error_set(error, OMEN_E_CORRUPT, "log entry: %s", what);
}

static omen_status
read_head(struct rest *rest, struct head *head, struct omen_error *error)
{
    if (rest->count < sizeof *head)
        return bad("shorter than its head", error);
    memcpy(head, take(rest, sizeof *head), sizeof *head);
    if (head->version > OP_VERSION || (head->sections & ~(uint32_t)SECTIONS_KNOWN) != 0)
        return error_set(error, OMEN_E_VERSION,
                         "log entry: version %u, sections %#x were written by a newer version",
                         head->version, head->sections);
    if (head->version == 0 || (head->kind != ID_KIND_INTEGER && head->kind != ID_KIND_TEXT))
        return bad("unknown kind of ids", error);
    // Each row has at least one byte of an entry, so no count beyond its bytes is believed.
    if (head->count > rest->count || head->count > SLOTS_MAX)
        return bad("more rows than bytes", error);
    return OMEN_OK;
}

static omen_status
read_texts(struct rest *rest, const struct head *head, const char **texts, struct omen_error *error)
{
    const char *at = take(rest, head->text_bytes);
    if (at == NULL)
        return bad("its texts end early", error);
    const char *end = at + head->text_bytes;
    for (uint64_t i = 0; i < head->count; i++) {
        const size_t bytes = at < end ? (unsigned char)*at : 0;
        if (bytes == 0 || (size_t)(end - at) < bytes + 2 || at[bytes + 1] != '\0' ||
            memchr(at + 1, '\0', bytes) != NULL)
            return bad("a text id is damaged", error);
        texts[i] = at + 1;
        at += bytes + 2;
    }
    return at == end ? OMEN_OK : bad("its texts end late", error);
}

static omen_status
read_payloads(struct rest *rest, const struct head *head, const void **payloads, size_t *bytes,
              struct omen_error *error)
{
    const char *lengths = take(rest, head->count * sizeof(uint32_t));
    const char *at = lengths != NULL ? take_exact(rest, head->payload_bytes) : NULL;
    if (at == NULL)
        return bad("its payloads end early", error);
    uint64_t left = head->payload_bytes;
    for (uint64_t i = 0; i < head->count; i++) {
        uint32_t length;
        memcpy(&length, lengths + i * sizeof length, sizeof length);
        if (length > left)
            return bad("a payload is longer than what is there", error);
        payloads[i] = length > 0 ? at : NULL;
        bytes[i] = length;
        at += length;
        left -= length;
    }
    return left == 0 ? OMEN_OK : bad("its payloads end late", error);
}

omen_status
op_decode(const void *bytes, size_t count, struct op_rows *out, void **memory,
          struct omen_error *error)
{
    struct rest rest = {.at = bytes, .count = count};
    struct head head = {0};
    *out = (struct op_rows){0};
    *memory = NULL;
    omen_status status = read_head(&rest, &head, error);
    if (status != OMEN_OK)
        return status;
    const size_t rows = (size_t)head.count;
    void *arrays = mem_alloc(rows * 3 * sizeof(void *) + 1);
    if (arrays == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const char **texts = arrays;
    const void **payloads = (const void **)arrays + rows;
    size_t *lengths = (size_t *)(void *)(payloads + rows);
    *out = (struct op_rows){.kind = (enum id_kind)head.kind, .count = rows};
    if (head.kind == ID_KIND_TEXT) {
        status = read_texts(&rest, &head, texts, error);
        out->texts = texts;
    } else {
        out->ids = (const uint64_t *)(const void *)take(&rest, head.count * sizeof(uint64_t));
        status = out->ids != NULL ? OMEN_OK : bad("its ids end early", error);
    }
    if (status == OMEN_OK && (head.sections & SECTION_VECTORS) != 0) {
        out->row_bytes = (size_t)head.row_bytes;
        out->vectors = head.row_bytes <= count ? take(&rest, head.count * head.row_bytes) : NULL;
        status = out->vectors != NULL ? OMEN_OK : bad("its vectors end early", error);
    }
    if (status == OMEN_OK && (head.sections & SECTION_PAYLOADS) != 0) {
        status = read_payloads(&rest, &head, payloads, lengths, error);
        out->payloads = payloads;
        out->payload_bytes = lengths;
    }
    if (status == OMEN_OK && rest.count != 0)
        status = bad("bytes are left at its end", error);
    if (status == OMEN_OK)
        *memory = arrays;
    else
        mem_free(arrays);
    return status;
}

omen_status
op_encode_field(const struct op_field *field, struct op_parts *out)
{
    const size_t name = strlen(field->name);
    const struct field_head head = {
        .version = OP_VERSION, .type = (uint16_t)field->type, .name_bytes = (uint32_t)name};
    *out = (struct op_parts){0};
    char *memory = mem_alloc(sizeof head + name + 1);
    if (memory == NULL)
        return OMEN_E_NO_MEMORY;
    out->memory = memory;
    memcpy(memory, &head, sizeof head);
    memcpy(memory + sizeof head, field->name, name + 1);
    add_part(out, memory, sizeof head + name + 1);
    return OMEN_OK;
}

static omen_status
read_field(const void *bytes, size_t count, struct op_field *out, struct omen_error *error)
{
    struct field_head head;
    if (count < sizeof head)
        return bad("shorter than its head", error);
    memcpy(&head, bytes, sizeof head);
    if (head.version > OP_VERSION)
        return error_set(error, OMEN_E_VERSION, "log entry: version %u was written by a newer one",
                         head.version);
    const char *name = (const char *)bytes + sizeof head;
    if (head.version == 0 || count - sizeof head != (size_t)head.name_bytes + 1 ||
        name[head.name_bytes] != '\0' || strlen(name) != head.name_bytes)
        return bad("a damaged field", error);
    *out = (struct op_field){.name = name, .type = head.type};
    return OMEN_OK;
}

omen_status
op_decode_field(const void *bytes, size_t count, struct op_field *out, struct omen_error *error)
{
    const omen_status status = read_field(bytes, count, out, error);
    if (status == OMEN_OK && !field_type_valid(out->type))
        return bad("a field of no type", error);
    return status;
}

omen_status
op_decode_field_drop(const void *bytes, size_t count, struct op_field *out,
                     struct omen_error *error)
{
    const omen_status status = read_field(bytes, count, out, error);
    if (status == OMEN_OK && out->type != 0)
        return bad("a field that is given up has no type", error);
    return status;
}
