// tests/unit/shard/test_hosted_build.c -- while a shard's links are made at once its checkpoints go on, so that its host may cut the log.
//
// Labels: tsan
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"

#define DIM 8u
#define PART 1000u
#define LARGE 12000u // rows that are worth a build

static struct folder folder;
static struct hosted *hosted;
static struct omen_error error;
static struct hosted_options options;

static void
open_again(void)
{
    ck_assert_done(hosted_open(&options, &hosted, &error), error);
}

static void
setup(void)
{
    folder_init(&folder);
    options = (struct hosted_options){.path = folder_path(&folder, "shard"),
                                      .dimension = DIM,
                                      .metric = OMEN_L2,
                                      .dtype = OMEN_F32,
                                      .threads = 2};
    ck_assert_done(hosted_make(&options, &error), error);
    open_again();
}

static void
teardown(void)
{
    hosted_close(hosted);
    folder_fini(&folder);
}

// Points first .. first + count - 1 by entries of at most PART.
static void
upsert(uint64_t first, uint32_t count)
{
    static float vectors[PART][DIM];
    static uint64_t ids[PART];
    struct hosted_bytes op;
    struct prng prng;
    prng_init(&prng, first);
    while (count > 0) {
        const uint32_t part = count < PART ? count : PART;
        for (uint32_t i = 0; i < part; i++) {
            ids[i] = first + i;
            for (uint32_t d = 0; d < DIM; d++)
                vectors[i][d] = (float)prng_unit(&prng);
        }
        const struct hosted_ask ask = {.kind = HOSTED_UPSERT,
                                       .count = part,
                                       .ids = ids,
                                       .vectors = vectors,
                                       .dtype = OMEN_F32};
        ck_assert_done(hosted_prepare(hosted, &ask, &op, &error), error);
        const struct hosted_entry entry = {hosted_applied(hosted) + 1, op.bytes, op.count};
        ck_assert_done(hosted_apply(hosted, &(struct hosted_entries){&entry, 1}, NULL, &error),
                       error);
        hosted_bytes_fini(&op);
        first += part;
        count -= part;
    }
}

// A build that is in the midst of its work: each time it tells how far it is, it is written to, and a checkpoint made.
struct midst {
    uint32_t wanted, checkpoints;
    uint64_t next; // id
};

static int
write_and_save(void *context, uint64_t done, uint64_t total)
{
    struct midst *midst = context;
    (void)done, (void)total;
    struct shard *shard = hosted_shard(hosted);
    if (!atomic_load(&shard->bulk_going) || midst->checkpoints == midst->wanted)
        return 0;
    if (midst->checkpoints == 0)
        linkers_resume(&shard->linkers, shard->target->hnsw); // the build has paused them as well
    upsert(midst->next, 10);
    midst->next += 10;
    ck_assert_uint_lt(hosted_durable(hosted), hosted_applied(hosted));
    ck_assert_done(hosted_checkpoint(hosted, &error), error);
    ck_assert_uint_eq(hosted_durable(hosted), hosted_applied(hosted));
    midst->checkpoints++;
    return 0;
}

// Rows that no worker has linked one by one, and a build of them that nobody else begins.
static void
build(uint64_t first, uint32_t count, struct midst *midst)
{
    struct shard *shard = hosted_shard(hosted);
    omen_build_options wanted = OMEN_BUILD_OPTIONS_INIT;
    const uint32_t before = atomic_load(&shard->bulk_builds);
    lock_acquire(&shard->writers);
    linkers_pause(&shard->linkers);
    lock_release(&shard->writers);
    atomic_store(&shard->bulk_after, UINT32_MAX);
    upsert(first, count);
    wanted.progress = write_and_save;
    wanted.context = midst;
    ck_assert_done(shard_build(shard, &wanted, &error), error);
    ck_assert_uint_eq(atomic_load(&shard->bulk_builds), before + 1);
    ck_assert_uint_ge(midst->checkpoints, 1);
}

START_TEST(what_is_applied_while_links_are_made_becomes_durable_before_they_are)
{
    struct midst midst = {.wanted = 3, .next = LARGE};
    build(0, LARGE, &midst);
    const uint64_t durable = hosted_durable(hosted), points = hosted_points(hosted);
    ck_assert_uint_eq(points, midst.next);
    ck_assert_done(hosted_verify(hosted, &error), error);
    hosted_abandon(hosted); // as if it had been killed: what is not in a checkpoint is gone
    open_again();
    ck_assert_uint_eq(hosted_applied(hosted), durable);
    ck_assert_uint_eq(hosted_points(hosted), points);
    ck_assert_done(hosted_verify(hosted, &error), error);
}
END_TEST

// The last piece of rows that are in the file is begun: it becomes ours when a row comes behind it, and goes elsewhere.
START_TEST(rows_that_lie_in_the_file_are_built_while_their_last_piece_moves)
{
    for (uint32_t round = 0; round < 2; round++) {
        const uint64_t first = hosted_points(hosted);
        struct midst midst = {.wanted = 3, .next = first + LARGE};
        build(first, LARGE, &midst);
        hosted_close(hosted);
        open_again();
        ck_assert_uint_eq(hosted_points(hosted), midst.next);
        ck_assert_done(hosted_verify(hosted, &error), error);
    }
}
END_TEST

START_TEST(rows_that_were_replaced_are_given_back_behind_a_build)
{
    struct midst midst = {.wanted = 1, .next = LARGE};
    build(0, LARGE, &midst);
    struct shard *shard = hosted_shard(hosted);
    ck_assert_done(hosted_compact(hosted, &error), error);
    ck_assert_uint_eq(hnsw_count(shard->target->hnsw), hosted_points(hosted));
    midst = (struct midst){.wanted = 2, .next = 5 * LARGE};
    build(LARGE / 2, LARGE, &midst); // half of them are new versions
    ck_assert_done(hosted_compact(hosted, &error), error);
    ck_assert_done(hosted_verify(hosted, &error), error);
    ck_assert_uint_eq(hnsw_count(shard->target->hnsw), hosted_points(hosted));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("hosted_build");
    TCase *tcase = tcase_create("hosted_build");
    tcase_set_timeout(tcase, 240);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_applied_while_links_are_made_becomes_durable_before_they_are);
    tcase_add_test(tcase, rows_that_lie_in_the_file_are_built_while_their_last_piece_moves);
    tcase_add_test(tcase, rows_that_were_replaced_are_given_back_behind_a_build);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
