// tests/unit/node/test_builder.c -- a builder takes jobs of the map, asks copies that are there or are not, and ends what it began.
//
// Shape: machine. The map is a real one, changed by commands only; copies are a script.
#include "node/builder.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

#define MS UINT64_C(1000000)
enum { SHARDS = 3, COPIES = 3, CHUNKS = 4, GRAPH_CHUNKS = 2, ASKS_MAX = 400 };

// What the copies do, beside saying yes.
struct script {
    omen_status (*says)(
        const struct builder_ask *ask); // NULL: yes. OMEN_E_TIMEOUT: nothing is said
    omen_status built;
    bool deaf; // wishes go nowhere
};

struct site {
    struct world world;
    const struct map *map; // as published
    struct builder builder;
    struct script script;
    uint64_t now_ns;
    uint64_t collection;
    struct builder_ask asks[ASKS_MAX];
    uint32_t ask_count, builds, drops, wishes, renewals;
    const char *note; // the last
};

static struct site site;

static void
publish(void)
{
    map_publish_end(site.map);
    ck_assert_int_eq(map_publish(&site.world.map, &site.map), OMEN_OK);
}

static void step(struct builder_input in);

static void
take_wish(struct command *command)
{
    site.wishes++;
    site.renewals += command->kind == COMMAND_JOB_RENEW;
    if (site.script.deaf)
        return;
    command->time_ms = site.now_ns / MS;
    (void)world_apply(&site.world, command); // a refusal is the map's
}

static void
take_ask(const struct builder_ask *ask)
{
    ck_assert_uint_lt(site.ask_count, ASKS_MAX);
    site.asks[site.ask_count++] = *ask;
    const struct map_shard *shard = map_shard(site.map, ask->shard);
    const struct map_replica *replica = shard_replica(shard, ask->copy);
    ck_assert_uint_eq(shard->collection, site.collection);
    ck_assert(uuid_equal(map_node(site.map, replica->node)->uuid, ask->node));
    const omen_status status = site.script.says != NULL ? site.script.says(ask) : OMEN_OK;
    if (status != OMEN_E_TIMEOUT)
        step((struct builder_input){.kind = BUILDER_IN_ANSWER,
                                    .status = status,
                                    .question = ask->question,
                                    .chunks = CHUNKS});
}

static void
step(struct builder_input in)
{
    struct builder_output out;
    in.now_ns = site.now_ns;
    in.map = site.map;
    builder_step(&site.builder, &in, &out);
    ck_assert(!(out.asks && out.builds));
    site.drops += out.drops;
    if (out.note != NULL)
        site.note = out.note;
    if (out.wishes)
        take_wish(&out.command);
    if (out.builds) {
        site.builds++;
        step((struct builder_input){.kind = BUILDER_IN_PROGRESS, .permille = 500});
        step((struct builder_input){
            .kind = BUILDER_IN_BUILT, .status = site.script.built, .total = GRAPH_CHUNKS});
    } else if (out.asks) {
        take_ask(&out.ask);
    }
}

// One turn: to the time that it wants to be woken at, or a little on where it waits for nothing; and the map as it is by then.
static void
turn(void)
{
    const uint64_t wake_ns = builder_wake_ns(&site.builder);
    if (wake_ns > site.now_ns)
        site.now_ns = wake_ns == UINT64_MAX ? site.now_ns + 100 * MS : wake_ns;
    publish();
    step((struct builder_input){.kind = BUILDER_IN_MAP});
}

static void
turns_until(bool (*holds)(void))
{
    for (uint32_t i = 0; i < 2000 && !holds(); i++)
        turn();
    ck_assert(holds());
}

// ---- what is looked at ----

static uint64_t job_of;

static const struct job *
job(void)
{
    return map_job(&site.world.map, job_of);
}

static bool
is_over(void)
{
    return job() == NULL ||
           job()->state >= JOB_DONE; // the map forgets those of shards that are gone
}

static bool
is_idle(void)
{
    return is_over() && site.builder.state == BUILDER_IDLE;
}

static bool
is_up(void)
{
    publish();
    const struct map_node *own = map_node_by_uuid(site.map, site.builder.config.node);
    return own != NULL && own->state == NODE_UP && own->boot == site.builder.config.boot;
}

static uint32_t
asked(enum inner_build_step what)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < site.ask_count; i++)
        count += site.asks[i].step == what;
    return count;
}

// ---- making one ----

static void
begin_builder(uint64_t boot)
{
    const struct builder_config config = {.node = {7, 7},
                                          .boot = boot,
                                          .serial = 1000 * boot,
                                          .features = 7,
                                          .roles = NODE_BUILDER,
                                          .lease_ns = 10000 * MS,
                                          .renew_ns = 3000 * MS,
                                          .wish_ns = 1000 * MS,
                                          .answer_ns = 5000 * MS,
                                          .install_ns = 600000 * MS,
                                          .retry_ns = 500 * MS};
    builder_init(&site.builder, &config);
}

static void
open_shard(uint64_t id)
{
    for (uint32_t node = 1; node <= COPIES; node++)
        ck_assert_int_eq(
            world_step(&site.world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
            OMEN_OK);
    for (uint32_t node = 1; node <= COPIES; node++)
        ck_assert_int_eq(world_step(&site.world, id,
                                    (struct shard_step){.kind = STEP_BORN,
                                                        .node = node,
                                                        .replica = world_uuid(&site.world)}),
                         OMEN_OK);
}

static void
setup(void)
{
    memset(&site, 0, sizeof site);
    world_init(&site.world, 1);
    site.now_ns = 1000000 * MS;
    for (uint32_t i = 0; i < COPIES; i++)
        (void)world_node(&site.world, "here", 100);
    site.collection = world_collection(&site.world, "docs", SHARDS, COPIES);
    (void)world_collection(&site.world, "others", 1, COPIES); // of which no job is
    for (uint32_t i = 0; i < site.world.map.shard_count; i++)
        open_shard(site.world.map.shards[i].id);
    begin_builder(1);
    publish();
    uint32_t count;
    const struct map_shard *shard = builder_shard_at(site.map, site.collection, 0, &count);
    ck_assert_uint_eq(count, SHARDS);
    ck_assert_int_eq(shard->status, SHARD_OPEN);
    ck_assert_uint_eq(shard_in_sync(shard), COPIES);
}

static void
teardown(void)
{
    map_publish_end(site.map);
    world_fini(&site.world);
}

static void
make_job_for(uint64_t argument)
{
    uint32_t count;
    struct command command = command_of(COMMAND_JOB_CREATE);
    publish();
    command.job =
        (struct command_job){.shard = builder_shard_at(site.map, site.collection, 0, &count)->id,
                             .argument = argument,
                             .kind = JOB_BUILD};
    command.time_ms = site.now_ns / MS;
    const struct command_result result = world_apply(&site.world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    job_of = result.value;
}

static void
make_job(void)
{
    make_job_for(0);
}

START_TEST(a_builder_writes_itself_into_the_map_and_does_a_job_from_its_first_row_to_the_last_copy)
{
    turns_until(is_up);
    turn();
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    make_job();
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_eq(job()->progress, 1000);
    ck_assert_uint_eq(job()->attempts, 1);
    ck_assert_uint_eq(site.builds, SHARDS);
    ck_assert_uint_eq(asked(INNER_BUILD_FREEZE), SHARDS);
    ck_assert_uint_eq(asked(INNER_BUILD_ROWS), SHARDS * CHUNKS);
    ck_assert_uint_eq(asked(INNER_BUILD_TAKE), SHARDS * COPIES * GRAPH_CHUNKS);
    ck_assert_uint_eq(asked(INNER_BUILD_INSTALL), SHARDS * COPIES);
    // The primary measures, the others trust it; each attempt is another.
    uint64_t attempt = 0;
    for (uint32_t i = 0; i < site.ask_count; i++) {
        const struct builder_ask *ask = &site.asks[i];
        const struct map_shard *shard = map_shard(site.map, ask->shard);
        const bool primary = uuid_equal(shard->primary, ask->copy);
        if (ask->step == INNER_BUILD_INSTALL)
            ck_assert(ask->trusted != primary);
        if (ask->step <= INNER_BUILD_ROWS)
            ck_assert(primary);
        if (ask->step == INNER_BUILD_FREEZE)
            ck_assert_uint_gt(ask->attempt, attempt);
        attempt = ask->attempt;
    }
    ck_assert_uint_eq(builder_permille(&site.builder), 0);
}
END_TEST

START_TEST(a_job_that_requires_a_gpu_is_left_to_who_has_one)
{
    turns_until(is_up);
    make_job_for(JOB_BUILD_GPU);
    for (uint32_t i = 0; i < 50; i++)
        turn();
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    ck_assert_int_eq(job()->state, JOB_WAITING);
    ck_assert_uint_eq(site.ask_count, 0);
    site.builder.config.gpu = true;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
}
END_TEST

START_TEST(a_builder_without_a_map_waits_and_wishes_that_nobody_hears_are_said_again)
{
    struct builder_output out;
    builder_step(&site.builder, &(struct builder_input){.kind = BUILDER_IN_MAP, .now_ns = 5}, &out);
    ck_assert(!out.wishes && !out.asks);
    ck_assert_uint_eq(builder_wake_ns(&site.builder), UINT64_MAX);
    site.script.deaf = true;
    for (uint32_t i = 0; i < 5; i++)
        turn();
    site.script.deaf = false;
    turns_until(is_up);
    make_job();
    site.script.deaf = true;
    for (uint32_t i = 0; i < 5; i++)
        turn();
    ck_assert_int_eq(job()->state, JOB_WAITING);
    site.script.deaf = false;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    // A step without a map, in the middle of something, is none.
    make_job();
    turn();
    ck_assert_int_eq(site.builder.state, BUILDER_CLAIMING);
    builder_step(&site.builder,
                 &(struct builder_input){.kind = BUILDER_IN_MAP, .now_ns = site.now_ns}, &out);
    ck_assert(!out.wishes && !out.drops);
}
END_TEST

// ---- copies that do not say yes ----

static uint32_t noes;

static omen_status
busy_at_first(const struct builder_ask *ask)
{
    (void)ask;
    return noes++ % 3 == 0 ? OMEN_E_BUSY : OMEN_OK;
}

static omen_status
compacted_once(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_ROWS && ask->chunk == 2 && noes++ == 0 ? OMEN_E_CONFLICT
                                                                           : OMEN_OK;
}

static omen_status
silent_once(const struct builder_ask *ask)
{
    return ask->step == (uint8_t)(INNER_BUILD_FREEZE + (int)noes / 2) && noes++ % 2 == 0
               ? OMEN_E_TIMEOUT
               : OMEN_OK;
}

static omen_status
has_nothing(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_FREEZE ? OMEN_E_NOT_FOUND : OMEN_OK;
}

static omen_status
others_refuse(const struct builder_ask *ask)
{
    if (ask->step != INNER_BUILD_INSTALL || !ask->trusted)
        return OMEN_OK;
    return noes++ % 2 == 0 ? OMEN_E_INVALID : OMEN_E_CONFLICT;
}

static omen_status
others_never_ready(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_TAKE && ask->trusted ? OMEN_E_BUSY : OMEN_OK;
}

static omen_status
by_an_older_map_at_first(const struct builder_ask *ask)
{
    return ask->step >= INNER_BUILD_TAKE && noes++ < 2 ? OMEN_E_STALE_MAP : OMEN_OK;
}

START_TEST(what_passes_is_tried_again_and_a_shard_without_rows_enough_is_passed_over)
{
    static omen_status (*const scripts[])(const struct builder_ask *) = {
        busy_at_first,      compacted_once,           has_nothing, others_refuse,
        others_never_ready, by_an_older_map_at_first, silent_once};
    site.script.says = scripts[_i];
    noes = 0;
    make_job();
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_eq(job()->attempts, 1); // its lease was renewed
    if (_i == 1)
        ck_assert_uint_eq(asked(INNER_BUILD_FREEZE), SHARDS + 1);
    if (_i == 2)
        ck_assert_uint_eq(site.builds, 0);
    if (_i == 3 || _i == 4) {
        ck_assert_str_eq(site.note, "a copy keeps the graph that it has");
        ck_assert_uint_eq(site.builds, SHARDS);
    }
}
END_TEST

static omen_status
never_ready(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_FREEZE ? OMEN_E_BUSY : OMEN_OK;
}

static omen_status
not_good_enough(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_INSTALL ? OMEN_E_INVALID : OMEN_OK;
}

static omen_status
never_takes(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_TAKE ? OMEN_E_BUSY : OMEN_OK;
}

static omen_status
never_whole(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_INSTALL ? OMEN_E_CONFLICT : OMEN_OK;
}

static omen_status
never_reads(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_ROWS ? OMEN_E_BUSY : OMEN_OK;
}

START_TEST(what_does_not_pass_fails_the_job_and_says_why)
{
    static const struct {
        omen_status (*says)(const struct builder_ask *);
        omen_status built;
        const char *note;
    } rows[] = {{never_ready, OMEN_OK, "a shard was tried too often"},
                {not_good_enough, OMEN_OK, "a graph was not good enough"},
                {never_takes, OMEN_OK, "a shard was tried too often"},
                {never_whole, OMEN_OK, "a shard was tried too often"},
                {never_reads, OMEN_OK, "a shard was tried too often"},
                {NULL, OMEN_E_UNSUPPORTED, "a graph could not be built"}};
    site.script.says = rows[_i].says;
    site.script.built = rows[_i].built;
    make_job();
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_FAILED);
    ck_assert_str_eq(site.note, rows[_i].note);
    ck_assert_uint_lt(site.ask_count, ASKS_MAX);
    ck_assert_uint_gt(site.drops, 0);
    // And the next one is done.
    site.script = (struct script){0};
    make_job();
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
}
END_TEST

// ---- jobs that change hands ----

static omen_status
silent(const struct builder_ask *ask)
{
    (void)ask;
    return OMEN_E_TIMEOUT;
}

static bool
is_asking(void)
{
    return site.ask_count > 0;
}

START_TEST(a_cancelled_job_is_dropped_at_once)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    struct command command = command_of(COMMAND_JOB_CANCEL);
    command.job = (struct command_job){.job = job_of, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&site.world, &command).status, OMEN_OK);
    publish();
    step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    ck_assert_uint_eq(site.drops, 1);
    ck_assert_str_eq(site.note, "a job is not ours any more");
    // What comes late is nobody's.
    step((struct builder_input){.kind = BUILDER_IN_ANSWER, .question = 1, .chunks = 3});
    step((struct builder_input){.kind = BUILDER_IN_BUILT, .total = 3});
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
}
END_TEST

START_TEST(what_was_not_asked_is_no_answer_and_progress_is_of_who_builds)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    const struct builder before = site.builder;
    step((struct builder_input){
        .kind = BUILDER_IN_ANSWER, .question = before.question + 1, .chunks = CHUNKS});
    step((struct builder_input){.kind = BUILDER_IN_PROGRESS, .permille = 900});
    step((struct builder_input){.kind = BUILDER_IN_BUILT, .total = GRAPH_CHUNKS});
    ck_assert_int_eq(site.builder.state, BUILDER_FREEZING);
    ck_assert_uint_eq(site.builder.question, before.question);
    ck_assert_uint_eq(builder_permille(&site.builder), 0);
    ck_assert_uint_eq(site.ask_count, 1);
}
END_TEST

// By who has this number in the map; and the builder has not heard of it.
static void
claim_for(uint32_t owner)
{
    struct command command = command_of(COMMAND_JOB_CLAIM);
    command.job = (struct command_job){
        .job = job_of, .expected = job()->version, .owner = owner, .lease_ms = 10000};
    command.time_ms = site.now_ns / MS;
    ck_assert_int_eq(world_apply(&site.world, &command).status, OMEN_OK);
    ck_assert_uint_eq(job()->owner, owner);
}

static bool
is_claiming(void)
{
    return site.builder.state == BUILDER_CLAIMING;
}

START_TEST(a_job_that_somebody_else_was_faster_to_take_is_left_to_him)
{
    turns_until(is_up);
    make_job();
    site.script.deaf = true;
    turns_until(is_claiming);
    claim_for(1);
    publish();
    step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    const uint32_t wishes = site.wishes;
    for (uint32_t i = 0; i < 5; i++)
        step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_uint_eq(site.wishes, wishes);
    ck_assert_uint_eq(site.ask_count, 0);
}
END_TEST

START_TEST(a_wish_is_said_again_only_after_a_while)
{
    site.script.deaf = true;
    for (uint32_t i = 0; i < 5; i++)
        step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_uint_eq(site.wishes, 1);
    site.now_ns += 1000 * MS - 1;
    step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_uint_eq(site.wishes, 1);
    ck_assert_uint_eq(builder_wake_ns(&site.builder), site.now_ns + 1);
    site.now_ns++;
    step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_uint_eq(site.wishes, 2);
}
END_TEST

START_TEST(a_job_that_another_has_taken_over_is_dropped_at_once)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    struct command tick = command_of(COMMAND_TICK);
    site.now_ns += 20000 * MS; // nobody renewed its lease
    tick.time_ms = site.now_ns / MS;
    (void)world_apply(&site.world, &tick);
    claim_for(1);
    publish();
    step((struct builder_input){.kind = BUILDER_IN_MAP});
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    ck_assert_uint_eq(site.drops, 1);
    ck_assert_str_eq(site.note, "a job is not ours any more");
}
END_TEST

static bool
is_second_shard(void)
{
    return site.builder.shard_at == 1 && site.builder.state == BUILDER_FREEZING;
}

static uint64_t silent_shard;

static omen_status
silent_at_second(const struct builder_ask *ask)
{
    uint32_t count;
    silent_shard = builder_shard_at(site.map, site.collection, 1, &count)->id;
    return ask->shard == silent_shard ? OMEN_E_TIMEOUT : OMEN_OK;
}

// The process of the builder dies in the middle of the second shard, long enough after the first that a renewal said so.
START_TEST(who_comes_after_one_that_died_waits_for_its_lease_and_goes_on_where_it_was)
{
    site.script.says = silent_at_second;
    make_job();
    turns_until(is_second_shard);
    for (uint32_t i = 0; i < 6; i++)
        turn();
    ck_assert_uint_gt(site.renewals, 0);
    const uint64_t died_ns = site.now_ns;
    const uint32_t before = site.ask_count;
    begin_builder(2);
    site.script.says = NULL;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_eq(job()->attempts, 2);
    ck_assert_uint_gt(site.now_ns, died_ns + 5000 * MS);
    ck_assert_uint_eq(site.asks[before].shard, silent_shard); // not the first again
}
END_TEST

START_TEST(a_lease_that_ran_out_while_nobody_heard_is_taken_anew)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    site.script.deaf = true;
    for (uint32_t i = 0; i < 6; i++)
        turn();
    struct command tick = command_of(COMMAND_TICK);
    site.now_ns += 20000 * MS;
    tick.time_ms = site.now_ns / MS;
    (void)world_apply(&site.world, &tick);
    site.script = (struct script){0};
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_eq(job()->attempts, 2);
}
END_TEST

START_TEST(a_job_that_ends_its_builders_is_given_up)
{
    site.script.says = silent;
    make_job();
    for (uint64_t boot = 2; boot < 3 + BUILDER_ATTEMPTS_MAX && !is_over(); boot++) {
        site.ask_count = 0;
        for (uint32_t i = 0; i < 200 && !is_asking() && !is_over(); i++)
            turn();
        begin_builder(boot);
    }
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_FAILED);
    ck_assert_str_eq(site.note, "a job was begun too often");
}
END_TEST

// ---- maps that change ----

static omen_status
silent_install(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_INSTALL ? OMEN_E_TIMEOUT : OMEN_OK;
}

static bool
is_installing(void)
{
    return site.builder.state == BUILDER_INSTALLING;
}

static void
promote_other(uint64_t id)
{
    const struct map_shard *shard = map_shard(&site.world.map, id);
    struct shard_step promote = {.kind = STEP_PROMOTE};
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (!uuid_equal(shard->replicas[i].uuid, shard->primary))
            promote.replica = shard->replicas[i].uuid;
    ck_assert_int_eq(world_step(&site.world, id, promote), OMEN_OK);
    ck_assert_uint_eq(map_shard(&site.world.map, id)->term, 2);
}

START_TEST(another_primary_is_given_the_graph_that_was_built_from_the_first_ones_rows)
{
    site.script.says = silent_install;
    make_job();
    turns_until(is_installing);
    const uint64_t id = site.builder.shard, before_ns = site.now_ns;
    const struct cluster_uuid old = map_shard(site.map, id)->primary;
    promote_other(id);
    site.script.says = NULL;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_lt(site.now_ns, before_ns + 100000 * MS); // it did not wait for who is gone
    uint32_t frozen = 0;
    bool measured = false;
    for (uint32_t i = 0; i < site.ask_count; i++) {
        const struct builder_ask *ask = &site.asks[i];
        frozen += ask->shard == id && ask->step == INNER_BUILD_FREEZE;
        measured |= ask->shard == id && ask->step == INNER_BUILD_INSTALL && !ask->trusted &&
                    !uuid_equal(ask->copy, old);
    }
    ck_assert(measured);
    ck_assert_uint_eq(frozen, 1);
}
END_TEST

static omen_status
silent_install_of_others(const struct builder_ask *ask)
{
    return ask->step == INNER_BUILD_INSTALL && ask->trusted ? OMEN_E_TIMEOUT : OMEN_OK;
}

static bool
is_at_another(void)
{
    return site.ask_count > 0 && site.asks[site.ask_count - 1].step == INNER_BUILD_INSTALL &&
           site.asks[site.ask_count - 1].trusted;
}

START_TEST(a_copy_that_goes_while_it_is_asked_is_not_waited_for)
{
    site.script.says = silent_install_of_others;
    make_job();
    turns_until(is_at_another);
    const struct builder_ask last = site.asks[site.ask_count - 1];
    const uint64_t before_ns = site.now_ns;
    ck_assert_int_eq(world_step(&site.world, last.shard,
                                (struct shard_step){.kind = STEP_LOST, .replica = last.copy}),
                     OMEN_OK);
    site.script.says = NULL;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_lt(site.now_ns, before_ns + 100000 * MS);
    uint32_t asked_again = 0;
    for (uint32_t i = 0; i < site.ask_count; i++)
        asked_again +=
            uuid_equal(site.asks[i].copy, last.copy) && site.asks[i].question > last.question;
    ck_assert_uint_eq(asked_again, 0);
}
END_TEST

START_TEST(a_shard_whose_primary_is_lost_is_waited_for_and_begun_anew)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    const uint64_t id = site.builder.shard;
    const struct cluster_uuid lost = map_shard(site.map, id)->primary;
    ck_assert_int_eq(
        world_step(&site.world, id, (struct shard_step){.kind = STEP_LOST, .replica = lost}),
        OMEN_OK);
    ck_assert(uuid_is_none(map_shard(&site.world.map, id)->primary));
    site.script.says = NULL;
    turn();
    turn();
    ck_assert_int_eq(site.builder.state, BUILDER_WAITING);
    promote_other(id);
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    ck_assert_uint_eq(site.builds, SHARDS);
}
END_TEST

static void
split(uint64_t id)
{
    uint64_t children[2];
    const struct map_shard *shard = map_shard(&site.world.map, id);
    const uint64_t middle = shard->first + (shard->last - shard->first) / 2;
    ck_assert_int_eq(
        world_step(&site.world, id, (struct shard_step){.kind = STEP_SPLIT, .value = middle}),
        OMEN_OK);
    memcpy(children, map_shard(&site.world.map, id)->children, sizeof children);
    for (uint32_t node = 1; node <= COPIES; node++)
        for (uint32_t i = 0; i < 2; i++)
            ck_assert_int_eq(world_step(&site.world, children[i],
                                        (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
                             OMEN_OK);
    while (world_obey(&site.world))
        continue;
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(map_shard(&site.world.map, children[i])->status, SHARD_OPEN);
}

static enum inner_build_step silent_step;

static omen_status
silent_at_a_step_of_second(const struct builder_ask *ask)
{
    return ask->step == silent_step ? silent_at_second(ask) : OMEN_OK;
}

static bool
is_silent(void)
{
    if (site.ask_count == 0)
        return false;
    const struct builder_ask *last = &site.asks[site.ask_count - 1];
    return last->shard == silent_shard && last->step == silent_step;
}

// Whether the map has it no more (_i > 0), or as one that is retired.
START_TEST(a_shard_that_is_cut_is_begun_anew_as_its_halves_whatever_was_done_of_it)
{
    static const enum inner_build_step steps[] = {INNER_BUILD_INSTALL, INNER_BUILD_INSTALL,
                                                  INNER_BUILD_TAKE, INNER_BUILD_ROWS,
                                                  INNER_BUILD_FREEZE};
    silent_step = steps[_i];
    site.script.says = silent_at_a_step_of_second;
    make_job();
    turns_until(is_silent);
    const uint64_t id = site.builder.shard;
    const uint32_t before = site.ask_count;
    split(id);
    if (_i > 0)
        ck_assert_int_eq(world_step(&site.world, id, (struct shard_step){.kind = STEP_PURGE}),
                         OMEN_OK);
    site.script.says = NULL;
    turns_until(is_idle);
    ck_assert_int_eq(job()->state, JOB_DONE);
    const bool in_vain = silent_step >= INNER_BUILD_TAKE;
    ck_assert_uint_eq(site.builds, SHARDS + 1 + in_vain);
    for (uint32_t i = before; i < site.ask_count; i++)
        ck_assert_uint_ne(site.asks[i].shard, id);
}
END_TEST

START_TEST(a_collection_that_is_dropped_ends_its_job)
{
    site.script.says = silent;
    make_job();
    turns_until(is_asking);
    struct command command = command_of(COMMAND_COLLECTION_DROP);
    command.alter = (struct command_alter){.collection = site.collection, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&site.world, &command).status, OMEN_OK);
    turns_until(is_idle);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
}
END_TEST

START_TEST(progress_names_the_next_shard_exactly)
{
    for (uint32_t count = 1; count <= 1000; count += count < 20 ? 1 : 97) {
        site.builder.shard_count = count;
        for (uint32_t at = 0; at < count; at++) {
            for (uint32_t permille = 0; permille <= 1000; permille += 500) {
                site.builder.shard_at = at;
                site.builder.permille = permille;
                const uint32_t said = builder_permille(&site.builder);
                if (said * count / 1000 != at)
                    ck_abort_msg("%u of %u: %u", at, count, said);
            }
        }
    }
    site.builder.shard_count = 1024; // more than there are thousandths: it may go back, never on
    site.builder.permille = 1000;
    for (uint32_t at = 0; at < 1024; at++) {
        site.builder.shard_at = at;
        ck_assert_uint_le(builder_permille(&site.builder) * 1024 / 1000, at);
    }
}
END_TEST

static Suite *
builder_suite(void)
{
    Suite *suite = suite_create("builder");
    TCase *tcase = tcase_create("builder");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(
        tcase,
        a_builder_writes_itself_into_the_map_and_does_a_job_from_its_first_row_to_the_last_copy);
    tcase_add_test(tcase, a_job_that_requires_a_gpu_is_left_to_who_has_one);
    tcase_add_test(tcase,
                   a_builder_without_a_map_waits_and_wishes_that_nobody_hears_are_said_again);
    tcase_add_loop_test(
        tcase, what_passes_is_tried_again_and_a_shard_without_rows_enough_is_passed_over, 0, 7);
    tcase_add_loop_test(tcase, what_does_not_pass_fails_the_job_and_says_why, 0, 6);
    tcase_add_test(tcase, a_cancelled_job_is_dropped_at_once);
    tcase_add_test(tcase, what_was_not_asked_is_no_answer_and_progress_is_of_who_builds);
    tcase_add_test(tcase, a_job_that_somebody_else_was_faster_to_take_is_left_to_him);
    tcase_add_test(tcase, a_wish_is_said_again_only_after_a_while);
    tcase_add_test(tcase, a_job_that_another_has_taken_over_is_dropped_at_once);
    tcase_add_test(tcase,
                   who_comes_after_one_that_died_waits_for_its_lease_and_goes_on_where_it_was);
    tcase_add_test(tcase, a_lease_that_ran_out_while_nobody_heard_is_taken_anew);
    tcase_add_test(tcase, a_job_that_ends_its_builders_is_given_up);
    tcase_add_test(tcase,
                   another_primary_is_given_the_graph_that_was_built_from_the_first_ones_rows);
    tcase_add_test(tcase, a_copy_that_goes_while_it_is_asked_is_not_waited_for);
    tcase_add_test(tcase, a_shard_whose_primary_is_lost_is_waited_for_and_begun_anew);
    tcase_add_loop_test(
        tcase, a_shard_that_is_cut_is_begun_anew_as_its_halves_whatever_was_done_of_it, 0, 5);
    tcase_add_test(tcase, a_collection_that_is_dropped_ends_its_job);
    tcase_add_test(tcase, progress_names_the_next_shard_exactly);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(builder_suite)
