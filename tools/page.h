// tools/page.h -- a program that prints its part of a page of the documentation, or looks whether a page has it.
//
// Shape: shell.
//
// usage: PROGRAM          prints it
//        PROGRAM FILE     exits with 1 unless FILE has it
#ifndef OMEN_TOOLS_PAGE_H
#define OMEN_TOOLS_PAGE_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES_MAX ((size_t)1 << 20)

struct page_part {
    void (*print)(FILE *out);
    const char *what; // for who has to mend the page
    bool last;        // nothing of the page comes behind it
};

static inline bool
page_has(const struct page_part *part, FILE *page, const char *wanted)
{
    char *text = calloc(1, PAGE_BYTES_MAX + 1);
    const size_t bytes = text != NULL ? fread(text, 1, PAGE_BYTES_MAX, page) : 0;
    const char *found = bytes > 0 ? strstr(text, wanted) : NULL;
    const bool has = found != NULL && (!part->last || found[strlen(wanted)] == '\0');
    free(text);
    return has;
}

static inline int
page_check(const struct page_part *part, const char *path)
{
    char *wanted = NULL;
    size_t count = 0;
    FILE *page = fopen(path, "rb");
    if (page == NULL) {
        perror(path);
        return 1;
    }
    FILE *memory = open_memstream(&wanted, &count);
    if (memory != NULL) {
        part->print(memory);
        fclose(memory);
    }
    const bool has = wanted != NULL && page_has(part, page, wanted);
    if (!has)
        fprintf(stderr, "%s: %s is not as it is printed\n", path, part->what);
    free(wanted);
    fclose(page);
    return has ? 0 : 1;
}

static inline int
page_main(const struct page_part *part, int argc, char **argv)
{
    if (argc >= 2)
        return page_check(part, argv[1]);
    part->print(stdout);
    return 0;
}

#endif
