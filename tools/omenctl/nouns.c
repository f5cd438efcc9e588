// tools/omenctl/nouns.c -- all nouns, and those that are about omenctl itself: version, help, completion.
//
// Shape: value: tables.
#include "tools/omenctl/command.h"

#include <string.h>

#include "include/omendb.h"
#include "tools/omenctl/remote.h"

static enum exit_code
run_version(struct call *call)
{
    struct doc *doc = NULL;
    if (call->format == DOC_AS_TABLE) {
        fprintf(call->out, "omenctl %s\n", omen_version());
        return EXIT_FINE;
    }
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_text(doc, doc_root(doc), "version", omen_version());
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

static enum exit_code
run_help(struct call *call)
{
    if (call_has(call, "man")) {
        help_manual(call->out);
        return EXIT_FINE;
    }
    if (call->argument_count == 0) {
        help_all(call->out);
        return EXIT_FINE;
    }
    const struct noun *noun = noun_find(call->arguments[0]);
    if (noun == NULL)
        return call_fail(call, EXIT_USAGE, "there is no command '%s'", call->arguments[0]);
    const bool has_verb = call->argument_count > 1;
    const struct verb *verb = verb_find(noun, has_verb ? call->arguments[1] : NULL);
    if (verb != NULL)
        help_verb(call->out, noun, verb);
    else if (!has_verb)
        help_noun(call->out, noun);
    else
        return call_fail(call, EXIT_USAGE, "%s has no verb '%s'", noun->name, call->arguments[1]);
    return EXIT_FINE;
}

static enum exit_code
run_completion(struct call *call)
{
    const char *shell = call->arguments[0];
    if (strcmp(shell, "bash") == 0)
        completion_bash(call->out);
    else if (strcmp(shell, "zsh") == 0)
        completion_zsh(call->out);
    else
        completion_fish(call->out);
    return EXIT_FINE;
}

static const struct option_spec help_options[] = {
    {.name = "man", .help = "the manual page, as roff: omenctl help --man | man -l -"},
    {0},
};
static const struct verb completion_verb = {
    .arguments = "SHELL",
    .arguments_min = 1,
    .arguments_max = 1,
    .argument_choices = "bash zsh fish",
    .summary = "a script for the completion of omenctl's commands",
    .details = "bash: source <(omenctl completion bash)\n"
               "zsh:  omenctl completion zsh > \"${fpath[1]}/_omenctl\"\n"
               "fish: omenctl completion fish > ~/.config/fish/completions/omenctl.fish",
    .run = run_completion,
};
static const struct verb help_verb_of = {
    .arguments = "[NOUN [VERB]]",
    .arguments_max = 2,
    .summary = "what there is, or how one command is used",
    .options = help_options,
    .run = run_help,
};
static const struct verb version_verb = {.summary = "the version of omenctl", .run = run_version};

static const struct noun noun_completion = {"completion", "completion scripts for bash, zsh, fish",
                                            &completion_verb, 1};
static const struct noun noun_help = {"help", "what there is, or how one command is used",
                                      &help_verb_of, 1};
static const struct noun noun_version = {"version", "the version of omenctl", &version_verb, 1};

const struct noun *const nouns[] = {
    &noun_status, &noun_check,      &noun_top,    &noun_doctor,     &noun_cluster, &noun_node,
    &noun_shard,  &noun_collection, &noun_alias,  &noun_point,      &noun_query,   &noun_recall,
    &noun_job,    &noun_key,        &noun_events, &noun_system,     &noun_context, &noun_bench,
    &noun_import, &noun_export,     &noun_file,   &noun_completion, &noun_help,    &noun_version};
const uint32_t noun_count = sizeof nouns / sizeof *nouns;

const struct noun *
noun_find(const char *name)
{
    for (uint32_t i = 0; i < noun_count; i++)
        if (strcmp(nouns[i]->name, name) == 0)
            return nouns[i];
    return NULL;
}

// A noun that is a command by itself answers to NULL.
const struct verb *
verb_find(const struct noun *noun, const char *name)
{
    for (uint32_t i = 0; i < noun->verb_count; i++) {
        const char *own = noun->verbs[i].name;
        if (own == NULL ? name == NULL : name != NULL && strcmp(own, name) == 0)
            return &noun->verbs[i];
    }
    return NULL;
}
