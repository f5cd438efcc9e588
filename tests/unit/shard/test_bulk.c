// tests/unit/shard/test_bulk.c -- a large batch is linked at once, beside searches and writes; a small one is not.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "index/hnsw_bulk.h"
#include "index/hnsw_int.h"
#include "shard/journal.h"
#include "shard/keeper.h"
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_fixture.h"

#define DIM 16u
#define LARGE 9000u // of rows: linked at once
#define SMALL 1500u

// Threads 2 has workers; they link a large batch at once by themselves, if nobody is faster.
static void
open_with(uint32_t threads, const char *path, uint64_t max_memory)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    options.dimension = DIM;
    options.threads = threads;
    options.max_memory = max_memory;
    options.path = path;
    options.m = 8;
    options.ef_construction = 20;
    open_index(&options);
}

// A durable one, whose keeper does not look.
static struct shard *
open_unkept(const char *path, uint32_t threads)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    options.dimension = 4;
    options.threads = threads;
    options.path = path;
    options.interval_ms = 3600000;
    options.m = 4;
    options.ef_construction = 8;
    open_index(&options);
    return (struct shard *)(void *)index_of;
}

static void
add(uint64_t first, uint32_t count)
{
    add_drawn(first, count, DIM);
}

static omen_statistics
stats_now(void)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    return stats;
}

// Every row asked for finds itself; the index is sound.
static void
check_index(uint64_t rows_there)
{
    ck_assert_int_eq(omen_verify(index_of), OMEN_OK);
    ck_assert_uint_eq(count_of(index_of), rows_there);
    uint32_t found = 0;
    for (uint64_t id = 0; id < 200; id++) {
        float vector[DIM];
        uint64_t ids[10];
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 10;
        options.ef = 64;
        vector_drawn(id * (rows_there / 200), DIM, vector);
        ck_assert_int_eq(omen_query(index_of, vector, &options, ids, NULL, NULL), OMEN_OK);
        found += ids[0] == id * (rows_there / 200);
    }
    ck_assert_uint_ge(found, 198);
}

static uint32_t
builds(void)
{
    return atomic_load(&((struct shard *)(void *)index_of)->bulk_builds);
}

struct calls {
    _Atomic uint32_t count;
    uint32_t stop_at;
    uint64_t last;
};

static int
watch(void *context, uint64_t linked, uint64_t total)
{
    struct calls *calls = context;
    ck_assert_uint_le(linked, total);
    calls->last = linked;
    return atomic_fetch_add(&calls->count, 1) + 1 == calls->stop_at;
}

static omen_status
build(struct calls *calls)
{
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.progress = watch;
    options.context = calls;
    return omen_build(index_of, &options);
}

START_TEST(a_large_batch_is_linked_whole_and_found)
{
    struct calls calls = {.stop_at = 0};
    open_with(_i == 0 ? 1 : 2, NULL, 0);
    add(0, LARGE);
    ck_assert_int_eq(build(&calls), OMEN_OK);
    ck_assert_uint_eq(calls.last, LARGE);
    ck_assert_uint_eq(builds(), 1);
    ck_assert_uint_eq(stats_now().tail, 0);
    check_index(LARGE);
    add(LARGE, SMALL); // and what comes then is linked among them
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_uint_eq(builds(), 1);
    add(LARGE + SMALL, LARGE);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_uint_eq(builds(), 2);
    check_index(2 * LARGE + SMALL);
}
END_TEST

START_TEST(one_linking_thread_makes_the_same_answers_of_large_batches)
{
    static uint64_t ids[2][100][10];
    for (int turn = 0; turn < 2; turn++) {
        open_with(1, NULL, 0);
        add(0, LARGE);
        add(LARGE, SMALL);
        ck_assert_uint_eq(stats_now().tail, 0);
        for (uint64_t q = 0; q < 100; q++) {
            float vector[DIM];
            omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
            options.k = 10;
            options.ef = 12;
            vector_drawn(1000000 + q, DIM, vector);
            ck_assert_int_eq(omen_query(index_of, vector, &options, ids[turn][q], NULL, NULL),
                             OMEN_OK);
        }
        if (turn == 0)
            omen_close(index_of);
    }
    ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
}
END_TEST

START_TEST(a_limit_of_memory_that_leaves_no_room_links_row_by_row)
{
    open_with(1, NULL, 5u << 19);
    add(0, LARGE);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_uint_eq(stats_now().tail, 0);
    ck_assert_uint_eq(builds(), 0);
    check_index(LARGE);
}
END_TEST

// Linkers stand still, so that rows are in the tail until the test lets them go; a bulk build does not wait for that.
static struct shard *
stop_linkers(void)
{
    struct shard *shard = (struct shard *)(void *)index_of;
    lock_acquire(&shard->writers);
    linkers_pause(&shard->linkers);
    lock_release(&shard->writers);
    return shard;
}

static void
let_linkers_go(struct shard *shard)
{
    lock_acquire(&shard->writers);
    linkers_resume(&shard->linkers, shard->target->hnsw);
    lock_release(&shard->writers);
}

static uint64_t
used(struct shard *shard)
{
    lock_acquire(&shard->writers);
    const uint64_t bytes = shard_bytes(shard);
    lock_release(&shard->writers);
    return bytes;
}

// A build may have half of what is left, and that suffices or not to the byte.
START_TEST(a_build_has_half_of_the_memory_that_is_left)
{
    open_with(2, NULL, 0);
    struct shard *shard = stop_linkers();
    atomic_store(&shard->bulk_after, UINT32_MAX); // not by itself
    add(0, LARGE);
    struct hnsw_bulk *made;
    struct hnsw_bulk_report report;
    const struct hnsw_bulk_options options = {.threads = 2, .memory_max = 1};
    for (int turn = 0; turn < 2; turn++) // the second has codes
        ck_assert_int_eq(hnsw_bulk_make(shard->target->hnsw, &options, &report, &made),
                         OMEN_E_NO_MEMORY);
    const uint64_t before = used(shard);
    struct bulk_made done;
    const struct bulk_order plain = {.backend = OMEN_BACKEND_CPU};
    shard->options.max_memory = before + 2 * report.memory.least - 1;
    ck_assert_int_eq(bulk_build(shard, &plain, &done), OMEN_OK);
    ck_assert(!done.built);
    ck_assert_uint_eq(used(shard), before);
    shard->options.max_memory++;
    ck_assert_int_eq(bulk_build(shard, &plain, &done), OMEN_OK);
    ck_assert(done.built);
    ck_assert_uint_le(used(shard), shard->options.max_memory);
    let_linkers_go(shard);
    check_index(LARGE);
}
END_TEST

static int
note_bytes(void *context, uint64_t linked, uint64_t total)
{
    struct shard *shard = (void *)index_of;
    uint64_t *most = context;
    const uint64_t bytes = atomic_load(&shard->bulk_bytes);
    ck_assert_uint_le(linked, total);
    *most = bytes > *most ? bytes : *most;
    return 0;
}

// Where there is memory for many builds, one does not keep half of it from writers.
START_TEST(a_build_takes_no_more_memory_than_it_has_a_use_for)
{
    open_with(2, NULL, 0);
    struct shard *shard = stop_linkers();
    atomic_store(&shard->bulk_after, UINT32_MAX); // not by itself
    add(0, LARGE);
    const size_t most = hnsw_bulk_most(shard->target->hnsw, 2); // of rows without codes
    struct hnsw_bulk *made;
    struct hnsw_bulk_report report;
    const struct hnsw_bulk_options options = {.threads = 2};
    ck_assert_int_eq(hnsw_bulk_make(shard->target->hnsw, &options, &report, &made), OMEN_OK);
    hnsw_bulk_close(made);
    ck_assert_uint_ge(most, report.memory.most);
    ck_assert_uint_le(most, report.memory.most * 5 / 4);
    shard->options.max_memory = used(shard) + 8 * most;
    uint64_t taken = 0;
    struct bulk_made done;
    const struct linkers_watch watch_bytes = {.progress = note_bytes, .context = &taken};
    const struct bulk_order watched = {.watch = &watch_bytes, .backend = OMEN_BACKEND_CPU};
    ck_assert_int_eq(bulk_build(shard, &watched, &done), OMEN_OK);
    ck_assert(done.built);
    ck_assert_int_eq(done.backend, OMEN_BACKEND_CPU);
    ck_assert_str_eq(done.error.text, "");
    ck_assert_uint_gt(taken, 0);
    ck_assert_uint_le(taken, most);
    ck_assert_uint_eq(atomic_load(&shard->bulk_bytes), 0);
    let_linkers_go(shard);
    check_index(LARGE);
}
END_TEST

START_TEST(a_build_that_failed_keeps_nobody_from_asking_for_one)
{
    open_with(2, NULL, 0);
    struct shard *shard = stop_linkers();
    add(0, SMALL);
    shard->options.max_memory = used(shard) + LARGE * 300; // rows fit, a build does not
    add(SMALL, LARGE);
    while (atomic_load(&shard->bulk_after) == 0)
        (void)sched_yield();
    ck_assert_uint_ge(atomic_load(&shard->bulk_after), 2 * LARGE);
    struct bulk_made made;
    const struct bulk_order plain = {.backend = OMEN_BACKEND_CPU};
    ck_assert_int_eq(bulk_build(shard, &plain, &made), OMEN_OK);
    ck_assert(!made.built); // there is still no room
    lock_acquire(&shard->writers);
    shard->options.max_memory = 0;
    bulk_when_due(shard); // nor does it try again by itself
    lock_release(&shard->writers);
    ck_assert_uint_eq(atomic_load(&shard->bulk_due), 0);
    ck_assert_int_eq(bulk_build(shard, &plain, &made), OMEN_OK);
    ck_assert(made.built);
    ck_assert_uint_eq(atomic_load(&shard->bulk_after), 0); // and is as good as new
    let_linkers_go(shard);
    check_index(SMALL + LARGE);
}
END_TEST

static void
search_itself(uint64_t id)
{
    float vector[DIM];
    uint64_t ids[1];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    vector_drawn(id, DIM, vector);
    ck_assert_int_eq(omen_query(index_of, vector, &options, ids, NULL, NULL), OMEN_OK);
    ck_assert_uint_eq(ids[0], id);
}

#define HOUR_NS UINT64_C(3600000000000)

// 0: asked by whoever waits for it; 1: by whoever looks again until it is done.
START_TEST(what_is_held_back_is_found_meanwhile_and_is_built_once_when_all_is_there)
{
    open_with(2, NULL, 0);
    struct shard *shard = (struct shard *)(void *)index_of;
    uint64_t linked, of;
    shard_hold(shard, HOUR_NS);
    for (uint64_t first = 0; first < 2 * LARGE; first += SMALL) {
        add(first, SMALL);
        search_itself(first);
        search_itself(first + SMALL - 1);
    }
    ck_assert_uint_eq(stats_now().tail, 2 * LARGE);
    ck_assert_uint_eq(builds(), 0);
    if (_i == 0)
        ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    else
        while (shard_builds(shard, &linked, &of)) {
            ck_assert_uint_eq(of, 2 * LARGE);
            ck_assert_uint_le(linked, of);
        }
    ck_assert_uint_eq(builds(), 1);
    ck_assert_uint_eq(stats_now().tail, 0);
    ck_assert(!shard_builds(shard, &linked, &of));
    ck_assert_uint_eq(builds(), 1);
    check_index(2 * LARGE);
}
END_TEST

START_TEST(more_than_may_wait_is_built_and_the_rest_waits_on)
{
    open_with(2, NULL, 0);
    struct shard *shard = (struct shard *)(void *)index_of;
    linkers_hold(&shard->linkers, UINT64_MAX, LARGE);
    add(0, LARGE - 1);
    ck_assert_uint_eq(stats_now().tail, LARGE - 1);
    add(LARGE - 1, 1);
    while (builds() == 0)
        sched_yield();
    add(LARGE, SMALL);
    ck_assert_uint_eq(stats_now().tail, SMALL);
    search_itself(LARGE + SMALL - 1);
    check_index(LARGE + SMALL);
}
END_TEST

START_TEST(whoever_holds_rows_back_and_goes_leaves_them_to_be_built_by_themselves)
{
    open_with(2, NULL, 0);
    struct shard *shard = (struct shard *)(void *)index_of;
    bulk_hold_on(shard, HOUR_NS); // nothing is held: that does not begin
    ck_assert_uint_eq(atomic_load(&shard->linkers.held_until_ns), 0);
    shard_hold(shard, HOUR_NS);
    const uint64_t until_ns = atomic_load(&shard->linkers.held_until_ns);
    bulk_hold_on(shard, HOUR_NS / 2); // it is for longer already
    ck_assert_uint_eq(atomic_load(&shard->linkers.held_until_ns), until_ns);
    bulk_hold_on(shard, 2 * HOUR_NS);
    ck_assert_uint_gt(atomic_load(&shard->linkers.held_until_ns), until_ns);
    add(0, LARGE);
    bulk_look(shard);
    ck_assert_uint_eq(stats_now().tail, LARGE);
    shard_hold(shard, 0);
    bulk_look(shard); // as the keeper does
    ck_assert_uint_eq(atomic_load(&shard->linkers.held_until_ns), 0);
    while (builds() == 0)
        sched_yield();
    check_index(LARGE);
}
END_TEST

// Whether rows are held back after so many more.
static bool
burst(struct shard *shard, uint64_t *first, uint32_t count)
{
    atomic_store(&shard->linkers.held_until_ns, 0);
    add_drawn(*first, count, 4);
    *first += count;
    return atomic_load(&shard->linkers.held_until_ns) != 0;
}

START_TEST(rows_that_come_many_at_once_to_few_are_held_back_for_a_moment)
{
    struct folder folder, other_folder;
    uint64_t there = 0;
    folder_init(&folder);
    folder_init(&other_folder);
    struct shard *other = open_unkept(other_folder.path, 2), *shard;
    const omen_index_t other_index = index_of;
    shard = open_unkept(folder.path, 2);
    keeper_close(shard->keeper);
    shard->keeper = other->keeper; // nobody lets go of what this one holds back
    burst(shard, &there, SMALL);   // from here on there are workers
    ck_assert(!burst(shard, &there, BULK_BURST_ROWS - 1));
    ck_assert(burst(shard, &there, BULK_BURST_ROWS));
    const uint64_t until_ns = atomic_load(&shard->linkers.held_until_ns);
    ck_assert_uint_le(until_ns, os_clock_ns() + BULK_BURST_NS);
    shard_hold(shard, HOUR_NS); // somebody's own is kept
    add_drawn(there, BULK_BURST_ROWS, 4);
    there += BULK_BURST_ROWS;
    ck_assert_uint_gt(atomic_load(&shard->linkers.held_until_ns), until_ns + HOUR_NS / 2);
    burst(shard, &there, (uint32_t)(BULK_BURST_OF - there - BULK_BURST_ROWS));
    ck_assert(burst(shard, &there, BULK_BURST_ROWS));
    ck_assert(!burst(shard, &there, BULK_BURST_ROWS)); // those are too many
    shard->keeper = NULL;
    omen_close(index_of);
    omen_close(other_index);
    shard = open_unkept(folder.path, 2);
    ck_assert(!burst(shard, &there, 1)); // what was there has not come now
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
    folder_fini(&other_folder);
}
END_TEST

// Its keeper looks once an hour where nothing is held back, and a node's all five seconds.
START_TEST(what_came_many_at_once_is_let_go_of_however_seldom_the_keeper_looks)
{
    struct folder folder;
    uint64_t there = 0;
    folder_init(&folder);
    struct shard *shard = open_unkept(folder.path, 2);
    while (there < 3 * SMALL) {
        add_drawn(there, SMALL / 5, 4);
        there += SMALL / 5;
    }
    while (stats_now().tail > 0)
        (void)sched_yield();
    ck_assert_uint_eq(atomic_load(&shard->linkers.held_until_ns), 0);
    ck_assert_int_eq(omen_verify(index_of), OMEN_OK);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

START_TEST(nothing_is_held_back_where_nobody_would_let_go_of_it)
{
    struct folder folder;
    uint64_t there = 0;
    folder_init(&folder);
    struct shard *shard = open_unkept(_i == 0 ? folder.path : NULL, _i == 0 ? 1 : 2);
    burst(shard, &there, SMALL);
    ck_assert(!burst(shard, &there, SMALL));
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

static int
hold_back(void *context, uint64_t linked, uint64_t total)
{
    (void)linked;
    (void)total;
    shard_hold(context, HOUR_NS);
    return 0;
}

START_TEST(who_waits_for_all_to_be_linked_is_not_left_what_others_hold_back)
{
    open_with(2, NULL, 0);
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.progress = hold_back;
    options.context = index_of;
    shard_hold((struct shard *)(void *)index_of, HOUR_NS);
    add(0, SMALL);
    ck_assert_uint_eq(stats_now().tail, SMALL);
    ck_assert_int_eq(omen_build(index_of, &options), OMEN_OK);
    ck_assert_uint_eq(stats_now().tail, 0);
    ck_assert_uint_eq(builds(), 0);
}
END_TEST

START_TEST(what_came_many_at_once_is_linked_when_no_more_comes)
{
    struct folder folder;
    folder_init(&folder);
    open_with(2, folder.path, 0);
    for (uint64_t first = 0; first < SMALL; first += SMALL / 5)
        add(first, SMALL / 5);
    while (stats_now().tail > 0)
        (void)sched_yield();
    ck_assert_uint_eq(builds(), 0);
    check_index(SMALL);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

START_TEST(a_large_tail_is_linked_at_once_when_an_index_is_opened)
{
    struct folder folder;
    folder_init(&folder);
    open_with(2, folder.path, 0);
    struct shard *shard = stop_linkers();
    atomic_store(&shard->bulk_after, UINT32_MAX);
    add(0, LARGE);
    omen_close(index_of);
    open_with(2, folder.path, 0);
    check_index(LARGE); // found meanwhile
    while (stats_now().tail > 0)
        (void)sched_yield();
    ck_assert_uint_eq(builds(), 1);
    check_index(LARGE);
    omen_close(index_of);
    open_with(2, folder.path, 0); // and not again
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_uint_eq(builds(), 0);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

START_TEST(what_was_linked_at_once_is_there_after_reopening)
{
    struct folder folder;
    folder_init(&folder);
    open_with(2, folder.path, 0);
    add(0, LARGE);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    omen_close(index_of);
    open_with(2, folder.path, 0);
    ck_assert_uint_eq(stats_now().tail, 0);
    check_index(LARGE);
    add(LARGE, LARGE);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_int_eq(omen_compact(index_of), OMEN_OK);
    check_index(2 * LARGE);
    omen_close(index_of);
    open_with(2, folder.path, 0);
    check_index(2 * LARGE);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

// What is in the file of links.
static uint32_t
linked_in_file(void)
{
    struct manifest manifest;
    (void)journal_tail(((struct shard *)(void *)index_of)->journal, &manifest);
    return manifest.linked;
}

// The log is too short to make a checkpoint due. By itself or asked for.
static void
build_and_die(const char *path, bool asked)
{
    open_with(2, path, 0);
    add(0, LARGE);
    if (asked)
        ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    while (linked_in_file() != LARGE) // Check ends the test when that never comes
        (void)sched_yield();
    (void)raise(SIGKILL);
}

START_TEST(a_built_graph_is_in_the_file_once_the_writer_is_idle)
{
    struct folder folder;
    folder_init(&folder);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        build_and_die(folder.path, _i == 1);
    int state;
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    open_with(2, folder.path, 0);
    ck_assert_uint_eq(stats_now().tail, 0);
    check_index(LARGE);
    ck_assert_uint_eq(builds(), 0);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

static uint64_t
links_hash(void)
{
    const struct hnsw *hnsw = ((struct shard *)(void *)index_of)->target->hnsw;
    uint32_t links[LINK_ROW_MAX];
    uint64_t hash = 0;
    for (uint32_t slot = 0; slot < hnsw_count(hnsw); slot++) {
        const uint32_t count = graph_read(&hnsw->graph, slot, hnsw_count(hnsw), links);
        hash = hash * 31 + hash_bytes(links, count * sizeof *links);
    }
    return hash;
}

// Nothing tells them from those that are in the file but what they are: as many rows are linked, and no row is new.
START_TEST(links_that_are_made_again_are_in_the_file_when_it_is_closed_at_once)
{
    struct folder folder;
    folder_init(&folder);
    open_with(2, folder.path, 0);
    for (uint32_t i = 0; i < 2; i++) { // row by row
        add(i * SMALL, SMALL);
        ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    }
    omen_close(index_of);
    open_with(2, folder.path, 0);
    ck_assert_uint_eq(linked_in_file(), 2 * SMALL);
    const uint64_t before = links_hash();
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.again = 1;
    ck_assert_int_eq(omen_build(index_of, &options), OMEN_OK);
    const uint64_t after = links_hash();
    omen_close(index_of);
    open_with(2, folder.path, 0);
    ck_assert_uint_eq(links_hash(), after);
    ck_assert_uint_ne(before, after);
    omen_close(index_of);
    index_of = NULL;
    folder_fini(&folder);
}
END_TEST

struct writer {
    _Atomic bool stop;
    uint64_t next;
};

static void *
write_on(void *context)
{
    struct writer *writer = context;
    while ((!atomic_load(&writer->stop) && writer->next < LARGE + SMALL) || writer->next == LARGE) {
        add(writer->next, 20);
        writer->next += 20;
        size_t deleted;
        ck_assert_int_eq(omen_delete(index_of, &(uint64_t){writer->next - 5}, 1, &deleted),
                         OMEN_OK);
        add(writer->next - 5, 1);
        float vector[DIM];
        uint64_t ids[10];
        vector_drawn(writer->next - 3, DIM, vector);
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 10;
        ck_assert_int_eq(omen_query(index_of, vector, &options, ids, NULL, NULL), OMEN_OK);
        ck_assert_uint_eq(ids[0], writer->next - 3); // what was acknowledged is found at once
    }
    return NULL;
}

START_TEST(writes_and_searches_go_on_meanwhile)
{
    struct writer writer = {.next = LARGE};
    pthread_t thread;
    open_with(2, NULL, 0);
    add(0, LARGE);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &writer), 0);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_int_eq(omen_verify(index_of), OMEN_OK);
    ck_assert_int_eq(omen_compact(index_of), OMEN_OK);
    atomic_store(&writer.stop, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    check_index(writer.next);
}
END_TEST

// A build that goes on until it is let go.
struct held {
    _Atomic bool begun, let_go;
};

static int
hold(void *context, uint64_t linked, uint64_t total)
{
    struct held *held = context;
    (void)linked;
    (void)total;
    atomic_store(&held->begun, true);
    while (!atomic_load(&held->let_go))
        (void)sched_yield();
    return 0;
}

static void *
build_held(void *context)
{
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    options.progress = hold;
    options.context = context;
    ck_assert_int_eq(omen_build(index_of, &options), OMEN_OK);
    return NULL;
}

START_TEST(who_asks_for_a_build_beside_another_is_told_how_far_it_is_and_may_leave)
{
    struct held held = {.begun = false};
    struct calls calls = {.stop_at = 1};
    pthread_t thread;
    open_with(2, NULL, 0);
    struct shard *shard = stop_linkers();
    atomic_store(&shard->bulk_after, UINT32_MAX); // not by itself
    add(0, LARGE);
    ck_assert_int_eq(pthread_create(&thread, NULL, build_held, &held), 0);
    while (!atomic_load(&held.begun))
        (void)sched_yield();
    ck_assert_int_eq(build(&calls), OMEN_E_CANCELLED);
    atomic_store(&held.let_go, true);
    let_linkers_go(shard);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(builds(), 1);
    check_index(LARGE);
}
END_TEST

static void *
verify_on(void *context)
{
    const _Atomic bool *stop = context;
    do
        ck_assert_int_eq(omen_verify(index_of), OMEN_OK);
    while (!atomic_load(stop));
    return NULL;
}

START_TEST(an_index_is_sound_at_every_moment_of_a_build)
{
    _Atomic bool stop = false;
    pthread_t thread;
    const uint32_t turns = FEWER_UNDER_TSAN(2, 4);
    open_with(2, NULL, 0);
    add(0, LARGE);
    ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, verify_on, &stop), 0);
    for (uint32_t turn = 1; turn < turns; turn++) {
        add(turn * LARGE, LARGE);
        ck_assert_int_eq(omen_build(index_of, NULL), OMEN_OK);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    check_index(turns * LARGE);
}
END_TEST

static void
close_index(void)
{
    omen_close(index_of);
}

static Suite *
suite(void)
{
    Suite *suite = suite_create("bulk");
    TCase *cases = tcase_create("bulk");
    tcase_add_checked_fixture(cases, NULL, close_index);
    tcase_add_loop_test(cases, a_large_batch_is_linked_whole_and_found, 0, 2);
    tcase_add_test(cases, one_linking_thread_makes_the_same_answers_of_large_batches);
    tcase_add_test(cases, a_limit_of_memory_that_leaves_no_room_links_row_by_row);
    tcase_add_test(cases, a_build_has_half_of_the_memory_that_is_left);
    tcase_add_test(cases, a_build_takes_no_more_memory_than_it_has_a_use_for);
    tcase_add_test(cases, a_build_that_failed_keeps_nobody_from_asking_for_one);
    tcase_add_loop_test(
        cases, what_is_held_back_is_found_meanwhile_and_is_built_once_when_all_is_there, 0, 2);
    tcase_add_test(cases, more_than_may_wait_is_built_and_the_rest_waits_on);
    tcase_add_test(cases, rows_that_come_many_at_once_to_few_are_held_back_for_a_moment);
    tcase_add_test(cases, what_came_many_at_once_is_let_go_of_however_seldom_the_keeper_looks);
    tcase_add_loop_test(cases, nothing_is_held_back_where_nobody_would_let_go_of_it, 0, 2);
    tcase_add_test(cases, who_waits_for_all_to_be_linked_is_not_left_what_others_hold_back);
    tcase_add_test(cases, what_came_many_at_once_is_linked_when_no_more_comes);
    tcase_add_test(cases, whoever_holds_rows_back_and_goes_leaves_them_to_be_built_by_themselves);
    tcase_add_test(cases, a_large_tail_is_linked_at_once_when_an_index_is_opened);
    tcase_add_test(cases, what_was_linked_at_once_is_there_after_reopening);
    tcase_add_loop_test(cases, a_built_graph_is_in_the_file_once_the_writer_is_idle, 0, 2);
    tcase_add_test(cases, links_that_are_made_again_are_in_the_file_when_it_is_closed_at_once);
    tcase_add_test(cases, writes_and_searches_go_on_meanwhile);
    tcase_add_test(cases, who_asks_for_a_build_beside_another_is_told_how_far_it_is_and_may_leave);
    tcase_add_test(cases, an_index_is_sound_at_every_moment_of_a_build);
    suite_add_tcase(suite, cases);
    return suite;
}
CHECK_MAIN(suite)
