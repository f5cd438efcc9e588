// tests/lib/sim_batch.h -- many seeds, each in a process of its own: one that ends by an assert is told as well, and the next goes on.
//
// Shape: shell.
#ifndef OMEN_TESTS_SIM_BATCH_H
#define OMEN_TESTS_SIM_BATCH_H
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/sim_summary.h"

enum sim_voice { SIM_SILENT, SIM_LOUD };

struct sim_batch {
    struct sim_summary summary;
    uint64_t failed;
};

// tests/sim/omensim.c: runs it through and counts what happened. Ends the process where a claim is broken.
void sim_run_seed(const struct sim_options *options, uint64_t row[SIM_COUNTED_KINDS]);

static inline void
sim_silence(void)
{
    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
        _exit(2);
}

// Whether it ended well; `row` lies where both processes see it.
static inline bool
sim_run_apart(const struct sim_options *options, uint64_t *row, enum sim_voice voice)
{
    fflush(stdout);
    const pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        if (voice == SIM_SILENT)
            sim_silence();
        sim_run_seed(options, row);
        fflush(stdout);
        _exit(0);
    }
    int status;
    const pid_t ended = waitpid(child, &status, 0);
    ASSERT(ended == child);
    if (voice == SIM_LOUD && WIFSIGNALED(status)) {
        printf("signal %d\n  omensim ", WTERMSIG(status));
        sim_print_options(options, stdout);
        printf("\n");
    }
    return WIFEXITED(status) && WEXITSTATUS(status) != 1;
}

static inline uint64_t *
sim_shared_row(void)
{
    void *row = mmap(NULL, SIM_COUNTED_KINDS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(row != MAP_FAILED);
    return row;
}

// Silent.
static inline bool
sim_seed_fails(const struct sim_options *options)
{
    uint64_t *row = sim_shared_row();
    const bool well = sim_run_apart(options, row, SIM_SILENT);
    munmap(row, SIM_COUNTED_KINDS * sizeof *row);
    return !well;
}

static inline void
sim_batch_run(struct sim_batch *batch, const struct sim_options *options)
{
    uint64_t *row = sim_shared_row();
    if (sim_run_apart(options, row, SIM_LOUD))
        sim_summary_row(&batch->summary, row);
    else
        batch->failed++;
    munmap(row, SIM_COUNTED_KINDS * sizeof *row);
}

// How many events a second of this machine's time they were.
static inline double
sim_batch_rate(const struct sim_batch *batch)
{
    struct rusage usage;
    const int status = getrusage(RUSAGE_CHILDREN, &usage);
    ASSERT(status == 0);
    double events = 0;
    for (uint64_t i = 0; i < batch->summary.count; i++)
        events += (double)batch->summary.rows[i * SIM_COUNTED_KINDS + SIM_COUNTED_events];
    const double seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
                           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
    return events / (seconds + 1e-9);
}

// Whether all ended well.
static inline bool
sim_batch_end(struct sim_batch *batch)
{
    const uint64_t count = batch->summary.count + batch->failed;
    if (count > 1) {
        printf("%" PRIu64 " seeds, %" PRIu64 " failed; %.0f events a CPU-second\n", count,
               batch->failed, sim_batch_rate(batch));
        if (batch->summary.count > 0)
            sim_summary_print(&batch->summary);
    }
    free(batch->summary.rows);
    return batch->failed == 0;
}

static inline void
sim_choose_nodes(struct sim_options *options)
{
    if (options->nodes == 0)
        options->nodes = sim_usual(options->profile->nodes, 3 + 2 * (uint32_t)(options->seed % 2));
}

#endif
