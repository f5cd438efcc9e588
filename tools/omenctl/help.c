// tools/omenctl/help.c -- the help and the manual page, from the table of commands.
//
// Shape: shell.
#include "tools/omenctl/command.h"

#include <string.h>

#include "include/omendb.h"

#define LEFT_BYTES 64u
#define LEFT_WIDTH 28

static void
print_synopsis(FILE *out, const struct noun *noun, const struct verb *verb)
{
    fprintf(out, "omenctl %s", noun->name);
    if (verb->name != NULL)
        fprintf(out, " %s", verb->name);
    if (verb->arguments != NULL)
        fprintf(out, " %s", verb->arguments);
}

static void
print_option(FILE *out, const struct option_spec *spec)
{
    char left[LEFT_BYTES];
    const char letter[] = {'-', spec->letter, ',', ' ', '\0'};
    snprintf(left, sizeof left, "%s--%s%s%s", spec->letter != 0 ? letter : "    ", spec->name,
             spec->argument != NULL ? " " : "", spec->argument != NULL ? spec->argument : "");
    if ((int)strlen(left) > LEFT_WIDTH)
        fprintf(out, "  %s\n  %-*s  %s\n", left, LEFT_WIDTH, "", spec->help);
    else
        fprintf(out, "  %-*s  %s\n", LEFT_WIDTH, left, spec->help);
}

static void
print_common(FILE *out, const struct verb *verb)
{
    for (uint32_t i = 0; i < COMMON_COUNT; i++)
        if (common_applies(i, verb))
            print_option(out, &common_options[i]);
}

// Two columns, as wide as the longest name wants.
static int
names_width(const struct noun *noun)
{
    size_t width = 0;
    for (uint32_t i = 0; i < (noun != NULL ? noun->verb_count : noun_count); i++) {
        const size_t bytes = strlen(noun != NULL ? noun->verbs[i].name : nouns[i]->name);
        width = bytes > width ? bytes : width;
    }
    return (int)width;
}

void
help_all(FILE *out)
{
    const int width = names_width(NULL);
    fputs("omenctl -- looks after OmenDB\n\nusage: omenctl NOUN VERB [ARGUMENTS] [OPTIONS]\n\n",
          out);
    for (uint32_t i = 0; i < noun_count; i++)
        fprintf(out, "  %-*s  %s\n", width, nouns[i]->name, nouns[i]->summary);
    fputs("\noptions of every command\n", out);
    print_common(out, NULL);
    fputs("\nstdout is data, stderr is talk. omenctl ends with\n", out);
    for (int i = 0; i < EXIT_CODES; i++)
        fprintf(out, "  %2d  %s\n", i, exit_code_texts[i]);
    fputs("\nmore: omenctl help NOUN [VERB]\n", out);
}

void
help_noun(FILE *out, const struct noun *noun)
{
    const int width = names_width(noun);
    fprintf(out, "omenctl %s -- %s\n\n", noun->name, noun->summary);
    for (uint32_t i = 0; i < noun->verb_count; i++)
        fprintf(out, "  %-*s  %s\n", width, noun->verbs[i].name, noun->verbs[i].summary);
    fprintf(out, "\nmore: omenctl help %s VERB\n", noun->name);
}

void
help_verb(FILE *out, const struct noun *noun, const struct verb *verb)
{
    print_synopsis(out, noun, verb);
    fprintf(out, "\n\n%s.\n", verb->summary);
    if (verb->details != NULL)
        fprintf(out, "\n%s\n", verb->details);
    fputs("\noptions\n", out);
    for (uint32_t i = 0; i < verb_option_count(verb); i++)
        print_option(out, &verb->options[i]);
    print_common(out, verb);
}

// ---- the manual page ----

// Text of ours as roff: a backslash, a hyphen and a dot or quote at a line's start are commands there.
static void
print_roff(FILE *out, const char *text)
{
    bool at_start = true;
    for (; *text != '\0'; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        at_start = *text == '\n';
    }
}

static void
manual_option(FILE *out, const struct option_spec *spec)
{
    fputs(".TP\n.B ", out);
    if (spec->letter != 0)
        fprintf(out, "\\-%c, ", spec->letter);
    fputs("\\-\\-", out);
    print_roff(out, spec->name);
    if (spec->argument != NULL)
        fprintf(out, " \\fI%s\\fR", spec->argument);
    fputc('\n', out);
    print_roff(out, spec->help);
    fputc('\n', out);
}

static void
manual_verb(FILE *out, const struct noun *noun, const struct verb *verb)
{
    fprintf(out, ".SS omenctl %s%s%s%s%s\n", noun->name, verb->name != NULL ? " " : "",
            verb->name != NULL ? verb->name : "", verb->arguments != NULL ? " " : "",
            verb->arguments != NULL ? verb->arguments : "");
    print_roff(out, verb->summary);
    fputs(".\n", out);
    if (verb->details != NULL) {
        fputs(".PP\n.nf\n", out);
        print_roff(out, verb->details);
        fputs("\n.fi\n", out);
    }
    for (uint32_t i = 0; i < verb_option_count(verb); i++)
        manual_option(out, &verb->options[i]);
    for (uint32_t i = COMMON_DRY_RUN; i < COMMON_COUNT; i++) // the others are said once
        if (common_applies(i, verb))
            manual_option(out, &common_options[i]);
}

void
help_manual(FILE *out)
{
    fprintf(out, ".TH OMENCTL 1 \"\" \"OmenDB %s\" \"OmenDB\"\n", omen_version());
    fputs(".SH NAME\nomenctl \\- looks after OmenDB\n.SH SYNOPSIS\n.B omenctl\n"
          "\\fINOUN VERB\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n"
          "Standard output is data, standard error is talk. Colours and progress bars are for "
          "terminals "
          "only.\n.SH COMMANDS\n",
          out);
    for (uint32_t i = 0; i < noun_count; i++)
        for (uint32_t j = 0; j < nouns[i]->verb_count; j++)
            manual_verb(out, nouns[i], &nouns[i]->verbs[j]);
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    for (uint32_t i = 0; i < COMMON_DRY_RUN; i++) // --version too, which stands before a noun
        manual_option(out, &common_options[i]);
    fputs(".SH EXIT STATUS\n", out);
    for (int i = 0; i < EXIT_CODES; i++) {
        fprintf(out, ".TP\n.B %d\n", i);
        print_roff(out, exit_code_texts[i]);
        fputc('\n', out);
    }
}
