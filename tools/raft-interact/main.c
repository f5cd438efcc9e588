// tools/raft-interact/main.c -- replays a script (story.h) on a few nodes; prints their states after every command.
//
// Shape: shell.
//
//     raft-interact [--lines] < script.txt
//
// The commands are those of etcd's raft, asynchronous storage aside: add-nodes N voters=() learners=() index= inflight=
// prevote= checkquorum= read-only= max-committed-size-per-ready= step-down-on-removal= disable-conf-change-validation=
// content=, campaign, propose, propose-conf-change, stabilize, deliver-msgs, process-ready, tick-heartbeat, tick-election,
// set-randomized-election-timeout, transfer-leadership, forget-leader, send-snapshot, report-unreachable, compact; those that
// only print there (status, raft-log, raft-state, log-level) do nothing. One line of JSON per command; `quiescent` says that
// no message is on its way and no node has anything to do. With --lines a line of raft_describe per node instead.
#include "tools/raft-interact/story.h"
#include "tools/raft-interact/world.h"

enum { ELECTION_TICKS = 3, HEARTBEAT_TICKS = 1, TICK_NS = 100 };

static void
die(const struct story_step *step, const char *what)
{
    fprintf(stderr, "line %u, %s: %s\n", step->line, step->command, what);
    exit(2);
}

static uint64_t
number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static bool
is_true(const struct story_step *step, const char *key)
{
    const struct story_arg *arg = story_arg(step, key);
    return arg != NULL && strcmp(arg->values[0], "true") == 0;
}

// The i-th argument that is a node's id; NULL when there is none.
static struct node *
node_arg(const struct world *world, const struct story_step *step, unsigned i)
{
    for (unsigned a = 0; a < step->arg_count; a++) {
        if (step->args[a].count > 0)
            continue;
        if (i-- > 0)
            continue;
        const uint64_t id = number(step->args[a].key);
        if (id == 0 || id > world->count)
            die(step, "no such node");
        return world->nodes[id - 1];
    }
    return NULL;
}

static struct node *
first_node(const struct world *world, const struct story_step *step)
{
    struct node *node = node_arg(world, step, 0);
    if (node == NULL)
        die(step, "which node?");
    return node;
}

static void
add_roles(struct raft_change *change, const struct story_arg *ids, enum raft_change_kind kind)
{
    for (unsigned i = 0; ids != NULL && i < ids->count; i++)
        change->items[change->count++] =
            (struct raft_change_item){.kind = kind, .id = number(ids->values[i])};
}

static void
add_nodes(struct world *world, const struct story_step *step)
{
    struct raft_change members = {.transition = RAFT_TRANSITION_IMPLICIT};
    add_roles(&members, story_arg(step, "voters"), RAFT_ADD_VOTER);
    add_roles(&members, story_arg(step, "learners"), RAFT_ADD_LEARNER);
    struct raft_durable durable = {0};
    for (uint32_t i = 0; i < members.count;
         i++) { // one at a time: a beginning may be of many voters
        const struct raft_change one = {.count = 1, .items = {members.items[i]}};
        if (member_simple(&durable.group, &one, &durable.group) != MEMBER_OK)
            die(step, "no configuration");
        for (uint32_t m = 0; m < durable.group.count; m++)
            durable.group.members[m].roles &= (uint8_t)~RAFT_FRESH;
    }
    const struct story_arg *index = story_arg(step, "index");
    const struct story_arg *inflight = story_arg(step, "inflight");
    const struct story_arg *committed = story_arg(step, "max-committed-size-per-ready");
    const struct story_arg *reads = story_arg(step, "read-only");
    const struct story_arg *content = story_arg(step, "content");
    if (index != NULL) {
        durable.applied = durable.base_position = number(index->values[0]);
        durable.hard_state.commit = durable.applied;
        durable.base_term = 1;
    }
    const struct raft_config config = {
        .tick_ns = TICK_NS,
        .election_ticks = ELECTION_TICKS,
        .heartbeat_ticks = HEARTBEAT_TICKS,
        .pre_vote = is_true(step, "prevote"),
        .check_quorum = is_true(step, "checkquorum"),
        .step_down_on_removal = is_true(step, "step-down-on-removal"),
        .changes_unchecked = is_true(step, "disable-conf-change-validation"),
        .reads = reads != NULL && strcmp(reads->values[0], "lease-based") == 0 ? RAFT_READS_LEASE
                                                                               : RAFT_READS_SAFE,
        .inflight_max =
            inflight != NULL ? (uint32_t)number(inflight->values[0]) : RAFT_INFLIGHTS_MAX,
        .inflight_bytes_max = UINT64_MAX,
        .append_bytes_max = UINT64_MAX,
        .apply_bytes_max = committed != NULL ? number(committed->values[0]) : UINT64_MAX,
        .uncommitted_bytes_max = UINT64_MAX,
        .chunk_bytes = RAFT_CHUNK_BYTES_MAX,
        .tail_entries_max = 100000,
        .tail_bytes_max = 1u << 30,
    };
    if (step->arg_count == 0)
        die(step, "how many?");
    for (uint64_t n = number(step->args[0].key); n > 0; n--) {
        if (world->count == WORLD_NODES)
            die(step, "too many nodes");
        struct raft_config own = config;
        own.id = world->count + 1;
        world_add(world, &own, &durable, content != NULL ? content->values[0] : "");
    }
}

static void
propose_change(struct world *world, const struct story_step *step)
{
    struct raft_change change = {0};
    const struct story_arg *transition = story_arg(step, "transition");
    if (transition != NULL && strcmp(transition->values[0], "implicit") == 0)
        change.transition = RAFT_TRANSITION_IMPLICIT;
    if (transition != NULL && strcmp(transition->values[0], "explicit") == 0)
        change.transition = RAFT_TRANSITION_EXPLICIT;
    for (const char *at = step->input; *at != 0;) {
        const char *kind = strchr("vlru", *at);
        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        if (kind == NULL || change.count == RAFT_CHANGES_MAX)
            die(step, "no change");
        char *end;
        change.items[change.count++] = (struct raft_change_item){
            .kind = (enum raft_change_kind)(kind - "vlru"),
            .id = strtoull(at + 1, &end, 10),
        };
        at = end;
    }
    uint8_t bytes[RAFT_CHANGE_BYTES_MAX];
    world_propose(first_node(world, step), RAFT_ENTRY_CHANGE, bytes, member_encode(&change, bytes));
}

static void
tick(struct node *node, unsigned ticks)
{
    for (; ticks > 0; ticks--) {
        node->now_ns += TICK_NS;
        world_step(node, &(struct raft_input){.kind = RAFT_IN_WAKE});
    }
}

static void
deliver(struct world *world, const struct story_step *step)
{
    static const char *const names[RAFT_MSG_KINDS] = {
        [RAFT_APPEND] = "MsgApp",          [RAFT_APPEND_RESP] = "MsgAppResp",
        [RAFT_VOTE] = "MsgVote",           [RAFT_VOTE_RESP] = "MsgVoteResp",
        [RAFT_PRE_VOTE] = "MsgPreVote",    [RAFT_PRE_VOTE_RESP] = "MsgPreVoteResp",
        [RAFT_HEARTBEAT] = "MsgHeartbeat", [RAFT_HEARTBEAT_RESP] = "MsgHeartbeatResp",
        [RAFT_SNAPSHOT] = "MsgSnap",       [RAFT_TIMEOUT_NOW] = "MsgTimeoutNow",
    };
    const struct story_arg *type = story_arg(step, "type");
    unsigned kind = 0;
    for (unsigned i = 1; type != NULL && i < RAFT_MSG_KINDS; i++)
        if (names[i] != NULL && strcmp(names[i], type->values[0]) == 0)
            kind = i;
    if (type != NULL && kind == 0)
        die(step, "unknown type");
    for (unsigned a = 0; a < step->arg_count; a++) {
        const struct story_arg *arg = &step->args[a];
        struct flight *flight;
        if (arg->count == 0)
            while ((flight = world_take(world, number(arg->key), kind)) != NULL)
                world_deliver(world, flight);
        for (unsigned i = 0; strcmp(arg->key, "drop") == 0 && i < arg->count; i++)
            while ((flight = world_take(world, number(arg->values[i]), kind)) != NULL)
                flight_free(flight);
    }
}

static void
stabilize(struct world *world, const struct story_step *step)
{
    bool chosen[WORLD_NODES] = {false};
    struct node *node;
    bool all = true, moved = true;
    for (unsigned i = 0; (node = node_arg(world, step, i)) != NULL; i++) {
        chosen[node->raft.config.id - 1] = true;
        all = false;
    }
    while (moved) {
        moved = false;
        for (unsigned i = 0; i < world->count; i++) {
            if ((!all && !chosen[i]) || !world_has_output(world->nodes[i]))
                continue;
            world_process(world, world->nodes[i]);
            moved = true;
        }
        for (unsigned i = 0; i < world->count; i++) {
            struct flight *flight;
            while ((all || chosen[i]) && (flight = world_take(world, i + 1, 0)) != NULL) {
                world_deliver(world, flight);
                moved = true;
            }
        }
    }
}

static void
send_snapshot(struct world *world, const struct story_step *step)
{
    struct node *from = first_node(world, step), *to = node_arg(world, step, 1);
    if (to == NULL)
        die(step, "to whom?");
    const struct raft_msg msg = {
        .kind = RAFT_SNAPSHOT,
        .from = from->raft.config.id,
        .to = to->raft.config.id,
        .term = from->raft.term,
        .position = from->state.position,
        .log_term = from->state.term,
        .total_bytes = strlen(from->state.text),
        .chunk_bytes = (uint32_t)strlen(from->state.text),
        .group = &from->state.group,
    };
    world_send(&world->flights, from, &msg);
}

static void
process(struct world *world, const struct story_step *step)
{
    struct node *node;
    for (unsigned i = 0; (node = node_arg(world, step, i)) != NULL; i++)
        world_process(world, node);
}

static void
command(struct world *world, const struct story_step *step)
{
    const char *name = step->command;
    struct raft_input in = {0};
    if (strcmp(name, "add-nodes") == 0) {
        add_nodes(world, step);
    } else if (strcmp(name, "campaign") == 0) {
        in.kind = RAFT_IN_CAMPAIGN;
        world_step(first_node(world, step), &in);
    } else if (strcmp(name, "propose") == 0) {
        const char *text = step->arg_count > 1 ? step->args[1].key : "";
        world_propose(first_node(world, step), RAFT_ENTRY_NORMAL, (const uint8_t *)text,
                      (uint32_t)strlen(text));
    } else if (strcmp(name, "propose-conf-change") == 0) {
        propose_change(world, step);
    } else if (strcmp(name, "stabilize") == 0) {
        stabilize(world, step);
    } else if (strcmp(name, "deliver-msgs") == 0) {
        deliver(world, step);
    } else if (strcmp(name, "process-ready") == 0) {
        process(world, step);
    } else if (strcmp(name, "tick-heartbeat") == 0) {
        tick(first_node(world, step), HEARTBEAT_TICKS);
    } else if (strcmp(name, "tick-election") == 0) {
        tick(first_node(world, step), ELECTION_TICKS);
    } else if (strcmp(name, "set-randomized-election-timeout") == 0) {
        const struct story_arg *timeout = story_arg(step, "timeout");
        if (timeout == NULL)
            die(step, "which timeout?");
        first_node(world, step)->raft.random_ticks = (uint32_t)number(timeout->values[0]);
    } else if (strcmp(name, "transfer-leadership") == 0) {
        const struct story_arg *from = story_arg(step, "from"), *to = story_arg(step, "to");
        if (from == NULL || to == NULL || number(from->values[0]) - 1 >= world->count)
            die(step, "from whom to whom?");
        in.kind = RAFT_IN_TRANSFER;
        in.peer = number(to->values[0]);
        world_step(world->nodes[number(from->values[0]) - 1], &in);
    } else if (strcmp(name, "forget-leader") == 0) {
        in.kind = RAFT_IN_FORGET_LEADER;
        world_step(first_node(world, step), &in);
    } else if (strcmp(name, "send-snapshot") == 0) {
        send_snapshot(world, step);
    } else if (strcmp(name, "report-unreachable") == 0 && step->arg_count > 1) {
        in.kind = RAFT_IN_REPORT;
        in.report.kind = RAFT_REPORT_UNREACHABLE;
        in.report.peer = number(step->args[1].key);
        world_step(first_node(world, step), &in);
    } else if (strcmp(name, "compact") == 0 && step->arg_count > 1) {
        in.kind = RAFT_IN_COMPACT;
        in.position = number(step->args[1].key);
        world_step(first_node(world, step), &in);
    } else if (strcmp(name, "status") != 0 && strcmp(name, "raft-log") != 0 &&
               strcmp(name, "raft-state") != 0 && strcmp(name, "log-level") != 0) {
        die(step, "unknown command");
    }
}

static void
print_text(const uint8_t *bytes, uint32_t count)
{
    putchar('"');
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\')
            putchar('\\');
        putchar(bytes[i]);
    }
    putchar('"');
}

static void
print_entry(const struct raft_entry *entry)
{
    printf("[%llu,%llu,", (unsigned long long)entry->term, (unsigned long long)entry->position);
    struct raft_change change;
    if (entry->kind == RAFT_ENTRY_NORMAL) {
        printf("\"normal\",");
        print_text(entry->bytes, entry->byte_count);
    } else if (member_decode(entry->bytes, entry->byte_count, &change) == OMEN_OK) {
        printf("\"conf\",\"");
        for (uint32_t i = 0; i < change.count; i++)
            printf("%s%c%llu", i > 0 ? " " : "", "vlru"[change.items[i].kind],
                   (unsigned long long)change.items[i].id);
        putchar('"');
    }
    putchar(']');
}

static void
print_role(const struct raft_group *group, const char *name, uint8_t role)
{
    const char *before = "";
    printf(",\"%s\":[", name);
    for (uint32_t i = 0; i < group->count; i++) {
        if ((group->members[i].roles & role) == 0)
            continue;
        printf("%s%llu", before, (unsigned long long)group->members[i].id);
        before = ",";
    }
    putchar(']');
}

static void
print_node(const struct raft *raft)
{
    static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
    const struct raft_group *group = &raft->group;
    printf("\"%llu\":{\"role\":\"%s\",\"term\":%llu,\"vote\":%llu,\"lead\":%llu,\"commit\":%llu,"
           "\"applied\":%llu,\"first\":%llu,\"last\":%llu,\"log\":[",
           (unsigned long long)raft->config.id, roles[raft->state], (unsigned long long)raft->term,
           (unsigned long long)raft->vote, (unsigned long long)raft->lead,
           (unsigned long long)raft->commit, (unsigned long long)raft->applied,
           (unsigned long long)tail_first(&raft->tail), (unsigned long long)tail_last(&raft->tail));
    for (uint64_t at = tail_first(&raft->tail); at <= tail_last(&raft->tail); at++) {
        if (at > tail_first(&raft->tail))
            putchar(',');
        print_entry(tail_at(&raft->tail, at));
    }
    putchar(']');
    print_role(group, "voters", RAFT_VOTER);
    print_role(group, "outgoing", RAFT_OUTGOING);
    print_role(group, "learners", RAFT_LEARNER);
    print_role(group, "learners_next", RAFT_LEARNER_NEXT);
    printf(",\"auto_leave\":%s", group->auto_leave ? "true" : "false");
    if (raft->state == RAFT_LEADER) {
        printf(",\"match\":{");
        for (uint32_t i = 0; i < group->count; i++)
            printf("%s\"%llu\":%llu", i > 0 ? "," : "", (unsigned long long)group->members[i].id,
                   (unsigned long long)raft->progress[i].match);
        putchar('}');
    }
    putchar('}');
}

static void
print_state(const struct world *world, const struct story_step *step, unsigned n)
{
    printf("{\"n\":%u,\"cmd\":\"%s\",\"quiescent\":%s,\"nodes\":{", n, step->command,
           world_quiescent(world) ? "true" : "false");
    for (unsigned i = 0; i < world->count; i++) {
        if (i > 0)
            putchar(',');
        print_node(&world->nodes[i]->raft);
    }
    printf("}}\n");
}

// A line a node, and an empty one.
static void
print_lines(const struct world *world)
{
    char line[1024];
    for (unsigned i = 0; i < world->count; i++) {
        raft_describe(&world->nodes[i]->raft, line, sizeof line);
        printf("%s\n", line);
    }
    printf("\n");
}

int
main(int argc, char **argv)
{
    struct world world = {0};
    struct story story = {.file = stdin};
    static struct story_step step;
    const bool lines = argc > 1 && strcmp(argv[1], "--lines") == 0;
    for (unsigned n = 1; story_next(&story, &step); n++) {
        command(&world, &step);
        if (lines)
            print_lines(&world);
        else
            print_state(&world, &step, n);
    }
    world_close(&world);
    return 0;
}
