// bench/bulk.c -- the bulk build alone, stage by stage, and its graph beside the inserted one.
//
// Shape: shell. Needs base/ and index/ only, so that it runs on machines that have a C compiler and nothing else
// (bench/bulk.sh makes it there).
//
// usage: omen_bulk_bench [--rows N] [--dim N] [--threads N] [--memory BYTES_PER_ROW] [--repeat N] [--queries N]
//                        [--metric l2|cosine|ip] [--norms PERCENT] [--base FILE --query FILE] [--insert] [--seed N]
//
// Without files it makes rows itself: Gaussian clusters in 24 dimensions, bent into the space of the rows. With them it reads
// raw little-endian f32 rows. The rate counts everything from rows in memory to links in place: founding, codes, build,
// install. --norms 50 makes rows (not queries) e^N(0, 0.5) times as long, the same ones in each run: what embeddings are that nobody
// normalised, which matters under ip. A seed draws what is by chance: the rotation, the entries, and the leaders of a build. bench/bulk.py reads what is printed.
// Recall is that of the index's searches against its own exact scan.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/pool.h"
#include "base/prng.h"
#include "bench/roofline.h"
#include "index/hnsw_bulk.h"
#include "index/kernel/kernel.h"

#define LATENT 24u
#define HIDDEN 64u
#define CLUSTERS 10000u
#define BLOCK_ROWS 1000u
#define K 10u

struct options {
    uint32_t rows, dim, threads, memory, repeat, queries, seed, norms;
    enum metric metric;
    const char *base, *query;
    bool insert;
};

static void
fail(const char *what)
{
    fprintf(stderr, "omen_bulk_bench: %s\n", what);
    exit(1);
}

// ---- rows ----

struct law {
    float *centres, *first, *second, bias[HIDDEN];
    float *out;
    uint32_t dim, rows;
    uint64_t seed;
};

static float
gauss(struct prng *prng)
{
    const float u = 1.0f - prng_unit(prng), v = prng_unit(prng);
    return sqrtf(-2.0f * logf(u)) * cosf(6.2831853f * v);
}

static float *
gauss_array(size_t count, float scale, uint64_t seed)
{
    float *array = malloc(count * sizeof *array);
    struct prng prng;
    prng_init(&prng, seed);
    if (array == NULL)
        fail("out of memory");
    for (size_t i = 0; i < count; i++)
        array[i] = scale * gauss(&prng);
    return array;
}

// A few clusters hold many rows and most hold few.
static uint32_t
draw_cluster(struct prng *prng)
{
    const uint32_t cluster = (uint32_t)expf(prng_unit(prng) * logf((float)CLUSTERS));
    return cluster < CLUSTERS ? cluster : CLUSTERS - 1;
}

static void
law_row(const struct law *law, struct prng *prng, float *out)
{
    const uint32_t cluster = draw_cluster(prng);
    const float spread = 0.15f + 0.35f * (float)(mix64(cluster) >> 40) * 0x1p-24f;
    float latent[LATENT], hidden[HIDDEN];
    for (uint32_t i = 0; i < LATENT; i++)
        latent[i] = law->centres[(size_t)cluster * LATENT + i] + spread * gauss(prng);
    for (uint32_t h = 0; h < HIDDEN; h++) {
        float sum = law->bias[h];
        for (uint32_t i = 0; i < LATENT; i++)
            sum += latent[i] * law->first[h * LATENT + i];
        hidden[h] = tanhf(sum);
    }
    for (uint32_t j = 0; j < law->dim; j++) {
        float sum = 0.05f * gauss(prng);
        for (uint32_t h = 0; h < HIDDEN; h++)
            sum += hidden[h] * law->second[(size_t)j * HIDDEN + h];
        out[j] = sum;
    }
}

static void
law_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct law *law = context;
    struct prng prng;
    prng_init(&prng, mix64(law->seed + index));
    for (uint32_t row = index * BLOCK_ROWS; row < (index + 1) * BLOCK_ROWS && row < law->rows;
         row++)
        law_row(law, &prng, law->out + (size_t)row * law->dim);
}

static float *
make_rows(const struct options *options, uint32_t rows, uint64_t seed)
{
    struct law law = {.dim = options->dim, .rows = rows, .seed = seed};
    law.centres = gauss_array((size_t)CLUSTERS * LATENT, 1.0f, 1);
    law.first = gauss_array((size_t)HIDDEN * LATENT, 1.5f / sqrtf((float)LATENT), 2);
    law.second = gauss_array((size_t)options->dim * HIDDEN, 1.0f / sqrtf((float)HIDDEN), 3);
    float *bias = gauss_array(HIDDEN, 0.3f, 4);
    memcpy(law.bias, bias, sizeof law.bias);
    law.out = malloc((size_t)rows * options->dim * sizeof *law.out);
    if (law.out == NULL)
        fail("out of memory");
    pool_run(options->threads, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, law_block, &law);
    free(law.centres);
    free(law.first);
    free(law.second);
    free(bias);
    return law.out;
}

static float *
read_rows(const char *path, uint32_t dim, uint32_t *rows)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail("a file cannot be opened");
    fseek(file, 0, SEEK_END);
    const uint64_t there = (uint64_t)ftell(file) / (dim * sizeof(float));
    rewind(file);
    *rows = *rows == 0 || *rows > there ? (uint32_t)there : *rows;
    float *values = malloc((size_t)*rows * dim * sizeof *values);
    if (values == NULL || fread(values, dim * sizeof *values, *rows, file) != *rows)
        fail("a file cannot be read");
    fclose(file);
    return values;
}

static void
stretch(float *rows, const struct options *options)
{
    struct prng prng;
    prng_init(&prng, 5);
    for (uint32_t row = 0; row < options->rows; row++) {
        const float longer = expf((float)options->norms / 100.0f * gauss(&prng));
        for (uint32_t i = 0; i < options->dim; i++)
            rows[(size_t)row * options->dim + i] *= longer;
    }
}

// ---- the index ----

static struct hnsw *
open_with(const struct options *options, const float *rows)
{
    const struct hnsw_config config = {.dim = options->dim,
                                       .slots_max = options->rows,
                                       .links = 16,
                                       .build_beam = 200,
                                       .metric = options->metric,
                                       .type = VECTOR_F32,
                                       .quantization = HNSW_QUANTIZE_INT8,
                                       .seed = options->seed};
    struct hnsw *hnsw;
    if (hnsw_open(&config, &hnsw) != OMEN_OK || hnsw_reserve(hnsw, options->rows) != OMEN_OK)
        fail("out of memory");
    hnsw_append(hnsw, rows, options->dim * sizeof *rows, options->rows);
    hnsw_publish(hnsw);
    return hnsw;
}

struct spent {
    double seconds, processor; // since some moment
};

static struct spent
spent_now(void)
{
    return (struct spent){1e-9 * (double)os_clock_ns(), 1e-9 * (double)os_processor_ns()};
}

static struct spent
spent_since(struct spent began)
{
    const struct spent now = spent_now();
    return (struct spent){now.seconds - began.seconds, now.processor - began.processor};
}

static void
print_stages(const struct options *options, const struct hnsw_bulk_report *report,
             const struct hnsw *hnsw, struct spent all)
{
    struct hnsw_memory memory;
    struct hnsw_bulk_stage stages[HNSW_BULK_STAGES];
    const uint32_t count = hnsw_bulk_stages(report, stages);
    hnsw_memory(hnsw, &memory);
    printf("%.0f vectors/s: %u rows x %u in %.3f s, %u threads, kernel %s; %.2f us of processor a "
           "row\n",
           options->rows / all.seconds, options->rows, options->dim, all.seconds, options->threads,
           kernels_best()->name, all.processor * 1e6 / options->rows);
    printf("  us of processor a row:");
    for (uint32_t i = 0; i < count; i++)
        printf(" %s %.3f", stages[i].name, 1e-3 * (double)stages[i].processor_ns / options->rows);
    printf("\n  seconds:");
    for (uint32_t i = 0; i < count; i++)
        printf(" %s %.3f", stages[i].name, 1e-9 * (double)stages[i].ns);
    printf("\n  bytes held a row:");
    for (uint32_t i = 0; i < count; i++)
        printf(" %s %.0f", stages[i].name, (double)stages[i].memory / options->rows);
    printf("\n  bytes read a row:");
    for (uint32_t i = 0; i < count; i++)
        printf(" %s %.0f", stages[i].name, (double)stages[i].read / options->rows);
    printf("\n");
    printf("  build memory %.0f bytes a row, %.0f with the graph, %u passes, %llu leaves of %.0f, "
           "%.1f leaves a row, "
           "%.0f pairs a row, "
           "compared by %u, %u twins, chosen again %.1f %%, unreached %u, links given %u, draws "
           "%u, chopped %llu\n",
           (double)report->memory_peak / options->rows,
           (double)(report->memory_peak + memory.links) / options->rows, report->build.passes,
           (unsigned long long)report->build.leaves,
           (double)report->build.members / (double)report->build.leaves,
           (double)report->build.members / options->rows,
           (double)report->build.pairs / options->rows, report->build.narrow, report->build.twins,
           100.0 * report->build.chosen_again / options->rows, report->build.unreached,
           report->build.links_given, report->build.draws,
           (unsigned long long)report->build.chopped);
}

// --memory is beside the index, of which codes are a part as soon as they are learnt: a build with no room ends after that.
static void
learn_code(struct hnsw *hnsw, const struct options *options)
{
    struct hnsw_bulk_report report;
    struct hnsw_bulk *made;
    const struct hnsw_bulk_options how = {.threads = options->threads, .memory_max = 1};
    if (hnsw_bulk_make(hnsw, &how, &report, &made) != OMEN_E_NO_MEMORY)
        fail("a build within a byte was not refused");
}

static void
bulk(const struct options *options, struct hnsw *hnsw)
{
    struct hnsw_bulk_report report;
    struct hnsw_bulk *made;
    const struct hnsw_bulk_options how = {.threads = options->threads,
                                          .memory_max = (size_t)options->memory * options->rows};
    if (options->memory != 0)
        learn_code(hnsw, options);
    const struct spent began = spent_now();
    if (hnsw_bulk_make(hnsw, &how, &report, &made) != OMEN_OK || made == NULL)
        fail("the build failed");
    const struct spent put = spent_now();
    if (hnsw_bulk_install(made) != OMEN_OK)
        fail("the graph is not sound");
    const struct spent install = spent_since(put), all = spent_since(began);
    hnsw_bulk_close(made);
    report.install_ns = (uint64_t)(1e9 * install.seconds);
    report.install_processor_ns = (uint64_t)(1e9 * install.processor);
    print_stages(options, &report, hnsw, all);
}

struct insertion {
    struct hnsw *hnsw;
    struct scratch *scratches[256];
};

static void
insert_some(void *context, uint32_t index, uint32_t worker)
{
    (void)index;
    struct insertion *insertion = context;
    for (uint32_t i = 0; i < 64; i++)
        if (!hnsw_link_next(insertion->hnsw, insertion->scratches[worker]))
            return;
}

static void
insert(const struct options *options, struct hnsw *hnsw)
{
    struct insertion insertion = {.hnsw = hnsw};
    for (uint32_t i = 0; i < options->threads; i++)
        if (scratch_open(&insertion.scratches[i]) != OMEN_OK)
            fail("out of memory");
    const struct spent began = spent_now();
    pool_run(options->threads, (options->rows + 63) / 64, insert_some, &insertion);
    while (hnsw_link_next(hnsw, insertion.scratches[0])) {
    }
    const struct spent all = spent_since(began);
    printf("%.0f vectors/s: inserted; %.2f us of processor a row\n", options->rows / all.seconds,
           all.processor * 1e6 / options->rows);
    while (hnsw_repair_next(hnsw, insertion.scratches[0])) {
    }
    for (uint32_t i = 0; i < options->threads; i++)
        scratch_close(insertion.scratches[i]);
}

// ---- searches ----

struct asking {
    const struct options *options;
    struct hnsw *hnsw;
    const float *queries;
    struct scratch *scratches[256];
    struct hit *truth;
    uint32_t beam;
    _Atomic uint64_t found, evaluations;
};

static void
scan_one(void *context, uint32_t index, uint32_t worker)
{
    struct asking *asking = context;
    const struct hnsw_query query = {.vector =
                                         asking->queries + (size_t)index * asking->options->dim,
                                     .k = K,
                                     .excluded = HNSW_NONE};
    (void)hnsw_scan(asking->hnsw, &query, asking->scratches[worker],
                    asking->truth + (size_t)index * K);
}

static void
search_one(void *context, uint32_t index, uint32_t worker)
{
    struct asking *asking = context;
    struct hnsw_work work = {0};
    struct hit hits[K];
    const struct hnsw_query query = {.vector =
                                         asking->queries + (size_t)index * asking->options->dim,
                                     .k = K,
                                     .beam = asking->beam,
                                     .excluded = HNSW_NONE,
                                     .work = &work};
    const uint32_t count = hnsw_search(asking->hnsw, &query, asking->scratches[worker], hits);
    const float last = asking->truth[(size_t)index * K + K - 1].distance;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += hits[i].distance <= last;
    asking->found += found;
    asking->evaluations += work.evaluations;
}

static void
print_curve(struct asking *asking, const char *name)
{
    static const uint32_t beams[] = {16, 32, 64, 128, 256, 512, 1024};
    uint32_t unreached;
    char text[200] = "";
    if (hnsw_check(asking->hnsw, &unreached, text, sizeof text) != OMEN_OK)
        fail(text);
    printf("  %s: %.1f links a row, %u unreached; recall/evaluations", name,
           hnsw_links_mean(asking->hnsw), unreached);
    for (uint32_t b = 0; b < sizeof beams / sizeof beams[0]; b++) {
        asking->beam = beams[b];
        asking->found = asking->evaluations = 0;
        pool_run(asking->options->threads, asking->options->queries, search_one, asking);
        printf("  ef %u %.4f/%.0f", beams[b],
               (double)asking->found / (asking->options->queries * (double)K),
               (double)asking->evaluations / asking->options->queries);
    }
    printf("\n");
}

// ---- options ----

static enum metric
metric_of(const char *text)
{
    if (strcmp(text, "l2") == 0)
        return METRIC_L2;
    if (strcmp(text, "cosine") == 0)
        return METRIC_COSINE;
    if (strcmp(text, "ip") != 0)
        fail("the metric is l2, cosine or ip");
    return METRIC_IP;
}

static uint32_t
number(const char *text)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value > UINT32_MAX)
        fail("not a number");
    return (uint32_t)value;
}

static struct options
parse(int count, char **words)
{
    struct options options = {.dim = 128,
                              .threads = os_cpu_count(),
                              .repeat = 1,
                              .queries = 200,
                              .seed = 1,
                              .metric = METRIC_L2};
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : "";
        i += strcmp(word, "--insert") != 0;
        if (strcmp(word, "--rows") == 0)
            options.rows = number(value);
        else if (strcmp(word, "--dim") == 0)
            options.dim = number(value);
        else if (strcmp(word, "--threads") == 0)
            options.threads = number(value);
        else if (strcmp(word, "--memory") == 0)
            options.memory = number(value);
        else if (strcmp(word, "--repeat") == 0)
            options.repeat = number(value);
        else if (strcmp(word, "--queries") == 0)
            options.queries = number(value);
        else if (strcmp(word, "--seed") == 0)
            options.seed = number(value);
        else if (strcmp(word, "--metric") == 0)
            options.metric = metric_of(value);
        else if (strcmp(word, "--norms") == 0)
            options.norms = number(value);
        else if (strcmp(word, "--base") == 0)
            options.base = value;
        else if (strcmp(word, "--query") == 0)
            options.query = value;
        else if (strcmp(word, "--insert") == 0)
            options.insert = true;
        else
            fail("unknown option; see bench/bulk.c");
    }
    if (options.dim == 0 || options.dim > 65536 || options.threads == 0 || options.threads > 256)
        fail("dim is 1..65536, threads 1..256");
    if ((options.base == NULL) != (options.query == NULL))
        fail("--base and --query come together");
    return options;
}

int
main(int count, char **words)
{
    struct options options = parse(count, words);
    if (options.base == NULL)
        options.rows = options.rows != 0 ? options.rows : 1000000;
    float *rows = options.base != NULL ? read_rows(options.base, options.dim, &options.rows)
                                       : make_rows(&options, options.rows, 100);
    float *queries = options.base != NULL ? read_rows(options.query, options.dim, &options.queries)
                                          : make_rows(&options, options.queries, 1u << 30);
    stretch(rows, &options);
    struct asking asking = {.options = &options, .queries = queries};
    asking.truth = malloc((size_t)options.queries * K * sizeof *asking.truth);
    for (uint32_t i = 0; i < options.threads; i++)
        if (scratch_open(&asking.scratches[i]) != OMEN_OK)
            fail("out of memory");
    const struct roofline peak = roofline_measure(options.threads);
    printf("a thread at its best: %.1f products of bytes a ns, %.2f bytes of memory a ns\n",
           peak.products, peak.bytes);
    for (uint32_t turn = 0; turn < options.repeat + options.insert; turn++) {
        struct hnsw *hnsw = open_with(&options, rows);
        asking.hnsw = hnsw;
        if (turn < options.repeat)
            bulk(&options, hnsw);
        else
            insert(&options, hnsw);
        if (turn == 0)
            pool_run(options.threads, options.queries, scan_one, &asking);
        if (turn == 0 || turn == options.repeat)
            print_curve(&asking, turn < options.repeat ? "bulk" : "inserted");
        fflush(stdout);
        hnsw_close(hnsw);
    }
    for (uint32_t i = 0; i < options.threads; i++)
        scratch_close(asking.scratches[i]);
    free(asking.truth);
    free(rows);
    free(queries);
    return 0;
}
