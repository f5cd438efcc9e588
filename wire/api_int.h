// wire/api_int.h -- how the tables of wire/api_*.c are written down.
//
// Shape: value.
#ifndef OMEN_WIRE_API_INT_H
#define OMEN_WIRE_API_INT_H
#include <stddef.h>

#include "base/limits.h"
#include "wire/api.h"

#define DEADLINE_MS_MAX 86400000u // a day
#define NUMBER_MAX (UINT64_MAX / 4)
#define MESSAGE_BYTES_MAX 1024u
#define LIST_MAX 1000000u // of answers; the frame is what limits them

// A row: the struct, its member and key, the kind, and what else there is.
#define ROW(type, member, kind_, ...)                                                              \
    {                                                                                              \
        .key = #member, .kind = (kind_), .at = offsetof(struct type, member), __VA_ARGS__          \
    }
#define MUST .flags = FIELD_REQUIRED
#define UP_TO(most_) .most = (most_)
#define WITHIN(least_, most_) .least = (least_), .most = (most_)
#define OF(shape_) .shape = &(shape_)
#define ONE_OF(words_) .words = (words_)

#define DEADLINE(type) ROW(type, deadline_ms, FIELD_U32, UP_TO(DEADLINE_MS_MAX))
#define OPERATION(type) ROW(type, op_id, FIELD_UUID), DEADLINE(type)
#define READ_ROWS(type)                                                                            \
    ROW(type, collection, FIELD_NAME, MUST), ROW(type, after, FIELD_TOKEN, UP_TO(LIST_MAX)),       \
        DEADLINE(type), ROW(type, consistency, FIELD_WORD, ONE_OF(api_consistencies))
#define WRITE_ROWS(type) ROW(type, collection, FIELD_NAME, MUST), OPERATION(type)
#define TOKEN_ROW(type) ROW(type, token, FIELD_TOKEN, UP_TO(LIST_MAX))

#define SHAPE(type)                                                                                \
    const struct shape type = {.name = #type,                                                      \
                               .fields = type##_rows,                                              \
                               .field_count = sizeof type##_rows / sizeof type##_rows[0],          \
                               .bytes = sizeof(struct type)};                                      \
    _Static_assert(sizeof(struct type) <= SHAPE_BYTES_MAX, "a struct that SHAPE_BYTES_MAX lacks")

extern const char *const api_consistencies[], *const api_warnings[], *const api_withs[],
                                                                         *const api_outcomes[];

#endif
