// tools/metrics/main.c -- what docs/OPERATING.md says of each metric, out of the table that they are written by.
//
// Shape: shell.
//
// usage: omen_metrics          prints it
//        omen_metrics FILE     exits with 1 unless FILE has it
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/metrics.h"

static void
print_table(FILE *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    fputs("| metric | kind | labels | what |\n|---|---|---|---|\n", out);
    for (uint32_t i = 0; i < METRICS_END; i++) {
        const struct metric_row *row = metrics_row((enum metric_id)i);
        fprintf(out, "| `%s` | %s | ", row->name, kinds[row->kind]);
        for (const char *label = row->labels; *label != '\0';) {
            const size_t count = strcspn(label, ",");
            fprintf(out, "%s%.*s", label == row->labels ? "" : ", ", (int)count, label);
            label += count + (label[count] == ',');
        }
        fprintf(out, " | %s |\n", row->help);
    }
}

static int
check(const char *path, const char *wanted)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    char *text = calloc(1, 1u << 20);
    const size_t bytes = text != NULL ? fread(text, 1, (1u << 20) - 1, file) : 0;
    fclose(file);
    const int has = bytes > 0 && strstr(text, wanted) != NULL;
    free(text);
    if (!has)
        fprintf(stderr, "%s: the table of metrics is not what omen_metrics prints\n", path);
    return has ? 0 : 1;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_table(stdout);
        return 0;
    }
    char *text = NULL;
    size_t count = 0;
    FILE *memory = open_memstream(&text, &count);
    if (memory == NULL)
        return 1;
    print_table(memory);
    fclose(memory);
    const int result = check(argv[1], text);
    free(text);
    return result;
}
