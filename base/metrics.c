// base/metrics.c -- what a process counts for who watches it, and how that is written.
//
// Shape: value.
#include "base/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define LINE_BYTES 256u
#define SECOND_NS UINT64_C(1000000000)

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static const struct {
    uint64_t most_ns;
    const char *seconds;
} bounds[METRIC_BUCKETS] = {
    {50 * US, "5e-05"}, {100 * US, "0.0001"},  {250 * US, "0.00025"}, {500 * US, "0.0005"},
    {1 * MS, "0.001"},  {2500 * US, "0.0025"}, {5 * MS, "0.005"},     {10 * MS, "0.01"},
    {25 * MS, "0.025"}, {50 * MS, "0.05"},     {100 * MS, "0.1"},     {250 * MS, "0.25"},
    {500 * MS, "0.5"},  {1000 * MS, "1"},      {2500 * MS, "2.5"},    {5000 * MS, "5"},
    {10000 * MS, "10"},
};

// ---- counting ----

void
metric_time(struct metric_times *times, uint64_t took_ns)
{
    uint32_t at = 0;
    while (at < METRIC_BUCKETS && took_ns > bounds[at].most_ns)
        at++;
    metric_add(&times->buckets[at], 1);
    metric_add(&times->sum_ns, took_ns);
}

uint64_t
metric_times_count(const struct metric_times *times)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i <= METRIC_BUCKETS; i++)
        count += metric_read(&times->buckets[i]);
    return count;
}

// ---- the text ----

void
metrics_init(struct metrics_text *text)
{
    *text = (struct metrics_text){0};
}

void
metrics_fini(struct metrics_text *text)
{
    mem_free(text->bytes);
    metrics_init(text);
}

static void
add_bytes(struct metrics_text *text, const char *bytes, size_t count)
{
    if (text->failed)
        return;
    if (count > text->room - text->count) {
        const size_t room = 2 * text->room + count + 4096;
        char *grown = mem_resize(text->bytes, room);
        if (grown == NULL) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

__attribute__((format(printf, 2, 3))) static void
add(struct metrics_text *text, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int count = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    ASSERT(count >= 0 && (size_t)count < sizeof line); // names and numbers are ours
    add_bytes(text, line, (size_t)count);
}

static void
add_word(struct metrics_text *text, const char *word)
{
    add_bytes(text, word, strlen(word));
}

void
metrics_family(struct metrics_text *text, const struct metric_row *row)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    text->row = row;
    add(text, "# HELP %s ", row->name);
    add_word(text, row->help);
    add(text, "\n# TYPE %s %s\n", row->name, kinds[row->kind]);
}

static void
add_escaped(struct metrics_text *text, const char *value)
{
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n')
            add_word(text, "\\n");
        else if (*at == '"' || *at == '\\')
            add(text, "\\%c", *at);
        else
            add_bytes(text, at, 1);
    }
}

// The name with its labels; `le` NULL: none of those.
static void
add_name(struct metrics_text *text, const char *suffix, const char *const *values, const char *le)
{
    const char *label = text->row->labels;
    add(text, "%s%s", text->row->name, suffix);
    char before = '{';
    for (uint32_t i = 0; *label != '\0'; i++) {
        const size_t count = strcspn(label, ",");
        add_bytes(text, &before, 1);
        add_bytes(text, label, count);
        add_word(text, "=\"");
        add_escaped(text, values[i]);
        add_word(text, "\"");
        before = ',';
        label += count + (label[count] == ',');
    }
    if (le != NULL)
        add(text, "%cle=\"%s\"", before, le);
    add_word(text, before == ',' || le != NULL ? "} " : " ");
}

void
metrics_sample(struct metrics_text *text, const char *const *values, uint64_t value)
{
    add_name(text, "", values, NULL);
    add(text, "%" PRIu64 "\n", value);
}

static void
add_seconds(struct metrics_text *text, uint64_t ns)
{
    add(text, "%" PRIu64 ".%09" PRIu64 "\n", ns / SECOND_NS, ns % SECOND_NS);
}

void
metrics_sample_ns(struct metrics_text *text, const char *const *values, uint64_t value_ns)
{
    add_name(text, "", values, NULL);
    add_seconds(text, value_ns);
}

// The count is that of the buckets as they were read, so the two agree while others count.
void
metrics_sample_times(struct metrics_text *text, const char *const *values,
                     const struct metric_times *times)
{
    uint64_t count = 0;
    ASSERT(text->row->kind == METRIC_HISTOGRAM);
    for (uint32_t i = 0; i < METRIC_BUCKETS; i++) {
        count += metric_read(&times->buckets[i]);
        add_name(text, "_bucket", values, bounds[i].seconds);
        add(text, "%" PRIu64 "\n", count);
    }
    count += metric_read(&times->buckets[METRIC_BUCKETS]);
    add_name(text, "_bucket", values, "+Inf");
    add(text, "%" PRIu64 "\n", count);
    add_name(text, "_sum", values, NULL);
    add_seconds(text, metric_read(&times->sum_ns));
    add_name(text, "_count", values, NULL);
    add(text, "%" PRIu64 "\n", count);
}

void
metrics_one(struct metrics_text *text, const struct metric_row *row, uint64_t value)
{
    metrics_family(text, row);
    metrics_sample(text, NULL, value);
}
