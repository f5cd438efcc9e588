// tools/omenctl/doc_print.c -- prints a document as JSON, NDJSON, YAML or a table.
//
// Shape: shell. Trees are as deep as a payload may nest and a little more, so recursion is bounded.
//
// Texts may come from anybody's payload: a terminal must never see a control character of theirs, so all formats
// escape them, and what is not UTF-8 is shown as U+FFFD.
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/value.h"
#include "tools/omenctl/doc.h"

#define CELL_BYTES 160u // of a value in a table; longer ones are cut
#define COLUMNS_MAX 32u
#define NUMBER_BYTES 40u

// ---- scalars ----

// The shortest decimal that reads back as the same number. JSON knows no NaN and no infinity: null.
static void
print_number(FILE *out, double number, bool is_single)
{
    char text[NUMBER_BYTES];
    if (!isfinite(number)) {
        fputs("null", out);
        return;
    }
    for (int digits = is_single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (is_single ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number)
            break;
    }
    fputs(text, out);
}

// With a backslash before each of `special`, which has the backslash itself.
static void
print_escaped(FILE *out, const char *bytes, size_t count, const char *special)
{
    while (count > 0) {
        const unsigned char first = (unsigned char)*bytes;
        size_t length = utf8_char_bytes((const unsigned char *)bytes, count);
        // C1 controls (U+0080..U+009F) are commands to some terminals.
        if (length == 2 && first == 0xc2 && (unsigned char)bytes[1] < 0xa0)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)bytes[1]);
        else if (length == 0)
            fputs("\xef\xbf\xbd", out);
        else if (first != '\0' && strchr(special, first) != NULL)
            fprintf(out, "\\%c", first);
        else if (first == '\n')
            fputs("\\n", out);
        else if (first == '\t')
            fputs("\\t", out);
        else if (first < 0x20 || first == 0x7f)
            fprintf(out, "\\u%04x", (unsigned)first);
        else
            fwrite(bytes, 1, length, out);
        length = length == 0 ? 1 : length;
        bytes += length;
        count -= length;
    }
}

static void
print_quoted(FILE *out, const char *bytes, size_t count)
{
    fputc('"', out);
    print_escaped(out, bytes, count, "\"\\");
    fputc('"', out);
}

static void
print_scalar(FILE *out, const struct doc_node *node)
{
    switch (node->kind) {
    case DOC_BOOL:
        fputs(node->boolean ? "true" : "false", out);
        break;
    case DOC_INT:
        fprintf(out, "%" PRId64, node->integer);
        break;
    case DOC_UINT:
    case DOC_BYTES:
    case DOC_TIME:
        fprintf(out, "%" PRIu64, node->unsigned_);
        break;
    case DOC_SINGLE:
    case DOC_DOUBLE:
        print_number(out, node->number, node->kind == DOC_SINGLE);
        break;
    case DOC_TEXT:
        print_quoted(out, node->text.bytes, node->text.count);
        break;
    default:
        fputs("null", out);
        break;
    }
}

static bool
is_container(const struct doc_node *node)
{
    return node->kind == DOC_LIST || node->kind == DOC_MAP;
}

// A list of nothing but scalars, such as a vector, goes on one line.
static bool
is_flat(const struct doc_node *node)
{
    if (node->kind != DOC_LIST)
        return false;
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next)
        if (is_container(child))
            return false;
    return true;
}

// ---- JSON ----

static void
print_compact(FILE *out, const struct doc_node *node)
{
    if (!is_container(node)) {
        print_scalar(out, node);
        return;
    }
    fputc(node->kind == DOC_LIST ? '[' : '{', out);
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next) {
        if (child->key != NULL) {
            print_quoted(out, child->key, strlen(child->key));
            fputs(": ", out);
        }
        print_compact(out, child);
        if (child->next != NULL)
            fputs(", ", out);
    }
    fputc(node->kind == DOC_LIST ? ']' : '}', out);
}

static void
print_json(FILE *out, const struct doc_node *node, int indent)
{
    if (!is_container(node) || node->children.count == 0 || is_flat(node)) {
        print_compact(out, node);
        return;
    }
    fputs(node->kind == DOC_LIST ? "[\n" : "{\n", out);
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next) {
        fprintf(out, "%*s", indent + 2, "");
        if (child->key != NULL) {
            print_quoted(out, child->key, strlen(child->key));
            fputs(": ", out);
        }
        print_json(out, child, indent + 2);
        fputs(child->next != NULL ? ",\n" : "\n", out);
    }
    fprintf(out, "%*s%c", indent, "", node->kind == DOC_LIST ? ']' : '}');
}

static void
print_ndjson(FILE *out, const struct doc_node *root)
{
    if (root->kind != DOC_LIST) {
        print_compact(out, root);
        fputc('\n', out);
        return;
    }
    for (const struct doc_node *child = root->children.first; child != NULL; child = child->next) {
        print_compact(out, child);
        fputc('\n', out);
    }
}

// ---- YAML: block style outside, JSON (which YAML 1.2 contains) for keys, texts and what is empty or flat ----

static void
print_yaml(FILE *out, const struct doc_node *node, int indent)
{
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next) {
        fprintf(out, "%*s", indent, "");
        if (child->key != NULL) {
            print_quoted(out, child->key, strlen(child->key));
            fputc(':', out);
        } else {
            fputc('-', out);
        }
        if (!is_container(child) || child->children.count == 0 || is_flat(child)) {
            fputc(' ', out);
            print_compact(out, child);
            fputc('\n', out);
        } else {
            fputc('\n', out);
            print_yaml(out, child, indent + 2);
        }
    }
}

// ---- tables ----

static void
print_human_bytes(FILE *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes / 1024.0;
    size_t unit = 0;
    if (bytes < 1024) {
        fprintf(out, "%" PRIu64 " B", bytes);
        return;
    }
    for (; size >= 1024.0 && unit < 3; unit++)
        size /= 1024.0;
    fprintf(out, "%.1f %s", size, units[unit]);
}

// With as many digits each, so that a column is even. What no calendar has is a number.
static void
print_time(FILE *out, uint64_t ms)
{
    const struct instant instant = {.seconds = (int64_t)(ms / 1000)};
    char text[INSTANT_TEXT_BYTES];
    if (instant_print(instant, text))
        fprintf(out, "%.*s.%03uZ", (int)strlen(text) - 1, text, (unsigned)(ms % 1000));
    else
        fprintf(out, "%" PRIu64, ms);
}

// The key as a table has it.
static size_t
key_bytes(const struct doc_node *node)
{
    return strlen(node->key) - (node->kind == DOC_TIME ? strlen("_ms") : 0);
}

// A list of nothing but texts: in a table they stand side by side.
static bool
is_words(const struct doc_node *node)
{
    if (node->kind != DOC_LIST || node->children.count == 0)
        return false;
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next)
        if (child->kind != DOC_TEXT)
            return false;
    return true;
}

static void
print_words(FILE *out, const struct doc_node *list)
{
    for (const struct doc_node *child = list->children.first; child != NULL; child = child->next) {
        print_escaped(out, child->text.bytes, child->text.count, "\\");
        if (child->next != NULL)
            fputc(',', out);
    }
}

static void
print_cell_to(FILE *out, const struct doc_node *node)
{
    if (node == NULL || node->kind == DOC_NULL)
        fputs("-", out);
    else if (node->kind == DOC_TEXT)
        print_escaped(out, node->text.bytes, node->text.count, "\\");
    else if (node->kind == DOC_BYTES)
        print_human_bytes(out, node->unsigned_);
    else if (node->kind == DOC_TIME)
        print_time(out, node->unsigned_);
    else if (is_words(node))
        print_words(out, node);
    else if (node->kind == DOC_SINGLE || node->kind == DOC_DOUBLE)
        fprintf(out, "%.6g", node->number);
    else
        print_compact(out, node);
}

// The cell's text in `cell`, cut with "..." where it is too long. The width in characters.
static size_t
cell_text(const struct doc_node *node, char cell[CELL_BYTES])
{
    memset(cell, 0, CELL_BYTES);
    FILE *out = fmemopen(cell, CELL_BYTES, "w");
    if (out == NULL)
        return 0;
    setvbuf(out, NULL, _IONBF, 0);
    print_cell_to(out, node);
    const bool cut = ftell(out) >= (long)CELL_BYTES - 1 || ferror(out);
    fclose(out);
    if (cut) {
        const size_t keep = utf8_cut(cell, CELL_BYTES - 1, CELL_BYTES - 8);
        memset(cell + keep, 0, CELL_BYTES - keep);
        memcpy(cell + keep, "...", 3);
    }
    size_t width = 0;
    for (const char *at = cell; *at != '\0'; at++)
        width += ((unsigned char)*at & 0xc0) != 0x80;
    return width;
}

static void
print_cell(FILE *out, const char *cell, size_t width, size_t column, bool to_the_right)
{
    const int blanks = column > width ? (int)(column - width) : 0;
    if (to_the_right)
        fprintf(out, "%*s%s", blanks, "", cell);
    else
        fprintf(out, "%s%*s", cell, blanks, "");
}

static const struct doc_node *
child_of(const struct doc_node *node, const char *key)
{
    if (node->kind != DOC_MAP)
        return NULL;
    for (const struct doc_node *child = node->children.first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

struct column {
    const char *key;
    size_t key_bytes; // that are shown
    size_t width;
    bool is_number;
};

// The keys of all rows in the order in which they first come, and how wide their cells are.
static uint32_t
find_columns(const struct doc_node *list, struct column columns[COLUMNS_MAX])
{
    char cell[CELL_BYTES];
    uint32_t count = 0;
    for (const struct doc_node *row = list->children.first; row != NULL; row = row->next) {
        if (row->kind != DOC_MAP)
            continue;
        for (const struct doc_node *child = row->children.first; child != NULL;
             child = child->next) {
            uint32_t i = 0;
            while (i < count && strcmp(columns[i].key, child->key) != 0)
                i++;
            if (i == COLUMNS_MAX)
                continue;
            if (i == count)
                columns[count++] =
                    (struct column){child->key, key_bytes(child), key_bytes(child), true};
            const size_t width = cell_text(child, cell);
            if (width > columns[i].width)
                columns[i].width = width;
            if (child->kind == DOC_TEXT || child->kind == DOC_BOOL || child->kind == DOC_TIME ||
                is_container(child))
                columns[i].is_number = false;
        }
    }
    return count;
}

static void
print_rows(FILE *out, const struct doc_node *list, int indent)
{
    struct column columns[COLUMNS_MAX];
    const uint32_t count = find_columns(list, columns);
    char cell[CELL_BYTES];
    if (count == 0)
        return;
    fprintf(out, "%*s", indent, "");
    for (uint32_t i = 0; i < count; i++) {
        snprintf(cell, sizeof cell, "%.*s", (int)columns[i].key_bytes, columns[i].key);
        for (char *at = cell; *at != '\0'; at++)
            *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        const size_t width = i + 1 < count || columns[i].is_number ? columns[i].width : 0;
        print_cell(out, cell, strlen(cell), width, columns[i].is_number);
        fputs(i + 1 < count ? "  " : "\n", out);
    }
    for (const struct doc_node *row = list->children.first; row != NULL; row = row->next) {
        fprintf(out, "%*s", indent, "");
        for (uint32_t i = 0; i < count; i++) {
            const size_t own = cell_text(child_of(row, columns[i].key), cell);
            const size_t width = i + 1 < count || columns[i].is_number ? columns[i].width : 0;
            print_cell(out, cell, own, width, columns[i].is_number);
            fputs(i + 1 < count ? "  " : "\n", out);
        }
    }
}

// A map: a line a key; what is inside of inside comes after it, indented.
static void
print_fields(FILE *out, const struct doc_node *map, int indent)
{
    char cell[CELL_BYTES];
    size_t width = 0;
    for (const struct doc_node *child = map->children.first; child != NULL; child = child->next)
        if (key_bytes(child) > width)
            width = key_bytes(child);
    for (const struct doc_node *child = map->children.first; child != NULL; child = child->next) {
        fprintf(out, "%*s", indent, "");
        if (is_container(child) && !is_flat(child) && child->children.count > 0) {
            fprintf(out, "%s\n", child->key);
            if (child->kind == DOC_MAP)
                print_fields(out, child, indent + 2);
            else
                print_rows(out, child, indent + 2);
            continue;
        }
        cell_text(child, cell);
        fprintf(out, "%-*.*s%s\n", (int)width + 2, (int)key_bytes(child), child->key, cell);
    }
}

omen_status
doc_print(const struct doc *doc, enum doc_format format, FILE *out)
{
    const struct doc_node *root = doc_tree(doc);
    if (root == NULL)
        return OMEN_E_NO_MEMORY;
    switch (format) {
    case DOC_AS_JSON:
        print_json(out, root, 0);
        fputc('\n', out);
        break;
    case DOC_AS_YAML:
        if (root->children.count == 0)
            fputs(root->kind == DOC_LIST ? "[]\n" : "{}\n", out);
        print_yaml(out, root, 0);
        break;
    case DOC_AS_NDJSON:
        print_ndjson(out, root);
        break;
    case DOC_AS_TABLE:
        if (root->kind == DOC_LIST)
            print_rows(out, root, 0);
        else
            print_fields(out, root, 0);
        break;
    }
    return OMEN_OK;
}
