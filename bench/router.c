// bench/router.c -- what a router adds to a search: taking it apart over the shards, hearing the copies, joining their hits.
//
// Shape: shell. usage: omen_router_bench [shards] [k]        (64 and 10)
//
// No socket and no codec: the machine alone (router/fanout.h), as one loop steps it, with three copies a shard on eight nodes.
// "route" is the step that takes a search and says to whom its parts go; "replies" are the steps that hear the copies, the last of
// which answers, and includes "merge"; merge is timed by itself besides. The first number is the shortest of many runs, the second
// the median. The bar is route + merge. Half a second of the same goes before: a processor that comes from idling takes that long
// to raise its clock, and a router that is asked does not idle.
#include <string.h>

#include "base/prng.h"
#include "bench/clock.h"
#include "router/fanout.h"

enum { SHARDS_MAX = 1024, K_MAX = 1000, RUNS = 2000, NODES = 8, COPIES = 3 };

#define WARM_S 0.5

#define BAR_US 5.0 // of 64 shards and k = 10

static struct fanout fanout;
static struct fanout_output out;
static struct routes routes;
static struct merge_hit lists[SHARDS_MAX][K_MAX], hits[K_MAX];
static struct fanout_send sends[SHARDS_MAX];
static double route_us[RUNS], replies_us[RUNS], merge_us[RUNS];

static void
make_table(uint32_t shards)
{
    routes_init(&routes, 1);
    for (uint32_t i = 0; i < shards; i++) {
        struct route row = {.collection = 1,
                            .shard = i + 1,
                            .first = UINT64_MAX / shards * i,
                            .last =
                                i + 1 == shards ? UINT64_MAX : UINT64_MAX / shards * (i + 1) - 1,
                            .term = 1,
                            .cfg_ver = 1,
                            .copy_count = COPIES};
        for (uint32_t j = 0; j < COPIES; j++)
            row.copies[j] = (struct route_copy){
                .high = 1, .low = i * COPIES + j + 1, .node = 1 + (i + j) % NODES, .near = j == 0};
        if (routes_add(&routes, &row) != OMEN_OK)
            die("no memory");
    }
    if (routes_seal(&routes) != OMEN_OK)
        die("the table is refused");
}

// Of each shard k hits, at distances of their own.
static void
make_hits(uint32_t shards, uint32_t k)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < shards; i++) {
        float distance = 0;
        for (uint32_t j = 0; j < k; j++) {
            distance += 0.001f + (float)prng_below(&prng, 1000) * 0.001f;
            lists[i][j] = (struct merge_hit){
                .distance = distance, .number = (uint64_t)i << 32 | j, .version = 1 + j};
        }
    }
}

static double
since_us(double before_s)
{
    return (clock_s(CLOCK_MONOTONIC) - before_s) * 1e6;
}

static uint64_t
now_ns(void)
{
    return (uint64_t)(clock_s(CLOCK_MONOTONIC) * 1e9);
}

// Steps until all parts have gone out: a step has FANOUT_SENDS_MAX of them.
static double
route(uint32_t k, uint32_t shards)
{
    const struct fanout_start start = {.kind = FANOUT_SEARCH,
                                       .consistency = FANOUT_ANY,
                                       .collection = 1,
                                       .deadline_ns = UINT64_MAX / 2,
                                       .hits = hits,
                                       .k = k};
    struct fanout_input in = {.now_ns = now_ns(), .kind = FANOUT_IN_START, .start = &start};
    double took_us = 0;
    for (uint32_t sent = 0;;) {
        const double before_s = clock_s(CLOCK_MONOTONIC);
        fanout_step(&fanout, &in, &out);
        took_us += since_us(before_s);
        memcpy(sends + sent, out.sends, out.send_count * sizeof *sends);
        sent += out.send_count;
        if (sent == shards)
            return took_us;
        if (sent > shards || out.answer_count > 0)
            die("the search went out in %u parts instead of %u", sent, shards);
        in.kind = FANOUT_IN_WAKE;
    }
}

static double
hear(uint32_t k, uint32_t shards)
{
    const uint64_t now = now_ns();
    const double before_s = clock_s(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < shards; i++) {
        const struct fanout_reply reply = {.request = sends[i].request,
                                           .part = sends[i].part,
                                           .attempt = sends[i].attempt,
                                           .node = sends[i].node,
                                           .map_version = 1,
                                           .term = 1,
                                           .seq = 1,
                                           .hits = {lists[sends[i].shard - 1], k}};
        const struct fanout_input in = {.now_ns = now, .kind = FANOUT_IN_REPLY, .reply = &reply};
        fanout_step(&fanout, &in, &out);
    }
    const double took_us = since_us(before_s);
    if (out.answer_count != 1 || out.answers[0].status != OMEN_OK || out.answers[0].hit_count != k)
        die("the search was not answered");
    return took_us;
}

static double
merge(uint32_t k, uint32_t shards)
{
    static struct merge_list given[SHARDS_MAX];
    for (uint32_t i = 0; i < shards; i++)
        given[i] = (struct merge_list){lists[i], k};
    const struct merge_input in = {given, shards, k};
    uint64_t *scratch = malloc(merge_scratch_words(shards, (size_t)shards * k) * sizeof *scratch);
    if (scratch == NULL)
        die("no memory");
    const double before_s = clock_s(CLOCK_MONOTONIC);
    const uint32_t count = merge_hits(&in, scratch, hits);
    const double took_us = since_us(before_s);
    if (count != k)
        die("merged into %u hits instead of %u", count, k);
    free(scratch);
    return took_us;
}

static void
print(const char *what, double *us)
{
    qsort(us, RUNS, sizeof *us, by_value);
    printf("%-8s %8.2f us %8.2f us\n", what, us[0], us[RUNS / 2]);
}

int
main(int argc, char **argv)
{
    const uint32_t shards = argc > 1 ? (uint32_t)number(argv[1], "shards") : 64;
    const uint32_t k = argc > 2 ? (uint32_t)number(argv[2], "k") : 10;
    const struct fanout_config config = {.requests_max = 64,
                                         .parts_max = FANOUT_PARTS_MAX,
                                         .tries_max = 16,
                                         .hedge_min_ns = 1000000000,
                                         .hedge_max_ns = 1000000000,
                                         .hedge_permille = 50,
                                         .retry_ns = 10000000,
                                         .retry_max_ns = 100000000,
                                         .try_min_ns = 10000000000,
                                         .try_max_ns = 10000000000,
                                         .reserve_ns = 1000000,
                                         .avoid_ns = 100000000,
                                         .far_percent = 200};
    if (shards == 0 || shards > SHARDS_MAX || k == 0 || k > K_MAX)
        die("1..%d shards and k = 1..%d", SHARDS_MAX, K_MAX);
    make_table(shards);
    make_hits(shards, k);
    fanout_init(&fanout, &config, 1);
    const struct fanout_input in = {
        .now_ns = now_ns(), .kind = FANOUT_IN_ROUTES, .routes = &routes};
    fanout_step(&fanout, &in, &out);
    for (const double warm_s = clock_s(CLOCK_MONOTONIC) + WARM_S;
         clock_s(CLOCK_MONOTONIC) < warm_s;) {
        route(k, shards);
        hear(k, shards);
        merge(k, shards);
    }
    for (uint32_t run = 0; run < RUNS; run++) {
        route_us[run] = route(k, shards);
        replies_us[run] = hear(k, shards);
        merge_us[run] = merge(k, shards);
    }
    printf("%u shards, k = %u      shortest      median\n", shards, k);
    print("route", route_us);
    print("merge", merge_us);
    print("replies", replies_us);
    const double sum_us = route_us[RUNS / 2] + merge_us[RUNS / 2];
    printf("route + merge, median: %.2f us, %.2f of the bar of %.0f us\n", sum_us, sum_us / BAR_US,
           BAR_US);
    fanout_fini(&fanout);
    routes_fini(&routes);
    return 0;
}
