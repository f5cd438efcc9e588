// tests/faults/test_hosted_crash.c -- the power fails anywhere: a copy then is exactly what it was at some entry, and applies on.
//
// Labels: faults
//
// OMEN_FAULTS=n tries n times as many. A log that decides conditions where it is applied shows an effect of an entry that came too
// early: its row would be refused, or patched twice.
#include "tests/lib/check_main.h"
#include "tests/lib/disk.h"
#include "tests/lib/faults.h"
#include "tests/lib/hosted_world.h"

#define STEPS 60u
#define IMAGES 120u // of a history, about

static struct folder folder;
static struct world *world;
static struct world_copy image;
static struct world_point (*history)[WORLD_POINTS]; // as of each entry

static void
setup(void)
{
    folder_init(&folder);
    world = malloc(sizeof *world);
    history = malloc((STEPS + 1) * sizeof *history);
    ck_assert_ptr_nonnull(world);
    ck_assert_ptr_nonnull(history);
    (void)snprintf(image.path, sizeof image.path, "%s/image", folder.path);
    ck_assert_int_eq(mkdir(image.path, 0777), 0);
}

static void
teardown(void)
{
    disk_watch(NULL);
    free(history);
    free(world);
    folder_fini(&folder);
}

// Note n + 1: entry n is durable, whatever happens.
static void
write_history(struct world_copy *copy)
{
    struct omen_error error = {0};
    const struct hosted_options options = world_options(copy);
    ck_assert_done(hosted_make(&options, &error), error);
    disk_note(1);
    world_open_copy(copy);
    memcpy(history[0], world->points, sizeof world->points);
    while (world->last < STEPS) {
        world_write(world, copy->hosted);
        memcpy(history[world->last], world->points, sizeof world->points);
        if (prng_below(&world->prng, 3) != 0)
            world_apply(world, copy, world->last);
        switch (prng_below(&world->prng, 8)) {
        case 0:
        case 1:
            ck_assert_done(hosted_checkpoint(copy->hosted, &error), error);
            break;
        case 2:
            ck_assert_done(hosted_compact(copy->hosted, &error), error);
            break;
        case 3:
            hosted_close(copy->hosted);
            world_open_copy(copy);
            break;
        default:
            break;
        }
        disk_note(hosted_durable(copy->hosted) + 1);
    }
    world_apply(world, copy, world->last);
    hosted_close(copy->hosted);
    disk_watch(NULL);
}

static void
check_image(size_t count, enum disk_keeps keeps, uint64_t seed)
{
    const uint64_t note = disk_noted(count);
    disk_crash(image.path, count, keeps, seed);
    if (note == 0)
        return; // there may be nothing yet
    world_open_copy(&image);
    const uint64_t applied = hosted_applied(image.hosted);
    ck_assert_msg(applied + 1 >= note, "%zu of %zu: entry %d was durable", count, disk_count(),
                  (int)note - 1);
    memcpy(world->points, history[applied], sizeof world->points);
    world_check(world, image.hosted);
    world_apply(world, &image, world->last);
    memcpy(world->points, history[world->last], sizeof world->points);
    world_check(world, image.hosted);
    hosted_abandon(image.hosted);
}

START_TEST(after_a_power_failure_a_copy_is_as_of_an_entry_and_applies_on)
{
    struct world_copy *copy = &world->copies[0];
    struct prng prng;
    memset(world, 0, sizeof *world);
    prng_init(&world->prng, (uint64_t)_i);
    world->text = _i % 2 == 1;
    (void)snprintf(copy->path, sizeof copy->path, "%s/copy", folder.path);
    ck_assert_int_eq(mkdir(copy->path, 0777), 0);
    disk_watch(copy->path);
    write_history(copy);
    prng_init(&prng, (uint64_t)_i);
    const size_t count = disk_count();
    const uint32_t share = (uint32_t)(count / (IMAGES * faults_more())) + 1;
    for (size_t at = 0; at <= count; at++) {
        const bool edge = (at < count && disk_is_sync(at)) || (at > 0 && disk_is_sync(at - 1));
        if (prng_below(&prng, edge ? share : 4 * share) == 0)
            check_image(at, (enum disk_keeps)prng_below(&prng, 4), prng_next(&prng));
    }
    for (uint64_t seq = 1; seq <= world->last; seq++)
        free(world->log[seq].bytes);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/hosted_crash");
    TCase *tcase = tcase_create("images");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, after_a_power_failure_a_copy_is_as_of_an_entry_and_applies_on, 0,
                        (int)(2 * faults_more()));
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
