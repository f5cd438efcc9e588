// tests/unit/cluster/test_apply_misc.c -- jobs under leases, API keys, settings.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

static void
begin(void)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_node(&world, "a", 1);
    world_collection(&world, "docs", 2, 1);
}

static omen_status
job(enum command_kind kind, uint64_t id, uint32_t owner, uint64_t time_ms, uint8_t state)
{
    struct command command = command_of(kind);
    command.time_ms = time_ms;
    command.job = (struct command_job){.job = id,
                                       .expected = VERSION_ANY,
                                       .owner = owner,
                                       .lease_ms = 1000,
                                       .state = state,
                                       .progress = 10};
    return world_apply(&world, &command).status;
}

static struct command_result
create(uint64_t shard, uint8_t kind)
{
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job.shard = shard;
    command.job.kind = kind;
    return world_apply(&world, &command);
}

START_TEST(a_job_belongs_to_one_node_while_its_lease_lasts)
{
    begin();
    const uint64_t id = create(world.map.shards[0].id, JOB_BUILD).value;
    ck_assert_int_eq(job(COMMAND_JOB_RENEW, id, 1, 100, 0), OMEN_E_CONFLICT); // nobody's yet
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 1, 100, 0), OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 2, 1099, 0), OMEN_E_CONFLICT);
    ck_assert_int_eq(job(COMMAND_JOB_RENEW, id, 2, 1099, 0), OMEN_E_CONFLICT);
    ck_assert_int_eq(job(COMMAND_JOB_RENEW, id, 1, 1099, 0), OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 2, 2099, 0), OMEN_OK); // it ran out
    ck_assert_uint_eq(map_job(&world.map, id)->attempts, 2);
    ck_assert_int_eq(job(COMMAND_JOB_END, id, 1, 2100, JOB_DONE), OMEN_E_CONFLICT);
    ck_assert_int_eq(job(COMMAND_JOB_END, id, 2, 2100, JOB_RUNNING), OMEN_E_INVALID);
    ck_assert_int_eq(job(COMMAND_JOB_END, id, 2, 2100, JOB_DONE), OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 2, 9999, 0), OMEN_E_CONFLICT);
    ck_assert_uint_eq(map_job(&world.map, id)->state, JOB_DONE);
    world_fini(&world);
}
END_TEST

START_TEST(a_clock_that_is_set_leaves_a_lease_what_was_left_of_it)
{
    begin();
    const uint64_t held = create(world.map.shards[0].id, JOB_BUILD).value;
    const uint64_t over = create(world.map.shards[1].id, JOB_BUILD).value;
    job(COMMAND_JOB_CLAIM, over, 1, 1000000, 0);
    job(COMMAND_JOB_CLAIM, held, 1, 1001500, 0);
    struct command command = command_of(COMMAND_CLOCK_SET);
    command.time_ms = 5000;
    world_apply(&world, &command);
    ck_assert_uint_eq(map_job(&world.map, held)->version, world.map.version);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, over, 2, 5000, 0), OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, held, 2, 5999, 0), OMEN_E_CONFLICT);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, held, 2, 6000, 0), OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(a_job_that_is_given_back_waits_for_another)
{
    begin();
    const uint64_t id = create(world.map.shards[0].id, JOB_BUILD).value;
    job(COMMAND_JOB_CLAIM, id, 1, 100, 0);
    ck_assert_int_eq(job(COMMAND_JOB_END, id, 1, 100, JOB_WAITING), OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 2, 100, 0), OMEN_OK);
    world_fini(&world);
}
END_TEST

// What a program of before would not know is said only when there is none.
START_TEST(a_cancelled_job_is_over_whoever_holds_it)
{
    begin();
    if (_i == 2) {
        struct command features = command_of(COMMAND_FEATURES);
        features.features = MAP_FEATURE_LIMITS;
        ck_assert_int_eq(world_apply(&world, &features).status, OMEN_OK);
    }
    const uint64_t id = create(world.map.shards[0].id, JOB_BUILD).value;
    struct command command = command_of(COMMAND_JOB_CANCEL);
    if (_i >= 1)
        ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 1, 100, 0), OMEN_OK);
    command.job = (struct command_job){.job = id, .expected = 1};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    command.job.expected = map_job(&world.map, id)->version;
    command.job.state = JOB_CANCELLED;
    if (_i < 2) {
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_UNSUPPORTED);
        command.job.state = 0;
    }
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_uint_eq(map_job(&world.map, id)->state, _i == 2 ? JOB_CANCELLED : JOB_FAILED);
    ck_assert_uint_eq(map_job(&world.map, id)->owner, 0);
    ck_assert_int_eq(job(COMMAND_JOB_RENEW, id, 1, 100, 0), OMEN_E_CONFLICT);
    command.job.expected = VERSION_ANY;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT); // it is over
    command.job.job = 999;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(a_job_has_a_kind_a_shard_and_no_twin)
{
    begin();
    const uint64_t shard = world.map.shards[0].id;
    ck_assert_int_eq(create(shard, 0).status, OMEN_E_INVALID);
    ck_assert_int_eq(create(999, JOB_BUILD).status, OMEN_E_NOT_FOUND);
    ck_assert_int_eq(create(shard, JOB_BUILD).status, OMEN_OK);
    ck_assert_int_eq(create(shard, JOB_BUILD).status, OMEN_E_EXISTS);
    ck_assert_int_eq(create(shard, JOB_VERIFY).status, OMEN_OK);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, 999, 1, 0, 0), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, world.map.jobs[0].id, 99, 0, 0), OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(a_job_that_ended_lets_another_of_its_kind_begin)
{
    begin();
    const uint64_t shard = world.map.shards[0].id;
    const uint64_t id = create(shard, JOB_BUILD).value;
    ck_assert_int_eq(job(COMMAND_JOB_CLAIM, id, 1, 100, 0), OMEN_OK);
    ck_assert_int_eq(create(shard, JOB_BUILD).status, OMEN_E_EXISTS);
    ck_assert_int_eq(job(COMMAND_JOB_END, id, 1, 100, JOB_DONE), OMEN_OK);
    ck_assert_int_eq(create(shard, JOB_BUILD).status, OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(a_claim_of_a_job_that_changed_meanwhile_is_refused)
{
    begin();
    const uint64_t id = create(world.map.shards[0].id, JOB_BUILD).value;
    struct command command = command_of(COMMAND_JOB_CLAIM);
    command.time_ms = 100;
    command.job = (struct command_job){
        .job = id, .expected = map_job(&world.map, id)->version, .owner = 1, .lease_ms = 1000};
    job(COMMAND_JOB_CLAIM, id, 2, 50, 0);
    job(COMMAND_JOB_END, id, 2, 50, JOB_WAITING);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    command.job.expected = map_job(&world.map, id)->version;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    world_fini(&world);
}
END_TEST

START_TEST(jobs_that_ended_make_room_and_others_do_not)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_collection(&world, "docs", MAP_COLLECTION_SHARDS_MAX, 1);
    for (uint32_t i = 0; i < MAP_JOBS_MAX; i++)
        ck_assert_int_eq(create(world.map.shards[i].id, JOB_BUILD).status, OMEN_OK);
    ck_assert_int_eq(create(world.map.shards[0].id, JOB_VERIFY).status, OMEN_E_FULL);
    const uint64_t id = world.map.jobs[5].id;
    job(COMMAND_JOB_CLAIM, id, 1, 0, 0);
    job(COMMAND_JOB_END, id, 1, 0, JOB_FAILED);
    ck_assert_int_eq(create(world.map.shards[0].id, JOB_VERIFY).status, OMEN_OK);
    ck_assert_ptr_null(map_job(&world.map, id));
    world_fini(&world);
}
END_TEST

static omen_status
key(enum command_kind kind, const char *name, uint64_t expected)
{
    struct command command = command_of(kind);
    command.key = (struct command_key){
        .expected = expected, .name = name_of(name), .hash_words = {1, 2, 3, 4}, .role = KEY_READ};
    command.key.glob = (struct map_name){1, "*"};
    return world_apply(&world, &command).status;
}

START_TEST(a_key_is_put_and_dropped_for_the_version_that_was_seen)
{
    begin();
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "one", 5), OMEN_E_CONFLICT);
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "one", 0), OMEN_OK);
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "one", 0), OMEN_E_CONFLICT);
    const struct map_name one = name_of("one");
    const uint64_t version = map_key(&world.map, &one)->version;
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "one", version), OMEN_OK);
    ck_assert_int_eq(key(COMMAND_KEY_DROP, "one", version), OMEN_E_CONFLICT);
    ck_assert_int_eq(key(COMMAND_KEY_DROP, "one", VERSION_ANY), OMEN_OK);
    ck_assert_int_eq(key(COMMAND_KEY_DROP, "one", VERSION_ANY), OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(a_rate_of_a_key_waits_for_its_feature)
{
    begin();
    struct command command = command_of(COMMAND_KEY_PUT);
    command.key = (struct command_key){
        .name = name_of("one"), .glob = name_of("docs"), .rate = 100, .role = KEY_READ};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_UNSUPPORTED);
    ck_assert_uint_eq(world.map.key_count, 0);
    struct command features = command_of(COMMAND_FEATURES);
    features.features = MAP_FEATURE_LIMITS;
    ck_assert_int_eq(world_apply(&world, &features).status, OMEN_OK);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_uint_eq(world.map.keys[0].rate, 100);
    world_fini(&world);
}
END_TEST

START_TEST(keys_have_a_limit_and_stay_in_order)
{
    begin();
    char name[16];
    for (uint32_t i = 0; i < MAP_KEYS_MAX; i++) {
        snprintf(name, sizeof name, "k%u", i * 7919 % MAP_KEYS_MAX);
        ck_assert_int_eq(key(COMMAND_KEY_PUT, name, 0), OMEN_OK);
    }
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "more", 0), OMEN_E_FULL);
    ck_assert_int_eq(key(COMMAND_KEY_PUT, "k7", VERSION_ANY), OMEN_OK);
    world_fini(&world);
}
END_TEST

static omen_status
set(enum command_kind kind, const char *name, const char *value, uint64_t expected)
{
    struct command command = command_of(kind);
    command.setting.expected = expected;
    command.setting.name = name_of(name);
    command.setting.value.count = (uint8_t)strlen(value);
    memcpy(command.setting.value.bytes, value, strlen(value));
    return world_apply(&world, &command).status;
}

START_TEST(a_setting_is_put_and_dropped_for_the_version_that_was_seen)
{
    begin();
    ck_assert_int_eq(set(COMMAND_SETTING_PUT, "color", "red", 0), OMEN_OK);
    ck_assert_int_eq(set(COMMAND_SETTING_PUT, "color", "blue", 0), OMEN_E_CONFLICT);
    ck_assert_int_eq(set(COMMAND_SETTING_PUT, "color", "blue", VERSION_ANY), OMEN_OK);
    const struct map_name color = name_of("color");
    ck_assert_int_eq(map_setting(&world.map, &color)->value.bytes[0], 'b');
    ck_assert_int_eq(set(COMMAND_SETTING_DROP, "color", "", 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(set(COMMAND_SETTING_DROP, "color", "", VERSION_ANY), OMEN_OK);
    ck_assert_int_eq(set(COMMAND_SETTING_DROP, "color", "", VERSION_ANY), OMEN_E_NOT_FOUND);
    char name[16];
    for (uint32_t i = 0; i < MAP_SETTINGS_MAX; i++) {
        snprintf(name, sizeof name, "s%u", i);
        ck_assert_int_eq(set(COMMAND_SETTING_PUT, name, "", 0), OMEN_OK);
    }
    ck_assert_int_eq(set(COMMAND_SETTING_PUT, "more", "", 0), OMEN_E_FULL);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_misc_suite(void)
{
    Suite *suite = suite_create("cluster/apply_misc");
    TCase *tcase = tcase_create("apply_misc");
    tcase_add_test(tcase, a_job_belongs_to_one_node_while_its_lease_lasts);
    tcase_add_test(tcase, a_clock_that_is_set_leaves_a_lease_what_was_left_of_it);
    tcase_add_test(tcase, a_job_that_is_given_back_waits_for_another);
    tcase_add_loop_test(tcase, a_cancelled_job_is_over_whoever_holds_it, 0, 3);
    tcase_add_test(tcase, a_job_has_a_kind_a_shard_and_no_twin);
    tcase_add_test(tcase, a_job_that_ended_lets_another_of_its_kind_begin);
    tcase_add_test(tcase, a_claim_of_a_job_that_changed_meanwhile_is_refused);
    tcase_add_test(tcase, jobs_that_ended_make_room_and_others_do_not);
    tcase_add_test(tcase, a_rate_of_a_key_waits_for_its_feature);
    tcase_add_test(tcase, a_key_is_put_and_dropped_for_the_version_that_was_seen);
    tcase_add_test(tcase, keys_have_a_limit_and_stay_in_order);
    tcase_add_test(tcase, a_setting_is_put_and_dropped_for_the_version_that_was_seen);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_misc_suite)
