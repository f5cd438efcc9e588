// tools/protocol/main.c -- what docs/PROTOCOL.md says of each method, out of the tables that requests are read by.
//
// Shape: shell.
//
// usage: omen_protocol          prints it
//        omen_protocol FILE     exits with 1 unless FILE ends with it
#include <inttypes.h>

#include "base/status.h"
#include "tools/page.h"
#include "wire/method.h"

static const char *const rights[] = {"nobody has to be known", "read", "write", "manage", "admin"};

static void
print_words(FILE *out, const char *const *words)
{
    for (uint32_t i = 0; words[i] != NULL; i++)
        fprintf(out, "%s`%s`", i == 0 ? "" : "/", words[i]);
}

// Limits of what is asked; an answer's are the server's to keep.
static bool limits_wanted;

static void
print_limits(FILE *out, const struct field *field, const char *of)
{
    if (!limits_wanted || field->most == 0 || field->most >= UINT32_MAX)
        return;
    fprintf(out, " %" PRIu64 "..%" PRIu64 "%s", field->least, field->most, of);
}

static void print_rows(FILE *out, const struct shape *shape);

static void
print_kind(FILE *out, const struct field *field)
{
    static const char *const kinds[FIELD_KINDS] = {
        [FIELD_BOOL] = "boolean",        [FIELD_U32] = "integer",
        [FIELD_U64] = "integer",         [FIELD_MAYBE] = "integer",
        [FIELD_I64] = "signed integer",  [FIELD_REAL] = "number",
        [FIELD_FLOAT] = "number",        [FIELD_TEXT] = "text",
        [FIELD_NAME] = "name",           [FIELD_BYTES] = "binary",
        [FIELD_UUID] = "uuid",           [FIELD_ID] = "id",
        [FIELD_VECTOR] = "vector",       [FIELD_VECTORS] = "vectors",
        [FIELD_PAYLOAD] = "payload",     [FIELD_FILTER] = "filter",
        [FIELD_ANY] = "anything",        [FIELD_IDS] = "list of ids",
        [FIELD_TEXTS] = "list of texts", [FIELD_PAYLOADS] = "list of payloads",
        [FIELD_TOKEN] = "token",
    };
    switch (field->kind) {
    case FIELD_WORD:
        print_words(out, field->words);
        break;
    case FIELD_WORDS:
        fputs("list of ", out);
        print_words(out, field->words);
        break;
    case FIELD_INSIDE:
        fputs("{", out);
        print_rows(out, field->shape);
        fputs("}", out);
        break;
    case FIELD_LIST:
        fputs("list of {", out);
        print_rows(out, field->shape);
        fputs("}", out);
        break;
    default:
        fputs(kinds[field->kind], out);
        print_limits(out, field,
                     field->kind == FIELD_TEXT || field->kind == FIELD_BYTES ? " bytes" : "");
    }
}

static void
print_rows(FILE *out, const struct shape *shape)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if ((field->flags & FIELD_ALIAS) != 0)
            continue;
        const char *bold = (field->flags & FIELD_REQUIRED) != 0 ? "**" : "";
        fprintf(out, "%s%s%s%s ", i == 0 ? "" : ", ", bold, field->key, bold);
        for (uint32_t other = i + 1;
             other < shape->field_count && (shape->fields[other].flags & FIELD_ALIAS) != 0; other++)
            fprintf(out, "(or %s) ", shape->fields[other].key);
        print_kind(out, field);
    }
}

static void
print_side(FILE *out, const char *side, const struct shape *shape)
{
    fprintf(out, "- %s: ", side);
    if (shape == &api_nothing && !limits_wanted)
        fputs("nothing", out); // its deadline is a request's
    else
        print_rows(out, shape);
    fputs("\n", out);
}

static void
print_methods(FILE *out)
{
    fputs("## Methods, one by one\n\nKeys in bold must be there; numbers behind a kind are its "
          "limits.\n",
          out);
    for (uint32_t number = 0; number < METHODS_END; number++) {
        const struct method *method = method_at((enum method_number)number);
        fprintf(out, "\n`%s` (%s)\n", method->name, rights[method->right]);
        limits_wanted = true;
        print_side(out, "asks", method->ask);
        limits_wanted = false;
        print_side(out, "answers", method->answer);
    }
    fputs("\n## Errors, one by one\n\n| name | code | what |\n|---|---|---|\n", out);
#define STATUS_ROW(name, number, act, text)                                                        \
    if ((number) != 0)                                                                             \
        fprintf(out, "| `%s` | %d | %s |\n", status_name(number), (number), (text));
    OMEN_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
}

int
main(int argc, char **argv)
{
    const struct page_part part = {.print = print_methods,
                                   .what = "what is said of the methods (omen_protocol)",
                                   .last = true};
    return page_main(&part, argc, argv);
}
