// base/metrics.h -- what a process counts for who watches it, and how that is written: Prometheus' text format, 0.0.4.
//
// Shape:   value. Counting is a relaxed addition: no lock, no memory, no clock.
// Threads: counting from any; a text belongs to one.
// Memory:  a text grows on the heap. Where that fails it is short of what came then, and says so (`failed`).
// Units:   times are counted in nanoseconds and written in seconds.
//
// A name, its kind, its labels and its sentence stand in one table of the process's (struct metric_row); what is written is written by
// row, so that a text and its documentation cannot disagree.
#ifndef OMEN_BASE_METRICS_H
#define OMEN_BASE_METRICS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
    const char *name;
    enum metric_kind kind;
    const char *labels; // "method,status"; "": none
    const char *help;
};

#define METRIC_BUCKETS 17u // from 50 us to 10 s; what is longer goes into one more

struct metric_times { // a histogram
    _Atomic uint64_t buckets[METRIC_BUCKETS + 1];
    _Atomic uint64_t sum_ns;
};

static inline void
metric_add(_Atomic uint64_t *counter, uint64_t count)
{
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

static inline uint64_t
metric_read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void metric_time(struct metric_times *times, uint64_t took_ns);
uint64_t metric_times_count(const struct metric_times *times);

struct metrics_text {
    char *bytes; // owned; not ended by a NUL
    size_t count, room;
    bool failed; // no memory: something is missing
    const struct metric_row *row;
};

void metrics_init(struct metrics_text *text);
void metrics_fini(struct metrics_text *text);

// Its sentence and kind; then all of its samples, before the next family.
void metrics_family(struct metrics_text *text, const struct metric_row *row);
// `values` are those of the row's labels, one each, in their order; any text. NULL: it has none.
void metrics_sample(struct metrics_text *text, const char *const *values, uint64_t value);
void metrics_sample_ns(struct metrics_text *text, const char *const *values, uint64_t value_ns);
void metrics_sample_times(struct metrics_text *text, const char *const *values,
                          const struct metric_times *times);
// A family of one sample without labels.
void metrics_one(struct metrics_text *text, const struct metric_row *row, uint64_t value);

#endif
