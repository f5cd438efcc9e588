// tests/unit/cluster/test_apply_collection.c -- collections with their ranges, and aliases that change hands at once.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

static omen_status
alter(enum command_kind kind, uint64_t id, uint8_t replication, uint8_t min_insync,
      uint64_t expected)
{
    struct command command = command_of(kind);
    command.alter = alter_of(id, expected, replication, min_insync);
    return world_apply(&world, &command).status;
}

static omen_status
alias(const char *name, uint64_t collection, uint64_t expected)
{
    struct command command = command_of(COMMAND_ALIASES);
    command.aliases.count = 1;
    command.aliases.changes[0] = (struct alias_change){name_of(name), collection, expected};
    return world_apply(&world, &command).status;
}

START_TEST(shards_divide_the_hash_space_without_gap_or_overlap)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 64, 1000, MAP_COLLECTION_SHARDS_MAX};
    world_init(&world, 1);
    const uint64_t id =
        world_collection(&world, "docs", counts[_i], 1); // map_check looks at the ranges
    ck_assert_uint_eq(world.map.shard_count, counts[_i]);
    const uint64_t width = world.map.shards[0].last;
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        const struct map_shard *shard = &world.map.shards[i];
        ck_assert_uint_le(shard->last - shard->first > width ? shard->last - shard->first - width
                                                             : width - (shard->last - shard->first),
                          1);
        ck_assert_uint_eq(shard->collection, id);
    }
    world_fini(&world);
}
END_TEST

START_TEST(min_insync_defaults_to_what_survives_one_failure)
{
    static const uint8_t expected[] = {0, 1, 1, 2, 3, 3, 4, 4};
    world_init(&world, 1);
    for (uint8_t replication = 1; replication <= MAP_REPLICATION_MAX; replication++) {
        const char name[] = {'c', (char)('0' + replication), 0};
        const uint64_t id = world_collection(&world, name, 1, replication);
        ck_assert_uint_eq(map_collection(&world.map, id)->min_insync, expected[replication]);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_collection_with_impossible_facts_is_refused)
{
    world_init(&world, 1);
    struct command command = create_command("docs", 1, 2);
    command.collection.min_insync = 3;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    command = create_command("docs", 0, 2);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    command = create_command("docs", 1, 2);
    command.collection.dimension = 0;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID);
    world_fini(&world);
}
END_TEST

START_TEST(a_name_belongs_to_one_collection_or_alias)
{
    world_init(&world, 1);
    const uint64_t id = world_collection(&world, "docs", 1, 1);
    struct command command = create_command("docs", 1, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_EXISTS);
    ck_assert_int_eq(alias("live", id, 0), OMEN_OK);
    command = create_command("live", 1, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_EXISTS);
    ck_assert_int_eq(alias("docs", id, VERSION_ANY), OMEN_E_EXISTS);
    world_fini(&world);
}
END_TEST

START_TEST(shards_and_collections_have_a_limit)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < MAP_SHARDS_MAX / MAP_COLLECTION_SHARDS_MAX; i++) {
        const char name[] = {'c', (char)('a' + i), 0};
        world_collection(&world, name, MAP_COLLECTION_SHARDS_MAX, 1);
    }
    const struct command command = create_command("more", 1, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_FULL);
    world_fini(&world);
}
END_TEST

START_TEST(a_dropped_collection_takes_its_shards_aliases_and_jobs_along)
{
    world_init(&world, 1);
    const uint64_t docs = world_collection(&world, "docs", 3, 1);
    const uint64_t other = world_collection(&world, "other", 2, 1);
    alias("live", docs, 0);
    alias("more", other, 0);
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job.kind = JOB_BUILD;
    command.job.shard = world.map.shards[0].id;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    command.job.shard = world.map.shards[4].id;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_DROP, docs, 0, 0, 1), OMEN_OK);
    ck_assert_uint_eq(world.map.shard_count, 2);
    ck_assert_uint_eq(world.map.alias_count, 1);
    ck_assert_uint_eq(world.map.job_count, 1);
    const struct map_name live = name_of("live"), more = name_of("more");
    ck_assert_ptr_null(map_resolve(&world.map, &live));
    ck_assert_uint_eq(map_resolve(&world.map, &more)->id, other);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_DROP, docs, 0, 0, VERSION_ANY), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_DROP, other, 0, 0, 99), OMEN_E_CONFLICT);
    world_fini(&world);
}
END_TEST

START_TEST(an_altered_min_insync_reaches_every_shard_as_a_new_configuration)
{
    world_init(&world, 1);
    const uint64_t id = world_collection(&world, "docs", 2, 3);
    const uint64_t cfg_ver = world.map.shards[1].cfg_ver;
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 3, 1, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(world.map.shards[1].min_insync, 1);
    ck_assert_uint_eq(world.map.shards[1].cfg_ver, cfg_ver + 1);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 2, 1, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(world.map.shards[1].cfg_ver, cfg_ver + 1); // it says nothing new
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 0, 0, VERSION_ANY), OMEN_E_INVALID);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 2, 3, VERSION_ANY), OMEN_E_INVALID);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 2, 0, 1), OMEN_E_CONFLICT);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, 999, 2, 0, VERSION_ANY), OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_that_waits_for_too_many_copies_opens_when_fewer_are_asked_for)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_node(&world, "b", 1);
    const uint64_t shard = world_shard(&world, 2, 5); // wants three in sync
    ck_assert_uint_eq(map_shard(&world.map, shard)->status, SHARD_CREATING);
    ck_assert_int_eq(
        alter(COMMAND_COLLECTION_ALTER, world.map.collections[0].id, 2, 1, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(map_shard(&world.map, shard)->status, SHARD_OPEN);
    world_fini(&world);
}
END_TEST

START_TEST(a_quota_waits_for_its_feature_and_is_altered_as_a_whole)
{
    world_init(&world, 1);
    struct command create = create_command("docs", 1, 1);
    struct command command = command_of(COMMAND_FEATURES);
    create.collection.quotas[QUOTA_DISK] = 7;
    ck_assert_int_eq(world_apply(&world, &create).status, OMEN_E_UNSUPPORTED);
    ck_assert_uint_eq(world.map.collection_count, 0);
    const uint64_t id = world_collection(&world, "old", 1, 1);
    command.features = MAP_FEATURE_LIMITS;
    struct command alter = command_of(COMMAND_COLLECTION_ALTER);
    alter.alter = (struct command_alter){
        .collection = id, .expected = VERSION_ANY, .replication = 1, .quotas = {3, 4}};
    ck_assert_int_eq(world_apply(&world, &alter).status, OMEN_E_UNSUPPORTED);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(world_apply(&world, &create).status, OMEN_OK);
    ck_assert_uint_eq(world.map.collections[1].quotas[QUOTA_DISK], 7);
    ck_assert_uint_eq(world.map.collections[1].quotas[QUOTA_MEMORY], 0);
    ck_assert_int_eq(world_apply(&world, &alter).status, OMEN_OK);
    ck_assert_uint_eq(world.map.collections[0].quotas[QUOTA_MEMORY], 3);
    ck_assert_uint_eq(world.map.collections[0].quotas[QUOTA_DISK], 4);
    alter.alter.quotas[QUOTA_MEMORY] = 0;
    ck_assert_int_eq(world_apply(&world, &alter).status, OMEN_OK);
    ck_assert_uint_eq(world.map.collections[0].quotas[QUOTA_MEMORY], 0);
    ck_assert_uint_eq(world.map.collections[0].quotas[QUOTA_DISK], 4);
    world_fini(&world);
}
END_TEST

START_TEST(aliases_change_hands_together_or_not_at_all)
{
    world_init(&world, 1);
    const uint64_t one = world_collection(&world, "one", 1, 1);
    const uint64_t two = world_collection(&world, "two", 1, 1);
    alias("live", one, 0);
    alias("next", two, 0);
    struct command command = command_of(COMMAND_ALIASES);
    command.aliases.count = 2;
    command.aliases.changes[0] = (struct alias_change){name_of("live"), two, one};
    command.aliases.changes[1] = (struct alias_change){name_of("next"), one, one}; // it is `two`
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_CONFLICT);
    const struct map_name live = name_of("live"), next = name_of("next");
    ck_assert_uint_eq(map_resolve(&world.map, &live)->id, one);
    command.aliases.changes[1].expected = two;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_uint_eq(map_resolve(&world.map, &live)->id, two);
    ck_assert_uint_eq(map_resolve(&world.map, &next)->id, one);
    world_fini(&world);
}
END_TEST

START_TEST(an_alias_that_is_wrong_in_itself_is_refused)
{
    world_init(&world, 1);
    const uint64_t id = world_collection(&world, "docs", 1, 1);
    struct command command = command_of(COMMAND_ALIASES);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID); // none
    command.aliases.count = 2;
    command.aliases.changes[0] = command.aliases.changes[1] =
        (struct alias_change){name_of("live"), id, VERSION_ANY};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_E_INVALID); // twice
    ck_assert_int_eq(alias("live", 999, VERSION_ANY), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(alias("live", 0, VERSION_ANY), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(alias("live", id, id), OMEN_E_CONFLICT);
    ck_assert_int_eq(alias("live", id, 0), OMEN_OK);
    ck_assert_int_eq(alias("live", 0, id), OMEN_OK);
    ck_assert_uint_eq(world.map.alias_count, 0);
    world_fini(&world);
}
END_TEST

START_TEST(aliases_have_a_limit)
{
    world_init(&world, 1);
    const uint64_t id = world_collection(&world, "docs", 1, 1);
    char name[16];
    for (uint32_t i = 0; i < MAP_ALIASES_MAX; i++) {
        snprintf(name, sizeof name, "a%u", i);
        ck_assert_int_eq(alias(name, id, 0), OMEN_OK);
    }
    ck_assert_int_eq(alias("more", id, 0), OMEN_E_FULL);
    ck_assert_int_eq(alias("a7", 0, id), OMEN_OK);
    ck_assert_int_eq(alias("more", id, 0), OMEN_OK);
    world_fini(&world);
}
END_TEST

// ---- kinds of ids ----

static void
switch_on_id_kinds(void)
{
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
}

static omen_status
claim(uint64_t collection, enum map_id_kind kind)
{
    struct command command = command_of(COMMAND_COLLECTION_IDS);
    command.ids = (struct command_ids){collection, (uint8_t)kind};
    return world_apply(&world, &command).status;
}

static uint8_t
kind_of(uint64_t collection)
{
    return map_collection(&world.map, collection)->id_kind;
}

START_TEST(a_collections_kind_of_ids_is_the_first_that_was_claimed)
{
    const enum map_id_kind first = _i == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT;
    const enum map_id_kind second = _i == 0 ? MAP_IDS_TEXT : MAP_IDS_INTEGER;
    world_init(&world, 1);
    switch_on_id_kinds();
    const uint64_t other = world_collection(&world, "other", 1, 1);
    const uint64_t id = world_collection(&world, "docs", 4, 1);
    ck_assert_uint_eq(kind_of(id), MAP_IDS_OPEN);
    const uint64_t before = world.map.version;
    ck_assert_int_eq(claim(id, first), OMEN_OK);
    ck_assert_uint_eq(kind_of(id), first);
    ck_assert_uint_eq(world.map.version, before + 1);
    ck_assert_uint_eq(map_collection(&world.map, id)->version, before + 1);
    ck_assert_int_eq(claim(id, second), OMEN_E_ID_KIND);
    ck_assert_int_eq(claim(id, first), OMEN_E_EXISTS);
    ck_assert_uint_eq(kind_of(id), first);
    ck_assert_uint_eq(world.map.version, before + 1);
    ck_assert_uint_eq(kind_of(other), MAP_IDS_OPEN);
    ck_assert_int_eq(claim(id + 100, first), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(alter(COMMAND_COLLECTION_ALTER, id, 2, 1, VERSION_ANY), OMEN_OK);
    ck_assert_uint_eq(kind_of(id), first);
    world_fini(&world);
}
END_TEST

// One that no copy was ever there of as well: a write that a router let through by the older map may wait there for its first primary.
START_TEST(a_collection_that_was_made_before_its_kind_was_kept_has_none_for_good)
{
    world_init(&world, 1);
    (void)world_node(&world, "a", 1);
    (void)world_shard(&world, 1, 1);
    const uint64_t old = world.map.collections[0].id;
    const uint64_t empty = world_collection(&world, "empty", 2, 1); // no copy of it was ever there
    ck_assert_int_eq(claim(old, MAP_IDS_TEXT), OMEN_E_UNSUPPORTED);
    ck_assert_int_eq(claim(empty, MAP_IDS_TEXT), OMEN_E_UNSUPPORTED);
    switch_on_id_kinds();
    ck_assert_uint_eq(kind_of(old), MAP_IDS_UNKEPT);
    ck_assert_uint_eq(kind_of(empty), MAP_IDS_UNKEPT);
    ck_assert_int_eq(claim(old, MAP_IDS_TEXT), OMEN_E_UNSUPPORTED);
    ck_assert_int_eq(claim(empty, MAP_IDS_TEXT), OMEN_E_UNSUPPORTED);
    const uint64_t after = world_collection(&world, "after", 2, 1);
    ck_assert_int_eq(claim(after, MAP_IDS_TEXT), OMEN_OK);
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS | 2; // another one, later
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_uint_eq(kind_of(empty), MAP_IDS_UNKEPT);
    ck_assert_uint_eq(kind_of(after), MAP_IDS_TEXT);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_apply_collection_suite(void)
{
    Suite *suite = suite_create("cluster/apply_collection");
    TCase *tcase = tcase_create("apply_collection");
    tcase_add_loop_test(tcase, shards_divide_the_hash_space_without_gap_or_overlap, 0, 7);
    tcase_add_test(tcase, min_insync_defaults_to_what_survives_one_failure);
    tcase_add_test(tcase, a_collection_with_impossible_facts_is_refused);
    tcase_add_test(tcase, a_name_belongs_to_one_collection_or_alias);
    tcase_add_test(tcase, shards_and_collections_have_a_limit);
    tcase_add_test(tcase, a_dropped_collection_takes_its_shards_aliases_and_jobs_along);
    tcase_add_test(tcase, an_altered_min_insync_reaches_every_shard_as_a_new_configuration);
    tcase_add_test(tcase, a_shard_that_waits_for_too_many_copies_opens_when_fewer_are_asked_for);
    tcase_add_test(tcase, a_quota_waits_for_its_feature_and_is_altered_as_a_whole);
    tcase_add_test(tcase, aliases_change_hands_together_or_not_at_all);
    tcase_add_test(tcase, an_alias_that_is_wrong_in_itself_is_refused);
    tcase_add_test(tcase, aliases_have_a_limit);
    tcase_add_loop_test(tcase, a_collections_kind_of_ids_is_the_first_that_was_claimed, 0, 2);
    tcase_add_test(tcase, a_collection_that_was_made_before_its_kind_was_kept_has_none_for_good);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_apply_collection_suite)
