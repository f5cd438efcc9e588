// tools/omenctl/npy.h -- the head of a NumPy file: what is in it, and where it begins.
//
// Shape: value. Reads foreign bytes and believes none of them.
#ifndef OMEN_TOOLS_OMENCTL_NPY_H
#define OMEN_TOOLS_OMENCTL_NPY_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define NPY_HEAD_BYTES_MAX 65536u // of a head that is taken; NumPy writes 128

struct npy {
    char kind;           // 'f', 'i', 'u'
    uint32_t item_bytes; // 1, 2, 4, 8
    uint32_t dimensions; // 1 or 2
    uint64_t shape[2];   // shape[1] is 1 for one dimension
    uint64_t first_byte; // where the data begins
    uint64_t data_bytes; // and how long it is
};

// `head` are the file's first bytes, NPY_HEAD_BYTES_MAX of them or all there are. Little-endian, C order, one or two
// dimensions; else OMEN_E_UNSUPPORTED. OMEN_E_INVALID for what is no npy file, or has not exactly the bytes that its
// head announces.
OMEN_MUST_CHECK omen_status npy_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes,
                                      struct npy *out, struct omen_error *error);

#endif
