// tests/sim/omensim.c -- whole metadata groups on virtual time, from seeds: what may never happen, and what must.
//
// Shape: shell.
//
//   omensim --seed N [--count C] [--profile P] [--nodes 3..7] [--seconds S] [--hours H] [--faults MASK] [--trace] [--minimise]
//           [--outcomes] [--lying-disk] [--brief] [--draw TEXT] [--again FILE] [--teeth [NAME]]
//
// Faults for S seconds, then none: within 30 s every client's operation must be done, every node have the same map, and gossip
// find all alive. Ends with 1 where a claim of tests/lib/sim_check.h is broken, and prints the options that replay it.
// --teeth is for a build with OMEN_TESTING (omensim_bugs): whether enough seeds of its profile find each deliberate error of
// base/bug.h, or the one named; with --count how many of so many do. --outcomes leaves out what tests/lib/sim_rules.h looks at.
// --draw goes through the profiles from a seed that the text gives, --again first repeats each line of options in a file. --brief
// says only what is wrong, and at the end what all did in the middle.
// --minimise then leaves out kinds of faults, and time, as long as the seed goes on failing. --lying-disk is a defect put in on
// purpose, which the checkers must find.
#include "tests/lib/sim_admin.h"
#include "tests/lib/sim_batch.h"
#include "tests/lib/sim_fault.h"
#include "tests/lib/sim_halves.h"
#include "tests/lib/sim_member.h"
#include "tests/lib/sim_profile.h"
#include "tests/lib/sim_teeth.h"

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
        sim_rules_hear(sim, at, packet);
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

static void
deliver_turn(struct sim *sim, const struct sim_event *event)
{
    struct sim_turn_packet *packet = event->packet;
    static struct command command;
    if (packet->count > 0) {
        const omen_status status = command_decode(packet->bytes, packet->count, &command);
        ASSERT(status == OMEN_OK);
        packet->msg.command = &command;
    }
    if (event->kind == SIM_WISH)
        sim_step(sim, event->at, (struct turn_input){.kind = TURN_IN_WISH, .command = &command});
    else
        sim_step(sim, event->at, (struct turn_input){.kind = TURN_IN_MSG, .msg = &packet->msg});
}

static void
deliver_any(struct sim *sim, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_TURN_MSG:
    case SIM_WISH:
        deliver_turn(sim, event);
        break;
    case SIM_WORD:
        sim_word_event(sim, event);
        break;
    case SIM_REFUSED:
    case SIM_REACHED:
        sim_refusal_event(sim, event);
        break;
    case SIM_LED:
        sim_led_event(sim, event);
        break;
    case SIM_REPLICA:
    case SIM_COPIES:
    case SIM_ERRAND:
    case SIM_ENV_SYNC:
    case SIM_ENV_MADE:
        sim_copies_event(sim, event);
        break;
    default:
        deliver(sim, event);
        break;
    }
}

// To when the node goes on.
static void
defer(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->at];
    uint64_t until_ns = node->paused_until_ns;
    if (until_ns <= sim->now_ns) {
        until_ns = node->held_until_ns; // of the next turn, which looks at the clock again
    } else if (node->held_until_ns > until_ns) {
        event->amid = true; // who comes first out of several mailboxes is chance
        until_ns += prng_below(&sim->prng, SIM_TURN_NS);
    }
    if (event->kind == SIM_WAKE && event->at_ns == node->wake_at_ns)
        node->wake_at_ns = until_ns;
    if (event->kind == SIM_COPIES && event->at_ns == node->copies_wake_ns)
        node->copies_wake_ns = until_ns;
    event->at_ns = until_ns;
    sim_push(&sim->heap, *event);
}

// One that is down has the newer program when it comes back.
static void
upgrade(struct sim *sim, uint32_t at)
{
    if (!sim->nodes[at].up)
        return;
    sim_crash(sim, at);
    sim_start(sim, at);
}

static void
take(struct sim *sim, struct sim_event *event)
{
    sim->now_ns = event->at_ns;
    sim->events++;
    sim_mix(sim, event->at_ns ^ (uint64_t)event->kind << 56 ^ (uint64_t)event->at << 48);
    if (event->kind >= SIM_SUB) {
        sim_routers_event(sim, event);
        return;
    }
    switch (event->kind) {
    case SIM_CLIENT:
        sim_begin(sim, event->at);
        break;
    case SIM_TIMEOUT:
        sim_timeout(sim, event->at, event->number);
        break;
    case SIM_OPERATOR:
        sim_operator(sim);
        break;
    case SIM_UPKEEP:
        sim_upkeep(sim);
        break;
    case SIM_ADMIN:
        sim_admin_event(sim);
        break;
    case SIM_RUMOUR:
        sim_rumour(sim);
        break;
    case SIM_MEMBERS:
        sim_members_event(sim, event);
        break;
    case SIM_UPGRADE:
        upgrade(sim, event->at);
        break;
    case SIM_HURRY:
        sim_hurry_kinds(sim);
        break;
    case SIM_FAULT:
        sim_fault_event(sim);
        break;
    case SIM_FALL:
        if (event->number == sim->nodes[event->at].life)
            sim_fall(sim, event->at);
        break;
    case SIM_HEAL:
        if (sim->faults[event->at].open)
            sim_switch(sim, event->at, false);
        break;
    default:
        if (sim->nodes[event->at].up &&
            (sim->nodes[event->at].paused_until_ns > sim->now_ns ||
             (sim->nodes[event->at].held_until_ns > sim->now_ns && !event->amid))) {
            defer(sim, event);
            return;
        }
        if (sim->nodes[event->at].up && (event->packet == NULL || sim->options.profile->queues ||
                                         !sim->cut[event->from][event->at]))
            deliver_any(sim, event);
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
    sim_routers_open(sim);
    // Where members change the group begins with 1, 3 or 5, and grows by itself.
    const uint32_t drawn = 1 + 2 * (uint32_t)(options->seed % 3);
    const bool grows = options->profile->members_ms != 0 && drawn < options->nodes;
    const struct raft_group none = {0};
    struct raft_group group = {.count = grows ? drawn : options->nodes};
    for (uint32_t i = 0; i < group.count; i++)
        group.members[i] = (struct raft_member){i + 1, RAFT_VOTER};
    for (uint32_t i = 0; i < options->nodes; i++)
        sim->nodes[i].raft_id = i + 1;
    sim->members.group = group;
    for (uint32_t i = 0; i < options->nodes; i++) {
        struct sim_node *node = &sim->nodes[i];
        sim_disk_init(&node->disk, i < group.count ? &group : &none);
        node->rate = 950 + prng_below(&sim->prng, 101);
        for (uint32_t p = 0; p < options->nodes; p++)
            node->disk.peers[node->disk.peer_count++] = sim_address(p);
        sim_start(sim, i);
        if (sim_upgrade_ns(sim, i) != 0)
            sim_push(
                &sim->heap,
                (struct sim_event){.at_ns = sim_upgrade_ns(sim, i), .kind = SIM_UPGRADE, .at = i});
    }
    if (sim_last_upgrade_ns(sim) > 300 * SIM_MS)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim_last_upgrade_ns(sim) - 300 * SIM_MS,
                                                .kind = SIM_HURRY});
    for (uint32_t c = 0; c < SIM_CLIENTS; c++)
        sim_think(sim, c);
    sim_operator(sim);
    sim_upkeep(sim);
    sim_push(&sim->heap, (struct sim_event){.at_ns = 2 * SIM_SECOND, .kind = SIM_FAULT});
    if (options->profile->admin_ms != 0)
        sim_push(&sim->heap, (struct sim_event){.at_ns = 5 * SIM_SECOND, .kind = SIM_ADMIN});
    if (options->profile->rumours_ms != 0)
        sim_push(&sim->heap, (struct sim_event){.at_ns = SIM_SECOND, .kind = SIM_RUMOUR});
    if (options->profile->members_ms != 0)
        sim_push(&sim->heap, (struct sim_event){.at_ns = SIM_SECOND, .kind = SIM_MEMBERS});
}

static void
close_sim(struct sim *sim)
{
    while (sim->heap.count > 0) {
        struct sim_event event = sim_pop(&sim->heap);
        sim_free_packet(&event);
    }
    sim_routers_close(sim);
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        if (sim->nodes[i].up) {
            turn_fini(&sim->nodes[i].turn);
            copies_fini(&sim->nodes[i].copies);
            map_fini(&sim->nodes[i].pulled);
        }
        for (uint32_t e = 0; e < SIM_ENVS_MAX; e++)
            sim_env_fini(&sim->nodes[i].envs[e]);
        sim_disk_fini(&sim->nodes[i].disk);
    }
    free(sim->heap.events);
    free(sim->history);
    free(sim->commits);
    free(sim->leaders);
    free(sim->ops);
    free(sim->members.configs);
    for (uint32_t s = 0; s < sim->shard_count; s++) {
        free(sim->shards[s].rows);
        free(sim->shards[s].sums);
        free(sim->shards[s].primaries);
    }
}

// Once nothing is written any more: what it forgot to be committed is told to it by nobody's next write.
static void
restart_one(struct sim *sim)
{
    const uint32_t at = (uint32_t)(sim->options.seed % sim->options.nodes);
    sim_crash(sim, at);
    sim_start(sim, at);
    run_until(sim, sim->now_ns + LIVENESS_NS / 2);
}

static void
check_liveness(struct sim *sim)
{
    const uint64_t done = sim->ops_done, found = sim_routers_found(sim);
    const uint64_t typed = sim_routers_typed(sim);
    run_until(sim, sim->now_ns + LIVENESS_NS / 2);
    SIM_REQUIRE(sim, sim->ops_done > done, "without faults operations go on");
    SIM_REQUIRE(sim, sim_routers_found(sim) > found, "without faults searches go on");
    SIM_REQUIRE(sim, sim->options.profile->kinds == 0 || sim_routers_typed(sim) > typed,
                "without faults a new collection is written");
    sim->stopped = true;
    run_until(sim, sim->now_ns + LIVENESS_NS / 2);
    restart_one(sim);
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
    sim_check_members(sim);
    sim_check_whole(sim);
    sim_routers_check(sim);
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
           " lost-transactions %" PRIu64,
           sim->options.seed, sim->hash, sim->events, sim->ops_done, sim->writes_done, sim->retries,
           sim->leader_terms, faults, kinds, sim->installs, sim->lost_writes);
    uint64_t opened = 0, changes = 0;
    for (uint32_t s = 0; s < sim->shard_count; s++)
        opened += sim->shards[s].opened;
    const struct map *map = &sim->nodes[0].turn.map;
    for (uint32_t s = 0; s < map->shard_count; s++)
        changes += map->shards[s].cfg_ver;
    printf(" data %" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64 " retries %" PRIu64
           " shard-terms %" PRIu64 " changes %" PRIu64 " shard-installs %" PRIu64 " wipes %" PRIu64
           " splits %" PRIu64 " moves %" PRIu64 " cuts %" PRIu64 " rots %" PRIu64 " voted %" PRIu64
           " verified %" PRIu64 " buckets %" PRIu64 " halves %" PRIu64 " apart %" PRIu64
           " members %" PRIu64 " refused %" PRIu64 " transfers %" PRIu64 " lost %" PRIu64
           " pulls %" PRIu64 "\n",
           sim->data_done[0], sim->data_done[1], sim->data_done[2], sim->data_done[3],
           sim->data_done[4], sim->data_retries, opened, changes, sim->shard_installs, sim->wipes,
           sim->splits, sim->moves, sim->cuts, sim->rots, sim->rots_voted, sim->rots_verified,
           sim->buckets_named, sim->halves, sim->halves_apart, sim->members.changes,
           sim->members.refused, sim->members.transfers, sim->members.lost, sim->pulls);
}

void
sim_run_seed(const struct sim_options *options, uint64_t row[SIM_COUNTED_KINDS])
{
    struct sim *sim = malloc(sizeof *sim);
    ASSERT(sim != NULL);
    open_sim(sim, options);
    run_until(sim, options->seconds * SIM_SECOND);
    sim_calm(sim);
    check_liveness(sim);
    if (!options->brief) {
        report(sim);
        sim_routers_report(sim);
    }
    sim_summary_count(row, sim);
    close_sim(sim);
    free(sim);
}

static void
minimise(struct sim_options *options)
{
    if (!sim_seed_fails(options)) {
        printf("seed %" PRIu64 " does not fail\n", options->seed);
        return;
    }
    for (uint32_t kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        struct sim_options fewer = *options;
        fewer.fault_mask &= ~(1u << kind);
        if (fewer.fault_mask != options->fault_mask && sim_seed_fails(&fewer))
            *options = fewer;
    }
    for (uint32_t less = options->seconds / 2; less > 0; less /= 2) {
        struct sim_options shorter = *options;
        shorter.seconds -= less;
        if (shorter.seconds > 2 && sim_seed_fails(&shorter))
            *options = shorter;
    }
    uint64_t row[SIM_COUNTED_KINDS];
    sim_run_seed(options, row);
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

static const struct sim_profile *
profile(const char *name)
{
    const struct sim_profile *found = name != NULL ? sim_profile_named(name) : NULL;
    if (found != NULL)
        return found;
    fprintf(stderr, "omensim: --profile wants one of");
    for (size_t i = 0; i < sizeof sim_profiles / sizeof *sim_profiles; i++)
        fprintf(stderr, " %s", sim_profiles[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

struct wanted {
    struct sim_options options;
    uint64_t count;
    bool smaller, teeth;
    const char *tooth, *draw, *again;
};

// An option with a value; false: it is none of these.
static bool
take_value(struct wanted *wanted, const char *option, const char *next)
{
    struct sim_options *options = &wanted->options;
    if (strcmp(option, "--seed") == 0)
        options->seed = number(option, next, 0, UINT64_MAX);
    else if (strcmp(option, "--count") == 0)
        wanted->count = number(option, next, 1, 1000000);
    else if (strcmp(option, "--nodes") == 0)
        options->nodes = (uint32_t)number(option, next, 3, SIM_NODES_MAX);
    else if (strcmp(option, "--seconds") == 0)
        options->seconds = (uint32_t)number(option, next, 3, 36000);
    else if (strcmp(option, "--hours") == 0)
        options->seconds = 3600 * (uint32_t)number(option, next, 1, 100);
    else if (strcmp(option, "--profile") == 0)
        options->profile = profile(next);
    else if (strcmp(option, "--draw") == 0 && next != NULL)
        wanted->draw = next;
    else if (strcmp(option, "--again") == 0 && next != NULL)
        wanted->again = next;
    else if (strcmp(option, "--faults") == 0)
        options->fault_mask = (uint32_t)number(option, next, 0, SIM_ALL_FAULTS);
    else
        return false;
    return true;
}

static void
take_options(struct wanted *wanted, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (take_value(wanted, option, next)) {
            i++;
        } else if (strcmp(option, "--trace") == 0) {
            wanted->options.trace = true;
        } else if (strcmp(option, "--minimise") == 0) {
            wanted->smaller = true;
        } else if (strcmp(option, "--brief") == 0) {
            wanted->options.brief = true;
        } else if (strcmp(option, "--outcomes") == 0) {
            wanted->options.outcomes = true;
        } else if (strcmp(option, "--lying-disk") == 0) {
            wanted->options.lying_disk = true;
        } else if (strcmp(option, "--teeth") == 0) {
            wanted->teeth = true;
            if (next != NULL && next[0] != '-')
                wanted->tooth = argv[++i];
        } else {
            fprintf(stderr, "omensim: unknown option '%s'\n", option);
            exit(2);
        }
    }
}

static struct wanted
nothing_wanted(void)
{
    return (struct wanted){.options = {.seed = 1, .seconds = 60, .fault_mask = SIM_ALL_FAULTS}};
}

static void
run_wanted(struct sim_batch *batch, const struct wanted *wanted)
{
    const uint64_t profiles = sizeof sim_profiles / sizeof *sim_profiles;
    const uint64_t count = wanted->count != 0 ? wanted->count : 1;
    struct sim_options one = wanted->options;
    if (wanted->draw != NULL) // seeds that a person can type
        one.seed = hash_bytes(wanted->draw, strlen(wanted->draw)) % 1000000000;
    for (uint64_t i = 0; i < count; i++, one.seed++) {
        one.nodes = wanted->options.nodes;
        if (wanted->draw != NULL)
            one.profile = &sim_profiles[i % profiles];
        if (one.profile == NULL)
            one.profile = &sim_profiles[0];
        sim_choose_nodes(&one);
        uint64_t row[SIM_COUNTED_KINDS];
        if (wanted->smaller)
            minimise(&one);
        else if (count == 1 && !one.brief)
            sim_run_seed(&one, row); // in this process, for a debugger
        else
            sim_batch_run(batch, &one);
    }
}

// A line of the file is what a failing seed printed behind "omensim"; '#' begins a remark.
static void
run_again(struct sim_batch *batch, const struct wanted *given)
{
    FILE *file = fopen(given->again, "r");
    if (file == NULL) {
        fprintf(stderr, "omensim: there is no file '%s'\n", given->again);
        exit(2);
    }
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        char *words[32] = {"omensim"}, *rest = NULL;
        int count = 1;
        line[strcspn(line, "#\n")] = 0;
        for (char *word = strtok_r(line, " ", &rest); word != NULL && count < 32;
             word = strtok_r(NULL, " ", &rest))
            words[count++] = word;
        struct wanted wanted = nothing_wanted();
        take_options(&wanted, count, words);
        wanted.options.brief = given->options.brief;
        if (count > 1)
            run_wanted(batch, &wanted);
    }
    fclose(file);
}

int
main(int argc, char **argv)
{
    struct wanted wanted = nothing_wanted();
    struct sim_batch batch = {0};
    take_options(&wanted, argc, argv);
    if (wanted.teeth)
        return sim_teeth(wanted.tooth, wanted.count, &wanted.options);
    if (wanted.again != NULL)
        run_again(&batch, &wanted);
    run_wanted(&batch, &wanted);
    return sim_batch_end(&batch) ? 0 : 1;
}
