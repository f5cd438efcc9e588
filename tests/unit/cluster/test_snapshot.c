// tests/unit/cluster/test_snapshot.c -- the map as bytes: the same map again, or a status.
//
// Shape: shell.
#include "cluster/snapshot.h"

#include "base/hash.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/random_command.h"

static struct world world;

// A map with some of everything.
static void
fill(uint64_t seed, uint32_t commands)
{
    world_init(&world, seed);
    for (uint32_t i = 0; i < 4; i++)
        world_node(&world, i % 2 ? "a" : "b", 10);
    world_collection(&world, "first", 4, 2);
    world_settle(&world, 50);
    for (uint32_t i = 0; i < commands; i++) {
        struct command command;
        random_command(&world.prng, &world.map, &command);
        if (command.kind != COMMAND_COLLECTION_DROP)
            world_apply(&world, &command);
    }
}

static uint8_t *
encode(const struct map *map, size_t *count)
{
    *count = snapshot_bytes(map);
    uint8_t *bytes = malloc(*count);
    snapshot_encode(map, bytes, *count);
    return bytes;
}

static void
seal(uint8_t *bytes, size_t count)
{
    const uint64_t checksum = hash_bytes(bytes, count - 8);
    for (uint32_t i = 0; i < 8; i++)
        bytes[count - 8 + i] = (uint8_t)(checksum >> (56 - 8 * i));
}

START_TEST(a_snapshot_loads_to_the_same_map)
{
    size_t count, again;
    struct map loaded;
    fill((uint64_t)_i, 500);
    uint8_t *bytes = encode(&world.map, &count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_OK);
    map_check(&loaded);
    uint8_t *second = encode(&loaded, &again);
    ck_assert_uint_eq(count, again);
    ck_assert_mem_eq(bytes, second, count);
    static char one[1 << 20], two[1 << 20];
    map_describe(&world.map, one, sizeof one);
    map_describe(&loaded, two, sizeof two);
    ck_assert_str_eq(one, two);
    map_fini(&loaded);
    free(bytes);
    free(second);
    world_fini(&world);
}
END_TEST

START_TEST(an_empty_map_is_a_snapshot_too)
{
    struct map map, loaded;
    size_t count;
    map_init(&map);
    uint8_t *bytes = encode(&map, &count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_OK);
    ck_assert_uint_eq(loaded.version, 0);
    map_fini(&loaded);
    free(bytes);
}
END_TEST

START_TEST(damage_is_found)
{
    size_t count;
    struct map loaded;
    fill(1, 200);
    uint8_t *bytes = encode(&world.map, &count);
    for (size_t i = 0; i < count; i++) {
        bytes[i] ^= (uint8_t)(1u << (i % 8));
        ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
        bytes[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t cut = 0; cut < count; cut += 1 + cut / 50)
        ck_assert_int_eq(snapshot_decode(bytes, cut, &loaded), OMEN_E_CORRUPT);
    free(bytes);
    world_fini(&world);
}
END_TEST

START_TEST(a_newer_format_is_told_from_damage)
{
    size_t count;
    struct map loaded;
    fill(1, 0);
    uint8_t *bytes = encode(&world.map, &count);
    bytes[0] = 4;
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_VERSION);
    bytes[0] = 0;
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
    free(bytes);
    world_fini(&world);
}
END_TEST

START_TEST(hostile_bytes_with_a_good_checksum_are_refused_or_a_sound_map)
{
    size_t count, again;
    struct map loaded;
    uint32_t sound = 0;
    fill(5, 300);
    uint8_t *bytes = encode(&world.map, &count);
    uint8_t *changed = malloc(count);
    prng_init(&world.prng, (uint64_t)_i);
    for (uint32_t i = 0; i < 4000; i++) {
        memcpy(changed, bytes, count);
        for (uint32_t change = 1 + prng_below(&world.prng, 3); change > 0; change--) {
            const uint32_t at = prng_below(&world.prng, (uint32_t)count - 8);
            const uint64_t value = prng_next(&world.prng);
            changed[at] = (uint8_t)(value >> prng_below(&world.prng, 8));
        }
        seal(changed, count);
        if (snapshot_decode(changed, count, &loaded) != OMEN_OK)
            continue;
        sound++;
        map_check(&loaded);
        uint8_t *second = encode(&loaded, &again);
        ck_assert_uint_eq(count, again);
        ck_assert_mem_eq(changed, second, count);
        free(second);
        map_fini(&loaded);
    }
    ck_assert_uint_gt(sound, 0);
    free(changed);
    free(bytes);
    world_fini(&world);
}
END_TEST

START_TEST(loading_without_memory_leaves_nothing_behind)
{
    size_t count;
    struct map loaded;
    fill(1, 300);
    uint8_t *bytes = encode(&world.map, &count);
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        const omen_status status = snapshot_decode(bytes, count, &loaded);
        const uint64_t refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
        ck_assert(refused == 0 || loaded.nodes == NULL);
        map_fini(&loaded);
        if (refused == 0)
            break;
    }
    free(bytes);
    world_fini(&world);
}
END_TEST

// What a program of before reads is of its format; what it would misread is of a newer one.
START_TEST(only_a_map_with_kinds_of_ids_is_of_the_newer_format)
{
    size_t count;
    struct map loaded;
    fill(1, 0);
    uint8_t *bytes = encode(&world.map, &count);
    ck_assert_uint_eq(bytes[0], 1);
    bytes[0] = 2;
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
    free(bytes);
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    command = command_of(COMMAND_COLLECTION_IDS);
    command.ids =
        (struct command_ids){world_collection(&world, "second", 2, 1), (uint8_t)MAP_IDS_TEXT};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    bytes = encode(&world.map, &count);
    ck_assert_uint_eq(bytes[0], 2);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_OK);
    ck_assert_uint_eq(loaded.collections[0].id_kind, MAP_IDS_UNKEPT);
    ck_assert_uint_eq(loaded.collections[1].id_kind, MAP_IDS_TEXT);
    map_fini(&loaded);
    bytes[0] = 1;
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
    bytes[0] = 2;
    bytes[count - 9] = MAP_IDS_TEXT + 1; // the last collection's, before the checksum
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
    free(bytes);
    world_fini(&world);
}
END_TEST

START_TEST(a_map_with_limits_is_of_a_format_newer_still)
{
    size_t count;
    struct map loaded;
    fill(1, 0);
    struct command command = command_of(COMMAND_FEATURES);
    command.features =
        MAP_FEATURE_LIMITS; // without the other: formats are in order, features need not be
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    command = create_command("second", 2, 1);
    command.collection.quotas[QUOTA_MEMORY] = 5;
    command.collection.quotas[QUOTA_DISK] = UINT64_MAX;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    command = command_of(COMMAND_KEY_PUT);
    command.key = (struct command_key){
        .name = name_of("a"), .glob = name_of("docs"), .rate = UINT32_MAX, .role = KEY_READ};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    uint8_t *bytes = encode(&world.map, &count);
    ck_assert_uint_eq(bytes[0], 3);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_OK);
    ck_assert_uint_eq(loaded.collections[0].quotas[QUOTA_MEMORY], 0);
    ck_assert_uint_eq(loaded.collections[1].quotas[QUOTA_MEMORY], 5);
    ck_assert_uint_eq(loaded.collections[1].quotas[QUOTA_DISK], UINT64_MAX);
    ck_assert_uint_eq(loaded.keys[0].rate, UINT32_MAX);
    map_fini(&loaded);
    bytes[0] = 2;
    seal(bytes, count);
    ck_assert_int_eq(snapshot_decode(bytes, count, &loaded), OMEN_E_CORRUPT);
    free(bytes);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_snapshot_suite(void)
{
    Suite *suite = suite_create("cluster/snapshot");
    TCase *tcase = tcase_create("snapshot");
    tcase_add_loop_test(tcase, a_snapshot_loads_to_the_same_map, 0, 10);
    tcase_add_test(tcase, an_empty_map_is_a_snapshot_too);
    tcase_add_test(tcase, damage_is_found);
    tcase_add_test(tcase, a_newer_format_is_told_from_damage);
    tcase_add_test(tcase, a_map_with_limits_is_of_a_format_newer_still);
    tcase_add_test(tcase, only_a_map_with_kinds_of_ids_is_of_the_newer_format);
    tcase_add_loop_test(tcase, hostile_bytes_with_a_good_checksum_are_refused_or_a_sound_map, 0, 8);
    tcase_add_test(tcase, loading_without_memory_leaves_nothing_behind);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_snapshot_suite)
