// shard/omendb.c -- the public C ABI: checks handles and pointers, fits option structs, keeps the last error.
//
// Shape: shell. Decides nothing; include/omendb.h says what each call does.
//
// Structs grow at their ends. A shorter one comes from a program built with an older header: what it does not have
// takes the default. A longer one comes from a newer header: it is taken as long as everything that this library
// does not know is zero, because a setting that is ignored silently is worse than one that is refused.
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "shard/shard.h"

#define TEXT_OF(x) TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define PLAN_HITS 10u          // what omen_search answers
#define STRUCT_BYTES_MAX 4096u // no option struct will ever be as large: such a size was never set

// Ordinary thread-local storage: it is touched by failures and by nothing on the way of a search.
static _Thread_local struct omen_error last_error;

static struct shard *
shard_of(omen_index_t index)
{
    return (struct shard *)(void *)index;
}

static struct points *
points_of(omen_points_t points)
{
    return (struct points *)(void *)points;
}

static omen_status
refuse_null(const char *what)
{
    return error_set(&last_error, OMEN_E_INVALID, "%s is NULL", what);
}

// For calls that may wait for another thread: in a process that was forked there is none.
static omen_status
check_own(omen_index_t index)
{
    if (index == NULL)
        return refuse_null("index");
    return !shard_inherited(shard_of(index))
               ? OMEN_OK
               : error_set(
                     &last_error, OMEN_E_INVALID,
                     "opened before a fork: the child may search it, and must open for itself "
                     "what it writes");
}

// A build whose progress function this thread is in; in it there may be another's.
struct watched {
    int (*progress)(void *context, uint64_t linked, uint64_t total);
    void *context;
    omen_index_t index;
    const struct watched *outer;
};

static _Thread_local const struct watched *watching;

static int
tell_progress(void *context, uint64_t linked, uint64_t total)
{
    struct watched *watched = context;
    watched->outer = watching;
    watching = watched;
    const int stop = watched->progress(watched->context, linked, total);
    watching = watched->outer;
    return stop;
}

// For calls that wait for a build to end, which would wait for this call.
static omen_status
check_outside_build(omen_index_t index)
{
    for (const struct watched *at = watching; at != NULL; at = at->outer)
        if (at->index == index)
            return error_set(&last_error, OMEN_E_INVALID,
                             "called by the progress function of a build, which it would wait for");
    return check_own(index);
}

// Takes `given`, whose struct_size says how much of it there is, over the defaults in `full`.
static omen_status
fit_struct(void *full, size_t full_bytes, const void *given, const char *name)
{
    size_t bytes;
    memcpy(&bytes, given, sizeof bytes);
    if (bytes <= sizeof bytes || bytes > STRUCT_BYTES_MAX)
        return error_set(&last_error, OMEN_E_INVALID,
                         "%s: struct_size is %zu; start from its _INIT macro", name, bytes);
    for (size_t i = full_bytes; i < bytes; i++)
        if (((const unsigned char *)given)[i] != 0)
            return error_set(&last_error, OMEN_E_UNSUPPORTED,
                             "%s: byte %zu is set, but this library knows only %zu bytes of it",
                             name, i, full_bytes);
    memcpy(full, given, bytes < full_bytes ? bytes : full_bytes);
    memcpy(full, &full_bytes, sizeof full_bytes);
    return OMEN_OK;
}

// The other way: as much of `full` as the caller has room for.
static void
give_struct(void *given, const void *full, size_t full_bytes)
{
    size_t bytes;
    memcpy(&bytes, given, sizeof bytes);
    memcpy(given, full, bytes < full_bytes ? bytes : full_bytes);
    if (bytes > full_bytes)
        memset((char *)given + full_bytes, 0, bytes - full_bytes);
    memcpy(given, &bytes, sizeof bytes);
}

static omen_status
check_out_struct(const void *given, const char *name)
{
    size_t bytes;
    memcpy(&bytes, given, sizeof bytes);
    if (bytes <= sizeof bytes || bytes > STRUCT_BYTES_MAX)
        return error_set(&last_error, OMEN_E_INVALID, "%s: set struct_size to its sizeof first",
                         name);
    return OMEN_OK;
}

const char *
omen_version(void)
{
    return TEXT_OF(OMENDB_VERSION_MAJOR) "." TEXT_OF(OMENDB_VERSION_MINOR) "." TEXT_OF(
        OMENDB_VERSION_PATCH);
}

const char *
omen_strerror(omen_status status)
{
    return status_text(status);
}

const char *
omen_error_message(void)
{
    return last_error.text;
}

// ---- the calls of the product plan ----

omen_index_t
omen_create(int dimension)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index = NULL;
    options.dimension = dimension > 0 ? (uint32_t)dimension : 0;
    options.id_max = INT_MAX;
    return omen_open(&options, &index) == OMEN_OK ? index : NULL;
}

void
omen_search(omen_index_t index, const float *query, int *results)
{
    uint64_t ids[PLAN_HITS];
    uint32_t found = 0;
    if (results == NULL)
        return;
    if (omen_query(index, query, NULL, ids, NULL, &found) != OMEN_OK)
        found = 0;
    for (uint32_t i = 0; i < PLAN_HITS; i++)
        results[i] = i < found && ids[i] <= INT_MAX ? (int)ids[i] : -1;
}

// ---- opening ----

omen_status
omen_open(const omen_options *options, omen_index_t *out)
{
    if (out == NULL)
        return refuse_null("out");
    *out = NULL;
    if (options == NULL)
        return refuse_null("options");
    omen_options full = OMEN_OPTIONS_INIT;
    struct shard *shard = NULL;
    omen_status status = fit_struct(&full, sizeof full, options, "omen_options");
    if (status == OMEN_OK)
        status = shard_open(&full, &shard, &last_error);
    *out = (omen_index_t)(void *)shard;
    return status;
}

omen_status
omen_options_of(omen_index_t index, omen_options *out)
{
    if (index == NULL)
        return refuse_null("index");
    if (out == NULL)
        return refuse_null("out");
    const omen_status status = check_out_struct(out, "omen_options");
    if (status != OMEN_OK)
        return status;
    omen_options full;
    shard_options(shard_of(index), &full);
    give_struct(out, &full, sizeof full);
    return OMEN_OK;
}

void
omen_close(omen_index_t index)
{
    if (index != NULL && !shard_inherited(shard_of(index))) // else it is the parent's to close
        shard_close(shard_of(index));
}

omen_status
omen_flush(omen_index_t index)
{
    const omen_status status = check_outside_build(index);
    return status == OMEN_OK ? shard_flush(shard_of(index), &last_error) : status;
}

// ---- writing ----

typedef omen_status write_call(struct shard *shard, const omen_batch *batch,
                               struct omen_error *error);

static omen_status
write_batch(omen_index_t index, const omen_batch *batch, write_call *call)
{
    omen_status status = check_own(index);
    if (status != OMEN_OK)
        return status;
    if (batch == NULL)
        return refuse_null("batch");
    omen_batch full = OMEN_BATCH_INIT;
    status = fit_struct(&full, sizeof full, batch, "omen_batch");
    return status == OMEN_OK ? call(shard_of(index), &full, &last_error) : status;
}

omen_status
omen_add(omen_index_t index, const omen_batch *batch)
{
    return write_batch(index, batch, shard_add);
}

omen_status
omen_upsert(omen_index_t index, const omen_batch *batch)
{
    return write_batch(index, batch, shard_upsert);
}

omen_status
omen_set_payloads(omen_index_t index, const omen_batch *batch)
{
    return write_batch(index, batch, shard_set_payloads);
}

omen_status
omen_delete(omen_index_t index, const uint64_t *ids, size_t count, size_t *deleted)
{
    size_t ignored;
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (ids == NULL && count > 0)
        return refuse_null("ids");
    return shard_delete(shard_of(index), ids, count, deleted != NULL ? deleted : &ignored,
                        &last_error);
}

omen_status
omen_delete_text(omen_index_t index, const char *const *ids, size_t count, size_t *deleted)
{
    size_t ignored;
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (ids == NULL && count > 0)
        return refuse_null("ids");
    return shard_delete_text(shard_of(index), ids, count, deleted != NULL ? deleted : &ignored,
                             &last_error);
}

omen_status
omen_delete_where(omen_index_t index, const char *filter, size_t *deleted)
{
    size_t ignored;
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (filter == NULL)
        return refuse_null("filter");
    return shard_delete_where(shard_of(index), filter, deleted != NULL ? deleted : &ignored,
                              &last_error);
}

// ---- ids ----

omen_status
omen_id_text(omen_index_t index, uint64_t key, char *text, size_t capacity)
{
    if (index == NULL)
        return refuse_null("index");
    if (text == NULL)
        return refuse_null("text");
    return shard_id_text(shard_of(index), key, text, capacity, &last_error);
}

omen_status
omen_id_key(omen_index_t index, const char *text, uint64_t *key)
{
    if (index == NULL)
        return refuse_null("index");
    if (text == NULL)
        return refuse_null("text");
    if (key == NULL)
        return refuse_null("key");
    return shard_id_key(shard_of(index), text, key, &last_error);
}

int
omen_contains(omen_index_t index, uint64_t id)
{
    return index != NULL && shard_contains(shard_of(index), id);
}

// ---- reading points back ----

omen_status
omen_get(omen_index_t index, const uint64_t *ids, size_t count, int with, omen_points_t *out)
{
    if (out == NULL)
        return refuse_null("out");
    *out = NULL;
    if (index == NULL)
        return refuse_null("index");
    if (ids == NULL && count > 0)
        return refuse_null("ids");
    const struct id_list list = {.ids = ids, .count = count};
    struct points *points = NULL;
    const omen_status status = shard_get(shard_of(index), &list, with, &points, &last_error);
    *out = (omen_points_t)(void *)points;
    return status;
}

omen_status
omen_scroll(omen_index_t index, const char *filter, int with, size_t limit, uint64_t *cursor,
            omen_points_t *out)
{
    if (out == NULL)
        return refuse_null("out");
    *out = NULL;
    if (index == NULL)
        return refuse_null("index");
    if (cursor == NULL)
        return refuse_null("cursor");
    struct scroll scroll = {.filter = filter, .with = with, .limit = limit, .cursor = *cursor};
    struct points *points = NULL;
    const omen_status status = shard_scroll(shard_of(index), &scroll, &points, &last_error);
    *out = (omen_points_t)(void *)points;
    *cursor = scroll.cursor;
    return status;
}

size_t
omen_points_count(omen_points_t points)
{
    return points != NULL ? points_count(points_of(points)) : 0;
}

// An empty point for whoever asks beyond the end.
static struct point
point_of(omen_points_t points, size_t i)
{
    struct point point = {0};
    if (i < omen_points_count(points))
        points_at(points_of(points), i, &point);
    return point;
}

int
omen_points_found(omen_points_t points, size_t i)
{
    return point_of(points, i).found;
}

uint64_t
omen_points_id(omen_points_t points, size_t i)
{
    return i < omen_points_count(points) ? point_of(points, i).id : UINT64_MAX;
}

float
omen_points_distance(omen_points_t points, size_t i)
{
    return point_of(points, i).distance;
}

uint64_t
omen_points_version(omen_points_t points, size_t i)
{
    return point_of(points, i).version;
}

const void *
omen_points_vector(omen_points_t points, size_t i)
{
    return point_of(points, i).vector;
}

const void *
omen_points_payload(omen_points_t points, size_t i, size_t *bytes)
{
    const struct point point = point_of(points, i);
    if (bytes != NULL)
        *bytes = point.payload_bytes;
    return point.payload;
}

void
omen_points_free(omen_points_t points)
{
    points_close(points_of(points));
}

// ---- searching ----

static const omen_query_options default_query = OMEN_QUERY_OPTIONS_INIT;

// The caller's own struct when it is of our size, which spares a search the copy.
static omen_status
fit_query(const omen_query_options *given, omen_query_options *room, const omen_query_options **out)
{
    *out = given != NULL ? given : &default_query;
    if ((*out)->struct_size == sizeof **out)
        return OMEN_OK;
    *room = default_query;
    *out = room;
    return fit_struct(room, sizeof *room, given, "omen_query_options");
}

omen_status
omen_query(omen_index_t index, const void *vector, const omen_query_options *options, uint64_t *ids,
           float *distances, uint32_t *found)
{
    omen_query_options room;
    const omen_query_options *full;
    if (index == NULL)
        return refuse_null("index");
    if (vector == NULL)
        return refuse_null("vector");
    if (ids == NULL)
        return refuse_null("ids");
    const omen_status status = fit_query(options, &room, &full);
    if (status != OMEN_OK)
        return status;
    const struct answer answer = {.ids = ids, .distances = distances, .found = found};
    return shard_query(shard_of(index), vector, full, &answer, &last_error);
}

typedef omen_status (*batch_fn)(struct shard *shard, const struct queries *queries,
                                const omen_query_options *options, const struct answers *answers,
                                struct omen_error *error);

static omen_status
query_many(batch_fn run, omen_index_t index, const struct queries *queries,
           const omen_query_options *options, const struct answers *answers)
{
    omen_query_options room;
    const omen_query_options *full;
    if (index == NULL)
        return refuse_null("index");
    if (queries->vectors == NULL && queries->count > 0)
        return refuse_null("vectors");
    if (answers->ids == NULL && queries->count > 0)
        return refuse_null("ids");
    const omen_status status = fit_query(options, &room, &full);
    return status == OMEN_OK ? run(shard_of(index), queries, full, answers, &last_error) : status;
}

omen_status
omen_query_batch(omen_index_t index, const void *vectors, size_t count,
                 const omen_query_options *options, uint64_t *ids, float *distances)
{
    const struct queries queries = {.vectors = vectors, .count = count};
    const struct answers answers = {.ids = ids, .distances = distances};
    return query_many(shard_query_batch, index, &queries, options, &answers);
}

omen_status
omen_knn_exact(omen_index_t index, const void *vectors, size_t count,
               const omen_query_options *options, uint64_t *ids, float *distances)
{
    const struct queries queries = {.vectors = vectors, .count = count};
    const struct answers answers = {.ids = ids, .distances = distances};
    return query_many(shard_knn_exact, index, &queries, options, &answers);
}

omen_status
omen_range(omen_index_t index, const void *vector, float radius, const omen_query_options *options,
           omen_points_t *out)
{
    omen_query_options room;
    const omen_query_options *full;
    if (out == NULL)
        return refuse_null("out");
    *out = NULL;
    if (index == NULL)
        return refuse_null("index");
    if (vector == NULL)
        return refuse_null("vector");
    omen_status status = fit_query(options, &room, &full);
    if (status != OMEN_OK)
        return status;
    struct points *points = NULL;
    status = shard_range(shard_of(index), vector, radius, full, &points, &last_error);
    *out = (omen_points_t)(void *)points;
    return status;
}

omen_status
omen_count(omen_index_t index, const char *filter, uint64_t *count)
{
    if (index == NULL)
        return refuse_null("index");
    if (count == NULL)
        return refuse_null("count");
    return shard_count(shard_of(index), filter, count, &last_error);
}

// ---- fields, recall, upkeep ----

omen_status
omen_field_index(omen_index_t index, const char *name, omen_field_type type)
{
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (name == NULL)
        return refuse_null("name");
    return shard_field_index(shard_of(index), name, (int)type, &last_error);
}

omen_status
omen_field_drop(omen_index_t index, const char *name)
{
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (name == NULL)
        return refuse_null("name");
    return shard_field_drop(shard_of(index), name, &last_error);
}

omen_status
omen_measure_recall(omen_index_t index, uint32_t samples, const omen_query_options *options,
                    omen_recall *out)
{
    omen_query_options room;
    const omen_query_options *full;
    omen_recall recall = {.struct_size = sizeof recall};
    if (index == NULL)
        return refuse_null("index");
    if (out == NULL)
        return refuse_null("out");
    omen_status status = check_out_struct(out, "omen_recall");
    if (status == OMEN_OK)
        status = fit_query(options, &room, &full);
    if (status == OMEN_OK)
        status = shard_measure_recall(shard_of(index), samples, full, &recall, &last_error);
    if (status == OMEN_OK)
        give_struct(out, &recall, sizeof recall);
    return status;
}

omen_status
omen_calibrate(omen_index_t index)
{
    return index == NULL ? refuse_null("index") : shard_calibrate(shard_of(index), &last_error);
}

omen_status
omen_build(omen_index_t index, const omen_build_options *options)
{
    omen_build_options full = OMEN_BUILD_OPTIONS_INIT;
    omen_status status = OMEN_OK;
    const omen_status own = check_outside_build(index);
    if (own != OMEN_OK)
        return own;
    if (options != NULL)
        status = fit_struct(&full, sizeof full, options, "omen_build_options");
    omen_build_report *const report = full.report;
    omen_build_report filled = {.struct_size = sizeof filled};
    if (status == OMEN_OK && report != NULL)
        status = check_out_struct(report, "omen_build_report");
    if (status != OMEN_OK)
        return status;
    full.report = &filled;
    struct watched watched = {full.progress, full.context, index, NULL};
    if (full.progress != NULL) {
        full.progress = tell_progress;
        full.context = &watched;
    }
    status = shard_build(shard_of(index), &full, &last_error);
    if (report != NULL)
        give_struct(report, &filled, sizeof filled);
    return status;
}

omen_status
omen_compact(omen_index_t index)
{
    const omen_status status = check_outside_build(index);
    return status == OMEN_OK ? shard_compact(shard_of(index), &last_error) : status;
}

omen_status
omen_copy(omen_index_t index, const char *path)
{
    const omen_status own = check_outside_build(index);
    if (own != OMEN_OK)
        return own;
    if (path == NULL)
        return refuse_null("path");
    return shard_copy(shard_of(index), path, &last_error);
}

omen_status
omen_verify(omen_index_t index)
{
    const omen_status status = check_outside_build(index);
    return status == OMEN_OK ? shard_verify(shard_of(index), &last_error) : status;
}

omen_status
omen_set_ef(omen_index_t index, uint32_t ef)
{
    return index == NULL ? refuse_null("index") : shard_set_ef(shard_of(index), ef, &last_error);
}

omen_status
omen_stats(omen_index_t index, omen_statistics *out)
{
    const omen_status own = check_own(index);
    if (own != OMEN_OK)
        return own;
    if (out == NULL)
        return refuse_null("out");
    const omen_status status = check_out_struct(out, "omen_statistics");
    if (status != OMEN_OK)
        return status;
    omen_statistics full = {.struct_size = sizeof full};
    shard_stats(shard_of(index), &full);
    give_struct(out, &full, sizeof full);
    return OMEN_OK;
}
