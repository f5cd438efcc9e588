// bench/engine.c -- times the C engine on one data set: build, ef sweep, single-query latency, call
// overhead.
//
// Shape: shell. Calls nothing but include/omendb.h, so what it prints is what a C user gets.
//
// It exists to tune the search loop without Python between. A data set is four files written by
// `python -m bench.data`: PREFIX.txt (one line of key=value), PREFIX.base.f32, PREFIX.query.f32
// (raw little-endian rows) and PREFIX.truth.u32 (row numbers of the exact neighbours, nearest
// first). Every repetition walks through all efs, so that a slow minute of a shared host hits all
// of them.
#include "bench/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { POINTS_MAX = 64, REPEATS_MAX = 101, PATH_BYTES = 4096 };

struct matrix {
    const void *rows; // mapped, read only
    size_t count;
    size_t width; // values of four bytes per row
};

struct settings {
    const char *prefix, *base, *query, *truth;
    size_t dimension, base_count, query_count, truth_width, batch;
    uint32_t k, repeats, build_threads, search_threads, m, ef_construction;
    omen_metric metric;
    omen_quantization quantization;
    uint64_t seed;
    double points[POINTS_MAX]; // ef above 1, target_recall below
    uint32_t point_count;
    const char *filter;
};

struct sample {
    double qps[REPEATS_MAX], beyond_ns[REPEATS_MAX];
    double recall, p50_us, p99_us;
    uint64_t evaluations, exact;
};

static double
now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

// ---- input ----

static struct matrix
map_matrix(const char *path, size_t width, size_t rows_max)
{
    const int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die("%s: %s", path, strerror(errno));
    const size_t bytes = (size_t)st.st_size;
    if (width == 0 || bytes == 0 || bytes % (width * 4) != 0)
        die("%s: %zu bytes are not rows of %zu values", path, bytes, width);
    const void *rows = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (rows == MAP_FAILED)
        die("%s: %s", path, strerror(errno));
    close(fd);
    const size_t count = bytes / (width * 4);
    return (struct matrix){rows, rows_max > 0 && rows_max < count ? rows_max : count, width};
}

static omen_metric
metric_of(const char *name)
{
    if (strcmp(name, "l2") == 0)
        return OMEN_L2;
    if (strcmp(name, "ip") == 0)
        return OMEN_IP;
    if (strcmp(name, "cosine") != 0)
        die("--metric is l2, cosine or ip, not %s", name);
    return OMEN_COSINE;
}

static void
parse_points(struct settings *s, char *list)
{
    s->point_count = 0;
    for (char *rest = list, *word; (word = strtok_r(rest, ",", &rest)) != NULL;) {
        char *end;
        const double value = strtod(word, &end);
        if (*end != '\0' || value <= 0 || s->point_count == POINTS_MAX)
            die("--ef: %s is not an ef, or there are more than %d", word, POINTS_MAX);
        s->points[s->point_count++] = value;
    }
    if (s->point_count == 0)
        die("--ef: an empty list");
}

// PREFIX.txt gives what the flags do not.
static void
read_header(struct settings *s)
{
    static char paths[3][PATH_BYTES];
    static const char *const endings[3] = {"base.f32", "query.f32", "truth.u32"};
    char line[512], metric[16] = "", path[PATH_BYTES];
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], PATH_BYTES, "%s.%s", s->prefix, endings[i]);
    s->base = paths[0];
    s->query = paths[1];
    s->truth = paths[2];
    snprintf(path, sizeof path, "%s.txt", s->prefix);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        die("%s: %s", path, strerror(errno));
    fclose(file);
    for (char *rest = line, *word; (word = strtok_r(rest, " \n", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL)
            die("%s: %s is not key=value", path, word);
        *value++ = '\0';
        if (strcmp(word, "dim") == 0)
            s->dimension = number(value, word);
        else if (strcmp(word, "truth") == 0)
            s->truth_width = number(value, word);
        else if (strcmp(word, "metric") == 0)
            snprintf(metric, sizeof metric, "%s", value);
    }
    s->metric = metric_of(metric);
}

static int
take_option(struct settings *s, const char *name, char *value)
{
    const struct {
        const char *name;
        size_t *wide;
        uint32_t *narrow;
    } numbers[] = {
        {"--dim", &s->dimension, NULL},
        {"--n", &s->base_count, NULL},
        {"--queries", &s->query_count, NULL},
        {"--truth-width", &s->truth_width, NULL},
        {"--batch", &s->batch, NULL},
        {"--k", NULL, &s->k},
        {"--repeat", NULL, &s->repeats},
        {"--build-threads", NULL, &s->build_threads},
        {"--threads", NULL, &s->search_threads},
        {"--m", NULL, &s->m},
        {"--efc", NULL, &s->ef_construction},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(name, numbers[i].name) != 0)
            continue;
        if (numbers[i].wide != NULL)
            *numbers[i].wide = number(value, name);
        else
            *numbers[i].narrow = (uint32_t)number(value, name);
        return 1;
    }
    const struct {
        const char *name;
        const char **text;
    } texts[] = {{"--data", &s->prefix},
                 {"--base", &s->base},
                 {"--query", &s->query},
                 {"--truth", &s->truth},
                 {"--filter", &s->filter}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].text = value;
            return 1;
        }
    }
    if (strcmp(name, "--metric") == 0)
        s->metric = metric_of(value);
    else if (strcmp(name, "--ef") == 0)
        parse_points(s, value);
    else if (strcmp(name, "--seed") == 0)
        s->seed = number(value, name);
    else if (strcmp(name, "--quantization") == 0)
        s->quantization = strcmp(value, "none") == 0 ? OMEN_QUANTIZE_NONE : OMEN_QUANTIZE_INT8;
    else
        return 0;
    return 1;
}

static struct settings
parse(int count, char **words)
{
    static char default_points[] = "10,12,16,20,24,32,48,64,96,128,200,300,400,600,800";
    struct settings s = {.k = 10,
                         .repeats = 3,
                         .m = 16,
                         .ef_construction = 200,
                         .metric = OMEN_L2,
                         .truth_width = 100,
                         .search_threads = 1};
    parse_points(&s, default_points);
    for (int i = 1; i + 1 < count; i++) { // the header first, so that flags win over it
        if (strcmp(words[i], "--data") == 0) {
            s.prefix = words[i + 1];
            read_header(&s);
        }
    }
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count || !take_option(&s, words[i], words[i + 1]))
            die("usage: omen_bench --data PREFIX | --base F --query F --truth F --dim D --metric "
                "l2|cosine|ip\n"
                "  [--n ROWS] [--queries N] [--truth-width 100] [--k 10] [--ef 10,20,0.95,...] "
                "[--repeat 3]\n"
                "  [--threads 1] [--build-threads 0] [--m 16] [--efc 200] [--seed 0] [--batch ROWS "
                "per add]\n"
                "  [--quantization int8|none]\n"
                "A point of --ef below 1 is a target_recall. Not understood: %s",
                words[i]);
    }
    if (s.base == NULL || s.query == NULL || s.truth == NULL)
        die("--data, or --base, --query and --truth, are needed");
    if (s.repeats == 0 || s.repeats > REPEATS_MAX || s.k == 0 || s.k > s.truth_width)
        die("--repeat is 1..%d; --k is 1..%zu (the width of the truth)", REPEATS_MAX,
            s.truth_width);
    return s;
}

// ---- build ----

static omen_index_t
open_index(const struct settings *s)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = (uint32_t)s->dimension;
    options.metric = s->metric;
    options.m = s->m;
    options.ef_construction = s->ef_construction;
    options.threads = s->build_threads;
    options.quantization = s->quantization;
    options.seed = s->seed;
    omen_index_t index;
    check(omen_open(&options, &index), "omen_open");
    return index;
}

static void
build(omen_index_t index, const struct settings *s, const struct matrix *base)
{
    const size_t step = s->batch > 0 ? s->batch : base->count;
    const double start = now_s();
    for (size_t row = 0; row < base->count; row += step) {
        omen_batch batch = OMEN_BATCH_INIT;
        batch.count = base->count - row < step ? base->count - row : step;
        batch.vectors = (const float *)base->rows + row * base->width;
        check(omen_add(index, &batch), "omen_add");
    }
    const double added = now_s();
    check(omen_flush(index), "omen_flush");
    const double linked = now_s();
    printf("build   %zu x %zu: add returned after %.3f s, linked after %.3f s: %.0f vectors/s\n",
           base->count, base->width, added - start, linked - start,
           (double)base->count / (linked - start));
}

static void
print_statistics(omen_index_t index)
{
    omen_statistics st = {.struct_size = sizeof st};
    check(omen_stats(index, &st), "omen_stats");
    const double n = st.count > 0 ? (double)st.count : 1;
    printf("index   kernel %s, code %s, %u build threads, %.1f links a node\n", st.kernel, st.code,
           st.threads, st.links_mean);
    printf(
        "memory  %.1f B/vector without raw vectors (%.3f B/dim): links %.1f, codes %.1f, ids %.1f, "
        "search %.1f, other %.1f; raw %.1f\n",
        st.bytes_per_vector, st.bytes_per_vector / (st.dimension > 0 ? st.dimension : 1),
        (double)st.bytes_links / n, (double)st.bytes_codes / n, (double)st.bytes_ids / n,
        (double)st.bytes_search / n, (double)st.bytes_other / n, (double)st.bytes_vectors / n);
}

// ---- search ----

static omen_query_options
query_options(const struct settings *s, double point, omen_query_report *report)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = s->k;
    options.threads = s->search_threads;
    options.report = report;
    options.filter = s->filter;
    if (point < 1)
        options.target_recall = point;
    else
        options.ef = (uint32_t)point;
    return options;
}

static double
recall_of(const struct settings *s, const uint64_t *ids, const struct matrix *truth, size_t queries)
{
    size_t found = 0;
    for (size_t q = 0; q < queries; q++) {
        const uint32_t *right = (const uint32_t *)truth->rows + q * truth->width;
        for (size_t i = 0; i < s->k; i++)
            for (size_t j = 0; j < s->k; j++)
                found += ids[q * s->k + i] == right[j];
    }
    return (double)found / (double)(queries * s->k);
}

// One omen_query per call, each timed: the quantiles.
static void
measure_quantiles(omen_index_t index, const struct settings *s, const struct matrix *query,
                  double point, struct sample *out)
{
    const omen_query_options options = query_options(s, point, NULL);
    double *took = malloc(query->count * sizeof *took);
    uint64_t *ids = malloc(s->k * sizeof *ids);
    float *distances = malloc(s->k * sizeof *distances);
    if (took == NULL || ids == NULL || distances == NULL)
        die("no memory");
    double before = now_s();
    for (size_t q = 0; q < query->count; q++) {
        uint32_t found;
        check(omen_query(index, (const float *)query->rows + q * query->width, &options, ids,
                         distances, &found),
              "omen_query");
        const double after = now_s();
        took[q] = after - before;
        before = after;
    }
    qsort(took, query->count, sizeof *took, by_value);
    out->p50_us = 1e6 * took[query->count / 2];
    out->p99_us = 1e6 * took[query->count * 99 / 100];
    free(distances);
    free(ids);
    free(took);
}

// Seconds that all queries take, in one batch and in a call each; room for all answers.
static double
time_batch(omen_index_t index, const struct matrix *query, const omen_query_options *options,
           uint64_t *ids, float *distances, clockid_t clock)
{
    const double start = clock_s(clock);
    check(omen_query_batch(index, query->rows, query->count, options, ids, distances),
          "omen_query_batch");
    return clock_s(clock) - start;
}

static double
time_calls(omen_index_t index, const struct matrix *query, const omen_query_options *options,
           uint64_t *ids, float *distances, clockid_t clock)
{
    const double start = clock_s(clock);
    for (size_t q = 0; q < query->count; q++) {
        uint32_t found;
        check(omen_query(index, (const float *)query->rows + q * query->width, options,
                         ids + q * options->k, distances + q * options->k, &found),
              "omen_query");
    }
    return clock_s(clock) - start;
}

// What a call costs beyond its share of a batch on one thread. One after the other, in turns which is first: the second
// finds in the caches what the first left there, and a slow minute hits both. In time of this thread, because a search
// waits for nobody and what others take of the processor is no part of it.
static double
beyond_batch_ns(omen_index_t index, const struct matrix *query, const omen_query_options *options,
                uint64_t *ids, float *distances, uint32_t turn)
{
    omen_query_options alone = *options;
    double batch = 0, calls;
    alone.threads = 1;
    alone.report = NULL;
    if (turn % 2 == 0)
        batch = time_batch(index, query, &alone, ids, distances, CLOCK_THREAD_CPUTIME_ID);
    calls = time_calls(index, query, &alone, ids, distances, CLOCK_THREAD_CPUTIME_ID);
    if (turn % 2 != 0)
        batch = time_batch(index, query, &alone, ids, distances, CLOCK_THREAD_CPUTIME_ID);
    return 1e9 * (calls - batch) / (double)query->count;
}

static void
sweep(omen_index_t index, const struct settings *s, const struct matrix *query,
      const struct matrix *truth, struct sample *samples)
{
    uint64_t *ids = malloc(query->count * s->k * sizeof *ids);
    float *distances = malloc(query->count * s->k * sizeof *distances);
    if (ids == NULL || distances == NULL)
        die("no memory");
    for (uint32_t repeat = 0; repeat < s->repeats; repeat++) {
        for (uint32_t i = 0; i < s->point_count; i++) {
            omen_query_report report = {0};
            const omen_query_options options = query_options(s, s->points[i], &report);
            samples[i].beyond_ns[repeat] =
                beyond_batch_ns(index, query, &options, ids, distances, repeat);
            samples[i].qps[repeat] = (double)query->count / time_batch(index, query, &options, ids,
                                                                       distances, CLOCK_MONOTONIC);
            samples[i].evaluations = report.evaluations;
            samples[i].exact = report.exact_distances;
            if (repeat + 1 == s->repeats) {
                samples[i].recall = recall_of(s, ids, truth, query->count);
                measure_quantiles(index, s, query, s->points[i], &samples[i]);
            }
        }
    }
    free(distances);
    free(ids);
}

static void
print_samples(const struct settings *s, const struct matrix *query, struct sample *samples)
{
    const double n = (double)query->count;
    printf("search  %zu queries, k=%u, %u thread(s), %u repeats: medians (min-max); per-call "
           "figures: one thread\n",
           query->count, s->k, s->search_threads, s->repeats);
    printf("%8s %8s %9s %19s %8s %8s %8s %8s %8s %9s\n", "point", "recall", "QPS", "(min-max)",
           "us", "evals", "ns/eval", "p50 us", "p99 us", "call+ns");
    for (uint32_t i = 0; i < s->point_count; i++) {
        struct sample *p = &samples[i];
        qsort(p->qps, s->repeats, sizeof *p->qps, by_value);
        qsort(p->beyond_ns, s->repeats, sizeof *p->beyond_ns, by_value);
        const double qps = p->qps[s->repeats / 2];
        const double us = 1e6 * s->search_threads / qps;
        const double evals = (double)p->evaluations / n;
        printf("%8g %8.4f %9.0f (%8.0f-%8.0f) %8.1f %8.0f %8.1f %8.1f %8.1f %9.0f\n", s->points[i],
               p->recall, qps, p->qps[0], p->qps[s->repeats - 1], us, evals,
               evals > 0 ? 1e3 * us / evals : 0.0, p->p50_us, p->p99_us,
               p->beyond_ns[s->repeats / 2]);
    }
}

static void
print_crossings(const struct settings *s, const struct sample *samples)
{
    static const double targets[] = {0.90, 0.95, 0.99, 0.999};
    printf("QPS at recall (log-linear between neighbours):");
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
        double best = 0;
        for (uint32_t i = 0; i + 1 < s->point_count; i++) {
            const struct sample *a = &samples[i], *b = &samples[i + 1];
            if (a->recall > targets[t] || b->recall < targets[t] || s->points[i] < 1)
                continue;
            const double span = b->recall - a->recall;
            const double share = span > 0 ? (targets[t] - a->recall) / span : 1;
            const double x = log(a->qps[s->repeats / 2]), y = log(b->qps[s->repeats / 2]);
            best = exp(x + share * (y - x));
            break;
        }
        if (best > 0)
            printf("  @%g %.0f", targets[t], best);
        else
            printf("  @%g %s", targets[t],
                   samples[0].recall > targets[t] ? "below the sweep" : "never");
    }
    putchar('\n');
}

// The fixed cost of a query: an index of one row has no work inside.
static void
print_call_floor(const struct settings *s, const struct matrix *base, const struct matrix *query)
{
    omen_index_t index = open_index(s);
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = 1;
    batch.vectors = base->rows;
    check(omen_add(index, &batch), "omen_add");
    check(omen_flush(index), "omen_flush");
    struct sample sample = {0};
    measure_quantiles(index, s, query, 10, &sample);
    printf("floor   omen_query on an index of one row: p50 %.0f ns\n", 1e3 * sample.p50_us);
    omen_close(index);
}

int
main(int count, char **words)
{
    const struct settings s = parse(count, words);
    const struct matrix base = map_matrix(s.base, s.dimension, s.base_count);
    const struct matrix query = map_matrix(s.query, s.dimension, s.query_count);
    const struct matrix truth = map_matrix(s.truth, s.truth_width, s.query_count);
    if (truth.count < query.count)
        die("%s: truth for %zu of %zu queries", s.truth, truth.count, query.count);
    struct sample *samples = calloc(POINTS_MAX, sizeof *samples);
    if (samples == NULL)
        die("no memory");
    printf("omendb %s\n", omen_version());
    omen_index_t index = open_index(&s);
    build(index, &s, &base);
    print_statistics(index);
    sweep(index, &s, &query, &truth, samples);
    print_samples(&s, &query, samples);
    print_crossings(&s, samples);
    print_call_floor(&s, &base, &query);
    omen_close(index);
    free(samples);
    return 0;
}
