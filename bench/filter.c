// bench/filter.c -- what a filter costs: the index alone and the whole public call, against no filter and a scan.
//
// Shape: shell. usage: omen_filter_bench --data PREFIX [--layer index|call|both] [--queries N] [--rounds N] [--n ROWS]
//        [--only random|own|other] [--kinds PREFIX]
//
// The filters are those of bench/filters.py: `random` has nothing to do with the vectors, `own` lets through rows of
// the query's own kind, `other` of a far one. Kinds are 1,000 bands of equal size along a random direction, or classes
// read from PREFIX.base.u32 and PREFIX.query.u32. Each cell is answered at the smallest ef that gives enough recall. A
// round times every query without filter, with it, and some by the exact scan, one behind the other, so that the
// ratios of a round share its minute of a busy machine; the medians of the rounds' times and ratios are printed.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "index/hnsw.h"

#include "bench/driver.h" // brings omendb.h, which leaves the statuses to base/

enum { BANDS = 1000, K = 10, ROUNDS_MAX = 101, PATH_BYTES = 4096, PAYLOAD_BYTES = 16, SCANS = 16 };
enum { LADDER = 15, SHARES = 4, HOWS = 3 };

static const uint32_t ladder[LADDER] = {10,  16,  24,  32,  48,  64,   96,  128,
                                        192, 256, 384, 512, 768, 1024, 2048};
static const double shares[SHARES] = {0.5, 0.1, 0.01, 0.001};
static const char *const hows[HOWS] = {"random", "own", "other"};
static const double recall_floor = 0.95;

enum layer { LAYER_INDEX, LAYER_CALL, LAYERS };
enum way { PLAIN, FILTERED };

struct group { // queries that share a filter
    char text[128];
    struct bitmap allowed;
    uint32_t allowed_count;
    uint32_t kind;
};

static struct {
    const char *prefix, *only, *kinds_prefix;
    const float *base, *query;
    size_t dim, rows, queries;
    omen_metric metric;
    int layers[LAYERS];
    uint32_t rounds;
    uint32_t kinds, step;
    uint32_t *kind, *die, *own; // of rows, of rows, of queries
    struct hnsw *hnsw;
    struct scratch *scratch;
    omen_index_t index;
    struct group *groups;
    uint32_t group_count;
    uint32_t *group_of; // of each query
    uint32_t *order;    // queries group by group, as those who use one filter come together
    uint64_t *truth;    // queries x K
} bench;

static void *
memory(size_t bytes)
{
    void *out = calloc(1, bytes);
    if (out == NULL)
        die("no memory");
    return out;
}

// Of this thread, so that what others run lengthens nothing but misses.
static double
now_s(void)
{
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

// ---- input ----

static const void *
map_rows(const char *prefix, const char *ending, size_t width, size_t *count)
{
    char path[PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s.%s", prefix, ending);
    const int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0)
        die("%s: %s", path, strerror(errno));
    const void *rows = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (rows == MAP_FAILED)
        die("%s: %s", path, strerror(errno));
    close(fd);
    const size_t there = (size_t)st.st_size / (width * 4);
    if (*count == 0 || there < *count)
        *count = there;
    return rows;
}

static void
load(void)
{
    char path[PATH_BYTES], line[512] = "", metric[16] = "";
    snprintf(path, sizeof path, "%s.txt", bench.prefix);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        die("%s: %s", path, strerror(errno));
    fclose(file);
    const char *at = strstr(line, "dim="), *named = strstr(line, "metric=");
    if (at == NULL || named == NULL || sscanf(at, "dim=%zu", &bench.dim) != 1 ||
        sscanf(named, "metric=%15s", metric) != 1 || bench.dim == 0)
        die("%s: no dim= or metric=", path);
    bench.metric = OMEN_COSINE;
    if (strcmp(metric, "l2") == 0)
        bench.metric = OMEN_L2;
    else if (strcmp(metric, "ip") == 0)
        bench.metric = OMEN_IP;
    bench.base = map_rows(bench.prefix, "base.f32", bench.dim, &bench.rows);
    bench.query = map_rows(bench.prefix, "query.f32", bench.dim, &bench.queries);
}

struct along {
    double value;
    uint32_t row;
};

static double
project(const float *vector, const float *direction)
{
    double sum = 0;
    for (size_t i = 0; i < bench.dim; i++)
        sum += (double)vector[i] * (double)direction[i];
    return sum;
}

// Bands along a direction whose components are sums of three uniform numbers.
static void
cut_bands(struct prng *prng)
{
    float *direction = memory(bench.dim * sizeof *direction);
    for (size_t i = 0; i < bench.dim; i++)
        direction[i] = prng_unit(prng) + prng_unit(prng) + prng_unit(prng) - 1.5f;
    struct along *sorted = memory(bench.rows * sizeof *sorted);
    for (uint32_t i = 0; i < bench.rows; i++)
        sorted[i] = (struct along){project(bench.base + i * bench.dim, direction), i};
    qsort(sorted, bench.rows, sizeof *sorted, by_value);
    for (size_t i = 0; i < bench.rows; i++)
        bench.kind[sorted[i].row] = (uint32_t)(i * BANDS / bench.rows);
    for (size_t q = 0; q < bench.queries; q++) {
        const double value = project(bench.query + q * bench.dim, direction);
        size_t low = 0, high = bench.rows - 1;
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (sorted[middle].value < value)
                low = middle + 1;
            else
                high = middle;
        }
        bench.own[q] = (uint32_t)(low * BANDS / bench.rows);
    }
    bench.kinds = BANDS;
    bench.step = BANDS / 2;
    free(sorted);
    free(direction);
}

static void
label(void)
{
    struct prng prng;
    prng_init(&prng, 1);
    bench.kind = memory(bench.rows * 4);
    bench.die = memory(bench.rows * 4);
    bench.own = memory(bench.queries * 4);
    for (size_t i = 0; i < bench.rows; i++)
        bench.die[i] = prng_below(&prng, BANDS);
    if (bench.kinds_prefix == NULL) {
        cut_bands(&prng);
        return;
    }
    size_t rows = bench.rows, queries = bench.queries;
    memcpy(bench.kind, map_rows(bench.kinds_prefix, "base.u32", 1, &rows), rows * 4);
    memcpy(bench.own, map_rows(bench.kinds_prefix, "query.u32", 1, &queries), queries * 4);
    if (rows < bench.rows || queries < bench.queries)
        die("%s: too few kinds", bench.kinds_prefix);
    for (size_t i = 0; i < rows; i++)
        bench.kinds = bench.kind[i] >= bench.kinds ? bench.kind[i] + 1 : bench.kinds;
    bench.step = bench.kinds / 2;
}

// ---- build ----

static void *
link_rows(void *argument)
{
    (void)argument;
    struct scratch *scratch;
    check(scratch_open(&scratch), "scratch_open");
    while (hnsw_link_next(bench.hnsw, scratch) || hnsw_repair_next(bench.hnsw, scratch)) {
    }
    scratch_close(scratch);
    return NULL;
}

static void
build_index(void)
{
    const struct hnsw_config config = {.dim = (uint32_t)bench.dim,
                                       .slots_max = (uint32_t)bench.rows,
                                       .links = 16,
                                       .build_beam = 200,
                                       .metric = (enum metric)bench.metric,
                                       .type = VECTOR_F32};
    check(hnsw_open(&config, &bench.hnsw), "hnsw_open");
    check(hnsw_reserve(bench.hnsw, (uint32_t)bench.rows), "hnsw_reserve");
    hnsw_append(bench.hnsw, bench.base, bench.dim * 4, (uint32_t)bench.rows);
    hnsw_publish(bench.hnsw);
    pthread_t second;
    if (pthread_create(&second, NULL, link_rows, NULL) != 0)
        die("no thread");
    link_rows(NULL);
    pthread_join(second, NULL);
    link_rows(NULL); // what one of them held when the other left
}

static void
build_call(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = (uint32_t)bench.dim;
    options.metric = bench.metric;
    check(omen_open(&options, &bench.index), "omen_open");
    uint8_t *bytes = memory(bench.rows * PAYLOAD_BYTES);
    const void **payloads = memory(bench.rows * sizeof *payloads);
    size_t *lengths = memory(bench.rows * sizeof *lengths);
    for (size_t i = 0; i < bench.rows; i++) {
        // {"die": u16, "kind": u16}
        uint8_t *to = bytes + i * PAYLOAD_BYTES;
        memcpy(to, "\x82\xa3\x64\x69\x65\xcd..\xa4kind\xcd", 14);
        to[6] = (uint8_t)(bench.die[i] >> 8);
        to[7] = (uint8_t)bench.die[i];
        to[14] = (uint8_t)(bench.kind[i] >> 8);
        to[15] = (uint8_t)bench.kind[i];
        payloads[i] = to;
        lengths[i] = PAYLOAD_BYTES;
    }
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = bench.rows;
    batch.vectors = bench.base;
    batch.payloads = payloads;
    batch.payload_bytes = lengths;
    check(omen_add(bench.index, &batch), "omen_add");
    check(omen_field_index(bench.index, "die", OMEN_FIELD_INTEGER), "omen_field_index");
    check(omen_field_index(bench.index, "kind", OMEN_FIELD_INTEGER), "omen_field_index");
    check(omen_flush(bench.index), "omen_flush");
    free(lengths);
    free(payloads);
    free(bytes);
}

// ---- filters ----

static void
add_group(const char *how, double share, uint32_t kind)
{
    struct group *group = &bench.groups[bench.group_count++];
    uint32_t low = 0, end = bench.kinds, cut = (uint32_t)(share * BANDS + 0.5);
    group->kind = kind;
    snprintf(group->text, sizeof group->text, "die < %u", cut);
    if (how != hows[0]) { // whole kinds first; what is left to cut, the die cuts
        uint32_t wide = (uint32_t)(share * bench.kinds + 0.5);
        wide = wide < 1 ? 1 : wide;
        cut = (uint32_t)(share * bench.kinds / wide * BANDS + 0.5);
        low = kind < wide / 2 ? 0 : kind - wide / 2;
        low = low > bench.kinds - wide ? bench.kinds - wide : low;
        end = low + wide;
        const int wrote =
            snprintf(group->text, sizeof group->text, "kind >= %u and kind < %u", low, end);
        if (cut < BANDS)
            snprintf(group->text + wrote, sizeof group->text - (size_t)wrote, " and die < %u", cut);
    }
    const uint32_t rows = (uint32_t)bench.rows;
    group->allowed = (struct bitmap){memory((size_t)bitmap_words(rows) * 8), rows};
    for (uint32_t i = 0; i < rows; i++)
        if (bench.die[i] < cut && bench.kind[i] >= low && bench.kind[i] < end)
            bitmap_set(&group->allowed, i);
    group->allowed_count = (uint32_t)bitmap_population(&group->allowed);
}

static void
make_groups(const char *how, double share)
{
    while (bench.group_count > 0)
        free(bench.groups[--bench.group_count].allowed.words);
    for (size_t q = 0; q < bench.queries; q++) {
        uint32_t kind = 0, at = 0;
        if (how != hows[0])
            kind = (bench.own[q] + (how == hows[2] ? bench.step : 0)) % bench.kinds;
        while (at < bench.group_count && bench.groups[at].kind != kind)
            at++;
        if (at == bench.group_count)
            add_group(how, share, kind);
        bench.group_of[q] = at;
    }
    uint32_t placed = 0;
    for (uint32_t g = 0; g < bench.group_count; g++)
        for (uint32_t q = 0; q < bench.queries; q++)
            if (bench.group_of[q] == g)
                bench.order[placed++] = q;
}

// ---- searching ----

struct wish {
    enum layer layer;
    enum way way;
    uint32_t ef;
    uint8_t exact;
};

static uint32_t
ask_call(const struct wish *wish, const float *vector, const struct group *group, uint64_t *ids,
         omen_query_report *report)
{
    float distances[K];
    uint32_t found;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = K;
    options.ef = wish->ef;
    options.filter = wish->way == PLAIN ? NULL : group->text;
    options.exact = wish->exact;
    options.report = report;
    check(omen_query(bench.index, vector, &options, ids, distances, &found), "omen_query");
    return found;
}

static uint32_t
ask_index(const struct wish *wish, const float *vector, const struct group *group, uint64_t *ids,
          omen_query_report *report)
{
    struct hit hits[K];
    struct hnsw_work work = {0};
    struct hnsw_query query = {
        .vector = vector, .k = K, .beam = wish->ef, .excluded = HNSW_NONE, .work = &work};
    if (wish->way != PLAIN) {
        query.allowed = &group->allowed;
        query.allowed_count = group->allowed_count;
    }
    const uint32_t found = wish->exact ? hnsw_scan(bench.hnsw, &query, bench.scratch, hits)
                                       : hnsw_search(bench.hnsw, &query, bench.scratch, hits);
    for (uint32_t i = 0; i < found; i++)
        ids[i] = hits[i].slot;
    if (report != NULL) {
        report->evaluations = work.evaluations;
        report->exact_distances = work.exact_distances;
        report->strategy = work.strategy;
    }
    return found;
}

static uint32_t
ask(const struct wish *wish, size_t q, uint64_t *ids, omen_query_report *report)
{
    const struct group *group = &bench.groups[bench.group_of[q]];
    const float *vector = bench.query + q * bench.dim;
    return wish->layer == LAYER_CALL ? ask_call(wish, vector, group, ids, report)
                                     : ask_index(wish, vector, group, ids, report);
}

static void
make_truth(enum way way)
{
    const struct wish wish = {bench.layers[LAYER_INDEX] ? LAYER_INDEX : LAYER_CALL, way, 0, 1};
    for (size_t q = 0; q < bench.queries; q++)
        for (uint32_t i = ask(&wish, q, bench.truth + q * K, NULL); i < K; i++)
            bench.truth[q * K + i] = UINT64_MAX;
}

// Mean microseconds of `count` queries.
static double
time_queries(const struct wish *wish, size_t count)
{
    uint64_t ids[K];
    const double start = now_s();
    for (size_t i = 0; i < count; i++)
        ask(wish, bench.order[i * bench.queries / count], ids, NULL);
    return (now_s() - start) / (double)count * 1e6;
}

struct point {
    uint32_t ef, strategies[3];
    double recall, evaluations, exact;
};

static struct point
measure_point(const struct wish *wish)
{
    uint64_t hit = 0, there = 0;
    struct point point = {.ef = wish->ef};
    for (size_t q = 0; q < bench.queries; q++) {
        uint64_t ids[K];
        omen_query_report report = {0};
        const uint32_t found = ask(wish, q, ids, &report);
        point.evaluations += (double)report.evaluations / (double)bench.queries;
        point.exact += (double)report.exact_distances / (double)bench.queries;
        point.strategies[report.strategy % 3]++;
        for (uint32_t i = 0; i < K; i++) {
            there += bench.truth[q * K + i] != UINT64_MAX;
            for (uint32_t j = 0; j < found; j++)
                hit += bench.truth[q * K + i] == ids[j];
        }
    }
    point.recall = there > 0 ? (double)hit / (double)there : 1.0;
    return point;
}

// The smallest ef of the ladder that gives enough recall.
static struct point
smallest(enum layer layer, enum way way)
{
    struct point point = {0};
    for (uint32_t step = 0; step < LADDER && point.recall < recall_floor; step++)
        point = measure_point(&(struct wish){layer, way, ladder[step], 0});
    return point;
}

static double
median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

static void
measure_cell(enum layer layer, const char *how, double share, uint32_t plain_ef)
{
    static double plain[ROUNDS_MAX], filtered[ROUNDS_MAX], scan[ROUNDS_MAX];
    static double of_plain[ROUNDS_MAX], of_scan[ROUNDS_MAX];
    const struct point point = smallest(layer, FILTERED);
    const size_t scans = share > 0.05 && bench.queries > SCANS ? SCANS : bench.queries;
    for (uint32_t r = 0; r < bench.rounds; r++) {
        plain[r] = time_queries(&(struct wish){layer, PLAIN, plain_ef, 0}, bench.queries);
        // By turns, for who comes second finds the rows in the cache.
        for (uint32_t turn = 0; turn < 2; turn++) {
            if ((r + turn) % 2 == 0)
                filtered[r] =
                    time_queries(&(struct wish){layer, FILTERED, point.ef, 0}, bench.queries);
            else
                scan[r] = time_queries(&(struct wish){layer, FILTERED, 0, 1}, scans);
        }
        of_plain[r] = plain[r] / filtered[r];
        of_scan[r] = scan[r] / filtered[r];
    }
    printf("%-6s %-6s %5.1f%% %5u %6.3f %7.0f %6.1f  %4u/%4u/%4u %8.1f %8.1f %9.1f %7.2fx %8.2fx\n",
           layer == LAYER_INDEX ? "index" : "call", how, 100 * share, point.ef, point.recall,
           point.evaluations, point.exact, point.strategies[0], point.strategies[1],
           point.strategies[2], median(plain, bench.rounds), median(filtered, bench.rounds),
           median(scan, bench.rounds), median(of_plain, bench.rounds),
           median(of_scan, bench.rounds));
    fflush(stdout);
}

// ---- main ----

static void
take_option(const char *name, const char *value)
{
    if (strcmp(name, "--data") == 0) {
        bench.prefix = value;
    } else if (strcmp(name, "--kinds") == 0) {
        bench.kinds_prefix = value;
    } else if (strcmp(name, "--only") == 0) {
        bench.only = value;
    } else if (strcmp(name, "--queries") == 0) {
        bench.queries = strtoul(value, NULL, 10);
    } else if (strcmp(name, "--n") == 0) {
        bench.rows = strtoul(value, NULL, 10);
    } else if (strcmp(name, "--rounds") == 0) {
        bench.rounds = (uint32_t)strtoul(value, NULL, 10);
    } else if (strcmp(name, "--layer") == 0) {
        bench.layers[LAYER_INDEX] = strcmp(value, "call") != 0;
        bench.layers[LAYER_CALL] = strcmp(value, "index") != 0;
    } else {
        die("not understood: %s", name);
    }
}

static void
measure_all(void)
{
    uint32_t plain_ef[LAYERS] = {0};
    make_groups(hows[0], 1.0);
    make_truth(PLAIN);
    for (int layer = 0; layer < LAYERS; layer++) {
        if (!bench.layers[layer])
            continue;
        const struct point point = smallest((enum layer)layer, PLAIN);
        plain_ef[layer] = point.ef;
        printf("%s: no filter: ef %u recall %.3f evaluations %.0f\n",
               layer == LAYER_INDEX ? "index" : "call", point.ef, point.recall, point.evaluations);
    }
    printf("%-6s %-6s %6s %5s %6s %7s %6s  %14s %8s %8s %9s %8s %9s\n", "layer", "filter", "pass",
           "ef", "recall", "evals", "exact", "walk/filt/scan", "plain us", "filt us", "scan us",
           "of plain", "of scan");
    for (int h = 0; h < HOWS; h++) {
        for (int s = 0; s < SHARES; s++) {
            if (bench.only != NULL && strcmp(bench.only, hows[h]) != 0)
                continue;
            make_groups(hows[h], shares[s]);
            make_truth(FILTERED);
            for (int layer = 0; layer < LAYERS; layer++)
                if (bench.layers[layer])
                    measure_cell((enum layer)layer, hows[h], shares[s], plain_ef[layer]);
        }
    }
}

int
main(int count, char **words)
{
    bench.layers[LAYER_INDEX] = bench.layers[LAYER_CALL] = 1;
    bench.queries = 300;
    bench.rounds = 7;
    for (int i = 1; i + 1 < count; i += 2)
        take_option(words[i], words[i + 1]);
    if (bench.prefix == NULL || count % 2 == 0 || bench.rounds < 1 || bench.rounds > ROUNDS_MAX)
        die("usage: omen_filter_bench --data PREFIX [--layer index|call|both] [--queries 300] "
            "[--rounds 7] [--n ROWS] [--only random|own|other] [--kinds PREFIX]");
    load();
    label();
    bench.groups = memory(bench.queries * sizeof *bench.groups);
    bench.group_of = memory(bench.queries * sizeof *bench.group_of);
    bench.order = memory(bench.queries * sizeof *bench.order);
    bench.truth = memory(bench.queries * K * sizeof *bench.truth);
    check(scratch_open(&bench.scratch), "scratch_open");
    if (bench.layers[LAYER_INDEX])
        build_index();
    if (bench.layers[LAYER_CALL])
        build_call();
    printf("%s: %zu rows, %zu queries\n", bench.prefix, bench.rows, bench.queries);
    measure_all();
    omen_close(bench.index);
    hnsw_close(bench.hnsw);
    scratch_close(bench.scratch);
    return 0;
}
