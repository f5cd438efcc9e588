// tests/faults/test_short_memory.c -- the n-th allocation of every call on a path fails, for every n: an error, and nothing
// acknowledged is lost.
//
// Labels: faults
//
// Each call begins from a copy of the same file, so that an n costs two openings and not a whole story. Memory is short from
// the n-th allocation on, or for that one only: then whoever goes on without must do it well. Threads of the index meet
// it too. OMEN_FAULTS=2 takes every n.
#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/file_copy.h"
#include "tests/lib/folder.h"

enum short_kind { SHORT_FROM_N, SHORT_AT_N };
enum short_base { BASE_NONE, BASE_SMALL, BASE_GRAPH, BASES };

static struct folder folder;
static char path[320], spare[320], kept[BASES][320];
static struct fault_world *world;
static struct model *models; // of each base
static omen_points_t points;
static uint64_t runs;

static void
remove_store(const char *where)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "swap.mdb", "data.mdb.tmp"};
    char file[400];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", where, names[i]);
        (void)unlink(file);
    }
    (void)rmdir(where);
}

static void
copy_store(const char *from, const char *to)
{
    char source[400], target[400];
    remove_store(to);
    ck_assert_int_eq(mkdir(to, 0777), 0);
    (void)snprintf(source, sizeof source, "%s/data.mdb", from);
    (void)snprintf(target, sizeof target, "%s/data.mdb", to);
    file_copy(source, target);
}

static void
make_base(enum short_base base, bool graph)
{
    fault_world_init(world, kept[base], 5);
    must(fault_world_open(world));
    must(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER));
    must(fault_step(world, graph ? FAULT_FIRST : FAULT_ADD));
    if (graph)
        must(fault_step(world, FAULT_CHECKPOINT));
    must(fault_step(world, FAULT_UPSERT));
    must(fault_step(world, FAULT_DELETE));
    must(fault_step(world, FAULT_PAYLOADS));
    must(fault_step(world, FAULT_ADD));
    omen_close(world->index);
    models[base] = world->now;
}

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(spare, sizeof spare, "%s", folder_path(&folder, "spare"));
    (void)snprintf(kept[BASE_NONE], sizeof kept[0], "%s", folder_path(&folder, "none"));
    (void)snprintf(kept[BASE_SMALL], sizeof kept[0], "%s", folder_path(&folder, "small"));
    (void)snprintf(kept[BASE_GRAPH], sizeof kept[0], "%s", folder_path(&folder, "graph"));
    world = malloc(sizeof *world);
    models = calloc(BASES, sizeof *models);
    make_base(BASE_SMALL, false);
    make_base(BASE_GRAPH, true);
}

static void
teardown(void)
{
    free(models);
    free(world);
    folder_fini(&folder);
}

// ---- the calls ----

static omen_status
call_first(void)
{
    return fault_step(world, FAULT_FIRST);
}

static omen_status
call_add(void)
{
    return fault_step(world, FAULT_ADD);
}

static omen_status
call_upsert(void)
{
    return fault_step(world, FAULT_UPSERT);
}

static omen_status
call_set_payloads(void)
{
    return fault_step(world, FAULT_PAYLOADS);
}

static omen_status
call_delete(void)
{
    return fault_step(world, FAULT_DELETE);
}

static omen_status
call_delete_where(void)
{
    const struct model_filter filter = {.low = 90};
    for (uint32_t i = 0; i < world->next.count;)
        if (model_match(&world->next.points[i], &filter))
            (void)model_remove(&world->next, world->next.points[i].id);
        else
            i++;
    const omen_status status = omen_delete_where(world->index, "age >= 90", NULL);
    if (status == OMEN_OK)
        world->now = world->next;
    return status;
}

static omen_status
call_field_index(void)
{
    return omen_field_index(world->index, "city", OMEN_FIELD_KEYWORD);
}

static omen_status
call_flush(void)
{
    return fault_step(world, FAULT_CHECKPOINT);
}

static omen_status
call_compact(void)
{
    return fault_step(world, FAULT_COMPACT);
}

static omen_status
call_copy(void)
{
    return omen_copy(world->index, spare);
}

static omen_status
query(const char *filter, int exact)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    uint64_t ids[10];
    uint32_t found;
    options.filter = filter;
    options.exact = exact;
    const omen_status status =
        omen_query(world->index, world->now.points[3].vector, &options, ids, NULL, &found);
    if (status == OMEN_OK)
        ck_assert_uint_gt(found, 0);
    if (status == OMEN_OK && filter == NULL)
        ck_assert_uint_eq(ids[0], world->now.points[3].id);
    return status;
}

static omen_status
call_query(void)
{
    return query(NULL, 0);
}

static omen_status
call_query_exact(void)
{
    return query(NULL, 1);
}

static omen_status
call_query_filtered(void)
{
    return query("age > 20 and city == 'Oslo'", 0);
}

static omen_status
call_range(void)
{
    return omen_range(world->index, world->now.points[3].vector, 0.3f, NULL, &points);
}

static omen_status
call_get(void)
{
    const uint64_t ids[3] = {world->now.points[1].id, 2000, world->now.points[2].id};
    return omen_get(world->index, ids, 3, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points);
}

static omen_status
call_scroll(void)
{
    uint64_t cursor = 0;
    return omen_scroll(world->index, "age > 10", OMEN_WITH_PAYLOAD, 30, &cursor, &points);
}

static omen_status
call_count(void)
{
    uint64_t count;
    return omen_count(world->index, "city == 'Bergen'", &count);
}

static omen_status
call_verify(void)
{
    return omen_verify(world->index);
}

static omen_status
call_recall(void)
{
    omen_recall recall = {.struct_size = sizeof recall};
    return omen_measure_recall(world->index, 5, NULL, &recall);
}

static const struct {
    const char *name;
    omen_status (*call)(void);
    enum short_base first; // it makes sense from this one on
} calls[] = {
    {"add", call_add, BASE_SMALL},
    {"first graph", call_first, BASE_SMALL},
    {"upsert", call_upsert, BASE_SMALL},
    {"set_payloads", call_set_payloads, BASE_SMALL},
    {"delete", call_delete, BASE_SMALL},
    {"delete_where", call_delete_where, BASE_SMALL},
    {"field_index", call_field_index, BASE_SMALL},
    {"flush", call_flush, BASE_SMALL},
    {"compact", call_compact, BASE_SMALL},
    {"copy", call_copy, BASE_SMALL},
    {"query", call_query, BASE_GRAPH},
    {"exact query", call_query_exact, BASE_SMALL},
    {"filtered query", call_query_filtered, BASE_SMALL},
    {"range", call_range, BASE_SMALL},
    {"get", call_get, BASE_SMALL},
    {"scroll", call_scroll, BASE_SMALL},
    {"count", call_count, BASE_SMALL},
    {"verify", call_verify, BASE_SMALL},
    {"recall", call_recall, BASE_GRAPH},
};
#define CALLS ((int)(sizeof calls / sizeof calls[0]))

static void
begin_shortage(enum short_kind kind, uint64_t n)
{
    if (kind == SHORT_FROM_N)
        mem_fail_after(n);
    else
        mem_fail_once(n);
}

// What is in the file, seen by a new handle, is what was acknowledged.
static void
check_file(const char *what, const char *where)
{
    omen_index_t index;
    omen_options options = world->options;
    options.path = where;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s: %s", what, omen_error_message());
    ck_assert_msg(fault_holds(index, &world->now), "%s: the file holds something else", what);
    ck_assert_msg(omen_verify(index) == OMEN_OK, "%s: %s", what, omen_error_message());
    omen_close(index);
}

static void
start_from(enum short_base base)
{
    runs++;
    remove_store(spare);
    remove_store(path);
    if (base != BASE_NONE)
        copy_store(kept[base], path);
    fault_world_init(world, path, 17);
    world->now = world->next = models[base];
}

static void
repeat(int which, const char *what)
{
    world->next = world->now;
    ck_assert_msg(calls[which].call() == OMEN_OK, "%s, again: %s", what, omen_error_message());
    omen_points_free(points);
    points = NULL;
    ck_assert_msg(fault_holds(world->index, &world->now), "%s, again", what);
}

// One call with memory short; true when it did not need as much.
static bool
run_call(int which, enum short_base base, enum short_kind kind, uint64_t n)
{
    char what[96];
    (void)snprintf(what, sizeof what, "%s, base %d, kind %d, n %d", calls[which].name, base, kind,
                   (int)n);
    start_from(base);
    must(fault_world_open(world));
    begin_shortage(kind, n);
    const omen_status status = calls[which].call();
    const bool enough = mem_refused() == 0;
    mem_fail_after(0);
    ck_assert_msg(status == OMEN_OK || (status == OMEN_E_NO_MEMORY && !enough), "%s: %d %s", what,
                  status, omen_error_message());
    ck_assert(status == OMEN_OK || points == NULL);
    omen_points_free(points);
    points = NULL;
    ck_assert_msg(fault_holds(world->index, &world->now), "%s: holds something else", what);
    if (status != OMEN_OK && n % 2 == 0)
        repeat(which, what);
    fault_check_search(world->index, &world->now, &world->prng);
    omen_close(world->index);
    check_file(what, path);
    if (calls[which].call == call_copy && (status == OMEN_OK || n % 2 == 0))
        check_file(what, spare);
    return enough;
}

static uint64_t
next_n(uint64_t n, struct prng *prng)
{
    return n + (faults_more() > 1 ? 1 : 1 + prng_below(prng, 2 * 16));
}

START_TEST(a_call_without_memory_changes_nothing)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (enum short_base base = calls[_i].first; base < BASES; base++)
        for (int kind = SHORT_FROM_N; kind <= SHORT_AT_N; kind++)
            for (uint64_t n = 1; !run_call(_i, base, (enum short_kind)kind, n);
                 n = next_n(n, &prng))
                ck_assert_uint_lt(n, 20000);
    printf("%s: %d runs\n", calls[_i].name, (int)runs);
}
END_TEST

// An opening with memory short; true when it did not need as much.
static bool
run_open(enum short_base base, int read_only, enum short_kind kind, uint64_t n)
{
    char what[96];
    (void)snprintf(what, sizeof what, "opening, base %d, reading %d, kind %d, n %d", base,
                   read_only, kind, (int)n);
    start_from(base);
    world->options.read_only = read_only;
    begin_shortage(kind, n);
    const omen_status status = fault_world_open(world);
    const bool enough = mem_refused() == 0;
    mem_fail_after(0);
    ck_assert_msg(status == OMEN_OK || (status == OMEN_E_NO_MEMORY && !enough), "%s: %d %s", what,
                  status, omen_error_message());
    if (status != OMEN_OK && n % 2 == 0)
        ck_assert_msg(fault_world_open(world) == OMEN_OK, "%s: %s", what, omen_error_message());
    if (world->index != NULL) {
        ck_assert_msg(fault_holds(world->index, &world->now), "%s: holds something else", what);
        if (read_only == 0)
            ck_assert_msg(fault_step(world, FAULT_UPSERT) == OMEN_OK, "%s: %s", what,
                          omen_error_message());
        fault_check_search(world->index, &world->now, &world->prng);
        omen_close(world->index);
    }
    world->options.read_only = 0;
    check_file(what, path);
    return enough;
}

START_TEST(an_opening_without_memory_leaves_the_file_as_it_was)
{
    struct prng prng;
    const enum short_base base = (enum short_base)(_i / 2);
    const int read_only = _i % 2;
    prng_init(&prng, (uint64_t)_i);
    if (base == BASE_NONE && read_only)
        return; // nothing to read
    for (int kind = SHORT_FROM_N; kind <= SHORT_AT_N; kind++)
        for (uint64_t n = 1; !run_open(base, read_only, (enum short_kind)kind, n);
             n = next_n(n, &prng))
            ck_assert_uint_lt(n, 20000);
    printf("opening %d: %d runs\n", _i, (int)runs);
}
END_TEST

// Linkers and the keeper work while writes come; they get no memory for a while, and finish when there is some.
START_TEST(threads_without_memory_go_on_when_there_is_some)
{
    const uint32_t rounds = faults_more() > 1 ? 60 : 6;
    for (uint32_t i = 0; i < rounds; i++) {
        start_from(i % 2 == 0 ? BASE_SMALL : BASE_GRAPH);
        world->options.threads = 3;
        must(fault_world_open(world));
        if (i % 2 == 0)
            must(fault_step(world, FAULT_FIRST)); // leaves rows to link
        begin_shortage(i % 4 < 2 ? SHORT_FROM_N : SHORT_AT_N, 1 + prng_below(&world->prng, 60));
        for (uint32_t step = 0; step < 6; step++) {
            const omen_status status = fault_step(world, step % 3 == 0   ? FAULT_CHECKPOINT
                                                         : step % 3 == 1 ? FAULT_UPSERT
                                                                         : FAULT_ADD);
            ck_assert_msg(status == OMEN_OK || status == OMEN_E_NO_MEMORY, "round %d: %d %s",
                          (int)i, status, omen_error_message());
            world->next = world->now;
        }
        mem_fail_after(0);
        must(fault_step(world, FAULT_UPSERT));
        must(fault_step(world, FAULT_CHECKPOINT));
        omen_statistics stats = {.struct_size = sizeof stats};
        must(omen_stats(world->index, &stats));
        ck_assert_uint_eq(stats.tail, 0);
        must(omen_verify(world->index));
        fault_check_search(world->index, &world->now, &world->prng);
        omen_close(world->index);
        check_file("after threads without memory", path);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("faults/short_memory");
    TCase *tcase = tcase_create("short");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, a_call_without_memory_changes_nothing, 0, CALLS);
    tcase_add_loop_test(tcase, an_opening_without_memory_leaves_the_file_as_it_was, 0, 2 * BASES);
    tcase_add_test(tcase, threads_without_memory_go_on_when_there_is_some);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
