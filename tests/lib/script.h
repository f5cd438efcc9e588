// tests/lib/script.h -- stories as files: commands, a line "----", what is expected; again and again.
//
// Shape: shell.
//
// A block ends with an empty line. Lines that begin with # before a block are comments. The interpreter is given one command
// line after the other and adds what it has to say; a block's answers together must be what stands below its "----".
// With rewrite they are put there, for a person to review.
#ifndef OMEN_TESTS_SCRIPT_H
#define OMEN_TESTS_SCRIPT_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define SCRIPT_ANSWER_BYTES 65536u

struct script {
    void (*command)(void *context, const char *line, struct text *answer);
    void *context;
    bool rewrite;
};

struct script_file {
    FILE *in, *out; // out: with rewrite
    const char *path;
    uint32_t line;
    bool failed;
    bool between; // rewriting, an empty line is due before the next
};

static inline bool
script_next(struct script_file *file, char *line, size_t capacity)
{
    if (fgets(line, (int)capacity, file->in) == NULL)
        return false;
    file->line++;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

// From behind "----" to the empty line.
static inline void
script_compare(const struct script *script, struct script_file *file, const char *answer)
{
    static char expected[SCRIPT_ANSWER_BYTES];
    char line[4096];
    struct text text;
    const uint32_t first = file->line + 1;
    text_init(&text, expected, sizeof expected);
    while (script_next(file, line, sizeof line) && line[0] != '\0')
        text_add(&text, "%s\n", line);
    if (script->rewrite) {
        fprintf(file->out, "%s", answer);
        file->between = true;
    } else if (strcmp(expected, answer) != 0) {
        fprintf(stderr, "%s:%u: expected\n%s-- and got\n%s", file->path, first, expected, answer);
        file->failed = true;
    }
}

// Whether all was as expected.
static inline bool
script_run(const struct script *script, const char *path)
{
    static char answer[SCRIPT_ANSWER_BYTES];
    char line[4096], next[4200];
    struct text text;
    struct script_file file = {.in = fopen(path, "r"), .path = path};
    snprintf(next, sizeof next, "%s.next", path);
    if (script->rewrite)
        file.out = fopen(next, "w");
    if (file.in == NULL || (script->rewrite && file.out == NULL)) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        exit(EXIT_FAILURE);
    }
    text_init(&text, answer, sizeof answer);
    while (script_next(&file, line, sizeof line)) {
        if (script->rewrite)
            fprintf(file.out, file.between ? "\n%s\n" : "%s\n", line);
        file.between = false;
        if (strcmp(line, "----") == 0) {
            script_compare(script, &file, answer);
            text_init(&text, answer, sizeof answer);
        } else if (line[0] != '\0' && line[0] != '#') {
            script->command(script->context, line, &text);
        }
    }
    fclose(file.in);
    if (script->rewrite && (fclose(file.out) != 0 || rename(next, path) != 0))
        file.failed = true;
    return !file.failed;
}

#endif
