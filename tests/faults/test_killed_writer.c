// tests/faults/test_killed_writer.c -- writers are killed at any moment, beside a reader in another process, again and again.
//
// Labels: faults
//
// Each writer goes on where the last one was killed, and is killed some microseconds after it opened: while it writes,
// checkpoints, compacts, exchanges the file, closes or opens. OMEN_FAULTS=25 kills a thousand.
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/folder.h"
#include "tests/lib/process.h"

#define KILLS 40u

// What outlives a writer. states[acknowledged % 2] holds; the other one may, when an operation was under way.
struct shared {
    struct model states[2];
    _Atomic uint32_t acknowledged;
    _Atomic int open; // the writer has found what was acknowledged
    _Atomic int stop; // the reader
    _Atomic uint32_t looks;
};

static struct folder folder;
static struct shared *shared;
static char path[320];

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    shared = process_share(sizeof *shared);
}

static void
teardown(void)
{
    process_unshare(shared, sizeof *shared);
    folder_fini(&folder);
}

static struct model *
state(uint32_t acknowledged)
{
    return &shared->states[acknowledged % 2];
}

// Opens, and finds what was acknowledged; what was under way is there whole or not at all.
static void
go_on(struct fault_world *world)
{
    const uint32_t acknowledged = atomic_load(&shared->acknowledged);
    ck_assert_msg(fault_world_open(world) == OMEN_OK, "%s", omen_error_message());
    const bool before = fault_holds(world->index, state(acknowledged));
    ck_assert_msg(before || fault_holds(world->index, state(acknowledged + 1)),
                  "after %u: other rows than acknowledged", acknowledged);
    world->now = *state(before ? acknowledged : acknowledged + 1);
    *state(acknowledged + 1) = world->now;
    atomic_store(&shared->acknowledged, acknowledged + 1);
    atomic_store(&shared->open, 1);
}

static void
write_until_killed(uint64_t seed)
{
    struct fault_world *world = malloc(sizeof *world);
    fault_world_init(world, path, seed);
    go_on(world);
    for (;;) {
        const uint32_t acknowledged = atomic_load(&shared->acknowledged);
        world->next = world->now;
        *state(acknowledged + 1) = world->now;
        world->under_way = state(acknowledged + 1);
        const enum fault_op op = world->now.count == 0 ? FAULT_FIRST : fault_draw_op(world);
        ck_assert_msg(fault_step(world, op) == OMEN_OK, "%s", omen_error_message());
        atomic_store(&shared->acknowledged, acknowledged + 1);
    }
}

static void
read_until_told(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index = NULL;
    const float vector[MODEL_DIM] = {1};
    options.path = path;
    options.read_only = 1;
    while (atomic_load(&shared->stop) == 0) {
        uint64_t ids[10];
        const bool made = atomic_load(&shared->acknowledged) > 0;
        if (index == NULL && omen_open(&options, &index) != OMEN_OK) {
            ck_assert_msg(!made, "%s", omen_error_message());
            continue;
        }
        ck_assert_msg(omen_query(index, vector, NULL, ids, NULL, NULL) == OMEN_OK, "%s",
                      omen_error_message());
        if (atomic_fetch_add(&shared->looks, 1) % 64 == 63) {
            ck_assert_msg(omen_verify(index) == OMEN_OK, "%s", omen_error_message());
            omen_close(index);
            index = NULL;
        }
    }
    omen_close(index);
    _exit(0);
}

START_TEST(a_killed_writer_takes_nothing_with_it)
{
    struct prng prng;
    prng_init(&prng, 1);
    const pid_t reader = fork();
    ck_assert_int_ge(reader, 0);
    if (reader == 0)
        read_until_told();
    for (uint32_t life = 0; life < KILLS * faults_more(); life++) {
        atomic_store(&shared->open, 0);
        const pid_t writer = fork();
        ck_assert_int_ge(writer, 0);
        if (writer == 0)
            write_until_killed(life);
        process_kill(writer, life, &shared->open, prng_below(&prng, 250));
    }
    atomic_store(&shared->stop, 1);
    ck_assert(!process_was_killed(reader, KILLS));
    ck_assert_uint_gt(atomic_load(&shared->looks), 0);
    struct fault_world *world = malloc(sizeof *world);
    fault_world_init(world, path, 1);
    go_on(world);
    ck_assert_msg(omen_verify(world->index) == OMEN_OK, "%s", omen_error_message());
    omen_close(world->index);
    printf("%u operations, %u looks\n", atomic_load(&shared->acknowledged),
           atomic_load(&shared->looks));
    free(world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/killed_writer");
    TCase *tcase = tcase_create("killed");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, a_killed_writer_takes_nothing_with_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
