// router/front_round.c -- the rounds of methods that need several, and asks that are not the client's own.
//
// Shape: handle, in memory.
#include "router/front_round.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "router/front_mean.h"

// ---- a round ----

static struct wire_bytes
packed_of(const struct front_call *call)
{
    return (struct wire_bytes){call->packed.bytes, (uint32_t)call->packed.count};
}

static omen_status
asks(struct front_call *call, enum method_number method, enum fanout_kind kind,
     struct omen_error *error)
{
    call->asks = method;
    call->whole = packed_of(call);
    call->start.kind = kind;
    if (kind == FANOUT_SEARCH) {
        call->start.items = NULL;
        call->start.item_count = 0;
    } else
        call->start.partial = false;
    return call->packed.status == OMEN_OK ? OMEN_OK : error_set_plain(error, call->packed.status);
}

static struct wire_text
collection_of(const struct front_call *call)
{
    return ((const struct front_read *)(const void *)&call->ask)->collection;
}

// As `method` has it.
static omen_status
ask_shards(struct front_call *call, enum method_number method, const void *ask,
           struct omen_error *error)
{
    encode_reset(&call->packed);
    shape_write(&call->packed, method_at(method)->ask, ask);
    return asks(call, method, FANOUT_SEARCH, error);
}

// ---- vectors of points ----

static void
ids_write(struct encode *encode, const struct wire_list *ids)
{
    encode_raw(encode, ids->packed, ids->packed_bytes);
}

// The two lists, of which the second may be empty, as one.
static omen_status
ask_vectors(struct front_call *call, const struct wire_list *ids, const struct wire_list *more,
            struct omen_error *error)
{
    struct encode *packed = &call->packed;
    omen_status status = front_items(call, ids, error);
    if (status == OMEN_OK && more->count > 0)
        status = front_items(call, more, error);
    if (status != OMEN_OK)
        return status;
    encode_map(packed, 3);
    encode_word(packed, "collection");
    encode_text(packed, collection_of(call));
    encode_word(packed, "with");
    encode_array(packed, 1);
    encode_word(packed, "vector");
    encode_word(packed, "ids");
    encode_array(packed, ids->count + more->count);
    const size_t begin = packed->count;
    ids_write(packed, ids);
    ids_write(packed, more);
    if (packed->status == OMEN_OK)
        call->ids = (struct wire_list){.count = ids->count + more->count,
                                       .packed = packed->bytes + begin,
                                       .packed_bytes = (uint32_t)(packed->count - begin)};
    call->with = API_WITH_VECTOR;
    call->excluded = call->ids.count;
    return asks(call, METHOD_POINT_GET, FANOUT_GET, error);
}

static omen_status
ask_vector_of(struct front_call *call, const struct wire_id *id, struct omen_error *error)
{
    // A list of one, as it would have come.
    struct encode packed;
    encode_init(&packed, ID_TEXT_BYTES_MAX + 16);
    if (id->text_bytes > 0)
        encode_text(&packed, (struct wire_text){id->text, id->text_bytes});
    else
        encode_u64(&packed, id->number);
    const struct wire_list ids = {
        .count = 1, .packed = packed.bytes, .packed_bytes = (uint32_t)packed.count};
    const omen_status status = packed.status == OMEN_OK
                                   ? ask_vectors(call, &ids, &(struct wire_list){.count = 0}, error)
                                   : error_set_plain(error, packed.status);
    encode_fini(&packed);
    return status;
}

static omen_status
check_point(const struct front_call *call, const struct api_point *point, struct omen_error *error)
{
    if (point->vector.form != VECTORS_RAW || point->vector.count != call->dimension)
        return error_set_plain(error, OMEN_E_INTERNAL);
    return OMEN_OK;
}

// ---- query.search and query.range ----

static omen_status
first_search(struct front_call *call, struct omen_error *error)
{
    const struct api_query_search *ask = (const void *)&call->ask;
    call->queries = 1;
    call->k = ask->k == 0 ? FRONT_K : ask->k;
    call->start.partial = ask->partial != 0;
    if (ask->vector.form != VECTORS_NONE)
        return front_check_vector(call, &ask->vector, error);
    if (call->k == TOPK_MAX)
        return error_set(error, OMEN_E_K, "k is %u; by an id, which is no hit, it is at most %u",
                         TOPK_MAX, TOPK_MAX - 1);
    return ask_vector_of(call, &ask->id, error);
}

static omen_status
first_range(struct front_call *call, struct omen_error *error)
{
    const struct api_query_range *ask = (const void *)&call->ask;
    call->queries = 1;
    call->k = ask->limit == 0 ? TOPK_MAX : ask->limit;
    call->start.partial = ask->partial != 0;
    if (ask->vector.form != VECTORS_NONE)
        return front_check_vector(call, &ask->vector, error);
    return ask_vector_of(call, &ask->id, error);
}

static omen_status
next_search(struct front_call *call, const struct wire_vectors *vector, struct omen_error *error)
{
    struct api_query_search ask = *(const struct api_query_search *)(const void *)&call->ask;
    call->start.partial = ask.partial != 0;
    call->k += call->excluded;
    ask.id = (struct wire_id){.given = 0};
    ask.vector = *vector;
    ask.k = call->k;
    return ask_shards(call, METHOD_QUERY_SEARCH, &ask, error);
}

static omen_status
next_range(struct front_call *call, const struct wire_vectors *vector, struct omen_error *error)
{
    struct api_query_range ask = *(const struct api_query_range *)(const void *)&call->ask;
    call->start.partial = ask.partial != 0;
    call->k += call->k < TOPK_MAX;
    ask.id = (struct wire_id){.given = 0};
    ask.vector = *vector;
    ask.limit = call->k;
    return ask_shards(call, METHOD_QUERY_RANGE, &ask, error);
}

// ---- query.recommend ----

static omen_status
first_recommend(struct front_call *call, struct omen_error *error)
{
    const struct api_query_recommend *ask = (const void *)&call->ask;
    const uint64_t ids = (uint64_t)ask->positive.count + ask->negative.count;
    call->queries = 1;
    call->k = ask->k == 0 ? FRONT_K : ask->k;
    if (call->k + ids > TOPK_MAX)
        return error_set(error, OMEN_E_K,
                         "k = %" PRIu32 " and %" PRIu64
                         " ids, which are no hits, are more than %u together",
                         call->k, ids, TOPK_MAX);
    return ask_vectors(call, &ask->positive, &ask->negative, error);
}

static omen_status
next_recommend(struct front *front, struct front_call *call, const struct wire_list *points,
               struct omen_error *error)
{
    const struct api_query_recommend *given = (const void *)&call->ask;
    struct list_cursor cursor;
    struct api_point point;
    struct mean mean = {.dimension = call->dimension, .metric = call->metric};
    mean.sums = front_take(front, 2 * (size_t)call->dimension * sizeof *mean.sums);
    float *row = front_take(front, (size_t)call->dimension * sizeof *row);
    if (mean.sums == NULL || row == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memset(mean.sums, 0, 2 * (size_t)call->dimension * sizeof *mean.sums);
    list_begin(&cursor, shape_field(&api_points, "points"), points);
    for (uint32_t i = 0; list_next(&cursor, &point); i++) {
        const bool positive = i < given->positive.count;
        if (point.absent != 0)
            return error_set(
                error, OMEN_E_NOT_FOUND, "the collection has no point of %s[%" PRIu32 "]",
                positive ? "positive" : "negative", positive ? i : i - given->positive.count);
        const omen_status status = check_point(call, &point, error);
        if (status != OMEN_OK)
            return status;
        mean_add(&mean, positive ? MEAN_POSITIVE : MEAN_NEGATIVE, &point.vector, row);
    }
    mean_end(&mean, row);
    const struct api_query_search ask = {
        .collection = given->collection,
        .filter = given->filter,
        .target_recall = given->target_recall,
        .ef = given->ef,
        .oversample = given->oversample,
        .with = given->with,
        .exact = given->exact,
        .vector = {.form = VECTORS_RAW,
                   .dtype = WIRE_F32,
                   .count = call->dimension,
                   .bytes = {(const uint8_t *)row, call->dimension * (uint32_t)sizeof *row}},
        .k = call->k += call->excluded,
        .deadline_ms = given->deadline_ms,
    };
    call->start.partial = given->partial != 0;
    return ask_shards(call, METHOD_QUERY_SEARCH, &ask, error);
}

static omen_status
next_by_points(struct front *front, struct front_call *call, struct omen_error *error)
{
    struct wire_list points;
    struct list_cursor cursor;
    struct api_point point;
    const omen_status gathered = front_gather_points(front, call, &points);
    if (gathered != OMEN_OK)
        return error_set_plain(error, gathered);
    if (call->method->number == METHOD_QUERY_RECOMMEND)
        return next_recommend(front, call, &points, error);
    list_begin(&cursor, shape_field(&api_points, "points"), &points);
    const bool there = list_next(&cursor, &point);
    ASSERT(there);
    if (point.absent != 0)
        return error_set(error, OMEN_E_NOT_FOUND, "the collection has no point of this id");
    const omen_status status = check_point(call, &point, error);
    if (status != OMEN_OK)
        return status;
    return call->method->number == METHOD_QUERY_SEARCH ? next_search(call, &point.vector, error)
                                                       : next_range(call, &point.vector, error);
}

// ---- query.why_not ----

static omen_status
ask_why(struct front_call *call, enum fanout_kind kind, struct omen_error *error)
{
    const struct api_query_why_not *given = (const void *)&call->ask;
    const struct inner_why_ask ask = {.vector = given->vector,
                                      .id = given->id,
                                      .filter = given->filter,
                                      .target_recall = given->target_recall,
                                      .distance = call->why.distance,
                                      .ef = given->ef,
                                      .oversample = given->oversample,
                                      .k = given->k == 0 ? FRONT_K : given->k,
                                      .exact = given->exact};
    encode_reset(&call->packed);
    shape_write(&call->packed, &inner_why_ask, &ask);
    return asks(call, METHOD_QUERY_WHY_NOT, kind, error);
}

static omen_status
first_why_not(struct front_call *call, struct omen_error *error)
{
    const struct api_query_why_not *ask = (const void *)&call->ask;
    const struct wire_list ids = {.count = 1, .items = &ask->id};
    call->k = ask->k == 0 ? FRONT_K : ask->k;
    omen_status status = front_check_vector(call, &ask->vector, error);
    if (status == OMEN_OK)
        status = front_items(call, &ids, error);
    return status == OMEN_OK ? ask_why(call, FANOUT_GET, error) : status;
}

static bool
next_why_not(struct front_call *call, struct omen_error *error)
{
    if (call->round == 1) {
        for (const struct front_lent *lent = call->lent; lent != NULL; lent = lent->next) {
            const struct inner_why *why = (const void *)&lent->body;
            call->why.hit |= why->hit;
            call->why.capped |= why->capped;
            call->why.ahead += why->ahead;
            call->why.nearer += why->nearer;
        }
        return false;
    }
    call->why = *(const struct inner_why *)(const void *)&call->lent->body;
    if (call->why.there == 0 || call->why.passes == 0)
        return false;
    call->why.hit = call->why.capped = 0;
    call->why.ahead = call->why.nearer = 0;
    return ask_why(call, FANOUT_SEARCH, error) == OMEN_OK;
}

// ---- point.scroll ----

static uint32_t
page_limit(const struct front_call *call)
{
    const struct api_point_scroll *ask = (const void *)&call->ask;
    return ask->limit == 0 ? FRONT_PAGE : ask->limit;
}

static omen_status
ask_page(struct front_call *call, struct omen_error *error)
{
    char cursor[17];
    struct api_point_scroll ask = *(const struct api_point_scroll *)(const void *)&call->ask;
    for (uint32_t i = 0; i < 16; i++)
        cursor[i] = "0123456789abcdef"[call->cursor >> (60 - 4 * i) & 15];
    ask.cursor = (struct wire_text){cursor, 16};
    ask.limit = page_limit(call) - call->point_count;
    call->items[0] = (struct fanout_item){.hash = call->cursor};
    encode_reset(&call->packed);
    shape_write(&call->packed, &api_point_scroll, &ask);
    return asks(call, METHOD_POINT_SCROLL, FANOUT_GET, error);
}

static omen_status
first_page(struct front_call *call, struct omen_error *error)
{
    const struct api_point_scroll *ask = (const void *)&call->ask;
    bool sound = ask->cursor.count == 0 || ask->cursor.count == 16;
    for (uint32_t i = 0; i < ask->cursor.count && sound; i++) {
        const char digit = ask->cursor.bytes[i];
        const bool letter = digit >= 'a' && digit <= 'f';
        sound = letter || (digit >= '0' && digit <= '9');
        call->cursor = call->cursor << 4 | (uint64_t)(letter ? digit - 'a' + 10 : digit - '0');
    }
    if (!sound)
        return error_set(error, OMEN_E_INVALID, "cursor is none that a page gave");
    call->items = mem_alloc_zero(1, sizeof *call->items);
    if (call->items == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    call->start.items = call->items;
    call->start.item_count = 1;
    return ask_page(call, error);
}

// The token of a page is of every shard that it is from.
static omen_status
note_token(const struct front *front, struct front_call *call, const struct fanout_answer *answer)
{
    struct wire_token *seen =
        mem_resize(call->seen, (call->seen_count + (size_t)answer->report_count) * sizeof *seen);
    if (seen == NULL)
        return OMEN_E_NO_MEMORY;
    call->seen = seen;
    for (uint32_t i = 0; i < answer->report_count; i++) {
        const struct fanout_report *report = &front->out.reports[answer->report_first + i];
        if (report->shard != 0)
            seen[call->seen_count++] =
                (struct wire_token){report->shard, report->term, report->seq};
    }
    return OMEN_OK;
}

static bool
next_page(const struct front *front, struct front_call *call, const struct fanout_answer *answer,
          struct omen_error *error)
{
    const struct inner_page *page = (const void *)&call->lent->body;
    const size_t before = call->points.count;
    if (page->next != 0 && page->next <= call->cursor) { // it would go round for ever
        error_set_plain(error, OMEN_E_INTERNAL);
        return false;
    }
    encode_raw(&call->points, page->points.packed, page->points.packed_bytes);
    if (call->points.status == OMEN_E_FULL && before > 0) { // it is the next page
        encode_rewind(&call->points, before);
        return false;
    }
    const omen_status status =
        call->points.status == OMEN_OK ? note_token(front, call, answer) : call->points.status;
    if (status != OMEN_OK) {
        error_set_plain(error, status);
        return false;
    }
    call->point_count += page->points.count;
    call->warnings |= page->warnings;
    call->cursor = page->next;
    if (page->next == 0 || call->point_count >= page_limit(call))
        return false;
    return ask_page(call, error) == OMEN_OK;
}

// ---- recall.measure ----

static uint32_t
shards_of(const struct front *front, uint64_t collection)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < front->map->shard_count; i++)
        count += front->map->shards[i].collection == collection &&
                 shard_is_routed(&front->map->shards[i]);
    return count;
}

static omen_status
first_recall(const struct front *front, struct front_call *call, struct omen_error *error)
{
    struct api_recall_measure ask = *(const struct api_recall_measure *)(const void *)&call->ask;
    const uint32_t shards = shards_of(front, call->collection);
    const uint32_t samples = ask.samples == 0 ? FRONT_SAMPLES : ask.samples;
    ask.samples = shards > 1 ? (samples + shards - 1) / shards : samples;
    ask.k = ask.k == 0 ? FRONT_K : ask.k;
    return ask_shards(call, METHOD_RECALL_MEASURE, &ask, error);
}

// ---- which ----

omen_status
front_round_first(struct front *front, struct front_call *call, struct omen_error *error)
{
    switch (call->method->number) {
    case METHOD_QUERY_SEARCH:
        return first_search(call, error);
    case METHOD_QUERY_RANGE:
        return first_range(call, error);
    case METHOD_QUERY_RECOMMEND:
        return first_recommend(call, error);
    case METHOD_QUERY_WHY_NOT:
        return first_why_not(call, error);
    case METHOD_POINT_SCROLL:
        return first_page(call, error);
    default:
        ASSERT(call->method->number == METHOD_RECALL_MEASURE);
        return first_recall(front, call, error);
    }
}

bool
front_round_next(struct front *front, struct front_call *call, const struct fanout_answer *answer,
                 struct omen_error *error)
{
    bool another = false;
    if (call->method->number == METHOD_POINT_SCROLL)
        another = next_page(front, call, answer, error);
    else if (call->method->number == METHOD_QUERY_WHY_NOT)
        another = next_why_not(call, error);
    else if (call->asks == METHOD_POINT_GET && call->method->number != METHOD_POINT_GET)
        another = next_by_points(front, call, error) == OMEN_OK;
    call->round += another;
    return another;
}
