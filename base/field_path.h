// base/field_path.h -- finds what a dotted field name means in a payload.
//
// Shape:   value. Allocates nothing.
// Threads: any.
//
// "a.b" means key "b" of the map under key "a". Where nothing is found that way, a key that
// itself contains the dot ("a.b") counts: nesting wins over literal dots, the shortest first key
// over longer ones. Arrays are transparent wherever they stand: "people.name" reaches the name of
// every element of people, and a value that is an array counts as each of its elements. So no
// visited value is an array; an empty array is as good as a missing field.
#ifndef OMEN_BASE_FIELD_PATH_H
#define OMEN_BASE_FIELD_PATH_H
#include <stdbool.h>
#include <stddef.h>

#include "base/msgpack.h"

// Looks at one value; true ends the walk.
typedef bool (*field_visit_fn)(void *context, const struct msgpack_value *value);

// Calls visit for each value of the field in `payload`, which msgpack_check_map has passed; 0
// bytes count as an empty map. Returns whether a visit ended the walk. What a visited map
// contains is not given.
bool field_walk(const void *payload, size_t payload_bytes, const char *name, size_t name_bytes,
                field_visit_fn visit, void *context);

// A field name is 1..FIELD_NAME_BYTES_MAX bytes of UTF-8 without NUL, and there is something on
// both sides of every dot.
bool field_name_valid(const char *name, size_t name_bytes);

#endif
