// tests/unit/shard/test_shard_follow.c -- cursors of a reader whose index another process writes.
//
// Labels: tsan
#include <sys/wait.h>

#include "include/omendb.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/process.h"

#define DIM 2u
#define IDS 4600u
#define SLOTS 4500u

static struct folder folder;
static int ask[2], answer[2];
static omen_index_t writer;

static void
setup(void)
{
    folder_init(&folder);
    ck_assert_int_eq(pipe(ask), 0);
    ck_assert_int_eq(pipe(answer), 0);
}

static void
teardown(void)
{
    folder_fini(&folder);
}

static void
add_ids(uint64_t first, size_t count)
{
    static float vectors[IDS * DIM];
    static uint64_t ids[IDS];
    omen_batch batch = OMEN_BATCH_INIT;
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        vectors[DIM * i] = 1.0f;
        vectors[DIM * i + 1] = (float)ids[i];
    }
    batch.count = count;
    batch.vectors = vectors;
    batch.ids = ids;
    ck_assert_msg(omen_add(writer, &batch) == OMEN_OK, "%s", omen_error_message());
}

static void
delete_ids(uint64_t first, size_t count)
{
    static uint64_t ids[IDS];
    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    ck_assert_int_eq(omen_delete(writer, ids, count, NULL), OMEN_OK);
}

static void
open_writer(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = folder_path(&folder, "shard");
    options.dimension = DIM;
    options.algorithm = OMEN_FLAT;
    options.slots_max = SLOTS;
    options.threads = 1;
    ck_assert_msg(omen_open(&options, &writer) == OMEN_OK, "%s", omen_error_message());
}

static omen_index_t
open_reader(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    (void)close(ask[1]); // so that each end hears when the other is gone
    (void)close(answer[0]);
    options.path = folder_path(&folder, "shard");
    options.read_only = 1;
    process_hear(ask[0]);
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    process_say(answer[1]);
    return index;
}

// From *cursor on; the ids have to come in order, from *next on.
static void
scroll(omen_index_t index, uint64_t *cursor, size_t limit, uint64_t *next)
{
    omen_points_t points;
    ck_assert_msg(omen_scroll(index, NULL, 0, limit, cursor, &points) == OMEN_OK, "%s",
                  omen_error_message());
    for (size_t i = 0; i < omen_points_count(points); i++)
        ck_assert_uint_eq(omen_points_id(points, i), (*next)++);
    omen_points_free(points);
}

static pid_t
fork_reader(void (*read_on)(void))
{
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        read_on();
        _exit(0);
    }
    (void)close(ask[0]);
    (void)close(answer[1]);
    return child;
}

static void
end_all(pid_t child)
{
    int ended;
    omen_close(writer);
    (void)close(ask[1]);
    (void)close(answer[0]);
    ck_assert_int_eq(waitpid(child, &ended, 0), child);
    ck_assert_msg(WIFEXITED(ended) && WEXITSTATUS(ended) == 0, "the reader ended with %d", ended);
}

START_TEST(who_only_reads_links_nothing)
{
    omen_statistics statistics = {.struct_size = sizeof statistics};
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t reader;
    open_writer();
    add_ids(0, 100);
    omen_close(writer);
    options.path = folder_path(&folder, "shard");
    options.read_only = 1;
    ck_assert_int_eq(omen_open(&options, &reader), OMEN_OK);
    ck_assert_int_eq(omen_build(reader, NULL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_flush(reader), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_stats(reader, &statistics), OMEN_OK);
    ck_assert_uint_eq(statistics.count, 100);
    ck_assert_int_eq(omen_build(reader, NULL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_verify(reader), OMEN_OK);
    omen_close(reader);
}
END_TEST

static void
scroll_over_a_checkpoint(void)
{
    omen_index_t index = open_reader();
    uint64_t cursor = 0, next = 0;
    scroll(index, &cursor, 40, &next);
    process_say(answer[1]);
    process_hear(ask[0]);
    scroll(index, &cursor, IDS, &next);
    ck_assert_uint_eq(next, 150);
    ck_assert_uint_eq(cursor, UINT64_MAX);
    omen_close(index);
}

START_TEST(a_scroll_goes_on_over_a_checkpoint)
{
    const pid_t child = fork_reader(scroll_over_a_checkpoint);
    open_writer();
    add_ids(0, 100);
    ck_assert_int_eq(omen_flush(writer), OMEN_OK);
    process_say(ask[1]);
    process_hear(answer[0]);
    process_hear(answer[0]);
    add_ids(100, 50);
    ck_assert_int_eq(omen_flush(writer), OMEN_OK);
    process_say(ask[1]);
    end_all(child);
}
END_TEST

static void
scroll_over_a_numbering(void)
{
    omen_index_t index = open_reader();
    omen_points_t points;
    uint64_t cursor = 0, next = 1500;
    process_hear(ask[0]);
    scroll(index, &cursor, 2000, &next);
    ck_assert_uint_eq(next, 3500);
    process_say(answer[1]);
    process_hear(ask[0]);
    ck_assert_int_eq(omen_scroll(index, NULL, 0, IDS, &cursor, &points), OMEN_E_INVALID);
    cursor = 0;
    next = 1500;
    scroll(index, &cursor, IDS, &next);
    ck_assert_uint_eq(next, IDS);
    omen_close(index);
}

// The writer compacts before it deletes ids again, the reader, which runs out of slots later, afterwards. Both call that
// numbering their second.
START_TEST(regress_a_cursor_of_the_readers_own_numbering_is_not_one_of_the_files)
{
    const pid_t child = fork_reader(scroll_over_a_numbering);
    open_writer();
    add_ids(0, 3000);
    ck_assert_int_eq(omen_flush(writer), OMEN_OK);
    process_say(ask[1]);
    process_hear(answer[0]);
    delete_ids(0, 1200); // compacts by itself
    delete_ids(1200, 300);
    add_ids(3000, 1600);
    process_say(ask[1]);
    process_hear(answer[0]);
    ck_assert_int_eq(omen_flush(writer), OMEN_OK);
    process_say(ask[1]);
    end_all(child);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/shard_follow");
    TCase *tcase = tcase_create("cursors");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_only_reads_links_nothing);
    tcase_add_test(tcase, a_scroll_goes_on_over_a_checkpoint);
    tcase_add_test(tcase, regress_a_cursor_of_the_readers_own_numbering_is_not_one_of_the_files);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
