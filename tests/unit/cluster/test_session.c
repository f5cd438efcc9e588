// tests/unit/cluster/test_session.c -- a command that is sent again is applied once, whatever the clocks say.
//
// Shape: shell.
#include "cluster/apply.h"
#include "cluster/session_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

// Drawn at `ms`.
static struct cluster_uuid
op_at(uint64_t ms, uint64_t low)
{
    return (struct cluster_uuid){ms << 16 | 0x7000, low};
}

static struct command_result
create(const char *name, struct cluster_uuid op, uint64_t time_ms)
{
    struct command command = create_command(name, 1, 1);
    command.op = op;
    command.time_ms = time_ms;
    return world_apply(&world, &command);
}

START_TEST(a_repeated_command_gets_the_first_answer_and_changes_nothing)
{
    world_init(&world, 1);
    const struct command_result first = create("docs", op_at(1000, 1), 1000);
    ck_assert_int_eq(first.status, OMEN_OK);
    const struct command_result again = create("docs", op_at(1000, 1), 5000); // by another leader
    ck_assert_int_eq(again.status, OMEN_OK);
    ck_assert_uint_eq(again.value, first.value);
    ck_assert_uint_eq(again.position, first.position);
    ck_assert_uint_eq(again.version, first.version);
    ck_assert_uint_eq(world.map.collection_count, 1);
    world_fini(&world);
}
END_TEST

START_TEST(what_was_answered_is_told_by_every_copy_of_the_map)
{
    world_init(&world, 1);
    const struct command_result first = create("docs", op_at(1000, 1), 1000);
    const struct command_result refused = create("docs", op_at(1000, 2), 1000);
    const struct map *published;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    const struct map *const copies[] = {&world.map, published};
    for (uint32_t i = 0; i < 2; i++) {
        struct command_result told = {.value = 77};
        ck_assert(!cluster_answered(copies[i], op_at(1000, 3), &told));
        ck_assert_uint_eq(told.value, 77);
        ck_assert(cluster_answered(copies[i], op_at(1000, 1), &told));
        ck_assert_int_eq(told.status, OMEN_OK);
        ck_assert_uint_eq(told.value, first.value);
        ck_assert_uint_eq(told.version, first.version);
        ck_assert(cluster_answered(copies[i], op_at(1000, 2), &told));
        ck_assert_int_eq(told.status, OMEN_E_EXISTS);
        ck_assert_uint_eq(told.version, refused.version);
    }
    map_publish_end(published);
    world_fini(&world);
}
END_TEST

START_TEST(a_refusal_is_remembered_as_well)
{
    world_init(&world, 1);
    create("docs", op_at(1000, 1), 1000);
    ck_assert_int_eq(create("docs", op_at(1000, 2), 1000).status, OMEN_E_EXISTS);
    struct command command = command_of(COMMAND_COLLECTION_DROP);
    command.alter = alter_of(1, VERSION_ANY, 0, 0);
    world_apply(&world, &command);
    ck_assert_int_eq(create("docs", op_at(1000, 2), 1000).status, OMEN_E_EXISTS);
    world_fini(&world);
}
END_TEST

START_TEST(an_op_id_with_another_command_is_refused)
{
    world_init(&world, 1);
    create("docs", op_at(1000, 1), 1000);
    ck_assert_int_eq(create("other", op_at(1000, 1), 1000).status, OMEN_E_INVALID);
    ck_assert_uint_eq(world.map.collection_count, 1);
    world_fini(&world);
}
END_TEST

START_TEST(what_may_have_been_forgotten_is_never_applied_again)
{
    world_init(&world, 1);
    create("docs", op_at(1000, 1), 1000);
    // Within the window of the later of the two times it is known...
    ck_assert_int_eq(create("docs", op_at(1000, 1), 1000 + SESSION_MS).status, OMEN_OK);
    // ...and beyond it refused, although nobody remembers it.
    ck_assert_int_eq(create("docs", op_at(1000, 1), 1001 + SESSION_MS).status, OMEN_E_TIMEOUT);
    ck_assert_uint_eq(world.map.session_count, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_client_whose_clock_is_fast_is_remembered_by_its_own_time)
{
    world_init(&world, 1);
    ck_assert_int_eq(create("docs", op_at(1000 + SESSION_MS, 1), 1000).status, OMEN_OK);
    ck_assert_int_eq(create("docs", op_at(1000 + SESSION_MS, 1), 1000 + 2 * SESSION_MS).status,
                     OMEN_OK);
    ck_assert_int_eq(create("docs", op_at(1000 + SESSION_MS, 1), 1001 + 2 * SESSION_MS).status,
                     OMEN_E_TIMEOUT);
    ck_assert_int_eq(create("more", op_at(9999999, 2), 1001 + 2 * SESSION_MS).status,
                     OMEN_E_INVALID); // too fast
    world_fini(&world);
}
END_TEST

START_TEST(a_full_table_refuses_and_forgets_nobody)
{
    world_init(&world, 1);
    struct command command = command_of(COMMAND_FEATURES);
    command.time_ms = 1000;
    static uint8_t bytes[COMMAND_BYTES_MAX];
    struct command_result result;
    for (uint32_t i = 0; i <= SESSIONS_MAX; i++) {
        size_t count;
        command.op = op_at(1000, i + 1);
        command.features = i == 0;
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        ck_assert_int_eq(cluster_apply(&world.map, i + 1, bytes, count, &result), OMEN_OK);
        ck_assert_int_eq(result.status, i == 0              ? OMEN_OK
                                        : i == SESSIONS_MAX ? OMEN_E_BUSY
                                                            : OMEN_E_EXISTS);
    }
    world.position = SESSIONS_MAX + 1;
    map_check(&world.map);
    ck_assert_int_eq(create("docs", op_at(1000, 1), 1000).status, OMEN_E_INVALID); // known
    ck_assert_int_eq(create("docs", op_at(2000 + SESSION_MS, 1), 2000 + SESSION_MS).status,
                     OMEN_OK); // all of them are over
    ck_assert_uint_eq(world.map.session_count, 1);
    world_fini(&world);
}
END_TEST

START_TEST(the_clock_never_goes_back_by_itself)
{
    world_init(&world, 1);
    struct command command = command_of(COMMAND_TICK);
    command.time_ms = 5000;
    world_apply(&world, &command);
    command.time_ms = 4000;
    world_apply(&world, &command);
    ck_assert_uint_eq(world.map.clock_ms, 5000);
    ck_assert_uint_eq(world.map.version, 0);
    world_fini(&world);
}
END_TEST

START_TEST(an_operator_sets_a_clock_right_that_was_far_ahead)
{
    world_init(&world, 1);
    create("docs", op_at(1000, 1), 1000);
    struct command command = command_of(COMMAND_TICK);
    command.time_ms = 0xffffffffffffull;
    world_apply(&world, &command);
    ck_assert_int_eq(create("more", op_at(2000, 2), 2000).status, OMEN_E_TIMEOUT);
    command = command_of(COMMAND_CLOCK_SET);
    command.time_ms = 2000;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(create("more", op_at(2000, 2), 2000).status, OMEN_OK);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_session_suite(void)
{
    Suite *suite = suite_create("cluster/session");
    TCase *tcase = tcase_create("session");
    tcase_add_test(tcase, a_repeated_command_gets_the_first_answer_and_changes_nothing);
    tcase_add_test(tcase, what_was_answered_is_told_by_every_copy_of_the_map);
    tcase_add_test(tcase, a_refusal_is_remembered_as_well);
    tcase_add_test(tcase, an_op_id_with_another_command_is_refused);
    tcase_add_test(tcase, what_may_have_been_forgotten_is_never_applied_again);
    tcase_add_test(tcase, a_client_whose_clock_is_fast_is_remembered_by_its_own_time);
    tcase_add_test(tcase, a_full_table_refuses_and_forgets_nobody);
    tcase_add_test(tcase, the_clock_never_goes_back_by_itself);
    tcase_add_test(tcase, an_operator_sets_a_clock_right_that_was_far_ahead);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_session_suite)
