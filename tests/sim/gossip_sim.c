// tests/sim/gossip_sim.c -- how long gossip takes to learn of a crash, how often it is wrong, and what it costs.
//
// usage: gossip_sim [--nodes N] [--loss PERMILLE] [--profile lan|fast] [--hours H] [--crashes C] [--seed S] [--no-fallback]
//        gossip_sim --bars [--hours H]    the promises of docs/internals/gossip.md; exit status 1 when one is broken
//        gossip_sim --table [--profile lan|fast] [--large]
//                                         the rows of docs/internals/gossip.tsv; --large: those with 1,000 nodes
//
// Many machines of gossip/ in one process (tests/lib/gossip_world.h); the same seed gives the same row.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/gossip_world.h"

#define CRASHES_MAX 1000u
#define PATIENCE (1200 * WORLD_SECOND)

struct plan {
    struct world_config world;
    uint64_t seconds; // without a crash, in which deaths and bytes are counted
    uint32_t crashes;
};

struct span {
    uint32_t count;
    uint64_t ns[CRASHES_MAX];
};

struct result {
    uint64_t join_ns;
    struct span detected, agreed, returned;
    uint32_t unfinished; // crashes or returns that not all knew in time
    uint64_t false_deaths;
    double node_hours, datagrams, bytes, control_bytes; // the last three per second and node
    uint32_t packet_bytes_max;
    double cpu_seconds;
};

static int
compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// The p-th of 100, in seconds; the largest for 100.
static double
percentile(struct span *span, uint32_t p)
{
    if (span->count == 0)
        return 0;
    qsort(span->ns, span->count, sizeof *span->ns, compare);
    uint32_t rank = (span->count * p + 99) / 100;
    rank = rank == 0 ? 1 : rank;
    return (double)span->ns[rank - 1] / 1e9;
}

static void
span_add(struct span *span, uint64_t ns)
{
    ASSERT(span->count < CRASHES_MAX);
    span->ns[span->count++] = ns;
}

static void
crash_once(struct world *world, struct result *result)
{
    const uint32_t victim = prng_below(&world->prng, world->config.count);
    world_run(world, prng_below(&world->prng, 1000) * WORLD_MS); // anywhere in a period
    const uint64_t from_ns = world->now_ns;
    world_crash(world, victim);
    world_watch(world, victim, true);
    if (world_run_known(world, PATIENCE)) {
        span_add(&result->detected, world->first_ns - from_ns);
        span_add(&result->agreed, world->now_ns - from_ns);
    } else {
        result->unfinished++;
    }
    world_run(world, 5 * WORLD_SECOND);
    const uint64_t back_ns = world->now_ns;
    world_start(world, victim);
    world_watch(world, victim, false);
    if (world_run_known(world, PATIENCE))
        span_add(&result->returned, world->now_ns - back_ns);
    else
        result->unfinished++;
    world_run(world, 5 * WORLD_SECOND);
}

// Everybody knows everybody. With much loss there is always somebody suspect, for a moment.
static bool
all_joined(const struct world *world)
{
    for (uint32_t host = 0; host < world->config.count; host++)
        if (gossip_living(&world->nodes[host].gossip) != world->config.count)
            return false;
    return true;
}

static void
measure(const struct plan *plan, struct result *result)
{
    const clock_t begin = clock();
    memset(result, 0, sizeof *result);
    struct world *world = world_open(&plan->world);
    const uint32_t n = plan->world.count;
    for (uint32_t host = 0; host < n; host++) {
        world_start(world, host);
        world_run(world, 10 * WORLD_MS);
    }
    const uint64_t from_ns = world->now_ns;
    while (!all_joined(world) && world->now_ns < from_ns + PATIENCE)
        world_run(world, 100 * WORLD_MS);
    result->unfinished += !all_joined(world);
    result->join_ns = world->now_ns - from_ns;
    world_run(world, 30 * WORLD_SECOND);
    world_count(world);
    world_run(world, plan->seconds * WORLD_SECOND);
    const double node_seconds = (double)plan->seconds * n;
    result->false_deaths = world->false_deaths;
    result->node_hours = node_seconds / 3600;
    if (node_seconds > 0) {
        result->datagrams = (double)world->datagrams / node_seconds;
        result->bytes = (double)world->bytes / node_seconds;
        result->control_bytes = (double)world->control_bytes / node_seconds;
    }
    for (uint32_t i = 0; i < plan->crashes; i++)
        crash_once(world, result);
    result->packet_bytes_max = world->packet_bytes_max;
    world_close(world);
    result->cpu_seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
}

static void
print_head(void)
{
    printf("profile\tnodes\tloss_%%\tfallback\tjoin_s\tcrashes\tdetect_p50_s\tdetect_p99_s\tagree_"
           "p50_s\tagree_p99_s"
           "\tagree_max_s\treturn_p50_s\treturn_p99_s\tunfinished\tfalse_deaths\tnode_hours\tfalse_"
           "per_node_hour"
           "\tdatagrams_s\tbytes_s\tcontrol_bytes_s\tpacket_max\tcpu_s\n");
}

static void
print_row(const struct plan *plan, struct result *result)
{
    printf("%s\t%u\t%.1f\t%s\t%.1f\t%u\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%u\t%llu\t%.1f\t%"
           ".5f\t%.1f\t%.0f"
           "\t%.0f\t%u\t%.1f\n",
           plan->world.profile == GOSSIP_FAST ? "fast" : "lan", plan->world.count,
           plan->world.loss_permille / 10.0, plan->world.no_fallback ? "no" : "yes",
           (double)result->join_ns / 1e9, result->agreed.count, percentile(&result->detected, 50),
           percentile(&result->detected, 99), percentile(&result->agreed, 50),
           percentile(&result->agreed, 99), percentile(&result->agreed, 100),
           percentile(&result->returned, 50), percentile(&result->returned, 99), result->unfinished,
           (unsigned long long)result->false_deaths, result->node_hours,
           result->node_hours > 0 ? (double)result->false_deaths / result->node_hours : 0,
           result->datagrams, result->bytes, result->control_bytes, result->packet_bytes_max,
           result->cpu_seconds);
    fflush(stdout);
}

// ---- the promises ----

static int
bar_crashes(enum gossip_profile profile, uint32_t nodes, double seconds)
{
    static struct result result;
    const struct plan plan = {.world = {.count = nodes, .seed = 1, .profile = profile},
                              .crashes = 200};
    measure(&plan, &result);
    print_row(&plan, &result);
    const double p99 = percentile(&result.agreed, 99);
    if (result.agreed.count == plan.crashes && p99 <= seconds)
        return 0;
    printf("BROKEN: %u nodes: %u of %u crashes known, p99 %.2f s, promised %.0f s\n", nodes,
           result.agreed.count, plan.crashes, p99, seconds);
    return 1;
}

static int
bar_false_deaths(uint64_t seconds)
{
    static struct result result;
    const struct plan plan = {.world = {.count = 100, .seed = 1, .loss_permille = 100},
                              .seconds = seconds};
    measure(&plan, &result);
    print_row(&plan, &result);
    if (result.false_deaths == 0)
        return 0;
    printf("BROKEN: %llu false deaths of 100 nodes with 10 %% loss\n",
           (unsigned long long)result.false_deaths);
    return 1;
}

static int
bars(uint64_t seconds)
{
    int broken = 0;
    print_head();
    broken += bar_crashes(GOSSIP_LAN, 5, 10);
    broken += bar_crashes(GOSSIP_FAST, 5, 3);
    broken += bar_crashes(GOSSIP_LAN, 100, 16);
    broken += bar_crashes(GOSSIP_FAST, 100, 5);
    broken += bar_false_deaths(seconds);
    return broken == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// ---- the table ----

static void
table_row(enum gossip_profile profile, uint32_t nodes, uint32_t loss, bool no_fallback)
{
    static struct result result;
    // As many node hours and crashes as the size allows in reasonable time.
    const struct plan plan = {
        .world = {.count = nodes,
                  .seed = nodes + loss,
                  .loss_permille = loss,
                  .profile = profile,
                  .no_fallback = no_fallback},
        .seconds = nodes >= 1000 ? 360 : 100 * 3600 / nodes,
        .crashes = nodes >= 1000  ? 20
                   : nodes >= 300 ? 50
                                  : 200,
    };
    measure(&plan, &result);
    print_row(&plan, &result);
}

static void
table(enum gossip_profile profile, bool large)
{
    static const uint32_t small[] = {3, 5, 10, 30, 100, 300}, thousand[] = {1000};
    static const uint32_t losses[] = {0, 100, 300};
    const uint32_t *sizes = large ? thousand : small;
    const size_t size_count = large ? 1 : sizeof small / sizeof *small;
    for (size_t size = 0; size < size_count; size++)
        for (size_t loss = 0; loss < sizeof losses / sizeof *losses; loss++) {
            table_row(profile, sizes[size], losses[loss], false);
            if (losses[loss] > 0 && !large)
                table_row(profile, sizes[size], losses[loss], true);
        }
}

int
main(int argc, char **argv)
{
    static struct result result;
    struct plan plan = {.world = {.count = 5, .seed = 1}, .seconds = 3600, .crashes = 20};
    bool want_bars = false, want_table = false, large = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--bars") == 0)
            want_bars = true;
        else if (strcmp(argv[i], "--table") == 0)
            want_table = true;
        else if (strcmp(argv[i], "--large") == 0)
            large = true;
        else if (strcmp(argv[i], "--no-fallback") == 0)
            plan.world.no_fallback = true;
        else if (strcmp(argv[i], "--check") == 0)
            plan.world.check = true;
        else if (strcmp(argv[i], "--profile") == 0)
            plan.world.profile = strcmp(argv[++i], "fast") == 0 ? GOSSIP_FAST : GOSSIP_LAN;
        else if (strcmp(argv[i], "--nodes") == 0)
            plan.world.count = (uint32_t)strtoul(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--loss") == 0)
            plan.world.loss_permille = (uint32_t)strtoul(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--crashes") == 0)
            plan.crashes = (uint32_t)strtoul(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--seed") == 0)
            plan.world.seed = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--hours") == 0)
            plan.seconds = (uint64_t)(strtod(value, NULL) * 3600), i++;
        else {
            fprintf(stderr, "gossip_sim: what is %s?\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    if (plan.crashes > CRASHES_MAX || plan.world.count == 0)
        return EXIT_FAILURE;
    if (want_bars)
        return bars(plan.seconds);
    if (want_table) {
        print_head();
        table(plan.world.profile, large);
        return EXIT_SUCCESS;
    }
    print_head();
    measure(&plan, &result);
    print_row(&plan, &result);
    return EXIT_SUCCESS;
}
