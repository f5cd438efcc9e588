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
    OP_WRITE = 1,      // rows added or replaced
    OP_PAYLOADS = 2,   // payloads replaced
    OP_DELETE = 3,     // ids
    OP_FIELD = 4,      // a field index declared
    OP_CHANGE = 5,     // rows changed where their conditions hold; only in the log of a host
    OP_FIELD_DROP = 6, // a field index is given up
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

// What an entry of a host's log begins with; the operation follows. (The log of a file has the type beside the bytes.)
struct op_begin {
    uint16_t type; // enum op_type
    uint16_t flags;
    uint32_t reserved; // 0, like the flags
};

// Part of the format.
enum op_mode {
    OP_MODE_UPSERT = 1,
    OP_MODE_INSERT = 2,   // points that are not there
    OP_MODE_UPDATE = 3,   // points that are
    OP_MODE_PAYLOADS = 4, // the whole payload of points that are there
    OP_MODE_PATCH = 5,    // some keys of it
    OP_MODE_DELETE = 6,   // what is not there is skipped
};

// Whether a row's condition holds is decided when it is applied, alike on every copy; the others are not changed by that.
struct op_change {
    enum op_mode mode;
    struct op_rows rows;
    const uint64_t *if_versions; // per row as in omen_batch; NULL: no conditions
    const void *set, *unset;     // PATCH: a msgpack map, and an array of texts; NULL: none
    size_t set_bytes, unset_bytes;
};
// The whole entry, with its op_begin, in memory of its own (mem_free).
OMEN_MUST_CHECK omen_status op_encode_change(const struct op_change *change, void **bytes,
                                             size_t *count);
// Of what follows the op_begin; as op_decode.
OMEN_MUST_CHECK omen_status op_decode_change(const void *bytes, size_t count, struct op_change *out,
                                             void **memory, struct omen_error *error);

struct op_field {
    const char *name; // NUL-terminated
    int type;         // enum field_type; 0 in an OP_FIELD_DROP
};
OMEN_MUST_CHECK omen_status op_encode_field(const struct op_field *field, struct op_parts *out);
OMEN_MUST_CHECK omen_status op_decode_field(const void *bytes, size_t count, struct op_field *out,
                                            struct omen_error *error);
OMEN_MUST_CHECK omen_status op_decode_field_drop(const void *bytes, size_t count,
                                                 struct op_field *out, struct omen_error *error);

#endif
