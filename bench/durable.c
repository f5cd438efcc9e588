// bench/durable.c -- what an index with a path costs: writing, opening, searching from the file, its size.
//
// Shape: shell. Calls nothing but include/omendb.h, so what it prints is what a C user gets.
//
// One job a process, one line of JSON each (bench/durable.py asks for them and makes the tables):
//   build  writes rows in batches, as one program would, and counts syncs and bytes
//   first  opens and asks one question; the clock starts in main()
//   tail   writes rows and dies by SIGKILL, so that opening has a log to apply
//   qps    an opened file beside the same rows in memory, in turn, in one process
//   churn  replaces all rows again and again, and looks at the file's size; then compacts
// fdatasync and its relatives are this program's own, which count and go on to the kernel: the library and LMDB
// call these.
#include "bench/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, K = 10 };

struct rows {
    const float *at; // mapped
    size_t count, width;
};

struct settings {
    const char *job, *path, *base, *query;
    size_t dimension, count, from, batch, upserts, rounds, queries, payload;
    uint32_t ef;
};

// The dynamic linker must find them.
#define EXPORTED __attribute__((visibility("default")))

static _Atomic unsigned long syncs;

EXPORTED int
fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

EXPORTED int
fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

EXPORTED int
msync(void *at, size_t bytes, int flags)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_msync, at, bytes, flags);
}

static void *
room(size_t bytes)
{
    void *at = malloc(bytes);
    if (at == NULL)
        die("no memory for %zu bytes", bytes);
    return at;
}

static double
now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

// ---- input ----

static struct rows
map_rows(const char *path, size_t width, int populate)
{
    if (path == NULL || width == 0)
        die("--base, --query and --dim are needed");
    const int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        die("%s: %s", path, strerror(errno));
    const size_t bytes = (size_t)st.st_size;
    if (bytes == 0 || bytes % (width * sizeof(float)) != 0)
        die("%s: %zu bytes are not rows of %zu floats", path, bytes, width);
    const void *at =
        mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | (populate ? MAP_POPULATE : 0), fd, 0);
    if (at == MAP_FAILED)
        die("%s: %s", path, strerror(errno));
    close(fd);
    return (struct rows){at, bytes / (width * sizeof(float)), width};
}

static struct settings
parse(int count, char **words)
{
    struct settings s = {.dimension = 128, .batch = 1000, .rounds = 5, .queries = 500, .ef = 64};
    if (count < 3)
        die("usage: omen_durable_bench build|first|tail|qps|churn PATH [--base F] [--query F] "
            "[--dim "
            "128] [--n ROWS]\n"
            "  [--from ROW] [--batch 1000] [--upserts PERCENT] [--rounds 5] [--queries 500] [--ef "
            "64] "
            "[--payload BYTES]");
    s.job = words[1];
    s.path = words[2];
    for (int i = 3; i < count; i += 2) {
        const char *name = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        const struct {
            const char *name;
            size_t *out;
        } numbers[] = {{"--dim", &s.dimension},   {"--n", &s.count},
                       {"--from", &s.from},       {"--batch", &s.batch},
                       {"--upserts", &s.upserts}, {"--rounds", &s.rounds},
                       {"--queries", &s.queries}, {"--payload", &s.payload}};
        size_t known = 0;
        if (value == NULL)
            die("%s has no value", name);
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            if (strcmp(name, numbers[j].name) == 0) {
                *numbers[j].out = number(value, name);
                known = 1;
            }
        }
        if (strcmp(name, "--base") == 0)
            s.base = value;
        else if (strcmp(name, "--query") == 0)
            s.query = value;
        else if (strcmp(name, "--ef") == 0)
            s.ef = (uint32_t)number(value, name);
        else if (!known)
            die("%s is not understood", name);
    }
    if (s.batch == 0 || s.rounds == 0 || s.queries == 0 || s.upserts > 100)
        die("--batch, --rounds and --queries are at least 1; --upserts is 0..100");
    return s;
}

// ---- what the kernel knows ----

// The number behind a name in a file about this process; 0 where it cannot be read.
static unsigned long long
kernel_says(const char *path, const char *name)
{
    char line[128];
    unsigned long long value = 0;
    const size_t length = strlen(name);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, length) == 0)
            value = strtoull(line + length, NULL, 10);
    if (file != NULL)
        fclose(file);
    return value;
}

// Bytes this process gave to the system to write, which are whole pages. (What it counts as written besides, write_bytes, are
// the folios of the page cache that got dirty: up to 2 MiB for a page, of which only that goes to the disk.)
static unsigned long long
written_bytes(void)
{
    return kernel_says("/proc/self/io", "wchar:");
}

static unsigned long long
file_bytes(const char *folder)
{
    char path[PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (stat(path, &st) != 0)
        die("%s: %s", path, strerror(errno));
    return (unsigned long long)st.st_size;
}

static unsigned long long
anonymous_bytes(void)
{
    return 1024 * kernel_says("/proc/self/status", "RssAnon:");
}

// ---- the index ----

static omen_index_t
open_index(const struct settings *s, const char *path, int read_only)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = path;
    options.read_only = read_only;
    options.dimension = (uint32_t)s->dimension;
    options.metric = OMEN_L2;
    omen_index_t index;
    check(omen_open(&options, &index), "omen_open");
    return index;
}

static omen_statistics
statistics(omen_index_t index)
{
    omen_statistics st = {.struct_size = sizeof st};
    check(omen_stats(index, &st), "omen_stats");
    return st;
}

// Rows [first, first + count) of the base under ids of `ids`; every row with a payload of s->payload bytes.
static void
write_rows(omen_index_t index, const struct settings *s, const struct rows *base, size_t first,
           size_t count, const uint64_t *ids)
{
    omen_batch batch = OMEN_BATCH_INIT;
    const void **payloads = NULL;
    size_t *bytes = NULL;
    unsigned char payload[256] = {0x81, 0xa1, 't', 0xd9}; // {"t": a text of so many bytes}
    if (s->payload > 250)
        die("--payload is at most 250");
    if (s->payload > 5) {
        payload[4] = (unsigned char)(s->payload - 5);
        memset(payload + 5, 'x', s->payload - 5);
        payloads = room(count * sizeof *payloads);
        bytes = room(count * sizeof *bytes);
        for (size_t i = 0; i < count; i++) {
            payloads[i] = payload;
            bytes[i] = s->payload;
        }
    }
    batch.count = count;
    batch.vectors = base->at + first % base->count * base->width;
    batch.ids = ids;
    batch.payloads = payloads;
    batch.payload_bytes = bytes;
    check(omen_upsert(index, &batch), "omen_upsert");
    free(payloads);
    free(bytes);
}

static void
query(omen_index_t index, const float *vector, uint32_t ef, int exact, uint64_t *ids)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    float distances[K];
    uint32_t found = 0;
    options.k = K;
    options.ef = ef;
    options.exact = exact;
    for (uint32_t i = 0; i < K; i++)
        ids[i] = UINT64_MAX;
    check(omen_query(index, vector, &options, ids, distances, &found), "omen_query");
}

static uint64_t
random_next(uint64_t *state) // splitmix64
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

// ---- the jobs ----

// With --upserts so many of a batch's rows replace earlier ones, drawn at random. PATH `-`: in memory.
static void
build(const struct settings *s)
{
    const struct rows base = map_rows(s->base, s->dimension, 1);
    const int durable = strcmp(s->path, "-") != 0;
    const size_t rows = s->count > 0 && s->count < base.count ? s->count : base.count;
    omen_index_t index = open_index(s, durable ? s->path : NULL, 0);
    uint64_t *ids = room(s->batch * sizeof *ids), next = statistics(index).count, state = 1;
    const unsigned long syncs_before = atomic_load(&syncs);
    const unsigned long long written_before = written_bytes();
    const double start = now_s();
    double worst = 0;
    for (size_t row = 0; row < rows; row += s->batch) {
        const size_t count = rows - row < s->batch ? rows - row : s->batch;
        const size_t replaced = row > 0 ? count * s->upserts / 100 : 0;
        const uint64_t stride = replaced > 0 ? next / replaced : 1;
        for (size_t i = 0; i < count; i++) // over all ids, none twice in a batch
            ids[i] = i < replaced ? (i * stride + random_next(&state) % stride) : next++;
        const double before = now_s();
        write_rows(index, s, &base, s->from + row, count, ids);
        const double took = now_s() - before;
        worst = took > worst ? took : worst;
    }
    const double added = now_s() - start;
    const unsigned long syncs_added = atomic_load(&syncs) - syncs_before;
    const unsigned long long written_added = written_bytes() - written_before;
    check(omen_flush(index), "omen_flush");
    const double linked = now_s() - start;
    const omen_statistics st = statistics(index);
    const unsigned long long anonymous = anonymous_bytes();
    omen_close(index);
    printf("{\"rows\": %zu, \"live\": %llu, \"searchable_s\": %.4f, \"linked_s\": %.4f, "
           "\"closed_s\": %.4f, \"worst_s\": %.4f, "
           "\"syncs\": %lu, \"written\": %llu, \"written_closed\": %llu, \"syncs_closed\": %lu, "
           "\"file\": %llu, \"raw\": %llu, \"codes\": %llu, \"links\": %llu, \"payloads\": %llu, "
           "\"anonymous\": %llu}\n",
           rows, (unsigned long long)st.count, added, linked, now_s() - start, worst, syncs_added,
           written_added, written_bytes() - written_before, atomic_load(&syncs) - syncs_before,
           durable ? file_bytes(s->path) : 0,
           (unsigned long long)(st.count * s->dimension * sizeof(float)),
           (unsigned long long)st.bytes_codes, (unsigned long long)st.bytes_links,
           (unsigned long long)(st.count * s->payload), anonymous);
    free(ids);
}

static void
first(const struct settings *s, double start)
{
    const struct rows queries = map_rows(s->query, s->dimension, 0);
    uint64_t ids[K];
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    omen_index_t index = open_index(s, s->path, 0);
    const double opened = now_s();
    query(index, queries.at, s->ef, 0, ids);
    const double answered = now_s(), busy = clock_s(CLOCK_THREAD_CPUTIME_ID);
    getrusage(RUSAGE_SELF, &after);
    const omen_statistics st = statistics(index);
    printf("{\"rows\": %llu, \"tail\": %llu, \"open_ms\": %.3f, \"first_ms\": %.3f, \"cpu_ms\": "
           "%.3f, \"minor\": %ld, "
           "\"major\": %ld}\n",
           (unsigned long long)st.count, (unsigned long long)st.tail, 1e3 * (opened - start),
           1e3 * (answered - start), 1e3 * busy, after.ru_minflt - before.ru_minflt,
           after.ru_majflt - before.ru_majflt);
    fflush(stdout);
    _exit(0); // a close would checkpoint, and the next process find something else
}

static void
tail(const struct settings *s)
{
    const struct rows base = map_rows(s->base, s->dimension, 1);
    omen_index_t index = open_index(s, s->path, 0);
    uint64_t *ids = room(s->batch * sizeof *ids), next = 1ull << 40;
    for (size_t row = 0; row < s->count; row += s->batch) {
        const size_t count = s->count - row < s->batch ? s->count - row : s->batch;
        for (size_t i = 0; i < count; i++)
            ids[i] = next++;
        write_rows(index, s, &base, s->from + row, count, ids);
    }
    raise(SIGKILL);
}

static double
ask(omen_index_t index, const struct settings *s, const struct rows *queries, size_t from,
    size_t count, uint64_t *ids)
{
    const double start = now_s();
    for (size_t i = 0; i < count; i++) {
        const size_t q = (from + i) % queries->count;
        query(index, queries->at + q * queries->width, s->ef, 0, ids + i * K);
    }
    return (double)count / (now_s() - start);
}

static double
recall(const uint64_t *ids, const uint64_t *truth, size_t count)
{
    size_t right = 0;
    for (size_t q = 0; q < count; q++)
        for (size_t i = 0; i < K; i++)
            for (size_t j = 0; j < K; j++)
                right += ids[q * K + i] == truth[q * K + j];
    return (double)right / (double)(count * K);
}

static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

// Each round: memory, file just opened (from the map), memory, file once promoted. What a round compares is
// measured within the same second.
static void
qps(const struct settings *s)
{
    const struct rows base = map_rows(s->base, s->dimension, 1);
    const struct rows queries = map_rows(s->query, s->dimension, 1);
    const size_t rows = s->count > 0 && s->count < base.count ? s->count : base.count;
    const size_t few = s->queries < queries.count ? s->queries : queries.count;
    omen_index_t memory = open_index(s, NULL, 0);
    uint64_t *ids = room(few * K * sizeof *ids), *truth = room(few * K * sizeof *truth);
    uint64_t *file_ids = room(few * K * sizeof *file_ids);
    double *map = room(s->rounds * sizeof *map), *promoted = room(s->rounds * sizeof *promoted);
    double *plain = room(s->rounds * sizeof *plain), *touched = room(s->rounds * sizeof *touched);
    for (size_t row = 0; row < rows; row += s->batch) {
        omen_batch batch = OMEN_BATCH_INIT;
        batch.count = rows - row < s->batch ? rows - row : s->batch;
        batch.vectors = base.at + row * base.width;
        check(omen_add(memory, &batch), "omen_add");
    }
    check(omen_flush(memory), "omen_flush");
    for (size_t q = 0; q < few; q++)
        query(memory, queries.at + q * queries.width, 0, 1, truth + q * K);
    ask(memory, s, &queries, 0, few, ids); // warm
    double wait = 0;
    for (size_t round = 0; round < s->rounds; round++) {
        plain[round] = ask(memory, s, &queries, 0, few, ids);
        omen_index_t file = open_index(s, s->path, 1); // who only reads promotes nothing
        map[round] = ask(file, s, &queries, 0, few, file_ids) / plain[round];
        plain[round] = ask(memory, s, &queries, 0, few, ids);
        touched[round] = ask(file, s, &queries, 0, few, file_ids) / plain[round];
        omen_close(file);
        file = open_index(s, s->path, 0);
        const double opened = now_s();
        for (uint64_t before = 0, now = 1; now != before;) { // until nothing moves any more
            before = now;
            ask(file, s, &queries, 0, few, file_ids);
            const omen_statistics st = statistics(file);
            now = st.bytes_links + st.bytes_codes;
            wait = now_s() - opened;
        }
        ask(file, s, &queries, 0, few, file_ids);
        const double again = ask(memory, s, &queries, 0, few, ids);
        promoted[round] = ask(file, s, &queries, 0, few, file_ids) / again;
        if (round + 1 == s->rounds)
            printf("{\"rows\": %zu, \"recall_memory\": %.4f, \"recall_file\": %.4f, ", rows,
                   recall(ids, truth, few), recall(file_ids, truth, few));
        omen_close(file);
    }
    printf("\"memory_qps\": %.0f, \"map\": %.4f, \"touched\": %.4f, \"promoted\": %.4f, "
           "\"promotion_s\": %.3f}\n",
           median(plain, s->rounds), median(map, s->rounds), median(touched, s->rounds),
           median(promoted, s->rounds), wait);
    omen_close(memory);
}

// Every round replaces all rows, in batches of rows that are drawn over all ids.
static void
churn(const struct settings *s)
{
    const struct rows base = map_rows(s->base, s->dimension, 1);
    omen_index_t index = open_index(s, s->path, 0);
    const size_t rows = s->count > 0 && s->count < base.count ? s->count : base.count;
    const size_t batches = (rows + s->batch - 1) / s->batch;
    uint64_t *ids = room(s->batch * sizeof *ids);
    unsigned long long largest = file_bytes(s->path);
    for (size_t round = 0; round < s->rounds; round++) {
        for (size_t part = 0; part < batches; part++) {
            size_t count = 0;
            for (size_t row = part; row < rows && count < s->batch; row += batches)
                ids[count++] = row;
            const size_t shift = (round + 1) * 7919 * s->batch % (base.count - s->batch);
            write_rows(index, s, &base, (shift + part * s->batch) % (base.count - s->batch), count,
                       ids);
            const unsigned long long bytes = file_bytes(s->path);
            largest = bytes > largest ? bytes : largest;
        }
        check(omen_flush(index), "omen_flush");
    }
    const unsigned long long after = file_bytes(s->path);
    const double start = now_s();
    check(omen_compact(index), "omen_compact");
    const double took = now_s() - start;
    const unsigned long long compact = file_bytes(s->path);
    const omen_statistics st = statistics(index);
    printf("{\"live\": %llu, \"largest\": %llu, \"after\": %llu, \"compact\": %llu, \"compact_s\": "
           "%.3f, \"raw\": %llu, \"codes\": %llu, \"links\": %llu, \"payloads\": %llu, "
           "\"anonymous\": %llu}\n",
           (unsigned long long)st.count, largest, after, compact, took,
           (unsigned long long)(st.count * s->dimension * sizeof(float)),
           (unsigned long long)st.bytes_codes, (unsigned long long)st.bytes_links,
           (unsigned long long)(st.count * s->payload), anonymous_bytes());
    omen_close(index);
    free(ids);
}

int
main(int count, char **words)
{
    const double start = now_s();
    const struct settings s = parse(count, words);
    if (strcmp(s.job, "build") == 0)
        build(&s);
    else if (strcmp(s.job, "first") == 0)
        first(&s, start);
    else if (strcmp(s.job, "tail") == 0)
        tail(&s);
    else if (strcmp(s.job, "qps") == 0)
        qps(&s);
    else if (strcmp(s.job, "churn") == 0)
        churn(&s);
    else
        die("%s is no job: build, first, tail, qps, churn", s.job);
    return 0;
}
