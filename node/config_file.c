// node/config_file.c -- the YAML file of a configuration: which text stands for which option, and where. libcyaml's home.
//
// Shape: shell.
//
// libcyaml checks the shape (unknown keys, a list where a text belongs) and says the line; values are texts here, and are
// checked where those of the command line are. For those the line is looked up in the text: options stand at its left edge.
#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "node/config_int.h"

#define ITEM_BYTES_MAX 1024u

struct list {
    char **items;
    uint32_t count;
};

struct key {
    char *name, *role, *sha256;
};

struct whole {
    char *texts[OPTION_COUNT];
    struct list lists[OPTION_COUNT];
    struct key *keys;
    uint32_t key_count;
};

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, ITEM_BYTES_MAX)};

static const cyaml_schema_field_t key_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct key, name, 0, ITEM_BYTES_MAX),
    CYAML_FIELD_STRING_PTR("role", CYAML_FLAG_POINTER, struct key, role, 0, ITEM_BYTES_MAX),
    CYAML_FIELD_STRING_PTR("sha256", CYAML_FLAG_POINTER, struct key, sha256, 0, ITEM_BYTES_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t key_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct key, key_fields)};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define FIELD_TEXT(id, name)                                                                       \
    CYAML_FIELD_STRING_PTR(name, OPTIONAL, struct whole, texts[OPTION_##id], 0, ITEM_BYTES_MAX),
#define FIELD_FLAG(id, name) FIELD_TEXT(id, name)
#define FIELD_LIST(id, name)                                                                       \
    CYAML_FIELD_SEQUENCE_COUNT(name, OPTIONAL, struct whole, lists[OPTION_##id].items,             \
                               lists[OPTION_##id].count, &text_schema, 0, CONFIG_JOIN_MAX),
#define FIELD(id, name, kind, argument, help) FIELD_##kind(id, name)

static const cyaml_schema_field_t fields[] = {
    CONFIG_OPTIONS(FIELD) CYAML_FIELD_SEQUENCE_COUNT("api-keys", OPTIONAL, struct whole, keys,
                                                     key_count, &key_schema, 0, CONFIG_KEYS_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct whole, fields)};

// ---- what libcyaml has to say ----

struct complaint {
    char first[160]; // what is no backtrace
    uint32_t line;   // 0: not said
};

// "Load: Unexpected key: a", then "  in mapping (line: 1, column: 1)", the innermost first.
static void
complain(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct complaint *complaint = context;
    char line[256];
    (void)level;
    (void)vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    const char *where = strstr(line, "line: ");
    if (where != NULL) {
        if (complaint->line == 0)
            complaint->line = (uint32_t)strtoul(where + 6, NULL, 10);
        return;
    }
    if (strstr(line, "Backtrace") == NULL && complaint->first[0] == '\0') {
        const char *said = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
        (void)snprintf(complaint->first, sizeof complaint->first, "%.150s", said);
    }
}

static void *
memory(void *context, void *old, size_t bytes)
{
    (void)context;
    if (bytes > 0)
        return mem_resize(old, bytes);
    mem_free(old);
    return NULL;
}

// ---- lines ----

// Where a key stands; 0: nowhere.
static uint32_t
line_of(const char *text, const char *key)
{
    const size_t count = strlen(key);
    uint32_t line = 1;
    for (const char *at = text; *at != '\0'; line++) {
        const char *bare = at + (*at == '"' || *at == '\'');
        if (strncmp(bare, key, count) == 0 && strchr(":\"' ", bare[count]) != NULL)
            return line;
        const char *end = strchr(at, '\n');
        if (end == NULL)
            return 0;
        at = end + 1;
    }
    return 0;
}

static omen_status
read_text(const char *path, char **out, size_t *count, struct omen_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return error_set(error, OMEN_E_INVALID, "%s: cannot be read", path);
    char *text = mem_alloc(CONFIG_FILE_BYTES_MAX + 1);
    if (text == NULL) {
        (void)fclose(file);
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    *count = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    const bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (!failed && *count <= CONFIG_FILE_BYTES_MAX) {
        text[*count] = '\0';
        *out = text;
        return OMEN_OK;
    }
    mem_free(text);
    if (failed)
        return error_set(error, OMEN_E_INVALID, "%s: cannot be read", path);
    return error_set(error, OMEN_E_INVALID, "%s: longer than %u bytes", path,
                     CONFIG_FILE_BYTES_MAX);
}

// ---- from libcyaml's structs to ours ----

static char *
copy(const char *text)
{
    const size_t count = strlen(text) + 1;
    char *copied = mem_alloc(count);
    ASSERT(copied != NULL);
    memcpy(copied, text, count);
    return copied;
}

static char *
join_items(const struct list *list)
{
    size_t count = 1;
    for (uint32_t i = 0; i < list->count; i++)
        count += strlen(list->items[i]) + 1;
    char *joined = mem_alloc(count);
    ASSERT(joined != NULL);
    struct text text;
    text_init(&text, joined, count);
    for (uint32_t i = 0; i < list->count; i++)
        text_add(&text, i == 0 ? "%s" : ",%s", list->items[i]);
    return joined;
}

static void
take(const struct whole *whole, const char *text, struct config_file *out)
{
    static const char *const names[] = {
#define NAME(id, name, kind, argument, help) [OPTION_##id] = name,
        CONFIG_OPTIONS(NAME)
#undef NAME
    };
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        if (whole->texts[i] != NULL)
            out->texts[i] = copy(whole->texts[i]);
        else if (whole->lists[i].items != NULL)
            out->texts[i] = join_items(&whole->lists[i]);
        out->lines[i] = line_of(text, names[i]);
    }
    out->key_count = whole->key_count;
    out->keys_line = line_of(text, "api-keys");
    for (uint32_t i = 0; i < whole->key_count; i++) {
        const struct key *key = &whole->keys[i];
        out->keys[i] =
            (struct config_file_key){copy(key->name), copy(key->role), copy(key->sha256)};
    }
}

omen_status
config_file_read(const char *path, struct config_file *out, struct omen_error *error)
{
    *out = (struct config_file){0};
    struct complaint complaint = {0};
    const cyaml_config_t config = {.log_fn = complain,
                                   .log_ctx = &complaint,
                                   .mem_fn = memory,
                                   .log_level = CYAML_LOG_ERROR,
                                   .flags = CYAML_CFG_NO_ALIAS};
    char *text = NULL;
    size_t count = 0;
    const omen_status status = read_text(path, &text, &count, error);
    if (status != OMEN_OK)
        return status;
    cyaml_data_t *data = NULL;
    const cyaml_err_t failed =
        cyaml_load_data((const uint8_t *)text, count, &config, &schema, &data, NULL);
    if (failed == CYAML_OK)
        take((const struct whole *)data, text, out);
    (void)cyaml_free(&config, &schema, data, 0);
    if (failed == CYAML_OK) {
        mem_free(text);
        return OMEN_OK;
    }
    // It knows the line of what it read last, and not of a key that it does not know.
    static const char unexpected[] = "Unexpected key: ";
    if (strncmp(complaint.first, unexpected, sizeof unexpected - 1) == 0)
        complaint.line = line_of(text, complaint.first + sizeof unexpected - 1);
    mem_free(text);
    const char *said = complaint.first[0] != '\0' ? complaint.first : cyaml_strerror(failed);
    if (complaint.line == 0)
        return error_set(error, OMEN_E_INVALID, "%s: %s", path, said);
    return error_set(error, OMEN_E_INVALID, "%s:%u: %s", path, complaint.line, said);
}

void
config_file_fini(struct config_file *file)
{
    for (uint32_t i = 0; i < OPTION_COUNT; i++)
        mem_free(file->texts[i]);
    for (uint32_t i = 0; i < file->key_count; i++) {
        mem_free(file->keys[i].name);
        mem_free(file->keys[i].role);
        mem_free(file->keys[i].sha256);
    }
    *file = (struct config_file){0};
}
