// tests/unit/router/test_routes_map.c -- a table out of a published map routes as the map does, and names copies in sync only.
//
// Shape: shell.
#include "router/routes_map.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

static struct routes
table_of(const char *zone)
{
    struct routes routes;
    const struct map *published;
    const struct map_name name = name_of(zone);
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    ck_assert_int_eq(routes_of_map(published, &name, &routes), OMEN_OK);
    routes_check(&routes);
    ck_assert_uint_eq(routes.version, published->version);
    ck_assert_uint_eq(routes.count, published->route_count);
    for (uint32_t i = 0; i < published->shard_count; i++) {
        const struct map_shard *shard = &published->shards[i];
        const struct route *found = routes_find(&routes, shard->collection, shard->first);
        const struct map_shard *expected = map_route(published, shard->collection, shard->first);
        ck_assert_uint_eq(found->shard, expected->id);
        ck_assert_uint_eq(found->cfg_ver, expected->cfg_ver);
        ck_assert_uint_eq(found->term, expected->term);
        ck_assert_uint_eq(found->last, expected->last);
    }
    map_publish_end(published);
    return routes;
}

START_TEST(copies_in_sync_are_named_and_those_of_the_zone_are_near)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_node(&world, "b", 1);
    world_node(&world, "c", 1);
    const uint64_t shard = world_shard(&world, 2, 2);
    while (world_obey(&world))
        ;
    ck_assert_int_eq(world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = 3}),
                     OMEN_OK);
    struct routes routes = table_of("b");
    const struct route *row = &routes.rows[0];
    ck_assert_uint_eq(row->copy_count, 2); // the third is pending
    ck_assert_uint_eq(row->copies[0].node, 2); // near ones come first
    ck_assert_uint_eq(row->copies[1].node, 1);
    ck_assert(row->copies[0].near);
    ck_assert(!row->copies[1].near);
    ck_assert_uint_eq(row->primary, 1);
    ck_assert_uint_eq(row->copies[1].low, world_replica(&world, shard, 1).low);
    routes_fini(&routes);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_that_was_never_open_has_a_row_and_no_primary)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_collection(&world, "docs", 3, 1);
    world_collection(&world, "more", 2, 1);
    struct routes routes = table_of("a");
    ck_assert_uint_eq(routes.count, 5);
    ck_assert_uint_eq(routes.rows[0].primary, ROUTE_NONE);
    ck_assert_uint_eq(routes.rows[0].copy_count, 0);
    routes_fini(&routes);
    world_fini(&world);
}
END_TEST

START_TEST(without_memory_there_is_no_table)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_collection(&world, "docs", 300, 1); // the rows grow amid them
    const struct map *published;
    const struct map_name name = name_of("a");
    struct routes routes;
    omen_status status = OMEN_E_NO_MEMORY;
    uint64_t refused = 0;
    ck_assert_int_eq(map_publish(&world.map, &published), OMEN_OK);
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        mem_fail_after(n);
        status = routes_of_map(published, &name, &routes);
        refused = mem_refused() > 0 ? n : refused;
        mem_fail_after(0);
        ck_assert_int_eq(status, refused == n ? OMEN_E_NO_MEMORY : OMEN_OK);
        ck_assert(routes.rows == NULL || status == OMEN_OK);
    }
    ck_assert_uint_ge(refused, 3);
    ck_assert_uint_eq(routes.count, 300);
    routes_fini(&routes);
    map_publish_end(published);
    world_fini(&world);
}
END_TEST

static Suite *
routes_map_suite(void)
{
    Suite *suite = suite_create("router/routes_map");
    TCase *tcase = tcase_create("routes_map");
    tcase_add_test(tcase, copies_in_sync_are_named_and_those_of_the_zone_are_near);
    tcase_add_test(tcase, a_shard_that_was_never_open_has_a_row_and_no_primary);
    tcase_add_test(tcase, without_memory_there_is_no_table);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(routes_map_suite)
