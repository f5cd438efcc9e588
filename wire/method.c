// wire/method.c -- the methods of the protocol: what each is asked with, what it answers, and who may call it.
//
// Shape: value.
//
// The names are few and short. They are looked for by length and bytes, one after the other: some 50 comparisons of a number.
#include "wire/method.h"

#include <string.h>

#include "base/assert.h"

static const struct method methods[METHODS_END] = {
#define METHOD_ROW(number_, name_, ask_, answer_, right_, check_)                                  \
    [METHOD_##number_] = {.name = (name_),                                                         \
                          .ask = &(ask_),                                                          \
                          .answer = &(answer_),                                                    \
                          .check = (check_),                                                       \
                          .number = METHOD_##number_,                                              \
                          .right = (right_)},
    METHOD_LIST(METHOD_ROW)
#undef METHOD_ROW
};

static const uint8_t name_bytes[METHODS_END] = {
#define METHOD_BYTES(number, name, ask, answer, right, check) sizeof(name) - 1,
    METHOD_LIST(METHOD_BYTES)
#undef METHOD_BYTES
};

const struct method *
method_find(struct wire_text name)
{
    for (uint32_t i = 0; i < METHODS_END; i++)
        if (name_bytes[i] == name.count && memcmp(methods[i].name, name.bytes, name.count) == 0)
            return &methods[i];
    return NULL;
}

const struct method *
method_at(enum method_number number)
{
    ASSERT(number < METHODS_END);
    return &methods[number];
}
