// tests/unit/node/test_builder_job.c -- which job a builder wishes for and when, and what may become of a wish before the map shows it.
//
// Shape: machine. The map is a real one, changed by commands only; what the builder wishes is applied where a test has it applied.
#include "node/builder.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

#define MS UINT64_C(1000000)
#define LEASE_NS (10000 * MS)
#define WISH_NS (1000 * MS)
enum { SHARDS = 3 };

static struct {
    struct world world;
    const struct map *map; // as published
    struct builder builder;
    struct builder_output out; // of the last step
    uint64_t now_ns;
    uint64_t collections[SHARDS]; // of one shard each
} site;

static void
step(void)
{
    map_publish_end(site.map);
    ck_assert_int_eq(map_publish(&site.world.map, &site.map), OMEN_OK);
    const struct builder_input in = {
        .kind = BUILDER_IN_MAP, .now_ns = site.now_ns, .map = site.map};
    builder_step(&site.builder, &in, &site.out);
}

static void
step_at(uint64_t now_ns)
{
    site.now_ns = now_ns;
    step();
}

// Nothing was wished, and it is asked again at this time.
static void
it_waits_until(uint64_t wake_ns)
{
    ck_assert(!site.out.wishes);
    ck_assert_uint_eq(builder_wake_ns(&site.builder), wake_ns);
}

static void
it_wishes(enum command_kind kind)
{
    ck_assert(site.out.wishes);
    ck_assert_uint_eq(site.out.command.kind, kind);
}

static struct command_result
apply(struct command command)
{
    command.time_ms = site.now_ns / MS;
    return world_apply(&site.world, &command);
}

static void
apply_wish(void)
{
    ck_assert(site.out.wishes);
    ck_assert_int_eq(apply(site.out.command).status, OMEN_OK);
}

static const struct map_node *
own(void)
{
    return map_node_by_uuid(&site.world.map, site.builder.config.node);
}

static void
begin_builder(uint64_t boot)
{
    const struct builder_config config = {.node = {7, 7},
                                          .boot = boot,
                                          .serial = 1000 * boot,
                                          .features = 7,
                                          .roles = NODE_BUILDER,
                                          .lease_ns = LEASE_NS,
                                          .renew_ns = 3000 * MS,
                                          .wish_ns = WISH_NS,
                                          .answer_ns = 5000 * MS,
                                          .install_ns = 600000 * MS,
                                          .retry_ns = 500 * MS};
    builder_init(&site.builder, &config);
}

// It is in the map, and could wish for something at once.
static void
come_up(void)
{
    step();
    it_wishes(COMMAND_NODE_REGISTER);
    apply_wish();
    ck_assert_uint_eq(own()->features, 7);
    step_at(site.now_ns + WISH_NS);
    it_wishes(COMMAND_NODE_STATE);
    apply_wish();
    ck_assert_int_eq(own()->state, NODE_UP);
    step_at(site.now_ns + WISH_NS);
    it_waits_until(UINT64_MAX);
}

static void
setup(void)
{
    static const char *const names[SHARDS] = {"a", "b", "c"};
    memset(&site, 0, sizeof site);
    world_init(&site.world, 1);
    site.now_ns = 1000000 * MS;
    ck_assert_uint_eq(world_node(&site.world, "here", 100), 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        site.collections[i] = world_collection(&site.world, names[i], 1, 1);
    begin_builder(1);
    come_up();
}

static void
teardown(void)
{
    map_publish_end(site.map);
    world_fini(&site.world);
}

// ---- jobs, as others make and hold them ----

static uint64_t
make_job(uint32_t collection, enum job_kind kind)
{
    struct command command = command_of(COMMAND_JOB_CREATE);
    for (uint32_t i = 0; i < site.world.map.shard_count; i++)
        if (site.world.map.shards[i].collection == site.collections[collection])
            command.job.shard = site.world.map.shards[i].id;
    command.job.kind = (uint8_t)kind;
    const struct command_result result = apply(command);
    ck_assert_int_eq(result.status, OMEN_OK);
    return result.value;
}

static const struct job *
job_of(uint64_t id)
{
    const struct job *job = map_job(&site.world.map, id);
    ck_assert_ptr_nonnull(job);
    return job;
}

static void
change(uint64_t id, enum command_kind kind, uint32_t owner)
{
    struct command command = command_of(kind);
    command.job = (struct command_job){
        .job = id, .expected = job_of(id)->version, .owner = owner, .lease_ms = LEASE_NS / MS};
    ck_assert_int_eq(apply(command).status, OMEN_OK);
}

static void
tick(void)
{
    const struct command command = command_of(COMMAND_TICK);
    ck_assert_int_eq(apply(command).status, OMEN_OK);
}

static void
it_claims(uint64_t id)
{
    it_wishes(COMMAND_JOB_CLAIM);
    ck_assert_uint_eq(site.out.command.job.job, id);
    ck_assert_uint_eq(site.out.command.job.owner, own()->number);
    ck_assert_uint_eq(site.out.command.job.expected, job_of(id)->version);
    ck_assert_int_eq(site.builder.state, BUILDER_CLAIMING);
}

// ---- which job ----

START_TEST(only_builds_are_a_builders_work)
{
    make_job(0, JOB_VERIFY);
    step();
    it_waits_until(UINT64_MAX);
    const uint64_t build = make_job(0, JOB_BUILD);
    step();
    it_claims(build);
}
END_TEST

START_TEST(a_job_that_comes_behind_a_wish_waits_for_its_time)
{
    const uint64_t wished_ns = site.now_ns;
    begin_builder(2); // which is a wish
    step();
    it_wishes(COMMAND_NODE_REGISTER);
    apply_wish();
    const uint64_t job = make_job(0, JOB_BUILD);
    step_at(wished_ns + WISH_NS - 1);
    it_waits_until(wished_ns + WISH_NS);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    step_at(wished_ns + WISH_NS);
    it_claims(job);
}
END_TEST

START_TEST(a_job_is_taken_at_once_where_its_lease_is_over_by_the_maps_clock)
{
    const uint64_t job = make_job(0, JOB_BUILD);
    change(job, COMMAND_JOB_CLAIM, 1);
    step();
    it_waits_until(site.now_ns + LEASE_NS);
    site.now_ns += LEASE_NS - 1 * MS;
    tick();
    const uint64_t since_ns = site.now_ns;
    site.now_ns -= 2000 * MS; // our clock is behind
    step();
    ck_assert(!site.out.wishes);
    site.now_ns = since_ns + 1 * MS;
    tick();
    site.now_ns -= 2000 * MS;
    step();
    it_claims(job);
}
END_TEST

// As long as somebody renews it, whoever that is; and only the first of those that are held is waited for.
START_TEST(a_job_is_left_when_nobody_has_renewed_it_for_a_lease_by_our_clock)
{
    const uint64_t job = make_job(0, JOB_BUILD);
    const uint64_t second = make_job(1, JOB_BUILD);
    change(job, COMMAND_JOB_CLAIM, 1);
    change(second, COMMAND_JOB_CLAIM, 1);
    const uint64_t begun_ns = site.now_ns;
    step();
    it_waits_until(begun_ns + LEASE_NS);
    site.now_ns += 8000 * MS;
    change(job, COMMAND_JOB_RENEW, 1);
    step();
    it_waits_until(begun_ns + 8000 * MS + LEASE_NS);
    step_at(begun_ns + LEASE_NS); // the second's has passed, by our clock
    it_waits_until(begun_ns + 8000 * MS + LEASE_NS);
    step_at(begun_ns + 8000 * MS + LEASE_NS - 1);
    it_waits_until(begun_ns + 8000 * MS + LEASE_NS);
    step_at(begun_ns + 8000 * MS + LEASE_NS);
    it_claims(job);
}
END_TEST

// The first of them changes: another job is another job, whatever version it has.
START_TEST(another_job_that_is_held_is_waited_for_from_its_own_beginning)
{
    const uint64_t job = make_job(0, JOB_BUILD);
    const uint64_t second = make_job(1, JOB_BUILD);
    change(job, COMMAND_JOB_CLAIM, 1);
    change(second, COMMAND_JOB_CLAIM, 1);
    step();
    it_waits_until(site.now_ns + LEASE_NS);
    site.now_ns += 5000 * MS;
    change(job, COMMAND_JOB_CANCEL, 1);
    step();
    it_waits_until(site.now_ns + LEASE_NS);
}
END_TEST

// ---- what becomes of a claim ----

static uint64_t
claim(void)
{
    const uint64_t job = make_job(0, JOB_BUILD);
    step();
    it_claims(job);
    return job;
}

START_TEST(a_claim_that_nobody_hears_is_said_again_after_a_while)
{
    const uint64_t job = claim(), at_ns = site.now_ns;
    step_at(at_ns + WISH_NS - 1);
    it_waits_until(at_ns + WISH_NS);
    step_at(at_ns + WISH_NS);
    it_claims(job);
}
END_TEST

// By a cancellation, by another, with its collection, or because our node is not there any more.
START_TEST(a_claim_that_came_too_late_is_given_up_at_once)
{
    const uint64_t job = claim();
    struct command command = command_of(COMMAND_COLLECTION_DROP);
    command.alter =
        (struct command_alter){.collection = site.collections[0], .expected = VERSION_ANY};
    if (_i == 0)
        change(job, COMMAND_JOB_CANCEL, 1);
    else if (_i == 1)
        change(job, COMMAND_JOB_CLAIM, 1);
    else
        ck_assert_int_eq(apply(command).status, OMEN_OK);
    step();
    ck_assert(!site.out.wishes);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
    const uint64_t other = make_job(1, JOB_BUILD);
    step_at(site.now_ns + WISH_NS);
    it_claims(other);
}
END_TEST

static void
forget_own(void)
{
    const uint32_t number = own()->number;
    ck_assert_int_eq(world_node_state(&site.world, number, NODE_DRAINING), OMEN_OK);
    ck_assert_int_eq(world_node_state(&site.world, number, NODE_GONE), OMEN_OK);
    struct command command = command_of(COMMAND_NODE_FORGET);
    command.node_state = (struct command_node_state){VERSION_ANY, number, NODE_GONE};
    ck_assert_int_eq(apply(command).status, OMEN_OK);
    ck_assert_ptr_null(own());
}

START_TEST(who_is_forgotten_while_it_claims_comes_into_the_map_anew)
{
    claim();
    apply_wish();
    forget_own();
    step_at(site.now_ns + WISH_NS);
    it_wishes(COMMAND_NODE_REGISTER);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
}
END_TEST

// Another process was this node, and held the job: it is not ours by that, and is taken when it was left.
START_TEST(what_our_node_held_before_it_began_anew_is_ours_when_the_map_says_it_again)
{
    const uint64_t job = claim();
    apply_wish();
    begin_builder(2);
    site.now_ns += WISH_NS;
    step();
    it_wishes(COMMAND_NODE_REGISTER);
    apply_wish();
    site.now_ns += WISH_NS;
    step();
    it_waits_until(site.now_ns + LEASE_NS);
    step_at(site.now_ns + LEASE_NS);
    it_claims(job);
    step(); // the map is as it was, and says that it is our node's
    it_waits_until(site.now_ns + WISH_NS);
    ck_assert_int_eq(site.builder.state, BUILDER_CLAIMING);
    const uint64_t before = job_of(job)->version;
    tick();
    change(job, COMMAND_JOB_CLAIM, own()->number); // as it wished
    ck_assert_uint_gt(job_of(job)->version, before);
    step();
    ck_assert_int_ne(site.builder.state, BUILDER_CLAIMING);
    ck_assert_uint_eq(site.builder.job, job);
}
END_TEST

// ---- what is held, and its end ----

// It was begun so often that it is ended at once.
static uint64_t
end(void)
{
    const uint64_t job = make_job(0, JOB_BUILD);
    for (uint32_t i = 0; i < BUILDER_ATTEMPTS_MAX; i++) {
        change(job, COMMAND_JOB_CLAIM, 1);
        site.now_ns += LEASE_NS;
        tick();
    }
    step();
    it_claims(job);
    apply_wish();
    step();
    it_wishes(COMMAND_JOB_END);
    ck_assert_str_eq(site.out.note, "a job was begun too often");
    ck_assert_int_eq(site.builder.state, BUILDER_ENDING);
    return job;
}

START_TEST(that_a_job_is_over_is_said_again_after_a_while_until_the_map_says_so)
{
    const uint64_t job = end(), at_ns = site.now_ns;
    step_at(at_ns + WISH_NS - 1);
    it_waits_until(at_ns + WISH_NS);
    step_at(at_ns + WISH_NS);
    it_wishes(COMMAND_JOB_END);
    apply_wish();
    ck_assert_int_eq(job_of(job)->state, JOB_FAILED);
    step();
    ck_assert(!site.out.wishes);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
}
END_TEST

START_TEST(who_is_forgotten_holds_nothing)
{
    end();
    forget_own();
    step_at(site.now_ns + WISH_NS);
    it_wishes(COMMAND_NODE_REGISTER);
    ck_assert_int_eq(site.builder.state, BUILDER_IDLE);
}
END_TEST

static Suite *
builder_job_suite(void)
{
    Suite *suite = suite_create("builder_job");
    TCase *tcase = tcase_create("builder_job");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, only_builds_are_a_builders_work);
    tcase_add_test(tcase, a_job_that_comes_behind_a_wish_waits_for_its_time);
    tcase_add_test(tcase, a_job_is_taken_at_once_where_its_lease_is_over_by_the_maps_clock);
    tcase_add_test(tcase, a_job_is_left_when_nobody_has_renewed_it_for_a_lease_by_our_clock);
    tcase_add_test(tcase, another_job_that_is_held_is_waited_for_from_its_own_beginning);
    tcase_add_test(tcase, a_claim_that_nobody_hears_is_said_again_after_a_while);
    tcase_add_loop_test(tcase, a_claim_that_came_too_late_is_given_up_at_once, 0, 3);
    tcase_add_test(tcase, who_is_forgotten_while_it_claims_comes_into_the_map_anew);
    tcase_add_test(tcase,
                   what_our_node_held_before_it_began_anew_is_ours_when_the_map_says_it_again);
    tcase_add_test(tcase, that_a_job_is_over_is_said_again_after_a_while_until_the_map_says_so);
    tcase_add_test(tcase, who_is_forgotten_holds_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(builder_job_suite)
