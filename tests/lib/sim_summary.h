// tests/lib/sim_summary.h -- what many seeds did, in the middle: a simulation in which nothing happens finds nothing.
//
// Shape: value; on the heap.
//
// A seed counts where 60 s and more were simulated, 2,000 operations of clients and more were done, and there were 20 faults and
// more of at least five kinds.
#ifndef OMEN_TESTS_SIM_SUMMARY_H
#define OMEN_TESTS_SIM_SUMMARY_H
#include "tests/lib/sim_fault.h"
#include "tests/lib/sim_hooks.h"

#define SIM_COUNTED(X)                                                                             \
    X(seconds)                                                                                     \
    X(events)                                                                                      \
    X(operations)                                                                                  \
    X(faults)                                                                                      \
    X(kinds)                                                                                       \
    X(failovers)                                                                                   \
    X(shard_failovers)                                                                             \
    X(member_changes)                                                                              \
    X(transfers)                                                                                   \
    X(disks_lost)                                                                                  \
    X(drains)                                                                                      \
    X(preferred)                                                                                   \
    X(words)                                                                                       \
    X(refusals)                                                                                    \
    X(shrinks)                                                                                     \
    X(shrinks_early)

enum sim_counted {
#define SIM_COUNTED_NUMBER(name) SIM_COUNTED_##name,
    SIM_COUNTED(SIM_COUNTED_NUMBER)
#undef SIM_COUNTED_NUMBER
        SIM_COUNTED_OTHERS, // faults by kind follow
    SIM_COUNTED_KINDS = SIM_COUNTED_OTHERS + SIM_FAULT_KINDS,
};

struct sim_summary {
    uint64_t *rows; // [count][SIM_COUNTED_KINDS]
    uint64_t count, room;
};

static inline const char *
sim_counted_name(enum sim_counted which)
{
#define SIM_COUNTED_NAME(name) #name,
    static const char *const names[] = {SIM_COUNTED(SIM_COUNTED_NAME)};
#undef SIM_COUNTED_NAME
    return names[which];
}

static inline void
sim_summary_count(uint64_t row[SIM_COUNTED_KINDS], const struct sim *sim)
{
    memset(row, 0, SIM_COUNTED_KINDS * sizeof *row);
    row[SIM_COUNTED_seconds] = sim->now_ns / SIM_SECOND;
    row[SIM_COUNTED_events] = sim->events;
    row[SIM_COUNTED_operations] = sim->ops_done + sim_routers_done(sim);
    for (uint32_t kind = 0; kind < 5; kind++)
        row[SIM_COUNTED_operations] += sim->data_done[kind];
    for (uint32_t kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        row[SIM_COUNTED_faults] += sim->fault_count[kind];
        row[SIM_COUNTED_kinds] += sim->fault_count[kind] > 0;
        row[SIM_COUNTED_OTHERS + kind] = sim->fault_count[kind];
    }
    row[SIM_COUNTED_failovers] = sim->leader_terms > 0 ? sim->leader_terms - 1 : 0;
    for (uint32_t s = 0; s < sim->shard_count; s++)
        row[SIM_COUNTED_shard_failovers] +=
            sim->shards[s].opened > 0 ? sim->shards[s].opened - 1 : 0;
    row[SIM_COUNTED_member_changes] = sim->members.changes;
    row[SIM_COUNTED_transfers] = sim->members.transfers;
    row[SIM_COUNTED_disks_lost] = sim->members.lost;
    row[SIM_COUNTED_drains] = sim->drains;
    row[SIM_COUNTED_preferred] = sim->preferred;
    row[SIM_COUNTED_words] = sim->words;
    row[SIM_COUNTED_refusals] = sim->refusals;
    row[SIM_COUNTED_shrinks] = sim->shrinks;
    row[SIM_COUNTED_shrinks_early] = sim->shrinks_early;
}

// Of a seed that ran in another process.
static inline void
sim_summary_row(struct sim_summary *summary, const uint64_t row[SIM_COUNTED_KINDS])
{
    const uint64_t rows = summary->count + 1;
    summary->rows =
        sim_grow(summary->rows, &summary->room, rows * SIM_COUNTED_KINDS, sizeof *summary->rows);
    memcpy(summary->rows + summary->count++ * SIM_COUNTED_KINDS, row,
           SIM_COUNTED_KINDS * sizeof *row);
}

static inline bool
sim_seed_counts(const uint64_t *row)
{
    return row[SIM_COUNTED_seconds] >= 60 && row[SIM_COUNTED_operations] >= 2000 &&
           row[SIM_COUNTED_faults] >= 20 && row[SIM_COUNTED_kinds] >= 5;
}

static inline int
sim_compare_counts(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// How often each kind of fault came, in all seeds together.
static inline void
sim_summary_faults(const struct sim_summary *summary)
{
    printf("faults");
    for (uint32_t kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < summary->count; i++)
            sum += summary->rows[i * SIM_COUNTED_KINDS + SIM_COUNTED_OTHERS + kind];
        printf(" %s %" PRIu64, sim_fault_name((enum sim_fault)kind), sum);
    }
    printf("\n");
}

// Ends the summary. Of an even number of seeds the lower middle.
static inline void
sim_summary_print(struct sim_summary *summary)
{
    uint64_t counting = 0;
    for (uint64_t i = 0; i < summary->count; i++)
        counting += sim_seed_counts(summary->rows + i * SIM_COUNTED_KINDS);
    printf("seeds %" PRIu64 " of which count %" PRIu64 "; medians", summary->count, counting);
    uint64_t *column = calloc(summary->count + 1, sizeof *column);
    ASSERT(column != NULL);
    for (uint32_t kind = 0; kind < SIM_COUNTED_OTHERS; kind++) {
        for (uint64_t i = 0; i < summary->count; i++)
            column[i] = summary->rows[i * SIM_COUNTED_KINDS + kind];
        qsort(column, summary->count, sizeof *column, sim_compare_counts);
        printf(" %s %" PRIu64, sim_counted_name((enum sim_counted)kind),
               column[(summary->count - 1) / 2]);
    }
    printf("\n");
    sim_summary_faults(summary);
    free(column);
    free(summary->rows);
    *summary = (struct sim_summary){0};
}

#endif
