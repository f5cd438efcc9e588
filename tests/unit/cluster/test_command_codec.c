// tests/unit/cluster/test_command_codec.c -- commands as bytes: one encoding each, and nothing else decodes.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/random_command.h"

static struct world world;
static uint8_t bytes[COMMAND_BYTES_MAX + 1], again[COMMAND_BYTES_MAX];
static struct command command, decoded;

START_TEST(every_command_decodes_to_what_encodes_to_the_same_bytes)
{
    world_init(&world, 1);
    prng_init(&world.prng, (uint64_t)_i);
    for (uint32_t i = 0; i < 2000; i++) {
        size_t count, second;
        random_command(&world.prng, &world.map, &command);
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_OK);
        ck_assert_uint_eq(decoded.kind, command.kind);
        ck_assert_int_eq(command_encode(&decoded, again, sizeof again, &second), OMEN_OK);
        ck_assert_uint_eq(count, second);
        ck_assert_mem_eq(bytes, again, count);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_command_that_ends_early_or_late_does_not_decode)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 500; i++) {
        size_t count;
        random_command(&world.prng, &world.map, &command);
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        for (size_t cut = 0; cut < count; cut++)
            ck_assert_int_ne(command_decode(bytes, cut, &decoded), OMEN_OK);
        bytes[count] = 0;
        ck_assert_int_ne(command_decode(bytes, count + 1, &decoded), OMEN_OK);
    }
    world_fini(&world);
}
END_TEST

START_TEST(changed_bytes_are_refused_or_are_another_command)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 20000; i++) {
        size_t count, second;
        random_command(&world.prng, &world.map, &command);
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        for (uint32_t change = 1 + prng_below(&world.prng, 3); change > 0; change--) {
            const uint32_t at = prng_below(&world.prng, (uint32_t)count);
            bytes[at] = (uint8_t)prng_next(&world.prng);
        }
        if (command_decode(bytes, count, &decoded) != OMEN_OK)
            continue;
        ck_assert_int_eq(command_encode(&decoded, again, sizeof again, &second), OMEN_OK);
        ck_assert_uint_eq(count, second);
        ck_assert_mem_eq(bytes, again, count);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_newer_format_or_kind_is_told_from_damage)
{
    size_t count;
    command = create_command("docs", 1, 1);
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    bytes[0] = 3;
    ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_VERSION);
    bytes[0] = 0;
    ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_CORRUPT);
    bytes[0] = 1;
    bytes[18] = COMMAND_KINDS_END; // behind format, op_id and a time of one byte
    ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_VERSION);
    bytes[18] = 0;
    ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_CORRUPT);
}
END_TEST

// A program of before reads what it always read, and refuses as newer what it would misread.
START_TEST(only_a_command_with_something_newer_is_of_the_newer_format)
{
    size_t count;
    static const uint8_t kinds[] = {COMMAND_COLLECTION_CREATE, COMMAND_COLLECTION_CREATE,
                                    COMMAND_COLLECTION_ALTER, COMMAND_KEY_PUT, COMMAND_JOB_CANCEL};
    for (uint32_t i = 0; i < sizeof kinds; i++) {
        command = kinds[i] == COMMAND_COLLECTION_CREATE ? create_command("docs", 1, 1)
                                                        : command_of(kinds[i]);
        if (kinds[i] == COMMAND_KEY_PUT)
            command.key = (struct command_key){
                .name = name_of("a"), .glob = name_of("docs"), .role = KEY_READ};
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        ck_assert_uint_eq(bytes[0], 1);
        if (kinds[i] == COMMAND_COLLECTION_CREATE)
            command.collection.quotas[i] = UINT64_MAX; // one after the other
        else if (kinds[i] == COMMAND_COLLECTION_ALTER)
            command.alter.quotas[QUOTA_MEMORY] = 1;
        else if (kinds[i] == COMMAND_JOB_CANCEL)
            command.job.state = JOB_CANCELLED;
        else
            command.key.rate = UINT32_MAX;
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
        ck_assert_uint_eq(bytes[0], 2);
        ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_OK);
        ck_assert_mem_eq(&decoded, &command, sizeof command);
        bytes[0] = 1; // it says less than it has
        ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_CORRUPT);
    }
    command = command_of(COMMAND_TICK);
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    bytes[0] = 2; // one command has one encoding
    ck_assert_int_eq(command_decode(bytes, count, &decoded), OMEN_E_CORRUPT);
}
END_TEST

START_TEST(an_integer_has_one_encoding)
{
    size_t count;
    command = command_of(COMMAND_FEATURES);
    command.features = 5;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    ck_assert_uint_eq(bytes[count - 1], 5);
    bytes[count - 1] = 0x85; // the same, in two bytes
    bytes[count] = 0;
    ck_assert_int_eq(command_decode(bytes, count + 1, &decoded), OMEN_E_CORRUPT);
    memset(bytes + count - 1, 0xff, 9);
    bytes[count + 8] = 1; // all 64 bits
    ck_assert_int_eq(command_decode(bytes, count + 9, &decoded), OMEN_OK);
    ck_assert_uint_eq(decoded.features, UINT64_MAX);
    bytes[count + 8] = 2; // and one more
    ck_assert_int_eq(command_decode(bytes, count + 9, &decoded), OMEN_E_CORRUPT);
    bytes[count + 8] = 0x81;
    bytes[count + 9] = 0;
    ck_assert_int_eq(command_decode(bytes, count + 10, &decoded), OMEN_E_CORRUPT);
}
END_TEST

START_TEST(a_field_beyond_its_limit_does_not_encode)
{
    size_t count;
    command = create_command("docs", MAP_COLLECTION_SHARDS_MAX + 1, 1);
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = create_command("docs", 1, MAP_REPLICATION_MAX + 1);
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = create_command("docs", 1, 1);
    command.collection.name.bytes[0] = '/';
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command.collection.name.count = 0;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = command_of(COMMAND_STEPS);
    command.steps.count = COMMAND_STEPS_MAX + 1;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command.steps.count = 1; // of kind 0
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = command_of(COMMAND_TICK);
    command.time_ms = 1ull << 48;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = command_of(0);
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command = command_of(COMMAND_SETTING_PUT);
    command.setting.name = name_of("a");
    static const struct map_text odd[] = {{1, "\n"}, {1, "\x7f"}, {1, "ab"}};
    for (uint32_t i = 0; i < 3; i++) { // the last has bytes behind its end
        command.setting.value = odd[i];
        ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    }
    command = command_of(COMMAND_KEY_PUT);
    command.key.name = name_of("a");
    command.key.role = KEY_READ;
    command.key.glob = (struct map_name){1, "/"};
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_E_INVALID);
    command.key.glob = (struct map_name){2, "a*"};
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
}
END_TEST

START_TEST(the_largest_command_fits)
{
    size_t count;
    command = command_of(COMMAND_STEPS);
    command.steps.count = COMMAND_STEPS_MAX;
    for (uint32_t i = 0; i < COMMAND_STEPS_MAX; i++)
        command.steps.steps[i] = (struct shard_step){.kind = STEP_CUT,
                                                     .shard = UINT64_MAX,
                                                     .cfg_ver = UINT64_MAX,
                                                     .value = UINT64_MAX,
                                                     .child_cfg_ver = {UINT64_MAX, UINT64_MAX}};
    ck_assert_int_eq(command_encode(&command, bytes, COMMAND_BYTES_MAX, &count), OMEN_OK);
    ck_assert_int_eq(command_encode(&command, bytes, count - 1, &count), OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(kinds_have_names)
{
    ck_assert_str_eq(command_kind_name(COMMAND_STEPS), "steps");
    ck_assert_str_eq(step_kind_name(STEP_CUT), "cut");
    for (uint32_t kind = 1; kind < COMMAND_KINDS_END; kind++)
        ck_assert_str_ne(command_kind_name((uint8_t)kind), "?");
    for (uint32_t kind = 1; kind < STEP_KINDS_END; kind++)
        ck_assert_str_ne(step_kind_name((uint8_t)kind), "?");
    ck_assert_str_eq(command_kind_name(0), "?");
    ck_assert_str_eq(command_kind_name(200), "?");
    ck_assert_str_eq(step_kind_name(0), "?");
    ck_assert_str_eq(step_kind_name(200), "?");
}
END_TEST

static Suite *
cluster_command_codec_suite(void)
{
    Suite *suite = suite_create("cluster/command_codec");
    TCase *tcase = tcase_create("command_codec");
    tcase_add_loop_test(tcase, every_command_decodes_to_what_encodes_to_the_same_bytes, 0, 10);
    tcase_add_test(tcase, a_command_that_ends_early_or_late_does_not_decode);
    tcase_add_test(tcase, changed_bytes_are_refused_or_are_another_command);
    tcase_add_test(tcase, a_newer_format_or_kind_is_told_from_damage);
    tcase_add_test(tcase, only_a_command_with_something_newer_is_of_the_newer_format);
    tcase_add_test(tcase, an_integer_has_one_encoding);
    tcase_add_test(tcase, a_field_beyond_its_limit_does_not_encode);
    tcase_add_test(tcase, the_largest_command_fits);
    tcase_add_test(tcase, kinds_have_names);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_command_codec_suite)
