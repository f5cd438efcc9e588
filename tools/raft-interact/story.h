// tools/raft-interact/story.h -- reads scripts: a command with arguments, lines of input, "----", and what is expected.
//
// Shape: shell.
//
//     # a comment
//     command arg key=value key=(a,b)
//     lines of input
//     ----
//     the expected text, up to an empty line
#ifndef OMEN_TOOLS_STORY_H
#define OMEN_TOOLS_STORY_H
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORY_TEXT = 8192, STORY_ARGS = 32, STORY_VALUES = 32 };

struct story_arg {
    char key[64]; // the whole of an argument without "="
    char values[STORY_VALUES][64];
    unsigned count;
};

struct story_step {
    unsigned line;
    char command[128];
    struct story_arg args[STORY_ARGS];
    unsigned arg_count;
    char input[STORY_TEXT];
    char expected[STORY_TEXT];
};

struct story {
    FILE *file;
    unsigned line;
};

static inline void
story_fail(const struct story *story, const char *what)
{
    fprintf(stderr, "script, line %u: %s\n", story->line, what);
    exit(2);
}

// Appends a line to a text of STORY_TEXT bytes.
static inline void
story_append(const struct story *story, char *text, const char *line)
{
    const size_t have = strlen(text), more = strlen(line);
    if (have + more + 1 > STORY_TEXT)
        story_fail(story, "too long");
    memcpy(text + have, line, more + 1);
}

// The value at *at, which ends at one of `ends` outside quotes.
static inline void
story_value(const struct story *story, const char **at, const char *ends, char *value, size_t cap)
{
    size_t count = 0;
    bool quoted = false;
    for (; **at != 0 && (quoted || strchr(ends, **at) == NULL); (*at)++) {
        if (**at == '"') {
            quoted = !quoted;
            continue;
        }
        if (!quoted && isspace((unsigned char)**at))
            continue;
        if (count + 1 == cap)
            story_fail(story, "an argument is too long");
        value[count++] = **at;
    }
    value[count] = 0;
}

static inline void
story_arguments(const struct story *story, const char *line, struct story_step *step)
{
    const char *at = line;
    story_value(story, &at, " ", step->command, sizeof step->command);
    for (;;) {
        while (*at == ' ')
            at++;
        if (*at == 0)
            return;
        if (step->arg_count == STORY_ARGS)
            story_fail(story, "too many arguments");
        struct story_arg *arg = &step->args[step->arg_count++];
        story_value(story, &at, " =", arg->key, sizeof arg->key);
        if (*at != '=')
            continue;
        at++;
        const bool many = *at == '(';
        if (many)
            at++;
        for (;;) {
            if (arg->count == STORY_VALUES)
                story_fail(story, "too many values");
            if (many && *at == ')') {
                at++;
                break;
            }
            story_value(story, &at, many ? ",)" : " ", arg->values[arg->count],
                        sizeof arg->values[0]);
            arg->count++;
            if (!many)
                break;
            if (*at == ',')
                at++;
        }
    }
}

// False at the end.
static inline bool
story_next(struct story *story, struct story_step *step)
{
    char line[STORY_TEXT];
    memset(step, 0, sizeof *step);
    enum { SEEK, INPUT, EXPECTED } part = SEEK;
    while (fgets(line, sizeof line, story->file) != NULL) {
        story->line++;
        const bool empty = line[strspn(line, " \n")] == 0;
        if (part == SEEK) {
            if (empty || line[0] == '#')
                continue;
            step->line = story->line;
            line[strcspn(line, "\n")] = 0;
            story_arguments(story, line, step);
            part = INPUT;
        } else if (part == INPUT) {
            if (strcmp(line, "----\n") == 0)
                part = EXPECTED;
            else
                story_append(story, step->input, line);
        } else if (empty) {
            return true;
        } else {
            story_append(story, step->expected, line);
        }
    }
    return part != SEEK;
}

// NULL when the step has no such argument.
static inline const struct story_arg *
story_arg(const struct story_step *step, const char *key)
{
    for (unsigned i = 0; i < step->arg_count; i++)
        if (strcmp(step->args[i].key, key) == 0)
            return &step->args[i];
    return NULL;
}

#endif
