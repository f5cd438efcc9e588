// tools/omenctl/contexts.c -- clusters by name.
//
// Shape: value.
#include "tools/omenctl/contexts.h"

#include <string.h>

#define NAME_INDENT 2u
#define KEY_INDENT 4u

bool
context_name_valid(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const size_t count = strnlen(name, CONTEXT_NAME_MAX + 1);
    return count >= 1 && count <= CONTEXT_NAME_MAX && strspn(name, allowed) == count;
}

bool
context_value_valid(const char *value)
{
    const size_t count = strnlen(value, CONTEXT_VALUE_MAX + 1);
    if (count > CONTEXT_VALUE_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return false;
    return true;
}

struct context *
contexts_find(struct contexts *contexts, const char *name)
{
    for (uint32_t i = 0; i < contexts->count; i++)
        if (strcmp(contexts->list[i].name, name) == 0)
            return &contexts->list[i];
    return NULL;
}

struct context *
contexts_add(struct contexts *contexts, const char *name)
{
    struct context *context = contexts_find(contexts, name);
    if (context != NULL || contexts->count == CONTEXTS_MAX)
        return context;
    context = &contexts->list[contexts->count++];
    *context = (struct context){.name = ""};
    memcpy(context->name, name, strlen(name) + 1);
    return context;
}

void
contexts_remove(struct contexts *contexts, struct context *context)
{
    const size_t at = (size_t)(context - contexts->list);
    if (strcmp(contexts->current, context->name) == 0)
        contexts->current[0] = '\0';
    contexts->count--;
    memmove(context, context + 1, (contexts->count - at) * sizeof *context);
}

// ---- reading ----

// One line: so many blanks, then "key:" and perhaps a value.
struct line {
    size_t indent;
    char key[CONTEXT_NAME_MAX + 1];
    char value[CONTEXT_VALUE_MAX + 1];
};

// A value of a line's rest, which has no blanks around it. False: it is none.
static bool
read_value(const char *at, size_t count, char out[CONTEXT_VALUE_MAX + 1])
{
    const bool quoted = count > 0 && at[0] == '\'';
    bool closed = !quoted;
    size_t end = 0;
    if (!quoted && count > 0 && strchr("\"[]{}&*!|>%@`#", at[0]) != NULL)
        return false; // of YAML, but not of this form
    for (size_t i = quoted ? 1 : 0; i < count; i++) {
        if (quoted && at[i] == '\'' && i + 1 == count) {
            closed = true;
            break;
        }
        if (quoted && at[i] == '\'' && at[++i] != '\'')
            return false; // something follows the end
        if (end == CONTEXT_VALUE_MAX)
            return false;
        out[end++] = at[i];
    }
    out[end] = '\0';
    return closed && context_value_valid(out);
}

// True with an empty key: the line says nothing.
static bool
read_line(const char *text, size_t count, struct line *out)
{
    *out = (struct line){.indent = 0};
    while (count > 0 && (text[count - 1] == ' ' || text[count - 1] == '\r'))
        count--;
    while (out->indent < count && text[out->indent] == ' ')
        out->indent++;
    const char *at = text + out->indent;
    count -= out->indent;
    if (count == 0 || at[0] == '#')
        return true;
    const char *colon = memchr(at, ':', count);
    if (colon == NULL || colon == at || (size_t)(colon - at) > CONTEXT_NAME_MAX)
        return false;
    memcpy(out->key, at, (size_t)(colon - at));
    count -= (size_t)(colon - at) + 1;
    at = colon + 1;
    if (count > 0 && at[0] != ' ')
        return false;
    while (count > 0 && at[0] == ' ') {
        at++;
        count--;
    }
    return memchr(at, '\0', count) == NULL && read_value(at, count, out->value);
}

static char *
value_of(struct context *context, const char *key)
{
    return strcmp(key, "endpoints") == 0      ? context->endpoints
           : strcmp(key, "api_key") == 0      ? context->api_key
           : strcmp(key, "api_key_file") == 0 ? context->api_key_file
                                              : NULL;
}

struct reading {
    struct contexts *contexts;
    struct context *context; // whose keys follow
    bool listed;             // "contexts:" was there
};

// What is wrong with a line; NULL: nothing.
static const char *
take_line(struct reading *reading, const struct line *line)
{
    struct contexts *contexts = reading->contexts;
    if (line->indent == 0 && strcmp(line->key, "current") == 0) {
        if (line->value[0] != '\0' && !context_name_valid(line->value))
            return "a name is 1 to 64 of A-Z a-z 0-9 _ -";
        memcpy(contexts->current, line->value, strlen(line->value) + 1);
        return NULL;
    }
    if (line->indent == 0 && strcmp(line->key, "contexts") == 0 && line->value[0] == '\0') {
        reading->listed = true;
        return NULL;
    }
    if (line->indent == NAME_INDENT && reading->listed && line->value[0] == '\0') {
        if (!context_name_valid(line->key))
            return "a name is 1 to 64 of A-Z a-z 0-9 _ -";
        if (contexts_find(contexts, line->key) != NULL)
            return "this context was there before";
        reading->context = contexts_add(contexts, line->key);
        return reading->context == NULL ? "there are 64 contexts, which is the most" : NULL;
    }
    char *value = line->indent == KEY_INDENT && reading->context != NULL
                      ? value_of(reading->context, line->key)
                      : NULL;
    if (value == NULL)
        return "current, contexts, a name in it, or its endpoints, api_key, api_key_file is wanted";
    memcpy(value, line->value, strlen(line->value) + 1);
    return NULL;
}

omen_status
contexts_read(const char *text, size_t bytes, struct contexts *out, struct omen_error *error)
{
    struct reading reading = {.contexts = out};
    uint32_t number = 0;
    *out = (struct contexts){.count = 0};
    for (size_t at = 0; at < bytes;) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        const size_t end = newline != NULL ? (size_t)(newline - text) : bytes;
        struct line line;
        const char *wrong = "this is no 'key: value' of one line";
        number++;
        if (read_line(text + at, end - at, &line))
            wrong = line.key[0] != '\0' ? take_line(&reading, &line) : NULL;
        if (wrong != NULL)
            return error_set(error, OMEN_E_INVALID, "line %u: %s", number, wrong);
        at = end + 1;
    }
    if (out->current[0] != '\0' && contexts_find(out, out->current) == NULL)
        return error_set(error, OMEN_E_INVALID, "current is '%s', of which nothing is said",
                         out->current);
    return OMEN_OK;
}

// ---- writing ----

// What would not have found room is counted as well.
struct writing {
    char *out;
    size_t room, count;
};

static void
put(struct writing *writing, const char *text)
{
    for (; *text != '\0'; text++) {
        if (writing->count + 1 < writing->room)
            writing->out[writing->count] = *text;
        writing->count++;
    }
}

static void
put_value(struct writing *writing, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    put(writing, key);
    put(writing, ": '");
    for (; *value != '\0'; value++) {
        const char one[] = {*value, '\0'};
        put(writing, *value == '\'' ? "''" : one);
    }
    put(writing, "'\n");
}

size_t
contexts_write(const struct contexts *contexts, char *out, size_t room)
{
    struct writing writing = {.out = out, .room = room};
    put_value(&writing, "current", contexts->current);
    put(&writing, "contexts:\n");
    for (uint32_t i = 0; i < contexts->count; i++) {
        const struct context *context = &contexts->list[i];
        put(&writing, "  ");
        put(&writing, context->name);
        put(&writing, ":\n");
        put_value(&writing, "    endpoints", context->endpoints);
        put_value(&writing, "    api_key_file", context->api_key_file);
        put_value(&writing, "    api_key", context->api_key);
    }
    if (writing.count < room)
        out[writing.count] = '\0';
    return writing.count;
}
