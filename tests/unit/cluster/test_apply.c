// tests/unit/cluster/test_apply.c -- apply is total and deterministic: any bytes, any order, any memory.
//
// Shape: shell.
#include "cluster/apply.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/random_command.h"

enum { COMMANDS = 3000 };

static struct world world;

static void
expect_equal(const struct map *a, const struct map *b)
{
    const size_t count = snapshot_bytes(a);
    ck_assert_uint_eq(snapshot_bytes(b), count);
    uint8_t *first = malloc(count), *second = malloc(count);
    snapshot_encode(a, first, count);
    snapshot_encode(b, second, count);
    ck_assert_mem_eq(first, second, count);
    free(first);
    free(second);
}

START_TEST(random_commands_keep_every_invariant_and_give_the_same_map_twice)
{
    struct map twin;
    struct command command;
    static uint8_t bytes[COMMAND_BYTES_MAX];
    uint32_t accepted = 0;
    world_init(&world, 1);
    map_init(&twin);
    prng_init(&world.prng, (uint64_t)_i);
    for (uint64_t position = 1; position <= COMMANDS; position++) {
        random_command(&world.prng, &world.map, &command);
        if (command.kind == COMMAND_CLOCK_SET && prng_below(&world.prng, 10) > 0)
            command.kind = COMMAND_TICK;
        size_t count;
        struct command_result one, two;
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        const uint64_t version = world.map.version;
        ck_assert_int_eq(cluster_apply(&world.map, position, bytes, count, &one), OMEN_OK);
        ck_assert_int_eq(cluster_apply(&twin, position, bytes, count, &two), OMEN_OK);
        map_check(&world.map);
        ck_assert_int_eq(one.status, two.status);
        ck_assert_uint_eq(one.value, two.value);
        ck_assert_uint_eq(one.version, two.version);
        ck_assert_uint_ge(world.map.version, version);
        accepted += one.status == OMEN_OK;
        if (position % 100 == 0)
            expect_equal(&world.map, &twin);
    }
    ck_assert_uint_gt(accepted, COMMANDS / 20);
    map_fini(&twin);
    world_fini(&world);
}
END_TEST

START_TEST(a_map_from_a_snapshot_goes_on_as_the_one_it_was_taken_from)
{
    struct command command;
    static uint8_t bytes[COMMAND_BYTES_MAX];
    world_init(&world, 1);
    prng_init(&world.prng, 1000 + (uint64_t)_i);
    struct map twin;
    map_init(&twin);
    for (uint64_t position = 1; position <= COMMANDS; position++) {
        size_t count;
        struct command_result one, two;
        if (position == COMMANDS / 2) {
            const size_t size = snapshot_bytes(&world.map);
            uint8_t *snapshot = malloc(size);
            snapshot_encode(&world.map, snapshot, size);
            ck_assert_int_eq(snapshot_decode(snapshot, size, &twin), OMEN_OK);
            free(snapshot);
        }
        random_command(&world.prng, &world.map, &command);
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        ck_assert_int_eq(cluster_apply(&world.map, position, bytes, count, &one), OMEN_OK);
        if (position >= COMMANDS / 2) {
            ck_assert_int_eq(cluster_apply(&twin, position, bytes, count, &two), OMEN_OK);
            ck_assert_int_eq(one.status, two.status);
        }
    }
    expect_equal(&world.map, &twin);
    map_fini(&twin);
    world_fini(&world);
}
END_TEST

START_TEST(bytes_that_are_no_command_change_the_position_only)
{
    static const uint8_t noise[] = {1, 2, 3};
    struct command_result result;
    world_init(&world, 1);
    ck_assert_int_eq(cluster_apply(&world.map, 1, noise, sizeof noise, &result), OMEN_OK);
    ck_assert_int_eq(result.status, OMEN_E_CORRUPT);
    ck_assert_int_eq(cluster_apply(&world.map, 2, NULL, 0, &result), OMEN_OK);
    ck_assert_int_eq(result.status, OMEN_OK);
    ck_assert_uint_eq(world.map.position, 2);
    ck_assert_uint_eq(world.map.version, 0);
    world_fini(&world);
}
END_TEST

START_TEST(an_entry_that_was_applied_is_not_applied_again)
{
    struct command_result result;
    world_init(&world, 1);
    struct command command =
        command_of(COMMAND_SETTING_PUT); // which could be done any number of times
    command.setting.expected = VERSION_ANY;
    command.setting.name = name_of("color");
    uint8_t bytes[200];
    size_t count;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    ck_assert_int_eq(cluster_apply(&world.map, 7, bytes, count, &result), OMEN_OK);
    for (uint64_t position = 6; position <= 7; position++) {
        ck_assert_int_eq(cluster_apply(&world.map, position, bytes, count, &result), OMEN_OK);
        ck_assert_int_eq(result.status, OMEN_E_EXISTS);
    }
    ck_assert_uint_eq(world.map.position, 7);
    ck_assert_uint_eq(world.map.version, 1);
    world_fini(&world);
}
END_TEST

START_TEST(without_memory_nothing_is_done_and_the_entry_can_be_given_again)
{
    struct command_result result;
    uint8_t bytes[400];
    size_t count;
    struct map twin;
    world_init(&world, 1);
    map_init(&twin);
    struct command command = create_command("docs", 100, 1);
    command.op = (struct cluster_uuid){1, 1};
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    mem_fail_after((uint64_t)_i + 1);
    const omen_status status = cluster_apply(&world.map, 1, bytes, count, &result);
    const uint64_t refused = mem_refused();
    mem_fail_after(0);
    ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
    if (refused > 0) {
        ck_assert_uint_eq(world.map.position, 0);
        ck_assert_uint_eq(world.map.collection_count, 0);
        ck_assert_int_eq(cluster_apply(&world.map, 1, bytes, count, &result), OMEN_OK);
    }
    ck_assert_int_eq(cluster_apply(&twin, 1, bytes, count, &result), OMEN_OK);
    expect_equal(&world.map, &twin);
    map_fini(&twin);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_suite(void)
{
    Suite *suite = suite_create("cluster/apply");
    TCase *tcase = tcase_create("apply");
    tcase_add_loop_test(tcase, random_commands_keep_every_invariant_and_give_the_same_map_twice, 0,
                        20);
    tcase_add_loop_test(tcase, a_map_from_a_snapshot_goes_on_as_the_one_it_was_taken_from, 0, 10);
    tcase_add_test(tcase, bytes_that_are_no_command_change_the_position_only);
    tcase_add_test(tcase, an_entry_that_was_applied_is_not_applied_again);
    tcase_add_loop_test(tcase, without_memory_nothing_is_done_and_the_entry_can_be_given_again, 0,
                        8);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_suite)
