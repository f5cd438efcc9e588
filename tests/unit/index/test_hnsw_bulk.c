// tests/unit/index/test_hnsw_bulk.c -- links made at once: as good as inserted ones, beside searches and writes.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>

#include "index/hnsw_bulk_int.h"
#include "index/hnsw_int.h"
#include "tests/lib/index_world.h"

enum { ROWS = FEWER_UNDER_TSAN(1500, 4000) };

static struct hnsw_bulk_report report;

static omen_status
make(struct world *world, uint32_t threads, struct hnsw_bulk **out)
{
    const struct hnsw_bulk_options options = {.threads = threads};
    return hnsw_bulk_make(world->hnsw, &options, &report, out);
}

static void
install(struct hnsw_bulk *made)
{
    ck_assert_ptr_nonnull(made);
    ck_assert_int_eq(hnsw_bulk_install(made), OMEN_OK);
    hnsw_bulk_close(made);
}

static void
bulk(struct world *world, uint32_t threads)
{
    struct hnsw_bulk *made;
    ck_assert_int_eq(make(world, threads, &made), OMEN_OK);
    install(made);
}

struct kind {
    uint32_t dim;
    enum metric metric;
    enum vector_type type;
    enum hnsw_quantization quantization;
    const char *code;
};

static const struct kind kinds[] = {
    {96, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, "nibble+byte"},
    {96, METRIC_COSINE, VECTOR_F32, HNSW_QUANTIZE_INT8, "nibble+byte"},
    {96, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_INT8, "nibble+byte"},
    {100, METRIC_L2, VECTOR_F16, HNSW_QUANTIZE_INT8, "nibble+byte"},
    {160, METRIC_COSINE, VECTOR_BF16, HNSW_QUANTIZE_INT8, "nibble+byte"},
    {2, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, "exact"},
    {20, METRIC_COSINE, VECTOR_F32, HNSW_QUANTIZE_INT8, "exact"},
    {20, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_INT8, "exact"},
    {64, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_NONE, "exact"},
    {64, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_NONE, "exact"},
    {64, METRIC_L2, VECTOR_U8, HNSW_QUANTIZE_INT8, "exact"},
    {64, METRIC_COSINE, VECTOR_U8, HNSW_QUANTIZE_INT8, "exact"},
    {64, METRIC_L2, VECTOR_I8, HNSW_QUANTIZE_INT8, "exact"},
    {64, METRIC_COSINE, VECTOR_I8, HNSW_QUANTIZE_INT8, "exact"},
    {64, METRIC_IP, VECTOR_I8, HNSW_QUANTIZE_INT8, "exact"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

START_TEST(rows_of_every_kind_are_found_by_links_made_at_once)
{
    const struct kind *kind = &kinds[_i];
    struct world world;
    world_init(&world, kind->dim, kind->metric, kind->type);
    world.config.quantization = kind->quantization;
    world_add(&world, ROWS);
    bulk(&world, 2);
    ck_assert_str_eq(hnsw_code_name(world.hnsw), kind->code);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 0);
    ck_assert_uint_eq(hnsw_linked(world.hnsw), ROWS);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

START_TEST(links_of_any_number_are_made)
{
    static const uint16_t links[] = {2, 4, 16, 32, 64};
    struct world world;
    world_init_usual(&world);
    world.config.links = links[_i];
    world_add(&world, 3000);
    bulk(&world, 1);
    world_check_recall(&world, 60, 100, links[_i] < 8 ? 0.7 : 0.97);
    world_fini(&world);
}
END_TEST

START_TEST(too_few_rows_and_flat_indexes_have_nothing_to_build)
{
    struct world world;
    struct hnsw_bulk *made;
    world_init_usual(&world);
    world.config.flat = _i == 1;
    world_open(&world);
    for (uint32_t rows = 0; rows < HNSW_FOUND_ROWS; rows += HNSW_FOUND_ROWS - 1) {
        world_add(&world, rows);
        ck_assert_int_eq(make(&world, 2, &made), OMEN_OK);
        ck_assert_ptr_null(made);
    }
    world_check(&world);
    world_fini(&world);
}
END_TEST

START_TEST(what_comes_and_goes_meanwhile_is_linked_and_repaired_afterwards)
{
    struct world world;
    struct hnsw_bulk *made;
    world_init_usual(&world);
    world_add(&world, 3000);
    for (uint32_t slot = 0; slot < 300; slot++)
        hnsw_erase(world.hnsw, slot * 7);
    ck_assert_int_eq(make(&world, 2, &made), OMEN_OK);
    ck_assert_uint_eq(report.rows, 2700);
    world_add(&world, 500);
    for (uint32_t slot = 0; slot < 200; slot++)
        hnsw_erase(world.hnsw, slot * 13 + 1);
    install(made);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 500);
    world_check(&world);
    world_drain(&world);
    ck_assert(hnsw_idle(world.hnsw));
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

START_TEST(links_that_are_there_are_replaced)
{
    struct world world;
    world_init_usual(&world);
    world_build(&world, 1500);
    for (uint32_t slot = 0; slot < 400; slot++)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    world_add(&world, 2500);
    bulk(&world, 2);
    ck_assert_uint_eq(report.rows, 3600);
    ck_assert(hnsw_idle(world.hnsw));
    world_check_recall(&world, 60, 64, 0.97);
    world_add(&world, 300); // and others are inserted among them
    world_drain(&world);
    world_check_recall(&world, 60, 64, 0.97);
    world_compact(&world);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

static void
check_same_links(const struct hnsw *a, const struct hnsw *b)
{
    ck_assert_uint_eq(hnsw_linked(a), hnsw_linked(b));
    for (uint32_t slot = 0; slot < hnsw_linked(a); slot++) {
        uint32_t links[2][LINK_ROW_MAX];
        const uint32_t count = graph_read(&a->graph, slot, hnsw_count(a), links[0]);
        const uint32_t other = graph_read(&b->graph, slot, hnsw_count(b), links[1]);
        CLAIM(count == other && memcmp(links[0], links[1], count * sizeof *links[0]) == 0,
              "row %u has other links", slot);
    }
}

static void
check_same_entries(const struct hnsw *a, const struct hnsw *b)
{
    ck_assert_uint_eq(a->entries.count, b->entries.count);
    for (uint32_t i = 0; i < a->entries.count; i++)
        CLAIM(a->entries.slots[i] == b->entries.slots[i], "entry %u is row %u, and row %u", i,
              a->entries.slots[i], b->entries.slots[i]);
    if (hnsw_kind(a) == CODE_NIBBLE)
        ck_assert_mem_eq(a->entries.codes, b->entries.codes,
                         (size_t)a->entries.count * a->codec.row_bytes);
}

// Nor is it told by what is linked afterwards.
START_TEST(what_was_linked_before_a_build_is_not_told_by_the_index_after_it)
{
    static const enum metric metrics[] = {METRIC_IP, METRIC_L2, METRIC_COSINE};
    static const uint32_t linked[] = {1, ROWS / 10, ROWS / 2, ROWS};
    struct world at_once;
    world_init(&at_once, 64, metrics[_i], VECTOR_F32);
    world_add(&at_once, ROWS);
    bulk(&at_once, 2);
    world_add(&at_once, 50);
    world_drain(&at_once);
    for (uint32_t l = 0; l < sizeof linked / sizeof *linked; l++) {
        struct world over;
        world_init(&over, 64, metrics[_i], VECTOR_F32);
        world_add(&over, ROWS);
        for (uint32_t row = 0; row < linked[l]; row++)
            ck_assert(hnsw_link_next(over.hnsw, over.scratch));
        for (uint32_t builds = 0; builds <= l; builds++)
            bulk(&over, 1);
        world_add(&over, 50);
        world_drain(&over);
        check_same_links(at_once.hnsw, over.hnsw);
        check_same_entries(at_once.hnsw, over.hnsw);
        world_fini(&over);
    }
    world_fini(&at_once);
}
END_TEST

START_TEST(an_index_of_erased_rows_only_is_left_without_links)
{
    struct world world;
    world_init_usual(&world);
    world_add_erased(&world, 1200, 1);
    bulk(&world, 2);
    ck_assert_uint_eq(world_check(&world), 0);
    world_add(&world, 1500);
    bulk(&world, 2);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

struct searcher {
    struct world *world;
    _Atomic bool stop;
    uint32_t searches;
};

static void *
search_on(void *context)
{
    struct searcher *searcher = context;
    struct world *world = searcher->world;
    struct scratch *scratch;
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    struct law law = world->law; // the queries' stream is this thread's
    while (!atomic_load(&searcher->stop) || searcher->searches == 0) {
        float vector[64];
        struct hit hits[10];
        law_draw(&law, &law.queries, vector);
        const struct hnsw_query query = world_query(vector, 10, 32);
        const uint32_t count = hnsw_search(world->hnsw, &query, scratch, hits);
        CLAIM(count == 10, "%u hits", count);
        world_check_hits(world, &query, hits, count);
        searcher->searches++;
    }
    scratch_close(scratch);
    return NULL;
}

START_TEST(searches_go_on_while_links_are_made_and_put_in_place)
{
    struct world world;
    struct searcher searcher = {.world = &world};
    pthread_t thread;
    world_init_usual(&world);
    world_build(&world, 1500);
    world_add(&world, 1500);
    ck_assert_int_eq(pthread_create(&thread, NULL, search_on, &searcher), 0);
    for (int turn = 0; turn < 3; turn++)
        bulk(&world, 2);
    atomic_store(&searcher.stop, true);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(searcher.searches, 0);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

START_TEST(refused_memory_leaves_the_index_as_it_was)
{
    struct world world;
    struct hnsw_bulk *made = NULL;
    const struct hnsw_bulk_options options = {.threads = 1};
    world_init_usual(&world);
    world.config.quantization = _i == 0 ? HNSW_QUANTIZE_INT8 : HNSW_QUANTIZE_NONE;
    world_add(&world, 1300);
    hnsw_erase(world.hnsw, 5);
    for (uint64_t n = 1; made == NULL; n++) {
        mem_fail_after(n);
        const omen_status status = hnsw_bulk_make(world.hnsw, &options, &report, &made);
        mem_fail_after(0);
        ck_assert_int_eq(status, made != NULL ? OMEN_OK : OMEN_E_NO_MEMORY);
        ck_assert_uint_eq(hnsw_linked(world.hnsw), 0);
        ck_assert_uint_lt(n, 2000);
    }
    install(made);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

static void *
install_beside(void *context)
{
    install(context);
    return NULL;
}

static bool
links_beyond(const struct hnsw *hnsw, uint32_t slot, uint32_t first)
{
    uint32_t links[LINK_ROW_MAX], beyond = 0;
    const uint32_t count = graph_read(&hnsw->graph, slot, hnsw_count(hnsw), links);
    for (uint32_t i = 0; i < count; i++)
        beyond += links[i] >= first;
    return beyond > 0;
}

// Stopped by a lock in the middle of putting links in place, where one half of the rows has new links: those that no walk comes to
// yet, so that none is led to a row without links.
START_TEST(rows_that_were_linked_are_found_while_links_are_put_in_place)
{
    const uint32_t before = 2000;
    struct world world;
    struct hnsw_bulk *made;
    pthread_t thread;
    world_init_usual(&world);
    world_add(&world, before);
    bulk(&world, 1);
    world_add(&world, 4000); // fewer in all than there are locks and the one that is held
    ck_assert_int_eq(make(&world, 1, &made), OMEN_OK);
    const struct hnsw *hnsw = world.hnsw;
    graph_lock(&hnsw->graph, before);
    ck_assert_int_eq(pthread_create(&thread, NULL, install_beside, made), 0);
    while (!links_beyond(hnsw, before + 1, 0) && !links_beyond(hnsw, before - 1, before))
        (void)sched_yield();
    struct scratch *scratch;
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < before; slot++) {
        struct hit hits[10];
        const struct hnsw_query query = world_query((const float *)hnsw_row(hnsw, slot), 10, 32);
        found += hnsw_search(hnsw, &query, scratch, hits) == 10 && hits[0].slot == slot;
    }
    scratch_close(scratch);
    graph_unlock(&hnsw->graph, before);
    pthread_join(thread, NULL);
    ck_assert_msg(found >= before - 20, "%u of %u rows are found", found, before);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

// A fault of whoever made them, which the caller stops at.
START_TEST(links_that_are_no_graph_are_told_by_who_puts_them_in_place)
{
    struct world world;
    struct hnsw_bulk *made;
    world_init_usual(&world);
    world_add(&world, 3000);
    ck_assert_int_eq(make(&world, 2, &made), OMEN_OK);
    uint32_t *const links = made->graph.links + (size_t)1234 * made->graph.links_max;
    ck_assert_uint_gt(made->graph.counts[1234], 1);
    const uint32_t bad[] = {made->rows, 1234, links[1]}; // of no row, to itself, twice
    links[0] = bad[_i];
    ck_assert_int_eq(hnsw_bulk_install(made), OMEN_E_INTERNAL);
    hnsw_bulk_close(made);
    world_fini(&world);
}
END_TEST

struct asked {
    uint32_t calls, stop_at;
};

static int
stop_when_asked(void *context, uint64_t done, uint64_t total)
{
    struct asked *asked = context;
    ck_assert_uint_le(done, total);
    return ++asked->calls == asked->stop_at;
}

START_TEST(a_build_can_be_stopped_before_all_rows_are_coded)
{
    struct world world;
    struct hnsw_bulk *made;
    struct asked asked = {.stop_at = 1};
    const struct hnsw_bulk_options options = {
        .threads = 1, .progress = stop_when_asked, .context = &asked};
    world_init_usual(&world);
    world.config.quantization = _i == 0 ? HNSW_QUANTIZE_INT8 : HNSW_QUANTIZE_NONE;
    world_add(&world, 3000);
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_CANCELLED);
    ck_assert_ptr_null(made);
    ck_assert_uint_eq(asked.calls, 1);
    ck_assert_uint_eq(report.build.ns[BUILD_SAME], 0);
    asked.calls = 1; // and then it is made, of rows that are coded in part
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_OK);
    install(made);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

// Of an index without codes yet, coded and not, whole and with erased rows: codes, lists and sketches count.
START_TEST(a_limit_of_memory_is_kept_and_one_below_the_least_is_refused)
{
    struct world world;
    struct hnsw_bulk *made;
    struct hnsw_bulk_options options = {.threads = 2, .memory_max = 1};
    world_init_usual(&world);
    world.config.quantization = _i < 2 ? HNSW_QUANTIZE_INT8 : HNSW_QUANTIZE_NONE;
    world_add(&world, 6000);
    for (uint32_t slot = 0; slot < 100 && _i % 2 == 1; slot++)
        hnsw_erase(world.hnsw, slot * 9);
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_NO_MEMORY);
    // The codes are counted from here on, so that there is less to take.
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_NO_MEMORY);
    const size_t least = report.memory.least;
    options.memory_max = least - 1;
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_NO_MEMORY);
    ck_assert_ptr_null(made);
    ck_assert_uint_eq(hnsw_linked(world.hnsw), 0);
    ck_assert_uint_eq(report.memory.least, least);
    options.memory_max = least;
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_OK);
    ck_assert_uint_le(report.memory_peak, least);
    ck_assert_uint_gt(report.build.passes, 1);
    install(made);
    world_check_recall(&world, 60, 64, 0.97);
    world_fini(&world);
}
END_TEST

// Codes are made of all rows, and are there in every stage after them.
START_TEST(stages_are_told_in_their_order_with_their_bytes)
{
    struct world world;
    struct hnsw_bulk *made;
    struct hnsw_bulk_stage stages[HNSW_BULK_STAGES];
    const struct hnsw_bulk_options options = {.threads = 1};
    world_init_usual(&world);
    world_add(&world, 6000);
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_OK);
    install(made);
    report.install_ns = 1;
    static const char *const names[] = {"found",  "encode", "same",    "partition", "narrow",
                                        "leaves", "choose", "reverse", "reach",     "install"};
    const uint32_t count = hnsw_bulk_stages(&report, stages);
    ck_assert_uint_eq(count, sizeof names / sizeof *names);
    uint64_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_str_eq(stages[i].name, names[i]);
        most = stages[i].memory > most ? stages[i].memory : most;
        ck_assert(i == 0 || stages[i].memory >= stages[1].memory);
    }
    ck_assert_uint_eq(most, report.memory_peak);
    ck_assert_uint_eq(stages[1].read, (uint64_t)6000 * world.config.dim * sizeof(float));
    ck_assert_uint_gt(stages[1].memory, (uint64_t)6000 * world.config.dim);
    world_fini(&world);
}
END_TEST

START_TEST(codes_that_the_index_gets_are_counted)
{
    struct world world;
    struct hnsw_bulk *made;
    struct hnsw_memory before, after;
    const struct hnsw_bulk_options options = {.threads = 1, .memory_max = 1};
    world_init(&world, 256, METRIC_L2, VECTOR_F32);
    world_add(&world, 3000);
    hnsw_memory(world.hnsw, &before);
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_NO_MEMORY);
    const size_t first = report.memory.least;
    hnsw_memory(world.hnsw, &after);
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_E_NO_MEMORY);
    ck_assert_uint_ge(after.codes - before.codes, (size_t)3000 * 256);
    ck_assert_uint_ge(first - report.memory.least, after.codes - before.codes);
    world_fini(&world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("hnsw_bulk");
    TCase *made = tcase_create("made");
    tcase_add_loop_test(made, rows_of_every_kind_are_found_by_links_made_at_once, 0, KINDS);
    suite_add_tcase(suite, made);
    TCase *alone = tcase_create("alone");
    tcase_add_loop_test(alone, links_of_any_number_are_made, 0, 5);
    tcase_add_loop_test(alone, too_few_rows_and_flat_indexes_have_nothing_to_build, 0, 2);
    tcase_add_loop_test(alone, a_build_can_be_stopped_before_all_rows_are_coded, 0, 2);
    tcase_add_loop_test(alone, refused_memory_leaves_the_index_as_it_was, 0, 2);
    tcase_add_test(alone, stages_are_told_in_their_order_with_their_bytes);
    tcase_add_test(alone, codes_that_the_index_gets_are_counted);
    suite_add_one_thread(suite, alone);
    TCase *beside = tcase_create("beside");
    tcase_add_test(beside, what_comes_and_goes_meanwhile_is_linked_and_repaired_afterwards);
    tcase_add_test(beside, links_that_are_there_are_replaced);
    tcase_add_loop_test(beside, what_was_linked_before_a_build_is_not_told_by_the_index_after_it, 0,
                        3);
    tcase_add_test(beside, an_index_of_erased_rows_only_is_left_without_links);
    tcase_add_test(beside, searches_go_on_while_links_are_made_and_put_in_place);
    tcase_add_test(beside, rows_that_were_linked_are_found_while_links_are_put_in_place);
    tcase_add_loop_test(beside, links_that_are_no_graph_are_told_by_who_puts_them_in_place, 0, 3);
    tcase_add_loop_test(beside, a_limit_of_memory_is_kept_and_one_below_the_least_is_refused, 0, 4);
    suite_add_tcase(suite, beside);
    return suite;
}
CHECK_MAIN(suite)
