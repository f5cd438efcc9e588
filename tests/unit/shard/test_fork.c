// tests/unit/shard/test_fork.c -- an index that was open before a fork, in the child: read as it was, else refused, and never waited for.
#include <pthread.h>
#include <unistd.h>

#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/own_heap.h"
#include "tests/lib/process.h"
#include "tests/lib/shard_fixture.h"

#define FORK_ROWS 6000u
#define FORK_DIM 32u
#define REFUSED "opened before a fork"

static struct folder folder;

static void
enter(void)
{
    folder_init(&folder);
}

static void
leave(void)
{
    folder_fini(&folder);
}

// With workers, that link while the fork comes.
static void
open_busy(bool durable)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    options.dimension = FORK_DIM;
    options.threads = 2;
    options.path = durable ? folder_path(&folder, "shard") : NULL;
    open_index(&options);
    for (uint32_t first = 0; first < FORK_ROWS; first += 1000)
        add_drawn(first, 1000, FORK_DIM);
}

static void
read_what_was_there(void)
{
    float vector[FORK_DIM];
    const uint64_t id = 7;
    uint64_t ids[10];
    uint32_t found = 0;
    omen_points_t points;
    vector_drawn(id, FORK_DIM, vector);
    ck_assert_int_eq(omen_query(index_of, vector, NULL, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(found, 10);
    ck_assert_uint_eq(ids[0], id);
    ck_assert_int_eq(omen_get(index_of, &id, 1, OMEN_WITH_VECTOR, &points), OMEN_OK);
    ck_assert_mem_eq(omen_points_vector(points, 0), vector, sizeof vector);
    omen_points_free(points);
    ck_assert_uint_eq(count_of(index_of), FORK_ROWS);
}

static void
be_refused(void)
{
    const uint64_t id = 7;
    const char *const text = "seven";
    omen_statistics stats = {.struct_size = sizeof stats};
    const omen_batch batch = batch_of(1, NULL);
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_upsert(index_of, &batch), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_set_payloads(index_of, &batch), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_delete(index_of, &id, 1, NULL), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_delete_text(index_of, &text, 1, NULL), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_delete_where(index_of, "a = 1", NULL), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_field_index(index_of, "a", OMEN_FIELD_BOOL), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_field_drop(index_of, "a"), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_flush(index_of), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_build(index_of, NULL), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_compact(index_of), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_verify(index_of), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_copy(index_of, folder_path(&folder, "copy")), OMEN_E_INVALID, REFUSED);
    ck_assert_says(omen_stats(index_of, &stats), OMEN_E_INVALID, REFUSED);
}

// Closing in the child waited for threads that were only in the parent, or ended the child by an assert.
START_TEST(a_child_reads_what_was_open_and_nothing_makes_it_wait)
{
    open_busy(_i == 1);
    if (OWN_HEAP) // a worker that allocates then would have the child wait for ever; now all of them are idle
        ck_assert_int_eq(omen_flush(index_of), OMEN_OK);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        read_what_was_there();
        be_refused();
        omen_close(index_of);
        _exit(0);
    }
    ck_assert(!process_was_killed(child, 0));
    ck_assert_int_eq(omen_flush(index_of), OMEN_OK); // and the parent goes on
    ck_assert_int_eq(omen_verify(index_of), OMEN_OK);
    omen_close(index_of);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/fork");
    TCase *tcase = tcase_create("fork");
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_add_loop_test(tcase, a_child_reads_what_was_open_and_nothing_makes_it_wait, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(suite)
