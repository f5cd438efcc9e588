// tests/unit/node/test_hosts_real.c -- data loops of three nodes over the real disk and real shards: what is written stays, wherever it goes.
//
// Labels: tsan waits
#define HOSTS_WORLD_REAL
#include "tests/lib/check_main.h"
#include "tests/lib/hosts_world.h"

static void
three(void)
{
    hosts_world_init(3, 3);
}

static void
down(void)
{
    hosts_world_fini();
}

START_TEST(what_was_acknowledged_is_there_when_all_come_back)
{
    hosts_open_shard(3);
    for (uint64_t i = 0; i < 100; i++)
        (void)hosts_written(i, i + 1);
    for (uint32_t node = 1; node <= 3; node++)
        hosts_node_stop(node);
    for (uint32_t node = 1; node <= 3; node++)
        hosts_node_start(node);
    const struct cluster_uuid second = world_replica(&hosts.world, hosts.shard, 2);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PROMOTE, .replica = second}),
                     OMEN_OK);
    const uint64_t seq = hosts_written(100, 101)->seq;
    HOSTS_WAIT(hosts_in_sync() == 3);
    for (uint32_t node = 1; node <= 3; node++)
        for (uint64_t i = 0; i <= 100; i++)
            ck_assert_uint_eq(hosts_value(node, i, seq), i + 1);
}
END_TEST

START_TEST(a_strong_read_sees_what_was_acknowledged)
{
    hosts_open_shard(3);
    for (uint64_t i = 1; i <= 20; i++) {
        (void)hosts_written(9, i);
        const uint64_t asked = hosts_read(1, 9, WIRE_STRONG);
        ck_assert_int_eq(hosts_reply_status(asked), OMEN_OK);
        ck_assert_uint_eq(hosts_unpack_value(hosts_reply(asked)), i);
    }
}
END_TEST

// So many entries of a point each, as many at once as may wait.
static uint64_t
write_many(uint64_t count)
{
    static uint64_t asked[HOSTS_REPLIES_MAX];
    uint64_t last = hosts_written(0, 1)->seq;
    for (uint64_t i = 1; i < count; i++) {
        if (i > 300)
            (void)hosts_reply(asked[i - 300]);
        asked[i] = hosts_write(1, i % 400, i);
    }
    for (uint64_t i = 1; i < count; i++) {
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
        last = hosts_reply(asked[i])->seq > last ? hosts_reply(asked[i])->seq : last;
    }
    return last;
}

static bool
begins_later(uint32_t at, uint64_t seq)
{
    struct disk_entries entries;
    struct omen_error error;
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, at);
    const omen_status status = disk_read(hosts.nodes[at].disk, copy, seq, 1, 1, &entries, &error);
    disk_entries_fini(&entries);
    model_happened(); // nobody else says so
    return status == OMEN_E_NOT_FOUND;
}

// It is filled, goes down, comes back, and leads: what it has is what it was given.
START_TEST(a_learner_is_filled_by_a_snapshot_where_the_log_begins_later)
{
    hosts_open_shard(2);
    const uint64_t last = write_many(1500);
    HOSTS_WAIT(begins_later(1, 1));
    hosts_assign(3);
    HOSTS_WAIT(hosts_in_sync() == 3);
    ck_assert(begins_later(3, 1));
    for (uint64_t key = 0; key < 400; key++)
        ck_assert_uint_eq(hosts_value(3, key, last), hosts_value(1, key, last));
    hosts_node_stop(3);
    hosts_node_start(3);
    const struct cluster_uuid third = world_replica(&hosts.world, hosts.shard, 3);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PREFER, .replica = third}),
                     OMEN_OK);
    HOSTS_WAIT(uuid_equal(hosts_row()->primary, third));
    const uint64_t seq = hosts_written(401, 402)->seq;
    for (uint64_t key = 0; key < 400; key++)
        ck_assert_uint_eq(hosts_value(3, key, seq), hosts_value(2, key, seq));
}
END_TEST

static Suite *
hosts_real_suite(void)
{
    Suite *suite = suite_create("node/hosts_real");
    TCase *tcase = tcase_create("hosts_real");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, three, down);
    tcase_add_test(tcase, what_was_acknowledged_is_there_when_all_come_back);
    tcase_add_test(tcase, a_strong_read_sees_what_was_acknowledged);
    tcase_add_test(tcase, a_learner_is_filled_by_a_snapshot_where_the_log_begins_later);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hosts_real_suite)
