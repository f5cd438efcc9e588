// tests/unit/shard/test_hosted_elsewhere.c -- a graph that was built elsewhere takes its place on every copy, whatever happened to them since.
#include <math.h>
#include <string.h>

#include "index/hnsw_int.h"
#include "shard/hosted_int.h"
#include "shard/journal.h"
#include "tests/lib/build_elsewhere.h"
#include "tests/lib/check_main.h"

enum { ROWS = 4000, COPIES = 2 };

static struct folder folder;
static struct else_copy copies[COPIES];
static struct omen_error error;
static struct hosted_built built;

static void
setup(void)
{
    folder_init(&folder);
    memset(copies, 0, sizeof copies);
}

static void
teardown(void)
{
    for (uint32_t i = 0; i < COPIES; i++)
        hosted_close(copies[i].hosted);
    folder_fini(&folder);
}

static void
open_both(const struct else_options *options)
{
    else_open(&copies[0], &folder, "a", options);
    else_open(&copies[1], &folder, "b", options);
}

static void
open_filled(uint32_t threads, bool text)
{
    open_both(&(struct else_options){.threads = threads, .text = text});
    else_change(copies, COPIES, HOSTED_UPSERT, 0, ROWS, 1, 1, text);
}

static uint32_t
builds_of(const struct else_copy *copy)
{
    return atomic_load(&hosted_shard(copy->hosted)->bulk_builds);
}

static omen_statistics
stats_of(const struct else_copy *copy)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    shard_stats(hosted_shard(copy->hosted), &stats);
    return stats;
}

// Of 200 points, those that are found by their own vector; and the index is sound.
static void
check_copy(const struct else_copy *copy, uint64_t first, uint64_t step, uint64_t salt, bool text)
{
    struct shard *shard = hosted_shard(copy->hosted);
    uint32_t found = 0;
    ck_assert_msg(hosted_verify(copy->hosted, &error) == OMEN_OK, "%s", error.text);
    for (uint32_t i = 0; i < 200; i++) {
        const uint64_t id = first + i * step;
        float vector[ELSE_DIM];
        uint64_t key = id, ids[10];
        char name[24];
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 10;
        options.ef = 48;
        const struct answer answer = {.ids = ids};
        if (text)
            ck_assert_int_eq(shard_id_key(shard, else_text(id, name), &key, &error), OMEN_OK);
        else_vector(id, salt, vector);
        ck_assert_int_eq(shard_query(shard, vector, &options, &answer, &error), OMEN_OK);
        found += ids[0] == key;
    }
    ck_assert_uint_ge(found, 197);
}

static void
put(struct else_copy *copy, uint64_t attempt, const struct built_graph *graph,
    enum hosted_gate gate)
{
    ck_assert_msg(else_put(copy->hosted, attempt, graph, gate, &built, &error) == OMEN_OK, "%s",
                  error.text);
}

// 0: integers, 1: texts, 2: rows without codes.
START_TEST(one_graph_fits_both_copies)
{
    struct built_graph graph;
    const bool text = _i == 1;
    const struct else_options options = {.threads = 1,
                                         .text = text,
                                         .quantization =
                                             _i == 2 ? OMEN_QUANTIZE_NONE : OMEN_QUANTIZE_INT8};
    open_both(&options);
    else_change(copies, COPIES, HOSTED_UPSERT, 0, ROWS, 1, 1, text);
    else_build(copies[0].hosted, 5, &graph);
    ck_assert_uint_eq(graph.head.total, ROWS);
    ck_assert_uint_eq(graph.head.seq, hosted_applied(copies[0].hosted));
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    ck_assert_uint_eq(built.rows, ROWS);
    ck_assert_uint_eq(built.matched, ROWS);
    ck_assert_uint_eq(built.tail, 0);
    ck_assert_double_ge(built.recall, 0.97);
    ck_assert_double_ge(built.before, 0.9);
    put(&copies[1], 5, &graph, HOSTED_TRUSTED);
    ck_assert_double_lt(built.recall, 0.0);
    for (uint32_t i = 0; i < COPIES; i++) {
        ck_assert_uint_eq(builds_of(&copies[i]), 1);
        ck_assert_uint_eq(stats_of(&copies[i]).tail, 0);
        check_copy(&copies[i], 0, ROWS / 200, 1, text);
    }
    built_graph_fini(&graph);
}
END_TEST

static struct generation *
generation_of(const struct else_copy *copy)
{
    return hosted_shard(copy->hosted)->target;
}

// The ids that a slot's links lead to, in their order.
static uint32_t
links_of(const struct else_copy *copy, uint32_t slot, uint64_t *out)
{
    const struct generation *generation = generation_of(copy);
    uint32_t links[LINK_ROW_MAX];
    const uint32_t rows = hnsw_count(generation->hnsw);
    const uint32_t count = graph_read(&generation->hnsw->graph, slot, rows, links);
    for (uint32_t i = 0; i < count; i++)
        out[i] = idmap_id(generation->ids, links[i]);
    return count;
}

// Compaction moves rows, and erased ones have no links: both are passed over side by side.
static uint32_t
next_live(const struct hnsw *hnsw, uint32_t slot)
{
    while (slot < hnsw_linked(hnsw) && hnsw_erased(hnsw, slot))
        slot++;
    return slot;
}

// Every row that is linked has the same id and leads to the same ids; returns how many there are.
static uint32_t
check_same_links(void)
{
    const struct generation *a = generation_of(&copies[0]), *b = generation_of(&copies[1]);
    uint32_t rows = 0, at = next_live(a->hnsw, 0), other = next_live(b->hnsw, 0);
    while (at < hnsw_linked(a->hnsw) && other < hnsw_linked(b->hnsw)) {
        uint64_t ours[LINK_ROW_MAX], theirs[LINK_ROW_MAX];
        const uint32_t count = links_of(&copies[0], at, ours);
        ck_assert_uint_eq(idmap_id(a->ids, at), idmap_id(b->ids, other));
        ck_assert_uint_eq(links_of(&copies[1], other, theirs), count);
        ck_assert_mem_eq(ours, theirs, count * sizeof *ours);
        rows++;
        at = next_live(a->hnsw, at + 1);
        other = next_live(b->hnsw, other + 1);
    }
    ck_assert_uint_eq(at, hnsw_linked(a->hnsw));
    ck_assert_uint_eq(other, hnsw_linked(b->hnsw));
    return rows;
}

// By slot where nothing was deleted; else by id, since one of the copies has been compacted.
START_TEST(all_copies_have_the_same_links)
{
    struct built_graph graph;
    open_filled(1, false);
    else_change(copies, COPIES, HOSTED_DELETE, 0, 300 * (uint32_t)_i, 7, 0, false);
    ck_assert_int_eq(hosted_compact(copies[1].hosted, &error), OMEN_OK);
    else_build(copies[0].hosted, 5, &graph);
    else_change(copies, COPIES, HOSTED_DELETE, 1, 200 * (uint32_t)_i, 7, 0, false);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    put(&copies[1], 5, &graph, HOSTED_TRUSTED);
    ck_assert_uint_eq(check_same_links(), ROWS - 500 * (uint32_t)_i);
    for (uint32_t row = 0; row < ROWS && _i == 0; row++) {
        uint64_t links[LINK_ROW_MAX];
        const uint32_t *built_links = graph.graph.links + (size_t)row * graph.graph.links_max;
        ck_assert_uint_eq(links_of(&copies[1], row, links), graph.graph.counts[row]);
        for (uint32_t i = 0; i < graph.graph.counts[row]; i++)
            ck_assert_uint_eq(links[i],
                              built_links[i]); // ids are numbers from 0 on here, and so are rows
    }
    built_graph_fini(&graph);
}
END_TEST

START_TEST(copies_that_compacted_differently_and_changed_since_take_it_as_well)
{
    struct built_graph graph;
    const bool text = _i % 2 == 1;
    open_filled(_i < 2 ? 1 : 2, text);
    else_change(copies, COPIES, HOSTED_DELETE, 0, 300, 7, 0, text);
    ck_assert_int_eq(hosted_compact(copies[1].hosted, &error), OMEN_OK);
    else_build(copies[0].hosted, 5, &graph);
    ck_assert_uint_eq(graph.head.total, ROWS - 300);
    // Rewritten, deleted, rewritten as they were, new.
    else_change(copies, COPIES, HOSTED_UPSERT, 1, 200, 7, 2, text);
    else_change(copies, COPIES, HOSTED_DELETE, 2, 200, 7, 0, text);
    else_change(copies, COPIES, HOSTED_UPSERT, 3, 100, 7, 1, text);
    else_change(copies, COPIES, HOSTED_UPSERT, ROWS, 600, 1, 1, text);
    ck_assert_int_eq(hosted_compact(copies[0].hosted, &error), OMEN_OK); // the freeze was read
    for (uint32_t i = 0; i < COPIES; i++) {
        put(&copies[i], 5, &graph, i == 0 ? HOSTED_MEASURED : HOSTED_TRUSTED);
        ck_assert_uint_eq(built.rows, ROWS - 300);
        ck_assert_uint_eq(built.matched, ROWS - 300 - 500);
        // Rows behind the last that is matched; of a copy that was not compacted the dead ones, too.
        ck_assert_uint_ge(built.tail, 200 + 100 + 600);
        ck_assert_int_eq(shard_build(hosted_shard(copies[i].hosted),
                                     &(omen_build_options)OMEN_BUILD_OPTIONS_INIT, &error),
                         OMEN_OK);
        ck_assert_uint_eq(stats_of(&copies[i]).tail, 0);
        check_copy(&copies[i], 4, 7, 1, text);
        check_copy(&copies[i], 1, 7, 2, text);
        check_copy(&copies[i], ROWS, 3, 1, text);
    }
    built_graph_fini(&graph);
}
END_TEST

START_TEST(a_compaction_ends_a_freeze_and_nothing_else)
{
    struct hosted_frozen frozen;
    static uint8_t chunk[BUILT_CHUNK_BYTES];
    size_t bytes;
    open_filled(1, false);
    else_change(copies, COPIES, HOSTED_DELETE, 0, 10, 1, 0, false);
    ck_assert_int_eq(else_freeze(copies[0].hosted, 5, &frozen, &error), OMEN_OK);
    ck_assert_uint_eq(frozen.rows, ROWS - 10);
    ck_assert_int_eq(hosted_build_rows(copies[0].hosted, 5, 0, chunk, &bytes, &error), OMEN_OK);
    ck_assert_int_eq(hosted_compact(copies[0].hosted, &error), OMEN_OK);
    ck_assert_int_eq(hosted_build_rows(copies[0].hosted, 5, 0, chunk, &bytes, &error),
                     OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "compacted"));
    ck_assert_int_eq(else_freeze(copies[0].hosted, 6, &frozen, &error), OMEN_OK);
    ck_assert_int_eq(hosted_build_rows(copies[0].hosted, 6, 0, chunk, &bytes, &error), OMEN_OK);
    ck_assert_int_eq(hosted_build_rows(copies[0].hosted, 5, 0, chunk, &bytes, &error),
                     OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "not under way"));
    ck_assert_int_eq(hosted_build_rows(copies[0].hosted, 6, frozen.chunks, chunk, &bytes, &error),
                     OMEN_E_INVALID);
    check_copy(&copies[0], 20, 3, 1, false);
}
END_TEST

START_TEST(too_few_rows_none_that_live_and_no_number_are_nothing_to_build)
{
    struct hosted_frozen frozen;
    open_both(&(struct else_options){.threads = 1});
    ck_assert_int_eq(else_freeze(copies[0].hosted, 0, &frozen, &error), OMEN_E_INVALID);
    ck_assert_int_eq(else_freeze(copies[0].hosted, 1, &frozen, &error), OMEN_E_NOT_FOUND);
    else_change(copies, 1, HOSTED_UPSERT, 0, 1000, 1, 1, false);
    ck_assert_int_eq(else_freeze(copies[0].hosted, 1, &frozen, &error), OMEN_E_NOT_FOUND);
    else_change(copies, 1, HOSTED_UPSERT, 1000, 1000, 1, 1, false);
    ck_assert_int_eq(else_freeze(copies[0].hosted, 1, &frozen, &error), OMEN_OK);
    else_change(copies, 1, HOSTED_DELETE, 0, 2000, 1, 0, false);
    ck_assert_int_eq(else_freeze(copies[0].hosted, 1, &frozen, &error), OMEN_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "nothing to be linked"));
    ck_assert_uint_eq(copies[0].hosted->builds.attempt, 0);
}
END_TEST

START_TEST(a_graph_that_leads_nowhere_or_is_worse_than_the_best_is_refused)
{
    struct built_graph graph;
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    const double best = built.recall;
    ck_assert_double_eq(copies[0].hosted->builds.record.best, best);
    ck_assert_uint_eq(copies[0].hosted->builds.record.rows, ROWS);
    // Without every second link: a little worse than the graph that is there.
    for (uint32_t row = 0; row < ROWS; row++)
        graph.graph.counts[row] = (uint8_t)(graph.graph.counts[row] / 3);
    ck_assert_int_eq(else_put(copies[0].hosted, 6, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "of the neighbours that it should"));
    ck_assert_double_lt(built.recall, best - 0.005);
    ck_assert_double_eq(built.before, best);
    ck_assert_uint_eq(builds_of(&copies[0]), 1);
    check_copy(&copies[0], 0, ROWS / 200, 1, false);
    // The best counts, where what is there was worse.
    ck_assert_int_eq(else_put(copies[0].hosted, 7, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_OK);
    ck_assert_int_eq(else_put(copies[0].hosted, 8, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_E_INVALID);
    ck_assert_double_lt(built.before, best - 0.005);
    // A record of far fewer rows is none any more.
    copies[0].hosted->builds.record.rows = ROWS / 2 - 1;
    ck_assert_int_eq(else_put(copies[0].hosted, 9, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_OK);
    // Links between strangers, where there is no graph of which anything is known.
    for (uint32_t row = 0; row < ROWS; row++) {
        graph.graph.counts[row] = 1;
        graph.graph.links[(size_t)row * graph.graph.links_max] = (row + ROWS / 2) % ROWS;
    }
    copies[0].hosted->builds.record = (struct graft_record){0};
    ck_assert_int_eq(else_put(copies[0].hosted, 10, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_OK);
    ck_assert_int_eq(else_put(copies[0].hosted, 11, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "at least 10.00 %"));
    built_graph_fini(&graph);
}
END_TEST

START_TEST(what_is_not_whole_out_of_date_ahead_or_of_other_links_is_refused)
{
    struct built_graph graph;
    static uint8_t chunk[BUILT_CHUNK_BYTES];
    const struct hosted_judged trusted = {.gate = HOSTED_TRUSTED, .recall = -1.0};
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    ck_assert_int_eq(hosted_build_install(copies[0].hosted, 5, &trusted, &built, &error),
                     OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "have come"));
    ck_assert_int_eq(hosted_build_install(copies[1].hosted, 5, &trusted, &built, &error),
                     OMEN_E_CONFLICT);
    ck_assert_int_eq(hosted_build_take(copies[1].hosted, 0, chunk, 100, &error), OMEN_E_CONFLICT);
    ck_assert_int_eq(hosted_build_take(copies[1].hosted, 5, chunk, 100, &error), OMEN_E_CORRUPT);
    ck_assert_uint_eq(copies[1].hosted->builds.attempt, 0); // not for bytes that are none
    // Of an entry that this copy has yet to apply.
    graph.head.seq++;
    ck_assert_int_eq(else_put(copies[1].hosted, 5, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_E_BUSY);
    else_change(copies, COPIES, HOSTED_DELETE, 0, 1, 1, 0, false);
    ck_assert_int_eq(hosted_build_install(copies[1].hosted, 5, &trusted, &built, &error), OMEN_OK);
    ck_assert_uint_eq(built.matched, ROWS - 1);
    // Of other M.
    graph.head.shape.links_max = graph.graph.links_max = 8;
    for (uint32_t row = 0; row < ROWS; row++)
        graph.graph.counts[row] = 0;
    ck_assert_int_eq(else_put(copies[0].hosted, 7, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "8 links"));
    graph.head.shape.links_max = graph.graph.links_max = 16;
    // More than half of its rows went.
    else_change(copies, COPIES, HOSTED_DELETE, 1, ROWS / 2, 1, 0, false);
    ck_assert_int_eq(else_put(copies[0].hosted, 8, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "out of date"));
    ck_assert_uint_eq(builds_of(&copies[0]), 0);
    built_graph_fini(&graph);
}
END_TEST

START_TEST(what_is_left_idle_is_forgotten_and_local_builds_wait_as_long)
{
    struct hosted_frozen frozen;
    open_filled(1, false);
    struct hosted *hosted = copies[0].hosted;
    ck_assert_int_eq(else_freeze(hosted, 5, &frozen, &error), OMEN_OK);
    ck_assert_uint_eq(atomic_load(&hosted->shard->bulk_after), UINT32_MAX);
    const uint64_t used_ns = hosted->builds.used_ns;
    ck_assert(hosted_build_idle(hosted, used_ns + HOSTED_BUILD_IDLE_NS));
    ck_assert_uint_eq(hosted->builds.attempt, 5);
    ck_assert(!hosted_build_idle(hosted, used_ns + HOSTED_BUILD_IDLE_NS + 1));
    ck_assert_uint_eq(hosted->builds.attempt, 0);
    ck_assert_ptr_null(hosted->builds.slots);
    ck_assert_uint_eq(atomic_load(&hosted->shard->bulk_after), 0);
    ck_assert(!hosted_build_idle(hosted, UINT64_MAX)); // there is none
    ck_assert_int_eq(else_freeze(hosted, 6, &frozen, &error), OMEN_OK);
    lock_acquire(&hosted->shard->upkeep);
    ck_assert_int_eq(hosted_build_freeze(hosted, 7, &frozen, &error), OMEN_E_BUSY);
    lock_release(&hosted->shard->upkeep);
}
END_TEST

START_TEST(what_was_put_in_place_is_there_after_a_restart)
{
    struct built_graph graph;
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    else_change(copies, 1, HOSTED_UPSERT, ROWS, 200, 1, 1, false);
    hosted_close(copies[0].hosted);
    const struct hosted_options options = {.path = copies[0].path, .threads = 1};
    ck_assert_int_eq(hosted_open(&options, &copies[0].hosted, &error), OMEN_OK);
    ck_assert_uint_eq(stats_of(&copies[0]).tail, 0);
    check_copy(&copies[0], 0, ROWS / 200, 1, false);
    check_copy(&copies[0], ROWS, 1, 1, false);
    built_graph_fini(&graph);
}
END_TEST

static void
reopen(struct else_copy *copy)
{
    hosted_close(copy->hosted);
    const struct hosted_options options = {.path = copy->path, .threads = 1};
    ck_assert_msg(hosted_open(&options, &copy->hosted, &error) == OMEN_OK, "%s", error.text);
}

static void
spoil(struct built_graph *graph)
{
    for (uint32_t row = 0; row < ROWS; row++)
        graph->graph.counts[row] = (uint8_t)(graph->graph.counts[row] / 3);
}

// To the hundredth of a point.
START_TEST(a_graph_may_find_half_a_point_less_than_the_best_and_no_more)
{
    static const double less[] = {0.0, 0.0049, 0.0051};
    struct built_graph graph;
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    spoil(&graph); // so that the best can be better by so much
    struct graft_record *record = &copies[0].hosted->builds.record;
    ck_assert_int_eq(else_put(copies[0].hosted, 5, &graph, HOSTED_TRUSTED, &built, &error),
                     OMEN_OK);
    put(&copies[0], 6, &graph, HOSTED_MEASURED); // as good as what is there
    ck_assert_double_eq(built.recall, built.before);
    ck_assert_double_lt(built.recall, 0.99);
    const double found = built.recall;
    for (uint32_t i = 0; i < 3; i++) {
        *record = (struct graft_record){.best = found + less[i], .rows = ROWS};
        const omen_status status =
            else_put(copies[0].hosted, 7 + i, &graph, HOSTED_MEASURED, &built, &error);
        ck_assert_int_eq(status, less[i] <= 0.005 ? OMEN_OK : OMEN_E_INVALID);
        ck_assert_double_eq(built.recall, found);
    }
    built_graph_fini(&graph);
}
END_TEST

START_TEST(the_best_that_a_copy_had_is_asked_for_after_a_restart)
{
    struct built_graph graph;
    open_filled(1, false);
    reopen(&copies[0]);
    ck_assert_double_eq(copies[0].hosted->builds.record.best, 0.0);
    else_build(copies[0].hosted, 5, &graph);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    const double best = built.recall;
    spoil(&graph);
    put(&copies[0], 6, &graph,
        HOSTED_TRUSTED); // else the graph that is there would do as a measure
    ck_assert_int_eq(hosted_checkpoint(copies[0].hosted, &error), OMEN_OK);
    reopen(&copies[0]);
    ck_assert_double_eq(copies[0].hosted->builds.record.best, best);
    ck_assert_uint_eq(copies[0].hosted->builds.record.rows, ROWS);
    ck_assert_int_eq(else_put(copies[0].hosted, 7, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "are wanted"));
    ck_assert_double_lt(built.before, best - 0.005);
    built_graph_fini(&graph);
}
END_TEST

// As a process that is killed has it: the record does not wait for a checkpoint, as the links do.
START_TEST(the_best_is_known_even_where_the_links_had_not_come_to_the_file)
{
    struct built_graph graph;
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    const double best = built.recall;
    const uint64_t durable = hosted_durable(copies[0].hosted);
    hosted_abandon(copies[0].hosted);
    const struct hosted_options options = {.path = copies[0].path, .threads = 1};
    ck_assert_int_eq(hosted_open(&options, &copies[0].hosted, &error), OMEN_OK);
    ck_assert_uint_eq(hosted_applied(copies[0].hosted), durable);
    ck_assert_double_eq(copies[0].hosted->builds.record.best, best);
    built_graph_fini(&graph);
}
END_TEST

// A copy that only took what another had measured is the primary one day.
START_TEST(a_copy_that_was_told_what_another_found_asks_for_as_much_when_it_measures)
{
    struct built_graph graph;
    open_filled(1, false);
    else_build(copies[0].hosted, 5, &graph);
    put(&copies[0], 5, &graph, HOSTED_MEASURED);
    const struct hosted_judged judged = {.gate = HOSTED_TRUSTED, .recall = built.recall};
    ck_assert_int_eq(else_put_judged(copies[1].hosted, 5, &graph, &judged, &built, &error),
                     OMEN_OK);
    ck_assert_double_lt(built.recall, 0.0);
    spoil(&graph);
    put(&copies[1], 6, &graph, HOSTED_TRUSTED);
    // Less, or nothing, that is told later takes nothing away.
    const struct hosted_judged less = {.gate = HOSTED_TRUSTED, .recall = judged.recall - 0.2};
    ck_assert_int_eq(else_put_judged(copies[1].hosted, 7, &graph, &less, &built, &error), OMEN_OK);
    reopen(&copies[1]);
    ck_assert_double_eq(copies[1].hosted->builds.record.best, judged.recall);
    ck_assert_int_eq(else_put(copies[1].hosted, 8, &graph, HOSTED_MEASURED, &built, &error),
                     OMEN_E_INVALID);
    built_graph_fini(&graph);
}
END_TEST

START_TEST(a_record_that_is_none_is_said_to_be_corrupt)
{
    open_filled(1, false);
    struct shard *shard = hosted_shard(copies[0].hosted);
    static const double bad[] = {-0.5, 1.001, NAN};
    struct graft_record found;
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct graft_record record = {.best = bad[i], .rows = 1};
        ck_assert_int_eq(graft_record_keep(shard, &record, &error), OMEN_OK);
        ck_assert_int_eq(graft_record_load(shard, &found, &error), OMEN_E_CORRUPT);
        ck_assert_double_eq(found.best, 0.0);
    }
    for (uint32_t best = 0; best <= 1; best++) { // the least and the most
        const struct graft_record record = {.best = best, .rows = 1};
        ck_assert_int_eq(graft_record_keep(shard, &record, &error), OMEN_OK);
        ck_assert_int_eq(graft_record_load(shard, &found, &error), OMEN_OK);
        ck_assert_double_eq(found.best, best);
    }
    // Cut off.
    struct kv_txn *txn;
    ck_assert_int_eq(kv_begin_write(shard->journal->kv, &txn, &error), OMEN_OK);
    ck_assert_int_eq(meta_put(txn, META_GRAPHS, "shorter", 7, &error), OMEN_OK);
    ck_assert_int_eq(kv_commit(txn, &error), OMEN_OK);
    hosted_close(copies[0].hosted);
    const struct hosted_options options = {.path = copies[0].path, .threads = 1};
    ck_assert_int_eq(hosted_open(&options, &copies[0].hosted, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "graphs have been worth"));
    ck_assert_ptr_null(copies[0].hosted);
}
END_TEST

static Suite *
hosted_elsewhere_suite(void)
{
    Suite *suite = suite_create("hosted_elsewhere");
    TCase *tcase = tcase_create("hosted_elsewhere");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, one_graph_fits_both_copies, 0, 3);
    tcase_add_loop_test(tcase, copies_that_compacted_differently_and_changed_since_take_it_as_well,
                        0, 4);
    tcase_add_loop_test(tcase, all_copies_have_the_same_links, 0, 2);
    tcase_add_test(tcase, a_compaction_ends_a_freeze_and_nothing_else);
    tcase_add_test(tcase, too_few_rows_none_that_live_and_no_number_are_nothing_to_build);
    tcase_add_test(tcase, a_graph_that_leads_nowhere_or_is_worse_than_the_best_is_refused);
    tcase_add_test(tcase, a_graph_may_find_half_a_point_less_than_the_best_and_no_more);
    tcase_add_test(tcase, what_is_not_whole_out_of_date_ahead_or_of_other_links_is_refused);
    tcase_add_test(tcase, what_is_left_idle_is_forgotten_and_local_builds_wait_as_long);
    tcase_add_test(tcase, what_was_put_in_place_is_there_after_a_restart);
    tcase_add_test(tcase, the_best_that_a_copy_had_is_asked_for_after_a_restart);
    tcase_add_test(tcase, the_best_is_known_even_where_the_links_had_not_come_to_the_file);
    tcase_add_test(tcase,
                   a_copy_that_was_told_what_another_found_asks_for_as_much_when_it_measures);
    tcase_add_test(tcase, a_record_that_is_none_is_said_to_be_corrupt);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(hosted_elsewhere_suite)
