// tests/unit/replica/test_replica.c -- whole lives of a shard's copies on a bad network, by seed.
//
// Shape: shell. REPLICA_SEEDS=n runs n more seeds; REPLICA_SEED=n that one alone, and says what happened.
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/replica_world.h"

static struct world world;

static void
say(const struct world *it, unsigned seed)
{
    char line[1024];
    printf("seed %u: %s acks=%llu reads=%llu promotions=%llu adds=%llu removes=%llu installs=%llu "
           "wipes=%llu crashes=%llu cfg=%llu\n",
           seed, it->broken != NULL ? it->broken : "ok", (unsigned long long)it->acks,
           (unsigned long long)it->strong_reads, (unsigned long long)it->promotions,
           (unsigned long long)it->adds, (unsigned long long)it->removes,
           (unsigned long long)it->installs, (unsigned long long)it->wipes,
           (unsigned long long)it->crashes, (unsigned long long)it->meta.cfg_ver);
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        replica_describe(&it->nodes[i].replica, line, sizeof line);
        printf("  %s %s\n", it->nodes[i].up ? "up  " : "down", line);
    }
}

START_TEST(nothing_acknowledged_is_lost_whatever_happens)
{
    const char *alone = getenv("REPLICA_SEED");
    const unsigned seed = alone != NULL ? (unsigned)strtoul(alone, NULL, 10) : (unsigned)_i;
    world_open(&world, seed);
    const char *broken = world_run(&world, 4000);
    if (alone != NULL || broken != NULL)
        say(&world, seed);
    ck_assert_msg(broken == NULL, "seed %u: %s", seed, broken);
    world_close(&world);
}
END_TEST

// A third of what is proposed is one of the last 300 operations again, and copies remember 80 of them: those of
// the last 600 ms, or, in every second seed, of the last minute.
START_TEST(what_was_forgotten_is_refused_and_never_done_again)
{
    uint64_t expired = 0, acks = 0;
    for (unsigned seed = 0; seed < 30; seed++) {
        world_open_as(&world, seed, true);
        const char *broken = world_run(&world, 20000);
        if (broken != NULL)
            say(&world, seed);
        ck_assert_msg(broken == NULL, "seed %u: %s", seed, broken);
        expired += world.expired;
        acks += world.acks;
        world_close(&world);
    }
    ck_assert_uint_gt(expired, 100);
    ck_assert_uint_gt(acks, 1000);
}
END_TEST

static Suite *
replica_suite(void)
{
    Suite *suite = suite_create("replica/replica");
    TCase *tcase = tcase_create("seeds");
    const char *seeds = getenv("REPLICA_SEEDS");
    tcase_add_loop_test(tcase, nothing_acknowledged_is_lost_whatever_happens, 0,
                        seeds != NULL ? (int)strtol(seeds, NULL, 10) : 60);
    tcase_add_test(tcase, what_was_forgotten_is_refused_and_never_done_again);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(replica_suite)
