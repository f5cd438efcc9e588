// shard/op.h -- the operations of a shard as bytes: what the log keeps, and what another copy would apply.
//
// Shape:   value. Little-endian, as docs/internals/storage.md has it.
// Memory:  encoding borrows ids' and vectors' memory until the parts were written; decoding borrows the entry.
//
// Operations speak of ids, never of slots, and hold all that applying them needs. Applied in the order of the log, they give
// the same rows in the same slots.
#ifndef OMEN_SHARD_OP_H
#define OMEN_SHARD_OP_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "shard/shard_int.h"

// Types of log entries: part of the format, never changed.
enum op_type {
    OP_WRITE = 1,    // rows added or replaced
    OP_PAYLOADS = 2, // payloads replaced
    OP_DELETE = 3,   // ids
    OP_FIELD = 4,    // a field index declared
};

// The rows of a write, of a change of payloads (no vectors) or of a delete (ids only).
struct op_rows {
    enum id_kind kind;
    size_t count;
    const uint64_t *ids;      // integers, or
    const char *const *texts; // NUL-terminated, 1..ID_TEXT_BYTES_MAX bytes
    const void *vectors;      // dense rows of row_bytes, or NULL
    size_t row_bytes;
    const void *const *payloads; // per row one or NULL; NULL: none at all
    const size_t *payload_bytes;
};

#define OP_PARTS_MAX 3u

// An entry's bytes, to be written one part behind the other.
struct op_parts {
    struct {
        const void *bytes;
        size_t count;
    } parts[OP_PARTS_MAX];
    uint32_t count;
    size_t bytes; // of all
    void *memory; // owned
};
OMEN_MUST_CHECK omen_status op_encode(const struct op_rows *rows, struct op_parts *out);
void op_parts_fini(struct op_parts *parts); // accepts zeros

// Reads what op_encode wrote. Every length is checked; OMEN_E_CORRUPT says what is wrong, OMEN_E_VERSION when a newer
// version wrote it. The arrays of `out` are in *memory (mem_free), what they point to is in `bytes`, which must be aligned to 8.
OMEN_MUST_CHECK omen_status op_decode(const void *bytes, size_t count, struct op_rows *out,
                                      void **memory, struct omen_error *error);

struct op_field {
    const char *name; // NUL-terminated
    int type;         // enum field_type
};
OMEN_MUST_CHECK omen_status op_encode_field(const struct op_field *field, struct op_parts *out);
OMEN_MUST_CHECK omen_status op_decode_field(const void *bytes, size_t count, struct op_field *out,
                                            struct omen_error *error);

#endif
