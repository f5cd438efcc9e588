// tests/faults/test_killed_bulk.c -- a writer is killed while its rows are linked at once: what was acknowledged is there.
//
// Labels: faults
//
// A bulk build keeps checkpoints away, so all that was written since lies in the log alone. Who opens then has a large tail and
// links it at once itself, and is killed as well. OMEN_FAULTS=n kills n times as often.
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/faults.h"
#include "tests/lib/folder.h"
#include "tests/lib/process.h"
#include "tests/lib/shard_fixture.h"

#define DIM 16u
#define LARGE 20000u // of rows: linked at once, for long enough to be killed meanwhile
#define BATCH 20u
#define KILLS 4u
#define MOMENT_MS 60u // after the build began, at most

// What outlives a writer.
struct shared {
    _Atomic uint64_t acknowledged; // ids below it are there
    _Atomic int building, built;
    uint32_t hits; // writers that were killed before the build was over
};

static struct folder folder;
static struct shared *shared;

static void
begin(void)
{
    folder_init(&folder);
    shared = process_share(sizeof *shared);
}

static void
end(void)
{
    process_unshare(shared, sizeof *shared);
    folder_fini(&folder);
}

static void
open_writer(void)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    options.path = folder.path;
    options.dimension = DIM;
    options.m = 8;
    options.ef_construction = 20;
    options.threads = 2;
    open_index(&options);
}

static void
add(uint64_t first, uint32_t count)
{
    add_drawn(first, count, DIM);
    atomic_store(&shared->acknowledged, first + count);
}

static void *
write_on(void *context)
{
    (void)context;
    for (;;)
        add(atomic_load(&shared->acknowledged), BATCH);
    return NULL;
}

// Rows are as many as were acknowledged, or a batch more, which was under way; each has its vector.
static void
check_rows(void)
{
    const uint64_t acknowledged = atomic_load(&shared->acknowledged);
    uint64_t count, cursor = 0;
    ck_assert_int_eq(omen_count(index_of, NULL, &count), OMEN_OK);
    ck_assert_msg(count == acknowledged || count == acknowledged + BATCH, "%lu rows of %lu",
                  (unsigned long)count, (unsigned long)acknowledged);
    uint64_t next = 0;
    while (next < count) {
        omen_points_t points;
        float vector[DIM];
        ck_assert_int_eq(omen_scroll(index_of, NULL, OMEN_WITH_VECTOR, 1000, &cursor, &points),
                         OMEN_OK);
        const size_t got = omen_points_count(points);
        ck_assert_uint_gt(got, 0);
        for (size_t i = 0; i < got; i++, next++) {
            vector_drawn(next, DIM, vector);
            if (omen_points_id(points, i) != next ||
                memcmp(omen_points_vector(points, i), vector, sizeof vector) != 0)
                ck_abort_msg("row %lu is not what was acknowledged", (unsigned long)next);
        }
        omen_points_free(points);
    }
    atomic_store(&shared->acknowledged, count);
}

// Whatever is linked by now, every row that is asked for finds itself.
static void
check_found(uint64_t seed)
{
    const uint64_t count = atomic_load(&shared->acknowledged);
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < 300; i++) {
        const uint64_t id = prng_next(&prng) % count;
        float vector[DIM];
        uint64_t ids[10];
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 10;
        options.ef = 200;
        vector_drawn(id, DIM, vector);
        ck_assert_int_eq(omen_query(index_of, vector, &options, ids, NULL, NULL), OMEN_OK);
        ck_assert_msg(ids[0] == id, "row %lu does not find itself", (unsigned long)id);
    }
}

static int
watch(void *context, uint64_t linked, uint64_t total)
{
    (void)context;
    (void)linked;
    (void)total;
    atomic_store(&shared->building, 1);
    return 0;
}

// The first writer has rows to write; the others find them in the tail, which is linked since they opened.
static void
live(uint32_t life)
{
    pthread_t thread;
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.progress = watch;
    open_writer();
    if (life == 0) {
        atomic_store(&((struct shard *)(void *)index_of)->bulk_after, UINT32_MAX); // by us alone
        add(0, LARGE);
    } else {
        atomic_store(&shared->building, 1);
        check_rows();
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
    ck_assert_int_eq(omen_build(index_of, &options), OMEN_OK);
    ck_assert(life > 0 || atomic_load(&((struct shard *)(void *)index_of)->bulk_builds) == 1);
    atomic_store(&shared->built, 1);
    pthread_join(thread, NULL);
}

static void
kill_one(uint32_t life, uint32_t moment_ms)
{
    atomic_store(&shared->building, 0);
    atomic_store(&shared->built, 0);
    const pid_t writer = fork();
    ck_assert_int_ge(writer, 0);
    if (writer == 0)
        live(life);
    process_kill(writer, life, &shared->building, moment_ms);
    shared->hits += atomic_load(&shared->built) == 0;
}

START_TEST(a_writer_that_is_killed_in_a_bulk_build_takes_nothing_with_it)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t life = 0; life < KILLS * faults_more(); life++)
        kill_one(life, life < 2 ? 0 : prng_below(&prng, MOMENT_MS));
    ck_assert_uint_ge(shared->hits, 2);
    open_writer();
    check_rows();
    check_found(1);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    check_found(2);
    ck_assert_msg(omen_verify(index_of) == OMEN_OK, "%s", omen_error_message());
    omen_close(index_of);
    printf("%u kills in a build, %lu rows\n", shared->hits,
           (unsigned long)atomic_load(&shared->acknowledged));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/killed_bulk");
    TCase *tcase = tcase_create("killed");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, a_writer_that_is_killed_in_a_bulk_build_takes_nothing_with_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
