// tests/unit/node/test_untaken.c -- who waits for how long before the copies build what no builder took, and how that ends.
//
// Shape: machine. The map is a real one, changed by commands only.
#include "node/untaken.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

#define MS UINT64_C(1000000)
#define WAIT_NS (30000 * MS)
#define REQUIRE_NS (600000 * MS)
enum { SHARDS = UNTAKEN_JOBS_MAX + 2, OTHER = 2 };

static struct site {
    struct world world;
    const struct map *map; // as published
    struct untaken untaken;
    uint64_t now_ns, collection;
    bool builders, deaf;
    uint32_t wishes, renewals, builds, drops;
    const char *note; // the last
} site;

static void
publish(void)
{
    map_publish_end(site.map);
    ck_assert_int_eq(map_publish(&site.world.map, &site.map), OMEN_OK);
}

static void
say(struct untaken_input in)
{
    struct untaken_output out;
    publish();
    in.now_ns = site.now_ns;
    in.map = site.map;
    in.builders = site.builders;
    untaken_step(&site.untaken, &in, &out);
    site.drops += out.drops;
    if (out.note != NULL)
        site.note = out.note;
    if (out.builds) {
        ck_assert_uint_eq(out.collection, site.collection);
        site.builds++;
    }
    if (!out.wishes)
        return;
    site.wishes++;
    site.renewals += out.command.kind == COMMAND_JOB_RENEW;
    out.command.time_ms = site.now_ns / MS;
    if (!site.deaf)
        (void)world_apply(&site.world, &out.command); // a refusal is the map's
}

static void
look(void)
{
    say((struct untaken_input){.kind = UNTAKEN_IN_LOOK});
}

static void
ended(omen_status status)
{
    say((struct untaken_input){.kind = UNTAKEN_IN_ENDED, .status = status});
}

static void
at(uint64_t since_ns, uint64_t ns)
{
    site.now_ns = since_ns + ns;
    look();
}

// Everything that it wants to be woken for, up to then.
static void
run_until(uint64_t until_ns)
{
    while (untaken_wake_ns(&site.untaken) <= until_ns) {
        if (untaken_wake_ns(&site.untaken) > site.now_ns)
            site.now_ns = untaken_wake_ns(&site.untaken);
        else
            site.now_ns++;
        look();
    }
    at(until_ns, 0);
}

static const struct map_shard *
shard_at(uint32_t i)
{
    return &site.world.map.shards[i];
}

static void
open_shard(uint64_t id, uint32_t node)
{
    ck_assert_int_eq(
        world_step(&site.world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
        OMEN_OK);
    ck_assert_int_eq(world_step(&site.world, id,
                                (struct shard_step){.kind = STEP_BORN,
                                                    .node = node,
                                                    .replica = world_uuid(&site.world)}),
                     OMEN_OK);
}

static void
begin(void)
{
    const struct untaken_config config = {.node = map_node(&site.world.map, 1)->uuid,
                                          .wait_ns = WAIT_NS,
                                          .require_ns = REQUIRE_NS,
                                          .lease_ns = 10000 * MS,
                                          .renew_ns = 3000 * MS,
                                          .wish_ns = 1000 * MS,
                                          .again_ns = 500 * MS};
    untaken_init(&site.untaken, &config);
}

// All shards are on node 1 but the last, which is on the other.
static void
setup(void)
{
    memset(&site, 0, sizeof site);
    world_init(&site.world, 1);
    site.now_ns = 1000000 * MS;
    (void)world_node(&site.world, "here", 100);
    (void)world_node(&site.world, "here", 100);
    site.collection = world_collection(&site.world, "docs", SHARDS, 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        open_shard(shard_at(i)->id, i + 1 < SHARDS ? 1 : OTHER);
    begin();
}

static void
teardown(void)
{
    map_publish_end(site.map);
    world_fini(&site.world);
}

static uint64_t
make_job(uint32_t shard, uint64_t argument)
{
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job =
        (struct command_job){.shard = shard_at(shard)->id, .argument = argument, .kind = JOB_BUILD};
    command.time_ms = site.now_ns / MS;
    const struct command_result result = world_apply(&site.world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    look();
    return result.value;
}

static const struct job *
job(uint64_t number)
{
    return map_job(&site.world.map, number);
}

// As a builder does; node 2 plays it.
static void
other_says(uint64_t number, enum command_kind kind)
{
    struct command command = command_of(kind);
    command.job = (struct command_job){.job = number,
                                       .expected = VERSION_ANY,
                                       .owner = OTHER,
                                       .lease_ms = 10000,
                                       .state = JOB_WAITING};
    command.time_ms = site.now_ns / MS;
    ck_assert_int_eq(world_apply(&site.world, &command).status, OMEN_OK);
}

START_TEST(without_a_map_and_without_jobs_nothing_is_waited_for)
{
    struct untaken_output out;
    untaken_step(&site.untaken, &(struct untaken_input){.now_ns = site.now_ns}, &out);
    ck_assert(!out.wishes && !out.builds && !out.drops);
    ck_assert_uint_eq(untaken_wake_ns(&site.untaken), UINT64_MAX);
    look();
    ck_assert_uint_eq(untaken_wake_ns(&site.untaken), UINT64_MAX);
}
END_TEST

START_TEST(what_no_builder_took_in_time_the_copies_build)
{
    const uint64_t made_ns = site.now_ns, number = make_job(0, 0);
    ck_assert_uint_eq(untaken_wake_ns(&site.untaken), made_ns + WAIT_NS);
    at(made_ns, WAIT_NS - 1);
    ck_assert_uint_eq(site.wishes, 0);
    at(made_ns, WAIT_NS);
    ck_assert_uint_eq(job(number)->state, JOB_RUNNING);
    ck_assert_uint_eq(job(number)->owner, 1);
    ck_assert_str_eq(site.note, "no builder took a job: the copies build");
    ck_assert_uint_eq(site.builds, 0); // before the map says so
    look();
    ck_assert_uint_eq(site.builds, 1);
    run_until(site.now_ns + 20000 * MS); // copies take long
    ck_assert_uint_ge(site.renewals, 6);
    ck_assert_uint_eq(site.builds, 1);
    say((struct untaken_input){.kind = UNTAKEN_IN_LOOK, .permille = 500});
    run_until(site.now_ns + 3000 * MS);
    ck_assert_uint_eq(job(number)->progress, 500);
    ended(OMEN_OK);
    ck_assert_uint_eq(job(number)->state, JOB_DONE);
    ck_assert_uint_eq(job(number)->progress, 1000);
    ck_assert_uint_eq(job(number)->attempts, 1);
    look();
    ck_assert_int_eq(site.untaken.state, UNTAKEN_WATCHING);
    ck_assert_uint_eq(untaken_wake_ns(&site.untaken), UINT64_MAX);
}
END_TEST

START_TEST(while_a_builder_lives_a_job_waits_for_it_and_the_time_begins_when_the_last_is_gone)
{
    site.builders = true;
    const uint64_t number = make_job(0, 0);
    for (uint32_t i = 0; i < 10; i++)
        at(site.now_ns, WAIT_NS);
    ck_assert_uint_eq(job(number)->state, JOB_WAITING);
    ck_assert_uint_eq(site.wishes, 0);
    site.builders = false;
    const uint64_t gone_ns = site.now_ns;
    at(gone_ns, WAIT_NS - 1);
    ck_assert_uint_eq(site.wishes, 0);
    at(gone_ns, WAIT_NS);
    ck_assert_uint_eq(job(number)->owner, 1);
}
END_TEST

START_TEST(what_a_builder_is_at_is_not_touched_and_what_it_left_is_taken)
{
    const uint64_t number = make_job(0, 0);
    other_says(number, COMMAND_JOB_CLAIM);
    for (uint32_t i = 0; i < 20; i++) {
        at(site.now_ns, 5000 * MS);
        other_says(number, COMMAND_JOB_RENEW);
    }
    ck_assert_uint_eq(site.wishes, 0);
    look();
    const uint64_t died_ns = site.now_ns;
    at(died_ns, WAIT_NS - 1);
    ck_assert_uint_eq(site.wishes, 0);
    at(died_ns, WAIT_NS);
    ck_assert_uint_eq(job(number)->owner, 1);
    ck_assert_uint_eq(job(number)->attempts, 2);
}
END_TEST

START_TEST(a_builder_that_comes_in_the_last_moment_has_the_job)
{
    const uint64_t made_ns = site.now_ns, number = make_job(0, 0);
    site.deaf = true;
    at(made_ns, WAIT_NS);
    ck_assert_int_eq(site.untaken.state, UNTAKEN_CLAIMING);
    look();
    ck_assert_int_eq(site.untaken.state, UNTAKEN_CLAIMING); // it may come yet
    other_says(number, COMMAND_JOB_CLAIM);
    look();
    ck_assert_int_eq(site.untaken.state, UNTAKEN_WATCHING);
    ck_assert_uint_eq(site.builds, 0);
    ck_assert_uint_eq(job(number)->owner, OTHER);
}
END_TEST

START_TEST(wishes_that_nobody_hears_are_said_again)
{
    const uint64_t made_ns = site.now_ns, number = make_job(0, 0);
    site.deaf = true;
    at(made_ns, WAIT_NS);
    run_until(site.now_ns + 4500 * MS);
    ck_assert_uint_eq(site.wishes, 5);
    site.deaf = false;
    run_until(site.now_ns + 1000 * MS);
    ck_assert_uint_eq(site.builds, 1);
    site.deaf = true;
    ended(OMEN_OK);
    ck_assert_uint_eq(job(number)->state, JOB_RUNNING);
    site.deaf = false;
    run_until(site.now_ns + 1000 * MS);
    ck_assert_uint_eq(job(number)->state, JOB_DONE);
}
END_TEST

START_TEST(a_job_that_requires_a_gpu_fails_when_its_time_is_over_whoever_lives)
{
    site.builders = _i == 1; // without a GPU
    const uint64_t made_ns = site.now_ns, number = make_job(0, JOB_BUILD_GPU);
    run_until(made_ns + REQUIRE_NS - 1);
    ck_assert_uint_eq(job(number)->state, JOB_WAITING);
    ck_assert_uint_eq(site.wishes, 0);
    at(made_ns, REQUIRE_NS);
    ck_assert_uint_eq(job(number)->state, JOB_FAILED);
    ck_assert_uint_eq(job(number)->attempts, 0);
    ck_assert_uint_eq(site.builds, 0);
    ck_assert_str_eq(site.note, "no builder with a GPU took a job in time: it has failed");
}
END_TEST

START_TEST(a_shard_whose_primary_is_elsewhere_is_that_nodes_to_see_to)
{
    const uint64_t number = make_job(SHARDS - 1, 0);
    at(site.now_ns, 2 * WAIT_NS);
    ck_assert_uint_eq(job(number)->state, JOB_WAITING);
    ck_assert_uint_eq(untaken_wake_ns(&site.untaken), UINT64_MAX);
}
END_TEST

static uint64_t
job_that_is_built(void)
{
    const uint64_t made_ns = site.now_ns, number = make_job(0, 0);
    at(made_ns, WAIT_NS);
    look();
    ck_assert_int_eq(site.untaken.state, UNTAKEN_BUILDING);
    return number;
}

START_TEST(copies_that_are_not_done_are_asked_again_but_not_for_ever)
{
    static const omen_status passing[] = {OMEN_E_BUSY, OMEN_E_TIMEOUT, OMEN_E_STALE_MAP};
    const uint64_t number = job_that_is_built();
    for (uint32_t i = 1; i < UNTAKEN_TRIES_MAX; i++) {
        ended(passing[i % 3]);
        ck_assert_uint_eq(site.builds, i);
        at(site.now_ns, 500 * MS - 1);
        ck_assert_uint_eq(site.builds, i);
        at(site.now_ns, 1);
        ck_assert_uint_eq(site.builds, i + 1);
    }
    ck_assert_uint_eq(job(number)->state, JOB_RUNNING);
    ended(OMEN_E_BUSY);
    ck_assert_uint_eq(job(number)->state, JOB_FAILED);
    ck_assert_str_eq(site.note, "the copies could not build");
}
END_TEST

START_TEST(what_does_not_pass_ends_the_job)
{
    const uint64_t number = job_that_is_built();
    ended(OMEN_E_UNSUPPORTED);
    ck_assert_uint_eq(job(number)->state, JOB_FAILED);
    ck_assert_uint_eq(site.builds, 1);
}
END_TEST

START_TEST(a_job_that_is_cancelled_meanwhile_is_dropped_and_its_answer_is_nobodys)
{
    const uint64_t number = job_that_is_built();
    struct command command = command_of(COMMAND_JOB_CANCEL);
    command.job = (struct command_job){.job = number, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&site.world, &command).status, OMEN_OK);
    look();
    ck_assert_uint_eq(site.drops, 1);
    ck_assert_str_eq(site.note, "a job is not ours any more");
    const uint32_t wishes = site.wishes;
    ended(OMEN_OK);
    ck_assert_uint_eq(site.wishes, wishes);
    ck_assert_uint_eq(job(number)->state, JOB_FAILED);
}
END_TEST

// The metadata was away for longer than the lease is.
START_TEST(a_lease_that_ran_out_is_taken_anew_before_anything_else)
{
    const uint64_t number = job_that_is_built();
    site.deaf = true;
    run_until(site.now_ns + 15000 * MS);
    struct command tick = command_of(COMMAND_TICK);
    tick.time_ms = site.now_ns / MS;
    ck_assert_int_eq(world_apply(&site.world, &tick).status, OMEN_OK);
    ck_assert_uint_le(job(number)->lease_until_ms, site.world.map.clock_ms);
    site.deaf = false;
    ended(OMEN_OK);
    ck_assert_uint_eq(job(number)->state, JOB_RUNNING);
    ck_assert_uint_eq(job(number)->attempts, 2);
    run_until(site.now_ns + 1000 * MS);
    ck_assert_uint_eq(job(number)->state, JOB_DONE);
}
END_TEST

START_TEST(more_jobs_than_are_watched_at_a_time_are_seen_to_one_after_the_other)
{
    uint64_t numbers[UNTAKEN_JOBS_MAX + 1];
    for (uint32_t i = 0; i <= UNTAKEN_JOBS_MAX; i++)
        numbers[i] = make_job(i, 0);
    ck_assert_uint_eq(site.untaken.row_count, UNTAKEN_JOBS_MAX);
    for (uint32_t i = 0; i < 4000 && job(numbers[UNTAKEN_JOBS_MAX])->state != JOB_DONE; i++) {
        if (site.untaken.state == UNTAKEN_BUILDING && site.untaken.until_ns == UINT64_MAX)
            ended(OMEN_OK);
        at(site.now_ns, 1000 * MS);
    }
    for (uint32_t i = 0; i <= UNTAKEN_JOBS_MAX; i++)
        ck_assert_uint_eq(job(numbers[i])->state, JOB_DONE);
    ck_assert_uint_eq(site.untaken.row_count, 0);
}
END_TEST

static Suite *
untaken_suite(void)
{
    Suite *suite = suite_create("node/untaken");
    TCase *tcase = tcase_create("jobs");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, without_a_map_and_without_jobs_nothing_is_waited_for);
    tcase_add_test(tcase, what_no_builder_took_in_time_the_copies_build);
    tcase_add_test(
        tcase, while_a_builder_lives_a_job_waits_for_it_and_the_time_begins_when_the_last_is_gone);
    tcase_add_test(tcase, what_a_builder_is_at_is_not_touched_and_what_it_left_is_taken);
    tcase_add_test(tcase, a_builder_that_comes_in_the_last_moment_has_the_job);
    tcase_add_test(tcase, wishes_that_nobody_hears_are_said_again);
    tcase_add_loop_test(tcase, a_job_that_requires_a_gpu_fails_when_its_time_is_over_whoever_lives,
                        0, 2);
    tcase_add_test(tcase, a_shard_whose_primary_is_elsewhere_is_that_nodes_to_see_to);
    tcase_add_test(tcase, copies_that_are_not_done_are_asked_again_but_not_for_ever);
    tcase_add_test(tcase, what_does_not_pass_ends_the_job);
    tcase_add_test(tcase, a_job_that_is_cancelled_meanwhile_is_dropped_and_its_answer_is_nobodys);
    tcase_add_test(tcase, a_lease_that_ran_out_is_taken_anew_before_anything_else);
    tcase_add_test(tcase, more_jobs_than_are_watched_at_a_time_are_seen_to_one_after_the_other);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(untaken_suite)
