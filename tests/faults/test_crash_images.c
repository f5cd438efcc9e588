// tests/faults/test_crash_images.c -- the power fails anywhere: what the disk then holds opens with what was acknowledged.
//
// Labels: faults
//
// OMEN_FAULTS=n tries n times as many.
#include "tests/lib/check_main.h"
#include "tests/lib/disk.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/folder.h"

#define STEPS 40u
#define IMAGES 150u // of a history, about

static struct folder folder;
static char path[320], images[320]; // the index, and where the disk is put after a failure
static struct fault_world *world;
static struct model *history[STEPS + 2]; // what holds after so many steps
static uint32_t sure[STEPS + 2];         // the step up to which all of that is on the disk, too
static uint64_t opened;

static void
setup(void)
{
    folder_init(&folder);
    world = malloc(sizeof *world);
    (void)snprintf(images, sizeof images, "%s", folder_path(&folder, "image"));
    ck_assert_int_eq(mkdir(images, 0777), 0);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    ck_assert_int_eq(mkdir(path, 0777), 0);
}

static void
teardown(void)
{
    disk_watch(NULL);
    for (uint32_t i = 0; i < STEPS + 2; i++)
        free(history[i]);
    memset(history, 0, sizeof history);
    free(world);
    folder_fini(&folder);
}

static struct model *
copy_of(const struct model *model)
{
    const size_t bytes = offsetof(struct model, points) + model->count * sizeof model->points[0];
    struct model *copy = malloc(sizeof *copy);
    memcpy(copy, model, sizeof model->count > bytes ? sizeof model->count : bytes);
    copy->count = model->count;
    return copy;
}

// Note 2 n: n steps are acknowledged. 2 n + 1: the next one has begun.
static void
write_history(uint64_t seed, omen_durability durability)
{
    fault_world_init(world, path, seed);
    world->options.durability = durability;
    history[0] = copy_of(&world->now);
    ck_assert_msg(fault_world_open(world) == OMEN_OK, "%s", omen_error_message());
    disk_note(2);
    history[1] = copy_of(&world->now);
    if (seed % 2 == 1)
        ck_assert_int_eq(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER), OMEN_OK);
    for (uint32_t step = 1; step <= STEPS; step++) {
        const enum fault_op op = step == 3 ? FAULT_FIRST : fault_draw_op(world);
        disk_note(2 * step + 1);
        ck_assert_msg(fault_step(world, op) == OMEN_OK, "%s", omen_error_message());
        disk_note(2 * step + 2);
        history[step + 1] = copy_of(&world->now);
        const bool lasts = durability == OMEN_DURABLE_COMMIT || op == FAULT_CHECKPOINT ||
                           op == FAULT_CHECKPOINT_GROWN || op == FAULT_COMPACT ||
                           op == FAULT_REOPEN;
        sure[step + 1] = lasts ? step + 1 : sure[step];
    }
    omen_close(world->index);
    disk_watch(NULL);
}

static const struct model *
holds_one_of(omen_index_t index, uint64_t first, uint64_t last)
{
    uint64_t i = last + 1;
    while (i > first)
        if (fault_holds(index, history[--i]))
            return history[i];
    return NULL;
}

static void
check_image(size_t count, enum disk_keeps keeps, uint64_t seed)
{
    const uint64_t note = disk_noted(count);
    const uint64_t last = (note + 1) / 2;
    const struct model *found;
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    disk_crash(images, count, keeps, seed);
    options.path = images;
    options.threads = 1;
    for (int reading = 1; reading >= 0; reading--) {
        options.read_only = reading;
        options.dimension = note < 2 ? MODEL_DIM : 0;
        if (reading == 1 && note < 2)
            continue; // there may be nothing yet
        ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%zu of %zu, %d, seed %d: %s", count,
                      disk_count(), (int)keeps, (int)seed, omen_error_message());
        found = holds_one_of(index, sure[note / 2], last);
        ck_assert_msg(found != NULL,
                      "%zu of %zu, keeps %d, seed %d, note %d: other rows than acknowledged", count,
                      disk_count(), (int)keeps, (int)seed, (int)note);
        ck_assert_msg(omen_verify(index) == OMEN_OK, "%zu of %zu, keeps %d, seed %d: %s", count,
                      disk_count(), (int)keeps, (int)seed, omen_error_message());
        fault_check_search(index, found, &world->prng);
        omen_close(index);
        opened++;
    }
}

static void
fail_anywhere(uint64_t seed, omen_durability durability)
{
    struct prng prng;
    disk_watch(path);
    write_history(seed, durability);
    prng_init(&prng, seed);
    const size_t count = disk_count();
    // Most of all right before what makes something last, and right after.
    const uint32_t share = (uint32_t)(count / (IMAGES * faults_more())) + 1;
    for (size_t at = 0; at <= count; at++) {
        const bool edge = (at < count && disk_is_sync(at)) || (at > 0 && disk_is_sync(at - 1));
        if (prng_below(&prng, edge ? share : 4 * share) != 0)
            continue;
        const enum disk_keeps keeps = (enum disk_keeps)prng_below(&prng, 4);
        check_image(at, keeps, prng_next(&prng));
    }
    printf("seed %d: %llu images of %zu operations\n", (int)seed, (unsigned long long)opened,
           count);
}

START_TEST(after_a_power_failure_exactly_what_was_acknowledged_is_there)
{
    fail_anywhere((uint64_t)_i, OMEN_DURABLE_COMMIT);
}
END_TEST

START_TEST(after_a_power_failure_an_interval_is_cut_behind_a_write)
{
    fail_anywhere((uint64_t)_i, OMEN_DURABLE_INTERVAL);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/crash_images");
    TCase *tcase = tcase_create("images");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, after_a_power_failure_exactly_what_was_acknowledged_is_there, 0,
                        (int)(3 * faults_more()));
    tcase_add_loop_test(tcase, after_a_power_failure_an_interval_is_cut_behind_a_write, 0,
                        (int)(2 * faults_more()));
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
