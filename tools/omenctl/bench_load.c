// tools/omenctl/bench_load.c -- load for a running cluster.
//
// Shape: shell. A thread for each request in flight, which asks, waits, and asks again; so a time is that of one request and of
// its tries, as a program sees it.
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "tools/omenctl/bench.h"
#include "tools/omenctl/interrupt.h"

static bool
goes_on(const struct bench *bench)
{
    return !interrupt_came() && (bench->until_ns == 0 || os_clock_ns() < bench->until_ns);
}

// The next `wanted` of what there is to do; false where there is no more.
static bool
take(struct bench *bench, uint64_t wanted, uint64_t *first, uint32_t *count)
{
    if (!goes_on(bench))
        return false;
    *first = atomic_fetch_add(&bench->next, wanted);
    if (*first >= bench->count)
        return false;
    const uint64_t left = bench->count - *first;
    *count = (uint32_t)(left < wanted ? left : wanted);
    return true;
}

static void
note(struct bench_worker *worker, omen_status status, const struct client_error *error,
     uint64_t begun_ns)
{
    worker->requests++;
    if (status == OMEN_OK) {
        latency_note(&worker->latency, os_clock_ns() - begun_ns);
        return;
    }
    if (worker->first.status == OMEN_OK)
        worker->first = *error;
    worker->failed[status >= -128 && status < 0 ? -status : 128]++;
}

static struct client *
client_of(const struct bench *bench, uint32_t worker)
{
    return bench->clients[worker % bench->client_count];
}

// ---- search ----

static omen_status
search(struct bench *bench, struct client *client, uint64_t number, bool exact,
       struct client_reply *reply, struct api_hits *hits, struct client_error *error)
{
    struct api_query_search ask = bench->effort;
    const uint32_t at = (uint32_t)(number % bench->query_count);
    ask.vector = (struct wire_vectors){
        .form = VECTORS_RAW,
        .dtype = WIRE_F32,
        .count = bench->dimension,
        .bytes = {(const uint8_t *)(bench->queries + (size_t)at * bench->dimension),
                  bench->dimension * (uint32_t)sizeof(float)}};
    ask.exact = exact || ask.exact;
    return client_call_method(client, METHOD_QUERY_SEARCH, &ask, reply, hits, error);
}

static void
search_on(void *context, uint32_t index, uint32_t thread)
{
    struct bench *bench = context;
    struct bench_worker *worker = &bench->workers[index];
    uint64_t number;
    uint32_t one;
    (void)thread;
    while (take(bench, 1, &number, &one)) {
        struct client_reply reply = {0};
        struct client_error error;
        struct api_hits hits;
        const uint64_t begun_ns = os_clock_ns();
        const omen_status status =
            search(bench, client_of(bench, index), number, false, &reply, &hits, &error);
        note(worker, status, &error, begun_ns);
        client_reply_fini(&reply);
    }
}

// ---- upsert ----

struct batch {
    struct wire_id *ids;
    uint8_t *vectors;
    size_t row_bytes;
    struct api_point_upsert ask;
};

static bool
batch_init(struct batch *batch, const struct bench *bench)
{
    *batch = (struct batch){.row_bytes = bench->dimension * wire_dtype_bytes(bench->dtype)};
    if (bench->dtype == WIRE_F16 || bench->dtype == WIRE_BF16)
        batch->row_bytes = bench->dimension * sizeof(float); // given as floats
    batch->ids = mem_alloc(bench->batch * sizeof *batch->ids);
    batch->vectors = mem_alloc(bench->batch * batch->row_bytes);
    return batch->ids != NULL && batch->vectors != NULL;
}

static void
batch_fini(struct batch *batch)
{
    mem_free(batch->ids);
    mem_free(batch->vectors);
}

static bool
is_of_integers(const struct bench *bench)
{
    return bench->dtype == WIRE_I8 || bench->dtype == WIRE_U8;
}

static void
fill_row(const struct bench *bench, uint8_t *row, uint64_t number)
{
    struct prng prng;
    prng_init(&prng, bench->seed + number);
    for (uint32_t i = 0; i < bench->dimension; i++) {
        if (is_of_integers(bench)) {
            row[i] = (uint8_t)(1 + prng_below(&prng, 127));
        } else {
            const float component = prng_unit(&prng) - 0.5f;
            memcpy(row + i * sizeof component, &component, sizeof component);
        }
    }
}

static void
batch_fill(struct batch *batch, const struct bench *bench, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        batch->ids[i] = (struct wire_id){.given = 1, .number = bench->first_id + first + i};
        fill_row(bench, batch->vectors + i * batch->row_bytes, first + i);
    }
    batch->ask = (struct api_point_upsert){
        .collection = wire_text_of(bench->collection),
        .ids = {.count = count, .items = batch->ids},
        .vectors = {.form = VECTORS_RAW,
                    .dtype = is_of_integers(bench) ? bench->dtype : WIRE_F32,
                    .count = count * bench->dimension,
                    .bytes = {batch->vectors, (uint32_t)(count * batch->row_bytes)}}};
}

static void
upsert_on(void *context, uint32_t index, uint32_t thread)
{
    struct bench *bench = context;
    struct bench_worker *worker = &bench->workers[index];
    struct batch batch;
    uint64_t first;
    uint32_t count;
    (void)thread;
    const bool room = batch_init(&batch, bench);
    if (!room)
        note(worker, client_fail(&worker->first, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory"),
             &worker->first, 0);
    while (room && take(bench, bench->batch, &first, &count)) {
        struct client_reply reply = {0};
        struct client_error error;
        struct api_written written;
        batch_fill(&batch, bench, first, count);
        const uint64_t begun_ns = os_clock_ns();
        const omen_status status = client_call_method(client_of(bench, index), METHOD_POINT_UPSERT,
                                                      &batch.ask, &reply, &written, &error);
        note(worker, status, &error, begun_ns);
        if (status == OMEN_OK)
            worker->points += written.count;
        client_reply_fini(&reply);
    }
    batch_fini(&batch);
}

// ---- both ----

static void
add_up(struct bench *bench)
{
    for (uint32_t w = 0; w < bench->flight; w++) {
        const struct bench_worker *worker = &bench->workers[w];
        latency_add(&bench->all.latency, &worker->latency);
        bench->all.requests += worker->requests;
        bench->all.points += worker->points;
        for (uint32_t i = 0; i < BENCH_STATUSES; i++)
            bench->all.failed[i] += worker->failed[i];
        if (bench->all.first.status == OMEN_OK)
            bench->all.first = worker->first;
    }
}

static omen_status
run(struct bench *bench, void (*on)(void *context, uint32_t index, uint32_t thread))
{
    bench->workers = mem_alloc_zero(bench->flight, sizeof *bench->workers);
    if (bench->workers == NULL)
        return OMEN_E_NO_MEMORY;
    const uint64_t begun_ns = os_clock_ns();
    bench->until_ns = bench->most_ns > 0 ? begun_ns + bench->most_ns : 0;
    pool_run(bench->flight, bench->flight, on, bench);
    bench->seconds = (double)(os_clock_ns() - begun_ns) / 1e9;
    add_up(bench);
    return OMEN_OK;
}

omen_status
bench_search(struct bench *bench)
{
    return run(bench, search_on);
}

omen_status
bench_upsert(struct bench *bench)
{
    return run(bench, upsert_on);
}

omen_status
bench_undo(struct bench *bench, struct client_error *error)
{
    const uint64_t taken = atomic_load(&bench->next);
    const uint64_t end = taken < bench->count ? taken : bench->count;
    struct wire_id *ids = mem_alloc(WIRE_BATCH_MAX * sizeof *ids);
    omen_status status = OMEN_OK;
    if (ids == NULL)
        return client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory");
    for (uint64_t at = 0; at < end && status == OMEN_OK;) {
        const uint32_t count = (uint32_t)(end - at < WIRE_BATCH_MAX ? end - at : WIRE_BATCH_MAX);
        struct client_reply reply = {0};
        struct api_written written;
        for (uint32_t i = 0; i < count; i++)
            ids[i] = (struct wire_id){.given = 1, .number = bench->first_id + at + i};
        const struct api_point_delete ask = {.collection = wire_text_of(bench->collection),
                                             .ids = {.count = count, .items = ids}};
        status = client_call_method(bench->clients[0], METHOD_POINT_DELETE, &ask, &reply, &written,
                                    error);
        client_reply_fini(&reply);
        at += count;
    }
    mem_free(ids);
    return status;
}

// ---- recall ----

// One number for an id, whichever kind it is.
static uint64_t
number_of(const struct wire_id *id)
{
    return id->text_bytes > 0 ? hash_id_text(id->text, id->text_bytes) : id->number;
}

// The ids of the hits, at most `room`.
static omen_status
ask_ids(struct bench *bench, uint64_t number, bool exact, uint64_t *ids, uint32_t room,
        uint32_t *count, struct client_error *error)
{
    struct client_reply reply = {0};
    struct api_hits hits = {.warnings = 0};
    struct list_cursor cursor;
    struct api_hit hit;
    *count = 0;
    const omen_status status =
        search(bench, bench->clients[0], number, exact, &reply, &hits, error);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits.hits);
    while (status == OMEN_OK && *count < room && list_next(&cursor, &hit))
        ids[(*count)++] = number_of(&hit.id);
    client_reply_fini(&reply);
    return status;
}

static uint32_t
common(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < a_count; i++)
        for (uint32_t j = 0; j < b_count; j++)
            found += a[i] == b[j];
    return found;
}

omen_status
bench_recall(struct bench *bench, uint32_t count, double *recall, struct client_error *error)
{
    const uint32_t k = bench->effort.k;
    uint64_t found = 0, there = 0;
    uint64_t *ids = mem_alloc(2 * (size_t)k * sizeof *ids);
    omen_status status = OMEN_OK;
    if (ids == NULL)
        return client_fail(error, OMEN_E_NO_MEMORY, API_NOT_APPLIED, "no memory");
    for (uint32_t i = 0; i < count && status == OMEN_OK; i++) {
        uint32_t exact = 0, got = 0;
        status = ask_ids(bench, i, true, ids, k, &exact, error);
        if (status == OMEN_OK)
            status = ask_ids(bench, i, false, ids + k, k, &got, error);
        found += common(ids, exact, ids + k, got);
        there += exact;
    }
    mem_free(ids);
    *recall = there > 0 ? (double)found / (double)there : 1;
    return status;
}
