// shard/field_names.h -- which fields are indexed, as a copy for who asks.
//
// Shape: value.
#ifndef OMEN_SHARD_FIELD_NAMES_H
#define OMEN_SHARD_FIELD_NAMES_H
#include <stdint.h>

#include "base/limits.h"

struct field_names {
    uint32_t count;
    struct {
        uint8_t type; // as omen_field_type
        char name[FIELD_NAME_BYTES_MAX + 1];
    } list[FIELDS_MAX];
};

#endif
