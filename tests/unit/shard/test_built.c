// tests/unit/shard/test_built.c -- chunks of a build come as they were sent, in order, or are refused.
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/prng.h"
#include "shard/built.h"
#include "tests/lib/check_main.h"

enum { ROWS = 5000, WIDTH = 96 };

static uint8_t chunk[BUILT_CHUNK_BYTES];
static struct omen_error error;

static struct built_head
head_of(uint32_t total)
{
    return (struct built_head){
        .shape = {.kind = BUILD_BYTES, .width = WIDTH, .links_max = 32, .seed = 77},
        .seq = 9,
        .total = total};
}

static void
fill_row(uint8_t *row, uint64_t number)
{
    struct prng prng;
    float numbers[3] = {1.0f, 0.0f, 0.0f};
    int8_t *components = (int8_t *)row + sizeof numbers;
    uint32_t norm = 0;
    prng_init(&prng, number);
    for (uint32_t i = 0; i < WIDTH; i++) {
        components[i] = (int8_t)(prng_below(&prng, 200) - 100);
        norm += (uint32_t)(components[i] * components[i]);
    }
    numbers[1] = (float)norm;
    memcpy(row, numbers, sizeof numbers);
}

// The chunk that begins with row `first`.
static size_t
rows_chunk(uint32_t total, uint32_t first, uint32_t count)
{
    struct built_head head = head_of(total);
    head.first = first;
    head.count = count;
    uint8_t *rows = built_rows_at(&head, chunk);
    for (uint32_t i = 0; i < count; i++) {
        built_key_put(chunk, i, mix64(first + i));
        fill_row(rows + i * ship_row_bytes(&head.shape), first + i);
    }
    return built_rows_seal(&head, chunk);
}

static void
take_all(struct built_rows *rows, uint32_t total)
{
    const struct built_head head = head_of(total);
    const uint32_t fit = built_rows_fit(&head.shape);
    *rows = (struct built_rows){0};
    for (uint32_t first = 0; first < total; first += fit) {
        ck_assert(!built_rows_whole(rows));
        const size_t bytes = rows_chunk(total, first, total - first < fit ? total - first : fit);
        ck_assert_msg(built_rows_take(rows, chunk, bytes, &error) == OMEN_OK, "%s", error.text);
        ck_assert_int_eq(built_rows_take(rows, chunk, bytes, &error), OMEN_OK); // once more
    }
    ck_assert(built_rows_whole(rows));
}

static void
build(struct built_graph *graph)
{
    struct built_rows rows;
    const struct built_work work = {.threads = 1};
    take_all(&rows, ROWS);
    ck_assert_int_eq(built_graph_make(&rows, &work, graph), OMEN_OK);
    ck_assert_ptr_null(rows.bytes);
    ck_assert(built_graph_whole(graph));
}

START_TEST(rows_come_as_they_were_sent_and_a_chunk_is_full)
{
    struct built_rows rows;
    uint8_t row[512];
    const struct built_head head = head_of(ROWS);
    take_all(&rows, ROWS);
    ck_assert_uint_eq(rows.head.seq, 9);
    for (uint32_t i = 0; i < ROWS; i += 7) {
        fill_row(row, i);
        ck_assert_uint_eq(rows.keys[i], mix64(i));
        ck_assert_mem_eq(rows.bytes + i * rows.row_bytes, row, rows.row_bytes);
    }
    built_rows_fini(&rows);
    const uint32_t fit = built_rows_fit(&head.shape);
    const size_t full = rows_chunk(fit, 0, fit);
    ck_assert_uint_gt(full + 8 + ship_row_bytes(&head.shape), BUILT_CHUNK_BYTES);
    const struct ship_shape widest = {
        .kind = BUILD_FLOATS, .sketched = 1, .width = VECTOR_DIM_MAX + 1, .links_max = 2};
    ck_assert_uint_ge(built_rows_fit(&widest), 3);
}
END_TEST

START_TEST(a_graph_comes_as_it_was_built)
{
    struct built_graph graph, there = {0};
    build(&graph);
    const uint32_t chunks = built_graph_chunks(&graph);
    ck_assert_uint_eq(chunks, 1);
    ck_assert(!built_graph_whole(&there));
    const size_t bytes = built_graph_write(&graph, 0, chunk);
    ck_assert_int_eq(built_graph_take(&there, chunk, bytes, &error), OMEN_OK);
    ck_assert_int_eq(built_graph_take(&there, chunk, bytes, &error), OMEN_OK);
    ck_assert(built_graph_whole(&there));
    ck_assert_mem_eq(there.keys, graph.keys, ROWS * sizeof *graph.keys);
    ck_assert_mem_eq(there.graph.counts, graph.graph.counts, ROWS);
    for (uint32_t row = 0; row < ROWS; row++)
        ck_assert(memcmp(there.graph.links + row * 32, graph.graph.links + row * 32,
                         graph.graph.counts[row] * sizeof(uint32_t)) == 0);
    built_graph_fini(&there);
    built_graph_fini(&graph);
}
END_TEST

// More rows than three bytes number: none is touched but those of the chunk.
START_TEST(numbers_of_many_rows_have_four_bytes)
{
    for (uint32_t more = 0; more < 2; more++) {
        struct built_graph graph = {.head = head_of((1u << 24) + more)}, there = {0};
        graph.head.count = graph.head.total;
        ck_assert_int_eq(build_graph_open(&graph.graph, graph.head.total, 32), OMEN_OK);
        graph.keys = pages_alloc(graph.head.total * sizeof *graph.keys);
        graph.graph.counts[3] = 2;
        graph.graph.links[3 * 32] = graph.head.total - 1;
        graph.graph.links[3 * 32 + 1] = 0;
        const size_t bytes = built_graph_write(&graph, 0, chunk);
        ck_assert_msg(built_graph_take(&there, chunk, bytes, &error) == OMEN_OK, "%s", error.text);
        ck_assert_uint_eq(there.graph.counts[3], 2);
        ck_assert_uint_eq(there.graph.links[3 * 32], graph.head.total - 1);
        ck_assert_uint_eq(there.graph.links[3 * 32 + 1], 0);
        ck_assert(!built_graph_whole(&there));
        built_graph_fini(&there);
        built_graph_fini(&graph);
    }
}
END_TEST

static void
reseal(size_t bytes)
{
    const uint64_t hash = hash_bytes(chunk + 8, bytes - 8);
    memcpy(chunk, &hash, sizeof hash);
}

START_TEST(chunks_that_are_none_are_refused_and_say_why)
{
    struct built_rows rows = {0};
    struct built_graph graph, there = {0};
    size_t bytes;
#define REFUSED(call, status_, what)                                                               \
    do {                                                                                           \
        ck_assert_int_eq((call), status_);                                                         \
        ck_assert_msg(strstr(error.text, what) != NULL, "'%s' lacks '%s'", error.text, what);      \
    } while (0)
#define CHANGED(at, value, status_, what)                                                          \
    do {                                                                                           \
        bytes = rows_chunk(100, 0, 40);                                                            \
        chunk[at] = (uint8_t)(value);                                                              \
        reseal(bytes);                                                                             \
        REFUSED(built_rows_take(&rows, chunk, bytes, &error), status_, what);                      \
    } while (0)
    bytes = rows_chunk(100, 0, 40);
    REFUSED(built_rows_take(&rows, chunk, BUILT_HEAD_BYTES - 1, &error), OMEN_E_CORRUPT, "length");
    REFUSED(built_rows_take(&rows, chunk, BUILT_CHUNK_BYTES + 1, &error), OMEN_E_CORRUPT, "length");
    REFUSED(built_rows_take(&rows, chunk, bytes - 1, &error), OMEN_E_CORRUPT, "checksum");
    chunk[60] ^= 1;
    REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CORRUPT, "checksum");
    CHANGED(8, 'x', OMEN_E_CORRUPT, "another sort");
    CHANGED(12, 2, OMEN_E_VERSION, "version 2");
    CHANGED(14, 5, OMEN_E_CORRUPT, "what rows are");
    CHANGED(15, 8, OMEN_E_CORRUPT, "what rows are");
    CHANGED(16, 3, OMEN_E_CORRUPT, "what rows are");
    CHANGED(40, 39, OMEN_E_CORRUPT, "which rows");
    CHANGED(43, 0x80, OMEN_E_CORRUPT, "which rows");
    CHANGED(44, 61, OMEN_E_CORRUPT, "which rows");
    CHANGED(48, 0, OMEN_E_CORRUPT, "which rows");
    CHANGED(48, 41, OMEN_E_CORRUPT, "rows' length");
    CHANGED(50, 0xff, OMEN_E_CORRUPT, "which rows");
    CHANGED(52, 1, OMEN_E_CORRUPT, "rows' length");
    CHANGED(BUILT_HEAD_BYTES + 40 * 8 + 3, 0x7f, OMEN_E_CORRUPT, "number"); // 0x7f80...: not finite
    // (the byte before makes it infinite)
    REFUSED(built_graph_take(&there, chunk, bytes, &error), OMEN_E_CORRUPT, "another sort");
    ck_assert_ptr_null(rows.keys);

    build(&graph);
    const uint32_t counts_at = BUILT_HEAD_BYTES + ROWS * 8, links_at = counts_at + ROWS;
#define CHANGED_LINKS(at, value, what)                                                             \
    do {                                                                                           \
        bytes = built_graph_write(&graph, 0, chunk);                                               \
        chunk[at] = (uint8_t)(value);                                                              \
        reseal(bytes);                                                                             \
        REFUSED(built_graph_take(&there, chunk, bytes, &error), OMEN_E_CORRUPT, what);             \
    } while (0)
    CHANGED_LINKS(counts_at, 33, "too many links");
    CHANGED_LINKS(counts_at, chunk[counts_at] - 1, "links' length");
    CHANGED_LINKS(52, 4, "links' length");
    CHANGED_LINKS(links_at + 2, 0xff, "a link that is none");
    bytes = built_graph_write(&graph, 0, chunk);
    memcpy(chunk + links_at + 3, chunk + links_at, 3); // one link twice
    reseal(bytes);
    REFUSED(built_graph_take(&there, chunk, bytes, &error), OMEN_E_CORRUPT, "a link that is none");
    bytes = built_graph_write(&graph, 0, chunk);
    memset(chunk + links_at, 0, 3); // row 0 leads to itself
    reseal(bytes);
    REFUSED(built_graph_take(&there, chunk, bytes, &error), OMEN_E_CORRUPT, "a link that is none");
    ck_assert_ptr_null(there.keys);
    built_graph_fini(&graph);
}
END_TEST

START_TEST(chunks_of_other_builds_and_out_of_turn_are_refused)
{
    struct built_rows rows = {0};
    size_t bytes = rows_chunk(100, 10, 20);
    REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CONFLICT, "begins with row 10");
    bytes = rows_chunk(100, 0, 20);
    ck_assert_int_eq(built_rows_take(&rows, chunk, bytes, &error), OMEN_OK);
    bytes = rows_chunk(100, 30, 20);
    REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CONFLICT,
            "begins with row 30, not with row 20");
    bytes = rows_chunk(100, 10, 20); // half of it again
    REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CONFLICT, "not with row 20");
    bytes = rows_chunk(101, 20, 20);
    REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CONFLICT, "another build");
    static const uint32_t others[] = {24, 32}; // the seed, the entry
    for (uint32_t i = 0; i < 2; i++) {
        bytes = rows_chunk(100, 20, 20);
        chunk[others[i]] ^= 1;
        reseal(bytes);
        REFUSED(built_rows_take(&rows, chunk, bytes, &error), OMEN_E_CONFLICT, "another build");
    }
    bytes = rows_chunk(100, 20, 80);
    ck_assert_int_eq(built_rows_take(&rows, chunk, bytes, &error), OMEN_OK);
    ck_assert(built_rows_whole(&rows));
    built_rows_fini(&rows);
    built_rows_fini(&rows); // zeros
}
END_TEST

static int
stop(void *context, uint64_t done, uint64_t total)
{
    ck_assert_uint_le(done, total);
    return ++*(int *)context > 0;
}

START_TEST(a_build_that_is_cancelled_leaves_the_rows)
{
    struct built_rows rows;
    struct built_graph graph;
    int calls = 0;
    const struct built_work work = {.threads = 1, .progress = stop, .context = &calls};
    take_all(&rows, 3 * ROWS);
    ck_assert_int_eq(built_graph_make(&rows, &work, &graph), OMEN_E_CANCELLED);
    ck_assert_ptr_null(graph.keys);
    ck_assert(built_rows_whole(&rows));
    ck_assert_uint_eq(rows.keys[5], mix64(5));
    built_rows_fini(&rows);
}
END_TEST

static Suite *
built_suite(void)
{
    Suite *suite = suite_create("built");
    TCase *tcase = tcase_create("built");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, rows_come_as_they_were_sent_and_a_chunk_is_full);
    tcase_add_test(tcase, a_graph_comes_as_it_was_built);
    tcase_add_test(tcase, numbers_of_many_rows_have_four_bytes);
    tcase_add_test(tcase, chunks_that_are_none_are_refused_and_say_why);
    tcase_add_test(tcase, chunks_of_other_builds_and_out_of_turn_are_refused);
    tcase_add_test(tcase, a_build_that_is_cancelled_leaves_the_rows);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(built_suite)
