// tools/omenctl/inside.h -- what lies in the file of an index, read without making an index of it.
//
// Shape: value, filled from a journal; below the public interface, for who looks after files.
#ifndef OMEN_TOOLS_OMENCTL_INSIDE_H
#define OMEN_TOOLS_OMENCTL_INSIDE_H
#include "shard/journal.h"

#define INSIDE_ARRAYS 64u // numbers of arrays, as in base/image.h

struct inside_part {
    uint64_t values, bytes; // bytes with the heads of the values
};

struct inside {
    struct journal_format format;
    struct journal_options options;
    struct manifest manifest;
    struct kv_usage usage;
    struct inside_part arrays[INSIDE_ARRAYS];
    struct inside_part unused; // pieces of versions that no manifest names: to be erased
    struct inside_part log;
    uint64_t log_first_seq, log_last_seq; // first == last + 1: empty
};

// The name of an array for people; NULL for a number that means nothing.
const char *inside_array_name(uint32_t array);

// OMEN_E_NOT_FOUND, OMEN_E_INVALID for what is no index, OMEN_E_CORRUPT, OMEN_E_VERSION.
OMEN_MUST_CHECK omen_status inside_read(const char *path, struct inside *out,
                                        struct omen_error *error);

// Reads every byte and checks every checksum.
OMEN_MUST_CHECK omen_status inside_verify(const char *path, struct blocks_report *report,
                                          struct omen_error *error);

#endif
