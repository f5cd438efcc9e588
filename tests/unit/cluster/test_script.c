// tests/unit/cluster/test_script.c -- the stories under tests/script/cluster.
//
// Shape: shell. usage: test_script [--rewrite], in the root of the sources.
//
//      node zone=a [weight=N] [roles=N] [features=N]   a new node, up; answers its number
//      restart N | kill N | revive N | advance SECONDS
//      state N up|draining|gone
//      collection NAME [shards=N] [replication=N] [min=N] | alter ID replication=N [min=N] | drop ID
//      alias NAME ID [expected=ID]
//      step KIND SHARD [node=N] [from=N] [replica=HEX] [value=HEX] [cfg=N] [children=yes]
//      plan        one look of the rebalancer: its steps, which are applied
//      obey        every node does one thing for every shard
//      settle      both, until nothing happens
//      map         the map
#include <dirent.h>
#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/script.h"

static struct world world;

// The value of NAME=, or `otherwise`.
static unsigned long long
number(const char *line, const char *name, int base, unsigned long long otherwise)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *at = strstr(line, wanted);
    return at == NULL ? otherwise : strtoull(at + strlen(wanted), NULL, base);
}

static void
say(struct text *answer, struct command_result result)
{
    text_add(answer, "%s v=%llu", status_name(result.status), (unsigned long long)result.version);
    if (result.value > 0)
        text_add(answer, " value=%llu", (unsigned long long)result.value);
    text_add(answer, "\n");
}

static void
run_node(const char *line, struct text *answer)
{
    const char *zone = strstr(line, " zone=");
    char name[65] = "a";
    if (zone != NULL)
        sscanf(zone, " zone=%64s", name);
    const uint32_t node = world_node(&world, name, (uint16_t)number(line, "weight", 10, 100));
    struct map_node *row = &world.map.nodes[world.map.node_count - 1];
    row->roles = (uint8_t)number(line, "roles", 10, row->roles);
    text_add(answer, "node %u\n", node);
}

static void
run_restart(uint32_t node, struct text *answer)
{
    struct command command = command_of(COMMAND_NODE_REGISTER);
    const struct map_node *row = map_node(&world.map, node);
    ck_assert_ptr_nonnull(row);
    command.node = (struct command_node){.uuid = row->uuid,
                                         .boot = row->boot + 1,
                                         .features = row->features,
                                         .weight = row->weight,
                                         .roles = row->roles,
                                         .zone = row->zone};
    say(answer, world_apply(&world, &command));
}

static void
run_state(const char *line, struct text *answer)
{
    static const char *const names[] = {"", "joining", "up", "draining", "gone"};
    struct command command = command_of(COMMAND_NODE_STATE);
    char name[16] = "";
    unsigned node = 0;
    sscanf(line, "state %u %15s", &node, name);
    command.node_state = (struct command_node_state){.expected = VERSION_ANY, .node = node};
    for (uint8_t i = 1; i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            command.node_state.state = i;
    say(answer, world_apply(&world, &command));
}

static void
run_collection(const char *line, struct text *answer)
{
    char name[65] = "";
    sscanf(line, "collection %64s", name);
    struct command command = create_command(name, (uint32_t)number(line, "shards", 10, 1),
                                            (uint8_t)number(line, "replication", 10, 1));
    command.collection.min_insync = (uint8_t)number(line, "min", 10, 0);
    say(answer, world_apply(&world, &command));
}

static void
run_alter(const char *line, struct text *answer)
{
    unsigned long long id = 0;
    const bool drops = sscanf(line, "drop %llu", &id) == 1;
    struct command command = command_of(drops ? COMMAND_COLLECTION_DROP : COMMAND_COLLECTION_ALTER);
    if (!drops)
        sscanf(line, "alter %llu", &id);
    command.alter = alter_of(id, VERSION_ANY, (uint8_t)number(line, "replication", 10, 0),
                             (uint8_t)number(line, "min", 10, 0));
    say(answer, world_apply(&world, &command));
}

static void
run_alias(const char *line, struct text *answer)
{
    char name[65] = "";
    unsigned long long id = 0;
    struct command command = command_of(COMMAND_ALIASES);
    sscanf(line, "alias %64s %llu", name, &id);
    command.aliases.count = 1;
    command.aliases.changes[0] =
        (struct alias_change){name_of(name), id, number(line, "expected", 10, VERSION_ANY)};
    say(answer, world_apply(&world, &command));
}

static void
run_step(const char *line, struct text *answer)
{
    char name[16] = "";
    unsigned long long id = 0;
    sscanf(line, "step %15s %llu", name, &id);
    const struct map_shard *shard = map_shard(&world.map, id);
    struct command command = command_of(COMMAND_STEPS);
    command.steps.count = 1;
    struct shard_step *step = &command.steps.steps[0];
    *step =
        (struct shard_step){.shard = id,
                            .cfg_ver = number(line, "cfg", 10, shard != NULL ? shard->cfg_ver : 0),
                            .node = (uint32_t)number(line, "node", 10, 0),
                            .from = (uint32_t)number(line, "from", 10, 0),
                            .replica = {0, number(line, "replica", 16, 0)},
                            .value = number(line, "value", 16, 0)};
    for (uint8_t kind = 1; kind < STEP_KINDS_END; kind++)
        if (strcmp(step_kind_name(kind), name) == 0)
            step->kind = kind;
    for (uint32_t i = 0; i < 2 && shard != NULL; i++) {
        const struct map_shard *child = map_shard(&world.map, shard->children[i]);
        step->child_cfg_ver[i] = child != NULL ? child->cfg_ver : 0;
    }
    say(answer, world_apply(&world, &command));
}

static void
run_plan(struct text *answer)
{
    if (!world_rebalance(&world, NULL))
        text_add(answer, "nothing to do\n");
    for (uint32_t i = 0; i < world.output.command.steps.count; i++) {
        const struct shard_step *step = &world.output.command.steps.steps[i];
        text_add(answer, "%s %llu", step_kind_name(step->kind), (unsigned long long)step->shard);
        if (step->node > 0)
            text_add(answer, " node=%u", step->node);
        if (step->from > 0)
            text_add(answer, " from=%u", step->from);
        if (!uuid_is_none(step->replica))
            text_add(answer, " replica=%llx", (unsigned long long)step->replica.low);
        if (step->value > 0)
            text_add(answer, " value=%llx", (unsigned long long)step->value);
        text_add(answer, "\n");
    }
    if (world.output.notes[REBALANCE_HOMELESS] > 0)
        text_add(answer, "homeless %u\n", world.output.notes[REBALANCE_HOMELESS]);
    if (world.output.notes[REBALANCE_ORPHANED] > 0)
        text_add(answer, "orphaned %u\n", world.output.notes[REBALANCE_ORPHANED]);
}

static void
run(void *context, const char *line, struct text *answer)
{
    static char map[SCRIPT_ANSWER_BYTES];
    char word[16] = "";
    unsigned value = 0;
    (void)context;
    sscanf(line, "%15s %u", word, &value);
    if (strcmp(word, "node") == 0) {
        run_node(line, answer);
    } else if (strcmp(word, "state") == 0) {
        run_state(line, answer);
    } else if (strcmp(word, "restart") == 0) {
        run_restart(value, answer);
    } else if (strcmp(word, "collection") == 0) {
        run_collection(line, answer);
    } else if (strcmp(word, "alter") == 0 || strcmp(word, "drop") == 0) {
        run_alter(line, answer);
    } else if (strcmp(word, "alias") == 0) {
        run_alias(line, answer);
    } else if (strcmp(word, "step") == 0) {
        run_step(line, answer);
    } else if (strcmp(word, "plan") == 0) {
        run_plan(answer);
    } else if (strcmp(word, "obey") == 0) {
        text_add(answer, world_obey(&world) ? "obeyed\n" : "nothing to do\n");
    } else if (strcmp(word, "settle") == 0) {
        text_add(answer, "settled after %u rounds\n", world_settle(&world, 1000));
    } else if (strcmp(word, "kill") == 0 || strcmp(word, "revive") == 0) {
        ck_assert_uint_lt(value, WORLD_NODES_MAX);
        world.alive[value] = word[0] == 'r';
        world.lease_void[value] = word[0] == 'k';
    } else if (strcmp(word, "advance") == 0) {
        world.now_ns += value * 1000000000ull;
    } else if (strcmp(word, "map") == 0) {
        map_describe(&world.map, map, sizeof map);
        text_add(answer, "%s", map);
    } else {
        text_add(answer, "what is \"%s\"?\n", word);
    }
}

static bool rewrite;

START_TEST(every_story_goes_as_written)
{
    const char *const folder = "tests/script/cluster";
    const struct script script = {.command = run, .rewrite = rewrite};
    struct dirent **entries;
    const int count = scandir(folder, &entries, NULL, alphasort);
    bool good = true;
    uint32_t files = 0;
    ck_assert_int_gt(count, 0);
    for (int i = 0; i < count; i++) {
        char path[600];
        if (strstr(entries[i]->d_name, ".txt") != NULL) {
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            world_init(&world, 1);
            good &= script_run(&script, path);
            world_fini(&world);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    ck_assert_uint_gt(files, 0);
    ck_assert(good);
}
END_TEST

static Suite *
cluster_script_suite(void)
{
    Suite *suite = suite_create("cluster/script");
    TCase *tcase = tcase_create("script");
    tcase_add_test(tcase, every_story_goes_as_written);
    suite_add_tcase(suite, tcase);
    return suite;
}

int
main(int argc, char **argv)
{
    rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    return check_main(cluster_script_suite);
}
