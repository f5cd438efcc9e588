// tests/sim/omensim.c -- whole metadata groups on virtual time, from seeds: what may never happen, and what must.
//
// Shape: shell.
//
//   omensim --seed N [--count C] [--nodes 3..7] [--seconds S] [--faults MASK] [--trace] [--minimise] [--lying-disk]
//
// Faults for S seconds, then none: within 30 s every client's operation must be done, every node have the same map, and gossip
// find all alive. Ends with 1 where a claim of tests/lib/sim_check.h is broken, and prints the options that replay it.
// --minimise then leaves out kinds of faults, and time, as long as the seed goes on failing. --lying-disk is a defect put in on
// purpose, which the checkers must find.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/sim_fault.h"

#define LIVENESS_NS (30 * SIM_SECOND)

static void
deliver(struct sim *sim, const struct sim_event *event)
{
    const uint32_t at = event->at;
    struct sim_node *node = &sim->nodes[at];
    struct turn_input in = {0};
    const struct sim_packet *packet = event->packet;
    if (event->kind == SIM_RAFT) {
        in.kind = TURN_IN_RAFT;
        in.raft = &packet->msg;
    } else if (event->kind == SIM_GOSSIP) {
        in.kind = TURN_IN_GOSSIP;
        in.gossip.message = &packet->gossip;
        in.gossip.lane = packet->lane;
    } else if (event->kind == SIM_WAKE) {
        if (event->number != node->life || event->at_ns != node->wake_at_ns)
            return; // an earlier one took its place
        node->wake_at_ns = UINT64_MAX;
        in.kind = TURN_IN_WAKE;
    } else {
        if (event->number != node->life)
            return;
        in.kind = TURN_IN_PERSISTED;
        in.persist_number = event->kind == SIM_LIE ? event->from : sim_disk_sync(&node->disk);
        if (in.persist_number == 0)
            return;
    }
    sim_step(sim, at, in);
}

// To when the node goes on.
static void
defer(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->at];
    if (event->kind == SIM_WAKE && event->at_ns == node->wake_at_ns)
        node->wake_at_ns = node->paused_until_ns;
    event->at_ns = node->paused_until_ns;
    sim_push(&sim->heap, *event);
}

static void
take(struct sim *sim, struct sim_event *event)
{
    sim->now_ns = event->at_ns;
    sim->events++;
    sim_mix(sim, event->at_ns ^ (uint64_t)event->kind << 56 ^ (uint64_t)event->at << 48);
    switch (event->kind) {
    case SIM_CLIENT:
        sim_begin(sim, event->at);
        break;
    case SIM_TIMEOUT:
        sim_timeout(sim, event->at, event->number);
        break;
    case SIM_FAULT:
        sim_fault_event(sim);
        break;
    case SIM_HEAL:
        if (sim->faults[event->at].open)
            sim_switch(sim, event->at, false);
        break;
    default:
        if (sim->nodes[event->at].up && sim->nodes[event->at].paused_until_ns > sim->now_ns) {
            defer(sim, event);
            return;
        }
        if (sim->nodes[event->at].up &&
            (event->packet == NULL || !sim->cut[event->from][event->at]))
            deliver(sim, event);
        break;
    }
    sim_free_packet(event);
}

static void
run_until(struct sim *sim, uint64_t until_ns)
{
    while (sim->heap.count > 0 && sim->heap.events[0].at_ns <= until_ns) {
        struct sim_event event = sim_pop(&sim->heap);
        take(sim, &event);
    }
    sim->now_ns = until_ns;
}

static void
open_sim(struct sim *sim, const struct sim_options *options)
{
    memset(sim, 0, sizeof *sim);
    sim->options = *options;
    prng_init(&sim->prng, options->seed);
    struct raft_group group = {.count = options->nodes};
    for (uint32_t i = 0; i < options->nodes; i++)
        group.members[i] = (struct raft_member){i + 1, RAFT_VOTER};
    for (uint32_t i = 0; i < options->nodes; i++) {
        struct sim_node *node = &sim->nodes[i];
        sim_disk_init(&node->disk, &group);
        node->rate = 950 + prng_below(&sim->prng, 101);
        for (uint32_t p = 0; p < options->nodes; p++)
            node->disk.peers[node->disk.peer_count++] = sim_address(p);
        sim_start(sim, i);
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++)
        sim_think(sim, c);
    sim_push(&sim->heap, (struct sim_event){.at_ns = 2 * SIM_SECOND, .kind = SIM_FAULT});
}

static void
close_sim(struct sim *sim)
{
    while (sim->heap.count > 0) {
        struct sim_event event = sim_pop(&sim->heap);
        sim_free_packet(&event);
    }
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        if (sim->nodes[i].up)
            turn_fini(&sim->nodes[i].turn);
        sim_disk_fini(&sim->nodes[i].disk);
    }
    free(sim->heap.events);
    free(sim->history);
    free(sim->leaders);
    free(sim->ops);
}

static void
check_liveness(struct sim *sim)
{
    const uint64_t done = sim->ops_done;
    run_until(sim, sim->now_ns + LIVENESS_NS / 2);
    SIM_REQUIRE(sim, sim->ops_done > done, "without faults operations go on");
    sim->stopped = true;
    run_until(sim, sim->now_ns + LIVENESS_NS / 2);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++)
        SIM_REQUIRE(sim, !sim->clients[c].busy, "without faults every operation ends");
    const uint64_t hash = sim_map_hash(&sim->nodes[0].turn.map);
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct turn *turn = &sim->nodes[i].turn;
        SIM_REQUIRE(sim, turn->applied == sim->nodes[0].turn.applied,
                    "without faults all nodes apply the same");
        SIM_REQUIRE(sim, sim_map_hash(&turn->map) == hash, "all nodes have the same map");
        SIM_REQUIRE(sim, gossip_living(&turn->gossip) == sim->options.nodes,
                    "without faults gossip finds all alive");
        if (sim->options.trace) {
            char line[1024];
            turn_describe(turn, line, sizeof line);
            printf("%s\n", line);
        }
    }
    sim_match_logs(sim);
    for (uint64_t op = 1; op <= sim->op_count; op++) {
        const uint64_t at = sim->ops[op].position;
        SIM_REQUIRE(sim, !sim->ops[op].done || (at != 0 && sim->history[at].op == op),
                    "no acknowledged write is lost");
    }
}

static void
report(const struct sim *sim)
{
    uint64_t faults = 0;
    uint32_t kinds = 0;
    for (uint32_t k = 0; k < SIM_FAULT_KINDS; k++) {
        faults += sim->fault_count[k];
        kinds += sim->fault_count[k] > 0;
    }
    printf("seed %" PRIu64 " hash %016" PRIx64 " events %" PRIu64 " ops %" PRIu64 " writes %" PRIu64
           " retries %" PRIu64 " terms %" PRIu64 " faults %" PRIu64 " kinds %u installs %" PRIu64
           " lost-transactions %" PRIu64 "\n",
           sim->options.seed, sim->hash, sim->events, sim->ops_done, sim->writes_done, sim->retries,
           sim->leader_terms, faults, kinds, sim->installs, sim->lost_writes);
}

static void
run_seed(const struct sim_options *options)
{
    struct sim *sim = malloc(sizeof *sim);
    ASSERT(sim != NULL);
    open_sim(sim, options);
    run_until(sim, options->seconds * SIM_SECOND);
    sim_calm(sim);
    check_liveness(sim);
    report(sim);
    close_sim(sim);
    free(sim);
}

// In a process of its own, silent.
static bool
fails(const struct sim_options *options)
{
    fflush(stdout);
    const pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        run_seed(options);
        _exit(0);
    }
    int status;
    const pid_t ended = waitpid(child, &status, 0);
    ASSERT(ended == child);
    return !WIFEXITED(status) || WEXITSTATUS(status) == 1;
}

static void
minimise(struct sim_options *options)
{
    if (!fails(options)) {
        printf("seed %" PRIu64 " does not fail\n", options->seed);
        return;
    }
    for (uint32_t kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        struct sim_options fewer = *options;
        fewer.fault_mask &= ~(1u << kind);
        if (fewer.fault_mask != options->fault_mask && fails(&fewer))
            *options = fewer;
    }
    for (uint32_t less = options->seconds / 2; less > 0; less /= 2) {
        struct sim_options shorter = *options;
        shorter.seconds -= less;
        if (shorter.seconds > 2 && fails(&shorter))
            *options = shorter;
    }
    run_seed(options);
}

static uint64_t
number(const char *option, const char *text, uint64_t low, uint64_t high)
{
    char *end = NULL;
    const uint64_t value = text == NULL ? 0 : strtoull(text, &end, 0);
    if (text == NULL || end == text || *end != 0 || value < low || value > high) {
        fprintf(stderr, "omensim: %s wants a number from %" PRIu64 " to %" PRIu64 ", not '%s'\n",
                option, low, high, text == NULL ? "" : text);
        exit(2);
    }
    return value;
}

int
main(int argc, char **argv)
{
    struct sim_options options = {
        .seed = 1, .nodes = 0, .seconds = 60, .fault_mask = (1u << SIM_FAULT_KINDS) - 1};
    uint64_t count = 1;
    bool smaller = false;
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        i++;
        if (strcmp(option, "--seed") == 0)
            options.seed = number(option, next, 0, UINT64_MAX);
        else if (strcmp(option, "--count") == 0)
            count = number(option, next, 1, 1000000);
        else if (strcmp(option, "--nodes") == 0)
            options.nodes = (uint32_t)number(option, next, 3, SIM_NODES_MAX);
        else if (strcmp(option, "--seconds") == 0)
            options.seconds = (uint32_t)number(option, next, 3, 36000);
        else if (strcmp(option, "--faults") == 0)
            options.fault_mask = (uint32_t)number(option, next, 0, (1u << SIM_FAULT_KINDS) - 1);
        else if (i--, strcmp(option, "--trace") == 0)
            options.trace = true;
        else if (strcmp(option, "--minimise") == 0)
            smaller = true;
        else if (strcmp(option, "--lying-disk") == 0)
            options.lying_disk = true;
        else {
            fprintf(stderr, "omensim: unknown option '%s'\n", option);
            return 2;
        }
    }
    for (uint64_t i = 0; i < count; i++) {
        struct sim_options one = options;
        one.seed += i;
        if (one.nodes == 0)
            one.nodes = 3 + 2 * (uint32_t)(one.seed % 2);
        if (smaller)
            minimise(&one);
        else
            run_seed(&one);
    }
    return 0;
}
