// node/config_file.c -- the YAML file of a configuration: each value goes to its option, each refusal says where. libyaml's home.
//
// Shape: shell.
//
// The file is walked event by event, so what is said to be wrong is what is wrong first in it, and the place is known: every event has a
// line, and the walk knows the key. A value is given on at once, in libyaml's memory, to what takes those of the command line too.
// A reader that fills structs by a schema (libcyaml) was here before: it says no key where a value has the wrong shape, and no lines
// of values that have the right one.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/text.h"
#include "node/config_int.h"

#define KEYS_NAME "api-keys"
// With the line and the longest key it is within what error_set never leaves out.
#define FILE_SHOWN_MAX 64u
#define KEY_SHOWN_MAX 40u

enum { LINES_COUNT = OPTION_COUNT + 1, KEYS_LINE = OPTION_COUNT };

struct walk {
    yaml_parser_t parser;
    yaml_event_t event; // that is looked at; its text lives until the next
    const struct config_text *text;
    struct config *config;
    struct omen_error *error;
    // Of what is read: "zone", "join[1]", "api-keys[0].role"; "": none yet.
    char key[2 * KEY_SHOWN_MAX];
    uint32_t line;               // of the event
    int item;                    // of api-keys, whose fields are read; -1: none
    uint32_t lines[LINES_COUNT]; // where an option is said; 0: not yet
};

static const char *const option_names[OPTION_COUNT] = {
#define NAME(id, name, kind, argument, help) [OPTION_##id] = name,
    CONFIG_OPTIONS(NAME)
#undef NAME
};

static const bool option_is_list[OPTION_COUNT] = {
#define IS_TEXT false
#define IS_FLAG false
#define IS_LIST true
#define KIND(id, name, kind, argument, help) [OPTION_##id] = IS_##kind,
    CONFIG_OPTIONS(KIND)
#undef KIND
};

static const char *const field_names[CONFIG_KEY_FIELDS] = {[CONFIG_KEY_NAME] = "name",
                                                           [CONFIG_KEY_ROLE] = "role",
                                                           [CONFIG_KEY_SHA256] = "sha256",
                                                           [CONFIG_KEY_RATE] = "rate"};

// `count`: none of them.
static uint32_t
find(const char *const *names, uint32_t count, const char *name)
{
    uint32_t i = 0;
    while (i < count && strcmp(names[i], name) != 0)
        i++;
    return i;
}

// ---- where ----

// The text's end, where it has no such line.
static const char *
line_begin(const struct config_text *text, uint32_t line)
{
    const char *at = text->bytes, *end = at + text->count;
    for (uint32_t i = 1; i < line && at < end; i++) {
        while (at < end && *at != '\n' && *at != '\r')
            at++;
        at += at == end ? 0 : strncmp(at, "\r\n", 2) == 0 ? 2 : 1;
    }
    return at;
}

// Marks at the text's end are a line behind it: what is missing there is missing in the last line that has something.
static uint32_t
line_with_text(const struct config_text *text, uint32_t line)
{
    const char *end = text->bytes + text->count;
    for (; line > 1; line--) {
        const char *at = line_begin(text, line);
        at += strspn(at, " \t");
        if (at < end && *at != '\n' && *at != '\r')
            break;
    }
    return line;
}

// "omend.yaml:3: join[1]: " before the sentence that there is, unless all is well. It stays one line, whatever it repeats of the file.
static omen_status
placed(struct walk *walk, omen_status status)
{
    if (status == OMEN_OK || status == OMEN_E_NO_MEMORY)
        return status;
    const char *file = walk->text->file;
    const size_t count = strlen(file);
    const char *shown = count > FILE_SHOWN_MAX ? file + count - (FILE_SHOWN_MAX - 3) : file;
    while (((unsigned char)*shown & 0xc0u) == 0x80u) // half a character
        shown++;
    (void)error_set(walk->error, status, "%s%s:%u: %s%s%s", shown == file ? "" : "...", shown,
                    line_with_text(walk->text, walk->line), walk->key,
                    walk->key[0] == '\0' ? "" : ": ", walk->error->text);
    for (char *at = walk->error->text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    return status;
}

#define REFUSE(walk, ...) placed(walk, error_set((walk)->error, OMEN_E_INVALID, __VA_ARGS__))

__attribute__((format(printf, 2, 3))) static void
name_key(struct walk *walk, const char *format, ...)
{
    struct text key;
    va_list arguments;
    text_init(&key, walk->key, sizeof walk->key);
    va_start(arguments, format);
    text_add_list(&key, format, arguments);
    va_end(arguments);
}

// ---- what is no YAML ----

static const struct problem {
    const char *theirs, *ours; // libyaml's words, and plainer ones
    bool begun;                // what is unfinished began elsewhere: there it is to be mended
} problems[] = {
    {"could not find expected ':'", "a ':' was expected behind the key", true},
    {"did not find expected ',' or ']'", "',' or ']' was expected: a list has no end", true},
    {"did not find expected ',' or '}'", "',' or '}' was expected: a '{' has no end", true},
    {"found unexpected end of stream", "a quote was expected, at the end of the text", true},
    {"found unexpected document indicator", "a quote was expected, at the end of the text", true},
    {"did not find expected key",
     "a key was expected, right below the one before it (a text with quotes or brackets in it is "
     "put into quotes)",
     false},
    {"did not find expected '-' indicator", "'-' was expected, right below the one before it",
     false},
    {"did not find expected <document start>", "one document was expected, and no more", false},
    {"mapping values are not allowed in this context",
     "one key in a line was expected, right below the one before it (a text with ': ' in it is put "
     "into quotes)",
     false},
    {"block sequence entries are not allowed in this context",
     "a list was expected to begin in a line of its own, with '-'", false},
    {"found a tab character that violates indentation", "blanks were expected, not a tab", false},
    {"found character that cannot start any token",
     "a text was expected (one that begins with '@', '`' or '%' is put into quotes; a tab is no "
     "blank)",
     false},
    {"did not find expected node content",
     "a text was expected (one with brackets, ',' or ':' in it is put into quotes)", false},
    {"found unknown escape character", "in double quotes '\\\\' was expected for a '\\'", false},
};

// How the line is called by who reads it: a key that stands in it, or what came before.
static void
name_line(struct walk *walk, uint32_t line)
{
    const char *at = line_begin(walk->text, line);
    char word[KEY_SHOWN_MAX];
    const bool inside = walk->item >= 0 && *at != '\0' && strchr(" \t-", *at) != NULL;
    at += strspn(at, " \t-\"'");
    const size_t count = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789-");
    (void)snprintf(word, sizeof word, "%.*s", (int)count, at);
    if (inside && find(field_names, CONFIG_KEY_FIELDS, word) < CONFIG_KEY_FIELDS)
        name_key(walk, KEYS_NAME "[%d].%s", walk->item, word);
    else if (find(option_names, OPTION_COUNT, word) < OPTION_COUNT || strcmp(word, KEYS_NAME) == 0)
        name_key(walk, "%s", word);
    else if (walk->line != line && walk->key[0] != '\0') {
        char before[sizeof walk->key];
        memcpy(before, walk->key, sizeof before);
        name_key(walk, "behind %s", before);
    }
    walk->line = line;
}

// Marks count from 0.
static omen_status
refuse_text(struct walk *walk)
{
    const yaml_parser_t *parser = &walk->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set_plain(walk->error, OMEN_E_NO_MEMORY);
    if (parser->error == YAML_READER_ERROR) { // ahead of all marks
        uint32_t line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < walk->text->count; i++)
            line += walk->text->bytes[i] == '\n';
        name_line(walk, line);
        return REFUSE(walk, "UTF-8 was expected: %s", parser->problem);
    }
    const struct problem *problem = problems;
    const struct problem *end = problems + sizeof problems / sizeof problems[0];
    while (problem < end && strcmp(problem->theirs, parser->problem) != 0)
        problem++;
    const bool begun = problem < end && problem->begun;
    const yaml_mark_t *mark = begun ? &parser->context_mark : &parser->problem_mark;
    name_line(walk, line_with_text(walk->text, 1 + (uint32_t)mark->line));
    return problem < end ? REFUSE(walk, "%s", problem->ours)
                         : REFUSE(walk, "YAML was expected: %s", parser->problem);
}

// ---- events ----

static omen_status
next(struct walk *walk)
{
    yaml_event_delete(&walk->event);
    if (yaml_parser_parse(&walk->parser, &walk->event) == 0)
        return refuse_text(walk);
    walk->line = 1 + (uint32_t)walk->event.start_mark.line;
    return OMEN_OK;
}

static const char *
shape_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
                   ? "a list (a text that begins with '[' is put into quotes)"
                   : "a list";
    case YAML_MAPPING_START_EVENT:
        return "keys with values";
    case YAML_ALIAS_EVENT:
        return "an alias (a text that begins with '*' is put into quotes)";
    default:
        return event->data.scalar.length == 0 ? "nothing" : "a text";
    }
}

// Borrowed until the next event.
static omen_status
text_here(struct walk *walk, const char **text)
{
    const yaml_event_t *event = &walk->event;
    if (event->type != YAML_SCALAR_EVENT)
        return REFUSE(walk, "a text was expected, not %s", shape_of(event));
    *text = (const char *)event->data.scalar.value;
    if (strlen(*text) != event->data.scalar.length)
        return REFUSE(walk, "a text without zeros was expected");
    return OMEN_OK;
}

// The same, of a key.
static omen_status
key_here(struct walk *walk, const char **name)
{
    if (walk->event.type != YAML_SCALAR_EVENT)
        return REFUSE(walk, "a key was expected, not %s", shape_of(&walk->event));
    return text_here(walk, name);
}

static omen_status
note_line(struct walk *walk, uint32_t *line)
{
    if (*line != 0)
        return REFUSE(walk, "was expected once, and is in line %u already", *line);
    *line = walk->line;
    return OMEN_OK;
}

// ---- API keys ----

static omen_status
take_field(struct walk *walk, uint32_t lines[CONFIG_KEY_FIELDS])
{
    const char *name = "", *text = "";
    omen_status status = key_here(walk, &name);
    if (status != OMEN_OK)
        return status;
    name_key(walk, KEYS_NAME "[%d].%.*s", walk->item, (int)KEY_SHOWN_MAX, name);
    const uint32_t field = find(field_names, CONFIG_KEY_FIELDS, name);
    if (field == CONFIG_KEY_FIELDS)
        return REFUSE(walk, "no such key: name, role, sha256 and perhaps rate were expected");
    status = note_line(walk, &lines[field]);
    if (status == OMEN_OK)
        status = next(walk);
    if (status == OMEN_OK)
        status = text_here(walk, &text);
    if (status != OMEN_OK)
        return status;
    struct config_key *keys = walk->config->keys;
    status = placed(
        walk, config_set_key(&keys[walk->item], (enum config_key_field)field, text, walk->error));
    for (int i = 0; status == OMEN_OK && field == CONFIG_KEY_NAME && i < walk->item; i++)
        if (map_name_compare(&keys[i].name, &keys[walk->item].name) == 0)
            status = REFUSE(walk, "\"%s\" is the name of " KEYS_NAME "[%d] already", text, i);
    return status;
}

static omen_status
take_key(struct walk *walk)
{
    uint32_t lines[CONFIG_KEY_FIELDS] = {0};
    const uint32_t begun = walk->line;
    if (walk->event.type != YAML_MAPPING_START_EVENT)
        return REFUSE(walk, "name, role and sha256 were expected, not %s", shape_of(&walk->event));
    omen_status status = next(walk);
    while (status == OMEN_OK && walk->event.type != YAML_MAPPING_END_EVENT) {
        status = take_field(walk, lines);
        if (status == OMEN_OK)
            status = next(walk);
    }
    for (uint32_t i = 0; status == OMEN_OK && i < CONFIG_KEY_NEEDED; i++)
        if (lines[i] == 0) {
            walk->line = begun;
            name_key(walk, KEYS_NAME "[%d].%s", walk->item, field_names[i]);
            status = REFUSE(walk, "is missing: name, role and sha256 were expected");
        }
    return status;
}

static omen_status
take_keys(struct walk *walk)
{
    struct config *config = walk->config;
    if (walk->event.type != YAML_SEQUENCE_START_EVENT)
        return REFUSE(walk, "a list was expected, not %s", shape_of(&walk->event));
    omen_status status = next(walk);
    while (status == OMEN_OK && walk->event.type != YAML_SEQUENCE_END_EVENT) {
        walk->item = (int)config->key_count;
        name_key(walk, KEYS_NAME "[%d]", walk->item);
        if (config->key_count == CONFIG_KEYS_MAX)
            return REFUSE(walk, "at most %u keys were expected", CONFIG_KEYS_MAX);
        status = take_key(walk);
        config->key_count++;
        if (status == OMEN_OK)
            status = next(walk);
    }
    walk->item = -1;
    return status;
}

// ---- options ----

static omen_status
take_text(struct walk *walk, enum config_option option, enum config_how how)
{
    const char *text = "";
    const omen_status status = text_here(walk, &text);
    if (status != OMEN_OK)
        return status;
    return placed(walk, config_set(walk->config, option, how, text, walk->error));
}

// None of it: as if the key were not there.
static omen_status
take_list(struct walk *walk, enum config_option option)
{
    omen_status status = next(walk);
    for (uint32_t i = 0; status == OMEN_OK && walk->event.type != YAML_SEQUENCE_END_EVENT; i++) {
        name_key(walk, "%s[%u]", option_names[option], i);
        status = take_text(walk, option, i == 0 ? CONFIG_REPLACES : CONFIG_ADDS);
        if (status == OMEN_OK)
            status = next(walk);
    }
    return status;
}

static omen_status
take_option(struct walk *walk)
{
    const char *name = "";
    omen_status status = key_here(walk, &name);
    if (status != OMEN_OK)
        return status;
    name_key(walk, "%.*s", (int)KEY_SHOWN_MAX, name);
    const uint32_t option = find(option_names, OPTION_COUNT, name);
    const bool is_keys = strcmp(name, KEYS_NAME) == 0;
    if (option == OPTION_COUNT && !is_keys)
        return REFUSE(walk, "no such key: an option of omend --help was expected, or " KEYS_NAME);
    status = note_line(walk, &walk->lines[is_keys ? KEYS_LINE : option]);
    if (status == OMEN_OK)
        status = next(walk);
    if (status != OMEN_OK)
        return status;
    if (is_keys)
        return take_keys(walk);
    if (option_is_list[option] && walk->event.type == YAML_SEQUENCE_START_EVENT)
        return take_list(walk, (enum config_option)option);
    return take_text(walk, (enum config_option)option, CONFIG_REPLACES);
}

// ---- the file ----

// An empty document, and one of comments, is a text without a letter, and has no keys.
static omen_status
take_document(struct walk *walk)
{
    const yaml_event_t *event = &walk->event;
    omen_status status = next(walk);
    if (status != OMEN_OK ||
        (event->type == YAML_SCALAR_EVENT && event->data.scalar.plain_implicit != 0 &&
         event->data.scalar.length == 0))
        return status;
    if (event->type != YAML_MAPPING_START_EVENT)
        return REFUSE(walk, "keys were expected (data: /var/lib/omendb), not %s", shape_of(event));
    status = next(walk);
    while (status == OMEN_OK && event->type != YAML_MAPPING_END_EVENT) {
        status = take_option(walk);
        if (status == OMEN_OK)
            status = next(walk);
    }
    return status;
}

static omen_status
take_stream(struct walk *walk)
{
    omen_status status = next(walk); // the stream's start
    if (status == OMEN_OK)
        status = next(walk);
    if (status != OMEN_OK || walk->event.type == YAML_STREAM_END_EVENT)
        return status;
    status = take_document(walk);
    if (status == OMEN_OK)
        status = next(walk); // the document's end
    if (status == OMEN_OK)
        status = next(walk);
    if (status == OMEN_OK && walk->event.type != YAML_STREAM_END_EVENT) {
        name_key(walk, "---");
        status = REFUSE(walk, "one document was expected, and no more");
    }
    return status;
}

omen_status
config_file_take(const struct config_text *text, struct config *config, struct omen_error *error)
{
    struct walk walk = {.text = text, .config = config, .error = error, .line = 1, .item = -1};
    if (yaml_parser_initialize(&walk.parser) == 0)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)text->bytes, text->count);
    const omen_status status = take_stream(&walk);
    yaml_event_delete(&walk.event);
    yaml_parser_delete(&walk.parser);
    return status;
}

static omen_status
read_text(const char *path, char **out, size_t *count, struct omen_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return error_set(error, OMEN_E_INVALID, "%s: cannot be read: %s", path, strerror(errno));
    char *text = mem_alloc(CONFIG_FILE_BYTES_MAX + 1);
    if (text == NULL) {
        (void)fclose(file);
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    *count = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    const int failed = ferror(file) != 0 ? errno : 0;
    (void)fclose(file);
    if (failed == 0 && *count <= CONFIG_FILE_BYTES_MAX) {
        text[*count] = '\0';
        *out = text;
        return OMEN_OK;
    }
    mem_free(text);
    if (failed != 0)
        return error_set(error, OMEN_E_INVALID, "%s: cannot be read: %s", path, strerror(failed));
    return error_set(error, OMEN_E_INVALID, "%s: longer than %u bytes", path,
                     CONFIG_FILE_BYTES_MAX);
}

omen_status
config_file_read(const char *path, struct config *config, struct omen_error *error)
{
    char *bytes = NULL;
    size_t count = 0;
    omen_status status = read_text(path, &bytes, &count, error);
    if (status != OMEN_OK)
        return status;
    const struct config_text text = {path, bytes, count};
    status = config_file_take(&text, config, error);
    mem_free(bytes);
    return status;
}
