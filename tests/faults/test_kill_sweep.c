// tests/faults/test_kill_sweep.c -- a writer is killed at its n-th call to the disk, for every n, beside a reader that goes on.
//
// Labels: faults
//
// Another process reads the index meanwhile, so that LMDB's lock file, with what was killed, is what the next writer
// meets. That one finds what was acknowledged, or that and the whole of what was under way; and the reader sees whatever
// it writes. OMEN_FAULTS=n tries n times as many; 20 all.
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/disk.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/folder.h"
#include "tests/lib/process.h"

static const enum fault_op story[] = {
    FAULT_ADD,      FAULT_FIRST,      FAULT_UPSERT,  FAULT_CHECKPOINT, FAULT_DELETE,
    FAULT_PAYLOADS, FAULT_CHECKPOINT, FAULT_COMPACT, FAULT_ADD,        FAULT_REOPEN,
    FAULT_DELETE,   FAULT_UPSERT,     FAULT_COMPACT, FAULT_ADD,
};
#define STORY ((uint32_t)(sizeof story / sizeof story[0]))
#define END UINT32_MAX // asks the reader to end

// What outlives a writer. states[acknowledged % 2] holds; the other one may, when an operation was under way.
struct shared {
    struct model states[2];
    _Atomic uint32_t acknowledged; // 0: the index is not made
    _Atomic int anew;              // the reader opens again before it looks
};

// Where a writer is to be killed, and how often the reader looks meanwhile.
struct plan {
    uint64_t n;
    enum disk_calls calls;
    enum disk_moment moment;
    bool looks; // after every step; else it stays with what it saw first
};

static struct folder folder;
static struct shared *shared;
static char path[320];
static struct fault_world *world;
static int ask[2], answer[2]; // pipes to and from the reader
static uint32_t asked;

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    shared = process_share(sizeof *shared);
    world = malloc(sizeof *world);
}

static void
teardown(void)
{
    free(world);
    process_unshare(shared, sizeof *shared);
    folder_fini(&folder);
}

static struct model *
state(uint32_t acknowledged)
{
    return &shared->states[acknowledged % 2];
}

// ---- the reader ----

static void
look(omen_index_t *index, struct prng *prng)
{
    const uint32_t acknowledged = atomic_load(&shared->acknowledged);
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = path;
    options.read_only = 1;
    if (atomic_load(&shared->anew) != 0) {
        omen_close(*index);
        *index = NULL;
    }
    if (*index == NULL && omen_open(&options, index) != OMEN_OK) {
        ck_assert_msg(acknowledged == 0, "the reader: %s", omen_error_message());
        return;
    }
    const struct model *holds = state(acknowledged);
    if (!fault_holds(*index, holds))
        holds = state(acknowledged + 1);
    ck_assert_msg(fault_holds(*index, holds), "after %u: the reader sees other rows", acknowledged);
    fault_check_search(*index, holds, prng);
}

static void
read_until_told(void)
{
    omen_index_t index = NULL;
    struct prng prng;
    uint32_t number;
    prng_init(&prng, 1);
    while (read(ask[0], &number, sizeof number) == (ssize_t)sizeof number && number != END) {
        look(&index, &prng);
        ck_assert_int_eq(write(answer[1], &number, sizeof number), (int)sizeof number);
    }
    if (index != NULL)
        ck_assert_msg(omen_verify(index) == OMEN_OK, "the reader: %s", omen_error_message());
    omen_close(index);
    _exit(0);
}

static pid_t
reader_begin(void)
{
    ck_assert_int_eq(pipe(ask), 0);
    ck_assert_int_eq(pipe(answer), 0);
    const pid_t reader = fork();
    ck_assert_int_ge(reader, 0);
    if (reader == 0) {
        (void)close(ask[1]);
        (void)close(answer[0]);
        read_until_told();
    }
    (void)close(ask[0]);
    (void)close(answer[1]);
    return reader;
}

// Returns when it has looked. An answer to somebody who was killed may come first.
static void
reader_ask(void)
{
    uint32_t number = 0;
    const uint32_t mine = ++asked + (uint32_t)getpid() % 1000 * 1000000;
    ck_assert_int_eq(write(ask[1], &mine, sizeof mine), (int)sizeof mine);
    while (number != mine)
        ck_assert_msg(read(answer[0], &number, sizeof number) == (ssize_t)sizeof number,
                      "the reader is gone");
}

static void
reader_end(pid_t reader)
{
    const uint32_t end = END;
    ck_assert_int_eq(write(ask[1], &end, sizeof end), (int)sizeof end);
    ck_assert(!process_was_killed(reader, asked));
    (void)close(ask[1]);
    (void)close(answer[0]);
}

// ---- writers ----

static void
acknowledge(void)
{
    const uint32_t acknowledged = atomic_load(&shared->acknowledged);
    *state(acknowledged + 1) = world->now;
    atomic_store(&shared->acknowledged, acknowledged + 1);
    *state(acknowledged) = world->now;
}

// Opens, and finds what was acknowledged; what was under way is there whole or not at all.
static void
go_on(const struct plan *plan)
{
    const uint32_t acknowledged = atomic_load(&shared->acknowledged);
    ck_assert_msg(fault_world_open(world) == OMEN_OK, "n %d: %s", (int)plan->n,
                  omen_error_message());
    const bool before = fault_holds(world->index, state(acknowledged));
    ck_assert_msg(before || fault_holds(world->index, state(acknowledged + 1)),
                  "n %d, after %u: other rows than acknowledged", (int)plan->n, acknowledged);
    world->now = *state(before ? acknowledged : acknowledged + 1);
    prng_init(&world->prng, acknowledged); // or the same vectors would be drawn again
    acknowledge();
}

static void
step(const struct plan *plan, enum fault_op op)
{
    const uint32_t acknowledged = atomic_load(&shared->acknowledged);
    world->next = world->now;
    world->under_way = state(acknowledged + 1);
    ck_assert_msg(fault_step(world, op) == OMEN_OK, "n %d: %s", (int)plan->n, omen_error_message());
    acknowledge();
}

// Goes through the story, from where another was killed, and is killed.
static void
write_until_killed(const struct plan *plan)
{
    disk_watch(path);
    disk_kill(plan->n, plan->calls, plan->moment);
    go_on(plan);
    reader_ask();
    for (uint32_t i = 0; i < STORY; i++) {
        step(plan, story[i]);
        if (plan->looks)
            reader_ask();
    }
    omen_close(world->index);
    _exit(0);
}

// Whether it was killed.
static bool
let_write(const struct plan *plan)
{
    const pid_t writer = fork();
    ck_assert_int_ge(writer, 0);
    if (writer == 0)
        write_until_killed(plan);
    return process_was_killed(writer, plan->n);
}

static void
check_sound(const struct plan *plan)
{
    ck_assert_msg(omen_verify(world->index) == OMEN_OK, "n %d: %s", (int)plan->n,
                  omen_error_message());
    fault_check_search(world->index, &world->now, &world->prng);
}

// The one who comes afterwards writes on, and what it wrote is there and seen.
static void
write_on(const struct plan *plan)
{
    static const enum fault_op more[] = {FAULT_UPSERT,  FAULT_CHECKPOINT, FAULT_ADD,
                                         FAULT_COMPACT, FAULT_UPSERT,     FAULT_REOPEN};
    go_on(plan);
    check_sound(plan);
    reader_ask();
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        step(plan, more[i]);
        reader_ask();
    }
    check_sound(plan);
    omen_close(world->index);
}

// True when the story has not as many calls.
static bool
kill_at(const struct plan *plan)
{
    folder_fini(&folder);
    ck_assert_int_eq(mkdir(folder.path, 0777), 0);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    shared->states[0].count = shared->states[1].count = 0;
    atomic_store(&shared->acknowledged, 0);
    fault_world_init(world, path, 1);
    const pid_t reader = reader_begin();
    atomic_store(&shared->anew, plan->n % 5 == 0);
    const bool killed = let_write(plan);
    if (plan->n % 2 == 0) // what was half done, the reader finds first
        reader_ask();
    // The next one is killed too, now and then, while it takes over or a little later.
    struct plan again = *plan;
    again.n = 1 + plan->n % 32;
    again.calls = DISK_ALL;
    if (killed && plan->n % 3 == 0)
        (void)let_write(&again);
    write_on(plan);
    reader_end(reader);
    return !killed;
}

static void
sweep(enum disk_calls calls, uint64_t stride)
{
    struct prng prng;
    struct plan plan = {.calls = calls};
    uint32_t kills = 0;
    bool enough = false;
    prng_init(&prng, calls);
    stride = stride / faults_more() > 1 ? stride / faults_more() : 1;
    for (uint64_t n = 1; !enough; n += stride) {
        plan.n = n + prng_below(&prng, (uint32_t)stride);
        for (int way = 0; way < 4; way++) {
            if (stride > 1 && (plan.n + (uint64_t)way) % 2 != 0)
                continue;
            plan.moment = way < 2 ? DISK_AFTER : DISK_BEFORE;
            plan.looks = way % 2 == 0;
            kills++;
            enough |= kill_at(&plan);
        }
        ck_assert_uint_lt(n, 10000);
    }
    printf("%u kills, up to call %d\n", kills, (int)plan.n);
}

// Between a head and the number in LMDB's lock file, and right before a head.
START_TEST(writer_killed_at_a_head_takes_nothing_with_it)
{
    sweep(DISK_IN_PLACE, 6);
}
END_TEST

START_TEST(writer_killed_at_any_call_takes_nothing_with_it)
{
    sweep(DISK_NOT_IN_PLACE, 20);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/kill_sweep");
    TCase *tcase = tcase_create("kills");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, writer_killed_at_a_head_takes_nothing_with_it);
    tcase_add_test(tcase, writer_killed_at_any_call_takes_nothing_with_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
