// tools/omenctl/completion.c -- completion scripts for three shells, from the table of commands.
//
// Shape: shell.
//
// The scripts are plain text that knows all words; they never start omenctl.
#include <string.h>

#include "tools/omenctl/command.h"

static bool
has_verbs(const struct noun *noun)
{
    return noun->verbs[0].name != NULL;
}

// Calls for each option of a verb, the common ones too.
struct option_cursor {
    const struct verb *verb;
    uint32_t next;
};

static const struct option_spec *
next_option(struct option_cursor *cursor)
{
    while (cursor->next < COMMON_COUNT) {
        const uint32_t i = cursor->next++;
        if (common_applies(i, cursor->verb))
            return &common_options[i];
    }
    const uint32_t i = cursor->next - COMMON_COUNT;
    if (i >= verb_option_count(cursor->verb))
        return NULL;
    cursor->next++;
    return &cursor->verb->options[i];
}

// ---- bash ----

static void
bash_words(FILE *out, const struct verb *verb)
{
    struct option_cursor cursor = {.verb = verb};
    for (const struct option_spec *spec; (spec = next_option(&cursor)) != NULL;) {
        fprintf(out, "--%s ", spec->name);
        if (spec->letter != 0)
            fprintf(out, "-%c ", spec->letter);
    }
}

// What an option's argument may be; else options; else files.
static void
bash_arguments(FILE *out, const struct verb *verb)
{
    struct option_cursor cursor = {.verb = verb};
    fputs("        case $previous in\n", out);
    for (const struct option_spec *spec; (spec = next_option(&cursor)) != NULL;) {
        if (spec->argument == NULL)
            continue;
        fputs("        ", out);
        if (spec->letter != 0)
            fprintf(out, "-%c|", spec->letter);
        fprintf(out, "--%s) ", spec->name);
        if (spec->choices != NULL)
            fprintf(out, "words='%s' ;;\n", spec->choices);
        else
            fprintf(out, "words='' files=%s ;;\n", spec->is_path ? "yes" : "no");
    }
    fputs("        *) if [[ $current == -* ]]; then words='", out);
    bash_words(out, verb);
    if (verb->argument_choices != NULL)
        fprintf(out, "'; else words='%s", verb->argument_choices);
    fprintf(out, "'%s; fi ;;\n        esac ;;\n",
            verb->arguments != NULL && verb->argument_choices == NULL ? "; else files=yes" : "");
}

void
completion_bash(FILE *out)
{
    fputs("# bash completion of omenctl; made by: omenctl completion bash\n_omenctl() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local words='' files=no command=''\n    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -ge 2 ]; then command=${COMP_WORDS[1]}; fi\n"
          "    case $command in\n    ",
          out);
    bool first = true;
    for (uint32_t i = 0; i < noun_count; i++) {
        if (!has_verbs(nouns[i]))
            continue;
        fprintf(out, "%s%s", first ? "" : "|", nouns[i]->name);
        first = false;
    }
    fputs(") if [ \"$COMP_CWORD\" -ge 3 ]; then command=\"$command ${COMP_WORDS[2]}\"; fi ;;\n    "
          "esac\n"
          "    case $command in\n    '') words='",
          out);
    for (uint32_t i = 0; i < noun_count; i++)
        fprintf(out, "%s ", nouns[i]->name);
    fputs("' ;;\n", out);
    for (uint32_t i = 0; i < noun_count; i++) {
        if (has_verbs(nouns[i])) {
            fprintf(out, "    %s) words='", nouns[i]->name);
            for (uint32_t j = 0; j < nouns[i]->verb_count; j++)
                fprintf(out, "%s ", nouns[i]->verbs[j].name);
            fputs("' ;;\n", out);
        }
        for (uint32_t j = 0; j < nouns[i]->verb_count; j++) {
            const struct verb *verb = &nouns[i]->verbs[j];
            fprintf(out, "    '%s%s%s')\n", nouns[i]->name, verb->name != NULL ? " " : "",
                    verb->name != NULL ? verb->name : "");
            bash_arguments(out, verb);
        }
    }
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
          "    if [ \"$files\" = yes ] && [[ $current != -* ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
          "        compopt -o filenames 2>/dev/null\n    fi\n}\ncomplete -F _omenctl omenctl\n",
          out);
}

// ---- zsh ----

static void
zsh_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) { // in a spec of _arguments, colons and brackets have a meaning
        if (*text == ':' || *text == '[' || *text == ']')
            fputc('\\', out);
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    }
}

static void
zsh_verb(FILE *out, const struct verb *verb)
{
    struct option_cursor cursor = {.verb = verb};
    fputs("_arguments -s", out);
    for (const struct option_spec *spec; (spec = next_option(&cursor)) != NULL;) {
        for (int way = spec->letter != 0 ? 0 : 1; way < 2; way++) {
            fputs(" \\\n            '", out);
            if (way == 0)
                fprintf(out, "-%c", spec->letter);
            else
                fprintf(out, "--%s", spec->name);
            fputc('[', out);
            zsh_text(out, spec->help);
            fputc(']', out);
            if (spec->choices != NULL)
                fprintf(out, ":%s:(%s)", spec->argument, spec->choices);
            else if (spec->argument != NULL)
                fprintf(out, ":%s:%s", spec->argument, spec->is_path ? "_files" : " ");
            fputc('\'', out);
        }
    }
    if (verb->argument_choices != NULL)
        fprintf(out, " \\\n            '1:word:(%s)'", verb->argument_choices);
    else if (verb->arguments != NULL)
        fputs(" \\\n            '*:path:_files'", out);
    fputs(" ;;\n", out);
}

static void
zsh_entry(FILE *out, const char *name, const char *summary)
{
    fprintf(out, " '%s:", name);
    zsh_text(out, summary);
    fputc('\'', out);
}

void
completion_zsh(FILE *out)
{
    fputs("#compdef omenctl\n# zsh completion of omenctl; made by: omenctl completion zsh\n"
          "_omenctl() {\n    local -a entries\n    if (( CURRENT == 2 )); then\n        entries=(",
          out);
    for (uint32_t i = 0; i < noun_count; i++)
        zsh_entry(out, nouns[i]->name, nouns[i]->summary);
    fputs(")\n        _describe command entries\n        return\n    fi\n    case $words[2] in\n",
          out);
    for (uint32_t i = 0; i < noun_count; i++) {
        const struct noun *noun = nouns[i];
        fprintf(out, "    %s)\n", noun->name);
        if (!has_verbs(noun)) {
            fputs("        shift words; (( CURRENT-- ))\n        ", out);
            zsh_verb(out, &noun->verbs[0]);
            continue;
        }
        fputs("        if (( CURRENT == 3 )); then\n            entries=(", out);
        for (uint32_t j = 0; j < noun->verb_count; j++)
            zsh_entry(out, noun->verbs[j].name, noun->verbs[j].summary);
        fputs(")\n            _describe verb entries\n            return\n        fi\n"
              "        local verb=$words[3]\n        shift 2 words; (( CURRENT -= 2 ))\n"
              "        case $verb in\n",
              out);
        for (uint32_t j = 0; j < noun->verb_count; j++) {
            fprintf(out, "        %s) ", noun->verbs[j].name);
            zsh_verb(out, &noun->verbs[j]);
        }
        fputs("        esac ;;\n", out);
    }
    fputs("    esac\n}\n_omenctl \"$@\"\n", out);
}

// ---- fish ----

// Within single quotes fish escapes with a backslash.
static void
fish_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fprintf(out, "%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
}

static void
fish_verb(FILE *out, const struct noun *noun, const struct verb *verb)
{
    struct option_cursor cursor = {.verb = verb};
    char when[160];
    if (verb->name != NULL)
        snprintf(when, sizeof when,
                 "__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s", noun->name,
                 verb->name);
    else
        snprintf(when, sizeof when, "__fish_seen_subcommand_from %s", noun->name);
    if (verb->argument_choices != NULL)
        fprintf(out, "complete -c omenctl -n '%s' -f -a '%s'\n", when, verb->argument_choices);
    for (const struct option_spec *spec; (spec = next_option(&cursor)) != NULL;) {
        fprintf(out, "complete -c omenctl -n '%s' -l %s", when, spec->name);
        if (spec->letter != 0)
            fprintf(out, " -s %c", spec->letter);
        if (spec->choices != NULL)
            fprintf(out, " -x -a '%s'", spec->choices);
        else if (spec->argument != NULL)
            fputs(spec->is_path ? " -r -F" : " -x", out);
        fputs(" -d '", out);
        fish_text(out, spec->help);
        fputs("'\n", out);
    }
}

void
completion_fish(FILE *out)
{
    fputs("# fish completion of omenctl; made by: omenctl completion fish\n"
          "complete -c omenctl -n __fish_use_subcommand -f\n",
          out);
    for (uint32_t i = 0; i < noun_count; i++) {
        const struct noun *noun = nouns[i];
        fprintf(out, "complete -c omenctl -n __fish_use_subcommand -a %s -d '", noun->name);
        fish_text(out, noun->summary);
        fputs("'\n", out);
        for (uint32_t j = 0; has_verbs(noun) && j < noun->verb_count; j++) {
            fprintf(out,
                    "complete -c omenctl -n '__fish_seen_subcommand_from %s; and test "
                    "(count (commandline -opc)) -eq 2' -f -a %s -d '",
                    noun->name, noun->verbs[j].name);
            fish_text(out, noun->verbs[j].summary);
            fputs("'\n", out);
        }
        for (uint32_t j = 0; j < noun->verb_count; j++)
            fish_verb(out, noun, &noun->verbs[j]);
    }
}
