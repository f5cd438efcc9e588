// router/front_answer.c -- a round ended: another follows, or the client is answered with what the shards said, or with why not.
//
// Shape: handle, in memory.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "router/front_join.h"
#include "router/front_round.h"

#define WILSON_Z 1.959964 // 95 %, as shard/shard_recall.c

// ---- what failed ----

// Of a point that a write found otherwise than it wants; the statuses are of other things as well.
static const char *
text_of_point(omen_status status)
{
    switch (status) {
    case OMEN_E_NOT_FOUND:
        return "there is no point of this id";
    case OMEN_E_EXISTS:
        return "there is a point of this id already";
    case OMEN_E_PAYLOAD:
        return "what is there and what is set are too large or too deep for one payload";
    default:
        return status_text(status);
    }
}

static void
failure_of(const struct front_call *call, const struct fanout_answer *answer,
           struct omen_error *error)
{
    const omen_status status = answer->status;
    if (call->said.status == status && call->start.item_count > 1 && answer->part_count > 1)
        error_set(error, status, "%s (of those in shard %" PRIu64 ")", call->said.text,
                  call->said_shard);
    else if (call->said.status == status)
        *error = call->said;
    else if (answer->request == 0 && status == OMEN_E_NOT_FOUND)
        error_set(error, status, "no shard of the collection is open");
    else if (answer->shard != 0)
        error_set(error, status, "shard %" PRIu64 ": %s", answer->shard, status_text(status));
    else if (call->start.kind == FANOUT_WRITE && call->start.item_count > 0)
        error_set(error, status, "%s", text_of_point(status));
    else
        error_set_plain(error, status);
    error_about(error, status, call->method->name);
}

omen_status
front_told(struct front *front, const struct fanout_answer *answer, struct front_told *out)
{
    const struct fanout_report *reports = &front->out.reports[answer->report_first];
    struct wire_token *tokens = front_take(front, answer->report_count * sizeof *tokens);
    struct api_shard_failed *failed = front_take(front, answer->report_count * sizeof *failed);
    *out = (struct front_told){.token = {.items = tokens}, .failed = {.items = failed}};
    if (tokens == NULL || failed == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < answer->report_count; i++) {
        const struct fanout_report *report = &reports[i];
        if (report->status != OMEN_OK)
            failed[out->failed.count++] = (struct api_shard_failed){
                .shard = report->shard, .name = wire_text_of(status_name(report->status))};
        else if (report->shard != 0)
            tokens[out->token.count++] =
                (struct wire_token){report->shard, report->term, report->seq};
    }
    return OMEN_OK;
}

// ---- writes ----

static enum api_outcome
outcome_of_items(const struct front_call *call)
{
    enum api_outcome outcome = API_NOT_APPLIED;
    for (uint32_t i = 0; i < call->start.item_count; i++)
        if (call->items[i].outcome == FANOUT_UNKNOWN)
            outcome = API_UNKNOWN;
    return outcome;
}

// Done in one shard and not in another is neither: the same operation may be sent again, and is not done twice anywhere.
static enum api_outcome
outcome_of_parts(const struct front *front, const struct fanout_answer *answer)
{
    enum api_outcome outcome = API_NOT_APPLIED;
    for (uint32_t i = 0; i < answer->report_count; i++)
        if (front->out.reports[answer->report_first + i].outcome != FANOUT_NOT_APPLIED)
            outcome = API_UNKNOWN;
    return outcome;
}

// What every item ended with; OMEN_OK where they differ, or some are well.
static omen_status
common_failure(const struct front_call *call)
{
    const omen_status first = call->items[0].status;
    for (uint32_t i = 1; i < call->start.item_count; i++)
        if (call->items[i].status != first)
            return OMEN_OK;
    return first;
}

static omen_status
list_failed(struct front *front, const struct front_call *call, struct wire_list *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < call->start.item_count; i++)
        count += call->items[i].status != OMEN_OK;
    struct api_failed *failed = front_take(front, count * sizeof *failed);
    *out = (struct wire_list){.count = count, .items = failed};
    if (failed == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < call->start.item_count; i++) {
        const struct fanout_item *item = &call->items[i];
        if (item->status == OMEN_OK)
            continue;
        *failed++ = (struct api_failed){.row = i,
                                        .name = wire_text_of(status_name(item->status)),
                                        .message = wire_text_of(text_of_point(item->status)),
                                        .outcome = (uint8_t)(item->outcome + 1)};
    }
    return OMEN_OK;
}

static void
end_write(struct front *front, struct front_call *call, const struct fanout_answer *answer)
{
    struct omen_error error;
    struct front_told told;
    struct api_written written = {.count = 0};
    struct fanout_answer failed = *answer;
    enum api_outcome outcome = API_NOT_APPLIED;
    if (call->start.item_count > 0) {
        failed.status = common_failure(call);
        outcome = outcome_of_items(call);
    } else if (answer->request != 0)
        outcome = outcome_of_parts(front, answer);
    if (failed.status != OMEN_OK) {
        failure_of(call, &failed, &error);
        front_refuse(front, call, &error, outcome);
        return;
    }
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next)
        written.count += ((const struct api_written *)(const void *)&lent->body)->count;
    call->done.written = written.count;
    omen_status status = front_told(front, answer, &told);
    if (status == OMEN_OK)
        status = list_failed(front, call, &written.failed);
    if (status != OMEN_OK) {
        error_set_plain(&error, status);
        front_refuse(front, call, &error, API_APPLIED);
        return;
    }
    written.token = told.token;
    front_say(front, call, &written);
}

// ---- points ----

omen_status
front_gather_points(struct front *front, struct front_call *call, struct wire_list *out)
{
    const struct api_points *first = (const void *)&call->lent->body;
    if (call->lent->next == NULL) {
        *out = first->points;
        return OMEN_OK;
    }
    struct wire_bytes *points = front_take(front, call->start.item_count * sizeof *points);
    if (points == NULL)
        return OMEN_E_NO_MEMORY;
    memset(points, 0, call->start.item_count * sizeof *points);
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        const struct wire_list *list =
            &((const struct api_points *)(const void *)&lent->body)->points;
        struct msgpack_reader reader = {list->packed, list->packed + list->packed_bytes};
        uint32_t item = lent->item_first;
        for (uint32_t i = 0; i < list->count; i++, item = call->items[item].next) {
            const uint8_t *begin = reader.at;
            const bool whole = msgpack_skip(&reader);
            ASSERT(whole && item < call->start.item_count);
            points[item] = (struct wire_bytes){begin, (uint32_t)(reader.at - begin)};
        }
    }
    encode_reset(&call->points);
    for (uint32_t i = 0; i < call->start.item_count; i++)
        encode_raw(&call->points, points[i].bytes, points[i].count);
    *out = (struct wire_list){.count = call->start.item_count,
                              .packed_bytes = (uint32_t)call->points.count,
                              .packed = call->points.bytes};
    return call->points.status;
}

static omen_status
say_points(struct front *front, struct front_call *call, const struct front_told *told)
{
    struct api_points points = {.token = told->token};
    const omen_status status = front_gather_points(front, call, &points.points);
    if (status == OMEN_OK)
        front_say(front, call, &points);
    return status;
}

static omen_status
say_page(struct front *front, struct front_call *call)
{
    char cursor[17];
    struct api_page page = {.points = {.count = call->point_count,
                                       .packed_bytes = (uint32_t)call->points.count,
                                       .packed = call->points.bytes},
                            .token = {.count = call->seen_count, .items = call->seen},
                            .warnings = call->warnings};
    for (uint32_t i = 0; i < 16; i++)
        cursor[i] = "0123456789abcdef"[call->cursor >> (60 - 4 * i) & 15];
    if (call->cursor != 0)
        page.cursor = (struct wire_text){cursor, 16};
    front_say(front, call, &page);
    return OMEN_OK;
}

// ---- counts ----

static omen_status
say_count(struct front *front, struct front_call *call, const struct front_told *told)
{
    struct api_count answer = {.shards_failed = told->failed};
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        const struct api_count *count = (const void *)&lent->body;
        answer.count += count->count;
        answer.warnings |= count->warnings;
    }
    front_say(front, call, &answer);
    return OMEN_OK;
}

static int
by_value(const void *a, const void *b)
{
    const struct api_facet *one = a, *other = b;
    const uint32_t least =
        one->value.count < other->value.count ? one->value.count : other->value.count;
    const int order = memcmp(one->value.bytes, other->value.bytes, least);
    if (order != 0)
        return order;
    return (one->value.count > other->value.count) - (one->value.count < other->value.count);
}

static int
by_count(const void *a, const void *b)
{
    const struct api_facet *one = a, *other = b;
    if (one->count != other->count)
        return one->count > other->count ? -1 : 1;
    return by_value(a, b);
}

static omen_status
say_facets(struct front *front, struct front_call *call, const struct front_told *told)
{
    const struct api_point_facet *ask = (const void *)&call->ask;
    struct api_facets answer = {.shards_failed = told->failed};
    uint32_t count = 0, kept = 0;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next)
        count += ((const struct api_facets *)(const void *)&lent->body)->values.count;
    struct api_facet *values = front_take(front, count * sizeof *values);
    if (values == NULL)
        return OMEN_E_NO_MEMORY;
    count = 0;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        const struct api_facets *facets = (const void *)&lent->body;
        struct list_cursor cursor;
        answer.warnings |= facets->warnings;
        list_begin(&cursor, shape_field(&api_facets, "values"), &facets->values);
        while (list_next(&cursor, &values[count]))
            count++;
    }
    qsort(values, count, sizeof *values, by_value);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && by_value(&values[kept - 1], &values[i]) == 0)
            values[kept - 1].count += values[i].count;
        else
            values[kept++] = values[i];
    }
    qsort(values, kept, sizeof *values, by_count);
    const uint32_t limit = ask->limit == 0 ? FRONT_FACETS : ask->limit;
    answer.values = (struct wire_list){.count = kept < limit ? kept : limit, .items = values};
    front_say(front, call, &answer);
    return OMEN_OK;
}

// ---- recall ----

// Each shard's measure counts as much as it has samples.
static omen_status
say_recall(struct front *front, struct front_call *call, struct omen_error *error)
{
    struct api_recall answer = {.recall = 0};
    double right = 0, evaluations = 0;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        const struct api_recall *recall = (const void *)&lent->body;
        right += recall->recall * recall->samples;
        evaluations += recall->evaluations * recall->samples;
        answer.samples += recall->samples;
        answer.ef = recall->ef > answer.ef ? recall->ef : answer.ef;
        answer.k = recall->k;
    }
    if (answer.samples == 0)
        return error_set(error, OMEN_E_NOT_FOUND, "no point has a neighbour to be found");
    const double trials = (double)answer.samples * (answer.k > 0 ? answer.k : 1);
    const double z2 = WILSON_Z * WILSON_Z, share = fmin(1, right / answer.samples);
    const double half = WILSON_Z * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials));
    answer.recall = share;
    answer.low = fmax(0, (share + z2 / (2 * trials) - half) / (1 + z2 / trials));
    answer.high = fmin(1, (share + z2 / (2 * trials) + half) / (1 + z2 / trials));
    answer.evaluations = evaluations / answer.samples;
    front_say(front, call, &answer);
    return OMEN_OK;
}

// ---- the end of a round ----

static omen_status
say(struct front *front, struct front_call *call, const struct fanout_answer *answer,
    struct omen_error *error)
{
    struct front_told told;
    const omen_status status = front_told(front, answer, &told);
    if (status != OMEN_OK)
        return status;
    switch (call->method->number) {
    case METHOD_POINT_GET:
        return say_points(front, call, &told);
    case METHOD_POINT_SCROLL:
        return say_page(front, call);
    case METHOD_POINT_COUNT:
        return say_count(front, call, &told);
    case METHOD_POINT_FACET:
        return say_facets(front, call, &told);
    case METHOD_RECALL_MEASURE:
        return say_recall(front, call, error);
    case METHOD_QUERY_WHY_NOT:
        return front_say_why_not(front, call);
    case METHOD_QUERY_BATCH:
        return front_say_batch(front, call, &told, error);
    default:
        return front_say_hits(front, call, &told);
    }
}

static void
note_round(const struct front *front, struct front_call *call, const struct fanout_answer *answer)
{
    struct front_done *done = &call->done;
    done->heard_ns = front->now_ns;
    done->rounds++;
    done->parts = answer->report_count;
    done->slowest_us = done->evaluations = done->exact_distances = 0;
    const bool finds = call->asks == METHOD_QUERY_SEARCH || call->asks == METHOD_QUERY_BATCH ||
                       call->asks == METHOD_QUERY_RANGE;
    if (!finds)
        return;
    for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
        done->evaluations += lent->found.evaluations;
        done->exact_distances += lent->found.exact_distances;
        if (lent->found.took_us > done->slowest_us)
            done->slowest_us = lent->found.took_us;
    }
}

void
front_end(struct front *front, struct front_call *call, const struct fanout_answer *answer)
{
    struct omen_error error = {.status = OMEN_OK};
    note_round(front, call, answer);
    if (call->start.kind == FANOUT_WRITE) {
        end_write(front, call, answer);
        return;
    }
    // A page that was begun is one, although it is shorter: its cursor says where the next begins.
    const bool page = call->method->number == METHOD_POINT_SCROLL && call->point_count > 0;
    if (answer->status != OMEN_OK && !page) {
        failure_of(call, answer, &error);
        front_refuse(front, call, &error, 0);
        return;
    }
    if (answer->status == OMEN_OK && front_round_next(front, call, answer, &error)) {
        front_let_go(front, call);
        call->then = front->then;
        front->then = call;
        return;
    }
    omen_status status = error.status;
    if (status == OMEN_OK)
        status = say(front, call, answer, &error);
    if (status == OMEN_OK)
        return;
    if (error.status == OMEN_OK)
        error_set_plain(&error, status);
    error_about(&error, error.status, call->method->name);
    front_refuse(front, call, &error, 0);
}
