// base/field_path.c -- finds what a dotted field name means in a payload.
//
// Shape: value.
//
// One map is searched like this: of its keys that are the rest of the name, or a beginning of it
// that ends before a dot, the shortest is tried first; when the walk below it finds no key at
// all, the next longer one is tried. Each map of the payload is reached by one sequence of keys
// only, so a walk costs at most (dots in the name + 1) times the payload's bytes. It recurses as
// deep as the payload is nested, which msgpack_check_map has bounded.
#include "base/field_path.h"

#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

struct walk {
    field_visit_fn visit;
    void *context;
    bool stopped;
};

struct name {
    const char *bytes;
    size_t length;
};

static bool walk_map(struct walk *walk, struct msgpack_reader *reader, uint32_t count,
                     struct name name);
static bool walk_value(struct walk *walk, struct msgpack_reader *reader, struct name rest);
static bool walk_elements(struct walk *walk, struct msgpack_reader *reader, uint32_t count,
                          struct name rest);
static bool begins_name(const struct msgpack_value *key, struct name name);

bool
field_walk(const void *payload, size_t payload_bytes, const char *name, size_t name_bytes,
           field_visit_fn visit, void *context)
{
    struct walk walk = {.visit = visit, .context = context};
    const uint8_t *start = payload;
    struct msgpack_reader reader = {start, start == NULL ? start : start + payload_bytes};
    struct msgpack_value value;
    if (start != NULL && msgpack_next(&reader, &value) && value.kind == MSGPACK_MAP)
        (void)walk_map(&walk, &reader, value.count, (struct name){name, name_bytes});
    return walk.stopped;
}

bool
field_name_valid(const char *name, size_t name_bytes)
{
    if (name_bytes == 0 || name_bytes > FIELD_NAME_BYTES_MAX || !utf8_valid(name, name_bytes))
        return false;
    char before = '.';
    for (size_t i = 0; i < name_bytes; i++) {
        if (name[i] == '\0' || (name[i] == '.' && before == '.'))
            return false;
        before = name[i];
    }
    return before != '.';
}

// True when a key was found. `reader` stands at the map's first key and ends anywhere.
static bool
walk_map(struct walk *walk, struct msgpack_reader *reader, uint32_t count, struct name name)
{
    const struct msgpack_reader first = *reader;
    size_t tried = 0; // bytes of the longest key tried so far
    for (;;) {
        // The next longer key that fits. A key of no bytes never begins a name.
        struct msgpack_reader at = first;
        struct msgpack_reader best = first;
        size_t best_bytes = SIZE_MAX;
        for (uint32_t i = 0; i < count; i++) {
            struct msgpack_value key;
            if (!msgpack_next(&at, &key))
                return false;
            if (key.raw.length > tried && key.raw.length < best_bytes && begins_name(&key, name)) {
                best = at;
                best_bytes = key.raw.length;
                if (best_bytes == name.length && memchr(name.bytes, '.', name.length) == NULL)
                    break; // no other key can fit
            }
            if (!msgpack_skip(&at))
                return false;
        }
        if (best_bytes == SIZE_MAX)
            return false;
        tried = best_bytes;
        const size_t used = best_bytes < name.length ? best_bytes + 1 : best_bytes;
        const struct name rest = {name.bytes + used, name.length - used};
        if (walk_value(walk, &best, rest))
            return true;
    }
}

// `rest` empty: the value itself is meant. Moves `reader` past the value, unless the walk was
// stopped.
static bool
walk_value(struct walk *walk, struct msgpack_reader *reader, struct name rest)
{
    const struct msgpack_reader start = *reader;
    struct msgpack_value value;
    if (!msgpack_next(reader, &value))
        return false;
    if (value.kind == MSGPACK_ARRAY)
        return walk_elements(walk, reader, value.count, rest);

    bool found = false;
    if (rest.length == 0) {
        walk->stopped = walk->visit(walk->context, &value);
        found = true;
    } else if (value.kind == MSGPACK_MAP) {
        struct msgpack_reader inside = *reader;
        found = walk_map(walk, &inside, value.count, rest);
    }
    if (value.kind == MSGPACK_MAP && !walk->stopped) {
        *reader = start;
        (void)msgpack_skip(reader);
    }
    return found;
}

static bool
walk_elements(struct walk *walk, struct msgpack_reader *reader, uint32_t count, struct name rest)
{
    bool found = rest.length == 0; // an empty array, too, is what the name means
    for (uint32_t i = 0; i < count && !walk->stopped; i++)
        found = walk_value(walk, reader, rest) || found;
    return found;
}

static bool
begins_name(const struct msgpack_value *key, struct name name)
{
    const size_t length = key->raw.length;
    return length <= name.length && (length == name.length || name.bytes[length] == '.') &&
           memcmp(key->raw.bytes, name.bytes, length) == 0;
}
