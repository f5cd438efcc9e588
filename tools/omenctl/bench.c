// tools/omenctl/bench.c -- omenctl bench: how much a running cluster does, and how fast.
//
// Shape: shell. bench_load.c makes the load.
#include "tools/omenctl/bench.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "index/vector.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/source.h"

#define QUERIES_MAX 10000u
#define QUERIES_OWN 256u     // of the collection's points, where no file says others
#define FLIGHTS_A_CLIENT 16u // a connection takes so many at a time without waiting
#define SECONDS_DEFAULT 10.0
#define FIRST_ID_DEFAULT (UINT64_C(1) << 62) // where nobody's points are, one hopes
#define NS_PER_S 1e9

#define LOAD_OPTIONS                                                                               \
    {.name = "count", .argument = "N", .help = "end after so many"},                               \
        {.name = "seconds", .argument = "S", .help = "end after so long (10, without --count)"},   \
    {                                                                                              \
        .name = "in-flight", .argument = "N", .help = "requests at a time, 1..256 (8)"             \
    }

const struct option_spec bench_search_options[] = {
    LOAD_OPTIONS,
    {.name = "queries",
     .is_path = true,
     .argument = "FILE",
     .help = "vectors to search with: npy, fvecs, bvecs, fbin, u8bin (points of the collection)"},
    {.name = "k", .letter = 'k', .argument = "N", .help = "how many hits, 1..10000 (10)"},
    {.name = "ef", .argument = "N", .help = "how far to look, 1..10000"},
    {.name = "target-recall",
     .argument = "R",
     .help = "look as far as this recall needs, 0.5..0.9999"},
    {.name = "filter", .argument = "TEXT", .help = "only points that match"},
    {.name = "exact", .help = "compare with every vector"},
    {.name = "recall",
     .argument = "N",
     .help = "compare N queries with exact searches afterwards (100; 0: none)"},
    {0},
};
const struct option_spec bench_upsert_options[] = {
    LOAD_OPTIONS,
    {.name = "batch", .argument = "N", .help = "points of a request, 1..10000 (100)"},
    {.name = "first-id", .argument = "N", .help = "the id of the first point (2^62)"},
    {.name = "seed", .argument = "N", .help = "of the vectors (0)"},
    {.name = "keep", .help = "leave the points there; else they are deleted afterwards"},
    {0},
};

// ---- before ----

static enum exit_code
read_load(struct bench *bench)
{
    struct call *call = bench->call;
    double seconds = call_has(call, "count") ? 0 : SECONDS_DEFAULT;
    bench->flight = 8;
    bench->count = UINT64_MAX;
    bench->collection = call->arguments[0];
    if (!call_u64(call, "count", UINT64_MAX / 2, &bench->count) ||
        !call_number(call, "seconds", 0.01, 86400, &seconds) ||
        !call_u32(call, "in-flight", 1, BENCH_FLIGHT_MAX, &bench->flight))
        return EXIT_USAGE;
    bench->most_ns = (uint64_t)(seconds * NS_PER_S);
    return remote_timeout(call, &bench->timeout_ms);
}

// As the collection is.
static enum exit_code
open_clients(struct bench *bench)
{
    struct call *call = bench->call;
    const struct api_of_collection ask = {.collection = wire_text_of(bench->collection)};
    struct api_collection collection = {.dimension = 0};
    struct client_reply reply = {0};
    enum exit_code code = EXIT_FINE;
    const uint32_t wanted = (bench->flight + FLIGHTS_A_CLIENT - 1) / FLIGHTS_A_CLIENT;
    while (bench->client_count < wanted && code == EXIT_FINE) {
        code = remote_open(call, &bench->clients[bench->client_count]);
        bench->client_count += code == EXIT_FINE;
    }
    if (code == EXIT_FINE)
        code =
            remote_ask(call, bench->clients[0], METHOD_COLLECTION_GET, &ask, &reply, &collection);
    bench->dimension = collection.dimension;
    bench->dtype = collection.dtype;
    client_reply_fini(&reply);
    return code;
}

static void
bench_fini(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->client_count; i++)
        client_close(bench->clients[i]);
    mem_free(bench->queries);
    mem_free(bench->workers);
}

// ---- queries ----

static enum exit_code
queries_of_file(struct bench *bench, const char *path)
{
    struct omen_error error = {0};
    struct source source;
    if (source_open(path, ROWS_FORMATS, &source, &error) != OMEN_OK)
        return call_fail_error(bench->call, "--queries", &error);
    const struct rows *rows = &source.rows;
    const uint32_t count = rows->count < QUERIES_MAX ? (uint32_t)rows->count : QUERIES_MAX;
    const size_t dense = rows->dimension * vector_type_bytes(rows->type);
    enum exit_code code = EXIT_FINE;
    if (rows->dimension != bench->dimension || count == 0)
        code = call_fail(bench->call, EXIT_PRECONDITION,
                         "--queries has %u rows of %u components, the collection has %u", count,
                         rows->dimension, bench->dimension);
    uint8_t *raw = code == EXIT_FINE ? mem_alloc(count * (size_t)rows->row_bytes) : NULL;
    bench->queries = code == EXIT_FINE ? mem_alloc(count * bench->dimension * sizeof(float)) : NULL;
    if (code == EXIT_FINE && (raw == NULL || bench->queries == NULL))
        code = call_fail(bench->call, EXIT_OTHER, "no memory");
    if (code == EXIT_FINE && source_read(&source, count, raw, &error) != OMEN_OK)
        code = call_fail_error(bench->call, "--queries", &error);
    for (uint32_t i = 0; i < count && code == EXIT_FINE; i++)
        vector_to_f32(rows->type, raw + i * dense, bench->dimension,
                      bench->queries + (size_t)i * bench->dimension);
    bench->query_count = count;
    mem_free(raw);
    source_close(&source);
    return code;
}

static void
random_queries(struct bench *bench)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (size_t i = 0; i < (size_t)QUERIES_OWN * bench->dimension; i++)
        bench->queries[i] = prng_unit(&prng) + 0.01f;
    bench->query_count = QUERIES_OWN;
}

// Points of the collection; where there are none, anything.
static enum exit_code
queries_of_points(struct bench *bench)
{
    const struct api_point_scroll ask = {.collection = wire_text_of(bench->collection),
                                         .deadline_ms = bench->timeout_ms,
                                         .limit = QUERIES_OWN,
                                         .with = API_WITH_VECTOR};
    struct client_reply reply = {0};
    struct api_page page = {.token = {0}};
    struct list_cursor cursor;
    struct api_point point;
    bench->queries = mem_alloc(QUERIES_OWN * (size_t)bench->dimension * sizeof(float));
    if (bench->queries == NULL)
        return call_fail(bench->call, EXIT_OTHER, "no memory");
    const enum exit_code code =
        remote_ask(bench->call, bench->clients[0], METHOD_POINT_SCROLL, &ask, &reply, &page);
    list_begin(&cursor, shape_field(&api_page, "points"), &page.points);
    while (code == EXIT_FINE && bench->query_count < QUERIES_OWN && list_next(&cursor, &point)) {
        if (point.vector.form != VECTORS_RAW || point.vector.count != bench->dimension)
            continue;
        vector_to_f32((enum vector_type)point.vector.dtype, point.vector.bytes.bytes,
                      bench->dimension,
                      bench->queries + (size_t)bench->query_count++ * bench->dimension);
    }
    client_reply_fini(&reply);
    if (code == EXIT_FINE && bench->query_count == 0)
        random_queries(bench);
    return code;
}

// ---- what came of it ----

static double
milliseconds(const struct latency *latency, double share)
{
    return round((double)latency_ns(latency, share) / 1e3) / 1e3;
}

static void
add_failures(const struct bench *bench, struct doc *doc, struct doc_node *root)
{
    struct doc_node *list = NULL;
    for (uint32_t i = 0; i < BENCH_STATUSES; i++) {
        if (bench->all.failed[i] == 0)
            continue;
        if (list == NULL)
            list = doc_list(doc, root, "errors");
        struct doc_node *row = doc_map(doc, list, NULL);
        doc_text(doc, row, "error", i == 128 ? "UNREACHABLE" : status_name(-(omen_status)i));
        doc_uint(doc, row, "count", bench->all.failed[i]);
    }
}

static uint64_t
failures(const struct bench *bench)
{
    return bench->all.requests - bench->all.latency.count;
}

// `recall` is negative where it is not known.
static enum exit_code
show(const struct bench *bench, double recall)
{
    const struct call *call = bench->call;
    const struct latency *latency = &bench->all.latency;
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    struct doc_node *root = doc_root(doc);
    const double per_second = bench->seconds > 0 ? 1 / bench->seconds : 0;
    doc_text(doc, root, "collection", bench->collection);
    doc_text(doc, root, "load", call->verb->name);
    doc_uint(doc, root, "in_flight", bench->flight);
    doc_double(doc, root, "seconds", round(bench->seconds * 1000) / 1000);
    doc_uint(doc, root, "requests", bench->all.requests);
    doc_uint(doc, root, "failed", failures(bench));
    doc_double(doc, root, "qps", round((double)latency->count * per_second * 10) / 10);
    if (bench->batch > 0) {
        doc_uint(doc, root, "points", bench->all.points);
        doc_double(doc, root, "points_per_second",
                   round((double)bench->all.points * per_second * 10) / 10);
    }
    if (latency->count > 0) {
        doc_double(doc, root, "p50_ms", milliseconds(latency, 0.5));
        doc_double(doc, root, "p99_ms", milliseconds(latency, 0.99));
        doc_double(doc, root, "p999_ms", milliseconds(latency, 0.999));
        doc_double(doc, root, "max_ms", milliseconds(latency, 1));
    }
    if (recall >= 0)
        doc_double(doc, root, "recall", round(recall * 10000) / 10000);
    add_failures(bench, doc, root);
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

// What failed in part is 8; where nothing went well, it is what was wrong with the first.
static enum exit_code
judge(const struct bench *bench)
{
    if (failures(bench) == 0)
        return EXIT_FINE;
    if (bench->all.latency.count == 0)
        return remote_fail(bench->call, "all requests failed, the first", &bench->all.first);
    return call_fail(bench->call, EXIT_PARTIAL, "%llu of %llu requests failed, the first: %s: %s",
                     (unsigned long long)failures(bench), (unsigned long long)bench->all.requests,
                     bench->all.first.name, bench->all.first.text);
}

// ---- search ----

static enum exit_code
read_effort(struct bench *bench, uint32_t *recall_count)
{
    struct call *call = bench->call;
    struct api_query_search *effort = &bench->effort;
    const char *filter = call_value(call, "filter");
    effort->collection = wire_text_of(bench->collection);
    effort->deadline_ms = bench->timeout_ms;
    effort->k = 10;
    effort->exact = call_has(call, "exact");
    if (filter != NULL)
        effort->filter = (struct wire_filter){FILTER_FORM_TEXT,
                                              {(const uint8_t *)filter, (uint32_t)strlen(filter)}};
    return call_u32(call, "k", 1, TOPK_MAX, &effort->k) &&
                   call_u32(call, "ef", 1, BEAM_MAX, &effort->ef) &&
                   call_number(call, "target-recall", 0.5, 0.9999, &effort->target_recall) &&
                   call_u32(call, "recall", 0, QUERIES_MAX, recall_count)
               ? EXIT_FINE
               : EXIT_USAGE;
}

static enum exit_code
search(struct bench *bench)
{
    struct client_error error;
    uint32_t recall_count = 100;
    double recall = -1;
    const char *path = call_value(bench->call, "queries");
    enum exit_code code = read_load(bench);
    if (code == EXIT_FINE)
        code = read_effort(bench, &recall_count);
    if (code == EXIT_FINE)
        code = open_clients(bench);
    if (code == EXIT_FINE)
        code = path != NULL ? queries_of_file(bench, path) : queries_of_points(bench);
    if (code != EXIT_FINE)
        return code;
    interrupt_watch();
    if (bench_search(bench) != OMEN_OK)
        return call_fail(bench->call, EXIT_OTHER, "no memory");
    if (recall_count > bench->query_count)
        recall_count = bench->query_count;
    if (recall_count > 0 && failures(bench) == 0 && !interrupt_came() &&
        bench_recall(bench, recall_count, &recall, &error) != OMEN_OK) {
        call_talk(bench->call, "recall is not known: %s: %s", error.name, error.text);
        recall = -1;
    }
    code = show(bench, recall);
    return code == EXIT_FINE ? judge(bench) : code;
}

// ---- upsert ----

static enum exit_code
upsert(struct bench *bench)
{
    struct call *call = bench->call;
    struct client_error error;
    enum exit_code code = read_load(bench);
    bench->batch = 100;
    bench->first_id = FIRST_ID_DEFAULT;
    if (code == EXIT_FINE && (!call_u32(call, "batch", 1, WIRE_BATCH_MAX, &bench->batch) ||
                              !call_u64(call, "first-id", ID_MAX, &bench->first_id) ||
                              !call_u64(call, "seed", UINT64_MAX, &bench->seed)))
        code = EXIT_USAGE;
    if (code != EXIT_FINE)
        return code;
    const uint64_t ids = ID_MAX - bench->first_id + 1; // that there are from there on
    if (bench->count != UINT64_MAX && bench->count > ids)
        return call_fail(call, EXIT_USAGE, "--first-id is so large that ids would pass 2^63-1");
    bench->count = bench->count < ids ? bench->count : ids;
    code = call->dry_run
               ? EXIT_FINE
               : call_confirm(call, "write points into the collection %s?", bench->collection);
    if (code == EXIT_FINE)
        code = open_clients(bench);
    if (code != EXIT_FINE || call->dry_run)
        return code != EXIT_FINE ? code : show(bench, -1);
    interrupt_watch();
    if (bench_upsert(bench) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    code = show(bench, -1);
    if (!call_has(call, "keep") && bench_undo(bench, &error) != OMEN_OK)
        return remote_fail(call, "the points could not be deleted again", &error);
    return code == EXIT_FINE ? judge(bench) : code;
}

// ---- either ----

static enum exit_code
run(struct call *call, enum exit_code (*job)(struct bench *bench))
{
    struct bench *bench = mem_alloc_zero(1, sizeof *bench);
    if (bench == NULL)
        return call_fail(call, EXIT_OTHER, "no memory");
    bench->call = call;
    const enum exit_code code = job(bench);
    bench_fini(bench);
    mem_free(bench);
    return code;
}

enum exit_code
bench_search_run(struct call *call)
{
    return run(call, search);
}

enum exit_code
bench_upsert_run(struct call *call)
{
    return run(call, upsert);
}
