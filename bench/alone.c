// bench/alone.c -- the library's own search of a file, beside which bench/cluster.py puts the same search through a node.
//
// Shape: shell. usage: omen_alone_bench PATH QUERIES ef seconds batch threads     batch 0: one query a call
//
// One line of JSON. CPU is the whole process's, of an index that has nothing else to do.
#include "bench/driver.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { K = 10, BATCH_MAX = 1000, TIMES_MAX = 1 << 22 };

static double times_us[TIMES_MAX];
static uint64_t ids[BATCH_MAX * K];
static float distances[BATCH_MAX * K];

static const float *
map(const char *path, size_t *floats)
{
    struct stat stat;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        die("%s cannot be read", path);
    const float *at =
        mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        die("%s cannot be mapped", path);
    *floats = (size_t)stat.st_size / sizeof(float);
    return at;
}

int
main(int argc, char **argv)
{
    if (argc != 7)
        die("usage: omen_alone_bench PATH QUERIES ef seconds batch threads");
    const size_t batch = number(argv[5], "batch"), step = batch > 0 ? batch : 1;
    const double seconds = strtod(argv[4], NULL);
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = argv[1];
    omen_index_t index;
    check(omen_open(&options, &index), "omen_open");
    check(omen_flush(index), "omen_flush");
    omen_options is = {.struct_size = sizeof is};
    check(omen_options_of(index, &is), "omen_options_of");
    size_t floats;
    const float *queries = map(argv[2], &floats);
    const size_t rows = floats / is.dimension;
    if (step > BATCH_MAX || step > rows)
        die("batch: at most %d", BATCH_MAX);
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    query.k = K;
    query.ef = (uint32_t)number(argv[3], "ef");
    query.threads = (uint32_t)number(argv[6], "threads");
    const double warm_s = clock_s(CLOCK_MONOTONIC) + 0.3;
    double begin_s = 0, cpu_s = 0;
    size_t count = 0, at = 0;
    for (;;) {
        const double before_s = clock_s(CLOCK_MONOTONIC);
        if (begin_s == 0 && before_s >= warm_s) {
            begin_s = before_s;
            cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
        }
        if ((begin_s > 0 && before_s >= begin_s + seconds) || count == TIMES_MAX)
            break;
        const float *vector = queries + at * is.dimension;
        uint32_t found;
        if (batch > 0)
            check(omen_query_batch(index, vector, batch, &query, ids, distances), "batch");
        else
            check(omen_query(index, vector, &query, ids, distances, &found), "query");
        at = (at + step) % (rows - step + 1);
        if (begin_s > 0)
            times_us[count++] = (clock_s(CLOCK_MONOTONIC) - before_s) * 1e6;
    }
    const double took_s = clock_s(CLOCK_MONOTONIC) - begin_s;
    cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
    if (count == 0)
        die("nothing was measured");
    qsort(times_us, count, sizeof times_us[0], by_value);
    printf(
        "{\"count\": %zu, \"rate\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_us\": %.3f}\n",
        count, (double)count / took_s, times_us[count / 2], times_us[count * 99 / 100],
        cpu_s * 1e6 / (double)count);
    omen_close(index);
    return 0;
}
