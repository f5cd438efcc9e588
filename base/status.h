// base/status.h -- every way a call can end, and what the caller does about it.
//
// Shape: value. The numbers travel on the wire and in the C ABI: append, never renumber, never reuse.
// The third column is the reaction, because that is the only reason to tell errors apart.
#ifndef OMEN_BASE_STATUS_H
#define OMEN_BASE_STATUS_H

#define OMEN_STATUS_LIST(X)                                                                        \
    X(OMEN_OK, 0, ACT_NONE, "ok")                                                                  \
    X(OMEN_E_NOT_FOUND, -1, ACT_REPORT, "no such id, field or collection")                         \
    X(OMEN_E_STALE_MAP, -2, ACT_REROUTE, "request was routed by an old cluster map")               \
    X(OMEN_E_BUSY, -3, ACT_RETRY, "queue full; nothing was done")                                  \
    X(OMEN_E_TIMEOUT, -4, ACT_ASK, "deadline passed; it may have happened")                        \
    X(OMEN_E_CORRUPT, -5, ACT_QUARANTINE, "stored bytes fail their checksum")                      \
    X(OMEN_E_NO_MEMORY, -6, ACT_REPORT, "memory limit reached; nothing was changed")               \
    X(OMEN_E_INVALID, -7, ACT_REPORT, "invalid argument")                                          \
    X(OMEN_E_DIMENSION, -8, ACT_REPORT, "vector has the wrong number of components")               \
    X(OMEN_E_NOT_FINITE, -9, ACT_REPORT, "vector has a NaN or infinite component")                 \
    X(OMEN_E_ZERO_VECTOR, -10, ACT_REPORT, "zero vector has no direction under cosine")            \
    X(OMEN_E_DUPLICATE_ID, -11, ACT_REPORT, "the same id twice in one batch")                      \
    X(OMEN_E_EXISTS, -12, ACT_REPORT, "id exists already")                                         \
    X(OMEN_E_ID_RANGE, -13, ACT_REPORT, "integer id outside 0..2^63-1")                            \
    X(OMEN_E_ID_LENGTH, -14, ACT_REPORT, "text id must be 1..255 bytes of UTF-8")                  \
    X(OMEN_E_ID_KIND, -15, ACT_REPORT, "index holds the other kind of id (integer or text)")       \
    X(OMEN_E_K, -16, ACT_REPORT, "k outside 1..10000")                                             \
    X(OMEN_E_DTYPE, -17, ACT_REPORT, "component type does not fit this index")                     \
    X(OMEN_E_FILTER, -18, ACT_REPORT, "filter cannot be parsed")                                   \
    X(OMEN_E_FIELD_TYPE, -19, ACT_REPORT, "value does not have the field's type")                  \
    X(OMEN_E_PAYLOAD, -20, ACT_REPORT, "payload is not a well-formed msgpack map within limits")   \
    X(OMEN_E_FULL, -21, ACT_REPORT, "no slot left; compact or split the shard")                    \
    X(OMEN_E_UNSUPPORTED, -22, ACT_REPORT, "not supported by this build or this kind of index")    \
    X(OMEN_E_READ_ONLY, -23, ACT_REPORT, "index was opened read-only")                             \
    X(OMEN_E_CLOSED, -24, ACT_REPORT, "index is closed")                                           \
    X(OMEN_E_CANCELLED, -25, ACT_REPORT, "cancelled by the caller; nothing was changed")           \
    X(OMEN_E_INTERNAL, -26, ACT_REPORT, "internal error; please report it")                        \
    X(OMEN_E_IO, -27, ACT_QUARANTINE, "the disk failed; writes are refused until it is reopened")  \
    X(OMEN_E_DISK_FULL, -28, ACT_REPORT, "no space left on the disk; nothing was changed")         \
    X(OMEN_E_VERSION, -29, ACT_REPORT, "written in a format that this version does not know")      \
    X(OMEN_E_LOCKED, -30, ACT_REPORT, "another process, or another handle, writes to it")          \
    X(OMEN_E_CONFLICT, -31, ACT_REPORT, "the point has another version than if_version says")      \
    X(OMEN_E_OP_EXPIRED, -32, ACT_REPORT, "op_id is too old to know whether it was done")          \
    X(OMEN_E_AUTH, -33, ACT_REPORT, "no key, an unknown one, or one that may not do this")         \
    X(OMEN_E_METHOD, -34, ACT_REPORT, "no such method")                                            \
    X(OMEN_E_QUOTA, -35, ACT_REPORT, "the collection is at its quota; nothing was changed")

enum omen_status_code {
#define OMEN_STATUS_ENUM(name, number, act, text) name = (number),
    OMEN_STATUS_LIST(OMEN_STATUS_ENUM)
#undef OMEN_STATUS_ENUM
};

// What a caller does about a status.
enum status_act { ACT_NONE, ACT_REPORT, ACT_RETRY, ACT_REROUTE, ACT_ASK, ACT_QUARANTINE };

typedef int omen_status; // 0 or one of the negatives above; never a bare -1, never errno

#define OMEN_MUST_CHECK __attribute__((warn_unused_result))

// Text for people, static storage. Any int is accepted; an unknown one answers "unknown status".
const char *status_text(omen_status status);

// The name without its OMEN_ or OMEN_E_ prefix ("NOT_FOUND"), as it goes over the wire; static storage.
const char *status_name(omen_status status);

enum status_act status_act(omen_status status);

#endif
