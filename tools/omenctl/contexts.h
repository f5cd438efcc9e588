// tools/omenctl/contexts.h -- clusters by name: where each is, and who asks.
//
// Shape: value. Texts are copied; a file is text of this form, which is YAML, and anything else is refused with its line:
//
//      current: 'prod'
//      contexts:
//        prod:
//          endpoints: 'db1:7700,db2:7700'
//          api_key_file: '/etc/omen-key'
//          api_key: 'name.secret'
//
// Values may stand without quotes; within them '' is one. Comments are lines of their own.
#ifndef OMEN_TOOLS_OMENCTL_CONTEXTS_H
#define OMEN_TOOLS_OMENCTL_CONTEXTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CONTEXTS_MAX 64u
#define CONTEXT_NAME_MAX 64u
#define CONTEXT_VALUE_MAX 1023u
#define CONTEXTS_BYTES_MAX ((size_t)512 << 10) // of a file

struct context {
    char name[CONTEXT_NAME_MAX + 1];
    char endpoints[CONTEXT_VALUE_MAX + 1]; // "": not said, as of the others
    char api_key[CONTEXT_VALUE_MAX + 1];
    char api_key_file[CONTEXT_VALUE_MAX + 1];
};

struct contexts {
    char current[CONTEXT_NAME_MAX + 1]; // "": none
    uint32_t count;
    struct context list[CONTEXTS_MAX];
};

// [A-Za-z0-9_-]{1,64}
bool context_name_valid(const char *name);
// Whether it can be a value: it is short enough and on one line.
bool context_value_valid(const char *value);

// OMEN_E_INVALID names the line.
OMEN_MUST_CHECK omen_status contexts_read(const char *text, size_t bytes, struct contexts *out,
                                          struct omen_error *error);
// How long the text is, which is in `out` where it has room for it and a NUL.
size_t contexts_write(const struct contexts *contexts, char *out, size_t room);

struct context *contexts_find(struct contexts *contexts, const char *name); // NULL: none
// The one of this name, empty where there was none. NULL: there are CONTEXTS_MAX others.
struct context *contexts_add(struct contexts *contexts, const char *name);
void contexts_remove(struct contexts *contexts, struct context *context);

#endif
