// tools/omenctl/context.c -- omenctl context, and which context a command is about.
//
// Shape: shell. What the file says is contexts.h's.
//
// A context is taken whole: its key goes to its own endpoints and nowhere else. What was given on the command line goes before it, and
// so does OMEN_ENDPOINTS, unless the context was named there.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "clients/c/endpoints.h"
#include "tools/omenctl/remote.h"
#include "tools/omenctl/source.h"

#define PATH_BYTES 4096u

// ---- the file ----

// OMEN_CONFIG is omend's, too, and another file there: who runs both on a machine says OMEN_CONTEXTS.
static const char *
file_said(void)
{
    const char *said = call_setting(NULL, "OMEN_CONTEXTS");
    return said != NULL ? said : call_setting(NULL, "OMEN_CONFIG");
}

static enum exit_code
find_path(const struct call *call, char path[PATH_BYTES])
{
    const char *set = file_said();
    const char *config = call_setting(NULL, "XDG_CONFIG_HOME"), *home = call_setting(NULL, "HOME");
    int count = -1;
    if (set != NULL)
        count = snprintf(path, PATH_BYTES, "%s", set);
    else if (config != NULL)
        count = snprintf(path, PATH_BYTES, "%s/omendb/contexts.yaml", config);
    else if (home != NULL)
        count = snprintf(path, PATH_BYTES, "%s/.config/omendb/contexts.yaml", home);
    else
        return call_fail(call, EXIT_USAGE,
                         "there is no place for contexts: set OMEN_CONTEXTS to a file's name");
    return count >= 0 && count < (int)PATH_BYTES
               ? EXIT_FINE
               : call_fail(call, EXIT_USAGE, "the name of the file of contexts is too long");
}

// A file that is not there has none.
static enum exit_code
load(const struct call *call, const char *path, struct contexts *out)
{
    struct buffer text = {0};
    struct omen_error error = {0};
    *out = (struct contexts){.count = 0};
    omen_status status = source_read_all(path, CONTEXTS_BYTES_MAX, &text, &error);
    if (status == OMEN_OK)
        status = contexts_read((const char *)text.bytes, text.count, out, &error);
    buffer_fini(&text);
    if (status == OMEN_E_NOT_FOUND)
        return EXIT_FINE;
    return status == OMEN_OK ? EXIT_FINE : call_fail_error(call, path, &error);
}

static void
make_folders(const char *path)
{
    char folder[PATH_BYTES];
    for (const char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        memcpy(folder, path, (size_t)(at - path));
        folder[at - path] = '\0';
        (void)!mkdir(folder, 0700); // what comes of it is seen when the file is made
    }
}

// It may have keys, so it is its owner's alone.
static enum exit_code
save(const struct call *call, const char *path, const struct contexts *contexts)
{
    const size_t room = contexts_write(contexts, NULL, 0) + 1;
    char *text = mem_alloc(room);
    if (text == NULL)
        return call_fail(call, EXIT_OTHER, "no memory");
    const size_t count = contexts_write(contexts, text, room);
    make_folders(path);
    const enum exit_code code = call_replace_file(call, path, text, count, true);
    mem_free(text);
    return code;
}

// ---- the one of a call ----

// Whose name counts, and whether it must be there. NULL: none.
static const char *
name_of(const struct call *call, const struct contexts *contexts, bool *must)
{
    const char *named = call_setting(call->context, "OMEN_CONTEXT");
    *must = named != NULL;
    return named != NULL ? named : contexts->current[0] != '\0' ? contexts->current : NULL;
}

enum exit_code
context_choose(struct call *call)
{
    const bool named = call->context != NULL;
    char path[PATH_BYTES];
    bool must = false;
    if (named && call->endpoints != NULL)
        return call_fail(call, EXIT_USAGE, "--endpoints and --context: not both");
    if (call->endpoints != NULL || (!named && call_setting(NULL, "OMEN_ENDPOINTS") != NULL))
        return EXIT_FINE;
    if (!named && file_said() == NULL && call_setting(NULL, "XDG_CONFIG_HOME") == NULL &&
        call_setting(NULL, "HOME") == NULL && call_setting(NULL, "OMEN_CONTEXT") == NULL)
        return EXIT_FINE; // nobody has any
    enum exit_code code = find_path(call, path);
    if (code != EXIT_FINE)
        return code;
    struct contexts *contexts = mem_alloc(sizeof *contexts);
    if (contexts == NULL)
        return call_fail(call, EXIT_OTHER, "no memory");
    code = load(call, path, contexts);
    const char *name = code == EXIT_FINE ? name_of(call, contexts, &must) : NULL;
    const struct context *context = name != NULL ? contexts_find(contexts, name) : NULL;
    if (context != NULL)
        call->chosen = *context;
    else if (must)
        code = call_fail(call, EXIT_NOT_FOUND, "%s has no context '%s'", path, name);
    mem_free(contexts);
    return code;
}

// ---- the verbs ----

static const char *
key_of(const struct context *context)
{
    return context->api_key_file[0] != '\0' ? context->api_key_file
           : context->api_key[0] != '\0'    ? "(kept here)"
                                            : "";
}

static enum exit_code
list(struct call *call, struct contexts *contexts, bool *changed)
{
    struct doc *doc = NULL;
    (void)changed;
    if (doc_open(DOC_LIST, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    for (uint32_t i = 0; i < contexts->count; i++) {
        const struct context *context = &contexts->list[i];
        struct doc_node *row = doc_map(doc, doc_root(doc), NULL);
        doc_text(doc, row, "context", context->name);
        doc_bool(doc, row, "current", strcmp(context->name, contexts->current) == 0);
        doc_text(doc, row, "endpoints", context->endpoints);
        doc_text(doc, row, "api_key", key_of(context));
    }
    if (contexts->count == 0 && call->format == DOC_AS_TABLE)
        call_talk(call, "no contexts");
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

// What was looked at and has room.
static void
copy(char *out, const char *text)
{
    memcpy(out, text, strlen(text) + 1);
}

// A key and a file with one are two ways to say the same: the one that is given is the one that counts.
static enum exit_code
set(struct call *call, struct contexts *contexts, bool *changed)
{
    const char *name = call->arguments[0];
    const char *const given[] = {call->endpoints, call->api_key, call->api_key_file};
    struct endpoints endpoints;
    struct omen_error error;
    if (!context_name_valid(name))
        return call_fail(call, EXIT_USAGE, "a name is 1 to 64 of A-Z a-z 0-9 _ -");
    for (uint32_t i = 0; i < 3; i++)
        if (given[i] != NULL && !context_value_valid(given[i]))
            return call_fail(call, EXIT_USAGE, "a value is one line of at most %u bytes",
                             CONTEXT_VALUE_MAX);
    if (call->api_key != NULL && call->api_key_file != NULL)
        return call_fail(call, EXIT_USAGE, "--api-key and --api-key-file: not both");
    if (call->endpoints != NULL && endpoints_parse(call->endpoints, &endpoints, &error) != OMEN_OK)
        return call_fail_error(call, "--endpoints", &error);
    if (call->endpoints == NULL && contexts_find(contexts, name) == NULL)
        return call_fail(call, EXIT_USAGE, "a new context wants --endpoints");
    struct context *context = contexts_add(contexts, name);
    if (context == NULL)
        return call_fail(call, EXIT_PRECONDITION, "there are %u contexts, which is the most",
                         CONTEXTS_MAX);
    if (call->endpoints != NULL)
        copy(context->endpoints, call->endpoints);
    if (call->api_key != NULL || call->api_key_file != NULL) {
        copy(context->api_key, call->api_key != NULL ? call->api_key : "");
        copy(context->api_key_file, call->api_key_file != NULL ? call->api_key_file : "");
    }
    if (contexts->current[0] == '\0')
        copy(contexts->current, name);
    *changed = true;
    return EXIT_FINE;
}

static struct context *
find(struct call *call, struct contexts *contexts)
{
    struct context *context = contexts_find(contexts, call->arguments[0]);
    if (context == NULL)
        (void)call_fail(call, EXIT_NOT_FOUND, "there is no context '%s'", call->arguments[0]);
    return context;
}

static enum exit_code
use(struct call *call, struct contexts *contexts, bool *changed)
{
    const struct context *context = find(call, contexts);
    if (context == NULL)
        return EXIT_NOT_FOUND;
    copy(contexts->current, context->name);
    *changed = true;
    return EXIT_FINE;
}

static enum exit_code
take_away(struct call *call, struct contexts *contexts, bool *changed)
{
    struct context *context = find(call, contexts);
    if (context == NULL)
        return EXIT_NOT_FOUND;
    const enum exit_code code =
        call->dry_run ? EXIT_FINE : call_confirm(call, "remove the context %s?", context->name);
    if (code == EXIT_FINE)
        contexts_remove(contexts, context);
    *changed = true;
    return code;
}

static enum exit_code
run_with(struct call *call,
         enum exit_code (*act)(struct call *call, struct contexts *contexts, bool *changed))
{
    char path[PATH_BYTES];
    bool changed = false;
    enum exit_code code = find_path(call, path);
    struct contexts *contexts = mem_alloc(sizeof *contexts);
    if (code == EXIT_FINE && contexts == NULL)
        code = call_fail(call, EXIT_OTHER, "no memory");
    if (code == EXIT_FINE)
        code = load(call, path, contexts);
    if (code == EXIT_FINE)
        code = act(call, contexts, &changed);
    if (code == EXIT_FINE && changed && !call->dry_run)
        code = save(call, path, contexts);
    if (code == EXIT_FINE && changed)
        call_talk(call, "%s%s", path, call->dry_run ? " would be written" : " is written");
    mem_free(contexts);
    return code;
}

static enum exit_code
run_list(struct call *call)
{
    return run_with(call, list);
}

static enum exit_code
run_set(struct call *call)
{
    return run_with(call, set);
}

static enum exit_code
run_use(struct call *call)
{
    return run_with(call, use);
}

static enum exit_code
run_remove(struct call *call)
{
    return run_with(call, take_away);
}

#define ONE_NAME .arguments = "NAME", .arguments_min = 1, .arguments_max = 1
#define FILE_HELP                                                                                  \
    "Contexts are kept in the file OMEN_CONTEXTS (or OMEN_CONFIG), else in "                       \
    "~/.config/omendb/contexts.yaml, which "                                                       \
    "only "                                                                                        \
    "its owner can read."

static const struct verb context_verbs[] = {
    {.name = "list",
     .summary = "the clusters that have names",
     .details = FILE_HELP " Keys are not shown.",
     .run = run_list},
    {.name = "set",
     ONE_NAME,
     .kind = VERB_MAKES,
     .summary = "names a cluster, or changes what is known of it",
     .details = "With --endpoints, --api-key or --api-key-file. The first one is the current "
                "one.\n" FILE_HELP,
     .remote = &(const struct remote){.method = METHODS_END},
     .run = run_set},
    {.name = "use",
     ONE_NAME,
     .kind = VERB_MAKES,
     .summary = "makes a cluster the one that is asked where nothing else is said",
     .run = run_use},
    {.name = "remove",
     ONE_NAME,
     .kind = VERB_CHANGES,
     .summary = "forgets a cluster's name and key; the cluster stays",
     .run = run_remove},
};
const struct noun noun_context = {"context", "clusters by name", context_verbs,
                                  sizeof context_verbs / sizeof *context_verbs};
