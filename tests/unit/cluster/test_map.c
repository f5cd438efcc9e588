// tests/unit/cluster/test_map.c -- finding rows, routing, and a published map that nobody changes.
//
// Shape: shell.
#include "cluster/map.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

START_TEST(names_are_short_and_plain)
{
    struct map_name name;
    char longest[MAP_NAME_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    ck_assert(map_name_set(&name, longest, MAP_NAME_BYTES_MAX));
    ck_assert(!map_name_set(&name, longest, MAP_NAME_BYTES_MAX + 1));
    ck_assert(!map_name_set(&name, "", 0));
    ck_assert(map_name_set(&name, "aZ09_-", 6));
    for (int c = 1; c < 256; c++) {
        const char byte = (char)c;
        const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '_' || c == '-';
        ck_assert_msg(map_name_set(&name, &byte, 1) == allowed, "character %d", c);
    }
    const struct map_name tail = {1, "ab"}; // bytes behind its end
    ck_assert(!map_name_is_valid(&tail));
    const struct map_name none = {0, ""};
    ck_assert(!map_name_is_valid(&none));
    name.count = MAP_NAME_BYTES_MAX + 1;
    ck_assert(!map_name_is_valid(&name));
}
END_TEST

START_TEST(every_hash_is_routed_to_the_shard_whose_range_has_it)
{
    world_init(&world, 1);
    world_collection(&world, "a", 3, 1);
    const uint64_t id = world_collection(&world, "b", 1 + (uint32_t)_i * 9, 1);
    world_collection(&world, "c", 2, 1);
    const struct map *published;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    for (uint32_t i = 0; i < published->shard_count; i++) {
        const struct shard *shard = &published->shards[i];
        if (shard->collection != id)
            continue;
        ck_assert_ptr_eq(map_route(published, id, shard->first), shard);
        ck_assert_ptr_eq(map_route(published, id, shard->last), shard);
        ck_assert_ptr_eq(map_route(published, id, shard->first + (shard->last - shard->first) / 2),
                         shard);
    }
    ck_assert_ptr_null(map_route(published, 0, 5));
    ck_assert_ptr_null(map_route(published, 999, 5));
    map_publish_end(published);
    world_fini(&world);
}
END_TEST

// Children lie behind younger collections' shards in the map, so the order of routes is not that of rows.
START_TEST(the_children_of_a_split_are_routed_among_younger_collections)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    const uint64_t first = world_collection(&world, "a", 4, 1);
    const uint64_t second = world_collection(&world, "b", 4, 1);
    world.by_width = true; // 64 units each
    world.rebalance.config.split_units = 33;
    for (bool busy = true; busy; world.now_ns += 1000000000ull) {
        busy = world_rebalance(&world, NULL);
        busy |= world_obey(&world);
        const struct map *published;
        ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
        for (uint64_t hash = 0; hash < 256; hash++) {
            const uint64_t at = hash << 56;
            const struct shard *a = map_route(published, first, at);
            const struct shard *b = map_route(published, second, at);
            ck_assert(a->collection == first && a->first <= at && at <= a->last);
            ck_assert(b->collection == second && b->first <= at && at <= b->last);
        }
        map_publish_end(published);
    }
    ck_assert_uint_eq(world.steps[STEP_CUT], 8);
    world_fini(&world);
}
END_TEST

START_TEST(a_published_map_stays_as_it_was)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    const uint64_t shard = world_shard(&world, 1, 1);
    const struct map *published;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    char before[4000], after[4000];
    map_describe(published, before, sizeof before);
    world_node(&world, "b", 1);
    world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 2});
    world_collection(&world, "more", 50, 1);
    map_describe(published, after, sizeof after);
    ck_assert_str_eq(before, after);
    ck_assert_uint_lt(published->version, world.map.version);
    map_check(published);
    map_publish_end(published);
    map_publish_end(NULL);
    world_fini(&world);
}
END_TEST

START_TEST(a_description_names_replicas_by_their_whole_uuid)
{
    char text[2000];
    world_init(&world, 1);
    world_node(&world, "a", 1);
    const uint64_t shard = world_shard(&world, 0, 1);
    world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 1});
    world_step(&world, shard,
               (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = {0xab, 0xcd}});
    map_describe(&world.map, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "n1=00000000000000ab00000000000000cd*"));
    world_fini(&world);
}
END_TEST

START_TEST(an_empty_map_is_published_and_routes_nothing)
{
    world_init(&world, 1);
    const struct map *published;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    ck_assert_ptr_null(map_route(published, 1, 0));
    map_publish_end(published);
    world_fini(&world);
}
END_TEST

START_TEST(publishing_without_memory_says_so)
{
    world_init(&world, 1);
    const struct map *published;
    mem_fail_once(1);
    const omen_status status = map_publish(&world.map, &published);
    mem_fail_after(0);
    ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
    ck_assert_ptr_null(published);
    world_fini(&world);
}
END_TEST

START_TEST(a_replica_without_a_name_is_found_by_its_node_only)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_node(&world, "a", 1);
    const uint64_t shard = world_shard(&world, 1, 1);
    world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 2});
    ck_assert_ptr_null(shard_replica(map_shard(&world.map, shard), (struct cluster_uuid){0}));
    ck_assert_ptr_nonnull(shard_replica_on(map_shard(&world.map, shard), 2));
    world_fini(&world);
}
END_TEST

static Suite *
cluster_map_suite(void)
{
    Suite *suite = suite_create("cluster/map");
    TCase *tcase = tcase_create("map");
    tcase_add_test(tcase, names_are_short_and_plain);
    tcase_add_loop_test(tcase, every_hash_is_routed_to_the_shard_whose_range_has_it, 0, 8);
    tcase_add_test(tcase, the_children_of_a_split_are_routed_among_younger_collections);
    tcase_add_test(tcase, a_published_map_stays_as_it_was);
    tcase_add_test(tcase, a_description_names_replicas_by_their_whole_uuid);
    tcase_add_test(tcase, an_empty_map_is_published_and_routes_nothing);
    tcase_add_test(tcase, publishing_without_memory_says_so);
    tcase_add_test(tcase, a_replica_without_a_name_is_found_by_its_node_only);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_map_suite)
