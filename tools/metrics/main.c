// tools/metrics/main.c -- what docs/OPERATING.md says of each metric, out of the table that they are written by.
//
// Shape: shell.
//
// usage: omen_metrics          prints it
//        omen_metrics FILE     exits with 1 unless FILE has it
#include "node/metrics.h"
#include "tools/page.h"

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

int
main(int argc, char **argv)
{
    const struct page_part part = {.print = print_table,
                                   .what = "the table of metrics (omen_metrics)"};
    return page_main(&part, argc, argv);
}
